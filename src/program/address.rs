//! Affine addresses: a base, a step for each enclosing `repeat`, and an optional circular buffer whose slots they go round in.

use serde::{Deserialize, Serialize};

/// A byte address that follows the counters of the enclosing `repeat` blocks: `base + sum_d counter[d] * steps[d]`, and in a circular
/// buffer also `+ (offset + sum_d counter[d] * ring.steps[d]) mod bytes`.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Address {
    /// The address in the first iteration, the ring's part apart.
    pub base: u64,
    /// Bytes that one more iteration of each enclosing `repeat` adds, the outermost first; missing ones are 0.
    pub steps: Vec<u64>,
    /// The circular buffer, if there is one.
    pub ring: Option<Ring>,
}

/// The part of an address that goes round in a circular buffer.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Ring {
    /// Size of the buffer; not 0.
    pub bytes: u64,
    /// Where in the buffer the first iteration is; may lie beyond its end and wraps.
    pub offset: u64,
    /// Bytes that one more iteration of each enclosing `repeat` adds, the outermost first; missing ones are 0.
    pub steps: Vec<u64>,
}

impl Address {
    /// A fixed address.
    pub fn at(base: u64) -> Self {
        Self { base, ..Self::default() }
    }

    /// The same address, moving by `bytes` with each iteration of the `repeat` at `depth` (0 is the outermost).
    #[must_use]
    pub fn step(mut self, depth: usize, bytes: u64) -> Self {
        set_step(&mut self.steps, depth, bytes);
        self
    }

    /// The same address, starting `bytes` further on.
    #[must_use]
    pub fn skip(mut self, bytes: u64) -> Self {
        self.base += bytes;
        self
    }

    /// The resolved address in the iteration that `counters` tells, the outermost first.
    pub fn resolve(&self, counters: &[u64]) -> u64 {
        self.base
            + moved(&self.steps, counters)
            + self.ring.as_ref().map_or(0, |ring| (ring.offset + moved(&ring.steps, counters)) % ring.bytes)
    }

    /// The greatest address over all iterations of loops of `trips`, or `None` where it overflows or the ring is empty. In a ring it is the
    /// last place that is a multiple of everything that moves in it, which a long enough loop reaches.
    pub fn greatest(&self, trips: &[u64]) -> Option<u64> {
        let plain = self.base.checked_add(most_moved(&self.steps, trips)?)?;
        let Some(ring) = &self.ring else { return Some(plain) };
        if ring.bytes == 0 {
            return None;
        }
        let last = ring.bytes.checked_sub(ring.granule(|depth| trips.get(depth).is_some_and(|trips| *trips > 1)))?;
        plain.checked_add(ring.offset.checked_add(most_moved(&ring.steps, trips)?)?.min(last))
    }
}

impl Ring {
    /// A buffer of `slots` slots of `slot` bytes; the first iteration is in slot `first`, counted round and round.
    pub fn new(slots: u64, slot: u64, first: u64) -> Self {
        Self { bytes: slots * slot, offset: first * slot, steps: Vec::new() }
    }

    /// The same ring, moving by `bytes` with each iteration of the `repeat` at `depth` (0 is the outermost).
    #[must_use]
    pub fn step(mut self, depth: usize, bytes: u64) -> Self {
        set_step(&mut self.steps, depth, bytes);
        self
    }

    /// What every place in the ring is a multiple of, if only loops that `moves` tells of move.
    fn granule(&self, moves: impl Fn(usize) -> bool) -> u64 {
        let moving = self.steps.iter().enumerate().filter(|(depth, _)| moves(*depth));
        moving.fold(gcd(self.offset, self.bytes), |divisor, (_, step)| gcd(divisor, *step))
    }
}

fn set_step(steps: &mut Vec<u64>, depth: usize, bytes: u64) {
    if steps.len() <= depth {
        steps.resize(depth + 1, 0);
    }
    steps[depth] = bytes;
}

fn moved(steps: &[u64], counters: &[u64]) -> u64 {
    steps.iter().zip(counters).map(|(step, counter)| step * counter).sum()
}

fn most_moved(steps: &[u64], trips: &[u64]) -> Option<u64> {
    steps.iter().zip(trips).try_fold(0_u64, |sum, (step, trips)| sum.checked_add(step.checked_mul(trips.saturating_sub(1))?))
}

/// The greatest common divisor; of 0 and n it is n.
pub(crate) fn gcd(a: u64, b: u64) -> u64 {
    if b == 0 { a } else { gcd(b, a % b) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_follows_its_loops() {
        let address = Address::at(100).step(1, 16).skip(32);
        assert_eq!(address.resolve(&[5, 2]), 100 + 32 + 32);
        assert_eq!(address.greatest(&[9, 4]), Some(100 + 32 + 48));
        assert_eq!(Address::at(u64::MAX).step(0, 1).greatest(&[2]), None);
    }

    #[test]
    fn a_ring_wraps_and_what_moves_beside_it_does_not() {
        let address = Address { ring: Some(Ring::new(3, 10, 2).step(0, 10)), ..Address::at(100).step(1, 3) };
        let places: Vec<u64> = (0..4).map(|slot| address.resolve(&[slot, 2])).collect();
        assert_eq!(places, [126, 106, 116, 126]);
        assert_eq!(address.greatest(&[4, 3]), Some(126));
        assert_eq!(address.greatest(&[1, 1]), Some(120), "one iteration stays where it is");
        assert_eq!(Address { ring: Some(Ring::default()), ..Address::at(0) }.greatest(&[]), None, "an empty ring has no place");
    }
}
