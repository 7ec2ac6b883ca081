//! Points for tests: invented figures, of which tests set what they ask about.

use crate::report::{
    EnergyPjByPart, PointFigures, PointLayer, PointRow, PointStatus, RESULTS_VERSION, SweepProvenance, SweepResults, Training, WeightsAt,
    bits_of,
};
use std::collections::BTreeMap;

/// A point of one latency; with which samples it got right, on both splits.
pub(crate) fn point(chip: &str, recipe: &str, latency_s: f64, right: Option<&[bool]>) -> PointRow {
    let cycles = (latency_s * 1e9).round().max(1.0);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a latency of a test is short")]
    let total_cycles = cycles as u64;
    let accuracy = right.map(|right| right.iter().filter(|bit| **bit).count() as f64 / right.len().max(1) as f64);
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
        samples: right.map_or(0, |right| right.len() as u64),
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
            select_samples: right.map(|right| right.len() as u64),
            mismatches: right.map(|_| 0),
            right_bits: right.map(bits_of),
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

/// A sweep as large as a shipped one: three chips, ten recipes, two workloads, a width of DRAM's bus; one point failed.
pub(crate) fn study() -> SweepResults {
    use crate::report::{AxisValue, SweepBaseline, SweepPlot};
    let recipes = [
        ("w16a16", 1.9, 0.0086),
        ("w8a8", 1.0, 0.0088),
        ("w4a8", 0.72, 0.0094),
        ("w4a4-qat", 0.6, 0.0109),
        ("w2a2-qat", 0.42, 0.0171),
        ("binary-qat", 0.22, 0.041),
        ("2:4", 0.81, 0.0102),
        ("unstructured 90%", 0.97, 0.0134),
        ("channels 50%", 0.48, 0.0126),
        ("rank 16", 0.66, 0.023),
    ];
    let chips = [("edge-16x16", 1.0, 1.42, 700), ("nm-16x16", 0.9, 1.61, 700), ("xnor-16x16", 0.75, 1.55, 700)];
    let mut points = Vec::new();
    for (batch, weights, by_batch) in [(1, WeightsAt::Cold, 1.0), (64, WeightsAt::Resident, 22.0)] {
        for (number, (chip, by_chip, area, clock)) in chips.iter().enumerate() {
            for (place, (recipe, by_recipe, error)) in recipes.iter().enumerate() {
                for bus in [8.0, 32.0] {
                    let lucky = if *chip == "nm-16x16" && *recipe == "2:4" { 0.6 } else { 1.0 };
                    let lucky = if *chip == "xnor-16x16" && *recipe == "binary-qat" { 0.4 } else { lucky };
                    let latency = 1.3e-4 * by_batch * by_chip * by_recipe * lucky * if bus < 16.0 { 1.5 } else { 1.0 };
                    // Wrong in the first samples; each recipe in some of its own.
                    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of some thousand samples")]
                    let wrong = (error * 4000.0) as usize;
                    let right: Vec<bool> = (0..4000).map(|sample| (sample + 7 * place) % 4000 >= wrong).collect();
                    let mut point = point(chip, recipe, latency, Some(&right));
                    (point.batch, point.weights) = (batch, weights);
                    point.training = if recipe.ends_with("qat") { Training::Qat } else { Training::Ptq };
                    point.axes.insert("dram.bytes_per_cycle".to_owned(), AxisValue::Number(bus));
                    let figures = point.figures.as_mut().expect("bug: a point of the fixture has figures");
                    (figures.area_mm2, figures.clock_hz) = (*area, clock * 1_000_000);
                    figures.energy_pj_per_sample = 2.4e6 * by_recipe.sqrt() / by_batch.sqrt() * (1.0 + 0.1 * number as f64);
                    if number == 2 && place == 6 {
                        point.status = PointStatus::Failed;
                        (point.figures, point.reason) = (None, Some("the array multiplies no N:M weights".to_owned()));
                    }
                    points.push(point);
                }
            }
        }
    }
    let mut results = results(points);
    results.provenance.question = "Which bits and which pruning buy latency, on which chip?".to_owned();
    results.provenance.baseline = Some(SweepBaseline { chip: "edge-16x16".to_owned(), recipe: "w8a8".to_owned() });
    let (x, y) = ("latency_s".to_owned(), "error_percent".to_owned());
    results.provenance.plots = vec![
        SweepPlot::Pareto { x, y, facet: Some("batch".to_owned()), color: None },
        SweepPlot::Heatmap {
            x: "dram.bytes_per_cycle".to_owned(),
            y: "recipe".to_owned(),
            z: "speedup".to_owned(),
            facet: Some("chip".to_owned()),
        },
        SweepPlot::Scatter { x: "latency".to_owned(), y: "area_mm2".to_owned(), facet: None, color: None },
    ];
    SweepResults::new(results.provenance, results.points)
}
