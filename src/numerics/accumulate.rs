//! How sums are held: an accumulator of a stated width that wraps or saturates at each update.

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
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct AccumulateRule {
    /// Bits of the accumulator, 1 to 64.
    pub bits: u32,
    /// What happens to a sum outside of them.
    pub overflow: Overflow,
    /// Products that are summed exactly before one update: R * lanes for weight and input stationary, lanes for output stationary.
    pub chunk: u64,
}

impl AccumulateRule {
    /// The accumulator after one update: `sum + addend`, wrapped or saturated to `bits`.
    ///
    /// # Panics
    /// Where `bits` is none of 1 to 64, which `chip::check` refuses.
    pub fn update(&self, sum: i64, addend: i64) -> i64 {
        let exact = i128::from(sum) + i128::from(addend);
        let half = 1_i128 << (self.bits - 1);
        let held = match self.overflow {
            Overflow::Saturate => exact.clamp(-half, half - 1),
            Overflow::Wrap => (exact + half).rem_euclid(half * 2) - half,
        };
        i64::try_from(held).expect("bug: an accumulator of at most 64 bits held more than 64 bits")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
