//! A stage before it is mapped: what it computes, on what, and where in DRAM its operands lie.

use super::super::location::{Joint, Tensor};
use super::super::{MappingError, Operand, Problem};
use super::array::{asked, format_of, kept, multiplied};
use crate::chip::Chip;
use crate::network::LayerId;
use crate::numerics::{Dtype, HostOp, VectorKind, VectorOp};

/// One operation of a unit of the chip, before it is mapped.
#[derive(Debug, Clone, PartialEq)]
pub struct Lowered {
    /// The layer that it is part of; none where there is no network.
    pub layer: Option<LayerId>,
    /// The layer's name, and what of the layer it does where that is not all.
    pub name: String,
    /// What computes it.
    pub work: Work,
    /// What it computes for a batch; of work that is not the array's the sizes alone.
    pub problem: Problem,
    /// The values that it reads, row by row (pixel by pixel of images); of a movement and of the host none. A depthwise convolution of the
    /// vector unit reads its weights and biases as the second one.
    pub inputs: Vec<Operand>,
    /// The value that it yields.
    pub output: Operand,
    /// For each element of K, each channel: whether its weight is zero, where the array skips tiles of such or DRAM leaves them out; empty
    /// where neither is so, or nobody knows.
    pub zeros: Vec<bool>,
    /// The format in which its weights lie in DRAM, where that is narrower than the one that is multiplied, which is the problem's.
    pub narrow: Option<Dtype>,
    /// How far from zero a sum can be at most, whatever its input and however much of it is summed: `|bias| + max |x - zero point| * sum |w|` of
    /// the channel where that is most. None where there are no numbers, or no sums.
    pub largest_sum: Option<u64>,
}

/// What computes a stage.
#[derive(Debug, Clone, PartialEq)]
pub enum Work {
    /// The array: a layer's weights, with its bias, requantization and activation.
    Array,
    /// The array, on two values: the rows of the second, elements of K one after the other, play the weights of each run of vectors.
    Product {
        /// The second.
        weights: Operand,
        /// What is subtracted from its elements.
        zero_point: i32,
    },
    /// The vector unit: one operation, or one for each channel.
    Vector(Vec<VectorOp>),
    /// The DMA engines: bytes change places.
    Movement(Vec<Copy>),
    /// The host, between two stages of the chip.
    Host(HostCall),
}

/// What the host does with values in DRAM.
#[derive(Debug, Clone, PartialEq)]
pub struct HostCall {
    /// What.
    pub op: HostOp,
    /// The values that it reads.
    pub inputs: Vec<HostRead>,
    /// Elements of the result for a batch.
    pub elements: u64,
}

/// A value that the host reads.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostRead {
    /// Of what.
    pub tensor: Tensor,
    /// The first element's byte.
    pub first: u64,
    /// What counts the elements of a batch, the outermost first, with the bytes from one to the next, forwards or backwards.
    pub factors: Vec<(u64, i64)>,
}

/// Bytes that go from one place in DRAM to another.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Copy {
    /// What they are taken from.
    pub from: Tensor,
    /// The first byte there, and where it goes in the stage's output.
    pub first: [u64; 2],
    /// What counts them, the outermost first, with the bytes from one to the next there and here. The innermost are one byte apart here.
    pub factors: Vec<Joint<2>>,
}

impl Copy {
    /// Bytes.
    pub fn bytes(&self) -> u64 {
        self.factors.iter().map(|(size, _)| size).product()
    }
}

impl Work {
    /// Whether the array computes it.
    pub const fn is_array(&self) -> bool {
        matches!(self, Self::Array | Self::Product { .. })
    }
}

impl Lowered {
    /// One array operation by itself, whose numbers nobody knows, from DRAM to DRAM; `number` tells its operands from those of others. Its weights are
    /// multiplied in the format of the activations if that is asked for (`is_wide`), or else in the narrowest that the chip multiplies with these.
    ///
    /// # Errors
    /// Formats that the chip does not multiply, and weights that it does not widen.
    pub fn alone(name: &str, problem: Problem, number: usize, chip: &Chip, is_wide: bool) -> Result<Self, MappingError> {
        let given = [problem.weight, problem.activation];
        let least = asked((name, "matrix product"), given, is_wide, chip)?;
        let [weight, _] = multiplied(chip, [least, given[1]], |format| format.activation == given[1]).unwrap_or([least, given[1]]);
        let problem = Problem { weight, ..problem };
        format_of(name, &problem, chip)?;
        Ok(Self { narrow: kept(given[0], weight, chip), ..Self::unchecked(name, problem, number) })
    }

    /// The same without a look at any chip.
    pub fn unchecked(name: &str, problem: Problem, number: usize) -> Self {
        let operand = |number, format, rows: u64, row: u64| {
            Operand::dense(Tensor { number, format, zero_point: 0, bytes: rows * row, content: None }, rows, row)
        };
        Self {
            layer: None,
            name: name.to_string(),
            work: Work::Array,
            problem,
            inputs: vec![operand(2 * number, problem.activation, problem.pixels(), problem.input_pixel())],
            output: operand(2 * number + 1, problem.output, problem.vectors(), problem.output_bytes(problem.m)),
            zeros: Vec::new(),
            narrow: None,
            largest_sum: None,
        }
    }

    /// The same stage, reading what `before` yields, byte for byte.
    #[must_use]
    pub fn after(mut self, before: &Self) -> Self {
        self.inputs[0].tensor = before.output.tensor.clone();
        self
    }

    /// Multiply-accumulates.
    pub fn macs(&self) -> u64 {
        if self.work.is_array() { self.problem.macs() } else { 0 }
    }

    /// Whether a window slides over its input on the vector unit.
    pub fn has_window(&self) -> bool {
        matches!(&self.work, Work::Vector(ops) if ops.iter().any(|op| op.kind().has_window()))
    }

    /// Whether it is some channels of a window over a batch, which the vector unit takes one lot of after the other.
    pub fn is_by_channels(&self, batch: u64) -> bool {
        let Work::Vector(ops) = &self.work else { return false };
        let is_later = |op: &VectorOp| matches!(op, VectorOp::Depthwise(depthwise) if depthwise.first > 0);
        self.has_window() && (self.problem.n > batch || ops.iter().any(is_later))
    }

    /// Which of its inputs is there whole from the first block on, if one is: a depthwise convolution's weights and biases.
    pub fn constants(&self) -> Option<usize> {
        matches!(&self.work, Work::Vector(ops) if ops.iter().any(|op| op.kind() == VectorKind::Depthwise)).then_some(1)
    }

    /// Inputs that come row by row.
    pub fn row_inputs(&self) -> u64 {
        self.inputs.len() as u64 - u64::from(self.constants().is_some())
    }

    /// Vectors that are multiplied by the same weights.
    pub fn run(&self) -> u64 {
        match &self.work {
            Work::Product { weights, .. } => self.problem.vectors() / weights.starts.len() as u64,
            _ => self.problem.vectors(),
        }
    }

    /// Every tensor that it reads.
    pub fn reads(&self) -> impl Iterator<Item = &Tensor> {
        let weights = if let Work::Product { weights, .. } = &self.work { Some(&weights.tensor) } else { None };
        let copies = if let Work::Movement(copies) = &self.work { copies.as_slice() } else { &[] };
        let of_host = if let Work::Host(call) = &self.work { call.inputs.as_slice() } else { &[] };
        let moved = copies.iter().map(|copy| &copy.from).chain(of_host.iter().map(|read| &read.tensor));
        self.inputs.iter().map(|input| &input.tensor).chain(weights).chain(moved)
    }
}
