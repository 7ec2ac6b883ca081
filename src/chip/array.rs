//! The systolic array of a chip: its size, its dataflows with their timing, and the sparsity that it profits from.
//!
//! Not here: how a chip file writes a dataflow (`dataflow`), and which combinations are impossible (`check`).

use std::fmt;
use std::str::FromStr;

/// The systolic array.
#[derive(Debug, Clone, PartialEq)]
pub struct Array {
    /// PEs in a column.
    pub rows: u32,
    /// PEs in a row.
    pub cols: u32,
    /// What the array can do, the first being the default.
    pub dataflows: Vec<Dataflow>,
    /// Whether a PE with a zero operand keeps still (changes energy, never cycles).
    pub zero_gating: bool,
    /// The sparsity that the array profits from.
    pub sparsity: Sparsity,
}

/// A dataflow (what stays in the PE) with its timing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Dataflow {
    /// Weights stay; activations and sums move.
    WeightStationary(StationaryTiming),
    /// Activations stay; weights and sums move.
    InputStationary(StationaryTiming),
    /// Sums stay; activations and weights move.
    OutputStationary(OutputTiming),
}

impl Dataflow {
    /// What stays in the PE.
    pub const fn kind(&self) -> Stationary {
        match self {
            Self::WeightStationary(_) => Stationary::Weight,
            Self::InputStationary(_) => Stationary::Input,
            Self::OutputStationary(_) => Stationary::Output,
        }
    }

    /// Cycles from a PE to the next below.
    pub const fn row_hop(&self) -> u32 {
        match self {
            Self::WeightStationary(timing) | Self::InputStationary(timing) => timing.row_hop,
            Self::OutputStationary(timing) => timing.row_hop,
        }
    }

    /// Cycles from a PE to the next on its right.
    pub const fn col_hop(&self) -> u32 {
        match self {
            Self::WeightStationary(timing) | Self::InputStationary(timing) => timing.col_hop,
            Self::OutputStationary(timing) => timing.col_hop,
        }
    }

    /// Input, PE-input and output registers, in all.
    pub const fn pipeline_registers(&self) -> u32 {
        match self {
            Self::WeightStationary(timing) | Self::InputStationary(timing) => timing.pipeline_registers,
            Self::OutputStationary(timing) => timing.pipeline_registers,
        }
    }

    /// A pass never takes fewer cycles.
    pub const fn min_pass_cycles(&self) -> u32 {
        match self {
            Self::WeightStationary(timing) | Self::InputStationary(timing) => timing.min_pass_cycles,
            Self::OutputStationary(timing) => timing.min_pass_cycles,
        }
    }

    /// Whether the next pass enters while this one drains.
    pub const fn overlap(&self) -> Overlap {
        match self {
            Self::WeightStationary(timing) | Self::InputStationary(timing) => timing.overlap,
            Self::OutputStationary(timing) => timing.overlap,
        }
    }

    /// The size that load, drain, padding and tail go by.
    pub const fn extent(&self) -> Extent {
        match self {
            Self::WeightStationary(timing) | Self::InputStationary(timing) => timing.extent,
            Self::OutputStationary(timing) => timing.extent,
        }
    }
}

/// What stays in a PE: the kind of a dataflow, without its timing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stationary {
    /// Weights.
    Weight,
    /// Activations.
    Input,
    /// Sums.
    Output,
}

impl Stationary {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Weight, Self::Input, Self::Output];

    /// The short name: `ws`, `is` or `os`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Weight => "ws",
            Self::Input => "is",
            Self::Output => "os",
        }
    }

    /// The long name, such as `weight_stationary`.
    pub const fn long_name(self) -> &'static str {
        match self {
            Self::Weight => "weight_stationary",
            Self::Input => "input_stationary",
            Self::Output => "output_stationary",
        }
    }
}

impl fmt::Display for Stationary {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// A text that names no dataflow.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no dataflow: write ws, is or os (or weight_stationary, input_stationary, output_stationary)")]
pub struct UnknownDataflow(String);

impl FromStr for Stationary {
    type Err = UnknownDataflow;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let named = |kind: &Self| text == kind.name() || text == kind.long_name();
        Self::ALL.into_iter().find(named).ok_or_else(|| UnknownDataflow(text.chars().take(80).collect()))
    }
}

/// Timing of a weight- or input-stationary array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct StationaryTiming {
    /// Cycles from a PE to the next below.
    pub row_hop: u32,
    /// Cycles from a PE to the next on its right.
    pub col_hop: u32,
    /// Input, PE-input and output registers, in all.
    pub pipeline_registers: u32,
    /// Cycles to shift a stationary tile in.
    pub load: Span,
    /// 1, or 2: the next tile loads while this one streams.
    pub stationary_buffers: u32,
    /// The most vectors that one pass streams.
    pub max_pass_vectors: MaxPassVectors,
    /// A pass never takes fewer cycles.
    pub min_pass_cycles: u32,
    /// Whether the next pass enters while this one drains.
    pub overlap: Overlap,
    /// The size that load and tail go by.
    pub extent: Extent,
}

/// Timing of an output-stationary array.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputTiming {
    /// Cycles from a PE to the next below.
    pub row_hop: u32,
    /// Cycles from a PE to the next on its right.
    pub col_hop: u32,
    /// Input, PE-input and output registers, in all.
    pub pipeline_registers: u32,
    /// A pass never takes fewer cycles.
    pub min_pass_cycles: u32,
    /// Whether the next pass enters while this one drains.
    pub overlap: Overlap,
    /// Cycles to drain the sums; `None` where they need none.
    pub drain: Option<Span>,
    /// Cycles to load a bias first.
    pub psum_preload: Span,
    /// Whether K is rounded up.
    pub reduction_padding: ReductionPadding,
    /// The size that drain, padding and tail go by.
    pub extent: Extent,
}

/// A number of cycles that may follow the array's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Span {
    /// As many cycles as the array has rows.
    Rows,
    /// As many cycles as the array has columns.
    Cols,
    /// This many cycles.
    Cycles(u32),
}

impl Span {
    /// The span in cycles, for an extent of `rows` x `cols`.
    pub const fn resolve(self, rows: u32, cols: u32) -> u32 {
        match self {
            Self::Rows => rows,
            Self::Cols => cols,
            Self::Cycles(cycles) => cycles,
        }
    }
}

/// The most vectors that one pass streams.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum MaxPassVectors {
    /// As many as there are.
    Unlimited,
    /// As many as the array has rows.
    Rows,
}

/// Whether passes overlap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Overlap {
    /// The next pass enters in the cycle after the last output.
    Serial,
    /// The next pass enters while this one drains.
    Pipelined,
}

/// The size that load, drain, padding and tail go by.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Extent {
    /// The array's.
    Physical,
    /// The rows and columns that a pass fills.
    Used,
}

/// Whether K is rounded up to a multiple of the rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum ReductionPadding {
    /// K as it is.
    Exact,
    /// K rounded up.
    MultipleOfRows,
}

/// The sparsity that an array profits from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub enum Sparsity {
    /// None.
    Dense,
    /// At most `n` of each `m` weights along K are not zero.
    NM {
        /// Weights kept.
        n: u32,
        /// Of this many.
        m: u32,
    },
    /// All-zero weight tiles are neither moved nor computed.
    TileSkip,
}
