//! Combinations of namespaces, and what must become of them.

use std::fmt;

use serde_json::{Value, json};

use crate::keeper::{KINDS, Keeper};

/// Where a namespace comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum State {
    /// The configuration does not name it.
    Absent,
    /// It is made.
    New,
    /// It is joined, and belongs to the host's user namespace.
    OfHost,
    /// It is joined, and belongs to the keeper's user namespace.
    OfMember,
}

impl State {
    pub(crate) fn is_joined(self) -> bool {
        matches!(self, Self::OfHost | Self::OfMember)
    }
}

/// A setting that needs a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Rider {
    None,
    Hostname,
    Sysctl,
    TimeOffsets,
}

/// How many combinations of three states there are.
pub(crate) const COMBINATIONS: usize = 3_usize.pow(8);

const SYSCTL: &str = "kernel.shm_rmid_forced";

#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) struct Combination {
    pub(crate) states: [State; 8],
    pub(crate) rider: Rider,
}

impl fmt::Debug for Combination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for ((kind, _), state) in KINDS.iter().zip(self.states) {
            write!(f, "{kind}={state:?} ")?;
        }
        write!(f, "{:?}", self.rider)
    }
}

impl Combination {
    /// The combination of this number; `choice` decides about what the number leaves open.
    pub(crate) fn new(number: usize, choice: u64) -> Self {
        let mut left = number;
        let mut states = [State::Absent; 8];
        for (place, state) in states.iter_mut().enumerate() {
            let joined = if choice >> place & 1 == 1 { State::OfHost } else { State::OfMember };
            *state = [State::Absent, State::New, joined][left % 3];
            left /= 3;
        }
        if states[0].is_joined() {
            // The keeper's user namespace is the only one to join, and root of it can only change a mount
            // namespace of its own.
            states[0] = State::OfMember;
            if states[1].is_joined() {
                states[1] = State::OfMember;
            }
        }
        let riders = [Rider::Hostname, Rider::Sysctl, Rider::TimeOffsets];
        let rider = *riders.get(usize::from((choice >> 8) as u8 % 10)).unwrap_or(&Rider::None);
        Self { states, rider }
    }

    pub(crate) fn state(&self, wanted: &str) -> State {
        let place = KINDS.iter().position(|(kind, _)| *kind == wanted).expect("a kind");
        self.states[place]
    }

    /// The field that must be blamed, if the combination is to be refused.
    pub(crate) fn fault(&self) -> Option<String> {
        let needs =
            |kind, field: &str| (self.state(kind) == State::Absent).then(|| field.to_owned());
        let sysctl = format!("linux.sysctl[\"{SYSCTL}\"]");
        let invalid = match self.rider {
            Rider::None => None,
            Rider::Hostname => needs("uts", "hostname"),
            Rider::Sysctl => needs("ipc", &sysctl),
            Rider::TimeOffsets => needs("time", "linux.timeOffsets"),
        };
        invalid.or_else(|| self.mount_fault()).or_else(|| match self.rider {
            Rider::TimeOffsets if self.state("time").is_joined() => {
                Some("linux.timeOffsets".to_owned())
            }
            Rider::Hostname if self.is_foreign("uts") => Some("hostname".to_owned()),
            _ => None,
        })
    }

    fn mount_fault(&self) -> Option<String> {
        match (self.state("user"), self.state("mount")) {
            (_, State::Absent) => Some("linux.namespaces".to_owned()),
            (State::New, state) if state.is_joined() => {
                Some(format!("linux.namespaces[{}].path", self.index("mount")))
            }
            _ => None,
        }
    }

    /// Whether the container has no privilege over a joined namespace.
    fn is_foreign(&self, kind: &str) -> bool {
        match self.state("user") {
            State::Absent => false,
            State::OfMember => self.state(kind) == State::OfHost,
            _ => self.state(kind).is_joined(),
        }
    }

    /// The place in the list of the configuration.
    fn index(&self, wanted: &str) -> usize {
        let named = KINDS.iter().zip(self.states).filter(|(_, state)| *state != State::Absent);
        named.map(|((kind, _), _)| *kind).position(|kind| kind == wanted).expect("it is named")
    }

    /// The configuration; the program lists its namespaces.
    pub(crate) fn config(&self, host: &Keeper, member: &Keeper) -> Value {
        let namespaces: Vec<Value> = KINDS
            .iter()
            .zip(self.states)
            .filter_map(|((kind, file), state)| match state {
                State::Absent => None,
                State::New => Some(json!({ "type": kind })),
                State::OfHost => Some(json!({ "type": kind, "path": host.path(file) })),
                State::OfMember => Some(json!({ "type": kind, "path": member.path(file) })),
            })
            .collect();
        let mut config = json!({
            "ociVersion": "1.2.1",
            "process": {"user": {"uid": 0, "gid": 0}, "cwd": "/", "env": ["PATH=/bin"],
                        "args": ["busybox", "sh", "-c", "busybox ls -l /proc/self/ns >/output"]},
            "root": {"path": "rootfs"},
            "mounts": [
                {"destination": "/proc", "type": "proc", "source": "proc"},
                {"destination": "/dev", "type": "tmpfs", "source": "tmpfs", "options": ["mode=755"]},
                {"destination": "/sys", "type": "sysfs", "source": "sysfs", "options": ["ro"]}],
            "linux": {"namespaces": namespaces},
        });
        if self.state("user") == State::New {
            let map = json!([{"containerID": 0, "hostID": 0, "size": 1},
                             {"containerID": 1, "hostID": 300_000, "size": 1000}]);
            config["linux"]["uidMappings"] = map.clone();
            config["linux"]["gidMappings"] = map;
        }
        match self.rider {
            Rider::None => {}
            Rider::Hostname => config["hostname"] = json!("walker"),
            Rider::Sysctl => config["linux"]["sysctl"] = json!({ SYSCTL: "1" }),
            Rider::TimeOffsets => {
                config["linux"]["timeOffsets"] = json!({"monotonic": {"secs": 5, "nanosecs": 7}});
            }
        }
        config
    }
}
