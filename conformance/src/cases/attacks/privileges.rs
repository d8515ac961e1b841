//! What a caller has and a container must not inherit: capabilities, groups, signals, its terminal.

use std::fs::{self, OpenOptions};

use serde_json::{Value, json};

use crate::bundle::Answers;
use crate::call::Call;
use crate::case::{Case, Need};
use crate::failure::{Check, ensure};
use crate::trial::Trial;
use crate::value::{equal, text};

/// The cases of this file.
pub(in crate::cases) const CASES: &[Case] = &[
    Case::new("attacks/caps-inheritable", "CVE-2022-24769: the caller's inheritable set", |t| {
        let mut bundle = t.bundle().ops(&["report"]);
        let call = bundle.call("run", &[])?.shell(with("--inh-caps=+chown,+net_raw"));
        none(&report(call)?, &["CapInh", "CapAmb"])
    })
    .needs(&[Need::Root]),
    Case::new("attacks/caps-ambient", "CVE-2016-8867: the caller's ambient set", |t| {
        let mut bundle =
            t.bundle().set("/process/user", json!({ "uid": 1000, "gid": 1000 })).ops(&["report"]);
        let words = "--inh-caps=+chown,+net_raw --ambient-caps=+chown,+net_raw";
        let call = bundle.call("run", &[])?.shell(with(words));
        none(&report(call)?, &["CapInh", "CapAmb", "CapEff", "CapPrm"])
    })
    .needs(&[Need::Root]),
    Case::new("attacks/caps-exec", "CVE-2022-29162: exec has no inheritable set", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let call = t.call(&["exec", "--cap", "CAP_KILL", &c.id, "/probe", "report"]);
        none(&report(call.shell(with("--inh-caps=+chown,+kill")))?, &["CapInh", "CapAmb"])
    })
    .needs(&[Need::Root]),
    Case::new("attacks/caps-spec-default", "CVE-2022-29162: `spec` writes no inheritable", |t| {
        let dir = t.path("spec");
        fs::create_dir(&dir)?;
        t.call(&["spec"]).cwd(&dir).run()?.ok()?;
        let config: Value = serde_json::from_slice(&fs::read(dir.join("config.json"))?)?;
        let set = config.pointer("/process/capabilities/inheritable");
        ensure(set.is_none_or(|set| *set == json!([])), format!("inheritable: {set:?}"))
    }),
    Case::new("attacks/caps-none", "P8: no capabilities object is no capability", |t| {
        let found = t.bundle().remove("/process/capabilities").report()?;
        none(&found, &["CapInh", "CapAmb", "CapEff", "CapPrm", "CapBnd"])
    }),
    Case::new("attacks/groups-leak", "CVE-2022-2989: the caller's groups", |t| {
        let mut bundle = t.bundle().ops(&["report"]);
        let call = bundle.call("run", &[])?.shell(with("--groups=4242,4243"));
        equal("groups", &report(call)?["groups"], &json!([]))
    })
    .needs(&[Need::Root]),
    Case::new("attacks/groups-leak-nonroot", "CVE-2023-25173: the same for a user", |t| {
        let user = json!({ "uid": 1000, "gid": 1000 });
        let mut bundle = t.bundle().set("/process/user", user).ops(&["report"]);
        let call = bundle.call("run", &[])?.shell(with("--groups=4242,4243"));
        equal("groups", &report(call)?["groups"], &json!([]))
    })
    .needs(&[Need::Root]),
    Case::new("attacks/groups-leak-exec", "CVE-2022-2989: the same in exec", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let call = t.call(&["exec", &c.id, "/probe", "report"]);
        let found = report(call.shell(with("--groups=4242,4243")))?;
        equal("groups", &found["groups"], &json!([]))
    })
    .needs(&[Need::Root]),
    Case::new("attacks/signals-leak", "P8: what the caller ignores", |t| {
        let mut bundle = t.bundle().ops(&["report"]);
        let call = bundle.call("run", &[])?.shell("trap '' HUP INT QUIT USR1 USR2 ALRM CHLD");
        deaf(&report(call)?)
    }),
    Case::new("attacks/signals-leak-exec", "P8: the same in exec", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let call = t.call(&["exec", &c.id, "/probe", "report"]);
        deaf(&report(call.shell("trap '' HUP INT QUIT USR1 USR2 ALRM CHLD"))?)
    }),
    Case::new("attacks/tty-inject", "CVE-2017-5226: the caller's terminal", |t| {
        let mut bundle = t.bundle().ops(&["report", INJECT]);
        let call = bundle.call("run", &[])?;
        on_terminal(t, call)
    }),
    Case::new("attacks/tty-inject-exec", "CVE-2016-10124: the same in exec", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        on_terminal(t, t.call(&["exec", &c.id, "/probe", "report", INJECT]))
    }),
];

/// ioctl(0, TIOCSTI, a bad address): EFAULT once the kernel has agreed to type for the caller.
const INJECT: &str = "syscall=#16,0,0x5412,1";

/// Shell text that goes on with other credentials.
fn with(words: &str) -> String {
    format!("exec setpriv {words} \"$@\"")
}

fn report(call: Call<'_>) -> Check<Value> {
    Answers::of(&call.run()?.ok()?.stdout)?.value("report")
}

fn none(report: &Value, sets: &[&str]) -> Check {
    for name in sets {
        let found = text(report, &format!("/status/{name}"))?;
        ensure(u64::from_str_radix(found, 16)? == 0, format!("{name}: {found}"))?;
    }
    Ok(())
}

/// Nothing is ignored or blocked, but the SIGPIPE that the probe itself ignores.
fn deaf(report: &Value) -> Check {
    let mask = |name: &str| -> Check<u64> {
        Ok(u64::from_str_radix(text(report, &format!("/status/{name}"))?, 16)?)
    };
    let pipe = 1 << 12;
    equal("ignored", &(mask("SigIgn")? & !pipe), &0)?;
    equal("blocked", &mask("SigBlk")?, &0)
}

/// The runtime is called on a terminal which is not the container's to command.
fn on_terminal(t: &Trial, call: Call<'_>) -> Check {
    let pty = nix::pty::openpty(None, None)?;
    let out = t.new_path("said");
    let file = OpenOptions::new().create(true).append(true).open(&out)?;
    let text = format!("exec >'{}'; exec setsid --ctty --wait \"$@\"", out.display());
    call.shell(text).terminal(pty.slave, file.into()).run()?.ok()?;
    let answers = Answers::of(&crate::call::read_lossy(&out))?;
    let stat = answers.value("report")?;
    let stat = stat["stat"].as_str().unwrap_or_default().to_owned();
    let fields: Vec<&str> = stat.rsplit(") ").next().unwrap_or_default().split(' ').collect();
    equal("controlling terminal", &fields.get(4).copied().unwrap_or_default(), &"0")?;
    let errno = answers.errno(INJECT)?;
    ensure(errno != "EFAULT", "the kernel would type on the caller's terminal")?;
    drop(pty.master);
    Ok(())
}
