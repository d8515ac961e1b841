//! System calls with a name for the message when they fail.

use std::ffi::CStr;
use std::io;

/// Turns the kernel's -1 into an error that names the step.
pub(crate) fn check(result: impl Into<i64>, step: &str) -> Result<i64, String> {
    let result = result.into();
    if result < 0 { Err(format!("{step}: {}", io::Error::last_os_error())) } else { Ok(result) }
}

/// Opens a file; the descriptor lives until the process ends, which closes it for free. (The open
/// of musl makes a second system call to set the flag for closing on exec.)
pub(crate) fn open(path: &CStr, flags: i32) -> Result<i32, String> {
    let (number, flags) = (libc::SYS_openat, flags | libc::O_CLOEXEC);
    // SAFETY: `path` is a NUL-terminated string that outlives the call.
    let fd = unsafe { libc::syscall(number, libc::AT_FDCWD, path.as_ptr(), flags, 0o600) };
    let fd = check(fd, &path.to_string_lossy())?;
    i32::try_from(fd).map_err(|e| e.to_string())
}

/// Writes all of `text` in one call.
pub(crate) fn write(fd: i32, text: &[u8], step: &str) -> Result<(), String> {
    // SAFETY: the buffer is valid for its length.
    let written = unsafe { libc::write(fd, text.as_ptr().cast(), text.len()) };
    check(written as i64, step).map(|_| ())
}

/// Reads once, at most the size of the buffer.
pub(crate) fn read(fd: i32, step: &str) -> Result<String, String> {
    let mut buffer = [0_u8; 2048];
    // SAFETY: the buffer is valid for its length.
    let length = unsafe { libc::read(fd, buffer.as_mut_ptr().cast(), buffer.len()) };
    check(length as i64, step)?;
    let text = buffer.get(..usize::try_from(length).unwrap_or(0)).unwrap_or_default();
    Ok(String::from_utf8_lossy(text).into_owned())
}

/// Waits for a child and gives its exit code, as a shell would.
pub(crate) fn wait(pid: i32) -> Result<u8, String> {
    let mut status = 0;
    // SAFETY: `status` is a valid place for the result.
    let waited = unsafe { libc::waitpid(pid, &raw mut status, 0) };
    check(waited, "wait for the payload")?;
    if libc::WIFEXITED(status) {
        return Ok(u8::try_from(libc::WEXITSTATUS(status)).unwrap_or(u8::MAX));
    }
    Ok(u8::try_from(128 + libc::WTERMSIG(status)).unwrap_or(u8::MAX))
}
