//! Median, percentiles and paired ratios.

use serde::Serialize;

/// The distribution of one series, in the unit of its values.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Summary {
    pub(crate) min: f64,
    pub(crate) median: f64,
    pub(crate) p90: f64,
}

/// The ratio of two series, round by round.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub(crate) struct Ratio {
    pub(crate) median: f64,
    pub(crate) p10: f64,
    pub(crate) p90: f64,
}

/// The value below which `part` (0 to 1) of the values lie, interpolated between neighbours.
pub(crate) fn percentile(values: &[f64], part: f64) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let steps = sorted.len().checked_sub(1)?;
    let position = part.clamp(0.0, 1.0) * count(steps);
    let lower = (0..=steps).rev().find(|index| count(*index) <= position)?;
    let (low, high) = (sorted.get(lower)?, sorted.get((lower + 1).min(steps))?);
    Some(low + (high - low) * (position - count(lower)))
}

/// The middle value.
pub(crate) fn median(values: &[f64]) -> Option<f64> {
    percentile(values, 0.5)
}

/// Minimum, median and 90th percentile; nothing for an empty series.
pub(crate) fn summarize(values: &[f64]) -> Option<Summary> {
    Some(Summary {
        min: percentile(values, 0.0)?,
        median: median(values)?,
        p90: percentile(values, 0.9)?,
    })
}

/// The distribution of `values / base`, pairing the values of the same round; rounds that one of
/// them lacks, and bases of zero, are left out.
pub(crate) fn ratio(values: &[f64], base: &[f64]) -> Option<Ratio> {
    let pairs = values.iter().zip(base).filter(|(_, base)| **base > 0.0);
    let ratios: Vec<f64> = pairs.map(|(value, base)| value / base).collect();
    Some(Ratio {
        median: median(&ratios)?,
        p10: percentile(&ratios, 0.1)?,
        p90: percentile(&ratios, 0.9)?,
    })
}

/// A count as a floating point number; exact below 2^32, which is far above any count here.
pub(crate) fn count(number: usize) -> f64 {
    u32::try_from(number).map_or(f64::INFINITY, f64::from)
}

#[cfg(test)]
mod tests {
    use super::{median, percentile, ratio, summarize};

    #[test]
    fn median_of_odd_and_even_counts() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median(&[7.0]), Some(7.0));
        assert_eq!(median(&[]), None);
    }

    #[test]
    fn percentiles_interpolate() {
        let values: Vec<f64> = (0..=10).map(f64::from).collect();
        assert_eq!(percentile(&values, 0.9), Some(9.0));
        assert_eq!(percentile(&[0.0, 10.0], 0.25), Some(2.5));
        assert_eq!(percentile(&values, 0.0), Some(0.0));
        assert_eq!(percentile(&values, 2.0), Some(10.0));
    }

    #[test]
    fn summary_ignores_the_order() {
        let summary = summarize(&[5.0, 1.0, 3.0]).unwrap();
        assert_eq!((summary.min, summary.median), (1.0, 3.0));
        assert!((summary.p90 - 4.6).abs() < 1e-9);
    }

    #[test]
    fn ratios_are_paired_by_round() {
        // Both series double from round to round; the ratio stays 3 although the medians vary.
        let found = ratio(&[3.0, 6.0, 12.0], &[1.0, 2.0, 4.0]).unwrap();
        assert_eq!((found.p10, found.median, found.p90), (3.0, 3.0, 3.0));
        assert_eq!(ratio(&[1.0, 2.0], &[0.0, 4.0]).unwrap().median, 0.5);
        assert_eq!(ratio(&[1.0], &[]), None);
    }
}
