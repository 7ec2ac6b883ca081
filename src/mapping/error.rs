//! Why a network cannot be mapped onto a chip.

use super::Layout;
use crate::network::NetworkError;
use std::ops::Range;
use thiserror::Error;

/// A fault in fitting a network to a chip.
#[derive(Debug, Error, PartialEq)]
pub enum MappingError {
    /// A layer cannot be computed on integers.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// A memory is too small for the smallest tile.
    #[error(
        "one tile does not fit {memory}\n  layer \"{layer}\" needs at least {needed} bytes of it ({why}); the chip has {capacity} bytes\n  help: raise {field} to B({suffices}) or more"
    )]
    TooSmall {
        /// The memory, in words.
        memory: String,
        /// The chip file's field.
        field: String,
        /// The layer.
        layer: String,
        /// Bytes that the smallest tile takes.
        needed: u64,
        /// Bytes with which this memory is no longer too small, for any layer.
        suffices: u64,
        /// What for.
        why: String,
        /// Bytes that there are.
        capacity: u64,
    },
    /// No unit of the chip can do this operation.
    #[error("not supported yet: layer \"{layer}\" ({op}) {problem}\n  help: {help}")]
    NotSupported {
        /// The layer.
        layer: String,
        /// Its operation.
        op: &'static str,
        /// What about it.
        problem: String,
        /// What to do.
        help: &'static str,
    },
    /// The array keeps fewer weights of a group than there are.
    #[error(
        "layer \"{layer}\" has {found} weights that are not zero in channel {channel}, elements {}..{} of K, and the array keeps {n} of each {m}\n  help: prune the network to {n}:{m} first, or write `sparsity: Dense` in the chip's array", rows.start, rows.end
    )]
    NotPruned {
        /// The layer.
        layer: String,
        /// The output channel.
        channel: usize,
        /// The group's elements of K.
        rows: Range<usize>,
        /// Weights that are not zero.
        found: usize,
        /// Weights kept.
        n: u32,
        /// Of this many.
        m: u32,
    },
    /// A stage was to be mapped onto a dataflow that the chip lacks.
    #[error(
        "layer \"{layer}\" was to run {asked}, and the array of chip \"{chip}\" has no such dataflow\n  help: choose one that `systole chip show {chip}` lists in array.dataflows"
    )]
    NoDataflow {
        /// The layer.
        layer: String,
        /// The dataflow's short name.
        asked: &'static str,
        /// The chip.
        chip: String,
    },
    /// A stage cannot be cut as it was asked to be.
    #[error("layer \"{layer}\" cannot be mapped as asked: {problem}\n  help: leave it out of the mapping, or let `systole map` find one")]
    Pinned {
        /// The layer.
        layer: String,
        /// What is wrong.
        problem: String,
    },
    /// A layer's input cannot lie as it was asked to.
    #[error(
        "the input of layer \"{layer}\" cannot lie {layout}: {problem}\n  help: lay it out nhwc, which every layer can read (leave --layout out), and give other layouts to single layers, by `layout` in a mapping's pins"
    )]
    Layout {
        /// The layer.
        layer: String,
        /// The layout.
        layout: Layout,
        /// Why not.
        problem: String,
    },
    /// A mapping file is wrong.
    #[error("the mapping {file}: {problem}\n  help: `systole map --save FILE.ron` writes one that is right")]
    File {
        /// The file.
        file: String,
        /// What is wrong, and where.
        problem: String,
    },
    /// The network has no array operation.
    #[error(
        "network \"{network}\" has no layer that the array computes\n  help: a network needs at least one dense layer, convolution or product of two values (Gemm, MatMul, Conv)"
    )]
    NothingToMap {
        /// The network.
        network: String,
    },
    /// The chip does not multiply these formats.
    #[error(
        "layer \"{layer}\" multiplies {weight} weights by {activation} activations, and the chip multiplies {has}\n  help: quantize to a pair that the chip has (--quant), or add the pair to the chip's formats"
    )]
    NoFormat {
        /// The layer.
        layer: String,
        /// The weights' format.
        weight: String,
        /// The activations' format.
        activation: String,
        /// The pairs that the chip has.
        has: String,
    },
    /// The network is not quantized.
    #[error("layer \"{layer}\" is not quantized, and the chip multiplies integers only\n  help: quantize the network first (--quant w8a8)")]
    NotQuantized {
        /// The layer.
        layer: String,
    },
    /// The batch is empty or far too large.
    #[error("a batch of {batch} samples cannot be mapped; it must be 1 to {limit}\n  help: choose another with --batch")]
    Batch {
        /// Samples.
        batch: u64,
        /// The most.
        limit: u64,
    },
}

impl MappingError {
    /// The same, with what suffices of a memory that is too small by its field and what is needed of it.
    pub(super) fn or_suffices(mut self, of: impl FnOnce(&str, u64) -> u64) -> Self {
        if let Self::TooSmall { field, needed, suffices, .. } = &mut self {
            *suffices = of(field, *needed).max(*needed);
        }
        self
    }
}
