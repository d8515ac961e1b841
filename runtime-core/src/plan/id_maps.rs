//! The id maps of a user namespace.

use serde::{Deserialize, Serialize};

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

#[cfg(test)]
mod tests {
    use super::*;

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
