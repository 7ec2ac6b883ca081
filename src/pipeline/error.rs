//! What can end a run: the fault of a stage, unchanged.

use super::{DramError, GemmError};
use crate::compress::CompressError;
use crate::energy::EnergyError;
use crate::mapping::MappingError;
use crate::metrics::MetricsError;
use crate::model::ModelError;
use crate::network::NetworkError;
use crate::program::{LayoutError, ProgramError};
use crate::reference::ReferenceError;
use crate::sim::SimError;
use thiserror::Error;

/// A fault in a run.
#[derive(Debug, Error)]
pub enum PipelineError {
    /// What goes by accuracy, of a model whose task names no classes.
    #[error(
        "{what} goes by accuracy, and the task of model \"{model}\" names no classes\n  help: give a model that classifies; others are run, pruned and quantized without it"
    )]
    NoClasses {
        /// What was asked for.
        what: String,
        /// The model.
        model: String,
    },
    /// The model, or its data.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The network.
    #[error(transparent)]
    Network(#[from] NetworkError),
    /// Quantization.
    #[error(transparent)]
    Compress(#[from] CompressError),
    /// The fit to the chip.
    #[error(transparent)]
    Mapping(#[from] MappingError),
    /// The emitted program.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// A product's layout.
    #[error(transparent)]
    Layout(#[from] LayoutError),
    /// The machine.
    #[error(transparent)]
    Sim(#[from] SimError),
    /// A reference.
    #[error(transparent)]
    Reference(#[from] ReferenceError),
    /// The metrics.
    #[error(transparent)]
    Metrics(#[from] MetricsError),
    /// The energy table.
    #[error(transparent)]
    Energy(#[from] EnergyError),
    /// A matrix product, or a layer of a layer table.
    #[error(transparent)]
    Gemm(#[from] GemmError),
    /// Training.
    #[cfg(feature = "train")]
    #[error(transparent)]
    Train(#[from] crate::train::TrainError),
    /// A trace for DRAM.
    #[error(transparent)]
    Dram(#[from] DramError),
    /// One batch would take too much memory.
    #[error(
        "a batch of {batch} samples of \"{model}\" has {bytes} bytes of input, and {limit} is the most that is simulated\n  help: choose a --batch of {most} or less"
    )]
    BatchBytes {
        /// Samples in the batch.
        batch: u64,
        /// The model.
        model: String,
        /// Bytes of their inputs.
        bytes: u64,
        /// The most bytes.
        limit: u64,
        /// The most samples.
        most: u64,
    },
    /// A layer table with more products than are timed as one program.
    #[error(
        "the table has {stages} products to make one after the other, over all groups and repeats, and {limit} is the most that is timed together (layer \"{layer}\" has {runs} of them)\n  help: cut the table in several, or give it to `systole topology`, which times each layer by itself"
    )]
    Stages {
        /// Products of all layers.
        stages: u64,
        /// The most.
        limit: u64,
        /// The layer with the most of them.
        layer: String,
        /// Its products.
        runs: u64,
    },
    /// A block of the array's own size, and no array.
    #[error(
        "step {step} of the recipe is cut as a chip's array is, and no chip was named\n  help: name one with --chip, or write rows and columns, such as block:16x16,0.5"
    )]
    NoTile {
        /// The step's short form.
        step: String,
    },
    /// A search for what a chip saves, and no chip.
    #[error(
        "step {step} of the recipe looks for cycles or energy, and no chip was named\n  help: name one with --chip, or look for bytes of weights: mixed:w8a8/w4a8,bytes,loss:0.005"
    )]
    NoChip {
        /// The step's short form.
        step: String,
    },
    /// A search whose limit nothing keeps.
    #[error(
        "step {step} of the recipe: no choice of formats keeps the limit; the least is {least}\n  help: allow more, or name other formats"
    )]
    NoChoice {
        /// The step's short form.
        step: String,
        /// The least that was measured of what is limited.
        least: String,
    },
    /// A timeline that cannot be written.
    #[error("cannot write the trace: {problem}\n  help: choose another file with --trace")]
    Trace {
        /// What the system says.
        problem: String,
    },
    /// More samples than there are, or none.
    #[error(
        "{asked} samples were asked for, and the report data of \"{model}\" has {available}\n  help: ask for 1 to {available} with --samples, or leave it out for all"
    )]
    Samples {
        /// Samples asked for.
        asked: usize,
        /// Samples that there are.
        available: usize,
        /// The model.
        model: String,
    },
}

impl PipelineError {
    /// Whether this is a broken promise of ours, since nothing that a user gives leads here: a program that we emitted and that the
    /// verifier refuses, or that the machine cannot run to its end.
    pub const fn is_bug(&self) -> bool {
        match self {
            Self::Program(error) => !matches!(error, ProgramError::TooLong { .. }),
            Self::Layout(LayoutError::Program(error)) => !matches!(error, ProgramError::TooLong { .. }),
            Self::Sim(error) => !matches!(error, SimError::DramTooSmall { .. } | SimError::TooLarge { .. }),
            _ => false,
        }
    }
}
