//! What each ONNX operator becomes: a layer, another name of a value, or a constant. A form that is not supported is refused, never bent.
//!
//! An axis in the file counts the batch axis, where the value has one; a shape of ours does not have it.

mod elementwise;
mod image;
mod integers;
mod matrix;
mod quantized;
mod rows;

use super::attributes::fault;
use super::importer::{Importer, Known, Tensor};
use super::movement::Naming;
use super::names::{of_node, shown};
use super::onnx::{GraphProto, NodeProto};
use crate::network::NetworkError;
use std::collections::BTreeSet;
use std::sync::LazyLock;

/// The domain of ONNX Runtime's own operators.
const MICROSOFT: &str = "com.microsoft";
/// The domain of QONNX's operators.
const QONNX: &str = "qonnx.custom_op.general";

/// Every operator that is known: its domain, the values that it reads at least and at most, and those that it makes at most.
const OPERATORS: &[(&str, &str, usize, usize, usize)] = &[
    ("", "Add", 2, 2, 1),
    ("", "AveragePool", 1, 1, 1),
    ("", "BatchNormalization", 5, 5, 5),
    ("", "Cast", 1, 1, 1),
    ("", "Clip", 1, 3, 1),
    ("", "Concat", 1, 4096, 1),
    ("", "Constant", 0, 0, 1),
    ("", "ConstantOfShape", 1, 1, 1),
    ("", "Conv", 2, 3, 1),
    ("", "ConvInteger", 2, 4, 1),
    ("", "DequantizeLinear", 2, 3, 1),
    ("", "Div", 2, 2, 1),
    ("", "Dropout", 1, 3, 2),
    ("", "Equal", 2, 2, 1),
    ("", "Erf", 1, 1, 1),
    ("", "Exp", 1, 1, 1),
    ("", "Expand", 2, 2, 1),
    ("", "Flatten", 1, 1, 1),
    ("", "Gather", 2, 2, 1),
    ("", "Gelu", 1, 1, 1),
    ("", "Gemm", 2, 3, 1),
    ("", "GlobalAveragePool", 1, 1, 1),
    ("", "GlobalMaxPool", 1, 1, 1),
    ("", "HardSigmoid", 1, 1, 1),
    ("", "HardSwish", 1, 1, 1),
    ("", "Identity", 1, 1, 1),
    ("", "LayerNormalization", 2, 3, 3),
    ("", "LeakyRelu", 1, 1, 1),
    ("", "MatMul", 2, 2, 1),
    ("", "MatMulInteger", 2, 4, 1),
    ("", "MaxPool", 1, 1, 2),
    ("", "Mul", 2, 2, 1),
    ("", "Neg", 1, 1, 1),
    ("", "PRelu", 2, 2, 1),
    ("", "Pad", 1, 4, 1),
    ("", "Pow", 2, 2, 1),
    ("", "QLinearConv", 8, 9, 1),
    ("", "QLinearMatMul", 8, 8, 1),
    ("", "QuantizeLinear", 2, 3, 1),
    ("", "Range", 3, 3, 1),
    ("", "Reciprocal", 1, 1, 1),
    ("", "ReduceMean", 1, 2, 1),
    ("", "Relu", 1, 1, 1),
    ("", "Reshape", 2, 2, 1),
    ("", "Shape", 1, 1, 1),
    ("", "Sigmoid", 1, 1, 1),
    ("", "Slice", 1, 5, 1),
    ("", "Softmax", 1, 1, 1),
    ("", "Split", 1, 2, 1024),
    ("", "Sqrt", 1, 1, 1),
    ("", "Squeeze", 1, 2, 1),
    ("", "Sub", 2, 2, 1),
    ("", "Tanh", 1, 1, 1),
    ("", "Transpose", 1, 1, 1),
    ("", "Unsqueeze", 1, 2, 1),
    ("", "Where", 3, 3, 1),
    (MICROSOFT, "DequantizeLinear", 2, 3, 1),
    (MICROSOFT, "Gelu", 1, 1, 1),
    (MICROSOFT, "QGemm", 6, 9, 1),
    (MICROSOFT, "QLinearAdd", 7, 8, 1),
    (MICROSOFT, "QLinearAveragePool", 4, 5, 1),
    (MICROSOFT, "QLinearConcat", 5, 4097, 1),
    (MICROSOFT, "QLinearGlobalAveragePool", 4, 5, 1),
    (MICROSOFT, "QLinearLeakyRelu", 4, 5, 1),
    (MICROSOFT, "QLinearMul", 7, 8, 1),
    (MICROSOFT, "QLinearSigmoid", 4, 5, 1),
    (MICROSOFT, "QLinearSoftmax", 4, 5, 1),
    (MICROSOFT, "QuantizeLinear", 2, 3, 1),
    (QONNX, "BipolarQuant", 2, 2, 1),
    (QONNX, "Quant", 4, 4, 1),
];

/// The names of all operators that are known.
pub(super) static SUPPORTED: LazyLock<String> = LazyLock::new(|| {
    let name = |domain: &str, name: &str| if domain.is_empty() { name.to_string() } else { format!("{domain}.{name}") };
    OPERATORS.iter().map(|(domain, operator, ..)| name(domain, operator)).collect::<Vec<_>>().join(", ")
});

/// Every operator that is known, with its domain.
#[cfg(test)]
pub(super) fn names() -> impl Iterator<Item = (&'static str, &'static str)> {
    OPERATORS.iter().map(|(domain, operator, ..)| (*domain, *operator))
}

fn found(node: &NodeProto) -> Option<&'static (&'static str, &'static str, usize, usize, usize)> {
    let domain = match node.domain() {
        "ai.onnx" => "",
        // The same operators under the names that their exporters gave them before there was one.
        "onnx.brevitas" | "finn.custom_op.general" => QONNX,
        domain => domain,
    };
    OPERATORS.iter().find(|(known, operator, ..)| *known == domain && *operator == node.op_type())
}

/// Refuses operators that are not known, all in one message, and nodes without the operands that theirs needs.
pub(super) fn check_operators(graph: &GraphProto) -> Result<(), NetworkError> {
    let mut unknown = graph.node.iter().filter(|node| found(node).is_none());
    if let Some(node) = unknown.next() {
        let operator = |node: &NodeProto| {
            let domain = if node.domain().is_empty() { String::new() } else { format!("{}.", shown(node.domain())) };
            format!("{domain}{}", shown(node.op_type()))
        };
        let others: Vec<String> = unknown.map(operator).collect();
        let distinct: Vec<&str> = others.iter().map(String::as_str).collect::<BTreeSet<_>>().into_iter().take(8).collect();
        let more =
            if others.is_empty() { String::new() } else { format!(", nor are {} more nodes: {}", others.len(), distinct.join(", ")) };
        let help = match node.op_type() {
            "ConvTranspose" => {
                "no stage computes a transposed convolution: cut the network before it, or write it as Conv, Reshape and Transpose (sub-pixel)"
            }
            "DynamicQuantizeLinear" => "scales that depend on the data are not supported: quantize statically",
            "LSTM" | "GRU" | "RNN" | "Loop" | "If" | "Scan" => "recurrence and control flow are not supported: unroll or cut the network",
            _ => "write it with supported operators, or cut the network before it (onnx.utils.extract_model)",
        };
        let (node, operator) = (shown(of_node(node)), operator(node));
        return Err(NetworkError::Operator { node, operator, more, help });
    }
    for node in &graph.node {
        let Some((_, _, least, most, outputs)) = found(node) else { continue };
        let given = node.input.len();
        if given < *least || given > *most || node.input[..*least].iter().any(String::is_empty) {
            let problem = format!("reads {given} values and needs {least} to {most}, none of the first {least} left out");
            return Err(fault(node, problem, "the file was written wrongly: export it again"));
        }
        if node.output.is_empty() || node.output.len() > *outputs || node.output[0].is_empty() {
            let wanted = if *outputs == 1 { "one".to_string() } else { format!("1 to {outputs}") };
            let problem = format!("makes {} values and should make {wanted} with a name", node.output.len());
            return Err(fault(node, problem, "the file was written wrongly: export it again"));
        }
        if node.op_type() == "Split" && node.output.iter().any(String::is_empty) {
            return Err(fault(node, "leaves the name of an output out".to_string(), "name every part"));
        }
    }
    Ok(())
}

impl<'a> Importer<'a> {
    /// What a node's outputs are.
    pub(super) fn operator(&mut self, node: &'a NodeProto) -> Result<Vec<Known<'a>>, NetworkError> {
        let layer = |tensor: Tensor| vec![Known::Layer(tensor)];
        let quantized = |(tensor, shift)| vec![Known::Integers(tensor, shift)];
        Ok(match node.op_type() {
            "Identity" | "Dropout" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Transpose" | "Slice" | "Split" => {
                self.movement(node)?
            }
            "Gather" if matches!(self.value(node, 0), Known::Constant(_)) => layer(self.embedding(node)?),
            "Gather" => self.movement(node)?,
            "Cast" => vec![self.cast(node)?],
            "Concat" => vec![self.concat(node)?],
            "Pad" => vec![self.pad(node)?],
            "Conv" => layer(self.conv(node)?),
            "MaxPool" | "AveragePool" | "GlobalMaxPool" => vec![self.pool(node)?],
            "Gemm" => layer(self.gemm(node)?),
            "MatMul" => layer(self.matmul(node)?),
            "Add" | "Sub" | "Mul" | "Div" => layer(self.binary(node)?),
            "GlobalAveragePool" | "ReduceMean" => layer(self.mean(node)?),
            "Softmax" => layer(self.softmax(node)?),
            "LayerNormalization" => layer(self.layer_norm(node)?),
            "BatchNormalization" => layer(self.batch_norm(node)?),
            "QuantizeLinear" => quantized(self.quantize_linear(node)?),
            "DequantizeLinear" => layer(self.dequantize_linear(node)?),
            "Quant" => layer(self.quant(node)?),
            "BipolarQuant" => layer(self.bipolar_quant(node)?),
            "Clip" => self.clip(node)?,
            "QLinearConv" => quantized(self.qlinear_conv(node)?),
            "QLinearMatMul" => quantized(self.qlinear_matmul(node)?),
            "QGemm" => quantized(self.qgemm(node)?),
            "QLinearAdd" | "QLinearMul" => quantized(self.qlinear_binary(node)?),
            "QLinearAveragePool" | "QLinearGlobalAveragePool" | "QLinearLeakyRelu" | "QLinearSigmoid" | "QLinearSoftmax" => {
                quantized(self.qlinear_of_one(node)?)
            }
            "QLinearConcat" => quantized(self.qlinear_concat(node)?),
            "MatMulInteger" => layer(self.matmul_integer(node)?),
            "ConvInteger" => layer(self.conv_integer(node)?),
            "PRelu" => layer(self.prelu(node)?),
            "ConstantOfShape" | "Equal" | "Expand" | "Range" | "Where" => {
                let problem = "reads a value that is computed from the data".to_string();
                return Err(fault(
                    node,
                    problem,
                    "it is supported on constants only: export the model with fixed sizes, or cut the network before it",
                ));
            }
            _ => layer(self.unary(node)?),
        })
    }

    fn movement(&mut self, node: &'a NodeProto) -> Result<Vec<Known<'a>>, NetworkError> {
        let (tensor, shift) = match self.value(node, 0) {
            Known::Integers(tensor, shift) => (tensor, Some(shift)),
            _ => (self.tensor(node, 0)?, None),
        };
        let full = self.full(tensor);
        let outputs = self.movements(node, &full)?.expect("bug: every operator here is a movement");
        let mut naming = Naming(false);
        let mut made = Vec::new();
        for movements in outputs {
            let moved = self.moved(node, &mut naming, tensor, movements)?;
            made.push(shift.map_or(Known::Layer(moved), |shift| Known::Integers(moved, shift)));
        }
        Ok(made)
    }
}
