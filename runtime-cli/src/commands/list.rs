//! `list`: the containers below the state root.

use coracle::{Listed, State};

use super::{listed, wants_json};
use crate::args::{Globals, Matches};
use crate::failure::Failure;
use crate::{output, root};

pub(super) fn run(globals: &Globals, matches: &Matches) -> Result<(), Failure> {
    let json = wants_json(matches, "table")?;
    let listed = listed(globals, &root::runtime(globals)?)?;
    if matches.switch("quiet") {
        let names: String = listed.iter().map(|listed| format!("{}\n", listed.id)).collect();
        output::text(&names)?;
        return Ok(());
    }
    let states = states(listed);
    if json {
        output::json(&states)?;
    } else {
        output::table(&table(&states))?;
    }
    Ok(())
}

/// The states that can be told; of the others the log says why not.
fn states(listed: Vec<Listed>) -> Vec<State> {
    let mut states = Vec::with_capacity(listed.len());
    for Listed { state, .. } in listed {
        match state {
            Ok(state) => states.push(state),
            // It names the container.
            Err(error) => ::log::warn!("{error}"),
        }
    }
    states
}

fn table(states: &[State]) -> Vec<[String; 6]> {
    let head = ["ID", "PID", "STATUS", "BUNDLE", "CREATED", "OWNER"];
    let rows = states.iter().map(|state| {
        [
            state.id.to_string(),
            state.pid.to_string(),
            state.status.to_string(),
            state.bundle.display().to_string(),
            state.created.clone(),
            state.owner.clone(),
        ]
    });
    [head.map(str::to_owned)].into_iter().chain(rows).collect()
}
