//! Looks for the best cut of a stage: every candidate has a closed-form bound, which says in which order they are simulated and when to stop.
//!
//! Branch and bound (Land, Doig, Econometrica 1960): candidates are simulated in the order of their bounds; once the next bound is no better than the
//! best cost found, nothing that is left can be better. Where the budget ends first, the gap to the least bound that is left is told.

use super::{Choice, Layout, Lowered, Mapping, MappingError, Order, Tiling, WeightStart, map_as};
use crate::chip::{Chip, Dataflow, Stationary};

/// What a search found for one stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The best choice.
    pub choice: Choice,
    /// Its cost, simulated.
    pub cost: f64,
    /// No candidate costs less than this: its cost where it is the best of all, else the least bound that is left.
    pub bound: f64,
    /// Candidates that fit the chip.
    pub candidates: u64,
    /// Candidates that were simulated.
    pub simulated: u64,
}

impl Found {
    /// Whether it is proven to be the best candidate.
    pub fn is_best(&self) -> bool {
        self.bound >= self.cost
    }
}

/// Whether a stage's outputs in this dataflow are those of the chip's first, whatever its input: dataflows differ in how many products are summed
/// exactly before the accumulator is updated, which matters where it saturates. There must be a proof that it never has to; where there are no
/// numbers nothing can change.
///
/// # Panics
/// If the chip does not multiply the formats of the stage, which `lower` refuses.
pub fn keeps_numbers(stage: &Lowered, chip: &Chip, dataflow: &Dataflow) -> bool {
    let Some(largest) = stage.largest_sum else { return true };
    let format = chip.format(stage.problem.weight, stage.problem.activation).expect("bug: lower refuses formats that the chip has not");
    let rule = |dataflow| chip.arithmetic(format, dataflow).accumulate;
    let (first, this) = (rule(&chip.array().dataflows[0]), rule(dataflow));
    first == this || this.is_any_order_alike(largest)
}

/// The cuts of a stage that are worth a look: each dataflow of the chip that keeps its numbers, each order of the outer loops, and blocks from the largest that fits down by
/// halves, and evenly. The input lies as it is said to.
pub fn candidates(stage: &Lowered, chip: &Chip, batch: u64, start: WeightStart, layout: Layout) -> Vec<(Choice, Mapping)> {
    let mut all: Vec<(Choice, Mapping)> = Vec::new();
    for dataflow in chip.array().dataflows.iter().filter(|dataflow| keeps_numbers(stage, chip, dataflow)) {
        let stationary = dataflow.kind();
        let alone = |tiling| map_as(std::slice::from_ref(stage), chip, batch, start, &[Choice { stationary, tiling, layout }]);
        let Ok(largest) = alone(None) else { continue };
        if !stage.work.is_array() {
            return vec![(Choice { stationary, tiling: None, layout }, largest)];
        }
        let (rules, Tiling { block: most, chunk, .. }) = (largest.stages()[0].rules, largest.stages()[0].tiling);
        let (vectors, unit) = (stage.problem.vectors(), rules.vector_unit());
        let mut blocks = vec![most, vectors.div_ceil(vectors.div_ceil(most))];
        blocks.extend((1..=4).map(|halves| most >> halves));
        if stage.run() < vectors {
            // Blocks divide what is multiplied by the same.
            blocks = (1..=8).map(|parts| most / parts).filter(|block| *block > 0 && most.is_multiple_of(*block)).collect();
        }
        let unit = if stage.run() < vectors { 1 } else { unit };
        let whole = |block: u64| if block >= vectors { vectors } else { block.next_multiple_of(unit).min(vectors) };
        let mut blocks: Vec<u64> = blocks.into_iter().map(|block| whole(block.max(1))).collect();
        blocks.sort_unstable();
        blocks.dedup();
        let chunks = if stationary == Stationary::Input { vec![chunk, (chunk / 2).max(1)] } else { vec![chunk] };
        for order in [Order::Blocks, Order::Channels] {
            for block in blocks.iter().rev() {
                for chunk in &chunks {
                    let tiling = Tiling { order, block: *block, chunk: *chunk };
                    if let Ok(mapping) = alone(Some(tiling)) {
                        // One block is one block whatever stands outside of it.
                        let tiling = mapping.stages()[0].tiling;
                        if all
                            .iter()
                            .all(|(_, known)| known.stages()[0].tiling != tiling || known.stages()[0].rules != mapping.stages()[0].rules)
                        {
                            all.push((Choice { stationary, tiling: Some(tiling), layout }, mapping));
                        }
                    }
                }
            }
        }
    }
    all
}

/// The best candidate for a stage alone on the chip. `bound` tells what a mapping costs at least, `cost` what it does cost, or infinity where
/// one that it was asked for before costs no more. At most `budget` are simulated, but one is.
///
/// # Errors
/// If not even the smallest pieces fit, or `cost` fails.
pub fn search<E: From<MappingError>>(
    stage: &Lowered,
    chip: &Chip,
    (batch, start, layout): (u64, WeightStart, Layout),
    budget: u64,
    bound: impl Fn(&Mapping) -> f64,
    mut cost: impl FnMut(&Mapping) -> Result<f64, E>,
) -> Result<Found, E> {
    let mut left: Vec<(f64, Choice, Mapping)> =
        candidates(stage, chip, batch, start, layout).into_iter().map(|(choice, mapping)| (bound(&mapping), choice, mapping)).collect();
    if left.is_empty() {
        // The message says what does not fit.
        map_as(std::slice::from_ref(stage), chip, batch, start, &[Choice { layout, ..Choice::first(chip) }])?;
    }
    // Equal bounds keep the order in which they were made: the largest blocks first.
    left.sort_by(|one, other| one.0.total_cmp(&other.0));
    let mut best: Option<(f64, Choice)> = None;
    let mut simulated = 0;
    for (bound, choice, mapping) in &left {
        if best.is_some_and(|(best, _)| *bound >= best) || simulated >= budget.max(1) {
            break;
        }
        let cost = cost(mapping)?;
        simulated += 1;
        if best.is_none_or(|(best, _)| cost < best) {
            best = Some((cost, *choice));
        }
    }
    let (cost, choice) = best.unwrap_or((0.0, Choice::first(chip)));
    let least_left = left.get(usize::try_from(simulated).unwrap_or(usize::MAX)).map_or(cost, |(bound, ..)| bound.min(cost));
    Ok(Found { choice, cost, bound: least_left, candidates: left.len() as u64, simulated })
}
