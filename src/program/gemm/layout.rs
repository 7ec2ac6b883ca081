//! How the operands of a matrix product lie in memory, for each dataflow: vectors in slices of K tiles, panels tile after tile.

use super::super::ArrayMode;
use super::{LayoutError, index};
use crate::chip::Stationary;
use crate::numerics::packed::{pack_numbers, pack_onto};
use crate::numerics::{Dtype, load_sum};
use ndarray::ArrayView2;

/// Rows of an operand in memory.
#[derive(Debug, Clone, Copy)]
pub(in crate::program) struct Rows {
    pub(in crate::program) address: u64,
    /// Bytes from a row to the next.
    pub(in crate::program) stride: u64,
    pub(in crate::program) count: u64,
    /// Bytes of a row.
    pub(in crate::program) bytes: u64,
}

/// Sizes and strides, in bytes where they are of memory.
#[derive(Debug, Clone, Copy)]
pub(in crate::program) struct Layout {
    mode: ArrayMode,
    m: u64,
    k: u64,
    n: u64,
    block: u64,
    element: u64,
}

impl Layout {
    /// Blocks of at most `block` vectors; sums of `element` bytes.
    pub(in crate::program) fn new(mode: ArrayMode, [m, k, n]: [u64; 3], block: u64, element: u64) -> Self {
        let mut layout = Self { mode, m, k, n, block, element };
        layout.block = block.min(layout.streamed());
        layout
    }

    /// The same with blocks of at most `block` vectors.
    pub(super) fn in_blocks(self, block: u64) -> Self {
        Self { block: self.block.min(block), ..self }
    }

    pub(super) const fn m(&self) -> u64 {
        self.m
    }

    pub(super) const fn k(&self) -> u64 {
        self.k
    }

    pub(super) const fn n(&self) -> u64 {
        self.n
    }

    /// Vectors that stream past what stays.
    pub(super) const fn streamed(&self) -> u64 {
        if matches!(self.mode.stationary, Stationary::Input) { self.n } else { self.m }
    }

    /// The dimension that tiles of what stays cut into columns of the array.
    pub(super) const fn held(&self) -> u64 {
        if matches!(self.mode.stationary, Stationary::Input) { self.m } else { self.n }
    }

    /// The most vectors of a pass.
    pub(super) const fn block(&self) -> u64 {
        self.block
    }

    /// Bytes of a sum.
    pub(super) const fn element(&self) -> u64 {
        self.element
    }

    pub(super) fn rows_tile(&self) -> u64 {
        u64::from(self.mode.size.rows)
    }

    pub(super) fn cols_tile(&self) -> u64 {
        u64::from(self.mode.size.cols)
    }

    /// Elements of K of one tile.
    pub(super) fn k_tile(&self) -> u64 {
        if self.mode.stationary == Stationary::Output { self.k } else { self.mode.tile_inner() }
    }

    pub(super) fn k_tiles(&self) -> u64 {
        self.k.div_ceil(self.k_tile())
    }

    /// From one K tile's slice of a vector to the next.
    pub(in crate::program) fn slice_stride(&self) -> u64 {
        self.mode.vector_bytes(self.k_tile().min(self.k))
    }

    pub(super) fn vector_stride(&self) -> u64 {
        self.k_tiles() * self.slice_stride()
    }

    /// From one step of a tile that stays to the next.
    pub(super) fn held_step_stride(&self) -> u64 {
        self.mode.tile_row_bytes(self.cols_tile().min(self.held()))
    }

    /// From one K tile to the next.
    pub(super) fn held_tile_stride(&self) -> u64 {
        self.mode.steps(self.k_tile().min(self.k)) * self.held_step_stride()
    }

    /// From one column tile to the next.
    pub(super) fn held_cols_stride(&self) -> u64 {
        self.k_tiles() * self.held_tile_stride()
    }

    pub(super) fn activation_step_stride(&self) -> u64 {
        self.mode.activation_step_bytes(self.rows_tile().min(self.m))
    }

    /// From one panel of activations to the next.
    pub(super) fn activation_panel_stride(&self) -> u64 {
        self.mode.activation_steps(self.k).0 * self.activation_step_stride()
    }

    pub(super) fn weight_step_stride(&self) -> u64 {
        self.mode.weight_step_bytes(self.cols_tile().min(self.n))
    }

    /// From one panel of weights to the next.
    pub(super) fn weight_panel_stride(&self) -> u64 {
        self.mode.steps(self.k) * self.weight_step_stride()
    }

    /// Whether sums lie by columns of the product.
    const fn transposed(&self) -> bool {
        matches!(self.mode.stationary, Stationary::Input) || self.mode.drains_columns
    }

    /// From one line of sums to the next.
    pub(super) const fn line_stride(&self) -> u64 {
        if self.transposed() { self.m * self.element } else { self.n * self.element }
    }

    pub(super) const fn sums_bytes(&self) -> u64 {
        self.m * self.n * self.element
    }

    /// The rows of the weights of `channels` (the first, and how many) in K tile `tile` of `inner` elements, the first being that of a tile
    /// where weights lie in tiles.
    pub(in crate::program) fn weight_rows(&self, channels: (u64, u64), (tile, inner): (u64, u64)) -> Rows {
        let (first, count) = channels;
        match self.mode.stationary {
            Stationary::Weight => Rows {
                address: first / self.cols_tile() * self.held_cols_stride() + tile * self.held_tile_stride(),
                stride: self.held_step_stride(),
                count: self.mode.steps(inner),
                bytes: self.mode.tile_row_bytes(count),
            },
            Stationary::Input => Rows {
                address: first * self.vector_stride() + tile * self.slice_stride(),
                stride: self.vector_stride(),
                count,
                bytes: self.mode.vector_bytes(inner),
            },
            Stationary::Output => Rows {
                address: first / self.cols_tile() * self.weight_panel_stride(),
                stride: self.weight_step_stride(),
                count: self.mode.steps(inner),
                bytes: self.mode.weight_step_bytes(count),
            },
        }
    }

    pub(super) fn activation_bytes(&self) -> u64 {
        match self.mode.stationary {
            Stationary::Weight => self.m * self.vector_stride(),
            Stationary::Input => self.m.div_ceil(self.cols_tile()) * self.held_cols_stride(),
            Stationary::Output => self.m.div_ceil(self.rows_tile()) * self.activation_panel_stride(),
        }
    }

    pub(in crate::program) fn weight_bytes(&self) -> u64 {
        match self.mode.stationary {
            Stationary::Weight => self.n.div_ceil(self.cols_tile()) * self.held_cols_stride(),
            Stationary::Input => self.n * self.vector_stride(),
            Stationary::Output => self.n.div_ceil(self.cols_tile()) * self.weight_panel_stride(),
        }
    }

    pub(super) fn activations(&self, values: ArrayView2<'_, i16>) -> Vec<u8> {
        match self.mode.stationary {
            Stationary::Weight => self.vectors(values),
            Stationary::Input => self.activation_tiles(values),
            Stationary::Output => self.activation_panels(values),
        }
    }

    pub(in crate::program) fn weights(&self, values: ArrayView2<'_, i16>) -> Result<Vec<u8>, LayoutError> {
        match self.mode.stationary {
            Stationary::Weight => {
                let (k, step) = (self.k_tile().min(self.k), self.held_step_stride());
                self.weight_panels(values, k, step, self.held_tile_stride())
            }
            Stationary::Input => Ok(self.vectors(values.reversed_axes())),
            Stationary::Output => self.weight_panels(values, self.k, self.weight_step_stride(), self.weight_panel_stride()),
        }
    }

    /// Vectors x K, each vector in slices that start on a byte.
    fn vectors(&self, values: ArrayView2<'_, i16>) -> Vec<u8> {
        let (slice, k_tile) = (index(self.slice_stride()), index(self.k_tile().min(self.k)));
        let mut bytes = Vec::with_capacity(index(self.vector_stride()) * values.nrows());
        for vector in values.rows() {
            for elements in vector.axis_chunks_iter(ndarray::Axis(0), k_tile) {
                let end = bytes.len() + slice;
                pack_onto(self.mode.streamed(), elements.iter().copied(), &mut bytes);
                bytes.resize(end, 0);
            }
        }
        bytes
    }

    /// Tiles of activations, m x K, that stay: tiles of M, tiles of K, steps, columns, lanes.
    fn activation_tiles(&self, values: ArrayView2<'_, i16>) -> Vec<u8> {
        let (lanes, step) = (self.mode.lanes as usize, index(self.held_step_stride()));
        let (k_tile, tile) = (index(self.k_tile().min(self.k)), index(self.held_tile_stride()));
        let mut bytes = Vec::with_capacity(index(self.activation_bytes()));
        for columns in values.axis_chunks_iter(ndarray::Axis(0), index(self.cols_tile())) {
            for part in columns.axis_chunks_iter(ndarray::Axis(1), k_tile) {
                let end = bytes.len() + tile;
                self.activation_steps(part, lanes, step, &mut bytes);
                bytes.resize(end, 0);
            }
        }
        bytes
    }

    /// Panels of activations, m x K: tiles of M, steps, rows, lanes (or whole groups).
    fn activation_panels(&self, values: ArrayView2<'_, i16>) -> Vec<u8> {
        let depth = index(self.mode.activation_steps(self.k).1);
        let mut bytes = Vec::with_capacity(index(self.activation_bytes()));
        for rows in values.axis_chunks_iter(ndarray::Axis(0), index(self.rows_tile())) {
            self.activation_steps(rows, depth, index(self.activation_step_stride()), &mut bytes);
        }
        bytes
    }

    /// Steps of `depth` elements of K of each row, `stride` bytes apart; zeros past the end of K.
    fn activation_steps(&self, rows: ArrayView2<'_, i16>, depth: usize, stride: usize, bytes: &mut Vec<u8>) {
        for step in rows.axis_chunks_iter(ndarray::Axis(1), depth) {
            let end = bytes.len() + stride;
            let padding = depth - step.ncols();
            let elements = step
                .rows()
                .into_iter()
                .flat_map(|row| row.into_iter().copied().chain(std::iter::repeat_n(filler(self.mode.activation), padding)));
            pack_onto(self.mode.activation, elements, bytes);
            bytes.resize(end, 0);
        }
    }

    /// Panels of weights, K x n: tiles of N, parts of `k` of K, steps, columns, lanes; behind each step's weights their places in their
    /// groups.
    fn weight_panels(&self, values: ArrayView2<'_, i16>, k: u64, stride: u64, panel: u64) -> Result<Vec<u8>, LayoutError> {
        let (stride, panel) = (index(stride), index(panel));
        let mut bytes = Vec::with_capacity(index(self.weight_bytes()));
        for (first, columns) in
            (0..).step_by(self.mode.size.cols as usize).zip(values.axis_chunks_iter(ndarray::Axis(1), index(self.cols_tile())))
        {
            for (k_first, part) in (0..).step_by(index(k)).zip(columns.axis_chunks_iter(ndarray::Axis(0), index(k))) {
                let end = bytes.len() + panel;
                let slots = Slots::of(&self.mode, part, (k_first, first))?;
                let lanes = self.mode.lanes as usize;
                for step in 0..index(self.mode.steps(part.nrows() as u64)) {
                    let end = bytes.len() + stride;
                    let each = |of: &dyn Fn(usize, usize) -> i16| {
                        let slots = (0..part.ncols()).flat_map(|col| (0..lanes).map(move |lane| (step * lanes + lane, col)));
                        slots.map(|(slot, col)| of(slot, col)).collect::<Vec<i16>>()
                    };
                    pack_onto(
                        self.mode.weight,
                        each(&|slot, col| slots.value(part, slot, col, filler(self.mode.weight))).into_iter(),
                        &mut bytes,
                    );
                    if let Some(group) = self.mode.group {
                        let places = each(&|slot, col| slots.place(slot, col));
                        pack_numbers(&places, group.index_bits(), &mut bytes);
                    }
                    bytes.resize(end, 0);
                }
                bytes.resize(end, 0);
            }
        }
        Ok(bytes)
    }

    /// The sums, m x n row by row.
    pub(super) fn sums(&self, bytes: &[u8]) -> Vec<i64> {
        let width = index(self.element);
        let value = |at: usize| load_sum(&bytes[at * width..(at + 1) * width]);
        let (m, n) = (index(self.m), index(self.n));
        let place = |at: usize| if self.transposed() { at % n * m + at / n } else { at };
        (0..m * n).map(|at| value(place(at))).collect()
    }

    /// For each K tile, the columns of the weights that hold nothing but zeros in it: K tiles x n.
    pub(super) fn zero_columns(&self, values: ArrayView2<'_, i16>) -> Vec<bool> {
        let parts = values.axis_chunks_iter(ndarray::Axis(0), index(self.k_tile().min(self.k)));
        let columns =
            parts.flat_map(|part| part.columns().into_iter().map(|column| column.iter().all(|value| *value == 0)).collect::<Vec<bool>>());
        columns.collect()
    }
}

/// The places of the weights that the array keeps, slot by slot along K; without N:M sparsity every row is a slot.
struct Slots {
    /// Slots x columns: the row of each, from the first of its group; empty where every row is a slot.
    places: Vec<u8>,
    cols: usize,
    n: usize,
    m: usize,
}

impl Slots {
    fn of(mode: &ArrayMode, part: ArrayView2<'_, i16>, (k_first, first): (usize, usize)) -> Result<Self, LayoutError> {
        let cols = part.ncols();
        let Some(group) = mode.group else { return Ok(Self { places: Vec::new(), cols, n: 1, m: 1 }) };
        let (n, m) = (group.n as usize, group.m as usize);
        let mut places = vec![0; part.nrows().div_ceil(m) * n * cols];
        for (number, rows) in part.axis_chunks_iter(ndarray::Axis(0), m).enumerate() {
            for (col, column) in rows.columns().into_iter().enumerate() {
                let found = column.iter().filter(|value| **value != 0).count();
                if found > n {
                    let first_row = k_first + number * m;
                    let end = first_row + rows.nrows();
                    return Err(LayoutError::NotPruned { column: first + col, first: first_row, end, found, n: group.n, m: group.m });
                }
                // All that are not zero, and as many of the others as there is room for, in the order of K.
                let mut spare = n.min(rows.nrows()) - found;
                let mut slot = 0;
                for (row, value) in column.iter().enumerate() {
                    let keep = *value != 0 || spare > 0;
                    spare -= usize::from(keep && *value == 0);
                    if keep {
                        places[(number * n + slot) * cols + col] = u8::try_from(row).expect("bug: a group has at most 64 rows");
                        slot += 1;
                    }
                }
            }
        }
        Ok(Self { places, cols, n, m })
    }

    fn place(&self, slot: usize, col: usize) -> i16 {
        self.places.get(slot * self.cols + col).map_or(0, |place| i16::from(*place))
    }

    fn value(&self, part: ArrayView2<'_, i16>, slot: usize, col: usize, filler: i16) -> i16 {
        let row = if self.places.is_empty() {
            slot
        } else if slot * self.cols < self.places.len() {
            slot / self.n * self.m + usize::from(self.places[slot * self.cols + col])
        } else {
            return 0;
        };
        part.get((row, col)).copied().unwrap_or(filler)
    }
}

/// What fills a step up past the end of K: zero bits.
fn filler(dtype: Dtype) -> i16 {
    if dtype == Dtype::Binary { -1 } else { 0 }
}
