//! What a command touches of a memory: rows at a stride, and all of them again along outer dimensions.

use super::{Address, Place};

/// Whether a region is read, written, or both.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Access {
    /// Read.
    Read,
    /// Written.
    Write,
    /// Read, added to and written back by one unit in one go.
    Update,
}

/// Rows of a memory that a command touches: `rows` rows of `row_bytes`, and all of them again along each outer dimension, the inner one
/// first.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RegionOf<'c> {
    pub(crate) place: Place,
    pub(crate) address: &'c Address,
    pub(crate) stride: u64,
    pub(crate) rows: u64,
    pub(crate) row_bytes: u64,
    pub(crate) access: Access,
    pub(crate) outer: [Dimension; 2],
}

/// What repeats `count` times, `stride` bytes apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dimension {
    pub(crate) count: u64,
    pub(crate) stride: u64,
}

/// No outer dimension.
pub(crate) const ONCE: [Dimension; 2] = [Dimension { count: 1, stride: 0 }; 2];

impl RegionOf<'_> {
    /// Bytes from the first to one past the last, or `None` where they overflow. Of nothing it is 0.
    pub(crate) fn extent(&self) -> Option<u64> {
        let [inner, outer] = self.outer;
        let dimensions = [Dimension { count: self.rows, stride: self.stride }, inner, outer];
        if self.row_bytes == 0 || dimensions.iter().any(|dimension| dimension.count == 0) {
            return Some(0);
        }
        dimensions.iter().try_fold(self.row_bytes, |sum, dimension| sum.checked_add(dimension.stride.checked_mul(dimension.count - 1)?))
    }

    /// The same bytes in the same order with as few and as long rows as there can be: rows that touch or overlap become one, a dimension
    /// that goes on where the one inside it ends becomes one with it.
    pub(crate) fn coalesced(&self) -> Block {
        if self.outer == ONCE && self.rows > 1 && self.stride > self.row_bytes {
            return Block { run: self.row_bytes, rows: self.rows, stride: self.stride, outer: ONCE };
        }
        let [inner, outer] = self.outer;
        let mut run = self.row_bytes;
        let mut kept = [Dimension { count: 1, stride: 0 }; 3];
        let mut used = 0;
        for dimension in [Dimension { count: self.rows, stride: self.stride }, inner, outer] {
            if dimension.count == 0 {
                run = 0;
            }
            if dimension.count <= 1 || dimension.stride == 0 {
                continue;
            }
            let before: Option<&mut Dimension> = if used > 0 { kept.get_mut(used - 1) } else { None };
            match before {
                None if dimension.stride <= run => run = run.saturating_add(dimension.stride.saturating_mul(dimension.count - 1)),
                Some(before) if before.stride.checked_mul(before.count) == Some(dimension.stride) => {
                    before.count = before.count.saturating_mul(dimension.count);
                }
                _ => {
                    kept[used] = dimension;
                    used += 1;
                }
            }
        }
        let [rows, middle, last] = kept;
        Block { run, rows: rows.count, stride: rows.stride, outer: [middle, last] }
    }
}

/// The shape of a region: `rows` runs of `run` bytes, `stride` (more than `run`) apart, and all of them again along each outer dimension.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Block {
    pub(crate) run: u64,
    pub(crate) rows: u64,
    pub(crate) stride: u64,
    pub(crate) outer: [Dimension; 2],
}

#[cfg(test)]
mod tests {
    use super::*;

    fn region(address: &Address, row_bytes: u64, [rows, inner, outer]: [(u64, u64); 3]) -> RegionOf<'_> {
        let outer = [inner, outer].map(|(count, stride)| Dimension { count, stride });
        RegionOf { place: Place::Dram, address, stride: rows.1, rows: rows.0, row_bytes, access: Access::Read, outer }
    }

    #[test]
    fn rows_that_touch_are_one_and_dimensions_that_go_on_are_one() {
        let at = Address::at(0);
        let shape = |row_bytes, dimensions| {
            let region = region(&at, row_bytes, dimensions);
            let Block { run, rows, stride, outer } = region.coalesced();
            (region.extent(), run, [(rows, stride), (outer[0].count, outer[0].stride), (outer[1].count, outer[1].stride)])
        };
        let none = (1, 0);
        assert_eq!(shape(4, [(3, 4), (2, 12), none]), (Some(24), 24, [none; 3]));
        assert_eq!(shape(4, [(3, 4), (2, 16), (5, 32)]), (Some(4 + 8 + 16 + 128), 12, [(10, 16), none, none]));
        assert_eq!(shape(4, [(3, 8), (2, 100), none]), (Some(120), 4, [(3, 8), (2, 100), none]));
        assert_eq!(shape(4, [(1, 9), (2, 3), none]), (Some(7), 7, [none; 3]), "overlapping rows are one");
        assert_eq!(shape(4, [(0, 9), none, none]).0, Some(0));
        assert_eq!(shape(4, [(3, u64::MAX), none, none]).0, None);
    }
}
