//! How large a network is, whatever runs it.

use crate::network::{Network, Op, Weight};
use ndarray::RemoveAxis;

/// Bits of a number that is not quantized.
const FLOAT_BITS: u64 = 32;

/// A network's size.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    /// Bytes of the weights of dense layers and convolutions, packed without gaps (4 bytes each in float); biases are not counted.
    pub weight_bytes: u64,
    /// Multiply-accumulates of one sample.
    pub macs: u64,
    /// Multiply-accumulates of one sample, each times the bits of its weight and of its activation (BOPs without the accumulator's; Baskin and
    /// others, UNIQ, 2018).
    pub bit_operations: u128,
}

/// The size of a network.
pub fn size(network: &Network) -> Size {
    let mut size = Size { weight_bytes: 0, macs: network.macs(), bit_operations: 0 };
    for layer in network.layers() {
        let bits_of = |slot: usize| {
            let read = network.inputs(layer.id).get(slot).map(|id| network.layer(*id));
            read.and_then(|read| read.output.quantization).map_or(FLOAT_BITS, |quantization| u64::from(quantization.dtype.bits()))
        };
        let weight_bits = match &layer.op {
            Op::Dense(dense) => counted(&dense.weight, &mut size.weight_bytes),
            Op::Conv(conv) => counted(&conv.weight, &mut size.weight_bytes),
            Op::MatMul => bits_of(1),
            _ => continue,
        };
        size.bit_operations += u128::from(layer.macs()) * u128::from(weight_bits * bits_of(0));
    }
    size
}

/// Bits of a weight; the bytes of all are added.
fn counted<D: RemoveAxis>(weight: &Weight<D>, bytes: &mut u64) -> u64 {
    let bits = match weight {
        Weight::Float(_) => FLOAT_BITS,
        Weight::Integer { dtype, .. } => u64::from(dtype.bits()),
    };
    *bytes += (weight.len() as u64 * bits).div_ceil(8);
    bits
}
