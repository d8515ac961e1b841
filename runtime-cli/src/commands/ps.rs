//! `ps`: the processes of a container.

use std::process::Command;

use coracle::{Error, ErrorKind};

use super::{container, wants_json};
use crate::args::{Globals, Matches};
use crate::failure::Failure;
use crate::output;

pub(super) fn run(globals: &Globals, matches: &Matches) -> Result<(), Failure> {
    let json = wants_json(matches, "table")?;
    let pids = container(globals, matches)?.processes()?;
    if json {
        output::json(&pids)?;
        return Ok(());
    }
    output::text(&filter(&host_processes(matches)?, &pids)?)?;
    Ok(())
}

/// What the host's `ps` prints with the options of the command line.
fn host_processes(matches: &Matches) -> Result<String, Error> {
    let mut ps = Command::new("ps");
    match matches.arguments_from(1) {
        [] => ps.arg("-ef"),
        options => ps.args(options),
    };
    let output = ps.output().map_err(|source| Error::io("run ps", &source))?;
    if output.status.success() {
        return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    let said = said.lines().next().unwrap_or("no message");
    Err(Error::new(ErrorKind::System, format!("ps failed: {}: {said}", output.status)))
}

/// The head of the table and the rows of these processes.
fn filter(table: &str, pids: &[i32]) -> Result<String, Error> {
    let mut lines = table.lines();
    let head = lines.next().unwrap_or_default();
    let column = head.split_whitespace().position(|word| word == "PID");
    let column = column.ok_or_else(|| {
        Error::new(ErrorKind::System, "the table of ps has no column PID")
            .with_hint("choose options of ps that show it")
    })?;
    let mut out = format!("{head}\n");
    for line in lines {
        let word = line.split_whitespace().nth(column);
        let pid = word.and_then(|word| word.parse::<i32>().ok());
        if pid.is_some_and(|pid| pids.contains(&pid)) {
            out.push_str(line);
            out.push('\n');
        }
    }
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_chosen_by_their_process_id() {
        let table = "UID  PID  PPID CMD\nroot   1     0 init 7\nroot   7     1 sh\nroot 17 7 x\n";
        assert_eq!(
            filter(table, &[7]).expect("a table"),
            "UID  PID  PPID CMD\nroot   7     1 sh\n"
        );
        assert!(filter("UID PPID\n", &[7]).is_err());
    }
}
