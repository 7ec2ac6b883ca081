//! Lowers a mapping to commands: one walk over each stage's loop nest, which writes into every unit's queue at once.
//!
//! The nest of a stage, and what each unit does at each level (the two outer loops stand the other way round where weights are fetched once):
//!
//! ```text
//! for block of vectors            store engine: mvin the rows of the input that it is the first to need
//!   for chunk of channels         load engine:  mvin bias into the accumulator; vector: requantize; store engine: mvout
//!     weights                     load engine:  mvin, piece by piece
//!     passes                      array: preload and compute, or product, as the dataflow has it (`passes`)
//! ```
//!
//! Loops over a partial last piece are written as two loops, so that every size is a constant and every address affine. Blocks are not
//! loops: which rows of images they need follows no constant step.

mod blocks;
mod images;
mod passes;
mod plan;

use super::{
    ArrayMode, Command, HostRegion, Image, Item, MemorySizes, Operation, Place, Program, ProgramError, ProgramParts, Repeat, Semaphore,
    SemaphoreDecl, StageDecl, Sync, UnitId, UnitKind, UnitQueue,
};
use crate::chip::Chip;
use crate::counts::StallReason;
use crate::mapping::{Buffers, Layout, Mapping, OutputBuffer};
use crate::network::{Bias, Network, Op, Weight};
use crate::numerics::{LayerClass, OutputStage};
use ndarray::{ArrayView1, ArrayView2};
use plan::{Endpoints, Plan};

/// DRAM addresses of tensors are multiples of this many bytes, a burst of the common memories.
const DRAM_ALIGNMENT: u64 = 64;

/// The numbers of a stage.
#[derive(Debug, Clone)]
pub struct StageNumbers<'n> {
    /// K x channels; K runs over filter rows, filter columns and channels, channels innermost.
    pub weights: ArrayView2<'n, i16>,
    /// One a channel; none are zeros.
    pub bias: Option<ArrayView1<'n, i64>>,
    /// The input's zero point.
    pub zero_point: i32,
    /// From sums to outputs.
    pub output: OutputStage,
}

/// Emits and verifies the program of one batch.
///
/// # Errors
/// What the verifier refuses, which a mapping made for this chip and network never is.
///
/// # Panics
/// If the mapping is that of another network.
pub fn emit(network: &Network, mapping: &Mapping, chip: &Chip) -> Result<Program, ProgramError> {
    let numbers = mapping.stages().iter().map(|stage| {
        let layer = network.layer(stage.layers[0]);
        let Op::Dense(dense) = &layer.op else { unreachable!("bug: a stage is named after an array layer") };
        let Weight::Integer { values, scales, .. } = &dense.weight else { unreachable!("bug: lower refuses float weights") };
        let bias = match &dense.bias {
            Some(Bias::Integer(biases)) => Some(biases.view()),
            Some(Bias::Float(_)) => unreachable!("bug: lower refuses what is not quantized"),
            None => None,
        };
        let read = network.layer(network.inputs(layer.id)[0]).output.quantization.expect("bug: lower refuses what is not quantized");
        let wrote = layer.output.quantization.expect("bug: lower refuses what is not quantized");
        let output = OutputStage::new(chip.vector().requantize, LayerClass::Dense, read.scale, scales, &wrote, dense.activation.bounds());
        StageNumbers { weights: values.view(), bias, zero_point: read.zero_point, output }
    });
    emit_stages(mapping, chip, numbers)
}

/// Emits and verifies the program of one batch of a mapping, given the numbers of its stages in order.
///
/// # Errors
/// What the verifier refuses, which a mapping made for this chip never is.
///
/// # Panics
/// If the numbers are not those that were mapped.
pub fn emit_stages<'n>(
    mapping: &Mapping,
    chip: &Chip,
    numbers: impl IntoIterator<Item = StageNumbers<'n>>,
) -> Result<Program, ProgramError> {
    let mut emitter = Emitter::new(chip, mapping);
    let numbers: Vec<_> = numbers.into_iter().map(Some).collect();
    let output = emitter.stages(numbers);
    emitter.finish(chip, output)
}

/// Emits and verifies the program of one batch of a mapping whose numbers nobody knows: it can be timed, and no more.
///
/// # Errors
/// What the verifier refuses, which a mapping made for this chip never is.
pub fn emit_timing(mapping: &Mapping, chip: &Chip) -> Result<Program, ProgramError> {
    let mut emitter = Emitter::new(chip, mapping);
    let output = emitter.stages(mapping.stages().iter().map(|_| None).collect());
    emitter.finish(chip, output)
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

    /// Waits for it, or posts it, always.
    fn sync(self) -> Sync {
        self.within(0)
    }

    /// The same, where so many innermost loops are at their first (or last) iteration.
    fn within(self, innermost: u32) -> Sync {
        Sync { semaphore: Semaphore(self as u32), innermost }
    }
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
        let output = if let OutputBuffer::Stored { slots, .. } = stage.output { slots } else { 0 };
        all.push(decl(format!("input_free_{number}"), 0, StallReason::BufferFull));
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

struct Emitter<'c> {
    mapping: &'c Mapping,
    weight_place: Place,
    activation_place: Place,
    store: Queue,
    /// Bytes of DRAM given out so far.
    dram: u64,
    images: Vec<Image>,
    inputs: Vec<HostRegion>,
    output_stages: Vec<OutputStage>,
    /// Pieces of weights and sets of sums that went through the rings so far.
    pieces: u64,
    sums: u64,
    units: Units,
}

impl<'c> Emitter<'c> {
    fn new(chip: &'c Chip, mapping: &'c Mapping) -> Self {
        let roles = chip.scratchpad_roles();
        Self {
            mapping,
            weight_place: Place::Scratchpad(0, index(roles.weight)),
            activation_place: Place::Scratchpad(0, index(roles.activation)),
            store: if chip.dma().engines > 1 { Queue::Store } else { Queue::Load },
            dram: 0,
            images: Vec::new(),
            inputs: Vec::new(),
            output_stages: Vec::new(),
            pieces: 0,
            sums: 0,
            units: Units::default(),
        }
    }

    /// Emits every stage; where the host finds the output of the last.
    fn stages(&mut self, numbers: Vec<Option<StageNumbers<'_>>>) -> HostRegion {
        let mapping = self.mapping;
        let mut before = None;
        for (number, (stage, numbers)) in mapping.stages().iter().zip(numbers).enumerate() {
            let problem = &stage.problem;
            let bytes = |layout: Layout, pixels: u64, channels: u64| {
                layout.blocks(channels) * pixels * problem.activation.packed_bytes(layout.block(channels))
            };
            let source = match before {
                Some(before) if stage.follows => before,
                _ => {
                    let source = self.reserve(bytes(stage.rules.input_layout, problem.pixels(), problem.c));
                    self.inputs.push(source);
                    source
                }
            };
            let target = match stage.output {
                OutputBuffer::Stored { .. } => self.reserve(bytes(stage.rules.output_layout, problem.vectors(), problem.channels())),
                OutputBuffer::Kept { .. } => source,
            };
            let endpoints = Endpoints { number, source: source.address, target: target.address };
            let plan = self.plan(stage, endpoints, numbers.as_ref());
            self.output_stages.push(numbers.map_or_else(OutputStage::unit, |numbers| numbers.output));
            self.stage(&plan);
            before = Some(target);
        }
        before.expect("bug: lower refuses a network without a stage")
    }

    fn finish(self, chip: &Chip, output: HostRegion) -> Result<Program, ProgramError> {
        let core_unit = |kind, index| UnitId { core: 0, kind, index };
        let [array, vector, load, store] = self.units.0;
        let mut queues = vec![
            UnitQueue { unit: core_unit(UnitKind::Array, 0), items: array },
            UnitQueue { unit: core_unit(UnitKind::Vector, 0), items: vector },
            UnitQueue { unit: core_unit(UnitKind::Dma, 0), items: load },
        ];
        if self.store == Queue::Store {
            queues.push(UnitQueue { unit: core_unit(UnitKind::Dma, 1), items: store });
        }
        let mut modes: Vec<ArrayMode> = Vec::new();
        let stages = self.mapping.stages().iter().map(|stage| {
            let known = modes.iter().position(|mode| *mode == stage.rules.mode).unwrap_or_else(|| {
                modes.push(stage.rules.mode);
                modes.len() - 1
            });
            StageDecl { name: stage.name.clone(), mode: index(known) }
        });
        let stages = stages.collect();
        Program::new(ProgramParts {
            queues,
            semaphores: semaphores(self.mapping),
            output_stages: self.output_stages,
            vector_ops: Vec::new(),
            stages,
            images: self.images,
            inputs: self.inputs,
            output,
            memories: MemorySizes {
                dram: self.dram,
                scratchpads: chip.scratchpads().iter().map(|pad| pad.capacity.get()).collect(),
                accumulator: chip.accumulator().capacity.get(),
            },
            accumulator_element_bytes: self.mapping.buffers().accumulator_element_bytes,
            modes,
            array_only: false,
        })
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

    /// Bytes that lie in DRAM at the start: these, or so many that nobody knows.
    fn image(&mut self, bytes: Result<Vec<u8>, u64>) -> u64 {
        match bytes {
            Ok(bytes) => {
                let region = self.reserve(bytes.len() as u64);
                self.images.push(Image { place: Place::Dram, address: region.address, bytes });
                region.address
            }
            Err(bytes) => {
                let region = self.reserve(bytes);
                self.inputs.push(region);
                region.address
            }
        }
    }
}

fn command(plan: &Plan<'_>, wait: Vec<Sync>, operation: Operation, post: Vec<Sync>) -> Command {
    Command { tag: plan.tag, wait, operation, post }
}

fn index<T: TryInto<u32>>(number: T) -> u32 {
    number.try_into().ok().expect("bug: a chip and a network have fewer than 2^32 of anything that a command counts")
}
