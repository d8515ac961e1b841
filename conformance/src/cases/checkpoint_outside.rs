//! `checkpoint` and `restore`: what a container has to do with the host, and what goes wrong.

use std::fs;
use std::io::Read;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde_json::{Value, json};

use super::checkpoint::{
    COUNT, NEEDS, PATIENCE, across, checkpoint, count, dump, images, restore, revive, start,
};
use crate::case::{Case, Need};
use crate::failure::{Check, ensure};
use crate::leftovers;
use crate::trial::Trial;
use crate::value::{contains, equal};

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("checkpoint/joined-network", "a joined network namespace is the same again", |t| {
        joins(t, &["network"])
    })
    .needs(NEEDS),
    Case::new("checkpoint/joined-ipc-uts", "joined ipc and uts namespaces are too", |t| {
        joins(t, &["ipc", "uts"])
    })
    .needs(NEEDS),
    Case::new("checkpoint/without-cgroup-namespace", "mounts of the host's cgroups", |t| {
        let c = start(t, t.bundle().without_namespace("cgroup").shell(COUNT))?;
        across(t, &c, (&[], &[]))?;
        let shown = c.exec(&[], &["/bin/busybox", "cat", "/proc/1/cgroup"])?.ok()?;
        contains("cgroup", &shown.stdout, &t.host.cgroup_of(&c.id))
    })
    .needs(NEEDS),
    Case::new("checkpoint/user-namespace", "a container with ids of its own", |t| {
        let mut bundle = t.bundle().user_namespace().directory("/var").shell(COUNT);
        bundle.write()?;
        give(&bundle.rootfs("/"), 200_000)?;
        let c = start(t, bundle)?;
        across(t, &c, (&[], &[]))?;
        equal("owner", &fs::metadata(format!("/proc/{}", c.pid()?))?.uid(), &200_000)?;
        let report = c.exec_probe(&[], &["report"])?.value("report")?;
        equal("uid", &report.pointer("/uid/0"), &Some(&json!(0)))
    })
    .needs(&[
        Need::Root,
        Need::Busybox,
        Need::Command("checkpoint"),
        Need::Criu,
        Need::UserNamespace,
        Need::MappedMounts,
    ]),
    Case::new("checkpoint/loopback", "convention: a new network namespace has lo up", |t| {
        let c = start(t, t.bundle().shell(COUNT))?;
        let flags = || {
            let shown = c.exec(&[], &["/bin/busybox", "cat", "/sys/class/net/lo/flags"])?.ok()?;
            Ok::<_, crate::failure::Failure>(shown.stdout.trim().to_owned())
        };
        equal("before", &flags()?, &"0x9".to_owned())?;
        across(t, &c, (&[], &[]))?;
        equal("after", &flags()?, &"0x9".to_owned())
    })
    .needs(NEEDS),
    Case::new("checkpoint/tcp", "convention: connections need --tcp-established", |t| {
        let c = start(t, t.bundle().ops(&["talk=/heard"]))?;
        let heard = || read_number(&c.bundle.join("rootfs/heard"));
        t.until("the connection", || heard() > 0)?;
        dump(&c, &[])?.fails()?;
        c.is("running")?;
        let before = heard();
        t.until("the connection to go on", || heard() > before)?;
        checkpoint(t, &c, &["--tcp-established"])?;
        let before = heard();
        restore(t, &c, &["--tcp-established"])?;
        t.until("the connection to go on", || heard() > before)
    })
    .needs(NEEDS),
    Case::new("checkpoint/log-lines", "an error has the lines of criu's log that say why", |t| {
        let c = start(t, t.bundle().ops(&["talk=/heard"]))?;
        let heard = || read_number(&c.bundle.join("rootfs/heard"));
        t.until("the connection", || heard() > 0)?;
        let work = t.new_path("work");
        let output =
            dump(&c, &["--work-path", &work.to_string_lossy()])?.fails_with("criu failed")?;
        contains("the error", &output.stderr, &work.join("dump.log").to_string_lossy())?;
        contains("the error", &output.stderr, "tcp-established")
    })
    .needs(NEEDS),
    Case::new("checkpoint/pipes", "convention: pipes of the new call take the place", |t| {
        let script = "while read line; do echo heard $line; done; exit 0";
        let mut bundle = t.bundle().shell(script);
        let first = Pipes::new()?;
        let call = bundle.call("run", &["--detach"])?.shell("exec 2>/dev/null");
        let output = call.terminal(first.input.try_clone()?, first.output.try_clone()?).run()?;
        let c = bundle.adopt(output)?;
        first.say("one")?;
        equal("the first output", &first.hears()?, &"heard one\n".to_owned())?;
        checkpoint(t, &c, &[])?;
        let second = Pipes::new()?;
        let images = images(&c);
        let directory = c.bundle.to_string_lossy().into_owned();
        let words = ["restore", "--detach", "--bundle", &*directory, "--image-path", &*images];
        let call = c.call(&words).shell("exec 2>/dev/null").limit(PATIENCE);
        t.live(&c.id);
        call.terminal(second.input.try_clone()?, second.output.try_clone()?).run()?.ok()?;
        second.say("two")?;
        equal("the second output", &second.hears()?, &"heard two\n".to_owned())
    })
    .needs(NEEDS),
    Case::new("checkpoint/host-files", "streams that are files of the host are taken over", |t| {
        let (first, second) = (t.new_path("first"), t.new_path("second"));
        let script = format!(
            "echo begun; while [ ! -e /go ]; do /bin/busybox sleep 0.05; done; \
                              echo ended; {COUNT}"
        );
        let mut bundle = t.bundle().shell(&script);
        let to = |path: &Path| format!("exec >>{} 2>/dev/null", path.display());
        let output = bundle.call("run", &["--detach"])?.shell(to(&first)).run()?;
        let c = bundle.adopt(output)?;
        t.until("output", || fs::read_to_string(&first).is_ok_and(|text| text == "begun\n"))?;
        checkpoint(t, &c, &[])?;
        // The images alone open no file of the host.
        revive(&c, &[])?.fails_with("stream 1 was a file of the host")?;
        let directory = c.bundle.to_string_lossy().into_owned();
        let images = images(&c);
        let words = ["restore", "--detach", "--bundle", &*directory, "--image-path", &*images];
        t.live(&c.id);
        c.call(&words).shell(to(&second)).limit(PATIENCE).run()?.ok()?;
        fs::write(c.bundle.join("rootfs/go"), "")?;
        t.until("output", || fs::read_to_string(&second).is_ok_and(|text| text == "ended\n"))
    })
    .needs(NEEDS),
    Case::new("checkpoint/hooks", "convention: prestart and createRuntime hooks run again", |t| {
        let record = t.new_path("record");
        let mut bundle = t.bundle().shell(COUNT);
        for kind in ["prestart", "createRuntime", "poststop"] {
            let line = format!("echo {kind} $(cat) >>{}", record.display());
            bundle = bundle.hook(kind, hook(&line));
        }
        let c = start(t, bundle)?;
        let kinds = || -> Check<Vec<String>> {
            let text = fs::read_to_string(&record)?;
            let kinds = text.lines().filter_map(|line| line.split(' ').next());
            Ok(kinds.map(str::to_owned).collect())
        };
        checkpoint(t, &c, &[])?;
        equal(
            "hooks",
            &kinds()?,
            &["prestart", "createRuntime", "poststop"].map(str::to_owned).to_vec(),
        )?;
        fs::remove_file(&record)?;
        restore(t, &c, &[])?;
        equal("hooks", &kinds()?, &["prestart", "createRuntime"].map(str::to_owned).to_vec())?;
        let text = fs::read_to_string(&record)?;
        for line in text.lines() {
            let state: Value =
                serde_json::from_str(line.split_once(' ').map_or("", |pair| pair.1))?;
            equal("pid", &state.pointer("/pid"), &Some(&json!(c.pid()?)))?;
        }
        Ok(())
    })
    .needs(NEEDS),
    Case::new("checkpoint/hook-failure", "a hook that fails ends the restore, all of it", |t| {
        let bad = t.new_path("bad");
        let line =
            format!("cat >/dev/null; [ ! -e {} ] || {{ echo reason; exit 3; }}", bad.display());
        let c = start(t, t.bundle().hook("createRuntime", hook(&line)).shell(COUNT))?;
        checkpoint(t, &c, &[])?;
        fs::write(&bad, "")?;
        let before = count(&c);
        revive(&c, &[])?.fails_with("reason")?;
        c.call(&["state"]).run()?.fails_with("does not exist")?;
        t.until("the end of its processes", || {
            t.reap();
            leftovers::children(std::process::id()).is_empty()
        })?;
        equal("the count", &count(&c), &before)?;
        fs::remove_file(&bad)?;
        restore(t, &c, &[])?;
        t.until("the count", || count(&c) > before)
    })
    .needs(NEEDS),
    Case::new("checkpoint/name-taken", "restore under a name that is taken changes nothing", |t| {
        let c = start(t, t.bundle().shell(COUNT))?;
        checkpoint(t, &c, &["--leave-running"])?;
        revive(&c, &[])?.fails_with("already exists")?;
        let before = count(&c);
        c.is("running")?;
        t.until("the count", || count(&c) > before)
    })
    .needs(NEEDS),
    Case::new("checkpoint/pre-dump", "convention: --pre-dump, then --parent-path", |t| {
        let c = start(t, t.bundle().shell(COUNT))?;
        let first = c.bundle.join("first").to_string_lossy().into_owned();
        let output =
            c.call(&["checkpoint", "--pre-dump", "--image-path", &first]).limit(PATIENCE).run()?;
        let said = output.stderr.to_lowercase();
        if output.code != 0 && (said.contains("mem_track") || said.contains("missing features")) {
            return crate::failure::skip("the kernel does not track memory");
        }
        output.ok()?;
        c.is("running")?;
        let written = fs::read_dir(&first)?
            .flatten()
            .any(|entry| entry.file_name().to_string_lossy().starts_with("pages-"));
        ensure(written, "no memory was written")?;
        let (before, after) = across(t, &c, (&["--parent-path", "../first"], &[]))?;
        ensure(after > before, format!("the count was {before} and is {after}"))
    })
    .needs(NEEDS),
    Case::new("checkpoint/parent-absolute", "convention: --parent-path must be relative", |t| {
        let c = start(t, t.bundle().shell(COUNT))?;
        dump(&c, &["--parent-path", "/tmp"])?.fails_with("--parent-path must be relative")?;
        dump(&c, &["--parent-path", "../none"])?.fails_with("invalid --parent-path")?;
        c.is("running")
    })
    .needs(NEEDS),
    Case::new("checkpoint/values", "convention: a value that an option cannot have", |t| {
        let c = start(t, t.bundle().shell(COUNT))?;
        dump(&c, &["--manage-cgroups-mode", "odd"])?
            .fails_with("manage-cgroups-mode|manage cgroups mode")?;
        dump(&c, &["--page-server", "odd"])?.fails_with("--page-server ADDRESS:PORT")?;
        dump(&c, &["--empty-ns", "odd"])?.fails_with("not supported")?;
        c.is("running")
    })
    .needs(NEEDS),
    Case::new("checkpoint/cgroup-modes", "convention: --manage-cgroups-mode", |t| {
        let c = start(t, t.bundle().shell(COUNT))?;
        for mode in ["soft", "full"] {
            let mode = ["--manage-cgroups-mode", mode];
            across(t, &c, (&mode, &mode))?;
        }
        let cgroup = fs::read_to_string(format!("/proc/{}/cgroup", c.pid()?))?;
        contains("cgroup", &cgroup, &t.host.cgroup_of(&c.id))
    })
    .needs(NEEDS),
    Case::new("checkpoint/cgroup-mode-ignore", "convention: --manage-cgroups-mode ignore", |t| {
        let c = start(t, t.bundle().shell(COUNT))?;
        let mode = ["--manage-cgroups-mode", "ignore"];
        across(t, &c, (&mode, &mode))?;
        let cgroup = fs::read_to_string(format!("/proc/{}/cgroup", c.pid()?))?;
        contains("cgroup", &cgroup, &t.host.cgroup_of(&c.id))
    })
    .needs(NEEDS),
    Case::new(
        "checkpoint/without-criu",
        "a machine without criu is told from a bad checkpoint",
        |t| {
            let c = start(t, t.bundle().ops(&["sleep"]))?;
            let asked = c.call(&["checkpoint", "--image-path", &images(&c)]);
            asked.env(&[("PATH", "/nowhere")]).run()?.fails_with("criu")?;
            c.is("running")
        },
    )
    .needs(&[Need::Root, Need::Command("checkpoint")]),
];

fn hook(line: &str) -> Value {
    json!({ "path": "/bin/sh", "args": ["sh", "-c", line] })
}

fn read_number(path: &Path) -> u64 {
    fs::read_to_string(path).ok().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// A container is in namespaces of another, before and afterwards.
fn joins(t: &Trial, kinds: &[&str]) -> Check {
    let keeper = t.bundle().ops(&["sleep"]).start()?;
    let pid = keeper.pid()?;
    let file = |kind: &str| if kind == "network" { "net".to_owned() } else { kind.to_owned() };
    let mut bundle = t.bundle().remove("/hostname").shell(COUNT);
    for kind in kinds {
        bundle = bundle.join(kind, &format!("/proc/{pid}/ns/{}", file(kind)));
    }
    let c = start(t, bundle)?;
    across(t, &c, (&[], &[]))?;
    for kind in kinds {
        let link = |pid| fs::read_link(format!("/proc/{pid}/ns/{}", file(kind)));
        equal(kind, &link(c.pid()?)?, &link(pid)?)?;
    }
    Ok(())
}

/// Gives a tree to a user.
fn give(path: &Path, id: u32) -> Check {
    std::os::unix::fs::lchown(path, Some(id), Some(id))?;
    if path.symlink_metadata()?.is_dir() {
        for entry in fs::read_dir(path)? {
            give(&entry?.path(), id)?;
        }
    }
    Ok(())
}

/// Standard input and output as an engine has them.
struct Pipes {
    input: OwnedFd,
    to: OwnedFd,
    from: OwnedFd,
    output: OwnedFd,
}

impl Pipes {
    fn new() -> Check<Self> {
        let flags = nix::fcntl::OFlag::O_CLOEXEC;
        let (input, to) = nix::unistd::pipe2(flags)?;
        let (from, output) = nix::unistd::pipe2(flags)?;
        Ok(Self { input, to, from, output })
    }

    fn say(&self, line: &str) -> Check {
        nix::unistd::write(&self.to, format!("{line}\n").as_bytes())?;
        Ok(())
    }

    /// The next output.
    fn hears(&self) -> Check<String> {
        let mut buffer = [0; 256];
        let length = fs::File::from(self.from.try_clone()?).read(&mut buffer)?;
        Ok(String::from_utf8_lossy(buffer.get(..length).unwrap_or_default()).into_owned())
    }
}
