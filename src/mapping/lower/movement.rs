//! Layers that only change where elements lie.

use super::super::location::{Joint, Location, common, joint, ordered_strides};
use super::super::{MappingError, Operand, Problem};
use super::vector::within_bytes;
use super::{Copy, Lowerer, Work, format_of_value, shape_of, whole_bytes};
use crate::network::{Layer, Op, Span};
use crate::numerics::{Dtype, Quantization, Table, VectorOp};
use std::cmp::Reverse;
use std::sync::Arc;

/// The most elements of axes that go backwards whose bytes are moved by a command each.
const MAX_BACKWARDS: usize = 1024;

impl Lowerer<'_> {
    /// A layer that moves elements, those of each input through its table first.
    pub(super) fn moves(&mut self, layer: &Layer, tables: Vec<Option<VectorOp>>, border: i16) -> Result<Location, MappingError> {
        let mut sources = Vec::with_capacity(tables.len());
        for (slot, table) in tables.into_iter().enumerate() {
            let (source, shape) = self.source(layer, slot)?;
            let source = match table {
                Some(op) => self.elementwise(layer, " (table)", op, &source, &shape, format_of_value(layer))?,
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
                let format = source.tensor.format;
                let (tensor, sample) = self.tensor(format, ordered_strides(format, &output, &order).1);
                let mut whole = Location::ordered(tensor, sample, &output, &order);
                whole.tensor.content = Some(Arc::new(whole.lay([], self.batch, i32::from(border))));
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
        let format = source.tensor.format;
        if format.bits() < 8 {
            return Err(within_bytes(layer, format));
        }
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
        let (tensor, sample) = self.tensor(format, output.iter().product());
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
        let format = format_of_value(layer);
        let (tensor, sample) = self.tensor(format, ordered_strides(format, &output, &order).1);
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
    ///
    /// Elements of less than a byte go by way of bytes: the vector unit widens them, they are moved, and it packs them again.
    pub(super) fn relocated(&mut self, layer: &Layer, source: &Location, shape: &[u64], order: &[usize]) -> Location {
        let format = source.tensor.format;
        if format.bits() < 8 {
            let mut sizes: Vec<u64> = source.factors.iter().map(|factor| factor.size).collect();
            // Elements that each have bytes of their own are rows of one.
            if source.factors.iter().all(|factor| factor.stride != 1) {
                sizes.push(1);
            }
            let wide = self.by_packed_rows(layer, " (widened)", same(format, Dtype::Int8), source, &sizes, Dtype::Int8);
            let packed = wide.and_then(|wide| {
                let moved = self.relocated(layer, &wide, shape, order);
                self.by_packed_rows(layer, " (packed)", same(Dtype::Int8, format), &moved, shape, format)
            });
            return packed.unwrap_or_else(|fault| {
                // The layer is refused; until then it goes on as if its value lay so.
                self.fault.get_or_insert(fault);
                let (tensor, sample) = self.tensor(format, ordered_strides(format, shape, order).1);
                Location::ordered(tensor, sample, shape, order)
            });
        }
        let (tensor, sample) = self.tensor(format, ordered_strides(format, shape, order).1);
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
        let format = source.tensor.format;
        let Some((first, factors)) = in_bytes(format, [source.offset, target.offset], factors) else {
            self.fault.get_or_insert_with(|| within_bytes(layer, format));
            return Copy { from: source.tensor.clone(), first: [0, 0], factors: vec![(1, [1, 1])] };
        };
        Copy { from: source.tensor.clone(), first, factors }
    }

    fn movement(&mut self, layer: &Layer, part: &str, copies: Vec<Copy>, target: &Location) {
        let (elements, format) = (target.elements(), target.tensor.format);
        let problem = Problem::matrix(self.batch, elements, elements, format, format);
        let output = Operand::dense(target.tensor.clone(), self.batch, format.packed_bytes(target.sample));
        self.push(layer, Work::Movement(copies), problem, Vec::new(), output).name.push_str(part);
    }
}

/// The table that gives the integers of one format in another.
fn same(from: Dtype, to: Dtype) -> VectorOp {
    let unit = |dtype| Quantization { dtype, scale: 1.0, zero_point: 0 };
    VectorOp::Table(Table::new(&unit(from), &unit(to), |x| x))
}

/// Places and factors that are counted in elements, in bytes; none where elements would be taken out of the middle of bytes. The innermost factor,
/// whose elements lie side by side where they go, becomes bytes.
fn in_bytes(format: Dtype, first: [u64; 2], mut factors: Vec<Joint<2>>) -> Option<([u64; 2], Vec<Joint<2>>)> {
    let both = |[from, to]: [u64; 2]| Some([whole_bytes(format, from)?, whole_bytes(format, to)?]);
    let first = both(first)?;
    let (size, strides) = factors.pop()?;
    let mut outer = Vec::with_capacity(factors.len() + 2);
    for (size, strides) in factors {
        outer.push((size, both(strides)?));
    }
    if strides == [1, 1] {
        // Every row starts on a byte, so that what fills its last one up is no other's.
        outer.push((format.packed_bytes(size), [1, 1]));
    } else {
        // Elements that lie apart where they come from: each is as many bytes as it has.
        let bytes = whole_bytes(format, 1)?;
        outer.push((size, both(strides)?));
        if bytes > 1 {
            outer.push((bytes, [1, 1]));
        }
    }
    Some((first, outer))
}
