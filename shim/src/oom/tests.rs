//! Containers that really run out of memory.

#![allow(clippy::print_stdout, reason = "a test that cannot run says why")]

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use coracle::{Bundle, Container, CreateOptions, Runtime};
use tempfile::TempDir;
use tokio::time::timeout;

use super::Watch;

/// Reads zeros into memory until there is none left.
const GREEDY: &str = "exec busybox tail /dev/zero";

const MEBIBYTE: u64 = 1 << 20;

/// Containers below one cgroup of the test's own.
struct Pod {
    directory: TempDir,
    cgroup: String,
    members: Vec<Container>,
}

impl Pod {
    /// `None`, and the reason printed, where no container can be made.
    fn new(name: &str) -> Option<Self> {
        let missing = if !nix::unistd::geteuid().is_root() {
            "root"
        } else if !Path::new("/bin/busybox").exists() {
            "/bin/busybox"
        } else {
            let cgroup = format!("/coracle-oom-{name}-{}", std::process::id());
            let directory = tempfile::tempdir().expect("a directory");
            return Some(Self { directory, cgroup, members: Vec::new() });
        };
        println!("skipped: needs {missing}");
        None
    }

    /// Makes a container with a shell that runs the script.
    fn add(&mut self, name: &str, script: &str, limit: Option<u64>) -> &Container {
        let bundle = self.directory.path().join(name);
        let bin = bundle.join("rootfs/bin");
        fs::create_dir_all(&bin).expect("rootfs");
        fs::create_dir_all(bundle.join("rootfs/dev")).expect("rootfs");
        fs::copy("/bin/busybox", bin.join("busybox")).expect("busybox");
        let memory = limit.map(|limit| serde_json::json!({"limit": limit, "swap": limit}));
        let config = serde_json::json!({
            "ociVersion": "1.2.1",
            "process": {"user": {"uid": 0, "gid": 0}, "cwd": "/", "env": ["PATH=/bin"],
                        "args": ["/bin/busybox", "sh", "-c", script], "capabilities": {}},
            "root": {"path": "rootfs"},
            "mounts": [{"destination": "/dev", "type": "tmpfs", "source": "tmpfs"}],
            "linux": {"cgroupsPath": format!("{}/{name}", self.cgroup),
                      "resources": memory.map_or(serde_json::json!({}), |memory| {
                          serde_json::json!({ "memory": memory })
                      }),
                      "namespaces": [{"type": "pid"}, {"type": "mount"}]}
        });
        fs::write(bundle.join("config.json"), config.to_string()).expect("config");
        let bundle = Bundle::load(&bundle).expect("a bundle");
        let runtime = Runtime::new(self.directory.path().join("state"));
        let id = name.parse().expect("an id");
        let member = runtime.create(&id, &bundle, &CreateOptions::default()).expect("created");
        self.members.push(member);
        self.members.last().expect("the member")
    }

    /// The file that limits the memory of all.
    fn limit_file(&self) -> PathBuf {
        let unified = Path::new("/sys/fs/cgroup")
            .join(self.cgroup.trim_start_matches('/'))
            .join("memory.max");
        let legacy = format!("./memory{}/memory.limit_in_bytes", self.cgroup);
        if unified.exists() { unified } else { Path::new("/sys/fs/cgroup").join(legacy) }
    }
}

impl Drop for Pod {
    fn drop(&mut self) {
        for member in self.members.drain(..) {
            member.delete(true).expect("deleted");
        }
        let root = Path::new("/sys/fs/cgroup");
        let hierarchies = fs::read_dir(root).expect("cgroups").flatten().map(|entry| entry.path());
        for hierarchy in hierarchies.chain([root.to_owned()]) {
            // The parent that the library has made for the members, where there is one.
            let _ = fs::remove_dir(hierarchy.join(self.cgroup.trim_start_matches('/')));
        }
    }
}

fn watch(container: &Container) -> Watch {
    Watch::new(container.oom_watch().expect("a watch")).expect("registered")
}

#[tokio::test]
async fn a_kill_is_told_of_once() {
    let Some(mut pod) = Pod::new("told") else { return };
    let script = format!("({GREEDY}); exec busybox sleep 60");
    let container = pod.add("one", &script, Some(8 * MEBIBYTE));
    let watch = watch(container);
    container.start().expect("started");
    assert!(timeout(Duration::from_secs(20), watch.changed()).await.expect("told"));
    assert_eq!(watch.kills(), 1);
    assert_eq!(watch.kills(), 0);
    let again = timeout(Duration::from_millis(500), watch.changed()).await;
    assert!(again.is_err(), "told of the same kill again: {again:?}");
}

#[tokio::test]
async fn at_the_exit_of_init_its_kill_is_counted() {
    let Some(mut pod) = Pod::new("exit") else { return };
    let container = pod.add("one", GREEDY, Some(8 * MEBIBYTE));
    let watch = watch(container);
    container.start().expect("started");
    assert_eq!(container.wait().expect("its end").code(), 137);
    assert_eq!(watch.kills(), 1, "without the loop having told");
}

#[tokio::test]
async fn a_shortage_that_a_neighbour_pays_for_is_no_kill() {
    let Some(mut pod) = Pod::new("pod") else { return };
    let sleeper = watch(pod.add("sleeper", "exec busybox sleep 60", None));
    let greedy = watch(pod.add("greedy", GREEDY, None));
    fs::write(pod.limit_file(), (12 * MEBIBYTE).to_string()).expect("a limit");
    for member in &pod.members {
        member.start().expect("started");
    }
    assert!(timeout(Duration::from_secs(20), greedy.changed()).await.expect("told"));
    let other = timeout(Duration::from_secs(1), sleeper.changed()).await;
    assert!(other.is_err(), "told of a neighbour's kill: {other:?}");
    assert_eq!((greedy.kills(), sleeper.kills()), (1, 0));
}

#[tokio::test]
async fn a_cgroup_that_goes_ends_the_watch() {
    let Some(mut pod) = Pod::new("gone") else { return };
    let container = pod.add("one", "exec busybox sleep 60", None);
    let watch = watch(container);
    pod.members.pop().expect("the member").delete(true).expect("deleted");
    if fs::exists("/sys/fs/cgroup/memory").expect("cgroups") {
        // Only cgroup v1 tells; on v2 whoever deletes the container drops the watch.
        let end = timeout(Duration::from_secs(5), watch.changed()).await;
        assert!(matches!(end, Ok(false)), "{end:?}");
    }
    assert_eq!(watch.kills(), 0);
}
