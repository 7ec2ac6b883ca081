//! The parts of a chip that energy and area depend on, borrowed from it.
//!
//! Not here: what they cost. This stands between the chip and the tables so that a table can be worked out for parts alone.

use crate::chip::{Accumulator, Action, Array, Chip, Codec, Dram, Format, Part, Scratchpad, Technology, VectorUnit};
use crate::numerics::Dtype;
use crate::units::Hertz;

/// What energy and area depend on.
#[derive(Debug, Clone, Copy)]
pub struct ChipParts<'a> {
    /// The process.
    pub technology: &'a Technology,
    /// The core clock.
    pub clock: Hertz,
    /// How many cores.
    pub cores: u32,
    /// The array of one core.
    pub array: &'a Array,
    /// The format pairs that a PE multiplies.
    pub formats: &'a [Format],
    /// The scratchpads of one core.
    pub scratchpads: &'a [Scratchpad],
    /// The accumulator of one core.
    pub accumulator: &'a Accumulator,
    /// The vector unit of one core.
    pub vector: &'a VectorUnit,
    /// The external memory.
    pub dram: &'a Dram,
    /// What the DMA engines unpack.
    pub codec: Codec,
}

impl<'a> From<&'a Chip> for ChipParts<'a> {
    fn from(chip: &'a Chip) -> Self {
        Self {
            technology: chip.technology(),
            clock: chip.clock(),
            cores: chip.cores(),
            array: chip.array(),
            formats: chip.formats(),
            scratchpads: chip.scratchpads(),
            accumulator: chip.accumulator(),
            vector: chip.vector(),
            dram: chip.dram(),
            codec: chip.storage().codec,
        }
    }
}

impl ChipParts<'_> {
    /// PEs of all cores.
    pub fn pes(&self) -> u64 {
        u64::from(self.cores) * u64::from(self.array.rows) * u64::from(self.array.cols)
    }

    /// Every action that this chip can do, in the order of tables.
    pub fn actions(&self) -> Vec<Action> {
        Action::all(self.formats, self.array.zero_gating, self.scratchpads.len(), self.dram, self.codec)
    }

    /// Every part of this chip that takes area, in the order of tables.
    pub fn area_parts(&self) -> Vec<Part> {
        let pads = (0..self.scratchpads.len()).map(Part::Scratchpad);
        [Part::Array].into_iter().chain(pads).chain([Part::Accumulator, Part::VectorUnit]).collect()
    }

    /// The format of this pair.
    ///
    /// # Panics
    /// Where the chip has no such format: actions are made of the chip's own.
    pub(super) fn format(&self, weight: Dtype, activation: Dtype) -> &Format {
        let found = self.formats.iter().find(|format| format.weight == weight && format.activation == activation);
        found.expect("bug: an action of a format that the chip does not have; please report it")
    }

    /// Bits of register in one PE: what the format that needs most takes.
    pub(super) fn register_bits(&self) -> u32 {
        self.formats.iter().map(register_bits).max().unwrap_or(0)
    }
}

/// Bits of register that one PE needs in a format: the two operands of every lane and the accumulator.
pub(super) fn register_bits(format: &Format) -> u32 {
    format.lanes * (format.weight.bits() + format.activation.bits()) + format.accumulator_bits
}

/// Parts of a small chip for tests.
#[cfg(test)]
pub(super) mod fixture {
    use super::ChipParts;
    use crate::chip::{
        Accumulator, Array, Codec, Depthwise, Dram, Format, PeCost, Scratchpad, ScratchpadRole, Sparsity, SramCell, Technology,
        Unsupported, VectorCycles, VectorUnit,
    };
    use crate::numerics::{Dtype, Overflow, Requantizer};
    use crate::units::{Bytes, BytesPerCycle, Cycles, Hertz};

    /// The parts, owned.
    pub(in crate::energy) struct Parts {
        pub(in crate::energy) technology: Technology,
        pub(in crate::energy) array: Array,
        pub(in crate::energy) formats: Vec<Format>,
        pub(in crate::energy) scratchpads: Vec<Scratchpad>,
        pub(in crate::energy) accumulator: Accumulator,
        pub(in crate::energy) vector: VectorUnit,
        pub(in crate::energy) dram: Dram,
        pub(in crate::energy) codec: Codec,
    }

    pub(in crate::energy) fn format(weight: Dtype, lanes: u32) -> Format {
        Format { weight, activation: Dtype::Int8, lanes, accumulator_bits: 32, overflow: Overflow::Saturate, pe: PeCost::Table }
    }

    /// 16 x 16 PEs, 45 nm, 0.9 V, LSTP, one pad of 32 KiB in 4 banks with a 16-byte port, an accumulator of 16 KiB in 2 with 64 bytes.
    pub(in crate::energy) fn small() -> Parts {
        Parts {
            technology: Technology { node_nm: 45, supply_v: 0.9, sram_cell: SramCell::LSTP },
            array: Array { rows: 16, cols: 16, dataflows: vec![], zero_gating: true, sparsity: Sparsity::Dense },
            formats: vec![format(Dtype::Int8, 1)],
            scratchpads: vec![Scratchpad {
                role: ScratchpadRole::Shared,
                capacity: Bytes::new(32 * 1024),
                banks: 4,
                port_bytes: 16,
                latency: Cycles::new(1),
            }],
            accumulator: Accumulator { capacity: Bytes::new(16 * 1024), banks: 2, port_bytes: 64, latency: Cycles::new(1) },
            vector: VectorUnit {
                lanes: 16,
                start_cycles: 1,
                cycles: VectorCycles { requantize: 1, table: 1, sum: 1, product: 1, pool: 1, softmax: 1, layer_norm: 1 },
                requantize: Requantizer::Float,
                depthwise: Depthwise::Array,
                unsupported: Unsupported::Refuse,
            },
            dram: Dram::Ideal { bytes_per_cycle: BytesPerCycle::whole(16), latency: Cycles::new(100) },
            codec: Codec::None,
        }
    }

    impl Parts {
        pub(in crate::energy) fn parts(&self) -> ChipParts<'_> {
            ChipParts {
                technology: &self.technology,
                clock: Hertz::new(500_000_000),
                cores: 1,
                array: &self.array,
                formats: &self.formats,
                scratchpads: &self.scratchpads,
                accumulator: &self.accumulator,
                vector: &self.vector,
                dram: &self.dram,
                codec: self.codec,
            }
        }
    }
}
