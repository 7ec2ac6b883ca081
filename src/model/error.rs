//! What keeps a model from being loaded, or its data from being read.

use super::Split;
use crate::data::DataError;
use crate::network::NetworkError;
use crate::topology::TopologyError;
use std::fmt;
use thiserror::Error;

/// One fault of a card, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The card's path as it was given.
    pub path: String,
    /// The line, from 1.
    pub line: usize,
    /// The column, from 1, in characters.
    pub column: usize,
    /// The field, such as `splits.report`; empty for the file as a whole.
    pub field: String,
    /// What is wrong, with the value and what is allowed.
    pub problem: String,
    /// What to do; empty where the problem says it.
    pub help: &'static str,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}:{}: ", self.path, self.line, self.column)?;
        if !self.field.is_empty() {
            write!(f, "{}: ", self.field)?;
        }
        f.write_str(&self.problem)?;
        if self.help.is_empty() { Ok(()) } else { write!(f, "\n  help: {}", self.help) }
    }
}

/// A fault in a model's card, network or data.
#[derive(Debug, Error, PartialEq)]
pub enum ModelError {
    /// There is no such model.
    #[error(
        "there is no model \"{name}\": {looked}, and the models that come with the program are: {shipped}\n  help: {}give a path to a card (.ron), a network (.onnx) or a layer table (.csv), or one of these names",
        if near.is_empty() { String::new() } else { format!("did you mean {}? Else ", near.join(" or ")) }
    )]
    Unknown {
        /// The name as it was given.
        name: String,
        /// Where it was looked for, and that it is not there.
        looked: String,
        /// The names that are most like it.
        near: Vec<&'static str>,
        /// The names that would have been found.
        shipped: String,
    },
    /// The layer table is wrong.
    #[error(transparent)]
    Table(#[from] TopologyError),
    /// The card cannot be read.
    #[error(
        "{path}: the model card cannot be read: {problem}\n  help: give the path of a card (.ron), or the name of a model that comes with the program: simplenet-mnist"
    )]
    Read {
        /// The path as it was given.
        path: String,
        /// What is wrong.
        problem: String,
    },
    /// The card is wrong, in each of these places.
    #[error("{}", .0.iter().map(Fault::to_string).collect::<Vec<_>>().join("\n"))]
    Card(Vec<Fault>),
    /// The network is wrong.
    #[error("{}{error}", if matches!(error, NetworkError::Read { .. }) { String::new() } else { format!("{path}: ") })]
    Network {
        /// The path of its file.
        path: String,
        /// What is wrong with it.
        error: NetworkError,
    },
    /// The card and the network do not belong together.
    #[error("model \"{model}\": {problem}\n  help: {help}")]
    Disagree {
        /// The model's name.
        model: String,
        /// What does not fit, with the values.
        problem: String,
        /// What to do.
        help: &'static str,
    },
    /// Data that is not the integers which a network's file takes.
    #[error(
        "{path}: element {element} of sample {sample} is {found}, and the input of model \"{model}\" is of integers from {low} to {high}\n  help: give the integers that the model's file takes, and a card that leaves them as they are (scale: Times(1.0), mean: 0.0, std: 1.0)"
    )]
    Integers {
        /// The model's name.
        model: String,
        /// The samples' file.
        path: String,
        /// Which sample of the file, from 0.
        sample: usize,
        /// Which number of the sample, from 0.
        element: usize,
        /// The number.
        found: f32,
        /// The least integer.
        low: i32,
        /// The greatest.
        high: i32,
    },
    /// The model names no data for this.
    #[error("model \"{model}\" names no data for \"{split}\"\n  help: {help}")]
    NoData {
        /// The model's name.
        model: String,
        /// What was asked for.
        split: Split,
        /// What to do.
        help: &'static str,
    },
    /// The data cannot be read.
    #[error("{error}{help}")]
    Data {
        /// What is wrong with it.
        error: DataError,
        /// What to do, with a line break before it; empty where the error says it.
        help: &'static str,
    },
    /// What chooses would see what is reported.
    #[error(
        "model \"{model}\" has samples in its select split that are in the report split too, so that what is chosen by the one would be judged by what chose it\n  help: give select samples of its own in the card (splits.select), or other data to report on (--data)"
    )]
    Shared {
        /// The model's name.
        model: String,
    },
    /// A card that cannot be written for a network.
    #[error("no card can be written beside {path}: {problem}\n  help: choose another file with --out")]
    Write {
        /// The network's path.
        path: String,
        /// Why not.
        problem: String,
    },
    /// A label that is none of the task's classes.
    #[error("{path}: sample {sample} has the label {label} and model \"{model}\" has {classes} classes (0 to {})\n  help: give data that belongs to the model", classes.saturating_sub(1))]
    Label {
        /// The labels' file.
        path: String,
        /// Which sample of the file, from 0.
        sample: usize,
        /// Its label.
        label: u32,
        /// The model's name.
        model: String,
        /// How many classes it has.
        classes: usize,
    },
}
