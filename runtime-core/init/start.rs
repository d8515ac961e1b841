//! Waiting for `start`, and the execve at the end.

use core::ffi::CStr;

use crate::abi::{
    CLOSE_RANGE_CLOEXEC, EACCES, EINVAL, EISDIR, ENOENT, EPERM, S_IFDIR, S_IFMT, S_IFREG, X_OK,
};
use crate::init::{Executable, Init};
use crate::program::{CREATOR, Gate, List, Op, Report, Slot};
use crate::report::{Attempt as _, Failure, Result};
use crate::sys::{self, Errno, Fd};
use crate::text::Text;

/// Closes what is between the kept descriptors, which are sorted.
pub fn close_all_but(kept: &[Fd], first: u32) -> sys::Result<()> {
    let mut next = first;
    for fd in kept {
        let fd = fd.unsigned_abs();
        if fd < next {
            continue;
        }
        if fd > next {
            sys::close_range(next, fd - 1, 0)?;
        }
        next = fd + 1;
    }
    sys::close_range(next, u32::MAX, 0)?;
    Ok(())
}

impl Init {
    pub fn first_own(&self) -> u32 {
        self.keep.saturating_add(3)
    }

    #[inline(never)]
    pub fn await_start(&mut self, listener: Slot, peer: u32) -> Result {
        let listener = self.slot(listener)?;
        let kept = [listener.min(self.channel), listener.max(self.channel)];
        close_all_but(&kept, self.first_own()).during(Op::CloseRange)?;
        self.close_gaps(listener);
        self.forget_descriptors();
        self.report(Report::GATE, u64::from(Gate::Ready as u32), -1)?;
        let peer = match peer {
            CREATOR => sys::peer_uid(self.channel).during(Op::PeerCredentials)?,
            _ => peer,
        };
        sys::close(self.channel);
        self.channel = -1;
        // These pages would count against the container while it waits.
        sys::release(self.bytes);
        sys::release_stack();
        loop {
            self.channel = sys::accept(listener).during(Op::Accept)?;
            if sys::peer_uid(self.channel).during(Op::PeerCredentials)? == peer {
                return Ok(());
            }
            // An end of file alone would say that the payload runs.
            self.report_failure(self.step, Failure::new(Op::PeerCredentials, EPERM));
            sys::close(self.channel);
        }
    }

    /// Closes what this program itself has in the gaps between the payload's descriptors: that alone would
    /// not survive an execve.
    fn close_gaps(&self, listener: Fd) {
        for fd in 3..self.first_own().cast_signed() {
            if fd != listener && sys::is_fleeting(fd) {
                sys::close(fd);
            }
        }
    }

    /// What was just closed.
    fn forget_descriptors(&mut self) {
        self.tree = -1;
        self.outside = -1;
        self.procfs = -1;
        self.spare = -1;
        self.mask_directory = (-1, false);
        self.mask_file = (-1, false);
        self.pseudo = [-1; 2];
        self.parent = crate::path::Parent::NONE;
    }

    #[inline(never)]
    pub fn find_executable(&mut self, name: &'static CStr, path: &'static CStr) -> Result {
        let bytes = name.to_bytes();
        if bytes.contains(&b'/') {
            check(name).about(Op::Lookup, name)?;
            self.executable = Some(Executable { name, directory: None });
            return Ok(());
        }
        if !bytes.is_empty() {
            for directory in path.to_bytes().split(|&byte| byte == b':') {
                let found = Executable { name, directory: Some(directory) };
                let mut text = Text::new();
                if candidate(&mut text, found).is_ok_and(|path| check(path).is_ok()) {
                    self.executable = Some(found);
                    return Ok(());
                }
            }
        }
        Err(Errno(ENOENT)).about(Op::Lookup, name)
    }

    #[inline(never)]
    pub fn execute(&mut self, args: List<'static>, env: List<'static>) -> Result {
        let found = self.executable.ok_or(Failure::new(Op::Execute, EINVAL))?;
        self.depart()?;
        let vectors = self.vectors(args, env, self.home)?;
        let mut text = Text::new();
        let path = candidate(&mut text, found).about(Op::Execute, found.name)?;
        Err(sys::execve(path, vectors)).about(Op::Execute, found.name)
    }

    /// The last act that a filter must not forbid, once: marks all descriptors but the payload's to be
    /// closed by execve, and tells the library. Whether that still listens does not matter any more.
    pub fn depart(&mut self) -> Result {
        if !self.departed {
            let first = self.first_own();
            sys::close_range(first, u32::MAX, CLOSE_RANGE_CLOEXEC).during(Op::CloseRange)?;
            let _ = self.report(Report::DEPARTS, 0, -1);
            self.departed = true;
        }
        Ok(())
    }

    /// Reserves room for the pointers of execve.
    pub fn reserve_vectors(&mut self) -> Result {
        if self.vectors.is_none() {
            // A string takes a byte at least, so that there are not more of them than bytes; untouched
            // room costs nothing.
            let words = self.bytes.len().saturating_add(3);
            self.vectors = Some(sys::map_memory(words, false).during(Op::Map)?);
        }
        Ok(())
    }

    /// Arguments and environment, with one more variable, as execve wants them.
    pub fn vectors(
        &mut self,
        args: List<'static>,
        env: List<'static>,
        more: Option<&'static CStr>,
    ) -> Result<sys::Vectors> {
        self.reserve_vectors()?;
        let room = self.vectors.as_deref_mut().unwrap_or_default();
        let mut words = room.iter_mut();
        let mut put = |word: usize| {
            let place = words.next().ok_or(Failure::new(Op::Execute, EINVAL))?;
            *place = word;
            Ok(core::ptr::from_mut(place).cast_const())
        };
        let mut starts: [*const usize; 2] = [core::ptr::null(); 2];
        for (start, (list, more)) in starts.iter_mut().zip([(args, None), (env, more)]) {
            for text in list.iter().chain(more) {
                let place = put(text.as_ptr().expose_provenance())?;
                if start.is_null() {
                    *start = place;
                }
            }
            let end = put(0)?;
            if start.is_null() {
                *start = end;
            }
        }
        let [args, env] = starts;
        Ok((args, env))
    }
}

/// The path of what was found.
fn candidate(text: &mut Text, Executable { name, directory }: Executable) -> sys::Result<&CStr> {
    match directory {
        None => {}
        // As in execvp: an empty entry is the working directory.
        Some(b"") => text.push(b"./")?,
        Some(directory) => {
            text.push(directory)?;
            text.push(b"/")?;
        }
    }
    text.push(name.to_bytes())?;
    Ok(text.as_c_str())
}

/// Whether the path can be executed: a regular file, with permission.
fn check(path: &CStr) -> sys::Result<()> {
    let access = sys::access(path, X_OK);
    if access == Err(Errno(ENOENT)) {
        return Err(Errno(ENOENT));
    }
    let stat = sys::statx(crate::abi::AT_FDCWD, path, 0)?;
    match u32::from(stat.mode) & S_IFMT {
        S_IFDIR => Err(Errno(EISDIR)),
        S_IFREG => access.map(|_| ()),
        _ => Err(Errno(EACCES)),
    }
}
