//! Operators on integers: `QLinearConv` and its kin, `MatMulInteger` and `ConvInteger`.

use super::super::attributes::{Attributes, fault};
use super::super::constant::Quantized;
use super::super::importer::{Importer, Known, Tensor};
use super::super::onnx::NodeProto;
use super::super::onnx::tensor_proto::DataType;
use super::image::channels_first;
use super::matrix::{Naming, matrix, weight_of};
use super::quantized::{Grid, format_of};
use crate::network::{Bias, BinaryConstant, BinaryOp, NetworkError, Op, Weight};
use crate::numerics::Quantization;
use ndarray::IxDyn;

impl<'a> Importer<'a> {
    /// What the integers of the network's input stand for: what first reads them says so.
    pub(in crate::network::import) fn input_grid(&mut self, name: &str, kind: DataType) -> Result<Grid, NetworkError> {
        let mut name = name;
        let graph = self.graph;
        loop {
            let reader = self.wiring.first_reader(name).map(|index| &graph.node[index]);
            let Some(node) = reader else {
                return Err(NetworkError::Interface {
                    model: self.model.to_string(),
                    problem: "the input is of integers, and nothing says what they stand for".to_string(),
                    help: "put a DequantizeLinear right behind the input, or export the model with a float input",
                });
            };
            let slot = node.input.iter().position(|input| input == name).unwrap_or(0);
            let (scale, zero) = match (node.op_type(), slot) {
                (
                    "DequantizeLinear"
                    | "QLinearConv"
                    | "QLinearMatMul"
                    | "QGemm"
                    | "QLinearAdd"
                    | "QLinearMul"
                    | "QLinearAveragePool"
                    | "QLinearGlobalAveragePool"
                    | "QLinearLeakyRelu"
                    | "QLinearSigmoid"
                    | "QLinearSoftmax",
                    0,
                ) => (1, 2),
                ("QLinearConcat", slot) if slot % 3 == 2 => (slot + 1, slot + 2),
                ("QLinearMatMul" | "QLinearAdd" | "QLinearMul", 3) => (4, 5),
                ("MatMulInteger" | "ConvInteger", 0 | 1) => {
                    self.check_constant(node, slot + 2)?;
                    let zeros = self.zeros(node, slot + 2)?;
                    let (Some((dtype, shift)), 0..=1) = (format_of(kind), zeros.len()) else {
                        return Err(fault(node, format!("has {} zero points for the input", zeros.len()), "give one"));
                    };
                    let zero_point = zeros.first().copied().unwrap_or(0) - shift;
                    return Ok(Grid { quantization: Quantization { dtype, scale: 1.0, zero_point }, shift });
                }
                (
                    "Reshape" | "Transpose" | "Flatten" | "Squeeze" | "Unsqueeze" | "Identity" | "MaxPool" | "Pad" | "Slice" | "Concat",
                    _,
                ) => {
                    name = node.output[0].as_str();
                    continue;
                }
                _ => {
                    return Err(fault(
                        node,
                        "reads the input's integers as numbers".to_string(),
                        "put a DequantizeLinear right behind the input",
                    ));
                }
            };
            self.check_constant(node, scale)?;
            self.check_constant(node, zero)?;
            return self.grid(node, scale, zero, kind);
        }
    }

    /// Refuses an operand that is computed from the input whose meaning it is to tell.
    fn check_constant(&self, node: &NodeProto, slot: usize) -> Result<(), NetworkError> {
        if !Self::has(node, slot) || matches!(self.values.get(node.input[slot].as_str()), Some(Known::Constant(_))) {
            return Ok(());
        }
        Err(fault(node, format!("its operand {slot} is computed where a constant is wanted"), "scales and zero points must be constants"))
    }

    /// The constant weights of a quantized operator.
    fn qweight(&mut self, node: &NodeProto, slots: [usize; 3], axis: usize) -> Result<Weight<IxDyn>, NetworkError> {
        let quantized = self.quantized_weights(node, slots[0], Some(slots[1]), Some(slots[2]), i64::try_from(axis).unwrap_or(i64::MAX))?;
        weight_of(node, &quantized, axis)
    }

    /// The constant bias of a quantized operator, in steps of its products.
    fn qbias(&mut self, node: &NodeProto, slot: usize) -> Result<Option<Bias>, NetworkError> {
        if !Self::has(node, slot) {
            return Ok(None);
        }
        let constant = self.constant(node, slot)?;
        self.charge(constant.shape()?.iter().product())?;
        match constant.narrow(self.folder)? {
            Some(values) if constant.data_type() == DataType::Int32 => {
                Ok(Some(Bias::Integer(values.iter().map(|steps| i64::from(*steps)).collect())))
            }
            _ => Err(fault(node, "has a bias that is not int32".to_string(), "export the model again")),
        }
    }

    fn quantized_as(&mut self, tensor: Tensor, grid: Grid) -> (Tensor, i32) {
        self.builder.quantize(tensor.id, grid.quantization);
        (tensor, grid.shift)
    }

    pub(super) fn qlinear_conv(&mut self, node: &'a NodeProto) -> Result<(Tensor, i32), NetworkError> {
        let tensor = self.integers(node, 0, 1, Some(2))?;
        let weight = self.qweight(node, [3, 4, 5], 0)?;
        let bias = self.qbias(node, 8)?;
        let grid = self.grid(node, 6, 7, DataType::Uint8)?;
        let made = self.convolution(node, tensor, weight, bias, Some(grid.quantization))?;
        Ok(self.quantized_as(made, grid))
    }

    pub(super) fn qlinear_matmul(&mut self, node: &'a NodeProto) -> Result<(Tensor, i32), NetworkError> {
        Attributes::new(node, &[])?;
        let tensor = self.integers(node, 0, 1, Some(2))?;
        let grid = self.grid(node, 6, 7, DataType::Uint8)?;
        let made = if let Known::Constant(constant) = self.value(node, 3) {
            let rank = constant.shape()?.len();
            let weight = self.qweight(node, [3, 4, 5], rank.saturating_sub(1))?;
            let weight = matrix(node, weight)?;
            self.dense(node, tensor, weight, None, Naming::Node)?
        } else {
            let right = self.integers(node, 3, 4, Some(5))?;
            self.product(node, tensor, right)?
        };
        Ok(self.quantized_as(made, grid))
    }

    pub(super) fn qgemm(&mut self, node: &'a NodeProto) -> Result<(Tensor, i32), NetworkError> {
        let attributes = Attributes::new(node, &["alpha", "transA", "transB"])?;
        let alpha = attributes.float("alpha", 1.0)?;
        if attributes.integer("transA", 0)? != 0 || alpha.to_bits() != 1.0_f32.to_bits() || !Self::has(node, 7) {
            let problem = "has transA, an alpha other than 1, or an output that is not quantized".to_string();
            return Err(fault(node, problem, "quantize to QDQ instead (QuantFormat.QDQ)"));
        }
        let tensor = self.integers(node, 0, 1, Some(2))?;
        let transposed = attributes.integer("transB", 0)? != 0;
        let weight = self.qweight(node, [3, 4, 5], usize::from(!transposed))?;
        let mut weight = matrix(node, weight)?;
        if transposed {
            weight = weight.transposed();
        }
        let bias = self.qbias(node, 6)?;
        let grid = self.grid(node, 7, 8, DataType::Uint8)?;
        let made = self.dense(node, tensor, weight, bias, Naming::Node)?;
        Ok(self.quantized_as(made, grid))
    }

    pub(super) fn qlinear_binary(&mut self, node: &'a NodeProto) -> Result<(Tensor, i32), NetworkError> {
        Attributes::new(node, &[])?;
        let op = if node.op_type() == "QLinearAdd" { BinaryOp::Add } else { BinaryOp::Mul };
        let grid = self.grid(node, 6, 7, DataType::Uint8)?;
        let made = match (self.value(node, 0), self.value(node, 3)) {
            (_, Known::Constant(_)) => {
                let tensor = self.integers(node, 0, 1, Some(2))?;
                let constant = self.qweight(node, [3, 4, 5], usize::MAX)?;
                self.with_constant(node, op, tensor, constant, false)?
            }
            (Known::Constant(_), _) => {
                let tensor = self.integers(node, 3, 4, Some(5))?;
                let constant = self.qweight(node, [0, 1, 2], usize::MAX)?;
                self.with_constant(node, op, tensor, constant, true)?
            }
            _ => {
                let (left, right) = (self.integers(node, 0, 1, Some(2))?, self.integers(node, 3, 4, Some(5))?);
                self.of_two(node, op, left, right)?
            }
        };
        Ok(self.quantized_as(made, grid))
    }

    /// What ONNX Runtime's own operators of one value do: pools, means, functions, a softmax.
    pub(super) fn qlinear_of_one(&mut self, node: &'a NodeProto) -> Result<(Tensor, i32), NetworkError> {
        let tensor = self.integers(node, 0, 1, Some(2))?;
        let grid = self.grid(node, 3, 4, DataType::Uint8)?;
        let made = match node.op_type() {
            "QLinearAveragePool" => self.pooling(node, tensor, Some(grid.quantization))?,
            "QLinearGlobalAveragePool" => {
                channels_first(&Attributes::new(node, &["channels_last"])?)?;
                self.global_mean(node, tensor)?
            }
            "QLinearSoftmax" => {
                let attributes = Attributes::new(node, &["axis", "opset"])?;
                let opset = attributes.integer("opset", self.opset)?;
                let axis = attributes.integer("axis", if opset >= 13 { -1 } else { 1 })?;
                self.softmax_of(node, tensor, (axis, opset), Some(grid.quantization))?
            }
            _ => {
                let op = self.function(node)?.op();
                let id = self.layer(node, op, &[tensor.id])?;
                Tensor { id, sole: true, ..tensor }
            }
        };
        Ok(self.quantized_as(made, grid))
    }

    pub(super) fn qlinear_concat(&mut self, node: &'a NodeProto) -> Result<(Tensor, i32), NetworkError> {
        let axis = Attributes::new(node, &["axis"])?.integer("axis", 1)?;
        if node.input.len() % 3 != 2 {
            return Err(fault(
                node,
                format!("reads {} values, which are no scale and zero point, and three for each operand", node.input.len()),
                "the file was written wrongly: export it again",
            ));
        }
        let grid = self.grid(node, 0, 1, DataType::Uint8)?;
        let mut values = Vec::new();
        for slot in (2..node.input.len()).step_by(3) {
            values.push((slot, Known::Layer(self.integers(node, slot, slot + 1, Some(slot + 2))?)));
        }
        let Some((_, Known::Layer(first))) = values.first() else { unreachable!("bug: there is an operand") };
        let made = self.join(node, axis, *first, values)?;
        Ok(self.quantized_as(made, grid))
    }

    /// The integers that a node reads in `slot`, less their zero point, as reals: a value of scale 1. Where they were made with another
    /// scale they are divided by it, which gives the same integers.
    fn steps(&mut self, node: &'a NodeProto, slot: usize, zero: usize) -> Result<Tensor, NetworkError> {
        let Known::Integers(tensor, shift) = self.value(node, slot) else {
            let problem = format!("its operand {slot} is not quantized");
            return Err(fault(node, problem, "only integers that a QuantizeLinear or a quantized operator makes are supported here"));
        };
        let zeros = self.zeros(node, zero)?;
        let Some(found) = self.builder.value(tensor.id).quantization.filter(|_| zeros.len() <= 1) else {
            return Err(fault(
                node,
                format!("has {} zero points for operand {slot}", zeros.len()),
                "activations have one zero point a tensor",
            ));
        };
        let zero_point = zeros.first().copied().unwrap_or(0) - shift;
        let wanted = Quantization { scale: 1.0, zero_point, ..found };
        if found == wanted {
            return Ok(tensor);
        }
        let constant = |op, number: f32| {
            Op::BinaryConstant(BinaryConstant { op, constant: Weight::Float(ndarray::arr0(number).into_dyn()), constant_first: false })
        };
        let mut id = self.aside(node, "steps", constant(BinaryOp::Div, found.scale), &[tensor.id])?;
        if found.zero_point != zero_point {
            id = self.aside(node, "zero", constant(BinaryOp::Add, (found.zero_point - zero_point) as f32), &[id])?;
        }
        let id = self.aside(node, "integers", Op::Quantize, &[id])?;
        self.builder.quantize(id, wanted);
        Ok(Tensor { id, sole: true, ..tensor })
    }

    fn integer_weights(&mut self, node: &NodeProto, axis: i64) -> Result<Quantized, NetworkError> {
        self.quantized_weights(node, 1, None, Some(3), axis)
    }

    pub(super) fn matmul_integer(&mut self, node: &'a NodeProto) -> Result<Tensor, NetworkError> {
        Attributes::new(node, &[])?;
        let tensor = self.steps(node, 0, 2)?;
        if !matches!(self.value(node, 1), Known::Constant(_)) {
            let right = self.steps(node, 1, 3)?;
            return self.product(node, tensor, right);
        }
        let quantized = self.integer_weights(node, 1)?;
        let weight = matrix(node, weight_of(node, &quantized, 1)?)?;
        self.dense(node, tensor, weight, None, Naming::Node)
    }

    pub(super) fn conv_integer(&mut self, node: &'a NodeProto) -> Result<Tensor, NetworkError> {
        let tensor = self.steps(node, 0, 2)?;
        let quantized = self.integer_weights(node, 0)?;
        let weight = weight_of(node, &quantized, 0)?;
        self.convolution(node, tensor, weight, None, None)
    }
}
