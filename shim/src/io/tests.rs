//! Streams of real processes, through real fifos, files, loggers and terminals.

use std::fs::{self, File, OpenOptions};
use std::io::{Read, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command};
use std::time::{Duration, Instant};

use coracle::Stdio;
use nix::fcntl::OFlag;
use nix::pty::openpty;
use nix::sys::stat::{Mode, fstat};
use nix::unistd::mkfifo;
use tempfile::TempDir;
use tokio::time::{sleep, timeout};

use super::{Owner, Relay, Streams, open};

const LONG: Duration = Duration::from_secs(20);

/// A directory with the fifos of one process.
struct Client(TempDir);

impl Client {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a directory"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn fifo(&self, name: &str) -> String {
        let path = self.path(name);
        mkfifo(&path, Mode::S_IRWXU).expect("a fifo");
        path.display().to_string()
    }

    fn script(&self, name: &str, text: &str) -> String {
        let path = self.path(name);
        fs::write(&path, format!("#!/bin/sh\n{text}\n")).expect("a script");
        fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).expect("its mode");
        path.display().to_string()
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }
}

fn owner() -> Owner {
    Owner { namespace: "space".to_owned(), container: "box".to_owned(), ids: None }
}

fn named(stdin: &str, stdout: &str, stderr: &str) -> Streams {
    let [stdin, stdout, stderr] = [stdin, stdout, stderr].map(str::to_owned);
    Streams { stdin, stdout, stderr, terminal: false }
}

/// Starts a shell with the streams, as the shim starts a container.
fn start(script: &str, streams: &Streams) -> (Child, Relay) {
    let mut opened = open(streams, &owner()).expect("the streams");
    let Stdio::Fds { stdin, stdout, stderr } = opened.take_child_ends() else {
        panic!("no ends for the process");
    };
    let mut command = Command::new("sh");
    command.args(["-c", script]).stdin(stdin).stdout(stdout).stderr(stderr);
    let child = command.spawn().expect("a shell");
    (child, opened.relay(None).expect("a relay"))
}

/// Reads a fifo to its end on a thread, as a client does.
fn reader(path: &str) -> tokio::task::JoinHandle<Vec<u8>> {
    // Opened at once: no end of file may come before the process has written.
    let mut file = File::from(client_end(path, OFlag::O_RDONLY));
    tokio::task::spawn_blocking(move || {
        let mut all = Vec::new();
        file.read_to_end(&mut all).expect("the output");
        all
    })
}

/// Opens an end of a fifo as a client does, once the other is there; it blocks afterwards.
fn client_end(path: &str, access: OFlag) -> OwnedFd {
    let write = access == OFlag::O_WRONLY;
    let mut options = OpenOptions::new();
    options.read(!write).write(write).custom_flags(OFlag::O_NONBLOCK.bits());
    let fd: OwnedFd = options.open(path).expect("the other end is open").into();
    nix::fcntl::fcntl(&fd, nix::fcntl::FcntlArg::F_SETFL(access)).expect("blocking");
    fd
}

/// The reading end of a fifo that holds one page only, so that the rest stays in the process's pipe.
fn narrow_end(path: &str) -> OwnedFd {
    let fd = client_end(path, OFlag::O_RDONLY);
    nix::fcntl::fcntl(&fd, nix::fcntl::FcntlArg::F_SETPIPE_SZ(4096)).expect("a small fifo");
    fd
}

async fn ended(child: &mut Child) -> i32 {
    let start = Instant::now();
    while start.elapsed() < LONG {
        if let Some(status) = child.try_wait().expect("the child") {
            return status.code().unwrap_or(-1);
        }
        sleep(Duration::from_millis(2)).await;
    }
    child.kill().expect("a kill");
    panic!("the process did not end");
}

#[tokio::test]
async fn one_stream_goes_to_a_fifo_and_the_others_nowhere() {
    let client = Client::new();
    let stdout = client.fifo("out");
    let streams = named("", &format!("fifo://{stdout}"), "");
    let (mut child, relay) = start("cat; echo to nobody >&2; echo hello", &streams);
    let output = reader(&stdout);
    assert_eq!(ended(&mut child).await, 0);
    relay.drain(LONG).await;
    assert_eq!(output.await.expect("the output"), b"hello\n");
}

#[tokio::test]
async fn both_outputs_are_kept_apart() {
    let client = Client::new();
    let (stdout, stderr) = (client.fifo("out"), client.fifo("err"));
    let (mut child, relay) = start("echo out; echo err >&2", &named("", &stdout, &stderr));
    let (out, err) = (reader(&stdout), reader(&stderr));
    ended(&mut child).await;
    relay.drain(LONG).await;
    assert_eq!(out.await.expect("the output"), b"out\n");
    assert_eq!(err.await.expect("the output"), b"err\n");
}

#[tokio::test]
async fn input_ends_when_both_the_client_and_the_shim_have_let_go() {
    let client = Client::new();
    let (stdin, stdout) = (client.fifo("in"), client.fifo("out"));
    let (mut child, relay) = start("cat; echo end", &named(&stdin, &stdout, ""));
    let output = reader(&stdout);
    for text in ["first\n", "second\n"] {
        // A client may go and come back.
        let mut writer = File::from(client_end(&stdin, OFlag::O_WRONLY));
        writer.write_all(text.as_bytes()).expect("input");
    }
    sleep(Duration::from_millis(50)).await;
    assert!(child.try_wait().expect("the child").is_none(), "end of input without CloseIO");
    let mut writer = File::from(client_end(&stdin, OFlag::O_WRONLY));
    relay.close_stdin();
    sleep(Duration::from_millis(50)).await;
    assert!(child.try_wait().expect("the child").is_none(), "the client still writes");
    writer.write_all(b"third\n").expect("input");
    drop(writer);
    assert_eq!(ended(&mut child).await, 0);
    relay.drain(LONG).await;
    assert_eq!(output.await.expect("the output"), b"first\nsecond\nthird\nend\n");
}

#[tokio::test]
async fn input_can_be_closed_before_a_client_comes() {
    let client = Client::new();
    let stdin = client.fifo("in");
    let (mut child, relay) = start("cat", &named(&stdin, "", ""));
    relay.close_stdin();
    assert_eq!(ended(&mut child).await, 0);
    relay.drain(LONG).await;
}

#[tokio::test]
async fn output_waits_for_a_client_that_is_away() {
    let client = Client::new();
    let stdout = client.fifo("out");
    let (mut child, relay) = start("echo one; sleep 0.2; echo two", &named("", &stdout, ""));
    let away = client_end(&stdout, OFlag::O_RDONLY);
    drop(away);
    assert_eq!(ended(&mut child).await, 0, "no SIGPIPE");
    let output = reader(&stdout);
    relay.drain(LONG).await;
    assert_eq!(output.await.expect("the output"), b"one\ntwo\n");
}

#[tokio::test]
async fn much_output_arrives_whole_and_in_order() {
    let client = Client::new();
    let stdout = client.fifo("out");
    let (mut child, relay) = start("seq 1 3000000", &named("", &stdout, ""));
    let output = reader(&stdout);
    assert_eq!(ended(&mut child).await, 0);
    relay.drain(LONG).await;
    let output = output.await.expect("the output");
    let mut lines = output.split(|byte| *byte == b'\n');
    for number in 1..=3_000_000 {
        assert_eq!(lines.next(), Some(number.to_string().as_bytes()));
    }
    assert_eq!(output.len(), 22_888_896);
}

#[tokio::test]
async fn a_slow_client_gets_what_was_written_before_the_end() {
    let client = Client::new();
    let stdout = client.fifo("out");
    let (mut child, relay) = start("head -c 60000 /dev/zero", &named("", &stdout, ""));
    let mut file = File::from(narrow_end(&stdout));
    assert_eq!(ended(&mut child).await, 0);
    let output = tokio::task::spawn_blocking(move || {
        let (mut total, mut bytes) = (0, [0; 4096]);
        loop {
            std::thread::sleep(Duration::from_millis(10));
            match file.read(&mut bytes).expect("the output") {
                0 => return total,
                count => total += count,
            }
        }
    });
    relay.drain(LONG).await;
    assert_eq!(output.await.expect("the output"), 60_000);
}

#[tokio::test]
async fn a_client_that_is_gone_is_not_waited_for() {
    let client = Client::new();
    let stdout = client.fifo("out");
    let (mut child, relay) = start("head -c 60000 /dev/zero", &named("", &stdout, ""));
    drop(narrow_end(&stdout));
    assert_eq!(ended(&mut child).await, 0);
    let start = Instant::now();
    relay.drain(LONG).await;
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
}

#[tokio::test]
async fn a_client_that_does_not_read_delays_the_end_by_the_bound() {
    let client = Client::new();
    let stdout = client.fifo("out");
    let (mut child, relay) = start("head -c 60000 /dev/zero", &named("", &stdout, ""));
    let _idle = narrow_end(&stdout);
    assert_eq!(ended(&mut child).await, 0);
    let start = Instant::now();
    relay.drain(Duration::from_millis(300)).await;
    let time = start.elapsed();
    assert!(time > Duration::from_millis(250) && time < Duration::from_secs(3), "{time:?}");
}

#[tokio::test]
async fn a_background_child_does_not_hold_the_end_up() {
    let client = Client::new();
    let stdout = client.fifo("out");
    let (mut child, relay) = start("sleep 5 & echo started $!", &named("", &stdout, ""));
    let output = reader(&stdout);
    assert_eq!(ended(&mut child).await, 0);
    let start = Instant::now();
    relay.drain(LONG).await;
    let output = output.await.expect("the output");
    assert!(start.elapsed() < Duration::from_secs(2), "{:?}", start.elapsed());
    let text = String::from_utf8(output).expect("text");
    let pid = text.trim().strip_prefix("started ").expect("all that was written").to_owned();
    Command::new("kill").arg(pid).status().expect("kill runs");
}

#[tokio::test]
async fn files_are_made_with_their_directories_and_appended_to() {
    let client = Client::new();
    let name = format!("file://{}", client.path("a/b/log").display());
    for round in ["first", "second"] {
        let script = format!("echo out {round}; echo err {round} >&2");
        let (mut child, relay) = start(&script, &named("", &name, &name));
        assert_eq!(ended(&mut child).await, 0);
        relay.drain(LONG).await;
    }
    let text = client.text("a/b/log");
    let mut lines: Vec<_> = text.lines().collect();
    assert!(lines[..2].iter().all(|line| line.ends_with("first")), "{text}");
    lines.sort_unstable();
    assert_eq!(lines, ["err first", "err second", "out first", "out second"]);
    let mode = fs::metadata(client.path("a/b/log")).expect("the file").mode();
    assert_eq!(mode & 0o7777 & !0o644, 0);
}

#[tokio::test]
async fn a_full_disk_stops_no_process() {
    let script = "head -c 1000000 /dev/zero && echo ok >&2";
    let client = Client::new();
    let stderr = client.fifo("err");
    let (mut child, relay) = start(script, &named("", "file:///dev/full", &stderr));
    let errors = reader(&stderr);
    assert_eq!(ended(&mut child).await, 0);
    relay.drain(LONG).await;
    assert_eq!(errors.await.expect("the output"), b"ok\n");
}

#[tokio::test]
async fn a_logger_reads_both_streams_to_their_end() {
    let client = Client::new();
    let result = client.path("result").display().to_string();
    let logger = client.script(
        "logger",
        "exec 5>&-\n\
         { echo \"$CONTAINER_NAMESPACE/$CONTAINER_ID $1=$2 $(env | grep -c ^CONTAINER)\"; cat <&3; cat <&4; \
         sleep 0.3; echo tail; } > \"$2\"",
    );
    let name = format!("binary://{logger}?to={result}");
    let (mut child, relay) = start("echo out; echo err >&2", &named("", &name, &name));
    assert_eq!(ended(&mut child).await, 0);
    let start = Instant::now();
    relay.drain(LONG).await;
    assert!(start.elapsed() < Duration::from_millis(250), "waits for the logger off the loop");
    while !client.text("result").ends_with("tail\n") {
        assert!(start.elapsed() < LONG, "{:?}", client.text("result"));
        sleep(Duration::from_millis(10)).await;
    }
    let expected = format!("space/box to={result} 2\nout\nerr\ntail\n");
    assert_eq!(client.text("result"), expected);
}

#[tokio::test]
async fn a_logger_for_one_stream_gets_nothing_on_the_other() {
    let client = Client::new();
    let result = client.path("result");
    let logger = client.script("logger", &format!("exec 5>&-; cat <&3 <&4 > {}", result.display()));
    let stdout = client.fifo("out");
    let (mut child, relay) =
        start("echo out; echo err >&2", &named("", &stdout, &format!("binary://{logger}")));
    let output = reader(&stdout);
    assert_eq!(ended(&mut child).await, 0);
    relay.drain(LONG).await;
    assert_eq!(output.await.expect("the output"), b"out\n");
    let start = Instant::now();
    while client.text("result") != "err\n" {
        assert!(start.elapsed() < LONG, "{:?}", client.text("result"));
        sleep(Duration::from_millis(10)).await;
    }
}

#[test]
fn a_logger_that_does_not_get_ready_is_an_error() {
    let client = Client::new();
    let closes = client.script("closes", "exec 5>&-; cat <&3 >/dev/null");
    let confirms = client.script("confirms", "printf x >&5; exec 5>&-; cat <&3 >/dev/null");
    let fails = client.script("fails", "exit 7");
    let failure = |name: String| match open(&named("", &name, ""), &owner()) {
        Ok(_) => String::new(),
        Err(error) => error.to_string(),
    };
    assert_eq!(failure(format!("binary://{closes}")), "");
    assert_eq!(failure(format!("binary-v2://{confirms}")), "");
    assert_eq!(failure(format!("binary://{confirms}")), "");
    let text = failure(format!("binary-v2://{closes}"));
    assert!(text.contains("without writing a byte") && text.contains("closes"), "{text}");
    let text = failure("binary:///nowhere/logger".to_owned());
    assert!(text.contains("/nowhere/logger") && text.contains("No such file"), "{text}");
    let text = failure(format!("binary-v2://{fails}"));
    assert!(text.contains("fails"), "{text}");
}

#[test]
fn a_logger_that_stays_is_ended() {
    let client = Client::new();
    let pid = client.path("pid");
    let script = format!("trap 'exit 0' TERM; echo $$ > {}; sleep 60 & wait", pid.display());
    let stays = client.script("stays", &script);
    // It never says that it is ready, so that it is not given 10 seconds once more.
    let start = Instant::now();
    let error = open(&named("", &format!("binary-v2://{stays}"), ""), &owner());
    assert!(error.is_err() && start.elapsed() > Duration::from_secs(9));
    let process = Path::new("/proc").join(client.text("pid").trim());
    while process.exists() {
        assert!(start.elapsed() < LONG, "{} is still there", process.display());
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn pipes_belong_to_the_process() {
    let client = Client::new();
    let (stdin, stdout) = (client.fifo("in"), client.fifo("out"));
    let owner = Owner { ids: Some((1234, 567)), ..owner() };
    let mut opened = open(&named(&stdin, &stdout, ""), &owner).expect("the streams");
    let Stdio::Fds { stdin, stdout, .. } = opened.take_child_ends() else { panic!("no ends") };
    for fd in [stdin, stdout] {
        let stat = fstat(fd.as_fd()).expect("a pipe");
        assert_eq!((stat.st_uid, stat.st_gid), (1234, 567));
        let flags = nix::fcntl::fcntl(&fd, nix::fcntl::FcntlArg::F_GETFL).expect("flags");
        assert_eq!(flags & OFlag::O_NONBLOCK.bits(), 0, "the process's end blocks");
    }
}

#[test]
fn what_cannot_be_opened_is_named() {
    let failure = |streams: &Streams| open(streams, &owner()).expect_err("an error").to_string();
    let text = failure(&named("", "/nowhere/out", ""));
    assert!(text.contains("/nowhere/out"), "{text}");
    let text = failure(&named("", "", "ttrpc+unix:///run/stream"));
    assert!(text.contains("not supported") && text.contains("io_type"), "{text}");
    let text = failure(&named("file:///tmp/x", "", ""));
    assert!(text.contains("standard input"), "{text}");
}

#[tokio::test]
async fn a_terminal_is_relayed_in_both_directions() {
    let client = Client::new();
    let (stdin, stdout) = (client.fifo("in"), client.fifo("out"));
    let streams = Streams { terminal: true, ..named(&stdin, &stdout, "/not/looked/at") };
    let mut opened = open(&streams, &owner()).expect("the streams");
    assert!(matches!(opened.take_child_ends(), Stdio::Inherit));
    let terminal = openpty(None, None).expect("a terminal");
    let (slave, end) = (terminal.slave, |fd: &OwnedFd| fd.try_clone().expect("a copy"));
    let mut command = Command::new("sh");
    command.args(["-c", "stty -echo; echo ready; read line; echo got $line; stty size"]);
    command.stdin(end(&slave)).stdout(end(&slave)).stderr(end(&slave));
    let mut child = command.spawn().expect("a shell");
    drop((command, slave));
    let relay = opened.relay(Some(terminal.master)).expect("a relay");
    relay.resize(101, 43).expect("resized");
    let mut output = File::from(client_end(&stdout, OFlag::O_RDONLY));
    let ready = tokio::task::spawn_blocking(move || {
        let mut text = Vec::new();
        while !text.ends_with(b"ready\r\n") {
            let mut byte = [0];
            output.read_exact(&mut byte).expect("a byte");
            text.extend(byte);
        }
        output
    });
    let mut output = ready.await.expect("the first line");
    let mut input = File::from(client_end(&stdin, OFlag::O_WRONLY));
    input.write_all(b"a line\n").expect("input");
    assert_eq!(ended(&mut child).await, 0);
    relay.drain(LONG).await;
    let mut rest = String::new();
    output.read_to_string(&mut rest).expect("the rest");
    assert_eq!(rest, "got a line\r\n43 101\r\n");
}

#[tokio::test]
async fn a_terminal_without_a_client_is_read_all_the_same() {
    let streams = Streams { terminal: true, ..named("", "", "") };
    let opened = open(&streams, &owner()).expect("the streams");
    let terminal = openpty(None, None).expect("a terminal");
    let relay = opened.relay(Some(terminal.master)).expect("a relay");
    let mut command = Command::new("sh");
    command.args(["-c", "seq 1 20000"]).stdout(terminal.slave);
    let mut child = command.spawn().expect("a shell");
    drop(command);
    assert_eq!(ended(&mut child).await, 0);
    timeout(LONG, relay.drain(LONG)).await.expect("an end");
}

#[tokio::test]
async fn a_terminal_may_have_a_logger() {
    let client = Client::new();
    let result = client.path("result");
    let logger = client.script("logger", &format!("exec 5>&-; cat <&3 > {}", result.display()));
    let streams = Streams { terminal: true, ..named("", &format!("binary://{logger}"), "") };
    let opened = open(&streams, &owner()).expect("the streams");
    let terminal = openpty(None, None).expect("a terminal");
    let relay = opened.relay(Some(terminal.master)).expect("a relay");
    let mut command = Command::new("echo");
    let mut child = command.arg("hello").stdout(terminal.slave).spawn().expect("echo runs");
    drop(command);
    assert_eq!(ended(&mut child).await, 0);
    relay.drain(LONG).await;
    let start = Instant::now();
    while client.text("result") != "hello\r\n" {
        assert!(start.elapsed() < LONG, "{:?}", client.text("result"));
        sleep(Duration::from_millis(10)).await;
    }
}
