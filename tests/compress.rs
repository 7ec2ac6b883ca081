//! Does pruning do what it says: numbers that are known, zeros that stay, channels that really go, ranks that are the best of theirs?

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use ndarray::{Array1, Array2, Array4};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use systole::compress::{CompressError, Recipe, StepReport, Surroundings, calibrate, quantize};
use systole::metrics::{accuracy, size};
use systole::model::{self, Split};
use systole::network::{
    Activation, Bias, BinaryConstant, BinaryOp, Border, Conv, Dense, Function, LayerId, LayerNorm, Network, NetworkBuilder, Op, Pad, Pool,
    PoolKind, Span, Weight, fuse_activations,
};
use systole::reference::float;

fn pruned(network: &Network, recipe: &str, samples: &Array2<f32>) -> Result<(Network, Vec<StepReport>), CompressError> {
    recipe.parse::<Recipe>()?.prune(network, Surroundings { samples: samples.view(), tile: [4, 4], outside: None })
}

fn error(network: &Network, recipe: &str, samples: &Array2<f32>) -> String {
    let error = pruned(network, recipe, samples).unwrap_err().to_string();
    assert!(error.contains("\n  help: "), "{error}");
    error
}

fn weights(network: &Network, name: &str) -> Weight<ndarray::Ix2> {
    match &network.layers().find(|layer| layer.name == name).unwrap().op {
        Op::Dense(dense) => dense.weight.clone(),
        _ => panic!("{name} is no dense layer"),
    }
}

/// Random networks, of weights and data from one seed.
struct Random(ChaCha8Rng);

impl Random {
    fn new(seed: u64) -> Self {
        Self(ChaCha8Rng::seed_from_u64(seed))
    }

    fn matrix(&mut self, rows: usize, cols: usize) -> Array2<f32> {
        Array2::from_shape_simple_fn((rows, cols), || self.0.random_range(-1.0..1.0))
    }

    fn filters(&mut self, shape: (usize, usize, usize, usize)) -> Array4<f32> {
        Array4::from_shape_simple_fn(shape, || self.0.random_range(-1.0..1.0))
    }

    #[expect(clippy::unnecessary_wraps, reason = "it goes where a layer may have none")]
    fn bias(&mut self, size: usize) -> Option<Bias> {
        Some(Bias::Float(Array1::from_shape_simple_fn(size, || self.0.random_range(-1.0..1.0))))
    }

    fn conv(&mut self, shape: (usize, usize, usize, usize), groups: usize, stride: usize, activation: Activation) -> Op {
        let border = (shape.2 - 1) / 2;
        Op::Conv(Conv {
            weight: Weight::Float(self.filters(shape)),
            bias: self.bias(shape.0),
            stride: [stride, stride],
            dilation: [1, 1],
            padding: [border; 4],
            border: Border::Zero,
            groups,
            activation,
        })
    }

    fn dense(&mut self, inputs: usize, outputs: usize, activation: Activation) -> Op {
        Op::Dense(Dense { weight: Weight::Float(self.matrix(inputs, outputs)), bias: self.bias(outputs), activation })
    }
}

/// Three convolutions whose outputs are added, joined, pooled, cut and flattened: `c2 -> c1 + c2`, a depthwise one between, `c3` beside them.
fn branches(random: &mut Random) -> Network {
    let mut builder = NetworkBuilder::new("branches");
    let input = builder.input("x", vec![3, 8, 8]).unwrap();
    let mut layer = |name: &str, op: Op, inputs: &[LayerId]| builder.layer(name, op, inputs).unwrap();
    let relu = Activation::Relu;
    let c1 = layer("c1", random.conv((8, 3, 3, 3), 1, 1, relu), &[input]);
    let dw = layer("dw", random.conv((8, 1, 3, 3), 8, 1, relu), &[c1]);
    let c2 = layer("c2", random.conv((8, 8, 1, 1), 1, 1, Activation::None), &[dw]);
    let sum = layer("sum", Op::Binary(BinaryOp::Add), &[c1, c2]);
    let sum = layer("relu", Op::RELU, &[sum]);
    let pool = Pool { kind: PoolKind::Max, kernel: [2, 2], stride: [2, 2], dilation: [1, 1], padding: [0; 4] };
    let left = layer("pool", Op::Pool(pool), &[sum]);
    let right = layer("c3", random.conv((6, 3, 3, 3), 1, 2, relu), &[input]);
    let both = layer("both", Op::Concat { axis: 0 }, &[left, right]);
    // All channels but the first of the first branch.
    let cut = layer("cut", Op::Slice(vec![Span { start: 1, count: 13, step: 1 }, Span::all(4), Span::all(4)]), &[both]);
    let c4 = layer("c4", random.conv((5, 13, 3, 3), 1, 1, relu), &[cut]);
    let mean = Pool { kind: PoolKind::Average { count_include_pad: true }, ..pool };
    let flat = layer("mean", Op::Pool(mean), &[c4]);
    let flat = layer("flat", Op::Reshape(vec![20]), &[flat]);
    let fc = layer("fc", random.dense(20, 12, relu), &[flat]);
    let last = layer("last", random.dense(12, 4, Activation::None), &[fc]);
    let softmax = layer("softmax", Op::Softmax { axis: 0 }, &[last]);
    builder.finish(softmax).unwrap()
}

/// L1 norms of a layer's output channels.
fn norms(op: &Op) -> Vec<f64> {
    match op {
        Op::Conv(Conv { weight: Weight::Float(weight), .. }) => {
            weight.outer_iter().map(|filter| filter.iter().map(|w| f64::from(w.abs())).sum()).collect()
        }
        Op::Dense(Dense { weight: Weight::Float(weight), .. }) => {
            weight.columns().into_iter().map(|column| column.iter().map(|w| f64::from(w.abs())).sum()).collect()
        }
        _ => panic!("no weights"),
    }
}

/// The indices of the least `fraction` of numbers.
fn least(of: &[f64], fraction: f64) -> Vec<usize> {
    let mut order: Vec<usize> = (0..of.len()).collect();
    order.sort_by(|one, other| of[*one].total_cmp(&of[*other]));
    let count = (0..=of.len()).rev().find(|count| *count as f64 <= fraction * of.len() as f64 + 1e-9).unwrap();
    order.truncate(count);
    order
}

/// An operation whose output channels of these numbers are zero whatever it reads.
fn masked(op: &Op, channels: &[usize]) -> Op {
    let mut op = op.clone();
    let silence = |bias: &mut Option<Bias>| {
        if let Some(Bias::Float(bias)) = bias {
            for channel in channels {
                bias[*channel] = 0.0;
            }
        }
    };
    match &mut op {
        Op::Conv(Conv { weight: Weight::Float(weight), bias, .. }) => {
            for channel in channels {
                weight.index_axis_mut(ndarray::Axis(0), *channel).fill(0.0);
            }
            silence(bias);
        }
        Op::Dense(Dense { weight: Weight::Float(weight), bias, .. }) => {
            for channel in channels {
                weight.column_mut(*channel).fill(0.0);
            }
            silence(bias);
        }
        _ => panic!("no weights"),
    }
    op
}

/// The network with some layers' operations replaced.
fn with(network: &Network, replaced: &[(&str, Op)]) -> Network {
    let mut builder = NetworkBuilder::new("masked");
    let mut ids = std::collections::BTreeMap::new();
    for layer in network.layers() {
        let inputs: Vec<LayerId> = network.inputs(layer.id).iter().map(|id| ids[id]).collect();
        let op = replaced.iter().find(|(name, _)| *name == layer.name).map_or(&layer.op, |(_, op)| op);
        let id = match op {
            Op::Input => builder.input("x", layer.output.shape.clone()).unwrap(),
            op => builder.layer(layer.name.clone(), op.clone(), &inputs).unwrap(),
        };
        ids.insert(layer.id, id);
    }
    builder.finish(ids[&network.output().id]).unwrap()
}

#[test]
fn thresholds_on_simplenet_are_the_articles() {
    let model = model::load("simplenet-mnist").unwrap();
    let samples = model.split(Split::Report, None).unwrap();
    let network = fuse_activations(model.network()).unwrap();
    let none = Array2::zeros((0, 784));
    let run = |network: &Network| accuracy(float::run(network, samples.inputs.view()).unwrap().logits().view(), &samples.labels);
    assert_eq!(samples.labels.len(), 10_000);
    // numpy, without retraining: zeros and accuracy within a point.
    for (recipe, zeros, wanted) in [("mean:1", 0.60, 0.859), ("mean:1,global", 0.61, 0.967), ("mean:0", 0.0, 0.9742)] {
        let (pruned, reports) = pruned(&network, recipe, &none).unwrap();
        let sum = |of: fn(&systole::compress::LayerReport) -> u64| reports[0].layers.iter().map(of).sum::<u64>() as f64;
        let found = sum(|layer| layer.zeros) / sum(|layer| layer.weights);
        assert!((found - zeros).abs() < 0.01, "{recipe}: {found} of the weights are zero");
        let accuracy = run(&pruned);
        assert!((accuracy - wanted).abs() < 0.01, "{recipe}: an accuracy of {accuracy}");
    }
}

#[test]
fn what_is_pruned_is_zero_in_integers_too() {
    let model = model::load("simplenet-mnist").unwrap();
    let network = fuse_activations(model.network()).unwrap();
    let samples = model.split(Split::Calibrate, Some(50)).unwrap().inputs;
    for recipe in ["mean:1", "nm:2:4", "block:16x16,0.5", "magnitude:0.9,global"] {
        let (pruned, _) = pruned(&network, recipe, &samples).unwrap();
        let integers =
            quantize(&pruned, &calibrate(&pruned, samples.view()).unwrap(), "w8a8".parse::<systole::compress::Scheme>().unwrap()).unwrap();
        for name in ["z1", "z2", "z3"] {
            let (Weight::Float(real), Weight::Integer { values, zero_points, .. }) = (weights(&pruned, name), weights(&integers, name))
            else {
                panic!("float and integers");
            };
            assert!(real.iter().any(|w| *w == 0.0) && zero_points.iter().all(|zero| *zero == 0), "{recipe} {name}");
            assert!(real.iter().zip(&values).all(|(real, integer)| *real != 0.0 || *integer == 0), "{recipe} {name}");
        }
    }
}

#[test]
fn n_of_m_and_blocks_keep_what_they_promise() {
    let mut random = Random::new(3);
    let network = branches(&mut random);
    let none = Array2::zeros((0, 192));
    let (two_of_four, _) = pruned(&network, "nm:2:4", &none).unwrap();
    let (blocks, _) = pruned(&network, "block:array,0.5@fc", &none).unwrap();
    for layer in two_of_four.layers() {
        if let Op::Conv(Conv { weight: Weight::Float(weight), .. }) = &layer.op {
            // K: filter rows, filter columns, channels innermost.
            for filter in weight.outer_iter() {
                let in_order: Vec<f32> = filter.permuted_axes([1, 2, 0]).iter().copied().collect();
                assert!(
                    in_order.chunks(4).all(|group| group.iter().filter(|w| **w != 0.0).count() == 2.min(group.len())),
                    "{}",
                    layer.name
                );
            }
        }
    }
    let Weight::Float(fc) = weights(&blocks, "fc") else { panic!("float") };
    // The flattened image has 5 channels of 2 x 2 pixels: K on the chip is pixel by pixel, and element (pixel, channel) is row 4 channel + pixel.
    let on_chip = Array2::from_shape_fn(fc.dim(), |(k, n)| fc[[k % 5 * 4 + k / 5, n]]);
    let is_zero = |row: usize, col: usize| on_chip.slice(ndarray::s![row * 4..row * 4 + 4, col * 4..col * 4 + 4]).iter().all(|w| *w == 0.0);
    let zeros = (0..5).flat_map(|row| (0..3).map(move |col| (row, col))).filter(|(row, col)| is_zero(*row, *col)).count();
    assert_eq!(zeros, 7, "half of 15 blocks, rounded down");
    assert_eq!(on_chip.iter().filter(|w| **w == 0.0).count(), 7 * 16);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, failure_persistence: None, ..ProptestConfig::default() })]

    /// The network without channels yields the floats of the network in which they are zero, and is as small as the formulas say.
    #[test]
    fn removing_channels_equals_masking(seed in any::<u64>(), eighths in 1_u32..8) {
        let fraction = f64::from(eighths) / 8.0;
        let mut random = Random::new(seed);
        let network = branches(&mut random);
        let op = |name: &str| network.layers().find(|layer| layer.name == name).unwrap().op.clone();
        let inputs = random.matrix(6, 192);
        // What is added goes together; the depthwise layer follows what it reads.
        let sum: Vec<f64> = norms(&op("c1")).iter().zip(norms(&op("c2"))).map(|(one, other)| one + other).collect();
        let added = least(&sum, fraction);
        let gone = |name: &str| least(&norms(&op(name)), fraction);
        let groups: [(&str, Vec<usize>); 6] =
            [("c1", added.clone()), ("dw", added.clone()), ("c2", added.clone()), ("c3", gone("c3")), ("c4", gone("c4")), ("fc", gone("fc"))];
        let replaced: Vec<(&str, Op)> = groups.iter().map(|(name, gone)| (*name, masked(&op(name), gone))).collect();
        let masked = with(&network, &replaced);
        let (smaller, reports) = pruned(&network, &format!("channel:{fraction}"), &inputs).unwrap();
        let [wanted, found] = [&masked, &smaller].map(|network| float::run(network, inputs.view()).unwrap().logits().clone());
        prop_assert_eq!(wanted, found);

        let left = |name: &str| groups.iter().find(|(known, _)| *known == name).map(|(_, gone)| norms(&op(name)).len() - gone.len()).unwrap();
        let (c, c3, c4, fc) = (left("c1"), left("c3"), left("c4"), left("fc"));
        // The slice drops the first channel of c1, if it is still there.
        let cut = c + c3 - usize::from(!added.contains(&0));
        let parameters = (3 * 9 + 1) * c + (9 + 1) * c + (c + 1) * c + (3 * 9 + 1) * c3 + (cut * 9 + 1) * c4 + (c4 * 4 + 1) * fc + (fc + 1) * 4;
        prop_assert_eq!(smaller.parameters(), parameters as u64);
        prop_assert!(smaller.macs() < network.macs() && size(&smaller).weight_bytes < size(&network).weight_bytes);
        let last = reports[0].layers.iter().find(|layer| layer.layer == "last").unwrap();
        prop_assert_eq!((last.weights_before, last.weights), (48, 4 * fc as u64));
    }
}

/// A block with a gate (a mean, two convolutions, a product), factors and slopes a channel, borders, and rows of dense layers behind a transpose.
fn gated(random: &mut Random) -> Network {
    let mut builder = NetworkBuilder::new("gated");
    let input = builder.input("x", vec![2, 5, 5]).unwrap();
    let constants = |random: &mut Random, channels: usize| random.matrix(channels, 1).into_shape_with_order(vec![channels, 1, 1]).unwrap();
    let mut layer = |name: &str, op: Op, inputs: &[LayerId]| builder.layer(name, op, inputs).unwrap();
    let c1 = layer("c1", random.conv((8, 2, 3, 3), 1, 1, Activation::None), &[input]);
    let factor = BinaryConstant { op: BinaryOp::Mul, constant: Weight::Float(constants(random, 8)), constant_first: false };
    let scaled = layer("scaled", Op::BinaryConstant(factor), &[c1]);
    let bent = layer("bent", Op::Unary(Function::PRelu { slopes: constants(random, 8) }), &[scaled]);
    let mean = layer("mean", Op::Mean { axes: vec![1, 2], keep: true }, &[bent]);
    let down = layer("down", random.conv((4, 8, 1, 1), 1, 1, Activation::Relu), &[mean]);
    let up = layer("up", random.conv((8, 4, 1, 1), 1, 1, Activation::None), &[down]);
    let gate = layer("gate", Op::Unary(Function::Sigmoid), &[up]);
    let product = layer("product", Op::Binary(BinaryOp::Mul), &[bent, gate]);
    let border = Pad { before: vec![0, 1, 0], after: vec![0, 0, 1], value: 0.0 };
    let padded = layer("padded", Op::Pad(border), &[product]);
    let rows = layer("rows", Op::Reshape(vec![8, 36]), &[padded]);
    let turned = layer("turned", Op::Transpose(vec![1, 0]), &[rows]);
    let wide = layer("wide", random.dense(8, 6, Activation::Relu), &[turned]);
    let narrow = layer("narrow", random.dense(6, 3, Activation::None), &[wide]);
    let ones = Array1::from_elem(3, 1.0).into_dyn();
    let norm = layer("norm", Op::LayerNorm(LayerNorm { axis: 1, scale: ones, bias: None, epsilon: 1e-5 }), &[narrow]);
    let flat = layer("flat", Op::Reshape(vec![108]), &[norm]);
    let last = layer("last", random.dense(108, 2, Activation::None), &[flat]);
    builder.finish(last).unwrap()
}

#[test]
fn gates_factors_slopes_and_rows_follow_the_channels_that_they_go_with() {
    for seed in 0..30 {
        let mut random = Random::new(seed);
        let network = gated(&mut random);
        let inputs = random.matrix(4, 50);
        let op = |name: &str| network.layers().find(|layer| layer.name == name).unwrap().op.clone();
        let together: Vec<f64> = norms(&op("c1")).iter().zip(norms(&op("up"))).map(|(one, other)| one + other).collect();
        // A channel of zeros is zero behind its factor, its slope and its gate, whatever the gate says.
        let masked = with(
            &network,
            &[
                ("c1", masked(&op("c1"), &least(&together, 0.5))),
                ("down", masked(&op("down"), &least(&norms(&op("down")), 0.5))),
                ("wide", masked(&op("wide"), &least(&norms(&op("wide")), 0.5))),
            ],
        );
        let (smaller, _) = pruned(&network, "channel:0.5", &inputs).unwrap();
        let [wanted, found] = [&masked, &smaller].map(|network| float::run(network, inputs.view()).unwrap().logits().clone());
        assert_eq!(wanted, found, "seed {seed}");
        // 4 channels of 2 x 9, with factor and slope; 2 down and 4 up; 3 of 6 wide; what is normalised stays whole.
        let parameters = 4 * (18 + 1 + 1 + 1) + 2 * (4 + 1) + 4 * (2 + 1) + 3 * (4 + 1) + 3 * (3 + 1) + 3 + 108 * 2 + 2;
        assert_eq!(smaller.parameters(), parameters, "seed {seed}");
    }
}

#[test]
fn a_network_without_channels_runs_in_integers() {
    let mut random = Random::new(11);
    let network = branches(&mut random);
    let samples = random.matrix(20, 192);
    let (smaller, _) = pruned(&network, "channel:0.25,l2+features:0.25", &samples).unwrap();
    let integers =
        quantize(&smaller, &calibrate(&smaller, samples.view()).unwrap(), "w8a8".parse::<systole::compress::Scheme>().unwrap()).unwrap();
    assert_eq!(integers.parameters(), smaller.parameters());
    let bits = size(&integers);
    assert_eq!(bits.bit_operations, u128::from(bits.macs) * 64);
    assert_eq!(size(&smaller).bit_operations, u128::from(bits.macs) * 1024);
}

#[test]
fn feature_maps_go_by_what_they_do() {
    let mut builder = NetworkBuilder::new("n");
    let input = builder.input("x", vec![2]).unwrap();
    // Of positive data: channel 0 is small and always there, channel 1 is large and seldom, channel 2 is in between.
    let weight = ndarray::array![[0.1, 10.0, 1.0], [0.1, -20.0, 0.5]];
    let bias = Some(Bias::Float(ndarray::array![0.0, 0.0, 0.0]));
    let fc = builder.layer("fc", Op::Dense(Dense { weight: Weight::Float(weight), bias, activation: Activation::Relu }), &[input]).unwrap();
    let weight = ndarray::array![[1.0], [2.0], [3.0]];
    let last = Dense { weight: Weight::Float(weight), bias: None, activation: Activation::None };
    let last = builder.layer("last", Op::Dense(last), &[fc]).unwrap();
    let network = builder.finish(last).unwrap();
    let samples = ndarray::array![[1.0, 1.0], [1.0, 2.0], [2.0, 1.5], [3.0, 0.5]];
    for (recipe, left) in [("features:0.34", [2.0, 3.0]), ("features:0.34,zeros", [1.0, 3.0])] {
        let (smaller, _) = pruned(&network, recipe, &samples).unwrap();
        let Weight::Float(weight) = weights(&smaller, "last") else { panic!("float") };
        assert_eq!(weight.into_raw_vec_and_offset().0, left, "{recipe}");
    }
    let found = error(&network, "features:0.5", &Array2::zeros((2, 3)));
    assert!(found.contains("takes 2 numbers a sample (shape [2]) and the data has 3"), "{found}");
    let found = error(&network, "features:0.5", &Array2::zeros((0, 2)));
    assert!(found.contains("no samples"), "{found}");
}

#[test]
fn low_rank_is_the_best_of_its_rank_and_cheaper() {
    // Householder reflections make any singular values: W = (I - 2 u u') S (I - 2 v v').
    let (inner, outputs) = (12, 10);
    let singular = [8.0, 4.0, 2.0, 1.0, 0.5, 0.25, 0.0, 0.0, 0.0, 0.0];
    let reflect = |i: usize, j: usize, n: usize| f64::from(u8::from(i == j)) - 2.0 / n as f64;
    let weight = Array2::from_shape_fn((inner, outputs), |(k, n)| {
        #[expect(clippy::cast_possible_truncation, reason = "weights are f32")]
        let w = (0..outputs).map(|r| reflect(k, r, inner) * singular[r] * reflect(r, n, outputs)).sum::<f64>() as f32;
        w
    });
    let mut builder = NetworkBuilder::new("n");
    let input = builder.input("x", vec![inner]).unwrap();
    let dense = Dense { weight: Weight::Float(weight.clone()), bias: None, activation: Activation::Relu };
    let output = builder.layer("fc", Op::Dense(dense), &[input]).unwrap();
    let network = builder.finish(output).unwrap();
    let none = Array2::zeros((0, inner));
    for (recipe, rank) in [("rank:3", 3), ("energy:0.93", 2), ("rank:1", 1)] {
        let (two, reports) = pruned(&network, recipe, &none).unwrap();
        let (Weight::Float(first), Weight::Float(second)) = (weights(&two, "fc/low_rank"), weights(&two, "fc")) else { panic!("float") };
        assert_eq!((first.dim(), second.dim()), ((inner, rank), (rank, outputs)));
        assert_eq!(two.macs(), (rank * (inner + outputs)) as u64);
        assert_eq!(reports[0].layers.iter().map(|layer| layer.weights_before).collect::<Vec<_>>(), [0, 120]);
        // Eckart and Young: no matrix of that rank is nearer.
        let error: f64 = (&weight - &first.dot(&second)).iter().map(|w| f64::from(*w) * f64::from(*w)).sum();
        let wanted: f64 = singular[rank..].iter().map(|s| s * s).sum();
        assert!((error - wanted).abs() < 1e-4 * wanted, "{recipe}: {error}, and {wanted} is the least");
    }
    let found = error(&network, "rank:6", &none);
    assert!(found.contains("no layer that it names would become cheaper"), "{found}");
}

#[test]
fn a_convolution_of_low_rank_stays_what_it_is() {
    let mut random = Random::new(5);
    let (mixing, basis) = (random.matrix(8, 2), random.filters((2, 3, 3, 3)));
    let filters = Array4::from_shape_fn((8, 3, 3, 3), |(m, c, r, s)| (0..2).map(|i| mixing[[m, i]] * basis[[i, c, r, s]]).sum());
    let mut builder = NetworkBuilder::new("n");
    let input = builder.input("x", vec![3, 7, 7]).unwrap();
    let Op::Conv(conv) = random.conv((8, 3, 3, 3), 1, 2, Activation::Relu) else { panic!("a convolution") };
    let output = builder.layer("c", Op::Conv(Conv { weight: Weight::Float(filters), ..conv }), &[input]).unwrap();
    let network = builder.finish(output).unwrap();
    let inputs = random.matrix(5, 147);
    let (two, _) = pruned(&network, "energy:0.99999", &inputs).unwrap();
    assert_eq!(two.macs(), 16 * (2 * 27 + 8 * 2));
    let [whole, two] = [&network, &two].map(|network| float::run(network, inputs.view()).unwrap().logits().clone());
    assert!(whole.iter().zip(&two).all(|(one, other)| (one - other).abs() < 1e-5), "{whole} {two}");
}

#[test]
fn what_cannot_be_pruned_is_refused_with_help() {
    let mut random = Random::new(7);
    let network = branches(&mut random);
    let samples = random.matrix(3, 192);
    for (recipe, part) in [
        ("mean:1@nothing*", "no layer with weights is named \"nothing*\"\n  help: the layers are c1, dw, c2, c3, c4, fc, last"),
        ("mean:1@relu", "no layer with weights is named \"relu\""),
        ("mean:1@c1@C2", "\"C2\""),
        ("mean:100", "would be pruned to nothing"),
        ("magnitude:0.9999@last+magnitude:0.99,global", "would be pruned to nothing"),
        ("channel:0.5@last", "no output channel of the layers that it names can be removed"),
        ("channel:0.5@c1", "no output channel of the layers that it names can be removed"),
        ("channel:0.5@dw", "no output channel of the layers that it names can be removed"),
        ("rank:2@dw", "no layer that it names would become cheaper"),
        ("rank:18446744073709551615", "no layer that it names would become cheaper"),
        (
            "nm:18446744073709551614:18446744073709551615+block:18446744073709551615x18446744073709551615,0.9+mean:1e300",
            "pruned to nothing",
        ),
    ] {
        let found = error(&network, recipe, &samples);
        assert!(found.contains(part), "{recipe}: {found}");
    }
    // What is added goes together where the step names both.
    let (smaller, _) = pruned(&network, "channel:0.5@c1@c2", &samples).unwrap();
    assert!(smaller.macs() < network.macs());
    let integers =
        quantize(&network, &calibrate(&network, samples.view()).unwrap(), "w8a8".parse::<systole::compress::Scheme>().unwrap()).unwrap();
    let found = error(&integers, "mean:1", &samples);
    assert!(found.contains("integer weights already"), "{found}");
}

#[test]
fn networks_of_the_field_are_pruned_or_say_why_not() {
    let mut folders = vec![std::path::PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/golden/networks"))];
    folders.extend(std::env::var_os("SYSTOLE_EXTRA").map(|extra| std::path::Path::new(&extra).join("models")));
    let (mut done, mut refused) = (0, 0);
    for path in folders.iter().flat_map(|folder| std::fs::read_dir(folder).unwrap()).map(|entry| entry.unwrap().path()) {
        if path.extension().is_none_or(|extension| extension != "onnx") {
            continue;
        }
        let network = fuse_activations(&systole::network::import(&path).unwrap()).unwrap();
        // Zeros name words too, where the network takes words.
        let samples = Array2::zeros((2, network.input().output.elements()));
        for step in ["mean:0.5", "magnitude:0.3,global", "nm:2:4", "block:array,0.3", "channel:0.3", "features:0.3,zeros", "energy:0.5"] {
            match pruned(&network, step, &samples) {
                Ok((smaller, _)) => {
                    done += 1;
                    let shapes = [&network, &smaller].map(|network| network.output().output.shape.clone());
                    assert_eq!(shapes[0], shapes[1], "{} {step}", path.display());
                    let has_kept = smaller.macs() == network.macs();
                    assert_eq!(
                        has_kept,
                        !["channel", "features", "energy"].iter().any(|kind| step.starts_with(kind)),
                        "{} {step}",
                        path.display()
                    );
                    let trace = float::run(&smaller, samples.view()).unwrap();
                    assert!(trace.logits().iter().all(|x| x.is_finite()), "{} {step}", path.display());
                }
                Err(error) => {
                    // Of a network that came in integers nothing can be pruned, whatever the step.
                    refused += usize::from(!matches!(error, CompressError::AlreadyQuantized { .. }));
                    assert!(error.to_string().contains("\n  help: "), "{} {step}: {error}", path.display());
                }
            }
        }
    }
    assert!(done > 40 && done > refused, "{done} were pruned, {refused} refused");
}

#[test]
fn a_slice_keeps_a_channel_at_least() {
    // A convolution of 8 channels, split in 3 and 5; those of the second part go with a convolution's, to whose outputs they are added.
    let mut random = Random::new(21);
    let mut builder = NetworkBuilder::new("split");
    let input = builder.input("x", vec![3, 8, 8]).unwrap();
    let mut layer = |name: &str, op: Op, inputs: &[LayerId]| builder.layer(name, op, inputs).unwrap();
    let Op::Conv(mut conv) = random.conv((8, 3, 3, 3), 1, 1, Activation::None) else { unreachable!() };
    conv.bias = None;
    if let Weight::Float(weight) = &mut conv.weight {
        // The first part's channels are the least of all.
        weight.slice_mut(ndarray::s![..3, .., .., ..]).mapv_inplace(|w| w * 0.01);
    }
    let whole = layer("whole", Op::Conv(conv), &[input]);
    let cut = |start, count| Op::Slice(vec![Span { start, count, step: 1 }, Span::all(8), Span::all(8)]);
    let (first, second) = (layer("first", cut(0, 3), &[whole]), layer("second", cut(3, 5), &[whole]));
    let beside = layer("beside", random.conv((5, 3, 1, 1), 1, 1, Activation::None), &[input]);
    let sum = layer("sum", Op::Binary(BinaryOp::Add), &[second, beside]);
    let both = layer("both", Op::Concat { axis: 0 }, &[first, sum]);
    let flat = layer("flat", Op::Reshape(vec![512]), &[both]);
    let last = layer("last", random.dense(512, 2, Activation::None), &[flat]);
    let network = builder.finish(last).unwrap();
    let inputs = random.matrix(4, 192);
    for step in ["channel:0.4", "channel:0.4,l2", "features:0.4"] {
        let (smaller, _) = pruned(&network, step, &inputs).unwrap();
        let channels = |name: &str| smaller.layers().find(|layer| layer.name == name).unwrap().output.shape[0];
        assert_eq!((channels("whole"), channels("first"), channels("second"), channels("beside")), (5, 1, 4, 4), "{step}");
        float::run(&smaller, inputs.view()).unwrap();
    }
}
