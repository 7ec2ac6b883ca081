//! How a mapping is chosen where no file says it: the largest pieces, what a closed form likes best, or what a search simulates.
//!
//! Not here: the search itself (`map`), and where choices are kept (`sweep`).

use super::map::{is_alike, search_mapping};
use super::prepare::first_format;
use super::{Cost, Objective, PipelineError, Plan, RunOptions};
use crate::chip::Chip;
use crate::mapping::{Choice, Lowered, few_candidates, map_as};

/// Keeps what was chosen for stages on a chip, so that it is not looked for again.
pub trait ChoiceStore: Sync {
    /// What is known under a key.
    fn get(&self, key: &str) -> Option<Vec<Choice>>;
    /// Keeps choices under a key. What cannot be kept is looked for again, no more.
    fn put(&self, key: &str, choices: &[Choice]);
}

/// What a plan chooses for each stage; a search looks into `store` first.
pub(super) fn choices(
    options: &RunOptions,
    stages: &[Lowered],
    chip: &Chip,
    store: Option<&dyn ChoiceStore>,
) -> Result<Vec<Choice>, PipelineError> {
    let first = Choice { layout: options.layout, ..Choice::first(chip) };
    match options.plan {
        Plan::First => Ok(vec![first; stages.len()]),
        Plan::Heuristic => heuristic(options, stages, chip, first),
        Plan::Search { objective, budget } => {
            let Some(store) = store else { return Ok(search_mapping(stages, chip, options, objective, budget)?.choices) };
            let key = key(options, stages, chip);
            if let Some(known) = store.get(&key).filter(|known| known.len() == stages.len()) {
                return Ok(known);
            }
            let found = search_mapping(stages, chip, options, objective, budget)?.choices;
            store.put(&key, &found);
            Ok(found)
        }
    }
}

/// All that a search's choices depend on: what a chip and a network are called does not matter.
fn key(options: &RunOptions, stages: &[Lowered], chip: &Chip) -> String {
    let chip = chip.resolved_without(&["name", "source"]);
    format!("{} {} {:?} {} {}\n{stages:?}", options.plan, options.batch, options.weights, options.layout, chip)
}

/// For each stage the candidate with the least bound alone on the chip, the largest pieces first among equals.
fn heuristic(options: &RunOptions, stages: &[Lowered], chip: &Chip, first: Choice) -> Result<Vec<Choice>, PipelineError> {
    let cost = Cost::new(chip, first_format(stages, chip), Objective::Latency)?;
    let mut known: Vec<(&Lowered, Choice)> = Vec::new();
    let mut choices = Vec::with_capacity(stages.len());
    for stage in stages {
        let choice = if let Some((_, choice)) = known.iter().find(|(other, _)| is_alike(other, stage, chip)) {
            *choice
        } else {
            let all = few_candidates(stage, chip, options.batch, options.weights, options.layout);
            let bounds = all.iter().map(|(choice, mapping)| (cost.bound(mapping), *choice));
            bounds.min_by(|one, other| one.0.total_cmp(&other.0)).map_or(first, |(_, choice)| choice)
        };
        known.push((stage, choice));
        choices.push(choice);
    }
    let fits = map_as(stages, chip, options.batch, options.weights, &choices).is_ok();
    Ok(if fits { choices } else { vec![first; stages.len()] })
}
