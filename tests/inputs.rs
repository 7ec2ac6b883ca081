//! Do networks take what their files take: integers where these are of integers, names that name something? And is what cannot run refused early?

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod arrays;

use ndarray::{ArrayD, IxDyn, array};
use std::path::Path;
use systole::compress::{Ranges, Scheme, Step, calibrate, quantize};
use systole::model::{self, Split};
use systole::network::{Element, Network, NetworkBuilder, Op, Weight, check_rows, fuse_activations};
use systole::numerics::{AccumulateRule, Arithmetic, Overflow, Requantizer};
use systole::reference::{float, integer};

const RULE: AccumulateRule = AccumulateRule { bits: 32, overflow: Overflow::Wrap, chunk: 16 };
const FLOAT: Arithmetic = Arithmetic { accumulate: RULE, requantize: Requantizer::Float };

fn w8a8() -> Scheme {
    "w8a8".parse().unwrap()
}

#[test]
fn a_network_of_bytes_takes_bytes_as_onnxruntime_does() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/integer_input");
    let model = model::load(folder.join("conv.ron").to_str().unwrap()).unwrap();
    let network = quantize(&fuse_activations(model.network()).unwrap(), &Ranges::default(), w8a8()).unwrap();
    let samples = model.split(Split::Report, None).unwrap();
    let golden = arrays::read(&folder.join("conv.npz"));
    // The integers that reach the chip are the file's, less 128.
    let inputs = integer::quantize_inputs(&network, samples.inputs.view()).unwrap();
    let bytes: Vec<i32> = golden["x"].integers()[6 * inputs.ncols()..].to_vec();
    assert_eq!(inputs.iter().map(|q| q + 128).collect::<Vec<_>>(), bytes);
    let found = integer::run(&network, |_| FLOAT, inputs).unwrap();
    let found: Vec<i32> = found.layer(network.logits().id).unwrap().iter().map(|q| q + 128).collect();
    let wanted = &golden["wanted"].integers()[6 * 72..];
    assert_eq!(found, wanted);
    assert!(found.iter().filter(|q| **q != 0 && **q != 255).count() > found.len() / 2, "not saturated");
}

#[test]
fn what_is_no_integer_of_the_file_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let golden = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/integer_input");
    for name in ["conv.onnx", "conv.npz"] {
        std::fs::copy(golden.join(name), folder.path().join(name)).unwrap();
    }
    let card = std::fs::read_to_string(golden.join("conv.ron")).unwrap();
    for (scale, found) in [("Times(1.5)", "is 1.5 and"), ("Times(2.0)", "is 25")] {
        let path = folder.path().join("conv.ron");
        std::fs::write(&path, card.replace("Times(1.0)", scale)).unwrap();
        let error = model::load(path.to_str().unwrap()).unwrap().split(Split::Report, None).unwrap_err().to_string();
        assert!(error.contains("is of integers from 0 to 255\n  help: "), "{found}: {error}");
    }
    // The card of a network that takes reals does what the integers' scale and zero point did.
    std::fs::write(folder.path().join("conv.ron"), &card).unwrap();
    let model = model::load(folder.path().join("conv.ron").to_str().unwrap()).unwrap();
    let reals = folder.path().join("reals.onnx");
    let network = fuse_activations(model.network()).unwrap();
    let network = quantize(&network, &Ranges::default(), w8a8()).unwrap();
    std::fs::write(&reals, systole::network::export(&network).unwrap()).unwrap();
    let text = model::card_beside(&model, &reals, model.card().training, "written").unwrap().unwrap();
    std::fs::write(folder.path().join("reals.ron"), text).unwrap();
    let again = model::load(folder.path().join("reals.ron").to_str().unwrap()).unwrap();
    let [first, second] = [&model, &again].map(|model| {
        let inputs = model.split(Split::Report, None).unwrap().inputs;
        integer::quantize_inputs(&network, inputs.view()).unwrap()
    });
    assert_eq!(first, second);
}

/// Rows of a table of 5.
fn words() -> Network {
    let mut builder = NetworkBuilder::new("words");
    let x = builder.input_of("x", vec![3], Element::Index).unwrap();
    let table = ArrayD::from_shape_fn(IxDyn(&[5, 2]), |at| at[0] as f32 - at[1] as f32 / 2.0);
    let rows = builder.layer("rows", Op::Gather(Weight::Float(table)), &[x]).unwrap();
    builder.finish(rows).unwrap()
}

#[test]
fn names_of_no_row_are_refused() {
    let network = words();
    let good = array![[0.0_f32, 4.0, -5.0]];
    let quantized = quantize(&network, &calibrate(&network, good.view()).unwrap(), w8a8()).unwrap();
    let reals = float::run(&network, good.view()).unwrap();
    assert_eq!(reals.output(), array![[0.0, -0.5, 4.0, 3.5, 0.0, -0.5]]);
    for (name, found) in
        [(5.0_f32, "is 5, which names no row of its table of 5"), (-6.0, "is -6, which names no row"), (1e9, "names no row")]
    {
        let bad = array![[0.0_f32, 0.0, 0.0], [0.0, name, 0.0]];
        let by_float = float::run(&network, bad.view()).unwrap_err().to_string();
        let integers = integer::quantize_inputs(&quantized, bad.view()).unwrap();
        let by_integers = integer::run(&quantized, |_| FLOAT, integers).unwrap_err().to_string();
        for error in [by_float, by_integers] {
            assert!(error.starts_with("layer \"rows\": element 1 of sample 1 is") && error.contains(found), "{error}");
            assert!(error.contains("from 0 to 4, or from -5 to -1"), "{error}");
        }
    }
    for name in [2.5_f32, f32::NAN, f32::INFINITY] {
        let bad = array![[0.0_f32, 0.0, name]];
        let found = [
            float::run(&network, bad.view()).unwrap_err().to_string(),
            integer::quantize_inputs(&quantized, bad.view()).unwrap_err().to_string(),
        ];
        assert!(found.iter().all(|error| error.contains("element 2 of sample 0 is") && error.contains("takes whole numbers")), "{found:?}");
    }
}

#[test]
fn rows_without_an_integer_form_are_told_by_their_shape() {
    let mean = |size: usize| {
        let mut builder = NetworkBuilder::new("mean");
        let x = builder.input("x", vec![1, size, size]).unwrap();
        let y = builder.layer("m", Op::Mean { axes: vec![1, 2], keep: false }, &[x]).unwrap();
        builder.finish(y).unwrap()
    };
    assert!(check_rows(&mean(1024)).is_ok());
    let found = check_rows(&mean(2048)).unwrap_err().to_string();
    assert!(found.contains("\"m\" (mean)") && found.contains("4194304 elements"), "{found}");
}

#[test]
fn a_recipe_has_a_thousand_steps_at_most() {
    let steps = |count: usize| vec!["mean:0.5".parse::<Step>().unwrap(); count];
    assert!(systole::compress::Recipe::new(steps(1000)).is_ok());
    let found = systole::compress::Recipe::new(steps(1001)).unwrap_err().to_string();
    assert!(found.contains("1001 steps, and 1000 is the most"), "{found}");
}
