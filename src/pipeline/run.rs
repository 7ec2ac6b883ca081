//! Runs every batch on the machine and every sample through the references, and compares.

use super::numbers::dequantize;
use super::summary::{Compared, Facts, Ran, host_row, joined};
use super::whatif::what_if;
use super::{Numbers, PipelineError, Prepared, RunOptions, TIMING_ONLY, summary};
use crate::counts::{ActionCounts, TrafficBytes};
use crate::data::Task;
use crate::metrics::evaluate;
use crate::network::{LayerId, Op};
use crate::numerics::Arithmetic;
use crate::reference::{float, integer};
use crate::report::{MetricValues, Summary, WhatIf};
use crate::sim::{Machine, Run, SimError};
use ndarray::{Array2, ArrayView2, s};
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fmt;

/// What a run yields.
#[derive(Debug)]
pub struct Outcome {
    /// The figures.
    pub summary: Summary,
    /// The numbers.
    pub numbers: Numbers,
    /// What a user should know, though it ends nothing.
    pub warnings: Vec<Warning>,
}

/// Something that is no error and that a user should know.
#[derive(Debug, Clone, PartialEq)]
pub enum Warning {
    /// The float network is no better than guessing.
    AtChance {
        /// Its accuracy.
        accuracy: f64,
        /// The classes.
        classes: usize,
        /// The samples.
        samples: usize,
    },
}

impl fmt::Display for Warning {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::AtChance { accuracy, classes, samples } => write!(
                f,
                "the float reference, the network as imported, is right in {:.1}% of {samples} samples: no better than guessing among \
                 {classes} classes\n  help: check that the labels belong to the samples, and the card's preprocessing (scale, mean, std)",
                accuracy * 100.0
            ),
        }
    }
}

/// What all programs of a run did together.
pub(super) struct Totals {
    /// The first program's run; every other has the same cycles.
    pub(super) first: Run,
    /// Programs.
    pub(super) programs: u64,
    /// Actions of all programs, by stage.
    pub(super) actions: Vec<ActionCounts>,
    /// Bytes of all programs, by stage.
    pub(super) traffic: Vec<TrafficBytes>,
    /// What each resource costs, by stage, where it was asked for.
    pub(super) what_if: Option<Vec<WhatIf>>,
}

/// Makes a prepared run. `progress` is told of each program that has ended; programs run side by side on all of the host's cores, and the
/// result does not depend on how many.
///
/// # Errors
/// The first stage that cannot do its part, with its own message.
///
/// # Panics
/// If cycles depend on the data, which would be a bug.
pub fn run(prepared: &Prepared<'_>, options: &RunOptions, progress: &(dyn Fn() + Sync)) -> Result<Outcome, PipelineError> {
    let inputs = integer::quantize_inputs(&prepared.quantized, prepared.samples.inputs.view())?;
    let (totals, chip_logits) = run_machine(prepared, options, inputs.view(), progress)?;
    let numbers = Numbers {
        float: float::run(prepared.model.network(), prepared.samples.inputs.view())?,
        compressed: float::run(&prepared.compressed, prepared.samples.inputs.view())?,
        integer: integer::run(&prepared.quantized, |layer| arithmetic(prepared, layer), inputs)?,
        chip_logits,
    };
    let metrics = metrics(prepared, &numbers)?;
    let warnings = warnings(prepared, &metrics);
    let stages = prepared.mapping.stages();
    let (mismatches, first) = numbers.mismatches(&prepared.quantized, &stages[stages.len() - 1].name);
    let ran = Ran {
        metrics: Some(metrics),
        compared: Some(Compared { mismatches, first, values: numbers.chip_logits.len() as u64 }),
        engine: options.engine.name(),
        ..ran(prepared, |layer| numbers.sqnr_db(&prepared.quantized, layer))
    };
    let summary = summary::summarize(ran, options, &totals)?;
    Ok(Outcome { summary, numbers, warnings })
}

/// The arithmetic of a layer: that of the dataflow which it is mapped to.
fn arithmetic(prepared: &Prepared<'_>, layer: LayerId) -> Arithmetic {
    let stage = prepared.mapping.stages().iter().find(|stage| stage.layers.contains(&layer));
    let stage = stage.expect("bug: every layer that the integer reference multiplies is mapped");
    let dataflow = prepared.chip.dataflow(stage.rules.mode.stationary).expect("bug: a stage is mapped onto a dataflow of its chip");
    prepared.chip.arithmetic(prepared.format, dataflow)
}

/// Times the program of one batch, and counts it as often as the samples ask for: no numbers, so that nothing is scored, compared or gated.
///
/// # Errors
/// The first stage that cannot do its part, with its own message.
pub fn time(prepared: &Prepared<'_>, options: &RunOptions) -> Result<Summary, PipelineError> {
    let machine = Machine::new(prepared.chip, prepared.format, &prepared.program)?;
    let totals = Totals::of_equal(machine.time()?, (prepared.samples.labels.len() as u64).div_ceil(options.batch));
    let totals = totals.explained(&machine, options)?;
    summary::summarize(ran(prepared, |_| None), options, &totals)
}

/// What is known of a run before it is made.
fn ran<'a>(prepared: &'a Prepared<'_>, sqnr_db: impl Fn(LayerId) -> Option<f64>) -> Ran<'a> {
    let bias_element_bytes = prepared.mapping.buffers().accumulator_element_bytes;
    let facts = prepared.mapping.stages().iter().map(|stage| {
        let layer = prepared.quantized.layer(stage.layers[0]);
        let (weight_bytes, sparsity) = match &layer.op {
            Op::Dense(dense) => (dense.weight.stored_bytes() + dense.outputs() as u64 * bias_element_bytes, dense.weight.sparsity()),
            _ => (0, 0.0),
        };
        Facts { op: layer.op.name(), weight_bytes, sparsity, sqnr_db: sqnr_db(layer.id) }
    });
    Ran {
        chip: prepared.chip,
        format: prepared.format,
        mapping: &prepared.mapping,
        least_scratchpad: prepared.least_scratchpad,
        name: prepared.quantized.name().to_string(),
        samples: prepared.samples.labels.len() as u64,
        layers: facts.collect(),
        host: prepared.quantized.layers().filter(|layer| matches!(layer.op, Op::Softmax { .. })).map(host_row).collect(),
        metrics: None,
        compared: None,
        model_sha256: joined(prepared.model.files()),
        data_sha256: Some(joined(&prepared.samples.files)),
        engine: TIMING_ONLY,
    }
}

impl Totals {
    /// `programs` programs that all do what `run` did.
    pub(super) fn of_equal(run: Run, programs: u64) -> Self {
        let (actions, traffic) = sums(&run, (0..programs).map(|_| &run));
        Self { first: run, programs, actions, traffic, what_if: None }
    }

    /// The same, with why the time is what it is, if that is asked for.
    pub(super) fn explained(self, machine: &Machine<'_>, options: &RunOptions) -> Result<Self, PipelineError> {
        let what_if = options.what_if.then(|| what_if(machine, &self.first, self.programs)).transpose()?;
        Ok(Self { what_if, ..self })
    }
}

/// Runs every batch; the totals, and the logits by sample.
#[expect(clippy::needless_pass_by_value, reason = "a view is a reference already")]
fn run_machine(
    prepared: &Prepared<'_>,
    options: &RunOptions,
    inputs: ArrayView2<i32>,
    progress: &(dyn Fn() + Sync),
) -> Result<(Totals, Array2<i32>), PipelineError> {
    let machine = Machine::new(prepared.chip, prepared.format, &prepared.program)?;
    let samples = inputs.nrows();
    let batch = usize::try_from(options.batch).expect("bug: the mapping limits a batch far below 2^32");
    let programs = samples.div_ceil(batch);
    let runs: Vec<Run> = (0..programs)
        .into_par_iter()
        .map(|program| {
            let end = samples.min((program + 1) * batch);
            let bytes = batch_bytes(prepared, inputs.slice(s![program * batch..end, ..]), batch);
            let run = machine.run(&[&bytes], options.engine);
            progress();
            run
        })
        .collect::<Result<_, SimError>>()?;
    let outputs = prepared.quantized.logits().output.elements();
    let logits: Vec<i32> =
        runs.iter().flat_map(|run| &run.output).take(samples * outputs).map(|byte| i32::from(i8::from_le_bytes([*byte]))).collect();
    let logits = Array2::from_shape_vec((samples, outputs), logits).expect("bug: each program yields its batch's logits");
    Ok((total(runs).explained(&machine, options)?, logits))
}

/// One batch's input as the host lays it into DRAM; zero samples fill the last batch up.
#[expect(clippy::needless_pass_by_value, reason = "a view is a reference already")]
fn batch_bytes(prepared: &Prepared<'_>, samples: ArrayView2<i32>, batch: usize) -> Vec<u8> {
    let quantization = prepared.quantized.input().output.quantization.expect("bug: a mapped network's input is quantized");
    let zero = quantization.quantize(0.0);
    let filling = std::iter::repeat_n(&zero, (batch - samples.nrows()) * samples.ncols());
    let bytes = samples.iter().chain(filling).map(|q| i8::try_from(*q).expect("bug: an int8 input is within eight bits").to_le_bytes()[0]);
    let first = &prepared.mapping.stages()[0];
    first.rules.input_layout.lay_out(&bytes.collect::<Vec<_>>(), first.problem.c)
}

fn total(runs: Vec<Run>) -> Totals {
    let programs = runs.len() as u64;
    for run in &runs {
        assert_eq!(run.total_cycles, runs[0].total_cycles, "bug: cycles depend on the data; please report it");
    }
    let (actions, traffic) = sums(&runs[0], runs.iter());
    let first = runs.into_iter().next().expect("bug: prepare refuses a run without samples");
    Totals { first, programs, actions, traffic, what_if: None }
}

/// Actions and bytes of all runs, by stage; `like` is one of them.
fn sums<'r>(like: &Run, runs: impl Iterator<Item = &'r Run>) -> (Vec<ActionCounts>, Vec<TrafficBytes>) {
    let mut actions = vec![ActionCounts::default(); like.stages.len()];
    let mut traffic = vec![TrafficBytes::default(); like.stages.len()];
    for run in runs {
        for ((stage, actions), traffic) in run.stages.iter().zip(&mut actions).zip(&mut traffic) {
            *actions += stage.actions;
            *traffic += stage.traffic;
        }
    }
    (actions, traffic)
}

/// Each metric, as every execution gives it.
fn metrics(prepared: &Prepared<'_>, numbers: &Numbers) -> Result<BTreeMap<String, MetricValues>, PipelineError> {
    let card = prepared.model.card();
    let judge = |logits: ArrayView2<f32>| evaluate(card.task, &card.metrics, logits, &prepared.samples.labels);
    let float = judge(numbers.float.logits().view())?;
    let compressed = judge(numbers.compressed.logits().view())?;
    let integer = judge(dequantize(&prepared.quantized, numbers.integer_logits(&prepared.quantized)).view())?;
    let chip = judge(dequantize(&prepared.quantized, &numbers.chip_logits).view())?;
    let values = |name: &String| MetricValues {
        float: float.get(name).copied(),
        compressed_float: compressed.get(name).copied(),
        integer: integer.get(name).copied(),
        chip: chip.get(name).copied(),
    };
    Ok(float.keys().map(|name| (name.clone(), values(name))).collect())
}

fn warnings(prepared: &Prepared<'_>, metrics: &BTreeMap<String, MetricValues>) -> Vec<Warning> {
    let Task::Classification { classes } = prepared.model.card().task;
    let samples = prepared.samples.labels.len();
    match metrics.get("accuracy").and_then(|values| values.float) {
        Some(accuracy) if is_at_chance(accuracy, classes, samples) => vec![Warning::AtChance { accuracy, classes, samples }],
        _ => Vec::new(),
    }
}

/// Whether a guesser could well have this accuracy: no more than three standard deviations above chance. Too few samples tell nothing: they
/// must be able to tell a guesser from a network that is better by a quarter of what there is to be gained.
fn is_at_chance(accuracy: f64, classes: usize, samples: usize) -> bool {
    let chance = 1.0 / classes.max(1) as f64;
    let spread = 3.0 * libm::sqrt(chance * (1.0 - chance) / samples.max(1) as f64);
    classes > 1 && spread <= 0.25 * (1.0 - chance) && accuracy <= chance + spread
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn few_samples_raise_no_alarm() {
        assert!(!is_at_chance(1.0, 10, 1) && !is_at_chance(0.0, 10, 1) && !is_at_chance(0.5, 2, 20));
        assert!(is_at_chance(0.1, 10, 20) && is_at_chance(0.3, 10, 20) && !is_at_chance(0.35, 10, 20));
        assert!(is_at_chance(0.108, 10, 10_000) && !is_at_chance(0.12, 10, 10_000));
        assert!(is_at_chance(0.5, 2, 200) && !is_at_chance(1.0, 1, 100));
    }
}
