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
    /// One layer was to run on what it does not read.
    #[error(
        "layer \"{layer}\" reads values of {wanted:?} elements and was given {found:?}\n  help: give one array an argument, each samples x elements"
    )]
    LayerInputs {
        /// The layer's name.
        layer: String,
        /// Elements of each value that it reads.
        wanted: Vec<usize>,
        /// Elements of each that was given.
        found: Vec<usize>,
    },
    /// A name of no row of a table.
    #[error(
        "layer \"{layer}\": element {element} of sample {sample} is {index}, which names no row of its table of {rows}\n  help: give whole numbers from 0 to {last}, or from -{rows} to -1, which count from the end; check the card's preprocessing, and that the data was made for this model"
    )]
    Name {
        /// The layer that looks the row up.
        layer: String,
        /// The sample, from 0.
        sample: usize,
        /// The element of what the layer reads, from 0.
        element: usize,
        /// What is there.
        index: f32,
        /// The table's rows.
        rows: usize,
        /// The last row.
        last: usize,
    },
    /// A number that is not whole where whole ones name something.
    #[error(
        "network \"{network}\" takes whole numbers that name something, and element {element} of sample {sample} is {found}\n  help: check the card's preprocessing, and that the data was made for this model"
    )]
    NotWhole {
        /// The network's name.
        network: String,
        /// The sample, from 0.
        sample: usize,
        /// The element, from 0.
        element: usize,
        /// What is there.
        found: f32,
    },
    /// More than one input.
    #[error("layer \"{layer}\" is a second input, and a run has one\n  help: make it a constant")]
    SecondInput {
        /// The layer's name.
        layer: String,
    },
    /// A layer that is not quantized, or has no integer form.
    #[error(transparent)]
    Network(#[from] crate::network::NetworkError),
}
