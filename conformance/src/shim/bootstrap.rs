//! How the versions of containerd call a shim binary.

use std::fs;
use std::io::{PipeReader, Read, Write, pipe};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::mpsc::channel;
use std::thread;
use std::time::Duration;

use containerd_shim_protos::bootstrap_api::{BootstrapParams, BootstrapResult};
use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::protobuf::well_known_types::any::Any;
use serde_json::Value;

use crate::failure::{Check, broken, ensure};
use crate::trial::Trial;

/// How long containerd waits for the binary, about.
const PATIENCE: Duration = Duration::from_secs(10);

/// The containerd that is played.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Era {
    /// 1.6: only an address is understood.
    V16,
    /// 1.7 and 2.0 to 2.2 up to what they announce: JSON as well.
    V17,
    /// 2.3 and later: a message on standard input.
    V23,
}

/// One invocation of the binary.
#[derive(Debug)]
pub(crate) struct Invocation<'t> {
    trial: &'t Trial,
    /// The containerd.
    pub(crate) era: Era,
    /// Where events go.
    pub(crate) events: PathBuf,
    /// The id.
    pub(crate) id: String,
    /// The bundle.
    pub(crate) bundle: PathBuf,
    /// The runtime options, for standard input.
    pub(crate) options: Any,
    /// Flags before the command.
    pub(crate) flags: Vec<String>,
    /// Where the socket should be (2.3).
    pub(crate) sockets: Option<PathBuf>,
    /// Variables to set as well.
    pub(crate) env: Vec<(String, String)>,
}

/// What the binary did.
#[derive(Debug)]
pub(crate) struct Ended {
    /// The exit status.
    pub(crate) code: i32,
    /// Standard output.
    pub(crate) stdout: Vec<u8>,
    /// Standard error; empty where both were one pipe.
    pub(crate) stderr: Vec<u8>,
}

/// Where the shim of a task serves.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Address {
    /// The socket.
    pub(crate) socket: PathBuf,
    /// The version of the task service.
    pub(crate) version: i32,
    /// The form in which it was told: `plain`, `json` or `message`.
    pub(crate) form: &'static str,
}

impl<'t> Invocation<'t> {
    /// An invocation for a bundle, as the containerd of 1.7 makes it.
    pub(crate) fn new(trial: &'t Trial, events: &Path, (id, bundle): (&str, &Path)) -> Self {
        Self {
            trial,
            era: Era::V17,
            events: events.to_owned(),
            id: id.to_owned(),
            bundle: bundle.to_owned(),
            options: Any::new(),
            flags: Vec::new(),
            sockets: None,
            env: Vec::new(),
        }
    }

    /// `start`; both outputs are one pipe, as in containerd.
    ///
    /// # Errors
    /// It cannot be run, hangs, keeps its output open, fails, or answers something else.
    pub(crate) fn start(&self) -> Check<Address> {
        let mut command = self.command("start");
        let (reader, writer) = pipe()?;
        command.stdout(writer.try_clone()?).stderr(writer);
        let ended = self.run(command, vec![reader])?;
        let text = String::from_utf8_lossy(&ended.stdout).into_owned();
        ensure(ended.code == 0, format!("start ended with {}: {text}", ended.code))?;
        read_address(&ended.stdout)
    }

    /// Another command, with the outputs apart.
    ///
    /// # Errors
    /// It cannot be run, or hangs.
    pub(crate) fn other(&self, action: &str) -> Check<Ended> {
        let mut command = self.command(action);
        let ((out, out_end), (err, err_end)) = (pipe()?, pipe()?);
        command.stdout(out_end).stderr(err_end);
        self.run(command, vec![out, err])
    }

    fn command(&self, action: &str) -> Command {
        let mut command = Command::new(self.trial.runtime());
        let events = self.events.display().to_string();
        let grpc = events.trim_end_matches(".ttrpc").to_owned();
        command.current_dir(&self.bundle).args(["-namespace", super::NAMESPACE, "-address", &grpc]);
        // Never used: both known shims send their events over TTRPC.
        command.args(["-publish-binary", "/bin/false", "-id", &self.id]).args(&self.flags);
        if action == "delete" {
            command.arg("-bundle").arg(&self.bundle);
        }
        command.arg(action).env("TTRPC_ADDRESS", &events).env("GOMAXPROCS", "4");
        if self.era != Era::V16 {
            command.env("MAX_SHIM_VERSION", "2");
            command.env("GRPC_ADDRESS", &grpc).env("NAMESPACE", super::NAMESPACE);
        }
        command.envs(self.env.iter().map(|(key, value)| (key, value)));
        command
    }

    fn input(&self) -> Vec<u8> {
        if self.era == Era::V23 {
            let params = BootstrapParams {
                instance_id: self.id.clone(),
                namespace: super::NAMESPACE.to_owned(),
                containerd_version: "2.3.0".to_owned(),
                containerd_ttrpc_address: self.events.display().to_string(),
                containerd_grpc_address: self.events.display().to_string(),
                containerd_binary: "/bin/false".to_owned(),
                socket_dir: self.sockets.as_ref().map(|dir| dir.display().to_string()),
                ..Default::default()
            };
            return params.write_to_bytes().unwrap_or_default();
        }
        if self.options.type_url.is_empty() {
            return Vec::new();
        }
        self.options.write_to_bytes().unwrap_or_default()
    }

    fn run(&self, mut command: Command, outputs: Vec<PipeReader>) -> Check<Ended> {
        let words: Vec<_> = command.get_args().skip(6).map(|word| word.to_string_lossy()).collect();
        self.trial.tell(words.join(" "));
        let mut child = self.trial.spawn(command.stdin(Stdio::piped()))?;
        // The command holds the writing ends.
        drop(command);
        if let Some(mut stdin) = child.stdin.take() {
            // One that does not read its input has what it needs.
            let _ = stdin.write_all(&self.input());
        }
        let mut texts = Vec::new();
        for mut output in outputs {
            let (sender, receiver) = channel();
            thread::spawn(move || {
                let mut bytes = Vec::new();
                let read = output.read_to_end(&mut bytes).map(|_| bytes);
                let _ = sender.send(read);
            });
            match receiver.recv_timeout(PATIENCE) {
                Ok(bytes) => texts.push(bytes?),
                Err(_) => {
                    let _ = child.kill();
                    let _ = child.wait();
                    self.trial.disown(child.id());
                    return broken("the binary hangs, or its output stays open behind it");
                }
            }
        }
        let status = child.wait()?;
        self.trial.disown(child.id());
        let mut texts = texts.into_iter();
        let mut next = || texts.next().unwrap_or_default();
        Ok(Ended { code: status.code().unwrap_or(-1), stdout: next(), stderr: next() })
    }
}

/// Reads the answer of `start` in any of its three forms, with nothing around it.
///
/// # Errors
/// It has none of them, or does not name a TTRPC socket.
fn read_address(bytes: &[u8]) -> Check<Address> {
    let text = String::from_utf8_lossy(bytes).into_owned();
    let strange = || broken(format!("the answer of start is {text:?}"));
    let (address, version, form) = if text.starts_with("unix://") {
        (text.trim_end().to_owned(), 2, "plain")
    } else if text.starts_with('{') {
        let value: Value = serde_json::from_str(&text)?;
        ensure(value["protocol"] == "ttrpc", format!("protocol in {text}"))?;
        let version = value["version"].as_i64().and_then(|number| i32::try_from(number).ok());
        let address = value["address"].as_str().unwrap_or_default();
        (address.to_owned(), version.unwrap_or(0), "json")
    } else {
        let Ok(result) = BootstrapResult::parse_from_bytes(bytes) else { return strange() };
        ensure(result.protocol == "ttrpc", format!("protocol in {result:?}"))?;
        (result.address, result.version, "message")
    };
    match address.strip_prefix("unix://") {
        Some(path) if path.starts_with('/') && !path.contains(['\n', ' ']) => {
            Ok(Address { socket: path.into(), version, form })
        }
        _ => strange(),
    }
}

/// The address in the bundle, by which the containerd of 1.6 and 1.7 finds a shim again.
///
/// # Errors
/// There is none.
pub(crate) fn recorded(bundle: &Path) -> Check<PathBuf> {
    let text = fs::read_to_string(bundle.join("address"))
        .map_err(|error| format!("the file address in the bundle: {error}"))?;
    match text.trim_end().strip_prefix("unix://") {
        Some(path) => Ok(path.into()),
        None => broken(format!("the file address in the bundle has {text:?}")),
    }
}

#[cfg(test)]
mod tests {
    use super::read_address;
    use crate::failure::Failure;

    #[test]
    fn every_form_is_read() {
        let plain = read_address(b"unix:///run/s/1").ok().unwrap();
        assert_eq!((plain.version, plain.form), (2, "plain"));
        let json = br#"{"version":3,"address":"unix:///run/s/1","protocol":"ttrpc"}"#;
        let json = read_address(json).ok().unwrap();
        assert_eq!((json.socket.to_str(), json.version), (Some("/run/s/1"), 3));
        let message = read_address(b"\x08\x03\x12\x0eunix:///run/s/\x1a\x05ttrpc").ok().unwrap();
        assert_eq!((message.version, message.form), (3, "message"));
    }

    #[test]
    fn stray_words_are_not() {
        for text in ["", "warning\nunix:///run/s/1", "unix:///run/s/1\nmore", "unix://relative"] {
            let read = read_address(text.as_bytes());
            assert!(matches!(read, Err(Failure::Broken(_))), "{text:?}");
        }
    }
}
