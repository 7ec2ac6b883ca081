//! Layers that the array computes.

use super::super::location::{Factor, Location, Tensor, joined, ordered_strides, packed, row_pitch};
use super::super::operand::MAX_RUNS;
use super::super::{MappingError, Operand, Problem, Rules};
use super::vector::within_bytes;
use super::{Lowered, Lowerer, Work, format_of_value, refused, shape_of, whole_bytes};
use crate::chip::{Chip, Format, Group, Sparsity};
use crate::network::{Bias, Border, Conv, Dense, Layer, Op, Weight, exchanged, filters_as_rows, integers_of};
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
            let weights = exact(layer, &dense.weight, problem.weight)?;
            let pixels = size(problem.r * problem.s);
            if pixels == 1 {
                return Ok(weights);
            }
            // A flattened image is read as the image that it was: channels, outermost in the flattened one, innermost.
            Ok(exchanged(&weights, weights.nrows() / pixels))
        }
        Op::Conv(conv) => Ok(filters_as_rows(exact(layer, &conv.weight, problem.weight)?)),
        _ => unreachable!("bug: weights belong to dense layers and convolutions"),
    }
}

/// Weights less their zero points, which a format is to hold.
pub(super) fn exact<D: RemoveAxis>(layer: &Layer, weight: &Weight<D>, format: Dtype) -> Result<ndarray::Array<i16, D>, MappingError> {
    let Weight::Integer { values, zero_points, .. } = weight else {
        return Err(MappingError::NotQuantized { layer: layer.name.clone() });
    };
    if zero_points.iter().all(|zero| *zero == 0) {
        return Ok(values.clone());
    }
    let exact = weight.less_zero_points().ok_or_else(|| MappingError::NotQuantized { layer: layer.name.clone() })?;
    let range = format.min()..=format.max();
    if exact.iter().any(|value| !range.contains(value)) {
        let problem = format!("has weights that, less their zero point, are no {format}");
        return Err(refused(layer, problem, "quantize weights symmetrically"));
    }
    Ok(exact.mapv(|value| i16::try_from(value).expect("bug: within a format of at most sixteen bits")))
}

/// The format of weights: their own, or where less their zero points they need more bits the narrowest that holds them.
pub(super) fn format_of_weights<D: RemoveAxis>(weight: &Weight<D>) -> Option<Dtype> {
    let Weight::Integer { dtype, zero_points, .. } = weight else { return None };
    if zero_points.iter().all(|zero| *zero == 0) {
        return Some(*dtype);
    }
    let exact = weight.less_zero_points()?;
    let holds = |format: &Dtype| exact.iter().all(|value| (Dtype::min(*format)..=Dtype::max(*format)).contains(value));
    Some(Dtype::ALL.into_iter().filter(|format| format >= dtype).find(holds).unwrap_or(*dtype))
}

/// The least format in which weights are multiplied that meet values of another one: their own, or the values' where that is asked for of weights that only
/// lie in DRAM in fewer bits.
pub(super) fn asked(
    (layer, op): (&str, &'static str),
    [weight, activation]: [Dtype; 2],
    is_asked: bool,
    chip: &Chip,
) -> Result<Dtype, MappingError> {
    if !is_asked || weight >= activation {
        return Ok(weight);
    }
    if weight != Dtype::Binary && chip.storage().codec.widens() {
        return Ok(activation);
    }
    let problem = if weight == Dtype::Binary {
        format!("has binary weights, which have no zero to fill tiles up with, so that they are not multiplied as {activation}")
    } else {
        format!(
            "has {weight} weights that are to be multiplied as {activation}, and the DMA engines of chip {} do not widen them",
            chip.name()
        )
    };
    let help = "name a chip with storage.codec: Widen(..), such as widen-16x16, or leave ,wide (wide: true) out";
    Err(MappingError::NotSupported { layer: layer.to_string(), op, problem, help })
}

/// The format in which weights lie in DRAM that are multiplied in another one, where that is narrower: the chip's DMA engines widen it.
pub(super) fn kept(weight: Dtype, multiplied: Dtype, chip: &Chip) -> Option<Dtype> {
    (weight < multiplied && weight != Dtype::Binary && chip.storage().codec.widens()).then_some(weight)
}

/// The format that a problem is multiplied in.
pub(super) fn format_of<'c>(layer: &str, problem: &Problem, chip: &'c Chip) -> Result<&'c Format, MappingError> {
    has_format(layer, [problem.weight, problem.activation], chip)
}

/// The format in which a chip multiplies weights by activations.
///
/// # Errors
/// If it has none for them.
pub fn has_format<'c>(layer: &str, [weight, activation]: [Dtype; 2], chip: &'c Chip) -> Result<&'c Format, MappingError> {
    let Some(format) = chip.format(weight, activation) else {
        let has: Vec<String> = chip.formats().iter().map(|format| format!("{} by {}", format.weight, format.activation)).collect();
        return Err(MappingError::NoFormat {
            layer: layer.to_string(),
            weight: weight.to_string(),
            activation: activation.to_string(),
            has: has.join(", "),
        });
    };
    Ok(format)
}

/// The pair in which operands of these formats are multiplied, of those that `may` be used: their own, or where the chip does not multiply these the
/// narrowest that holds both, the same integers in more bits. Values count first: widening them takes a stage.
pub(super) fn multiplied(chip: &Chip, [weight, activation]: [Dtype; 2], may: impl Fn(&Format) -> bool) -> Option<[Dtype; 2]> {
    let holds = |format: &&Format| format.weight >= weight && format.activation >= activation && may(format);
    let narrowest = chip.formats().iter().filter(holds).min_by_key(|format| (format.activation, format.weight));
    narrowest.map(|format| [format.weight, format.activation])
}

/// Whether values of this quantization can be multiplied in a format: 16 bits have no zero point, since a difference from one needs 17.
fn has_room(held: &Quantization, format: Dtype) -> bool {
    format < Dtype::Int16 || held.zero_point == 0
}

impl Lowerer<'_> {
    /// The formats that a layer's weights and what it reads are multiplied in, of those that `may` be used: their own where none holds both.
    fn formats<D: RemoveAxis>(
        &self,
        layer: &Layer,
        weight: &Weight<D>,
        may: impl Fn(&Format) -> bool,
    ) -> Result<(Dtype, Dtype), MappingError> {
        let read = self.network.layer(self.network.inputs(layer.id)[0]);
        let (Some(dtype), Some(input)) = (format_of_weights(weight), read.output.quantization) else {
            return Err(MappingError::NotQuantized { layer: layer.name.clone() });
        };
        let least = asked((&layer.name, layer.op.name()), [dtype, input.dtype], self.wide.contains(&layer.id), self.chip)?;
        let may = |format: &Format| has_room(&input, format.activation) && may(format);
        let [weight, activation] = multiplied(self.chip, [least, input.dtype], may).unwrap_or([least, input.dtype]);
        Ok((weight, activation))
    }

    pub(super) fn dense(&mut self, layer: &Layer, dense: &Dense) -> Result<Location, MappingError> {
        let (weight, activation) = self.formats(layer, &dense.weight, |_| true)?;
        let (inner, outputs) = (dense.inputs() as u64, dense.outputs() as u64);
        let (source, shape) = self.source(layer, 0)?;
        let mut source = self.widened(layer, 0, &source, activation)?;
        let rows: u64 = shape[..shape.len() - 1].iter().product();
        let matrix = Problem { output: format_of_value(layer), ..Problem::matrix(self.batch * rows, inner, outputs, weight, activation) };
        let matrix = Problem { output: self.stored(layer, &matrix)?, ..matrix };
        if rows == 1
            && let Some((problem, operand)) = self.flattened(&source, matrix)
            && !self.order_matters(layer, dense, &problem)?
        {
            let (tensor, sample) = self.tensor(problem.output, outputs);
            let output = Operand::dense(tensor.clone(), self.batch, problem.output_bytes(outputs));
            self.array(layer, problem, operand, output)?;
            return self.narrowed(layer, Location::dense(tensor, sample, outputs));
        }
        source = self.by_rows(layer, source, rows, inner);
        let (operand, tensor, location) = self.rows_of(layer, &source, &shape, (outputs, matrix.output))?;
        let output = Operand::dense(tensor, self.batch * rows, matrix.output_bytes(outputs));
        self.array(layer, matrix, operand, output)?;
        self.narrowed(layer, location)
    }

    /// The format in which the array's results are stored: a byte where what it yields at a time, as a whole, is no whole bytes.
    fn stored(&self, layer: &Layer, problem: &Problem) -> Result<Dtype, MappingError> {
        let format = format_of(&layer.name, problem, self.chip)?;
        let share = |dataflow| problem.share(Rules::new(self.chip, format, dataflow).chunk_unit());
        let is_whole = self.chip.array().dataflows.iter().all(|dataflow| share(dataflow).is_some());
        Ok(if is_whole { problem.output } else { Ord::max(problem.output, Dtype::Int8) })
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

    /// The rows over the last axis of a value, in the order in which they lie; and where rows of `outputs` elements of `format` go in that order. The last
    /// axis lies element by element.
    pub(super) fn rows_of(
        &mut self,
        layer: &Layer,
        source: &Location,
        shape: &[u64],
        (outputs, format): (u64, Dtype),
    ) -> Result<(Operand, Tensor, Location), MappingError> {
        let inner = shape.last().copied().unwrap_or(1);
        let by_row = source.split_last(shape.iter().product::<u64>() / inner, inner).expect("bug: the last axis lies element by element");
        let mut sorted: Vec<(usize, Factor)> = by_row.iter().copied().enumerate().collect();
        sorted.sort_by_key(|(place, factor)| (Reverse(factor.stride), *place));
        let operand =
            self.batched(source, sorted.iter().map(|(_, factor)| *factor)).ok_or_else(|| too_many(layer, source.tensor.format))?;
        // The rows that lie between one and the next, in the order in which they lie.
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
        let most = largest_sum(exact(layer, &dense.weight, problem.weight)?.view(), dense.bias.as_ref(), &read);
        let alike = |dataflow| self.chip.arithmetic(format, dataflow).accumulate.is_any_order_alike(most);
        Ok(!self.chip.array().dataflows.iter().all(alike))
    }

    pub(super) fn conv(&mut self, layer: &Layer, conv: &Conv) -> Result<Location, MappingError> {
        if self.is_for_vector_unit(layer, conv) {
            return self.depthwise(layer, conv);
        }
        let group = conv.weight.shape()[1] as u64;
        let has_border = conv.padding.iter().any(|size| *size > 0);
        let (weight, activation) = self.formats(layer, &conv.weight, |format| {
            // Each group begins on a byte; and a border of signs is one of bits.
            (conv.groups == 1 || whole_bytes(format.activation, group).is_some())
                && (conv.border == Border::Zero || !has_border || format.activation == Dtype::Binary)
        })?;
        let (source, shape) = self.source(layer, 0)?;
        let source = self.widened(layer, 0, &source, activation)?;
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
        let problem = Problem { output: self.stored(layer, &problem)?, ..problem };
        let (tensor, sample) = self.tensor(problem.output, ordered_strides(problem.output, &output, &[1, 2, 0]).1);
        let stored = Operand::dense(tensor.clone(), self.batch * output[1] * output[2], problem.output_bytes(output[0]));
        self.array(layer, problem, operand, stored)?;
        self.narrowed(layer, Location::ordered(tensor, sample, &output, &[1, 2, 0]))
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
        // What plays the weights is packed as values are: whole bytes, one after the other.
        let is_packed = |format: &Format| {
            let rules = || Rules::new(self.chip, format, &self.chip.array().dataflows[0]);
            let is_dense = self.chip.array().sparsity == Sparsity::Dense || rules().mode.group.is_none();
            format.lanes == 1 && format.weight >= Dtype::Int8 && format.activation >= Dtype::Int8 && is_dense
        };
        let have_room = |format: &Format| has_room(weight, format.weight) && has_room(activation, format.activation);
        let given = [weight.dtype, activation.dtype];
        let Some(formats) = multiplied(self.chip, given, |format| is_packed(format) && have_room(format)) else {
            let [weight, activation] = multiplied(self.chip, given, |_| true).unwrap_or(given);
            format_of(&layer.name, &Problem::matrix(1, 1, 1, weight, activation), self.chip)?;
            let problem = if multiplied(self.chip, given, is_packed).is_some() {
                "multiplies two values in 16 bits, of which one has a zero point (a softmax's has), and the array subtracts none in 16 bits"
            } else {
                "multiplies two values, and what plays the weights is not packed as this array takes them"
            };
            let problem = problem.to_string();
            return self.product_on_host(layer, [(left, &of_left, &to_left), (right, &of_right, &to_right)], problem);
        };
        left = self.widened(layer, 0, &left, formats[1])?;
        right = self.widened(layer, 1, &right, formats[0])?;
        let matrix = Problem::matrix(self.batch * copies * rows, inner, cols, formats[0], formats[1]);
        let problem = Problem { output: format_of_value(layer), ..matrix };
        let problem = Problem { output: self.stored(layer, &problem)?, ..problem };
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
            stride: formats[0].packed_bytes(of_right[axes - 2]),
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
        self.narrowed(layer, location)
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
        let own = match &layer.op {
            Op::Dense(dense) => format_of_weights(&dense.weight),
            Op::Conv(conv) => format_of_weights(&conv.weight),
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
        let narrow = own.and_then(|own| kept(own, problem.weight, self.chip));
        let stage = self.push(layer, Work::Array, problem, vec![input], output);
        stage.narrow = narrow;
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
