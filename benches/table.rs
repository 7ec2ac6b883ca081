//! How fast a layer table is timed, part by part: ResNet-50, one image of 224 x 224, on 128 x 128 PEs with 4 MiB on the chip.
//!
//! `cargo bench --bench table`. README.md beside this file has its figures.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use criterion::{Criterion, criterion_group, criterion_main};
use systole::chip::{self, Chip};
use systole::mapping::{self, Lowered, WeightStart};
use systole::numerics::Dtype;
use systole::pipeline::{self, RunOptions};
use systole::program::emit_timing;
use systole::sim::Machine;
use systole::{plot, topology};

const TABLE: &str = include_str!("cases/resnet50.csv");
const BANKED: &str = r#"Banked(preset: "HBM2", channels: 4, queue_depth: 32, starvation_cap: 16, page: Open, mapping: RoRaBaCoBgCh)"#;
const IDEAL: &str = "Ideal(bytes_per_cycle: 64, latency: Cycles(100))";

/// edge-16x16 with 128 x 128 PEs, memories to match, and this DRAM.
fn large(dram: &str) -> Chip {
    let sets = [
        ("array.rows", "128"),
        ("array.cols", "128"),
        ("formats", "[(weight: Int8, activation: Int8, lanes: 1, accumulator_bits: 32, overflow: Saturate, pe: Table)]"),
        ("scratchpads.0.capacity", "MiB(3)"),
        ("scratchpads.0.port_bytes", "128"),
        ("accumulator.capacity", "MiB(1)"),
        ("accumulator.port_bytes", "512"),
        ("vector.lanes", "128"),
        ("dma.bytes_per_cycle", "64"),
        ("dram", dram),
    ];
    chip::load("edge-16x16", &sets.map(|(field, value)| (field.to_string(), value.to_string()))).expect("a chip")
}

fn options() -> RunOptions {
    RunOptions::new("w8a8".parse().expect("a scheme"))
}

fn table(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("ResNet-50");
    group.sample_size(10);
    let options = options();
    let table = topology::parse(TABLE, "resnet50.csv").expect("a table");
    let stages = |chip: &Chip| -> Vec<Lowered> { pipeline::table_stages(chip, &table, &options).expect("stages") };
    let edge = chip::load("edge-16x16", &[]).expect("a chip");
    for (name, chip) in [("edge-16x16", &edge), ("128x128", &large(IDEAL))] {
        let stages = stages(chip);
        group.bench_function(format!("map {name}"), |bencher| {
            bencher.iter(|| mapping::map(&stages, chip, 1, WeightStart::Cold).expect("a mapping"));
        });
    }
    for (name, chip) in [("ideal", large(IDEAL)), ("HBM2", large(BANKED))] {
        let mapping = mapping::map(&stages(&chip), &chip, 1, WeightStart::Cold).expect("a mapping");
        let program = emit_timing(&mapping, &chip).expect("a program");
        let format = chip.format(Dtype::Int8, Dtype::Int8).expect("a format");
        group.bench_function(format!("emit 128x128 {name}"), |bencher| bencher.iter(|| emit_timing(&mapping, &chip).expect("a program")));
        group.bench_function(format!("time 128x128 {name}"), |bencher| {
            bencher.iter(|| Machine::new(&chip, format, &program).expect("a machine").time().expect("a run"));
        });
    }
    let summary = pipeline::time_table(&large(IDEAL), &table, "", "resnet50", &options).expect("a summary");
    group.bench_function("draw", |bencher| bencher.iter(|| plot::layers(&summary).expect("pictures")));
    group.finish();
}

criterion_group!(benches, table);
criterion_main!(benches);
