//! `checkpoint` and `restore`: processes go on where they were, in a container like the one before.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;

use crate::bundle::Bundle;
use crate::call::Output;
use crate::case::{Case, Need};
use crate::console::Console;
use crate::container::Container;
use crate::failure::{Check, ensure};
use crate::trial::Trial;
use crate::value::{contains, equal};

/// What every case needs.
pub(super) const NEEDS: &[Need] =
    &[Need::Root, Need::Busybox, Need::Command("checkpoint"), Need::Criu];

/// Counts in a variable, which only memory holds, and writes the count to a file.
pub(super) const COUNT: &str = "i=0; while :; do i=$((i+1)); echo $i >/count.new; \
                     /bin/busybox mv /count.new /count; /bin/busybox sleep 0.05; done";

/// A dump and a restore may take as long as this each on a machine that is emulated.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("checkpoint/goes-on", "convention: a restored program goes on", |t| {
        let c = start(t, t.bundle().shell(COUNT))?;
        let (before, after) = across(t, &c, (&[], &[]))?;
        c.is("running")?;
        ensure(after > before, format!("the count was {before} and is {after}"))?;
        c.kill("KILL")?.ok()?;
        c.stopped()?;
        c.delete()?.ok().map(drop)
    })
    .needs(NEEDS),
    Case::new("checkpoint/removes", "convention: nothing is left of a dumped container", |t| {
        let c = start(t, t.bundle().shell(COUNT))?;
        checkpoint(t, &c, &[])?;
        c.call(&["state"]).run()?.fails_with("does not exist").map(drop)
    })
    .needs(NEEDS),
    Case::new("checkpoint/leave-running", "convention: --leave-running", |t| {
        let c = start(t, t.bundle().shell(COUNT))?;
        checkpoint(t, &c, &["--leave-running"])?;
        c.is("running")?;
        let before = count(&c);
        t.until("the count", || count(&c) > before)?;
        c.delete_force()?.ok()?;
        restore(t, &c, &[])?;
        t.until("the count", || count(&c) > before)
    })
    .needs(NEEDS),
    Case::new("checkpoint/again", "a restored container is a container: it is dumped again", |t| {
        let c = start(t, t.bundle().shell(COUNT))?;
        across(t, &c, (&[], &[]))?;
        let (before, after) = across(t, &c, (&[], &[]))?;
        ensure(after > before, format!("the count was {before} and is {after}"))
    })
    .needs(NEEDS),
    Case::new("checkpoint/paused", "convention: a paused container stays paused", |t| {
        let c = start(t, t.bundle().shell(COUNT))?;
        c.call(&["pause"]).run()?.ok()?;
        checkpoint(t, &c, &["--leave-running"])?;
        c.is("paused")?;
        checkpoint(t, &c, &[])?;
        restore(t, &c, &[])?;
        let before = count(&c);
        t.until("the count", || count(&c) > before)
    })
    .needs(NEEDS),
    Case::new("checkpoint/pause-restored", "a restored container can be paused", |t| {
        let c = start(t, t.bundle().shell(COUNT))?;
        across(t, &c, (&[], &[]))?;
        c.call(&["pause"]).run()?.ok()?;
        c.is("paused")?;
        c.call(&["resume"]).run()?.ok()?;
        c.is("running")
    })
    .needs(NEEDS),
    Case::new("checkpoint/other-name", "it is restored under another name and cgroup", |t| {
        let c = start(t, t.bundle().shell(COUNT))?;
        let before = count(&c);
        checkpoint(t, &c, &[])?;
        let other = Container::new(t, t.new_id(), c.bundle.clone(), PathBuf::new());
        let path = c.bundle.join("config.json");
        let mut config: serde_json::Value = serde_json::from_str(&fs::read_to_string(&path)?)?;
        config["linux"]["cgroupsPath"] = json!(t.host.cgroups_path(&other.id));
        fs::write(&path, config.to_string())?;
        restore(t, &other, &["--image-path", &images(&c)])?;
        t.until("the count", || count(&other) > before)?;
        let cgroup = fs::read_to_string(format!("/proc/{}/cgroup", other.pid()?))?;
        contains("cgroup", &cgroup, &t.host.cgroup_of(&other.id))?;
        ensure(
            cgroup.lines().all(|line| !line.ends_with(&format!("/{}", c.id))),
            format!("an earlier cgroup in {cgroup}"),
        )
    })
    .needs(NEEDS),
    Case::new("checkpoint/limits", "limits are those of the bundle", |t| {
        let resources = json!({ "pids": { "limit": 77 } });
        let bundle = t.bundle().set("/linux/resources", resources).shell(COUNT);
        let c = start(t, bundle)?;
        across(t, &c, (&[], &[]))?;
        let path = t.host.cgroup_dir("pids", &t.host.cgroup_of(&c.id)).join("pids.max");
        equal("pids.max", fs::read_to_string(path)?.trim(), "77")
    })
    .needs(&[
        Need::Root,
        Need::Busybox,
        Need::Command("checkpoint"),
        Need::Criu,
        Need::Controller("pids"),
    ]),
    Case::new("checkpoint/mounts", "bind mounts are the bundle's, tmpfs has what it had", |t| {
        let (directory, file) = (t.new_path("data"), t.new_path("file"));
        fs::create_dir(&directory)?;
        fs::write(directory.join("one"), "first")?;
        fs::write(&file, "second")?;
        let script = format!("echo third >/tm/three; {COUNT}");
        let bundle = t
            .bundle()
            .bind(&directory, "/data", &["rw"])
            .bind(&file, "/etc/file", &["ro"])
            .mount("/tm", "tmpfs", "tmpfs", &["size=1m"])
            .bind(&file, "/tm/below/file", &["ro"])
            .shell(&script);
        let c = start(t, bundle)?;
        across(t, &c, (&[], &[]))?;
        let files = "cat /data/one /etc/file /tm/three /tm/below/file; echo back >/data/two";
        let shown = c.exec(&[], &["/bin/busybox", "sh", "-c", files])?.ok()?;
        equal("files", &*shown.stdout, "firstsecondthird\nsecond")?;
        equal("the host", fs::read_to_string(directory.join("two"))?.trim(), "back")?;
        let refused = c.exec(&[], &["/bin/busybox", "sh", "-c", "echo x >/etc/file"])?;
        refused.fails().map(drop)
    })
    .needs(NEEDS),
    Case::new("checkpoint/hidden-paths", "masked and read-only paths stay so", |t| {
        let c = start(t, t.bundle().shell(COUNT))?;
        across(t, &c, (&[], &[]))?;
        let answers = c.exec_probe(&[], &["list=/sys/firmware", "rw=/proc/sys/kernel/hostname"])?;
        equal("a masked directory", &answers.value("list=/sys/firmware")?, &json!([]))?;
        answers.fails("rw=/proc/sys/kernel/hostname", "EROFS")?;
        let keys = c.exec(&[], &["/bin/busybox", "cat", "/proc/keys", "/proc/timer_list"])?.ok()?;
        equal("masked files", &*keys.stdout, "")
    })
    .needs(NEEDS),
    Case::new("checkpoint/exec", "further processes have the recorded settings", |t| {
        let bundle = t.bundle().set("/process/user/additionalGids", json!([4711])).shell(COUNT);
        let c = start(t, bundle)?;
        let before = c.exec_probe(&[], &["report"])?.value("report")?;
        across(t, &c, (&[], &[]))?;
        let after = c.exec_probe(&[], &["report"])?.value("report")?;
        for pointer in ["/groups", "/cwd", "/umask", "/env", "/hostname", "/status/CapEff"] {
            equal(pointer, &after.pointer(pointer), &before.pointer(pointer))?;
        }
        equal("no_new_privs", &after.pointer("/status/NoNewPrivs"), &Some(&json!("1")))
    })
    .needs(NEEDS),
    Case::new("checkpoint/terminal", "convention: a terminal comes to the console socket", |t| {
        let first = Console::listen(t, "X=kept\n")?;
        let argument = first.argument();
        let mut bundle = t
            .bundle()
            .set("/process/terminal", true)
            .shell("echo begin >/begin; read line; echo $line >/read; exec /bin/busybox sh")
            .option(&["--console-socket", &argument]);
        let call = bundle.call("run", &["--detach"])?.shell(SILENT);
        let output = call.run()?;
        let c = bundle.adopt(output)?;
        t.until("the line", || c.bundle.join("rootfs/read").exists())?;
        checkpoint(t, &c, &[])?;
        let second = Console::listen(t, "echo a-$((40+2))-b; tty; exit\n")?;
        restore(t, &c, &["--console-socket", &second.argument()])?;
        let came = second.finish()?;
        let output = crate::value::text(&came, "/output")?;
        contains("output", output, "a-42-b")?;
        contains("output", output, "/dev/pts/0")
    })
    .needs(NEEDS),
    Case::new("checkpoint/foreground", "convention: restore without --detach waits", |t| {
        let script = "while [ ! -e /go ]; do /bin/busybox sleep 0.05; done; exit 9";
        let c = start(t, t.bundle().shell(script))?;
        checkpoint(t, &c, &[])?;
        let call = c.call(&["restore", "--bundle", &bundle(&c), "--image-path", &images(&c)]);
        fs::write(c.bundle.join("rootfs/go"), "")?;
        call.shell(SILENT).limit(PATIENCE).run()?.code(9)?;
        c.call(&["state"]).run()?.fails_with("does not exist").map(drop)
    })
    .needs(NEEDS),
    Case::new("checkpoint/pid-file", "convention: restore --pid-file", |t| {
        let c = start(t, t.bundle().shell(COUNT))?;
        checkpoint(t, &c, &[])?;
        let path = t.new_path("pid");
        restore(t, &c, &["--pid-file", &path.to_string_lossy()])?;
        equal("the pid", &fs::read_to_string(path)?, &c.pid()?.to_string())
    })
    .needs(NEEDS),
    Case::new("checkpoint/created", "convention: a created container cannot be dumped", |t| {
        let c = t.bundle().ops(&["sleep"]).create()?;
        let asked = ["checkpoint", "--image-path", &images(&c)];
        c.call(&asked).run()?.fails_with("cannot be checkpointed in created state")?;
        c.is("created")
    })
    .needs(&[Need::Command("checkpoint")]),
    Case::new("checkpoint/stopped", "convention: a stopped container cannot be dumped", |t| {
        let c = t.bundle().ops(&["exit=0"]).start()?;
        c.stopped()?;
        let asked = ["checkpoint", "--image-path", &images(&c)];
        c.call(&asked).run()?.fails_with("cannot be checkpointed in stopped state").map(drop)
    })
    .needs(&[Need::Command("checkpoint")]),
    Case::new("checkpoint/lsm-probe", "convention: Podman asks for an option's argument", |t| {
        let output = t.run(&["restore", "--lsm-mount-context"])?;
        output.fails_with("flag needs an argument|requires an argument").map(drop)
    })
    .needs(&[Need::Command("checkpoint")]),
    Case::new("checkpoint/no-images", "restore of nothing fails, and leaves nothing", |t| {
        let mut bundle = t.bundle().ops(&["sleep"]);
        bundle.write()?;
        let directory = bundle.dir.to_string_lossy().into_owned();
        let empty = t.new_path("empty");
        fs::create_dir(&empty)?;
        let empty = empty.to_string_lossy();
        t.run(&["restore", "--bundle", &directory, "--image-path", &empty, bundle.id()])?
            .fails_with("")?;
        t.run(&["state", bundle.id()])?.fails_with("does not exist").map(drop)
    })
    .needs(&[Need::Command("checkpoint")]),
];

/// The container keeps no stream of the suite, which are files that a runtime may not restore.
pub(super) const SILENT: &str = "exec >/dev/null 2>&1";

/// Starts a container without streams.
pub(super) fn start<'t>(t: &'t Trial, mut bundle: Bundle<'t>) -> Check<Container<'t>> {
    let output = bundle.call("run", &["--detach"])?.shell(SILENT).run()?;
    let c = bundle.adopt(output)?;
    if fs::read_to_string(c.bundle.join("config.json"))?.contains("/count") {
        t.until("the count", || count(&c) > 0)?;
    }
    Ok(c)
}

/// The count so far.
pub(super) fn count(c: &Container<'_>) -> u64 {
    let text = fs::read_to_string(c.bundle.join("rootfs/count")).unwrap_or_default();
    text.trim().parse().unwrap_or(0)
}

/// The directory of a container's images.
pub(super) fn images(c: &Container<'_>) -> String {
    c.bundle.join("images").to_string_lossy().into_owned()
}

fn bundle(c: &Container<'_>) -> String {
    c.bundle.to_string_lossy().into_owned()
}

/// Dumps a container; what the log of criu says of a failure is shown.
pub(super) fn dump(c: &Container<'_>, options: &[&str]) -> Check<Output> {
    let images = images(c);
    let mut words = vec!["checkpoint", "--image-path", &images];
    words.extend(options);
    c.call(&words).limit(PATIENCE).run()
}

/// Dumps a container successfully.
pub(super) fn checkpoint(t: &Trial, c: &Container<'_>, options: &[&str]) -> Check<Output> {
    let output = dump(c, options)?.ok()?;
    if !options.contains(&"--leave-running") && !options.contains(&"--pre-dump") {
        t.gone(&c.id);
    }
    Ok(output)
}

/// Restores a container, detached; the last of doubled options counts.
pub(super) fn revive(c: &Container<'_>, options: &[&str]) -> Check<Output> {
    let (bundle, images) = (bundle(c), images(c));
    let mut words = vec!["restore", "--detach", "--bundle", &bundle];
    if !options.contains(&"--image-path") {
        words.extend(["--image-path", &*images]);
    }
    words.extend(options);
    let log = c.bundle.join("log");
    let globals = ["--log", &*log.to_string_lossy()];
    let mut output = c.call(&words).globals(globals).shell(SILENT).limit(PATIENCE).run()?;
    output.stderr = fs::read_to_string(&log).unwrap_or_default();
    Ok(output)
}

/// Restores a container successfully.
pub(super) fn restore(t: &Trial, c: &Container<'_>, options: &[&str]) -> Check<Output> {
    let output = revive(c, options)?;
    if output.code == 0 {
        t.live(&c.id);
    }
    output.ok()
}

/// Dumps a counting container and restores it: the count at the dump, and a later one.
pub(super) fn across(
    t: &Trial,
    c: &Container<'_>,
    (at_dump, at_restore): (&[&str], &[&str]),
) -> Check<(u64, u64)> {
    checkpoint(t, c, at_dump)?;
    let before = count(c);
    std::thread::sleep(Duration::from_millis(200));
    equal("the count of nobody", &count(c), &before)?;
    restore(t, c, at_restore)?;
    t.until("the count", || count(c) > before)?;
    let after = count(c);
    ensure(after < before + 100, format!("the count has begun again: {before}, {after}"))?;
    Ok((before, after))
}
