//! Does the program keep its promises at the command line: output, files, exit codes and messages? (`run`, `prune`, `compress`, `train`, `gemm`,
//! `topology`, `model`, `dram`, `json`, `pictures`, `faults`, `stress`.)

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod chip;
mod compress;
mod dram;
mod faults;
mod gemm;
mod json;
mod map;
mod model;
mod numbers;
mod pictures;
mod prune;
mod run;
mod stress;
mod topology;
mod train;

use assert_cmd::Command;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// The program, to be run in the project's folder, where the shipped model finds its data.
fn systole(arguments: &[&str]) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("systole"));
    command.current_dir(root()).args(arguments).timeout(Duration::from_mins(5));
    command
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// What a command that must work prints to standard output.
fn output(command: &mut Command) -> String {
    String::from_utf8(command.assert().success().get_output().stdout.clone()).unwrap()
}

/// The JSON of `systole run` with these arguments, results in a folder of its own.
fn run_json(arguments: &[&str]) -> Value {
    let folder = tempfile::tempdir().unwrap();
    let text = output(systole(&["run", "--json", "--out"]).arg(folder.path()).args(arguments));
    serde_json::from_str(&text).unwrap()
}

/// The number at a pointer such as `/layers/0/total_cycles`.
fn count(json: &Value, pointer: &str) -> u64 {
    json.pointer(pointer).and_then(Value::as_u64).unwrap_or_else(|| panic!("{pointer} is no count"))
}

fn real(json: &Value, pointer: &str) -> f64 {
    json.pointer(pointer).and_then(Value::as_f64).unwrap_or_else(|| panic!("{pointer} is no number"))
}

fn layers(json: &Value) -> &[Value] {
    json["layers"].as_array().unwrap()
}

/// Names of the files in a folder, sorted.
fn files(folder: &Path) -> Vec<String> {
    let mut names: Vec<String> =
        std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    names.sort();
    names
}

/// A path as an argument.
fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

/// A folder with a pair of IDX files: the first images of the test set, with the labels that `label` makes of theirs.
fn idx_folder(inside: &Path, count: usize, label: impl Fn(u32) -> u8) -> PathBuf {
    let mnist = root().join("data/mnist");
    let (images, labels) = (mnist.join("t10k-images-idx3-ubyte.gz"), mnist.join("t10k-labels-idx1-ubyte.gz"));
    let data = systole::data::Source::Idx { images, labels }.read(0..count).unwrap();
    let systole::data::Values::U8(pixels) = data.samples() else { panic!("MNIST is bytes") };
    let size = u32::try_from(count).unwrap().to_be_bytes();
    let mut images = [[0, 0, 8, 3], size, 28_u32.to_be_bytes(), 28_u32.to_be_bytes()].concat();
    images.extend(pixels.iter());
    let mut labels = [[0, 0, 8, 1], size].concat();
    labels.extend(data.labels().iter().map(|known| label(*known)));
    let folder = inside.join("idx");
    std::fs::create_dir_all(&folder).unwrap();
    std::fs::write(folder.join("test-images"), images).unwrap();
    std::fs::write(folder.join("test-labels"), labels).unwrap();
    folder
}
