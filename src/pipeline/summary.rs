//! Turns what a run did into its summary.

use super::run::Totals;
use super::{Numbers, PipelineError, Prepared, RunOptions};
use crate::counts::{CycleCounts, StallReason, TrafficBytes};
use crate::data::sha256_hex;
use crate::energy::{AreaTable, EnergyReport, EnergyTable, StageActivity, account};
use crate::mapping::{StageBound, WeightStart, lower_bounds};
use crate::network::{Layer, Op};
use crate::report::{ChipSummary, LayerSummary, MetricValues, NetworkSummary, Provenance, Summary, WeightsAt, ratio};
use crate::units::Cycles;
use std::collections::BTreeMap;

/// The summary of a run.
pub(super) fn summarize(
    prepared: &Prepared<'_>,
    options: &RunOptions,
    totals: &Totals,
    numbers: &Numbers,
    metrics: BTreeMap<String, MetricValues>,
) -> Result<Summary, PipelineError> {
    let (chip, format) = (prepared.chip, prepared.format);
    let programs = totals.programs;
    let samples = prepared.samples.labels.len() as u64;
    let bounds = lower_bounds(&prepared.mapping, chip);
    let energy = energy(prepared, totals)?;
    let layers = layers(prepared, totals, numbers, &bounds.stages, &energy);
    let total_cycles = totals.first.total_cycles * programs;
    let mut traffic = TrafficBytes::default();
    totals.traffic.iter().for_each(|stage| traffic += *stage);
    let macs_executed: u64 = totals.actions.iter().map(|actions| actions.macs).sum();
    let stages = prepared.mapping.stages();
    let last = &stages[stages.len() - 1];
    let (mismatches, first_mismatch) = numbers.mismatches(&prepared.quantized, &last.name);
    let latency = totals.first.total_cycles / chip.clock();
    Ok(Summary {
        chip: chip_summary(prepared),
        network: NetworkSummary {
            name: prepared.quantized.name().to_string(),
            layers: layers.len() as u64,
            macs: prepared.quantized.macs(),
            weight_bytes: layers.iter().map(|layer| layer.weight_bytes).sum(),
        },
        recipe: options.scheme.to_string(),
        batch: options.batch,
        weights: match options.weights {
            WeightStart::Cold => WeightsAt::Cold,
            WeightStart::Resident => WeightsAt::Resident,
        },
        engine: options.engine.name().to_string(),
        samples,
        total_cycles: total_cycles.get(),
        cycles_per_sample: ratio(total_cycles.as_f64(), samples as f64),
        cycles_lower_bound: programs * bounds.program.get(),
        latency_s: latency.get(),
        throughput_per_s: ratio(options.batch as f64, latency.get()),
        energy_pj: energy.total.get(),
        energy_pj_per_sample: ratio(energy.total.get(), samples as f64),
        energy_assumed_share: energy.assumed_share,
        energy_pj_by_part: energy.by_part.into(),
        area_mm2: AreaTable::resolve(chip)?.total().get(),
        macs_dense: prepared.quantized.macs() * options.batch * programs,
        macs_executed,
        utilization: ratio(macs_executed as f64, total_cycles.as_f64() * chip.peak_macs_per_cycle(format) as f64),
        metrics: Some(metrics),
        mismatches: Some(mismatches),
        output_values: numbers.chip_logits.len() as u64,
        first_mismatch,
        dram_read_bytes: totals.actions.iter().map(|actions| actions.dram_read_bytes).sum(),
        dram_write_bytes: totals.actions.iter().map(|actions| actions.dram_write_bytes).sum(),
        traffic_bytes: traffic,
        layers,
        provenance: provenance(prepared, options),
    })
}

fn chip_summary(prepared: &Prepared<'_>) -> ChipSummary {
    let (chip, format) = (prepared.chip, prepared.format);
    ChipSummary {
        name: chip.name().to_string(),
        rows: u64::from(chip.array().rows),
        cols: u64::from(chip.array().cols),
        cores: u64::from(chip.cores()),
        clock_hz: chip.clock().get(),
        peak_tops: 2.0 * chip.peak_macs_per_cycle(format) as f64 * chip.clock().as_f64() * 1e-12,
        on_chip_bytes: chip.on_chip_bytes().get(),
        dram_bytes_per_s: chip.dram().bytes_per_cycle(chip.clock()).as_f64() * chip.clock().as_f64(),
    }
}

fn energy(prepared: &Prepared<'_>, totals: &Totals) -> Result<EnergyReport, PipelineError> {
    let activity: Vec<StageActivity> = totals
        .actions
        .iter()
        .zip(&totals.first.stages)
        .map(|(actions, stage)| StageActivity {
            actions: *actions,
            window: stage.window * totals.programs,
            weight: prepared.format.weight,
            activation: prepared.format.activation,
        })
        .collect();
    Ok(account(&EnergyTable::resolve(prepared.chip)?, &activity))
}

/// A row a stage, and one for a softmax that the host does.
fn layers(prepared: &Prepared<'_>, totals: &Totals, numbers: &Numbers, bounds: &[StageBound], energy: &EnergyReport) -> Vec<LayerSummary> {
    let mut rows = Vec::new();
    for (number, stage) in prepared.mapping.stages().iter().enumerate() {
        let layer = prepared.quantized.layer(stage.layers[0]);
        let (run, actions, bound) = (&totals.first.stages[number], &totals.actions[number], &bounds[number]);
        let programs = totals.programs;
        let cycles = run.window * programs;
        let peak = prepared.chip.peak_macs_per_cycle(prepared.format) as f64;
        let (weight_bytes, sparsity) = weights(layer, prepared.mapping.buffers().accumulator_element_bytes);
        rows.push(LayerSummary {
            name: stage.name.clone(),
            op: layer.op.name().to_string(),
            format: format!("{} x {}", stage.problem.weight, stage.problem.activation),
            total_cycles: cycles.get(),
            cycles_lower_bound: (bound.cycles * programs).get(),
            busy_cycles: run.array.busy * programs,
            idle_cycles: run.array.idle * programs,
            stall_cycles: stalls(&run.array, programs),
            first_tick: run.first_tick.get(),
            last_tick: (run.last_tick + Cycles::new(1)).get(),
            macs_dense: stage.problem.macs() * programs,
            macs_executed: actions.macs,
            utilization: ratio(actions.macs as f64, cycles.as_f64() * peak),
            mapping_efficiency: bound.mapping_efficiency,
            bound_by: bound.demand.binding(run.window).to_string(),
            weight_bytes,
            sparsity,
            energy_pj: energy.stages[number].total.get(),
            sqnr_db: numbers.sqnr_db(&prepared.quantized, layer.id),
            dram_read_bytes: actions.dram_read_bytes,
            dram_write_bytes: actions.dram_write_bytes,
            traffic_bytes: totals.traffic[number],
        });
    }
    rows.extend(prepared.quantized.layers().filter(|layer| layer.op == Op::Softmax).map(host_row));
    rows
}

/// The row of a layer that the host computes outside of the chip's clock.
fn host_row(layer: &Layer) -> LayerSummary {
    LayerSummary {
        name: layer.name.clone(),
        op: layer.op.name().to_string(),
        format: "float".to_string(),
        total_cycles: 0,
        cycles_lower_bound: 0,
        busy_cycles: 0,
        idle_cycles: 0,
        stall_cycles: BTreeMap::new(),
        first_tick: 0,
        last_tick: 0,
        macs_dense: 0,
        macs_executed: 0,
        utilization: 0.0,
        mapping_efficiency: 0.0,
        bound_by: "host".to_string(),
        weight_bytes: 0,
        sparsity: 0.0,
        energy_pj: 0.0,
        sqnr_db: None,
        dram_read_bytes: 0,
        dram_write_bytes: 0,
        traffic_bytes: TrafficBytes::default(),
    }
}

/// Bytes of a layer's weights and biases in DRAM, and the share of its weights that are zero.
fn weights(layer: &Layer, bias_element_bytes: u64) -> (u64, f64) {
    match &layer.op {
        Op::Dense(dense) => (dense.weight.stored_bytes() + dense.outputs() as u64 * bias_element_bytes, dense.weight.sparsity()),
        _ => (0, 0.0),
    }
}

fn stalls(array: &CycleCounts, programs: u64) -> BTreeMap<StallReason, u64> {
    array.stalls().map(|(reason, cycles)| (reason, cycles * programs)).collect()
}

fn provenance(prepared: &Prepared<'_>, options: &RunOptions) -> Provenance {
    let joined = |files: &[crate::data::FileHash]| -> String {
        match files {
            [file] => file.sha256.clone(),
            files => sha256_hex(files.iter().map(|file| file.sha256.as_str()).collect::<Vec<_>>().join("\n").as_bytes()),
        }
    };
    Provenance {
        version: env!("CARGO_PKG_VERSION").to_string(),
        command: options.command.clone(),
        seed: options.seed,
        chip_sha256: sha256_hex(prepared.chip.resolved().as_bytes()),
        model_sha256: joined(prepared.model.files()),
        data_sha256: Some(joined(&prepared.samples.files)),
    }
}
