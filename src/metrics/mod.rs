//! How well a task was done, from what a network yielded. Not here: how it was computed, by what, or in what time.

mod accuracy;
mod classification;
mod regression;
mod size;
mod statistics;

pub use accuracy::{accuracy, argmax};
pub use classification::{Confusion, Scores, right, top_k};
pub use regression::{RegressionErrors, regression};
pub use size::{Size, size};
pub use statistics::{Paired, mcnemar, wilson};

use crate::data::{Metric, Task, Truth};
use indexmap::IndexMap;
use ndarray::ArrayView2;
use thiserror::Error;

/// Outputs that cannot be judged.
#[derive(Debug, Error, PartialEq, Eq)]
pub enum MetricsError {
    /// There is nothing to judge.
    #[error("a metric needs at least one sample")]
    Empty,
    /// Outputs and labels do not belong together.
    #[error("there are outputs of {outputs} samples and {labels} labels")]
    Counts {
        /// Samples that were run.
        outputs: usize,
        /// Labels that were given.
        labels: usize,
    },
    /// The outputs are not those of the task.
    #[error("the network yields {outputs} numbers a sample and the task has {classes} classes")]
    Classes {
        /// Outputs of one sample.
        outputs: usize,
        /// The task's classes.
        classes: usize,
    },
    /// The outputs are not as many as those that are wanted.
    #[error("the network yields {outputs} numbers a sample and {wanted} are wanted")]
    Numbers {
        /// Outputs of one sample.
        outputs: usize,
        /// Numbers that are wanted.
        wanted: usize,
    },
    /// A label that is none of the task's classes.
    #[error("sample {sample} has the label {label} and the task has {classes} classes (0 to {})", classes.saturating_sub(1))]
    Label {
        /// Which sample, from 0.
        sample: usize,
        /// Its label.
        label: u32,
        /// The task's classes.
        classes: usize,
    },
}

/// Each metric by its name, in the order in which they are asked for, from `logits` (samples x outputs) and what is known of each sample. Metrics that do
/// not judge such a task are left out.
///
/// # Errors
/// If outputs and what is known do not fit each other or the task.
#[expect(clippy::needless_pass_by_value, reason = "a view is a reference already")]
pub fn evaluate(task: Task, metrics: &[Metric], logits: ArrayView2<f32>, truth: Truth<'_>) -> Result<IndexMap<String, f64>, MetricsError> {
    let outputs = logits.ncols();
    let known = match truth {
        Truth::Labels(labels) => labels.len(),
        Truth::Numbers(numbers) => numbers.nrows(),
    };
    if known == 0 {
        return Err(MetricsError::Empty);
    }
    if logits.nrows() != known {
        return Err(MetricsError::Counts { outputs: logits.nrows(), labels: known });
    }
    let metrics = metrics.iter().filter(|metric| metric.judges(task));
    match truth {
        Truth::Labels(labels) => {
            let classes = task.outputs(outputs);
            if outputs != classes {
                return Err(MetricsError::Classes { outputs, classes });
            }
            if let Some(sample) = labels.iter().position(|label| *label as usize >= classes) {
                return Err(MetricsError::Label { sample, label: labels[sample], classes });
            }
            let confusion = Confusion::of(logits, labels);
            let value = |metric: &Metric| match metric {
                Metric::Accuracy => Some(accuracy(logits, labels)),
                Metric::TopK(k) => Some(top_k(logits, labels, *k)),
                Metric::Precision(average) => Some(confusion.average(*average).precision),
                Metric::Recall(average) => Some(confusion.average(*average).recall),
                Metric::F1(average) => Some(confusion.average(*average).f1),
                Metric::Mse | Metric::Rmse | Metric::Mae | Metric::R2 => None,
            };
            Ok(metrics.filter_map(|metric| Some((metric.name(), value(metric)?))).collect())
        }
        Truth::Numbers(numbers) => {
            if outputs != numbers.ncols() {
                return Err(MetricsError::Numbers { outputs, wanted: numbers.ncols() });
            }
            let (wanted, found): (Vec<f32>, Vec<f32>) = numbers.iter().zip(logits).map(|(wanted, found)| (*wanted, *found)).unzip();
            let errors = regression(&wanted, &found).ok_or(MetricsError::Empty)?;
            let value = |metric: &Metric| match metric {
                Metric::Mse => Some(errors.mse),
                Metric::Rmse => Some(errors.rmse),
                Metric::Mae => Some(errors.mae),
                Metric::R2 => Some(errors.r2),
                Metric::Accuracy | Metric::TopK(_) | Metric::Precision(_) | Metric::Recall(_) | Metric::F1(_) => None,
            };
            Ok(metrics.filter_map(|metric| Some((metric.name(), value(metric)?))).collect())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::{Array2, array};

    #[test]
    fn accuracy_counts_the_samples_whose_greatest_output_is_the_label() {
        let logits = array![[0.1, 0.9, 0.0], [5.0, 5.0, 1.0], [-3.0, -2.0, -1.0], [f32::NAN, 1.0, 2.0]];
        let task = Task::Classification { classes: 3 };
        let judge = |labels: &[u32]| evaluate(task, &[Metric::Accuracy], logits.view(), Truth::Labels(labels));
        assert_eq!(judge(&[1, 0, 2, 2]).unwrap()["accuracy"].to_bits(), 1.0_f64.to_bits());
        assert_eq!(judge(&[1, 1, 2, 0]).unwrap()["accuracy"].to_bits(), 0.5_f64.to_bits());
        assert_eq!(judge(&[1, 1, 2]), Err(MetricsError::Counts { outputs: 4, labels: 3 }));
        assert_eq!(judge(&[1, 1, 3, 0]), Err(MetricsError::Label { sample: 2, label: 3, classes: 3 }));
        assert_eq!(evaluate(task, &[], Array2::zeros((0, 3)).view(), Truth::Labels(&[])), Err(MetricsError::Empty));
    }

    #[test]
    fn numbers_are_judged_by_their_errors() {
        let (wanted, found) = (array![[1.0, 2.0], [3.0, 4.0]], array![[1.0, 2.0], [3.0, 2.0]]);
        let all = [Metric::Mse, Metric::Rmse, Metric::Mae, Metric::R2];
        let judged = evaluate(Task::Regression { outputs: 2 }, &all, found.view(), Truth::Numbers(wanted.view())).unwrap();
        // One of four differs, by 2; squares of what is wanted about its mean sum to 5.
        assert_eq!(judged.values().copied().collect::<Vec<_>>(), [1.0, 1.0, 0.5, 1.0 - 4.0 / 5.0]);
        assert!(!Metric::Accuracy.judges(Task::Reconstruction) && Metric::R2.judges(Task::Reconstruction));
        let narrow = array![[1.0], [2.0]];
        let error = evaluate(Task::Reconstruction, &all, narrow.view(), Truth::Numbers(wanted.view()));
        assert_eq!(error, Err(MetricsError::Numbers { outputs: 1, wanted: 2 }));
    }
}
