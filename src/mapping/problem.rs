//! What one array operation computes, without its values: dimensions, operand formats.

use crate::numerics::Dtype;
use serde::{Deserialize, Serialize};

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
    /// Output rows.
    pub p: u64,
    /// Output columns.
    pub q: u64,
    /// Filter rows.
    pub r: u64,
    /// Filter columns.
    pub s: u64,
    /// The weights' format.
    pub weight: Dtype,
    /// The activations' format.
    pub activation: Dtype,
}

impl Problem {
    /// A matrix product: `rows` x `inner` by `inner` x `cols`.
    pub fn matrix(rows: u64, inner: u64, cols: u64, weight: Dtype, activation: Dtype) -> Self {
        Self { n: rows, m: cols, c: inner, p: 1, q: 1, r: 1, s: 1, weight, activation }
    }

    /// Vectors that stream past the weights: N * P * Q.
    pub fn vectors(&self) -> u64 {
        self.n * self.p * self.q
    }

    /// Products in one output: C * R * S.
    pub fn reduction(&self) -> u64 {
        self.c * self.r * self.s
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
}
