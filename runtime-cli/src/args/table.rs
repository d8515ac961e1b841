//! The one list of commands and flags: the parser, the help and the manual pages are made from it.

mod checkpoint;

use checkpoint::{CHECKPOINT, RESTORE};

/// A command of the program.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Create,
    Start,
    State,
    Kill,
    Delete,
    Run,
    Exec,
    List,
    Ps,
    Spec,
    Pause,
    Resume,
    Update,
    Events,
    Features,
    Explain,
    Wait,
    Checkpoint,
    Restore,
    Mounts,
    Info,
    Completion,
    Manual,
}

/// One option, of the program or of a command.
#[derive(Debug)]
pub(crate) struct Flag {
    /// The name without dashes; one dash is accepted as well as two.
    pub(crate) long: &'static str,
    /// The one-letter form.
    pub(crate) short: Option<char>,
    /// What the help calls its value; `None` makes it a switch.
    pub(crate) value: Option<&'static str>,
    /// The values that it can have, where they can be listed.
    pub(crate) choices: &'static [&'static str],
    /// One line for the help.
    pub(crate) help: &'static str,
}

impl Flag {
    const fn switch(long: &'static str, help: &'static str) -> Self {
        Self { long, short: None, value: None, choices: &[], help }
    }

    const fn value(long: &'static str, value: &'static str, help: &'static str) -> Self {
        Self { long, short: None, value: Some(value), choices: &[], help }
    }

    const fn or(mut self, short: char) -> Self {
        self.short = Some(short);
        self
    }

    const fn one_of(mut self, choices: &'static [&'static str]) -> Self {
        self.choices = choices;
        self
    }
}

/// One command.
#[derive(Debug)]
pub(crate) struct Command {
    pub(crate) verb: Verb,
    pub(crate) name: &'static str,
    /// One line for the list of commands.
    pub(crate) about: &'static str,
    /// What follows the options, as the help shows it.
    pub(crate) arguments: &'static str,
    /// The smallest number of arguments.
    pub(crate) at_least: usize,
    /// The greatest number of arguments.
    pub(crate) at_most: usize,
    /// Everything after the first argument is the caller's, dashes or not.
    pub(crate) trailing: bool,
    /// The exit status of a failure.
    pub(crate) failure: u8,
    /// It serves the project itself: no help, completion or manual page lists it.
    pub(crate) hidden: bool,
    pub(crate) flags: &'static [Flag],
    /// More than one line for the command's own help; may be empty.
    pub(crate) details: &'static str,
}

impl Command {
    const fn new(verb: Verb, name: &'static str, about: &'static str) -> Self {
        Self {
            verb,
            name,
            about,
            arguments: "CONTAINER",
            at_least: 1,
            at_most: 1,
            trailing: false,
            failure: 1,
            hidden: false,
            flags: &[HELP],
            details: "",
        }
    }
}

/// The command of this name.
pub(crate) fn find(name: &str) -> Option<&'static Command> {
    COMMANDS.iter().find(|command| command.name == name)
}

/// The commands that users are told about, in the order of the help.
pub(crate) fn listed() -> impl Iterator<Item = &'static Command> {
    COMMANDS.iter().filter(|command| !command.hidden)
}

/// The options that stand before the command.
pub(crate) const GLOBAL_FLAGS: &[Flag] = &[
    Flag::value(
        "root",
        "DIR",
        "keep the state of containers in DIR (default /run/coracle, or $XDG_RUNTIME_DIR/coracle \
         when not root); best on a tmpfs",
    )
    .or('r'),
    Flag::value(
        "log",
        "FILE",
        "append the log to FILE (default: standard error); file:FILE, journald:NAME and \
         syslog:NAME say where it goes",
    )
    .or('l'),
    Flag::switch("systemd-log", "the same as --log journald:coracle"),
    Flag::value("log-format", "FORMAT", "write the log as text (default) or json")
        .one_of(&["text", "json"]),
    Flag::value("log-level", "LEVEL", "log error, warning, info (default) or debug")
        .one_of(&["error", "warning", "info", "debug"]),
    Flag::switch("debug", "log what is being done, the same as --log-level debug"),
    Flag::value(
        "cgroup-manager",
        "NAME",
        "make cgroups through cgroupfs (default), systemd or not at all (disabled)",
    )
    .one_of(&["cgroupfs", "systemd", "disabled"]),
    Flag::switch("systemd-cgroup", "the same as --cgroup-manager systemd").or('s'),
    Flag::value(
        "rootless",
        "WHEN",
        "accepted for compatibility (true, false, auto): what a user may not make is found out",
    )
    .one_of(&["true", "false", "auto"]),
    Flag::value("criu", "PATH", "accepted for compatibility and ignored"),
    Flag::switch("help", "show this help").or('h'),
    Flag::switch("version", "show the version").or('v'),
];

const HELP: Flag = Flag::switch("help", "show this help").or('h');
const BUNDLE: Flag =
    Flag::value("bundle", "DIR", "the directory with config.json (default: the current one)")
        .or('b');
const CONFIG: Flag =
    Flag::value("config", "FILE", "read this file instead of the bundle's config.json").or('f');
const CONSOLE_SOCKET: Flag =
    Flag::value("console-socket", "PATH", "send the terminal's master end to this AF_UNIX socket");
const NO_SUBREAPER: Flag =
    Flag::switch("no-subreaper", "accepted for compatibility; no subreaper is set");
const PIDFD_SOCKET: Flag =
    Flag::value("pidfd-socket", "PATH", "send a pidfd of the process to this AF_UNIX socket");
const PID_FILE: Flag = Flag::value("pid-file", "FILE", "write the process id to FILE");
const NO_PIVOT: Flag =
    Flag::switch("no-pivot", "move the root mount instead of pivot_root; for a root on a ramdisk");
const NO_NEW_KEYRING: Flag =
    Flag::switch("no-new-keyring", "keep the caller's session keyring instead of making one");
const PRESERVE_FDS: Flag = Flag::value(
    "preserve-fds",
    "N",
    "pass N more file descriptors, after standard streams and $LISTEN_FDS",
);
const REGEX: Flag =
    Flag::switch("regex", "CONTAINER is a regular expression: every container that it matches")
        .or('r');
const FORMAT: Flag =
    Flag::value("format", "FORMAT", "table (default) or json").or('f').one_of(&["table", "json"]);

/// Every command, in the order of the help.
pub(crate) const COMMANDS: &[Command] = &[
    CREATE, START, RUN, EXEC, STATE, LIST, PS, KILL, DELETE, PAUSE, RESUME, UPDATE, MOUNTS, EVENTS,
    WAIT, CHECKPOINT, RESTORE, SPEC, FEATURES, INFO, EXPLAIN, COMPLETION, MANUAL,
];

const CREATE: Command = Command {
    flags: &[
        BUNDLE,
        CONFIG,
        CONSOLE_SOCKET.or('c'),
        PIDFD_SOCKET,
        PID_FILE.or('p'),
        NO_SUBREAPER,
        NO_PIVOT,
        NO_NEW_KEYRING,
        PRESERVE_FDS,
        HELP,
    ],
    details: "The container is set up completely, up to the program that config.json names; \
              `start` runs that program.",
    ..Command::new(Verb::Create, "create", "set a container up without running its program")
};

const START: Command = Command::new(Verb::Start, "start", "run the program of a created container");

const RUN: Command = Command {
    flags: &[
        BUNDLE,
        CONFIG,
        CONSOLE_SOCKET.or('c'),
        PIDFD_SOCKET,
        Flag::switch("detach", "return as soon as the program runs").or('d'),
        Flag::switch("keep", "do not delete the container when its program ends"),
        PID_FILE.or('p'),
        NO_SUBREAPER,
        NO_PIVOT,
        NO_NEW_KEYRING,
        PRESERVE_FDS,
        HELP,
    ],
    details: "Without --detach the command waits, forwards signals, returns the program's exit \
              status (128 + N after signal N) and deletes the container.",
    ..Command::new(Verb::Run, "run", "create and start a container")
};

const EXEC: Command = Command {
    arguments: "CONTAINER COMMAND [ARGUMENT...]",
    at_most: usize::MAX,
    trailing: true,
    failure: 255,
    flags: &[
        Flag::value(
            "process",
            "FILE",
            "take the process from this JSON file (config.json's `process`)",
        )
        .or('p'),
        Flag::switch("tty", "give it a terminal").or('t'),
        CONSOLE_SOCKET,
        PIDFD_SOCKET,
        Flag::value("cwd", "DIR", "the working directory inside the container"),
        Flag::value("env", "NAME=VALUE", "set a variable; may be repeated").or('e'),
        Flag::value("user", "UID[:GID]", "run under these numeric ids").or('u'),
        Flag::value("additional-gids", "GID", "one more group; may be repeated").or('g'),
        Flag::value("cap", "NAME", "add a capability; may be repeated").or('c'),
        Flag::switch("no-new-privs", "set no_new_privs"),
        Flag::value("apparmor", "PROFILE", "run under this AppArmor profile"),
        Flag::value("process-label", "LABEL", "run under this SELinux label"),
        Flag::switch("detach", "return as soon as the process runs").or('d'),
        PID_FILE,
        PRESERVE_FDS,
        Flag::value(
            "cgroup",
            "[CONTROLLER[,CONTROLLER]:]PATH",
            "join this cgroup below the container's, with cgroup v1 also for single controllers; \
             may be repeated for others",
        ),
        Flag::switch("ignore-paused", "wait in a paused container instead of refusing"),
        NO_SUBREAPER,
        HELP,
    ],
    details: "The process gets the settings that the container's own process was created with; \
              options and the process file change them. Options end at the container's name.",
    ..Command::new(Verb::Exec, "exec", "run another process in a container")
};

const STATE: Command = Command::new(Verb::State, "state", "show the state of a container as JSON");

const LIST: Command = Command {
    arguments: "",
    at_least: 0,
    at_most: 0,
    flags: &[FORMAT, Flag::switch("quiet", "only the names").or('q'), HELP],
    ..Command::new(Verb::List, "list", "list the containers below the state root")
};

const PS: Command = Command {
    arguments: "CONTAINER [PS-OPTION...]",
    at_most: usize::MAX,
    trailing: true,
    flags: &[FORMAT, HELP],
    details: "The table is the host's ps (options default to -ef), reduced to the container.",
    ..Command::new(Verb::Ps, "ps", "show the processes of a container")
};

const KILL: Command = Command {
    arguments: "CONTAINER [SIGNAL]",
    at_most: 2,
    flags: &[Flag::switch("all", "send it to every process of the container").or('a'), REGEX, HELP],
    details: "SIGNAL is a name, with or without SIG, or a number; the default is SIGTERM.",
    ..Command::new(Verb::Kill, "kill", "send a signal to a container's program")
};

const DELETE: Command = Command {
    flags: &[
        Flag::switch("force", "kill it first if it runs; a missing container is no error").or('f'),
        REGEX,
        HELP,
    ],
    ..Command::new(Verb::Delete, "delete", "remove what is left of a stopped container")
};

const SPEC: Command = Command {
    arguments: "",
    at_least: 0,
    at_most: 0,
    flags: &[
        Flag::value("bundle", "DIR", "write into this directory").or('b'),
        Flag::value("file", "FILE", "write this file there, not config.json").or('f'),
        Flag::switch("rootless", "for a user without privileges"),
        HELP,
    ],
    details: "An existing file is never overwritten.",
    ..Command::new(Verb::Spec, "spec", "write a config.json to begin with")
};

const PAUSE: Command =
    Command::new(Verb::Pause, "pause", "stop all processes of a container where they are");

const RESUME: Command =
    Command::new(Verb::Resume, "resume", "let the processes of a paused container go on");

const UPDATE: Command = Command {
    flags: &[
        Flag::value(
            "resources",
            "FILE",
            "take the limits from this JSON file (config.json's `linux.resources`; - for standard \
             input) and not from the options below",
        )
        .or('r'),
        Flag::value("memory", "SIZE", "memory, such as 512m; -1 for no limit"),
        Flag::value("memory-reservation", "SIZE", "memory that is kept when it gets scarce"),
        Flag::value("memory-swap", "SIZE", "memory and swap together; -1 for no limit"),
        Flag::value("cpu-share", "N", "weight of processor time (2 to 262144, usually 1024)"),
        Flag::value("cpu-quota", "USEC", "processor time in a period; -1 for no limit"),
        Flag::value("cpu-burst", "USEC", "unused time that may be used later"),
        Flag::value("cpu-period", "USEC", "the period"),
        Flag::value("cpu-rt-runtime", "USEC", "real-time processor time in a period (cgroup v1)"),
        Flag::value("cpu-rt-period", "USEC", "the real-time period (cgroup v1)"),
        Flag::value("cpu-idle", "0|1", "run only when the machine is idle otherwise")
            .one_of(&["0", "1"]),
        Flag::value("cpuset-cpus", "LIST", "processors to run on, such as 0-3,7"),
        Flag::value("cpuset-mems", "LIST", "memory nodes to use"),
        Flag::value("blkio-weight", "N", "weight of block I/O (10 to 1000)"),
        Flag::value("pids-limit", "N", "number of tasks; -1 for no limit"),
        Flag::value("kernel-memory", "SIZE", "ignored: kernels have no such limit any more"),
        Flag::value("kernel-memory-tcp", "SIZE", "ignored, as --kernel-memory"),
        Flag::value(
            "l3-cache-schema",
            "LINES",
            "shares of the level 3 cache (Intel RDT), such as L3:0=f;1=ff; also with --resources",
        ),
        Flag::value(
            "mem-bw-schema",
            "LINE",
            "shares of the memory bandwidth (Intel RDT), such as MB:0=20; also with --resources",
        ),
        HELP,
    ],
    details: "What is not given stays as it is. When one limit cannot be held, none is changed. A \
              container without a class of service (Intel RDT) gets one of its own when a share is \
              given; a class that was there before the container is not changed.",
    ..Command::new(Verb::Update, "update", "change the limits of a container")
};

const MOUNTS: Command = Command {
    arguments: "add|remove CONTAINER FILE",
    at_least: 3,
    at_most: 3,
    details: "FILE (- for standard input) is JSON: the list `mounts` of config.json, or an object with \
              it. Sources are paths of the host; for `remove` only destinations count. No part of a \
              destination may be a symbolic link. Either all mounts are added or none; they end with the \
              container.",
    ..Command::new(Verb::Mounts, "mounts", "add mounts to a container that exists, or remove them")
};

const EVENTS: Command = Command {
    flags: &[
        Flag::switch("stats", "write the statistics once"),
        Flag::value("interval", "TIME", "time between statistics, such as 250ms (default 5s)"),
        Flag::value(
            "format",
            "FORMAT",
            "json (default), or prometheus: the statistics once, as metrics",
        )
        .one_of(&["json", "prometheus"]),
        HELP,
    ],
    details: "Each line is a JSON object: statistics, or that a process was killed because memory ran \
              out. The command ends with the container.",
    ..Command::new(Verb::Events, "events", "watch what a container uses")
};

const FEATURES: Command = Command {
    arguments: "",
    at_least: 0,
    at_most: 0,
    flags: &[HELP],
    ..Command::new(Verb::Features, "features", "show what this runtime supports as JSON")
};

const INFO: Command = Command {
    arguments: "",
    at_least: 0,
    at_most: 0,
    flags: &[HELP],
    details: "What is asked for in reports of problems: versions, privilege, namespaces, cgroups, \
              security modules, and limits of the kernel that containers meet.",
    ..Command::new(Verb::Info, "info", "show what containers find on this host")
};

const EXPLAIN: Command = Command {
    arguments: "[CONTAINER]",
    at_least: 0,
    flags: &[
        BUNDLE,
        CONFIG,
        Flag::value("format", "FORMAT", "text (default) or json").one_of(&["text", "json"]),
        NO_PIVOT,
        NO_NEW_KEYRING,
        HELP,
    ],
    details: "Nothing is changed on the host.",
    ..Command::new(Verb::Explain, "explain", "show the steps that create would take")
};

const WAIT: Command = Command {
    details: "The exit status (128 + N after signal N) is written to standard output. It is known \
              from Linux 6.15 on, and before as long as nobody has reaped the process.",
    ..Command::new(Verb::Wait, "wait", "wait for a container's program to end")
};

const COMPLETION: Command = Command {
    arguments: "[bash|zsh|fish]",
    at_least: 0,
    flags: &[
        Flag::value("shell", "SHELL", "the shell, if no argument says it")
            .or('s')
            .one_of(&["bash", "zsh", "fish"]),
        HELP,
    ],
    details: "For bash: source <(coracle completion bash). Packages install the scripts.",
    ..Command::new(Verb::Completion, "completion", "write a script that completes command lines")
};

const MANUAL: Command = Command {
    arguments: "DIR",
    hidden: true,
    details: "Packages are made with it.",
    ..Command::new(Verb::Manual, "manual", "write the manual pages into a directory")
};

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_flag_is_defined_twice() {
        let lists = COMMANDS.iter().map(|command| command.flags);
        for flags in lists.chain([GLOBAL_FLAGS]) {
            for (index, flag) in flags.iter().enumerate() {
                let rest = &flags[index + 1..];
                assert!(rest.iter().all(|other| other.long != flag.long), "--{}", flag.long);
                let clash = |other: &Flag| flag.short.is_some() && other.short == flag.short;
                assert!(!rest.iter().any(clash), "-{:?}", flag.short);
            }
        }
    }

    #[test]
    fn every_command_has_help() {
        for command in COMMANDS {
            assert!(command.flags.iter().any(|flag| flag.long == "help"));
            assert!(command.at_least <= command.at_most);
        }
    }
}
