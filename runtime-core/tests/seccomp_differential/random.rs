//! Random profiles.

use coracle::seccomp::Machine;
use coracle::spec::seccomp::{Action, Architecture, Argument, Operator, Seccomp, SyscallRule};
use proptest::prelude::*;
use proptest::sample::{select, subsequence};
use proptest::strategy::ValueTree;
use proptest::test_runner::{RngSeed, TestRunner};

use super::compare;
use super::profiles::{ACTIONS, engines};

const NAMES: [&str; 12] = [
    "read",
    "openat",
    "socket",
    "socketcall",
    "semop",
    "semctl",
    "personality",
    "clone",
    "recvmmsg",
    "mmap2",
    "execveat",
    "futex_waitv",
];

fn argument() -> impl Strategy<Value = Argument> {
    let value =
        prop_oneof![0..4_u64, select(vec![1 << 32, u64::MAX, 0xffff_ffff, 1 << 63, (1 << 32) + 2])];
    (0..4_u32, value.clone(), value, select(Operator::ALL))
        .prop_map(|(index, value, value_two, op)| Argument { index, value, value_two, op })
}

fn rule(actions: &'static [Action]) -> impl Strategy<Value = SyscallRule> {
    let names = subsequence(NAMES.to_vec(), 1..4);
    let args = prop_oneof![1 => Just(Vec::new()), 6 => prop::collection::vec(argument(), 1..4)];
    (names, select(actions), prop::option::of(0..3_u32), args).prop_map(
        |(names, action, errno_ret, args)| SyscallRule {
            names: names.into_iter().map(str::to_owned).collect(),
            action,
            errno_ret,
            args,
        },
    )
}

fn profile(actions: &'static [Action]) -> impl Strategy<Value = Seccomp> {
    let architectures = subsequence(
        vec![Architecture::X86_64, Architecture::X86, Architecture::X32, Architecture::Arm],
        0..=4,
    );
    let default = select(vec![Action::Errno, Action::Allow, Action::KillProcess]);
    (default, architectures, prop::collection::vec(rule(actions), 0..8)).prop_map(
        |(default_action, architectures, syscalls)| Seccomp {
            default_action: Some(default_action),
            architectures,
            syscalls,
            ..Seccomp::default()
        },
    )
}

/// Compares the filters; how often they may differ where libseccomp is known to err is counted.
fn check(cases: u32, strategy: impl Strategy<Value = (Seccomp, Machine)>) {
    let mut runner = TestRunner::new(ProptestConfig {
        cases,
        rng_seed: RngSeed::Fixed(1),
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let (mut same, mut excused, mut broken, mut refused) = (0, 0, 0, 0);
    for _ in 0..cases {
        let (profile, machine) = strategy.new_tree(&mut runner).unwrap().current();
        let Some(outcome) = compare(&profile, machine) else {
            refused += 1;
            continue;
        };
        assert_eq!(outcome.difference, None);
        same += outcome.same;
        excused += outcome.excused;
        broken += outcome.broken.len();
    }
    println!(
        "{same} calls alike, {excused} where libseccomp errs, {broken} of its filters broken, \
         {refused} profiles refused"
    );
    assert!(excused < same / 1000, "libseccomp does not err that often");
    assert!(broken < cases as usize / 10 && refused < cases / 5);
}

#[test]
fn one_action() {
    check(100, profile(&[Action::Log]).prop_map(|profile| (profile, Machine::X86_64)));
    check(40, profile(&[Action::Log]).prop_map(|profile| (on_aarch64(profile), Machine::Aarch64)));
}

/// Without the calls that 64-bit ARM lacks: libseccomp's filter would often be broken.
fn on_aarch64(mut profile: Seccomp) -> Seccomp {
    for rule in &mut profile.syscalls {
        rule.names.retain(|name| name != "socketcall" && name != "mmap2");
    }
    profile
}

#[test]
fn several_actions() {
    let actions = &[Action::Log, Action::Trap, Action::Errno, Action::Trace, Action::Notify];
    check(100, profile(actions).prop_map(|profile| (profile, Machine::X86_64)));
}

/// Rules of engines, mixed and changed: hundreds of names, as real profiles have.
#[test]
fn many_names() {
    let mut names: Vec<String> = engines()
        .keys()
        .flat_map(|json| serde_json::from_str::<Seccomp>(json).unwrap().syscalls)
        .flat_map(|rule| rule.names)
        .collect();
    names.sort_unstable();
    names.dedup();
    let rule = (subsequence(names, 1..120), select(&ACTIONS[..]), prop::option::of(0..40_u32));
    let rule = rule.prop_map(|(names, action, errno_ret)| SyscallRule {
        names,
        action,
        errno_ret,
        args: Vec::new(),
    });
    let architectures = subsequence(vec![Architecture::X86, Architecture::X32], 0..=2);
    let profile = (select(&ACTIONS[..]), architectures, prop::collection::vec(rule, 1..4))
        .prop_map(|(default_action, architectures, mut syscalls)| {
            // libseccomp refuses rules that contradict each other.
            let mut seen = std::collections::BTreeSet::new();
            for rule in &mut syscalls {
                rule.names.retain(|name| seen.insert(name.clone()));
            }
            syscalls.retain(|rule| !rule.names.is_empty());
            Seccomp {
                default_action: Some(default_action),
                architectures,
                syscalls,
                ..Seccomp::default()
            }
        });
    check(40, profile.prop_map(|profile| (profile, Machine::X86_64)));
}
