//! What only moves numbers: each such operator as reshapes, transpositions and slices of the file's shapes, and these applied to constants
//! and to data.

use super::attributes::{Attributes, fault};
use super::constant::{Numbers, Quantized};
use super::importer::{Importer, Tensor};
use super::onnx::NodeProto;
use super::tensor::MAX_RANK;
use crate::network::weight::reshaped;
use crate::network::{LayerId, NetworkError, Op, Span};
use ndarray::{ArrayD, IxDyn};

/// One movement, in the file's axes.
pub(super) enum Movement {
    Reshape(Vec<usize>),
    Transpose(Vec<usize>),
    Slice(Vec<Span>),
}

/// Whether the node has given its name to a layer already; further ones get names beside it.
pub(super) struct Naming(pub(super) bool);

impl Importer<'_> {
    /// What each output of a node is of its input of this shape, where the node only moves numbers.
    pub(super) fn movements(&mut self, node: &NodeProto, shape: &[usize]) -> Result<Option<Vec<Vec<Movement>>>, NetworkError> {
        let one = |movement| Ok(Some(vec![vec![movement]]));
        match node.op_type() {
            "Identity" => {
                Attributes::new(node, &[])?;
                Ok(Some(vec![vec![]]))
            }
            "Dropout" => self.dropout(node).map(|()| Some(vec![vec![]])),
            "Reshape" => one(Movement::Reshape(self.reshape(node, shape)?)),
            "Flatten" => one(Movement::Reshape(self.flatten(node, shape)?)),
            "Squeeze" => one(Movement::Reshape(self.squeeze(node, shape)?)),
            "Unsqueeze" => one(Movement::Reshape(self.unsqueeze(node, shape)?)),
            "Transpose" => one(Movement::Transpose(permutation(node, shape)?)),
            "Slice" => one(Movement::Slice(self.slice(node, shape)?)),
            "Split" => self.split(node, shape).map(Some),
            "Gather" => self.gather(node, shape).map(|movements| Some(vec![movements])),
            _ => Ok(None),
        }
    }

    fn dropout(&mut self, node: &NodeProto) -> Result<(), NetworkError> {
        Attributes::new(node, &["ratio", "seed", "is_test"])?;
        if Self::has(node, 2) && self.constant(node, 2)?.longs(self.folder)?.is_none_or(|training| training.iter().any(|value| *value != 0))
        {
            return Err(fault(node, "drops at random (training_mode)".to_string(), "export the model in evaluation mode"));
        }
        Ok(())
    }

    fn reshape(&mut self, node: &NodeProto, from: &[usize]) -> Result<Vec<usize>, NetworkError> {
        let attributes = Attributes::new(node, &["allowzero"])?;
        let zero_is_zero = attributes.integer("allowzero", 0)? != 0;
        let target = self.list(node, 1)?;
        let refuse = |problem: &str, help| Err(fault(node, format!("reshapes {from:?} to {}: {problem}", listed(&target)), help));
        if target.len() > MAX_RANK {
            return refuse(&format!("it has {} axes, and the limit is {MAX_RANK}", target.len()), "check the shape");
        }
        if target.contains(&0) && zero_is_zero {
            return refuse("with allowzero = 1 a 0 means no elements", "remove allowzero");
        }
        let mut shape = Vec::new();
        let mut inferred = None;
        for (index, size) in target.iter().enumerate() {
            match (*size, usize::try_from(*size)) {
                (0, _) => match from.get(index) {
                    Some(size) => shape.push(*size),
                    None => return refuse("a 0 stands where the input has no axis", "write the size"),
                },
                (-1, _) if inferred.is_none() => {
                    inferred = Some(index);
                    shape.push(1);
                }
                (-1, _) => return refuse("more than one -1", "write the sizes"),
                (_, Ok(size)) => shape.push(size),
                (_, Err(_)) => return refuse("a size is negative", "write sizes, 0 or -1"),
            }
        }
        let elements: usize = from.iter().product();
        let known = shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size)).unwrap_or(usize::MAX).max(1);
        if let Some(index) = inferred {
            shape[index] = elements / known;
        }
        if known.checked_mul(inferred.map_or(1, |index| shape[index])) != Some(elements) {
            return refuse(&format!("there are {elements} elements, and there would not be as many after it"), "make the shape fit");
        }
        Ok(shape)
    }

    fn flatten(&self, node: &NodeProto, shape: &[usize]) -> Result<Vec<usize>, NetworkError> {
        let given = Attributes::new(node, &["axis"])?.integer("axis", 1)?;
        let rank = shape.len();
        let axis = if usize::try_from(given) == Ok(rank) { rank } else { self.axis(node, given, rank)? };
        Ok(vec![shape[..axis].iter().product(), shape[axis..].iter().product()])
    }

    /// The axes that a node names, in an attribute or, in newer opsets, in `slot`; ascending, in values of `rank`.
    pub(super) fn axes(
        &mut self,
        node: &NodeProto,
        attributes: &Attributes<'_>,
        slot: usize,
        rank: usize,
    ) -> Result<Option<Vec<usize>>, NetworkError> {
        let given = if Self::has(node, slot) { Some(self.list(node, slot)?) } else { attributes.integers("axes")?.map(<[i64]>::to_vec) };
        let Some(given) = given else { return Ok(None) };
        if given.len() > MAX_RANK {
            return Err(fault(node, format!("has {} axes", given.len()), "name each axis once"));
        }
        let mut axes = given.iter().map(|axis| self.axis(node, *axis, rank)).collect::<Result<Vec<_>, _>>()?;
        axes.sort_unstable();
        if axes.windows(2).any(|pair| pair[0] == pair[1]) {
            return Err(fault(node, format!("has the axes {given:?}, one of them twice"), "name each axis once"));
        }
        Ok(Some(axes))
    }

    fn squeeze(&mut self, node: &NodeProto, shape: &[usize]) -> Result<Vec<usize>, NetworkError> {
        let attributes = Attributes::new(node, &["axes"])?;
        let axes = self.axes(node, &attributes, 1, shape.len())?;
        if let Some(axis) = axes.iter().flatten().find(|axis| shape[**axis] != 1) {
            return Err(fault(node, format!("squeezes axis {axis} of {shape:?}, whose size is not 1"), "squeeze axes of size 1 only"));
        }
        let goes = |axis: usize| axes.as_ref().map_or(shape[axis] == 1, |axes| axes.contains(&axis));
        Ok((0..shape.len()).filter(|axis| !goes(*axis)).map(|axis| shape[axis]).collect())
    }

    fn unsqueeze(&mut self, node: &NodeProto, shape: &[usize]) -> Result<Vec<usize>, NetworkError> {
        let attributes = Attributes::new(node, &["axes"])?;
        let count = match attributes.integers("axes")? {
            Some(axes) => axes.len(),
            None if Self::has(node, 1) => self.list(node, 1)?.len(),
            None => return Err(fault(node, "names no axes".to_string(), "the file was written wrongly: export it again")),
        };
        let rank = shape.len().saturating_add(count);
        if rank > MAX_RANK {
            return Err(fault(node, format!("yields {rank} axes, and the limit is {MAX_RANK}"), "check the axes"));
        }
        let axes = self.axes(node, &attributes, 1, rank)?.unwrap_or_default();
        let mut sizes = shape.iter();
        Ok((0..rank).map(|axis| if axes.contains(&axis) { 1 } else { sizes.next().copied().unwrap_or(1) }).collect())
    }

    fn slice(&mut self, node: &NodeProto, shape: &[usize]) -> Result<Vec<Span>, NetworkError> {
        let attributes = Attributes::new(node, &["starts", "ends", "axes"])?;
        let mut list = |slot, name| -> Result<Option<Vec<i64>>, NetworkError> {
            if Self::has(node, slot) { self.list(node, slot).map(Some) } else { Ok(attributes.integers(name)?.map(<[i64]>::to_vec)) }
        };
        let (starts, ends, axes) = (list(1, "starts")?.unwrap_or_default(), list(2, "ends")?.unwrap_or_default(), list(3, "axes")?);
        let steps = if Self::has(node, 4) { self.list(node, 4)? } else { vec![1; starts.len()] };
        let axes = axes.unwrap_or_else(|| (0..).take(starts.len()).collect());
        if starts.len() > MAX_RANK || [ends.len(), axes.len(), steps.len()] != [starts.len(); 3] {
            let problem = format!("has {} starts, {} ends, {} axes and {} steps", starts.len(), ends.len(), axes.len(), steps.len());
            return Err(fault(node, problem, "give one of each for each axis that is cut"));
        }
        let mut spans: Vec<Span> = shape.iter().map(|size| Span::all(*size)).collect();
        for (index, axis) in axes.iter().enumerate() {
            let axis = self.axis(node, *axis, shape.len())?;
            spans[axis] = span(starts[index], ends[index], steps[index], shape[axis]).ok_or_else(|| {
                let problem = format!("takes {}..{} in steps of {} of axis {axis} of {shape:?}", starts[index], ends[index], steps[index]);
                fault(node, problem, "at least one element must be left, and the step must not be 0")
            })?;
        }
        Ok(spans)
    }

    fn split(&mut self, node: &NodeProto, shape: &[usize]) -> Result<Vec<Vec<Movement>>, NetworkError> {
        let attributes = Attributes::new(node, &["axis", "split", "num_outputs"])?;
        let axis = self.axis(node, attributes.integer("axis", 0)?, shape.len())?;
        let given = if Self::has(node, 1) { Some(self.list(node, 1)?) } else { attributes.integers("split")?.map(<[i64]>::to_vec) };
        let count = node.output.len();
        let sizes: Vec<usize> = if let Some(given) = &given {
            given.iter().map(|size| usize::try_from(*size).unwrap_or(0)).collect()
        } else {
            // Equal parts, the last one smaller where they do not divide the axis.
            let part = shape[axis].div_ceil(count);
            (0..count).map(|index| part.min(shape[axis].saturating_sub(index * part))).collect()
        };
        let total = sizes.iter().try_fold(0_usize, |sum, size| sum.checked_add(*size));
        if sizes.len() != count || sizes.contains(&0) || total != Some(shape[axis]) {
            let problem = format!("cuts axis {axis} of {shape:?} into {} parts for {count} outputs, which do not fit", sizes.len());
            return Err(fault(node, problem, "give a size, at least 1, for each output; they must sum to the axis"));
        }
        let mut start = 0;
        let mut parts = Vec::new();
        for count in sizes {
            let mut spans: Vec<Span> = shape.iter().map(|size| Span::all(*size)).collect();
            spans[axis] = Span { start, count, step: 1 };
            start += count;
            parts.push(vec![Movement::Slice(spans)]);
        }
        Ok(parts)
    }

    /// Elements at equal distances, which constant indices name.
    fn gather(&mut self, node: &NodeProto, shape: &[usize]) -> Result<Vec<Movement>, NetworkError> {
        let (axis, indices) = self.indices(node, shape)?;
        let flat: Vec<usize> = indices.iter().copied().collect();
        let step = match flat[..] {
            [first, second, ..] => second.cast_signed() - first.cast_signed(),
            _ => 1,
        };
        if step == 0 || flat.windows(2).any(|pair| pair[1].cast_signed() - pair[0].cast_signed() != step) {
            let problem = format!("takes {} elements of axis {axis} of {shape:?} that do not lie at equal distances", flat.len());
            return Err(fault(node, problem, "gather from a constant table, or elements at equal distances"));
        }
        let mut spans: Vec<Span> = shape.iter().map(|size| Span::all(*size)).collect();
        spans[axis] = Span { start: flat[0], count: flat.len(), step };
        let target = [&shape[..axis], indices.shape(), &shape[axis + 1..]].concat();
        Ok(vec![Movement::Slice(spans), Movement::Reshape(target)])
    }

    /// The axis of a `Gather` over values of this shape, and its constant indices: at least one, all inside.
    pub(super) fn indices(&mut self, node: &NodeProto, shape: &[usize]) -> Result<(usize, ArrayD<usize>), NetworkError> {
        let attributes = Attributes::new(node, &["axis"])?;
        let axis = self.axis(node, attributes.integer("axis", 0)?, shape.len())?;
        let constant = self.constant(node, 1)?;
        self.charge(constant.shape()?.iter().product())?;
        let size = shape[axis];
        let wrap = |index: &i64| {
            let index = if *index < 0 { index.checked_add_unsigned(size as u64)? } else { *index };
            usize::try_from(index).ok().filter(|index| *index < size)
        };
        let indices = constant.longs(self.folder)?.filter(|indices| !indices.is_empty()).and_then(|indices| {
            let inside = indices.iter().map(wrap).collect::<Option<Vec<usize>>>()?;
            ArrayD::from_shape_vec(indices.raw_dim(), inside).ok()
        });
        if indices.as_ref().is_some_and(|indices| indices.ndim() + shape.len() > MAX_RANK + 1) {
            return Err(fault(node, format!("yields more than {MAX_RANK} axes"), "check the shapes"));
        }
        let indices = indices.ok_or_else(|| {
            let last = size.saturating_sub(1);
            let problem =
                format!("has indices that are not whole numbers from -{size} to {last}, those of axis {axis} of {shape:?}, or has none");
            fault(node, problem, "check the indices")
        })?;
        Ok((axis, indices))
    }

    /// An axis of values of `rank`, the batch included.
    pub(super) fn axis(&self, node: &NodeProto, given: i64, rank: usize) -> Result<usize, NetworkError> {
        let all = i64::try_from(rank).unwrap_or(i64::MAX);
        let negative = self.opset >= 11 || given == -1;
        let axis = if given < 0 && negative { given.saturating_add(all) } else { given };
        usize::try_from(axis).ok().filter(|axis| *axis < rank).ok_or_else(|| {
            let problem = format!("has axis = {given} for values of rank {all} (batch included), opset {}", self.opset);
            fault(node, problem, "the axis must be one of the value's")
        })
    }

    /// Data, moved; the layers get the node's name and names beside it.
    pub(super) fn moved(
        &mut self,
        node: &NodeProto,
        naming: &mut Naming,
        tensor: Tensor,
        movements: Vec<Movement>,
    ) -> Result<Tensor, NetworkError> {
        let mut tensor = tensor;
        for movement in movements {
            tensor = match movement {
                Movement::Reshape(shape) => self.reshaped(node, naming, tensor, &shape)?,
                Movement::Transpose(perm) => self.transposed(node, naming, tensor, &perm)?,
                Movement::Slice(spans) => self.sliced(node, naming, tensor, &spans)?,
            };
        }
        Ok(tensor)
    }

    fn named(&mut self, node: &NodeProto, naming: &mut Naming, op: Op, input: LayerId) -> Result<LayerId, NetworkError> {
        if naming.0 {
            let what = op.name();
            return self.aside(node, what, op, &[input]);
        }
        naming.0 = true;
        self.layer(node, op, &[input])
    }

    /// Data in another shape of the file's.
    pub(super) fn reshaped(
        &mut self,
        node: &NodeProto,
        naming: &mut Naming,
        tensor: Tensor,
        shape: &[usize],
    ) -> Result<Tensor, NetworkError> {
        let batched = shape.first() == Some(&self.batch);
        if self.batch > 1 && !batched {
            let problem = format!("makes {shape:?} of {:?}: it does not keep the batch axis", self.full(tensor));
            return Err(fault(node, problem, "export the model with a batch of 1, or keep the batch the first axis"));
        }
        let ours = &shape[usize::from(batched)..];
        if ours == self.builder.value(tensor.id).shape {
            return Ok(Tensor { batched, ..tensor });
        }
        let id = self.named(node, naming, Op::Reshape(ours.to_vec()), tensor.id)?;
        Ok(Tensor { id, batched, sole: true })
    }

    fn transposed(&mut self, node: &NodeProto, naming: &mut Naming, tensor: Tensor, perm: &[usize]) -> Result<Tensor, NetworkError> {
        let full = self.full(tensor);
        let shape: Vec<usize> = perm.iter().map(|axis| full[*axis]).collect();
        let moving: Vec<usize> = perm.iter().copied().filter(|axis| full[*axis] != 1).collect();
        if moving.is_sorted() {
            return self.reshaped(node, naming, tensor, &shape);
        }
        if self.batch > 1 && perm[0] != 0 {
            let problem = format!("moves axis 0 of {full:?}, which is the batch");
            return Err(fault(node, problem, "export the model with a batch of 1"));
        }
        let ours: Vec<usize> =
            if tensor.batched { perm.iter().filter(|axis| **axis != 0).map(|axis| axis - 1).collect() } else { perm.to_vec() };
        let id = self.named(node, naming, Op::Transpose(ours), tensor.id)?;
        let batched = tensor.batched && perm[0] == 0;
        // Where the batch axis was moved, it stands in the shape now.
        if batched || !tensor.batched {
            return Ok(Tensor { id, batched, sole: true });
        }
        let moved = Tensor { id, batched: true, sole: true };
        self.reshaped(node, naming, moved, &shape)
    }

    fn sliced(&mut self, node: &NodeProto, naming: &mut Naming, tensor: Tensor, spans: &[Span]) -> Result<Tensor, NetworkError> {
        let full = self.full(tensor);
        if spans.iter().zip(&full).all(|(span, size)| *span == Span::all(*size)) {
            return Ok(tensor);
        }
        if tensor.batched && spans[0].count != self.batch {
            let problem = format!("cuts axis 0 of {full:?}, which is the batch");
            return Err(fault(node, problem, "a sample must not depend on where in the batch it stands"));
        }
        let ours = spans[usize::from(tensor.batched)..].to_vec();
        let id = self.named(node, naming, Op::Slice(ours), tensor.id)?;
        Ok(Tensor { id, batched: tensor.batched, sole: true })
    }

    /// Data whose shape of ours is the file's whole one.
    pub(super) fn whole(&mut self, node: &NodeProto, tensor: Tensor) -> Result<Tensor, NetworkError> {
        if !tensor.batched {
            return Ok(tensor);
        }
        let full = self.full(tensor);
        if self.batch > 1 {
            return Err(fault(node, format!("works across axis 0 of {full:?}, which is the batch"), "export the model with a batch of 1"));
        }
        let id = self.aside(node, "batch", Op::Reshape(full), &[tensor.id])?;
        Ok(Tensor { id, batched: false, sole: true })
    }

    /// Data whose shape of ours is the file's without a first axis of one.
    pub(super) fn samples(&mut self, node: &NodeProto, tensor: Tensor) -> Result<Tensor, NetworkError> {
        if tensor.batched {
            return Ok(tensor);
        }
        let full = self.full(tensor);
        let Some((1, ours)) = full.split_first() else {
            return Err(fault(
                node,
                format!("reads a batch of shape {full:?}, and one sample is computed at a time"),
                "give it a batch of 1",
            ));
        };
        let id = self.aside(node, "sample", Op::Reshape(ours.to_vec()), &[tensor.id])?;
        Ok(Tensor { id, batched: true, sole: true })
    }
}

fn permutation(node: &NodeProto, shape: &[usize]) -> Result<Vec<usize>, NetworkError> {
    let attributes = Attributes::new(node, &["perm"])?;
    let Some(given) = attributes.integers("perm")? else { return Ok((0..shape.len()).rev().collect()) };
    let perm: Vec<usize> = given.iter().filter_map(|axis| usize::try_from(*axis).ok()).collect();
    let mut sorted = perm.clone();
    sorted.sort_unstable();
    if perm.len() != given.len() || !sorted.into_iter().eq(0..shape.len()) {
        return Err(fault(node, format!("orders the axes of {shape:?} as {}", listed(given)), "name each axis once"));
    }
    Ok(perm)
}

/// The elements that a slice takes of an axis, by the rules of ONNX; `None` where it takes none.
fn span(start: i64, end: i64, step: i64, size: usize) -> Option<Span> {
    let (all, step) = (i128::try_from(size).ok().filter(|size| *size > 0)?, i128::from(step));
    let wrap = |index: i64| if index < 0 { i128::from(index) + all } else { i128::from(index) };
    let (start, count) = match step.signum() {
        1 => {
            let (start, end) = (wrap(start).clamp(0, all), wrap(end).clamp(0, all));
            (start, (end - start + step - 1) / step)
        }
        -1 => {
            let (start, end) = (wrap(start).clamp(0, all - 1), wrap(end).clamp(-1, all - 1));
            (start, (start - end - step - 1) / -step)
        }
        _ => return None,
    };
    let count = usize::try_from(count).ok().filter(|count| *count > 0)?;
    // Where one element is left, the step has no meaning, and may be as large as it likes.
    let step = if count == 1 { 1 } else { isize::try_from(step).ok()? };
    Some(Span { start: usize::try_from(start).ok()?, count, step })
}

impl Numbers {
    /// A constant, moved.
    pub(super) fn moved(self, movements: Vec<Movement>) -> Self {
        movements.into_iter().fold(self, |numbers, movement| match numbers {
            Self::Float(values) => Self::Float(array_moved(values, &movement)),
            Self::Int(values, kind) => Self::Int(array_moved(values, &movement), kind),
            Self::Clipped(values, kind, bounds) => Self::Clipped(array_moved(values, &movement), kind, bounds),
            Self::Quantized(quantized) => quantized.moved(&movement),
        })
    }
}

impl Quantized {
    /// Moved; channels stay channels where they stay an axis, else only the reals are kept.
    fn moved(self, movement: &Movement) -> Numbers {
        let one = self.scales.len() <= 1 && self.zero_points.len() <= 1;
        let axis = match movement {
            _ if one => Some(self.axis),
            Movement::Transpose(perm) => perm.iter().position(|axis| *axis == self.axis),
            Movement::Slice(spans) => Some(self.axis).filter(|axis| spans.get(*axis) == Some(&Span::all(self.values.shape()[*axis]))),
            Movement::Reshape(shape) => {
                let (old, before) = (self.values.shape(), &self.values.shape()[..self.axis]);
                (0..shape.len()).find(|axis| {
                    shape[*axis] == old[self.axis] && shape[..*axis].iter().product::<usize>() == before.iter().product::<usize>()
                })
            }
        };
        match axis {
            Some(axis) => Numbers::Quantized(Self { values: array_moved(self.values, movement), axis, ..self }),
            None => Numbers::Float(array_moved(self.reals(), movement)),
        }
    }
}

fn array_moved<T: Clone>(values: ArrayD<T>, movement: &Movement) -> ArrayD<T> {
    match movement {
        Movement::Reshape(shape) => reshaped(values, shape),
        Movement::Transpose(perm) => values.permuted_axes(IxDyn(perm)).as_standard_layout().into_owned(),
        Movement::Slice(spans) => Span::cut(spans, values.view()).as_standard_layout().into_owned(),
    }
}

/// A target shape in a message; a long one is cut.
pub(super) fn listed(target: &[i64]) -> String {
    if target.len() > 8 { format!("{:?} and {} more", &target[..8], target.len() - 8) } else { format!("{target:?}") }
}
