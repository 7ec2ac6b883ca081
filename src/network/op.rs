//! What a layer computes, with the weights that belong to it.

use crate::numerics::Dtype;
use ndarray::{Array1, Array2, ArrayD};

/// The operations that a network graph is made of.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// Where the network's data enters. Reads nothing.
    Input,
    /// `y = activation(x W + b)` over the last axis of x.
    Dense(Dense),
    /// The sum of two values of one shape.
    Add,
    /// The sum of a value and a constant that broadcasts to the value's shape.
    AddConstant(ArrayD<f32>),
    /// `max(x, 0)`.
    Relu,
    /// Softmax over the last axis.
    Softmax,
    /// The same elements in another shape, which is that of one sample (`Flatten` and `Reshape` in a model file).
    Reshape(Vec<usize>),
}

/// A dense layer: `y[n] = activation(sum_k x[k] W[k][n] + b[n])`.
#[derive(Debug, Clone, PartialEq)]
pub struct Dense {
    /// Weights, K x N.
    pub weight: Weight,
    /// Bias, N; `None` is zero.
    pub bias: Option<Bias>,
    /// What follows at once, in the same output quantization.
    pub activation: Activation,
}

/// A fused activation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Activation {
    /// Nothing.
    None,
    /// `max(x, 0)`.
    Relu,
}

/// The weights of a dense layer, K x N.
#[derive(Debug, Clone, PartialEq)]
pub enum Weight {
    /// As trained.
    Float(Array2<f32>),
    /// Quantized symmetrically: `w ~ scale[n] * values`.
    Integer {
        /// The integers, within `dtype`'s range.
        values: Array2<i16>,
        /// Their format.
        dtype: Dtype,
        /// The real size of one step: one for all channels, or one for each of N.
        scales: Vec<f32>,
    },
}

/// The bias of a dense layer, N.
#[derive(Debug, Clone, PartialEq)]
pub enum Bias {
    /// As trained.
    Float(Array1<f32>),
    /// In steps of `input scale * weight scale[n]`, as the accumulator holds it.
    Integer(Array1<i64>),
}

impl Dense {
    /// K, the inputs of one output.
    pub fn inputs(&self) -> usize {
        self.weight.dim().0
    }

    /// N, the outputs.
    pub fn outputs(&self) -> usize {
        self.weight.dim().1
    }
}

impl Weight {
    /// K and N.
    pub fn dim(&self) -> (usize, usize) {
        match self {
            Self::Float(values) => values.dim(),
            Self::Integer { values, .. } => values.dim(),
        }
    }

    /// The share of weights that are exactly zero.
    pub fn sparsity(&self) -> f64 {
        let (zeros, all) = match self {
            Self::Float(values) => (values.iter().filter(|w| **w == 0.0).count(), values.len()),
            Self::Integer { values, .. } => (values.iter().filter(|w| **w == 0).count(), values.len()),
        };
        if all == 0 { 0.0 } else { zeros as f64 / all as f64 }
    }

    /// Bytes of the weights as they are stored: packed in their format, each of the K rows ending on a byte (4 bytes each in float).
    pub fn stored_bytes(&self) -> u64 {
        let (k, n) = self.dim();
        match self {
            Self::Float(_) => 4 * k as u64 * n as u64,
            Self::Integer { dtype, .. } => k as u64 * dtype.packed_bytes(n as u64),
        }
    }
}

impl Op {
    /// The operation's name in reports and messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Dense(_) => "dense",
            Self::Add => "add",
            Self::AddConstant(_) => "add_constant",
            Self::Relu => "relu",
            Self::Softmax => "softmax",
            Self::Reshape(_) => "reshape",
        }
    }
}
