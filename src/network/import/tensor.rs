//! Constant tensors of an ONNX file as arrays. Nothing is allocated by a claim: the data must be there before its shape is believed.

use super::names::shown;
use super::onnx::TensorProto;
use super::onnx::tensor_proto::{DataLocation, DataType};
use crate::network::NetworkError;
use ndarray::ArrayD;

/// The most numbers that the constants of one network may hold in all (1 GiB of float32). A constant counts once for each layer that reads it.
pub(super) const MAX_CONSTANTS: u64 = 1 << 28;

/// The most axes that a shape of the file may have, the batch axis included.
pub(super) const MAX_RANK: usize = 16;

/// A constant of float32 numbers.
///
/// # Errors
/// If the tensor is not float32, is not in the file, disagrees with its shape, or holds a number that is not finite.
pub(super) fn floats(tensor: &TensorProto) -> Result<ArrayD<f32>, NetworkError> {
    let shape = shape_of(tensor, DataType::Float)?;
    let elements = count(tensor, &shape)?;
    let values: Vec<f32> = match raw_bytes(tensor, elements, 4)? {
        Some(raw) => raw.as_chunks::<4>().0.iter().map(|bytes| f32::from_le_bytes(*bytes)).collect(),
        None => listed(tensor, &tensor.float_data, elements)?.to_vec(),
    };
    if let Some(index) = values.iter().position(|value| !value.is_finite()) {
        return Err(fault(
            tensor,
            format!("element {index} is {}", values[index]),
            "every number must be finite: check how it was trained",
        ));
    }
    ArrayD::from_shape_vec(shape, values)
        .map_err(|error| fault(tensor, format!("its shape cannot be laid out: {error}"), "export the model again"))
}

/// A constant list of int64 numbers, as shapes are given; of rank 1 at most.
///
/// # Errors
/// If the tensor is not int64, is not in the file, is not a list, or disagrees with its shape.
pub(super) fn integers(tensor: &TensorProto) -> Result<Vec<i64>, NetworkError> {
    let shape = shape_of(tensor, DataType::Int64)?;
    if shape.len() > 1 {
        return Err(fault(tensor, format!("has shape {shape:?} where a list is wanted"), "give a tensor of rank 1"));
    }
    let elements = count(tensor, &shape)?;
    Ok(match raw_bytes(tensor, elements, 8)? {
        Some(raw) => raw.as_chunks::<8>().0.iter().map(|bytes| i64::from_le_bytes(*bytes)).collect(),
        None => listed(tensor, &tensor.int64_data, elements)?.to_vec(),
    })
}

/// The name of a number format as ONNX has it.
pub(super) fn type_name(code: i32) -> String {
    DataType::try_from(code).map_or_else(|_| format!("type {code}"), |known| known.as_str_name().to_lowercase())
}

fn fault(tensor: &TensorProto, problem: String, help: &'static str) -> NetworkError {
    NetworkError::Tensor { tensor: shown(tensor.name()), problem, help }
}

/// The tensor's shape, once its format and place are found to be what is wanted.
fn shape_of(tensor: &TensorProto, wanted: DataType) -> Result<Vec<usize>, NetworkError> {
    let found = tensor.data_type.unwrap_or_default();
    if found != wanted as i32 {
        let help = match wanted {
            DataType::Float => "weights must be float32: export the model in float32",
            _ => "shapes must be int64: export the model again",
        };
        return Err(fault(tensor, format!("is {} where {} is wanted", type_name(found), type_name(wanted as i32)), help));
    }
    let external = tensor.data_location.unwrap_or_default() == DataLocation::External as i32;
    if external || !tensor.external_data.is_empty() {
        let help = "external data is not supported yet: save it in one file, with onnx.save_model(..., save_as_external_data=False)";
        return Err(fault(tensor, "its data lies in another file".to_string(), help));
    }
    if tensor.segment.is_some() {
        return Err(fault(tensor, "is stored in segments".to_string(), "segments are not supported: export the model again"));
    }
    if tensor.dims.len() > MAX_RANK {
        return Err(fault(tensor, format!("has {} axes; the limit is {MAX_RANK}", tensor.dims.len()), "check the shape"));
    }
    tensor
        .dims
        .iter()
        .map(|dim| {
            usize::try_from(*dim).map_err(|_| fault(tensor, format!("has the size {dim} in its shape"), "sizes must not be negative"))
        })
        .collect()
}

/// How many numbers a shape claims.
fn count(tensor: &TensorProto, shape: &[usize]) -> Result<usize, NetworkError> {
    let elements = shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size));
    match elements {
        Some(0) => Err(fault(tensor, format!("has no elements (shape {shape:?})"), "every size must be at least 1")),
        Some(elements) if elements as u64 <= MAX_CONSTANTS => Ok(elements),
        _ => Err(fault(
            tensor,
            format!("claims more than {MAX_CONSTANTS} elements (shape {shape:?})"),
            "constants this large are not supported: check the shape",
        )),
    }
}

/// The raw bytes of a tensor that is stored so.
fn raw_bytes(tensor: &TensorProto, elements: usize, width: usize) -> Result<Option<&[u8]>, NetworkError> {
    let Some(raw) = tensor.raw_data.as_deref().filter(|raw| !raw.is_empty()) else { return Ok(None) };
    let wanted = elements * width;
    if raw.len() != wanted {
        let problem = format!("its shape needs {elements} elements of {width} bytes ({wanted} bytes) and it holds {} bytes", raw.len());
        return Err(fault(tensor, problem, "the file is damaged or was written wrongly: export it again"));
    }
    Ok(Some(raw))
}

/// The numbers of a tensor that is stored as a list.
fn listed<'a, T>(tensor: &TensorProto, values: &'a [T], elements: usize) -> Result<&'a [T], NetworkError> {
    if values.len() != elements {
        let problem = format!("its shape needs {elements} elements and it holds {}", values.len());
        return Err(fault(tensor, problem, "the file is damaged or was written wrongly: export it again"));
    }
    Ok(values)
}
