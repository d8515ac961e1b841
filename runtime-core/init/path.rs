//! Paths of the container: each looked up once, below the container's root, and used by descriptor.

use core::ffi::CStr;

use crate::abi::{
    EAGAIN, EEXIST, EINVAL, ELOOP, ENOENT, EXDEV, O_DIRECTORY, O_NOFOLLOW, O_PATH, PATH_MAX,
    RESOLVE_BENEATH, RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, RESOLVE_NO_SYMLINKS, RESOLVE_NO_XDEV,
    S_IFDIR, S_IFMT, S_IFREG,
};
use crate::init::Init;
use crate::program::Op;
use crate::report::{Attempt as _, Failure, Result};
use crate::sys::{self, Errno, Fd};
use crate::text::Text;

/// How often a look-up is tried again while others rename what it walks through.
const ATTEMPTS: u32 = 128;
/// How many dangling links are followed while a path is made.
const MAX_LINKS: u32 = 16;
/// The mode of directories that are made on the way.
pub const DIRECTORY_MODE: u32 = 0o755;

/// The directory of the last path, kept because devices and links come in runs.
pub struct Parent {
    /// The directory's path as it stands in the program.
    pub path: &'static [u8],
    pub fd: Fd,
    /// The restrictions under which it was looked up.
    pub resolve: u64,
    /// The mode that new nodes have got there unchanged, with our own user and group.
    pub plain: Option<u32>,
}

impl Parent {
    pub const NONE: Self = Self { path: b"", fd: -1, resolve: 0, plain: None };
}

/// An error of a look-up: mostly of the opening itself.
pub struct Trouble(Op, Errno);

impl From<Errno> for Trouble {
    fn from(errno: Errno) -> Self {
        Self(Op::Open, errno)
    }
}

impl Trouble {
    pub fn about(self, path: &'static CStr) -> Failure {
        let Self(op, Errno(errno)) = self;
        Failure::of(op, errno, path)
    }
}

type Found<T> = core::result::Result<T, Trouble>;

/// How a path was found.
#[derive(Clone, Copy, PartialEq)]
pub enum Origin {
    /// By a look-up that may have followed links and crossed mounts.
    Found,
    /// Without a link on the way, on the root's own mount.
    Plain,
    /// Without a link on the way, on another mount.
    Straight,
    /// It was missing; its last name was made in [`Init::parent`].
    MadeHere,
    /// It was missing.
    Made,
}

/// What a missing path becomes.
#[derive(Clone, Copy)]
pub enum Missing {
    /// A directory with this mode.
    Directory(u32),
    /// An empty file.
    File,
    /// What the root of this tree is.
    Like(Fd),
}

/// Splits a path into its directory and its last name; `None` for a path that ends in a slash.
fn split(path: &'static CStr) -> Option<(&'static [u8], &'static CStr)> {
    let bytes = path.to_bytes_with_nul();
    let slash = bytes.iter().rposition(|&byte| byte == b'/')?;
    let name = CStr::from_bytes_until_nul(bytes.get(slash + 1..)?).ok()?;
    if matches!(name.to_bytes(), b"" | b"." | b"..") {
        return None;
    }
    Some((bytes.get(..slash.max(1))?, name))
}

fn in_root(dir: Fd, path: &CStr, flags: u64, resolve: u64) -> sys::Result<Fd> {
    let resolve = resolve | RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS;
    let mut attempt = 0;
    loop {
        match sys::openat2(dir, path, flags, resolve) {
            // A rename anywhere makes the kernel give up if the path has `..` in it.
            Err(Errno(EAGAIN)) if attempt < ATTEMPTS => attempt += 1,
            other => return other,
        }
    }
}

/// Opens a name that was made or found in `dir`, and nothing that it may link to.
pub fn child(dir: Fd, name: &CStr, flags: u64) -> sys::Result<Fd> {
    let resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS;
    sys::openat2(dir, name, flags | O_PATH | O_NOFOLLOW, resolve)
}

/// Makes it; false if something is there.
fn make(dir: Fd, name: &CStr, missing: Missing) -> Found<bool> {
    let (op, made) = match missing {
        Missing::Directory(mode) => (Op::Mkdir, sys::mkdirat(dir, name, mode)),
        // Not opened for writing: that would keep the mount from becoming read-only.
        Missing::File | Missing::Like(_) => {
            (Op::Create, sys::mknodat(dir, name, S_IFREG | 0o644, (0, 0)))
        }
    };
    match made {
        Ok(_) => Ok(true),
        Err(Errno(EEXIST)) => Ok(false),
        Err(errno) => Err(Trouble(op, errno)),
    }
}

/// A walk that makes what is missing.
struct Walk<'a> {
    root: Fd,
    resolve: u64,
    missing: Missing,
    /// The path that remains after dangling links have been replaced by what they name.
    text: &'a mut Text,
}

/// How one pass of a walk ended.
enum Pass {
    Found(Fd),
    /// A link was replaced; look again.
    Replaced,
}

impl Walk<'_> {
    fn run(&mut self) -> Found<Fd> {
        for _ in 0..MAX_LINKS {
            if let Pass::Found(fd) = self.pass()? {
                return Ok(fd);
            }
            match in_root(self.root, self.text.as_c_str(), O_PATH, self.resolve) {
                Err(Errno(ENOENT)) => {}
                other => return Ok(other?),
            }
        }
        Err(Errno(ELOOP).into())
    }

    /// Finds the deepest directory that exists; where the rest of the path begins.
    #[inline(never)]
    fn deepest(&self) -> sys::Result<(Fd, usize)> {
        let bytes = self.text.as_bytes();
        let mut end = bytes.len();
        let mut prefix = Text::new();
        loop {
            let head = bytes.get(..end).unwrap_or_default();
            let Some(slash) = head.iter().rposition(|&byte| byte == b'/').filter(|&at| at > 0)
            else {
                return Ok((self.root, 0));
            };
            end = slash;
            prefix.clear();
            prefix.push(bytes.get(..end).unwrap_or_default())?;
            match in_root(self.root, prefix.as_c_str(), O_PATH | O_DIRECTORY, self.resolve) {
                Err(Errno(ENOENT)) => {}
                other => return Ok((other?, end)),
            }
        }
    }

    #[inline(never)]
    fn pass(&mut self) -> Found<Pass> {
        let (mut dir, mut at) = self.deepest()?;
        let mut name = Text::new();
        loop {
            let rest = self.text.as_bytes().get(at..).unwrap_or_default();
            let skip = rest.iter().take_while(|&&byte| byte == b'/').count();
            let rest = rest.get(skip..).unwrap_or_default();
            let part = rest.split(|&byte| byte == b'/').next().unwrap_or_default();
            if part.is_empty() {
                return Ok(Pass::Found(dir));
            }
            let start = at + skip;
            at = start + part.len();
            let tail = rest.get(part.len()..).unwrap_or_default();
            let last = tail.iter().all(|&byte| byte == b'/');
            match part {
                b"." => continue,
                // What is above a directory that does not exist?
                b".." => return Err(Errno(ENOENT).into()),
                _ => {}
            }
            name.clear();
            name.push(part)?;
            let name = name.as_c_str();
            let missing = if last { self.missing } else { Missing::Directory(DIRECTORY_MODE) };
            if !make(dir, name, missing)? {
                // A dangling link, or somebody was faster.
                match self.replace_link(dir, name, start, at) {
                    Ok(()) => return Ok(Pass::Replaced),
                    Err(Errno(EINVAL)) => {}
                    Err(errno) => return Err(errno.into()),
                }
            }
            dir = child(dir, name, if last { 0 } else { O_DIRECTORY })?;
        }
    }

    /// Puts what the link `name` holds into the path, where the name stands: from `start` to `end`.
    #[inline(never)]
    fn replace_link(&mut self, dir: Fd, name: &CStr, start: usize, end: usize) -> sys::Result<()> {
        let mut buffer = sys::buffer::<PATH_MAX>();
        let link = sys::readlinkat(dir, name, &mut buffer)?;
        if self.resolve & RESOLVE_NO_SYMLINKS != 0 {
            return Err(Errno(ELOOP));
        }
        let bytes = self.text.as_bytes();
        let mut path = Text::new();
        if link.first() != Some(&b'/') {
            path.push(bytes.get(..start).unwrap_or_default())?;
        }
        path.push(link)?;
        path.push(bytes.get(end..).unwrap_or_default())?;
        self.text.clear();
        self.text.push(path.as_bytes())
    }
}

impl Init {
    /// The directory where look-ups start: the container's root, or the joined namespace's.
    pub fn root(&mut self) -> sys::Result<Fd> {
        if self.tree < 0 {
            self.tree = sys::open(c"/", O_PATH | O_DIRECTORY)?;
        }
        Ok(self.tree)
    }

    /// Looks a path up below the root.
    pub fn look_up(&mut self, path: &CStr, flags: u64, resolve: u64) -> sys::Result<Fd> {
        in_root(self.root()?, path, flags, resolve)
    }

    /// Looks a path up below the root and makes what is missing, directories on the way with mode
    /// 0755. A dangling link is followed within the root, and what it names is made.
    #[inline(never)]
    pub fn ensure(
        &mut self,
        path: &'static CStr,
        missing: Missing,
        resolve: u64,
    ) -> Found<(Fd, Origin)> {
        let parts = split(path);
        if let Some((directory, name)) = parts
            && self.kept(directory, resolve)
            && let Some(fd) = self.make_here(name, missing)?
        {
            return Ok((fd, Origin::MadeHere));
        }
        // Most targets are plain, and then it is known what they cannot be.
        let mut found = Err(Errno(EXDEV));
        if !self.is_below_mount(path.to_bytes()) {
            found = self.look_up(path, O_PATH, RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
            if let Ok(fd) = found {
                return Ok((fd, Origin::Plain));
            }
        }
        if found == Err(Errno(EXDEV)) {
            found = self.look_up(path, O_PATH, RESOLVE_NO_SYMLINKS);
            if let Ok(fd) = found {
                return Ok((fd, Origin::Straight));
            }
        }
        if found == Err(Errno(ELOOP)) {
            found = self.look_up(path, O_PATH, resolve);
        }
        match found {
            Err(Errno(ENOENT)) => {}
            other => return Ok((other?, Origin::Found)),
        }
        if let Some((directory, name)) = parts
            && self.open_parent(directory, resolve)?
            && let Some(fd) = self.make_here(name, missing)?
        {
            return Ok((fd, Origin::MadeHere));
        }
        Ok((self.walk(path.to_bytes(), missing, resolve)?, Origin::Made))
    }

    /// Whether the path is likely to cross a mount, by its text; only to spare a look-up.
    fn is_below_mount(&self, path: &[u8]) -> bool {
        let [proc, sys] = self.pseudo;
        (proc >= 0 && path.starts_with(b"/proc/"))
            || (sys >= 0 && path.starts_with(b"/sys/"))
            || (self.parent.fd >= 0 && path.starts_with(self.parent.path))
    }

    /// Makes `name` in the kept directory; `None` if something is there.
    fn make_here(&self, name: &CStr, missing: Missing) -> Found<Option<Fd>> {
        if !make(self.parent.fd, name, settle(missing)?)? {
            return Ok(None);
        }
        Ok(Some(child(self.parent.fd, name, 0)?))
    }

    /// Whether this directory is the kept one, looked up with these restrictions at least.
    fn kept(&self, directory: &[u8], resolve: u64) -> bool {
        let kept = &self.parent;
        kept.fd >= 0 && kept.resolve & resolve == resolve && kept.path == directory
    }

    /// Keeps the directory; false if it does not exist.
    #[inline(never)]
    fn open_parent(&mut self, directory: &'static [u8], resolve: u64) -> sys::Result<bool> {
        let mut text = Text::new();
        text.push(directory)?;
        let flags = O_PATH | O_DIRECTORY;
        let mut used = resolve | RESOLVE_NO_SYMLINKS;
        let mut found = self.look_up(text.as_c_str(), flags, used);
        if found == Err(Errno(ELOOP)) && used != resolve {
            used = resolve;
            found = self.look_up(text.as_c_str(), flags, used);
        }
        match found {
            Err(Errno(ENOENT)) => Ok(false),
            other => {
                self.keep_parent(directory, other?, used);
                Ok(true)
            }
        }
    }

    pub fn keep_parent(&mut self, path: &'static [u8], fd: Fd, resolve: u64) {
        if self.parent.fd >= 0 {
            self.done_with(self.parent.fd);
        }
        self.parent = Parent { path, fd, resolve, plain: None };
    }

    #[inline(never)]
    fn walk(&mut self, path: &[u8], missing: Missing, resolve: u64) -> Found<Fd> {
        let mut text = Text::new();
        text.push(path)?;
        Walk { root: self.root()?, resolve, missing: settle(missing)?, text: &mut text }.run()
    }

    /// The directory of `path`, made if it is missing, and the last name.
    pub fn parent_of(&mut self, path: &'static CStr) -> Result<(Fd, &'static CStr)> {
        let (directory, name) = split(path).ok_or(Errno(EINVAL)).about(Op::Open, path)?;
        if !self.kept(directory, 0) {
            let found = self.open_parent(directory, 0).about(Op::Open, path)?;
            if !found {
                let missing = Missing::Directory(DIRECTORY_MODE);
                let walked = self.walk(directory, missing, 0);
                let fd = walked.map_err(|trouble| trouble.about(path))?;
                self.keep_parent(directory, fd, 0);
            }
        }
        Ok((self.parent.fd, name))
    }

    /// The directory of `path`, without a link on the way, and the last name.
    pub fn straight_parent(&mut self, path: &'static CStr) -> sys::Result<(Fd, &'static CStr)> {
        let (directory, name) = split(path).ok_or(Errno(EINVAL))?;
        if !self.open_parent(directory, RESOLVE_NO_SYMLINKS)? {
            return Err(Errno(ENOENT));
        }
        Ok((self.parent.fd, name))
    }

    /// Forgets the kept directory: a mount may hide it.
    pub fn forget_parent(&mut self) {
        self.keep_parent(b"", -1, 0);
    }
}

/// Decides what is to be made, where that depends on a tree.
fn settle(missing: Missing) -> sys::Result<Missing> {
    let Missing::Like(tree) = missing else {
        return Ok(missing);
    };
    let mode = u32::from(sys::stat(tree)?.mode);
    Ok(if mode & S_IFMT == S_IFDIR { Missing::Directory(DIRECTORY_MODE) } else { Missing::File })
}
