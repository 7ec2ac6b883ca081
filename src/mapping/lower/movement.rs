//! Layers that only change where elements lie.

use super::super::location::{Location, common, joint};
use super::super::{MappingError, Operand, Problem};
use super::{Copy, Lowerer, Work, shape_of};
use crate::network::{Layer, Op, Span};
use crate::numerics::{Dtype, Table, VectorOp};
use std::cmp::Reverse;
use std::sync::Arc;

/// The most elements of axes that go backwards whose bytes are moved by a command each.
const MAX_BACKWARDS: usize = 1024;

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
                if spans.iter().any(Span::is_backwards) {
                    return self.backwards(layer, &source, &shape, spans);
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

    /// A slice backwards along some axes: a copy for each element of these, or the host's where they are many.
    fn backwards(&mut self, layer: &Layer, source: &Location, shape: &[u64], spans: &[Span]) -> Result<Location, MappingError> {
        let source = if source.strides(shape).is_some() { source.clone() } else { self.row_major(layer, source) };
        let strides = source.strides(shape).expect("bug: a row-major value has a stride for each axis");
        let output = shape_of(layer);
        let pieces = spans.iter().filter(|span| span.is_backwards()).try_fold(1_usize, |pieces, span| pieces.checked_mul(span.count));
        let Some(pieces) = pieces.filter(|pieces| *pieces <= MAX_BACKWARDS) else {
            let first = spans.iter().zip(&strides).map(|(span, stride)| span.start as u64 * stride).sum::<u64>() + source.offset;
            let factors = spans.iter().zip(strides).map(|(span, stride)| (span.count as u64, span.step as i64 * stride.cast_signed()));
            return self.backwards_on_host(layer, &source, (first, factors.collect()));
        };
        let order = source.order(shape).unwrap_or_else(|| (0..shape.len()).collect());
        let (tensor, sample) = self.tensor(output.iter().product());
        let whole = Location::ordered(tensor, sample, &output, &order);
        let mut copies = Vec::with_capacity(pieces);
        for piece in 0..pieces {
            // The place of the piece along each axis that goes backwards, the last one counting fastest.
            let mut left = piece;
            let mut cut: Vec<_> = spans
                .iter()
                .rev()
                .map(|span| {
                    if !span.is_backwards() {
                        let count = span.count as u64;
                        return ((span.start as u64, count, span.step.unsigned_abs() as u64), (0, count, 1));
                    }
                    let at = left % span.count;
                    left /= span.count;
                    ((span.start as u64 - at as u64 * span.step.unsigned_abs() as u64, 1, 1), (at as u64, 1, 1))
                })
                .collect();
            cut.reverse();
            let (from, to): (Vec<_>, Vec<_>) = cut.into_iter().unzip();
            let from = source.sliced(shape, &from).expect("bug: its axes have a stride each");
            let to = whole.sliced(&output, &to).expect("bug: axes in an order have a stride each");
            copies.push(self.copy(layer, &from, &to));
        }
        self.movement(layer, "", copies, &whole);
        Ok(whole)
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
