//! What seccomp(2) of this kernel can do.

use std::io;

use super::check;

/// `SECCOMP_SET_MODE_FILTER` of linux/seccomp.h.
const SET_MODE_FILTER: libc::c_long = 1;

/// Whether the kernel knows these flags for a filter. It looks at them before it reads the filter, so that
/// an address of none tells: nothing is loaded.
pub(crate) fn knows_flags(flags: u32) -> bool {
    let none = std::ptr::null::<libc::c_void>();
    // SAFETY: the kernel refuses the address or, before that, the flags.
    let answer = check(unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, flags, none) });
    answer.map_err(|error: io::Error| error.raw_os_error()) == Err(Some(libc::EFAULT))
}
