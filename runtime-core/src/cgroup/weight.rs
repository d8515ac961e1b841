//! Weights of cgroup v1 in terms of cgroup v2.

/// `cpu.shares` of a new cgroup.
pub(super) const DEFAULT_SHARES: u64 = 1024;

/// `cpu.shares` (2 to 262144, by default 1024) as `cpu.weight` (1 to 10000, by default 100).
///
/// The curve that runc and crun use: the base-10 logarithm of the weight is quadratic in the
/// base-2 logarithm of the shares, so that minimum, default and maximum meet.
pub(super) fn from_shares(shares: u64) -> u16 {
    const MAX: u16 = 10_000;
    let Some(shares) = u32::try_from(shares).ok().filter(|shares| *shares < 262_144) else {
        return MAX;
    };
    if shares <= 2 {
        return 1;
    }
    let log = f64::from(shares).log2();
    let exact = 10_f64.powf((log * log + 125.0 * log) / 612.0 - 7.0 / 34.0);
    // The least whole weight that is not below; the margin is for the rounding of the powers.
    let (mut low, mut high) = (1, MAX);
    while low < high {
        let middle = low.midpoint(high);
        if f64::from(middle) + 1e-6 < exact {
            low = middle + 1;
        } else {
            high = middle;
        }
    }
    low
}

/// A block I/O weight of 10 to 1000 as `io.weight` of 1 to 10000.
pub(super) fn from_block_io(weight: u16) -> u32 {
    1 + u32::from(weight.saturating_sub(10)) * 9_999 / 990
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_meet_minimum_default_and_maximum() {
        for (shares, weight) in
            [(0, 1), (2, 1), (3, 2), (1024, 100), (262_143, 10_000), (262_144, 10_000)]
        {
            assert_eq!(from_shares(shares), weight, "{shares}");
        }
        assert_eq!(from_shares(u64::MAX), 10_000);
    }

    #[test]
    fn more_shares_never_weigh_less() {
        let weights: Vec<u16> = (0..300_000).map(from_shares).collect();
        assert!(weights.is_sorted());
    }

    #[test]
    fn block_io_ends() {
        assert_eq!((from_block_io(10), from_block_io(1000), from_block_io(0)), (1, 10_000, 1));
    }
}
