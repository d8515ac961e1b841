//! The filters that the feature `libseccomp` makes: exactly those of runc.

use coracle::seccomp::{Machine, compile};
use coracle::spec::seccomp::Seccomp;

use super::interpreter::run;
use super::profiles::{ACTIONS, SETS, base, engines, rule};
use super::{calls, oracle};

fn assert_exact(profile: &Seccomp) {
    let known = oracle::known(profile);
    let theirs = oracle::program(&known, Machine::X86_64).unwrap();
    let stub = oracle::Stub::new(&known, Machine::X86_64);
    let ours: Vec<_> = compile(profile).unwrap().instructions().collect();
    for call in calls(profile) {
        let expected = stub.answer(&call).unwrap_or_else(|| run(&theirs, &call));
        assert_eq!(run(&ours, &call), expected, "{call:x?} {profile:?}");
    }
}

#[test]
fn engines_profiles_are_those_of_runc() {
    for json in engines().keys() {
        assert_exact(&serde_json::from_str(json).unwrap());
    }
}

#[test]
fn small_profiles_are_those_of_runc() {
    for default in ACTIONS {
        for set in SETS {
            let mut profile = base(default, set);
            assert_exact(&profile);
            for names in [["read", "socket"], ["clock_gettime64", "no_such_call"]] {
                profile.syscalls.push(rule(&names, ACTIONS[0], Vec::new()));
                assert_exact(&profile);
            }
        }
    }
}
