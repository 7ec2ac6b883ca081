//! Do quantized networks hold what their float networks said, and do networks that come quantized run as they are?
//!
//! The networks are not part of the project: they are taken from the folder that `SYSTOLE_EXTRA` names. Those of TFLite are made by
//! `scripts/tflite_to_qdq.py`, one NAME.onnx for each `models/NAME.tflite`, in the folder that `SYSTOLE_QDQ` names.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and prints what it measures")]

mod arrays;

use arrays::Array;
use ndarray::{Array2, s};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use systole::compress::{Ranges, calibrate, quantize};
use systole::data::{self, Values};
use systole::network::{self, Layer, Network, Op};
use systole::numerics::{AccumulateRule, Arithmetic, Overflow, Requantizer, Rounding};
use systole::reference::{float, integer};

const RULE: AccumulateRule = AccumulateRule { bits: 32, overflow: Overflow::Saturate, chunk: 16 };
const FLOAT: Arithmetic = Arithmetic { accumulate: RULE, requantize: Requantizer::Float };
const FIXED: Arithmetic =
    Arithmetic { accumulate: RULE, requantize: Requantizer::FixedPoint { convolution: Rounding::Double, dense: Rounding::Single } };

fn folder(variable: &str) -> Option<PathBuf> {
    let found = std::env::var_os(variable).map(PathBuf::from).filter(|folder| folder.is_dir());
    if found.is_none() {
        println!("skipped: {variable} names no folder");
    }
    found
}

fn fused(path: &Path) -> Network {
    network::fuse_activations(&network::import(path).unwrap()).unwrap()
}

/// The network's logits by the integer reference, as reals.
fn integer_logits(quantized: &Network, samples: &Array2<f32>) -> Array2<f32> {
    let inputs = integer::quantize_inputs(quantized, samples.view()).unwrap();
    let trace = integer::run(quantized, |_| FLOAT, inputs).unwrap();
    let logits = quantized.logits();
    let held = logits.output.quantization.unwrap();
    trace.layer(logits.id).unwrap().mapv(|q| held.dequantize(q))
}

/// `10 log10(sum x^2 / sum (x - x')^2)`.
fn sqnr_db(exact: &Array2<f32>, found: &Array2<f32>) -> f64 {
    let square = |x: f32| f64::from(x) * f64::from(x);
    let (signal, noise) = exact.iter().zip(found).fold((0.0, 0.0), |(signal, noise), (x, y)| (signal + square(*x), noise + square(x - y)));
    10.0 * f64::log10(signal / noise)
}

#[test]
fn networks_of_the_field_keep_20_db_at_their_outputs() {
    let Some(models) = folder("SYSTOLE_EXTRA").map(|folder| folder.join("models")) else { return };
    // What the int8 files beside them take as their inputs' ranges.
    let cases = [("resnet8_cifar10_f32", 0.0, 255.0), ("dscnn_kws_f32", -123.0, 25.0), ("autoencoder_ad01_f32", -84.0, 14.0)];
    for (name, low, high) in cases {
        let network = fused(&models.join(format!("{name}.onnx")));
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let mut samples = |count| Array2::from_shape_fn((count, network.input().output.elements()), |_| rng.random_range(low..high));
        let (known, new): (Array2<f32>, Array2<f32>) = (samples(16), samples(8));
        let quantized =
            quantize(&network, &calibrate(&network, known.view()).unwrap(), "w8a8".parse::<systole::compress::Scheme>().unwrap()).unwrap();
        let exact = float::run(&network, new.view()).unwrap();
        let found = sqnr_db(exact.logits(), &integer_logits(&quantized, &new));
        println!("{name}: {found:.2} dB");
        assert!(found >= 20.0, "{name}: {found} dB");
    }
}

/// The share of samples whose greatest logit is the label's.
fn accuracy(logits: &Array2<f32>, labels: &[u32]) -> f64 {
    let greatest = |row: ndarray::ArrayView1<f32>| row.iter().enumerate().max_by(|a, b| a.1.total_cmp(b.1)).unwrap().0;
    let right = logits.rows().into_iter().zip(labels).filter(|(row, label)| greatest(row.view()) == **label as usize).count();
    right as f64 / labels.len() as f64
}

#[test]
fn the_model_zoos_mnist_network_keeps_its_accuracy_in_integers() {
    let Some(models) = folder("SYSTOLE_EXTRA").map(|folder| folder.join("models")) else { return };
    let network = fused(&models.join("mnist-8.onnx"));
    let mnist = Path::new(env!("CARGO_MANIFEST_DIR")).join("data/mnist");
    let read = |set: &str| {
        let of = |what: &str| mnist.join(format!("{set}-{what}-ubyte.gz"));
        let dataset = data::load(&of("images-idx3"), &of("labels-idx1")).unwrap();
        let Values::U8(images) = dataset.samples() else { panic!("images are bytes") };
        let images = images.mapv(f32::from).into_shape_with_order((dataset.len(), 784)).unwrap();
        (images, dataset.labels().to_vec())
    };
    let ((train, _), (images, labels)) = (read("train"), read("t10k"));
    let ranges = calibrate(&network, train.slice(s![..128, ..])).unwrap();
    let quantized = quantize(&network, &ranges, "w8a8".parse::<systole::compress::Scheme>().unwrap()).unwrap();
    let found = accuracy(&integer_logits(&quantized, &images), &labels);
    println!("mnist-8: {found}");
    assert!((found - 0.9891).abs() <= 0.003, "{found}");
}

/// What TFLite's kernels yielded for tensor `index`: samples x elements, channels first.
fn tensor(golden: &BTreeMap<String, Array>, index: &str, layer: &Layer) -> Array2<i32> {
    let samples = (0..4).flat_map(|sample| {
        let found = golden[&format!("s{sample}_t{index}")].integers();
        match layer.output.shape[..] {
            [c, h, w] => (0..c * h * w).map(|at| found[at % (h * w) * c + at / (h * w)]).collect(),
            _ => found,
        }
    });
    Array2::from_shape_vec((4, layer.output.elements()), samples.collect()).unwrap()
}

#[test]
fn every_layer_equals_tflites_reference_kernels_from_the_same_inputs() {
    let (Some(qdq), Some(extra)) = (folder("SYSTOLE_QDQ"), folder("SYSTOLE_EXTRA")) else { return };
    let cases = [("pretrainedResnet_quant", "resnet8", 10, 3), ("ad01_int8", "autoencoder", 10, 0)];
    for (name, file, products, sums) in cases {
        let golden = arrays::read(&extra.join(format!("models/golden/{file}_int8_intermediates.npz")));
        // Nothing is to be calibrated: what has no quantization, between a sum and its relu, gets the relu's.
        let network =
            quantize(&fused(&qdq.join(format!("{name}.onnx"))), &Ranges::default(), "w8a8".parse::<systole::compress::Scheme>().unwrap())
                .unwrap();
        let of = |layer: &Layer| {
            let index = layer.name.strip_prefix('t').and_then(|name| name.split('_').next()).unwrap_or("0").to_string();
            tensor(&golden, &index, layer)
        };
        let mut exact: BTreeMap<&str, usize> = BTreeMap::new();
        for layer in network.layers().filter(|layer| layer.op != Op::Input) {
            let sources: Vec<Array2<i32>> = network.inputs(layer.id).iter().map(|id| of(network.layer(*id))).collect();
            let found = integer::run_layer(&network, layer.id, &FIXED, &sources.iter().collect::<Vec<_>>()).unwrap();
            let steps = found.iter().zip(&of(layer)).map(|(found, wanted)| found.abs_diff(*wanted)).collect::<Vec<_>>();
            let (differ, most) = (steps.iter().filter(|step| **step > 0).count(), steps.iter().max().unwrap());
            println!("{name} {} ({}): {differ} of {} differ, by {most} at most", layer.name, layer.op.name(), steps.len());
            // TFLite's mean rounds the sum's quotient, and its exponential is a polynomial: one step apart at most.
            let allowed = u32::from(matches!(layer.op, Op::Softmax { .. } | Op::Pool(_)));
            assert!(*most <= allowed, "{name} {}: {differ} differ, by {most} at most", layer.name);
            *exact.entry(layer.op.name()).or_default() += 1;
        }
        let count = |name| exact.get(name).copied().unwrap_or(0);
        assert_eq!((count("conv") + count("dense"), count("add")), (products, sums), "{name}: {exact:?}");

        // The whole network, each layer from what the one before yielded.
        let trace = integer::run(&network, |_| FIXED, tensor(&golden, "0", network.input())).unwrap();
        let logits = network.logits();
        let most = trace.layer(logits.id).unwrap().iter().zip(&of(logits)).map(|(found, wanted)| found.abs_diff(*wanted)).max().unwrap();
        println!("{name}: logits differ by {most} at most");
        assert_eq!(most, 0, "{name}: all but the softmax is exact, so the logits are");
    }
}
