//! The results as a bar chart in SVG: one panel per quantity, one bar per runtime, readable on light
//! and dark pages.

use crate::bench::Series;
use crate::statistics::{Summary, count, summarize};
use crate::table::format;

const WIDTH: f64 = 780.0;
/// Where the bars begin; left of it stand the names.
const LEFT: f64 = 150.0;
/// The longest bar; right of it stands the value.
const LONGEST: f64 = 500.0;
const BAR: f64 = 18.0;
const GAP: f64 = 6.0;
const PANEL_HEAD: f64 = 30.0;
const PANEL_FOOT: f64 = 14.0;
const HEAD: f64 = 64.0;

/// The colours of the bars by runtime; others share the last one. They keep a contrast of at least
/// 3:1 on white and on dark grey.
const COLOURS: [(&str, &str); 5] = [
    ("coracle", "#2f81f7"),
    ("crun", "#c4751b"),
    ("runc", "#a15fd0"),
    ("floor", "#7d8590"),
    ("", "#3a9a5b"),
];

/// Draws the panels in the order of the table.
pub(crate) fn draw(series: &[Series], subtitle: &str) -> String {
    let mut body = String::new();
    let mut top = HEAD;
    for series in series {
        top += panel(&mut body, series, top);
    }
    let height = top + 10.0;
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {WIDTH} {height}\" \
         width=\"{WIDTH}\" height=\"{height}\" role=\"img\" aria-label=\"OCI runtimes side by side\">\n\
         {STYLE}\n\
         <rect class=\"page\" width=\"{WIDTH}\" height=\"{height}\" rx=\"8\"/>\n\
         <text class=\"title\" x=\"20\" y=\"30\">OCI runtimes side by side (shorter is better; tick: the fastest round)</text>\n\
         <text class=\"small\" x=\"20\" y=\"50\">{}</text>\n{body}</svg>\n",
        escape(subtitle)
    )
}

const STYLE: &str = "<style>\
    .page{fill:#fff}.title{font-size:17px;font-weight:600}.head{font-size:14px;font-weight:600}\
    .small{font-size:12px}.mark{stroke:#1f2328;stroke-width:1.5}.axis{stroke:#8b949e}\
    text{font-family:system-ui,sans-serif;fill:#1f2328;font-size:13px}.name{text-anchor:end}\
    @media(prefers-color-scheme:dark){.page{fill:#161b22}text{fill:#e6edf3}\
    .mark{stroke:#e6edf3}.axis{stroke:#6e7681}}</style>";

/// Draws one quantity and gives the height it took.
fn panel(body: &mut String, series: &Series, top: f64) -> f64 {
    let bars: Vec<(&str, Summary)> = series
        .runtimes
        .iter()
        .filter_map(|values| Some((values.runtime.as_str(), summarize(&values.values)?)))
        .collect();
    let most = bars.iter().map(|(_, summary)| summary.median).fold(0.0, f64::max);
    if most <= 0.0 {
        return 0.0;
    }
    let title = format!("{}: {} {}", series.row, series.metric, series.unit);
    let head = top + 18.0;
    body.push_str(&format!(
        "<text class=\"head\" x=\"20\" y=\"{head:.1}\">{}</text>\n",
        escape(title.trim_end())
    ));
    for (index, (name, summary)) in bars.iter().enumerate() {
        let y = top + PANEL_HEAD + count(index) * (BAR + GAP);
        bar(body, name, summary, LONGEST / most, y);
    }
    let inside = count(bars.len()) * (BAR + GAP);
    let (from, to) = (top + PANEL_HEAD - 3.0, top + PANEL_HEAD + inside - 3.0);
    body.push_str(&format!(
        "<line class=\"axis\" x1=\"{LEFT}\" x2=\"{LEFT}\" y1=\"{from:.1}\" y2=\"{to:.1}\"/>\n"
    ));
    PANEL_HEAD + inside + PANEL_FOOT
}

/// A bar as long as the median, with a tick at the minimum.
fn bar(body: &mut String, name: &str, summary: &Summary, scale: f64, y: f64) {
    let known = COLOURS.iter().find(|(runtime, _)| *runtime == name || runtime.is_empty());
    let colour = known.map_or("#3a9a5b", |(_, colour)| colour);
    let length = (summary.median * scale).max(1.0);
    let (text, value_x, name_x) = (y + 13.5, LEFT + length + 8.0, LEFT - 8.0);
    let (name, value) = (escape(name), format(summary.median));
    let (tick, from, to) = (LEFT + summary.min * scale, y + 3.0, y + BAR - 3.0);
    body.push_str(&format!(
        "<text class=\"name\" x=\"{name_x}\" y=\"{text:.1}\">{name}</text>\
         <rect x=\"{LEFT}\" y=\"{y:.1}\" width=\"{length:.1}\" height=\"{BAR}\" rx=\"2\" \
         fill=\"{colour}\"/>\
         <line class=\"mark\" x1=\"{tick:.1}\" x2=\"{tick:.1}\" y1=\"{from:.1}\" y2=\"{to:.1}\"/>\
         <text x=\"{value_x:.1}\" y=\"{text:.1}\">{value}</text>\n"
    ));
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use super::draw;
    use crate::bench::{Series, Values};

    fn series(values: &[(&str, f64)]) -> Series {
        let runtimes = values
            .iter()
            .map(|(name, value)| Values { runtime: (*name).into(), values: vec![*value] })
            .collect();
        Series { row: "run".into(), metric: "wall".into(), unit: "ms".into(), runtimes }
    }

    #[test]
    fn bars_are_proportional_to_medians() {
        let text = draw(&[series(&[("coracle", 1.0), ("runc", 4.0)])], "test");
        assert!(text.contains("width=\"125.0\" height=\"18\" rx=\"2\" fill=\"#2f81f7\""), "{text}");
        assert!(text.contains("width=\"500.0\" height=\"18\" rx=\"2\" fill=\"#a15fd0\""), "{text}");
        assert!(text.contains("run: wall ms"));
    }

    #[test]
    fn names_are_escaped_and_empty_panels_left_out() {
        let text = draw(&[series(&[("a<b&c", 2.0)]), series(&[("zero", 0.0)])], "x \"y\"");
        assert!(text.contains("a&lt;b&amp;c") && text.contains("x &quot;y&quot;"));
        assert!(!text.contains("zero"));
        assert_eq!(text.matches("<svg").count(), text.matches("</svg>").count());
    }

    #[test]
    fn both_colour_schemes_are_covered() {
        assert!(draw(&[], "").contains("prefers-color-scheme:dark"));
    }
}
