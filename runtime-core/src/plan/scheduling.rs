//! How the kernel treats the process: execution domain, memory policy, processors.

use super::Origin;
use super::draft::Draft;
use crate::error::{Error, ErrorKind, Result};
use crate::program::{Gate, Step};
use crate::spec::{
    MemoryPolicy, MemoryPolicyFlag, MemoryPolicyMode, Personality, PersonalityDomain, Process,
    SchedulerFlag, SchedulerPolicy, number_list,
};

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

/// The bits of a list, in whole words of the kernel.
fn bits(list: Option<&str>, origin: &Origin) -> Result<Vec<u8>> {
    number_list::words(list.unwrap_or_default()).map_err(|error| origin.blame(error))
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
        let nodes = bits(policy.nodes.as_deref(), &origin)?;
        let flags = policy.flags.iter().fold(0, |bits, flag| bits | memory_flag(*flag));
        let mode = memory_mode(policy.mode) | flags;
        draft.push(&Step::MemoryPolicy { mode, nodes: &nodes }, origin);
    }
    Ok(())
}

/// Lets the caller set what only its privilege allows; while the process still is the caller's user, as
/// far as the kernel can tell.
pub(super) fn write_process(process: &Process, draft: &mut Draft<'_>) {
    let origin = match (&process.scheduler, &process.io_priority) {
        (Some(_), _) => Origin::Field("process.scheduler"),
        (None, Some(_)) => Origin::Field("process.ioPriority"),
        (None, None) => return,
    };
    draft.push(&Step::Gate { gate: Gate::Scheduled as u32 }, origin);
}

/// Whether a process cannot make others: under SCHED_DEADLINE, unless these are given the default
/// policy (sched(7)).
pub(super) fn forbids_forks(process: &Process) -> bool {
    process.scheduler.as_ref().is_some_and(|scheduler| {
        scheduler.policy == SchedulerPolicy::Deadline
            && !scheduler.flags.contains(&SchedulerFlag::ResetOnFork)
    })
}

/// Refuses a policy under which the thread cannot be made that hands over a filter's listener.
pub(super) fn check_threads(process: Option<&Process>) -> Result<()> {
    if !process.is_some_and(forbids_forks) {
        return Ok(());
    }
    let message =
        "SCHED_DEADLINE allows no thread, and SCMP_ACT_NOTIFY needs one before the program runs";
    Err(Error::new(ErrorKind::Unsupported, message)
        .with_field("process.scheduler.policy")
        .with_hint("add SCHED_FLAG_RESET_ON_FORK to process.scheduler.flags"))
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
    let initial = bits(affinity.initial.as_deref(), &origin)?;
    let mut last = bits(affinity.last.as_deref(), &origin)?;
    if last.is_empty() && !initial.is_empty() {
        last = vec![u8::MAX; number_list::MOST / 8];
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
    fn a_deadline_leaves_no_room_for_a_second_thread() {
        let with = |flags: &str| {
            let text = format!(r#"{{"policy": "SCHED_DEADLINE", "flags": [{flags}]}}"#);
            let scheduler = Some(serde_json::from_str(&text).expect("valid"));
            check_threads(Some(&Process { scheduler, ..Process::default() }))
        };
        let error = with("").expect_err("no thread");
        assert_eq!(error.field(), Some("process.scheduler.policy"));
        with(r#""SCHED_FLAG_RESET_ON_FORK""#).expect("its threads are ordinary");
        check_threads(Some(&Process::default())).expect("an ordinary policy");
    }
}
