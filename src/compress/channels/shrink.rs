//! The network without some of its channels: each operation with what is left of its weights, each value smaller.

use super::labels::Labels;
use crate::compress::CompressError;
use crate::compress::rebuild::rebuilt;
use crate::compress::recipe::Step;
use crate::network::{Bias, Function, Layer, Network, Op, Weight};
use ndarray::{Array, ArrayD, Axis, RemoveAxis};

/// The network without the sets of units for which `is_gone` holds.
pub(super) fn shrunk(network: &Network, labels: &Labels, step: &Step, is_gone: impl Fn(usize) -> bool) -> Result<Network, CompressError> {
    rebuilt(network, |layer| {
        let kept = labels.kept(layer.id, &is_gone);
        if kept.iter().any(Vec::is_empty) {
            return Err(CompressError::Nothing { step: step.to_string(), layer: layer.name.clone() });
        }
        let first = network.inputs(layer.id).first().map(|id| labels.kept(*id, &is_gone)).unwrap_or_default();
        Ok(vec![(layer.name.clone(), op(layer, &first, &kept))])
    })
}

/// An operation that reads the indices `read` of its (first) input's axes and yields the indices `kept`.
fn op(layer: &Layer, read: &[Vec<usize>], kept: &[Vec<usize>]) -> Op {
    let mut op = layer.op.clone();
    let size = |axis: usize| kept[axis].len();
    match &mut op {
        Op::Dense(dense) => {
            let (rows, cols) = (&read[read.len() - 1], &kept[kept.len() - 1]);
            if let Weight::Float(values) = &mut dense.weight {
                *values = selected(&selected(values, 0, rows), 1, cols);
                bias(&mut dense.bias, cols);
            }
        }
        Op::Conv(conv) => {
            let is_depthwise = conv.groups > 1 && conv.groups == conv.channels();
            if let Weight::Float(values) = &mut conv.weight {
                *values = selected(values, 0, &kept[0]);
                if is_depthwise {
                    conv.groups = read[0].len();
                } else if conv.groups == 1 {
                    *values = selected(values, 1, &read[0]);
                }
                bias(&mut conv.bias, &kept[0]);
            }
        }
        Op::BinaryConstant(binary) => {
            let missing = kept.len() - binary.constant.shape().len();
            for axis in 0..binary.constant.shape().len() {
                if binary.constant.shape()[axis] > 1 {
                    match &mut binary.constant {
                        Weight::Float(values) => *values = selected(values, axis, &kept[missing + axis]),
                        Weight::Integer { values, .. } => *values = selected(values, axis, &kept[missing + axis]),
                    }
                }
            }
        }
        Op::Unary(Function::PRelu { slopes }) => {
            let missing = kept.len() - slopes.ndim();
            for axis in 0..slopes.ndim() {
                if slopes.shape()[axis] > 1 {
                    let fewer: ArrayD<f32> = selected(slopes, axis, &kept[missing + axis]);
                    *slopes = fewer;
                }
            }
        }
        Op::Reshape(shape) => *shape = (0..kept.len()).map(size).collect(),
        Op::Slice(spans) => {
            for (axis, span) in spans.iter_mut().enumerate().filter(|(_, span)| span.step == 1) {
                // What is left of a range without gaps has none either.
                span.start = read[axis].iter().filter(|index| **index < span.start).count();
                span.count = size(axis);
            }
        }
        _ => {}
    }
    op
}

fn selected<T: Clone, D: RemoveAxis>(values: &Array<T, D>, axis: usize, indices: &[usize]) -> Array<T, D> {
    values.select(Axis(axis), indices).as_standard_layout().into_owned()
}

fn bias(bias: &mut Option<Bias>, channels: &[usize]) {
    match bias {
        Some(Bias::Float(values)) => *values = selected(values, 0, channels),
        Some(Bias::Integer(values)) => *values = selected(values, 0, channels),
        None => {}
    }
}
