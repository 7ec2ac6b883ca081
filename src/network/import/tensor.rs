//! Constant tensors of an ONNX file as arrays. Nothing is allocated by a claim: the data must be there before its shape is believed.

use super::external::Folder;
use super::names::shown;
use super::onnx::TensorProto;
use super::onnx::tensor_proto::{DataLocation, DataType};
use crate::network::NetworkError;
use ndarray::ArrayD;
use prost::bytes::Bytes;

/// The most numbers that the constants of one network may hold in all (1 GiB of float32): ResNet-50 has a tenth, BERT-base less than half.
/// A constant counts once for each layer that reads it.
pub(super) const MAX_CONSTANTS: u64 = 1 << 28;

/// The most axes that a shape of the file may have, the batch axis included.
pub(super) const MAX_RANK: usize = 16;

/// A constant of float32 numbers.
///
/// # Errors
/// If the tensor is not float32, cannot be read, disagrees with its shape, has no elements, or holds a number that is not finite.
pub(super) fn floats(tensor: &TensorProto, folder: Folder<'_>) -> Result<ArrayD<f32>, NetworkError> {
    floats_where(tensor, folder, f32::is_finite)
}

/// The same of a mask that is added, which may hold minus infinity.
///
/// # Errors
/// As [`floats`].
pub(super) fn addends(tensor: &TensorProto, folder: Folder<'_>) -> Result<ArrayD<f32>, NetworkError> {
    floats_where(tensor, folder, |value| value.is_finite() || value == f32::NEG_INFINITY)
}

fn floats_where(tensor: &TensorProto, folder: Folder<'_>, may: impl Fn(f32) -> bool) -> Result<ArrayD<f32>, NetworkError> {
    let found = data_type(tensor);
    if found != DataType::Float as i32 {
        return Err(fault(
            tensor,
            format!("is {} where float is wanted", type_name(found)),
            "weights must be float32: export the model in float32",
        ));
    }
    let (shape, elements) = shape_of(tensor)?;
    if elements == 0 {
        return Err(fault(tensor, format!("has no elements (shape {shape:?})"), "every size must be at least 1"));
    }
    let values: Vec<f32> = match raw_bytes(tensor, elements, elements * 4, folder)? {
        Some(raw) => raw.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        None => listed(tensor, &tensor.float_data, elements)?.to_vec(),
    };
    if let Some(index) = values.iter().position(|value| !may(*value)) {
        return Err(fault(
            tensor,
            format!("element {index} is {}", values[index]),
            "every number must be finite: check how it was trained",
        ));
    }
    laid_out(tensor, shape, values)
}

/// A constant of whole numbers of any format up to 32 bits (of 64 where `T` is `i64`), in its own signs; truth values are 0 and 1.
///
/// # Errors
/// If the tensor has another format, cannot be read, or disagrees with its shape.
pub(super) fn integers<T: From<i32> + Clone>(tensor: &TensorProto, folder: Folder<'_>) -> Result<ArrayD<T>, NetworkError> {
    let (shape, elements) = shape_of(tensor)?;
    let values: Vec<i32> = match DataType::try_from(data_type(tensor)) {
        Ok(kind @ (DataType::Int4 | DataType::Uint4)) => {
            let packed = raw_bytes(tensor, elements, elements.div_ceil(2), folder)?;
            let packed = if let Some(raw) = &packed {
                raw.to_vec()
            } else {
                // Each number carries one byte of two elements.
                listed(tensor, &tensor.int32_data, elements.div_ceil(2))?.iter().map(|pair| pair.to_le_bytes()[0]).collect()
            };
            let halves = packed.iter().flat_map(|byte| [byte & 15, byte >> 4]).map(i32::from).take(elements);
            halves.map(|half| if kind == DataType::Int4 && half > 7 { half - 16 } else { half }).collect()
        }
        Ok(DataType::Int8) => from_raw(tensor, elements, folder, |[byte]: &[u8; 1]| i32::from(i8::from_le_bytes([*byte])))?,
        Ok(DataType::Uint8 | DataType::Bool) => from_raw(tensor, elements, folder, |[byte]: &[u8; 1]| i32::from(*byte))?,
        Ok(DataType::Int16) => from_raw(tensor, elements, folder, |bytes| i32::from(i16::from_le_bytes(*bytes)))?,
        Ok(DataType::Uint16) => from_raw(tensor, elements, folder, |bytes| i32::from(u16::from_le_bytes(*bytes)))?,
        Ok(DataType::Int32) => from_raw(tensor, elements, folder, |bytes| i32::from_le_bytes(*bytes))?,
        _ => {
            let problem = format!("is {} where whole numbers are wanted", type_name(data_type(tensor)));
            return Err(fault(tensor, problem, "shapes must be int64, and what is quantized at most int32: export the model again"));
        }
    };
    laid_out(tensor, shape, values.into_iter().map(T::from).collect())
}

/// A constant of whole numbers of any format, as int64.
///
/// # Errors
/// As [`integers`].
pub(super) fn longs(tensor: &TensorProto, folder: Folder<'_>) -> Result<ArrayD<i64>, NetworkError> {
    if data_type(tensor) != DataType::Int64 as i32 {
        return integers(tensor, folder);
    }
    let (shape, elements) = shape_of(tensor)?;
    let values = match raw_bytes(tensor, elements, elements * 8, folder)? {
        Some(raw) => raw.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect(),
        None => listed(tensor, &tensor.int64_data, elements)?.to_vec(),
    };
    laid_out(tensor, shape, values)
}

/// The code of the tensor's number format.
pub(super) fn data_type(tensor: &TensorProto) -> i32 {
    tensor.data_type.unwrap_or_default()
}

/// The name of a number format as ONNX has it.
pub(super) fn type_name(code: i32) -> String {
    DataType::try_from(code).map_or_else(|_| format!("type {code}"), |known| known.as_str_name().to_lowercase())
}

pub(super) fn fault(tensor: &TensorProto, problem: String, help: &'static str) -> NetworkError {
    NetworkError::Tensor { tensor: shown(tensor.name()), problem, help }
}

/// The tensor's shape, and how many numbers it claims.
pub(super) fn shape_of(tensor: &TensorProto) -> Result<(Vec<usize>, usize), NetworkError> {
    if tensor.segment.is_some() {
        return Err(fault(tensor, "is stored in segments".to_string(), "segments are not supported: export the model again"));
    }
    if tensor.dims.len() > MAX_RANK {
        return Err(fault(tensor, format!("has {} axes; the limit is {MAX_RANK}", tensor.dims.len()), "check the shape"));
    }
    let sizes = tensor.dims.iter().map(|dim| {
        usize::try_from(*dim).map_err(|_| fault(tensor, format!("has the size {dim} in its shape"), "sizes must not be negative"))
    });
    let shape = sizes.collect::<Result<Vec<usize>, _>>()?;
    let elements = shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
    match elements.filter(|elements| *elements as u64 <= MAX_CONSTANTS) {
        Some(elements) => Ok((shape, elements)),
        None => Err(fault(
            tensor,
            format!("claims more than {MAX_CONSTANTS} elements (shape {shape:?})"),
            "constants this large are not supported: check the shape",
        )),
    }
}

fn laid_out<T>(tensor: &TensorProto, shape: Vec<usize>, values: Vec<T>) -> Result<ArrayD<T>, NetworkError> {
    ArrayD::from_shape_vec(shape, values)
        .map_err(|error| fault(tensor, format!("its shape cannot be laid out: {error}"), "export the model again"))
}

/// Numbers of `WIDTH` bytes, or those of the list that ONNX keeps small ones in.
fn from_raw<const WIDTH: usize>(
    tensor: &TensorProto,
    elements: usize,
    folder: Folder<'_>,
    number: impl Fn(&[u8; WIDTH]) -> i32,
) -> Result<Vec<i32>, NetworkError> {
    if let Some(raw) = raw_bytes(tensor, elements, elements * WIDTH, folder)? {
        return Ok(raw.as_chunks::<WIDTH>().0.iter().map(number).collect());
    }
    // The list could hold more than the format does: what is kept is the format's part, as the file's writer had it.
    let bytes = listed(tensor, &tensor.int32_data, elements)?.iter().map(|value| value.to_le_bytes());
    Ok(bytes.map(|bytes| number(bytes.first_chunk().expect("bug: no format here is wider than 32 bits"))).collect())
}

/// The raw bytes of a tensor that is stored so, in the file or beside it.
fn raw_bytes(tensor: &TensorProto, elements: usize, wanted: usize, folder: Folder<'_>) -> Result<Option<Bytes>, NetworkError> {
    let external = tensor.data_location.unwrap_or_default() == DataLocation::External as i32;
    if external || !tensor.external_data.is_empty() {
        return folder.read(tensor, wanted).map(Some);
    }
    let Some(raw) = tensor.raw_data.as_ref().filter(|raw| !raw.is_empty()) else { return Ok(None) };
    if raw.len() != wanted {
        let problem = format!("its shape needs {elements} elements ({wanted} bytes) and it holds {} bytes", raw.len());
        return Err(fault(tensor, problem, "the file is damaged or was written wrongly: export it again"));
    }
    Ok(Some(raw.clone()))
}

/// The numbers of a tensor that is stored as a list.
fn listed<'a, T>(tensor: &TensorProto, values: &'a [T], elements: usize) -> Result<&'a [T], NetworkError> {
    if values.len() != elements {
        let problem = format!("its shape needs {elements} elements and it holds {}", values.len());
        return Err(fault(tensor, problem, "the file is damaged or was written wrongly: export it again"));
    }
    Ok(values)
}
