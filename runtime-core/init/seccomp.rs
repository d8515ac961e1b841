//! The seccomp filter.

use core::sync::atomic::AtomicI32;
use core::sync::atomic::Ordering::{Acquire, Release};

use crate::abi::{EINVAL, SECCOMP_FILTER_FLAG_NEW_LISTENER};
use crate::init::Init;
use crate::program::{MAX_FILTER, Op, Report};
use crate::report::{Attempt as _, Failure, Result, receive};
use crate::sys::{self, Fd};

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
        let listens = flags & SECCOMP_FILTER_FLAG_NEW_LISTENER != 0;
        if listens {
            let channel = usize::try_from(self.channel).unwrap_or(usize::MAX);
            sys::thread(hand_over, channel).during(Op::Clone)?;
        }
        let listener = sys::seccomp(filter, flags).during(Op::Seccomp)?;
        if listens {
            LISTENER.store(listener + 1, Release);
            // Every system call may be one that the filter forbids, or that waits for the listener.
            while LISTENER.load(Acquire) != HANDED_OVER {
                core::hint::spin_loop();
            }
        }
        Ok(())
    }
}

/// The thread without the filter: sends the listener, waits until it has arrived where it belongs, and
/// closes it here, so that execve does not wait for an agent that has died meanwhile.
extern "C" fn hand_over(channel: usize) -> ! {
    let channel = Fd::try_from(channel).unwrap_or(-1);
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
    sys::exit_thread()
}
