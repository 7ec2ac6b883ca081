//! What lies in the memories at the start: weights as the array takes them, biases as the accumulator does.

use super::super::gemm::{Layout, Rows};
use super::StageNumbers;
use crate::mapping::{Buffers, Rules, Stage};
use ndarray::{ArrayView2, Axis};

/// Biases as accumulator elements, little-endian, each `copies` times; zeros where a layer has none.
pub(super) fn bias_bytes(numbers: &StageNumbers<'_>, element_bytes: u64, copies: u64) -> Vec<u8> {
    let width = size(element_bytes);
    let bias = |channel: usize| numbers.bias.map_or(0, |biases| biases[channel]);
    (0..numbers.weights.ncols()).flat_map(|channel| bias(channel).to_le_bytes()[..width].repeat(size(copies))).collect()
}

/// Pieces of weights as they lie in the scratchpad: a slot each, a pitch from row to row.
pub(super) fn resident(stage: &Stage, rules: &Rules, buffers: &Buffers, layout: &Layout, packed: &[u8]) -> Vec<u8> {
    let k_tiles = rules.k_tiles(&stage.problem);
    let by_tile = rules.pieces_of_chunk(&stage.problem) == k_tiles;
    let slot = buffers.weight_slot_bytes;
    let mut bytes = vec![0; size(rules.pieces(&stage.problem, &stage.tiling) * slot)];
    for chunk in 0..stage.chunks() {
        for k_tile in 0..k_tiles {
            let rows = rows_of(stage, layout, chunk, k_tile);
            let (piece, within) = if by_tile { (chunk * k_tiles + k_tile, 0) } else { (chunk, k_tile * layout.slice_stride()) };
            for row in 0..rows.count {
                let (from, to) = (size(rows.address + row * rows.stride), size(piece * slot + row * stage.pitches.weight + within));
                bytes[to..to + size(rows.bytes)].copy_from_slice(&packed[from..from + size(rows.bytes)]);
            }
        }
    }
    bytes
}

/// Pieces of weights as they lie in DRAM where some lie coded: one behind the other, those that are skipped left out.
pub(super) fn coded(stage: &Stage, layout: &Layout, packed: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for chunk in 0..stage.chunks() {
        for k_tile in (0..stage.rules.k_tiles(&stage.problem)).filter(|k_tile| !stage.is_skipped(chunk, *k_tile)) {
            let rows = rows_of(stage, layout, chunk, k_tile);
            let row = |row: u64| &packed[size(rows.address + row * rows.stride)..][..size(rows.bytes)];
            let piece: Vec<u8> = (0..rows.count).flat_map(row).copied().collect();
            match stage.coded(chunk, k_tile) {
                Some((coding, stored)) => {
                    let block = coding.encode(&piece);
                    assert_eq!(block.len() as u64, stored, "the weights of stage \"{}\" are not those that were mapped", stage.name);
                    bytes.extend(block);
                }
                None => bytes.extend(piece),
            }
        }
    }
    bytes
}

/// The rows of packed weights that a tile is.
fn rows_of(stage: &Stage, layout: &Layout, chunk: u64, k_tile: u64) -> Rows {
    let [channels, inner] = stage.weight_tile(chunk, k_tile);
    weight_rows(stage, layout, (chunk, channels.end - channels.start), (k_tile, inner.end - inner.start))
}

/// The rows of packed weights of a chunk (its number, and its channels) in K tile `tile` of `inner` elements.
pub(super) fn weight_rows(stage: &Stage, layout: &Layout, (chunk, channels): (u64, u64), (tile, inner): (u64, u64)) -> Rows {
    if stage.problem.groups == 1 {
        return layout.weight_rows((chunk * stage.tiling.chunk, channels), (tile, inner));
    }
    let rows = layout.weight_rows((0, channels), (tile, inner));
    Rows { address: rows.address + chunk * layout.weight_bytes(), ..rows }
}

/// Weights as the array takes them; those of groups chunk by chunk.
#[expect(clippy::needless_pass_by_value, reason = "a view is a reference already")]
pub(super) fn packed(stage: &Stage, layout: &Layout, weights: ArrayView2<'_, i16>) -> Vec<u8> {
    let pack = |weights| layout.weights(weights).expect("bug: lower refuses weights that are not pruned as the array needs");
    if stage.problem.groups == 1 {
        return pack(weights);
    }
    weights.axis_chunks_iter(Axis(1), size(stage.tiling.chunk)).flat_map(pack).collect()
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).expect("bug: weights that are known fit in memory")
}
