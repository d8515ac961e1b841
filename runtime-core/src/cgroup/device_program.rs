//! The device filter of cgroup v2: a BPF program of the type `BPF_PROG_TYPE_CGROUP_DEVICE`
//! (kernel documentation, admin-guide/cgroup-v2, "Device controller"), assembled here.

use std::os::fd::{AsFd, BorrowedFd};

use super::conditions;
use super::devices::{Filter, Rule};
use crate::error::{Error, Result};
use crate::spec::resources::{Access, DeviceKind, DeviceRule};
use crate::sys::bpf::{
    Instruction, attach_device_program, attached_device_programs, detach_device_program,
    load_device_program, verifier_log,
};

/// Puts the filter for these rules on a cgroup v2 directory. `used`: the directory existed before,
/// and the runtime's old filters are taken off after the new one is in force.
pub(super) fn attach(cgroup: BorrowedFd<'_>, rules: &[DeviceRule], used: bool) -> Result<()> {
    let filter = Filter::new(rules).minimal();
    if filter.allow && filter.rules.is_empty() && !used {
        return Ok(());
    }
    let instructions = assemble(&filter);
    let program = match load_device_program(&instructions) {
        Ok(program) => program,
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => {
            return conditions::without_device_filter("no permission to load a BPF program");
        }
        Err(error) => return Err(refused(&instructions, &error)),
    };
    let old = if used {
        attached_device_programs(cgroup)
            .map_err(|error| failure("query the device filters of the cgroup", &error))?
    } else {
        Vec::new()
    };
    attach_device_program(cgroup, program.as_fd())
        .map_err(|error| failure("attach the BPF device filter", &error))?;
    for old in &old {
        detach_device_program(cgroup, old.as_fd())
            .map_err(|error| failure("detach the cgroup's old device filter", &error))?;
    }
    Ok(())
}

/// The verifier's last words say what it does not accept.
fn refused(instructions: &[Instruction], error: &std::io::Error) -> Error {
    let failure = failure("load the BPF device filter", error);
    let log = verifier_log(instructions);
    let last: Vec<&str> = log.trim_end().lines().rev().take(3).collect();
    match last.is_empty() {
        true => failure,
        false => {
            let words: Vec<&str> = last.into_iter().rev().collect();
            failure.with_hint(format!("the kernel's verifier says: {}", words.join("; ")))
        }
    }
}

fn failure(what: &str, error: &std::io::Error) -> Error {
    let failure = Error::io(what, error).with_field("linux.resources.devices");
    match error.raw_os_error() {
        Some(libc::ENOSYS | libc::EINVAL) => {
            failure.with_hint("the kernel needs CONFIG_CGROUP_BPF")
        }
        _ => failure,
    }
}

/// The verdict that the program returns.
const RESULT: u8 = 0;
/// The context: `struct bpf_cgroup_dev_ctx`.
const CONTEXT: u8 = 1;
/// The device's kind.
const KIND: u8 = 2;
/// The accesses that no rule has allowed yet.
const WANTED: u8 = 3;
/// The device's numbers.
const MAJOR: u8 = 4;
const MINOR: u8 = 5;

/// `BPF_ALU | BPF_MOV | BPF_K`, and so on: 32-bit operations, with a constant or a register.
const MOVE_CONSTANT: u8 = 0xb4;
const MOVE_REGISTER: u8 = 0xbc;
const AND_CONSTANT: u8 = 0x54;
const SHIFT_RIGHT: u8 = 0x74;
/// `BPF_LDX | BPF_MEM | BPF_W`.
const LOAD_WORD: u8 = 0x61;
/// `BPF_JMP32 | BPF_JNE | BPF_K` and `BPF_JMP32 | BPF_JEQ | BPF_K`.
const JUMP_UNLESS: u8 = 0x56;
const JUMP_IF: u8 = 0x16;
const EXIT: u8 = 0x95;

/// Makes the program. The rules are tried from the last to the first; an allowing one strikes what
/// it allows from the wanted accesses, and nothing left is a yes; a denying one that is about any
/// wanted access is a no. So each single access gets the verdict of the last rule about it.
fn assemble(filter: &Filter) -> Vec<Instruction> {
    let mut code = vec![
        load(KIND, 0),
        operation(MOVE_REGISTER, WANTED, KIND, 0),
        operation(AND_CONSTANT, KIND, 0, 0xffff),
        operation(SHIFT_RIGHT, WANTED, 0, 16),
        load(MAJOR, 4),
        load(MINOR, 8),
    ];
    for rule in filter.rules.iter().rev() {
        let body = verdict_of(rule);
        let mut tests = vec![(KIND, kind_number(rule.kind))];
        tests.extend(rule.major.0.map(|number| (MAJOR, number)));
        tests.extend(rule.minor.0.map(|number| (MINOR, number)));
        let mut distance = tests.len() + body.len();
        for (register, number) in tests {
            distance -= 1;
            code.push(jump(JUMP_UNLESS, register, number, distance));
        }
        code.extend(body);
    }
    code.extend(answer(filter.allow));
    code
}

/// What is done for a device that a rule is about.
fn verdict_of(rule: &Rule) -> Vec<Instruction> {
    let answer = answer(rule.allow);
    let bits = u32::from(rule.access.bits());
    let mut code = Vec::with_capacity(5);
    if rule.access != Access::ALL {
        if rule.allow {
            code.push(operation(AND_CONSTANT, WANTED, 0, !bits));
            code.push(jump(JUMP_UNLESS, WANTED, 0, answer.len()));
        } else {
            code.push(operation(MOVE_REGISTER, RESULT, WANTED, 0));
            code.push(operation(AND_CONSTANT, RESULT, 0, bits));
            code.push(jump(JUMP_IF, RESULT, 0, answer.len()));
        }
    }
    code.extend(answer);
    code
}

fn answer(allow: bool) -> [Instruction; 2] {
    [operation(MOVE_CONSTANT, RESULT, 0, u32::from(allow)), operation(EXIT, 0, 0, 0)]
}

/// `BPF_DEVCG_DEV_BLOCK` and `BPF_DEVCG_DEV_CHAR`.
fn kind_number(kind: DeviceKind) -> u32 {
    if kind == DeviceKind::Block { 1 } else { 2 }
}

const fn operation(code: u8, to: u8, from: u8, immediate: u32) -> Instruction {
    Instruction { code, registers: to | from << 4, offset: 0, immediate }
}

const fn load(to: u8, offset: i16) -> Instruction {
    Instruction { code: LOAD_WORD, registers: to | CONTEXT << 4, offset, immediate: 0 }
}

/// A jump over `distance` instructions, which is never more than the few of one rule.
fn jump(code: u8, register: u8, number: u32, distance: usize) -> Instruction {
    let offset = i16::try_from(distance).unwrap_or(i16::MAX);
    Instruction { code, registers: register, offset, immediate: number }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::spec::resources::Access;

    /// Runs a program as the kernel would: the verdict on an access to a device.
    fn run(code: &[Instruction], kind: DeviceKind, numbers: (u32, u32), access: Access) -> bool {
        let context = [kind_number(kind) | u32::from(access.bits()) << 16, numbers.0, numbers.1];
        let mut registers = [0_u32; 11];
        let mut at = 0;
        loop {
            let one = code[at];
            at += 1;
            let (to, from) = (usize::from(one.registers & 15), usize::from(one.registers >> 4));
            let skip = usize::try_from(one.offset).expect("forward");
            match one.code {
                MOVE_CONSTANT => registers[to] = one.immediate,
                MOVE_REGISTER => registers[to] = registers[from],
                AND_CONSTANT => registers[to] &= one.immediate,
                SHIFT_RIGHT => registers[to] >>= one.immediate,
                LOAD_WORD => registers[to] = context[skip / 4],
                JUMP_UNLESS if registers[to] != one.immediate => at += skip,
                JUMP_IF if registers[to] == one.immediate => at += skip,
                JUMP_UNLESS | JUMP_IF => {}
                EXIT => return registers[0] != 0,
                code => panic!("unknown instruction {code:#x}"),
            }
        }
    }

    #[test]
    fn what_the_verifier_says_is_in_the_error() {
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: needs root");
            return;
        }
        let mut code = program("[]");
        code.truncate(1);
        let error = load_device_program(&code).expect_err("a program without an end");
        let text = refused(&code, &error).to_string();
        assert!(text.contains("the kernel's verifier says: "), "{text}");
        assert!(text.contains("linux.resources.devices"), "{text}");
    }

    fn program(text: &str) -> Vec<Instruction> {
        let rules: Vec<DeviceRule> = serde_json::from_str(text).expect("rules");
        assemble(&Filter::new(&rules).minimal())
    }

    use DeviceKind::{Block, Character};

    #[test]
    fn the_default_devices_and_no_others() {
        let code = program(r#"[{"allow":false,"access":"rwm"}]"#);
        assert!(code.len() <= 62, "{} instructions", code.len());
        assert!(run(&code, Character, (1, 3), Access::READ.with(Access::WRITE)));
        assert!(run(&code, Character, (136, 77), Access::WRITE));
        assert!(run(&code, Block, (8, 0), Access::MKNOD));
        assert!(!run(&code, Block, (8, 0), Access::READ));
        assert!(!run(&code, Block, (1, 3), Access::READ));
        assert!(!run(&code, Character, (1, 1), Access::READ));
        assert!(!run(&code, Character, (8, 3), Access::MKNOD.with(Access::READ)));
    }

    #[test]
    fn each_access_has_the_verdict_of_the_last_rule_about_it() {
        let code = program(
            r#"[{"allow":true,"type":"b","access":"rw"},
                {"allow":false,"type":"b","major":8,"access":"w"},
                {"allow":true,"type":"b","major":8,"minor":4294967295,"access":"w"}]"#,
        );
        let both = Access::READ.with(Access::WRITE);
        assert!(run(&code, Block, (9, 0), both));
        assert!(run(&code, Block, (8, 0), Access::READ));
        assert!(!run(&code, Block, (8, 0), both));
        assert!(run(&code, Block, (8, u32::MAX), both));
    }

    #[test]
    fn all_allowed_but_one() {
        let code = program(
            r#"[{"allow":true,"access":"rwm"},
                {"allow":false,"type":"b","major":8,"minor":1,"access":"w"}]"#,
        );
        assert!(run(&code, Block, (8, 2), Access::ALL));
        assert!(run(&code, Block, (8, 1), Access::READ));
        assert!(!run(&code, Block, (8, 1), Access::ALL));
    }
}
