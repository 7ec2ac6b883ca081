//! Why a network cannot be compressed as asked.

use crate::reference::ReferenceError;
use thiserror::Error;

/// Text of a user's in a message: what would move a terminal's cursor is spelled out.
pub(super) fn shown(text: &str) -> String {
    let plain = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(plain).collect()
}

/// A fault in compressing a network.
#[derive(Debug, Error)]
pub enum CompressError {
    /// The scheme's name does not read as one.
    #[error("\"{given}\" is no quantization\n  help: write the bits of weights and activations, each 16, 8, 4, 2 or 1, such as w8a8")]
    NoScheme {
        /// What was given.
        given: String,
    },
    /// A recipe file that cannot be read.
    #[error(
        "{path}: the recipe cannot be read: {problem}\n  help: give the path of a recipe in RON, as ARCHITECTURE.md (Compression) shows it"
    )]
    RecipeRead {
        /// The file.
        path: String,
        /// What the system says.
        problem: String,
    },
    /// Text that is no recipe.
    #[error(
        "{path}:{line}:{column}: {problem}\n  help: a recipe is Recipe(format_version: 1, steps: [MeanThreshold(alpha: 0.5), Quantize(w: 8, a: 8)])"
    )]
    RecipeText {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong there.
        problem: String,
    },
    /// More steps than anyone means.
    #[error("the recipe has {count} steps, and {limit} is the most\n  help: name several layers in one step: layers: [\"conv*\", \"fc1\"]")]
    Steps {
        /// Its steps.
        count: usize,
        /// The most.
        limit: usize,
    },
    /// A short form that does not read as a step.
    #[error("\"{given}\" is no step of a recipe\n  help: {help}")]
    ShortForm {
        /// What was given.
        given: String,
        /// The forms that there are.
        help: &'static str,
    },
    /// A step of a recipe that makes no sense, or not for this network.
    #[error("step {step} of the recipe: {problem}\n  help: {help}")]
    Step {
        /// The step's short form.
        step: String,
        /// What is wrong.
        problem: String,
        /// What to do.
        help: &'static str,
    },
    /// A pattern that is no layer's name.
    #[error(
        "step {step} of the recipe: no layer with weights is named \"{pattern}\"\n  help: the layers are {has}; * stands for any characters"
    )]
    NoLayer {
        /// The step's short form.
        step: String,
        /// The pattern.
        pattern: String,
        /// The layers that there are.
        has: String,
    },
    /// A step that would leave a layer with nothing but zeros.
    #[error(
        "step {step} of the recipe: layer \"{layer}\" would be pruned to nothing\n  help: prune less, or leave the layer out (layers: [..], or @PATTERN)"
    )]
    Nothing {
        /// The step's short form.
        step: String,
        /// The layer.
        layer: String,
    },
    /// Weights that are integers, binary ones among them, where reals are pruned.
    #[error(
        "layer \"{layer}\" has integer weights already, and pruning takes real ones\n  help: prune the float network and quantize last, or leave the layer out (layers: [..], or @PATTERN)"
    )]
    AlreadyQuantized {
        /// The layer.
        layer: String,
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
    /// What a step takes from elsewhere.
    #[error("step {step} of the recipe: {error}")]
    Outside {
        /// The step's short form.
        step: String,
        /// What is wrong there.
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The float run failed.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The rebuilt network does not hold together.
    #[error(transparent)]
    Network(#[from] crate::network::NetworkError),
}
