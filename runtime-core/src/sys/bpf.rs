//! bpf(2): loading a cgroup device program and attaching it (linux/bpf.h).

use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_DETACH: libc::c_int = 9;
const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
const BPF_PROG_QUERY: libc::c_int = 16;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;
/// How often a load is tried again; the kernel answers EAGAIN when a signal is pending.
const LOAD_ATTEMPTS: u32 = 5;
/// The most programs that the kernel lets be attached to one cgroup (BPF_CGROUP_MAX_PROGS).
const MAX_PROGRAMS: u32 = 64;

/// One instruction in the kernel's encoding, `struct bpf_insn`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub(crate) struct Instruction {
    /// Class, operation and source.
    pub(crate) code: u8,
    /// The destination register in the low four bits, the source register in the high four.
    pub(crate) registers: u8,
    /// The jump distance, or the offset of a load.
    pub(crate) offset: i16,
    /// The constant.
    pub(crate) immediate: u32,
}

#[repr(C)]
struct LoadAttr {
    prog_type: u32,
    insn_cnt: u32,
    insns: u64,
    license: u64,
    log_level: u32,
    log_size: u32,
    log_buf: u64,
    kern_version: u32,
    prog_flags: u32,
    prog_name: [u8; 16],
    prog_ifindex: u32,
    expected_attach_type: u32,
}

#[repr(C)]
struct AttachAttr {
    target_fd: u32,
    attach_bpf_fd: u32,
    attach_type: u32,
    attach_flags: u32,
    replace_bpf_fd: u32,
}

/// All of the query's fields up to `revision`: kernels from 6.17 on write that one whatever size
/// they were told.
#[repr(C)]
struct QueryAttr {
    target_fd: u32,
    attach_type: u32,
    query_flags: u32,
    attach_flags: u32,
    prog_ids: u64,
    prog_cnt: u32,
    padding: u32,
    prog_attach_flags: u64,
    link_ids: u64,
    link_attach_flags: u64,
    revision: u64,
}

#[repr(C)]
struct IdAttr {
    prog_id: u32,
    next_id: u32,
    open_flags: u32,
}

/// Calls bpf(2) with one of the structures above.
fn bpf<T>(command: libc::c_int, attr: &mut T) -> io::Result<i32> {
    let attr: *mut T = attr;
    // SAFETY: `attr` points to a whole, initialized structure of the size that is passed, laid out
    // as the command's part of `union bpf_attr`; the addresses inside it are of buffers that the
    // callers below keep alive during the call, with the lengths that they state.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attr, size_of::<T>()) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    i32::try_from(result).map_err(|_| io::Error::from_raw_os_error(libc::EOVERFLOW))
}

/// Takes over the descriptor that a command has returned.
fn own(fd: i32) -> OwnedFd {
    // SAFETY: the kernel has just returned this descriptor to us (BPF descriptors are always
    // close-on-exec), so nothing else owns it.
    unsafe { OwnedFd::from_raw_fd(fd) }
}

fn address<T: ?Sized>(of: &T) -> u64 {
    std::ptr::from_ref(of).cast::<u8>().addr() as u64
}

fn number(fd: BorrowedFd<'_>) -> u32 {
    fd.as_raw_fd().cast_unsigned()
}

/// Loads a program of the type `BPF_PROG_TYPE_CGROUP_DEVICE`.
pub(crate) fn load_device_program(instructions: &[Instruction]) -> io::Result<OwnedFd> {
    let mut name = [0; 16];
    name.iter_mut().zip(b"coracle_dev").for_each(|(to, from)| *to = *from);
    let count =
        u32::try_from(instructions.len()).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG))?;
    let mut attempts = LOAD_ATTEMPTS;
    loop {
        let mut attr = LoadAttr {
            prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
            insn_cnt: count,
            insns: address(instructions),
            license: address(c"Apache-2.0".to_bytes_with_nul()),
            log_level: 0,
            log_size: 0,
            log_buf: 0,
            kern_version: 0,
            prog_flags: 0,
            prog_name: name,
            prog_ifindex: 0,
            expected_attach_type: BPF_CGROUP_DEVICE,
        };
        attempts -= 1;
        match bpf(BPF_PROG_LOAD, &mut attr) {
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) && attempts > 0 => {}
            result => return result.map(own),
        }
    }
}

fn attachment(cgroup: BorrowedFd<'_>, program: BorrowedFd<'_>, flags: u32) -> AttachAttr {
    AttachAttr {
        target_fd: number(cgroup),
        attach_bpf_fd: number(program),
        attach_type: BPF_CGROUP_DEVICE,
        attach_flags: flags,
        replace_bpf_fd: 0,
    }
}

/// Attaches a device program to a cgroup v2 directory, beside those that are there: all of them
/// must allow an access.
pub(crate) fn attach_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
) -> io::Result<()> {
    bpf(BPF_PROG_ATTACH, &mut attachment(cgroup, program, BPF_F_ALLOW_MULTI)).map(drop)
}

/// Detaches a device program from a cgroup v2 directory.
pub(crate) fn detach_device_program(
    cgroup: BorrowedFd<'_>,
    program: BorrowedFd<'_>,
) -> io::Result<()> {
    bpf(BPF_PROG_DETACH, &mut attachment(cgroup, program, 0)).map(drop)
}

/// The device programs that are attached to a cgroup v2 directory itself.
pub(crate) fn attached_device_programs(cgroup: BorrowedFd<'_>) -> io::Result<Vec<OwnedFd>> {
    let mut ids = [0_u32; 64];
    let mut attr = QueryAttr {
        target_fd: number(cgroup),
        attach_type: BPF_CGROUP_DEVICE,
        query_flags: 0,
        attach_flags: 0,
        prog_ids: std::ptr::from_mut(&mut ids).addr() as u64,
        prog_cnt: MAX_PROGRAMS,
        padding: 0,
        prog_attach_flags: 0,
        link_ids: 0,
        link_attach_flags: 0,
        revision: 0,
    };
    bpf(BPF_PROG_QUERY, &mut attr)?;
    let open = |id: &u32| {
        let mut attr = IdAttr { prog_id: *id, next_id: 0, open_flags: 0 };
        bpf(BPF_PROG_GET_FD_BY_ID, &mut attr).map(own)
    };
    ids.iter().zip(0..attr.prog_cnt).map(|(id, _)| open(id)).collect()
}
