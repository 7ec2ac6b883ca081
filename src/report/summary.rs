//! The summary of one run: plain data, documented field by field. Its field names are the names in `summary.json`.
//!
//! Cycles, counts, bytes and energy are sums over all programs of the run unless a field says otherwise; a program processes one batch. No
//! field holds a number that is not finite: what does not exist is `None`, `null` in JSON. Not here: how anything is computed or printed.

use super::{MixedPrecision, PruningSummary, Residency, Roofs, WhatIf};
use crate::counts::{StallReason, TrafficBytes};
use crate::energy::EnergyByPart;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// One run of one network on one chip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Summary {
    /// The chip.
    pub chip: ChipSummary,
    /// The network, compressed as it ran.
    pub network: NetworkSummary,
    /// The compression recipe, as short forms of its steps.
    pub recipe: String,
    /// What was pruned and what it was worth; none where the recipe only quantizes.
    pub pruning: Option<PruningSummary>,
    /// What a search for formats measured and chose; not there where the recipe did not search.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mixed_precision: Option<MixedPrecision>,
    /// Samples that one program processes.
    pub batch: u64,
    /// Where weights are when a program starts.
    pub weights: WeightsAt,
    /// The engine that ran the array: `stepped` or `wavefront`.
    pub engine: String,
    /// Samples processed; programs are `ceil(samples / batch)`.
    pub samples: u64,
    /// Core cycles of all programs.
    pub total_cycles: u64,
    /// `total_cycles / samples`.
    pub cycles_per_sample: f64,
    /// The least that all programs could take, by compute and by bandwidth.
    pub cycles_lower_bound: u64,
    /// What each resource costs of `total_cycles`; none where it was not asked for.
    pub what_if: Option<WhatIf>,
    /// The most that the chip could do and move a cycle.
    #[serde(default)]
    pub roofs: Roofs,
    /// Seconds that one batch takes.
    pub latency_s: f64,
    /// Samples a second, batch after batch.
    pub throughput_per_s: f64,
    /// Energy of all programs in picojoules.
    pub energy_pj: f64,
    /// `energy_pj / samples`.
    pub energy_pj_per_sample: f64,
    /// The share of `energy_pj` that rests on assumed energies per action, 0 to 1.
    pub energy_assumed_share: f64,
    /// `energy_pj` by component.
    pub energy_pj_by_part: EnergyPjByPart,
    /// Area of the chip in square millimetres.
    pub area_mm2: f64,
    /// Multiply-accumulates of the network's layers, as if nothing were skipped, those of depthwise convolutions on the vector unit included.
    pub macs_dense: u64,
    /// `macs_dense` less skipped tiles and weights dropped by N:M sparsity; gated ones count.
    pub macs_executed: u64,
    /// The array's of `macs_executed / (total_cycles * its peak MACs a cycle)`, 0 to 1.
    pub utilization: f64,
    /// Each metric as three references and the chip give it; none where there are no labels.
    pub metrics: Option<BTreeMap<String, MetricValues>>,
    /// What the chip named the samples of each class, in the order of classes; none where there are no labels.
    #[serde(default)]
    pub classes: Option<Vec<ClassSummary>>,
    /// Output values in which chip and integer reference differ; none where they were not compared.
    pub mismatches: Option<u64>,
    /// Output values that were compared.
    pub output_values: u64,
    /// SHA-256 of the values that the chip left, row-major, as 64-bit integers, little-endian; none where there are no numbers.
    #[serde(default)]
    pub output_hash: Option<String>,
    /// The first value that differs.
    pub first_mismatch: Option<Mismatch>,
    /// Bytes that crossed DRAM's bus coded: of weights, and of values where the chip codes them; they count in `traffic_bytes.dram` too.
    pub coded_bytes: u64,
    /// Bytes that were unpacked from them.
    pub unpacked_bytes: u64,
    /// Bytes on DRAM's bus, read, in whole bursts.
    pub dram_read_bytes: u64,
    /// Bytes on DRAM's bus, written, in whole bursts.
    pub dram_write_bytes: u64,
    /// Bytes that crossed each memory's port, by operand.
    pub traffic_bytes: TrafficBytes,
    /// What lies where on the chip, and how long.
    pub residency: Residency,
    /// The layers in the order in which they ran.
    pub layers: Vec<LayerSummary>,
    /// What made this summary.
    pub provenance: Provenance,
}

impl Summary {
    /// Programs that ran: `ceil(samples / batch)`.
    pub fn programs(&self) -> u64 {
        self.samples.div_ceil(self.batch.max(1))
    }

    /// Seconds that all programs took on the chip.
    pub fn seconds(&self) -> f64 {
        ratio(self.total_cycles as f64, self.chip.clock_hz as f64)
    }

    /// Average power in milliwatts: energy over time (1 pJ/s = 1e-9 mW).
    pub fn average_power_mw(&self) -> f64 {
        ratio(self.energy_pj * 1e-9, self.seconds())
    }

    /// Useful operations a second, two a multiply-accumulate, in tera.
    pub fn effective_tops(&self) -> f64 {
        ratio(2.0 * self.macs_executed as f64, self.seconds()) * 1e-12
    }

    /// Useful operations a joule in tera: two a multiply-accumulate over picojoules.
    pub fn tops_per_watt(&self) -> f64 {
        ratio(2.0 * self.macs_executed as f64, self.energy_pj)
    }
}

/// `over / under`, and 0 where that is no number.
pub fn ratio(over: f64, under: f64) -> f64 {
    let value = over / under;
    if value.is_finite() { value } else { 0.0 }
}

/// The chip of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ChipSummary {
    /// Its name.
    pub name: String,
    /// PEs in a column of the array.
    pub rows: u64,
    /// PEs in a row of the array.
    pub cols: u64,
    /// Cores, each with such an array.
    pub cores: u64,
    /// The core clock in hertz.
    pub clock_hz: u64,
    /// Operations a second at most in the chip's default format, two a multiply-accumulate, in tera.
    pub peak_tops: f64,
    /// Bytes of all scratchpads and accumulators.
    pub on_chip_bytes: u64,
    /// Bytes a second that DRAM's bus moves at most.
    pub dram_bytes_per_s: f64,
}

/// The network of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkSummary {
    /// Its name.
    pub name: String,
    /// Layers that ran, those of the host included.
    pub layers: u64,
    /// Multiply-accumulates a sample, as if nothing were skipped.
    pub macs: u64,
    /// Bytes of weights and biases, packed.
    pub weight_bytes: u64,
    /// Bytes that they take in DRAM: fewer where the chip leaves out zeros (`storage.codec`).
    pub weight_stored_bytes: u64,
}

/// Where weights are when a program starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightsAt {
    /// In DRAM, all of them.
    Cold,
    /// On chip, those that fit.
    Resident,
}

impl WeightsAt {
    /// The name in JSON and on the terminal.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cold => "cold",
            Self::Resident => "resident",
        }
    }
}

/// Energy by component in picojoules.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct EnergyPjByPart {
    /// Multiply-accumulates, gated ones, and zero points subtracted at the array's edge.
    pub mac: f64,
    /// Registers between and in PEs.
    pub registers: f64,
    /// Scratchpads.
    pub scratchpad: f64,
    /// The accumulator.
    pub accumulator: f64,
    /// DRAM.
    pub dram: f64,
    /// Unpacking of what lies coded in DRAM.
    pub codec: f64,
    /// The vector unit.
    pub vector: f64,
    /// The clock of the array.
    pub clock: f64,
    /// Leakage of the on-chip memories.
    pub leakage: f64,
}

impl EnergyPjByPart {
    /// Every component by the name that a reader meets, in the order of reports.
    pub const fn parts(&self) -> [(&'static str, f64); 9] {
        [
            ("MACs", self.mac),
            ("registers", self.registers),
            ("scratchpad", self.scratchpad),
            ("accumulator", self.accumulator),
            ("DRAM", self.dram),
            ("codec", self.codec),
            ("vector", self.vector),
            ("clock", self.clock),
            ("leakage", self.leakage),
        ]
    }
}

impl From<EnergyByPart> for EnergyPjByPart {
    fn from(energy: EnergyByPart) -> Self {
        Self {
            mac: energy.mac.get(),
            registers: energy.registers.get(),
            scratchpad: energy.scratchpad.get(),
            accumulator: energy.accumulator.get(),
            dram: energy.dram.get(),
            codec: energy.codec.get(),
            vector: energy.vector.get(),
            clock: energy.clock.get(),
            leakage: energy.leakage.get(),
        }
    }
}

/// One metric, as four executions give it on the same samples.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct MetricValues {
    /// The network as imported, in floating point.
    pub float: Option<f64>,
    /// After pruning, before quantization, in floating point.
    pub compressed_float: Option<f64>,
    /// The quantized network in plain loops.
    pub integer: Option<f64>,
    /// What the chip computed.
    pub chip: Option<f64>,
}

/// One class, by what the chip named the samples of the run: a row of the confusion matrix, and its scores. 0 where nothing is counted.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ClassSummary {
    /// Its label.
    pub class: u64,
    /// Samples that are of it.
    pub samples: u64,
    /// Of the samples that were named so, the share that are, 0 to 1.
    pub precision: f64,
    /// Of the samples that are, the share that were named so, 0 to 1.
    pub recall: f64,
    /// `2 precision recall / (precision + recall)`.
    pub f1: f64,
    /// How many of its samples were named what; classes that none was named are left out.
    pub named: BTreeMap<u64, u64>,
}

/// An output value in which chip and integer reference differ.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Mismatch {
    /// The stage's name.
    pub stage: String,
    /// The sample, counted from 0.
    pub sample: u64,
    /// The element in row-major order, counted from 0.
    pub index: u64,
    /// The cycle of its program in which the value was written, where that is known.
    pub cycle: Option<u64>,
    /// The reference's value.
    pub expected: i64,
    /// The chip's value.
    pub got: i64,
}

/// One layer of a run. Where cycles are 0 the host did it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerSummary {
    /// The name of its array node.
    pub name: String,
    /// What it does, such as `gemm`.
    pub op: String,
    /// The formats of weights and activations, such as `int8 x int8`.
    pub format: String,
    /// Cycles of its window. Windows partition the run: layers sum to the run's `total_cycles`.
    pub total_cycles: u64,
    /// The least that its window could take, by compute and by bandwidth. What is fetched ahead counts in no window, so these may sum to
    /// less than the run's bound.
    pub cycles_lower_bound: u64,
    /// What each resource costs of `total_cycles`; none where it was not asked for.
    pub what_if: Option<WhatIf>,
    /// Of `total_cycles`, those in which the array advanced: fill, drain and load included.
    pub busy_cycles: u64,
    /// Of `total_cycles`, those in which the array had no command.
    pub idle_cycles: u64,
    /// Of `total_cycles`, those in which the array had a command that could not advance, by reason; only reasons that occurred.
    pub stall_cycles: BTreeMap<StallReason, u64>,
    /// The cycle of the first program in which its first command started.
    pub first_tick: u64,
    /// The cycle of the first program after its last command retired (exclusive). Layers may overlap.
    pub last_tick: u64,
    /// Multiply-accumulates, as if nothing were skipped.
    pub macs_dense: u64,
    /// Multiply-accumulates less skipped ones.
    pub macs_executed: u64,
    /// The array's of `macs_executed / (total_cycles * its peak MACs a cycle in the layer's format)`, 0 to 1; a layer on the vector unit has 0.
    pub utilization: f64,
    /// Mean share of PEs used, over the array's passes, 0 to 1.
    pub mapping_efficiency: f64,
    /// What binds it, such as `compute` or `dram_bandwidth`.
    pub bound_by: String,
    /// Bytes of weights and biases, packed.
    pub weight_bytes: u64,
    /// Bytes that they take in DRAM: fewer where the chip leaves out zeros (`storage.codec`).
    pub weight_stored_bytes: u64,
    /// The share of its weights that are zero, 0 to 1.
    pub sparsity: f64,
    /// Energy in picojoules.
    pub energy_pj: f64,
    /// Signal to quantization noise of its output against the compressed float network, in decibels; none where there is no noise or
    /// nothing to compare with.
    pub sqnr_db: Option<f64>,
    /// The cosine of the angle between its output and the compressed float network's, -1 to 1.
    #[serde(default)]
    pub cosine: Option<f64>,
    /// The greatest difference between its output and the compressed float network's.
    #[serde(default)]
    pub max_abs_error: Option<f64>,
    /// Bytes that crossed DRAM's bus coded: of weights, and of values where the chip codes them; they count in `traffic_bytes.dram` too.
    pub coded_bytes: u64,
    /// Bytes that were unpacked from them.
    pub unpacked_bytes: u64,
    /// Bytes on DRAM's bus, read, in whole bursts.
    pub dram_read_bytes: u64,
    /// Bytes on DRAM's bus, written, in whole bursts.
    pub dram_write_bytes: u64,
    /// Bytes that crossed each memory's port, by operand.
    pub traffic_bytes: TrafficBytes,
}

impl LayerSummary {
    /// Whether the host does it, outside the chip's clock.
    pub const fn is_host(&self) -> bool {
        self.total_cycles == 0
    }
}

/// What made a summary: enough to make it again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Provenance {
    /// The tool's version.
    pub version: String,
    /// The command line.
    pub command: String,
    /// The seed of every generator.
    pub seed: u64,
    /// SHA-256 of the resolved chip file, in hexadecimal.
    pub chip_sha256: String,
    /// SHA-256 of the model file.
    pub model_sha256: String,
    /// SHA-256 of the data that ran, where there was any.
    pub data_sha256: Option<String>,
}
