//! `systole train`: trains a network, and writes it as ONNX with a card beside it.

#[cfg(feature = "train")]
mod session;

use super::recipe::RecipeOptions;
use clap::{Args, ValueEnum};
use std::error::Error;
use std::path::PathBuf;

/// What to train, and how.
#[derive(Debug, Args)]
pub(crate) struct TrainArguments {
    /// A model card (.ron) or the name of one, a float ONNX file, or a definition (a `NetworkDef` in RON)
    #[arg(long, value_name = "DEF")]
    model: String,
    /// Whose data is trained on, where the model does not say: a model card or its name, a folder with a pair of IDX files (or two, train... and t10k... or test...), or an NPZ file with x and y
    #[arg(long, value_name = "D")]
    data: Option<String>,
    /// Where weights begin: drawn anew, or kept as the model has them. Not given: kept with a recipe, else drawn; those of a definition always are
    #[arg(long, value_enum)]
    init: Option<Init>,
    /// Passes over the train split
    #[arg(long, value_name = "N", default_value_t = 10)]
    epochs: usize,
    /// How weights follow their gradients
    #[arg(long, value_enum, default_value_t = Optimizer::Adam)]
    optimizer: Optimizer,
    /// The learning rate of the first step
    #[arg(long, value_name = "RATE", default_value_t = 1e-3, allow_negative_numbers = true)]
    lr: f64,
    /// How the learning rate goes on: constant, along half a cosine to 0, or a tenth from half of the steps on and a hundredth from three quarters on
    #[arg(long, value_enum, default_value_t = Schedule::Constant)]
    schedule: Schedule,
    /// What SGD keeps of its velocity
    #[arg(long, value_name = "SHARE", default_value_t = 0.9)]
    momentum: f64,
    /// What weights lose of themselves in a step of `AdamW`, in learning rates
    #[arg(long, value_name = "RATE", default_value_t = 0.01)]
    weight_decay: f64,
    /// Samples of a step
    #[arg(long, value_name = "N", default_value_t = 64)]
    batch: usize,
    /// What is to be little: sparse categorical cross-entropy, or the mean squared error
    #[arg(long, value_enum, default_value_t = Loss::CrossEntropy)]
    loss: Loss,
    /// Shift each image by up to so many pixels at random
    #[arg(long, value_name = "PIXELS", default_value_t = 0)]
    shift: usize,
    /// Which weights are kept: those of the last epoch, or of the one that the select split likes best
    #[arg(long, value_enum, default_value_t = Keep::Last)]
    keep: Keep,
    /// Seed of weights, the order of samples and shifts
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    recipe: RecipeOptions,
    /// Where the scales of fake quantization come from: trained with the weights, or found as quantization after training finds them
    #[arg(long, value_enum, default_value_t = Scales::Learned)]
    scales: Scales,
    /// Prune so large a share of all weights by magnitude while training, more and more of them
    #[arg(long, value_name = "SHARE")]
    sparsity: Option<f64>,
    /// A model whose outputs are learned beside the labels: a card, an ONNX file, or the name of a card
    #[arg(long, value_name = "T")]
    teacher: Option<String>,
    /// What softens the teacher's outputs and the student's
    #[arg(long, value_name = "T", default_value_t = 4.0)]
    temperature: f64,
    /// The teacher's share of the loss
    #[arg(long, value_name = "SHARE", default_value_t = 0.5)]
    distill_weight: f64,
    /// Only the first N samples of each split, all of one that has fewer; all where it is not given
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    samples: Option<u64>,
    /// Write the network to this file (.onnx), a model card beside it (.ron), and the report (.json)
    #[arg(long, value_name = "F")]
    out: PathBuf,
    /// Keep checkpoints here, one behind each epoch, in the place of <out>.safetensors, which goes away at the end
    #[arg(long, value_name = "FILE")]
    checkpoint: Option<PathBuf>,
    /// Go on from the checkpoint, if there is one
    #[arg(long)]
    resume: bool,
    /// Threads; on one the same seed gives the same weights
    #[arg(long, value_name = "N", default_value_t = 1, value_parser = clap::value_parser!(u16).range(1..=1024))]
    threads: u16,
    /// Print the report as JSON in place of lines
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Init {
    Drawn,
    Kept,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Optimizer {
    Adam,
    Adamw,
    Sgd,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Schedule {
    Constant,
    Cosine,
    Step,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Loss {
    CrossEntropy,
    Mse,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Keep {
    Last,
    Best,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Scales {
    Learned,
    Calibrated,
}

/// Does it.
#[cfg(feature = "train")]
pub(crate) fn run(arguments: &TrainArguments) -> Result<(), Box<dyn Error>> {
    session::run(arguments)
}

/// Says how to get it.
#[cfg(not(feature = "train"))]
pub(crate) fn run(_: &TrainArguments) -> Result<(), Box<dyn Error>> {
    Err("this program was built without training; build it in: cargo run --release --features train -- train ...".into())
}
