//! The seccomp filter.

use crate::abi::{EINVAL, SECCOMP_FILTER_FLAG_NEW_LISTENER};
use crate::init::Init;
use crate::program::{MAX_FILTER, Op, Report};
use crate::report::{Attempt as _, Failure, Result, receive};
use crate::sys;

/// The length of `struct sock_filter`.
const INSTRUCTION: usize = 8;

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
        let listener = sys::seccomp(filter, flags).during(Op::Seccomp)?;
        if flags & SECCOMP_FILTER_FLAG_NEW_LISTENER != 0 {
            self.report(Report::LISTENER, 0, listener)?;
        }
        Ok(())
    }
}
