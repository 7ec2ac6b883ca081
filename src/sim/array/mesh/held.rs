//! An array in which weights or activations stay: vectors stream from the left, sums go down the columns.

use super::super::shape::{Shape, place};
use super::streams::Streams;
use super::{BLOCK, Number, Seen, Turn, past_held, reached, reaches};
use std::collections::VecDeque;

/// The registers.
#[derive(Debug)]
pub(in super::super) struct HeldMesh<F> {
    shape: Shape,
    streams: Streams<F>,
    /// What every PE holds: rows x depth x columns.
    held: Vec<F>,
    /// Rows of sums by the cycle in which they passed row 0: those on their way down, and finished ones until their last column is.
    waves: Vec<F>,
    wave_count: usize,
    /// Room for the sums that come out in a cycle.
    finished: Vec<F>,
    /// Stationary tiles on their way into the PEs: a ring, with the cycle in which each one's first vector passes the input registers.
    tiles: Vec<Vec<F>>,
    swaps: VecDeque<Swap>,
}

/// A tile that takes the PEs over, one diagonal a cycle, ahead of its first vector.
#[derive(Debug, Clone, Copy)]
struct Swap {
    tile: usize,
    arrives: u64,
}

impl<F: Number> HeldMesh<F> {
    /// An array that holds nothing, and room for as many `tiles` as may be under way.
    pub(in super::super) fn new(shape: Shape, tiles: usize) -> Self {
        let size = shape.rows * shape.depth * shape.cols;
        let wave_count = shape.row_hop * (shape.rows - 1) + shape.col_hop * (shape.cols - 1) + 1 + BLOCK;
        Self {
            shape,
            streams: Streams::new(shape.rows * shape.depth, shape.window()),
            held: vec![F::default(); size],
            waves: vec![F::default(); wave_count * shape.cols],
            wave_count,
            finished: vec![F::default(); shape.cols],
            tiles: vec![vec![F::default(); size]; tiles],
            swaps: VecDeque::with_capacity(shape.window() + 2),
        }
    }

    /// The room of a tile, rows x depth x columns, as zeros.
    pub(in super::super) fn open_tile(&mut self, number: u64) -> &mut [F] {
        let tile = place(number, self.tiles.len());
        self.tiles[tile].fill(F::default());
        &mut self.tiles[tile]
    }

    /// Lets a tile take over ahead of the vector that enters in cycle `enters`.
    pub(in super::super) fn swap(&mut self, number: u64, enters: u64) {
        let arrives = enters + self.shape.registers as u64;
        self.swaps.push_back(Swap { tile: place(number, self.tiles.len()), arrives });
    }

    /// Makes room for the vectors that enter in the next `cycles` cycles, at most [`BLOCK`], as zeros (bubbles).
    #[inline(always)]
    pub(in super::super) fn enter(&mut self, cycles: usize) {
        self.streams.enter(cycles);
    }

    /// Sets the elements of the vector that enters in cycle `cycle` of the block: row after row, those that a PE sees side by side together.
    #[inline(always)]
    pub(in super::super) fn vector(&mut self, cycle: usize, elements: &[i16]) {
        self.streams.set(cycle, elements);
    }

    /// The block's cycles of every PE, `cycles` from `first` on, on the array's own clock.
    #[inline(always)]
    pub(in super::super) fn step(&mut self, first: u64, cycles: usize) {
        let Shape { rows, cols, row_hop, col_hop, registers, depth } = self.shape;
        let newest = place(first, self.wave_count);
        for cycle in 0..cycles {
            let wave = if newest + cycle < self.wave_count { newest + cycle } else { newest + cycle - self.wave_count };
            self.waves[wave * cols..(wave + 1) * cols].fill(F::default());
        }
        // The row below works on the wave that passed row 0 a hop earlier.
        let back = row_hop % self.wave_count;
        let mut turn = Turn { at: newest, count: self.wave_count, width: cols };
        for row in 0..rows {
            let age = registers + row * row_hop;
            let shape = &self.shape;
            if self.swaps.iter().any(|swap| reaches(shape, row, first, cycles, swap.arrives)) {
                self.swap_and_step(row, first, cycles, turn, age);
            } else {
                for element in row * depth..(row + 1) * depth {
                    past_held(&mut self.waves, turn, &self.held[element * cols..][..cols], &self.streams.seen(element, age, col_hop));
                }
            }
            turn.at = if turn.at >= back { turn.at - back } else { turn.at + self.wave_count - back };
        }
        let done = (self.shape.window() + cycles) as u64;
        while self.swaps.front().is_some_and(|swap| swap.arrives + done < first) {
            self.swaps.pop_front();
        }
    }

    /// The same of one row, some of whose PEs take over a tile in these cycles.
    #[inline(always)]
    fn swap_and_step(&mut self, row: usize, first: u64, cycles: usize, mut turn: Turn, age: usize) {
        let Shape { cols, col_hop, depth, .. } = self.shape;
        for cycle in 0..cycles {
            for swap in &self.swaps {
                let Some(since) = (first + cycle as u64).checked_sub(swap.arrives) else { continue };
                let columns = reached(&self.shape, row, since);
                for element in row * depth..(row + 1) * depth {
                    let at = element * cols + columns.start..element * cols + columns.end;
                    self.held[at.clone()].copy_from_slice(&self.tiles[swap.tile][at]);
                }
            }
            for element in row * depth..(row + 1) * depth {
                let seen = self.streams.seen(element, age, col_hop);
                let seen = Seen { first: seen.first - cycle, cycles: 1, ..seen };
                past_held(&mut self.waves, turn, &self.held[element * cols..][..cols], &seen);
            }
            turn.next();
        }
    }

    /// The finished sums of the vector that entered in cycle `entered`, a column each.
    #[inline(always)]
    pub(in super::super) fn sums(&mut self, entered: u64) -> &[F] {
        let Shape { cols, col_hop, registers, .. } = self.shape;
        let back = col_hop % self.wave_count;
        let mut wave = place(entered + registers as u64, self.wave_count);
        for (col, sum) in self.finished.iter_mut().enumerate() {
            *sum = self.waves[wave * cols + col];
            wave = if wave + back >= self.wave_count { wave + back - self.wave_count } else { wave + back };
        }
        &self.finished
    }

    /// What PE(row, col) held, saw and summed in the array's cycle `cycle`, which has just been stepped.
    pub(in super::super) fn probe(&self, cycle: u64, row: usize, col: usize) -> (Vec<i64>, Vec<i64>, i64) {
        let Shape { cols, row_hop, col_hop, registers, depth, .. } = self.shape;
        let seen = |row: usize, element: usize| self.streams.at(row * depth + element, registers + row * row_hop + col * col_hop).whole();
        let held = |row: usize, element: usize| self.held[(row * depth + element) * cols + col].whole();
        let sum = if row_hop == 0 {
            // A sum that comes down on a wire is in no register on its way.
            (0..=row).flat_map(|row| (0..depth).map(move |element| (row, element))).map(|(r, e)| held(r, e) * seen(r, e)).sum()
        } else {
            let back = row * row_hop % self.wave_count;
            self.waves[place(cycle + (self.wave_count - back) as u64, self.wave_count) * cols + col].whole()
        };
        ((0..depth).map(|element| held(row, element)).collect(), (0..depth).map(|element| seen(row, element)).collect(), sum)
    }
}
