//! What a layer computes, with the weights that belong to it. Shapes are those of one sample: an image is C x H x W, a sequence S x E.

use super::{Bias, Weight};
use ndarray::{ArrayD, ArrayViewD, Axis, Ix4, IxDyn, Slice};

/// The operations that a network graph is made of.
#[derive(Debug, Clone, PartialEq)]
pub enum Op {
    /// Where the network's data enters. Reads nothing.
    Input,
    /// Numbers that are the same for every sample, where an operation reads them as a value (a class token that is joined to data).
    /// Reads nothing.
    Constant(Weight<IxDyn>),
    /// `y = activation(x W + b)` over the last axis of x.
    Dense(Dense),
    /// A convolution of an image C x H x W; of a sequence it stands between reshapes to and from a height of 1.
    Conv(Conv),
    /// The product of two values over the last axis of the left (.. x I x K) and the last but one of the right (.. x K x J); the axes before broadcast.
    MatMul,
    /// Two values, element by element; shapes broadcast as in ONNX, aligned at the last axis.
    Binary(BinaryOp),
    /// A value and a constant, element by element, broadcast likewise.
    BinaryConstant(BinaryConstant),
    /// A function of each element.
    Unary(Function),
    /// Softmax over one axis.
    Softmax {
        /// The axis.
        axis: usize,
    },
    /// Layer normalisation over the last axes.
    LayerNorm(LayerNorm),
    /// The greatest or the mean of each window of an image.
    Pool(Pool),
    /// The mean over some axes; global average pooling is the mean over the spatial ones, with `keep`.
    Mean {
        /// The axes, ascending.
        axes: Vec<usize>,
        /// Whether they stay, with size 1.
        keep: bool,
    },
    /// Values joined along one axis, in the order of the arguments.
    Concat {
        /// The axis.
        axis: usize,
    },
    /// Part of a value: a range for each axis.
    Slice(Vec<Span>),
    /// A value with a border of one number.
    Pad(Pad),
    /// The same elements in another shape, which is that of one sample (`Flatten`, `Squeeze` and others in a model file).
    Reshape(Vec<usize>),
    /// Axes in another order: axis i of the output is axis `perm[i]` of the input.
    Transpose(Vec<usize>),
    /// Rows of a table (V x ..) that the input, whole numbers, names: an embedding. The row's shape goes behind the input's.
    Gather(Weight<IxDyn>),
    /// The same numbers rounded to the output's quantization.
    Quantize,
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

/// A convolution: `y[m][p][q] = activation(b[m] + sum_{c,r,s} x[c][p*stride + r*dilation - top][...] W[m][c][r][s])`, a group of M/groups
/// filters reading C/groups channels. Outside of the image x is 0 (in integers: the zero point), or what [`Border`] says.
#[derive(Debug, Clone, PartialEq)]
pub struct Conv {
    /// Filters, M x C/groups x R x S.
    pub weight: Weight<Ix4>,
    /// Bias, M; `None` is zero.
    pub bias: Option<Bias>,
    /// Rows and columns from one output to the next.
    pub stride: [usize; 2],
    /// Rows and columns from one element of a filter to the next.
    pub dilation: [usize; 2],
    /// Border of zeros: top, left, bottom, right.
    pub padding: [usize; 4],
    /// What the border consists of, where the image is binary and has no zero.
    pub border: Border,
    /// Groups of channels; as many as channels is a depthwise convolution.
    pub groups: usize,
    /// What follows at once, in the same output quantization.
    pub activation: Activation,
}

/// What the border around a convolution's image consists of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Border {
    /// Zeros. A binary image has none, and so no such border.
    #[default]
    Zero,
    /// The bit for -1.
    Minus,
    /// The bit for +1.
    Plus,
}

/// A fused activation.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Activation {
    /// Nothing.
    None,
    /// `max(x, 0)`.
    Relu,
    /// `min(max(x, min), max)`; bounds may be infinite. Relu6 is 0 to 6.
    Clip {
        /// The least.
        min: f32,
        /// The greatest.
        max: f32,
    },
}

/// What is done to two elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum BinaryOp {
    /// `a + b`.
    Add,
    /// `a - b`.
    Sub,
    /// `a * b`.
    Mul,
    /// `a / b`.
    Div,
}

/// `x op constant`, or `constant op x`.
#[derive(Debug, Clone, PartialEq)]
pub struct BinaryConstant {
    /// What is done.
    pub op: BinaryOp,
    /// The constant; its shape broadcasts with the value's. Integers have one scale.
    pub constant: Weight<IxDyn>,
    /// Whether the constant is the left operand.
    pub constant_first: bool,
}

/// A function of one element.
#[derive(Debug, Clone, PartialEq)]
pub enum Function {
    /// `max(x, 0)`.
    Relu,
    /// `x` where it is positive, else `alpha * x`.
    LeakyRelu {
        /// The slope of negative numbers.
        alpha: f32,
    },
    /// `x` where it is positive, else `slope * x`; the slopes' shape broadcasts to the value's.
    PRelu {
        /// The slopes of negative numbers.
        slopes: ArrayD<f32>,
    },
    /// `min(max(x, min), max)`; bounds may be infinite.
    Clip {
        /// The least.
        min: f32,
        /// The greatest.
        max: f32,
    },
    /// `1 / (1 + exp(-x))`.
    Sigmoid,
    /// `min(max(alpha * x + beta, 0), 1)`.
    HardSigmoid {
        /// The slope.
        alpha: f32,
        /// The value at 0.
        beta: f32,
    },
    /// `x * min(max(x / 6 + 1/2, 0), 1)`.
    HardSwish,
    /// The hyperbolic tangent.
    Tanh,
    /// The Gaussian error linear unit.
    Gelu(GeluForm),
    /// The error function.
    Erf,
    /// The square root.
    Sqrt,
    /// `e^x`.
    Exp,
    /// `x^exponent`.
    Pow {
        /// The exponent.
        exponent: f32,
    },
}

/// How a GELU is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum GeluForm {
    /// `x/2 * (1 + erf(x / sqrt(2)))`.
    Erf,
    /// `x/2 * (1 + tanh(sqrt(2/pi) * (x + 0.044715 x^3)))`.
    Tanh,
}

/// `y = (x - mean) / sqrt(variance + epsilon) * scale + bias` over all axes from `axis` on.
#[derive(Debug, Clone, PartialEq)]
pub struct LayerNorm {
    /// The first axis that is normalised.
    pub axis: usize,
    /// Scales, of the normalised axes' shape.
    pub scale: ArrayD<f32>,
    /// Biases, of the same shape; `None` is zero.
    pub bias: Option<ArrayD<f32>>,
    /// What is added to the variance.
    pub epsilon: f32,
}

/// A pooling of an image: each window's greatest number, or mean. Every window holds an element of the image at least.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pool {
    /// Which of the two.
    pub kind: PoolKind,
    /// Rows and columns of a window.
    pub kernel: [usize; 2],
    /// Rows and columns from one output to the next.
    pub stride: [usize; 2],
    /// Rows and columns from one element of a window to the next.
    pub dilation: [usize; 2],
    /// Border: top, left, bottom, right. It is never the greatest.
    pub padding: [usize; 4],
}

/// What a pooling keeps of a window.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PoolKind {
    /// The greatest number.
    Max,
    /// The mean.
    Average {
        /// Whether the border counts in the mean, as zeros.
        count_include_pad: bool,
    },
}

/// What is kept of one axis: elements `start`, `start + step`, ... of which there are `count`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Span {
    /// The first.
    pub start: usize,
    /// How many.
    pub count: usize,
    /// From one to the next; negative is backwards.
    pub step: isize,
}

/// A border around a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Pad {
    /// Elements before each axis.
    pub before: Vec<usize>,
    /// Elements behind each axis.
    pub after: Vec<usize>,
    /// The number that they are.
    pub value: f32,
}

impl Activation {
    /// The reals that it keeps its results between, infinities where it does not.
    pub const fn bounds(self) -> (f32, f32) {
        match self {
            Self::None => (f32::NEG_INFINITY, f32::INFINITY),
            Self::Relu => (0.0, f32::INFINITY),
            Self::Clip { min, max } => (min, max),
        }
    }
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

impl Conv {
    /// M, the filters.
    pub fn outputs(&self) -> usize {
        self.weight.shape()[0]
    }

    /// C, the channels of the image.
    pub fn channels(&self) -> usize {
        self.weight.shape()[1].saturating_mul(self.groups)
    }

    /// R and S, rows and columns of a filter.
    pub fn kernel(&self) -> [usize; 2] {
        [self.weight.shape()[2], self.weight.shape()[3]]
    }

    /// K, the products of one output: `C/groups * R * S`.
    pub fn inputs(&self) -> usize {
        self.weight.shape()[1..].iter().product()
    }
}

impl Span {
    /// All of an axis.
    pub const fn all(size: usize) -> Self {
        Self { start: 0, count: size, step: 1 }
    }

    /// Whether elements come in another order than they lie in.
    pub const fn is_backwards(&self) -> bool {
        self.step < 0 && self.count > 1
    }

    /// What the spans, one an axis, keep of a value that they lie inside of, as a checked network's do.
    pub fn cut<'v, T>(spans: &[Self], value: ArrayViewD<'v, T>) -> ArrayViewD<'v, T> {
        let mut value = value;
        for (axis, span) in spans.iter().enumerate() {
            // A range backwards is, to ndarray, its elements from low to high, walked from the end.
            let reach = (span.count - 1) * span.step.unsigned_abs();
            let low = if span.step < 0 { span.start - reach } else { span.start };
            value.slice_axis_inplace(Axis(axis), Slice::new(low.cast_signed(), Some((low + reach + 1).cast_signed()), span.step));
        }
        value
    }
}

/// `min(max(x, min), max)`; not-a-number stays what it is.
fn clip(x: f32, min: f32, max: f32) -> f32 {
    if x < min {
        min
    } else if x > max {
        max
    } else {
        x
    }
}

impl Activation {
    /// What it makes of a number; not-a-number stays what it is.
    pub fn apply(self, x: f32) -> f32 {
        match self {
            Self::None => x,
            Self::Relu => Function::Relu.apply(x),
            Self::Clip { min, max } => clip(x, min, max),
        }
    }
}

impl Op {
    /// Shorthand for [`Function::Relu`].
    pub const RELU: Self = Self::Unary(Function::Relu);

    /// The operation's name in reports and messages.
    pub fn name(&self) -> &'static str {
        match self {
            Self::Input => "input",
            Self::Constant(_) => "constant",
            Self::Dense(_) => "dense",
            Self::Conv(conv) if conv.groups > 1 && conv.groups == conv.channels() => "depthwise_conv",
            Self::Conv(_) => "conv",
            Self::MatMul => "matmul",
            Self::Binary(op) => op.name(),
            Self::BinaryConstant(binary) => match binary.op {
                BinaryOp::Add => "add_constant",
                BinaryOp::Sub => "sub_constant",
                BinaryOp::Mul => "mul_constant",
                BinaryOp::Div => "div_constant",
            },
            Self::Unary(function) => function.name(),
            Self::Softmax { .. } => "softmax",
            Self::LayerNorm(_) => "layer_norm",
            Self::Pool(Pool { kind: PoolKind::Max, .. }) => "max_pool",
            Self::Pool(_) => "average_pool",
            Self::Mean { .. } => "mean",
            Self::Concat { .. } => "concat",
            Self::Slice(_) => "slice",
            Self::Pad(_) => "pad",
            Self::Reshape(_) => "reshape",
            Self::Transpose(_) => "transpose",
            Self::Gather(_) => "gather",
            Self::Quantize => "quantize",
        }
    }

    /// Whether every number of the output is one of the input's, or a zero: what lies on a quantization's grid stays on it.
    pub fn only_moves(&self) -> bool {
        match self {
            Self::Reshape(_) | Self::Transpose(_) | Self::Slice(_) | Self::Concat { .. } => true,
            Self::Pad(pad) => pad.value == 0.0,
            Self::Pool(pool) => pool.kind == PoolKind::Max,
            _ => false,
        }
    }

    /// Weights, biases and constants, counted.
    pub fn parameters(&self) -> u64 {
        let count = match self {
            Self::Constant(weight) | Self::Gather(weight) => weight.len(),
            Self::Dense(dense) => dense.weight.len() + dense.bias.as_ref().map_or(0, Bias::len),
            Self::Conv(conv) => conv.weight.len() + conv.bias.as_ref().map_or(0, Bias::len),
            Self::BinaryConstant(binary) => binary.constant.len(),
            Self::Unary(Function::PRelu { slopes }) => slopes.len(),
            Self::LayerNorm(norm) => norm.scale.len() + norm.bias.as_ref().map_or(0, ArrayD::len),
            _ => 0,
        };
        count as u64
    }
}

impl BinaryOp {
    /// What it makes of two numbers.
    pub fn apply(self, a: f32, b: f32) -> f32 {
        match self {
            Self::Add => a + b,
            Self::Sub => a - b,
            Self::Mul => a * b,
            Self::Div => a / b,
        }
    }

    /// Its name in reports and messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Add => "add",
            Self::Sub => "sub",
            Self::Mul => "mul",
            Self::Div => "div",
        }
    }
}

impl Function {
    /// What it makes of a number, by `libm`, the same on every machine; not-a-number stays what it is. A `PRelu` has no slope here: see the
    /// executor, which knows the number's place.
    pub fn apply(&self, x: f32) -> f32 {
        match self {
            Self::Relu => {
                if x < 0.0 {
                    0.0
                } else {
                    x
                }
            }
            Self::LeakyRelu { alpha } => {
                if x < 0.0 {
                    alpha * x
                } else {
                    x
                }
            }
            Self::PRelu { .. } => x,
            Self::Clip { min, max } => clip(x, *min, *max),
            Self::Sigmoid => 1.0 / (1.0 + libm::expf(-x)),
            Self::HardSigmoid { alpha, beta } => clip(alpha * x + beta, 0.0, 1.0),
            Self::HardSwish => x * clip(x / 6.0 + 0.5, 0.0, 1.0),
            Self::Tanh => libm::tanhf(x),
            Self::Gelu(GeluForm::Erf) => 0.5 * x * (1.0 + libm::erff(x * std::f32::consts::FRAC_1_SQRT_2)),
            Self::Gelu(GeluForm::Tanh) => {
                let root = std::f32::consts::FRAC_2_SQRT_PI * std::f32::consts::FRAC_1_SQRT_2;
                0.5 * x * (1.0 + libm::tanhf(root * (x + 0.044_715 * x * x * x)))
            }
            Self::Erf => libm::erff(x),
            Self::Sqrt => x.sqrt(),
            Self::Exp => libm::expf(x),
            Self::Pow { exponent } if exponent.to_bits() == 2.0_f32.to_bits() => x * x,
            Self::Pow { exponent } => libm::powf(x, *exponent),
        }
    }

    /// Its name in reports and messages.
    pub const fn name(&self) -> &'static str {
        match self {
            Self::Relu => "relu",
            Self::LeakyRelu { .. } => "leaky_relu",
            Self::PRelu { .. } => "prelu",
            Self::Clip { .. } => "clip",
            Self::Sigmoid => "sigmoid",
            Self::HardSigmoid { .. } => "hard_sigmoid",
            Self::HardSwish => "hard_swish",
            Self::Tanh => "tanh",
            Self::Gelu(_) => "gelu",
            Self::Erf => "erf",
            Self::Sqrt => "sqrt",
            Self::Exp => "exp",
            Self::Pow { .. } => "pow",
        }
    }
}
