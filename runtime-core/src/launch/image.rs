//! The init program's executable, sealed in memory.

use std::fs::File;
use std::io::Write;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use nix::errno::Errno;
use nix::fcntl::{FcntlArg, OFlag, SealFlag, fcntl, open};
use nix::sys::memfd::{MFdFlags, memfd_create};
use nix::sys::stat::Mode;

use crate::error::{Attempt, Result};

/// The executable that the build script made from `init/`.
static INIT: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/coracle-init"));

/// `MFD_EXEC` of Linux 6.3: needed where the sysctl `vm.memfd_noexec` is 1.
const MFD_EXEC: u32 = 0x10;

/// A copy of the executable that nobody can write to: a container that gets hold of
/// `/proc/PID/exe` of its init program holds this copy and nothing of the host (CVE-2019-5736).
#[derive(Debug)]
pub(crate) struct Image(OwnedFd);

impl Image {
    /// Makes the copy: a sealed memory file or, where the host forbids to execute those
    /// (`vm.memfd_noexec` 2), an unnamed file in `directory`.
    ///
    /// # Errors
    /// The failure of a system call.
    pub(crate) fn new(directory: &Path) -> Result<Self> {
        let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
        let executable = flags | MFdFlags::from_bits_retain(MFD_EXEC);
        match memfd_create("coracle-init", executable) {
            Ok(fd) => sealed(fd, INIT).map(Self),
            Err(Errno::EINVAL) => {
                let fd = memfd_create("coracle-init", flags).attempt("memfd_create")?;
                sealed(fd, INIT).map(Self)
            }
            Err(Errno::EACCES) => unnamed(directory).map(Self),
            Err(errno) => Err(errno).attempt("memfd_create"),
        }
    }
}

impl AsFd for Image {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A sealed memory file that holds `content`.
///
/// # Errors
/// The failure of a system call.
pub(super) fn memory(name: &str, content: &[u8]) -> Result<OwnedFd> {
    let flags = MFdFlags::MFD_CLOEXEC | MFdFlags::MFD_ALLOW_SEALING;
    let fd = memfd_create(name, flags).attempt("memfd_create")?;
    sealed(fd, content)
}

fn sealed(fd: OwnedFd, content: &[u8]) -> Result<OwnedFd> {
    let mut file = File::from(fd);
    file.write_all(content).attempt("write a memory file")?;
    let seals = SealFlag::F_SEAL_SEAL
        | SealFlag::F_SEAL_SHRINK
        | SealFlag::F_SEAL_GROW
        | SealFlag::F_SEAL_WRITE;
    fcntl(&file, FcntlArg::F_ADD_SEALS(seals)).attempt("seal a memory file")?;
    Ok(file.into())
}

/// An unnamed file can be executed only when nobody has it open for writing, hence the second open.
fn unnamed(directory: &Path) -> Result<OwnedFd> {
    let hint = "vm.memfd_noexec forbids memory files; the state root must then be on a \
                file system that is not mounted noexec and knows O_TMPFILE";
    let flags = OFlag::O_TMPFILE | OFlag::O_RDWR | OFlag::O_CLOEXEC;
    let fd = open(directory, flags, Mode::S_IRUSR | Mode::S_IXUSR)
        .attempt_on("make an unnamed file for the init program in", directory)
        .map_err(|error| error.with_hint(hint))?;
    let mut file = File::from(fd);
    file.write_all(INIT).attempt("write the init program")?;
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    open(path.as_str(), OFlag::O_RDONLY | OFlag::O_CLOEXEC, Mode::empty())
        .attempt("reopen the init program")
}
