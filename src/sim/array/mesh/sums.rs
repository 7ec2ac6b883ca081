//! An array in which sums stay: activations stream from the left, weights from the top.

use super::super::shape::{Shape, place};
use super::streams::Streams;
use super::{BLOCK, Number, Seen, Turn, into_kept, reached, reaches};
use crate::numerics::AccumulateRule;
use std::collections::VecDeque;

/// Whether sums may overflow on their way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) enum Careful {
    /// They cannot, or wrap, so that one update at the end is as good as one a cycle.
    No,
    /// They may saturate: every cycle's products are one update.
    Yes,
}

/// The registers.
#[derive(Debug)]
pub(in super::super) struct SumsMesh<F> {
    shape: Shape,
    rule: AccumulateRule,
    streams: Streams<F>,
    /// Weights by the cycle in which they pass row 0, skewed already: for each element of the depth a ring of rows of columns.
    skewed: Vec<F>,
    skewed_count: usize,
    /// What every PE has summed since the last time that `totals` took it.
    partial: Vec<F>,
    totals: Vec<i64>,
    /// Cycles after which `partial` might lose a unit, and those that passed since it was taken.
    interval: u64,
    since: u64,
    careful: Careful,
    /// Passes whose sums are under way: a ring of what a PE starts from, and ends with.
    passes: Vec<Pass>,
    events: VecDeque<Event>,
}

#[derive(Debug)]
struct Pass {
    /// Rows x columns.
    biases: Vec<i64>,
    results: Vec<i64>,
}

/// Something that happens in every PE, on the skew.
#[derive(Debug, Clone, Copy)]
struct Event {
    /// The cycle in which it is at PE(0, 0).
    arrives: u64,
    pass: usize,
    /// A PE takes its bias, before it works in that cycle; else it gives its sum, after it.
    begins: bool,
}

impl<F: Number> SumsMesh<F> {
    /// An array without sums, and room for as many `passes` as may be under way. One product is at most `product` in size.
    pub(in super::super) fn new(shape: Shape, passes: usize, rule: AccumulateRule, product: u64, careful: Careful) -> Self {
        let size = shape.rows * shape.cols;
        let skewed_count = shape.window() + BLOCK;
        Self {
            shape,
            rule,
            streams: Streams::new(shape.rows * shape.depth, shape.window()),
            skewed: vec![F::default(); skewed_count * shape.depth * shape.cols],
            skewed_count,
            partial: vec![F::default(); size],
            totals: vec![0; size],
            interval: if careful == Careful::Yes { 1 } else { F::EXACT / (product * shape.depth as u64) },
            since: 0,
            careful,
            passes: (0..passes).map(|_| Pass { biases: vec![0; size], results: vec![0; size] }).collect(),
            events: VecDeque::with_capacity(2 * shape.window() + 4),
        }
    }

    /// What each PE starts a pass from, rows x columns, to be written.
    pub(in super::super) fn biases(&mut self, number: u64) -> &mut [i64] {
        let pass = place(number, self.passes.len());
        &mut self.passes[pass].biases
    }

    /// Lets a pass begin with the step that enters in cycle `enters`, and give its sums when all that entered before cycle `ends` has passed.
    pub(in super::super) fn pass(&mut self, number: u64, enters: u64, ends: u64) {
        let pass = place(number, self.passes.len());
        let registers = self.shape.registers as u64;
        self.events.push_back(Event { arrives: enters + registers, pass, begins: true });
        self.events.push_back(Event { arrives: ends - 1 + registers, pass, begins: false });
    }

    /// A pass's sums, rows x columns; each is valid once its PE has given it.
    pub(in super::super) fn results(&self, number: u64) -> &[i64] {
        &self.passes[place(number, self.passes.len())].results
    }

    /// Makes room for the steps that enter in the next `cycles` cycles, at most [`BLOCK`] and [`SumsMesh::most`], each of which is to be set.
    #[inline(always)]
    pub(in super::super) fn enter(&mut self, cycles: usize) {
        self.streams.enter(cycles);
    }

    /// Sets a step that enters in cycle `cycle` of the block: activations, rows x depth, and weights, columns x depth; zeros (a bubble) where
    /// they are empty.
    #[inline(always)]
    pub(in super::super) fn set(&mut self, first: u64, cycle: usize, activations: &[i16], weights: &[i16]) {
        self.streams.set(cycle, activations);
        self.weights(first + cycle as u64, weights);
    }

    /// Puts the weights that enter in a cycle where their columns meet them; zeros where there are fewer.
    #[inline(always)]
    fn weights(&mut self, cycle: u64, weights: &[i16]) {
        let Shape { cols, col_hop, depth, .. } = self.shape;
        let forward = col_hop % self.skewed_count;
        let mut slot = place(cycle, self.skewed_count);
        if (depth, col_hop) == (1, 1) {
            // The usual array: down a diagonal.
            let (end, mut at) = (self.skewed_count * cols, slot * cols);
            let zeros = cols.saturating_sub(weights.len());
            for (col, weight) in weights.iter().copied().chain(std::iter::repeat_n(0, zeros)).enumerate() {
                self.skewed[at.wrapping_add(col)] = F::from(weight);
                at = at.wrapping_add(cols);
                at = if at == end { 0 } else { at };
            }
            return;
        }
        for col in 0..cols {
            for element in 0..depth {
                let weight = weights.get(col * depth + element).copied().unwrap_or(0);
                self.skewed[(element * self.skewed_count + slot) * cols + col] = F::from(weight);
            }
            slot = if slot + forward >= self.skewed_count { slot + forward - self.skewed_count } else { slot + forward };
        }
    }

    /// Cycles that may be stepped together: as many as sums are exact for.
    pub(in super::super) fn most(&self) -> usize {
        usize::try_from(self.interval).unwrap_or(BLOCK).min(BLOCK)
    }

    /// The block's cycles of every PE, `cycles` from `first` on, on the array's own clock.
    #[inline(always)]
    pub(in super::super) fn step(&mut self, first: u64, cycles: usize) {
        if self.since + cycles as u64 > self.interval {
            self.take_partial();
        }
        let Shape { rows, cols, row_hop, col_hop, registers, depth } = self.shape;
        let count = self.skewed_count;
        let back = row_hop % count;
        let mut slot = place(first + (count - registers % count) as u64, count);
        for row in 0..rows {
            let age = registers + row * row_hop;
            let shape = &self.shape;
            if self.events.iter().any(|event| reaches(shape, row, first, cycles, event.arrives)) {
                self.begin_end_and_step(row, first, cycles, slot, age);
            } else {
                for element in 0..depth {
                    let kept = &mut self.partial[row * cols..][..cols];
                    let seen = self.streams.seen(row * depth + element, age, col_hop);
                    into_kept(kept, &self.skewed[element * count * cols..][..count * cols], Turn { at: slot, count, width: cols }, &seen);
                }
            }
            slot = if slot >= back { slot - back } else { slot + count - back };
        }
        self.since += cycles as u64;
        if self.since >= self.interval {
            self.take_partial();
        }
        let done = (self.shape.window() + cycles) as u64;
        while self.events.front().is_some_and(|event| event.arrives + done < first) {
            self.events.pop_front();
        }
    }

    /// The same of one row, some of whose PEs begin or end a pass in these cycles.
    #[inline(always)]
    fn begin_end_and_step(&mut self, row: usize, first: u64, cycles: usize, slot: usize, age: usize) {
        let Shape { cols, col_hop, depth, .. } = self.shape;
        let count = self.skewed_count;
        let mut turn = Turn { at: slot, count, width: cols };
        for cycle in 0..cycles {
            self.move_events(row, first + cycle as u64, true);
            for element in 0..depth {
                let kept = &mut self.partial[row * cols..][..cols];
                let seen = self.streams.seen(row * depth + element, age, col_hop);
                let seen = Seen { first: seen.first - cycle, cycles: 1, ..seen };
                into_kept(kept, &self.skewed[element * count * cols..][..count * cols], turn, &seen);
            }
            turn.next();
            if self.careful == Careful::Yes {
                // The row's cycle is one update; the others' follow with the block, which is one cycle.
                self.take(row * cols..(row + 1) * cols);
            }
            self.move_events(row, first + cycle as u64, false);
        }
    }

    /// Adds what every PE summed in floating point to its total.
    #[cold]
    fn take_partial(&mut self) {
        self.since = 0;
        self.take(0..self.totals.len());
    }

    /// The same of these PEs.
    fn take(&mut self, places: std::ops::Range<usize>) {
        for (total, partial) in self.totals[places.clone()].iter_mut().zip(&mut self.partial[places]) {
            let sum = partial.whole();
            *total = match self.careful {
                Careful::Yes => self.rule.update(*total, sum),
                Careful::No => total.wrapping_add(sum),
            };
            *partial = F::default();
        }
    }

    /// What PE(row, col) saw and has summed in the array's cycle `cycle`, which has just been stepped: weights, activations, sum.
    pub(in super::super) fn probe(&self, cycle: u64, row: usize, col: usize) -> (Vec<i64>, Vec<i64>, i64) {
        let Shape { cols, row_hop, col_hop, registers, depth, .. } = self.shape;
        let seen = |element: usize| self.streams.at(row * depth + element, registers + row * row_hop + col * col_hop).whole();
        let back = (registers + row * row_hop) % self.skewed_count;
        let slot = place(cycle + (self.skewed_count - back) as u64, self.skewed_count);
        let weight = |element: usize| self.skewed[(element * self.skewed_count + slot) * cols + col].whole();
        let at = row * cols + col;
        let sum = self.held(self.totals[at], self.partial[at]);
        ((0..depth).map(weight).collect(), (0..depth).map(seen).collect(), sum)
    }

    /// A sum as the accumulator holds it.
    fn held(&self, total: i64, partial: F) -> i64 {
        match self.careful {
            // Taken already, update by update.
            Careful::Yes => total,
            Careful::No => self.rule.update(total.wrapping_add(partial.whole()), 0),
        }
    }

    /// Lets the PEs of a row that events reach in a cycle begin a pass, or end one.
    #[inline(always)]
    fn move_events(&mut self, row: usize, cycle: u64, begin: bool) {
        let cols = self.shape.cols;
        for number in 0..self.events.len() {
            let Event { arrives, pass, begins } = self.events[number];
            let Some(age) = cycle.checked_sub(arrives).filter(|_| begins == begin) else { continue };
            for col in reached(&self.shape, row, age) {
                let at = row * cols + col;
                if begins {
                    (self.totals[at], self.partial[at]) = (self.passes[pass].biases[at], F::default());
                } else {
                    self.passes[pass].results[at] = self.held(self.totals[at], self.partial[at]);
                }
            }
        }
    }
}
