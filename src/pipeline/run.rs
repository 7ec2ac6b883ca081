//! Runs every batch on the machine and every sample through the references, and compares.

use super::host::batch_bytes;
use super::judged::{Judged, judged};
use super::numbers::{Compared, Fidelity, dequantize, floors};
use super::pruning::pruning;
use super::summary::{Facts, Ran, host_row, joined};
use super::whatif::what_if;
use super::{Numbers, PipelineError, Prepared, RunOptions, TIMING_ONLY, summary};
use crate::counts::{ActionCounts, TrafficBytes};
use crate::data::Task;
use crate::mapping::Work;
use crate::network::{Layer, LayerId, Op};
use crate::reference::{float, integer};
use crate::report::{MetricValues, Summary, WhatIf};
use crate::sim::{Engine, Machine, Recording, Run, SimError, StageRun};
use ndarray::Array2;
use rayon::prelude::*;
use std::collections::BTreeMap;
use std::fmt;

/// Batches that one thread does one after the other, where their time is known.
const STRETCH: usize = 64;

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
    /// A network that was trained is no better than guessing.
    Untrained {
        /// Its accuracy.
        accuracy: f64,
    },
    /// The last batch has empty places.
    FilledUp {
        /// The samples.
        samples: u64,
        /// Samples in a batch.
        batch: u64,
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
            Self::Untrained { accuracy } => write!(
                f,
                "what was trained is right in {:.1}% of the samples: no better than guessing\n  help: choose a smaller --lr, more --epochs, or formats of more bits",
                accuracy * 100.0
            ),
            Self::FilledUp { samples, batch } => write!(
                f,
                "{samples} samples are no whole batches of {batch}: the last one is filled up, and what a sample takes counts its empty places too\n  help: take a multiple with --samples"
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
    let integer = integer::run(&prepared.quantized, |layer| prepared.mapping.arithmetic(prepared.chip, layer), inputs)?;
    let hosted: Option<Vec<&Array2<i32>>> = prepared.lowering.inputs.iter().map(|(id, _)| integer.layer(*id)).collect();
    let hosted = hosted.expect("bug: the integer reference runs all that the host computes before the chip begins");
    let (totals, chip_logits) = run_machine(prepared, options, &hosted, progress)?;
    let numbers = Numbers {
        float: float::run(prepared.model.network(), prepared.samples.inputs.view())?,
        compressed: float::run(&prepared.compressed, prepared.samples.inputs.view())?,
        integer,
        chip_logits,
    };
    let judged = judged_numbers(prepared, &numbers)?;
    let warnings = warnings(prepared, &judged.metrics);
    let stages = prepared.mapping.stages();
    let compared = Compared::of(numbers.integer_logits(&prepared.quantized), &numbers.chip_logits, &stages[stages.len() - 1].name);
    let floors = floors(&prepared.quantized);
    let ran = Ran {
        judged: Some(judged),
        compared: Some(compared),
        engine: options.engine.name(),
        ..ran(prepared, |layer| numbers.fidelity(&prepared.quantized, &floors, layer))
    };
    let pruning = pruning(prepared, options, Some(&numbers))?;
    let summary = Summary { pruning, ..summary::summarize(ran, options, &totals)? };
    Ok(Outcome { summary, numbers, warnings })
}

/// Times the program of one batch, and counts it as often as the samples ask for: no numbers, so that nothing is scored, compared or gated.
///
/// # Errors
/// The first stage that cannot do its part, with its own message.
pub fn time(prepared: &Prepared<'_>, options: &RunOptions) -> Result<Summary, PipelineError> {
    let machine = Machine::new(prepared.chip, prepared.format, &prepared.program)?;
    let totals = Totals::of_equal(machine.time()?, (prepared.samples.count() as u64).div_ceil(options.batch));
    let totals = totals.explained(&machine, options)?;
    let pruning = pruning(prepared, options, None)?;
    Ok(Summary { pruning, ..summary::summarize(ran(prepared, |_| Fidelity::default()), options, &totals)? })
}

/// What is known of a run before it is made.
pub(super) fn ran<'a>(prepared: &'a Prepared<'_>, fidelity: impl Fn(LayerId) -> Fidelity) -> Ran<'a> {
    let bias_element_bytes = prepared.mapping.buffers().accumulator_element_bytes;
    let facts = prepared.mapping.stages().iter().map(|stage| {
        let layer = prepared.quantized.layer(stage.layers[0]);
        let (weight_bytes, sparsity) = match &layer.op {
            // As they lie in DRAM, which may take more bits than they need.
            Op::Dense(dense) if stage.work == Work::Array => (stage.kept_bytes(), dense.weight.sparsity()),
            Op::Conv(conv) if stage.work == Work::Array => (stage.kept_bytes(), conv.weight.sparsity()),
            // A byte a weight, and the biases.
            Op::Conv(conv) if stage.vector_macs() > 0 => (stage.sources[1].tensor.bytes, conv.weight.sparsity()),
            _ => (0, 0.0),
        };
        let biases = if stage.work == Work::Array { stage.problem.m * bias_element_bytes } else { 0 };
        let op = match stage.work {
            Work::Movement(_) => "movement",
            Work::Host(_) => "host",
            _ => layer.op.name(),
        };
        Facts { op, weight_bytes: weight_bytes + biases, sparsity, fidelity: fidelity(layer.id) }
    });
    Ran {
        chip: prepared.chip,
        format: prepared.format,
        mapping: &prepared.mapping,
        passed_on: prepared.passed_on,
        name: prepared.quantized.name().to_string(),
        samples: prepared.samples.count() as u64,
        layers: facts.collect(),
        host: prepared.quantized.layers().filter(|layer| is_hosts(prepared, layer)).map(host_row).collect(),
        judged: None,
        compared: None,
        model_sha256: joined(prepared.model.files()),
        data_sha256: Some(joined(&prepared.samples.files)),
        engine: TIMING_ONLY,
    }
}

/// Whether the host computes a layer: embeddings before the chip begins, a softmax at the end.
fn is_hosts(prepared: &Prepared<'_>, layer: &Layer) -> bool {
    matches!(layer.op, Op::Gather(_))
        || matches!(layer.op, Op::Softmax { .. })
            && layer.id == prepared.quantized.output().id
            && layer.id != prepared.quantized.logits().id
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

/// Runs every batch; the totals, and the logits by sample. What the host computes before the chip begins, `hosted`, is the integer reference's.
pub(super) fn run_machine(
    prepared: &Prepared<'_>,
    options: &RunOptions,
    hosted: &[&Array2<i32>],
    progress: &(dyn Fn() + Sync),
) -> Result<(Totals, Array2<i32>), PipelineError> {
    let machine = Machine::new(prepared.chip, prepared.format, &prepared.program)?;
    let samples = prepared.samples.inputs.nrows();
    let batch = usize::try_from(options.batch).expect("bug: the mapping limits a batch far below 2^32");
    let batches = Batches { prepared, options, hosted, samples, batch, progress };
    let programs = samples.div_ceil(batch);
    let last = programs - 1;
    let (totals, logits) = match options.engine {
        // Two runs in full tell the time and that it is the same; the batches between them need their numbers alone.
        Engine::Wavefront if programs > 2 => {
            let bytes = batches.bytes(0);
            let (first, recording) = machine.record(&slices(&bytes))?;
            if let Some(recording) = recording {
                let mut logits = vec![batches.done(0, &first.output)];
                logits.extend(batches.replayed(&recording, 1..last)?);
                let (end, of_end) = batches.run(&machine, last)?;
                let again = recording.replay(&slices(&bytes))?.output(&slices(&batches.bytes(last)))?;
                assert_eq!(again, end.output, "bug: a recorded run yields other numbers than a run in full; please report it");
                let alike = |one: &StageRun, other: &StageRun| one.actions == other.actions && one.traffic == other.traffic;
                let is_alike =
                    first.total_cycles == end.total_cycles && first.stages.iter().zip(&end.stages).all(|(one, other)| alike(one, other));
                assert!(is_alike, "bug: cycles or counts depend on the data; please report it");
                logits.push(of_end);
                (Totals::of_equal(first, programs as u64), logits)
            } else {
                let logits = batches.done(0, &first.output);
                batches.in_full(&machine, 1..programs, vec![(first, logits)])?
            }
        }
        _ => batches.in_full(&machine, 0..programs, Vec::new())?,
    };
    let outputs = prepared.quantized.logits().output.elements();
    let logits = Array2::from_shape_vec((samples, outputs), logits.concat()).expect("bug: each program yields its batch's logits");
    Ok((totals.explained(&machine, options)?, logits))
}

/// The batches of a run.
struct Batches<'b> {
    prepared: &'b Prepared<'b>,
    options: &'b RunOptions,
    /// What the host computes before the chip begins.
    hosted: &'b [&'b Array2<i32>],
    samples: usize,
    /// Samples of one.
    batch: usize,
    progress: &'b (dyn Fn() + Sync),
}

/// The bytes of each input.
fn slices(bytes: &[Vec<u8>]) -> Vec<&[u8]> {
    bytes.iter().map(Vec::as_slice).collect()
}

impl Batches<'_> {
    /// The samples of a batch.
    fn range(&self, number: usize) -> (usize, usize) {
        (number * self.batch, self.samples.min((number + 1) * self.batch))
    }

    /// What the host lays into DRAM for it.
    fn bytes(&self, number: usize) -> Vec<Vec<u8>> {
        batch_bytes(self.prepared, self.hosted, self.range(number), self.options.batch)
    }

    /// The logits in what a batch left in DRAM.
    fn done(&self, number: usize, output: &[u8]) -> Vec<i32> {
        let (first, end) = self.range(number);
        (self.progress)();
        self.prepared.lowering.output.pick(output, (end - first) as u64)
    }

    fn run(&self, machine: &Machine<'_>, number: usize) -> Result<(Run, Vec<i32>), SimError> {
        let run = machine.run(&slices(&self.bytes(number)), self.options.engine)?;
        let logits = self.done(number, &run.output);
        Ok((run, logits))
    }

    /// Some batches in full, behind those that have been.
    fn in_full(
        &self,
        machine: &Machine<'_>,
        numbers: std::ops::Range<usize>,
        mut before: Vec<(Run, Vec<i32>)>,
    ) -> Result<(Totals, Vec<Vec<i32>>), SimError> {
        let ran: Vec<(Run, Vec<i32>)> = numbers.into_par_iter().map(|number| self.run(machine, number)).collect::<Result<_, SimError>>()?;
        before.extend(ran);
        let (runs, logits): (Vec<Run>, Vec<Vec<i32>>) = before.into_iter().unzip();
        Ok((total(runs), logits))
    }

    /// The logits of some batches, without their time. A thread keeps its memories for a stretch of them.
    fn replayed(&self, recording: &Recording<'_, '_>, numbers: std::ops::Range<usize>) -> Result<Vec<Vec<i32>>, SimError> {
        let numbers: Vec<usize> = numbers.collect();
        let stretches: Vec<Vec<Vec<i32>>> = numbers
            .par_chunks(STRETCH)
            .map(|stretch| {
                let mut replay = recording.replay(&slices(&self.bytes(stretch[0])))?;
                let output = |number: &usize| Ok(self.done(*number, &replay.output(&slices(&self.bytes(*number)))?));
                stretch.iter().map(output).collect()
            })
            .collect::<Result<_, SimError>>()?;
        Ok(stretches.concat())
    }
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

/// What is known of the samples, held against what every execution of a run computed.
fn judged_numbers(prepared: &Prepared<'_>, numbers: &Numbers) -> Result<Judged, PipelineError> {
    let integer = dequantize(&prepared.quantized, numbers.integer_logits(&prepared.quantized));
    let chip = dequantize(&prepared.quantized, &numbers.chip_logits);
    let logits = [numbers.float.logits(), numbers.compressed.logits(), &integer, &chip].map(Some);
    judged(prepared.model.card(), prepared.samples.truth(), logits)
}

fn warnings(prepared: &Prepared<'_>, metrics: &BTreeMap<String, MetricValues>) -> Vec<Warning> {
    let (count, batch) = (prepared.samples.count(), prepared.mapping.batch());
    let mut all = Vec::new();
    if let (Task::Classification { classes }, Some(accuracy)) =
        (prepared.model.card().task, metrics.get("accuracy").and_then(|values| values.float))
        && is_at_chance(accuracy, classes, count)
    {
        all.push(Warning::AtChance { accuracy, classes, samples: count });
    }
    if !(count as u64).is_multiple_of(batch) {
        all.push(Warning::FilledUp { samples: count as u64, batch });
    }
    all
}

/// Whether a guesser could well have this accuracy: no more than three standard deviations above chance. Too few samples tell nothing: they
/// must be able to tell a guesser from a network that is better by a quarter of what there is to be gained.
pub(super) fn is_at_chance(accuracy: f64, classes: usize, samples: usize) -> bool {
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
