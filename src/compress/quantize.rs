//! Post-training quantization: `q = clamp(round(x / scale) + zero_point)`, half to even.
//!
//! Weights are symmetric, with a scale for each output channel: `scale[n] = max_k |W[k][n]| / max`, so the most negative integer stays
//! unused. Values are affine (`values` says which share one quantization). Biases are integers in steps of `input scale * scale[n]`, as wide as
//! the usual accumulator (32 bits); a channel whose weights are so small that its bias would not fit gets a larger scale.

use super::{CompressError, Ranges, Scheme, values};
use crate::network::{Bias, Layer, LayerId, Network, NetworkBuilder, Op, Weight};
use crate::numerics::{Dtype, Quantization};
use ndarray::{Array, Array1, Axis, RemoveAxis};
use std::collections::BTreeMap;

/// The network with all weights of dense layers and convolutions, and all values, in integers; what is in integers already stays as it is.
/// Activations must be fused already (`network::fuse_activations`), so that one output quantization serves a layer and its activation;
/// layers keep their identities. A softmax at the end is the host's, and yields reals.
///
/// # Errors
/// Weights that are not finite, or a value that has no quantization and no range.
pub fn quantize(network: &Network, ranges: &Ranges, scheme: Scheme) -> Result<Network, CompressError> {
    let planned = values::plan(network, ranges, scheme)?;
    let mut builder = NetworkBuilder::new(network.name());
    let mut renamed: BTreeMap<LayerId, LayerId> = BTreeMap::new();
    for layer in network.layers() {
        let inputs: Vec<LayerId> = network.inputs(layer.id).iter().map(|id| renamed[id]).collect();
        let id = match &layer.op {
            Op::Input => builder.input_of(layer.name.clone(), layer.output.shape.clone(), layer.output.element)?,
            op => {
                let read = inputs.first().and_then(|id| builder.value(*id).quantization);
                builder.layer(layer.name.clone(), integers(layer, op, read, scheme)?, &inputs)?
            }
        };
        if let Some(quantization) = planned.get(&layer.id) {
            builder.quantize(id, *quantization);
        }
        renamed.insert(layer.id, id);
    }
    Ok(builder.finish(renamed[&network.output().id])?)
}

/// An operation with its weights and bias in integers, where it multiplies by weights.
fn integers(layer: &Layer, op: &Op, read: Option<Quantization>, scheme: Scheme) -> Result<Op, CompressError> {
    let mut op = op.clone();
    match &mut op {
        Op::Dense(dense) => held(layer, &mut dense.weight, &mut dense.bias, Axis(1), read, scheme)?,
        Op::Conv(conv) => held(layer, &mut conv.weight, &mut conv.bias, Axis(0), read, scheme)?,
        _ => {}
    }
    Ok(op)
}

/// Puts weights, whose channels lie along an axis, and their bias into integers.
fn held<D: RemoveAxis>(
    layer: &Layer,
    weight: &mut Weight<D>,
    bias: &mut Option<Bias>,
    channels: Axis,
    read: Option<Quantization>,
    scheme: Scheme,
) -> Result<(), CompressError> {
    let not_finite = || CompressError::WeightNotFinite { layer: layer.name.clone() };
    let input = read.ok_or_else(|| CompressError::NoRange { layer: layer.name.clone() })?.scale;
    let biases = match &bias {
        Some(Bias::Float(bias)) if bias.iter().any(|b| !b.is_finite()) => return Err(not_finite()),
        Some(Bias::Float(bias)) => Some(bias.clone()),
        Some(Bias::Integer(_)) | None => None,
    };
    if let Weight::Float(values) = weight {
        let least = |channel: usize| biases.as_ref().map_or(0.0, |biases| least_scale(biases[channel], input));
        let (values, scales) = quantize_weights(values, scheme.weight, channels, least).ok_or_else(not_finite)?;
        *weight = Weight::Integer { values, dtype: scheme.weight, scales, zero_points: Vec::new() };
    }
    if let (Some(biases), Weight::Integer { scales, .. }) = (biases, &*weight) {
        let scale = |channel: usize| if scales.len() == 1 { scales[0] } else { scales[channel] };
        let steps = biases.iter().enumerate().map(|(channel, b)| bias_steps(*b, input, scale(channel)));
        *bias = Some(Bias::Integer(Array1::from_iter(steps)));
    }
    Ok(())
}

/// The least scale of weights with which a bias takes at most 2^30 steps, so that sums have as much room in 32 bits.
fn least_scale(bias: f32, input_scale: f32) -> f32 {
    bias.abs() / (input_scale * 1_073_741_824.0)
}

/// Weights as integers with a scale a channel, none below `least`; `None` where one is not finite.
fn quantize_weights<D: RemoveAxis>(
    values: &Array<f32, D>,
    dtype: Dtype,
    channels: Axis,
    least: impl Fn(usize) -> f32,
) -> Option<(Array<i16, D>, Vec<f32>)> {
    if values.iter().any(|w| !w.is_finite()) {
        return None;
    }
    let mut scales = Vec::with_capacity(values.len_of(channels));
    let mut integers = Array::zeros(values.raw_dim());
    for (channel, (from, mut to)) in values.axis_iter(channels).zip(integers.axis_iter_mut(channels)).enumerate() {
        let mut quantization = Quantization::symmetric(dtype, from.iter().fold(0.0, |max: f32, w| max.max(w.abs())));
        quantization.scale = quantization.scale.max(least(channel));
        to.iter_mut()
            .zip(&from)
            .for_each(|(to, from)| *to = i16::try_from(quantization.quantize(*from)).expect("bug: a weight has at most 16 bits"));
        scales.push(quantization.scale);
    }
    Some((integers, scales))
}

/// A bias in steps of the accumulator, half to even, saturated to 32 bits.
fn bias_steps(bias: f32, input_scale: f32, weight_scale: f32) -> i64 {
    let steps = libm::rint(f64::from(bias) / (f64::from(input_scale) * f64::from(weight_scale)));
    #[expect(clippy::cast_possible_truncation, reason = "clamped to 32 bits")]
    let integer = steps.clamp(f64::from(i32::MIN), f64::from(i32::MAX)) as i64;
    integer
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn weights_get_a_scale_a_channel_and_zero_stays_zero() {
        let (integers, scales) =
            quantize_weights(&array![[1.27, 0.0], [-0.635, 0.0], [0.0, 0.0]], Dtype::Int8, Axis(1), |_| 0.0).expect("finite");
        assert_eq!(integers, array![[127, 0], [-64, 0], [0, 0]]);
        assert!((scales[0] - 0.01).abs() < 1e-9);
        assert_eq!(scales[1].to_bits(), 1.0_f32.to_bits(), "a channel of zeros has a scale that divides");
        assert_eq!(quantize_weights(&array![[f32::NAN]], Dtype::Int8, Axis(1), |_| 0.0), None);
    }

    #[test]
    fn a_bias_is_counted_in_steps_of_the_accumulator() {
        assert_eq!(bias_steps(1.0, 0.5, 0.25), 8);
        assert_eq!(bias_steps(1e30, 1.0, 1.0), i64::from(i32::MAX));
    }

    #[test]
    fn a_channel_of_tiny_weights_has_room_for_its_bias() {
        let least = |channel: usize| least_scale([0.5, 0.0][channel], 0.01);
        let (integers, scales) = quantize_weights(&array![[1e-9, 1e-9]], Dtype::Int8, Axis(1), least).expect("finite");
        assert!(integers[[0, 0]] < 127 && integers[[0, 1]] == 127);
        let bias = f64::from(scales[0]) * 0.01 * bias_steps(0.5, 0.01, scales[0]) as f64;
        assert!((bias - 0.5).abs() < 1e-6, "{bias}");
    }
}
