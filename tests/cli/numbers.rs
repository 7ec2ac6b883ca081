//! Models whose task has no classes: regression and reconstruction, from data to metrics.

use crate::{output, real, root, systole, text};
use npyz::WriterBuilder;
use serde_json::Value;
use std::fs;
use std::io::{Cursor, Write};
use std::path::{Path, PathBuf};

/// An NPZ file of float arrays: names, shapes and numbers.
fn npz(path: &Path, arrays: &[(&str, &[u64], &[f32])]) {
    let mut archive = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, shape, values) in arrays {
        let mut array = Vec::new();
        let mut writer = npyz::WriteOptions::new().default_dtype().shape(shape).writer(&mut array).begin_nd().unwrap();
        writer.extend(values.iter().copied()).unwrap();
        writer.finish().unwrap();
        archive.start_file(format!("{name}.npy"), zip::write::SimpleFileOptions::default()).unwrap();
        archive.write_all(&array).unwrap();
    }
    fs::write(path, archive.finish().unwrap().into_inner()).unwrap();
}

/// A card of , which yields as many numbers as it takes, over twelve samples.
fn card(home: &Path, task: &str, metrics: &str) -> (PathBuf, usize) {
    fs::copy(root().join("tests/golden/networks/torch_attention.onnx"), home.join("attention.onnx")).unwrap();
    let network = systole::network::import(&home.join("attention.onnx")).unwrap();
    let elements = network.input().output.elements();
    assert_eq!(network.logits().output.elements(), elements);
    let split = |from: u32, until: u32| format!("(data: \"all\", from: {from}, until: {until})");
    let (first, second, third) = (split(0, 4), split(4, 8), split(8, 12));
    let text = format!(
        "Model(format_version: 1, name: \"attention\", source: \"a test\", notes: [], network: \"attention.onnx\",
         preprocessing: (scale: Times(1.0), mean: 0.0, std: 1.0, layout: Flatten), task: {task}, metrics: {metrics}, labels: [],
         data: [(name: \"all\", files: Npz(\"all.npz\"))],
         splits: (train: {first}, calibrate: {first}, select: {second}, report: {third}))"
    );
    let path = home.join("attention.ron");
    fs::write(&path, text).unwrap();
    (path, elements)
}

fn samples(elements: usize) -> Vec<f32> {
    (0..12 * elements).map(|place| f32::from(u8::try_from(place * 7 % 23).unwrap()) / 11.0 - 1.0).collect()
}

fn run(card: &Path, home: &Path) -> Value {
    serde_json::from_str(&output(&mut systole(&["run", "--json", "--model", text(card), "--out", text(&home.join("out"))]))).unwrap()
}

#[test]
fn numbers_are_judged_by_how_far_they_are_from_those_that_are_wanted() {
    let home = tempfile::tempdir().unwrap();
    let (card, elements) = card(home.path(), "Reconstruction", "[Mse, Rmse, Mae, R2]");
    let inputs = samples(elements);
    let shape = [12, elements as u64];
    // What a reconstruction wants is the sample: there is no y.
    npz(&home.path().join("all.npz"), &[("x", &shape, &inputs)]);
    let rebuilt = run(&card, home.path());
    let metric = |json: &Value, name: &str, of: &str| real(json, &format!("/metrics/{name}/{of}"));
    assert!((metric(&rebuilt, "rmse", "float").powi(2) - metric(&rebuilt, "mse", "float")).abs() < 1e-6 * metric(&rebuilt, "mse", "float"));
    assert_eq!(rebuilt["mismatches"], 0);
    // The same as a regression towards the samples, and towards what is one more everywhere: an absolute error between the two differs by 1 at most.
    let (as_regression, _) = self::card(home.path(), &format!("Regression(outputs: {elements})"), "[Mse, Mae]");
    npz(&home.path().join("all.npz"), &[("x", &shape, &inputs), ("y", &shape, &inputs)]);
    let same = run(&as_regression, home.path());
    for name in ["mse", "mae"] {
        for of in ["float", "compressed_float", "integer", "chip"] {
            assert_eq!(metric(&same, name, of).to_bits(), metric(&rebuilt, name, of).to_bits(), "{name} {of}");
        }
    }
    assert_eq!(same["output_hash"], rebuilt["output_hash"]);
    let above: Vec<f32> = inputs.iter().map(|x| x + 1.0).collect();
    npz(&home.path().join("all.npz"), &[("x", &shape, &inputs), ("y", &shape, &above)]);
    let far = run(&as_regression, home.path());
    assert!((metric(&far, "mae", "chip") - metric(&same, "mae", "chip")).abs() <= 1.0 + 1e-6);
    assert_eq!(far["output_hash"], rebuilt["output_hash"], "what is wanted changes nothing of what is computed");
    // As many as are wanted.
    npz(&home.path().join("all.npz"), &[("x", &shape, &inputs), ("y", &[12, 1], &inputs[..12])]);
    let refused = systole(&["run", "--model", text(&as_regression)]).assert().code(1);
    let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
    assert!(said.contains(&format!("yields {elements} numbers a sample and the y of")), "{said}");
    for (arguments, part) in [
        (&["run", "--dump", "predictions"][..], "names no classes"),
        (&["compress", "--analyze"], "names no classes"),
        (&["run", "--quant", "mixed:w8a8/w4a8,cycles,loss:0.1"], "names no classes"),
    ] {
        npz(&home.path().join("all.npz"), &[("x", &shape, &inputs), ("y", &shape, &inputs)]);
        let refused = systole(arguments).args(["--model", text(&as_regression)]).assert().code(1);
        let said = String::from_utf8_lossy(&refused.get_output().stderr).into_owned();
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
    let (wrong, _) = self::card(home.path(), "Reconstruction", "[Accuracy]");
    let refused = systole(&["run", "--model", text(&wrong)]).assert().code(1);
    assert!(String::from_utf8_lossy(&refused.get_output().stderr).contains("numbers by Mse, Rmse, Mae and R2"));
}
