//! Bundles: a root filesystem with the probe, and a configuration to change.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::call::{Call, Output};
use crate::container::Container;
use crate::failure::{Check, Failure, broken};
use crate::trial::Trial;
use crate::value;

/// A bundle that a case is still changing.
#[must_use]
pub(crate) struct Bundle<'t> {
    trial: &'t Trial,
    /// The directory.
    pub(crate) dir: PathBuf,
    /// The configuration.
    pub(crate) config: Value,
    id: String,
    options: Vec<String>,
    raw: Option<Vec<u8>>,
    trouble: Option<Failure>,
}

impl<'t> Bundle<'t> {
    /// The default bundle: nearly what `runc spec` writes, without limits.
    pub(crate) fn new(trial: &'t Trial) -> Self {
        let id = trial.new_id();
        let dir = trial.bundle_directory(&id);
        let trouble = prepare(trial, &dir).err().map(Failure::from);
        let config = default_config(trial, &id);
        Self { trial, dir, config, id, options: Vec::new(), raw: None, trouble }
    }

    /// A path in the root filesystem, as seen from the host.
    pub(crate) fn rootfs(&self, path: &str) -> PathBuf {
        self.dir.join("rootfs").join(path.trim_start_matches('/'))
    }

    /// The id of the container.
    pub(crate) fn id(&self) -> &str {
        &self.id
    }

    /// Uses this id.
    pub(crate) fn with_id(mut self, id: &str) -> Self {
        id.clone_into(&mut self.id);
        self
    }

    /// Sets a value of the configuration by JSON pointer; `-` appends to a list.
    pub(crate) fn set(mut self, pointer: &str, value: impl Into<Value>) -> Self {
        value::set(&mut self.config, pointer, value.into());
        self
    }

    /// Removes a value of the configuration.
    pub(crate) fn remove(mut self, pointer: &str) -> Self {
        value::remove(&mut self.config, pointer);
        self
    }

    /// Sets the program.
    pub(crate) fn args(self, args: &[&str]) -> Self {
        self.set("/process/args", json!(args))
    }

    /// The probe with these operations as the program.
    pub(crate) fn ops(self, ops: &[&str]) -> Self {
        let mut args = vec!["/probe"];
        args.extend(ops);
        self.set("/process/args", json!(args))
    }

    /// A shell script as the program.
    pub(crate) fn shell(self, script: &str) -> Self {
        let target = self.rootfs("bin/busybox");
        let copied = fs::copy("/bin/busybox", target).map(|_| ());
        self.note(copied).args(&["/bin/busybox", "sh", "-c", script])
    }

    /// Adds a mount at the end of the list.
    pub(crate) fn mount(
        self,
        destination: &str,
        kind: &str,
        source: &str,
        options: &[&str],
    ) -> Self {
        let mount = json!({
            "destination": destination, "type": kind, "source": source, "options": options,
        });
        self.set("/mounts/-", mount)
    }

    /// Adds a bind mount at the end of the list.
    pub(crate) fn bind(self, source: &Path, destination: &str, options: &[&str]) -> Self {
        let mut all = vec!["bind"];
        all.extend(options);
        self.mount(destination, "bind", &source.to_string_lossy(), &all)
    }

    /// Removes the mount at this destination.
    pub(crate) fn unmount(mut self, destination: &str) -> Self {
        if let Some(Value::Array(list)) = self.config.get_mut("mounts") {
            list.retain(|mount| mount.get("destination") != Some(&json!(destination)));
        }
        self
    }

    /// Removes the namespace of this type.
    pub(crate) fn without_namespace(mut self, kind: &str) -> Self {
        if let Some(Value::Array(list)) = self.config.pointer_mut("/linux/namespaces") {
            list.retain(|namespace| namespace.get("type") != Some(&json!(kind)));
        }
        self
    }

    /// Joins a namespace by path.
    pub(crate) fn join(self, kind: &str, path: &str) -> Self {
        self.without_namespace(kind)
            .set("/linux/namespaces/-", json!({ "type": kind, "path": path }))
    }

    /// Adds a new namespace.
    pub(crate) fn namespace(self, kind: &str) -> Self {
        self.without_namespace(kind).set("/linux/namespaces/-", json!({ "type": kind }))
    }

    /// Adds a user namespace with a map of many ids (needs root).
    pub(crate) fn user_namespace(self) -> Self {
        let map = json!([{ "containerID": 0, "hostID": 200_000, "size": 65_536 }]);
        self.namespace("user").set("/linux/uidMappings", map.clone()).set("/linux/gidMappings", map)
    }

    /// Adds a hook.
    pub(crate) fn hook(self, kind: &str, hook: Value) -> Self {
        self.set(&format!("/hooks/{kind}/-"), hook)
    }

    /// Writes a file in the root filesystem.
    pub(crate) fn file(self, path: &str, content: &str) -> Self {
        let target = self.rootfs(path);
        let made = target
            .parent()
            .map_or(Ok(()), fs::create_dir_all)
            .and_then(|()| fs::write(&target, content));
        self.note(made)
    }

    /// Makes a directory in the root filesystem.
    pub(crate) fn directory(self, path: &str) -> Self {
        let made = fs::create_dir_all(self.rootfs(path));
        self.note(made)
    }

    /// Makes a symbolic link in the root filesystem, in place of what is there.
    pub(crate) fn link(self, path: &str, target: &str) -> Self {
        let place = self.rootfs(path);
        let _ = fs::remove_dir(&place);
        let made = symlink(target, place);
        self.note(made)
    }

    /// Sets the mode of a file in the root filesystem.
    pub(crate) fn mode(self, path: &str, mode: u32) -> Self {
        let done = fs::set_permissions(self.rootfs(path), PermissionsExt::from_mode(mode));
        self.note(done)
    }

    /// Replaces the text of config.json, whatever it is.
    pub(crate) fn raw(mut self, bytes: impl Into<Vec<u8>>) -> Self {
        self.raw = Some(bytes.into());
        self
    }

    /// Adds options of `create` or `run`.
    pub(crate) fn option(mut self, options: &[&str]) -> Self {
        self.options.extend(options.iter().map(|word| (*word).to_owned()));
        self
    }

    /// Writes config.json.
    ///
    /// # Errors
    /// Something of the bundle could not be made.
    pub(crate) fn write(&mut self) -> Check {
        if let Some(trouble) = self.trouble.take() {
            return Err(trouble);
        }
        let text = self.raw.clone().unwrap_or_else(|| self.config.to_string().into_bytes());
        Ok(fs::write(self.dir.join("config.json"), text)?)
    }

    /// The call of `create` or `run` for this bundle, which is written first.
    ///
    /// # Errors
    /// The bundle cannot be written.
    pub(crate) fn call(&mut self, verb: &str, more: &[&str]) -> Check<Call<'t>> {
        self.write()?;
        let mut args = vec![verb.to_owned(), "--bundle".into(), self.dir.display().to_string()];
        args.extend(self.options.iter().cloned());
        args.extend(more.iter().map(|word| (*word).to_owned()));
        args.push(self.id.clone());
        Ok(Call::new(self.trial, args))
    }

    /// `run` in the foreground.
    ///
    /// # Errors
    /// The call cannot be made, or hangs.
    pub(crate) fn run(mut self) -> Check<Output> {
        self.call("run", &[])?.run()
    }

    /// Runs the probe's operations and returns what each printed.
    ///
    /// # Errors
    /// The container does not run or exits with another status than 0.
    pub(crate) fn probe(self, ops: &[&str]) -> Check<Answers> {
        Answers::of(&self.ops(ops).run()?.ok()?.stdout)
    }

    /// Runs the probe's report and returns it.
    ///
    /// # Errors
    /// The container does not run or exits with another status than 0.
    pub(crate) fn report(self) -> Check<Value> {
        self.probe(&["report"])?.value("report")
    }

    /// The container runs a program, or is refused with a word; nothing in between.
    ///
    /// # Errors
    /// A crash, a hang, silence, or a success without the program.
    pub(crate) fn ran_or_refused(self) -> Check {
        let output = self.ops(&["echo=alive"]).run()?;
        output.ran_or_refused()
    }

    /// `create` must fail and leave nothing; the words on standard error are returned.
    ///
    /// # Errors
    /// It succeeds, crashes, hangs, or says something else.
    pub(crate) fn refused(mut self, part: &str) -> Check<Output> {
        let output = self.call("create", &[])?.run()?;
        if output.code == 0 {
            self.trial.live(&self.id);
        }
        output.fails_with(part)
    }

    /// `create`.
    ///
    /// # Errors
    /// It fails.
    pub(crate) fn create(mut self) -> Check<Container<'t>> {
        let output = self.call("create", &[])?.run()?;
        self.adopt(output)
    }

    /// `create` and `start`.
    ///
    /// # Errors
    /// One of them fails.
    pub(crate) fn start(self) -> Check<Container<'t>> {
        let container = self.create()?;
        container.start()?.ok()?;
        Ok(container)
    }

    /// Takes the container that a call of `create` or `run --detach` made.
    ///
    /// # Errors
    /// The call failed.
    pub(crate) fn adopt(self, output: Output) -> Check<Container<'t>> {
        if output.code == 0 {
            self.trial.live(&self.id);
        }
        let output = output.ok()?;
        Ok(Container::new(self.trial, self.id, self.dir, output.stdout_file))
    }

    fn note<E: Into<Failure>>(mut self, result: Result<(), E>) -> Self {
        if let Err(error) = result {
            self.trouble = self.trouble.or_else(|| Some(error.into()));
        }
        self
    }
}

/// The lines that the probe printed.
#[derive(Debug, Clone)]
pub(crate) struct Answers(Vec<Value>);

impl Answers {
    /// Reads the JSON lines among other output.
    ///
    /// # Errors
    /// There is none.
    pub(crate) fn of(text: &str) -> Check<Self> {
        let list: Vec<Value> = text
            .lines()
            .filter(|line| line.starts_with('{'))
            .filter_map(|line| serde_json::from_str(line).ok())
            .collect();
        if list.is_empty() {
            return broken(format!("the probe printed nothing: {text:?}"));
        }
        Ok(Self(list))
    }

    fn line(&self, op: &str) -> Check<&Value> {
        let found = self.0.iter().find(|line| line.get("op") == Some(&json!(op)));
        match found {
            Some(line) => Ok(line),
            None => broken(format!("the probe did not answer {op}: {:?}", self.0)),
        }
    }

    /// The value of an operation that succeeded.
    ///
    /// # Errors
    /// It failed.
    pub(crate) fn value(&self, op: &str) -> Check<Value> {
        let line = self.line(op)?;
        match line.get("ok") {
            Some(value) => Ok(value.clone()),
            None => broken(format!("in the container: {line}")),
        }
    }

    /// The errno of an operation that failed.
    ///
    /// # Errors
    /// It succeeded.
    pub(crate) fn errno(&self, op: &str) -> Check<String> {
        let line = self.line(op)?;
        match line.get("errno").and_then(Value::as_str) {
            Some(name) => Ok(name.to_owned()),
            None => broken(format!("in the container: {line}, but must fail")),
        }
    }

    /// The operation failed with this errno.
    ///
    /// # Errors
    /// It succeeded or failed otherwise.
    pub(crate) fn fails(&self, op: &str, errno: &str) -> Check {
        value::equal(op, &self.errno(op)?, errno)
    }
}

fn prepare(trial: &Trial, dir: &Path) -> std::io::Result<()> {
    let rootfs = dir.join("rootfs");
    for name in ["proc", "sys", "dev", "tmp", "etc", "bin", "usr/bin"] {
        fs::create_dir_all(rootfs.join(name))?;
    }
    fs::copy(trial.probe(), rootfs.join("probe"))?;
    fs::set_permissions(rootfs.join("probe"), PermissionsExt::from_mode(0o755))
}

fn default_config(trial: &Trial, id: &str) -> Value {
    let namespaces =
        ["pid", "network", "ipc", "uts", "mount", "cgroup"].map(|kind| json!({ "type": kind }));
    let caps = json!(["CAP_AUDIT_WRITE", "CAP_KILL", "CAP_NET_BIND_SERVICE"]);
    let mut config = json!({
        "ociVersion": "1.0.2",
        "process": {
            "terminal": false,
            "user": { "uid": 0, "gid": 0 },
            "args": ["/probe", "report"],
            "env": ["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"],
            "cwd": "/",
            "capabilities": { "bounding": caps, "effective": caps, "permitted": caps },
            "noNewPrivileges": true,
        },
        "root": { "path": "rootfs", "readonly": false },
        "hostname": "conformance",
        "mounts": default_mounts(),
        "linux": {
            "cgroupsPath": trial.host.cgroups_path(id),
            "namespaces": namespaces,
            "maskedPaths": ["/proc/kcore", "/proc/keys", "/proc/timer_list", "/sys/firmware"],
            "readonlyPaths": ["/proc/bus", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"],
        },
    });
    if !trial.host.root {
        rootless(&mut config);
    }
    if !trial.host.cgroup_writable && trial.host.systemd.is_none() {
        // A path that is asked for and cannot be made is an error.
        value::remove(&mut config, "/linux/cgroupsPath");
    }
    config
}

fn default_mounts() -> Value {
    json!([
        { "destination": "/proc", "type": "proc", "source": "proc",
          "options": ["nosuid", "noexec", "nodev"] },
        { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
          "options": ["nosuid", "strictatime", "mode=755", "size=65536k"] },
        { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
          "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"] },
        { "destination": "/dev/shm", "type": "tmpfs", "source": "shm",
          "options": ["nosuid", "noexec", "nodev", "mode=1777", "size=65536k"] },
        { "destination": "/dev/mqueue", "type": "mqueue", "source": "mqueue",
          "options": ["nosuid", "noexec", "nodev"] },
        { "destination": "/sys", "type": "sysfs", "source": "sysfs",
          "options": ["nosuid", "noexec", "nodev", "ro"] },
    ])
}

/// The calling user becomes root of a user namespace with this one id.
fn rootless(config: &mut Value) {
    let map = |id: u32| json!([{ "containerID": 0, "hostID": id, "size": 1 }]);
    value::set(config, "/linux/namespaces/-", json!({ "type": "user" }));
    value::set(config, "/linux/uidMappings", map(nix::unistd::geteuid().as_raw()));
    value::set(config, "/linux/gidMappings", map(nix::unistd::getegid().as_raw()));
}
