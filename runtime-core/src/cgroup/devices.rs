//! The device rules of a container as one filter.

use std::fmt;

use crate::error::{Error, ErrorKind, Result};
use crate::spec::resources::{Access, DeviceKind, DeviceNumber, DeviceRule};

/// What every container may use, as in runc: making nodes, the devices that the specification
/// demands, pseudo-terminals and tun/tap. A node that can be made but not opened does no harm.
const ALWAYS: [Rule; 11] = [
    Rule::allow(DeviceKind::Character, None, None, Access::MKNOD),
    Rule::allow(DeviceKind::Block, None, None, Access::MKNOD),
    Rule::allow(DeviceKind::Character, Some(1), Some(3), Access::ALL), // null
    Rule::allow(DeviceKind::Character, Some(1), Some(5), Access::ALL), // zero
    Rule::allow(DeviceKind::Character, Some(1), Some(7), Access::ALL), // full
    Rule::allow(DeviceKind::Character, Some(1), Some(8), Access::ALL), // random
    Rule::allow(DeviceKind::Character, Some(1), Some(9), Access::ALL), // urandom
    Rule::allow(DeviceKind::Character, Some(5), Some(0), Access::ALL), // tty
    Rule::allow(DeviceKind::Character, Some(5), Some(2), Access::ALL), // ptmx
    Rule::allow(DeviceKind::Character, Some(136), None, Access::ALL),  // pts/*
    Rule::allow(DeviceKind::Character, Some(10), Some(200), Access::ALL), // net/tun
];

/// A rule about character or about block devices.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rule {
    /// Whether it allows.
    pub(super) allow: bool,
    /// [`DeviceKind::Character`] or [`DeviceKind::Block`].
    pub(super) kind: DeviceKind,
    /// The major number, or every one.
    pub(super) major: DeviceNumber,
    /// The minor number, or every one.
    pub(super) minor: DeviceNumber,
    /// What it is about.
    pub(super) access: Access,
}

impl Rule {
    const fn allow(
        kind: DeviceKind,
        major: Option<u32>,
        minor: Option<u32>,
        access: Access,
    ) -> Self {
        Self { allow: true, kind, major: DeviceNumber(major), minor: DeviceNumber(minor), access }
    }

    /// Whether every container has this one, so that its failure in a nested container is no loss
    /// that the configuration would notice.
    pub(super) fn is_always(&self) -> bool {
        ALWAYS.contains(self)
    }

    fn same_devices(&self, other: &Self) -> bool {
        (self.kind, self.major, self.minor) == (other.kind, other.major, other.minor)
    }

    fn covers(&self, other: &Self) -> bool {
        let covers = |wide: DeviceNumber, narrow| wide.0.is_none() || wide == narrow;
        self.kind == other.kind
            && covers(self.major, other.major)
            && covers(self.minor, other.minor)
    }

    fn overlaps(&self, other: &Self) -> bool {
        let meet = |a: DeviceNumber, b: DeviceNumber| a.0.is_none() || b.0.is_none() || a == b;
        self.kind == other.kind && meet(self.major, other.major) && meet(self.minor, other.minor)
    }
}

impl fmt::Display for Rule {
    /// The line that `devices.allow` and `devices.deny` take: `c 1:3 rwm`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}:{} {}", self.kind.letter(), self.major, self.minor, self.access)
    }
}

/// The verdict on every device: the last rule that is about a device and an access decides.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    /// The verdict where no rule decides.
    pub(super) allow: bool,
    /// The rules, in order.
    pub(super) rules: Vec<Rule>,
}

impl Filter {
    /// The filter for these rules. Like runc's it starts from "nothing is allowed" and ends with
    /// what every container may use.
    pub(super) fn new(rules: &[DeviceRule]) -> Self {
        let mut filter = Self { allow: false, rules: Vec::with_capacity(rules.len() + 11) };
        for rule in rules {
            filter.push(rule);
        }
        filter.rules.extend(ALWAYS);
        filter
    }

    fn push(&mut self, rule: &DeviceRule) {
        let &DeviceRule { allow, kind, major, minor, access } = rule;
        let one = |kind| Rule { allow, kind, major, minor, access };
        match kind {
            DeviceKind::All if (major.0, minor.0, access) == (None, None, Access::ALL) => {
                self.allow = allow;
                self.rules.clear();
            }
            DeviceKind::All => {
                self.rules.extend([one(DeviceKind::Character), one(DeviceKind::Block)]);
            }
            kind => self.rules.push(one(kind)),
        }
    }

    /// The same filter as a set of exceptions from the verdict, which is all that cgroup v1 can
    /// hold; the order no longer matters.
    ///
    /// # Errors
    /// When a rule takes a part out of an earlier, wider exception.
    pub(super) fn exceptions(&self) -> Result<Vec<Rule>> {
        let mut exceptions: Vec<Rule> = Vec::with_capacity(self.rules.len());
        for rule in &self.rules {
            if rule.allow == self.allow {
                take_out(&mut exceptions, rule)?;
            } else if let Some(same) = exceptions.iter_mut().find(|one| one.same_devices(rule)) {
                same.access = same.access.with(rule.access);
            } else {
                exceptions.push(*rule);
            }
        }
        exceptions.retain(|exception| !exception.access.is_empty());
        Ok(exceptions)
    }

    /// The same filter with as few rules as can easily be had.
    pub(super) fn minimal(self) -> Self {
        match self.exceptions() {
            Ok(rules) => Self { allow: self.allow, rules },
            Err(_) => self,
        }
    }
}

fn take_out(exceptions: &mut [Rule], rule: &Rule) -> Result<()> {
    for exception in exceptions {
        if rule.covers(exception) {
            exception.access = exception.access.without(rule.access);
        } else if rule.overlaps(exception) && exception.access.meets(rule.access) {
            let message = format!(
                "cgroup v1 cannot hold the rule {rule:?} after the wider {exception:?}",
                rule = rule.to_string(),
                exception = exception.to_string()
            );
            return Err(Error::new(ErrorKind::Unsupported, message)
                .with_field("linux.resources.devices")
                .with_hint("list the allowed devices one by one"));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn filter(text: &str) -> Filter {
        Filter::new(&serde_json::from_str::<Vec<DeviceRule>>(text).expect("rules"))
    }

    fn lines(filter: &Filter) -> Vec<String> {
        let mut lines: Vec<String> =
            filter.exceptions().expect("no holes").iter().map(Rule::to_string).collect();
        lines.sort();
        lines
    }

    const DEFAULT: [&str; 11] = [
        "b *:* m",
        "c *:* m",
        "c 10:200 rwm",
        "c 136:* rwm",
        "c 1:3 rwm",
        "c 1:5 rwm",
        "c 1:7 rwm",
        "c 1:8 rwm",
        "c 1:9 rwm",
        "c 5:0 rwm",
        "c 5:2 rwm",
    ];

    #[test]
    fn without_rules_the_default_devices_only() {
        for rules in ["[]", r#"[{"allow":false,"access":"rwm"}]"#] {
            let filter = filter(rules);
            assert!(!filter.allow);
            assert_eq!(lines(&filter), DEFAULT);
        }
    }

    #[test]
    fn all_allowed_has_only_denials() {
        let text = r#"[{"allow":true,"access":"rwm"},
            {"allow":false,"type":"b","major":8,"access":"w"}]"#;
        let filter = filter(text);
        assert!(filter.allow);
        // The default rules allow making nodes, which this denial is not about.
        assert_eq!(lines(&filter), ["b 8:* w"]);
    }

    #[test]
    fn equal_devices_are_merged_and_taken_out() {
        let text = r#"[{"allow":true,"type":"c","major":10,"minor":229,"access":"r"},
            {"allow":true,"type":"c","major":10,"minor":229,"access":"w"},
            {"allow":true,"type":"b","major":8,"minor":0,"access":"rw"},
            {"allow":false,"type":"b","major":8,"access":"rwm"}]"#;
        let all = lines(&filter(text));
        assert!(all.contains(&"c 10:229 rw".to_owned()), "{all:?}");
        assert!(!all.iter().any(|line| line.starts_with("b 8")), "{all:?}");
    }

    #[test]
    fn a_hole_is_refused_for_v1_and_kept_for_v2() {
        let text = r#"[{"allow":true,"type":"b","access":"rw"},
            {"allow":false,"type":"b","major":8,"access":"w"}]"#;
        let error = filter(text).exceptions().expect_err("a hole");
        assert_eq!(error.field(), Some("linux.resources.devices"));
        assert_eq!(filter(text).minimal(), filter(text));
    }

    #[test]
    fn both_kinds_with_numbers_is_two_rules() {
        let all = lines(&filter(r#"[{"allow":true,"major":7,"access":"r"}]"#));
        assert!(all.contains(&"b 7:* r".to_owned()) && all.contains(&"c 7:* r".to_owned()));
    }
}
