//! Does the float reference compute what onnxruntime computes, for every operator and form that the importer takes?
//!
//! The cases are made by `scripts/make_onnx_goldens.py`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ndarray::{Array2, Ix2};
use proptest::prelude::*;
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
    assert_eq!(shapes, [&[24][..], &[4, 6], &[4, 5], &[4, 5], &[4, 5], &[20]]);
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

/// Models that are not part of the project are taken from the folder that `SYSTOLE_EXTRA` names.
#[test]
fn networks_of_others_are_taken_whole() {
    let Some(extra) = std::env::var_os("SYSTOLE_EXTRA").map(|folder| PathBuf::from(folder).join("models")).filter(|folder| folder.is_dir())
    else {
        println!("skipped: SYSTOLE_EXTRA names no folder with models");
        return;
    };
    let autoencoder = network::import(&extra.join("autoencoder_ad01_f32.onnx")).unwrap();
    assert_eq!(autoencoder.layers().filter(|layer| layer.macs() > 0).count(), 10);
    assert_eq!(autoencoder.output().output.shape, [640]);
    // By hand from the network's layers: 9 convolutions of 3 x 3 and 1 x 1, and a dense layer of 64 x 10.
    let resnet = network::import(&extra.join("resnet8_cifar10_f32.onnx")).unwrap();
    assert_eq!(resnet.layers().filter(|layer| layer.macs() > 0).count(), 10);
    assert_eq!(resnet.macs(), 12_501_632);
    assert_eq!(resnet.output().output.shape, [10]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn what_is_imported_from_changed_bytes_runs(
        name in prop::sample::select(vec!["gemm_opset13", "matmul_opset9", "residual", "shapes", "old_softmax"]),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let mut bytes = std::fs::read(folder().join(format!("{name}.onnx"))).unwrap();
        for (index, byte) in changes {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        if let Ok(network) = network::import_bytes(&bytes, name) {
            let elements = network.input().output.elements();
            if elements < 1 << 16 {
                let trace = float::run(&network, Array2::zeros((2, elements)).view()).unwrap();
                prop_assert_eq!(trace.output().dim(), (2, network.output().output.elements()));
            }
        }
    }
}
