//! What quantizing each layer costs and gains: it alone, all but it, ranges, noise, how far sums grow, and cycles.
//!
//! Everything is measured on the select split: what is chosen by it must not be judged by it.

use super::compress::EXACT;
use super::numbers::{dequantize, floor, floors, sqnr_db};
use super::prepare::{classes_of, first_format, plainly_pruned, quantized, tile_of};
use super::{PipelineError, RunOptions};
use crate::chip::Chip;
use crate::compress::{Patterns, Recipe, Scheme, Step, all_but, only, with_roundings};
use crate::mapping::Mapping;
use crate::metrics::accuracy;
use crate::model::{Model, Split};
use crate::network::{Layer, LayerId, Network, Op};
use crate::numerics::{AccumulateRule, Arithmetic, Dtype};
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
    classes_of(model, "compress --analyze")?;
    model.selects_apart()?;
    let samples = model.split(Split::Select, Some(options.samples.unwrap_or(SAMPLES)))?;
    let calibration = model.split(Split::Calibrate, None)?.inputs;
    let tile = chip.map_or([1, 1], |chip| tile_of(chip, options));
    let (plain, _) = plainly_pruned(model, tile, &calibration, options)?;
    let network = with_roundings(&plain, &options.recipe)?;
    let held = quantized(&calibration, &network, options)?;
    let timed = chip.map(|chip| timed(&held, chip, options)).transpose()?;
    let arithmetic = |id: LayerId| timed.as_ref().zip(chip).map_or(PLAIN, |(timed, chip)| timed.mapping.arithmetic(chip, id));
    let exact = float::run(&network, samples.inputs.view())?;
    let integers = integer::quantize_inputs(&held, samples.inputs.view())?;
    let trace = integer::run(&held, arithmetic, integers)?;
    let share = |logits: ArrayView2<f32>| accuracy(logits, &samples.labels);
    let floors = floors(&held);
    let mut layers = Vec::new();
    for layer in held.layers().filter(|layer| matches!(&layer.op, Op::Dense(_) | Op::Conv(_))) {
        let run = |network: Network| -> Result<Trace, PipelineError> { Ok(float::run(&network, samples.inputs.view())?) };
        let alone = only(&network, &held, layer.id)?;
        let id = alone.layers().find(|other| other.name == layer.name).map_or(layer.id, |other| other.id);
        let alone = run(alone)?;
        let without = run(all_but(&network, &held, layer.id)?)?;
        let reached = integer::watch(&held, layer.id, &arithmetic(layer.id), &trace)?;
        let source = held.layer(held.inputs(layer.id)[0]);
        let in_integers = trace.layer(layer.id).zip(layer.output.quantization).map(|(q, grid)| q.mapv(|q| grid.dequantize(q)));
        let reals = exact.layer(layer.id).mapv(|x| x.max(floor(&floors, layer.id)));
        let [weight_min, weight_max] = weight_range(&network.layer(layer.id).op);
        let [input_min, input_max] = range(exact.layer(source.id).iter());
        let [output_min, output_max] = range(exact.layer(layer.id).iter());
        layers.push(AnalyzedLayer {
            name: layer.name.clone(),
            op: layer.op.name().to_string(),
            weight_format: weight_format(layer).map_or_else(String::new, |format| format.to_string()),
            activation_format: source.output.quantization.map_or_else(String::new, |grid| grid.dtype.to_string()),
            weight_min,
            weight_max,
            input_min,
            input_max,
            output_min,
            output_max,
            only_accuracy: share(alone.logits().view()),
            all_but_accuracy: share(without.logits().view()),
            isolated_sqnr_db: sqnr_db(&reals, alone.layer(id).iter().copied()),
            accumulated_sqnr_db: in_integers.and_then(|found| sqnr_db(&reals, found)),
            updates: reached.updates,
            overflows: reached.overflows,
            least_accumulator_bits: reached.least_bits(),
            cycles: timed.as_ref().map(|timed| timed.layers.get(&layer.id).copied().unwrap_or(0)),
            narrower: match (chip, &timed) {
                (Some(chip), Some(timed)) => narrower(&plain, chip, options, layer, timed.total, &calibration)?,
                _ => Vec::new(),
            },
        });
    }
    let logits = trace.layer(held.logits().id).map(|logits| dequantize(&held, logits));
    Ok(Analysis {
        network: model.card().name.clone(),
        recipe: options.recipe.to_string(),
        chip: chip.map(|chip| chip.name().to_string()),
        samples: samples.count() as u64,
        float_accuracy: share(exact.logits().view()),
        quantized_accuracy: logits.map_or(0.0, |logits| share(logits.view())),
        total_cycles: timed.map(|timed| timed.total),
        layers,
    })
}

/// The time of a batch.
struct Timed {
    mapping: Mapping,
    total: u64,
    /// Each layer's windows.
    layers: BTreeMap<LayerId, u64>,
}

/// Times a quantized network without numbers.
fn timed(network: &Network, chip: &Chip, options: &RunOptions) -> Result<Timed, PipelineError> {
    let lowering = options.lower(network, chip)?;
    let (mapping, _) = options.map(&lowering.stages, chip, None)?;
    let program = emit_timing(&mapping, chip)?;
    let format = first_format(&lowering.stages, chip);
    let run = Machine::new(chip, format, &program)?.time()?;
    let mut layers: BTreeMap<LayerId, u64> = BTreeMap::new();
    for (stage, ran) in mapping.stages().iter().zip(&run.stages) {
        *layers.entry(stage.layers[0]).or_default() += ran.window.get();
    }
    Ok(Timed { total: run.total_cycles.get(), layers, mapping })
}

/// What the network, pruned as `plain` is, would save with this layer in each of the chip's narrower formats; those that the chip cannot map are left out.
fn narrower(
    plain: &Network,
    chip: &Chip,
    options: &RunOptions,
    layer: &Layer,
    total: u64,
    calibration: &Array2<f32>,
) -> Result<Vec<Narrower>, PipelineError> {
    let few = calibration.slice(s![..calibration.nrows().min(TIMED_SAMPLES), ..]).to_owned();
    let now = weight_format(layer).map_or(32, Dtype::bits);
    let mut found = Vec::new();
    for format in chip.formats().iter().filter(|format| format.weight.bits() < now) {
        let scheme = Scheme { weight: format.weight, activation: format.activation };
        let Ok(recipe) = with_layer(&options.recipe, scheme, &layer.name) else { continue };
        let other = RunOptions { recipe, ..options.clone() };
        let held = quantized(&few, &with_roundings(plain, &other.recipe)?, &other)?;
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
    let whole = recipe.with_formats();
    let steps = whole.pruning().iter().chain(whole.quantization()).cloned().chain([step]).collect();
    Ok(Recipe::new(steps)?)
}

/// The format of a layer's weights; none of reals, or where there are none.
fn weight_format(layer: &Layer) -> Option<Dtype> {
    match &layer.op {
        Op::Dense(dense) => dense.weight.dtype(),
        Op::Conv(conv) => conv.weight.dtype(),
        _ => None,
    }
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
