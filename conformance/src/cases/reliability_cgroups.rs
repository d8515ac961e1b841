//! What goes wrong in a container's cgroups: bombs, strangers, freezers, limits that are too small.

use std::fs;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::case::{Case, Need};
use crate::container::Container;
use crate::failure::{Check, ensure};
use crate::leftovers;
use crate::trial::Trial;

/// The longest that a deletion may take, whatever happens in the cgroups.
const BOUND: Duration = Duration::from_secs(5);

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::new("reliability/fork-bomb", "processes that fork without end die together", |t| {
        let limit = json!({ "limit": 400 });
        // Every process makes others until there are no more numbers, and again when some have died.
        let script = "f() { while :; do f & done; }; for i in 1 2 3 4 5 6 7 8; do f & done; wait";
        let c = t.bundle().shell(script).set("/linux/resources/pids", limit).start()?;
        std::thread::sleep(Duration::from_millis(400));
        soon(&c)
    })
    .needs(&[Need::Busybox, Need::Controller("pids")]),
    Case::new("reliability/strays", "in a shared pid namespace init's children die as well", |t| {
        let c = t.bundle().without_namespace("pid").ops(&["fork=5", "exit=0"]).start()?;
        c.stopped()?;
        soon(&c)
    })
    .needs(&[Need::Root, Need::Cgroup]),
    Case::new("reliability/foreign-process", "a stranger in the container's cgroups", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let mut stranger = stranger(t)?;
        for dir in leftovers::cgroups(&c.id) {
            let _ = fs::write(dir.join("cgroup.procs"), stranger.id().to_string());
        }
        let begin = Instant::now();
        let output = c.delete_force()?;
        let took = begin.elapsed();
        let _ = stranger.kill();
        stranger.wait()?;
        t.disown(stranger.id());
        // It dies with the cgroup, or is in the way: then the runtime says so, and the next call works.
        ensure(took < BOUND, format!("it took {took:?}"))?;
        if output.code != 0 {
            output.fails_with("cgroup|busy|process")?;
            c.delete_force()?.ok()?;
        }
        Ok(())
    })
    .needs(&[Need::Root, Need::Cgroup]),
    Case::new("reliability/nested-cgroups", "30 cgroups, one in another", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        for dir in leftovers::cgroups(&c.id) {
            let deepest: PathBuf = (0..30).fold(dir, |path, level| path.join(format!("n{level}")));
            fs::create_dir_all(deepest)?;
        }
        soon(&c)
    })
    .needs(&[Need::Root, Need::Cgroup]),
    Case::new("reliability/parent-frozen", "somebody froze the cgroup above", |t| {
        let id = t.new_id();
        let parent = format!("{}/{id}-above", t.host.cgroup_base);
        let c = t
            .bundle()
            .with_id(&id)
            .ops(&["sleep"])
            .set("/linux/cgroupsPath", format!("{parent}/{id}"))
            .start()?;
        let dir = t.host.cgroup_dir("freezer", &parent);
        let (file, frozen, thawed) = if t.host.v2 {
            ("cgroup.freeze", "1", "0")
        } else {
            ("freezer.state", "FROZEN", "THAWED")
        };
        fs::write(dir.join(file), frozen)?;
        let begin = Instant::now();
        let output = c.delete_force()?;
        let took = begin.elapsed();
        fs::write(dir.join(file), thawed)?;
        ensure(took < BOUND, format!("it took {took:?}"))?;
        if output.code != 0 {
            output.fails_with("frozen|freez")?;
            c.delete_force()?.ok()?;
        }
        for dir in leftovers::cgroups(&format!("{id}-above")) {
            let _ = fs::remove_dir(dir);
        }
        Ok(())
    })
    .needs(&[Need::Root, Need::Controller("freezer")]),
    Case::new("reliability/frozen-creation", "a hook freezes what it then refuses", |t| {
        let file = if t.host.v2 { "cgroup.freeze" } else { "freezer.state" };
        let (prefix, root, frozen) = match t.host.v2 {
            true => ("0::", "", "1"),
            false => ("[0-9]*:freezer:", "/freezer", "FROZEN"),
        };
        let script = format!(
            "pid=$(grep -o '\"pid\": *[0-9]*' | grep -o '[0-9]*$')
             group=$(sed -n 's/^{prefix}//p' /proc/$pid/cgroup)
             echo {frozen} >/sys/fs/cgroup{root}$group/{file} || exit 9
             echo has frozen it >&2; exit 1"
        );
        let hook = json!({ "path": "/bin/sh", "args": ["sh", "-c", script] });
        let begin = Instant::now();
        let b = t.bundle().hook("createRuntime", hook).ops(&["sleep"]);
        let id = b.id().to_owned();
        b.refused("has frozen it|hook")?;
        ensure(begin.elapsed() < BOUND, format!("it took {:?}", begin.elapsed()))?;
        let left = leftovers::cgroups(&id);
        ensure(left.is_empty(), format!("cgroups are left: {left:?}"))
    })
    .needs(&[Need::Root, Need::Controller("freezer")]),
    Case::new("reliability/memory-tiny", "a limit of memory that is hardly enough", |t| {
        for limit in [256, 512, 1024, 2048] {
            let memory = json!({ "limit": limit << 10 });
            let b = t.bundle().set("/linux/resources/memory", memory).ops(&["exit=3"]);
            let output = b.run()?;
            // The program itself may be too big; then it is killed, and nobody else.
            if output.code != 3 && output.code != 137 {
                output.fails_with("memory|limit|oom")?;
            }
        }
        Ok(())
    })
    .needs(&[Need::Controller("memory")]),
    Case::new("reliability/pids-one", "a limit of one process is enough for one", |t| {
        let limit = json!({ "limit": 1 });
        let b = t.bundle().set("/linux/resources/pids", limit).ops(&["exit=3"]);
        b.run()?.code(3).map(drop)
    })
    .needs(&[Need::Controller("pids")]),
];

/// The container is deleted by force, soon and completely.
fn soon(container: &Container<'_>) -> Check {
    let begin = Instant::now();
    container.delete_force()?.ok()?;
    let took = begin.elapsed();
    ensure(took < BOUND, format!("it took {took:?}"))?;
    let left = leftovers::cgroups(&container.id);
    ensure(left.is_empty(), format!("left behind: {left:?}"))
}

fn stranger(t: &Trial) -> Check<Child> {
    let mut command = Command::new(t.probe());
    Ok(t.spawn(command.arg("sleep").stdin(Stdio::null()).stdout(Stdio::null()))?)
}
