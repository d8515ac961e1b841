//! How the kernel treats the process: execution domain, memory policy, processors.

use crate::program::Op;
use crate::report::{Attempt as _, Result};
use crate::sys;

/// The execution domain.
pub fn personality(domain: u32) -> Result {
    sys::personality(domain).during(Op::Personality).map(|_| ())
}

pub fn memory_policy(mode: u32, nodes: &[u8]) -> Result {
    sys::set_memory_policy(mode, nodes).during(Op::MemoryPolicy).map(|_| ())
}

pub fn affinity(processors: &[u8]) -> Result {
    sys::set_affinity(processors).during(Op::Affinity).map(|_| ())
}
