//! An imitation of a resctrl file system, and containers that use it.

use std::fs;
use std::path::{Path, PathBuf};

use coracle::{Bundle, Container, CreateOptions, Error, ErrorKind, Runtime};
use serde_json::{Value, json};
use tempfile::TempDir;

/// A file system, a bundle and a state root.
pub(crate) struct Scene {
    pub(crate) directory: PathBuf,
    pub(crate) id: String,
    /// Removes the directory at the end; absent in a process that borrows it.
    _owned: Option<TempDir>,
}

impl Scene {
    /// `None` where containers cannot be made, which it says.
    pub(crate) fn new(name: &str) -> Option<Self> {
        let missing = if !nix::unistd::geteuid().is_root() {
            "needs root"
        } else if !Path::new("/bin/busybox").exists() {
            "needs /bin/busybox (Debian package busybox-static)"
        } else {
            let owned = tempfile::tempdir().expect("a directory");
            let id = format!("rdt-{name}-{}", std::process::id());
            let scene = Self { directory: owned.path().to_owned(), id, _owned: Some(owned) };
            scene.class("");
            fs::create_dir(scene.path("info")).expect("info");
            return Some(scene);
        };
        println!("skipped: {missing}");
        None
    }

    /// In a directory that another process has made.
    pub(crate) fn borrowed(directory: PathBuf, id: String) -> Self {
        Self { directory, id, _owned: None }
    }

    /// A path in the file system.
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.join("resctrl").join(name)
    }

    /// Makes a class of service as the kernel does.
    pub(crate) fn class(&self, name: &str) {
        let path = self.path(name);
        fs::create_dir_all(path.join("mon_groups")).expect("a class");
        fs::write(path.join("tasks"), "").expect("tasks");
        fs::write(path.join("schemata"), "    MB:0= 100;1= 100\n    L3:0=0ff;1=7ff\n")
            .expect("schemata");
    }

    pub(crate) fn read(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).expect(name)
    }

    /// Everything in the file system, sorted.
    pub(crate) fn whole(&self) -> Vec<String> {
        fn walk(directory: &Path, root: &Path, found: &mut Vec<String>) {
            for entry in fs::read_dir(directory).expect("readable").flatten() {
                let name = entry.path().strip_prefix(root).expect("below").display().to_string();
                found.push(name);
                if entry.path().is_dir() {
                    walk(&entry.path(), root, found);
                }
            }
        }
        let mut found = Vec::new();
        walk(&self.path(""), &self.path(""), &mut found);
        found.sort();
        found
    }

    pub(crate) fn runtime(&self) -> Runtime {
        Runtime::new(self.directory.join("state"))
    }

    /// Creates a container with these settings, and with more in its configuration.
    pub(crate) fn create_with(&self, settings: &Value, hooks: &Value) -> Result<Container, Error> {
        let bin = self.directory.join("rootfs/bin");
        fs::create_dir_all(&bin).expect("rootfs");
        fs::copy("/bin/busybox", bin.join("busybox")).expect("busybox");
        let config = json!({
            "ociVersion": "1.3.0",
            "process": {"user": {"uid": 0, "gid": 0}, "args": ["/bin/busybox", "sleep", "60"],
                        "cwd": "/", "capabilities": {}},
            "root": {"path": "rootfs"},
            "hooks": hooks,
            "linux": {"namespaces": [{"type": "pid"}, {"type": "mount"}], "intelRdt": settings}
        });
        fs::write(self.directory.join("config.json"), config.to_string()).expect("config");
        let bundle = Bundle::load(&self.directory)?;
        let mut options = CreateOptions::default();
        options.resctrl_imitation = Some(self.path(""));
        self.runtime().create(&self.id.parse().expect("an id"), &bundle, &options)
    }

    pub(crate) fn create(&self, settings: &Value) -> Result<Container, Error> {
        self.create_with(settings, &json!({}))
    }

    pub(crate) fn delete(&self) {
        let id = self.id.parse().expect("an id");
        self.runtime().delete(&id, true).expect("deleted");
    }

    /// Creating fails with this field and kind, and leaves the file system as it was.
    pub(crate) fn refused(&self, settings: &Value, field: &str, kind: ErrorKind) {
        let before = self.whole();
        let error = self.create(settings).expect_err("refused");
        assert_eq!((error.field(), error.kind()), (Some(field), kind), "{error}");
        assert_eq!(self.whole(), before);
    }
}
