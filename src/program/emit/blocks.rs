//! One stage's walk over its blocks and chunks: what the DMA engines and the vector unit do for each.

use super::super::segments::{Segment, segments};
use super::super::{Address, Coded, Operation, Place, Planes, Requantize, Sync, Transfer};
use super::plan::{Block, Plan, StoredRows};
use super::{Emitter, Queue, Shared, Units, command, index};
use crate::counts::Operand;
use crate::mapping::{InputBuffer, Order, OutputBuffer, WeightBuffer};
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
        for (all, of_stage) in self.units.0.iter_mut().zip(units.0) {
            all.extend(of_stage);
        }
    }

    /// Fetches the input of a block, and ahead of it that of the next if its rows need not wait for this block to end.
    fn fetch_ahead(&self, plan: &Plan<'_>, block: &Block, fetched: &mut usize, units: &mut Units) {
        if !matches!(plan.stage.input, InputBuffer::Fetched { .. }) {
            return;
        }
        while let Some(next) = plan.blocks.get(*fetched)
            && (next.number <= block.number || next.number == block.number + 1 && next.done_before <= block.number)
        {
            self.fetch(plan, next, units);
            *fetched += 1;
        }
    }

    /// The rows of the input that a block is the first to need: a transfer, two where they go round the end of the ring.
    fn fetch(&self, plan: &Plan<'_>, block: &Block, units: &mut Units) {
        let problem = &plan.stage.problem;
        let (address, ring) = plan.input();
        let pitch = plan.stage.pitches.input;
        let pixel = problem.activation.packed_bytes(problem.c);
        let mut waits: Vec<_> = (0..block.waits).map(|_| plan.input_free(0)).collect();
        // A command takes one token of a kind.
        while waits.len() > 1 {
            units.push(self.store, command(plan, waits.pop().into_iter().collect(), Operation::Fence, Vec::new()));
        }
        let (mut first, end) = (block.rows.0 * problem.input[1], block.rows.1 * problem.input[1]);
        if first == end {
            units.push(self.store, command(plan, waits, Operation::Fence, vec![Shared::InputFull.sync()]));
            return;
        }
        if !plan.stage.rules.input_layout.is_one_plane(problem.c) {
            self.fetch_planes(plan, first..end, waits, units);
            return;
        }
        while first < end {
            let place = first % ring;
            let pixels = (end - first).min(ring - place);
            // Pixels that lie side by side move as rows of an image.
            let side_by_side = if pitch == pixel { problem.input[1] } else { 1 };
            let row = side_by_side * pixel;
            let transfer = Transfer {
                operand: Operand::Input,
                dram: Address::at(plan.ends.source + first * pixel),
                dram_stride: row,
                place: self.activation_place,
                local: Address::at(address + place * pitch),
                local_stride: side_by_side * pitch,
                rows: pixels / side_by_side,
                row_bytes: row,
                coded: None,
            };
            first += pixels;
            let post = if first == end { vec![Shared::InputFull.sync()] } else { Vec::new() };
            units.push(self.store, command(plan, std::mem::take(&mut waits), Operation::Mvin(transfer), post));
        }
    }

    /// The same, where channels lie in planes: pixels of all whole blocks of channels in one transfer, a row a block; those of what is left of
    /// the channels in another, a row a pixel.
    fn fetch_planes(&self, plan: &Plan<'_>, pixels: Range<u64>, mut waits: Vec<Sync>, units: &mut Units) {
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
                dram: Address::at(plan.ends.source + blocks * dram_plane + first * block),
                dram_stride,
                place: self.activation_place,
                local: Address::at(address + blocks * local_plane + place * block),
                local_stride,
                rows,
                row_bytes,
                coded: None,
            };
            transfers.push(transfer(0, [dram_plane, local_plane], whole, pixels * block));
            if rest > 0 {
                transfers.push(transfer(whole, [block, block], pixels, rest));
            }
            first += pixels;
        }
        let last = transfers.len().saturating_sub(1);
        for (number, transfer) in transfers.into_iter().enumerate() {
            let post = (number == last).then_some(Shared::InputFull.sync()).into_iter().collect();
            units.push(self.store, command(plan, std::mem::take(&mut waits), Operation::Mvin(transfer), post));
        }
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
        let first_channel = chunk.start * plan.stage.tiling.chunk;
        for (before, k) in plan.fetches(chunk) {
            let rows = plan.layout.weight_rows((first_channel, chunk.size), (k.start, k.size));
            let next = |channel, tile| plan.layout.weight_rows((channel, chunk.size), (tile, k.size)).address - rows.address;
            let (dram, dram_stride) = if let Some((start, bytes)) = plan.stored(chunk.start, k.start) {
                (Address::at(start).step(1, bytes), rows.bytes)
            } else {
                let of_chunk = next(first_channel + plan.stage.tiling.chunk, k.start);
                let dram = Address::at(plan.weight_image + rows.address).step(0, of_chunk).step(1, next(first_channel, k.start + 1));
                (dram, rows.stride)
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
                    post.extend((!stored && is_last).then_some(Shared::KeptFull.within(2)));
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
                    planes: (run.count > 1).then_some(Planes { block: run.width, bytes: plane }),
                };
                body.push(Queue::Vector, command(plan, wait, Operation::Requantize(requantize), post));
            }
            units.repeat(tile.trips, body);
        }
        for (number, run) in runs.iter().enumerate().filter(|_| stored) {
            let (local, pitch, plane) = plan.results(block, chunk, run);
            let StoredRows { dram, dram_stride, local_stride, rows, row_bytes } = plan.stored_rows(block, chunk, run, (pitch, plane));
            let transfer = Transfer {
                operand: Operand::Output,
                dram,
                dram_stride,
                place: self.activation_place,
                local,
                local_stride,
                rows,
                row_bytes,
                coded: None,
            };
            let wait = if number == 0 { vec![Shared::OutputFull.sync()] } else { Vec::new() };
            let post = if number + 1 == runs.len() { vec![plan.output_free(0)] } else { Vec::new() };
            units.push(self.store, command(plan, wait, Operation::Mvout(transfer), post));
        }
    }
}
