//! Attaching trees inside the container's root.

use core::ffi::CStr;

use crate::abi::{AT_RECURSIVE, EPERM, MountAttr, PROC_SUPER_MAGIC, RESOLVE_NO_SYMLINKS};
use crate::copy::cover;
use crate::init::{Init, Kind};
use crate::mount::set_attributes;
use crate::path::{DIRECTORY_MODE, Missing, Origin};
use crate::program::{Op, Slot};
use crate::report::{Attempt as _, Result};
use crate::sys::{self, Errno, Fd};

/// How a tree is attached, as [`crate::program::Step::Attach`] describes it.
pub struct Attachment {
    pub own: MountAttr,
    pub whole: MountAttr,
    pub over_proc: bool,
    pub no_symlink: bool,
    pub keep_mode: bool,
    pub copy: bool,
}

/// Whether a path names one place only by its text: no empty, `.` or `..` part.
fn is_clean(path: &[u8]) -> bool {
    let parts = path.strip_prefix(b"/");
    parts.is_some_and(|parts| {
        parts.split(|&byte| byte == b'/').all(|part| !matches!(part, b"" | b"." | b".."))
    })
}

/// Whether `path` is `above` or below it.
fn covers(above: &[u8], path: &[u8]) -> bool {
    path.strip_prefix(above).is_some_and(|rest| matches!(rest.first(), None | Some(b'/')))
}

impl Init {
    pub fn attach(&mut self, slot: Slot, target: &'static CStr, how: &Attachment) -> Result {
        let (tree, kind) = self.slot_and_kind(slot)?;
        let missing = if kind == Kind::Unknown {
            Missing::Like(tree)
        } else {
            Missing::Directory(DIRECTORY_MODE)
        };
        let resolve = if how.no_symlink { RESOLVE_NO_SYMLINKS } else { 0 };
        let found = self.ensure(target, missing, resolve);
        let (place, origin) = found.map_err(|trouble| trouble.about(target))?;
        // Nothing can be made on a procfs, and the root's own mount is none.
        if !how.over_proc
            && matches!(origin, Origin::Found | Origin::Straight)
            && sys::filesystem(place).about(Op::Statfs, target)? == PROC_SUPER_MAGIC
        {
            return Err(Errno(EPERM)).about(Op::OverProc, target);
        }
        if (how.keep_mode || how.copy) && matches!(origin, Origin::Found | Origin::Plain) {
            cover((tree, place), (how.keep_mode, how.copy), target)?;
        }
        // Only now: a read-only one could not be filled.
        set_attributes(tree, &how.own, 0)?;
        set_attributes(tree, &how.whole, AT_RECURSIVE)?;
        sys::move_mount(tree, place).about(Op::MoveMount, target)?;
        self.done_with(place);
        self.attached(tree, kind, target.to_bytes(), origin);
        Ok(())
    }

    /// Brings what is kept for later look-ups up to date: what the new mount hides is forgotten, what
    /// it offers is kept.
    fn attached(&mut self, tree: Fd, kind: Kind, target: &'static [u8], origin: Origin) {
        for (flag, path) in self.pseudo_attached.iter_mut().zip([&b"/proc"[..], b"/sys"]) {
            *flag |= target == path;
        }
        let strict = self.parent.resolve & RESOLVE_NO_SYMLINKS != 0;
        let here = origin == Origin::MadeHere;
        // Whether the text alone tells where the mount is.
        let straight = matches!(origin, Origin::Plain | Origin::Straight);
        let exact = is_clean(target) && (straight || (here && strict));
        if !exact {
            self.pseudo = [-1; 2];
            if !here {
                self.forget_parent();
            }
            self.done_with(tree);
            return;
        }
        if !here && (!strict || covers(target, self.parent.path)) {
            self.forget_parent();
        }
        let mut kept = false;
        let own = [(Kind::Proc, &b"/proc"[..]), (Kind::Sysfs, &b"/sys"[..])];
        for (top, (own, path)) in self.pseudo.iter_mut().zip(own) {
            if target == path {
                *top = if kind == own { tree } else { -1 };
                kept |= kind == own;
            }
        }
        if kind == Kind::Tmpfs && !here {
            // Where devices, links and further mount points are likely to be made.
            self.keep_parent(target, tree, RESOLVE_NO_SYMLINKS);
            kept = true;
        }
        if !kept {
            self.done_with(tree);
        }
    }
}
