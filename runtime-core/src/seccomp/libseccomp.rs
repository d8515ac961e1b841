//! Filters made by libseccomp, as runc makes them: the reference for the built-in compiler, and
//! the choice of those who trust the library's age more than its speed.

use std::fs::File;
use std::io::{Read, Seek};

use libseccomp::error::SeccompError;
use libseccomp::{
    ScmpAction, ScmpArch, ScmpArgCompare, ScmpCompareOp, ScmpFilterContext, ScmpSyscall,
};
use nix::sys::memfd::{MFdFlags, memfd_create};

use crate::error::{Attempt, Error, ErrorKind, Result};
use crate::spec::seccomp::{Action, Argument, Operator, Seccomp, SyscallRule};

use super::abi::{Abi, Machine};
use super::assemble::{Assembler, Position, Test};
use super::emit::{ARCHITECTURE, NUMBER};
use super::rules::Rules;
use super::verdict::NO_SUCH_CALL;
use super::{Filter, Instruction};

/// From how many rules on libseccomp makes a tree instead of a chain, as runc asks it to.
const MANY_RULES: usize = 32;

/// Compiles a profile for the machine this program was built for.
pub(super) fn compile(profile: &Seccomp) -> Result<Filter> {
    let machine = Machine::native()?;
    let mut known = profile.clone();
    for rule in &mut known.syscalls {
        rule.names.retain(|name| name.is_empty() || ScmpSyscall::from_name(name).is_ok());
    }
    let rules = Rules::new(&known, machine)?;
    let abis: Vec<(usize, Abi)> = machine
        .abis()
        .iter()
        .copied()
        .enumerate()
        .filter(|(column, abi)| *column == 0 || known.architectures.contains(&abi.architecture()))
        .collect();
    let program = export(&known, &abis)?;
    super::pack(&prepend_newest(program, &abis, &rules), profile)
}

/// libseccomp's own program.
fn export(profile: &Seccomp, abis: &[(usize, Abi)]) -> Result<Vec<Instruction>> {
    let default_action = profile.default_action.unwrap_or(Action::Allow);
    let default = action(default_action, profile.default_errno_ret)?;
    let mut filter = ScmpFilterContext::new(default).map_err(refused("start a filter"))?;
    for (_, abi) in abis {
        filter.add_arch(architecture(*abi)).map_err(refused("add an architecture"))?;
    }
    let count: usize = profile.syscalls.iter().map(|rule| rule.names.len()).sum();
    if count > MANY_RULES {
        filter.set_ctl_optimize(2).map_err(refused("ask for a tree"))?;
    }
    for (index, rule) in profile.syscalls.iter().enumerate() {
        add(&mut filter, rule, default)
            .map_err(|error| error.with_field(format!("linux.seccomp.syscalls[{index}]")))?;
    }
    let file = memfd_create(c"seccomp", MFdFlags::MFD_CLOEXEC).attempt("create a memory file")?;
    let mut file = File::from(file);
    filter.export_bpf(&file).map_err(refused("export the filter"))?;
    let mut bytes = Vec::new();
    file.rewind().attempt("read the filter")?;
    file.read_to_end(&mut bytes).attempt("read the filter")?;
    Ok(super::unpack(&bytes).collect())
}

/// Adds a rule to libseccomp's filter.
fn add(filter: &mut ScmpFilterContext, rule: &SyscallRule, default: ScmpAction) -> Result<()> {
    let action = action(rule.action, rule.errno_ret)?;
    if action == default {
        return Ok(());
    }
    let conditions: Vec<ScmpArgCompare> = rule.args.iter().map(condition).collect();
    let repeated = rule
        .args
        .iter()
        .enumerate()
        .any(|(index, one)| rule.args.iter().skip(index + 1).any(|two| one.index == two.index));
    // A list with one condition each, or one list with all of them.
    let size = if repeated { 1 } else { conditions.len().max(1) };
    for name in &rule.names {
        let call = ScmpSyscall::from_name(name).map_err(refused("look up a system call"))?;
        if conditions.is_empty() {
            filter.add_rule(action, call).map_err(refused("add a rule"))?;
        }
        for list in conditions.chunks(size) {
            filter.add_rule_conditional(action, call, list).map_err(refused("add a rule"))?;
        }
    }
    Ok(())
}

/// Puts in front of the program that numbers beyond the newest named do not exist.
fn prepend_newest(
    program: Vec<Instruction>,
    abis: &[(usize, Abi)],
    rules: &Rules,
) -> Vec<Instruction> {
    let mut assembler = Assembler::before(program);
    let Some(start) = assembler.start() else {
        return Vec::new();
    };
    let mut entries: Vec<(u32, Position)> = Vec::new();
    for (column, abi) in abis.iter().filter(|(_, abi)| !matches!(abi, Abi::X32)) {
        let mut section = end(&mut assembler, rules.newest(*abi, *column), start);
        if matches!(abi, Abi::X86_64) {
            let x32 = abis.iter().find(|(_, other)| matches!(other, Abi::X32));
            let newest = x32.and_then(|(column, abi)| rules.newest(*abi, *column));
            let marked = end(&mut assembler, newest, start);
            if section != marked {
                section = assembler.branch(Test::AnyBit, Abi::X32.mark(), marked, section);
            }
        }
        if section != start {
            entries.push((abi.audit(), assembler.load(NUMBER, section).start));
        }
    }
    let mut next = start;
    for (audit, entry) in entries {
        next = assembler.branch(Test::Equal, audit, entry, next);
    }
    if next != start {
        assembler.load(ARCHITECTURE, next);
    }
    assembler.finish()
}

/// Sends numbers beyond the newest away.
fn end(assembler: &mut Assembler, newest: Option<u32>, start: Position) -> Position {
    let Some(newest) = newest else { return start };
    let away = assembler.give(NO_SUCH_CALL);
    assembler.branch(Test::Greater, newest, away, start)
}

fn condition(argument: &Argument) -> ScmpArgCompare {
    let (op, value) = match argument.op {
        Operator::Equal => (ScmpCompareOp::Equal, argument.value),
        Operator::NotEqual => (ScmpCompareOp::NotEqual, argument.value),
        Operator::Less => (ScmpCompareOp::Less, argument.value),
        Operator::LessOrEqual => (ScmpCompareOp::LessOrEqual, argument.value),
        Operator::Greater => (ScmpCompareOp::Greater, argument.value),
        Operator::GreaterOrEqual => (ScmpCompareOp::GreaterEqual, argument.value),
        Operator::MaskedEqual => (ScmpCompareOp::MaskedEqual(argument.value), argument.value_two),
    };
    ScmpArgCompare::new(argument.index, op, value)
}

fn action(action: Action, errno: Option<u32>) -> Result<ScmpAction> {
    let data = errno.unwrap_or(super::rules::EPERM);
    let too_large = |_| Error::new(ErrorKind::InvalidSpec, format!("errno {data} is too large"));
    Ok(match action {
        Action::Kill | Action::KillThread => ScmpAction::KillThread,
        Action::KillProcess => ScmpAction::KillProcess,
        Action::Trap => ScmpAction::Trap,
        Action::Errno => ScmpAction::Errno(i32::try_from(data).map_err(too_large)?),
        Action::Trace => ScmpAction::Trace(u16::try_from(data).map_err(too_large)?),
        Action::Log => ScmpAction::Log,
        Action::Allow => ScmpAction::Allow,
        Action::Notify => ScmpAction::Notify,
    })
}

const fn architecture(abi: Abi) -> ScmpArch {
    match abi {
        Abi::X86_64 => ScmpArch::X8664,
        Abi::X86 => ScmpArch::X86,
        Abi::X32 => ScmpArch::X32,
        Abi::Aarch64 => ScmpArch::Aarch64,
        Abi::Arm => ScmpArch::Arm,
    }
}

/// What to say when libseccomp refuses something.
fn refused(what: &'static str) -> impl Fn(SeccompError) -> Error {
    move |source| {
        let message = format!("{what}: libseccomp: {source}");
        match source.sysrawrc() {
            Some(errno) => Error::system(message, errno.saturating_neg()),
            None => Error::new(ErrorKind::System, message),
        }
    }
}
