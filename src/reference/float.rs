//! The network in `f32`, as imported: what "the right answer" is before anything is quantized. Plain loops of a fixed order.
//!
//! The same bytes on every machine and with any number of threads: no fused multiply-add, no BLAS, `libm` for the exponential, and a
//! sample is computed by one thread from beginning to end. A dense layer's sum begins with the bias and adds k ascending; the loop over
//! outputs is inside, so that the compiler computes several outputs at once without changing any of them.

use super::{ReferenceError, Trace};
use crate::network::{Activation, Bias, BinaryConstant, BinaryOp, Dense, Function, Layer, Network, Op, Weight};
use ndarray::{Array1, Array2, ArrayD, ArrayView2, IxDyn};
use rayon::prelude::*;
use std::collections::BTreeMap;

/// The most numbers that a trace may hold (4 GiB).
const MAX_VALUES: u128 = 1 << 30;

/// Samples that a thread takes at a time.
const BLOCK: usize = 64;

/// Runs the network on `inputs` (samples x elements of the input's shape in row-major order) and keeps every layer's values.
///
/// # Errors
/// If a sample does not fit the input, a layer is quantized, or the values would take more than 4 GiB.
#[expect(clippy::needless_pass_by_value, reason = "a view is a reference already")]
pub fn run(network: &Network, inputs: ArrayView2<f32>) -> Result<Trace, ReferenceError> {
    let (samples, found) = inputs.dim();
    let input = network.input();
    let wanted = input.output.elements();
    if found != wanted {
        let shape = input.output.shape.clone();
        return Err(ReferenceError::InputSize { network: network.name().to_string(), wanted, shape, found });
    }
    let values: u128 = network.layers().map(|layer| layer.output.elements() as u128 * samples as u128).sum();
    if values > MAX_VALUES {
        return Err(ReferenceError::TooLarge { network: network.name().to_string(), samples, values, limit: MAX_VALUES });
    }
    let mut all: BTreeMap<_, Array2<f32>> = BTreeMap::new();
    for layer in network.layers() {
        let sources: Vec<&Array2<f32>> = network.inputs(layer.id).iter().map(|id| &all[id]).collect();
        let values = match Step::new(layer, network)? {
            Step::Input => inputs.as_standard_layout().into_owned(),
            step => evaluate(&step, &sources, samples, layer.output.elements()),
        };
        all.insert(layer.id, values);
    }
    Ok(Trace::new(all, network.output().id, network.logits().id))
}

/// A layer, made ready to run sample by sample.
enum Step<'a> {
    Input,
    Dense {
        weight: &'a Array2<f32>,
        bias: Array1<f32>,
        activation: Activation,
    },
    Add,
    AddConstant(Vec<f32>),
    Relu,
    /// The length of a row.
    Softmax(usize),
    Reshape,
}

impl<'a> Step<'a> {
    fn new(layer: &'a Layer, network: &Network) -> Result<Self, ReferenceError> {
        Ok(match &layer.op {
            Op::Input => Self::Input,
            Op::Dense(dense) => Self::dense(layer, dense)?,
            Op::Binary(BinaryOp::Add) => Self::Add,
            Op::BinaryConstant(BinaryConstant { op: BinaryOp::Add, constant: Weight::Float(constant), .. }) => {
                let shape = &network.layer(network.inputs(layer.id)[0]).output.shape;
                Self::AddConstant(spread(constant, shape))
            }
            Op::Unary(Function::Relu) => Self::Relu,
            Op::Softmax { .. } => Self::Softmax(layer.output.shape.last().copied().unwrap_or(1)),
            Op::Reshape(_) => Self::Reshape,
            op => return Err(ReferenceError::Quantized { layer: layer.name.clone(), what: op.name().to_string() }),
        })
    }

    fn dense(layer: &'a Layer, dense: &'a Dense) -> Result<Self, ReferenceError> {
        let quantized = |what: String| ReferenceError::Quantized { layer: layer.name.clone(), what };
        let weight = match &dense.weight {
            Weight::Float(weight) => weight,
            Weight::Integer { dtype, .. } => return Err(quantized(format!("{dtype} weights"))),
        };
        let bias = match &dense.bias {
            Some(Bias::Float(bias)) => bias.clone(),
            Some(Bias::Integer(_)) => return Err(quantized("an integer bias".to_string())),
            None => Array1::zeros(dense.outputs()),
        };
        Ok(Self::Dense { weight, bias, activation: dense.activation })
    }

    /// One sample: `x` (one row a source) to `y`.
    fn run(&self, x: &[&[f32]], y: &mut [f32]) {
        match self {
            Self::Input => unreachable!("bug: the input is not computed"),
            Self::Dense { weight, bias, activation } => dense(x[0], weight, bias, *activation, y),
            Self::Add => y.iter_mut().zip(x[0].iter().zip(x[1])).for_each(|(y, (a, b))| *y = a + b),
            Self::AddConstant(constant) => y.iter_mut().zip(x[0].iter().zip(constant)).for_each(|(y, (a, b))| *y = a + b),
            Self::Relu => y.iter_mut().zip(x[0]).for_each(|(y, x)| *y = relu(*x)),
            Self::Softmax(row) => x[0].chunks_exact(*row).zip(y.chunks_exact_mut(*row)).for_each(|(x, y)| softmax(x, y)),
            Self::Reshape => y.copy_from_slice(x[0]),
        }
    }
}

/// Every sample of a layer; blocks of samples go to threads, a sample never does in parts.
fn evaluate(step: &Step, sources: &[&Array2<f32>], samples: usize, elements: usize) -> Array2<f32> {
    let mut values = Array2::zeros((samples, elements));
    let sources: Vec<(&[f32], usize)> = sources.iter().map(|source| (flat(source), source.ncols())).collect();
    let rows = values.as_slice_mut().expect("bug: a new array is in standard layout");
    rows.par_chunks_mut(BLOCK * elements).enumerate().for_each(|(block, rows)| {
        for (index, y) in rows.chunks_exact_mut(elements).enumerate() {
            let sample = block * BLOCK + index;
            let x: Vec<&[f32]> = sources.iter().map(|(source, size)| &source[sample * size..][..*size]).collect();
            step.run(&x, y);
        }
    });
    values
}

/// `y[n] = activation(b[n] + sum_k x[k] w[k][n])` for each row of `x`.
fn dense(x: &[f32], weight: &Array2<f32>, bias: &Array1<f32>, activation: Activation, y: &mut [f32]) {
    let (inputs, outputs) = weight.dim();
    for (x, y) in x.chunks_exact(inputs).zip(y.chunks_exact_mut(outputs)) {
        y.iter_mut().zip(bias).for_each(|(y, b)| *y = *b);
        match weight.as_slice() {
            Some(weight) => {
                for (x, weight) in x.iter().zip(weight.chunks_exact(outputs)) {
                    for (y, weight) in y.iter_mut().zip(weight) {
                        *y += *x * *weight;
                    }
                }
            }
            None => {
                for (x, weight) in x.iter().zip(weight.rows()) {
                    y.iter_mut().zip(weight).for_each(|(y, weight)| *y += *x * *weight);
                }
            }
        }
        if activation == Activation::Relu {
            for y in &mut *y {
                *y = relu(*y);
            }
        }
    }
}

/// `max(x, 0)`; not-a-number stays what it is, so that a fault upstream is seen.
fn relu(x: f32) -> f32 {
    if x < 0.0 { 0.0 } else { x }
}

/// `exp(x - max x)` over their sum.
fn softmax(x: &[f32], y: &mut [f32]) {
    let max = x.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    let mut sum = 0.0;
    for (y, x) in y.iter_mut().zip(x) {
        *y = libm::expf(x - max);
        sum += *y;
    }
    for y in y {
        *y /= sum;
    }
}

/// A constant, repeated to the elements of one sample.
fn spread(constant: &ArrayD<f32>, shape: &[usize]) -> Vec<f32> {
    let view = constant.broadcast(IxDyn(shape)).expect("bug: a network's constants broadcast to what they are added to");
    view.iter().copied().collect()
}

/// A layer's values in one piece.
fn flat(values: &Array2<f32>) -> &[f32] {
    values.as_slice().expect("bug: values of layers are in standard layout")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::NetworkBuilder;
    use crate::numerics::Dtype;
    use ndarray::array;

    fn network(dense: Dense) -> Network {
        let mut builder = NetworkBuilder::new("two");
        let input = builder.input("x", vec![2]).unwrap();
        let dense = builder.layer("fc", Op::Dense(dense), &[input]).unwrap();
        let output = builder.layer("softmax", Op::Softmax { axis: 0 }, &[dense]).unwrap();
        builder.finish(output).unwrap()
    }

    fn float(activation: Activation) -> Dense {
        let weight = Weight::Float(array![[1.0, -1.0, 0.5], [2.0, 0.0, -0.5]]);
        Dense { weight, bias: Some(Bias::Float(array![0.5, 0.0, 0.0])), activation }
    }

    #[test]
    fn a_dense_layer_is_what_it_is_by_hand() {
        let inputs = array![[1.0, 2.0], [-1.0, 0.0]];
        let plain = run(&network(float(Activation::None)), inputs.view()).unwrap();
        assert_eq!(plain.logits(), array![[5.5, -1.0, -0.5], [-0.5, 1.0, -0.5]]);
        let fused = run(&network(float(Activation::Relu)), inputs.view()).unwrap();
        assert_eq!(fused.logits(), array![[5.5, 0.0, 0.0], [0.0, 1.0, 0.0]]);
        for row in fused.output().rows() {
            assert!((row.sum() - 1.0).abs() < 1e-6, "a softmax sums to 1: {row}");
        }
        assert_eq!(fused.iter().count(), 3);
    }

    #[test]
    fn the_order_in_memory_of_weights_and_inputs_does_not_matter() {
        let network_of = |weight| network(Dense { weight: Weight::Float(weight), bias: None, activation: Activation::None });
        let rows = array![[0.1, -1.3, 0.7], [2.9, 0.3, -0.5]];
        let columns = rows.t().as_standard_layout().into_owned().reversed_axes();
        assert!(columns.as_slice().is_none());
        let inputs = array![[1.1, 0.2], [-0.7, 0.9]];
        let by_rows = run(&network_of(rows), inputs.view()).unwrap();
        assert_eq!(by_rows, run(&network_of(columns), inputs.t().as_standard_layout().t()).unwrap());
    }

    #[test]
    fn what_cannot_run_is_refused() {
        let plain = network(float(Activation::None));
        let found = run(&plain, Array2::zeros((1, 3)).view()).unwrap_err().to_string();
        assert!(found.contains("takes 2 numbers a sample (shape [2]) and the data has 3"), "{found}");
        let one = array![[1.0, 2.0]];
        let many = one.broadcast((200_000_000, 2)).unwrap();
        assert!(matches!(run(&plain, many), Err(ReferenceError::TooLarge { values: 1_600_000_000, .. })));
        let weight = Weight::Integer { values: array![[1, 2, 3], [4, 5, 6]], dtype: Dtype::Int8, scales: vec![0.5], zero_points: vec![] };
        let quantized = network(Dense { weight, ..float(Activation::None) });
        let found = run(&quantized, one.view()).unwrap_err().to_string();
        assert!(found.contains("layer \"fc\" has int8 weights, which the float reference does not run"), "{found}");
        assert_eq!(run(&plain, Array2::zeros((0, 2)).view()).unwrap().output().dim(), (0, 3));
    }
}
