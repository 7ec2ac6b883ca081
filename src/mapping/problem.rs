//! What one array operation computes, without its values: dimensions, operand formats.

use super::{Slide, largest_divisor};
use crate::numerics::Dtype;
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// The dimensions of a convolution or a matrix product, named as Timeloop names them.
///
/// | here | meaning | ZigZag |
/// | --- | --- | --- |
/// | N | batch (rows of a matrix product) | B |
/// | M | output channels | K |
/// | C | input channels | C |
/// | P, Q | output rows, columns | OY, OX |
/// | R, S | filter rows, columns | FY, FX |
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Dim {
    /// Batch.
    N,
    /// Output channels.
    M,
    /// Input channels.
    C,
    /// Output rows.
    P,
    /// Output columns.
    Q,
    /// Filter rows.
    R,
    /// Filter columns.
    S,
}

/// One array operation. A dense layer is a convolution of one pixel: P = Q = R = S = 1.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Batch.
    pub n: u64,
    /// Output channels.
    pub m: u64,
    /// Input channels.
    pub c: u64,
    /// Groups of channels: M / groups of the output channels read C / groups of the input channels each.
    pub groups: u64,
    /// Output rows.
    pub p: u64,
    /// Output columns.
    pub q: u64,
    /// Filter rows.
    pub r: u64,
    /// Filter columns.
    pub s: u64,
    /// Rows and columns of the input image.
    pub input: [u64; 2],
    /// Pixels from one place of the filter to the next, down and to the right.
    pub stride: [u64; 2],
    /// Pixels from one element of the filter to the next, down and to the right.
    pub dilation: [u64; 2],
    /// Rows and columns of padding above and to the left of the image. What lies below and to the right of it follows from the other fields.
    pub padding: [u64; 2],
    /// The weights' format.
    pub weight: Dtype,
    /// The activations' format.
    pub activation: Dtype,
    /// The results' format.
    pub output: Dtype,
}

impl Problem {
    /// A matrix product: `rows` x `inner` by `inner` x `cols`, whose results have the activations' format.
    pub fn matrix(rows: u64, inner: u64, cols: u64, weight: Dtype, activation: Dtype) -> Self {
        Self {
            n: rows,
            m: cols,
            c: inner,
            groups: 1,
            p: 1,
            q: 1,
            r: 1,
            s: 1,
            input: [1, 1],
            stride: [1, 1],
            dilation: [1, 1],
            padding: [0, 0],
            weight,
            activation,
            output: activation,
        }
    }

    /// Vectors, one a pixel of the output: N * P * Q.
    pub fn vectors(&self) -> u64 {
        self.n * self.p * self.q
    }

    /// Products in one output: R * S * C / groups, in the order in which the array takes them: filter rows, filter columns, channels innermost.
    pub fn reduction(&self) -> u64 {
        self.group_inputs() * self.r * self.s
    }

    /// Input channels of a group.
    pub fn group_inputs(&self) -> u64 {
        self.c / self.groups
    }

    /// Output channels of a group.
    pub fn group_outputs(&self) -> u64 {
        self.m / self.groups
    }

    /// Output channels: M.
    pub fn channels(&self) -> u64 {
        self.m
    }

    /// Multiply-accumulates.
    pub fn macs(&self) -> u64 {
        self.vectors() * self.reduction() * self.channels()
    }

    /// Bytes of the weights as stored.
    pub fn weight_bytes(&self) -> u64 {
        self.reduction() * self.weight.packed_bytes(self.channels())
    }

    /// Bytes of a pixel of the input.
    pub const fn input_pixel(&self) -> u64 {
        self.activation.packed_bytes(self.c)
    }

    /// Bytes of so many channels of a pixel of the output.
    pub const fn output_bytes(&self, channels: u64) -> u64 {
        self.output.packed_bytes(channels)
    }

    /// The largest share of at most `most` output channels whose results are whole bytes, so that they lie apart from the next share's: all channels, or
    /// of a group's a divisor; none where there is none.
    pub fn share(&self, most: u64) -> Option<u64> {
        let is_whole = |share: u64| share == self.m || (share * u64::from(self.output.bits())).is_multiple_of(8);
        let most = most.min(self.group_outputs());
        if self.groups > 1 {
            return largest_divisor(self.group_outputs(), |share| share <= most && is_whole(share));
        }
        (0..most.min(8)).map(|less| most - less).find(|share| is_whole(*share))
    }

    /// Whether it is a matrix product: each vector is all that there is of an image.
    pub fn is_matrix(&self) -> bool {
        // A filter of one pixel that lies beside the image sees nothing of it.
        self.input == [1, 1] && [self.p, self.q, self.r, self.s, self.groups] == [1; 5] && self.padding == [0, 0]
    }

    /// Rows of all images of the batch, one image after the other.
    pub fn input_rows(&self) -> u64 {
        self.n * self.input[0]
    }

    /// Pixels of all images of the batch.
    pub fn pixels(&self) -> u64 {
        self.input_rows() * self.input[1]
    }

    /// The filter of a group and where it slides.
    pub fn slide(&self) -> Slide {
        Slide {
            channels: self.group_inputs(),
            input: self.input,
            output: [self.p, self.q],
            filter: [self.r, self.s],
            stride: self.stride,
            dilation: self.dilation,
            padding: self.padding,
        }
    }

    /// As [`Slide::rows_of`].
    pub fn rows_of(&self, vectors: Range<u64>) -> Range<u64> {
        self.slide().rows_of(vectors)
    }
}
