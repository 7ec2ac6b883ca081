//! Operations on constants alone, computed when the file is read: arithmetic on shapes, weights that are put together or quantized.

use super::attributes::{Attributes, fault};
use super::constant::{Constant, Numbers};
use super::importer::{Importer, Known};
use super::onnx::NodeProto;
use super::onnx::tensor_proto::DataType;
use super::tensor::{self, MAX_RANK};
use crate::network::{BinaryOp, NetworkError, broadcast};
use ndarray::{ArrayD, Axis, IxDyn, Zip};
use std::rc::Rc;

/// What to do about an operation on constants that is not computed here.
const SHORT_HELP: &str = "fold constants first, for example with onnxsim";

impl<'a> Importer<'a> {
    /// Computes a node that reads constants only, or the shape of data; `false` where it is none that can be computed so.
    pub(super) fn fold(&mut self, index: usize) -> Result<bool, NetworkError> {
        let node = &self.graph.node[index];
        if node.op_type() == "Constant" {
            return Ok(true);
        }
        if node.op_type() == "Shape" {
            let Some(known) = self.values.get(node.input[0].as_str()).cloned() else { return Ok(false) };
            let shape = match known {
                Known::Layer(tensor) | Known::Integers(tensor, _) => self.full(tensor),
                Known::Constant(constant) => constant.shape()?,
            };
            let numbers = part_of_shape(node, &shape)?;
            return self.computed(node, vec![numbers]).map(|()| true);
        }
        let is_constant = |name: &&String| matches!(self.values.get(name.as_str()), Some(Known::Constant(_)));
        if node.input.is_empty() || !node.input.iter().filter(|name| !name.is_empty()).all(|name| is_constant(&name)) {
            return Ok(false);
        }
        match self.compute(node)? {
            Some(outputs) => self.computed(node, outputs).map(|()| true),
            None => Ok(false),
        }
    }

    fn computed(&mut self, node: &'a NodeProto, outputs: Vec<Numbers>) -> Result<(), NetworkError> {
        for numbers in &outputs {
            // A float that is not finite would poison everything behind it.
            if let Numbers::Float(values) = numbers
                && let Some(value) = values.iter().find(|value| !value.is_finite())
            {
                return Err(fault(node, format!("computes {value} from constants"), "every number must be finite: check the constants"));
            }
        }
        self.define(node, outputs.into_iter().map(|numbers| Known::Constant(Rc::new(Constant::Computed(numbers)))).collect())
    }

    fn compute(&mut self, node: &NodeProto) -> Result<Option<Vec<Numbers>>, NetworkError> {
        let operator = node.op_type();
        if operator == "Gather" {
            return self.gathered(node).map(|numbers| Some(vec![numbers]));
        }
        if matches!(operator, "Identity" | "Dropout" | "Reshape" | "Flatten" | "Squeeze" | "Unsqueeze" | "Transpose" | "Slice" | "Split") {
            let constant = self.constant(node, 0)?;
            let shape = constant.shape()?;
            let Some(outputs) = self.movements(node, &shape)? else { return Ok(None) };
            self.charge(shape.iter().product::<usize>().saturating_mul(outputs.len()))?;
            let numbers = constant.numbers(self.folder)?;
            return Ok(Some(outputs.into_iter().map(|movements| numbers.clone().moved(movements)).collect()));
        }
        let one = |numbers| Ok(Some(vec![numbers]));
        match operator {
            "Add" | "Sub" | "Mul" | "Div" | "Equal" => one(self.binary_of_constants(node)?),
            "Where" => one(self.chosen(node)?),
            "Concat" => one(self.joined(node)?),
            "Cast" => self.cast_of_constant(node).map(|numbers| numbers.map(|numbers| vec![numbers])),
            "ConstantOfShape" => one(self.filled(node)?),
            "Expand" => one(self.expanded(node)?),
            "Range" => one(self.range(node)?),
            "Relu" | "Sigmoid" | "Tanh" | "Erf" | "Sqrt" | "Exp" | "Neg" | "Reciprocal" | "Pow" => {
                let function = self.function(node)?;
                let values = self.numbers(node, 0)?;
                self.charge(values.shape().iter().product())?;
                one(Numbers::Float(function.constant(values.reals())))
            }
            "DequantizeLinear" => one(Numbers::Quantized(self.dequantized_constant(node)?)),
            "QuantizeLinear" => one(self.quantized_constant(node)?),
            "Clip" => self.clipped_constant(node).map(|numbers| numbers.map(|numbers| vec![numbers])),
            "Quant" => one(Numbers::Quantized(self.quant_constant(node)?)),
            "BipolarQuant" => one(Numbers::Quantized(self.bipolar_constant(node)?)),
            _ => Ok(None),
        }
    }

    /// The constant that a node reads in `slot`.
    pub(super) fn numbers(&mut self, node: &NodeProto, slot: usize) -> Result<Numbers, NetworkError> {
        let constant = self.constant(node, slot)?;
        self.charge(constant.shape()?.iter().product())?;
        constant.numbers(self.folder)
    }

    fn gathered(&mut self, node: &NodeProto) -> Result<Numbers, NetworkError> {
        let constant = self.constant(node, 0)?;
        let shape = constant.shape()?;
        let (axis, indices) = self.indices(node, &shape)?;
        let target = [&shape[..axis], indices.shape(), &shape[axis + 1..]].concat();
        let size = target.iter().try_fold(1_usize, |product, size| product.checked_mul(*size)).unwrap_or(usize::MAX);
        self.charge(shape.iter().product::<usize>().saturating_add(size))?;
        let flat: Vec<usize> = indices.iter().copied().collect();
        Ok(match constant.numbers(self.folder)? {
            Numbers::Int(values, kind) => Numbers::Int(select(&values, axis, &flat, &target), kind),
            Numbers::Clipped(values, kind, bounds) => Numbers::Clipped(select(&values, axis, &flat, &target), kind, bounds),
            numbers => Numbers::Float(select(&numbers.reals(), axis, &flat, &target)),
        })
    }

    /// Charges for a result of the shape that some constants broadcast to.
    fn broadcast_of(&mut self, node: &NodeProto, shapes: &[&[usize]]) -> Result<Vec<usize>, NetworkError> {
        let mut shape = Vec::new();
        for other in shapes {
            shape = broadcast(&shape, other).map_err(|problem| fault(node, problem, "check the shapes"))?;
        }
        if shape.len() > MAX_RANK {
            return Err(fault(node, format!("yields {} axes, and the limit is {MAX_RANK}", shape.len()), "check the shapes"));
        }
        let size = shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size)).unwrap_or(usize::MAX);
        self.charge(size)?;
        Ok(shape)
    }

    fn binary_of_constants(&mut self, node: &NodeProto) -> Result<Numbers, NetworkError> {
        Attributes::new(node, &[])?;
        let (left, right) = (self.numbers(node, 0)?, self.numbers(node, 1)?);
        let shape = self.broadcast_of(node, &[left.shape(), right.shape()])?;
        if let (Numbers::Int(a, kind), Numbers::Int(b, _)) = (&left, &right) {
            let mut result = ArrayD::from_elem(IxDyn(&shape), Some(0_i64));
            Zip::from(&mut result).and_broadcast(a).and_broadcast(b).for_each(|y, a, b| {
                *y = match node.op_type() {
                    "Add" => a.checked_add(*b),
                    "Sub" => a.checked_sub(*b),
                    "Mul" => a.checked_mul(*b),
                    "Div" => a.checked_div(*b),
                    _ => Some(i64::from(a == b)),
                }
            });
            if result.iter().any(Option::is_none) {
                return Err(fault(node, "overflows, or divides by zero, on constants".to_string(), "check the shapes"));
            }
            let kind = if node.op_type() == "Equal" { DataType::Bool } else { *kind };
            return Ok(Numbers::Int(result.mapv(Option::unwrap_or_default), kind));
        }
        let Some(op) = binary_op(node.op_type()) else {
            return Err(fault(node, "compares floats".to_string(), SHORT_HELP));
        };
        let (left, right) = (left.reals(), right.reals());
        let mut result = ArrayD::zeros(IxDyn(&shape));
        Zip::from(&mut result).and_broadcast(&left).and_broadcast(&right).for_each(|y, a, b| *y = op.apply(*a, *b));
        Ok(Numbers::Float(result))
    }

    fn chosen(&mut self, node: &NodeProto) -> Result<Numbers, NetworkError> {
        Attributes::new(node, &[])?;
        let condition = self.constant(node, 0)?.longs(self.folder)?;
        let (left, right) = (self.numbers(node, 1)?, self.numbers(node, 2)?);
        let Some(condition) = condition else { return Err(fault(node, "chooses by floats".to_string(), SHORT_HELP)) };
        let shape = self.broadcast_of(node, &[condition.shape(), left.shape(), right.shape()])?;
        Ok(match (&left, &right) {
            (Numbers::Int(a, kind), Numbers::Int(b, _)) => Numbers::Int(choose(&shape, &condition, a, b), *kind),
            _ => Numbers::Float(choose(&shape, &condition, &left.reals(), &right.reals())),
        })
    }

    fn joined(&mut self, node: &NodeProto) -> Result<Numbers, NetworkError> {
        let attributes = Attributes::new(node, &["axis"])?;
        let parts = (0..node.input.len()).map(|slot| self.numbers(node, slot)).collect::<Result<Vec<_>, _>>()?;
        let axis = Axis(self.axis(node, attributes.integer("axis", 1)?, parts[0].shape().len())?);
        if parts.iter().any(|part| part.shape().len() != parts[0].shape().len()) {
            return Err(fault(node, "joins constants of different ranks".to_string(), "check the shapes"));
        }
        let broken = |error: ndarray::ShapeError| fault(node, format!("joins constants that do not fit: {error}"), "check the shapes");
        let ints: Option<Vec<_>> =
            parts.iter().map(|part| if let Numbers::Int(values, _) = part { Some(values.view()) } else { None }).collect();
        if let (Some(ints), Numbers::Int(_, kind)) = (ints, &parts[0]) {
            return ndarray::concatenate(axis, &ints).map(|values| Numbers::Int(values, *kind)).map_err(broken);
        }
        let reals: Vec<_> = parts.iter().map(Numbers::reals).collect();
        let views: Vec<_> = reals.iter().map(|values| values.view()).collect();
        ndarray::concatenate(axis, &views).map(Numbers::Float).map_err(broken)
    }

    fn cast_of_constant(&mut self, node: &NodeProto) -> Result<Option<Numbers>, NetworkError> {
        let to = Attributes::new(node, &["to", "saturate"])?.integer("to", 0)?;
        let kind = i32::try_from(to).ok().and_then(|to| DataType::try_from(to).ok());
        let numbers = self.numbers(node, 0)?;
        Ok(Some(match (kind, numbers) {
            (Some(DataType::Float), numbers @ (Numbers::Float(_) | Numbers::Quantized(_))) => numbers,
            (Some(DataType::Float), numbers) => Numbers::Float(numbers.reals()),
            (Some(kind @ (DataType::Int64 | DataType::Int32)), Numbers::Int(values, _)) => Numbers::Int(values, kind),
            (Some(kind @ (DataType::Int64 | DataType::Int32)), Numbers::Float(values)) => {
                #[expect(clippy::cast_possible_truncation, reason = "a cast from float truncates, and saturates")]
                let whole = values.mapv(|value| value as i64);
                Numbers::Int(whole, kind)
            }
            (Some(kind @ DataType::Bool), Numbers::Int(values, _)) => Numbers::Int(values.mapv(|value| i64::from(value != 0)), kind),
            _ => {
                let name = kind.map_or_else(|| format!("type {to}"), |kind| tensor::type_name(kind as i32));
                return Err(fault(node, format!("casts a constant to {name}"), "only float32, int32, int64 and bool are supported here"));
            }
        }))
    }

    fn filled(&mut self, node: &NodeProto) -> Result<Numbers, NetworkError> {
        let attributes = Attributes::new(node, &["value"])?;
        let shape = self.wanted_shape(node, 0)?;
        let value = match attributes.get("value").and_then(|attribute| attribute.t.as_ref()) {
            None => return Ok(Numbers::Float(ArrayD::zeros(IxDyn(&shape)))),
            Some(value) => Constant::Stored(std::borrow::Cow::Owned(value.as_ref().clone())).numbers(self.folder)?,
        };
        match (&value, value.shape().iter().product::<usize>()) {
            (Numbers::Float(values), 1) => Ok(Numbers::Float(ArrayD::from_elem(IxDyn(&shape), values.iter().copied().sum()))),
            (Numbers::Int(values, kind), 1) => Ok(Numbers::Int(ArrayD::from_elem(IxDyn(&shape), values.iter().copied().sum()), *kind)),
            _ => Err(fault(node, format!("fills with a value of shape {:?}", value.shape()), "give one number")),
        }
    }

    /// A shape that a constant gives, charged for before anything of it is made.
    fn wanted_shape(&mut self, node: &NodeProto, slot: usize) -> Result<Vec<usize>, NetworkError> {
        let sizes = self.list(node, slot)?;
        let shape: Option<Vec<usize>> = sizes.iter().map(|size| usize::try_from(*size).ok()).collect();
        let shape = shape.filter(|shape| shape.len() <= MAX_RANK && !shape.contains(&0)).ok_or_else(|| {
            let problem = format!("makes a constant of shape {}", super::movement::listed(&sizes));
            fault(node, problem, "every size must be at least 1, and there may be at most 16")
        })?;
        self.charge(shape.iter().try_fold(1_usize, |product, size| product.checked_mul(*size)).unwrap_or(usize::MAX))?;
        Ok(shape)
    }

    fn expanded(&mut self, node: &NodeProto) -> Result<Numbers, NetworkError> {
        Attributes::new(node, &[])?;
        let numbers = self.numbers(node, 0)?;
        let target = self.wanted_shape(node, 1)?;
        let shape = self.broadcast_of(node, &[numbers.shape(), &target])?;
        let spread = "bug: a shape that was broadcast to";
        Ok(match numbers {
            Numbers::Int(values, kind) => Numbers::Int(values.broadcast(IxDyn(&shape)).expect(spread).to_owned(), kind),
            numbers => Numbers::Float(numbers.reals().broadcast(IxDyn(&shape)).expect(spread).to_owned()),
        })
    }

    fn range(&mut self, node: &NodeProto) -> Result<Numbers, NetworkError> {
        Attributes::new(node, &[])?;
        let number = |slot| -> Result<i64, NetworkError> {
            let values = self.constant(node, slot)?.longs(self.folder)?;
            let one = values.filter(|values| values.len() == 1).and_then(|values| values.first().copied());
            one.ok_or_else(|| fault(node, format!("its operand {slot} is not one whole number"), "only whole numbers are supported here"))
        };
        let (start, limit, step) = (number(0)?, number(1)?, number(2)?);
        let (span, stride) = (i128::from(limit) - i128::from(start), i128::from(step));
        let count = if stride == 0 { 0 } else { (span + stride - stride.signum()) / stride };
        let Some(count) = usize::try_from(count).ok().filter(|count| *count > 0) else {
            return Err(fault(node, format!("counts from {start} to {limit} in steps of {step}, which is nothing"), "check the constants"));
        };
        self.charge(count)?;
        let values: Vec<i64> = std::iter::successors(Some(start), |value| value.checked_add(step)).take(count).collect();
        Ok(Numbers::Int(ndarray::Array1::from_vec(values).into_dyn(), DataType::Int64))
    }
}

/// The sizes of a shape that a `Shape` node asks for.
fn part_of_shape(node: &NodeProto, shape: &[usize]) -> Result<Numbers, NetworkError> {
    let attributes = Attributes::new(node, &["start", "end"])?;
    let rank = i64::try_from(shape.len()).unwrap_or(i64::MAX);
    let place = |given: i64| {
        let place = if given < 0 { given.saturating_add(rank) } else { given };
        usize::try_from(place.clamp(0, rank)).unwrap_or(0)
    };
    let (start, end) = (place(attributes.integer("start", 0)?), place(attributes.integer("end", rank)?));
    let sizes = shape.get(start..end).unwrap_or(&[]).iter().map(|size| i64::try_from(*size).unwrap_or(i64::MAX)).collect();
    Ok(Numbers::Int(ndarray::Array1::from_vec(sizes).into_dyn(), DataType::Int64))
}

/// Elements of one axis, in the shape `target`.
fn select<T: Clone>(values: &ArrayD<T>, axis: usize, flat: &[usize], target: &[usize]) -> ArrayD<T> {
    let selected = values.select(Axis(axis), flat).as_standard_layout().into_owned();
    selected.into_shape_with_order(IxDyn(target)).expect("bug: as many elements were selected")
}

/// Elements of one or the other.
fn choose<T: Clone + Default>(shape: &[usize], condition: &ArrayD<i64>, left: &ArrayD<T>, right: &ArrayD<T>) -> ArrayD<T> {
    let mut result = ArrayD::default(IxDyn(shape));
    let zip = Zip::from(&mut result).and_broadcast(condition).and_broadcast(left).and_broadcast(right);
    zip.for_each(|y: &mut T, which, a, b| *y = if *which == 0 { b.clone() } else { a.clone() });
    result
}

/// The arithmetic that an operator does.
pub(super) fn binary_op(operator: &str) -> Option<BinaryOp> {
    match operator {
        "Add" => Some(BinaryOp::Add),
        "Sub" => Some(BinaryOp::Sub),
        "Mul" => Some(BinaryOp::Mul),
        "Div" => Some(BinaryOp::Div),
        _ => None,
    }
}
