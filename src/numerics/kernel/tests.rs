//! Is every sum the plain triple loop's, on every path, at every size, and is nothing else written.

use super::transpose::transpose_with;
use super::{Instructions, PackedBits, PackedTile, multiply, multiply_binary, multiply_wide};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

/// Every path this processor has. The first two agree where the last is missing.
fn paths() -> Vec<Instructions> {
    [Some(Instructions::portable()), Instructions::avx2()].into_iter().flatten().collect()
}

/// What stands before and after the sums, and must stay.
const GUARD: i64 = 0x5a5a_5a5a;

/// Where slices start in their buffers: not where vectors like it.
const OFFSET: usize = 1;

fn naive(w: &[i16], x: &[i16], inner: usize, cols: usize, vectors: usize) -> Vec<i64> {
    let mut sums = vec![0; vectors * cols];
    for t in 0..vectors {
        for k in 0..inner {
            for n in 0..cols {
                sums[t * cols + n] += i64::from(x[t * inner + k]) * i64::from(w[k * cols + n]);
            }
        }
    }
    sums
}

/// The low 32 bits, which are the value where it fits.
#[expect(clippy::cast_possible_truncation, reason = "modulo 2^32 is what is promised")]
const fn wrapped(sum: i64) -> i32 {
    sum as i32
}

/// Multiplies on every path, into a buffer that starts at an odd place and has guards, with a tile that held something larger before.
fn check(w: &[i16], x: &[i16], inner: usize, cols: usize, vectors: usize) {
    let expected = naive(w, x, inner, cols, vectors);
    for path in paths() {
        let mut tile = PackedTile::with(path);
        tile.pack(&vec![-1; (inner + 3) * (cols + 17)], inner + 3, cols + 17);
        tile.pack(w, inner, cols);
        assert_eq!((tile.inner(), tile.cols(), tile.instructions()), (inner, cols, path));
        let shifted: Vec<i16> = [0; OFFSET].into_iter().chain(x.iter().copied()).collect();
        let x = &shifted[OFFSET..];
        let size = vectors * cols;

        let mut sums = vec![wrapped(GUARD); OFFSET + size + OFFSET];
        multiply(&tile, x, vectors, &mut sums[OFFSET..][..size]);
        let narrow: Vec<i32> = expected.iter().copied().map(wrapped).collect();
        assert_eq!(sums[OFFSET..][..size], narrow, "{path:?}, {inner} x {cols}, {vectors} vectors");
        assert_eq!([sums[0], sums[OFFSET + size]], [wrapped(GUARD); 2]);

        let mut sums = vec![GUARD; OFFSET + size + OFFSET];
        multiply_wide(&tile, x, vectors, &mut sums[OFFSET..][..size]);
        assert_eq!(sums[OFFSET..][..size], expected, "wide, {path:?}, {inner} x {cols}, {vectors} vectors");
        assert_eq!([sums[0], sums[OFFSET + size]], [GUARD; 2]);
    }
}

/// As `check`, for bits: the expected sums are of products of +1 and -1.
fn check_bits(w: &[u64], x: &[u64], inner: usize, cols: usize, vectors: usize) {
    let words = inner.div_ceil(64);
    let sign = |row: &[u64], k: usize| if row[k / 64] >> (k % 64) & 1 == 1 { 1 } else { -1 };
    let expected: Vec<i32> = (0..vectors * cols)
        .map(|i| {
            let (x, w) = (&x[i / cols * words..][..words], &w[i % cols * words..][..words]);
            (0..inner).map(|k| sign(x, k) * sign(w, k)).sum()
        })
        .collect();
    for path in paths() {
        let mut tile = PackedBits::with(path);
        tile.pack(&vec![u64::MAX; (words + 1) * (cols + 9)], 64 * (words + 1), cols + 9);
        tile.pack(w, inner, cols);
        assert_eq!((tile.inner(), tile.cols(), tile.instructions()), (inner, cols, path));
        let shifted: Vec<u64> = [0; OFFSET].into_iter().chain(x.iter().copied()).collect();
        let size = vectors * cols;
        let mut sums = vec![wrapped(GUARD); OFFSET + size + OFFSET];
        multiply_binary(&tile, &shifted[OFFSET..], vectors, &mut sums[OFFSET..][..size]);
        assert_eq!(sums[OFFSET..][..size], expected, "binary, {path:?}, {inner} x {cols}, {vectors} vectors");
        assert_eq!([sums[0], sums[OFFSET + size]], [wrapped(GUARD); 2]);
    }
}

/// Transposes on every path, every value another.
fn check_transpose(rows: usize, cols: usize) {
    let from: Vec<i16> = (0..).take(rows * cols).collect();
    let expected: Vec<i16> = (0..rows * cols).map(|i| from[i % rows * cols + i / rows]).collect();
    for path in paths() {
        let mut to = vec![-1; OFFSET + rows * cols + OFFSET];
        transpose_with(path, &from, rows, cols, &mut to[OFFSET..][..rows * cols]);
        assert_eq!(to[OFFSET..][..rows * cols], expected, "{path:?}, {rows} x {cols}");
        assert_eq!([to[0], to[OFFSET + rows * cols]], [-1; 2]);
    }
}

/// `rows` rows of `inner` bits, padded with 0.
fn bits(rng: &mut ChaCha8Rng, rows: usize, inner: usize, density: f64) -> Vec<u64> {
    let mut words = vec![0; rows * inner.div_ceil(64)];
    for row in words.chunks_mut(inner.div_ceil(64)) {
        for k in 0..inner {
            row[k / 64] |= u64::from(rng.random_bool(density)) << (k % 64);
        }
    }
    words
}

/// Mostly the sizes at which a block is cut short, sometimes any.
fn size(usual: usize, most: usize) -> impl Strategy<Value = usize> {
    prop_oneof![4 => 1..=usual, 1 => 1..=most]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn sums_are_the_triple_loops(inner in size(70, 2048), cols in size(40, 512), vectors in 1..=9_usize, limit in prop_oneof![Just(1), Just(127), Just(1023), Just(32767)], seed: u64) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let w: Vec<i16> = (0..inner * cols).map(|_| rng.random_range(-limit - 1..=limit)).collect();
        let x: Vec<i16> = (0..vectors * inner).map(|_| rng.random_range(-limit - 1..=limit)).collect();
        check(&w, &x, inner, cols, vectors);
    }

    #[test]
    fn rows_become_columns(rows in 0..=70_usize, cols in 0..=70_usize) {
        check_transpose(rows, cols);
    }

    #[test]
    fn bytes_are_packed_as_their_values(inner in 0..=40_usize, cols in 0..=40_usize, gap in 0..=20_usize, seed: u64) {
        let stride = cols + gap;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let bytes: Vec<u8> = (0..inner.saturating_sub(1) * stride + cols).map(|_| rng.random()).collect();
        let weights: Vec<i16> = (0..inner * cols).map(|i| bytes[i / cols * stride + i % cols].cast_signed().into()).collect();
        let x: Vec<i16> = (0..2 * inner).map(|_| rng.random_range(-255..=255)).collect();
        let expected: Vec<i32> = naive(&weights, &x, inner, cols, 2).into_iter().map(wrapped).collect();
        for path in paths() {
            let mut tile = PackedTile::with(path);
            tile.pack(&vec![-1; (inner + 3) * (cols + 17)], inner + 3, cols + 17);
            tile.pack_int8(&bytes, stride, inner, cols);
            prop_assert_eq!((tile.inner(), tile.cols()), (inner, cols));
            let mut sums = vec![7; 2 * cols];
            multiply(&tile, &x, 2, &mut sums);
            prop_assert_eq!(&sums, &expected, "{:?}, {} x {}, stride {}", path, inner, cols, stride);
        }
    }

    #[test]
    fn sums_of_bits_are_the_double_loops(inner in size(300, 4500), cols in size(20, 130), vectors in 1..=9_usize, density in prop_oneof![Just(0.0), Just(0.5), Just(1.0)], seed: u64) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let w = bits(&mut rng, cols, inner, 1.0 - density);
        let x = bits(&mut rng, vectors, inner, density);
        check_bits(&w, &x, inner, cols, vectors);
    }
}

/// The one pair that overflows the multiply-add, the edges of the caller's promise, and the longest stretches of the wide sums.
#[test]
fn extremes_are_exact_or_wrap() {
    for inner in [1, 2, 3, 4, 255, 256, 257, 511, 512, 513, 2047, 2048] {
        for (x, w) in [(i16::MIN, i16::MIN), (i16::MIN, i16::MAX), (i16::MAX, i16::MAX), (255, i16::MIN), (-1, i16::MIN), (-256, i16::MIN)]
        {
            check(&vec![w; inner * 17], &vec![x; inner * 5], inner, 17, 5);
        }
    }
}

/// Partial sums past `i32`, a sum within it: exact, for the promise is about the sum.
#[test]
fn a_sum_that_fits_is_exact_though_its_parts_do_not() {
    let w = [i16::MIN, i16::MIN, i16::MIN, i16::MIN, 5];
    let x = [i16::MIN, i16::MIN, i16::MAX, i16::MAX, 7];
    check(&w, &x, 5, 1, 1);
    assert_eq!(naive(&w, &x, 5, 1, 1), [2 * 32768 + 35]);
}

#[test]
fn an_empty_side_gives_zeros_or_nothing() {
    for (inner, cols, vectors) in [(0, 0, 0), (0, 3, 2), (3, 0, 2), (3, 2, 0)] {
        check(&vec![1; inner * cols], &vec![1; inner * vectors], inner, cols, vectors);
    }
    for path in paths() {
        let mut sums = [7; 4];
        let mut tile = PackedBits::with(path);
        multiply_binary(&tile, &[], 3, &mut []);
        tile.pack(&[], 0, 2);
        multiply_binary(&tile, &[], 2, &mut sums);
        assert_eq!(sums, [0; 4]);
    }
}

#[test]
fn packing_as_large_again_allocates_nothing() {
    let mut tile = PackedTile::new();
    tile.pack(&[1; 64 * 48], 64, 48);
    let before = tile.panels().next().map(<[_]>::as_ptr);
    for (inner, cols) in [(3, 5), (64, 48), (63, 17)] {
        tile.pack(&vec![1; inner * cols], inner, cols);
        assert_eq!(tile.panels().next().map(<[_]>::as_ptr), before);
    }
}

#[test]
#[should_panic(expected = "`vectors` rows of `inner` values")]
fn a_short_x_is_refused() {
    let mut tile = PackedTile::new();
    tile.pack(&[1; 6], 3, 2);
    multiply(&tile, &[1; 5], 2, &mut [0; 4]);
}

#[test]
#[should_panic(expected = "`vectors` rows of `cols` values")]
fn short_sums_are_refused() {
    let mut tile = PackedBits::new();
    tile.pack(&[1; 2], 3, 2);
    multiply_binary(&tile, &[1; 2], 2, &mut [0; 3]);
}

/// Past the bands of rows that are transposed together.
#[test]
fn long_sides_become_the_other() {
    for (rows, cols) in [(256, 16), (16, 256), (1000, 24), (3, 500), (177, 129)] {
        check_transpose(rows, cols);
    }
}

/// The deepest tile that an array may hold, 512 rows of 64 lanes, of 9-bit differences and 8-bit weights at their ends.
#[test]
fn the_deepest_tile_fits_32_bits() {
    let inner = 512 * 64;
    for x in [255, -255] {
        let sums = naive(&vec![-128; inner], &vec![x; inner], inner, 1, 1);
        assert_eq!(i64::from(wrapped(sums[0])), sums[0]);
        check(&vec![-128; inner * 3], &vec![x; inner * 5], inner, 3, 5);
    }
}

#[test]
fn bits_of_every_depth_are_counted() {
    let mut rng = ChaCha8Rng::seed_from_u64(1);
    let block = 31 * 64;
    for inner in (1..=130).chain([block - 1, block, block + 1, 2 * block + 1, 512 * 64 - 1, 512 * 64]) {
        for density in [0.0, 0.5] {
            let (w, x) = (bits(&mut rng, 9, inner, 1.0 - density), bits(&mut rng, 5, inner, density));
            check_bits(&w, &x, inner, 9, 5);
        }
    }
}

#[expect(clippy::inline_always, reason = "what `Instructions::run` compiles is what is inlined")]
#[inline(always)]
fn add_products(sums: &mut [f32], x: &[f32], factor: f32) {
    for (sum, x) in sums.iter_mut().zip(x) {
        *sum += factor * x;
    }
}

/// Products and sums that a fused multiply-add would round once: the same bits on every path.
#[test]
fn work_gives_the_same_on_every_path() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let [x, start]: [Vec<f32>; 2] = std::array::from_fn(|_| (0..77).map(|_| rng.random_range(-1.0..1.0)).collect());
    let factor = 1.0 / 3.0;
    let mut expected = start.clone();
    add_products(&mut expected, &x, factor);
    let fused: Vec<f32> = start.iter().zip(&x).map(|(sum, x)| x.mul_add(factor, *sum)).collect();
    assert_ne!(expected, fused, "the values do not tell fused from plain");
    for path in paths() {
        let mut sums = start.clone();
        let returned = path.run(|| {
            add_products(&mut sums, &x, factor);
            sums.len()
        });
        assert_eq!((returned, &sums), (77, &expected), "{path:?}");
    }
}
