//! What can be wrong with a network.

use thiserror::Error;

/// A fault in a network, or in the file that holds it.
#[derive(Debug, Error, PartialEq)]
pub enum NetworkError {
    /// No layer stands for the input.
    #[error("network \"{network}\" has no input")]
    NoInput {
        /// The network's name.
        network: String,
    },
    /// A layer reads values that its operation cannot take.
    #[error("layer \"{layer}\" ({op}): {problem}")]
    Shape {
        /// The layer's name.
        layer: String,
        /// Its operation.
        op: &'static str,
        /// What does not fit, with the shapes.
        problem: String,
    },
    /// A shape is empty or too large.
    #[error("layer \"{layer}\": shape {shape:?} has {problem}; a shape needs 1 to 2^31 elements a sample")]
    Size {
        /// The layer's name.
        layer: String,
        /// The shape of one sample.
        shape: Vec<usize>,
        /// What is wrong with it.
        problem: &'static str,
    },
}
