//! Depthwise convolutions on the vector unit, where the chip has them there: a window like a pool's, with weights and biases that are read whole.

use super::super::location::{Factor, Location, Tensor};
use super::super::{MappingError, Operand, Problem, largest_divisor};
use super::array::{exact, format_of_weights, too_many};
use super::vector::{port, room};
use super::{Lowered, Lowerer, Work, refused, shape_of};
use crate::chip::{Chip, Depthwise as Where};
use crate::network::{Bias, Border, Conv, IntegerForm, Layer, integers_of};
use crate::numerics::{BIAS_BYTES, Depthwise, Dtype, OutputStage, VectorOp};

/// So many channels of a depthwise convolution at a time that the rows under two windows fit, with their weights, and what they yield.
fn chunk_of(problem: &Problem, chip: &Chip) -> u64 {
    let fits = |chunk: u64| {
        let reach = ((problem.r - 1) * problem.dilation[0] + 1 + problem.stride[0]).min(problem.input[0]);
        let of_channel = 2 * (reach * problem.input[1] + problem.q) + problem.r * problem.s + BIAS_BYTES;
        chunk * of_channel + 5 * port(chip) <= room(chip)
    };
    largest_divisor(problem.c, fits).unwrap_or(1)
}

/// The sizes of a stage that computes so many channels of it.
fn part_of(whole: &Problem, chunk: u64) -> Problem {
    Problem { m: chunk, c: chunk, groups: 1, ..*whole }
}

/// What tells a stage of several by its channels.
fn part_name(whole: &Problem, chunk: u64, first: u64) -> String {
    if chunk < whole.c { format!(" ({first}..{})", first + chunk) } else { String::new() }
}

/// The stages of a depthwise convolution whose numbers nobody knows, from DRAM to DRAM, where the chip's vector unit has such; `number` is the first that
/// tells its operands from those of others. None where it is the array's: not a channel and a filter a group, or other values than bytes.
pub fn depthwise_alone(name: &str, problem: &Problem, number: usize, chip: &Chip) -> Option<Vec<Lowered>> {
    let is_depthwise = problem.groups > 1 && [problem.c, problem.m] == [problem.groups; 2];
    let in_bytes = problem.activation == Dtype::Int8 && problem.output == Dtype::Int8 && problem.weight <= Dtype::Int8;
    if chip.vector().depthwise != Where::Vector || !is_depthwise || !in_bytes {
        return None;
    }
    let whole = Problem { weight: Dtype::Int8, ..*problem };
    let (taps, chunk) = (whole.r * whole.s, chunk_of(&whole, chip));
    let tensor = |number, bytes| Tensor { number, format: Dtype::Int8, zero_point: 0, bytes, content: None };
    let (read, stored) = (tensor(number, whole.pixels() * whole.c), tensor(number + 1, whole.vectors() * whole.c));
    let rows = |tensor: &Tensor, first: u64, rows: u64| Operand { tensor: tensor.clone(), starts: vec![first], run: rows, stride: whole.c };
    let mut stages = Vec::new();
    for first in (0..whole.c).step_by(usize::try_from(chunk).unwrap_or(usize::MAX)) {
        let constants = tensor(number + 2 + stages.len(), (taps + BIAS_BYTES) * chunk);
        let op = Depthwise { zero_point: 0, stage: OutputStage::unit(Dtype::Int8), first: 0 };
        stages.push(Lowered {
            layer: None,
            name: format!("{name}{}", part_name(&whole, chunk, first)),
            work: Work::Vector(vec![VectorOp::Depthwise(op)]),
            problem: part_of(&whole, chunk),
            inputs: vec![rows(&read, first, whole.pixels()), Operand::dense(constants, taps + BIAS_BYTES, chunk)],
            output: rows(&stored, first, whole.vectors()),
            zeros: Vec::new(),
            narrow: None,
            largest_sum: None,
        });
    }
    Some(stages)
}

impl Lowerer<'_> {
    /// Whether the vector unit computes a convolution: one filter a channel, weights and values of a byte or less, which it takes as bytes.
    pub(super) fn is_for_vector_unit(&self, layer: &Layer, conv: &Conv) -> bool {
        let read = self.network.layer(self.network.inputs(layer.id)[0]);
        let is_byte = |layer: &Layer| layer.output.quantization.is_some_and(|held| held.dtype <= Dtype::Int8);
        self.chip.vector().depthwise == Where::Vector
            && conv.groups > 1
            && [conv.channels(), conv.outputs()] == [conv.groups; 2]
            && conv.border == Border::Zero
            && format_of_weights(&conv.weight).is_some_and(|format| format <= Dtype::Int8)
            && is_byte(read)
            && is_byte(layer)
    }

    pub(super) fn depthwise(&mut self, layer: &Layer, conv: &Conv) -> Result<Location, MappingError> {
        let IntegerForm::Array(stage) = IntegerForm::of(self.network, layer, self.chip.vector().requantize)? else {
            unreachable!("bug: a convolution is sums")
        };
        let read = integers_of(self.network.layer(self.network.inputs(layer.id)[0]))?;
        let weights = exact(layer, &conv.weight, Dtype::Int8)?
            .mapv(|weight| i8::try_from(weight).expect("bug: within a format of at most eight bits"));
        let biases = match &conv.bias {
            Some(Bias::Integer(biases)) => biases.iter().map(|bias| i32::try_from(*bias).ok()).collect::<Option<Vec<i32>>>(),
            Some(Bias::Float(_)) => return Err(MappingError::NotQuantized { layer: layer.name.clone() }),
            None => Some(vec![0; conv.groups]),
        };
        let Some(biases) = biases else {
            return Err(refused(
                layer,
                "has biases of more than 32 bits".to_string(),
                "write `depthwise: Array` in the chip's vector unit",
            ));
        };
        let (source, shape) = self.source(layer, 0)?;
        let source = self.widened(layer, 0, &source, Dtype::Int8)?;
        let (source, _) = self.image(layer, source, &shape)?;
        let strides = source.strides(&shape).expect("bug: an image has a stride for each axis");
        let output = shape_of(layer);
        let [channels, places] = [shape[0], output[1] * output[2]];
        let pair = |pair: [usize; 2]| pair.map(|size| size as u64);
        let kernel = pair(conv.kernel());
        let whole = Problem {
            n: self.batch,
            m: channels,
            c: channels,
            groups: channels,
            p: output[1],
            q: output[2],
            r: kernel[0],
            s: kernel[1],
            input: [shape[1], shape[2]],
            stride: pair(conv.stride),
            dilation: pair(conv.dilation),
            padding: [conv.padding[0] as u64, conv.padding[1] as u64],
            ..Problem::matrix(1, 1, 1, Dtype::Int8, Dtype::Int8)
        };
        let (taps, chunk) = (whole.r * whole.s, chunk_of(&whole, self.chip));
        let (tensor, sample) = self.tensor(Dtype::Int8, channels * places);
        for first in (0..channels).step_by(usize::try_from(chunk).unwrap_or(usize::MAX)) {
            let part = Location { offset: source.offset + first * strides[0], ..source.clone() };
            let spread = [1, 2].map(|axis| Factor { size: shape[axis], stride: strides[axis] });
            let input = self.batched(&part, spread).ok_or_else(|| too_many(layer, Dtype::Int8))?;
            let samples = Factor { size: self.batch, stride: sample };
            let stored = Operand::of(&tensor, first, [samples, Factor { size: places, stride: channels }])
                .ok_or_else(|| too_many(layer, Dtype::Int8))?;
            let size = |count: u64| usize::try_from(count).expect("bug: weights that are known fit in memory");
            let of_chunk = size(first)..size(first + chunk);
            let of_tap = |tap: u64| {
                let place = [tap / kernel[1], tap % kernel[1]].map(size);
                of_chunk.clone().map(|channel| weights[[channel, 0, place[0], place[1]]]).collect()
            };
            let bytes = Depthwise::rows((0..taps).map(of_tap), &biases[of_chunk.clone()]);
            let rows = self.constant(Dtype::Int8, bytes.into_iter().map(|byte| i16::from(i8::from_le_bytes([byte]))));
            let constants = Operand::dense(rows.tensor, taps + BIAS_BYTES, chunk);
            let op = VectorOp::Depthwise(Depthwise { zero_point: read.zero_point, stage: stage.clone(), first });
            let stage = self.push(layer, Work::Vector(vec![op]), part_of(&whole, chunk), vec![input, constants], stored);
            stage.name.push_str(&part_name(&whole, chunk, first));
        }
        self.narrowed(layer, Location::ordered(tensor, sample, &output, &[1, 2, 0]))
    }
}
