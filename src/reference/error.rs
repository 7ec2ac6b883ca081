//! What keeps a reference run from being made.

use thiserror::Error;

/// A fault in what a reference executor was asked to run.
#[derive(Debug, Error, PartialEq)]
pub enum ReferenceError {
    /// The data does not fit the network's input.
    #[error(
        "network \"{network}\" takes {wanted} numbers a sample (shape {shape:?}) and the data has {found}\n  help: choose the data that belongs to the model, or check the card's preprocessing"
    )]
    InputSize {
        /// The network's name.
        network: String,
        /// Elements of the network's input.
        wanted: usize,
        /// The input's shape.
        shape: Vec<usize>,
        /// Elements of a row of the data.
        found: usize,
    },
    /// An integer bias whose step is not known.
    #[error(
        "layer \"{layer}\" has an integer bias, and what it reads or its weights have no scale\n  help: quantize the layer's input and weights too, or give it a float bias"
    )]
    BiasWithoutScale {
        /// The layer's name.
        layer: String,
    },
    /// The values of all layers would not fit.
    #[error(
        "network \"{network}\": the values of all layers for {samples} samples are {values} numbers, and the limit is {limit}\n  help: run fewer samples at a time"
    )]
    TooLarge {
        /// The network's name.
        network: String,
        /// Samples asked for.
        samples: usize,
        /// Numbers that would be kept.
        values: u128,
        /// Numbers that may be kept.
        limit: u128,
    },
    /// A layer without integers in an integer run.
    #[error("layer \"{layer}\" is not quantized, and the integer reference runs integers only\n  help: quantize the network first")]
    NotQuantized {
        /// The layer's name.
        layer: String,
    },
    /// An operation that has no integer form.
    #[error(
        "not supported yet: layer \"{layer}\" ({op}) has no integer form\n  help: dense layers, reshapes and a softmax at the end have one"
    )]
    NoIntegerForm {
        /// The layer's name.
        layer: String,
        /// Its operation.
        op: &'static str,
    },
}
