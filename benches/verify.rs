//! How fast programs are verified: commands a second, every iteration of a block counted, of products for the whole machine.
//!
//! `cargo bench --bench verify`.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use systole::chip::{self, Stationary};
use systole::program::{Gemm, Program};

/// A chip, and what is set in it.
type Setup = (&'static str, Stationary, &'static [(&'static str, &'static str)]);

fn program((name, stationary, sets): Setup, size: [u64; 3]) -> Program {
    let sets: Vec<_> = sets.iter().map(|(field, value)| ((*field).to_string(), (*value).to_string())).collect();
    let chip = chip::load(name, &sets).expect("a chip");
    let numbers = chip.format_named("w8a8").expect("a format").clone();
    let dataflow = *chip.dataflow(stationary).expect("a dataflow");
    Gemm::new(size, &chip, &numbers, &dataflow, None).expect("a product").machine_program(&chip).expect("a program")
}

fn gemm(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("verify: commands");
    group.sample_size(10);
    let setups: [Setup; 4] = [
        ("edge-16x16", Stationary::Weight, &[]),
        ("ideal-128x128", Stationary::Weight, &[]),
        ("ideal-128x128", Stationary::Input, &[]),
        ("ideal-128x128", Stationary::Output, &[]),
    ];
    for setup in setups {
        for [m, k, n] in [[3136, 576, 64], [196, 2304, 256], [49, 4608, 512]] {
            let program = program(setup, [m, k, n]);
            group.throughput(Throughput::Elements(program.commands_per_stage().iter().sum()));
            group.bench_function(format!("{} {} {m}x{k}x{n}", setup.0, setup.1.name()), |bencher| {
                bencher.iter_batched(|| program.parts().clone(), |parts| Program::new(parts).expect("a program"), BatchSize::LargeInput);
            });
        }
    }
    group.finish();
}

criterion_group!(benches, gemm);
criterion_main!(benches);
