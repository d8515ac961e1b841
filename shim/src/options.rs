//! Options of the runtime: `containerd.runc.v1.Options`, its elder form, or `runtimeoptions.v1.Options` with the same
//! table as TOML.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use containerd_shim_protos::protobuf::CodedInputStream;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use containerd_shim_protos::shim::oci;
use coracle::CgroupDriver;
use coracle::spec::Spec;

use crate::failure::Failure;
use crate::message::read;

/// Where the state of containers is kept unless an option names another place; one directory for each
/// namespace of containerd.
const ROOT: &str = "/run/containerd/coracle";

/// The name that `BinaryName` may have: this is the engine, and it runs no other.
const BINARY: &str = "coracle";

/// The file in the bundle that tells the `delete` command of another state root.
const RECORD: &str = "options.json";

/// The types of the messages.
const TYPES: [&str; 3] = [RUNC, FILE, OLD];
const RUNC: &str = "containerd.runc.v1.Options";
const FILE: &str = "runtimeoptions.v1.Options";
/// What clients of containerd 1 send to every runtime that is not runc's, for the owner of the streams.
const OLD: &str = "containerd.linux.runc.CreateOptions";

/// The options that mean something here.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Options {
    /// Change the root without pivot_root.
    pub(crate) no_pivot_root: bool,
    /// Keep the session keyring.
    pub(crate) no_new_keyring: bool,
    /// The cgroup of the shim itself.
    pub(crate) shim_cgroup: String,
    /// systemd makes the containers' cgroups.
    pub(crate) systemd_cgroup: bool,
    /// Where criu keeps its files.
    criu_work_path: String,
    io_uid: Option<u32>,
    io_gid: Option<u32>,
    root: String,
}

impl Options {
    /// Reads either message; `None` for one that is empty.
    ///
    /// # Errors
    /// Another message, or one that cannot be read; a configuration file that cannot; another engine.
    pub(crate) fn read(options: &Any) -> Result<Option<Self>, Failure> {
        // Some clients put a host before the name.
        let name = options.type_url.rsplit('/').next().unwrap_or_default();
        match name {
            RUNC => Self::of_runc(read(&options.value)?).map(Some),
            FILE => Self::of_file(&options.value),
            OLD => Self::of_old(&options.value)
                .map(Some)
                .map_err(|error| Failure::invalid(format!("read {OLD}: {error}"))),
            "" => Ok(None),
            _ => Err(Failure::invalid(format!("options of the type {name:?} mean nothing here"))),
        }
    }

    /// Whether a message among others has options of the runtime.
    pub(crate) fn is_one(message: &Any) -> bool {
        let name = message.type_url.rsplit('/').next().unwrap_or_default();
        TYPES.contains(&name)
    }

    /// Whether reading the message may read a file, and so block.
    pub(crate) fn may_be_file(message: &Any) -> bool {
        message.type_url.rsplit('/').next().unwrap_or_default() == FILE
    }

    fn of_runc(options: oci::Options) -> Result<Self, Failure> {
        check_binary(&options.binary_name)?;
        let given = |id: u32| (id != 0).then_some(id);
        Ok(Self {
            no_pivot_root: options.no_pivot_root,
            no_new_keyring: options.no_new_keyring,
            shim_cgroup: options.shim_cgroup,
            systemd_cgroup: options.systemd_cgroup,
            criu_work_path: options.criu_work_path,
            io_uid: given(options.io_uid),
            io_gid: given(options.io_gid),
            root: options.root,
        })
    }

    /// `containerd.linux.runc.CreateOptions`: 1 = no_pivot_root, 8 = no_new_keyring, 9 = shim_cgroup,
    /// 10 = io_uid, 11 = io_gid, 12 = criu_work_path.
    fn of_old(bytes: &[u8]) -> containerd_shim_protos::protobuf::Result<Self> {
        let mut input = CodedInputStream::from_bytes(bytes);
        let mut options = Self::default();
        while let Some(tag) = input.read_raw_tag_or_eof()? {
            match tag {
                8 => options.no_pivot_root = input.read_bool()?,
                64 => options.no_new_keyring = input.read_bool()?,
                74 => options.shim_cgroup = input.read_string()?,
                80 => options.io_uid = Some(input.read_uint32()?),
                88 => options.io_gid = Some(input.read_uint32()?),
                98 => options.criu_work_path = input.read_string()?,
                _ => containerd_shim_protos::protobuf::rt::skip_field_for_tag(tag, &mut input)?,
            }
        }
        Ok(options)
    }

    /// `runtimeoptions.v1.Options`: 1 = type of the options, 2 = path of a file, 3 = its content.
    fn of_file(bytes: &[u8]) -> Result<Option<Self>, Failure> {
        let (path, body) = file_fields(bytes).map_err(|error| {
            Failure::invalid(format!("read runtimeoptions.v1.Options: {error}"))
        })?;
        if !body.is_empty() {
            let body = std::str::from_utf8(&body)
                .map_err(|error| Failure::invalid(format!("the options are no text: {error}")))?;
            return Self::of_toml(body).map(Some);
        }
        if path.is_empty() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path)
            .map_err(|error| Failure::invalid(format!("read the options in {path}: {error}")))?;
        Self::of_toml(&text).map(Some)
    }

    /// Reads a flat table `Key = value`, keys as in containerd's configuration.
    ///
    /// # Errors
    /// A line that is none; a value of the wrong kind.
    fn of_toml(text: &str) -> Result<Self, Failure> {
        let mut options = Self::default();
        for (number, line) in text.lines().enumerate() {
            let line = line.trim();
            // Headers of tables say where the options were copied from.
            if line.is_empty() || line.starts_with(['#', '[']) {
                continue;
            }
            options.set(line).map_err(|problem| {
                Failure::invalid(format!("options, line {}: {problem}", number + 1))
            })?;
        }
        Ok(options)
    }

    fn set(&mut self, line: &str) -> Result<(), String> {
        let (key, value) = line.split_once('=').ok_or("it has no =")?;
        let key = key.trim().trim_matches(['"', '\'']).replace('_', "").to_ascii_lowercase();
        let value = Value::read(value.trim())?;
        match key.as_str() {
            "nopivotroot" => self.no_pivot_root = value.switch()?,
            "nonewkeyring" => self.no_new_keyring = value.switch()?,
            "shimcgroup" => self.shim_cgroup = value.text()?,
            "systemdcgroup" => self.systemd_cgroup = value.switch()?,
            "criuworkpath" => self.criu_work_path = value.text()?,
            "iouid" => self.io_uid = Some(value.number()?),
            "iogid" => self.io_gid = Some(value.number()?),
            "root" => self.root = value.text()?,
            "binaryname" => {
                check_binary(&value.text()?).map_err(|failure| failure.message)?;
            }
            other => log::debug!("the option {other} means nothing to this shim"),
        }
        Ok(())
    }

    /// Where the state of the containers of a namespace is kept, so that
    /// `coracle --root ROOT/NAMESPACE list` shows them.
    pub(crate) fn state_root(&self, namespace: &str) -> PathBuf {
        let root = if self.root.is_empty() { ROOT } else { &self.root };
        Path::new(root).join(namespace)
    }

    /// User and group of the pipes, if they were given.
    pub(crate) fn io_ids(&self) -> Option<(u32, u32)> {
        match (self.io_uid, self.io_gid) {
            (None, None) => None,
            (uid, gid) => Some((uid.unwrap_or_default(), gid.unwrap_or_default())),
        }
    }

    /// Who makes the cgroup. Some clients cannot pass options at all, so the form of the path, which
    /// only systemd understands, is enough.
    pub(crate) fn cgroup_driver(&self, spec: &Spec) -> CgroupDriver {
        let path = spec.linux.cgroups_path.as_deref().unwrap_or_default();
        let unit = !path.contains('/') && path.matches(':').count() == 2;
        if self.systemd_cgroup || unit { CgroupDriver::Systemd } else { CgroupDriver::Cgroupfs }
    }

    /// Where criu keeps its log and what else it needs for a restore.
    pub(crate) fn criu_work(&self, bundle: &Path) -> Option<PathBuf> {
        match self.criu_work_path.as_str() {
            "" => criu_work(bundle),
            path => Some(PathBuf::from(path)),
        }
    }

    /// Leaves what the `delete` command needs in the bundle; nothing for the usual options.
    ///
    /// # Errors
    /// The file cannot be written.
    pub(crate) fn record(&self, bundle: &Path) -> io::Result<()> {
        if self.root.is_empty() {
            return Ok(());
        }
        let text = serde_json::json!({ "root": self.root }).to_string();
        fs::write(bundle.join(RECORD), text)
    }

    /// The recorded options of a bundle; the usual ones without a record.
    pub(crate) fn recorded(bundle: &Path) -> Self {
        let record = fs::read(bundle.join(RECORD)).ok();
        let record =
            record.and_then(|text| serde_json::from_slice::<serde_json::Value>(&text).ok());
        let root = record.as_ref().and_then(|record| record.get("root")?.as_str());
        Self { root: root.unwrap_or_default().to_owned(), ..Self::default() }
    }
}

/// A place for criu's files in the directory that containerd has for the container; `None` if there is
/// none.
pub(crate) fn criu_work(bundle: &Path) -> Option<PathBuf> {
    let work = bundle.join("work");
    work.is_dir().then(|| work.join("criu-work"))
}

fn check_binary(name: &str) -> Result<(), Failure> {
    let own = Path::new(name).file_name().is_some_and(|file| file == BINARY);
    if name.is_empty() || own {
        return Ok(());
    }
    Err(Failure::invalid(format!(
        "BinaryName is {name:?}, but this shim runs containers itself and no other runtime: \
         leave it out, or use the runtime type io.containerd.runc.v2 for {name:?}"
    )))
}

fn file_fields(bytes: &[u8]) -> containerd_shim_protos::protobuf::Result<(String, Vec<u8>)> {
    let mut input = CodedInputStream::from_bytes(bytes);
    let (mut path, mut body) = (String::new(), Vec::new());
    while let Some(tag) = input.read_raw_tag_or_eof()? {
        match tag {
            18 => path = input.read_string()?,
            26 => body = input.read_bytes()?,
            _ => containerd_shim_protos::protobuf::rt::skip_field_for_tag(tag, &mut input)?,
        }
    }
    Ok((path, body))
}

/// A value of TOML, as far as options need it.
#[derive(Debug, PartialEq, Eq)]
enum Value {
    Switch(bool),
    Number(u32),
    Text(String),
}

impl Value {
    fn read(text: &str) -> Result<Self, String> {
        if let Some(quote) = text.chars().next().filter(|first| matches!(first, '"' | '\'')) {
            let rest = text.get(1..).unwrap_or_default();
            let (inside, after) = rest.split_once(quote).ok_or("the text has no end")?;
            if !is_comment(after) {
                return Err(format!("{after:?} follows the text"));
            }
            if quote == '"' && inside.contains('\\') {
                return Err("escapes are not understood: use single quotes".to_owned());
            }
            return Ok(Self::Text(inside.to_owned()));
        }
        let word = text.split('#').next().unwrap_or_default().trim();
        match word {
            "true" => Ok(Self::Switch(true)),
            "false" => Ok(Self::Switch(false)),
            _ => word
                .replace('_', "")
                .parse()
                .map(Self::Number)
                .map_err(|_| format!("{word:?} is neither a text, a number, nor true or false")),
        }
    }

    fn switch(self) -> Result<bool, String> {
        match self {
            Self::Switch(on) => Ok(on),
            other => Err(format!("{other:?} is neither true nor false")),
        }
    }

    fn number(self) -> Result<u32, String> {
        match self {
            Self::Number(number) => Ok(number),
            other => Err(format!("{other:?} is no number")),
        }
    }

    fn text(self) -> Result<String, String> {
        match self {
            Self::Text(text) => Ok(text),
            other => Err(format!("{other:?} is no text in quotes")),
        }
    }
}

fn is_comment(rest: &str) -> bool {
    let rest = rest.trim();
    rest.is_empty() || rest.starts_with('#')
}

#[cfg(test)]
mod tests {
    use containerd_shim_protos::protobuf::Message;

    use super::*;

    fn wrapped(body: &str) -> Any {
        let mut value = vec![26, u8::try_from(body.len()).expect("short")];
        value.extend_from_slice(body.as_bytes());
        Any { type_url: "runtimeoptions.v1.Options".to_owned(), value, ..Any::default() }
    }

    #[test]
    fn both_messages_say_the_same() {
        let message = oci::Options {
            systemd_cgroup: true,
            root: "/run/x".to_owned(),
            io_uid: 7,
            ..oci::Options::default()
        };
        let any = Any {
            type_url: "types.containerd.io/containerd.runc.v1.Options".to_owned(),
            value: message.write_to_bytes().expect("bytes"),
            ..Any::default()
        };
        let text =
            "[plugins.x.options]\nSystemdCgroup = true # yes\nRoot = \"/run/x\"\nIoUid = 7\n";
        let read = |any: &Any| Options::read(any).expect("options");
        assert_eq!(read(&any), read(&wrapped(text)));
        let options = read(&any).expect("some");
        assert_eq!(options.state_root("n"), Path::new("/run/x/n"));
        assert_eq!(options.io_ids(), Some((7, 0)));
    }

    #[test]
    fn the_owner_of_streams_may_come_in_the_elder_form() {
        // no_pivot_root, a repeated text that means nothing here, shim_cgroup, io_uid, io_gid.
        let value = [&[8, 1][..], b"\x32\x01n", b"\x4a\x02/c", &[80, 0xac, 2], &[88, 0]].concat();
        let any = Any { type_url: OLD.to_owned(), value, ..Any::default() };
        let options = Options::read(&any).expect("options").expect("some");
        assert!(Options::is_one(&any) && options.no_pivot_root);
        assert_eq!((options.io_ids(), &*options.shim_cgroup), (Some((300, 0)), "/c"));
        let cut = Any { value: vec![0x4a, 9], ..any };
        assert!(Options::read(&cut).is_err());
    }

    #[test]
    fn mistakes_have_a_line() {
        for bad in
            ["Root = yes", "\nSystemdCgroup = \"true\"", "Root \"x\"", "Root = \"x", "IoUid = -1"]
        {
            let failure = Options::read(&wrapped(bad)).expect_err(bad);
            assert!(failure.message.contains("line "), "{failure}");
        }
    }

    #[test]
    fn another_engine_is_refused() {
        assert!(Options::read(&wrapped("BinaryName = \"/usr/bin/coracle\"")).is_ok());
        let failure = Options::read(&wrapped("BinaryName = 'runc'")).expect_err("refused");
        assert!(failure.message.contains("runc"), "{failure}");
    }

    #[test]
    fn another_message_is_refused() {
        let any = Any { type_url: "x.Options".to_owned(), ..Any::default() };
        assert!(Options::read(&any).is_err() && !Options::is_one(&any));
    }

    #[test]
    fn what_is_unknown_is_left_alone() {
        assert_eq!(Options::read(&Any::new()), Ok(None));
        assert!(Options::read(&wrapped("Later = 'x'")).is_ok());
    }
}
