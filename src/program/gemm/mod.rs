//! One matrix product, `m` x `k` activations by `k` x `n` weights, as one stage: for the array alone, operands in place, or for the whole
//! machine (`machine`).
//!
//! | stays | passes, the outer loop first | what streams | sums lie as |
//! | --- | --- | --- | --- |
//! | weights | tiles of C outputs, tiles of K, blocks of M | M vectors of activations | M x N |
//! | activations | tiles of C of M, tiles of K, blocks of N | N vectors of weights | N x M |
//! | sums | tiles of R of M, tiles of C outputs; all of K in each | panels of both | M x N (N x M if they leave by columns) |
//!
//! Not here: how it fits a chip's memories (`fit`), how operands are packed (`layout`), and where values come from.

#![allow(clippy::needless_pass_by_value, reason = "a view is a reference already")]

mod fit;
mod layout;
mod machine;

use super::segments::{Segment, runs, segments, singles};
use super::{
    Address, ArrayMode, Command, Compute, HostRegion, Item, MemorySizes, Operation, Place, Preload, Product, Program, ProgramError,
    ProgramParts, Repeat, StageDecl, Tag, UnitId, UnitKind, UnitQueue,
};
use crate::chip::{Chip, Dataflow, Format, MaxPassVectors, ReductionPadding, Sparsity, Stationary};
pub(super) use layout::{Layout, Rows};
use ndarray::ArrayView2;
use thiserror::Error;

/// Why a product cannot be laid out.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum LayoutError {
    /// A dimension is 0, or so large that sizes do not fit 64 bits.
    #[error("a product of {m} x {k} by {k} x {n} cannot be laid out: each dimension is 1 to {limit}")]
    Size {
        /// Rows of activations.
        m: u64,
        /// The reduction.
        k: u64,
        /// Columns of weights.
        n: u64,
        /// The most.
        limit: u64,
    },
    /// A memory is too small for the smallest piece.
    #[error(
        "one {piece} does not fit {memory}\n  it takes {needed} bytes of it; the chip has {capacity} bytes\n  help: raise {field}, or give the product to the array alone (--array-only)"
    )]
    TooSmall {
        /// What does not fit.
        piece: &'static str,
        /// The memory, in words.
        memory: &'static str,
        /// The chip file's field.
        field: String,
        /// Bytes that the smallest piece takes.
        needed: u64,
        /// Bytes that there are.
        capacity: u64,
    },
    /// The verifier refused the program, which it never does.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The weights have more values in a group than the array keeps.
    #[error(
        "column {column} of the weights has {found} values that are not zero in rows {first}..{end}, and the array keeps {n} of each {m}"
    )]
    NotPruned {
        /// The column.
        column: usize,
        /// The first row of the group.
        first: usize,
        /// One past its last row.
        end: usize,
        /// Values that are not zero.
        found: usize,
        /// Weights kept.
        n: u32,
        /// Of this many.
        m: u32,
    },
}

/// The most of a dimension: counts of steps fit 32 bits.
const MAX_DIMENSION: u64 = 1 << 31;

/// A matrix product on an array.
#[derive(Debug, Clone)]
pub struct Gemm {
    mode: ArrayMode,
    layout: Layout,
    weight_place: u32,
    activation_place: u32,
    pads: usize,
    /// Steps of an output-stationary pass are rounded up to a multiple of this.
    padding: u64,
    /// For each K tile, the columns of the weights that hold nothing but zeros in it: K tiles x n; empty where the chip skips no tile.
    zeros: Vec<bool>,
}

impl Gemm {
    /// A product of `m` x `k` by `k` x `n` on `chip`. `weights`, k x n, decide which tiles a chip that skips tiles skips.
    ///
    /// # Errors
    /// If a dimension is out of range.
    ///
    /// # Panics
    /// Never: a chip has at most two scratchpads.
    pub fn new(
        [m, k, n]: [u64; 3],
        chip: &Chip,
        format: &Format,
        dataflow: &Dataflow,
        weights: Option<ArrayView2<'_, i16>>,
    ) -> Result<Self, LayoutError> {
        if [m, k, n].iter().any(|size| !(1..=MAX_DIMENSION).contains(size)) {
            return Err(LayoutError::Size { m, k, n, limit: MAX_DIMENSION });
        }
        let mode = ArrayMode::new(chip, format, dataflow);
        let block = match dataflow {
            Dataflow::WeightStationary(timing) | Dataflow::InputStationary(timing) => match timing.max_pass_vectors {
                MaxPassVectors::Rows => u64::from(mode.size.rows),
                MaxPassVectors::Unlimited => MAX_DIMENSION,
            },
            Dataflow::OutputStationary(_) => MAX_DIMENSION,
        };
        let padding = match dataflow {
            Dataflow::OutputStationary(timing) if timing.reduction_padding == ReductionPadding::MultipleOfRows => u64::from(mode.size.rows),
            _ => 1,
        };
        let roles = chip.scratchpad_roles();
        let place = |pad: usize| u32::try_from(pad).expect("bug: a chip has at most two scratchpads");
        let element = format.accumulator_bytes();
        let mut gemm = Self {
            mode,
            layout: Layout::new(mode, [m, k, n], block, element),
            weight_place: place(roles.weight),
            activation_place: place(roles.activation),
            pads: chip.scratchpads().len(),
            padding,
            zeros: Vec::new(),
        };
        if let (Sparsity::TileSkip, Some(weights)) = (chip.array().sparsity, weights) {
            gemm.zeros = gemm.layout.zero_columns(weights);
        }
        Ok(gemm)
    }

    /// The program: passes over operands that lie in the scratchpads, results in the accumulator.
    ///
    /// # Errors
    /// What the verifier refuses, which no product is.
    pub fn program(&self) -> Result<Program, ProgramError> {
        let layout = &self.layout;
        let (weights, activations) = (layout.weight_bytes(), layout.activation_bytes());
        let shared = self.weight_place == self.activation_place;
        // Where one scratchpad holds both, weights lie behind the activations.
        let weight_base = if shared { activations } else { 0 };
        let mut scratchpads = vec![0; self.pads];
        scratchpads[self.activation_place as usize] += activations;
        scratchpads[self.weight_place as usize] += weights;
        let region = |pad, address, bytes| HostRegion { place: Place::Scratchpad(0, pad), address, bytes };
        let sums = layout.sums_bytes();
        Program::new(ProgramParts {
            queues: vec![UnitQueue { unit: UnitId { core: 0, kind: UnitKind::Array, index: 0 }, items: self.items(weight_base) }],
            semaphores: Vec::new(),
            output_stages: Vec::new(),
            vector_ops: Vec::new(),
            host_ops: Vec::new(),
            stages: vec![StageDecl { name: "gemm".to_string(), mode: 0 }],
            images: Vec::new(),
            inputs: vec![region(self.activation_place, 0, activations), region(self.weight_place, weight_base, weights)],
            output: HostRegion { place: Place::Accumulator(0), address: 0, bytes: sums },
            coded_values: Vec::new(),
            memories: MemorySizes { dram: 0, scratchpads, accumulator: sums },
            accumulator_element_bytes: layout.element(),
            modes: vec![self.mode],
            array_only: true,
        })
    }

    /// The bytes of the activations, m x k, as the array reads them: the program's first input.
    pub fn activations(&self, values: ArrayView2<'_, i16>) -> Vec<u8> {
        self.layout.activations(values)
    }

    /// The bytes of the weights, k x n, as the array reads them: the program's second input.
    ///
    /// # Errors
    /// If the array keeps fewer weights of a group than there are.
    pub fn weights(&self, values: ArrayView2<'_, i16>) -> Result<Vec<u8>, LayoutError> {
        self.layout.weights(values)
    }

    /// The sums, m x n row by row, from the bytes of the program's output.
    pub fn sums(&self, bytes: &[u8]) -> Vec<i64> {
        self.layout.sums(bytes)
    }

    /// Every pass's size, with how many passes have it.
    pub fn passes(&self) -> Vec<PassShape> {
        let layout = &self.layout;
        let mut shapes = Vec::new();
        if self.mode.stationary == Stationary::Output {
            for rows in segments(layout.m(), layout.rows_tile()) {
                for cols in segments(layout.n(), layout.cols_tile()) {
                    let count =
                        (cols.start..cols.start + cols.trips).filter(|tile| !self.is_skipped(0, *tile, layout.cols_tile())).count() as u64;
                    shapes.push(PassShape {
                        count: rows.trips * count,
                        rows: rows.size,
                        cols: cols.size,
                        steps: self.mode.steps(layout.k()).next_multiple_of(self.padding),
                        macs: rows.size * cols.size * self.mode.kept(layout.k()),
                    });
                }
            }
            return shapes;
        }
        for cols in segments(layout.held(), layout.cols_tile()) {
            for k in segments(layout.k(), layout.k_tile()) {
                for block in segments(layout.streamed(), layout.block()) {
                    let weights_stay = self.mode.stationary == Stationary::Weight;
                    let (tiles, others) = if weights_stay { (cols, block) } else { (block, cols) };
                    let mut count = k.trips * tiles.trips;
                    if !self.zeros.is_empty() {
                        let width = if weights_stay { layout.cols_tile() } else { layout.block() };
                        let of_k = |tile| (k.start..k.start + k.trips).filter(|k| !self.is_skipped(*k, tile, width)).count() as u64;
                        count = (tiles.start..tiles.start + tiles.trips).map(of_k).sum();
                    }
                    let kept = if weights_stay { self.mode.kept(k.size) } else { k.size };
                    shapes.push(PassShape {
                        count: count * others.trips,
                        rows: self.mode.steps(k.size),
                        cols: cols.size,
                        steps: block.size,
                        macs: kept * cols.size * block.size,
                    });
                }
            }
        }
        shapes
    }

    /// Whether all weights of a tile are zero: K tile `k_tile`, columns `tile * width` on.
    fn is_skipped(&self, k_tile: u64, tile: u64, width: u64) -> bool {
        let (n, first) = (self.layout.n(), tile * width);
        let columns = first.min(n)..(first + width).min(n);
        !self.zeros.is_empty() && self.zeros[index(k_tile * n + columns.start)..index(k_tile * n + columns.end)].iter().all(|zero| *zero)
    }

    fn items(&self, weight_base: u64) -> Vec<Item> {
        match self.mode.stationary {
            Stationary::Output => self.products(weight_base),
            Stationary::Weight | Stationary::Input => self.tiles(weight_base),
        }
    }

    /// The pieces of a size, in loops; each by itself where tiles may be skipped, since which are follows no loop.
    fn pieces(&self, size: u64, tile: u64) -> Vec<Segment> {
        let pieces = segments(size, tile);
        if self.zeros.is_empty() { pieces } else { pieces.into_iter().flat_map(singles).collect() }
    }

    /// Tiles that stay, and what streams past them.
    fn tiles(&self, weight_base: u64) -> Vec<Item> {
        let layout = &self.layout;
        let weights_stay = self.mode.stationary == Stationary::Weight;
        let (streamed, block) = (layout.streamed(), layout.block());
        let k_tiles = segments(layout.k(), layout.k_tile());
        let mut items = Vec::new();
        for cols in self.pieces(layout.held(), layout.cols_tile()) {
            let mut of_cols = Vec::new();
            if weights_stay || self.zeros.is_empty() {
                // A tile that is skipped is skipped by all that would stream past it.
                for (_, k) in runs(k_tiles.clone(), |k| !self.is_skipped(k, cols.start, layout.cols_tile())) {
                    let passes = segments(streamed, block);
                    let passes = passes.into_iter().map(|block| repeat(block.trips, vec![self.compute(cols, k, block, weight_base)]));
                    let of_k = std::iter::once(self.preload(cols, k, weight_base)).chain(passes).collect();
                    of_cols.push(repeat(k.trips, of_k));
                }
            } else {
                for k in k_tiles.iter().copied().flat_map(singles) {
                    let passes = runs(segments(streamed, block), |block| !self.is_skipped(k.start, block, layout.block()));
                    let passes = passes.into_iter().map(|(_, block)| repeat(block.trips, vec![self.compute(cols, k, block, weight_base)]));
                    let passes: Vec<Item> = passes.collect();
                    if !passes.is_empty() {
                        let of_k = std::iter::once(self.preload(cols, k, weight_base)).chain(passes).collect();
                        of_cols.push(repeat(1, of_k));
                    }
                }
            }
            items.push(repeat(cols.trips, of_cols));
        }
        items
    }

    fn preload(&self, cols: Segment, k: Segment, weight_base: u64) -> Item {
        let layout = &self.layout;
        let base = if self.mode.stationary == Stationary::Weight { weight_base } else { 0 };
        let place = if self.mode.stationary == Stationary::Weight { self.weight_place } else { self.activation_place };
        let (over_cols, over_k) = (layout.held_cols_stride(), layout.held_tile_stride());
        item(Operation::Preload(Preload {
            place: Place::Scratchpad(0, place),
            address: Address::at(base + cols.start * over_cols + k.start * over_k).step(0, over_cols).step(1, over_k),
            stride: layout.held_step_stride(),
            inner: narrow(k.size),
            cols: narrow(cols.size),
            zero_point: 0,
            window: None,
        }))
    }

    fn compute(&self, cols: Segment, k: Segment, block: Segment, weight_base: u64) -> Item {
        let layout = &self.layout;
        let weights_stay = self.mode.stationary == Stationary::Weight;
        let (place, base) = if weights_stay { (self.activation_place, 0) } else { (self.weight_place, weight_base) };
        let (over_k, over_vectors) = (layout.slice_stride(), layout.vector_stride());
        let (over_cols, over_lines) = (layout.cols_tile() * layout.element(), layout.line_stride());
        let first = block.start * layout.block();
        item(Operation::Compute(Compute {
            place: Place::Scratchpad(0, place),
            stream: Address::at(base + k.start * over_k + first * over_vectors).step(1, over_k).step(2, layout.block() * over_vectors),
            stream_stride: over_vectors,
            vectors: narrow(block.size),
            inner: narrow(k.size),
            cols: narrow(cols.size),
            zero_point: 0,
            window: None,
            result: Address::at(cols.start * over_cols + first * over_lines).step(0, over_cols).step(2, layout.block() * over_lines),
            result_stride: over_lines,
            accumulate: true,
        }))
    }

    /// Panels, where sums stay.
    fn products(&self, weight_base: u64) -> Vec<Item> {
        let layout = &self.layout;
        let mut items = Vec::new();
        for rows in segments(layout.m(), layout.rows_tile()) {
            let cols = self.pieces(layout.n(), layout.cols_tile()).into_iter();
            let computed = cols.filter(|cols| !self.is_skipped(0, cols.start, layout.cols_tile()));
            let body = computed.map(|cols| repeat(cols.trips, vec![self.product(rows, cols, weight_base)])).collect();
            items.push(repeat(rows.trips, body));
        }
        items
    }

    fn product(&self, rows: Segment, cols: Segment, weight_base: u64) -> Item {
        let layout = &self.layout;
        let (over_rows, over_cols) = (layout.activation_panel_stride(), layout.weight_panel_stride());
        let (element, line) = (layout.element(), layout.line_stride());
        let (row_result, col_result) = if self.mode.drains_columns { (element, line) } else { (line, element) };
        let (row_result, col_result) = (layout.rows_tile() * row_result, layout.cols_tile() * col_result);
        item(Operation::Product(Product {
            activation_place: Place::Scratchpad(0, self.activation_place),
            activation: Address::at(rows.start * over_rows).step(0, over_rows),
            activation_stride: layout.activation_step_stride(),
            weight_place: Place::Scratchpad(0, self.weight_place),
            weight: Address::at(weight_base + cols.start * over_cols).step(1, over_cols),
            weight_stride: layout.weight_step_stride(),
            inner: narrow(layout.k()),
            rows: narrow(rows.size),
            cols: narrow(cols.size),
            zero_point: 0,
            window: None,
            result: Address::at(rows.start * row_result + cols.start * col_result).step(0, row_result).step(1, col_result),
            result_stride: line,
            accumulate: false,
        }))
    }
}

/// Passes of one size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassShape {
    /// How many there are.
    pub count: u64,
    /// Rows of the array that each fills.
    pub rows: u64,
    /// Columns of the array that each fills.
    pub cols: u64,
    /// Vectors or steps of K that each streams, padding of K included.
    pub steps: u64,
    /// Multiply-accumulates of each on real operands.
    pub macs: u64,
}

fn repeat(trips: u64, body: Vec<Item>) -> Item {
    Item::Repeat(Repeat { trips, body })
}

fn item(operation: Operation) -> Item {
    Item::Do(Command { tag: Tag { stage: 0, sample: 0 }, wait: Vec::new(), operation, post: Vec::new() })
}

fn narrow(size: u64) -> u32 {
    u32::try_from(size).expect("bug: a dimension is checked to be below 2^32")
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("bug: a tile's number fits in memory")
}
