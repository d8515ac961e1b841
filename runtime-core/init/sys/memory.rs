//! Memory.

use core::mem::MaybeUninit;

use super::{Fd, Result, Word as _, call};
use crate::abi::{
    self, MADV_DONTNEED, MAP_ANONYMOUS, MAP_NORESERVE, MAP_PRIVATE, MAP_SHARED, PROT_READ,
    PROT_WRITE,
};

/// The bytes that the kernel has written.
pub fn filled(buffer: &[MaybeUninit<u8>], length: usize) -> &[u8] {
    let length = length.min(buffer.len());
    // SAFETY: the kernel has written the first `length` bytes.
    unsafe { core::slice::from_raw_parts(buffer.as_ptr().cast(), length) }
}

/// A buffer that costs nothing until it is written to.
pub const fn buffer<const N: usize>() -> [MaybeUninit<u8>; N] {
    [const { MaybeUninit::uninit() }; N]
}

fn map(length: usize, protection: u32, flags: u32, fd: Fd) -> Result<usize> {
    let args = [0, length, protection.word(), flags.word(), fd.word(), 0];
    super::result(super::retry_six(super::number::MMAP, args))
}

/// Maps the file for the rest of the process's life, read-only.
pub fn map_file(fd: Fd, length: usize) -> Result<&'static [u8]> {
    let start = map(length, PROT_READ, MAP_PRIVATE, fd)?;
    // SAFETY: the kernel has mapped `length` bytes there and nothing unmaps them. The file is sealed
    // by the library, so that the bytes do not change.
    Ok(unsafe { core::slice::from_raw_parts(core::ptr::with_exposed_provenance(start), length) })
}

/// Fresh memory for the rest of the process's life; pages cost nothing until they are touched.
pub fn map_memory(words: usize, shared: bool) -> Result<&'static mut [usize]> {
    let sharing = if shared { MAP_SHARED } else { MAP_PRIVATE };
    let flags = sharing | MAP_ANONYMOUS | MAP_NORESERVE;
    let length = words.saturating_mul(size_of::<usize>());
    let start = map(length, PROT_READ | PROT_WRITE, flags, -1)?;
    // SAFETY: the kernel has mapped that much zeroed, page-aligned memory; nobody else has it.
    Ok(unsafe {
        core::slice::from_raw_parts_mut(core::ptr::with_exposed_provenance_mut(start), words)
    })
}

/// Fresh memory for bytes.
pub fn map_bytes(length: usize) -> Result<&'static mut [u8]> {
    let words = map_memory(length.div_ceil(size_of::<usize>()), false)?;
    // SAFETY: the words are as many bytes, all initialised.
    Ok(unsafe { core::slice::from_raw_parts_mut(words.as_mut_ptr().cast(), size_of_val(words)) })
}

/// Makes whoever touches this untouched page wait until the descriptor is closed (userfaultfd(2)).
pub fn block_page(page: &[usize]) -> Result<Fd> {
    let fd = call!(USERFAULTFD, abi::O_CLOEXEC | abi::UFFD_USER_MODE_ONLY).map(super::small)?;
    let api = [abi::UFFD_API, 0, 0];
    call!(IOCTL, fd, abi::UFFDIO_API, api.as_ptr())?;
    // `struct uffdio_register`: start, length, mode, what the kernel answers.
    let range = [page.as_ptr().addr() as u64, PAGE as u64, abi::UFFDIO_REGISTER_MODE_MISSING, 0];
    call!(IOCTL, fd, abi::UFFDIO_REGISTER, range.as_ptr())?;
    Ok(fd)
}

/// Gives the pages of a file's mapping back until they are read again.
pub fn release(bytes: &'static [u8]) {
    let _ = call!(MADVISE, bytes.as_ptr(), bytes.len(), MADV_DONTNEED);
}

/// How much of the stack a path buffer or two can have touched.
const STACK_DEPTH: usize = 64 * 1024;
const PAGE: usize = 4096;

/// Gives back the pages of the stack below those in use.
#[inline(never)]
pub fn release_stack() {
    let here = 0u8;
    // The frames of the call below this one need less than the page that is left.
    let end = ((&raw const here).addr() & !(PAGE - 1)) - PAGE;
    let _ = call!(MADVISE, end - STACK_DEPTH, STACK_DEPTH, MADV_DONTNEED);
}
