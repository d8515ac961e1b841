//! kill: names, numbers, and who gets the signal.

use crate::case::Case;
use crate::failure::{Check, ensure};
use crate::trial::Trial;
use crate::value::equal;

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new(
        "kill/names",
        "convention: names with and without SIG, in any case, and numbers",
        |t| arrives(t, &["USR1", "SIGUSR1", "usr1", "sigusr1", "10"], "SIGUSR1"),
    ),
    Case::new("kill/default", "convention: SIGTERM without a signal", |t| {
        let c = t.bundle().ops(&["term=0"]).start()?;
        c.prints("ready")?;
        c.call(&["kill"]).run()?.ok()?;
        c.stopped()
    })
    .rows(&["kill"]),
    Case::new("kill/usual", "the usual signals arrive", |t| {
        for name in ["HUP", "INT", "QUIT", "USR2", "WINCH", "CONT"] {
            arrives(t, &[name], &format!("SIG{name}"))?;
        }
        Ok(())
    })
    .rows(&["kill"]),
    Case::new("kill/zero", "kill(2): signal 0 only looks", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        c.kill("0")?.ok()?;
        c.is("running")
    }),
    Case::new("kill/unknown", "an unknown signal is an error", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        for name in ["NOSUCH", "SIG", "65", "1x", ""] {
            let output = c.kill(name)?;
            ensure(output.code != 0, format!("kill {name:?} is accepted"))?;
        }
        c.is("running")
    }),
    Case::new("kill/init-only", "runtime.md#kill: the container's process gets the signal", |t| {
        let c = t.bundle().ops(&["fork=1", "signals=1", "sleep"]).start()?;
        c.prints("ready")?;
        c.kill("USR1")?.ok()?;
        c.prints("SIGUSR1")?;
        let child = c.answers(1)?.value("fork=1")?;
        equal("children", &child.as_array().map_or(0, Vec::len), &1)
    })
    .rows(&["kill"]),
    Case::new("kill/all", "convention: --all reaches every process", |t| {
        let c = t.bundle().ops(&["fork=2", "sleep"]).start()?;
        c.answers(1)?;
        t.run(&["kill", "--all", &c.id, "KILL"])?.ok()?;
        c.stopped()
    }),
    Case::new("kill/real-time", "convention: real-time signals by number", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        c.kill("34")?.ok().map(drop)
    }),
];

fn arrives(t: &Trial, names: &[&str], signal: &str) -> Check {
    let c = t.bundle().ops(&[&format!("signals={}", names.len())]).start()?;
    c.prints("ready")?;
    for (index, name) in names.iter().enumerate() {
        c.kill(name)?.ok()?;
        t.until(&format!("{signal} by {name}"), || {
            c.stdout().lines().filter(|line| *line == signal).count() > index
        })?;
    }
    c.stopped()
}
