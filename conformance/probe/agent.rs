//! A seccomp agent, on the host.

use std::io::Read;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::thread;
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use serde_json::{Value, json};

use crate::{ops, sys};

/// How long a connection may stay open after its message.
const PATIENCE: Duration = Duration::from_secs(5);

/// How the agent answers a call.
#[derive(Clone, Copy)]
enum Answer {
    Errno(i32),
    Value(i64),
    Continue,
}

/// What the agent does with the calls: the first entry with their number, or with none, decides.
type Rules = Vec<(Option<libc::c_long>, Answer)>;

/// Takes as many listeners as `count` says and answers for each until its processes are gone. `rules` are
/// `NAME:errno:N`, `NAME:value:N` or `NAME:continue`, with `*` for any name, joined by `+`; without any, the
/// listeners are closed at once.
///
/// # Errors
/// A step of the hand-over, or `EINVAL` for a rule that is none.
pub(crate) fn serve(path: &str, count: &str, rules: &str) -> std::io::Result<Value> {
    let bad = || std::io::Error::from(Errno::EINVAL);
    let rules: Rules = rules
        .split('+')
        .filter(|rule| !rule.is_empty())
        .map(|rule| read_rule(rule).ok_or_else(bad))
        .collect::<Result<_, _>>()?;
    let count: usize = count.parse().map_err(|_| bad())?;
    let listener = UnixListener::bind(path)?;
    let mut connections = Vec::new();
    for _ in 0..count {
        let (mut socket, _) = listener.accept()?;
        let (mut payload, descriptors) = sys::receive(&socket)?;
        let count = descriptors.len();
        let rules = rules.clone();
        let served = thread::spawn(move || descriptors.first().map(|fd| answer_all(fd, &rules)));
        socket.set_read_timeout(Some(PATIENCE))?;
        let closed = socket.read_to_string(&mut payload).is_ok();
        connections
            .push((json!({ "payload": payload, "descriptors": count, "closed": closed }), served));
    }
    drop(listener);
    let mut told = Vec::new();
    for (mut connection, served) in connections {
        if let (Some(object), Ok(Some(calls))) = (connection.as_object_mut(), served.join()) {
            object.insert("calls".to_owned(), calls?);
        }
        told.push(connection);
    }
    Ok(Value::from(told))
}

fn read_rule(rule: &str) -> Option<(Option<libc::c_long>, Answer)> {
    let mut parts = rule.split(':');
    let name = parts.next()?;
    let number = if name == "*" { None } else { Some(ops::number(name).ok()?) };
    let answer = match (parts.next()?, parts.next()) {
        ("errno", Some(errno)) => Answer::Errno(errno.parse().ok()?),
        ("value", Some(value)) => Answer::Value(value.parse().ok()?),
        ("continue", None) => Answer::Continue,
        _ => return None,
    };
    Some((number, answer))
}

/// Answers all calls; they are returned as number, pid and first arguments.
fn answer_all(listener: &OwnedFd, rules: &Rules) -> std::io::Result<Value> {
    let mut calls = Vec::new();
    while !rules.is_empty() {
        let mut set = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
        match poll(&mut set, PollTimeout::NONE) {
            Err(Errno::EINTR) => continue,
            other => other?,
        };
        let [ready] = set;
        if !ready.revents().unwrap_or(PollFlags::empty()).contains(PollFlags::POLLIN) {
            break;
        }
        let call = match sys::notification(listener) {
            // Its process has been killed.
            Err(Errno::ENOENT | Errno::EINTR) => continue,
            other => other?,
        };
        let number = libc::c_long::from(call.data.nr);
        let rule = rules.iter().find(|(only, _)| only.is_none_or(|only| only == number));
        let answer = rule.map_or(Answer::Continue, |(_, answer)| *answer);
        let (value, error, flags) = match answer {
            Answer::Errno(errno) => (0, -errno, 0),
            Answer::Value(value) => (value, 0, 0),
            Answer::Continue => (0, 0, 1),
        };
        match sys::respond(
            listener,
            libc::seccomp_notif_resp { id: call.id, val: value, error, flags },
        ) {
            Ok(()) | Err(Errno::ENOENT) => {}
            Err(errno) => return Err(errno.into()),
        }
        if calls.len() < 200 {
            calls.push(json!({ "number": number, "pid": call.pid, "arguments": call.data.args }));
        }
    }
    Ok(Value::from(calls))
}
