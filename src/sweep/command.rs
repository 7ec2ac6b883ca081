//! The command that repeats a point, as a user types it.

use crate::experiment::{Experiment, Point, Samples};
use crate::mapping::{Plan, WeightStart};
use crate::model::Found;

/// The command. `sets` are all fields of the chip that differ from its file.
pub(super) fn command(experiment: &Experiment, point: &Point, sets: &[(String, String)]) -> String {
    let workload = &experiment.workloads[point.workload];
    let mut words = vec!["systole".to_owned(), "run".to_owned()];
    let mut add = |option: &str, value: &str| words.extend([option.to_owned(), quoted(value)]);
    add("--model", &workload.path);
    add("--chip", &experiment.chips[point.chip].path);
    for (path, value) in sets {
        add("--set", &format!("{path}={value}"));
    }
    add("--batch", &workload.batch.to_string());
    add("--weights", if workload.weights == WeightStart::Cold { "cold" } else { "resident" });
    for step in point.steps.pruning() {
        add("--prune", &step.to_string());
    }
    let formats: Vec<String> = point.steps.quantization().iter().map(ToString::to_string).collect();
    add("--quant", &formats.join("+"));
    if experiment.plan != Plan::First {
        add("--plan", &experiment.plan.to_string());
    }
    add("--seed", &point.seed.to_string());
    match workload.samples {
        Samples::First(count) => add("--samples", &count.to_string()),
        Samples::TimingOnly if matches!(workload.found, Found::Network(_)) => words.push("--timing-only".to_owned()),
        Samples::All | Samples::TimingOnly => {}
    }
    words.join(" ")
}

/// A word as a POSIX shell takes it for itself.
pub fn quoted(word: &str) -> String {
    let is_plain = |c: char| c.is_alphanumeric() || "-_./=,:+@%".contains(c);
    if !word.is_empty() && word.chars().all(is_plain) { word.to_owned() } else { format!("'{}'", word.replace('\'', r"'\''")) }
}
