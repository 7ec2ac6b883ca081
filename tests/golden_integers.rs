//! Does the integer reference compute what onnxruntime's integer operators compute from the same inputs, bit for bit?
//!
//! The cases are made by `scripts/make_integer_goldens.py`. `MatMulInteger` and `ConvInteger` yield the sums themselves: here through an output
//! of 16 bits and scale 1, which holds those of the cases.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod arrays;

use arrays::Array;
use ndarray::{Array2, ArrayD, Axis, IxDyn};
use std::collections::BTreeMap;
use std::path::Path;
use systole::network::{Activation, Bias, Border, Conv, Dense, NetworkBuilder, Op, Weight};
use systole::numerics::{AccumulateRule, Arithmetic, Dtype, Overflow, Quantization, Requantizer};
use systole::reference::integer;

type Case = BTreeMap<String, Array>;

const RULE: AccumulateRule = AccumulateRule { bits: 32, overflow: Overflow::Wrap, chunk: 16 };

/// Unsigned bytes become signed ones: the integer and its zero point both less 128.
fn signed(case: &Case, name: &str) -> Vec<i32> {
    let shift = if case[name].kind == "|u1" { 128 } else { 0 };
    case[name].integers().into_iter().map(|value| value - shift).collect()
}

fn quantization(case: &Case, operand: &str) -> Quantization {
    let scale = case.get(&format!("{operand}_scale")).map_or(1.0, |scale| scale.reals()[0]);
    let zero_point = case.get(&format!("{operand}_zero")).map_or(0, |_| signed(case, &format!("{operand}_zero"))[0]);
    let dtype = if case[operand].kind == "<i4" { Dtype::Int16 } else { Dtype::Int8 };
    Quantization { dtype, scale, zero_point }
}

fn rows(case: &Case, name: &str) -> Array2<i32> {
    let array = &case[name];
    Array2::from_shape_vec((array.shape[0], array.numbers.len() / array.shape[0]), signed(case, name)).unwrap()
}

/// Integer weights of any rank.
fn weight(case: &Case) -> (ArrayD<i16>, Vec<f32>, Vec<i32>) {
    let values = case["w"].integers().into_iter().map(|value| i16::try_from(value).unwrap()).collect();
    let scales = case.get("w_scale").map_or_else(|| vec![1.0], Array::reals);
    (ArrayD::from_shape_vec(IxDyn(&case["w"].shape), values).unwrap(), scales, case["w_zero"].integers())
}

fn pair<const N: usize>(array: &Array) -> [usize; N] {
    let sizes: Vec<usize> = array.integers().into_iter().map(|size| usize::try_from(size).unwrap()).collect();
    sizes.try_into().unwrap()
}

/// What the integer reference computes for a case's operator.
fn found(name: &str, case: &Case) -> Array2<i32> {
    let arithmetic = Arithmetic { accumulate: RULE, requantize: Requantizer::Float };
    let mut builder = NetworkBuilder::new(name);
    // A matrix of rows is a batch of samples.
    let x = builder.input("x", case["x"].shape[1..].to_vec()).unwrap();
    builder.quantize(x, quantization(case, "x"));
    let (x_rows, mut inputs) = (rows(case, "x"), vec![x]);
    let op = if case["w"].shape[0] == case["x"].shape[0] && case["x"].shape.len() == 4 && name == "attention" {
        let constant = Weight::Float(ArrayD::zeros(IxDyn(&case["w"].shape[1..])));
        let w = builder.layer("w", Op::Constant(constant), &[]).unwrap();
        builder.quantize(w, quantization(case, "w"));
        inputs.push(w);
        Op::MatMul
    } else {
        let (values, scales, zero_points) = weight(case);
        let bias = case.get("b").map(|bias| Bias::Integer(bias.integers().into_iter().map(i64::from).collect()));
        if let Some(stride) = case.get("stride") {
            // The file's border is top, left, bottom, right, as ours.
            let (padding, dilation) = (pair(&case["pads"]), pair(&case["dilation"]));
            let weight = Weight::Integer { values: values.into_dimensionality().unwrap(), dtype: Dtype::Int8, scales, zero_points };
            let [groups] = pair(&case["groups"]);
            Op::Conv(Conv {
                weight,
                bias,
                stride: pair(stride),
                dilation,
                padding,
                border: Border::Zero,
                groups,
                activation: Activation::None,
            })
        } else {
            let weight = Weight::Integer { values: values.into_dimensionality().unwrap(), dtype: Dtype::Int8, scales, zero_points };
            Op::Dense(Dense { weight, bias, activation: Activation::None })
        }
    };
    let y = builder.layer("y", op, &inputs).unwrap();
    builder.quantize(y, quantization(case, "y"));
    let network = builder.finish(y).unwrap();
    if inputs.len() == 2 {
        // Both operands are given, as what the layers before yield.
        return integer::run_layer(&network, y, &arithmetic, &[&x_rows, &rows(case, "w")]).unwrap();
    }
    integer::run(&network, |_| arithmetic, x_rows).unwrap().layer(y).unwrap().clone()
}

#[test]
fn every_operator_equals_onnxruntime_bit_for_bit() {
    let mut cases = 0;
    for entry in std::fs::read_dir(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden/integers")).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_string();
        let case = arrays::read(&path);
        let (found, wanted) = (found(&name, &case), rows(&case, "y"));
        assert_eq!(found.dim(), wanted.dim(), "{name}");
        let differ = found.iter().zip(&wanted).filter(|(found, wanted)| found != wanted).count();
        assert_eq!(differ, 0, "{name}: {differ} of {} differ", wanted.len());
        // A case whose outputs all clamp would show little.
        let ends = [i32::from(i8::MIN), i32::from(i8::MAX)];
        let clamped = wanted.axis_iter(Axis(0)).flatten().filter(|y| ends.contains(y)).count();
        assert!(clamped * 4 < wanted.len(), "{name}: {clamped} of {} outputs clamp", wanted.len());
        cases += 1;
    }
    assert_eq!(cases, 11, "a case is missing: run scripts/make_integer_goldens.py");
}
