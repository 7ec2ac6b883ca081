//! Looks for the best cut of a stage: every candidate has a closed-form bound, which says in which order they are simulated and when to stop.
//!
//! Branch and bound (Land, Doig, Econometrica 1960): once no bound that is left is better than the best cost found, nothing that is left can be. Where
//! the budget ends first, the gap to the least bound that is left is told.

use super::{Candidates, Choice, Layout, Lowered, Mapping, MappingError, WeightStart, few_candidates, map_as};
use crate::chip::{Chip, Dataflow};

/// What a search found for one stage.
#[derive(Debug, Clone, PartialEq)]
pub struct Found {
    /// The best choice.
    pub choice: Choice,
    /// The best of those that a hand would try (`few_candidates`).
    pub by_hand: Choice,
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

/// How much of a stage is simulated at most.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Budget {
    /// So many candidates, but one at least.
    pub candidates: u64,
    /// More of them, as long as what was simulated takes fewer cycles than this in closed form: small stages are cheap.
    pub cycles: u64,
}

impl Budget {
    /// What nobody will wait for long: nine candidates, or some milliseconds of them.
    pub const DEFAULT: Self = Self { candidates: 9, cycles: 1 << 18 };
}

impl From<u64> for Budget {
    fn from(candidates: u64) -> Self {
        Self { candidates: candidates.max(1), cycles: 0 }
    }
}

/// What a mapping costs in closed form.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outlook {
    /// No less than this.
    pub bound: f64,
    /// About this: bounds leave out what waits where pieces have but one buffer.
    pub guess: f64,
    /// Its cycles at least.
    pub cycles: u64,
}

/// The best candidate for a stage alone on the chip. `outlook` tells what a mapping costs at least and about, `cost` what it does cost, or infinity where
/// one that it was asked for before costs no more. As many as `budget` allows are simulated: for a part of it, those that a hand would try
/// (`few_candidates`), by their bounds; then in turn the one with the least guess, which is likely to be good, and the one with the least bound, which
/// has the most to prove.
///
/// # Errors
/// If not even the smallest pieces fit, or `cost` fails.
pub fn search<E: From<MappingError>>(
    stage: &Lowered,
    chip: &Chip,
    (batch, start, layout): (u64, WeightStart, Layout),
    budget: impl Into<Budget>,
    outlook: impl Fn(&Mapping) -> Outlook,
    mut cost: impl FnMut(&Mapping) -> Result<f64, E>,
) -> Result<Found, E> {
    /// Of how many simulations one is of what no hand would try.
    const WIDE: u64 = 3;
    let map = |choice: &Choice| map_as(std::slice::from_ref(stage), chip, batch, start, std::slice::from_ref(choice));
    let Candidates { mut choices, is_all } = Candidates::of(stage, chip, layout);
    let few: Vec<Choice> = few_candidates(stage, chip, batch, start, layout).into_iter().map(|(choice, _)| choice).collect();
    if !is_all {
        let more = few.iter().filter(|choice| !choices.contains(choice)).copied().collect::<Vec<_>>();
        choices.extend(more);
    }
    // Mappings are made again where they are simulated: there may be thousands.
    let left: Vec<(Outlook, Choice)> =
        choices.into_iter().filter_map(|choice| map(&choice).ok().map(|mapping| (outlook(&mapping), choice))).collect();
    if left.is_empty() {
        // The message says what does not fit.
        map(&Choice { layout, ..Choice::first(chip) })?;
    }
    let sorted = |by: fn(&Outlook) -> f64| {
        // Equals keep the order in which they were made: the largest blocks first.
        let mut order: Vec<usize> = (0..left.len()).collect();
        order.sort_by(|one, other| by(&left[*one].0).total_cmp(&by(&left[*other].0)));
        order
    };
    let by_bound = sorted(|outlook| outlook.bound);
    let by_hand = by_bound.iter().copied().filter(|place| few.contains(&left[*place].1)).collect();
    let budget: Budget = budget.into();
    let mut cycles = 0_u64;
    let mut turns = [
        (by_hand, budget.candidates - budget.candidates / WIDE),
        (sorted(|outlook| outlook.guess), u64::MAX),
        (by_bound.clone(), u64::MAX),
    ]
    .map(Turns::new);
    let mut is_done = vec![false; left.len()];
    let mut best: Option<(f64, Choice)> = None;
    let mut best_by_hand = None;
    let mut simulated = 0;
    while simulated < budget.candidates || cycles < budget.cycles {
        let may_be_better = |place: usize| !is_done[place] && best.is_none_or(|(best, _)| left[place].0.bound < best);
        let [by_hand, by_guess, by_bound] = &mut turns;
        let wide = if by_guess.taken <= by_bound.taken { by_guess } else { by_bound };
        let tried = by_hand.next(may_be_better).or_else(|| wide.next(may_be_better));
        let Some(place) = tried else { break };
        let cost = cost(&map(&left[place].1)?)?;
        is_done[place] = true;
        simulated += 1;
        cycles = cycles.saturating_add(left[place].0.cycles);
        if best.is_none_or(|(best, _)| cost < best) {
            best = Some((cost, left[place].1));
            if few.contains(&left[place].1) {
                best_by_hand = Some(left[place].1);
            }
        }
    }
    let (cost, choice) = best.unwrap_or((0.0, Choice::first(chip)));
    let least_left = by_bound.iter().find(|place| !is_done[**place]).map_or(cost, |place| left[*place].0.bound.min(cost));
    Ok(Found { choice, by_hand: best_by_hand.unwrap_or(choice), cost, bound: least_left, candidates: left.len() as u64, simulated, is_all })
}

/// Candidates in some order, to be taken in turn with those of another.
struct Turns {
    order: Vec<usize>,
    /// Those before it were taken, or were no better than what was found.
    at: usize,
    taken: u64,
    most: u64,
}

impl Turns {
    fn new((order, most): (Vec<usize>, u64)) -> Self {
        Self { order, at: 0, taken: 0, most }
    }

    /// The next that may be better, if there is one and it has not had all of its turns.
    fn next(&mut self, may_be_better: impl Fn(usize) -> bool) -> Option<usize> {
        if self.taken >= self.most {
            return None;
        }
        // What is done, or no better, stays so.
        self.at += self.order[self.at..].iter().take_while(|place| !may_be_better(**place)).count();
        let place = *self.order.get(self.at)?;
        self.taken += 1;
        Some(place)
    }
}
