//! Create: everything up to a program that waits for its start.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::io::Result as IoResult;
use std::os::fd::OwnedFd;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use containerd_shim_protos::api::{CreateTaskRequest, CreateTaskResponse, Mount};
use containerd_shim_protos::events::task::{TaskCreate, TaskIO};
use containerd_shim_protos::protobuf::MessageField;
use containerd_shim_protos::topics;
use containerd_shim_protos::ttrpc::Code;
use coracle::spec::{NamespaceKind, Spec};
use coracle::{Bundle, ConsoleTarget, Container, ContainerId, CreateOptions, OomWatch, Runtime};

use super::{Process, Task};
use crate::children::Claim;
use crate::failure::Failure;
use crate::io::{self, Opened, Owner, Relay, Streams};
use crate::oom::Watch;
use crate::options::Options;
use crate::rootfs::Rootfs;
use crate::shim::Shim;
use crate::worker;

/// What the thread needs.
struct Order {
    id: ContainerId,
    bundle: PathBuf,
    mounts: Vec<Mount>,
    streams: Streams,
    owner: Owner,
    options: Options,
    runtime: Runtime,
}

/// What the thread has made.
struct Made {
    container: Container,
    claim: Claim,
    opened: Opened,
    oom: Option<OomWatch>,
    rootfs: Rootfs,
    shares_pids: bool,
    io_ids: Option<(u32, u32)>,
}

impl Shim {
    /// Create: mounts the root file system, opens the streams and creates the container.
    ///
    /// # Errors
    /// A task of that id exists; what the library refuses. Nothing is left behind.
    pub(crate) async fn create(
        self: &Rc<Self>,
        request: CreateTaskRequest,
    ) -> Result<CreateTaskResponse, Failure> {
        if !request.checkpoint.is_empty() {
            let message = "restoring a checkpoint is not supported";
            return Err(Failure::new(Code::UNIMPLEMENTED, message));
        }
        let place = self.reserve(&request.id)?;
        let order = self.order(&request)?;
        let (runtime, streams) = (order.runtime.clone(), order.streams.clone());
        let made = worker::run(move || order.make()).await?;
        self.sweep.notify_one();
        let mut made = made.map_err(|failure| failure.context("OCI runtime create failed"))?;
        let (relay, oom) = match register(made.opened, made.container.take_console(), made.oom) {
            Ok(registered) => registered,
            Err(error) => {
                let (container, rootfs) = (made.container, made.rootfs);
                worker::run(move || undo(container, &rootfs)).await?;
                return Err(Failure::from(error).context("relay the standard streams"));
            }
        };
        let init = Process::new(String::new(), streams);
        init.pid.set(made.container.init_pid().unwrap_or_default());
        *init.claim.borrow_mut() = Some(made.claim);
        init.take_relay(relay);
        let task = Rc::new(Task {
            id: request.id.clone(),
            bundle: PathBuf::from(&request.bundle),
            runtime,
            container: Arc::new(made.container),
            init: Rc::new(init),
            execs: RefCell::new(BTreeMap::new()),
            shares_pids: made.shares_pids,
            io_ids: made.io_ids,
            rootfs: made.rootfs,
            oom: oom.map(Rc::new),
            last_stats: RefCell::new(None),
        });
        place.fill(Rc::clone(&task));
        let pid = task.init_pid();
        self.events.publish(topics::TASK_CREATE_EVENT_TOPIC, &created(request, pid), false);
        self.watch_task(&task);
        Ok(CreateTaskResponse { pid, ..CreateTaskResponse::default() })
    }

    fn order(&self, request: &CreateTaskRequest) -> Result<Order, Failure> {
        let own = request.options.as_ref().map(Options::read).transpose()?.flatten();
        let options = own.unwrap_or_else(|| self.settings.options.clone());
        let bundle = PathBuf::from(&request.bundle);
        Ok(Order {
            id: request.id.parse()?,
            mounts: request.rootfs.clone(),
            streams: Streams {
                stdin: request.stdin.clone(),
                stdout: request.stdout.clone(),
                stderr: request.stderr.clone(),
                terminal: request.terminal,
            },
            owner: Owner {
                namespace: self.settings.namespace.clone(),
                container: request.id.clone(),
                ids: options.io_ids(),
            },
            runtime: self.runtime(options.state_root(&self.settings.namespace)),
            bundle,
            options,
        })
    }
}

impl Order {
    /// On a thread of its own: all that can block. What fails undoes what was done.
    fn make(mut self) -> Result<Made, Failure> {
        self.options.record(&self.bundle)?;
        let rootfs = Rootfs::mount(&self.mounts, &self.bundle.join("rootfs"))?;
        match self.create() {
            Ok((container, opened, shares_pids)) => Ok(Made {
                // The cgroup can be without a memory controller.
                oom: container.oom_watch().ok(),
                claim: Claim::new(container.init_pid().unwrap_or_default()),
                container,
                opened,
                rootfs,
                shares_pids,
                io_ids: self.owner.ids,
            }),
            Err(failure) => {
                rootfs.unmount();
                Err(failure)
            }
        }
    }

    fn create(&mut self) -> Result<(Container, Opened, bool), Failure> {
        let bundle = Bundle::load(&self.bundle)?;
        for warning in bundle.warnings() {
            log::warn!("{}: {warning}", self.id);
        }
        self.owner.ids = self.owner.ids.or_else(|| payload_ids(bundle.spec()));
        let mut opened = io::open(&self.streams, &self.owner)
            .map_err(|error| Failure::from(error).context("open the standard streams"))?;
        let mut options = CreateOptions::default();
        options.console = ConsoleTarget::Keep;
        options.pid_file = Some(self.bundle.join("init.pid"));
        options.no_pivot = self.options.no_pivot_root;
        options.no_new_keyring = self.options.no_new_keyring;
        options.cgroup_driver = self.options.cgroup_driver(bundle.spec());
        options.stdio = opened.take_child_ends();
        let container = self.runtime.create(&self.id, &bundle, &options)?;
        Ok((container, opened, shares_pids(bundle.spec())))
    }
}

/// Gives descriptors to the loop.
fn register(
    opened: Opened,
    console: Option<OwnedFd>,
    oom: Option<OomWatch>,
) -> IoResult<(Relay, Option<Watch>)> {
    Ok((opened.relay(console)?, oom.map(Watch::new).transpose()?))
}

fn undo(container: Container, rootfs: &Rootfs) {
    let id = container.id().clone();
    if let Err(error) = container.delete(true) {
        log::error!("remove {id} again: {error}");
    }
    rootfs.unmount();
}

/// Whether processes of the container can outlive its init: without a pid namespace that is its own.
fn shares_pids(spec: &Spec) -> bool {
    spec.linux.namespace(NamespaceKind::Pid).is_none_or(|namespace| namespace.path.is_some())
}

/// User and group of the program, as the host sees them.
fn payload_ids(spec: &Spec) -> Option<(u32, u32)> {
    let user = &spec.process.as_ref()?.user;
    let on_host = |id: u32, maps: &[coracle::spec::IdMapping]| {
        if maps.is_empty() {
            return Some(id);
        }
        maps.iter().find_map(|map| {
            let offset = id.checked_sub(map.container_id).filter(|offset| *offset < map.size)?;
            map.host_id.checked_add(offset)
        })
    };
    Some((
        on_host(user.uid, &spec.linux.uid_mappings)?,
        on_host(user.gid, &spec.linux.gid_mappings)?,
    ))
}

fn created(request: CreateTaskRequest, pid: u32) -> TaskCreate {
    TaskCreate {
        container_id: request.id,
        bundle: request.bundle,
        rootfs: request.rootfs.iter().map(event_mount).collect(),
        io: MessageField::some(TaskIO {
            stdin: request.stdin,
            stdout: request.stdout,
            stderr: request.stderr,
            terminal: request.terminal,
            ..TaskIO::default()
        }),
        checkpoint: request.checkpoint,
        pid,
        ..TaskCreate::default()
    }
}

/// The generated code has the one message twice.
fn event_mount(mount: &Mount) -> containerd_shim_protos::types::mount::Mount {
    mount.clone()
}
