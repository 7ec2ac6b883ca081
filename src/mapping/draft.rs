//! A stage as it is being fitted: the largest blocks that the memories hold, or why none fits.

use super::keep::constant_bytes;
use super::tiling::{not_whole, rows_for_blocks};
use super::{Lowered, MappingError, Order, Problem, Rules, Tiling, largest_divisor, round_up};
use crate::chip::{Chip, Scratchpad, Stationary};

/// Elements of a block of the vector unit's: more make its parts wait for each other.
const BLOCK_ELEMENTS: u64 = 8192;
/// What suffices of a memory is found once it is known that it is too small.
const SET_LATER: u64 = 0;
/// The most bytes that a movement passes through.
const MAX_PASSING: u64 = 1 << 20;

/// What of a chip the fit goes by.
pub(super) struct Capacity<'c> {
    pub(super) weight_pad: &'c Scratchpad,
    pub(super) weight_field: String,
    pub(super) activation_pad: &'c Scratchpad,
    pub(super) activation_field: String,
    pub(super) shared: bool,
    pub(super) weight_bytes: u64,
    pub(super) activation_bytes: u64,
    pub(super) accumulator_bytes: u64,
    /// Bytes of one row in every bank of the accumulator: capacities are multiples of it.
    pub(super) accumulator_stripe: u64,
}

impl<'c> Capacity<'c> {
    pub(super) fn of(chip: &'c Chip) -> Self {
        let roles = chip.scratchpad_roles();
        Self {
            weight_pad: &chip.scratchpads()[roles.weight],
            activation_pad: &chip.scratchpads()[roles.activation],
            weight_field: format!("scratchpads.{}.capacity", roles.weight),
            activation_field: format!("scratchpads.{}.capacity", roles.activation),
            shared: roles.weight == roles.activation,
            weight_bytes: chip.scratchpads()[roles.weight].capacity.get(),
            activation_bytes: chip.scratchpads()[roles.activation].capacity.get(),
            accumulator_bytes: chip.accumulator().capacity.get(),
            accumulator_stripe: u64::from(chip.accumulator().port_bytes) * u64::from(chip.accumulator().banks),
        }
    }

    /// Bytes of the activation scratchpad that activations may take, when so many bytes of weights must still fit beside them.
    pub(super) fn activation_room(&self, weights: u64) -> u64 {
        self.activation_bytes.saturating_sub(if self.shared { weights } else { 0 })
    }

    /// The same with so many bytes in the scratchpad that holds activations.
    pub(super) fn with_activation_bytes(mut self, bytes: u64) -> Self {
        self.activation_bytes = bytes;
        if self.shared {
            self.weight_bytes = bytes;
        }
        self
    }

    /// The same with so many bytes in the memory that a field of the chip's file sizes.
    pub(super) fn with_bytes(mut self, field: &str, bytes: u64) -> Self {
        if field == self.activation_field {
            return self.with_activation_bytes(bytes);
        }
        *(if field == self.weight_field { &mut self.weight_bytes } else { &mut self.accumulator_bytes }) = bytes;
        self
    }

    /// Bytes of a row in every bank of that memory: its capacity is a multiple of it.
    pub(super) fn stripe_of(&self, field: &str) -> u64 {
        if field == self.activation_field {
            stripe(self.activation_pad)
        } else if field == self.weight_field {
            stripe(self.weight_pad)
        } else {
            self.accumulator_stripe
        }
    }

    pub(super) fn weight_capacity(&self) -> u64 {
        self.weight_bytes
    }
}

/// A stage as it is being fitted.
pub(super) struct Draft<'l> {
    pub(super) lowered: &'l Lowered,
    pub(super) rules: Rules,
    pub(super) tiling: Tiling,
    /// Rows of the input that are on the chip at a time, where it is fetched.
    pub(super) rows: u64,
    /// Slots of the output's ring, where it is stored.
    pub(super) slots: u64,
    /// Whether the output stays for the next stage.
    pub(super) kept: bool,
    /// Which of its inputs the stage before yields, as it is read and for this stage alone.
    pub(super) follows: Option<usize>,
    /// Bytes through which a movement passes.
    pub(super) passing: u64,
}

impl Draft<'_> {
    pub(super) fn problem(&self) -> &Problem {
        &self.lowered.problem
    }
}

/// A stage cut into blocks, weights fetched for each.
pub(super) fn cut(block: u64, chunk: u64) -> Tiling {
    Tiling { order: Order::Blocks, block, chunk }
}

/// The pieces that were asked for, or the largest that fit, with double buffers if anything fits with them.
pub(super) fn draft<'l>(
    lowered: &'l Lowered,
    rules: Rules,
    capacity: &Capacity<'_>,
    (chunk, asked): (u64, Option<Tiling>),
    slot: u64,
) -> Result<Draft<'l>, MappingError> {
    let problem = &lowered.problem;
    let (run, unit) = (lowered.run(), rules.vector_unit().min(lowered.run()));
    let smallest = cut(unit, chunk);
    let sums = rules.sums(problem, &smallest, unit);
    if capacity.accumulator_bytes < sums {
        return Err(MappingError::TooSmall {
            suffices: SET_LATER,
            memory: "the accumulator".to_string(),
            field: "accumulator.capacity".to_string(),
            layer: lowered.name.clone(),
            needed: round_up(sums, capacity.accumulator_stripe),
            why: if unit == 1 { format!("one vector of {chunk} sums") } else { format!("{unit} vectors of {chunk} sums") },
            capacity: capacity.accumulator_bytes,
        });
    }
    if capacity.weight_capacity() < slot {
        return Err(too_small_for_weights(lowered, &rules, capacity, slot, None));
    }
    if let Some(tiling) = asked {
        can_be_cut(lowered, &rules, &tiling)?;
    }
    // Double buffers first; where not one vector fits with them, single ones.
    for buffers in [2, 1] {
        let fits = |block: u64| fits(problem, &rules, capacity, &cut(block, chunk), buffers, slot);
        let block = match asked {
            Some(tiling) => Some(tiling.block).filter(|block| fits(*block)),
            // A smaller block may lie across more rows of an image.
            // Weights that are a value's are those of whole blocks.
            None if run < problem.vectors() => largest_divisor(run, fits),
            None => largest(problem.vectors(), unit, fits)
                .map(|block| Some(whole_passes(block, problem.vectors(), &rules)).filter(|block| fits(*block)).unwrap_or(block)),
        };
        let Some(block) = block else { continue };
        let rows = rows_for_blocks(problem, block, buffers);
        return Ok(Draft { lowered, rules, tiling: cut(block, chunk), rows, slots: buffers, kept: false, follows: None, passing: 0 });
    }
    if let Some(tiling) = asked {
        return Err(MappingError::Pinned {
            layer: lowered.name.clone(),
            problem: format!("a block of {} vectors and a chunk of {} channels do not fit the chip's memories", tiling.block, tiling.chunk),
        });
    }
    let needed = rules.input_bytes(problem, rows_for_blocks(problem, unit, 1)) + rules.stored_bytes(problem, &smallest);
    if capacity.shared {
        return Err(too_small_for_weights(lowered, &rules, capacity, slot, Some((needed, unit))));
    }
    Err(MappingError::TooSmall {
        suffices: SET_LATER,
        memory: "the activation scratchpad".to_string(),
        field: capacity.activation_field.clone(),
        layer: lowered.name.clone(),
        needed: round_up(needed, stripe(capacity.activation_pad)),
        why: activations_in_words(problem, unit),
        capacity: capacity.activation_bytes,
    })
}

/// A stage of the vector unit: blocks of some size, so that its parts come and go side by side, with double buffers if anything fits with them.
pub(super) fn vector_draft<'l>(lowered: &'l Lowered, rules: Rules, capacity: &Capacity<'_>, slot: u64) -> Result<Draft<'l>, MappingError> {
    let problem = &lowered.problem;
    // Rows of pixels that are read one by one lie side by side where blocks are whole rows of images.
    let unit = if problem.is_matrix() || lowered.has_window() { 1 } else { problem.q };
    let bytes = |block: u64, buffers: u64| {
        let inputs = lowered.row_inputs() * rules.input_bytes(problem, rows_for_blocks(problem, block, buffers));
        constant_bytes(lowered, &rules) + inputs + buffers * block * rules.pitches(problem, &cut(block, problem.m)).stored
    };
    let most = (BLOCK_ELEMENTS / problem.m).max(1).next_multiple_of(unit).min(problem.vectors());
    for buffers in [2, 1] {
        let fits = |block: u64| bytes(block, buffers) <= capacity.activation_room(buffers * slot);
        let block = if fits(most) { Some(most) } else { largest(most, unit, fits) };
        let Some(block) = block else { continue };
        let rows = rows_for_blocks(problem, block, buffers);
        let tiling = cut(block, problem.m);
        return Ok(Draft { lowered, rules, tiling, rows, slots: buffers, kept: false, follows: None, passing: 0 });
    }
    let rows = if unit == 1 { "one row".to_string() } else { format!("{unit} rows") };
    Err(too_small_for_activations(lowered, capacity, slot, (bytes(unit, 1), format!("{rows} of {} elements of each operand", problem.m))))
}

/// A movement: as much at a time as there is room for.
pub(super) fn movement_draft<'l>(
    lowered: &'l Lowered,
    rules: Rules,
    capacity: &Capacity<'_>,
    slot: u64,
) -> Result<Draft<'l>, MappingError> {
    let port = u64::from(capacity.activation_pad.port_bytes);
    let room = [2, 1].map(|buffers| capacity.activation_room(buffers * slot).min(MAX_PASSING));
    let room = room.into_iter().find(|room| *room >= port).unwrap_or(0);
    let passing = round_up(lowered.output.tensor.bytes, port).min(room - room % port);
    if passing == 0 {
        return Err(too_small_for_activations(lowered, capacity, slot, (port, "a row on its way from DRAM to DRAM".to_string())));
    }
    let tiling = cut(lowered.problem.vectors(), lowered.problem.m);
    Ok(Draft { lowered, rules, tiling, rows: 0, slots: 0, kept: false, follows: None, passing })
}

fn too_small_for_activations(lowered: &Lowered, capacity: &Capacity<'_>, slot: u64, (needed, why): (u64, String)) -> MappingError {
    MappingError::TooSmall {
        suffices: SET_LATER,
        memory: if capacity.shared { "the scratchpad" } else { "the activation scratchpad" }.to_string(),
        field: capacity.activation_field.clone(),
        layer: lowered.name.clone(),
        needed: round_up(needed + if capacity.shared { slot } else { 0 }, stripe(capacity.activation_pad)),
        why,
        capacity: capacity.activation_bytes,
    }
}

/// Whether a stage can be cut so, whatever the memories.
fn can_be_cut(lowered: &Lowered, rules: &Rules, tiling: &Tiling) -> Result<(), MappingError> {
    let (problem, unit) = (&lowered.problem, rules.vector_unit());
    let fault = |problem: String| Err(MappingError::Pinned { layer: lowered.name.clone(), problem });
    if lowered.run() < problem.vectors()
        && (tiling.block == 0 || !lowered.run().is_multiple_of(tiling.block) || tiling.order != Order::Blocks)
    {
        let run = lowered.run();
        return fault(format!(
            "a block of {} vectors is none: blocks divide the {run} that are multiplied by the same, and are the outer loop",
            tiling.block
        ));
    }
    let is_cut = tiling.block < problem.vectors() && lowered.run() == problem.vectors();
    if tiling.block == 0 || tiling.block > problem.vectors() || is_cut && !tiling.block.is_multiple_of(unit) {
        let (block, all) = (tiling.block, problem.vectors());
        let what = if unit == 1 { format!("1 to {all}") } else { format!("a multiple of {unit} below {all}, or all {all}") };
        return fault(format!("a block of {block} vectors is none: it is {what}"));
    }
    let channels = problem.group_outputs();
    if problem.groups > 1 && (tiling.chunk == 0 || !channels.is_multiple_of(tiling.chunk)) {
        return fault(format!("a chunk of {} channels is none: chunks divide the {channels} of a group", tiling.chunk));
    }
    let Some(share) = problem.share(rules.chunk_unit().min(channels)) else { return Err(not_whole(lowered, rules.chunk_unit())) };
    if problem.output.bits() < 8 && (1..=channels).contains(&tiling.chunk) && problem.share(tiling.chunk) != Some(tiling.chunk) {
        return Err(not_whole(lowered, tiling.chunk));
    }
    let chunks = match rules.mode.stationary {
        Stationary::Input => 1..=channels,
        _ if problem.groups > 1 => 1..=rules.chunk_unit().min(channels),
        Stationary::Weight | Stationary::Output => share..=share,
    };
    if !chunks.contains(&tiling.chunk) {
        let (first, last) = (chunks.start(), chunks.end());
        let what = if first == last { format!("{first} here, the array's columns") } else { format!("{first} to {last}") };
        return fault(format!("a chunk of {} channels is none: it is {what}", tiling.chunk));
    }
    Ok(())
}

fn activations_in_words(problem: &Problem, unit: u64) -> String {
    match (problem.is_matrix(), unit) {
        (true, 1) => format!("a vector of {} inputs and one of outputs", problem.reduction()),
        (true, _) => format!("{unit} vectors of {} inputs and as many of outputs", problem.reduction()),
        (false, _) => format!("the rows of {} x {} inputs that {unit} outputs need, and the outputs", problem.input[1], problem.c),
    }
}

/// The channels of a chunk: the array's columns, or the most that stream past a tile in whole passes, that take no more than a half of the
/// weights' room for two pieces, and have their sums in the accumulator.
pub(super) fn chunk(lowered: &Lowered, rules: &Rules, capacity: &Capacity<'_>) -> Result<u64, MappingError> {
    let problem = &lowered.problem;
    // A chunk of a group is a whole share of it, so that all are alike.
    let whole_share = |most: u64| problem.share(most).ok_or_else(|| not_whole(lowered, most));
    if rules.mode.stationary != Stationary::Input {
        return whole_share(rules.chunk_unit().min(problem.channels()));
    }
    let unit = rules.vector_unit().min(problem.vectors());
    let room = capacity.weight_capacity() / if capacity.shared { 4 } else { 2 };
    let fits = |chunk: u64| {
        let tiling = cut(unit, chunk);
        rules.weight_slot(problem, &tiling) <= room && 2 * rules.sums(problem, &tiling, unit) <= capacity.accumulator_bytes
    };
    let most = largest(problem.channels(), 1, fits).unwrap_or(1);
    let pass = rules.chunk_unit();
    whole_share(if most < problem.channels() && most > pass { most - most % pass } else { most })
}

/// The largest multiple of `unit`, or all of `size`, that fits.
fn largest(size: u64, unit: u64, fits: impl Fn(u64) -> bool) -> Option<u64> {
    if fits(size) {
        return Some(size);
    }
    let (mut low, mut high) = (0, size.div_ceil(unit));
    while high - low > 1 {
        let middle = u64::midpoint(low, high);
        if fits(middle * unit) { low = middle } else { high = middle }
    }
    (low > 0).then_some(low * unit)
}

/// A block that ends on a whole pass where it is not all there is.
fn whole_passes(block: u64, vectors: u64, rules: &Rules) -> u64 {
    let streams = rules.mode.stationary == Stationary::Weight;
    if streams && block < vectors && block > rules.pass { block - block % rules.pass } else { block }
}

/// Whether a stage cut so fits with `buffers` of everything, a slot of weights being `slot` bytes, its input fetched and its output stored.
fn fits(problem: &Problem, rules: &Rules, capacity: &Capacity<'_>, tiling: &Tiling, buffers: u64, slot: u64) -> bool {
    // One set of sums is enough where it is all there is.
    let only = tiling.block >= problem.vectors() && tiling.chunk >= problem.channels();
    let sums = rules.sums(problem, tiling, tiling.block) * if only { 1 } else { buffers };
    let stored = buffers * rules.stored_bytes(problem, tiling);
    sums <= capacity.accumulator_bytes
        && rules.input_bytes(problem, rows_for_blocks(problem, tiling.block, buffers)) + stored <= capacity.activation_room(buffers * slot)
}

fn too_small_for_weights(
    lowered: &Lowered,
    rules: &Rules,
    capacity: &Capacity<'_>,
    slot: u64,
    activations: Option<(u64, u64)>,
) -> MappingError {
    let (problem, size) = (&lowered.problem, rules.mode.size);
    let tile = match rules.mode.stationary {
        Stationary::Weight => format!("a weight tile of {} x {}", size.rows, size.cols),
        Stationary::Input => format!("a vector of {} weights", problem.reduction()),
        Stationary::Output => format!("a panel of {} x {} weights", problem.reduction(), size.cols),
    };
    let why = activations.map(|(_, vectors)| format!("{tile}, {}", activations_in_words(problem, vectors)));
    MappingError::TooSmall {
        suffices: SET_LATER,
        memory: if capacity.shared { "the scratchpad" } else { "the weight scratchpad" }.to_string(),
        field: capacity.weight_field.clone(),
        layer: lowered.name.clone(),
        needed: round_up(slot + activations.map_or(0, |(bytes, _)| bytes), stripe(capacity.weight_pad)),
        why: why.unwrap_or(tile),
        capacity: capacity.weight_capacity(),
    }
}

/// Bytes of one row in every bank: capacities are multiples of it.
pub(super) fn stripe(pad: &Scratchpad) -> u64 {
    u64::from(pad.port_bytes) * u64::from(pad.banks)
}
