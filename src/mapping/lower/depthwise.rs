//! Depthwise convolutions on the vector unit, where the chip has them there: a window like a pool's, with weights and biases that are read whole.

use super::super::location::{Factor, Location};
use super::super::{MappingError, Operand, Problem, largest_divisor};
use super::array::{exact, format_of_weights, too_many};
use super::vector::{port, room};
use super::{Lowerer, Work, refused, shape_of};
use crate::chip::Depthwise as Where;
use crate::network::{Bias, Border, Conv, IntegerForm, Layer, integers_of};
use crate::numerics::{BIAS_BYTES, Depthwise, Dtype, VectorOp};

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
        let [channels, height, width, places] = [shape[0], shape[1], shape[2], output[1] * output[2]];
        let pair = |pair: [usize; 2]| pair.map(|size| size as u64);
        let ([stride, dilation, kernel], padding) = ([conv.stride, conv.dilation, conv.kernel()].map(pair), conv.padding);
        let taps = kernel[0] * kernel[1];
        // So many channels at a time that the rows under two windows fit, with their weights, and what they yield.
        let fits = |chunk: u64| {
            let reach = ((kernel[0] - 1) * dilation[0] + 1 + stride[0]).min(height);
            chunk * (2 * (reach * width + output[2]) + taps + BIAS_BYTES) + 5 * port(self.chip) <= room(self.chip)
        };
        let chunk = largest_divisor(channels, fits).unwrap_or(1);
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
            let problem = Problem {
                n: self.batch,
                m: chunk,
                c: chunk,
                groups: 1,
                p: output[1],
                q: output[2],
                r: kernel[0],
                s: kernel[1],
                input: [height, width],
                stride,
                dilation,
                padding: [padding[0] as u64, padding[1] as u64],
                weight: Dtype::Int8,
                activation: Dtype::Int8,
                output: Dtype::Int8,
            };
            let op = VectorOp::Depthwise(Depthwise { zero_point: read.zero_point, stage: stage.clone(), first });
            let stage = self.push(layer, Work::Vector(vec![op]), problem, vec![input, constants], stored);
            if chunk < channels {
                let part = format!(" ({first}..{})", first + chunk);
                stage.name.push_str(&part);
            }
        }
        self.narrowed(layer, Location::ordered(tensor, sample, &output, &[1, 2, 0]))
    }
}
