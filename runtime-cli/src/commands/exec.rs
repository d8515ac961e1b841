//! `exec`: runs another process in a container.

use std::os::fd::BorrowedFd;
use std::path::Path;

use coracle::spec::{CapabilitySet, ConsoleSize, Process};
use coracle::{Error, ExecOptions, ExecProcess, ExitStatus, Signal};

use super::{container, creation};
use crate::args::{Globals, Matches, Usage};
use crate::failure::Failure;
use crate::foreground::{self, Program};
use crate::signals::Signals;
use crate::terminal::{Relay, own_size};

pub(super) fn run(globals: &Globals, matches: &Matches) -> Result<u8, Failure> {
    let container = container(globals, matches)?;
    let mut process = process(matches, container.process())?;
    let detached = matches.switch("detach");
    if process.terminal && !detached {
        let size = own_size().map(|size| ConsoleSize { height: size.ws_row, width: size.ws_col });
        process.console_size = size.or(process.console_size);
    }
    let options = options(matches, process.terminal, detached)?;
    let signals = (!detached).then(Signals::block).transpose()?;
    let mut running = container.exec(&process, &options)?;
    let Some(signals) = signals else {
        return Ok(0);
    };
    let relay = running.take_console().map(Relay::new).transpose()?;
    Ok(foreground::attend(&running, &signals, (relay, None))?)
}

fn options(matches: &Matches, terminal: bool, detached: bool) -> Result<ExecOptions, Failure> {
    let mut options = ExecOptions::default();
    options.console = creation::console(terminal, detached, matches.path("console-socket"))?;
    options.pid_file = matches.path("pid-file");
    options.pidfd_socket = matches.path("pidfd-socket");
    cgroups(&matches.texts("cgroup")?, &mut options)?;
    options.listen_fds = creation::listen_fds();
    options.preserve_fds = creation::preserve_fds(matches, options.listen_fds)?;
    options.ignore_paused = matches.switch("ignore-paused");
    Ok(options)
}

/// The cgroups to join: one `PATH` for all controllers, or `CONTROLLER[,CONTROLLER]:PATH` for some.
fn cgroups(texts: &[&str], options: &mut ExecOptions) -> Result<(), Usage> {
    for text in texts {
        let Some((controllers, path)) = text.split_once(':') else {
            if texts.len() > 1 {
                let message =
                    format!("invalid --cgroup argument: {text} (missing <controller>: prefix)");
                return Err(Usage::new(message));
            }
            options.cgroup = Some((*text).to_owned());
            return Ok(());
        };
        if path.contains(':') {
            return Err(Usage::new(format!("invalid --cgroup argument: {text}")));
        }
        for controller in controllers.split(',') {
            let fault = |words: &str| {
                Err(Usage::new(format!("invalid --cgroup argument: {text} ({words})")))
            };
            if controller.is_empty() {
                return fault("a controller has no name");
            }
            if options.controller_cgroups.contains_key(controller) {
                return fault(&format!("controller {controller:?} specified multiple times"));
            }
            options.controller_cgroups.insert(controller.to_owned(), path.to_owned());
        }
    }
    Ok(())
}

/// The settings of the process: those recorded with the container, then the process file, then
/// the options.
fn process(matches: &Matches, recorded: Option<&Process>) -> Result<Process, Failure> {
    // A container without a process has no capabilities to give on.
    let mut process =
        recorded.cloned().unwrap_or_else(|| Process { cwd: "/".into(), ..Process::default() });
    match matches.path("process") {
        Some(path) => overlay(&mut process, load(&path)?),
        // As with runc, the terminal is asked for by each command.
        None => process.terminal = false,
    }
    if matches.switch("tty") {
        process.terminal = true;
    }
    let arguments = matches.arguments_from(1);
    if !arguments.is_empty() {
        let text = |place| matches.argument(place).map(Option::unwrap_or_default);
        process.args = (1..=arguments.len())
            .map(|place| text(place).map(str::to_owned))
            .collect::<Result<_, _>>()?;
    } else if matches.path("process").is_none() {
        return Err(Usage::new("exec: process args cannot be empty").into());
    }
    apply_options(matches, &mut process)?;
    Ok(process)
}

fn load(path: &Path) -> Result<Process, Error> {
    let loaded = Process::load(path)?;
    for warning in loaded.warnings {
        ::log::warn!("{warning}");
    }
    Ok(loaded.value)
}

/// Puts what a process file says over the recorded settings; security settings that it is silent
/// about stay.
fn overlay(process: &mut Process, file: Process) {
    let recorded = std::mem::replace(process, file);
    let file = process;
    file.capabilities = file.capabilities.take().or(recorded.capabilities);
    file.no_new_privileges |= recorded.no_new_privileges;
    if file.rlimits.is_empty() {
        file.rlimits = recorded.rlimits;
    }
    file.apparmor_profile = file.apparmor_profile.take().or(recorded.apparmor_profile);
    file.selinux_label = file.selinux_label.take().or(recorded.selinux_label);
    file.user.umask = file.user.umask.or(recorded.user.umask);
    file.oom_score_adj = file.oom_score_adj.or(recorded.oom_score_adj);
    file.scheduler = file.scheduler.take().or(recorded.scheduler);
    file.io_priority = file.io_priority.or(recorded.io_priority);
    file.exec_cpu_affinity = file.exec_cpu_affinity.take().or(recorded.exec_cpu_affinity);
}

fn apply_options(matches: &Matches, process: &mut Process) -> Result<(), Failure> {
    if let Some(directory) = matches.path("cwd") {
        process.cwd = directory;
    }
    for variable in matches.texts("env")? {
        if variable.find('=').is_none_or(|name| name == 0) {
            let message =
                format!("exec: invalid environment variable {variable:?}: not NAME=VALUE");
            return Err(Usage::new(message).into());
        }
        process.env.push(variable.to_owned());
    }
    if let Some(user) = matches.text("user")? {
        let (uid, gid) = match user.split_once(':') {
            Some((uid, gid)) => (uid, Some(gid)),
            None => (user, None),
        };
        process.user.uid = numeric_id("uid", uid)?;
        if let Some(gid) = gid {
            process.user.gid = numeric_id("gid", gid)?;
        }
    }
    for gid in matches.texts("additional-gids")? {
        process.user.additional_gids.push(numeric_id("gid", gid)?);
    }
    if let Some(value) = matches.value("no-new-privs") {
        process.no_new_privileges = value == "true";
    }
    if let Some(profile) = matches.text("apparmor")? {
        process.apparmor_profile = Some(profile.to_owned());
    }
    if let Some(label) = matches.text("process-label")? {
        process.selinux_label = Some(label.to_owned());
    }
    add_capabilities(process, &matches.texts("cap")?);
    Ok(())
}

/// A user or group id: a decimal number below the one that means "no change" to the kernel.
///
/// Names are never looked up: a name that happened to be taken for 0 would be root.
fn numeric_id(what: &str, text: &str) -> Result<u32, Usage> {
    let digits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    let number = text.parse().ok().filter(|id| digits && *id != u32::MAX);
    number
        .ok_or_else(|| Usage::new(format!("{what} {text:?} is not a number from 0 to 4294967294")))
}

/// Adds to the bounding, effective and permitted sets, and to the ambient set what is inheritable
/// already, because the kernel refuses the rest.
fn add_capabilities(process: &mut Process, names: &[&str]) {
    let mut added = CapabilitySet::default();
    for name in names {
        let upper = name.to_ascii_uppercase();
        let bare = upper.strip_prefix("CAP_").unwrap_or(&upper);
        added.insert(&format!("CAP_{bare}"));
    }
    for unknown in &added.unknown {
        // As with those of config.json.
        ::log::warn!("exec: the capability {unknown:?} is unknown and left out");
    }
    if added.bits != 0 {
        let sets = process.capabilities.get_or_insert_default();
        sets.bounding.bits |= added.bits;
        sets.effective.bits |= added.bits;
        sets.permitted.bits |= added.bits;
        sets.ambient.bits |= added.bits & sets.inheritable.bits;
    }
}

impl Program for ExecProcess {
    fn pidfd(&self) -> Option<BorrowedFd<'_>> {
        Some(self.pidfd())
    }

    fn forward(&self, signal: i32) {
        if let Some(signal) = Signal::from_number(signal) {
            let _ = self.kill(signal);
        }
    }

    fn wait(&self) -> Result<ExitStatus, Error> {
        self.wait()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_controller_has_one_cgroup_to_join() {
        let mut options = ExecOptions::default();
        assert!(cgroups(&["cpu,memory:a", "pids:b"], &mut options).is_ok());
        let joined = options.controller_cgroups.iter();
        let joined: Vec<_> = joined.map(|(name, path)| (name.as_str(), path.as_str())).collect();
        assert_eq!(joined, [("cpu", "a"), ("memory", "a"), ("pids", "b")]);
        for wrong in [
            &["memory:a", "memory:b"][..],
            &["cpu,memory:a", "pids,cpu:a"],
            &["cpu,cpu:a"],
            &[":a"],
            &["cpu,:a"],
            &[",cpu:a"],
            &["cpu:a", "b"],
            &["cpu:a:b"],
        ] {
            assert!(cgroups(wrong, &mut ExecOptions::default()).is_err(), "{wrong:?}");
        }
    }
}
