//! What outputs are worth by what is known of each sample. Not here: the formulas (`metrics`).

use super::PipelineError;
use crate::data::Truth;
use crate::metrics::{Confusion, evaluate};
use crate::model::Card;
use crate::report::{ClassSummary, MetricValues};
use ndarray::Array2;
use std::collections::BTreeMap;

/// What a network's outputs are worth by what is known of each sample.
#[derive(Debug, Default)]
pub(super) struct Judged {
    /// Each metric of its card, as every execution gives it.
    pub(super) metrics: BTreeMap<String, MetricValues>,
    /// What the chip named the samples of each class, where they have classes.
    pub(super) classes: Option<Vec<ClassSummary>>,
}

/// Each metric of a card by the logits of four executions: float, compressed float, integer, chip; nothing of those that there are not. Classes
/// are those that the chip named.
pub(super) fn judged(card: &Card, truth: Truth<'_>, logits: [Option<&Array2<f32>>; 4]) -> Result<Judged, PipelineError> {
    let mut metrics: BTreeMap<String, MetricValues> = BTreeMap::new();
    for (execution, logits) in logits.into_iter().enumerate() {
        let Some(logits) = logits else { continue };
        for (name, value) in evaluate(card.task, &card.metrics, logits.view(), truth)? {
            let values = metrics.entry(name).or_default();
            let of = [&mut values.float, &mut values.compressed_float, &mut values.integer, &mut values.chip];
            *of.into_iter().nth(execution).expect("bug: there are four executions") = Some(value);
        }
    }
    let classes = match (truth, logits[3]) {
        (Truth::Labels(labels), Some(logits)) => Some(classes(&Confusion::of(logits.view(), labels))),
        _ => None,
    };
    Ok(Judged { metrics, classes })
}

/// The rows of a confusion matrix with each class's scores.
fn classes(confusion: &Confusion) -> Vec<ClassSummary> {
    let rows = confusion.counts().rows().into_iter().zip(confusion.by_class());
    let rows = rows.enumerate().map(|(class, (row, scores))| ClassSummary {
        class: class as u64,
        samples: row.sum(),
        precision: scores.precision,
        recall: scores.recall,
        f1: scores.f1,
        named: row.iter().enumerate().filter(|(_, count)| **count > 0).map(|(class, count)| (class as u64, *count)).collect(),
    });
    rows.collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn classes_are_the_rows_of_the_confusion_matrix() {
        // Of class 0 one is named 0 and one 2, of class 1 none are, of class 2 one is named 2.
        let logits = array![[3.0, 1.0, 2.0], [0.0, 1.0, 2.0], [0.0, 1.0, 2.0]];
        let rows = classes(&Confusion::of(logits.view(), &[0, 0, 2]));
        let counted: Vec<_> = rows.iter().map(|row| (row.class, row.samples, row.named.clone())).collect();
        assert_eq!(counted, [(0, 2, BTreeMap::from([(0, 1), (2, 1)])), (1, 0, BTreeMap::new()), (2, 1, BTreeMap::from([(2, 1)]))]);
        // Precision of 2: one of the two that were named so; recall of 0: one of the two that are.
        assert_eq!([rows[2].precision, rows[0].recall, rows[1].f1].map(f64::to_bits), [0.5, 0.5, 0.0].map(f64::to_bits));
    }
}
