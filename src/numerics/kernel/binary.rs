//! The binary kernel: products of +1 and -1 as bits, `dot = K - 2 * popcount(x ^ w)`.

use super::instructions::{Choice, Instructions};
use super::{ROWS, portable};

/// Columns in a panel of bits.
pub(super) const WORD_COLS: usize = 8;

/// The same 64 values of K for each column of a panel. One cache line.
#[derive(Debug, Clone, Copy)]
#[repr(align(64))]
pub(super) struct Words(pub(super) [u64; WORD_COLS]);

/// Counts, in one panel for `R` vectors, the bits in which each vector differs from each column.
pub(super) trait BitBlock {
    /// The block's counts, padding columns included.
    fn differences<const R: usize>(&self, panel: &[Words], rows: [&[u64]; R]) -> [[u64; WORD_COLS]; R];
}

/// A stationary tile of +1 (bit 1) and -1 (bit 0), packed for the kernel. Reusable: `pack` allocates nothing once it has been as large.
#[derive(Debug, Clone)]
pub struct PackedBits {
    instructions: Instructions,
    /// Panel after panel, `ceil(inner / 64)` lines each.
    words: Vec<Words>,
    inner: usize,
    cols: usize,
}

impl PackedBits {
    /// An empty tile for the fastest instructions this processor has.
    pub fn new() -> Self {
        Self::with(Instructions::fastest())
    }

    /// An empty tile for these instructions.
    pub const fn with(instructions: Instructions) -> Self {
        Self { instructions, words: Vec::new(), inner: 0, cols: 0 }
    }

    /// Takes `cols` columns of `inner` bits in place of those before: column after column, `ceil(inner / 64)` words each, the first
    /// value of K in a word's lowest bit. The bits that pad a column's last word are 0, as those of `x` are.
    ///
    /// # Panics
    ///
    /// If there are not `cols * ceil(inner / 64)` words, or `inner` does not fit an `i32`.
    pub fn pack(&mut self, columns: &[u64], inner: usize, cols: usize) {
        let lines = inner.div_ceil(64);
        assert_eq!(columns.len(), lines * cols, "a tile needs `cols` columns of `ceil(inner / 64)` words");
        assert!(i32::try_from(inner).is_ok(), "a sum of {inner} bits does not fit an i32");
        debug_assert!(padding_is_zero(columns, inner), "the bits that pad a column must be 0");
        (self.inner, self.cols) = (inner, cols);
        self.words.resize(lines * cols.div_ceil(WORD_COLS), Words([0; WORD_COLS]));
        if lines == 0 {
            return;
        }
        for (columns, panel) in columns.chunks(lines * WORD_COLS).zip(self.words.chunks_exact_mut(lines)) {
            for (line, words) in panel.iter_mut().enumerate() {
                *words = Words(std::array::from_fn(|n| columns.get(n * lines + line).copied().unwrap_or(0)));
            }
        }
    }

    /// Rows of the tile: K, in bits.
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
}

impl Default for PackedBits {
    fn default() -> Self {
        Self::new()
    }
}

/// Multiplies `vectors` rows of +1 and -1 by the tile and overwrites `sums`, row-major `vectors` x `cols`. Allocates nothing.
///
/// `x` holds `ceil(inner / 64)` words a vector, laid out as [`PackedBits::pack`] takes a column; the bits that pad are 0.
///
/// # Panics
///
/// If `x` or `sums` has another length than `vectors` asks for.
pub fn multiply_binary(tile: &PackedBits, x: &[u64], vectors: usize, sums: &mut [i32]) {
    match tile.instructions.choice() {
        Choice::Portable => drive(tile, x, vectors, sums, &portable::Portable),
        #[cfg(target_arch = "x86_64")]
        Choice::Avx2(avx2) => drive(tile, x, vectors, sums, &avx2),
    }
}

fn drive(tile: &PackedBits, x: &[u64], vectors: usize, sums: &mut [i32], kernel: &impl BitBlock) {
    let (lines, cols) = (tile.inner.div_ceil(64), tile.cols);
    assert_eq!(x.len(), vectors * lines, "x must hold `vectors` rows of `ceil(inner / 64)` words");
    assert_eq!(sums.len(), vectors * cols, "sums must hold `vectors` rows of `cols` values");
    debug_assert!(padding_is_zero(x, tile.inner), "the bits that pad a vector must be 0");
    for (panel, first) in (0..cols).step_by(WORD_COLS).enumerate() {
        let panel = &tile.words[panel * lines..][..lines];
        let mut t = 0;
        while t < vectors {
            let rows = (vectors - t).min(ROWS);
            let (x, sums) = (&x[t * lines..], &mut sums[t * cols + first..]);
            match rows {
                1 => step::<1>(kernel, tile, panel, x, sums, first),
                2 => step::<2>(kernel, tile, panel, x, sums, first),
                3 => step::<3>(kernel, tile, panel, x, sums, first),
                _ => step::<ROWS>(kernel, tile, panel, x, sums, first),
            }
            t += rows;
        }
    }
}

/// One block: the first `R` rows of `x` into the panel's columns of as many rows of `sums`.
#[inline]
fn step<const R: usize>(kernel: &impl BitBlock, tile: &PackedBits, panel: &[Words], x: &[u64], sums: &mut [i32], first: usize) {
    let lines = panel.len();
    let counts = kernel.differences(panel, std::array::from_fn::<&[u64], R, _>(|r| &x[r * lines..][..lines]));
    for (r, counts) in counts.iter().enumerate() {
        let width = WORD_COLS.min(tile.cols - first);
        for (sum, &count) in sums[r * tile.cols..][..width].iter_mut().zip(counts) {
            *sum = dot(tile.inner, count);
        }
    }
}

/// `K - 2 * count`.
#[expect(clippy::cast_possible_truncation, clippy::cast_possible_wrap, reason = "K fits an i32, `pack` asked; the count is at most K")]
const fn dot(inner: usize, count: u64) -> i32 {
    (inner as i32).wrapping_sub((count as i32).wrapping_mul(2))
}

/// Are the bits past `inner` in the last word of each row 0?
fn padding_is_zero(rows: &[u64], inner: usize) -> bool {
    inner.is_multiple_of(64) || rows.chunks_exact(inner.div_ceil(64)).all(|row| row.last().is_none_or(|&word| word >> (inner % 64) == 0))
}
