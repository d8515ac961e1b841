//! What comes before the first step: a clean process and the program.

use core::ffi::CStr;

use crate::abi::{self, EINVAL, EPROTO, PATH_MAX};
use crate::init::{Init, Kind};
use crate::program::{Op, Program, Slot};
use crate::report::{Attempt as _, Failure, Result, receive};
use crate::start::close_all_but;
use crate::sys::{self, Errno, Fd};

/// Reads a small decimal number.
pub fn number(text: &CStr) -> Option<u32> {
    let digits = text.to_bytes();
    if digits.is_empty() || digits.len() > 9 {
        return None;
    }
    digits.iter().try_fold(0u32, |sum, digit| {
        let digit = u32::from(*digit).checked_sub(u32::from(b'0')).filter(|&digit| digit < 10)?;
        Some(sum * 10 + digit)
    })
}

/// The value of a hexadecimal line of /proc/self/status.
fn status_line(status: &[u8], name: &[u8]) -> Option<u64> {
    let line = status.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(name))?;
    let digits = line.strip_prefix(b"\t")?;
    digits.iter().try_fold(0u64, |sum, &digit| {
        let value = match digit {
            b'0'..=b'9' => digit - b'0',
            b'a'..=b'f' => digit - b'a' + 10,
            _ => return None,
        };
        Some((sum << 4) | u64::from(value))
    })
}

impl Init {
    /// Resets what the caller has handed down and receives the program.
    pub fn prepare(&mut self) -> Result<Program<'static>> {
        self.reset_signals()?;
        sys::umask(0).during(Op::Umask)?;
        sys::setsid().during(Op::Session)?;
        if self.channel.unsigned_abs() < self.first_own() {
            return Err(Failure::new(Op::Receive, EINVAL));
        }
        // Before anything is received, so that what the caller has left open is told apart.
        close_all_but(&[self.channel], self.first_own()).during(Op::CloseRange)?;
        self.receive_program()
    }

    /// Gives every signal that the caller ignores its default action and blocks none; execve has reset
    /// the caught ones. Remembers the bounding set on the way.
    #[inline(never)]
    fn reset_signals(&mut self) -> Result {
        let mut buffer = sys::buffer::<PATH_MAX>();
        let status = sys::open(c"/proc/self/status", 0).and_then(|fd| sys::read(fd, &mut buffer));
        let status = status.unwrap_or_default();
        // Without /proc all signals are reset and unblocked.
        let ignored = status_line(status, b"SigIgn:").unwrap_or(u64::MAX);
        let blocked = status_line(status, b"SigBlk:").unwrap_or(u64::MAX);
        self.bounding = status_line(status, b"CapBnd:").unwrap_or(u64::MAX);
        for signal in 1..=abi::LAST_SIGNAL {
            let fixed = signal == abi::SIGKILL || signal == abi::SIGSTOP;
            if ignored & (1 << (signal - 1)) != 0 && !fixed {
                sys::default_signal(signal).during(Op::Signals)?;
            }
        }
        if blocked != 0 {
            sys::unblock_signals().during(Op::Signals)?;
        }
        Ok(())
    }

    /// Receives the program and its descriptors, several messages of them.
    #[inline(never)]
    fn receive_program(&mut self) -> Result<Program<'static>> {
        let channel = self.channel;
        let mut program: Option<Program<'static>> = None;
        let mut filled = 0;
        loop {
            let mut outcome = Ok(());
            let before = (program.is_some(), filled);
            receive(channel, &mut [0; 4], |fd| {
                if outcome.is_ok() {
                    outcome = self.take(&mut program, &mut filled, fd);
                }
            })?;
            outcome?;
            match program {
                Some(program) if filled >= program.received => return Ok(program),
                _ if before == (program.is_some(), filled) => {
                    return Err(Failure::new(Op::Receive, EPROTO));
                }
                _ => {}
            }
        }
    }

    /// Takes a descriptor that has arrived: the first is the program, the others fill the slots.
    fn take(&mut self, program: &mut Option<Program<'static>>, filled: &mut u32, fd: Fd) -> Result {
        // Where the caller has closed standard input, output or error, a descriptor may come in their
        // place; there it would be the payload's.
        let fd = if fd < 3 {
            let moved = sys::duplicate_from(fd, self.first_own()).during(Op::Receive)?;
            sys::close(fd);
            moved
        } else {
            fd
        };
        if program.is_none() {
            *program = Some(self.map_program(fd)?);
            return Ok(());
        }
        self.fill_slot(Slot(*filled), fd, Kind::Unknown)?;
        *filled += 1;
        Ok(())
    }

    /// Maps and decodes the program.
    fn map_program(&mut self, fd: Fd) -> Result<Program<'static>> {
        let length = sys::size(fd).during(Op::Map)?;
        self.bytes = sys::map_file(fd, length).during(Op::Map)?;
        let program = Program::decode(self.bytes).ok_or(Errno(EINVAL)).during(Op::Decode)?;
        self.slots = program.slots;
        Ok(program)
    }
}
