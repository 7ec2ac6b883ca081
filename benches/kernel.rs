//! How fast the matrix kernel multiplies: MACs a second by operand width, path and size.
//!
//! `cargo bench --bench kernel`. Measured on one of the two cores of an AMD EPYC (Zen 3, 2.45 GHz) that others kept busy: load 3 to 4.
//! `K x N x vectors`; GMAC/s as the mean that criterion gave, in brackets the best of 20 plain loops of 10 ms, which is nearer to what
//! a free core does; instructions a MAC.
//!
//! | kernel | size | AVX2 | instructions | portable (SSE2) | instructions |
//! | --- | --- | --- | --- | --- | --- |
//! | `multiply` | 128x128x1024 | 55 (67) | 0.225 | 12 (15) | 0.879 |
//! | `multiply` | 256x256x1024 | 60 (65) | | 15 (18) | |
//! | `multiply` | 2048x512x256 | 65 | | 18 | |
//! | `multiply` | 128x128x1 | 43 (46) | | 14 (17) | |
//! | `multiply_wide` | 128x128x1024 | 22 (26) | 0.562 | 2.1 (2.6) | 4.26 |
//! | `multiply_binary` | 2048x128x1024 | 272 (330) | 0.0427 | 37 (41) | 0.322 |
//! | `multiply_binary` | 1024x64x1024 | 283 (310) | | 34 (40) | |
//!
//! One call at 16x16: 25 ns (21) for one vector, 316 instructions, and 127 ns (112) for 16, 1713 instructions; portable 74 ns (67) and
//! 1020 ns (980); wide 38 ns (31) and 323 ns (297).
//!
//! What surrounds a pass, again the mean (and the best of 40 plain loops), on AVX2. Packing: 16x16 in 22 ns (18), 256x16 in 310 ns
//! (180), 128x128 in 1.6 us (1.0), from bytes in 1.0 us (0.7); portable 0.77 us, 7.5 us and 21 us. Transposing: 256x16 in 570 ns (330),
//! 1024x128 in 29 us (23). 128 elements unpacked: int8 22 ns (13), int4 26 ns (15), int2 19 ns (12), binary 21 ns (13). 128 accumulators
//! of 32 bits updated: 16 ns (10) wrapping and 23 ns (15) saturating; one by one 210 ns and 470 ns.
//!
//! Instructions do not depend on the host's load. Per call, from `callgrind_annotate`'s total and the number of calls:
//! `valgrind --tool=callgrind --toggle-collect='systole::numerics::kernel::*multiply' target/release/deps/kernel-* --bench
//! --profile-time 1 '^multiply/avx2/128x128x1024'`.

#![allow(missing_docs, reason = "criterion's macros make undocumented items")]

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use std::hint::black_box;
use systole::numerics::kernel::{Instructions, PackedBits, PackedTile, multiply, multiply_binary, multiply_wide, transpose_i16};
use systole::numerics::{AccumulateRule, Dtype, Overflow, accumulate_i32, accumulate_i64, packed};

/// K, N and vectors: arrays that stream, then arrays that see one vector or a few.
const SIZES: [[usize; 3]; 7] =
    [[128, 128, 1024], [256, 256, 1024], [2048, 512, 256], [128, 128, 1], [16, 16, 1], [16, 16, 16], [16, 16, 1024]];

/// The same for bits.
const BIT_SIZES: [[usize; 3]; 4] = [[2048, 128, 1024], [1024, 64, 1024], [256, 16, 1], [256, 16, 16]];

fn paths() -> impl Iterator<Item = (&'static str, Instructions)> {
    [Some(("portable", Instructions::portable())), Instructions::avx2().map(|avx2| ("avx2", avx2))].into_iter().flatten()
}

/// Values of -127 to 127 that no pattern of the layout repeats.
fn values(count: usize) -> Vec<i16> {
    (0..count).map(|i| i16::try_from(i * 7919 % 255).expect("a byte") - 127).collect()
}

fn name([inner, cols, vectors]: [usize; 3]) -> String {
    format!("{inner}x{cols}x{vectors}")
}

fn integers(criterion: &mut Criterion) {
    for (path, instructions) in paths() {
        for size in SIZES {
            let [inner, cols, vectors] = size;
            let (weights, x) = (values(inner * cols), values(inner * vectors));
            let mut tile = PackedTile::with(instructions);
            tile.pack(&weights, inner, cols);
            let (mut sums, mut wide_sums) = (vec![0; vectors * cols], vec![0; vectors * cols]);
            let macs = Throughput::Elements((inner * cols * vectors) as u64);

            let mut group = criterion.benchmark_group("multiply");
            group.throughput(macs.clone()).bench_function(BenchmarkId::new(path, name(size)), |bencher| {
                bencher.iter(|| multiply(black_box(&tile), black_box(&x), vectors, black_box(&mut sums)));
            });
            group.finish();

            let mut group = criterion.benchmark_group("multiply_wide");
            group.throughput(macs).bench_function(BenchmarkId::new(path, name(size)), |bencher| {
                bencher.iter(|| multiply_wide(black_box(&tile), black_box(&x), vectors, black_box(&mut wide_sums)));
            });
            group.finish();
        }
    }
}

fn bits(criterion: &mut Criterion) {
    for (path, instructions) in paths() {
        for size in BIT_SIZES {
            let [inner, cols, vectors] = size;
            let word = |i: usize| (i as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
            let columns: Vec<u64> = (0..inner / 64 * cols).map(word).collect();
            let x: Vec<u64> = (0..inner / 64 * vectors).map(|i| !word(i)).collect();
            let mut tile = PackedBits::with(instructions);
            tile.pack(&columns, inner, cols);
            let mut sums = vec![0; vectors * cols];
            let mut group = criterion.benchmark_group("multiply_binary");
            group.throughput(Throughput::Elements((inner * cols * vectors) as u64));
            group.bench_function(BenchmarkId::new(path, name(size)), |bencher| {
                bencher.iter(|| multiply_binary(black_box(&tile), black_box(&x), vectors, black_box(&mut sums)));
            });
            group.finish();
        }
    }
}

/// What a tile costs before its first vector: elements are weights.
fn pack(criterion: &mut Criterion) {
    for (path, instructions) in paths() {
        for (inner, cols) in [(16, 16), (256, 16), (128, 128), (256, 256)] {
            let weights = values(inner * cols);
            let mut tile = PackedTile::with(instructions);
            let mut group = criterion.benchmark_group("pack");
            group.throughput(Throughput::Elements((inner * cols) as u64));
            group.bench_function(BenchmarkId::new(path, format!("{inner}x{cols}")), |bencher| {
                bencher.iter(|| tile.pack(black_box(&weights), inner, cols));
            });
            let bytes = packed::pack(Dtype::Int8, weights.iter().copied());
            group.bench_function(BenchmarkId::new(format!("{path} from bytes"), format!("{inner}x{cols}")), |bencher| {
                bencher.iter(|| tile.pack_int8(black_box(&bytes), cols, inner, cols));
            });
            group.finish();
        }
    }
}

/// From memory to vectors: elements are values, the second of each format from within a byte.
fn unpack(criterion: &mut Criterion) {
    let bytes: Vec<u8> = values(300).into_iter().flat_map(i16::to_le_bytes).collect();
    let mut group = criterion.benchmark_group("unpack");
    group.throughput(Throughput::Elements(128));
    for dtype in Dtype::ALL {
        for first in [0, 1] {
            let mut values = [0; 128];
            group.bench_function(BenchmarkId::new(dtype.to_string(), first), |bencher| {
                bencher.iter(|| packed::unpack(dtype, black_box(&bytes), first, black_box(&mut values)));
            });
        }
    }
    for first in [0, 3] {
        let mut words = [0; 2];
        group.bench_function(BenchmarkId::new("words", first), |bencher| {
            bencher.iter(|| packed::unpack_bits(black_box(&bytes), first, 128, black_box(&mut words)));
        });
    }
    group.finish();
}

fn transpose(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("transpose");
    for (rows, cols) in [(256, 16), (1024, 128)] {
        let (from, mut to) = (values(rows * cols), vec![0; rows * cols]);
        group.throughput(Throughput::Elements((rows * cols) as u64));
        group.bench_function(format!("{rows}x{cols}"), |bencher| {
            bencher.iter(|| transpose_i16(black_box(&from), rows, cols, black_box(&mut to)));
        });
    }
    group.finish();
}

/// Updates of 128 accumulators, side by side and, for comparison, one by one.
fn accumulate(criterion: &mut Criterion) {
    let sums: Vec<i32> = values(128).into_iter().map(i32::from).collect();
    let wide_sums: Vec<i64> = sums.iter().copied().map(i64::from).collect();
    let mut group = criterion.benchmark_group("accumulate");
    group.throughput(Throughput::Elements(128));
    for (name, overflow) in [("wrap", Overflow::Wrap), ("saturate", Overflow::Saturate)] {
        for bits in [24, 32] {
            let rule = AccumulateRule { bits, overflow, chunk: 1 };
            let (mut held, mut wide_held) = ([0; 4 * 128], [0; 8 * 128]);
            group.bench_function(BenchmarkId::new(format!("i32 {name}"), bits), |bencher| {
                bencher.iter(|| accumulate_i32(black_box(&mut held), black_box(&sums), rule));
            });
            group.bench_function(BenchmarkId::new(format!("i64 {name}"), bits), |bencher| {
                bencher.iter(|| accumulate_i64(black_box(&mut wide_held), black_box(&wide_sums), rule));
            });
            let mut one_by_one = [0; 128];
            group.bench_function(BenchmarkId::new(format!("update {name}"), bits), |bencher| {
                bencher.iter(|| {
                    for (held, sum) in black_box(&mut one_by_one).iter_mut().zip(black_box(&wide_sums)) {
                        *held = black_box(rule).update(*held, *sum);
                    }
                });
            });
        }
    }
    group.finish();
}

criterion_group!(benches, integers, bits, pack, unpack, transpose, accumulate);
criterion_main!(benches);
