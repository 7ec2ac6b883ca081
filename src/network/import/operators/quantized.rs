//! Quantization as a file says it: `QuantizeLinear` and `DequantizeLinear`, Brevitas's clips of integers, QONNX's Quant and `BipolarQuant`.
//!
//! Unsigned integers become signed ones: the integers and their zero point are both shifted by half of the range, so that the reals stay.

use super::super::attributes::{Attributes, fault};
use super::super::constant::{Numbers, Quantized};
use super::super::importer::{Importer, Known, Tensor};
use super::super::onnx::NodeProto;
use super::super::onnx::tensor_proto::DataType;
use super::super::tensor::type_name;
use crate::network::{NetworkError, Op};
use crate::numerics::{Dtype, Quantization};
use ndarray::{ArrayD, Axis};

/// A quantization of ours, and the file's integers less ours.
#[derive(Clone, Copy)]
pub(in crate::network::import) struct Grid {
    pub(in crate::network::import) quantization: Quantization,
    pub(in crate::network::import) shift: i32,
}

/// Scales, zero points in the file's signs, and the format of these where there are any.
type Parameters = (Vec<f32>, Vec<i32>, Option<DataType>);

/// What a QONNX `Quant` says: scales, zero points, the format, its least and greatest integer.
type Quant = (ArrayD<f32>, Vec<i32>, Dtype, [i32; 2]);

/// Attributes of `QuantizeLinear` and `DequantizeLinear`.
const LINEAR: &[&str] = &["axis", "block_size", "output_dtype", "precision", "saturate"];

/// Our format of the file's integers, and their shift.
pub(super) fn format_of(kind: DataType) -> Option<(Dtype, i32)> {
    match kind {
        DataType::Int4 => Some((Dtype::Int4, 0)),
        DataType::Uint4 => Some((Dtype::Int4, 8)),
        DataType::Int8 => Some((Dtype::Int8, 0)),
        DataType::Uint8 => Some((Dtype::Int8, 128)),
        DataType::Int16 => Some((Dtype::Int16, 0)),
        DataType::Uint16 => Some((Dtype::Int16, 1 << 15)),
        _ => None,
    }
}

impl<'a> Importer<'a> {
    /// The scales and zero points (in the file's signs) that a node reads, and the format of the zero points where there are any.
    fn parameters(&mut self, node: &NodeProto, scale: usize, zero: Option<usize>) -> Result<Parameters, NetworkError> {
        let scales: Vec<f32> = self.reals(node, scale)?.into_iter().collect();
        if let Some(found) = scales.iter().find(|scale| !scale.is_normal() || **scale <= 0.0) {
            return Err(fault(node, format!("has the scale {found}"), "scales must be positive"));
        }
        let Some(slot) = zero.filter(|slot| Self::has(node, *slot)) else { return Ok((scales, Vec::new(), None)) };
        let constant = self.constant(node, slot)?;
        self.charge(constant.shape()?.iter().product())?;
        let Some(zeros) = constant.narrow(self.folder)? else {
            return Err(fault(node, "has a zero point that is no integer".to_string(), "export the model again"));
        };
        Ok((scales, zeros.into_iter().collect(), Some(constant.data_type())))
    }

    /// The quantization of an activation, whose integers have this format where its zero point does not say another.
    pub(super) fn grid(&mut self, node: &NodeProto, scale: usize, zero: usize, kind: DataType) -> Result<Grid, NetworkError> {
        let (scales, zeros, found) = self.parameters(node, scale, Some(zero))?;
        let kind = found.unwrap_or(kind);
        let [scale] = scales[..] else {
            let problem = format!("has {} scales for one activation", scales.len());
            return Err(fault(node, problem, "activations have one scale a tensor: quantize it again, per tensor"));
        };
        let zero = match zeros[..] {
            [] => 0,
            [zero] => zero,
            _ => return Err(fault(node, format!("has {} zero points for one activation", zeros.len()), "quantize it again, per tensor")),
        };
        let Some((dtype, shift)) = format_of(kind) else {
            let problem = format!("quantizes to {}", type_name(kind as i32));
            return Err(fault(node, problem, "activations of 4, 8 and 16 bits are supported: quantize to int8"));
        };
        Ok(Grid { quantization: Quantization { dtype, scale, zero_point: zero - shift }, shift })
    }

    /// Puts what a node reads in slot 0 on a grid: the value itself where nothing else reads it, else a rounded copy.
    pub(super) fn on_grid(&mut self, node: &NodeProto, tensor: Tensor, quantization: Quantization) -> Result<Tensor, NetworkError> {
        match self.builder.value(tensor.id).quantization {
            Some(found) if found == quantization => Ok(tensor),
            None if tensor.sole && self.wiring.only_reader(&node.input[0]).is_some() => {
                self.builder.quantize(tensor.id, quantization);
                Ok(tensor)
            }
            _ => {
                let id = self.layer(node, Op::Quantize, &[tensor.id])?;
                self.builder.quantize(id, quantization);
                Ok(Tensor { id, sole: true, ..tensor })
            }
        }
    }

    pub(super) fn quantize_linear(&mut self, node: &'a NodeProto) -> Result<(Tensor, i32), NetworkError> {
        let grid = self.linear_grid(node)?;
        let tensor = self.tensor(node, 0)?;
        Ok((self.on_grid(node, tensor, grid.quantization)?, grid.shift))
    }

    fn linear_grid(&mut self, node: &NodeProto) -> Result<Grid, NetworkError> {
        let kind = output_type(node)?;
        self.grid(node, 1, 2, kind)
    }

    pub(super) fn dequantize_linear(&mut self, node: &'a NodeProto) -> Result<Tensor, NetworkError> {
        output_type(node)?;
        let tensor = self.integers(node, 0, 1, Some(2))?;
        Ok(tensor)
    }

    /// The integers that a node reads in `slot`, which must be quantized as it says.
    pub(super) fn integers(&mut self, node: &NodeProto, slot: usize, scale: usize, zero: Option<usize>) -> Result<Tensor, NetworkError> {
        let Known::Integers(tensor, shift) = self.value(node, slot) else {
            let problem = format!("its operand {slot} is not quantized");
            return Err(fault(node, problem, "only integers that a QuantizeLinear or a quantized operator makes are supported here"));
        };
        let (scales, zeros, _) = self.parameters(node, scale, zero)?;
        let found = self.builder.value(tensor.id).quantization;
        let zero = zeros.first().copied().unwrap_or(0);
        let agrees = scales.len() == 1
            && zeros.len() <= 1
            && found.is_some_and(|found| found.scale.to_bits() == scales[0].to_bits() && found.zero_point == zero - shift);
        if agrees {
            return Ok(tensor);
        }
        let made = found.map_or_else(String::new, |found| format!("{} and zero point {}", found.scale, found.zero_point + shift));
        let problem =
            format!("reads operand {slot} with scale {} and zero point {zero}, and it was made with scale {made}", shown_scales(&scales));
        Err(fault(node, problem, "both must be the same, one a tensor: quantize the model again"))
    }

    /// Integers of a constant as the reals that they stand for.
    pub(in crate::network::import) fn dequantized_constant(&mut self, node: &NodeProto) -> Result<Quantized, NetworkError> {
        output_type(node)?;
        let axis = Attributes::new(node, LINEAR)?.integer("axis", 1)?;
        self.quantized_weights(node, 0, Some(1), Some(2), axis)
    }

    /// The constant integers that a node reads in `slot`, with their scales (1 where there are none) and zero points.
    pub(super) fn quantized_weights(
        &mut self,
        node: &NodeProto,
        slot: usize,
        scale: Option<usize>,
        zero: Option<usize>,
        axis: i64,
    ) -> Result<Quantized, NetworkError> {
        let constant = self.constant(node, slot)?;
        let shape = constant.shape()?;
        self.charge(shape.iter().product())?;
        let numbers = match &*constant {
            super::super::constant::Constant::Computed(Numbers::Clipped(_, kind, bounds)) => Some((*kind, Some(*bounds))),
            _ => Some((constant.data_type(), None)),
        };
        let (Some(values), Some((kind, bounds))) = (constant.narrow(self.folder)?, numbers) else {
            return Err(fault(node, format!("its operand {slot} is not of integers"), "export the model again"));
        };
        if values.is_empty() {
            return Err(fault(node, format!("its operand {slot} has no elements"), "every size must be at least 1"));
        }
        let (scales, zeros, _) = match scale {
            Some(scale) => self.parameters(node, scale, zero)?,
            None => (vec![1.0], zero.map_or(Ok(Vec::new()), |zero| self.zeros(node, zero))?, None),
        };
        let format = match (kind, bounds) {
            (DataType::Int32, _) => None,
            (kind, Some([low, high])) => Some(clipped_format(node, kind, low, high)?),
            (kind, None) => Some(format_of(kind).ok_or_else(|| {
                let problem = format!("its operand {slot} is {}", type_name(kind as i32));
                fault(node, problem, "integers of 4, 8, 16 and 32 bits are supported")
            })?),
        };
        let shift = format.map_or(0, |(_, shift)| shift);
        let channels = scales.len().max(zeros.len());
        let mut along = 0;
        if channels > 1 {
            along = self.axis(node, axis, shape.len())?;
            if [scales.len(), zeros.len().max(1)].iter().any(|count| *count != 1 && *count != shape[along]) {
                let problem = format!("has {} scales and {} zero points along axis {along} of {shape:?}", scales.len(), zeros.len());
                return Err(fault(node, problem, "give one for all, or one for each index of the axis"));
            }
        }
        let mut zero_points: Vec<i32> = zeros.iter().map(|zero| zero - shift).collect();
        if zero_points.is_empty() && shift != 0 {
            zero_points.push(-shift);
        }
        let values = values.mapv_into(|value| value - shift);
        Ok(Quantized { values, dtype: format.map(|(dtype, _)| dtype), scales, zero_points, axis: along })
    }

    /// Constant zero points that stand without scales.
    pub(super) fn zeros(&mut self, node: &NodeProto, slot: usize) -> Result<Vec<i32>, NetworkError> {
        if !Self::has(node, slot) {
            return Ok(Vec::new());
        }
        let constant = self.constant(node, slot)?;
        self.charge(constant.shape()?.iter().product())?;
        let zeros = constant
            .narrow(self.folder)?
            .ok_or_else(|| fault(node, "has a zero point that is no integer".to_string(), "export it again"))?;
        Ok(zeros.into_iter().collect())
    }

    /// Reals of a constant as integers, as `QuantizeLinear` makes them.
    pub(in crate::network::import) fn quantized_constant(&mut self, node: &NodeProto) -> Result<Numbers, NetworkError> {
        let axis = Attributes::new(node, LINEAR)?.integer("axis", 1)?;
        let asked = output_type(node)?;
        let (scales, zeros, kind) = self.parameters(node, 1, Some(2))?;
        let kind = kind.unwrap_or(asked);
        let Some((dtype, shift)) = format_of(kind) else {
            return Err(fault(node, format!("quantizes to {}", type_name(kind as i32)), "4, 8 and 16 bits are supported"));
        };
        let values = self.reals(node, 0)?;
        let axis = if scales.len().max(zeros.len()) > 1 { self.axis(node, axis, values.ndim())? } else { 0 };
        let quantized = rounded(node, &values, axis, &scales, &zeros, [dtype.min() + shift, dtype.max() + shift])?;
        Ok(Numbers::Clipped(quantized, kind, [i64::from(dtype.min() + shift), i64::from(dtype.max() + shift)]))
    }

    /// A `Clip`: of integers, a narrower format; of reals, a function.
    pub(super) fn clip(&mut self, node: &'a NodeProto) -> Result<Vec<Known<'a>>, NetworkError> {
        let Known::Integers(tensor, shift) = self.value(node, 0) else { return Ok(vec![Known::Layer(self.unary(node)?)]) };
        let Some(found) = self.builder.value(tensor.id).quantization else {
            return Err(fault(node, "clips integers that have no format".to_string(), "quantize them first"));
        };
        let whole = [i64::from(found.dtype.min() + shift), i64::from(found.dtype.max() + shift)];
        let [low, high] = self.integer_bounds(node, whole)?;
        let bits =
            u32::try_from(high.saturating_sub(low).saturating_add(1)).ok().filter(|count| count.is_power_of_two()).map(u32::trailing_zeros);
        let dtype = bits.filter(|bits| *bits > 1).and_then(Dtype::from_bits);
        let narrow = dtype.and_then(|dtype| {
            let shift_to = i32::try_from(low).ok()? - dtype.min();
            let zero_point = found.zero_point + shift - shift_to;
            let fits = (dtype.min()..=dtype.max()).contains(&zero_point);
            fits.then_some((Quantization { dtype, scale: found.scale, zero_point }, shift_to))
        });
        let Some((quantization, shift)) = narrow else {
            let problem = format!("clips integers to {low}..{high}, which is no format of 2, 4, 8 or 16 bits around the zero point");
            return Err(fault(node, problem, "use one of these widths, and no narrow range"));
        };
        if tensor.sole && self.wiring.only_reader(&node.input[0]).is_some() {
            self.builder.quantize(tensor.id, quantization);
            return Ok(vec![Known::Integers(tensor, shift)]);
        }
        let id = self.layer(node, Op::Quantize, &[tensor.id])?;
        self.builder.quantize(id, quantization);
        Ok(vec![Known::Integers(Tensor { id, sole: true, ..tensor }, shift)])
    }

    fn integer_bounds(&mut self, node: &NodeProto, whole: [i64; 2]) -> Result<[i64; 2], NetworkError> {
        Attributes::new(node, &[])?;
        let mut bounds = whole;
        for slot in [1, 2] {
            if Self::has(node, slot) {
                let value = self.constant(node, slot)?.longs(self.folder)?.filter(|values| values.len() == 1);
                let Some(value) = value.and_then(|values| values.first().copied()) else {
                    return Err(fault(node, format!("its operand {slot} is not one integer"), "give one integer"));
                };
                bounds[slot - 1] = value.clamp(whole[0], whole[1]);
            }
        }
        Ok(bounds)
    }

    /// A `Clip` of a constant.
    pub(in crate::network::import) fn clipped_constant(&mut self, node: &NodeProto) -> Result<Option<Numbers>, NetworkError> {
        let constant = self.constant(node, 0)?;
        if constant.data_type() == DataType::Float {
            let function = self.function(node)?;
            return Ok(Some(Numbers::Float(function.constant(self.reals(node, 0)?))));
        }
        self.charge(constant.shape()?.iter().product())?;
        let Some((dtype, shift)) = format_of(constant.data_type()) else { return Ok(None) };
        let bounds = self.integer_bounds(node, [i64::from(dtype.min() + shift), i64::from(dtype.max() + shift)])?;
        let values = constant.narrow(self.folder)?;
        let clip = |value: i32| i32::try_from(i64::from(value).max(bounds[0]).min(bounds[1])).unwrap_or(value);
        Ok(values.map(|values| Numbers::Clipped(values.mapv_into(clip), constant.data_type(), bounds)))
    }

    /// What a QONNX `Quant` says: scales, zero points, the format, its least and greatest integer.
    fn quant_parameters(&mut self, node: &NodeProto) -> Result<Quant, NetworkError> {
        let attributes = Attributes::new(node, &["signed", "narrow", "rounding_mode"])?;
        let (signed, narrow) = (attributes.integer("signed", 1)? != 0, attributes.integer("narrow", 0)? != 0);
        let rounding = attributes.text("rounding_mode", "ROUND")?;
        if !matches!(rounding.as_str(), "ROUND" | "HALF_EVEN") {
            return Err(fault(node, format!("has rounding_mode = \"{rounding}\""), "only ROUND (half to even) is supported"));
        }
        let bits = self.scalar(node, 3)?;
        let dtype = [2_u8, 4, 8, 16].into_iter().find(|known| f32::from(*known).to_bits() == bits.to_bits());
        let Some(dtype) = dtype.and_then(|bits| Dtype::from_bits(u32::from(bits))) else {
            return Err(fault(node, format!("quantizes to {bits} bits"), "2, 4, 8 and 16 bits are supported, and 1 as BipolarQuant"));
        };
        let scales = self.reals(node, 1)?;
        if let Some(found) = scales.iter().find(|scale| !scale.is_normal() || **scale <= 0.0) {
            return Err(fault(node, format!("has the scale {found}"), "scales must be positive"));
        }
        let (low, high) = match (signed, narrow) {
            (true, false) => (dtype.min(), dtype.max()),
            (true, true) => (-dtype.max(), dtype.max()),
            (false, false) => (0, dtype.max() - dtype.min()),
            (false, true) => (0, dtype.max() - dtype.min() - 1),
        };
        let mut zeros = Vec::new();
        for zero in self.reals(node, 2)? {
            // It is added before rounding, so that an odd one would round ties the other way.
            #[expect(clippy::cast_possible_truncation, reason = "a cast from float saturates, and is compared with the float")]
            let whole = zero as i32;
            if (whole as f32).to_bits() != (zero + 0.0).to_bits() || whole % 2 != 0 || whole.abs() > 1 << 16 {
                return Err(fault(node, format!("has the zero point {zero}"), "only even whole numbers are supported"));
            }
            zeros.push(whole);
        }
        Ok((scales, zeros, dtype, [low, high]))
    }

    pub(super) fn quant(&mut self, node: &'a NodeProto) -> Result<Tensor, NetworkError> {
        let (scales, zeros, dtype, [low, high]) = self.quant_parameters(node)?;
        let (Some(scale), 1, [zero]) = (scales.first().copied(), scales.len(), &zeros[..]) else {
            let problem = format!("has {} scales and {} zero points for one activation", scales.len(), zeros.len());
            return Err(fault(node, problem, "activations have one scale a tensor: train it per tensor"));
        };
        if high - low != dtype.max() - dtype.min() {
            return Err(fault(node, "quantizes an activation to a narrow range".to_string(), "set narrow = 0 for activations"));
        }
        let tensor = self.tensor(node, 0)?;
        let shift = low - dtype.min();
        self.on_grid(node, tensor, Quantization { dtype, scale, zero_point: zero - shift })
    }

    pub(in crate::network::import) fn quant_constant(&mut self, node: &NodeProto) -> Result<Quantized, NetworkError> {
        let (scales, zeros, dtype, bounds) = self.quant_parameters(node)?;
        let values = self.reals(node, 0)?;
        let (scales, axis) = channels(node, &scales, values.shape())?;
        let shift = if bounds[0] == 0 { -dtype.min() } else { 0 };
        let integers = rounded(node, &values, axis, &scales, &zeros, bounds)?.mapv_into(|value| value - shift);
        let zero_points = zeros.iter().map(|zero| zero - shift).collect();
        Ok(Quantized { values: integers, dtype: Some(dtype), scales, zero_points, axis })
    }

    pub(super) fn bipolar_quant(&mut self, node: &'a NodeProto) -> Result<Tensor, NetworkError> {
        Attributes::new(node, &[])?;
        let scale = self.scalar(node, 1)?;
        if !scale.is_normal() || scale <= 0.0 {
            return Err(fault(node, format!("has the scale {scale}"), "scales must be positive"));
        }
        let tensor = self.tensor(node, 0)?;
        self.on_grid(node, tensor, Quantization { dtype: Dtype::Binary, scale, zero_point: 0 })
    }

    pub(in crate::network::import) fn bipolar_constant(&mut self, node: &NodeProto) -> Result<Quantized, NetworkError> {
        Attributes::new(node, &[])?;
        let scales = self.reals(node, 1)?;
        if scales.iter().any(|scale| !scale.is_normal() || *scale <= 0.0) {
            return Err(fault(node, "has a scale that is not positive".to_string(), "scales must be positive"));
        }
        let values = self.reals(node, 0)?;
        let (scales, axis) = channels(node, &scales, values.shape())?;
        let values = values.mapv(|value| if value < 0.0 { -1 } else { 1 });
        Ok(Quantized { values, dtype: Some(Dtype::Binary), scales, zero_points: Vec::new(), axis })
    }
}

/// Scales as a message shows them: one, or how many there are.
fn shown_scales(scales: &[f32]) -> String {
    if let [scale] = scales { scale.to_string() } else { format!("of {} channels", scales.len()) }
}

/// The format that a `QuantizeLinear` without a zero point quantizes to.
fn output_type(node: &NodeProto) -> Result<DataType, NetworkError> {
    let attributes = Attributes::new(node, LINEAR)?;
    if attributes.integer("block_size", 0)? != 0 {
        return Err(fault(node, "quantizes in blocks".to_string(), "quantize per tensor or per channel"));
    }
    let asked = i32::try_from(attributes.integer("output_dtype", 0)?).ok().and_then(|code| DataType::try_from(code).ok());
    Ok(asked.filter(|kind| *kind != DataType::Undefined).unwrap_or(DataType::Uint8))
}

/// The scales of QONNX, which broadcast with what they scale, as one for all or one for each index of an axis.
fn channels(node: &NodeProto, scales: &ArrayD<f32>, shape: &[usize]) -> Result<(Vec<f32>, usize), NetworkError> {
    let leading = shape.len().checked_sub(scales.ndim());
    let axis = scales.shape().iter().rposition(|size| *size != 1);
    let found = match (axis, leading) {
        (None, _) => Some(0),
        (Some(axis), Some(leading)) if scales.len() == scales.shape()[axis] && shape[axis + leading] == scales.len() => {
            Some(axis + leading)
        }
        _ => None,
    };
    let axis = found.ok_or_else(|| {
        fault(node, format!("has scales of shape {:?} for {shape:?}", scales.shape()), "give one scale for all, or one for each channel")
    })?;
    Ok((scales.iter().copied().collect(), axis))
}

/// `clamp(round(x / scale) + zero)`, half to even, in the file's signs.
fn rounded(
    node: &NodeProto,
    values: &ArrayD<f32>,
    axis: usize,
    scales: &[f32],
    zeros: &[i32],
    bounds: [i32; 2],
) -> Result<ArrayD<i32>, NetworkError> {
    let channels = if values.ndim() == 0 { 1 } else { values.len_of(Axis(axis)) };
    if [scales.len(), zeros.len().max(1)].iter().any(|count| *count != 1 && *count != channels) {
        let problem = format!("has {} scales and {} zero points for {channels} channels", scales.len(), zeros.len());
        return Err(fault(node, problem, "give one for all, or one for each channel"));
    }
    let round = |channel: usize, x: f32| {
        let scale = scales.get(channel).or(scales.first()).copied().unwrap_or(1.0);
        let zero = zeros.get(channel).or(zeros.first()).copied().unwrap_or(0);
        let steps = (f64::from(libm::rintf(x / scale)) + f64::from(zero)).clamp(f64::from(bounds[0]), f64::from(bounds[1]));
        #[expect(clippy::cast_possible_truncation, reason = "clamped to a format of at most 16 bits")]
        let whole = steps as i32;
        whole
    };
    if scales.len() == 1 && zeros.len() <= 1 {
        return Ok(values.mapv(|x| round(0, x)));
    }
    let mut integers = ArrayD::zeros(values.raw_dim());
    for (channel, (mut to, from)) in integers.axis_iter_mut(Axis(axis)).zip(values.axis_iter(Axis(axis))).enumerate() {
        to.zip_mut_with(&from, |to, from| *to = round(channel, *from));
    }
    Ok(integers)
}

/// The format of constant integers that were clipped to these bounds, and its shift.
fn clipped_format(node: &NodeProto, kind: DataType, low: i64, high: i64) -> Result<(Dtype, i32), NetworkError> {
    let formats = [Dtype::Int2, Dtype::Int4, Dtype::Int8, Dtype::Int16].into_iter();
    let mut exact = formats.filter_map(|dtype| {
        let (min, max) = (i64::from(dtype.min()), i64::from(dtype.max()));
        let signed = high == max && (low == min || low == -max);
        let unsigned = low == 0 && (high == max - min || high == max - min - 1);
        // A narrow 2-bit range and a 1-bit one would look alike only if both were unsigned.
        if signed { Some((dtype, 0)) } else { unsigned.then_some((dtype, -dtype.min())) }
    });
    exact.next().ok_or_else(|| {
        let problem = format!("reads {} that are clipped to {low}..{high}", type_name(kind as i32));
        fault(node, problem, "this is no format of 2, 4, 8 or 16 bits, which are supported")
    })
}
