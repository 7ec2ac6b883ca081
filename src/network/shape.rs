//! Shape inference: what a layer yields for the shapes that it reads. Checked arithmetic throughout, since shapes come from files.

use super::{NetworkError, Op};

/// The most elements that one sample of a value may have.
const MAX_ELEMENTS: usize = 1 << 31;

/// Refuses a shape that is empty or too large to be meant.
pub(super) fn check_size(layer: &str, shape: &[usize]) -> Result<usize, NetworkError> {
    let fault = |problem| NetworkError::Size { layer: layer.to_string(), shape: shape.to_vec(), problem };
    let elements = shape.iter().try_fold(1_usize, |product, n| product.checked_mul(*n)).filter(|n| *n <= MAX_ELEMENTS);
    match elements {
        None => Err(fault("too many elements")),
        Some(0) => Err(fault("no elements")),
        Some(n) => Ok(n),
    }
}

/// The shape of one sample that `op` yields for `inputs`.
pub(super) fn infer(layer: &str, op: &Op, inputs: &[&[usize]]) -> Result<Vec<usize>, NetworkError> {
    let fault = |problem: String| NetworkError::Shape { layer: layer.to_string(), op: op.name(), problem };
    let wanted = match op {
        Op::Input => 0,
        Op::Add => 2,
        _ => 1,
    };
    if inputs.len() != wanted {
        return Err(fault(format!("reads {} values and needs {wanted}", inputs.len())));
    }
    let shape = match op {
        Op::Input => return Err(fault("an input is added by name and shape".to_string())),
        Op::Dense(dense) => {
            let (k, n) = dense.weight.dim();
            let Some((last, rows)) = inputs[0].split_last() else {
                return Err(fault(format!("reads a scalar a sample and needs rows of {k}")));
            };
            if *last != k {
                return Err(fault(format!("reads rows of {last} (shape {:?}) and its weights are {k} x {n}", inputs[0])));
            }
            let biases = match &dense.bias {
                Some(super::Bias::Float(bias)) => bias.len(),
                Some(super::Bias::Integer(bias)) => bias.len(),
                None => n,
            };
            if biases != n {
                return Err(fault(format!("has {biases} biases and its weights are {k} x {n}")));
            }
            let mut shape = rows.to_vec();
            shape.push(n);
            shape
        }
        Op::Add => {
            if inputs[0] != inputs[1] {
                return Err(fault(format!("adds shapes {:?} and {:?}; they must be the same", inputs[0], inputs[1])));
            }
            inputs[0].to_vec()
        }
        Op::AddConstant(constant) => {
            let fits = constant.ndim() <= inputs[0].len()
                && constant.shape().iter().rev().zip(inputs[0].iter().rev()).all(|(c, n)| *c == 1 || c == n);
            if !fits {
                return Err(fault(format!("adds a constant of shape {:?} to {:?}", constant.shape(), inputs[0])));
            }
            inputs[0].to_vec()
        }
        Op::Relu | Op::Softmax => inputs[0].to_vec(),
        Op::Reshape(shape) => {
            let (from, to) = (check_size(layer, inputs[0])?, check_size(layer, shape)?);
            if from != to {
                return Err(fault(format!("reshapes {:?} ({from} elements) to {shape:?} ({to} elements)", inputs[0])));
            }
            shape.clone()
        }
    };
    check_size(layer, &shape)?;
    Ok(shape)
}
