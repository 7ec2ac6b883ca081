//! Layers that the vector unit computes.

use super::super::location::{Factor, Joint, Location, common, joined, joint, ordered_strides, packed};
use super::super::{MappingError, Operand, Problem, largest_divisor};
use super::array::too_many;
use super::{Lowerer, Work, format_of_value, refused, shape_of, whole_bytes};
use crate::chip::Chip;
use crate::network::{Layer, Op, Pool, integers_of};
use crate::numerics::{Dtype, Quantization, Table, VectorKind, VectorOp};
use ndarray::{ArrayD, IxDyn};
use std::cmp::Reverse;

/// Elements of a row of what is computed element by element and is no image.
const ROW: u64 = 1024;
/// Rows shorter than this are joined to longer ones, where the value lies without gaps.
const SHORT: u64 = 8;

/// Rows of elements that a stage works through.
struct Rows<const N: usize> {
    problem: Problem,
    operands: [Operand; N],
}

impl Lowerer<'_> {
    pub(super) fn vector(&mut self, layer: &Layer, op: VectorOp) -> Result<Location, MappingError> {
        let (source, shape) = self.source(layer, 0)?;
        match op.kind() {
            VectorKind::Table => self.elementwise(layer, "", op, &source, &shape, format_of_value(layer)),
            VectorKind::Sum | VectorKind::Product => {
                let (second, of_second) = self.source(layer, 1)?;
                is_no_sign(layer)?;
                let wide = widest([&source, &second]);
                let source = self.widened(layer, 0, &source, wide)?;
                let second = self.widened(layer, 1, &second, wide)?;
                let location = self.of_two(layer, op, &[(source, shape), (second, of_second)])?;
                self.narrowed(layer, location)
            }
            VectorKind::Pool => self.pool(layer, op, source, &shape),
            VectorKind::Depthwise => unreachable!("bug: a depthwise layer's form is sums"),
            VectorKind::Softmax => match layer.op {
                Op::Softmax { axis } if axis + 1 < shape.len() => {
                    // With its axis last, and back again.
                    let mut order: Vec<usize> = (0..shape.len()).filter(|other| *other != axis).collect();
                    order.push(axis);
                    let (source, shape) = self.in_axes(layer, &source, &shape, &order);
                    let location = self.by_row(layer, op, source, &shape, shape[shape.len() - 1])?;
                    let mut back: Vec<usize> = (0..shape.len()).collect();
                    back.sort_by_key(|place| order[*place]);
                    Ok(self.in_axes(layer, &location, &shape, &back).0)
                }
                _ => self.by_row(layer, op, source, &shape, shape.last().copied().unwrap_or(1)),
            },
            VectorKind::LayerNorm => {
                let Op::LayerNorm(norm) = &layer.op else { unreachable!("bug: only a normalisation normalises") };
                self.by_row(layer, op, source, &shape, norm.scale.len() as u64)
            }
        }
    }

    /// An operation on rows of `inner` elements, which the last axes are.
    fn by_row(&mut self, layer: &Layer, op: VectorOp, source: Location, shape: &[u64], inner: u64) -> Result<Location, MappingError> {
        let rows = shape.iter().product::<u64>() / inner;
        let source = self.by_rows(layer, source, rows, inner);
        let (operand, tensor, location) = self.rows_of(layer, &source, &[rows, inner], (inner, format_of_value(layer)))?;
        let problem = matrix(self.batch * rows, inner, source.tensor.format, tensor.format);
        let output = Operand::dense(tensor, self.batch * rows, problem.output_bytes(inner));
        self.push(layer, Work::Vector(vec![op]), problem, vec![operand], output);
        Ok(location)
    }

    /// A value with its axes in another order, and its shape then; moved first where no strides say so.
    fn in_axes(&mut self, layer: &Layer, source: &Location, shape: &[u64], order: &[usize]) -> (Location, Vec<u64>) {
        let turned = source.transposed(shape, order).unwrap_or_else(|| {
            self.row_major(layer, source).transposed(shape, order).expect("bug: a row-major value has a stride for each axis")
        });
        (turned, order.iter().map(|axis| shape[*axis]).collect())
    }

    /// An operation on each element, whose results have the format `to`; `part` says what of the layer it is.
    pub(super) fn elementwise(
        &mut self,
        layer: &Layer,
        part: &str,
        op: VectorOp,
        source: &Location,
        shape: &[u64],
        to: Dtype,
    ) -> Result<Location, MappingError> {
        if source.tensor.format.bits() < 8 || to.bits() < 8 {
            return self.by_packed_rows(layer, part, op, source, shape, to);
        }
        let Some((rows, factors)) = self.rows([source], shape, to) else {
            let source = self.row_major(layer, source);
            return self.elementwise(layer, part, op, &source, shape, to);
        };
        Ok(self.work(layer, part, vec![op], rows, factors))
    }

    /// The same where elements of less than a byte are read or written: rows are those of the innermost axis in memory, and results lie in the same
    /// order.
    pub(super) fn by_packed_rows(
        &mut self,
        layer: &Layer,
        part: &str,
        op: VectorOp,
        source: &Location,
        shape: &[u64],
        to: Dtype,
    ) -> Result<Location, MappingError> {
        let is_whole = |places: u64| whole_bytes(source.tensor.format, places).is_some();
        // Rows of the elements that lie side by side; of one element each, where an image has one channel or none lie so.
        let found = source.strides(shape).and_then(|strides| {
            let side_by_side = (0..shape.len()).find(|axis| strides[*axis] == 1 && shape[*axis] > 1);
            let inner = match side_by_side {
                _ if shape.len() == 3 && shape[0] == 1 => 0,
                Some(axis) => axis,
                None => (0..shape.len()).rev().find(|axis| shape[*axis] == 1)?,
            };
            let mut order: Vec<usize> = (0..shape.len()).filter(|axis| *axis != inner).collect();
            let is_row = order.iter().all(|axis| shape[*axis] == 1 || is_whole(strides[*axis])) && is_whole(source.offset);
            order.sort_by_key(|axis| (Reverse(if shape[*axis] == 1 { u64::MAX } else { strides[*axis] }), *axis));
            order.push(inner);
            is_row.then_some((strides, order))
        });
        let Some((strides, order)) = found else {
            // What was counted by its own factors cannot be counted better.
            let is_own = source.factors.iter().zip(shape).all(|(factor, size)| factor.size == *size);
            let count = source.factors.len();
            if source.tensor.format.bits() < 8 && is_own && (count..=count + 1).contains(&shape.len()) {
                return Err(within_bytes(layer, source.tensor.format));
            }
            let axes: Vec<usize> = (0..shape.len()).collect();
            let moved = self.relocated(layer, source, shape, &axes);
            return self.fault.take().map_or_else(|| self.by_packed_rows(layer, part, op, &moved, shape, to), Err);
        };
        let inner = *order.last().expect("bug: a value has an axis");
        let outer = order.iter().filter(|axis| **axis != inner).map(|axis| Factor { size: shape[*axis], stride: strides[*axis] });
        let operand = self.batched(source, outer).ok_or_else(|| within_bytes(layer, source.tensor.format))?;
        let (rows, cols) = (shape.iter().product::<u64>() / shape[inner], shape[inner]);
        let whole = matrix(self.batch * rows, cols, source.tensor.format, to);
        let problem = if shape.len() == 3 && order == [1, 2, 0] {
            Problem { n: self.batch, input: [shape[1], shape[2]], p: shape[1], q: shape[2], ..whole }
        } else {
            whole
        };
        let (tensor, sample) = self.tensor(to, ordered_strides(to, shape, &order).1);
        let stored = Operand::dense(tensor.clone(), problem.vectors(), problem.output_bytes(cols));
        self.push(layer, Work::Vector(vec![op]), problem, vec![operand], stored).name.push_str(part);
        Ok(Location::ordered(tensor, sample, shape, &order))
    }

    /// The same integers in a wider format: those that a layer reads as its argument `slot`.
    pub(super) fn widened(&mut self, layer: &Layer, slot: usize, source: &Location, to: Dtype) -> Result<Location, MappingError> {
        if source.tensor.format == to {
            return Ok(source.clone());
        }
        let read = self.network.layer(self.network.inputs(layer.id)[slot]);
        let narrow = integers_of(read)?;
        let table = Table::new(&narrow, &Quantization { dtype: to, ..narrow }, |x| x);
        self.elementwise(layer, " (widened)", VectorOp::Table(table), source, &shape_of(read), to)
    }

    /// What a layer has left in bytes, in the format of its value.
    pub(super) fn narrowed(&mut self, layer: &Layer, source: Location) -> Result<Location, MappingError> {
        let format = source.tensor.format;
        if format <= format_of_value(layer) {
            return Ok(source);
        }
        let held = integers_of(layer)?;
        let table = Table::new(&Quantization { dtype: format, ..held }, &held, |x| x);
        self.elementwise(layer, " (packed)", VectorOp::Table(table), &source, &shape_of(layer), held.dtype)
    }

    /// A stage on rows, and where its results lie.
    fn work<const N: usize>(&mut self, layer: &Layer, part: &str, ops: Vec<VectorOp>, rows: Rows<N>, factors: Vec<Factor>) -> Location {
        let Rows { problem, operands } = rows;
        let elements = factors.iter().map(|factor| factor.size).product();
        let (tensor, sample) = self.tensor(problem.output, elements);
        let output = Operand::dense(tensor.clone(), problem.vectors(), problem.output_bytes(problem.m));
        self.push(layer, Work::Vector(ops), problem, operands.into(), output).name.push_str(part);
        Location { tensor, offset: 0, sample, factors }
    }

    /// Values of one shape and one format of whole bytes, element by element, as rows that lie side by side in each, in the order in which the most
    /// spread one lies; and the factors of results, of the format `to`, in that order.
    fn rows<const N: usize>(&self, locations: [&Location; N], shape: &[u64], to: Dtype) -> Option<(Rows<N>, Vec<Factor>)> {
        let common = common(locations.map(|location| location.factors.as_slice()))?;
        let mut sorted: Vec<(usize, Joint<N>)> = common.iter().copied().enumerate().collect();
        sorted.sort_by_key(|(place, (_, strides))| (Reverse(strides.iter().copied().max()), *place));
        let (results, elements) = packed(sorted.iter().map(|(place, (size, _))| (*place, *size)), 1, sorted.len());
        let from = locations[0].tensor.format;
        let results = joined(common.iter().zip(results).map(|((size, _), stride)| Factor { size: *size, stride }));
        let mut factors = joint(sorted.into_iter().map(|(_, factor)| factor));
        let (run, strides) = factors.pop().unwrap_or((1, [1; N]));
        if strides.iter().any(|stride| *stride != 1) && run > 1 {
            return None;
        }
        let is_image =
            shape.len() == 3 && locations.iter().any(|location| location.strides(shape).is_some_and(|of| is_by_pixel(&of, shape)));
        let (problem, cols) = if is_image && run.is_multiple_of(shape[0]) && shape[0] >= SHORT {
            (Problem { n: self.batch, input: [shape[1], shape[2]], p: shape[1], q: shape[2], ..matrix(1, shape[0], from, to) }, shape[0])
        } else {
            let own = shape.last().copied().unwrap_or(1);
            let cols = if run.is_multiple_of(own) && (SHORT..=ROW).contains(&own) {
                own
            } else {
                largest_divisor(run, |cols| cols <= ROW).unwrap_or(1)
            };
            (matrix(self.batch * elements / cols, cols, from, to), cols)
        };
        let rows = (run / cols, [cols; N]);
        let operands = locations.iter().enumerate().map(|(number, location)| {
            let factors = factors.iter().chain([&rows]).map(|(size, strides)| Factor { size: *size, stride: strides[number] });
            self.batched(location, factors)
        });
        let operands: Vec<Operand> = operands.collect::<Option<_>>()?;
        Some((Rows { problem, operands: operands.try_into().ok()? }, results))
    }

    /// A sum or product of two values, each with its shape.
    fn of_two(&mut self, layer: &Layer, op: VectorOp, values: &[(Location, Vec<u64>); 2]) -> Result<Location, MappingError> {
        let shape = shape_of(layer);
        let spread = |(location, from): &(Location, Vec<u64>)| location.broadcast(from, &shape);
        if let [Some(a), Some(b)] = [spread(&values[0]), spread(&values[1])]
            && let Some((rows, factors)) = self.rows([&a, &b], &shape, in_bytes(layer))
        {
            return Ok(self.work(layer, "", vec![op], rows, factors));
        }
        // One is moved into the order in which the other lies; where neither has one, both row by row.
        let row_major: Vec<usize> = (0..shape.len()).collect();
        let order = values.iter().find_map(|(location, from)| if *from == shape { location.order(&shape) } else { None });
        let order = order.unwrap_or(row_major);
        let mut moved = Vec::with_capacity(2);
        for value in values {
            let is_there = spread(value).is_some_and(|location| location.is_dense() && location.order(&shape).as_ref() == Some(&order));
            let whole = match spread(value) {
                Some(location) => location,
                None => self.row_major(layer, &value.0).broadcast(&value.1, &shape).expect("bug: a row-major value broadcasts"),
            };
            moved.push(if is_there { whole } else { self.relocated(layer, &whole, &shape, &order) });
        }
        let (rows, factors) =
            self.rows([&moved[0], &moved[1]], &shape, in_bytes(layer)).ok_or_else(|| too_many(layer, moved[0].tensor.format))?;
        Ok(self.work(layer, "", vec![op], rows, factors))
    }

    /// A sum or product with a constant.
    pub(super) fn with_constant(
        &mut self,
        layer: &Layer,
        op: VectorOp,
        (constant, format): (&ArrayD<i16>, Dtype),
        constant_first: bool,
    ) -> Result<Location, MappingError> {
        let (source, from) = self.source(layer, 0)?;
        is_no_sign(layer)?;
        // Both in one format, of whole bytes: a constant may be held wider than it is.
        let held = Ord::max(widest([&source]), format);
        let source = self.widened(layer, 0, &source, held)?;
        let shape = shape_of(layer);
        let value = match source.broadcast(&from, &shape) {
            Some(value) => value,
            None => self.row_major(layer, &source).broadcast(&from, &shape).expect("bug: a row-major value broadcasts"),
        };
        let of_constant: Vec<u64> = constant.shape().iter().map(|size| *size as u64).collect();
        let small = self.constant(held, constant.iter().copied());
        let small = small.broadcast(&of_constant, &shape).expect("bug: a checked network's constants broadcast");
        let found = self.rows(in_order(constant_first, &value, &small), &shape, in_bytes(layer));
        if let Some((rows, factors)) = found {
            let location = self.work(layer, "", vec![op], rows, factors);
            return self.narrowed(layer, location);
        }
        // Laid out as the value lies, an element for each of its own.
        let value = if value.is_dense() { value } else { self.row_major(layer, &value) };
        let dims: Vec<usize> = layer.output.shape.clone();
        let whole = constant.broadcast(IxDyn(&dims)).expect("bug: a checked network's constants broadcast");
        let mut laid = vec![0; whole.len()];
        let mut elements = whole.iter();
        value.each(1, |element| {
            let place = usize::try_from(element - value.offset).expect("bug: a value fits in memory");
            laid[place] = elements.next().copied().unwrap_or(0);
        });
        let Location { tensor, .. } = self.constant(held, laid.into_iter());
        let constant = Location { tensor, offset: 0, sample: 0, factors: value.factors.clone() };
        let (rows, factors) = self
            .rows(in_order(constant_first, &value, &constant), &shape, in_bytes(layer))
            .ok_or_else(|| too_many(layer, value.tensor.format))?;
        let location = self.work(layer, "", vec![op], rows, factors);
        self.narrowed(layer, location)
    }

    /// A table for each of several slopes; the elements of the axes that these lie along lie side by side.
    pub(super) fn tables(&mut self, layer: &Layer, tables: Vec<Table>, slopes: &[usize]) -> Result<Location, MappingError> {
        let (source, shape) = self.source(layer, 0)?;
        is_no_sign(layer)?;
        let source = self.widened(layer, 0, &source, widest([&source]))?;
        let before = shape.len() - slopes.len();
        let has_slopes = |axis: &usize| *axis >= before && slopes[axis - before] > 1;
        let (innermost, mut order): (Vec<usize>, Vec<usize>) = (0..shape.len()).partition(has_slopes);
        order.extend(&innermost);
        let cols = tables.len() as u64;
        let of_slopes = packed(innermost.iter().enumerate().map(|(place, axis)| (place, shape[*axis])), 1, innermost.len()).0;
        let strides = source.strides(&shape);
        let lies = strides.is_some_and(|strides| innermost.iter().zip(of_slopes).all(|(axis, stride)| strides[*axis] == stride));
        let source = if lies && source.is_dense() { source } else { self.relocated(layer, &source, &shape, &order) };
        let rows = shape.iter().product::<u64>() / cols;
        let problem = matrix(self.batch * rows, cols, source.tensor.format, in_bytes(layer));
        let operand = Operand::dense(source.tensor.clone(), self.batch * rows, problem.input_pixel());
        let rows = Rows { problem, operands: [operand] };
        let location = self.work(layer, "", tables.into_iter().map(VectorOp::Table).collect(), rows, source.factors);
        self.narrowed(layer, location)
    }

    /// A pooling window over an image; a mean is a window as large as what it goes over.
    fn pool(&mut self, layer: &Layer, op: VectorOp, source: Location, shape: &[u64]) -> Result<Location, MappingError> {
        let output = shape_of(layer);
        let pair = |pair: [usize; 2]| pair.map(|size| size as u64);
        // The greatest of its elements is as wide as they are.
        let from = source.tensor.format;
        let to = if op == VectorOp::Maximum { from } else { format_of_value(layer) };
        let unit = matrix(1, 1, from, to);
        // The axes of a mean that are no rows and columns of an image are those of a column, whose pixels have what is kept as channels.
        let (mut source, mut shape) = (source, shape.to_vec());
        let is_column = matches!(&layer.op, Op::Mean { axes, .. } if axes[..] != [1, 2] || shape.len() != 3);
        if is_column && let Op::Mean { axes, .. } = &layer.op {
            let kept = (0..shape.len()).filter(|axis| !axes.contains(axis));
            let order: Vec<usize> = axes.iter().copied().chain(kept).collect();
            (source, shape) = self.in_axes(layer, &source, &shape, &order);
            shape = vec![shape[..axes.len()].iter().product(), shape[axes.len()..].iter().product()];
        }
        let (image, window, placed) = match &layer.op {
            Op::Pool(Pool { kernel, stride, dilation, padding, .. }) => {
                let image = [shape[0], shape[1], shape[2]];
                let padding = [padding[0] as u64, padding[1] as u64];
                (
                    image,
                    Problem { stride: pair(*stride), dilation: pair(*dilation), padding, ..unit },
                    Some((pair(*kernel), [output[1], output[2]])),
                )
            }
            _ if !is_column => ([shape[0], shape[1], shape[2]], unit, None),
            _ => ([shape[1], shape[0], 1], unit, None),
        };
        let [channels, height, width] = image;
        let (kernel, [rows, cols]) = placed.unwrap_or(([height, width], [1, 1]));
        let source = if is_column {
            // Rows of channels are pixels.
            let source = self.by_rows(layer, source, height, channels);
            source.transposed(&[height, channels], &[1, 0]).expect("bug: rows of elements side by side are an axis")
        } else {
            source
        };
        let (source, _) = self.image(layer, source, &image)?;
        let strides = source.strides(&image).expect("bug: an image has a stride for each axis");
        // So many channels at a time that the rows under two windows fit, and what they yield.
        let fits = |chunk: u64| {
            let reach = ((kernel[0] - 1) * window.dilation[0] + 1 + window.stride[0]).min(height);
            let bytes = reach * width * from.packed_bytes(chunk) + cols * to.packed_bytes(chunk);
            2 * bytes + 4 * port(self.chip) <= room(self.chip)
        };
        let is_whole = |chunk: u64| chunk == channels || whole_bytes(from, chunk).is_some() && whole_bytes(to, chunk).is_some();
        let chunk = largest_divisor(channels, |chunk| fits(chunk) && is_whole(chunk))
            .or_else(|| (1..=channels).find(|chunk| channels.is_multiple_of(*chunk) && is_whole(*chunk)))
            .unwrap_or(channels);
        let chunks = channels / chunk;
        let spread = |axis: usize| Factor { size: image[axis], stride: strides[axis] };
        let input = self
            .batched(&source, [Factor { size: chunks, stride: chunk }, spread(1), spread(2)])
            .ok_or_else(|| too_many(layer, source.tensor.format))?;
        let pixels = [channels, rows * cols];
        let (tensor, sample) = self.tensor(to, ordered_strides(to, &pixels, &[1, 0]).1);
        let location = Location::ordered(tensor, sample, &pixels, &[1, 0]);
        let pitch = ordered_strides(to, &pixels, &[1, 0]).0[1];
        let stored = [Factor { size: chunks, stride: chunk }, Factor { size: rows * cols, stride: pitch }];
        let stored = self.batched(&location, stored).ok_or_else(|| too_many(layer, location.tensor.format))?;
        let problem = Problem {
            n: self.batch * chunks,
            m: chunk,
            c: chunk,
            p: rows,
            q: cols,
            r: kernel[0],
            s: kernel[1],
            input: [height, width],
            ..window
        };
        self.push(layer, Work::Vector(vec![op]), problem, vec![input], stored);
        Ok(location)
    }
}

/// What to do where elements of less than a byte do not lie in rows of whole bytes.
const WIDER: &str = "let what reads this value have activations of 8 bits: Quantize(w: .., a: 8, layers: [NAME])";

/// Refuses results that are signs.
fn is_no_sign(layer: &Layer) -> Result<(), MappingError> {
    if format_of_value(layer) != Dtype::Binary {
        return Ok(());
    }
    Err(refused(layer, "yields binary values, which this operation does not make".to_string(), "let it yield 8 bits, and round them next"))
}

/// The format in which results of a layer leave what does not pack them.
fn in_bytes(layer: &Layer) -> Dtype {
    Ord::max(format_of_value(layer), Dtype::Int8)
}

/// Rows of elements, and no products.
fn matrix(rows: u64, cols: u64, from: Dtype, to: Dtype) -> Problem {
    Problem { output: to, ..Problem::matrix(rows, cols, cols, from, from) }
}

/// The widest format of values, and at least a byte.
fn widest<const N: usize>(values: [&Location; N]) -> Dtype {
    values.iter().map(|value| value.tensor.format).fold(Dtype::Int8, Ord::max)
}

/// A layer whose elements would have to be taken out of the middle of bytes.
pub(super) fn within_bytes(layer: &Layer, format: Dtype) -> MappingError {
    refused(layer, format!("reads or writes rows of {format} elements that begin within a byte"), WIDER)
}

/// Whether an image lies pixel by pixel, channels innermost, row after row without gaps.
fn is_by_pixel(strides: &[u64], shape: &[u64]) -> bool {
    strides[0] == 1 && (shape[2] == 1 || strides[2] == shape[0]) && (shape[1] == 1 || strides[1] == shape[0] * shape[2])
}

pub(super) fn port(chip: &Chip) -> u64 {
    u64::from(chip.scratchpads()[chip.scratchpad_roles().activation].port_bytes)
}

/// Bytes of the scratchpad that activations may take at least: half of one that weights share.
pub(super) fn room(chip: &Chip) -> u64 {
    let roles = chip.scratchpad_roles();
    let bytes = chip.scratchpads()[roles.activation].capacity.get();
    if roles.weight == roles.activation { bytes / 2 } else { bytes }
}

/// A value and a constant in the order of an operation's operands.
fn in_order<T>(constant_first: bool, value: T, constant: T) -> [T; 2] {
    if constant_first { [constant, value] } else { [value, constant] }
}
