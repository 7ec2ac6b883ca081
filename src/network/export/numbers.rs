//! Constants of a file, and what is held as integers: weights, biases, the grids of values.

use super::fault;
use super::graph::{Graph, Step, integer, long};
use crate::network::import::onnx::TensorProto;
use crate::network::import::onnx::tensor_proto::DataType;
use crate::network::{Bias, Layer, NetworkError, Weight};
use crate::numerics::{Dtype, Quantization, of_channel};
use ndarray::{ArrayD, RemoveAxis};

/// The format in which a file holds integers of ours; `None` for binary ones, which are reals until they are quantized.
const fn container(dtype: Dtype) -> Option<DataType> {
    match dtype {
        Dtype::Binary => None,
        Dtype::Int2 | Dtype::Int8 => Some(DataType::Int8),
        Dtype::Int4 => Some(DataType::Int4),
        Dtype::Int16 => Some(DataType::Int16),
    }
}

/// The least and greatest integer of a format of the file.
const fn range(kind: DataType) -> (i64, i64) {
    match kind {
        DataType::Int4 => (-8, 7),
        DataType::Int8 => (-128, 127),
        DataType::Int16 => (-(1 << 15), (1 << 15) - 1),
        DataType::Int32 => (-(1 << 31), (1 << 31) - 1),
        _ => (i64::MIN, i64::MAX),
    }
}

fn tensor(name: &str, kind: DataType, shape: &[usize], raw: Vec<u8>) -> TensorProto {
    let dims = shape.iter().map(|size| long(*size)).collect();
    TensorProto { name: Some(name.to_string()), data_type: Some(kind as i32), dims, raw_data: Some(raw.into()), ..TensorProto::default() }
}

impl Graph<'_> {
    /// Adds constant reals.
    pub(super) fn floats<'v>(&mut self, name: &str, shape: &[usize], values: impl IntoIterator<Item = &'v f32>) {
        let raw = values.into_iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(tensor(name, DataType::Float, shape, raw));
    }

    /// Adds constant reals beside a layer.
    pub(super) fn reals(&mut self, layer: &Layer, what: &str, values: &ArrayD<f32>) -> String {
        let name = self.name(layer);
        let name = self.beside(&name, what);
        self.floats(&name, values.shape(), values);
        name
    }

    /// Adds one constant real beside a layer.
    pub(super) fn real(&mut self, layer: &Layer, what: &str, value: f32) -> String {
        self.reals(layer, what, &ndarray::arr0(value).into_dyn())
    }

    /// Adds a constant list of whole numbers beside a layer.
    pub(super) fn list(&mut self, layer: &Layer, what: &str, values: &[i64]) -> String {
        let name = self.name(layer);
        let name = self.beside(&name, what);
        let raw = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(tensor(&name, DataType::Int64, &[values.len()], raw));
        name
    }

    /// Adds constant integers, in the file's format.
    fn integers(&mut self, layer: &Layer, name: &str, kind: DataType, shape: &[usize], values: &[i64]) -> Result<(), NetworkError> {
        let (low, high) = range(kind);
        if let Some(value) = values.iter().find(|value| **value < low || **value > high) {
            let problem = format!("has the integer {value} in \"{name}\", and {} holds {low} to {high}", kind.as_str_name().to_lowercase());
            return Err(fault(layer, problem, "quantize the network again: integers and zero points must lie within their format"));
        }
        let raw = if kind == DataType::Int4 {
            // Two elements a byte, the first in the low half.
            let half = |value: i64| value.to_le_bytes()[0] & 15;
            values.chunks(2).map(|pair| half(pair[0]) | pair.get(1).map_or(0, |value| half(*value) << 4)).collect()
        } else {
            let width = match kind {
                DataType::Int8 => 1,
                DataType::Int16 => 2,
                _ => 4,
            };
            values.iter().flat_map(|value| value.to_le_bytes().into_iter().take(width)).collect()
        };
        self.constant(tensor(name, kind, shape, raw));
        Ok(())
    }

    /// Adds weights of this shape in the file, with channels along `axis`; the name of the reals that they stand for.
    pub(super) fn weight<D: RemoveAxis>(
        &mut self,
        layer: &Layer,
        what: &str,
        weight: &Weight<D>,
        shape: &[usize],
        axis: usize,
    ) -> Result<String, NetworkError> {
        let own = self.name(layer);
        let name = self.beside(&own, what);
        let Weight::Integer { values, dtype, scales, zero_points } = weight else {
            self.floats(&name, shape, &weight.to_reals());
            return Ok(name);
        };
        let Some(kind) = container(*dtype) else {
            if zero_points.iter().any(|zero| *zero != 0) {
                return Err(fault(layer, "has binary weights with a zero point", "binary weights are -1 and +1, and have none"));
            }
            // A byte a sign, and reals once the file is read.
            let (bytes, signs) = (self.beside(&name, "sign_bytes"), self.beside(&name, "signs"));
            let held: Vec<i64> = values.iter().map(|value| i64::from(*value)).collect();
            self.integers(layer, &bytes, DataType::Int8, shape, &held)?;
            self.node(&signs, "Cast", vec![bytes], vec![integer("to", i64::from(DataType::Float as i32))]);
            // Scales broadcast with what they scale.
            let scale = self.beside(&name, "scale");
            let along: Vec<usize> = (0..shape.len()).map(|place| if place == axis { scales.len() } else { 1 }).collect();
            self.floats(&scale, if scales.len() == 1 { &[] } else { &along }, scales);
            self.node(&name, "BipolarQuant", vec![signs, scale], Vec::new());
            return Ok(name);
        };
        let mut integers = self.beside(&name, "integers");
        let held: Vec<i64> = values.iter().map(|value| i64::from(*value)).collect();
        self.integers(layer, &integers, kind, shape, &held)?;
        if *dtype == Dtype::Int2 {
            let narrow = self.beside(&name, "narrow");
            let bounds = self.bounds_of(layer, &name, Dtype::Int2)?;
            self.node(&narrow, "Clip", [integers].into_iter().chain(bounds).collect(), Vec::new());
            integers = narrow;
        }
        let channels = scales.len().max(zero_points.len());
        let sizes: &[usize] = if channels == 1 { &[] } else { &[channels] };
        let scale = self.beside(&name, "scale");
        let all: Vec<f32> = (0..channels).map(|channel| of_channel(scales, channel)).collect();
        self.floats(&scale, sizes, &all);
        let mut operands = vec![integers, scale];
        if !zero_points.is_empty() {
            let zero = self.beside(&name, "zero_point");
            let all: Vec<i64> = (0..channels).map(|channel| i64::from(of_channel(zero_points, channel))).collect();
            self.integers(layer, &zero, kind, sizes, &all)?;
            operands.push(zero);
        }
        let attributes = if channels == 1 { Vec::new() } else { vec![integer("axis", long(axis))] };
        self.node(&name, "DequantizeLinear", operands, attributes);
        Ok(name)
    }

    /// Bounds of a narrow format, for a `Clip` of int8.
    fn bounds_of(&mut self, layer: &Layer, beside: &str, dtype: Dtype) -> Result<[String; 2], NetworkError> {
        let names = ["least", "greatest"].map(|what| self.beside(beside, what));
        for (name, bound) in names.iter().zip([dtype.min(), dtype.max()]) {
            self.integers(layer, name, DataType::Int8, &[], &[i64::from(bound)])?;
        }
        Ok(names)
    }

    /// Adds a bias for a layer that reads values of this quantization, and has weights of these scales.
    pub(super) fn bias(
        &mut self,
        layer: &Layer,
        bias: &Bias,
        input: Option<Quantization>,
        scales: Option<&[f32]>,
    ) -> Result<String, NetworkError> {
        let own = self.name(layer);
        let name = self.beside(&own, "bias");
        let steps = match bias {
            Bias::Float(values) => {
                self.floats(&name, &[values.len()], values);
                return Ok(name);
            }
            Bias::Integer(steps) => steps,
        };
        let (Some(input), Some(scales)) = (input, scales) else {
            let problem = "has a bias in integers, and its input or its weights are not quantized";
            return Err(fault(layer, problem, "quantize the whole network"));
        };
        let all: Vec<f32> = scales.iter().map(|scale| input.scale * scale).collect();
        if let Some(step) = all.iter().find(|step| !step.is_normal()) {
            let problem = format!("has a bias in steps of {step}, which is no scale");
            return Err(fault(layer, problem, "its input or its weights are too small, or too large, for float32"));
        }
        let integers = self.beside(&name, "integers");
        self.integers(layer, &integers, DataType::Int32, &[steps.len()], &steps.to_vec())?;
        let scale = self.beside(&name, "scale");
        let sizes: &[usize] = if all.len() == 1 { &[] } else { &[all.len()] };
        self.floats(&scale, sizes, &all);
        let attributes = if all.len() == 1 { Vec::new() } else { vec![integer("axis", 0)] };
        self.node(&name, "DequantizeLinear", vec![integers, scale], attributes);
        Ok(name)
    }

    /// The nodes that put a value on a grid and read it as reals again.
    pub(super) fn on_grid(&mut self, layer: &Layer, grid: Quantization) -> Result<Vec<Step>, NetworkError> {
        let own = self.name(layer);
        let scale = self.real(layer, "scale", grid.scale);
        let Some(kind) = container(grid.dtype) else {
            if grid.zero_point != 0 {
                return Err(fault(layer, "has a binary value with a zero point", "binary values are -1 and +1, and have none"));
            }
            return Ok(vec![Step::new("sign", "BipolarQuant", vec![scale], Vec::new())]);
        };
        // onnxruntime moves integers where reals are only moved, and pools none of four bits: those lie in int8 then, as two bits always do.
        let moves = |layer: &Layer| layer.op.only_moves();
        let is_moved = moves(layer) || self.network.consumers(layer.id).into_iter().any(|id| moves(self.network.layer(id)));
        let narrow = grid.dtype == Dtype::Int2 || (grid.dtype == Dtype::Int4 && is_moved);
        let kind = if narrow { DataType::Int8 } else { kind };
        let zero = self.beside(&own, "zero_point");
        self.integers(layer, &zero, kind, &[], &[i64::from(grid.zero_point)])?;
        let parameters = vec![scale, zero];
        let yields = if narrow { "wide" } else { "integers" };
        let mut steps = vec![Step { yields, ..Step::new("quantize", "QuantizeLinear", parameters.clone(), Vec::new()) }];
        if narrow {
            let bounds = self.bounds_of(layer, &own, grid.dtype)?;
            steps.push(Step { yields: "integers", ..Step::new("narrow", "Clip", bounds.to_vec(), Vec::new()) });
        }
        steps.push(Step::new("dequantize", "DequantizeLinear", parameters, Vec::new()));
        Ok(steps)
    }
}
