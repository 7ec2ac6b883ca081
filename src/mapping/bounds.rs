//! The closed forms: cycles that a mapping takes at least, whatever the order of events, and the share of the array that it fills.
//!
//! The program: it ends no sooner than the array's passes allow, nor than all bytes can cross DRAM's bus, nor than the vector unit or the host
//! can do all elements. A stage's window (from the end of the stage before): a stage reads what the one before has yielded, so all of its passes,
//! its vector work and its stores lie in its window, and those of its weights that no ring could hold before it began. Of a stage of the array that
//! reads what has been on the chip for longer only the vector work and the stores do.

use super::least::reached;
use super::{Copy, InputBuffer, Mapping, Operand, OutputBuffer, Problem, Rules, Stage, WeightBuffer, Work};
use crate::chip::{Chip, Dataflow, Extent, Overlap, ReductionPadding, Stationary};
use crate::numerics::VectorOp;
use crate::units::{Bytes, Cycles};

/// What bounds one stage.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct StageBound {
    /// Cycles of the stage's window at least.
    pub cycles: Cycles,
    /// Cycles that each resource needs for the stage alone.
    pub demand: Demand,
    /// Passes of the array.
    pub passes: u64,
    /// The mean share of PEs that a pass fills.
    pub mapping_efficiency: f64,
}

/// Cycles that each resource needs for one stage alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Demand {
    /// The array's passes, with the loads that they cannot hide.
    pub array: u64,
    /// Of `array`, the passes without any load.
    pub streaming: u64,
    /// DRAM's bus and the engines at it.
    pub dram: u64,
    /// Whether it is unpacking that takes them so long.
    pub unpacks: bool,
    /// The vector unit.
    pub vector: u64,
    /// The host, between two stages of the chip.
    pub host: u64,
}

impl Demand {
    /// What binds a stage that took `cycles`: the resource that needs most of them, if it needs at least half; else latency, since then
    /// every resource waited more than it worked. Where the array needs most, more than half of it for loads, they bind.
    pub fn binding(&self, cycles: Cycles) -> &'static str {
        let most = self.array.max(self.dram).max(self.vector).max(self.host);
        if 2 * most < cycles.get() {
            "latency"
        } else if most == self.dram {
            if self.unpacks { "codec" } else { "dram_bandwidth" }
        } else if most == self.host {
            "host"
        } else if most == self.vector {
            "vector_unit"
        } else if 2 * self.streaming < self.array {
            "weight_load"
        } else {
            "compute"
        }
    }
}

/// The passes of a stage.
#[derive(Debug, Clone, Copy, Default)]
struct Passes {
    count: u64,
    /// PEs filled, summed over passes.
    filled: u64,
    /// Cycles from what enters first in the first pass to what could enter first after the last, with loads behind it.
    cycles: u64,
    /// The same without loads and drains.
    streaming: u64,
    /// Cycles of the first load, where `cycles` counts it.
    first_load: u64,
    /// What the last pass of the stage takes less when no other follows it.
    last_slack: u64,
    /// Cycles from the end of the last pass to its last output.
    tail: u64,
}

/// What bounds a program.
#[derive(Debug, Clone, PartialEq)]
pub struct Bounds {
    /// Cycles of the whole program at least. The stages' own bounds may sum to less, since what is fetched ahead counts in no window.
    pub program: Cycles,
    /// Every stage, in the order in which they run.
    pub stages: Vec<StageBound>,
}

/// Bounds of a mapping and of each of its stages.
///
/// # Panics
/// If the mapping is for another chip.
pub fn lower_bounds(mapping: &Mapping, chip: &Chip) -> Bounds {
    let array = chip.array();
    let pe_count = u64::from(array.rows) * u64::from(array.cols);
    // What may be fetched before a stage's window: a ring of weights, and the tile that left it for the array.
    let ahead = (mapping.buffers().weight_ring_slots + 1) * mapping.buffers().weight_slot_bytes;
    let mut sum = Traffic::default();
    let (mut array_cycles, mut vector_cycles, mut host_cycles, mut program) = (0, 0, 0, 0);
    let mut stages: Vec<StageBound> = Vec::new();
    for (number, stage) in mapping.stages().iter().enumerate() {
        let dataflow = chip.dataflow(stage.rules.mode.stationary).expect("bug: a stage is mapped onto a dataflow of its chip");
        let beside = loads_beside(dataflow);
        let passes = passes(stage, dataflow);
        let traffic = Traffic::of(stage);
        let vector = vector_work(stage, chip);
        let host = host_work(stage, chip);
        host_cycles += host;
        sum.add(traffic);
        vector_cycles += vector;
        if stages.is_empty() && beside {
            // The first load has nothing to hide behind.
            array_cycles += load(dataflow, array.rows, array.cols);
        }
        let array_end = array_cycles + passes.cycles - passes.last_slack + passes.tail;
        program = array_end.max(chip.dram().latency(chip.clock()).get() + sum.cycles(chip)).max(vector_cycles).max(host_cycles);
        array_cycles += passes.cycles;
        // The first stage has no window before its own. Later ones may find weights in the ring, a bias in every block, and one tile loaded.
        let first = stages.is_empty();
        // What reads a value that has been on the chip for longer may be computed while the vector unit is still at the stage before.
        let early = is_early(mapping, number);
        let ahead = match (first, early) {
            (true, _) => 0,
            (false, true) => u64::MAX,
            (false, false) => ahead,
        };
        let own_traffic = Traffic {
            weights: traffic.weights.saturating_sub(ahead),
            unpacked: traffic.unpacked.saturating_sub(ahead),
            biases: if first { traffic.biases } else { 0 },
            ..traffic
        };
        let loaded_before = if first || beside { 0 } else { passes.first_load };
        let own_array = if early { 0 } else { passes.cycles - passes.last_slack + passes.tail - loaded_before };
        stages.push(StageBound {
            cycles: Cycles::new(own_array.max(own_traffic.cycles(chip)).max(vector).max(host)),
            demand: Demand {
                array: passes.cycles,
                streaming: passes.streaming,
                dram: traffic.cycles(chip),
                unpacks: traffic.is_bound_by_codec(chip),
                vector,
                host,
            },
            passes: passes.count,
            mapping_efficiency: passes.filled as f64 / (passes.count.max(1) * pe_count) as f64,
        });
    }
    Bounds { program: Cycles::new(program), stages }
}

/// About how many cycles a mapping with these bounds takes: its bound, and what the resources of a stage cannot do side by side. With double buffers that is the first
/// piece of each but the one that binds; where anything has but one buffer, all of them.
pub fn guess(mapping: &Mapping, bounds: &Bounds, chip: &Chip) -> f64 {
    let buffers = mapping.buffers();
    let latency = chip.dram().latency(chip.clock()).get();
    let waits = mapping.stages().iter().zip(&bounds.stages).map(|(stage, bound)| {
        let Demand { array, dram, vector, .. } = bound.demand;
        let blocks = stage.blocks().max(1);
        let is_fetched = stage.weights == WeightBuffer::Fetched && stage.work.is_array();
        let several = blocks * stage.chunks() > 1;
        let is_single = several && (matches!(stage.output, OutputBuffer::Stored { slots: 1, .. }) || buffers.accumulator_slots < 2)
            || is_fetched && buffers.weight_ring_slots < 2;
        let beside = array + dram + vector - array.max(dram).max(vector);
        if is_single { (beside + blocks * latency) as f64 } else { beside as f64 / blocks as f64 }
    });
    bounds.program.as_f64() + waits.sum::<f64>()
}

/// Whether the array need not wait for the stage before: it reads what an earlier one left, and that before leaves its output too.
fn is_early(mapping: &Mapping, number: usize) -> bool {
    let stage = &mapping.stages()[number];
    stage.work.is_array()
        && matches!(stage.input, InputBuffer::Kept { from, .. } if from + 1 < number)
        && number.checked_sub(1).is_some_and(|before| matches!(mapping.stages()[before].output, OutputBuffer::Kept { .. }))
}

/// Whether what a pass needs first enters while the one before streams.
fn loads_beside(dataflow: &Dataflow) -> bool {
    dataflow.overlap() == Overlap::Pipelined
        && match dataflow {
            Dataflow::WeightStationary(timing) | Dataflow::InputStationary(timing) => timing.stationary_buffers == 2,
            Dataflow::OutputStationary(_) => true,
        }
}

/// Cycles in which a tile, or the biases of a pass, enter.
fn load(dataflow: &Dataflow, rows: u32, cols: u32) -> u64 {
    u64::from(match dataflow {
        Dataflow::WeightStationary(timing) | Dataflow::InputStationary(timing) => timing.load.resolve(rows, cols),
        Dataflow::OutputStationary(timing) => timing.psum_preload.resolve(rows, cols),
    })
}

/// Bytes that cross DRAM's bus.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Traffic {
    pub(super) weights: u64,
    /// Bytes that are unpacked from coded weights.
    pub(super) unpacked: u64,
    pub(super) biases: u64,
    pub(super) input: u64,
    pub(super) output: u64,
}

impl Traffic {
    /// What a stage fetches and stores.
    pub(super) fn of(stage: &Stage) -> Self {
        let (problem, rules) = (&stage.problem, &stage.rules);
        let only_if = |so: bool, bytes: u64| if so { bytes } else { 0 };
        let pieces = stage.weight_pieces();
        let packed = || pieces.iter().map(|piece| piece.count * rules.weight_bytes(piece.channels, piece.inner)).sum::<u64>();
        let weights = if stage.stored.is_empty() { packed() } else { stage.stored.iter().sum() };
        // A line of biases where lines are vectors; where they are channels, one a tile of vectors, as long as the tile.
        let lines = if rules.lines_are_channels() { problem.vectors() } else { stage.blocks() };
        if let Work::Movement(copies) = &stage.work {
            let bytes = copies.iter().map(Copy::bytes).sum();
            return Self { input: bytes, output: bytes, ..Self::default() };
        }
        // What the host moves is part of its time.
        if let Work::Host(_) = &stage.work {
            return Self::default();
        }
        let of_channels = problem.input_pixel();
        let rows = |block: u64| stage.new_rows(block).end - stage.new_rows(block).start;
        let is_fetched = |input: &(InputBuffer, &Operand)| matches!(input.0, InputBuffer::Fetched { .. });
        let any_fetched = stage.inputs().any(|input| is_fetched(&input));
        let rows = if any_fetched && !problem.is_matrix() { (0..stage.blocks()).map(rows).sum() } else { problem.input_rows() };
        // Rows that are one byte for byte are fetched once where they are fetched together.
        let of_input = |(_, operand): (_, &Operand)| match operand.stride {
            0 if operand.run > 1 => operand.least_bytes(of_channels).min(rows * problem.input[1] * of_channels),
            _ => rows * problem.input[1] * of_channels,
        };
        // Read whole, once.
        let constants: u64 =
            stage.inputs().filter(|(buffer, _)| matches!(buffer, InputBuffer::Whole { .. })).map(|(_, operand)| operand.tensor.bytes).sum();
        Self {
            weights: only_if(stage.weights == WeightBuffer::Fetched, stage.weight_fetches() * weights),
            unpacked: stage.weight_fetches() * stage.unpacked_bytes(),
            biases: only_if(stage.work.is_array(), lines * problem.channels() * rules.element),
            input: constants + stage.inputs().filter(is_fetched).map(of_input).sum::<u64>(),
            output: only_if(
                matches!(stage.output, OutputBuffer::Stored { .. }),
                problem.vectors() * problem.output_bytes(problem.channels()),
            ),
        }
    }

    fn add(&mut self, more: Self) {
        self.weights += more.weights;
        self.unpacked += more.unpacked;
        self.biases += more.biases;
        self.input += more.input;
        self.output += more.output;
    }

    /// Cycles of the bus for all of it, or of the engine that loads and unpacks weights and loads biases, if that is slower.
    fn cycles(self, chip: &Chip) -> u64 {
        self.bus_cycles(chip).max(self.codec_cycles(chip))
    }

    fn is_bound_by_codec(self, chip: &Chip) -> bool {
        self.codec_cycles(chip) > self.bus_cycles(chip)
    }

    fn codec_cycles(self, chip: &Chip) -> u64 {
        chip.storage().codec.bytes_per_cycle().map_or(0, |rate| rate.cycles_for(Bytes::new(self.unpacked)).get())
    }

    fn bus_cycles(self, chip: &Chip) -> u64 {
        let loaded = self.weights + self.biases;
        let bus = chip.bus_bytes_per_cycle().cycles_for(Bytes::new(loaded + self.input + self.output));
        bus.max(chip.dma().bytes_per_cycle.cycles_for(Bytes::new(loaded))).get()
    }
}

/// Sizes of the pieces that `size` is cut into, with how many there are of each: full ones, then a rest.
fn pieces(size: u64, tile: u64) -> impl Iterator<Item = (u64, u64)> + Clone {
    let rest = size % tile;
    [(size / tile, tile), (u64::from(rest > 0), rest)].into_iter().filter(|(count, _)| *count > 0)
}

fn passes(stage: &Stage, dataflow: &Dataflow) -> Passes {
    let rules = &stage.rules;
    let mut sum = Passes::default();
    for (blocks, block) in pieces(stage.problem.vectors(), stage.tiling.block) {
        for piece in stage.weight_pieces() {
            let count = blocks * piece.count;
            match rules.mode.stationary {
                Stationary::Weight => {
                    let lengths = pieces(block, rules.pass);
                    sum.add_tiles(dataflow, rules, count, (rules.mode.steps(piece.inner), piece.channels), lengths);
                }
                Stationary::Input => {
                    for (tiles, held) in pieces(block, rules.vector_unit()) {
                        let lengths = pieces(piece.channels, rules.pass);
                        sum.add_tiles(dataflow, rules, count * tiles, (rules.mode.steps(piece.inner), held), lengths);
                    }
                }
                Stationary::Output => {
                    for (tiles, held) in pieces(block, rules.vector_unit()) {
                        sum.add_products(dataflow, rules, count * tiles, (held, piece.channels), rules.mode.steps(piece.inner));
                    }
                }
            }
        }
    }
    sum
}

/// The size that a pass's load, drain and tail go by, and its tail.
fn extent(dataflow: &Dataflow, rules: &Rules, (rows, cols): (u64, u64)) -> (u32, u32, u64) {
    let (rows, cols) = match dataflow.extent() {
        Extent::Physical => (rules.mode.size.rows, rules.mode.size.cols),
        Extent::Used => (narrow(rows), narrow(cols)),
    };
    let tail = u64::from(dataflow.row_hop()) * u64::from(rows - 1)
        + u64::from(dataflow.col_hop()) * u64::from(cols - 1)
        + u64::from(dataflow.pipeline_registers());
    (rows, cols, tail)
}

impl Passes {
    /// `tiles` tiles that stay and fill `fill` rows x columns, with passes of these lengths past each.
    fn add_tiles(
        &mut self,
        dataflow: &Dataflow,
        rules: &Rules,
        tiles: u64,
        fill: (u64, u64),
        lengths: impl Iterator<Item = (u64, u64)> + Clone,
    ) {
        let min = u64::from(dataflow.min_pass_cycles());
        let (rows, cols, tail) = extent(dataflow, rules, fill);
        let load = load(dataflow, rows, cols);
        let per_tile: u64 = lengths.clone().map(|(count, vectors)| count * vectors.max(min)).sum();
        let count: u64 = lengths.clone().map(|(count, _)| count).sum();
        let last = lengths.last().map_or(0, |(_, vectors)| vectors).max(min);
        let beside = loads_beside(dataflow);
        let cycles = match dataflow.overlap() {
            Overlap::Serial => load + per_tile + count * tail,
            Overlap::Pipelined if beside => per_tile - last + last.max(load),
            Overlap::Pipelined => load + per_tile + tail,
        };
        if self.count == 0 {
            self.first_load = load;
        }
        self.count += tiles * count;
        self.filled += tiles * count * fill.0 * fill.1;
        self.cycles += tiles * cycles;
        self.streaming += tiles * per_tile;
        (self.last_slack, self.tail) = if beside { (last.max(load) - last, tail) } else { (0, 0) };
    }

    /// `count` passes of an array in which sums stay, over `steps` steps of K.
    fn add_products(&mut self, dataflow: &Dataflow, rules: &Rules, count: u64, fill: (u64, u64), steps: u64) {
        let Dataflow::OutputStationary(timing) = dataflow else { return };
        let (rows, cols, tail) = extent(dataflow, rules, fill);
        let steps = match timing.reduction_padding {
            ReductionPadding::Exact => steps,
            ReductionPadding::MultipleOfRows => steps.next_multiple_of(u64::from(rules.mode.size.rows)),
        };
        let length = steps.max(u64::from(timing.min_pass_cycles));
        let (preload, drain) = (load(dataflow, rows, cols), timing.drain.map_or(0, |drain| u64::from(drain.resolve(rows, cols))));
        let (cycles, slack, end) = match timing.overlap {
            Overlap::Serial => (preload + length + drain + tail, 0, 0),
            Overlap::Pipelined => {
                let apart = length.max(drain).max(preload);
                (apart, apart - length, drain + tail)
            }
        };
        if self.count == 0 {
            self.first_load = preload;
        }
        self.count += count;
        self.filled += count * fill.0 * fill.1;
        self.cycles += count * cycles;
        self.streaming += count * length;
        (self.last_slack, self.tail) = (slack, end);
    }
}

fn narrow(used: u64) -> u32 {
    u32::try_from(used).expect("bug: a pass fills no more rows or columns than the array has")
}

/// Cycles of the host, between two stages of the chip.
fn host_work(stage: &Stage, chip: &Chip) -> u64 {
    let Work::Host(call) = &stage.work else { return 0 };
    chip.vector().host_cycles(call.elements).unwrap_or(0)
}

/// Cycles of the vector unit.
fn vector_work(stage: &Stage, chip: &Chip) -> u64 {
    let rules = &stage.rules;
    let unit = chip.vector();
    match &stage.work {
        Work::Movement(_) | Work::Host(_) => return 0,
        Work::Vector(ops) if stage.vector_macs() > 0 => {
            let (problem, groups) = (&stage.problem, stage.problem.m.div_ceil(u64::from(unit.lanes)));
            // Taps that lie on a pixel, of all places of the window.
            let taps = problem.n * reached(problem, 0) * reached(problem, 1);
            let each = ops.first().map_or(0, |op| u64::from(unit.cycles.of(op.kind())));
            let steps = taps * each + problem.vectors() * u64::from(unit.cycles.requantize);
            return stage.blocks() * u64::from(unit.start_cycles) + groups * steps;
        }
        Work::Vector(ops) => {
            let (problem, commands) = (&stage.problem, stage.blocks() * ops.len() as u64);
            let groups = ops.len() as u64 * (problem.m / ops.len() as u64).div_ceil(u64::from(unit.lanes));
            let each = |op: &VectorOp| u64::from(unit.cycles.of(op.kind())) * op.kind().sweeps();
            let most = ops.iter().map(each).max().unwrap_or(0);
            return commands * u64::from(unit.start_cycles) + problem.vectors() * groups * most * least_taps(problem);
        }
        Work::Array | Work::Product { .. } => {}
    }
    let (lanes, each, start) = (u64::from(unit.lanes), u64::from(unit.cycles.requantize), u64::from(unit.start_cycles));
    let mut cycles = 0;
    for (blocks, block) in pieces(stage.problem.vectors(), stage.tiling.block) {
        for (chunks, chunk) in pieces(stage.problem.channels(), stage.tiling.chunk) {
            if rules.lines_are_channels() {
                for (tiles, vectors) in pieces(block, rules.vector_unit()) {
                    cycles += blocks * chunks * tiles * (start + chunk * vectors.div_ceil(lanes) * each);
                }
            } else {
                cycles += blocks * chunks * (start + block * chunk.div_ceil(lanes) * each);
            }
        }
    }
    cycles
}

/// Taps under each place of a window at least: all where no place reaches past the image, else one.
fn least_taps(problem: &Problem) -> u64 {
    let is_inside = |axis: usize, places: u64, taps: u64| {
        (places - 1) * problem.stride[axis] + (taps - 1) * problem.dilation[axis] < problem.input[axis] && problem.padding[axis] == 0
    };
    if is_inside(0, problem.p, problem.r) && is_inside(1, problem.q, problem.s) { problem.r * problem.s } else { 1 }
}
