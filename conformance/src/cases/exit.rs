//! Exit codes, `run` in both forms, and executables that cannot be run.

use std::time::Duration;

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

use crate::case::{Case, Need};
use crate::failure::{Check, ensure};
use crate::trial::Trial;
use crate::value::contains;

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("exit/zero", "convention: run ends with the status of the program", |t| {
        t.bundle().ops(&["exit=0"]).run()?.code(0).map(drop)
    }),
    Case::new("exit/status", "convention: run ends with the status of the program", |t| {
        for status in ["1", "42", "255"] {
            t.bundle().ops(&[&format!("exit={status}")]).run()?.code(status.parse()?)?;
        }
        Ok(())
    }),
    Case::new("exit/signal", "convention: 128 and the number of the signal", |t| {
        let mut bundle = t.bundle().ops(&["echo=up", "sleep"]);
        let id = bundle.id().to_owned();
        let running = bundle.call("run", &[])?.spawn()?;
        t.until("the program runs", || running.stdout().contains("up"))?;
        t.run(&["kill", &id, "KILL"])?.ok()?;
        running.wait()?.code(137).map(drop)
    }),
    Case::new("exit/own-signal", "convention: 128 and the number of the signal", |t| {
        t.bundle().without_namespace("pid").ops(&["kill=10"]).run()?.code(138).map(drop)
    })
    .needs(&[Need::Root]),
    Case::new("exit/run-failure", "convention: 1 when run fails itself", |t| {
        t.bundle().args(&["/missing"]).run()?.code(1).map(drop)
    }),
    Case::new("exit/create-failure", "convention: 1 when create fails", |t| {
        let mut bundle = t.bundle().raw("{");
        bundle.call("create", &[])?.run()?.code(1).map(drop)
    }),
    Case::new("exit/exec-status", "convention: exec ends with the status of the program", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        c.exec(&[], &["/probe", "exit=9"])?.code(9)?;
        c.exec(&[], &["/probe", "kill=15"])?.code(143)?;
        c.exec(&[], &["/probe", "kill=9"])?.code(137).map(drop)
    }),
    Case::new("exit/exec-failure", "convention: 255 when exec fails itself", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        c.exec(&[], &["/missing"])?.code(255)?.fails_with("no such file or directory")?;
        c.exec(&[], &["missing"])?
            .code(255)?
            .fails_with("executable file not found in $PATH")
            .map(drop)
    }),
    Case::new("exit/exec-missing-container", "convention: 255 when exec fails itself", |t| {
        t.run(&["exec", &t.id(), "/probe"])?.code(255)?.fails_with("does not exist").map(drop)
    }),
    Case::new("exit/unknown-option", "an unknown option is an error", |t| {
        t.run(&["state", "--no-such-option", &t.id()])?.fails().map(drop)
    }),
    Case::new("exit/unknown-command", "an unknown command is an error", |t| {
        t.run(&["no-such-command"])?.fails().map(drop)
    }),
    Case::new("exit/missing-argument", "create without an id is an error", |t| {
        t.run(&["create"])?.fails().map(drop)
    }),
    Case::new("exit/missing-bundle", "create: the bundle must exist", |t| {
        t.run(&["create", "--bundle", "/no/such/bundle", &t.id()])?
            .code(1)?
            .fails_with("no such file or directory")
            .map(drop)
    })
    .rows(&["create"]),
    Case::new("run/detach", "convention: run --detach returns while the program runs", |t| {
        let mut bundle = t.bundle().ops(&["sleep"]);
        let output = bundle.call("run", &["--detach"])?.run()?;
        bundle.adopt(output)?.is("running")
    }),
    Case::new("run/keep", "convention: run --keep leaves the stopped container", |t| {
        let mut bundle = t.bundle().ops(&["exit=6"]);
        let id = bundle.id().to_owned();
        let output = bundle.call("run", &["--keep"])?.run()?.code(6);
        t.live(&id);
        output?;
        contains("state", &t.run(&["state", &id])?.ok()?.stdout, "stopped")
    }),
    Case::new("run/forwards-signals", "convention: run passes signals on", |t| {
        let mut bundle = t.bundle().ops(&["term=5"]);
        let running = bundle.call("run", &[])?.spawn()?;
        t.until("the program waits", || running.stdout().contains("ready"))?;
        kill(Pid::from_raw(i32::try_from(running.pid())?), Signal::SIGTERM)?;
        running.wait()?.code(5).map(drop)
    }),
    Case::new("run/quick-exit", "run never misses the end of a short program", |t| {
        for _ in 0..20 {
            t.bundle()
                .ops(&["exit=0"])
                .call("run", &[])?
                .limit(Duration::from_secs(5))
                .run()?
                .ok()?;
        }
        Ok(())
    }),
    Case::new(
        "run/bundle-is-cwd",
        "convention: the bundle defaults to the working directory",
        |t| {
            let mut bundle = t.bundle().ops(&["exit=3"]);
            bundle.write()?;
            t.call(&["run", bundle.id()]).cwd(&bundle.dir).run()?.code(3).map(drop)
        },
    ),
    Case::new("run/bundle-relative", "a relative bundle path", |t| {
        let mut bundle = t.bundle().ops(&["exit=3"]);
        bundle.write()?;
        let name = bundle.dir.file_name().unwrap_or_default().to_string_lossy().into_owned();
        t.call(&["run", "-b", &name, bundle.id()]).cwd(t.dir()).run()?.code(3).map(drop)
    }),
    Case::new("exe/not-in-path", "the error of create, in the words engines look for", |t| {
        t.bundle()
            .args(&["no-such-program"])
            .refused("executable file not found in $PATH")
            .map(drop)
    })
    .rows(&["create", "process.args"]),
    Case::new("exe/missing", "the error of create, in the words engines look for", |t| {
        t.bundle().args(&["/no/such/program"]).refused("no such file or directory").map(drop)
    })
    .rows(&["create", "process.args"]),
    Case::new("exe/directory", "the error of create, in the words engines look for", |t| {
        let output = t.bundle().args(&["/etc"]).refused("")?;
        let text = output.stderr.to_lowercase();
        ensure(text.contains("is a directory") || text.contains("permission denied"), text)
    })
    .rows(&["create", "process.args"]),
    Case::new("exe/not-executable", "the error of create, in the words engines look for", |t| {
        t.bundle().file("etc/data", "x").args(&["/etc/data"]).refused("permission denied").map(drop)
    })
    .rows(&["create", "process.args"]),
    Case::new("exe/not-executable-in-path", "a file without x is passed over in the PATH", |t| {
        let bundle = t.bundle().file("usr/local/bin/tool", "x");
        std::fs::copy(t.probe(), bundle.rootfs("bin/tool"))?;
        bundle.args(&["tool", "exit=8"]).run()?.code(8).map(drop)
    }),
    Case::new("exe/path-through-file", "a component of the path is a file", |t| {
        let output = t.bundle().file("etc/data", "x").args(&["/etc/data/tool"]).refused("")?;
        contains("error", &output.stderr.to_lowercase(), "not a directory")
    }),
    Case::new("exe/wrong-format", "an unknown file format fails at start", wrong_format),
    Case::new("exe/script", "a script with an interpreter of the image", |t| {
        t.bundle()
            .file("run.sh", "#!/probe echo=script\n")
            .mode("run.sh", 0o755)
            .args(&["/run.sh"])
            .run()?
            .ok()
            .and_then(|output| contains("output", &output.stdout, "script"))
    }),
    Case::new("exe/shell", "a shell with a pipe, a variable and a status", |t| {
        let script = "n=$((1 + 2)); echo one two | { read -r a b; echo $b-$n; }; exit 5";
        let output = t.bundle().shell(script).run()?.code(5)?;
        contains("output", &output.stdout, "two-3")
    })
    .needs(&[Need::Busybox]),
    Case::new("exe/shell-traps", "a shell as pid 1 that handles a signal", |t| {
        let script = "trap 'echo caught; exit 6' TERM; echo ready; while :; do sleep 0.05; done";
        let mut bundle = t.bundle().shell(script);
        let id = bundle.id().to_owned();
        let running = bundle.call("run", &[])?.spawn()?;
        t.until("the shell waits", || running.stdout().contains("ready"))?;
        t.run(&["kill", &id, "TERM"])?.ok()?;
        contains("output", &running.wait()?.code(6)?.stdout, "caught")
    })
    .needs(&[Need::Busybox]),
    Case::new("exe/dangling-link", "a link to nothing", |t| {
        t.bundle()
            .link("tool", "/nowhere")
            .args(&["/tool"])
            .refused("no such file or directory")
            .map(drop)
    }),
    Case::new("exe/long-arguments", "arguments of 100 KiB arrive", |t| {
        let long = format!("echo={}", "x".repeat(100_000));
        let output = t.bundle().ops(&[&long]).run()?.ok()?;
        ensure(output.stdout.trim().len() == 100_000, "the argument is cut")
    }),
];

fn wrong_format(t: &Trial) -> Check {
    let bundle = t.bundle().file("data", "not a program").mode("data", 0o755).args(&["/data"]);
    let c = bundle.create()?;
    c.start()?.code(1)?.fails_with("exec format error").map(drop)
}
