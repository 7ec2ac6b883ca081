//! What a layer takes in: factors and shifts of its channels behind it (a normalisation by the batch, a bias), a border of zeros before it.

use super::Sketch;
use crate::network::{Activation, Bias, BinaryConstant, BinaryOp, Border, Conv, Dense, Op, Weight};
use crate::numerics::Dtype;
use ndarray::{ArrayD, Axis, RemoveAxis};

/// Lets dense layers and convolutions take in what follows them, and convolutions the border before them.
pub(super) fn into_layers(sketch: &mut Sketch) {
    for index in 0..sketch.nodes.len() {
        if !sketch.lives(index) {
            continue;
        }
        while let Some(follower) = sketch.only_reader(index)
            && sketch.is_real(index)
            && takes_in(sketch, index, follower)
        {
            sketch.nodes[index].quantization = sketch.nodes[follower].quantization;
            sketch.forward(follower, index);
        }
        take_border(sketch, index);
    }
}

/// Takes the arithmetic of `follower` into the layer, where it is the same for all of a channel.
fn takes_in(sketch: &mut Sketch, index: usize, follower: usize) -> bool {
    let shape = sketch.nodes[index].shape.clone();
    let Op::BinaryConstant(BinaryConstant { op, constant: Weight::Float(constant), constant_first }) = &sketch.nodes[follower].op else {
        return false;
    };
    if *constant_first && !matches!(op, BinaryOp::Add | BinaryOp::Mul) {
        return false;
    }
    let op = *op;
    let (axis, outputs) = match &sketch.nodes[index].op {
        Op::Dense(dense) if dense.activation == Activation::None => (shape.len() - 1, dense.outputs()),
        Op::Conv(conv) if conv.activation == Activation::None => (0, conv.outputs()),
        _ => return false,
    };
    let Some(numbers) = of_channels(constant, &shape, axis, outputs) else { return false };
    match &mut sketch.nodes[index].op {
        Op::Dense(Dense { weight, bias, .. }) => folded(op, &numbers, weight, 1, bias),
        Op::Conv(Conv { weight, bias, .. }) => folded(op, &numbers, weight, 0, bias),
        _ => false,
    }
}

/// One number a channel, where a constant has the same for all of it and does not make the value larger.
fn of_channels(constant: &ArrayD<f32>, shape: &[usize], axis: usize, outputs: usize) -> Option<Vec<f32>> {
    if constant.ndim() > shape.len() {
        return None;
    }
    let leading = shape.len() - constant.ndim();
    let fits = constant.shape().iter().enumerate().all(|(place, size)| *size == 1 || (place + leading == axis && *size == outputs));
    fits.then(|| constant.iter().copied().cycle().take(outputs).collect())
}

/// Takes numbers, one a channel, into weights and bias; `false`, and nothing done, where the result could not be held.
fn folded<D: RemoveAxis>(op: BinaryOp, numbers: &[f32], weight: &mut Weight<D>, axis: usize, bias: &mut Option<Bias>) -> bool {
    let mut biases = match bias {
        None => vec![0.0; numbers.len()],
        Some(Bias::Float(bias)) => bias.to_vec(),
        Some(Bias::Integer(_)) => return false,
    };
    let had = bias.is_some();
    for (bias, number) in biases.iter_mut().zip(numbers) {
        *bias = op.apply(*bias, *number);
    }
    if biases.iter().any(|bias| !bias.is_finite()) {
        return false;
    }
    if matches!(op, BinaryOp::Mul | BinaryOp::Div) {
        let Weight::Float(values) = weight else { return false };
        let finite = values.axis_iter(Axis(axis)).zip(numbers).all(|(lane, number)| lane.iter().all(|w| op.apply(*w, *number).is_finite()));
        if !finite {
            return false;
        }
        for (mut lane, number) in values.axis_iter_mut(Axis(axis)).zip(numbers) {
            lane.mapv_inplace(|w| op.apply(w, *number));
        }
        if !had {
            return true;
        }
    }
    *bias = Some(Bias::Float(biases.into()));
    true
}

/// Takes a border of zeros around the image into the convolution that alone reads it.
fn take_border(sketch: &mut Sketch, index: usize) {
    let Op::Conv(_) = &sketch.nodes[index].op else { return };
    let border = sketch.nodes[index].inputs[0];
    let Op::Pad(pad) = &sketch.nodes[border].op else { return };
    let source = sketch.nodes[border].inputs[0];
    let alike = sketch.is_real(border) || sketch.nodes[border].quantization == sketch.nodes[source].quantization;
    // A binary image has no zero: its border is one of its two values.
    let is_binary = sketch.nodes[border].quantization.is_some_and(|grid| grid.dtype == Dtype::Binary);
    let kind = if !is_binary {
        Border::Zero
    } else if pad.value < 0.0 {
        Border::Minus
    } else {
        Border::Plus
    };
    if sketch.only_reader(border) != Some(index) || (pad.value != 0.0 && !is_binary) || pad.before[0] != 0 || pad.after[0] != 0 || !alike {
        return;
    }
    let sizes = [pad.before[1], pad.before[2], pad.after[1], pad.after[2]];
    if let Op::Conv(conv) = &sketch.nodes[index].op
        && conv.padding != [0; 4]
        && conv.border != kind
    {
        return;
    }
    let Op::Conv(mut conv) = std::mem::replace(&mut sketch.nodes[index].op, Op::Quantize) else { return };
    for (padding, size) in conv.padding.iter_mut().zip(sizes) {
        *padding += size;
    }
    conv.border = kind;
    sketch.rewrite(index, Op::Conv(conv), vec![source]);
}
