//! Ids, capabilities, limits and names.

use core::ffi::CStr;

use crate::abi::{
    self, CAP_SYS_ADMIN, EINVAL, ENOENT, ENOSYS, EOPNOTSUPP, EPERM, KEYRING_PERMISSIONS,
    O_DIRECTORY, O_PATH, PATH_MAX,
};
use crate::init::Init;
use crate::path::Missing;
use crate::program::{KEPT, Numbers, Op, Slot, Verified};
use crate::report::{Attempt as _, Failure, Result};
use crate::sys::{self, Errno};

/// Capability sets as [`crate::program::Step::Capabilities`] describes them.
pub struct Capabilities {
    pub bounding: u64,
    /// Effective, permitted, inheritable.
    pub sets: [u64; 3],
    pub ambient: u64,
    pub last: u32,
    pub keep_admin: bool,
}

/// The capabilities up to `last` that a set holds.
fn members(set: u64, last: u32) -> impl Iterator<Item = u32> {
    (0..=last.min(63)).filter(move |bit| set & (1 << bit) != 0)
}

impl Init {
    pub fn stdio(&self, streams: [Slot; 3]) -> Result {
        for (stream, target) in streams.into_iter().zip(0..) {
            if stream != Slot::NONE {
                sys::dup3(self.slot(stream)?, target).during(Op::Duplicate)?;
            }
        }
        Ok(())
    }

    pub fn hostname(name: &'static CStr) -> Result {
        sys::sethostname(name).about(Op::Hostname, name).map(|_| ())
    }

    pub fn domainname(name: &'static CStr) -> Result {
        sys::setdomainname(name).about(Op::Domainname, name).map(|_| ())
    }

    pub fn keyring(name: &'static CStr) -> Result {
        let key = match sys::join_keyring(name) {
            Err(Errno(ENOSYS | EOPNOTSUPP)) => return Ok(()),
            other => other.about(Op::Keyring, name)?,
        };
        sys::set_key_permissions(key, KEYRING_PERMISSIONS).about(Op::Keyring, name)?;
        Ok(())
    }

    #[inline(never)]
    pub fn working_directory(&mut self, path: &'static CStr, create: bool) -> Result {
        if self.at_root && path == c"/" {
            return Ok(());
        }
        let directory = match self.look_up(path, O_PATH | O_DIRECTORY, 0) {
            Err(Errno(ENOENT)) if create => {
                let made = self.ensure(path, Missing::Directory(0o755), 0);
                made.map_err(|trouble| trouble.about(path))?.0
            }
            other => other.about(Op::Chdir, path)?,
        };
        self.at_root = false;
        sys::fchdir(directory).about(Op::Chdir, path)?;
        let mut buffer = sys::buffer::<PATH_MAX>();
        // The kernel puts "(unreachable)" in front of what is outside.
        let inside = sys::getcwd(&mut buffer).map(|cwd| cwd.first() == Some(&b'/'));
        if !inside.about(Op::Outside, path)? {
            return Err(Errno(EPERM)).about(Op::Outside, path);
        }
        Ok(())
    }

    pub fn user(&mut self, uid: u32, gid: u32, groups: Numbers<'static>) -> Result {
        if uid != 0 {
            // SECBIT_KEEP_CAPS: else a change from user 0 would clear the permitted set.
            sys::prctl(abi::PR_SET_KEEPCAPS, 1, 0).during(Op::Securebits)?;
        }
        if groups.0 != KEPT.to_ne_bytes() {
            match sys::setgroups(groups.0) {
                Ok(_) => self.asked.groups = Some(groups),
                Err(Errno(EPERM)) if groups.is_empty() && self.groups_are_denied()? => {}
                Err(errno) => return Err(errno).during(Op::SetGroups),
            }
        }
        let detail = |id: u32| move |failure: Failure| failure.with_detail(u64::from(id));
        sys::setresgid(gid).during(Op::SetGroup).map_err(detail(gid))?;
        sys::setresuid(uid).during(Op::SetUser).map_err(detail(uid))?;
        self.owner = (uid, gid);
        self.asked.ids = Some((uid, gid));
        Ok(())
    }

    pub fn drop_bounding(&mut self, bounding: u64, last: u32) -> Result {
        for bit in members(self.bounding & !bounding, last) {
            let dropped = sys::prctl(abi::PR_CAPBSET_DROP, bit, 0).during(Op::Bounding);
            dropped.map_err(|failure| failure.with_detail(u64::from(bit)))?;
        }
        self.bounding &= bounding;
        Ok(())
    }

    pub fn capabilities(&mut self, wanted: &Capabilities) -> Result {
        if self.bounding & !wanted.bounding & mask(wanted.last) != 0 {
            self.drop_bounding(wanted.bounding, wanted.last)?;
        }
        let [effective, permitted, inheritable] = wanted.sets;
        let admin = if wanted.keep_admin { 1 << CAP_SYS_ADMIN } else { 0 };
        let sets = [effective | admin, permitted | admin, inheritable];
        sys::capset(sets).during(Op::Capset)?;
        self.asked.capabilities = Some(sets);
        // The kernel keeps the ambient set within permitted and inheritable: where these share
        // nothing it is empty already.
        if permitted & inheritable != 0 || wanted.ambient != 0 {
            let clear = abi::PR_CAP_AMBIENT_CLEAR_ALL;
            sys::prctl(abi::PR_CAP_AMBIENT, clear, 0).during(Op::Ambient)?;
        }
        for bit in members(wanted.ambient, 63) {
            let raised = sys::prctl(abi::PR_CAP_AMBIENT, abi::PR_CAP_AMBIENT_RAISE, bit);
            raised.during(Op::Ambient).map_err(|failure| failure.with_detail(u64::from(bit)))?;
        }
        Ok(())
    }

    pub fn no_new_privileges() -> Result {
        sys::prctl(abi::PR_SET_NO_NEW_PRIVS, 1, 0).during(Op::NoNewPrivileges).map(|_| ())
    }

    pub fn limit(resource: u32, soft: u64, hard: u64) -> Result {
        let set = sys::set_limit(resource, soft, hard).during(Op::Rlimit);
        set.map(|_| ()).map_err(|failure| failure.with_detail(u64::from(resource)))
    }

    /// Reads back what was set and refuses a difference.
    pub fn verify(&self, no_new_privileges: bool) -> Result {
        let same = |what: Verified, same: bool| {
            if same {
                return Ok(());
            }
            Err(Failure::new(Op::Verify, EPERM).with_detail(u64::from(what as u32)))
        };
        if let Some((uid, gid)) = self.asked.ids {
            same(Verified::Uid, sys::getresuid().during(Op::Verify)? == [uid; 3])?;
            same(Verified::Gid, sys::getresgid().during(Op::Verify)? == [gid; 3])?;
        }
        if let Some(groups) = self.asked.groups {
            same(Verified::Groups, has_groups(groups)?)?;
        }
        if let Some(sets) = self.asked.capabilities {
            same(Verified::Capabilities, sys::capget().during(Op::Verify)? == sets)?;
        }
        let set = sys::prctl(abi::PR_GET_NO_NEW_PRIVS, 0, 0).during(Op::Verify)?;
        same(Verified::NoNewPrivileges, !no_new_privileges || set == 1)
    }
}

fn mask(last: u32) -> u64 {
    u64::MAX >> (63 - last.min(63))
}

/// Whether the groups of the process are exactly these; the kernel sorts them.
fn has_groups(groups: Numbers<'static>) -> Result<bool> {
    // An empty list needs no buffer: 0 asks for the number only.
    if groups.is_empty() {
        return Ok(sys::getgroups(&mut []).during(Op::Verify)? == 0);
    }
    let words = groups.len().div_ceil(2);
    let buffer = sys::map_memory(words, false).during(Op::Map)?;
    let count = match sys::getgroups(buffer) {
        // More groups than were asked for.
        Err(Errno(EINVAL)) => return Ok(false),
        other => other.during(Op::Verify)?,
    };
    let found = |wanted: u32| {
        let halves = buffer.iter().flat_map(|&word| halves(word));
        halves.take(count).any(|group| group == wanted)
    };
    Ok(count == groups.len() && groups.iter().all(found))
}

/// The two 32-bit numbers of a word, in the order of memory.
fn halves(word: usize) -> [u32; 2] {
    let [a, b, c, d, e, f, g, h] = word.to_ne_bytes();
    [u32::from_ne_bytes([a, b, c, d]), u32::from_ne_bytes([e, f, g, h])]
}
