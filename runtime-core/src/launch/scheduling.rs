//! Scheduling policy and I/O priority of a process, set by the caller: inside a user namespace no
//! privilege counts for them (the kernel asks for `CAP_SYS_NICE` in the first one).

use crate::error::{Attempt, Error, Result};
use crate::spec::{
    IoPriority, IoPriorityClass, Process, Scheduler, SchedulerFlag, SchedulerPolicy,
};
use crate::sys::process::{Scheduling, schedule, set_io_priority};

/// The numbers of `linux/sched.h`.
const fn policy(policy: SchedulerPolicy) -> u32 {
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
const fn flag(flag: SchedulerFlag) -> u64 {
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

/// Gives the process `pid` what `process` asks for.
///
/// # Errors
/// What the kernel refuses, with the field.
pub(crate) fn apply(pid: i32, process: &Process) -> Result<()> {
    if let Some(IoPriority { class: kind, priority }) = process.io_priority {
        let level = u32::try_from(priority).unwrap_or(0);
        set_io_priority(pid, class(kind) << 13 | level).attempt("ioprio_set").map_err(|error| {
            let error = match error.errno() {
                Some(libc::EPERM) => {
                    error.with_hint("IOPRIO_CLASS_RT needs CAP_SYS_NICE on the host")
                }
                _ => error,
            };
            error.with_field("process.ioPriority")
        })?;
    }
    let Some(scheduler) = &process.scheduler else { return Ok(()) };
    let attributes = Scheduling {
        size: Scheduling::SIZE,
        policy: policy(scheduler.policy),
        flags: scheduler.flags.iter().fold(0, |bits, one| bits | flag(*one)),
        nice: scheduler.nice,
        priority: u32::try_from(scheduler.priority).unwrap_or(0),
        deadline: [scheduler.runtime, scheduler.deadline, scheduler.period],
        utilization: [0; 2],
    };
    schedule(pid, &attributes)
        .attempt("sched_setattr")
        .map_err(|error| hint(error, scheduler).with_field("process.scheduler"))
}

/// What the kernel's answer means (kernel/sched/syscalls.c, kernel/sched/deadline.c).
fn hint(error: Error, scheduler: &Scheduler) -> Error {
    let hint = match (error.errno(), scheduler.policy) {
        (Some(libc::EPERM), SchedulerPolicy::Deadline) => {
            "SCHED_DEADLINE needs CAP_SYS_NICE on the host, and CPUs that neither a cpuset nor an \
             affinity limits"
        }
        (Some(libc::EPERM), SchedulerPolicy::Fifo | SchedulerPolicy::RoundRobin) => {
            "a real-time policy needs CAP_SYS_NICE or RLIMIT_RTPRIO on the host and, with real-time \
             group scheduling, linux.resources.cpu.realtimeRuntime"
        }
        (Some(libc::EPERM), _) => "more than the runtime has itself needs CAP_SYS_NICE on the host",
        (Some(libc::EBUSY), _) => "the CPUs have not enough bandwidth left for this deadline",
        (Some(libc::EOPNOTSUPP), _) => "this kernel cannot clamp utilization",
        (Some(libc::EINVAL), _) => {
            "the kernel does not know the policy or a flag, or a value is out of its range"
        }
        _ => return error,
    };
    error.with_hint(hint)
}
