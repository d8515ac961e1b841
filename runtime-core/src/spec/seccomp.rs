//! `linux.seccomp`: which system calls the container may make (config-linux.md, "Seccomp").
//!
//! The names are those of libseccomp. The filter itself is made by [`crate::seccomp`].

use super::object::{names, object};

object! {
    /// A seccomp profile.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct Seccomp {
        /// What happens to a system call that no rule matches. Required, unless the whole profile
        /// is empty.
        pub default_action: Option<Action> = "defaultAction",
        /// The `errno` of a default action of [`Action::Errno`] or the data of
        /// [`Action::Trace`]; `EPERM` when absent.
        pub default_errno_ret: Option<u32> = "defaultErrnoRet",
        /// The architectures the rules hold for, besides the host's own.
        pub architectures: Vec<Architecture> = "architectures",
        /// The flags of seccomp(2). Absent means [`Flag::SpecAllow`], an empty list none.
        pub flags: Option<Vec<Flag>> = "flags",
        /// The socket that is sent the notification file descriptor, for [`Action::Notify`].
        pub listener_path: Option<String> = "listenerPath",
        /// What is sent along with the notification file descriptor.
        pub listener_metadata: Option<String> = "listenerMetadata",
        /// The rules.
        pub syscalls: Vec<SyscallRule> = "syscalls",
    }

    /// One rule: what happens to some system calls, whatever their arguments or for some of them.
    #[derive(Clone, Debug, PartialEq, Eq)]
    pub struct SyscallRule {
        /// The system calls' names. Names that no architecture knows are ignored.
        pub names: Vec<String> = "names",
        /// What happens.
        pub action: Action = required "action",
        /// The `errno` of [`Action::Errno`] or the data of [`Action::Trace`]; `EPERM` when
        /// absent.
        pub errno_ret: Option<u32> = "errnoRet",
        /// The conditions: all must hold, unless two of them test the same argument; then one
        /// suffices.
        pub args: Vec<Argument> = "args",
    }

    /// A condition on an argument of a system call.
    #[derive(Clone, Copy, Debug, PartialEq, Eq)]
    pub struct Argument {
        /// Which argument, 0 to 5.
        pub index: u32 = required "index",
        /// What it is compared with; the mask, for [`Operator::MaskedEqual`].
        pub value: u64 = required "value",
        /// What the masked argument is compared with, for [`Operator::MaskedEqual`].
        pub value_two: u64 = "valueTwo",
        /// How it is compared. All comparisons are unsigned.
        pub op: Operator = required "op",
    }
}

/// The annotation with the socket of the listener for profiles without `listenerPath`, older than that
/// field (crun).
pub(crate) const RECEIVER: &str = "run.oci.seccomp.receiver";

impl Seccomp {
    /// Whether it asks for nothing: some engines write an empty object for "no profile".
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.default_action.is_none() && self.syscalls.is_empty()
    }

    /// Whether it leaves calls to a listener.
    pub(crate) fn asks_a_listener(&self) -> bool {
        self.default_action == Some(Action::Notify)
            || self.syscalls.iter().any(|rule| rule.action == Action::Notify)
    }
}

names! {
    /// What happens to a system call.
    pub enum Action, "seccomp action" {
        /// The call is made.
        Allow = "SCMP_ACT_ALLOW",
        /// The call fails with an `errno`.
        Errno = "SCMP_ACT_ERRNO",
        /// The calling thread is killed; the same as [`Action::KillThread`].
        Kill = "SCMP_ACT_KILL",
        /// The whole process is killed.
        KillProcess = "SCMP_ACT_KILL_PROCESS",
        /// The calling thread is killed.
        KillThread = "SCMP_ACT_KILL_THREAD",
        /// The call is made and logged by the audit subsystem.
        Log = "SCMP_ACT_LOG",
        /// A listener decides.
        Notify = "SCMP_ACT_NOTIFY",
        /// A tracer decides; without one the call fails with `ENOSYS`.
        Trace = "SCMP_ACT_TRACE",
        /// The thread gets `SIGSYS`.
        Trap = "SCMP_ACT_TRAP",
    }

    /// An architecture, that is a calling convention with its own numbers.
    pub enum Architecture, "seccomp architecture" {
        /// 64-bit ARM.
        Aarch64 = "SCMP_ARCH_AARCH64",
        /// 32-bit ARM.
        Arm = "SCMP_ARCH_ARM",
        /// 64-bit LoongArch.
        Loongarch64 = "SCMP_ARCH_LOONGARCH64",
        /// 68000.
        M68k = "SCMP_ARCH_M68K",
        /// MIPS, big endian.
        Mips = "SCMP_ARCH_MIPS",
        /// 64-bit MIPS, big endian.
        Mips64 = "SCMP_ARCH_MIPS64",
        /// 64-bit MIPS with 32-bit pointers, big endian.
        Mips64n32 = "SCMP_ARCH_MIPS64N32",
        /// MIPS, little endian.
        Mipsel = "SCMP_ARCH_MIPSEL",
        /// 64-bit MIPS, little endian.
        Mipsel64 = "SCMP_ARCH_MIPSEL64",
        /// 64-bit MIPS with 32-bit pointers, little endian.
        Mipsel64n32 = "SCMP_ARCH_MIPSEL64N32",
        /// PA-RISC.
        Parisc = "SCMP_ARCH_PARISC",
        /// 64-bit PA-RISC.
        Parisc64 = "SCMP_ARCH_PARISC64",
        /// PowerPC.
        Ppc = "SCMP_ARCH_PPC",
        /// 64-bit PowerPC, big endian.
        Ppc64 = "SCMP_ARCH_PPC64",
        /// 64-bit PowerPC, little endian.
        Ppc64le = "SCMP_ARCH_PPC64LE",
        /// 64-bit RISC-V.
        Riscv64 = "SCMP_ARCH_RISCV64",
        /// S/390.
        S390 = "SCMP_ARCH_S390",
        /// 64-bit S/390.
        S390x = "SCMP_ARCH_S390X",
        /// SuperH, little endian.
        Sh = "SCMP_ARCH_SH",
        /// SuperH, big endian.
        Sheb = "SCMP_ARCH_SHEB",
        /// x86-64 with 32-bit pointers.
        X32 = "SCMP_ARCH_X32",
        /// 32-bit x86.
        X86 = "SCMP_ARCH_X86",
        /// 64-bit x86.
        X86_64 = "SCMP_ARCH_X86_64",
    }

    /// How an argument is compared.
    pub enum Operator, "seccomp operator" {
        /// Equal.
        Equal = "SCMP_CMP_EQ",
        /// Greater or equal.
        GreaterOrEqual = "SCMP_CMP_GE",
        /// Greater.
        Greater = "SCMP_CMP_GT",
        /// Less or equal.
        LessOrEqual = "SCMP_CMP_LE",
        /// Less.
        Less = "SCMP_CMP_LT",
        /// The bits of the mask are equal.
        MaskedEqual = "SCMP_CMP_MASKED_EQ",
        /// Not equal.
        NotEqual = "SCMP_CMP_NE",
    }

    /// A flag of seccomp(2).
    pub enum Flag, "seccomp flag" {
        /// Actions other than "allow" are logged.
        Log = "SECCOMP_FILTER_FLAG_LOG",
        /// The filter does not turn off speculation.
        SpecAllow = "SECCOMP_FILTER_FLAG_SPEC_ALLOW",
        /// All threads get the filter. The filter is set before the container's program runs, when
        /// there is one thread: accepted, without effect.
        Tsync = "SECCOMP_FILTER_FLAG_TSYNC",
        /// A process waiting for a listener can only be killed.
        WaitKillableRecv = "SECCOMP_FILTER_FLAG_WAIT_KILLABLE_RECV",
    }
}

/// The specification's names of all values of an enumeration, sorted.
macro_rules! list {
    ($(#[$doc:meta] $list:ident = $kind:ident;)*) => {$(
        #[$doc]
        pub const $list: [&str; $kind::ALL.len()] = {
            let mut list = [""; $kind::ALL.len()];
            let (mut names, mut kinds): (&mut [&str], _) = (&mut list, $kind::ALL);
            while let ([name, other_names @ ..], [kind, other_kinds @ ..]) = (names, kinds) {
                *name = kind.name();
                (names, kinds) = (other_names, other_kinds);
            }
            list
        };
    )*};
}

list! {
    /// The names of the actions, sorted.
    ACTIONS = Action;
    /// The names of the architectures, sorted.
    ARCHITECTURES = Architecture;
    /// The names of the operators, sorted.
    OPERATORS = Operator;
    /// The names of the flags, sorted.
    FLAGS = Flag;
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(json: &str) -> serde_json::Result<Seccomp> {
        serde_json::from_str(json)
    }

    #[test]
    fn reads_every_field() {
        let profile = parse(
            r#"{"defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 38,
                "architectures": ["SCMP_ARCH_X86_64"], "flags": [], "listenerPath": "/l",
                "listenerMetadata": "m", "Syscalls": [{"names": ["clone"],
                "action": "SCMP_ACT_ALLOW", "errnoRet": null, "args": [{"index": 0,
                "value": 18446744073709551615, "valueTwo": 1, "op": "SCMP_CMP_MASKED_EQ"}]}]}"#,
        )
        .unwrap();
        let expected = Seccomp {
            default_action: Some(Action::Errno),
            default_errno_ret: Some(38),
            architectures: vec![Architecture::X86_64],
            flags: Some(Vec::new()),
            listener_path: Some("/l".to_owned()),
            listener_metadata: Some("m".to_owned()),
            syscalls: vec![SyscallRule {
                names: vec!["clone".to_owned()],
                action: Action::Allow,
                errno_ret: None,
                args: vec![Argument {
                    index: 0,
                    value: u64::MAX,
                    value_two: 1,
                    op: Operator::MaskedEqual,
                }],
            }],
        };
        assert_eq!(profile, expected);
        let written = serde_json::to_string(&profile).unwrap();
        assert_eq!(parse(&written).unwrap(), expected);
    }

    #[test]
    fn refuses_unknown_names_and_wrong_numbers() {
        for (json, word) in [
            (r#"{"defaultAction": "SCMP_ACT_NO"}"#, "SCMP_ACT_NO"),
            (r#"{"architectures": ["SCMP_ARCH_NO"]}"#, "SCMP_ARCH_NO"),
            (r#"{"flags": ["NO_FLAG"]}"#, "NO_FLAG"),
            (r#"{"syscalls": [{"names": ["read"]}]}"#, "action"),
            (r#"{"syscalls": [{"action": "SCMP_ACT_ALLOW", "args": [{"op": "EQ"}]}]}"#, "EQ"),
            (
                r#"{"syscalls": [{"action": "SCMP_ACT_ALLOW", "args": [{"value": 1,
                "op": "SCMP_CMP_EQ"}]}]}"#,
                "index",
            ),
            (
                r#"{"syscalls": [{"action": "SCMP_ACT_ALLOW", "args": [{"index": 0, "value": null,
                "op": "SCMP_CMP_EQ"}]}]}"#,
                "value",
            ),
            (r#"{"defaultErrnoRet": -1}"#, "-1"),
        ] {
            let error = parse(json).unwrap_err().to_string();
            assert!(error.contains(word), "{json}: {error}");
        }
    }

    #[test]
    fn an_empty_object_is_no_profile() {
        assert!(parse("{}").unwrap().is_empty());
        assert!(!parse(r#"{"defaultAction": "SCMP_ACT_ALLOW"}"#).unwrap().is_empty());
    }

    #[test]
    fn name_lists_are_sorted() {
        assert!(ACTIONS.is_sorted() && ARCHITECTURES.is_sorted());
        assert!(OPERATORS.is_sorted() && FLAGS.is_sorted());
        assert_eq!(ACTIONS[0], "SCMP_ACT_ALLOW");
    }
}
