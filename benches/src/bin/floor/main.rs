//! The kernel floor: the same kernel objects as one container of the default configuration, made
//! with as few system calls as this program knows how, and nothing else.
//!
//! It reads no configuration, checks nothing and reports failures in one word. No runtime can do
//! this, and that is the point: what a runtime takes beyond the floor is the price of being one.
//!
//! `floor VERB --root DIR --cgroup PARENT --rootfs DIR --payload PATH [--memory BYTES] ID`, where
//! VERB is run, create, start, exec, kill, delete or state.

#![no_main]
#![allow(
    unsafe_code,
    reason = "the floor calls the kernel directly; each block says why it is sound"
)]
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command's output")]

mod call;
mod cgroup;
mod child;
mod device_filter;
mod process;
mod record;
mod rootfs;

use std::ffi::{CStr, CString, c_char};

/// What the command line asks for; every string is ready for the kernel.
#[derive(Debug)]
struct Request {
    verb: String,
    /// The state directory of this container.
    state: CString,
    rootfs: CString,
    payload: CString,
    hierarchies: Vec<cgroup::Hierarchy>,
    memory: Option<String>,
}

/// The C entry point: what Rust's own does before `main` would be a dozen system calls.
#[unsafe(no_mangle)]
extern "C" fn main(count: i32, words: *const *const c_char) -> i32 {
    let words = (1..usize::try_from(count).unwrap_or(0)).map(|index| {
        // SAFETY: the kernel passes `count` NUL-terminated strings.
        unsafe { CStr::from_ptr(*words.add(index)) }.to_string_lossy().into_owned()
    });
    let code = match request(words).and_then(|request| perform(&request)) {
        Ok(code) => i32::from(code),
        Err(failure) => {
            eprintln!("floor: {failure}");
            1
        }
    };
    // SAFETY: no pointers. Nothing is destroyed on the way out: a created container still uses
    // this memory.
    unsafe { libc::_exit(code) }
}

fn request(mut words: impl Iterator<Item = String>) -> Result<Request, String> {
    let verb = words.next().ok_or("no verb given")?;
    let (mut root, mut parent, mut rootfs) = (String::new(), String::new(), String::new());
    let (mut payload, mut id, mut memory) = (String::from("/bin/true"), String::new(), None);
    while let Some(word) = words.next() {
        let mut value = || words.next().ok_or_else(|| format!("{word} needs a value"));
        match word.as_str() {
            "--root" => root = value()?,
            "--cgroup" => parent = value()?,
            "--rootfs" => rootfs = value()?,
            "--payload" => payload = value()?,
            "--memory" => memory = Some(value()?),
            _ => id = word,
        }
    }
    if root.is_empty() || id.is_empty() {
        return Err("--root and an id are needed".into());
    }
    let c = |text: String| CString::new(text).map_err(|_| String::from("NUL in an argument"));
    Ok(Request {
        hierarchies: if verb == "state" || verb == "start" || verb == "kill" {
            Vec::new()
        } else {
            cgroup::hierarchies(&format!("{parent}/{id}"))?
        },
        verb,
        state: c(format!("{root}/{id}"))?,
        rootfs: c(rootfs)?,
        payload: c(payload)?,
        memory,
    })
}

fn perform(request: &Request) -> Result<u8, String> {
    match request.verb.as_str() {
        "run" => run(request),
        "create" => create(request),
        "start" => record::release(&request.state).map(|()| 0),
        "exec" => exec(request),
        "kill" => record::kill(&request.state).map(|()| 0),
        "delete" => delete(request).map(|()| 0),
        "state" => record::pid(&request.state).map(|pid| {
            println!("{{\"pid\": {pid}}}");
            0
        }),
        verb => Err(format!("unknown verb {verb}")),
    }
}

fn prepare(request: &Request) -> Result<(), String> {
    record::make_directory(&request.state)?;
    cgroup::make(&request.hierarchies, request.memory.as_deref())
}

fn run(request: &Request) -> Result<u8, String> {
    prepare(request)?;
    let plan = child::Plan::new(request, None)?;
    let pid = child::spawn(&plan, child::NAMESPACES | child::SHARED_UNTIL_EXEC)?;
    record::write_pid(&request.state, pid)?;
    let code = call::wait(pid)?;
    cgroup::remove(&request.hierarchies)?;
    record::remove(&request.state, false)?;
    Ok(code)
}

fn create(request: &Request) -> Result<u8, String> {
    prepare(request)?;
    let listener = record::listen(&request.state)?;
    let plan = child::Plan::new(request, Some(listener))?;
    let pid = child::spawn(&plan, child::NAMESPACES | child::SHARED)?;
    child::wait_until_ready()?;
    record::write_pid(&request.state, pid)?;
    // SAFETY: no pointers. The init still uses this memory, so nothing may be destroyed.
    unsafe { libc::_exit(0) }
}

fn exec(request: &Request) -> Result<u8, String> {
    let pid = record::pid(&request.state)?;
    let plan = child::Plan::new(request, None)?;
    let process = child::spawn_joined(plan, pid)?;
    call::wait(process)
}

fn delete(request: &Request) -> Result<(), String> {
    cgroup::remove(&request.hierarchies)?;
    record::remove(&request.state, true)
}
