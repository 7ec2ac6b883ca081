//! A model card as it is written, in RON. Every field but `training` is wanted, and no other is taken. What it means is checked in `check`.

use super::{Preprocessing, Training};
use crate::data::{Metric, Task};
use serde::{Deserialize, Serialize};

/// The file.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields, rename = "Model")]
pub(super) struct CardFile {
    /// The version of this format: 1.
    pub(super) format_version: u32,
    /// The model's name.
    pub(super) name: String,
    /// Where the model comes from: a document, an address, or who made it how.
    pub(super) source: String,
    /// What a reader of its figures must know.
    #[serde(default)]
    pub(super) notes: Vec<String>,
    /// What training knew of the model's compression; nothing, where it is not said.
    #[serde(default, skip_serializing_if = "Training::is_plain")]
    pub(super) training: Training,
    /// The ONNX file, relative to the card.
    pub(super) network: String,
    /// What is done to samples.
    pub(super) preprocessing: Preprocessing,
    /// What the network is asked to do.
    pub(super) task: Task,
    /// How it is judged.
    pub(super) metrics: Vec<Metric>,
    /// The classes' names, in the order of the outputs; their numbers where there are none.
    #[serde(default)]
    pub(super) labels: Vec<String>,
    /// Data sets that the splits are made of.
    pub(super) data: Vec<DataFile>,
    /// Which samples serve which purpose.
    pub(super) splits: SplitsFile,
}

/// A data set: its name in this card and where it lies, relative to the card.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DataFile {
    /// The name that splits use.
    pub(super) name: String,
    /// Where it lies.
    pub(super) files: FilesFile,
}

/// The files of a data set.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) enum FilesFile {
    /// Two IDX files, packed with gzip or not.
    Idx {
        /// The samples.
        images: String,
        /// Their labels.
        labels: String,
    },
    /// An NPZ file with `x` and `y`.
    Npz(String),
}

/// The four splits.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SplitsFile {
    pub(super) train: SplitFile,
    pub(super) calibrate: SplitFile,
    pub(super) select: SplitFile,
    pub(super) report: SplitFile,
}

/// Some samples of a data set.
#[derive(Debug, Clone, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SplitFile {
    /// The data set's name.
    pub(super) data: String,
    /// The first sample.
    pub(super) from: usize,
    /// One past the last sample.
    pub(super) until: usize,
}
