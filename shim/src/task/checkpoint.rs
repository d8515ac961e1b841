//! Checkpoint: the processes are written into images.

use std::fs;
use std::path::PathBuf;
use std::rc::Rc;

use containerd_shim_protos::api::{CheckpointTaskRequest, Empty};
use containerd_shim_protos::events::task::TaskCheckpointed;
use containerd_shim_protos::shim::oci;
use containerd_shim_protos::topics;
use coracle::{CgroupsMode, CheckpointOptions, CriuOptions};

use super::{Phase, Task};
use crate::failure::Failure;
use crate::message::read;
use crate::options;
use crate::shim::Shim;
use crate::worker;

/// criu's log, and where engines look for it.
const LOGS: (&str, &str) = ("dump.log", "criu-dump.log");

impl Shim {
    /// Checkpoint: writes the processes of a container into images, and ends them if that is asked for.
    ///
    /// # Errors
    /// It does not run; there is no criu; what criu refuses, and then its log is in the bundle.
    pub(crate) async fn checkpoint(
        self: &Rc<Self>,
        request: &CheckpointTaskRequest,
    ) -> Result<Empty, Failure> {
        let task = self.task(&request.id)?;
        let given = request.options.as_ref().map(|options| read(&options.value)).transpose()?;
        let order = Order::new(&task, &given.unwrap_or_default(), &request.path)?;
        let container = task.container()?;
        let before = task.init.phase.get();
        task.init.pass(&[Phase::Running, Phase::Paused], Phase::Checkpointing, "checkpoint")?;
        let done = worker::run(move || {
            let Order { options, log } = order;
            let done = container.checkpoint(options);
            log.keep(done.is_err());
            done
        });
        let done = done.await.and_then(|done| Ok(done?));
        task.init.phase.set(before);
        self.sweep.notify_one();
        if let Err(failure) = done {
            self.settle(&task, &task.init);
            return Err(failure);
        }
        let event = TaskCheckpointed {
            container_id: task.id.clone(),
            checkpoint: request.path.clone(),
            ..TaskCheckpointed::default()
        };
        self.events.publish(topics::TASK_CHECKPOINTED_EVENT_TOPIC, &event, false);
        self.settle(&task, &task.init);
        Ok(Empty::new())
    }
}

/// What the thread needs.
struct Order {
    options: CheckpointOptions,
    log: Log,
}

/// What becomes of criu's log.
struct Log {
    /// The directory that criu writes it to.
    place: PathBuf,
    bundle: PathBuf,
    /// That directory, if it is a place for this once.
    work: Option<PathBuf>,
}

impl Order {
    fn new(task: &Task, given: &oci::CheckpointOptions, path: &str) -> Result<Self, Failure> {
        if !given.empty_namespaces.is_empty() {
            return Err(Failure::invalid("empty namespaces of a checkpoint are not supported"));
        }
        let images = if path.is_empty() { &given.image_path } else { path };
        if images.is_empty() {
            return Err(Failure::invalid("no path is given for the images"));
        }
        let own = given.work_path.is_empty().then(|| options::criu_work(&task.bundle)).flatten();
        let mut criu = CriuOptions::default();
        criu.images = PathBuf::from(images);
        criu.work = match given.work_path.as_str() {
            "" => own.clone(),
            path => Some(PathBuf::from(path)),
        };
        criu.tcp_established = given.open_tcp;
        criu.external_unix_sockets = given.external_unix_sockets;
        criu.shell_job = given.terminal || task.init.streams.terminal;
        criu.file_locks = given.file_locks;
        criu.cgroups = mode(&given.cgroups_mode)?;
        let place = criu.work.as_ref().unwrap_or(&criu.images).clone();
        let mut options = CheckpointOptions::default();
        options.criu = criu;
        options.leave_running = !given.exit;
        Ok(Self { options, log: Log { place, bundle: task.bundle.clone(), work: own } })
    }
}

impl Log {
    fn keep(&self, failed: bool) {
        if failed {
            // Without one criu was not reached.
            let _unwritten = fs::copy(self.place.join(LOGS.0), self.bundle.join(LOGS.1));
        }
        if let Some(own) = &self.work {
            let _gone = fs::remove_dir_all(own);
        }
    }
}

fn mode(name: &str) -> Result<Option<CgroupsMode>, Failure> {
    match name {
        "" => Ok(None),
        "soft" => Ok(Some(CgroupsMode::Soft)),
        "full" => Ok(Some(CgroupsMode::Full)),
        "strict" => Ok(Some(CgroupsMode::Strict)),
        "ignore" => Ok(Some(CgroupsMode::Ignore)),
        _ => Err(Failure::invalid(format!("there is no cgroups mode {name:?}"))),
    }
}
