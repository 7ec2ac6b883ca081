//! The registers of an array, moved one cycle at a time.
//!
//! Element r of the vector that enters in cycle e is at PE(r, c) in cycle `e + p + r*row_hop + c*col_hop`. Nothing is copied from PE to PE:
//! a row of activation registers is a view into the row's reversed input stream, and what comes down the columns keeps its place while the
//! row of PEs that works on it moves down. What is counted, and what any PE holds in any cycle, is the same.
//!
//! Sums are floating point where they are exact: a whole number below 2^24 in `f32`, below 2^53 in `f64`.

mod held;
mod streams;
mod sums;

pub(super) use held::HeldMesh;
pub(super) use sums::{Careful, SumsMesh};

/// A floating-point number that holds whole numbers exactly up to [`Number::EXACT`].
pub(super) trait Number:
    Copy + Default + std::fmt::Debug + std::ops::Add<Output = Self> + std::ops::Mul<Output = Self> + std::ops::AddAssign + From<i16>
{
    /// Whole numbers of at most this size are exact.
    const EXACT: u64;
    /// The whole number.
    fn whole(self) -> i64;
    /// The same where 32 bits hold it.
    fn narrow(self) -> i32;
}

impl Number for f32 {
    const EXACT: u64 = 1 << 24;

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "sums are whole numbers below 2^24")]
    fn whole(self) -> i64 {
        self as i64
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "asked only where sums are below 2^31")]
    fn narrow(self) -> i32 {
        self as i32
    }
}

impl Number for f64 {
    const EXACT: u64 = 1 << 53;

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "sums are whole numbers below 2^53")]
    fn whole(self) -> i64 {
        self as i64
    }

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "asked only where sums are below 2^31")]
    fn narrow(self) -> i32 {
        self as i32
    }
}

/// `sums[c] += weights[c] * elements[c * hop]`: one row of PEs in one cycle.
#[inline(always)]
fn multiply_add<F: Number>(sums: &mut [F], weights: &[F], elements: &[F], hop: usize) {
    match hop {
        1 => side_by_side(sums, weights, &elements[..sums.len()]),
        0 => {
            let element = elements[0];
            for (sum, weight) in sums.iter_mut().zip(weights) {
                *sum += *weight * element;
            }
        }
        _ => {
            for ((sum, weight), element) in sums.iter_mut().zip(weights).zip(elements.iter().step_by(hop)) {
                *sum += *weight * *element;
            }
        }
    }
}

/// In blocks of a size that the compiler turns into vector instructions.
#[inline(always)]
fn side_by_side<F: Number>(sums: &mut [F], weights: &[F], elements: &[F]) {
    const BLOCK: usize = 16;
    let (sum_blocks, sum_rest) = sums.as_chunks_mut::<BLOCK>();
    let (weight_blocks, weight_rest) = weights.as_chunks::<BLOCK>();
    let (element_blocks, element_rest) = elements.as_chunks::<BLOCK>();
    for ((sums, weights), elements) in sum_blocks.iter_mut().zip(weight_blocks).zip(element_blocks) {
        // Into a block of its own first: so the compiler sees that nothing overlaps.
        let mut block = [F::default(); BLOCK];
        for column in 0..BLOCK {
            block[column] = sums[column] + weights[column] * elements[column];
        }
        *sums = block;
    }
    for ((sum, weight), element) in sum_rest.iter_mut().zip(weight_rest).zip(element_rest) {
        *sum += *weight * *element;
    }
}

/// Walks the PEs whose place in an event's skew is `age` cycles behind PE(0, 0): calls `at(row, first column, columns)`.
#[inline(always)]
fn on_the_skew(shape: &super::shape::Shape, age: usize, mut at: impl FnMut(usize, usize, usize)) {
    let super::shape::Shape { rows, cols, row_hop, col_hop, .. } = *shape;
    if (row_hop, col_hop) == (1, 1) {
        // The usual array: one PE of each row on the diagonal.
        for row in (age + 1).saturating_sub(cols)..rows.min(age + 1) {
            at(row, age - row, 1);
        }
        return;
    }
    for row in 0..rows {
        let Some(age) = age.checked_sub(row * row_hop) else { break };
        match col_hop {
            0 if age == 0 => at(row, 0, cols),
            0 => {}
            hop if age % hop == 0 && age / hop < cols => at(row, age / hop, 1),
            _ => {}
        }
    }
}
