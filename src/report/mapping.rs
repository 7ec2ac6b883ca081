//! What a search for a mapping found, as plain data: each layer's loop nest, what it takes, what binds it, and how much is proven.
//!
//! Not here: how it was searched (`pipeline`), and the nest as text, which `systole map` prints.

use super::json::pretty;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A network's or a layer table's mapping onto a chip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MappingReport {
    /// The chip's name.
    pub chip: String,
    /// The network's or the table's name.
    pub network: String,
    /// Samples in a batch.
    pub batch: u64,
    /// What was to be little: `latency`, `energy` or `edp`.
    pub objective: String,
    /// Core cycles of all layers together, one batch.
    pub total_cycles: u64,
    /// The least that they could take, by compute and by bandwidth.
    pub cycles_lower_bound: u64,
    /// Energy of one batch in picojoules.
    pub energy_pj: f64,
    /// The layers in the order in which they run; where one was asked for, that one alone.
    pub layers: Vec<MappedLayer>,
}

/// A layer's mapping.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MappedLayer {
    /// Its name.
    pub name: String,
    /// What stays in the PEs: `ws`, `os` or `is`.
    pub dataflow: String,
    /// The formats of weights and activations, such as `int8 x int8`.
    pub format: String,
    /// Sizes by dimension: N, M, C, P, Q, R and S.
    pub dimensions: BTreeMap<String, u64>,
    /// Loops, the outermost first; none of what only moves.
    pub loops: Vec<MappedLoop>,
    /// Equal products, one after the other, that the layer consists of.
    pub repeats: u64,
    /// Core cycles of its window, of all of its products.
    pub total_cycles: u64,
    /// The least that its window could take.
    pub cycles_lower_bound: u64,
    /// What binds it, such as `compute` or `dram_bandwidth`.
    pub bound_by: String,
    /// Energy in picojoules.
    pub energy_pj: f64,
    /// Bytes that were wanted of DRAM: weights and biases.
    pub dram_weight_bytes: u64,
    /// Bytes that were wanted of DRAM: its input.
    pub dram_input_bytes: u64,
    /// Bytes that went to DRAM: its output.
    pub dram_output_bytes: u64,
    /// What its search, alone on the chip, did.
    pub search: MappingSearch,
}

/// A loop of a nest.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MappedLoop {
    /// The dimension: N is over N x P x Q vectors, C over R x S x C elements of K.
    pub dimension: String,
    /// Iterations.
    pub trips: u64,
    /// Elements of the dimension that one iteration covers.
    pub tile: u64,
    /// Where it is spread: `buffer`, `pass`, `rows`, `cols` or `stream`.
    pub spread: String,
}

/// How a layer's mapping was looked for. Costs are in the objective's unit: cycles, picojoules, or picojoules times cycles.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MappingSearch {
    /// Candidates that fit the chip.
    pub candidates: u64,
    /// Candidates that were simulated.
    pub simulated: u64,
    /// The cost of the best, simulated.
    pub cost: f64,
    /// No candidate costs less than this.
    pub bound: f64,
    /// Whether the best is proven to be the best of all candidates.
    pub is_best: bool,
    /// Whether the candidates are every tiling that fits the chip.
    pub is_every_tiling: bool,
}

/// The mapping as JSON, ending in a newline.
pub fn mapping_json(report: &MappingReport) -> String {
    pretty(report)
}
