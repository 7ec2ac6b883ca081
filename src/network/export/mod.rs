//! Export of networks as ONNX files: a [`Network`] in, bytes out that other tools run and that the import reads back.
//!
//! | in the network | in the file |
//! | --- | --- |
//! | an operation | ONNX's of opset 21; a fused activation, and a bias of more axes than rows, are nodes of their own |
//! | a value on a grid | `QuantizeLinear` and `DequantizeLinear` behind the operation (QDQ) |
//! | integers of 8, 16, 4 bits | int8, int16, int4, with zero points |
//! | of 2 bits, and values of 4 that are only moved before or behind | int8 with a `Clip` to -2..1 or -8..7 (QCDQ) |
//! | binary | QONNX's `BipolarQuant`; of weights, of signs that lie there as int8, behind a `Cast` |
//! | an integer bias | int32 in steps of `input scale * weight scale`, dequantized |
//!
//! The batch is the first axis of every value, and symbolic, unless a constant stands among the data (then it is 1). `x` being a layer's name,
//! its value is `x`, the integers that hold it are `x/integers`, and nodes beside its first are named `x/what`. The same network gives the
//! same bytes.
//!
//! Not here: preprocessing, which a model's card says.

mod graph;
mod layer;
mod numbers;

use super::import::onnx::{ModelProto, OperatorSetIdProto};
use super::{Layer, LayerId, Network, NetworkError};
use graph::{Graph, QONNX};
use prost::Message;
use std::collections::BTreeSet;

/// The version of ONNX's operators that files are written in.
const OPSET: i64 = 21;
/// The version of the file format that goes with it.
const IR_VERSION: i64 = 10;

/// The network as the bytes of an ONNX file. Binary weights and values need QONNX's operators, which onnxruntime does not have; all else runs
/// there as it is.
///
/// # Errors
/// What a file cannot say: integers outside of their format, a bias beyond 32 bits, a border that is not finite, scales too small.
pub fn export(network: &Network) -> Result<Vec<u8>, NetworkError> {
    let mut graph = Graph::new(network);
    let leads = leading(network);
    for layer in network.layers().filter(|layer| leads.contains(&layer.id)) {
        graph.layer(layer)?;
    }
    let opset = |domain: &str, version| OperatorSetIdProto { domain: Some(domain.to_string()), version: Some(version) };
    let mut opset_import = vec![opset("", OPSET)];
    if graph.uses_qonnx() {
        opset_import.push(opset(QONNX, 1));
    }
    let file = ModelProto {
        ir_version: Some(IR_VERSION),
        opset_import,
        producer_name: Some("systole".to_string()),
        producer_version: Some(env!("CARGO_PKG_VERSION").to_string()),
        graph: Some(graph.finish()),
        ..ModelProto::default()
    };
    Ok(file.encode_to_vec())
}

/// The input, and all layers that lead to the output: what nothing reads has no place in a file.
fn leading(network: &Network) -> BTreeSet<LayerId> {
    let mut leads = BTreeSet::from([network.input().id]);
    let mut open = vec![network.output().id];
    while let Some(id) = open.pop() {
        if leads.insert(id) {
            open.extend(network.inputs(id));
        }
    }
    leads
}

/// What of a layer a file cannot say.
fn fault(layer: &Layer, problem: impl Into<String>, help: &'static str) -> NetworkError {
    NetworkError::NotExported { layer: layer.name.clone(), op: layer.op.name(), problem: problem.into(), help }
}
