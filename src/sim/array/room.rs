//! What the host needs to simulate an array: known before anything is made, so that an array too large for it is refused by name.

use super::mesh::{BLOCK, LANES};
use super::shape::Shape;
use crate::chip::Stationary;
use crate::sim::engine::Numbers;
use crate::sim::error::SimError;
use crate::sim::machine::Setup;

/// The most bytes that the registers of an array, and the tiles under way in it, may take of the host's memory.
const MAX_BYTES: u128 = 8 << 30;

/// Refuses an array whose registers would not fit, `tiles` tiles or passes being under way at a time.
pub(super) fn check(setup: &Setup<'_>, shape: &Shape, tiles: usize) -> Result<(), SimError> {
    let bytes = bytes(setup, shape, tiles as u128);
    if bytes <= MAX_BYTES {
        return Ok(());
    }
    let engine = if setup.numbers == Numbers::Stepped { "stepped" } else { "wavefront" };
    Err(SimError::TooLarge { engine, bytes, limit: MAX_BYTES })
}

fn bytes(setup: &Setup<'_>, shape: &Shape, tiles: u128) -> u128 {
    let mode = setup.array_mode();
    let wide = |size: usize| size as u128;
    let (rows, cols, depth) = (wide(shape.rows), wide(shape.cols.next_multiple_of(LANES)), wide(shape.depth));
    // A stream is long enough that its registers seldom move to its other end.
    let stream = |window: usize| 2 * wide(window + shape.col_hop * LANES) + 10 * wide(BLOCK);
    let number = size_of::<f64>() as u128;
    match (setup.numbers, mode.stationary) {
        (Numbers::None, _) => 0,
        (Numbers::Stepped, Stationary::Weight | Stationary::Input) => {
            number * ((tiles + 1) * rows * depth * cols + stream(shape.window()) * (rows * depth + cols))
        }
        (Numbers::Stepped, Stationary::Output) => number * (stream(shape.window()) * (rows + cols) * depth + (2 * tiles + 2) * rows * cols),
        // Dense, packed, and as the PEs hold it where they choose from groups.
        (Numbers::Wavefront, Stationary::Weight | Stationary::Input) => {
            let placed = if mode.group.is_some() { rows * depth } else { 0 };
            2 * tiles * cols * (2 * u128::from(mode.tile_inner()) + placed)
        }
        (Numbers::Wavefront, Stationary::Output) => 16 * rows * cols,
    }
}
