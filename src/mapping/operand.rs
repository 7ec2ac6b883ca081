//! How a stage reads or writes a value in DRAM: rows (pixels of images, where there are images) of bytes side by side, in runs of rows that
//! are a stride apart.

use super::location::{Factor, Tensor, joined};

/// The most runs of an operand: programs spell each out.
pub(super) const MAX_RUNS: u64 = 1 << 16;

/// The rows that a stage reads or writes, in its order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Operand {
    /// Of what.
    pub tensor: Tensor,
    /// Where each run begins.
    pub starts: Vec<u64>,
    /// Rows of a run.
    pub run: u64,
    /// Bytes from a row to the next of its run; 0 where they are one.
    pub stride: u64,
}

/// Rows of a run, or of part of one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rows {
    /// The number of the first.
    pub first: u64,
    /// How many.
    pub count: u64,
    /// The first one's byte, within the tensor.
    pub byte: u64,
}

impl Operand {
    /// Rows one behind the other, `bytes` each.
    pub fn dense(tensor: Tensor, rows: u64, bytes: u64) -> Self {
        Self { tensor, starts: vec![0], run: rows, stride: bytes }
    }

    /// Rows that such factors count, the outermost first; none where they are in too many runs.
    pub fn of(tensor: &Tensor, offset: u64, factors: impl IntoIterator<Item = Factor>) -> Option<Self> {
        let mut factors = joined(factors);
        let inner = factors.pop().unwrap_or(Factor { size: 1, stride: 0 });
        let runs = factors.iter().try_fold(1_u64, |runs, factor| runs.checked_mul(factor.size)).filter(|runs| *runs <= MAX_RUNS)?;
        let mut starts = Vec::with_capacity(usize::try_from(runs).ok()?);
        starts.push(offset);
        for Factor { size, stride } in factors {
            starts = starts.iter().flat_map(|start| (0..size).map(move |number| start + number * stride)).collect();
        }
        Some(Self { tensor: tensor.clone(), starts, run: inner.size, stride: inner.stride })
    }

    /// Rows `first..end`, cut at the ends of runs.
    ///
    /// # Panics
    /// If there are fewer rows.
    pub fn rows(&self, first: u64, end: u64) -> impl Iterator<Item = Rows> + '_ {
        let mut next = first;
        std::iter::from_fn(move || {
            if next >= end {
                return None;
            }
            let (run, within) = (next / self.run, next % self.run);
            let start = usize::try_from(run).ok().and_then(|run| self.starts.get(run)).expect("bug: a stage reads the rows that there are");
            let rows = Rows { first: next, count: (self.run - within).min(end - next), byte: start + within * self.stride };
            next += rows.count;
            Some(rows)
        })
    }

    /// Whether it is all of the tensor in the order in which it lies, in rows of `bytes`.
    pub fn is_whole(&self, bytes: u64) -> bool {
        // From a single row there is no way to the next.
        self.starts == [0] && (self.stride == bytes || self.run == 1) && self.run * bytes == self.tensor.bytes
    }

    /// Bytes that must cross DRAM's bus at least once for each time that all rows move: rows that are one are fetched once a run.
    pub fn least_bytes(&self, row: u64) -> u64 {
        self.starts.len() as u64 * if self.stride == 0 { 1 } else { self.run } * row
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rows_are_runs_a_stride_apart() {
        let tensor = Tensor { number: 0, format: crate::numerics::Dtype::Int8, zero_point: 0, bytes: 96, content: None };
        let factor = |size, stride| Factor { size, stride };
        let one = Operand::of(&tensor, 0, [factor(1, 96)]).unwrap();
        assert!(one.is_whole(96), "a single row is all that there is");
        let rows = Operand::of(&tensor, 0, [factor(2, 48), factor(3, 16)]).unwrap();
        assert!(rows.is_whole(16) && rows.starts == [0] && rows.run == 6);
        let heads = Operand::of(&tensor, 8, [factor(2, 16), factor(3, 32)]).unwrap();
        assert_eq!((heads.starts.as_slice(), heads.run, heads.stride, heads.is_whole(16)), (&[8, 24][..], 3, 32, false));
        let cut: Vec<_> = heads.rows(2, 5).collect();
        assert_eq!(cut, [Rows { first: 2, count: 1, byte: 72 }, Rows { first: 3, count: 2, byte: 24 }]);
        assert_eq!(Operand::of(&tensor, 0, [factor(1 << 17, 3), factor(2, 1)]), None, "too many runs to spell out");
    }
}
