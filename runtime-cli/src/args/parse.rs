//! From the argument vector to a command with its options, as the table says.
//!
//! Accepted are `--name value`, `--name=value`, both with one dash, `-n value`, `-nvalue`,
//! `-n=value` and bundled switches. A repeated option counts once, the last value wins, except
//! where a command asks for all values.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::PathBuf;
use std::str::FromStr;

use coracle::CgroupDriver;
use lexopt::Arg;

use super::table::{self, Command, Flag, GLOBAL_FLAGS};

/// A command line that cannot be understood.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Usage {
    /// What is wrong with it.
    pub(crate) message: String,
    /// What to do about it.
    pub(crate) hint: Option<String>,
    /// The exit status.
    pub(crate) status: u8,
}

impl Usage {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { message: message.into(), hint: None, status: 1 }
    }

    fn see_help_of(mut self, command: Option<&Command>) -> Self {
        self.hint = Some(match command {
            Some(command) => format!("see coracle help {}", command.name),
            None => "see coracle help".to_owned(),
        });
        self
    }
}

/// How much is logged.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Level {
    Error,
    Warning,
    #[default]
    Info,
    Debug,
}

/// The options before the command.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Globals {
    pub(crate) root: Option<PathBuf>,
    pub(crate) log: Option<PathBuf>,
    pub(crate) json: bool,
    pub(crate) level: Level,
    /// Who makes the cgroups of new containers.
    pub(crate) cgroup_driver: CgroupDriver,
}

/// What the command line asks for.
#[derive(Debug)]
pub(crate) enum Request {
    Help(Option<&'static Command>),
    Version,
    Run(Matches),
}

/// A command, its options and its arguments.
#[derive(Debug)]
pub(crate) struct Matches {
    pub(crate) command: &'static Command,
    options: Vec<(&'static str, OsString)>,
    arguments: Vec<OsString>,
}

impl Matches {
    /// Whether a switch is on.
    pub(crate) fn switch(&self, long: &str) -> bool {
        self.value(long).is_some_and(|value| value == "true")
    }

    /// The last value given to an option.
    pub(crate) fn value(&self, long: &str) -> Option<&OsStr> {
        self.values(long).last()
    }

    /// Every value given to an option, in order.
    pub(crate) fn values(&self, long: &str) -> impl DoubleEndedIterator<Item = &OsStr> {
        debug_assert!(
            self.command.flags.iter().any(|flag| flag.long == long),
            "--{long} is not in the table"
        );
        let options = self.options.iter();
        options.filter(move |(name, _)| *name == long).map(|(_, value)| value.as_os_str())
    }

    /// The last value of an option, as text.
    pub(crate) fn text(&self, long: &str) -> Result<Option<&str>, Usage> {
        self.value(long).map(|value| utf8(long, value)).transpose()
    }

    /// Every value of an option, as text.
    pub(crate) fn texts(&self, long: &str) -> Result<Vec<&str>, Usage> {
        self.values(long).map(|value| utf8(long, value)).collect()
    }

    /// The last value of an option, as a path.
    pub(crate) fn path(&self, long: &str) -> Option<PathBuf> {
        self.value(long).map(PathBuf::from)
    }

    /// The last value of an option, as a number; zero without it.
    pub(crate) fn number<N: FromStr + Default>(&self, long: &str) -> Result<N, Usage> {
        let Some(text) = self.text(long)? else {
            return Ok(N::default());
        };
        text.parse().map_err(|_| Usage::new(format!("--{long}: {text:?} is not a number in range")))
    }

    /// The argument at this place, as text.
    pub(crate) fn argument(&self, place: usize) -> Result<Option<&str>, Usage> {
        let value = self.arguments.get(place);
        value.map(|value| utf8("argument", value)).transpose()
    }

    /// The arguments from this place on.
    pub(crate) fn arguments_from(&self, place: usize) -> &[OsString] {
        self.arguments.get(place..).unwrap_or_default()
    }
}

fn utf8<'a>(name: &str, value: &'a OsStr) -> Result<&'a str, Usage> {
    value.to_str().ok_or_else(|| Usage::new(format!("{name}: {value:?} is not valid UTF-8")))
}

/// Reads the argument vector, without the program's name.
///
/// The options before the command come back in any case, so that even a usage error can be logged
/// where the caller wants it.
pub(crate) fn parse<I>(arguments: I) -> (Globals, Result<Request, Usage>)
where
    I: IntoIterator<Item = OsString>,
{
    let mut parser = lexopt::Parser::from_args(arguments);
    let mut globals = Globals::default();
    let request = parse_program(&mut parser, &mut globals);
    (globals, request)
}

fn parse_program(parser: &mut lexopt::Parser, globals: &mut Globals) -> Result<Request, Usage> {
    let fault = |usage: Usage| usage.see_help_of(None);
    // What is wrong is reported after the other options are known, --log among them.
    let mut refused = None;
    loop {
        match next_item(parser, GLOBAL_FLAGS) {
            Err(usage) => refused = refused.or(Some(usage)),
            Ok(Some(Item::Option("help", value))) if value == "true" && refused.is_none() => {
                return Ok(Request::Help(None));
            }
            Ok(Some(Item::Option("version", value))) if value == "true" && refused.is_none() => {
                return Ok(Request::Version);
            }
            Ok(Some(Item::Option(name, value))) => {
                let done = globals.set(name, value);
                refused = refused.or(done.err());
            }
            Ok(Some(Item::Argument(name))) => {
                return match refused {
                    Some(usage) => Err(fault(usage)),
                    None => parse_command(parser, &name),
                };
            }
            Ok(Some(Item::End) | None) => {
                return refused.map_or(Ok(Request::Help(None)), |usage| Err(fault(usage)));
            }
        }
    }
}

fn parse_command(parser: &mut lexopt::Parser, name: &OsStr) -> Result<Request, Usage> {
    let name = name.to_string_lossy();
    if name == "help" || name == "h" {
        return parse_help(parser);
    }
    let command = find(&name)?;
    let mut matches = Matches { command, options: Vec::new(), arguments: Vec::new() };
    let fault = |usage: Usage| usage.see_help_of(Some(command));
    loop {
        match next_item(parser, command.flags).map_err(fault)? {
            Some(Item::Option("help", value)) if value == "true" => {
                return Ok(Request::Help(Some(command)));
            }
            Some(Item::Option(name, value)) => matches.options.push((name, value)),
            Some(Item::Argument(value)) => {
                matches.arguments.push(value);
                if command.trailing {
                    take_rest(parser, &mut matches.arguments);
                }
            }
            Some(Item::End) => take_rest(parser, &mut matches.arguments),
            None => break,
        }
    }
    check_count(command, matches.arguments.len()).map_err(fault)?;
    Ok(Request::Run(matches))
}

fn parse_help(parser: &mut lexopt::Parser) -> Result<Request, Usage> {
    let mut topic = Vec::new();
    take_rest(parser, &mut topic);
    match topic.first() {
        None => Ok(Request::Help(None)),
        Some(name) => find(&name.to_string_lossy()).map(|command| Request::Help(Some(command))),
    }
}

fn find(name: &str) -> Result<&'static Command, Usage> {
    table::find(name).ok_or_else(|| {
        // runc's status for a command that does not exist.
        let usage = Usage::new(format!("unknown command {name:?}"));
        Usage { status: 3, ..usage.see_help_of(None) }
    })
}

fn check_count(command: &Command, count: usize) -> Result<(), Usage> {
    if (command.at_least..=command.at_most).contains(&count) {
        return Ok(());
    }
    let name = command.name;
    let rule = match (command.at_least, command.at_most) {
        (least, most) if least == most => format!("exactly {least}"),
        (least, _) if count < least => format!("a minimum of {least}"),
        (_, most) => format!("a maximum of {most}"),
    };
    Err(Usage::new(format!("coracle: \"{name}\" requires {rule} argument(s)")))
}

fn take_rest(parser: &mut lexopt::Parser, into: &mut Vec<OsString>) {
    if let Some(rest) = parser.try_raw_args() {
        into.extend(rest);
    }
}

/// One thing of the command line.
#[derive(Debug)]
enum Item {
    /// An option's long name and its value; `true` or `false` for a switch.
    Option(&'static str, OsString),
    Argument(OsString),
    /// `--`: only arguments follow.
    End,
}

fn next_item(parser: &mut lexopt::Parser, flags: &'static [Flag]) -> Result<Option<Item>, Usage> {
    if let Some(item) = take_long(parser, flags)? {
        return Ok(Some(item));
    }
    let (flag, spelled) = match parser.next().map_err(|error| Usage::new(error.to_string()))? {
        None => return Ok(None),
        Some(Arg::Value(value)) => return Ok(Some(Item::Argument(value))),
        Some(Arg::Long(long)) => return Err(unknown(&format!("--{long}"))),
        Some(Arg::Short(short)) => {
            (flags.iter().find(|flag| flag.short == Some(crun(short))), format!("-{short}"))
        }
    };
    let flag = flag.ok_or_else(|| unknown(&spelled))?;
    let value = if flag.value.is_none() {
        "true".into()
    } else {
        parser.value().map_err(|_| no_value(flag))?
    };
    Ok(Some(Item::Option(flag.long, value)))
}

/// crun's other letters for what has one here.
const fn crun(short: char) -> char {
    match short {
        '?' => 'h',
        'V' => 'v',
        other => other,
    }
}

/// Takes `--`, or a long option with one dash or two: lexopt would read `-bundle` as `-b undle`.
fn take_long(parser: &mut lexopt::Parser, flags: &'static [Flag]) -> Result<Option<Item>, Usage> {
    let Some(mut raw) = parser.try_raw_args() else {
        return Ok(None);
    };
    let Some(word) = raw.peek().map(OsStr::as_bytes) else {
        return Ok(None);
    };
    if word == b"--" {
        raw.next();
        return Ok(Some(Item::End));
    }
    let Some(body) = word.strip_prefix(b"--").or_else(|| word.strip_prefix(b"-")) else {
        return Ok(None);
    };
    let (name, attached) = match body.iter().position(|byte| *byte == b'=') {
        Some(at) => (body.get(..at), body.get(at + 1..)),
        None => (Some(body), None),
    };
    let name = if name == Some(b"usage") { Some(&b"help"[..]) } else { name };
    let Some(flag) = flags.iter().find(|flag| Some(flag.long.as_bytes()) == name) else {
        return Ok(None);
    };
    let attached = attached.map(|bytes| OsString::from_vec(bytes.to_vec()));
    raw.next();
    let value = match (flag.value, attached) {
        (Some(_), Some(value)) => value,
        (Some(_), None) => raw.next().ok_or_else(|| no_value(flag))?,
        (None, None) => "true".into(),
        (None, Some(value)) => truth(flag, &value)?.into(),
    };
    Ok(Some(Item::Option(flag.long, value)))
}

/// The spellings of a truth value that the engines' Go libraries write.
fn truth_of(value: &OsStr) -> Option<&'static str> {
    match value.as_bytes() {
        b"1" | b"t" | b"T" | b"true" | b"TRUE" | b"True" => Some("true"),
        b"0" | b"f" | b"F" | b"false" | b"FALSE" | b"False" => Some("false"),
        _ => None,
    }
}

fn truth(flag: &Flag, value: &OsStr) -> Result<&'static str, Usage> {
    truth_of(value)
        .ok_or_else(|| Usage::new(format!("--{}: {value:?} is neither true nor false", flag.long)))
}

fn unknown(spelled: &str) -> Usage {
    // runc's words, with the dashes of the command line.
    Usage::new(format!("flag provided but not defined: {spelled}"))
}

fn no_value(flag: &Flag) -> Usage {
    Usage::new(format!("flag needs an argument: --{}", flag.long))
}

impl Globals {
    fn set(&mut self, name: &str, value: OsString) -> Result<(), Usage> {
        let refused = |what: &str| Usage::new(format!("invalid {what}: {}", value.display()));
        match name {
            "root" => self.root = Some(value.into()),
            "log" => self.log = Some(value.into()),
            "log-format" => {
                self.json = match value.as_bytes() {
                    b"text" => false,
                    b"json" => true,
                    _ => return Err(refused("log-format")),
                }
            }
            "log-level" => {
                self.level = match value.as_bytes() {
                    b"error" => Level::Error,
                    b"warning" | b"warn" => Level::Warning,
                    b"info" => Level::Info,
                    b"debug" | b"trace" => Level::Debug,
                    _ => return Err(refused("log-level")),
                }
            }
            "debug" if value == "true" => self.level = Level::Debug,
            "cgroup-manager" => {
                self.cgroup_driver = match value.as_bytes() {
                    b"cgroupfs" => CgroupDriver::Cgroupfs,
                    b"systemd" => CgroupDriver::Systemd,
                    b"disabled" => CgroupDriver::Disabled,
                    _ => return Err(refused("cgroup-manager")),
                }
            }
            "systemd-log" if value == "true" => {
                self.log.get_or_insert_with(|| "journald:".into());
            }
            "systemd-cgroup" if value == "true" => {
                self.cgroup_driver = CgroupDriver::Systemd;
            }
            "rootless" if value != "auto" && truth_of(&value).is_none() => {
                return Err(refused("rootless"));
            }
            // --criu, and switches that are off.
            _ => {}
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn words(line: &str) -> Vec<OsString> {
        line.split(' ').filter(|word| !word.is_empty()).map(OsString::from).collect()
    }

    fn matches(line: &str) -> Matches {
        match parse(words(line)).1 {
            Ok(Request::Run(matches)) => matches,
            other => panic!("{line}: {other:?}"),
        }
    }

    fn usage(line: &str) -> Usage {
        parse(words(line)).1.expect_err(line)
    }

    #[test]
    fn every_form_of_an_option_with_a_value() {
        for form in [
            "create --bundle /b c",
            "create --bundle=/b c",
            "create -bundle /b c",
            "create -bundle=/b c",
            "create -b /b c",
            "create -b/b c",
            "create -b=/b c",
            "create c --bundle /b",
            "create -c /s -p /p --no-subreaper -b /b c",
            "create --bundle /a -b /b c",
            "create --bundle /b -- c",
        ] {
            let matches = matches(form);
            assert_eq!(matches.value("bundle"), Some(OsStr::new("/b")), "{form}");
            assert_eq!(matches.argument(0), Ok(Some("c")), "{form}");
        }
    }

    #[test]
    fn every_form_of_a_switch() {
        for (form, on) in [
            ("run c", false),
            ("run --detach c", true),
            ("run -detach c", true),
            ("run -d c", true),
            ("run --detach=true c", true),
            ("run --detach=1 c", true),
            ("run -detach=T c", true),
            ("run --detach=false c", false),
            ("run --detach --detach=0 c", false),
            ("run c -d", true),
            ("run -no-subreaper -d c", true),
        ] {
            assert_eq!(matches(form).switch("detach"), on, "{form}");
        }
        let both = matches("exec -dt c sh");
        assert!(both.switch("detach") && both.switch("tty"));
        let bundled = matches("exec -dte A=1 c sh");
        assert_eq!(bundled.text("env"), Ok(Some("A=1")));
    }

    #[test]
    fn values_may_begin_with_a_dash_or_be_empty() {
        let exec = matches("exec --cwd -x --env=- -e --tty --process-label= c sh");
        assert_eq!(exec.value("cwd"), Some(OsStr::new("-x")));
        assert_eq!(exec.texts("env"), Ok(vec!["-", "--tty"]));
        assert_eq!(exec.value("process-label"), Some(OsStr::new("")));
        assert!(!exec.switch("tty"));
    }

    #[test]
    fn options_end_at_the_container_of_exec_and_ps() {
        let exec = matches("exec -t c ls -d --help -- -x");
        assert_eq!(exec.arguments_from(1), words("ls -d --help -- -x"));
        assert!(!exec.switch("detach"));
        assert_eq!(matches("ps c -ef").arguments_from(1), words("-ef"));
        let after_dashes = matches("exec -- c -t");
        assert_eq!(after_dashes.arguments_from(0), words("c -t"));
    }

    #[test]
    fn a_name_may_begin_with_a_dash_after_two() {
        assert_eq!(matches("delete -f -- -x").argument(0), Ok(Some("-x")));
    }

    #[test]
    fn repeated_global_options_count_once() {
        let (globals, request) = parse(words(
            "--root /a --root=/b --log x --log=/l --log-format text -log-format json --debug \
             --systemd-cgroup --systemd-cgroup --rootless=true --criu /c state c",
        ));
        assert!(matches!(request, Ok(Request::Run(_))), "{request:?}");
        let expected = Globals {
            root: Some("/b".into()),
            log: Some("/l".into()),
            json: true,
            level: Level::Debug,
            cgroup_driver: CgroupDriver::Systemd,
        };
        assert_eq!(globals, expected);
        let line = "-r /b -l /l -s --log-format=json --log-level trace --systemd-log list";
        assert_eq!(parse(words(line)).0, expected, "{line}");
        for (line, log) in
            [("--systemd-log list", "journald:"), ("--systemd-log --log /l list", "/l")]
        {
            assert_eq!(parse(words(line)).0.log, Some(log.into()), "{line}");
        }
        for level in ["warn", "warning"] {
            let line = format!("--log-level={level} --rootless FALSE list");
            let (globals, request) = parse(words(&line));
            assert!(request.is_ok() && globals.level == Level::Warning, "{line}");
        }
        let (globals, _) = parse(words("--systemd-cgroup --cgroup-manager cgroupfs list"));
        assert_eq!(globals.cgroup_driver, CgroupDriver::Cgroupfs);
    }

    #[test]
    fn faults_name_the_word() {
        for (line, message, status) in [
            ("frobnicate", "unknown command \"frobnicate\"", 3),
            ("help frobnicate", "unknown command \"frobnicate\"", 3),
            ("--foo state c", "flag provided but not defined: --foo", 1),
            ("state --foo c", "flag provided but not defined: --foo", 1),
            ("state -x c", "flag provided but not defined: -x", 1),
            ("state --root /r c", "flag provided but not defined: --root", 1),
            ("create --bundle", "flag needs an argument: --bundle", 1),
            ("create -b", "flag needs an argument: --bundle", 1),
            ("run --detach=maybe c", "--detach: \"maybe\" is neither true nor false", 1),
            ("create", "coracle: \"create\" requires exactly 1 argument(s)", 1),
            ("create a b", "coracle: \"create\" requires exactly 1 argument(s)", 1),
            ("exec", "coracle: \"exec\" requires a minimum of 1 argument(s)", 1),
            ("kill a b c", "coracle: \"kill\" requires a maximum of 2 argument(s)", 1),
            ("list a", "coracle: \"list\" requires exactly 0 argument(s)", 1),
            ("--log-format xml state c", "invalid log-format: xml", 1),
            ("--cgroup-manager x state c", "invalid cgroup-manager: x", 1),
            ("--rootless maybe state c", "invalid rootless: maybe", 1),
        ] {
            let usage = usage(line);
            assert_eq!((usage.message.as_str(), usage.status), (message, status), "{line}");
        }
    }

    #[test]
    fn the_log_is_known_when_the_command_line_is_wrong() {
        for line in [
            "--log /l --log-format json state --foo c",
            "--log /l --log-format json nothing",
            "--rootless maybe --log /l --log-format json state c",
        ] {
            let (globals, request) = parse(words(line));
            assert!(request.is_err(), "{line}");
            assert_eq!(globals.log, Some("/l".into()), "{line}");
            assert!(globals.json, "{line}");
        }
    }

    #[test]
    fn help_and_version() {
        for line in ["", "--help", "-h", "-help", "help", "h", "--debug help", "-?", "--usage"] {
            assert!(matches!(parse(words(line)).1, Ok(Request::Help(None))), "{line}");
        }
        for line in ["help exec", "exec --help", "exec -h", "exec -help", "h exec", "exec -?"] {
            let request = parse(words(line)).1;
            assert!(
                matches!(request, Ok(Request::Help(Some(command))) if command.name == "exec"),
                "{line}"
            );
        }
        for line in ["--version", "-v", "-version", "--debug -v", "-V"] {
            assert!(matches!(parse(words(line)).1, Ok(Request::Version)), "{line}");
        }
    }

    #[test]
    fn numbers_are_checked() {
        assert_eq!(matches("create c").number::<u32>("preserve-fds"), Ok(0));
        let three = matches("create --preserve-fds 3 c");
        assert_eq!(three.number::<u32>("preserve-fds"), Ok(3));
        for wrong in ["-1", "x", "", "4294967296"] {
            let line = format!("create --preserve-fds={wrong} c");
            assert!(matches(&line).number::<u32>("preserve-fds").is_err(), "{wrong}");
        }
    }

    #[test]
    fn bytes_that_are_no_text() {
        let raw = OsString::from_vec(b"/b\xff".to_vec());
        let line = ["create".into(), "-b".into(), raw.clone(), raw.clone()];
        let Ok(Request::Run(matches)) = parse(line).1 else {
            panic!("refused");
        };
        assert_eq!(matches.path("bundle"), Some(raw.into()));
        assert!(matches.argument(0).is_err());
    }
}
