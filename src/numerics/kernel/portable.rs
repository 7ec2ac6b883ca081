//! The blocks in plain Rust: dot products of one vector with one column, a shape that compilers make vector instructions of.

use super::Block;
use super::binary::{BitBlock, WORD_COLS, Words};
use super::tile::{COLS, LINE, Line};

/// No instructions beyond the target's own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portable;

impl Block<i32> for Portable {
    fn block<const R: usize>(&self, panel: &[Line], rows: [&[i16]; R]) -> [[i32; COLS]; R] {
        sums(panel, rows, |sum: i32, x, w| x.iter().zip(w).fold(sum, |sum, (&x, &w)| sum.wrapping_add(i32::from(x) * i32::from(w))))
    }
}

impl Block<i64> for Portable {
    fn block<const R: usize>(&self, panel: &[Line], rows: [&[i16]; R]) -> [[i64; COLS]; R] {
        sums(panel, rows, |sum: i64, x, w| {
            x.iter().zip(w).fold(sum, |sum, (&x, &w)| sum.wrapping_add(i64::from(i32::from(x) * i32::from(w))))
        })
    }
}

impl BitBlock for Portable {
    fn differences<const R: usize>(&self, panel: &[Words], rows: [&[u64]; R]) -> [[u64; WORD_COLS]; R] {
        rows.map(|row| {
            let mut counts = [0; WORD_COLS];
            for (&x, Words(w)) in row.iter().zip(panel) {
                for (count, w) in counts.iter_mut().zip(w) {
                    *count += u64::from((x ^ w).count_ones());
                }
            }
            counts
        })
    }
}

/// The sums of each vector with each column the panel has, where `add` adds a line's products; the columns that pad have none.
#[inline]
fn sums<Sum: Copy + Default, const R: usize>(
    panel: &[Line],
    rows: [&[i16]; R],
    add: impl Fn(Sum, &[i16], &[i16; LINE]) -> Sum,
) -> [[Sum; COLS]; R] {
    rows.map(|row| {
        let mut sums = [Sum::default(); COLS];
        let (full, rest) = row.as_chunks::<LINE>();
        let depth = row.len().div_ceil(LINE);
        for (sum, column) in sums.iter_mut().zip(panel.chunks_exact(depth.max(1))) {
            for (x, Line(w)) in full.iter().zip(column) {
                *sum = add(*sum, x, w);
            }
            if let Some(Line(w)) = column.get(full.len()) {
                *sum = add(*sum, rest, w);
            }
        }
        sums
    })
}
