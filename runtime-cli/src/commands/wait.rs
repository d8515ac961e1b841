//! `wait`: the exit status of a container's program, for whoever is not its parent.

use coracle::{Error, ErrorKind};

use super::container;
use crate::args::{Globals, Matches};
use crate::failure::Failure;
use crate::output;

pub(super) fn run(globals: &Globals, matches: &Matches) -> Result<(), Failure> {
    let container = container(globals, matches)?;
    let status = container.wait_for_end()?.ok_or_else(|| {
        let message =
            format!("container {} has ended; its exit status is not known", container.id());
        Error::new(ErrorKind::Unsupported, message)
            .with_hint("others than its parent can know it from Linux 6.15 on")
    })?;
    output::text(&format!("{}\n", status.code()))?;
    Ok(())
}
