//! How fast the machine runs: `Machine::run` on the array alone, one core, every count kept.
//!
//! PE-cycles a second of the stepped drive, multiply-accumulates a second of the wavefront drive. `cargo bench --bench machine`. Repeatable
//! instruction counts: `valgrind --tool=callgrind` over `cargo bench --bench machine -- --profile-time 1 <filter>`.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use ndarray::Array2;
use std::hint::black_box;
use systole::chip::{self, Chip, Stationary};
use systole::numerics::Dtype;
use systole::program::{Gemm, Program};
use systole::sim::{Engine, Machine};

/// A product that is ready to run.
struct Ready {
    chip: Chip,
    format: String,
    program: Program,
    inputs: [Vec<u8>; 2],
    macs: u64,
}

impl Ready {
    fn new(chip: &str, sets: &[(&str, &str)], format: &str, stationary: Stationary, [m, k, n]: [usize; 3]) -> Self {
        let sets: Vec<_> = sets.iter().map(|(field, value)| ((*field).to_string(), (*value).to_string())).collect();
        let chip = chip::load(chip, &sets).expect("a chip");
        let numbers = chip.format_named(format).expect("a format").clone();
        let dataflow = *chip.dataflow(stationary).expect("a dataflow");
        let gemm = Gemm::new([m, k, n].map(|size| size as u64), &chip, &numbers, &dataflow, None).expect("a product");
        let activations = Array2::from_shape_fn((m, k), |(m, k)| value(numbers.activation, m * 31 + k * 17));
        let weights = Array2::from_shape_fn((k, n), |(k, n)| value(numbers.weight, k * 13 + n * 7));
        let inputs = [gemm.activations(activations.view()), gemm.weights(weights.view()).expect("weights")];
        let program = gemm.program().expect("a program");
        Self { chip, format: format.to_string(), program, inputs, macs: (m * k * n) as u64 }
    }

    fn machine(&self) -> Machine<'_> {
        Machine::new(&self.chip, self.chip.format_named(&self.format).expect("a format"), &self.program).expect("a machine")
    }

    fn run(&self, engine: Engine) -> u64 {
        let inputs: [&[u8]; 2] = [black_box(&self.inputs[0]), black_box(&self.inputs[1])];
        self.machine().run(&inputs, engine).expect("a run").total_cycles.get()
    }
}

/// A number of a format, every one in turn.
fn value(dtype: Dtype, seed: usize) -> i16 {
    if dtype == Dtype::Binary {
        return if seed.is_multiple_of(3) { 1 } else { -1 };
    }
    let range = usize::try_from(dtype.max() - dtype.min() + 1).expect("a range");
    i16::try_from(i32::try_from(seed * 7919 % range).expect("a small number") + dtype.min()).expect("16 bits")
}

const SIZES: [(&str, usize); 4] = [("16", 16), ("32", 32), ("64", 64), ("128", 128)];

fn stepped(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stepped: PE-cycles");
    for (name, size) in SIZES {
        for (dataflow, stationary, gemm) in [
            ("ws", Stationary::Weight, [1024, 2 * size, 2 * size]),
            ("is", Stationary::Input, [2 * size, 2 * size, 1024]),
            ("os", Stationary::Output, [2 * size, 1024, 2 * size]),
        ] {
            let ready = Ready::new("ideal-128x128", &[("array.rows", name), ("array.cols", name)], "w8a8", stationary, gemm);
            let cycles = ready.run(Engine::Stepped);
            group.throughput(Throughput::Elements(cycles * (size * size) as u64));
            group
                .sample_size(20)
                .bench_function(format!("{dataflow} {size}x{size}"), |bencher| bencher.iter(|| ready.run(Engine::Stepped)));
        }
    }
    group.finish();
}

fn wavefront(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wavefront: MACs");
    let format = |weight: &str, activation: &str, lanes: u32, bits: u32| {
        format!("[(weight: {weight}, activation: {activation}, lanes: {lanes}, accumulator_bits: {bits}, overflow: Saturate, pe: Table)]")
    };
    // A pass of 1024 vectors past each of four tiles of 128 x 128 PEs.
    for (name, formats, lanes) in [
        ("w8a8", format("Int8", "Int8", 1, 32), 1),
        ("w4a8", format("Int4", "Int8", 2, 32), 2),
        ("w4a4", format("Int4", "Int4", 2, 32), 2),
        ("w16a16", format("Int16", "Int16", 1, 48), 1),
        ("w1a1", format("Binary", "Binary", 16, 32), 16),
    ] {
        let ready = Ready::new("ideal-128x128", &[("formats", &formats)], name, Stationary::Weight, [1024, 256 * lanes, 256]);
        group.throughput(Throughput::Elements(ready.macs));
        group.sample_size(20).bench_function(format!("ws 128x128 {name}"), |bencher| bencher.iter(|| ready.run(Engine::Wavefront)));
    }
    // What STONNE and ONNXim were timed on.
    for (chip, stationary, size) in [("ideal-16x16", Stationary::Output, 256), ("ideal-128x128", Stationary::Weight, 1024)] {
        let ready = Ready::new(chip, &[], "w8a8", stationary, [size; 3]);
        group.throughput(Throughput::Elements(ready.macs));
        group.sample_size(20).bench_function(format!("{} {chip} {size}^3", stationary.name()), |bencher| {
            bencher.iter(|| ready.run(Engine::Wavefront));
        });
    }
    group.finish();
}

criterion_group!(benches, stepped, wavefront);
criterion_main!(benches);
