//! The loop nest of a stage: which dimension is cut into how many pieces at which level, from DRAM down to the array.

use super::Dim;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Where a loop is spread.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Spread {
    /// Over time, with the tiles of an on-chip buffer.
    Buffer,
    /// Over time, with the tiles of the array: each iteration is a pass, or a stationary tile.
    Pass,
    /// Over the rows of the array.
    Rows,
    /// Over the columns of the array.
    Cols,
    /// Over time inside a pass, one vector a cycle.
    Stream,
}

/// One loop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Loop {
    /// The dimension.
    pub dim: Dim,
    /// Iterations; the last may be partial.
    pub trips: u64,
    /// Elements of the dimension that one iteration covers.
    pub tile: u64,
    /// Where it is spread.
    pub spread: Spread,
}

/// The loops of a stage, the outermost first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LoopNest {
    loops: Vec<Loop>,
}

impl LoopNest {
    /// A weight-stationary nest over `vectors` x `reduction` x `channels` on an array of `rows` x `cols`: blocks of `vector_tile` vectors,
    /// then output-column tiles, then K tiles ascending, then passes of `pass_vectors`.
    pub(super) fn weight_stationary(size: [u64; 3], rows: u64, cols: u64, vector_tile: u64, pass_vectors: u64) -> Self {
        let [vectors, reduction, channels] = size;
        let pass = pass_vectors.min(vector_tile);
        let cut = |dim, size: u64, tile: u64, spread| Loop { dim, trips: size.div_ceil(tile), tile, spread };
        Self {
            loops: vec![
                cut(Dim::N, vectors, vector_tile, Spread::Buffer),
                cut(Dim::M, channels, cols, Spread::Buffer),
                cut(Dim::C, reduction, rows, Spread::Pass),
                cut(Dim::N, vector_tile, pass, Spread::Pass),
                cut(Dim::C, rows.min(reduction), 1, Spread::Rows),
                cut(Dim::M, cols.min(channels), 1, Spread::Cols),
                cut(Dim::N, pass, 1, Spread::Stream),
            ],
        }
    }

    /// The loops, the outermost first.
    pub fn loops(&self) -> &[Loop] {
        &self.loops
    }

    /// The tile of the loop over `dim` at `spread`.
    pub fn tile(&self, dim: Dim, spread: Spread) -> Option<u64> {
        self.loops.iter().find(|l| l.dim == dim && l.spread == spread).map(|l| l.tile)
    }
}

impl fmt::Display for LoopNest {
    /// One line a loop, indented, as Timeloop prints a mapping.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (depth, l) in self.loops.iter().enumerate() {
            let how = match l.spread {
                Spread::Buffer => "for",
                Spread::Pass => "for (pass)",
                Spread::Rows => "for (array rows)",
                Spread::Cols => "for (array columns)",
                Spread::Stream => "for (stream)",
            };
            writeln!(f, "{:indent$}{how} {:?} in 0..{} by {}", "", l.dim, l.trips, l.tile, indent = 2 * depth)?;
        }
        Ok(())
    }
}
