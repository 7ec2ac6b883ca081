//! Scores: values that only softmaxes inside of the network read, maybe through what moves them or adds a mask. What lies far below a row's greatest
//! score is nothing in the softmax, however far below it lies: the range need not reach down to a mask's -10000 or infinity, which saturates.
//!
//! How far: a row of n scores, of which each but the greatest is at least T below it, has a sum of exponentials between 1 and `1 + n exp(-T)` times the
//! greatest one. With `T = ln(512 n)` all that is left out is less than half of 1/256 of the sum, and a softmax's outputs have steps of 1/256. The
//! floor of a value is the least over the calibrated rows of `greatest - T`. Before an addition it is the floor of the sum less the greatest addend.
//!
//! A border that only max pools read, and that lies below the value itself, saturates likewise.

use super::calibrate::Ranges;
use crate::network::{BinaryConstant, BinaryOp, Layer, LayerId, Network, Op, PoolKind};
use ndarray::{ArrayD, ArrayView2, Axis, IxDyn};
use std::collections::{BTreeMap, BTreeSet};

/// The values of which only softmaxes inside of the network make anything.
pub fn scores(network: &Network) -> BTreeSet<LayerId> {
    let mut found = BTreeSet::new();
    for layer in backwards(network) {
        let readers = network.consumers(layer.id);
        let is_score = |reader: &LayerId| {
            let (reader, read) = (network.layer(*reader), network.inputs(*reader));
            match &reader.op {
                Op::Softmax { .. } => reader.id != network.output().id,
                _ if !found.contains(&reader.id) => false,
                Op::Quantize | Op::Pad(_) | Op::BinaryConstant(BinaryConstant { op: BinaryOp::Add, .. }) => true,
                Op::BinaryConstant(BinaryConstant { op: BinaryOp::Sub, constant_first, .. }) => !constant_first,
                Op::Binary(BinaryOp::Add) => read[0] != read[1],
                Op::Binary(BinaryOp::Sub) => read[0] == layer.id && read[1] != layer.id,
                op => op.only_moves(),
            }
        };
        if layer.id != network.output().id && !readers.is_empty() && readers.iter().all(is_score) {
            found.insert(layer.id);
        }
    }
    found
}

/// The borders of which only max pools make anything.
fn pooled_borders(network: &Network) -> impl Iterator<Item = (&Layer, f32)> {
    let is_max = |id: LayerId| matches!(&network.layer(id).op, Op::Pool(pool) if pool.kind == PoolKind::Max);
    network.layers().filter_map(move |layer| match &layer.op {
        Op::Pad(pad) if layer.id != network.output().id && network.consumers(layer.id).into_iter().all(is_max) => Some((layer, pad.value)),
        _ => None,
    })
}

fn backwards(network: &Network) -> Vec<&Layer> {
    let mut layers: Vec<&Layer> = network.layers().collect();
    layers.reverse();
    layers
}

/// The floors of a network's values, while it is calibrated.
pub(super) struct Floors<'n> {
    network: &'n Network,
    scores: BTreeSet<LayerId>,
    borders: BTreeMap<LayerId, f32>,
    /// Of each softmax inside of the network: the least of `greatest - T` of all rows so far.
    softmaxes: BTreeMap<LayerId, f32>,
}

impl<'n> Floors<'n> {
    pub(super) fn new(network: &'n Network) -> Self {
        let borders = pooled_borders(network).map(|(layer, value)| (layer.id, value)).collect();
        Self { network, scores: scores(network), borders, softmaxes: BTreeMap::new() }
    }

    /// Whether a value may hold this number: minus infinity is one only where it saturates.
    pub(super) fn may_hold(&self, id: LayerId, x: f32) -> bool {
        x.is_finite() || x == f32::NEG_INFINITY && (self.scores.contains(&id) || self.borders.contains_key(&id))
    }

    /// Takes in the numbers of a value, samples x elements.
    pub(super) fn see(&mut self, id: LayerId, values: &ArrayView2<f32>) {
        let shape = &self.network.layer(id).output.shape;
        for reader in self.network.consumers(id).into_iter().filter(|_| self.scores.contains(&id)) {
            let Op::Softmax { axis } = self.network.layer(reader).op else { continue };
            #[expect(clippy::cast_possible_truncation, reason = "a distance of reals that are f32")]
            let below = libm::log(512.0 * shape[axis] as f64) as f32;
            let whole: Vec<usize> = [values.nrows()].into_iter().chain(shape.iter().copied()).collect();
            let Ok(whole) = values.to_shape(IxDyn(&whole)) else { continue };
            let greatest = whole.lanes(Axis(axis + 1)).into_iter().map(|row| row.fold(f32::NEG_INFINITY, |max, x| max.max(*x)));
            let least = greatest.filter(|greatest| greatest.is_finite()).fold(f32::INFINITY, f32::min);
            let known = self.softmaxes.entry(reader).or_insert(f32::INFINITY);
            *known = known.min(least - below);
        }
    }

    /// The floor of each value that has one, as the ranges of what is added tell.
    pub(super) fn found(&self, ranges: &Ranges) -> BTreeMap<LayerId, f32> {
        let mut found: BTreeMap<LayerId, f32> = BTreeMap::new();
        for layer in backwards(self.network).into_iter().filter(|layer| self.scores.contains(&layer.id)) {
            let of_readers = self.network.consumers(layer.id).into_iter().map(|reader| self.before(reader, layer.id, ranges, &found));
            let floor = of_readers.fold(f32::INFINITY, f32::min);
            if floor.is_finite() {
                found.insert(layer.id, floor);
            }
        }
        for (id, value) in &self.borders {
            let own = ranges.get(self.network.inputs(*id)[0]).map(|(min, _)| min);
            found.extend(own.filter(|own| value < own && own.is_finite()).map(|own| (*id, own)));
        }
        found
    }

    /// The floor that a value needs for one of its readers; minus infinity where that is not known.
    fn before(&self, reader: LayerId, read: LayerId, ranges: &Ranges, found: &BTreeMap<LayerId, f32>) -> f32 {
        let of = |known: &BTreeMap<LayerId, f32>| known.get(&reader).copied().unwrap_or(f32::NEG_INFINITY);
        let range = |slot: usize| ranges.get(self.network.inputs(reader)[slot]).unwrap_or((f32::NEG_INFINITY, f32::INFINITY));
        match &self.network.layer(reader).op {
            Op::Softmax { .. } => of(&self.softmaxes),
            Op::BinaryConstant(BinaryConstant { op: BinaryOp::Add, constant, .. }) => of(found) - greatest(&constant.to_reals()),
            Op::BinaryConstant(BinaryConstant { op: BinaryOp::Sub, constant, .. }) => {
                of(found) - greatest(&constant.to_reals().mapv(|x| -x))
            }
            Op::Binary(BinaryOp::Add) => of(found) - range(usize::from(self.network.inputs(reader)[0] == read)).1,
            Op::Binary(BinaryOp::Sub) => of(found) + range(1).0,
            _ => of(found),
        }
    }
}

fn greatest(values: &ArrayD<f32>) -> f32 {
    values.fold(f32::NEG_INFINITY, |max, x| max.max(*x))
}
