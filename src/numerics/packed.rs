//! Elements as memory holds them: packed along a row, low bits first, each row from one byte boundary to another.
//!
//! [`Dtype::packed_bytes`] is the length of a row. Sixteen bits are little-endian; a binary element is +1 where its bit is 1, -1 where
//! it is 0. Any element of a row may be the first that is read, and no byte is that holds none of those asked for.

use super::Dtype;
use super::kernel::Instructions;

/// The elements from `first` on of a row: element `first + i` into `values[i]`.
///
/// # Panics
///
/// If `bytes` ends before the last element.
pub fn unpack(dtype: Dtype, bytes: &[u8], first: usize, values: &mut [i16]) {
    spread(dtype, bytes, first, 0, values);
}

/// As [`unpack`], each element less `zero_point`: a zero point of 8 bits and a sign lets every difference fit.
///
/// # Panics
///
/// If the format has more than 8 bits, for then a difference may not fit; or if `bytes` ends before the last element.
pub fn unpack_shifted(dtype: Dtype, bytes: &[u8], first: usize, zero_point: i16, values: &mut [i16]) {
    assert!(dtype.bits() <= 8, "{dtype} elements less a zero point may not fit 16 bits");
    spread(dtype, bytes, first, zero_point, values);
}

/// Rows of `width` elements, each row `stride` bytes behind the one before, the elements less `zero_point`: row after row into `values`.
///
/// # Panics
///
/// If a zero point is given with a format of more than 8 bits, for then a difference may not fit; or if `bytes` ends before the last element.
pub fn unpack_rows(dtype: Dtype, (bytes, stride): (&[u8], usize), zero_point: i16, width: usize, values: &mut [i16]) {
    assert!(zero_point == 0 || dtype.bits() <= 8, "{dtype} elements less a zero point may not fit 16 bits");
    if width == 0 || values.is_empty() {
        return;
    }
    let row_bytes = (width * dtype.bits() as usize).div_ceil(8);
    let last = (values.len() / width).saturating_sub(1) * stride;
    assert!(last + row_bytes <= bytes.len(), "{} bytes are too few for the rows", bytes.len());
    Instructions::fastest().run(move || {
        for (row, values) in values.chunks_exact_mut(width).enumerate() {
            spread_aligned(dtype, &bytes[row * stride..][..row_bytes], zero_point, values);
        }
    });
}

/// One row of elements, with zero bits up to the end of its last byte.
///
/// # Panics
///
/// If the format does not have one of the values.
pub fn pack(dtype: Dtype, values: impl Iterator<Item = i16>) -> Vec<u8> {
    let mut bytes = Vec::new();
    pack_onto(dtype, values, &mut bytes);
    bytes
}

/// As [`pack`], after what `bytes` already holds.
///
/// # Panics
///
/// If the format does not have one of the values.
pub fn pack_onto(dtype: Dtype, values: impl Iterator<Item = i16>, bytes: &mut Vec<u8>) {
    let (mut word, mut filled) = (0_u16, 0);
    bytes.reserve((values.size_hint().0 * dtype.bits() as usize).div_ceil(8));
    for value in values {
        let wide = i32::from(value);
        let held = (dtype.min()..=dtype.max()).contains(&wide) && (dtype != Dtype::Binary || value != 0);
        assert!(held, "{value} is no {dtype} value");
        let field = if dtype == Dtype::Binary { u16::from(value > 0) } else { value.cast_unsigned() & (u16::MAX >> (16 - dtype.bits())) };
        word |= field << filled;
        filled += dtype.bits();
        if filled >= 8 {
            bytes.extend_from_slice(&word.to_le_bytes()[..if filled == 16 { 2 } else { 1 }]);
            (word, filled) = (0, 0);
        }
    }
    if filled > 0 {
        bytes.push(word.to_le_bytes()[0]);
    }
}

/// Puts one element into a row, and leaves the others as they are. Of a value that the format lacks the low bits are kept; of a binary one its sign.
///
/// # Panics
///
/// If `bytes` ends before it.
pub fn put(dtype: Dtype, bytes: &mut [u8], index: usize, value: i16) {
    match dtype {
        Dtype::Int16 => bytes[2 * index..2 * index + 2].copy_from_slice(&value.to_le_bytes()),
        Dtype::Int8 => bytes[index] = value.to_le_bytes()[0],
        Dtype::Int4 | Dtype::Int2 | Dtype::Binary => {
            let (bits, at) = (dtype.bits() as usize, index * dtype.bits() as usize);
            let mask = (0xff_u8 >> (8 - bits)) << (at % 8);
            let field = if dtype == Dtype::Binary { u8::from(value > 0) } else { value.to_le_bytes()[0] };
            bytes[at / 8] = bytes[at / 8] & !mask | (field << (at % 8)) & mask;
        }
    }
}

/// The `count` binary elements from `first` on of a row, as the words that [`super::kernel::PackedBits`] and
/// [`super::kernel::multiply_binary`] take: 64 a word, low bits first, zero bits up to the end of the last.
///
/// # Panics
///
/// If there are not `ceil(count / 64)` words, or if `bytes` ends before the last element.
pub fn unpack_bits(bytes: &[u8], first: usize, count: usize, words: &mut [u64]) {
    assert_eq!(words.len(), count.div_ceil(64), "{count} bits take `ceil(count / 64)` words");
    let (bytes, shift) = (&bytes[first / 8..(first + count).div_ceil(8)], first % 8);
    let (full, rest) = words.split_at_mut(count / 64);
    if shift == 0 {
        for (word, bytes) in full.iter_mut().zip(bytes.as_chunks().0) {
            *word = u64::from_le_bytes(*bytes);
        }
    } else {
        // A word's last bits lie in a ninth byte, which is there: the row has as many bits as asked for.
        for (word, (bytes, ninth)) in full.iter_mut().zip(bytes.as_chunks().0.iter().zip(bytes.iter().skip(8).step_by(8))) {
            *word = u64::from_le_bytes(*bytes) >> shift | u64::from(*ninth) << (64 - shift);
        }
    }
    if let [word] = rest {
        // At most 63 bits, which start in the first byte and so end in the ninth.
        let bytes = &bytes[count / 64 * 8..];
        let mut padded = [0; 16];
        padded[..bytes.len()].copy_from_slice(bytes);
        *word = low_word(u128::from_le_bytes(padded) >> shift) & ((1 << (count % 64)) - 1);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the low half is what is asked for")]
const fn low_word(bits: u128) -> u64 {
    bits as u64
}

/// Values in a group, which is as many bytes as an element has bits.
const GROUP: usize = 8;

/// What `unpack` and `unpack_shifted` share: one by one up to the first byte boundary, then in groups.
fn spread(dtype: Dtype, bytes: &[u8], first: usize, zero_point: i16, values: &mut [i16]) {
    let bits = dtype.bits() as usize;
    let bytes = &bytes[first * bits / 8..((first + values.len()) * bits).div_ceil(8)];
    let skipped = first % (8 / bits).max(1);
    if skipped == 0 {
        return Instructions::fastest().run(|| spread_aligned(dtype, bytes, zero_point, values));
    }
    let (before, values) = values.split_at_mut(values.len().min(8 / bits - skipped));
    for (i, value) in (skipped..).zip(before) {
        *value = element(dtype, bytes, i).wrapping_sub(zero_point);
    }
    if let Some(bytes) = bytes.get(1..) {
        Instructions::fastest().run(|| spread_aligned(dtype, bytes, zero_point, values));
    }
}

/// The elements from the first of a row on.
#[expect(clippy::inline_always, reason = "what `Instructions::run` compiles is what is inlined")]
#[inline(always)]
fn spread_aligned(dtype: Dtype, bytes: &[u8], zero_point: i16, values: &mut [i16]) {
    match dtype {
        Dtype::Int16 => {
            for (value, bytes) in values.iter_mut().zip(bytes.as_chunks().0) {
                *value = i16::from_le_bytes(*bytes).wrapping_sub(zero_point);
            }
        }
        Dtype::Int8 => {
            for (value, byte) in values.iter_mut().zip(bytes) {
                *value = i16::from(byte.cast_signed()).wrapping_sub(zero_point);
            }
        }
        Dtype::Int4 => spread_groups(dtype, bytes, zero_point, values, |&bytes: &[u8; 4]| {
            let word = u32::from_le_bytes(bytes);
            std::array::from_fn(|i| low_bits((word << (28 - 4 * i)).cast_signed() >> 28))
        }),
        Dtype::Int2 => spread_groups(dtype, bytes, zero_point, values, |&bytes: &[u8; 2]| {
            let word = u16::from_le_bytes(bytes);
            std::array::from_fn(|i| (word << (14 - 2 * i)).cast_signed() >> 14)
        }),
        Dtype::Binary => spread_groups(dtype, bytes, zero_point, values, |&[byte]: &[u8; 1]| {
            std::array::from_fn(|i| if byte >> i & 1 == 1 { 1 } else { -1 })
        }),
    }
}

/// Groups of eight, a shape that compilers make vector instructions of, and one by one what is left.
#[expect(clippy::inline_always, reason = "what `Instructions::run` compiles is what is inlined")]
#[inline(always)]
fn spread_groups<const BYTES: usize>(
    dtype: Dtype,
    bytes: &[u8],
    zero_point: i16,
    values: &mut [i16],
    group: impl Fn(&[u8; BYTES]) -> [i16; GROUP],
) {
    let (groups, rest) = values.as_chunks_mut();
    let (group_bytes, rest_bytes) = bytes.split_at(groups.len() * BYTES);
    for (values, bytes) in groups.iter_mut().zip(group_bytes.as_chunks().0) {
        *values = group(bytes).map(|value| value.wrapping_sub(zero_point));
    }
    for (i, value) in rest.iter_mut().enumerate() {
        *value = element(dtype, rest_bytes, i).wrapping_sub(zero_point);
    }
}

/// One element of at most 8 bits.
fn element(dtype: Dtype, bytes: &[u8], index: usize) -> i16 {
    let (bits, at) = (dtype.bits(), index * dtype.bits() as usize);
    let field = bytes[at / 8] >> (at % 8);
    match dtype {
        Dtype::Binary => i16::from(field & 1) * 2 - 1,
        _ => i16::from((field << (8 - bits)).cast_signed() >> (8 - bits)),
    }
}

#[expect(clippy::cast_possible_truncation, reason = "the caller's values have 4 bits")]
const fn low_bits(value: i32) -> i16 {
    value as i16
}

/// Appends the magnitudes of numbers as `width` bits each, at most 16, low bits first, up to a whole byte. [`number`] reads them.
pub fn pack_numbers(numbers: &[i16], width: u32, bytes: &mut Vec<u8>) {
    let (mut held, mut bits) = (0_u32, 0);
    for number in numbers {
        held |= u32::from(number.unsigned_abs()) << bits;
        bits += width;
        while bits >= 8 {
            bytes.push(held.to_le_bytes()[0]);
            held >>= 8;
            bits -= 8;
        }
    }
    if bits > 0 {
        bytes.push(held.to_le_bytes()[0]);
    }
}

/// The number of `width` bits at place `index` of a row that [`pack_numbers`] packed.
///
/// # Panics
///
/// If `bytes` ends before it.
pub fn number(bytes: &[u8], index: usize, width: u32) -> usize {
    let width = width as usize;
    (0..width).fold(0, |number, bit| {
        let at = index * width + bit;
        number | usize::from(bytes[at / 8] >> (at % 8) & 1) << bit
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Bit by bit, as the module says.
    fn naive(dtype: Dtype, bytes: &[u8], index: usize) -> i16 {
        let bits = dtype.bits() as usize;
        let bit = |at: usize| i32::from(bytes[at / 8] >> (at % 8) & 1);
        let field: i32 = (0..bits).map(|i| bit(index * bits + i) << i).sum();
        let value = match dtype {
            Dtype::Binary => 2 * field - 1,
            _ if field > dtype.max() => field - (1 << bits),
            _ => field,
        };
        i16::try_from(value).unwrap()
    }

    fn dtype() -> impl Strategy<Value = Dtype> {
        prop::sample::select(&Dtype::ALL[..])
    }

    /// What stands around the values, and must stay.
    const GUARD: i16 = 0x5a5a;

    /// A row cut right after the last element that is read: a read past it would panic.
    fn check(dtype: Dtype, bytes: &[u8], first: usize, count: usize, zero_point: i16) {
        let end = ((first + count) * dtype.bits() as usize).div_ceil(8);
        let bytes = &bytes[..end];
        let expected: Vec<i16> = (first..first + count).map(|i| naive(dtype, bytes, i)).collect();
        let mut values = vec![GUARD; count + 2];
        unpack(dtype, bytes, first, &mut values[1..=count]);
        assert_eq!(values[1..=count], expected, "{dtype}, {count} from {first}");
        if dtype.bits() <= 8 {
            let expected: Vec<i16> = expected.iter().map(|value| value - zero_point).collect();
            unpack_shifted(dtype, bytes, first, zero_point, &mut values[1..=count]);
            assert_eq!(values[1..=count], expected, "{dtype}, {count} from {first} less {zero_point}");
        }
        assert_eq!([values[0], values[count + 1]], [GUARD; 2]);
    }

    fn check_bits(bytes: &[u8], first: usize, count: usize) {
        let bytes = &bytes[..(first + count).div_ceil(8)];
        let mut words = vec![u64::MAX; count.div_ceil(64)];
        unpack_bits(bytes, first, count, &mut words);
        for i in 0..64 * words.len() {
            let bit = i < count && naive(Dtype::Binary, bytes, first + i) == 1;
            assert_eq!(words[i / 64] >> (i % 64) & 1 == 1, bit, "bit {i} of {count} from {first}");
        }
    }

    proptest! {
        #[test]
        fn elements_are_those_read_bit_by_bit(dtype in dtype(), bytes in prop::collection::vec(any::<u8>(), 300), first in 0..40_usize, count in 0..100_usize, zero_point in -255..=255_i16) {
            check(dtype, &bytes, first, count, zero_point);
        }

        #[test]
        fn rows_are_those_read_one_by_one(dtype in dtype(), bytes in prop::collection::vec(any::<u8>(), 400), stride in 0..90_usize, width in 0..20_usize, rows in 0..5_usize) {
            let mut values = vec![GUARD; width * rows];
            unpack_rows(dtype, (&bytes, stride), 0, width, &mut values);
            let mut expected = vec![GUARD; width * rows];
            for row in 0..rows {
                unpack(dtype, &bytes[row * stride..], 0, &mut expected[row * width..][..width]);
            }
            prop_assert_eq!(values, expected);
        }

        #[test]
        fn bits_are_those_read_one_by_one(bytes in prop::collection::vec(any::<u8>(), 90), first in 0..150_usize, count in 0..500_usize) {
            check_bits(&bytes, first, count);
        }

        #[test]
        fn what_is_packed_unpacks(dtype in dtype(), raw in prop::collection::vec(any::<i16>(), 0..80), before in prop::collection::vec(any::<u8>(), 0..3)) {
            let values: Vec<i16> = raw.iter().map(|raw| match dtype {
                Dtype::Binary => if *raw < 0 { -1 } else { 1 },
                _ => raw >> (16 - dtype.bits()),
            }).collect();
            let row = pack(dtype, values.iter().copied());
            prop_assert_eq!(row.len() as u64, dtype.packed_bytes(values.len() as u64));
            let mut unpacked = vec![GUARD; values.len()];
            unpack(dtype, &row, 0, &mut unpacked);
            prop_assert_eq!(&unpacked, &values);
            let used = values.len() * dtype.bits() as usize % 8;
            prop_assert!(used == 0 || row[row.len() - 1] >> used == 0);
            let mut put_in: Vec<u8> = row.iter().map(|byte| !byte).collect();
            for (index, value) in values.iter().enumerate().rev() {
                put(dtype, &mut put_in, index, *value);
            }
            let whole = values.len() * dtype.bits() as usize / 8;
            prop_assert_eq!(&put_in[..whole], &row[..whole], "each element went to its own bits");
            let mut bytes = before.clone();
            pack_onto(dtype, values.into_iter(), &mut bytes);
            prop_assert_eq!(bytes, [before, row].concat());
        }
    }

    /// All alignments with all lengths about a group and a word, which random ones may miss.
    #[test]
    fn every_first_and_every_short_row_reads_right() {
        let bytes: Vec<u8> = (0..100_u8).map(|i| i.wrapping_mul(151) ^ 0x2d).collect();
        for first in 0..=17 {
            for count in 0..=33 {
                for dtype in Dtype::ALL {
                    check(dtype, &bytes, first, count, 3);
                }
            }
            for count in 0..=193 {
                check_bits(&bytes, first, count);
            }
        }
    }

    #[test]
    fn bytes_hold_low_elements_in_low_bits() {
        assert_eq!(pack(Dtype::Binary, [1, -1, -1, 1, 1, -1, -1, -1, 1].into_iter()), [0b0001_1001, 1]);
        assert_eq!(pack(Dtype::Int2, [1, -1, -2].into_iter()), [0b10_11_01]);
        assert_eq!(pack(Dtype::Int4, [7, -8, -1].into_iter()), [0x87, 0x0f]);
        assert_eq!(pack(Dtype::Int8, [-128, 1].into_iter()), [0x80, 1]);
        assert_eq!(pack(Dtype::Int16, [-2, 0x0102].into_iter()), [0xfe, 0xff, 2, 1]);
    }

    #[test]
    #[should_panic(expected = "0 is no binary value")]
    fn a_value_that_the_format_lacks_is_refused() {
        pack(Dtype::Binary, [1, 0].into_iter());
    }

    #[test]
    #[should_panic(expected = "out of range")]
    fn a_short_row_is_refused() {
        unpack(Dtype::Int4, &[0; 2], 3, &mut [0; 2]);
    }
}
