//! What pruning did and was worth, as plain data and on the terminal. Not here: how it is found out (`pipeline`).

use super::{Summary, human, ratio};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// Layers of a step that are listed on the terminal at most.
const MOST_LAYERS: usize = 25;

/// The pruning of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PruningSummary {
    /// The recipe in RON, which `--recipe` takes.
    pub recipe_ron: String,
    /// What each step did, in order.
    pub steps: Vec<PruningStep>,
    /// The same network without pruning, timed on the same chip; none where it does not run there.
    pub unpruned: Option<Unpruned>,
    /// Why it does not.
    pub unpruned_fault: Option<String>,
    /// Whether the array keeps a multiplier still where an operand is zero.
    pub zero_gating: bool,
    /// What pruning costs in accuracy, in floating point; none where no numbers were simulated.
    pub accuracy: Option<PairedAccuracy>,
}

/// One step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PruningStep {
    /// Its short form.
    pub step: String,
    /// The layers that it names or changes.
    pub layers: Vec<PrunedLayer>,
}

/// A layer after a step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PrunedLayer {
    /// Its name.
    pub name: String,
    /// Its weights before; 0 of a layer that the step made.
    pub weights_before: u64,
    /// Its weights, zeros included.
    pub weights: u64,
    /// Those that are zero.
    pub zeros: u64,
    /// `zeros / weights`, 0 to 1.
    pub sparsity: f64,
}

/// The network without pruning; sums over all programs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unpruned {
    /// Core cycles.
    pub total_cycles: u64,
    /// Multiply-accumulates, as if nothing were skipped.
    pub macs_dense: u64,
    /// Bytes on DRAM's bus, read.
    pub dram_read_bytes: u64,
    /// Bytes on DRAM's bus, written.
    pub dram_write_bytes: u64,
}

/// Accuracy of the float network before and after pruning, on the same samples.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct PairedAccuracy {
    /// Before.
    pub before: f64,
    /// After.
    pub after: f64,
    /// The lower end of its 95% interval (Wilson).
    pub after_low: f64,
    /// The upper end.
    pub after_high: f64,
    /// Samples that only the network before pruning gets right.
    pub right_before_only: u64,
    /// Samples that only the pruned network gets right.
    pub right_after_only: u64,
    /// The probability of a difference at least as large if pruning made none (McNemar's exact test).
    pub p_value: f64,
}

/// The part of the terminal's report.
pub(super) fn pruning(summary: &Summary) -> Option<String> {
    let pruning = summary.pruning.as_ref()?;
    let mut text = format!("Pruning: {}{}", pruning.recipe_ron, steps(&pruning.steps));
    let mut worth = worth(summary, pruning);
    if let Some(accuracy) = &pruning.accuracy {
        let PairedAccuracy { before, after, after_low, after_high, right_before_only, right_after_only, p_value } = accuracy;
        worth.push(format!("Float accuracy {before:.4} before, {after:.4} after (95%: {after_low:.4} to {after_high:.4})."));
        worth.push(format!("Right only before {right_before_only}, only after {right_after_only}: McNemar's p = {p_value:.2e}."));
    }
    for line in worth {
        let _ = writeln!(text, "{line}");
    }
    Some(text)
}

/// What each step left, a line a layer.
pub(super) fn steps(steps: &[PruningStep]) -> String {
    let mut text = String::new();
    for step in steps {
        let _ = writeln!(text, "{}", step.step);
        for layer in step.layers.iter().take(MOST_LAYERS) {
            let was = if layer.weights_before == layer.weights {
                String::new()
            } else {
                format!("   before {}", human::count(layer.weights_before))
            };
            let name = human::shorten(&layer.name, 23);
            let (zeros, weights) = (human::percent(layer.sparsity), human::count(layer.weights));
            let _ = writeln!(text, "  {name:<24}{zeros:>5} zeros of {weights} weights{was}");
        }
        if step.layers.len() > MOST_LAYERS {
            let _ = writeln!(text, "  and {} layers more (summary.json has all)", step.layers.len() - MOST_LAYERS);
        }
    }
    text
}

/// What the chip makes of it, in words.
fn worth(summary: &Summary, pruning: &PruningSummary) -> Vec<String> {
    let mut lines = Vec::new();
    match (&pruning.unpruned, &pruning.unpruned_fault) {
        (Some(unpruned), _) => {
            let (now, before) = (summary.total_cycles, unpruned.total_cycles);
            let percent = human::percent(ratio(now.abs_diff(before) as f64, before as f64));
            let (now_text, before_text) = (human::count(now), human::count(before));
            lines.push(match now.cmp(&before) {
                std::cmp::Ordering::Equal => {
                    format!("This pruning buys no cycle on this chip: {now_text} with it and without it.")
                }
                std::cmp::Ordering::Less => format!("{now_text} cycles in place of {before_text}: {percent} less."),
                std::cmp::Ordering::Greater => {
                    format!("This pruning buys no cycle on this chip: {now_text} in place of {before_text}, {percent} more.")
                }
            });
            let bytes = [summary.dram_read_bytes + summary.dram_write_bytes, unpruned.dram_read_bytes + unpruned.dram_write_bytes];
            if bytes[0] < bytes[1] {
                lines.push(format!("DRAM moves {} in place of {}.", human::bytes(bytes[0]), human::bytes(bytes[1])));
            }
            if summary.macs_dense < unpruned.macs_dense {
                let [now, before] = [summary.macs_dense, unpruned.macs_dense].map(|macs| human::si(macs as f64, ""));
                lines.push(format!("Layers are smaller: {now} MACs in place of {before}."));
            }
        }
        (None, Some(fault)) => lines.push(format!("Without pruning the network does not run on this chip: {fault}.")),
        (None, None) => {}
    }
    if summary.macs_executed < summary.macs_dense {
        let share = ratio((summary.macs_dense - summary.macs_executed) as f64, summary.macs_dense as f64);
        lines.push(format!("The array skips {} of the MACs.", human::percent(share)));
    }
    if pruning.zero_gating && pruning.steps.iter().any(|step| step.layers.iter().any(|layer| layer.zeros > 0)) {
        lines.push("Zeros that remain are gated: they save energy, and no time.".to_owned());
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    fn said(now: u64, unpruned: Option<Unpruned>) -> String {
        let layer = PrunedLayer { name: "fc".to_owned(), weights_before: 200, weights: 100, zeros: 25, sparsity: 0.25 };
        let accuracy = PairedAccuracy {
            before: 0.9,
            after: 0.8,
            after_low: 0.75,
            after_high: 0.85,
            right_before_only: 12,
            right_after_only: 2,
            p_value: 0.013,
        };
        let pruning = PruningSummary {
            recipe_ron: "Recipe()\n".to_owned(),
            steps: vec![PruningStep { step: "channel:0.5".to_owned(), layers: vec![layer] }],
            unpruned,
            unpruned_fault: unpruned.is_none().then(|| "it is too large".to_owned()),
            zero_gating: true,
            accuracy: Some(accuracy),
        };
        let summary = Summary { total_cycles: now, pruning: Some(pruning), ..fixture::simplenet() };
        super::pruning(&summary).unwrap()
    }

    #[test]
    fn what_pruning_is_worth_is_said_in_words() {
        let like = Unpruned { total_cycles: 1000, macs_dense: 0, dram_read_bytes: 0, dram_write_bytes: 0 };
        let none = said(1000, Some(like));
        for part in [
            "Pruning: Recipe()\nchannel:0.5\n",
            "25% zeros of 100 weights   before 200",
            "buys no cycle on this chip: 1,000 with it and without it.",
            "Zeros that remain are gated",
            "Float accuracy 0.9000 before, 0.8000 after (95%: 0.7500 to 0.8500).",
            "Right only before 12, only after 2: McNemar's p = 1.30e-2.",
        ] {
            assert!(none.contains(part), "{part}: {none}");
        }
        assert!(!none.contains("DRAM") && !none.contains("smaller"), "{none}");
        let large = Unpruned { macs_dense: u64::MAX, dram_read_bytes: u64::MAX / 2, ..like };
        let less = said(750, Some(large));
        assert!(
            less.contains("750 cycles in place of 1,000: 25% less.") && less.contains("DRAM moves") && less.contains("Layers are smaller"),
            "{less}"
        );
        assert!(said(1100, Some(like)).contains("buys no cycle on this chip: 1,100 in place of 1,000, 10% more."));
        assert!(said(1000, None).contains("Without pruning the network does not run on this chip: it is too large."));
        assert!(super::pruning(&fixture::simplenet()).is_none());
    }
}
