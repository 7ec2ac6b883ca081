//! How far are whole quantized networks, run by the integer reference, from onnxruntime, tensor by tensor?
//!
//! Networks and integers are made by `scripts/make_quantized_goldens.py`: those in `tests/golden/quantized`, and more in the folder that
//! `SYSTOLE_QUANTIZED` names. For each tensor the greatest difference in steps and the share that differs are printed, once for the operator by itself,
//! from onnxruntime's own inputs, and once for the whole network, where each layer reads what the one before yielded.

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and prints what it measures")]

mod arrays;

use arrays::Array;
use ndarray::Array2;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use systole::compress::{Ranges, Scheme, quantize};
use systole::network::{self, LayerId, Network, Op};
use systole::numerics::{AccumulateRule, Arithmetic, Overflow, Requantizer};
use systole::reference::integer;

const RULE: AccumulateRule = AccumulateRule { bits: 32, overflow: Overflow::Wrap, chunk: 16 };
const FLOAT: Arithmetic = Arithmetic { accumulate: RULE, requantize: Requantizer::Float };

fn rows(array: &Array) -> Array2<i32> {
    let samples = array.shape[0];
    Array2::from_shape_vec((samples, array.numbers.len() / samples), array.integers()).unwrap()
}

/// How far apart two tensors are.
#[derive(Debug, Clone, Copy, Default)]
struct Apart {
    most: u32,
    differ: usize,
    of: usize,
}

impl Apart {
    fn new(found: &Array2<i32>, wanted: &Array2<i32>) -> Self {
        assert_eq!(found.dim(), wanted.dim());
        let steps = || found.iter().zip(wanted).map(|(found, wanted)| found.abs_diff(*wanted));
        Self { most: steps().max().unwrap_or(0), differ: steps().filter(|step| *step > 0).count(), of: wanted.len() }
    }

    fn add(&mut self, other: Self) {
        *self = Self { most: self.most.max(other.most), differ: self.differ + other.differ, of: self.of + other.of };
    }
}

impl std::fmt::Display for Apart {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} of {} differ ({:.4}%), by {} at most", self.differ, self.of, 100.0 * self.differ as f64 / self.of as f64, self.most)
    }
}

/// Every tensor of a network: operators by themselves by kind, and the whole.
fn compare(path: &Path) -> (BTreeMap<&'static str, Apart>, Apart) {
    let name = path.file_stem().unwrap().to_str().unwrap().to_string();
    let golden = arrays::read(&path.with_extension("npz"));
    let float = network::fuse_activations(&network::import(path).unwrap()).unwrap();
    // Nothing is to be calibrated: what has no quantization, between a sum and its relu, gets the relu's.
    let network = quantize(&float, &Ranges::default(), "w8a8".parse::<Scheme>().unwrap()).unwrap_or_else(|error| panic!("{name}: {error}"));
    let samples = &golden["x"];
    let inputs = Array2::from_shape_vec((samples.shape[0], samples.numbers.len() / samples.shape[0]), samples.reals()).unwrap();
    let inputs = integer::quantize_inputs(&network, inputs.view()).unwrap();
    let trace = integer::run(&network, |_| FLOAT, inputs.clone()).unwrap();
    let known = |network: &Network, id: LayerId| golden.get(&network.layer(id).name).map(rows);
    let mut values: BTreeMap<LayerId, Array2<i32>> = BTreeMap::from([(network.input().id, inputs)]);
    let (mut by_kind, mut whole) = (BTreeMap::<&str, Apart>::new(), Apart::default());
    for layer in network.layers().filter(|layer| layer.op != Op::Input) {
        let Some(of_network) = trace.layer(layer.id) else { continue };
        let sources: Vec<&Array2<i32>> = network.inputs(layer.id).iter().map(|id| &values[id]).collect();
        let alone = integer::run_layer(&network, layer.id, &FLOAT, &sources).unwrap();
        let wanted = known(&network, layer.id);
        if let Some(wanted) = &wanted {
            let (operator, in_network) = (Apart::new(&alone, wanted), Apart::new(of_network, wanted));
            println!("{name} {} ({}): by itself {operator}; in the network {in_network}", layer.name, layer.op.name());
            by_kind.entry(layer.op.name()).or_default().add(operator);
            whole.add(in_network);
        }
        // What onnxruntime holds no integers of is what its inputs make.
        values.insert(layer.id, wanted.unwrap_or(alone));
    }
    for (kind, apart) in &by_kind {
        println!("{name}: {kind} by itself: {apart}");
    }
    println!("{name}: the whole network: {whole}");
    (by_kind, whole)
}

fn networks(folder: &Path) -> Vec<PathBuf> {
    let mut all: Vec<PathBuf> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    all.retain(|path| path.extension().is_some_and(|extension| extension == "onnx"));
    all.sort();
    all
}

#[test]
fn a_quantized_network_is_onnxruntimes() {
    let found = networks(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/quantized"));
    assert_eq!(found.len(), 4, "a network is missing: run scripts/make_quantized_goldens.py");
    for path in found {
        let (mut by_kind, whole) = compare(&path);
        assert!(by_kind["conv"].of > 0 && by_kind["dense"].of > 0);
        if path.file_stem().unwrap().to_str().unwrap().starts_with("operators") {
            // What onnxruntime computes in floats, and here in integers; what reads them may be a step off too.
            let [mean, softmax] = ["average_pool", "softmax"].map(|kind| by_kind.remove(kind).unwrap());
            assert!(mean.most <= 1 && mean.differ * 1000 <= mean.of, "{mean}");
            assert!(softmax.most <= 1 && softmax.differ * 5 <= softmax.of, "{softmax}");
            assert!(["leaky_relu", "sigmoid", "concat", "add", "mean"].iter().all(|kind| by_kind[kind].of > 0));
            assert!(whole.most <= 1 && whole.differ * 100 <= whole.of, "{whole}");
        } else {
            assert_eq!(whole.differ, 0, "{whole}");
        }
        assert!(by_kind.values().all(|apart| apart.differ == 0), "{by_kind:?}");
    }
}

#[test]
fn networks_elsewhere_are_within_a_step_a_tensor() {
    let Some(folder) = std::env::var_os("SYSTOLE_QUANTIZED").map(PathBuf::from).filter(|folder| folder.is_dir()) else {
        println!("skipped: SYSTOLE_QUANTIZED names no folder");
        return;
    };
    for path in networks(&folder) {
        let (by_kind, whole) = compare(&path);
        assert!(by_kind.values().all(|apart| apart.most <= 1) && whole.most <= 1, "{by_kind:?}, {whole}");
    }
}
