//! Operations that only move elements, whatever the elements are.

use crate::network::{Op, Span};
use ndarray::{ArrayViewD, ArrayViewMutD, Axis, IxDyn, Slice};

/// One sample of a concatenation, slice, border, transpose or reshape; of any other operation the elements stay where they are.
pub(super) fn run<T: Clone>(op: &Op, x: &[ArrayViewD<T>], border: T, mut y: ArrayViewMutD<T>) {
    match op {
        Op::Concat { axis } => {
            let mut first = 0;
            for x in x {
                let last = first + x.len_of(Axis(*axis));
                y.slice_axis_mut(Axis(*axis), Slice::from(first..last)).assign(x);
                first = last;
            }
        }
        Op::Slice(spans) => y.assign(&Span::cut(spans, x[0].view())),
        Op::Pad(pad) => {
            y.fill(border);
            for (axis, (before, size)) in pad.before.iter().zip(x[0].shape()).enumerate() {
                y.slice_axis_inplace(Axis(axis), Slice::from(*before..before + size));
            }
            y.assign(&x[0]);
        }
        Op::Transpose(perm) => y.assign(&x[0].view().permuted_axes(IxDyn(perm))),
        _ => y.iter_mut().zip(&x[0]).for_each(|(y, x)| *y = x.clone()),
    }
}

/// The places of a value of shape `from`, in its row-major order, at each place of the shape that it broadcasts to.
pub(super) fn spread(from: &[usize], to: &[usize]) -> Vec<usize> {
    let places: Vec<usize> = (0..from.iter().product()).collect();
    let view = ArrayViewD::from_shape(IxDyn(from), &places).expect("bug: as many numbers as places");
    view.broadcast(IxDyn(to)).expect("bug: a checked network's shapes broadcast").iter().copied().collect()
}
