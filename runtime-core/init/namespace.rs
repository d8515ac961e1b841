//! Namespaces, and the process that goes on in one.

use crate::abi::{self, CLONE_NEWNS, CLONE_NEWUSER, EPERM, O_NONBLOCK};
use crate::init::Init;
use crate::mount::enter;
use crate::procfs::says_deny;
use crate::program::{Op, Report, Slot};
use crate::report::{Attempt as _, Result};
use crate::sys::{self, Errno};

impl Init {
    pub fn join(&mut self, namespace: Slot, kinds: u32, early: bool) -> Result {
        let fd = self.slot(namespace)?;
        if self.joined & kinds != 0 {
            return Ok(());
        }
        match sys::setns(fd, kinds) {
            Err(Errno(EPERM)) if early => return Ok(()),
            other => other.during(Op::Setns)?,
        };
        self.joined |= kinds;
        self.entered(kinds);
        Ok(())
    }

    /// A process of the container may have another root than its mount namespace.
    pub fn enter_other_root(&mut self, directory: Slot) -> Result {
        self.tree = self.slot(directory)?;
        enter(self.tree)?;
        self.at_root = true;
        Ok(())
    }

    pub fn unshare(&mut self, kinds: u32) -> Result {
        sys::unshare(kinds).during(Op::Unshare)?;
        self.entered(kinds);
        Ok(())
    }

    fn entered(&mut self, kinds: u32) {
        if kinds & CLONE_NEWNS != 0 {
            self.tree = -1;
            self.at_root = false;
            self.separated = false;
            self.forget_parent();
        }
        if kinds & CLONE_NEWUSER != 0 {
            // A new member of a user namespace has all capabilities in its bounding set.
            self.bounding = u64::MAX;
            self.owner = (u32::MAX, u32::MAX);
            self.groups_denied = false;
        }
        self.procfs = -1;
    }

    /// User and group inside a new user namespace.
    pub fn identity(&mut self, uid: u32, gid: u32) -> Result {
        match sys::setgroups(&[]) {
            Ok(_) => {}
            // The namespace denies it, most likely; better known while /proc is still the host's. Where it
            // is a container's, the file may be a fifo.
            Err(Errno(EPERM)) => {
                let file = sys::open(c"/proc/self/setgroups", O_NONBLOCK);
                self.groups_denied = file.and_then(says_deny).unwrap_or(false);
            }
            Err(errno) => return Err(errno).during(Op::SetGroups),
        }
        if uid != 0 {
            sys::prctl(abi::PR_SET_KEEPCAPS, 1, 0).during(Op::Securebits)?;
        }
        sys::setresgid(gid).during(Op::SetGroup)?;
        sys::setresuid(uid).during(Op::SetUser)?;
        if uid != 0 {
            // What was effective has been cleared if the user was 0 before.
            let [_, permitted, inheritable] = sys::capget().during(Op::Capset)?;
            sys::capset([permitted, permitted, inheritable]).during(Op::Capset)?;
        }
        self.owner = (uid, gid);
        Ok(())
    }

    pub fn loopback(&self) -> Result {
        let socket = sys::request_socket().during(Op::Socket)?;
        sys::loopback_up(socket).during(Op::Loopback)?;
        Ok(())
    }

    /// Returns in the new process only.
    pub fn respawn(&mut self) -> Result {
        let own = sys::own_pidfd().during(Op::Clone)?;
        let (pid, pidfd) = sys::fork(true).during(Op::Clone)?;
        if pid != 0 {
            // The new process goes on whether or not the report arrives; without it the library sees
            // its socket closed and kills by the cgroup.
            let sent = self.report(Report::RESPAWNED, u64::from(pid.unsigned_abs()), pidfd);
            sys::exit(i32::from(sent.is_err()));
        }
        // The library must know of this process before it gets reports from it.
        sys::poll([(own, abi::POLLIN), (-1, 0)], None).during(Op::Clone)?;
        sys::close(own);
        // A procfs of before shows another pid namespace.
        self.procfs = -1;
        sys::setsid().during(Op::Session)?;
        Ok(())
    }
}
