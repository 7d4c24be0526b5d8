//! What a person reads at the end, and what stands in the table of runs.

use std::fmt::Write as _;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;

use crate::runner::{Discarded, Outcome, Summary, Verdict};
use crate::workload::{Better, Gauge};
use crate::{Context, Result};

/// One workload's outcome for the terminal.
pub fn text(path: &str, outcome: &Outcome) -> String {
    let spec = &outcome.spec;
    let mut lines = vec![
        format!("path {path}: {}", spec.name),
        format!("  ours       {}", side(&outcome.ours, spec.unit)),
        format!(
            "  reference  {} ({})",
            side(&outcome.reference, spec.reference_unit),
            spec.reference
        ),
    ];
    if let Some(rate) = outcome.fsync_rate {
        lines.push(format!("  disk       {} fsync/s", number(rate)));
    }
    lines.push(format!(
        "  ratio      {}, {} pairs{}",
        interval(outcome),
        outcome.kept,
        discarded(outcome.discarded)
    ));
    lines.push(format!(
        "  {}: floor {}, goal {}",
        in_words(outcome.verdict()),
        limit(spec.better, spec.floor),
        limit(spec.better, spec.goal)
    ));
    lines.extend(outcome.gauges.iter().map(gauge));
    if outcome.ours.generator_busy.max(outcome.reference.generator_busy) > 0.9 {
        lines
            .push("  careful: the generator was busy all the time, so it was the limit".to_owned());
    }
    lines.join("\n") + "\n"
}

fn side(summary: &Summary, unit: &str) -> String {
    let mut line = format!("{} {unit}", number(summary.measure));
    if let Some(latency) = summary.latency {
        let [p50, p99] = [latency.p50, latency.p99].map(|time| number(time.as_secs_f64() * 1e3));
        // Writing to a string cannot fail.
        let _ = write!(line, ", p50 {p50} ms, p99 {p99} ms");
    }
    if summary.generator_busy > 0.0 {
        let _ = write!(line, ", generator busy {:.0} %", summary.generator_busy * 100.0);
    }
    line
}

fn interval(outcome: &Outcome) -> String {
    outcome.ratio.map_or("none".to_owned(), |ratio| {
        format!("{:.3} [{:.3} .. {:.3}]", ratio.median, ratio.low, ratio.high)
    })
}

fn discarded(discarded: Discarded) -> String {
    let Discarded { steal, fsync, drift } = discarded;
    if discarded == Discarded::default() {
        return String::new();
    }
    format!(" (discarded: {steal} by steal, {fsync} by the disk, {drift} by drift)")
}

fn gauge(gauge: &Gauge) -> String {
    format!(
        "  {}: {} {} ({}: floor {}, goal {})",
        gauge.name,
        number(gauge.value),
        gauge.unit,
        in_words(gauge.verdict()),
        limit(gauge.better, gauge.floor),
        limit(gauge.better, gauge.goal)
    )
}

fn limit(better: Better, limit: f64) -> String {
    match better {
        Better::Higher => format!(">= {limit}"),
        Better::Lower => format!("<= {limit}"),
        Better::Equal => format!("1 +- {limit}"),
    }
}

fn in_words(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Goal => "GOAL REACHED",
        Verdict::Floor => "floor reached",
        Verdict::Below => "BELOW THE FLOOR",
        Verdict::Disturbed => "DISTURBED, too few pairs to judge",
    }
}

/// Three significant digits, thousands apart.
fn number(value: f64) -> String {
    if !value.is_finite() {
        return "-".to_owned();
    }
    if value.abs() < 1000.0 {
        let digits = if value == 0.0 { 0 } else { value.abs().log10().floor() as i32 };
        let decimals = usize::try_from(2 - digits).unwrap_or(0);
        return format!("{value:.decimals$}");
    }
    let whole = format!("{value:.0}");
    let mut out = String::new();
    for (place, digit) in whole.chars().enumerate() {
        if place > 0 && (whole.len() - place).is_multiple_of(3) && !out.ends_with('-') {
            out.push(' ');
        }
        out.push(digit);
    }
    out
}

/// Appends the outcomes to a Markdown file, as a table under the machine's facts.
pub fn append_markdown(file: &Path, facts: &str, outcomes: &[(&str, Outcome)]) -> Result<()> {
    let text = markdown(facts, outcomes);
    let mut file =
        OpenOptions::new().create(true).append(true).open(file).context(file.display())?;
    Ok(file.write_all(text.as_bytes())?)
}

fn markdown(facts: &str, outcomes: &[(&str, Outcome)]) -> String {
    const HEAD: [&str; 10] = [
        "path",
        "workload",
        "ours",
        "reference",
        "ratio",
        "90 %",
        "pairs",
        "floor",
        "goal",
        "verdict",
    ];
    let mut rows = vec![HEAD.map(str::to_owned).to_vec(), vec!["---".to_owned(); HEAD.len()]];
    for (path, outcome) in outcomes {
        rows.push(ratio_row(path, outcome));
        rows.extend(outcome.gauges.iter().map(|gauge| gauge_row(path, gauge)));
    }
    let lines: Vec<String> =
        rows.iter().map(|cells| format!("| {} |", cells.join(" | "))).collect();
    format!("\n{facts}\n\n{}\n", lines.join("\n"))
}

fn ratio_row(path: &str, outcome: &Outcome) -> Vec<String> {
    let spec = &outcome.spec;
    let shown = |value: Option<f64>| value.map_or("-".to_owned(), |value| format!("{value:.3}"));
    let ends = outcome.ratio.map(|ratio| format!("{:.3} .. {:.3}", ratio.low, ratio.high));
    vec![
        path.to_owned(),
        format!("{} (by {})", spec.name, spec.reference),
        format!("{} {}", number(outcome.ours.measure), spec.unit),
        format!("{} {}", number(outcome.reference.measure), spec.reference_unit),
        shown(outcome.ratio.map(|ratio| ratio.median)),
        ends.unwrap_or_else(|| "-".to_owned()),
        outcome.kept.to_string(),
        limit(spec.better, spec.floor),
        limit(spec.better, spec.goal),
        in_words(outcome.verdict()).to_lowercase(),
    ]
}

fn gauge_row(path: &str, gauge: &Gauge) -> Vec<String> {
    let mut cells = vec![path.to_owned(), gauge.name.to_owned()];
    cells.push(format!("{} {}", number(gauge.value), gauge.unit));
    cells.extend(["-"; 4].map(str::to_owned));
    cells.extend([limit(gauge.better, gauge.floor), limit(gauge.better, gauge.goal)]);
    cells.push(in_words(gauge.verdict()).to_lowercase());
    cells
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Interval;

    fn outcome() -> Outcome {
        let side = |measure| Summary { measure, latency: None, generator_busy: 0.0 };
        Outcome {
            spec: crate::paths::bare::HTTP.spec,
            ratio: Some(Interval { low: 0.99, median: 1.0, high: 1.01 }),
            kept: 21,
            wanted: 21,
            discarded: Discarded { steal: 1, fsync: 0, drift: 2 },
            ours: side(51_234.0),
            reference: side(0.012_34),
            fsync_rate: None,
            gauges: vec![Gauge {
                name: "idle memory",
                unit: "MiB",
                value: 25.0,
                better: Better::Lower,
                floor: 30.0,
                goal: 18.0,
            }],
        }
    }

    #[test]
    fn numbers_have_three_digits_and_thousands_apart() {
        let shown = [0.0, 0.012_34, 1.5, 12.345, 999.4, 1000.0, 1_234_567.8].map(number);
        assert_eq!(shown, ["0.00", "0.0123", "1.50", "12.3", "999", "1 000", "1 234 568"]);
        assert_eq!(number(f64::NAN), "-");
    }

    #[test]
    fn the_report_says_everything_a_reader_needs() {
        let text = text("x", &outcome());
        for part in ["51 234 req/s", "1.000 [0.990 .. 1.010]", "1 by steal", "GOAL", "25.0 MiB"] {
            assert!(text.contains(part), "{part} is not in\n{text}");
        }
        assert!(!text.contains("careful"));
    }

    #[test]
    fn every_row_of_the_table_has_as_many_cells_as_its_head() {
        let table = markdown("facts", &[("x", outcome())]);
        let cells: Vec<usize> = table
            .lines()
            .filter(|line| line.starts_with('|'))
            .map(|line| line.matches('|').count())
            .collect();
        assert_eq!(cells, [11, 11, 11, 11]);
    }
}
