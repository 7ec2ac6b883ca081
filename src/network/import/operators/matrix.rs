//! Matrix products: dense layers, whose weights are constants, and products of two values.

use super::super::attributes::{Attributes, fault};
use super::super::constant::{Constant, Numbers, Quantized};
use super::super::importer::{Importer, Known, Tensor};
use super::super::onnx::NodeProto;
use crate::network::{Activation, Bias, BinaryOp, Dense, NetworkError, Op, Weight, broadcast};
use crate::numerics::{Quantization, of_channel};
use ndarray::{Array1, ArrayD, Ix2, IxDyn};

impl<'a> Importer<'a> {
    /// The constant weights that a node reads in `slot`; integers where they were dequantized, with channels along `axis`.
    pub(super) fn weight(&mut self, node: &NodeProto, slot: usize, axis: usize) -> Result<Weight<IxDyn>, NetworkError> {
        let constant = self.constant(node, slot)?;
        if let Constant::Computed(Numbers::Quantized(quantized)) = &*constant
            && quantized.dtype.is_some()
        {
            self.charge(quantized.values.len())?;
            return weight_of(node, quantized, axis);
        }
        self.reals(node, slot).map(Weight::Float)
    }

    /// The constant bias that a node reads in `slot`, one number for each of `outputs`: integers where they are in steps of the products.
    pub(super) fn bias(
        &mut self,
        node: &NodeProto,
        slot: usize,
        outputs: usize,
        input: Option<Quantization>,
        scales: Option<&[f32]>,
    ) -> Result<Bias, NetworkError> {
        let constant = self.constant(node, slot)?;
        if let Constant::Computed(Numbers::Quantized(quantized)) = &*constant
            && let Some(bias) = in_steps(quantized, outputs, input, scales)
        {
            return Ok(bias);
        }
        let reals = self.reals(node, slot)?;
        as_bias(&reals, outputs, 2).map(Bias::Float).ok_or_else(|| {
            let problem = format!("adds C of shape {:?} to rows of {outputs}", reals.shape());
            fault(node, problem, "C must be one row, the same for every sample")
        })
    }

    pub(super) fn gemm(&mut self, node: &'a NodeProto) -> Result<Tensor, NetworkError> {
        let attributes = Attributes::new(node, &["alpha", "beta", "transA", "transB", "broadcast"])?;
        let (alpha, beta) = (attributes.float("alpha", 1.0)?, attributes.float("beta", 1.0)?);
        let tensor = self.tensor(node, 0)?;
        let full = self.full(tensor);
        if full.len() != 2 {
            let problem = format!("reads {full:?}; Gemm reads matrices (batch x features)");
            return Err(fault(node, problem, "put a Flatten before it"));
        }
        if attributes.integer("transA", 0)? != 0 {
            return Err(fault(node, "has transA = 1, which makes the batch the reduced axis".to_string(), "only transA = 0 is supported"));
        }
        let transposed = attributes.integer("transB", 0)? != 0;
        let weight = self.weight(node, 1, usize::from(!transposed))?;
        let mut weight = matrix(node, weight)?;
        if transposed {
            weight = weight.transposed();
        }
        scale_weight(node, &mut weight, alpha)?;
        let outputs = weight.dim().1;
        let mut rest = None;
        let mut bias = None;
        if Self::has(node, 2) {
            let row = |shape: &[usize]| shape.iter().rev().skip(1).all(|size| *size == 1);
            match self.value(node, 2) {
                Known::Constant(constant) if row(&constant.shape()?) || tensor.batched => {
                    let input = self.builder.value(tensor.id).quantization;
                    let mut found = self.bias(node, 2, outputs, input, weight.scales())?;
                    match &mut found {
                        Bias::Float(values) => scale(node, values.as_slice_mut(), beta)?,
                        Bias::Integer(values) if beta.to_bits() != 1.0_f32.to_bits() => {
                            let reals = self.reals(node, 2)?;
                            let mut floats = as_bias(&reals, values.len(), 2).unwrap_or_default();
                            scale(node, floats.as_slice_mut(), beta)?;
                            found = Bias::Float(floats);
                        }
                        Bias::Integer(_) => {}
                    }
                    bias = Some(found);
                }
                _ if beta.to_bits() != 1.0_f32.to_bits() => {
                    return Err(fault(node, format!("has beta = {beta} and a C that is no constant row"), "multiply C by beta before"));
                }
                other => rest = Some(other),
            }
        }
        let Some(rest) = rest else { return self.dense(node, tensor, weight, bias, Naming::Node) };
        let product = self.dense(node, tensor, weight, None, Naming::Beside)?;
        if let Known::Constant(_) = rest {
            let constant = self.reals(node, 2)?;
            return self.with_constant(node, BinaryOp::Add, product, Weight::Float(constant), false);
        }
        let other = self.tensor(node, 2)?;
        self.of_two(node, BinaryOp::Add, product, other)
    }

    pub(super) fn matmul(&mut self, node: &'a NodeProto) -> Result<Tensor, NetworkError> {
        Attributes::new(node, &[])?;
        match (self.value(node, 0), self.value(node, 1)) {
            (_, Known::Constant(constant)) => {
                let shape = constant.shape()?;
                let tensor = self.tensor(node, 0)?;
                let [leading @ .., _, _] = &shape[..] else {
                    let problem = format!("has weights of shape {shape:?}");
                    return Err(fault(node, problem, "weights must be a matrix (inputs x outputs)"));
                };
                if leading.iter().any(|size| *size != 1) {
                    let right = self.as_layer(node, 1, &constant, false)?;
                    return self.product(node, tensor, right);
                }
                let weight = self.weight(node, 1, shape.len() - 1)?;
                let weight = matrix(node, weight.map_shape(|shape| shape[shape.len() - 2..].to_vec()))?;
                self.dense(node, tensor, weight, None, Naming::Node)
            }
            (Known::Constant(constant), _) => {
                let right = self.tensor(node, 1)?;
                let left = self.as_layer(node, 0, &constant, false)?;
                self.product(node, left, right)
            }
            _ => {
                let (left, right) = (self.tensor(node, 0)?, self.tensor(node, 1)?);
                self.product(node, left, right)
            }
        }
    }

    /// The product of two values; leading axes broadcast.
    pub(super) fn product(&mut self, node: &'a NodeProto, left: Tensor, right: Tensor) -> Result<Tensor, NetworkError> {
        let (a, b) = (self.full(left), self.full(right));
        let ([a_stack @ .., i, _], [b_stack @ .., _, j]) = (&a[..], &b[..]) else {
            return Err(fault(node, format!("multiplies {a:?} and {b:?}"), "both need two axes at least"));
        };
        let mut wanted = broadcast(a_stack, b_stack).map_err(|problem| fault(node, problem, "check the shapes"))?;
        wanted.extend([*i, *j]);
        // A matrix whose rows are the batch is computed whole.
        let (mut left, mut right) = (left, right);
        for (tensor, full) in [(&mut left, &a), (&mut right, &b)] {
            if tensor.batched && full.len() == 2 {
                *tensor = self.whole(node, *tensor)?;
            }
        }
        if self.batch > 1 && left.batched != right.batched && a.len().min(b.len()) == wanted.len() {
            return Err(fault(
                node,
                format!("multiplies {a:?} and {b:?}, one of them the same for all samples"),
                "export the model with a batch of 1",
            ));
        }
        let id = self.layer(node, Op::MatMul, &[left.id, right.id])?;
        self.joined_at(node, id, &wanted)
    }

    /// A dense layer over the last axis, which takes in an `Add` of an integer bias where that alone reads it (others are folded later).
    pub(super) fn dense(
        &mut self,
        node: &'a NodeProto,
        tensor: Tensor,
        weight: Weight,
        bias: Option<Bias>,
        naming: Naming,
    ) -> Result<Tensor, NetworkError> {
        let (bias, adder) = match bias {
            Some(bias) => (Some(bias), None),
            None => self.following_bias(node, tensor, &weight).unzip(),
        };
        let op = Op::Dense(Dense { weight, bias, activation: Activation::None });
        let id = match naming {
            Naming::Node => self.layer(node, op, &[tensor.id])?,
            Naming::Beside => self.aside(node, "product", op, &[tensor.id])?,
        };
        let made = Tensor { id, sole: true, ..tensor };
        if let Some(adder) = adder {
            self.absorbed.insert(adder, Known::Layer(made));
        }
        Ok(made)
    }

    /// The integer bias that an `Add` right behind `node` adds, and that node's index.
    fn following_bias(&self, node: &NodeProto, tensor: Tensor, weight: &Weight) -> Option<(Bias, usize)> {
        let index = self.wiring.only_reader(&node.output[0])?;
        let adder = &self.graph.node[index];
        if adder.op_type() != "Add" || !adder.attribute.is_empty() {
            return None;
        }
        let slot = usize::from(adder.input[0] == node.output[0]);
        let Known::Constant(constant) = self.values.get(adder.input[slot].as_str())? else { return None };
        let Constant::Computed(Numbers::Quantized(quantized)) = &**constant else { return None };
        let input = self.builder.value(tensor.id).quantization;
        in_steps(quantized, weight.dim().1, input, weight.scales()).map(|bias| (bias, index))
    }
}

/// Whose name a layer gets: its node's, or one beside it.
#[derive(Clone, Copy)]
pub(super) enum Naming {
    Node,
    Beside,
}

/// Quantized constants as weights with channels along `axis`.
pub(super) fn weight_of(node: &NodeProto, quantized: &Quantized, axis: usize) -> Result<Weight<IxDyn>, NetworkError> {
    quantized.weight(axis).ok_or_else(|| {
        let problem = format!(
            "has weights of shape {:?} with {} scales along axis {}",
            quantized.values.shape(),
            quantized.scales.len(),
            quantized.axis
        );
        fault(node, problem, "give one scale for all, or one for each output channel, and at most 16 bits")
    })
}

/// Weights as a matrix.
pub(super) fn matrix(node: &NodeProto, weight: Weight<IxDyn>) -> Result<Weight, NetworkError> {
    let shape = weight.shape().to_vec();
    weight
        .into_dimensionality::<Ix2>()
        .ok_or_else(|| fault(node, format!("has weights of shape {shape:?}"), "weights must be a matrix (inputs x outputs)"))
}

/// A bias as integers, where it is 32 bits wide and in steps of `input scale * weight scale` (to a millionth).
fn in_steps(bias: &Quantized, outputs: usize, input: Option<Quantization>, scales: Option<&[f32]>) -> Option<Bias> {
    let (Some(input), Some(scales)) = (input, scales) else { return None };
    let leading = bias.values.shape().iter().rev().skip(1).all(|size| *size == 1);
    if bias.dtype.is_some() || bias.values.len() != outputs || !leading || bias.zero_points.iter().any(|zero| *zero != 0) {
        return None;
    }
    let agrees = (0..outputs).all(|channel| {
        let step = input.scale * of_channel(scales, channel);
        (of_channel(&bias.scales, channel) - step).abs() <= 1e-6 * step
    });
    agrees.then(|| Bias::Integer(bias.values.iter().map(|steps| i64::from(*steps)).collect()))
}

fn scale_weight(node: &NodeProto, weight: &mut Weight, factor: f32) -> Result<(), NetworkError> {
    match weight {
        Weight::Float(values) => scale(node, values.as_slice_mut(), factor),
        Weight::Integer { .. } if factor.to_bits() == 1.0_f32.to_bits() => Ok(()),
        Weight::Integer { .. } => {
            Err(fault(node, format!("has integer weights and alpha = {factor}"), "put alpha into the weights' scale"))
        }
    }
}

/// Multiplies constants by a factor of the file.
fn scale(node: &NodeProto, values: Option<&mut [f32]>, factor: f32) -> Result<(), NetworkError> {
    if factor.to_bits() == 1.0_f32.to_bits() {
        return Ok(());
    }
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
