//! A file's graph while nodes are added to it: names, nodes, attributes, the ends. Not here: what an operation becomes (`layer`).

use crate::network::import::onnx::attribute_proto::AttributeType;
use crate::network::import::onnx::tensor_proto::DataType;
use crate::network::import::onnx::tensor_shape_proto::{Dimension, dimension};
use crate::network::import::onnx::type_proto::{self, Tensor};
use crate::network::import::onnx::{AttributeProto, GraphProto, NodeProto, TensorProto, TensorShapeProto, TypeProto, ValueInfoProto};
use crate::network::{Element, Layer, LayerId, Network, Op};
use std::collections::{BTreeMap, BTreeSet};

/// The domain of QONNX's operators.
pub(super) const QONNX: &str = "qonnx.custom_op.general";

/// A graph under way.
pub(super) struct Graph<'n> {
    pub(super) network: &'n Network,
    proto: GraphProto,
    /// Names that nodes have, and those that values have.
    nodes: BTreeSet<String>,
    values: BTreeSet<String>,
    /// The name of each layer's node and value.
    names: BTreeMap<LayerId, String>,
    /// The value that stands for a layer's where it is read, in reals.
    pub(super) read: BTreeMap<LayerId, String>,
    qonnx: bool,
}

/// A node that is one of a chain: it reads what the one before it yields, where that is not the first.
pub(super) struct Step {
    /// What follows the layer's name in the name of the node and its value, where another node comes before or behind.
    pub(super) what: &'static str,
    /// What follows it in the name of the value, where that differs.
    pub(super) yields: &'static str,
    pub(super) operator: &'static str,
    /// Of the first of a chain all operands; of the others those behind the running value.
    pub(super) operands: Vec<String>,
    pub(super) attributes: Vec<AttributeProto>,
}

impl Step {
    pub(super) fn new(what: &'static str, operator: &'static str, operands: Vec<String>, attributes: Vec<AttributeProto>) -> Self {
        Self { what, yields: what, operator, operands, attributes }
    }
}

impl<'n> Graph<'n> {
    pub(super) fn new(network: &'n Network) -> Self {
        let proto = GraphProto { name: Some(network.name().to_string()), ..GraphProto::default() };
        let (nodes, values, names) = (BTreeSet::new(), BTreeSet::new(), BTreeMap::new());
        let mut graph = Self { network, proto, nodes, values, names, read: BTreeMap::new(), qonnx: false };
        // Layers come first, so that none has to give its name up for what stands beside another.
        for layer in network.layers() {
            let name = unique(&mut graph.values, &layer.name);
            graph.nodes.insert(name.clone());
            graph.names.insert(layer.id, name);
        }
        graph
    }

    /// The name of a layer's node and value.
    pub(super) fn name(&self, layer: &Layer) -> String {
        self.names[&layer.id].clone()
    }

    /// A name for a value beside a layer's.
    pub(super) fn beside(&mut self, name: &str, what: &str) -> String {
        unique(&mut self.values, &format!("{name}/{what}"))
    }

    /// Adds constants.
    pub(super) fn constant(&mut self, tensor: TensorProto) {
        self.proto.initializer.push(tensor);
    }

    /// Adds a node beside a layer's, which makes a value of this name.
    pub(super) fn node(&mut self, value: &str, operator: &'static str, operands: Vec<String>, attributes: Vec<AttributeProto>) {
        let name = unique(&mut self.nodes, value);
        self.push(name, value, operator, operands, attributes);
    }

    /// Adds the nodes of a layer one after the other: the first has the layer's name, and the last yields its value.
    pub(super) fn chain(&mut self, layer: &Layer, steps: Vec<Step>) {
        let name = self.name(layer);
        let last = steps.len().saturating_sub(1);
        let mut running: Option<String> = None;
        for (place, step) in steps.into_iter().enumerate() {
            let value = if place == last { name.clone() } else { self.beside(&name, step.yields) };
            let node = if place == 0 { name.clone() } else { unique(&mut self.nodes, &format!("{name}/{}", step.what)) };
            let operands = running.take().into_iter().chain(step.operands).collect();
            self.push(node, &value, step.operator, operands, step.attributes);
            running = Some(value);
        }
        self.read.insert(layer.id, name);
    }

    fn push(&mut self, name: String, value: &str, operator: &'static str, input: Vec<String>, attribute: Vec<AttributeProto>) {
        let domain = (operator == "BipolarQuant").then(|| QONNX.to_string());
        self.qonnx |= domain.is_some();
        let (name, op_type, output) = (Some(name), Some(operator.to_string()), vec![value.to_string()]);
        self.proto.node.push(NodeProto { name, op_type, input, output, domain, attribute, ..NodeProto::default() });
    }

    /// Whether an operator of QONNX is used.
    pub(super) const fn uses_qonnx(&self) -> bool {
        self.qonnx
    }

    /// The graph with its input and output.
    pub(super) fn finish(mut self) -> GraphProto {
        let network = self.network;
        // A constant that is joined to data has a batch of one, and so then has the data.
        let fixed = network.layers().any(|layer| matches!(layer.op, Op::Constant(_)));
        for (layer, ends) in [(network.input(), &mut self.proto.input), (network.output(), &mut self.proto.output)] {
            let kind = if layer.output.element == Element::Index { DataType::Int64 } else { DataType::Float };
            let batch = if fixed { dimension::Value::DimValue(1) } else { dimension::Value::DimParam("batch".to_string()) };
            let sizes = layer.output.shape.iter().map(|size| dimension::Value::DimValue(long(*size)));
            let dim = std::iter::once(batch).chain(sizes).map(|value| Dimension { denotation: None, value: Some(value) }).collect();
            let tensor = Tensor { elem_type: Some(kind as i32), shape: Some(TensorShapeProto { dim }) };
            let r#type = Some(TypeProto { denotation: None, value: Some(type_proto::Value::TensorType(tensor)) });
            ends.push(ValueInfoProto { name: Some(self.names[&layer.id].clone()), r#type, ..ValueInfoProto::default() });
        }
        self.proto
    }
}

/// The name, or the name with the first number behind it that nobody has.
fn unique(taken: &mut BTreeSet<String>, wanted: &str) -> String {
    let mut name = wanted.to_string();
    let mut number = 2;
    while !taken.insert(name.clone()) {
        name = format!("{wanted}_{number}");
        number += 1;
    }
    name
}

/// A size as the file has it.
pub(super) fn long(size: usize) -> i64 {
    i64::try_from(size).expect("bug: a network's sizes are limited far below 2^63")
}

fn attribute(name: &str, kind: AttributeType) -> AttributeProto {
    AttributeProto { name: Some(name.to_string()), r#type: Some(kind as i32), ..AttributeProto::default() }
}

pub(super) fn integer(name: &str, value: i64) -> AttributeProto {
    AttributeProto { i: Some(value), ..attribute(name, AttributeType::Int) }
}

pub(super) fn sizes(name: &str, values: &[usize]) -> AttributeProto {
    AttributeProto { ints: values.iter().map(|size| long(*size)).collect(), ..attribute(name, AttributeType::Ints) }
}

pub(super) fn float(name: &str, value: f32) -> AttributeProto {
    AttributeProto { f: Some(value), ..attribute(name, AttributeType::Float) }
}

pub(super) fn text(name: &str, value: &'static str) -> AttributeProto {
    AttributeProto { s: Some(value.as_bytes().into()), ..attribute(name, AttributeType::String) }
}
