//! `process.capabilities`: sets of capabilities by name (capabilities(7)).

use std::fmt;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};
use serde::ser::{Serialize, Serializer};

use super::object::object;

/// Every capability that this version knows; the index is the kernel's number
/// (`linux/capability.h`, Linux 5.9 and newer).
pub const CAPABILITY_NAMES: [&str; 41] = [
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_DAC_READ_SEARCH",
    "CAP_FOWNER",
    "CAP_FSETID",
    "CAP_KILL",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETPCAP",
    "CAP_LINUX_IMMUTABLE",
    "CAP_NET_BIND_SERVICE",
    "CAP_NET_BROADCAST",
    "CAP_NET_ADMIN",
    "CAP_NET_RAW",
    "CAP_IPC_LOCK",
    "CAP_IPC_OWNER",
    "CAP_SYS_MODULE",
    "CAP_SYS_RAWIO",
    "CAP_SYS_CHROOT",
    "CAP_SYS_PTRACE",
    "CAP_SYS_PACCT",
    "CAP_SYS_ADMIN",
    "CAP_SYS_BOOT",
    "CAP_SYS_NICE",
    "CAP_SYS_RESOURCE",
    "CAP_SYS_TIME",
    "CAP_SYS_TTY_CONFIG",
    "CAP_MKNOD",
    "CAP_LEASE",
    "CAP_AUDIT_WRITE",
    "CAP_AUDIT_CONTROL",
    "CAP_SETFCAP",
    "CAP_MAC_OVERRIDE",
    "CAP_MAC_ADMIN",
    "CAP_SYSLOG",
    "CAP_WAKE_ALARM",
    "CAP_BLOCK_SUSPEND",
    "CAP_AUDIT_READ",
    "CAP_PERFMON",
    "CAP_BPF",
    "CAP_CHECKPOINT_RESTORE",
];

object! {
    /// The five capability sets (config.md, "process.capabilities"); what is absent is empty.
    ///
    /// A name that is not known grants nothing: it is kept apart, so that the caller can be warned.
    #[derive(Clone, Debug, Default, PartialEq, Eq)]
    pub struct Capabilities {
        /// The ceiling of what `execve` can grant.
        pub bounding: CapabilitySet = "bounding",
        /// What the program starts with in force.
        pub effective: CapabilitySet = "effective",
        /// What the program may put in force.
        pub permitted: CapabilitySet = "permitted",
        /// What survives `execve` of a file with capabilities.
        pub inheritable: CapabilitySet = "inheritable",
        /// What survives `execve` of any file.
        pub ambient: CapabilitySet = "ambient",
    }
}

impl Capabilities {
    /// The unknown names of all sets, sorted, each once.
    #[must_use]
    pub fn unknown(&self) -> Vec<&str> {
        let sets =
            [&self.bounding, &self.effective, &self.permitted, &self.inheritable, &self.ambient];
        let mut names: Vec<&str> =
            sets.iter().flat_map(|set| set.unknown.iter().map(String::as_str)).collect();
        names.sort_unstable();
        names.dedup();
        names
    }
}

/// A set of capabilities: bit *n* is the kernel's capability number *n*.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CapabilitySet {
    /// The known ones.
    pub bits: u64,
    /// Names that are not known, in the order of the configuration.
    pub unknown: Vec<String>,
}

impl CapabilitySet {
    /// The set with these bits and no unknown names.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self { bits, unknown: Vec::new() }
    }

    /// The kernel's numbers of the known capabilities, ascending.
    pub fn iter(&self) -> impl Iterator<Item = u32> + use<> {
        let bits = self.bits;
        (0..u64::BITS).filter(move |number| bits >> number & 1 == 1)
    }

    /// The names of the known capabilities, by ascending number.
    pub fn names(&self) -> impl Iterator<Item = &'static str> + use<> {
        let bits = self.bits;
        CAPABILITY_NAMES
            .iter()
            .enumerate()
            .filter(move |(number, _)| bits >> number & 1 == 1)
            .map(|(_, name)| *name)
    }

    /// Adds a capability by its name in capitals with `CAP_`; an unknown name is kept apart.
    pub fn insert(&mut self, name: &str) {
        match CAPABILITY_NAMES.iter().position(|known| *known == name) {
            Some(number) => self.bits |= 1 << number,
            None => self.unknown.push(name.to_owned()),
        }
    }
}

impl<'de> Deserialize<'de> for CapabilitySet {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Names;
        impl<'de> Visitor<'de> for Names {
            type Value = CapabilitySet;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of capability names")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<CapabilitySet, A::Error> {
                let mut set = CapabilitySet::default();
                while let Some(InsertName) = seq.next_element_seed(Insert(&mut set))? {}
                Ok(set)
            }
        }
        deserializer.deserialize_seq(Names)
    }
}

/// Reads one name into a set without keeping the string.
struct Insert<'a>(&'a mut CapabilitySet);
struct InsertName;

impl<'de> serde::de::DeserializeSeed<'de> for Insert<'_> {
    type Value = InsertName;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<InsertName, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Insert<'_> {
    type Value = InsertName;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a capability name")
    }

    fn visit_str<E: serde::de::Error>(self, name: &str) -> Result<InsertName, E> {
        self.0.insert(name);
        Ok(InsertName)
    }
}

impl Serialize for CapabilitySet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.names().map(str::to_owned).chain(self.unknown.iter().cloned()))
    }
}
