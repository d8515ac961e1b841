//! `process`: the program and what it runs with (config.md, section "Process").

use std::path::PathBuf;

use super::capabilities::Capabilities;
use super::object::{names, object};

object! {
    /// The program of a container or of an `exec` (config.md, "Process").
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct Process {
        /// Whether a pseudoterminal becomes its standard streams.
        pub terminal: bool = "terminal",
        /// The terminal's size; ignored without [`terminal`](Self::terminal).
        pub console_size: Option<ConsoleSize> = "consoleSize",
        /// The ids it runs under; absent means root.
        pub user: User = "user",
        /// The program and its arguments, as for `execvp`.
        pub args: Vec<String> = "args",
        /// The environment, in this order, as `NAME=value`.
        pub env: Vec<String> = "env",
        /// The working directory, absolute, inside the container.
        pub cwd: PathBuf = required "cwd",
        /// The capability sets; absent means none at all.
        pub capabilities: Option<Capabilities> = "capabilities",
        /// The resource limits to set.
        pub rlimits: Vec<Rlimit> = "rlimits",
        /// Whether `execve` may never grant privileges (`PR_SET_NO_NEW_PRIVS`).
        pub no_new_privileges: bool = "noNewPrivileges",
        /// The AppArmor profile to change to at exec.
        pub apparmor_profile: Option<String> = "apparmorProfile",
        /// `/proc/self/oom_score_adj`; absent leaves it as it is.
        pub oom_score_adj: Option<i32> = "oomScoreAdj",
        /// The SELinux label to run under.
        pub selinux_label: Option<String> = "selinuxLabel",
        /// The CPU scheduling policy (`sched_setattr(2)`).
        pub scheduler: Option<Scheduler> = "scheduler",
        /// The block I/O priority (`ioprio_set(2)`).
        pub io_priority: Option<IoPriority> = "ioPriority",
        /// The CPUs that an `exec` runs on, before and after it joins the cgroup.
        pub exec_cpu_affinity: Option<ExecCpuAffinity> = "execCPUAffinity",
    }

    /// The size of a terminal, in characters.
    #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
    pub struct ConsoleSize {
        /// Rows.
        pub height: u16 = required "height",
        /// Columns.
        pub width: u16 = required "width",
    }

    /// The ids that a process runs under (config.md, "POSIX-platform User").
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct User {
        /// The user id, as seen in the container.
        pub uid: u32 = "uid",
        /// The group id, as seen in the container.
        pub gid: u32 = "gid",
        /// The file mode creation mask; absent leaves the choice to the runtime.
        pub umask: Option<u32> = "umask",
        /// The supplementary groups, as seen in the container.
        pub additional_gids: Vec<u32> = "additionalGids",
    }

    /// One resource limit (`setrlimit(2)`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Rlimit {
        /// What is limited.
        pub resource: RlimitResource = required "type",
        /// The soft limit; `u64::MAX` is unlimited.
        pub soft: u64 = required "soft",
        /// The ceiling of the soft limit; `u64::MAX` is unlimited.
        pub hard: u64 = required "hard",
    }

    /// A CPU scheduling policy and its parameters (`sched_setattr(2)`).
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct Scheduler {
        /// The policy.
        pub policy: SchedulerPolicy = required "policy",
        /// The nice value, for the policies that have one.
        pub nice: i32 = "nice",
        /// The static priority, for FIFO and RR.
        pub priority: i32 = "priority",
        /// Flags of `struct sched_attr`.
        pub flags: Vec<SchedulerFlag> = "flags",
        /// The run time of the deadline policy, in nanoseconds.
        pub runtime: u64 = "runtime",
        /// The deadline of the deadline policy, in nanoseconds.
        pub deadline: u64 = "deadline",
        /// The period of the deadline policy, in nanoseconds.
        pub period: u64 = "period",
    }

    /// A block I/O priority (`ioprio_set(2)`).
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct IoPriority {
        /// The class.
        pub class: IoPriorityClass = required "class",
        /// The level within the class, 0 (first served) to 7.
        pub priority: i32 = "priority",
    }

    /// The CPUs of an `exec`, as lists like `0-3,7`.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct ExecCpuAffinity {
        /// While it moves into the container's cgroup.
        pub initial: Option<String> = "initial",
        /// From then on.
        pub last: Option<String> = "final",
    }
}

names! {
    /// What an [`Rlimit`] limits.
    pub enum RlimitResource, "resource limit type" {
        /// Address space, in bytes.
        As = "RLIMIT_AS",
        /// Size of a core dump, in bytes.
        Core = "RLIMIT_CORE",
        /// CPU time, in seconds.
        Cpu = "RLIMIT_CPU",
        /// Data segment, in bytes.
        Data = "RLIMIT_DATA",
        /// Size of a file, in bytes.
        Fsize = "RLIMIT_FSIZE",
        /// File locks.
        Locks = "RLIMIT_LOCKS",
        /// Locked memory, in bytes.
        Memlock = "RLIMIT_MEMLOCK",
        /// POSIX message queues, in bytes.
        Msgqueue = "RLIMIT_MSGQUEUE",
        /// The ceiling of the nice value, as 20 minus it.
        Nice = "RLIMIT_NICE",
        /// Open files (one more than the highest descriptor).
        Nofile = "RLIMIT_NOFILE",
        /// Processes of the user.
        Nproc = "RLIMIT_NPROC",
        /// Resident memory, in bytes; without effect.
        Rss = "RLIMIT_RSS",
        /// The ceiling of the real-time priority.
        Rtprio = "RLIMIT_RTPRIO",
        /// Real-time CPU time without a blocking call, in microseconds.
        Rttime = "RLIMIT_RTTIME",
        /// Queued signals.
        Sigpending = "RLIMIT_SIGPENDING",
        /// Stack, in bytes.
        Stack = "RLIMIT_STACK",
    }

    /// A CPU scheduling policy.
    pub enum SchedulerPolicy, "scheduling policy" {
        /// The default, time sharing.
        Other = "SCHED_OTHER",
        /// Real time, first in, first out.
        Fifo = "SCHED_FIFO",
        /// Real time, round robin.
        RoundRobin = "SCHED_RR",
        /// Time sharing for batch work.
        Batch = "SCHED_BATCH",
        /// Reserved by the kernel and never implemented.
        Iso = "SCHED_ISO",
        /// Below everything else.
        Idle = "SCHED_IDLE",
        /// Earliest deadline first.
        Deadline = "SCHED_DEADLINE",
    }

    /// A flag of `sched_setattr(2)`.
    pub enum SchedulerFlag, "scheduler flag" {
        /// Children start with the default policy.
        ResetOnFork = "SCHED_FLAG_RESET_ON_FORK",
        /// Unused deadline bandwidth may be reclaimed.
        Reclaim = "SCHED_FLAG_RECLAIM",
        /// A deadline overrun is signalled.
        DeadlineOverrun = "SCHED_FLAG_DL_OVERRUN",
        /// The policy stays.
        KeepPolicy = "SCHED_FLAG_KEEP_POLICY",
        /// The parameters stay.
        KeepParameters = "SCHED_FLAG_KEEP_PARAMS",
        /// A lower clamp of utilization.
        UtilizationMinimum = "SCHED_FLAG_UTIL_CLAMP_MIN",
        /// An upper clamp of utilization.
        UtilizationMaximum = "SCHED_FLAG_UTIL_CLAMP_MAX",
    }

    /// A class of block I/O priorities.
    pub enum IoPriorityClass, "I/O priority class" {
        /// Served before everything else.
        RealTime = "IOPRIO_CLASS_RT",
        /// The default.
        BestEffort = "IOPRIO_CLASS_BE",
        /// Served when the disk is idle.
        Idle = "IOPRIO_CLASS_IDLE",
    }
}

impl RlimitResource {
    /// The kernel's number (`asm-generic/resource.h`; x86_64, arm64, riscv and s390x use it).
    #[must_use]
    pub const fn number(self) -> u32 {
        match self {
            Self::Cpu => 0,
            Self::Fsize => 1,
            Self::Data => 2,
            Self::Stack => 3,
            Self::Core => 4,
            Self::Rss => 5,
            Self::Nproc => 6,
            Self::Nofile => 7,
            Self::Memlock => 8,
            Self::As => 9,
            Self::Locks => 10,
            Self::Sigpending => 11,
            Self::Msgqueue => 12,
            Self::Nice => 13,
            Self::Rtprio => 14,
            Self::Rttime => 15,
        }
    }
}
