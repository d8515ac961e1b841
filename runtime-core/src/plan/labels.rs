//! Labels of the security modules: of the process, of its keys, of the file systems made for it.

use super::draft::{Draft, Handle, inner_path, list, text};
use super::filesystem::LABELS;
use super::mount_options::attribute::{NODEV, NOEXEC, NOSUID, RDONLY};
use super::{Origin, annotations};
use crate::error::{Error, ErrorKind, Result};
use crate::program::{List, Step};
use crate::spec::{Process, Spec};

/// A step that writes a label, unless the host has no such module.
fn write(
    draft: &mut Draft<'_>,
    (attribute, label): (&'static std::ffi::CStr, &str),
    there: bool,
    origin: Origin,
) -> Result<()> {
    if !there {
        return Err(disabled(&origin));
    }
    draft.push(&Step::ExecLabel { attribute, label: &text(label, &origin)? }, origin);
    Ok(())
}

fn disabled(origin: &Origin) -> Error {
    origin.blame(Error::new(ErrorKind::Unsupported, "the host has it not enabled"))
}

/// The labels that the program gets with its execve. This comes before the privilege for a procfs of
/// the init program's own is gone.
pub(super) fn write_process(process: &Process, draft: &mut Draft<'_>) -> Result<()> {
    let labels = draft.host.labels;
    if let Some(profile) = &process.apparmor_profile {
        let value = format!("exec {profile}");
        let origin = Origin::Field("process.apparmorProfile");
        write(draft, (c"apparmor/exec", &value), labels.apparmor, origin)?;
    }
    if let Some(label) = &process.selinux_label {
        let origin = Origin::Field("process.selinuxLabel");
        write(draft, (c"exec", label), labels.selinux, origin)?;
    }
    Ok(())
}

/// Joins a session keyring of this name, which has the SELinux label of the process: otherwise the
/// program could not use it.
pub(super) fn write_keyring(name: &str, process: &Process, draft: &mut Draft<'_>) -> Result<()> {
    let labels = draft.host.labels;
    let label = |draft: &mut Draft<'_>, value: &str| {
        let origin = Origin::Field("process.selinuxLabel");
        write(draft, (c"keycreate", value), labels.selinux, origin)
    };
    if let Some(value) = &process.selinux_label {
        label(draft, value)?;
    }
    draft.push(&Step::Keyring { name: &text(name, &Origin::None)? }, Origin::None);
    if process.selinux_label.is_some() {
        // An empty line stands for the policy's own choice.
        label(draft, "\n")?;
    }
    Ok(())
}

/// Refuses `linux.mountLabel` where nothing would come of it.
pub(super) fn check_mount_label(spec: &Spec, draft: &Draft<'_>) -> Result<()> {
    if spec.linux.mount_label.is_some() && !draft.host.labels.selinux {
        return Err(disabled(&Origin::Field("linux.mountLabel")));
    }
    Ok(())
}

/// The option that gives all files of a new file system the container's SELinux context.
///
/// The kernel's own file systems have a policy for each of their files instead. A queue file system
/// was labelled when its ipc namespace was made, and takes no other context.
pub(super) fn mount_context<S: AsRef<str>>(
    spec: &Spec,
    kind: &str,
    options: &[S],
) -> Option<String> {
    let label = spec.linux.mount_label.as_ref()?;
    let labelled = matches!(kind, "proc" | "sysfs" | "mqueue" | "cgroup" | "cgroup2");
    let name = |option: &S| option.as_ref().split('=').next().unwrap_or_default().to_owned();
    let chosen = options.iter().any(|option| LABELS.contains(&name(option).as_str()));
    let context = annotations::context_option(&spec.annotations);
    (!labelled && !chosen).then(|| format!("{context}={label}"))
}

/// Labels the queue file systems that are mounted.
pub(super) fn write_queues(spec: &Spec, draft: &mut Draft<'_>) -> Result<()> {
    let Some(label) = &spec.linux.mount_label else { return Ok(()) };
    for (index, mount) in spec.mounts.iter().enumerate() {
        let readonly = mount.options.iter().any(|option| option == "ro");
        if mount.kind.as_deref() == Some("mqueue") && !mount.is_bind() && !readonly {
            let origin = Origin::Element("mounts", index);
            let path = inner_path(&mount.destination, &origin)?;
            draft.push(&Step::Label { path: &path, label: label.as_bytes() }, origin);
        }
    }
    Ok(())
}

/// Makes what hides directories, with the label: without one nobody could even see that they are empty.
pub(super) fn write_mask(label: &str, tree: Handle, draft: &mut Draft<'_>) -> Result<()> {
    let origin = Origin::Field("linux.mountLabel");
    let options = list(&[format!("context={label}")], &origin)?;
    let Some(options) = List::new(&options) else { return Ok(()) };
    let slot = draft.slot(tree);
    let attributes = RDONLY | NOSUID | NODEV | NOEXEC;
    let (kind, source, otherwise) = (c"tmpfs", c"", c"");
    let step = Step::NewFilesystem { slot, kind, source, options, attributes, otherwise };
    draft.push(&step, origin.clone());
    draft.push(&Step::MaskDirectory { slot }, origin);
    Ok(())
}
