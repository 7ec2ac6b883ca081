//! Before the first cycle: data read, network quantized, mapped and emitted.

use super::outside::Models;
use super::pruning::array_tile;
use super::{PipelineError, RunOptions};
use crate::chip::{Chip, Format};
use crate::compress::{Scheme, StepReport, Surroundings, calibrate_as, correct_biases, quantize, with_roundings};
use crate::data::Task;
use crate::mapping::{Lowered, Lowering, Mapping, PassedOn};
use crate::model::{Model, Samples, Split};
use crate::network::{Network, check_rows, fuse_activations};
use crate::program::{Program, emit};
use ndarray::Array2;
use std::sync::Arc;

/// The most bytes of input in a batch: the verifier and every simulated DRAM hold many times as much.
const MAX_BATCH_BYTES: u64 = 1 << 27;

/// A run that is ready to be made.
#[derive(Debug)]
pub struct Prepared<'a> {
    /// The model.
    pub model: &'a Model,
    /// The chip.
    pub chip: &'a Chip,
    /// The formats that the chip multiplies first in this run.
    pub format: &'a Format,
    /// What each step of the recipe did, before quantization.
    pub pruning: Vec<StepReport>,
    /// Inputs of the calibration split, n x elements of the network's input.
    pub calibration: Arc<Array2<f32>>,
    /// The float network with its activations fused, pruned, before quantization.
    pub compressed: Arc<Network>,
    /// The network in integers; its layers have the identities of `compressed`'s.
    pub quantized: Arc<Network>,
    /// What the chip's units do, and where the host finds and lays values.
    pub lowering: Lowering,
    /// How it lies on the chip.
    pub mapping: Mapping,
    /// Which outputs stay on the chip for what reads them.
    pub passed_on: PassedOn,
    /// One batch's commands.
    pub program: Program,
    /// The samples of the report split.
    pub samples: Arc<Samples>,
}

/// Reads the data, prunes the network and quantizes it on the calibration split, maps it and emits the program of one batch.
///
/// # Errors
/// The first stage that cannot do its part, with its own message.
///
/// # Panics
/// If a stage lets pass what it promises to refuse, which would be a bug.
pub fn prepare<'a>(model: &'a Model, chip: &'a Chip, options: &RunOptions) -> Result<Prepared<'a>, PipelineError> {
    batch_fits(model, options)?;
    check_rows(model.network())?;
    let samples = Arc::new(report_samples(model, options.samples)?);
    let calibration = model.split(Split::Calibrate, None)?.inputs;
    let (compressed, pruning) = pruned(model, tile_of(chip, options), &calibration, options)?;
    let quantized = quantized(&calibration, &compressed, options)?;
    let lowering = options.lower(&quantized, chip)?;
    let (mapping, choices) = options.map(&lowering.stages, chip, None)?;
    let passed_on = options.passed_on(Some(&quantized), &lowering.stages, chip, (&mapping, &choices));
    let program = emit(&quantized, &mapping, chip)?;
    let format = first_format(&lowering.stages, chip);
    let (calibration, compressed, quantized) = (Arc::new(calibration), Arc::new(compressed), Arc::new(quantized));
    Ok(Prepared { model, chip, format, pruning, calibration, compressed, quantized, lowering, mapping, passed_on, program, samples })
}

/// Refuses a batch that would take too much memory.
pub(super) fn batch_fits(model: &Model, options: &RunOptions) -> Result<(), PipelineError> {
    let of_one = (model.network().input().output.elements() as u64).max(1);
    let bytes = options.batch.saturating_mul(of_one);
    if bytes > MAX_BATCH_BYTES {
        let (batch, model, most) = (options.batch, model.card().name.clone(), (MAX_BATCH_BYTES / of_one).max(1));
        return Err(PipelineError::BatchBytes { batch, model, bytes, limit: MAX_BATCH_BYTES, most });
    }
    Ok(())
}

/// The formats that the chip multiplies in the first of the stages that its array computes.
pub(super) fn first_format<'c>(stages: &[Lowered], chip: &'c Chip) -> &'c Format {
    let of_array = stages.iter().find(|stage| stage.work.is_array());
    of_array.and_then(|stage| chip.format(stage.problem.weight, stage.problem.activation)).unwrap_or(&chip.formats()[0])
}

/// The first samples of the report split, or all.
///
/// # Errors
/// If there are not as many, or none are asked for.
pub(super) fn report_samples(model: &Model, wanted: Option<usize>) -> Result<Samples, PipelineError> {
    let not_as_many = |asked| -> Result<PipelineError, PipelineError> {
        let available = model.split(Split::Report, None)?.count();
        Ok(PipelineError::Samples { asked, available, model: model.card().name.clone() })
    };
    if wanted == Some(0) {
        return Err(not_as_many(0)?);
    }
    let samples = model.split(Split::Report, wanted)?;
    if let Some(asked) = wanted.filter(|asked| *asked != samples.count()) {
        return Err(not_as_many(asked)?);
    }
    Ok(samples)
}

/// Refuses what goes by accuracy where the task names no classes.
pub(super) fn classes_of(model: &Model, what: &str) -> Result<(), PipelineError> {
    match model.card().task {
        Task::Classification { .. } => Ok(()),
        Task::Regression { .. } | Task::Reconstruction => {
            Err(PipelineError::NoClasses { what: what.to_string(), model: model.card().name.clone() })
        }
    }
}

/// Rows and columns of the array's own tile in the formats of a run.
pub(super) fn tile_of(chip: &Chip, options: &RunOptions) -> [usize; 2] {
    let Scheme { weight, activation } = options.scheme();
    let native = chip.format(weight, activation).filter(|_| !options.recipe.is_wide());
    // Weights that are widened fill tiles as the wider ones do.
    array_tile(chip, native.or_else(|| chip.format(activation, activation)))
}

/// The float network with its activations fused, pruned, with roundings where formats differ; and what each step did.
pub(super) fn pruned(
    model: &Model,
    tile: [usize; 2],
    calibration: &Array2<f32>,
    options: &RunOptions,
) -> Result<(Network, Vec<StepReport>), PipelineError> {
    let (pruned, steps) = plainly_pruned(model, tile, calibration, options)?;
    Ok((with_roundings(&pruned, &options.recipe)?, steps))
}

/// The same without roundings, whatever formats the recipe says.
pub(super) fn plainly_pruned(
    model: &Model,
    tile: [usize; 2],
    calibration: &Array2<f32>,
    options: &RunOptions,
) -> Result<(Network, Vec<StepReport>), PipelineError> {
    let outside = Models { model, seed: options.seed };
    let around = Surroundings { samples: calibration.view(), tile, outside: Some(&outside) };
    Ok(options.recipe.prune(&fuse_activations(model.network())?, around)?)
}

/// The network in integers, its ranges found on the calibration samples.
pub(super) fn quantized(calibration: &Array2<f32>, compressed: &Network, options: &RunOptions) -> Result<Network, PipelineError> {
    check_rows(compressed)?;
    let ranges = calibrate_as(compressed, calibration.view(), &options.recipe)?;
    let quantized = quantize(compressed, &ranges, &options.recipe)?;
    if options.recipe.corrects_biases() {
        return Ok(correct_biases(compressed, &quantized, calibration.view())?);
    }
    Ok(quantized)
}

/// The operations of a model's network, quantized, before they are mapped.
///
/// # Errors
/// The first stage that cannot do its part, with its own message.
pub fn model_stages(model: &Model, chip: &Chip, options: &RunOptions) -> Result<Vec<Lowered>, PipelineError> {
    let calibration = model.split(Split::Calibrate, None)?.inputs;
    let (compressed, _) = pruned(model, tile_of(chip, options), &calibration, options)?;
    Ok(options.lower(&quantized(&calibration, &compressed, options)?, chip)?.stages)
}
