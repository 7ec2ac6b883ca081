//! The network graph: layers joined by the values that flow between them, a petgraph behind our own type.
//!
//! Shapes are those of one sample: the batch axis, always first in a model file, is left out here and stands in front of every array
//! that flows through. Nothing here knows of chips.

use super::{Activation, NetworkError, Op};
use crate::numerics::Quantization;
use petgraph::Direction;
use petgraph::stable_graph::{NodeIndex, StableDiGraph};
use petgraph::visit::EdgeRef;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt;

/// A layer's identity, stable as long as the network lives (petgraph reuses an index after a removal, so its index is no identity).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(transparent)]
pub struct LayerId(u32);

impl LayerId {
    /// The bare number, which orders layers by when they were added.
    pub const fn get(self) -> u32 {
        self.0
    }
}

impl fmt::Display for LayerId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "#{}", self.0)
    }
}

/// What a layer yields: a shape (of one sample) and, once quantized, how its numbers are held.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// The shape of one sample, without the batch axis.
    pub shape: Vec<usize>,
    /// How the numbers are held as integers; `None` in a float network.
    pub quantization: Option<Quantization>,
}

impl Value {
    /// Elements of one sample.
    pub fn elements(&self) -> usize {
        self.shape.iter().product()
    }
}

/// One layer: an operation, its name in the model file, and the value that it yields.
#[derive(Debug, Clone, PartialEq)]
pub struct Layer {
    /// The layer's identity.
    pub id: LayerId,
    /// The node's name in the model file, or its output's where the node has none.
    pub name: String,
    /// What it computes.
    pub op: Op,
    /// What it yields.
    pub output: Value,
}

impl Layer {
    /// Multiply-accumulates of one sample.
    pub fn macs(&self) -> u64 {
        match &self.op {
            Op::Dense(dense) => self.output.elements() as u64 * dense.inputs() as u64,
            _ => 0,
        }
    }
}

/// A network whose shapes are known and agree: one input, one output, no cycle.
#[derive(Debug, Clone)]
pub struct Network {
    name: String,
    graph: StableDiGraph<Layer, usize>,
    indices: BTreeMap<LayerId, NodeIndex>,
    order: Vec<LayerId>,
    input: LayerId,
    output: LayerId,
}

impl Network {
    /// The network's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The layer that stands for the network's input; its op is [`Op::Input`].
    pub fn input(&self) -> &Layer {
        self.layer(self.input)
    }

    /// The layer whose value is the network's output.
    pub fn output(&self) -> &Layer {
        self.layer(self.output)
    }

    /// All layers in an order in which every layer comes after those that it reads; the input is the first.
    pub fn layers(&self) -> impl Iterator<Item = &Layer> {
        self.order.iter().map(|id| self.layer(*id))
    }

    /// The layer with this identity.
    ///
    /// # Panics
    /// If `id` comes from another network.
    pub fn layer(&self, id: LayerId) -> &Layer {
        &self.graph[self.indices[&id]]
    }

    /// The layers that `id` reads, in the order of its arguments.
    pub fn inputs(&self, id: LayerId) -> Vec<LayerId> {
        let mut edges: Vec<_> = self
            .graph
            .edges_directed(self.indices[&id], Direction::Incoming)
            .map(|edge| (*edge.weight(), self.graph[edge.source()].id))
            .collect();
        edges.sort_unstable();
        edges.into_iter().map(|(_, source)| source).collect()
    }

    /// The layers that read `id`, in the order in which they run, each once.
    pub fn consumers(&self, id: LayerId) -> Vec<LayerId> {
        self.order.iter().copied().filter(|reader| self.inputs(*reader).contains(&id)).collect()
    }

    /// Multiply-accumulates of one sample.
    pub fn macs(&self) -> u64 {
        self.layers().map(Layer::macs).sum()
    }

    /// The layer whose value is compared and scored: the network's output, or what a final softmax reads.
    pub fn logits(&self) -> &Layer {
        let output = self.output();
        if output.op == Op::Softmax { self.layer(self.inputs(output.id)[0]) } else { output }
    }
}

/// Builds a [`Network`] layer by layer; every layer is checked, and its shape inferred, as it is added.
#[derive(Debug)]
pub struct NetworkBuilder {
    name: String,
    graph: StableDiGraph<Layer, usize>,
    indices: BTreeMap<LayerId, NodeIndex>,
    order: Vec<LayerId>,
}

impl NetworkBuilder {
    /// An empty network with this name.
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), graph: StableDiGraph::new(), indices: BTreeMap::new(), order: Vec::new() }
    }

    /// Adds the network's input, of this shape for one sample.
    ///
    /// # Errors
    /// If the shape has a zero or has more than 2^31 elements.
    pub fn input(&mut self, name: impl Into<String>, shape: Vec<usize>) -> Result<LayerId, NetworkError> {
        let name = name.into();
        super::shape::check_size(&name, &shape)?;
        Ok(self.push(name, Op::Input, &[], Value { shape, quantization: None }))
    }

    /// Adds a layer that reads `inputs`, inferring its shape.
    ///
    /// # Errors
    /// If the operation does not fit the shapes that it reads.
    pub fn layer(&mut self, name: impl Into<String>, op: Op, inputs: &[LayerId]) -> Result<LayerId, NetworkError> {
        let name = name.into();
        let shapes: Vec<&[usize]> = inputs.iter().map(|id| self.value(*id).shape.as_slice()).collect();
        let shape = super::shape::infer(&name, &op, &shapes)?;
        Ok(self.push(name, op, inputs, Value { shape, quantization: None }))
    }

    /// Says how a layer's output is held as integers.
    pub fn quantize(&mut self, id: LayerId, quantization: Quantization) {
        self.graph[self.indices[&id]].output.quantization = Some(quantization);
    }

    /// The value that a layer yields.
    pub fn value(&self, id: LayerId) -> &Value {
        &self.graph[self.indices[&id]].output
    }

    /// The finished network, whose output is `output`.
    ///
    /// # Errors
    /// If the network has no input, or a layer stands apart from the output.
    pub fn finish(self, output: LayerId) -> Result<Network, NetworkError> {
        let Self { name, graph, indices, order } = self;
        let input = order
            .iter()
            .copied()
            .find(|id| graph[indices[id]].op == Op::Input)
            .ok_or_else(|| NetworkError::NoInput { network: name.clone() })?;
        Ok(Network { name, graph, indices, order, input, output })
    }

    fn push(&mut self, name: String, op: Op, inputs: &[LayerId], output: Value) -> LayerId {
        let id = LayerId(u32::try_from(self.order.len()).expect("bug: the importer limits layers far below 2^32"));
        let index = self.graph.add_node(Layer { id, name, op, output });
        for (slot, source) in inputs.iter().enumerate() {
            self.graph.add_edge(self.indices[source], index, slot);
        }
        self.indices.insert(id, index);
        self.order.push(id);
        id
    }
}

/// Fuses each `Relu` that alone reads a dense layer into that layer, so that one output quantization serves both.
///
/// # Errors
/// None that a checked network can cause; the builder's own checks run again.
pub fn fuse_activations(network: &Network) -> Result<Network, NetworkError> {
    let mut builder = NetworkBuilder::new(network.name());
    let mut renamed: BTreeMap<LayerId, LayerId> = BTreeMap::new();
    for layer in network.layers() {
        let inputs: Vec<LayerId> = network.inputs(layer.id).iter().map(|id| renamed[id]).collect();
        let id = match &layer.op {
            Op::Input => builder.input(layer.name.clone(), layer.output.shape.clone())?,
            Op::Relu if fuses_into_its_source(network, layer) => inputs[0],
            Op::Dense(dense) => {
                let mut dense = dense.clone();
                if let [reader] = network.consumers(layer.id)[..]
                    && network.layer(reader).op == Op::Relu
                    && layer.id != network.output().id
                {
                    dense.activation = Activation::Relu;
                }
                builder.layer(layer.name.clone(), Op::Dense(dense), &inputs)?
            }
            op => builder.layer(layer.name.clone(), op.clone(), &inputs)?,
        };
        renamed.insert(layer.id, id);
    }
    builder.finish(renamed[&network.output().id])
}

fn fuses_into_its_source(network: &Network, relu: &Layer) -> bool {
    let source = network.inputs(relu.id)[0];
    matches!(&network.layer(source).op, Op::Dense(dense) if dense.activation == Activation::None) && network.consumers(source).len() == 1
}
