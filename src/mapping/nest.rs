//! The loop nest of a stage: which dimension is cut into how many pieces at which level, from DRAM down to the array.

use super::{Dim, Order, Problem, Rules, Tiling, Work};
use crate::chip::Stationary;
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
    /// The nest of a problem that is cut so. A loop over N is over N * P * Q vectors, a loop over C over R * S * C elements of K.
    /// What is not the array's work has its blocks alone, and rows of elements; a movement has none, nor has what the host does.
    pub(super) fn of(work: &Work, problem: &Problem, tiling: &Tiling, rules: &Rules) -> Self {
        let cut = |dim, size: u64, tile: u64, spread| Loop { dim, trips: size.div_ceil(tile), tile, spread };
        let (vectors, reduction, channels) = (problem.vectors(), problem.reduction(), problem.channels());
        let (block, chunk, k) = (tiling.block.min(vectors), tiling.chunk.min(channels), rules.k_tile(problem));
        match work {
            Work::Movement(_) | Work::Host(_) => return Self { loops: Vec::new() },
            Work::Vector(_) => {
                let loops = vec![
                    cut(Dim::N, vectors, block, Spread::Buffer),
                    cut(Dim::N, block, 1, Spread::Stream),
                    cut(Dim::M, channels, 1, Spread::Stream),
                ];
                return Self { loops };
            }
            Work::Array | Work::Product { .. } => {}
        }
        let (rows, cols) = (u64::from(rules.mode.size.rows), u64::from(rules.mode.size.cols));
        let blocks = cut(Dim::N, vectors, tiling.block, Spread::Buffer);
        let chunks = cut(Dim::M, channels, tiling.chunk, Spread::Buffer);
        let mut loops = match tiling.order {
            Order::Blocks => vec![blocks, chunks],
            Order::Channels => vec![chunks, blocks],
        };
        loops.extend(match rules.mode.stationary {
            Stationary::Weight => {
                let pass = rules.pass.min(block);
                vec![
                    cut(Dim::C, reduction, k, Spread::Pass),
                    cut(Dim::N, block, pass, Spread::Pass),
                    cut(Dim::C, k, 1, Spread::Rows),
                    cut(Dim::M, chunk, 1, Spread::Cols),
                    cut(Dim::N, pass, 1, Spread::Stream),
                ]
            }
            Stationary::Input => {
                let (pass, held) = (rules.pass.min(chunk), cols.min(block));
                vec![
                    cut(Dim::N, block, held, Spread::Pass),
                    cut(Dim::C, reduction, k, Spread::Pass),
                    cut(Dim::M, chunk, pass, Spread::Pass),
                    cut(Dim::C, k, 1, Spread::Rows),
                    cut(Dim::N, held, 1, Spread::Cols),
                    cut(Dim::M, pass, 1, Spread::Stream),
                ]
            }
            Stationary::Output => {
                let held = rows.min(block);
                vec![
                    cut(Dim::N, block, held, Spread::Pass),
                    cut(Dim::N, held, 1, Spread::Rows),
                    cut(Dim::M, chunk, 1, Spread::Cols),
                    cut(Dim::C, reduction, 1, Spread::Stream),
                ]
            }
        });
        Self { loops }
    }

    /// The loops, the outermost first.
    pub fn loops(&self) -> &[Loop] {
        &self.loops
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
