//! Cross-layer equalization: two layers that a relu joins share their ranges channel by channel, and the float network stays what it is.
//!
//! M. Nagel, M. van Baalen, T. Blankevoort, M. Welling, "Data-Free Quantization Through Weight Equalization and Bias Correction", ICCV 2019, section 4.1:
//! a relu passes a positive factor on, so that channel i of the first layer may be divided by `s_i = sqrt(r1_i r2_i) / r2_i` and what reads it multiplied by
//! it, r1 and r2 being the greatest magnitudes of the weights that make and that read the channel. Both then are `sqrt(r1_i r2_i)`. Pairs are
//! gone through again until nothing moves.

use super::matrix::has_float_weights;
use super::recipe::Step;
use super::{CompressError, rebuild};
use crate::network::{Activation, Bias, Conv, Dense, Function, LayerId, Network, Op, Weight};
use ndarray::{Array1, Axis};
use std::collections::BTreeMap;

/// The most rounds through all pairs.
const ROUNDS: usize = 50;
/// A factor this near to 1 moves nothing.
const NEAR: f32 = 1e-4;

/// A layer, and the one that alone reads its channels; each channel is so many inputs of a dense layer behind a flattened image.
struct Pair {
    first: LayerId,
    second: LayerId,
    pixels: usize,
}

/// The network with the layers that are named, and those that read them, equalized.
pub(super) fn equalize(network: &Network, step: &Step, named: &[LayerId]) -> Result<Network, CompressError> {
    let pairs: Vec<Pair> = named.iter().filter_map(|id| pair(network, *id)).collect();
    if pairs.is_empty() {
        let help = "two dense layers or convolutions with float weights, of which one alone reads the other through relus, pools or a flatten, make a pair";
        return Err(step.fault("there is no pair of layers that a relu joins", help));
    }
    let mut ops: BTreeMap<LayerId, Op> = network.layers().map(|layer| (layer.id, layer.op.clone())).collect();
    for _ in 0..ROUNDS {
        let mut moved = false;
        for pair in &pairs {
            let (made, read) = (ranges_made(&ops[&pair.first]), ranges_read(&ops[&pair.second], pair.pixels));
            let factor = |(made, read): (&f32, &f32)| {
                let factor = (made * read).sqrt() / read;
                // A channel that nothing makes or reads has no range to share.
                if *made > 0.0 && *read > 0.0 && factor.is_normal() && (1.0 / factor).is_normal() { factor } else { 1.0 }
            };
            let factors: Vec<f32> = made.iter().zip(&read).map(factor).collect();
            if factors.iter().all(|factor| (factor - 1.0).abs() <= NEAR) {
                continue;
            }
            moved = true;
            if let Some(op) = ops.get_mut(&pair.first) {
                divide(op, &factors);
            }
            if let Some(op) = ops.get_mut(&pair.second) {
                multiply(op, &factors, pair.pixels);
            }
        }
        if !moved {
            break;
        }
    }
    rebuild::rebuilt(network, |layer| Ok(vec![(layer.name.clone(), ops[&layer.id].clone())]))
}

/// The pair that begins with a layer, if one does.
fn pair(network: &Network, first: LayerId) -> Option<Pair> {
    let layer = network.layer(first);
    let (Op::Dense(Dense { activation, .. }) | Op::Conv(Conv { activation, .. })) = &layer.op else { return None };
    let is_image = matches!(layer.op, Op::Conv(_));
    if !matches!(activation, Activation::None | Activation::Relu) || !has_float_weights(&layer.op) {
        return None;
    }
    let mut pixels = 1;
    let mut id = first;
    loop {
        if id == network.output().id || network.layer(id).output.quantization.is_some() {
            return None;
        }
        let [reader] = network.consumers(id)[..] else { return None };
        // Once for each time that it reads the value.
        if network.inputs(reader).len() != 1 {
            return None;
        }
        let from = &network.layer(id).output.shape;
        match &network.layer(reader).op {
            Op::Unary(Function::Relu | Function::LeakyRelu { .. }) => {}
            Op::Pool(_) if is_image => {}
            Op::Mean { axes, .. } if is_image && pixels == 1 && from.len() == 3 && axes[..] == [1, 2] => {}
            Op::Reshape(to) if is_image && from.len() == 3 && to.len() == 1 => pixels = from[1] * from[2],
            Op::Reshape(to) if is_image && from.len() == 1 && to == from => {}
            op @ Op::Dense(_) if has_float_weights(op) && (!is_image || from.len() == 1) => {
                return Some(Pair { first, second: reader, pixels });
            }
            op @ Op::Conv(conv) if has_float_weights(op) && is_image && (conv.groups == 1 || conv.groups == conv.channels()) => {
                return Some(Pair { first, second: reader, pixels });
            }
            _ => return None,
        }
        id = reader;
    }
}

/// The greatest magnitude of the weights that make each channel.
fn ranges_made(op: &Op) -> Vec<f32> {
    let greatest = |weights: &mut dyn Iterator<Item = f32>| weights.fold(0.0, |max: f32, w| max.max(w.abs()));
    match op {
        Op::Dense(Dense { weight: Weight::Float(w), .. }) => w.axis_iter(Axis(1)).map(|lane| greatest(&mut lane.iter().copied())).collect(),
        Op::Conv(Conv { weight: Weight::Float(w), .. }) => w.axis_iter(Axis(0)).map(|lane| greatest(&mut lane.iter().copied())).collect(),
        _ => Vec::new(),
    }
}

/// The greatest magnitude of the weights that read each channel.
fn ranges_read(op: &Op, pixels: usize) -> Vec<f32> {
    let greatest = |weights: &mut dyn Iterator<Item = f32>| weights.fold(0.0, |max: f32, w| max.max(w.abs()));
    match op {
        Op::Dense(Dense { weight: Weight::Float(w), .. }) => {
            w.axis_chunks_iter(Axis(0), pixels).map(|rows| greatest(&mut rows.iter().copied())).collect()
        }
        Op::Conv(conv @ Conv { weight: Weight::Float(w), .. }) => {
            let axis = if conv.groups == 1 { Axis(1) } else { Axis(0) };
            let lanes: Vec<f32> = w.axis_iter(axis).map(|lane| greatest(&mut lane.iter().copied())).collect();
            // Of a depthwise convolution several filters may read one channel.
            let of_one = if conv.groups == 1 { 1 } else { conv.outputs() / conv.groups };
            lanes.chunks(of_one).map(|filters| filters.iter().fold(0.0, |max: f32, w| max.max(*w))).collect()
        }
        _ => Vec::new(),
    }
}

fn divide(op: &mut Op, factors: &[f32]) {
    let bias = match op {
        Op::Dense(Dense { weight: Weight::Float(w), bias, .. }) => {
            w.axis_iter_mut(Axis(1)).zip(factors).for_each(|(mut lane, factor)| lane.mapv_inplace(|w| w / factor));
            bias
        }
        Op::Conv(Conv { weight: Weight::Float(w), bias, .. }) => {
            w.axis_iter_mut(Axis(0)).zip(factors).for_each(|(mut lane, factor)| lane.mapv_inplace(|w| w / factor));
            bias
        }
        _ => return,
    };
    if let Some(Bias::Float(bias)) = bias {
        *bias = bias.iter().zip(factors).map(|(b, factor)| b / factor).collect::<Array1<f32>>();
    }
}

fn multiply(op: &mut Op, factors: &[f32], pixels: usize) {
    match op {
        Op::Dense(Dense { weight: Weight::Float(w), .. }) => {
            w.axis_chunks_iter_mut(Axis(0), pixels).zip(factors).for_each(|(mut rows, factor)| rows.mapv_inplace(|w| w * factor));
        }
        Op::Conv(conv) => {
            let (axis, of_one) = if conv.groups == 1 { (Axis(1), 1) } else { (Axis(0), conv.outputs() / conv.groups) };
            if let Weight::Float(w) = &mut conv.weight {
                let lanes = w.axis_iter_mut(axis).enumerate();
                lanes.for_each(|(lane, mut weights)| weights.mapv_inplace(|w| w * factors[lane / of_one]));
            }
        }
        _ => {}
    }
}
