//! The array's numbers without its registers: a pass's sums in one go, as the `wavefront` drive computes them.
//!
//! The sums of a pass may be computed at once when its last one comes out, because nothing that the pass reads may change before it ends:
//! that is what its semaphores are for, and what the verifier holds programs to. A pass's sums fit 32 bits: at most 512 products of 9 by
//! 8 bits.

use crate::numerics::kernel::{PackedTile, multiply};

/// Vectors that are computed together: their sums stay in the host's cache, and memory stays O(R * C).
const BLOCK: u64 = 64;

/// A stationary tile on its way in or in use.
#[derive(Debug)]
struct Tile {
    /// Rows x columns that it fills.
    weights: Vec<i16>,
    rows: usize,
    cols: usize,
    /// The same for the kernel, made when the first pass needs it.
    packed: PackedTile,
    is_packed: bool,
}

/// Stationary tiles, and room for a block of vectors.
#[derive(Debug)]
pub(super) struct Products {
    tiles: Vec<Tile>,
    vectors: Vec<i16>,
    sums: Vec<i32>,
}

/// Where a pass's vectors come from and its sums go.
pub(super) trait Stream {
    /// The bytes of a vector's elements.
    fn vector(&self, number: u64) -> &[u8];
    /// Takes a vector's sums, a column each.
    fn take(&mut self, number: u64, sums: &[i32]);
}

impl Products {
    /// Room for as many tiles as may be under way.
    pub(super) fn new(rows: usize, cols: usize, tiles: usize) -> Self {
        let block = usize::try_from(BLOCK).expect("bug: a small constant fits");
        let tile = || Tile { weights: vec![0; rows * cols], rows, cols, packed: PackedTile::new(), is_packed: false };
        Self { tiles: (0..tiles).map(|_| tile()).collect(), vectors: vec![0; block * rows], sums: vec![0; block * cols] }
    }

    /// Makes room for a tile that is about to be shifted in and fills this much of the array.
    pub(super) fn open_tile(&mut self, number: u64, rows: usize, cols: usize) {
        let tile = self.tile(number);
        (tile.rows, tile.cols, tile.is_packed) = (rows, cols, false);
    }

    /// One row of a tile, as it is shifted in.
    pub(super) fn load_row(&mut self, number: u64, row: usize, bytes: &[u8]) {
        let tile = self.tile(number);
        for (weight, byte) in tile.weights[row * tile.cols..].iter_mut().zip(bytes) {
            *weight = i16::from(i8::from_le_bytes([*byte]));
        }
    }

    fn tile(&mut self, number: u64) -> &mut Tile {
        let index = usize::try_from(number % self.tiles.len() as u64).expect("bug: an index below a length fits");
        &mut self.tiles[index]
    }

    /// The sums of a pass of `vectors` vectors past a tile, of which `rows` rows and `cols` columns count.
    pub(super) fn pass(&mut self, number: u64, (rows, cols): (usize, usize), vectors: u64, zero_point: i16, stream: &mut impl Stream) {
        let index = usize::try_from(number % self.tiles.len() as u64).expect("bug: an index below a length fits");
        let Self { tiles, vectors: room, sums } = self;
        let tile = &mut tiles[index];
        if !tile.is_packed {
            tile.packed.pack(&tile.weights[..tile.rows * tile.cols], tile.rows, tile.cols);
            tile.is_packed = true;
        }
        for first in (0..vectors).step_by(usize::try_from(BLOCK).expect("bug: a small constant fits")) {
            let block = BLOCK.min(vectors - first);
            let count = usize::try_from(block).expect("bug: a block is small");
            let elements = &mut room[..count * tile.rows];
            for (vector, elements) in (first..).zip(elements.chunks_exact_mut(tile.rows)) {
                let bytes = stream.vector(vector);
                // Rows of the tile that the vector does not reach see zeros, and so do rows of the vector that the tile does not.
                let reached = rows.min(tile.rows);
                for (element, byte) in elements[..reached].iter_mut().zip(bytes) {
                    *element = i16::from(i8::from_le_bytes([*byte])) - zero_point;
                }
                elements[reached..].fill(0);
            }
            let sums = &mut sums[..count * tile.cols];
            multiply(&tile.packed, elements, count, sums);
            for (vector, sums) in (first..).zip(sums.chunks_exact(tile.cols)) {
                stream.take(vector, &sums[..cols.min(tile.cols)]);
            }
        }
    }
}
