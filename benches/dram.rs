//! How fast DRAM with banks is replayed: requests a second, one channel, from entering the queue to the last data.
//!
//! `cargo bench --bench dram -- --quick`, on one of the two cores of an AMD EPYC (Zen 3, 2.45 GHz) that others kept busy (load 4). Millions of
//! requests a second: DDR4-2400 6.5 in a stream, 4.4 in two streams, 0.83 at random; HBM2 4.3, 3.7 and 1.0.

#![allow(missing_docs, reason = "criterion's macros make public items")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use systole::chip::{self, Banked, Dram};
use systole::sim::dram::Replay;

const REQUESTS: u64 = 100_000;

fn banked(preset: &str) -> Banked {
    let dram = format!("Banked(preset: \"{preset}\", channels: 1, queue_depth: 32, starvation_cap: 16, page: Open, mapping: RoRaBaCoBgCh)");
    let chip = chip::load("edge-16x16", &[("dram".to_string(), dram)]).expect("a chip");
    match chip.dram() {
        Dram::Banked(banked) => (**banked).clone(),
        Dram::Ideal { .. } => unreachable!("it was set to be banked"),
    }
}

/// The address and direction of request `number`.
type Pattern = fn(u64) -> (u64, bool);

fn replay(criterion: &mut Criterion) {
    let patterns: [(&str, Pattern); 3] = [
        ("stream", |number| (number * 64, false)),
        // Two streams, one read and one written, in pieces of 16 bursts: what two DMA engines do.
        ("copy", |number| (number / 32 * 1024 + number % 16 * 64 + number / 16 % 2 * (1 << 26), number / 16 % 2 == 1)),
        ("random", |number| (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 31, number % 3 == 0)),
    ];
    for preset in ["DDR4-2400", "HBM2"] {
        let banked = banked(preset);
        for (name, pattern) in patterns {
            let mut group = criterion.benchmark_group("dram");
            group.throughput(Throughput::Elements(REQUESTS)).bench_function(BenchmarkId::new(preset, name), |bencher| {
                bencher.iter(|| {
                    let mut replay = Replay::new(black_box(&banked));
                    for number in 0..REQUESTS {
                        let (address, is_write) = pattern(number);
                        replay.push(address, is_write, 0);
                    }
                    replay.finish()
                });
            });
            group.finish();
        }
    }
}

criterion_group!(benches, replay);
criterion_main!(benches);
