//! Calls at the same time, and calls that are cut off.

use std::thread;
use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::call::{Call, Output, Running};
use crate::case::{Case, Need};
use crate::failure::{Check, ensure};
use crate::trial::Trial;
use crate::value::equal;

/// Calls at the same time.
const WIDTH: usize = 8;

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("concurrency/create", "eight creates of one id: one wins", |t| {
        let id = t.new_id();
        let mut bundle = t.bundle().with_id(&id).ops(&["sleep"]);
        bundle.write()?;
        let dir = bundle.dir.display().to_string();
        let outputs = together(t, &["create", "--bundle", &dir, &id])?;
        let winners = outputs.iter().filter(|output| output.code == 0).count();
        if winners > 0 {
            t.live(&id);
        }
        equal("winners", &winners, &1)?;
        let said = outputs.iter().filter(|output| output.stderr.contains("exist")).count();
        equal("losers who say why", &said, &(WIDTH - 1))
    })
    .rows(&["failed operation", "create"]),
    Case::new("concurrency/start", "eight starts: one wins", |t| {
        let c = t.bundle().ops(&["sleep"]).create()?;
        let outputs = together(t, &["start", &c.id])?;
        equal("winners", &outputs.iter().filter(|output| output.code == 0).count(), &1)?;
        c.is("running")
    })
    .rows(&["start"]),
    Case::new("concurrency/delete-force", "eight times delete --force: all succeed", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let outputs = together(t, &["delete", "--force", &c.id])?;
        t.gone(&c.id);
        let bad: Vec<_> = outputs
            .iter()
            .filter(|output| output.code != 0)
            .map(|output| output.stderr.clone())
            .collect();
        ensure(bad.is_empty(), format!("{bad:?}"))
    }),
    Case::new("concurrency/exec", "eight execs in one container", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        for output in together(t, &["exec", &c.id, "/probe", "exit=5"])? {
            output.code(5)?;
        }
        Ok(())
    }),
    Case::new("concurrency/exec-against-delete", "execs while the container is deleted", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let running: Vec<_> = (0..4)
            .map(|_| t.call(&["exec", &c.id, "/probe", "sleep"]).spawn())
            .collect::<Check<_>>()?;
        c.delete_force()?.ok()?;
        for call in running {
            ensure(call.wait()?.code != 0, "an exec succeeded")?;
        }
        Ok(())
    })
    .needs(&[Need::Cgroup]),
    Case::new("concurrency/containers", "eight containers at once", |t| {
        let mut bundles: Vec<_> = (0..WIDTH).map(|_| t.bundle().ops(&["exit=7"])).collect();
        let calls =
            bundles.iter_mut().map(|bundle| bundle.call("run", &[])).collect::<Check<Vec<_>>>()?;
        let running = calls.into_iter().map(Call::spawn).collect::<Check<Vec<_>>>()?;
        for call in running {
            call.wait()?.code(7)?;
        }
        Ok(())
    }),
    Case::new("concurrency/list", "list while containers come and go", |t| {
        let list = thread::scope(|scope| {
            let reader = scope.spawn(|| {
                (0..10)
                    .map(|_| t.run(&["list", "--format", "json"]))
                    .collect::<Check<Vec<Output>>>()
            });
            for _ in 0..3 {
                t.bundle().ops(&["exit=3"]).run()?.code(3)?;
            }
            reader.join().map_err(|_| "the reader died".into()).and_then(|result| result)
        })?;
        for output in list {
            output.ok()?.json()?;
        }
        Ok(())
    }),
    Case::new("concurrency/kill-of-create", "SIGKILL to create: delete --force cleans", |t| {
        cut_off(t, Signal::SIGKILL, &MOMENTS)
    })
    .rows(&["failed operation"]),
    Case::new("concurrency/term-of-create", "SIGTERM to create: delete --force cleans", |t| {
        cut_off(t, Signal::SIGTERM, &MOMENTS)
    })
    .rows(&["failed operation"]),
];

/// When a creation is cut off, in milliseconds.
const MOMENTS: [u64; 5] = [2, 8, 15, 30, 60];

/// The same call eight times at once.
fn together(t: &Trial, args: &[&str]) -> Check<Vec<Output>> {
    let running = (0..WIDTH).map(|_| t.call(args).spawn()).collect::<Check<Vec<_>>>()?;
    running.into_iter().map(Running::wait).collect()
}

/// Ends `create` after each of these milliseconds; `delete --force` must remove what it left.
pub(super) fn cut_off(t: &Trial, signal: Signal, delays: &[u64]) -> Check {
    for delay in delays {
        let mut bundle = t.bundle().ops(&["sleep"]);
        let id = bundle.id().to_owned();
        let running = bundle.call("create", &[])?.spawn()?;
        thread::sleep(Duration::from_millis(*delay));
        kill(Pid::from_raw(i32::try_from(running.pid())?), signal)?;
        running.wait()?;
        t.run(&["delete", "--force", &id])?.ok()?;
    }
    Ok(())
}
