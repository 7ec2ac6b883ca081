//! Fits stages to a chip's buffers: how many vectors a block holds, which activations stay on the chip, and how the memories are shared.
//!
//! The activation scratchpad is shared from both ends: a stage's input lies at one end, its output at the other, and the next stage takes
//! them the other way round. What is left is one ring of weights for all stages, so that a stage's weights are fetched while the one before
//! still computes. The accumulator is one ring of blocks.

use super::draft::{Capacity, Draft, chunk, cut, draft, movement_draft, vector_draft};
use super::keep::{bytes_alone, follows, keep_edges, lay_out, place_activations};
use super::stored::{coding, stored};
use super::{
    Buffers, Layout, LoopNest, Lowered, MAX_CAPACITY, Mapping, MappingError, Order, Rules, Stage, Tiling, WeightBuffer, WeightStart, Work,
    least_actions, round_up,
};
use crate::chip::{Chip, Dataflow, Sparsity, Stationary};
use petgraph::unionfind::UnionFind;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};

/// The most samples in a batch.
pub(super) const MAX_BATCH: u64 = 1 << 20;
/// More accumulator blocks than this never help: one fills while one empties, and the others only wait with their bias.
const MAX_ACCUMULATOR_BLOCKS: u64 = 8;
/// The most mappings that are tried to find which pixels may have rows between them.
const MAX_TRIES: usize = 24;

/// What was chosen for a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Choice {
    /// What stays in the array.
    pub stationary: Stationary,
    /// How the stage is cut; where there is nothing, the largest pieces that fit.
    pub tiling: Option<Tiling>,
    /// How its input lies, where that is images.
    pub layout: Layout,
}

impl Choice {
    /// The chip's first dataflow, the largest pieces that fit, and channels innermost.
    pub fn first(chip: &Chip) -> Self {
        Self { stationary: chip.array().dataflows[0].kind(), tiling: None, layout: Layout::ChannelInnermost }
    }
}

/// Maps stages onto a chip in its first dataflow: the largest blocks of vectors that fit, activations that stay on the chip where both
/// neighbours fit, and double buffers where there is room for them.
///
/// # Errors
/// A batch out of range, or a memory too small for the smallest tile.
pub fn map(stages: &[Lowered], chip: &Chip, batch: u64, start: WeightStart) -> Result<Mapping, MappingError> {
    map_as(stages, chip, batch, start, &vec![Choice::first(chip); stages.len()])
}

/// The same as it was chosen, a choice a stage.
///
/// # Errors
/// As [`map`]; a dataflow that the chip lacks, or a cut that does not fit it.
///
/// # Panics
/// If there is not a choice for each stage, or the chip does not multiply the formats of the stages, which `lower` refuses.
pub fn map_as(stages: &[Lowered], chip: &Chip, batch: u64, start: WeightStart, choices: &[Choice]) -> Result<Mapping, MappingError> {
    map_within(stages, chip, (batch, start), choices, &Capacity::of(chip)).map_err(|error| {
        // A search asks for many cuts, and looks at no message.
        if choices.iter().any(|choice| choice.tiling.is_some()) {
            return error.or_suffices(|_, needed| needed);
        }
        error.or_suffices(|field, needed| {
            let is_enough = |bytes: u64| {
                let capacity = Capacity::of(chip).with_bytes(field, bytes);
                let mapped = map_into(stages, chip, (batch, start), choices, &capacity, &BTreeSet::new());
                !matches!(mapped, Err(MappingError::TooSmall { field: of, .. }) if of == field)
            };
            suffices(needed, Capacity::of(chip).stripe_of(field), is_enough)
        })
    })
}

/// The least multiple of `stripe`, from `needed` up, that is enough; `needed` where none is found.
fn suffices(needed: u64, stripe: u64, is_enough: impl Fn(u64) -> bool) -> u64 {
    if is_enough(needed) {
        return needed;
    }
    let mut low = needed / stripe;
    let mut high = 2 * low.max(1);
    while !is_enough(high * stripe) {
        (low, high) = (high, 2 * high);
        if high * stripe > MAX_CAPACITY {
            return needed;
        }
    }
    while high - low > 1 {
        let middle = u64::midpoint(low, high);
        if is_enough(middle * stripe) { high = middle } else { low = middle }
    }
    high * stripe
}

/// The same within memories of these sizes, with rows between pixels that would all begin in one bank, where the room that these take costs no traffic:
/// an output that would stay on the chip, or weights that are fetched for more blocks. How fast DRAM is changes nothing.
pub(super) fn map_within(
    stages: &[Lowered],
    chip: &Chip,
    batch: (u64, WeightStart),
    choices: &[Choice],
    capacity: &Capacity<'_>,
) -> Result<Mapping, MappingError> {
    let map = |spread: &BTreeSet<usize>| map_into(stages, chip, batch, choices, capacity, spread);
    let traffic = |mapping: &Mapping| -> u64 {
        least_actions(mapping, chip).iter().map(|actions| actions.dram_read_bytes + actions.dram_write_bytes).sum()
    };
    let mut best = map(&BTreeSet::new())?;
    if !best.stages().iter().any(|stage| stage.rules.may_leave_rows(&stage.problem)) {
        return Ok(best);
    }
    let least = traffic(&best);
    let mut spread = BTreeSet::new();
    // All at once; where that costs traffic one half and then the other, and so on.
    let mut left = vec![read_side_by_side(stages)];
    for _ in 0..MAX_TRIES {
        let Some(mut groups) = left.pop() else { break };
        let with: BTreeSet<usize> = groups.iter().flatten().chain(&spread).copied().collect();
        match map(&with) {
            Ok(mapping) if traffic(&mapping) <= least => (best, spread) = (mapping, with),
            _ if groups.len() > 1 => {
                let second = groups.split_off(groups.len() / 2);
                left.extend([second, groups]);
            }
            _ => {}
        }
    }
    Ok(best)
}

/// All activations by the numbers of their tensors, in the order in which they are last made or read: those that a stage reads side by side, which lie
/// in one way, are together.
fn read_side_by_side(stages: &[Lowered]) -> Vec<BTreeSet<usize>> {
    let inputs = |stage: &Lowered| stage.inputs.iter().map(|input| input.tensor.number).collect::<Vec<usize>>();
    let tensors: Vec<usize> = stages.iter().flat_map(|stage| inputs(stage).into_iter().chain([stage.output.tensor.number])).collect();
    let mut together = UnionFind::new(tensors.iter().max().map_or(0, |most| most + 1));
    for inputs in stages.iter().map(inputs) {
        for pair in inputs.windows(2) {
            together.union(pair[0], pair[1]);
        }
    }
    let mut groups: BTreeMap<usize, (usize, BTreeSet<usize>)> = BTreeMap::new();
    for (time, tensor) in tensors.into_iter().enumerate() {
        let group = groups.entry(together.find(tensor)).or_default();
        group.0 = time;
        group.1.insert(tensor);
    }
    let mut groups: Vec<_> = groups.into_values().collect();
    groups.sort_unstable_by_key(|(time, _)| *time);
    groups.into_iter().map(|(_, tensors)| tensors).collect()
}

/// The same into memories of these sizes, with rows between the pixels of these tensors.
fn map_into(
    stages: &[Lowered],
    chip: &Chip,
    (batch, start): (u64, WeightStart),
    choices: &[Choice],
    capacity: &Capacity<'_>,
    spread: &BTreeSet<usize>,
) -> Result<Mapping, MappingError> {
    if batch == 0 || batch > MAX_BATCH {
        return Err(MappingError::Batch { batch, limit: MAX_BATCH });
    }
    let array = |stage: &&Lowered| stage.work.is_array();
    let mut rules = Vec::with_capacity(stages.len());
    for (stage, choice) in stages.iter().zip(choices) {
        let Some(dataflow) = chip.dataflow(stationary(stage, chip, choice)?) else {
            return Err(MappingError::NoDataflow {
                layer: stage.name.clone(),
                asked: choice.stationary.name(),
                chip: chip.name().to_string(),
            });
        };
        // Other units go by what the array does around them.
        let problem = &if stage.work.is_array() { stage } else { stages.iter().find(array).unwrap_or(stage) }.problem;
        let known = chip.format(problem.weight, problem.activation).or_else(|| chip.formats().first());
        rules.push(Rules::new(chip, known.expect("bug: lower refuses formats that the chip has not"), dataflow));
    }
    // Sums of all stages are as wide as the widest; without a sum, as wide as the chip's would be.
    let of_array = stages.iter().zip(&rules).filter(|(stage, _)| array(stage)).map(|(_, rules)| rules.element).max();
    let element = of_array.or_else(|| rules.iter().map(|rules| rules.element).max()).unwrap_or(1);
    for (rules, stage) in rules.iter_mut().zip(stages) {
        rules.element = element;
        rules.input_spreads = stage.inputs.iter().any(|input| spread.contains(&input.tensor.number));
        rules.output_spreads = spread.contains(&stage.output.tensor.number);
    }
    let follows = follows(stages);
    lay_out(stages, choices, &follows, &mut rules)?;
    let asked: Vec<_> = stages.iter().zip(rules).zip(choices).collect();
    // One ring serves all stages: its slots hold the largest piece of any.
    let chunks = asked.iter().map(|((stage, rules), choice)| match choice.tiling {
        Some(tiling) => Ok(tiling.chunk.clamp(1, stage.problem.channels())),
        None if stage.work.is_array() => chunk(stage, rules, capacity),
        None => Ok(stage.problem.channels()),
    });
    let chunks: Vec<u64> = chunks.collect::<Result<_, _>>()?;
    let slots = asked.iter().zip(&chunks).filter(|(((stage, _), _), _)| array(stage));
    let slots = slots.map(|(((stage, rules), _), chunk)| rules.weight_slot(&stage.problem, &cut(1, *chunk)));
    let slot = slots.max().unwrap_or(1);
    let mut drafts = Vec::with_capacity(stages.len());
    for (((lowered, rules), choice), chunk) in asked.into_iter().zip(chunks) {
        drafts.push(match &lowered.work {
            Work::Array | Work::Product { .. } => draft(lowered, rules, capacity, (chunk, choice.tiling), slot)?,
            Work::Vector(_) => vector_draft(lowered, rules, capacity, slot)?,
            Work::Movement(_) => movement_draft(lowered, rules, capacity, slot)?,
            Work::Host(_) => {
                let tiling = cut(lowered.problem.vectors(), lowered.problem.m);
                Draft { lowered, rules, tiling, rows: 0, slots: 0, kept: false, follows: None, passing: 0 }
            }
        });
    }
    for (draft, follows) in drafts.iter_mut().zip(follows) {
        draft.follows = follows;
    }
    keep_edges(&mut drafts, capacity.activation_room(2 * slot));
    fetch_weights_once(&mut drafts, choices, capacity, slot)?;

    let ring = drafts.iter().map(|draft| least_slots(draft) + 1).max().unwrap_or(2).max(2);
    let places = place_activations(&drafts, capacity.activation_room(ring * slot));
    let mut next = if capacity.shared { round_up(places.end, u64::from(capacity.weight_pad.port_bytes)) } else { 0 };
    let mut weights = vec![WeightBuffer::Fetched; stages.len()];
    let pieces: Vec<u64> = drafts.iter().map(pieces).collect();
    if start == WeightStart::Resident {
        for (index, count) in pieces.iter().enumerate().filter(|(index, _)| drafts[*index].lowered.work == Work::Array) {
            // What is fetched all the same needs a ring that hides the latency of as many transfers as may be under way.
            let others = pieces[index + 1..].iter().sum::<u64>() + fetched_pieces(&weights[..index], &pieces);
            let least = drafts.iter().map(least_slots).max().unwrap_or(1);
            let ring = others.min((u64::from(chip.dma().outstanding) + 2).max(least));
            if next + (count + ring) * slot <= capacity.weight_capacity() {
                weights[index] = WeightBuffer::Resident { address: next };
                next += count * slot;
            }
        }
    }
    let of_array = drafts.iter().filter(|draft| draft.lowered.work.is_array());
    let sums = of_array.map(|draft| draft.rules.sums(draft.problem(), &draft.tiling, draft.tiling.block)).max().unwrap_or(1);
    let buffers = Buffers {
        weight_ring_address: next,
        weight_ring_slots: ((capacity.weight_capacity() - next) / slot).min(fetched_pieces(&weights, &pieces)),
        weight_slot_bytes: slot,
        accumulator_slots: (capacity.accumulator_bytes / sums).min(MAX_ACCUMULATOR_BLOCKS),
        accumulator_slot_bytes: sums,
        accumulator_element_bytes: element,
    };
    let mapped = drafts.iter().enumerate().map(|(index, draft)| Stage {
        layers: draft.lowered.layer.into_iter().collect(),
        name: draft.lowered.name.clone(),
        cores: 0..1,
        split: Vec::new(),
        work: draft.lowered.work.clone(),
        problem: *draft.problem(),
        sources: draft.lowered.inputs.clone(),
        target: draft.lowered.output.clone(),
        follows: draft.follows.is_some(),
        rules: draft.rules,
        tiling: draft.tiling,
        nest: LoopNest::of(&draft.lowered.work, draft.problem(), &draft.tiling, &draft.rules),
        pitches: draft.rules.pitches(draft.problem(), &draft.tiling),
        input: places.inputs[index][0],
        second: places.inputs[index].get(1).copied(),
        output: places.outputs[index],
        weights: weights[index],
        skipped: skipped(draft, chip),
        coding: coding(draft.lowered, chip),
        stored: Vec::new(),
    });
    let mapped = mapped.zip(stages).map(|(stage, lowered)| Stage { stored: stored(&stage, &lowered.zeros), ..stage });
    Ok(Mapping { batch, stages: mapped.collect(), buffers })
}

/// What stays in the array for a stage. A value that plays the weights lies with K outermost, as weights do that stay or that sums stay for; where
/// it has a zero point it must stay, since only tiles that stay have one subtracted. Where the choice was another, it is the chip's first
/// dataflow that does.
fn stationary(stage: &Lowered, chip: &Chip, choice: &Choice) -> Result<Stationary, MappingError> {
    let Work::Product { zero_point, .. } = &stage.work else { return Ok(choice.stationary) };
    let can = |kind: &Stationary| *kind == Stationary::Weight || *kind == Stationary::Output && *zero_point == 0;
    if can(&choice.stationary) {
        return Ok(choice.stationary);
    }
    let other = chip.array().dataflows.iter().map(Dataflow::kind).find(can);
    other.filter(|_| choice.tiling.is_none()).ok_or_else(|| MappingError::NotSupported {
        layer: stage.name.clone(),
        op: "matmul",
        problem: format!(
            "multiplies by a value with a zero point of {zero_point}, and no dataflow of the array takes such a one in the place of weights"
        ),
        help: "choose a chip with a weight-stationary dataflow, or quantize the second value symmetrically for one in which sums stay",
    })
}

/// Pieces in which the weights of a stage come.
fn pieces(draft: &Draft<'_>) -> u64 {
    if draft.lowered.work.is_array() { draft.rules.pieces(draft.problem(), &draft.tiling) } else { 0 }
}

/// For each chunk of channels, each tile of K: whether its weights are all zero; empty where the array skips none.
fn skipped(draft: &Draft<'_>, chip: &Chip) -> Vec<bool> {
    let (zeros, problem, rules) = (&draft.lowered.zeros, draft.problem(), &draft.rules);
    if zeros.is_empty() || chip.array().sparsity != Sparsity::TileSkip {
        return Vec::new();
    }
    let (channels, chunk, tile) = (problem.channels(), draft.tiling.chunk, rules.k_tile(problem));
    let size = |count: u64| usize::try_from(count).expect("bug: weights that are known fit in memory");
    let is_zero = |first: u64, k_tile: u64| {
        let of_k = |k: u64| &zeros[size(k * channels + first)..size(k * channels + (first + chunk).min(channels))];
        (k_tile * tile..((k_tile + 1) * tile).min(problem.reduction())).all(|k| of_k(k).iter().all(|zero| *zero))
    };
    let chunks = (0..channels.div_ceil(chunk)).map(|number| number * chunk);
    chunks.flat_map(|first| (0..rules.k_tiles(problem)).map(move |k_tile| is_zero(first, k_tile))).collect()
}

fn fetched_pieces(weights: &[WeightBuffer], pieces: &[u64]) -> u64 {
    weights.iter().zip(pieces).filter(|(buffer, _)| **buffer == WeightBuffer::Fetched).map(|(_, pieces)| pieces).sum()
}

/// The slots that the ring of weights must have for a stage: all pieces of a chunk, where they stay while the blocks go by.
fn least_slots(draft: &Draft<'_>) -> u64 {
    if !draft.lowered.work.is_array() {
        return 0;
    }
    match draft.tiling.order {
        Order::Blocks => 1,
        Order::Channels => draft.rules.pieces_of_chunk(draft.problem()),
    }
}

/// Fetches weights once, rather than once for each block, where the input can stay on the chip as a whole beside a chunk's weights; where
/// nothing was asked for, or just that.
fn fetch_weights_once(drafts: &mut [Draft<'_>], choices: &[Choice], capacity: &Capacity<'_>, slot: u64) -> Result<(), MappingError> {
    for (index, choice) in choices.iter().enumerate() {
        let draft = &drafts[index];
        let problem = *draft.problem();
        let asked = choice.tiling.map(|tiling| tiling.order);
        if draft.lowered.work != Work::Array || draft.tiling.block >= problem.vectors() || asked == Some(Order::Blocks) {
            continue;
        }
        let (tiling, rows) = (draft.tiling, draft.rows);
        drafts[index].tiling.order = Order::Channels;
        drafts[index].rows = problem.input_rows();
        // One more slot than a chunk needs, so that the next one's weights come while it is used.
        let needed = drafts.iter().map(|draft| least_slots(draft) + 1).max().unwrap_or(1);
        let fits = |stage: usize| bytes_alone(stage, drafts) <= capacity.activation_room(needed * slot);
        if needed * slot > capacity.weight_capacity() || !(0..drafts.len()).all(fits) {
            if asked == Some(Order::Channels) {
                let what = "the whole input beside the weights of a chunk of channels does not fit the chip's memories";
                return Err(MappingError::Pinned { layer: drafts[index].lowered.name.clone(), problem: what.to_string() });
            }
            (drafts[index].tiling, drafts[index].rows) = (tiling, rows);
        }
    }
    Ok(())
}
