//! What a network is asked to do, and by which measures it is judged. Not here: how they are computed (`metrics`).

use serde::{Deserialize, Serialize};

/// What a network is asked to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Task {
    /// To name one of several classes: the greatest of as many outputs.
    Classification {
        /// How many classes there are.
        classes: usize,
    },
}

/// A measure of how well a task is done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Metric {
    /// The share of samples whose class is named right, 0 to 1.
    Accuracy,
}

impl Metric {
    /// The metric's name in reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Accuracy => "accuracy",
        }
    }
}
