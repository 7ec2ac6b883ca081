//! Does the float reference compute what onnxruntime computes, for every operator and form that the importer takes?
//!
//! The cases are made by `scripts/make_onnx_goldens.py` and `scripts/make_network_goldens.py`.

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

/// Runs a network on the inputs of a file and compares its outputs with the file's.
fn compare(network: &Network, data: &Path) {
    let (x, wanted) = (array(data, "x"), array(data, "y"));
    let trace = float::run(network, x.view()).unwrap();
    let found = trace.output();
    assert_eq!(found.dim(), wanted.dim(), "{}", data.display());
    let greatest = wanted.iter().fold(0.0_f32, |greatest, y| greatest.max(y.abs()));
    assert!(greatest > 0.0, "{}: outputs that are all zero tell nothing", data.display());
    for (found, wanted) in found.iter().zip(&wanted) {
        assert!((found - wanted).abs() <= 1e-4 * greatest, "{}: {found} where onnxruntime has {wanted}", data.display());
    }
}

fn compare_folder(folder: &Path) -> usize {
    let mut cases = 0;
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|extension| extension == "onnx") {
            let network = network::import(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
            compare(&network, &path.with_extension("npz"));
            // What is fused is computed alike.
            compare(&network::fuse_activations(&network).unwrap(), &path.with_extension("npz"));
            cases += 1;
        }
    }
    cases
}

#[test]
fn every_case_agrees_with_onnxruntime() {
    assert_eq!(compare_folder(&folder()), 13, "a case is missing: run scripts/make_onnx_goldens.py");
    assert_eq!(compare_folder(&folder().with_file_name("networks")), 17, "a case is missing: run scripts/make_network_goldens.py");
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
fn networks_of_others_agree_with_onnxruntime() {
    let Some(extra) = std::env::var_os("SYSTOLE_EXTRA").map(|folder| PathBuf::from(folder).join("models")).filter(|folder| folder.is_dir())
    else {
        println!("skipped: SYSTOLE_EXTRA names no folder with models");
        return;
    };
    for (name, macs) in
        [("mnist-8", 786_560), ("resnet8_cifar10_f32", 12_501_632), ("dscnn_kws_f32", 2_656_768), ("autoencoder_ad01_f32", 264_192)]
    {
        let network = network::import(&extra.join(format!("{name}.onnx"))).unwrap();
        assert_eq!(network.macs(), macs, "{name}");
        compare(&network, &folder().with_file_name("extra").join(format!("{name}.npz")));
    }
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
