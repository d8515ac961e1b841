//! Pressure stall information (kernel documentation, accounting/psi).

use serde::Serialize;

use super::figures::Files;
use crate::error::Result;

/// The time that tasks waited for a resource.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct Pressure {
    /// At least one task waited.
    pub some: PressureShare,
    /// All tasks waited.
    pub full: PressureShare,
}

/// A share of the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize)]
#[non_exhaustive]
pub struct PressureShare {
    /// Percent of the last 10 seconds.
    pub avg10: f64,
    /// Percent of the last minute.
    pub avg60: f64,
    /// Percent of the last 5 minutes.
    pub avg300: f64,
    /// All of it, in microseconds.
    pub total: u64,
}

/// Reads a file such as `cpu.pressure`; `None` where the kernel keeps no account.
pub(super) fn read(files: &Files<'_>, file: &str) -> Result<Option<Pressure>> {
    Ok(files.text(file)?.map(|text| parse(&text)))
}

fn parse(text: &str) -> Pressure {
    let mut pressure = Pressure::default();
    for line in text.lines() {
        let mut words = line.split_ascii_whitespace();
        let share = match words.next() {
            Some("some") => &mut pressure.some,
            Some("full") => &mut pressure.full,
            _ => continue,
        };
        for (key, value) in words.filter_map(|word| word.split_once('=')) {
            match key {
                "avg10" => share.avg10 = value.parse().unwrap_or_default(),
                "avg60" => share.avg60 = value.parse().unwrap_or_default(),
                "avg300" => share.avg300 = value.parse().unwrap_or_default(),
                "total" => share.total = value.parse().unwrap_or_default(),
                _ => {}
            }
        }
    }
    pressure
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_lines() {
        let text = "some avg10=1.50 avg60=0.25 avg300=0.00 total=1234\n\
                    full avg10=0.00 avg60=0.00 avg300=0.10 total=7\n";
        let pressure = parse(text);
        assert_eq!((pressure.some.avg10, pressure.some.avg60), (1.5, 0.25));
        assert_eq!((pressure.some.total, pressure.full.total), (1234, 7));
        assert_eq!(parse("garbage\n"), Pressure::default());
    }
}
