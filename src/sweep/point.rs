//! One point, from its coordinates to its row.

use super::command::command;
use super::iso::{CAPACITY, fill};
use crate::chip::{self, Chip, Dram};
use crate::data::sha256_hex;
use crate::experiment::{AreaRule, Experiment, Point, Samples, axis_columns};
use crate::mapping::WeightStart;
use crate::metrics::wilson;
use crate::model::{Found, Training as CardTraining};
use crate::pipeline::{self, Depth, Measured, RunOptions, Workbench};
use crate::report::{PointFigures, PointLayer, PointRow, PointStatus, Summary, Training, WeightsAt, bits_of};
use std::collections::BTreeMap;

/// The confidence of intervals.
const CONFIDENCE: f64 = 0.95;
/// Digits of a point's identity: 64 bits.
const DIGITS: usize = 16;
/// The longest reason.
const LONGEST: usize = 600;

/// A point's identity.
pub(super) fn identity(experiment: &Experiment, point: &Point) -> String {
    sha256_hex(point.inputs(experiment).as_bytes())[..DIGITS].to_owned()
}

/// Runs a point. What cannot be built or run is a row with its reason.
///
/// # Panics
/// If the chip and the integer reference differ, or a program of ours cannot run: a bug.
pub(super) fn row(experiment: &Experiment, bench: &Workbench<'_>, number: u64, point: &Point) -> PointRow {
    let (workload, recipe) = (&experiment.workloads[point.workload], &experiment.recipes[point.recipe]);
    let base = &experiment.chips[point.chip];
    let mut axes = point.axes.clone();
    let mut sets = point.sets.clone();
    let built = match experiment.area {
        AreaRule::Free => chip::load(&base.path, &point.sets).map_err(|error| error.to_string()),
        AreaRule::Iso => fill(base, &point.sets).map_err(|error| error.to_string()).map(|(chip, all)| {
            axes.extend(axis_columns(CAPACITY, &all[all.len() - 1].1));
            sets = all;
            chip
        }),
    };
    let options = RunOptions {
        batch: workload.batch,
        weights: workload.weights,
        samples: if let Samples::First(count) = workload.samples { Some(count) } else { None },
        seed: point.seed,
        plan: experiment.plan,
        ..RunOptions::new(point.steps.clone())
    };
    let depth = if workload.samples == Samples::TimingOnly { Depth::Timing } else { Depth::Numbers };
    let measured = built.and_then(|chip| {
        refuse_for_tables(&workload.found, point)?;
        match bench.measure((&workload.found, &workload.sha256), &chip, &options, depth) {
            Ok(measured) => Ok((chip, measured)),
            Err(error) => {
                assert!(!error.is_bug(), "a program that systole made itself cannot run: {error}");
                Err(error.to_string())
            }
        }
    });
    let training = match &workload.found {
        Found::Network(model) => pipeline::training(model, &point.steps).unwrap_or_default(),
        Found::Table(_) => CardTraining::Plain,
    };
    let mut row = PointRow {
        point: number,
        point_id: identity(experiment, point),
        status: PointStatus::Failed,
        reason: None,
        chip: base.name.clone(),
        model: workload.model.clone(),
        batch: workload.batch,
        weights: if workload.weights == WeightStart::Cold { WeightsAt::Cold } else { WeightsAt::Resident },
        recipe: recipe.name.clone(),
        recipe_steps: point.steps.to_string(),
        training: match training {
            CardTraining::Plain => Training::Ptq,
            CardTraining::FineTuned => Training::Finetuned,
            CardTraining::QuantizationAware => Training::Qat,
        },
        mapping: experiment.plan.to_string(),
        seed: point.seed,
        samples: 0,
        run: command(experiment, point, &sets),
        figures: None,
        axes,
    };
    match measured {
        Ok((chip, measured)) => {
            row.status = PointStatus::Done;
            row.samples = measured.right.as_ref().map_or(0, |right| right.len() as u64);
            if let Some(first) = &measured.summary.first_mismatch {
                panic!("the chip and the integer reference differ in the point `{}`, first in {first:?}", row.run);
            }
            row.figures = Some(figures(&chip, &measured));
        }
        Err(reason) => row.reason = Some(one_line(&reason)),
    }
    row
}

/// A layer table has neither weights nor data.
fn refuse_for_tables(found: &Found, point: &Point) -> Result<(), String> {
    let steps = &point.steps;
    let is_named = steps.quantization().iter().any(|step| step.layers().is_some_and(|layers| !layers.0.is_empty()));
    if matches!(found, Found::Network(_)) || (steps.pruning().is_empty() && steps.search().is_none() && !is_named) {
        return Ok(());
    }
    Err(format!("a layer table has no weights and no layers of its own formats: {steps} cannot be done to it, it is only timed"))
}

/// A message without its line ends.
fn one_line(message: &str) -> String {
    let words: Vec<&str> = message.split_whitespace().collect();
    words.join(" ").chars().take(LONGEST).collect()
}

fn figures(chip: &Chip, measured: &Measured) -> PointFigures {
    let summary = &measured.summary;
    let accuracy = summary.metrics.as_ref().and_then(|metrics| metrics.get("accuracy"));
    let right = measured.right.as_deref();
    let share = right.map(|right| {
        let count = right.iter().filter(|right| **right).count() as u64;
        (count as f64 / right.len().max(1) as f64, wilson(count, right.len() as u64, CONFIDENCE))
    });
    let error = |right: u64, samples: u64| 100.0 * (samples - right) as f64 / samples.max(1) as f64;
    let wrong = right.map(|right| error(right.iter().filter(|right| **right).count() as u64, right.len() as u64));
    PointFigures {
        clock_hz: summary.chip.clock_hz,
        array_rows: summary.chip.rows,
        array_cols: summary.chip.cols,
        cores: summary.chip.cores,
        on_chip_bytes: summary.chip.on_chip_bytes,
        dram_model: match chip.dram() {
            Dram::Ideal { .. } => "ideal".to_owned(),
            Dram::Banked(banked) => format!("{:?}", banked.device).to_lowercase(),
        },
        dram_bytes_per_s: summary.chip.dram_bytes_per_s,
        peak_tops: summary.chip.peak_tops,
        area_mm2: summary.area_mm2,
        total_cycles: summary.total_cycles,
        cycles_per_sample: summary.cycles_per_sample,
        cycles_lower_bound: summary.cycles_lower_bound,
        latency_s: summary.latency_s,
        throughput_per_s: summary.throughput_per_s,
        energy_pj: summary.energy_pj,
        energy_pj_per_sample: summary.energy_pj_per_sample,
        energy_assumed_share: summary.energy_assumed_share,
        energy_pj_by_part: summary.energy_pj_by_part,
        macs_dense: summary.macs_dense,
        macs_executed: summary.macs_executed,
        macs_share: macs_share(summary),
        utilization: summary.utilization,
        weight_bytes: summary.network.weight_bytes,
        weight_stored_bytes: summary.network.weight_stored_bytes,
        dram_read_bytes: summary.dram_read_bytes,
        dram_write_bytes: summary.dram_write_bytes,
        traffic_bytes: summary.traffic_bytes,
        accuracy: share.map(|(value, _)| value),
        error_percent: wrong,
        accuracy_low: share.map(|(_, [low, _])| rounded(low)),
        accuracy_high: share.map(|(_, [_, high])| rounded(high)),
        float_accuracy: accuracy.and_then(|values| values.float),
        compressed_float_accuracy: accuracy.and_then(|values| values.compressed_float),
        select_error_percent: measured.selected.map(|selected| error(selected.right, selected.samples)),
        select_samples: measured.selected.map(|selected| selected.samples),
        mismatches: summary.mismatches,
        right_bits: right.map(bits_of),
        layers: summary.layers.iter().map(PointLayer::from).collect(),
    }
}

/// To six significant digits: the rest depends on the host's mathematical functions.
fn rounded(value: f64) -> f64 {
    format!("{value:.5e}").parse().unwrap_or(value)
}

/// Shares of multiply-accumulates by `w8a8` and its like.
fn macs_share(summary: &Summary) -> BTreeMap<String, f64> {
    let bits = |name: &str| name.trim().trim_start_matches("int").replace("binary", "1");
    let mut macs: BTreeMap<String, u64> = BTreeMap::new();
    for layer in summary.layers.iter().filter(|layer| layer.macs_dense > 0) {
        let (weight, activation) = layer.format.split_once(" x ").unwrap_or((&layer.format, ""));
        // `int4 as int8`: as they lie in DRAM, and as they are multiplied.
        let weight = weight.split(" as ").next().unwrap_or(weight);
        *macs.entry(format!("w{}a{}", bits(weight), bits(activation))).or_default() += layer.macs_dense;
    }
    let all: u64 = macs.values().sum();
    macs.into_iter().map(|(format, macs)| (format, macs as f64 / all.max(1) as f64)).collect()
}
