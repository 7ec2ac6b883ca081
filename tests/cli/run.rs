//! What `systole run` and `systole chip` print and write when all is well.

use crate::{count, files, idx_folder, output, root, run_json, systole, text};
use std::fs;
use std::io::Read;
use std::path::Path;

const FILES: [&str; 13] = [
    "chip.ron",
    "energy.png",
    "energy.svg",
    "layers.csv",
    "layers.png",
    "layers.svg",
    "report.html",
    "residency.csv",
    "roofline.png",
    "roofline.svg",
    "summary.json",
    "traffic.png",
    "traffic.svg",
];

#[test]
fn a_run_prints_chip_network_layers_totals_and_metrics_in_this_order() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = systole(&["run", "--samples", "20", "--out", text(folder.path())]);
    let done = command.assert().success();
    assert!(done.get_output().stderr.is_empty(), "no progress bar where nobody looks");
    let printed = String::from_utf8(done.get_output().stdout.clone()).unwrap();
    let mut from = 0;
    for part in [
        "chip     edge-16x16",
        "network  simplenet-mnist",
        "20 samples",
        "\nz1 ",
        "\nz2 ",
        "\nz3 ",
        "\nTotals\n",
        "latency",
        "energy",
        "\nMetrics\n",
        "float",
        "integer",
        "chip",
        "accuracy",
        "0 mismatches in 200 output values",
        "results in ",
    ] {
        from += printed[from..].find(part).unwrap_or_else(|| panic!("{part:?} is missing, or in another place:\n{printed}"));
    }
    assert!(printed.lines().all(|line| line.starts_with("results in ") || line.chars().count() <= 100), "{printed}");
    assert!(!printed.contains('\u{1b}'), "no colours where nobody looks");
}

#[test]
fn all_ten_thousand_samples_are_counted_without_separators() {
    // The number of output values, not the network, is what is asked for here: a large batch of a chip that is quick to simulate.
    let folder = tempfile::tempdir().unwrap();
    let arguments = ["--set", "array.rows=64", "--set", "array.cols=64", "--set", "scratchpads.0.port_bytes=64"];
    let mut command = systole(&["run", "--batch", "250", "--weights", "resident", "--out", text(folder.path())]);
    let printed = output(command.args(arguments).args(["--set", "accumulator.port_bytes=256"]));
    assert!(printed.contains("0 mismatches in 100000 output values"), "{printed}");
}

#[test]
fn results_go_to_a_folder_named_after_what_ran() {
    let home = tempfile::tempdir().unwrap();
    fs::create_dir(home.path().join("models")).unwrap();
    idx_folder(home.path(), 30, |known| u8::try_from(known).unwrap());
    let card = fs::read_to_string(root().join("models/simplenet-mnist.ron")).unwrap();
    let (head, _) = card.split_once("    data: [").unwrap();
    let split = |name: &str, from: u32, until: u32| format!("{name}: (data: \"all\", from: {from}, until: {until}),");
    let splits = [split("train", 0, 20), split("calibrate", 0, 20), split("select", 20, 25), split("report", 25, 30)].concat();
    let data = "(name: \"all\", files: Idx(images: \"../idx/test-images\", labels: \"../idx/test-labels\"))";
    fs::write(home.path().join("models/simplenet-mnist.ron"), format!("{head}data: [{data}], splits: ({splits}))")).unwrap();
    fs::copy(root().join("models/simplenet-mnist.onnx"), home.path().join("models/simplenet-mnist.onnx")).unwrap();
    let run = |samples: &str| output(systole(&["run", "--samples", samples]).current_dir(home.path()));
    run("4");
    run("4");
    let found = files(&home.path().join("out"));
    assert_eq!(found.len(), 1, "the same run has the same folder: {found:?}");
    let hash = found[0].strip_prefix("simplenet-mnist-w8a8-edge-16x16-").unwrap_or_else(|| panic!("{found:?}"));
    assert!(hash.len() == 8 && hash.chars().all(|c| c.is_ascii_hexdigit()), "{found:?}");
    assert_eq!(files(&home.path().join("out").join(&found[0])), FILES);
    run("5");
    assert_eq!(files(&home.path().join("out")).len(), 2);
}

#[test]
fn the_same_run_writes_the_same_bytes_and_json_is_the_summary() {
    let home = tempfile::tempdir().unwrap();
    let common = ["run", "--samples", "7", "--batch", "3", "--seed", "5", "--set", "clock=MHz(700)", "--dump", "layers"];
    let [one, two] = ["one", "two/deep"].map(|name| home.path().join(name));
    output(systole(&common).args(["--all-layers", "--out", text(&one)]));
    let json = output(systole(&common).arg(format!("--out={}", text(&two))).arg("--json"));
    assert_eq!(files(&one).into_iter().filter(|name| name != "layers.npz").collect::<Vec<_>>(), FILES);
    for name in files(&one) {
        assert_eq!(fs::read(one.join(&name)).unwrap(), fs::read(two.join(&name)).unwrap(), "{name} differs");
    }
    assert_eq!(json, fs::read_to_string(two.join("summary.json")).unwrap());
    let command = "systole run --samples 7 --batch 3 --seed 5 --set 'clock=MHz(700)' --dump layers";
    assert_eq!(serde_json::from_str::<serde_json::Value>(&json).unwrap()["provenance"]["command"], command);
}

#[test]
fn the_saved_chip_loads_again_and_takes_as_long() {
    let folder = tempfile::tempdir().unwrap();
    let first: serde_json::Value = serde_json::from_str(&output(
        systole(&["run", "--json", "--samples", "2", "--set", "array.rows=8", "--set", "name=small", "--out"]).arg(folder.path()),
    ))
    .unwrap();
    let again = run_json(&["--samples", "2", "--chip", text(&folder.path().join("chip.ron"))]);
    for pointer in ["/chip", "/layers", "/total_cycles", "/energy_pj", "/provenance/chip_sha256", "/provenance/data_sha256"] {
        assert_eq!(first.pointer(pointer), again.pointer(pointer), "{pointer}");
    }
    assert_eq!(first["chip"]["name"], "small");
}

#[test]
fn dumps_are_npz_with_what_was_computed() {
    let folder = tempfile::tempdir().unwrap();
    for (what, names) in [
        ("predictions", ["float", "integer", "chip", "labels"].as_slice()),
        ("logits", &["float", "integer", "chip", "scale", "zero_point"]),
        ("layers", &["float/z1", "integer/z1", "scale/z1", "zero_point/z1", "float/output"]),
    ] {
        output(&mut systole(&["run", "--samples", "6", "--dump", what, "--out", text(folder.path())]));
        let path = folder.path().join(format!("{what}.npz"));
        for name in names {
            assert!(!member(&path, name).is_empty(), "{what}: {name}");
        }
    }
    let array = |name: &str| npyz::NpyFile::new(std::io::Cursor::new(member(&folder.path().join("predictions.npz"), name))).unwrap();
    let predictions = |name: &str| array(name).into_vec::<u32>().unwrap();
    assert_eq!(predictions("labels"), [7, 2, 1, 0, 4, 1]);
    assert_eq!((predictions("chip"), array("chip").shape()), (predictions("integer"), &[6][..]));
    let logits = |name: &str| npyz::NpyFile::new(std::io::Cursor::new(member(&folder.path().join("logits.npz"), name))).unwrap();
    assert_eq!(logits("chip").shape(), [6, 10]);
    assert_eq!(logits("chip").into_vec::<i32>().unwrap(), logits("integer").into_vec::<i32>().unwrap());
    assert_eq!(logits("float").into_vec::<f32>().unwrap().len(), 60);
}

/// The bytes of an array of an NPZ file.
fn member(path: &Path, name: &str) -> Vec<u8> {
    let mut archive = zip::ZipArchive::new(fs::File::open(path).unwrap()).unwrap();
    let mut bytes = Vec::new();
    archive.by_name(&format!("{name}.npy")).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

#[test]
fn a_network_that_guesses_is_run_and_a_warning_says_so() {
    let home = tempfile::tempdir().unwrap();
    let data = idx_folder(home.path(), 40, |known| u8::try_from((known + 1) % 10).unwrap());
    let mut command = systole(&["run", "--data", text(&data), "--json", "--out", text(&home.path().join("out"))]);
    let done = command.assert().success();
    let warning = String::from_utf8(done.get_output().stderr.clone()).unwrap();
    assert!(warning.starts_with("warning: ") && warning.contains("no better than guessing among 10 classes"), "{warning}");
    let json: serde_json::Value = serde_json::from_slice(&done.get_output().stdout).unwrap();
    assert_eq!((count(&json, "/samples"), count(&json, "/mismatches")), (40, 0));
}

#[test]
fn shipped_chips_are_listed_and_shown_and_can_be_built() {
    let list = output(&mut systole(&["chip", "list"]));
    for (name, _) in systole::chip::shipped() {
        assert!(list.lines().any(|line| line.starts_with(name)), "{name} is not listed:\n{list}");
        let shown = output(&mut systole(&["chip", "show", name, "--set", "array.rows=24"]));
        assert!(shown.contains("rows: 24"), "{shown}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("shown.ron");
        fs::write(&path, &shown).unwrap();
        assert_eq!(output(&mut systole(&["chip", "show", text(&path)])), shown);
        assert_eq!(output(&mut systole(&["chip", "check", text(&path)])), format!("{name} can be built\n"));
    }
}
