//! What the host lays into DRAM before a batch, and finds there behind it: values in the order in which the chip reads and leaves them.

use super::Prepared;
use crate::mapping::Location;
use ndarray::{Array2, ArrayView2};

/// A batch of a value, samples x elements, as it lies in DRAM; samples that are all `filling` fill the batch up.
#[expect(clippy::needless_pass_by_value, reason = "a view is a reference already")]
pub(super) fn laid(location: &Location, values: ArrayView2<i32>, batch: u64, filling: i32) -> Vec<u8> {
    let mut bytes = vec![0; size(location.tensor.bytes)];
    let mut elements = values.iter().copied().chain(std::iter::repeat(filling));
    location.each(batch, |byte| {
        let element = elements.next().unwrap_or(filling);
        bytes[size(byte)] = i8::try_from(element).expect("bug: an int8 value is within eight bits").to_le_bytes()[0];
    });
    bytes
}

/// What a program left in DRAM, `samples` samples of it, sample by sample.
pub(super) fn found(location: &Location, bytes: &[u8], samples: u64) -> Vec<i32> {
    let mut values = Vec::new();
    location.each(samples, |byte| values.push(i32::from(i8::from_le_bytes([bytes[size(byte)]]))));
    values
}

/// The bytes of every value that the host lays into DRAM for samples `first..end`, in the program's order.
pub(super) fn batch_bytes(prepared: &Prepared<'_>, hosted: &[&Array2<i32>], (first, end): (usize, usize), batch: u64) -> Vec<Vec<u8>> {
    let value = |((id, location), values): (&(_, Location), &&Array2<i32>)| {
        let quantization = prepared.quantized.layer(*id).output.quantization;
        let zero = quantization.expect("bug: a mapped network's values are quantized").quantize(0.0);
        let bytes = laid(location, values.slice(ndarray::s![first..end, ..]), batch, zero);
        let mut stages = prepared.mapping.stages().iter();
        let reader = stages.find(|stage| stage.sources.iter().any(|source| source.tensor == location.tensor));
        // An image may lie in planes, as the stage reads it.
        match reader {
            Some(stage) if !stage.rules.input_layout.is_one_plane(stage.problem.c) => {
                stage.rules.input_layout.lay_out(&bytes, stage.problem.c)
            }
            _ => bytes,
        }
    };
    prepared.lowering.inputs.iter().zip(hosted).map(value).collect()
}

fn size(bytes: u64) -> usize {
    usize::try_from(bytes).expect("bug: a batch is limited far below what memory holds")
}
