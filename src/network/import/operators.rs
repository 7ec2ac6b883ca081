//! What each ONNX operator becomes: a layer, another name of a value, or a constant. A form that is not supported is refused, never bent.
//!
//! An axis in the file counts the batch axis, which is always the first; a shape of ours does not have it.

use super::attributes::{Attributes, fault};
use super::importer::{Importer, Known};
use super::onnx::NodeProto;
use super::tensor::MAX_RANK;
use crate::network::{Activation, Bias, BinaryConstant, BinaryOp, Dense, LayerId, NetworkError, Op, Weight};
use ndarray::{Array1, Array2, ArrayD, Axis, Ix2};

/// Every operator that is known.
pub(super) const SUPPORTED: &[&str] = &["Add", "Constant", "Flatten", "Gemm", "Identity", "MatMul", "Relu", "Reshape", "Softmax"];

/// The values that an operator reads, at least and at most.
pub(super) fn arity(operator: &str) -> (usize, usize) {
    match operator {
        "Constant" => (0, 0),
        "Gemm" => (2, 3),
        "Add" | "MatMul" | "Reshape" => (2, 2),
        _ => (1, 1),
    }
}

impl<'a> Importer<'a> {
    /// Adds what one node makes.
    pub(super) fn lower(&mut self, index: usize) -> Result<(), NetworkError> {
        let node = &self.graph.node[index];
        if let Some(id) = self.fused.get(&index) {
            let id = *id;
            return self.define(node, Known::Layer(id));
        }
        let known = match node.op_type() {
            "Constant" => return Ok(()),
            "Gemm" => Known::Layer(self.gemm(node)?),
            "MatMul" => Known::Layer(self.matmul(node)?),
            "Add" => Known::Layer(self.add(node)?),
            "Relu" => {
                Attributes::new(node, &[])?;
                Known::Layer(self.unary(node, Op::RELU)?)
            }
            "Softmax" => Known::Layer(self.softmax(node)?),
            "Flatten" => Known::Layer(self.flatten(node)?),
            "Reshape" => Known::Layer(self.reshape(node)?),
            _ => {
                Attributes::new(node, &[])?;
                self.value(node, 0)
            }
        };
        self.define(node, known)
    }

    fn unary(&mut self, node: &'a NodeProto, op: Op) -> Result<LayerId, NetworkError> {
        let input = self.activation(node, 0)?;
        self.layer(node, op, &[input])
    }

    fn gemm(&mut self, node: &'a NodeProto) -> Result<LayerId, NetworkError> {
        let attributes = Attributes::new(node, &["alpha", "beta", "transA", "transB"])?;
        let (alpha, beta) = (attributes.float("alpha", 1.0)?, attributes.float("beta", 1.0)?);
        if attributes.integer("transA", 0)? != 0 {
            return Err(fault(node, "has transA = 1, which makes the batch the reduced axis".to_string(), "only transA = 0 is supported"));
        }
        let input = self.activation(node, 0)?;
        let shape = &self.builder.value(input).shape;
        if shape.len() != 1 {
            let problem = format!("reads samples of shape {shape:?}; Gemm reads matrices (batch x features)");
            return Err(fault(node, problem, "put a Flatten before it"));
        }
        let mut weight = self.matrix(node, 1)?;
        if attributes.integer("transB", 0)? != 0 {
            weight = weight.reversed_axes().as_standard_layout().into_owned();
        }
        scale(node, weight.as_slice_mut(), alpha)?;
        if node.input.get(2).is_none_or(String::is_empty) {
            return self.dense(node, input, weight, None);
        }
        let constant = self.floats(node, 2)?;
        let Some(mut bias) = as_bias(&constant, weight.ncols(), 2) else {
            let problem = format!("adds C of shape {:?} to rows of {}", constant.shape(), weight.ncols());
            return Err(fault(node, problem, "C must be one row, the same for every sample"));
        };
        scale(node, bias.as_slice_mut(), beta)?;
        self.dense(node, input, weight, Some(bias))
    }

    fn matmul(&mut self, node: &'a NodeProto) -> Result<LayerId, NetworkError> {
        Attributes::new(node, &[])?;
        let input = self.activation(node, 0)?;
        let weight = self.matrix(node, 1)?;
        self.dense(node, input, weight, None)
    }

    /// A dense layer, which takes in an `Add` of a bias where that alone reads it.
    fn dense(
        &mut self,
        node: &'a NodeProto,
        input: LayerId,
        weight: Array2<f32>,
        bias: Option<Array1<f32>>,
    ) -> Result<LayerId, NetworkError> {
        let rank = self.builder.value(input).shape.len() + 1;
        let (bias, adder) = match bias {
            Some(bias) => (Some(bias), None),
            None => self.following_bias(node, weight.ncols(), rank)?.unzip(),
        };
        let dense = Dense { weight: Weight::Float(weight), bias: bias.map(Bias::Float), activation: Activation::None };
        let id = self.layer(node, Op::Dense(dense), &[input])?;
        if let Some(adder) = adder {
            self.fused.insert(adder, id);
        }
        Ok(id)
    }

    /// The bias that an `Add` right behind `node` adds, and that node's index.
    fn following_bias(&mut self, node: &'a NodeProto, outputs: usize, rank: usize) -> Result<Option<(Array1<f32>, usize)>, NetworkError> {
        let Some(index) = self.wiring.only_reader(&node.output[0]) else { return Ok(None) };
        let adder = &self.graph.node[index];
        if adder.op_type() != "Add" || !adder.attribute.is_empty() {
            return Ok(None);
        }
        let slot = usize::from(adder.input[0] == node.output[0]);
        if !matches!(self.values.get(adder.input[slot].as_str()), Some(Known::Constant(_))) {
            return Ok(None);
        }
        let constant = self.floats(adder, slot)?;
        Ok(as_bias(&constant, outputs, rank).map(|bias| (bias, index)))
    }

    fn add(&mut self, node: &'a NodeProto) -> Result<LayerId, NetworkError> {
        Attributes::new(node, &[])?;
        let (value, slot) = match (self.value(node, 0), self.value(node, 1)) {
            (Known::Layer(left), Known::Layer(right)) => return self.layer(node, Op::Binary(BinaryOp::Add), &[left, right]),
            (Known::Layer(value), Known::Constant(_)) => (value, 1),
            (Known::Constant(_), Known::Layer(value)) => (value, 0),
            (Known::Constant(_), Known::Constant(_)) => {
                return Err(fault(node, "adds two constants".to_string(), "fold constants first, for example with onnxsim"));
            }
        };
        let mut constant = self.floats(node, slot)?;
        let rank = self.builder.value(value).shape.len() + 1;
        if constant.ndim() > rank || (constant.ndim() == rank && constant.len_of(Axis(0)) != 1) {
            let problem = format!("adds a constant of shape {:?} to values of rank {rank} (batch included)", constant.shape());
            return Err(fault(node, problem, "the constant must be the same for every sample: its batch axis must be 1 or left out"));
        }
        if constant.ndim() == rank {
            constant = constant.index_axis_move(Axis(0), 0);
        }
        self.layer(
            node,
            Op::BinaryConstant(BinaryConstant { op: BinaryOp::Add, constant: Weight::Float(constant), constant_first: false }),
            &[value],
        )
    }

    fn softmax(&mut self, node: &'a NodeProto) -> Result<LayerId, NetworkError> {
        let attributes = Attributes::new(node, &["axis"])?;
        let modern = self.opset >= 13;
        let given = attributes.integer("axis", if modern { -1 } else { 1 })?;
        let input = self.activation(node, 0)?;
        let shape = self.builder.value(input).shape.clone();
        let axis = self.axis(node, given, shape.len(), self.opset >= 11)?;
        // Before opset 13 everything from the axis on was one row; that is the last axis where those before it are 1.
        let is_last = axis == shape.len() || (!modern && axis > 0 && shape[axis - 1..shape.len() - 1].iter().all(|size| *size == 1));
        if axis == 0 || !is_last {
            let meaning = if modern { "" } else { ", which before opset 13 means all axes from there on" };
            let problem = format!("has axis = {given}{meaning}, and samples of shape {shape:?} (the batch is axis 0)");
            return Err(fault(node, problem, "only a softmax over the last axis is supported"));
        }
        self.layer(node, Op::Softmax { axis: shape.len() - 1 }, &[input])
    }

    fn flatten(&mut self, node: &'a NodeProto) -> Result<LayerId, NetworkError> {
        let attributes = Attributes::new(node, &["axis"])?;
        let given = attributes.integer("axis", 1)?;
        let input = self.activation(node, 0)?;
        let shape = self.builder.value(input).shape.clone();
        let rank = shape.len() + 1;
        let axis = if usize::try_from(given) == Ok(rank) { rank } else { self.axis(node, given, shape.len(), self.opset >= 11)? };
        if axis == 0 || shape[..axis - 1].iter().any(|size| *size != 1) {
            let problem = format!("has axis = {given} and samples of shape {shape:?}, so that samples would be cut or joined");
            return Err(fault(node, problem, "only a Flatten that keeps the batch axis is supported: axis = 1"));
        }
        self.layer(node, Op::Reshape(vec![shape.iter().product()]), &[input])
    }

    fn reshape(&mut self, node: &'a NodeProto) -> Result<LayerId, NetworkError> {
        let attributes = Attributes::new(node, &["allowzero"])?;
        let zero_is_zero = attributes.integer("allowzero", 0)? != 0;
        let input = self.activation(node, 0)?;
        let from = self.builder.value(input).shape.clone();
        let elements: usize = from.iter().product();
        let Known::Constant(tensor) = self.value(node, 1) else {
            return Err(fault(
                node,
                "takes a shape that is computed".to_string(),
                "only a constant shape is supported: fold constants first",
            ));
        };
        let target = super::tensor::integers(&tensor)?;
        let refuse =
            |problem: &str, help| Err(fault(node, format!("reshapes samples of {from:?} to {}: {problem}", listed(&target)), help));
        if target.len() > MAX_RANK {
            return refuse(&format!("it has {} axes, and the limit is {MAX_RANK}", target.len()), "check the shape");
        }
        if target.contains(&0) && zero_is_zero {
            return refuse("with allowzero = 1 a 0 means no elements", "remove allowzero");
        }
        let Some((batch, rest)) = target.split_first() else {
            return refuse("the shape is empty", "the batch axis must stay the first");
        };
        if !(*batch == 0 || *batch == -1 || Some(*batch) == self.batch) {
            return refuse("it does not keep the batch axis", "begin the shape with 0 or -1");
        }
        let mut shape = Vec::new();
        let mut inferred = None;
        for (index, size) in rest.iter().enumerate() {
            match (*size, usize::try_from(*size)) {
                (0, _) => match from.get(index) {
                    Some(size) => shape.push(*size),
                    None => return refuse("a 0 stands where the input has no axis", "write the size"),
                },
                (-1, _) if inferred.is_none() && *batch != -1 => {
                    inferred = Some(index);
                    shape.push(1);
                }
                (-1, _) => return refuse("more than one -1", "write the sizes"),
                (_, Ok(size)) => shape.push(size),
                (_, Err(_)) => return refuse("a size is negative", "write sizes, 0 or -1"),
            }
        }
        let known = shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size)).unwrap_or(usize::MAX);
        if let Some(index) = inferred {
            shape[index] = elements / known;
        }
        if known.checked_mul(inferred.map_or(1, |index| shape[index])) != Some(elements) {
            return refuse(
                &format!("a sample has {elements} elements and would not have as many after it"),
                "make the shape fit one sample",
            );
        }
        self.layer(node, Op::Reshape(shape), &[input])
    }

    /// A weight: a constant of rank 2.
    fn matrix(&mut self, node: &'a NodeProto, slot: usize) -> Result<Array2<f32>, NetworkError> {
        let constant = self.floats(node, slot)?;
        let shape = constant.shape().to_vec();
        constant
            .into_dimensionality::<Ix2>()
            .map_err(|_| fault(node, format!("has weights of shape {shape:?}"), "weights must be a matrix (inputs x outputs)"))
    }

    /// An axis of values of `rank` without the batch axis: from 0, which is the batch axis, to `rank`.
    fn axis(&self, node: &NodeProto, given: i64, rank: usize, negative: bool) -> Result<usize, NetworkError> {
        let all = i64::try_from(rank + 1).unwrap_or(i64::MAX);
        let axis = if given < 0 && (negative || given == -1) { given.saturating_add(all) } else { given };
        usize::try_from(axis).ok().filter(|axis| *axis <= rank).ok_or_else(|| {
            let problem = format!("has axis = {given} for values of rank {all} (batch included), opset {}", self.opset);
            fault(node, problem, "the axis must be one of the value's")
        })
    }
}

/// Multiplies constants by a factor of the file.
fn scale(node: &NodeProto, values: Option<&mut [f32]>, factor: f32) -> Result<(), NetworkError> {
    for value in values.into_iter().flatten() {
        *value *= factor;
        if !value.is_finite() {
            return Err(fault(
                node,
                format!("has a weight or bias that overflows float32 when multiplied by {factor}"),
                "check alpha and beta",
            ));
        }
    }
    Ok(())
}

/// A constant as a bias of `outputs` numbers, where it is the same for every row and does not raise the rank of what it is added to.
fn as_bias(constant: &ArrayD<f32>, outputs: usize, rank: usize) -> Option<Array1<f32>> {
    let (last, rows) = constant.shape().split_last().map_or((1, &[][..]), |(last, rows)| (*last, rows));
    if constant.ndim() > rank || rows.iter().any(|size| *size != 1) || (last != 1 && last != outputs) {
        return None;
    }
    let values: Vec<f32> = constant.iter().copied().cycle().take(outputs).collect();
    Some(Array1::from_vec(values))
}

/// A target shape in a message; a long one is cut.
fn listed(target: &[i64]) -> String {
    if target.len() > 8 { format!("{:?} and {} more", &target[..8], target.len() - 8) } else { format!("{target:?}") }
}
