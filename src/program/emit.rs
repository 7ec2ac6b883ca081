//! Lowers a mapping to commands: one walk over each stage's loop nest, which writes into every unit's queue at once.
//!
//! The nest of a stage, and what each unit does at each level:
//!
//! ```text
//! for block of vectors            store engine: mvin input (where it is fetched)
//!   for column tile               load engine:  mvin bias into the accumulator; vector: requantize; store engine: mvout
//!     for K tile                  load engine:  mvin weights (where they are fetched); array: preload
//!       for pass                  array: compute
//! ```
//!
//! Loops over a partial last piece are written as two loops, so that every size is a constant and every address affine.

use super::segments::{Segment, segments};
use super::{
    Address, ArrayMode, Command, Compute, HostRegion, Image, Item, MemorySizes, Operation, Place, Preload, Program, ProgramError,
    ProgramParts, Repeat, Requantize, Ring, Semaphore, SemaphoreDecl, Sync, Tag, Transfer, UnitId, UnitKind, UnitQueue,
};
use crate::chip::Chip;
use crate::counts::{Operand, StallReason};
use crate::mapping::{Buffers, InputBuffer, Mapping, OutputBuffer, Stage, WeightBuffer};
use crate::network::{Activation, Bias, Dense, Network, Op, Weight};
use crate::numerics::{LayerClass, OutputStage, Quantization};
use ndarray::{Array1, Array2, s};

/// DRAM addresses of tensors are multiples of this many bytes, a burst of the common memories.
const DRAM_ALIGNMENT: u64 = 64;

/// Emits and verifies the program of one batch.
///
/// # Errors
/// What the verifier refuses, which a mapping made for this chip and network never is.
///
/// # Panics
/// If the mapping is that of another network.
pub fn emit(network: &Network, mapping: &Mapping, chip: &Chip) -> Result<Program, ProgramError> {
    let stages = mapping.stages();
    let first = &stages[0].problem;
    let format = chip.format(first.weight, first.activation).expect("bug: lower refuses formats that the chip has not");
    let mut emitter = Emitter::new(chip, mapping, ArrayMode::new(chip, format, &chip.array().dataflows[0]));
    let input = emitter.reserve(first.vectors() * first.reduction());
    let mut source = input;
    for (number, stage) in stages.iter().enumerate() {
        let layer = network.layer(stage.layers[0]);
        let Op::Dense(dense) = &layer.op else { unreachable!("bug: a stage is named after an array layer") };
        let read = network.layer(network.inputs(layer.id)[0]).output.quantization.expect("bug: lower refuses what is not quantized");
        let wrote = layer.output.quantization.expect("bug: lower refuses what is not quantized");
        let target = match stage.output {
            OutputBuffer::Stored { .. } => emitter.reserve(stage.problem.vectors() * stage.problem.channels()),
            OutputBuffer::Kept { .. } => source,
        };
        emitter.stage(stage, dense, &read, &wrote, Endpoints { number, source: source.address, target: target.address });
        source = target;
    }
    let core_unit = |kind, index| UnitId { core: 0, kind, index };
    let [array, vector, load, store] = emitter.units.0;
    let mut queues = vec![
        UnitQueue { unit: core_unit(UnitKind::Array, 0), items: array },
        UnitQueue { unit: core_unit(UnitKind::Vector, 0), items: vector },
        UnitQueue { unit: core_unit(UnitKind::Dma, 0), items: load },
    ];
    if emitter.store == Queue::Store {
        queues.push(UnitQueue { unit: core_unit(UnitKind::Dma, 1), items: store });
    }
    Program::new(ProgramParts {
        queues,
        semaphores: semaphores(mapping),
        output_stages: emitter.output_stages,
        stages: stages.iter().map(|stage| stage.name.clone()).collect(),
        images: emitter.images,
        inputs: vec![input],
        output: source,
        memories: MemorySizes {
            dram: emitter.dram,
            scratchpads: chip.scratchpads().iter().map(|pad| pad.capacity.get()).collect(),
            accumulator: chip.accumulator().capacity.get(),
        },
        accumulator_element_bytes: mapping.buffers().accumulator_element_bytes,
        array: emitter.mode,
        array_only: false,
    })
}

/// The semaphores that all stages share, by their place in the program's list; two more for each stage follow them.
#[derive(Clone, Copy)]
enum Shared {
    WeightFull,
    WeightFree,
    BiasFull,
    SumsFree,
    SumsFull,
    InputFull,
    KeptFull,
    OutputFull,
}

impl Shared {
    const COUNT: u32 = 8;
}

fn semaphores(mapping: &Mapping) -> Vec<SemaphoreDecl> {
    let decl = |name: String, tokens: u64, reason| SemaphoreDecl { name, tokens: index(tokens), reason };
    let buffers = mapping.buffers();
    let mut all = vec![
        decl("weight_full".to_string(), 0, StallReason::WeightsNotReady),
        decl("weight_free".to_string(), buffers.weight_ring_slots, StallReason::BufferFull),
        decl("bias_full".to_string(), 0, StallReason::BiasNotReady),
        decl("sums_free".to_string(), buffers.accumulator_slots, StallReason::BufferFull),
        decl("sums_full".to_string(), 0, StallReason::ResultNotReady),
        decl("input_full".to_string(), 0, StallReason::InputNotReady),
        decl("kept_full".to_string(), 0, StallReason::InputNotReady),
        decl("output_full".to_string(), 0, StallReason::ResultNotReady),
    ];
    for (number, stage) in mapping.stages().iter().enumerate() {
        let input = if let InputBuffer::Fetched { slots, .. } = stage.input { slots } else { 0 };
        let output = if let OutputBuffer::Stored { slots, .. } = stage.output { slots } else { 0 };
        all.push(decl(format!("input_free_{number}"), input, StallReason::BufferFull));
        all.push(decl(format!("output_free_{number}"), output, StallReason::BufferFull));
    }
    all
}

/// The queues that a nest writes into. With one DMA engine, loads and stores share its queue.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Queue {
    Array,
    Vector,
    Load,
    Store,
}

/// The items of every queue at one level of a nest.
#[derive(Default)]
struct Units([Vec<Item>; 4]);

impl Units {
    fn push(&mut self, queue: Queue, command: Command) {
        self.0[queue as usize].push(Item::Do(command));
    }

    /// Appends `body`, repeated, to every queue that it has anything for.
    fn repeat(&mut self, trips: u64, body: Self) {
        for (items, body) in self.0.iter_mut().zip(body.0) {
            if !body.is_empty() {
                items.push(Item::Repeat(Repeat { trips, body }));
            }
        }
    }
}

/// Where a stage's input comes from and its output goes, in DRAM.
#[derive(Clone, Copy)]
struct Endpoints {
    number: usize,
    source: u64,
    target: u64,
}

/// The constants of one stage, ready for the innermost loops.
struct StagePlan<'s> {
    stage: &'s Stage,
    tag: Tag,
    ends: Endpoints,
    zero_point: i32,
    output_stage: u32,
    weight_image: u64,
    bias_image: u64,
    /// Column tiles and K tiles.
    col_tiles: u64,
    k_tiles: u64,
    /// Bytes from a vector to the next in the input buffer and in the output buffer.
    input_pitch: u64,
    output_pitch: u64,
    /// Weight tiles and accumulator blocks that went through the rings before this stage.
    first_tile: u64,
    first_block: u64,
}

struct Emitter<'c> {
    chip: &'c Chip,
    mapping: &'c Mapping,
    mode: ArrayMode,
    weight_place: Place,
    activation_place: Place,
    store: Queue,
    /// Bytes of DRAM given out so far.
    dram: u64,
    images: Vec<Image>,
    output_stages: Vec<OutputStage>,
    weight_tiles: u64,
    blocks: u64,
    units: Units,
}

impl<'c> Emitter<'c> {
    fn new(chip: &'c Chip, mapping: &'c Mapping, mode: ArrayMode) -> Self {
        let roles = chip.scratchpad_roles();
        Self {
            chip,
            mapping,
            mode,
            weight_place: Place::Scratchpad(0, index(roles.weight)),
            activation_place: Place::Scratchpad(0, index(roles.activation)),
            store: if chip.dma().engines > 1 { Queue::Store } else { Queue::Load },
            dram: 0,
            images: Vec::new(),
            output_stages: Vec::new(),
            weight_tiles: 0,
            blocks: 0,
            units: Units::default(),
        }
    }

    fn buffers(&self) -> &'c Buffers {
        self.mapping.buffers()
    }

    fn reserve(&mut self, bytes: u64) -> HostRegion {
        let region = HostRegion { place: Place::Dram, address: self.dram, bytes };
        // Tensors start on a burst's boundary, as an allocator would place them.
        self.dram = (self.dram + bytes).next_multiple_of(DRAM_ALIGNMENT);
        region
    }

    fn image(&mut self, place: Place, bytes: Vec<u8>) -> u64 {
        let region = self.reserve(bytes.len() as u64);
        self.images.push(Image { place, address: region.address, bytes });
        region.address
    }

    fn stage(&mut self, stage: &Stage, dense: &Dense, read: &Quantization, wrote: &Quantization, ends: Endpoints) {
        let problem = &stage.problem;
        let (rows, cols) = (u64::from(self.chip.array().rows), u64::from(self.chip.array().cols));
        let buffers = self.buffers();
        let Weight::Integer { values, scales, .. } = &dense.weight else { unreachable!("bug: lower refuses float weights") };
        let weight_image = match stage.weights {
            WeightBuffer::Fetched => self.image(Place::Dram, weight_bytes(values, cols)),
            WeightBuffer::Resident { address } => {
                let bytes = resident_weight_bytes(values, rows, cols, buffers);
                self.images.push(Image { place: self.weight_place, address, bytes });
                0
            }
        };
        let bias_image = self.image(Place::Dram, bias_bytes(dense, buffers.accumulator_element_bytes));
        let rectified = dense.activation == Activation::Relu;
        self.output_stages.push(OutputStage::new(self.chip.vector().requantize, LayerClass::Dense, read.scale, scales, wrote, rectified));
        let (col_tiles, k_tiles) = (problem.channels().div_ceil(cols), problem.reduction().div_ceil(rows));
        let plan = StagePlan {
            stage,
            tag: Tag { stage: index(ends.number), sample: 0 },
            ends,
            zero_point: read.zero_point,
            output_stage: index(self.output_stages.len() - 1),
            weight_image,
            bias_image,
            col_tiles,
            k_tiles,
            input_pitch: buffers.activation_pitch(problem.reduction()),
            output_pitch: match stage.output {
                OutputBuffer::Stored { .. } => buffers.activation_pitch(problem.channels().min(cols)),
                OutputBuffer::Kept { .. } => buffers.activation_pitch(problem.channels()),
            },
            first_tile: self.weight_tiles,
            first_block: self.blocks,
        };
        for blocks in segments(problem.vectors(), stage.vector_tile()) {
            let mut body = Units::default();
            self.block(&plan, blocks, &mut body);
            self.units.repeat(blocks.trips, body);
        }
        let passes_over_weights = problem.vectors().div_ceil(stage.vector_tile());
        if stage.weights == WeightBuffer::Fetched {
            self.weight_tiles += passes_over_weights * col_tiles * k_tiles;
        }
        self.blocks += passes_over_weights * col_tiles;
    }

    /// One block of vectors: its input, then its column tiles.
    fn block(&self, plan: &StagePlan<'_>, blocks: Segment, units: &mut Units) {
        let problem = &plan.stage.problem;
        let tile = plan.stage.vector_tile();
        if let InputBuffer::Fetched { .. } = plan.stage.input {
            let row = problem.reduction();
            let transfer = Transfer {
                operand: Operand::Input,
                dram: Address::at(plan.ends.source).skip(blocks.start * tile * row).step(0, tile * row),
                dram_stride: row,
                place: self.activation_place,
                local: Self::input_address(plan, blocks),
                local_stride: plan.input_pitch,
                rows: blocks.size,
                row_bytes: row,
            };
            let wait = vec![sync(plan.input_free(), 0)];
            units.push(self.store, command(plan, wait, Operation::Mvin(transfer), vec![sync(shared(Shared::InputFull), 0)]));
        }
        let cols = u64::from(self.chip.array().cols);
        for columns in segments(problem.channels(), cols) {
            let mut body = Units::default();
            self.column_tile(plan, blocks, columns, &mut body);
            units.repeat(columns.trips, body);
        }
    }

    /// One column tile of a block: its bias, its K tiles, its results.
    fn column_tile(&self, plan: &StagePlan<'_>, blocks: Segment, columns: Segment, units: &mut Units) {
        let problem = &plan.stage.problem;
        let (rows, cols) = (u64::from(self.chip.array().rows), u64::from(self.chip.array().cols));
        let buffers = self.buffers();
        let element = buffers.accumulator_element_bytes;
        let bias = Transfer {
            operand: Operand::Weight,
            dram: Address::at(plan.bias_image).skip(columns.start * cols * element).step(1, cols * element),
            dram_stride: 0,
            place: Place::Accumulator(0),
            local: self.sums_address(plan, blocks, columns),
            local_stride: buffers.accumulator_pitch,
            rows: blocks.size,
            row_bytes: columns.size * element,
        };
        let wait = vec![sync(shared(Shared::SumsFree), 0)];
        units.push(Queue::Load, command(plan, wait, Operation::Mvin(bias), vec![sync(shared(Shared::BiasFull), 0)]));
        for k in segments(problem.reduction(), rows) {
            let mut body = Units::default();
            self.k_tile(plan, [blocks, columns, k], &mut body);
            units.repeat(k.trips, body);
        }
        self.results(plan, blocks, columns, units);
    }

    /// The results of a column tile: requantized, and stored where they do not stay.
    fn results(&self, plan: &StagePlan<'_>, blocks: Segment, columns: Segment, units: &mut Units) {
        let problem = &plan.stage.problem;
        let (tile, cols) = (plan.stage.vector_tile(), u64::from(self.chip.array().cols));
        let number = blocks.start * plan.col_tiles + columns.start;
        let mut wait = vec![sync(shared(Shared::SumsFull), 0)];
        let mut post = vec![sync(shared(Shared::SumsFree), 0)];
        let result = match plan.stage.output {
            OutputBuffer::Stored { address, slots } => {
                wait.push(sync(plan.output_free(), 0));
                post.push(sync(shared(Shared::OutputFull), 0));
                let slot = tile * plan.output_pitch;
                Address { ring: Some(Ring::new(slots, slot, number).step(0, plan.col_tiles * slot).step(1, slot)), ..Address::at(address) }
            }
            OutputBuffer::Kept { address } => {
                if blocks.last && columns.last {
                    post.push(sync(shared(Shared::KeptFull), 2));
                }
                Address::at(address).skip(columns.start * cols).step(1, cols)
            }
        };
        let requantize = Requantize {
            sums: self.sums_address(plan, blocks, columns),
            sums_stride: self.buffers().accumulator_pitch,
            place: self.activation_place,
            result: result.clone(),
            result_stride: plan.output_pitch,
            rows: index(blocks.size),
            cols: index(columns.size),
            stage: plan.output_stage,
            channel: Address::at(0).skip(columns.start * cols).step(1, cols),
        };
        units.push(Queue::Vector, command(plan, wait, Operation::Requantize(requantize), post));
        if let OutputBuffer::Stored { .. } = plan.stage.output {
            let row = problem.channels();
            let transfer = Transfer {
                operand: Operand::Output,
                dram: Address::at(plan.ends.target)
                    .skip(blocks.start * tile * row + columns.start * cols)
                    .step(0, tile * row)
                    .step(1, cols),
                dram_stride: row,
                place: self.activation_place,
                local: result,
                local_stride: plan.output_pitch,
                rows: blocks.size,
                row_bytes: columns.size,
            };
            let wait = vec![sync(shared(Shared::OutputFull), 0)];
            units.push(self.store, command(plan, wait, Operation::Mvout(transfer), vec![sync(plan.output_free(), 0)]));
        }
    }

    /// One K tile: its weights, then its passes.
    fn k_tile(&self, plan: &StagePlan<'_>, [blocks, columns, k]: [Segment; 3], units: &mut Units) {
        let (rows, cols) = (u64::from(self.chip.array().rows), u64::from(self.chip.array().cols));
        let buffers = self.buffers();
        let slot = buffers.weight_slot_bytes;
        let within_stage = columns.start * plan.k_tiles + k.start;
        let (mut wait, mut post) = (Vec::new(), Vec::new());
        let address = match plan.stage.weights {
            WeightBuffer::Resident { address } => Address::at(address).skip(within_stage * slot).step(1, plan.k_tiles * slot).step(2, slot),
            WeightBuffer::Fetched => {
                wait.push(sync(shared(Shared::WeightFull), 0));
                post.push(sync(shared(Shared::WeightFree), 0));
                let over_block = plan.col_tiles * plan.k_tiles * slot;
                let number = plan.first_tile + blocks.start * plan.col_tiles * plan.k_tiles + within_stage;
                let ring =
                    Ring::new(buffers.weight_ring_slots, slot, number).step(0, over_block).step(1, plan.k_tiles * slot).step(2, slot);
                Address { ring: Some(ring), ..Address::at(buffers.weight_ring_address) }
            }
        };
        if plan.stage.weights == WeightBuffer::Fetched {
            let column_bytes = plan.stage.problem.reduction() * cols;
            let transfer = Transfer {
                operand: Operand::Weight,
                dram: Address::at(plan.weight_image)
                    .skip(columns.start * column_bytes + k.start * rows * columns.size)
                    .step(1, column_bytes)
                    .step(2, rows * columns.size),
                dram_stride: columns.size,
                place: self.weight_place,
                local: address.clone(),
                local_stride: buffers.weight_pitch,
                rows: k.size,
                row_bytes: columns.size,
            };
            let wait = vec![sync(shared(Shared::WeightFree), 0)];
            units.push(Queue::Load, command(plan, wait, Operation::Mvin(transfer), vec![sync(shared(Shared::WeightFull), 0)]));
        }
        let preload = Preload {
            place: self.weight_place,
            address,
            stride: buffers.weight_pitch,
            inner: index(k.size),
            cols: index(columns.size),
            zero_point: 0,
        };
        units.push(Queue::Array, command(plan, wait, Operation::Preload(preload), post));
        for passes in segments(blocks.size, plan.stage.pass_vectors()) {
            let mut body = Units::default();
            self.pass(plan, [blocks, columns, k, passes], &mut body);
            units.repeat(passes.trips, body);
        }
    }

    fn pass(&self, plan: &StagePlan<'_>, [blocks, columns, k, passes]: [Segment; 4], units: &mut Units) {
        let rows = u64::from(self.chip.array().rows);
        let vectors = plan.stage.pass_vectors();
        let pitch = self.buffers().accumulator_pitch;
        let (first, last) = (k.first && passes.first, k.last && passes.last);
        let (mut wait, mut post) = (Vec::new(), Vec::new());
        if first && columns.first {
            let full = if matches!(plan.stage.input, InputBuffer::Kept { .. }) { Shared::KeptFull } else { Shared::InputFull };
            wait.push(sync(shared(full), 3));
        }
        if first {
            wait.push(sync(shared(Shared::BiasFull), 2));
        }
        if last {
            post.push(sync(shared(Shared::SumsFull), 2));
            if columns.last && matches!(plan.stage.input, InputBuffer::Fetched { .. }) {
                post.push(sync(plan.input_free(), 3));
            }
        }
        let compute = Compute {
            place: self.activation_place,
            stream: Self::input_address(plan, blocks)
                .skip(k.start * rows + passes.start * vectors * plan.input_pitch)
                .step(2, rows)
                .step(3, vectors * plan.input_pitch),
            stream_stride: plan.input_pitch,
            vectors: index(passes.size),
            inner: index(k.size),
            cols: index(columns.size),
            zero_point: plan.zero_point,
            result: self.sums_address(plan, blocks, columns).skip(passes.start * vectors * pitch).step(3, vectors * pitch),
            result_stride: pitch,
            // The accumulator is preset to the bias.
            accumulate: true,
        };
        units.push(Queue::Array, command(plan, wait, Operation::Compute(compute), post));
    }

    /// The block's first vector in the input buffer.
    fn input_address(plan: &StagePlan<'_>, blocks: Segment) -> Address {
        let slot = plan.stage.vector_tile() * plan.input_pitch;
        match plan.stage.input {
            InputBuffer::Kept { address } => Address::at(address),
            InputBuffer::Fetched { address, slots } => {
                Address { ring: Some(Ring::new(slots, slot, blocks.start).step(0, slot)), ..Address::at(address) }
            }
        }
    }

    /// The first vector's sums of a column tile of a block in the accumulator's ring.
    fn sums_address(&self, plan: &StagePlan<'_>, blocks: Segment, columns: Segment) -> Address {
        let slot = self.buffers().accumulator_slot_bytes;
        let number = plan.first_block + blocks.start * plan.col_tiles + columns.start;
        let ring = Ring::new(self.buffers().accumulator_slots, slot, number).step(0, plan.col_tiles * slot).step(1, slot);
        Address { ring: Some(ring), ..Address::at(0) }
    }
}

impl StagePlan<'_> {
    fn input_free(&self) -> Semaphore {
        Semaphore(Shared::COUNT + 2 * self.tag.stage)
    }

    fn output_free(&self) -> Semaphore {
        Semaphore(Shared::COUNT + 2 * self.tag.stage + 1)
    }
}

fn shared(semaphore: Shared) -> Semaphore {
    Semaphore(semaphore as u32)
}

fn sync(semaphore: Semaphore, innermost: u32) -> Sync {
    Sync { semaphore, innermost }
}

fn command(plan: &StagePlan<'_>, wait: Vec<Sync>, operation: Operation, post: Vec<Sync>) -> Command {
    Command { tag: plan.tag, wait, operation, post }
}

fn index<T: TryInto<u32>>(number: T) -> u32 {
    number.try_into().ok().expect("bug: a chip and a network have fewer than 2^32 of anything that a command counts")
}

/// A weight as the byte that holds it.
fn byte(value: i16) -> u8 {
    i8::try_from(value).expect("bug: an int8 weight is within eight bits").to_le_bytes()[0]
}

/// K x N weights in the order in which tiles are fetched: column tile by column tile, K ascending, the tile's columns side by side.
fn weight_bytes(values: &Array2<i16>, cols: u64) -> Vec<u8> {
    let cols = usize::try_from(cols).expect("bug: an array has at most 512 columns");
    let (k, n) = values.dim();
    let mut bytes = Vec::with_capacity(values.len());
    for first in (0..n).step_by(cols) {
        for row in 0..k {
            bytes.extend(values.slice(s![row, first..(first + cols).min(n)]).iter().map(|value| byte(*value)));
        }
    }
    bytes
}

/// K x N weights as they lie in the scratchpad: a slot a tile, a pitch a row.
fn resident_weight_bytes(values: &Array2<i16>, rows: u64, cols: u64, buffers: &Buffers) -> Vec<u8> {
    let size = |bytes: u64| usize::try_from(bytes).expect("bug: resident weights fit the scratchpad");
    let (rows, cols) = (size(rows), size(cols));
    let (k, n) = values.dim();
    let tiles = n.div_ceil(cols) * k.div_ceil(rows);
    let mut bytes = vec![0; tiles * size(buffers.weight_slot_bytes)];
    for ((row, col), value) in values.indexed_iter() {
        let tile = (col / cols) * k.div_ceil(rows) + row / rows;
        bytes[tile * size(buffers.weight_slot_bytes) + (row % rows) * size(buffers.weight_pitch) + col % cols] = byte(*value);
    }
    bytes
}

/// Biases as accumulator elements, little-endian; zeros where a layer has none.
fn bias_bytes(dense: &Dense, element_bytes: u64) -> Vec<u8> {
    let width = usize::try_from(element_bytes).expect("bug: an accumulator element has at most 8 bytes");
    let zeros;
    let biases = match &dense.bias {
        Some(Bias::Integer(biases)) => biases,
        Some(Bias::Float(_)) => unreachable!("bug: lower refuses what is not quantized"),
        None => {
            zeros = Array1::zeros(dense.outputs());
            &zeros
        }
    };
    biases.iter().flat_map(|bias| bias.to_le_bytes()[..width].to_vec()).collect()
}
