//! The results as a table and as JSON.

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::Outcome;
use crate::bench::{Bench, Series};
use crate::statistics::{median, ratio, summarize};
use crate::table::{Table, format};

/// The runtime that the others are compared to: coracle if it is there, else the first.
pub(crate) fn base(bench: &Bench) -> String {
    let names: Vec<&str> = bench.runtimes.iter().map(|runtime| runtime.name.as_str()).collect();
    let base = names.iter().find(|name| **name == "coracle").or(names.first());
    base.map_or_else(String::new, |name| (*name).to_owned())
}

/// The table, further tables and the notes.
pub(crate) fn text(bench: &Bench) -> String {
    let mut text = table(bench);
    for table in &bench.appendix {
        text.push_str(&format!("\n{table}"));
    }
    for note in &bench.notes {
        text.push_str(&format!("note: {note}\n"));
    }
    text
}

/// One line per runtime and quantity.
fn table(bench: &Bench) -> String {
    let base = base(bench);
    let against = format!("× {base}");
    let mut table =
        Table::new(&["row", "quantity", "runtime", "min", "median", "p90", &against, "10–90 %"]);
    for series in &bench.series {
        for values in &series.runtimes {
            let Some(summary) = summarize(&values.values) else {
                continue;
            };
            let pair = base_values(series, &base).and_then(|base| ratio(&values.values, base));
            let quantity = format!("{} {}", series.metric, series.unit);
            table.push(vec![
                series.row.clone(),
                quantity.trim_end().to_owned(),
                values.runtime.clone(),
                format(summary.min),
                format(summary.median),
                format(summary.p90),
                pair.map_or_else(String::new, |pair| format!("{:.2}", pair.median)),
                pair.map_or_else(String::new, |pair| format!("{:.2}–{:.2}", pair.p10, pair.p90)),
            ]);
        }
    }
    table.render()
}

/// A table of medians for a document: a line per quantity, a column per runtime, what a runtime takes
/// beside `base` in brackets. Quantities that are not of runtimes stay out.
pub(crate) fn markdown(bench: &Bench) -> String {
    let base = base(bench);
    let names: Vec<&str> = bench.runtimes.iter().map(|runtime| runtime.name.as_str()).collect();
    let mut text = format!("| | {} |\n|---|{}\n", names.join(" | "), "--:|".repeat(names.len()));
    for series in &bench.series {
        let cell = |name: &&str| cell(series, name, &base);
        let cells: Vec<String> = names.iter().map(cell).collect();
        if cells.iter().filter(|cell| !cell.is_empty()).count() > 1 {
            let unit = if series.unit.is_empty() { "" } else { ", " };
            let (row, metric, unit_name) = (&series.row, &series.metric, &series.unit);
            text.push_str(&format!(
                "| {row}: {metric}{unit}{unit_name} | {} |\n",
                cells.join(" | ")
            ));
        }
    }
    text.push_str(&format!("\n{}\n", subtitle(bench)));
    text
}

fn cell(series: &Series, name: &str, base: &str) -> String {
    let values = series.runtimes.iter().find(|values| values.runtime == name);
    let Some(median) = values.and_then(|values| median(&values.values)) else {
        return String::new();
    };
    let pair = values.zip(base_values(series, base));
    match pair.and_then(|(values, base)| ratio(&values.values, base)) {
        Some(ratio) if name != base => format!("{} ({:.2}×)", format(median), ratio.median),
        _ => format(median),
    }
}

/// The values that a series is compared to: those of `base`, or the first where it has none.
fn base_values<'a>(series: &'a Series, base: &str) -> Option<&'a [f64]> {
    let values = series.runtimes.iter().find(|values| values.runtime == base);
    values.or(series.runtimes.first()).map(|values| values.values.as_slice())
}

/// All values with their summaries, and what they were measured on.
pub(crate) fn json(bench: &Bench) -> Value {
    let base = base(bench);
    let series: Vec<Value> = bench.series.iter().map(|series| series_json(series, &base)).collect();
    let runtimes: Vec<Value> = bench
        .runtimes
        .iter()
        .map(|runtime| json!({"name": runtime.name, "path": runtime.path}))
        .collect();
    json!({
        "machine": machine(),
        "rounds": bench.options.rounds,
        "pause_ms": bench.options.pause.as_millis().to_string(),
        "base": base,
        "runtimes": runtimes,
        "series": series,
        "notes": bench.notes,
    })
}

fn series_json(series: &Series, base: &str) -> Value {
    let runtimes: Vec<Value> = series
        .runtimes
        .iter()
        .map(|values| {
            json!({
                "runtime": values.runtime,
                "summary": summarize(&values.values),
                "ratio": base_values(series, base).and_then(|base| ratio(&values.values, base)),
                "values": values.values,
            })
        })
        .collect();
    json!({
        "row": series.row, "metric": series.metric, "unit": series.unit, "runtimes": runtimes,
    })
}

/// Kernel, processor and count of CPUs.
pub(crate) fn machine() -> Value {
    let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
    let processors = read("/proc/cpuinfo");
    let model = processors.lines().find_map(|line| line.strip_prefix("model name"));
    json!({
        "kernel": read("/proc/sys/kernel/osrelease").trim(),
        "cpu": model.map_or("", |text| text.trim_start_matches([' ', '\t', ':'])),
        "cpus": std::thread::available_parallelism().map_or(0, std::num::NonZero::get),
    })
}

/// One line that says where and how was measured.
pub(crate) fn subtitle(bench: &Bench) -> String {
    let facts = machine();
    let text = |key: &str| facts.get(key).and_then(Value::as_str).unwrap_or_default().to_owned();
    let cpus = facts.get("cpus").and_then(Value::as_u64).unwrap_or(0);
    let rounds = bench.options.rounds;
    format!(
        "medians of {rounds} interleaved rounds; Linux {}, {cpus} CPUs, {}",
        text("kernel"),
        text("cpu")
    )
}

/// Writes the JSON file.
pub(crate) fn write_json(bench: &Bench, shims: &Bench, path: &Path) -> Outcome<()> {
    let mut all = json(bench);
    if let Some(fields) = all.as_object_mut() {
        fields.insert("shims".into(), json(shims));
    }
    Ok(fs::write(path, serde_json::to_vec_pretty(&all)?)?)
}
