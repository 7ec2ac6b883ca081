//! Accuracy of a classification: the share of samples whose greatest output is that of their label.

use ndarray::{ArrayView1, ArrayView2};

/// The index of the greatest number; the first of equal ones. Not-a-number is never the greatest; of nothing else, 0.
#[expect(clippy::needless_pass_by_value, reason = "a view is a reference already")]
pub fn argmax(row: ArrayView1<f32>) -> usize {
    let mut best: Option<(usize, f32)> = None;
    for (index, value) in row.iter().copied().enumerate().filter(|(_, value)| !value.is_nan()) {
        if best.is_none_or(|(_, greatest)| value > greatest) {
            best = Some((index, value));
        }
    }
    best.map_or(0, |(index, _)| index)
}

/// The share of rows of `logits` (samples x classes) whose [`argmax`] is the label, 0 to 1; of no samples, 0.
#[expect(clippy::needless_pass_by_value, reason = "a view is a reference already")]
pub fn accuracy(logits: ArrayView2<f32>, labels: &[u32]) -> f64 {
    let right = logits.rows().into_iter().zip(labels).filter(|(row, label)| argmax(*row) == **label as usize).count();
    if labels.is_empty() { 0.0 } else { right as f64 / labels.len() as f64 }
}
