//! The cases of shims, one file per group.

mod bootstrap;
mod cleanup;
mod control;
mod crash;
mod exec;
mod leaks;
mod life;
mod loggers;
mod mounts;
mod options;
mod payload;
mod pods;
mod races;
mod stdio;

use crate::case::Case;

/// All of them.
pub(crate) const GROUPS: &[&[Case]] = &[
    bootstrap::CASES,
    life::CASES,
    mounts::CASES,
    control::CASES,
    exec::CASES,
    stdio::CASES,
    loggers::CASES,
    payload::CASES,
    cleanup::CASES,
    races::CASES,
    leaks::CASES,
    crash::CASES,
    pods::CASES,
    options::CASES,
];
