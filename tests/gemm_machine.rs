//! Does a matrix product on the whole machine come out right, whatever the chip: memories, ports, engines, dataflow, format, sparsity?
//!
//! The longer run: `PROPTEST_CASES=20000 cargo test --release --test gemm_machine`.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod dataflows;

use dataflows::{dataflow, memories};
use proptest::prelude::*;
use systole::chip::{self, Chip};
use systole::pipeline::{GemmRequest, PipelineError, gemm};
use systole::program::LayoutError;
use systole::sim::Engine;

#[derive(Debug, Clone)]
struct Case {
    sets: Vec<(&'static str, String)>,
    size: [u64; 3],
    density: f64,
    seed: u64,
}

fn cases() -> impl Strategy<Value = Case> {
    let format = prop_oneof![
        4 => Just(("Int8", "Int8")),
        1 => Just(("Int4", "Int8")),
        1 => Just(("Int2", "Int4")),
        1 => Just(("Binary", "Binary")),
        1 => Just(("Int16", "Int16")),
    ];
    let numbers = (format, prop_oneof![3 => Just(1_u32), 1 => Just(2), 1 => Just(4)], prop_oneof![Just("Wrap"), Just("Saturate")]);
    let sparsity = prop_oneof![4 => Just("Dense"), 1 => Just("NM(n: 1, m: 3)"), 1 => Just("NM(n: 2, m: 4)"), 3 => Just("TileSkip")];
    let problem =
        ((1..=24_u64, 1..=40_u64, 1..=24_u64), prop_oneof![2 => Just(1.0), 1 => Just(0.5), 2 => Just(0.04), 1 => Just(0.0)], any::<u64>());
    ((1..=6_u32, 1..=6_u32), dataflow(&["Weight", "Input", "Output"]), memories(), numbers, sparsity, any::<bool>(), problem).prop_map(
        |((rows, cols), dataflow, mut sets, ((weight, activation), lanes, overflow), sparsity, gating, ((m, k, n), density, seed))| {
            let binary = weight == "Binary";
            let sparsity = if sparsity.starts_with("NM") && (binary || dataflow.starts_with("Input") || rows * lanes % 2 == 1) {
                "Dense"
            } else {
                sparsity
            };
            let bits = if weight == "Int16" { 40 } else { 20 };
            sets.extend([
                ("array.rows", rows.to_string()),
                ("array.cols", cols.to_string()),
                ("array.dataflows", format!("[{dataflow}]")),
                ("array.sparsity", sparsity.to_string()),
                ("array.zero_gating", gating.to_string()),
                (
                    "formats",
                    format!(
                        "[(weight: {weight}, activation: {activation}, lanes: {lanes}, accumulator_bits: {bits}, overflow: {overflow}, pe: Table)]"
                    ),
                ),
            ]);
            Case { sets, size: [m, k, n], density: if binary { 1.0 } else { density }, seed }
        },
    )
}

impl Case {
    fn chip(&self) -> Chip {
        let sets: Vec<_> = self.sets.iter().map(|(field, value)| ((*field).to_string(), value.clone())).collect();
        chip::load("edge-16x16", &sets).unwrap_or_else(|error| panic!("{error}"))
    }

    fn request(&self, engine: Engine, array_only: bool) -> GemmRequest {
        let [m, k, n] = self.size;
        GemmRequest { m, k, n, dataflow: None, format: None, engine, array_only, density: self.density, seed: self.seed }
    }
}

fn check(case: &Case) -> Result<(), TestCaseError> {
    let chip = case.chip();
    let wavefront = match gemm(&chip, &case.request(Engine::Wavefront, false)) {
        // Memories are drawn small: one that is too small says so.
        Err(PipelineError::Layout(LayoutError::TooSmall { needed, capacity, .. })) => {
            prop_assert!(needed > 0 && (needed > capacity || capacity > 0));
            return Err(TestCaseError::reject("too small"));
        }
        other => other.unwrap(),
    };
    let stepped = gemm(&chip, &case.request(Engine::Stepped, false)).unwrap();
    prop_assert_eq!(wavefront.mismatches, 0);
    prop_assert_eq!(&systole::report::GemmReport { engine: "stepped".to_string(), ..wavefront.clone() }, &stepped);
    let accounted = wavefront.busy_cycles + wavefront.idle_cycles + wavefront.stall_cycles.values().sum::<u64>();
    prop_assert_eq!(accounted, wavefront.total_cycles);
    let alone = gemm(&chip, &case.request(Engine::Wavefront, true)).unwrap();
    prop_assert_eq!((&alone.output_hash, alone.macs_dense), (&wavefront.output_hash, wavefront.macs_dense));
    if chip.array().sparsity != systole::chip::Sparsity::TileSkip {
        // Where tiles are skipped, blocks decide what a tile of streamed weights is.
        prop_assert_eq!((alone.macs_executed, alone.macs_gated), (wavefront.macs_executed, wavefront.macs_gated));
        prop_assert!(alone.total_cycles <= wavefront.total_cycles);
    }
    // Every output leaves once, every activation comes in at least once.
    prop_assert!(wavefront.traffic_bytes.dram.output.write > 0);
    prop_assert!(wavefront.macs_executed == 0 || wavefront.traffic_bytes.dram.input.read > 0);
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: ProptestConfig::default().cases.max(1500),
        failure_persistence: None,
        max_global_rejects: 100_000,
        ..ProptestConfig::default()
    })]

    #[test]
    fn products_are_right_on_any_chip(case in cases()) {
        check(&case)?;
    }
}

/// A tile of weights that is all zero is not moved, whatever stays: what is left of the operand's traffic are the zeros that the sums start from.
#[test]
fn tiles_of_zeros_are_not_moved() {
    for kind in ["ws", "os", "is"] {
        let chip = chip::load("ideal-16x16", &[("array.sparsity".to_string(), "TileSkip".to_string())]).unwrap();
        let dataflow = Some(kind.parse().unwrap());
        let request = |density| GemmRequest {
            m: 20,
            k: 64,
            n: 64,
            dataflow,
            format: None,
            engine: Engine::Wavefront,
            array_only: false,
            density,
            seed: 1,
        };
        let read = |density| gemm(&chip, &request(density)).unwrap().traffic_bytes.dram.weight.read;
        let (none, all) = (read(0.0), read(1.0));
        assert_eq!(all - none, 64 * 64, "{kind}: {none} bytes of {all} are the zeros that the sums start from");
    }
}
