//! Files of /proc, written through a procfs that no image can have put anything over.

use core::ffi::CStr;

use crate::abi::{
    EINVAL, EPERM, O_DIRECTORY, O_PATH, O_WRONLY, PROC_SUPER_MAGIC, RESOLVE_BENEATH,
    RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV,
};
use crate::init::Init;
use crate::mount::{Filesystem, new_filesystem};
use crate::program::{List, Op};
use crate::report::{Attempt as _, Result};
use crate::sys::{self, Errno, Fd};
use crate::text::Text;

/// On the procfs itself, not on what is mounted over it.
const STRICT: u64 = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS;

/// Whether a file `setgroups` of /proc denies it.
pub fn says_deny(fd: Fd) -> sys::Result<bool> {
    let mut buffer = sys::buffer::<8>();
    Ok(sys::read(fd, &mut buffer)?.starts_with(b"deny"))
}

impl Init {
    /// A procfs of our own, never attached anywhere. Where the kernel refuses a new one (in a user
    /// namespace whose /proc is partly hidden), the one at /proc, checked.
    pub fn own_procfs(&mut self) -> Result<Fd> {
        if self.procfs >= 0 {
            return Ok(self.procfs);
        }
        let options = List::new(b"").ok_or(Errno(EINVAL)).during(Op::Decode)?;
        let made =
            new_filesystem(&Filesystem { kind: c"proc", source: c"", options, attributes: 0 });
        self.procfs = match made {
            Err(failure) if failure.errno() == EPERM => {
                let flags = O_PATH | O_DIRECTORY;
                let fd =
                    self.look_up(c"/proc", flags, RESOLVE_NO_SYMLINKS).about(Op::Open, c"/proc")?;
                if sys::filesystem(fd).about(Op::Statfs, c"/proc")? != PROC_SUPER_MAGIC {
                    return Err(Errno(EINVAL)).about(Op::WrongFilesystem, c"/proc");
                }
                fd
            }
            other => other?,
        };
        Ok(self.procfs)
    }

    /// Sets the clocks of the time namespace that this process's children will be in.
    #[inline(never)]
    pub fn time_offsets(&mut self, text: &'static CStr) -> Result {
        let mut path = Text::new();
        let pid = sys::getpid().unsigned_abs();
        let built = path.push_number(pid).and_then(|()| path.push(b"/timens_offsets"));
        built.during(Op::TimeOffsets)?;
        let procfs = self.own_procfs()?;
        let fd = sys::openat2(procfs, path.as_c_str(), O_WRONLY, STRICT);
        let fd = fd.during(Op::TimeOffsets)?;
        sys::write(fd, text.to_bytes()).during(Op::TimeOffsets)?;
        sys::close(fd);
        Ok(())
    }

    #[inline(never)]
    /// Whether the user namespace denies setgroups to everybody in it (user_namespaces(7)).
    pub fn groups_are_denied(&mut self) -> Result<bool> {
        if self.groups_denied {
            return Ok(true);
        }
        let mut path = Text::new();
        let pid = sys::getpid().unsigned_abs();
        path.push_number(pid).and_then(|()| path.push(b"/setgroups")).during(Op::SetGroups)?;
        let procfs = self.own_procfs()?;
        let fd = sys::openat2(procfs, path.as_c_str(), 0, STRICT).during(Op::SetGroups)?;
        says_deny(fd).during(Op::SetGroups)
    }

    pub fn sysctl(&mut self, key: &'static CStr, value: &'static CStr) -> Result {
        let mut path = Text::new();
        let built = path.push(b"sys/").and_then(|()| path.push(key.to_bytes()));
        built.about(Op::Open, key)?;
        self.write_proc(&mut path, key, value)
    }

    #[inline(never)]
    pub fn exec_label(&mut self, attribute: &'static CStr, label: &'static CStr) -> Result {
        let mut path = Text::new();
        // By number, as `thread-self` is a link; this process has one thread.
        let built = path
            .push_number(sys::getpid().unsigned_abs())
            .and_then(|()| path.push(b"/attr/"))
            .and_then(|()| path.push(attribute.to_bytes()));
        built.about(Op::Open, attribute)?;
        self.write_proc(&mut path, attribute, label)
    }

    fn write_proc(&mut self, path: &mut Text, name: &'static CStr, value: &'static CStr) -> Result {
        // RESOLVE_BENEATH holds the path below the procfs, not below the part of it that is meant.
        if name.to_bytes().split(|&byte| byte == b'/').any(|part| part == b"..") {
            return Err(Errno(EINVAL)).about(Op::Open, name);
        }
        let procfs = self.own_procfs()?;
        let fd = sys::openat2(procfs, path.as_c_str(), O_WRONLY, STRICT).about(Op::Open, name)?;
        let bytes = value.to_bytes();
        let written = sys::write(fd, bytes).about(Op::Write, name)?;
        self.done_with(fd);
        if written != bytes.len() {
            return Err(Errno(EINVAL)).about(Op::Write, name);
        }
        Ok(())
    }
}
