//! `run --trace`, `diff`, `compare`, and `plot`.

use crate::{count, files, output, real, systole, text};
use serde_json::Value;
use std::fs;
use std::path::Path;

fn said(command: &mut assert_cmd::Command, code: i32) -> String {
    String::from_utf8(command.assert().code(code).get_output().stderr.clone()).unwrap()
}

fn timed(out: &Path, more: &[&str]) -> String {
    output(systole(&["run", "--timing-only", "--samples", "2", "--out", text(out)]).args(more))
}

#[test]
fn a_trace_is_written_beside_a_run_and_changes_nothing_of_it() {
    let home = tempfile::tempdir().unwrap();
    let (trace, plain, traced) = (home.path().join("run.trace.json"), home.path().join("plain"), home.path().join("traced"));
    timed(&plain, &[]);
    timed(&traced, &["--trace", text(&trace)]);
    let summary = |folder: &Path| fs::read_to_string(folder.join("summary.json")).unwrap();
    assert_eq!(summary(&plain), summary(&traced));
    let file: Value = serde_json::from_str(&fs::read_to_string(&trace).unwrap()).unwrap();
    let json: Value = serde_json::from_str(&summary(&plain)).unwrap();
    // Two programs of a sample each.
    assert_eq!(count(&file, "/otherData/total_cycles"), count(&json, "/total_cycles") / 2);
    let stages: Vec<&str> = file["traceEvents"].as_array().unwrap().iter().filter_map(|event| event["args"]["stage"].as_str()).collect();
    let on_chip = crate::layers(&json).iter().filter(|layer| count(layer, "/total_cycles") > 0);
    let names: Vec<&str> = on_chip.map(|layer| layer["name"].as_str().unwrap()).collect();
    assert!(names.len() == 3 && names.iter().all(|name| stages.contains(name)), "{names:?}");
}

#[test]
fn a_trace_that_cannot_be_written_is_told_before_the_run() {
    let home = tempfile::tempdir().unwrap();
    let missing = home.path().join("nowhere/run.json");
    let message = said(systole(&["run", "--timing-only", "--out"]).arg(home.path().join("out")).arg("--trace").arg(&missing), 1);
    assert!(message.contains("choose another file with --trace"), "{message}");
    assert_eq!(files(home.path()), Vec::<String>::new(), "nothing is left of a run that did not begin");
}

#[test]
fn two_runs_differ_by_what_their_layers_say() {
    let home = tempfile::tempdir().unwrap();
    let (a, b) = (home.path().join("a"), home.path().join("b"));
    timed(&a, &[]);
    timed(&b, &["--set", "dram.bytes_per_cycle=2"]);
    let json: Value = serde_json::from_str(&output(systole(&["diff", "--json"]).arg(&a).arg(b.join("summary.json")))).unwrap();
    let change = |value: &Value| value["change_cycles"].as_i64().unwrap();
    let rows: i64 = json["layers"].as_array().unwrap().iter().map(change).sum();
    assert_eq!(rows, change(&json["total"]));
    assert_eq!(change(&json["total"]), count(&json, "/b/cycles").cast_signed() - count(&json, "/a/cycles").cast_signed());
    assert!(change(&json["total"]) > 0, "less bandwidth takes longer");
    let accounts = json["total"]["accounts"].as_array().unwrap();
    assert_eq!(accounts.iter().map(change).sum::<i64>(), rows);
    assert!(output(systole(&["diff"]).arg(&a).arg(&b)).contains("waits for weights"));
    let message = said(systole(&["diff"]).arg(&a).arg(home.path().join("none")), 1);
    assert!(message.contains("help: give a folder that `systole run` wrote"), "{message}");
    fs::write(home.path().join("summary.json"), "{\"chip\": 3}").unwrap();
    let message = said(systole(&["diff"]).arg(&a).arg(home.path()), 1);
    assert!(message.contains("is no summary of a run") && message.contains("line 1"), "{message}");
}

#[test]
fn chips_stand_side_by_side_and_one_that_cannot_has_its_reason() {
    let compare = ["compare", "--timing-only", "--samples", "1", "--chips", "edge-16x16,xnor-16x16,edge-32x32"];
    let json: Value = serde_json::from_str(&output(systole(&compare).arg("--json"))).unwrap();
    assert_eq!(json["chips"].as_array().unwrap().len(), 3);
    assert!((real(&json, "/chips/0/relative/latency") - 1.0).abs() < 1e-12);
    let (own, first) = (real(&json, "/chips/2/figures/latency_s"), real(&json, "/chips/0/figures/latency_s"));
    assert!((real(&json, "/chips/2/relative/latency") - own / first).abs() < 1e-12);
    // An array with N:M sparsity holds no dense weights.
    let dense = ["compare", "--timing-only", "--samples", "1", "--chips", "edge-16x16,nm-16x16"];
    let text = output(&mut systole(&dense));
    assert!(text.contains("nm-16x16 cannot run it: ") && text.contains("edge-16x16"), "{text}");
    let alone = ["compare", "--timing-only", "--samples", "1", "--chips", "nm-16x16"];
    assert!(said(&mut systole(&alone), 1).contains("no chip was left to compare"));
    assert!(said(&mut systole(&["compare", "--chips", "edge-16x61"]), 1).contains("edge-16x16"));
}

#[test]
fn results_are_drawn_by_any_two_fields_and_bad_ones_are_answered() {
    let home = tempfile::tempdir().unwrap();
    let (table, experiment, out) = (home.path().join("small.csv"), home.path().join("small.ron"), home.path().join("out"));
    fs::write(&table, "Layer, M, N, K,\na, 32, 48, 64,\nb, 16, 40, 24,\n").unwrap();
    let text = format!(
        r#"Experiment(
    question: "How wide a bus?",
    chips: ["edge-16x16", "xnor-16x16"],
    workloads: [(model: {:?}, batch: 1, weights: Cold)],
    recipes: {{ "w8a8": [Quantize(w: 8, a: 8)] }},
    axes: {{ "dram.bytes_per_cycle": Log2(2, 16) }},
    plots: [Heatmap(x: "dram.bytes_per_cycle", y: "chip", z: "latency_s")],
)"#,
        table.display().to_string()
    );
    fs::write(&experiment, text).unwrap();
    output(systole(&["sweep"]).arg(&experiment).arg("--out").arg(&out).arg("--cache").arg(home.path().join("cache")));
    assert!(out.join("report.html").is_file() && out.join("plots/heat-latency_s-dram.bytes_per_cycle-chip.svg").is_file());
    let plot = |more: &[&str]| {
        let mut command = systole(&["plot"]);
        command.arg(&out).args(more);
        command
    };
    let drawn = output(&mut plot(&["--x", "latency_s", "--y", "energy_pj", "--pareto", "--color", "dram.bytes_per_cycle"]));
    assert!(drawn.contains("pareto-energy_pj-latency_s-color-dram.bytes_per_cycle.svg") && drawn.contains(".png"));
    assert!(drawn.lines().all(|file| Path::new(file).is_file()));
    for (x, y, wanted) in [
        ("latency", "energy_pj", "the nearest are latency_s"),
        ("recipe", "energy_pj", "has no numbers"),
        ("latency_s", "error_percent", "choose other fields, or run with samples"),
    ] {
        let message = said(&mut plot(&["--x", x, "--y", y]), 1);
        assert!(message.contains(wanted), "{message}");
    }
    assert!(said(&mut plot(&["--x", "latency_s"]), 2).contains("--y"));
    fs::write(out.join("points.jsonl"), "").unwrap();
    assert!(said(&mut plot(&["--x", "latency_s", "--y", "energy_pj"]), 1).contains("no points yet"));
    let none = said(systole(&["plot"]).arg(home.path().join("none")), 1);
    assert!(none.contains("help: give a folder that `systole sweep` wrote"), "{none}");
}
