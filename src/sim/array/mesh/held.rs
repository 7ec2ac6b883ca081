//! An array in which weights or activations stay: vectors stream from the left, sums go down the columns.

use super::super::shape::{Shape, place};
use super::streams::Streams;
use super::{Number, multiply_add, on_the_skew};
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
    /// Stationary tiles on their way into the PEs: a ring, with the cycle in which each one's first vector enters.
    tiles: Vec<Vec<F>>,
    swaps: VecDeque<Swap>,
}

/// A tile that takes the PEs over, one diagonal a cycle, ahead of its first vector.
#[derive(Debug, Clone, Copy)]
struct Swap {
    tile: usize,
    enters: u64,
}

impl<F: Number> HeldMesh<F> {
    /// An array that holds nothing, and room for as many `tiles` as may be under way.
    pub(in super::super) fn new(shape: Shape, tiles: usize) -> Self {
        let size = shape.rows * shape.depth * shape.cols;
        let wave_count = shape.row_hop * (shape.rows - 1) + shape.col_hop * (shape.cols - 1) + 1;
        Self {
            shape,
            streams: Streams::new(shape.rows * shape.depth, shape.window()),
            held: vec![F::default(); size],
            waves: vec![F::default(); wave_count * shape.cols],
            wave_count,
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
        self.swaps.push_back(Swap { tile: place(number, self.tiles.len()), enters });
    }

    /// Makes room for the vector that enters in this cycle, as zeros (a bubble).
    #[inline(always)]
    pub(in super::super) fn enter(&mut self) {
        self.streams.enter();
    }

    /// Sets the entering vector's elements: row after row, those that a PE sees side by side together.
    #[inline(always)]
    pub(in super::super) fn vector(&mut self, elements: &[i16]) {
        for (stream, element) in elements.iter().enumerate() {
            self.streams.set(stream, F::from(*element));
        }
    }

    /// One cycle of every PE. `cycle` is the array's own.
    #[inline(always)]
    pub(in super::super) fn step(&mut self, cycle: u64) {
        if !self.swaps.is_empty() {
            self.move_swaps(cycle);
        }
        let Shape { rows, cols, row_hop, col_hop, registers, depth } = self.shape;
        let newest = place(cycle, self.wave_count);
        self.waves[newest * cols..(newest + 1) * cols].fill(F::default());
        let mut wave = newest;
        // The row below works on the wave that passed row 0 a hop earlier (an array of one row has no other).
        let back = row_hop % self.wave_count;
        let mut age = registers;
        let mut held = self.held.chunks_exact(cols);
        for row in 0..rows {
            let sums = &mut self.waves[wave * cols..][..cols];
            for element in 0..depth {
                let Some(held) = held.next() else { break };
                multiply_add(sums, held, self.streams.since(row * depth + element, age), col_hop);
            }
            age += row_hop;
            wave = if wave >= back { wave - back } else { wave + self.wave_count - back };
        }
    }

    /// The finished sums of the vector that entered in cycle `entered`, a column each.
    #[inline(always)]
    pub(in super::super) fn sums<S>(&self, entered: u64, sums: &mut [S], whole: impl Fn(F) -> S) {
        let Shape { cols, col_hop, registers, .. } = self.shape;
        let back = col_hop % self.wave_count;
        let mut wave = place(entered + registers as u64, self.wave_count);
        for (col, sum) in sums.iter_mut().enumerate() {
            *sum = whole(self.waves[wave * cols + col]);
            wave = if wave + back >= self.wave_count { wave + back - self.wave_count } else { wave + back };
        }
    }

    /// What PE(row, col) held, saw and summed in the array's cycle `cycle`, which has just been stepped.
    pub(in super::super) fn probe(&self, cycle: u64, row: usize, col: usize) -> (Vec<i64>, Vec<i64>, i64) {
        let Shape { cols, row_hop, col_hop, registers, depth, .. } = self.shape;
        let seen =
            |row: usize, element: usize| self.streams.since(row * depth + element, registers + row * row_hop + col * col_hop)[0].whole();
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

    /// Moves every tile that is on its way in by one diagonal.
    fn move_swaps(&mut self, cycle: u64) {
        let done = (self.shape.window() - 1) as u64;
        while self.swaps.front().is_some_and(|swap| swap.enters + done < cycle) {
            self.swaps.pop_front();
        }
        let Shape { cols, registers, depth, .. } = self.shape;
        for swap in &self.swaps {
            let tile = &self.tiles[swap.tile];
            // Cycles since the tile's first vector passed the input registers.
            let Some(age) = (cycle - swap.enters).checked_sub(registers as u64) else { continue };
            let age = usize::try_from(age).expect("bug: a swap lasts no longer than the array's tail");
            let held = &mut self.held;
            on_the_skew(&self.shape, age, |row, col, count| {
                for element in 0..depth {
                    let first = (row * depth + element) * cols + col;
                    held[first..first + count].copy_from_slice(&tile[first..first + count]);
                }
            });
        }
    }
}
