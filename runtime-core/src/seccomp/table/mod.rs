//! The names and numbers of the system calls, per machine.

pub(super) mod arm;
pub(super) mod x86;

/// The number of a call that a calling convention does not have.
pub(super) const NO: u32 = u32::MAX;

/// The number of socketcall(2) of 32-bit x86, which leads to many calls by its first argument.
pub(super) const SOCKETCALL: u32 = 102;

/// The number of ipc(2) of 32-bit x86, which leads to many calls by its first argument.
pub(super) const IPC: u32 = 117;

/// A name, padded with zeros, as big-endian words: they sort as the names do, compare in a few
/// instructions, and need no relocation when the program starts.
type Key = [u64; 4];

/// A system call: its name and its numbers, one for each calling convention of the machine.
#[derive(Debug)]
pub(super) struct Row<const N: usize> {
    key: Key,
    numbers: [u32; N],
    multiplexed: Option<Multiplexed>,
}

/// A system call that 32-bit x86 has (also) behind another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Multiplexed {
    /// The call to make.
    pub(super) number: u32,
    /// Its first argument.
    pub(super) code: u32,
}

/// What a machine knows by a name.
#[derive(Clone, Copy, Debug)]
pub(super) struct Call {
    /// The numbers, one for each calling convention, [`NO`] where there is none.
    pub(super) numbers: &'static [u32],
    /// How 32-bit x86 also reaches it.
    pub(super) multiplexed: Option<Multiplexed>,
}

const fn row<const N: usize>(name: &str, numbers: [u32; N]) -> Row<N> {
    match key(name) {
        Some(key) => Row { key, numbers, multiplexed: None },
        None => Row { key: [u64::MAX; 4], numbers, multiplexed: None },
    }
}

impl<const N: usize> Row<N> {
    const fn through(mut self, number: u32, code: u32) -> Self {
        self.multiplexed = Some(Multiplexed { number, code });
        self
    }
}

/// The key of a name; none for one that is longer than any.
const fn key(name: &str) -> Option<Key> {
    if name.len() > 32 {
        return None;
    }
    let mut words = [0; 4];
    let (mut rest, mut left): (&[u8], &mut [u64]) = (name.as_bytes(), &mut words);
    while let Some((word, after)) = left.split_first_mut() {
        let mut shift = 64;
        while shift > 0 {
            shift -= 8;
            if let Some((byte, bytes)) = rest.split_first() {
                *word |= (*byte as u64) << shift;
                rest = bytes;
            }
        }
        left = after;
    }
    Some(words)
}

/// Looks a name up in the sorted rows of a machine.
pub(super) fn find<const N: usize>(rows: &'static [Row<N>], name: &str) -> Option<Call> {
    let key = key(name)?;
    let index = rows.binary_search_by(|row| row.key.cmp(&key)).ok()?;
    let row = rows.get(index)?;
    Some(Call { numbers: &row.numbers, multiplexed: row.multiplexed })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_sorted_and_without_duplicates() {
        assert!(x86::CALLS.windows(2).all(|pair| pair[0].key < pair[1].key));
        assert!(arm::CALLS.windows(2).all(|pair| pair[0].key < pair[1].key));
        assert!(x86::CALLS.iter().all(|row| row.key != [u64::MAX; 4]));
        assert!(arm::CALLS.iter().all(|row| row.key != [u64::MAX; 4]));
    }

    #[test]
    fn finds_what_is_there_and_nothing_else() {
        assert_eq!(find(x86::CALLS, "read").unwrap().numbers, [0, 3, 0]);
        assert_eq!(find(x86::CALLS, "file_setattr").unwrap().numbers, [469, 469, 469]);
        assert_eq!(find(x86::CALLS, "_llseek").unwrap().numbers, [NO, 140, NO]);
        assert_eq!(find(arm::CALLS, "openat").unwrap().numbers, [56, 322]);
        let socket = find(x86::CALLS, "socket").unwrap().multiplexed;
        assert_eq!(socket, Some(Multiplexed { number: 102, code: 1 }));
        for name in ["", "rea", "readd", "READ", "no_such_call", &"r".repeat(33)] {
            assert!(find(x86::CALLS, name).is_none(), "{name}");
        }
    }
}
