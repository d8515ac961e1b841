//! What a new tmpfs takes over from the directory that it covers: the mode, and with `tmpcopyup` the
//! content.

use core::ffi::CStr;

use crate::abi::{
    AT_SYMLINK_NOFOLLOW, EINVAL, ELOOP, EXDEV, O_DIRECTORY, O_NOCTTY, O_NOFOLLOW, O_NONBLOCK,
    PATH_MAX, PERMISSIONS, RESOLVE_BENEATH, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS,
    RESOLVE_NO_XDEV, S_IFDIR, S_IFLNK, S_IFMT, S_IFREG, S_ISXID, Statx,
};
use crate::program::Op;
use crate::report::{Attempt as _, Failure, Result};
use crate::sys::{self, Errno, Fd};
use crate::text::Text;

/// The mode that a tmpfs has when nobody says another.
const TMPFS_MODE: u32 = 0o1777;
/// How deep directories may lie. Each level takes two descriptors and a part of the stack.
const MAX_DEPTH: u32 = 64;
/// How much of a directory is read at once; an entry takes 280 bytes at most.
const ENTRIES: usize = 1024;

/// Gives the tmpfs `tree` what it takes over from the directory `place`.
#[inline(never)]
pub fn cover(
    (tree, place): (Fd, Fd),
    (keep_mode, copy): (bool, bool),
    target: &'static CStr,
) -> Result {
    let stat = sys::stat(place).about(Op::Stat, target)?;
    let mode = u32::from(stat.mode);
    if mode & S_IFMT != S_IFDIR {
        return Ok(());
    }
    if copy {
        let covered = Covered { target };
        let (from, to) = (covered.open(place, c".", O_DIRECTORY)?, covered.directory(tree, c".")?);
        covered.copy(from, to, 0)?;
        own(sys::fchown(to, stat.uid, stat.gid)).about(Op::Chown, target)?;
        sys::close(from);
        sys::close(to);
    }
    let mode = mode & PERMISSIONS;
    if keep_mode && mode != TMPFS_MODE {
        // The descriptor of a new mount is a path only, which fchmod refuses.
        sys::fchmodat(tree, c".", mode).about(Op::Chmod, target)?;
    }
    Ok(())
}

/// An owner whom the user namespace does not know stays who made the file.
fn own(changed: sys::Result<usize>) -> sys::Result<()> {
    match changed {
        Err(Errno(EINVAL)) => Ok(()),
        other => other.map(|_| ()),
    }
}

fn open(dir: Fd, name: &CStr, flags: u64) -> sys::Result<Fd> {
    let resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV;
    sys::openat2(dir, name, flags | O_NOFOLLOW | O_NONBLOCK | O_NOCTTY, resolve)
}

/// The directory that is copied.
struct Covered {
    /// Its path, for errors.
    target: &'static CStr,
}

impl Covered {
    fn open(&self, dir: Fd, name: &CStr, flags: u64) -> Result<Fd> {
        open(dir, name, flags).about(Op::Open, self.target)
    }

    fn directory(&self, dir: Fd, name: &CStr) -> Result<Fd> {
        self.open(dir, name, O_DIRECTORY)
    }

    /// Copies what is in a directory. Its own mount alone: what is mounted below is none of its content.
    fn copy(&self, from: Fd, to: Fd, depth: u32) -> Result {
        if depth > MAX_DEPTH {
            return Err(Failure::of(Op::Copy, ELOOP, self.target));
        }
        let mut buffer = sys::buffer::<ENTRIES>();
        loop {
            let mut rest = sys::entries(from, &mut buffer).about(Op::Copy, self.target)?;
            if rest.is_empty() {
                return Ok(());
            }
            while let Some((name, tail)) = next(rest) {
                rest = tail;
                if !matches!(name.to_bytes(), b"." | b"..") {
                    self.entry(from, to, name, depth)?;
                }
            }
        }
    }

    fn entry(&self, from: Fd, to: Fd, name: &CStr, depth: u32) -> Result {
        let stat = sys::statx(from, name, AT_SYMLINK_NOFOLLOW).about(Op::Stat, self.target)?;
        match u32::from(stat.mode) & S_IFMT {
            S_IFDIR => {
                sys::mkdirat(to, name, 0o700).about(Op::Mkdir, self.target)?;
                let made = self.directory(to, name)?;
                match open(from, name, O_DIRECTORY) {
                    Err(Errno(EXDEV)) => {}
                    source => {
                        let source = source.about(Op::Open, self.target)?;
                        self.copy(source, made, depth + 1)?;
                        sys::close(source);
                    }
                }
                self.dress(made, &stat)
            }
            S_IFREG => self.file(from, to, name),
            S_IFLNK => self.link((from, to), name, &stat),
            // Devices are made by the configuration alone, and sockets and fifos belong to processes.
            _ => Ok(()),
        }
    }

    #[inline(never)]
    fn file(&self, from: Fd, to: Fd, name: &CStr) -> Result {
        let source = match open(from, name, 0) {
            Err(Errno(EXDEV)) => return Ok(()),
            other => other.about(Op::Open, self.target)?,
        };
        let stat = sys::stat(source).about(Op::Stat, self.target)?;
        // It may have been replaced since it was looked at.
        if u32::from(stat.mode) & S_IFMT == S_IFREG {
            let made = sys::create(to, name).about(Op::Create, self.target)?;
            // A file that grows meanwhile is copied as far as it went before.
            let mut left = stat.size;
            while left > 0 {
                let sent = sys::send_file(made, source, left).about(Op::Copy, self.target)?;
                if sent == 0 {
                    break;
                }
                left = left.saturating_sub(sent as u64);
            }
            self.dress(made, &stat)?;
        }
        sys::close(source);
        Ok(())
    }

    #[inline(never)]
    fn link(&self, (from, to): (Fd, Fd), name: &CStr, stat: &Statx) -> Result {
        let mut buffer = sys::buffer::<PATH_MAX>();
        let mut text = Text::new();
        let read = sys::readlinkat(from, name, &mut buffer).and_then(|link| text.push(link));
        read.about(Op::Copy, self.target)?;
        sys::symlinkat(text.as_c_str(), to, name).about(Op::Symlink, self.target)?;
        let owned = sys::fchownat(to, name, stat.uid, stat.gid, AT_SYMLINK_NOFOLLOW);
        own(owned).about(Op::Chown, self.target)
    }

    /// Owner, then mode, as a change of the owner clears setuid and setgid; and closes it. Nobody is to
    /// become the container's root by a file that another user had.
    #[inline(never)]
    fn dress(&self, made: Fd, stat: &Statx) -> Result {
        let mut mode = u32::from(stat.mode) & PERMISSIONS;
        let changed = sys::fchown(made, stat.uid, stat.gid);
        if changed == Err(Errno(EINVAL)) {
            mode &= !S_ISXID;
        }
        own(changed).about(Op::Chown, self.target)?;
        sys::fchmod(made, mode).about(Op::Chmod, self.target)?;
        sys::close(made);
        Ok(())
    }
}

/// The first entry of what getdents64 has given, and the rest: number, offset, length, type, name.
fn next(bytes: &[u8]) -> Option<(&CStr, &[u8])> {
    let length = bytes.get(16..18)?.try_into().ok()?;
    let (entry, rest) = bytes.split_at_checked(usize::from(u16::from_ne_bytes(length)))?;
    Some((CStr::from_bytes_until_nul(entry.get(19..)?).ok()?, rest))
}
