//! How the kernel treats the process: execution domain, scheduling, memory policy.

use super::Origin;
use super::draft::Draft;
use crate::error::{Error, ErrorKind, Result};
use crate::program::Step;
use crate::spec::{
    IoPriority, IoPriorityClass, MemoryPolicy, MemoryPolicyFlag, MemoryPolicyMode, Personality,
    PersonalityDomain, Process, Scheduler, SchedulerFlag, SchedulerPolicy,
};

/// More than any kernel has (`NR_CPUS` is 8192 at most, `MAX_NUMNODES` 1024).
const MOST: usize = 8192;

/// The numbers of `linux/sched.h`.
pub(super) const fn policy(policy: SchedulerPolicy) -> u32 {
    match policy {
        SchedulerPolicy::Other => 0,
        SchedulerPolicy::Fifo => 1,
        SchedulerPolicy::RoundRobin => 2,
        SchedulerPolicy::Batch => 3,
        SchedulerPolicy::Iso => 4,
        SchedulerPolicy::Idle => 5,
        SchedulerPolicy::Deadline => 6,
    }
}

/// The bits of `linux/sched.h`.
const fn scheduler_flag(flag: SchedulerFlag) -> u64 {
    match flag {
        SchedulerFlag::ResetOnFork => 0x01,
        SchedulerFlag::Reclaim => 0x02,
        SchedulerFlag::DeadlineOverrun => 0x04,
        SchedulerFlag::KeepPolicy => 0x08,
        SchedulerFlag::KeepParameters => 0x10,
        SchedulerFlag::UtilizationMinimum => 0x20,
        SchedulerFlag::UtilizationMaximum => 0x40,
    }
}

/// The numbers of `linux/ioprio.h`.
const fn class(class: IoPriorityClass) -> u32 {
    match class {
        IoPriorityClass::RealTime => 1,
        IoPriorityClass::BestEffort => 2,
        IoPriorityClass::Idle => 3,
    }
}

/// The numbers of `linux/mempolicy.h`.
pub(super) const fn memory_mode(mode: MemoryPolicyMode) -> u32 {
    match mode {
        MemoryPolicyMode::Default => 0,
        MemoryPolicyMode::Preferred => 1,
        MemoryPolicyMode::Bind => 2,
        MemoryPolicyMode::Interleave => 3,
        MemoryPolicyMode::Local => 4,
        MemoryPolicyMode::PreferredMany => 5,
        MemoryPolicyMode::WeightedInterleave => 6,
    }
}

/// The bits of `linux/mempolicy.h`.
const fn memory_flag(flag: MemoryPolicyFlag) -> u32 {
    match flag {
        MemoryPolicyFlag::NumaBalancing => 1 << 13,
        MemoryPolicyFlag::RelativeNodes => 1 << 14,
        MemoryPolicyFlag::StaticNodes => 1 << 15,
    }
}

/// The numbers of `linux/personality.h`.
pub(super) const fn domain(domain: PersonalityDomain) -> u32 {
    match domain {
        PersonalityDomain::Linux => 0,
        PersonalityDomain::Linux32 => 8,
    }
}

/// The bits of a list like `0-3,7`, in whole words of the kernel; none of an empty list.
fn bits(list: &str, origin: &Origin) -> Result<Vec<u8>> {
    let fault = || {
        let message = format!("{list:?} is not a list like 0-3,7");
        origin.blame(Error::new(ErrorKind::InvalidSpec, message))
    };
    let mut bits = Vec::new();
    for part in list.split(',').map(str::trim).filter(|part| !part.is_empty()) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| text.trim().parse::<usize>().ok().filter(|bit| *bit < MOST);
        let (Some(first), Some(last)) = (number(first), number(last)) else {
            return Err(fault());
        };
        if first > last {
            return Err(fault());
        }
        if bits.len() <= last {
            bits.resize((last / 64 + 1) * 64, false);
        }
        bits.iter_mut().take(last + 1).skip(first).for_each(|bit| *bit = true);
    }
    let words = bits
        .chunks(64)
        .map(|word| word.iter().rev().fold(0_u64, |sum, bit| sum << 1 | u64::from(*bit)));
    Ok(words.flat_map(u64::to_ne_bytes).collect())
}

/// What applies to a container as a whole, and so to every process that joins it.
pub(super) fn write_container(
    personality: Option<&Personality>,
    policy: Option<&MemoryPolicy>,
    draft: &mut Draft<'_>,
) -> Result<()> {
    if let Some(personality) = personality {
        let step = Step::Personality { domain: domain(personality.domain) };
        draft.push(&step, Origin::Field("linux.personality"));
    }
    if let Some(policy) = policy {
        let origin = Origin::Field("linux.memoryPolicy");
        let nodes = bits(policy.nodes.as_deref().unwrap_or_default(), &origin)?;
        let flags = policy.flags.iter().fold(0, |bits, flag| bits | memory_flag(*flag));
        let mode = memory_mode(policy.mode) | flags;
        draft.push(&Step::MemoryPolicy { mode, nodes: &nodes }, origin);
    }
    Ok(())
}

/// What a process asks for; before its capabilities are dropped, as a higher priority needs one.
pub(super) fn write_process(process: &Process, draft: &mut Draft<'_>) -> Result<()> {
    if let Some(scheduler) = &process.scheduler {
        write_scheduler(scheduler, draft)?;
    }
    if let Some(IoPriority { class: kind, priority }) = process.io_priority {
        let level = u32::try_from(priority).unwrap_or(0);
        let step = Step::IoPriority { priority: class(kind) << 13 | level };
        draft.push(&step, Origin::Field("process.ioPriority"));
    }
    Ok(())
}

fn write_scheduler(scheduler: &Scheduler, draft: &mut Draft<'_>) -> Result<()> {
    let priority = u32::try_from(scheduler.priority).map_err(|_negative| {
        Error::new(ErrorKind::InvalidSpec, "is negative").with_field("process.scheduler.priority")
    })?;
    let step = Step::Scheduler {
        policy: policy(scheduler.policy),
        flags: scheduler.flags.iter().fold(0, |bits, flag| bits | scheduler_flag(*flag)),
        nice: scheduler.nice,
        priority,
        runtime: scheduler.runtime,
        deadline: scheduler.deadline,
        period: scheduler.period,
    };
    draft.push(&step, Origin::Field("process.scheduler"));
    Ok(())
}

/// When the processors of an `exec` are chosen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Moment {
    /// Before the process is in the container's cgroup.
    Outside,
    /// From then on.
    Inside,
}

/// The processors of an `exec`. Those of [`Moment::Outside`] end with it: without others, the process
/// may run wherever the cgroup lets it.
pub(super) fn write_affinity(
    process: &Process,
    moment: Moment,
    draft: &mut Draft<'_>,
) -> Result<()> {
    let origin = Origin::Field("process.execCPUAffinity");
    let Some(affinity) = &process.exec_cpu_affinity else { return Ok(()) };
    let initial = bits(affinity.initial.as_deref().unwrap_or_default(), &origin)?;
    let mut last = bits(affinity.last.as_deref().unwrap_or_default(), &origin)?;
    if last.is_empty() && !initial.is_empty() {
        last = vec![u8::MAX; MOST / 8];
    }
    let processors = if moment == Moment::Outside { initial } else { last };
    if !processors.is_empty() {
        draft.push(&Step::Affinity { processors: &processors }, origin);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_become_words() {
        let origin = Origin::Field("x");
        let words = |list: &str| {
            let bytes = bits(list, &origin).expect(list);
            bytes
                .chunks_exact(8)
                .map(|word| u64::from_ne_bytes(word.try_into().expect("eight")))
                .collect::<Vec<_>>()
        };
        assert!(words("").is_empty());
        assert_eq!(words("0-2, 5"), [0b10_0111]);
        assert_eq!(words("64,1"), [2, 1]);
        for bad in ["x", "1-", "3-1", "-1", "8192", "1..2"] {
            let error = bits(bad, &origin).expect_err(bad);
            assert_eq!(error.field(), Some("x"), "{bad}");
        }
    }
}
