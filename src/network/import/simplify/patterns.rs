//! Operations that exporters write as many nodes: layer normalisation, GELU in both forms, `HardSwish`.

use super::Sketch;
use crate::network::{BinaryConstant, BinaryOp, Function, GeluForm, LayerNorm, Op, Weight};
use ndarray::{ArrayD, IxDyn};

/// The most factors that a product is looked through for.
const MAX_FACTORS: usize = 4;

/// Finds the patterns, and makes each the one layer that it is.
pub(super) fn recognise(sketch: &mut Sketch) {
    for index in 0..sketch.nodes.len() {
        if !sketch.lives(index) {
            continue;
        }
        if let Some((function, x)) = gated(sketch, index) {
            sketch.rewrite(index, Op::Unary(function), vec![x]);
        } else if let Some((norm, x)) = normalised(sketch, index) {
            sketch.rewrite(index, Op::LayerNorm(norm), vec![x]);
        } else if let Some((norm, source)) = scaled_norm(sketch, index) {
            let inputs = sketch.nodes[source].inputs.clone();
            sketch.rewrite(index, Op::LayerNorm(norm), inputs);
        }
    }
}

/// A number that a layer joins with the value that it reads: what is done, the number, whether it stands left.
fn number(op: &Op) -> Option<(BinaryOp, f32, bool)> {
    match op {
        Op::BinaryConstant(BinaryConstant { op, constant: Weight::Float(values), constant_first }) if values.len() == 1 => {
            values.first().map(|value| (*op, *value, *constant_first))
        }
        _ => None,
    }
}

/// `x + number`: x, where the layer adds this number.
fn added(sketch: &Sketch, index: usize, wanted: f64) -> Option<usize> {
    let node = &sketch.nodes[index];
    match number(&node.op) {
        Some((BinaryOp::Add, value, _)) if sketch.is_real(index) && near(f64::from(value), wanted) => Some(node.inputs[0]),
        _ => None,
    }
}

/// A layer as the product of a number and other layers, looked through whatever multiplies reals.
fn factors(sketch: &Sketch, root: usize) -> (f64, Vec<usize>) {
    let (mut constant, mut found) = (1.0, Vec::new());
    let mut open = vec![root];
    while let Some(index) = open.pop() {
        let node = &sketch.nodes[index];
        let through = index == root || sketch.is_real(index);
        match (&node.op, number(&node.op)) {
            _ if !through || found.len() + open.len() >= MAX_FACTORS => found.push(index),
            (_, Some((BinaryOp::Mul, value, _))) => {
                constant *= f64::from(value);
                open.push(node.inputs[0]);
            }
            (_, Some((BinaryOp::Div, value, false))) => {
                constant /= f64::from(value);
                open.push(node.inputs[0]);
            }
            (Op::Binary(BinaryOp::Mul), _) => open.extend(&node.inputs),
            (Op::Unary(Function::Pow { exponent }), _) if near(f64::from(*exponent), 2.0) => open.extend([node.inputs[0]; 2]),
            (Op::Unary(Function::Pow { exponent }), _) if near(f64::from(*exponent), 3.0) => open.extend([node.inputs[0]; 3]),
            _ => found.push(index),
        }
    }
    (constant, found)
}

fn near(found: f64, wanted: f64) -> bool {
    (found - wanted).abs() <= 1e-5 * wanted.abs()
}

/// What the function `wanted` reads at this layer.
fn argument(sketch: &Sketch, index: usize, wanted: &Function) -> Option<usize> {
    let node = &sketch.nodes[index];
    (sketch.is_real(index) && matches!(&node.op, Op::Unary(function) if function == wanted)).then(|| node.inputs[0])
}

/// `x` times a gate that is a function of x: GELU or `HardSwish`.
fn gated(sketch: &Sketch, index: usize) -> Option<(Function, usize)> {
    let op = &sketch.nodes[index].op;
    if !matches!(op, Op::Binary(BinaryOp::Mul)) && number(op).is_none() {
        return None;
    }
    let (constant, found) = factors(sketch, index);
    let [a, b] = found[..] else { return None };
    [(a, b), (b, a)].into_iter().find_map(|(x, gate)| {
        let inside = added(sketch, gate, 1.0);
        if near(constant, 0.5)
            && inside
                .and_then(|erf| argument(sketch, erf, &Function::Erf))
                .is_some_and(|z| is_multiple(sketch, z, std::f64::consts::FRAC_1_SQRT_2, x))
        {
            return Some((Function::Gelu(GeluForm::Erf), x));
        }
        if near(constant, 0.5) && inside.and_then(|tanh| argument(sketch, tanh, &Function::Tanh)).is_some_and(|z| is_cubic(sketch, z, x)) {
            return Some((Function::Gelu(GeluForm::Tanh), x));
        }
        let node = &sketch.nodes[gate];
        let hard = match &node.op {
            Op::Unary(Function::HardSigmoid { alpha, beta }) => {
                near(constant, 1.0) && near(f64::from(*alpha), 1.0 / 6.0) && near(f64::from(*beta), 0.5) && node.inputs[0] == x
            }
            Op::Unary(Function::Clip { min: 0.0, max: 6.0 }) => near(constant, 1.0 / 6.0) && added(sketch, node.inputs[0], 3.0) == Some(x),
            _ => false,
        };
        (hard && sketch.is_real(gate)).then_some((Function::HardSwish, x))
    })
}

/// Whether a layer is `factor * x`.
fn is_multiple(sketch: &Sketch, index: usize, factor: f64, x: usize) -> bool {
    let (constant, found) = factors(sketch, index);
    sketch.is_real(index) && near(constant, factor) && found == [x]
}

/// Whether a layer is `sqrt(2/pi) * (x + 0.044715 x^3)`, however it is written.
fn is_cubic(sketch: &Sketch, index: usize, x: usize) -> bool {
    let (constant, found) = factors(sketch, index);
    if !sketch.is_real(index) || !near(constant, (2.0 / std::f64::consts::PI).sqrt()) {
        return false;
    }
    let power = |index: usize, exponent: usize| {
        let (constant, found) = factors(sketch, index);
        sketch.is_real(index) && near(constant, 0.044_715) && found == vec![x; exponent]
    };
    match found[..] {
        [sum] => match (&sketch.nodes[sum].op, &sketch.nodes[sum].inputs[..]) {
            (Op::Binary(BinaryOp::Add), [a, b]) => sketch.is_real(sum) && ((*a == x && power(*b, 3)) || (*b == x && power(*a, 3))),
            _ => false,
        },
        [a, b] => {
            [(a, b), (b, a)].into_iter().any(|(one, other)| one == x && added(sketch, other, 1.0).is_some_and(|square| power(square, 2)))
        }
        _ => false,
    }
}

/// `(x - mean) / sqrt(mean((x - mean)^2) + epsilon)` over the last axes.
fn normalised(sketch: &Sketch, index: usize) -> Option<(LayerNorm, usize)> {
    let node = &sketch.nodes[index];
    let (centred, root) = match (&node.op, &node.inputs[..]) {
        (Op::Binary(BinaryOp::Div), [centred, root]) => (*centred, *root),
        (Op::Binary(BinaryOp::Mul), [a, b]) => {
            let inverse = |index: usize| match number(&sketch.nodes[index].op) {
                Some((BinaryOp::Div, value, true)) if near(f64::from(value), 1.0) && sketch.is_real(index) => {
                    Some(sketch.nodes[index].inputs[0])
                }
                _ => None,
            };
            inverse(*b).map(|root| (*a, root)).or_else(|| inverse(*a).map(|root| (*b, root)))?
        }
        _ => return None,
    };
    let sum = argument(sketch, root, &Function::Sqrt)?;
    let (BinaryOp::Add, epsilon, _) = number(&sketch.nodes[sum].op)? else { return None };
    let variance = sketch.nodes[sum].inputs[0];
    let (axes, square) = mean_of(sketch, variance)?;
    let (x, of_mean) = centred_of(sketch, centred)?;
    let (constant, found) = factors(sketch, square);
    let squared = near(constant, 1.0)
        && found.len() == 2
        && found.iter().all(|index| *index == centred || centred_of(sketch, *index).is_some_and(|other| other == (x, of_mean)));
    let shape = &sketch.nodes[x].shape;
    let axis = *axes.first()?;
    let last = axes.iter().copied().eq(axis..shape.len()) && of_mean == axes;
    if !squared || !last || !sketch.is_real(square) || !sketch.is_real(sum) || epsilon < 0.0 {
        return None;
    }
    let scale = ArrayD::ones(IxDyn(&shape[axis..]));
    Some((LayerNorm { axis, scale, bias: None, epsilon }, x))
}

/// The axes and the argument of a mean that keeps its axes.
fn mean_of(sketch: &Sketch, index: usize) -> Option<(&[usize], usize)> {
    match &sketch.nodes[index].op {
        Op::Mean { axes, keep: true } if sketch.is_real(index) => Some((axes, sketch.nodes[index].inputs[0])),
        _ => None,
    }
}

/// `x - mean(x)`: x, and the axes of the mean.
fn centred_of(sketch: &Sketch, index: usize) -> Option<(usize, &[usize])> {
    let node = &sketch.nodes[index];
    let (Op::Binary(BinaryOp::Sub), [x, mean]) = (&node.op, &node.inputs[..]) else { return None };
    let (axes, of) = mean_of(sketch, *mean)?;
    (of == *x && sketch.is_real(index)).then_some((*x, axes))
}

/// A scale or bias right behind a layer normalisation that has none yet.
fn scaled_norm(sketch: &Sketch, index: usize) -> Option<(LayerNorm, usize)> {
    let node = &sketch.nodes[index];
    let Op::BinaryConstant(BinaryConstant { op, constant: Weight::Float(values), .. }) = &node.op else { return None };
    let source = node.inputs[0];
    let Op::LayerNorm(norm) = &sketch.nodes[source].op else { return None };
    if sketch.only_reader(source) != Some(index) || !sketch.is_real(source) || norm.bias.is_some() {
        return None;
    }
    let values = rows_of(values, norm.scale.shape())?;
    let mut norm = norm.clone();
    match op {
        BinaryOp::Mul if norm.scale.iter().all(|scale| scale.to_bits() == 1.0_f32.to_bits()) => norm.scale = values,
        BinaryOp::Add => norm.bias = Some(values),
        _ => return None,
    }
    Some((norm, source))
}

/// A constant as rows of this shape, where it broadcasts to them and to nothing larger.
fn rows_of(values: &ArrayD<f32>, rows: &[usize]) -> Option<ArrayD<f32>> {
    let extra = values.ndim().saturating_sub(rows.len());
    if values.shape()[..extra].iter().any(|size| *size != 1) {
        return None;
    }
    let trimmed = values.to_shape(IxDyn(&values.shape()[extra..])).ok()?;
    trimmed.broadcast(IxDyn(rows)).map(|view| view.to_owned())
}
