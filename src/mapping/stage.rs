//! A mapped network: its stages, and how they share a chip's memories.

use super::{Dim, LoopNest, Operand, Pitches, Problem, Rules, Tiling, Work};
use crate::chip::Chip;
use crate::codec::{Code, Coding};
use crate::network::LayerId;
use crate::numerics::{AccumulateRule, Arithmetic, Dtype, Overflow, VectorKind};
use std::ops::Range;

/// How a network's stages lie on a chip.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    pub(super) batch: u64,
    pub(super) stages: Vec<Stage>,
    pub(super) buffers: Buffers,
}

impl Mapping {
    /// Samples in a batch.
    pub fn batch(&self) -> u64 {
        self.batch
    }

    /// The stages, in the order in which they run.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// How the memories are shared.
    pub fn buffers(&self) -> &Buffers {
        &self.buffers
    }

    /// The arithmetic of a layer on `chip`: that of the format and the dataflow which it is mapped to; exact sums of a depthwise convolution on the
    /// vector unit; of any other layer that the array does not compute, the chip's first ones.
    pub fn arithmetic(&self, chip: &Chip, layer: LayerId) -> Arithmetic {
        if self.stages.iter().any(|stage| stage.vector_macs() > 0 && stage.layers.contains(&layer)) {
            let accumulate = AccumulateRule { bits: 64, overflow: Overflow::Saturate, chunk: u64::MAX };
            return Arithmetic { accumulate, requantize: chip.vector().requantize };
        }
        let stage = self.stages.iter().find(|stage| stage.work.is_array() && stage.layers.contains(&layer));
        let mapped = stage.and_then(|stage| {
            Some((chip.format(stage.problem.weight, stage.problem.activation)?, chip.dataflow(stage.rules.mode.stationary)?))
        });
        let (format, dataflow) = mapped.unwrap_or((&chip.formats()[0], &chip.array().dataflows[0]));
        chip.arithmetic(format, dataflow)
    }
}

/// One array operation with its bias, requantization and activation, mapped.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// The layers that it computes, the array layer first; empty where there is no network.
    pub layers: Vec<LayerId>,
    /// The name of its array layer.
    pub name: String,
    /// The cores that work on it.
    pub cores: Range<u32>,
    /// Dimensions that are split over the cores, and into how many parts.
    pub split: Vec<(Dim, u64)>,
    /// What computes it.
    pub work: Work,
    /// What it computes; of work that is not the array's the sizes alone.
    pub problem: Problem,
    /// The values in DRAM that it reads, and the one that it yields, where they do not stay on the chip.
    pub sources: Vec<Operand>,
    /// The same of what it yields.
    pub target: Operand,
    /// Whether the stage before yields what it reads, as it reads it, for it alone.
    pub follows: bool,
    /// What the array does for it, and what the sizes of its pieces go by.
    pub rules: Rules,
    /// In which pieces.
    pub tiling: Tiling,
    /// The same as loops, to show.
    pub nest: LoopNest,
    /// Bytes from one thing to the next.
    pub pitches: Pitches,
    /// Where its input lies; of a movement, what passes through.
    pub input: InputBuffer,
    /// Where its second input lies, if it has one beside its weights.
    pub second: Option<InputBuffer>,
    /// Where its output goes.
    pub output: OutputBuffer,
    /// Where its weights lie.
    pub weights: WeightBuffer,
    /// For each chunk of channels, each tile of K: whether its weights are all zero, so that the array skips it; empty where none is skipped.
    pub skipped: Vec<bool>,
    /// How its weights may lie coded in DRAM, where the chip has a codec for them.
    pub coding: Option<Coding>,
    /// For each chunk of channels, each tile of K: bytes of its weights in DRAM, fewer than it has where they lie coded, none where it is
    /// skipped. Empty where none lies coded.
    pub stored: Vec<u64>,
}

/// Weights of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WeightPiece {
    /// How many.
    pub count: u64,
    /// Channels of each.
    pub channels: u64,
    /// Elements of K of each.
    pub inner: u64,
}

impl Stage {
    /// Blocks of vectors; none of a movement, nor of the host.
    pub fn blocks(&self) -> u64 {
        if matches!(self.work, Work::Movement(_) | Work::Host(_)) { 0 } else { self.problem.vectors().div_ceil(self.tiling.block) }
    }

    /// The vectors of block `number`.
    pub fn block(&self, number: u64) -> Range<u64> {
        let size = self.tiling.block;
        number * size..((number + 1) * size).min(self.problem.vectors())
    }

    /// Multiply-accumulates of the array.
    pub fn macs(&self) -> u64 {
        if self.work.is_array() { self.problem.macs() } else { 0 }
    }

    /// Multiply-accumulates of the vector unit: those of a depthwise convolution.
    pub fn vector_macs(&self) -> u64 {
        let Work::Vector(ops) = &self.work else { return 0 };
        let is_depthwise = ops.iter().any(|op| op.kind() == VectorKind::Depthwise);
        if is_depthwise { self.problem.vectors() * self.problem.m * self.problem.r * self.problem.s } else { 0 }
    }

    /// The inputs that it has beside weights, each with where it lies in DRAM.
    pub fn inputs(&self) -> impl Iterator<Item = (InputBuffer, &Operand)> {
        std::iter::once(self.input).chain(self.second).zip(&self.sources)
    }

    /// The format in which its weights lie in DRAM: that in which they are multiplied, or a narrower one that is widened as they come.
    pub fn kept_format(&self) -> Dtype {
        match self.coding.map(|coding| coding.code) {
            Some(Code::Narrow { bits }) => Dtype::from_bits(bits).unwrap_or(self.problem.weight),
            _ => self.problem.weight,
        }
    }

    /// Bytes of its weights, packed without gaps, in the format in which they lie in DRAM.
    pub fn kept_bytes(&self) -> u64 {
        Problem { weight: self.kept_format(), ..self.problem }.weight_bytes()
    }

    /// Chunks of channels.
    pub fn chunks(&self) -> u64 {
        self.problem.channels().div_ceil(self.tiling.chunk)
    }

    /// Whether the array skips a tile of weights.
    pub fn is_skipped(&self, chunk: u64, k_tile: u64) -> bool {
        let k_tiles = self.skipped.len() as u64 / self.chunks();
        usize::try_from(chunk * k_tiles + k_tile).is_ok_and(|place| self.skipped.get(place).copied().unwrap_or(false))
    }

    /// The channels of a tile of weights, and its elements of K.
    pub fn weight_tile(&self, chunk: u64, k_tile: u64) -> [Range<u64>; 2] {
        let part = |size: u64, tile: u64, number: u64| number * tile..((number + 1) * tile).min(size);
        let (problem, rules) = (&self.problem, &self.rules);
        [part(problem.channels(), self.tiling.chunk, chunk), part(problem.reduction(), rules.k_tile(problem), k_tile)]
    }

    /// Bytes of a tile of weights that lies as it is.
    pub fn packed_bytes(&self, chunk: u64, k_tile: u64) -> u64 {
        let [channels, inner] = self.weight_tile(chunk, k_tile);
        self.rules.weight_bytes(channels.end - channels.start, inner.end - inner.start)
    }

    /// How a tile of weights lies coded in DRAM, if it does, and in how many bytes.
    pub fn coded(&self, chunk: u64, k_tile: u64) -> Option<(Coding, u64)> {
        let bytes = self.stored_bytes(chunk, k_tile)?;
        self.coding.filter(|_| bytes < self.packed_bytes(chunk, k_tile)).map(|coding| (coding, bytes))
    }

    /// Bytes of a tile of weights in DRAM, where any tile of the stage lies coded.
    pub fn stored_bytes(&self, chunk: u64, k_tile: u64) -> Option<u64> {
        let k_tiles = self.stored.len() as u64 / self.chunks();
        self.stored.get(usize::try_from(chunk * k_tiles + k_tile).ok()?).copied()
    }

    /// Bytes that are unpacked when all weights are fetched once.
    pub fn unpacked_bytes(&self) -> u64 {
        if self.stored.is_empty() {
            return 0;
        }
        let k_tiles = self.rules.k_tiles(&self.problem);
        let pieces = (0..self.chunks()).flat_map(|chunk| (0..k_tiles).map(move |k| (chunk, k)));
        let coded = pieces.filter(|(chunk, k)| !self.is_skipped(*chunk, *k) && self.coded(*chunk, *k).is_some());
        coded.map(|(chunk, k)| self.packed_bytes(chunk, k)).sum()
    }

    /// The tiles of weights that are not skipped, by size.
    pub fn weight_pieces(&self) -> Vec<WeightPiece> {
        if !self.work.is_array() {
            return Vec::new();
        }
        let (chunk, k_tile) = (self.tiling.chunk, self.rules.k_tile(&self.problem));
        let (channels, reduction) = (self.problem.channels(), self.problem.reduction());
        let sizes = |size: u64, tile: u64| [(size / tile, tile), (u64::from(!size.is_multiple_of(tile)), size % tile)];
        let mut pieces = Vec::new();
        for (of_chunk, (chunks, channels)) in sizes(channels, chunk).into_iter().enumerate() {
            for (of_k, (tiles, inner)) in sizes(reduction, k_tile).into_iter().enumerate() {
                let first = [of_chunk as u64 * (self.problem.channels() / chunk), of_k as u64 * (reduction / k_tile)];
                let skipped = (first[0]..first[0] + chunks)
                    .map(|chunk| (first[1]..first[1] + tiles).filter(|k| self.is_skipped(chunk, *k)).count() as u64);
                let count = chunks * tiles - if self.skipped.is_empty() { 0 } else { skipped.sum() };
                if count > 0 {
                    pieces.push(WeightPiece { count, channels, inner });
                }
            }
        }
        pieces
    }

    /// The rows of the input that block `block` is the first to need, where it is fetched.
    pub fn new_rows(&self, block: u64) -> Range<u64> {
        let rows = |block: u64| self.problem.rows_of(self.block(block));
        let mine = rows(block);
        let before = if block == 0 { 0 } else { rows(block - 1).end };
        mine.start.max(before).min(mine.end)..mine.end
    }

    /// How often all weights go to the array from where they lie.
    pub fn weight_fetches(&self) -> u64 {
        match self.tiling.order {
            super::Order::Blocks => self.blocks(),
            super::Order::Channels => 1,
        }
    }
}

/// Where a stage's input lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputBuffer {
    /// In DRAM; its rows pass through a ring of `rows` rows at `address` of the activation scratchpad, or all lie there.
    Fetched {
        /// First byte.
        address: u64,
        /// Rows of images (vectors, where there are no images) in the ring.
        rows: u64,
    },
    /// Where a stage left it, at `address` of the activation scratchpad.
    Kept {
        /// First byte.
        address: u64,
        /// The stage, by its place in the mapping.
        from: usize,
    },
    /// In DRAM; all of it lies in `bytes` bytes at `address` of the activation scratchpad before the first block begins.
    Whole {
        /// First byte.
        address: u64,
        /// How many.
        bytes: u64,
    },
    /// In DRAM; what a movement moves passes through `bytes` bytes at `address` of the activation scratchpad.
    Passing {
        /// First byte.
        address: u64,
        /// How many.
        bytes: u64,
    },
}

/// Where a stage's output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputBuffer {
    /// To DRAM, through a ring of `slots` at `address` of the activation scratchpad, a block and a chunk in each.
    Stored {
        /// First byte.
        address: u64,
        /// Slots of the ring.
        slots: u64,
    },
    /// It stays, whole, at `address` of the activation scratchpad.
    Kept {
        /// First byte.
        address: u64,
    },
}

/// Where a stage's weights lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightBuffer {
    /// In DRAM; pieces pass through the ring of weights.
    Fetched,
    /// On the chip from the start, whole, at `address` of the weight scratchpad.
    Resident {
        /// First byte.
        address: u64,
    },
}

/// How the memories are shared between the stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffers {
    /// First byte of the ring of weights in the weight scratchpad.
    pub weight_ring_address: u64,
    /// Slots in it, a piece in each.
    pub weight_ring_slots: u64,
    /// Bytes of a slot.
    pub weight_slot_bytes: u64,
    /// Slots in the accumulator's ring, the sums of a block and a chunk in each.
    pub accumulator_slots: u64,
    /// Bytes of a slot.
    pub accumulator_slot_bytes: u64,
    /// Bytes of one accumulator element.
    pub accumulator_element_bytes: u64,
}
