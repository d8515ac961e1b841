//! The process attributes of the default configuration, in the child.

use crate::child::step;

/// The capabilities of the default configuration: KILL, NET_BIND_SERVICE, AUDIT_WRITE.
const KEPT: u64 = 1 << 5 | 1 << 10 | 1 << 29;
/// Linux 5.9 and newer have 41 capabilities.
const COUNT: u32 = 41;
const CAPABILITY_VERSION_3: u32 = 0x2008_0522;

#[repr(C)]
struct Header {
    version: u32,
    pid: i32,
}

#[repr(C)]
struct Sets {
    effective: u32,
    permitted: u32,
    inheritable: u32,
}

/// Brings up the loopback device of the new network namespace.
pub(crate) fn network() {
    // SAFETY: ifreq is plain data, for which all zeros is a valid value; the ioctl reads one ifreq.
    unsafe {
        let fd = libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0);
        step(fd, c"make a socket");
        let mut request: libc::ifreq = std::mem::zeroed();
        for (place, byte) in request.ifr_name.iter_mut().zip(b"lo") {
            *place = libc::c_char::from_ne_bytes([*byte]);
        }
        request.ifr_ifru.ifru_flags = libc::c_short::try_from(libc::IFF_UP).unwrap_or(0);
        step(
            libc::syscall(libc::SYS_ioctl, fd, libc::SIOCSIFFLAGS, &raw const request),
            c"bring up lo",
        );
    }
}

/// Session, host name, limits, groups, capabilities and no_new_privs.
pub(crate) fn identity(with_hostname: bool) {
    let limit = libc::rlimit { rlim_cur: 1024, rlim_max: 1024 };
    // SAFETY: the buffers are valid; the calls take no other pointers.
    unsafe {
        libc::setsid();
        if with_hostname {
            step(libc::sethostname(c"bench".as_ptr(), 5), c"set the host name");
        }
        let name = c"_ses.floor".as_ptr();
        libc::syscall(libc::SYS_keyctl, 1, name);
        step(libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit), c"set the limits");
        step(libc::syscall(libc::SYS_setgroups, 0, 0), c"set the groups");
    }
    capabilities();
    // SAFETY: no pointers.
    step(unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) }, c"set no_new_privs");
}

fn capabilities() {
    for capability in 0..COUNT {
        if KEPT & 1 << capability == 0 {
            // SAFETY: no pointers.
            let result = unsafe { libc::prctl(libc::PR_CAPBSET_DROP, capability, 0, 0, 0) };
            step(result, c"drop a capability");
        }
    }
    let header = Header { version: CAPABILITY_VERSION_3, pid: 0 };
    let low = u32::try_from(KEPT).unwrap_or(0);
    let sets = [
        Sets { effective: low, permitted: low, inheritable: 0 },
        Sets { effective: 0, permitted: 0, inheritable: 0 },
    ];
    let (header, sets) = (&raw const header, &raw const sets);
    // SAFETY: version 3 reads one header and two sets.
    step(unsafe { libc::syscall(libc::SYS_capset, header, sets) }, c"set the capabilities");
}
