//! What actions and parts cost, as a chip file states it: figures with their source and how well they are known.
//!
//! Not here: the shipped tables and what a run costs (`energy`).

use super::chip::{Codec, Format};
use super::dram::Dram;
use crate::numerics::Dtype;
use serde::Serialize;

/// How well a figure is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, serde::Deserialize)]
pub enum Fidelity {
    /// Stands in the source as it is.
    Published,
    /// Computed from published figures by a stated rule.
    Derived,
    /// Assumed.
    Assumed,
}

/// The energy and area tables that are shipped, each made of sourced figures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum ShippedTable {
    /// `Table("45nm")`: arithmetic after Horowitz (ISSCC 2014), memories after CACTI, scaled to the chip's node where it is another.
    Nm45,
}

/// Where a chip's energies come from.
#[derive(Debug, Clone, PartialEq)]
pub enum EnergySource {
    /// A shipped table.
    Table(ShippedTable),
    /// The chip file's own list, complete.
    Listed(Vec<EnergyEntry>),
}

/// Where a chip's areas come from.
#[derive(Debug, Clone, PartialEq)]
pub enum AreaSource {
    /// A shipped table.
    Table(ShippedTable),
    /// The chip file's own list, complete.
    Listed(Vec<AreaEntry>),
}

/// What one PE costs in a format.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub enum PeCost {
    /// What the shipped table gives for the pair of formats: derived between its figures, assumed beyond them.
    Table,
    /// Stated in the chip file.
    Stated {
        /// Energy of one multiply-accumulate (of one lane) in picojoules.
        picojoules: f64,
        /// Area of one PE with all its lanes in square micrometres.
        square_micrometres: f64,
        /// How well the figures are known.
        fidelity: Fidelity,
        /// Where they come from.
        source: String,
    },
}

/// An action that has an energy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Action {
    /// A multiply-accumulate of `weight` by `activation`.
    Mac {
        /// The weights' format.
        weight: Dtype,
        /// The activations' format.
        activation: Dtype,
    },
    /// A multiply-accumulate of `weight` by `activation` that zero gating kept still. Binary formats have none: no operand is zero.
    GatedMac {
        /// The weights' format.
        weight: Dtype,
        /// The activations' format.
        activation: Dtype,
    },
    /// A bit written into a PE's register.
    RegisterBit,
    /// A zero point subtracted at the array's edge.
    ZeroPointSubtract,
    /// A row read from the scratchpad with this index.
    ScratchpadRead(usize),
    /// A row written to the scratchpad with this index.
    ScratchpadWrite(usize),
    /// A row read from the accumulator.
    AccumulatorRead,
    /// A row written to the accumulator.
    AccumulatorWrite,
    /// A byte on DRAM's bus, read.
    DramReadByte,
    /// A byte on DRAM's bus, written.
    DramWriteByte,
    /// A row of DRAM with banks activated, over all devices of a channel, and precharged again.
    DramActivate,
    /// A refresh command of DRAM with banks, to one rank.
    DramRefresh,
    /// A byte that a DMA engine unpacked.
    CodecByte,
    /// One element of a vector operation.
    VectorOperation,
    /// A PE clocked for a cycle, whatever it does, while the array works in `weight` by `activation`.
    PeClock {
        /// The weights' format.
        weight: Dtype,
        /// The activations' format.
        activation: Dtype,
    },
    /// A microsecond of leakage of the on-chip memories: its cost is in pJ a microsecond.
    LeakageMicrosecond,
}

impl Action {
    /// Every action that a chip can do which multiplies `formats`, gates zeros or not, has this many scratchpads, this DRAM and this codec, in
    /// the order of tables.
    pub fn all(formats: &[Format], zero_gating: bool, scratchpads: usize, dram: &Dram, codec: Codec) -> Vec<Self> {
        let pairs = || formats.iter().map(|format| (format.weight, format.activation));
        let macs = pairs().map(|(weight, activation)| Self::Mac { weight, activation });
        let gated = formats.iter().filter(|format| zero_gating && !format.is_binary());
        let gated = gated.map(|format| Self::GatedMac { weight: format.weight, activation: format.activation });
        let pads = (0..scratchpads).flat_map(|pad| [Self::ScratchpadRead(pad), Self::ScratchpadWrite(pad)]);
        let array = [Self::RegisterBit, Self::ZeroPointSubtract];
        let memories = [Self::AccumulatorRead, Self::AccumulatorWrite, Self::DramReadByte, Self::DramWriteByte];
        let rows: &[Self] = match dram {
            Dram::Ideal { .. } => &[],
            Dram::Banked(_) => &[Self::DramActivate, Self::DramRefresh],
        };
        let unpacks = (codec != Codec::None).then_some(Self::CodecByte);
        let memories = memories.into_iter().chain(rows.iter().copied()).chain(unpacks).chain([Self::VectorOperation]);
        let clocks = pairs().map(|(weight, activation)| Self::PeClock { weight, activation });
        macs.chain(gated).chain(array).chain(pads).chain(memories).chain(clocks).chain([Self::LeakageMicrosecond]).collect()
    }
}

/// What an action costs, and how that is known.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct EnergyEntry {
    /// The action.
    pub action: Action,
    /// Its energy in picojoules.
    pub picojoules: f64,
    /// How well the figure is known.
    pub fidelity: Fidelity,
    /// Where the figure comes from.
    pub source: String,
}

/// A part that has an area.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
pub enum Part {
    /// All PEs: multipliers, adders and registers.
    Array,
    /// The scratchpad with this index.
    Scratchpad(usize),
    /// The accumulator.
    Accumulator,
    /// The vector unit.
    VectorUnit,
}

/// What a part takes, on all cores together, and how that is known.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct AreaEntry {
    /// The part.
    pub part: Part,
    /// Its area in square millimetres.
    pub square_millimetres: f64,
    /// How well the figure is known.
    pub fidelity: Fidelity,
    /// Where the figure comes from.
    pub source: String,
}
