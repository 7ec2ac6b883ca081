//! Weights of a layer as the chip multiplies them: K x channels, K running over filter rows, filter columns and the channels of a group,
//! channels innermost (as `mapping::lower` lays them). The same for each group of a convolution; columns of a group stand side by side.
//!
//! A dense layer that reads a flattened image reads it as the image that it was, so that its K too has channels innermost.

use super::CompressError;
use crate::network::{Function, Layer, Network, Op, Weight, exchanged, filters_as_rows};
use ndarray::Array2;

/// Float weights in the chip's order.
pub(super) struct Matrix {
    /// K x channels.
    pub(super) values: Array2<f32>,
    /// Channels of a group.
    pub(super) group: usize,
    /// Where K's elements lie in the layer's own order, of a dense layer behind a flattened image: its channels and pixels.
    image: Option<(usize, usize)>,
}

/// Whether a layer has weights of its own that are multiplied.
pub(super) fn has_weights(layer: &Layer) -> bool {
    matches!(layer.op, Op::Dense(_) | Op::Conv(_))
}

/// Whether an operation multiplies by weights that are reals.
pub(super) fn has_float_weights(op: &Op) -> bool {
    match op {
        Op::Dense(dense) => matches!(dense.weight, Weight::Float(_)),
        Op::Conv(conv) => matches!(conv.weight, Weight::Float(_)),
        _ => false,
    }
}

/// Whether a network comes in integers: it has weights, and none of them are reals.
pub fn comes_in_integers(network: &Network) -> bool {
    let mut weighted = network.layers().filter(|layer| has_weights(layer)).peekable();
    weighted.peek().is_some() && weighted.all(|layer| !has_float_weights(&layer.op))
}

/// How many weights a layer has, and how many of them are zero.
pub(super) fn counts(op: &Op) -> (u64, u64) {
    let zeros = |sparsity: f64, len: usize| {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count, rounded")]
        let zeros = libm::rint(sparsity * len as f64) as u64;
        (len as u64, zeros)
    };
    match op {
        Op::Dense(dense) => zeros(dense.weight.sparsity(), dense.weight.len()),
        Op::Conv(conv) => zeros(conv.weight.sparsity(), conv.weight.len()),
        _ => (0, 0),
    }
}

impl Matrix {
    /// The weights of a dense layer or a convolution.
    ///
    /// # Errors
    /// Weights that are integers already, or not finite.
    pub(super) fn of(network: &Network, layer: &Layer) -> Result<Self, CompressError> {
        if has_weights(layer) && !has_float_weights(&layer.op) {
            return Err(CompressError::AlreadyQuantized { layer: layer.name.clone() });
        }
        Self::reals(network, layer)
    }

    /// The weights of a dense layer or a convolution as reals, whatever holds them.
    ///
    /// # Errors
    /// Weights that are not finite.
    pub(super) fn reals(network: &Network, layer: &Layer) -> Result<Self, CompressError> {
        let (values, group, image) = match &layer.op {
            Op::Dense(dense) => {
                let weights = dense.weight.to_reals();
                let image = flattened(network, layer).filter(|(channels, pixels)| channels * pixels == dense.inputs());
                let values = match image {
                    Some((channels, _)) => exchanged(&weights, channels),
                    None => weights,
                };
                (values, dense.outputs(), image)
            }
            Op::Conv(conv) => (filters_as_rows(conv.weight.to_reals()), conv.outputs() / conv.groups.max(1), None),
            _ => unreachable!("bug: weights belong to dense layers and convolutions"),
        };
        if values.iter().any(|w| !w.is_finite()) {
            return Err(CompressError::WeightNotFinite { layer: layer.name.clone() });
        }
        Ok(Self { values, group, image })
    }

    /// Other weights in the order of `layer`'s K, of which as many channels as there are columns.
    pub(super) fn like(network: &Network, layer: &Layer, values: Array2<f32>) -> Self {
        let image = match &layer.op {
            Op::Dense(dense) => flattened(network, layer).filter(|(channels, pixels)| channels * pixels == dense.inputs()),
            _ => None,
        };
        Self { group: values.ncols(), values, image }
    }

    /// The layer's operation with these weights, in its own order.
    pub(super) fn into_op(self, op: &Op) -> Op {
        let mut op = op.clone();
        match &mut op {
            Op::Dense(dense) => {
                let values = match self.image {
                    Some((_, pixels)) => exchanged(&self.values, pixels),
                    None => self.values,
                };
                dense.weight = Weight::Float(values);
            }
            Op::Conv(conv) => {
                let &[outputs, channels, rows, columns] = conv.weight.shape() else { unreachable!("bug: filters have four axes") };
                let values =
                    self.values.into_shape_with_order((rows, columns, channels, outputs)).expect("bug: as many elements as before");
                conv.weight = Weight::Float(values.permuted_axes([3, 2, 0, 1]).as_standard_layout().into_owned());
            }
            _ => unreachable!("bug: weights belong to dense layers and convolutions"),
        }
        op
    }
}

/// Channels and pixels of the image that a layer reads flattened, channels outermost, with functions between at most.
fn flattened(network: &Network, layer: &Layer) -> Option<(usize, usize)> {
    let mut read = network.layer(*network.inputs(layer.id).first()?);
    loop {
        let before = network.layer(*network.inputs(read.id).first()?);
        match &read.op {
            Op::Unary(function) if !matches!(function, Function::PRelu { .. }) => read = before,
            Op::Reshape(shape) if shape.len() == 1 && before.output.shape.len() == 3 => {
                let channels = before.output.shape[0];
                return lies_by_pixel(network, before).then(|| (channels, before.output.elements() / channels));
            }
            _ => return None,
        }
    }
}

/// Whether an image lies with channels innermost: any but the network's input that nothing reads as an image.
fn lies_by_pixel<'n>(network: &'n Network, mut image: &'n Layer) -> bool {
    while let (Op::Unary(_) | Op::Quantize | Op::BinaryConstant(_), Some(before)) = (&image.op, network.inputs(image.id).first()) {
        image = network.layer(*before);
    }
    image.op != Op::Input || network.read_as_image(image.id).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::Border;
    use crate::network::{Activation, Conv, Dense, NetworkBuilder};
    use ndarray::{Array1, Array4};

    #[test]
    fn k_runs_over_rows_columns_and_channels_and_comes_back() {
        let mut builder = NetworkBuilder::new("n");
        let input = builder.input("x", vec![4, 3, 3]).unwrap();
        let filters = Array1::from_iter((0..6 * 2 * 2 * 2).map(|n| n as f32)).into_shape_with_order((6, 2, 2, 2)).unwrap();
        let conv = Conv {
            weight: Weight::Float(filters.clone()),
            bias: None,
            stride: [1, 1],
            dilation: [1, 1],
            padding: [0; 4],
            border: Border::Zero,
            groups: 2,
            activation: Activation::Relu,
        };
        let conv = builder.layer("conv", Op::Conv(conv), &[input]).unwrap();
        let flat = builder.layer("flat", Op::Reshape(vec![24]), &[conv]).unwrap();
        let rows = Array2::from_shape_fn((24, 2), |(k, n)| (k * 10 + n) as f32);
        let dense = Dense { weight: Weight::Float(rows), bias: None, activation: Activation::None };
        let output = builder.layer("fc", Op::Dense(dense), &[flat]).unwrap();
        let network = builder.finish(output).unwrap();
        let of = |id| (network.layer(id), Matrix::of(&network, network.layer(id)).unwrap());
        let (layer, matrix) = of(conv);
        assert_eq!((matrix.values.dim(), matrix.group), ((8, 6), 3));
        // k = (row * 2 + column) * 2 + channel.
        for (k, (channel, row, column)) in [(0, (0, 0, 0)), (1, (1, 0, 0)), (2, (0, 0, 1)), (5, (1, 1, 0))] {
            assert_eq!(matrix.values[[k, 4]].to_bits(), filters[[4, channel, row, column]].to_bits());
        }
        assert_eq!(matrix.into_op(&layer.op), layer.op);
        let (layer, matrix) = of(output);
        // Pixel 1 of channel 3 is element 3 * 4 + 1 of the flattened image, and element 1 * 6 + 3 of K.
        assert_eq!(matrix.values[[9, 1]].to_bits(), 131.0_f32.to_bits());
        assert_eq!(matrix.into_op(&layer.op), layer.op);
        assert_eq!(
            counts(&Op::Conv(Conv {
                weight: Weight::Float(Array4::zeros((2, 1, 3, 3))),
                ..match &network.layer(conv).op {
                    Op::Conv(conv) => conv.clone(),
                    _ => unreachable!(),
                }
            })),
            (18, 18)
        );
    }
}
