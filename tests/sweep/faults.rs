//! Bad experiments: each in `tests/experiments/bad` with the message that it must get; and no text makes the reader panic.
//!
//! `UPDATE_EXPECT=1 cargo test --test sweep` rewrites the messages; read what it wrote.

use super::{refused, root, systole};
use proptest::prelude::*;
use std::fs;
use std::path::PathBuf;
use systole::experiment::Experiment;

fn bad() -> Vec<PathBuf> {
    let mut found: Vec<PathBuf> = fs::read_dir(root().join("tests/experiments/bad")).unwrap().map(|entry| entry.unwrap().path()).collect();
    found.retain(|path| path.extension().is_some_and(|extension| extension == "ron"));
    found.sort();
    found
}

#[test]
fn every_bad_experiment_gets_its_message() {
    let all = bad();
    assert!(all.len() >= 10);
    for path in all {
        let shown = path.strip_prefix(root()).unwrap();
        let message = refused(systole(&["sweep", "--dry-run"]).arg(shown));
        let expected = path.with_extension("stderr");
        if std::env::var_os("UPDATE_EXPECT").is_some() {
            fs::write(&expected, &message).unwrap();
        }
        assert_eq!(message, fs::read_to_string(&expected).unwrap(), "{}", shown.display());
        assert!(message.contains("help:"), "{message}");
    }
}

#[test]
fn an_experiment_that_is_not_there_is_said() {
    let message = refused(&mut systole(&["sweep", "experiments/none.ron"]));
    assert!(message.contains("cannot read the experiment experiments/none.ron") && message.contains("help:"), "{message}");
    systole(&["sweep"]).assert().code(2);
    systole(&["sweep", "x.ron", "--shard", "3/2"]).assert().code(2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// Any text, and any piece of a good one with something else in its place, is read or refused.
    #[test]
    fn no_text_makes_the_reader_panic(noise in "\\PC{0,40}", from in 0_usize..900, length in 0_usize..40) {
        let good = r#"Experiment(question: "q", chips: ["edge-16x16"], workloads: [(model: "mlp-tpu-v1", batch: 1, weights: Cold)],
            recipes: { "a": [MeanThreshold(alpha: Axis("alpha"), scope: Global), Quantize(w: 8, a: 8)], "b": [] },
            axes: { "alpha": [0.25, 0.5], "dram.bytes_per_cycle": Log2(4, 64), "array.{rows,cols}": [(8, 32)] },
            mapping: Search(objective: Latency, budget: 2), seeds: [1], baseline: (chip: "edge-16x16", recipe: "a"),
            require: ["latency_s <= 2e-4"], plots: [Heatmap(x: "dram.bytes_per_cycle", y: "recipe", z: "speedup")], explore: Grid, area: Free)"#;
        let _ = Experiment::parse(noise.clone(), "noise.ron");
        let cut = |place: usize| (0..=place.min(good.len())).rev().find(|place| good.is_char_boundary(*place)).unwrap();
        let mutated = format!("{}{noise}{}", &good[..cut(from)], &good[cut(from + length)..]);
        let _ = Experiment::parse(mutated, "mutated.ron");
    }
}
