//! Does the float reference compute what onnxruntime computes, for every operator and form that the importer takes?
//!
//! The cases are made by `scripts/make_onnx_goldens.py` and `scripts/make_network_goldens.py`.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ndarray::{Array2, Ix2};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::LazyLock;
use systole::data::{Values, read_array};
use systole::network::{self, Conv, Dense, Network, Op, Weight};
use systole::numerics::Dtype;
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
            // The same bytes, whoever computes them.
            let x = array(&path.with_extension("npz"), "x");
            let alone = rayon::ThreadPoolBuilder::new().num_threads(1).build().unwrap();
            let (one, many) = (alone.install(|| float::run(&network, x.view()).unwrap()), float::run(&network, x.view()).unwrap());
            assert!(one.output().iter().zip(many.output()).all(|(a, b)| a.to_bits() == b.to_bits()), "{}", path.display());
            // What is fused is computed alike.
            compare(&network::fuse_activations(&network).unwrap(), &path.with_extension("npz"));
            cases += 1;
        }
    }
    cases
}

/// How many layers of each kind a golden network has, and of how many the value is quantized.
fn kinds(name: &str) -> BTreeMap<&'static str, (usize, usize)> {
    let network = network::import(&folder().with_file_name("networks").join(format!("{name}.onnx"))).unwrap();
    let mut kinds = BTreeMap::new();
    for layer in network.layers() {
        let (all, quantized) = kinds.entry(layer.op.name()).or_insert((0, 0));
        *all += 1;
        *quantized += usize::from(layer.output.quantization.is_some());
    }
    kinds
}

#[test]
fn what_is_written_as_many_nodes_becomes_one_layer() {
    // Two layer normalisations, and a GELU of each form: nothing of their parts is left.
    let attention = kinds("torch_attention");
    assert_eq!((attention["layer_norm"].0, attention["gelu"].0, attention["dense"].0, attention["matmul"].0), (2, 2, 4, 2));
    assert!(["erf", "tanh", "pow", "sqrt", "sub", "div", "mean", "add_constant"].iter().all(|part| !attention.contains_key(part)));
    // One HardSwish of the file's, two that are written out.
    let mobile = kinds("mobile");
    assert_eq!((mobile["hard_swish"].0, mobile["depthwise_conv"].0), (3, 1));
    // Normalisations go into the convolutions; the one behind a pooling stays.
    let cnn = kinds("cnn");
    assert_eq!((cnn["conv"].0, cnn["mul_constant"].0, cnn["add_constant"].0), (2, 1, 1));
    // Of six transpositions the first and the last stay, and no border.
    let nhwc = kinds("nhwc");
    assert_eq!((nhwc["transpose"].0, nhwc["conv"].0), (2, 2));
    assert!(!nhwc.contains_key("pad"));
}

#[test]
fn quantized_networks_arrive_as_integers_on_their_grids() {
    for (name, real) in [
        ("qdq", &["conv", "dense"][..]),
        ("qlinear", &["add"]),
        ("brevitas", &["conv"]),
        ("narrow", &["dense"]),
        ("qonnx", &["conv", "dense"]),
    ] {
        let kinds = kinds(name);
        assert!(!kinds.contains_key("quantize"), "{name}: every rounding is some layer's");
        for (kind, (all, quantized)) in kinds {
            // Before a relu is fused its source has no grid; a last layer may yield reals.
            let reals = usize::from(real.contains(&kind));
            assert_eq!(all - quantized, if name == "narrow" && kind == "dense" { 1 } else { reals }, "{name}: {kind}");
        }
    }
    let format = |name: &str, layer: usize| {
        let network = network::import(&folder().with_file_name("networks").join(format!("{name}.onnx"))).unwrap();
        let op = network.layers().filter(|layer| layer.macs() > 0).nth(layer).unwrap().op.clone();
        match op {
            Op::Dense(Dense { weight: Weight::Integer { dtype, .. }, .. })
            | Op::Conv(Conv { weight: Weight::Integer { dtype, .. }, .. }) => dtype,
            op => panic!("{name}: {} has no integers", op.name()),
        }
    };
    assert_eq!(
        [format("qdq", 0), format("brevitas", 0), format("brevitas", 1), format("narrow", 1)],
        [Dtype::Int8, Dtype::Int4, Dtype::Int2, Dtype::Int4]
    );
    assert_eq!([format("qonnx", 0), format("qonnx", 1), format("qonnx", 2)], [Dtype::Int4, Dtype::Binary, Dtype::Int2]);
}

#[test]
fn every_case_agrees_with_onnxruntime() {
    assert_eq!(compare_folder(&folder()), 13, "a case is missing: run scripts/make_onnx_goldens.py");
    assert_eq!(compare_folder(&folder().with_file_name("networks")), 19, "a case is missing: run scripts/make_network_goldens.py");
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

static MODELS: LazyLock<Vec<PathBuf>> = LazyLock::new(|| {
    let folders = [folder(), folder().with_file_name("networks")];
    let entries = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let mut models: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|extension| extension == "onnx")).collect();
    models.sort();
    models
});

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn what_is_imported_from_changed_bytes_runs(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
    ) {
        let path = which.get(&MODELS);
        let mut bytes = std::fs::read(path).unwrap();
        for (index, byte) in changes {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        if let Ok(network) = network::import_bytes(&bytes, "changed") {
            let elements: usize = network.layers().map(|layer| layer.output.elements()).sum();
            if elements < 1 << 20 && network.macs() < 1 << 24 {
                let inputs = Array2::zeros((2, network.input().output.elements()));
                let trace = float::run(&network, inputs.view()).unwrap();
                prop_assert_eq!(trace.output().dim(), (2, network.output().output.elements()));
                let fused = network::fuse_activations(&network).unwrap();
                let again = float::run(&fused, inputs.view()).unwrap();
                prop_assert!(again.output().iter().zip(trace.output()).all(|(a, b)| a.to_bits() == b.to_bits()));
            }
        }
    }
}
