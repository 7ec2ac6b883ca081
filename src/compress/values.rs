//! Which quantization each value of a network gets.
//!
//! | value | quantization |
//! | --- | --- |
//! | one that has one | its own |
//! | one that only rounding reads (`Quantize`) | the one that it is rounded to |
//! | what an operation that only moves elements yields, a max pool's too | its input's |
//! | the inputs of a concatenation, and what it yields | one for all that have none yet |
//! | one that nothing but a relu or clip reads | the relu's: clamping to it is the relu |
//! | a softmax that is not at the end | steps of 1/256 from 0 |
//! | the second value of a product of two, and what shares its quantization | symmetric: it plays the array's weights |
//! | all others | affine, or symmetric where that is asked for, over the calibrated range (no further down than its readers can tell, `floor`) widened to hold 0; rows of a table: over the whole table |
//!
//! `formats` finds how many bits it has. 16 bits are symmetric always; binary values are signs.

use super::formats::{Resolved, of_values};
use super::{CompressError, Ranges, Symmetry};
use crate::network::{Element, Function, Layer, LayerId, Network, Op, Weight};
use crate::numerics::{Dtype, Quantization, Softmax};
use std::collections::BTreeMap;

/// Values that share one quantization.
pub(super) struct Groups<'n> {
    network: &'n Network,
    /// A value of the same group, or itself for the one that stands for all.
    parent: BTreeMap<LayerId, LayerId>,
    /// Of the one that stands for all: the quantization that the group must have.
    fixed: BTreeMap<LayerId, Quantization>,
    /// Values whose range does not count, since what reads them clamps it.
    clamped: Vec<LayerId>,
}

/// Which values share one quantization.
pub(super) fn groups(network: &Network) -> Groups<'_> {
    let mut groups = Groups { network, parent: BTreeMap::new(), fixed: BTreeMap::new(), clamped: Vec::new() };
    let layers: Vec<&Layer> = network.layers().filter(|layer| gets_one(network, layer)).collect();
    for layer in &layers {
        groups.parent.insert(layer.id, layer.id);
        if let Some(quantization) = given(network, layer) {
            groups.fixed.insert(layer.id, quantization);
        }
    }
    for layer in &layers {
        groups.tie(layer);
    }
    groups
}

/// Whether the host takes a value from the chip.
pub(super) fn host_reads(network: &Network, layer: &Layer) -> bool {
    layer.id == network.logits().id
}

/// The quantization of every value that is real and gets one: all but a softmax at the end, which is the host's.
pub(super) fn plan(network: &Network, ranges: &Ranges, formats: &Resolved) -> Result<BTreeMap<LayerId, Quantization>, CompressError> {
    let groups = groups(network);
    let layers: Vec<&Layer> = network.layers().filter(|layer| gets_one(network, layer)).collect();
    let mut spans: BTreeMap<LayerId, Span> = BTreeMap::new();
    for layer in &layers {
        let group = groups.of(layer.id);
        if groups.fixed.contains_key(&group) || groups.clamped.contains(&layer.id) {
            continue;
        }
        let of_layer = span(layer, ranges)?;
        let span = spans.entry(group).or_insert(Span { mean: 0.0, ..of_layer });
        *span = Span { min: span.min.min(of_layer.min), max: span.max.max(of_layer.max), mean: span.mean.max(of_layer.mean) };
    }
    let of_values = of_values(network, formats, |id| groups.group(id));
    let of = |layer: &&Layer| {
        let group = groups.of(layer.id);
        let of_span = || Some(groups.quantization(group, of_values.get(&group).copied()?, spans.get(&group)?));
        groups.fixed.get(&group).copied().or_else(of_span).map(|quantization| (layer.id, quantization))
    };
    Ok(layers.iter().filter_map(of).collect())
}

/// The reals that a value must hold, and the mean of their magnitudes.
#[derive(Debug, Clone, Copy)]
struct Span {
    min: f32,
    max: f32,
    mean: f32,
}

fn gets_one(network: &Network, layer: &Layer) -> bool {
    let at_the_end = layer.id == network.output().id && matches!(layer.op, Op::Softmax { .. });
    layer.output.element == Element::Real && (!at_the_end || layer.output.quantization.is_some())
}

/// The quantization that a value has, or has for certain.
fn given(network: &Network, layer: &Layer) -> Option<Quantization> {
    if layer.output.quantization.is_some() {
        return layer.output.quantization;
    }
    if let Op::Constant(Weight::Integer { dtype, scales, zero_points, .. }) = &layer.op {
        return Some(Quantization { dtype: *dtype, scale: scales[0], zero_point: zero_points.first().copied().unwrap_or(0) });
    }
    if matches!(layer.op, Op::Softmax { .. }) {
        return Some(Softmax::best_output());
    }
    let mut readers = network.consumers(layer.id).into_iter().map(|id| network.layer(id));
    let rounds = |layer: &Layer| layer.output.quantization.filter(|_| layer.op == Op::Quantize);
    let first = rounds(readers.next()?)?;
    (layer.id != network.output().id && readers.all(|reader| rounds(reader) == Some(first))).then_some(first)
}

/// What a layer's value must hold.
fn span(layer: &Layer, ranges: &Ranges) -> Result<Span, CompressError> {
    let missing = || CompressError::NoRange { layer: layer.name.clone() };
    if let Op::Gather(table) | Op::Constant(table) = &layer.op {
        let floor = ranges.floor(layer.id);
        let reals = table.to_reals().mapv(|x| if x < floor { floor } else { x });
        if reals.iter().any(|x| !x.is_finite()) {
            return Err(CompressError::WeightNotFinite { layer: layer.name.clone() });
        }
        let (min, max) = reals.iter().fold((0.0, 0.0), |(min, max): (f32, f32), x| (min.min(*x), max.max(*x)));
        return Ok(Span { min, max, mean: max.max(-min) });
    }
    let (min, max) = ranges.get(layer.id).ok_or_else(missing)?;
    Ok(Span { min, max, mean: ranges.mean_magnitude(layer.id).ok_or_else(missing)? })
}

impl Groups<'_> {
    /// The value that stands for the group of `id`.
    fn of(&self, mut id: LayerId) -> LayerId {
        while self.parent[&id] != id {
            id = self.parent[&id];
        }
        id
    }

    /// The same, if it has one.
    pub(super) fn group(&self, id: LayerId) -> Option<LayerId> {
        self.parent.contains_key(&id).then(|| self.of(id))
    }

    /// Affine, if it may be; symmetric where any of the group plays the weights of a product of two values, from which an array subtracts no zero
    /// point. Binary: by sign, each as far from zero as magnitudes are on the average (XNOR-Net's factor of activations, one for all).
    fn quantization(&self, group: LayerId, (format, symmetry): (Dtype, Symmetry), span: &Span) -> Quantization {
        let plays_weights = |member: &LayerId| {
            let mut readers = self.network.consumers(*member).into_iter().map(|id| self.network.layer(id));
            readers.any(|reader| reader.op == Op::MatMul && self.network.inputs(reader.id)[1] == *member)
        };
        if format == Dtype::Binary {
            return Quantization::symmetric(format, span.mean);
        }
        if symmetry == Symmetry::Symmetric || self.members(group).iter().any(plays_weights) {
            return Quantization::symmetric(format, span.max.max(-span.min));
        }
        Quantization::affine(format, span.min, span.max)
    }

    /// Whether its quantization is given.
    pub(super) fn is_fixed(&self, id: LayerId) -> bool {
        self.fixed.contains_key(&self.of(id))
    }

    /// Makes two groups one. The second may be fixed, or both free.
    fn join(&mut self, id: LayerId, other: LayerId) {
        let (from, to) = (self.of(id), self.of(other));
        self.parent.insert(from, to);
    }

    fn members(&self, id: LayerId) -> Vec<LayerId> {
        let group = self.of(id);
        self.parent.keys().copied().filter(|member| self.of(*member) == group).collect()
    }

    /// Whether all that a value's group holds ends up in one reader: then what that reader does not keep is nobody's loss.
    fn is_private(&self, id: LayerId) -> bool {
        self.members(id).iter().all(|member| *member != self.network.output().id && self.network.consumers(*member).len() == 1)
    }

    fn tie(&mut self, layer: &Layer) {
        let id = layer.id;
        let inputs = self.network.inputs(id);
        match &layer.op {
            Op::Concat { .. } => self.tie_joined(id, &inputs),
            op if op.only_moves() => {
                let input = inputs[0];
                match (self.is_fixed(input), self.is_fixed(id)) {
                    (true, true) => {}
                    (false, true) if !self.is_private(input) => {}
                    (false, true) => self.join(input, id),
                    (_, false) => self.join(id, input),
                }
            }
            Op::Unary(Function::Relu | Function::Clip { .. }) => {
                let input = inputs[0];
                if !self.is_fixed(input) && self.is_private(input) && self.network.layer(input).op != Op::Input {
                    self.clamped.extend(self.members(input));
                    self.join(input, id);
                }
            }
            _ => {}
        }
    }

    fn tie_joined(&mut self, id: LayerId, inputs: &[LayerId]) {
        let free: Vec<LayerId> = inputs.iter().copied().filter(|input| !self.is_fixed(*input)).collect();
        if self.is_fixed(id) {
            for input in free {
                // One group may be read twice.
                if !self.is_fixed(input) && self.is_private(input) {
                    self.join(input, id);
                }
            }
        } else if free.is_empty() {
            let same = |input: &LayerId| self.fixed[&self.of(*input)] == self.fixed[&self.of(inputs[0])];
            if inputs.iter().all(same) {
                self.join(id, inputs[0]);
            }
        } else {
            for input in free {
                if self.of(input) != self.of(id) {
                    self.join(input, id);
                }
            }
        }
    }
}
