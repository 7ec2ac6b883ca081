//! The state of one import: what each value of the file has become so far. The operators are in `operators`, the order in `wiring`.

use super::attributes::{Attributes, fault};
use super::names::{of_node, shown};
use super::onnx::tensor_proto::DataType;
use super::onnx::tensor_shape_proto::dimension::Value as Size;
use super::onnx::type_proto::Value as Kind;
use super::onnx::{GraphProto, NodeProto, TensorProto, ValueInfoProto};
use super::operators::{SUPPORTED, arity};
use super::tensor::{self, MAX_CONSTANTS, MAX_RANK};
use super::wiring::Wiring;
use crate::network::{LayerId, Network, NetworkBuilder, NetworkError, Op};
use ndarray::ArrayD;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// What a value of the file has become.
#[derive(Clone)]
pub(super) enum Known<'a> {
    /// What a layer yields.
    Layer(LayerId),
    /// A constant, read when it is used.
    Constant(Rc<Cow<'a, TensorProto>>),
}

/// One import under way.
pub(super) struct Importer<'a> {
    pub(super) model: &'a str,
    pub(super) graph: &'a GraphProto,
    pub(super) wiring: Wiring<'a>,
    pub(super) builder: NetworkBuilder,
    pub(super) values: BTreeMap<&'a str, Known<'a>>,
    /// `Add` nodes that a dense layer has taken in, with that layer.
    pub(super) fused: BTreeMap<usize, LayerId>,
    /// The batch size, where the file fixes one.
    pub(super) batch: Option<i64>,
    pub(super) opset: i64,
    constants: u64,
}

impl<'a> Importer<'a> {
    /// Turns a graph into a network.
    ///
    /// # Errors
    /// If the graph is broken, or has what is not supported.
    pub(super) fn import(model: &'a str, graph: &'a GraphProto, opset: i64) -> Result<Network, NetworkError> {
        check_operators(graph)?;
        if let Some(sparse) = graph.sparse_initializer.first() {
            let name = sparse.values.as_ref().map_or("", TensorProto::name);
            let problem = "is stored sparse".to_string();
            return Err(NetworkError::Tensor { tensor: shown(name), problem, help: "sparse tensors are not supported: store it dense" });
        }
        let interface = |problem, help| NetworkError::Interface { model: model.to_string(), problem, help };
        // Files of the oldest kind list initializers among the inputs.
        let initializers: BTreeSet<&str> = graph.initializer.iter().map(TensorProto::name).collect();
        let inputs: Vec<&ValueInfoProto> = graph.input.iter().filter(|input| !initializers.contains(input.name())).collect();
        let [input] = inputs[..] else {
            return Err(interface(format!("has {} inputs", inputs.len()), "one input is supported: cut the graph so that it has one"));
        };
        let [output] = &graph.output[..] else {
            return Err(interface(
                format!("has {} outputs", graph.output.len()),
                "one output is supported: cut the graph so that it has one",
            ));
        };
        let Some((first, rest)) = declared(input)? else {
            return Err(interface(format!("the input \"{}\" has no shape", shown(input.name())), "declare the input's shape: batch x ..."));
        };
        let shape = rest
            .iter()
            .map(|size| {
                size.ok_or_else(|| {
                    let problem = format!("the input \"{}\" leaves a size open that is not the first (the batch)", shown(input.name()));
                    interface(problem, "export the model with fixed sizes; only the batch may be symbolic")
                })
            })
            .collect::<Result<Vec<usize>, _>>()?;

        let wiring = Wiring::new(model, graph, input.name())?;
        let mut importer = Self {
            model,
            graph,
            wiring,
            builder: NetworkBuilder::new(model),
            values: BTreeMap::new(),
            fused: BTreeMap::new(),
            batch: first.and_then(|size| i64::try_from(size).ok()),
            opset,
            constants: 0,
        };
        let id = importer.builder.input(input.name(), shape)?;
        importer.values.insert(input.name(), Known::Layer(id));
        importer.read_constants()?;
        for index in importer.wiring.order()? {
            importer.lower(index)?;
        }
        importer.finish(output, id)
    }

    /// What a node reads in `slot`.
    pub(super) fn value(&self, node: &NodeProto, slot: usize) -> Known<'a> {
        self.values.get(node.input[slot].as_str()).cloned().expect("bug: the order puts every node after those that it reads")
    }

    /// The layer that a node reads in `slot`.
    pub(super) fn activation(&self, node: &NodeProto, slot: usize) -> Result<LayerId, NetworkError> {
        match self.value(node, slot) {
            Known::Layer(id) => Ok(id),
            Known::Constant(_) => {
                let problem = format!("its operand {slot} (\"{}\") is a constant where data is wanted", shown(&node.input[slot]));
                Err(fault(node, problem, "put data left and constants right, and fold operations on constants alone"))
            }
        }
    }

    /// The constant of float32 numbers that a node reads in `slot`.
    pub(super) fn floats(&mut self, node: &NodeProto, slot: usize) -> Result<ArrayD<f32>, NetworkError> {
        let Known::Constant(tensor) = self.value(node, slot) else {
            let problem = format!("its operand {slot} (\"{}\") is computed where a constant is wanted", shown(&node.input[slot]));
            return Err(fault(node, problem, "products of two computed values are not supported"));
        };
        let values = tensor::floats(&tensor)?;
        self.constants += values.len() as u64;
        if self.constants > MAX_CONSTANTS {
            return Err(NetworkError::Limit {
                model: self.model.to_string(),
                what: "numbers in the constants that layers read",
                count: self.constants,
                limit: MAX_CONSTANTS,
                help: "use a smaller network",
            });
        }
        Ok(values)
    }

    /// Adds the layer of a node.
    pub(super) fn layer(&mut self, node: &'a NodeProto, op: Op, inputs: &[LayerId]) -> Result<LayerId, NetworkError> {
        self.builder.layer(of_node(node), op, inputs)
    }

    /// Says what a node's output is.
    pub(super) fn define(&mut self, node: &'a NodeProto, known: Known<'a>) -> Result<(), NetworkError> {
        let output = node.output[0].as_str();
        if matches!(known, Known::Layer(_)) && !self.wiring.is_read(output) {
            let problem = format!("makes \"{}\", which nothing reads", shown(output));
            return Err(fault(node, problem, "remove what does not lead to the output, for example with onnxsim"));
        }
        self.values.insert(output, known);
        Ok(())
    }

    fn read_constants(&mut self) -> Result<(), NetworkError> {
        for tensor in &self.graph.initializer {
            self.values.insert(tensor.name(), Known::Constant(Rc::new(Cow::Borrowed(tensor))));
        }
        for node in self.graph.node.iter().filter(|node| node.op_type() == "Constant") {
            let mut tensor = constant(node)?;
            tensor.name = Some(node.output[0].clone());
            self.values.insert(&node.output[0], Known::Constant(Rc::new(Cow::Owned(tensor))));
        }
        Ok(())
    }

    fn finish(self, output: &ValueInfoProto, input: LayerId) -> Result<Network, NetworkError> {
        let interface = |problem, help| Err(NetworkError::Interface { model: self.model.to_string(), problem, help });
        let name = shown(output.name());
        let id = match self.values.get(output.name()) {
            Some(Known::Layer(id)) if *id != input => *id,
            Some(Known::Layer(_)) => return interface(format!("the output \"{name}\" is the input"), "a network needs at least one layer"),
            _ => return interface(format!("the output \"{name}\" is a constant"), "a network's output must depend on its input"),
        };
        if let Some((_, sizes)) = declared(output)? {
            let shape = &self.builder.value(id).shape;
            let agrees = sizes.len() == shape.len() && sizes.iter().zip(shape).all(|(size, found)| size.is_none_or(|size| size == *found));
            if !agrees {
                let sizes: Vec<String> = sizes.iter().map(|size| size.map_or("?".to_string(), |size| size.to_string())).collect();
                let problem =
                    format!("the output \"{name}\" is declared as [{}] a sample, and the layers make {shape:?}", sizes.join(", "));
                return interface(problem, "the file contradicts itself: export it again");
            }
        }
        self.builder.finish(id)
    }
}

/// Refuses operators that are not known, all in one message, and nodes without the operands that theirs needs.
fn check_operators(graph: &GraphProto) -> Result<(), NetworkError> {
    let is_known = |node: &NodeProto| matches!(node.domain(), "" | "ai.onnx") && SUPPORTED.contains(&node.op_type());
    let mut unknown = graph.node.iter().filter(|node| !is_known(node));
    if let Some(node) = unknown.next() {
        let operator = |node: &NodeProto| {
            let domain = if node.domain().is_empty() { String::new() } else { format!("{}.", shown(node.domain())) };
            format!("{domain}{}", shown(node.op_type()))
        };
        let others: Vec<String> = unknown.map(operator).collect();
        let distinct: Vec<&str> = others.iter().map(String::as_str).collect::<BTreeSet<_>>().into_iter().take(8).collect();
        let more =
            if others.is_empty() { String::new() } else { format!(", nor are {} more nodes: {}", others.len(), distinct.join(", ")) };
        return Err(NetworkError::Operator { node: shown(of_node(node)), operator: operator(node), more, supported: SUPPORTED.join(", ") });
    }
    for node in &graph.node {
        let (least, most) = arity(node.op_type());
        let given = node.input.len();
        if given < least || given > most || node.input[..least].iter().any(String::is_empty) {
            let problem = format!("reads {given} values and needs {least} to {most}, none of the first {least} left out");
            return Err(fault(node, problem, "the file was written wrongly: export it again"));
        }
        if node.output.len() != 1 || node.output[0].is_empty() {
            let problem = format!("makes {} values and should make one with a name", node.output.len());
            return Err(fault(node, problem, "the file was written wrongly: export it again"));
        }
    }
    Ok(())
}

/// A shape as the file declares it: the batch axis and the rest, each `None` where it is symbolic or left out.
type Declared = (Option<usize>, Vec<Option<usize>>);

/// The shape of an input or output, where the file declares one; float32 always.
fn declared(value: &ValueInfoProto) -> Result<Option<Declared>, NetworkError> {
    let refuse = |problem, help| Err(NetworkError::Tensor { tensor: shown(value.name()), problem, help });
    let Some(kind) = value.r#type.as_ref().and_then(|kind| kind.value.as_ref()) else { return Ok(None) };
    let Kind::TensorType(kind) = kind else {
        return refuse("is not a tensor".to_string(), "inputs and outputs must be float32 tensors");
    };
    let format = kind.elem_type.unwrap_or_default();
    if format != DataType::Float as i32 {
        let problem = format!("is {} where float is wanted", tensor::type_name(format));
        return refuse(problem, "inputs and outputs must be float32: export the model in float32");
    }
    let Some(shape) = &kind.shape else { return Ok(None) };
    if shape.dim.len() > MAX_RANK {
        return refuse(format!("has {} axes; the limit is {MAX_RANK}", shape.dim.len()), "check the shape");
    }
    let mut sizes = Vec::new();
    for size in &shape.dim {
        sizes.push(match &size.value {
            Some(Size::DimValue(size)) => match usize::try_from(*size) {
                Ok(0) | Err(_) => return refuse(format!("has the size {size} in its shape"), "sizes must be at least 1"),
                Ok(size) => Some(size),
            },
            _ => None,
        });
    }
    match sizes.split_first() {
        Some((batch, rest)) => Ok(Some((*batch, rest.to_vec()))),
        None => refuse("is a scalar".to_string(), "the first axis must be the batch"),
    }
}

/// The tensor of a `Constant` node.
fn constant(node: &NodeProto) -> Result<TensorProto, NetworkError> {
    let known = ["value", "value_float", "value_floats", "value_int", "value_ints"];
    let attributes = Attributes::new(node, &known)?;
    let ([attribute], Some(name)) = (&node.attribute[..], node.attribute.first().map(super::onnx::AttributeProto::name)) else {
        let problem = format!("has {} attributes and should have one", node.attribute.len());
        return Err(fault(node, problem, "the file was written wrongly: export it again"));
    };
    let mut tensor = TensorProto { data_type: Some(DataType::Float as i32), ..TensorProto::default() };
    match name {
        "value" => match &attribute.t {
            Some(value) => tensor = value.as_ref().clone(),
            None => return Err(fault(node, "has no tensor in \"value\"".to_string(), "the file was written wrongly: export it again")),
        },
        "value_float" => tensor.float_data = vec![attributes.float(name, 0.0)?],
        "value_floats" => {
            tensor.dims = vec![i64::try_from(attribute.floats.len()).unwrap_or(i64::MAX)];
            tensor.float_data.clone_from(&attribute.floats);
        }
        _ => {
            tensor.data_type = Some(DataType::Int64 as i32);
            if name == "value_ints" {
                tensor.dims = vec![i64::try_from(attribute.ints.len()).unwrap_or(i64::MAX)];
                tensor.int64_data.clone_from(&attribute.ints);
            } else {
                tensor.int64_data = vec![attributes.integer(name, 0)?];
            }
        }
    }
    Ok(tensor)
}
