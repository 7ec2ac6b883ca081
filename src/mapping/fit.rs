//! Fits stages to a chip's buffers: how many vectors a block holds, which activations stay on the chip, and how the memories are shared.
//!
//! The activation scratchpad is shared from both ends: a stage's input lies at one end, its output at the other, and the next stage takes
//! them the other way round. What is left is one ring of weight tiles for all stages, so that a stage's weights are fetched while the one
//! before still computes. The accumulator is one ring of blocks.

use super::{Dim, LoopNest, Lowered, MappingError, Problem, Spread, WeightStart, round_up};
use crate::chip::{Array, Chip, Dataflow, Format, MaxPassVectors, Scratchpad, StationaryTiming};
use crate::network::LayerId;
use std::ops::Range;

/// The most samples in a batch.
pub(super) const MAX_BATCH: u64 = 1 << 20;
/// More accumulator blocks than this never help: one fills while one empties, and the others only wait with their bias.
const MAX_ACCUMULATOR_BLOCKS: u64 = 8;

/// How a network's stages lie on a chip.
#[derive(Debug, Clone, PartialEq)]
pub struct Mapping {
    batch: u64,
    stages: Vec<Stage>,
    buffers: Buffers,
}

impl Mapping {
    /// Samples in a batch.
    pub fn batch(&self) -> u64 {
        self.batch
    }

    /// The stages, in the order in which they run.
    pub fn stages(&self) -> &[Stage] {
        &self.stages
    }

    /// How the memories are shared.
    pub fn buffers(&self) -> &Buffers {
        &self.buffers
    }
}

/// One array operation with its bias, requantization and activation, mapped.
#[derive(Debug, Clone, PartialEq)]
pub struct Stage {
    /// The layers that it computes, the array layer first.
    pub layers: Vec<LayerId>,
    /// The name of its array layer.
    pub name: String,
    /// The cores that work on it.
    pub cores: Range<u32>,
    /// Dimensions that are split over the cores, and into how many parts.
    pub split: Vec<(Dim, u64)>,
    /// What it computes.
    pub problem: Problem,
    /// In which order, in which pieces.
    pub nest: LoopNest,
    /// Where its input lies.
    pub input: InputBuffer,
    /// Where its output goes.
    pub output: OutputBuffer,
    /// Where its weights lie.
    pub weights: WeightBuffer,
}

impl Stage {
    /// Vectors of one block: as many as lie in the accumulator at a time.
    pub fn vector_tile(&self) -> u64 {
        self.nest.tile(Dim::N, Spread::Buffer).unwrap_or(1)
    }

    /// Vectors of one pass at most.
    pub fn pass_vectors(&self) -> u64 {
        self.nest.tile(Dim::N, Spread::Pass).unwrap_or(1)
    }
}

/// Where a stage's input lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum InputBuffer {
    /// In DRAM; blocks of whole vectors pass through a ring of `slots` blocks at `address` of the activation scratchpad.
    Fetched {
        /// First byte.
        address: u64,
        /// Blocks in the ring.
        slots: u64,
    },
    /// Where the stage before left it, at `address` of the activation scratchpad.
    Kept {
        /// First byte.
        address: u64,
    },
}

/// Where a stage's output goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OutputBuffer {
    /// To DRAM, through a ring of `slots` blocks at `address` of the activation scratchpad.
    Stored {
        /// First byte.
        address: u64,
        /// Blocks in the ring.
        slots: u64,
    },
    /// It stays, whole, at `address` of the activation scratchpad.
    Kept {
        /// First byte.
        address: u64,
    },
}

/// Where a stage's weights lie.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WeightBuffer {
    /// In DRAM; tiles pass through the ring of weight tiles, once for each block of vectors.
    Fetched,
    /// On the chip from the start, whole, at `address` of the weight scratchpad.
    Resident {
        /// First byte.
        address: u64,
    },
}

/// How the memories are shared between the stages.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Buffers {
    /// First byte of the ring of weight tiles in the weight scratchpad.
    pub weight_ring_address: u64,
    /// Tiles in it.
    pub weight_ring_slots: u64,
    /// Bytes of one tile's slot.
    pub weight_slot_bytes: u64,
    /// Bytes from a row of a weight tile to the next.
    pub weight_pitch: u64,
    /// Blocks in the accumulator's ring.
    pub accumulator_slots: u64,
    /// Bytes of one block.
    pub accumulator_slot_bytes: u64,
    /// Bytes from a vector's sums to the next's in a block.
    pub accumulator_pitch: u64,
    /// Bytes of one accumulator element.
    pub accumulator_element_bytes: u64,
    /// Bytes of the rows of activations are multiples of this.
    pub activation_port: u64,
}

impl Buffers {
    /// Bytes from a vector of `elements` int8 activations to the next, on the chip.
    pub fn activation_pitch(&self, elements: u64) -> u64 {
        round_up(elements, self.activation_port)
    }
}

/// What of a chip the fit goes by.
struct Capacity<'c> {
    array: &'c Array,
    timing: StationaryTiming,
    weight_pad: &'c Scratchpad,
    weight_field: String,
    activation_pad: &'c Scratchpad,
    activation_field: String,
    shared: bool,
    accumulator_bytes: u64,
    /// Bytes of one row in every bank of the accumulator: capacities are multiples of it.
    accumulator_stripe: u64,
    buffers: Buffers,
}

impl<'c> Capacity<'c> {
    fn of(chip: &'c Chip, stages: &[Lowered]) -> Self {
        let roles = chip.scratchpad_roles();
        let (weight_pad, activation_pad) = (&chip.scratchpads()[roles.weight], &chip.scratchpads()[roles.activation]);
        let array = chip.array();
        let Dataflow::WeightStationary(timing) = array.dataflows[0] else {
            unreachable!("bug: a dataflow other than weight stationary should have been refused by mapping::lower");
        };
        let cols = u64::from(array.cols);
        let weight_port = u64::from(weight_pad.port_bytes);
        // Several short rows of a tile may share a port's row; longer ones start on a row of their own.
        let weight_pitch = if weight_port.is_multiple_of(cols) { cols } else { round_up(cols, weight_port) };
        // The formats that these stages use, not all that the chip has: a wide one must not widen the sums of a narrow one.
        let used = stages.iter().filter_map(|stage| chip.format(stage.problem.weight, stage.problem.activation));
        let accumulator_element_bytes = used.map(Format::accumulator_bytes).max().unwrap_or(4);
        let accumulator_pitch = round_up(cols * accumulator_element_bytes, u64::from(chip.accumulator().port_bytes));
        Self {
            array,
            timing,
            weight_pad,
            weight_field: format!("scratchpads.{}.capacity", roles.weight),
            activation_pad,
            activation_field: format!("scratchpads.{}.capacity", roles.activation),
            shared: roles.weight == roles.activation,
            accumulator_bytes: chip.accumulator().capacity.get(),
            accumulator_stripe: u64::from(chip.accumulator().port_bytes) * u64::from(chip.accumulator().banks),
            buffers: Buffers {
                weight_ring_address: 0,
                weight_ring_slots: 0,
                weight_slot_bytes: round_up(u64::from(array.rows) * weight_pitch, weight_port),
                weight_pitch,
                accumulator_slots: 0,
                accumulator_slot_bytes: 0,
                accumulator_pitch,
                accumulator_element_bytes,
                activation_port: u64::from(activation_pad.port_bytes),
            },
        }
    }

    /// Bytes of the activation scratchpad that activations may take, when `weight_slots` tiles must still fit beside them.
    fn activation_room(&self, weight_slots: u64) -> u64 {
        let reserved = if self.shared { weight_slots * self.buffers.weight_slot_bytes } else { 0 };
        self.activation_pad.capacity.get().saturating_sub(reserved)
    }

    fn pass_vectors(&self) -> u64 {
        match self.timing.max_pass_vectors {
            MaxPassVectors::Unlimited => u64::from(u32::MAX),
            MaxPassVectors::Rows => u64::from(self.array.rows),
        }
    }
}

/// What a stage takes of the activation scratchpad with blocks of `tile` vectors.
#[derive(Debug, Clone, Copy)]
struct RowBytes {
    input: u64,
    /// Of one column tile.
    output: u64,
    /// Of all column tiles.
    kept_output: u64,
}

impl RowBytes {
    fn of(problem: &Problem, capacity: &Capacity<'_>) -> Self {
        let buffers = &capacity.buffers;
        Self {
            input: buffers.activation_pitch(problem.reduction()),
            output: buffers.activation_pitch(problem.channels().min(u64::from(capacity.array.cols))),
            kept_output: buffers.activation_pitch(problem.channels()),
        }
    }
}

/// Maps stages onto a chip: the largest blocks of vectors that fit, activations that stay on the chip where both neighbours fit, and
/// double buffers where there is room for them.
///
/// # Errors
/// A batch out of range, or a memory too small for the smallest tile.
pub fn map(stages: &[Lowered], chip: &Chip, batch: u64, start: WeightStart) -> Result<Mapping, MappingError> {
    if batch == 0 || batch > MAX_BATCH {
        return Err(MappingError::Batch { batch, limit: MAX_BATCH });
    }
    let capacity = Capacity::of(chip, stages);
    let mut tiles = Vec::new();
    for stage in stages {
        tiles.push(vector_tile(stage, &capacity)?);
    }
    let kept = kept_edges(stages, &tiles, &capacity);
    let mut buffers = capacity.buffers;
    let largest = tiles.iter().copied().max().unwrap_or(1);
    buffers.accumulator_slot_bytes = largest * buffers.accumulator_pitch;
    buffers.accumulator_slots = (capacity.accumulator_bytes / buffers.accumulator_slot_bytes).min(MAX_ACCUMULATOR_BLOCKS);

    let places = place_activations(stages, &tiles, &kept, &capacity);
    let mut next = if capacity.shared { round_up(places.end, u64::from(capacity.weight_pad.port_bytes)) } else { 0 };
    let mut weights = vec![WeightBuffer::Fetched; stages.len()];
    let slot = buffers.weight_slot_bytes;
    let stage_tiles: Vec<u64> = stages.iter().map(|stage| weight_tiles(&stage.problem, capacity.array)).collect();
    if start == WeightStart::Resident {
        for (index, tiles) in stage_tiles.iter().enumerate() {
            // What is fetched all the same needs a ring that hides the latency of as many transfers as may be under way.
            let others = stage_tiles[index + 1..].iter().sum::<u64>() + fetched_tiles(&weights[..index], &stage_tiles);
            let ring = others.min(u64::from(chip.dma().outstanding) + 2);
            if next + (tiles + ring) * slot <= capacity.weight_pad.capacity.get() {
                weights[index] = WeightBuffer::Resident { address: next };
                next += tiles * slot;
            }
        }
    }
    buffers.weight_ring_address = next;
    buffers.weight_ring_slots = ((capacity.weight_pad.capacity.get() - next) / slot).min(fetched_tiles(&weights, &stage_tiles));

    let mut mapped = Vec::new();
    for (index, stage) in stages.iter().enumerate() {
        let size = [stage.problem.vectors(), stage.problem.reduction(), stage.problem.channels()];
        let (rows, cols) = (u64::from(capacity.array.rows), u64::from(capacity.array.cols));
        mapped.push(Stage {
            layers: vec![stage.layer],
            name: stage.name.clone(),
            cores: 0..1,
            split: Vec::new(),
            problem: stage.problem,
            nest: LoopNest::weight_stationary(size, rows, cols, tiles[index], capacity.pass_vectors()),
            input: places.inputs[index],
            output: places.outputs[index],
            weights: weights[index],
        });
    }
    Ok(Mapping { batch, stages: mapped, buffers })
}

/// Stationary tiles of a problem: `ceil(K/R) * ceil(N/C)`.
fn weight_tiles(problem: &Problem, array: &Array) -> u64 {
    problem.reduction().div_ceil(u64::from(array.rows)) * problem.channels().div_ceil(u64::from(array.cols))
}

fn fetched_tiles(weights: &[WeightBuffer], tiles: &[u64]) -> u64 {
    weights.iter().zip(tiles).filter(|(buffer, _)| **buffer == WeightBuffer::Fetched).map(|(_, tiles)| tiles).sum()
}

/// The largest block of vectors that fits, with double buffers if anything fits with them.
fn vector_tile(stage: &Lowered, capacity: &Capacity<'_>) -> Result<u64, MappingError> {
    let vectors = stage.problem.vectors();
    let row = RowBytes::of(&stage.problem, capacity);
    let sums = capacity.buffers.accumulator_pitch;
    if capacity.accumulator_bytes < sums {
        return Err(MappingError::TooSmall {
            memory: "the accumulator".to_string(),
            field: "accumulator.capacity".to_string(),
            layer: stage.name.clone(),
            needed: round_up(sums, capacity.accumulator_stripe),
            why: format!("one vector of {} sums", capacity.array.cols),
            capacity: capacity.accumulator_bytes,
        });
    }
    if capacity.weight_pad.capacity.get() < capacity.buffers.weight_slot_bytes {
        return Err(too_small_for_weights(stage, capacity, 0));
    }
    // Double buffers first; where not one vector fits with them, single ones.
    for buffers in [2, 1] {
        let most = if buffers == 2 && vectors <= capacity.accumulator_bytes / sums {
            // A batch of one block needs a second block only for the next column tile.
            (capacity.accumulator_bytes / sums / 2).max(u64::from(vectors == 1))
        } else {
            capacity.accumulator_bytes / sums / buffers
        };
        let room = capacity.activation_room(buffers);
        let single = row.input + 2 * row.output;
        let fitting =
            if room >= vectors * single && vectors <= most { vectors } else { (room / (buffers * (row.input + row.output))).min(most) };
        if fitting > 0 {
            return Ok(fitting.min(vectors));
        }
    }
    let needed = row.input + row.output;
    if capacity.shared {
        return Err(too_small_for_weights(stage, capacity, needed));
    }
    Err(MappingError::TooSmall {
        memory: "the activation scratchpad".to_string(),
        field: capacity.activation_field.clone(),
        layer: stage.name.clone(),
        needed: round_up(needed, stripe(capacity.activation_pad)),
        why: format!("a vector of {} inputs and one of outputs", stage.problem.reduction()),
        capacity: capacity.activation_pad.capacity.get(),
    })
}

/// Bytes of one row in every bank: capacities are multiples of it.
fn stripe(pad: &Scratchpad) -> u64 {
    u64::from(pad.port_bytes) * u64::from(pad.banks)
}

fn too_small_for_weights(stage: &Lowered, capacity: &Capacity<'_>, activations: u64) -> MappingError {
    let tile = format!("a weight tile of {} x {}", capacity.array.rows, capacity.array.cols);
    let why = if activations == 0 { tile } else { format!("{tile}, a vector of {} inputs and one of outputs", stage.problem.reduction()) };
    MappingError::TooSmall {
        memory: if capacity.shared { "the scratchpad" } else { "the weight scratchpad" }.to_string(),
        field: capacity.weight_field.clone(),
        layer: stage.name.clone(),
        needed: round_up(capacity.buffers.weight_slot_bytes + activations, stripe(capacity.weight_pad)),
        why,
        capacity: capacity.weight_pad.capacity.get(),
    }
}

/// Which stages leave their output on the chip for the next: both take the batch in one block, the next reads the rows as they lie, and
/// both stages' buffers fit with it.
fn kept_edges(stages: &[Lowered], tiles: &[u64], capacity: &Capacity<'_>) -> Vec<bool> {
    let mut kept = vec![false; stages.len()];
    for index in 0..stages.len().saturating_sub(1) {
        let (this, next) = (&stages[index].problem, &stages[index + 1].problem);
        let whole = tiles[index] == this.vectors() && tiles[index + 1] == next.vectors();
        if !whole || this.channels() != next.reduction() {
            continue;
        }
        kept[index] = true;
        let room = capacity.activation_room(2);
        let fits = |stage: usize| {
            let [input, output] = stage_bytes(stage, stages, tiles, &kept, capacity);
            input + output <= room
        };
        kept[index] = fits(index) && fits(index + 1);
    }
    kept
}

/// Bytes of a stage's input and output buffers, at two blocks each where both fit and they pass through, else one.
fn stage_bytes(stage: usize, stages: &[Lowered], tiles: &[u64], kept: &[bool], capacity: &Capacity<'_>) -> [u64; 2] {
    let slots = ring_slots(stage, stages, tiles, kept, capacity);
    let row = RowBytes::of(&stages[stage].problem, capacity);
    let input = if is_input_kept(stage, kept) { tiles[stage] * row.input } else { slots[0] * tiles[stage] * row.input };
    let output = if kept[stage] { tiles[stage] * row.kept_output } else { slots[1] * tiles[stage] * row.output };
    [input, output]
}

fn is_input_kept(stage: usize, kept: &[bool]) -> bool {
    stage > 0 && kept[stage - 1]
}

/// Blocks in the rings of a stage's input and output.
fn ring_slots(stage: usize, stages: &[Lowered], tiles: &[u64], kept: &[bool], capacity: &Capacity<'_>) -> [u64; 2] {
    let problem = &stages[stage].problem;
    let row = RowBytes::of(problem, capacity);
    let blocks = problem.vectors().div_ceil(tiles[stage]);
    let room = capacity.activation_room(1) / tiles[stage];
    let input = if is_input_kept(stage, kept) { row.input } else { blocks.min(2) * row.input };
    let output = if kept[stage] { row.kept_output } else { 2 * row.output };
    if input + output <= room { [blocks.min(2), 2] } else { [1, 1] }
}

/// Where activations lie.
struct Places {
    inputs: Vec<InputBuffer>,
    outputs: Vec<OutputBuffer>,
    /// One past the last byte.
    end: u64,
}

/// Puts the input of even stages at the low end and of odd ones at the high end of the area that the largest stage needs.
fn place_activations(stages: &[Lowered], tiles: &[u64], kept: &[bool], capacity: &Capacity<'_>) -> Places {
    let bytes: Vec<[u64; 2]> = (0..stages.len()).map(|stage| stage_bytes(stage, stages, tiles, kept, capacity)).collect();
    let end = bytes.iter().map(|[input, output]| input + output).max().unwrap_or(0);
    let mut places = Places { inputs: Vec::new(), outputs: Vec::new(), end };
    for (stage, [input_bytes, output_bytes]) in bytes.into_iter().enumerate() {
        let low = stage % 2 == 0;
        let input = if low { 0 } else { end - input_bytes };
        let output = if low { end - output_bytes } else { 0 };
        let slots = ring_slots(stage, stages, tiles, kept, capacity);
        places.inputs.push(if is_input_kept(stage, kept) {
            InputBuffer::Kept { address: input }
        } else {
            InputBuffer::Fetched { address: input, slots: slots[0] }
        });
        places.outputs.push(if kept[stage] {
            OutputBuffer::Kept { address: output }
        } else {
            OutputBuffer::Stored { address: output, slots: slots[1] }
        });
    }
    places
}
