//! Who makes and who reads each value of the graph, and an order in which the nodes can run. Not here: what the nodes compute.

use super::names::{self, of_node, shown};
use super::onnx::{GraphProto, NodeProto};
use crate::network::NetworkError;
use std::collections::{BTreeMap, BTreeSet};

/// Who makes a value.
#[derive(Clone, Copy)]
enum Maker {
    Input,
    Initializer,
    Node(usize),
}

/// The graph's values by name.
pub(super) struct Wiring<'a> {
    graph: &'a GraphProto,
    makers: BTreeMap<&'a str, Maker>,
    readers: BTreeMap<&'a str, Vec<usize>>,
}

impl<'a> Wiring<'a> {
    /// Finds the maker and the readers of every value.
    ///
    /// # Errors
    /// If a name is unusable, is made twice, or is read and never made.
    pub(super) fn new(model: &str, graph: &'a GraphProto, input: &'a str) -> Result<Self, NetworkError> {
        let mut wiring = Self { graph, makers: BTreeMap::new(), readers: BTreeMap::new() };
        wiring.make(model, input, Maker::Input)?;
        for tensor in &graph.initializer {
            wiring.make(model, tensor.name(), Maker::Initializer)?;
        }
        for (index, node) in graph.node.iter().enumerate() {
            names::check(model, node.name())?;
            for output in node.output.iter().filter(|name| !name.is_empty()) {
                wiring.make(model, output, Maker::Node(index))?;
            }
        }
        for (index, node) in graph.node.iter().enumerate() {
            for value in node.input.iter().filter(|name| !name.is_empty()) {
                if !wiring.makers.contains_key(value.as_str()) {
                    let reader = format!("node \"{}\" ({})", shown(of_node(node)), shown(node.op_type()));
                    return Err(NetworkError::Missing { reader, value: shown(value) });
                }
                wiring.readers.entry(value).or_default().push(index);
            }
        }
        for output in &graph.output {
            if !wiring.makers.contains_key(output.name()) {
                return Err(NetworkError::Missing { reader: "the model's output".to_string(), value: shown(output.name()) });
            }
        }
        wiring.check_layer_names(input)?;
        Ok(wiring)
    }

    /// The only reader of a value that is not an output of the graph.
    pub(super) fn only_reader(&self, value: &str) -> Option<usize> {
        let is_output = self.graph.output.iter().any(|output| output.name() == value);
        match self.readers.get(value).map(Vec::as_slice) {
            Some([reader]) if !is_output => Some(*reader),
            _ => None,
        }
    }

    /// The first node of the file that reads a value.
    pub(super) fn first_reader(&self, value: &str) -> Option<usize> {
        self.readers.get(value).and_then(|readers| readers.first().copied())
    }

    /// Whether anything needs a value.
    pub(super) fn is_read(&self, value: &str) -> bool {
        self.readers.contains_key(value) || self.graph.output.iter().any(|output| output.name() == value)
    }

    /// The nodes in an order in which each comes after those that it reads; by their place in the file where that leaves a choice.
    ///
    /// # Errors
    /// If there is a cycle.
    pub(super) fn order(&self) -> Result<Vec<usize>, NetworkError> {
        let mut waits: Vec<usize> = self.graph.node.iter().map(|node| self.node_inputs(node).count()).collect();
        let mut ready: BTreeSet<usize> = (0..waits.len()).filter(|index| waits[*index] == 0).collect();
        let mut order = Vec::with_capacity(waits.len());
        while let Some(index) = ready.pop_first() {
            order.push(index);
            for output in self.graph.node[index].output.iter().filter(|name| !name.is_empty()) {
                for reader in self.readers.get(output.as_str()).into_iter().flatten() {
                    waits[*reader] -= 1;
                    if waits[*reader] == 0 {
                        ready.insert(*reader);
                    }
                }
            }
        }
        if order.len() == waits.len() {
            return Ok(order);
        }
        let stuck: Vec<&NodeProto> = waits.iter().zip(&self.graph.node).filter(|(waits, _)| **waits > 0).map(|(_, node)| node).collect();
        let mut nodes = stuck.iter().take(4).map(|node| format!("\"{}\"", shown(of_node(node)))).collect::<Vec<_>>().join(", ");
        if stuck.len() > 4 {
            nodes.push_str(", ...");
        }
        Err(NetworkError::Cycle { nodes })
    }

    /// The values that a node reads and another node makes.
    fn node_inputs<'n>(&'n self, node: &'n NodeProto) -> impl Iterator<Item = &'n str> {
        node.input.iter().map(String::as_str).filter(|value| matches!(self.makers.get(value), Some(Maker::Node(_))))
    }

    fn make(&mut self, model: &str, name: &'a str, maker: Maker) -> Result<(), NetworkError> {
        names::check(model, name)?;
        match self.makers.insert(name, maker) {
            None => Ok(()),
            Some(first) => {
                Err(NetworkError::Duplicate { name: shown(name), first: self.maker_name(first), second: self.maker_name(maker) })
            }
        }
    }

    fn maker_name(&self, maker: Maker) -> String {
        match maker {
            Maker::Input => "the model's input".to_string(),
            Maker::Initializer => "an initializer".to_string(),
            Maker::Node(index) => self.node_name(index),
        }
    }

    fn node_name(&self, index: usize) -> String {
        let node = &self.graph.node[index];
        format!("node {index} ({}, which makes \"{}\")", shown(node.op_type()), shown(node.output.first().map_or("", String::as_str)))
    }

    /// Layers are told apart by name in reports and recipes: no two nodes may share one.
    fn check_layer_names(&self, input: &str) -> Result<(), NetworkError> {
        let mut seen = BTreeMap::from([(input, Maker::Input)]);
        for (index, node) in self.graph.node.iter().enumerate() {
            if let Some(first) = seen.insert(of_node(node), Maker::Node(index)) {
                let (first, second) = (self.maker_name(first), self.node_name(index));
                return Err(NetworkError::Duplicate { name: shown(of_node(node)), first, second });
            }
        }
        Ok(())
    }
}
