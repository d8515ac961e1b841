//! Lists of processors and memory nodes such as `0-3,7` (cpuset(7), "List format").

use crate::error::{Error, ErrorKind, Result};

/// More than any kernel has (`NR_CPUS` is 8192 at most, `MAX_NUMNODES` 1024).
pub(crate) const MOST: usize = 8192;

/// The bits of a list, in whole words of the kernel; none of an empty list.
///
/// # Errors
/// [`ErrorKind::InvalidSpec`] for what is no list.
pub(crate) fn words(list: &str) -> Result<Vec<u8>> {
    let fault = || {
        let message = format!("{list:?} is not a list like 0-3,7");
        Error::new(ErrorKind::InvalidSpec, message)
    };
    if list.trim().is_empty() {
        return Ok(Vec::new());
    }
    let mut bits = Vec::new();
    for part in list.split(',').map(str::trim) {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let number = |text: &str| number(text.trim());
        let (Some(first), Some(last)) = (number(first), number(last)) else {
            return Err(fault());
        };
        if first > last {
            return Err(fault());
        }
        if bits.len() <= last {
            bits.resize((last / 64 + 1) * 64, false);
        }
        bits.iter_mut().take(last + 1).skip(first).for_each(|bit| *bit = true);
    }
    let words = bits
        .chunks(64)
        .map(|word| word.iter().rev().fold(0_u64, |sum, bit| sum << 1 | u64::from(*bit)));
    Ok(words.flat_map(u64::to_ne_bytes).collect())
}

fn number(text: &str) -> Option<usize> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse().ok().filter(|number| digits && *number < MOST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_become_words() {
        let numbers = |list: &str| {
            let bytes = words(list).expect(list);
            bytes
                .chunks_exact(8)
                .map(|word| u64::from_ne_bytes(word.try_into().expect("eight")))
                .collect::<Vec<_>>()
        };
        assert!(numbers("").is_empty());
        assert_eq!(numbers("0-2, 5\n"), [0b10_0111]);
        assert_eq!(numbers("64,1"), [2, 1]);
        for bad in ["x", "1-", "3-1", "-1", "8192", "1..2", "1,,2", "1,", "+1"] {
            words(bad).expect_err(bad);
        }
    }
}
