//! Layers that the vector unit computes.

use super::super::location::{Factor, Joint, Location, common, joined, joint, packed};
use super::super::{MappingError, Operand, Problem, largest_divisor};
use super::array::too_many;
use super::{Lowerer, Work, shape_of};
use crate::chip::Chip;
use crate::network::{Layer, Op, Pool};
use crate::numerics::{Dtype, Table, VectorKind, VectorOp};
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
            VectorKind::Table => self.elementwise(layer, "", vec![op], &source, &shape),
            VectorKind::Sum | VectorKind::Product => {
                let (second, of_second) = self.source(layer, 1)?;
                self.of_two(layer, op, &[(source, shape), (second, of_second)])
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
        let source = if source.split_last(rows, inner).is_some() { source } else { self.row_major(layer, &source) };
        let (operand, tensor, location) = self.rows_of(layer, &source, &[rows, inner], inner)?;
        let problem = matrix(self.batch * rows, inner);
        let output = Operand::dense(tensor, self.batch * rows, inner);
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

    /// Tables, one for all elements or one for each element of the last axis in memory; `part` says what of the layer it is.
    pub(super) fn elementwise(
        &mut self,
        layer: &Layer,
        part: &str,
        ops: Vec<VectorOp>,
        source: &Location,
        shape: &[u64],
    ) -> Result<Location, MappingError> {
        let Some((rows, factors)) = self.rows([source], shape) else {
            let source = self.row_major(layer, source);
            return self.elementwise(layer, part, ops, &source, shape);
        };
        Ok(self.work(layer, part, ops, rows, factors))
    }

    /// A stage on rows, and where its results lie.
    fn work<const N: usize>(&mut self, layer: &Layer, part: &str, ops: Vec<VectorOp>, rows: Rows<N>, factors: Vec<Factor>) -> Location {
        let Rows { problem, operands } = rows;
        let elements = factors.iter().map(|factor| factor.size).product();
        let (tensor, sample) = self.tensor(elements);
        let output = Operand::dense(tensor.clone(), problem.vectors(), problem.m);
        self.push(layer, Work::Vector(ops), problem, operands.into(), output).name.push_str(part);
        Location { tensor, offset: 0, sample, factors }
    }

    /// Values of one shape, element by element, as rows of bytes that lie side by side in each, in the order in which the most spread one lies;
    /// and the factors of results in that order.
    fn rows<const N: usize>(&self, locations: [&Location; N], shape: &[u64]) -> Option<(Rows<N>, Vec<Factor>)> {
        let common = common(locations.map(|location| location.factors.as_slice()))?;
        let mut sorted: Vec<(usize, Joint<N>)> = common.iter().copied().enumerate().collect();
        sorted.sort_by_key(|(place, (_, strides))| (Reverse(strides.iter().copied().max()), *place));
        let (results, elements) = packed(sorted.iter().map(|(place, (size, _))| (*place, *size)), 1);
        let results = joined(common.iter().zip(results).map(|((size, _), stride)| Factor { size: *size, stride }));
        let mut factors = joint(sorted.into_iter().map(|(_, factor)| factor));
        let (run, strides) = factors.pop().unwrap_or((1, [1; N]));
        if strides.iter().any(|stride| *stride != 1) && run > 1 {
            return None;
        }
        let is_image =
            shape.len() == 3 && locations.iter().any(|location| location.strides(shape).is_some_and(|of| is_by_pixel(&of, shape)));
        let (problem, cols) = if is_image && run.is_multiple_of(shape[0]) && shape[0] >= SHORT {
            (Problem { n: self.batch, input: [shape[1], shape[2]], p: shape[1], q: shape[2], ..matrix(1, shape[0]) }, shape[0])
        } else {
            let own = shape.last().copied().unwrap_or(1);
            let cols = if run.is_multiple_of(own) && (SHORT..=ROW).contains(&own) {
                own
            } else {
                largest_divisor(run, |cols| cols <= ROW).unwrap_or(1)
            };
            (matrix(self.batch * elements / cols, cols), cols)
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
            && let Some((rows, factors)) = self.rows([&a, &b], &shape)
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
        let (rows, factors) = self.rows([&moved[0], &moved[1]], &shape).ok_or_else(|| too_many(layer))?;
        Ok(self.work(layer, "", vec![op], rows, factors))
    }

    /// A sum or product with a constant.
    pub(super) fn with_constant(
        &mut self,
        layer: &Layer,
        op: VectorOp,
        constant: &ArrayD<i8>,
        constant_first: bool,
    ) -> Result<Location, MappingError> {
        let (source, from) = self.source(layer, 0)?;
        let shape = shape_of(layer);
        let value = match source.broadcast(&from, &shape) {
            Some(value) => value,
            None => self.row_major(layer, &source).broadcast(&from, &shape).expect("bug: a row-major value broadcasts"),
        };
        let bytes = |values: &mut dyn Iterator<Item = &i8>| values.map(|value| value.to_le_bytes()[0]).collect::<Vec<u8>>();
        let of_constant: Vec<u64> = constant.shape().iter().map(|size| *size as u64).collect();
        let small = self.constant(bytes(&mut constant.iter()));
        let small = small.broadcast(&of_constant, &shape).expect("bug: a checked network's constants broadcast");
        let found = self.rows(in_order(constant_first, &value, &small), &shape);
        if let Some((rows, factors)) = found {
            return Ok(self.work(layer, "", vec![op], rows, factors));
        }
        // Laid out as the value lies, an element for each of its own.
        let value = if value.is_dense() { value } else { self.row_major(layer, &value) };
        let dims: Vec<usize> = layer.output.shape.clone();
        let whole = constant.broadcast(IxDyn(&dims)).expect("bug: a checked network's constants broadcast");
        let mut laid = vec![0; whole.len()];
        let mut elements = whole.iter();
        value.each(1, |byte| {
            let place = usize::try_from(byte - value.offset).expect("bug: a value fits in memory");
            laid[place] = elements.next().map_or(0, |element| element.to_le_bytes()[0]);
        });
        let Location { tensor, .. } = self.constant(laid);
        let constant = Location { tensor, offset: 0, sample: 0, factors: value.factors.clone() };
        let (rows, factors) = self.rows(in_order(constant_first, &value, &constant), &shape).ok_or_else(|| too_many(layer))?;
        Ok(self.work(layer, "", vec![op], rows, factors))
    }

    /// A table for each of several slopes; the elements of the axes that these lie along lie side by side.
    pub(super) fn tables(&mut self, layer: &Layer, tables: Vec<Table>, slopes: &[usize]) -> Result<Location, MappingError> {
        let (source, shape) = self.source(layer, 0)?;
        let before = shape.len() - slopes.len();
        let has_slopes = |axis: &usize| *axis >= before && slopes[axis - before] > 1;
        let (innermost, mut order): (Vec<usize>, Vec<usize>) = (0..shape.len()).partition(has_slopes);
        order.extend(&innermost);
        let cols = tables.len() as u64;
        let of_slopes = packed(innermost.iter().enumerate().map(|(place, axis)| (place, shape[*axis])), 1).0;
        let strides = source.strides(&shape);
        let lies = strides.is_some_and(|strides| innermost.iter().zip(of_slopes).all(|(axis, stride)| strides[*axis] == stride));
        let source = if lies && source.is_dense() { source } else { self.relocated(layer, &source, &shape, &order) };
        let rows = shape.iter().product::<u64>() / cols;
        let operand = Operand::dense(source.tensor.clone(), self.batch * rows, cols);
        let rows = Rows { problem: matrix(self.batch * rows, cols), operands: [operand] };
        Ok(self.work(layer, "", tables.into_iter().map(VectorOp::Table).collect(), rows, source.factors))
    }

    /// A pooling window over an image; a mean is a window as large as what it goes over.
    fn pool(&mut self, layer: &Layer, op: VectorOp, source: Location, shape: &[u64]) -> Result<Location, MappingError> {
        let output = shape_of(layer);
        let pair = |pair: [usize; 2]| pair.map(|size| size as u64);
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
                    Problem { stride: pair(*stride), dilation: pair(*dilation), padding, ..matrix(1, 1) },
                    Some((pair(*kernel), [output[1], output[2]])),
                )
            }
            _ if !is_column => ([shape[0], shape[1], shape[2]], matrix(1, 1), None),
            _ => ([shape[1], shape[0], 1], matrix(1, 1), None),
        };
        let [channels, height, width] = image;
        let (kernel, [rows, cols]) = placed.unwrap_or(([height, width], [1, 1]));
        let source = if is_column {
            // Rows of channels are pixels.
            let source = if source.split_last(height, channels).is_some() { source } else { self.row_major(layer, &source) };
            source.transposed(&[height, channels], &[1, 0]).expect("bug: rows of elements side by side are an axis")
        } else {
            source
        };
        let (source, _) = self.image(layer, source, &image)?;
        let strides = source.strides(&image).expect("bug: an image has a stride for each axis");
        // So many channels at a time that the rows under two windows fit, and what they yield.
        let fits = |chunk: u64| {
            let reach = ((kernel[0] - 1) * window.dilation[0] + 1 + window.stride[0]).min(height);
            2 * chunk * (reach * width + cols) + 4 * port(self.chip) <= room(self.chip)
        };
        let chunk = largest_divisor(channels, fits).unwrap_or(1);
        let chunks = channels / chunk;
        let spread = |axis: usize| Factor { size: image[axis], stride: strides[axis] };
        let input = self.batched(&source, [Factor { size: chunks, stride: chunk }, spread(1), spread(2)]).ok_or_else(|| too_many(layer))?;
        let (tensor, sample) = self.tensor(channels * rows * cols);
        let location = Location::ordered(tensor, sample, &[channels, rows * cols], &[1, 0]);
        let stored = [Factor { size: chunks, stride: chunk }, Factor { size: rows * cols, stride: channels }];
        let stored = self.batched(&location, stored).ok_or_else(|| too_many(layer))?;
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

/// Rows of bytes, and no products.
fn matrix(rows: u64, cols: u64) -> Problem {
    Problem::matrix(rows, cols, cols, Dtype::Int8, Dtype::Int8)
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
