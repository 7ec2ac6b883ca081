//! What a training was: its epochs, and how the network does at its end; plain data, JSON, and lines for people.
//!
//! Field names are the names in JSON. Not here: how it is found out (`pipeline`).

use super::json::pretty;
use super::{Interval, MetricValues};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A training.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TrainingReport {
    /// The network's name.
    pub network: String,
    /// The recipe that was trained through, as short forms of its steps; none in plain float.
    pub recipe: Option<String>,
    /// The seed of everything random.
    pub seed: u64,
    /// Each epoch.
    pub epochs: Vec<TrainedEpoch>,
    /// The epoch whose weights were kept, from 1.
    pub kept_epoch: u64,
    /// The loss on the report split, a teacher left out.
    pub loss: f64,
    /// Samples of the report split.
    pub samples: u64,
    /// Metrics on the report split: in float, and of what was trained in integers those of the integer reference.
    pub metrics: BTreeMap<String, MetricValues>,
    /// The accuracy of the last of both, with its 95% interval.
    pub accuracy: Interval,
    /// Weights, and those that are zero.
    pub weights: u64,
    /// Those that are zero.
    pub zeros: u64,
    /// The file that the network was written to; none where it was not.
    pub out: Option<String>,
    /// The tool's version.
    pub version: String,
    /// The command line.
    pub command: String,
    /// SHA-256 of the files that training began with.
    pub model_sha256: String,
    /// SHA-256 of the data's files: train and select, and report.
    pub data_sha256: String,
}

/// One epoch.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct TrainedEpoch {
    /// Its number, from 1.
    pub epoch: u64,
    /// The mean loss on the train split, each sample's as its batch came.
    pub loss: f64,
    /// The accuracy on the select split behind it.
    pub select_accuracy: f64,
    /// The learning rate of its last step.
    pub lr: f64,
}

impl TrainingReport {
    /// The report as JSON, ending in a newline.
    pub fn json(&self) -> String {
        pretty(self)
    }

    /// Lines for people: each epoch, and the end as Keras prints it.
    pub fn terminal(&self) -> String {
        let mut text = String::new();
        let all = self.epochs.len();
        for TrainedEpoch { epoch, loss, select_accuracy, lr } in &self.epochs {
            // Writing to a string cannot fail.
            let _ = writeln!(text, "Epoch {epoch}/{all} - loss: {loss:.4} - select_accuracy: {select_accuracy:.4} - lr: {lr:.1e}");
        }
        let value = |name: &str, of: fn(&MetricValues) -> Option<f64>| self.metrics.get(name).and_then(of);
        let line = |of: fn(&MetricValues) -> Option<f64>| -> String {
            let shown = [("accuracy", "accuracy"), ("precision_macro", "precision"), ("recall_macro", "recall"), ("f1_macro", "f1")];
            let parts = shown.iter().filter_map(|(name, short)| Some(format!(" - {short}: {:.4}", value(name, of)?)));
            parts.collect()
        };
        let _ = writeln!(text, "\n{} samples of the report split, weights of epoch {}", self.samples, self.kept_epoch);
        let _ = writeln!(text, "float    loss: {:.4}{}", self.loss, line(|values| values.float));
        if self.recipe.is_some() && self.metrics.values().any(|values| values.integer.is_some()) {
            let _ = writeln!(text, "integer {}", line(|values| values.integer).trim_start_matches(" -"));
        }
        let Interval { value, low, high } = self.accuracy;
        let _ = writeln!(text, "accuracy {:.2}% ({:.2} to {:.2})", 100.0 * value, 100.0 * low, 100.0 * high);
        text
    }
}
