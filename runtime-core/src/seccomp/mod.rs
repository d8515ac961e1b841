//! System call filters: from a seccomp profile to the program that the kernel runs.
//!
//! The filter is what runc makes of the profile with libseccomp, without that library and in a
//! fraction of its time: the system calls are looked up by halving, and calls that are newer than
//! the profile answer `ENOSYS`, so that programs fall back to older ones. The profile's
//! architectures that this machine cannot run are left out.
//!
//! Three things differ from libseccomp 2.5: the names of newer system calls are known (up to
//! Linux 6.18); "less or equal" holds what it says for the second argument of a rule on a 32-bit
//! architecture too; and of two rules that contradict each other the first holds, where libseccomp
//! refuses the profile.

mod abi;
mod assemble;
mod condition;
mod emit;
mod rules;
mod table;
mod verdict;

pub use abi::Machine;

use crate::error::{Error, ErrorKind, Result};
use crate::spec::seccomp::{Flag, Seccomp};

/// `SECCOMP_RET_KILL_THREAD` of linux/seccomp.h.
const KILL_THREAD: u32 = 0;

/// How many instructions the kernel takes: `BPF_MAXINSNS` of linux/bpf_common.h.
const MAX_INSTRUCTIONS: usize = 4096;

/// `SECCOMP_FILTER_FLAG_LOG` of linux/seccomp.h.
const FLAG_LOG: u32 = 1 << 1;
/// `SECCOMP_FILTER_FLAG_SPEC_ALLOW` of linux/seccomp.h.
const FLAG_SPEC_ALLOW: u32 = 1 << 2;

/// An instruction of classic BPF: `struct sock_filter` of linux/filter.h.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// What to do.
    pub code: u16,
    /// How many instructions to skip if the test holds.
    pub jt: u8,
    /// How many instructions to skip if it does not.
    pub jf: u8,
    /// The operand.
    pub k: u32,
}

/// A compiled profile, ready for seccomp(2).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Filter {
    program: Vec<u8>,
    flags: u32,
}

impl Filter {
    /// The program, as the array of `struct sock_filter` that the kernel expects.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.program
    }

    /// How many instructions it has, at most 4096.
    #[must_use]
    pub fn len(&self) -> usize {
        self.program.len() / 8
    }

    /// Whether it has none; that is never the case.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.program.is_empty()
    }

    /// The instructions.
    pub fn instructions(&self) -> impl Iterator<Item = Instruction> + '_ {
        let (records, _) = self.program.as_chunks::<8>();
        records
            .iter()
            .map(|&[c0, c1, jt, jf, k0, k1, k2, k3]| Instruction {
                code: u16::from_ne_bytes([c0, c1]),
                jt,
                jf,
                k: u32::from_ne_bytes([k0, k1, k2, k3]),
            })
    }

    /// The flags for seccomp(2), `SECCOMP_FILTER_FLAG_*`.
    #[must_use]
    pub fn flags(&self) -> u32 {
        self.flags
    }
}

/// Compiles a profile for the machine this program was built for.
///
/// # Errors
///
/// See [`compile_for`]; and [`ErrorKind::Unsupported`] on an unknown machine.
pub fn compile(profile: &Seccomp) -> Result<Filter> {
    compile_for(profile, Machine::native()?)
}

/// Compiles a profile for a machine.
///
/// # Errors
///
/// [`ErrorKind::InvalidSpec`] if the profile has rules but no default action, if a rule has an
/// empty name or tests an argument beyond the sixth, or if the filter needs more than 4096
/// instructions, the kernel's limit. [`ErrorKind::Unsupported`] for `SCMP_ACT_NOTIFY`.
pub fn compile_for(profile: &Seccomp, machine: Machine) -> Result<Filter> {
    let verdicts = verdict::decide(profile, machine)?;
    let instructions = emit::emit(&verdicts);
    if instructions.len() > MAX_INSTRUCTIONS {
        return Err(too_long(instructions.len()));
    }
    let mut program = Vec::with_capacity(instructions.len() * 8);
    for Instruction { code, jt, jf, k } in instructions {
        program.extend_from_slice(&code.to_ne_bytes());
        program.extend_from_slice(&[jt, jf]);
        program.extend_from_slice(&k.to_ne_bytes());
    }
    Ok(Filter {
        program,
        flags: flags(profile),
    })
}

fn too_long(length: usize) -> Error {
    let message = format!(
        "the seccomp profile needs {length} instructions, more than the kernel's {MAX_INSTRUCTIONS}"
    );
    Error::new(ErrorKind::InvalidSpec, message)
        .with_field("linux.seccomp.syscalls")
        .with_hint("use fewer rules with conditions on arguments")
}

/// The flags for seccomp(2). Those that concern several threads or a listener have no effect.
fn flags(profile: &Seccomp) -> u32 {
    let flags = profile.flags.as_deref().unwrap_or(&[Flag::SpecAllow]);
    flags.iter().fold(0, |all, flag| {
        all | match flag {
            Flag::Log => FLAG_LOG,
            Flag::SpecAllow => FLAG_SPEC_ALLOW,
            Flag::Tsync | Flag::WaitKillableRecv => 0,
        }
    })
}
