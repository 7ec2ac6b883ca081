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
mod host;
mod images;
mod movement;
mod passes;
mod plan;
mod vector;

use super::{
    ArrayMode, CodedValue, Command, HostRegion, Image, Item, MemorySizes, Operation, Place, Program, ProgramError, ProgramParts, Repeat,
    Semaphore, SemaphoreDecl, StageDecl, Sync, UnitId, UnitKind, UnitQueue,
};
use crate::chip::Chip;
use crate::codec::{Code, Coding};
use crate::counts::StallReason;
use crate::mapping::{Buffers, InputBuffer, Layout, Mapping, Operand, OutputBuffer, Tensor, Work, weights_of};
use crate::network::{Bias, Border, Conv, Dense, IntegerForm, Network, Op, integers_of};
use crate::numerics::{HostOp, OutputStage, VectorOp};
use ndarray::{Array2, ArrayView1, ArrayView2};
use plan::{Endpoints, Plan};
use std::collections::BTreeMap;

/// DRAM addresses of tensors are multiples of this many bytes, a burst of the common memories.
const DRAM_ALIGNMENT: u64 = 64;

/// The numbers of a stage of the array.
#[derive(Debug, Clone)]
pub struct StageNumbers<'n> {
    /// K x channels; K runs over filter rows, filter columns and the channels of a group, channels innermost. Without a row where a value
    /// plays the weights.
    pub weights: ArrayView2<'n, i16>,
    /// One a channel; none are zeros.
    pub bias: Option<ArrayView1<'n, i64>>,
    /// The input's zero point.
    pub zero_point: i32,
    /// What lies around images.
    pub border: Border,
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
    let of_array = || mapping.stages().iter().filter(|stage| stage.work.is_array());
    let weights: Vec<Array2<i16>> = of_array()
        .map(|stage| match stage.work {
            Work::Array => {
                weights_of(network.layer(stage.layers[0]), &stage.problem).expect("bug: lower refuses weights that the array cannot hold")
            }
            _ => Array2::zeros((0, index::<u64>(stage.problem.m) as usize)),
        })
        .collect();
    let numbers = of_array().zip(&weights).map(|(stage, weights)| {
        let layer = network.layer(stage.layers[0]);
        let bias = match &layer.op {
            Op::Dense(Dense { bias, .. }) | Op::Conv(Conv { bias, .. }) => bias.as_ref(),
            _ => None,
        };
        let bias = bias.map(|bias| match bias {
            Bias::Integer(biases) => biases.view(),
            Bias::Float(_) => unreachable!("bug: lower refuses what is not quantized"),
        });
        let read = integers_of(network.layer(network.inputs(layer.id)[0])).expect("bug: lower refuses what is not quantized");
        let form = IntegerForm::of(network, layer, chip.vector().requantize);
        let Ok(IntegerForm::Array(output)) = form else { unreachable!("bug: the array computes sums alone") };
        let border = if let Op::Conv(conv) = &layer.op { conv.border } else { Border::Zero };
        StageNumbers { weights: weights.view(), bias, zero_point: read.zero_point, border, output }
    });
    emit_stages(mapping, chip, numbers)
}

/// Emits and verifies the program of one batch of a mapping, given the numbers of the array's stages in order.
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
    let output = emitter.stages(numbers.into_iter());
    Program::new(emitter.finish(chip, output))
}

/// Emits the program of one batch of a mapping whose numbers nobody knows: it can be timed, and no more. Its shape is verified; the order of its
/// accesses is taken as that of every program of the emitter, but where debug assertions are on.
///
/// # Errors
/// What the verifier refuses, which a mapping made for this chip never is.
pub fn emit_timing(mapping: &Mapping, chip: &Chip) -> Result<Program, ProgramError> {
    let mut emitter = Emitter::new(chip, mapping);
    let output = emitter.stages(std::iter::empty());
    Program::to_time(emitter.finish(chip, output))
}

/// The semaphores that all stages share, by their place in the program's list; three more for each stage follow them.
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
    VectorFull,
    KeptDone,
    Stored,
    HostFull,
    HostDone,
}

impl Shared {
    const COUNT: u32 = 13;

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
        decl("vector_full".to_string(), 0, StallReason::InputNotReady),
        decl("kept_done".to_string(), 0, StallReason::BufferFull),
        decl("stored".to_string(), 0, StallReason::WeightsNotReady),
        decl("host_full".to_string(), 0, StallReason::InputNotReady),
        decl("host_done".to_string(), 0, StallReason::Host),
    ];
    for (number, stage) in mapping.stages().iter().enumerate() {
        let output = if let OutputBuffer::Stored { slots, .. } = stage.output { slots } else { 0 };
        all.push(decl(format!("input_free_{number}"), 0, StallReason::BufferFull));
        all.push(decl(format!("output_free_{number}"), output, StallReason::BufferFull));
        all.push(decl(format!("held_{number}"), 0, StallReason::InputNotReady));
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
    Host,
}

/// The items of every queue at one level of a nest.
#[derive(Default)]
struct Units([Vec<Item>; 5]);

impl Units {
    fn push(&mut self, queue: Queue, command: Command) {
        self.0[queue as usize].push(Item::Do(command));
    }

    /// Appends what `more` has to every queue.
    fn extend(&mut self, more: Self) {
        for (items, more) in self.0.iter_mut().zip(more.0) {
            items.extend(more);
        }
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
    coded_values: Vec<CodedValue>,
    /// How values lie coded in DRAM, if they do.
    value_code: Option<Code>,
    output_stages: Vec<OutputStage>,
    vector_ops: Vec<VectorOp>,
    host_ops: Vec<HostOp>,
    /// Where in DRAM each tensor lies that has been met.
    tensors: BTreeMap<usize, u64>,
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
            coded_values: Vec::new(),
            value_code: chip.storage().codec.code().filter(|_| chip.storage().codec.codes_activations()),
            output_stages: Vec::new(),
            vector_ops: Vec::new(),
            host_ops: Vec::new(),
            tensors: BTreeMap::new(),
            pieces: 0,
            sums: 0,
            units: Units::default(),
        }
    }

    /// Emits every stage, the array's with these numbers as long as there are any; where the host finds the output of the last.
    fn stages<'n>(&mut self, mut numbers: impl Iterator<Item = StageNumbers<'n>>) -> HostRegion {
        let mapping = self.mapping;
        let mut last = None;
        for (number, stage) in mapping.stages().iter().enumerate() {
            let fetched = stage.inputs().map(|(buffer, operand)| match buffer {
                InputBuffer::Kept { .. } => None,
                InputBuffer::Fetched { .. } | InputBuffer::Whole { .. } | InputBuffer::Passing { .. } => Some(operand),
            });
            let fetched: Vec<Option<&Operand>> = fetched.collect();
            let problem = &stage.problem;
            let laid_in =
                |pixels: u64, channels: u64, layout: Layout| (!layout.is_one_plane(channels)).then(|| layout.bytes(pixels, channels));
            let input = laid_in(problem.pixels(), problem.c, stage.rules.input_layout);
            let sources = fetched.into_iter().map(|operand| operand.map_or(0, |operand| self.tensor(&operand.tensor, input))).collect();
            let weights = if let Work::Product { weights, .. } = &stage.work { self.tensor(&weights.tensor, None) } else { 0 };
            let target = match stage.output {
                OutputBuffer::Stored { .. } => {
                    self.target(&stage.target.tensor, laid_in(problem.vectors(), problem.m, stage.rules.output_layout))
                }
                OutputBuffer::Kept { .. } => 0,
            };
            last = Some(HostRegion { place: Place::Dram, address: target, bytes: stage.target.tensor.bytes });
            let next = mapping.stages().get(number + 1);
            let endpoints = Endpoints { number, sources, weights, target };
            let numbers = if stage.work.is_array() { numbers.next() } else { None };
            let before = number.checked_sub(1).and_then(|before| mapping.stages().get(before));
            let plan = self.plan((before, stage, next), endpoints, numbers.as_ref());
            match &stage.work {
                Work::Array | Work::Product { .. } => {
                    self.output_stages.push(numbers.map_or_else(|| OutputStage::unit(problem.output), |numbers| numbers.output));
                    self.stage(&plan);
                }
                Work::Vector(ops) => {
                    self.vector_stage(&plan, ops);
                    self.vector_ops.extend(ops.iter().cloned());
                }
                Work::Movement(copies) => self.movement(&plan, copies),
                Work::Host(call) => self.host(&plan, call),
            }
        }
        last.expect("bug: lower refuses a network without a stage")
    }

    /// Where a tensor lies that is read: it is there already, or from the start, or it is the host's. In planes it takes other bytes.
    fn tensor(&mut self, tensor: &Tensor, in_planes: Option<u64>) -> u64 {
        if let Some(address) = self.tensors.get(&tensor.number) {
            return *address;
        }
        let address = if let Some(bytes) = &tensor.content {
            self.image(Ok(bytes.to_vec()))
        } else {
            let bytes = in_planes.unwrap_or(tensor.bytes);
            let address = self.image(Err(bytes));
            self.code_value(tensor, address, bytes);
            address
        };
        self.tensors.insert(tensor.number, address);
        address
    }

    /// Where a tensor goes that is written: where the stages before put their parts of it, if any did.
    fn target(&mut self, tensor: &Tensor, in_planes: Option<u64>) -> u64 {
        if let Some(address) = self.tensors.get(&tensor.number) {
            return *address;
        }
        let (address, bytes) = if let Some(bytes) = &tensor.content {
            (self.image(Ok(bytes.to_vec())), bytes.len() as u64)
        } else {
            let region = self.reserve(in_planes.unwrap_or(tensor.bytes));
            (region.address, region.bytes)
        };
        self.code_value(tensor, address, bytes);
        self.tensors.insert(tensor.number, address);
        address
    }

    /// Lets a value lie coded, where the chip codes values and this one can be.
    fn code_value(&mut self, tensor: &Tensor, address: u64, bytes: u64) {
        let coding = self.value_code.and_then(|code| Coding::new(code, tensor.format.bits()));
        if let Some(coding) = coding.filter(|coding| coding.elements(bytes).is_some()) {
            self.coded_values.push(CodedValue { address, bytes, coding, zero: tensor.zero_bytes() });
        }
    }

    fn finish(self, chip: &Chip, output: HostRegion) -> ProgramParts {
        let core_unit = |kind, index| UnitId { core: 0, kind, index };
        let [array, vector, load, store, host] = self.units.0;
        let mut queues = vec![
            UnitQueue { unit: core_unit(UnitKind::Array, 0), items: array },
            UnitQueue { unit: core_unit(UnitKind::Vector, 0), items: vector },
            UnitQueue { unit: core_unit(UnitKind::Dma, 0), items: load },
        ];
        if self.store == Queue::Store {
            queues.push(UnitQueue { unit: core_unit(UnitKind::Dma, 1), items: store });
        }
        if !host.is_empty() {
            queues.push(UnitQueue { unit: core_unit(UnitKind::Host, 0), items: host });
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
        ProgramParts {
            queues,
            semaphores: semaphores(self.mapping),
            output_stages: self.output_stages,
            vector_ops: self.vector_ops,
            host_ops: self.host_ops,
            stages,
            images: self.images,
            inputs: self.inputs,
            output,
            coded_values: self.coded_values,
            memories: MemorySizes {
                dram: self.dram,
                scratchpads: chip.scratchpads().iter().map(|pad| pad.capacity.get()).collect(),
                accumulator: chip.accumulator().capacity.get(),
            },
            accumulator_element_bytes: self.mapping.buffers().accumulator_element_bytes,
            modes,
            array_only: false,
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
