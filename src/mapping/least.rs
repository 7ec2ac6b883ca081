//! What a mapping does at least, action by action: energy has no closed form, but each of its large parts has one from below.
//!
//! Multiply-accumulates, the vector unit's operations and the bytes that have to cross DRAM's bus are what they are. A memory's rows are at least
//! the bytes that cross its port over the port's width: what lies across two rows, or fills none, only adds to them. Left out, as if nothing:
//! registers, zero points, what DRAM does beside moving bytes, and what arrays in which sums or activations stay read from images, where one row may
//! serve several vectors.

use super::bounds::Traffic;
use super::{InputBuffer, Mapping, OutputBuffer, Problem, Stage, WeightBuffer, Work};
use crate::chip::{Chip, Stationary};

/// Actions of one stage, no more than a machine does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct LeastActions {
    /// Multiply-accumulates.
    pub macs: u64,
    /// Elements that the vector unit works on.
    pub vector_operations: u64,
    /// Bytes on DRAM's bus, read.
    pub dram_read_bytes: u64,
    /// Bytes on DRAM's bus, written.
    pub dram_write_bytes: u64,
    /// Bytes that are unpacked from coded weights.
    pub unpacked_bytes: u64,
    /// Rows read from the scratchpad that holds activations, and from the one that holds weights, which may be the same.
    pub scratchpad_reads: [u64; 2],
    /// Rows written, likewise.
    pub scratchpad_writes: [u64; 2],
    /// Rows of the accumulator, read.
    pub accumulator_reads: u64,
    /// Rows of the accumulator, written.
    pub accumulator_writes: u64,
}

/// What each stage of a mapping does at least, in the order in which they run.
///
/// # Panics
/// If the mapping is for another chip.
pub fn least_actions(mapping: &Mapping, chip: &Chip) -> Vec<LeastActions> {
    mapping.stages().iter().map(|stage| of_stage(stage, mapping.buffers().accumulator_element_bytes, chip)).collect()
}

fn of_stage(stage: &Stage, element: u64, chip: &Chip) -> LeastActions {
    let (problem, mode) = (&stage.problem, &stage.rules.mode);
    let traffic = Traffic::of(stage);
    let (vectors, channels) = (problem.vectors(), problem.channels());
    if !stage.work.is_array() {
        let vector_operations = if matches!(stage.work, Work::Vector(_)) { vectors * channels } else { 0 };
        let (dram_read_bytes, dram_write_bytes) = (traffic.input, traffic.output);
        return LeastActions { vector_operations, dram_read_bytes, dram_write_bytes, ..LeastActions::default() };
    }
    let results = vectors * problem.output_bytes(channels);
    // Tiles of vectors that weights go to the array for.
    let unit = stage.rules.vector_unit();
    let tiles: u64 = (0..stage.blocks()).map(|block| stage.block(block)).map(|block| (block.end - block.start).div_ceil(unit)).sum();
    let times = if mode.stationary == Stationary::Weight { stage.blocks() } else { tiles };
    let (mut macs, mut sums, mut weights) = (0, 0, 0);
    for piece in stage.weight_pieces() {
        // Where activations stay, an array with N:M sparsity would multiply all of them; it does not keep weights then.
        let kept = if mode.stationary == Stationary::Input { piece.inner } else { mode.kept(piece.inner) };
        macs += vectors * piece.count * piece.channels * kept;
        sums += vectors * piece.count * piece.channels * element;
        weights += piece.count * stage.rules.weight_bytes(piece.channels, piece.inner);
    }
    let written = |is_there: bool, bytes: u64| if is_there { bytes } else { 0 };
    let biases = vectors * channels * element;
    let fetched = written(stage.weights == WeightBuffer::Fetched, stage.weight_fetches() * weights);
    let input = written(matches!(stage.input, InputBuffer::Fetched { .. }), traffic.input);
    let stored = written(matches!(stage.output, OutputBuffer::Stored { .. }), results);
    let roles = chip.scratchpad_roles();
    let rows = |bytes: u64, port: u32| bytes / u64::from(port);
    let of_pad = |pad: usize, bytes: u64| rows(bytes, chip.scratchpads()[pad].port_bytes);
    let of_sums = |bytes: u64| rows(bytes, chip.accumulator().port_bytes);
    LeastActions {
        macs,
        vector_operations: vectors * channels,
        dram_read_bytes: traffic.weights + traffic.biases + traffic.input,
        dram_write_bytes: traffic.output,
        unpacked_bytes: written(stage.weights == WeightBuffer::Fetched, traffic.unpacked),
        scratchpad_reads: [of_pad(roles.activation, stored + streamed(stage)), of_pad(roles.weight, times * weights)],
        scratchpad_writes: [of_pad(roles.activation, input + results), of_pad(roles.weight, fetched)],
        accumulator_reads: of_sums(sums + biases),
        accumulator_writes: of_sums(sums + biases),
    }
}

/// Bytes of activations that the array reads: all of K for each chunk of channels, but for padding.
fn streamed(stage: &Stage) -> u64 {
    let (problem, mode) = (&stage.problem, &stage.rules.mode);
    let bits = u64::from(problem.activation.bits());
    if problem.is_matrix() {
        let inner: u64 = stage.weight_pieces().iter().map(|piece| piece.inner * piece.count).sum();
        return problem.vectors() * inner * bits / 8;
    }
    if mode.stationary != Stationary::Weight || !stage.skipped.is_empty() {
        return 0;
    }
    stage.chunks() * problem.n * reached(problem, 0) * reached(problem, 1) * problem.group_inputs() * bits / 8
}

/// Along one side of an image, the elements of the filter that lie on a pixel, summed over the filter's places.
pub(super) fn reached(problem: &Problem, side: usize) -> u64 {
    let (places, filter) = ([problem.p, problem.q][side], [problem.r, problem.s][side]);
    let (stride, dilation, padding) = (problem.stride[side], problem.dilation[side], problem.padding[side]);
    let of = |element: u64| {
        // Places at which padding <= place * stride + element * dilation < padding + input.
        let before = |limit: u64| limit.saturating_sub(element * dilation).div_ceil(stride).min(places);
        before(padding + problem.input[side]) - before(padding)
    };
    (0..filter).map(of).sum()
}
