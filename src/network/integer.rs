//! The integer form of a layer: which algorithm of `numerics` computes it on integers, with its numbers. The chip's programs and the integer
//! reference both take it from here, so that they agree on scales, tables and constants, and on nothing else.
//!
//! | operation | integer form |
//! | --- | --- |
//! | dense, conv, the product of two values | sums, through an [`OutputStage`] (of a product, the right value plays the weights) |
//! | a function of an element; an operation with a constant of one number; a rounding to another quantization | [`Table`] |
//! | a rounding, a relu or a clip of a value of 16 bits | [`VectorOp::Rescale`]; it has no other functions, and no softmax |
//! | a `PRelu` with several slopes | a [`Table`] for each slope |
//! | add, sub; mul | [`VectorOp::Sum`]; [`VectorOp::Product`]; a constant is a tensor of symmetric 8 bits (16, where its value has 16), what of it can matter, or its own integers |
//! | softmax over an axis; layer normalisation over the last ones | [`VectorOp::Softmax`], [`VectorOp::LayerNorm`] |
//! | max pool | [`VectorOp::Maximum`], and a table (or [`VectorOp::Rescale`]) behind it where the quantizations differ |
//! | average pool; mean over axes | [`VectorOp::Average`] |
//! | concat, slice, pad, reshape, transpose | movement, of each input through a table (or [`VectorOp::Rescale`]) first where quantizations differ |
//! | the quotient of two values, or of several constants by a value; a `PRelu` with more slopes than 1,024 | [`RealOp`]: through reals, the host's |
//! | names, and the rows of a table that they name | the host's before the chip begins |
//!
//! Quotients go through reals since no table or multiplier holds them: near a divisor of zero neighbouring integers are far apart, so that a
//! reciprocal of eight bits loses the quotient, and one of more has no operation of the vector unit behind it.

use super::weight::channel_axis;
use super::{BinaryConstant, BinaryOp, Border, Element, Function, GeluForm, Layer, Network, NetworkError, Op, Pool, PoolKind, Weight};
use crate::numerics::{
    Average, Dtype, LayerClass, LayerNorm, MAX_ROW, OutputStage, Product, Quantization, RealFunction, RealOp, Requantizer, Rescale,
    Softmax, Sum, Table, VectorOp,
};
use ndarray::{Array, ArrayD, Axis, IxDyn, RemoveAxis};

/// How a layer is computed on integers.
#[derive(Debug, Clone, PartialEq)]
pub enum IntegerForm {
    /// The host's, before the chip begins: the network's input, names, and the rows that names name.
    Host,
    /// Nothing is computed: these integers, in the output's quantization and shape.
    Constant(ArrayD<i16>),
    /// A dense layer, a convolution or a product of two values, through this output stage.
    Array(OutputStage),
    /// An operation of the vector unit on the values that the layer reads.
    Vector {
        /// Element by element, over rows of the last axis, or over windows.
        op: VectorOp,
        /// A table or a rescaling for the results.
        then: Option<VectorOp>,
    },
    /// A sum or product with a constant, whose shape broadcasts with the value's.
    WithConstant {
        /// A sum or a product.
        op: VectorOp,
        /// The constant.
        constant: ArrayD<i16>,
        /// The format of its integers.
        format: Dtype,
        /// Whether the constant is the left operand.
        constant_first: bool,
    },
    /// A table for each of several slopes: the element that the i-th slope (row-major) broadcasts to goes through table i.
    Tables {
        /// The tables.
        tables: Vec<Table>,
        /// The slopes' shape, which broadcasts to the value's.
        shape: Vec<usize>,
    },
    /// Through reals, each value broadcast to the output's shape: what has no integer algorithm, and is the host's on a chip.
    Reals(RealOp),
    /// Nothing is computed: elements change places, those of each input through its table first where there is one.
    Moves {
        /// One for each input; `None` where its quantization is the output's.
        tables: Vec<Option<VectorOp>>,
        /// The integer that a border consists of.
        border: i16,
    },
}

/// The most slopes of a `PRelu` that are tables: each is a command of its own.
const MAX_TABLES: usize = 1024;

/// No bounds: what no activation narrows.
const FREE: (f32, f32) = (f32::NEG_INFINITY, f32::INFINITY);

impl IntegerForm {
    /// The integer form of `layer`, a layer of `network`, where sums become outputs as `requantizer` says.
    ///
    /// # Errors
    /// A value or weights that are not quantized, or an operation without an integer form.
    pub fn of(network: &Network, layer: &Layer, requantizer: Requantizer) -> Result<Self, NetworkError> {
        if layer.op == Op::Input || layer.output.element == Element::Index || matches!(layer.op, Op::Gather(_)) {
            return Ok(Self::Host);
        }
        let read: Vec<&Layer> = network.inputs(layer.id).iter().map(|id| network.layer(*id)).collect();
        let inputs = read.iter().map(|layer| integers_of(layer)).collect::<Result<Vec<_>, _>>()?;
        let output = integers_of(layer)?;
        Former { layer, read, inputs, output, requantizer }.form()
    }
}

/// Makes sure that no row or window of a network is longer than the integer forms take: shapes tell, before anything is quantized.
///
/// # Errors
/// The first layer whose rows or windows are.
pub fn check_rows(network: &Network) -> Result<(), NetworkError> {
    for layer in network.layers() {
        if let Some(elements) = row_of(network, layer) {
            at_most(layer, elements)?;
        }
    }
    Ok(())
}

/// The elements of what a layer normalises or averages; `None` where it does neither.
fn row_of(network: &Network, layer: &Layer) -> Option<usize> {
    match &layer.op {
        Op::LayerNorm(norm) => Some(norm.scale.len()),
        Op::Pool(Pool { kind: PoolKind::Average { .. }, kernel, .. }) => Some(kernel[0].saturating_mul(kernel[1])),
        Op::Mean { axes, .. } => {
            let shape = &network.layer(network.inputs(layer.id)[0]).output.shape;
            Some(axes.iter().map(|axis| shape[*axis]).product())
        }
        _ => None,
    }
}

/// Rows and windows have a limit, so that their sums and tables do.
fn at_most(layer: &Layer, elements: usize) -> Result<(), NetworkError> {
    if elements as u64 <= MAX_ROW {
        return Ok(());
    }
    let problem = format!("over {elements} elements");
    let help = "rows and windows of at most 2^20 have one";
    Err(NetworkError::NoIntegerForm { layer: layer.name.clone(), op: layer.op.name(), problem, help })
}

/// How the integers of a layer's output stand for reals.
///
/// # Errors
/// If it is not quantized.
pub fn integers_of(layer: &Layer) -> Result<Quantization, NetworkError> {
    layer.output.quantization.ok_or_else(|| NetworkError::NotQuantized { layer: layer.name.clone(), what: "its output" })
}

/// A constant's integers in a quantization: its own where it has that one.
pub fn integers_in(weight: &Weight<IxDyn>, held: &Quantization) -> ArrayD<i32> {
    if let Weight::Integer { values, dtype, scales, zero_points } = weight {
        let own = Quantization { dtype: *dtype, scale: scales[0], zero_point: zero_points.first().copied().unwrap_or(0) };
        if own == *held {
            return values.mapv(i32::from);
        }
    }
    weight.to_reals().mapv(|x| held.quantize(x))
}

impl<D: RemoveAxis> Weight<D> {
    /// The integers that are multiplied, each less the integer that stands for 0.0; `None` of weights that are not quantized.
    pub fn less_zero_points(&self) -> Option<Array<i32, D>> {
        let Self::Integer { values, zero_points, .. } = self else { return None };
        let mut exact = values.mapv(i32::from);
        match zero_points[..] {
            [] => {}
            [zero] => exact.mapv_inplace(|value| value.saturating_sub(zero)),
            _ => {
                let axis = Axis(channel_axis(exact.ndim()));
                for (mut lane, zero) in exact.axis_iter_mut(axis).zip(zero_points) {
                    lane.mapv_inplace(|value| value.saturating_sub(*zero));
                }
            }
        }
        Some(exact)
    }
}

/// What a form is made from.
struct Former<'n> {
    layer: &'n Layer,
    read: Vec<&'n Layer>,
    inputs: Vec<Quantization>,
    output: Quantization,
    requantizer: Requantizer,
}

impl Former<'_> {
    fn form(self) -> Result<IntegerForm, NetworkError> {
        let op = &self.layer.op;
        match op {
            Op::Dense(dense) => Ok(self.array(LayerClass::Dense, self.scales(&dense.weight)?, dense.activation.bounds())),
            Op::Conv(conv) if (self.inputs[0].dtype == Dtype::Binary) != (conv.border != Border::Zero) && conv.padding != [0; 4] => {
                let problem = format!("on {} values with a border that is not one of theirs", self.inputs[0].dtype);
                Err(self.none(&problem, "a binary value's border is -1 or +1, another's 0: pad with one of them, or not at all"))
            }
            Op::Conv(conv) => Ok(self.array(LayerClass::Convolution, self.scales(&conv.weight)?, conv.activation.bounds())),
            Op::MatMul => Ok(self.array(LayerClass::Dense, &[self.inputs[1].scale], FREE)),
            Op::Constant(weight) => Ok(IntegerForm::Constant(integers_in(weight, &self.output).mapv(narrow))),
            Op::Binary(BinaryOp::Div) => Ok(self.reals(RealFunction::Quotient)),
            Op::Binary(op) => Ok(vector(self.pair(*op, [&self.inputs[0], &self.inputs[1]]))),
            Op::BinaryConstant(binary) => self.with_constant(binary),
            Op::Unary(Function::Relu) if self.is_wide() => Ok(vector(self.rescaled((0.0, f32::INFINITY)))),
            Op::Unary(Function::Clip { min, max }) if self.is_wide() => Ok(vector(self.rescaled((*min, *max)))),
            Op::Unary(_) | Op::Softmax { .. } if self.is_wide() => {
                let help = "round the value to 8 bits first: quantize what reads it to 8 bits";
                Err(self.none(&format!("on {} values", self.inputs[0].dtype), help))
            }
            Op::Unary(Function::PRelu { slopes }) => {
                let table = |slope: &f32| self.table(|x| if x < 0.0 { f64::from(*slope) * x } else { x });
                if slopes.len() == 1 {
                    return Ok(vector(VectorOp::Table(table(&slopes.iter().copied().next().unwrap_or(1.0)))));
                }
                if slopes.len() > MAX_TABLES {
                    return Ok(self.reals(RealFunction::PRelu(self.of_elements(slopes))));
                }
                Ok(IntegerForm::Tables { tables: slopes.iter().map(table).collect(), shape: slopes.shape().to_vec() })
            }
            Op::Unary(function) => Ok(vector(VectorOp::Table(self.table(|x| real(function, x))))),
            Op::Quantize if self.inputs[0] == self.output => Ok(self.moves()),
            Op::Quantize => Ok(vector(between(self.requantizer, &self.inputs[0], &self.output))),
            Op::Softmax { .. } => Ok(vector(VectorOp::Softmax(Softmax::new(&self.inputs[0], &self.output)))),
            Op::LayerNorm(norm) => {
                at_most(self.layer, norm.scale.len())?;
                let factors: Vec<f32> = norm.scale.iter().copied().collect();
                let addends = norm.bias.as_ref().map_or_else(|| vec![0.0; factors.len()], |bias| bias.iter().copied().collect());
                Ok(vector(VectorOp::LayerNorm(LayerNorm::new(&self.inputs[0], &self.output, &factors, &addends, norm.epsilon))))
            }
            Op::Pool(Pool { kind: PoolKind::Max, .. }) => {
                Ok(IntegerForm::Vector { op: VectorOp::Maximum, then: self.table_between(&self.inputs[0]) })
            }
            Op::Pool(Pool { kind: PoolKind::Average { count_include_pad }, kernel, .. }) => {
                self.average(kernel[0].saturating_mul(kernel[1]), *count_include_pad)
            }
            Op::Mean { axes, .. } => {
                let shape = &self.read[0].output.shape;
                self.average(axes.iter().map(|axis| shape[*axis]).product(), false)
            }
            Op::Concat { .. } | Op::Slice(_) | Op::Pad(_) | Op::Reshape(_) | Op::Transpose(_) => Ok(self.moves()),
            Op::Input | Op::Gather(_) => unreachable!("bug: the host's layers are told apart before"),
        }
    }

    fn array(&self, class: LayerClass, scales: &[f32], bounds: (f32, f32)) -> IntegerForm {
        IntegerForm::Array(OutputStage::new(self.requantizer, class, self.inputs[0].scale, scales, &self.output, bounds))
    }

    fn scales<'w, D: RemoveAxis>(&self, weight: &'w Weight<D>) -> Result<&'w [f32], NetworkError> {
        match weight {
            Weight::Integer { scales, .. } => Ok(scales),
            Weight::Float(_) => Err(NetworkError::NotQuantized { layer: self.layer.name.clone(), what: "its weights" }),
        }
    }

    fn pair(&self, op: BinaryOp, inputs: [&Quantization; 2]) -> VectorOp {
        match op {
            BinaryOp::Mul | BinaryOp::Div => VectorOp::Product(Product::new(self.requantizer, inputs, &self.output, FREE)),
            BinaryOp::Add | BinaryOp::Sub => VectorOp::Sum(Sum::new(self.requantizer, inputs, op == BinaryOp::Sub, &self.output, FREE)),
        }
    }

    fn with_constant(&self, binary: &BinaryConstant) -> Result<IntegerForm, NetworkError> {
        let BinaryConstant { op, constant, constant_first } = binary;
        if constant.len() == 1 && self.read[0].output.shape == self.layer.output.shape && !self.is_wide() {
            let number = f64::from(constant.to_reals().iter().copied().next().unwrap_or(0.0));
            return Ok(vector(VectorOp::Table(
                self.table(|x| if *constant_first { op_of(*op, number, x) } else { op_of(*op, x, number) }),
            )));
        }
        // A division by constants is a multiplication with their reciprocals.
        let mut constant = match op {
            BinaryOp::Div if *constant_first => {
                return Ok(self.reals(RealFunction::Reciprocal(self.of_elements(&constant.to_reals()))));
            }
            BinaryOp::Div => Weight::Float(constant.to_reals().mapv(|x| 1.0 / x)),
            _ => constant.clone(),
        };
        let wide = if self.is_wide() { Dtype::Int16 } else { Dtype::Int8 };
        let held = match &constant {
            Weight::Integer { dtype, scales, zero_points, .. } if dtype.bits() <= wide.bits() => {
                Quantization { dtype: *dtype, scale: scales[0], zero_point: zero_points.first().copied().unwrap_or(0) }
            }
            _ => {
                constant = Weight::Float(self.that_matters(*op, *constant_first, constant.to_reals()));
                let reals = constant.to_reals();
                if reals.iter().any(|x| !x.is_finite()) {
                    return Err(self.none("with constants that are infinite or not a number", "check the model's constants"));
                }
                Quantization::symmetric(wide, reals.iter().fold(0.0, |max: f32, x| max.max(x.abs())))
            }
        };
        let inputs = if *constant_first { [&held, &self.inputs[0]] } else { [&self.inputs[0], &held] };
        Ok(IntegerForm::WithConstant {
            op: self.pair(*op, inputs),
            constant: integers_in(&constant, &held).mapv(narrow),
            format: held.dtype,
            constant_first: *constant_first,
        })
    }

    /// The constants of a sum, kept between those with which the sum is at an end of its range whatever the value is: a mask of -10000 would leave
    /// all others no steps. Of a product they are all that they were.
    fn that_matters(&self, op: BinaryOp, constant_first: bool, constants: ArrayD<f32>) -> ArrayD<f32> {
        let ends = |grid: &Quantization| (grid.dequantize(grid.dtype.min()), grid.dequantize(grid.dtype.max()));
        let ((least, most), (low, high)) = (ends(&self.inputs[0]), ends(&self.output));
        let (from, until) = match (op, constant_first) {
            (BinaryOp::Add, _) => (low - most, high - least),
            (BinaryOp::Sub, true) => (low + least, high + most),
            (BinaryOp::Sub, false) => (least - high, most - low),
            (BinaryOp::Mul | BinaryOp::Div, _) => return constants,
        };
        constants.mapv_into(|x| if x.is_nan() { x } else { x.max(from).min(until) })
    }

    fn reals(&self, function: RealFunction) -> IntegerForm {
        IntegerForm::Reals(RealOp { function, inputs: self.inputs.clone(), output: self.output })
    }

    /// A constant's number for each element of the output.
    fn of_elements(&self, constant: &ArrayD<f32>) -> Vec<f32> {
        let whole = constant.broadcast(IxDyn(&self.layer.output.shape)).expect("bug: a checked network's constants broadcast");
        whole.iter().copied().collect()
    }

    fn average(&self, taps: usize, counts_padding: bool) -> Result<IntegerForm, NetworkError> {
        at_most(self.layer, taps)?;
        let taps = u32::try_from(taps).expect("bug: bounded just before");
        Ok(vector(VectorOp::Average(Average::new(self.requantizer, &self.inputs[0], &self.output, taps, counts_padding, FREE))))
    }

    fn moves(&self) -> IntegerForm {
        let border = if let Op::Pad(pad) = &self.layer.op { narrow(self.output.quantize(pad.value)) } else { 0 };
        IntegerForm::Moves { tables: self.inputs.iter().map(|input| self.table_between(input)).collect(), border }
    }

    fn table(&self, f: impl Fn(f64) -> f64) -> Table {
        Table::new(&self.inputs[0], &self.output, f)
    }

    /// The way from one quantization to the output's; `None` where they are the same.
    fn table_between(&self, input: &Quantization) -> Option<VectorOp> {
        (*input != self.output).then(|| between(self.requantizer, input, &self.output))
    }

    /// The same from the first input's, kept between two reals.
    fn rescaled(&self, bounds: (f32, f32)) -> VectorOp {
        VectorOp::Rescale(Rescale::new(self.requantizer, &self.inputs[0], &self.output, bounds))
    }

    /// Whether the first value has more integers than a table has entries.
    fn is_wide(&self) -> bool {
        self.inputs[0].dtype.bits() > 8
    }

    fn none(&self, problem: &str, help: &'static str) -> NetworkError {
        NetworkError::NoIntegerForm { layer: self.layer.name.clone(), op: self.layer.op.name(), problem: problem.to_string(), help }
    }
}

const fn vector(op: VectorOp) -> IntegerForm {
    IntegerForm::Vector { op, then: None }
}

/// The way from one quantization to another: a table, where there is one.
fn between(requantizer: Requantizer, input: &Quantization, output: &Quantization) -> VectorOp {
    if input.dtype.bits() <= 8 {
        return VectorOp::Table(Table::new(input, output, |x| x));
    }
    VectorOp::Rescale(Rescale::new(requantizer, input, output, FREE))
}

/// An integer of a format of at most sixteen bits.
fn narrow(integer: i32) -> i16 {
    i16::try_from(integer.clamp(i32::from(i16::MIN), i32::from(i16::MAX))).expect("bug: clamped to sixteen bits just before")
}

fn op_of(op: BinaryOp, a: f64, b: f64) -> f64 {
    match op {
        BinaryOp::Add => a + b,
        BinaryOp::Sub => a - b,
        BinaryOp::Mul => a * b,
        BinaryOp::Div => a / b,
    }
}

/// A function in f64 through `libm`, of which tables are made. A `PRelu` has no slope here.
fn real(function: &Function, x: f64) -> f64 {
    let clip = |x: f64, min: f64, max: f64| {
        if x < min {
            min
        } else if x > max {
            max
        } else {
            x
        }
    };
    match function {
        Function::Relu => clip(x, 0.0, f64::INFINITY),
        Function::LeakyRelu { alpha } if x < 0.0 => f64::from(*alpha) * x,
        Function::LeakyRelu { .. } | Function::PRelu { .. } => x,
        Function::Clip { min, max } => clip(x, f64::from(*min), f64::from(*max)),
        Function::Sigmoid => 1.0 / (1.0 + libm::exp(-x)),
        Function::HardSigmoid { alpha, beta } => clip(f64::from(*alpha) * x + f64::from(*beta), 0.0, 1.0),
        Function::HardSwish => x * clip(x / 6.0 + 0.5, 0.0, 1.0),
        Function::Tanh => libm::tanh(x),
        Function::Gelu(GeluForm::Erf) => 0.5 * x * (1.0 + libm::erf(x * std::f64::consts::FRAC_1_SQRT_2)),
        Function::Gelu(GeluForm::Tanh) => {
            let root = std::f64::consts::FRAC_2_SQRT_PI * std::f64::consts::FRAC_1_SQRT_2;
            0.5 * x * (1.0 + libm::tanh(root * (x + 0.044_715 * x * x * x)))
        }
        Function::Erf => libm::erf(x),
        Function::Sqrt => libm::sqrt(x),
        Function::Exp => libm::exp(x),
        Function::Pow { exponent } => libm::pow(x, f64::from(*exponent)),
    }
}
