//! `explain`: the steps that `create` would take.

use coracle::{ContainerId, CreateOptions};

use super::{creation, wants_json};
use crate::args::{Globals, Matches};
use crate::failure::Failure;
use crate::{output, root};

pub(super) fn run(globals: &Globals, matches: &Matches) -> Result<(), Failure> {
    let json = wants_json(matches, "text")?;
    let name = matches.argument(0)?.unwrap_or("container");
    let id: ContainerId = name.parse()?;
    let bundle = creation::bundle(matches)?;
    let mut options = CreateOptions::default();
    options.no_pivot = matches.switch("no-pivot");
    options.no_new_keyring = matches.switch("no-new-keyring");
    let plan = root::runtime(globals)?.plan(&id, &bundle, &options)?;
    if json {
        output::indented_json(&plan)?;
    } else {
        output::text(&plan.to_string())?;
    }
    Ok(())
}
