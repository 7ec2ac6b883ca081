//! A stationary tile of 16-bit weights, laid out as the blocks read it.

use super::Instructions;
#[cfg(target_arch = "x86_64")]
use super::avx2::Avx2;
use super::instructions::Choice;

/// Columns in a panel.
pub(super) const COLS: usize = 16;

/// Weights in a line.
pub(super) const LINE: usize = 32;

/// One cache line of weights. What they are depends on the tile's layout.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct Line(pub(super) [i16; LINE]);

/// How lines make a panel.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Layout {
    /// A line is two values of K for each of 16 columns, `w[2p][n], w[2p + 1][n]` side by side: a panel is `ceil(K / 2)` lines.
    #[cfg_attr(not(target_arch = "x86_64"), expect(dead_code, reason = "only AVX2 reads pairs"))]
    Pairs,
    /// A line is 32 values of K of one column: a panel is `ceil(K / 32)` lines for each of its columns.
    Columns,
}

/// A weight as callers hold it.
trait Weight: Copy {
    /// Its value.
    fn wide(self) -> i16;

    /// Fills a panel of pairs with the first `width` weights of each row, which lie `stride` apart; the columns that pad get zeros.
    #[cfg(target_arch = "x86_64")]
    fn fill(avx2: Avx2, panel: &mut [Line], weights: &[Self], stride: usize, width: usize);
}

impl Weight for i16 {
    fn wide(self) -> i16 {
        self
    }

    #[cfg(target_arch = "x86_64")]
    fn fill(avx2: Avx2, panel: &mut [Line], weights: &[Self], stride: usize, width: usize) {
        avx2.fill(panel, weights, stride, width);
    }
}

/// The byte of a weight of 8 bits, two's complement.
impl Weight for u8 {
    fn wide(self) -> i16 {
        i16::from(self.cast_signed())
    }

    #[cfg(target_arch = "x86_64")]
    fn fill(avx2: Avx2, panel: &mut [Line], weights: &[Self], stride: usize, width: usize) {
        avx2.fill_int8(panel, weights, stride, width);
    }
}

/// A stationary tile, K x N, packed for the kernel. Reusable: `pack` allocates nothing once it has been as large.
#[derive(Debug, Clone)]
pub struct PackedTile {
    instructions: Instructions,
    /// Panel after panel.
    lines: Vec<Line>,
    inner: usize,
    cols: usize,
}

impl PackedTile {
    /// An empty tile for the fastest instructions this processor has.
    pub fn new() -> Self {
        Self::with(Instructions::fastest())
    }

    /// An empty tile for these instructions.
    pub const fn with(instructions: Instructions) -> Self {
        Self { instructions, lines: Vec::new(), inner: 0, cols: 0 }
    }

    /// Takes `inner` x `cols` weights, row-major, in place of those before.
    ///
    /// # Panics
    ///
    /// If there are not `inner * cols` weights.
    pub fn pack(&mut self, weights: &[i16], inner: usize, cols: usize) {
        assert_eq!(weights.len(), inner * cols, "a tile needs `inner` rows of `cols` weights");
        self.pack_rows(weights, cols, inner, cols);
    }

    /// As [`PackedTile::pack`], from weights of 8 bits, two's complement, as memory holds them: `inner` rows of `cols` bytes, each
    /// `stride` bytes after the one before.
    ///
    /// # Panics
    ///
    /// If `bytes` ends before the last weight, or `stride` is less than `cols`.
    pub fn pack_int8(&mut self, bytes: &[u8], stride: usize, inner: usize, cols: usize) {
        self.pack_rows(bytes, stride, inner, cols);
    }

    /// `inner` rows of `cols` weights, each `stride` after the one before.
    fn pack_rows<W: Weight>(&mut self, weights: &[W], stride: usize, inner: usize, cols: usize) {
        (self.inner, self.cols) = (inner, cols);
        if inner == 0 || cols == 0 {
            // No K: each panel is empty, and its sums are 0. No columns: no panel.
            return self.lines.clear();
        }
        assert!(stride >= cols, "rows of {cols} weights overlap at a stride of {stride}");
        let weights = &weights[..(inner - 1) * stride + cols];
        match self.instructions.choice() {
            #[cfg(target_arch = "x86_64")]
            Choice::Avx2(avx2) => {
                let pairs = inner.div_ceil(2);
                self.lines.resize(pairs * cols.div_ceil(COLS), Line::ZERO);
                // Panels outside: their lines are written in order, and what they are read from lies less often a power of two apart.
                for (panel, first) in self.lines.chunks_exact_mut(pairs).zip((0..).step_by(COLS)) {
                    W::fill(avx2, panel, &weights[first..], stride, COLS.min(cols - first));
                }
            }
            Choice::Portable => {
                let depth = inner.div_ceil(LINE);
                self.lines.resize(depth * cols, Line::ZERO);
                for (n, column) in self.lines.chunks_exact_mut(depth).enumerate() {
                    let mut weights = weights[n..].iter().step_by(stride);
                    for line in column {
                        *line = Line(std::array::from_fn(|_| weights.next().map_or(0, |weight| weight.wide())));
                    }
                }
            }
        }
    }

    /// Rows of the tile: K.
    pub const fn inner(&self) -> usize {
        self.inner
    }

    /// Columns of the tile: N.
    pub const fn cols(&self) -> usize {
        self.cols
    }

    /// What the tile is multiplied with.
    pub const fn instructions(&self) -> Instructions {
        self.instructions
    }

    const fn layout(&self) -> Layout {
        match self.instructions.choice() {
            Choice::Portable => Layout::Columns,
            #[cfg(target_arch = "x86_64")]
            Choice::Avx2(_) => Layout::Pairs,
        }
    }

    /// The lines of each panel, from the first columns to the last; the last panel may have fewer columns.
    pub(super) fn panels(&self) -> impl Iterator<Item = &[Line]> {
        let (pairs, depth) = (self.inner.div_ceil(2), self.inner.div_ceil(LINE));
        (0..self.cols).step_by(COLS).map(move |first| match self.layout() {
            Layout::Pairs => &self.lines[first / COLS * pairs..][..pairs],
            Layout::Columns => &self.lines[first * depth..][..COLS.min(self.cols - first) * depth],
        })
    }
}

impl Default for PackedTile {
    fn default() -> Self {
        Self::new()
    }
}

impl Line {
    const ZERO: Self = Self([0; LINE]);
}
