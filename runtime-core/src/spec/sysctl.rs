//! Which kernel parameters a container may set: those of its own namespaces.

use super::{Linux, NamespaceKind};
use crate::error::{Error, ErrorKind, Result};

/// The parameters of an IPC namespace below `kernel.` (Linux, `ipc/ipc_sysctl.c`).
const IPC: [&str; 12] = [
    "kernel.auto_msgmni",
    "kernel.msg_next_id",
    "kernel.msgmax",
    "kernel.msgmnb",
    "kernel.msgmni",
    "kernel.sem",
    "kernel.sem_next_id",
    "kernel.shm_next_id",
    "kernel.shm_rmid_forced",
    "kernel.shmall",
    "kernel.shmmax",
    "kernel.shmmni",
];

/// The name with dots between its parts. As for sysctl(8), a name whose first separator is a slash
/// is a path, and a dot in it belongs to a part (`net/ipv4/conf/eth0.1/forwarding`).
pub(super) fn dotted(name: &str) -> String {
    match name.find(['.', '/']) {
        Some(at) if name.as_bytes().get(at) == Some(&b'/') => swap(name),
        _ => name.to_owned(),
    }
}

/// The file of a dotted name, relative to `/proc/sys`.
#[must_use]
pub(crate) fn file(name: &str) -> String {
    swap(name)
}

fn swap(name: &str) -> String {
    let other = |letter| match letter {
        '.' => '/',
        '/' => '.',
        letter => letter,
    };
    name.chars().map(other).collect()
}

/// The kind of namespace that a parameter (by its dotted name) belongs to; none if to the machine.
pub(crate) fn kind(name: &str) -> Option<NamespaceKind> {
    match name {
        "kernel.domainname" => Some(NamespaceKind::Uts),
        _ if IPC.contains(&name) || name.starts_with("fs.mqueue.") => Some(NamespaceKind::Ipc),
        _ if name.starts_with("net.") => Some(NamespaceKind::Network),
        _ if name.starts_with("user.") => Some(NamespaceKind::User),
        _ => None,
    }
}

/// Refuses a parameter that is not one of the container's own namespaces.
pub(super) fn check(linux: &Linux, name: &str, value: &str) -> Result<()> {
    let refused = |message: &str| Error::new(ErrorKind::InvalidSpec, message.to_owned());
    let path = file(name);
    if path.split('/').any(|part| matches!(part, "" | "." | "..")) {
        return Err(refused("is not the name of a kernel parameter"));
    }
    if value.contains('\0') {
        return Err(refused("the value contains a NUL character"));
    }
    if name == "kernel.hostname" {
        return Err(refused("cannot be set here").with_hint("use the field `hostname`"));
    }
    let Some(kind) = kind(name) else {
        return Err(refused("is not a parameter of a namespace: it would change the host"));
    };
    if linux.namespace(kind).is_none() {
        let kind = kind.name();
        return Err(refused(&format!("needs a {kind} namespace in linux.namespaces")));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::Namespace;
    use super::*;

    #[test]
    fn names_become_dotted() {
        assert_eq!(dotted("net/ipv4/conf/eth0.1/forwarding"), "net.ipv4.conf.eth0/1.forwarding");
        assert_eq!(file("net.ipv4.conf.eth0/1.forwarding"), "net/ipv4/conf/eth0.1/forwarding");
        assert_eq!(dotted("net.ipv4.conf.eth0/1.forwarding"), "net.ipv4.conf.eth0/1.forwarding");
    }

    #[test]
    fn only_parameters_of_own_namespaces() {
        let all = NamespaceKind::ALL;
        let own = Linux {
            namespaces: all.iter().map(|kind| Namespace { kind: *kind, path: None }).collect(),
            ..Linux::default()
        };
        let host = Linux::default();
        for name in [
            "kernel.msgmax",
            "fs.mqueue.msg_max",
            "net.core.somaxconn",
            "user.max_user_namespaces",
            "kernel.domainname",
        ] {
            check(&own, name, "1").expect(name);
            check(&host, name, "1").expect_err(name);
        }
        for name in [
            "kernel.hostname",
            "kernel.core_pattern",
            "vm.swappiness",
            "net./../kernel",
            "net..x",
            "",
            "fs.mqueue",
            "net.ipv4/../x",
            "/kernel/shmmax",
        ] {
            check(&own, name, "1").expect_err(name);
        }
    }
}
