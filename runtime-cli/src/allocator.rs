//! The allocator of a short-lived command: memory is handed out and not taken back.
//!
//! A command allocates some hundred small blocks and ends. They come from one fixed region, whose
//! pages the kernel provides when they are touched; only the latest block can grow in place or be
//! given back. What does not fit, and everything once the region is used up, comes from the system
//! allocator, so that a `run` which stays in the foreground for months does not grow.

#![allow(unsafe_code, reason = "a global allocator is an unsafe trait over raw memory")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::UnsafeCell;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// The size of the region; an ordinary command touches less than a tenth of it.
const SIZE: usize = 1 << 20;

/// Greater blocks go to the system allocator, which can give them back.
const GREATEST: usize = SIZE / 4;

/// The alignment of every block of malloc(3) on 64-bit machines.
const MALLOC_ALIGN: usize = 16;

#[global_allocator]
static ALLOCATOR: Bump = Bump::new();

// The region stands first, so that it is aligned as its blocks are.
#[repr(C, align(16))]
struct Bump {
    region: UnsafeCell<[u8; SIZE]>,
    used: AtomicUsize,
}

// SAFETY: the region is reached only through blocks, and `used` gives each block to one caller.
unsafe impl Sync for Bump {}

impl Bump {
    const fn new() -> Self {
        Self { region: UnsafeCell::new([0; SIZE]), used: AtomicUsize::new(0) }
    }

    fn start(&self) -> *mut u8 {
        self.region.get().cast()
    }

    /// Where in the region this block lies; `None` if it came from the system allocator.
    fn offset(&self, block: *mut u8) -> Option<usize> {
        block.addr().checked_sub(self.start().addr()).filter(|offset| *offset < SIZE)
    }

    fn take(&self, layout: Layout) -> Option<*mut u8> {
        if layout.size() > GREATEST {
            return None;
        }
        let base = self.start().addr();
        let mut used = self.used.load(Relaxed);
        loop {
            // As malloc does: the nix crate puts control messages into buffers of bytes and relies
            // on it.
            let first = (base + used).next_multiple_of(layout.align().max(MALLOC_ALIGN)) - base;
            let end = first + layout.size();
            if end > SIZE {
                return None;
            }
            match self.used.compare_exchange_weak(used, end, Relaxed, Relaxed) {
                // SAFETY: `first` is inside the region, because `end` is not behind its end.
                Ok(_) => return Some(unsafe { self.start().add(first) }),
                Err(now) => used = now,
            }
        }
    }

    /// Moves the end of the latest block; fails if another block follows or the region ends.
    fn resize(&self, offset: usize, old: usize, new: usize) -> bool {
        let end = offset + new;
        end <= SIZE && self.used.compare_exchange(offset + old, end, Relaxed, Relaxed).is_ok()
    }
}

// SAFETY: a block is either one of the system allocator, which keeps the contract, or a range of
// the region that was never handed out before, or was given back, aligned and of the asked size.
unsafe impl GlobalAlloc for Bump {
    // SAFETY: asks no more of its caller than the trait does.
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        match self.take(layout) {
            Some(block) => block,
            // SAFETY: the caller's promises about the layout are passed on.
            None => unsafe { System.alloc(layout) },
        }
    }

    // SAFETY: asks no more of its caller than the trait does.
    unsafe fn dealloc(&self, block: *mut u8, layout: Layout) {
        match self.offset(block) {
            Some(offset) => {
                self.resize(offset, layout.size(), 0);
            }
            // SAFETY: a block outside the region came from the system allocator.
            None => unsafe { System.dealloc(block, layout) },
        }
    }

    // SAFETY: asks no more of its caller than the trait does.
    unsafe fn realloc(&self, block: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        let Some(offset) = self.offset(block) else {
            // SAFETY: a block outside the region came from the system allocator.
            return unsafe { System.realloc(block, layout, size) };
        };
        if (size <= GREATEST && self.resize(offset, layout.size(), size)) || size <= layout.size() {
            return block;
        }
        // SAFETY: the caller promises that size is valid for this alignment; the two blocks are
        // distinct, and both hold at least the smaller number of bytes.
        unsafe {
            let moved = self.alloc(Layout::from_size_align_unchecked(size, layout.align()));
            if !moved.is_null() {
                moved.copy_from_nonoverlapping(block, layout.size().min(size));
                self.dealloc(block, layout);
            }
            moved
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layout(size: usize, align: usize) -> Layout {
        Layout::from_size_align(size, align).expect("a layout")
    }

    #[test]
    fn blocks_are_aligned_and_distinct() {
        static BUMP: Bump = Bump::new();
        let bump = &BUMP;
        let mut end = 0;
        for (size, align) in [(1, 1), (8, 8), (3, 1), (64, 64), (1, 4096), (0, 1)] {
            let block = bump.take(layout(size, align)).expect("a block");
            assert_eq!(block.addr() % align, 0);
            let offset = bump.offset(block).expect("in the region");
            assert!(offset >= end);
            end = offset + size;
        }
    }

    #[test]
    fn only_the_latest_block_changes_its_size() {
        static BUMP: Bump = Bump::new();
        let bump = &BUMP;
        let first = bump.offset(bump.take(layout(16, 1)).expect("a block")).expect("offset");
        assert!(bump.resize(first, 16, 32));
        let second = bump.offset(bump.take(layout(8, 1)).expect("a block")).expect("offset");
        assert_eq!(second, 32);
        assert!(!bump.resize(first, 32, 64));
        assert!(bump.resize(second, 8, 0));
        assert!(bump.resize(first, 32, 64));
        assert!(!bump.resize(first, 64, SIZE + 1));
    }

    #[test]
    fn what_does_not_fit_comes_from_the_system() {
        static BUMP: Bump = Bump::new();
        let bump = &BUMP;
        assert!(bump.take(layout(GREATEST + 1, 1)).is_none());
        for _ in 0..4 {
            assert!(bump.take(layout(GREATEST, 1)).is_some());
        }
        assert!(bump.take(layout(1, 1)).is_none());
        // SAFETY: the layouts are those of the block, and its bytes are written before they are
        // read.
        unsafe {
            let block = bump.alloc(layout(2, 1));
            assert!(bump.offset(block).is_none());
            block.write(7);
            let block = bump.realloc(block, layout(2, 1), 4096);
            assert_eq!(block.read(), 7);
            bump.dealloc(block, layout(4096, 1));
        }
    }
}
