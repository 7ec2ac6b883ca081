//! Does the float reference compute what onnxruntime computes, for every operator and form that the importer takes?
//!
//! The cases are made by scripts/make_onnx_goldens.py.

use ndarray::{Array2, Ix2};
use std::path::{Path, PathBuf};
use systole::data::{Values, read_array};
use systole::network::{self, Network, Op};
use systole::reference::float;

fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/onnx")
}

fn case(name: &str) -> Network {
    network::import(&folder().join(format!("{name}.onnx"))).unwrap()
}

fn array(path: &Path, name: &str) -> Array2<f32> {
    let Values::F32(values) = read_array(path, name).unwrap() else { panic!("{name} is not float32") };
    let rows = values.shape()[0];
    let elements = values.len() / rows;
    values.into_shape_with_order((rows, elements)).unwrap().into_dimensionality::<Ix2>().unwrap()
}

#[test]
fn every_case_agrees_with_onnxruntime() {
    let mut cases = 0;
    for entry in std::fs::read_dir(folder()).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "onnx") {
            continue;
        }
        let network = network::import(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let data = path.with_extension("npz");
        let (x, wanted) = (array(&data, "x"), array(&data, "y"));
        let trace = float::run(&network, x.view()).unwrap();
        let found = trace.output();
        assert_eq!(found.dim(), wanted.dim(), "{}", path.display());
        let greatest = wanted.iter().fold(0.0_f32, |greatest, y| greatest.max(y.abs()));
        for (found, wanted) in found.iter().zip(&wanted) {
            assert!((found - wanted).abs() <= 1e-4 * greatest, "{}: {found} where onnxruntime has {wanted}", path.display());
        }
        cases += 1;
    }
    assert_eq!(cases, 13, "a case is missing: run scripts/make_onnx_goldens.py");
}

#[test]
fn biases_behind_a_matmul_go_into_the_dense_layer_where_nothing_else_reads_the_product() {
    let network = case("matmul_opset13");
    let layers: Vec<(&str, &str)> = network.layers().map(|layer| (layer.name.as_str(), layer.op.name())).collect();
    assert_eq!(layers, [("x", "input"), ("flat", "reshape"), ("dense1", "dense"), ("a1", "relu"), ("dense2", "dense")]);
    assert!(network.layers().all(|layer| !matches!(&layer.op, Op::Dense(dense) if dense.bias.is_none())));

    let network = case("residual");
    let layers: Vec<(&str, &str)> = network.layers().map(|layer| (layer.name.as_str(), layer.op.name())).collect();
    assert_eq!(layers[1..4], [("first", "dense"), ("shift", "add_constant"), ("act", "relu")]);
    assert_eq!(network.logits().name, "offset");
}

#[test]
fn shapes_are_those_of_one_sample() {
    let network = case("shapes");
    let shapes: Vec<&[usize]> = network.layers().map(|layer| layer.output.shape.as_slice()).collect();
    assert_eq!(shapes, [&[24][..], &[4, 6], &[4, 5], &[4, 5], &[4, 5], &[4, 5], &[20]]);
    assert_eq!(network.name(), "shapes");
    assert_eq!(network.macs(), 4 * 6 * 5);
}

#[test]
fn fused_activations_change_no_value_of_the_output() {
    for (name, relus) in [("gemm_opset13", 2), ("matmul_opset13", 1), ("residual", 0)] {
        let plain = case(name);
        let fused = network::fuse_activations(&plain).unwrap();
        assert_eq!(fused.layers().count() + relus, plain.layers().count(), "{name}");
        let x = array(&folder().join(format!("{name}.npz")), "x");
        let (plain, fused) = (float::run(&plain, x.view()).unwrap(), float::run(&fused, x.view()).unwrap());
        assert_eq!(plain.output(), fused.output(), "{name}");
    }
}
