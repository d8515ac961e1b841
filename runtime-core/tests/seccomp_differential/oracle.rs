//! What runc makes of a profile with libseccomp.

use std::io::{Read, Seek};

use coracle::seccomp::{Instruction, Machine};
use coracle::spec::seccomp::{Action, Architecture, Operator, Seccomp, SyscallRule};
use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
};

use super::interpreter::Call;
use super::{AARCH64, ARM, X32_BIT, X86, X86_64};

/// The profile without the names that libseccomp does not know.
pub(crate) fn known(profile: &Seccomp) -> Seccomp {
    let mut profile = profile.clone();
    for rule in &mut profile.syscalls {
        rule.names.retain(|name| ScmpSyscall::from_name(name).is_ok());
    }
    profile
}

/// The architectures of the profile that the machine has, the native one first.
fn architectures(profile: &Seccomp, machine: Machine) -> Vec<(Architecture, ScmpArch)> {
    let all = match machine {
        Machine::X86_64 => vec![
            (Architecture::X86_64, ScmpArch::X8664),
            (Architecture::X86, ScmpArch::X86),
            (Architecture::X32, ScmpArch::X32),
        ],
        _ => vec![(Architecture::Aarch64, ScmpArch::Aarch64), (Architecture::Arm, ScmpArch::Arm)],
    };
    let native = all[0].0;
    all.into_iter()
        .filter(|(name, _)| *name == native || profile.architectures.contains(name))
        .collect()
}

/// libseccomp's filter, unless it refuses the profile.
pub(crate) fn program(profile: &Seccomp, machine: Machine) -> Option<Vec<Instruction>> {
    let default = action(profile.default_action.unwrap(), profile.default_errno_ret);
    let mut filter = ScmpFilterContext::new(default).unwrap();
    let architectures = architectures(profile, machine);
    for (_, arch) in &architectures {
        filter.add_arch(*arch).unwrap();
    }
    if machine != Machine::X86_64 {
        filter.remove_arch(ScmpArch::X8664).unwrap();
    }
    let names: usize = profile.syscalls.iter().map(|rule| rule.names.len()).sum();
    if names > 32 {
        filter.set_ctl_optimize(2).unwrap();
    }
    for rule in &profile.syscalls {
        add(&mut filter, rule, default)?;
    }
    let mut file = tempfile::tempfile().unwrap();
    filter.export_bpf(&file).unwrap();
    let mut bytes = Vec::new();
    file.rewind().unwrap();
    file.read_to_end(&mut bytes).unwrap();
    let (records, rest) = bytes.as_chunks::<8>();
    assert!(rest.is_empty() && !records.is_empty());
    Some(records.iter().map(instruction).collect())
}

/// The architectures whose part of the program does not start by loading the call's number:
/// libseccomp 2.5 forgets that if the first rule is for a call that the architecture lacks.
pub(crate) fn broken(program: &[Instruction]) -> Vec<u32> {
    let mut broken = Vec::new();
    let mut next = 1;
    while let Instruction { code: 0x15, jt, jf, k } = program[next] {
        let first = program[next + 1 + usize::from(jt)].code;
        if first != 0x20 && first != 0x06 {
            broken.push(k);
        }
        next += 1 + usize::from(jf);
    }
    broken
}

fn instruction(&[c0, c1, jt, jf, k0, k1, k2, k3]: &[u8; 8]) -> Instruction {
    let k = u32::from_ne_bytes([k0, k1, k2, k3]);
    Instruction { code: u16::from_ne_bytes([c0, c1]), jt, jf, k }
}

fn add(filter: &mut ScmpFilterContext, rule: &SyscallRule, default: ScmpAction) -> Option<()> {
    let act = action(rule.action, rule.errno_ret);
    if act == default {
        return Some(());
    }
    let conditions: Vec<ScmpArgCompare> = rule
        .args
        .iter()
        .map(|argument| {
            let (op, datum) = match argument.op {
                Operator::Equal => (ScmpCompareOp::Equal, argument.value),
                Operator::NotEqual => (ScmpCompareOp::NotEqual, argument.value),
                Operator::Less => (ScmpCompareOp::Less, argument.value),
                Operator::LessOrEqual => (ScmpCompareOp::LessOrEqual, argument.value),
                Operator::Greater => (ScmpCompareOp::Greater, argument.value),
                Operator::GreaterOrEqual => (ScmpCompareOp::GreaterEqual, argument.value),
                Operator::MaskedEqual => {
                    (ScmpCompareOp::MaskedEqual(argument.value), argument.value_two)
                }
            };
            ScmpArgCompare::new(argument.index, op, datum)
        })
        .collect();
    let repeated = (0..6).any(|index| rule.args.iter().filter(|a| a.index == index).count() > 1);
    for name in &rule.names {
        let call = ScmpSyscall::from_name(name).unwrap();
        if repeated {
            for condition in &conditions {
                filter.add_rule_conditional(act, call, &[*condition]).ok()?;
            }
        } else {
            filter.add_rule_conditional(act, call, &conditions).ok()?;
        }
    }
    Some(())
}

fn action(action: Action, errno: Option<u32>) -> ScmpAction {
    let data = errno.unwrap_or(1);
    match action {
        Action::Kill | Action::KillThread => ScmpAction::KillThread,
        Action::KillProcess => ScmpAction::KillProcess,
        Action::Trap => ScmpAction::Trap,
        Action::Errno => ScmpAction::Errno(i32::try_from(data).unwrap()),
        Action::Trace => ScmpAction::Trace(u16::try_from(data).unwrap()),
        Action::Log => ScmpAction::Log,
        Action::Allow => ScmpAction::Allow,
        Action::Notify => ScmpAction::Notify,
    }
}

/// What runc puts in front of libseccomp's filter: numbers beyond the largest one named in the
/// profile answer `ENOSYS`.
pub(crate) struct Stub {
    largest: Vec<(ScmpArch, u32)>,
}

impl Stub {
    pub(crate) fn new(profile: &Seccomp, machine: Machine) -> Self {
        let lenient = [Action::Allow, Action::Log, Action::Trace, Action::Notify];
        let mut largest = Vec::new();
        for (_, arch) in architectures(profile, machine) {
            let numbers = profile.syscalls.iter().flat_map(|rule| &rule.names).filter_map(|name| {
                u32::try_from(ScmpSyscall::from_name_by_arch(name, arch).ok()?.as_raw_syscall())
                    .ok()
            });
            largest.extend(numbers.max().filter(|number| *number > 0).map(|number| (arch, number)));
        }
        if lenient.contains(&profile.default_action.unwrap()) {
            largest.clear();
        }
        Self { largest }
    }

    pub(crate) fn answer(&self, call: &Call) -> Option<u32> {
        let x32 = call.number & X32_BIT != 0;
        let arch = match call.audit {
            X86_64 if x32 => ScmpArch::X32,
            X86_64 => ScmpArch::X8664,
            X86 => ScmpArch::X86,
            AARCH64 => ScmpArch::Aarch64,
            ARM => ScmpArch::Arm,
            _ => return None,
        };
        let (_, largest) = self.largest.iter().find(|(known, _)| *known == arch)?;
        (call.number > *largest).then_some(0x0005_0000 | 38)
    }
}

/// The numbers of the calls that have rules on arguments.
pub(crate) fn conditional(profile: &Seccomp, audit: u32) -> Vec<u32> {
    let archs: &[ScmpArch] = match audit {
        X86_64 => &[ScmpArch::X8664, ScmpArch::X32],
        X86 => &[ScmpArch::X86],
        AARCH64 => &[ScmpArch::Aarch64],
        ARM => &[ScmpArch::Arm],
        _ => &[],
    };
    let mut numbers = Vec::new();
    if audit == X86 {
        // socketcall(2), ipc(2) and the direct numbers of the calls behind them.
        numbers.extend([102, 117]);
        numbers.extend(337..=402);
    }
    for name in profile.syscalls.iter().filter(|rule| !rule.args.is_empty()).flat_map(|r| &r.names)
    {
        numbers.extend(archs.iter().filter_map(|arch| {
            u32::try_from(ScmpSyscall::from_name_by_arch(name, *arch).ok()?.as_raw_syscall()).ok()
        }));
    }
    numbers
}
