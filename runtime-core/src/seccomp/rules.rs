//! The rules of a profile, read for a machine.

use std::ops::Range;

use crate::error::{Error, ErrorKind, Result};
use crate::spec::seccomp::{Action, Seccomp, SyscallRule};

use super::abi::{Abi, Machine};
use super::condition::Condition;
use super::table::{Call, NO};

pub(super) const EPERM: u32 = 1;

/// The largest error that the kernel returns: `MAX_ERRNO` of linux/err.h.
const MAX_ERRNO: u32 = 4095;

/// What to do with one system call, under all calling conventions.
#[derive(Debug)]
pub(super) struct Rule {
    /// The call.
    pub(super) call: Call,
    /// The value the filter returns.
    pub(super) verdict: u32,
    /// Lists of conditions; one list must hold. A range of [`Rules::alternatives`].
    alternatives: Range<usize>,
}

/// The rules that differ from the default.
#[derive(Debug)]
pub(super) struct Rules {
    /// The value the filter returns for calls without a rule.
    pub(super) default: u32,
    /// The rules, in the order of the profile.
    pub(super) list: Vec<Rule>,
    alternatives: Vec<Vec<Condition>>,
    /// The largest number named, per calling convention; calls beyond it do not exist.
    newest: Vec<Option<u32>>,
}

impl Rules {
    /// Reads a profile.
    pub(super) fn new(profile: &Seccomp, machine: Machine) -> Result<Self> {
        let default_action = default_action(profile)?;
        let default = value(default_action, profile.default_errno_ret)
            .map_err(|error| error.with_field("linux.seccomp.defaultAction"))?;
        let count = profile.syscalls.iter().map(|rule| rule.names.len()).sum();
        let mut rules = Self {
            default,
            list: Vec::with_capacity(count),
            alternatives: Vec::new(),
            newest: vec![None; machine.abis().len()],
        };
        for (index, rule) in profile.syscalls.iter().enumerate() {
            rules.read(rule, index, machine)?;
        }
        // A profile that lets unknown calls through, or leaves them to a tracer or an agent, does the
        // same with those that are newer than itself.
        let judged = [Action::Allow, Action::Log, Action::Trace, Action::Notify];
        if judged.contains(&default_action) {
            rules.newest.fill(None);
        }
        Ok(rules)
    }

    /// The lists of conditions of a rule, one of which must hold.
    pub(super) fn alternatives(&self, rule: &Rule) -> &[Vec<Condition>] {
        self.alternatives.get(rule.alternatives.clone()).unwrap_or_default()
    }

    /// The number beyond which calls do not exist, if there is one; `column` is that of the
    /// calling convention among those of the machine.
    pub(super) fn newest(&self, abi: Abi, column: usize) -> Option<u32> {
        let number = self.newest.get(column).copied().flatten()?;
        // runc takes zero for "no call named".
        Some(number | abi.mark()).filter(|number| *number > 0)
    }

    fn read(&mut self, rule: &SyscallRule, index: usize, machine: Machine) -> Result<()> {
        let field = |name: &str| format!("linux.seccomp.syscalls[{index}].{name}");
        let verdict = value(rule.action, rule.errno_ret)
            .map_err(|error| error.with_field(field("action")))?;
        let alternatives =
            self.read_arguments(rule).map_err(|error| error.with_field(field("args")))?;
        for name in &rule.names {
            if name.is_empty() {
                let message = "the name of a system call is empty";
                return Err(Error::new(ErrorKind::InvalidSpec, message).with_field(field("names")));
            }
            let Some(call) = machine.call(name) else {
                // Not a warning: engines name calls of all machines.
                log::debug!("seccomp: no system call {name} on this machine");
                continue;
            };
            self.note_newest(&call, machine);
            if verdict != self.default {
                self.list.push(Rule { call, verdict, alternatives: alternatives.clone() });
            }
        }
        Ok(())
    }

    /// Stores the conditions of a rule and answers where. Two conditions on one argument are
    /// alternatives: so runc reads profiles that are older than libseccomp's own rule.
    fn read_arguments(&mut self, rule: &SyscallRule) -> Result<Range<usize>> {
        let first = self.alternatives.len();
        let mut conditions =
            rule.args.iter().map(Condition::new).collect::<Result<Vec<Condition>>>()?;
        let repeated = (1..conditions.len()).any(|index| {
            let (before, rest) = conditions.split_at(index);
            rest.first().is_some_and(|one| before.iter().any(|two| one.argument == two.argument))
        });
        if repeated {
            self.alternatives.extend(conditions.into_iter().map(|condition| vec![condition]));
        } else {
            conditions.sort_by_key(|condition| condition.argument);
            self.alternatives.push(conditions);
        }
        Ok(first..self.alternatives.len())
    }

    fn note_newest(&mut self, call: &Call, machine: Machine) {
        let columns = self.newest.iter_mut().zip(call.numbers).zip(machine.abis());
        for ((newest, number), abi) in columns {
            // libseccomp does not report the direct numbers of calls that 32-bit x86 also has
            // behind socketcall(2) and ipc(2), so runc does not count them.
            let direct = call.multiplexed.is_none() || !matches!(abi, Abi::X86);
            if *number != NO && direct {
                *newest = (*newest).max(Some(*number));
            }
        }
    }
}

/// The default action; an empty profile allows everything.
fn default_action(profile: &Seccomp) -> Result<Action> {
    match profile.default_action {
        Some(action) => Ok(action),
        None if profile.is_empty() => Ok(Action::Allow),
        None => Err(Error::new(ErrorKind::InvalidSpec, "the default action is missing")
            .with_field("linux.seccomp.defaultAction")),
    }
}

/// What the filter returns for an action: `SECCOMP_RET_*` of linux/seccomp.h.
fn value(action: Action, errno: Option<u32>) -> Result<u32> {
    let data = errno.unwrap_or(EPERM);
    let largest = match action {
        Action::Errno => MAX_ERRNO,
        Action::Trace => u32::from(u16::MAX),
        _ => u32::MAX,
    };
    if data > largest {
        let message = format!("errno {data} of {} is larger than {largest}", action.name());
        return Err(Error::new(ErrorKind::InvalidSpec, message));
    }
    Ok(match action {
        Action::KillProcess => 0x8000_0000,
        Action::Kill | Action::KillThread => super::KILL_THREAD,
        Action::Trap => 0x0003_0000,
        Action::Errno => 0x0005_0000 | data,
        Action::Trace => 0x7ff0_0000 | data,
        Action::Log => 0x7ffc_0000,
        Action::Allow => 0x7fff_0000,
        Action::Notify => super::USER_NOTIF,
    })
}
