//! Affine addresses: a base, a step for each enclosing `repeat`, and an optional ring that they wrap in.

use serde::{Deserialize, Serialize};

/// A byte address that follows the counters of the enclosing `repeat` blocks:
/// `base + (offset + sum_d counter[d] * steps[d]) mod ring` (no `mod` without a ring).
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// The first byte of the buffer.
    pub base: u64,
    /// Where in the buffer the first iteration is.
    pub offset: u64,
    /// Bytes that one more iteration of each enclosing `repeat` adds, the outermost first; missing ones are 0.
    pub steps: Vec<u64>,
    /// Size of the circular buffer in bytes; 0 for none.
    pub ring: u64,
}

impl Address {
    /// A fixed address.
    pub fn at(base: u64) -> Self {
        Self { base, ..Self::default() }
    }

    /// The same address, moving by `bytes` with each iteration of the `repeat` at `depth` (0 is the outermost).
    #[must_use]
    pub fn step(mut self, depth: usize, bytes: u64) -> Self {
        if self.steps.len() <= depth {
            self.steps.resize(depth + 1, 0);
        }
        self.steps[depth] = bytes;
        self
    }

    /// The same address, starting `bytes` further on.
    #[must_use]
    pub fn skip(mut self, bytes: u64) -> Self {
        self.offset += bytes;
        self
    }

    /// The same address, wrapping in a circular buffer of `bytes`.
    #[must_use]
    pub fn wrap(mut self, bytes: u64) -> Self {
        self.ring = bytes;
        self
    }

    /// The address in the iteration that `counters` tells, the outermost first.
    pub fn resolve(&self, counters: &[u64]) -> u64 {
        let moved = self.offset + self.steps.iter().zip(counters).map(|(step, counter)| step * counter).sum::<u64>();
        self.base + if self.ring == 0 { moved } else { moved % self.ring }
    }

    /// The greatest address over all iterations of loops of `trips`, or `None` where it overflows. In a ring it is the last place that the
    /// steps' greatest common divisor allows, which a long enough loop reaches.
    pub fn greatest(&self, trips: &[u64]) -> Option<u64> {
        let mut moved = self.offset;
        for (step, trips) in self.steps.iter().zip(trips) {
            moved = moved.checked_add(step.checked_mul(trips.saturating_sub(1))?)?;
        }
        let reached = if self.ring == 0 { moved } else { moved.min(self.ring - self.granule_within()) };
        self.base.checked_add(reached)
    }

    /// What every address is a multiple of; 0 where the only address is 0.
    pub(super) fn granule(&self) -> u64 {
        gcd(self.base, self.granule_within())
    }

    fn granule_within(&self) -> u64 {
        self.steps.iter().fold(gcd(self.offset, self.ring), |divisor, step| gcd(divisor, *step))
    }
}

/// The greatest common divisor; of 0 and n it is n.
pub(super) fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_follows_its_loops_and_wraps_in_its_ring() {
        let address = Address::at(100).step(1, 16).skip(32);
        assert_eq!(address.resolve(&[5, 2]), 100 + 32 + 32);
        assert_eq!(address.greatest(&[9, 4]), Some(100 + 32 + 48));
        let ring = address.wrap(64);
        assert_eq!(ring.resolve(&[0, 2]), 100);
        assert_eq!(ring.resolve(&[0, 3]), 116);
    }
}
