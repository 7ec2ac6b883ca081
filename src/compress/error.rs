//! Why a network cannot be compressed as asked.

use crate::reference::ReferenceError;
use thiserror::Error;

/// A fault in compressing a network.
#[derive(Debug, Error)]
pub enum CompressError {
    /// The scheme's name does not read as one.
    #[error("\"{given}\" is no quantization\n  help: write the bits of weights and activations, such as w8a8")]
    NoScheme {
        /// What was given.
        given: String,
    },
    /// The scheme is one of a later version's.
    #[error("not supported yet: quantization to {given}\n  help: w8a8 is supported")]
    SchemeNotSupported {
        /// What was given.
        given: String,
    },
    /// There is nothing to calibrate with.
    #[error("the calibration split has no samples\n  help: the model's card says which samples calibrate; it needs at least one")]
    NoSamples,
    /// A value is infinite or not a number.
    #[error(
        "layer \"{layer}\" yields a value that is infinite or not a number on the calibration data\n  help: check the preprocessing and the weights"
    )]
    NotFinite {
        /// The layer.
        layer: String,
    },
    /// A weight is infinite or not a number.
    #[error("layer \"{layer}\" has a weight or bias that is infinite or not a number\n  help: check the model file")]
    WeightNotFinite {
        /// The layer.
        layer: String,
    },
    /// A value whose range is not known, and that is not quantized.
    #[error(
        "the value of layer \"{layer}\" is not quantized, and no calibration tells its range\n  help: calibrate the network with samples first"
    )]
    NoRange {
        /// The layer.
        layer: String,
    },
    /// The float run failed.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The rebuilt network does not hold together.
    #[error(transparent)]
    Network(#[from] crate::network::NetworkError),
}
