//! Failures, and telling the library.

use core::ffi::CStr;
use core::num::NonZeroU32;
use core::sync::atomic::Ordering::Relaxed;
use core::sync::atomic::{AtomicI32, AtomicPtr, AtomicU64, AtomicUsize};

use crate::abi;
use crate::init::Init;
use crate::program::{Op, REPORT_TEXT, Report};
use crate::sys::{self, Errno, Fd};

/// Why a step has failed. Small, as it is passed on everywhere; what is known beyond it is kept in
/// [`Particulars`] by whoever made it last.
#[derive(Clone, Copy)]
pub struct Failure(NonZeroU32);

pub type Result<T = ()> = core::result::Result<T, Failure>;

/// The rest of the last failure.
struct Particulars {
    /// What it was about: an option, a path.
    text: AtomicPtr<u8>,
    length: AtomicUsize,
    detail: AtomicU64,
    /// A file system context whose messages tell more; -1 for none.
    log: AtomicI32,
    /// A file that goes to the library with the report; -1 for none.
    file: AtomicI32,
}

// Before the slots, of which only the first are in use: one page for both.
// SAFETY: a section of zeros for a value of zeros.
#[unsafe(link_section = ".bss.first")]
static PARTICULARS: Particulars = Particulars {
    text: AtomicPtr::new(core::ptr::null_mut()),
    length: AtomicUsize::new(0),
    detail: AtomicU64::new(0),
    log: AtomicI32::new(0),
    file: AtomicI32::new(0),
};

impl Failure {
    #[cold]
    #[inline(never)]
    pub fn new(op: Op, errno: i32) -> Self {
        PARTICULARS.length.store(0, Relaxed);
        PARTICULARS.detail.store(0, Relaxed);
        PARTICULARS.log.store(-1, Relaxed);
        PARTICULARS.file.store(-1, Relaxed);
        // Both fit into half of it, and no operation is 0.
        let number = ((op as u32) << 16) | (errno.unsigned_abs() & 0xffff);
        Self(NonZeroU32::new(number).unwrap_or(NonZeroU32::MAX))
    }

    const fn op(self) -> u32 {
        self.0.get() >> 16
    }

    pub fn errno(self) -> i32 {
        i32::try_from(self.0.get() & 0xffff).unwrap_or(0)
    }

    /// As [`Self::new`], and what it is about.
    #[cold]
    #[inline(never)]
    pub fn of(op: Op, errno: i32, text: &'static CStr) -> Self {
        Self::new(op, errno).on(text)
    }

    /// What it is about.
    #[cold]
    #[inline(never)]
    pub fn on(self, text: &'static CStr) -> Self {
        let bytes = text.to_bytes();
        PARTICULARS.text.store(bytes.as_ptr().cast_mut(), Relaxed);
        PARTICULARS.length.store(bytes.len(), Relaxed);
        self
    }

    #[cold]
    pub fn with_detail(self, detail: u64) -> Self {
        PARTICULARS.detail.store(detail, Relaxed);
        self
    }

    /// The file system context that knows more.
    #[cold]
    pub fn with_log(self, log: Fd) -> Self {
        PARTICULARS.log.store(log, Relaxed);
        self
    }

    /// The file that tells more.
    #[cold]
    pub fn with_file(self, file: Fd) -> Self {
        PARTICULARS.file.store(file, Relaxed);
        self
    }
}

impl Particulars {
    fn text(&self) -> &'static [u8] {
        let length = self.length.load(Relaxed);
        if length == 0 {
            return &[];
        }
        // SAFETY: `on` has stored both from a text that lives for ever.
        unsafe { core::slice::from_raw_parts(self.text.load(Relaxed), length) }
    }
}

/// Gives an error of the kernel its place.
pub trait Attempt<T> {
    /// What was attempted.
    fn during(self, op: Op) -> Result<T>;
    /// What was attempted, and on what.
    fn about(self, op: Op, text: &'static CStr) -> Result<T>;
}

impl<T> Attempt<T> for sys::Result<T> {
    fn during(self, op: Op) -> Result<T> {
        self.map_err(|Errno(errno)| Failure::new(op, errno))
    }

    fn about(self, op: Op, text: &'static CStr) -> Result<T> {
        self.map_err(|Errno(errno)| Failure::of(op, errno, text))
    }
}

/// The text of a failure, cut at [`REPORT_TEXT`].
struct Words {
    bytes: [u8; REPORT_TEXT],
    length: usize,
}

impl Words {
    fn push(&mut self, part: &[u8]) {
        let room = self.bytes.get_mut(self.length..).unwrap_or_default();
        for (to, from) in room.iter_mut().zip(part) {
            *to = *from;
            self.length += 1;
        }
    }

    /// Appends the messages of a file system context: "e tmpfs: Bad value for 'size'".
    #[inline(never)]
    fn push_log(&mut self, log: Fd) {
        let mut buffer = sys::buffer::<REPORT_TEXT>();
        // The kernel keeps eight messages at most.
        for _ in 0..8 {
            let Ok(message) = sys::read(log, &mut buffer) else {
                return;
            };
            let message = message.strip_suffix(b"\n").unwrap_or(message);
            // The first two bytes are the level.
            let message = message.get(2..).unwrap_or(message);
            if self.length > 0 {
                self.push(b": ");
            }
            self.push(message);
        }
    }
}

impl Init {
    /// Tells the library, whatever comes of it.
    #[inline(never)]
    pub fn report_failure(&self, step: u32, failure: Failure) {
        let mut words = Words { bytes: [0; REPORT_TEXT], length: 0 };
        words.push(PARTICULARS.text());
        let log = PARTICULARS.log.load(Relaxed);
        if log >= 0 {
            words.push_log(log);
        }
        let report = Report {
            tag: Report::FAILED,
            step,
            op: failure.op(),
            errno: failure.errno(),
            detail: PARTICULARS.detail.load(Relaxed),
        };
        let text = words.bytes.get(..words.length).unwrap_or(&[]);
        let file = PARTICULARS.file.load(Relaxed);
        let _ = sys::send(self.channel, [&report.to_bytes(), text], file);
    }

    /// Sends a report that is no failure, with a descriptor unless it is -1.
    pub fn report(&self, tag: u32, detail: u64, fd: Fd) -> Result {
        let report = Report { tag, step: self.step, op: 0, errno: 0, detail };
        match sys::send(self.channel, [&report.to_bytes(), &[]], fd) {
            Ok(_) => Ok(()),
            Err(Errno(errno)) => Err(Failure::new(Op::Send, errno)),
        }
    }
}

/// Waits for a message; ends the process if the library has closed the socket.
pub fn receive(channel: Fd, buffer: &mut [u8], each: impl FnMut(Fd)) -> Result<usize> {
    match sys::receive(channel, buffer, each) {
        Ok(0) | Err(Errno(abi::ECONNRESET)) => sys::exit(1),
        other => other.during(Op::Receive),
    }
}
