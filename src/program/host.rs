//! What the host is told to do in the midst of a program: values in DRAM, read by strides, to a value in DRAM.

use super::region::{Access, ONCE, RegionOf};
use super::{Address, Place};
use serde::{Deserialize, Serialize};

/// One operation of the host: `elements` elements, a byte each, of values that lie in DRAM, one behind the other to where the result goes there.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostWork {
    /// The operation, an index into the program's list.
    pub op: u32,
    /// What it reads.
    pub inputs: Vec<HostInput>,
    /// Where the result begins.
    pub result: Address,
    /// Elements of the result.
    pub elements: u64,
}

/// A value that the host reads from DRAM.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostInput {
    /// Where the bytes begin that hold it.
    pub address: Address,
    /// How many there are.
    pub bytes: u64,
    /// Which of them is the first element.
    pub first: u64,
    /// What counts its elements, the outermost first.
    pub factors: Vec<HostFactor>,
}

/// Elements that are counted, and bytes from one to the next, forwards or backwards.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HostFactor {
    /// How many.
    pub count: u64,
    /// Bytes from one to the next.
    pub stride: i64,
}

impl HostInput {
    /// How many elements it has, if all of them lie in its bytes.
    pub(crate) fn elements(&self) -> Option<u64> {
        let mut reach = [i128::from(self.first); 2];
        let mut elements = 1_u64;
        for HostFactor { count, stride } in &self.factors {
            elements = elements.checked_mul(*count).filter(|elements| *elements > 0)?;
            let far = i128::from(*stride) * i128::from(count - 1);
            reach[usize::from(far > 0)] += far;
        }
        (reach[0] >= 0 && reach[1] < i128::from(self.bytes)).then_some(elements)
    }

    /// Bytes that hold at least one of its elements: those that are counted several times, where a value is broadcast, are one.
    pub(crate) fn wanted(&self) -> u64 {
        let apart = self.factors.iter().filter(|factor| factor.stride != 0);
        apart.fold(1_u64, |bytes, factor| bytes.saturating_mul(factor.count)).min(self.bytes)
    }

    /// Shows the byte of each element, counted from where its bytes begin, in order.
    pub(crate) fn each(&self, mut see: impl FnMut(u64)) {
        fn walk(factors: &[HostFactor], at: i64, see: &mut impl FnMut(u64)) {
            let [HostFactor { count, stride }, rest @ ..] = factors else { return see(at.unsigned_abs()) };
            let mut at = at;
            for number in 0..*count {
                walk(rest, at, see);
                if number + 1 < *count {
                    at += stride;
                }
            }
        }
        walk(&self.factors, self.first.cast_signed(), &mut see);
    }
}

impl HostWork {
    /// The bytes of DRAM that it reads and writes: of what it reads, all among which its elements lie.
    pub(super) fn regions(&self) -> [Option<RegionOf<'_>>; 3] {
        let input = |slot: usize| self.inputs.get(slot).map(|input| bytes(&input.address, input.bytes, Access::Read));
        [input(0), input(1), Some(bytes(&self.result, self.elements, Access::Write))]
    }
}

fn bytes(address: &Address, row_bytes: u64, access: Access) -> RegionOf<'_> {
    RegionOf { place: Place::Dram, address, stride: 0, rows: 1, row_bytes, access, outer: ONCE }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn input(bytes: u64, first: u64, factors: &[(u64, i64)]) -> HostInput {
        let factors = factors.iter().map(|(count, stride)| HostFactor { count: *count, stride: *stride }).collect();
        HostInput { address: Address::at(0), bytes, first, factors }
    }

    #[test]
    fn elements_lie_within_their_bytes_forwards_and_backwards() {
        let turned = input(6, 2, &[(2, 3), (3, -1)]);
        let mut seen = Vec::new();
        turned.each(|byte| seen.push(byte));
        assert_eq!((seen.as_slice(), turned.elements()), (&[2, 1, 0, 5, 4, 3][..], Some(6)));
        assert_eq!(input(5, 2, &[(2, 3), (3, -1)]).elements(), None, "one too few bytes");
        assert_eq!(input(6, 1, &[(3, -1)]).elements(), None, "before the first byte");
        assert_eq!(input(6, 0, &[(0, 1)]).elements(), None, "nothing");
        assert_eq!(input(6, 0, &[(1 << 40, 0), (1 << 40, 0)]).elements(), None, "more than can be counted");
        assert_eq!(input(6, 5, &[]).elements(), Some(1));
        let wanted = [turned.wanted(), input(6, 5, &[(4, 0)]).wanted(), input(6, 1, &[(3, 0), (2, 3)]).wanted()];
        assert_eq!(wanted, [6, 1, 2], "what is broadcast is one byte");
    }
}
