//! What quantizing each layer costs and gains: it alone, all but it, ranges, noise, how far sums grow, and cycles.
//!
//! Everything is measured on the select split: what is chosen by it must not be judged by it.

use super::compress::EXACT;
use super::numbers::dequantize;
use super::prepare::{pruned, quantized, tile_of};
use super::{PipelineError, RunOptions};
use crate::chip::Chip;
use crate::compress::{Patterns, Recipe, Scheme, Step, all_but, only};
use crate::mapping::lower;
use crate::metrics::accuracy;
use crate::model::{Model, Split};
use crate::network::{Layer, LayerId, Network, Op, Weight};
use crate::numerics::{AccumulateRule, Arithmetic};
use crate::program::emit_timing;
use crate::reference::{Trace, float, integer};
use crate::report::{Analysis, AnalyzedLayer, Narrower};
use crate::sim::Machine;
use ndarray::{Array2, ArrayView2, s};
use std::collections::BTreeMap;

/// Samples of the select split that are taken where nothing is said.
const SAMPLES: usize = 1000;
/// Calibration samples of what is only timed: cycles do not go by values.
const TIMED_SAMPLES: usize = 8;
/// Bits of the accumulators that overflows are counted for where there is no chip.
const PLAIN: Arithmetic = Arithmetic { accumulate: AccumulateRule { bits: 32, ..EXACT.accumulate }, requantize: EXACT.requantize };

/// Analyses a model's network, quantized as the options' recipe says.
///
/// # Errors
/// The first stage that cannot do its part, with its own message.
pub fn analyze(model: &Model, chip: Option<&Chip>, options: &RunOptions) -> Result<Analysis, PipelineError> {
    let samples = model.split(Split::Select, Some(options.samples.unwrap_or(SAMPLES)))?;
    let calibration = model.split(Split::Calibrate, None)?.inputs;
    let tile = chip.map_or([1, 1], |chip| tile_of(chip, options));
    let (network, _) = pruned(model, tile, &calibration, options)?;
    let held = quantized(&calibration, &network, options)?;
    let arithmetics = arithmetics(&held, chip, options)?;
    let exact = float::run(&network, samples.inputs.view())?;
    let integers = integer::quantize_inputs(&held, samples.inputs.view())?;
    let trace = integer::run(&held, |id| arithmetics.get(&id).copied().unwrap_or(PLAIN), integers)?;
    let share = |logits: ArrayView2<f32>| accuracy(logits, &samples.labels);
    let timed = chip.map(|chip| timed(&held, chip, options)).transpose()?;
    let mut layers = Vec::new();
    for layer in held.layers().filter(|layer| matches!(&layer.op, Op::Dense(_) | Op::Conv(_))) {
        let run = |network: Network| -> Result<Trace, PipelineError> { Ok(float::run(&network, samples.inputs.view())?) };
        let alone = only(&network, &held, layer.id)?;
        let id = alone.layers().find(|other| other.name == layer.name).map_or(layer.id, |other| other.id);
        let alone = run(alone)?;
        let without = run(all_but(&network, &held, layer.id)?)?;
        let arithmetic = arithmetics.get(&layer.id).copied().unwrap_or(PLAIN);
        let reached = integer::watch(&held, layer.id, &arithmetic, &trace)?;
        let source = held.layer(held.inputs(layer.id)[0]);
        let in_integers = trace.layer(layer.id).zip(layer.output.quantization).map(|(q, grid)| q.mapv(|q| grid.dequantize(q)));
        let [weight_min, weight_max] = weight_range(&network.layer(layer.id).op);
        let [input_min, input_max] = range(exact.layer(source.id).iter());
        let [output_min, output_max] = range(exact.layer(layer.id).iter());
        layers.push(AnalyzedLayer {
            name: layer.name.clone(),
            op: layer.op.name().to_string(),
            weight_format: weight_format(layer),
            activation_format: source.output.quantization.map_or_else(String::new, |grid| grid.dtype.to_string()),
            weight_min,
            weight_max,
            input_min,
            input_max,
            output_min,
            output_max,
            only_accuracy: share(alone.logits().view()),
            all_but_accuracy: share(without.logits().view()),
            isolated_sqnr_db: sqnr_db(exact.layer(layer.id), alone.layer(id)),
            accumulated_sqnr_db: in_integers.and_then(|found| sqnr_db(exact.layer(layer.id), &found)),
            updates: reached.updates,
            overflows: reached.overflows,
            least_accumulator_bits: reached.least_bits(),
            cycles: timed.as_ref().map(|timed| timed.layers.get(&layer.id).copied().unwrap_or(0)),
            narrower: match (chip, &timed) {
                (Some(chip), Some(timed)) => narrower(model, chip, options, layer, timed.total, &calibration)?,
                _ => Vec::new(),
            },
        });
    }
    let logits = trace.layer(held.logits().id).map(|logits| dequantize(&held, logits));
    Ok(Analysis {
        network: model.card().name.clone(),
        recipe: options.recipe.to_string(),
        chip: chip.map(|chip| chip.name().to_string()),
        samples: samples.labels.len() as u64,
        float_accuracy: share(exact.logits().view()),
        quantized_accuracy: logits.map_or(0.0, |logits| share(logits.view())),
        total_cycles: timed.map(|timed| timed.total),
        layers,
    })
}

/// Each layer's arithmetic on a chip; nothing without one.
fn arithmetics(network: &Network, chip: Option<&Chip>, options: &RunOptions) -> Result<BTreeMap<LayerId, Arithmetic>, PipelineError> {
    let Some(chip) = chip else { return Ok(BTreeMap::new()) };
    let (mapping, _) = options.map(&lower(network, chip, options.batch)?.stages, chip)?;
    Ok(network.layers().map(|layer| (layer.id, mapping.arithmetic(chip, layer.id))).collect())
}

/// The time of a batch.
struct Timed {
    total: u64,
    /// Each layer's windows.
    layers: BTreeMap<LayerId, u64>,
}

/// Times a quantized network without numbers.
fn timed(network: &Network, chip: &Chip, options: &RunOptions) -> Result<Timed, PipelineError> {
    let lowering = lower(network, chip, options.batch)?;
    let (mapping, _) = options.map(&lowering.stages, chip)?;
    let program = emit_timing(&mapping, chip)?;
    let format = super::prepare::first_format(&lowering.stages, chip);
    let run = Machine::new(chip, format, &program)?.time()?;
    let mut layers: BTreeMap<LayerId, u64> = BTreeMap::new();
    for (stage, ran) in mapping.stages().iter().zip(&run.stages) {
        *layers.entry(stage.layers[0]).or_default() += ran.window.get();
    }
    Ok(Timed { total: run.total_cycles.get(), layers })
}

/// What the network would save with this layer in each of the chip's narrower formats; those that the chip cannot map are left out.
fn narrower(
    model: &Model,
    chip: &Chip,
    options: &RunOptions,
    layer: &Layer,
    total: u64,
    calibration: &Array2<f32>,
) -> Result<Vec<Narrower>, PipelineError> {
    let few = calibration.slice(s![..calibration.nrows().min(TIMED_SAMPLES), ..]).to_owned();
    let now = weight_bits(layer);
    let mut found = Vec::new();
    for format in chip.formats().iter().filter(|format| format.weight.bits() < now) {
        let scheme = Scheme { weight: format.weight, activation: format.activation };
        let Ok(recipe) = with_layer(&options.recipe, scheme, &layer.name) else { continue };
        let other = RunOptions { recipe, ..options.clone() };
        let (network, _) = pruned(model, tile_of(chip, options), calibration, &other)?;
        let held = quantized(&few, &network, &other)?;
        match timed(&held, chip, &other) {
            Ok(timed) => {
                found.push(Narrower { scheme: scheme.to_string(), saved_cycles: total.cast_signed() - timed.total.cast_signed() });
            }
            // What no unit can do in this format, or does not fit in it, is no choice.
            Err(PipelineError::Mapping(_)) => {}
            Err(error) => return Err(error),
        }
    }
    found.sort_by_key(|narrower| std::cmp::Reverse(narrower.saved_cycles));
    Ok(found)
}

/// The recipe with other formats for one layer, whose name stands for itself.
fn with_layer(recipe: &Recipe, scheme: Scheme, name: &str) -> Result<Recipe, PipelineError> {
    let step = Step::quantize(scheme, Patterns(vec![name.to_string()]));
    let steps = recipe.with_formats().pruning().iter().chain(recipe.with_formats().quantization()).cloned().chain([step]).collect();
    Ok(Recipe::new(steps)?)
}

fn weight_format(layer: &Layer) -> String {
    let format = match &layer.op {
        Op::Dense(dense) => integer_format(&dense.weight),
        Op::Conv(conv) => integer_format(&conv.weight),
        _ => None,
    };
    format.map_or_else(String::new, |format| format.to_string())
}

fn weight_bits(layer: &Layer) -> u32 {
    match &layer.op {
        Op::Dense(dense) => integer_format(&dense.weight).map_or(32, crate::numerics::Dtype::bits),
        Op::Conv(conv) => integer_format(&conv.weight).map_or(32, crate::numerics::Dtype::bits),
        _ => 32,
    }
}

fn integer_format<D: ndarray::Dimension>(weight: &Weight<D>) -> Option<crate::numerics::Dtype> {
    if let Weight::Integer { dtype, .. } = weight { Some(*dtype) } else { None }
}

fn weight_range(op: &Op) -> [f64; 2] {
    match op {
        Op::Dense(dense) => range(dense.weight.to_reals().iter()),
        Op::Conv(conv) => range(conv.weight.to_reals().iter()),
        _ => [0.0, 0.0],
    }
}

fn range<'v>(values: impl Iterator<Item = &'v f32>) -> [f64; 2] {
    let (min, max) = values.fold((f32::INFINITY, f32::NEG_INFINITY), |(min, max), x| (min.min(*x), max.max(*x)));
    [f64::from(min), f64::from(max)]
}

/// `10 log10(sum x^2 / sum (x - x')^2)`; none without noise or signal.
fn sqnr_db(exact: &Array2<f32>, found: &Array2<f32>) -> Option<f64> {
    let (mut signal, mut noise) = (0.0, 0.0);
    for (x, y) in exact.iter().zip(found) {
        let (x, error) = (f64::from(*x), f64::from(*x) - f64::from(*y));
        signal += x * x;
        noise += error * error;
    }
    let sqnr = 10.0 * libm::log10(signal / noise);
    sqnr.is_finite().then_some(sqnr)
}
