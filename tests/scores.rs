//! Do masks before a softmax, and borders before a max pool, cost the rest no steps?

#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test fails by panicking, and prints what it measures")]

mod onchip;

use ndarray::{Array, Array2, ArrayD, Dimension, IxDyn, ShapeBuilder};
use onchip::OnChip;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use systole::chip::{self, Chip};
use systole::compress::{Recipe, calibrate, calibrate_as, quantize, with_roundings};
use systole::mapping::{Choice, WeightStart};
use systole::network::{
    Activation, BinaryConstant, BinaryOp, Border, Conv, Dense, LayerId, Network, NetworkBuilder, Op, Pad, Pool, PoolKind, Weight,
};
use systole::numerics::{AccumulateRule, Arithmetic, Overflow, Requantizer, Rounding};
use systole::reference::{float, integer};
use systole::sim::{Engine, Machine};

const RULE: AccumulateRule = AccumulateRule { bits: 48, overflow: Overflow::Wrap, chunk: 16 };
const FLOAT: Arithmetic = Arithmetic { accumulate: RULE, requantize: Requantizer::Float };
const TFLITE: Arithmetic =
    Arithmetic { accumulate: RULE, requantize: Requantizer::FixedPoint { convolution: Rounding::Double, dense: Rounding::Single } };

/// Rows of the sequence and numbers of each.
const ROWS: usize = 6;
const WIDTH: usize = 16;

fn random<S: ShapeBuilder>(rng: &mut ChaCha8Rng, shape: S, most: f32) -> Array<f32, S::Dim>
where
    S::Dim: Dimension,
{
    Array::from_shape_simple_fn(shape, || rng.random_range(-most..most))
}

/// How a mask is added.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    Right,
    Left,
    Subtracted,
    Value,
    Twice,
}

fn constant(op: BinaryOp, constant: ArrayD<f32>, constant_first: bool) -> Op {
    Op::BinaryConstant(BinaryConstant { op, constant: Weight::Float(constant), constant_first })
}

/// What is before each row: 0 up to the diagonal, and `mask` behind it.
fn causal(mask: f32) -> ArrayD<f32> {
    ArrayD::from_shape_fn(IxDyn(&[ROWS, ROWS]), |at| if at[1] > at[0] { mask } else { 0.0 })
}

/// One head of attention, with a causal mask of this number, if there is one.
fn attention(mask: Option<(f32, Form)>) -> Network {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let mut builder = NetworkBuilder::new("attention");
    let x = builder.input("x", vec![ROWS, WIDTH]).unwrap();
    let mut add = |name: &str, op: Op, read: &[LayerId]| builder.layer(name, op, read).unwrap();
    let mut dense = || {
        let weight = Weight::Float(random(&mut rng, (WIDTH, WIDTH), 0.5));
        Op::Dense(Dense { weight, bias: None, activation: Activation::None })
    };
    let [q, k, v] = ["q", "k", "v"].map(|name| add(name, dense(), &[x]));
    let turned = add("turned", Op::Transpose(vec![1, 0]), &[k]);
    let scores = add("scores", Op::MatMul, &[q, turned]);
    let scaled = add("scaled", constant(BinaryOp::Div, ArrayD::from_elem(IxDyn(&[]), 4.0), false), &[scores]);
    let masked = match mask {
        None => scaled,
        Some((mask, Form::Right)) => add("masked", constant(BinaryOp::Add, causal(mask), false), &[scaled]),
        Some((mask, Form::Left)) => add("masked", constant(BinaryOp::Add, causal(mask), true), &[scaled]),
        Some((mask, Form::Subtracted)) => add("masked", constant(BinaryOp::Sub, causal(-mask), false), &[scaled]),
        Some((mask, Form::Value)) => {
            let mask = add("mask", Op::Constant(Weight::Float(causal(mask))), &[]);
            add("masked", Op::Binary(BinaryOp::Add), &[scaled, mask])
        }
        Some((mask, Form::Twice)) => {
            let once = add("once", constant(BinaryOp::Add, causal(mask), false), &[scaled]);
            let moved = add("moved", Op::Reshape(vec![1, ROWS, ROWS]), &[once]);
            let back = add("back", Op::Reshape(vec![ROWS, ROWS]), &[moved]);
            add("masked", constant(BinaryOp::Add, causal(mask), false), &[back])
        }
    };
    let weights = add("weights", Op::Softmax { axis: 1 }, &[masked]);
    let mixed = add("mixed", Op::MatMul, &[weights, v]);
    let y = add("y", dense(), &[mixed]);
    builder.finish(y).unwrap()
}

fn samples(seed: u64, count: usize) -> Array2<f32> {
    random(&mut ChaCha8Rng::seed_from_u64(seed), (count, ROWS * WIDTH), 2.0)
}

fn recipe(text: &str) -> Recipe {
    text.parse().unwrap()
}

fn sqnr_db(exact: &Array2<f32>, found: impl IntoIterator<Item = f32>) -> f64 {
    let (signal, noise) = exact
        .iter()
        .zip(found)
        .fold((0.0, 0.0), |(signal, noise), (x, y)| (signal + f64::from(*x).powi(2), noise + (f64::from(*x) - f64::from(y)).powi(2)));
    10.0 * f64::log10(signal / noise)
}

/// A network in integers, what the integer reference makes of new samples, and its decibels.
fn integers(network: &Network, text: &str, arithmetic: &Arithmetic) -> (Network, Array2<i32>, f64) {
    let network = with_roundings(network, &recipe(text)).unwrap();
    let ranges = calibrate_as(&network, samples(1, 32).view(), &recipe(text)).unwrap();
    let held = quantize(&network, &ranges, &recipe(text)).unwrap();
    let new = samples(2, 16);
    let inputs = integer::quantize_inputs(&held, new.view()).unwrap();
    let found = integer::run(&held, |_| *arithmetic, inputs).unwrap().layer(held.logits().id).unwrap().clone();
    let grid = held.logits().output.quantization.unwrap();
    let exact = float::run(&network, new.view()).unwrap();
    let sqnr = sqnr_db(exact.logits(), found.iter().map(|q| grid.dequantize(*q)));
    (held, found, sqnr)
}

#[test]
fn a_mask_costs_the_scores_no_steps_however_large_it_is() {
    for arithmetic in [FLOAT, TFLITE] {
        for text in ["w8a8", "w8a8,mse", "w8a8,percentile:99.9", "w8a8,kl", "w8a16"] {
            let (_, _, bare) = integers(&attention(None), text, &arithmetic);
            for form in [Form::Right, Form::Left, Form::Subtracted, Form::Value, Form::Twice] {
                let of = |mask: f32| integers(&attention(Some((mask, form))), text, &arithmetic);
                let (_, wanted, sqnr) = of(-1e4);
                println!("{text}: {sqnr:.1} dB, {bare:.1} dB without a mask");
                assert!(sqnr > bare - 3.0, "{text}: {sqnr} dB, and {bare} dB without a mask");
                for mask in [-1e9, f32::MIN / 2.0, f32::NEG_INFINITY] {
                    assert!(of(mask).1 == wanted, "{text}: a mask of {mask} is one of -10000");
                }
            }
        }
    }
}

#[test]
fn scores_reach_as_far_down_as_a_softmax_can_tell() {
    let network = attention(Some((-1e4, Form::Right)));
    let known = samples(1, 32);
    let id = |name: &str| network.layers().find(|layer| layer.name == name).unwrap().id;
    let ranges = calibrate(&network, known.view()).unwrap();
    let trace = float::run(&network, known.view()).unwrap();
    let masked = trace.layer(id("masked"));
    let rows = masked.iter().copied().collect::<Vec<f32>>();
    let greatest = |row: &[f32]| row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
    // Of 6 scores, 6 exp(-T) is 1/512 of the greatest.
    let least = rows.chunks(ROWS).map(greatest).fold(f32::INFINITY, f32::min) - f32::ln(512.0 * 6.0);
    let (low, high) = ranges.get(id("masked")).unwrap();
    assert!((low - least).abs() < 1e-4 && (high - greatest(&rows)).abs() < 1e-6, "{low} to {high}, and {least}");
    // What is added is 0 at most: nothing below the same floor matters before it.
    let scaled = trace.layer(id("scaled")).iter().copied().fold(f32::INFINITY, f32::min);
    assert!((ranges.get(id("scaled")).unwrap().0 - scaled.max(least)).abs() < 1e-4);
    // The scores themselves are read by a division, and the last value by the host: all of their numbers count.
    for name in ["scores", "y"] {
        let whole = trace.layer(id(name)).iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(min, max), x| (min.min(*x), max.max(*x)));
        assert_eq!(ranges.get(id(name)).unwrap(), whole, "{name}");
    }
}

#[test]
fn infinity_is_refused_where_it_is_no_mask() {
    let mut builder = NetworkBuilder::new("sum");
    let x = builder.input("x", vec![ROWS, WIDTH]).unwrap();
    let minus = ArrayD::from_elem(IxDyn(&[WIDTH]), f32::NEG_INFINITY);
    let y = builder.layer("y", constant(BinaryOp::Add, minus, false), &[x]).unwrap();
    let found = calibrate(&builder.finish(y).unwrap(), samples(1, 2).view()).unwrap_err().to_string();
    assert!(found.contains("layer \"y\" yields a value that is infinite"), "{found}");
    let all = attention(Some((f32::NEG_INFINITY, Form::Right)));
    assert!(calibrate(&all, samples(1, 2).view()).is_ok());
}

#[test]
fn a_border_that_is_never_the_greatest_costs_no_steps() {
    let mut rng = ChaCha8Rng::seed_from_u64(4);
    let weight = Weight::Float(random(&mut rng, (4, 1, 3, 3), 0.5));
    let build = |value: f32| {
        let mut builder = NetworkBuilder::new("pooled");
        let x = builder.input("x", vec![1, 8, 12]).unwrap();
        let conv = Conv {
            weight: weight.clone(),
            bias: None,
            stride: [1; 2],
            dilation: [1; 2],
            padding: [1; 4],
            border: Border::Zero,
            groups: 1,
            activation: Activation::None,
        };
        let c = builder.layer("c", Op::Conv(conv), &[x]).unwrap();
        let p = builder.layer("p", Op::Pad(Pad { before: vec![0, 1, 1], after: vec![0, 1, 1], value }), &[c]).unwrap();
        let pool = Pool { kind: PoolKind::Max, kernel: [3; 2], stride: [2; 2], dilation: [1; 2], padding: [0; 4] };
        let y = builder.layer("y", Op::Pool(pool), &[p]).unwrap();
        builder.finish(y).unwrap()
    };
    let of = |value: f32| integers(&build(value), "w8a8", &FLOAT);
    let (_, wanted, sqnr) = of(-100.0);
    assert!(sqnr > 30.0, "{sqnr} dB");
    for value in [-1e30, f32::NEG_INFINITY] {
        assert_eq!(of(value).1, wanted);
    }
}

/// Runs a sample through the chip, and holds every number to the reference.
fn on_chip(held: &Network, chip: &Chip) {
    let mapped = OnChip::new(held, chip, 1, WeightStart::Cold, || Choice::first(chip)).unwrap_or_else(|error| panic!("{error}"));
    let machine = Machine::new(chip, &chip.formats()[0], &mapped.program).unwrap();
    let trace = mapped.expected(held, chip, &samples(2, 1));
    let hosted = mapped.hosted(&trace);
    let run = machine.run(&hosted.iter().map(Vec::as_slice).collect::<Vec<_>>(), Engine::Wavefront).unwrap();
    let found = mapped.logits(&run.output);
    assert_eq!(found, trace.layer(held.logits().id).unwrap().iter().copied().collect::<Vec<_>>(), "chip and integer reference");
}

#[test]
fn masked_attention_runs_on_the_chip_in_8_bits_and_16_are_refused_truly() {
    let chip = chip::load("edge-16x16", &[]).unwrap();
    let (held, ..) = integers(&attention(Some((-1e9, Form::Right))), "w8a8", &FLOAT);
    on_chip(&held, &chip);
    let (held, ..) = integers(&attention(None), "w16a16", &FLOAT);
    let found = OnChip::new(&held, &chip, 1, WeightStart::Cold, || Choice::first(&chip)).err().unwrap().to_string();
    assert!(found.contains("layer \"mixed\"") && found.contains("of which one has a zero point"), "{found}");
    assert!(found.contains("takes and yields values of 8 bits, of which int16 is none\n  help: "), "{found}");
}
