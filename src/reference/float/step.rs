//! A layer, made ready to run sample by sample: weights as reals, shapes looked up.

use super::super::{ReferenceError, movement};
use super::image::{self, Convolution};
use super::product::{Panels, add_product};
use super::rows::{self, Lanes};
use crate::network::{Activation, Bias, BinaryConstant, BinaryOp, Border, Conv, Dense, Function, Layer, LayerNorm, Op, Pool, Weight};
use crate::numerics::of_channel;
use ndarray::{Array2, ArrayD, ArrayViewD, ArrayViewMutD, IxDyn, Zip};
use std::borrow::Cow;

/// Rows of one sample from which on a dense layer's weights are packed into panels.
const PACKED_ROWS: usize = 4;

/// A layer, made ready to run.
pub(super) enum Step<'a> {
    Input,
    Constant(Cow<'a, ArrayD<f32>>),
    Dense {
        weight: Cow<'a, Array2<f32>>,
        bias: Vec<f32>,
        activation: Activation,
    },
    DenseRows {
        weight: Panels,
        bias: Vec<f32>,
        activation: Activation,
    },
    Conv(Convolution<'a>),
    MatMul(Shapes<'a>),
    Binary(BinaryOp, Shapes<'a>),
    BinaryConstant {
        op: BinaryOp,
        constant: Cow<'a, ArrayD<f32>>,
        constant_first: bool,
        shapes: Shapes<'a>,
    },
    PRelu(&'a ArrayD<f32>, Shapes<'a>),
    Unary(&'a Function),
    Softmax(Lanes),
    LayerNorm(&'a LayerNorm),
    Pool(&'a Pool, Shapes<'a>),
    Mean(&'a [usize], Shapes<'a>),
    Copy,
    /// Elements change places; the number is that of a border.
    Move(&'a Op, Shapes<'a>, f32),
    Gather(Cow<'a, ArrayD<f32>>),
}

/// The shapes of what a layer reads and yields.
pub(super) struct Shapes<'a> {
    inputs: Vec<&'a [usize]>,
    output: &'a [usize],
}

impl Shapes<'_> {
    fn input<'x>(&self, slot: usize, x: &[&'x [f32]]) -> ArrayViewD<'x, f32> {
        view(self.inputs[slot], x[slot])
    }

    fn output<'y>(&self, y: &'y mut [f32]) -> ArrayViewMutD<'y, f32> {
        ArrayViewMutD::from_shape(IxDyn(self.output), y).expect("bug: a value has as many numbers as its shape says")
    }
}

impl<'a> Step<'a> {
    /// A layer and those that it reads.
    pub(super) fn new(layer: &'a Layer, read: &[&'a Layer]) -> Result<Self, ReferenceError> {
        let shapes =
            || Shapes { inputs: read.iter().map(|layer| layer.output.shape.as_slice()).collect(), output: layer.output.shape.as_slice() };
        Ok(match &layer.op {
            Op::Input => Self::Input,
            Op::Constant(weight) => Self::Constant(reals(weight)),
            Op::Dense(dense) => Self::dense(layer, dense, read[0])?,
            Op::Conv(conv) => Self::Conv(convolution(layer, conv, read[0])?),
            Op::MatMul => Self::MatMul(shapes()),
            Op::Binary(op) => Self::Binary(*op, shapes()),
            Op::BinaryConstant(BinaryConstant { op, constant, constant_first }) => {
                Self::BinaryConstant { op: *op, constant: reals(constant), constant_first: *constant_first, shapes: shapes() }
            }
            Op::Unary(Function::PRelu { slopes }) => Self::PRelu(slopes, shapes()),
            Op::Unary(function) => Self::Unary(function),
            Op::Softmax { axis } => Self::Softmax(Lanes::new(&layer.output.shape, *axis)),
            Op::LayerNorm(norm) => Self::LayerNorm(norm),
            Op::Pool(pool) => Self::Pool(pool, shapes()),
            Op::Mean { axes, .. } => Self::Mean(axes, shapes()),
            Op::Reshape(_) | Op::Quantize => Self::Copy,
            Op::Pad(pad) => Self::Move(&layer.op, shapes(), pad.value),
            Op::Concat { .. } | Op::Slice(_) | Op::Transpose(_) => Self::Move(&layer.op, shapes(), 0.0),
            Op::Gather(table) => Self::Gather(reals(table)),
        })
    }

    fn dense(layer: &'a Layer, dense: &'a Dense, read: &Layer) -> Result<Self, ReferenceError> {
        let scales = if let Weight::Integer { scales, .. } = &dense.weight { scales.as_slice() } else { &[] };
        let bias = bias(layer, dense.bias.as_ref(), read, scales, dense.outputs())?;
        let (weight, activation) = (reals(&dense.weight), dense.activation);
        if layer.output.elements() < PACKED_ROWS * dense.outputs() {
            return Ok(Self::Dense { weight, bias, activation });
        }
        let (k, n) = weight.dim();
        let weight = weight.as_standard_layout();
        Ok(Self::DenseRows { weight: Panels::new(weight.as_slice().expect("bug: standard layout"), k, n), bias, activation })
    }

    /// One sample: `x` (one row a source) to `y`.
    pub(super) fn run(&self, x: &[&[f32]], y: &mut [f32]) {
        match self {
            Self::Input => unreachable!("bug: the input is not computed"),
            Self::Constant(values) => y.iter_mut().zip(values.iter()).for_each(|(y, value)| *y = *value),
            Self::Dense { weight, bias, activation } => dense(x[0], weight, bias, *activation, y),
            Self::DenseRows { weight, bias, activation } => {
                y.chunks_exact_mut(bias.len()).for_each(|y| y.copy_from_slice(bias));
                add_product(x[0], weight, y);
                activate(*activation, y);
            }
            Self::Conv(convolution) => convolution.run(x[0], y),
            Self::MatMul(shapes) => matmul(shapes, x, y),
            Self::Binary(op, shapes) if shapes.inputs[0] == shapes.inputs[1] => {
                y.iter_mut().zip(x[0].iter().zip(x[1])).for_each(|(y, (a, b))| *y = op.apply(*a, *b));
            }
            Self::Binary(op, shapes) => {
                let (a, b) = (shapes.input(0, x), shapes.input(1, x));
                Zip::from(shapes.output(y)).and_broadcast(a).and_broadcast(b).for_each(|y, a, b| *y = op.apply(*a, *b));
            }
            Self::BinaryConstant { op, constant, constant_first, shapes } => {
                let zip = Zip::from(shapes.output(y)).and_broadcast(shapes.input(0, x)).and_broadcast(constant.view());
                if *constant_first {
                    zip.for_each(|y, x, constant| *y = op.apply(*constant, *x));
                } else {
                    zip.for_each(|y, x, constant| *y = op.apply(*x, *constant));
                }
            }
            Self::PRelu(slopes, shapes) => {
                let zip = Zip::from(shapes.output(y)).and(shapes.input(0, x)).and_broadcast(slopes.view());
                zip.for_each(|y, x, slope| *y = if *x < 0.0 { slope * x } else { *x });
            }
            Self::Unary(function) => y.iter_mut().zip(x[0]).for_each(|(y, x)| *y = function.apply(*x)),
            Self::Softmax(lanes) => rows::softmax(*lanes, x[0], y),
            Self::LayerNorm(norm) => {
                let (scale, bias) = (flat(&norm.scale), norm.bias.as_ref().map(flat));
                rows::layer_norm(&scale, bias.as_deref(), norm.epsilon, x[0], y);
            }
            Self::Pool(pool, shapes) => {
                let (image, output) = (shapes.inputs[0], shapes.output);
                image::pool(pool, [image[0], image[1], image[2]], [output[1], output[2]], x[0], y);
            }
            Self::Mean(axes, shapes) => rows::mean(shapes.inputs[0], axes, x[0], y),
            Self::Copy => y.copy_from_slice(x[0]),
            Self::Move(op, shapes, border) => {
                let views: Vec<_> = (0..x.len()).map(|slot| shapes.input(slot, x)).collect();
                movement::run(op, &views, *border, shapes.output(y));
            }
            Self::Gather(table) => gather(table, x[0], y),
        }
    }
}

/// Weights as reals.
fn reals<D: ndarray::RemoveAxis>(weight: &Weight<D>) -> Cow<'_, ndarray::Array<f32, D>> {
    match weight {
        Weight::Float(values) => Cow::Borrowed(values),
        Weight::Integer { .. } => Cow::Owned(weight.to_reals()),
    }
}

/// A bias as reals: integers are in steps of `input scale * weight scale`.
fn bias(layer: &Layer, bias: Option<&Bias>, read: &Layer, scales: &[f32], count: usize) -> Result<Vec<f32>, ReferenceError> {
    match bias {
        None => Ok(vec![0.0; count]),
        Some(Bias::Float(bias)) => Ok(bias.to_vec()),
        Some(Bias::Integer(bias)) => {
            let Some(input) = read.output.quantization.filter(|_| !scales.is_empty()) else {
                return Err(ReferenceError::BiasWithoutScale { layer: layer.name.clone() });
            };
            let scale = |channel: usize| input.scale * of_channel(scales, channel);
            Ok(bias.iter().enumerate().map(|(channel, steps)| *steps as f32 * scale(channel)).collect())
        }
    }
}

fn convolution<'a>(layer: &'a Layer, conv: &'a Conv, read: &'a Layer) -> Result<Convolution<'a>, ReferenceError> {
    let scales = if let Weight::Integer { scales, .. } = &conv.weight { scales.as_slice() } else { &[] };
    let bias = bias(layer, conv.bias.as_ref(), read, scales, conv.outputs())?;
    let (image, output) = (&read.output.shape, &layer.output.shape);
    let weight = reals(&conv.weight).iter().copied().collect();
    let step = read.output.quantization.map_or(1.0, |quantization| quantization.scale);
    let border = match conv.border {
        Border::Zero => 0.0,
        Border::Minus => -step,
        Border::Plus => step,
    };
    Ok(Convolution { conv, weight, bias, border, image: [image[0], image[1], image[2]], outputs: [output[1], output[2]] })
}

/// `y[n] = activation(b[n] + sum_k x[k] w[k][n])` for each row of `x`.
fn dense(x: &[f32], weight: &Array2<f32>, bias: &[f32], activation: Activation, y: &mut [f32]) {
    let (inputs, outputs) = weight.dim();
    for (x, y) in x.chunks_exact(inputs).zip(y.chunks_exact_mut(outputs)) {
        y.copy_from_slice(bias);
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
        activate(activation, y);
    }
}

fn activate(activation: Activation, y: &mut [f32]) {
    if activation != Activation::None {
        for y in y {
            *y = activation.apply(*y);
        }
    }
}

/// The products of all matrices of two stacks, whose leading axes broadcast.
fn matmul(shapes: &Shapes, x: &[&[f32]], y: &mut [f32]) {
    let [batch @ .., i, j] = shapes.output else { unreachable!("bug: a product has two axes at least") };
    let k = shapes.inputs[0][shapes.inputs[0].len() - 1];
    // The number of each matrix, in its stack's order, broadcast over the output's.
    let stack = |shape: &[usize]| movement::spread(&shape[..shape.len() - 2], batch);
    let places = stack(shapes.inputs[0]).into_iter().zip(stack(shapes.inputs[1]));
    let mut packed: Option<(usize, Panels)> = None;
    for (y, (left, right)) in y.chunks_exact_mut(i * j).zip(places) {
        if packed.as_ref().is_none_or(|(number, _)| *number != right) {
            packed = Some((right, Panels::new(&x[1][right * k * j..][..k * j], k, *j)));
        }
        if let Some((_, panels)) = &packed {
            y.fill(0.0);
            add_product(&x[0][left * i * k..][..i * k], panels, y);
        }
    }
}

/// Rows of a table (a negative number counts from the end, as in ONNX); the numbers have been checked.
fn gather(table: &ArrayD<f32>, x: &[f32], y: &mut [f32]) {
    let rows = table.shape()[0];
    let row = table.len() / rows;
    let table = flat(table);
    for (x, y) in x.iter().zip(y.chunks_exact_mut(row)) {
        let index = if *x < 0.0 { x + rows as f32 } else { *x };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a cast from float saturates, and then the row is bounded"
        )]
        let index = (index as usize).min(rows - 1);
        y.copy_from_slice(&table[index * row..][..row]);
    }
}

fn view<'x>(shape: &[usize], values: &'x [f32]) -> ArrayViewD<'x, f32> {
    ArrayViewD::from_shape(IxDyn(shape), values).expect("bug: a value has as many numbers as its shape says")
}

/// An array's numbers in row-major order.
fn flat(values: &ArrayD<f32>) -> Cow<'_, [f32]> {
    values.as_slice().map_or_else(|| Cow::Owned(values.iter().copied().collect()), Cow::Borrowed)
}
