//! Structured pruning: output channels that go, with all that reads them. The network shrinks, and yields what it would if every reader
//! took zeros from these channels (the same floats: what is left out of a sum is exactly zero).
//!
//! `labels` finds out what goes together, `shrink` rebuilds the network; here is chosen what goes.

mod labels;
mod shrink;

use super::matrix::Matrix;
use super::prune::share;
use super::recipe::{Activity, Norm, Step};
use super::{CompressError, calibrate::blocks_of};
use crate::network::{Function, LayerId, Network, Op};
use crate::reference::float;
use labels::Labels;
use ndarray::{ArrayView2, Axis};
use std::collections::BTreeMap;

/// What makes a channel worth keeping: for each layer, each output channel's score.
type Scores = BTreeMap<LayerId, Vec<f64>>;

/// By the norms of weights. Channels that go together add theirs (their squares for L2).
pub(super) fn by_norm(network: &Network, step: &Step, fraction: f64, norm: Norm, named: &[LayerId]) -> Result<Network, CompressError> {
    let mut scores = Scores::new();
    for id in named {
        let matrix = Matrix::of(network, network.layer(*id))?;
        let of = |w: &f32| match norm {
            Norm::L1 => f64::from(w.abs()),
            Norm::L2 => f64::from(*w) * f64::from(*w),
        };
        scores.insert(*id, matrix.values.columns().into_iter().map(|column| column.iter().map(of).sum()).collect());
    }
    without_least(network, step, fraction, &scores)
}

/// By what channels yield on `samples`, behind the function that alone reads them. Channels that go together add theirs.
#[expect(clippy::needless_pass_by_value, reason = "a view is a reference already")]
pub(super) fn by_activity(
    network: &Network,
    step: &Step,
    fraction: f64,
    activity: Activity,
    named: &[LayerId],
    samples: ArrayView2<f32>,
) -> Result<Network, CompressError> {
    if samples.nrows() == 0 {
        return Err(CompressError::NoSamples);
    }
    let mut sums = Scores::new();
    for block in samples.axis_chunks_iter(Axis(0), blocks_of(network)) {
        let trace = float::run(network, block)?;
        for id in named {
            let shape = &network.layer(*id).output.shape;
            let (channels, inner) = match network.layer(*id).op {
                Op::Conv(_) => (shape[0], shape[1..].iter().product::<usize>()),
                _ => (shape[shape.len() - 1], 1),
            };
            let sums = sums.entry(*id).or_insert_with(|| vec![0.0; channels]);
            for row in trace.layer(judged(network, *id)).rows() {
                for (place, x) in row.iter().enumerate() {
                    if !x.is_finite() {
                        return Err(CompressError::NotFinite { layer: network.layer(*id).name.clone() });
                    }
                    sums[place / inner % channels] += match activity {
                        Activity::ActivationMean => f64::from(x.abs()),
                        Activity::ZeroFraction => f64::from(u8::from(*x != 0.0)),
                    };
                }
            }
        }
    }
    // Means over different numbers of pixels.
    for (id, sums) in &mut sums {
        let of_channel = (network.layer(*id).output.elements() / sums.len().max(1) * samples.nrows()) as f64;
        for sum in sums {
            *sum /= of_channel;
        }
    }
    without_least(network, step, fraction, &sums)
}

/// The value by which a layer's channels are judged: behind the functions that alone read them.
fn judged(network: &Network, mut id: LayerId) -> LayerId {
    while let [reader] = network.consumers(id)[..] {
        match &network.layer(reader).op {
            Op::Unary(function) if !matches!(function, Function::PRelu { .. }) => id = reader,
            _ => break,
        }
    }
    id
}

/// The network without `floor(fraction * channels)` of each named layer's output channels: those of the least scores, of equal ones the first.
/// Channels that go together go where every layer among them may still lose one, and where no value is left with none.
fn without_least(network: &Network, step: &Step, fraction: f64, scores: &Scores) -> Result<Network, CompressError> {
    let labels = Labels::of(network);
    // For each set of units: its score, and the layers that yield it.
    let mut sets: BTreeMap<usize, (f64, Vec<usize>)> = BTreeMap::new();
    let mut refused: Vec<usize> = Vec::new();
    for (number, producer) in labels.producers.iter().enumerate() {
        for (channel, unit) in producer.units.iter().enumerate() {
            let root = labels.root(*unit);
            match scores.get(&producer.layer).filter(|_| !labels.is_pinned(root)) {
                Some(scores) => {
                    let set = sets.entry(root).or_default();
                    set.0 += scores[channel];
                    set.1.push(number);
                }
                None => refused.push(root),
            }
        }
    }
    for root in refused {
        sets.remove(&root);
    }
    if sets.is_empty() {
        let problem = "no output channel of the layers that it names can be removed";
        let help = "channels stay that the network yields, that a softmax, a normalisation, a convolution in groups or a reshape reads as one, \
                    or that are added to those of a layer which the step does not name: name other layers";
        return Err(step.fault(problem, help));
    }
    let mut left: Vec<usize> = labels.producers.iter().map(|producer| share(fraction, producer.units.len())).collect();
    let mut order: Vec<(usize, (f64, Vec<usize>))> = sets.into_iter().collect();
    order.sort_by(|one, other| one.1.0.total_cmp(&other.1.0).then(one.0.cmp(&other.0)));
    // What a slice takes of a value may be one set's alone: no axis of any value may lose all.
    let mut kept: Vec<usize> = Vec::new();
    let mut places: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
    for (number, (indices, of_sets)) in labels.axes().enumerate() {
        kept.push(indices);
        for (root, count) in of_sets {
            places.entry(root).or_default().push((number, count));
        }
    }
    let mut gone = vec![false; order.iter().map(|(root, _)| root + 1).max().unwrap_or(0)];
    for (root, (_, producers)) in order {
        let of = |number: usize| producers.iter().filter(|other| **other == number).count();
        let of_axes = places.get(&root).map_or(&[][..], Vec::as_slice);
        if producers.iter().all(|number| left[*number] >= of(*number)) && of_axes.iter().all(|(axis, count)| kept[*axis] > *count) {
            for (axis, count) in of_axes {
                kept[*axis] -= count;
            }
            for number in producers {
                left[number] -= 1;
            }
            gone[root] = true;
        }
    }
    shrink::shrunk(network, &labels, step, |root| gone.get(root).copied().unwrap_or(false))
}
