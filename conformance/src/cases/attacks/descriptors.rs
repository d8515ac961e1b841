//! What a container could take from the runtime: descriptors, directories, its executable.

use std::fs;

use serde_json::{Value, json};

use super::{Trap, alive};
use crate::bundle::Answers;
use crate::call::Output;
use crate::case::{Case, Need};
use crate::failure::{Check, ensure};
use crate::trial::Trial;
use crate::value::equal;

/// The cases of this file.
pub(in crate::cases) const CASES: &[Case] = &[
    Case::new("attacks/cwd-proc-self-fd", "CVE-2024-21626: cwd is a descriptor", |t| {
        for number in 3..16 {
            let b = t.bundle().set("/process/cwd", format!("/proc/self/fd/{number}"));
            host_hidden(&b.ops(&["list=.", "list=../../../.."]).run()?, number)?;
        }
        Ok(())
    }),
    Case::new("attacks/cwd-symlink-fd", "CVE-2024-21626: the same through a link", |t| {
        for number in 3..16 {
            let b = t
                .bundle()
                .link("work", &format!("/proc/self/fd/{number}"))
                .set("/process/cwd", "/work");
            host_hidden(&b.ops(&["list=.", "list=../../../.."]).run()?, number)?;
        }
        Ok(())
    }),
    Case::new("attacks/exec-cwd-proc-self-fd", "CVE-2024-21626: exec --cwd", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        for number in 3..16 {
            let cwd = format!("/proc/self/fd/{number}");
            let output = c.exec(&["--cwd", &cwd], &["/probe", "list=.", "list=../../../.."])?;
            host_hidden(&output, number)?;
        }
        Ok(())
    }),
    Case::new("attacks/fd-leak-own", "CVE-2024-21626: nothing that the runtime has open", |t| {
        let c = t.bundle().ops(&["report"]).start()?;
        three(&c.answers(1)?.value("report")?)
    }),
    Case::new("attacks/fd-leak-caller", "CVE-2016-8649: nothing that the caller has open", |t| {
        let trap = Trap::new(t)?;
        let mut bundle = t.bundle().ops(&["report"]);
        let call = bundle.call("run", &[])?.shell(open(&trap));
        three(&Answers::of(&call.run()?.ok()?.stdout)?.value("report")?)
    }),
    Case::new("attacks/fd-leak-exec-own", "CVE-2024-21626: nor in exec", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        three(&c.exec_probe(&[], &["report"])?.value("report")?)
    }),
    Case::new("attacks/fd-leak-exec-caller", "CVE-2016-8649: nor in exec", |t| {
        let trap = Trap::new(t)?;
        let c = t.bundle().ops(&["sleep"]).start()?;
        let call = t.call(&["exec", &c.id, "/probe", "report"]).shell(open(&trap));
        three(&Answers::of(&call.run()?.ok()?.stdout)?.value("report")?)
    }),
    Case::new("attacks/exe-overwrite", "CVE-2019-5736: the runtime's executable is kept", |t| {
        // A copy, so that an attack that succeeds harms nobody.
        let copy = t.path("runtime");
        fs::copy(t.runtime(), &copy)?;
        let before = fs::read(&copy)?;
        let caps = json!(["CAP_SYS_PTRACE", "CAP_DAC_OVERRIDE"]);
        let c = t
            .bundle()
            .set(
                "/process/capabilities",
                json!({ "bounding": caps, "effective": caps, "permitted": caps }),
            )
            .ops(&["echo=ready", "seize=900,CANARY", "sleep"])
            .start()?;
        c.prints("ready")?;
        for _ in 0..8 {
            t.call(&["exec", &c.id, "/probe", "sleep=50"]).program(&copy).run()?;
            t.call(&["exec", &c.id, "/proc/self/exe", "sleep=10"]).program(&copy).run()?;
        }
        c.answers(1)?;
        c.delete_force()?.ok()?;
        ensure(fs::read(&copy)? == before, "the executable of the runtime was overwritten")
    })
    .needs(&[Need::Root]),
    Case::new("attacks/exe-interpreter", "CVE-2019-5736: a script run by /proc/self/exe", |t| {
        let text = "#!/proc/self/exe --version\n";
        let output = t.bundle().file("run", text).mode("run", 0o755).args(&["/run"]).run()?;
        ensure(output.stdout.is_empty(), format!("the runtime ran inside: {}", output.stdout))
    }),
    Case::new("attacks/exec-peek", "CVE-2016-9962: exec shows nothing, even to ptrace", |t| {
        peek(t, &json!(["CAP_SYS_PTRACE"]))
    }),
    Case::new("attacks/exec-peek-nocaps", "CVE-2016-9962: nor without capabilities", |t| {
        peek(t, &json!([]))
    }),
    Case::new("attacks/temporary-files", "CVE-2019-12439: no file outside the state root", |t| {
        let trap = Trap::new(t)?;
        let set = format!("export TMPDIR='{0}' XDG_RUNTIME_DIR='{0}'", trap.path(""));
        let mut bundle = t.bundle().ops(&["sleep"]);
        let output = bundle.call("create", &[])?.shell(&set).run()?;
        let c = bundle.adopt(output)?;
        c.call(&["start"]).shell(&set).run()?.ok()?;
        let exec = ["exec", &c.id, "/probe", "echo=alive"];
        alive(&t.call(&exec).shell(&set).run()?)?;
        trap.holds()
    }),
    Case::new("attacks/env-leak", "CVE-2021-21334: no variable of the runtime", |t| {
        let mut bundle = t.bundle().set("/process/env", json!([])).ops(&["report"]);
        let call = bundle.call("run", &[])?.shell("export CANARY=1 NOTIFY_FD=3 _LIBCONTAINER=4");
        let report = Answers::of(&call.run()?.ok()?.stdout)?.value("report")?;
        only_home(&report)
    }),
    Case::new("attacks/env-leak-exec", "CVE-2021-21334: nor in exec", |t| {
        let c = t.bundle().set("/process/env", json!([])).ops(&["sleep"]).start()?;
        let call = t.call(&["exec", &c.id, "/probe", "report"]).shell("export CANARY=1");
        only_home(&Answers::of(&call.run()?.ok()?.stdout)?.value("report")?)
    }),
];

/// Shell text that opens a file and a folder of the host.
fn open(trap: &Trap) -> String {
    format!("exec 3<'{}' 5<'{}' 9<'{}'", trap.path("precious"), trap.path(""), trap.path(""))
}

fn three(report: &Value) -> Check {
    let numbers: Vec<&String> =
        report["fds"].as_object().into_iter().flat_map(|m| m.keys()).collect();
    equal("descriptors", &numbers, &["0", "1", "2"])
}

fn only_home(report: &Value) -> Check {
    let env = report["env"].as_array().cloned().unwrap_or_default();
    let foreign: Vec<&str> =
        env.iter().filter_map(Value::as_str).filter(|line| !line.starts_with("HOME=")).collect();
    ensure(foreign.is_empty(), format!("variables: {foreign:?}"))
}

/// What a process prints does not come from the host's root, state or cgroups.
fn host_hidden(output: &Output, number: i32) -> Check {
    let ran = output.stdout.contains("list=");
    ensure(ran || !output.stderr.trim().is_empty(), "neither run nor refused")?;
    let signs = ["\"lost+found\"", "\"root\"", "cgroup.procs", "\"state\"", "conf-"];
    let shown = signs.iter().find(|sign| output.stdout.contains(**sign));
    ensure(shown.is_none(), format!("descriptor {number} shows {shown:?} of the host"))
}

/// A process of the container looks at everything that an exec shows while it comes up.
fn peek(t: &Trial, caps: &Value) -> Check {
    let trap = Trap::new(t)?;
    let c = t
        .bundle()
        .set(
            "/process/capabilities",
            json!({ "bounding": caps, "effective": caps, "permitted": caps }),
        )
        .ops(&["sleep"])
        .start()?;
    let op = format!("watch=600,{}", trap.path("precious"));
    let watcher = t.call(&["exec", &c.id, "/probe", &op]).spawn()?;
    for _ in 0..6 {
        alive(&c.exec(&[], &["/probe", "echo=alive", "sleep=20"])?)?;
    }
    let seen = Answers::of(&watcher.wait()?.ok()?.stdout)?.value(&op)?;
    let seen: Vec<&str> = seen.as_array().into_iter().flatten().filter_map(Value::as_str).collect();
    // The streams of the suite's own calls, and the init program in a memory file.
    let own = |path: &&&str| {
        let name = path.rsplit('/').next().unwrap_or_default();
        !(name.starts_with("out.") || name.starts_with("err.") || path.starts_with("/memfd:"))
    };
    let foreign: Vec<&&str> = seen.iter().filter(own).collect();
    ensure(foreign.is_empty(), format!("seen: {foreign:?}"))
}
