//! Does the integer reference compute what the contract's sums say, written once more here, and what the reals say, to a step?

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ndarray::{Array1, Array2, Array4, ArrayD, Dimension, IxDyn};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use systole::compress::{calibrate, quantize};
use systole::network::{
    Activation, Bias, BinaryConstant, BinaryOp, Border, Conv, Dense, Element, Function, GeluForm, LayerId, LayerNorm, Network,
    NetworkBuilder, Op, Pad, Pool, PoolKind, Span, Weight,
};
use systole::numerics::{AccumulateRule, Arithmetic, Dtype, LayerClass, OutputStage, Overflow, Quantization, Requantizer, Rounding};
use systole::reference::{float, integer};

const FIXED: Requantizer = Requantizer::FixedPoint { convolution: Rounding::Double, dense: Rounding::Single };
const FREE: (f32, f32) = (f32::NEG_INFINITY, f32::INFINITY);

const fn int8(scale: f32, zero_point: i32) -> Quantization {
    Quantization { dtype: Dtype::Int8, scale, zero_point }
}

/// The accumulator's value after each chunk of products, in the numbers that hold every sum.
fn accumulated(rule: AccumulateRule, bias: i64, products: &[i64]) -> i64 {
    let half = 1_i128 << (rule.bits - 1);
    let chunks = products.chunks(usize::try_from(rule.chunk).unwrap());
    let sum = chunks.fold(i128::from(bias), |sum, chunk| {
        let exact = sum + chunk.iter().map(|product| i128::from(*product)).sum::<i128>();
        match rule.overflow {
            Overflow::Saturate => exact.clamp(-half, half - 1),
            Overflow::Wrap => (exact + half).rem_euclid(2 * half) - half,
        }
    });
    i64::try_from(sum).unwrap()
}

fn rules() -> impl Strategy<Value = AccumulateRule> {
    // Narrow ones overflow all the time.
    (prop_oneof![Just(12_u32), Just(16), Just(32)], any::<bool>(), 1..9_u64).prop_map(|(bits, wraps, chunk)| AccumulateRule {
        bits,
        overflow: if wraps { Overflow::Wrap } else { Overflow::Saturate },
        chunk,
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 96, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_convolution_is_its_sums(
        rule in rules(), seed in any::<u64>(), fixed in any::<bool>(), groups in 1..4_usize, of_group in 1..4_usize, filters in 1..3_usize,
        kernel in [1..4_usize, 1..4], stride in [1..3_usize, 1..3], dilation in [1..3_usize, 1..3], padding in [0..3_usize, 0..3, 0..3, 0..3],
    ) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let (c, h, w, m) = (groups * of_group, 7, 6, groups * filters);
        let values = Array4::from_shape_fn((m, of_group, kernel[0], kernel[1]), |_| rng.random_range(-128..128_i16));
        let scales: Vec<f32> = (0..m).map(|_| rng.random_range(0.001..0.02)).collect();
        let zero_points: Vec<i32> = (0..m).map(|_| rng.random_range(-9..9)).collect();
        let bias = Array1::from_shape_fn(m, |_| rng.random_range(-1500..1500_i64));
        let (read, wrote) = (int8(0.05, rng.random_range(-128..128)), int8(0.04, rng.random_range(-20..20)));
        let mut builder = NetworkBuilder::new("conv");
        let x = builder.input("x", vec![c, h, w]).unwrap();
        builder.quantize(x, read);
        let weight = Weight::Integer { values: values.clone(), dtype: Dtype::Int8, scales: scales.clone(), zero_points: zero_points.clone() };
        let activation = Activation::Clip { min: -1.0, max: 2.0 };
        let op = Op::Conv(Conv { weight, bias: Some(Bias::Integer(bias.clone())), stride, dilation, padding, border: Border::Zero, groups, activation });
        let Ok(y) = builder.layer("conv", op, &[x]) else { return Ok(()) };
        builder.quantize(y, wrote);
        let network = builder.finish(y).unwrap();
        let requantize = if fixed { FIXED } else { Requantizer::Float };
        let image = Array2::from_shape_fn((2, c * h * w), |_| rng.random_range(-128..128));
        let trace = integer::run(&network, |_| Arithmetic { accumulate: rule, requantize }, image.clone()).unwrap();
        let stage = OutputStage::new(requantize, LayerClass::Convolution, read.scale, &scales, &wrote, (-1.0, 2.0));
        let [_, p, q] = network.output().output.shape[..] else { panic!("an image") };
        for (place, found) in trace.layer(y).unwrap().indexed_iter() {
            let (sample, filter, row, column) = (place.0, place.1 / (p * q), place.1 / q % p, place.1 % q);
            let mut products = Vec::new();
            for r in 0..kernel[0] {
                for s in 0..kernel[1] {
                    for channel in 0..of_group {
                        let line = (row * stride[0] + r * dilation[0]).wrapping_sub(padding[0]);
                        let at = (column * stride[1] + s * dilation[1]).wrapping_sub(padding[1]);
                        let weight = i64::from(values[[filter, channel, r, s]]) - i64::from(zero_points[filter]);
                        let inside = line < h && at < w;
                        let pixel = ((filter / filters * of_group + channel) * h + line.min(h)) * w + at.min(w);
                        products.push(if inside { weight * i64::from(image[[sample, pixel]] - read.zero_point) } else { 0 });
                    }
                }
            }
            prop_assert_eq!(*found, stage.apply(filter, accumulated(rule, bias[filter], &products)));
        }
    }

    #[test]
    fn products_of_weights_and_of_values_are_their_sums(
        rule in rules(), seed in any::<u64>(), fixed in any::<bool>(), stack in 1..4_usize, rows in 1..4_usize, inner in 1..20_usize, columns in 1..5_usize,
    ) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let requantize = if fixed { FIXED } else { Requantizer::Float };
        let arithmetic = Arithmetic { accumulate: rule, requantize };
        let (left, right, wrote) = (int8(0.05, rng.random_range(-128..128)), int8(0.02, rng.random_range(-128..128)), int8(0.3, 4));
        let mut builder = NetworkBuilder::new("products");
        let x = builder.input("x", vec![stack, rows, inner]).unwrap();
        builder.quantize(x, left);
        // One matrix serves the whole stack.
        let other = builder.layer("w", Op::Constant(Weight::Float(ArrayD::zeros(IxDyn(&[inner, columns])))), &[]).unwrap();
        builder.quantize(other, right);
        let product = builder.layer("matmul", Op::MatMul, &[x, other]).unwrap();
        builder.quantize(product, wrote);
        let values = Array2::from_shape_fn((inner, columns), |_| rng.random_range(-128..128_i16));
        let weight = Weight::Integer { values: values.clone(), dtype: Dtype::Int8, scales: vec![right.scale], zero_points: vec![right.zero_point] };
        let dense = builder.layer("dense", Op::Dense(Dense { weight, bias: None, activation: Activation::None }), &[x]).unwrap();
        builder.quantize(dense, wrote);
        let network = builder.finish(dense).unwrap();
        let x = Array2::from_shape_fn((2, stack * rows * inner), |_| rng.random_range(-128..128));
        let w = Array2::from_shape_fn((2, inner * columns), |(_, at)| i32::from(values[[at / columns, at % columns]]));
        let by_value = integer::run_layer(&network, product, &arithmetic, &[&x, &w]).unwrap();
        let by_weight = integer::run_layer(&network, dense, &arithmetic, &[&x]).unwrap();
        prop_assert_eq!(&by_value, &by_weight);
        let stage = OutputStage::new(requantize, LayerClass::Dense, left.scale, &[right.scale], &wrote, FREE);
        for ((sample, at), found) in by_weight.indexed_iter() {
            let (row, column) = (at / columns, at % columns);
            let product = |k: usize| i64::from(x[[sample, row * inner + k]] - left.zero_point) * (i64::from(values[[k, column]]) - i64::from(right.zero_point));
            let products: Vec<i64> = (0..inner).map(product).collect();
            prop_assert_eq!(*found, stage.apply(column, accumulated(rule, 0, &products)));
        }
    }
}

/// A network of one operation that reads the input (twice where it reads two values).
fn single(op: &Op, shape: &[usize]) -> (Network, LayerId) {
    let mut builder = NetworkBuilder::new("single");
    let x = builder.input("x", shape.to_vec()).unwrap();
    let inputs = match op {
        Op::MatMul => {
            let perm: Vec<usize> = (0..shape.len() - 2).chain([shape.len() - 1, shape.len() - 2]).collect();
            vec![x, builder.layer("turned", Op::Transpose(perm), &[x]).unwrap()]
        }
        Op::Binary(_) | Op::Concat { .. } => vec![x, builder.layer("sigmoid", Op::Unary(Function::Sigmoid), &[x]).unwrap()],
        _ => vec![x],
    };
    let y = builder.layer("y", op.clone(), &inputs).unwrap();
    // What is at the end stays the chip's.
    let last = builder.layer("last", Op::Reshape(builder.value(y).shape.clone()), &[y]).unwrap();
    (builder.finish(last).unwrap(), y)
}

fn ops() -> Vec<(Op, Vec<usize>)> {
    let image = vec![3, 6, 5];
    let sequence = vec![4, 8];
    let mut ops: Vec<(Op, Vec<usize>)> = [
        Function::Relu,
        Function::LeakyRelu { alpha: 0.1 },
        Function::PRelu { slopes: ArrayD::from_elem(IxDyn(&[1]), 0.3) },
        Function::PRelu { slopes: ArrayD::from_shape_vec(IxDyn(&[3, 1, 1]), vec![0.1, -0.4, 2.0]).unwrap() },
        Function::Clip { min: -0.5, max: 0.75 },
        Function::Sigmoid,
        Function::HardSigmoid { alpha: 0.2, beta: 0.5 },
        Function::HardSwish,
        Function::Tanh,
        Function::Gelu(GeluForm::Erf),
        Function::Gelu(GeluForm::Tanh),
        Function::Erf,
        Function::Exp,
        Function::Pow { exponent: 2.0 },
    ]
    .map(|function| (Op::Unary(function), image.clone()))
    .into();
    let pool = |kind| Op::Pool(Pool { kind, kernel: [3, 2], stride: [2, 1], dilation: [1, 2], padding: [1, 0, 1, 1] });
    ops.extend(
        [
            pool(PoolKind::Max),
            pool(PoolKind::Average { count_include_pad: true }),
            pool(PoolKind::Average { count_include_pad: false }),
            Op::Mean { axes: vec![1, 2], keep: true },
            Op::Concat { axis: 1 },
            Op::Slice(vec![Span::all(3), Span { start: 5, count: 3, step: -2 }, Span { start: 1, count: 2, step: 3 }]),
            Op::Pad(Pad { before: vec![0, 1, 2], after: vec![1, 0, 0], value: 0.0 }),
            Op::Pad(Pad { before: vec![0, 1, 2], after: vec![1, 0, 0], value: 0.6 }),
            Op::Transpose(vec![2, 0, 1]),
        ]
        .map(|op| (op, image.clone())),
    );
    let numbers = |shape: &[usize]| ArrayD::from_shape_fn(IxDyn(shape), |at| (at.slice().iter().sum::<usize>() as f32 - 3.0) / 5.0 + 0.1);
    let constant = |op, shape: &[usize], constant_first| {
        Op::BinaryConstant(BinaryConstant { op, constant: Weight::Float(numbers(shape)), constant_first })
    };
    ops.extend(
        [
            Op::MatMul,
            Op::Softmax { axis: 1 },
            Op::LayerNorm(LayerNorm { axis: 1, scale: numbers(&[8]), bias: Some(numbers(&[8])), epsilon: 1e-5 }),
            Op::Mean { axes: vec![0], keep: false },
            Op::Binary(BinaryOp::Add),
            Op::Binary(BinaryOp::Sub),
            Op::Binary(BinaryOp::Mul),
            constant(BinaryOp::Add, &[8], false),
            constant(BinaryOp::Sub, &[4, 1], true),
            constant(BinaryOp::Mul, &[2, 4, 8], false),
            constant(BinaryOp::Div, &[1], false),
            constant(BinaryOp::Sub, &[], true),
        ]
        .map(|op| (op, sequence.clone())),
    );
    ops
}

#[test]
fn every_operation_is_within_a_step_of_the_reals() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    for (op, shape) in ops() {
        let (network, y) = single(&op, &shape);
        let samples = Array2::from_shape_fn((6, shape.iter().product()), |_| rng.random_range(-2.0..1.5_f32));
        let quantized =
            quantize(&network, &calibrate(&network, samples.view()).unwrap(), "w8a8".parse::<systole::compress::Scheme>().unwrap())
                .unwrap();
        let held = quantized.layer(y).output.quantization.unwrap();
        // The float reference on the same grids, by its own formulas.
        let reals = float::run(&quantized, samples.view()).unwrap();
        for requantize in [Requantizer::Float, FIXED] {
            let accumulate = AccumulateRule { bits: 32, overflow: Overflow::Saturate, chunk: 4 };
            let inputs = integer::quantize_inputs(&quantized, samples.view()).unwrap();
            let trace = integer::run(&quantized, |_| Arithmetic { accumulate, requantize }, inputs).unwrap();
            // A constant is held in 8 bits, half a step of 1/127 of its greatest off: as many steps of the output as that is.
            let constant = if let Op::BinaryConstant(binary) = &op
                && binary.constant.len() > 1
            {
                let greatest = |reals: &mut dyn Iterator<Item = f32>| reals.fold(0.0, |max: f32, x| max.max(x.abs()));
                let step = greatest(&mut binary.constant.to_reals().iter().copied()) / 254.0;
                let reach = if binary.op == BinaryOp::Mul { greatest(&mut samples.iter().copied()) } else { 1.0 };
                step * reach / held.scale
            } else {
                0.0
            };
            for (q, real) in trace.layer(y).unwrap().iter().zip(reals.layer(y)) {
                let steps = (held.dequantize(*q) - real).abs() / held.scale;
                assert!(steps <= 1.01 + constant, "{op:?} {requantize:?}: {q} is {} and should be {real}", held.dequantize(*q));
            }
        }
    }
}

#[test]
fn what_only_moves_keeps_its_quantization_and_joined_values_share_one() {
    for (op, shape) in ops() {
        let (network, y) = single(&op, &shape);
        let samples = Array2::from_elem((1, shape.iter().product()), -1.25);
        let quantized =
            quantize(&network, &calibrate(&network, samples.view()).unwrap(), "w8a8".parse::<systole::compress::Scheme>().unwrap())
                .unwrap();
        if op.only_moves() {
            for input in quantized.inputs(y) {
                assert_eq!(quantized.layer(input).output.quantization, quantized.layer(y).output.quantization, "{op:?}");
            }
        }
    }
}

#[test]
fn names_are_looked_up_by_the_host_and_quotients_go_through_reals() {
    let mut builder = NetworkBuilder::new("words");
    let x = builder.input_of("x", vec![3], Element::Index).unwrap();
    let table = ArrayD::from_shape_fn(IxDyn(&[5, 2]), |at| at[0] as f32 - at[1] as f32 / 2.0);
    let rows = builder.layer("rows", Op::Gather(Weight::Float(table.clone())), &[x]).unwrap();
    // By constants that are never zero, since what is calibrated is finite.
    let shifted = ArrayD::from_elem(IxDyn(&[]), 6.0);
    let shift = Op::BinaryConstant(BinaryConstant { op: BinaryOp::Add, constant: Weight::Float(shifted), constant_first: false });
    let divisor = builder.layer("divisor", shift, &[rows]).unwrap();
    let quotient = builder.layer("quotient", Op::Binary(BinaryOp::Div), &[rows, divisor]).unwrap();
    let network = builder.finish(quotient).unwrap();
    let samples = ndarray::array![[0.0_f32, 4.0, -2.0]];
    let ranges = calibrate(&network, ndarray::array![[2.0_f32, 3.0, 4.0]].view()).unwrap();
    let quantized = quantize(&network, &ranges, "w8a8".parse::<systole::compress::Scheme>().unwrap()).unwrap();
    let arithmetic =
        Arithmetic { accumulate: AccumulateRule { bits: 32, overflow: Overflow::Wrap, chunk: 4 }, requantize: Requantizer::Float };
    let names = integer::quantize_inputs(&quantized, samples.view()).unwrap();
    let found = integer::run_layer(&quantized, rows, &arithmetic, &[&names]).unwrap();
    let held = quantized.layer(rows).output.quantization.unwrap();
    let wanted: Vec<i32> = [0, 4, 3].iter().flat_map(|row| [held.quantize(table[[*row, 0]]), held.quantize(table[[*row, 1]])]).collect();
    assert_eq!(found.row(0).to_vec(), wanted);
    let trace = integer::run(&quantized, |_| arithmetic, names).unwrap();
    let held = [rows, divisor, quotient].map(|id| quantized.layer(id).output.quantization.unwrap());
    let [a, b, y] = [rows, divisor, quotient].map(|id| trace.layer(id).unwrap());
    for ((a, b), y) in a.iter().zip(b).zip(y) {
        assert_eq!(*y, held[2].quantize(held[0].dequantize(*a) / held[1].dequantize(*b)), "{a} by {b}");
    }
}
