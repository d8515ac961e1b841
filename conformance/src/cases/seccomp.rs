//! System call filters.

use serde_json::{Value, json};

use crate::bundle::{Answers, Bundle};
use crate::case::{Case, Need};
use crate::failure::Check;
use crate::trial::Trial;
use crate::value::{equal, text};

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("seccomp/mode", "config-linux.md#seccomp: a filter is loaded", |t| {
        let report = deny(t, "acct", json!({})).report()?;
        equal("Seccomp", text(&report, "/status/Seccomp")?, "2")
    }),
    Case::new("seccomp/none", "no filter without the object", |t| {
        equal("Seccomp", text(&t.bundle().report()?, "/status/Seccomp")?, "0")
    }),
    Case::new("seccomp/errno-default", "config-linux.md#seccomp: ERRNO is EPERM by default", |t| {
        errno_of(deny(t, "getpriority", json!({})), "syscall=getpriority,0,0", "EPERM")
    })
    .rows(&["seccomp actions"]),
    Case::new("seccomp/errno-ret", "config-linux.md#seccomp: errnoRet", |t| {
        errno_of(
            deny(t, "getpriority", json!({ "errnoRet": 38 })),
            "syscall=getpriority,0,0",
            "ENOSYS",
        )
    })
    .rows(&["seccomp.syscalls"]),
    Case::new("seccomp/default-errno", "config-linux.md#seccomp: defaultAction ERRNO", |t| {
        let bundle = t.bundle().set(
            "/linux/seccomp",
            json!({
                "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 13,
                "syscalls": [{ "names": all_but(), "action": "SCMP_ACT_ALLOW" }],
            }),
        );
        errno_of(bundle, "syscall=acct,0", "EACCES")
    })
    .rows(&["seccomp.defaultAction", "seccomp.defaultErrnoRet"]),
    Case::new("seccomp/allow-exception", "a rule that allows goes before the default", |t| {
        let answers = t
            .bundle()
            .set(
                "/linux/seccomp",
                json!({
                    "defaultAction": "SCMP_ACT_ERRNO",
                    "syscalls": [{ "names": all_but(), "action": "SCMP_ACT_ALLOW" }],
                }),
            )
            .probe(&["syscall=getppid", "syscall=acct,0"])?;
        answers.value("syscall=getppid")?;
        answers.fails("syscall=acct,0", "EPERM")
    })
    .rows(&["seccomp.defaultAction"]),
    Case::new("seccomp/kill", "config-linux.md#seccomp: KILL_PROCESS is death by SIGSYS", |t| {
        for action in ["SCMP_ACT_KILL_PROCESS", "SCMP_ACT_KILL", "SCMP_ACT_KILL_THREAD"] {
            let rule = json!([{ "names": ["getpriority"], "action": action }]);
            t.bundle()
                .set(
                    "/linux/seccomp",
                    json!({
                        "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rule,
                    }),
                )
                .ops(&["syscall=getpriority,0,0"])
                .run()?
                .code(159)?;
        }
        Ok(())
    })
    .rows(&["seccomp actions"]),
    Case::new("seccomp/trap", "config-linux.md#seccomp: TRAP is SIGSYS", |t| {
        t.bundle()
            .set(
                "/linux/seccomp",
                json!({
                    "defaultAction": "SCMP_ACT_ALLOW",
                    "syscalls": [{ "names": ["getpriority"], "action": "SCMP_ACT_TRAP" }],
                }),
            )
            .ops(&["syscall=getpriority,0,0"])
            .run()?
            .code(159)
            .map(drop)
    })
    .rows(&["seccomp actions"]),
    Case::new("seccomp/log", "config-linux.md#seccomp: LOG lets the call through", |t| {
        let answers = t
            .bundle()
            .set(
                "/linux/seccomp",
                json!({
                    "defaultAction": "SCMP_ACT_ALLOW",
                    "syscalls": [{ "names": ["getpriority"], "action": "SCMP_ACT_LOG" }],
                }),
            )
            .probe(&["syscall=getpriority,0,0"])?;
        answers.value("syscall=getpriority,0,0").map(drop)
    })
    .rows(&["seccomp actions"]),
    Case::new("seccomp/log-default", "config-linux.md#seccomp: LOG as the default", |t| {
        t.bundle()
            .set("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_LOG" }))
            .probe(&["syscall=getpriority,0,0"])?
            .value("syscall=getpriority,0,0")
            .map(drop)
    })
    .rows(&["seccomp actions"]),
    Case::new("seccomp/trace", "config-linux.md#seccomp: TRACE without a tracer is ENOSYS", |t| {
        let bundle = t.bundle().set("/linux/seccomp", json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["getpriority"], "action": "SCMP_ACT_TRACE", "errnoRet": 5 }],
        }));
        errno_of(bundle, "syscall=getpriority,0,0", "ENOSYS")
    })
    .rows(&["seccomp actions"]),
    Case::new("seccomp/many-names", "config-linux.md#seccomp: each of the names", |t| {
        let answers = t.bundle().set("/linux/seccomp", json!({
            "defaultAction": "SCMP_ACT_ALLOW",
            "syscalls": [{ "names": ["acct", "getpriority", "swapoff"], "action": "SCMP_ACT_ERRNO",
                "errnoRet": 99 }],
        })).probe(&["syscall=acct,0", "syscall=getpriority,0,0", "syscall=swapoff,0"])?;
        for op in ["syscall=acct,0", "syscall=getpriority,0,0", "syscall=swapoff,0"] {
            answers.fails(op, "EADDRNOTAVAIL")?;
        }
        Ok(())
    })
    .rows(&["seccomp.syscalls"]),
    Case::new(
        "seccomp/unknown-name",
        "config-linux.md#seccomp: unknown names are passed over",
        |t| deny(t, "no_such_system_call", json!({})).ops(&["exit=3"]).run()?.code(3).map(drop),
    )
    .rows(&["seccomp.syscalls"]),
    Case::new("seccomp/newer-enosys", "convention: calls newer than the profile are ENOSYS", |t| {
        let bundle = t.bundle().set(
            "/linux/seccomp",
            json!({
                "defaultAction": "SCMP_ACT_ERRNO", "defaultErrnoRet": 1,
                "syscalls": [{ "names": all_but(), "action": "SCMP_ACT_ALLOW" }],
            }),
        );
        errno_of(bundle, "syscall=#999", "ENOSYS")
    })
    .rows(&["seccomp: newer calls"]),
    Case::new(
        "seccomp/unknown-action",
        "config-linux.md#seccomp: an unknown action is an error",
        |t| {
            t.bundle()
                .set("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_MAYBE" }))
                .refused("scmp_act_maybe|action")
                .map(drop)
        },
    )
    .rows(&["seccomp actions"]),
    Case::new("seccomp/architectures", "config-linux.md#seccomp: architectures", |t| {
        let bundle = deny(t, "getpriority", json!({})).set(
            "/linux/seccomp/architectures",
            json!(["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_AARCH64"]),
        );
        errno_of(bundle, "syscall=getpriority,0,0", "EPERM")
    })
    .rows(&["seccomp.architectures"]),
    Case::new("seccomp/unknown-architecture", "an unknown architecture is an error", |t| {
        deny(t, "getpriority", json!({}))
            .set("/linux/seccomp/architectures", json!(["SCMP_ARCH_PDP11"]))
            .refused("pdp11|arch")
            .map(drop)
    })
    .rows(&["seccomp.architectures"]),
    Case::new("seccomp/flags", "config-linux.md#seccomp: flags", |t| {
        deny(t, "getpriority", json!({}))
            .set("/linux/seccomp/flags", json!(["SECCOMP_FILTER_FLAG_LOG"]))
            .ops(&["exit=3"])
            .run()?
            .code(3)
            .map(drop)
    })
    .rows(&["seccomp.flags"]),
    Case::new("seccomp/unknown-flag", "an unknown flag is an error", |t| {
        deny(t, "getpriority", json!({}))
            .set("/linux/seccomp/flags", json!(["SECCOMP_FLAG_WRONG"]))
            .refused("flag")
            .map(drop)
    })
    .rows(&["seccomp.flags"]),
    Case::new("seccomp/without-nnp", "a filter without noNewPrivileges", |t| {
        let bundle = deny(t, "getpriority", json!({})).set("/process/noNewPrivileges", false);
        let answers = bundle.probe(&["report", "syscall=getpriority,0,0"])?;
        answers.fails("syscall=getpriority,0,0", "EPERM")?;
        equal("NoNewPrivs", text(&answers.value("report")?, "/status/NoNewPrivs")?, "0")
    })
    .rows(&["seccomp: load point"])
    .needs(&[Need::Root]),
    Case::new("seccomp/user", "a filter for an ordinary user", |t| {
        let bundle = deny(t, "getpriority", json!({}))
            .set("/process/user", json!({ "uid": 1000, "gid": 1000 }));
        errno_of(bundle, "syscall=getpriority,0,0", "EPERM")
    })
    .rows(&["seccomp: load point"])
    .needs(&[Need::Root]),
    Case::new("seccomp/exec", "runtime.md: exec gets the same filter", |t| {
        let c = deny(t, "getpriority", json!({})).ops(&["sleep"]).start()?;
        let answers = c.exec_probe(&[], &["report", "syscall=getpriority,0,0"])?;
        answers.fails("syscall=getpriority,0,0", "EPERM")?;
        equal("Seccomp", text(&answers.value("report")?, "/status/Seccomp")?, "2")
    })
    .rows(&["seccomp: exec"]),
    Case::new("seccomp/inherited", "seccomp(2): children get the filter", |t| {
        let bundle = deny(t, "getpriority", json!({})).link("again", "/probe");
        let output =
            bundle.args(&["/probe", "spawn=/again", "syscall=getpriority,0,0"]).run()?.ok()?;
        Answers::of(&output.stdout)?.fails("syscall=getpriority,0,0", "EPERM")
    }),
    Case::new("seccomp/large-profile", "a profile with 300 conditional rules", |t| {
        let rules: Vec<Value> = (0..300)
            .map(|value| {
                json!({
                    "names": ["getpriority"], "action": "SCMP_ACT_ERRNO",
                    "args": [{ "index": 0, "value": value + 10, "op": "SCMP_CMP_EQ" }],
                })
            })
            .collect();
        let answers = t
            .bundle()
            .set(
                "/linux/seccomp",
                json!({
                    "defaultAction": "SCMP_ACT_ALLOW", "syscalls": rules,
                }),
            )
            .probe(&["syscall=getpriority,300,0", "syscall=getpriority,0,0"])?;
        answers.fails("syscall=getpriority,300,0", "EPERM")?;
        answers.value("syscall=getpriority,0,0").map(drop)
    }),
];

/// Everything is allowed but one call.
pub(super) fn deny<'t>(t: &'t Trial, name: &str, more: Value) -> Bundle<'t> {
    let mut rule = json!({ "names": [name], "action": "SCMP_ACT_ERRNO" });
    if let (Value::Object(rule), Value::Object(more)) = (&mut rule, more) {
        rule.extend(more);
    }
    t.bundle()
        .set("/linux/seccomp", json!({ "defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule] }))
}

pub(super) fn errno_of(bundle: Bundle<'_>, op: &str, errno: &str) -> Check {
    bundle.probe(&[op])?.fails(op, errno)
}

/// What a static program needs, without acct.
fn all_but() -> Value {
    Value::from(NEEDED.split_whitespace().collect::<Vec<_>>())
}

const NEEDED: &str = "\
    arch_prctl brk capget capset chdir clock_gettime clock_nanosleep clone clone3 close \
    close_range dup dup2 dup3 epoll_create1 epoll_ctl epoll_pwait eventfd2 execve execveat exit \
    exit_group fchdir fchown fcntl fork fstat fstatfs futex getcwd getdents64 getegid geteuid \
    getgid getgroups getpgrp getpid getppid getpriority getrandom getresgid getresuid getrlimit \
    getsid gettid getuid ioctl ioprio_get lseek lstat madvise memfd_create mmap mprotect mremap \
    munmap nanosleep newfstatat open openat openat2 pipe2 poll ppoll prctl pread64 prlimit64 \
    read readlink readlinkat readv rt_sigaction rt_sigprocmask rt_sigreturn sched_getaffinity \
    sched_getscheduler sched_yield seccomp sendmsg recvmsg set_robust_list set_tid_address \
    setgid setgroups setresgid setresuid setsid setuid sigaltstack socket connect stat statfs \
    statx tgkill umask uname unlink unlinkat wait4 waitid write writev faccessat faccessat2 \
    access rseq";
