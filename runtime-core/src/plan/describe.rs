//! Steps in words.

use std::borrow::Cow;
use std::ffi::CStr;

use super::mount_options::attribute;
use crate::program::{CREATOR, Gate, List, Numbers, Slot, Step};
use crate::spec::{
    CapabilitySet, MemoryPolicyMode, NamespaceKind, PersonalityDomain, RlimitResource,
};

/// What a step does, in words: `mount proc at /proc`.
pub(crate) fn describe(step: &Step<'_>) -> String {
    trees(step)
        .or_else(|| placed(step))
        .or_else(|| inside(step))
        .or_else(|| flow(step))
        .or_else(|| process(step))
        .or_else(|| execution(step))
        .or_else(|| credentials(step))
        .or_else(|| scheduling(step))
        .unwrap_or_else(|| step.name().to_owned())
}

fn text(text: &CStr) -> Cow<'_, str> {
    text.to_string_lossy()
}

fn strings(list: List<'_>) -> Vec<String> {
    list.iter().map(|word| word.to_string_lossy().into_owned()).collect()
}

fn words(list: List<'_>) -> String {
    strings(list).join(" ")
}

/// `name (a,b)`, or the name alone.
fn with_options(name: String, options: &[String]) -> String {
    if options.is_empty() { name } else { format!("{name} ({})", options.join(",")) }
}

fn attributes(bits: u64) -> Vec<String> {
    const NAMES: [(u64, &str); 8] = [
        (attribute::RDONLY, "ro"),
        (attribute::NOSUID, "nosuid"),
        (attribute::NODEV, "nodev"),
        (attribute::NOEXEC, "noexec"),
        (attribute::NOATIME, "noatime"),
        (attribute::STRICTATIME, "strictatime"),
        (attribute::NODIRATIME, "nodiratime"),
        (attribute::NOSYMFOLLOW, "nosymfollow"),
    ];
    NAMES.iter().filter(|(bit, _)| bits & bit != 0).map(|(_, name)| (*name).to_owned()).collect()
}

fn change(set: u64, clear: u64, prefix: &str) -> Vec<String> {
    let set_names = attributes(set).into_iter().map(|name| format!("{prefix}{name}"));
    // What is cleared only to be set anew is not worth a word.
    let clear = if set & attribute::ATIME != 0 { clear & !attribute::ATIME } else { clear };
    let cleared = attributes(clear & !set).into_iter().map(|name| format!("not {prefix}{name}"));
    set_names.chain(cleared).collect()
}

fn propagation(flags: u64, recursive: bool) -> Option<String> {
    let name = match flags {
        libc::MS_SHARED => "shared",
        libc::MS_SLAVE => "slave",
        libc::MS_PRIVATE => "private",
        libc::MS_UNBINDABLE => "unbindable",
        _ => return None,
    };
    Some(if recursive { format!("r{name}") } else { name.to_owned() })
}

/// The names of the kinds in a mask of `CLONE_NEW*`.
pub(super) fn kinds(mask: u32) -> String {
    let names =
        NamespaceKind::ALL.iter().filter(|kind| mask & super::namespaces::flag(**kind) != 0);
    names.map(|kind| kind.name()).collect::<Vec<_>>().join(", ")
}

fn trees(step: &Step<'_>) -> Option<String> {
    Some(match step {
        Step::Propagation { propagation: flags } => {
            format!("make all mounts {}", propagation(*flags, true)?)
        }
        Step::OpenTree { slot, path, recursive } => {
            let below = if *recursive { " and what is below" } else { "" };
            format!("copy the mount at {}{below} into slot {}", text(path), slot.0)
        }
        Step::NewFilesystem { slot, kind, options, attributes: bits, otherwise, .. } => {
            let mut all = attributes(*bits);
            all.extend(strings(*options));
            let name = format!("make a file system of type {} in slot {}", text(kind), slot.0);
            let name = with_options(name, &all);
            if otherwise.is_empty() { name } else { format!("{name}, or copy {}", text(otherwise)) }
        }
        Step::Mount { slot, kind, data, .. } => {
            let name = format!("make a file system of type {} in slot {}", text(kind), slot.0);
            with_options(name, &[text(data).into_owned()])
        }
        Step::Root { tree, path, propagation: flags } => {
            let flags = propagation(*flags, true).into_iter().collect::<Vec<_>>();
            let name = format!("make slot {} the root file system {}", tree.0, text(path));
            with_options(name, &flags)
        }
        _ => return None,
    })
}

fn placed(step: &Step<'_>) -> Option<String> {
    Some(match step {
        Step::Attach {
            slot,
            target,
            set,
            clear,
            set_recursive,
            clear_recursive,
            propagation: flags,
            propagation_recursive,
            over_proc,
            no_symlink,
            keep_mode,
            copy,
        } => {
            let mut all = change(*set, *clear, "");
            all.extend(change(*set_recursive, *clear_recursive, "r"));
            all.extend(propagation(*flags, *propagation_recursive));
            all.extend(over_proc.then(|| "over procfs".to_owned()));
            all.extend(no_symlink.then(|| "no symbolic link".to_owned()));
            all.extend(keep_mode.then(|| "mode as below".to_owned()));
            all.extend(copy.then(|| "content as below".to_owned()));
            with_options(format!("mount slot {} at {}", slot.0, text(target)), &all)
        }
        Step::Reattribute { target, set, clear, propagation: flags, recursive } => {
            let prefix = if *recursive { "r" } else { "" };
            let mut all = change(*set, *clear, prefix);
            all.extend(propagation(*flags, *recursive));
            with_options(format!("remount {}", text(target)), &all)
        }
        Step::Reconfigure { target, options } => {
            let all = strings(*options);
            with_options(format!("reconfigure the file system at {}", text(target)), &all)
        }
        _ => return None,
    })
}

fn inside(step: &Step<'_>) -> Option<String> {
    Some(match step {
        Step::Detach { path } => format!("unmount {}", text(path)),
        Step::Directory { path, mode } => format!("make directory {} ({mode:04o})", text(path)),
        Step::Symlink { target, path } => format!("link {} to {}", text(path), text(target)),
        Step::SymlinkIfThere { needs, target, path } => {
            format!("link {} to {} if there is {}", text(path), text(target), text(needs))
        }
        Step::ReplaceBySymlink { target, path } => {
            format!("link {} to {}, in place of what is there", text(path), text(target))
        }
        Step::Device { path, mode, major, minor, uid, gid } => {
            let kind = match mode & libc::S_IFMT {
                libc::S_IFBLK => format!("block device {major}:{minor}"),
                libc::S_IFIFO => "fifo".to_owned(),
                _ => format!("device {major}:{minor}"),
            };
            let mode = mode & 0o7777;
            format!("make {kind} at {} ({mode:04o}, {uid}:{gid})", text(path))
        }
        Step::Pivot { pivot, propagation: flags, recursive } => {
            let how = if *pivot { "change the root" } else { "change the root without pivot" };
            let flags = propagation(*flags, *recursive).into_iter().collect::<Vec<_>>();
            with_options(how.to_owned(), &flags)
        }
        Step::Chroot {} => "change the root of this process alone".to_owned(),
        Step::ReadonlyRoot {} => "make the root read-only".to_owned(),
        Step::ReadonlyPath { path } => format!("make {} read-only", text(path)),
        Step::MaskDirectory { slot } => format!("hide directories under slot {}", slot.0),
        Step::Label { path, label } => {
            format!("label {} {}", text(path), String::from_utf8_lossy(label))
        }
        Step::MaskPath { path, .. } => format!("mask {}", text(path)),
        Step::Hostname { name } => format!("set the host name to {}", text(name)),
        Step::Domainname { name } => format!("set the domain name to {}", text(name)),
        Step::Sysctl { key, value } => {
            format!("write {:?} to /proc/sys/{}", text(value), text(key))
        }
        _ => return None,
    })
}

fn flow(step: &Step<'_>) -> Option<String> {
    Some(match step {
        Step::Gate { gate } if *gate == Gate::Mapped as u32 => {
            "wait until ids, limits and cgroups are set".to_owned()
        }
        Step::Gate { gate } if *gate == Gate::Joined as u32 => {
            "wait for the comparison of the id maps".to_owned()
        }
        Step::Gate { gate } if *gate == Gate::Mounted as u32 => {
            "wait for the runtime's hooks".to_owned()
        }
        Step::Gate { gate } if *gate == Gate::Scheduled as u32 || *gate == Gate::Hooked as u32 => {
            "wait until the scheduling is set".to_owned()
        }
        Step::Gate { gate } => format!("wait at gate {gate}"),
        Step::AwaitStart { peer_uid: CREATOR, .. } => {
            "wait for the start by the user who creates".to_owned()
        }
        Step::AwaitStart { peer_uid, .. } => format!("wait for the start by user {peer_uid}"),
        Step::Respawn {} => "go on in a child process, inside the pid namespace".to_owned(),
        Step::JoinEarly { namespace, kinds: mask } => {
            let slot = namespace.0;
            format!(
                "join the {} namespaces of slot {slot} if that is permitted already",
                kinds(*mask)
            )
        }
        Step::EnterRoot { directory } => format!("enter the root in slot {}", directory.0),
        Step::Join { namespace, kinds: mask } => {
            format!("join the namespaces {} of slot {}", kinds(*mask), namespace.0)
        }
        Step::Unshare { kinds: mask } => format!("make new namespaces: {}", kinds(*mask)),
        Step::Identity { uid, gid } => {
            format!("become {uid}:{gid} of the user namespace")
        }
        Step::TimeOffsets { text: lines } => {
            format!("set the clocks: {}", text(lines).trim().replace('\n', ", "))
        }
        Step::Loopback {} => "bring the loopback interface up".to_owned(),
        Step::RunHook { path, args, timeout_ms, outside, .. } => {
            let place = if *outside { "with the host's root" } else { "in the container" };
            let mut all = vec![place.to_owned()];
            if *timeout_ms != 0 {
                all.push(format!("at most {} s", timeout_ms / 1000));
            }
            let arguments = words(*args);
            with_options(format!("run hook {}: {arguments}", text(path)), &all)
        }
        _ => return None,
    })
}

fn process(step: &Step<'_>) -> Option<String> {
    Some(match step {
        Step::Stdio { stdin, stdout, stderr } => {
            let slot = |slot: &Slot| match *slot {
                Slot::NONE => "as it is".to_owned(),
                Slot(number) => format!("slot {number}"),
            };
            let (stdin, stdout, stderr) = (slot(stdin), slot(stdout), slot(stderr));
            format!("set standard input ({stdin}), output ({stdout}) and error ({stderr})")
        }
        Step::Console { uid, rows, columns, bind } => {
            let mut all = vec![format!("owner {uid}"), format!("{rows}x{columns}")];
            all.extend(bind.then(|| "mounted at /dev/console".to_owned()));
            with_options("open a terminal".to_owned(), &all)
        }
        Step::Keyring { name } => format!("join a new session keyring {}", text(name)),
        Step::WorkingDirectory { path, create } => {
            let create = if *create { ", made if missing" } else { "" };
            format!("change the working directory to {}{create}", text(path))
        }
        Step::Home { uid } => format!("find the home directory of user {uid}"),
        Step::Umask { mask } => format!("set the umask to {mask:04o}"),
        Step::ReceiveFilter {} => "receive the system call filter".to_owned(),
        _ => return None,
    })
}

fn execution(step: &Step<'_>) -> Option<String> {
    Some(match step {
        Step::FindExecutable { name, path } => {
            format!("find the executable {} in {:?}", text(name), text(path))
        }
        Step::LoadFilter {} => "load the system call filter".to_owned(),
        Step::Rlimit { resource, soft, hard } => {
            let known = RlimitResource::ALL.iter().find(|one| one.number() == *resource);
            let name = known.map_or("RLIMIT", |one| one.name());
            let value = |value: u64| match value {
                u64::MAX => "unlimited".to_owned(),
                value => value.to_string(),
            };
            format!("set {name} to {}, at most {}", value(*soft), value(*hard))
        }
        Step::Execute { args, env } => {
            format!("execute {} with {} environment entries", words(*args), env.len())
        }
        _ => return None,
    })
}

fn credentials(step: &Step<'_>) -> Option<String> {
    let names = |bits: u64| {
        let names = CapabilitySet::from_bits(bits).names();
        let short = names.map(|name| name.strip_prefix("CAP_").unwrap_or(name).to_lowercase());
        let names = short.collect::<Vec<_>>().join(",");
        if names.is_empty() { "none".to_owned() } else { names }
    };
    Some(match step {
        Step::User { uid, gid, groups: Numbers(bytes) } => {
            let groups = Numbers(bytes).iter().map(|group| group.to_string()).collect::<Vec<_>>();
            with_options(format!("become {uid}:{gid}"), &groups)
        }
        Step::Bounding { bounding, .. } => {
            format!("bound the capabilities to {}", names(*bounding))
        }
        Step::Capabilities { effective, permitted, inheritable, ambient, keep_admin, .. } => {
            let mut text = format!("set capabilities: permitted {}", names(*permitted));
            for (name, set) in
                [("effective", effective), ("inheritable", inheritable), ("ambient", ambient)]
            {
                let value = if set == permitted { "the same".to_owned() } else { names(*set) };
                text.push_str(&format!("; {name} {value}"));
            }
            if *keep_admin {
                text.push_str("; sys_admin until the filter is loaded");
            }
            text
        }
        Step::NoNewPrivileges {} => "forbid new privileges".to_owned(),
        Step::ExecLabel { label, .. } => format!("set the label of the program: {}", text(label)),
        Step::Verify { .. } => "read ids and capabilities back".to_owned(),
        _ => return None,
    })
}

fn scheduling(step: &Step<'_>) -> Option<String> {
    Some(match step {
        Step::Personality { domain } => {
            let known = PersonalityDomain::ALL.iter();
            let name = known.copied().find(|one| super::scheduling::domain(*one) == *domain);
            format!("set the execution domain to {}", name.map_or("?", PersonalityDomain::name))
        }
        Step::MemoryPolicy { mode, .. } => {
            let known = MemoryPolicyMode::ALL.iter();
            let mode = mode & 0xff;
            let name = known.copied().find(|one| super::scheduling::memory_mode(*one) == mode);
            format!("set the memory policy to {}", name.map_or("?", MemoryPolicyMode::name))
        }
        Step::Affinity { processors } => {
            let count: u32 = processors.iter().map(|byte| byte.count_ones()).sum();
            format!("choose {count} processors to run on")
        }
        _ => return None,
    })
}
