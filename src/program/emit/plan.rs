//! The constants of one stage, ready for the innermost loops.

use super::super::gemm::Layout;
use super::super::segments::{Segment, runs, runs_alike, segments, singles};
use super::super::{Address, Ring, Semaphore, Sync, Tag};
use super::images::{bias_bytes, coded, packed, resident};
use super::{Emitter, Shared, StageNumbers, index};
use crate::mapping::{InputBuffer, Operand, Order, OutputBuffer, Stage, WeightBuffer, Work};
use crate::network::Border;
use crate::program::{HostRegion, Image};

/// Where a stage's input comes from and its output goes, in DRAM.
#[derive(Clone)]
pub(super) struct Endpoints {
    pub(super) number: usize,
    /// Where each input begins; 0 of one that stays on the chip.
    pub(super) sources: Vec<u64>,
    /// Where the value begins that plays the weights, if one does.
    pub(super) weights: u64,
    pub(super) target: u64,
}

/// One block of vectors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    pub(super) number: u64,
    /// Its first vector, and how many it has.
    pub(super) start: u64,
    pub(super) size: u64,
    /// The rows of the input that it is the first to need.
    pub(super) rows: (u64, u64),
    /// Blocks that must be done before these rows may be fetched, and how many more these are than for the block before.
    pub(super) done_before: u64,
    pub(super) waits: u64,
}

/// Channels of a chunk whose results lie alike.
#[derive(Debug, Clone, Copy)]
pub(super) struct ChannelRun {
    /// The first, counted from the chunk's.
    pub(super) first: u64,
    /// Channels side by side, and how often.
    pub(super) width: u64,
    pub(super) count: u64,
    /// The first of all channels, and how many are a block of the output's layout, where they lie in planes.
    planes: Option<(u64, u64)>,
}

/// Rows of results on their way to DRAM.
pub(super) struct StoredRows {
    pub(super) dram: Address,
    pub(super) dram_stride: u64,
    pub(super) local: Address,
    pub(super) local_stride: u64,
    pub(super) rows: u64,
    pub(super) row_bytes: u64,
}

pub(super) struct Plan<'s> {
    pub(super) stage: &'s Stage,
    pub(super) tag: Tag,
    pub(super) ends: Endpoints,
    pub(super) zero_point: i32,
    /// What lies around images.
    pub(super) border: Border,
    pub(super) output_stage: u32,
    pub(super) layout: Layout,
    pub(super) weight_image: u64,
    pub(super) bias_image: u64,
    /// Copies of each bias in DRAM: as many as vectors lie side by side in a line of sums.
    pub(super) bias_copies: u64,
    pub(super) blocks: Vec<Block>,
    /// Whether anything waits until rows of the input are free.
    pub(super) frees_rows: bool,
    /// Whether the stage before left its output on the chip, so that fetches wait until it has ended.
    pub(super) waits_for_kept: bool,
    /// Whether the stage before stores through the places that this one writes to, which fetches nothing behind it: so its first command waits.
    pub(super) waits_for_stores: bool,
    /// Which units go on with an output that stays: the array, the engine that fetches something else, the array in a later stage.
    pub(super) kept_for: [bool; 3],
    /// What the array waits for before it reads what stayed, if it has not before.
    pub(super) kept_wait: Option<Semaphore>,
    /// Where each tile of weights begins in DRAM, chunk by chunk, where some lie coded.
    stored_at: Vec<u64>,
    /// Pieces of weights before each chunk, where tiles are skipped; else empty.
    pieces_before: Vec<u64>,
    /// Pieces of one chunk where none is skipped, and of all chunks.
    pub(super) pieces_of_chunk: u64,
    pub(super) pieces: u64,
    /// Pieces of weights and sets of sums that went through the rings before this stage.
    pub(super) first_piece: u64,
    pub(super) first_sums: u64,
}

impl<'c> Emitter<'c> {
    /// The constants of a stage that stands between two others.
    pub(super) fn plan(
        &mut self,
        (before, stage, next): (Option<&Stage>, &'c Stage, Option<&Stage>),
        ends: Endpoints,
        numbers: Option<&StageNumbers<'_>>,
    ) -> Plan<'c> {
        let (rules, buffers) = (&stage.rules, self.buffers());
        let problem = &stage.problem;
        // The chunks of a group are packed each by itself.
        let channels = if problem.groups > 1 { stage.tiling.chunk } else { problem.channels() };
        let layout = Layout::new(
            rules.mode,
            [problem.vectors(), problem.reduction(), channels],
            problem.vectors().max(problem.channels()),
            rules.element,
        );
        let packed = numbers.filter(|_| stage.work == Work::Array).map(|numbers| packed(stage, &layout, numbers.weights));
        let packed = packed.ok_or_else(|| problem.channels().div_ceil(channels) * layout.weight_bytes());
        let weight_image = match stage.weights {
            _ if stage.work != Work::Array => 0,
            WeightBuffer::Fetched if stage.stored.is_empty() => self.image(packed),
            WeightBuffer::Fetched => self.image(packed.map(|packed| coded(stage, &layout, &packed)).map_err(|_| stage.stored.iter().sum())),
            WeightBuffer::Resident { address } => {
                match packed {
                    Ok(packed) => {
                        let bytes = resident(stage, rules, buffers, &layout, &packed);
                        self.images.push(Image { place: self.weight_place, address, bytes });
                    }
                    Err(_) => self.inputs.push(HostRegion {
                        place: self.weight_place,
                        address,
                        bytes: rules.pieces(problem, &stage.tiling) * buffers.weight_slot_bytes,
                    }),
                }
                0
            }
        };
        let bias_copies = if rules.lines_are_channels() { rules.vector_unit().min(problem.vectors()) } else { 1 };
        let biases = numbers.map(|numbers| bias_bytes(numbers, rules.element, bias_copies));
        let bias_image = if stage.work.is_array() { self.image(biases.ok_or(problem.channels() * bias_copies * rules.element)) } else { 0 };
        let blocks = blocks(stage);
        let pieces_of_chunk = rules.pieces_of_chunk(problem);
        let mut pieces_before = Vec::new();
        if !stage.skipped.is_empty() {
            let mut sum = 0;
            for chunk in 0..stage.chunks() {
                pieces_before.push(sum);
                let tiles = (0..rules.k_tiles(problem)).filter(|k_tile| !stage.is_skipped(chunk, *k_tile)).count() as u64;
                sum += tiles.min(pieces_of_chunk);
            }
            pieces_before.push(sum);
        }
        let pieces = pieces_before.last().copied().unwrap_or(stage.chunks() * pieces_of_chunk);
        let is_kept = |stage: &Stage| matches!(stage.output, OutputBuffer::Kept { .. });
        // What moves, and what comes behind the host, is on its way through the same places.
        let fetches = |stage: &Stage| {
            matches!(stage.work, Work::Movement(_) | Work::Host(_))
                || stage.inputs().any(|(buffer, _)| !matches!(buffer, InputBuffer::Kept { .. }))
        };
        // The array waits once for a value that stays, however often it reads it.
        let number = ends.number;
        let stages = self.mapping.stages();
        let reads =
            |stage: &Stage, maker: usize| stage.work.is_array() && matches!(stage.input, InputBuffer::Kept { from, .. } if from == maker);
        let first_reader_of =
            |maker: usize| stages.iter().skip(maker + 1).position(|stage| reads(stage, maker)).map(|place| maker + 1 + place);
        let first_reader = if is_kept(stage) { first_reader_of(number) } else { None };
        let kept_wait = match stage.input {
            InputBuffer::Kept { from, .. } if first_reader_of(from) == Some(number) => {
                Some(if from + 1 == number { Shared::KeptFull.sync().semaphore } else { held(index(from)) })
            }
            _ => None,
        };
        let plan = Plan {
            stage,
            tag: Tag { stage: index(ends.number), sample: 0 },
            ends,
            zero_point: numbers.map_or(0, |numbers| numbers.zero_point),
            border: numbers.map_or(Border::Zero, |numbers| numbers.border),
            output_stage: index(self.output_stages.len()),
            layout,
            weight_image,
            bias_image,
            bias_copies,
            frees_rows: blocks.iter().any(|block| block.waits > 0),
            waits_for_kept: before.is_some_and(is_kept) && fetches(stage),
            waits_for_stores: before.is_some_and(|before| !is_kept(before)) && !fetches(stage),
            kept_for: if is_kept(stage) {
                [first_reader == Some(number + 1), next.is_some_and(fetches), first_reader.is_some_and(|reader| reader > number + 1)]
            } else {
                [false; 3]
            },
            kept_wait,
            blocks,
            stored_at: starts(weight_image, &stage.stored),
            pieces_before,
            pieces_of_chunk,
            pieces,
            first_piece: self.pieces,
            first_sums: self.sums,
        };
        if stage.work.is_array() {
            if stage.weights == WeightBuffer::Fetched {
                self.pieces += stage.weight_fetches() * pieces;
            }
            self.sums += stage.blocks() * stage.chunks();
        }
        plan
    }
}

/// The semaphore of a stage's output that stays for a later stage of the array.
fn held(stage: u32) -> Semaphore {
    Semaphore(Shared::COUNT + 3 * stage + 2)
}

/// Where pieces of such sizes begin that lie one behind the other.
fn starts(first: u64, sizes: &[u64]) -> Vec<u64> {
    let start = |next: &mut u64, size: &u64| Some(std::mem::replace(next, *next + size));
    sizes.iter().scan(first, start).collect()
}

/// The blocks of a stage. A row of the input may take the place of one that no block still needs.
fn blocks(stage: &Stage) -> Vec<Block> {
    let problem = &stage.problem;
    // Where one of two inputs stays, the other is fetched row by row.
    let fetched = stage.inputs().find_map(|(buffer, _)| if let InputBuffer::Fetched { rows, .. } = buffer { Some(rows) } else { None });
    let ring = fetched.unwrap_or(problem.input_rows());
    let mut blocks: Vec<Block> = Vec::new();
    let mut done_before = 0;
    for number in 0..stage.blocks() {
        let rows = stage.new_rows(number);
        let before = done_before;
        while done_before < number && problem.rows_of(stage.block(done_before)).start + ring < rows.end {
            done_before += 1;
        }
        let block = stage.block(number);
        blocks.push(Block {
            number,
            start: block.start,
            size: block.end - block.start,
            rows: (rows.start, rows.end),
            done_before,
            waits: done_before - before,
        });
    }
    blocks
}

impl Plan<'_> {
    /// The chunks of channels, in loops; each by itself where tiles may be skipped or lie coded or it is part of a group, and the first by itself where the others find the input
    /// there.
    pub(super) fn chunks(&self) -> Vec<Segment> {
        let all = segments(self.stage.problem.channels(), self.stage.tiling.chunk);
        let (layout, channels, chunk) = (self.stage.rules.output_layout, self.stage.problem.channels(), self.stage.tiling.chunk);
        let is_part = self.stage.problem.groups > 1 && chunk < self.stage.problem.group_outputs();
        // Where chunks begin and end within blocks of the output's channels, no step leads from each to the next.
        let is_even = layout.is_one_plane(channels) || chunk.is_multiple_of(layout.block(channels));
        if !self.stage.skipped.is_empty() || !self.stage.stored.is_empty() || is_part || !is_even {
            return all.into_iter().flat_map(singles).collect();
        }
        match self.stage.tiling.order {
            Order::Blocks => all,
            Order::Channels => {
                let (first, rest) = all[0].split_first();
                std::iter::once(first).chain(rest).chain(all.into_iter().skip(1)).collect()
            }
        }
    }

    /// The K tiles of a chunk that are computed, in loops, each with how many stand before it.
    pub(super) fn k_tiles(&self, chunk: Segment) -> Vec<(u64, Segment)> {
        let problem = &self.stage.problem;
        runs(segments(problem.reduction(), self.stage.rules.k_tile(problem)), |k| !self.stage.is_skipped(chunk.start, k))
    }

    /// The same, in loops over tiles that take as many bytes in DRAM as each other.
    pub(super) fn fetches(&self, chunk: Segment) -> Vec<(u64, Segment)> {
        let (stage, problem) = (self.stage, &self.stage.problem);
        let alike = |one: u64, other: u64| stage.stored_bytes(chunk.start, one) == stage.stored_bytes(chunk.start, other);
        runs_alike(segments(problem.reduction(), stage.rules.k_tile(problem)), |k| !stage.is_skipped(chunk.start, k), alike)
    }

    /// Where a tile of weights begins in DRAM, and its bytes there, where some lie coded.
    pub(super) fn stored(&self, chunk: u64, k_tile: u64) -> Option<(u64, u64)> {
        let tile = usize::try_from(chunk * self.stage.rules.k_tiles(&self.stage.problem) + k_tile).ok()?;
        Some((*self.stored_at.get(tile)?, *self.stage.stored.get(tile)?))
    }

    /// The place of a block's first vector in the input's memory; vectors of a block lie side by side where they are no part of an image.
    pub(super) fn matrix_input(&self, block: &Block) -> u64 {
        self.rows_of(self.stage.input, block)
    }

    /// The place of a block's first row in one of its inputs.
    pub(super) fn rows_of(&self, input: InputBuffer, block: &Block) -> u64 {
        let (address, ring) = self.buffer(input);
        address + block.start % ring * self.stage.pitches.input
    }

    /// The address of the input's first pixel, and the pixels that lie there at a time.
    pub(super) fn input(&self) -> (u64, u64) {
        self.buffer(self.stage.input)
    }

    /// The same of any input.
    pub(super) fn buffer(&self, input: InputBuffer) -> (u64, u64) {
        let problem = &self.stage.problem;
        match input {
            InputBuffer::Kept { address, .. } => (address, problem.pixels()),
            InputBuffer::Fetched { address, rows } => (address, rows * problem.input[1]),
            InputBuffer::Whole { address, bytes } | InputBuffer::Passing { address, bytes } => (address, bytes),
        }
    }

    /// What the stage reads whole, if anything: its place on the chip, its rows, and where it begins in DRAM.
    pub(super) fn constants(&self) -> Option<(u64, &Operand, u64)> {
        let mut inputs = self.stage.inputs().zip(&self.ends.sources);
        inputs.find_map(|((buffer, operand), source)| match buffer {
            InputBuffer::Whole { address, .. } => Some((address, operand, *source)),
            _ => None,
        })
    }

    /// The first channel of the input that a chunk of channels reads, and how many channels on the next chunk's is.
    pub(super) fn first_input_channel(&self, chunk: Segment) -> (u64, u64) {
        let problem = &self.stage.problem;
        if problem.groups == 1 {
            return (0, 0);
        }
        let group = chunk.start * self.stage.tiling.chunk / problem.group_outputs();
        (group * problem.group_inputs(), problem.group_inputs())
    }

    /// The number of the set of sums of a block and a chunk, and how many sets on the next chunk's is.
    fn set(&self, block: &Block, chunk: Segment) -> (u64, u64) {
        match self.stage.tiling.order {
            Order::Blocks => (block.number * self.stage.chunks() + chunk.start, 1),
            Order::Channels => (chunk.start * self.stage.blocks() + block.number, self.stage.blocks()),
        }
    }

    /// The sums of a block and a chunk in the accumulator's ring.
    pub(super) fn sums(&self, emitter: &Emitter<'_>, block: &Block, chunk: Segment) -> Address {
        let (slots, slot) = (emitter.buffers().accumulator_slots, emitter.buffers().accumulator_slot_bytes);
        let (number, step) = self.set(block, chunk);
        let ring = Ring::new(slots, slot, self.first_sums + number).step(0, step * slot);
        Address { ring: Some(ring), ..Address::at(0) }
    }

    /// The runs of a chunk's channels that lie in as many whole blocks of the output's layout, or in a part of one.
    pub(super) fn channel_runs(&self, chunk: Segment) -> Vec<ChannelRun> {
        let (layout, channels) = (self.stage.rules.output_layout, self.stage.problem.channels());
        if layout.is_one_plane(channels) {
            return vec![ChannelRun { first: 0, width: chunk.size, count: 1, planes: None }];
        }
        let block = layout.block(channels);
        let start = chunk.start * self.stage.tiling.chunk;
        let head = (start.next_multiple_of(block) - start).min(chunk.size);
        let (whole, tail) = ((chunk.size - head) / block, (chunk.size - head) % block);
        let run = |first, width, count| ChannelRun { first, width, count, planes: Some((start + first, block)) };
        let runs = [run(0, head, 1), run(head, block, whole), run(head + whole * block, tail, 1)];
        runs.into_iter().filter(|run| run.width * run.count > 0).collect()
    }

    /// The place of a run's first channel at a block's first vector, where planes of all vectors lie from `address` on; a plane's bytes.
    fn in_planes(&self, address: u64, block: &Block, (channel, width): (u64, u64)) -> (Address, u64) {
        let plane = self.stage.problem.vectors() * width;
        let first = address + channel / width * plane + block.start * width + channel % width;
        (Address::at(first).step(0, self.stage.tiling.chunk / width * plane), plane)
    }

    /// Where the results of a block and a run of a chunk's channels go: the first, from a vector to the next, from a block of channels to the next.
    pub(super) fn results(&self, block: &Block, chunk: Segment, run: &ChannelRun) -> (Address, u64, u64) {
        let (problem, pitches) = (&self.stage.problem, &self.stage.pitches);
        match self.stage.output {
            OutputBuffer::Stored { address, slots } => {
                let slot = self.stage.rules.stored_bytes(problem, &self.stage.tiling);
                let (number, step) = self.set(block, chunk);
                let ring = Ring::new(slots, slot, number).step(0, step * slot);
                let pitch = if run.planes.is_some() { run.width } else { pitches.stored };
                let first = address + run.first * self.stage.tiling.block;
                (Address { ring: Some(ring), ..Address::at(first) }, pitch, self.stage.tiling.block * pitch)
            }
            OutputBuffer::Kept { address } => {
                if let Some(planes) = run.planes {
                    let (first, plane) = self.in_planes(address, block, planes);
                    return (first, pitches.output, plane);
                }
                let chunk_bytes = problem.output_bytes(self.stage.tiling.chunk);
                let first = address + block.start * pitches.output + chunk.start * chunk_bytes;
                (Address::at(first).step(0, chunk_bytes), pitches.output, 0)
            }
        }
    }

    /// The rows of a run's results on the chip and in DRAM.
    pub(super) fn stored_rows(&self, block: &Block, chunk: Segment, run: &ChannelRun) -> Vec<StoredRows> {
        let bytes = |channels| self.stage.problem.output_bytes(channels);
        let (local, pitch, local_plane) = self.results(block, chunk, run);
        let target = self.ends.target;
        let Some((channel, width)) = run.planes else {
            let step = bytes(self.stage.tiling.chunk);
            let rows = self.stage.target.rows(block.start, block.start + block.size).map(|rows| StoredRows {
                dram: Address::at(target + rows.byte + chunk.start * step).step(0, step),
                dram_stride: self.stage.target.stride,
                local: local.clone().skip((rows.first - block.start) * pitch),
                local_stride: pitch,
                rows: rows.count,
                row_bytes: bytes(chunk.size),
            });
            return rows.collect();
        };
        let (dram, plane) = self.in_planes(target, block, (channel, width));
        // Pixels of whole blocks lie side by side.
        vec![if run.width == width {
            StoredRows { dram, dram_stride: plane, local, local_stride: local_plane, rows: run.count, row_bytes: block.size * width }
        } else {
            StoredRows { dram, dram_stride: width, local, local_stride: pitch, rows: block.size, row_bytes: run.width }
        }]
    }

    /// The place of piece `piece` of a chunk's weights, which moves by `step` pieces with each iteration of the loop within the chunk's.
    pub(super) fn weights(&self, emitter: &Emitter<'_>, block: &Block, chunk: Segment, piece: u64, step: u64) -> Address {
        let slot = emitter.buffers().weight_slot_bytes;
        // Pieces that are skipped take no slot of the ring; what is resident lies in its place whatever is skipped.
        let (first, of_chunk) = match (self.stage.weights, self.pieces_before.get(usize::try_from(chunk.start).unwrap_or(usize::MAX))) {
            (WeightBuffer::Fetched, Some(before)) => (*before, 0),
            _ => (chunk.start * self.pieces_of_chunk, self.pieces_of_chunk),
        };
        match self.stage.weights {
            WeightBuffer::Resident { address } => {
                Address::at(address + (first + piece) * slot).step(0, of_chunk * slot).step(1, step * slot)
            }
            WeightBuffer::Fetched => {
                let of_block = match self.stage.tiling.order {
                    Order::Blocks => block.number * self.pieces,
                    Order::Channels => 0,
                };
                let number = self.first_piece + of_block + first + piece;
                let ring = Ring::new(emitter.buffers().weight_ring_slots, slot, number).step(0, of_chunk * slot).step(1, step * slot);
                Address { ring: Some(ring), ..Address::at(emitter.buffers().weight_ring_address) }
            }
        }
    }

    pub(super) fn input_free(&self, innermost: u32) -> Sync {
        Sync { semaphore: Semaphore(Shared::COUNT + 3 * self.tag.stage), innermost }
    }

    pub(super) fn output_free(&self, innermost: u32) -> Sync {
        Sync { semaphore: Semaphore(Shared::COUNT + 3 * self.tag.stage + 1), innermost }
    }

    /// What says that the output lies there which stays for a later stage.
    pub(super) fn held(&self, innermost: u32) -> Sync {
        Sync { semaphore: held(self.tag.stage), innermost }
    }
}
