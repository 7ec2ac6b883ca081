//! What the vector unit does: functions, sums and products of elements, rows, windows. The algorithms are those of `numerics::VectorOp`.

use super::super::movement;
use super::each_sample;
use crate::network::{IntegerForm, Layer, Op, Pool};
use crate::numerics::{Average, VectorOp};
use ndarray::{Array2, ArrayView, IxDyn};

/// What an operation on one value makes of an integer.
pub(super) fn one(op: &VectorOp, x: i32) -> i32 {
    i32::from(match op {
        VectorOp::Table(table) => table.apply(narrow(x)),
        VectorOp::Rescale(rescale) => rescale.apply(narrow(x)),
        _ => unreachable!("bug: only tables and rescalings are of one value"),
    })
}

/// A value's integers fit sixteen bits: no format is wider.
fn narrow(x: i32) -> i16 {
    i16::try_from(x.clamp(i32::from(i16::MIN), i32::from(i16::MAX))).expect("bug: clamped to sixteen bits just before")
}

/// All samples of a layer.
pub(super) fn run(layer: &Layer, read: &[&Layer], form: &IntegerForm, sources: &[&Array2<i32>], y: &mut Array2<i32>) {
    let shapes: Vec<&[usize]> = read.iter().map(|read| read.output.shape.as_slice()).collect();
    let output = layer.output.shape.as_slice();
    match form {
        IntegerForm::Vector { op, then } => match op {
            VectorOp::Table(_) | VectorOp::Rescale(_) => {
                each_sample(sources, y, |x, y| y.iter_mut().zip(x[0]).for_each(|(y, x)| *y = one(op, *x)));
            }
            VectorOp::Sum(_) | VectorOp::Product(_) => {
                let places: Vec<_> = shapes.iter().map(|shape| movement::spread(shape, output)).collect();
                each_sample(sources, y, |x, y| pairs(op, [(x[0], &places[0]), (x[1], &places[1])], y));
            }
            VectorOp::Softmax(_) | VectorOp::LayerNorm(_) => {
                // A row of a softmax lies along its axis, one of a normalisation is all from its axis on.
                let (size, apart) = match &layer.op {
                    Op::Softmax { axis } => (output[*axis], output[axis + 1..].iter().product()),
                    Op::LayerNorm(norm) => (norm.scale.len(), 1),
                    _ => unreachable!("bug: only softmax and normalisation work on rows"),
                };
                each_sample(sources, y, |x, y| rows(op, [size, apart], x[0], y));
            }
            VectorOp::Depthwise(_) => unreachable!("bug: a depthwise layer's form is sums"),
            VectorOp::Maximum | VectorOp::Average(_) => each_sample(sources, y, |x, y| {
                match &layer.op {
                    Op::Pool(pool) => windows(op, pool, shapes[0], output, x[0], y),
                    Op::Mean { axes, .. } => mean(op, shapes[0], axes, x[0], y),
                    _ => unreachable!("bug: only pools and means have windows"),
                }
                if let Some(op) = then {
                    for y in y {
                        *y = one(op, *y);
                    }
                }
            }),
        },
        IntegerForm::WithConstant { op, constant, constant_first, .. } => {
            let spread: Vec<i32> = constant.iter().map(|value| i32::from(*value)).collect();
            let (of_value, of_constant) = (movement::spread(shapes[0], output), movement::spread(constant.shape(), output));
            each_sample(sources, y, |x, y| {
                let (value, constant) = ((x[0], &of_value[..]), (&spread[..], &of_constant[..]));
                pairs(op, if *constant_first { [constant, value] } else { [value, constant] }, y);
            });
        }
        IntegerForm::Reals(op) => {
            let places: Vec<_> = shapes.iter().map(|shape| movement::spread(shape, output)).collect();
            each_sample(sources, y, |x, y| {
                let spread: Vec<Vec<i16>> =
                    x.iter().zip(&places).map(|(x, places)| places.iter().map(|place| narrow(x[*place])).collect()).collect();
                let spread: Vec<&[i16]> = spread.iter().map(Vec::as_slice).collect();
                y.iter_mut().enumerate().for_each(|(place, y)| *y = op.apply(&spread, place));
            });
        }
        IntegerForm::Tables { tables, shape } => {
            let of = movement::spread(shape, output);
            each_sample(sources, y, |x, y| {
                for ((y, x), table) in y.iter_mut().zip(x[0]).zip(&of) {
                    *y = i32::from(tables[*table].apply(narrow(*x)));
                }
            });
        }
        _ => unreachable!("bug: what is no work of the vector unit is told apart before"),
    }
}

/// Two operands, each with the place of the element that an output reads.
fn pairs(op: &VectorOp, [(a, of_a), (b, of_b)]: [(&[i32], &[usize]); 2], y: &mut [i32]) {
    for ((y, a_at), b_at) in y.iter_mut().zip(of_a).zip(of_b) {
        let (a, b) = (narrow(a[*a_at]), narrow(b[*b_at]));
        *y = i32::from(match op {
            VectorOp::Sum(sum) => sum.apply(a, b),
            VectorOp::Product(product) => product.apply(a, b),
            _ => unreachable!("bug: only sums and products are of two values"),
        });
    }
}

/// Rows of `size` elements, `apart` from one to the next.
fn rows(op: &VectorOp, [size, apart]: [usize; 2], x: &[i32], y: &mut [i32]) {
    let mut results = vec![0; size];
    for (x, y) in x.chunks_exact(size * apart).zip(y.chunks_exact_mut(size * apart)) {
        for first in 0..apart {
            let row: Vec<i16> = x[first..].iter().step_by(apart).map(|x| narrow(*x)).collect();
            match op {
                VectorOp::Softmax(softmax) => softmax.apply(&row, &mut results),
                VectorOp::LayerNorm(norm) => norm.apply(&row, &mut results),
                _ => unreachable!("bug: only softmax and normalisation work on rows"),
            }
            y[first..].iter_mut().step_by(apart).zip(&results).for_each(|(y, result)| *y = i32::from(*result));
        }
    }
}

/// The taps of each window of an image that are no padding.
fn windows(op: &VectorOp, pool: &Pool, image: &[usize], output: &[usize], x: &[i32], y: &mut [i32]) {
    let (h, w) = (image[1], image[2]);
    let taps = pool.kernel[0].saturating_mul(pool.kernel[1]);
    for (x, y) in x.chunks_exact(h * w).zip(y.chunks_exact_mut(output[1] * output[2])) {
        for (place, y) in y.iter_mut().enumerate() {
            let inside = |axis: usize, output: usize, size: usize| {
                let at = move |step: usize| (output * pool.stride[axis] + step * pool.dilation[axis]).checked_sub(pool.padding[axis]);
                (0..pool.kernel[axis]).filter_map(at).filter(move |at| *at < size)
            };
            let (p, q) = (place / output[2], place % output[2]);
            let taken = inside(0, p, h).flat_map(|line| inside(1, q, w).map(move |at| x[line * w + at]));
            *y = reduce(op, taken, taps);
        }
    }
}

/// The mean over some axes.
fn mean(op: &VectorOp, shape: &[usize], axes: &[usize], x: &[i32], y: &mut [i32]) {
    let taps = x.len() / y.len();
    let mut order: Vec<usize> = (0..shape.len()).filter(|axis| !axes.contains(axis)).collect();
    order.extend(axes);
    let x = ArrayView::from_shape(IxDyn(shape), x).expect("bug: a value has as many numbers as its shape says").permuted_axes(order);
    let mut x = x.iter().copied();
    for y in y {
        *y = reduce(op, x.by_ref().take(taps), taps);
    }
}

/// What a window of `taps` yields for its taps that are no padding.
fn reduce(op: &VectorOp, taken: impl Iterator<Item = i32>, taps: usize) -> i32 {
    match op {
        VectorOp::Average(average) => {
            let (sum, count) = taken.fold((0_i64, 0_u32), |(sum, count), x| (sum + i64::from(x), count + 1));
            i32::from(Average::apply(average, sum, count, u32::try_from(taps).unwrap_or(u32::MAX)))
        }
        _ => taken.max().unwrap_or(i32::from(i16::MIN)),
    }
}
