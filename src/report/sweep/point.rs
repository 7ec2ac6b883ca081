//! One point of a sweep: its inputs, and what it yielded or why it could not. A line of `points.jsonl`.
//!
//! Field names are the names in JSON and the columns of `points.csv`. Figures mean what they mean in `summary.json`: cycles, counts, bytes and energy are
//! sums over all programs of the point unless a field says otherwise. Not here: how they are computed.

use crate::counts::{StallReason, TrafficBytes};
use crate::report::{EnergyPjByPart, LayerSummary, WeightsAt};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A point: one recipe of one workload on one chip.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PointRow {
    /// Its place in the experiment, counted from 0; rows stand in this order.
    pub point: u64,
    /// The hash of all that its figures depend on, in hexadecimal: two rows with the same are the same point.
    pub point_id: String,
    /// Whether it ran.
    pub status: PointStatus,
    /// Why it could not be built or run; none where it did.
    pub reason: Option<String>,
    /// The chip, as the experiment names it.
    pub chip: String,
    /// The model, as the experiment names it.
    pub model: String,
    /// Samples that one program processes.
    pub batch: u64,
    /// Where weights are when a program starts.
    pub weights: WeightsAt,
    /// The recipe's name in the experiment.
    pub recipe: String,
    /// Its steps as short forms, with the values of axes filled in.
    pub recipe_steps: String,
    /// How the weights came to be what they are.
    pub training: Training,
    /// How the mapping was found: `first`, `heuristic`, or `search latency 2000` with its objective and budget.
    pub mapping: String,
    /// The seed of every generator.
    pub seed: u64,
    /// Samples of the report split that ran; 0 where it was only timed.
    pub samples: u64,
    /// The command that repeats the point, in the folder in which the sweep was started.
    pub run: String,
    /// What it yielded; none where it did not run.
    #[serde(flatten)]
    pub figures: Option<PointFigures>,
    /// The axes' values by their paths, each a field of its own in JSON; those that do not concern the point are not there. A quantity with a unit stands
    /// there as the chip file has it, `KiB(64)`, and once more as a number under `<path>_bytes`, `_hz`, `_cycles` or `_nm`.
    #[serde(flatten)]
    pub axes: BTreeMap<String, AxisValue>,
}

/// Whether a point ran.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum PointStatus {
    /// It has figures.
    Done,
    /// It could not be built or run, and has a reason.
    Failed,
}

/// How weights came to be what they are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Training {
    /// Trained in floating point; what compression did to them was never trained through.
    Ptq,
    /// Trained on after pruning.
    Finetuned,
    /// Trained through the quantization.
    Qat,
}

impl Training {
    /// The name in JSON and in tables.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ptq => "ptq",
            Self::Finetuned => "finetuned",
            Self::Qat => "qat",
        }
    }
}

/// The value of an axis.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AxisValue {
    /// A number.
    Number(f64),
    /// Anything else, as RON has it.
    Text(String),
}

/// What a point yielded.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PointFigures {
    /// The core clock in hertz.
    pub clock_hz: u64,
    /// PEs in a column of the array.
    pub array_rows: u64,
    /// PEs in a row of the array.
    pub array_cols: u64,
    /// Cores, each with such an array.
    pub cores: u64,
    /// Bytes of all scratchpads and accumulators.
    pub on_chip_bytes: u64,
    /// What DRAM is: `ideal`, or the device of one with banks. Cycles of points that differ in it, or in `clock_hz`, do not compare; `latency_s` does.
    pub dram_model: String,
    /// Bytes a second that DRAM's bus moves at most.
    pub dram_bytes_per_s: f64,
    /// Operations a second at most, two a multiply-accumulate, in tera.
    pub peak_tops: f64,
    /// Area of the chip in square millimetres.
    pub area_mm2: f64,
    /// Core cycles of all programs.
    pub total_cycles: u64,
    /// `total_cycles / samples`.
    pub cycles_per_sample: f64,
    /// The least that all programs could take, by compute and by bandwidth.
    pub cycles_lower_bound: u64,
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
    /// Multiply-accumulates, as if nothing were skipped.
    pub macs_dense: u64,
    /// Multiply-accumulates less skipped ones.
    pub macs_executed: u64,
    /// The share of `macs_dense` by the formats of weights and activations, such as `w8a8`.
    pub macs_share: BTreeMap<String, f64>,
    /// The array's of `macs_executed / (total_cycles * its peak MACs a cycle)`, 0 to 1.
    pub utilization: f64,
    /// Bytes of weights and biases, packed.
    pub weight_bytes: u64,
    /// Bytes that they take in DRAM.
    pub weight_stored_bytes: u64,
    /// Bytes on DRAM's bus, read, in whole bursts.
    pub dram_read_bytes: u64,
    /// Bytes on DRAM's bus, written, in whole bursts.
    pub dram_write_bytes: u64,
    /// Bytes that crossed each memory's port, by operand.
    pub traffic_bytes: TrafficBytes,
    /// Accuracy of what the chip computed, on the report split, 0 to 1; this and what follows is none where the point was only timed.
    pub accuracy: Option<f64>,
    /// `100 * (1 - accuracy)`.
    pub error_percent: Option<f64>,
    /// The lower end of `accuracy`'s 95% interval (Wilson).
    pub accuracy_low: Option<f64>,
    /// The upper end.
    pub accuracy_high: Option<f64>,
    /// Accuracy of the network as imported, in floating point.
    pub float_accuracy: Option<f64>,
    /// Accuracy after pruning, before quantization, in floating point.
    pub compressed_float_accuracy: Option<f64>,
    /// `100 * (1 - accuracy)` on the select split, by the integer reference: what chooses goes by this, and never by the report split.
    pub select_error_percent: Option<f64>,
    /// Samples of the select split that it was measured on.
    pub select_samples: Option<u64>,
    /// Output values in which chip and integer reference differ, which must be none.
    pub mismatches: Option<u64>,
    /// Which samples of the report split the chip got right: a bit each, in hexadecimal; sample i is bit `i % 8`, 1 the lowest, of byte `i / 8`.
    pub right_bits: Option<String>,
    /// The layers in the order in which they ran.
    pub layers: Vec<PointLayer>,
}

/// A layer of a point; a row of `layers.csv`. Fields mean what they mean in [`LayerSummary`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[expect(missing_docs, reason = "fields are those of LayerSummary")]
pub struct PointLayer {
    pub name: String,
    pub op: String,
    pub format: String,
    pub total_cycles: u64,
    pub cycles_lower_bound: u64,
    pub busy_cycles: u64,
    pub idle_cycles: u64,
    pub stall_cycles: BTreeMap<StallReason, u64>,
    pub macs_dense: u64,
    pub macs_executed: u64,
    pub utilization: f64,
    pub bound_by: String,
    pub weight_stored_bytes: u64,
    pub sparsity: f64,
    pub energy_pj: f64,
    pub sqnr_db: Option<f64>,
    pub dram_read_bytes: u64,
    pub dram_write_bytes: u64,
}

impl From<&LayerSummary> for PointLayer {
    fn from(layer: &LayerSummary) -> Self {
        Self {
            name: layer.name.clone(),
            op: layer.op.clone(),
            format: layer.format.clone(),
            total_cycles: layer.total_cycles,
            cycles_lower_bound: layer.cycles_lower_bound,
            busy_cycles: layer.busy_cycles,
            idle_cycles: layer.idle_cycles,
            stall_cycles: layer.stall_cycles.clone(),
            macs_dense: layer.macs_dense,
            macs_executed: layer.macs_executed,
            utilization: layer.utilization,
            bound_by: layer.bound_by.clone(),
            weight_stored_bytes: layer.weight_stored_bytes,
            sparsity: layer.sparsity,
            energy_pj: layer.energy_pj,
            sqnr_db: layer.sqnr_db,
            dram_read_bytes: layer.dram_read_bytes,
            dram_write_bytes: layer.dram_write_bytes,
        }
    }
}

impl PointRow {
    /// The axes' values by their paths, each once: without the numbers that stand beside quantities with a unit.
    pub fn own_axes(&self) -> impl Iterator<Item = (&String, &AxisValue)> {
        let is_number_of = |path: &str, other: &str| path.strip_prefix(other).is_some_and(|rest| rest.starts_with('_'));
        let is_again =
            move |path: &str| self.axes.iter().any(|(other, value)| matches!(value, AxisValue::Text(_)) && is_number_of(path, other));
        self.axes.iter().filter(move |(path, _)| !is_again(path))
    }

    /// Which samples of the report split the chip got right; none where that was not measured.
    pub fn right(&self) -> Option<Vec<bool>> {
        let figures = self.figures.as_ref()?;
        let text = figures.right_bits.as_ref()?.as_bytes();
        let digit = |place: usize| char::from(*text.get(place)?).to_digit(16);
        let samples = usize::try_from(self.samples).ok()?;
        (0..samples)
            .map(|sample| {
                // The high digit of a byte comes first.
                let (byte, bit) = (sample / 8, sample % 8);
                Some(digit(2 * byte + usize::from(bit < 4))? >> (bit % 4) & 1 == 1)
            })
            .collect()
    }
}

/// Bits as `right_bits` has them.
pub fn bits_of(right: &[bool]) -> String {
    use std::fmt::Write as _;
    let byte = |bits: &[bool]| bits.iter().enumerate().fold(0_u8, |byte, (place, bit)| byte | u8::from(*bit) << place);
    right.chunks(8).fold(String::new(), |mut text, bits| {
        let _ = write!(text, "{:02x}", byte(bits));
        text
    })
}
