//! One stage's walk over its blocks and chunks: what the DMA engines and the vector unit do for each.

use super::super::segments::{Segment, segments};
use super::super::{Address, Coded, Operation, Place, Planes, Requantize, Sync, Transfer};
use super::images::weight_rows;
use super::plan::{Block, Plan, StoredRows};
use super::{Emitter, Queue, Shared, Units, command, index};
use crate::counts::Operand;
use crate::mapping::{InputBuffer, Order, OutputBuffer, WeightBuffer, Work};
use std::ops::Range;

/// A block and a chunk, and what they are the first and the last of.
#[derive(Clone, Copy)]
pub(super) struct Part<'b> {
    pub(super) block: &'b Block,
    pub(super) chunk: Segment,
    /// The chunk's weights.
    pub(super) weights: Span,
    /// The block's input, in the first (or last) iteration of the loop over chunks.
    pub(super) input: Span,
}

/// Whether something begins to be used here, or has been before; and whether this is the last use of it.
#[derive(Clone, Copy)]
pub(super) struct Span {
    pub(super) begins: bool,
    pub(super) ends: bool,
}

impl Emitter<'_> {
    pub(super) fn stage(&mut self, plan: &Plan<'_>) {
        let mut units = Units::default();
        let chunks = plan.chunks();
        let mut fetched = 0;
        self.open(plan, &mut units);
        match plan.stage.tiling.order {
            Order::Blocks => {
                for block in &plan.blocks {
                    self.fetch_ahead(plan, block, &mut fetched, &mut units);
                    for chunk in &chunks {
                        let mut body = Units::default();
                        let part = Part {
                            block,
                            chunk: *chunk,
                            weights: Span { begins: true, ends: true },
                            input: Span { begins: chunk.first, ends: chunk.last },
                        };
                        self.part(plan, part, &mut body);
                        units.repeat(chunk.trips, body);
                    }
                }
            }
            Order::Channels => {
                for chunk in &chunks {
                    let mut body = Units::default();
                    for block in &plan.blocks {
                        if chunk.first {
                            self.fetch_ahead(plan, block, &mut fetched, &mut body);
                        }
                        let part = Part {
                            block,
                            chunk: *chunk,
                            weights: Span { begins: block.number == 0, ends: block.number + 1 == plan.stage.blocks() },
                            input: Span { begins: chunk.first, ends: chunk.last },
                        };
                        self.part(plan, part, &mut body);
                    }
                    units.repeat(chunk.trips, body);
                }
            }
        }
        self.units.extend(units);
    }

    /// What a stage waits for before its first transfer.
    pub(super) fn open(&self, plan: &Plan<'_>, units: &mut Units) {
        if plan.waits_for_kept {
            units.push(self.store, command(plan, vec![Shared::KeptDone.sync()], Operation::Fence, Vec::new()));
        }
        if plan.waits_for_stores {
            let full = if plan.stage.work.is_array() { Shared::InputFull } else { Shared::VectorFull };
            units.push(self.store, command(plan, Vec::new(), Operation::Fence, vec![full.sync()]));
        }
        // What plays the weights was stored by one engine and is loaded by another.
        if matches!(plan.stage.work, Work::Product { .. }) && self.store != Queue::Load {
            units.push(self.store, command(plan, Vec::new(), Operation::Fence, vec![Shared::Stored.sync()]));
            units.push(Queue::Load, command(plan, vec![Shared::Stored.sync()], Operation::Fence, Vec::new()));
        }
    }

    /// Fetches the input of a block, and ahead of it that of the next if its rows need not wait for this block to end.
    pub(super) fn fetch_ahead(&self, plan: &Plan<'_>, block: &Block, fetched: &mut usize, units: &mut Units) {
        if !plan.stage.inputs().any(|(buffer, _)| matches!(buffer, InputBuffer::Fetched { .. })) {
            return;
        }
        while let Some(next) = plan.blocks.get(*fetched)
            && (next.number <= block.number || next.number == block.number + 1 && next.done_before <= block.number)
        {
            self.fetch(plan, next, units);
            *fetched += 1;
        }
    }

    /// The rows of the inputs that a block is the first to need: a transfer, more where they go round the end of the ring or lie in several runs.
    fn fetch(&self, plan: &Plan<'_>, block: &Block, units: &mut Units) {
        let problem = &plan.stage.problem;
        let pitch = plan.stage.pitches.input;
        let pixel = problem.input_pixel();
        let full = if plan.stage.work.is_array() { Shared::InputFull } else { Shared::VectorFull };
        let mut waits: Vec<_> = (0..block.waits).map(|_| plan.input_free(0)).collect();
        // A command takes one token of a kind.
        while waits.len() > 1 {
            units.push(self.store, command(plan, waits.pop().into_iter().collect(), Operation::Fence, Vec::new()));
        }
        let (first, end) = (block.rows.0 * problem.input[1], block.rows.1 * problem.input[1]);
        let mut transfers = Vec::new();
        for ((buffer, operand), source) in plan.stage.inputs().zip(&plan.ends.sources) {
            if !matches!(buffer, InputBuffer::Fetched { .. }) {
                continue;
            }
            if !plan.stage.rules.input_layout.is_one_plane(problem.c) {
                transfers.extend(self.planes(plan, *source, first..end));
                continue;
            }
            let (address, ring) = plan.buffer(buffer);
            let mut next = first;
            while next < end {
                let place = next % ring;
                let pixels = (end - next).min(ring - place);
                for rows in operand.rows(next, next + pixels) {
                    // Pixels that lie side by side move as rows of an image.
                    let is_close = pitch == pixel && operand.stride == pixel && rows.count.is_multiple_of(problem.input[1]);
                    let side_by_side = if is_close { problem.input[1] } else { 1 };
                    transfers.push(Transfer {
                        operand: Operand::Input,
                        dram: Address::at(source + rows.byte),
                        dram_stride: side_by_side * operand.stride,
                        place: self.activation_place,
                        local: Address::at(address + (place + rows.first - next) * pitch),
                        local_stride: side_by_side * pitch,
                        rows: rows.count / side_by_side,
                        row_bytes: side_by_side * pixel,
                        coded: None,
                        owns_gaps: plan.stage.rules.leaves_rows(problem),
                    });
                }
                next += pixels;
            }
        }
        let Some(last) = transfers.len().checked_sub(1) else {
            units.push(self.store, command(plan, waits, Operation::Fence, vec![full.sync()]));
            return;
        };
        for (number, transfer) in transfers.into_iter().enumerate() {
            let post = if number == last { vec![full.sync()] } else { Vec::new() };
            units.push(self.store, command(plan, std::mem::take(&mut waits), Operation::Mvin(transfer), post));
        }
    }

    /// The same, where channels lie in planes: pixels of all whole blocks of channels in one transfer, a row a block; those of what is left of
    /// the channels in another, a row a pixel.
    fn planes(&self, plan: &Plan<'_>, source: u64, pixels: Range<u64>) -> Vec<Transfer> {
        let problem = &plan.stage.problem;
        let (address, ring) = plan.input();
        let block = plan.stage.rules.input_layout.block(problem.c);
        let (whole, rest) = (problem.c / block, problem.c % block);
        let [dram_plane, local_plane] = [problem.pixels() * block, ring * block];
        let mut transfers = Vec::new();
        let mut first = pixels.start;
        while first < pixels.end {
            let place = first % ring;
            let pixels = (pixels.end - first).min(ring - place);
            let transfer = |blocks: u64, [dram_stride, local_stride]: [u64; 2], rows, row_bytes| Transfer {
                operand: Operand::Input,
                dram: Address::at(source + blocks * dram_plane + first * block),
                dram_stride,
                place: self.activation_place,
                local: Address::at(address + blocks * local_plane + place * block),
                local_stride,
                rows,
                row_bytes,
                coded: None,
                owns_gaps: false,
            };
            transfers.push(transfer(0, [dram_plane, local_plane], whole, pixels * block));
            if rest > 0 {
                transfers.push(transfer(whole, [block, block], pixels, rest));
            }
            first += pixels;
        }
        transfers
    }

    /// A block and a chunk: biases, weights, passes, results.
    fn part(&self, plan: &Plan<'_>, part: Part<'_>, units: &mut Units) {
        self.biases(plan, part, units);
        if part.weights.begins && plan.stage.weights == WeightBuffer::Fetched {
            self.weights(plan, part, units);
        }
        self.passes(plan, part, units);
        self.results(plan, part, units);
    }

    /// The biases of a block and a chunk, one in each place of the sums: a row in DRAM that goes to every line, or where a line is a channel's a
    /// row for each.
    fn biases(&self, plan: &Plan<'_>, part: Part<'_>, units: &mut Units) {
        let Part { block, chunk, .. } = part;
        let (rules, pitches) = (&plan.stage.rules, &plan.stage.pitches);
        let element = rules.element;
        let (line, of_chunk) = (plan.bias_copies * element, plan.stage.tiling.chunk * plan.bias_copies * element);
        let sums = plan.sums(self, block, chunk);
        let dram = Address::at(plan.bias_image + chunk.start * of_chunk).step(0, of_chunk);
        let bias = |local: Address, dram_stride, rows, row_bytes| {
            Operation::Mvin(Transfer {
                operand: Operand::Weight,
                dram: dram.clone(),
                dram_stride,
                place: Place::Accumulator(0),
                local,
                local_stride: pitches.sums,
                rows,
                row_bytes,
                coded: None,
                owns_gaps: false,
            })
        };
        if !rules.lines_are_channels() {
            let mvin = bias(sums, 0, block.size, chunk.size * element);
            units.push(Queue::Load, command(plan, vec![Shared::SumsFree.sync()], mvin, vec![Shared::BiasFull.sync()]));
            return;
        }
        let lines = plan.stage.tiling.chunk.min(plan.stage.problem.channels()) * pitches.sums;
        for tile in segments(block.size, rules.vector_unit()) {
            let mut body = Units::default();
            let local = sums.clone().skip(tile.start * lines).step(1, lines);
            let wait = tile.first.then_some(Shared::SumsFree.within(1)).into_iter().collect();
            let post = tile.last.then_some(Shared::BiasFull.within(1)).into_iter().collect();
            body.push(Queue::Load, command(plan, wait, bias(local, line, chunk.size, tile.size * element), post));
            units.repeat(tile.trips, body);
        }
    }

    /// The weights of a chunk, piece by piece.
    fn weights(&self, plan: &Plan<'_>, part: Part<'_>, units: &mut Units) {
        let Part { block, chunk, .. } = part;
        let rules = &plan.stage.rules;
        let problem = &plan.stage.problem;
        let by_tile = plan.pieces_of_chunk == rules.k_tiles(problem);
        for (before, k) in plan.fetches(chunk) {
            let rows = weight_rows(plan.stage, &plan.layout, (chunk.start, chunk.size), (k.start, k.size));
            let next = |chunk_number, tile| {
                weight_rows(plan.stage, &plan.layout, (chunk_number, chunk.size), (tile, k.size)).address - rows.address
            };
            let (dram, dram_stride) = if let Work::Product { weights, .. } = &plan.stage.work {
                // Rows of the value that plays the weights, an element of K in each.
                let (tile, channels) = (rules.k_tile(problem) * weights.stride, problem.weight.packed_bytes(plan.stage.tiling.chunk));
                let first = plan.ends.weights + weights.starts[of_run(plan, block)] + k.start * tile + chunk.start * channels;
                (Address::at(first).step(0, channels).step(1, tile), weights.stride)
            } else if let Some((start, bytes)) = plan.stored(chunk.start, k.start) {
                (Address::at(start).step(1, bytes), rows.bytes)
            } else {
                let (of_chunk, of_tile) = (next(chunk.start + 1, k.start), next(chunk.start, k.start + 1));
                (Address::at(plan.weight_image + rows.address).step(0, of_chunk).step(1, of_tile), rows.stride)
            };
            // Where a chunk is one piece, its tiles of K lie in it side by side.
            let local = if by_tile {
                plan.weights(self, block, chunk, before, 1)
            } else {
                let slice = plan.layout.slice_stride();
                plan.weights(self, block, chunk, 0, 0).skip(k.start * slice).step(1, slice)
            };
            let transfer = Transfer {
                operand: Operand::Weight,
                dram,
                dram_stride,
                place: self.weight_place,
                local,
                local_stride: plan.stage.pitches.weight,
                rows: rows.count,
                row_bytes: rows.bytes,
                coded: plan.stage.coded(chunk.start, k.start).map(|(coding, bytes)| Coded { coding, bytes }),
                owns_gaps: false,
            };
            let wait = (by_tile || k.first).then_some(Shared::WeightFree.within(u32::from(!by_tile))).into_iter().collect();
            let post = (by_tile || k.last).then_some(Shared::WeightFull.within(u32::from(!by_tile))).into_iter().collect();
            let mut body = Units::default();
            body.push(Queue::Load, command(plan, wait, Operation::Mvin(transfer), post));
            units.repeat(k.trips, body);
        }
    }

    /// The results of a block and a chunk: requantized, and stored where they do not stay. A run of channels that lie alike is a command.
    fn results(&self, plan: &Plan<'_>, part: Part<'_>, units: &mut Units) {
        let Part { block, chunk, .. } = part;
        let (rules, problem, tiling) = (&plan.stage.rules, &plan.stage.problem, &plan.stage.tiling);
        let runs = plan.channel_runs(chunk);
        let stored = matches!(plan.stage.output, OutputBuffer::Stored { .. });
        let is_last = block.number + 1 == plan.stage.blocks() && chunk.last;
        let tiles = if rules.lines_are_channels() { segments(block.size, rules.vector_unit()) } else { segments(block.size, block.size) };
        let lines = tiling.chunk.min(problem.channels()) * plan.stage.pitches.sums;
        let of_channel = if rules.lines_are_channels() { plan.stage.pitches.sums } else { rules.element };
        for tile in tiles {
            let mut body = Units::default();
            for (number, run) in runs.iter().enumerate() {
                let (mut wait, mut post) = (Vec::new(), Vec::new());
                if tile.first && number == 0 {
                    wait.push(Shared::SumsFull.within(1));
                    wait.extend(stored.then(|| plan.output_free(1)));
                }
                if tile.last && number + 1 == runs.len() {
                    post.push(Shared::SumsFree.within(1));
                    post.extend(stored.then_some(Shared::OutputFull.within(1)));
                    post.extend(is_last.then(|| kept(plan, 2)).into_iter().flatten());
                }
                let (result, pitch, plane) = plan.results(block, chunk, run);
                let channels = run.width * run.count;
                let (rows, cols) = if rules.lines_are_channels() { (channels, tile.size) } else { (tile.size, channels) };
                let vectors = rules.vector_unit() * pitch;
                let requantize = Requantize {
                    sums: plan.sums(self, block, chunk).skip(tile.start * lines + run.first * of_channel).step(1, lines),
                    sums_stride: plan.stage.pitches.sums,
                    place: self.activation_place,
                    result: result.skip(tile.start * vectors).step(1, vectors),
                    result_stride: pitch,
                    rows: index(rows),
                    cols: index(cols),
                    stage: plan.output_stage,
                    channel: Address::at(chunk.start * tiling.chunk + run.first).step(0, tiling.chunk),
                    by_channels: rules.lines_are_channels(),
                    format: problem.output,
                    planes: (run.count > 1).then_some(Planes { block: run.width, bytes: plane }),
                };
                body.push(Queue::Vector, command(plan, wait, Operation::Requantize(requantize), post));
            }
            units.repeat(tile.trips, body);
        }
        if stored {
            self.store(plan, block, chunk, units);
        }
    }

    /// Stores the results of a block and a chunk: a transfer, more where they go to several runs or lie in planes.
    pub(super) fn store(&self, plan: &Plan<'_>, block: &Block, chunk: Segment, units: &mut Units) {
        let runs = plan.channel_runs(chunk);
        let rows = runs.iter().flat_map(|run| plan.stored_rows(block, chunk, run));
        let transfers = rows.map(|StoredRows { dram, dram_stride, local, local_stride, rows, row_bytes }| Transfer {
            operand: Operand::Output,
            dram,
            dram_stride,
            place: self.activation_place,
            local,
            local_stride,
            rows,
            row_bytes,
            coded: None,
            owns_gaps: false,
        });
        let transfers: Vec<Transfer> = transfers.collect();
        let last = transfers.len().saturating_sub(1);
        for (number, transfer) in transfers.into_iter().enumerate() {
            let wait = if number == 0 { vec![Shared::OutputFull.sync()] } else { Vec::new() };
            let post = if number == last { vec![plan.output_free(0)] } else { Vec::new() };
            units.push(self.store, command(plan, wait, Operation::Mvout(transfer), post));
        }
    }
}

/// What the last command posts that leaves an output on the chip, within so many loops.
pub(super) fn kept(plan: &Plan<'_>, loops: u32) -> impl Iterator<Item = Sync> {
    let [array, fetches, later] = plan.kept_for;
    let shared = |posts: bool, shared: Shared| posts.then(|| shared.within(loops));
    let posts = [shared(array, Shared::KeptFull), shared(fetches, Shared::KeptDone), later.then(|| plan.held(loops))];
    posts.into_iter().flatten()
}

/// Which of the runs that are multiplied by the same a block is of.
fn of_run(plan: &Plan<'_>, block: &Block) -> usize {
    let Work::Product { weights, .. } = &plan.stage.work else { return 0 };
    let run = plan.stage.problem.vectors() / weights.starts.len() as u64;
    usize::try_from(block.start / run).expect("bug: runs are few enough to be listed")
}
