//! The table of cases, one file per group.
#![allow(
    clippy::indexing_slicing,
    reason = "reading a JSON value by key gives null where nothing is, never a panic"
)]

mod attacks;
mod binds;
mod block_io;
mod capabilities;
mod cgroup_paths;
mod cgroups;
mod checkpoint;
mod checkpoint_outside;
mod concurrency;
mod config;
mod control_files;
mod controllers;
mod cpu;
mod descriptors;
mod device_nodes;
mod device_rules;
mod devices;
mod exec;
mod exec_settings;
mod exit;
mod features;
mod filesystems;
mod hidden_paths;
mod hook_failures;
mod hook_programs;
mod hooks;
mod id_maps;
mod intel_rdt;
mod joins;
mod labels;
mod lifecycle;
mod limits;
mod memory;
mod mount_changes;
mod mount_ids;
mod mount_options;
mod mounts;
mod namespaces;
mod nested;
mod net_devices;
mod notify_socket;
mod order;
mod output;
mod process;
mod process_files;
mod process_limits;
mod reliability;
mod reliability_cgroups;
mod remounts;
mod rootfs;
mod scheduling;
mod seccomp;
mod seccomp_arguments;
mod seccomp_notify;
mod seccomp_profile;
mod signals;
mod sysctl;
mod systemd_life;
mod systemd_names;
mod systemd_properties;
mod updates;

use crate::case::Case;

const GROUPS: &[&[Case]] = &[
    lifecycle::CASES,
    exit::CASES,
    output::CASES,
    process::CASES,
    process_limits::CASES,
    process_files::CASES,
    limits::CASES,
    scheduling::CASES,
    labels::CASES,
    notify_socket::CASES,
    capabilities::CASES,
    descriptors::CASES,
    namespaces::CASES,
    joins::CASES,
    id_maps::CASES,
    nested::CASES,
    mounts::CASES,
    mount_options::CASES,
    mount_ids::CASES,
    mount_changes::CASES,
    rootfs::CASES,
    filesystems::CASES,
    remounts::CASES,
    binds::CASES,
    devices::CASES,
    device_nodes::CASES,
    sysctl::CASES,
    updates::CASES,
    net_devices::CASES,
    intel_rdt::CASES,
    hidden_paths::CASES,
    seccomp::CASES,
    seccomp_arguments::CASES,
    seccomp_notify::CASES,
    seccomp_profile::CASES,
    hooks::CASES,
    hook_failures::CASES,
    hook_programs::CASES,
    order::CASES,
    features::CASES,
    checkpoint::CASES,
    checkpoint_outside::CASES,
    exec::CASES,
    exec_settings::CASES,
    cgroups::CASES,
    cgroup_paths::CASES,
    device_rules::CASES,
    memory::CASES,
    cpu::CASES,
    block_io::CASES,
    controllers::CASES,
    systemd_names::CASES,
    systemd_properties::CASES,
    systemd_life::CASES,
    config::CASES,
    concurrency::CASES,
    reliability::CASES,
    reliability_cgroups::CASES,
    signals::CASES,
    attacks::destinations::CASES,
    attacks::masks::CASES,
    attacks::mount_changes::CASES,
    attacks::descriptors::CASES,
    attacks::image::CASES,
    attacks::numbers::CASES,
    attacks::strings::CASES,
    attacks::privileges::CASES,
    attacks::races::CASES,
];

/// The cases of runtimes whose name contains one of the filters; all of them without a filter.
pub(crate) fn selected(filters: &[String]) -> impl Iterator<Item = Case> {
    chosen(false, filters)
}

/// The same of runtimes or of shims.
pub(crate) fn chosen(shim: bool, filters: &[String]) -> impl Iterator<Item = Case> {
    let groups = if shim { crate::shim::GROUPS } else { GROUPS };
    groups.iter().flat_map(|group| group.iter()).copied().filter(move |case| {
        filters.is_empty() || filters.iter().any(|part| case.name.contains(part.as_str()))
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::{chosen, selected};

    #[test]
    fn names_are_unique_kebab_words_in_a_group() {
        let mut seen = BTreeSet::new();
        for case in selected(&[]).chain(chosen(true, &[])) {
            let (group, name) = case.name.split_once('/').unwrap();
            let kebab = |word: &str| {
                !word.is_empty()
                    && word.split('-').all(|part| {
                        !part.is_empty()
                            && part.chars().all(|c| c.is_ascii_lowercase() || c.is_ascii_digit())
                    })
            };
            assert!(kebab(group) && kebab(name), "{}", case.name);
            assert!(!case.promise.is_empty(), "{}", case.name);
            assert!(seen.insert(case.name), "{} is there twice", case.name);
        }
    }

    #[test]
    fn every_attack_is_known_to_succeed_on_the_naive_runtime() {
        let list = include_str!("../../expect/naive.txt");
        for case in selected(&["attacks/".to_owned()]) {
            let listed = list.lines().any(|line| line.starts_with(&format!("{}: ", case.name)));
            assert!(listed, "{} is not in expect/naive.txt", case.name);
        }
    }

    #[test]
    fn filters_select_by_part_of_the_name() {
        let filters = ["process/umask".to_owned(), "state/missing".to_owned()];
        let names: Vec<_> = selected(&filters).map(|case| case.name).collect();
        assert!(names.contains(&"state/missing") && names.contains(&"process/umask-zero"));
        assert!(names.iter().all(|name| filters.iter().any(|part| name.contains(part.as_str()))));
    }
}
