//! Convolutions and poolings of one image, C x H x W.

use super::product::{Panels, add_product};
use crate::network::{Activation, Conv, Pool, PoolKind};

/// A convolution with its weights as reals, M x K.
pub(super) struct Convolution<'a> {
    pub(super) conv: &'a Conv,
    pub(super) weight: Vec<f32>,
    pub(super) bias: Vec<f32>,
    /// The real that lies around the image.
    pub(super) border: f32,
    /// Channels, rows and columns of the image.
    pub(super) image: [usize; 3],
    /// Rows and columns of the output.
    pub(super) outputs: [usize; 2],
}

impl Convolution<'_> {
    /// One image; `y` is M x P x Q.
    pub(super) fn run(&self, x: &[f32], y: &mut [f32]) {
        let [_, h, w] = self.image;
        let pixels = self.outputs[0] * self.outputs[1];
        let (k, of_group) = (self.conv.inputs(), self.conv.weight.shape()[1]);
        let filters = self.conv.outputs() / self.conv.groups;
        // A filter of one element that sees every pixel reads the image as it lies.
        let as_it_lies = self.conv.kernel() == [1, 1] && self.conv.stride == [1, 1] && self.conv.padding == [0; 4];
        let mut columns = if as_it_lies { Vec::new() } else { vec![0.0; k * pixels] };
        for (y, bias) in y.chunks_exact_mut(pixels).zip(&self.bias) {
            y.fill(*bias);
        }
        for group in 0..self.conv.groups {
            let x = &x[group * of_group * h * w..][..of_group * h * w];
            let panels = if as_it_lies {
                Panels::new(x, k, pixels)
            } else {
                self.unfold(x, &mut columns);
                Panels::new(&columns, k, pixels)
            };
            let y = &mut y[group * filters * pixels..][..filters * pixels];
            add_product(&self.weight[group * filters * k..][..filters * k], &panels, y);
        }
        if self.conv.activation != Activation::None {
            for y in y {
                *y = self.conv.activation.apply(*y);
            }
        }
    }

    /// What each filter element (c, r, s) reads for each output: K x P*Q, the border outside of the image.
    fn unfold(&self, x: &[f32], columns: &mut [f32]) {
        let ([_, h, w], [p, q], [r, s]) = (self.image, self.outputs, self.conv.kernel());
        for (row, columns) in columns.chunks_exact_mut(p * q).enumerate() {
            let (channel, r, s) = (row / (r * s), row / s % r, row % s);
            let image = &x[channel * h * w..][..h * w];
            for (p, columns) in columns.chunks_exact_mut(q).enumerate() {
                let Some(line) = place(p, self.conv.stride[0], r, self.conv.dilation[0], self.conv.padding[0], h) else {
                    columns.fill(self.border);
                    continue;
                };
                for (q, column) in columns.iter_mut().enumerate() {
                    let at = place(q, self.conv.stride[1], s, self.conv.dilation[1], self.conv.padding[1], w);
                    *column = at.map_or(self.border, |at| image[line * w + at]);
                }
            }
        }
    }
}

/// Where element `step` of the window of output `output` lies in an axis of `size`; `None` in the border.
fn place(output: usize, stride: usize, step: usize, dilation: usize, before: usize, size: usize) -> Option<usize> {
    (output * stride + step * dilation).checked_sub(before).filter(|at| *at < size)
}

/// One image of `image` (C x H x W) to `outputs` (P x Q) a channel.
pub(super) fn pool(pool: &Pool, image: [usize; 3], outputs: [usize; 2], x: &[f32], y: &mut [f32]) {
    let [_, h, w] = image;
    for (x, y) in x.chunks_exact(h * w).zip(y.chunks_exact_mut(outputs[0] * outputs[1])) {
        for (index, y) in y.iter_mut().enumerate() {
            let (p, q) = (index / outputs[1], index % outputs[1]);
            let (mut greatest, mut sum, mut count) = (f32::NEG_INFINITY, 0.0_f64, 0_usize);
            for r in 0..pool.kernel[0] {
                let Some(line) = place(p, pool.stride[0], r, pool.dilation[0], pool.padding[0], h) else { continue };
                for s in 0..pool.kernel[1] {
                    let Some(at) = place(q, pool.stride[1], s, pool.dilation[1], pool.padding[1], w) else { continue };
                    let value = x[line * w + at];
                    // Not-a-number is kept, so that a fault upstream is seen.
                    greatest = if value > greatest || value.is_nan() { value } else { greatest };
                    sum += f64::from(value);
                    count += 1;
                }
            }
            *y = match pool.kind {
                PoolKind::Max => greatest,
                PoolKind::Average { count_include_pad } => {
                    let divisor = if count_include_pad { pool.kernel[0] * pool.kernel[1] } else { count };
                    narrow(sum / divisor as f64)
                }
            };
        }
    }
}

/// A sum that was kept in f64, as f32.
pub(super) fn narrow(sum: f64) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "rounding to f32 is what is wanted")]
    let narrow = sum as f32;
    narrow
}
