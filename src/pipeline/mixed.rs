//! Chooses formats for layers: what each layer loses in each format, what it costs on the chip, which choices are worth a look, and what those really
//! lose and cost.
//!
//! A layer's loss is that of `ZeroQ` (Cai et al., CVPR 2020): the mean Kullback-Leibler divergence of the softmax of the outputs with that layer alone
//! quantized from that in float, on the select split. Its cost is what the whole network takes more, timed without numbers, when it alone leaves the first format. Both are
//! taken as additive to find the frontier (`compress::frontier`); then each choice of the frontier is quantized, scored by the integer reference and timed as a whole, and
//! the best of those that keep the limit is taken: what is chosen was measured, and rests on no sum. The report split is not looked at.

use super::compress::integer_run;
use super::numbers::dequantize;
use super::prepare::{classes_of, first_format, plainly_pruned, quantized, tile_of};
use super::{Cost, Objective, PipelineError, RunOptions};
use crate::chip::Chip;
use crate::compress::{Bits, Choices, Goal, Limit, Recipe, frontier, only, spread, with_roundings};
use crate::metrics::{accuracy, size};
use crate::model::{Model, Samples, Split};
use crate::network::{LayerId, Network};
use crate::reference::float;
use crate::report::{MixedFormat, MixedLayer, MixedPoint, MixedPrecision};
use ndarray::{Array2, ArrayView1, s};

/// Samples of the select split on which losses of layers are measured.
const LOSS_SAMPLES: usize = 1000;
/// Samples of it on which accuracy is: a few in a thousand is what limits are about.
const SAMPLES: usize = 4000;
/// Choices of the frontier that are measured at most.
const MOST_MEASURED: usize = 32;
/// Calibration samples of what is only timed: cycles do not go by values.
const TIMED_SAMPLES: usize = 8;

/// The options with formats in place of the recipe's search, and what was measured for it in `mixed_precision`; as they are where the recipe does not
/// search.
///
/// # Errors
/// A select split that the report split shares samples with, a search for cycles or energy without a chip, a limit that nothing keeps, and the
/// first stage that cannot do its part.
pub fn choose_formats(model: &Model, chip: Option<&Chip>, options: &RunOptions) -> Result<RunOptions, PipelineError> {
    let Some(search) = options.recipe.search() else { return Ok(options.clone()) };
    let goal = if search.objective == Goal::AccuracyLoss { search.constraint.goal() } else { search.objective };
    if chip.is_none() && goal != Goal::WeightBytes {
        return Err(PipelineError::NoChip { step: search.step.to_string() });
    }
    classes_of(model, &search.step.to_string())?;
    model.selects_apart()?;
    let select = model.split(Split::Select, Some(SAMPLES))?;
    let calibration = model.split(Split::Calibrate, None)?.inputs;
    let tile = chip.map_or([1, 1], |chip| tile_of(chip, options));
    let (plain, _) = plainly_pruned(model, tile, &calibration, options)?;
    let layers = options.recipe.searched(&plain)?;
    let chooser = Chooser { chip, options, bits: search.bits, goal, plain: &plain, calibration: &calibration, select: &select, layers };
    chooser.choose(search.step.to_string(), search.objective, search.constraint)
}

/// What a search goes by.
struct Chooser<'c> {
    chip: Option<&'c Chip>,
    options: &'c RunOptions,
    bits: &'c [Bits],
    /// What formats are to save.
    goal: Goal,
    /// The float network, pruned, without roundings.
    plain: &'c Network,
    calibration: &'c Array2<f32>,
    select: &'c Samples,
    /// The layers that are searched.
    layers: Vec<LayerId>,
}

/// What a network in integers costs.
#[derive(Debug, Clone, Copy)]
struct Costs {
    weight_bytes: u64,
    total_cycles: Option<u64>,
    energy_pj: Option<f64>,
}

impl Costs {
    fn of(self, goal: Goal) -> f64 {
        match goal {
            Goal::Cycles => self.total_cycles.map_or(0.0, |cycles| cycles as f64),
            Goal::Energy => self.energy_pj.unwrap_or(0.0),
            Goal::WeightBytes | Goal::AccuracyLoss => self.weight_bytes as f64,
        }
    }
}

impl Chooser<'_> {
    fn choose(&self, step: String, objective: Goal, limit: Limit) -> Result<RunOptions, PipelineError> {
        let exact = float::run(self.plain, self.select.inputs.view())?;
        let float_accuracy = accuracy(exact.logits().view(), &self.select.labels);
        let losses = self.losses(exact.logits())?;
        let costs = self.added_costs()?;
        let both = |(losses, costs): (&Vec<f64>, &Vec<Option<f64>>)| -> Vec<Option<[f64; 2]>> {
            losses.iter().zip(costs).map(|(loss, cost)| cost.map(|cost| [*loss, cost])).collect()
        };
        let all = frontier(&losses.iter().zip(&costs).map(both).collect::<Vec<_>>());
        let frontier_size = all.len() as u64;
        let mut points = Vec::new();
        for choices in spread(all, MOST_MEASURED) {
            points.extend(self.measured(&choices)?);
        }
        let lost = |point: &MixedPoint| float_accuracy - point.accuracy;
        let figure = |point: &MixedPoint, goal: Goal| if goal == Goal::AccuracyLoss { lost(point) } else { costs_of(point).of(goal) };
        for point in &mut points {
            // A loss of 5 in 1000 is one of 0.005, however the difference of the two shares is rounded.
            point.is_allowed = figure(point, limit.goal()) <= limit.most() + 1e-12;
        }
        let order = |one: &usize, other: &usize| {
            let by = |goal| figure(&points[*one], goal).total_cmp(&figure(&points[*other], goal));
            by(objective).then_with(|| by(limit.goal()))
        };
        let best = (0..points.len()).filter(|place| points[*place].is_allowed).min_by(order);
        let Some(best) = best else {
            let least = points.iter().map(|point| figure(point, limit.goal())).min_by(f64::total_cmp);
            return Err(PipelineError::NoChoice {
                step,
                least: least.map_or_else(|| "nothing runs".to_string(), |least| format!("{least}")),
            });
        };
        points[best].is_chosen = true;
        let chosen: Vec<usize> = points[best].formats.iter().map(|format| self.number_of(format)).collect();
        let recipe = self.recipe(&chosen)?;
        let layers = self.layers.iter().zip(losses.iter().zip(&costs)).map(|(id, (losses, costs))| MixedLayer {
            name: self.plain.layer(*id).name.clone(),
            formats: (self.bits.iter().zip(losses).zip(costs))
                .map(|((bits, loss), cost)| cost.map(|added_cost| MixedFormat { format: bits.to_string(), loss_nats: *loss, added_cost }))
                .collect(),
        });
        let quantization: Vec<String> = recipe.quantization().iter().map(ToString::to_string).collect();
        let report = MixedPrecision {
            step,
            chosen: quantization.join("+"),
            recipe_ron: recipe.to_ron(),
            chip: self.chip.map(|chip| chip.name().to_string()),
            samples: self.select.count() as u64,
            float_accuracy,
            layers: layers.collect(),
            frontier_size,
            frontier: points,
        };
        Ok(RunOptions { recipe, mixed_precision: Some(report), ..self.options.clone() })
    }

    fn number_of(&self, format: &str) -> usize {
        self.bits.iter().position(|bits| bits.to_string() == format).expect("bug: a point's formats are the step's")
    }

    /// The recipe with these formats, one a layer.
    fn recipe(&self, chosen: &[usize]) -> Result<Recipe, PipelineError> {
        let choice: Vec<(LayerId, usize)> = self.layers.iter().copied().zip(chosen.iter().copied()).collect();
        Ok(self.options.recipe.with_choice(self.plain, &choice)?)
    }

    /// The network before and after quantization to such formats, and the options that say so.
    fn held(&self, chosen: &[usize], samples: &Array2<f32>) -> Result<(Network, Network, RunOptions), PipelineError> {
        let options = RunOptions { recipe: self.recipe(chosen)?, ..self.options.clone() };
        let network = with_roundings(self.plain, &options.recipe)?;
        let held = quantized(samples, &network, &options)?;
        Ok((network, held, options))
    }

    /// For each layer what it loses in each format.
    fn losses(&self, exact: &Array2<f32>) -> Result<Vec<Vec<f64>>, PipelineError> {
        let few = |all: &Array2<f32>| all.slice(s![..all.nrows().min(LOSS_SAMPLES), ..]).to_owned();
        let (exact, inputs) = (few(exact), few(&self.select.inputs));
        let mut losses = vec![Vec::new(); self.layers.len()];
        for number in 0..self.bits.len() {
            let (network, held, _) = self.held(&vec![number; self.layers.len()], self.calibration)?;
            for (id, losses) in self.layers.iter().zip(&mut losses) {
                let name = &self.plain.layer(*id).name;
                // Roundings are layers too, so that those behind them have other identities.
                let layer = network.layers().find(|layer| layer.name == *name).expect("bug: roundings leave layers their names");
                let alone = only(&network, &held, layer.id)?;
                losses.push(divergence(&exact, float::run(&alone, inputs.view())?.logits()));
            }
        }
        Ok(losses)
    }

    /// For each layer what each format costs more than the first, where the chip can run it.
    fn added_costs(&self) -> Result<Vec<Vec<Option<f64>>>, PipelineError> {
        let few = self.calibration.slice(s![..self.calibration.nrows().min(TIMED_SAMPLES), ..]).to_owned();
        let costs = |chosen: &[usize]| -> Result<f64, PipelineError> {
            let (_, held, options) = self.held(chosen, &few)?;
            Ok(self.costs(&held, &options)?.of(self.goal))
        };
        let mut chosen = vec![0; self.layers.len()];
        let first = costs(&chosen)?;
        let mut all = Vec::new();
        for layer in 0..self.layers.len() {
            let mut of_layer = vec![Some(0.0)];
            for number in 1..self.bits.len() {
                chosen[layer] = number;
                of_layer.push(match costs(&chosen) {
                    Ok(cost) => Some(cost - first),
                    // What no unit can do in this format, or does not fit in it, is no choice.
                    Err(PipelineError::Mapping(_)) => None,
                    Err(error) => return Err(error),
                });
            }
            chosen[layer] = 0;
            all.push(of_layer);
        }
        Ok(all)
    }

    fn costs(&self, held: &Network, options: &RunOptions) -> Result<Costs, PipelineError> {
        let weight_bytes = size(held).weight_bytes;
        let Some(chip) = self.chip else { return Ok(Costs { weight_bytes, total_cycles: None, energy_pj: None }) };
        let lowering = options.lower(held, chip)?;
        let (mapping, _) = options.map(&lowering.stages, chip, None)?;
        let cost = Cost::new(chip, first_format(&lowering.stages, chip), Objective::Energy)?;
        let run = cost.time(&mapping)?;
        Ok(Costs { weight_bytes, total_cycles: Some(run.total_cycles.get()), energy_pj: Some(cost.of(&mapping, &run)) })
    }

    /// A choice measured as a whole; none where the chip cannot run it.
    fn measured(&self, choices: &Choices) -> Result<Option<MixedPoint>, PipelineError> {
        let (_, held, options) = self.held(&choices.chosen, self.calibration)?;
        let costs = match self.costs(&held, &options) {
            Ok(costs) => costs,
            Err(PipelineError::Mapping(_)) => return Ok(None),
            Err(error) => return Err(error),
        };
        let trace = integer_run(&held, self.chip, &options, &self.select.inputs)?;
        let logits = trace.layer(held.logits().id).expect("bug: the integer reference runs up to the logits");
        Ok(Some(MixedPoint {
            formats: choices.chosen.iter().map(|number| self.bits[*number].to_string()).collect(),
            predicted_loss_nats: choices.loss,
            accuracy: accuracy(dequantize(&held, logits).view(), &self.select.labels),
            total_cycles: costs.total_cycles,
            energy_pj: costs.energy_pj,
            weight_bytes: costs.weight_bytes,
            is_allowed: false,
            is_chosen: false,
        }))
    }
}

fn costs_of(point: &MixedPoint) -> Costs {
    Costs { weight_bytes: point.weight_bytes, total_cycles: point.total_cycles, energy_pj: point.energy_pj }
}

/// The mean over samples of `sum p log(p / q)`, p and q being the softmax of what was meant and of what was found.
fn divergence(exact: &Array2<f32>, found: &Array2<f32>) -> f64 {
    let of_sample = |(exact, found): (ArrayView1<'_, f32>, ArrayView1<'_, f32>)| -> f64 {
        let (p, q) = (log_softmax(exact), log_softmax(found));
        p.iter().zip(&q).map(|(p, q)| libm::exp(*p) * (p - q)).sum()
    };
    let sum: f64 = exact.rows().into_iter().zip(found.rows()).map(of_sample).sum();
    // Rounding may leave a divergence of nothing a little below 0.
    (sum / exact.nrows().max(1) as f64).max(0.0)
}

#[expect(clippy::needless_pass_by_value, reason = "a view is a reference already")]
fn log_softmax(logits: ArrayView1<'_, f32>) -> Vec<f64> {
    let most = logits.iter().fold(f64::NEG_INFINITY, |most, x| most.max(f64::from(*x)));
    let sum: f64 = logits.iter().map(|x| libm::exp(f64::from(*x) - most)).sum();
    logits.iter().map(|x| f64::from(*x) - most - libm::log(sum)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn divergence_is_that_of_the_distributions() {
        // Softmax of (0, ln 3) is (1/4, 3/4), of (0, 0) (1/2, 1/2): 1/4 ln(1/2) + 3/4 ln(3/2).
        let exact = array![[0.0, 3.0_f32.ln()], [5.0, 5.0]];
        let found = array![[7.0, 7.0], [-1.0, -1.0]];
        let wanted = 0.5 * (0.25 * 0.5_f64.ln() + 0.75 * 1.5_f64.ln());
        assert!((divergence(&exact, &found) - wanted).abs() < 1e-7);
        assert!(divergence(&exact, &exact).abs() < 1e-15);
    }
}
