//! The size and hops of an array, as indices.

use crate::chip::{Array, Dataflow};

/// Size and hops of an array.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// Cycles from a PE to the next below.
    pub(super) row_hop: usize,
    /// Cycles from a PE to the next on its right.
    pub(super) col_hop: usize,
    /// Input, PE-input and output registers, in all.
    pub(super) registers: usize,
    /// Elements of K that a PE sees side by side: its lanes, or the groups that they choose from.
    pub(super) depth: usize,
}

impl Shape {
    pub(super) fn new(array: &Array, dataflow: &Dataflow, depth: usize) -> Self {
        Self {
            rows: array.rows as usize,
            cols: array.cols as usize,
            row_hop: dataflow.row_hop() as usize,
            col_hop: dataflow.col_hop() as usize,
            registers: dataflow.pipeline_registers() as usize,
            depth,
        }
    }

    /// Cycles after which an element that entered is nowhere any more.
    pub(super) const fn window(&self) -> usize {
        self.row_hop * (self.rows - 1) + self.col_hop * (self.cols - 1) + self.registers + 1
    }
}

/// A cycle or a ring's place as an index.
pub(super) fn place(number: u64, length: usize) -> usize {
    usize::try_from(number % length as u64).expect("bug: an index below a length fits")
}
