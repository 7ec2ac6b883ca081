//! An array in which weights or activations stay: vectors stream from the left, sums go down the columns.

use super::super::shape::{Shape, place};
use super::streams::{Streams, Waves};
use super::{LANES, Lanes, Number, TOGETHER, lanes_reached, multiply_add, past_held, past_held_together, visited};
use crate::sim::memory::size;
use std::collections::VecDeque;
use std::ops::Range;

/// The registers.
#[derive(Debug)]
pub(in super::super) struct HeldMesh<F> {
    shape: Shape,
    parts: usize,
    streams: Streams<F>,
    /// What every PE holds: parts x (rows x depth).
    held: Vec<Lanes<F>>,
    /// Rows of sums by the cycle in which they passed row 0: those on their way down, and finished ones until their last column is.
    waves: Waves<F>,
    /// The last cycle that was stepped.
    last: u64,
    /// Stationary tiles on their way into the PEs: a ring, with the cycle in which each one's first vector passes the input registers.
    tiles: Vec<Vec<Lanes<F>>>,
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
        let parts = shape.cols.div_ceil(LANES);
        let size = parts * shape.rows * shape.depth;
        let spare = LANES * shape.col_hop;
        Self {
            shape,
            parts,
            streams: Streams::new(shape.rows * shape.depth, shape.window() + spare),
            held: vec![Lanes::default(); size],
            // A spare lane's finished sum is looked for ahead of the newest wave.
            waves: Waves::new(parts, LANES, shape.row_hop * (shape.rows - 1) + shape.col_hop * (shape.cols - 1) + 1),
            last: 0,
            tiles: vec![vec![Lanes::default(); size]; tiles],
            swaps: VecDeque::with_capacity(shape.window() + 2),
        }
    }

    /// Makes the room of a tile all zeros.
    pub(in super::super) fn open_tile(&mut self, number: u64) {
        let tile = place(number, self.tiles.len());
        self.tiles[tile].fill(Lanes::default());
    }

    /// Sets what a tile holds for the PEs of row `element` (rows x depth), from column `first` on.
    pub(in super::super) fn hold(&mut self, number: u64, element: usize, first: usize, values: &[i16]) {
        let tile = place(number, self.tiles.len());
        let elements = self.shape.rows * self.shape.depth;
        for (col, value) in (first..).zip(values) {
            self.tiles[tile][col / LANES * elements + element][col % LANES] = F::from(*value);
        }
    }

    /// Lets a tile take over ahead of the vector that enters in cycle `enters`.
    pub(in super::super) fn swap(&mut self, number: u64, enters: u64) {
        let arrives = enters + self.shape.registers as u64;
        self.swaps.push_back(Swap { tile: place(number, self.tiles.len()), arrives });
    }

    /// Makes room for the vectors that enter in the next `cycles` cycles, at most [`super::BLOCK`], as zeros (bubbles).
    #[inline(always)]
    pub(in super::super) fn enter(&mut self, cycles: usize) {
        self.streams.enter(cycles);
        self.waves.enter(cycles);
    }

    /// Sets the elements of the vector that enters in cycle `cycle` of the block: row after row, those that a PE sees side by side together.
    #[inline(always)]
    pub(in super::super) fn vector(&mut self, cycle: usize, elements: &[i16]) {
        self.streams.set(cycle, elements);
    }

    /// The same of the vectors that enter in the block's first `count` cycles: for each element its value in every one of them.
    #[inline(always)]
    pub(in super::super) fn vectors(&mut self, count: usize, elements: &[i16]) {
        self.streams.set_first(count, elements);
    }

    /// The block's cycles of every PE, `cycles` from `first` on, on the array's own clock.
    #[inline(always)]
    pub(in super::super) fn step(&mut self, first: u64, cycles: usize) {
        let Shape { rows, row_hop, col_hop, depth, .. } = self.shape;
        self.last = first + cycles as u64 - 1;
        let elements = rows * depth;
        for part in 0..self.parts {
            let swapping = !self.swapping(&(0..rows), part, first, cycles).is_empty();
            for element in (0..elements).step_by(TOGETHER) {
                let together = element..elements.min(element + TOGETHER);
                let rows = element / depth..(together.end - 1) / depth + 1;
                if swapping && !self.swapping(&rows, part, first, cycles).is_empty() {
                    for element in together {
                        self.swap_and_step(part, element, first, cycles);
                    }
                } else if col_hop == 1 && together.len() == TOGETHER && cycles > (rows.end - 1 - rows.start) * row_hop {
                    self.step_together(part, element, cycles);
                } else {
                    for element in together {
                        let (waves, held, seen) = self.row(part, element, cycles);
                        past_held(waves, held, seen, col_hop);
                    }
                }
            }
        }
        let done = (self.shape.window() + LANES * col_hop + cycles) as u64;
        while self.swaps.front().is_some_and(|swap| swap.arrives + done < first) {
            self.swaps.pop_front();
        }
    }

    /// The block's cycles in which PEs of a part of the rows take over a tile.
    #[inline(always)]
    fn swapping(&self, rows: &Range<usize>, part: usize, first: u64, cycles: usize) -> Range<usize> {
        visited(&self.shape, rows, part, (first, cycles), self.swaps.iter().map(|swap| swap.arrives))
    }

    /// What a part of a row of PEs works on in the block's cycles, counted back from its last: the waves, what it holds, what it sees.
    #[inline(always)]
    fn row(&mut self, part: usize, element: usize, cycles: usize) -> (&mut [Lanes<F>], &mut Lanes<F>, &[F]) {
        let Shape { rows, row_hop, col_hop, registers, depth, .. } = self.shape;
        let wave = element / depth * row_hop;
        let waves = &mut self.waves.rows_mut(part)[wave..wave + cycles];
        let seen = &self.streams.seen(element)[registers + wave + part * LANES * col_hop..][..cycles + (LANES - 1) * col_hop];
        (waves, &mut self.held[part * rows * depth + element], seen)
    }

    /// Some rows of PEs in all cycles of the block: the waves that all of them meet in it together, the others one by one.
    #[inline(always)]
    fn step_together(&mut self, part: usize, first: usize, cycles: usize) {
        let Shape { rows, row_hop, registers, depth, .. } = self.shape;
        let row = first / depth;
        let behind = [0, 1, 2, 3].map(|element: usize| ((first + element) / depth - row) * row_hop);
        let most = behind[TOGETHER - 1];
        let waves = &mut self.waves.rows_mut(part)[row * row_hop..][..cycles + most];
        let from = registers + row * row_hop + part * LANES;
        let streams = &self.streams;
        let seen = |element: usize| &streams.seen(first + element)[from..from + cycles + most + LANES - 1];
        let seen = [seen(0), seen(1), seen(2), seen(3)];
        let Some(held) = self.held[part * rows * depth + first..].first_chunk::<TOGETHER>() else { return };
        for element in 0..TOGETHER {
            let behind = behind[element];
            for wave in (behind..most).chain(cycles..cycles + behind) {
                multiply_add(&mut waves[wave], &held[element], &seen[element][wave..]);
            }
        }
        past_held_together(&mut waves[most..cycles], held, [&seen[0][most..], &seen[1][most..], &seen[2][most..], &seen[3][most..]]);
    }

    /// One row of PEs, some of which take over a tile in the block's cycles.
    #[inline(always)]
    fn swap_and_step(&mut self, part: usize, element: usize, first: u64, cycles: usize) {
        let Shape { rows, col_hop, depth, .. } = self.shape;
        let (row, at) = (element / depth, part * rows * depth + element);
        let swapping = self.swapping(&(row..row + 1), part, first, cycles);
        let (waves, held, seen) = self.row(part, element, cycles);
        let back = cycles - swapping.start;
        past_held(&mut waves[back..], held, &seen[back..], col_hop);
        for cycle in swapping.clone() {
            for swap in &self.swaps {
                let Some(since) = (first + cycle as u64).checked_sub(swap.arrives) else { continue };
                for lane in lanes_reached(&self.shape, row, part, since) {
                    self.held[at][lane] = self.tiles[swap.tile][at][lane];
                }
            }
            let back = cycles - 1 - cycle;
            let (waves, held, seen) = self.row(part, element, cycles);
            past_held(&mut waves[back..=back], held, &seen[back..], col_hop);
        }
        let back = cycles - swapping.end;
        let (waves, held, seen) = self.row(part, element, cycles);
        past_held(&mut waves[..back], held, seen, col_hop);
    }

    /// The finished sums of the vector that entered in cycle `entered`, a column each.
    #[inline(always)]
    pub(in super::super) fn sums(&self, entered: u64, sums: &mut [i64]) {
        self.sums_as(entered, sums, F::whole);
    }

    /// The same where 32 bits hold them.
    #[inline(always)]
    pub(in super::super) fn narrow_sums(&self, entered: u64, sums: &mut [i32]) {
        self.sums_as(entered, sums, F::narrow);
    }

    #[inline(always)]
    fn sums_as<S: Copy + Default>(&self, entered: u64, sums: &mut [S], whole: impl Fn(F) -> S) {
        let Shape { col_hop, registers, .. } = self.shape;
        let back = LANES + size(self.last - entered) - registers;
        for (part, sums) in sums.chunks_mut(LANES).enumerate() {
            let lanes = self.waves.along(part, back - part * LANES * col_hop, col_hop);
            let mut wholes = [S::default(); LANES];
            for lane in 0..LANES {
                wholes[lane] = whole(lanes[lane]);
            }
            match sums.first_chunk_mut::<LANES>() {
                Some(sums) => *sums = wholes,
                None => sums.copy_from_slice(&wholes[..sums.len()]),
            }
        }
    }

    /// What PE(row, col) held, saw and summed in the cycle that was stepped last.
    pub(in super::super) fn probe(&self, row: usize, col: usize) -> (Vec<i64>, Vec<i64>, i64) {
        let Shape { rows, row_hop, col_hop, registers, depth, .. } = self.shape;
        let seen = |row: usize, element: usize| self.streams.seen(row * depth + element)[registers + row * row_hop + col * col_hop].whole();
        let (part, lane) = (col / LANES, col % LANES);
        let held = |row: usize, element: usize| self.held[(part * rows + row) * depth + element][lane].whole();
        let sum = if row_hop == 0 {
            // A sum that comes down on a wire is in no register on its way.
            (0..=row).flat_map(|row| (0..depth).map(move |element| (row, element))).map(|(r, e)| held(r, e) * seen(r, e)).sum()
        } else {
            self.waves.rows(part)[row * row_hop][lane].whole()
        };
        ((0..depth).map(|element| held(row, element)).collect(), (0..depth).map(|element| seen(row, element)).collect(), sum)
    }
}
