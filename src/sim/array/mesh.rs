//! The registers of a weight-stationary array, moved one cycle at a time.
//!
//! PE(r, c) holds a weight. Element r of the vector that enters in cycle e is at PE(r, c) in cycle `e + p + r*row_hop + c*col_hop`, where
//! the sum that comes down the column meets it. Nothing is copied from PE to PE: a row of activation registers is a view into the row's
//! reversed input stream, and a row of sums keeps its place while the row of PEs that works on it moves down. What is counted, and what
//! any PE holds in any cycle, is the same.
//!
//! Sums are `f32` inside a pass: at most 512 products of 9 by 8 bits stay below 2^24, so every one of them is exact.

use std::collections::VecDeque;

/// Size and hops of an array.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shape {
    pub(super) rows: usize,
    pub(super) cols: usize,
    /// Cycles from a PE to the next below.
    pub(super) row_hop: usize,
    /// Cycles from a PE to the next on its right.
    pub(super) col_hop: usize,
    /// Input, PE-input and output registers, in all.
    pub(super) registers: usize,
}

impl Shape {
    /// Cycles from a vector's entry to its last output, in the part of the array that `rows` x `cols` fill.
    pub(super) fn tail(&self, rows: usize, cols: usize) -> u64 {
        (self.row_hop * (rows - 1) + self.col_hop * (cols - 1) + self.registers) as u64
    }
}

/// The registers.
#[derive(Debug)]
pub(super) struct Mesh {
    shape: Shape,
    /// The weight of every PE, by row.
    weights: Vec<f32>,
    /// Every row's input stream, the newest entry first, from `head` on.
    streams: Vec<f32>,
    stream_length: usize,
    head: usize,
    /// Entries that the PEs of a row can still see.
    window: usize,
    /// Rows of sums by the cycle in which they passed row 0: those on their way down, and finished ones until their last column is.
    waves: Vec<f32>,
    wave_count: usize,
    /// Stationary tiles on their way into the PEs: a ring, with the cycle in which each one's first vector enters.
    tiles: Vec<Vec<f32>>,
    swaps: VecDeque<Swap>,
}

/// A tile that takes the PEs over, one diagonal a cycle, ahead of its first vector.
#[derive(Debug, Clone, Copy)]
struct Swap {
    tile: usize,
    enters: u64,
}

impl Mesh {
    /// An array without weights, and room for as many `tiles` as may be under way.
    pub(super) fn new(shape: Shape, tiles: usize) -> Self {
        let window = 1 + usize::try_from(shape.tail(shape.rows, shape.cols)).expect("bug: an array's tail is checked to be short");
        let stream_length = 4 * window + 256;
        let wave_count = shape.row_hop * (shape.rows - 1) + shape.col_hop * (shape.cols - 1) + 1;
        Self {
            shape,
            weights: vec![0.0; shape.rows * shape.cols],
            streams: vec![0.0; shape.rows * stream_length],
            stream_length,
            head: stream_length - window,
            window,
            waves: vec![0.0; wave_count * shape.cols],
            wave_count,
            tiles: vec![vec![0.0; shape.rows * shape.cols]; tiles],
            swaps: VecDeque::with_capacity(window + 2),
        }
    }

    /// A tile to be filled, row by row; it starts as zeros.
    pub(super) fn open_tile(&mut self, number: u64) {
        let tile = self.tile_index(number);
        self.tiles[tile].fill(0.0);
    }

    /// One row of a tile that was opened.
    pub(super) fn tile_row(&mut self, number: u64, row: usize) -> &mut [f32] {
        let (tile, cols) = (self.tile_index(number), self.shape.cols);
        &mut self.tiles[tile][row * cols..(row + 1) * cols]
    }

    /// Lets a tile take over ahead of the vector that enters in cycle `enters`.
    pub(super) fn swap(&mut self, number: u64, enters: u64) {
        let tile = self.tile_index(number);
        self.swaps.push_back(Swap { tile, enters });
    }

    fn tile_index(&self, number: u64) -> usize {
        usize::try_from(number % self.tiles.len() as u64).expect("bug: an index below a length fits")
    }

    /// Makes room for the vector that enters in this cycle, as zeros (a bubble).
    pub(super) fn enter(&mut self) {
        let window = self.window;
        if self.head == 0 {
            self.head = self.stream_length - window;
            for stream in self.streams.chunks_exact_mut(self.stream_length) {
                stream.copy_within(0..window, self.stream_length - window);
                // All that is to enter is a bubble until an element is set.
                stream[..self.stream_length - window].fill(0.0);
            }
        }
        self.head -= 1;
    }

    /// Sets the entering vector's element of a row.
    pub(super) fn element(&mut self, row: usize, value: f32) {
        self.streams[row * self.stream_length + self.head] = value;
    }

    /// One cycle of every PE. `cycle` is the array's own.
    pub(super) fn step(&mut self, cycle: u64) {
        self.move_swaps(cycle);
        let Shape { cols, row_hop, col_hop, registers, .. } = self.shape;
        let newest = self.wave_index(cycle);
        self.waves[newest * cols..(newest + 1) * cols].fill(0.0);
        let mut wave = newest;
        // The row below works on the wave that passed row 0 a hop earlier (an array of one row has no other).
        let back = row_hop % self.wave_count;
        let mut first = self.head + registers;
        let (streams, weights) = (self.streams.chunks_exact(self.stream_length), self.weights.chunks_exact(cols));
        for (stream, weights) in streams.zip(weights) {
            let sums = &mut self.waves[wave * cols..][..cols];
            match col_hop {
                1 => multiply_add(sums, weights, &stream[first..][..cols]),
                0 => {
                    let element = stream[first];
                    for (sum, weight) in sums.iter_mut().zip(weights) {
                        *sum += weight * element;
                    }
                }
                _ => {
                    for ((sum, weight), element) in sums.iter_mut().zip(weights).zip(stream[first..].iter().step_by(col_hop)) {
                        *sum += weight * element;
                    }
                }
            }
            first += row_hop;
            wave = if wave >= back { wave - back } else { wave + self.wave_count - back };
        }
    }

    /// The finished sum of column `col` for the vector that entered in cycle `entered`.
    pub(super) fn sum(&self, entered: u64, col: usize) -> f32 {
        let passed = entered + (self.shape.registers + col * self.shape.col_hop) as u64;
        self.waves[self.wave_index(passed) * self.shape.cols + col]
    }

    fn wave_index(&self, cycle: u64) -> usize {
        usize::try_from(cycle % self.wave_count as u64).expect("bug: an index below a length fits")
    }

    /// Moves every tile that is on its way in by one diagonal.
    fn move_swaps(&mut self, cycle: u64) {
        let Shape { rows, cols, row_hop, col_hop, registers } = self.shape;
        let done = self.shape.tail(rows, cols);
        while self.swaps.front().is_some_and(|swap| swap.enters + done < cycle) {
            self.swaps.pop_front();
        }
        for swap in &self.swaps {
            let tile = &self.tiles[swap.tile];
            // Cycles since the tile's first vector passed the input registers.
            let Some(age) = (cycle - swap.enters).checked_sub(registers as u64) else { continue };
            let age = usize::try_from(age).expect("bug: a swap lasts no longer than the array's tail");
            if (row_hop, col_hop) == (1, 1) {
                // The usual array: one PE of each row on the diagonal.
                for row in (age + 1).saturating_sub(cols)..rows.min(age + 1) {
                    let place = row * cols + age - row;
                    self.weights[place] = tile[place];
                }
                continue;
            }
            for row in 0..rows {
                let Some(age) = age.checked_sub(row * row_hop) else { break };
                let row = row * cols;
                match col_hop {
                    0 if age == 0 => self.weights[row..row + cols].copy_from_slice(&tile[row..row + cols]),
                    0 => {}
                    hop if age % hop == 0 && age / hop < cols => self.weights[row + age / hop] = tile[row + age / hop],
                    _ => {}
                }
            }
        }
    }
}

/// `sums[c] += weights[c] * elements[c]`, in blocks of a size that the compiler turns into vector instructions.
fn multiply_add(sums: &mut [f32], weights: &[f32], elements: &[f32]) {
    const BLOCK: usize = 16;
    let (sum_blocks, sum_rest) = sums.as_chunks_mut::<BLOCK>();
    let (weight_blocks, weight_rest) = weights.as_chunks::<BLOCK>();
    let (element_blocks, element_rest) = elements.as_chunks::<BLOCK>();
    for ((sums, weights), elements) in sum_blocks.iter_mut().zip(weight_blocks).zip(element_blocks) {
        // Into a block of its own first: so the compiler sees that nothing overlaps.
        let mut block = [0.0; BLOCK];
        for column in 0..BLOCK {
            block[column] = sums[column] + weights[column] * elements[column];
        }
        *sums = block;
    }
    for ((sum, weight), element) in sum_rest.iter_mut().zip(weight_rest).zip(element_rest) {
        *sum += weight * element;
    }
}
