//! The report of a layer table: a row a layer, as a table on the terminal, JSON or CSV.
//!
//! Field names are the names in JSON and CSV. Not here: how anything is computed (`pipeline`), and layer tables themselves (`topology`).

use super::csv::csv_of;
use super::json::pretty;
use super::terminal::{rendered, table};
use super::{human, ratio};
use serde::{Deserialize, Serialize};

/// Characters of a layer's name in the table, which has ten columns of numbers beside it.
const NAME_WIDTH: usize = 16;

/// One layer of a layer table, timed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopologyRow {
    /// The layer's name.
    pub layer: String,
    /// Vectors of activations.
    pub m: u64,
    /// Elements of each sum.
    pub k: u64,
    /// Outputs of each vector.
    pub n: u64,
    /// Products of `m` x `k` by `k` x `n` that the layer makes, one after the other: one for each group, as often as it is repeated. What follows
    /// counts them all.
    pub runs: u64,
    /// Passes of the array.
    pub passes: u64,
    /// Core cycles.
    pub total_cycles: u64,
    /// Useful multiply-accumulates over `total_cycles * R * C * lanes`, 0 to 1.
    pub utilization: f64,
    /// The share of the PEs that a pass fills, a mean over passes, 0 to 1.
    pub mapping_efficiency: f64,
    /// Elements of real activations that the array took in.
    pub input_reads: u64,
    /// Elements of real weights that the array took in.
    pub weight_reads: u64,
    /// Sums of real outputs that the array gave out, partial ones included.
    pub output_writes: u64,
}

/// All layers of a layer table, each alone on an empty array.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TopologyReport {
    /// The layers in the table's order.
    pub layers: Vec<TopologyRow>,
    /// Core cycles of all layers.
    pub total_cycles: u64,
}

/// The report as JSON, ending in a newline.
pub fn topology_json(report: &TopologyReport) -> String {
    pretty(report)
}

/// The layers as CSV, a header first, without a row of totals: a reader would take it for a layer.
///
/// # Panics
/// Never: it writes to memory.
pub fn topology_csv(report: &TopologyReport) -> String {
    csv_of(&report.layers)
}

/// The report for people: a table without colour, the totals in its last row.
pub fn topology_terminal(report: &TopologyReport) -> String {
    // Most tables have no groups and no repeats, and need no column of ones.
    let has_runs = report.layers.iter().any(|row| row.runs > 1);
    let with_runs = |before: [String; 4], runs: String, after: [String; 7]| -> Vec<String> {
        before.into_iter().chain(has_runs.then_some(runs)).chain(after).collect()
    };
    let own = str::to_owned;
    let last = ["passes", "cycles", "util", "mapped", "input\nreads", "weight\nreads", "output\nwrites"];
    let mut rows = table(&with_runs(["layer", "M", "K", "N"].map(own), own("runs"), last.map(own)), 1);
    for row in &report.layers {
        let size = [human::shorten(&row.layer, NAME_WIDTH), human::count(row.m), human::count(row.k), human::count(row.n)];
        let figures = [
            human::count(row.passes),
            human::count(row.total_cycles),
            human::percent(row.utilization),
            human::percent(row.mapping_efficiency),
            human::si(row.input_reads as f64, ""),
            human::si(row.weight_reads as f64, ""),
            human::si(row.output_writes as f64, ""),
        ];
        rows.add_row(with_runs(size, human::count(row.runs), figures));
    }
    // Many large layers together may have more reads than 64 bits count; the figure is rounded to three digits in any case.
    let sum = |figure: fn(&TopologyRow) -> u64| report.layers.iter().map(|row| figure(row) as f64).sum::<f64>();
    let useful: f64 = report.layers.iter().map(|row| row.utilization * row.total_cycles as f64).sum();
    let figures = [
        human::about(sum(|row| row.passes)),
        human::count(report.total_cycles),
        human::percent(ratio(useful, report.total_cycles as f64)),
        String::new(),
        human::si(sum(|row| row.input_reads), ""),
        human::si(sum(|row| row.weight_reads), ""),
        human::si(sum(|row| row.output_writes), ""),
    ];
    rows.add_row(with_runs(["all", "", "", ""].map(own), String::new(), figures));
    rendered("Layers, each alone on an empty array (util: MACs per cycle and PE; mapped: PEs that a pass fills)", &rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report() -> TopologyReport {
        let row = |layer: &str, m: u64, k: u64, n: u64| {
            let passes = k.div_ceil(16) * n.div_ceil(16);
            TopologyRow {
                layer: layer.to_owned(),
                m,
                k,
                n,
                runs: 1,
                passes,
                total_cycles: passes * (m + 46),
                utilization: ratio((m * k * n) as f64, (passes * (m + 46) * 256) as f64),
                mapping_efficiency: ratio((k * n) as f64, (passes * 256) as f64),
                input_reads: m * k * n.div_ceil(16),
                weight_reads: k * n,
                output_writes: m * n * k.div_ceil(16),
            }
        };
        let layers = vec![row("Conv1", 12_544, 147, 64), row("layer4.2.downsample, the 1 x 1 one", 49, 2048, 512), row("FC", 1, 512, 1000)];
        TopologyReport { total_cycles: layers.iter().map(|row| row.total_cycles).sum(), layers }
    }

    #[test]
    fn a_report_is_pleasant_to_read() {
        let text = topology_terminal(&report());
        insta::assert_snapshot!(text);
        assert!(text.lines().all(|line| line.chars().count() <= 100 && !line.ends_with(' ')), "{text}");
    }

    #[test]
    fn csv_and_json_hold_the_same_rows() {
        let report = report();
        assert_eq!(serde_json::from_str::<TopologyReport>(&topology_json(&report)).unwrap(), report);
        let text = topology_csv(&report);
        let header = "layer,m,k,n,runs,passes,total_cycles,utilization,mapping_efficiency,input_reads,weight_reads,output_writes\n";
        assert!(text.starts_with(header), "{text}");
        let rows: Vec<TopologyRow> = ::csv::Reader::from_reader(text.as_bytes()).deserialize().map(Result::unwrap).collect();
        assert_eq!(rows, report.layers);
    }
}
