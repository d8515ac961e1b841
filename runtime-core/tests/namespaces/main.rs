//! Every combination of namespaces: absent, new and joined, of all kinds.
//!
//! For each a container is created and run. From outside (`/proc/PID/ns`) and from inside each of its
//! namespaces must be the caller's, a new one or the given one; what cannot be is refused, and the error
//! names the field. Usually a part of the combinations is walked, always the same one; with
//! `CORACLE_WALK=all` in the environment all 6561 are.
#![allow(
    clippy::expect_used,
    clippy::indexing_slicing,
    reason = "a test fails where it expects in vain"
)]
#![allow(
    clippy::print_stdout,
    reason = "a test that cannot run says why; a long one says how far it is"
)]
#![allow(clippy::cast_possible_truncation, reason = "pseudo-random bits")]

mod combination;
mod keeper;

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use coracle::{Bundle, Container, CreateOptions, Error, KillTarget, Runtime, Signal};
use serde_json::{Value, json};

use combination::{COMBINATIONS, Combination, State};
use keeper::{KINDS, Keeper, link};

/// How many combinations are walked usually, and for how long at most.
const PART: usize = 1500;
const BOUND: Duration = Duration::from_secs(60);

/// After so many containers in somebody's mount namespace it is left: they leave their mounts there.
const GUESTS: u32 = 30;

/// Why containers cannot be made here, if so.
fn missing() -> Option<&'static str> {
    if !nix::unistd::geteuid().is_root() {
        Some("needs root")
    } else if !Path::new("/bin/busybox").exists() {
        Some("needs /bin/busybox (Debian package busybox-static)")
    } else if !Path::new("/proc/self/ns/time").exists() {
        Some("needs time namespaces")
    } else {
        None
    }
}

/// A generator of pseudo-random numbers (splitmix64), so that every run walks the same way.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

/// The numbers of the combinations, mixed.
fn order(numbers: &mut Numbers) -> Vec<usize> {
    let mut order: Vec<usize> = (0..COMBINATIONS).collect();
    for last in (1..order.len()).rev() {
        let other = numbers.next() as usize % (last + 1);
        order.swap(last, other);
    }
    order
}

struct Walk {
    runtime: Runtime,
    directory: PathBuf,
    host: Keeper,
    member: Keeper,
    guests: u32,
}

impl Walk {
    fn new(directory: &Path) -> Self {
        for part in ["proc", "dev", "sys", "bin"] {
            fs::create_dir_all(directory.join("rootfs").join(part)).expect("rootfs");
        }
        fs::copy("/bin/busybox", directory.join("rootfs/bin/busybox")).expect("busybox");
        Self {
            runtime: Runtime::new(directory.join("state")),
            directory: directory.to_owned(),
            host: Keeper::new(false),
            member: Keeper::new(true),
            guests: 0,
        }
    }

    /// What is wrong with the container of this combination.
    fn trouble(&mut self, combination: &Combination, name: &str) -> Option<String> {
        if combination.state("mount").is_joined() {
            self.guests += 1;
            if self.guests.is_multiple_of(GUESTS) {
                (self.host, self.member) = (Keeper::new(false), Keeper::new(true));
            }
        }
        let config = combination.config(&self.host, &self.member);
        fs::write(self.directory.join("config.json"), config.to_string()).expect("config");
        let output = self.directory.join("rootfs/output");
        let _removed = fs::remove_file(&output);
        let id = name.parse().expect("id");
        let made = Bundle::load(&self.directory)
            .and_then(|bundle| self.runtime.create(&id, &bundle, &CreateOptions::default()));
        match (made, combination.fault()) {
            (Err(error), Some(field)) if error.field() == Some(&field) => None,
            (Err(error), Some(field)) => Some(format!("must blame {field}: {error}")),
            (Err(error), None) => Some(format!("{error}")),
            (Ok(container), fault) => {
                let mut found = self.check(combination, &container, &output);
                if let Some(field) = fault {
                    found = Some(format!("is not refused for {field}"));
                }
                // One that was not started or did not end is ended here.
                let _gone = container.kill(Signal::KILL, KillTarget::Init);
                let deleted = container.delete(true);
                found.or_else(|| deleted.err().map(|error| error.to_string()))
            }
        }
    }

    /// The error of a container with these namespaces and this map of user ids.
    fn refusal(&self, namespaces: &Value, map: &Value) -> Error {
        let config = json!({
            "ociVersion": "1.2.1",
            "process": {"cwd": "/", "args": ["busybox"]},
            "root": {"path": "rootfs"},
            "linux": {"namespaces": namespaces, "uidMappings": map},
        });
        fs::write(self.directory.join("config.json"), config.to_string()).expect("config");
        let id = "refused".parse().expect("id");
        Bundle::load(&self.directory)
            .and_then(|bundle| self.runtime.create(&id, &bundle, &CreateOptions::default()))
            .expect_err("must be refused")
    }

    fn check(
        &self,
        combination: &Combination,
        container: &Container,
        output: &Path,
    ) -> Option<String> {
        let pid = u32::try_from(container.state().expect("state").pid).expect("pid");
        let outside = namespaces(pid);
        if let Err(error) = container.start().and_then(|()| container.wait()) {
            return Some(format!("start: {error}"));
        }
        let inside = listed(&fs::read_to_string(output).unwrap_or_default());
        if inside != outside {
            return Some(format!("inside {inside:?}, outside {outside:?}"));
        }
        let own = namespaces(std::process::id());
        for ((kind, file), state) in KINDS.iter().zip(combination.states) {
            let found = outside.get(*file).cloned().unwrap_or_default();
            let right = match state {
                State::Absent => found == own[*file],
                State::OfHost => found == self.host.link(file),
                State::OfMember => found == self.member.link(file),
                State::New => {
                    ![&own[*file], &self.host.link(file), &self.member.link(file)].contains(&&found)
                }
            };
            if !right || found.is_empty() {
                return Some(format!("{kind} must be {state:?}, is {found:?}"));
            }
        }
        None
    }
}

fn namespaces(pid: u32) -> BTreeMap<String, String> {
    let of = |(_, file): &(&str, &str)| Some(((*file).to_owned(), link(pid, file)?));
    KINDS.iter().filter_map(of).collect()
}

/// What `ls -l /proc/self/ns` has printed.
fn listed(text: &str) -> BTreeMap<String, String> {
    let links = text.lines().filter_map(|line| line.split_once(" -> "));
    links
        .filter_map(|(head, target)| Some((head.rsplit(' ').next()?, target)))
        .filter(|(name, _)| KINDS.iter().any(|(_, file)| file == name))
        .map(|(name, target)| (name.to_owned(), target.to_owned()))
        .collect()
}

#[test]
fn each_combination_gives_what_it_says_or_is_refused() {
    if let Some(reason) = missing() {
        println!("skipped: {reason}");
        return;
    }
    let directory = tempfile::tempdir().expect("directory");
    let mut walk = Walk::new(directory.path());
    let mut numbers = Numbers(1);
    let order = order(&mut numbers);
    let all = std::env::var("CORACLE_WALK").is_ok_and(|value| value == "all");
    let begun = Instant::now();
    let (mut done, mut refused, mut wrong) = (0_u32, 0_u32, Vec::new());
    for number in order.into_iter().take(if all { COMBINATIONS } else { PART }) {
        let combination = Combination::new(number, numbers.next());
        if !all && begun.elapsed() > BOUND {
            println!("stopped after {BOUND:?}");
            break;
        }
        if let Some(trouble) = walk.trouble(&combination, &format!("walk-{number}")) {
            wrong.push(format!("{combination:?}: {trouble}"));
        }
        done += 1;
        refused += u32::from(combination.fault().is_some());
    }
    println!("{done} combinations, {refused} of them invalid, {:?}", begun.elapsed());
    assert!(done > 100, "too slow to mean anything");
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

#[test]
fn a_path_that_is_no_namespace_of_its_type_is_blamed() {
    if let Some(reason) = missing() {
        println!("skipped: {reason}");
        return;
    }
    let directory = tempfile::tempdir().expect("directory");
    let walk = Walk::new(directory.path());
    for (path, words) in [
        ("/no/such/file", "No such file"),
        ("/etc/passwd", "no namespace"),
        ("/proc/self/ns", "no namespace"),
        ("/dev/null", "no namespace"),
        ("/proc/self/ns/uts", "of type uts, not ipc"),
        ("proc/self/ns/ipc", "not an absolute path"),
    ] {
        let error =
            walk.refusal(&json!([{"type": "mount"}, {"type": "ipc", "path": path}]), &json!([]));
        assert_eq!(error.field(), Some("linux.namespaces[1].path"), "{error}");
        assert!(error.to_string().to_lowercase().contains(&words.to_lowercase()), "{error}");
    }
}

#[test]
fn maps_that_a_joined_user_namespace_has_not_are_blamed() {
    if let Some(reason) = missing() {
        println!("skipped: {reason}");
        return;
    }
    let directory = tempfile::tempdir().expect("directory");
    let walk = Walk::new(directory.path());
    let map = json!([{"containerID": 0, "hostID": 1, "size": 1}]);
    let joined = |path: PathBuf| json!([{"type": "mount"}, {"type": "user", "path": path}]);
    for path in [walk.member.path("user"), "/proc/self/ns/user".into()] {
        let error = walk.refusal(&joined(path), &map);
        assert_eq!(error.field(), Some("linux.uidMappings"), "{error}");
    }
}
