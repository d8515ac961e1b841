//! The machines and their calling conventions.

use crate::error::{Error, ErrorKind, Result};
use crate::spec::seccomp::Architecture;

use super::table::{self, Call};

/// A kind of CPU that filters can be made for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Machine {
    /// 64-bit x86, which also runs 32-bit programs and those with 32-bit pointers (x32).
    X86_64,
    /// 64-bit ARM, which also runs 32-bit programs.
    Aarch64,
}

impl Machine {
    /// The machine this program was built for.
    ///
    /// # Errors
    ///
    /// [`ErrorKind::Unsupported`] on any other.
    pub fn native() -> Result<Self> {
        if cfg!(all(target_arch = "x86_64", target_pointer_width = "64")) {
            Ok(Self::X86_64)
        } else if cfg!(all(target_arch = "aarch64", target_endian = "little")) {
            Ok(Self::Aarch64)
        } else {
            let message = format!("seccomp filters cannot be made for {}", std::env::consts::ARCH);
            Err(Error::new(ErrorKind::Unsupported, message)
                .with_field("linux.seccomp")
                .with_hint("remove linux.seccomp from the configuration"))
        }
    }

    /// The calling conventions, in the order of the columns of the table; the first is native.
    pub(super) const fn abis(self) -> &'static [Abi] {
        match self {
            Self::X86_64 => &[Abi::X86_64, Abi::X86, Abi::X32],
            Self::Aarch64 => &[Abi::Aarch64, Abi::Arm],
        }
    }

    /// The system call of that name.
    pub(super) fn call(self, name: &str) -> Option<Call> {
        match self {
            Self::X86_64 => table::find(table::x86::CALLS, name),
            Self::Aarch64 => table::find(table::arm::CALLS, name),
        }
    }
}

/// A calling convention: its own numbers and its own width of arguments.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Abi {
    X86_64,
    X86,
    X32,
    Aarch64,
    Arm,
}

impl Abi {
    /// Its name in a profile.
    pub(super) const fn architecture(self) -> Architecture {
        match self {
            Self::X86_64 => Architecture::X86_64,
            Self::X86 => Architecture::X86,
            Self::X32 => Architecture::X32,
            Self::Aarch64 => Architecture::Aarch64,
            Self::Arm => Architecture::Arm,
        }
    }

    /// What the kernel calls it: `AUDIT_ARCH_*` of linux/audit.h. x32 is not told apart.
    pub(super) const fn audit(self) -> u32 {
        match self {
            Self::X86_64 | Self::X32 => 0xc000_003e,
            Self::X86 => 0x4000_0003,
            Self::Aarch64 => 0xc000_00b7,
            Self::Arm => 0x4000_0028,
        }
    }

    /// The bit that marks its numbers: `__X32_SYSCALL_BIT` of asm/unistd.h.
    pub(super) const fn mark(self) -> u32 {
        match self {
            Self::X32 => 0x4000_0000,
            _ => 0,
        }
    }

    /// Whether all 64 bits of an argument count. libseccomp treats x32 as narrow, and so do we,
    /// although the kernel passes some of its arguments in 64 bits.
    pub(super) const fn is_wide(self) -> bool {
        matches!(self, Self::X86_64 | Self::Aarch64)
    }
}
