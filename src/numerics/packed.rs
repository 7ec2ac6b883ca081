//! Elements packed along a row, low bits first, rows starting on a byte.

use super::Dtype;

fn element(dtype: Dtype, bytes: &[u8], index: usize) -> i16 {
    match dtype {
        Dtype::Int16 => i16::from_le_bytes([bytes[2 * index], bytes[2 * index + 1]]),
        Dtype::Int8 => i16::from(i8::from_le_bytes([bytes[index]])),
        Dtype::Int4 => i16::from((((bytes[index / 2] >> (4 * (index % 2))) << 4) as i8) >> 4),
        Dtype::Int2 => i16::from((((bytes[index / 4] >> (2 * (index % 4))) << 6) as i8) >> 6),
        Dtype::Binary => if bytes[index / 8] >> (index % 8) & 1 == 1 { 1 } else { -1 },
    }
}
/// Unpacks.
pub fn unpack(dtype: Dtype, bytes: &[u8], first: usize, values: &mut [i16]) {
    unpack_shifted(dtype, bytes, first, 0, values);
}
/// Unpacks less the zero point.
pub fn unpack_shifted(dtype: Dtype, bytes: &[u8], first: usize, zero_point: i16, values: &mut [i16]) {
    for (i, value) in values.iter_mut().enumerate() {
        *value = element(dtype, bytes, first + i) - zero_point;
    }
}
/// Bits.
pub fn unpack_bits(bytes: &[u8], first: usize, count: usize, words: &mut [u64]) {
    words.fill(0);
    for i in 0..count {
        let at = first + i;
        words[i / 64] |= u64::from(bytes[at / 8] >> (at % 8) & 1) << (i % 64);
    }
}
/// Packs a row.
pub fn pack(dtype: Dtype, values: impl Iterator<Item = i16>) -> Vec<u8> {
    let mut bytes = Vec::new();
    let bits = dtype.bits() as usize;
    for (i, value) in values.enumerate() {
        let raw = if dtype == Dtype::Binary { u16::from(value > 0) } else { value as u16 & (((1u32 << bits) - 1) as u16) };
        let at = i * bits;
        let need = (at + bits).div_ceil(8);
        bytes.resize(need.max(bytes.len()), 0);
        bytes[at / 8] |= (u32::from(raw) << (at % 8)) as u8;
        if bits == 16 { bytes[at / 8 + 1] = (raw >> 8) as u8; }
    }
    bytes
}
