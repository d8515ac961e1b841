//! The state directory: one record with the process id, one socket that holds the init back.

use std::ffi::{CStr, CString};
use std::mem;

use crate::call::{check, open, read, write};

fn inside(state: &CStr, name: &str) -> Result<CString, String> {
    CString::new([state.to_bytes(), b"/", name.as_bytes()].concat()).map_err(|e| e.to_string())
}

/// Makes the state directory.
pub(crate) fn make_directory(state: &CStr) -> Result<(), String> {
    // SAFETY: a NUL-terminated path that outlives the call.
    check(unsafe { libc::mkdir(state.as_ptr(), 0o700) }, "make the state directory").map(|_| ())
}

/// Records the process id, so that another command can find the container.
pub(crate) fn write_pid(state: &CStr, pid: i32) -> Result<(), String> {
    let fd = open(&inside(state, "pid")?, libc::O_WRONLY | libc::O_CREAT)?;
    write(fd, pid.to_string().as_bytes(), "write the record")
}

/// The recorded process id.
pub(crate) fn pid(state: &CStr) -> Result<i32, String> {
    let text = read(open(&inside(state, "pid")?, libc::O_RDONLY)?, "read the record")?;
    text.parse().map_err(|_| format!("the record holds no process id: {text}"))
}

fn address(state: &CStr) -> Result<libc::sockaddr_un, String> {
    // SAFETY: sockaddr_un is plain data, for which all zeros is a valid value.
    let mut address: libc::sockaddr_un = unsafe { mem::zeroed() };
    address.sun_family = libc::sa_family_t::try_from(libc::AF_UNIX).map_err(|e| e.to_string())?;
    let path = inside(state, "start")?;
    if path.as_bytes_with_nul().len() > address.sun_path.len() {
        return Err("the state root is too long for a socket".into());
    }
    for (place, byte) in address.sun_path.iter_mut().zip(path.as_bytes()) {
        *place = libc::c_char::from_ne_bytes([*byte]);
    }
    Ok(address)
}

fn socket() -> Result<i32, String> {
    let kind = libc::SOCK_STREAM | libc::SOCK_CLOEXEC;
    // SAFETY: no pointers.
    let fd = unsafe { libc::socket(libc::AF_UNIX, kind, 0) };
    check(fd, "make the start socket").map(|_| fd)
}

fn address_length() -> libc::socklen_t {
    libc::socklen_t::try_from(mem::size_of::<libc::sockaddr_un>()).unwrap_or(0)
}

/// The socket on which the init waits for `start`.
pub(crate) fn listen(state: &CStr) -> Result<i32, String> {
    let (fd, address) = (socket()?, address(state)?);
    // SAFETY: the address is valid for the length given.
    let bound = unsafe { libc::bind(fd, (&raw const address).cast(), address_length()) };
    check(bound, "bind the start socket")?;
    // SAFETY: no pointers.
    check(unsafe { libc::listen(fd, 1) }, "listen on the start socket").map(|_| fd)
}

/// Lets the init go on and waits until its exec has closed the connection.
pub(crate) fn release(state: &CStr) -> Result<(), String> {
    let (fd, address) = (socket()?, address(state)?);
    // SAFETY: the address is valid for the length given.
    let joined = unsafe { libc::connect(fd, (&raw const address).cast(), address_length()) };
    check(joined, "connect to the start socket")?;
    read(fd, "wait for the exec").map(|_| ())
}

/// Kills the container's init.
pub(crate) fn kill(state: &CStr) -> Result<(), String> {
    // SAFETY: no pointers.
    check(unsafe { libc::kill(pid(state)?, libc::SIGKILL) }, "kill the init").map(|_| ())
}

/// Removes the record, the socket and the directory.
pub(crate) fn remove(state: &CStr, with_socket: bool) -> Result<(), String> {
    let names: &[&str] = if with_socket { &["pid", "start"] } else { &["pid"] };
    for name in names {
        // SAFETY: a NUL-terminated path that outlives the call.
        check(unsafe { libc::unlink(inside(state, name)?.as_ptr()) }, name)?;
    }
    // SAFETY: a NUL-terminated path that outlives the call.
    check(unsafe { libc::rmdir(state.as_ptr()) }, "remove the state directory").map(|_| ())
}
