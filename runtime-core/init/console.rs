//! The container's terminal.

use crate::abi::{
    DEVPTS_SUPER_MAGIC, EINVAL, O_DIRECTORY, O_NOCTTY, O_PATH, O_RDWR, RESOLVE_BENEATH,
    RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV,
};
use crate::init::Init;
use crate::path::Missing;
use crate::program::{Op, Report};
use crate::report::{Attempt as _, Result};
use crate::sys::{self, Errno, Fd};

impl Init {
    pub fn console(&mut self, uid: u32, size: (u32, u32), bind: bool) -> Result {
        let master = self.new_terminal()?;
        sys::unlock_terminal(master).during(Op::Terminal)?;
        let terminal = sys::terminal_peer(master).during(Op::Terminal)?;
        let (rows, columns) = size;
        if rows != 0 || columns != 0 {
            let clamp = |count: u32| u16::try_from(count).unwrap_or(u16::MAX);
            let sized = sys::window_size(terminal, clamp(rows), clamp(columns));
            sized.during(Op::Terminal)?;
        }
        if uid != self.owner.0 {
            // The group is the devpts's own affair (`gid=`).
            sys::fchown(terminal, uid, u32::MAX).during(Op::Chown)?;
        }
        self.report(Report::CONSOLE, 0, master)?;
        if bind {
            self.bind_console(terminal)?;
        }
        sys::control_terminal(terminal).during(Op::Terminal)?;
        for stream in 0..3 {
            sys::dup3(terminal, stream).during(Op::Duplicate)?;
        }
        Ok(())
    }

    /// The master of a new terminal of the container's own devpts.
    fn new_terminal(&mut self) -> Result<Fd> {
        let flags = O_PATH | O_DIRECTORY;
        let devpts = self.look_up(c"/dev/pts", flags, RESOLVE_NO_SYMLINKS);
        let devpts = devpts.about(Op::Open, c"/dev/pts")?;
        if sys::filesystem(devpts).about(Op::Statfs, c"/dev/pts")? != DEVPTS_SUPER_MAGIC {
            return Err(Errno(EINVAL)).about(Op::WrongFilesystem, c"/dev/pts");
        }
        let strict =
            RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV | RESOLVE_NO_MAGICLINKS;
        let master = sys::openat2(devpts, c"ptmx", O_RDWR | O_NOCTTY, strict);
        master.about(Op::Open, c"/dev/pts/ptmx")
    }

    /// Attaches the terminal at /dev/console, which must not be a link.
    fn bind_console(&mut self, terminal: Fd) -> Result {
        let path = c"/dev/console";
        let place = self.ensure(path, Missing::File, RESOLVE_NO_SYMLINKS);
        let (place, _) = place.map_err(|trouble| trouble.about(path))?;
        let tree = sys::clone_tree(terminal, c"", 0).about(Op::OpenTree, path)?;
        sys::move_mount(tree, place).about(Op::MoveMount, path)?;
        Ok(())
    }
}
