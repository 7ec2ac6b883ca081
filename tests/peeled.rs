//! Does `--what-if` name what binds a chip that was made to be bound by it, and do its costs sum to what was measured?

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use proptest::prelude::*;
use systole::chip::{self, Chip};
use systole::mapping::{self, WeightStart};
use systole::pipeline::{self, RunOptions};
use systole::program::emit_timing;
use systole::report::{Summary, WhatIf};
use systole::sim::{Machine, Peeled};
use systole::topology::{self, Table};

fn options() -> RunOptions {
    RunOptions { what_if: true, ..RunOptions::new("w8a8".parse().unwrap()) }
}

fn chip(name: &str, sets: &[(&str, &str)]) -> Chip {
    let sets: Vec<_> = sets.iter().map(|(field, value)| ((*field).to_string(), (*value).to_string())).collect();
    chip::load(name, &sets).unwrap()
}

/// Layers of these sizes (M, N, K).
fn table(sizes: &[[u64; 3]]) -> Table {
    let row = |(number, [m, n, k]): (usize, &[u64; 3])| format!("layer{number}, {m}, {n}, {k},");
    let rows: Vec<String> = sizes.iter().enumerate().map(row).collect();
    topology::parse(&format!("Layer, M, N, K,\n{}\n", rows.join("\n")), "table.csv").unwrap()
}

/// The costs of products of these sizes (M, N, K), after whether they sum up was looked at.
fn costs(chip: &Chip, sizes: &[[u64; 3]]) -> (Summary, WhatIf) {
    let table = table(sizes);
    let summary = pipeline::time_table(chip, &table, "", "table", &options()).unwrap();
    let all = summary.what_if.unwrap();
    assert_eq!(all.total_cycles(), summary.total_cycles.cast_signed());
    for layer in &summary.layers {
        assert_eq!(layer.what_if.unwrap().total_cycles(), layer.total_cycles.cast_signed(), "{}", layer.name);
    }
    assert_eq!(summary.layers.iter().filter_map(|layer| layer.what_if).sum::<WhatIf>(), all);
    (summary, all)
}

/// Wide enough that nothing but the array takes long.
const WIDE: [(&str, &str); 4] = [
    ("dram", "Ideal(bytes_per_cycle: 4096, latency: Cycles(1))"),
    ("dma.bytes_per_cycle", "4096"),
    ("scratchpads", "[(role: Shared, capacity: KiB(1024), banks: 64, port_bytes: 64, latency: Cycles(1))]"),
    ("accumulator.banks", "16"),
];

fn wide(sets: &[(&str, &str)]) -> Chip {
    chip("edge-16x16", &[&WIDE[..], sets].concat())
}

/// Shares of the time that all costs but one are together.
fn others(costs: &WhatIf, own: i64) -> f64 {
    (costs.total_cycles() - own) as f64 / costs.total_cycles() as f64
}

#[test]
fn a_chip_that_waits_for_dram_says_so() {
    // A byte a cycle: all weights, inputs, outputs and biases cross in so many cycles, and the array needs 1,024 tiles of 16 cycles.
    let slow = wide(&[("dram", "Ideal(bytes_per_cycle: 1, latency: Cycles(10))")]);
    let (summary, costs) = costs(&slow, &[[16, 256, 1024]]);
    let bytes = 256 * 1024 + 16 * 1024 + 16 * 256 + 4 * 256;
    assert!(summary.total_cycles >= bytes + 10);
    assert!(costs.array_cycles >= 1024 * 16 - 1024, "the array's passes are not DRAM's cost: {costs:?}");
    assert!(others(&costs, costs.dram_cycles) < 0.1, "{costs:?}");
}

#[test]
fn dram_with_banks_is_peeled_too() {
    let (_, costs) = costs(&chip("edge-16x16-ddr4", &[("clock", "GHz(9)")]), &[[16, 256, 1024], [64, 64, 64]]);
    assert!(others(&costs, costs.dram_cycles) < 0.2, "{costs:?}");
    // Nothing of DRAM is left in what the others cost: the same chip with ideal DRAM of whatever rate has the same rest.
    let ideal = chip("edge-16x16-ddr4", &[("clock", "GHz(9)"), ("dram", "Ideal(bytes_per_cycle: 3, latency: Cycles(7))")]);
    let (_, with_ideal) = self::costs(&ideal, &[[16, 256, 1024], [64, 64, 64]]);
    assert_eq!(WhatIf { dram_cycles: 0, ..costs }, WhatIf { dram_cycles: 0, ..with_ideal });
}

#[test]
fn a_chip_that_waits_for_ports_says_so() {
    // One bank of 4 bytes: an input of 16 bytes is written and read in 8 accesses, an output as well.
    let narrow = wide(&[
        ("scratchpads", "[(role: Shared, capacity: KiB(1024), banks: 1, port_bytes: 4, latency: Cycles(1))]"),
        ("vector.lanes", "64"),
    ]);
    let (summary, costs) = costs(&narrow, &[[4096, 16, 16]]);
    assert!(summary.total_cycles >= 4096 * 16);
    // Without them the array streams a vector a cycle, beside some loads.
    assert!(costs.array_cycles + costs.rest_cycles.cast_signed() <= 2 * 4096 && others(&costs, costs.ports_cycles) < 0.15, "{costs:?}");
}

#[test]
fn a_chip_that_waits_for_its_vector_unit_says_so() {
    // 50 cycles for each vector of 16 sums, where the array needs one.
    let (summary, costs) = costs(&wide(&[("vector.cycles.requantize", "50")]), &[[1024, 16, 16]]);
    assert!(summary.total_cycles >= 1024 * 50);
    assert!(others(&costs, costs.vector_cycles) < 0.1, "{costs:?}");
}

#[test]
fn a_chip_that_waits_for_its_array_says_so() {
    let (summary, costs) = costs(&wide(&[]), &[[64, 512, 512]]);
    // 32 x 32 tiles of 64 vectors. Commands are left: a load and a pass start a cycle, four passes a tile of at most 16 vectors each.
    assert!(summary.total_cycles >= 32 * 32 * 64);
    assert!(others(&costs, costs.array_cycles) < 0.15, "{costs:?}");
    assert!(costs.rest_cycles >= 4 * 32 * 32);
}

/// What each setting promises, beside what it does to the sum: nobody waits for what is without limit.
#[test]
fn nobody_waits_for_what_is_without_limit() {
    let table = topology::parse("Layer, M, N, K,\na, 60, 50, 90,\nb, 33, 20, 40,\n", "table.csv").unwrap();
    for (name, banks) in [("edge-16x16", "1"), ("gemmini-16x16-os", "2"), ("edge-16x16-ddr4", "4")] {
        let chip = chip(name, &[("accumulator.banks", banks)]);
        let stages = pipeline::table_stages(&chip, &table, &options()).unwrap();
        let mapping = mapping::map(&stages, &chip, 1, WeightStart::Cold).unwrap();
        let program = emit_timing(&mapping, &chip).unwrap();
        let machine = Machine::new(&chip, &chip.formats()[0], &program).unwrap();
        for number in 0..32_u32 {
            let has = |bit: u32| number >> bit & 1 == 1;
            let peeled = Peeled { dram: has(0), ports: has(1), vector: has(2), array: has(3), host: has(4) };
            let run = machine.time_peeled(peeled).unwrap();
            assert_eq!(run.stages.iter().map(|stage| stage.window.get()).sum::<u64>(), run.total_cycles.get());
            let stalled = |what: &str| -> u64 {
                run.units
                    .iter()
                    .flat_map(|unit| unit.cycles.stalls())
                    .filter(|(reason, _)| reason.name().starts_with(what))
                    .map(|(_, n)| n)
                    .sum()
            };
            assert!(!peeled.dram || stalled("dram") == 0, "{name} {peeled:?}");
            assert!(!peeled.ports || stalled("scratchpad") + stalled("accumulator") == 0, "{name} {peeled:?}");
            let [array, vector] = [run.units[0].cycles.busy, run.units[1].cycles.busy];
            assert!(!peeled.array || array <= 2 * run.passes, "a load and a pass take a cycle at most: {name} {peeled:?}");
            // A command for each block and chunk; an accumulator's row at a time where ports are not without limit.
            assert!(!(peeled.vector && peeled.ports) || vector <= 2 * 4 * 60, "{name} {peeled:?}");
        }
        assert_eq!(machine.time_peeled(Peeled::default()).unwrap(), machine.time().unwrap());
    }
}

/// Cycles of layers in a row with so many bytes a cycle, under one mapping.
fn with_rates(case: &Case, peeled: Peeled) -> Vec<u64> {
    let table = table(&case.layers);
    let (latency, outstanding) = (case.latency, case.outstanding);
    let mut cycles = Vec::new();
    for rate in case.rates {
        let (dram, dma) = (
            format!("Ideal(bytes_per_cycle: {rate}, latency: Cycles({latency}))"),
            format!("(engines: 1, bytes_per_cycle: 64, outstanding: {outstanding})"),
        );
        let chip = chip("edge-16x16", &[("dram", &dram), ("dma", &dma), ("scratchpads.0.capacity", &format!("KiB({})", case.size))]);
        let stages = pipeline::table_stages(&chip, &table, &options()).unwrap();
        let mapping = mapping::map(&stages, &chip, 1, WeightStart::Cold).unwrap();
        let program = emit_timing(&mapping, &chip).unwrap();
        cycles.push(Machine::new(&chip, &chip.formats()[0], &program).unwrap().time_peeled(peeled).unwrap().total_cycles.get());
    }
    cycles
}

#[derive(Debug, Clone)]
struct Case {
    layers: Vec<[u64; 3]>,
    latency: u64,
    outstanding: u32,
    size: u32,
    /// Rising.
    rates: [f64; 3],
}

fn rates() -> impl Strategy<Value = Case> {
    let layers = prop::collection::vec((1..=80_u64, 1..=70_u64, 1..=120_u64).prop_map(|(m, n, k)| [m, n, k]), 1..=3);
    let rate = (1..=40_u32, 1..=40_u32, 1..=40_u32)
        .prop_map(|(one, more, still)| [one, one + more, one + more + still].map(|rate| f64::from(rate) / 4.0));
    let rest = (0..=150_u64, 1..=16_u32, prop::sample::select(&[8_u32, 16, 64][..]));
    (layers, rest, rate).prop_map(|(layers, (latency, outstanding, size), rates)| Case { layers, latency, outstanding, size, rates })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(300), failure_persistence: None, ..ProptestConfig::default() })]

    /// Where each unit works in order and there is nothing that the order of two could be changed at, what comes sooner ends sooner: one engine,
    /// so that its transfers keep their order on the bus, and ports for whoever wants one. With two engines, or banks to wait for, a transfer that
    /// comes sooner can be in another's way: a layer of 1 x 26 by 26 x 16 takes 121 cycles at 9.5 bytes a cycle and 122 at 10.
    #[test]
    fn more_bandwidth_in_order_never_costs_cycles(case in rates()) {
        let cycles = with_rates(&case, Peeled { ports: true, ..Peeled::default() });
        prop_assert!(cycles.is_sorted_by(|slow, fast| fast <= slow), "{:?}", cycles);
    }
}
