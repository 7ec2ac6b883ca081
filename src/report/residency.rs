//! Where tensors lie on the chip, how long, and how full its memories are; and as CSV.
//!
//! Not here: where anything is put (`mapping`).

use super::csv::csv_of;
use serde::{Deserialize, Serialize};

/// What lies in the chip's memories while a program runs. The mapping says it before the first cycle; it is the same for every program of a run.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Residency {
    /// Every scratchpad, then the accumulator.
    pub memories: Vec<MemoryUse>,
    /// What has a place of its own, in the order of layers, rings that all layers share last.
    pub tensors: Vec<TensorLife>,
    /// Outputs that would stay on the chip for the layers that read them if the scratchpad had no limit.
    pub passed_on: u64,
    /// Of them, those that go through DRAM.
    pub spilled: u64,
    /// The scratchpad with which none would; none where none does, or no size would do.
    pub smallest_scratchpad: Option<SmallestScratchpad>,
}

/// How full a memory is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryUse {
    /// Its name: `scratchpads.0` or `accumulator`, as the chip file has it.
    pub memory: String,
    /// Bytes that it has.
    pub capacity_bytes: u64,
    /// The most bytes of it that are set aside during one layer. Rings of weights and sums take what they can use of what is left.
    pub peak_bytes: u64,
    /// The first layer during which they are.
    pub peak_layer: String,
}

/// Where a tensor lies, and how long.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TensorLife {
    /// What it is: `input`, `output`, `weights`, `weight_ring` or `sums`.
    pub tensor: String,
    /// Its memory, as [`MemoryUse::memory`].
    pub memory: String,
    /// Its first byte there.
    pub address_bytes: u64,
    /// Bytes set aside for it.
    pub bytes: u64,
    /// The first layer during which it lies there.
    pub first_layer: String,
    /// The last.
    pub last_layer: String,
    /// Whether all of it lies there at once; else its parts pass through.
    pub is_whole: bool,
}

/// The capacity with which every output would stay on the chip that any would let stay, everything else being the same. With a row in every bank
/// less one would not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SmallestScratchpad {
    /// The scratchpad, as [`MemoryUse::memory`].
    pub memory: String,
    /// Its capacity.
    pub capacity_bytes: u64,
}

impl Residency {
    /// The tensors as CSV, a header first.
    ///
    /// # Panics
    /// Never: it writes to memory.
    pub fn csv(&self) -> String {
        csv_of(&self.tensors)
    }
}
