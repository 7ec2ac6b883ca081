//! Arithmetic and functions of each element, casts, and values that are joined or bordered.

use super::super::attributes::{Attributes, fault};
use super::super::constant::{Constant, Numbers};
use super::super::fold::binary_op;
use super::super::importer::{Importer, Known, Tensor};
use super::super::movement::{Naming, listed};
use super::super::onnx::NodeProto;
use super::super::onnx::tensor_proto::DataType;
use super::super::tensor;
use super::MICROSOFT;
use crate::network::{BinaryConstant, BinaryOp, Element, Function, GeluForm, LayerId, NetworkError, Op, Pad, Weight, broadcast};
use ndarray::{ArrayD, Axis};
use std::rc::Rc;

/// What an operator of one operand does to each element.
pub(in crate::network::import) enum Elementwise {
    /// A function.
    Function(Function),
    /// Arithmetic with a number, which is the left operand where `true`.
    Number(BinaryOp, f32, bool),
}

impl Elementwise {
    /// Done to a constant.
    pub(in crate::network::import) fn constant(&self, values: ArrayD<f32>) -> ArrayD<f32> {
        values.mapv_into(|x| match self {
            Self::Function(function) => function.apply(x),
            Self::Number(op, number, true) => op.apply(*number, x),
            Self::Number(op, number, false) => op.apply(x, *number),
        })
    }

    pub(super) fn op(self) -> Op {
        match self {
            Self::Function(function) => Op::Unary(function),
            Self::Number(op, number, constant_first) => {
                let constant = Weight::Float(ndarray::arr0(number).into_dyn());
                Op::BinaryConstant(BinaryConstant { op, constant, constant_first })
            }
        }
    }
}

impl<'a> Importer<'a> {
    /// What an operator does to each element of its first operand.
    pub(in crate::network::import) fn function(&mut self, node: &NodeProto) -> Result<Elementwise, NetworkError> {
        let plain = |function| Attributes::new(node, &[]).map(|_| Elementwise::Function(function));
        match node.op_type() {
            "Relu" => plain(Function::Relu),
            "LeakyRelu" | "QLinearLeakyRelu" => {
                let alpha = Attributes::new(node, &["alpha"])?.float("alpha", 0.01)?;
                Ok(Elementwise::Function(Function::LeakyRelu { alpha }))
            }
            "Clip" => {
                let [min, max] = self.bounds(node)?;
                let relu = min.to_bits() == 0 && max == f32::INFINITY;
                Ok(Elementwise::Function(if relu { Function::Relu } else { Function::Clip { min, max } }))
            }
            "Sigmoid" | "QLinearSigmoid" => plain(Function::Sigmoid),
            "HardSigmoid" => {
                let attributes = Attributes::new(node, &["alpha", "beta"])?;
                let (alpha, beta) = (attributes.float("alpha", 0.2)?, attributes.float("beta", 0.5)?);
                Ok(Elementwise::Function(Function::HardSigmoid { alpha, beta }))
            }
            "HardSwish" => plain(Function::HardSwish),
            "Tanh" => plain(Function::Tanh),
            "Gelu" if node.domain() == MICROSOFT => plain(Function::Gelu(GeluForm::Erf)),
            "Gelu" => match Attributes::new(node, &["approximate"])?.text("approximate", "none")?.as_str() {
                "none" => Ok(Elementwise::Function(Function::Gelu(GeluForm::Erf))),
                "tanh" => Ok(Elementwise::Function(Function::Gelu(GeluForm::Tanh))),
                other => Err(fault(node, format!("has approximate = \"{other}\""), "none and tanh are known")),
            },
            "Erf" => plain(Function::Erf),
            "Sqrt" => plain(Function::Sqrt),
            "Exp" => plain(Function::Exp),
            "Pow" => {
                Attributes::new(node, &[])?;
                let exponent = self.scalar(node, 1)?;
                Ok(Elementwise::Function(if exponent.to_bits() == 0.5_f32.to_bits() { Function::Sqrt } else { Function::Pow { exponent } }))
            }
            "Neg" => Attributes::new(node, &[]).map(|_| Elementwise::Number(BinaryOp::Mul, -1.0, false)),
            "Reciprocal" => Attributes::new(node, &[]).map(|_| Elementwise::Number(BinaryOp::Div, 1.0, true)),
            other => unreachable!("bug: {other} is known and has no meaning"),
        }
    }

    /// The bounds of a `Clip`; infinite where they are left out.
    pub(super) fn bounds(&mut self, node: &NodeProto) -> Result<[f32; 2], NetworkError> {
        let attributes = Attributes::new(node, &["min", "max"])?;
        let mut bounds = [f32::NEG_INFINITY, f32::INFINITY];
        for (slot, name) in ["min", "max"].into_iter().enumerate() {
            if Self::has(node, slot + 1) {
                bounds[slot] = self.scalar(node, slot + 1)?;
            } else if attributes.get(name).is_some() {
                bounds[slot] = attributes.float(name, 0.0)?;
            }
        }
        if bounds[0] > bounds[1] {
            return Err(fault(node, format!("clips to at least {} and at most {}", bounds[0], bounds[1]), "the least must not be greater"));
        }
        Ok(bounds)
    }

    pub(super) fn unary(&mut self, node: &'a NodeProto) -> Result<Tensor, NetworkError> {
        let op = self.function(node)?.op();
        let tensor = self.tensor(node, 0)?;
        let id = self.layer(node, op, &[tensor.id])?;
        Ok(Tensor { id, sole: true, ..tensor })
    }

    pub(super) fn prelu(&mut self, node: &'a NodeProto) -> Result<Tensor, NetworkError> {
        Attributes::new(node, &[])?;
        let tensor = self.tensor(node, 0)?;
        let mut slopes = self.reals(node, 1)?;
        let rank = self.builder.value(tensor.id).shape.len();
        while slopes.ndim() > rank && slopes.shape()[0] == 1 {
            slopes = slopes.index_axis_move(Axis(0), 0);
        }
        let id = self.layer(node, Op::Unary(Function::PRelu { slopes }), &[tensor.id])?;
        Ok(Tensor { id, sole: true, ..tensor })
    }

    pub(super) fn binary(&mut self, node: &'a NodeProto) -> Result<Tensor, NetworkError> {
        Attributes::new(node, &[])?;
        let op = binary_op(node.op_type()).expect("bug: the caller has arithmetic");
        match (self.value(node, 0), self.value(node, 1)) {
            (_, Known::Constant(_)) => {
                let tensor = self.tensor(node, 0)?;
                let constant = self.operand(node, 1)?;
                self.with_constant(node, op, tensor, constant, false)
            }
            (Known::Constant(_), _) => {
                let tensor = self.tensor(node, 1)?;
                let constant = self.operand(node, 0)?;
                self.with_constant(node, op, tensor, constant, true)
            }
            _ => {
                let (left, right) = (self.tensor(node, 0)?, self.tensor(node, 1)?);
                self.of_two(node, op, left, right)
            }
        }
    }

    /// Two values, element by element. What is missing in front of the shorter shape counts as 1, so that a batch of 1 may be left out.
    pub(super) fn of_two(&mut self, node: &'a NodeProto, op: BinaryOp, left: Tensor, right: Tensor) -> Result<Tensor, NetworkError> {
        let (a, b) = (self.full(left), self.full(right));
        let wanted = broadcast(&a, &b).map_err(|problem| fault(node, problem, "check the shapes"))?;
        // Of a larger batch, an operand of lower rank would be joined along the wrong axis.
        if self.batch > 1 && a.len() != b.len() {
            return Err(fault(node, format!("joins {a:?} and {b:?}, whose first axis is the batch"), "give both as many axes"));
        }
        let id = self.layer(node, Op::Binary(op), &[left.id, right.id])?;
        self.joined_at(node, id, &wanted)
    }

    /// A layer's value, whose shape in the file is `wanted`: ours, or a batch and ours.
    pub(super) fn joined_at(&mut self, node: &NodeProto, id: LayerId, wanted: &[usize]) -> Result<Tensor, NetworkError> {
        let batched = wanted.len() > self.builder.value(id).shape.len();
        if self.batch > 1 && !batched {
            return Err(fault(node, format!("yields {wanted:?}: it does not keep the batch axis"), "export the model with a batch of 1"));
        }
        Ok(Tensor { id, batched, sole: true })
    }

    /// The constant that a node reads in `slot`, as it stands beside data: integers of one scale stay integers.
    fn operand(&mut self, node: &NodeProto, slot: usize) -> Result<Weight<ndarray::IxDyn>, NetworkError> {
        let constant = self.constant(node, slot)?;
        self.charge(constant.shape()?.iter().product())?;
        if let Constant::Computed(Numbers::Quantized(quantized)) = &*constant
            && let Some(weight) = quantized.weight(usize::MAX)
        {
            return Ok(weight);
        }
        match &*constant {
            Constant::Stored(stored) if tensor::data_type(stored) != DataType::Float as i32 => {
                constant.numbers(self.folder).map(|numbers| Weight::Float(numbers.reals()))
            }
            Constant::Stored(stored) if node.op_type() == "Add" => tensor::addends(stored, self.folder).map(Weight::Float),
            _ => constant.reals(self.folder).map(Weight::Float),
        }
    }

    /// A value and a constant, element by element.
    pub(super) fn with_constant(
        &mut self,
        node: &'a NodeProto,
        op: BinaryOp,
        tensor: Tensor,
        constant: Weight<ndarray::IxDyn>,
        constant_first: bool,
    ) -> Result<Tensor, NetworkError> {
        let full = self.full(tensor);
        let file_shape = constant.shape().to_vec();
        let ours = full.len() - usize::from(tensor.batched);
        let constant = constant.map_shape(|shape| {
            let leading = shape.len().saturating_sub(ours).min(shape.iter().take_while(|size| **size == 1).count());
            shape[leading..].to_vec()
        });
        if tensor.batched && constant.shape().len() > ours {
            let rank = full.len();
            let problem = format!("joins a constant of shape {file_shape:?} and values of rank {rank} (batch included)");
            return Err(fault(node, problem, "the constant must be the same for every sample: its batch axis must be 1 or left out"));
        }
        let shape = broadcast(&full, &file_shape).map_err(|problem| fault(node, problem, "check the shapes"))?;
        let id = self.layer(node, Op::BinaryConstant(BinaryConstant { op, constant, constant_first }), &[tensor.id])?;
        let made = Tensor { id, sole: true, ..tensor };
        // Further axes of 1 in front.
        if self.full(made) == shape { Ok(made) } else { self.reshaped(node, &mut Naming(true), made, &shape) }
    }

    pub(super) fn cast(&mut self, node: &'a NodeProto) -> Result<Known<'a>, NetworkError> {
        let to = Attributes::new(node, &["to", "saturate"])?.integer("to", 0)?;
        let kind = i32::try_from(to).ok().and_then(|to| DataType::try_from(to).ok());
        let tensor = self.tensor(node, 0)?;
        match (self.builder.value(tensor.id).element, kind) {
            (Element::Real, Some(DataType::Float | DataType::Float16 | DataType::Bfloat16 | DataType::Double))
            | (Element::Index, Some(DataType::Int32 | DataType::Int64)) => {}
            (element, _) => {
                let from = if element == Element::Real { "reals" } else { "names" };
                let name = kind.map_or_else(|| format!("type {to}"), |kind| tensor::type_name(kind as i32));
                return Err(fault(
                    node,
                    format!("casts {from} to {name}"),
                    "only casts between floats, and between integers of names, are supported",
                ));
            }
        }
        Ok(Known::Layer(tensor))
    }

    pub(super) fn concat(&mut self, node: &'a NodeProto) -> Result<Known<'a>, NetworkError> {
        let given = Attributes::new(node, &["axis"])?.integer("axis", 1)?;
        let values: Vec<(usize, Known<'a>)> = (0..node.input.len()).map(|slot| (slot, self.value(node, slot))).collect();
        let data = values.iter().filter_map(|(_, value)| match value {
            Known::Layer(tensor) => Some((*tensor, None)),
            Known::Integers(tensor, shift) => Some((*tensor, Some(*shift))),
            Known::Constant(_) => None,
        });
        let data: Vec<(Tensor, Option<i32>)> = data.collect();
        let Some((first, shift)) = data.first().copied() else {
            return Err(fault(node, "reads no data".to_string(), "fold operations on constants alone"));
        };
        let grid = self.builder.value(first.id).quantization;
        let alike =
            data.iter().all(|(tensor, other)| *other == shift && (shift.is_none() || self.builder.value(tensor.id).quantization == grid));
        if !alike || (shift.is_some() && data.len() < values.len()) {
            let problem = "joins integers of different quantizations".to_string();
            return Err(fault(node, problem, "dequantize its operands, and quantize the result"));
        }
        let made = self.join(node, given, first, values)?;
        Ok(shift.map_or(Known::Layer(made), |shift| Known::Integers(made, shift)))
    }

    /// Values along an axis of the file's, each with the slot that it is read from; `first` is the first that is no constant.
    pub(super) fn join(
        &mut self,
        node: &'a NodeProto,
        axis: i64,
        first: Tensor,
        values: Vec<(usize, Known<'a>)>,
    ) -> Result<Tensor, NetworkError> {
        let rank = self.full(first).len();
        let axis = self.axis(node, axis, rank)?;
        // Along the batch axis, or where the batch axis was moved in some operands, whole shapes are joined.
        let is_whole = |value: &Known<'_>| matches!(value, Known::Layer(tensor) | Known::Integers(tensor, _) if !tensor.batched);
        let whole = axis == 0 || values.iter().any(|(_, value)| is_whole(value));
        if axis == 0 && rank == 1 {
            return Err(fault(node, "joins along axis 0, the batch".to_string(), "samples cannot be joined"));
        }
        let mut inputs: Vec<LayerId> = Vec::new();
        for (slot, value) in values {
            inputs.push(match value {
                Known::Layer(tensor) | Known::Integers(tensor, _) if whole => self.whole(node, tensor)?.id,
                Known::Layer(tensor) | Known::Integers(tensor, _) => tensor.id,
                Known::Constant(constant) => self.as_layer(node, slot, &constant, !whole)?.id,
            });
        }
        let id = self.layer(node, Op::Concat { axis: axis - usize::from(!whole) }, &inputs)?;
        Ok(Tensor { id, batched: !whole, sole: true })
    }

    /// A constant as a layer, so that an operation on data can read it; `batched` leaves its first axis, of one, out.
    pub(super) fn as_layer(
        &mut self,
        node: &'a NodeProto,
        slot: usize,
        constant: &Rc<Constant<'a>>,
        batched: bool,
    ) -> Result<Tensor, NetworkError> {
        let shape = constant.shape()?;
        if batched && shape.first() != Some(&1) {
            let problem = format!("joins data and a constant of shape {shape:?}");
            return Err(fault(node, problem, "the constant must be the same for every sample: export the model with a batch of 1"));
        }
        let weight = self.operand(node, slot)?;
        let weight = if batched { weight.map_shape(|shape| shape[1..].to_vec()) } else { weight };
        let id = self.aside(node, "constant", Op::Constant(weight), &[])?;
        Ok(Tensor { id, batched, sole: true })
    }

    pub(super) fn pad(&mut self, node: &'a NodeProto) -> Result<Known<'a>, NetworkError> {
        let attributes = Attributes::new(node, &["mode", "pads", "value", "paddings"])?;
        let mode = attributes.text("mode", "constant")?;
        if mode != "constant" {
            return Err(fault(node, format!("has mode = \"{mode}\""), "only a border of one number (mode \"constant\") is supported"));
        }
        let (tensor, shift) = match self.value(node, 0) {
            Known::Integers(tensor, shift) => (tensor, Some(shift)),
            _ => (self.tensor(node, 0)?, None),
        };
        let pads = if Self::has(node, 1) { self.list(node, 1)? } else { attributes.integers("pads")?.unwrap_or(&[]).to_vec() };
        let mut value = if Self::has(node, 2) && shift.is_none() { self.scalar(node, 2)? } else { attributes.float("value", 0.0)? };
        if let Some(shift) = shift {
            // The border of integers is an integer: what it stands for has to be 0.
            let border = if Self::has(node, 2) {
                self.constant(node, 2)?.longs(self.folder)?.and_then(|values| values.first().copied())
            } else {
                Some(0)
            };
            let zero = self.builder.value(tensor.id).quantization.map_or(0, |grid| i64::from(grid.zero_point) + i64::from(shift));
            if border != Some(zero) {
                return Err(fault(
                    node,
                    format!("borders integers with {border:?}, and their zero point is {zero}"),
                    "give the zero point as the border",
                ));
            }
            value = 0.0;
        }
        let full = self.full(tensor);
        let axes = if Self::has(node, 3) {
            let given = self.list(node, 3)?;
            given.iter().map(|axis| self.axis(node, *axis, full.len())).collect::<Result<Vec<_>, _>>()?
        } else {
            (0..full.len()).collect()
        };
        let sizes: Option<Vec<usize>> = pads.iter().map(|size| usize::try_from(*size).ok()).collect();
        let Some(sizes) = sizes.filter(|sizes| sizes.len() == 2 * axes.len()) else {
            let problem = format!("has pads {} for {} axes", listed(&pads), axes.len());
            return Err(fault(node, problem, "give two numbers, not negative, for each axis; a border that cuts is a Slice"));
        };
        let (mut before, mut after) = (vec![0; full.len()], vec![0; full.len()]);
        for (index, axis) in axes.iter().enumerate() {
            (before[*axis], after[*axis]) = (sizes[index], sizes[index + axes.len()]);
        }
        let tensor = if tensor.batched && (before[0], after[0]) != (0, 0) { self.whole(node, tensor)? } else { tensor };
        if tensor.batched {
            (before, after) = (before[1..].to_vec(), after[1..].to_vec());
        }
        let id = self.layer(node, Op::Pad(Pad { before, after, value }), &[tensor.id])?;
        let made = Tensor { id, sole: true, ..tensor };
        Ok(shift.map_or(Known::Layer(made), |shift| Known::Integers(made, shift)))
    }
}
