//! Scheduling, priorities, processors and memory nodes (config.md, "process"; config-linux.md,
//! "Personality" and "Memory policy"; sched(7), set_mempolicy(2)).

use super::invalid;
use crate::error::{Error, ErrorKind, Result};
use crate::spec::{
    Linux, MemoryPolicy, MemoryPolicyFlag, MemoryPolicyMode, Process, Scheduler, SchedulerFlag,
    SchedulerPolicy, number_list,
};

/// The least run time of a deadline that the kernel takes, in nanoseconds (`__checkparam_dl`).
const LEAST_RUNTIME: u64 = 1024;

/// What one process asks for; `at` names its fields.
pub(super) fn check_process(process: &Process, at: &dyn Fn(&str) -> String) -> Result<()> {
    if process.io_priority.is_some_and(|io| !(0..=7).contains(&io.priority)) {
        return Err(invalid(at("ioPriority.priority"), "is outside 0 to 7"));
    }
    if let Some(scheduler) = &process.scheduler {
        check_scheduler(scheduler, &|name| at(&format!("scheduler.{name}")))?;
    }
    let Some(affinity) = &process.exec_cpu_affinity else { return Ok(()) };
    for (name, list) in [("initial", &affinity.initial), ("final", &affinity.last)] {
        check_list(list.as_deref(), at(&format!("execCPUAffinity.{name}")))?;
    }
    Ok(())
}

fn check_list(list: Option<&str>, field: String) -> Result<()> {
    match number_list::words(list.unwrap_or_default()) {
        Ok(_) => Ok(()),
        Err(error) => Err(error.with_field(field)),
    }
}

fn check_scheduler(scheduler: &Scheduler, at: &dyn Fn(&str) -> String) -> Result<()> {
    let policy = scheduler.policy;
    let real_time = matches!(policy, SchedulerPolicy::Fifo | SchedulerPolicy::RoundRobin);
    if policy == SchedulerPolicy::Iso {
        return Err(Error::new(
            ErrorKind::Unsupported,
            "Linux reserves SCHED_ISO without having it",
        )
        .with_field(at("policy")));
    }
    if !(-20..=19).contains(&scheduler.nice) {
        return Err(invalid(at("nice"), "is outside -20 to 19"));
    }
    if scheduler.priority != 0 && !real_time {
        return Err(invalid(at("priority"), "is for SCHED_FIFO and SCHED_RR only"));
    }
    let keeps = |flag| scheduler.flags.contains(&flag);
    if keeps(SchedulerFlag::KeepParameters) || keeps(SchedulerFlag::KeepPolicy) {
        return Ok(());
    }
    if real_time && !(1..=99).contains(&scheduler.priority) {
        return Err(invalid(
            at("priority"),
            format!("{} needs a priority from 1 to 99", policy.name()),
        ));
    }
    check_deadline(scheduler, at)
}

fn check_deadline(scheduler: &Scheduler, at: &dyn Fn(&str) -> String) -> Result<()> {
    let Scheduler { runtime, deadline, period, .. } = *scheduler;
    if scheduler.policy != SchedulerPolicy::Deadline {
        let given = [("runtime", runtime), ("deadline", deadline), ("period", period)];
        return match given.iter().find(|(_, value)| *value != 0) {
            Some((name, _)) => Err(invalid(at(name), "is for SCHED_DEADLINE only")),
            None => Ok(()),
        };
    }
    // An absent period is the deadline.
    let period = if period == 0 { deadline } else { period };
    if runtime < LEAST_RUNTIME {
        let message = format!("SCHED_DEADLINE needs at least {LEAST_RUNTIME} ns");
        return Err(invalid(at("runtime"), message));
    }
    if runtime > deadline {
        return Err(invalid(at("deadline"), "is below the runtime"));
    }
    if deadline > period {
        return Err(invalid(at("period"), "is below the deadline"));
    }
    Ok(())
}

/// The warning about a value that the policy has no use for.
pub(super) fn unused(scheduler: &Scheduler) -> Option<String> {
    let fair = matches!(scheduler.policy, SchedulerPolicy::Other | SchedulerPolicy::Batch);
    (scheduler.nice != 0 && !fair).then(|| {
        let policy = scheduler.policy.name();
        format!("process.scheduler.nice: ignored, as {policy} has no nice value")
    })
}

/// What a container as a whole asks for.
pub(super) fn check_container(linux: &Linux) -> Result<()> {
    if let Some(flag) = linux.personality.as_ref().and_then(|one| one.flags.first()) {
        let message = format!("{flag:?} is unknown: the specification has no flags yet");
        return Err(invalid("linux.personality.flags[0]", message));
    }
    linux.memory_policy.as_ref().map_or(Ok(()), check_memory)
}

/// The rules of `mpol_new` and `sanitize_mpol_flags` (mm/mempolicy.c).
fn check_memory(policy: &MemoryPolicy) -> Result<()> {
    let name = policy.mode.name();
    check_list(policy.nodes.as_deref(), "linux.memoryPolicy.nodes".to_owned())?;
    let nodes = policy.nodes.as_deref().is_some_and(|list| !list.trim().is_empty());
    let (needs, takes) = match policy.mode {
        MemoryPolicyMode::Default | MemoryPolicyMode::Local => (false, false),
        MemoryPolicyMode::Preferred => (false, true),
        _ => (true, true),
    };
    if needs && !nodes {
        return Err(invalid("linux.memoryPolicy.nodes", format!("{name} needs nodes")));
    }
    if nodes && !takes {
        return Err(invalid("linux.memoryPolicy.nodes", format!("{name} takes no nodes")));
    }
    let has = |flag| policy.flags.contains(&flag);
    let fault = |message: String| Err(invalid("linux.memoryPolicy.flags", message));
    let of_nodes = has(MemoryPolicyFlag::StaticNodes) || has(MemoryPolicyFlag::RelativeNodes);
    if has(MemoryPolicyFlag::StaticNodes) && has(MemoryPolicyFlag::RelativeNodes) {
        return fault(
            "MPOL_F_STATIC_NODES and MPOL_F_RELATIVE_NODES exclude each other".to_owned(),
        );
    }
    if of_nodes && !nodes {
        return fault(format!("{name} without nodes has no use for a flag about them"));
    }
    let balances = matches!(policy.mode, MemoryPolicyMode::Bind | MemoryPolicyMode::PreferredMany);
    if has(MemoryPolicyFlag::NumaBalancing) && !balances {
        return fault("MPOL_F_NUMA_BALANCING is for MPOL_BIND and MPOL_PREFERRED_MANY".to_owned());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use crate::spec::Spec;

    fn refused(process: &str, linux: &str) -> Option<String> {
        let text = format!(
            r#"{{"ociVersion":"1.3.0","root":{{"path":"r"}},"linux":{{{linux}}},
            "process":{{"cwd":"/","args":["x"]{process}}}}}"#
        );
        let spec = Spec::parse(text.as_bytes());
        spec.err().map(|error| error.field().unwrap_or_default().to_owned())
    }

    #[test]
    fn each_policy_has_its_own_fields() {
        let scheduler = |fields: &str| refused(&format!(r#","scheduler":{{{fields}}}"#), "");
        for good in [
            r#""policy":"SCHED_OTHER","nice":-20"#,
            r#""policy":"SCHED_FIFO","priority":99"#,
            r#""policy":"SCHED_FIFO","flags":["SCHED_FLAG_KEEP_PARAMS"]"#,
            r#""policy":"SCHED_IDLE","nice":5"#,
            r#""policy":"SCHED_DEADLINE","runtime":42000,"deadline":1000000,"period":1000000"#,
            r#""policy":"SCHED_DEADLINE","runtime":1024,"deadline":1024"#,
        ] {
            assert_eq!(scheduler(good), None, "{good}");
        }
        for (bad, field) in [
            (r#""policy":"SCHED_ISO""#, "policy"),
            (r#""policy":"SCHED_OTHER","nice":20"#, "nice"),
            (r#""policy":"SCHED_BATCH","priority":1"#, "priority"),
            (r#""policy":"SCHED_RR""#, "priority"),
            (r#""policy":"SCHED_RR","priority":100"#, "priority"),
            (r#""policy":"SCHED_FIFO","priority":-1"#, "priority"),
            (r#""policy":"SCHED_OTHER","runtime":1"#, "runtime"),
            (r#""policy":"SCHED_FIFO","priority":1,"period":1"#, "period"),
            (r#""policy":"SCHED_DEADLINE","runtime":1000,"deadline":2000"#, "runtime"),
            (r#""policy":"SCHED_DEADLINE","runtime":3000,"deadline":2000"#, "deadline"),
            (r#""policy":"SCHED_DEADLINE","runtime":2000,"deadline":3000,"period":2500"#, "period"),
        ] {
            let wanted = format!("process.scheduler.{field}");
            assert_eq!(scheduler(bad).as_deref(), Some(wanted.as_str()), "{bad}");
        }
    }

    #[test]
    fn each_memory_mode_has_its_own_nodes_and_flags() {
        let memory = |fields: &str| refused("", &format!(r#""memoryPolicy":{{{fields}}}"#));
        for good in [
            r#""mode":"MPOL_DEFAULT""#,
            r#""mode":"MPOL_LOCAL","nodes":"""#,
            r#""mode":"MPOL_PREFERRED""#,
            r#""mode":"MPOL_BIND","nodes":"0-1","flags":["MPOL_F_NUMA_BALANCING"]"#,
            r#""mode":"MPOL_INTERLEAVE","nodes":"0","flags":["MPOL_F_STATIC_NODES"]"#,
        ] {
            assert_eq!(memory(good), None, "{good}");
        }
        for (bad, field) in [
            (r#""mode":"MPOL_DEFAULT","nodes":"0""#, "nodes"),
            (r#""mode":"MPOL_LOCAL","nodes":"0""#, "nodes"),
            (r#""mode":"MPOL_BIND""#, "nodes"),
            (r#""mode":"MPOL_WEIGHTED_INTERLEAVE","nodes":"""#, "nodes"),
            (r#""mode":"MPOL_BIND","nodes":"0,x""#, "nodes"),
            (r#""mode":"MPOL_PREFERRED","flags":["MPOL_F_RELATIVE_NODES"]"#, "flags"),
            (r#""mode":"MPOL_INTERLEAVE","nodes":"0","flags":["MPOL_F_NUMA_BALANCING"]"#, "flags"),
            (
                r#""mode":"MPOL_BIND","nodes":"0",
                "flags":["MPOL_F_STATIC_NODES","MPOL_F_RELATIVE_NODES"]"#,
                "flags",
            ),
        ] {
            let wanted = format!("linux.memoryPolicy.{field}");
            assert_eq!(memory(bad).as_deref(), Some(wanted.as_str()), "{bad}");
        }
    }

    #[test]
    fn lists_of_processors_and_personality_flags_are_checked_at_create() {
        let list = refused(r#","execCPUAffinity":{"initial":"0","final":"2-1"}"#, "");
        assert_eq!(list.as_deref(), Some("process.execCPUAffinity.final"));
        let flags = refused("", r#""personality":{"domain":"LINUX","flags":["X"]}"#);
        assert_eq!(flags.as_deref(), Some("linux.personality.flags[0]"));
    }
}
