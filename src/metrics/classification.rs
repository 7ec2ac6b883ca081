//! Classification: which samples are right, the confusion matrix, and precision, recall and F1 from it.

use super::argmax;
use crate::data::Average;
use ndarray::{Array2, ArrayView2};
use std::cmp::Ordering;

/// For each row of `logits` (samples x classes), whether its [`argmax`] is the label.
#[expect(clippy::needless_pass_by_value, reason = "a view is a reference already")]
pub fn right(logits: ArrayView2<f32>, labels: &[u32]) -> Vec<bool> {
    logits.rows().into_iter().zip(labels).map(|(row, label)| argmax(row) == *label as usize).collect()
}

/// The share of rows of `logits` (samples x classes) whose label is among the `k` greatest numbers, 0 to 1; of equal numbers the first counts as
/// greater, as for [`argmax`]. A label whose number is not a number is never among them.
#[expect(clippy::needless_pass_by_value, reason = "a view is a reference already")]
pub fn top_k(logits: ArrayView2<f32>, labels: &[u32], k: usize) -> f64 {
    let among = logits.rows().into_iter().zip(labels).filter(|(row, label)| {
        let label = **label as usize;
        row.get(label).copied().filter(|own| !own.is_nan()).is_some_and(|own| {
            let is_before = |index: usize, other: f32| match other.partial_cmp(&own) {
                Some(Ordering::Greater) => true,
                Some(Ordering::Equal) => index < label,
                _ => false,
            };
            let greater = row.iter().enumerate().filter(|(index, other)| is_before(*index, **other));
            greater.count() < k
        })
    });
    among.count() as f64 / labels.len().max(1) as f64
}

/// Counts of samples by label (rows) and by the class that was named (columns).
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Confusion(Array2<u64>);

/// Precision, recall and their harmonic mean, 0 to 1; 0 where nothing is counted, as scikit-learn's `zero_division=0`.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Scores {
    /// Of the samples that were named so, the share that are.
    pub precision: f64,
    /// Of the samples that are, the share that were named so.
    pub recall: f64,
    /// `2 precision recall / (precision + recall)`; of several classes the mean of theirs.
    pub f1: f64,
}

impl Confusion {
    /// Counts rows of `logits` (samples x classes) by label and [`argmax`]. Labels outside of the classes do not count.
    #[expect(clippy::needless_pass_by_value, reason = "a view is a reference already")]
    pub fn of(logits: ArrayView2<f32>, labels: &[u32]) -> Self {
        let mut counts = Array2::zeros((logits.ncols(), logits.ncols()));
        for (row, label) in logits.rows().into_iter().zip(labels) {
            if let Some(count) = counts.get_mut((*label as usize, argmax(row))) {
                *count += 1;
            }
        }
        Self(counts)
    }

    /// The counts, labels x classes that were named.
    pub fn counts(&self) -> &Array2<u64> {
        &self.0
    }

    /// Scores of each class.
    pub fn by_class(&self) -> Vec<Scores> {
        (0..self.0.nrows()).map(|class| scores(self.0[[class, class]], self.0.column(class).sum(), self.0.row(class).sum())).collect()
    }

    /// Scores of all classes: each class alike (macro), each sample alike (micro: the accuracy, where each sample has one class), or classes by
    /// the number of their samples (weighted).
    pub fn average(&self, average: Average) -> Scores {
        let all = self.0.sum();
        if average == Average::Micro {
            return scores(self.0.diag().sum(), all, all);
        }
        let weight = |class: usize| match average {
            Average::Weighted => self.0.row(class).sum() as f64 / all.max(1) as f64,
            _ => 1.0 / self.0.nrows().max(1) as f64,
        };
        let mut mean = Scores::default();
        for (class, scores) in self.by_class().into_iter().enumerate() {
            mean.precision += weight(class) * scores.precision;
            mean.recall += weight(class) * scores.recall;
            mean.f1 += weight(class) * scores.f1;
        }
        mean
    }
}

/// Scores of `right` samples that are and were named so, of so many named and so many that are.
fn scores(right: u64, named: u64, are: u64) -> Scores {
    let share = |of: u64| if of == 0 { 0.0 } else { right as f64 / of as f64 };
    let f1 = if named + are == 0 { 0.0 } else { 2.0 * right as f64 / (named + are) as f64 };
    Scores { precision: share(named), recall: share(are), f1 }
}
