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
    /// The share of samples whose class is among so many that are named first, 0 to 1.
    TopK(usize),
    /// Of the samples that were named a class, the share that are of it, 0 to 1.
    Precision(Average),
    /// Of the samples of a class, the share that were named so, 0 to 1.
    Recall(Average),
    /// The harmonic mean of both, 0 to 1.
    F1(Average),
}

/// How figures of classes become one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Average {
    /// Each class alike.
    Macro,
    /// Each sample alike.
    Micro,
    /// Classes by the number of their samples.
    Weighted,
}

impl Average {
    const fn name(self) -> &'static str {
        match self {
            Self::Macro => "macro",
            Self::Micro => "micro",
            Self::Weighted => "weighted",
        }
    }
}

impl Metric {
    /// The metric's name in reports.
    pub fn name(self) -> String {
        match self {
            Self::Accuracy => "accuracy".to_string(),
            Self::TopK(k) => format!("top_{k}"),
            Self::Precision(average) => format!("precision_{}", average.name()),
            Self::Recall(average) => format!("recall_{}", average.name()),
            Self::F1(average) => format!("f1_{}", average.name()),
        }
    }
}
