//! The network in `f32`, as imported: what "the right answer" is before anything is quantized. Plain loops of a fixed order.
//!
//! The same bytes on every machine and with any number of threads: no fused multiply-add, no BLAS, `libm` for what is no arithmetic, and
//! every number is computed by one thread from beginning to end. The sum of a dense layer or a convolution begins with the bias and adds k
//! ascending; loops over outputs are inside, so that the compiler computes several at once without changing any of them.
//!
//! A quantized network runs too: integer weights and biases as the reals that they stand for, and every value that is quantized rounded to
//! its grid.

mod image;
mod product;
mod rows;
mod step;

use super::names::{names_rows, whole};
use super::{ReferenceError, Trace};
use crate::network::{Layer, Network, Op};
use crate::numerics::Quantization;
use ndarray::{Array2, ArrayView2};
use rayon::prelude::*;
use std::collections::BTreeMap;
use step::Step;

/// The most numbers that a trace may hold (4 GiB).
const MAX_VALUES: u128 = 1 << 30;

/// The most samples that a thread takes at a time.
const BLOCK: usize = 64;

/// Numbers of output from which on a thread takes fewer samples at a time.
const BLOCK_NUMBERS: usize = 1 << 16;

/// Runs the network on `inputs` (samples x elements of the input's shape in row-major order) and keeps every layer's values.
///
/// # Errors
/// If a sample does not fit the input, a number names no row of a table, an integer bias has no scale, or the values would take more than 4 GiB.
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
        let sources = network.inputs(layer.id);
        let read: Vec<&Layer> = sources.iter().map(|id| network.layer(*id)).collect();
        let sources: Vec<&Array2<f32>> = sources.iter().map(|id| &all[id]).collect();
        if let Op::Gather(table) = &layer.op {
            names_rows(layer, table.shape()[0], sources[0])?;
        }
        let mut values = match Step::new(layer, &read)? {
            Step::Input => {
                whole(network, &inputs)?;
                inputs.as_standard_layout().into_owned()
            }
            step => evaluate(&step, &sources, samples, layer.output.elements()),
        };
        if let Some(quantization) = layer.output.quantization {
            round(&mut values, quantization);
        }
        all.insert(layer.id, values);
    }
    Ok(Trace::new(all, network.output().id, network.logits().id))
}

/// Every sample of a layer; blocks of samples go to threads.
fn evaluate(step: &Step, sources: &[&Array2<f32>], samples: usize, elements: usize) -> Array2<f32> {
    let mut values = Array2::zeros((samples, elements));
    let sources: Vec<(&[f32], usize)> = sources.iter().map(|source| (flat(source), source.ncols())).collect();
    let rows = values.as_slice_mut().expect("bug: a new array is in standard layout");
    let block = (BLOCK_NUMBERS / elements).clamp(1, BLOCK);
    rows.par_chunks_mut(block * elements).enumerate().for_each(|(number, rows)| {
        for (index, y) in rows.chunks_exact_mut(elements).enumerate() {
            let sample = number * block + index;
            let x: Vec<&[f32]> = sources.iter().map(|(source, size)| &source[sample * size..][..*size]).collect();
            step.run(&x, y);
        }
    });
    values
}

/// Rounds numbers to the grid of a quantization.
fn round(values: &mut Array2<f32>, quantization: Quantization) {
    let values = values.as_slice_mut().expect("bug: values of layers are in standard layout");
    values.par_chunks_mut(BLOCK_NUMBERS).flatten().for_each(|x| *x = quantization.dequantize(quantization.quantize(*x)));
}

/// A layer's values in one piece.
fn flat(values: &Array2<f32>) -> &[f32] {
    values.as_slice().expect("bug: values of layers are in standard layout")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Activation, Bias, Dense, NetworkBuilder, Weight};
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
    fn a_quantized_layer_runs_as_the_reals_that_its_integers_stand_for() {
        let mut builder = NetworkBuilder::new("quantized");
        let input = builder.input("x", vec![2]).unwrap();
        builder.quantize(input, Quantization { dtype: Dtype::Int8, scale: 0.5, zero_point: 1 });
        let values = array![[1, 2, 3], [4, 5, 6]];
        let weight = Weight::Integer { values, dtype: Dtype::Int8, scales: vec![1.0, 2.0, 0.25], zero_points: vec![0, 1, 2] };
        let dense = Dense { weight, bias: Some(Bias::Integer(array![3, -1, 8])), activation: Activation::None };
        let output = builder.layer("fc", Op::Dense(dense), &[input]).unwrap();
        builder.quantize(output, Quantization { dtype: Dtype::Int8, scale: 3.0, zero_point: -5 });
        let network = builder.finish(output).unwrap();
        let trace = run(&network, array![[1.1, -100.0]].view()).unwrap();
        // x is 2 and -129 steps of 0.5; the sums are 1.5 + 1 - 258, -1 + 2 - 516 and 1 + 0.25 - 64.5, in steps of 3 from -133 * 3 to 132 * 3.
        assert_eq!(trace.layer(input), array![[1.0, -64.5]]);
        assert_eq!(trace.output(), array![[-255.0, -123.0 * 3.0, -63.0]]);
    }

    #[test]
    fn what_cannot_run_is_refused() {
        let plain = network(float(Activation::None));
        let found = run(&plain, Array2::zeros((1, 3)).view()).unwrap_err().to_string();
        assert!(found.contains("takes 2 numbers a sample (shape [2]) and the data has 3"), "{found}");
        let one = array![[1.0, 2.0]];
        let many = one.broadcast((200_000_000, 2)).unwrap();
        assert!(matches!(run(&plain, many), Err(ReferenceError::TooLarge { values: 1_600_000_000, .. })));
        let quantized = network(Dense { bias: Some(Bias::Integer(array![1, 2, 3])), ..float(Activation::None) });
        let found = run(&quantized, one.view()).unwrap_err().to_string();
        assert!(found.contains("layer \"fc\" has an integer bias"), "{found}");
        assert_eq!(run(&plain, Array2::zeros((0, 2)).view()).unwrap().output().dim(), (0, 3));
    }
}
