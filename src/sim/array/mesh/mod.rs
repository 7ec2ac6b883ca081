//! The registers of an array, moved one cycle at a time.
//!
//! Element r of the vector that enters in cycle e is at PE(r, c) in cycle `e + p + r*row_hop + c*col_hop`. Nothing is copied from PE to PE:
//! a row of activation registers is a view into the row's reversed input stream, and what comes down the columns keeps its place while the
//! row of PEs that works on it moves down. What is counted, and what any PE holds in any cycle, is the same.
//!
//! What comes down the columns in one row, a wave, meets the same elements of every stream wherever it is, for both are as old: so several
//! rows of PEs may work on a wave before the next wave comes, and the wave need not go to memory in between.
//!
//! Sums are floating point where they are exact: a whole number below 2^24 in `f32`, below 2^53 in `f64`.

#![allow(clippy::inline_always, reason = "only what is inlined is compiled for the instructions that the caller has found")]

mod held;
mod streams;
mod sums;

use super::shape::Shape;
use std::hint::black_box;
use std::ops::Range;

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
    fn narrow(self) -> i32 {
        f64::from(self).narrow()
    }
}

impl Number for f64 {
    const EXACT: u64 = 1 << 53;

    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "sums are whole numbers below 2^53")]
    fn whole(self) -> i64 {
        self as i64
    }

    /// A cast saturates, lane by lane. On top of 1.5 * 2^52 the number's low bits are a whole number's, and vectors can take them.
    #[inline(always)]
    #[expect(clippy::cast_possible_truncation, reason = "the low half is what is asked for")]
    fn narrow(self) -> i32 {
        const BASE: f64 = 6_755_399_441_055_744.0;
        (self + BASE).to_bits() as i32
    }
}

/// The most cycles that are stepped together, a row of PEs after the other: what a row does in them depends on the row above it alone.
pub(super) const BLOCK: usize = 64;

/// Columns that are worked on together; an array has as many parts of them as it takes, the last one with lanes to spare.
pub(super) const LANES: usize = 16;

/// Rows of PEs, or elements of K in a row, that are worked on together.
const TOGETHER: usize = 4;

/// A number for each of a part's columns.
type Lanes<F> = [F; LANES];

/// `waves[x][lane] += held[lane] * seen[x + lane * hop]`: a row of PEs past which sums go, in as many cycles as there are waves.
#[inline(always)]
fn past_held<F: Number>(waves: &mut [Lanes<F>], held: &Lanes<F>, seen: &[F], hop: usize) {
    let held = *held;
    if hop == 1 {
        for (sums, seen) in waves.iter_mut().zip(seen.windows(LANES)) {
            multiply_add(sums, &held, seen);
        }
    } else {
        for (x, sums) in waves.iter_mut().enumerate() {
            for lane in 0..LANES {
                sums[lane] += held[lane] * seen[x + lane * hop];
            }
        }
    }
}

/// The same of rows that a wave meets one after the other, where the hop is 1.
#[inline(always)]
fn past_held_together<F: Number>(waves: &mut [Lanes<F>], held: &[Lanes<F>; TOGETHER], seen: [&[F]; TOGETHER]) {
    let [held0, held1, held2, held3] = *held;
    let [seen0, seen1, seen2, seen3] = seen.map(|seen| seen.windows(LANES));
    for ((sums, (seen0, seen1)), (seen2, seen3)) in waves.iter_mut().zip(seen0.zip(seen1)).zip(seen2.zip(seen3)) {
        let mut wave = *sums;
        multiply_add(&mut wave, &held0, seen0);
        multiply_add(&mut wave, &held1, seen1);
        multiply_add(&mut wave, &held2, seen2);
        multiply_add(&mut wave, &held3, seen3);
        *sums = wave;
        // Else the compiler takes one lane of eight waves for its vectors, and spends its time on moving lanes.
        black_box(());
    }
}

/// `kept[lane] += waves[x][lane] * seen[x + lane * hop]` for every x: a row of PEs in which sums stay, in as many cycles as there are waves.
#[inline(always)]
fn into_kept<F: Number>(kept: &mut Lanes<F>, waves: &[Lanes<F>], seen: &[F], hop: usize) {
    let mut sums = *kept;
    if hop == 1 {
        for (weights, seen) in waves.iter().zip(seen.windows(LANES)) {
            multiply_add(&mut sums, weights, seen);
        }
    } else {
        for (x, weights) in waves.iter().enumerate() {
            for lane in 0..LANES {
                sums[lane] += weights[lane] * seen[x + lane * hop];
            }
        }
    }
    *kept = sums;
}

/// The same of rows that a wave meets one after the other, where the hop is 1.
#[inline(always)]
fn into_kept_together<F: Number>(kept: &mut [Lanes<F>; TOGETHER], waves: &[Lanes<F>], seen: [&[F]; TOGETHER]) {
    let [mut sums0, mut sums1, mut sums2, mut sums3] = *kept;
    let [seen0, seen1, seen2, seen3] = seen.map(|seen| seen.windows(LANES));
    for ((weights, (seen0, seen1)), (seen2, seen3)) in waves.iter().zip(seen0.zip(seen1)).zip(seen2.zip(seen3)) {
        multiply_add(&mut sums0, weights, seen0);
        multiply_add(&mut sums1, weights, seen1);
        multiply_add(&mut sums2, weights, seen2);
        multiply_add(&mut sums3, weights, seen3);
    }
    *kept = [sums0, sums1, sums2, sums3];
}

#[inline(always)]
fn multiply_add<F: Number>(sums: &mut Lanes<F>, weights: &Lanes<F>, seen: &[F]) {
    if let Some(seen) = seen.first_chunk::<LANES>() {
        for lane in 0..LANES {
            sums[lane] += weights[lane] * seen[lane];
        }
    }
}

/// The columns of row `row` that something on the skew reaches `age` cycles after PE(0, 0).
#[inline(always)]
fn reached(shape: &Shape, row: usize, age: u64) -> Range<usize> {
    let Some(age) = age.checked_sub((row * shape.row_hop) as u64) else { return 0..0 };
    let (cols, hop) = (shape.cols, shape.col_hop as u64);
    if hop == 0 {
        return if age == 0 { 0..cols } else { 0..0 };
    }
    match usize::try_from(age / hop) {
        Ok(col) if age % hop == 0 && col < cols => col..col + 1,
        _ => 0..0,
    }
}

/// A part's columns, spare lanes included.
#[inline(always)]
fn columns(part: usize) -> Range<usize> {
    part * LANES..(part + 1) * LANES
}

/// The cycles of a block, `cycles` from `first` on, in which something that is at PE(0, 0) in cycle `arrives` and moves on the skew is in a
/// part of the rows.
#[inline(always)]
fn visits(shape: &Shape, rows: Range<usize>, part: usize, (first, cycles): (u64, usize), arrives: u64) -> Range<usize> {
    let columns = columns(part);
    let from = arrives + (rows.start * shape.row_hop + columns.start * shape.col_hop) as u64;
    let to = arrives + ((rows.end - 1) * shape.row_hop + (columns.end - 1) * shape.col_hop) as u64 + 1;
    let within = |cycle: u64| usize::try_from(cycle.saturating_sub(first)).map_or(cycles, |cycle| cycle.min(cycles));
    within(from)..within(to)
}

/// The least range of cycles that holds those of all that is to arrive.
#[inline(always)]
fn visited(shape: &Shape, rows: &Range<usize>, part: usize, block: (u64, usize), arrivals: impl Iterator<Item = u64>) -> Range<usize> {
    let mut all = 0..0;
    for arrives in arrivals {
        all = hull(all, visits(shape, rows.clone(), part, block, arrives));
    }
    all
}

/// The least range that holds two, of which either may be empty.
#[inline(always)]
fn hull(one: Range<usize>, other: Range<usize>) -> Range<usize> {
    match (one.is_empty(), other.is_empty()) {
        (true, _) => other,
        (_, true) => one,
        _ => one.start.min(other.start)..one.end.max(other.end),
    }
}

/// The lanes of a part in which something is in row `row` in the cycle `age` cycles after it was at PE(0, 0).
#[inline(always)]
fn lanes_reached(shape: &Shape, row: usize, part: usize, age: u64) -> Range<usize> {
    let columns = columns(part);
    if shape.col_hop == 1 {
        // The usual array: without a division.
        let skew = (row * shape.row_hop + columns.start) as u64;
        let last = (shape.cols.min(columns.end) - columns.start) as u64;
        return match usize::try_from(age.wrapping_sub(skew)) {
            Ok(lane) if age >= skew && (lane as u64) < last => lane..lane + 1,
            _ => 0..0,
        };
    }
    let reached = reached(shape, row, age);
    let start = reached.start.max(columns.start);
    start - columns.start..reached.end.min(columns.end).max(start) - columns.start
}
