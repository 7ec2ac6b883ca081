//! An array in which sums stay: activations stream from the left, weights from the top.

use super::super::shape::{Shape, place};
use super::streams::Streams;
use super::{Number, multiply_add, on_the_skew};
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
    /// Weights by the cycle in which they pass row 0, skewed already: a ring of depth x columns.
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
    /// The cycle in which it would enter the array.
    enters: u64,
    pass: usize,
    /// A PE takes its bias, before it works in that cycle; else it gives its sum, after it.
    begins: bool,
}

impl<F: Number> SumsMesh<F> {
    /// An array without sums, and room for as many `passes` as may be under way. One product is at most `product` in size.
    pub(in super::super) fn new(shape: Shape, passes: usize, rule: AccumulateRule, product: u64, careful: Careful) -> Self {
        let size = shape.rows * shape.cols;
        let skewed_count = shape.window();
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

    /// What each PE starts a pass from, rows x columns, as zeros.
    pub(in super::super) fn open_pass(&mut self, number: u64) -> &mut [i64] {
        let pass = place(number, self.passes.len());
        self.passes[pass].biases.fill(0);
        &mut self.passes[pass].biases
    }

    /// Lets a pass begin with the step that enters in cycle `enters`, and give its sums when all that entered before cycle `ends` has passed.
    pub(in super::super) fn pass(&mut self, number: u64, enters: u64, ends: u64) {
        let pass = place(number, self.passes.len());
        self.events.push_back(Event { enters, pass, begins: true });
        self.events.push_back(Event { enters: ends - 1, pass, begins: false });
    }

    /// A pass's sums, rows x columns; each is valid once its PE has given it.
    pub(in super::super) fn results(&self, number: u64) -> &[i64] {
        &self.passes[place(number, self.passes.len())].results
    }

    /// Lets a step of activations and weights enter, each rows or columns x depth, or zeros (a bubble) where they are empty.
    #[inline(always)]
    pub(in super::super) fn enter(&mut self, cycle: u64, activations: &[i16], weights: &[i16]) {
        self.streams.enter();
        for (stream, element) in activations.iter().enumerate() {
            self.streams.set(stream, F::from(*element));
        }
        let Shape { cols, col_hop, depth, .. } = self.shape;
        let forward = col_hop % self.skewed_count;
        let mut slot = place(cycle, self.skewed_count);
        for col in 0..cols {
            for element in 0..depth {
                let weight = weights.get(col * depth + element).copied().unwrap_or(0);
                self.skewed[(slot * depth + element) * cols + col] = F::from(weight);
            }
            slot = if slot + forward >= self.skewed_count { slot + forward - self.skewed_count } else { slot + forward };
        }
    }

    /// One cycle of every PE. `cycle` is the array's own.
    #[inline(always)]
    pub(in super::super) fn step(&mut self, cycle: u64) {
        let moves = !self.events.is_empty();
        if moves {
            self.move_events(cycle, true);
        }
        let Shape { rows, cols, row_hop, col_hop, registers, depth } = self.shape;
        let count = self.skewed_count;
        let mut slot = place(cycle + (count - registers % count) as u64, count);
        let back = row_hop % count;
        let mut age = registers;
        let mut partial = self.partial.chunks_exact_mut(cols);
        for row in 0..rows {
            let Some(sums) = partial.next() else { break };
            let mut weights = self.skewed[slot * depth * cols..][..depth * cols].chunks_exact(cols);
            for element in 0..depth {
                let Some(weights) = weights.next() else { break };
                multiply_add(sums, weights, self.streams.since(row * depth + element, age), col_hop);
            }
            age += row_hop;
            slot = if slot >= back { slot - back } else { slot + count - back };
        }
        self.since += 1;
        if self.since >= self.interval {
            self.take_partial();
        }
        if moves {
            self.move_events(cycle, false);
        }
    }

    /// Adds what was summed in floating point to the totals.
    #[cold]
    fn take_partial(&mut self) {
        self.since = 0;
        for (total, partial) in self.totals.iter_mut().zip(&mut self.partial) {
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
        let seen = |element: usize| self.streams.since(row * depth + element, registers + row * row_hop + col * col_hop)[0].whole();
        let back = (registers + row * row_hop) % self.skewed_count;
        let slot = place(cycle + (self.skewed_count - back) as u64, self.skewed_count);
        let weight = |element: usize| self.skewed[(slot * depth + element) * cols + col].whole();
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

    /// Lets every event that is on its way reach the next diagonal.
    fn move_events(&mut self, cycle: u64, begin: bool) {
        let Shape { cols, registers, .. } = self.shape;
        let done = (self.shape.window() - 1) as u64;
        while self.events.front().is_some_and(|event| event.enters + done < cycle) {
            self.events.pop_front();
        }
        for number in 0..self.events.len() {
            let Event { enters, pass, begins } = self.events[number];
            if begins != begin {
                continue;
            }
            // One that is still to enter, or in the input registers.
            let Some(age) = cycle.checked_sub(enters + registers as u64) else { continue };
            let age = usize::try_from(age).expect("bug: an event lasts no longer than the array's tail");
            let shape = self.shape;
            on_the_skew(&shape, age, |row, col, count| {
                for at in row * cols + col..row * cols + col + count {
                    if begins {
                        (self.totals[at], self.partial[at]) = (self.passes[pass].biases[at], F::default());
                    } else {
                        self.passes[pass].results[at] = self.held(self.totals[at], self.partial[at]);
                    }
                }
            });
        }
    }
}
