//! Logs, pid files, terminals and what `--version`, `features` and `spec` print.

use std::fs;
use std::io::Read;

use nix::pty::{Winsize, openpty};
use serde_json::{Value, json};

use crate::bundle::Answers;
use crate::case::{Case, Need};
use crate::console::Console;
use crate::failure::{Check, broken, ensure};
use crate::trial::Trial;
use crate::value::{contains, equal, text};

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("log/json", "engines read JSON records with level, msg and time", |t| {
        let records = failing_log(t, &["state", &t.id()])?;
        equal("error records", &records.len(), &1)?;
        for key in ["/msg", "/time", "/level"] {
            text(&records[0], key)?;
        }
        contains("msg", text(&records[0], "/msg")?, "does not exist")
    }),
    Case::new("log/json-create", "exactly one error record for a failed create", |t| {
        let mut bundle = t.bundle().args(&["/no/such/program"]);
        let log = t.new_path("log");
        let call = bundle.call("create", &[])?;
        call.globals(["--log", &log.to_string_lossy(), "--log-format", "json"]).run()?.code(1)?;
        let records = errors(&fs::read_to_string(&log)?)?;
        equal("error records", &records.len(), &1)?;
        contains("msg", text(&records[0], "/msg")?, "no such file or directory")
    }),
    Case::new("log/json-appends", "a log file is appended to, record by record", |t| {
        let log = t.new_path("log");
        for _ in 0..2 {
            let call = t.call(&["state", &t.id()]);
            call.globals(["--log", &log.to_string_lossy(), "--log-format", "json"])
                .run()?
                .code(1)?;
        }
        equal("error records", &errors(&fs::read_to_string(&log)?)?.len(), &2)
    }),
    Case::new("log/json-one-line", "a record is one line", |t| {
        let log = t.new_path("log");
        let call = t.call(&["state", &t.id()]);
        call.globals(["--log", &log.to_string_lossy(), "--log-format=json"]).run()?.code(1)?;
        let content = fs::read_to_string(&log)?;
        for line in content.lines() {
            serde_json::from_str::<Value>(line)?;
        }
        Ok(())
    }),
    Case::new("log/time", "time is RFC 3339", |t| {
        let records = failing_log(t, &["state", &t.id()])?;
        let time = text(&records[0], "/time")?;
        ensure(time.len() >= 20 && time.contains('T'), format!("time {time}"))
    }),
    Case::new("log/stderr-too", "the error goes to standard error as well", |t| {
        let log = t.new_path("log");
        let call = t.call(&["state", &t.id()]);
        let output = call.globals(["--log", &log.to_string_lossy()]).run()?.code(1)?;
        contains("standard error", &output.stderr, "does not exist")
    }),
    Case::new("log/text", "the text form holds the message", |t| {
        let log = t.new_path("log");
        let call = t.call(&["state", &t.id()]);
        call.globals(["--log", &log.to_string_lossy(), "--log-format", "text"]).run()?.code(1)?;
        contains("log", &fs::read_to_string(&log)?, "does not exist")
    }),
    Case::new("log/bad-format", "an unknown log format is an error", |t| {
        t.call(&["list"]).globals(["--log-format", "xml"]).run()?.fails().map(drop)
    }),
    Case::new("log/quiet-success", "nothing on standard error when all is well", |t| {
        let output = t.bundle().ops(&["exit=3"]).run()?.code(3)?;
        equal("standard error", output.stderr.trim(), "")
    }),
    Case::new("log/global-options-repeat", "engines repeat global options: the last wins", |t| {
        let call = t.call(&["list", "--format", "json"]);
        call.globals(["--root", &t.state_root().to_string_lossy()]).run()?.ok().map(drop)
    }),
    Case::new("pid-file/create", "convention: the host pid, written before create returns", |t| {
        let file = t.new_path("pid");
        let c =
            t.bundle().ops(&["sleep"]).option(&["--pid-file", &file.to_string_lossy()]).create()?;
        equal("pid file", &fs::read_to_string(&file)?, &c.pid()?.to_string())?;
        let left = fs::read_dir(t.dir())?
            .flatten()
            .filter(|entry| entry.file_name().to_string_lossy().starts_with('.'))
            .count();
        equal("temporary files", &left, &0)
    }),
    Case::new("pid-file/exec", "convention: the pid of the process in the host", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let file = t.new_path("pid");
        c.exec(&["--detach", "--pid-file", &file.to_string_lossy()], &["/probe", "sleep"])?.ok()?;
        let pid = fs::read_to_string(&file)?;
        ensure(
            fs::read_link(format!("/proc/{pid}/ns/pid"))?
                == fs::read_link(format!("/proc/{}/ns/pid", c.pid()?))?,
            "another pid namespace",
        )
    }),
    Case::new("pid-file/failure", "no pid file when create fails", |t| {
        let file = t.new_path("pid");
        t.bundle()
            .args(&["/missing"])
            .option(&["--pid-file", &file.to_string_lossy()])
            .refused("missing")?;
        ensure(!file.exists(), "the pid file exists")
    }),
    Case::new("console/socket", "convention: one message with the master of a terminal", |t| {
        let console = Console::listen(t, "")?;
        let c = with_console(t, &console, &["report"])?;
        c.start()?.ok()?;
        let got = console.finish()?;
        equal("descriptors", &got["descriptors"], &json!(1))?;
        equal("terminal", &got["terminal"], &json!(true))?;
        ensure(!text(&got, "/payload")?.is_empty(), "the message is empty")?;
        let report = Answers::of(text(&got, "/output")?)?.value("report")?;
        equal("standard input", text(&report, "/tty/names/0")?, "/dev/pts/0")?;
        let stat = text(&report, "/stat")?;
        let tty = stat.rsplit(')').next().unwrap_or("").split_whitespace().nth(4).unwrap_or("");
        ensure(tty != "0", "no controlling terminal")
    })
    .rows(&["process.terminal"]),
    Case::new("console/size", "config.md#process: consoleSize", |t| {
        let console = Console::listen(t, "")?;
        let bundle = t
            .bundle()
            .set("/process/terminal", true)
            .ops(&["report"])
            .set("/process/consoleSize", json!({ "height": 33, "width": 121 }))
            .option(&["--console-socket", &console.argument()]);
        bundle.create()?.start()?.ok()?;
        let got = console.finish()?;
        equal("size", &got["size"], &json!([33, 121]))
    })
    .rows(&["process.terminal"]),
    Case::new(
        "console/dev-console",
        "runtime-linux.md#devices: /dev/console for a terminal",
        |t| {
            let console = Console::listen(t, "")?;
            let c = with_console(t, &console, &["stat=/dev/console"])?;
            c.start()?.ok()?;
            let got = console.finish()?;
            let node = Answers::of(text(&got, "/output")?)?.value("stat=/dev/console")?;
            equal("kind", text(&node, "/kind")?, "char")?;
            ensure(text(&node, "/rdev")?.starts_with("136:"), format!("{node}"))
        },
    )
    .rows(&["default devices"]),
    Case::new("console/input", "what is typed arrives", |t| {
        let console = Console::listen(t, "hello\n\x04")?;
        let c = with_console(t, &console, &["stdin"])?;
        c.start()?.ok()?;
        let got = console.finish()?;
        contains("output", text(&got, "/output")?, r#""ok":"hello"#)
    }),
    Case::new("console/exec", "exec --tty sends its own terminal", |t| {
        let c = t.bundle().ops(&["sleep"]).start()?;
        let console = Console::listen(t, "")?;
        c.exec(
            &["--tty", "--detach", "--console-socket", &console.argument()],
            &["/probe", "report"],
        )?
        .ok()?;
        let got = console.finish()?;
        equal("terminal", &got["terminal"], &json!(true))?;
        let report = Answers::of(text(&got, "/output")?)?.value("report")?;
        contains("standard input", text(&report, "/tty/names/0")?, "/dev/pts/")
    }),
    Case::new("console/needed", "a terminal and create need a console socket", |t| {
        t.bundle().set("/process/terminal", true).refused("console socket").map(drop)
    }),
    Case::new("console/not-wanted", "a console socket without a terminal is an error", |t| {
        let console = Console::listen(t, "")?;
        t.bundle()
            .option(&["--console-socket", &console.argument()])
            .refused("console socket")
            .map(drop)
    }),
    Case::new("console/socket-missing", "nobody listens: an error, not a hang", |t| {
        t.bundle()
            .set("/process/terminal", true)
            .option(&["--console-socket", "/no/such/socket"])
            .refused("no such file|connect|console|socket")
            .map(drop)
    }),
    Case::new("console/foreground", "run passes the caller's terminal on", foreground),
    Case::new("console/foreground-no-terminal", "run with a terminal needs one", |t| {
        // Its own standard input is no terminal: refused, or run without a hang.
        t.bundle().set("/process/terminal", true).ran_or_refused()
    }),
    Case::new("version/lines", "engines read `NAME version X` and `spec: Y`", |t| {
        let output = t.run(&["--version"])?.ok()?;
        let first = output.stdout.lines().next().unwrap_or_default();
        contains("first line", first, " version ")?;
        contains("output", &output.stdout, "spec: 1.")
    }),
    Case::new(
        "features/document",
        "features.md: versions, hooks, mount options, namespaces",
        |t| {
            let output = t.run(&["features"])?.ok()?;
            equal("standard error", output.stderr.trim(), "")?;
            let doc = output.json()?;
            ensure(text(&doc, "/ociVersionMin")?.starts_with("1."), "ociVersionMin")?;
            for pointer in ["/hooks", "/mountOptions", "/linux/namespaces", "/linux/capabilities"] {
                let count = doc.pointer(pointer).and_then(Value::as_array).map_or(0, Vec::len);
                ensure(count > 3, format!("{pointer} has {count} entries"))?;
            }
            ensure(doc.pointer("/linux/seccomp/enabled").is_some(), "no linux.seccomp.enabled")
        },
    )
    .rows(&["features"]),
    Case::new("spec/runs", "convention: spec writes a configuration that runs", |t| {
        let bundle = t.bundle();
        let args: &[&str] = if t.host.root { &["spec"] } else { &["spec", "--rootless"] };
        t.call(args).cwd(&bundle.dir).run()?.ok()?;
        let mut config: Value = serde_json::from_slice(&fs::read(bundle.dir.join("config.json"))?)?;
        crate::value::set(&mut config, "/process/args", json!(["/probe", "exit=4"]));
        crate::value::set(&mut config, "/process/terminal", json!(false));
        bundle.raw(config.to_string()).run()?.code(4).map(drop)
    }),
    Case::new("spec/no-overwrite", "convention: spec does not overwrite", |t| {
        let mut bundle = t.bundle();
        bundle.write()?;
        t.call(&["spec"]).cwd(&bundle.dir).run()?.fails().map(drop)
    }),
    Case::new("help/commands", "every command explains itself with status 0", |t| {
        for command in ["create", "start", "state", "kill", "delete", "exec", "run"] {
            t.run(&[command, "--help"])?.ok()?;
        }
        t.run(&["--help"])?.ok().map(drop)
    }),
    Case::new("help/checkpoint", "convention: podman asks checkpoint for its help", |t| {
        t.run(&["checkpoint", "--help"])?.ok().map(drop)
    })
    .needs(&[Need::Command("checkpoint")]),
];

fn with_console<'t>(
    t: &'t Trial,
    console: &Console<'_>,
    ops: &[&str],
) -> Check<crate::container::Container<'t>> {
    t.bundle()
        .set("/process/terminal", true)
        .ops(ops)
        .option(&["--console-socket", &console.argument()])
        .create()
}

fn failing_log(t: &Trial, args: &[&str]) -> Check<Vec<Value>> {
    let log = t.new_path("log");
    t.call(args)
        .globals(["--log", &log.to_string_lossy(), "--log-format", "json"])
        .run()?
        .code(1)?;
    errors(&fs::read_to_string(&log)?)
}

/// The error records of a stream of JSON objects.
fn errors(content: &str) -> Check<Vec<Value>> {
    let stream = serde_json::Deserializer::from_str(content).into_iter::<Value>();
    let records: Vec<Value> = stream.collect::<Result<_, _>>()?;
    let list: Vec<Value> =
        records.into_iter().filter(|record| record["level"] == json!("error")).collect();
    if list.is_empty() { broken("no error record in the log") } else { Ok(list) }
}

fn foreground(t: &Trial) -> Check {
    let size = Winsize { ws_row: 24, ws_col: 80, ws_xpixel: 0, ws_ypixel: 0 };
    let pair = openpty(Some(&size), None)?;
    let mut bundle = t.bundle().set("/process/terminal", true).ops(&["report", "exit=7"]);
    let call = bundle.call("run", &[])?.terminal(pair.slave.try_clone()?, pair.slave);
    let mut master = fs::File::from(pair.master);
    let reader = std::thread::spawn(move || {
        let mut bytes = Vec::new();
        let _ = master.read_to_end(&mut bytes);
        String::from_utf8_lossy(&bytes).into_owned()
    });
    call.run()?.code(7)?;
    let output = reader.join().map_err(|_| "the reader died")?;
    let report = Answers::of(&output)?.value("report")?;
    contains("standard input", text(&report, "/tty/names/0")?, "/dev/pts/")
}
