//! Bias correction: quantized weights and inputs shift the mean of what a channel sums, and its bias takes that back.
//!
//! M. Nagel, M. van Baalen, T. Blankevoort, M. Welling, "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, section 4.2,
//! in its empirical form (appendix D): layer by layer, from the input on, so that a layer is corrected for what those before it yield corrected. A
//! sum is linear in what it reads, so that its mean is the sum of the means: one sample, the mean of all, tells it.

use super::CompressError;
use super::calibrate::blocks_of;
use super::matrix::has_float_weights;
use super::quantize::sum_bits;
use crate::network::{Activation, Bias, Conv, Dense, Layer, LayerId, Network, NetworkBuilder, Op, Weight};
use crate::numerics::{Dtype, of_channel};
use crate::reference::float;
use ndarray::{Array1, Array2, ArrayView2, Axis, RemoveAxis, s};
use std::collections::BTreeMap;

/// `quantized` with the biases of its dense layers and convolutions corrected: the mean over the calibration samples of each channel's sums, before
/// any activation, is what it is in `float`, whose layers have the same identities. As many samples count as are held at a time.
///
/// # Errors
/// Samples that do not fit the network, or too many values to hold.
#[expect(clippy::needless_pass_by_value, reason = "a view is a reference already")]
pub fn correct_biases(float: &Network, quantized: &Network, samples: ArrayView2<f32>) -> Result<Network, CompressError> {
    let samples = samples.slice(s![..samples.nrows().min(blocks_of(float)), ..]);
    let exact = float::run(float, samples)?;
    let mut corrected: BTreeMap<LayerId, Bias> = BTreeMap::new();
    let mut network = quantized.clone();
    for layer in float.layers() {
        let Some(wanted) = as_floats(&layer.op, 1.0) else { continue };
        if !has_float_weights(&layer.op) {
            continue;
        }
        let source = float.inputs(layer.id)[0];
        let (Some(input), held) = (quantized.layer(source).output.quantization, quantized.layer(layer.id)) else { continue };
        let Some(found) = as_floats(&held.op, input.scale) else { continue };
        let before = float::run(&network, samples)?;
        let shape = &float.layer(source).output.shape;
        let means = [(wanted, exact.layer(source)), (found, before.layer(source))];
        let [wanted, found] = means.map(|(op, values)| means_of_channels(op, shape, values));
        let error: Array1<f64> = found? - wanted?;
        corrected.insert(layer.id, shifted(held, input.scale, input.dtype, &error));
        network = with_biases(quantized, &corrected)?;
    }
    Ok(network)
}

/// A dense layer or a convolution on reals, without its activation; none of what is neither.
fn as_floats(op: &Op, input_scale: f32) -> Option<Op> {
    match op {
        Op::Dense(dense) => {
            let bias = real_bias(dense.bias.as_ref(), &dense.weight, input_scale);
            Some(Op::Dense(Dense { weight: Weight::Float(dense.weight.to_reals()), bias, activation: Activation::None }))
        }
        Op::Conv(conv) => {
            let bias = real_bias(conv.bias.as_ref(), &conv.weight, input_scale);
            Some(Op::Conv(Conv { weight: Weight::Float(conv.weight.to_reals()), bias, activation: Activation::None, ..conv.clone() }))
        }
        _ => None,
    }
}

fn real_bias<D: RemoveAxis>(bias: Option<&Bias>, weight: &Weight<D>, input_scale: f32) -> Option<Bias> {
    bias.map(|bias| match (bias, weight.scales()) {
        (Bias::Integer(steps), Some(scales)) => {
            let real = |(channel, steps): (usize, &i64)| {
                #[expect(clippy::cast_possible_truncation, reason = "biases are f32")]
                let real = (*steps as f64 * f64::from(input_scale) * f64::from(of_channel(scales, channel))) as f32;
                real
            };
            Bias::Float(steps.iter().enumerate().map(real).collect())
        }
        _ => bias.clone(),
    })
}

/// The mean of each channel's sums, from the mean of what the layer reads.
fn means_of_channels(op: Op, shape: &[usize], read: &Array2<f32>) -> Result<Array1<f64>, CompressError> {
    let mut sums = vec![0.0_f64; read.ncols()];
    for row in read.rows() {
        sums.iter_mut().zip(row).for_each(|(sum, x)| *sum += f64::from(*x));
    }
    let samples = read.nrows().max(1) as f64;
    #[expect(clippy::cast_possible_truncation, reason = "values are f32")]
    let mean = Array2::from_shape_fn((1, sums.len()), |(_, element)| (sums[element] / samples) as f32);
    let channels_first = matches!(op, Op::Conv(_));
    let mut builder = NetworkBuilder::new("mean");
    let input = builder.input("read", shape.to_vec())?;
    let output = builder.layer("sums", op, &[input])?;
    let yields = builder.value(output).shape.clone();
    let trace = float::run(&builder.finish(output)?, mean.view())?;
    let channels = if channels_first { yields[0] } else { yields[yields.len() - 1] };
    let rest = trace.output().len() / channels.max(1);
    let order = if channels_first { (channels, rest) } else { (rest, channels) };
    let values = trace.output().mapv(f64::from).into_shape_with_order(order).expect("bug: channels divide what a layer yields");
    Ok(values.mean_axis(Axis(usize::from(channels_first))).unwrap_or_default())
}

/// A layer's bias less the error, in steps of its accumulator.
fn shifted(layer: &Layer, input_scale: f32, input: Dtype, error: &Array1<f64>) -> Bias {
    let of = |bias: Option<&Bias>, scales: Option<&[f32]>, bits: u32| {
        let most = libm::ldexp(1.0, bits.cast_signed() - 1);
        let steps = error.iter().enumerate().map(|(channel, error)| {
            let had = match bias {
                Some(Bias::Integer(steps)) => steps[channel] as f64,
                _ => 0.0,
            };
            let step = f64::from(input_scale) * f64::from(scales.map_or(1.0, |scales| of_channel(scales, channel)));
            #[expect(clippy::cast_possible_truncation, reason = "clamped to at most 48 bits")]
            let steps = libm::rint(had - error / step).clamp(-most, most - 1.0) as i64;
            steps
        });
        Bias::Integer(steps.collect())
    };
    match &layer.op {
        Op::Dense(Dense { weight, bias, .. }) => of(bias.as_ref(), weight.scales(), sum_bits(weight.dtype().unwrap_or(Dtype::Int8), input)),
        Op::Conv(Conv { weight, bias, .. }) => of(bias.as_ref(), weight.scales(), sum_bits(weight.dtype().unwrap_or(Dtype::Int8), input)),
        _ => unreachable!("bug: biases belong to dense layers and convolutions"),
    }
}

/// The network with other biases.
fn with_biases(network: &Network, biases: &BTreeMap<LayerId, Bias>) -> Result<Network, CompressError> {
    super::rebuild::rebuilt(network, |layer| {
        let mut op = layer.op.clone();
        if let (Some(new), Op::Dense(Dense { bias, .. }) | Op::Conv(Conv { bias, .. })) = (biases.get(&layer.id), &mut op) {
            *bias = Some(new.clone());
        }
        Ok(vec![(layer.name.clone(), op)])
    })
}
