//! The seccomp filter.

use crate::abi::{EINVAL, SECCOMP_FILTER_FLAG_NEW_LISTENER};
use crate::init::Init;
use crate::program::{MAX_FILTER, Op, Report};
use crate::report::{Attempt as _, Failure, Result, receive};
use crate::sys;

impl Init {
    /// Receives the filter; an instruction is as long as a word.
    pub fn receive_filter(&mut self) -> Result {
        let buffer = sys::map_memory(MAX_FILTER, false).during(Op::Map)?;
        let length = receive(self.channel, buffer, sys::close)?;
        let filter = buffer.get(..length / size_of::<usize>());
        let filter = filter.filter(|_| length % size_of::<usize>() == 0);
        self.filter = filter.ok_or(Failure::new(Op::Receive, EINVAL))?;
        Ok(())
    }

    pub fn load_filter(&mut self, flags: u32) -> Result {
        // The filter may forbid what execve still needs.
        self.mark_descriptors()?;
        self.reserve_vectors()?;
        let listener = sys::seccomp(self.filter, flags).during(Op::Seccomp)?;
        if flags & SECCOMP_FILTER_FLAG_NEW_LISTENER != 0 {
            self.report(Report::LISTENER, 0, listener)?;
        }
        Ok(())
    }
}
