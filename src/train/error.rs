//! Why a network cannot be trained as asked, or its training ended.

use crate::compress::CompressError;
use crate::network::NetworkError;
use thiserror::Error;

/// A fault in training.
#[derive(Debug, Error)]
pub enum TrainError {
    /// A definition of a network that cannot be read.
    #[error(
        "{path}: the definition cannot be read: {problem}\n  help: give the path of a NetworkDef in RON, as ARCHITECTURE.md (Training) shows it"
    )]
    DefinitionRead {
        /// The file.
        path: String,
        /// What the system says.
        problem: String,
    },
    /// Text that is no definition.
    #[error(
        "{path}:{line}:{column}: {problem}\n  help: a definition is NetworkDef(format_version: 1, name: \"simplenet\", data: Some(\"simplenet-mnist\"), input: [784], layers: [Dense(units: 64), Relu, Dense(units: 10)])"
    )]
    DefinitionText {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
        /// The column, from 1.
        column: usize,
        /// What is wrong there.
        problem: String,
    },
    /// An operation that has no gradient here.
    #[error(
        "layer \"{layer}\" ({op}) cannot be trained: {problem}\n  help: dense layers, convolutions, relus, clips and other functions of an element, pools, means, sums, products and joins of values, reshapes and a softmax at the end can"
    )]
    Unsupported {
        /// The layer.
        layer: String,
        /// Its operation.
        op: &'static str,
        /// What has no gradient.
        problem: String,
    },
    /// An option out of its range.
    #[error("--{option} is {value}\n  help: {help}")]
    Option {
        /// The option's name.
        option: &'static str,
        /// What was given.
        value: String,
        /// What it may be.
        help: &'static str,
    },
    /// A label that is none of the network's outputs.
    #[error(
        "sample {sample} of the {split} split has the label {label}, and the network yields {outputs} numbers (classes 0 to {})\n  help: train a network with an output for each class",
        outputs.saturating_sub(1)
    )]
    Label {
        /// Which sample of the split, from 0.
        sample: usize,
        /// The split.
        split: &'static str,
        /// Its label.
        label: u32,
        /// The network's outputs.
        outputs: usize,
    },
    /// A teacher that does not fit.
    #[error("the teacher \"{teacher}\" {problem}\n  help: a teacher takes samples of as many numbers, and yields as many classes")]
    Teacher {
        /// The teacher.
        teacher: String,
        /// What does not fit.
        problem: String,
    },
    /// A recipe with a step that trains.
    #[error(
        "step {step} of the recipe trains, and so does this command\n  help: leave the step out; systole run and systole compress do it"
    )]
    TrainsAlready {
        /// The step.
        step: String,
    },
    /// A network in integers.
    #[error(
        "layer \"{layer}\" has weights in integers, and training moves real ones\n  help: train the float model that it was made from, or draw weights anew with --init drawn"
    )]
    Integers {
        /// The layer.
        layer: String,
    },
    /// Binary values that tell nothing.
    #[error(
        "the values of \"{layer}\" are never below 0, and binary ones keep their signs alone: all of them would be +1\n  help: move them, such as by `mean: 0.5` in the preprocessing of a card or a definition, or give what reads them more bits (w1a1 without @* leaves the first and the last layer at 8)"
    )]
    Signless {
        /// The layer.
        layer: String,
    },
    /// A loss that is infinite or not a number.
    #[error(
        "training diverged in step {step} of epoch {epoch}: the loss is {loss} at a learning rate of {lr}\n  help: choose a smaller --lr; {kept}"
    )]
    Diverged {
        /// The epoch, from 1.
        epoch: usize,
        /// The step in it, from 1.
        step: usize,
        /// The loss.
        loss: f32,
        /// The learning rate of the step.
        lr: f64,
        /// What is left of the epochs before.
        kept: String,
    },
    /// A checkpoint that cannot be gone on from.
    #[error("{path}: training cannot go on from this checkpoint: {problem}\n  help: {help}")]
    Checkpoint {
        /// The file.
        path: String,
        /// What is wrong with it.
        problem: String,
        /// What to do.
        help: &'static str,
    },
    /// A checkpoint that cannot be kept.
    #[error("the checkpoint of epoch {epoch} cannot be written: {error}")]
    Keep {
        /// The epoch, from 1.
        epoch: usize,
        /// What the system says.
        error: Box<dyn std::error::Error + Send + Sync>,
    },
    /// The threads that were asked for cannot be had.
    #[error("{threads} threads cannot be had: {problem}\n  help: choose fewer with --threads")]
    Threads {
        /// How many.
        threads: usize,
        /// What the system says.
        problem: String,
    },
    /// Pruning or quantization.
    #[error(transparent)]
    Compress(#[from] CompressError),
    /// The network does not hold together.
    #[error(transparent)]
    Network(#[from] NetworkError),
}
