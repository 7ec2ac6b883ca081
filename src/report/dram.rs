//! The report of a trace replayed on DRAM with banks: plain data, its JSON, and its lines on the terminal.
//!
//! Field names are the names in the JSON. Not here: how anything is computed (`pipeline`).

use super::human;
use super::json::pretty;
use super::ratio;
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// One trace, from closed banks to its last data. Cycles are those of DRAM's command clock.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DramReport {
    /// The chip's name.
    pub chip: String,
    /// Cycles to the last data's end.
    pub dram_cycles: u64,
    /// Bursts read.
    pub reads: u64,
    /// Bursts written.
    pub writes: u64,
    /// Requests that found their row open.
    pub row_hits: u64,
    /// Requests that found their bank closed.
    pub row_misses: u64,
    /// Requests that found another row open.
    pub row_conflicts: u64,
    /// Refreshes, one a rank and channel each.
    pub refreshes: u64,
    /// Bytes of all bursts over the time of `dram_cycles`.
    pub bandwidth_bytes_per_s: f64,
    /// Bytes that all channels' buses could move in a second.
    pub peak_bytes_per_s: f64,
    /// Energy of activates, reads, writes and refreshes in picojoules.
    pub energy_pj: f64,
    /// Cycles from a read's entry into the queue to its last data's end, a mean; 0 where nothing is read.
    pub average_latency_cycles: f64,
}

/// The report as JSON, ending in a newline.
pub fn dram_json(report: &DramReport) -> String {
    pretty(report)
}

/// The report for people: a few aligned lines without colour.
pub fn dram_terminal(report: &DramReport) -> String {
    let requests = report.reads + report.writes;
    let share = |some: u64| format!("{} ({})", human::count(some), human::percent(ratio(some as f64, requests as f64)));
    let lines = [
        ("chip", report.chip.clone()),
        ("requests", format!("{} reads   {} writes", human::count(report.reads), human::count(report.writes))),
        (
            "rows",
            format!("{} hits   {} misses   {} conflicts", share(report.row_hits), share(report.row_misses), share(report.row_conflicts)),
        ),
        ("cycles", format!("{} of the command clock   {} refreshes", human::count(report.dram_cycles), human::count(report.refreshes))),
        (
            "bus",
            format!(
                "{} ({} of its peak)",
                human::si(report.bandwidth_bytes_per_s, "B/s"),
                human::percent(ratio(report.bandwidth_bytes_per_s, report.peak_bytes_per_s))
            ),
        ),
        ("latency", format!("{} cycles a read, a mean", human::about(report.average_latency_cycles))),
        ("energy", human::energy(report.energy_pj)),
    ];
    let mut text = String::new();
    for (name, facts) in lines {
        let _ = writeln!(text, "{name:<9}{facts}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> DramReport {
        DramReport {
            chip: "edge-16x16".to_owned(),
            dram_cycles: 123_456,
            reads: 20_000,
            writes: 5_000,
            row_hits: 24_000,
            row_misses: 900,
            row_conflicts: 100,
            refreshes: 13,
            bandwidth_bytes_per_s: 1.555e10,
            peak_bytes_per_s: 1.92e10,
            energy_pj: 2.6e8,
            average_latency_cycles: 141.25,
        }
    }

    #[test]
    fn json_has_the_fields_in_the_order_of_the_contract() {
        let text = dram_json(&report());
        let mut from = 0;
        for field in [
            "dram_cycles",
            "reads",
            "writes",
            "row_hits",
            "row_misses",
            "row_conflicts",
            "refreshes",
            "bandwidth_bytes_per_s",
            "energy_pj",
            "average_latency_cycles",
        ] {
            let at = text[from..].find(&format!("\n  \"{field}\": ")).unwrap_or_else(|| panic!("{field} is missing: {text}"));
            from += at + 1;
        }
        assert_eq!(serde_json::from_str::<DramReport>(&text).unwrap(), report());
    }

    #[test]
    fn a_report_is_pleasant_to_read() {
        let text = dram_terminal(&report());
        insta::assert_snapshot!(text);
        assert!(text.lines().all(|line| line.chars().count() <= 100 && !line.ends_with(' ')));
    }
}
