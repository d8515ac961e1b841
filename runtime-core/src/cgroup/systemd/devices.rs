//! Device rules as properties of a unit on cgroup v1 (systemd.resource-control(5), "DeviceAllow").
//!
//! There systemd writes its own list whenever it looks at the unit again, and without a policy that
//! list is "all". On cgroup v2 it leaves filters of others alone, and none of these is needed.

use super::message::{Property, Value};
use crate::cgroup::devices::{Filter, Rule};
use crate::error::Result;
use crate::spec::resources::{Access, DeviceKind, DeviceNumber, DeviceRule};

/// What systemd is told, which may allow less than the rules, never more: it cannot express a
/// device class of a major number that has no driver.
///
/// # Errors
/// When cgroup v1 cannot hold the rules.
pub(super) fn properties(rules: &[DeviceRule]) -> Result<Vec<Property>> {
    let filter = Filter::new(rules);
    if filter.allow {
        return Ok(vec![("DevicePolicy".to_owned(), Value::Text("auto".to_owned()))]);
    }
    let classes = std::fs::read_to_string("/proc/devices").unwrap_or_default();
    let allowed = filter.exceptions()?;
    let pairs = allowed.iter().filter_map(|rule| Some((name(rule, &classes)?, access(rule))));
    Ok(vec![
        ("DevicePolicy".to_owned(), Value::Text("strict".to_owned())),
        ("DeviceAllow".to_owned(), Value::Pairs(pairs.collect())),
    ])
}

/// The same for a unit that has a list already: an empty one clears it, another is added to it.
///
/// # Errors
/// As [`properties`].
pub(super) fn replacement(rules: &[DeviceRule]) -> Result<Vec<Property>> {
    let mut list = vec![("DeviceAllow".to_owned(), Value::Pairs(Vec::new()))];
    list.extend(properties(rules)?);
    Ok(list)
}

/// The same for the lines of a `devices.list` that was in force before.
pub(super) fn previous(lines: &str) -> Vec<Property> {
    let classes = std::fs::read_to_string("/proc/devices").unwrap_or_default();
    let pairs = lines.lines().filter_map(|line| {
        let mut words = line.split(' ');
        let (kind, numbers, access) = (words.next()?, words.next()?, words.next()?);
        let kind = if kind == "b" { DeviceKind::Block } else { DeviceKind::Character };
        let (major, minor) = numbers.split_once(':')?;
        let number = |text: &str| DeviceNumber(text.parse().ok());
        let (major, minor) = (number(major), number(minor));
        let rule = Rule { allow: true, kind, major, minor, access: Access::ALL };
        Some((name(&rule, &classes)?, access.to_owned()))
    });
    vec![
        ("DeviceAllow".to_owned(), Value::Pairs(Vec::new())),
        ("DevicePolicy".to_owned(), Value::Text("strict".to_owned())),
        ("DeviceAllow".to_owned(), Value::Pairs(pairs.collect())),
    ]
}

fn access(rule: &Rule) -> String {
    rule.access.to_string()
}

/// A device as systemd names it: a node, or a class of nodes by the driver's name.
fn name(rule: &Rule, classes: &str) -> Option<String> {
    let (word, heading) = match rule.kind {
        DeviceKind::Block => ("block", "Block devices:"),
        _ => ("char", "Character devices:"),
    };
    match (rule.major.0, rule.minor.0) {
        (None, None) => Some(format!("{word}-*")),
        (Some(major), Some(minor)) => Some(format!("/dev/{word}/{major}:{minor}")),
        (Some(major), None) => {
            let lines = classes.lines().skip_while(|line| *line != heading).skip(1);
            let mut lines = lines.take_while(|line| !line.is_empty());
            let driver = lines.find_map(|line| {
                let (number, driver) = line.trim().split_once(' ')?;
                (number == major.to_string()).then_some(driver)
            })?;
            Some(format!("{word}-{driver}"))
        }
        // Every major with one minor has no name.
        (None, Some(_)) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_classes_and_everything() {
        let rules: Vec<DeviceRule> = serde_json::from_str(
            r#"[{"allow":false,"access":"rwm"},
                {"allow":true,"type":"b","major":7,"minor":3,"access":"rw"}]"#,
        )
        .expect("rules");
        let all = properties(&rules).expect("expressible");
        let [(_, policy), (_, Value::Pairs(pairs))] = &all[..] else { panic!("{all:?}") };
        assert_eq!(*policy, Value::Text("strict".to_owned()));
        let has = |name: &str, access: &str| pairs.contains(&(name.to_owned(), access.to_owned()));
        assert!(has("/dev/block/7:3", "rw") && has("/dev/char/1:3", "rwm"), "{pairs:?}");
        assert!(has("char-*", "m") && has("char-pts", "rwm"), "{pairs:?}");
    }

    #[test]
    fn a_replacement_clears_the_list_before_it_adds() {
        let rules = serde_json::from_str::<Vec<DeviceRule>>(
            r#"[{"allow":true,"type":"c","major":1,"minor":9,"access":"r"}]"#,
        );
        let all = replacement(&rules.expect("rules")).expect("expressible");
        let lists: Vec<&Value> =
            all.iter().filter(|(name, _)| name == "DeviceAllow").map(|(_, list)| list).collect();
        let [Value::Pairs(first), Value::Pairs(second)] = lists[..] else { panic!("{all:?}") };
        assert!(first.is_empty() && !second.is_empty(), "{all:?}");
    }

    #[test]
    fn a_list_in_force_reads_back_as_properties() {
        let all = previous("c 1:3 rwm\nb *:* m\nc 10:200 rw\n");
        let [(_, Value::Pairs(none)), _, (_, Value::Pairs(pairs))] = &all[..] else {
            panic!("{all:?}")
        };
        let pair = |name: &str, access: &str| (name.to_owned(), access.to_owned());
        let wanted =
            [pair("/dev/char/1:3", "rwm"), pair("block-*", "m"), pair("/dev/char/10:200", "rw")];
        assert_eq!((none.len(), &**pairs), (0, &wanted[..]));
    }

    #[test]
    fn no_restriction_stays_none() {
        let rules = serde_json::from_str::<Vec<DeviceRule>>(r#"[{"allow":true,"access":"rwm"}]"#);
        let all = properties(&rules.expect("rules")).expect("expressible");
        assert_eq!(all, [("DevicePolicy".to_owned(), Value::Text("auto".to_owned()))]);
    }
}
