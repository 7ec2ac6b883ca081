//! Layers that the array computes.

use super::super::location::{Factor, Location, Tensor, joined, ordered_strides, packed, row_pitch};
use super::super::operand::MAX_RUNS;
use super::super::{MappingError, Operand, Problem, Rules};
use super::vector::within_bytes;
use super::{Lowered, Lowerer, Work, format_of_value, refused, shape_of, whole_bytes};
use crate::chip::{Chip, Format, Group, Sparsity};
use crate::network::{Bias, Conv, Dense, Layer, Op, Weight, exchanged, filters_as_rows, integers_of};
use crate::numerics::{Dtype, Quantization};
use ndarray::{Array2, ArrayView1, ArrayView2, Axis, RemoveAxis};
use std::cmp::Reverse;

/// The weights of a layer that the array computes as `problem`, less their zero points: K x channels; K runs over filter rows, filter columns
/// and the channels of a group, channels innermost.
///
/// # Errors
/// Weights that are not integers, or that less their zero points are none of their format.
///
/// # Panics
/// If the layer is neither dense nor a convolution.
pub fn weights_of(layer: &Layer, problem: &Problem) -> Result<Array2<i16>, MappingError> {
    match &layer.op {
        Op::Dense(dense) => {
            let weights = exact(layer, &dense.weight)?;
            let pixels = size(problem.r * problem.s);
            if pixels == 1 {
                return Ok(weights);
            }
            // A flattened image is read as the image that it was: channels, outermost in the flattened one, innermost.
            Ok(exchanged(&weights, weights.nrows() / pixels))
        }
        Op::Conv(conv) => Ok(filters_as_rows(exact(layer, &conv.weight)?)),
        _ => unreachable!("bug: weights belong to dense layers and convolutions"),
    }
}

/// Weights less their zero points, in their format.
pub(super) fn exact<D: RemoveAxis>(layer: &Layer, weight: &Weight<D>) -> Result<ndarray::Array<i16, D>, MappingError> {
    let Weight::Integer { values, dtype, zero_points, .. } = weight else {
        return Err(MappingError::NotQuantized { layer: layer.name.clone() });
    };
    if zero_points.iter().all(|zero| *zero == 0) {
        return Ok(values.clone());
    }
    let exact = weight.less_zero_points().ok_or_else(|| MappingError::NotQuantized { layer: layer.name.clone() })?;
    let range = Dtype::min(*dtype)..=Dtype::max(*dtype);
    if exact.iter().any(|value| !range.contains(value)) {
        let problem = format!("has weights that, less their zero point, are no {dtype}");
        return Err(refused(layer, problem, "quantize weights symmetrically"));
    }
    Ok(exact.mapv(|value| i16::try_from(value).expect("bug: within a format of at most sixteen bits")))
}

/// The format in which weights are multiplied that meet values of another one: their own, or the values' where they only lie in DRAM in fewer bits,
/// because that is asked for or the array has nothing else.
pub(super) fn multiplied(
    (layer, op): (&str, &'static str),
    (weight, activation): (Dtype, Dtype),
    is_asked: bool,
    chip: &Chip,
) -> Result<Dtype, MappingError> {
    if weight >= activation {
        return Ok(weight);
    }
    let can = weight != Dtype::Binary && chip.storage().codec.widens();
    if is_asked && !can {
        let problem = if weight == Dtype::Binary {
            format!("has binary weights, which have no zero to fill tiles up with, so that they are not multiplied as {activation}")
        } else {
            format!(
                "has {weight} weights that are to be multiplied as {activation}, and the DMA engines of chip {} do not widen them",
                chip.name()
            )
        };
        let help = "name a chip with storage.codec: Widen(..), such as widen-16x16, or leave ,wide (wide: true) out";
        return Err(MappingError::NotSupported { layer: layer.to_string(), op, problem, help });
    }
    let is_wide = is_asked || chip.format(weight, activation).is_none() && chip.format(activation, activation).is_some();
    Ok(if can && is_wide { activation } else { weight })
}

/// The format that a problem is multiplied in.
pub(super) fn format_of<'c>(layer: &str, problem: &Problem, chip: &'c Chip) -> Result<&'c Format, MappingError> {
    let Some(format) = chip.format(problem.weight, problem.activation) else {
        let has: Vec<String> = chip.formats().iter().map(|format| format!("{} by {}", format.weight, format.activation)).collect();
        return Err(MappingError::NoFormat {
            layer: layer.to_string(),
            weight: problem.weight.to_string(),
            activation: problem.activation.to_string(),
            has: has.join(", "),
        });
    };
    Ok(format)
}

impl Lowerer<'_> {
    /// The formats in which a layer's weights are multiplied and what it reads: the weights' own, or the activations' where they only lie in DRAM
    /// in fewer bits, because that was asked for or the array has nothing else.
    fn formats<D: RemoveAxis>(&self, layer: &Layer, weight: &Weight<D>) -> Result<(Dtype, Dtype), MappingError> {
        let read = self.network.layer(self.network.inputs(layer.id)[0]);
        let (Weight::Integer { dtype, .. }, Some(input)) = (weight, read.output.quantization) else {
            return Err(MappingError::NotQuantized { layer: layer.name.clone() });
        };
        let pair = (*dtype, input.dtype);
        let op = layer.op.name();
        Ok((multiplied((&layer.name, op), pair, self.wide.contains(&layer.id), self.chip)?, input.dtype))
    }

    pub(super) fn dense(&mut self, layer: &Layer, dense: &Dense) -> Result<Location, MappingError> {
        let (weight, activation) = self.formats(layer, &dense.weight)?;
        let (inner, outputs, result) = (dense.inputs() as u64, dense.outputs() as u64, format_of_value(layer));
        let (mut source, shape) = self.source(layer, 0)?;
        let rows: u64 = shape[..shape.len() - 1].iter().product();
        if rows == 1
            && let matrix = Problem::matrix(self.batch, inner, outputs, weight, activation)
            && let Some((problem, operand)) = self.flattened(&source, Problem { output: result, ..matrix })
            && !self.order_matters(layer, dense, &problem)?
        {
            let (tensor, sample) = self.tensor(result, outputs);
            let output = Operand::dense(tensor.clone(), self.batch, problem.output_bytes(outputs));
            self.array(layer, problem, operand, output)?;
            return Ok(Location::dense(tensor, sample, outputs));
        }
        source = self.by_rows(layer, source, rows, inner);
        let (operand, tensor, location) = self.rows_of(layer, &source, &shape, outputs)?;
        let problem = Problem { output: result, ..Problem::matrix(self.batch * rows, inner, outputs, weight, activation) };
        let output = Operand::dense(tensor, self.batch * rows, problem.output_bytes(outputs));
        self.array(layer, problem, operand, output)?;
        Ok(location)
    }

    /// A value whose rows of `inner` elements lie element by element, each on bytes of its own: as it is if it lies so already.
    pub(super) fn by_rows(&mut self, layer: &Layer, source: Location, rows: u64, inner: u64) -> Location {
        let is_whole = |places: u64| whole_bytes(source.tensor.format, places).is_some();
        let lies = |factors: &[Factor]| factors.iter().all(|factor| is_whole(factor.stride));
        if is_whole(source.offset) && source.split_last(rows, inner).is_some_and(|factors| lies(&factors)) {
            return source;
        }
        self.relocated(layer, &source, &[rows, inner], &[0, 1])
    }

    /// The rows over the last axis of a value, in the order in which they lie; and where rows of `outputs` elements go in that order. The last
    /// axis lies element by element.
    pub(super) fn rows_of(
        &mut self,
        layer: &Layer,
        source: &Location,
        shape: &[u64],
        outputs: u64,
    ) -> Result<(Operand, Tensor, Location), MappingError> {
        let inner = shape.last().copied().unwrap_or(1);
        let by_row = source.split_last(shape.iter().product::<u64>() / inner, inner).expect("bug: the last axis lies element by element");
        let mut sorted: Vec<(usize, Factor)> = by_row.iter().copied().enumerate().collect();
        sorted.sort_by_key(|(place, factor)| (Reverse(factor.stride), *place));
        let operand =
            self.batched(source, sorted.iter().map(|(_, factor)| *factor)).ok_or_else(|| too_many(layer, source.tensor.format))?;
        // The rows that lie between one and the next, in the order in which they lie.
        let format = format_of_value(layer);
        let order = sorted.iter().map(|(place, factor)| (*place, factor.size));
        let (strides, elements) = packed(order, row_pitch(format, outputs), sorted.len());
        let (tensor, sample) = self.tensor(format, elements);
        let factors = by_row.iter().zip(strides).map(|(factor, stride)| Factor { size: factor.size, stride });
        let factors = joined(factors.chain([Factor { size: outputs, stride: 1 }]));
        Ok((operand, tensor.clone(), Location { tensor, offset: 0, sample, factors }))
    }

    /// A vector that is an image, flattened with its channels outermost, and lies with its channels innermost: a filter as large as the image
    /// reads it as it lies.
    fn flattened(&self, source: &Location, matrix: Problem) -> Option<(Problem, Operand)> {
        let (channels, pixels, stride) = match source.factors[..] {
            [Factor { size: channels, stride: 1 }, Factor { size: pixels, stride }] if stride >= channels => (channels, pixels, stride),
            // One channel, of less than the byte that its pixel takes.
            [Factor { size: pixels, stride }] if source.tensor.format.bits() < 8 && stride > 1 => (1, pixels, stride),
            _ => return None,
        };
        let image =
            self.stages.iter().rev().find(|stage| stage.output.tensor == source.tensor).map(|stage| [stage.problem.p, stage.problem.q]);
        let input = image.filter(|[rows, columns]| rows * columns == pixels).unwrap_or([pixels, 1]);
        let problem = Problem { c: channels, r: input[0], s: input[1], input, ..matrix };
        Some((problem, self.batched(source, [Factor { size: pixels, stride }])?))
    }

    /// Whether sums in another order of K could be other sums: where they may leave the accumulator's range on the way, and stay at its end then.
    fn order_matters(&self, layer: &Layer, dense: &Dense, problem: &Problem) -> Result<bool, MappingError> {
        let format = format_of(&layer.name, problem, self.chip)?;
        let read = integers_of(self.network.layer(self.network.inputs(layer.id)[0]))?;
        let most = largest_sum(exact(layer, &dense.weight)?.view(), dense.bias.as_ref(), &read);
        let alike = |dataflow| self.chip.arithmetic(format, dataflow).accumulate.is_any_order_alike(most);
        Ok(!self.chip.array().dataflows.iter().all(alike))
    }

    pub(super) fn conv(&mut self, layer: &Layer, conv: &Conv) -> Result<Location, MappingError> {
        if self.is_for_vector_unit(layer, conv) {
            return self.depthwise(layer, conv);
        }
        let (weight, activation) = self.formats(layer, &conv.weight)?;
        let (source, shape) = self.source(layer, 0)?;
        let (source, operand) = self.image(layer, source, &shape)?;
        debug_assert_eq!(source.elements(), shape.iter().product::<u64>());
        let output = shape_of(layer);
        let pair = |pair: [usize; 2]| pair.map(|size| size as u64);
        let problem = Problem {
            n: self.batch,
            m: output[0],
            c: shape[0],
            groups: conv.groups as u64,
            p: output[1],
            q: output[2],
            r: conv.kernel()[0] as u64,
            s: conv.kernel()[1] as u64,
            input: [shape[1], shape[2]],
            stride: pair(conv.stride),
            dilation: pair(conv.dilation),
            padding: [conv.padding[0] as u64, conv.padding[1] as u64],
            weight,
            activation,
            output: format_of_value(layer),
        };
        let (tensor, sample) = self.tensor(problem.output, ordered_strides(problem.output, &output, &[1, 2, 0]).1);
        let stored = Operand::dense(tensor.clone(), self.batch * output[1] * output[2], problem.output_bytes(output[0]));
        self.array(layer, problem, operand, stored)?;
        Ok(Location::ordered(tensor, sample, &output, &[1, 2, 0]))
    }

    /// A value as an image, pixel by pixel with channels innermost: where it lies so, and how it is read. It is moved first where it does not.
    pub(super) fn image(&mut self, layer: &Layer, source: Location, shape: &[u64]) -> Result<(Location, Operand), MappingError> {
        let read = |this: &Self, source: &Location| {
            let strides = source.strides(shape).filter(|strides| strides[0] == 1 || shape[0] == 1)?;
            this.batched(source, [1, 2].map(|axis| Factor { size: shape[axis], stride: strides[axis] }))
        };
        if let Some(operand) = read(self, &source) {
            return Ok((source, operand));
        }
        let source = self.relocated(layer, &source, shape, &[1, 2, 0]);
        let operand = read(self, &source).ok_or_else(|| too_many(layer, source.tensor.format))?;
        Ok((source, operand))
    }

    /// A product of two values, the second one's rows playing the weights.
    pub(super) fn product(&mut self, layer: &Layer) -> Result<Location, MappingError> {
        let (mut left, of_left) = self.source(layer, 0)?;
        let (mut right, of_right) = self.source(layer, 1)?;
        let read = self.network.inputs(layer.id);
        let formats = read.iter().map(|id| self.network.layer(*id).output.quantization);
        let formats: Option<Vec<_>> = formats.collect();
        let Some([activation, weight]) = formats.as_deref() else {
            return Err(MappingError::NotQuantized { layer: layer.name.clone() });
        };
        let output = shape_of(layer);
        if output.len() < 2 || of_left.len() < 2 || of_right.len() < 2 {
            return Err(refused(layer, "multiplies by a single vector".to_string(), "reshape both values to matrices"));
        }
        let (rows, cols, inner) = (output[output.len() - 2], output[output.len() - 1], of_left[of_left.len() - 1]);
        let leading = &output[..output.len() - 2];
        let with = |last: [u64; 2]| leading.iter().copied().chain(last).collect::<Vec<u64>>();
        let (to_left, to_right) = (with([rows, inner]), with([inner, cols]));
        let copies: u64 = leading.iter().product();
        let matrix = Problem::matrix(self.batch * copies * rows, inner, cols, weight.dtype, activation.dtype);
        let problem = Problem { output: format_of_value(layer), ..matrix };
        let format = format_of(&layer.name, &problem, self.chip)?;
        if format.lanes > 1
            || self.chip.array().sparsity != Sparsity::Dense
                && Rules::new(self.chip, format, &self.chip.array().dataflows[0]).mode.group.is_some()
        {
            let problem = "multiplies two values, and what plays the weights is not packed as this array takes them".to_string();
            return self.product_on_host(layer, [(left, &of_left, &to_left), (right, &of_right, &to_right)], problem);
        }
        if let Some(narrow) = [weight, activation].iter().find(|value| value.dtype.bits() < 8) {
            let problem = format!("multiplies {} values, whose elements are not packed as this array takes them", narrow.dtype);
            return Err(refused(layer, problem, "keep what plays the weights in 8 bits"));
        }
        // Copies of what broadcasts are the same bytes.
        let axes = output.len();
        let strides = |location: &Location, from: &[u64], to: &[u64]| {
            let strides = location.broadcast(from, to)?.strides(to)?;
            (strides[axes - 1] == 1 || to[axes - 1] == 1).then_some(strides)
        };
        if strides(&left, &of_left, &to_left).is_none() {
            left = self.row_major(layer, &left);
        }
        if strides(&right, &of_right, &to_right).is_none() {
            right = self.row_major(layer, &right);
        }
        let (Some(of_left), Some(of_right)) = (strides(&left, &of_left, &to_left), strides(&right, &of_right, &to_right)) else {
            unreachable!("bug: what lies row-major has a stride for each axis")
        };
        let factors = |shape: &[u64], strides: &[u64], count: usize| -> Vec<Factor> {
            shape.iter().zip(strides).take(count).map(|(size, stride)| Factor { size: *size, stride: *stride }).collect()
        };
        let copied = self.batched(&right, factors(&to_right, &of_right, axes - 2)).ok_or_else(|| too_many(layer, right.tensor.format))?;
        // A run for each copy, of all of K, even where copies are a stride apart.
        let starts = copied.starts.iter().flat_map(|start| (0..copied.run).map(move |number| start + number * copied.stride));
        let weights = Operand {
            starts: starts.collect(),
            run: inner,
            stride: weight.dtype.packed_bytes(of_right[axes - 2]),
            tensor: copied.tensor.clone(),
        };
        let input = self.batched(&left, factors(&to_left, &of_left, axes - 1)).ok_or_else(|| too_many(layer, left.tensor.format))?;
        // Results lie in the order in which the left value does.
        let mut order: Vec<usize> = (0..axes - 1).collect();
        order.sort_by_key(|axis| (Reverse(of_left[*axis]), *axis));
        order.push(axes - 1);
        let (tensor, sample) = self.tensor(problem.output, ordered_strides(problem.output, &output, &order).1);
        let location = Location::ordered(tensor, sample, &output, &order);
        let of_output = location.strides(&output).expect("bug: axes in an order have a stride each");
        let stored =
            self.batched(&location, factors(&output, &of_output, axes - 1)).ok_or_else(|| too_many(layer, location.tensor.format))?;
        let stage = self.push(layer, Work::Product { weights, zero_point: weight.zero_point }, problem, vec![input], stored);
        stage.largest_sum = Some(inner * furthest(weight) * furthest(activation));
        Ok(location)
    }

    /// A stage with the layer's own weights.
    fn array(&mut self, layer: &Layer, problem: Problem, input: Operand, output: Operand) -> Result<(), MappingError> {
        let format = format_of(&layer.name, &problem, self.chip)?;
        let rules = Rules::new(self.chip, format, &self.chip.array().dataflows[0]);
        if problem.groups > 1 && whole_bytes(problem.activation, problem.group_inputs()).is_none() {
            let what = format!("reads {} {} channels a group, which do not begin on a byte", problem.group_inputs(), problem.activation);
            return Err(refused(layer, what, "give it wider activations: a step of its own, such as Quantize(w: 8, a: 8, layers: [NAME])"));
        }
        let matters = self.chip.array().sparsity == Sparsity::TileSkip || self.chip.storage().codec.code().is_some();
        let weights = weights_of(layer, &problem)?;
        let kept = match &layer.op {
            Op::Dense(dense) => dense.weight.dtype(),
            Op::Conv(conv) => conv.weight.dtype(),
            _ => None,
        };
        if let Some(group) = rules.mode.group {
            is_pruned(weights.view(), group, &layer.name)?;
        }
        let read = integers_of(self.network.layer(self.network.inputs(layer.id)[0]))?;
        let bias = match &layer.op {
            Op::Dense(Dense { bias, .. }) | Op::Conv(Conv { bias, .. }) => bias.as_ref(),
            _ => None,
        };
        if let Some(Bias::Integer(values)) = bias {
            let most = 1_i128 << (format.accumulator_bits - 1);
            if values.iter().any(|value| !(-most..most).contains(&i128::from(*value))) {
                let what = format!("has a bias that the {} bits of {} sums do not hold", format.accumulator_bits, format.name());
                return Err(refused(layer, what, "quantize its weights to fewer bits, so that a step of its sums is larger"));
            }
        }
        let stage = self.push(layer, Work::Array, problem, vec![input], output);
        stage.narrow = kept.filter(|kept| *kept != problem.weight);
        stage.largest_sum = Some(largest_sum(weights.view(), bias, &read));
        stage.zeros = if matters { weights.iter().map(|value| *value == 0).collect() } else { Vec::new() };
        Ok(())
    }

    /// The next stage.
    pub(super) fn push(&mut self, layer: &Layer, work: Work, problem: Problem, inputs: Vec<Operand>, output: Operand) -> &mut Lowered {
        let name = layer.name.clone();
        self.stages.push(Lowered {
            layer: Some(layer.id),
            name,
            work,
            problem,
            inputs,
            output,
            zeros: Vec::new(),
            narrow: None,
            largest_sum: None,
        });
        self.stages.last_mut().expect("bug: one was pushed just before")
    }
}

/// A layer whose rows lie in more pieces than a program spells out, or, of elements of less than a byte, begin within one.
pub(super) fn too_many(layer: &Layer, format: Dtype) -> MappingError {
    if format.bits() < 8 {
        return within_bytes(layer, format);
    }
    refused(layer, format!("reads or writes rows in more than {MAX_RUNS} pieces"), "choose a smaller batch")
}

fn size(count: u64) -> usize {
    usize::try_from(count).expect("bug: weights that are known fit in memory")
}

/// How far from zero an element can be.
fn furthest(of: &Quantization) -> u64 {
    let from_zero = |x: i32| u64::from(x.abs_diff(of.zero_point));
    from_zero(of.dtype.min()).max(from_zero(of.dtype.max()))
}

/// How far from zero a sum of these weights (K x N) can be at most, or any part of it.
#[expect(clippy::needless_pass_by_value, reason = "a view is a reference already")]
fn largest_sum(weights: ArrayView2<'_, i16>, bias: Option<&Bias>, input: &Quantization) -> u64 {
    let of_channel = |(channel, column): (usize, ArrayView1<'_, i16>)| {
        let bias = match bias {
            Some(Bias::Integer(values)) => values[channel].unsigned_abs(),
            _ => 0,
        };
        let weights: u64 = column.iter().map(|weight| u64::from(weight.unsigned_abs())).sum();
        bias.saturating_add(furthest(input).saturating_mul(weights))
    };
    weights.columns().into_iter().enumerate().map(of_channel).max().unwrap_or(0)
}

/// Whether of each group of weights along K no more are other than zero than the array keeps.
#[expect(clippy::needless_pass_by_value, reason = "a view is a reference already")]
fn is_pruned(weights: ArrayView2<'_, i16>, group: Group, layer: &str) -> Result<(), MappingError> {
    for (number, rows) in weights.axis_chunks_iter(Axis(0), group.m as usize).enumerate() {
        for (channel, column) in rows.columns().into_iter().enumerate() {
            let found = column.iter().filter(|value| **value != 0).count();
            if found > group.n as usize {
                let first = number * group.m as usize;
                let rows = first..first + column.len();
                return Err(MappingError::NotPruned { layer: layer.to_string(), channel, rows, found, n: group.n, m: group.m });
            }
        }
    }
    Ok(())
}
