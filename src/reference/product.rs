//! The golden matrix product: plain loops under an accumulator's rule.

#![allow(clippy::needless_pass_by_value, reason = "a view is a reference already")]

use crate::numerics::AccumulateRule;
use ndarray::{Array2, ArrayView2, Axis};

/// N:M sparsity: of each group of `m` weights along K the places of `n` are multiplied.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Places that are multiplied.
    pub n: usize,
    /// Of this many.
    pub m: usize,
}

/// `activations` (M x K) by `weights` (K x N), each sum from 0, K ascending, one update for every `rule.chunk` products; with N:M sparsity the
/// products are those of the places that are kept: every weight that is not zero, and of the others the first as far as there is room.
///
/// # Panics
/// If the sizes do not fit each other.
pub fn product(activations: ArrayView2<'_, i16>, weights: ArrayView2<'_, i16>, rule: AccumulateRule, kept: Option<Kept>) -> Array2<i64> {
    assert_eq!(activations.ncols(), weights.nrows(), "activations and weights differ in K");
    let chunk = usize::try_from(rule.chunk).expect("bug: a chunk is an array's column at most");
    let mut sums = Array2::zeros((activations.nrows(), weights.ncols()));
    if never_overflows(activations, weights, rule) {
        exact(activations, weights, &mut sums);
        return sums;
    }
    for (column, mut sums) in weights.columns().into_iter().zip(sums.columns_mut()) {
        let weights = column.to_vec();
        let places: Vec<usize> = match kept {
            None => (0..weights.len()).collect(),
            Some(kept) => weights.chunks(kept.m).enumerate().flat_map(|(group, weights)| group_places(group, weights, kept)).collect(),
        };
        for (vector, sum) in activations.rows().into_iter().zip(&mut sums) {
            let value = |place: &usize| match (vector.get(*place), weights.get(*place)) {
                (Some(activation), Some(weight)) => i64::from(*activation) * i64::from(*weight),
                _ => 0,
            };
            *sum = places.chunks(chunk).fold(0, |sum, places| rule.update(sum, places.iter().map(value).sum()));
        }
    }
    sums
}

/// The rows of a group whose weights are multiplied: `n` of them, rows past the end of K for what a partial group does not have.
fn group_places(group: usize, weights: &[i16], kept: Kept) -> Vec<usize> {
    let real = kept.n.min(weights.len());
    let mut spare = real.saturating_sub(weights.iter().filter(|weight| **weight != 0).count());
    let mut places = Vec::with_capacity(kept.n);
    for (row, weight) in weights.iter().enumerate() {
        if *weight == 0 && spare == 0 {
            continue;
        }
        spare -= usize::from(*weight == 0);
        places.push(group * kept.m + row);
    }
    places.resize(kept.n, usize::MAX);
    places
}

/// Whether no order of products can leave the accumulator's range.
fn never_overflows(activations: ArrayView2<'_, i16>, weights: ArrayView2<'_, i16>, rule: AccumulateRule) -> bool {
    let largest = |values: ArrayView2<'_, i16>| values.iter().map(|value| i64::from(*value).abs()).max().unwrap_or(0);
    let inner = i64::try_from(weights.nrows()).unwrap_or(i64::MAX);
    let reach = i128::from(largest(activations)) * i128::from(largest(weights)) * i128::from(inner);
    reach < 1 << (rule.bits - 1)
}

/// Sums that fit, in the order that is fastest.
fn exact(activations: ArrayView2<'_, i16>, weights: ArrayView2<'_, i16>, sums: &mut Array2<i64>) {
    let weights = weights.mapv(i32::from);
    // 32 bits hold this many products of 16-bit numbers only if they are small; sums of a few rows of K at a time are widened.
    let largest = activations.iter().map(|value| i64::from(*value).abs()).max().unwrap_or(0);
    let heaviest = weights.iter().map(|value| i64::from(*value).abs()).max().unwrap_or(0);
    let at_once = usize::try_from(i64::from(i32::MAX) / (largest * heaviest).max(1)).unwrap_or(usize::MAX).max(1);
    let mut narrow = vec![0_i32; weights.ncols()];
    for (vector, mut sums) in activations.rows().into_iter().zip(sums.rows_mut()) {
        let parts = vector.axis_chunks_iter(Axis(0), at_once).zip(weights.axis_chunks_iter(Axis(0), at_once));
        for (elements, rows) in parts {
            narrow.fill(0);
            for (element, row) in elements.iter().zip(rows.rows()) {
                let element = i32::from(*element);
                for (sum, weight) in narrow.iter_mut().zip(row) {
                    *sum += element * weight;
                }
            }
            for (sum, narrow) in sums.iter_mut().zip(&narrow) {
                *sum += i64::from(*narrow);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::numerics::Overflow;
    use ndarray::array;

    #[test]
    fn sums_saturate_and_wrap_chunk_by_chunk() {
        let (a, w) = (array![[100_i16, 100, -100, 27]], array![[1_i16], [1], [1], [1]]);
        let of = |overflow, chunk| product(a.view(), w.view(), AccumulateRule { bits: 8, overflow, chunk }, None)[(0, 0)];
        assert_eq!(of(Overflow::Saturate, 1), 54, "100, 127, 27, 54");
        assert_eq!(of(Overflow::Saturate, 2), 54, "127, then -73");
        assert_eq!(of(Overflow::Saturate, 4), 127);
        assert_eq!(of(Overflow::Wrap, 1), 127);
    }

    #[test]
    fn both_ways_agree_where_nothing_overflows() {
        let a = Array2::from_shape_fn((3, 7), |(m, k)| i16::try_from(m * 7 + k).expect("small") * 311 - 1500);
        let w = Array2::from_shape_fn((7, 2), |(k, n)| i16::try_from(k * 2 + n).expect("small") * 177 - 900);
        let plain = Array2::from_shape_fn((3, 2), |(m, n)| (0..7).map(|k| i64::from(a[(m, k)]) * i64::from(w[(k, n)])).sum::<i64>());
        for bits in [26, 40, 64] {
            let rule = AccumulateRule { bits, overflow: Overflow::Saturate, chunk: 2 };
            assert_eq!(product(a.view(), w.view(), rule, None), plain);
        }
    }

    #[test]
    fn kept_places_are_the_weights_and_the_first_others() {
        let kept = Kept { n: 2, m: 4 };
        assert_eq!(group_places(1, &[0, 3, 0, 5], kept), [5, 7]);
        assert_eq!(group_places(0, &[0, 0, 0, 5], kept), [0, 3]);
        assert_eq!(group_places(2, &[7], kept), [8, usize::MAX]);
    }
}
