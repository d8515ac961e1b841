//! The table of cases, one file per group.
#![allow(
    clippy::indexing_slicing,
    reason = "reading a JSON value by key gives null where nothing is, never a panic"
)]

mod attacks;
mod binds;
mod capabilities;
mod cgroups;
mod concurrency;
mod config;
mod descriptors;
mod devices;
mod exec;
mod exit;
mod hook_failures;
mod hooks;
mod lifecycle;
mod limits;
mod mounts;
mod namespaces;
mod output;
mod process;
mod seccomp;
mod seccomp_arguments;
mod signals;
mod sysctl;

use crate::case::Case;

const GROUPS: &[&[Case]] = &[
    lifecycle::CASES,
    exit::CASES,
    output::CASES,
    process::CASES,
    limits::CASES,
    capabilities::CASES,
    descriptors::CASES,
    namespaces::CASES,
    mounts::CASES,
    binds::CASES,
    devices::CASES,
    sysctl::CASES,
    seccomp::CASES,
    seccomp_arguments::CASES,
    hooks::CASES,
    hook_failures::CASES,
    exec::CASES,
    cgroups::CASES,
    config::CASES,
    concurrency::CASES,
    signals::CASES,
    attacks::CASES,
];

/// The cases whose name contains one of the filters; all of them without a filter.
pub(crate) fn selected(filters: &[String]) -> impl Iterator<Item = Case> {
    GROUPS.iter().flat_map(|group| group.iter()).copied().filter(move |case| {
        filters.is_empty() || filters.iter().any(|part| case.name.contains(part.as_str()))
    })
}
