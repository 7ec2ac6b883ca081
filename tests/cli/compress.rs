//! `systole compress`: what it writes runs at once and gives the same outputs, what it reports, and what is refused.

use crate::{count, files, output, real, systole, text};
use serde_json::Value;
use std::fs;
use std::path::Path;

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&output(systole(&["compress", "--json"]).args(arguments))).unwrap()
}

/// The logits that a run leaves, and its summary.
fn run(model: &str, more: &[&str], folder: &Path) -> (Vec<u8>, Value) {
    let mut command = systole(&["run", "--json", "--samples", "40", "--dump", "logits", "--model", model, "--out", text(folder)]);
    let summary = serde_json::from_str(&output(command.args(more))).unwrap();
    (fs::read(folder.join("logits.npz")).unwrap(), summary)
}

/// The chip's own numbers among the logits of a run.
fn of_chip(logits: &[u8]) -> Vec<u8> {
    let mut archive = zip::ZipArchive::new(std::io::Cursor::new(logits.to_vec())).unwrap();
    let mut found = Vec::new();
    std::io::Read::read_to_end(&mut archive.by_name("chip.npy").unwrap(), &mut found).unwrap();
    found
}

#[test]
fn what_is_written_runs_at_once_and_yields_the_same_outputs() {
    for (model, recipe) in [
        ("simplenet-mnist", &["--quant", "w8a8", "--prune", "mean:0.5"][..]),
        ("simplenet-mnist", &["--quant", "w4a8,mse,bias"]),
        ("simplenet-mnist", &["--quant", "w1a1"]),
        ("lenet-mnist", &["--quant", "w8a8+w2a8@c2", "--prune", "channel:0.25", "--prune", "equalize"]),
    ] {
        let home = tempfile::tempdir().unwrap();
        let file = home.path().join("small.onnx");
        let report = json(&[&["--model", model, "--samples", "40", "--out", text(&file)], recipe].concat());
        assert_eq!(files(home.path()), ["small.json", "small.onnx", "small.ron"]);
        let written: Value = serde_json::from_str(&fs::read_to_string(home.path().join("small.json")).unwrap()).unwrap();
        assert_eq!(written, report);
        let (folder, other) = (home.path().join("direct"), home.path().join("again"));
        let (direct, summary) = run(model, recipe, &folder);
        let (again, read) = run(text(&home.path().join("small.ron")), &[], &other);
        // The same integers out of the chip, in the same cycles; floats differ, since the file's are on their grids.
        assert_eq!(of_chip(&direct), of_chip(&again), "{model} {recipe:?}");
        assert_eq!(count(&summary, "/total_cycles"), count(&read, "/total_cycles"));
        assert_eq!(real(&report, "/metrics/accuracy/integer").to_bits(), real(&summary, "/metrics/accuracy/chip").to_bits());
        assert!(report["metrics"]["accuracy"]["chip"].is_null());
        let interval = &report["accuracy"]["integer"];
        assert!(real(interval, "/low") <= real(interval, "/value") && real(interval, "/value") <= real(interval, "/high"));
        assert!(count(&report, "/after/weight_bytes") < count(&report, "/before/weight_bytes"));
    }
}

#[test]
fn a_recipe_without_formats_leaves_floats() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("pruned.onnx");
    let printed = output(&mut systole(&["compress", "--prune", "magnitude:0.5", "--samples", "20", "--out", text(&file)]));
    assert!(printed.contains("float32") && printed.contains("50%") && !printed.contains("integer reference"), "{printed}");
    let report: Value = serde_json::from_str(&fs::read_to_string(home.path().join("pruned.json")).unwrap()).unwrap();
    assert_eq!(report["quantized"], false);
    assert_eq!(2 * count(&report, "/zeros"), count(&report, "/weights"));
    assert!(report["accuracy"]["integer"].is_null());
}

#[test]
fn an_analysis_tells_of_each_layer() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("x.onnx");
    let analysis = json(&["--analyze", "--samples", "100", "--quant", "w8a8", "--chip", "edge-16x16", "--out", text(&file)]);
    assert_eq!(files(home.path()), ["x.analysis.csv", "x.analysis.json"]);
    let layers = analysis["layers"].as_array().unwrap();
    assert_eq!(layers.len(), 3);
    let windows: u64 = layers.iter().map(|layer| count(layer, "/cycles")).sum();
    assert_eq!(windows, count(&analysis, "/total_cycles"), "windows partition the run");
    for layer in layers {
        // All layers together make at least as much noise, but for the first, whose input alone is shared.
        assert!(real(layer, "/isolated_sqnr_db") > 20.0 && real(layer, "/accumulated_sqnr_db") > 20.0, "{layer}");
        assert_eq!(count(layer, "/overflows"), 0);
        // K products of 8 bits and 9 bits: no more than these, and more than one product.
        let bits = count(layer, "/least_accumulator_bits");
        assert!((9..=27).contains(&bits), "{bits}");
        assert!(real(layer, "/weight_min") < 0.0 && real(layer, "/input_max") > 0.0 && real(layer, "/output_max") > 0.0);
    }
    let first = &layers[0]["narrower"][0];
    assert!(first["saved_cycles"].as_i64().unwrap() > 0, "{first}");
    let csv = fs::read_to_string(home.path().join("x.analysis.csv")).unwrap();
    assert_eq!(csv.lines().count(), 4);
    assert_eq!(csv.lines().next().unwrap().split(',').count(), csv.lines().last().unwrap().split(',').count());
    // Accumulators of 16 bits are too narrow, and it is counted.
    let chip = home.path().join("narrow.ron");
    let formats = "[(weight: Int8, activation: Int8, lanes: 1, accumulator_bits: 16, overflow: Saturate, pe: Table)]";
    let variant = format!("Variant(base: \"edge-16x16\", name: \"narrow\", source: \"a test\", set: {{ \"formats\": {formats} }})");
    fs::write(&chip, variant).unwrap();
    let narrow = systole(&["compress", "--json", "--analyze", "--samples", "20", "--chip", text(&chip)]).output().unwrap();
    if narrow.status.success() {
        let narrow: Value = serde_json::from_slice(&narrow.stdout).unwrap();
        assert!(count(&narrow, "/layers/0/overflows") > 0);
        assert!(count(&narrow, "/layers/0/least_accumulator_bits") > 16);
    } else {
        panic!("{}", String::from_utf8_lossy(&narrow.stderr));
    }
    let printed = output(&mut systole(&["compress", "--analyze", "--samples", "20"]));
    assert!(printed.contains("no chip was named") && printed.contains("z3"), "{printed}");
}

#[test]
fn what_makes_no_sense_is_refused_with_help() {
    let home = tempfile::tempdir().unwrap();
    let bare = home.path().join("bare.onnx");
    fs::copy("models/simplenet-mnist.onnx", &bare).unwrap();
    // A card whose calibration data has another shape, and one that judges by what it chooses by.
    let card = fs::read_to_string("models/simplenet-mnist.ron").unwrap();
    let data = Path::new("data/mnist").canonicalize().unwrap();
    let own = card.replace("simplenet-mnist.onnx", "bare.onnx").replace("../data/mnist", "data");
    std::os::unix::fs::symlink(&data, home.path().join("data")).unwrap();
    let changed = own.replace("report: (data: \"test\", from: 0, until: 10000)", "report: (data: \"train\", from: 50000, until: 60000)");
    assert_ne!(changed, own);
    fs::write(home.path().join("same.ron"), changed).unwrap();
    let same = home.path().join("same.ron");
    let cases: &[(&[&str], &str)] = &[
        (&["--prune", "mean:NaN"], "alpha is NaN"),
        (&["--prune", "mean:-1"], "alpha is -1"),
        (&["--prune", "nm:5:4"], "n is 5 and m is 4"),
        (&["--prune", "mean:1@z\u{1b}[2J"], "is named \"z\\u{1b}[2J\""),
        (&["--prune", "mean:1@conv9"], "no layer with weights is named \"conv9\""),
        (&["--quant", "w4a8@conv9"], "no layer with weights is named \"conv9\""),
        (&["--prune", "mean:1000"], "pruned to nothing"),
        (&["--prune", "block:array,0.5"], "no chip was named"),
        (&["--quant", "w3a8"], "no quantization"),
        (&["--quant", "mean:1"], "does more than to quantize"),
        (&["--quant", "w16a16", "--chip", "tpu-v1-256x256"], "multiplies int16 weights by int16 activations"),
        (&["--samples", "0"], "0 samples"),
        (&["--samples", "999999"], "10000"),
        (&["--out", "x.txt"], "no name for an ONNX file"),
        (&["--out", "models/simplenet-mnist.onnx"], "is the model that is read"),
        (&["--model", "resnet18"], "layer table"),
        (&["--model", text(&bare)], "names no data"),
        (&["--model", text(&same)], "shares samples with select"),
    ];
    for (arguments, part) in cases {
        let done = systole(&["compress"]).args(*arguments).output().unwrap();
        let said = String::from_utf8(done.stderr).unwrap();
        assert!(done.status.code() == Some(1) || done.status.code() == Some(2), "{arguments:?}: {said}");
        assert!(said.contains(part), "{arguments:?}: {said}");
    }
    assert!(!Path::new("x.txt").exists());
}

#[test]
fn weights_that_are_only_kept_narrow_cross_the_bus_so_and_yield_the_same_outputs() {
    let home = tempfile::tempdir().unwrap();
    let chip = ["--chip", "widen-16x16"];
    let file = home.path().join("narrow.onnx");
    json(&["--quant", "w4a8,wide", "--samples", "10", "--chip", "widen-16x16", "--out", text(&file)]);
    let [(wide, whole), (direct, summary)] =
        ["w8a8", "w4a8,wide"].map(|quant| run("simplenet-mnist", &[&chip[..], &["--quant", quant]].concat(), &home.path().join("out")));
    let (again, read) = run(text(&home.path().join("narrow.ron")), &chip, &home.path().join("out"));
    assert_eq!(read["recipe"], "as-imported");
    // The same integers in the logits, by their hash.
    assert_eq!((&summary["output_hash"], summary["output_hash"] == whole["output_hash"]), (&read["output_hash"], false));
    assert_eq!((of_chip(&direct) == of_chip(&again), of_chip(&wide) == of_chip(&again)), (true, false));
    assert_eq!(summary["metrics"]["accuracy"]["chip"], read["metrics"]["accuracy"]["chip"]);
    assert_eq!(
        count(&summary, "/total_cycles"),
        count(&read, "/total_cycles"),
        "the file's weights have 4 bits, and the chip has no such format"
    );
    // 4 bits a weight and 4 bytes a bias; of a layer of 10 channels a row of 10 weights is 5 bytes.
    let (weights, biases) = (784 * 64 + 64 * 32 + 32 * 10, 4 * (64 + 32 + 10));
    let moved = |summary: &Value| count(summary, "/traffic_bytes/dram/weight/read") / 40;
    assert_eq!((moved(&whole), moved(&summary)), (weights + biases, weights / 2 + biases));
    assert_eq!(count(&summary, "/unpacked_bytes"), 2 * count(&summary, "/coded_bytes"));
    assert_eq!(count(&summary, "/network/weight_bytes"), weights / 2 + biases);
    assert_eq!(summary["layers"][0]["format"], "int4 as int8 x int8");
    // The machine's sums are those of int4 by int8 on a chip that has the pair.
    let (native, _) = run("simplenet-mnist", &["--quant", "w4a8"], &home.path().join("out"));
    assert_eq!(native, direct);
    let refused = |arguments: &[&str]| {
        let done = systole(&["run", "--samples", "2"]).args(arguments).arg("--out").arg(home.path().join("none")).assert().code(1);
        String::from_utf8(done.get_output().stderr.clone()).unwrap()
    };
    let message = refused(&["--quant", "w2a8", "--model", text(&home.path().join("narrow.ron")), "--chip", "widen-16x16"]);
    assert!(message.contains("its weights are integers, of which w2a8 would change nothing"), "{message}");
    let message = refused(&["--quant", "w4a8,wide"]);
    assert!(message.contains("do not widen them") && message.contains("help: name a chip with storage.codec: Widen"), "{message}");
    let message = refused(&["--quant", "w16a8", "--chip", "widen-16x16"]);
    assert!(message.contains("int16 weights by int8 activations"), "{message}");
    assert!(!home.path().join("none").exists());
    // A chip without a pair of formats is no chip for a recipe that names it, whatever wider pair would hold the same integers.
    let message = refused(&["--quant", "w1a8", "--chip", "widen-16x16"]);
    assert!(message.contains("binary weights by int8 activations") && message.contains("help: quantize to a pair"), "{message}");
    let message = refused(&["--quant", "w4a8", "--chip", "widen-16x16"]);
    assert!(message.contains("int4 weights by int8 activations"), "{message}");
    assert!(!home.path().join("none").exists());
}

#[test]
fn a_search_tells_its_frontier_and_leaves_a_recipe_that_does_the_same() {
    let home = tempfile::tempdir().unwrap();
    let (first, second) = (home.path().join("first"), home.path().join("second"));
    let run = |arguments: &[&str], folder: &Path| -> Value {
        let out = output(systole(&["run", "--json", "--samples", "10", "--out", text(folder)]).args(arguments));
        serde_json::from_str(&out).unwrap()
    };
    let searched = run(&["--quant", "mixed:w8a8/w4a8/w2a8,cycles,loss:0.02"], &first);
    let mixed = &searched["mixed_precision"];
    let points = mixed["frontier"].as_array().unwrap();
    let chosen: Vec<&Value> = points.iter().filter(|point| point["is_chosen"] == true).collect();
    let float = real(mixed, "/float_accuracy");
    assert_eq!((chosen.len(), mixed["samples"].as_u64(), mixed["layers"].as_array().unwrap().len()), (1, Some(4000), 3));
    for point in points {
        let is_allowed = float - real(point, "/accuracy") <= 0.02 + 1e-9;
        assert_eq!(point["is_allowed"], is_allowed, "{point}");
        assert!(!is_allowed || count(point, "/total_cycles") >= count(chosen[0], "/total_cycles"), "{point}");
        // The sum of what the layers lose, each by itself.
        let of_layers = mixed["layers"].as_array().unwrap().iter().zip(point["formats"].as_array().unwrap());
        let loss: f64 = of_layers
            .map(|(layer, format)| {
                let formats = layer["formats"].as_array().unwrap();
                real(formats.iter().find(|one| one["format"] == *format).unwrap(), "/loss_nats")
            })
            .sum();
        assert!((loss - real(point, "/predicted_loss_nats")).abs() <= 1e-9 * loss.max(1.0));
    }
    // Weights of 8 bits throughout are one end, and cost what a run of them costs.
    let widest = points.last().unwrap();
    assert_eq!(widest["formats"], serde_json::json!(["w8a8", "w8a8", "w8a8"]));
    let plain = run(&["--quant", "w8a8"], &home.path().join("plain"));
    assert!(plain["mixed_precision"].is_null() && !fs::read_to_string(home.path().join("plain/summary.json")).unwrap().contains("mixed"));
    assert_eq!(10 * count(widest, "/total_cycles"), count(&plain, "/total_cycles"));
    assert!((10.0 * real(widest, "/energy_pj") / real(&plain, "/energy_pj") - 1.0).abs() < 1e-9);
    assert_eq!(count(widest, "/weight_bytes"), 784 * 64 + 64 * 32 + 32 * 10);
    // What was chosen is a recipe of its own, of the same figures.
    let again = run(&["--recipe", text(&first.join("recipe.ron"))], &second);
    for figure in ["/total_cycles", "/mismatches", "/network/weight_bytes"] {
        assert_eq!(count(&searched, figure), count(&again, figure));
    }
    assert_eq!((&again["recipe"], count(&searched, "/total_cycles")), (&searched["recipe"], 10 * count(chosen[0], "/total_cycles")));
    // Alone, by bytes, and said in RON.
    let recipe = home.path().join("search.ron");
    let step = "MixedPrecision(bits: [(w: 8, a: 8), (w: 4, a: 8)], objective: AccuracyLoss, constraint: WeightBytes(30000))";
    fs::write(&recipe, format!("Recipe(format_version: 1, steps: [Quantize(w: 8, a: 8, weights: PerTensor), {step}])")).unwrap();
    let report = json(&["--recipe", text(&recipe), "--samples", "10"]);
    assert!(count(&report, "/after/weight_bytes") <= 30_000);
    assert!(report["recipe_ron"].as_str().unwrap().contains("Quantize(w: 4, a: 8, weights: PerTensor, layers: [\"z1\""), "{report}");
    assert!(report["mixed_precision"]["frontier"][0]["total_cycles"].is_null());
}

#[test]
fn a_search_that_cannot_be_made_is_refused() {
    let home = tempfile::tempdir().unwrap();
    // The same images under another name, to choose by and to report on.
    let data = home.path().join("copy");
    fs::create_dir(&data).unwrap();
    for file in ["t10k-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"] {
        fs::copy(Path::new("data/mnist").join(file), data.join(file)).unwrap();
    }
    let card = fs::read_to_string("models/simplenet-mnist.ron").unwrap();
    let root = std::env::current_dir().unwrap();
    let card = card
        .replace("data: [", "data: [\n(name: \"copy\", files: Idx(images: \"copy/t10k-images-idx3-ubyte.gz\", labels: \"copy/t10k-labels-idx1-ubyte.gz\")),")
        .replace("select: (data: \"train\", from: 50000, until: 60000)", "select: (data: \"copy\", from: 0, until: 100)")
        .replace("../data", "data");
    fs::copy("models/simplenet-mnist.onnx", home.path().join("simplenet-mnist.onnx")).unwrap();
    std::os::unix::fs::symlink(root.join("data"), home.path().join("data")).unwrap();
    let same = home.path().join("same.ron");
    fs::write(&same, card).unwrap();
    let cases: [(&[&str], i32, &str); 9] = [
        (&["--model", text(&same), "--quant", "mixed:w8a8/w4a8,bytes,loss:0.01"], 1, "select split that are in the report split too"),
        (&["--model", text(&same), "--analyze"], 1, "select split that are in the report split too"),
        (&["--quant", "mixed:w8a8/w4a8,cycles,loss:0.01"], 1, "no chip was named"),
        (&["--quant", "mixed:w8a8/w4a8,accuracy,bytes:9"], 1, "the least is 26272"),
        (&["--quant", "mixed:w8a8/w4a8,accuracy,bytes:99999@z9"], 1, "no layer with weights is named \"z9\""),
        (&["--quant", "mixed:w8a8/w4a8,cycles,energy:1"], 2, "one of the two is about accuracy"),
        (&["--quant", "mixed:w8a8/w4a8,bytes,loss:0.01+w8a8"], 2, "stands before w8a8"),
        (&["--prune", "mean:0.5", "--quant", "w1a1"], 1, "layer \"z2\" become binary"),
        (&["--set", "array.rows=8"], 2, "--chip <CHIP>"),
    ];
    for (arguments, code, part) in cases {
        let done = systole(&["compress", "--samples", "10"]).args(arguments).assert().code(code);
        let message = String::from_utf8(done.get_output().stderr.clone()).unwrap();
        assert!(message.contains(part) && message.contains("help"), "{arguments:?}: {message}");
    }
}
