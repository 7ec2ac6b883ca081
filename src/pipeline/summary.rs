//! Turns what a run did into its summary.

use super::judged::Judged;
use super::numbers::{Compared, Fidelity};
use super::residency::residency;
use super::run::Totals;
use super::{PipelineError, RunOptions};
use crate::chip::{Chip, Format};
use crate::counts::{ActionCounts, CycleCounts, StallReason, TrafficBytes};
use crate::data::{FileHash, sha256_hex};
use crate::energy::{AreaTable, EnergyReport, EnergyTable, StageActivity, account};
use crate::mapping::{Mapping, PassedOn, Stage, StageBound, WeightStart, lower_bounds};
use crate::network::Layer;
use crate::report::{ChipSummary, LayerSummary, NetworkSummary, Provenance, Roofs, Summary, WeightsAt, ratio};
use crate::sim::StageRun;
use crate::units::Cycles;
use std::collections::BTreeMap;

/// What a run was of, and what is known of its layers beside what the machine counted.
pub(super) struct Ran<'a> {
    pub(super) chip: &'a Chip,
    pub(super) format: &'a Format,
    pub(super) mapping: &'a Mapping,
    /// Which outputs stay on the chip for what reads them.
    pub(super) passed_on: PassedOn,
    /// The network's or the table's name.
    pub(super) name: String,
    pub(super) samples: u64,
    /// A stage each, in the order of the mapping.
    pub(super) layers: Vec<Facts>,
    /// Rows of layers that the host computes.
    pub(super) host: Vec<LayerSummary>,
    /// What its outputs are worth; none where there are no numbers.
    pub(super) judged: Option<Judged>,
    pub(super) compared: Option<Compared>,
    pub(super) model_sha256: String,
    pub(super) data_sha256: Option<String>,
    /// The engine's name, or that nothing but time was simulated.
    pub(super) engine: &'static str,
}

/// A layer's facts.
pub(super) struct Facts {
    pub(super) op: &'static str,
    pub(super) weight_bytes: u64,
    pub(super) sparsity: f64,
    pub(super) fidelity: Fidelity,
}

/// The summary of a run.
pub(super) fn summarize(ran: Ran<'_>, options: &RunOptions, totals: &Totals) -> Result<Summary, PipelineError> {
    let (chip, format) = (ran.chip, ran.format);
    let programs = totals.programs;
    let bounds = lower_bounds(ran.mapping, chip);
    let energy = energy(&ran, totals)?;
    let layers = layers(&ran, totals, &bounds.stages, &energy);
    let total_cycles = totals.first.total_cycles * programs;
    let mut traffic = TrafficBytes::default();
    totals.traffic.iter().for_each(|stage| traffic += *stage);
    let of_array: u64 = totals.actions.iter().map(|actions| actions.macs).sum();
    let of_vector: u64 = ran.mapping.stages().iter().map(Stage::vector_macs).sum();
    let macs = of_vector + ran.mapping.stages().iter().map(Stage::macs).sum::<u64>();
    let windows = ran.mapping.stages().iter().zip(&totals.first.stages);
    let possible: u128 = windows.map(|(stage, run)| u128::from((run.window * programs).get()) * u128::from(peak(chip, stage))).sum();
    let latency = totals.first.total_cycles / chip.clock();
    let (metrics, classes) = ran.judged.map_or((None, None), |judged| (Some(judged.metrics), judged.classes));
    let what_if = totals.what_if.as_ref().map(|stages| stages.iter().copied().sum());
    Ok(Summary {
        chip: chip_summary(chip, format),
        network: NetworkSummary {
            name: ran.name,
            layers: layers.len() as u64,
            macs: macs / options.batch,
            weight_bytes: layers.iter().map(|layer| layer.weight_bytes).sum(),
            weight_stored_bytes: layers.iter().map(|layer| layer.weight_stored_bytes).sum(),
        },
        recipe: options.recipe.to_string(),
        pruning: None,
        mixed_precision: options.mixed_precision.clone(),
        batch: options.batch,
        weights: match options.weights {
            WeightStart::Cold => WeightsAt::Cold,
            WeightStart::Resident => WeightsAt::Resident,
        },
        engine: ran.engine.to_string(),
        samples: ran.samples,
        total_cycles: total_cycles.get(),
        cycles_per_sample: ratio(total_cycles.as_f64(), ran.samples as f64),
        cycles_lower_bound: programs * bounds.program.get(),
        what_if,
        roofs: roofs(chip, ran.mapping),
        latency_s: latency.get(),
        throughput_per_s: ratio(options.batch as f64, latency.get()),
        energy_pj: energy.total.get(),
        energy_pj_per_sample: ratio(energy.total.get(), ran.samples as f64),
        energy_assumed_share: energy.assumed_share,
        energy_pj_by_part: energy.by_part.into(),
        area_mm2: AreaTable::resolve(chip)?.total().get(),
        macs_dense: macs * programs,
        macs_executed: of_array + of_vector * programs,
        utilization: ratio(of_array as f64, possible as f64),
        metrics,
        classes,
        mismatches: ran.compared.as_ref().map(|compared| compared.mismatches),
        output_values: ran.compared.as_ref().map_or(0, |compared| compared.values),
        output_hash: ran.compared.as_ref().map(|compared| compared.output_hash.clone()),
        first_mismatch: ran.compared.and_then(|compared| compared.first),
        coded_bytes: totals.actions.iter().map(|actions| actions.coded_bytes).sum(),
        unpacked_bytes: totals.actions.iter().map(|actions| actions.unpacked_bytes).sum(),
        dram_read_bytes: totals.actions.iter().map(|actions| actions.dram_read_bytes).sum(),
        dram_write_bytes: totals.actions.iter().map(|actions| actions.dram_write_bytes).sum(),
        traffic_bytes: traffic,
        residency: residency(ran.mapping, chip, ran.passed_on),
        layers,
        provenance: Provenance {
            version: env!("CARGO_PKG_VERSION").to_string(),
            command: options.command.clone(),
            seed: options.seed,
            chip_sha256: sha256_hex(chip.resolved().as_bytes()),
            model_sha256: ran.model_sha256,
            data_sha256: ran.data_sha256,
        },
    })
}

fn chip_summary(chip: &Chip, format: &Format) -> ChipSummary {
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

fn energy(ran: &Ran<'_>, totals: &Totals) -> Result<EnergyReport, PipelineError> {
    let windows = totals.first.stages.iter().map(|stage| stage.window * totals.programs);
    Ok(energy_of(&EnergyTable::resolve(ran.chip)?, ran.mapping, totals.actions.iter().copied().zip(windows)))
}

/// The most that the chip could do a cycle in the formats of these stages, and move.
pub(super) fn roofs(chip: &Chip, mapping: &Mapping) -> Roofs {
    let formats = mapping.stages().iter().filter_map(|stage| chip.format(stage.problem.weight, stage.problem.activation));
    let links = f64::from(chip.dma().engines) * chip.dma().bytes_per_cycle.as_f64();
    Roofs {
        macs_per_cycle: formats.map(|format| chip.peak_macs_per_cycle(format)).max().unwrap_or(0),
        dram_bytes_per_cycle: chip.bus_bytes_per_cycle().as_f64().min(links),
    }
}

/// Multiply-accumulates that the array could do a cycle in a stage's formats.
fn peak(chip: &Chip, stage: &Stage) -> u64 {
    let mode = stage.rules.mode;
    chip.format(mode.weight, mode.activation).map_or(1, |format| chip.peak_macs_per_cycle(format))
}

/// The energy of a mapping's stages that did so much in so many cycles, each in the formats in which the array is clocked then.
pub(super) fn energy_of(table: &EnergyTable, mapping: &Mapping, stages: impl Iterator<Item = (ActionCounts, Cycles)>) -> EnergyReport {
    let modes = mapping.stages().iter().map(|stage| stage.rules.mode);
    let activity = stages.zip(modes);
    let activity =
        activity.map(|((actions, window), mode)| StageActivity { actions, window, weight: mode.weight, activation: mode.activation });
    account(table, &activity.collect::<Vec<_>>())
}

/// A row a stage, and those of the host.
fn layers(ran: &Ran<'_>, totals: &Totals, bounds: &[StageBound], energy: &EnergyReport) -> Vec<LayerSummary> {
    let mut rows = Vec::new();
    for (number, (stage, facts)) in ran.mapping.stages().iter().zip(&ran.layers).enumerate() {
        let (run, actions, bound) = (&totals.first.stages[number], &totals.actions[number], &bounds[number]);
        let programs = totals.programs;
        let cycles = run.window * programs;
        let peak = peak(ran.chip, stage) as f64;
        rows.push(LayerSummary {
            name: stage.name.clone(),
            op: facts.op.to_string(),
            format: multiplied(stage),
            total_cycles: cycles.get(),
            cycles_lower_bound: (bound.cycles * programs).get(),
            what_if: totals.what_if.as_ref().map(|stages| stages[number]),
            busy_cycles: run.array.busy * programs,
            idle_cycles: run.array.idle * programs,
            stall_cycles: stalls(&run.array, programs),
            first_tick: run.first_tick.get(),
            last_tick: (run.last_tick + Cycles::new(1)).get(),
            macs_dense: (stage.macs() + stage.vector_macs()) * programs,
            macs_executed: actions.macs + stage.vector_macs() * programs,
            utilization: ratio(actions.macs as f64, cycles.as_f64() * peak),
            mapping_efficiency: bound.mapping_efficiency,
            bound_by: bound_by(bound, run).to_string(),
            weight_bytes: facts.weight_bytes,
            weight_stored_bytes: stored_bytes(stage, facts, ran.mapping),
            sparsity: facts.sparsity,
            energy_pj: energy.stages[number].total.get(),
            sqnr_db: facts.fidelity.sqnr_db,
            cosine: facts.fidelity.cosine,
            max_abs_error: facts.fidelity.max_abs_error,
            coded_bytes: actions.coded_bytes,
            unpacked_bytes: actions.unpacked_bytes,
            dram_read_bytes: actions.dram_read_bytes,
            dram_write_bytes: actions.dram_write_bytes,
            traffic_bytes: totals.traffic[number],
        });
    }
    rows.extend(ran.host.iter().cloned());
    rows
}

/// The formats that a stage multiplies, and in which its weights lie in DRAM where that is narrower.
fn multiplied(stage: &Stage) -> String {
    let kept = Some(stage.kept_format()).filter(|kept| *kept != stage.problem.weight);
    let kept = kept.map_or_else(String::new, |kept| format!("{kept} as "));
    format!("{kept}{} x {}", stage.problem.weight, stage.problem.activation)
}

/// Bytes of a stage's weights and biases in DRAM: where some lie coded, its pieces with what fills them up, and a bias a channel.
fn stored_bytes(stage: &Stage, facts: &Facts, mapping: &Mapping) -> u64 {
    let biases = stage.problem.channels() * mapping.buffers().accumulator_element_bytes;
    if stage.stored.is_empty() { facts.weight_bytes } else { stage.stored.iter().sum::<u64>() + biases }
}

/// What binds a stage. Where no unit needs half of its window, and the array could not have a port for half of it, the ports do.
pub(super) fn bound_by(bound: &StageBound, run: &StageRun) -> &'static str {
    let reasons = [StallReason::ScratchpadConflict, StallReason::AccumulatorConflict, StallReason::AccumulatorHazard];
    let conflicts: u64 = reasons.into_iter().map(|reason| run.array.stalled(reason)).sum();
    match bound.demand.binding(run.window) {
        "latency" if 2 * conflicts >= run.window.get() => "memory_ports",
        other => other,
    }
}

/// The row of a layer that the host computes outside of the chip's clock.
pub(super) fn host_row(layer: &Layer) -> LayerSummary {
    LayerSummary {
        name: layer.name.clone(),
        op: layer.op.name().to_string(),
        format: "float".to_string(),
        total_cycles: 0,
        cycles_lower_bound: 0,
        what_if: None,
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
        weight_stored_bytes: 0,
        sparsity: 0.0,
        energy_pj: 0.0,
        sqnr_db: None,
        cosine: None,
        max_abs_error: None,
        coded_bytes: 0,
        unpacked_bytes: 0,
        dram_read_bytes: 0,
        dram_write_bytes: 0,
        traffic_bytes: TrafficBytes::default(),
    }
}

fn stalls(array: &CycleCounts, programs: u64) -> BTreeMap<StallReason, u64> {
    array.stalls().map(|(reason, cycles)| (reason, cycles * programs)).collect()
}

/// The hash of files: their own, or that of all of theirs.
pub(super) fn joined(files: &[FileHash]) -> String {
    match files {
        [file] => file.sha256.clone(),
        files => sha256_hex(files.iter().map(|file| file.sha256.as_str()).collect::<Vec<_>>().join("\n").as_bytes()),
    }
}
