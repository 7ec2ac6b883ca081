//! Layers that only change where elements lie.

use super::super::location::{Location, common, joint};
use super::super::{MappingError, Operand, Problem};
use super::{Copy, Lowerer, Work, refused, shape_of};
use crate::network::{Layer, Op};
use crate::numerics::{Dtype, Table, VectorOp};
use std::cmp::Reverse;
use std::sync::Arc;

impl Lowerer<'_> {
    /// A layer that moves elements, those of each input through its table first.
    pub(super) fn moves(&mut self, layer: &Layer, tables: Vec<Option<Table>>, border: i8) -> Result<Location, MappingError> {
        let mut sources = Vec::with_capacity(tables.len());
        for (slot, table) in tables.into_iter().enumerate() {
            let (source, shape) = self.source(layer, slot)?;
            let source = match table {
                Some(table) => self.elementwise(layer, " (table)", vec![VectorOp::Table(table)], &source, &shape)?,
                None => source,
            };
            sources.push((source, shape));
        }
        let (source, shape) = sources[0].clone();
        match &layer.op {
            Op::Transpose(perm) => {
                if let Some(location) = source.transposed(&shape, perm) {
                    return Ok(location);
                }
                let source = self.row_major(layer, &source);
                Ok(source.transposed(&shape, perm).expect("bug: a row-major value has a stride for each axis"))
            }
            Op::Slice(spans) => {
                if spans.iter().any(|span| span.step < 0 && span.count > 1) {
                    return Err(refused(layer, "takes elements backwards".to_string(), "export the network without a negative step"));
                }
                let spans: Vec<_> =
                    spans.iter().map(|span| (span.start as u64, span.count as u64, span.step.unsigned_abs() as u64)).collect();
                if let Some(location) = source.sliced(&shape, &spans) {
                    return Ok(location);
                }
                let source = self.row_major(layer, &source);
                Ok(source.sliced(&shape, &spans).expect("bug: a row-major value has a stride for each axis"))
            }
            Op::Concat { axis } => Ok(self.concat(layer, *axis, sources)),
            Op::Pad(pad) => {
                let output = shape_of(layer);
                let order = source.order(&shape).unwrap_or_else(|| (0..shape.len()).collect());
                let (mut tensor, sample) = self.tensor(output.iter().product());
                let bytes = usize::try_from(tensor.bytes).expect("bug: a value fits in memory");
                tensor.content = Some(Arc::new(vec![border.to_le_bytes()[0]; bytes]));
                let whole = Location::ordered(tensor, sample, &output, &order);
                let spans: Vec<_> = shape.iter().zip(&pad.before).map(|(size, before)| (*before as u64, *size, 1)).collect();
                let inner = whole.sliced(&output, &spans).expect("bug: axes in an order have a stride each");
                let copy = self.copy(layer, &source, &inner);
                self.movement(layer, "", vec![copy], &whole);
                Ok(whole)
            }
            _ => Ok(source),
        }
    }

    fn concat(&mut self, layer: &Layer, axis: usize, sources: Vec<(Location, Vec<u64>)>) -> Location {
        let output = shape_of(layer);
        let order = sources.iter().find_map(|(source, shape)| source.order(shape)).unwrap_or_else(|| (0..output.len()).collect());
        let (tensor, sample) = self.tensor(output.iter().product());
        let whole = Location::ordered(tensor, sample, &output, &order);
        let mut first = 0;
        let mut copies = Vec::with_capacity(sources.len());
        for (source, shape) in sources {
            let spans: Vec<_> =
                shape.iter().enumerate().map(|(other, size)| if other == axis { (first, *size, 1) } else { (0, *size, 1) }).collect();
            let part = whole.sliced(&output, &spans).expect("bug: axes in an order have a stride each");
            copies.push(self.copy(layer, &source, &part));
            first += shape[axis];
        }
        self.movement(layer, "", copies, &whole);
        whole
    }

    /// A value row-major, its shape being whatever it is read as: as it is if it lies so already.
    pub(super) fn row_major(&mut self, layer: &Layer, source: &Location) -> Location {
        let elements = source.elements();
        self.relocated(layer, source, &[elements], &[0])
    }

    /// A value moved into a tensor of its own, the axes of `shape` in this order in memory.
    pub(super) fn relocated(&mut self, layer: &Layer, source: &Location, shape: &[u64], order: &[usize]) -> Location {
        let (tensor, sample) = self.tensor(shape.iter().product());
        let target = Location::ordered(tensor, sample, shape, order);
        let copy = self.copy(layer, source, &target);
        self.movement(layer, " (moved)", vec![copy], &target);
        target
    }

    /// The copy from one place to another, by way of a row-major one where their factors do not divide each other.
    fn copy(&mut self, layer: &Layer, source: &Location, target: &Location) -> Copy {
        let Some(factors) = common([&source.factors, &target.factors]) else {
            let elements = source.elements();
            let source = self.relocated(layer, source, &[elements], &[0]);
            return self.copy(layer, &source, target);
        };
        let samples = (self.batch, [source.sample, target.sample]);
        let mut factors: Vec<_> = std::iter::once(samples).chain(factors).collect();
        // In the order in which it lies where it goes.
        factors.sort_by_key(|(_, [_, to])| Reverse(*to));
        let mut factors = joint(factors);
        if factors.last().is_none_or(|(_, [_, to])| *to != 1) {
            factors.push((1, [1, 1]));
        }
        Copy { from: source.tensor.clone(), first: [source.offset, target.offset], factors }
    }

    fn movement(&mut self, layer: &Layer, part: &str, copies: Vec<Copy>, target: &Location) {
        let elements: u64 = target.elements();
        let problem = Problem::matrix(self.batch, elements, elements, Dtype::Int8, Dtype::Int8);
        let output = Operand::dense(target.tensor.clone(), self.batch, elements);
        self.push(layer, Work::Movement(copies), problem, Vec::new(), output).name.push_str(part);
    }
}
