//! Compression by itself: a model and a recipe in, the compressed network and what it costs in accuracy out. Nothing is simulated.
//!
//! Not here: files (`network::export` makes the bytes, `cli` writes them).

use super::judged::judged;
use super::numbers::dequantize;
use super::outside::training;
use super::prepare::{pruned, quantized, report_samples, tile_of};
use super::pruning::{CONFIDENCE, rounded, step};
use super::summary::joined;
use super::{PipelineError, RunOptions};
use crate::chip::Chip;
use crate::compress::{BlockShape, Step};
use crate::data::Truth;
use crate::metrics::{mcnemar, right, size, wilson};
use crate::model::{Model, Split, Training};
use crate::network::{Network, Op, Weight};
use crate::numerics::{AccumulateRule, Arithmetic, Overflow, Requantizer};
use crate::reference::integer::IntegerTrace;
use crate::reference::{float, integer};
use crate::report::{CompressedLayer, CompressionProvenance, CompressionReport, Interval, NetworkSize, PairedSamples, ratio};
use ndarray::{Array2, RemoveAxis};
use std::collections::BTreeMap;

/// Sums that hold whatever a layer yields, requantized as ONNX's operators do.
pub(super) const EXACT: Arithmetic =
    Arithmetic { accumulate: AccumulateRule { bits: 64, overflow: Overflow::Saturate, chunk: 256 }, requantize: Requantizer::Float };

/// What compression yields.
#[derive(Debug)]
pub struct Compressed {
    /// The network: in integers where the recipe quantizes, else in float, its activations fused.
    pub network: Network,
    /// What training knew of this.
    pub training: Training,
    /// The figures.
    pub report: CompressionReport,
}

/// Prunes and, if the recipe quantizes, quantizes a model's network, and scores it on the report split. With a chip the integer reference computes in
/// that chip's arithmetic, which must have the formats.
///
/// # Errors
/// The first stage that cannot do its part, with its own message.
pub fn compress(model: &Model, chip: Option<&Chip>, options: &RunOptions) -> Result<Compressed, PipelineError> {
    let is_of_array = |step: &&Step| matches!(step, Step::Block { shape: BlockShape::Array, .. });
    let tile = match (chip, options.recipe.pruning().iter().find(is_of_array)) {
        (Some(chip), _) => tile_of(chip, options),
        (None, None) => [1, 1],
        (None, Some(step)) => return Err(PipelineError::NoTile { step: step.to_string() }),
    };
    let samples = report_samples(model, options.samples)?;
    let calibration = model.split(Split::Calibrate, None)?.inputs;
    let (compressed, steps) = pruned(model, tile, &calibration, options)?;
    let is_quantized = !options.recipe.quantization().is_empty();
    let network = if is_quantized { quantized(&calibration, &compressed, options)? } else { compressed.clone() };
    let inputs = samples.inputs.view();
    let [before, after] = [model.network(), &compressed].map(|network| float::run(network, inputs));
    let (before, after) = (before?.logits().clone(), after?.logits().clone());
    let reference = if is_quantized { Some(integer_run(&network, chip, options, &samples.inputs)?) } else { None };
    let in_integers = reference.as_ref().and_then(|trace| trace.layer(network.logits().id)).map(|logits| dequantize(&network, logits));

    let metrics = judged(model.card(), samples.truth(), [Some(&before), Some(&after), in_integers.as_ref(), None])?.metrics;
    // A task without classes has nothing that is right or wrong.
    let labels = matches!(samples.truth(), Truth::Labels(_)).then_some(&samples.labels);
    let rights = [("float", Some(&before)), ("compressed_float", Some(&after)), ("integer", in_integers.as_ref())]
        .map(|(name, logits)| (name, logits.zip(labels).map(|(logits, labels)| right(logits.view(), labels))));
    let accuracy = rights.iter().filter_map(|(name, right)| Some(((*name).to_string(), interval(right.as_ref()?)))).collect();
    let last = rights.iter().rev().find_map(|(_, right)| right.as_deref());
    let paired = rights[0].1.as_deref().zip(last).map(|(first, last)| mcnemar(first, last));
    let layers = layers(model.network(), &network);
    let report = CompressionReport {
        network: model.card().name.clone(),
        recipe: options.recipe.to_string(),
        recipe_ron: options.recipe.to_ron(),
        quantized: is_quantized,
        chip: chip.filter(|_| is_quantized).map(|chip| chip.name().to_string()),
        steps: steps.iter().map(step).collect(),
        mixed_precision: options.mixed_precision.clone(),
        weights: layers.iter().map(|layer| layer.weights).sum(),
        zeros: layers.iter().map(|layer| layer.zeros).sum(),
        layers,
        before: size_of(model.network()),
        after: size_of(&network),
        samples: samples.count() as u64,
        metrics,
        accuracy,
        paired: paired.map(|test| PairedSamples {
            right_before_only: test.first_only,
            right_after_only: test.second_only,
            p_value: rounded(test.p_value),
        }),
        provenance: CompressionProvenance {
            version: env!("CARGO_PKG_VERSION").to_string(),
            command: options.command.clone(),
            model_sha256: joined(model.files()),
            data_sha256: joined(&samples.files),
        },
    };
    Ok(Compressed { network, training: training(model, &options.recipe)?, report })
}

/// The integer reference, in a chip's arithmetic where there is one.
pub(super) fn integer_run(
    network: &Network,
    chip: Option<&Chip>,
    options: &RunOptions,
    inputs: &Array2<f32>,
) -> Result<IntegerTrace, PipelineError> {
    let inputs = integer::quantize_inputs(network, inputs.view())?;
    let Some(chip) = chip else { return Ok(integer::run(network, |_| EXACT, inputs)?) };
    let (mapping, _) = options.map(&options.lower(network, chip)?.stages, chip, None)?;
    Ok(integer::run(network, |layer| mapping.arithmetic(chip, layer), inputs)?)
}

fn interval(right: &[bool]) -> Interval {
    let (count, samples) = (right.iter().filter(|right| **right).count() as u64, right.len() as u64);
    let [low, high] = wilson(count, samples, CONFIDENCE);
    Interval { value: count as f64 / samples.max(1) as f64, low: rounded(low), high: rounded(high) }
}

fn size_of(network: &Network) -> NetworkSize {
    let size = size(network);
    NetworkSize { weight_bytes: size.weight_bytes, macs: size.macs, bit_operations: size.bit_operations }
}

/// Each layer with weights, beside the one of its name in the network as imported.
fn layers(before: &Network, after: &Network) -> Vec<CompressedLayer> {
    let known: BTreeMap<&str, u64> =
        before.layers().filter_map(|layer| Some((layer.name.as_str(), counted(&layer.op)?.weight_bytes))).collect();
    let of = |layer: &crate::network::Layer| {
        let counted = counted(&layer.op)?;
        let (name, op) = (layer.name.clone(), layer.op.name().to_string());
        Some(CompressedLayer { weight_bytes_before: known.get(layer.name.as_str()).copied(), name, op, ..counted })
    };
    after.layers().filter_map(of).collect()
}

/// A layer's weights, counted; none where it has none.
fn counted(op: &Op) -> Option<CompressedLayer> {
    match op {
        Op::Dense(dense) => Some(counted_weights(&dense.weight)),
        Op::Conv(conv) => Some(counted_weights(&conv.weight)),
        _ => None,
    }
}

fn counted_weights<D: RemoveAxis>(weight: &Weight<D>) -> CompressedLayer {
    let (format, bits) = match weight {
        Weight::Float(_) => ("float32".to_string(), 32),
        Weight::Integer { dtype, .. } => (dtype.to_string(), u64::from(dtype.bits())),
    };
    let weights = weight.len() as u64;
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count, times the count, is a count")]
    let zeros = libm::rint(weight.sparsity() * weights as f64) as u64;
    let sparsity = ratio(zeros as f64, weights as f64);
    let weight_bytes = (weights * bits).div_ceil(8);
    CompressedLayer { name: String::new(), op: String::new(), format, weights, zeros, sparsity, weight_bytes_before: None, weight_bytes }
}
