//! One file per command.

mod checkpoint;
mod completion;
mod create;
mod creation;
mod delete;
mod events;
mod exec;
mod explain;
mod features;
mod info;
mod kill;
mod list;
mod manual;
mod mounts;
mod pause;
mod ps;
mod restore;
mod resume;
mod run;
mod spec;
mod start;
mod state;
mod update;
mod wait;

use coracle::{Container, ContainerId, Error, ErrorKind, Listed, Runtime};

use crate::args::table::Verb;
use crate::args::{Globals, Matches, Usage};
use crate::failure::Failure;
use crate::pattern::Pattern;
use crate::root;

/// Runs the command; the result is the exit status.
pub(crate) fn run(globals: &Globals, matches: &Matches) -> Result<u8, Failure> {
    let done = match matches.command.verb {
        Verb::Run => return run::run(globals, matches),
        Verb::Exec => return exec::run(globals, matches),
        Verb::Restore => return restore::run(globals, matches),
        Verb::Create => create::run(globals, matches),
        Verb::Start => start::run(globals, matches),
        Verb::State => state::run(globals, matches),
        Verb::Kill => kill::run(globals, matches),
        Verb::Delete => delete::run(globals, matches),
        Verb::List => list::run(globals, matches),
        Verb::Ps => ps::run(globals, matches),
        Verb::Spec => spec::run(matches),
        Verb::Pause => pause::run(globals, matches),
        Verb::Resume => resume::run(globals, matches),
        Verb::Update => update::run(globals, matches),
        Verb::Events => events::run(globals, matches),
        Verb::Features => features::run(),
        Verb::Mounts => mounts::run(globals, matches),
        Verb::Info => info::run(globals),
        Verb::Explain => explain::run(globals, matches),
        Verb::Wait => wait::run(globals, matches),
        Verb::Checkpoint => checkpoint::run(globals, matches),
        Verb::Completion => completion::run(matches),
        Verb::Manual => manual::run(matches),
    };
    done.map(|()| 0)
}

/// The container's name, which is the first argument.
fn id(matches: &Matches) -> Result<ContainerId, Failure> {
    let name = matches.argument(0)?.unwrap_or_default();
    Ok(name.parse::<ContainerId>()?)
}

/// The container that the first argument names.
fn container(globals: &Globals, matches: &Matches) -> Result<Container, Failure> {
    let id = id(matches)?;
    Ok(root::runtime(globals)?.load(&id)?)
}

/// The containers below the state root.
fn listed(globals: &Globals, runtime: &Runtime) -> Result<Vec<Listed>, Error> {
    match runtime.list() {
        // Nothing was ever created below the default root.
        Err(error) if error.kind() == ErrorKind::NotFound && globals.root.is_none() => {
            Ok(Vec::new())
        }
        listed => listed,
    }
}

/// Does something to every container that the first argument, a regular expression, matches: to all of
/// them, whatever happens to one. The first failure is the command's, others are only logged.
fn each_match(
    globals: &Globals,
    matches: &Matches,
    act: impl Fn(&Runtime, &ContainerId) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let text = matches.argument(0)?.unwrap_or_default();
    let pattern = Pattern::new(text)
        .map_err(|fault| Usage::new(format!("invalid regular expression {text:?}: {fault}")))?;
    let runtime = root::runtime(globals)?;
    let mut first = Ok(());
    for Listed { id, .. } in listed(globals, &runtime)? {
        if !pattern.matches(id.as_str()) {
            continue;
        }
        match (act(&runtime, &id), &first) {
            (Err(failure), Ok(())) => first = Err(failure),
            (Err(failure), Err(_)) => ::log::warn!("{id}: {}", failure.text()),
            (Ok(()), _) => {}
        }
    }
    first
}

/// Whether `--format` asks for JSON; else for the other format of this command.
fn wants_json(matches: &Matches, other: &str) -> Result<bool, Failure> {
    match matches.text("format")? {
        Some("json") => Ok(true),
        Some(name) if name == other => Ok(false),
        None => Ok(false),
        Some(name) => Err(Usage::new(format!("invalid format option: {name}")).into()),
    }
}
