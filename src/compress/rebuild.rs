//! The same network with other operations.

use super::CompressError;
use crate::network::{Layer, LayerId, Network, NetworkBuilder, Op};
use crate::numerics::Quantization;
use std::collections::BTreeMap;

/// The network with each layer but its input made again by `make`, from what it reads in the new network; its value has the quantization that `held`
/// says.
pub(super) fn remade(
    network: &Network,
    held: impl Fn(&Layer) -> Option<Quantization>,
    mut make: impl FnMut(&mut NetworkBuilder, &Layer, Vec<LayerId>) -> Result<LayerId, CompressError>,
) -> Result<Network, CompressError> {
    let mut builder = NetworkBuilder::new(network.name());
    let mut renamed: BTreeMap<LayerId, LayerId> = BTreeMap::new();
    for layer in network.layers() {
        let reads: Vec<LayerId> = network.inputs(layer.id).iter().map(|id| renamed[id]).collect();
        let id = match &layer.op {
            Op::Input => builder.input_of(layer.name.clone(), layer.output.shape.clone(), layer.output.element)?,
            _ => make(&mut builder, layer, reads)?,
        };
        if let Some(quantization) = held(layer) {
            builder.quantize(id, quantization);
        }
        renamed.insert(layer.id, id);
    }
    Ok(builder.finish(renamed[&network.output().id])?)
}

/// The network with each layer replaced by a chain of named operations: the first reads what the layer read, and the last yields its value.
pub(super) fn rebuilt(
    network: &Network,
    mut chain: impl FnMut(&Layer) -> Result<Vec<(String, Op)>, CompressError>,
) -> Result<Network, CompressError> {
    remade(
        network,
        |layer| layer.output.quantization,
        |builder, layer, mut reads| {
            for (name, op) in chain(layer)? {
                reads = vec![builder.layer(name, op, &reads)?];
            }
            Ok(reads[0])
        },
    )
}
