//! A matrix product for the whole machine: operands and results in DRAM, moved by DMA through rings in the scratchpads and the accumulator.
//!
//! ```text
//! for block                         load engine: mvin what streams (all of K; panels of activations where sums stay)
//!   for tile of columns             load engine: mvin zeros (only where tiles are skipped); store engine: mvout sums
//!     for K tile                    load engine: mvin the tile that stays (the panel of weights where sums stay); array: preload
//!       for pass                    array: compute, or product
//! ```

use super::super::segments::{Segment, runs, segments, singles};
use super::super::{
    Address, Command, Compute, HostRegion, Image, Item, MemorySizes, Operation, Place, Preload, Product, Program, ProgramParts, Repeat,
    Semaphore, SemaphoreDecl, StageDecl, Sync, Tag, Transfer, UnitId, UnitKind, UnitQueue,
};
use super::fit::Fit;
use super::{Gemm, LayoutError, index, narrow};
use crate::chip::{Chip, Stationary};
use crate::counts::{Operand, StallReason};

/// DRAM addresses of tensors are multiples of this many bytes, a burst of the common memories.
const DRAM_ALIGNMENT: u64 = 64;

#[derive(Clone, Copy)]
enum Token {
    StreamFull,
    StreamFree,
    HeldFull,
    HeldFree,
    ZerosFull,
    SumsFree,
    SumsFull,
}

#[derive(Clone, Copy)]
enum Queue {
    Array,
    Load,
    Store,
}

/// The items of every queue at one level of the nest.
#[derive(Default)]
struct Units([Vec<Item>; 3]);

impl Units {
    fn push(&mut self, queue: Queue, wait: Vec<Sync>, operation: Operation, post: Vec<Sync>) {
        self.0[queue as usize].push(Item::Do(Command { tag: Tag { stage: 0, sample: 0 }, wait, operation, post }));
    }

    fn repeat(&mut self, trips: u64, body: Self) {
        for (items, body) in self.0.iter_mut().zip(body.0) {
            if !body.is_empty() {
                items.push(Item::Repeat(Repeat { trips, body }));
            }
        }
    }
}

/// Where tensors lie in DRAM.
#[derive(Debug, Clone, Copy)]
struct Tensors {
    streamed: u64,
    held: u64,
    sums: u64,
    zeros: u64,
}

struct Emitter<'g> {
    gemm: &'g Gemm,
    fit: Fit,
    tensors: Tensors,
    store: Queue,
    stream_place: Place,
    held_place: Place,
    /// Where tiles are skipped: the tiles that are loaded before each tile of columns in a block, and in a whole one; or before each block,
    /// where weights stream. Empty where none is skipped.
    loads_before: Vec<u64>,
}

impl Gemm {
    /// The program for the whole machine: operands and results in DRAM.
    ///
    /// # Errors
    /// If a memory is too small for the smallest piece, or the verifier refuses the program, which it never does.
    pub fn machine_program(&self, chip: &Chip) -> Result<Program, LayoutError> {
        let fit = Fit::of(self, chip)?;
        let (activations, weights, sums) = (self.layout.activation_bytes(), self.layout.weight_bytes(), self.layout.sums_bytes());
        let mut dram = 0;
        let mut reserve = |bytes: u64| {
            let address = dram;
            dram = (dram + bytes).next_multiple_of(DRAM_ALIGNMENT);
            address
        };
        let (activation, weight, output) = (reserve(activations), reserve(weights), reserve(sums));
        let skips = !self.zeros.is_empty();
        let zeros = if skips { reserve(fit.line_pitch) } else { 0 };
        let weights_stream = self.mode.stationary == Stationary::Input;
        let (streamed, held) = if weights_stream { (weight, activation) } else { (activation, weight) };
        let (stream_pad, held_pad) = self.pads();
        let emitter = Emitter {
            gemm: self,
            fit,
            tensors: Tensors { streamed, held, sums: output, zeros },
            store: if chip.dma().engines > 1 { Queue::Store } else { Queue::Load },
            stream_place: Place::Scratchpad(0, stream_pad),
            held_place: Place::Scratchpad(0, held_pad),
            loads_before: Vec::new(),
        };
        let emitter = emitter.counting_loads();
        let [array, load, store] = emitter.units().0;
        let unit = |kind, index| UnitId { core: 0, kind, index };
        let mut queues =
            vec![UnitQueue { unit: unit(UnitKind::Array, 0), items: array }, UnitQueue { unit: unit(UnitKind::Dma, 0), items: load }];
        if !store.is_empty() {
            queues.push(UnitQueue { unit: unit(UnitKind::Dma, 1), items: store });
        }
        let region = |address, bytes| HostRegion { place: Place::Dram, address, bytes };
        let images =
            if skips { vec![Image { place: Place::Dram, address: zeros, bytes: vec![0; index(fit.line_pitch)] }] } else { Vec::new() };
        let program = Program::new(ProgramParts {
            queues,
            semaphores: semaphores(&fit),
            output_stages: Vec::new(),
            vector_ops: Vec::new(),
            host_ops: Vec::new(),
            stages: vec![StageDecl { name: "gemm".to_string(), mode: 0 }],
            images,
            inputs: vec![region(activation, activations), region(weight, weights)],
            output: region(output, sums),
            coded_values: Vec::new(),
            memories: MemorySizes {
                dram,
                scratchpads: chip.scratchpads().iter().map(|pad| pad.capacity.get()).collect(),
                accumulator: chip.accumulator().capacity.get(),
            },
            accumulator_element_bytes: self.layout.element(),
            modes: vec![self.mode],
            array_only: false,
        })?;
        Ok(program)
    }

    /// The same product in passes no longer than the blocks that fit `chip`'s memories.
    ///
    /// # Errors
    /// If a memory is too small for the smallest piece.
    pub fn in_blocks_of(mut self, chip: &Chip) -> Result<Self, LayoutError> {
        self.layout = self.layout.in_blocks(Fit::of(&self, chip)?.block);
        Ok(self)
    }

    /// The scratchpads of what streams and of what stays (panels of activations and of weights where sums stay).
    pub(super) fn pads(&self) -> (u32, u32) {
        if self.mode.stationary == Stationary::Input {
            (self.weight_place, self.activation_place)
        } else {
            (self.activation_place, self.weight_place)
        }
    }

    pub(super) fn sums_stay(&self) -> bool {
        self.mode.stationary == Stationary::Output
    }

    /// Rows that a loop over blocks covers: vectors that stream, or rows of activations.
    pub(super) fn outer(&self) -> u64 {
        if self.sums_stay() { self.layout.m() } else { self.layout.streamed() }
    }

    /// The most vectors of a pass, or the rows of one.
    pub(super) fn pass(&self) -> u64 {
        if self.sums_stay() { self.layout.rows_tile() } else { self.layout.block() }
    }
}

fn semaphores(fit: &Fit) -> Vec<SemaphoreDecl> {
    let decl = |name: &str, tokens: u64, reason| SemaphoreDecl { name: name.to_string(), tokens: narrow(tokens), reason };
    vec![
        decl("stream_full", 0, StallReason::InputNotReady),
        decl("stream_free", fit.stream.slots, StallReason::BufferFull),
        decl("held_full", 0, StallReason::WeightsNotReady),
        decl("held_free", fit.held.slots, StallReason::BufferFull),
        decl("zeros_full", 0, StallReason::BiasNotReady),
        decl("sums_free", fit.sums.slots, StallReason::BufferFull),
        decl("sums_full", 0, StallReason::ResultNotReady),
    ]
}

fn sync(token: Token, innermost: u32) -> Sync {
    Sync { semaphore: Semaphore(token as u32), innermost }
}

impl Emitter<'_> {
    fn units(&self) -> Units {
        let mut units = Units::default();
        let (outer, block) = (self.gemm.outer(), self.fit.block);
        // Only where weights stream are tiles of theirs a matter of blocks.
        let weights_stream = self.gemm.mode.stationary == Stationary::Input;
        for blocks in if weights_stream { self.gemm.pieces(outer, block) } else { segments(outer, block) } {
            let mut body = Units::default();
            self.block(blocks, &mut body);
            units.repeat(blocks.trips, body);
        }
        units
    }

    /// What streams for one block, then its tiles of columns.
    fn block(&self, blocks: Segment, units: &mut Units) {
        let Self { fit, gemm, tensors, .. } = self;
        let layout = &gemm.layout;
        let local = fit.stream.at(blocks.start, &[1]);
        let operand = if gemm.mode.stationary == Stationary::Input { Operand::Weight } else { Operand::Input };
        let transfer = |dram: Address, local: Address, stride: (u64, u64), rows: u64, row_bytes: u64, last: bool| {
            let transfer = Transfer {
                operand,
                dram,
                dram_stride: stride.0,
                place: self.stream_place,
                local,
                local_stride: stride.1,
                rows,
                row_bytes,
                coded: None,
                owns_gaps: false,
            };
            let post = if last { vec![sync(Token::StreamFull, 0)] } else { Vec::new() };
            (Operation::Mvin(transfer), post)
        };
        if gemm.sums_stay() {
            // Panel after panel; the last one tells that the block is there.
            let (steps, _) = gemm.mode.activation_steps(layout.k());
            let (panel, tiles) = (layout.activation_panel_stride(), self.fit.block / layout.rows_tile());
            for rows in segments(blocks.size, layout.rows_tile()).into_iter().flat_map(singles) {
                let bytes = gemm.mode.activation_step_bytes(rows.size);
                let dram = Address::at(tensors.streamed + (blocks.start * tiles + rows.start) * panel).step(0, tiles * panel);
                let slot = self.fit.stream.slot / tiles.max(1);
                let stride = (layout.activation_step_stride(), fit.stream_pitch);
                let (mvin, post) = transfer(dram, local.clone().skip(rows.start * slot), stride, steps, bytes, rows.last);
                let wait = if rows.first { vec![sync(Token::StreamFree, 0)] } else { Vec::new() };
                units.push(Queue::Load, wait, mvin, post);
            }
        } else {
            let vector = layout.vector_stride();
            let dram = Address::at(tensors.streamed + blocks.start * fit.block * vector).step(0, fit.block * vector);
            // Where weights stream, slices of K that are all zero are not moved: the others, run after run.
            let slice = layout.slice_stride();
            let parts: Vec<(u64, u64)> = if self.skips() && gemm.mode.stationary == Stationary::Input {
                let bytes = |k: &Segment| (k.trips - 1) * slice + gemm.mode.vector_bytes(k.size);
                self.k_tiles(blocks, blocks).iter().map(|(_, k)| (k.start * slice, bytes(k))).collect()
            } else {
                vec![(0, vector)]
            };
            let count = parts.len();
            for (number, (first, bytes)) in parts.into_iter().enumerate() {
                let from = (dram.clone().skip(first), local.clone().skip(first));
                let (mvin, post) = transfer(from.0, from.1, (vector, fit.stream_pitch), blocks.size, bytes, number + 1 == count);
                let wait = if number == 0 { vec![sync(Token::StreamFree, 0)] } else { Vec::new() };
                units.push(Queue::Load, wait, mvin, post);
            }
            if count == 0 {
                let (wait, post) = (vec![sync(Token::StreamFree, 0)], vec![sync(Token::StreamFull, 0)]);
                units.push(Queue::Load, wait, Operation::Fence, post);
            }
        }
        let held = if gemm.sums_stay() { layout.n() } else { layout.held() };
        for cols in gemm.pieces(held, layout.cols_tile()) {
            let mut body = Units::default();
            self.columns(blocks, cols, &mut body);
            units.repeat(cols.trips, body);
        }
    }

    /// One tile of columns of a block: zeros where they are needed, its K tiles, and its sums' way out.
    fn columns(&self, blocks: Segment, cols: Segment, units: &mut Units) {
        let Self { fit, gemm, tensors, .. } = self;
        let layout = &gemm.layout;
        let sums = self.sums_slot(blocks, cols);
        let lines = fit.sums.slot / fit.line_pitch;
        if self.skips() {
            let zeros = Transfer {
                operand: Operand::Weight,
                dram: Address::at(tensors.zeros),
                dram_stride: 0,
                place: Place::Accumulator(0),
                local: sums.clone(),
                local_stride: fit.line_pitch,
                rows: lines,
                row_bytes: fit.line_pitch,
                coded: None,
                owns_gaps: false,
            };
            units.push(Queue::Load, vec![sync(Token::SumsFree, 0)], Operation::Mvin(zeros), vec![sync(Token::ZerosFull, 0)]);
        }
        let k_tiles = self.k_tiles(blocks, cols);
        for (before, k) in &k_tiles {
            let mut body = Units::default();
            self.k_tile([blocks, cols, *k], *before, &mut body);
            units.repeat(k.trips, body);
        }
        if k_tiles.is_empty() {
            // Nothing to compute: the zeros are the sums. What streams is still waited for and let go, in the order of the others.
            let mut wait = vec![sync(Token::ZerosFull, 0)];
            let mut post = vec![sync(Token::SumsFull, 0)];
            wait.extend(cols.first.then_some(sync(Token::StreamFull, 1)));
            post.extend(cols.last.then_some(sync(Token::StreamFree, 1)));
            units.push(Queue::Array, wait, Operation::Fence, post);
        }
        let out = |dram: Address, local: Address, dram_stride, rows, row_bytes| {
            Operation::Mvout(Transfer {
                operand: Operand::Output,
                dram,
                dram_stride,
                place: Place::Accumulator(0),
                local,
                local_stride: fit.line_pitch,
                rows,
                row_bytes,
                coded: None,
                owns_gaps: false,
            })
        };
        let (element, line) = (layout.element(), layout.line_stride());
        let over_cols = layout.cols_tile() * if gemm.mode.drains_columns { line } else { element };
        let over_rows = if gemm.mode.drains_columns { element } else { line };
        let base = tensors.sums + blocks.start * fit.block * over_rows + cols.start * over_cols;
        let dram = Address::at(base).step(0, fit.block * over_rows).step(1, over_cols);
        if gemm.mode.drains_columns {
            // Each row tile's sums lie by columns: a transfer each.
            for rows in segments(blocks.size, layout.rows_tile()).into_iter().flat_map(singles) {
                let local = sums.clone().skip(rows.start * layout.cols_tile() * fit.line_pitch);
                let dram = dram.clone().skip(rows.start * layout.rows_tile() * element);
                let wait = if rows.first { vec![sync(Token::SumsFull, 0)] } else { Vec::new() };
                let post = if rows.last { vec![sync(Token::SumsFree, 0)] } else { Vec::new() };
                units.push(self.store, wait, out(dram, local, line, cols.size, rows.size * element), post);
            }
        } else {
            let mvout = out(dram, sums, line, blocks.size, cols.size * element);
            units.push(self.store, vec![sync(Token::SumsFull, 0)], mvout, vec![sync(Token::SumsFree, 0)]);
        }
    }

    /// Whether tiles may be skipped.
    fn skips(&self) -> bool {
        !self.gemm.zeros.is_empty()
    }

    /// Counts what is loaded before each tile of columns, or each block.
    fn counting_loads(mut self) -> Self {
        if self.skips() {
            let weights_stream = self.gemm.mode.stationary == Stationary::Input;
            let (size, tile) = if weights_stream {
                (self.gemm.outer(), self.fit.block)
            } else {
                (self.col_tiles() * self.gemm.layout.cols_tile(), self.gemm.layout.cols_tile())
            };
            let mut before = 0;
            self.loads_before.push(0);
            for piece in segments(size, tile).into_iter().flat_map(singles) {
                before += self.k_tiles(piece, piece).iter().map(|(_, k)| k.trips).sum::<u64>()
                    * if weights_stream { self.col_tiles() } else { 1 };
                self.loads_before.push(before);
            }
        }
        self
    }

    /// The K tiles that are computed, in loops, each with how many stand before it; the first by itself where its sums take the place of what
    /// was there before.
    fn k_tiles(&self, blocks: Segment, cols: Segment) -> Vec<(u64, Segment)> {
        let gemm = self.gemm;
        let tiles = segments(gemm.layout.k(), gemm.layout.k_tile());
        if !self.skips() {
            let (first, rest) = tiles[0].split_first();
            return std::iter::once(first).chain(rest).chain(tiles.into_iter().skip(1)).map(|k| (k.start, k)).collect();
        }
        let (tile, width) =
            if gemm.mode.stationary == Stationary::Input { (blocks.start, self.fit.block) } else { (cols.start, gemm.layout.cols_tile()) };
        runs(tiles, |k| !gemm.is_skipped(k, tile, width))
    }

    /// The sums of a tile of columns of a block.
    fn sums_slot(&self, blocks: Segment, cols: Segment) -> Address {
        let tiles = self.col_tiles();
        self.fit.sums.at(blocks.start * tiles + cols.start, &[tiles, 1])
    }

    fn col_tiles(&self) -> u64 {
        let layout = &self.gemm.layout;
        let held = if self.gemm.sums_stay() { layout.n() } else { layout.held() };
        held.div_ceil(layout.cols_tile())
    }

    /// One K tile (all of K where sums stay): what stays, then its passes.
    fn k_tile(&self, nest: [Segment; 3], kept_before: u64, units: &mut Units) {
        let [blocks, cols, k] = nest;
        let Self { fit, gemm, tensors, .. } = self;
        let layout = &gemm.layout;
        let sums_stay = gemm.sums_stay();
        let operand = if gemm.mode.stationary == Stationary::Input { Operand::Input } else { Operand::Weight };
        let (step, over_k, over_cols, steps, bytes) = if sums_stay {
            (layout.weight_step_stride(), 0, layout.weight_panel_stride(), gemm.mode.steps(k.size), gemm.mode.weight_step_bytes(cols.size))
        } else {
            let bytes = gemm.mode.tile_row_bytes(cols.size);
            (layout.held_step_stride(), layout.held_tile_stride(), layout.held_cols_stride(), gemm.mode.steps(k.size), bytes)
        };
        let local = self.held_slot(nest, kept_before);
        let mvin = Transfer {
            operand,
            dram: Address::at(tensors.held + cols.start * over_cols + k.start * over_k).step(1, over_cols).step(2, over_k),
            dram_stride: step,
            place: self.held_place,
            local: local.clone(),
            local_stride: fit.held_pitch,
            rows: steps,
            row_bytes: bytes,
            coded: None,
            owns_gaps: false,
        };
        units.push(Queue::Load, vec![sync(Token::HeldFree, 0)], Operation::Mvin(mvin), vec![sync(Token::HeldFull, 0)]);
        if !sums_stay {
            let preload = Preload {
                place: self.held_place,
                address: local.clone(),
                stride: fit.held_pitch,
                inner: narrow(k.size),
                cols: narrow(cols.size),
                zero_point: 0,
                window: None,
            };
            units.push(Queue::Array, vec![sync(Token::HeldFull, 0)], Operation::Preload(preload), vec![sync(Token::HeldFree, 0)]);
        }
        for passes in segments(blocks.size, gemm.pass().min(fit.block)) {
            let mut body = Units::default();
            self.pass([blocks, cols, k, passes], &local, &mut body);
            units.repeat(passes.trips, body);
        }
    }

    /// The slot of a tile that `kept_before` others of its tile of columns stand before: tiles go round in the order in which they are loaded.
    fn held_slot(&self, [blocks, cols, k]: [Segment; 3], kept_before: u64) -> Address {
        let k_tiles = self.gemm.layout.k_tiles();
        if !self.skips() {
            let number = (blocks.start * self.col_tiles() + cols.start) * k_tiles + k.start;
            return self.fit.held.at(number, &[self.col_tiles() * k_tiles, k_tiles, 1]);
        }
        // Tiles that are skipped take no slot.
        if self.gemm.mode.stationary == Stationary::Input {
            let (before, after) = (self.loads_before[index(blocks.start)], self.loads_before[index(blocks.start + 1)]);
            let of_cols = (after - before) / self.col_tiles();
            return self.fit.held.at(before + cols.start * of_cols + kept_before, &[0, 0, 1]);
        }
        let of_block = self.loads_before.last().copied().unwrap_or(0);
        self.fit.held.at(blocks.start * of_block + self.loads_before[index(cols.start)] + kept_before, &[of_block, 0, 1])
    }

    fn pass(&self, [blocks, cols, k, passes]: [Segment; 4], held: &Address, units: &mut Units) {
        let Self { fit, gemm, .. } = self;
        let layout = &gemm.layout;
        let (first, last) = (k.first && passes.first, k.last && passes.last);
        let (mut wait, mut post) = (Vec::new(), Vec::new());
        let sums_stay = gemm.sums_stay();
        if first {
            wait.extend(cols.first.then_some(sync(Token::StreamFull, 3)));
            wait.push(sync(if self.skips() { Token::ZerosFull } else { Token::SumsFree }, 2));
        }
        if last {
            post.push(sync(Token::SumsFull, 2));
            post.extend(cols.last.then_some(sync(Token::StreamFree, 3)));
        }
        if sums_stay {
            wait.extend(passes.first.then_some(sync(Token::HeldFull, 1)));
            post.extend(passes.last.then_some(sync(Token::HeldFree, 1)));
        }
        let stream = fit.stream.at(blocks.start, &[1]);
        let sums = self.sums_slot(blocks, cols);
        let each = gemm.pass().min(fit.block);
        let operation = if sums_stay {
            let tiles = fit.block.div_ceil(layout.rows_tile());
            let (panel, set) = (fit.stream.slot / tiles, fit.sums.slot / tiles);
            Operation::Product(Product {
                activation_place: self.stream_place,
                activation: stream.skip(passes.start * panel).step(3, panel),
                activation_stride: fit.stream_pitch,
                weight_place: self.held_place,
                weight: held.clone(),
                weight_stride: fit.held_pitch,
                inner: narrow(k.size),
                rows: narrow(passes.size),
                cols: narrow(cols.size),
                zero_point: 0,
                window: None,
                result: sums.skip(passes.start * set).step(3, set),
                result_stride: fit.line_pitch,
                accumulate: false,
            })
        } else {
            Operation::Compute(Compute {
                place: self.stream_place,
                stream: stream
                    .skip(k.start * layout.slice_stride() + passes.start * each * fit.stream_pitch)
                    .step(2, layout.slice_stride())
                    .step(3, each * fit.stream_pitch),
                stream_stride: fit.stream_pitch,
                vectors: narrow(passes.size),
                inner: narrow(k.size),
                cols: narrow(cols.size),
                zero_point: 0,
                window: None,
                result: sums.skip(passes.start * each * fit.line_pitch).step(3, each * fit.line_pitch),
                result_stride: fit.line_pitch,
                accumulate: !k.first || self.skips(),
            })
        };
        units.push(Queue::Array, wait, operation, post);
    }
}
