//! Options of the runtime, checkpoints.

use std::fs;

use containerd_shim_protos::protobuf::Message;
use containerd_shim_protos::shim::oci::{CheckpointOptions, Options};

use super::life::{CGROUP, ROOT};
use crate::case::{Case, Need};
use crate::failure::{Check, ensure};
use crate::shim::code::INVALID_ARGUMENT;
use crate::shim::daemon::{created, started, with};
use crate::shim::messages::{any, runc_options, toml_options};
use crate::shim::stdio::{Stdio, outlet};
use crate::shim::task::{Creation, Task};
use crate::trial::Trial;
use crate::value::{contains, equal};

/// The cases of this file.
pub(super) const CASES: &[Case] = &[
    Case::new("shim-options/root", "state is below the root and the namespace", |t| {
        created(t, &["sleep"], |_, task| {
            let place = t.state_root().join(&task.id);
            ensure(place.exists(), format!("{} is not there", place.display()))
        })
    })
    .needs(ROOT),
    Case::new(
        "shim-options/toml",
        "options as a table of TOML, as for other shims than runc's",
        |t| {
            with(t, |d| {
                let root = t.roots();
                let table = format!("Root = \"{}\"\nNoPivotRoot = false\n", root.display());
                let mut bundle = t.bundle().ops(&["sleep"]);
                let mut invocation = d.invocation(&mut bundle)?;
                invocation.options = toml_options(&table);
                let launched = d.launch_by(&invocation)?;
                let place = (launched.id.as_str(), launched.bundle.clone());
                let task = Task::connect_to(&launched.address, place, toml_options(&table))?;
                task.create(Creation::default()).ok()?;
                launched.adopt();
                let place = t.state_root().join(&task.id);
                ensure(place.exists(), format!("{} is not there", place.display()))
            })
        },
    )
    .needs(ROOT),
    Case::new("shim-options/bad-toml", "a table that cannot be read is an invalid argument", |t| {
        refused_options(t, |_| toml_options("Root = \n"))
    })
    .needs(ROOT),
    Case::new(
        "shim-options/unknown-message",
        "options of another kind are an invalid argument",
        |t| refused_options(t, |_| any("example.com/other.Options", vec![1, 2, 3])),
    )
    .needs(ROOT),
    Case::new(
        "shim-options/foreign-runtime",
        "the name of another runtime is an invalid argument",
        |t| {
            refused_options(t, |options| {
                runc_options(&Options { binary_name: "/no/such/runtime".to_owned(), ..options })
            })
        },
    )
    .needs(ROOT),
    Case::new("shim-options/io-owner", "the owner of the pipes can open them again", |t| {
        with(t, |d| {
            let (stdout, mut out) = outlet(t, "out")?;
            let stdio = Stdio { stderr: stdout.clone(), stdout, ..Stdio::default() };
            let b = t.bundle().set("/process/user/uid", 1234).set("/process/user/gid", 1234);
            let launched = d.launch(b.ops(&["write=/proc/self/fd/1"]))?;
            let options = Options { io_uid: 1234, io_gid: 1234, ..d.options() };
            let place = (launched.id.as_str(), launched.bundle.clone());
            let task = Task::connect_to(&launched.address, place, runc_options(&options))?;
            task.create(Creation { stdio, ..Creation::default() }).ok()?;
            launched.adopt();
            task.start("").ok()?;
            task.ends("", 0)?;
            contains("the write", &out.rest()?, "\"ok\":true")
        })
    })
    .needs(ROOT),
    Case::new(
        "shim-options/shim-cgroup",
        "the shim is put into the cgroup that is asked for",
        |t| {
            with(t, |d| {
                let name = format!("{}-shim", t.new_id());
                // It is containerd's: somebody has made it before, and removes it after the shim.
                for controller in ["memory", "pids", "freezer", "devices"] {
                    fs::create_dir_all(t.host.cgroup_dir(controller, &format!("/{name}")))?;
                }
                let mut bundle = t.bundle().ops(&["exit=0"]);
                let mut invocation = d.invocation(&mut bundle)?;
                let options = Options { shim_cgroup: format!("/{name}"), ..d.options() };
                invocation.options = runc_options(&options);
                let task = d.launch_by(&invocation)?;
                let pid = task.connect().ok()?.shim_pid;
                let place = fs::read_to_string(format!("/proc/{pid}/cgroup"))?;
                d.shut_down(&task)?;
                t.until("the end of the shim", || task.connection.is_closed())?;
                for dir in crate::leftovers::cgroups(&name).iter().rev() {
                    fs::remove_dir(dir)?;
                }
                contains("cgroup of the shim", &place, &format!("/{name}"))
            })
        },
    )
    .needs(CGROUP),
    Case::new(
        "shim-checkpoint/missing-program",
        "without criu a checkpoint is refused, and nothing ends",
        |t| {
            if crate::host::find_program("criu").is_some() {
                return crate::failure::skip("criu is there");
            }
            started(t, &["sleep"], |_, task| {
                let image = t.path("image").display().to_string();
                task.checkpoint(&image, None).fails()?;
                task.is("", containerd_shim_protos::api::Status::RUNNING)
            })
        },
    )
    .needs(ROOT),
    Case::new("shim-checkpoint/restore", "a checkpoint that exits, and a restore from it", |t| {
        with(t, |d| {
            let task = d.start(t.bundle().ops(&["sleep"]), Stdio::default())?;
            let image = t.path("image");
            fs::create_dir(&image)?;
            let options = CheckpointOptions { exit: true, ..Default::default() };
            let body = options.write_to_bytes()?;
            let options = any("containerd.runc.v1.CheckpointOptions", body);
            let path = image.display().to_string();
            task.checkpoint(&path, Some(options)).ok()?;
            task.wait("").ok()?;
            task.delete("").ok()?;
            equal("checkpoint", &d.event(&task, "checkpointed", "")?.checkpoint, &path)?;
            let again = d.launch(t.bundle().ops(&["sleep"]))?;
            again.create(Creation { checkpoint: path, ..Creation::default() }).ok()?;
            again.start("").ok()?;
            again.is("", containerd_shim_protos::api::Status::RUNNING)
        })
    })
    .needs(&[Need::Root, Need::Criu]),
];

/// A create with these options must be refused and leave nothing.
fn refused_options(
    t: &Trial,
    make: impl Fn(Options) -> containerd_shim_protos::protobuf::well_known_types::any::Any,
) -> Check {
    with(t, |d| {
        let launched = d.launch(t.bundle().ops(&["exit=0"]))?;
        let place = (launched.id.as_str(), launched.bundle.clone());
        let task = Task::connect_to(&launched.address, place, make(d.options()))?;
        task.create(Creation::default()).refused(INVALID_ARGUMENT)?;
        d.story(&launched, "")
    })
}
