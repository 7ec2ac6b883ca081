//! The closed forms: cycles that a mapping takes at least, whatever the order of events, and the share of the array that it fills.
//!
//! The program: it ends no sooner than the array's passes allow, nor than all bytes can cross DRAM's bus, nor than the vector unit can do
//! all elements. A stage's window (from the end of the stage before): a stage reads what the one before has yielded, so all of its passes,
//! its vector work and its stores lie in its window, and those of its weights that no ring could hold before it began.

use super::{Mapping, OutputBuffer, Stage, WeightBuffer};
use crate::chip::{Chip, Dataflow, Extent, Overlap, StationaryTiming};
use crate::mapping::InputBuffer;
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
    /// The vector unit.
    pub vector: u64,
}

impl Demand {
    /// What binds a stage that took `cycles`: the resource that needs most of them, if it needs at least half; else latency, since then
    /// every resource waited more than it worked. Where the array needs most, more than half of it for loads, they bind.
    pub fn binding(&self, cycles: Cycles) -> &'static str {
        let most = self.array.max(self.dram).max(self.vector);
        if 2 * most < cycles.get() {
            "latency"
        } else if most == self.dram {
            "dram_bandwidth"
        } else if most == self.vector {
            "vector_unit"
        } else if 2 * self.streaming < self.array {
            "weight_load"
        } else {
            "compute"
        }
    }
}

/// The passes of a stage, by how many cycles they take and what they fill.
struct Passes {
    count: u64,
    /// PEs filled, summed over passes.
    filled: u64,
    /// Cycles from the first vector of the first pass to the first vector that could follow the last, with loads behind it.
    cycles: u64,
    /// The same without loads and drains.
    streaming: u64,
    /// Cycles of the first tile's load, where `cycles` counts it.
    first_load: u64,
    /// What the last pass of the stage takes less when no load follows it.
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
pub fn lower_bounds(mapping: &Mapping, chip: &Chip) -> Bounds {
    let array = chip.array();
    let Dataflow::WeightStationary(timing) = array.dataflows[0] else {
        unreachable!("bug: a dataflow other than weight stationary should have been refused by mapping::lower");
    };
    let pe_count = u64::from(array.rows) * u64::from(array.cols);
    let load = u64::from(timing.load.resolve(array.rows, array.cols));
    let beside = timing.overlap == Overlap::Pipelined && timing.stationary_buffers == 2;
    let ring_bytes = mapping.buffers().weight_ring_slots * mapping.buffers().weight_slot_bytes;
    let mut sum = Traffic::default();
    let (mut array_cycles, mut vector_cycles, mut program) = (if beside { load } else { 0 }, 0, 0);
    let mut stages: Vec<StageBound> = Vec::new();
    for stage in mapping.stages() {
        let passes = passes(stage, timing, array.rows, array.cols);
        let traffic = Traffic::of(stage, mapping);
        let vector = vector_work(stage, chip);
        sum.add(traffic);
        vector_cycles += vector;
        let array_end = array_cycles + passes.cycles - passes.last_slack + passes.tail;
        program = array_end.max(chip.dram().latency(chip.clock()).get() + sum.cycles(chip)).max(vector_cycles);
        array_cycles += passes.cycles;
        // The first stage has no window before its own. Later ones may find weights in the ring, a bias in every block, and one tile loaded.
        let first = stages.is_empty();
        let own_traffic = Traffic {
            weights: traffic.weights.saturating_sub(if first { 0 } else { ring_bytes }),
            biases: if first { traffic.biases } else { 0 },
            ..traffic
        };
        let loaded_before = if first || beside { 0 } else { passes.first_load };
        let own_array = passes.cycles - passes.last_slack + passes.tail - loaded_before;
        stages.push(StageBound {
            cycles: Cycles::new(own_array.max(own_traffic.cycles(chip)).max(vector)),
            demand: Demand { array: passes.cycles, streaming: passes.streaming, dram: traffic.cycles(chip), vector },
            passes: passes.count,
            mapping_efficiency: passes.filled as f64 / (passes.count * pe_count) as f64,
        });
    }
    Bounds { program: Cycles::new(program), stages }
}

/// Bytes that cross DRAM's bus.
#[derive(Debug, Clone, Copy, Default)]
struct Traffic {
    weights: u64,
    biases: u64,
    input: u64,
    output: u64,
}

impl Traffic {
    /// What a stage fetches and stores.
    fn of(stage: &Stage, mapping: &Mapping) -> Self {
        let problem = &stage.problem;
        let blocks = problem.vectors().div_ceil(stage.vector_tile());
        let only_if = |so: bool, bytes: u64| if so { bytes } else { 0 };
        Self {
            weights: only_if(stage.weights == WeightBuffer::Fetched, blocks * problem.weight_bytes()),
            biases: blocks * problem.channels() * mapping.buffers().accumulator_element_bytes,
            input: only_if(matches!(stage.input, InputBuffer::Fetched { .. }), problem.vectors() * problem.reduction()),
            output: only_if(matches!(stage.output, OutputBuffer::Stored { .. }), problem.vectors() * problem.channels()),
        }
    }

    fn add(&mut self, more: Self) {
        self.weights += more.weights;
        self.biases += more.biases;
        self.input += more.input;
        self.output += more.output;
    }

    /// Cycles of the bus for all of it, or of the engine that loads weights and biases, if that is slower.
    fn cycles(self, chip: &Chip) -> u64 {
        let loaded = self.weights + self.biases;
        let bus = chip.dram().bytes_per_cycle(chip.clock()).cycles_for(Bytes::new(loaded + self.input + self.output));
        bus.max(chip.dma().bytes_per_cycle.cycles_for(Bytes::new(loaded))).get()
    }
}

/// Sizes of the pieces that `size` is cut into, with how many there are of each: full ones, then a rest.
fn pieces(size: u64, tile: u64) -> impl Iterator<Item = (u64, u64)> {
    let rest = size % tile;
    [(size / tile, tile), (u64::from(rest > 0), rest)].into_iter().filter(|(count, _)| *count > 0)
}

fn passes(stage: &Stage, timing: StationaryTiming, rows: u32, cols: u32) -> Passes {
    let problem = &stage.problem;
    let min = u64::from(timing.min_pass_cycles);
    let mut sum = Passes { count: 0, filled: 0, cycles: 0, streaming: 0, first_load: 0, last_slack: 0, tail: 0 };
    for (blocks, block) in pieces(problem.vectors(), stage.vector_tile()) {
        for (col_tiles, used_cols) in pieces(problem.channels(), u64::from(cols)) {
            for (row_tiles, used_rows) in pieces(problem.reduction(), u64::from(rows)) {
                let tiles = blocks * col_tiles * row_tiles;
                let (extent_rows, extent_cols) = match timing.extent {
                    Extent::Physical => (rows, cols),
                    Extent::Used => (narrow(used_rows), narrow(used_cols)),
                };
                let load = u64::from(timing.load.resolve(extent_rows, extent_cols));
                let tail = u64::from(timing.row_hop) * u64::from(extent_rows - 1)
                    + u64::from(timing.col_hop) * u64::from(extent_cols - 1)
                    + u64::from(timing.pipeline_registers);
                let lengths: Vec<(u64, u64)> = pieces(block, stage.pass_vectors()).collect();
                let per_tile: u64 = lengths.iter().map(|(count, vectors)| count * (*vectors).max(min)).sum();
                let count: u64 = lengths.iter().map(|(count, _)| count).sum();
                let last = lengths.last().map_or(0, |(_, vectors)| *vectors).max(min);
                let cycles = match (timing.overlap, timing.stationary_buffers) {
                    (Overlap::Serial, _) => load + per_tile + count * tail,
                    (Overlap::Pipelined, 1) => load + per_tile + tail,
                    (Overlap::Pipelined, _) => per_tile - last + last.max(load),
                };
                if sum.count == 0 {
                    sum.first_load = load;
                }
                sum.count += tiles * count;
                sum.filled += tiles * count * used_rows * used_cols;
                sum.cycles += tiles * cycles;
                sum.streaming += tiles * per_tile;
                let pipelined = timing.overlap == Overlap::Pipelined && timing.stationary_buffers == 2;
                (sum.last_slack, sum.tail) = if pipelined { (last.max(load) - last, tail) } else { (0, 0) };
            }
        }
    }
    sum
}

fn narrow(used: u64) -> u32 {
    u32::try_from(used).expect("bug: a pass fills no more rows or columns than the array has")
}

/// Cycles of the vector unit.
fn vector_work(stage: &Stage, chip: &Chip) -> u64 {
    let unit = chip.vector();
    let (lanes, each) = (u64::from(unit.lanes), u64::from(unit.cycles.requantize));
    let mut cycles = 0;
    for (blocks, block) in pieces(stage.problem.vectors(), stage.vector_tile()) {
        for (tiles, cols) in pieces(stage.problem.channels(), u64::from(chip.array().cols)) {
            cycles += blocks * tiles * (u64::from(unit.start_cycles) + block * cols.div_ceil(lanes) * each);
        }
    }
    cycles
}
