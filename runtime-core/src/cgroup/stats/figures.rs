//! Reading the numbers in control files.

use std::collections::BTreeMap;

use nix::errno::Errno;

use super::BlockIoEntry;
use crate::cgroup::tree::Tree;
use crate::error::{Error, Result};

/// The files of one directory.
#[derive(Debug)]
pub(super) struct Files<'a> {
    pub(super) tree: &'a Tree,
    pub(super) directory: String,
}

impl Files<'_> {
    /// A whole file; `None` where there is none, the kernel keeps no account, or the cgroup has
    /// just gone.
    pub(super) fn text(&self, file: &str) -> Result<Option<String>> {
        match self.tree.read(&self.directory, file) {
            Ok(text) => Ok(Some(text)),
            Err(Errno::ENOENT | Errno::ENODEV | Errno::EOPNOTSUPP) => Ok(None),
            Err(errno) => {
                let path = self.tree.absolute(&format!("{}/{file}", self.directory));
                Err(Error::system("read", errno as i32).with_path(path))
            }
        }
    }

    /// A file with one number; `max` is the greatest one.
    pub(super) fn number(&self, file: &str) -> Result<Option<u64>> {
        Ok(self.text(file)?.and_then(|text| number(text.trim())))
    }

    /// A file of lines `KEY NUMBER`.
    pub(super) fn flat(&self, file: &str) -> Result<BTreeMap<String, u64>> {
        Ok(flat(&self.text(file)?.unwrap_or_default()))
    }

    /// A file of lines `KEY NAME=NUMBER NAME=NUMBER`.
    pub(super) fn nested(&self, file: &str) -> Result<BTreeMap<String, BTreeMap<String, u64>>> {
        Ok(nested(&self.text(file)?.unwrap_or_default()))
    }

    /// A list such as `0-3,7`.
    pub(super) fn list(&self, file: &str) -> Result<Vec<u16>> {
        Ok(list(self.text(file)?.unwrap_or_default().trim()))
    }
}

fn number(text: &str) -> Option<u64> {
    if text == "max" { Some(u64::MAX) } else { text.parse().ok() }
}

fn flat(text: &str) -> BTreeMap<String, u64> {
    let pair = |line: &str| {
        let (key, value) = line.split_once(' ')?;
        Some((key.to_owned(), number(value.trim())?))
    };
    text.lines().filter_map(pair).collect()
}

fn nested(text: &str) -> BTreeMap<String, BTreeMap<String, u64>> {
    let pair = |word: &str| {
        let (key, value) = word.split_once('=')?;
        Some((key.to_owned(), number(value)?))
    };
    let line = |line: &str| {
        let (key, rest) = line.split_once(' ')?;
        Some((key.to_owned(), rest.split_ascii_whitespace().filter_map(pair).collect()))
    };
    text.lines().filter_map(line).collect()
}

fn list(text: &str) -> Vec<u16> {
    let range = |part: &str| {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        Some(first.parse::<u16>().ok()?..=last.parse::<u16>().ok()?)
    };
    text.split(',').filter_map(range).flatten().collect()
}

/// Numbers in a row.
pub(super) fn numbers(text: &str) -> Vec<u64> {
    text.split_ascii_whitespace().filter_map(|word| word.parse().ok()).collect()
}

/// Lines `MAJOR:MINOR OPERATION COUNT` of cgroup v1.
pub(super) fn entries(text: &str) -> Vec<BlockIoEntry> {
    let entry = |line: &str| {
        let mut words = line.split_ascii_whitespace();
        let (device, op, value) = (words.next()?, words.next()?, words.next()?);
        let (major, minor) = device.split_once(':')?;
        Some(BlockIoEntry {
            major: major.parse().ok()?,
            minor: minor.parse().ok()?,
            op: op.to_owned(),
            value: value.parse().ok()?,
        })
    };
    text.lines().filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form() {
        assert_eq!(flat("a 1\nb max\nbad\n"), [("a".into(), 1), ("b".into(), u64::MAX)].into());
        let io = nested("8:0 rbytes=5 wios=max x=y\n8:16\n");
        assert_eq!(io["8:0"], [("rbytes".into(), 5), ("wios".into(), u64::MAX)].into());
        assert_eq!(list("0-2,7"), [0, 1, 2, 7]);
        assert!(list("").is_empty());
        assert_eq!(numbers("3 4\n"), [3, 4]);
        let all = entries("253:0 Read 5\nTotal 5\n");
        assert_eq!((all.len(), all[0].major, &*all[0].op, all[0].value), (1, 253, "Read", 5));
    }
}
