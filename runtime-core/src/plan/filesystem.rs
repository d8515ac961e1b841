//! Mounts that are new file systems, and how their options reach the kernel.
//!
//! The kernel takes options one by one (fsconfig(2)), each at most 255 bytes long. What is longer goes
//! another way: the layers of an overlay one by one (`lowerdir+`, Linux 6.7), everything else as one text
//! (mount(2)), of which it takes a page.

use std::borrow::Cow;
use std::path::PathBuf;

use super::draft::{Draft, list, text};
use super::mount_options::{Options, attribute, propagation_flags};
use super::mounts::{Attachment, Make, Setting, attach};
use super::{Origin, labels, trees};
use crate::error::{Error, ErrorKind, Result};
use crate::spec::{Mount, NamespaceKind, Propagation};

/// What fsconfig(2) takes as a value, in bytes.
const MAX_VALUE: usize = 255;
/// What mount(2) takes as data, in bytes: a page with its NUL.
const MAX_DATA: usize = 4095;
/// The kernel that takes the layers of an overlay one by one.
const LAYERS: (u32, u32) = (6, 7);
/// The kernel in which an overlay understands fsconfig(2) itself; before, a comma ends each value.
const OVERLAY: (u32, u32) = (6, 5);

/// File systems without a device or a server behind them: they are read-only where they are mounted, not
/// as a whole, as others may use the same one.
const WITHOUT_DEVICE: [&str; 15] = [
    "proc",
    "sysfs",
    "tmpfs",
    "ramfs",
    "devpts",
    "devtmpfs",
    "mqueue",
    "cgroup",
    "cgroup2",
    "bpf",
    "debugfs",
    "tracefs",
    "securityfs",
    "configfs",
    "hugetlbfs",
];

/// Options that hold a label of SELinux, in quotes if it has commas.
pub(super) const LABELS: [&str; 4] = ["context", "fscontext", "defcontext", "rootcontext"];

/// The attachment of a new file system, and how events travel that is to be set after it.
pub(super) fn gather<'o>(
    setting: Setting<'_>,
    draft: &mut Draft<'_>,
    mount: &Mount,
    given: &'o Options<'_>,
    origin: &Origin,
) -> Result<(Attachment, &'o [Propagation])> {
    let Some(kind) = mount.kind.as_deref().filter(|kind| *kind != "none") else {
        let message = "required for a mount that is no bind mount";
        return Err(
            Error::new(ErrorKind::InvalidSpec, message).with_field(format!("{origin}.type"))
        );
    };
    let otherwise = match kind {
        _ if !setting.is_confined(draft) => "",
        "proc" if !setting.namespaces.is_new(NamespaceKind::Pid) => "/proc",
        "mqueue" if !setting.namespaces.is_new(NamespaceKind::Ipc) => "/dev/mqueue",
        "sysfs" => "/sys",
        "cgroup2" => "/sys/fs/cgroup",
        _ => "",
    };
    let mut data = options(&given.data);
    if given.attributes() & attribute::RDONLY != 0 && !WITHOUT_DEVICE.contains(&kind) {
        data.push("ro".into());
    }
    data.extend(labels::mount_context(setting.spec, kind, &data).map(Cow::Owned));
    let mut make = match Data::of(kind, data, draft.host.kernel) {
        Data::Options(data) => new(mount, given, (kind, &data, otherwise), origin)?,
        Data::Text(_) if !setting.namespaces.is_new(NamespaceKind::Mount) => {
            return Err(needs_own_mounts(origin));
        }
        Data::Text(data) => whole(mount, (kind, &data), origin)?,
    };
    let sealed = kind == "tmpfs" && make.take_readonly();
    let is_whole = matches!(make, Make::Mount { .. });
    let (tree, make) = if trees::asks_for_ids(mount, given) {
        let source = trees::filesystem(setting, draft, (mount, given), (make, origin))?;
        (draft.receive(source, origin.clone()), None)
    } else {
        (draft.make(), Some(make))
    };
    let mut attachment = attach(mount, tree, make, origin)?;
    attachment.sealed = sealed;
    let says_mode = given.data.iter().any(|option| option.starts_with("mode="));
    attachment.keep_mode = kind == "tmpfs" && !says_mode;
    attachment.copy = given.copy;
    if is_whole {
        // mount(2) knows fewer attributes.
        attachment.set = given.attributes();
    }
    let Some((first, later)) = given.propagation.split_first() else {
        return Ok((attachment, &[]));
    };
    attachment.propagation = propagation_flags(*first);
    Ok((attachment, later))
}

/// A new file system with the options of a mount.
pub(super) fn new(
    mount: &Mount,
    given: &Options<'_>,
    (kind, data, otherwise): (&str, &[Cow<'_, str>], &str),
    origin: &Origin,
) -> Result<Make> {
    Ok(Make::New {
        kind: text(kind, origin)?,
        source: text(source(mount, kind), origin)?,
        options: list(data, origin)?,
        attributes: given.attributes(),
        otherwise: text(otherwise, origin)?,
    })
}

fn source(mount: &Mount, kind: &str) -> PathBuf {
    mount.source.clone().unwrap_or_else(|| PathBuf::from(kind))
}

/// mount(2) needs a place, and whoever lives in the namespace would see it covered for a moment: /proc of
/// all processes of the host, if it is the host's.
fn needs_own_mounts(origin: &Origin) -> Error {
    let message = "need mount(2) for their length, and so a mount namespace of the container's own";
    Error::new(ErrorKind::Unsupported, message).with_field(format!("{origin}.options"))
}

/// A new file system that gets its options as one text.
fn whole(mount: &Mount, (kind, options): (&str, &[Cow<'_, str>]), origin: &Origin) -> Result<Make> {
    let mut flags = 0;
    let mut rest = Vec::with_capacity(options.len());
    for option in options {
        match option.as_ref() {
            "ro" => flags |= libc::MS_RDONLY,
            "sync" => flags |= libc::MS_SYNCHRONOUS,
            "dirsync" => flags |= libc::MS_DIRSYNC,
            "lazytime" => flags |= libc::MS_LAZYTIME,
            "async" | "nolazytime" | "mand" | "nomand" => {}
            _ => rest.push(quoted(option)),
        }
    }
    let data = rest.join(",");
    if data.len() > MAX_DATA {
        let message = format!("are longer than {MAX_DATA} bytes, and one than {MAX_VALUE}");
        return Err(Error::new(ErrorKind::Unsupported, message)
            .with_field(format!("{origin}.options"))
            .with_hint(
                "the kernel takes no more; lowerdir of an overlay may be longer from Linux 6.7 on",
            ));
    }
    Ok(Make::Mount {
        kind: text(kind, origin)?,
        source: text(source(mount, kind), origin)?,
        data: text(data, origin)?,
        flags,
    })
}

/// An option as part of a text: a label with commas in quotes.
fn quoted(option: &str) -> Cow<'_, str> {
    match option.split_once('=') {
        Some((name, value)) if LABELS.contains(&name) && value.contains(',') => {
            Cow::Owned(format!("{name}=\"{value}\""))
        }
        _ => Cow::Borrowed(option),
    }
}

/// How options reach the kernel.
#[derive(Debug, PartialEq, Eq)]
enum Data<'a> {
    /// One by one.
    Options(Vec<Cow<'a, str>>),
    /// As one text.
    Text(Vec<Cow<'a, str>>),
}

impl<'a> Data<'a> {
    fn of(kind: &str, options: Vec<Cow<'a, str>>, kernel: (u32, u32)) -> Self {
        let fits = |options: &[Cow<'_, str>]| {
            options.iter().all(|option| {
                let value = option.split_once('=').map_or("", |(_, value)| value);
                value.len() <= MAX_VALUE
                    && (kind != "overlay" || kernel >= OVERLAY || !value.contains(','))
            })
        };
        if fits(&options) {
            return Self::Options(options);
        }
        if kind == "overlay" && kernel >= LAYERS {
            let split: Vec<_> = options.iter().cloned().flat_map(layers).collect();
            if fits(&split) {
                return Self::Options(split);
            }
        }
        Self::Text(options)
    }
}

/// The layers of `lowerdir`, each as an option of its own, without the backslashes that keep colons
/// from separating them; after two colons come layers of data.
fn layers(option: Cow<'_, str>) -> Vec<Cow<'_, str>> {
    let Some(value) = option.strip_prefix("lowerdir=") else { return vec![option] };
    let mut found = Vec::new();
    let (mut key, mut path) = ("lowerdir+", String::new());
    let mut rest = value.chars().peekable();
    loop {
        match rest.next() {
            Some('\\') => path.extend(rest.next()),
            Some(':') | None => {
                let ends = rest.peek().is_none();
                found.push(Cow::Owned(format!("{key}={}", std::mem::take(&mut path))));
                if ends {
                    return found;
                }
                if rest.next_if_eq(&':').is_some() {
                    key = "datadir+";
                }
            }
            Some(other) => path.push(other),
        }
    }
}

/// The options of a file system one by one: an entry of the list may hold several, between commas that
/// neither a backslash nor quotes make part of a value; the quotes around a label go.
pub(super) fn options<'a>(given: &[&'a str]) -> Vec<Cow<'a, str>> {
    let mut all = Vec::with_capacity(given.len() + 1);
    for option in given {
        let mut rest = *option;
        while let Some(at) = end(rest) {
            let (first, tail) = rest.split_at(at);
            all.extend(one(first));
            rest = tail.get(1..).unwrap_or_default();
        }
        all.extend(one(rest));
    }
    all
}

/// Where the first option ends, if another follows.
fn end(text: &str) -> Option<usize> {
    let (mut quoted, mut escaped) = (false, false);
    text.bytes().position(|byte| {
        let ends = byte == b',' && !quoted && !escaped;
        quoted ^= byte == b'"' && !escaped;
        escaped = byte == b'\\' && !escaped;
        ends
    })
}

fn one(option: &str) -> Option<Cow<'_, str>> {
    if option.is_empty() {
        return None;
    }
    let label = option.split_once('=').and_then(|(name, value)| {
        let value = value.strip_prefix('"')?.strip_suffix('"')?;
        LABELS.contains(&name).then(|| Cow::Owned(format!("{name}={value}")))
    });
    Some(label.unwrap_or(Cow::Borrowed(option)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;
    use crate::plan::{Plan, PlanOptions};

    #[test]
    fn commas_separate_options() {
        let of = |given: &[&'static str]| options(given).join("|");
        assert_eq!(of(&["size=1m,mode=700", "", "noswap,"]), "size=1m|mode=700|noswap");
        assert_eq!(of(&[r"lowerdir=/a\,b:/c,userxattr"]), r"lowerdir=/a\,b:/c|userxattr");
        assert_eq!(of(&[r#"context="u:r:t:s0:c1,c2",x"#]), "context=u:r:t:s0:c1,c2|x");
    }

    #[test]
    fn long_values_find_another_way() {
        let long = |count: usize| format!("/{}", "l".repeat(count));
        let of = |kind: &str, given: &str, kernel| match Data::of(kind, options(&[given]), kernel) {
            Data::Options(list) => ("options", list.join("|")),
            Data::Text(list) => ("text", list.join("|")),
        };
        let short = "lowerdir=/a:/b";
        assert_eq!(of("overlay", short, (6, 12)), ("options", short.to_owned()));
        let (one, two) = (long(200), long(201));
        let given = format!(r"lowerdir={one}:{two}\:x::/data,upperdir=/u");
        let split = format!("lowerdir+={one}|lowerdir+={two}:x|datadir+=/data|upperdir=/u");
        assert_eq!(of("overlay", &given, (6, 12)), ("options", split));
        assert_eq!(of("overlay", &given, (6, 6)).0, "text");
        assert_eq!(of("nfs", &format!("a={}", long(255)), (6, 12)).0, "text");
        assert_eq!(of("overlay", r"lowerdir=/a\,b", (6, 1)).0, "text");
        assert_eq!(of("overlay", &format!("upperdir={}", long(300)), (6, 12)).0, "text");
    }

    #[test]
    fn nobody_elses_mounts_are_covered_for_long_options() {
        let compile = |namespace: &str| {
            let text = format!(
                r#"{{"ociVersion": "1.3.0", "root": {{"path": "rootfs"}},
                    "process": {{"args": ["/a"], "cwd": "/"}},
                    "mounts": [{{"destination": "/x", "type": "overlay", "source": "o",
                                 "options": ["upperdir=/{}"]}}],
                    "linux": {{"namespaces": [{{"type": "mount"{namespace}}}]}}}}"#,
                "u".repeat(300)
            );
            let spec = serde_json::from_str(&text).expect("valid");
            let options = PlanOptions::new("box".parse().expect("a name"), "/bundle".into());
            Plan::compile(&spec, &Host::default(), &options)
        };
        compile("").expect("its own");
        let error = compile(r#", "path": "/proc/1/ns/mnt""#).expect_err("the host's");
        assert_eq!(error.kind(), ErrorKind::Unsupported);
        assert_eq!(error.field(), Some("mounts[0].options"));
    }
}
