//! Each layer under the roofs of its chip (Williams, Waterman, Patterson, CACM 2009): MACs a cycle against MACs a byte of DRAM.
//!
//! Not here: how it is drawn (`plot`).

use super::csv::csv_of;
use super::ratio;
use serde::{Deserialize, Serialize};

/// The most that a chip could do and move a cycle.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub struct Roofs {
    /// MACs a cycle of its array, in that of the formats that ran in which it does most.
    pub macs_per_cycle: u64,
    /// Bytes a cycle between DRAM and the chip: the slower of the bus and the DMA engines.
    pub dram_bytes_per_cycle: f64,
}

impl Roofs {
    /// The MACs a byte from which on the array binds rather than DRAM.
    pub fn ridge(&self) -> f64 {
        ratio(self.macs_per_cycle as f64, self.dram_bytes_per_cycle)
    }
}

/// A chip's roofs, and layers below them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Roofline {
    /// The chip's name.
    pub chip: String,
    /// The network's or the table's name.
    pub network: String,
    /// Samples in a batch.
    pub batch: u64,
    /// Its roofs.
    pub roofs: Roofs,
    /// The layers.
    pub layers: Vec<RooflineLayer>,
}

/// A layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RooflineLayer {
    /// Its name.
    pub name: String,
    /// Multiply-accumulates that the array does for it.
    pub macs: u64,
    /// Bytes on DRAM's bus for it, fetched ahead or not.
    pub dram_bytes: u64,
    /// Cycles of its window, simulated.
    pub total_cycles: u64,
    /// The least that its window could take.
    pub cycles_lower_bound: u64,
    /// What binds it.
    pub bound_by: String,
}

impl RooflineLayer {
    /// MACs a byte of DRAM.
    pub fn intensity(&self) -> f64 {
        ratio(self.macs as f64, self.dram_bytes as f64)
    }
}

impl Roofline {
    /// The layers as CSV, a header first.
    ///
    /// # Panics
    /// Never: it writes to memory.
    pub fn csv(&self) -> String {
        csv_of(&self.layers)
    }
}
