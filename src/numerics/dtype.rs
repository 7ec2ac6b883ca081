//! Number formats of weights, activations and outputs.

use serde::{Deserialize, Serialize};
use std::fmt;

/// A number format that weights and activations are stored and multiplied in.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Dtype {
    /// One bit: 1 is +1, 0 is -1.
    Binary,
    /// Two bits, two's complement.
    Int2,
    /// Four bits, two's complement.
    Int4,
    /// Eight bits, two's complement.
    Int8,
    /// Sixteen bits, two's complement.
    Int16,
}

impl Dtype {
    /// Every format, narrow to wide.
    pub const ALL: [Self; 5] = [Self::Binary, Self::Int2, Self::Int4, Self::Int8, Self::Int16];

    /// Bits of one element.
    pub const fn bits(self) -> u32 {
        match self {
            Self::Binary => 1,
            Self::Int2 => 2,
            Self::Int4 => 4,
            Self::Int8 => 8,
            Self::Int16 => 16,
        }
    }

    /// The format of this many bits.
    pub fn from_bits(bits: u32) -> Option<Self> {
        Self::ALL.into_iter().find(|dtype| dtype.bits() == bits)
    }

    /// The least value: -1 for binary, else `-2^(bits-1)`.
    pub const fn min(self) -> i32 {
        match self {
            Self::Binary => -1,
            _ => -(1 << (self.bits() - 1)),
        }
    }

    /// The greatest value: 1 for binary, else `2^(bits-1) - 1`.
    pub const fn max(self) -> i32 {
        match self {
            Self::Binary => 1,
            _ => (1 << (self.bits() - 1)) - 1,
        }
    }

    /// Bytes that `count` elements take, packed along a row that starts and ends on a byte.
    pub const fn packed_bytes(self, count: u64) -> u64 {
        (count * self.bits() as u64).div_ceil(8)
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Binary => "binary",
            Self::Int2 => "int2",
            Self::Int4 => "int4",
            Self::Int8 => "int8",
            Self::Int16 => "int16",
        })
    }
}
