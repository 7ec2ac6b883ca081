//! Movements of data that cancel or join, and quantizations behind movements, which hold before them too.

use super::Sketch;
use crate::network::{Element, Function, Op};

/// Removes reshapes and transpositions that undo each other, and joins those that follow each other.
pub(super) fn cancel(sketch: &mut Sketch) {
    for index in 0..sketch.nodes.len() {
        if !sketch.lives(index) {
            continue;
        }
        match &sketch.nodes[index].op {
            Op::Reshape(_) => reshape(sketch, index),
            Op::Transpose(_) => transpose(sketch, index),
            _ => {}
        }
    }
}

/// Whether a layer can be left out of the way from its source to its reader: its output is its source's numbers on no other grid.
fn is_plain(sketch: &Sketch, index: usize) -> bool {
    let source = sketch.nodes[index].inputs[0];
    sketch.is_real(index) || sketch.nodes[index].quantization == sketch.nodes[source].quantization
}

fn reshape(sketch: &mut Sketch, index: usize) {
    let source = sketch.nodes[index].inputs[0];
    if matches!(sketch.nodes[source].op, Op::Reshape(_)) && is_plain(sketch, source) {
        let op = sketch.nodes[index].op.clone();
        let first = sketch.nodes[source].inputs[0];
        sketch.rewrite(index, op, vec![first]);
    }
    let source = sketch.nodes[index].inputs[0];
    if sketch.nodes[source].shape == sketch.nodes[index].shape && is_plain(sketch, index) && !matches!(sketch.nodes[source].op, Op::Input) {
        sketch.forward(index, source);
    }
}

fn transpose(sketch: &mut Sketch, index: usize) {
    let Op::Transpose(perm) = sketch.nodes[index].op.clone() else { return };
    // Up through what works on each element alone, as far as this is all that reads it.
    let mut top = index;
    let mut source = sketch.nodes[index].inputs[0];
    while sketch.only_reader(source) == Some(top) && is_elementwise(sketch, source) {
        top = source;
        source = sketch.nodes[top].inputs[0];
    }
    let Op::Transpose(first) = &sketch.nodes[source].op else { return };
    let joined: Vec<usize> = perm.iter().map(|axis| first[*axis]).collect();
    let origin = sketch.nodes[source].inputs[0];
    if !is_plain(sketch, source) {
        return;
    }
    if joined.is_sorted() && is_plain(sketch, index) {
        // What stands between works on the untransposed value, whose shape is the last one's.
        let mut between = sketch.nodes[index].inputs[0];
        let last = between;
        let shape = sketch.nodes[index].shape.clone();
        while between != source {
            sketch.nodes[between].shape.clone_from(&shape);
            between = sketch.nodes[between].inputs[0];
        }
        if top == index {
            sketch.forward(index, origin);
        } else {
            let op = sketch.nodes[top].op.clone();
            sketch.rewrite(top, op, vec![origin]);
            sketch.forward(index, last);
        }
    } else if top == index {
        sketch.rewrite(index, Op::Transpose(joined), vec![origin]);
    }
}

/// Whether a layer does the same to each element, wherever it stands.
fn is_elementwise(sketch: &Sketch, index: usize) -> bool {
    match &sketch.nodes[index].op {
        Op::Unary(Function::PRelu { slopes }) => slopes.len() == 1,
        Op::Unary(_) | Op::Quantize => true,
        Op::BinaryConstant(binary) => binary.constant.len() == 1 && binary.constant.shape().len() <= sketch.nodes[index].shape.len(),
        _ => false,
    }
}

/// What only moves numbers onto a grid is fed from that grid: rounding each number first or last is the same, and the layer before can do it.
pub(super) fn quantize_sources(sketch: &mut Sketch) {
    for index in (0..sketch.nodes.len()).rev() {
        let Some(quantization) = sketch.nodes[index].quantization.filter(|_| sketch.lives(index) && sketch.nodes[index].op.only_moves())
        else {
            continue;
        };
        for input in sketch.nodes[index].inputs.clone() {
            let node = &sketch.nodes[input];
            let free = sketch.only_reader(input) == Some(index) && node.quantization.is_none() && node.element == Element::Real;
            if free && !matches!(node.op, Op::Constant(_)) {
                sketch.nodes[input].quantization = Some(quantization);
            }
        }
    }
}
