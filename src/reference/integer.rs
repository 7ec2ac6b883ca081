//! The golden executor of a quantized network: plain loops over the sums that the contract of numbers defines, no tiling, no time.
//!
//! A dense layer is `acc[n] = bias[n]`, then, K ascending in chunks, `acc[n] = update(acc[n], sum over the chunk of (x[k] - zero) w[k][n])`,
//! then the output stage. It knows no command and no chip: what both must agree on is [`Arithmetic`].

use super::ReferenceError;
use crate::network::{Bias, Dense, Layer, LayerId, Network, Op, Weight};
use crate::numerics::{Arithmetic, LayerClass, OutputStage, Quantization};
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// Every layer's integers for a set of samples.
#[derive(Debug, Clone, PartialEq)]
pub struct IntegerTrace {
    values: BTreeMap<LayerId, Array2<i32>>,
}

impl IntegerTrace {
    /// A layer's integers, samples x elements; `None` for a layer that the host computes after the logits.
    pub fn layer(&self, id: LayerId) -> Option<&Array2<i32>> {
        self.values.get(&id)
    }
}

/// Real samples (n x elements of the input) as the integers that the host hands to the chip.
///
/// # Errors
/// If the network's input is not quantized, or the samples do not fit it.
#[expect(clippy::needless_pass_by_value, reason = "a view is a reference already")]
pub fn quantize_inputs(network: &Network, samples: ArrayView2<f32>) -> Result<Array2<i32>, ReferenceError> {
    let input = network.input();
    let quantization = input.output.quantization.ok_or_else(|| ReferenceError::NotQuantized { layer: input.name.clone() })?;
    if samples.ncols() != input.output.elements() {
        return Err(ReferenceError::InputSize {
            network: network.name().to_string(),
            wanted: input.output.elements(),
            shape: input.output.shape.clone(),
            found: samples.ncols(),
        });
    }
    Ok(samples.mapv(|x| quantization.quantize(x)))
}

/// Runs a quantized network on integer inputs (n x elements), up to its logits, each layer in its arithmetic.
///
/// # Errors
/// A layer that is not quantized, or an operation that has no integer form.
pub fn run(network: &Network, arithmetic: impl Fn(LayerId) -> Arithmetic, inputs: Array2<i32>) -> Result<IntegerTrace, ReferenceError> {
    let mut values: BTreeMap<LayerId, Array2<i32>> = BTreeMap::new();
    let logits = network.logits().id;
    let mut inputs = Some(inputs);
    for layer in network.layers() {
        let sources = network.inputs(layer.id);
        let value = match &layer.op {
            Op::Input => inputs.take().ok_or_else(|| ReferenceError::NotQuantized { layer: layer.name.clone() })?,
            Op::Dense(dense) => {
                let read = quantization(network.layer(sources[0]))?;
                dense_layer(layer, dense, &read, &arithmetic(layer.id), &values[&sources[0]])?
            }
            Op::Reshape(_) => values[&sources[0]].clone(),
            _ => return Err(ReferenceError::NoIntegerForm { layer: layer.name.clone(), op: layer.op.name() }),
        };
        values.insert(layer.id, value);
        if layer.id == logits {
            break;
        }
    }
    Ok(IntegerTrace { values })
}

fn quantization(layer: &Layer) -> Result<Quantization, ReferenceError> {
    layer.output.quantization.ok_or_else(|| ReferenceError::NotQuantized { layer: layer.name.clone() })
}

fn dense_layer(
    layer: &Layer,
    dense: &Dense,
    read: &Quantization,
    arithmetic: &Arithmetic,
    x: &Array2<i32>,
) -> Result<Array2<i32>, ReferenceError> {
    let wrote = quantization(layer)?;
    let Weight::Integer { values: weights, scales, zero_points, .. } = &dense.weight else {
        return Err(ReferenceError::NotQuantized { layer: layer.name.clone() });
    };
    if zero_points.iter().any(|zero| *zero != 0) {
        return Err(ReferenceError::NoIntegerForm { layer: layer.name.clone(), op: layer.op.name() });
    }
    let bias: Vec<i64> = match &dense.bias {
        Some(Bias::Integer(bias)) => bias.to_vec(),
        Some(Bias::Float(_)) => return Err(ReferenceError::NotQuantized { layer: layer.name.clone() }),
        None => vec![0; dense.outputs()],
    };
    let stage = OutputStage::new(arithmetic.requantize, LayerClass::Dense, read.scale, scales, &wrote, dense.activation.bounds());
    let weights = weights.mapv(i64::from);
    let chunk = usize::try_from(arithmetic.accumulate.chunk).unwrap_or(usize::MAX);
    let (inner, outer) = weights.dim();
    let width = layer.output.elements();
    let mut outputs = vec![0_i32; x.nrows() * width];
    outputs.par_chunks_mut(width).enumerate().for_each(|(sample, y)| {
        let x = x.row(sample);
        let mut sums = vec![0_i64; outer];
        // A sample may have several rows of K elements, one dense product each.
        for row in 0..x.len() / inner {
            let mut acc = bias.clone();
            for first in (0..inner).step_by(chunk.min(inner)) {
                sums.fill(0);
                for k in first..inner.min(first.saturating_add(chunk)) {
                    let element = i64::from(x[row * inner + k] - read.zero_point);
                    for (sum, weight) in sums.iter_mut().zip(weights.row(k)) {
                        *sum += element * weight;
                    }
                }
                for (acc, sum) in acc.iter_mut().zip(&sums) {
                    *acc = arithmetic.accumulate.update(*acc, *sum);
                }
            }
            for (n, acc) in acc.iter().enumerate() {
                y[row * outer + n] = stage.apply(n, *acc);
            }
        }
    });
    Ok(Array2::from_shape_vec((x.nrows(), width), outputs).expect("bug: as many outputs as samples have elements"))
}
