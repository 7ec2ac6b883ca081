//! The integer matrix kernel: a stationary tile packed once, then multiplied by many vectors, exactly.
//!
//! ```text
//! sums[t][n] = sum over k of x[t][k] * w[k][n]        x: vectors x inner, w: inner x cols, sums: vectors x cols, all row-major
//! ```
//!
//! Blocks of 4 vectors by 16 columns are summed in registers while K streams past, and the tile is packed for that, each column's
//! end padded with zeros, which add nothing. Where AVX2 is, a line of the packed tile holds two values of K for 16 columns, side by
//! side as its multiply-add takes them; elsewhere it holds 32 values of K of one column, a dot product that compilers vectorise.
//!
//! The same numbers come out on every path ([`Instructions`]): 16-bit sums are taken modulo 2^32, so each sum that fits `i32` is
//! exact whatever its partial sums do, and one that does not fit wraps alike everywhere.
//!
//! Not here: saturation, zero points, requantization, and which layer goes where. It multiplies; it knows no time.

#[cfg(target_arch = "x86_64")]
mod avx2;
mod binary;
mod instructions;
mod portable;
#[cfg(test)]
mod tests;
mod tile;
mod transpose;

pub use binary::{PackedBits, multiply_binary};
pub use instructions::{Instructions, Task};
pub use tile::PackedTile;
pub use transpose::transpose_i16;

use instructions::Choice;
use tile::{COLS, Line};

/// Vectors in a full block.
const ROWS: usize = 4;

/// Sums one panel's columns for `R` vectors of K values.
trait Block<Sum> {
    /// The block's sums, padding columns included.
    fn block<const R: usize>(&self, panel: &[Line], rows: [&[i16]; R]) -> [[Sum; COLS]; R];
}

/// Multiplies `vectors` rows of `x` by the tile and overwrites `sums` with the results, as the module says. Allocates nothing.
///
/// The caller promises that `inner * max|x| * max|w| < 2^31`, or more loosely that every sum fits an `i32`: then all sums are exact.
/// Otherwise a sum is its true value modulo 2^32. [`multiply_wide`] makes no such demand.
///
/// # Panics
///
/// If `x` is not `vectors * inner` values long or `sums` not `vectors * cols`.
pub fn multiply(tile: &PackedTile, x: &[i16], vectors: usize, sums: &mut [i32]) {
    match tile.instructions().choice() {
        Choice::Portable => drive(tile, x, vectors, sums, &portable::Portable),
        #[cfg(target_arch = "x86_64")]
        Choice::Avx2(avx2) => drive(tile, x, vectors, sums, &avx2),
    }
}

/// As [`multiply`], with sums of 64 bits: exact for all 16-bit operands (`inner` up to 2^33). About a third as fast.
///
/// # Panics
///
/// If `x` is not `vectors * inner` values long or `sums` not `vectors * cols`.
pub fn multiply_wide(tile: &PackedTile, x: &[i16], vectors: usize, sums: &mut [i64]) {
    match tile.instructions().choice() {
        Choice::Portable => drive(tile, x, vectors, sums, &portable::Portable),
        #[cfg(target_arch = "x86_64")]
        Choice::Avx2(avx2) => drive(tile, x, vectors, sums, &avx2),
    }
}

/// Panels outside, so that one stays in the nearest cache; blocks of vectors inside.
fn drive<Sum: Copy>(tile: &PackedTile, x: &[i16], vectors: usize, sums: &mut [Sum], kernel: &impl Block<Sum>) {
    let (inner, cols) = (tile.inner(), tile.cols());
    assert_eq!(x.len(), vectors * inner, "x must hold `vectors` rows of `inner` values");
    assert_eq!(sums.len(), vectors * cols, "sums must hold `vectors` rows of `cols` values");
    for (panel, first) in tile.panels().zip((0..).step_by(COLS)) {
        let width = COLS.min(cols - first);
        let mut t = 0;
        while t + ROWS <= vectors {
            step::<Sum, ROWS>(kernel, panel, &x[t * inner..], inner, &mut sums[t * cols + first..], cols, width);
            t += ROWS;
        }
        if t < vectors {
            let (x, sums) = (&x[t * inner..], &mut sums[t * cols + first..]);
            match vectors - t {
                1 => step::<Sum, 1>(kernel, panel, x, inner, sums, cols, width),
                2 => step::<Sum, 2>(kernel, panel, x, inner, sums, cols, width),
                _ => step::<Sum, 3>(kernel, panel, x, inner, sums, cols, width),
            }
        }
    }
}

/// One block: the first `R` rows of `x` into the first `width` columns of as many rows of `sums`, which lie `cols` apart.
#[inline]
fn step<Sum: Copy, const R: usize>(
    kernel: &impl Block<Sum>,
    panel: &[Line],
    x: &[i16],
    inner: usize,
    sums: &mut [Sum],
    cols: usize,
    width: usize,
) {
    let block = kernel.block(panel, std::array::from_fn::<&[i16], R, _>(|r| &x[r * inner..][..inner]));
    for (r, row) in block.iter().enumerate() {
        let sums = &mut sums[r * cols..];
        // A full row is copied by two vector stores, a partial one by a call.
        if let (COLS, Some(sums)) = (width, sums.first_chunk_mut()) {
            *sums = *row;
        } else {
            sums[..width].copy_from_slice(&row[..width]);
        }
    }
}
