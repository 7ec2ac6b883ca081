//! What the host lays into DRAM before a batch: values in the order in which the chip reads them.

use super::Prepared;
use crate::mapping::Location;
use ndarray::{Array2, s};

/// The bytes of every value that the host lays into DRAM for samples `first..end`, in the program's order.
pub(super) fn batch_bytes(prepared: &Prepared<'_>, hosted: &[&Array2<i32>], (first, end): (usize, usize), batch: u64) -> Vec<Vec<u8>> {
    let value = |((id, location), values): (&(_, Location), &&Array2<i32>)| {
        let quantization = prepared.quantized.layer(*id).output.quantization;
        let zero = quantization.expect("bug: a mapped network's values are quantized").quantize(0.0);
        let bytes = location.lay(values.slice(s![first..end, ..]).iter().copied(), batch, zero);
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
