//! The trusted chip: what a checked chip file means, with every unit resolved. Its only constructor is `chip::check`.
//!
//! The parts' fields are public to read; a [`Chip`] hands them out by shared reference only, so what was checked stays checked.

use super::array::{Array, Dataflow, Stationary};
use super::dram::Dram;
use super::price::{AreaSource, EnergySource, PeCost};
use crate::codec::Code;
use crate::numerics::{AccumulateRule, Arithmetic, Dtype, Overflow, Requantizer, VectorKind};
use crate::units::{Bytes, BytesPerCycle, Cycles, Hertz};
use serde::Serialize;

/// A chip that can be built: every field checked against every other.
#[derive(Debug, Clone, PartialEq)]
pub struct Chip {
    pub(super) name: String,
    pub(super) source: String,
    pub(super) technology: Technology,
    pub(super) clock: Hertz,
    pub(super) cores: u32,
    pub(super) interconnect: Interconnect,
    pub(super) array: Array,
    pub(super) formats: Vec<Format>,
    pub(super) storage: Storage,
    pub(super) scratchpads: Vec<Scratchpad>,
    pub(super) accumulator: Accumulator,
    pub(super) vector: VectorUnit,
    pub(super) dma: Dma,
    pub(super) dram: Dram,
    pub(super) energy: EnergySource,
    pub(super) area: AreaSource,
    pub(super) resolved: String,
}

impl Chip {
    /// The same chip with a scratchpad of so many bytes, whether a file may say so or not: to ask what would fit. Its text stays as it is.
    ///
    /// # Panics
    /// If there is no such scratchpad.
    pub(crate) fn with_capacity(&self, scratchpad: usize, capacity: Bytes) -> Self {
        let mut chip = self.clone();
        chip.scratchpads[scratchpad].capacity = capacity;
        chip
    }

    /// The chip's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where the chip's figures come from.
    pub fn source(&self) -> &str {
        &self.source
    }

    /// The process that the chip is made in.
    pub fn technology(&self) -> &Technology {
        &self.technology
    }

    /// The core clock.
    pub fn clock(&self) -> Hertz {
        self.clock
    }

    /// How many cores: each an array with its memories and units.
    pub fn cores(&self) -> u32 {
        self.cores
    }

    /// What lies between the DMA engines and DRAM.
    pub fn interconnect(&self) -> &Interconnect {
        &self.interconnect
    }

    /// The systolic array.
    pub fn array(&self) -> &Array {
        &self.array
    }

    /// The format pairs that a PE multiplies; the first is the default.
    pub fn formats(&self) -> &[Format] {
        &self.formats
    }

    /// The format pair for these weights and activations.
    pub fn format(&self, weight: Dtype, activation: Dtype) -> Option<&Format> {
        self.formats.iter().find(|format| format.weight == weight && format.activation == activation)
    }

    /// The format pair of this name, such as `w8a8`.
    pub fn format_named(&self, name: &str) -> Option<&Format> {
        self.formats.iter().find(|format| format.name() == name)
    }

    /// The array's timing in the dataflow of this kind, if it has one.
    pub fn dataflow(&self, kind: Stationary) -> Option<&Dataflow> {
        self.array.dataflows.iter().find(|dataflow| dataflow.kind() == kind)
    }

    /// How elements are kept in DRAM and in the scratchpads.
    pub fn storage(&self) -> &Storage {
        &self.storage
    }

    /// The scratchpads.
    pub fn scratchpads(&self) -> &[Scratchpad] {
        &self.scratchpads
    }

    /// The index of the scratchpad that holds weights, and of the one that holds activations (the same where it is shared).
    ///
    /// # Panics
    /// Never: `chip::check` refuses a chip that lacks one of them.
    pub fn scratchpad_roles(&self) -> ScratchpadRoles {
        let holding = |role: ScratchpadRole| {
            self.scratchpads
                .iter()
                .position(|pad| pad.role == role || pad.role == ScratchpadRole::Shared)
                .expect("bug: a chip without a scratchpad for an operand should have been refused by chip::check")
        };
        ScratchpadRoles { weight: holding(ScratchpadRole::Weight), activation: holding(ScratchpadRole::Input) }
    }

    /// The accumulator.
    pub fn accumulator(&self) -> &Accumulator {
        &self.accumulator
    }

    /// The vector unit.
    pub fn vector(&self) -> &VectorUnit {
        &self.vector
    }

    /// The DMA engines.
    pub fn dma(&self) -> &Dma {
        &self.dma
    }

    /// The external memory.
    pub fn dram(&self) -> &Dram {
        &self.dram
    }

    /// Bytes that the bus between DRAM and the engines moves in a core cycle at most: an ideal one is as fast as the slower of DRAM and an engine, which share it;
    /// behind banks each engine has a link of its own.
    pub fn bus_bytes_per_cycle(&self) -> BytesPerCycle {
        let rate = self.dram.bytes_per_cycle(self.clock);
        match self.dram {
            Dram::Ideal { .. } => rate.min(self.dma.bytes_per_cycle),
            Dram::Banked(_) => rate,
        }
    }

    /// Where the energy of each action comes from; `energy::table` resolves it.
    pub fn energy(&self) -> &EnergySource {
        &self.energy
    }

    /// Where the area of each part comes from; `energy::area` resolves it.
    pub fn area(&self) -> &AreaSource {
        &self.area
    }

    /// The whole chip as a RON file with every variant, preset and `--set` applied. Loading it gives this chip again.
    pub fn resolved(&self) -> &str {
        &self.resolved
    }

    /// All that the time of a program goes by, as text: chips that differ in nothing else run it alike, cycle by cycle. The process, the name and the
    /// source have no part in it, nor has the clock but by what it makes of DRAM's time.
    pub fn timing(&self) -> String {
        let by_clock = match &self.dram {
            Dram::Ideal { .. } => format!("{:?} {:?}", self.dram.bytes_per_cycle(self.clock), self.dram.latency(self.clock)),
            Dram::Banked(_) => format!("{:?}", self.clock),
        };
        format!("{}\n{by_clock}", self.resolved_without(&["name", "source", "technology", "clock"]))
    }

    /// The resolved text without some of a chip's own fields, which take a line each.
    pub fn resolved_without(&self, fields: &[&str]) -> String {
        let is_one = |line: &&str| {
            let field = line.strip_prefix("    ").and_then(|line| line.split_once(':'));
            field.is_some_and(|(field, _)| fields.contains(&field))
        };
        self.resolved.lines().filter(|line| !is_one(line)).collect::<Vec<_>>().join("\n")
    }

    /// The arithmetic of `format` in `dataflow` on this chip. Where the sums move, a column adds its products exactly before the
    /// accumulator is updated; where they stay, only the lanes of one PE do.
    pub fn arithmetic(&self, format: &Format, dataflow: &Dataflow) -> Arithmetic {
        let lanes = u64::from(format.lanes);
        let chunk = match dataflow.kind() {
            Stationary::Weight | Stationary::Input => u64::from(self.array.rows) * lanes,
            Stationary::Output => lanes,
        };
        Arithmetic {
            accumulate: AccumulateRule { bits: format.accumulator_bits, overflow: format.overflow, chunk },
            requantize: self.vector.requantize,
        }
    }

    /// Multiply-accumulates in one cycle at most, in `format`.
    pub fn peak_macs_per_cycle(&self, format: &Format) -> u64 {
        u64::from(self.cores) * u64::from(self.array.rows) * u64::from(self.array.cols) * u64::from(format.lanes)
    }

    /// Bytes of all scratchpads and accumulators of all cores.
    pub fn on_chip_bytes(&self) -> Bytes {
        let pads: Bytes = self.scratchpads.iter().map(|pad| pad.capacity).sum();
        (pads + self.accumulator.capacity) * u64::from(self.cores)
    }
}

/// The process that a chip is made in.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Technology {
    /// Feature size in nanometres.
    pub node_nm: u32,
    /// Supply in volts.
    pub supply_v: f64,
    /// The SRAM cells' transistors.
    pub sram_cell: SramCell,
}

/// The kind of transistor that SRAM cells are made of, as CACTI names them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
pub enum SramCell {
    /// Low standby power: leaks next to nothing.
    LSTP,
    /// Low operating power.
    LOP,
    /// High performance: leaks most.
    HP,
}

/// A pair of formats that a PE multiplies.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Format {
    /// The weights' format.
    pub weight: Dtype,
    /// The activations' format.
    pub activation: Dtype,
    /// Elements of K packed in one PE.
    pub lanes: u32,
    /// Bits of an accumulator, 1 to 64.
    pub accumulator_bits: u32,
    /// What the accumulator does with a sum that it cannot hold.
    pub overflow: Overflow,
    /// What a PE costs in this format.
    pub pe: PeCost,
}

impl Format {
    /// The pair's name by its bits: `w8a8`, `w4a8`, `w1a1` where both are binary.
    pub fn name(&self) -> String {
        format!("w{}a{}", self.weight.bits(), self.activation.bits())
    }

    /// Whether both are binary: a multiplication is an XNOR then, and a sum a popcount.
    pub fn is_binary(&self) -> bool {
        self.weight == Dtype::Binary && self.activation == Dtype::Binary
    }

    /// Bytes that a sum takes in the accumulator's memory: 1, 2, 4 or 8.
    pub fn accumulator_bytes(&self) -> u64 {
        u64::from(self.accumulator_bits.div_ceil(8).next_power_of_two())
    }
}

/// How elements are kept in DRAM and in the scratchpads.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Storage {
    /// The room that a weight takes.
    pub weight: StorageWidth,
    /// The room that an activation takes.
    pub activation: StorageWidth,
    /// How weights lie in DRAM in fewer bytes than on the chip.
    pub codec: Codec,
}

/// The room that a stored element takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum StorageWidth {
    /// The format's bits, packed along the innermost dimension, low bits first, each row starting on a byte.
    Packed,
    /// Whole bytes, however narrow the format.
    WholeBytes,
}

/// How the DMA engines unpack what lies coded in DRAM when it comes in: each piece of weights that a transfer fetches is a block of its own,
/// kept as it is where its code is no shorter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Codec {
    /// Not at all.
    None,
    /// A bit an element says whether it is zero; only the others follow.
    ZeroBitmask {
        /// Bytes that an engine unpacks in a cycle.
        bytes_per_cycle: BytesPerCycle,
        /// Whether activations are coded too, in the time that they take whole.
        activations: bool,
    },
    /// Runs of zeros are counted.
    RunLength {
        /// Bytes that an engine unpacks in a cycle.
        bytes_per_cycle: BytesPerCycle,
        /// Bits of the length of a run.
        run_bits: u32,
        /// Whether activations are coded too, in the time that they take whole.
        activations: bool,
    },
    /// Weights of fewer bits than the array multiplies keep their own width in DRAM, and get their sign in the bits that they lack.
    Widen {
        /// Bytes that an engine unpacks in a cycle.
        bytes_per_cycle: BytesPerCycle,
    },
}

impl Codec {
    /// How zeros are left out; none where they are not.
    pub fn code(self) -> Option<Code> {
        match self {
            Self::None | Self::Widen { .. } => None,
            Self::ZeroBitmask { .. } => Some(Code::ZeroBitmask),
            Self::RunLength { run_bits, .. } => Some(Code::RunLength { run_bits }),
        }
    }

    /// Whether weights may lie narrower in DRAM than the array multiplies them.
    pub const fn widens(self) -> bool {
        matches!(self, Self::Widen { .. })
    }

    /// Whether engines unpack blocks of this code.
    pub fn unpacks(self, code: Code) -> bool {
        match code {
            Code::Narrow { .. } => self.widens(),
            Code::ZeroBitmask | Code::RunLength { .. } => self.code() == Some(code),
        }
    }

    /// Bytes that an engine unpacks in a cycle; none where there is nothing to unpack.
    pub fn bytes_per_cycle(self) -> Option<BytesPerCycle> {
        match self {
            Self::None => None,
            Self::ZeroBitmask { bytes_per_cycle, .. } | Self::RunLength { bytes_per_cycle, .. } | Self::Widen { bytes_per_cycle } => {
                Some(bytes_per_cycle)
            }
        }
    }

    /// Whether activations are coded too.
    pub fn codes_activations(self) -> bool {
        match self {
            Self::None | Self::Widen { .. } => false,
            Self::ZeroBitmask { activations, .. } | Self::RunLength { activations, .. } => activations,
        }
    }
}

/// What lies between the DMA engines and DRAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Interconnect {
    /// Core cycles that it adds to a transfer's latency.
    pub latency: Cycles,
}

/// What a scratchpad holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
pub enum ScratchpadRole {
    /// Activations, read and written.
    Input,
    /// Weights and biases.
    Weight,
    /// Both.
    Shared,
}

/// Which scratchpad, by index, holds what.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ScratchpadRoles {
    /// The scratchpad of weights and biases.
    pub weight: usize,
    /// The scratchpad of activations.
    pub activation: usize,
}

/// An on-chip memory of operands. Row i, a port wide, lies in bank i mod banks; a bank serves one row a cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Scratchpad {
    /// What it holds.
    pub role: ScratchpadRole,
    /// Its size, a whole number of rows in each bank.
    pub capacity: Bytes,
    /// Banks.
    pub banks: u32,
    /// Bytes of a row, which a port moves in a cycle.
    pub port_bytes: u32,
    /// Cycles from an address to its row, paid once where the address queue was empty.
    pub latency: Cycles,
}

/// The on-chip memory of sums, with an adder at its port. Row i, a port wide, lies in bank i mod banks.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Accumulator {
    /// Its size, a whole number of rows in each bank.
    pub capacity: Bytes,
    /// Banks.
    pub banks: u32,
    /// Bytes of a row, which a port moves in a cycle.
    pub port_bytes: u32,
    /// Cycles from an update's read to its write; a row with a pending write cannot be read.
    pub latency: Cycles,
}

/// The vector unit: requantization and activation, and what else works element by element.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct VectorUnit {
    /// Elements a cycle.
    pub lanes: u32,
    /// Cycles before the first element of a command.
    pub start_cycles: u32,
    /// Cycles that each group of `lanes` elements takes, by operation.
    pub cycles: VectorCycles,
    /// How sums become outputs.
    pub requantize: Requantizer,
    /// Where depthwise convolutions run.
    pub depthwise: Depthwise,
    /// What happens to an operation that no unit can do.
    pub unsupported: Unsupported,
}

impl VectorUnit {
    /// Core cycles in which the host makes so many elements of a result, rounded up and one at least; none where there is no host.
    pub fn host_cycles(&self, elements: u64) -> Option<u64> {
        let Unsupported::Host { cycles_per_element } = self.unsupported else { return None };
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "it is not negative, and a cast from float saturates")]
        let cycles = libm::ceil(elements as f64 * cycles_per_element) as u64;
        Some(cycles.max(1))
    }
}

/// Cycles that each group of `lanes` elements takes, by operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VectorCycles {
    /// Requantization, its activation included; so of a depthwise convolution's sums.
    pub requantize: u32,
    /// A function of one element, looked up.
    pub table: u32,
    /// The sum of two elements.
    pub sum: u32,
    /// The product of two elements; one tap of a depthwise convolution.
    pub product: u32,
    /// One tap of a pooling window.
    pub pool: u32,
    /// Each of the three sweeps of a softmax: maximum, sum, results.
    pub softmax: u32,
    /// Each of the two sweeps of a layer normalisation: sums, results.
    pub layer_norm: u32,
}

impl VectorCycles {
    /// Cycles of an operation, for each group at each sweep or tap.
    pub const fn of(&self, kind: VectorKind) -> u32 {
        match kind {
            VectorKind::Table => self.table,
            VectorKind::Sum => self.sum,
            // A tap's product is added to its sum in the cycles that its requantization would take.
            VectorKind::Product | VectorKind::Depthwise => self.product,
            VectorKind::Pool => self.pool,
            VectorKind::Softmax => self.softmax,
            VectorKind::LayerNorm => self.layer_norm,
        }
    }
}

/// Where depthwise convolutions run.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, serde::Deserialize)]
pub enum Depthwise {
    /// On the array, one GEMM a group.
    Array,
    /// On the vector unit, where each channel has one filter.
    Vector,
}

/// What happens to an operation that no unit can do.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, serde::Deserialize)]
pub enum Unsupported {
    /// The network is refused.
    Refuse,
    /// The host does it, at this many core cycles an element, which count in the totals.
    Host {
        /// Core cycles an element of the result, from when its inputs are in DRAM to when it is there.
        cycles_per_element: f64,
    },
}

/// The DMA engines between DRAM and the on-chip memories.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Dma {
    /// Engines, each with a queue of its own; the first loads, the last stores (the same where there is one).
    pub engines: u32,
    /// Bytes that one engine moves in a cycle.
    pub bytes_per_cycle: BytesPerCycle,
    /// Commands that one engine keeps in flight.
    pub outstanding: u32,
}
