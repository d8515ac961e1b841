//! Runs classic BPF, as far as seccomp filters use it.

use coracle::seccomp::Instruction;

/// A system call as a filter sees it: `struct seccomp_data`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Call {
    pub(crate) audit: u32,
    pub(crate) number: u32,
    pub(crate) arguments: [u64; 6],
}

impl Call {
    fn word(&self, offset: u32) -> u32 {
        match offset {
            0 => self.number,
            4 => self.audit,
            16..64 => {
                let bytes = self.arguments[(offset as usize - 16) / 8].to_ne_bytes();
                let (words, _) = bytes.as_chunks::<4>();
                u32::from_ne_bytes(words[usize::from(!offset.is_multiple_of(8))])
            }
            _ => panic!("load of word {offset}"),
        }
    }
}

/// What the filter returns for a call.
pub(crate) fn run(program: &[Instruction], call: &Call) -> u32 {
    let (mut a, mut next) = (0, 0);
    loop {
        let Instruction { code, jt, jf, k } = program[next];
        next += 1;
        let holds = match code {
            0x20 => {
                a = call.word(k);
                continue;
            }
            0x54 => {
                a &= k;
                continue;
            }
            0x05 => {
                next += k as usize;
                continue;
            }
            0x06 => return k,
            0x15 => a == k,
            0x25 => a > k,
            0x35 => a >= k,
            0x45 => a & k != 0,
            _ => panic!("instruction {code:#x}"),
        };
        next += usize::from(if holds { jt } else { jf });
    }
}

#[test]
fn runs_a_filter() {
    let instruction = |code, jt, jf, k| Instruction { code, jt, jf, k };
    let program = [
        instruction(0x20, 0, 0, 20),
        instruction(0x54, 0, 0, 0xf0),
        instruction(0x15, 0, 1, 0x10),
        instruction(0x06, 0, 0, 1),
        instruction(0x06, 0, 0, 2),
    ];
    let call = |value| Call { audit: 0, number: 0, arguments: [value, 0, 0, 0, 0, 0] };
    assert_eq!(run(&program, &call(0x1f_0000_0000)), 1);
    assert_eq!(run(&program, &call(0x2f_0000_001f)), 2);
}
