//! Does a network that was written to an ONNX file come back as it was: the same reals, the same integers, the same outputs of the chip?

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod drawing;
mod onchip;

use ndarray::{Array1, Array2};
use onchip::OnChip;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use systole::chip;
use systole::compress::{CompressError, Ranges, Scheme, calibrate, quantize};
use systole::mapping::{Choice, WeightStart};
use systole::network::{self, Bias, Border, Conv, Dense, Element, Layer, LayerId, Network, NetworkBuilder, Op, Weight, fuse_activations};
use systole::numerics::{AccumulateRule, Arithmetic, Dtype, Overflow, Quantization, Requantizer};
use systole::reference::{float, integer};
use systole::sim::{Engine, Machine};

const ARITHMETIC: Arithmetic =
    Arithmetic { accumulate: AccumulateRule { bits: 32, overflow: Overflow::Saturate, chunk: 16 }, requantize: Requantizer::Float };

/// The network, written and read again.
fn again(network: &Network) -> Network {
    let bytes = network::export(network).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(bytes, network::export(network).unwrap(), "the same network gives the same bytes");
    network::import_bytes(&bytes, network.name()).unwrap_or_else(|error| panic!("{error}"))
}

/// What was read, ready to run: nothing is to be calibrated.
fn ready(network: &Network) -> Network {
    quantize(&fuse_activations(network).unwrap(), &Ranges::default(), Scheme::EIGHT_BITS).unwrap_or_else(|error| panic!("{error}"))
}

fn samples(network: &Network, seed: u64, count: usize) -> Array2<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let is_index = network.input().output.element == Element::Index;
    Array2::from_shape_simple_fn((count, network.input().output.elements()), || {
        if is_index { f32::from(rng.random_range(0..4_u8)) } else { rng.random_range(-1.0..1.0) }
    })
}

/// The network at eight bits. None of a drawn one whose reals are no numbers any more on some sample, so that there is nothing to quantize: rare, but there are such.
fn quantized(float: &Network, seed: u64) -> Option<Network> {
    let fused = fuse_activations(float).unwrap();
    match calibrate(&fused, samples(float, seed, 4).view()) {
        Ok(ranges) => Some(quantize(&fused, &ranges, Scheme::EIGHT_BITS).unwrap()),
        Err(CompressError::NotFinite { .. }) => None,
        Err(error) => panic!("{error}"),
    }
}

/// The logits by the integer reference; none of a network that has no integer form, as no chip would run it.
fn integers(network: &Network, inputs: &Array2<f32>) -> Option<Array2<i32>> {
    let inputs = integer::quantize_inputs(network, inputs.view()).unwrap();
    let trace = integer::run(network, |_| ARITHMETIC, inputs).ok()?;
    trace.layer(network.logits().id).cloned()
}

fn reals_agree(first: &Network, second: &Network, inputs: &Array2<f32>) -> Result<(), TestCaseError> {
    let [first, second] = [first, second].map(|network| float::run(network, inputs.view()).unwrap().output().clone());
    let greatest = first.iter().fold(1e-3_f32, |greatest, x| greatest.max(x.abs()));
    prop_assert!(first.iter().zip(&second).all(|(a, b)| (a - b).abs() <= 1e-4 * greatest || a.to_bits() == b.to_bits()));
    Ok(())
}

/// The network with integers of other formats, drawn at random, and grids of another format.
fn in_formats(network: &Network, weights: Dtype, values: Dtype, seed: u64) -> Network {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let grid = |grid: Quantization| {
        let shift = 8 - i32::try_from(values.bits()).unwrap();
        let zero_point = if shift > 0 { grid.zero_point >> shift } else { grid.zero_point << -shift };
        let zero_point = if values == Dtype::Binary { 0 } else { zero_point };
        Quantization { dtype: values, scale: grid.scale * libm::exp2f(shift as f32), zero_point }
    };
    let mut builder = NetworkBuilder::new(network.name());
    let mut renamed: BTreeMap<LayerId, LayerId> = BTreeMap::new();
    for layer in network.layers() {
        let inputs: Vec<LayerId> = network.inputs(layer.id).iter().map(|id| renamed[id]).collect();
        let mut op = layer.op.clone();
        match &mut op {
            Op::Dense(Dense { weight, bias, .. }) => redrawn(weight, bias, 1, weights, &mut rng),
            Op::Conv(Conv { weight, bias, .. }) => redrawn(weight, bias, 0, weights, &mut rng),
            _ => {}
        }
        let id = match op {
            Op::Input => builder.input(layer.name.clone(), layer.output.shape.clone()).unwrap(),
            op => builder.layer(layer.name.clone(), op, &inputs).unwrap(),
        };
        if let Some(held) = layer.output.quantization {
            builder.quantize(id, grid(held));
        }
        renamed.insert(layer.id, id);
    }
    builder.finish(renamed[&network.output().id]).unwrap()
}

fn redrawn<D: ndarray::RemoveAxis>(weight: &mut Weight<D>, bias: &mut Option<Bias>, axis: usize, dtype: Dtype, rng: &mut ChaCha8Rng) {
    let Weight::Integer { values, scales, .. } = weight else { panic!("a quantized network") };
    let mut draw = || i16::try_from(rng.random_range(dtype.min()..=dtype.max())).unwrap();
    let values = values.mapv(|_| if dtype == Dtype::Binary { draw() | 1 } else { draw() });
    let channels = values.shape()[axis];
    let count = |rng: &mut ChaCha8Rng| if rng.random_bool(0.5) { 1 } else { channels };
    let drawn = (0..count(rng)).map(|_| scales[0] * rng.random_range(0.5..2.0)).collect();
    let zero_points = if dtype == Dtype::Binary || rng.random_bool(0.5) {
        Vec::new()
    } else {
        // A last one that is not zero, so that they are no list of zeros, which is the same as none.
        let last = dtype.max();
        (1..count(rng)).map(|_| rng.random_range(dtype.min()..=dtype.max())).chain([last]).collect()
    };
    *weight = Weight::Integer { values, dtype, scales: drawn, zero_points };
    *bias = rng.random_bool(0.7).then(|| Bias::Integer(Array1::from_shape_simple_fn(channels, || rng.random_range(-100_000..100_000))));
}

#[test]
fn every_golden_network_comes_back() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut held = 0;
    let folders = ["networks", "onnx", "integers"].map(|name| folder.join(name));
    let entries = folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path());
    let files: Vec<PathBuf> = entries.filter(|path| path.extension().is_some_and(|extension| extension == "onnx")).collect();
    assert!(files.len() >= 30, "{} golden networks", files.len());
    for path in files {
        let network = network::import(&path).unwrap();
        let inputs = samples(&network, 3, 2);
        let read = again(&network);
        reals_agree(&network, &read, &inputs).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        let integers_agree = |network: &Network, what: &str| {
            let Some(wanted) = integers(network, &inputs) else { return 0 };
            assert_eq!(integers(&ready(&again(network)), &inputs), Some(wanted), "{} {what}", path.display());
            1
        };
        held += integers_agree(&quantized(&network, 5).unwrap(), "quantized");
    }
    assert!(held >= 20, "{held} of them have an integer form");
}

#[test]
fn names_and_layers_stay() {
    for path in ["models/lenet-mnist.onnx", "models/simplenet-mnist.onnx"] {
        let network = fuse_activations(&network::import(Path::new(path)).unwrap()).unwrap();
        let described = |network: &Network| {
            network.layers().map(|layer| (layer.name.clone(), layer.op.clone(), layer.output.clone())).collect::<Vec<_>>()
        };
        // Of a float network all is as it was, bit for bit, and so it is of one in integers.
        assert_eq!(described(&fuse_activations(&again(&network)).unwrap()), described(&network), "{path}");
        let held = quantized(&network, 1).unwrap();
        assert_eq!(described(&ready(&again(&held))), described(&held), "{path}");
    }
}

fn check(seed: u64, layers: usize, weights: Dtype, values: Dtype) -> Result<(), TestCaseError> {
    let drawn = drawing::network(seed, layers);
    let inputs = samples(&drawn, seed, 3);
    reals_agree(&drawn, &again(&drawn), &inputs)?;
    let Some(held) = quantized(&drawn, seed) else { return Ok(()) };
    if let Some(wanted) = integers(&held, &inputs) {
        prop_assert_eq!(integers(&ready(&again(&held)), &inputs), Some(wanted), "w8a8");
    }
    let other = in_formats(&held, weights, values, seed);
    if let Some(wanted) = integers(&other, &inputs) {
        prop_assert_eq!(integers(&ready(&again(&other)), &inputs), Some(wanted), "weights {}, values {}", weights, values);
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_networks_come_back_with_the_same_integers(
        seed in any::<u32>(), layers in 1..=8_usize,
        weights in prop::sample::select(&Dtype::ALL[..]), values in prop::sample::select(&Dtype::ALL[..]),
    ) {
        check(u64::from(seed), layers, weights, values)?;
    }

    #[test]
    fn what_comes_back_gives_the_same_outputs_on_the_chip(seed in any::<u32>(), layers in 1..=5_usize) {
        let seed = u64::from(seed);
        let chip = chip::load("edge-16x16", &[]).unwrap();
        let Some(held) = quantized(&drawing::network(seed, layers), seed) else { return Ok(()) };
        let read = ready(&again(&held));
        let inputs = samples(&held, seed, 1);
        let run = |network: &Network| {
            let on_chip = OnChip::new(network, &chip, 1, WeightStart::Cold, || Choice::first(&chip)).ok()?;
            let machine = Machine::new(&chip, &chip.formats()[0], &on_chip.program).unwrap();
            let trace = on_chip.expected(network, &chip, &inputs);
            let hosted = on_chip.hosted(&trace);
            let run = machine.run(&hosted.iter().map(Vec::as_slice).collect::<Vec<_>>(), Engine::Wavefront).unwrap();
            Some(on_chip.logits(&run.output))
        };
        if let Some(wanted) = run(&held) {
            prop_assert_eq!(run(&read), Some(wanted));
        }
    }
}

fn integer_dense(weight: Weight, bias: Option<Bias>) -> Op {
    Op::Dense(Dense { weight, bias, activation: network::Activation::None })
}

/// A network of one layer on grids of this format.
fn alone(op: Op, inputs: usize, grid: Quantization) -> Network {
    let mut builder = NetworkBuilder::new("alone");
    let x = builder.input("x", vec![inputs]).unwrap();
    builder.quantize(x, grid);
    let y = builder.layer("y", op, &[x]).unwrap();
    builder.quantize(y, grid);
    builder.finish(y).unwrap()
}

fn layer<'n>(network: &'n Network, name: &str) -> &'n Layer {
    network.layers().find(|layer| layer.name == name).unwrap()
}

#[test]
fn every_format_of_weights_and_values_comes_back_as_it_was() {
    for (dtype, zero_points) in Dtype::ALL.into_iter().flat_map(|dtype| [(dtype, vec![]), (dtype, vec![dtype.max(), dtype.min(), 0])]) {
        let zero_points = if dtype == Dtype::Binary { Vec::new() } else { zero_points };
        let values = ndarray::array![[dtype.min(), dtype.max(), dtype.max()], [dtype.max(), dtype.min(), dtype.min()]]
            .mapv(|value| i16::try_from(value).unwrap());
        let weight = Weight::Integer { values, dtype, scales: vec![0.5, 0.25, 3.0], zero_points };
        let bias = Some(Bias::Integer(ndarray::array![i64::from(i32::MIN), 7, i64::from(i32::MAX)]));
        let zero_point = if dtype == Dtype::Binary { 0 } else { dtype.min() };
        let network = alone(integer_dense(weight, bias), 2, Quantization { dtype, scale: 0.3, zero_point });
        let read = again(&network);
        for name in ["x", "y"] {
            assert_eq!((&layer(&read, name).op, &layer(&read, name).output), (&layer(&network, name).op, &layer(&network, name).output));
        }
    }
}

#[test]
fn a_border_of_ones_comes_back() {
    for border in [Border::Minus, Border::Plus] {
        let held = Quantization { dtype: Dtype::Binary, scale: 0.5, zero_point: 0 };
        let values = ndarray::Array4::from_shape_fn((2, 1, 3, 3), |(m, _, r, s)| if (m + r * s) % 2 == 0 { 1 } else { -1 });
        let weight = Weight::Integer { values, dtype: Dtype::Binary, scales: vec![0.25, 2.0], zero_points: Vec::new() };
        let (stride, dilation, padding, activation) = ([1, 1], [1, 1], [1, 0, 2, 1], network::Activation::None);
        let conv = Conv { weight, bias: None, stride, dilation, padding, border, groups: 1, activation };
        let mut builder = NetworkBuilder::new("bordered");
        let x = builder.input("x", vec![1, 4, 4]).unwrap();
        builder.quantize(x, held);
        let y = builder.layer("y", Op::Conv(conv), &[x]).unwrap();
        builder.quantize(y, Quantization { dtype: Dtype::Int8, scale: 0.125, zero_point: 3 });
        let network = builder.finish(y).unwrap();
        let read = again(&network);
        assert_eq!((&layer(&read, "y").op, &layer(&read, "y").output), (&layer(&network, "y").op, &layer(&network, "y").output));
    }
}

#[test]
fn what_a_file_cannot_say_is_refused_by_name() {
    let grid = Quantization { dtype: Dtype::Int8, scale: 0.5, zero_point: 0 };
    let weight = |value: i16, scale: f32, zero_points: Vec<i32>| Weight::Integer {
        values: Array2::from_elem((2, 1), value),
        dtype: Dtype::Int4,
        scales: vec![scale],
        zero_points,
    };
    let bias = |steps: i64| Some(Bias::Integer(ndarray::array![steps]));
    let binary = Weight::Integer { values: Array2::from_elem((2, 1), 1), dtype: Dtype::Binary, scales: vec![1.0], zero_points: vec![1] };
    let border = Op::Pad(network::Pad { before: vec![1], after: vec![0], value: f32::INFINITY });
    for (network, part) in [
        (alone(integer_dense(weight(8, 1.0, vec![]), None), 2, grid), "has the integer 8 in \"y/weight/integers\", and int4 holds -8 to 7"),
        (alone(integer_dense(weight(1, 1.0, vec![9]), None), 2, grid), "has the integer 9"),
        (alone(integer_dense(weight(1, 1.0, vec![]), bias(1 << 31)), 2, grid), "has the integer 2147483648"),
        (alone(integer_dense(weight(1, 1e-38, vec![]), bias(1)), 2, grid), "no scale"),
        (alone(integer_dense(Weight::Float(Array2::zeros((2, 1))), bias(1)), 2, grid), "a bias in integers"),
        (alone(integer_dense(binary, None), 2, grid), "zero point"),
        (alone(integer_dense(weight(1, 1.0, vec![]), None), 2, Quantization { zero_point: 200, ..grid }), "has the integer 200"),
        (
            alone(integer_dense(weight(1, 1.0, vec![]), None), 2, Quantization { dtype: Dtype::Binary, zero_point: 1, ..grid }),
            "a binary value with a zero point",
        ),
        (alone(border, 2, grid), "border of inf"),
    ] {
        let error = network::export(&network).unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("cannot be written") && error.contains("\n  help: "), "{part}: {error}");
    }
}

#[test]
fn constants_among_data_and_operands_of_other_ranks_come_back() {
    let random = |shape: &[usize]| {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        Weight::Float(ndarray::Array::from_shape_simple_fn(ndarray::IxDyn(shape), || rng.random_range(-1.0..1.0)))
    };
    // A class token joined to a sequence, a product from the left, and operands whose ranks differ.
    let mut builder = NetworkBuilder::new("token");
    let x = builder.input("x", vec![3, 4]).unwrap();
    let token = builder.layer("token", Op::Constant(random(&[1, 4])), &[]).unwrap();
    let joined = builder.layer("joined", Op::Concat { axis: 0 }, &[token, x]).unwrap();
    let left = builder.layer("left", Op::Constant(random(&[2, 4])), &[]).unwrap();
    let product = builder.layer("product", Op::MatMul, &[left, joined]).unwrap();
    let flat = builder.layer("flat", Op::Reshape(vec![8]), &[product]).unwrap();
    let row = builder.layer("row", Op::Slice(vec![network::Span { start: 7, count: 4, step: -2 }]), &[flat]).unwrap();
    let sum = builder.layer("sum", Op::Binary(network::BinaryOp::Add), &[row, product]).unwrap();
    let constant = network::BinaryConstant { op: network::BinaryOp::Sub, constant: random(&[5, 1, 4]), constant_first: true };
    let last = builder.layer("last", Op::BinaryConstant(constant), &[sum]).unwrap();
    let network = builder.finish(last).unwrap();
    let inputs = samples(&network, 1, 2);
    reals_agree(&network, &again(&network), &inputs).unwrap();
    let held = quantized(&network, 2).unwrap();
    let wanted = integers(&held, &inputs).unwrap();
    assert_eq!(integers(&ready(&again(&held)), &inputs), Some(wanted));
}
