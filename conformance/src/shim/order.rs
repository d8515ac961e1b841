//! The order in which the events of a container may come.

use std::collections::BTreeMap;

use super::sink::Event;
use crate::failure::{Check, broken};

#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
enum Step {
    #[default]
    Nothing,
    Created,
    Started,
    Exited,
}

#[derive(Debug, Default)]
struct Life {
    init: Step,
    execs: BTreeMap<String, Step>,
}

/// Checks the whole stream, of all containers.
///
/// # Errors
/// The first event that is wrong or may not come where it comes.
pub(crate) fn check(events: &[Event], namespace: &str) -> Check {
    let mut lives: BTreeMap<&str, Life> = BTreeMap::new();
    for (index, event) in events.iter().enumerate() {
        if let Err(why) = one(lives.entry(&event.container).or_default(), event, namespace) {
            let before: Vec<String> = events
                .iter()
                .take(index + 1)
                .filter(|other| other.container == event.container)
                .map(|other| format!("{}:{}", other.what, other.exec))
                .collect();
            return broken(format!(
                "event {} of {:?}, exec {:?}: {why}; the events were {}",
                event.what,
                event.container,
                event.exec,
                before.join(" ")
            ));
        }
    }
    Ok(())
}

fn one(life: &mut Life, event: &Event, namespace: &str) -> Result<(), String> {
    if let Some(problem) = &event.problem {
        return Err(problem.clone());
    }
    if event.namespace != namespace {
        return Err(format!("in the namespace {:?}", event.namespace));
    }
    if event.time == 0 {
        return Err("without a time".to_owned());
    }
    let wanted = |right: bool, text: &str| if right { Ok(()) } else { Err(text.to_owned()) };
    let lives = matches!(life.init, Step::Created | Step::Started);
    match event.what.as_str() {
        "create" => {
            wanted(life.init == Step::Nothing, "created twice")?;
            // What is restored has a process from its start on.
            wanted(event.pid > 0 || !event.checkpoint.is_empty(), "without a pid")?;
            life.init = Step::Created;
        }
        "start" => {
            wanted(life.init == Step::Created, "not after create")?;
            wanted(event.pid > 0, "without a pid")?;
            life.init = Step::Started;
        }
        "exit" | "delete" if !event.exec.is_empty() => exec(life, event)?,
        "exit" => {
            wanted(lives, "not of a container that lives, or twice")?;
            wanted(event.pid > 0 && event.exited > 0, "without a pid or a time of the exit")?;
            if let Some((id, _)) = life.execs.iter().find(|(_, step)| **step == Step::Started) {
                return Err(format!("before the exit of the exec {id:?}"));
            }
            life.init = Step::Exited;
        }
        "delete" => {
            wanted(matches!(life.init, Step::Exited | Step::Created), "before the exit")?;
            *life = Life::default();
        }
        "exec-added" | "exec-started" => {
            wanted(lives, "not of a container that lives")?;
            exec(life, event)?;
        }
        _ => wanted(lives, "not of a container that lives")?,
    }
    Ok(())
}

fn exec(life: &mut Life, event: &Event) -> Result<(), String> {
    let step = life.execs.entry(event.exec.clone()).or_default();
    let (from, to) = match event.what.as_str() {
        // An id may be used again after a delete, which has no event in older shims.
        "exec-added" if *step != Step::Started => (*step, Step::Created),
        "exec-added" => (Step::Nothing, Step::Created),
        "exec-started" => (Step::Created, Step::Started),
        "exit" => (Step::Started, Step::Exited),
        _ => {
            // The delete of one that was never started has no exit before it.
            if *step == Step::Started {
                return Err("deleted while it runs".to_owned());
            }
            life.execs.remove(&event.exec);
            return Ok(());
        }
    };
    if *step != from {
        return Err(format!("comes after {step:?}"));
    }
    if event.what != "exec-added" && event.pid == 0 {
        return Err("without a pid".to_owned());
    }
    *step = to;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::check;
    use crate::shim::sink::Event;

    /// `what` or `what:exec`, one word an event.
    fn stream(words: &str) -> Vec<Event> {
        let event = |word: &str| {
            let (what, exec) = word.split_once(':').unwrap_or((word, ""));
            let (container, namespace) = ("c".to_owned(), "n".to_owned());
            let (what, exec) = (what.to_owned(), exec.to_owned());
            Event { what, exec, container, namespace, pid: 7, exited: 9, time: 9, ..<_>::default() }
        };
        words.split_whitespace().map(event).collect()
    }

    #[test]
    fn lives_as_they_should_be_are_accepted() {
        for words in [
            "create start exit delete",
            "create exit delete create start exit delete",
            "create start exec-added:a exec-started:a exit:a exit delete",
            "create start exec-added:a exec-started:a exit:a exec-added:a exec-started:a exit:a exit",
            "create start paused resumed oom exit delete",
            "create start exec-added:a delete:a exit delete",
            "create delete",
        ] {
            assert!(check(&stream(words), "n").is_ok(), "{words}");
        }
    }

    #[test]
    fn everything_else_is_not() {
        for words in [
            "start",
            "create create",
            "create start exit exit",
            "create start delete",
            "create start exit oom",
            "create start exec-added:a exec-started:a exit",
            "create start exec-added:a exec-started:a exit:a exit:a",
            "create start exec-started:a",
            "create start exec-added:a exit:a",
            "create start exit exec-added:a",
            "create start exec-added:a exec-started:a delete:a",
        ] {
            assert!(check(&stream(words), "n").is_err(), "{words}");
        }
        assert!(check(&stream("create"), "other").is_err());
    }
}
