//! The maps in crun's mount option `idmap=`: `uids=FIRST-HOST-SIZE#...;gids=...`.
//!
//! The first id of a range is that of the file system, the second the one it is shown as. With `@` before
//! a range the second is an id of the container, which its user namespace maps to the one on the host.

use super::IdMaps;
use crate::spec::IdMapping;

/// Reads the option's value.
pub(super) fn read(text: &str, container: Option<&IdMaps>) -> Result<IdMaps, &'static str> {
    let mut maps = IdMaps { uid: Vec::new(), gid: Vec::new() };
    for part in text.split(';') {
        let (ids, ranges, within) = match part.split_once('=') {
            Some(("uids", ranges)) => (&mut maps.uid, ranges, container.map(|maps| &maps.uid)),
            Some(("gids", ranges)) => (&mut maps.gid, ranges, container.map(|maps| &maps.gid)),
            _ => return Err("only uids= and gids= are known, with ; between them"),
        };
        let within = within.map_or(&[][..], Vec::as_slice);
        for range in ranges.split('#') {
            ids.push(mapping(range, within)?);
        }
    }
    if maps.uid.is_empty() || maps.gid.is_empty() {
        return Err("uids= and gids= go together");
    }
    Ok(maps)
}

fn mapping(range: &str, container: &[IdMapping]) -> Result<IdMapping, &'static str> {
    const FAULT: &str = "a range is not FIRST-HOST-SIZE";
    let (relative, range) = match range.strip_prefix('@') {
        Some(range) => (true, range),
        None => (false, range),
    };
    let mut numbers = range.split('-').map(|number| number.parse::<u32>().map_err(|_| FAULT));
    let mut next = || numbers.next().unwrap_or(Err(FAULT));
    let (first, host, size) = (next()?, next()?, next()?);
    if numbers.next().is_some() || size == 0 {
        return Err(FAULT);
    }
    let host = if relative { on_host(host, size, container)? } else { host };
    Ok(IdMapping { container_id: first, host_id: host, size })
}

/// What the first of `size` ids of the container is on the host.
fn on_host(id: u32, size: u32, container: &[IdMapping]) -> Result<u32, &'static str> {
    let found = container.iter().find_map(|range| {
        let offset = id.checked_sub(range.container_id).filter(|offset| *offset < range.size)?;
        Some((range, offset))
    });
    let (range, offset) = found.ok_or("the container's user namespace has no such id")?;
    // What lies behind is other ids of the host, which may be another container's.
    if size > range.size - offset {
        return Err("the range goes beyond the one of the container's user namespace");
    }
    range.host_id.checked_add(offset).ok_or("the container's user namespace has no such id")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn map(container_id: u32, host_id: u32, size: u32) -> IdMapping {
        IdMapping { container_id, host_id, size }
    }

    #[test]
    fn ranges_are_absolute_or_the_containers() {
        let maps = read("uids=0-1-10#10-11-10;gids=0-100-10", None).expect("maps");
        assert_eq!(maps.uid, [map(0, 1, 10), map(10, 11, 10)]);
        assert_eq!(maps.gid, [map(0, 100, 10)]);
        let container =
            IdMaps { uid: vec![map(0, 0, 1), map(1, 2, 1000)], gid: vec![map(0, 5000, 10)] };
        let maps = read("uids=@1-3-10;gids=@0-2-1#7-8-1", Some(&container)).expect("maps");
        assert_eq!(maps.uid, [map(1, 4, 10)]);
        assert_eq!(maps.gid, [map(0, 5002, 1), map(7, 8, 1)]);
    }

    #[test]
    fn a_range_ends_with_the_containers() {
        let container =
            IdMaps { uid: vec![map(0, 100, 10), map(10, 500, 10)], gid: vec![map(0, 0, u32::MAX)] };
        let of = |uids: &str| read(&format!("uids={uids};gids=0-0-1"), Some(&container));
        assert_eq!(of("@0-5-5").expect("to the end").uid, [map(0, 105, 5)]);
        for beyond in ["@0-5-6", "@0-0-11", "@0-0-20", "@0-19-2", "@0-9-4294967295", "@0-20-1"] {
            assert!(of(beyond).is_err(), "{beyond}");
        }
    }

    #[test]
    fn what_is_no_map_is_refused() {
        for text in [
            "",
            "uids=0-1-10",
            "uids=;gids=0-1-1",
            "uids=0-1;gids=0-1-1",
            "uids=0-1-2-3;gids=0-1-1",
            "uids=0-1-0;gids=0-1-1",
            "uids=a-1-1;gids=0-1-1",
            "both=0-1-1",
            "uids=@0-1-1;gids=0-1-1",
        ] {
            assert!(read(text, None).is_err(), "{text}");
        }
    }
}
