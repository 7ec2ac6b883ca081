//! The same network with other operations.

use super::CompressError;
use crate::network::{Layer, LayerId, Network, NetworkBuilder, Op};
use std::collections::BTreeMap;

/// The network with each layer replaced by a chain of named operations: the first reads what the layer read, and the last yields its value.
pub(super) fn rebuilt(
    network: &Network,
    mut chain: impl FnMut(&Layer) -> Result<Vec<(String, Op)>, CompressError>,
) -> Result<Network, CompressError> {
    let mut builder = NetworkBuilder::new(network.name());
    let mut renamed: BTreeMap<LayerId, LayerId> = BTreeMap::new();
    for layer in network.layers() {
        let mut reads: Vec<LayerId> = network.inputs(layer.id).iter().map(|id| renamed[id]).collect();
        if layer.op == Op::Input {
            reads = vec![builder.input_of(layer.name.clone(), layer.output.shape.clone(), layer.output.element)?];
        } else {
            for (name, op) in chain(layer)? {
                reads = vec![builder.layer(name, op, &reads)?];
            }
        }
        let id = reads[0];
        if let Some(quantization) = layer.output.quantization {
            builder.quantize(id, quantization);
        }
        renamed.insert(layer.id, id);
    }
    Ok(builder.finish(renamed[&network.output().id])?)
}
