//! System call filters: from a seccomp profile to the program that the kernel runs.
//!
//! The filter is what runc makes of the profile with libseccomp, without that library and in a
//! fraction of its time: the system calls are looked up by halving, and calls that are newer than
//! the profile answer `ENOSYS`, so that programs fall back to older ones. The profile's
//! architectures that this machine cannot run are left out.
//!
//! What differs from libseccomp 2.5:
//!
//! - The names of newer system calls are known, up to Linux 6.18.
//! - Of two rules that contradict each other the first holds; libseccomp refuses the profile.
//! - libseccomp may lose a rule when it merges several with conditions on the same call, takes
//!   "less or equal" for "greater" where arguments have 32 bits and it is not a rule's first
//!   condition, and forgets to load the call's number if its first rule is for a call that the
//!   architecture lacks. Here these do what the profile says.

mod abi;
mod agent;
mod assemble;
mod condition;
mod emit;
#[cfg(feature = "libseccomp")]
mod libseccomp;
mod rules;
mod table;
mod verdict;

pub use abi::Machine;
pub(crate) use agent::{Address, Agent};

use crate::error::{Error, ErrorKind, Result};
use crate::program::MAX_FILTER;
use crate::spec::seccomp::{Flag, Seccomp};
use crate::sys::filter;

/// `SECCOMP_RET_KILL_THREAD` of linux/seccomp.h.
const KILL_THREAD: u32 = 0;

/// `SECCOMP_FILTER_FLAG_TSYNC` of linux/seccomp.h.
const FLAG_TSYNC: u32 = 1;
/// `SECCOMP_FILTER_FLAG_LOG` of linux/seccomp.h.
const FLAG_LOG: u32 = 1 << 1;
/// `SECCOMP_FILTER_FLAG_SPEC_ALLOW` of linux/seccomp.h.
const FLAG_SPEC_ALLOW: u32 = 1 << 2;

/// `SECCOMP_FILTER_FLAG_NEW_LISTENER` of linux/seccomp.h.
const FLAG_NEW_LISTENER: u32 = 1 << 3;
/// `SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV` of linux/seccomp.h.
const FLAG_WAIT_KILLABLE_RECV: u32 = 1 << 5;

/// `SECCOMP_RET_USER_NOTIF` of linux/seccomp.h.
const USER_NOTIF: u32 = 0x7fc0_0000;
/// `BPF_RET | BPF_K` of linux/bpf_common.h.
const RETURN: u16 = 0x06;

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
        unpack(&self.program)
    }

    /// The flags for seccomp(2), `SECCOMP_FILTER_FLAG_*`.
    #[must_use]
    pub fn flags(&self) -> u32 {
        self.flags
    }

    /// Whether a listener decides about some call, that is, whether
    /// `SECCOMP_FILTER_FLAG_NEW_LISTENER` is among the flags.
    #[must_use]
    pub fn has_listener(&self) -> bool {
        self.flags & FLAG_NEW_LISTENER != 0
    }
}

/// Compiles a profile for the machine this program was built for; with the feature `libseccomp`,
/// by that library.
///
/// # Errors
///
/// See [`compile_for`]; [`ErrorKind::Unsupported`] on an unknown machine; and, with the feature
/// `libseccomp`, what that library says.
pub fn compile(profile: &Seccomp) -> Result<Filter> {
    #[cfg(feature = "libseccomp")]
    return libseccomp::compile(profile);
    #[cfg(not(feature = "libseccomp"))]
    compile_for(profile, Machine::native()?)
}

/// Compiles a profile for a machine.
///
/// # Errors
///
/// [`ErrorKind::InvalidSpec`] if the profile has rules but no default action, if a rule has an
/// empty name or tests an argument beyond the sixth, or if the filter needs more than 4096
/// instructions, the kernel's limit.
pub fn compile_for(profile: &Seccomp, machine: Machine) -> Result<Filter> {
    let verdicts = verdict::decide(profile, machine)?;
    pack(&emit::emit(&verdicts), profile)
}

/// Packs a program for the kernel.
fn pack(instructions: &[Instruction], profile: &Seccomp) -> Result<Filter> {
    if instructions.len() > MAX_FILTER {
        return Err(too_long());
    }
    let mut program = Vec::with_capacity(instructions.len() * 8);
    for Instruction { code, jt, jf, k } in instructions {
        program.extend_from_slice(&code.to_ne_bytes());
        program.extend_from_slice(&[*jt, *jf]);
        program.extend_from_slice(&k.to_ne_bytes());
    }
    let listens = instructions.iter().any(|one| (one.code, one.k) == (RETURN, USER_NOTIF));
    Ok(Filter { program, flags: flags(profile, listens) })
}

/// The instructions of a packed program.
fn unpack(program: &[u8]) -> impl Iterator<Item = Instruction> + '_ {
    let (records, _) = program.as_chunks::<8>();
    records.iter().map(|&[c0, c1, jt, jf, k0, k1, k2, k3]| Instruction {
        code: u16::from_ne_bytes([c0, c1]),
        jt,
        jf,
        k: u32::from_ne_bytes([k0, k1, k2, k3]),
    })
}

fn too_long() -> Error {
    let message = format!(
        "the seccomp profile needs more than {MAX_FILTER} instructions, the kernel's limit"
    );
    Error::new(ErrorKind::InvalidSpec, message)
        .with_field("linux.seccomp.syscalls")
        .with_hint("use fewer rules with conditions on arguments")
}

/// The flags for seccomp(2). The filter is loaded while its process has one thread to concern, so that
/// `TSYNC` would change nothing; the kernel refuses `WAIT_KILLABLE_RECV` without a listener.
fn flags(profile: &Seccomp, listens: bool) -> u32 {
    let flags = profile.flags.as_deref().unwrap_or(&[Flag::SpecAllow]);
    let listener = if listens { FLAG_NEW_LISTENER } else { 0 };
    flags.iter().fold(listener, |all, flag| {
        all | match flag {
            Flag::Log => FLAG_LOG,
            Flag::SpecAllow => FLAG_SPEC_ALLOW,
            Flag::WaitKillableRecv if listens => FLAG_WAIT_KILLABLE_RECV,
            Flag::Tsync | Flag::WaitKillableRecv => 0,
        }
    })
}

/// Whether the kernel that runs knows a flag.
#[must_use]
pub fn is_supported(flag: Flag) -> bool {
    filter::knows_flags(match flag {
        Flag::Tsync => FLAG_TSYNC,
        Flag::Log => FLAG_LOG,
        Flag::SpecAllow => FLAG_SPEC_ALLOW,
        Flag::WaitKillableRecv => FLAG_NEW_LISTENER | FLAG_WAIT_KILLABLE_RECV,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::seccomp::{Action, Argument, Operator, SyscallRule};

    fn rule(name: &str, action: Action, args: Vec<Argument>) -> SyscallRule {
        SyscallRule { names: vec![name.to_owned()], action, errno_ret: None, args }
    }

    fn profile(default_action: Action, syscalls: Vec<SyscallRule>) -> Seccomp {
        Seccomp { default_action: Some(default_action), syscalls, ..Seccomp::default() }
    }

    fn equal(index: u32, value: u64) -> Argument {
        Argument { index, value, value_two: 0, op: Operator::Equal }
    }

    /// As many alternatives as asked for, each of two tests of words.
    fn many(count: u64) -> Seccomp {
        let args = (0..count).map(|value| equal(0, value << 32 | value)).collect();
        profile(Action::Allow, vec![rule("read", Action::Trap, args)])
    }

    /// Follows the program for a call of 64-bit x86 with one argument.
    fn run(filter: &Filter, number: u32, argument: u64) -> u32 {
        let program: Vec<Instruction> = filter.instructions().collect();
        let (mut loaded, mut next) = (0, 0);
        loop {
            let Instruction { code, jt, jf, k } = program[next];
            next += 1;
            let holds = match code {
                0x20 => {
                    let high = u32::try_from(argument >> 32).unwrap();
                    let low = u32::try_from(argument & 0xffff_ffff).unwrap();
                    loaded = [number, 0xc000_003e, 0, 0, low, high][k as usize / 4];
                    continue;
                }
                0x05 => {
                    next += k as usize;
                    continue;
                }
                0x06 => return k,
                0x15 => loaded == k,
                0x25 => loaded > k,
                0x35 => loaded >= k,
                _ => panic!("instruction {code:#x}"),
            };
            next += usize::from(if holds { jt } else { jf });
        }
    }

    #[test]
    fn far_jumps_arrive() {
        let filter = compile_for(&many(700), Machine::X86_64).unwrap();
        assert!(filter.len() > 2100 && filter.len() <= MAX_FILTER);
        assert_eq!(filter.as_bytes().len(), filter.len() * 8);
        for value in 0..700 {
            assert_eq!(run(&filter, 0, value << 32 | value), 0x0003_0000, "{value}");
            assert_eq!(run(&filter, 0, value << 32 | (value + 1)), 0x7fff_0000, "{value}");
        }
        assert_eq!(run(&filter, 0, 700 << 32 | 700), 0x7fff_0000);
        assert_eq!(run(&filter, 1, 0), 0x7fff_0000);
    }

    #[test]
    fn a_filter_that_the_kernel_would_refuse_is_an_error() {
        for count in [1400, 100_000] {
            let error = compile_for(&many(count), Machine::X86_64).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::InvalidSpec);
            assert!(error.to_string().contains("4096"), "{error}");
        }
    }

    #[test]
    fn calls_newer_than_libseccomp_are_known() {
        let rules = vec![rule("file_setattr", Action::Allow, Vec::new())];
        let filter = compile_for(&profile(Action::Errno, rules), Machine::X86_64).unwrap();
        assert_eq!(run(&filter, 469, 0), 0x7fff_0000);
        assert_eq!(run(&filter, 468, 0), 0x0005_0001);
        assert_eq!(run(&filter, 470, 0), 0x0005_0026);
    }

    #[test]
    fn of_rules_that_contradict_each_other_the_first_holds() {
        let rules = vec![
            rule("read", Action::Log, vec![equal(0, 1)]),
            rule("read", Action::Trap, vec![equal(0, 1)]),
        ];
        let filter = compile_for(&profile(Action::Allow, rules), Machine::X86_64).unwrap();
        assert_eq!(run(&filter, 0, 1), 0x7ffc_0000);
    }

    #[test]
    fn errors_name_the_field() {
        let args = vec![equal(6, 0)];
        for (profile, field) in [
            (Seccomp { default_action: None, ..many(1) }, "linux.seccomp.defaultAction"),
            (
                Seccomp { default_errno_ret: Some(4096), ..profile(Action::Errno, Vec::new()) },
                "linux.seccomp.defaultAction",
            ),
            (
                profile(
                    Action::Allow,
                    vec![SyscallRule {
                        errno_ret: Some(65_536),
                        ..rule("read", Action::Trace, Vec::new())
                    }],
                ),
                "linux.seccomp.syscalls[0].action",
            ),
            (
                profile(Action::Allow, vec![rule("", Action::Trap, Vec::new())]),
                "linux.seccomp.syscalls[0].names",
            ),
            (
                profile(Action::Allow, vec![rule("read", Action::Trap, args)]),
                "linux.seccomp.syscalls[0].args",
            ),
        ] {
            let error = compile_for(&profile, Machine::X86_64).unwrap_err();
            assert_eq!(error.field(), Some(field));
        }
    }

    #[test]
    fn an_empty_profile_allows_everything() {
        let filter = compile_for(&Seccomp::default(), Machine::X86_64).unwrap();
        assert_eq!(run(&filter, 12_345, 0), 0x7fff_0000);
        assert_eq!(run(&filter, 0x4000_0000, 0), KILL_THREAD);
    }
}
