//! Networks of which one layer alone is quantized, or all but one: what each costs by itself.

use super::CompressError;
use crate::network::{LayerId, Network, NetworkBuilder, Op};
use std::collections::BTreeMap;

/// The float network in which one layer with weights has those of `quantized`, and reads its input on the grid that it has there. Both networks'
/// layers have the same identities.
///
/// # Errors
/// A layer whose input is not quantized.
pub fn only(float: &Network, quantized: &Network, id: LayerId) -> Result<Network, CompressError> {
    let read = quantized.inputs(id).first().and_then(|source| quantized.layer(*source).output.quantization);
    let grid = read.ok_or_else(|| CompressError::NoRange { layer: float.layer(id).name.clone() })?;
    let mut builder = NetworkBuilder::new(float.name());
    let mut renamed: BTreeMap<LayerId, LayerId> = BTreeMap::new();
    for layer in float.layers() {
        let mut inputs: Vec<LayerId> = float.inputs(layer.id).iter().map(|id| renamed[id]).collect();
        if layer.id == id {
            inputs[0] = builder.layer(format!("{}/read", layer.name), Op::Quantize, &inputs[..1])?;
            builder.quantize(inputs[0], grid);
        }
        let op = if layer.id == id { &quantized.layer(id).op } else { &layer.op };
        let made = match op {
            Op::Input => builder.input_of(layer.name.clone(), layer.output.shape.clone(), layer.output.element)?,
            op => builder.layer(layer.name.clone(), op.clone(), &inputs)?,
        };
        if let Some(own) = layer.output.quantization {
            builder.quantize(made, own);
        }
        renamed.insert(layer.id, made);
    }
    Ok(builder.finish(renamed[&float.output().id])?)
}

/// `quantized` in which one layer with weights has those of the float network, and reads reals where it alone reads them.
///
/// # Errors
/// None that checked networks of the same layers can cause; the builder's own checks run again.
pub fn all_but(float: &Network, quantized: &Network, id: LayerId) -> Result<Network, CompressError> {
    let source = quantized.inputs(id)[0];
    let is_its_own = quantized.consumers(source) == [id];
    let mut builder = NetworkBuilder::new(quantized.name());
    let mut renamed: BTreeMap<LayerId, LayerId> = BTreeMap::new();
    for layer in quantized.layers() {
        let inputs: Vec<LayerId> = quantized.inputs(layer.id).iter().map(|id| renamed[id]).collect();
        let op = if layer.id == id { &float.layer(id).op } else { &layer.op };
        let made = match op {
            Op::Input => builder.input_of(layer.name.clone(), layer.output.shape.clone(), layer.output.element)?,
            op => builder.layer(layer.name.clone(), op.clone(), &inputs)?,
        };
        if let Some(own) = layer.output.quantization.filter(|_| !(is_its_own && layer.id == source)) {
            builder.quantize(made, own);
        }
        renamed.insert(layer.id, made);
    }
    Ok(builder.finish(renamed[&quantized.output().id])?)
}
