//! Looks for the best cut of a stage: every candidate has a closed-form bound, which says in which order they are simulated and when to stop.
//!
//! Branch and bound (Land, Doig, Econometrica 1960): once no bound that is left is better than the best cost found, nothing that is left can be. Where
//! the budget ends first, the gap to the least bound that is left is told.

use super::{Candidates, Choice, Layout, Lowered, Mapping, MappingError, WeightStart, map_as};
use crate::chip::{Chip, Dataflow};

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
    /// Whether the candidates are every mapping of the stage that fits.
    pub is_all: bool,
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

/// What a mapping costs in closed form.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outlook {
    /// No less than this.
    pub bound: f64,
    /// About this: bounds leave out what waits where pieces have but one buffer.
    pub guess: f64,
}

/// The best candidate for a stage alone on the chip. `outlook` tells what a mapping costs at least and about, `cost` what it does cost, or infinity where
/// one that it was asked for before costs no more. At most `budget` are simulated, but one is: in turn the one with the least guess, which is likely
/// to be good, and the one with the least bound, which has the most to prove.
///
/// # Errors
/// If not even the smallest pieces fit, or `cost` fails.
pub fn search<E: From<MappingError>>(
    stage: &Lowered,
    chip: &Chip,
    (batch, start, layout): (u64, WeightStart, Layout),
    budget: u64,
    outlook: impl Fn(&Mapping) -> Outlook,
    mut cost: impl FnMut(&Mapping) -> Result<f64, E>,
) -> Result<Found, E> {
    let map = |choice: &Choice| map_as(std::slice::from_ref(stage), chip, batch, start, std::slice::from_ref(choice));
    let Candidates { choices, is_all } = Candidates::of(stage, chip, layout);
    // Mappings are made again where they are simulated: there may be thousands.
    let left: Vec<(Outlook, Choice)> =
        choices.into_iter().filter_map(|choice| map(&choice).ok().map(|mapping| (outlook(&mapping), choice))).collect();
    if left.is_empty() {
        // The message says what does not fit.
        map(&Choice { layout, ..Choice::first(chip) })?;
    }
    // Equals keep the order in which they were made: the largest blocks first.
    let sorted = |by: fn(&Outlook) -> f64| {
        let mut order: Vec<usize> = (0..left.len()).collect();
        order.sort_by(|one, other| by(&left[*one].0).total_cmp(&by(&left[*other].0)));
        order
    };
    let orders = [sorted(|outlook| outlook.guess), sorted(|outlook| outlook.bound)];
    let (mut at, mut is_done) = ([0; 2], vec![false; left.len()]);
    let mut best: Option<(f64, Choice)> = None;
    let mut simulated = 0;
    while simulated < budget.max(1) {
        let (order, at) = (&orders[usize::from(simulated % 2 == 1)], &mut at[usize::from(simulated % 2 == 1)]);
        let may_be_better = |place: &usize| !is_done[*place] && best.is_none_or(|(best, _)| left[*place].0.bound < best);
        // What is done or no better stays so.
        let Some(next) = order[*at..].iter().position(may_be_better) else { break };
        *at += next;
        let place = order[*at];
        let cost = cost(&map(&left[place].1)?)?;
        is_done[place] = true;
        simulated += 1;
        if best.is_none_or(|(best, _)| cost < best) {
            best = Some((cost, left[place].1));
        }
    }
    let (cost, choice) = best.unwrap_or((0.0, Choice::first(chip)));
    let least_left = orders[1].iter().find(|place| !is_done[**place]).map_or(cost, |place| left[*place].0.bound.min(cost));
    Ok(Found { choice, cost, bound: least_left, candidates: left.len() as u64, simulated, is_all })
}
