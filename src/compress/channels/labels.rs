//! Which parts of a network's values go together: a unit is what one output channel of a layer yields, wherever that ends up.
//!
//! Each index of each axis of each value carries a unit or none. Sums and products of two values make units of both one. A unit is pinned
//! where its removal would change more than its own contribution, or would leave shapes that are none: at the network's output, in what a
//! softmax, a normalisation or a mean runs over, in convolutions in groups, and in reshapes that cut through it.

use crate::network::{Conv, Function, Layer, LayerId, Network, Op, Span, Weight};
use std::collections::BTreeMap;

/// The units of the indices of an axis.
pub(super) type Axis = Vec<Option<usize>>;

/// A layer with output channels of its own.
#[derive(Debug)]
pub(super) struct Producer {
    pub(super) layer: LayerId,
    /// The unit of each output channel.
    pub(super) units: Vec<usize>,
}

/// All units of a network.
#[derive(Debug, Default)]
pub(super) struct Labels {
    /// A unit of the same set, or itself for the one that stands for all.
    parent: Vec<usize>,
    pinned: Vec<bool>,
    /// For each value, the units along each axis.
    values: BTreeMap<LayerId, Vec<Axis>>,
    /// The layers whose outputs are units.
    pub(super) producers: Vec<Producer>,
}

impl Labels {
    /// The units of a network.
    pub(super) fn of(network: &Network) -> Self {
        let mut labels = Self::default();
        for layer in network.layers() {
            let read: Vec<&Layer> = network.inputs(layer.id).iter().map(|id| network.layer(*id)).collect();
            let inputs: Vec<Vec<Axis>> = read.iter().map(|read| labels.values[&read.id].clone()).collect();
            let axes = labels.layer(layer, &read, inputs);
            debug_assert!(axes.iter().map(Vec::len).eq(layer.output.shape.iter().copied()), "{}", layer.name);
            labels.values.insert(layer.id, axes);
        }
        let output = labels.values[&network.output().id].clone();
        for axis in output {
            labels.pin(&axis);
        }
        labels
    }

    /// The unit that stands for the set of `unit`.
    pub(super) fn root(&self, mut unit: usize) -> usize {
        while self.parent[unit] != unit {
            unit = self.parent[unit];
        }
        unit
    }

    pub(super) fn is_pinned(&self, unit: usize) -> bool {
        self.pinned[self.root(unit)]
    }

    /// For each axis of a value, the indices that stay when the sets of units for which `is_gone` holds are removed.
    pub(super) fn kept(&self, value: LayerId, is_gone: impl Fn(usize) -> bool) -> Vec<Vec<usize>> {
        let stays = |unit: &Option<usize>| unit.is_none_or(|unit| !is_gone(self.root(unit)));
        let of_axis = |axis: &Axis| axis.iter().enumerate().filter(|(_, unit)| stays(unit)).map(|(index, _)| index).collect();
        self.values[&value].iter().map(of_axis).collect()
    }

    /// Each axis of each value: its indices, and how many of them go with each set of units.
    pub(super) fn axes(&self) -> impl Iterator<Item = (usize, BTreeMap<usize, usize>)> {
        self.values.values().flatten().map(|axis| {
            let mut sets = BTreeMap::new();
            axis.iter().flatten().for_each(|unit| *sets.entry(self.root(*unit)).or_default() += 1);
            (axis.len(), sets)
        })
    }

    fn pin(&mut self, axis: &[Option<usize>]) {
        for unit in axis.iter().flatten() {
            let root = self.root(*unit);
            self.pinned[root] = true;
        }
    }

    fn tie(&mut self, one: Option<usize>, other: Option<usize>) -> Option<usize> {
        let (Some(one), Some(other)) = (one, other) else {
            self.pin(&[one, other]);
            return None;
        };
        let (one, other) = (self.root(one), self.root(other));
        self.parent[other] = one;
        self.pinned[one] |= self.pinned[other];
        Some(one)
    }

    fn tied(&mut self, one: &[Option<usize>], other: &[Option<usize>]) -> Axis {
        one.iter().zip(other).map(|(one, other)| self.tie(*one, *other)).collect()
    }

    /// New units for the outputs of a layer.
    fn produced(&mut self, layer: &Layer, channels: usize) -> Axis {
        let units: Vec<usize> = (self.parent.len()..self.parent.len() + channels).collect();
        self.parent.extend(&units);
        self.pinned.resize(self.parent.len(), false);
        self.producers.push(Producer { layer: layer.id, units: units.clone() });
        units.into_iter().map(Some).collect()
    }

    fn layer(&mut self, layer: &Layer, read: &[&Layer], mut inputs: Vec<Vec<Axis>>) -> Vec<Axis> {
        let shape = &layer.output.shape;
        let none = |size: usize| -> Axis { vec![None; size] };
        match &layer.op {
            Op::Input | Op::Constant(_) | Op::Gather(_) => {
                inputs.iter().flatten().for_each(|axis| self.pin(axis));
                shape.iter().map(|size| none(*size)).collect()
            }
            Op::Dense(dense) => {
                let mut axes = inputs.remove(0);
                let last = axes.pop().unwrap_or_default();
                if matches!(dense.weight, Weight::Float(_)) {
                    axes.push(self.produced(layer, dense.outputs()));
                } else {
                    self.pin(&last);
                    axes.push(none(dense.outputs()));
                }
                axes
            }
            Op::Conv(conv) => {
                inputs[0][1..].iter().for_each(|axis| self.pin(axis));
                let channels = self.filters(layer, conv, &inputs[0][0]);
                vec![channels, none(shape[1]), none(shape[2])]
            }
            Op::MatMul => self.product(shape, &inputs[0], &inputs[1]),
            Op::Binary(_) => self.broadcast(shape, &inputs[0], &inputs[1]),
            Op::BinaryConstant(binary) => self.beside_constant(shape, &inputs[0], binary.constant.shape()),
            Op::Unary(Function::PRelu { .. } | _) | Op::Quantize => inputs.remove(0),
            Op::Softmax { axis } => {
                self.pin(&inputs[0][*axis]);
                inputs.remove(0)
            }
            Op::LayerNorm(norm) => {
                inputs[0][norm.axis..].iter().for_each(|axis| self.pin(axis));
                inputs.remove(0)
            }
            Op::Pool(_) => {
                inputs[0][1..].iter().for_each(|axis| self.pin(axis));
                vec![inputs[0].swap_remove(0), none(shape[1]), none(shape[2])]
            }
            Op::Mean { axes, keep } => {
                for axis in axes {
                    self.pin(&inputs[0][*axis]);
                }
                let all = inputs.remove(0).into_iter().enumerate();
                all.filter_map(|(axis, units)| if axes.contains(&axis) { keep.then(|| none(1)) } else { Some(units) }).collect()
            }
            Op::Concat { axis } => {
                let mut axes = inputs.remove(0);
                for input in inputs {
                    for (number, units) in input.into_iter().enumerate() {
                        if number == *axis {
                            axes[number].extend(units);
                        } else {
                            axes[number] = self.tied(&axes[number], &units);
                        }
                    }
                }
                axes
            }
            Op::Slice(spans) => spans.iter().zip(&inputs[0]).map(|(span, units)| self.cut(*span, units)).collect(),
            Op::Pad(pad) => {
                let sizes = pad.before.iter().zip(&pad.after);
                let padded = |(units, (before, after)): (&Axis, (&usize, &usize))| [none(*before), units.clone(), none(*after)].concat();
                inputs[0].iter().zip(sizes).map(padded).collect()
            }
            Op::Reshape(_) => self.reshaped(&read[0].output.shape, shape, &inputs[0]),
            Op::Transpose(perm) => perm.iter().map(|axis| inputs[0][*axis].clone()).collect(),
        }
    }

    /// A convolution's output channels: new ones; of a depthwise one those that it reads.
    fn filters(&mut self, layer: &Layer, conv: &Conv, read: &[Option<usize>]) -> Axis {
        let is_float = matches!(conv.weight, Weight::Float(_));
        if conv.groups == 1 && is_float {
            return self.produced(layer, conv.outputs());
        }
        if conv.groups == conv.channels() && is_float {
            let of_each = conv.outputs() / conv.groups;
            return (0..conv.outputs()).map(|filter| read[filter / of_each]).collect();
        }
        self.pin(read);
        vec![None; conv.outputs()]
    }

    /// The axes that two values broadcast to, aligned at the last.
    fn broadcast(&mut self, shape: &[usize], one: &[Axis], other: &[Axis]) -> Vec<Axis> {
        let at = |axes: &[Axis], axis: usize| (axis + axes.len()).checked_sub(shape.len()).map(|axis| axes[axis].clone());
        let joined = |this: &mut Self, axis: usize, size: usize| match (at(one, axis), at(other, axis)) {
            (Some(one), Some(other)) if one.len() == other.len() => this.tied(&one, &other),
            (one, other) => {
                let (full, single): (Vec<Axis>, Vec<Axis>) = one.into_iter().chain(other).partition(|units| units.len() == size);
                for units in single {
                    this.pin(&units);
                }
                full.into_iter().next().unwrap_or_else(|| vec![None; size])
            }
        };
        shape.iter().enumerate().map(|(axis, size)| joined(self, axis, *size)).collect()
    }

    /// The axes of a value beside a constant; the constant follows what is removed.
    fn beside_constant(&mut self, shape: &[usize], read: &[Axis], constant: &[usize]) -> Vec<Axis> {
        let missing = shape.len() - read.len();
        let of_axis = |this: &mut Self, (axis, size): (usize, &usize)| match axis.checked_sub(missing).map(|axis| &read[axis]) {
            Some(units) if units.len() == *size => units.clone(),
            units => {
                this.pin(units.map_or(&[], Vec::as_slice));
                vec![None; *size]
            }
        };
        debug_assert!(constant.len() <= shape.len());
        shape.iter().enumerate().map(|axis| of_axis(self, axis)).collect()
    }

    fn product(&mut self, shape: &[usize], left: &[Axis], right: &[Axis]) -> Vec<Axis> {
        let ([left_batch @ .., rows, inner], [right_batch @ .., other, cols]) = (left, right) else {
            unreachable!("bug: a checked product reads matrices")
        };
        self.tied(inner, other);
        let mut axes = self.broadcast(&shape[..shape.len() - 2], left_batch, right_batch);
        axes.extend([rows.clone(), cols.clone()]);
        axes
    }

    fn cut(&mut self, span: Span, units: &[Option<usize>]) -> Axis {
        if span.step != 1 {
            self.pin(units);
            return vec![None; span.count];
        }
        units[span.start..span.start + span.count].to_vec()
    }

    /// Axes that are joined or split: each least run of axes of as many elements before and after by itself.
    fn reshaped(&mut self, from: &[usize], to: &[usize], read: &[Axis]) -> Vec<Axis> {
        let mut axes: Vec<Axis> = Vec::with_capacity(to.len());
        let (mut i, mut j) = (0, 0);
        while i < from.len() || j < to.len() {
            let (start_i, start_j) = (i, j);
            let size = |shape: &[usize], axis: usize| shape.get(axis).copied().unwrap_or(1);
            let (mut before, mut after) = (size(from, i), size(to, j));
            (i, j) = (from.len().min(i + 1), to.len().min(j + 1));
            while before != after {
                if before < after {
                    before *= size(from, i);
                    i += 1;
                } else {
                    after *= size(to, j);
                    j += 1;
                }
            }
            axes.extend(self.regrouped(&from[start_i..i], &to[start_j..j], &read[start_i..i]));
        }
        axes
    }

    /// One such run.
    fn regrouped(&mut self, from: &[usize], to: &[usize], read: &[Axis]) -> Vec<Axis> {
        let inner = |shape: &[usize], axis: usize| shape[axis + 1..].iter().product::<usize>();
        let mut labelled = (0..from.len()).filter(|axis| read[*axis].iter().any(Option::is_some));
        let mut axes: Vec<Axis> = to.iter().map(|size| vec![None; *size]).collect();
        let Some(axis) = labelled.next() else { return axes };
        let alone = labelled.next().is_none();
        let same = (0..to.len()).find(|other| to[*other] == from[axis] && inner(to, *other) == inner(from, axis));
        match same {
            Some(other) if alone => axes[other].clone_from(&read[axis]),
            None if alone && to.len() == 1 => {
                let step = inner(from, axis);
                axes[0] = (0..to[0]).map(|place| read[axis][place / step % from[axis]]).collect();
            }
            _ => read.iter().for_each(|units| self.pin(units)),
        }
        axes
    }
}
