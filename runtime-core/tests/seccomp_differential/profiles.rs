//! Profiles of engines, and hand-made ones.

use std::collections::BTreeMap;
use std::path::Path;

use coracle::seccomp::Machine;
use coracle::spec::seccomp::{
    Action, Architecture, Argument, Flag, Operator, Seccomp, SyscallRule,
};

use super::compare;

/// The profiles of the engines' configurations, each once, with the name of a file that has it.
pub(crate) fn engines() -> BTreeMap<String, String> {
    let mut profiles = BTreeMap::new();
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/bundles");
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "json") {
            continue;
        }
        let text = std::fs::read_to_string(&path).unwrap();
        let config: serde_json::Value = serde_json::from_str(&text).unwrap();
        if let Some(profile) = config.pointer("/linux/seccomp") {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            profiles.insert(profile.to_string(), name);
        }
    }
    profiles
}

fn assert_same(what: &str, profile: &Seccomp, machine: Machine) {
    let outcome = compare(profile, machine).expect(what);
    assert_eq!(outcome.difference, None, "{what}");
    assert_eq!(outcome.excused, 0, "{what}");
    assert!(outcome.same > 0, "{what}");
}

#[test]
fn engines_profiles() {
    let profiles = engines();
    assert!(profiles.len() >= 5, "only {} profiles", profiles.len());
    for (json, name) in &profiles {
        let mut profile: Seccomp = serde_json::from_str(json).unwrap();
        assert_same(name, &profile, Machine::X86_64);
        profile.architectures.push(Architecture::Arm);
        assert_same(name, &profile, Machine::Aarch64);
    }
    println!("{} different profiles", profiles.len());
}

pub(crate) const ACTIONS: [Action; 9] = [
    Action::Allow,
    Action::Errno,
    Action::Kill,
    Action::KillProcess,
    Action::KillThread,
    Action::Log,
    Action::Notify,
    Action::Trace,
    Action::Trap,
];

pub(crate) fn rule(names: &[&str], action: Action, args: Vec<Argument>) -> SyscallRule {
    let names = names.iter().map(|name| (*name).to_owned()).collect();
    SyscallRule { names, action, errno_ret: None, args }
}

pub(crate) fn base(default_action: Action, architectures: &[Architecture]) -> Seccomp {
    Seccomp {
        default_action: Some(default_action),
        architectures: architectures.to_vec(),
        ..Seccomp::default()
    }
}

/// The sets of architectures that matter on x86.
pub(crate) const SETS: [&[Architecture]; 6] = [
    &[],
    &[Architecture::X86_64],
    &[Architecture::X86],
    &[Architecture::X32],
    &[Architecture::X86_64, Architecture::X86],
    &[Architecture::X86_64, Architecture::X86, Architecture::X32],
];

#[test]
fn every_pair_of_actions_on_every_set_of_architectures() {
    let names = ["read", "getpid", "socket", "socketcall", "clock_gettime64", "no_such_call"];
    for default in ACTIONS {
        for action in ACTIONS {
            for set in SETS {
                let mut profile = base(default, set);
                profile.syscalls.push(rule(&names, action, Vec::new()));
                assert_same(&format!("{default:?} {action:?} {set:?}"), &profile, Machine::X86_64);
            }
        }
    }
}

#[test]
fn every_errno_is_kept() {
    for errno in [0, 1, 22, 38, 4092] {
        let mut profile = base(Action::Errno, SETS[5]);
        profile.default_errno_ret = Some(errno);
        for (name, action) in [("read", Action::Errno), ("write", Action::Trace)] {
            let rule = rule(&[name], action, Vec::new());
            profile.syscalls.push(SyscallRule { errno_ret: Some(errno ^ 1), ..rule });
        }
        assert_same(&format!("errno {errno}"), &profile, Machine::X86_64);
    }
}

#[test]
fn every_operator_around_the_edges_of_words() {
    let values = [
        0,
        1,
        0x10,
        0x7fff_ffff,
        0x8000_0000,
        0xffff_ffff,
        0x1_0000_0000,
        0x1_0000_0010,
        0x8000_0000_0000_0000,
        u64::MAX - 1,
        u64::MAX,
    ];
    for op in Operator::ALL {
        for value in values {
            for value_two in [0, 0x10, value] {
                let argument = Argument { index: 2, value, value_two, op: *op };
                let mut profile = base(Action::Errno, SETS[5]);
                let names = ["personality", "socket", "semget", "mmap2"];
                profile.syscalls.push(rule(&names, Action::Allow, vec![argument]));
                assert_same(&format!("{op:?} {value:#x}"), &profile, Machine::X86_64);
                profile.architectures.extend([Architecture::Arm]);
                assert_same(&format!("{op:?} {value:#x}"), &profile, Machine::Aarch64);
            }
        }
    }
}

#[test]
fn edges_of_the_numbers_that_do_not_exist() {
    let sets: [&[&str]; 6] = [
        &[],
        &["read"],
        &["socket", "semctl"],
        &["restart_syscall"],
        &["execveat", "getrandom"],
        &["clock_gettime64", "fchmodat2"],
    ];
    for names in sets {
        for default in [Action::Errno, Action::KillProcess, Action::Allow, Action::Trace] {
            for set in SETS {
                let mut profile = base(default, set);
                profile.syscalls.push(rule(names, Action::Log, Vec::new()));
                assert_same(&format!("{names:?} {default:?}"), &profile, Machine::X86_64);
                profile.syscalls.push(rule(names, default, Vec::new()));
                assert_same(&format!("{names:?} {default:?}"), &profile, Machine::X86_64);
            }
        }
    }
}

#[test]
fn flags_are_those_of_runc() {
    let flags = |flags: Option<Vec<Flag>>| {
        let profile = Seccomp { flags, ..base(Action::Allow, &[]) };
        coracle::seccomp::compile(&profile).unwrap().flags()
    };
    assert_eq!(flags(None), 4);
    assert_eq!(flags(Some(Vec::new())), 0);
    assert_eq!(flags(Some(vec![Flag::Log])), 2);
    assert_eq!(flags(Some(vec![Flag::SpecAllow, Flag::Log, Flag::Tsync])), 6);
    // The kernel refuses it without a listener.
    assert_eq!(flags(Some(vec![Flag::WaitKillableRecv])), 0);
}

#[test]
fn a_filter_has_a_listener_if_a_call_may_be_left_to_it() {
    let flags = |default, names: &[&str], flags: &[Flag]| {
        let mut profile = Seccomp { flags: Some(flags.to_vec()), ..base(default, &[]) };
        profile.syscalls.push(rule(names, Action::Notify, Vec::new()));
        let filter = coracle::seccomp::compile(&profile).unwrap();
        assert_eq!(filter.has_listener(), filter.flags() & 8 != 0);
        filter.flags()
    };
    assert_eq!(flags(Action::Allow, &["read"], &[]), 8);
    assert_eq!(flags(Action::Notify, &["read"], &[]), 8);
    assert_eq!(flags(Action::Allow, &["no_such_call"], &[Flag::WaitKillableRecv]), 0);
    let all = [Flag::WaitKillableRecv, Flag::Tsync, Flag::Log, Flag::SpecAllow];
    assert_eq!(flags(Action::Allow, &["read"], &all), 0b10_1110);
}
