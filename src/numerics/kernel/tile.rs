//! A stationary tile of 16-bit weights, laid out as the blocks read it.

use super::Instructions;
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
        (self.inner, self.cols) = (inner, cols);
        if weights.is_empty() {
            // No K: each panel is empty, and its sums are 0. No columns: no panel.
            return self.lines.clear();
        }
        match self.layout() {
            Layout::Pairs => {
                let pairs = inner.div_ceil(2);
                self.lines.resize(pairs * cols.div_ceil(COLS), Line::ZERO);
                for p in 0..pairs {
                    let mut rows = weights[2 * p * cols..].chunks(cols);
                    let low = rows.next().unwrap_or(&[]).chunks(COLS);
                    let high = rows.next().unwrap_or(&[]).chunks(COLS).chain(std::iter::repeat(&[][..]));
                    for ((low, high), line) in low.zip(high).zip(self.lines[p..].iter_mut().step_by(pairs)) {
                        *line = Line::of_pairs(&filled(low), &filled(high));
                    }
                }
            }
            Layout::Columns => {
                let depth = inner.div_ceil(LINE);
                self.lines.resize(depth * cols, Line::ZERO);
                for (d, rows) in weights.chunks(LINE * cols).enumerate() {
                    for (n, line) in self.lines[d..].iter_mut().step_by(depth).enumerate() {
                        let mut column = rows[n..].iter().step_by(cols);
                        *line = Line(std::array::from_fn(|_| column.next().copied().unwrap_or(0)));
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

    /// Two rows of a panel, value by value.
    fn of_pairs(low: &[i16; COLS], high: &[i16; COLS]) -> Self {
        let mut line = Self::ZERO;
        for ((pair, low), high) in line.0.as_chunks_mut().0.iter_mut().zip(low).zip(high) {
            *pair = [*low, *high];
        }
        line
    }
}

/// Up to 16 values, and zeros.
fn filled(values: &[i16]) -> [i16; COLS] {
    values.first_chunk().copied().unwrap_or_else(|| {
        let mut filled = [0; COLS];
        filled[..values.len()].copy_from_slice(values);
        filled
    })
}
