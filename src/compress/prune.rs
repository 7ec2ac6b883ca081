//! Steps that make weights zero and leave every shape as it is. Weights are K x channels in the chip's order (`matrix`).

use super::matrix::Matrix;
use super::recipe::{BlockShape, Scope, Step};
use std::cmp::Ordering;

/// Makes weights zero as a step says. `tile` is the rows and columns of the array's own tile. Other steps change nothing.
pub(super) fn prune(step: &Step, layers: &mut [Matrix], tile: [usize; 2]) {
    match step {
        Step::MeanThreshold { alpha, scope, .. } => in_scope(*scope, layers, |layers| mean_threshold(*alpha, layers)),
        Step::Magnitude { sparsity, scope, .. } => in_scope(*scope, layers, |layers| magnitude(*sparsity, layers)),
        Step::NM { n, m, .. } => layers.iter_mut().for_each(|layer| groups(*n, *m, layer)),
        Step::Block { shape, sparsity, .. } => {
            let size = match shape {
                BlockShape::Array => tile,
                BlockShape::Sized { rows, cols } => [*rows, *cols],
            };
            for layer in layers {
                blocks(size, *sparsity, layer);
            }
        }
        Step::Load(_)
        | Step::FineTune { .. }
        | Step::Channel { .. }
        | Step::FeatureMap { .. }
        | Step::LowRank { .. }
        | Step::Equalize { .. }
        | Step::Quantize { .. }
        | Step::MixedPrecision { .. } => {}
    }
}

fn in_scope(scope: Scope, layers: &mut [Matrix], prune: impl Fn(&mut [Matrix])) {
    match scope {
        Scope::Global => prune(layers),
        Scope::Layer => layers.iter_mut().for_each(|layer| prune(std::slice::from_mut(layer))),
    }
}

/// `|w| < alpha * mean(|W|)` becomes 0. Sums are in f64, layer by layer, K ascending.
fn mean_threshold(alpha: f64, layers: &mut [Matrix]) {
    let weights = || layers.iter().flat_map(|layer| &layer.values);
    let count = weights().count();
    let mean = weights().map(|w| f64::from(w.abs())).sum::<f64>() / count.max(1) as f64;
    let threshold = alpha * mean;
    for w in layers.iter_mut().flat_map(|layer| &mut layer.values) {
        if f64::from(w.abs()) < threshold {
            *w = 0.0;
        }
    }
}

/// The smallest `floor(sparsity * count)` become 0; of equal ones the first.
fn magnitude(sparsity: f64, layers: &mut [Matrix]) {
    let mut all: Vec<(f32, usize)> = layers.iter().flat_map(|layer| &layer.values).map(|w| w.abs()).zip(0..).collect();
    let gone = share(sparsity, all.len());
    if gone == 0 {
        return;
    }
    let (_, last, _) = all.select_nth_unstable_by(gone - 1, ascending);
    let last = *last;
    for (place, w) in layers.iter_mut().flat_map(|layer| &mut layer.values).enumerate() {
        if ascending(&(w.abs(), place), &last) != Ordering::Greater {
            *w = 0.0;
        }
    }
}

fn ascending(one: &(f32, usize), other: &(f32, usize)) -> Ordering {
    one.0.total_cmp(&other.0).then(one.1.cmp(&other.1))
}

/// `floor(share * count)`.
pub(super) fn share(share: f64, count: usize) -> usize {
    // A product such as 0.29 * 100 is a hair below the whole number that is meant.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count is a count")]
    let whole = libm::floor(share * count as f64 + 1e-9) as usize;
    whole.min(count)
}

/// Of each `m` weights along K, the last group may be shorter, the `n` largest stay; of equal ones the first.
fn groups(n: usize, m: usize, layer: &mut Matrix) {
    let rows = layer.values.nrows();
    for mut column in layer.values.columns_mut() {
        for start in (0..rows).step_by(m) {
            let mut group: Vec<usize> = (start..rows.min(start.saturating_add(m))).collect();
            group.sort_by(|one, other| column[*other].abs().total_cmp(&column[*one].abs()).then(one.cmp(other)));
            group.iter().skip(n).for_each(|k| column[*k] = 0.0);
        }
    }
}

/// Blocks with the least norms become 0; of equal ones the first. Blocks at the ends may be smaller; none reaches from a group of channels
/// into another, as on the chip.
fn blocks([rows, cols]: [usize; 2], sparsity: f64, layer: &mut Matrix) {
    let (inner, channels) = layer.values.dim();
    let mut all = Vec::new();
    for group in (0..channels).step_by(layer.group.max(1)) {
        let end = channels.min(group + layer.group.max(1));
        for col in (group..end).step_by(cols) {
            for row in (0..inner).step_by(rows) {
                let place = ndarray::s![row..inner.min(row.saturating_add(rows)), col..end.min(col.saturating_add(cols))];
                let norm: f64 = layer.values.slice(place).iter().map(|w| f64::from(*w) * f64::from(*w)).sum();
                all.push((norm, place));
            }
        }
    }
    let gone = share(sparsity, all.len());
    all.sort_by(|one, other| one.0.total_cmp(&other.0));
    all.into_iter().take(gone).for_each(|(_, place)| layer.values.slice_mut(place).fill(0.0));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Activation, Dense, NetworkBuilder, Op, Weight};
    use ndarray::{Array2, array};

    /// The matrix after a step.
    fn pruned(step: &str, values: Array2<f32>) -> Array2<f32> {
        let mut builder = NetworkBuilder::new("n");
        let input = builder.input("x", vec![values.nrows()]).unwrap();
        let dense = Dense { weight: Weight::Float(values), bias: None, activation: Activation::None };
        let output = builder.layer("fc", Op::Dense(dense), &[input]).unwrap();
        let network = builder.finish(output).unwrap();
        let mut layers = vec![Matrix::of(&network, network.layer(output)).unwrap()];
        prune(&step.parse().unwrap(), &mut layers, [2, 2]);
        layers.remove(0).values
    }

    #[test]
    fn each_step_is_what_it_is_by_hand() {
        let values = array![[1.0, -2.0], [-3.0, 4.0], [0.5, 0.5], [2.0, -1.0], [5.0, 1.0]];
        // The mean of magnitudes is 20 / 10 = 2; what equals the threshold stays.
        let mean = array![[0.0, -2.0], [-3.0, 4.0], [0.0, 0.0], [2.0, 0.0], [5.0, 0.0]];
        assert_eq!(pruned("mean:1", values.clone()), mean);
        assert_eq!(pruned("mean:0", values.clone()), values);
        // Of the three ones the first in row-major order goes.
        let smallest = array![[0.0, -2.0], [-3.0, 4.0], [0.0, 0.0], [2.0, -1.0], [5.0, 1.0]];
        assert_eq!(pruned("magnitude:0.3", values.clone()), smallest);
        let one_of_two = array![[0.0, 0.0], [-3.0, 4.0], [0.0, 0.0], [2.0, -1.0], [5.0, 1.0]];
        assert_eq!(pruned("nm:1:2", values.clone()), one_of_two);
        // Squared norms, from the top, column by column: 10, 4.25, 25 and 20, 1.25, 1.
        let by_column = array![[1.0, -2.0], [-3.0, 4.0], [0.0, 0.0], [0.0, 0.0], [5.0, 0.0]];
        assert_eq!(pruned("block:2x1,0.5", values.clone()), by_column);
        let by_array = array![[1.0, -2.0], [-3.0, 4.0], [0.0, 0.0], [0.0, 0.0], [5.0, 1.0]];
        assert_eq!(pruned("block:array,0.34", values), by_array);
        assert_eq!([share(0.29, 100), share(0.5, 5), share(0.0, 3), share(0.999, 10)], [29, 2, 0, 9]);
    }
}
