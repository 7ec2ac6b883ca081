//! What compression left of a network: weights, zeros, bytes, and what it costs in accuracy; plain data, JSON, and a table for people.
//!
//! Field names are the names in JSON. Not here: how it is found out (`pipeline`).

use super::json::pretty;
use super::terminal::{rendered, table};
use super::{MetricValues, MixedPrecision, PruningStep, human, pruning};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// Characters of a layer's name in the table.
const NAME_WIDTH: usize = 24;

/// A compressed network beside the one that it was made from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompressionReport {
    /// The network's name.
    pub network: String,
    /// The recipe, as short forms of its steps.
    pub recipe: String,
    /// The recipe in RON, which `--recipe` takes; its formats are w8a8 where nothing was said, and the file then holds floats.
    pub recipe_ron: String,
    /// Whether weights and values are integers.
    pub quantized: bool,
    /// The chip whose arithmetic the integer reference has; none for sums that cannot overflow, requantized in floating point.
    pub chip: Option<String>,
    /// What each step before quantization did, in order.
    pub steps: Vec<PruningStep>,
    /// What a search for formats measured and chose; not there where the recipe did not search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mixed_precision: Option<MixedPrecision>,
    /// Each layer with weights.
    pub layers: Vec<CompressedLayer>,
    /// Weights of all of these.
    pub weights: u64,
    /// Those that are zero.
    pub zeros: u64,
    /// Sizes before and after.
    pub before: NetworkSize,
    /// After.
    pub after: NetworkSize,
    /// Samples of the report split that were scored.
    pub samples: u64,
    /// Each metric of the card; none of a chip.
    pub metrics: BTreeMap<String, MetricValues>,
    /// Accuracy with its interval, of each execution that there was: `float`, `compressed_float`, `integer`.
    pub accuracy: BTreeMap<String, Interval>,
    /// The network as imported and the last of these executions, on the same samples.
    pub paired: Option<PairedSamples>,
    /// What made this report.
    pub provenance: CompressionProvenance,
}

/// What made a report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CompressionProvenance {
    /// The tool's version.
    pub version: String,
    /// The command line.
    pub command: String,
    /// SHA-256 of the model's files.
    pub model_sha256: String,
    /// SHA-256 of the data that was scored.
    pub data_sha256: String,
}

/// A layer with weights.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CompressedLayer {
    /// Its name.
    pub name: String,
    /// What it does, such as `conv`.
    pub op: String,
    /// The format of its weights.
    pub format: String,
    /// Its weights, zeros included.
    pub weights: u64,
    /// Those that stand for zero.
    pub zeros: u64,
    /// `zeros / weights`, 0 to 1.
    pub sparsity: f64,
    /// Bytes of its weights in the network as imported; none of a layer that a step made.
    pub weight_bytes_before: Option<u64>,
    /// Bytes of its weights, packed without gaps.
    pub weight_bytes: u64,
}

/// The size of a network.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSize {
    /// Bytes of weights of dense layers and convolutions, packed without gaps.
    pub weight_bytes: u64,
    /// Multiply-accumulates of one sample.
    pub macs: u64,
    /// Multiply-accumulates of one sample, each times the bits of both factors.
    pub bit_operations: u128,
}

/// A share and its 95% interval (Wilson).
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    /// The share, 0 to 1.
    pub value: f64,
    /// The lower end.
    pub low: f64,
    /// The upper end.
    pub high: f64,
}

/// Two executions on the same samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PairedSamples {
    /// Samples that only the network as imported gets right.
    pub right_before_only: u64,
    /// Samples that only the compressed network gets right.
    pub right_after_only: u64,
    /// The probability of a difference at least as large if both were equally good (McNemar's exact test).
    pub p_value: f64,
}

/// The report as JSON, ending in a newline.
pub fn compression_json(report: &CompressionReport) -> String {
    pretty(report)
}

/// The report for people.
pub fn compression_terminal(report: &CompressionReport) -> String {
    let mut text = format!("{} as {}: {}", report.network, report.recipe, report.recipe_ron);
    text += &pruning::steps(&report.steps);
    text.push('\n');
    if let Some(mixed) = &report.mixed_precision {
        text += &mixed.terminal();
        text.push('\n');
    }
    let mut rows = table(&["layer", "op", "format", "weights", "zeros", "bytes\nbefore", "bytes"].map(str::to_owned), 3);
    for layer in &report.layers {
        rows.add_row([
            human::shorten(&layer.name, NAME_WIDTH),
            layer.op.clone(),
            layer.format.clone(),
            human::count(layer.weights),
            human::percent(layer.sparsity),
            layer.weight_bytes_before.map_or_else(String::new, human::bytes),
            human::bytes(layer.weight_bytes),
        ]);
    }
    let (before, after) = (&report.before, &report.after);
    rows.add_row([
        "all".to_owned(),
        String::new(),
        String::new(),
        human::count(report.weights),
        human::percent(super::ratio(report.zeros as f64, report.weights as f64)),
        human::bytes(before.weight_bytes),
        human::bytes(after.weight_bytes),
    ]);
    text += &rendered("Weights, packed without gaps", &rows);
    let si = |value: f64| human::si(value, "");
    let _ = writeln!(
        text,
        "\nMACs of a sample {} before, {} after; bit operations {} and {}",
        si(before.macs as f64),
        si(after.macs as f64),
        si(before.bit_operations as f64),
        si(after.bit_operations as f64)
    );
    let _ = writeln!(text, "\nOn {} samples of the report split (95% intervals by Wilson)", human::count(report.samples));
    for (name, label) in [("float", "float"), ("compressed_float", "compressed, in float"), ("integer", "integer reference")] {
        if let Some(Interval { value, low, high }) = report.accuracy.get(name) {
            let _ = writeln!(text, "  {label:<22}{value:.4} ({low:.4} to {high:.4})");
        }
    }
    for (name, values) in report.metrics.iter().filter(|(name, _)| *name != "accuracy") {
        let shown: Vec<String> =
            [values.float, values.compressed_float, values.integer].into_iter().flatten().map(|value| format!("{value:.4}")).collect();
        let _ = writeln!(text, "  {name:<22}{}", shown.join("  "));
    }
    if let Some(PairedSamples { right_before_only, right_after_only, p_value }) = &report.paired {
        let _ = writeln!(text, "  right only before {right_before_only}, only after {right_after_only}: McNemar's p = {p_value:.2e}");
    }
    text
}
