//! The array's numbers without its registers: a pass's sums in one go, as the `wavefront` drive computes them.
//!
//! The sums of a pass may be computed at once when its last one comes out, because nothing that the pass reads may change before it ends:
//! that is what its semaphores are for, and what the verifier holds programs to.

/// Vectors that are computed together: their sums stay in the host's cache, and memory stays O(R * C).
const BLOCK: u64 = 64;

/// Stationary tiles on their way in or in use, and room for a block of vectors.
#[derive(Debug)]
pub(super) struct Products {
    cols: usize,
    rows: usize,
    /// A ring of tiles, rows x cols each.
    tiles: Vec<Vec<i16>>,
    vectors: Vec<i16>,
    sums: Vec<i32>,
}

impl Products {
    /// Room for as many tiles as may be under way.
    pub(super) fn new(rows: usize, cols: usize, tiles: usize) -> Self {
        let block = usize::try_from(BLOCK).expect("bug: a small constant fits");
        Self { cols, rows, tiles: vec![vec![0; rows * cols]; tiles], vectors: vec![0; block * rows], sums: vec![0; block * cols] }
    }

    /// One row of a tile, as it is shifted in.
    pub(super) fn load_row(&mut self, tile: u64, row: usize, bytes: &[u8]) {
        let (index, cols) = (self.index(tile), self.cols);
        for (weight, byte) in self.tiles[index][row * cols..(row + 1) * cols].iter_mut().zip(bytes) {
            *weight = i16::from(i8::from_le_bytes([*byte]));
        }
    }

    /// Clears a tile that is about to be shifted in.
    pub(super) fn open_tile(&mut self, tile: u64) {
        let index = self.index(tile);
        self.tiles[index].fill(0);
    }

    fn index(&self, tile: u64) -> usize {
        usize::try_from(tile % self.tiles.len() as u64).expect("bug: an index below a length fits")
    }

    /// The sums of `vectors` vectors past a tile: `read` gives a vector's bytes, `write` takes its sums.
    pub(super) fn pass(
        &mut self,
        tile: u64,
        (rows, cols): (usize, usize),
        vectors: u64,
        zero_point: i16,
        mut read: impl FnMut(u64, &mut dyn FnMut(&[u8])),
        mut write: impl FnMut(u64, &[i32]),
    ) {
        let index = self.index(tile);
        let (tile, width) = (&self.tiles[index], self.cols);
        debug_assert!(rows <= self.rows && cols <= width);
        for first in (0..vectors).step_by(usize::try_from(BLOCK).expect("bug: a small constant fits")) {
            let block = BLOCK.min(vectors - first);
            for (vector, elements) in (first..first + block).zip(self.vectors.chunks_exact_mut(rows)) {
                read(vector, &mut |bytes| {
                    for (element, byte) in elements.iter_mut().zip(bytes) {
                        *element = i16::from(i8::from_le_bytes([*byte])) - zero_point;
                    }
                });
            }
            for ((vector, elements), sums) in
                (first..first + block).zip(self.vectors.chunks_exact(rows)).zip(self.sums.chunks_exact_mut(width))
            {
                sums.fill(0);
                for (element, weights) in elements.iter().zip(tile.chunks_exact(width)) {
                    for (sum, weight) in sums.iter_mut().zip(weights) {
                        *sum += i32::from(*element) * i32::from(*weight);
                    }
                }
                write(vector, &sums[..cols]);
            }
        }
    }
}
