//! `systole train`, and the step `FineTune`: how to get them where they were not built in, and what they write where they were.

use super::*;

#[cfg(not(feature = "train"))]
#[test]
fn without_the_feature_one_line_says_how_to_get_it() {
    let message = faults::refused(&["train", "--model", "simplenet-mnist", "--out", "x.onnx"]);
    assert_eq!(message.trim_end().lines().count(), 1, "{message}");
    assert!(message.contains("cargo run --release --features train -- train"), "{message}");
    let message = faults::refused(&["compress", "--prune", "finetune:1,0.001"]);
    assert!(message.contains("step finetune:1,0.001") && message.contains("--features train"), "{message}");
}

#[cfg(feature = "train")]
#[test]
fn a_training_leaves_a_network_its_card_and_its_report() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("small.onnx");
    let train = |more: &[&str]| {
        let mut command =
            systole(&["train", "--model", "simplenet-mnist", "--epochs", "2", "--samples", "600", "--json", "--out", text(&out)]);
        serde_json::from_str::<Value>(&output(command.args(more))).unwrap()
    };
    let report = train(&["--seed", "7"]);
    assert_eq!(files(folder.path()), ["small.json", "small.onnx", "small.ron"]);
    assert_eq!((count(&report, "/seed"), report["epochs"].as_array().unwrap().len()), (7, 2));
    assert!(real(&report, "/loss") > 0.0 && real(&report, "/metrics/accuracy/float") > 0.5, "{report}");
    assert!(real(&report, "/metrics/f1_macro/float") > 0.5);
    assert_eq!(report["out"], text(&out));
    // The card is one that everything takes, and the reference's accuracy is the report's.
    let run = run_json(&["--model", text(&folder.path().join("small.ron")), "--samples", "600"]);
    assert!((real(&run, "/metrics/accuracy/float") - real(&report, "/metrics/accuracy/float")).abs() < 1e-12);
    let refused = faults::refused(&["train", "--model", "simplenet-mnist", "--out", text(&folder.path().join("small.txt"))]);
    assert!(refused.contains("no name for an ONNX file"), "{refused}");
    let refused = faults::refused(&["train", "--model", "simplenet-mnist", "--lr", "-1", "--out", text(&out)]);
    assert!(refused.contains("--lr is -1"), "{refused}");
}
