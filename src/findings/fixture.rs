//! Points for tests: invented figures, of which tests set what they ask about.

use crate::report::{
    EnergyPjByPart, PointFigures, PointLayer, PointRow, PointStatus, RESULTS_VERSION, SweepProvenance, SweepResults, Training, WeightsAt,
    bits_of,
};
use std::collections::BTreeMap;

/// A point of one latency; with which samples it got right, on both splits.
pub(crate) fn point(chip: &str, recipe: &str, latency_s: f64, right: Option<Vec<bool>>) -> PointRow {
    let cycles = (latency_s * 1e9).round().max(1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a latency of a test is short")]
    let total_cycles = cycles as u64;
    let accuracy = right.as_ref().map(|right| right.iter().filter(|bit| **bit).count() as f64 / right.len().max(1) as f64);
    let energy = latency_s * 1e12;
    let layer = |name: &str, part: f64| PointLayer {
        name: name.to_owned(),
        op: "conv".to_owned(),
        format: "int8 x int8".to_owned(),
        total_cycles: total_cycles / 2,
        cycles_lower_bound: total_cycles / 4,
        busy_cycles: total_cycles / 4,
        idle_cycles: total_cycles / 2 - total_cycles / 4,
        stall_cycles: BTreeMap::new(),
        macs_dense: 1000,
        macs_executed: 900,
        utilization: part,
        bound_by: "compute".to_owned(),
        weight_stored_bytes: 100,
        sparsity: 0.5,
        energy_pj: energy / 2.0,
        sqnr_db: Some(30.0),
        dram_read_bytes: 100,
        dram_write_bytes: 10,
    };
    PointRow {
        point: 0,
        point_id: "0".to_owned(),
        status: PointStatus::Done,
        reason: None,
        chip: chip.to_owned(),
        model: "net".to_owned(),
        batch: 1,
        weights: WeightsAt::Cold,
        recipe: recipe.to_owned(),
        recipe_steps: "w8a8".to_owned(),
        training: Training::Ptq,
        mapping: "first".to_owned(),
        seed: 1,
        samples: right.as_ref().map_or(0, |right| right.len() as u64),
        run: format!("systole run --chip {chip}"),
        figures: Some(PointFigures {
            clock_hz: 1_000_000_000,
            array_rows: 16,
            array_cols: 16,
            cores: 1,
            on_chip_bytes: 1 << 18,
            dram_model: "ideal".to_owned(),
            dram_bytes_per_s: 1.6e10,
            peak_tops: 0.512,
            area_mm2: 1.5,
            total_cycles,
            cycles_per_sample: cycles,
            cycles_lower_bound: total_cycles / 2,
            latency_s,
            throughput_per_s: 1.0 / latency_s,
            energy_pj: energy,
            energy_pj_per_sample: energy,
            energy_assumed_share: 0.25,
            energy_pj_by_part: EnergyPjByPart { mac: energy / 2.0, dram: energy / 2.0, ..EnergyPjByPart::default() },
            macs_dense: 2000,
            macs_executed: 1800,
            macs_share: BTreeMap::from([("w8a8".to_owned(), 1.0)]),
            utilization: 0.4,
            weight_bytes: 200,
            weight_stored_bytes: 200,
            dram_read_bytes: 200,
            dram_write_bytes: 20,
            traffic_bytes: crate::counts::TrafficBytes::default(),
            accuracy,
            error_percent: accuracy.map(|accuracy| 100.0 * (1.0 - accuracy)),
            accuracy_low: accuracy,
            accuracy_high: accuracy,
            float_accuracy: accuracy,
            compressed_float_accuracy: accuracy,
            select_error_percent: accuracy.map(|accuracy| 100.0 * (1.0 - accuracy)),
            select_samples: right.as_ref().map(|right| right.len() as u64),
            mismatches: right.as_ref().map(|_| 0),
            right_bits: right.as_deref().map(bits_of),
            layers: vec![layer("conv1", 0.3), layer("fc", 0.6)],
        }),
        axes: BTreeMap::new(),
    }
}

/// Results of these points, numbered in order.
pub(crate) fn results(mut points: Vec<PointRow>) -> SweepResults {
    for (number, point) in (0..).zip(&mut points) {
        (point.point, point.point_id) = (number, format!("{number:04x}"));
    }
    let provenance = SweepProvenance {
        results_version: RESULTS_VERSION,
        version: "0.1.0".to_owned(),
        command: "systole sweep e.ron".to_owned(),
        experiment_sha256: "e0".to_owned(),
        question: "Which?".to_owned(),
        points: points.len() as u64,
        shard: None,
        models: Vec::new(),
        chips: Vec::new(),
        baseline: None,
        require: Vec::new(),
        plots: Vec::new(),
    };
    SweepResults::new(provenance, points)
}
