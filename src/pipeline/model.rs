//! What is in a model, for the report: a network's layers, or a layer table's rows.
//!
//! Not here: how it is shown (`report`, `plot`).

use super::{GemmError, MAX_MACS, PipelineError};
use crate::compress::{Arrived, arrived};
use crate::model::{LayerTable, Model};
use crate::network::{LayerId, Network, Op};
use crate::report::{ModelKind, ModelLayer, ModelReport, PrunedWeights};
use crate::topology::Layer;
use std::collections::BTreeMap;

/// A network's layers, their shapes, multiply-accumulates and parameters.
pub fn describe_network(model: &Model) -> ModelReport {
    let (card, network) = (model.card(), model.network());
    let places: BTreeMap<LayerId, usize> = network.layers().enumerate().map(|(place, layer)| (layer.id, place)).collect();
    ModelReport {
        name: card.name.clone(),
        kind: ModelKind::Network,
        source: card.source.clone(),
        notes: card.notes.clone(),
        layers: network.layers().map(|layer| network_layer(network, &places, layer)).collect(),
        macs: network.macs(),
        parameters: network.parameters(),
        pruned: pruned(network),
    }
}

/// Layers of whose weights at least one in twenty is zero.
fn pruned(network: &Network) -> Vec<PrunedWeights> {
    // Weights that are not finite have no pattern; whoever runs the network is told of them.
    let all = arrived(network).unwrap_or_default();
    let pruned = all.into_iter().filter(|layer| layer.zeros > 0 && layer.zeros * 20 >= layer.weights);
    let told = pruned.map(|Arrived { layer, weights, zeros, n_of_m, zero_tiles }| PrunedWeights {
        layer: network.layer(layer).name.clone(),
        weights,
        zeros,
        n_of_m,
        zero_tiles,
    });
    told.collect()
}

fn network_layer(network: &Network, places: &BTreeMap<LayerId, usize>, layer: &crate::network::Layer) -> ModelLayer {
    let sizes = |sizes: &[usize]| sizes.iter().map(|size| *size as u64).collect::<Vec<_>>();
    let inputs = network.inputs(layer.id);
    let described = ModelLayer {
        name: layer.name.clone(),
        op: layer.op.name().to_string(),
        reads: inputs.iter().map(|id| places[id]).collect(),
        inputs: inputs.iter().map(|id| sizes(&network.layer(*id).output.shape)).collect(),
        output: sizes(&layer.output.shape),
        groups: 1,
        repeat: 1,
        macs: layer.macs(),
        parameters: layer.op.parameters(),
        ..ModelLayer::default()
    };
    match &layer.op {
        Op::Dense(dense) => ModelLayer { weights: vec![dense.inputs() as u64, dense.outputs() as u64], ..described },
        Op::Conv(conv) => ModelLayer {
            weights: sizes(conv.weight.shape()),
            kernel: sizes(&conv.kernel()),
            stride: sizes(&conv.stride),
            padding: sizes(&conv.padding),
            groups: conv.groups as u64,
            ..described
        },
        Op::Pool(pool) => {
            ModelLayer { kernel: sizes(&pool.kernel), stride: sizes(&pool.stride), padding: sizes(&pool.padding), ..described }
        }
        Op::BinaryConstant(binary) => ModelLayer { weights: sizes(binary.constant.shape()), ..described },
        Op::Gather(rows) => ModelLayer { weights: sizes(rows.shape()), ..described },
        _ => described,
    }
}

/// A layer table's rows, their shapes, multiply-accumulates and weights.
///
/// # Errors
/// If a layer, or all together, have more than [`MAX_MACS`] multiply-accumulates, which is more than can be timed.
pub fn describe_table(table: &LayerTable) -> Result<ModelReport, PipelineError> {
    let too_large = |layer: &Layer| GemmError::Macs { layer: layer.name.clone(), m: layer.m, k: layer.k, n: layer.n, runs: layer.runs() };
    let mut report = ModelReport {
        name: table.name.clone(),
        kind: ModelKind::LayerTable,
        source: if table.table.source.is_empty() { table.path.clone() } else { table.table.source.clone() },
        notes: Vec::new(),
        layers: Vec::new(),
        macs: 0,
        parameters: 0,
        pruned: Vec::new(),
    };
    for layer in &table.table.layers {
        let counts = [layer.macs(), layer.parameters()].map(|count| u64::try_from(count).ok().filter(|count| *count <= MAX_MACS));
        let [Some(macs), Some(parameters)] = counts else { return Err(too_large(layer).into()) };
        (report.macs, report.parameters) = (report.macs + macs, report.parameters + parameters);
        if report.macs > MAX_MACS {
            return Err(too_large(layer).into());
        }
        report.layers.push(ModelLayer { macs, parameters, ..table_layer(layer) });
    }
    Ok(report)
}

fn table_layer(layer: &Layer) -> ModelLayer {
    let Layer { m, k, n, groups, repeat, .. } = *layer;
    let described = ModelLayer { name: layer.name.clone(), groups, repeat, ..ModelLayer::default() };
    let Some(convolution) = layer.convolution else {
        let (left, right) = (vec![m, k * groups], vec![k, n]);
        let op = "gemm".to_string();
        let (inputs, weights) = if layer.has_weights { (vec![left], right) } else { (vec![left, right], Vec::new()) };
        return ModelLayer { op, inputs, output: vec![m, n * groups], weights, ..described };
    };
    let [rows, cols] = convolution.input;
    ModelLayer {
        op: "conv".to_string(),
        inputs: vec![vec![convolution.channels * groups, rows, cols]],
        output: vec![n * groups, convolution.output[0], convolution.output[1]],
        weights: vec![n * groups, convolution.channels, convolution.filter[0], convolution.filter[1]],
        kernel: convolution.filter.to_vec(),
        stride: convolution.stride.to_vec(),
        padding: vec![convolution.padding; 4],
        ..described
    }
}
