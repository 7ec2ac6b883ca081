//! A stationary tile of 16-bit weights, laid out as the blocks read it.

use super::Instructions;

/// Columns in a panel.
pub(super) const COLS: usize = 16;

/// Two values of K for each column of a panel: `w[2p][n]` at `2n`, `w[2p + 1][n]` at `2n + 1`. One cache line.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct Pair(pub(super) [i16; 2 * COLS]);

impl Pair {
    const ZERO: Self = Self([0; 2 * COLS]);

    fn of(low: &[i16; COLS], high: &[i16; COLS]) -> Self {
        let mut pair = Self::ZERO;
        for ((pair, low), high) in pair.0.as_chunks_mut().0.iter_mut().zip(low).zip(high) {
            *pair = [*low, *high];
        }
        pair
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

/// A stationary tile, K x N, packed for the kernel. Reusable: `pack` allocates nothing once it has been as large.
#[derive(Debug, Clone)]
pub struct PackedTile {
    instructions: Instructions,
    /// Panel after panel, `ceil(inner / 2)` pairs each.
    pairs: Vec<Pair>,
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
        Self { instructions, pairs: Vec::new(), inner: 0, cols: 0 }
    }

    /// Takes `inner` x `cols` weights, row-major, in place of those before.
    ///
    /// # Panics
    ///
    /// If there are not `inner * cols` weights.
    pub fn pack(&mut self, weights: &[i16], inner: usize, cols: usize) {
        assert_eq!(weights.len(), inner * cols, "a tile needs `inner` rows of `cols` weights");
        (self.inner, self.cols) = (inner, cols);
        let pairs = inner.div_ceil(2);
        self.pairs.resize(pairs * cols.div_ceil(COLS), Pair::ZERO);
        if cols == 0 {
            return;
        }
        for p in 0..pairs {
            let mut rows = weights[2 * p * cols..].chunks(cols);
            let low = rows.next().unwrap_or(&[]).chunks(COLS);
            let high = rows.next().unwrap_or(&[]).chunks(COLS).chain(std::iter::repeat(&[][..]));
            for ((low, high), pair) in low.zip(high).zip(self.pairs[p..].iter_mut().step_by(pairs)) {
                *pair = Pair::of(&filled(low), &filled(high));
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

    /// The pairs of each panel, from the first columns to the last.
    pub(super) fn panels(&self) -> impl Iterator<Item = &[Pair]> {
        let pairs = self.inner.div_ceil(2);
        (0..self.cols.div_ceil(COLS)).map(move |panel| &self.pairs[panel * pairs..][..pairs])
    }
}

impl Default for PackedTile {
    fn default() -> Self {
        Self::new()
    }
}
