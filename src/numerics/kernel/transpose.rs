//! Rows into columns: how values that lie K after K become the vectors that the kernel takes.

use super::Instructions;
use super::instructions::Choice;

/// Turns `from`, row-major `rows` x `cols`, into `to`, row-major `cols` x `rows`.
///
/// # Panics
///
/// If `from` or `to` does not have `rows * cols` values.
pub fn transpose_i16(from: &[i16], rows: usize, cols: usize, to: &mut [i16]) {
    transpose_with(Instructions::fastest(), from, rows, cols, to);
}

pub(super) fn transpose_with(instructions: Instructions, from: &[i16], rows: usize, cols: usize, to: &mut [i16]) {
    assert_eq!(from.len(), rows * cols, "`from` must hold `rows` rows of `cols` values");
    assert_eq!(to.len(), rows * cols, "`to` must hold `cols` rows of `rows` values");
    match instructions.choice() {
        Choice::Portable => transpose(from, rows, cols, to),
        #[cfg(target_arch = "x86_64")]
        Choice::Avx2(avx2) => avx2.transpose(from, rows, cols, to),
    }
}

/// Rows and columns of a block: a cache line of each side.
const BLOCK: usize = 32;

/// Block by block, so that a line of either side is used up while it is near.
fn transpose(from: &[i16], rows: usize, cols: usize, to: &mut [i16]) {
    for col in (0..cols).step_by(BLOCK) {
        for row in (0..rows).step_by(BLOCK) {
            for col in col..cols.min(col + BLOCK) {
                let column = from[row * cols + col..].iter().step_by(cols);
                for (to, from) in to[col * rows..][row..rows.min(row + BLOCK)].iter_mut().zip(column) {
                    *to = *from;
                }
            }
        }
    }
}
