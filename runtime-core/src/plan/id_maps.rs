//! The id maps of a user namespace.

use serde::{Deserialize, Serialize};

use crate::host::Host;
use crate::spec::IdMapping;

/// What ids of the container are outside (user_namespaces(7)).
#[derive(Clone, Debug, Default, Serialize, Deserialize, PartialEq, Eq)]
pub(crate) struct IdMaps {
    /// User ids.
    pub(crate) uid: Vec<IdMapping>,
    /// Group ids.
    pub(crate) gid: Vec<IdMapping>,
}

impl IdMaps {
    /// The id that stands for all that are not mapped (`/proc/sys/kernel/overflowuid`).
    const OVERFLOW: u32 = 65_534;

    /// The maps of a caller without privilege that were left to us: the process's ids stand for the
    /// caller's own, the other ids for those that are granted to the caller.
    pub(crate) fn automatic(host: &Host, (uid, gid): (u32, u32)) -> Self {
        Self {
            uid: around(uid, host.uid, host.subordinate.uid),
            gid: around(gid, host.gid, host.subordinate.gid),
        }
    }

    /// The ids under which the set-up runs inside: root if there is one, else the first mapped ones.
    pub(crate) fn identity(&self) -> (u32, u32) {
        let has_root = |map: &[IdMapping]| map.iter().any(|range| range.container_id == 0);
        let first = |map: &[IdMapping]| map.first().map_or(0, |range| range.container_id);
        if has_root(&self.uid) && has_root(&self.gid) {
            (0, 0)
        } else {
            (first(&self.uid), first(&self.gid))
        }
    }

    /// What an id of the container is outside.
    pub(crate) fn outside(map: &[IdMapping], id: u32) -> Option<u32> {
        map.iter().find_map(|range| {
            let offset = id.checked_sub(range.container_id)?;
            (offset < range.size).then(|| range.host_id.checked_add(offset))?
        })
    }

    /// What a user id of the caller's user namespace is inside; the kernel's overflow id if unmapped.
    pub(crate) fn inside(&self, host: u32) -> u32 {
        self.uid
            .iter()
            .find_map(|map| {
                let offset = host.checked_sub(map.host_id)?;
                (offset < map.size).then(|| map.container_id.wrapping_add(offset))
            })
            .unwrap_or(Self::OVERFLOW)
    }
}

/// The map of one id to the caller's own, with as many below and above it as the range has.
fn around(id: u32, own: u32, range: Option<(u32, u32)>) -> Vec<IdMapping> {
    let one = IdMapping { container_id: id, host_id: own, size: 1 };
    let (first, count) = range.unwrap_or_default();
    let below = id.min(count);
    let above = (count - below).min(u32::MAX - 1 - id);
    let map = |container_id, host_id, size| IdMapping { container_id, host_id, size };
    let mut maps = vec![
        map(0, first, below),
        one,
        map(id.saturating_add(1), first.saturating_add(below), above),
    ];
    maps.retain(|map| map.size > 0);
    maps
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn automatic_maps_put_the_callers_id_where_the_process_is() {
        let map = |container_id, host_id, size| IdMapping { container_id, host_id, size };
        assert_eq!(around(0, 1000, None), [map(0, 1000, 1)]);
        let range = Some((100_000, 10));
        assert_eq!(around(0, 1000, range), [map(0, 1000, 1), map(1, 100_000, 10)]);
        let three = [map(0, 100_000, 4), map(4, 1000, 1), map(5, 100_004, 6)];
        assert_eq!(around(4, 1000, range), three);
        assert_eq!(around(50, 1000, range), [map(0, 100_000, 10), map(50, 1000, 1)]);
    }

    #[test]
    fn ids_are_translated_or_overflow() {
        let map = |container_id, host_id, size| IdMapping { container_id, host_id, size };
        let maps = IdMaps { uid: vec![map(0, 1000, 1), map(1, 5000, 10)], gid: Vec::new() };
        assert_eq!(maps.inside(1000), 0);
        assert_eq!(maps.inside(5009), 10);
        assert_eq!(maps.inside(5010), 65_534);
        assert_eq!(IdMaps::outside(&maps.uid, 10), Some(5009));
        assert_eq!(IdMaps::outside(&maps.uid, 11), None);
    }
}
