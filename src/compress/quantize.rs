//! Post-training quantization: `q = clamp(round(x / scale) + zero_point)`, half to even.
//!
//! Weights are symmetric, with a scale for each output channel, `scale[n] = max_k |W[k][n]| / max`, or one for all: the most negative integer stays
//! unused. Binary ones are signs, +1 for 0, and their scale is the mean of magnitudes (XNOR-Net). Values are affine or symmetric (`values` says which
//! share one quantization, `formats` how many bits they have). Biases are integers in steps of `input scale * scale[n]`, as wide as
//! the usual accumulator: 32 bits, or 48 where 16 bits meet 16. A channel whose weights are so small that its bias would not fit gets a larger scale.

use super::formats::LayerFormats;
use super::rebuild::remade;
use super::{CompressError, Formats, Granularity, Ranges, values};
use crate::network::{Activation, Bias, Border, Function, Layer, Network, Op, Weight};
use crate::numerics::{Dtype, Quantization, of_channel};
use ndarray::{Array, Array1, ArrayView, Axis, RemoveAxis, Slice};

/// The network with all weights of dense layers and convolutions, and all values, in integers; what is in integers already stays as it is.
/// Activations must be fused already (`network::fuse_activations`), so that one output quantization serves a layer and its activation;
/// layers keep their identities. A softmax at the end is the host's, and yields reals. What formats differ between what yields a value and what reads
/// it needs roundings between them ([`super::with_roundings`]).
///
/// A relu or clip whose result is binary is left out: a sign takes its place, which would be +1 behind it always.
///
/// # Errors
/// A step that names no layer, weights that are not finite, or a value that has no quantization and no range.
pub fn quantize(network: &Network, ranges: &Ranges, formats: impl Into<Formats>) -> Result<Network, CompressError> {
    let formats = formats.into().resolve(network)?;
    let planned = values::plan(network, ranges, &formats)?;
    remade(
        network,
        |layer| planned.get(&layer.id).copied(),
        |builder, layer, inputs| {
            let read = inputs.first().and_then(|id| builder.value(*id).quantization);
            let is_sign = planned.get(&layer.id).is_some_and(|quantization| quantization.dtype == Dtype::Binary);
            let op = without_activation(layer.op.clone(), is_sign && layer.output.quantization.is_none());
            Ok(builder.layer(layer.name.clone(), integers(layer, op, read, formats.of(layer))?, &inputs)?)
        },
    )
}

/// An operation whose result is a sign, where it is: relus and clips before it would make it +1.
fn without_activation(mut op: Op, is_sign: bool) -> Op {
    match &mut op {
        Op::Dense(dense) if is_sign => dense.activation = Activation::None,
        Op::Conv(conv) if is_sign => conv.activation = Activation::None,
        Op::Unary(Function::Relu | Function::Clip { .. }) if is_sign => return Op::Quantize,
        _ => {}
    }
    op
}

/// An operation with its weights and bias in integers, where it multiplies by weights.
fn integers(layer: &Layer, mut op: Op, read: Option<Quantization>, formats: LayerFormats) -> Result<Op, CompressError> {
    match &mut op {
        Op::Dense(dense) => held(layer, &mut dense.weight, &mut dense.bias, Axis(1), read, formats)?,
        Op::Conv(conv) => {
            // Signs have no zero for a border: -1 is the bit 0.
            let is_new = matches!(conv.weight, Weight::Float(_)) && conv.border == Border::Zero;
            if is_new && read.is_some_and(|read| read.dtype == Dtype::Binary) {
                conv.border = Border::Minus;
            }
            held(layer, &mut conv.weight, &mut conv.bias, Axis(0), read, formats)?;
        }
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
    formats: LayerFormats,
) -> Result<(), CompressError> {
    let not_finite = || CompressError::WeightNotFinite { layer: layer.name.clone() };
    let read = read.ok_or_else(|| CompressError::NoRange { layer: layer.name.clone() })?;
    let (input, dtype) = (read.scale, formats.scheme.weight);
    let biases = match &bias {
        Some(Bias::Float(bias)) if bias.iter().any(|b| !b.is_finite()) => return Err(not_finite()),
        Some(Bias::Float(bias)) => Some(bias.clone()),
        Some(Bias::Integer(_)) | None => None,
    };
    if let Weight::Float(values) = weight {
        let bits = sum_bits(dtype, read.dtype);
        let least = |channel: usize| biases.as_ref().map_or(0.0, |biases| least_scale(biases[channel], input, bits));
        let (values, scales) = quantize_weights(values, dtype, formats.weights, channels, least).ok_or_else(not_finite)?;
        *weight = Weight::Integer { values, dtype, scales, zero_points: Vec::new() };
    }
    if let (Some(biases), Weight::Integer { scales, dtype, .. }) = (biases, &*weight) {
        let bits = sum_bits(*dtype, read.dtype);
        let steps = biases.iter().enumerate().map(|(channel, b)| bias_steps(*b, input, of_channel(scales, channel), bits));
        *bias = Some(Bias::Integer(Array1::from_iter(steps)));
    }
    Ok(())
}

/// Bits of the usual accumulator of products of two formats.
pub(super) fn sum_bits(weight: Dtype, activation: Dtype) -> u32 {
    if weight.bits() + activation.bits() > 24 { 48 } else { 32 }
}

/// The least scale of weights with which a bias takes at most a quarter of the sums' range, 2^30 steps of 32 bits, so that sums have as much room.
fn least_scale(bias: f32, input_scale: f32, bits: u32) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "a power of two")]
    let most = libm::ldexp(1.0, bits.cast_signed() - 2) as f32;
    bias.abs() / (input_scale * most)
}

/// Weights as integers with a scale a channel or one for all, none below `least` of any channel that it is for; `None` where one is not finite.
fn quantize_weights<D: RemoveAxis>(
    values: &Array<f32, D>,
    dtype: Dtype,
    granularity: Granularity,
    channels: Axis,
    least: impl Fn(usize) -> f32,
) -> Option<(Array<i16, D>, Vec<f32>)> {
    if values.iter().any(|w| !w.is_finite()) {
        return None;
    }
    let of = |values: ArrayView<'_, f32, D>, least: f32| {
        if dtype == Dtype::Binary {
            let mean = values.iter().map(|w| f64::from(w.abs())).sum::<f64>() / values.len().max(1) as f64;
            #[expect(clippy::cast_possible_truncation, reason = "a scale is f32")]
            let mean = mean as f32;
            // Where all are zero nothing stands for them but what is next to nothing beside the bias.
            let scale = if mean.is_normal() { mean } else { least.max(LEAST_SCALE) };
            return Quantization { dtype, scale, zero_point: 0 };
        }
        let mut quantization = Quantization::symmetric(dtype, values.iter().fold(0.0, |max: f32, w| max.max(w.abs())));
        quantization.scale = quantization.scale.max(least);
        quantization
    };
    let count = values.len_of(channels);
    let found: Vec<Quantization> = match granularity {
        Granularity::PerTensor => vec![of(values.view(), (0..count).map(&least).fold(0.0, f32::max))],
        Granularity::PerChannel => {
            (0..count).map(|channel| of(values.slice_axis(channels, Slice::from(channel..=channel)), least(channel))).collect()
        }
    };
    let mut integers = Array::zeros(values.raw_dim());
    for (channel, (from, mut to)) in values.axis_iter(channels).zip(integers.axis_iter_mut(channels)).enumerate() {
        let quantization = of_channel(&found, channel);
        to.iter_mut()
            .zip(&from)
            .for_each(|(to, from)| *to = i16::try_from(quantization.quantize(*from)).expect("bug: a weight has at most 16 bits"));
    }
    Some((integers, found.iter().map(|quantization| quantization.scale).collect()))
}

/// The scale of binary weights that all are zero, without a bias.
const LEAST_SCALE: f32 = 1e-30;

/// A bias in steps of the accumulator, half to even, saturated to its bits.
fn bias_steps(bias: f32, input_scale: f32, weight_scale: f32, bits: u32) -> i64 {
    let steps = libm::rint(f64::from(bias) / (f64::from(input_scale) * f64::from(weight_scale)));
    let most = libm::ldexp(1.0, bits.cast_signed() - 1);
    #[expect(clippy::cast_possible_truncation, reason = "clamped to at most 48 bits")]
    let integer = steps.clamp(-most, most - 1.0) as i64;
    integer
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn weights_get_a_scale_a_channel_and_zero_stays_zero() {
        let (integers, scales) =
            quantize_weights(&array![[1.27, 0.0], [-0.635, 0.0], [0.0, 0.0]], Dtype::Int8, Granularity::PerChannel, Axis(1), |_| 0.0)
                .expect("finite");
        assert_eq!(integers, array![[127, 0], [-64, 0], [0, 0]]);
        assert!((scales[0] - 0.01).abs() < 1e-9);
        assert_eq!(scales[1].to_bits(), 1.0_f32.to_bits(), "a channel of zeros has a scale that divides");
        assert_eq!(quantize_weights(&array![[f32::NAN]], Dtype::Int8, Granularity::PerChannel, Axis(1), |_| 0.0), None);
    }

    #[test]
    fn each_width_has_its_scales_a_channel_and_for_all() {
        let weights = array![[0.875, -0.218_75], [-0.4375, 0.046_875], [0.125, 0.109_375]];
        let of = |dtype, granularity| quantize_weights(&weights, dtype, granularity, Axis(1), |_| 0.0).expect("finite");
        let is_near = |found: &[f32], wanted: &[f32]| {
            found.iter().zip(wanted).all(|(x, y)| (x / y - 1.0).abs() < 1e-6) && found.len() == wanted.len()
        };
        let (integers, scales) = of(Dtype::Int4, Granularity::PerChannel);
        assert_eq!(integers, array![[7, -7], [-4, 2], [1, 4]], "steps of 1/8, -3.5 to even; of 1/32, 1.5 and 3.5");
        assert!(is_near(&scales, &[0.125, 0.03125]));
        let (integers, scales) = of(Dtype::Int4, Granularity::PerTensor);
        assert_eq!(integers.column(1), array![-2, 0, 1], "-1.75, 0.375 and 0.875");
        assert!(is_near(&scales, &[0.125]));
        let (integers, scales) = of(Dtype::Int2, Granularity::PerChannel);
        assert_eq!(integers, array![[1, -1], [0, 0], [0, 0]]);
        assert!(is_near(&scales, &[0.875, 0.218_75]));
        let (integers, scales) = of(Dtype::Int16, Granularity::PerChannel);
        assert_eq!(integers[[0, 0]], 32767);
        assert!(is_near(&scales, &[0.875 / 32767.0, 0.218_75 / 32767.0]));
        let (integers, scales) = of(Dtype::Binary, Granularity::PerChannel);
        assert_eq!(integers, array![[1, -1], [-1, 1], [1, 1]]);
        assert!(is_near(&scales, &[1.4375 / 3.0, 0.125]), "mean magnitudes: {scales:?}");
        let (_, scales) = of(Dtype::Binary, Granularity::PerTensor);
        assert!(is_near(&scales, &[1.8125 / 6.0]));
    }

    #[test]
    fn a_bias_is_counted_in_steps_of_the_accumulator() {
        assert_eq!(bias_steps(1.0, 0.5, 0.25, 32), 8);
        assert_eq!(bias_steps(1e30, 1.0, 1.0, 32), i64::from(i32::MAX));
    }

    #[test]
    fn a_channel_of_tiny_weights_has_room_for_its_bias() {
        let least = |channel: usize| least_scale([0.5, 0.0][channel], 0.01, 32);
        let (integers, scales) =
            quantize_weights(&array![[1e-9, 1e-9]], Dtype::Int8, Granularity::PerChannel, Axis(1), least).expect("finite");
        assert!(integers[[0, 0]] < 127 && integers[[0, 1]] == 127);
        let bias = f64::from(scales[0]) * 0.01 * bias_steps(0.5, 0.01, scales[0], 32) as f64;
        assert!((bias - 0.5).abs() < 1e-6, "{bias}");
    }
}
