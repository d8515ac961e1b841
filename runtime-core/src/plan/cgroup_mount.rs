//! A mount of type `cgroup`: what it shows depends on the host (config-linux.md, "Control groups").

use std::borrow::Cow;
use std::path::Path;

use super::draft::{Draft, inner_path, text};
use super::mount_options::{Change, Options, attribute::RDONLY, propagation_flags};
use super::mounts::{Action, Attachment, Planned, Setting, attach, copy};
use super::{Origin, Source, filesystem, labels};
use crate::error::{Error, ErrorKind, Result};
use crate::host::Cgroups;
use crate::spec::{Mount, NamespaceKind};

const HOST: &str = "/sys/fs/cgroup";

pub(super) fn gather(
    setting: Setting<'_>,
    draft: &mut Draft<'_>,
    mount: &Mount,
    options: &Options<'_>,
    origin: &Origin,
) -> Result<Vec<Planned>> {
    let view = View { setting, mount, options, origin };
    match draft.host.cgroups.clone() {
        None => Err(Error::new(ErrorKind::Unsupported, "the host has no cgroup file system")
            .with_field(origin.to_string())),
        Some(Cgroups::V2) => Ok(vec![view.unified(draft)?]),
        Some(Cgroups::V1(_)) if !draft.host.is_privileged() => Ok(vec![view.host(draft)?]),
        Some(Cgroups::V1(hierarchies)) => view.hierarchies(draft, &hierarchies),
    }
}

struct View<'a> {
    setting: Setting<'a>,
    mount: &'a Mount,
    options: &'a Options<'a>,
    origin: &'a Origin,
}

impl View<'_> {
    fn finish(&self, mut attachment: Attachment) -> Planned {
        if let Some(propagation) = self.options.propagation.last() {
            attachment.propagation = propagation_flags(*propagation);
        }
        (Action::Attach(Box::new(attachment)), self.origin.clone())
    }

    /// Version 2: the one hierarchy, from the root of the cgroup namespace.
    fn unified(&self, draft: &mut Draft<'_>) -> Result<Planned> {
        let otherwise = if self.setting.is_confined(draft) { HOST } else { "" };
        let data = filesystem::options(&self.options.data);
        let settings = ("cgroup2", data.as_slice(), otherwise);
        let make = filesystem::new(self.mount, self.options, settings, self.origin)?;
        Ok(self.finish(attach(self.mount, draft.make(), Some(make), self.origin)?))
    }

    /// Version 1 without privilege: the host's mounts, as no other can be made.
    fn host(&self, draft: &mut Draft<'_>) -> Result<Planned> {
        let (tree, make) = copy(draft, Path::new(HOST), true, self.origin)?;
        let mut attachment = attach(self.mount, tree, make, self.origin)?;
        attachment.set_recursive = self.options.attributes();
        attachment.propagation = (libc::MS_SLAVE, true);
        Ok(self.finish(attachment))
    }

    /// Version 1: a tmpfs with a directory for each hierarchy and the links of joint ones.
    fn hierarchies(&self, draft: &mut Draft<'_>, names: &[String]) -> Result<Vec<Planned>> {
        let writable = Options {
            own: Change { set: self.options.own.set & !RDONLY, clear: 0 },
            ..self.options.clone()
        };
        let tmpfs = Mount { source: Some("tmpfs".into()), ..self.mount.clone() };
        let mut data = vec![Cow::Borrowed("mode=755")];
        let context = labels::mount_context(self.setting.spec, "tmpfs", &self.options.data);
        data.extend(context.map(Cow::Owned));
        let settings = ("tmpfs", data.as_slice(), "");
        let make = filesystem::new(&tmpfs, &writable, settings, self.origin)?;
        let top = attach(self.mount, draft.make(), Some(make), self.origin)?;
        let mut planned = vec![self.finish(top)];
        for name in names {
            planned.push(self.hierarchy(draft, name)?);
            for part in name.split(',').filter(|part| *part != name.as_str()) {
                planned.push((
                    Action::Symlink {
                        target: text(name, self.origin)?,
                        path: text(self.mount.destination.join(part), self.origin)?,
                    },
                    self.origin.clone(),
                ));
            }
        }
        if self.options.own.set & RDONLY != 0 {
            let target = inner_path(&self.mount.destination, self.origin)?;
            let change = Change { set: RDONLY, clear: 0 };
            planned.push((Action::reattribute(target, change, false), self.origin.clone()));
        }
        Ok(planned)
    }

    /// One hierarchy: in a cgroup namespace of its own the kernel shows the container's part of
    /// it; otherwise that part is copied from the host.
    fn hierarchy(&self, draft: &mut Draft<'_>, controllers: &str) -> Result<Planned> {
        let name = controllers.strip_prefix("name=").unwrap_or(controllers);
        let mount = Mount {
            destination: self.mount.destination.join(name),
            source: Some("cgroup".into()),
            ..self.mount.clone()
        };
        if self.setting.namespaces.is_new(NamespaceKind::Cgroup) {
            let flags: Vec<Cow<'_, str>> = if name == controllers {
                controllers.split(',').map(Cow::Borrowed).collect()
            } else {
                vec!["none".into(), controllers.into()]
            };
            let make = filesystem::new(&mount, self.options, ("cgroup", &flags, ""), self.origin)?;
            return Ok(self.finish(attach(&mount, draft.make(), Some(make), self.origin)?));
        }
        let source = Source::Cgroup { hierarchy: name.to_owned() };
        let tree = draft.receive(source, self.origin.clone());
        let mut attachment = attach(&mount, tree, None, self.origin)?;
        attachment.set = self.options.attributes();
        // One mount: so it is changed in one call together with the attributes.
        attachment.propagation = (libc::MS_SLAVE, false);
        Ok(self.finish(attachment))
    }
}
