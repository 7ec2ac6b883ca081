//! What a network is asked to do, and by which measures it is judged. Not here: how they are computed (`metrics`).

use ndarray::ArrayView2;
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
    /// To yield so many numbers a sample; the data has those that are wanted as `y`, samples x outputs.
    Regression {
        /// How many numbers.
        outputs: usize,
    },
    /// To yield the sample itself, as the network takes it.
    Reconstruction,
}

impl Task {
    /// Numbers that the network of such a task yields, where it takes `inputs`.
    pub const fn outputs(self, inputs: usize) -> usize {
        match self {
            Self::Classification { classes } => classes,
            Self::Regression { outputs } => outputs,
            Self::Reconstruction => inputs,
        }
    }
}

/// What is known of each sample: what a network is judged by.
#[derive(Debug, Clone, Copy)]
pub enum Truth<'a> {
    /// One class a sample.
    Labels(&'a [u32]),
    /// Numbers, samples x outputs.
    Numbers(ArrayView2<'a, f32>),
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
    /// The mean of squared differences from the numbers that are wanted.
    Mse,
    /// Its root.
    Rmse,
    /// The mean of absolute differences.
    Mae,
    /// The coefficient of determination over all outputs together, 1 at best.
    R2,
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
    /// Whether it judges tasks of this kind: classes, or numbers.
    pub const fn judges(self, task: Task) -> bool {
        matches!(self, Self::Mse | Self::Rmse | Self::Mae | Self::R2) != matches!(task, Task::Classification { .. })
    }

    /// The metric's name in reports.
    pub fn name(self) -> String {
        match self {
            Self::Accuracy => "accuracy".to_string(),
            Self::TopK(k) => format!("top_{k}"),
            Self::Precision(average) => format!("precision_{}", average.name()),
            Self::Recall(average) => format!("recall_{}", average.name()),
            Self::F1(average) => format!("f1_{}", average.name()),
            Self::Mse => "mse".to_string(),
            Self::Rmse => "rmse".to_string(),
            Self::Mae => "mae".to_string(),
            Self::R2 => "r2".to_string(),
        }
    }
}
