//! What pruning was worth: each step's zeros, the same network without it on the same chip, and both accuracies on the same images.

use super::prepare::quantized;
use super::{Numbers, PipelineError, Prepared, RunOptions};
use crate::chip::{Chip, Format};
use crate::compress::{StepReport, with_roundings};
use crate::data::Truth;
use crate::metrics::{mcnemar, right, wilson};
use crate::network::fuse_activations;
use crate::program::emit;
use crate::report::{PairedAccuracy, PrunedLayer, PruningStep, PruningSummary, Unpruned};
use crate::sim::Machine;

/// The confidence of intervals.
pub(super) const CONFIDENCE: f64 = 0.95;

/// Rows of K and columns of channels of a tile of weights that the array holds.
pub(super) fn array_tile(chip: &Chip, format: Option<&Format>) -> [usize; 2] {
    let array = chip.array();
    let inner =
        format.map_or(u64::from(array.rows), |format| crate::mapping::Rules::new(chip, format, &array.dataflows[0]).mode.tile_inner());
    let whole = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
    [whole(inner), whole(u64::from(array.cols))]
}

/// What pruning was worth in a run; none where the recipe has no step before quantization.
pub(super) fn pruning(
    prepared: &Prepared<'_>,
    options: &RunOptions,
    numbers: Option<&Numbers>,
) -> Result<Option<PruningSummary>, PipelineError> {
    if prepared.pruning.is_empty() {
        return Ok(None);
    }
    let (unpruned, unpruned_fault) = match unpruned(prepared, options) {
        Ok(unpruned) => (Some(unpruned), None),
        // What was too large, or not sparse enough, before it was pruned.
        Err(PipelineError::Mapping(error)) => (None, Some(error.to_string().lines().next().unwrap_or_default().to_string())),
        Err(error) => return Err(error),
    };
    Ok(Some(PruningSummary {
        recipe_ron: options.recipe.to_ron(),
        steps: prepared.pruning.iter().map(step).collect(),
        unpruned,
        unpruned_fault,
        zero_gating: prepared.chip.array().zero_gating,
        accuracy: numbers.and_then(|numbers| paired(prepared, numbers)),
    }))
}

pub(super) fn step(report: &StepReport) -> PruningStep {
    let layers = report.layers.iter().map(|layer| PrunedLayer {
        name: layer.layer.clone(),
        weights_before: layer.weights_before,
        weights: layer.weights,
        zeros: layer.zeros,
        sparsity: layer.sparsity(),
    });
    PruningStep { step: report.step.to_string(), layers: layers.collect() }
}

/// Times the network without its pruning, all batches.
fn unpruned(prepared: &Prepared<'_>, options: &RunOptions) -> Result<Unpruned, PipelineError> {
    let fused = fuse_activations(prepared.model.network())?;
    // Layers that a step made are not there.
    let options = &RunOptions { recipe: options.recipe.quantization_of(&fused), ..options.clone() };
    let network = quantized(&prepared.calibration, &with_roundings(&fused, &options.recipe)?, options)?;
    let lowering = options.lower(&network, prepared.chip)?;
    // Choices for layers that pruning made are not those of the layers before it.
    let free = RunOptions { mapping: None, ..options.clone() };
    let (mapping, _) = if let Ok(mapped) = options.map(&lowering.stages, prepared.chip, None) {
        mapped
    } else {
        free.map(&lowering.stages, prepared.chip, None)?
    };
    let program = emit(&network, &mapping, prepared.chip)?;
    let run = Machine::new(prepared.chip, prepared.format, &program)?.time()?;
    let programs = (prepared.samples.count() as u64).div_ceil(options.batch);
    let sum = |of: fn(&crate::counts::ActionCounts) -> u64| run.stages.iter().map(|stage| of(&stage.actions)).sum::<u64>() * programs;
    Ok(Unpruned {
        total_cycles: (run.total_cycles * programs).get(),
        macs_dense: mapping.stages().iter().map(|stage| stage.macs() + stage.vector_macs()).sum::<u64>() * programs,
        dram_read_bytes: sum(|actions| actions.dram_read_bytes),
        dram_write_bytes: sum(|actions| actions.dram_write_bytes),
    })
}

/// The float network before and after pruning, on the same samples; nothing of a task without classes.
fn paired(prepared: &Prepared<'_>, numbers: &Numbers) -> Option<PairedAccuracy> {
    let Truth::Labels(labels) = prepared.samples.truth() else { return None };
    let before = right(numbers.float.logits().view(), labels);
    let after = right(numbers.compressed.logits().view(), labels);
    let count = |right: &[bool]| right.iter().filter(|right| **right).count() as u64;
    let samples = labels.len() as u64;
    let test = mcnemar(&before, &after);
    let [low, high] = wilson(count(&after), samples, CONFIDENCE);
    Some(PairedAccuracy {
        before: count(&before) as f64 / samples.max(1) as f64,
        after: count(&after) as f64 / samples.max(1) as f64,
        after_low: rounded(low),
        after_high: rounded(high),
        right_before_only: test.first_only,
        right_after_only: test.second_only,
        p_value: rounded(test.p_value),
    })
}

/// To six significant digits: the rest depends on the host's mathematical functions.
pub(super) fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}
