//! Operations over whole axes of one sample: softmax, layer normalisation, means. Sums of many numbers are kept in f64.

use super::image::narrow;

/// A value as `outer` blocks of `size` slices of `inner` numbers, `size` being the axis that is worked on.
#[derive(Clone, Copy)]
pub(super) struct Lanes {
    size: usize,
    inner: usize,
}

impl Lanes {
    /// Along this axis of a shape.
    pub(super) fn new(shape: &[usize], axis: usize) -> Self {
        Self { size: shape[axis], inner: shape[axis + 1..].iter().product() }
    }
}

/// `exp(x - max x)` over their sum, along an axis.
pub(super) fn softmax(lanes: Lanes, x: &[f32], y: &mut [f32]) {
    let Lanes { size, inner } = lanes;
    for (x, y) in x.chunks_exact(size * inner).zip(y.chunks_exact_mut(size * inner)) {
        for lane in 0..inner {
            let max = x[lane..].iter().step_by(inner).copied().fold(f32::NEG_INFINITY, f32::max);
            let mut sum = 0.0;
            for (y, x) in y[lane..].iter_mut().step_by(inner).zip(x[lane..].iter().step_by(inner)) {
                *y = libm::expf(x - max);
                sum += *y;
            }
            y[lane..].iter_mut().step_by(inner).for_each(|y| *y /= sum);
        }
    }
}

/// `(x - mean) / sqrt(variance + epsilon) * scale + bias` for each row.
pub(super) fn layer_norm(scale: &[f32], bias: Option<&[f32]>, epsilon: f32, x: &[f32], y: &mut [f32]) {
    let row = scale.len();
    for (x, y) in x.chunks_exact(row).zip(y.chunks_exact_mut(row)) {
        let mean = x.iter().map(|x| f64::from(*x)).sum::<f64>() / row as f64;
        let variance = x.iter().map(|x| (f64::from(*x) - mean) * (f64::from(*x) - mean)).sum::<f64>() / row as f64;
        let deviation = libm::sqrt(variance + f64::from(epsilon));
        for (index, (y, x)) in y.iter_mut().zip(x).enumerate() {
            *y = narrow((f64::from(*x) - mean) / deviation) * scale[index] + bias.map_or(0.0, |bias| bias[index]);
        }
    }
}

/// The mean over the axes that `kept` leaves out; `y` has the others in their order.
pub(super) fn mean(shape: &[usize], axes: &[usize], x: &[f32], y: &mut [f32]) {
    // How far a step along each axis of x goes in y.
    let mut strides = vec![0; shape.len()];
    let mut stride = 1;
    for axis in (0..shape.len()).rev().filter(|axis| !axes.contains(axis)) {
        strides[axis] = stride;
        stride *= shape[axis];
    }
    let mut sums = vec![0.0_f64; y.len()];
    let mut place = vec![0; shape.len()];
    let mut at = 0;
    for x in x {
        sums[at] += f64::from(*x);
        for axis in (0..shape.len()).rev() {
            place[axis] += 1;
            at += strides[axis];
            if place[axis] < shape[axis] {
                break;
            }
            at -= strides[axis] * shape[axis];
            place[axis] = 0;
        }
    }
    let count = (x.len() / y.len()) as f64;
    y.iter_mut().zip(sums).for_each(|(y, sum)| *y = narrow(sum / count));
}
