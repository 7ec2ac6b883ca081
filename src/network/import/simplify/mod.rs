//! What an import leaves is made plain: operations that exporters write as many nodes become one layer, normalisations and biases go into
//! the layer before them, movements that cancel vanish, and what leads nowhere is dropped. Every rewriting yields the same numbers up to the
//! rounding of `f32`, and moves no value off the grid of its quantization.

mod absorb;
mod movements;
mod patterns;

use crate::network::{Element, LayerId, Network, NetworkBuilder, NetworkError, Op};
use crate::numerics::Quantization;

/// A layer while it may still change. Layers are named by their place, and read earlier ones only.
struct Node {
    name: String,
    op: Op,
    inputs: Vec<usize>,
    shape: Vec<usize>,
    element: Element,
    quantization: Option<Quantization>,
}

/// A network while it may still change.
struct Sketch {
    nodes: Vec<Node>,
    /// Who reads each layer, once for each time that it does; nobody reads a layer that leads nowhere.
    readers: Vec<Vec<usize>>,
    output: usize,
}

/// The network of all layers that lead to `output`, made plain.
///
/// # Errors
/// If it has no input.
pub(super) fn simplify(builder: NetworkBuilder, output: LayerId) -> Result<Network, NetworkError> {
    let (name, layers) = builder.into_layers();
    let nodes: Vec<Node> = layers
        .into_iter()
        .map(|(layer, inputs)| Node {
            name: layer.name,
            op: layer.op,
            inputs: inputs.iter().map(|id| id.get() as usize).collect(),
            shape: layer.output.shape,
            element: layer.output.element,
            quantization: layer.output.quantization,
        })
        .collect();
    let readers = vec![Vec::new(); nodes.len()];
    let mut sketch = Sketch { nodes, readers, output: output.get() as usize };
    sketch.find_readers();
    patterns::recognise(&mut sketch);
    absorb::into_layers(&mut sketch);
    movements::cancel(&mut sketch);
    movements::quantize_sources(&mut sketch);
    sketch.build(name)
}

impl Sketch {
    fn find_readers(&mut self) {
        let mut leads = vec![false; self.nodes.len()];
        leads[self.output] = true;
        for index in (0..self.nodes.len()).rev().filter(|index| *index <= self.output) {
            if leads[index] {
                for input in &self.nodes[index].inputs {
                    leads[*input] = true;
                    self.readers[*input].push(index);
                }
            }
        }
        for readers in &mut self.readers {
            readers.reverse();
        }
    }

    /// Whether a layer leads to the output.
    fn lives(&self, index: usize) -> bool {
        index == self.output || !self.readers[index].is_empty()
    }

    /// The layer that alone reads this one, once.
    fn only_reader(&self, index: usize) -> Option<usize> {
        match self.readers[index][..] {
            [reader] if index != self.output => Some(reader),
            _ => None,
        }
    }

    /// Whether a layer's value is held as reals.
    fn is_real(&self, index: usize) -> bool {
        self.nodes[index].quantization.is_none()
    }

    /// Gives a layer another operation on other inputs.
    fn rewrite(&mut self, index: usize, op: Op, inputs: Vec<usize>) {
        for input in &inputs {
            self.readers[*input].push(index);
        }
        let old = std::mem::replace(&mut self.nodes[index].inputs, inputs);
        self.nodes[index].op = op;
        self.release(index, old);
    }

    /// Lets all who read `from` read `to` instead, so that `from` leads nowhere.
    fn forward(&mut self, from: usize, to: usize) {
        let readers = std::mem::take(&mut self.readers[from]);
        for reader in &readers {
            for input in self.nodes[*reader].inputs.iter_mut().filter(|input| **input == from) {
                *input = to;
            }
        }
        self.readers[to].extend(readers);
        if self.output == from {
            self.output = to;
        }
        let old = std::mem::take(&mut self.nodes[from].inputs);
        self.release(from, old);
    }

    /// `reader` reads these no more; what nobody reads then reads nothing either.
    fn release(&mut self, reader: usize, inputs: Vec<usize>) {
        let mut released: Vec<(usize, usize)> = inputs.into_iter().map(|input| (reader, input)).collect();
        while let Some((reader, input)) = released.pop() {
            if let Some(place) = self.readers[input].iter().position(|other| *other == reader) {
                self.readers[input].remove(place);
            }
            if !self.lives(input) {
                released.extend(std::mem::take(&mut self.nodes[input].inputs).into_iter().map(|next| (input, next)));
            }
        }
    }

    fn build(self, name: String) -> Result<Network, NetworkError> {
        let alive: Vec<bool> = (0..self.nodes.len()).map(|index| self.lives(index)).collect();
        let mut builder = NetworkBuilder::new(name);
        let mut ids: Vec<Option<LayerId>> = Vec::new();
        for (node, alive) in self.nodes.into_iter().zip(alive) {
            if !alive && !matches!(node.op, Op::Input) {
                ids.push(None);
                continue;
            }
            let inputs: Vec<LayerId> = node.inputs.iter().map(|input| ids[*input].expect("bug: a layer that is read lives")).collect();
            let id = match node.op {
                Op::Input => builder.input_of(node.name, node.shape, node.element)?,
                op => builder.layer(node.name, op, &inputs)?,
            };
            if let Some(quantization) = node.quantization {
                builder.quantize(id, quantization);
            }
            ids.push(Some(id));
        }
        builder.finish(ids[self.output].expect("bug: the output lives"))
    }
}
