//! Files and descriptors.

use core::ffi::CStr;
use core::mem::MaybeUninit;

use super::{Fd, Result, call, small};
use crate::abi::{AT_EACCESS, OpenHow, Statx};

/// `openat2`, once. `O_CLOEXEC` is always set.
pub fn openat2(dir: Fd, path: &CStr, flags: u64, resolve: u64) -> Result<Fd> {
    let how = OpenHow { flags: flags | crate::abi::O_CLOEXEC, mode: 0, resolve };
    call!(OPENAT2, dir, path, &raw const how, size_of::<OpenHow>()).map(small)
}

pub fn open(path: &CStr, flags: u64) -> Result<Fd> {
    let flags = flags | crate::abi::O_CLOEXEC;
    call!(OPENAT, crate::abi::AT_FDCWD, path, flags, 0u32).map(small)
}

/// Sets the SELinux label of a file.
pub fn set_label(fd: Fd, label: &[u8]) -> Result<usize> {
    call!(FSETXATTR, fd, c"security.selinux", label.as_ptr(), label.len(), 0u32)
}

pub fn close(fd: Fd) {
    let _ = call!(CLOSE, fd);
}

pub fn close_range(first: u32, last: u32, flags: u32) -> Result<usize> {
    call!(CLOSE_RANGE, first, last, flags)
}

pub fn dup3(from: Fd, to: Fd) -> Result<usize> {
    call!(DUP3, from, to, 0u32)
}

/// A duplicate that is closed by execve and not below `lowest`.
pub fn duplicate_from(fd: Fd, lowest: u32) -> Result<Fd> {
    call!(FCNTL, fd, crate::abi::F_DUPFD_CLOEXEC, lowest).map(small)
}

/// Whether execve closes it.
pub fn is_fleeting(fd: Fd) -> bool {
    call!(FCNTL, fd, crate::abi::F_GETFD, 0usize) == Ok(crate::abi::FD_CLOEXEC)
}

pub fn read<'a>(fd: Fd, buffer: &'a mut [MaybeUninit<u8>]) -> Result<&'a [u8]> {
    let length = call!(READ, fd, buffer.as_mut_ptr(), buffer.len())?;
    Ok(super::filled(buffer, length))
}

pub fn write(fd: Fd, bytes: &[u8]) -> Result<usize> {
    call!(WRITE, fd, bytes.as_ptr(), bytes.len())
}

/// The size of a file, by seeking to its end.
pub fn size(fd: Fd) -> Result<usize> {
    call!(LSEEK, fd, 0usize, crate::abi::SEEK_END)
}

/// `statx` of the descriptor itself, with what the kernel knows: the server of a file system that is
/// away (NFS, FUSE) would keep the caller waiting.
pub fn stat(fd: Fd) -> Result<Statx> {
    statx(fd, c"", crate::abi::AT_EMPTY_PATH | crate::abi::AT_STATX_DONT_SYNC)
}

pub fn statx(dir: Fd, path: &CStr, flags: u32) -> Result<Statx> {
    let mut stat = MaybeUninit::<Statx>::uninit();
    let mask = crate::abi::STATX_BASIC_STATS;
    call!(STATX, dir, path, flags, mask, stat.as_mut_ptr())?;
    // SAFETY: the kernel has filled the whole structure.
    Ok(unsafe { stat.assume_init() })
}

/// The type of the file system (`f_type`).
pub fn filesystem(fd: Fd) -> Result<i64> {
    let mut stat = [const { MaybeUninit::<i64>::uninit() }; 15];
    call!(FSTATFS, fd, stat.as_mut_ptr())?;
    // SAFETY: `struct statfs` is 120 bytes; the kernel has filled it.
    Ok(unsafe { stat[0].assume_init() })
}

pub fn mkdirat(dir: Fd, name: &CStr, mode: u32) -> Result<usize> {
    call!(MKDIRAT, dir, name, mode)
}

/// `mknodat` with the device number packed as the kernel wants it (`new_encode_dev`).
pub fn mknodat(dir: Fd, name: &CStr, mode: u32, (major, minor): (u32, u32)) -> Result<usize> {
    let device = (minor & 0xff) | ((major & 0xfff) << 8) | ((minor & !0xff) << 12);
    call!(MKNODAT, dir, name, mode, device)
}

pub fn symlinkat(target: &CStr, dir: Fd, name: &CStr) -> Result<usize> {
    call!(SYMLINKAT, target, dir, name)
}

pub fn unlinkat(dir: Fd, name: &CStr) -> Result<usize> {
    call!(UNLINKAT, dir, name, 0u32)
}

pub fn readlinkat<'a>(dir: Fd, name: &CStr, buffer: &'a mut [MaybeUninit<u8>]) -> Result<&'a [u8]> {
    let length = call!(READLINKAT, dir, name, buffer.as_mut_ptr(), buffer.len())?;
    Ok(super::filled(buffer, length))
}

/// A new file, for writing.
pub fn create(dir: Fd, name: &CStr) -> Result<Fd> {
    let flags = crate::abi::O_WRONLY
        | crate::abi::O_CREAT
        | crate::abi::O_EXCL
        | crate::abi::O_NOFOLLOW
        | crate::abi::O_CLOEXEC;
    call!(OPENAT, dir, name, flags, 0o600u32).map(small)
}

/// Entries of a directory (`struct linux_dirent64`); none at its end.
pub fn entries(dir: Fd, buffer: &mut [MaybeUninit<u8>]) -> Result<&[u8]> {
    let length = call!(GETDENTS64, dir, buffer.as_mut_ptr(), buffer.len())?;
    Ok(super::filled(buffer, length))
}

/// Copies between two files at their positions; how many bytes.
pub fn send_file(to: Fd, from: Fd, count: u64) -> Result<usize> {
    call!(SENDFILE, to, from, 0usize, count)
}

pub fn fchmod(fd: Fd, mode: u32) -> Result<usize> {
    call!(FCHMOD, fd, mode)
}

pub fn fchown(fd: Fd, uid: u32, gid: u32) -> Result<usize> {
    call!(FCHOWN, fd, uid, gid)
}

pub fn fchownat(dir: Fd, path: &CStr, uid: u32, gid: u32, flags: u32) -> Result<usize> {
    call!(FCHOWNAT, dir, path, uid, gid, flags)
}

/// `fchmodat`, which follows links.
pub fn fchmodat(dir: Fd, path: &CStr, mode: u32) -> Result<usize> {
    call!(FCHMODAT, dir, path, mode)
}

/// `fchmodat2` (Linux 6.6).
pub fn fchmodat2(dir: Fd, path: &CStr, mode: u32, flags: u32) -> Result<usize> {
    call!(FCHMODAT2, dir, path, mode, flags)
}

/// Whether the process may do this, by its effective ids.
pub fn access(path: &CStr, mode: u32) -> Result<usize> {
    call!(FACCESSAT2, crate::abi::AT_FDCWD, path, mode, AT_EACCESS)
}

pub fn fchdir(fd: Fd) -> Result<usize> {
    call!(FCHDIR, fd)
}

pub fn chroot(path: &CStr) -> Result<usize> {
    call!(CHROOT, path)
}

/// The working directory, its NUL included.
pub fn getcwd(buffer: &mut [MaybeUninit<u8>]) -> Result<&[u8]> {
    let length = call!(GETCWD, buffer.as_mut_ptr(), buffer.len())?;
    Ok(super::filled(buffer, length))
}

pub fn umask(mask: u32) -> Result<usize> {
    call!(UMASK, mask)
}

pub fn memfd(name: &CStr) -> Result<Fd> {
    call!(MEMFD_CREATE, name, crate::abi::MFD_CLOEXEC).map(small)
}

/// Writes the parts at the start of the file; the file's position stays.
pub fn write_parts(fd: Fd, parts: &[&[u8]; 3]) -> Result<usize> {
    let vector = parts.map(|part| crate::abi::Iovec {
        base: part.as_ptr().expose_provenance(),
        length: part.len(),
    });
    call!(PWRITEV, fd, vector.as_ptr(), vector.len(), 0usize, 0usize)
}
