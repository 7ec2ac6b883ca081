//! The array's numbers without its registers: a pass's sums in one go, as the `wavefront` drive computes them.
//!
//! The sums of a pass may be computed at once when its last one comes out, because nothing that the pass reads may change before it ends:
//! that is what its semaphores are for, and what the verifier holds programs to.

use super::operands::{Operands, Panel, elements_of};
use super::shape::place;
use crate::chip::Stationary;
use crate::numerics::kernel::{PackedBits, PackedTile, multiply, multiply_binary, multiply_wide};
use crate::numerics::packed::unpack_bits;
use crate::numerics::{AccumulateRule, Dtype, Overflow};
use crate::program::ArrayMode;
use crate::sim::memory::Sram;
use std::ops::Range;

/// Vectors that are computed together: their sums stay in the host's cache, and memory stays O(R * C).
const BLOCK: usize = 64;

/// The largest product of one weight and one activation, zero points subtracted.
pub(super) fn largest_product(mode: &ArrayMode) -> u64 {
    let shifted = |dtype: Dtype| match dtype {
        Dtype::Binary => 1,
        Dtype::Int16 => 1 << 15,
        // A zero point at one end shifts the other end by the whole range.
        narrow => (1 << narrow.bits()) - 1,
    };
    // A value may play the weights that stay.
    let weight = if mode.stationary == Stationary::Weight { shifted(mode.weight) } else { u64::from(mode.weight.min().unsigned_abs()) };
    weight * shifted(mode.activation)
}

/// Which kernel multiplies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kernel {
    /// 16-bit operands, sums of 32 bits.
    Narrow,
    /// 16-bit operands, sums of 64 bits.
    Wide,
    /// Exclusive-or and population count.
    Bits,
}

/// A stationary tile in use.
#[derive(Debug)]
struct Tile {
    inner: usize,
    cols: usize,
    /// K x columns.
    dense: Vec<i16>,
    /// Rows x depth x columns, as the PEs hold it, where that is not the same: with N:M sparsity.
    placed: Vec<i16>,
    packed: Packed,
}

#[derive(Debug)]
struct Packed {
    numbers: PackedTile,
    bits: PackedBits,
}

impl Packed {
    fn new() -> Self {
        Self { numbers: PackedTile::new(), bits: PackedBits::new() }
    }
}

/// Stationary tiles, and room for a block of vectors.
#[derive(Debug)]
pub(super) struct Products {
    kernel: Kernel,
    tiles: Vec<Tile>,
    dense: Vec<i16>,
    vectors: Vec<i16>,
    words: Vec<u64>,
    narrow: Vec<i32>,
    wide: Vec<i64>,
    /// The activation panel that `vectors` holds as rows, by its address and the version of its memory.
    held: Option<(Panel, i16, u64)>,
}

/// Where a pass's vectors come from and its sums go.
pub(super) trait Stream {
    /// The bytes of a vector's elements.
    fn vector(&self, number: u64) -> &[u8];
    /// Takes the sums of vectors from `first` on, a column each.
    fn take(&mut self, first: u64, sums: &[i32]);
    /// Takes a vector's sums, where 32 bits are too few.
    fn take_wide(&mut self, number: u64, sums: &[i64]);
}

/// A pass of an output-stationary array: its operands in their memories.
#[derive(Clone, Copy)]
pub(super) struct Factors<'m> {
    pub(super) activations: &'m Sram,
    pub(super) activation: Panel,
    pub(super) weights: &'m Sram,
    pub(super) weight: Panel,
    pub(super) zero_point: i16,
}

impl Products {
    /// Room for as many tiles as may be under way, and for a pass.
    pub(super) fn new(mode: &ArrayMode, tiles: usize) -> Self {
        let inner = mode.tile_inner() * largest_product(mode);
        let kernel = match (mode.weight, mode.activation, mode.stationary) {
            // Where sums stay, a column of bits would have to be gathered for every pass: numbers are as fast.
            (Dtype::Binary, Dtype::Binary, Stationary::Weight | Stationary::Input) => Kernel::Bits,
            _ if inner < 1 << 31 => Kernel::Narrow,
            _ => Kernel::Wide,
        };
        let tiles = if mode.stationary == Stationary::Output { 1 } else { tiles };
        Self {
            kernel,
            tiles: (0..tiles).map(|_| Tile { inner: 0, cols: 0, dense: Vec::new(), placed: Vec::new(), packed: Packed::new() }).collect(),
            dense: Vec::new(),
            vectors: Vec::new(),
            words: Vec::new(),
            narrow: Vec::new(),
            wide: Vec::new(),
            held: None,
        }
    }

    /// Takes a tile whose last row has been shifted in.
    pub(super) fn load(&mut self, number: u64, operands: &mut Operands, memory: &Sram, panel: Panel, zero_point: i16) {
        let index = place(number, self.tiles.len());
        let tile = &mut self.tiles[index];
        (tile.inner, tile.cols) = (panel.inner, panel.width);
        tile.dense.resize(panel.inner * panel.width, 0);
        operands.tile(memory, panel, zero_point, &mut tile.dense);
        if operands.mode.group.is_some() {
            let (depth, width) = (operands.depth(), panel.width);
            tile.placed.clear();
            tile.placed.resize(operands.mode.size.rows as usize * depth * width, 0);
            operands.held(memory, panel, zero_point, |row, element, col, value| {
                tile.placed[(row * depth + element) * width + col] = value;
            });
        }
        if self.kernel == Kernel::Bits {
            let lines = panel.inner.div_ceil(64);
            self.words.clear();
            self.words.resize(lines * panel.width, 0);
            for (k, row) in tile.dense.chunks_exact(panel.width).enumerate() {
                for (col, value) in row.iter().enumerate() {
                    self.words[col * lines + k / 64] |= u64::from(*value > 0) << (k % 64);
                }
            }
            tile.packed.bits.pack(&self.words, panel.inner, panel.width);
        } else {
            tile.packed.numbers.pack(&tile.dense, panel.inner, panel.width);
        }
    }

    /// The sums of a pass of `vectors` vectors past a tile.
    pub(super) fn pass(&mut self, number: u64, streamed: Dtype, vectors: u64, zero_point: i16, stream: &mut impl Stream) {
        let index = place(number, self.tiles.len());
        let Self { kernel, tiles, vectors: room, words, narrow, wide, .. } = self;
        let Tile { inner, cols, packed, .. } = &tiles[index];
        let (inner, cols, lines) = (*inner, *cols, inner.div_ceil(64));
        for first in (0..vectors).step_by(BLOCK) {
            let count = BLOCK.min(super::super::memory::size(vectors - first));
            if *kernel == Kernel::Bits {
                words.resize(count * lines, 0);
                for (vector, words) in (first..).zip(words.chunks_exact_mut(lines)) {
                    unpack_bits(stream.vector(vector), 0, inner, words);
                }
            } else {
                room.resize(count * inner, 0);
                for (vector, elements) in (first..).zip(room.chunks_exact_mut(inner)) {
                    elements_of(streamed, stream.vector(vector), zero_point, elements);
                }
            }
            if *kernel == Kernel::Wide {
                wide.resize(count * cols, 0);
                multiply_wide(&packed.numbers, room, count, wide);
                for (vector, sums) in (first..).zip(wide.chunks_exact(cols)) {
                    stream.take_wide(vector, sums);
                }
                continue;
            }
            narrow.resize(count * cols, 0);
            match kernel {
                Kernel::Bits => multiply_binary(&packed.bits, words, count, narrow),
                _ => multiply(&packed.numbers, room, count, narrow),
            }
            stream.take(first, narrow);
        }
    }

    /// What PE(row, col) holds of a tile, `depth` elements.
    pub(super) fn held(&self, number: u64, depth: usize, row: usize, col: usize) -> Vec<i64> {
        let tile = &self.tiles[place(number, self.tiles.len())];
        let elements = if tile.placed.is_empty() { &tile.dense } else { &tile.placed };
        let at = |element: usize| elements.get((row * depth + element) * tile.cols + col).filter(|_| col < tile.cols);
        (0..depth).map(|element| at(element).copied().map_or(0, i64::from)).collect()
    }

    /// The sum that stays in PE(row, col) after the first `steps` steps of a pass that started from `bias`.
    pub(super) fn sum_so_far(
        operands: &mut Operands,
        factors: &Factors<'_>,
        rule: AccumulateRule,
        (row, col): (usize, usize),
        bias: i64,
        steps: u64,
    ) -> i64 {
        let depth = operands.depth();
        (0..steps).fold(bias, |total, step| {
            let (activations, weights) = ((factors.activations, factors.activation), (factors.weights, factors.weight));
            let (across, down) = operands.product_step(activations, weights, factors.zero_point, step);
            let pairs = across[row * depth..][..depth].iter().zip(&down[col * depth..][..depth]);
            rule.update(total, pairs.map(|(x, w)| i64::from(*x) * i64::from(*w)).sum())
        })
    }

    /// Adds a whole pass of an output-stationary array to `totals`, rows x columns, by the accumulator's rule.
    pub(super) fn product(&mut self, operands: &mut Operands, factors: &Factors<'_>, rule: AccumulateRule, totals: &mut [i64]) {
        let (inner, rows, cols) = (factors.activation.inner, factors.activation.width, factors.weight.width);
        let most = totals.iter().map(|total| total.unsigned_abs()).max().unwrap_or(0);
        let reach = u128::from(most) + inner as u128 * u128::from(largest_product(&operands.mode));
        let careful = rule.overflow == Overflow::Saturate && reach >= 1 << (rule.bits - 1);
        let part = operands.part();
        for first in (0..inner).step_by(part) {
            let range = first..inner.min(first + part);
            let version = factors.activations.version();
            let key = (factors.activation, factors.zero_point, version);
            if range.len() < inner || self.held != Some(key) {
                self.vectors.resize(rows * range.len(), 0);
                operands.activation_rows(factors.activations, factors.activation, factors.zero_point, range.clone(), &mut self.vectors);
                self.held = (range.len() == inner).then_some(key);
            }
            if careful {
                step_by_step(operands, factors, range, &self.vectors, rule, totals);
                continue;
            }
            let packed = &mut self.tiles[0].packed.numbers;
            if let Some((bytes, stride)) = operands.plain_int8(factors.weights, factors.weight, range.clone()) {
                packed.pack_int8(bytes, stride, range.len(), cols);
            } else {
                self.dense.resize(range.len() * cols, 0);
                operands.dense_weights(factors.weights, factors.weight, range.clone(), &mut self.dense);
                packed.pack(&self.dense, range.len(), cols);
            }
            if range.len() as u64 * largest_product(&operands.mode) < 1 << 31 {
                self.narrow.resize(rows * cols, 0);
                multiply(packed, &self.vectors, rows, &mut self.narrow);
                for (total, sum) in totals.iter_mut().zip(&self.narrow) {
                    *total = total.wrapping_add(i64::from(*sum));
                }
            } else {
                self.wide.resize(rows * cols, 0);
                multiply_wide(packed, &self.vectors, rows, &mut self.wide);
                for (total, sum) in totals.iter_mut().zip(&self.wide) {
                    *total = total.wrapping_add(*sum);
                }
            }
        }
        for total in totals {
            *total = rule.update(*total, 0);
        }
    }
}

/// Adds part `range` of K to sums that may saturate on their way: one update for each step, a PE's lanes of K.
fn step_by_step(
    operands: &mut Operands,
    factors: &Factors<'_>,
    range: Range<usize>,
    vectors: &[i16],
    rule: AccumulateRule,
    totals: &mut [i64],
) {
    let (rows, cols) = (factors.activation.width, factors.weight.width);
    let steps = operands.mode.steps(range.start as u64)..operands.mode.steps(range.end as u64);
    // The sums of one step and column, for every row.
    let mut sums = vec![0_i64; rows];
    let mut at = None;
    let mut update = |col: usize, sums: &mut [i64]| {
        for (row, sum) in sums.iter_mut().enumerate() {
            let total = &mut totals[row * cols + col];
            *total = rule.update(*total, std::mem::take(sum));
        }
    };
    operands.weights(factors.weights, factors.weight, steps, |step, _, col, k, value| {
        if let Some((_, last_col)) = at.filter(|at| *at != (step, col)) {
            update(last_col, &mut sums);
        }
        at = Some((step, col));
        for (sum, row) in sums.iter_mut().zip(vectors.chunks_exact(range.len())) {
            *sum += i64::from(row[k - range.start]) * i64::from(value);
        }
    });
    if let Some((_, col)) = at {
        update(col, &mut sums);
    }
}
