//! The registers of an array, moved one cycle at a time.
//!
//! Element r of the vector that enters in cycle e is at PE(r, c) in cycle `e + p + r*row_hop + c*col_hop`. Nothing is copied from PE to PE:
//! a row of activation registers is a view into the row's reversed input stream, and what comes down the columns keeps its place while the
//! row of PEs that works on it moves down. What is counted, and what any PE holds in any cycle, is the same.
//!
//! Sums are floating point where they are exact: a whole number below 2^24 in `f32`, below 2^53 in `f64`.

#![allow(clippy::inline_always, reason = "only what is inlined is compiled for the instructions that the caller has found")]

mod held;
mod streams;
mod sums;

use super::shape::Shape;

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

/// The most cycles that are stepped together, a row of PEs after the other: what a row does in them depends on the row above it alone.
pub(super) const BLOCK: usize = 32;

/// PEs of a row that are worked on together, and half as many where there are no more.
const LANES: usize = 32;
const FEW: usize = 16;

/// A ring of rows that are `width` numbers wide.
#[derive(Debug, Clone, Copy)]
struct Turn {
    /// The row that comes first, and how many there are.
    at: usize,
    count: usize,
    width: usize,
}

impl Turn {
    /// Goes on to the next row of the ring.
    #[inline(always)]
    fn next(&mut self) {
        self.at = if self.at + 1 == self.count { 0 } else { self.at + 1 };
    }

    /// The numbers of the next `rows` rows: up to the end of the ring, then from its start.
    #[inline(always)]
    fn runs(self, rows: usize) -> [std::ops::Range<usize>; 2] {
        let before = rows.min(self.count - self.at);
        [self.at * self.width..(self.at + before) * self.width, 0..(rows - before) * self.width]
    }
}

/// What a row of PEs sees come along: a stream's entries, the newest first; in each of `cycles` cycles one further towards the front.
#[derive(Debug, Clone, Copy)]
struct Seen<'a, F> {
    entries: &'a [F],
    /// The entry that PE 0 sees in the first cycle.
    first: usize,
    /// Entries from what a PE sees to what the next one does.
    hop: usize,
    cycles: usize,
}

impl<'a, F: Number> Seen<'a, F> {
    /// What PEs `col` on see, side by side, cycle after cycle.
    #[inline(always)]
    fn lanes<const L: usize>(&self, col: usize) -> impl Iterator<Item = &'a [F; L]> + use<'a, L, F> {
        let entries = &self.entries[self.first + 1 - self.cycles + col..self.first + col + L];
        entries.windows(L).rev().filter_map(|seen| seen.first_chunk())
    }

    #[inline(always)]
    fn one(&self, cycle: usize, col: usize) -> F {
        self.entries[self.first - cycle + col * self.hop]
    }
}

/// `moving[row][c] += held[c] * seen[c]` in every cycle, `moving` going one row further round in each: a row of PEs past which sums go.
#[inline(always)]
fn past_held<F: Number>(moving: &mut [F], turn: Turn, held: &[F], seen: &Seen<'_, F>) {
    let mut first = 0;
    if seen.hop == 1 {
        while let Some(held) = held[first..].first_chunk::<LANES>() {
            lanes_past_held(moving, turn, first, held, seen);
            first += LANES;
        }
        while let Some(held) = held[first..].first_chunk::<FEW>() {
            lanes_past_held(moving, turn, first, held, seen);
            first += FEW;
        }
    }
    let mut turn = turn;
    for cycle in 0..if first < held.len() { seen.cycles } else { 0 } {
        let sums = &mut moving[turn.at * turn.width..][..held.len()];
        for col in first..held.len() {
            sums[col] += held[col] * seen.one(cycle, col);
        }
        turn.next();
    }
}

#[inline(always)]
fn lanes_past_held<F: Number, const L: usize>(moving: &mut [F], turn: Turn, first: usize, held: &[F; L], seen: &Seen<'_, F>) {
    let mut seen_by_cycle = seen.lanes::<L>(first);
    let held = *held;
    for run in turn.runs(seen.cycles) {
        for (row, seen) in moving[run].chunks_exact_mut(turn.width).zip(&mut seen_by_cycle) {
            let Some(sums) = row[first..].first_chunk_mut::<L>() else { break };
            let mut block = *sums;
            for lane in 0..L {
                block[lane] += held[lane] * seen[lane];
            }
            *sums = block;
        }
    }
}

/// `kept[c] += moving[row][c] * seen[c]` in every cycle, `moving` going one row further round in each: a row of PEs in which sums stay.
#[inline(always)]
fn into_kept<F: Number>(kept: &mut [F], moving: &[F], turn: Turn, seen: &Seen<'_, F>) {
    let mut first = 0;
    if seen.hop == 1 {
        while let Some(kept) = kept[first..].first_chunk_mut::<LANES>() {
            lanes_into_kept(kept, moving, turn, first, seen);
            first += LANES;
        }
        while let Some(kept) = kept[first..].first_chunk_mut::<FEW>() {
            lanes_into_kept(kept, moving, turn, first, seen);
            first += FEW;
        }
    }
    let mut turn = turn;
    for cycle in 0..if first < kept.len() { seen.cycles } else { 0 } {
        let moving = &moving[turn.at * turn.width..][..kept.len()];
        for col in first..kept.len() {
            kept[col] += moving[col] * seen.one(cycle, col);
        }
        turn.next();
    }
}

#[inline(always)]
fn lanes_into_kept<F: Number, const L: usize>(kept: &mut [F; L], moving: &[F], turn: Turn, first: usize, seen: &Seen<'_, F>) {
    let mut seen_by_cycle = seen.lanes::<L>(first);
    let mut block = *kept;
    for run in turn.runs(seen.cycles) {
        for (row, seen) in moving[run].chunks_exact(turn.width).zip(&mut seen_by_cycle) {
            let Some(weights) = row[first..].first_chunk::<L>() else { break };
            for lane in 0..L {
                block[lane] += weights[lane] * seen[lane];
            }
        }
    }
    *kept = block;
}

/// The columns of row `row` that something on the skew reaches `age` cycles after PE(0, 0).
#[inline(always)]
fn reached(shape: &Shape, row: usize, age: u64) -> std::ops::Range<usize> {
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

/// Whether something on the skew, `age` cycles from PE(0, 0) in the first of `cycles` cycles (less than 0 is yet to come), reaches row `row` in
/// any of them.
#[inline(always)]
fn reaches(shape: &Shape, row: usize, first: u64, cycles: usize, enters: u64) -> bool {
    let from = enters + (row * shape.row_hop) as u64;
    first + cycles as u64 > from && first <= from + (shape.col_hop * (shape.cols - 1)) as u64
}
