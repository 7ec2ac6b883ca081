//! The array's commands for a block and a chunk, in each dataflow.
//!
//! ```text
//! weights stay        for K tile: preload its weights; for pass: compute vectors of activations
//! activations stay    for tile of vectors: for K tile: preload its activations; for pass: compute vectors of weights
//! sums stay           for tile of vectors: product over all of K
//! ```

use super::super::segments::{Segment, segments};
use super::super::{Address, Compute, Operation, Planes, Preload, Product, Sync, Window};
use super::blocks::Part;
use super::plan::Plan;
use super::{Emitter, Queue, Shared, Units, command, index};
use crate::chip::Stationary;
use crate::mapping::{InputBuffer, WeightBuffer, Work};
use crate::network::Border;

impl Emitter<'_> {
    pub(super) fn passes(&self, plan: &Plan<'_>, part: Part<'_>, units: &mut Units) {
        let k_tiles = plan.k_tiles(part.chunk);
        if k_tiles.is_empty() {
            // Nothing to compute: the biases are the sums.
            let (wait, post) = (begins(plan, part, 0), ends(plan, part, 0));
            units.push(Queue::Array, command(plan, wait, Operation::Fence, post));
            return;
        }
        match plan.stage.rules.mode.stationary {
            Stationary::Weight => self.past_weights(plan, part, &k_tiles, units),
            Stationary::Input => self.past_activations(plan, part, &k_tiles, units),
            Stationary::Output => self.products(plan, part, units),
        }
    }

    fn past_weights(&self, plan: &Plan<'_>, part: Part<'_>, k_tiles: &[(u64, Segment)], units: &mut Units) {
        let Part { block, chunk, .. } = part;
        let (rules, pitches) = (&plan.stage.rules, &plan.stage.pitches);
        let k_tile = rules.k_tile(&plan.stage.problem);
        for (before, k) in k_tiles {
            let mut of_k = Units::default();
            // What lies resident lies in its place whatever is skipped.
            let fetched = plan.stage.weights == WeightBuffer::Fetched;
            let piece = if fetched { *before } else { k.start };
            let preload = Preload {
                place: self.weight_place,
                address: plan.weights(self, block, chunk, piece, 1),
                stride: pitches.weight,
                inner: index(k.size),
                cols: index(chunk.size),
                zero_point: if let Work::Product { zero_point, .. } = plan.stage.work { zero_point } else { 0 },
                window: None,
            };
            let wait = (fetched && part.weights.begins).then_some(Shared::WeightFull.sync()).into_iter().collect();
            let post = (fetched && part.weights.ends).then_some(Shared::WeightFree.sync()).into_iter().collect();
            of_k.push(Queue::Array, command(plan, wait, Operation::Preload(preload), post));
            for passes in segments(block.size, rules.pass) {
                let wait = if k.first && passes.first { begins(plan, part, 2) } else { Vec::new() };
                let post = if k.last && passes.last { ends(plan, part, 2) } else { Vec::new() };
                let (stream, stream_stride, window) = if plan.stage.problem.is_matrix() {
                    let slice = rules.mode.vector_bytes(k_tile);
                    let first = plan.matrix_input(block) + k.start * slice + passes.start * rules.pass * pitches.input;
                    (Address::at(first).step(1, slice).step(2, rules.pass * pitches.input), pitches.input, None)
                } else {
                    let vector = Address::at(block.start + passes.start * rules.pass).step(2, rules.pass);
                    let (address, stride, window) = window(plan, chunk, vector, Address::at(k.start * k_tile).step(1, k_tile));
                    (address, stride, Some(window))
                };
                let compute = Compute {
                    place: self.activation_place,
                    stream,
                    stream_stride,
                    vectors: index(passes.size),
                    inner: index(k.size),
                    cols: index(chunk.size),
                    zero_point: plan.zero_point,
                    window,
                    result: plan.sums(self, block, chunk).skip(passes.start * rules.pass * pitches.sums).step(2, rules.pass * pitches.sums),
                    result_stride: pitches.sums,
                    // The accumulator is preset to the bias.
                    accumulate: true,
                };
                let mut body = Units::default();
                body.push(Queue::Array, command(plan, wait, Operation::Compute(compute), post));
                of_k.repeat(passes.trips, body);
            }
            units.repeat(k.trips, of_k);
        }
    }

    fn past_activations(&self, plan: &Plan<'_>, part: Part<'_>, k_tiles: &[(u64, Segment)], units: &mut Units) {
        let Part { block, chunk, .. } = part;
        let (rules, pitches) = (&plan.stage.rules, &plan.stage.pitches);
        let (k_tile, unit) = (rules.k_tile(&plan.stage.problem), rules.vector_unit());
        let lines = plan.stage.tiling.chunk.min(plan.stage.problem.channels()) * pitches.sums;
        let slice = plan.layout.slice_stride();
        for tile in segments(block.size, unit) {
            let mut of_tile = Units::default();
            for (_, k) in k_tiles {
                let mut of_k = Units::default();
                let vector = Address::at(block.start + tile.start * unit).step(1, unit);
                let (address, stride, window) = window(plan, chunk, vector, Address::at(k.start * k_tile).step(2, k_tile));
                let preload = Preload {
                    place: self.activation_place,
                    address,
                    stride,
                    inner: index(k.size),
                    cols: index(tile.size),
                    zero_point: plan.zero_point,
                    window: Some(window),
                };
                let wait = if tile.first && k.first { begins(plan, part, 2) } else { Vec::new() };
                of_k.push(Queue::Array, command(plan, wait, Operation::Preload(preload), Vec::new()));
                for passes in segments(chunk.size, rules.pass) {
                    let (first, last) = (tile.first && k.first && passes.first, tile.last && k.last && passes.last);
                    let compute = Compute {
                        place: self.weight_place,
                        stream: plan
                            .weights(self, block, chunk, 0, 0)
                            .skip(k.start * slice + passes.start * rules.pass * pitches.weight)
                            .step(2, slice)
                            .step(3, rules.pass * pitches.weight),
                        stream_stride: pitches.weight,
                        vectors: index(passes.size),
                        inner: index(k.size),
                        cols: index(tile.size),
                        zero_point: 0,
                        window: None,
                        result: plan
                            .sums(self, block, chunk)
                            .skip(tile.start * lines + passes.start * rules.pass * pitches.sums)
                            .step(1, lines)
                            .step(3, rules.pass * pitches.sums),
                        result_stride: pitches.sums,
                        accumulate: true,
                    };
                    let wait = first.then(|| weights_wait(plan, part, 3)).flatten().into_iter().collect();
                    let mut post = if last { ends(plan, part, 3) } else { Vec::new() };
                    post.extend(last.then(|| weights_post(plan, part, 3)).flatten());
                    let mut body = Units::default();
                    body.push(Queue::Array, command(plan, wait, Operation::Compute(compute), post));
                    of_k.repeat(passes.trips, body);
                }
                of_tile.repeat(k.trips, of_k);
            }
            units.repeat(tile.trips, of_tile);
        }
    }

    fn products(&self, plan: &Plan<'_>, part: Part<'_>, units: &mut Units) {
        let Part { block, chunk, .. } = part;
        let (rules, pitches) = (&plan.stage.rules, &plan.stage.pitches);
        let unit = rules.vector_unit();
        let chunk_lines = plan.stage.tiling.chunk.min(plan.stage.problem.channels());
        let lines = pitches.sums * if rules.lines_are_channels() { chunk_lines } else { unit };
        for tile in segments(block.size, unit) {
            let vector = Address::at(block.start + tile.start * unit).step(1, unit);
            let (activation, activation_stride, window) = window(plan, chunk, vector, Address::at(0));
            let product = Product {
                activation_place: self.activation_place,
                activation,
                activation_stride,
                weight_place: self.weight_place,
                weight: plan.weights(self, block, chunk, 0, 0),
                weight_stride: pitches.weight,
                inner: index(plan.stage.problem.reduction()),
                rows: index(tile.size),
                cols: index(chunk.size),
                zero_point: plan.zero_point,
                window: Some(window),
                result: plan.sums(self, block, chunk).skip(tile.start * lines).step(1, lines),
                result_stride: pitches.sums,
                accumulate: true,
            };
            let (mut wait, mut post) = (Vec::new(), Vec::new());
            if tile.first {
                wait = begins(plan, part, 1);
                wait.extend(weights_wait(plan, part, 1));
            }
            if tile.last {
                post = ends(plan, part, 1);
                post.extend(weights_post(plan, part, 1));
            }
            let mut body = Units::default();
            body.push(Queue::Array, command(plan, wait, Operation::Product(product), post));
            units.repeat(tile.trips, body);
        }
    }
}

/// The address of the input's first pixel as a chunk of channels reads it, the bytes from one to the next, and the window from a vector and an
/// element of K on.
fn window(plan: &Plan<'_>, chunk: Segment, vector: Address, inner: Address) -> (Address, u64, Window) {
    let (address, ring) = plan.input();
    let bytes = |channels| plan.stage.problem.activation.packed_bytes(channels);
    let (first, step) = plan.first_input_channel(chunk);
    let address = address + bytes(first);
    let (slide, pitch) = (plan.stage.problem.slide(), plan.stage.pitches.input);
    let is_one = plan.stage.rules.input_layout.is_one_plane(slide.channels);
    let planes = (!is_one).then(|| Planes { block: plan.stage.rules.input_layout.block(slide.channels), bytes: ring * pitch });
    (
        Address::at(address).step(0, bytes(step)),
        pitch,
        Window { slide, ring, vector, inner, planes, plus_border: plan.border == Border::Plus },
    )
}

/// What the first command of a block and a chunk waits for, within so many loops.
fn begins(plan: &Plan<'_>, part: Part<'_>, loops: u32) -> Vec<Sync> {
    let mut wait = Vec::new();
    let fetched = matches!(plan.stage.input, InputBuffer::Fetched { .. });
    if part.input.begins && fetched {
        wait.push(Shared::InputFull.within(loops + 1));
    }
    if part.input.begins && !fetched && part.block.number == 0 {
        wait.extend(plan.waits_for_stores.then(|| Shared::InputFull.within(loops + 1)));
        wait.extend(plan.kept_wait.map(|semaphore| Sync { semaphore, innermost: loops + 1 }));
    }
    wait.push(Shared::BiasFull.within(loops));
    wait
}

/// What the last command of a block and a chunk posts.
fn ends(plan: &Plan<'_>, part: Part<'_>, loops: u32) -> Vec<Sync> {
    let mut post = vec![Shared::SumsFull.within(loops)];
    if part.input.ends && plan.frees_rows {
        post.push(plan.input_free(loops + 1));
    }
    post
}

/// The wait for the one piece of weights of a chunk.
fn weights_wait(plan: &Plan<'_>, part: Part<'_>, loops: u32) -> Option<Sync> {
    (part.weights.begins && plan.stage.weights == WeightBuffer::Fetched).then_some(Shared::WeightFull.within(loops))
}

/// The post of the one piece of weights of a chunk.
fn weights_post(plan: &Plan<'_>, part: Part<'_>, loops: u32) -> Option<Sync> {
    (part.weights.ends && plan.stage.weights == WeightBuffer::Fetched).then_some(Shared::WeightFree.within(loops))
}
