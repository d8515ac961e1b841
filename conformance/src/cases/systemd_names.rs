//! `linux.cgroupsPath` with the systemd driver: `slice:prefix:name`.

use std::fs;

use crate::case::{Case, Need};
use crate::container::Container;
use crate::failure::{Check, ensure};
use crate::leftovers::cgroups;
use crate::trial::Trial;
use crate::unit::{Unit, systemctl};
use crate::value::{contains, equal};

/// The cases of this group.
pub(super) const CASES: &[Case] = &[
    Case::new("systemd/name", "convention: slice:prefix:name is prefix-name.scope", |t| {
        let slice = default_slice(t);
        let name = format!("pre-{}.scope", t.id());
        placed(t, &format!("{slice}:pre:{}", t.id()), slice, &name, &format!("/{slice}/{name}"))
    })
    .rows(&["linux.cgroupsPath"])
    .needs(&[Need::Systemd]),
    Case::new("systemd/name-default-slice", "convention: no slice is the default one", |t| {
        let slice = default_slice(t);
        let name = format!("pre-{}.scope", t.id());
        placed(t, &format!(":pre:{}", t.id()), slice, &name, &format!("/{slice}/{name}"))
    })
    .rows(&["linux.cgroupsPath"])
    .needs(&[Need::Systemd]),
    Case::new("systemd/name-without-prefix", "convention: no prefix is -name.scope", |t| {
        let slice = default_slice(t);
        let name = format!("-{}.scope", t.id());
        placed(t, &format!("{slice}::{}", t.id()), slice, &name, &format!("/{slice}/{name}"))
    })
    .rows(&["linux.cgroupsPath"])
    .needs(&[Need::Systemd]),
    Case::new("systemd/name-root-slice", "convention: - is the root slice", |t| {
        let name = format!("pre-{}.scope", t.id());
        placed(t, &format!("-:pre:{}", t.id()), "-.slice", &name, &format!("/{name}"))
    })
    .rows(&["linux.cgroupsPath"])
    .needs(&[Need::Systemd]),
    Case::new("systemd/name-nested-slice", "systemd.slice(5): a-b-c.slice is below a-b", |t| {
        let top = top_slice();
        let slice = format!("{top}-b-c.slice");
        let name = format!("pre-{}.scope", t.id());
        let path = format!("/{top}.slice/{top}-b.slice/{slice}/{name}");
        let done = placed(t, &format!("{slice}:pre:{}", t.id()), &slice, &name, &path);
        // Slices stay when their last unit ends: they are the administrator's.
        Unit::new(t, format!("{top}.slice")).stop()?;
        done
    })
    .rows(&["linux.cgroupsPath"])
    .needs(&[Need::Systemd]),
    Case::new("systemd/name-long", "a name as long as a unit's may be", |t| {
        let slice = default_slice(t);
        // The longest name of a unit is 255 bytes, the type at its end included.
        let id = format!("{}-{}", t.id(), "n".repeat(255 - 10 - t.id().len() - 1));
        let name = format!("pre-{id}.scope");
        placed(t, &format!("{slice}:pre:{id}"), slice, &name, &format!("/{slice}/{name}"))?;
        let b = t.bundle().set("/linux/cgroupsPath", format!("{slice}:pre:{id}n"));
        b.refused("name|long|unit").map(drop)
    })
    .rows(&["linux.cgroupsPath"])
    .needs(&[Need::Systemd]),
    Case::new("systemd/name-escaped", "an id may have characters that a unit's has not", |t| {
        let id = format!("{}+plus", t.id());
        let c = t.bundle().with_id(&id).remove("/linux/cgroupsPath").ops(&["sleep"]).start()?;
        let unit = systemctl(t, &["whoami", &c.pid()?.to_string()])?;
        // systemd-escape(1) writes it like this.
        contains("unit", unit.trim(), &format!("{}\\x2bplus.scope", t.id()))?;
        c.delete_force()?.ok()?;
        Unit::new(t, unit.trim()).gone()
    })
    .rows(&["linux.cgroupsPath"])
    .needs(&[Need::Systemd]),
    Case::new("systemd/name-absent", "config-linux.md#cgroups-path: a default", |t| {
        let c = t.bundle().remove("/linux/cgroupsPath").ops(&["sleep"]).start()?;
        let path = cgroup_of_process(&c)?;
        let wanted = format!("/{}/", default_slice(t));
        contains("cgroup", &path, &wanted)?;
        let name = path.rsplit('/').find(|part| part.ends_with(".scope")).unwrap_or_default();
        contains("unit", name, &c.id)?;
        let unit = Unit::new(t, name);
        unit.shows(&[("Slice", default_slice(t)), ("ActiveState", "active")])?;
        c.delete_force()?.ok()?;
        unit.gone()
    })
    .rows(&["linux.cgroupsPath"])
    .needs(&[Need::Systemd]),
    Case::new("systemd/name-of-a-slice", "convention: a name that is a slice's makes one", |t| {
        let top = top_slice();
        let name = format!("{top}-pod.slice");
        let b = t.bundle().set("/linux/cgroupsPath", format!("{}:pre:{name}", default_slice(t)));
        let c = b.ops(&["sleep"]).start()?;
        let unit = Unit::new(t, name.clone());
        unit.shows(&[("ActiveState", "active")])?;
        let found = cgroup_of_process(&c)?;
        contains("cgroup", &found, &format!("/{top}.slice/{name}"))?;
        c.delete_force()?.ok()?;
        // To systemd every slice is known, whether it was ever made.
        unit.shows(&[("ActiveState", "inactive")])?;
        Unit::new(t, format!("{top}.slice")).stop()
    })
    .rows(&["linux.cgroupsPath"])
    .needs(&[Need::Root, Need::Systemd]),
    Case::new("systemd/name-malformed", "another form is an error that tells the path", |t| {
        for path in [
            format!("a.slice:{}", t.id()),
            format!("no-slice:pre:{}", t.id()),
            format!("a--b.slice:pre:{}", t.id()),
            format!("../a.slice:pre:{}", t.id()),
            format!("a.slice/b.slice:pre:{}", t.id()),
            format!("system.slice:pre:x{}--y.slice", t.id()),
        ] {
            let refused = t.bundle().set("/linux/cgroupsPath", path.as_str()).refused("");
            refused.map_err(|failure| format!("{path}: {failure:?}"))?;
            ensure(cgroups(&t.id()).is_empty(), format!("{path} leaves a cgroup"))?;
        }
        Ok(())
    })
    .rows(&["linux.cgroupsPath"])
    .needs(&[Need::Systemd]),
    Case::new("systemd/name-of-a-service", "a unit that the host has is never taken", |t| {
        // A scope's name ends in .scope whatever the path says.
        let path = format!("{}::dbus.service", default_slice(t));
        let c = t.bundle().set("/linux/cgroupsPath", path).ops(&["sleep"]).start()?;
        let found = cgroup_of_process(&c)?;
        ensure(!found.contains("/dbus.service/"), found.clone())?;
        ensure(found.contains("/-dbus.service.scope"), found)?;
        c.delete_force()?.ok()?;
        Unit::new(t, "-dbus.service.scope").gone()
    })
    .rows(&["linux.cgroupsPath"])
    .needs(&[Need::Systemd]),
];

/// Where units go that name no slice.
fn default_slice(t: &Trial) -> &'static str {
    if t.host.root { "system.slice" } else { "user.slice" }
}

/// The first part of the name of slices for one case. It does not hold the name of the case's
/// containers, as a slice outlives them.
fn top_slice() -> String {
    format!("conf{}", std::process::id())
}

/// A container with this path is in the unit of this name and slice, and in this directory below the
/// manager's own cgroup; it goes with it.
fn placed(t: &Trial, path: &str, slice: &str, name: &str, directory: &str) -> Check {
    let c = t.bundle().set("/linux/cgroupsPath", path).ops(&["sleep"]).start()?;
    let unit = Unit::new(t, name);
    let manager = t.host.systemd.as_deref().unwrap_or_default();
    let wanted = format!("{manager}{directory}");
    unit.shows(&[("Slice", slice), ("ActiveState", "active"), ("ControlGroup", &wanted)])?;
    let found = cgroup_of_process(&c)?;
    // A runtime may put the container into a directory below that of the unit, which is delegated.
    let below = found.strip_prefix(&wanted);
    ensure(
        below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')),
        format!("the process is in {found}, the unit in {wanted}"),
    )?;
    c.delete_force()?.ok()?;
    unit.gone()?;
    equal("cgroups that are left", &cgroups(&t.id()).len(), &0)
}

/// The cgroup of the container's process in the hierarchy that systemd uses.
fn cgroup_of_process(c: &Container<'_>) -> Check<String> {
    let own = fs::read_to_string(format!("/proc/{}/cgroup", c.pid()?))?;
    let line = |prefix: &str| {
        own.lines().find_map(|line| {
            let (_, rest) = line.split_once(':')?;
            rest.strip_prefix(prefix)
        })
    };
    match line("name=systemd:").or_else(|| line(":")) {
        Some(path) => Ok(path.to_owned()),
        None => Err(format!("no cgroup in {own:?}").into()),
    }
}
