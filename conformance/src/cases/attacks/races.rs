//! A neighbour that swaps a path of the image for a link to the host, again and again, while
//! containers are made. `CONFORMANCE_ROUNDS` sets how many containers each race makes.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use super::{Trap, bare_dev, mounts_of, point};
use crate::bundle::Bundle;
use crate::case::Case;
use crate::container::Container;
use crate::failure::{Check, ensure};
use crate::trial::Trial;
use crate::value::equal;

/// Containers of each race, unless `CONFORMANCE_ROUNDS` says otherwise.
const ROUNDS: u32 = 40;

/// The longest that a race takes with that many.
const TIME: Duration = Duration::from_secs(8);

/// The cases of this file.
pub(in crate::cases) const CASES: &[Case] = &[
    Case::new("attacks/race-mount-dest", "CVE-2021-30465: a destination is swapped", |t| {
        let bundle: Make = |t, _| t.bundle().mount("/vol/new/deep", "tmpfs", "tmpfs", &[]);
        race(t, "vol", bundle, |_, _| Ok(()))
    }),
    Case::new("attacks/race-proc", "CVE-2023-27561: /proc is swapped", |t| {
        race(t, "proc", |t, trap| t.bundle().directory(&trap.path("sys")), proc_is_masked)
    }),
    Case::new("attacks/race-dev", "CVE-2026-41579: /dev is swapped", |t| {
        race(t, "dev", |t, _| bare_dev(t), |_, _| Ok(()))
    }),
    Case::new("attacks/race-masked-path", "GHSA-3q8j-pf29-vwv8: a masked path is swapped", |t| {
        let bundle: Make = |t, trap| {
            t.bundle().directory(&trap.path("")).set("/linux/maskedPaths", json!(["/srv"]))
        };
        race(t, "srv", bundle, one_is_read_only)
    }),
    Case::new("attacks/race-readonly-path", "GHSA-3q8j-pf29-vwv8: so is a read-only path", |t| {
        let bundle: Make = |t, trap| {
            t.bundle().directory(&trap.path("")).set("/linux/readonlyPaths", json!(["/srv"]))
        };
        race(t, "srv", bundle, one_is_read_only)
    }),
];

/// Makes the bundle of one round.
type Make = for<'t> fn(&'t Trial, &Trap) -> Bundle<'t>;

/// Creates containers while a path of the rootfs is now a folder, now a link to the trap. One that is
/// made must be as it should be; the trap never changes.
fn race(t: &Trial, name: &str, make: Make, check: fn(&Container<'_>, &Trap) -> Check) -> Check {
    let wanted = std::env::var("CONFORMANCE_ROUNDS").ok().and_then(|text| text.parse().ok());
    let rounds: u32 = wanted.unwrap_or(ROUNDS);
    let end = Instant::now() + TIME * rounds.div_ceil(ROUNDS);
    let trap = Trap::with(t, &["ptmx", "kcore", "sys/file"])?;
    for _ in 0..rounds {
        let mut bundle = make(t, &trap).ops(&["sleep"]).directory(name);
        bundle = bundle.link(&format!("{name}.link"), &trap.path(""));
        let names = [bundle.rootfs(name), bundle.rootfs(&format!("{name}.link"))];
        let swap = Swap::begin(t, names)?;
        let output = bundle.call("create", &[])?.run();
        swap.end()?;
        let output = output?;
        trap.holds()?;
        if output.code != 0 {
            output.ran_or_refused()?;
            continue;
        }
        let container = bundle.adopt(output)?;
        check(&container, &trap)?;
        container.delete_force()?.ok()?;
        if Instant::now() > end {
            break;
        }
    }
    Ok(())
}

/// Two names that change places all the time, by a process of their own.
struct Swap<'t> {
    trial: &'t Trial,
    child: Child,
    names: [PathBuf; 2],
}

impl<'t> Swap<'t> {
    fn begin(trial: &'t Trial, names: [PathBuf; 2]) -> Check<Self> {
        let child = trial.spawn(&mut swapper(trial, &names, "endless"))?;
        Ok(Self { trial, child, names })
    }

    /// Stops, with both in their first places.
    fn end(mut self) -> Check {
        self.child.kill()?;
        self.child.wait()?;
        self.trial.disown(self.child.id());
        if self.names.first().is_some_and(|name| name.is_symlink()) {
            let mut last = self.trial.spawn(&mut swapper(self.trial, &self.names, "1"))?;
            last.wait()?;
            self.trial.disown(last.id());
        }
        Ok(())
    }
}

fn swapper(trial: &Trial, [one, other]: &[PathBuf; 2], count: &str) -> Command {
    let mut command = Command::new(trial.probe());
    command.arg(format!("swap={},{},{count}", one.display(), other.display()));
    command.stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// There is one /proc, wherever it is, and its masks are below it.
fn proc_is_masked(container: &Container<'_>, _: &Trap) -> Check {
    let mounts = mounts_of(container)?;
    let whole = |line: &&String| line.contains(" - proc ") && line.split(' ').nth(3) == Some("/");
    let all: Vec<&str> = mounts.iter().filter(whole).map(|line| point(line)).collect();
    let [place] = all.as_slice() else {
        return Err(format!("not one /proc but {all:?}: {mounts:#?}").into());
    };
    for name in ["kcore", "sys", "sysrq-trigger"] {
        let path = format!("{place}/{name}");
        let there = Path::new("/proc").join(name).exists();
        let found = mounts.iter().any(|line| point(line) == path);
        ensure(found || !there, format!("{path} is not protected: {mounts:#?}"))?;
    }
    Ok(())
}

/// The folder, or the one that the link names inside, is the read-only one.
fn one_is_read_only(container: &Container<'_>, trap: &Trap) -> Check {
    let mounts = mounts_of(container)?;
    let places = ["/srv".to_owned(), trap.path("")];
    let mine = |line: &&String| places.iter().any(|place| point(line) == place);
    let options: Vec<&str> =
        mounts.iter().filter(mine).filter_map(|line| line.split(' ').nth(5)).collect();
    equal("mounts", &options.len(), &1)?;
    ensure(options.iter().all(|all| all.starts_with("ro")), format!("options: {options:?}"))
}
