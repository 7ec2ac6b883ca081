//! Sums of 64 bits out of the kernel of 32: each `x` is `256 * high + low`, and neither part's sum overflows over a short K.

use super::tile::{COLS, Pair};

/// How much of K is summed in 32 bits. The low part is at most 255, the high part at most 128: `256 * 255 * 32768 < 2^31`.
const INNER: usize = 256;

/// The unsigned low byte of `x`.
pub(super) const fn low(x: i16) -> i16 {
    x & 0xff
}

/// The signed high byte of `x`.
pub(super) const fn high(x: i16) -> i16 {
    x >> 8
}

/// The sums of a block, given what sums the low parts and what sums the high parts of a stretch of K.
#[inline]
pub(super) fn sums<const R: usize>(
    panel: &[Pair],
    rows: [&[i16]; R],
    low: impl Fn(&[Pair], [&[i16]; R]) -> [[i32; COLS]; R],
    high: impl Fn(&[Pair], [&[i16]; R]) -> [[i32; COLS]; R],
) -> [[i64; COLS]; R] {
    let mut sums = [[0; COLS]; R];
    for (stretch, panel) in panel.chunks(INNER / 2).enumerate() {
        let rows = rows.map(|row| {
            let row = &row[stretch * INNER..];
            &row[..row.len().min(INNER)]
        });
        let (low, high) = (low(panel, rows), high(panel, rows));
        for ((sums, low), high) in sums.iter_mut().zip(low).zip(high) {
            for ((sum, low), high) in sums.iter_mut().zip(low).zip(high) {
                *sum += (i64::from(high) << 8) + i64::from(low);
            }
        }
    }
    sums
}
