//! Open files that reach the container.

use std::fs;

use serde_json::{Value, json};

use crate::bundle::Answers;
use crate::call::Output;
use crate::case::Case;
use crate::failure::{Check, ensure};
use crate::trial::Trial;
use crate::value::{contains, equal, strings};

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("fds/only-three", "runtime-linux.md#file-descriptors: 0, 1 and 2 only", |t| {
        equal("descriptors", &numbers(&t.bundle().report()?), &["0", "1", "2"])
    })
    .rows(&["file descriptors"]),
    Case::new(
        "fds/not-inherited",
        "runtime-linux.md#file-descriptors: none of the caller's",
        |t| {
            let report = with_files(t, &[], &[])?;
            equal("descriptors", &numbers(&report), &["0", "1", "2"])
        },
    )
    .rows(&["file descriptors"]),
    Case::new("fds/exec-not-inherited", "none of the caller's in exec either", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let file = marked(t)?;
        let call = t.call(&["exec", &c.id, "/probe", "report"]);
        let output = call.shell(format!("exec 3<{file} 7<{file}")).run()?.ok()?;
        let report = Answers::of(&output.stdout)?.value("report")?;
        equal("descriptors", &numbers(&report), &["0", "1", "2"])
    })
    .rows(&["file descriptors"]),
    Case::new("fds/preserve", "convention: --preserve-fds passes 3 and up", |t| {
        let file = marked(t)?;
        let mut bundle = t.bundle().ops(&["report", "readfd=3"]);
        let call = bundle.call("run", &["--preserve-fds", "1"])?;
        let output = call.shell(format!("exec 3<{file} 4<{file}")).run()?.ok()?;
        let answers = Answers::of(&output.stdout)?;
        equal("content", &answers.value("readfd=3")?, &json!("mark"))?;
        equal("descriptors", &numbers(&answers.value("report")?), &["0", "1", "2", "3"])
    })
    .rows(&["file descriptors"]),
    Case::new("fds/preserve-missing", "convention: --preserve-fds of a closed one fails", |t| {
        let mut bundle = t.bundle().ops(&["exit=0"]);
        let call = bundle.call("run", &["--preserve-fds", "3"])?;
        call.shell("exec 3<&- 4<&- 5<&-").run()?.fails().map(drop)
    }),
    Case::new("fds/preserve-gaps", "convention: podman --preserve-fd leaves gaps below", |t| {
        let file = marked(t)?;
        let mut bundle = t.bundle().ops(&["report", "readfd=6"]);
        let call = bundle.call("run", &["--preserve-fds", "4"])?;
        let output = call.shell(format!("exec 3<&- 4<&- 5<&- 6<{file}")).run()?.ok()?;
        let answers = Answers::of(&output.stdout)?;
        equal("content", &answers.value("readfd=6")?, &json!("mark"))?;
        equal("descriptors", &numbers(&answers.value("report")?), &["0", "1", "2", "6"])
    })
    .rows(&["file descriptors"]),
    Case::new("fds/preserve-exec", "convention: --preserve-fds of exec", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let file = marked(t)?;
        let call = t.call(&["exec", "--preserve-fds", "1", &c.id, "/probe", "readfd=3"]);
        let output = call.shell(format!("exec 3<{file}")).run()?.ok()?;
        equal("content", &Answers::of(&output.stdout)?.value("readfd=3")?, &json!("mark"))
    }),
    Case::new("fds/preserve-far", "convention: podman --preserve-fd 63 leaves a wide gap", |t| {
        let mut bundle = t.bundle().ops(&["report", "readfd=63"]);
        let call = bundle.call("run", &["--preserve-fds", "61"])?;
        only_63(&call.shell(far(t)?).run()?.ok()?)
    })
    .rows(&["file descriptors"]),
    Case::new("fds/preserve-far-exec", "convention: podman exec --preserve-fd 63", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let call = ["exec", "--preserve-fds", "61", &c.id, "/probe", "report", "readfd=63"];
        only_63(&t.call(&call).shell(far(t)?).run()?.ok()?)
    })
    .rows(&["file descriptors"]),
    Case::new("fds/preserve-far-created", "before start the gap holds no file of the host", |t| {
        let source = t.path("source");
        fs::create_dir(&source)?;
        let bundle = t.bundle().directory("volume").bind(&source, "/volume", &["bind"]);
        let mut bundle = bundle.ops(&["report", "readfd=63"]);
        let call = bundle.call("create", &["--preserve-fds", "61"])?;
        let c = bundle.adopt(call.shell(far(t)?).run()?)?;
        for entry in fs::read_dir(format!("/proc/{}/fd", c.pid()?))? {
            let path = entry?.path();
            let number = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if ["0", "1", "2", "63"].contains(&number.as_str()) {
                continue;
            }
            // What the runtime waits on is none.
            let kind = fs::metadata(&path)?.file_type();
            let named = fs::read_link(&path)?;
            ensure(!kind.is_dir() && !kind.is_file(), format!("{number} is {}", named.display()))?;
        }
        c.start()?.ok()?;
        let answers = c.answers(2)?;
        equal("descriptors", &numbers(&answers.value("report")?), &["0", "1", "2", "63"])
    })
    .rows(&["file descriptors"]),
    Case::new("fds/listen", "sd_listen_fds(3): LISTEN_FDS=n, LISTEN_PID=1", |t| {
        let report = with_files(t, &[("LISTEN_FDS", "2")], &[])?;
        equal("descriptors", &numbers(&report), &["0", "1", "2", "3", "4"])?;
        let env = strings(&report, "/env")?.join("\n");
        contains("env", &env, "LISTEN_FDS=2")?;
        contains("env", &env, "LISTEN_PID=1")
    })
    .rows(&["LISTEN_FDS"]),
    Case::new("fds/stdio-closed", "the caller's closed streams do not break anything", |t| {
        let mut bundle = t.bundle().ops(&["create=/ran", "exit=3"]);
        let ran = bundle.rootfs("ran");
        bundle.call("run", &[])?.shell("exec <&- >&-").run()?.code(3)?;
        ensure(ran.exists(), "the program did not run")
    }),
    Case::new("fds/stdin-closed-leak", "a closed stream never becomes a runtime's file", |t| {
        let mut bundle = t.bundle().ops(&["report"]);
        let output = bundle.call("run", &[])?.shell("exec <&-").run()?.ok()?;
        let report = Answers::of(&output.stdout)?.value("report")?;
        for (number, target) in report["fds"].as_object().into_iter().flatten() {
            let target = target.as_str().unwrap_or_default();
            let fine = target.starts_with("/dev/null")
                || target.contains("out.")
                || target.contains("err.");
            ensure(fine, format!("descriptor {number} is {target}"))?;
        }
        Ok(())
    }),
];

/// `run` with descriptors 3 and 4 open in the caller.
fn with_files(t: &Trial, env: &[(&str, &str)], options: &[&str]) -> Check<Value> {
    let file = marked(t)?;
    let mut bundle = t.bundle().ops(&["report"]);
    // exec keeps the pid of the shell.
    let exports: String =
        env.iter().map(|(key, value)| format!("export {key}={value}; ")).collect();
    let call = bundle
        .call("run", options)?
        .shell(format!("{exports}export LISTEN_PID=$$; exec 3<{file} 4<{file}"));
    Answers::of(&call.run()?.ok()?.stdout)?.value("report")
}

/// Shell text that opens a file as 63 and closes all from 3 on below it.
fn far(t: &Trial) -> Check<String> {
    // The plain shell knows numbers of one digit only.
    let bash = "exec 63<&9; for fd in {3..62}; do eval \"exec $fd<&-\"; done; exec \"$@\"";
    Ok(format!("exec 9<{}; set -- /bin/bash -c '{bash}' bash \"$@\"", marked(t)?))
}

fn only_63(output: &Output) -> Check {
    let answers = Answers::of(&output.stdout)?;
    equal("content", &answers.value("readfd=63")?, &json!("mark"))?;
    equal("descriptors", &numbers(&answers.value("report")?), &["0", "1", "2", "63"])
}

fn marked(t: &Trial) -> Check<String> {
    let path = t.new_path("marked");
    fs::write(&path, "mark")?;
    Ok(path.display().to_string())
}

fn numbers(report: &Value) -> Vec<String> {
    let mut list: Vec<String> =
        report["fds"].as_object().into_iter().flatten().map(|(number, _)| number.clone()).collect();
    list.sort();
    list
}
