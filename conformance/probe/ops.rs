//! The operations of the probe.

use std::collections::HashMap;
use std::ffi::CString;
use std::fs::{self, OpenOptions};
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use nix::mount::{MntFlags, MsFlags, mount, umount2};
use nix::sched::{CloneFlags, unshare};
use nix::sys::signal::{SigSet, Signal, kill};
use nix::sys::stat::{Mode, SFlag, makedev, mknod};
use nix::unistd::{Gid, Pid, Uid};
use serde_json::{Value, json};

use crate::{report, sys};

/// What one operation did.
pub(crate) enum Step {
    /// A value to print.
    Done(Value),
    /// Nothing to print.
    Silent,
    /// End of the program.
    Exit(u8),
}

/// How long `waitfile` waits.
const PATIENCE: Duration = Duration::from_secs(15);

/// Performs one operation; the error is the name of the errno, or a word for a bad argument.
pub(crate) fn perform(name: &str, argument: &str) -> Result<Step, String> {
    let parts: Vec<&str> = argument.split(',').collect();
    process_step(name, argument)
        .or_else(|| file_step(name, Path::new(argument), &parts))
        .or_else(|| kernel_step(name, argument, &parts))
        .unwrap_or_else(|| Err("UNKNOWN-OPERATION".to_owned()))
}

type Outcome = Option<Result<Step, String>>;

fn done(value: impl Into<Value>) -> Result<Step, String> {
    Ok(Step::Done(value.into()))
}

fn process_step(name: &str, argument: &str) -> Outcome {
    Some(match name {
        "report" => done(report::whole()),
        "echo" => write_raw(&mut std::io::stdout(), argument),
        "stderr" => write_raw(&mut std::io::stderr(), argument),
        "pour" => pour(argument),
        "exit" => Ok(Step::Exit(argument.parse().unwrap_or(0))),
        "sleep" => sleep(argument),
        "term" => until_term(argument),
        "signals" => await_signals(argument),
        "talk" => talk(argument),
        "kill" => signal_of(argument).and_then(|signal| {
            kill(Pid::this(), signal).map_err(name_of)?;
            done("sent")
        }),
        "ignore" => signal_of(argument).and_then(|signal| {
            sys::ignore(signal).map_err(name_of)?;
            done("ignored")
        }),
        "fork" => spawn_sleepers(argument),
        "stdin" => read_all(&mut std::io::stdin()),
        "readfd" => match argument.parse() {
            Ok(fd) => sys::read_descriptor(fd).map_err(name_of).and_then(|bytes| lossy(&bytes)),
            Err(_) => Err("EINVAL".to_owned()),
        },
        "console" => {
            let (path, input) = argument.split_once(',').unwrap_or((argument, ""));
            crate::console::serve(path, input).map_err(|error| errno_of(&error)).and_then(done)
        }
        "agent" => {
            let mut parts = argument.splitn(3, ',');
            let mut part = || parts.next().unwrap_or_default();
            let (path, count) = (part(), part());
            crate::agent::serve(path, count, part())
                .map_err(|error| errno_of(&error))
                .and_then(done)
        }
        "record" => record(argument),
        "exec" => Err(errno_of(&Command::new(argument).args(["echo=executed"]).exec())),
        "spawn" => Command::new(argument)
            .arg("exit=7")
            .status()
            .map_err(|error| errno_of(&error))
            .and_then(|status| done(status.code())),
        "watch" => watch(argument),
        "seize" => seize(argument),
        "alloc" => allocate(argument),
        _ => return None,
    })
}

fn file_step(name: &str, path: &Path, parts: &[&str]) -> Outcome {
    let second = parts.get(1).copied().unwrap_or_default();
    let first = Path::new(parts.first().copied().unwrap_or_default());
    Some(match name {
        "read" => fs::File::open(path)
            .map_err(|error| errno_of(&error))
            .and_then(|mut file| read_all(&mut file)),
        "write" => plain(OpenOptions::new().write(true).open(path).map(|_| ())),
        "create" => plain(
            OpenOptions::new().write(true).create(true).truncate(false).open(path).map(|_| ()),
        ),
        "put" => plain(
            OpenOptions::new()
                .write(true)
                .open(first)
                .and_then(|mut file| file.write_all(second.as_bytes())),
        ),
        "open" => plain(fs::File::open(path).map(|_| ())),
        "rw" => plain(OpenOptions::new().read(true).write(true).open(path).map(|_| ())),
        "stat" => report::inode(path).map_err(|error| errno_of(&error)).and_then(done),
        "statf" => fs::canonicalize(path)
            .and_then(|real| report::inode(&real))
            .map_err(|error| errno_of(&error))
            .and_then(done),
        "list" => match report::names(path) {
            Some(list) => done(list),
            None => Err("ENOENT".to_owned()),
        },
        "mkdir" => plain(fs::create_dir(path)),
        "unlink" => plain(fs::remove_file(path)),
        "symlink" => plain(std::os::unix::fs::symlink(second, first)),
        "swap" => swap(parts),
        "waitfile" => wait_for(path),
        "mknod" => make_node(parts),
        "statfs" => nix::sys::statfs::statfs(path)
            .map_err(name_of)
            .and_then(|info| done(json!({ "type": format!("{:#x}", info.filesystem_type().0) }))),
        _ => return None,
    })
}

fn kernel_step(name: &str, argument: &str, parts: &[&str]) -> Outcome {
    let part = |index: usize| parts.get(index).copied().unwrap_or_default();
    Some(match name {
        "mount" => {
            let kind = Some(part(2)).filter(|kind| !kind.is_empty());
            let flags = MsFlags::from_bits_truncate(part(3).parse().unwrap_or(0));
            errno(mount(Some(part(0)), part(1), kind, flags, None::<&str>))
        }
        "umount" => errno(umount2(argument, MntFlags::MNT_DETACH)),
        "unshare" => errno(unshare(match argument {
            "user" => CloneFlags::CLONE_NEWUSER,
            "mount" => CloneFlags::CLONE_NEWNS,
            _ => CloneFlags::CLONE_NEWUTS,
        })),
        "sethostname" => errno(nix::unistd::sethostname(argument)),
        "setuid" => errno(nix::unistd::setuid(Uid::from_raw(argument.parse().unwrap_or(0)))),
        "setgid" => errno(nix::unistd::setgid(Gid::from_raw(argument.parse().unwrap_or(0)))),
        "chroot" => errno(nix::unistd::chroot(argument)),
        "syscall" => raw(parts),
        "policy" => sys::scheduling().map_err(name_of).and_then(|[policy, rest @ ..]| {
            let names = ["flags", "nice", "priority", "runtime", "deadline", "period"];
            let mut found: serde_json::Map<String, Value> =
                names.iter().map(|name| (*name).to_owned()).zip(rest.map(Value::from)).collect();
            found.insert("policy".to_owned(), policy.into());
            done(found)
        }),
        "xattr" => {
            sys::attribute(part(0), part(1)).map_err(name_of).and_then(|bytes| lossy(&bytes))
        }
        "mempolicy" => sys::memory_policy()
            .map_err(name_of)
            .and_then(|(mode, nodes)| done(json!({ "mode": mode, "nodes": nodes }))),
        "keyring" => sys::session_keyring()
            .map_err(name_of)
            .and_then(|(serial, text)| done(json!({ "serial": serial, "text": text }))),
        "notify" => notify(argument),
        _ => return None,
    })
}

/// Sends a message to the service manager (sd_notify(3)); `|` stands for the end of a line.
fn notify(argument: &str) -> Result<Step, String> {
    let path = std::env::var_os("NOTIFY_SOCKET").ok_or("ENOENT")?;
    let message = argument.replace('|', "\n");
    let sent = std::os::unix::net::UnixDatagram::unbound()
        .and_then(|socket| socket.send_to(message.as_bytes(), path));
    plain(sent.map(|_| ()))
}

/// The number of a system call: by name, or after `#`.
pub(crate) fn number(name: &str) -> Result<libc::c_long, String> {
    Ok(match name {
        "getppid" => libc::SYS_getppid,
        "execve" => libc::SYS_execve,
        "write" => libc::SYS_write,
        "sendmsg" => libc::SYS_sendmsg,
        "mkdirat" => libc::SYS_mkdirat,
        "fchmodat" => libc::SYS_fchmodat,
        "fchownat" => libc::SYS_fchownat,
        "unlinkat" => libc::SYS_unlinkat,
        "personality" => libc::SYS_personality,
        "keyctl" => libc::SYS_keyctl,
        "add_key" => libc::SYS_add_key,
        "ptrace" => libc::SYS_ptrace,
        "unshare" => libc::SYS_unshare,
        "sethostname" => libc::SYS_sethostname,
        "bpf" => libc::SYS_bpf,
        "io_uring_setup" => libc::SYS_io_uring_setup,
        "swapoff" => libc::SYS_swapoff,
        "getpriority" => libc::SYS_getpriority,
        "setpriority" => libc::SYS_setpriority,
        "socket" => libc::SYS_socket,
        "sync" => libc::SYS_sync,
        "acct" => libc::SYS_acct,
        "membarrier" => libc::SYS_membarrier,
        other => other.trim_start_matches('#').parse().map_err(|_| "EINVAL".to_owned())?,
    })
}

fn raw(parts: &[&str]) -> Result<Step, String> {
    let (name, rest) = parts.split_first().ok_or("EINVAL")?;
    let number = number(name)?;
    let mut args = [0; 6];
    for (slot, word) in args.iter_mut().zip(rest) {
        *slot = match word.strip_prefix("0x") {
            Some(hex) => libc::c_long::from_str_radix(hex, 16),
            None => word.parse(),
        }
        .map_err(|_| "EINVAL".to_owned())?;
    }
    sys::raw_syscall(number, args).map_err(name_of).and_then(done)
}

fn write_raw(stream: &mut dyn Write, text: &str) -> Result<Step, String> {
    stream
        .write_all(text.as_bytes())
        .and_then(|()| stream.write_all(b"\n"))
        .and_then(|()| stream.flush())
        .map_err(|error| errno_of(&error))?;
    Ok(Step::Silent)
}

/// `pour=MIB`: so much output, in pieces of 64 KiB.
fn pour(argument: &str) -> Result<Step, String> {
    let count: u32 = argument.parse().map_err(|_| "EINVAL".to_owned())?;
    let piece = [b'x'; 65_536];
    for _ in 0..count * 16 {
        std::io::stdout().write_all(&piece).map_err(|error| errno_of(&error))?;
    }
    std::io::stdout().flush().map_err(|error| errno_of(&error))?;
    Ok(Step::Silent)
}

fn sleep(argument: &str) -> Result<Step, String> {
    std::thread::sleep(Duration::from_millis(argument.parse().unwrap_or(600_000)));
    Ok(Step::Silent)
}

/// Waits for SIGTERM with every signal blocked: pid 1 would never get a default action.
fn until_term(argument: &str) -> Result<Step, String> {
    let all = SigSet::all();
    all.thread_block().map_err(name_of)?;
    write_raw(&mut std::io::stdout(), "ready")?;
    loop {
        if all.wait().map_err(name_of)? == Signal::SIGTERM {
            return Ok(Step::Exit(argument.parse().unwrap_or(0)));
        }
    }
}

fn await_signals(argument: &str) -> Result<Step, String> {
    let all = SigSet::all();
    all.thread_block().map_err(name_of)?;
    write_raw(&mut std::io::stdout(), "ready")?;
    for _ in 0..argument.parse().unwrap_or(1) {
        let signal = all.wait().map_err(name_of)?;
        write_raw(&mut std::io::stdout(), signal.as_str())?;
    }
    Ok(Step::Silent)
}

fn spawn_sleepers(argument: &str) -> Result<Step, String> {
    let mut pids = Vec::new();
    for _ in 0..argument.parse().unwrap_or(1) {
        let child = Command::new("/proc/self/exe").arg("sleep").spawn();
        pids.push(child.map_err(|error| errno_of(&error))?.id());
    }
    done(pids)
}

/// `talk=PATH`: talks to itself over a connection, and writes to the file how often it has heard itself.
fn talk(path: &str) -> Result<Step, String> {
    let failed = |error: std::io::Error| errno_of(&error);
    let listener = TcpListener::bind(("127.0.0.1", 0)).map_err(failed)?;
    let address = listener.local_addr().map_err(failed)?;
    let mut mouth = TcpStream::connect(address).map_err(failed)?;
    let (mut ear, _) = listener.accept().map_err(failed)?;
    for count in 1_u64.. {
        mouth.write_all(b"x").and_then(|()| ear.read_exact(&mut [0])).map_err(failed)?;
        fs::write(path, count.to_string()).map_err(failed)?;
        std::thread::sleep(Duration::from_millis(50));
    }
    done(true)
}

/// `watch=MS,PATH`: looks for other processes that come up for some milliseconds, at their open files
/// and for PATH below their root, directory and descriptors.
fn watch(argument: &str) -> Result<Step, String> {
    let (time, path) = argument.split_once(',').unwrap_or((argument, ""));
    let end = Instant::now() + Duration::from_millis(time.parse().unwrap_or(400));
    let mut seen = std::collections::BTreeSet::new();
    let root = fs::metadata("/").map_err(|error| errno_of(&error))?;
    let root = (root.dev(), root.ino());
    while Instant::now() < end {
        for dir in others() {
            for fd in report::names(&dir.join("fd")).unwrap_or_default() {
                // Held, so that what it is and what it is called are told of the same file: the number
                // can pass to another meanwhile.
                let held = OpenOptions::new()
                    .read(true)
                    .custom_flags(libc::O_PATH)
                    .open(dir.join("fd").join(fd));
                let Ok(held) = held else { continue };
                // The directory that every process here may open is no secret.
                let own = held.metadata().is_ok_and(|meta| (meta.dev(), meta.ino()) == root);
                let link = format!("/proc/self/fd/{}", held.as_raw_fd());
                if let (Ok(target), false) = (fs::read_link(link), own) {
                    seen.insert(target.to_string_lossy().into_owned());
                }
            }
            for way in ["root", "cwd"].iter().filter(|_| !path.is_empty()) {
                let there = dir.join(way).join(path.trim_start_matches('/'));
                if fs::symlink_metadata(&there).is_ok() {
                    seen.insert(format!("/{way}{path}"));
                }
            }
        }
    }
    seen.retain(|target| target.starts_with('/') && !target.starts_with("/dev/"));
    done(seen.into_iter().collect::<Vec<_>>())
}

/// The directories in /proc of the other processes.
fn others() -> impl Iterator<Item = PathBuf> {
    let own = std::process::id().to_string();
    let list = report::names(Path::new("/proc")).unwrap_or_default();
    let list = list.into_iter().filter(move |name| name.parse::<u32>().is_ok() && *name != own);
    list.map(|name| Path::new("/proc").join(name))
}

/// `seize=MS,TEXT`: holds the executables of the other processes that come up for some milliseconds,
/// and then writes TEXT into them.
fn seize(argument: &str) -> Result<Step, String> {
    let (time, text) = argument.split_once(',').unwrap_or((argument, ""));
    let end = Instant::now() + Duration::from_millis(time.parse().unwrap_or(400));
    let mut held: HashMap<(u64, u64), fs::File> = HashMap::new();
    while Instant::now() < end {
        for dir in others() {
            let opened = fs::File::open(dir.join("exe"));
            if let Ok((file, meta)) = opened.and_then(|file| file.metadata().map(|m| (file, m))) {
                held.entry((meta.dev(), meta.ino())).or_insert(file);
            }
        }
    }
    let own = fs::metadata("/proc/self/exe").map_err(|error| errno_of(&error))?;
    held.remove(&(own.dev(), own.ino()));
    let mut written = 0;
    for file in held.values() {
        let path = format!("/proc/self/fd/{}", file.as_raw_fd());
        let end = Instant::now() + Duration::from_millis(500);
        // While it is executed it cannot be written.
        while Instant::now() < end {
            let opened = OpenOptions::new().write(true).open(&path);
            if opened.and_then(|mut file| file.write_all(text.as_bytes())).is_ok() {
                written += 1;
                break;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
    }
    done(json!({ "held": held.len(), "written": written }))
}

fn allocate(argument: &str) -> Result<Step, String> {
    let size: usize = argument.parse().unwrap_or(1);
    let mut memory = vec![0_u8; size << 20];
    for byte in memory.iter_mut().step_by(4096) {
        *byte = 1;
    }
    done(std::hint::black_box(&memory).len())
}

fn record(argument: &str) -> Result<Step, String> {
    let (file, label) = argument.split_once(',').unwrap_or((argument, ""));
    let mut input = String::new();
    let _ = std::io::stdin().read_to_string(&mut input);
    let state = serde_json::from_str(&input).unwrap_or(Value::String(input));
    let mut line =
        json!({ "label": label, "state": state, "at": report::surroundings() }).to_string();
    line.push('\n');
    OpenOptions::new()
        .create(true)
        .append(true)
        .open(file)
        .and_then(|mut file| file.write_all(line.as_bytes()))
        .map_err(|error| errno_of(&error))?;
    Ok(Step::Silent)
}

/// `swap=ONE,OTHER,COUNT`: two names change places so many times, or for ever.
fn swap(parts: &[&str]) -> Result<Step, String> {
    let name = |index: usize| {
        let text = parts.get(index).copied().unwrap_or_default();
        CString::new(text).map_err(|_| "EINVAL".to_owned())
    };
    let (one, other) = (name(0)?, name(1)?);
    let count = parts.get(2).and_then(|text| text.parse().ok()).unwrap_or(u64::MAX);
    for _ in 0..count {
        sys::exchange(&one, &other).map_err(name_of)?;
    }
    done(count)
}

fn wait_for(path: &Path) -> Result<Step, String> {
    let end = Instant::now() + PATIENCE;
    while fs::symlink_metadata(path).is_err() {
        if Instant::now() > end {
            return Err("ETIMEDOUT".to_owned());
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    done("there")
}

fn make_node(parts: &[&str]) -> Result<Step, String> {
    let part = |index: usize| parts.get(index).copied().unwrap_or_default();
    let kind = if part(1) == "b" { SFlag::S_IFBLK } else { SFlag::S_IFCHR };
    let device = makedev(part(2).parse().unwrap_or(0), part(3).parse().unwrap_or(0));
    errno(mknod(part(0), kind, Mode::from_bits_truncate(0o600), device))
}

fn read_all(source: &mut dyn Read) -> Result<Step, String> {
    let mut bytes = Vec::new();
    source.take(65_536).read_to_end(&mut bytes).map_err(|error| errno_of(&error))?;
    lossy(&bytes)
}

fn lossy(bytes: &[u8]) -> Result<Step, String> {
    done(String::from_utf8_lossy(bytes).into_owned())
}

fn signal_of(argument: &str) -> Result<Signal, String> {
    argument
        .parse()
        .ok()
        .and_then(|number: i32| Signal::try_from(number).ok())
        .ok_or_else(|| "EINVAL".to_owned())
}

fn plain(result: std::io::Result<()>) -> Result<Step, String> {
    result.map_err(|error| errno_of(&error))?;
    done(true)
}

fn errno(result: Result<(), Errno>) -> Result<Step, String> {
    result.map_err(name_of)?;
    done(true)
}

fn errno_of(error: &std::io::Error) -> String {
    error.raw_os_error().map_or_else(|| error.to_string(), |raw| name_of(Errno::from_raw(raw)))
}

fn name_of(error: Errno) -> String {
    format!("{error:?}")
}
