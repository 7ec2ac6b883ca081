//! What no unit of the chip can do: the host does it between two stages, from DRAM to DRAM, where the chip says so.

use super::super::MappingError;
use super::super::location::Location;
use super::{HostCall, HostRead, Lowerer, Work, format_of_value, refused, shape_of};
use crate::chip::Unsupported;
use crate::mapping::{Operand, Problem};
use crate::network::{IntegerForm, Layer};
use crate::numerics::{Dtype, HostOp, HostProduct, RealOp};

/// The way out that a chip offers.
const HELP: &str = "write `unsupported: Host(..)`, with the cycles an element that the host takes, in the chip's vector unit, or leave it out of \
                    the network";

impl Lowerer<'_> {
    /// What has no integer algorithm.
    pub(super) fn through_reals(&mut self, layer: &Layer, op: RealOp) -> Result<Location, MappingError> {
        let shape = shape_of(layer);
        let mut inputs = Vec::with_capacity(op.inputs.len());
        for slot in 0..op.inputs.len() {
            let (source, from) = self.source(layer, slot)?;
            inputs.push(self.host_read(layer, (slot, &source), &from, &shape)?);
        }
        self.on_host(layer, HostOp::Reals(op), inputs, "is computed by way of reals, which no unit of the chip holds".to_string())
    }

    /// A product of two values that the array cannot take, as `problem` says; each has its shape, and the one that it broadcasts to.
    pub(super) fn product_on_host(
        &mut self,
        layer: &Layer,
        values: [(Location, &[u64], &[u64]); 2],
        problem: String,
    ) -> Result<Location, MappingError> {
        let form = IntegerForm::of(self.network, layer, self.chip.vector().requantize)?;
        let IntegerForm::Array(stage) = form else { unreachable!("bug: a product is sums") };
        let zero = |slot: usize| {
            let read = self.network.layer(self.network.inputs(layer.id)[slot]);
            read.output.quantization.map_or(0, |held| held.zero_point)
        };
        let held = [values[0].0.tensor.format, values[1].0.tensor.format, format_of_value(layer)];
        if let Some(format) = held.into_iter().find(|format| format.bits() > 8) {
            let problem = format!("{problem}; nor can a host do it, which takes and yields values of 8 bits, of which {format} is none");
            let help = "quantize the network to 8 bits (--quant w8a8), and give 16 to layers with weights by name, behind it in a recipe \
                        (Quantize(w: 16, a: 16, layers: [NAMES]))";
            return Err(refused(layer, problem, help));
        }
        let (to, rows) = (values[1].2, values[0].2[values[0].2.len() - 2]);
        let [inner, cols] = [to[to.len() - 2], to[to.len() - 1]];
        // The host adds up as the chip's first mode does, which is what the integer reference takes for it.
        let rule = self.chip.arithmetic(&self.chip.formats()[0], &self.chip.array().dataflows[0]).accumulate;
        let op = HostOp::Product(HostProduct { rows, inner, cols, zero_points: [zero(0), zero(1)], rule, stage });
        let mut inputs = Vec::with_capacity(values.len());
        for (slot, (location, from, to)) in values.into_iter().enumerate() {
            inputs.push(self.host_read(layer, (slot, &location), from, to)?);
        }
        self.on_host(layer, op, inputs, problem)
    }

    /// A stage of the host, where the chip has one.
    pub(super) fn on_host(&mut self, layer: &Layer, op: HostOp, inputs: Vec<HostRead>, problem: String) -> Result<Location, MappingError> {
        if self.chip.vector().unsupported == Unsupported::Refuse {
            return Err(refused(layer, problem, HELP));
        }
        if format_of_value(layer) != Dtype::Int8 {
            return Err(not_a_byte(layer, format_of_value(layer)));
        }
        let shape = shape_of(layer);
        let (tensor, sample) = self.tensor(Dtype::Int8, shape.iter().product());
        let call = HostCall { op, inputs, elements: tensor.bytes };
        let problem = Problem::matrix(self.batch, sample, sample, Dtype::Int8, Dtype::Int8);
        let output = Operand::dense(tensor.clone(), self.batch, sample);
        self.push(layer, Work::Host(call), problem, Vec::new(), output);
        Ok(Location::dense(tensor, sample, sample))
    }

    /// How the host reads a layer's argument of shape `from` as one of shape `to`: in bytes.
    fn host_read(&mut self, layer: &Layer, (slot, value): (usize, &Location), from: &[u64], to: &[u64]) -> Result<HostRead, MappingError> {
        if value.tensor.format.bits() > 8 {
            return Err(not_a_byte(layer, value.tensor.format));
        }
        let value = self.widened(layer, slot, value, Dtype::Int8)?;
        let value = match value.broadcast(from, to) {
            Some(value) => value,
            None => self.row_major(layer, &value).broadcast(from, to).expect("bug: a row-major value broadcasts"),
        };
        let factors = value.factors.iter().map(|factor| (factor.size, factor.stride.cast_signed()));
        let factors = std::iter::once((self.batch, value.sample.cast_signed())).chain(factors).collect();
        Ok(HostRead { tensor: value.tensor, first: value.offset, factors })
    }

    /// The elements of a value backwards along some axes, given the first one's byte and what counts them.
    pub(super) fn backwards_on_host(
        &mut self,
        layer: &Layer,
        source: &Location,
        (first, factors): (u64, Vec<(u64, i64)>),
    ) -> Result<Location, MappingError> {
        if source.tensor.format != Dtype::Int8 {
            return Err(not_a_byte(layer, source.tensor.format));
        }
        let factors = std::iter::once((self.batch, source.sample.cast_signed())).chain(factors).collect();
        let read = HostRead { tensor: source.tensor.clone(), first, factors };
        let problem = "takes elements backwards, more than the DMA engines move one by one".to_string();
        self.on_host(layer, HostOp::Copy, vec![read], problem)
    }
}

/// Values that the host does not take or yield.
fn not_a_byte(layer: &Layer, format: Dtype) -> MappingError {
    let help = "let it read and yield 8 bits: quantize what reads it to 8 bits (Quantize(w: .., a: 8, layers: [NAME]))";
    refused(layer, format!("is the host's, which takes and yields values of 8 bits, and reads or yields {format}"), help)
}
