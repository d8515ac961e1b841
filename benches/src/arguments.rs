//! The command line.

use std::env;
use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::time::Duration;

use lexopt::prelude::{Long, Short, Value, ValueExt};

use crate::Outcome;
use crate::runtime::{FLOOR, Runtime};

/// Printed by --help.
pub(crate) const HELP: &str = "\
Compare OCI runtimes side by side.

usage: coracle-bench [--runtime NAME=PATH]... [--floor PATH] [--rounds N] [--rows FILTER]
                     [--shim NAME=PATH]... [--existing N] [--pause MS] [--json FILE] [--svg FILE]
                     [--markdown FILE] [--trace-syscalls] [--quick]
       coracle-bench trace --runtime NAME=PATH [--verb create|run] [--all]
       coracle-bench count -- PROGRAM [ARGUMENT]...

  --runtime NAME=PATH   a runtime to measure; default: coracle (next to this program), runc and
                        crun from PATH
  --floor PATH          the kernel floor; default: `floor` next to this program, `none` to leave out
  --shim NAME=PATH      a shim of containerd to measure, in a second table; default:
                        containerd-shim-coracle-v2 (next to this program) and
                        containerd-shim-runc-v2 from PATH
  --rounds N            measured rounds of each row (default 40)
  --rows FILTER         comma-separated parts of the names of rows: run, life, exec, existing,
                        parallel, limit, init, calls, embed, and of shims: shim-task, shim-process,
                        shim-call, shim-relay, shim-rest
  --existing N          containers present in the row `existing` (default 1000)
  --pause MS            rest between two measurements (default 100): the kernel finishes what the
                        one before left to it, and no one profits from locks that are still warm;
                        the rows of `parallel` are back to back
  --json FILE, --svg FILE, --markdown FILE
                        write the results there as well
  --trace-syscalls      with the row `calls`: a table per system call
  --quick               10 rounds, 100 existing containers
  trace                 the slowest system calls of one create and its processes; with --all every
                        call (ptrace slows each one down: compare, do not add up)
  count                 the system calls of a program and all its processes, as JSON
";

/// What to do.
#[derive(Debug)]
pub(crate) enum Action {
    Help,
    Measure(Options),
    Trace(Options),
    Count(Vec<OsString>),
    /// Stop, and after SIGCONT become this program; how a traced program is started.
    StopThenExecute(Vec<OsString>),
}

/// What to measure and how.
#[derive(Clone, Debug)]
pub(crate) struct Options {
    pub(crate) runtimes: Vec<Runtime>,
    /// Shims of containerd.
    pub(crate) shims: Vec<Runtime>,
    pub(crate) rounds: usize,
    pub(crate) rows: Vec<String>,
    /// Between two measurements.
    pub(crate) pause: Duration,
    pub(crate) existing: usize,
    pub(crate) json: Option<PathBuf>,
    pub(crate) svg: Option<PathBuf>,
    pub(crate) markdown: Option<PathBuf>,
    pub(crate) trace_system_calls: bool,
    /// The verb to trace.
    pub(crate) verb: String,
    /// Show the whole timeline.
    pub(crate) all: bool,
}

impl Options {
    /// Rounds that are not recorded.
    pub(crate) fn warm_up(&self) -> usize {
        (self.rounds / 10).clamp(1, 5)
    }

    /// True unless only rows of shims are asked for.
    pub(crate) fn wants_runtimes(&self) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|part| !part.starts_with("shim"))
    }

    /// True when the row is asked for.
    pub(crate) fn wants(&self, row: &str) -> bool {
        self.rows.is_empty() || self.rows.iter().any(|part| row.contains(part.as_str()))
    }
}

/// Reads the command line.
pub(crate) fn parse() -> Outcome<Action> {
    let mut parser = lexopt::Parser::from_env();
    let mut options = Options {
        runtimes: Vec::new(),
        shims: Vec::new(),
        rounds: 40,
        rows: Vec::new(),
        pause: Duration::from_millis(100),
        existing: 1000,
        json: None,
        svg: None,
        markdown: None,
        trace_system_calls: false,
        verb: "create".into(),
        all: false,
    };
    let (mut floor, mut trace) = (beside(FLOOR), false);
    while let Some(argument) = parser.next()? {
        match argument {
            Short('h') | Long("help") => return Ok(Action::Help),
            Value(word) if word == "trace" => trace = true,
            Value(word) if word == "count" => return Ok(Action::Count(rest(&mut parser)?)),
            Value(word) if word == "stop-then-execute" => {
                return Ok(Action::StopThenExecute(rest(&mut parser)?));
            }
            Long("floor") => floor = Some(PathBuf::from(parser.value()?)),
            Long("quick") => (options.rounds, options.existing) = (10, 100),
            Long("runtime") => {
                let text = parser.value()?.string()?;
                options.runtimes.push(runtime(&text));
            }
            Long("shim") => {
                let text = parser.value()?.string()?;
                options.shims.push(runtime(&text));
            }
            Long(name) => {
                let name = name.to_owned();
                set(&mut options, &name, &mut parser)?;
            }
            other => return Err(other.unexpected().into()),
        }
    }
    complete(&mut options, floor.filter(|_| !trace));
    Ok(if trace { Action::Trace(options) } else { Action::Measure(options) })
}

fn set(options: &mut Options, name: &str, parser: &mut lexopt::Parser) -> Outcome<()> {
    match name {
        "rounds" => options.rounds = parser.value()?.parse()?,
        "pause" => options.pause = Duration::from_millis(parser.value()?.parse()?),
        "existing" => options.existing = parser.value()?.parse()?,
        "json" => options.json = Some(parser.value()?.into()),
        "markdown" => options.markdown = Some(parser.value()?.into()),
        "svg" => options.svg = Some(parser.value()?.into()),
        "verb" => options.verb = parser.value()?.string()?,
        "all" => options.all = true,
        "trace-syscalls" => options.trace_system_calls = true,
        "rows" => {
            let text = parser.value()?.string()?;
            options.rows.extend(text.split(',').map(str::to_owned));
        }
        _ => return Err(format!("unknown option --{name}").into()),
    }
    Ok(())
}

fn rest(parser: &mut lexopt::Parser) -> Outcome<Vec<OsString>> {
    let mut words: Vec<OsString> = parser.raw_args()?.collect();
    if words.first().is_some_and(|word| word == "--") {
        words.remove(0);
    }
    if words.is_empty() { Err("a program is missing".into()) } else { Ok(words) }
}

fn runtime(text: &str) -> Runtime {
    let (name, path) = match text.split_once('=') {
        Some((name, path)) => (name.to_owned(), PathBuf::from(path)),
        None => {
            let path = PathBuf::from(text);
            let name = path.file_name().map_or(text.into(), |name| name.to_string_lossy());
            (name.into_owned(), path)
        }
    };
    Runtime { name, path, root: PathBuf::new() }
}

/// The default runtimes and shims, and the floor unless it is left out.
fn complete(options: &mut Options, floor: Option<PathBuf>) {
    let found = |programs: Vec<(&str, Option<PathBuf>)>| {
        let runtime = |(name, path): (&str, Option<PathBuf>)| {
            Some(Runtime { name: name.into(), path: path?, root: PathBuf::new() })
        };
        programs.into_iter().filter_map(runtime).collect()
    };
    if options.runtimes.is_empty() {
        options.runtimes = found(vec![
            ("coracle", beside("coracle")),
            ("runc", in_path("runc")),
            ("crun", in_path("crun")),
        ]);
    }
    if options.shims.is_empty() {
        options.shims = found(vec![
            ("coracle", beside("containerd-shim-coracle-v2")),
            ("runc-v2", in_path("containerd-shim-runc-v2")),
        ]);
    }
    if let Some(path) = floor.filter(|path| path != Path::new("none")) {
        options.runtimes.push(Runtime { name: FLOOR.into(), path, root: PathBuf::new() });
    }
}

/// A program in the directory of this one.
pub(crate) fn beside(name: &str) -> Option<PathBuf> {
    let path = env::current_exe().ok()?.parent()?.join(name);
    path.exists().then_some(path)
}

fn in_path(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH")?;
    env::split_paths(&path).map(|directory| directory.join(name)).find(|path| path.exists())
}
