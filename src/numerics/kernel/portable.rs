//! The blocks in plain Rust, shaped so that the compiler makes vector instructions of them.

use super::Block;
use super::binary::{BitBlock, WORD_COLS, Words};
use super::tile::{COLS, Pair};
use super::wide;

/// No instructions beyond the target's own.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portable;

impl Block<i32> for Portable {
    fn block<const R: usize>(&self, panel: &[Pair], rows: [&[i16]; R]) -> [[i32; COLS]; R] {
        sums(panel, rows, |x| x)
    }
}

impl Block<i64> for Portable {
    fn block<const R: usize>(&self, panel: &[Pair], rows: [&[i16]; R]) -> [[i64; COLS]; R] {
        wide::sums(panel, rows, |panel, rows| sums(panel, rows, wide::low), |panel, rows| sums(panel, rows, wide::high))
    }
}

impl BitBlock for Portable {
    fn differences<const R: usize>(&self, panel: &[Words], rows: [&[u64]; R]) -> [[u32; WORD_COLS]; R] {
        rows.map(|row| {
            let mut counts = [0; WORD_COLS];
            for (&x, Words(w)) in row.iter().zip(panel) {
                for (count, w) in counts.iter_mut().zip(w) {
                    *count += (x ^ w).count_ones();
                }
            }
            counts
        })
    }
}

/// Sums of `part(x) * w`, one vector after the other: what 16 sums of one vector need, the smallest register files hold.
#[inline]
fn sums<const R: usize>(panel: &[Pair], rows: [&[i16]; R], part: impl Fn(i16) -> i16) -> [[i32; COLS]; R] {
    rows.map(|row| {
        let mut sums = [0_i32; COLS];
        let mut add = |[low, high]: [i16; 2], Pair(w): &Pair| {
            let x = [i32::from(part(low)), i32::from(part(high))];
            for (sum, [low, high]) in sums.iter_mut().zip(w.as_chunks().0) {
                *sum = sum.wrapping_add((x[0] * i32::from(*low)).wrapping_add(x[1] * i32::from(*high)));
            }
        };
        let (pairs, rest) = row.as_chunks();
        for (&x, w) in pairs.iter().zip(panel) {
            add(x, w);
        }
        if let (&[last], Some(w)) = (rest, panel.last()) {
            add([last, 0], w);
        }
        sums
    })
}
