//! How sums are held: an accumulator of a stated width that wraps or saturates at each update.

use super::kernel::Instructions;
use serde::{Deserialize, Serialize};

/// What an accumulator does with a sum that it cannot hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Overflow {
    /// Keeps the low bits, as two's complement does.
    Wrap,
    /// Stays at the nearest value that it can hold.
    Saturate,
}

/// How products become a sum: exact inside a chunk of K, then one update of the accumulator a chunk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccumulateRule {
    /// Bits of the accumulator, 1 to 64.
    pub bits: u32,
    /// What happens to a sum outside of them.
    pub overflow: Overflow,
    /// Products that are summed exactly before one update: R * lanes for weight and input stationary, lanes for output stationary.
    pub chunk: u64,
}

impl AccumulateRule {
    /// Whether a sum of which no part, in whatever order and chunks, is further from zero than `largest` comes out the same in every order and
    /// in every chunk: what wraps does in any case, since the low bits do not depend on those above; what saturates if it never has to.
    pub fn is_any_order_alike(&self, largest: u64) -> bool {
        let most = u64::MAX.checked_shr(65_u32.saturating_sub(self.bits)).unwrap_or(0);
        self.overflow == Overflow::Wrap || largest <= most
    }

    /// The accumulator after one update: `sum + addend`, wrapped or saturated to `bits`.
    ///
    /// # Panics
    /// Where `bits` is none of 1 to 64, which `chip::check` refuses.
    #[inline]
    pub fn update(&self, sum: i64, addend: i64) -> i64 {
        assert!((1..=64).contains(&self.bits), "an accumulator of {} bits", self.bits);
        let unused = 64 - self.bits;
        match self.overflow {
            // Past 64 bits the nearest value is the same end as past `bits`.
            Overflow::Saturate => sum.saturating_add(addend).max(i64::MIN >> unused).min(i64::MAX >> unused),
            // The low bits do not depend on those above.
            Overflow::Wrap => sum.wrapping_add(addend) << unused >> unused,
        }
    }
}

/// Updates accumulators that lie side by side, four bytes each, little-endian: the `i`-th becomes `rule.update(it, sums[i])`.
///
/// # Panics
///
/// If `held` is not `4 * sums.len()` bytes long, or the rule's accumulators have no bits or more than 32.
pub fn accumulate_i32(held: &mut [u8], sums: &[i32], rule: AccumulateRule) {
    assert_eq!(held.len(), 4 * sums.len(), "each accumulator has 4 bytes and takes one sum");
    accumulate_rows_i32((held, 4 * sums.len()), sums, sums.len(), rule, true);
}

/// As [`accumulate_i32`], for rows of `width` accumulators, each row `stride` bytes behind the one before. What they hold counts as 0 where
/// the sums are not to be added `onto` it.
///
/// # Panics
///
/// If `held` ends before the last row does, if rows overlap, or if the rule's accumulators have no bits or more than 32.
pub fn accumulate_rows_i32((held, stride): (&mut [u8], usize), sums: &[i32], width: usize, rule: AccumulateRule, onto: bool) {
    assert!((1..=32).contains(&rule.bits), "an accumulator of {} bits in 4 bytes", rule.bits);
    if width == 0 || sums.is_empty() {
        return;
    }
    let last = (sums.len() / width).saturating_sub(1) * stride;
    assert!(stride >= 4 * width && last + 4 * width <= held.len(), "{} bytes are not the rows' accumulators", held.len());
    let unused = 32 - rule.bits;
    let (least, greatest) = (i32::MIN >> unused, i32::MAX >> unused);
    // As `AccumulateRule::update`, in the 32 bits that vectors have most lanes of. Nothing in the loops may panic or be captured by
    // reference, or they stay scalar: so no `clamp`, no checked shift.
    let (read, write, nothing) = (i32::from_le_bytes, i32::to_le_bytes, |_| 0);
    let saturate = move |held: i32, sum| held.saturating_add(sum).max(least).min(greatest);
    let wrap = move |held: i32, sum| held.wrapping_add(sum).wrapping_shl(unused).wrapping_shr(unused);
    let rows = sums.chunks_exact(width).zip(held.chunks_mut(stride).map(move |held| &mut held[..4 * width]));
    let instructions = Instructions::fastest();
    match (rule.overflow, onto) {
        (Overflow::Saturate, true) => instructions.run(move || {
            for (sums, held) in rows {
                each(held, sums, read, write, saturate);
            }
        }),
        (Overflow::Saturate, false) => instructions.run(move || {
            for (sums, held) in rows {
                each(held, sums, nothing, write, saturate);
            }
        }),
        (Overflow::Wrap, true) => instructions.run(move || {
            for (sums, held) in rows {
                each(held, sums, read, write, wrap);
            }
        }),
        (Overflow::Wrap, false) => instructions.run(move || {
            for (sums, held) in rows {
                each(held, sums, nothing, write, wrap);
            }
        }),
    }
}

/// As [`accumulate_i32`], for accumulators of eight bytes and up to 64 bits.
///
/// # Panics
///
/// If `held` is not `8 * sums.len()` bytes long, or the rule's accumulators have no bits or more than 64.
pub fn accumulate_i64(held: &mut [u8], sums: &[i64], rule: AccumulateRule) {
    assert!((1..=64).contains(&rule.bits), "an accumulator of {} bits in 8 bytes", rule.bits);
    assert_eq!(held.len(), 8 * sums.len(), "each accumulator has 8 bytes and takes one sum");
    let unused = 64 - rule.bits;
    let (least, greatest) = (i64::MIN >> unused, i64::MAX >> unused);
    let (read, write) = (i64::from_le_bytes, i64::to_le_bytes);
    match rule.overflow {
        Overflow::Saturate => Instructions::fastest().run(move || {
            each(held, sums, read, write, move |held, sum| held.saturating_add(sum).max(least).min(greatest));
        }),
        Overflow::Wrap => Instructions::fastest().run(move || {
            each(held, sums, read, write, move |held, sum| held.wrapping_add(sum).wrapping_shl(unused).wrapping_shr(unused));
        }),
    }
}

/// A sum as the accumulator holds it: little-endian two's complement.
///
/// # Panics
///
/// If there are no bytes, or more than 8.
pub fn load_sum(bytes: &[u8]) -> i64 {
    let mut wide = if bytes[bytes.len() - 1] >= 0x80 { [0xff; 8] } else { [0; 8] };
    wide[..bytes.len()].copy_from_slice(bytes);
    i64::from_le_bytes(wide)
}

/// Writes a sum as the accumulator holds it.
///
/// # Panics
///
/// If there are more than 8 bytes.
pub fn store_sum(bytes: &mut [u8], sum: i64) {
    let width = bytes.len();
    bytes.copy_from_slice(&sum.to_le_bytes()[..width]);
}

/// Accumulators that are read, updated and written back.
#[expect(clippy::inline_always, reason = "what `Instructions::run` compiles is what is inlined")]
#[inline(always)]
fn each<Sum: Copy, const BYTES: usize>(
    held: &mut [u8],
    sums: &[Sum],
    read: impl Fn([u8; BYTES]) -> Sum,
    write: impl Fn(Sum) -> [u8; BYTES],
    update: impl Fn(Sum, Sum) -> Sum,
) {
    for (held, sum) in held.as_chunks_mut().0.iter_mut().zip(sums) {
        *held = write(update(read(*held), *sum));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_narrow_accumulator_wraps_or_saturates() {
        let saturate = AccumulateRule { bits: 8, overflow: Overflow::Saturate, chunk: 1 };
        let wrap = AccumulateRule { overflow: Overflow::Wrap, ..saturate };
        assert_eq!((saturate.update(100, 100), saturate.update(-100, -100)), (127, -128));
        assert_eq!((wrap.update(100, 100), wrap.update(-100, -100)), (-56, 56));
        assert_eq!((saturate.update(100, 27), wrap.update(100, 27)), (127, 127));
        let full = AccumulateRule { bits: 64, overflow: Overflow::Wrap, chunk: 1 };
        assert_eq!(full.update(i64::MAX, 1), i64::MIN);
    }

    /// The definition, in numbers that hold every sum.
    fn defined(rule: AccumulateRule, sum: i64, addend: i64) -> i64 {
        let exact = i128::from(sum) + i128::from(addend);
        let half = 1_i128 << (rule.bits - 1);
        let held = match rule.overflow {
            Overflow::Saturate => exact.clamp(-half, half - 1),
            Overflow::Wrap => (exact + half).rem_euclid(half * 2) - half,
        };
        i64::try_from(held).unwrap()
    }

    /// Any value, the ends of each width, and what lies next to them.
    fn value() -> impl Strategy<Value = i64> {
        let end = (0..64_u32, -2..=2_i64, any::<bool>())
            .prop_map(|(shift, off, least)| if least { i64::MIN >> shift } else { i64::MAX >> shift }.saturating_add(off));
        prop_oneof![any::<i64>(), end, -300..300_i64]
    }

    fn rule(most: u32) -> impl Strategy<Value = AccumulateRule> {
        let bits = prop_oneof![2 => 1..=most, 1 => Just(most)];
        (bits, prop_oneof![Just(Overflow::Wrap), Just(Overflow::Saturate)]).prop_map(|(bits, overflow)| AccumulateRule {
            bits,
            overflow,
            chunk: 1,
        })
    }

    #[expect(clippy::cast_possible_truncation, reason = "any 32 bits will do, and the ends of narrow widths stay what they are")]
    const fn narrow(value: i64) -> i32 {
        value as i32
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(512))]

        #[test]
        fn an_update_is_as_defined(rule in rule(64), sum in value(), addend in value()) {
            prop_assert_eq!(rule.update(sum, addend), defined(rule, sum, addend));
        }

        #[test]
        fn four_bytes_each_are_updated_as_one(rule in rule(32), pairs in prop::collection::vec((value(), value()), 0..40)) {
            let (held, sums): (Vec<i32>, Vec<i32>) = pairs.into_iter().map(|(held, sum)| (narrow(held), narrow(sum))).unzip();
            let mut bytes: Vec<u8> = held.iter().flat_map(|held| held.to_le_bytes()).collect();
            accumulate_i32(&mut bytes, &sums, rule);
            let updated: Vec<i64> = bytes.as_chunks().0.iter().map(|bytes| i32::from_le_bytes(*bytes).into()).collect();
            let expected: Vec<i64> = held.iter().zip(&sums).map(|(held, sum)| defined(rule, (*held).into(), (*sum).into())).collect();
            prop_assert_eq!(updated, expected);
        }

        #[test]
        fn eight_bytes_each_are_updated_as_one(rule in rule(64), pairs in prop::collection::vec((value(), value()), 0..40)) {
            let (held, sums): (Vec<i64>, Vec<i64>) = pairs.into_iter().unzip();
            let mut bytes: Vec<u8> = held.iter().flat_map(|held| held.to_le_bytes()).collect();
            accumulate_i64(&mut bytes, &sums, rule);
            let updated: Vec<i64> = bytes.as_chunks().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect();
            let expected: Vec<i64> = held.iter().zip(&sums).map(|(held, sum)| defined(rule, *held, *sum)).collect();
            prop_assert_eq!(updated, expected);
        }
    }

    #[test]
    #[should_panic(expected = "33 bits in 4 bytes")]
    fn an_accumulator_wider_than_its_bytes_is_refused() {
        accumulate_i32(&mut [0; 4], &[1], AccumulateRule { bits: 33, overflow: Overflow::Wrap, chunk: 1 });
    }
}
