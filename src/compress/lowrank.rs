//! Two cheaper layers in place of one: `W ~ A B`, the best of its rank in the least squares, from singular values.
//!
//! A dense layer K x N becomes K x r and r x N. A convolution becomes r filters of the same size, stride and border, and a 1 x 1 convolution
//! that mixes them (C. Tai et al. and X. Zhang et al., 2015, call it a channel decomposition). The first has neither bias nor activation.

use super::CompressError;
use super::matrix::Matrix;
use super::rebuild::rebuilt;
use super::recipe::{Keep, Step};
use crate::network::{Activation, Conv, Dense, LayerId, Network, Op, Weight};
use nalgebra::DMatrix;
use ndarray::{Array2, Array4};

/// The network with the named layers in two, where that takes fewer multiply-accumulates.
pub(super) fn low_rank(network: &Network, step: &Step, keep: Keep, named: &[LayerId]) -> Result<Network, CompressError> {
    let mut any = false;
    let made = rebuilt(network, |layer| {
        let whole = vec![(layer.name.clone(), layer.op.clone())];
        let in_groups = matches!(&layer.op, Op::Conv(conv) if conv.groups > 1);
        if in_groups || !named.contains(&layer.id) {
            return Ok(whole);
        }
        let matrix = Matrix::of(network, layer)?.values;
        let (inner, outputs) = matrix.dim();
        // The rank from which on two layers are no cheaper than one.
        let cheaper = |rank: usize| rank.saturating_mul(inner + outputs) < inner * outputs;
        if let Keep::Rank(rank) = keep
            && !cheaper(rank)
        {
            return Ok(whole);
        }
        let values = DMatrix::from_fn(inner, outputs, |k, n| f64::from(matrix[[k, n]]));
        let svd = values.svd(true, true);
        let (Some(u), Some(v)) = (svd.u, svd.v_t) else { unreachable!("bug: both sides were asked for") };
        let singular: Vec<f64> = svd.singular_values.iter().copied().collect();
        let rank = match keep {
            Keep::Rank(rank) => rank.min(singular.len()),
            Keep::Energy(energy) => of_energy(&singular, energy),
        };
        if !cheaper(rank) {
            return Ok(whole);
        }
        any = true;
        #[expect(clippy::cast_possible_truncation, reason = "weights are f32")]
        let side = |value: f64, singular: f64| (value * libm::sqrt(singular)) as f32;
        let left = Array2::from_shape_fn((inner, rank), |(k, r)| side(u[(k, r)], singular[r]));
        let right = Array2::from_shape_fn((rank, outputs), |(r, n)| side(v[(r, n)], singular[r]));
        let [first, second] = in_two(network, layer.id, left, right);
        Ok(vec![(format!("{}/low_rank", layer.name), first), (layer.name.clone(), second)])
    })?;
    if any {
        return Ok(made);
    }
    let help =
        "a K x N layer in two takes r (K + N) products in place of K N: choose a smaller rank or energy; convolutions in groups stay";
    Err(step.fault("no layer that it names would become cheaper", help))
}

/// The fewest singular values, the greatest first, whose squares sum to this share of all.
fn of_energy(singular: &[f64], energy: f64) -> usize {
    let all: f64 = singular.iter().map(|s| s * s).sum();
    let mut sum = 0.0;
    let reaches = |s: &f64| {
        sum += s * s;
        sum >= energy * all
    };
    singular.iter().position(reaches).map_or(singular.len(), |place| place + 1).max(1)
}

/// The two operations of weights K x r and r x N in the chip's order of K.
fn in_two(network: &Network, id: LayerId, left: Array2<f32>, right: Array2<f32>) -> [Op; 2] {
    let layer = network.layer(id);
    let rank = right.nrows();
    match &layer.op {
        Op::Dense(dense) => {
            let first = Dense { weight: Weight::Float(Array2::zeros((left.nrows(), rank))), bias: None, activation: Activation::None };
            let first = Matrix::like(network, layer, left).into_op(&Op::Dense(first));
            [first, Op::Dense(Dense { weight: Weight::Float(right), ..dense.clone() })]
        }
        Op::Conv(conv) => {
            let &[outputs, channels, rows, columns] = conv.weight.shape() else { unreachable!("bug: filters have four axes") };
            let first = Conv {
                weight: Weight::Float(Array4::zeros((rank, channels, rows, columns))),
                bias: None,
                activation: Activation::None,
                ..conv.clone()
            };
            let mixing = Array4::from_shape_fn((outputs, rank, 1, 1), |(n, r, _, _)| right[[r, n]]);
            let second = Conv { weight: Weight::Float(mixing), stride: [1, 1], dilation: [1, 1], padding: [0; 4], ..conv.clone() };
            [Matrix::like(network, layer, left).into_op(&Op::Conv(first)), Op::Conv(second)]
        }
        _ => unreachable!("bug: weights belong to dense layers and convolutions"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn energy_is_a_share_of_the_squares() {
        // Squares 9, 4, 1 of 14.
        for (energy, rank) in [(0.1, 1), (9.0 / 14.0, 1), (0.65, 2), (13.0 / 14.0, 2), (0.95, 3), (1.0, 3)] {
            assert_eq!(of_energy(&[3.0, 2.0, 1.0], energy), rank, "{energy}");
        }
        assert_eq!(of_energy(&[0.0, 0.0], 0.5), 1);
    }
}
