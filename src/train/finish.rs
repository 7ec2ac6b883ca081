//! From trained numbers back to a network: batch normalisations folded into weights and biases, and weights put into the integers that were trained.
//!
//! A normalisation multiplies channel n by `f = gain / sqrt(variance + epsilon)` and adds `shift - mean f`. Symmetric integers a channel are the same
//! for `f w` in steps of `|f| scale`, with their signs turned where f is negative; and signs times mean magnitudes likewise. So folding changes nothing
//! of what was trained but roundings of f32.

use super::TrainError;
use super::graph::{EPSILON, FakeWeight, Form, Graph, Norm, Weighted};
use super::parameters::{Parameter, Running};
use crate::network::{Bias, LayerId, Network, NetworkBuilder, Op, Weight};
use crate::numerics::{Dtype, Quantization, of_channel};
use ndarray::{Array, Array1, Axis, Dimension, RemoveAxis};
use std::collections::BTreeMap;

/// The least scale of weights: one that would be smaller stands for zeros.
const LEAST_SCALE: f32 = 1e-30;

/// The network that `graph` was built from, with what was trained.
pub(super) fn finished(template: &Network, graph: &Graph, parameters: &[Parameter], running: &[Running]) -> Result<Network, TrainError> {
    let mut builder = NetworkBuilder::new(template.name());
    let mut renamed: BTreeMap<LayerId, LayerId> = BTreeMap::new();
    for layer in template.layers() {
        let reads: Vec<LayerId> = template.inputs(layer.id).iter().map(|id| renamed[id]).collect();
        let node = graph.places.get(&layer.id).copied();
        let mut op = layer.op.clone();
        if let Some(Form::Weighted(weighted)) = node.map(|node| &graph.nodes[node].form) {
            match &mut op {
                Op::Dense(dense) => {
                    let (factors, bias) = folded(weighted, parameters, running);
                    dense.weight = weights(weighted, dense.weight.shape(), 1, factors.as_deref(), parameters);
                    dense.bias = bias;
                }
                Op::Conv(conv) => {
                    let (factors, bias) = folded(weighted, parameters, running);
                    conv.weight = weights(weighted, conv.weight.shape(), 0, factors.as_deref(), parameters);
                    conv.bias = bias;
                }
                _ => {}
            }
        }
        let id = match op {
            Op::Input => builder.input_of(layer.name.clone(), layer.output.shape.clone(), layer.output.element)?,
            op => builder.layer(layer.name.clone(), op, &reads)?,
        };
        if let Some(held) = layer.output.quantization {
            let scale = node.and_then(|node| graph.scale(node, parameters)).unwrap_or(held.scale);
            builder.quantize(id, Quantization { scale, ..held });
        }
        renamed.insert(layer.id, id);
    }
    Ok(builder.finish(renamed[&template.output().id])?)
}

/// The factor of each channel, where there is one, and the bias.
fn folded(weighted: &Weighted, parameters: &[Parameter], running: &[Running]) -> (Option<Vec<f32>>, Option<Bias>) {
    let Some(norm) = weighted.norm else {
        let bias = weighted.bias.map(|bias| Bias::Float(Array1::from_vec(parameters[bias].values.clone())));
        return (None, bias);
    };
    let (factors, biases) = norm.folded(parameters, running);
    (Some(factors), Some(Bias::Float(Array1::from_vec(biases))))
}

impl Norm {
    /// The factor of each channel, and the bias.
    pub(super) fn folded(self, parameters: &[Parameter], running: &[Running]) -> (Vec<f32>, Vec<f32>) {
        let (gain, shift, running) = (&parameters[self.gain].values, &parameters[self.shift].values, &running[self.running]);
        let factors: Vec<f32> = gain.iter().zip(&running.variance).map(|(gain, variance)| gain / (variance + EPSILON).sqrt()).collect();
        let biases = shift.iter().zip(&running.mean).zip(&factors).map(|((shift, mean), factor)| shift - mean * factor).collect();
        (factors, biases)
    }
}

/// Weights of this shape, each channel times its factor: integers where their scale was trained, else reals.
fn weights<D: RemoveAxis + Dimension>(
    weighted: &Weighted,
    shape: &[usize],
    channel_axis: usize,
    factors: Option<&[f32]>,
    parameters: &[Parameter],
) -> Weight<D> {
    let values = Array::from_shape_vec(shape, parameters[weighted.weight].values.clone());
    let values = values.ok().and_then(|values| values.into_dimensionality::<D>().ok()).expect("bug: a parameter has its layer's shape");
    let channels = shape[channel_axis];
    let factor = |n: usize| factors.map_or(1.0, |factors| factors[n]);
    // What is quantized after training has its scales from its own weights, which a normalisation of each channel would change.
    let fake = weighted.fake.filter(|fake| matches!(fake, FakeWeight::Learned { .. }) || factors.is_some() && fake.dtype() != Dtype::Int16);
    let Some(fake) = fake else {
        let mut values = values;
        for (n, mut lane) in values.axis_iter_mut(Axis(channel_axis)).enumerate() {
            lane.mapv_inplace(|w| w * factor(n));
        }
        return Weight::Float(values);
    };
    let trained = fake.scales(parameters, &parameters[weighted.weight], channel_axis);
    let dtype = fake.dtype();
    let most = dtype.max() as f32;
    let whole = |w: f32, step: f32| match dtype {
        Dtype::Binary if w < 0.0 => -1.0,
        Dtype::Binary => 1.0,
        _ => libm::rintf((w / step).clamp(-most, most)),
    };
    let mut integers = Array::zeros(values.raw_dim());
    for (n, (lane, mut to)) in values.axis_iter(Axis(channel_axis)).zip(integers.axis_iter_mut(Axis(channel_axis))).enumerate() {
        let (step, sign) = (of_channel(&trained, n), if factor(n) < 0.0 { -1.0 } else { 1.0 });
        to.iter_mut().zip(lane).for_each(|(to, w)| {
            #[expect(clippy::cast_possible_truncation, reason = "whole, and of at most eight bits")]
            let integer = (whole(*w, step) * sign) as i16;
            *to = integer;
        });
    }
    let scales = match (trained.len(), factors) {
        (1, None) => trained,
        _ => (0..channels).map(|n| (of_channel(&trained, n) * factor(n).abs()).max(LEAST_SCALE)).collect(),
    };
    Weight::Integer { values: integers, dtype, scales, zero_points: Vec::new() }
}
