//! Operations over whole axes: softmax, normalisations, means, embeddings.

use super::super::attributes::{Attributes, fault};
use super::super::importer::{Importer, Tensor};
use super::super::movement::Naming;
use super::super::onnx::NodeProto;
use crate::network::{BinaryConstant, BinaryOp, LayerId, LayerNorm, NetworkError, Op, Weight};
use crate::numerics::Quantization;
use ndarray::{ArrayD, IxDyn};

impl<'a> Importer<'a> {
    pub(super) fn softmax(&mut self, node: &'a NodeProto) -> Result<Tensor, NetworkError> {
        let axis = Attributes::new(node, &["axis"])?.integer("axis", if self.opset >= 13 { -1 } else { 1 })?;
        let tensor = self.tensor(node, 0)?;
        self.softmax_of(node, tensor, (axis, self.opset), None)
    }

    /// The softmax of a node over an axis as an opset means it, whose result is quantized where `output` says how.
    pub(super) fn softmax_of(
        &mut self,
        node: &'a NodeProto,
        tensor: Tensor,
        (given, opset): (i64, i64),
        output: Option<Quantization>,
    ) -> Result<Tensor, NetworkError> {
        let modern = opset >= 13;
        let full = self.full(tensor);
        let axis = self.axis(node, given, full.len())?;
        let meaning = if modern { "" } else { ", which before opset 13 means all axes from there on" };
        let Some(ours) = axis.checked_sub(usize::from(tensor.batched)) else {
            let problem = format!("has axis = {given}{meaning}, and reads {full:?} (the batch is axis 0)");
            return Err(fault(node, problem, "a softmax over the batch would mix samples"));
        };
        let shape = self.builder.value(tensor.id).shape.clone();
        let rows = &shape[ours..];
        // Before opset 13 everything from the axis on is one row; often only one of these axes is more than 1.
        let single = rows.iter().rposition(|size| *size != 1).map_or(shape.len() - 1, |place| ours + place);
        if modern || rows.iter().filter(|size| **size != 1).count() <= 1 {
            let axis = if modern { ours } else { single };
            let id = self.layer(node, Op::Softmax { axis }, &[tensor.id])?;
            self.quantized(id, output);
            return Ok(Tensor { id, sole: true, ..tensor });
        }
        let flat = [&shape[..ours], &[rows.iter().product()]].concat();
        let id = self.aside(node, "rows", Op::Reshape(flat), &[tensor.id])?;
        let id = self.layer(node, Op::Softmax { axis: ours }, &[id])?;
        self.quantized(id, output);
        let id = self.aside(node, "shape", Op::Reshape(shape), &[id])?;
        Ok(Tensor { id, sole: true, ..tensor })
    }

    /// Puts what a layer yields on a grid, where there is one.
    pub(super) fn quantized(&mut self, id: LayerId, grid: Option<Quantization>) {
        if let Some(grid) = grid {
            self.builder.quantize(id, grid);
        }
    }

    pub(super) fn layer_norm(&mut self, node: &'a NodeProto) -> Result<Tensor, NetworkError> {
        let attributes = Attributes::new(node, &["axis", "epsilon", "stash_type"])?;
        let tensor = self.tensor(node, 0)?;
        let full = self.full(tensor);
        let axis = self.axis(node, attributes.integer("axis", -1)?, full.len())?;
        let epsilon = attributes.float("epsilon", 1e-5)?;
        let Some(ours) = axis.checked_sub(usize::from(tensor.batched)) else {
            return Err(fault(node, format!("normalises {full:?} from axis 0 on, the batch"), "samples cannot be mixed"));
        };
        let rows = self.builder.value(tensor.id).shape[ours..].to_vec();
        let mut spread = |slot: usize| -> Result<ArrayD<f32>, NetworkError> {
            let values = self.reals(node, slot)?;
            let elements = rows.iter().product();
            let spread = values.broadcast(IxDyn(&rows)).map(|view| view.to_owned());
            self.charge(elements)?;
            spread.ok_or_else(|| {
                fault(node, format!("has a scale or bias of shape {:?} for rows of {rows:?}", values.shape()), "check the shapes")
            })
        };
        let scale = spread(1)?;
        let bias = if Self::has(node, 2) { Some(spread(2)?) } else { None };
        let id = self.layer(node, Op::LayerNorm(LayerNorm { axis: ours, scale, bias, epsilon }), &[tensor.id])?;
        Ok(Tensor { id, sole: true, ..tensor })
    }

    /// `(x - mean) / sqrt(var + epsilon) * scale + bias` for each channel: a factor and a shift, which go into a convolution before it.
    pub(super) fn batch_norm(&mut self, node: &'a NodeProto) -> Result<Tensor, NetworkError> {
        let attributes = Attributes::new(node, &["epsilon", "momentum", "spatial", "training_mode", "is_test", "consumed_inputs"])?;
        if attributes.integer("training_mode", 0)? != 0 || attributes.integer("spatial", 1)? != 1 {
            return Err(fault(
                node,
                "normalises by the batch at hand, or each place by itself".to_string(),
                "export the model in evaluation mode",
            ));
        }
        let epsilon = f64::from(attributes.float("epsilon", 1e-5)?);
        let tensor = self.tensor(node, 0)?;
        let tensor = self.samples(node, tensor)?;
        let shape = self.builder.value(tensor.id).shape.clone();
        let channels = shape.first().copied().unwrap_or(1);
        let numbers = (1..5).map(|slot| self.reals(node, slot)).collect::<Result<Vec<_>, _>>()?;
        if numbers.iter().any(|numbers| numbers.shape() != [channels]) {
            let problem = format!("has numbers of shape {:?} for {channels} channels", numbers[0].shape());
            return Err(fault(node, problem, "give one number for each channel (axis 1)"));
        }
        let (mut factors, mut shifts) = (Vec::new(), Vec::new());
        for channel in 0..channels {
            let [scale, bias, mean, variance] = [0, 1, 2, 3].map(|index| f64::from(numbers[index][[channel]]));
            let factor = scale / libm::sqrt(variance + epsilon);
            #[expect(clippy::cast_possible_truncation, reason = "constants are f32")]
            let (factor, shift) = (factor as f32, (bias - mean * factor) as f32);
            if !factor.is_finite() || !shift.is_finite() {
                let problem = format!("has variance {variance} in channel {channel}, so that its factor is {factor} and its shift {shift}");
                return Err(fault(node, problem, "check how it was trained"));
            }
            factors.push(factor);
            shifts.push(shift);
        }
        let spread = |values: Vec<f32>| {
            let axes: Vec<usize> = [channels].into_iter().chain(shape.iter().skip(1).map(|_| 1)).take(shape.len()).collect();
            Weight::Float(ArrayD::from_shape_vec(IxDyn(&axes), values).expect("bug: one number a channel"))
        };
        let constant = |op, values| Op::BinaryConstant(BinaryConstant { op, constant: spread(values), constant_first: false });
        let id = self.aside(node, "scale", constant(BinaryOp::Mul, factors), &[tensor.id])?;
        let id = self.layer(node, constant(BinaryOp::Add, shifts), &[id])?;
        Ok(Tensor { id, sole: true, ..tensor })
    }

    pub(super) fn mean(&mut self, node: &'a NodeProto) -> Result<Tensor, NetworkError> {
        let tensor = self.tensor(node, 0)?;
        if node.op_type() == "GlobalAveragePool" {
            Attributes::new(node, &[])?;
            return self.global_mean(node, tensor);
        }
        let attributes = Attributes::new(node, &["axes", "keepdims", "noop_with_empty_axes"])?;
        let keep = attributes.integer("keepdims", 1)? != 0;
        let full = self.full(tensor);
        let given = self.axes(node, &attributes, 1, full.len())?.filter(|axes| !axes.is_empty());
        if given.is_none() && attributes.integer("noop_with_empty_axes", 0)? != 0 {
            return Ok(tensor);
        }
        let axes = given.unwrap_or_else(|| (0..full.len()).collect());
        if tensor.batched && axes.contains(&0) {
            return Err(fault(
                node,
                format!("averages {full:?} over axis 0, the batch"),
                "samples cannot be mixed: name the axes to average over",
            ));
        }
        let ours: Vec<usize> = axes.iter().map(|axis| axis - usize::from(tensor.batched)).collect();
        let id = self.layer(node, Op::Mean { axes: ours, keep }, &[tensor.id])?;
        Ok(Tensor { id, sole: true, ..tensor })
    }

    /// The mean over all axes but the batch and the channels.
    pub(super) fn global_mean(&mut self, node: &'a NodeProto, tensor: Tensor) -> Result<Tensor, NetworkError> {
        let tensor = self.samples(node, tensor)?;
        let rank = self.builder.value(tensor.id).shape.len();
        let id = self.layer(node, Op::Mean { axes: (1..rank).collect(), keep: true }, &[tensor.id])?;
        Ok(Tensor { id, sole: true, ..tensor })
    }

    /// A `Gather` from a constant table.
    pub(super) fn embedding(&mut self, node: &'a NodeProto) -> Result<Tensor, NetworkError> {
        let axis = Attributes::new(node, &["axis"])?.integer("axis", 0)?;
        let table = self.weight(node, 0, usize::MAX)?;
        let tensor = self.tensor(node, 1)?;
        if self.axis(node, axis, table.shape().len())? != 0 || table.shape()[0] > 1 << 24 {
            let problem = format!("takes from axis {axis} of a table of shape {:?}", table.shape());
            return Err(fault(node, problem, "only rows (axis 0) of tables of at most 2^24 rows are supported"));
        }
        let full = [&self.full(tensor), &table.shape()[1..]].concat();
        let id = self.layer(node, Op::Gather(table), &[tensor.id])?;
        let made = Tensor { id, sole: true, ..tensor };
        self.reshaped(node, &mut Naming(true), made, &full)
    }
}
