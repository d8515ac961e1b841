//! `run` in the foreground: exit status, signals, the terminal.

#![allow(
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::print_stdout,
    reason = "a test fails by panicking and prints what it skips"
)]

mod bundle;

use std::fs::File;
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Stdio};

use bundle::{Bundle, await_true};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{LocalFlags, tcgetattr};
use nix::unistd::Pid;
use serde_json::json;

fn pid(child: &Child) -> Pid {
    Pid::from_raw(i32::try_from(child.id()).expect("a pid"))
}

#[test]
fn the_exit_status_is_that_of_the_program() {
    let Some(bundle) = Bundle::new("exit 7") else {
        return;
    };
    bundle.fail(7, &["run", &bundle.id]);
    assert_eq!(bundle.succeed(&["list", "-q"]), "", "run deletes");
    bundle.fail(7, &["run", "--keep", &bundle.id]);
    assert_eq!(bundle.state()["status"], "stopped");
}

#[test]
fn a_program_that_ends_at_once_is_not_missed() {
    let Some(bundle) = Bundle::new("") else {
        return;
    };
    bundle.edit(|config| config["process"]["args"] = json!(["/bin/true"]));
    for _ in 0..30 {
        bundle.succeed(&["run", &bundle.id]);
    }
}

#[test]
fn standard_streams_are_those_of_the_command() {
    let Some(bundle) = Bundle::new("cat; echo err >&2") else {
        return;
    };
    let mut command = bundle.command(&["run", &bundle.id]);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("coracle runs");
    let mut stdin = child.stdin.take().expect("a pipe");
    stdin.write_all(b"hello").expect("a reader");
    drop(stdin);
    let output = child.wait_with_output().expect("an end");
    assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"hello"[..], &b"err\n"[..]));
}

#[test]
fn signals_reach_the_program() {
    let Some(bundle) = Bundle::new("trap 'exit 5' TERM; while :; do sleep 0.05; done") else {
        return;
    };
    let mut child = bundle.command(&["run", &bundle.id]).spawn().expect("coracle runs");
    bundle.await_status("running");
    // The shell may not have set its trap yet.
    await_true("the end", || {
        kill(pid(&child), Signal::SIGTERM).expect("a process");
        child.try_wait().expect("an answer").is_some()
    });
    assert_eq!(child.wait().expect("an end").code(), Some(5));
}

#[test]
fn death_by_a_signal_is_128_and_its_number() {
    let Some(bundle) = Bundle::new("while :; do sleep 1; done") else {
        return;
    };
    let mut child = bundle.command(&["run", &bundle.id]).spawn().expect("coracle runs");
    bundle.await_status("running");
    bundle.succeed(&["kill", &bundle.id, "KILL"]);
    assert_eq!(child.wait().expect("an end").code(), Some(137));
    assert_eq!(bundle.succeed(&["list", "-q"]), "");
}

/// A terminal for the command, and what the other side of it reads.
struct Screen {
    master: File,
    slave: OwnedFd,
}

impl Screen {
    fn new() -> Self {
        let size = Winsize { ws_row: 33, ws_col: 99, ws_xpixel: 0, ws_ypixel: 0 };
        let pty = openpty(Some(&size), None).expect("a terminal");
        Self { master: pty.master.into(), slave: pty.slave }
    }

    fn attach(&self, command: &mut Command) {
        let end = || Stdio::from(self.slave.try_clone().expect("a copy"));
        command.stdin(end()).stdout(end()).stderr(end());
    }

    /// Reads until this text has come.
    fn read_until(&mut self, text: &str) -> String {
        let mut all = String::new();
        let mut buffer = [0; 512];
        while !all.contains(text) {
            let mut wait = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
            let ready = poll(&mut wait, PollTimeout::from(10_000_u16)).expect("an answer");
            assert_ne!(ready, 0, "waited for {text:?} after {all:?}");
            let count = self.master.read(&mut buffer).expect("output");
            all.push_str(&String::from_utf8_lossy(&buffer[..count]));
        }
        all
    }

    fn is_raw(&self) -> bool {
        let settings = tcgetattr(self.slave.as_fd()).expect("a terminal");
        !settings.local_flags.contains(LocalFlags::ECHO)
    }
}

#[test]
fn the_terminal_is_relayed() {
    let Some(bundle) = Bundle::new("stty size; read line; echo got $line; exit 4") else {
        return;
    };
    bundle.edit(|config| config["process"]["terminal"] = json!(true));
    let mut screen = Screen::new();
    let mut command = bundle.command(&["run", &bundle.id]);
    screen.attach(&mut command);
    let mut child = command.spawn().expect("coracle runs");
    screen.read_until("33 99");
    assert!(screen.is_raw());
    screen.master.write_all(b"word\r").expect("a reader");
    screen.read_until("got word");
    assert_eq!(child.wait().expect("an end").code(), Some(4));
    assert!(!screen.is_raw(), "the terminal is as before");
}

#[test]
fn exec_with_a_terminal() {
    let Some(bundle) = Bundle::new("while :; do sleep 1; done") else {
        return;
    };
    bundle.start_waiting();
    let mut screen = Screen::new();
    let mut command =
        bundle.command(&["exec", "-t", &bundle.id, "sh", "-c", "tty; stty size; exit 6"]);
    screen.attach(&mut command);
    let mut child = command.spawn().expect("coracle runs");
    let text = screen.read_until("33 99");
    assert!(text.contains("/dev/pts/"), "{text}");
    assert_eq!(child.wait().expect("an end").code(), Some(6));
    assert!(!screen.is_raw());
}

#[test]
fn a_detached_terminal_needs_a_socket() {
    let Some(bundle) = Bundle::new("while :; do sleep 1; done") else {
        return;
    };
    let id = bundle.id.as_str();
    let error = bundle.fail(1, &["create", "--console-socket", "s", id]);
    assert!(error.contains("cannot use console socket"), "{error}");
    bundle.edit(|config| config["process"]["terminal"] = json!(true));
    let error = bundle.fail(1, &["create", id]);
    assert!(error.contains("cannot allocate tty"), "{error}");

    let path = bundle.path("s");
    let listener = UnixListener::bind(&path).expect("a socket");
    bundle.succeed(&["create", "--console-socket", &path, id]);
    let (mut stream, _) = listener.accept().expect("a connection");
    let mut name = String::new();
    stream.read_to_string(&mut name).expect("a message");
    assert!(name.starts_with("/dev/pts/"), "{name}");
}

#[test]
fn descriptors_of_a_service_manager_are_passed() {
    let Some(bundle) = Bundle::new("echo $LISTEN_FDS $LISTEN_PID; cat <&3; cat <&4") else {
        return;
    };
    std::fs::write(bundle.path("a"), "a\n").expect("a file");
    std::fs::write(bundle.path("b"), "b\n").expect("a file");
    let coracle = env!("CARGO_BIN_EXE_coracle");
    let script = format!(
        "cd {}; exec 3<a 4<b; LISTEN_FDS=1 LISTEN_PID=$$ exec {coracle} --root state run --preserve-fds 1 {}",
        bundle.path(""),
        bundle.id
    );
    let output = Command::new("sh").arg("-c").arg(script).output().expect("a shell");
    assert_eq!(String::from_utf8_lossy(&output.stdout), "1 1\na\nb\n", "{output:?}");
}

#[test]
fn hooks_and_the_program_get_every_signal() {
    let Some(bundle) = Bundle::new("cat /proc/self/status") else {
        return;
    };
    let kinds = ["prestart", "createRuntime", "poststart", "poststop"];
    let file = bundle.path("masks");
    let script = format!("grep SigBlk /proc/self/status >> {file}");
    for kind in kinds {
        let hook = json!([{"path": "/bin/sh", "args": ["sh", "-c", script]}]);
        bundle.edit(|config| config["hooks"][kind] = hook);
    }
    let status = bundle.succeed(&["run", &bundle.id]);
    let mask = "SigBlk:\t0000000000000000\n";
    assert!(status.contains(mask), "{status}");
    let masks = std::fs::read_to_string(file).expect("what the hooks wrote");
    assert_eq!(masks, mask.repeat(kinds.len()));
}
