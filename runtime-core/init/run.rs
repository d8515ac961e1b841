//! Goes through the steps.

use crate::abi::{self, EINVAL, MountAttr, O_PATH};
use crate::attach::Attachment;
use crate::device::Node;
use crate::hook::Hook;
use crate::init::Init;
use crate::mount::Filesystem;
use crate::process::Capabilities;
use crate::program::{Gate, Op, Report, Step};
use crate::report::{Attempt as _, Failure, Result, receive};
use crate::{scheduling, sys};

impl Init {
    /// Executes the program; ends in the payload, or with a report and status 1.
    pub fn run(&mut self) -> ! {
        let failure = match self.prepare() {
            Err(failure) => failure,
            Ok(program) => self.walk_steps(program.steps()),
        };
        self.report_failure(self.step, failure);
        sys::exit(1)
    }

    fn walk_steps(&mut self, steps: impl Iterator<Item = Option<Step<'static>>>) -> Failure {
        for (step, index) in steps.zip(0..) {
            self.step = index;
            let Some(step) = step else {
                return Failure::new(Op::Decode, EINVAL);
            };
            if let Err(failure) = self.step(&step) {
                return failure;
            }
        }
        // A program ends with Execute.
        Failure::new(Op::Decode, EINVAL)
    }

    fn gate(&self, gate: u32) -> Result {
        self.report(Report::GATE, u64::from(gate), -1)?;
        receive(self.channel, &mut [0; 4], sys::close)?;
        if gate == Gate::Mapped as u32 {
            sys::prctl(abi::PR_SET_DUMPABLE, 0, 0).during(Op::Dumpable)?;
        }
        Ok(())
    }

    fn step(&mut self, step: &Step<'static>) -> Result {
        match *step {
            Step::Gate { gate } => self.gate(gate),
            Step::AwaitStart { listener, peer_uid } => self.await_start(listener, peer_uid),
            Step::Respawn {} => self.respawn(),
            Step::Join { namespace, kinds } => self.join(namespace, kinds, false),
            Step::JoinEarly { namespace, kinds } => self.join(namespace, kinds, true),
            Step::EnterRoot { directory } => self.enter_other_root(directory),
            Step::Unshare { kinds } => self.unshare(kinds),
            Step::Identity { uid, gid } => self.identity(uid, gid),
            Step::Loopback {} => self.loopback(),
            Step::TimeOffsets { text } => self.time_offsets(text),
            _ => self.mount_step(step),
        }
    }

    fn mount_step(&mut self, step: &Step<'static>) -> Result {
        match *step {
            Step::Propagation { propagation } => self.propagation(propagation),
            Step::OpenTree { slot, path, recursive } => self.open_tree(slot, path, recursive),
            Step::NewFilesystem { slot, kind, source, options, attributes, otherwise } => {
                let new = Filesystem { kind, source, options, attributes };
                self.filesystem(slot, &new, otherwise)
            }
            Step::Root { tree, path, propagation } => self.enter_root(tree, path, propagation),
            Step::Attach { slot, target, .. } => self.attach(slot, target, &attachment(step)),
            Step::Reattribute { target, set, clear, propagation, recursive } => {
                let change = MountAttr { set, clear, propagation, userns: 0 };
                self.reattribute(target, &change, recursive)
            }
            Step::Reconfigure { target, options } => self.reconfigure(target, options),
            Step::Mount { slot, kind, source, data, flags } => {
                self.mount_whole(slot, (kind, source, data), flags)
            }
            _ => self.root_step(step),
        }
    }

    fn root_step(&mut self, step: &Step<'static>) -> Result {
        match *step {
            Step::Detach { path } => self.detach(path),
            Step::Directory { path, mode } => self.directory(path, mode),
            Step::Symlink { target, path } => self.symlink(target, path),
            Step::SymlinkIfThere { needs, target, path } => match self.look_up(needs, O_PATH, 0) {
                Ok(found) => {
                    self.done_with(found);
                    self.symlink(target, path)
                }
                Err(_) => Ok(()),
            },
            Step::Device { path, mode, major, minor, uid, gid } => {
                self.device(&Node { path, mode, number: (major, minor), owner: (uid, gid) })
            }
            Step::ReplaceBySymlink { target, path } => self.replace_by_symlink(target, path),
            Step::RunHook { .. } => self.hook_step(step),
            Step::Pivot { pivot, propagation, recursive } => {
                self.pivot(pivot, propagation, recursive)
            }
            Step::Chroot {} => self.chroot(),
            Step::ReadonlyRoot {} => self.readonly_root(),
            Step::ReadonlyPath { path } => self.readonly_path(path),
            Step::MaskPath { path, null } => self.mask_path(path, null),
            Step::MaskDirectory { slot } => {
                self.mask_directory = (self.slot(slot)?, false);
                Ok(())
            }
            Step::Label { path, label } => self.label(path, label),
            _ => self.process_step(step),
        }
    }

    fn hook_step(&mut self, step: &Step<'static>) -> Result {
        let Step::RunHook { path, args, env, timeout_ms, state_head, state_tail, outside } = *step
        else {
            return Err(Failure::new(Op::Decode, EINVAL));
        };
        self.run_hook(&Hook { path, args, env, timeout_ms, state_head, state_tail, outside })
    }

    fn process_step(&mut self, step: &Step<'static>) -> Result {
        match *step {
            Step::Stdio { stdin, stdout, stderr } => self.stdio([stdin, stdout, stderr]),
            Step::Console { uid, rows, columns, bind } => self.console(uid, (rows, columns), bind),
            Step::Hostname { name } => Self::hostname(name),
            Step::Domainname { name } => Self::domainname(name),
            Step::Sysctl { key, value } => self.sysctl(key, value),
            Step::Keyring { name } => Self::keyring(name),
            Step::WorkingDirectory { path, create } => self.working_directory(path, create),
            Step::ExecLabel { attribute, label } => self.exec_label(attribute, label),
            Step::Umask { mask } => sys::umask(mask).during(Op::Umask).map(|_| ()),
            Step::User { uid, gid, groups } => self.user(uid, gid, groups),
            Step::Bounding { bounding, last } => self.drop_bounding(bounding, last),
            Step::NoNewPrivileges {} => Self::no_new_privileges(),
            Step::FindExecutable { name, path } => self.find_executable(name, path),
            Step::Home { uid } => self.home(uid),
            Step::ReceiveFilter {} => self.receive_filter(),
            Step::Verify { no_new_privileges } => self.verify(no_new_privileges),
            Step::Rlimit { resource, soft, hard } => Self::limit(resource, soft, hard),
            Step::LoadFilter {} => self.load_filter(),
            Step::Execute { args, env } => self.execute(args, env),
            _ => self.scheduling_step(step),
        }
    }

    fn scheduling_step(&mut self, step: &Step<'static>) -> Result {
        match *step {
            Step::Personality { domain } => scheduling::personality(domain),
            Step::MemoryPolicy { mode, nodes } => scheduling::memory_policy(mode, nodes),
            Step::Affinity { processors } => scheduling::affinity(processors),
            _ => self.capability_step(step),
        }
    }

    fn capability_step(&mut self, step: &Step<'static>) -> Result {
        let Step::Capabilities {
            bounding,
            effective,
            permitted,
            inheritable,
            ambient,
            last,
            keep_admin,
        } = *step
        else {
            return Err(Failure::new(Op::Decode, EINVAL));
        };
        self.capabilities(&Capabilities {
            bounding,
            sets: [effective, permitted, inheritable],
            ambient,
            last,
            keep_admin,
        })
    }
}

fn change(set: u64, clear: u64) -> MountAttr {
    MountAttr { set, clear, ..MountAttr::default() }
}

/// The changes of [`Step::Attach`]: the propagation goes with the one that reaches as far.
fn attachment(step: &Step<'static>) -> Attachment {
    let mut attachment = Attachment {
        own: MountAttr::default(),
        whole: MountAttr::default(),
        over_proc: false,
        no_symlink: false,
        keep_mode: false,
        copy: false,
    };
    if let Step::Attach {
        set,
        clear,
        set_recursive,
        clear_recursive,
        propagation,
        propagation_recursive,
        over_proc,
        no_symlink,
        keep_mode,
        copy,
        ..
    } = *step
    {
        attachment.own = change(set, clear);
        attachment.whole = change(set_recursive, clear_recursive);
        let reach = if propagation_recursive { &mut attachment.whole } else { &mut attachment.own };
        reach.propagation = propagation;
        attachment.over_proc = over_proc;
        attachment.no_symlink = no_symlink;
        attachment.keep_mode = keep_mode;
        attachment.copy = copy;
    }
    attachment
}
