//! Steps 15 and 18 to 24: the process itself, of a container and of an `exec`.

use std::collections::BTreeSet;

use super::draft::{Draft, Handle, list, numbers, text};
use super::{IdMaps, Origin, Source, labels, notify, scheduling};
use crate::error::{Error, ErrorKind, Result};
use crate::program::{Gate, KEPT, List, Numbers, Step};
use crate::spec::{Capabilities, MemoryPolicy, Personality, Process};

/// The file mode creation mask when the configuration has none, as runc has it.
const UMASK: u32 = 0o022;

/// Whose first process it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Joining {
    /// The container's.
    First,
    /// One that joins a running container.
    Running,
}

/// What the steps of a process depend on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Payload<'a> {
    pub(super) process: &'a Process,
    /// Whether there is a filter to load.
    pub(super) seccomp: bool,
    /// Whether it has a user namespace other than the caller's.
    pub(super) user_namespace: bool,
    pub(super) id_maps: Option<&'a IdMaps>,
    pub(super) listen_fds: u32,
    /// Whether there is a socket for messages to the service manager.
    pub(super) notify: bool,
    pub(super) joining: Joining,
    /// Whether programs are run before its own.
    pub(super) hooks: bool,
    pub(super) personality: Option<&'a Personality>,
    pub(super) memory_policy: Option<&'a MemoryPolicy>,
    /// Whether it keeps the caller's supplementary groups.
    pub(super) keep_groups: bool,
}

/// Standard streams that are not the caller's.
pub(super) fn streams(others: bool, draft: &mut Draft<'_>) -> Option<[Handle; 3]> {
    others.then(|| [0, 1, 2].map(|number| draft.receive(Source::Stream(number), Origin::None)))
}

/// Puts them into their places.
pub(super) fn write_streams(streams: Option<[Handle; 3]>, draft: &mut Draft<'_>) {
    if let Some([stdin, stdout, stderr]) = streams.map(|all| all.map(|one| draft.slot(one))) {
        draft.push(&Step::Stdio { stdin, stdout, stderr }, Origin::None);
    }
}

impl Payload<'_> {
    pub(super) fn write_terminal(&self, draft: &mut Draft<'_>, bind: bool) {
        if self.process.terminal {
            let size = self.process.console_size.unwrap_or_default();
            let (rows, columns) = (size.height.into(), size.width.into());
            let step = Step::Console { uid: self.process.user.uid, rows, columns, bind };
            draft.push(&step, Origin::Field("process.terminal"));
        }
    }

    /// Everything up to the point where `create` is done.
    pub(super) fn write_settings(&self, draft: &mut Draft<'_>) -> Result<()> {
        let process = self.process;
        let origin = Origin::Field("process.cwd");
        let create = self.joining == Joining::First;
        draft.push(&Step::WorkingDirectory { path: &text(&process.cwd, &origin)?, create }, origin);
        if !process.env.iter().any(|entry| entry.starts_with("HOME=")) {
            draft.push(&Step::Home { uid: process.user.uid }, Origin::Field("process.env"));
        }
        if self.seccomp {
            draft.push(&Step::ReceiveFilter {}, Origin::Field("linux.seccomp"));
        }
        let umask = Origin::Field("process.user.umask");
        draft.push(&Step::Umask { mask: process.user.umask.unwrap_or(UMASK) }, umask);
        scheduling::write_container(self.personality, self.memory_policy, draft)?;
        if !self.follows_hooks() {
            scheduling::write_process(process, draft);
        }
        labels::write_process(process, draft)?;
        self.write_credentials(draft)?;
        self.write_lookup(draft)?;
        let no_new_privileges = process.no_new_privileges;
        draft.push(&Step::Verify { no_new_privileges }, Origin::None);
        Ok(())
    }

    /// Whether the policy must wait for the hooks that this process runs itself.
    fn follows_hooks(&self) -> bool {
        self.hooks && scheduling::forbids_forks(self.process)
    }

    fn write_credentials(&self, draft: &mut Draft<'_>) -> Result<()> {
        let process = self.process;
        let origin = Origin::Field("process.capabilities");
        let capabilities = self.capabilities(draft)?;
        let (last, bounding) = (draft.host.last_capability, capabilities.bounding.bits);
        draft.push(&Step::Bounding { bounding, last }, origin.clone());
        let groups = numbers(&self.groups(draft));
        let user =
            Step::User { uid: process.user.uid, gid: process.user.gid, groups: Numbers(&groups) };
        draft.push(&user, Origin::Field("process.user"));
        let step = Step::Capabilities {
            bounding,
            effective: capabilities.effective.bits,
            permitted: capabilities.permitted.bits,
            inheritable: capabilities.inheritable.bits,
            ambient: capabilities.ambient.bits,
            last,
            keep_admin: self.seccomp && !process.no_new_privileges,
        };
        draft.push(&step, origin);
        if process.no_new_privileges {
            draft.push(&Step::NoNewPrivileges {}, Origin::Field("process.noNewPrivileges"));
        }
        Ok(())
    }

    /// The supplementary groups; none where the kernel forbids them: a caller without privilege
    /// that maps one group itself must deny setgroups (user_namespaces(7)).
    fn groups(&self, draft: &mut Draft<'_>) -> Vec<u32> {
        let (host, groups) = (draft.host, &self.process.user.additional_gids);
        if self.keep_groups {
            if !groups.is_empty() {
                let words = "process.user.additionalGids: ignored, as the caller's groups are kept";
                draft.warnings.push(words.to_owned());
            }
            return vec![KEPT];
        }
        let denied = !host.is_privileged()
            && self.id_maps.is_some_and(
                |maps| matches!(maps.gid[..], [map] if map.size == 1 && map.host_id == host.gid),
            );
        if !denied {
            return groups.clone();
        }
        if groups.iter().any(|group| *group != self.process.user.gid) {
            draft.warnings.push(
                "process.user.additionalGids: ignored, as only one group is mapped".to_owned(),
            );
        }
        Vec::new()
    }

    /// The capability sets, less what cannot be had; absent sets are empty.
    fn capabilities(&self, draft: &mut Draft<'_>) -> Result<Capabilities> {
        let mut sets = self.process.capabilities.clone().unwrap_or_default();
        let beyond_effective = sets.effective.bits & !sets.permitted.bits;
        if beyond_effective != 0 {
            return Err(Error::new(
                ErrorKind::InvalidSpec,
                format!("{} not in the permitted set", names(beyond_effective)),
            )
            .with_field("process.capabilities.effective"));
        }
        // In a user namespace of its own a process has every capability.
        let known = u64::MAX >> (63 - draft.host.last_capability.min(63));
        let available = if self.user_namespace { known } else { known & draft.host.bounding };
        let mut lost = 0;
        for set in [
            &mut sets.bounding,
            &mut sets.effective,
            &mut sets.permitted,
            &mut sets.inheritable,
            &mut sets.ambient,
        ] {
            lost |= set.bits & !available;
            set.bits &= available;
        }
        if lost != 0 {
            let lost = names(lost);
            let warning = format!("ignoring unknown or unavailable capabilities: [{lost}]");
            draft.warnings.push(warning);
        }
        // The kernel raises only ambient capabilities that are permitted and inheritable.
        let possible = sets.permitted.bits & sets.inheritable.bits;
        let refused = sets.ambient.bits & !possible;
        if refused != 0 {
            sets.ambient.bits &= possible;
            draft.warnings.push(format!(
                "process.capabilities.ambient: ignoring [{}], which are not permitted and inheritable",
                names(refused)
            ));
        }
        Ok(sets)
    }

    fn write_lookup(&self, draft: &mut Draft<'_>) -> Result<()> {
        let origin = Origin::Field("process.args");
        let name = text(self.process.args.first().map_or("", String::as_str), &origin)?;
        let path = self.process.env.iter().rev().find_map(|entry| entry.strip_prefix("PATH="));
        let path = text(path.unwrap_or(""), &Origin::Field("process.env"))?;
        draft.push(&Step::FindExecutable { name: &name, path: &path }, origin);
        Ok(())
    }

    /// What follows the start.
    pub(super) fn write_execution(&self, draft: &mut Draft<'_>) -> Result<()> {
        if self.follows_hooks() {
            let origin = Origin::Field("process.scheduler");
            draft.push(&Step::Gate { gate: Gate::Hooked as u32 }, origin);
        }
        for (index, rlimit) in self.process.rlimits.iter().enumerate() {
            let resource = rlimit.resource.number();
            let step = Step::Rlimit { resource, soft: rlimit.soft, hard: rlimit.hard };
            draft.push(&step, Origin::Element("process.rlimits", index));
        }
        if self.seccomp {
            draft.push(&Step::LoadFilter {}, Origin::Field("linux.seccomp"));
        }
        let origin = Origin::Field("process.args");
        let args = list(&self.process.args, &origin)?;
        let env = list(&self.environment(), &Origin::Field("process.env"))?;
        if let (Some(args), Some(env)) = (List::new(&args), List::new(&env)) {
            draft.push(&Step::Execute { args, env }, origin);
        }
        Ok(())
    }

    /// The environment: of equal names the last entry stays, at its place.
    fn environment(&self) -> Vec<String> {
        // Ordered: a hash map would ask the kernel for random numbers.
        let mut seen = BTreeSet::new();
        let mut env: Vec<String> = self
            .process
            .env
            .iter()
            .rev()
            .filter(|entry| seen.insert(entry.split('=').next().unwrap_or_default()))
            .cloned()
            .collect();
        if self.notify {
            env.retain(|entry| !entry.starts_with("NOTIFY_SOCKET="));
            env.push(notify::variable());
        }
        if self.listen_fds > 0 {
            // sd_listen_fds(3): the program is process 1 of the container.
            env.push("LISTEN_PID=1".to_owned());
            env.push(format!("LISTEN_FDS={}", self.listen_fds));
        }
        env.reverse();
        env
    }
}

fn names(bits: u64) -> String {
    let set = crate::spec::CapabilitySet::from_bits(bits);
    let unnamed = set.iter().filter(|number| *number > 40).map(|number| number.to_string());
    let names = set.names().map(str::to_owned).chain(unnamed);
    names.collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::Host;
    use crate::spec::CapabilitySet;

    fn payload(process: &Process) -> Payload<'_> {
        Payload {
            process,
            seccomp: false,
            user_namespace: false,
            id_maps: None,
            listen_fds: 0,
            notify: false,
            joining: Joining::First,
            hooks: false,
            personality: None,
            memory_policy: None,
            keep_groups: false,
        }
    }

    #[test]
    fn the_last_of_equal_names_stays() {
        let env = ["A=1", "B=2", "odd", "A=3"].map(str::to_owned).to_vec();
        let process = Process { env, ..Process::default() };
        assert_eq!(payload(&process).environment(), ["B=2", "odd", "A=3"]);
        let listening = Payload { listen_fds: 2, ..payload(&process) };
        assert_eq!(listening.environment(), ["LISTEN_FDS=2", "LISTEN_PID=1", "B=2", "odd", "A=3"]);
    }

    #[test]
    fn capabilities_that_cannot_be_had_are_named() {
        let set = CapabilitySet::from_bits;
        let capabilities = Capabilities {
            bounding: set(1 << 24 | 1),
            effective: set(1),
            permitted: set(1 << 24 | 1),
            inheritable: set(0),
            ambient: set(1),
        };
        let process = Process { capabilities: Some(capabilities), ..Process::default() };
        let host = Host { bounding: !(1 << 24), ..Host::default() };
        let mut draft = Draft::new(&host);
        let sets = payload(&process).capabilities(&mut draft).expect("possible");
        assert_eq!((sets.bounding.bits, sets.permitted.bits, sets.ambient.bits), (1, 1, 0));
        assert!(draft.warnings[0].contains("[CAP_SYS_RESOURCE]"), "{:?}", draft.warnings);
        assert!(draft.warnings[1].contains("[CAP_CHOWN]"), "{:?}", draft.warnings);
        let confined = Payload { user_namespace: true, ..payload(&process) };
        let sets = confined.capabilities(&mut Draft::new(&host)).expect("possible");
        assert_eq!(sets.bounding.bits, 1 << 24 | 1);
    }
}
