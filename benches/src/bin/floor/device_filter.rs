//! The default device rules on cgroup v2: a small BPF program.

use std::ffi::CStr;
use std::mem;

use crate::call::{check, open};

const LOAD: libc::c_long = 5;
const ATTACH: libc::c_long = 8;
const CGROUP_DEVICE: u32 = 15;
const ALLOW_MULTI: u32 = 2;
const ATTACH_DEVICE: u32 = 6;
/// Stands for any minor number.
const ANY: i32 = -1;
/// Character devices that may be used in every way.
const ALLOWED: [(i32, i32); 9] =
    [(1, 3), (1, 5), (1, 7), (1, 8), (1, 9), (5, 0), (5, 1), (5, 2), (136, ANY)];

#[repr(C)]
#[derive(Debug, Default)]
struct LoadAttributes {
    kind: u32,
    length: u32,
    instructions: u64,
    license: u64,
    log: [u64; 4],
    rest: [u64; 8],
}

#[repr(C)]
#[derive(Debug, Default)]
struct AttachAttributes {
    target: u32,
    program: u32,
    kind: u32,
    flags: u32,
}

/// One instruction: code, destination and source register, jump offset, immediate.
fn instruction(code: u8, registers: u8, offset: i16, immediate: i32) -> u64 {
    let [a, b] = offset.to_le_bytes();
    let [c, d, e, f] = immediate.to_le_bytes();
    u64::from_le_bytes([code, registers, a, b, c, d, e, f])
}

/// r2 = type, r3 = access, r4 = major, r5 = minor; 1 allows, 0 denies.
fn program() -> Vec<u64> {
    let mut code = vec![
        instruction(0x61, 0x12, 0, 0), // r2 = *(u32 *)(r1 + 0): access << 16 | type
        instruction(0xbc, 0x23, 0, 0), // r3 = r2
        instruction(0x54, 0x02, 0, 0xffff), // type
        instruction(0x74, 0x03, 0, 16), // access
        instruction(0x61, 0x14, 4, 0), // major
        instruction(0x61, 0x15, 8, 0), // minor
        instruction(0x55, 0x03, 2, 1), // mknod alone is allowed for every device
        instruction(0xb7, 0x00, 0, 1),
        instruction(0x95, 0, 0, 0),
        instruction(0x15, 0x02, 2, 2), // character devices go on, others are denied
        instruction(0xb7, 0x00, 0, 0),
        instruction(0x95, 0, 0, 0),
    ];
    for (major, minor) in ALLOWED {
        if minor == ANY {
            code.push(instruction(0x55, 0x04, 2, major));
        } else {
            code.push(instruction(0x55, 0x04, 3, major));
            code.push(instruction(0x55, 0x05, 2, minor));
        }
        code.push(instruction(0xb7, 0x00, 0, 1));
        code.push(instruction(0x95, 0, 0, 0));
    }
    code.push(instruction(0xb7, 0x00, 0, 0));
    code.push(instruction(0x95, 0, 0, 0));
    code
}

fn address<T: ?Sized>(value: &T) -> u64 {
    u64::try_from((&raw const *value).cast::<u8>().addr()).unwrap_or(0)
}

fn bpf<T>(command: libc::c_long, attributes: &T, step: &str) -> Result<u32, String> {
    // SAFETY: the attributes are valid for their size, and so is all they point to.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, command, &raw const *attributes, mem::size_of::<T>())
    };
    check(result, step).map(|fd| u32::try_from(fd).unwrap_or(0))
}

/// Loads the filter and attaches it to the cgroup.
pub(crate) fn attach(cgroup: &CStr) -> Result<(), String> {
    let code = program();
    let load = LoadAttributes {
        kind: CGROUP_DEVICE,
        length: u32::try_from(code.len()).unwrap_or(0),
        instructions: address(code.as_slice()),
        license: address(c"Apache".to_bytes_with_nul()),
        ..LoadAttributes::default()
    };
    let program = bpf(LOAD, &load, "load the device filter")?;
    let directory = open(cgroup, libc::O_RDONLY | libc::O_DIRECTORY)?;
    let attach = AttachAttributes {
        target: u32::try_from(directory).unwrap_or(0),
        program,
        kind: ATTACH_DEVICE,
        flags: ALLOW_MULTI,
    };
    bpf(ATTACH, &attach, "attach the device filter").map(|_| ())
}
