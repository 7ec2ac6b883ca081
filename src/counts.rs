//! What a run counts: cycles by account, actions by kind, bytes by place and operand. Plain data that `sim` fills and `energy` and
//! `report` read.
//!
//! Not here: what an action costs (`energy`), and how a count is printed (`report`).

use serde::{Deserialize, Serialize};
use std::ops::AddAssign;

/// Why a unit that has a command could not advance in a cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StallReason {
    /// Waits for weights that are not in the scratchpad yet.
    WeightsNotReady,
    /// Waits for activations that are not in the scratchpad yet.
    InputNotReady,
    /// Waits for a bias that is not in the scratchpad or the accumulator yet.
    BiasNotReady,
    /// Waits for sums that are not complete in the accumulator yet.
    ResultNotReady,
    /// Waits for room in a buffer that another unit has not read out yet.
    BufferFull,
    /// Pays the latency of a memory whose address queue was empty.
    MemoryLatency,
    /// A scratchpad bank serves another row in this cycle.
    ScratchpadConflict,
    /// An accumulator bank serves another row in this cycle.
    AccumulatorConflict,
    /// An accumulator row has a pending write.
    AccumulatorHazard,
    /// Waits for DRAM's first beat.
    DramLatency,
    /// DRAM's bus carries another transfer.
    DramBandwidth,
    /// The bytes that have come are still being unpacked.
    Codec,
    /// The array drains, or ends a pass, before the next one may enter.
    ArrayDrain,
    /// Waits until the host has done what no unit of the chip can do.
    Host,
}

impl StallReason {
    /// Every reason, in the order of reports.
    pub const ALL: [Self; 14] = [
        Self::WeightsNotReady,
        Self::InputNotReady,
        Self::BiasNotReady,
        Self::ResultNotReady,
        Self::BufferFull,
        Self::MemoryLatency,
        Self::ScratchpadConflict,
        Self::AccumulatorConflict,
        Self::AccumulatorHazard,
        Self::DramLatency,
        Self::DramBandwidth,
        Self::Codec,
        Self::ArrayDrain,
        Self::Host,
    ];

    /// The reason's name in JSON, CSV and the text form of a program.
    pub const fn name(self) -> &'static str {
        match self {
            Self::WeightsNotReady => "weights_not_ready",
            Self::InputNotReady => "input_not_ready",
            Self::BiasNotReady => "bias_not_ready",
            Self::ResultNotReady => "result_not_ready",
            Self::BufferFull => "buffer_full",
            Self::MemoryLatency => "memory_latency",
            Self::ScratchpadConflict => "scratchpad_conflict",
            Self::AccumulatorConflict => "accumulator_conflict",
            Self::AccumulatorHazard => "accumulator_hazard",
            Self::DramLatency => "dram_latency",
            Self::DramBandwidth => "dram_bandwidth",
            Self::Codec => "codec",
            Self::ArrayDrain => "array_drain",
            Self::Host => "host",
        }
    }

    /// The reason with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.name() == name)
    }

    const fn index(self) -> usize {
        self as usize
    }
}

/// One unit's cycles by account: every cycle is busy, stalled for one reason, or idle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CycleCounts {
    /// Cycles in which the unit advanced.
    pub busy: u64,
    /// Cycles without a command.
    pub idle: u64,
    stalled: [u64; StallReason::ALL.len()],
}

impl CycleCounts {
    /// Adds `cycles` stalled cycles for `reason`.
    pub fn stall(&mut self, reason: StallReason, cycles: u64) {
        self.stalled[reason.index()] += cycles;
    }

    /// Cycles stalled for `reason`.
    pub fn stalled(&self, reason: StallReason) -> u64 {
        self.stalled[reason.index()]
    }

    /// Cycles stalled for any reason.
    pub fn stalled_total(&self) -> u64 {
        self.stalled.iter().sum()
    }

    /// The stalls that happened, in the order of reports.
    pub fn stalls(&self) -> impl Iterator<Item = (StallReason, u64)> + '_ {
        StallReason::ALL.into_iter().map(|reason| (reason, self.stalled(reason))).filter(|(_, cycles)| *cycles > 0)
    }

    /// Busy, stalled and idle together.
    pub fn total(&self) -> u64 {
        self.busy + self.idle + self.stalled_total()
    }

    /// These counts less an earlier reading of the same account.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let mut stalled = self.stalled;
        for (now, before) in stalled.iter_mut().zip(earlier.stalled) {
            *now -= before;
        }
        Self { busy: self.busy - earlier.busy, idle: self.idle - earlier.idle, stalled }
    }
}

impl AddAssign for CycleCounts {
    fn add_assign(&mut self, other: Self) {
        self.busy += other.busy;
        self.idle += other.idle;
        for (sum, more) in self.stalled.iter_mut().zip(other.stalled) {
            *sum += more;
        }
    }
}

/// The four kinds of data that move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Operand {
    /// Activations that a layer reads.
    Input,
    /// Weights and biases.
    Weight,
    /// Finished results of a layer.
    Output,
    /// Sums that are not yet fully reduced, and biases on their way into them.
    Psum,
}

impl Operand {
    /// Every operand, in the order of reports.
    pub const ALL: [Self; 4] = [Self::Input, Self::Weight, Self::Output, Self::Psum];

    /// The operand's name in JSON, CSV and the text form of a program.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Weight => "weight",
            Self::Output => "output",
            Self::Psum => "psum",
        }
    }

    /// The operand with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|operand| operand.name() == name)
    }
}

/// Bytes read and written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct ReadWrite {
    /// Bytes read.
    pub read: u64,
    /// Bytes written.
    pub write: u64,
}

impl AddAssign for ReadWrite {
    fn add_assign(&mut self, other: Self) {
        self.read += other.read;
        self.write += other.write;
    }
}

/// Bytes that crossed one memory's port, by operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct OperandTraffic {
    /// Activations read by a layer.
    pub input: ReadWrite,
    /// Weights and biases.
    pub weight: ReadWrite,
    /// Finished results.
    pub output: ReadWrite,
    /// Partial sums and preset biases.
    pub psum: ReadWrite,
}

impl OperandTraffic {
    /// The traffic of one operand.
    pub fn of(&self, operand: Operand) -> ReadWrite {
        match operand {
            Operand::Input => self.input,
            Operand::Weight => self.weight,
            Operand::Output => self.output,
            Operand::Psum => self.psum,
        }
    }

    /// The traffic of one operand, to add to.
    pub fn of_mut(&mut self, operand: Operand) -> &mut ReadWrite {
        match operand {
            Operand::Input => &mut self.input,
            Operand::Weight => &mut self.weight,
            Operand::Output => &mut self.output,
            Operand::Psum => &mut self.psum,
        }
    }

    /// All operands together.
    pub fn total(&self) -> ReadWrite {
        let mut sum = ReadWrite::default();
        for operand in Operand::ALL {
            sum += self.of(operand);
        }
        sum
    }
}

impl AddAssign for OperandTraffic {
    fn add_assign(&mut self, other: Self) {
        for operand in Operand::ALL {
            *self.of_mut(operand) += other.of(operand);
        }
    }
}

/// Bytes that crossed each memory's port: the bytes that were wanted, whatever the port's or the burst's width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct TrafficBytes {
    /// DRAM: stored bytes that were wanted (bytes on the bus, whole bursts, are counted apart).
    pub dram: OperandTraffic,
    /// All scratchpads.
    pub scratchpad: OperandTraffic,
    /// All accumulators.
    pub accumulator: OperandTraffic,
}

impl AddAssign for TrafficBytes {
    fn add_assign(&mut self, other: Self) {
        self.dram += other.dram;
        self.scratchpad += other.scratchpad;
        self.accumulator += other.accumulator;
    }
}

/// Elements that entered and left the array, each time that they did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ElementCounts {
    /// Activations read.
    pub input_reads: u64,
    /// Weights read.
    pub weight_reads: u64,
    /// Sums written.
    pub output_writes: u64,
}

impl ElementCounts {
    /// Counts activations or weights that were read.
    pub fn read(&mut self, operand: Operand, elements: u64) {
        match operand {
            Operand::Input => self.input_reads += elements,
            Operand::Weight => self.weight_reads += elements,
            Operand::Output | Operand::Psum => {}
        }
    }
}

impl AddAssign for ElementCounts {
    fn add_assign(&mut self, other: Self) {
        self.input_reads += other.input_reads;
        self.weight_reads += other.weight_reads;
        self.output_writes += other.output_writes;
    }
}

/// The most scratchpads that a core has: one for activations and one for weights.
pub const MAX_SCRATCHPADS: usize = 2;

/// What was done, in whole actions, each of which has an energy in the chip's table.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct ActionCounts {
    /// Multiply-accumulates on real operands (padding rows, columns and vectors left out).
    pub macs: u64,
    /// Of `macs`, those that zero gating kept from toggling.
    pub macs_gated: u64,
    /// Zero points subtracted at the array's edge, one an element.
    pub zero_point_subtracts: u64,
    /// Bits written into activation, psum and stationary registers as operands hop from PE to PE.
    pub register_bits: u64,
    /// Scratchpad rows read, a port's width each, by the scratchpad's index.
    pub scratchpad_reads: [u64; MAX_SCRATCHPADS],
    /// Scratchpad rows written, a port's width each, by the scratchpad's index.
    pub scratchpad_writes: [u64; MAX_SCRATCHPADS],
    /// Accumulator rows read, a port's width each.
    pub accumulator_reads: u64,
    /// Accumulator rows written, a port's width each.
    pub accumulator_writes: u64,
    /// Bytes on DRAM's bus, read.
    pub dram_read_bytes: u64,
    /// Bytes on DRAM's bus, written.
    pub dram_write_bytes: u64,
    /// Rows activated in DRAM with banks.
    pub dram_activates: u64,
    /// Refresh commands in DRAM with banks, one a rank each.
    pub dram_refreshes: u64,
    /// Bytes of coded blocks that were read, and of coded values that were read or written, as they lie in DRAM.
    pub coded_bytes: u64,
    /// Bytes that they stand for on the chip: what the DMA engines unpacked, or packed.
    pub unpacked_bytes: u64,
    /// Elements that the vector unit worked on, an operation each.
    pub vector_operations: u64,
}

impl AddAssign for ActionCounts {
    fn add_assign(&mut self, other: Self) {
        self.macs += other.macs;
        self.macs_gated += other.macs_gated;
        self.zero_point_subtracts += other.zero_point_subtracts;
        self.register_bits += other.register_bits;
        for pad in 0..MAX_SCRATCHPADS {
            self.scratchpad_reads[pad] += other.scratchpad_reads[pad];
            self.scratchpad_writes[pad] += other.scratchpad_writes[pad];
        }
        self.accumulator_reads += other.accumulator_reads;
        self.accumulator_writes += other.accumulator_writes;
        self.dram_read_bytes += other.dram_read_bytes;
        self.dram_write_bytes += other.dram_write_bytes;
        self.dram_activates += other.dram_activates;
        self.dram_refreshes += other.dram_refreshes;
        self.coded_bytes += other.coded_bytes;
        self.unpacked_bytes += other.unpacked_bytes;
        self.vector_operations += other.vector_operations;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_has_its_own_slot_and_name() {
        let mut counts = CycleCounts::default();
        for (cycles, reason) in (1..).zip(StallReason::ALL) {
            counts.stall(reason, cycles);
            assert_eq!(counts.stalled(reason), cycles);
            assert_eq!(StallReason::from_name(reason.name()), Some(reason));
        }
        assert_eq!(counts.stalled_total(), (1..=14).sum::<u64>());
        assert_eq!(counts.since(&counts), CycleCounts::default());
    }
}
