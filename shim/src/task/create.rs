//! Create: everything up to a program that waits for its start.

use std::path::PathBuf;
use std::rc::Rc;

use containerd_shim_protos::api::{CreateTaskRequest, CreateTaskResponse, Mount};
use containerd_shim_protos::events::task::{TaskCreate, TaskIO};
use containerd_shim_protos::protobuf::MessageField;
use containerd_shim_protos::topics;
use containerd_shim_protos::ttrpc::Code;

use super::birth::{Born, Recipe, undo};
use super::{Process, Task};
use crate::failure::Failure;
use crate::io::{Owner, Streams};
use crate::options::Options;
use crate::rootfs::Rootfs;
use crate::shim::{Abandonment, Shim};
use crate::worker;

impl Shim {
    /// Create: mounts the root file system, opens the streams and creates the container. One that is to
    /// be restored from a checkpoint waits for its start.
    ///
    /// # Errors
    /// A task of that id exists; what the library refuses; it was given up meanwhile. Nothing is left
    /// behind.
    pub(crate) async fn create(
        self: &Rc<Self>,
        request: CreateTaskRequest,
        abandonment: &Abandonment,
    ) -> Result<CreateTaskResponse, Failure> {
        let place = self.reserve(&request.id, abandonment)?;
        let options = read_options(&request).await?;
        let recipe = self.recipe(&request, options)?;
        let (id, runtime) = (recipe.id.clone(), recipe.runtime.clone());
        let streams = recipe.streams.clone();
        let mounts = request.rootfs.clone();
        let made = worker::run(move || make(&mounts, recipe)).await?;
        self.sweep.notify_one();
        let (rootfs, made) =
            made.map_err(|failure| failure.context("OCI runtime create failed"))?;
        if place.is_abandoned() {
            // Nobody knows of it, so nobody would ever remove it.
            worker::run(move || discard(&rootfs, made)).await?;
            self.sweep.notify_one();
            return Err(Failure::new(Code::CANCELLED, "the client has given up the create"));
        }
        let bundle = PathBuf::from(&request.bundle);
        let init = Process::new(String::new(), streams);
        let task = Rc::new(Task::new((id, runtime), bundle, init, rootfs));
        match made {
            Made::Born(born) => {
                if let Err(failure) = self.adopt(&task, *born).await {
                    let rootfs = task.rootfs.clone();
                    worker::run(move || rootfs.unmount()).await?;
                    return Err(failure);
                }
            }
            Made::Waiting(recipe) => *task.recipe.borrow_mut() = Some(recipe),
        }
        place.fill(Rc::clone(&task));
        let pid = task.init_pid();
        self.events.publish(topics::TASK_CREATE_EVENT_TOPIC, &created(request, pid), false);
        self.watch_task(&task);
        Ok(CreateTaskResponse { pid, ..CreateTaskResponse::default() })
    }

    fn recipe(&self, request: &CreateTaskRequest, own: Option<Options>) -> Result<Recipe, Failure> {
        let options = own.unwrap_or_else(|| self.settings.options.clone());
        let images = (!request.checkpoint.is_empty()).then(|| PathBuf::from(&request.checkpoint));
        Ok(Recipe {
            id: request.id.parse()?,
            bundle: PathBuf::from(&request.bundle),
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
            options,
            images,
        })
    }

    /// Takes what a thread has made to the loop; what cannot be taken is removed.
    pub(super) async fn adopt(&self, task: &Task, born: Born) -> Result<(), Failure> {
        match born.settle_in() {
            Ok((life, relay, claim)) => {
                task.init.pid.set(life.container.init_pid().unwrap_or_default());
                *task.init.claim.borrow_mut() = Some(claim);
                task.init.take_relay(relay);
                *task.life.borrow_mut() = Some(life);
                Ok(())
            }
            Err(unsettled) => {
                let (failure, container) = *unsettled;
                worker::run(move || undo(container)).await?;
                self.sweep.notify_one();
                Err(failure)
            }
        }
    }
}

/// The options of the request. A file is not read on the loop.
async fn read_options(request: &CreateTaskRequest) -> Result<Option<Options>, Failure> {
    match request.options.as_ref() {
        Some(options) if Options::may_be_file(options) => {
            let options = options.clone();
            worker::run(move || Options::read(&options)).await?
        }
        options => options.map(Options::read).transpose().map(Option::flatten),
    }
}

/// What a thread has made of a request.
enum Made {
    Born(Box<Born>),
    /// It is made at its start.
    Waiting(Box<Recipe>),
}

/// On a thread of its own: all that can block. What fails undoes what was done.
fn make(mounts: &[Mount], recipe: Recipe) -> Result<(Rootfs, Made), Failure> {
    recipe.options.record(&recipe.bundle)?;
    let rootfs = Rootfs::mount(mounts, &recipe.bundle.join("rootfs"))?;
    if recipe.images.is_some() {
        return Ok((rootfs, Made::Waiting(Box::new(recipe))));
    }
    match recipe.make() {
        Ok(born) => Ok((rootfs, Made::Born(Box::new(born)))),
        Err(failure) => {
            rootfs.unmount();
            Err(failure)
        }
    }
}

/// Removes what was made. Blocks.
fn discard(rootfs: &Rootfs, made: Made) {
    if let Made::Born(born) = made {
        born.discard();
    }
    rootfs.unmount();
}

fn created(request: CreateTaskRequest, pid: u32) -> TaskCreate {
    TaskCreate {
        container_id: request.id,
        bundle: request.bundle,
        rootfs: request.rootfs,
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
