//! The profile read rule by rule, as the specification says it, for the cases in which libseccomp
//! does something else.

use coracle::spec::seccomp::{Action, Argument, Operator, Seccomp, SyscallRule};
use libseccomp::{ScmpArch, ScmpSyscall};

use super::interpreter::Call;
use super::{AARCH64, ARM, X32_BIT, X86, X86_64};

/// What the rules say about a call.
#[derive(Debug)]
pub(crate) struct Reading {
    /// The values of the rules that hold, in the order of the profile; the default if none does.
    pub(crate) values: Vec<u32>,
    /// libseccomp may get it wrong: it makes a tree of the alternatives, in which it may lose some
    /// and which it does not ask in order; and with 32-bit arguments it reads "less or equal" as
    /// "greater" unless that is the first condition of its rule.
    pub(crate) doubtful: bool,
}

/// Reads the rules for a call.
pub(crate) fn read(profile: &Seccomp, call: &Call) -> Option<Reading> {
    let wide = call.audit == AARCH64 || (call.audit == X86_64 && call.number & X32_BIT == 0);
    let default = value(profile.default_action?, profile.default_errno_ret);
    let rules: Vec<(&SyscallRule, bool)> = rules(profile, call)?
        .into_iter()
        .filter(|(rule, _)| value(rule.action, rule.errno_ret) != default)
        .collect();
    let unconditional = |(rule, behind): &&(&SyscallRule, bool)| rule.args.is_empty() && !behind;
    if let Some((rule, _)) = rules.iter().find(unconditional) {
        let values = vec![value(rule.action, rule.errno_ret)];
        return Some(Reading { values, doubtful: false });
    }
    let mut reading = Reading { values: Vec::new(), doubtful: false };
    let mut count = 0;
    for (rule, behind) in rules {
        for list in alternatives(rule) {
            count += 1;
            let list: Vec<&Argument> =
                list.iter().filter(|argument| !behind || argument.index != 0).collect();
            if list.iter().all(|argument| is_met(argument, call, wide)) {
                reading.values.push(value(rule.action, rule.errno_ret));
            }
            let first = if behind { Some(0) } else { list.iter().map(|one| one.index).min() };
            reading.doubtful |= !wide
                && list
                    .iter()
                    .any(|one| one.op == Operator::LessOrEqual && Some(one.index) != first);
        }
    }
    reading.doubtful |= count.max(behind_the_same(profile, call)) > 1;
    if reading.values.is_empty() {
        reading.values.push(default);
    }
    Some(reading)
}

/// The rules for a call, and whether it is one behind socketcall(2) or ipc(2).
fn rules<'p>(profile: &'p Seccomp, call: &Call) -> Option<Vec<(&'p SyscallRule, bool)>> {
    let arch = match call.audit {
        X86_64 if call.number & X32_BIT != 0 => ScmpArch::X32,
        X86_64 => ScmpArch::X8664,
        X86 => ScmpArch::X86,
        AARCH64 => ScmpArch::Aarch64,
        ARM => ScmpArch::Arm,
        _ => return None,
    };
    let name = |number: i32| ScmpSyscall::from_raw_syscall(number).get_name_by_arch(arch).ok();
    let own = name(i32::try_from(call.number).ok()?);
    let code = i32::try_from(call.arguments[0] & 0xffff_ffff).unwrap_or(0);
    // libseccomp's numbers for the calls behind others.
    let behind = match (arch, call.number, code) {
        (ScmpArch::X86, 102, 1..=99) => name(-100 - code),
        (ScmpArch::X86, 117, 1..=99) => name(-200 - code),
        _ => None,
    };
    let named = |rule: &SyscallRule, name: &Option<String>| {
        name.as_ref().is_some_and(|name| rule.names.contains(name))
    };
    let mut rules = Vec::new();
    for rule in &profile.syscalls {
        if named(rule, &behind) {
            rules.push((rule, true));
        }
        if named(rule, &own) {
            rules.push((rule, false));
        }
    }
    Some(rules)
}

/// How many alternatives there are for all calls behind this socketcall(2) or ipc(2): they are
/// one tree.
fn behind_the_same(profile: &Seccomp, call: &Call) -> usize {
    let numbers = match (call.audit, call.number) {
        (X86, 102) => -199..-100,
        (X86, 117) => -299..-200,
        _ => return 0,
    };
    let behind = |name: &&String| {
        ScmpSyscall::from_name_by_arch(name, ScmpArch::X86)
            .is_ok_and(|call| numbers.contains(&call.as_raw_syscall()))
    };
    let count =
        |rule: &SyscallRule| rule.names.iter().filter(behind).count() * alternatives(rule).len();
    profile.syscalls.iter().map(count).sum()
}

/// The lists of conditions of a rule, one of which must hold.
fn alternatives(rule: &SyscallRule) -> Vec<Vec<Argument>> {
    let args = &rule.args;
    let repeated = (0..6).any(|index| args.iter().filter(|a| a.index == index).count() > 1);
    if repeated { args.iter().map(|one| vec![*one]).collect() } else { vec![args.clone()] }
}

fn is_met(argument: &Argument, call: &Call, wide: bool) -> bool {
    let width = if wide { u64::MAX } else { u64::from(u32::MAX) };
    let found = call.arguments[argument.index as usize] & width;
    let (value, two) = (argument.value & width, argument.value_two & width);
    match argument.op {
        Operator::Equal => found == value,
        Operator::NotEqual => found != value,
        Operator::Less => found < value,
        Operator::LessOrEqual => found <= value,
        Operator::Greater => found > value,
        Operator::GreaterOrEqual => found >= value,
        Operator::MaskedEqual => found & value == two & value,
    }
}

fn value(action: Action, errno: Option<u32>) -> u32 {
    let data = errno.unwrap_or(1);
    match action {
        Action::Kill | Action::KillThread => 0,
        Action::Trap => 0x0003_0000,
        Action::Errno => 0x0005_0000 | data,
        Action::Notify => 0x7fc0_0000,
        Action::Trace => 0x7ff0_0000 | data,
        Action::Log => 0x7ffc_0000,
        Action::Allow => 0x7fff_0000,
        Action::KillProcess => 0x8000_0000,
    }
}
