//! What the init program knows while it goes through the steps.

use core::ffi::CStr;
use core::sync::atomic::{AtomicI32, Ordering};

use crate::abi::EBADF;
use crate::path::Parent;
use crate::program::{MAX_SLOTS, Numbers, Op, Slot};
use crate::report::{Failure, Result};
use crate::sys::{self, Fd};

/// The descriptors of the slots, plus one, and their kinds: 0 stands for none, so that the pages of
/// unused slots are never touched.
static SLOTS: [AtomicI32; MAX_SLOTS] = [const { AtomicI32::new(0) }; MAX_SLOTS];

/// The bits of a slot that hold the descriptor plus one (`NR_OPEN` is 2 to the 20th by default).
const FD_BITS: i32 = (1 << KIND_SHIFT) - 1;
/// Above them is the kind.
const KIND_SHIFT: u32 = 28;

/// What the descriptor in a slot is known to be.
#[derive(Clone, Copy, PartialEq)]
#[repr(i32)]
pub enum Kind {
    Unknown = 0,
    /// The root of a file system, a directory.
    Directory = 1,
    /// A new tmpfs.
    Tmpfs = 2,
    /// A new procfs.
    Proc = 3,
    /// A new sysfs.
    Sysfs = 4,
}

/// How many slots may stay open until all descriptors are closed at once. Above it each is closed
/// after its use, as the limit of open files (1024 by default) is near.
const MANY_SLOTS: u32 = 200;

/// What was asked for, to be compared by [`crate::program::Step::Verify`].
#[derive(Default)]
pub struct Asked {
    pub ids: Option<(u32, u32)>,
    pub groups: Option<Numbers<'static>>,
    /// Effective, permitted, inheritable.
    pub capabilities: Option<[u64; 3]>,
}

/// What [`crate::program::Step::FindExecutable`] has found.
#[derive(Clone, Copy)]
pub struct Executable {
    pub name: &'static CStr,
    /// The directory of PATH; none if the name is a path.
    pub directory: Option<&'static [u8]>,
}

/// The state between two steps.
pub struct Init {
    /// Where reports go: the control socket, later the connection of `start`.
    pub channel: Fd,
    /// How many descriptors from 3 on belong to the payload.
    pub keep: u32,
    /// The index of the current step.
    pub step: u32,
    /// How many slots there are.
    pub slots: u32,
    /// The bytes of the program.
    pub bytes: &'static [u8],
    /// User and group that own what this process makes, where they are known.
    pub owner: (u32, u32),
    /// The bounding set.
    pub bounding: u64,
    /// The kinds of namespaces that were joined.
    pub joined: u32,
    /// The mount namespace's root, while in the cage.
    pub outside: Fd,
    /// The directory where look-ups start.
    pub tree: Fd,
    /// Whether the working directory is the root.
    pub at_root: bool,
    /// Whether every mount of the namespace is private or a slave already.
    pub separated: bool,
    pub parent: Parent,
    /// Where links and nodes of a proc and a sysfs are looked up: /proc and /sys.
    pub pseudo: [Fd; 2],
    /// Whether this program has attached something at /proc and /sys.
    pub pseudo_attached: [bool; 2],
    /// A procfs of our own.
    pub procfs: Fd,
    /// The tree that hides directories, and whether it is attached.
    pub mask_directory: (Fd, bool),
    /// The tree that hides files, and whether it is attached.
    pub mask_file: (Fd, bool),
    /// Copies that the last mask did not use.
    pub spare: Fd,
    /// Whether the user namespace is known to deny setgroups.
    pub groups_denied: bool,
    pub executable: Option<Executable>,
    /// `HOME=` and the directory, for the environment.
    pub home: Option<&'static CStr>,
    /// The flags of the seccomp filter and its instructions.
    pub filter: (u32, &'static [u8]),
    /// Room for the pointers of execve.
    pub vectors: Option<&'static mut [usize]>,
    /// Whether the library was told that only the filter and execve are left.
    pub departed: bool,
    pub asked: Asked,
}

impl Init {
    pub const fn new(channel: Fd, keep: u32, owner: (u32, u32)) -> Self {
        Self {
            channel,
            keep,
            step: 0,
            slots: 0,
            bytes: &[],
            owner,
            bounding: u64::MAX,
            joined: 0,
            outside: -1,
            tree: -1,
            at_root: false,
            separated: false,
            parent: Parent::NONE,
            pseudo: [-1; 2],
            pseudo_attached: [false; 2],
            procfs: -1,
            mask_directory: (-1, false),
            mask_file: (-1, false),
            spare: -1,
            groups_denied: false,
            executable: None,
            home: None,
            filter: (0, &[]),
            vectors: None,
            departed: false,
            asked: Asked { ids: None, groups: None, capabilities: None },
        }
    }

    /// The descriptor in a slot.
    pub fn slot(&self, slot: Slot) -> Result<Fd> {
        self.slot_and_kind(slot).map(|(fd, _)| fd)
    }

    /// The descriptor in a slot, and what it is known to be.
    pub fn slot_and_kind(&self, Slot(index): Slot) -> Result<(Fd, Kind)> {
        let place = usize::try_from(index).ok().and_then(|index| SLOTS.get(index));
        let word = place.map_or(0, |slot| slot.load(Ordering::Relaxed));
        let fd = (word & FD_BITS) - 1;
        if fd < 0 {
            return Err(Failure::new(Op::Slot, EBADF).with_detail(u64::from(index)));
        }
        let kind = match word >> KIND_SHIFT {
            1 => Kind::Directory,
            2 => Kind::Tmpfs,
            3 => Kind::Proc,
            4 => Kind::Sysfs,
            _ => Kind::Unknown,
        };
        Ok((fd, kind))
    }

    /// Fills a slot.
    pub fn fill_slot(&self, Slot(index): Slot, fd: Fd, kind: Kind) -> Result {
        let slot = usize::try_from(index).ok().and_then(|index| SLOTS.get(index));
        let slot = slot.filter(|_| index < self.slots);
        let failure = Failure::new(Op::Slot, EBADF).with_detail(u64::from(index));
        let word = (fd + 1) | ((kind as i32) << KIND_SHIFT);
        slot.ok_or(failure)?.store(word, Ordering::Relaxed);
        Ok(())
    }

    /// Closes a descriptor whose use has ended, where closing all at once comes too late.
    pub fn done_with(&self, fd: Fd) {
        if self.slots > MANY_SLOTS {
            sys::close(fd);
        }
    }
}
