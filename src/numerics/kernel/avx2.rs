//! The blocks in AVX2 instructions. The one file of the crate with unsafe code: loads, stores, and the entry into code that needs AVX2.

#![allow(unsafe_code, reason = "vector instructions; each block says why it is sound, tests hold all to the plain kernel")]

use super::binary::{BitBlock, WORD_COLS, Words};
use super::tile::{COLS, Line};
use super::{Block, Task};
use std::arch::x86_64::{
    __m256i, _mm_loadu_si128, _mm_setr_epi8, _mm256_add_epi8, _mm256_add_epi32, _mm256_add_epi64, _mm256_and_si256,
    _mm256_broadcastsi128_si256, _mm256_cvtepi8_epi16, _mm256_loadu_si256, _mm256_loadu2_m128i, _mm256_madd_epi16,
    _mm256_permute2x128_si256, _mm256_sad_epu8, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_set1_epi32, _mm256_set1_epi64x,
    _mm256_setzero_si256, _mm256_shuffle_epi8, _mm256_srai_epi16, _mm256_srli_epi16, _mm256_storeu_si256, _mm256_unpackhi_epi16,
    _mm256_unpackhi_epi32, _mm256_unpackhi_epi64, _mm256_unpacklo_epi16, _mm256_unpacklo_epi32, _mm256_unpacklo_epi64, _mm256_xor_si256,
};

/// Proof that the processor has AVX2: only [`Avx2::detect`] makes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Avx2(());

#[expect(clippy::unused_self, reason = "to have one is the proof that makes the calls sound")]
impl Avx2 {
    /// A proof, if there is one. The standard library asks the processor once and remembers.
    pub(super) fn detect() -> Option<Self> {
        is_x86_feature_detected!("avx2").then_some(Self(()))
    }

    /// What `work` returns, compiled with AVX2 as far as it is inlined.
    #[inline]
    pub(super) fn run<R>(self, work: impl FnOnce() -> R) -> R {
        /// Not FMA: a product and a sum are rounded one by one on every path.
        #[target_feature(enable = "avx2")]
        fn with_avx2<R>(work: impl FnOnce() -> R) -> R {
            work()
        }
        // SAFETY: `with_avx2` needs AVX2 and nothing else; `self` exists, so the processor has it.
        unsafe { with_avx2(work) }
    }

    /// The same for a task that is always inlined.
    #[inline]
    pub(super) fn perform<T: Task>(self, task: T) -> T::Output {
        #[target_feature(enable = "avx2")]
        fn with_avx2<T: Task>(task: T) -> T::Output {
            task.run()
        }
        // SAFETY: `with_avx2` needs AVX2 and nothing else; `self` exists, so the processor has it.
        unsafe { with_avx2(task) }
    }

    /// Fills a panel with the first `width` weights of each row, which lie `stride` apart; the columns that pad get zeros.
    pub(super) fn fill(self, panel: &mut [Line], weights: &[i16], stride: usize, width: usize) {
        #[target_feature(enable = "avx2")]
        fn fill_words(panel: &mut [Line], weights: &[i16], stride: usize, width: usize) {
            fill(panel, weights, stride, width, |values| load(values));
        }
        // SAFETY: `fill_words` needs AVX2 and nothing else; `self` exists, so the processor has it.
        unsafe { fill_words(panel, weights, stride, width) }
    }

    /// As `fill`, from the bytes of weights of 8 bits.
    pub(super) fn fill_int8(self, panel: &mut [Line], weights: &[u8], stride: usize, width: usize) {
        #[target_feature(enable = "avx2")]
        fn fill_bytes(panel: &mut [Line], weights: &[u8], stride: usize, width: usize) {
            fill(panel, weights, stride, width, |values| {
                // SAFETY: `values` has the 16 bytes that are read; the load asks for no alignment.
                _mm256_cvtepi8_epi16(unsafe { _mm_loadu_si128(values.as_ptr().cast()) })
            });
        }
        // SAFETY: `fill_bytes` needs AVX2 and nothing else; `self` exists, so the processor has it.
        unsafe { fill_bytes(panel, weights, stride, width) }
    }

    /// Turns `rows` x `cols` values into `cols` x `rows`.
    pub(super) fn transpose(self, from: &[i16], rows: usize, cols: usize, to: &mut [i16]) {
        // SAFETY: `transpose` needs AVX2 and nothing else; `self` exists, so the processor has it.
        unsafe { transpose(from, rows, cols, to) }
    }
}

/// Which part of each `x` is multiplied.
const WHOLE: u8 = 0;
const LOW: u8 = 1;
const HIGH: u8 = 2;

impl Block<i32> for Avx2 {
    fn block<const R: usize>(&self, panel: &[Line], rows: [&[i16]; R]) -> [[i32; COLS]; R] {
        // SAFETY: `sums` needs AVX2 and nothing else; `self` exists, so the processor has it.
        unsafe { sums::<R, WHOLE>(panel, rows) }
    }
}

impl Block<i64> for Avx2 {
    fn block<const R: usize>(&self, panel: &[Line], rows: [&[i16]; R]) -> [[i64; COLS]; R] {
        // SAFETY: `wide_sums` needs AVX2 and nothing else; `self` exists, so the processor has it.
        unsafe { wide_sums(panel, rows) }
    }
}

impl BitBlock for Avx2 {
    fn differences<const R: usize>(&self, panel: &[Words], rows: [&[u64]; R]) -> [[u64; WORD_COLS]; R] {
        // SAFETY: `differences` needs AVX2 and nothing else; `self` exists, so the processor has it.
        unsafe { differences(panel, rows) }
    }
}

/// Eight lanes of 32 bits for each half of a panel.
type Halves = [__m256i; 2];

/// `R` x 16 sums in registers; each pair of K is one multiply-add for each half of the panel and each vector.
#[target_feature(enable = "avx2")]
fn sums<const R: usize, const PART: u8>(panel: &[Line], rows: [&[i16]; R]) -> [[i32; COLS]; R] {
    let inner = rows.first().map_or(0, |row| row.len());
    assert!(rows.iter().all(|row| row.len() == inner) && panel.len() == inner.div_ceil(2), "bug: rows and panel differ in K");
    let mut sums: [Halves; R] = [[_mm256_setzero_si256(); 2]; R];
    for (p, w) in panel[..inner / 2].iter().enumerate() {
        let w = halves(w);
        for (sums, row) in sums.iter_mut().zip(rows) {
            // SAFETY: `p < inner / 2` and the row has `inner` values, so it has the two from `2 * p`; the read asks for no alignment.
            let x = unsafe { row.as_ptr().add(2 * p).cast::<i32>().read_unaligned() };
            multiply_add(sums, part::<PART>(x), w);
        }
    }
    if let (1, Some(w)) = (inner % 2, panel.last()) {
        let w = halves(w);
        for (sums, row) in sums.iter_mut().zip(rows) {
            // The pair's other value is the padding's, whose weight is 0.
            multiply_add(sums, part::<PART>(i32::from(row[inner - 1])), w);
        }
    }
    let mut stored = [[0; COLS]; R];
    for (row, [low, high]) in stored.iter_mut().zip(sums) {
        // SAFETY: `row` has 16 values of 32 bits: 8 for each store, which asks for no alignment.
        unsafe {
            _mm256_storeu_si256(row.as_mut_ptr().cast(), low);
            _mm256_storeu_si256(row.as_mut_ptr().add(8).cast(), high);
        }
    }
    stored
}

/// How much of K the wide sums take in 32 bits: the low parts are at most 255, the high at most 128, and `256 * 255 * 32768 < 2^31`.
const STRETCH: usize = 256;

/// `R` x 16 sums of 64 bits: each `x` is `256 * high + low`, and over a stretch of K neither part's sum overflows 32 bits.
#[target_feature(enable = "avx2")]
fn wide_sums<const R: usize>(panel: &[Line], rows: [&[i16]; R]) -> [[i64; COLS]; R] {
    let mut wide = [[0_i64; COLS]; R];
    let (mut rows, mut rest) = (rows, rows);
    for panel in panel.chunks(STRETCH / 2) {
        for (row, rest) in rows.iter_mut().zip(&mut rest) {
            (*row, *rest) = rest.split_at(rest.len().min(STRETCH));
        }
        let (low, high) = (sums::<R, LOW>(panel, rows), sums::<R, HIGH>(panel, rows));
        for ((wide, low), high) in wide.as_flattened_mut().iter_mut().zip(low.as_flattened()).zip(high.as_flattened()) {
            *wide = wide.wrapping_add((i64::from(*high) << 8) + i64::from(*low));
        }
    }
    wide
}

/// Sixteen products of each half summed by twos, modulo 2^32: only `2 * 32768^2` needs the modulus.
#[target_feature(enable = "avx2")]
#[inline]
fn multiply_add(sums: &mut Halves, x: __m256i, w: Halves) {
    for (sum, w) in sums.iter_mut().zip(w) {
        *sum = _mm256_add_epi32(*sum, _mm256_madd_epi16(x, w));
    }
}

/// Both halves of a panel's pair of K.
#[target_feature(enable = "avx2")]
#[inline]
fn halves(Line(w): &Line) -> Halves {
    // SAFETY: `w` has 32 values of 16 bits: 16 for each load, which asks for no alignment.
    unsafe { [_mm256_loadu_si256(w.as_ptr().cast()), _mm256_loadu_si256(w.as_ptr().add(16).cast())] }
}

/// A pair of K of one vector in all lanes, or the part of it: `x = 256 * high + low`.
#[target_feature(enable = "avx2")]
#[inline]
fn part<const PART: u8>(pair: i32) -> __m256i {
    let x = _mm256_set1_epi32(pair);
    match PART {
        LOW => _mm256_and_si256(x, _mm256_set1_epi16(0xff)),
        HIGH => _mm256_srai_epi16::<8>(x),
        _ => x,
    }
}

/// Words after which a byte that counts bits might overflow: `31 * 8 < 256`.
const WORDS: usize = 31;

/// A lane is a column: each vector's word goes to all lanes, and bytes count set bits by a table of nibbles until they are full.
#[target_feature(enable = "avx2")]
fn differences<const R: usize>(panel: &[Words], rows: [&[u64]; R]) -> [[u64; WORD_COLS]; R] {
    let mut counts: [Halves; R] = [[_mm256_setzero_si256(); 2]; R];
    let nibble = _mm256_set1_epi8(0xf);
    let ones_of = _mm256_broadcastsi128_si256(_mm_setr_epi8(0, 1, 1, 2, 1, 2, 2, 3, 1, 2, 2, 3, 2, 3, 3, 4));
    assert!(rows.iter().all(|row| row.len() == panel.len()), "bug: rows and panel differ in K");
    let mut from = 0;
    while from < panel.len() {
        let to = panel.len().min(from + WORDS);
        let mut bytes: [Halves; R] = [[_mm256_setzero_si256(); 2]; R];
        for (k, Words(w)) in (from..to).zip(&panel[from..to]) {
            // SAFETY: `w` has 8 values of 64 bits: 4 for each load, which asks for no alignment.
            let w: Halves = unsafe { [_mm256_loadu_si256(w.as_ptr().cast()), _mm256_loadu_si256(w.as_ptr().add(4).cast())] };
            for (bytes, row) in bytes.iter_mut().zip(rows) {
                // SAFETY: `k < panel.len()`, and the row is as long.
                let x = _mm256_set1_epi64x(unsafe { row.get_unchecked(k) }.cast_signed());
                for (bytes, w) in bytes.iter_mut().zip(w) {
                    let bits = _mm256_xor_si256(x, w);
                    let low = _mm256_shuffle_epi8(ones_of, _mm256_and_si256(bits, nibble));
                    let high = _mm256_shuffle_epi8(ones_of, _mm256_and_si256(_mm256_srli_epi16::<4>(bits), nibble));
                    *bytes = _mm256_add_epi8(*bytes, _mm256_add_epi8(low, high));
                }
            }
        }
        for (counts, bytes) in counts.iter_mut().zip(bytes) {
            for (count, bytes) in counts.iter_mut().zip(bytes) {
                *count = _mm256_add_epi64(*count, _mm256_sad_epu8(bytes, _mm256_setzero_si256()));
            }
        }
        from = to;
    }
    let mut stored = [[0; WORD_COLS]; R];
    for (row, [low, high]) in stored.iter_mut().zip(counts) {
        // SAFETY: `row` has 8 values of 64 bits: 4 for each store, which asks for no alignment.
        unsafe {
            _mm256_storeu_si256(row.as_mut_ptr().cast(), low);
            _mm256_storeu_si256(row.as_mut_ptr().add(4).cast(), high);
        }
    }
    stored
}

/// Two rows a line, interleaved by unpacking, which works within each half of a register.
#[target_feature(enable = "avx2")]
#[inline]
fn fill<W: Copy + Default>(panel: &mut [Line], weights: &[W], stride: usize, width: usize, load_wide: impl Fn(&[W; COLS]) -> __m256i) {
    let kept = load(&std::array::from_fn(|n| if n < width { -1 } else { 0 }));
    let mut rest = weights;
    let mut row = || {
        // What follows a row is the next one, and is masked.
        let values = match rest.first_chunk() {
            Some(values) => load_wide(values),
            None => load_wide(&std::array::from_fn(|n| rest.get(n).copied().unwrap_or_default())),
        };
        rest = rest.get(stride..).unwrap_or(&[]);
        _mm256_and_si256(values, kept)
    };
    for Line(line) in panel {
        // An odd number of rows ends in one of zeros: by then `rest` is empty, for the last row is no longer than the stride.
        let (low, high) = (row(), row());
        let (outer, inner) = (_mm256_unpacklo_epi16(low, high), _mm256_unpackhi_epi16(low, high));
        let (first, second) = (_mm256_permute2x128_si256::<0x20>(outer, inner), _mm256_permute2x128_si256::<0x31>(outer, inner));
        // SAFETY: `line` has 32 values of 16 bits: 16 for each store, which asks for no alignment.
        unsafe {
            _mm256_storeu_si256(line.as_mut_ptr().cast(), first);
            _mm256_storeu_si256(line.as_mut_ptr().add(16).cast(), second);
        }
    }
}

#[target_feature(enable = "avx2")]
#[inline]
fn load(values: &[i16; COLS]) -> __m256i {
    // SAFETY: `values` has the 16 values of 16 bits that are read; the load asks for no alignment.
    unsafe { _mm256_loadu_si256(values.as_ptr().cast()) }
}

/// Rows and columns that one step transposes: eight values of one row in each half of a register, and of the row eight below.
const TALL: usize = 16;
const BROAD: usize = 8;

/// Rows whose lines the nearest cache holds until the last of their columns is read.
const BAND: usize = 32;

/// Blocks of 16 x 8 by unpacking, the edges one by one. Down bands of rows, for the lines of each are read once for every 8 columns.
#[target_feature(enable = "avx2")]
fn transpose(from: &[i16], rows: usize, cols: usize, to: &mut [i16]) {
    assert!(from.len() == rows * cols && to.len() == rows * cols, "bug: the two sides differ in size");
    let (tall, broad) = (rows - rows % TALL, cols - cols % BROAD);
    for band in (0..tall).step_by(BAND) {
        for col in (0..broad).step_by(BROAD) {
            for row in (band..tall.min(band + BAND)).step_by(TALL) {
                let mut source = from[row * cols + col..].as_ptr();
                let block = std::array::from_fn(|_| {
                    let low = source;
                    source = source.wrapping_add(cols);
                    // SAFETY: the 8 values from `col` on lie in each of the 16 rows from `row` on, of which this is one of the first
                    // 8, for `row + 16 <= rows` and `col + 8 <= cols`; the reads ask for no alignment.
                    unsafe { _mm256_loadu2_m128i(low.wrapping_add(BROAD * cols).cast(), low.cast()) }
                });
                let mut target = to[col * rows + row..].as_mut_ptr();
                for column in transposed(block) {
                    // SAFETY: the 16 values from `row` on lie in each of the 8 rows of `to` from `col` on, of which this is one.
                    unsafe { _mm256_storeu_si256(target.cast(), column) };
                    target = target.wrapping_add(rows);
                }
            }
        }
    }
    for row in 0..rows {
        for col in if row < tall { broad } else { 0 }..cols {
            to[col * rows + row] = from[row * cols + col];
        }
    }
}

/// Eight rows of eight values in each half, and so the columns in each half.
#[target_feature(enable = "avx2")]
#[inline]
fn transposed([a, b, c, d, e, f, g, h]: [__m256i; BROAD]) -> [__m256i; BROAD] {
    let pairs = |a, b, c, d| {
        let (ab, cd) =
            ([_mm256_unpacklo_epi16(a, b), _mm256_unpackhi_epi16(a, b)], [_mm256_unpacklo_epi16(c, d), _mm256_unpackhi_epi16(c, d)]);
        let fours = |ab, cd| [_mm256_unpacklo_epi32(ab, cd), _mm256_unpackhi_epi32(ab, cd)];
        [fours(ab[0], cd[0]), fours(ab[1], cd[1])]
    };
    let ([[p0, p1], [p2, p3]], [[q0, q1], [q2, q3]]) = (pairs(a, b, c, d), pairs(e, f, g, h));
    let eights = |p, q| [_mm256_unpacklo_epi64(p, q), _mm256_unpackhi_epi64(p, q)];
    let ([a, b], [c, d], [e, f], [g, h]) = (eights(p0, q0), eights(p1, q1), eights(p2, q2), eights(p3, q3));
    [a, b, c, d, e, f, g, h]
}
