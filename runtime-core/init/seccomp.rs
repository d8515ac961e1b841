//! The seccomp filter.

use core::sync::atomic::AtomicI32;
use core::sync::atomic::Ordering::{Acquire, Release};

use crate::abi::{EINVAL, SECCOMP_FILTER_FLAG_NEW_LISTENER};
use crate::init::Init;
use crate::program::{MAX_FILTER, Op, Report};
use crate::report::{Attempt as _, Failure, Result, receive};
use crate::sys;

/// The length of `struct sock_filter`.
const INSTRUCTION: usize = 8;

/// How the thread that loads the filter tells the other one of the listener: its descriptor plus one, and
/// [`HANDED_OVER`] as the answer.
static LISTENER: AtomicI32 = AtomicI32::new(0);
const HANDED_OVER: i32 = -1;

impl Init {
    /// Receives the filter: its flags, then its instructions.
    pub fn receive_filter(&mut self) -> Result {
        let buffer = sys::map_bytes((MAX_FILTER + 1) * INSTRUCTION).during(Op::Map)?;
        let length = receive(self.channel, buffer, sys::close)?;
        let filter = buffer.get(..length);
        let parts = filter.and_then(|bytes| bytes.split_first_chunk());
        let (flags, instructions) = parts.ok_or(Failure::new(Op::Receive, EINVAL))?;
        if instructions.len() % INSTRUCTION != 0 {
            return Err(Failure::new(Op::Receive, EINVAL));
        }
        self.filter = (u32::from_ne_bytes(*flags), instructions);
        Ok(())
    }

    pub fn load_filter(&mut self) -> Result {
        // The filter may forbid what execve still needs.
        self.depart()?;
        self.reserve_vectors()?;
        let (flags, filter) = self.filter;
        if flags & SECCOMP_FILTER_FLAG_NEW_LISTENER == 0 {
            return sys::seccomp(filter, flags).during(Op::Seccomp).map(|_| ());
        }
        let page = sys::map_memory(1, false).during(Op::Map)?;
        // Where the kernel cannot make it wait, this thread goes round in a circle instead.
        let bar = sys::block_page(page).unwrap_or(-1);
        sys::thread(hand_over, [self.channel, bar]).during(Op::Clone)?;
        let listener = sys::seccomp(filter, flags).during(Op::Seccomp)?;
        LISTENER.store(listener + 1, Release);
        // Every system call may be one that the filter forbids, or that waits for the listener.
        while LISTENER.load(Acquire) != HANDED_OVER {
            // SAFETY: a live mapping.
            unsafe { page.as_ptr().read_volatile() };
        }
        Ok(())
    }
}

/// The thread without the filter: sends the listener, waits until it has arrived where it belongs, and
/// closes it here, so that execve does not wait for an agent that has died meanwhile.
extern "C" fn hand_over(fds: usize) -> ! {
    let [channel, bar] = sys::pair(fds);
    let listener = loop {
        match LISTENER.load(Acquire) {
            0 => sys::let_others_run(),
            listener => break listener - 1,
        }
    };
    let report = Report { tag: Report::LISTENER, step: 0, op: 0, errno: 0, detail: 0 };
    let answered = sys::send(channel, [&report.to_bytes(), &[]], listener)
        .and_then(|_| sys::receive(channel, &mut [0; 4], sys::close));
    if !matches!(answered, Ok(1..)) {
        // Ends the other thread, too: nobody has taken the listener.
        sys::exit(1);
    }
    sys::close(listener);
    LISTENER.store(HANDED_OVER, Release);
    sys::close(bar);
    sys::exit_thread()
}
