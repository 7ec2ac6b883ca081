//! Do sweeps keep their promises: the same bytes however often they are killed and by however many threads they are run, shards that make the whole,
//! points that `run` repeats, messages for bad input? (`durable`, `faults`, `points`.)

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod durable;
mod faults;
mod points;

use assert_cmd::Command;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The program, to be run in the project's folder.
fn systole(arguments: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("systole"));
    command.current_dir(root()).args(arguments).timeout(Duration::from_mins(5));
    command
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a command that must fail by the user's fault says.
fn refused(command: &mut Command) -> String {
    String::from_utf8(command.assert().code(1).get_output().stderr.clone()).unwrap()
}

/// A folder with a small layer table and an experiment of 48 points over it.
fn timing_only() -> (tempfile::TempDir, PathBuf) {
    let folder = tempfile::tempdir().unwrap();
    let table = folder.path().join("small.csv");
    fs::write(&table, "Layer, M, N, K,\na, 32, 48, 64,\nb, 16, 40, 24,\n").unwrap();
    let experiment = folder.path().join("small.ron");
    let text = format!(
        r#"Experiment(
    question: "How do array and DRAM share the time of two products?",
    chips: ["edge-16x16", "xnor-16x16"],
    workloads: [(model: {:?}, batch: 1, weights: Cold)],
    recipes: {{ "w8a8": [Quantize(w: 8, a: 8)], "w4a4": [Quantize(w: 4, a: 4)] }},
    axes: {{ "array.{{rows,cols}}": [(8, 8), (16, 16), (8, 32)], "dram.bytes_per_cycle": Log2(2, 16) }},
    mapping: Search(objective: Latency, budget: 2),
    baseline: (chip: "edge-16x16", recipe: "w8a8"),
)"#,
        table.display().to_string()
    );
    fs::write(&experiment, text).unwrap();
    (folder, experiment)
}

/// The sweep of an experiment into a folder, its cache beside it.
fn sweep(experiment: &Path, out: &Path, more: &[&str]) -> Command {
    let mut command = systole(&["sweep"]);
    command.arg(experiment).arg("--out").arg(out).arg("--cache").arg(experiment.with_file_name("cache")).args(more);
    command
}

/// Names and bytes of all results in a folder.
fn results(folder: &Path) -> Vec<(String, Vec<u8>)> {
    let mut all = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() {
            all.extend(results(&path).into_iter().map(|(inner, bytes)| (format!("{name}/{inner}"), bytes)));
        } else if name != ".lock" {
            all.push((name, fs::read(path).unwrap()));
        }
    }
    all.sort();
    all
}

/// Lines of the log.
fn lines(folder: &Path) -> usize {
    fs::read_to_string(folder.join("points.jsonl")).unwrap_or_default().lines().count()
}
