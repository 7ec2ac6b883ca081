//! Post-training quantization: `q = clamp(round(x / scale) + zero_point)`, half to even.
//!
//! Weights are symmetric, with a scale for each output channel: `scale[n] = max_k |W[k][n]| / max`, so the most negative integer stays
//! unused. Values are affine, over their calibrated range widened to hold zero. Biases are integers in steps of `input scale * scale[n]`,
//! as wide as the usual accumulator (32 bits).

use super::{CompressError, Ranges, Scheme};
use crate::network::{Bias, Dense, Layer, LayerId, Network, NetworkBuilder, Op, Weight};
use crate::numerics::{Dtype, Quantization};
use ndarray::{Array1, Array2, Axis};
use std::collections::BTreeMap;

/// The network with every dense layer, and every value that one reads or yields, in integers. Activations must be fused already
/// (`network::fuse_activations`), so that one output quantization serves a layer and its activation; layers keep their identities.
///
/// # Errors
/// Weights that are not finite, or a network that is quantized already.
pub fn quantize(network: &Network, ranges: &Ranges, scheme: Scheme) -> Result<Network, CompressError> {
    let mut builder = NetworkBuilder::new(network.name());
    let mut renamed: BTreeMap<LayerId, LayerId> = BTreeMap::new();
    for layer in network.layers() {
        let inputs: Vec<LayerId> = network.inputs(layer.id).iter().map(|id| renamed[id]).collect();
        let id = match &layer.op {
            Op::Input => {
                let id = builder.input_of(layer.name.clone(), layer.output.shape.clone(), layer.output.element)?;
                builder.quantize(id, value_quantization(ranges, layer.id, scheme));
                id
            }
            Op::Dense(dense) => match builder.value(inputs[0]).quantization {
                Some(input) => {
                    let dense = quantize_dense(layer, dense, input, scheme)?;
                    let id = builder.layer(layer.name.clone(), Op::Dense(dense), &inputs)?;
                    builder.quantize(id, value_quantization(ranges, layer.id, scheme));
                    id
                }
                // What it reads is not held in integers, so neither is it: the chip's lowering says so by the layer's name.
                None => builder.layer(layer.name.clone(), layer.op.clone(), &inputs)?,
            },
            Op::Reshape(_) => {
                let id = builder.layer(layer.name.clone(), layer.op.clone(), &inputs)?;
                if let Some(quantization) = builder.value(inputs[0]).quantization {
                    builder.quantize(id, quantization);
                }
                id
            }
            _ => builder.layer(layer.name.clone(), layer.op.clone(), &inputs)?,
        };
        renamed.insert(layer.id, id);
    }
    Ok(builder.finish(renamed[&network.output().id])?)
}

fn value_quantization(ranges: &Ranges, id: LayerId, scheme: Scheme) -> Quantization {
    let (min, max) = ranges.of(id);
    Quantization::affine(scheme.activation, min, max)
}

fn quantize_dense(layer: &Layer, dense: &Dense, input: Quantization, scheme: Scheme) -> Result<Dense, CompressError> {
    let Weight::Float(values) = &dense.weight else { return Err(CompressError::AlreadyQuantized { layer: layer.name.clone() }) };
    let (integers, scales) =
        quantize_weights(values, scheme.weight).ok_or_else(|| CompressError::WeightNotFinite { layer: layer.name.clone() })?;
    let bias = match &dense.bias {
        None => None,
        Some(Bias::Integer(_)) => return Err(CompressError::AlreadyQuantized { layer: layer.name.clone() }),
        Some(Bias::Float(bias)) => {
            if bias.iter().any(|b| !b.is_finite()) {
                return Err(CompressError::WeightNotFinite { layer: layer.name.clone() });
            }
            let steps = bias.iter().zip(&scales).map(|(b, scale)| bias_steps(*b, input.scale, *scale));
            Some(Bias::Integer(Array1::from_iter(steps)))
        }
    };
    Ok(Dense {
        weight: Weight::Integer { values: integers, dtype: scheme.weight, scales, zero_points: Vec::new() },
        bias,
        activation: dense.activation,
    })
}

/// K x N weights as integers with a scale a channel; `None` where one is not finite.
fn quantize_weights(values: &Array2<f32>, dtype: Dtype) -> Option<(Array2<i16>, Vec<f32>)> {
    if values.iter().any(|w| !w.is_finite()) {
        return None;
    }
    let channels: Vec<Quantization> = values
        .axis_iter(Axis(1))
        .map(|channel| Quantization::symmetric(dtype, channel.iter().fold(0.0, |max: f32, w| max.max(w.abs()))))
        .collect();
    let mut integers = Array2::zeros(values.dim());
    for ((k, n), integer) in integers.indexed_iter_mut() {
        *integer = i16::try_from(channels[n].quantize(values[[k, n]])).expect("bug: a weight has at most 16 bits");
    }
    Some((integers, channels.iter().map(|channel| channel.scale).collect()))
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
        let (integers, scales) = quantize_weights(&array![[1.27, 0.0], [-0.635, 0.0], [0.0, 0.0]], Dtype::Int8).expect("finite");
        assert_eq!(integers, array![[127, 0], [-64, 0], [0, 0]]);
        assert!((scales[0] - 0.01).abs() < 1e-9);
        assert_eq!(scales[1].to_bits(), 1.0_f32.to_bits(), "a channel of zeros has a scale that divides");
        assert_eq!(quantize_weights(&array![[f32::NAN]], Dtype::Int8), None);
    }

    #[test]
    fn a_bias_is_counted_in_steps_of_the_accumulator() {
        assert_eq!(bias_steps(1.0, 0.5, 0.25), 8);
        assert_eq!(bias_steps(1e30, 1.0, 1.0), i64::from(i32::MAX));
    }
}
