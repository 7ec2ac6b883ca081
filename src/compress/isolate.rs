//! Networks of which one layer alone is quantized, or all but one: what each costs by itself.

use super::CompressError;
use super::rebuild::remade;
use crate::network::{LayerId, Network, Op};

/// The float network in which one layer with weights has those of `quantized`, and reads its input on the grid that it has there. Both networks'
/// layers have the same identities.
///
/// # Errors
/// A layer whose input is not quantized.
pub fn only(float: &Network, quantized: &Network, id: LayerId) -> Result<Network, CompressError> {
    let read = quantized.inputs(id).first().and_then(|source| quantized.layer(*source).output.quantization);
    let grid = read.ok_or_else(|| CompressError::NoRange { layer: float.layer(id).name.clone() })?;
    remade(
        float,
        |layer| layer.output.quantization,
        |builder, layer, mut inputs| {
            if layer.id != id {
                return Ok(builder.layer(layer.name.clone(), layer.op.clone(), &inputs)?);
            }
            inputs[0] = builder.layer(format!("{}/read", layer.name), Op::Quantize, &inputs[..1])?;
            builder.quantize(inputs[0], grid);
            Ok(builder.layer(layer.name.clone(), quantized.layer(id).op.clone(), &inputs)?)
        },
    )
}

/// `quantized` in which one layer with weights has those of the float network, and reads reals where it alone reads them.
///
/// # Errors
/// None that checked networks of the same layers can cause; the builder's own checks run again.
pub fn all_but(float: &Network, quantized: &Network, id: LayerId) -> Result<Network, CompressError> {
    let source = quantized.inputs(id)[0];
    let is_its_own = quantized.consumers(source) == [id];
    remade(
        quantized,
        |layer| layer.output.quantization.filter(|_| !(is_its_own && layer.id == source)),
        |builder, layer, inputs| {
            let op = if layer.id == id { &float.layer(id).op } else { &layer.op };
            Ok(builder.layer(layer.name.clone(), op.clone(), &inputs)?)
        },
    )
}
