//! How fast the machine runs: `Machine::run` on the array alone, one core, every count kept.
//!
//! PE-cycles a second of the stepped drive, multiply-accumulates a second of the wavefront drive. `cargo bench --bench machine`. README.md
//! beside this file tells how to count instructions, which repeat where times do not.

#![allow(missing_docs, reason = "criterion's macros make public items")]

mod cases;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};

fn stepped(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("stepped: PE-cycles");
    for case in cases::stepped() {
        group.throughput(Throughput::Elements(case.run() * case.pes()));
        group.sample_size(20).bench_function(&case.name, |bencher| bencher.iter(|| case.run()));
    }
    group.finish();
}

fn wavefront(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("wavefront: MACs");
    for case in cases::wavefront() {
        group.throughput(Throughput::Elements(case.macs));
        group.sample_size(20).bench_function(&case.name, |bencher| bencher.iter(|| case.run()));
    }
    group.finish();
}

criterion_group!(benches, stepped, wavefront);
criterion_main!(benches);
