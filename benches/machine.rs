//! How fast the machine runs: simulated PE-cycles a second of the stepped drive, with every count kept.
//!
//! `cargo bench --bench machine`. Instruction counts, which do not depend on the host's load:
//! `valgrind --tool=callgrind target/release/deps/machine-* --bench --profile-time 1 stepped/16x16`.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ndarray::{Array1, Array2};
use std::hint::black_box;
use systole::chip;
use systole::mapping::{self, WeightStart};
use systole::network::{Activation, Bias, Dense, NetworkBuilder, Op, Weight};
use systole::numerics::{Dtype, Quantization};
use systole::program::emit;
use systole::sim::{Engine, Machine};

/// A dense layer of two by two tiles, a batch that keeps the array streaming, and no memory that stalls it.
fn stepped(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stepped");
    for size in [16_usize, 32, 64, 128] {
        let sets = [
            ("array.rows", size.to_string()),
            ("array.cols", size.to_string()),
            ("array.dataflows.0.max_pass_vectors", "Unlimited".to_string()),
            ("scratchpads.0.port_bytes", size.to_string()),
            ("scratchpads.0.capacity", "MiB(4)".to_string()),
            ("accumulator", format!("(capacity: MiB(4), banks: 2, port_bytes: {}, latency: Cycles(2))", 4 * size)),
            ("vector.lanes", size.to_string()),
            ("dma.bytes_per_cycle", "256".to_string()),
            ("dram.bytes_per_cycle", "256".to_string()),
        ];
        let chip = chip::load("edge-16x16", &sets.map(|(field, value)| (field.to_string(), value))).expect("a chip");
        let quantization = Quantization { dtype: Dtype::Int8, scale: 0.1, zero_point: 3 };
        let values = Array2::from_shape_fn((2 * size, 2 * size), |(k, n)| i16::try_from((k * 7 + n * 13) % 255).expect("a byte") - 127);
        let weight = Weight::Integer { values, dtype: Dtype::Int8, scales: vec![0.01] };
        let dense = Dense { weight, bias: Some(Bias::Integer(Array1::zeros(2 * size))), activation: Activation::Relu };
        let mut builder = NetworkBuilder::new("bench");
        let input = builder.input("x", vec![2 * size]).expect("an input");
        let output = builder.layer("dense", Op::Dense(dense), &[input]).expect("a layer");
        builder.quantize(input, quantization);
        builder.quantize(output, quantization);
        let network = builder.finish(output).expect("a network");
        let batch = 1024;
        let stages = mapping::lower(&network, &chip, batch).expect("stages");
        let mapping = mapping::map(&stages, &chip, batch, WeightStart::Resident).expect("a mapping");
        let program = emit(&network, &mapping, &chip).expect("a program");
        let machine = Machine::new(&chip, &chip.formats()[0], &program).expect("a machine");
        let bytes: Vec<u8> = (0..1024 * 2 * size).map(|i| u8::try_from(i % 251).expect("a byte")).collect();
        let cycles = machine.run(&[&bytes], Engine::Stepped).expect("a run").total_cycles.get();
        group.throughput(Throughput::Elements(cycles * (size * size) as u64));
        group.sample_size(10).bench_function(format!("{size}x{size}"), |bencher| {
            bencher.iter(|| machine.run(&[black_box(&bytes)], Engine::Stepped));
        });
    }
    group.finish();
}

criterion_group!(benches, stepped);
criterion_main!(benches);
