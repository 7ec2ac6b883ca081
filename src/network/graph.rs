//! The network graph: layers joined by the values that flow between them, a petgraph behind our own type.
//!
//! Shapes are those of one sample: the batch axis, always first in a model file, is left out here and stands in front of every array
//! that flows through. Nothing here knows of chips.

use super::{Activation, Conv, Dense, Function, NetworkError, Op};
use crate::numerics::Quantization;
use petgraph::Direction;
use petgraph::stable_graph::{NodeIndex, StableDiGraph};
use petgraph::visit::EdgeRef;
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
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

/// What kind of numbers a value is made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Element {
    /// Real numbers, which may be held as integers (see [`Value::quantization`]).
    Real,
    /// Whole numbers that name something, such as the words of a text.
    Index,
}

/// What a layer yields: a shape (of one sample) and, once quantized, how its numbers are held.
#[derive(Debug, Clone, PartialEq)]
pub struct Value {
    /// The shape of one sample, without the batch axis.
    pub shape: Vec<usize>,
    /// Real numbers, or names.
    pub element: Element,
    /// How the numbers are held as integers: every number lies on its grid. `None` for what is not quantized.
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
    macs: u64,
}

impl Layer {
    /// Multiply-accumulates of one sample: of dense layers, convolutions and matrix products; 0 of all else.
    pub const fn macs(&self) -> u64 {
        self.macs
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
    input_shift: Option<i32>,
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

    /// What makes integers of ours those of the model file, added, where the file's input is of integers: data for the model are the file's. None
    /// where it takes reals, and in networks that were made from the file's.
    pub const fn input_shift(&self) -> Option<i32> {
        self.input_shift
    }

    /// The same network, whose file's input is of integers.
    pub(super) fn of_integers(self, shift: i32) -> Self {
        Self { input_shift: Some(shift), ..self }
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
        read_by(&self.graph, self.indices[&id])
    }

    /// The layers that read `id`, in the order in which they run, each once.
    pub fn consumers(&self, id: LayerId) -> Vec<LayerId> {
        let mut readers: Vec<_> =
            self.graph.neighbors_directed(self.indices[&id], Direction::Outgoing).map(|index| self.graph[index].id).collect();
        readers.sort_unstable();
        readers.dedup();
        readers
    }

    /// The shape, channels first, in which a convolution or a pool reads a value, or what functions and reshapes make of it: the value had best lie
    /// with channels innermost then. None where nothing reads it as an image.
    pub fn read_as_image(&self, id: LayerId) -> Option<Vec<usize>> {
        let mut left = vec![id];
        let mut seen = BTreeSet::new();
        while let Some(value) = left.pop() {
            for id in self.consumers(value) {
                match &self.layer(id).op {
                    Op::Conv(_) | Op::Pool(_) if self.layer(value).output.shape.len() == 3 => {
                        return Some(self.layer(value).output.shape.clone());
                    }
                    Op::Unary(_) | Op::Quantize | Op::Reshape(_) | Op::BinaryConstant(_) if seen.insert(id) => left.push(id),
                    _ => {}
                }
            }
        }
        None
    }

    /// Multiply-accumulates of one sample.
    pub fn macs(&self) -> u64 {
        self.layers().map(Layer::macs).sum()
    }

    /// Weights, biases and constants of all layers, counted.
    pub fn parameters(&self) -> u64 {
        self.layers().map(|layer| layer.op.parameters()).sum()
    }

    /// The layer whose value is compared and scored: the network's output, or what a final softmax reads.
    pub fn logits(&self) -> &Layer {
        let output = self.output();
        if matches!(output.op, Op::Softmax { .. }) { self.layer(self.inputs(output.id)[0]) } else { output }
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
        self.input_of(name, shape, Element::Real)
    }

    /// Adds the network's input, of this shape for one sample and this kind of numbers.
    ///
    /// # Errors
    /// If the shape has a zero or has more than 2^31 elements.
    pub fn input_of(&mut self, name: impl Into<String>, shape: Vec<usize>, element: Element) -> Result<LayerId, NetworkError> {
        let name = name.into();
        super::shape::check_size(&name, &shape)?;
        Ok(self.push(name, Op::Input, &[], Value { shape, element, quantization: None }, 0))
    }

    /// Adds a layer that reads `inputs`, inferring its shape.
    ///
    /// # Errors
    /// If the operation does not fit the shapes or the kind of numbers that it reads.
    pub fn layer(&mut self, name: impl Into<String>, op: Op, inputs: &[LayerId]) -> Result<LayerId, NetworkError> {
        let name = name.into();
        let shapes: Vec<&[usize]> = inputs.iter().map(|id| self.value(*id).shape.as_slice()).collect();
        let (shape, macs) = super::shape::infer(&name, &op, &shapes)?;
        let indices = inputs.iter().filter(|id| self.value(**id).element == Element::Index).count();
        let element = match op {
            Op::Reshape(_) | Op::Transpose(_) | Op::Slice(_) | Op::Concat { .. } if indices == inputs.len() => Element::Index,
            Op::Gather(_) if indices == 1 => Element::Real,
            Op::Gather(_) => return Err(kind_fault(name, &op, "reads real numbers where whole ones name rows of its table")),
            _ if indices > 0 => return Err(kind_fault(name, &op, "reads whole numbers that name something, as if they were quantities")),
            _ => Element::Real,
        };
        Ok(self.push(name, op, inputs, Value { shape, element, quantization: None }, macs))
    }

    /// Says how a layer's output is held as integers.
    pub fn quantize(&mut self, id: LayerId, quantization: Quantization) {
        self.graph[self.indices[&id]].output.quantization = Some(quantization);
    }

    /// How many layers there are so far.
    pub(super) fn layers(&self) -> usize {
        self.order.len()
    }

    /// The network's name, and all layers in the order in which they were added, each with those that it reads; no weight is copied.
    pub(super) fn into_layers(mut self) -> (String, Vec<(Layer, Vec<LayerId>)>) {
        let inputs: Vec<Vec<LayerId>> = self.order.iter().map(|id| read_by(&self.graph, self.indices[id])).collect();
        let graph = &mut self.graph;
        let layers = self.order.iter().zip(inputs).filter_map(|(id, inputs)| Some((graph.remove_node(self.indices[id])?, inputs)));
        (self.name, layers.collect())
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
        Ok(Network { name, graph, indices, order, input, output, input_shift: None })
    }

    fn push(&mut self, name: String, op: Op, inputs: &[LayerId], output: Value, macs: u64) -> LayerId {
        let id = LayerId(u32::try_from(self.order.len()).expect("bug: the importer limits layers far below 2^32"));
        let index = self.graph.add_node(Layer { id, name, op, output, macs });
        for (slot, source) in inputs.iter().enumerate() {
            self.graph.add_edge(self.indices[source], index, slot);
        }
        self.indices.insert(id, index);
        self.order.push(id);
        id
    }
}

/// What a layer reads, in the order of its arguments.
fn read_by(graph: &StableDiGraph<Layer, usize>, index: NodeIndex) -> Vec<LayerId> {
    let edges = graph.edges_directed(index, Direction::Incoming);
    let mut edges: Vec<_> = edges.map(|edge| (*edge.weight(), graph[edge.source()].id)).collect();
    edges.sort_unstable();
    edges.into_iter().map(|(_, source)| source).collect()
}

fn kind_fault(layer: String, op: &Op, problem: &str) -> NetworkError {
    NetworkError::Shape { layer, op: op.name(), problem: problem.to_string() }
}

/// Fuses each relu or clip that alone reads a dense layer or a convolution into that layer, so that one output quantization serves both.
/// A layer whose own output is quantized stays apart. The fused layer keeps its name, and its output the activation's quantization.
///
/// # Errors
/// None that a checked network can cause; the builder's own checks run again.
pub fn fuse_activations(network: &Network) -> Result<Network, NetworkError> {
    let mut builder = NetworkBuilder::new(network.name());
    let mut renamed: BTreeMap<LayerId, LayerId> = BTreeMap::new();
    for layer in network.layers() {
        let inputs: Vec<LayerId> = network.inputs(layer.id).iter().map(|id| renamed[id]).collect();
        if let [source] = network.inputs(layer.id)[..]
            && follower(network, network.layer(source)).is_some_and(|(reader, _)| reader.id == layer.id)
        {
            renamed.insert(layer.id, inputs[0]);
            continue;
        }
        let mut op = layer.op.clone();
        let mut quantization = layer.output.quantization;
        if let Some((reader, fused)) = follower(network, layer) {
            quantization = reader.output.quantization;
            match &mut op {
                Op::Dense(Dense { activation, .. }) | Op::Conv(Conv { activation, .. }) => *activation = fused,
                _ => {}
            }
        }
        let id = match op {
            Op::Input => builder.input_of(layer.name.clone(), layer.output.shape.clone(), layer.output.element)?,
            op => builder.layer(layer.name.clone(), op, &inputs)?,
        };
        if let Some(quantization) = quantization {
            builder.quantize(id, quantization);
        }
        renamed.insert(layer.id, id);
    }
    builder.finish(renamed[&network.output().id])
}

/// The activation that `layer` can take in: what alone reads it, and what that is when fused.
fn follower<'n>(network: &'n Network, layer: &Layer) -> Option<(&'n Layer, Activation)> {
    let (Op::Dense(Dense { activation, .. }) | Op::Conv(Conv { activation, .. })) = &layer.op else { return None };
    if *activation != Activation::None || layer.output.quantization.is_some() || layer.id == network.output().id {
        return None;
    }
    let [reader] = network.consumers(layer.id)[..] else { return None };
    let reader = network.layer(reader);
    match reader.op {
        Op::Unary(Function::Relu) => Some((reader, Activation::Relu)),
        Op::Unary(Function::Clip { min, max }) => Some((reader, Activation::Clip { min, max })),
        _ => None,
    }
}
