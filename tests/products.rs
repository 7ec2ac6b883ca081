//! Do a product's outputs depend on its operands alone, and its cycles on everything but their values?

mod alone;

use alone::{chip, formats, rng};
use rand::RngExt;
use std::collections::BTreeSet;
use systole::chip::{Chip, Stationary};
use systole::pipeline::{self, GemmRequest};
use systole::report::GemmReport;
use systole::sim::Engine;

const W8A8: [&str; 9] = [
    "ideal-16x16",
    "ideal-32x32",
    "ideal-128x128",
    "gemmini-16x16-ws",
    "gemmini-16x16-os",
    "axis-sa-8x8",
    "edge-16x16",
    "edge-32x32",
    "tpu-v1-256x256",
];

fn request([m, k, n]: [u64; 3]) -> GemmRequest {
    GemmRequest { m, k, n, dataflow: None, format: None, engine: Engine::Wavefront, array_only: true, density: 1.0, seed: 1 }
}

/// The report of a request, whose figures agree with each other.
fn made(chip: &Chip, request: &GemmRequest) -> GemmReport {
    let report = pipeline::gemm(chip, request).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(report.mismatches, 0, "{request:?}");
    assert_eq!((report.busy_cycles, report.idle_cycles, report.stall_cycles.len()), (report.total_cycles, 0, 0));
    assert_eq!(report.macs_dense, request.m * request.k * request.n);
    assert!(report.macs_executed <= report.macs_dense && report.macs_gated <= report.macs_executed);
    report
}

/// Every dataflow of a chip, by both drives.
fn ways(chip: &Chip, request: &GemmRequest) -> Vec<GemmReport> {
    let kinds: Vec<Stationary> = chip.array().dataflows.iter().map(systole::chip::Dataflow::kind).collect();
    let engines = |dataflow| [Engine::Wavefront, Engine::Stepped].map(|engine| GemmRequest { dataflow, engine, ..request.clone() });
    kinds.into_iter().flat_map(|kind| engines(Some(kind))).map(|request| made(chip, &request)).collect()
}

fn hashes(reports: &[GemmReport]) -> BTreeSet<&str> {
    reports.iter().map(|report| report.output_hash.as_str()).collect()
}

#[test]
fn the_array_does_not_show_in_the_outputs() {
    for size in [[1, 1, 1], [5, 40, 24], [33, 70, 19]] {
        for density in [1.0, 0.3, 0.0] {
            let request = GemmRequest { density, ..request(size) };
            let reports: Vec<GemmReport> = W8A8.iter().flat_map(|name| ways(&chip::<&str>(name, &[]), &request)).collect();
            assert_eq!(hashes(&reports).len(), 1, "{size:?} at density {density}");
            for pair in reports.chunks_exact(2) {
                let [wavefront, stepped] = pair else { unreachable!("chunks of two") };
                assert_eq!(*wavefront, GemmReport { engine: "wavefront".to_string(), ..stepped.clone() }, "both drives report the same");
            }
        }
    }
}

/// Every format of the edge chips; the ideal chip, given the same, in its three dataflows.
#[test]
fn nor_in_the_outputs_of_other_formats() {
    let edge = chip::<&str>("edge-16x16", &[]);
    for format in edge.formats() {
        let request = GemmRequest { format: Some(format.name()), ..request([9, 150, 21]) };
        let listed = formats(
            &format!("{:?}", format.weight),
            &format!("{:?}", format.activation),
            // Other lanes, and another way to overflow, where nothing does.
            3,
            format.accumulator_bits + 7,
            "Wrap",
        );
        let others = [("edge-32x32", vec![]), ("ideal-16x16", vec![("formats", listed)])].map(|(name, sets)| chip(name, &sets));
        let mut reports = ways(&edge, &request);
        reports.extend(others.iter().flat_map(|chip| ways(chip, &request)));
        assert_eq!((reports.len(), hashes(&reports).len()), (10, 1), "{}", format.name());
    }
}

#[test]
fn a_seed_changes_the_outputs_and_nothing_else() {
    for name in W8A8 {
        let chip = chip::<&str>(name, &[]);
        let first = ways(&chip, &request([20, 45, 37]));
        for (seed, density) in [(2, 1.0), (u64::MAX, 1.0), (1, 0.5), (3, 0.1), (1, 0.0)] {
            let other = ways(&chip, &GemmRequest { seed, density, ..request([20, 45, 37]) });
            for (first, other) in first.iter().zip(&other) {
                assert_ne!(first.output_hash, other.output_hash);
                let same = GemmReport { output_hash: first.output_hash.clone(), seed: 1, density: 1.0, ..other.clone() };
                assert_eq!(*first, same, "{name}");
            }
        }
    }
}

/// What a sparse array does depends on where the zeros are, which a seed decides: but N:M sparsity's cycles do not.
#[test]
fn cycles_of_groups_do_not_depend_on_the_numbers() {
    let sets = [("array.sparsity", "NM(n: 2, m: 4)".to_string()), ("array.dataflows", two_dataflows())];
    let chip = chip("ideal-16x16", &sets);
    let size = [12, 70, 20];
    let first = ways(&chip, &request(size));
    assert_eq!(first.len(), 4);
    // 2 of each 4 along K, and both of the last two.
    assert_eq!(first[0].macs_executed, 12 * 20 * (17 * 2 + 2));
    for (seed, density) in [(2, 1.0), (3, 0.4), (4, 0.0)] {
        for (first, other) in first.iter().zip(ways(&chip, &GemmRequest { seed, density, ..request(size) })) {
            let same = GemmReport { output_hash: first.output_hash.clone(), seed: 1, density: 1.0, ..other };
            assert_eq!(*first, same);
        }
    }
}

/// The ideal chip's dataflows that N:M sparsity goes with.
fn two_dataflows() -> String {
    let common = "row_hop: 1, col_hop: 1, pipeline_registers: 0, min_pass_cycles: 1, overlap: Serial, extent: Physical";
    format!(
        "[WeightStationary({common}, load: Rows, stationary_buffers: 1, max_pass_vectors: Unlimited), \
         OutputStationary({common}, drain: None, psum_preload: Cycles(0), reduction_padding: Exact)]"
    )
}

/// Room that the passes have, R x C x lanes for each vector or step that streams, less what is multiplied.
#[test]
fn padding_is_counted() {
    let mut rng = rng(4);
    for name in W8A8 {
        let chip = chip::<&str>(name, &[]);
        let (rows, cols) = (u64::from(chip.array().rows), u64::from(chip.array().cols));
        for _ in 0..6 {
            let [m, k, n] = [(); 3].map(|()| rng.random_range(1..=60_u64));
            for report in ways(&chip, &request([m, k, n])).iter().step_by(2) {
                let steps = match report.dataflow.as_str() {
                    // However it is cut into blocks, each tile sees every vector once.
                    "ws" => k.div_ceil(rows) * n.div_ceil(cols) * m,
                    "is" => k.div_ceil(rows) * m.div_ceil(cols) * n,
                    _ if name == "gemmini-16x16-os" => m.div_ceil(rows) * n.div_ceil(cols) * k.div_ceil(rows) * rows,
                    _ => m.div_ceil(rows) * n.div_ceil(cols) * k,
                };
                assert_eq!(report.macs_executed, m * k * n);
                assert_eq!(report.padded_macs, steps * rows * cols - m * k * n, "{name} {} {m} x {k} x {n}", report.dataflow);
                let utilization = (m * k * n) as f64 / (report.total_cycles * rows * cols) as f64;
                assert!((report.utilization - utilization).abs() < 1e-12);
                assert!(report.utilization <= report.mapping_efficiency + 1e-12 && report.mapping_efficiency <= 1.0);
            }
        }
    }
}

/// With no weight that is not zero, an array that skips tiles has nothing to do, and says so in figures that are numbers.
#[test]
fn a_density_of_nothing() {
    let dense = chip::<&str>("ideal-16x16", &[]);
    let skips = chip("ideal-16x16", &[("array.sparsity", "TileSkip")]);
    let request = GemmRequest { density: 0.0, ..request([20, 45, 37]) };
    let (all, none) = (ways(&dense, &request), ways(&skips, &request));
    assert_eq!(hashes(&all), hashes(&none));
    for report in none {
        assert_eq!((report.passes, report.total_cycles, report.macs_executed, report.padded_macs), (0, 0, 0, 0));
        assert!(report.utilization == 0.0 && report.mapping_efficiency == 0.0, "{report:?}");
        assert_eq!(report.traffic_bytes, systole::counts::TrafficBytes::default());
    }
    // Where every weight is let be, some tile of it is not zero, and nothing is skipped.
    let full = GemmRequest { density: 1.0, ..request };
    for (all, none) in ways(&dense, &full).iter().zip(ways(&skips, &full)) {
        assert_eq!(*all, none);
    }
}
