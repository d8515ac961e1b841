//! bpf(2): loading a cgroup device program and attaching it (linux/bpf.h).

use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

const BPF_PROG_LOAD: libc::c_int = 5;
const BPF_PROG_ATTACH: libc::c_int = 8;
const BPF_PROG_DETACH: libc::c_int = 9;
const BPF_PROG_GET_FD_BY_ID: libc::c_int = 13;
const BPF_OBJ_GET_INFO_BY_FD: libc::c_int = 15;
const BPF_PROG_QUERY: libc::c_int = 16;
const BPF_PROG_TYPE_CGROUP_DEVICE: u32 = 15;
const BPF_CGROUP_DEVICE: u32 = 6;
const BPF_F_ALLOW_MULTI: u32 = 2;
/// How often a load is tried again; the kernel answers EAGAIN when a signal is pending.
const LOAD_ATTEMPTS: u32 = 5;
/// Room for what the verifier has to say about a program of a few hundred instructions.
const LOG_LENGTH: usize = 64 << 10;
/// The name of the programs, by which they are known again.
const NAME: &[u8; 12] = b"coracle_dev\0";
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

#[repr(C)]
struct InfoAttr {
    bpf_fd: u32,
    info_len: u32,
    info: u64,
}

/// The beginning of `struct bpf_prog_info`, up to the name.
#[repr(C)]
struct ProgramInfo {
    kind: u32,
    id: u32,
    tag: [u8; 8],
    jited_prog_len: u32,
    xlated_prog_len: u32,
    jited_prog_insns: u64,
    xlated_prog_insns: u64,
    load_time: u64,
    created_by_uid: u32,
    nr_map_ids: u32,
    map_ids: u64,
    name: [u8; 16],
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
    let mut attempts = LOAD_ATTEMPTS;
    loop {
        attempts -= 1;
        match load(instructions, &mut []) {
            Err(error) if error.raw_os_error() == Some(libc::EAGAIN) && attempts > 0 => {}
            result => return result,
        }
    }
}

/// What the kernel's verifier has to say against a program; empty if it accepts it.
pub(crate) fn verifier_log(instructions: &[Instruction]) -> String {
    let mut log = vec![0; LOG_LENGTH];
    match load(instructions, &mut log) {
        Ok(_accepted) => String::new(),
        Err(_refused) => {
            let text: Vec<u8> = log.into_iter().take_while(|byte| *byte != 0).collect();
            String::from_utf8_lossy(&text).into_owned()
        }
    }
}

fn load(instructions: &[Instruction], log: &mut [u8]) -> io::Result<OwnedFd> {
    let mut name = [0; 16];
    name.iter_mut().zip(NAME).for_each(|(to, from)| *to = *from);
    let count =
        |length| u32::try_from(length).map_err(|_| io::Error::from_raw_os_error(libc::E2BIG));
    let mut attr = LoadAttr {
        prog_type: BPF_PROG_TYPE_CGROUP_DEVICE,
        insn_cnt: count(instructions.len())?,
        insns: address(instructions),
        license: address(c"Apache-2.0".to_bytes_with_nul()),
        log_level: u32::from(!log.is_empty()),
        log_size: count(log.len())?,
        log_buf: if log.is_empty() {
            0
        } else {
            std::ptr::from_mut(log).cast::<u8>().addr() as u64
        },
        kern_version: 0,
        prog_flags: 0,
        prog_name: name,
        prog_ifindex: 0,
        expected_attach_type: BPF_CGROUP_DEVICE,
    };
    bpf(BPF_PROG_LOAD, &mut attr).map(own)
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

/// The device programs of [`load_device_program`] that are attached to a cgroup v2 directory itself.
/// Those of others, as of systemd or an administrator, are theirs to take off.
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
    let mut programs = Vec::new();
    for (id, _) in ids.iter().zip(0..attr.prog_cnt) {
        match open(id) {
            Ok(program) if is_own(&program)? => programs.push(program),
            Ok(_foreign) => {}
            // It was taken off meanwhile.
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(programs)
}

fn is_own(program: &OwnedFd) -> io::Result<bool> {
    let mut info = ProgramInfo {
        kind: 0,
        id: 0,
        tag: [0; 8],
        jited_prog_len: 0,
        xlated_prog_len: 0,
        jited_prog_insns: 0,
        xlated_prog_insns: 0,
        load_time: 0,
        created_by_uid: 0,
        nr_map_ids: 0,
        map_ids: 0,
        name: [0; 16],
    };
    let mut attr = InfoAttr {
        bpf_fd: number(program.as_fd()),
        info_len: u32::try_from(size_of::<ProgramInfo>()).unwrap_or_default(),
        info: std::ptr::from_mut(&mut info).addr() as u64,
    };
    bpf(BPF_OBJ_GET_INFO_BY_FD, &mut attr)?;
    Ok(info.name.starts_with(NAME))
}
