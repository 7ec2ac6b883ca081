//! Are ranges those that numpy and scipy find, does equalization leave the float network as it is, and do corrected biases take the mean error back?

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ndarray::{Array, Array1, Array2, ArrayD, Axis, Ix4};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::path::Path;
use systole::compress::{CompressError, Recipe, Surroundings, calibrate, calibrate_as, correct_biases, quantize};
use systole::data::{Values, read_array};
use systole::model::{self, Split};
use systole::network::{Activation, Bias, Border, Conv, Dense, Network, NetworkBuilder, Op, Pool, PoolKind, Weight, fuse_activations};
use systole::reference::float;

fn golden(name: &str) -> ArrayD<f32> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/calibration.npz");
    let Values::F32(values) = read_array(&path, name).unwrap() else { panic!("{name} is not float32") };
    values
}

fn recipe(text: &str) -> Recipe {
    text.parse().unwrap()
}

/// A network that yields what it reads, through a dense layer.
fn identity() -> Network {
    let mut builder = NetworkBuilder::new("identity");
    let x = builder.input("x", vec![1]).unwrap();
    let weight = Weight::Float(Array2::ones((1, 1)));
    let y = builder.layer("y", Op::Dense(Dense { weight, bias: None, activation: Activation::None }), &[x]).unwrap();
    builder.finish(y).unwrap()
}

#[test]
fn ranges_are_those_of_numpy_and_scipy() {
    let x = golden("x");
    let network = identity();
    for (column, values) in x.axis_iter(Axis(1)).enumerate() {
        let samples = Array2::from_shape_vec((values.len(), 1), values.iter().copied().collect()).unwrap();
        let range = |text: &str| calibrate_as(&network, samples.view(), &recipe(text)).unwrap().get(network.input().id).unwrap();
        let (min, max) = range("w8a8");
        assert_eq!((min, max), values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(a, b), x| (a.min(*x), b.max(*x))));
        // Between two numbers any is a percentile; ours is exact to a bin.
        let (low, high) = range("w8a8,percentile:99.9");
        let wanted = golden("percentile");
        let bin = (max - min) / 2048.0;
        for (found, place) in [(low, 0), (high, 1)] {
            let (below, above) = (wanted[[column, place]] - bin, wanted[[column, place + 2]] + bin);
            assert!((below..=above).contains(&found), "column {column}: {found} where numpy has {below} to {above}");
        }
        for (text, name) in [("w8a8,kl", "kl8"), ("w8a4,kl", "kl4")] {
            let (low, high) = range(text);
            let wanted = golden(name)[[column]];
            assert!((high - max.min(wanted)).abs() <= 1e-5 * wanted, "column {column}, {text}: {high} where scipy has {wanted}");
            assert!((low - min.max(-wanted)).abs() <= 1e-5 * wanted, "column {column}, {text}: {low} where scipy has {wanted}");
        }
        // What is left out of the range is clamped: no rounding of all of it has a smaller error on 4 bits.
        let error = |text: &str| {
            let ranges = calibrate_as(&network, samples.view(), &recipe(text)).unwrap();
            let held = quantize(&network, &ranges, &recipe(text)).unwrap();
            let trace = float::run(&held, samples.view()).unwrap();
            let rounded = trace.layer(held.input().id);
            rounded.iter().zip(&samples).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>()
        };
        let least = error("w8a4,mse");
        assert!(["w8a4", "w8a4,kl", "w8a4,percentile:99.9"].iter().all(|other| least <= 1.001 * error(other)), "column {column}");
        // More levels than bins: nothing to gain.
        assert_eq!(range("w16a16,kl"), (min, max));
    }
}

#[test]
fn calibration_data_is_checked() {
    let network = identity();
    let wrong = calibrate_as(&network, Array2::zeros((4, 3)).view(), &recipe("w8a8,kl")).unwrap_err().to_string();
    assert!(wrong.contains("takes 1 numbers a sample (shape [1]) and the data has 3"), "{wrong}");
    assert!(matches!(calibrate_as(&network, Array2::zeros((0, 1)).view(), &recipe("w8a8,mse")), Err(CompressError::NoSamples)));
    let nan = Array2::from_elem((2, 1), f32::NAN);
    assert!(matches!(calibrate_as(&network, nan.view(), &recipe("w8a8,mse")), Err(CompressError::NotFinite { .. })));
    // A value that is always the same has nothing to leave out.
    let same = Array2::from_elem((4, 1), 2.0);
    assert_eq!(calibrate_as(&network, same.view(), &recipe("w8a8,kl")).unwrap().get(network.input().id), Some((2.0, 2.0)));
    for (text, part) in [
        ("w8a8,percentile:0", "the percentile is 0"),
        ("w8a8,percentile:NaN", "the percentile is NaN"),
        ("w8a8,percentile:101", "the percentile is 101"),
        ("w8a8,kl@y", "are for all layers"),
        ("w8a8,bias@y", "are for all layers"),
        ("w8a8,percentile:x", "no step"),
    ] {
        let error = text.parse::<Recipe>().unwrap_err().to_string();
        assert!(error.contains(part) && error.contains("\n  help: "), "{text}: {error}");
    }
}

/// A convolutional network whose channels have ranges that lie far apart: a depthwise layer, pools, a flatten, two dense layers.
fn uneven() -> Network {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut draw = |dim: (usize, usize, usize, usize)| -> Weight<Ix4> {
        let spread: Vec<f32> = (0..dim.0).map(|_| 10.0_f32.powf(rng.random_range(-1.5..1.5))).collect();
        Weight::Float(Array::from_shape_fn(dim, |(m, ..)| spread[m] * rng.random_range(-1.0..1.0)))
    };
    let biases = |size| Some(Bias::Float(Array1::linspace(-0.5, 0.5, size)));
    let conv = |weight: Weight<Ix4>, groups, activation| {
        let bias = biases(weight.shape()[0]);
        Op::Conv(Conv { weight, bias, stride: [1, 1], dilation: [1, 1], padding: [1, 1, 1, 1], border: Border::Zero, groups, activation })
    };
    let mut builder = NetworkBuilder::new("uneven");
    let x = builder.input("x", vec![2, 8, 8]).unwrap();
    let c1 = builder.layer("c1", conv(draw((6, 2, 3, 3)), 1, Activation::Relu), &[x]).unwrap();
    let c2 = builder.layer("c2", conv(draw((12, 1, 3, 3)), 6, Activation::None), &[c1]).unwrap();
    let relu = builder.layer("relu", Op::RELU, &[c2]).unwrap();
    let pool = Pool { kind: PoolKind::Max, kernel: [2, 2], stride: [2, 2], dilation: [1, 1], padding: [0; 4] };
    let pool = builder.layer("pool", Op::Pool(pool), &[relu]).unwrap();
    let flat = builder.layer("flat", Op::Reshape(vec![192]), &[pool]).unwrap();
    let mut dense = |k, n| Weight::Float(draw((n, k, 1, 1)).to_reals().into_shape_with_order((n, k)).unwrap().reversed_axes());
    let (first, second) = (dense(192, 20), dense(20, 5));
    let f1 = builder.layer("f1", Op::Dense(Dense { weight: first, bias: biases(20), activation: Activation::Relu }), &[flat]).unwrap();
    let f2 = builder.layer("f2", Op::Dense(Dense { weight: second, bias: None, activation: Activation::None }), &[f1]).unwrap();
    builder.finish(f2).unwrap()
}

fn applied(network: &Network, text: &str, samples: &Array2<f32>) -> Result<Network, CompressError> {
    recipe(text).prune(network, Surroundings { samples: samples.view(), tile: [1, 1], outside: None }).map(|(network, _)| network)
}

fn inputs(network: &Network, count: usize) -> Array2<f32> {
    let mut rng = ChaCha8Rng::seed_from_u64(9);
    Array2::from_shape_simple_fn((count, network.input().output.elements()), || rng.random_range(-1.0..1.0))
}

fn greatest_by_channel(network: &Network, name: &str) -> Vec<f32> {
    let op = &network.layers().find(|layer| layer.name == name).unwrap().op;
    let greatest = |lane: ndarray::ArrayViewD<f32>| lane.iter().fold(0.0, |max: f32, w| max.max(w.abs()));
    match op {
        Op::Dense(dense) => dense.weight.to_reals().axis_iter(Axis(1)).map(|lane| greatest(lane.into_dyn())).collect(),
        Op::Conv(conv) => conv.weight.to_reals().axis_iter(Axis(0)).map(|lane| greatest(lane.into_dyn())).collect(),
        _ => panic!("{name} has no weights"),
    }
}

#[test]
fn equalized_layers_share_their_ranges_and_the_float_network_stays_what_it_is() {
    let network = uneven();
    let samples = inputs(&network, 20);
    let equal = applied(&network, "equalize+w8a8", &samples).unwrap();
    let [before, after] = [&network, &equal].map(|network| float::run(network, samples.view()).unwrap().output().clone());
    let scale = before.iter().fold(0.0_f32, |max, x| max.max(x.abs()));
    assert!(before.iter().zip(&after).all(|(a, b)| (a - b).abs() <= 1e-5 * scale), "{before} {after}");
    // Both layers of the last pair have the same range for each channel.
    let made = greatest_by_channel(&equal, "f1");
    let Op::Dense(last) = &equal.output().op else { panic!("a dense layer") };
    let read: Vec<f32> =
        last.weight.to_reals().rows().into_iter().map(|row| row.iter().fold(0.0, |max: f32, w| max.max(w.abs()))).collect();
    assert!(made.iter().zip(&read).all(|(made, read)| (made - read).abs() <= 1e-3 * read), "{made:?} {read:?}");
    // Ranges that lay a thousandfold apart are near each other, which one scale for all weights of a layer profits from.
    let spread = |network: &Network| {
        let ranges = greatest_by_channel(network, "c1");
        ranges.iter().fold(0.0_f32, |a, b| a.max(*b)) / ranges.iter().fold(f32::INFINITY, |a, b| a.min(*b))
    };
    assert!(spread(&equal) < spread(&network));
    let error = |network: &Network| {
        let held = quantize(network, &calibrate(network, samples.view()).unwrap(), &recipe("w8a8,tensor")).unwrap();
        float::run(&held, samples.view()).unwrap().output().iter().zip(&before).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>()
    };
    assert!(error(&equal) < 0.5 * error(&network), "{} {}", error(&equal), error(&network));
    // Only the named ones, and an error where there is no pair.
    let some = applied(&network, "equalize@f1", &samples).unwrap();
    assert_eq!(greatest_by_channel(&some, "c1"), greatest_by_channel(&network, "c1"));
    assert_ne!(greatest_by_channel(&some, "f1"), greatest_by_channel(&network, "f1"));
    let none = applied(&network, "equalize@f2", &samples).unwrap_err().to_string();
    assert!(none.contains("no pair of layers") && none.contains("\n  help: "), "{none}");
    // A shipped network, whose layers make two pairs.
    let model = model::load("simplenet-mnist").unwrap();
    let float = fuse_activations(model.network()).unwrap();
    let images = model.split(Split::Calibrate, Some(50)).unwrap().inputs;
    let equal = applied(&float, "equalize", &images).unwrap();
    let [before, after] = [&float, &equal].map(|network| float::run(network, images.view()).unwrap().logits().clone());
    assert!(before.iter().zip(&after).all(|(a, b)| (a - b).abs() <= 1e-4 * (1.0 + a.abs())));
}

/// The mean of each channel's sums of a dense layer, as the network in float has them before the activation.
fn sums(network: &Network, name: &str, samples: &Array2<f32>) -> Array1<f64> {
    let layer = network.layers().find(|layer| layer.name == name).unwrap();
    let source = network.layer(network.inputs(layer.id)[0]);
    let Op::Dense(dense) = &layer.op else { panic!("a dense layer") };
    let weight = dense.weight.to_reals().mapv(f64::from);
    let scales = dense.weight.scales().map(<[f32]>::to_vec);
    let bias: Array1<f64> = match (&dense.bias, source.output.quantization, scales) {
        (Some(Bias::Float(bias)), ..) => bias.mapv(f64::from),
        (Some(Bias::Integer(steps)), Some(input), Some(scales)) => {
            let step = |channel: usize| f64::from(input.scale) * f64::from(scales[if scales.len() == 1 { 0 } else { channel }]);
            steps.iter().enumerate().map(|(channel, steps)| *steps as f64 * step(channel)).collect()
        }
        _ => Array1::zeros(weight.ncols()),
    };
    let trace = float::run(network, samples.view()).unwrap();
    let mean = trace.layer(source.id).mapv(f64::from).mean_axis(Axis(0)).unwrap();
    mean.dot(&weight) + bias
}

#[test]
fn corrected_biases_take_the_mean_error_of_each_channel_back() {
    let model = model::load("simplenet-mnist").unwrap();
    let float = fuse_activations(model.network()).unwrap();
    let images = model.split(Split::Calibrate, Some(256)).unwrap().inputs;
    let held = quantize(&float, &calibrate(&float, images.view()).unwrap(), &recipe("w4a8")).unwrap();
    let corrected = correct_biases(&float, &held, images.view()).unwrap();
    for name in ["z1", "z2", "z3"] {
        let [exact, before, after] = [&float, &held, &corrected].map(|network| sums(network, name, &images));
        let most = |found: &Array1<f64>| (found - &exact).iter().fold(0.0_f64, |most, error| most.max(error.abs()));
        // What is left is the rounding of a bias to steps of the accumulator, and of means to f32.
        assert!(most(&after) < 0.01 * most(&before) && most(&before) > 1e-3, "{name}: {} before, {} after", most(&before), most(&after));
    }
    // Weights stay, and so do the names.
    for (a, b) in held.layers().zip(corrected.layers()) {
        assert_eq!((&a.name, &a.output, a.id), (&b.name, &b.output, b.id));
    }
    // Convolutions too: the mean of a channel is over all places. What the last layer yields is rounded, which averages out.
    let Op::Conv(first) = &uneven().layers().find(|layer| layer.name == "c1").unwrap().op.clone() else { panic!("a convolution") };
    let mut builder = NetworkBuilder::new("alone");
    let x = builder.input("x", vec![2, 8, 8]).unwrap();
    let conv = Op::Conv(Conv { activation: Activation::None, bias: None, ..first.clone() });
    let y = builder.layer("c1", conv, &[x]).unwrap();
    let network = builder.finish(y).unwrap();
    let samples = inputs(&network, 64).mapv(|x| x + 0.5);
    let held = quantize(&network, &calibrate(&network, samples.view()).unwrap(), &recipe("w2a8,tensor")).unwrap();
    let corrected = correct_biases(&network, &held, samples.view()).unwrap();
    let mean = |network: &Network| {
        let values = float::run(network, samples.view()).unwrap().output().mapv(f64::from).into_shape_with_order((64, 6, 64)).unwrap();
        values.mean_axis(Axis(2)).unwrap().mean_axis(Axis(0)).unwrap()
    };
    let exact = mean(&network);
    let off = |found: &Array1<f64>| (found - &exact).iter().map(|error| error * error).sum::<f64>();
    assert!(off(&mean(&corrected)) < 0.01 * off(&mean(&held)), "{} {}", off(&mean(&corrected)), off(&mean(&held)));
}
