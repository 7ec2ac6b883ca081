//! A layer table on a chip, timed as one program: its layers in order, each from DRAM to DRAM.
//!
//! A convolution in groups is one stage, as a network's is, or where it is the vector unit's as many as its channels fit. Repeats, and the groups of a matrix product, are a stage each, one after the other, with
//! weights and an input of their own, and one row of the report.
//! A table says nothing of which layer reads which: between two of its layers there may be a pool, a sum or a branch. So no activation stays
//! on the chip between them. Not here: layers timed each by itself (`gemm::topology`).

use super::numbers::Fidelity;
use super::prepare::first_format;
use super::run::Totals;
use super::summary::{Facts, Ran, summarize};
use super::{ChoiceStore, PipelineError, RunOptions, TIMING_ONLY};
use crate::chip::{Chip, Format};
use crate::mapping::{Lowered, Problem, depthwise_alone};
use crate::numerics::BIAS_BYTES;
use crate::program::{Program, emit_timing};
use crate::report::{LayerSummary, Summary, WhatIf, ratio};
use crate::sim::{Machine, Run};
use crate::topology::{Layer, Table};
use std::collections::BTreeSet;

/// The most stages of a table, over all layers. Each is mapped, verified and simulated for itself, in some seconds and far less than a gigabyte for so
/// many small ones.
const MAX_STAGES: u64 = 1 << 14;

/// Times the layers of a table, `sha256` being its file's hash, one after the other, for batches of `options.batch`: no metrics, nothing compared.
///
/// # Errors
/// The first stage that cannot do its part, with its own message.
///
/// # Panics
/// If a stage lets pass what it promises to refuse, which would be a bug.
pub fn time_table(chip: &Chip, table: &Table, sha256: &str, name: &str, options: &RunOptions) -> Result<Summary, PipelineError> {
    time_table_sharing(chip, table, (sha256, name), options, None, |_, time| time())
}

/// The same; what the plan chooses is taken from `store` where it is known there. `timed` is given what the run depends on and how it is made, and may know
/// it from another chip.
pub(super) fn time_table_sharing<E: From<PipelineError>>(
    chip: &Chip,
    table: &Table,
    (sha256, name): (&str, &str),
    options: &RunOptions,
    store: Option<&dyn ChoiceStore>,
    timed: impl FnOnce(String, &dyn Fn() -> Result<Run, PipelineError>) -> Result<Run, E>,
) -> Result<Summary, E> {
    let by_layer = stages_by_layer(chip, table, options)?;
    let counts: Vec<usize> = by_layer.iter().map(Vec::len).collect();
    let stages: Vec<Lowered> = by_layer.into_iter().flatten().collect();
    let (mapping, choices) = options.map(&stages, chip, store)?;
    let passed_on = options.passed_on(None, &stages, chip, (&mapping, &choices));
    let program = emit_timing(&mapping, chip).map_err(PipelineError::from)?;
    let format = first_format(&stages, chip);
    let machine = Machine::new(chip, format, &program).map_err(PipelineError::from)?;
    let key = format!("{sha256} {} {} {:?} {choices:?}\n{}", options.recipe, options.batch, options.weights, chip.timing());
    let run = timed(key, &|| Ok(machine.time()?))?;
    let bias = mapping.buffers().accumulator_element_bytes;
    let layers = table.layers.iter().zip(&counts).flat_map(|(layer, count)| std::iter::repeat_n(layer, *count));
    let facts = mapping.stages().iter().zip(layers).map(|(stage, layer)| Facts {
        op: match (layer.convolution, stage.vector_macs()) {
            (None, _) => "gemm",
            (Some(_), 0) => "conv",
            (Some(_), _) => "depthwise_conv",
        },
        weight_bytes: match stage.vector_macs() {
            0 => stage.kept_bytes() + stage.problem.channels() * bias,
            _ => (stage.problem.r * stage.problem.s + BIAS_BYTES) * stage.problem.m,
        },
        sparsity: 0.0,
        fidelity: Fidelity::default(),
    });
    let ran = Ran {
        chip,
        format,
        mapping: &mapping,
        passed_on,
        name: name.to_string(),
        samples: options.batch,
        layers: facts.collect(),
        host: Vec::new(),
        judged: None,
        compared: None,
        model_sha256: sha256.to_string(),
        data_sha256: None,
        engine: TIMING_ONLY,
    };
    let mut summary = summarize(ran, options, &Totals::of_equal(run, 1).explained(&machine, options)?)?;
    join(&mut summary, table, &counts);
    Ok(summary)
}

/// The program that [`time_table`] times, and the formats that the array multiplies first in it.
pub(super) fn table_program<'c>(chip: &'c Chip, table: &Table, options: &RunOptions) -> Result<(&'c Format, Program), PipelineError> {
    let stages = table_stages(chip, table, options)?;
    let (mapping, _) = options.map(&stages, chip, None)?;
    Ok((first_format(&stages, chip), emit_timing(&mapping, chip)?))
}

/// Makes the rows of a layer's stages, of which there are so many, one row.
fn join(summary: &mut Summary, table: &Table, counts: &[usize]) {
    let mut stages = std::mem::take(&mut summary.layers).into_iter();
    for (layer, count) in table.layers.iter().zip(counts) {
        let row = stages.by_ref().take(*count).reduce(joined);
        // Its own name, where stages have that of a part.
        summary.layers.extend(row.map(|row| LayerSummary { name: layer.name.clone(), ..row }));
    }
    summary.network.layers = summary.layers.len() as u64;
    // What lies where is alike for all stages of a layer but for the place in a ring: the first tells it.
    let several = table.layers.iter().zip(counts).filter(|(_, count)| **count > 1);
    let several: BTreeSet<&str> = several.map(|(layer, _)| layer.name.as_str()).collect();
    let mut told = BTreeSet::new();
    summary.residency.tensors.retain(|life| {
        let what = (life.tensor.clone(), life.memory.clone(), life.first_layer.clone(), life.last_layer.clone());
        !several.contains(life.first_layer.as_str()) || told.insert(what)
    });
}

/// Two rows of equal products as one: what is counted is added up, and what binds is what binds the later one.
fn joined(one: LayerSummary, other: LayerSummary) -> LayerSummary {
    let total_cycles = one.total_cycles + other.total_cycles;
    let weighted = |one_figure: f64, other_figure: f64| {
        ratio(one_figure * one.total_cycles as f64 + other_figure * other.total_cycles as f64, total_cycles as f64)
    };
    let (utilization, mapping_efficiency) =
        (weighted(one.utilization, other.utilization), weighted(one.mapping_efficiency, other.mapping_efficiency));
    let mut stall_cycles = one.stall_cycles;
    for (reason, cycles) in other.stall_cycles {
        *stall_cycles.entry(reason).or_default() += cycles;
    }
    let mut traffic_bytes = one.traffic_bytes;
    traffic_bytes += other.traffic_bytes;
    LayerSummary {
        name: one.name,
        op: one.op,
        format: one.format,
        total_cycles,
        cycles_lower_bound: one.cycles_lower_bound + other.cycles_lower_bound,
        what_if: one.what_if.zip(other.what_if).map(|parts| <[WhatIf; 2]>::from(parts).into_iter().sum()),
        busy_cycles: one.busy_cycles + other.busy_cycles,
        idle_cycles: one.idle_cycles + other.idle_cycles,
        stall_cycles,
        first_tick: one.first_tick.min(other.first_tick),
        last_tick: one.last_tick.max(other.last_tick),
        macs_dense: one.macs_dense + other.macs_dense,
        macs_executed: one.macs_executed + other.macs_executed,
        utilization,
        mapping_efficiency,
        // The first stage of a layer may wait for what the others find done, so that it speaks for itself only.
        bound_by: other.bound_by,
        weight_bytes: one.weight_bytes + other.weight_bytes,
        weight_stored_bytes: one.weight_stored_bytes + other.weight_stored_bytes,
        sparsity: one.sparsity,
        energy_pj: one.energy_pj + other.energy_pj,
        sqnr_db: None,
        cosine: None,
        max_abs_error: None,
        coded_bytes: one.coded_bytes + other.coded_bytes,
        unpacked_bytes: one.unpacked_bytes + other.unpacked_bytes,
        dram_read_bytes: one.dram_read_bytes + other.dram_read_bytes,
        dram_write_bytes: one.dram_write_bytes + other.dram_write_bytes,
        traffic_bytes,
    }
}

/// How often a layer runs: for each repeat, and each group of a product.
fn runs_of(layer: &Layer) -> usize {
    let stages = if layer.convolution.is_some() { layer.repeat } else { layer.runs() };
    usize::try_from(stages).expect("bug: the runs of a layer are limited when it is read")
}

/// The operations of a table's layers, before they are mapped: a stage of the array for each repeat of a layer, and each group of a product; of the vector
/// unit for as many channels of a depthwise layer as fit at once, where the chip has these there.
///
/// # Errors
/// Formats that the chip does not multiply; more than 16,384 stages.
pub fn table_stages(chip: &Chip, table: &Table, options: &RunOptions) -> Result<Vec<Lowered>, PipelineError> {
    Ok(stages_by_layer(chip, table, options)?.into_iter().flatten().collect())
}

fn stages_by_layer(chip: &Chip, table: &Table, options: &RunOptions) -> Result<Vec<Vec<Lowered>>, PipelineError> {
    let mut total: u64 = table.layers.iter().map(|layer| runs_of(layer) as u64).sum();
    let check = |total: u64| {
        if total <= MAX_STAGES {
            return Ok(());
        }
        let largest = table.layers.iter().max_by_key(|layer| runs_of(layer));
        let (layer, runs) = largest.map_or_else(Default::default, |layer| (layer.name.clone(), runs_of(layer) as u64));
        Err(PipelineError::Stages { stages: total, limit: MAX_STAGES, layer, runs })
    };
    check(total)?;
    let (mut all, mut tensors) = (Vec::with_capacity(table.layers.len()), 0);
    for layer in &table.layers {
        let problem = problem(layer, options);
        let mut of_layer = Vec::new();
        for _ in 0..runs_of(layer) {
            if let Some(parts) = depthwise_alone(&layer.name, &problem, tensors, chip) {
                total += parts.len() as u64 - 1;
                check(total)?;
                tensors += 2 + parts.len();
                of_layer.extend(parts);
            } else {
                // Its operands take two numbers, from an even one on.
                tensors = tensors.next_multiple_of(2);
                of_layer.push(Lowered::alone(&layer.name, problem, tensors / 2, chip, options.recipe.is_wide())?);
                tensors += 2;
            }
        }
        all.push(of_layer);
    }
    Ok(all)
}

/// What a layer computes for a batch.
fn problem(layer: &Layer, options: &RunOptions) -> Problem {
    let (weight, activation) = (options.scheme().weight, options.scheme().activation);
    let Some(convolution) = layer.convolution else {
        return Problem::matrix(layer.m * options.batch, layer.k, layer.n, weight, activation);
    };
    Problem {
        n: options.batch,
        p: convolution.output[0],
        q: convolution.output[1],
        r: convolution.filter[0],
        s: convolution.filter[1],
        input: convolution.input,
        padding: [convolution.padding; 2],
        stride: convolution.stride,
        groups: layer.groups,
        // The table's channels and filters are those of a group.
        ..Problem::matrix(1, convolution.channels * layer.groups, layer.n * layer.groups, weight, activation)
    }
}
