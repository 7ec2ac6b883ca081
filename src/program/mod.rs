//! Programs: commands in `repeat` blocks with affine addresses, one in-order queue a unit, semaphores between them.
//!
//! A [`Program`] can only be made through the verifier, so whoever holds one holds a program that reads what was written, overwrites
//! nothing that is still to be read, stays inside its memories, and ends. Not here: networks (`emit` lowers a mapping) and time (`sim`).

mod address;
mod command;
mod cursor;
mod emit;
mod error;
mod gemm;
mod host;
mod region;
mod segments;
mod text;
mod values;
mod verify;
mod window;

pub use crate::chip::{ArrayMode, Fill, Group};
pub use crate::mapping::{Piece, Slide};
pub(crate) use address::gcd;
pub use address::{Address, Ring};
pub use command::{
    Coded, Command, Compute, Item, Operation, Place, Preload, Product, Repeat, Requantize, Semaphore, SemaphoreDecl, Sync, Tag, Transfer,
    UnitId, UnitKind, UnitQueue, VectorInput, VectorWork, Window,
};
pub use cursor::Cursor;
pub use emit::{StageNumbers, emit, emit_stages, emit_timing};
pub use error::ProgramError;
pub use gemm::{Gemm, LayoutError, PassShape};
pub use host::{HostFactor, HostInput, HostWork};
#[cfg(test)]
pub(crate) use region::ONCE;
pub(crate) use region::{Access, Block};
pub use values::{CodedValue, GRANULE_BYTES};
pub use window::Planes;

use crate::numerics::{HostOp, OutputStage, VectorOp};
use serde::{Deserialize, Serialize};

/// The most posts that one command may have.
pub(crate) const MAX_POSTS: usize = 4;

/// Bytes that lie in a memory before the first cycle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Image {
    /// The memory.
    pub place: Place,
    /// The first byte's address.
    pub address: u64,
    /// The bytes.
    #[serde(with = "text::hex")]
    pub bytes: Vec<u8>,
}

/// Where the host puts inputs and takes outputs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostRegion {
    /// The memory: DRAM, or whatever holds the operands of a program for the array alone.
    pub place: Place,
    /// The first byte's address.
    pub address: u64,
    /// Bytes of the whole batch.
    pub bytes: u64,
}

/// The sizes that a program's addresses must stay inside of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemorySizes {
    /// Bytes of DRAM that the program uses.
    pub dram: u64,
    /// Bytes of each scratchpad.
    pub scratchpads: Vec<u64>,
    /// Bytes of the accumulator.
    pub accumulator: u64,
}

/// All that a program is made of, before it is verified.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ProgramParts {
    /// The units' queues, each unit once.
    pub queues: Vec<UnitQueue>,
    /// The semaphores that commands name by index.
    pub semaphores: Vec<SemaphoreDecl>,
    /// The output stages that `requantize` commands name by index.
    pub output_stages: Vec<OutputStage>,
    /// The operations that `vector` commands name by index.
    pub vector_ops: Vec<VectorOp>,
    /// The operations that `host` commands name by index.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub host_ops: Vec<HostOp>,
    /// The stages that tags name by index.
    pub stages: Vec<StageDecl>,
    /// What lies in the memories at the start.
    pub images: Vec<Image>,
    /// Where the host puts what a run is given, in the order in which it is given.
    pub inputs: Vec<HostRegion>,
    /// Where the host finds the results.
    pub output: HostRegion,
    /// The values that lie coded in DRAM, by address; no two share a byte.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub coded_values: Vec<CodedValue>,
    /// The memories' sizes.
    pub memories: MemorySizes,
    /// Bytes of one accumulator element.
    pub accumulator_element_bytes: u64,
    /// What the array does: one of these in each stage.
    pub modes: Vec<ArrayMode>,
    /// Whether the program is for the array alone: its operands in place, in memories as large as they need, the accumulator at zero; no other
    /// unit, no semaphores.
    pub array_only: bool,
}

/// A stage: what tags name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StageDecl {
    /// Its name, for reports.
    pub name: String,
    /// What the array does in it, an index into the program's list.
    pub mode: u32,
}

impl ProgramParts {
    /// What the array does in a stage.
    ///
    /// # Panics
    /// If there is no such stage, or no such mode, which the verifier refuses.
    pub fn mode_of(&self, stage: u32) -> &ArrayMode {
        &self.modes[self.stages[stage as usize].mode as usize]
    }

    /// Shows every command of the units of a kind, once however often it repeats.
    pub(crate) fn each_command(&self, kind: UnitKind, see: &mut impl FnMut(&Command)) {
        self.each_command_with_trips(kind, &mut |command, _| see(command));
    }

    /// The same, with how often it repeats.
    pub(crate) fn each_command_with_trips(&self, kind: UnitKind, see: &mut impl FnMut(&Command, u64)) {
        fn walk(items: &[Item], trips: u64, see: &mut impl FnMut(&Command, u64)) {
            for item in items {
                match item {
                    Item::Repeat(repeat) => walk(&repeat.body, trips.saturating_mul(repeat.trips), see),
                    Item::Do(command) => see(command, trips),
                }
            }
        }
        for queue in self.queues.iter().filter(|queue| queue.unit.kind == kind) {
            walk(&queue.items, 1, see);
        }
    }
}

/// A verified program: one batch's work for every unit.
#[derive(Debug, Clone, PartialEq)]
pub struct Program {
    parts: ProgramParts,
    commands_per_stage: Vec<u64>,
}

impl Program {
    /// Verifies `parts`.
    ///
    /// # Errors
    /// An address outside its memory, a read of what was never written, an overwrite of what is still to be read, a wait that nothing
    /// ends, or an index that names nothing.
    pub fn new(parts: ProgramParts) -> Result<Self, ProgramError> {
        let commands_per_stage = verify::verify(&parts, verify::Order::Played)?;
        Ok(Self { parts, commands_per_stage })
    }

    /// A program of the emitter's that is only timed: its shape is verified. The order of its accesses, which takes as long to play through as to
    /// time, is that of every program of the emitter; builds with debug assertions, as those of tests are, verify it too.
    fn to_time(parts: ProgramParts) -> Result<Self, ProgramError> {
        let order = if cfg!(debug_assertions) { verify::Order::Played } else { verify::Order::Trusted };
        let commands_per_stage = verify::verify(&parts, order)?;
        Ok(Self { parts, commands_per_stage })
    }

    /// The program's parts, to read.
    pub fn parts(&self) -> &ProgramParts {
        &self.parts
    }

    /// How many commands carry each stage's tag.
    pub fn commands_per_stage(&self) -> &[u64] {
        &self.commands_per_stage
    }

    /// The text form, which [`Program::from_text`] reads back.
    ///
    /// # Errors
    /// If a value cannot be written as RON, which no program has.
    pub fn to_text(&self) -> Result<String, ProgramError> {
        text::print(&self.parts)
    }

    /// Reads the text form and verifies it.
    ///
    /// # Errors
    /// A syntax error with its line and column, or whatever [`Program::new`] refuses.
    pub fn from_text(text: &str) -> Result<Self, ProgramError> {
        Self::new(text::parse(text)?)
    }
}
