//! An array in which sums stay: activations stream from the left, weights from the top.

use super::super::shape::{Shape, place};
use super::streams::{Streams, Waves};
use super::{BLOCK, LANES, Lanes, Number, TOGETHER, into_kept, into_kept_together, lanes_reached, multiply_add, visited};
use crate::numerics::AccumulateRule;
use std::collections::VecDeque;
use std::ops::Range;

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
    parts: usize,
    rule: AccumulateRule,
    streams: Streams<F>,
    /// Weights by the cycle in which they pass the input registers, skewed already: parts x depth.
    skewed: Waves<F>,
    /// What every PE has summed since the last time that `totals` took it, and that: parts x rows.
    partial: Vec<Lanes<F>>,
    totals: Vec<[i64; LANES]>,
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
        let (size, parts) = (shape.rows * shape.cols, shape.cols.div_ceil(LANES));
        let spare = LANES * shape.col_hop;
        Self {
            shape,
            parts,
            rule,
            streams: Streams::new(shape.rows * shape.depth, shape.window() + spare),
            skewed: Waves::new(parts * shape.depth, parts * spare, shape.row_hop * (shape.rows - 1) + shape.registers + 1),
            partial: vec![Lanes::default(); parts * shape.rows],
            totals: vec![[0; LANES]; parts * shape.rows],
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

    /// Makes room for the steps that enter in the next `cycles` cycles, at most [`BLOCK`] and [`SumsMesh::most`], as zeros (bubbles).
    #[inline(always)]
    pub(in super::super) fn enter(&mut self, cycles: usize) {
        self.streams.enter(cycles);
        self.skewed.enter(cycles);
    }

    /// Sets the activations that enter in cycle `cycle` of the block, rows x depth.
    #[inline(always)]
    pub(in super::super) fn activations(&mut self, cycle: usize, elements: &[i16]) {
        self.streams.set(cycle, elements);
    }

    /// The same of the block's first `count` cycles, one element side by side: for each row its value in every one of them.
    #[inline(always)]
    pub(in super::super) fn activations_first(&mut self, count: usize, elements: &[i16]) {
        self.streams.set_first(count, elements);
    }

    /// Puts the weights that enter in cycle `cycle` of a block of `cycles`, columns x depth, where their columns meet them.
    #[inline(always)]
    pub(in super::super) fn weights(&mut self, cycle: usize, cycles: usize, weights: &[i16]) {
        let Shape { col_hop, depth, .. } = self.shape;
        let newest = self.parts * LANES * col_hop + cycles - 1 - cycle;
        for (part, weights) in weights.chunks(LANES * depth).enumerate() {
            let at = newest - part * LANES * col_hop;
            for element in 0..depth {
                let mut lanes = Lanes::default();
                match weights.first_chunk::<LANES>() {
                    Some(weights) if depth == 1 => {
                        for lane in 0..LANES {
                            lanes[lane] = F::from(weights[lane]);
                        }
                    }
                    _ => strided(&mut lanes, &weights[element..], depth),
                }
                self.skewed.set_along(part * depth + element, at, col_hop, &lanes);
            }
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
        let Shape { rows, row_hop, col_hop, .. } = self.shape;
        for part in 0..self.parts {
            let moving = !self.moving(&(0..rows), part, first, cycles).is_empty();
            for row in (0..rows).step_by(TOGETHER) {
                let together = row..rows.min(row + TOGETHER);
                if moving && !self.moving(&together, part, first, cycles).is_empty() {
                    for row in together {
                        self.begin_end_and_step(part, row, first, cycles);
                    }
                } else if col_hop == 1 && together.len() == TOGETHER && cycles > (TOGETHER - 1) * row_hop {
                    self.step_together(part, row, cycles);
                } else {
                    for row in together {
                        self.step_one(part, row, 0..cycles);
                    }
                }
            }
        }
        self.since += cycles as u64;
        if self.since >= self.interval {
            self.take_partial();
        }
        let done = (self.shape.window() + LANES * col_hop + cycles) as u64;
        while self.events.front().is_some_and(|event| event.arrives + done < first) {
            self.events.pop_front();
        }
    }

    /// The block's cycles in which PEs of a part of the rows begin or end a pass.
    #[inline(always)]
    fn moving(&self, rows: &Range<usize>, part: usize, first: u64, cycles: usize) -> Range<usize> {
        visited(&self.shape, rows, part, (first, cycles), self.events.iter().map(|event| event.arrives))
    }

    /// One row of PEs, in these of the block's cycles, counted back from its last.
    #[inline(always)]
    fn step_one(&mut self, part: usize, row: usize, back: Range<usize>) {
        let Shape { rows, row_hop, col_hop, registers, depth, .. } = self.shape;
        let age = registers + row * row_hop;
        for element in 0..depth {
            let weights = &self.skewed.rows(part * depth + element)[age + back.start..age + back.end];
            let seen = &self.streams.seen(row * depth + element)[age + back.start + part * LANES * col_hop..];
            into_kept(&mut self.partial[part * rows + row], weights, seen, col_hop);
        }
    }

    /// Some rows of PEs in all cycles of the block: with the weights that all of them meet in it together, with the others one by one.
    #[inline(always)]
    fn step_together(&mut self, part: usize, row: usize, cycles: usize) {
        let Shape { rows, row_hop, registers, depth, .. } = self.shape;
        let most = (TOGETHER - 1) * row_hop;
        let age = registers + row * row_hop;
        let from = age + part * LANES;
        let Some(kept) = self.partial[part * rows + row..].first_chunk_mut::<TOGETHER>() else { return };
        for element in 0..depth {
            let waves = &self.skewed.rows(part * depth + element)[age..age + cycles + most];
            let streams = &self.streams;
            let seen = |number: usize| &streams.seen((row + number) * depth + element)[from..from + cycles + most + LANES - 1];
            let seen = [seen(0), seen(1), seen(2), seen(3)];
            for number in 0..TOGETHER {
                let behind = number * row_hop;
                for wave in (behind..most).chain(cycles..cycles + behind) {
                    multiply_add(&mut kept[number], &waves[wave], &seen[number][wave..]);
                }
            }
            into_kept_together(kept, &waves[most..cycles], [&seen[0][most..], &seen[1][most..], &seen[2][most..], &seen[3][most..]]);
        }
    }

    /// One row of PEs, some of which begin or end a pass in the block's cycles.
    #[inline(always)]
    fn begin_end_and_step(&mut self, part: usize, row: usize, first: u64, cycles: usize) {
        let Shape { rows, row_hop, col_hop, registers, depth, .. } = self.shape;
        let moving = self.moving(&(row..row + 1), part, first, cycles);
        self.step_one(part, row, cycles - moving.start..cycles);
        for cycle in moving.clone() {
            self.move_events(part, row, first + cycle as u64, true);
            let from = registers + row * row_hop + cycles - 1 - cycle;
            for element in 0..depth {
                let weights = &self.skewed.rows(part * depth + element)[from];
                let seen = &self.streams.seen(row * depth + element)[from + part * LANES * col_hop..];
                into_kept(&mut self.partial[part * rows + row], std::slice::from_ref(weights), seen, col_hop);
            }
            if self.careful == Careful::Yes {
                // The row's cycle is one update; the others' follow with the block, which is one cycle.
                let at = part * rows + row;
                self.take(at..at + 1);
            }
            self.move_events(part, row, first + cycle as u64, false);
        }
        self.step_one(part, row, 0..cycles - moving.end);
    }

    /// Adds what every PE summed in floating point to its total.
    #[cold]
    fn take_partial(&mut self) {
        self.since = 0;
        self.take(0..self.totals.len());
    }

    /// The same of these rows of parts.
    fn take(&mut self, places: Range<usize>) {
        for (totals, partial) in self.totals[places.clone()].iter_mut().zip(&mut self.partial[places]) {
            for (total, partial) in totals.iter_mut().zip(&*partial) {
                let sum = partial.whole();
                *total = match self.careful {
                    Careful::Yes => self.rule.update(*total, sum),
                    Careful::No => total.wrapping_add(sum),
                };
            }
            *partial = Lanes::default();
        }
    }

    /// What PE(row, col) saw and has summed in the cycle that was stepped last: weights, activations, sum.
    pub(in super::super) fn probe(&self, row: usize, col: usize) -> (Vec<i64>, Vec<i64>, i64) {
        let Shape { rows, row_hop, col_hop, registers, depth, .. } = self.shape;
        let (part, lane, age) = (col / LANES, col % LANES, registers + row * row_hop);
        let seen = |element: usize| self.streams.seen(row * depth + element)[age + col * col_hop].whole();
        let weight = |element: usize| self.skewed.rows(part * depth + element)[age][lane].whole();
        let at = part * rows + row;
        let sum = self.held(self.totals[at][lane], self.partial[at][lane]);
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

    /// Lets the PEs of a part of a row that events reach in a cycle begin a pass, or end one.
    #[inline(always)]
    fn move_events(&mut self, part: usize, row: usize, cycle: u64, begin: bool) {
        let Shape { rows, cols, .. } = self.shape;
        for number in 0..self.events.len() {
            let Event { arrives, pass, begins } = self.events[number];
            let Some(age) = cycle.checked_sub(arrives).filter(|_| begins == begin) else { continue };
            for lane in lanes_reached(&self.shape, row, part, age) {
                let (at, pe) = (part * rows + row, row * cols + part * LANES + lane);
                if begins {
                    (self.totals[at][lane], self.partial[at][lane]) = (self.passes[pass].biases[pe], F::default());
                } else {
                    self.passes[pass].results[pe] = self.held(self.totals[at][lane], self.partial[at][lane]);
                }
            }
        }
    }
}

/// Every `depth`-th weight, as far as there are any.
#[inline(never)]
fn strided<F: Number>(lanes: &mut Lanes<F>, weights: &[i16], depth: usize) {
    for (lane, weight) in lanes.iter_mut().zip(weights.iter().step_by(depth)) {
        *lane = F::from(*weight);
    }
}
