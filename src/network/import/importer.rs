//! The state of one import: what each value of the file has become so far. The operators are in `operators`, constants in `fold`, the order
//! in `wiring`.
//!
//! The batch axis. A file's values begin with it; ours are those of one sample and leave it out. A symbolic batch is 1 here, so that shapes
//! that are computed come out as numbers. Where the batch is 1, a value whose shape begins with 1 is taken to begin with the batch axis, and
//! one that does not (attention moves it) keeps its whole shape: a network is a function of one sample, and both are right for one. Where a
//! file fixes a larger batch, axis 0 has to stay the batch everywhere.

use super::attributes::{Attributes, fault};
use super::constant::Constant;
use super::external::Folder;
use super::names::{of_node, shown};
use super::onnx::tensor_proto::{DataLocation, DataType};
use super::onnx::tensor_shape_proto::dimension::Value as Size;
use super::onnx::type_proto::Value as Kind;
use super::onnx::{GraphProto, NodeProto, TensorProto, ValueInfoProto};
use super::operators::check_operators;
use super::simplify;
use super::tensor::{self, MAX_CONSTANTS, MAX_RANK};
use super::wiring::Wiring;
use crate::network::{Element, LayerId, Network, NetworkBuilder, NetworkError, Op};
use ndarray::ArrayD;
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::rc::Rc;

/// What a value of the file has become.
#[derive(Clone)]
pub(super) enum Known<'a> {
    /// What a layer yields.
    Layer(Tensor),
    /// The integers that hold what a layer yields: `Quantized` values before they are dequantized again. The file's integers are ours and
    /// this shift.
    Integers(Tensor, i32),
    /// A constant, read when it is used.
    Constant(Rc<Constant<'a>>),
}

/// A value that a layer yields.
#[derive(Clone, Copy)]
pub(super) struct Tensor {
    /// The layer.
    pub(super) id: LayerId,
    /// Whether the file's shape is the batch and then ours; else it is ours.
    pub(super) batched: bool,
    /// Whether no other name of the file stands for the same layer and is read.
    pub(super) sole: bool,
}

/// One import under way.
pub(super) struct Importer<'a> {
    pub(super) model: &'a str,
    pub(super) graph: &'a GraphProto,
    pub(super) folder: Folder<'a>,
    pub(super) wiring: Wiring<'a>,
    pub(super) builder: NetworkBuilder,
    pub(super) values: BTreeMap<&'a str, Known<'a>>,
    /// Nodes that another node has taken in, with what their output is.
    pub(super) absorbed: BTreeMap<usize, Known<'a>>,
    /// The batch size: the file's, or 1 where it leaves it open.
    pub(super) batch: usize,
    pub(super) opset: i64,
    names: BTreeSet<String>,
    constants: u64,
    most_constants: u64,
}

impl<'a> Importer<'a> {
    /// Turns a graph, from a file of `size` bytes, into a network.
    ///
    /// # Errors
    /// If the graph is broken, or has what is not supported.
    pub(super) fn import(
        model: &'a str,
        graph: &'a GraphProto,
        opset: i64,
        size: usize,
        folder: Folder<'a>,
    ) -> Result<Network, NetworkError> {
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
        let (kind, sizes) = declared(input)?;
        let Some((first, rest)) = sizes.as_ref().and_then(|sizes| sizes.split_first()) else {
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
        let external = graph.initializer.iter().any(|tensor| tensor.data_location.unwrap_or_default() == DataLocation::External as i32);
        let mut importer = Self {
            model,
            graph,
            folder,
            wiring,
            builder: NetworkBuilder::new(model),
            values: BTreeMap::new(),
            absorbed: BTreeMap::new(),
            batch: first.unwrap_or(1),
            opset,
            names: graph.node.iter().map(|node| of_node(node).to_string()).chain([input.name().to_string()]).collect(),
            constants: 0,
            // What is folded may grow, but not far beyond what the file holds.
            most_constants: if external { MAX_CONSTANTS } else { MAX_CONSTANTS.min((1 << 24) + 8 * size as u64) },
        };
        importer.read_constants()?;
        let order = importer.wiring.order()?;
        let mut done: BTreeSet<usize> = BTreeSet::new();
        for index in &order {
            if importer.fold(*index)? {
                done.insert(*index);
            }
        }
        let integers = matches!(kind, DataType::Int32 | DataType::Int64);
        let id = importer.builder.input_of(input.name(), shape, if integers { Element::Index } else { Element::Real })?;
        let tensor = Tensor { id, batched: true, sole: true };
        let mut shift = None;
        let known = if integers || kind == DataType::Float {
            Known::Layer(tensor)
        } else {
            let grid = importer.input_grid(input.name(), kind)?;
            importer.builder.quantize(id, grid.quantization);
            shift = Some(grid.shift);
            Known::Integers(tensor, grid.shift)
        };
        importer.values.insert(input.name(), known);
        for index in order {
            if !done.contains(&index) && !importer.fold(index)? {
                importer.lower(index)?;
            }
        }
        let network = importer.finish(output, id)?;
        Ok(match shift {
            Some(shift) => network.of_integers(shift),
            None => network,
        })
    }

    /// What a node reads in `slot`.
    pub(super) fn value(&self, node: &NodeProto, slot: usize) -> Known<'a> {
        self.values.get(node.input[slot].as_str()).cloned().expect("bug: the order puts every node after those that it reads")
    }

    /// Whether a node reads anything in `slot`.
    pub(super) fn has(node: &NodeProto, slot: usize) -> bool {
        node.input.get(slot).is_some_and(|name| !name.is_empty())
    }

    /// The data that a node reads in `slot`: real numbers, or names.
    pub(super) fn tensor(&self, node: &NodeProto, slot: usize) -> Result<Tensor, NetworkError> {
        let name = shown(&node.input[slot]);
        match self.value(node, slot) {
            Known::Layer(tensor) => Ok(tensor),
            Known::Integers(..) => {
                let problem = format!("its operand {slot} (\"{name}\") is quantized integers where reals are wanted");
                Err(fault(node, problem, "put a DequantizeLinear before it"))
            }
            Known::Constant(_) => {
                let problem = format!("its operand {slot} (\"{name}\") is a constant where data is wanted");
                Err(fault(node, problem, "put data left and constants right, and fold operations on constants alone"))
            }
        }
    }

    /// The constant that a node reads in `slot`.
    pub(super) fn constant(&self, node: &NodeProto, slot: usize) -> Result<Rc<Constant<'a>>, NetworkError> {
        if let Known::Constant(constant) = self.value(node, slot) {
            return Ok(constant);
        }
        let problem = format!("its operand {slot} (\"{}\") is computed where a constant is wanted", shown(&node.input[slot]));
        Err(fault(node, problem, "only a constant is supported here: fold it first, for example with onnxsim"))
    }

    /// The constant of reals that a node reads in `slot`.
    pub(super) fn reals(&mut self, node: &NodeProto, slot: usize) -> Result<ArrayD<f32>, NetworkError> {
        let constant = self.constant(node, slot)?;
        self.charge(constant.shape()?.iter().product())?;
        constant.reals(self.folder)
    }

    /// The one real number that a node reads in `slot`.
    pub(super) fn scalar(&mut self, node: &NodeProto, slot: usize) -> Result<f32, NetworkError> {
        let values = self.reals(node, slot)?;
        if let (Some(value), 1) = (values.first(), values.len()) {
            return Ok(*value);
        }
        let problem = format!("its operand {slot} has shape {:?} where one number is wanted", values.shape());
        Err(fault(node, problem, "give one number for all"))
    }

    /// The constant list of whole numbers that a node reads in `slot`.
    pub(super) fn list(&mut self, node: &NodeProto, slot: usize) -> Result<Vec<i64>, NetworkError> {
        let Known::Constant(constant) = self.value(node, slot) else {
            let problem = format!("its operand {slot} (\"{}\") is computed from the data", shown(&node.input[slot]));
            return Err(fault(node, problem, "only a constant shape is supported: export with fixed sizes"));
        };
        let shape = constant.shape()?;
        if shape.len() > 1 {
            let problem = format!("its operand {slot} has shape {shape:?} where a list is wanted");
            return Err(fault(node, problem, "give a tensor of rank 1"));
        }
        self.charge(shape.iter().product())?;
        match constant.longs(self.folder)? {
            Some(values) => Ok(values.into_iter().collect()),
            None => Err(fault(node, format!("its operand {slot} is float where whole numbers are wanted"), "give int64")),
        }
    }

    /// Counts numbers that a constant takes, before they are made.
    pub(super) fn charge(&mut self, numbers: usize) -> Result<(), NetworkError> {
        self.constants = self.constants.saturating_add(numbers as u64);
        if self.constants <= self.most_constants {
            return Ok(());
        }
        Err(NetworkError::Limit {
            model: self.model.to_string(),
            what: "numbers in the constants that layers read",
            count: self.constants,
            limit: self.most_constants,
            help: "use a smaller network, or fold its constants first, for example with onnxsim",
        })
    }

    /// A value's shape as the file has it, the batch included.
    pub(super) fn full(&self, tensor: Tensor) -> Vec<usize> {
        let shape = &self.builder.value(tensor.id).shape;
        if tensor.batched { [&[self.batch], &shape[..]].concat() } else { shape.clone() }
    }

    /// Adds the layer of a node; where it only moves numbers of one grid, its output lies on that grid.
    pub(super) fn layer(&mut self, node: &NodeProto, op: Op, inputs: &[LayerId]) -> Result<LayerId, NetworkError> {
        self.add(of_node(node).to_string(), op, inputs)
    }

    /// Adds a layer that a node needs beside its own.
    pub(super) fn aside(&mut self, node: &NodeProto, what: &str, op: Op, inputs: &[LayerId]) -> Result<LayerId, NetworkError> {
        let base = format!("{}/{what}", of_node(node));
        let mut name = base.clone();
        let mut number = 2;
        while !self.names.insert(name.clone()) {
            name = format!("{base}_{number}");
            number += 1;
        }
        self.add(name, op, inputs)
    }

    fn add(&mut self, name: String, op: Op, inputs: &[LayerId]) -> Result<LayerId, NetworkError> {
        let grid = inputs.first().and_then(|id| self.builder.value(*id).quantization).filter(|_| op.only_moves());
        let id = self.builder.layer(name, op, inputs)?;
        if let Some(grid) = grid.filter(|grid| inputs.iter().all(|id| self.builder.value(*id).quantization == Some(*grid))) {
            self.builder.quantize(id, grid);
        }
        Ok(id)
    }

    /// Adds what one node makes.
    fn lower(&mut self, index: usize) -> Result<(), NetworkError> {
        let node = &self.graph.node[index];
        if let Some(known) = self.absorbed.get(&index) {
            let known = known.clone();
            return self.define(node, vec![known]);
        }
        let before = self.builder.layers();
        let mut made = self.operator(node)?;
        // A second name of a layer: both may be read.
        for known in &mut made {
            let (Known::Layer(tensor) | Known::Integers(tensor, _)) = known else { continue };
            if (tensor.id.get() as usize) < before {
                let read = |name: &&String| matches!(self.values.get(name.as_str()), Some(Known::Layer(t) | Known::Integers(t, _)) if t.id == tensor.id);
                let sources = node.input.iter().filter(read);
                tensor.sole =
                    tensor.sole && sources.clone().count() == 1 && sources.clone().all(|name| self.wiring.only_reader(name).is_some());
            }
        }
        self.define(node, made)
    }

    /// Says what a node's outputs are.
    pub(super) fn define(&mut self, node: &'a NodeProto, made: Vec<Known<'a>>) -> Result<(), NetworkError> {
        let wanted = made.len();
        for (slot, output) in node.output.iter().enumerate().filter(|(_, name)| !name.is_empty()) {
            if slot >= wanted && self.wiring.is_read(output) {
                let problem = format!("its output {slot} (\"{}\") is read, and is not supported", shown(output));
                return Err(fault(node, problem, "only the first output is supported: cut the graph so that the others are not read"));
            }
        }
        for (output, known) in node.output.iter().zip(made) {
            if wanted == 1 && matches!(known, Known::Layer(_) | Known::Integers(..)) && !self.wiring.is_read(output) {
                let problem = format!("makes \"{}\", which nothing reads", shown(output));
                return Err(fault(node, problem, "remove what does not lead to the output, for example with onnxsim"));
            }
            self.values.insert(output, known);
        }
        Ok(())
    }

    fn read_constants(&mut self) -> Result<(), NetworkError> {
        for tensor in &self.graph.initializer {
            self.values.insert(tensor.name(), Known::Constant(Rc::new(Constant::Stored(Cow::Borrowed(tensor)))));
        }
        for node in self.graph.node.iter().filter(|node| node.op_type() == "Constant") {
            let mut tensor = constant(node)?;
            tensor.name = Some(node.output[0].clone());
            self.values.insert(&node.output[0], Known::Constant(Rc::new(Constant::Stored(Cow::Owned(tensor)))));
        }
        Ok(())
    }

    fn finish(self, output: &ValueInfoProto, input: LayerId) -> Result<Network, NetworkError> {
        let interface = |problem, help| Err(NetworkError::Interface { model: self.model.to_string(), problem, help });
        let name = shown(output.name());
        let tensor = match self.values.get(output.name()) {
            Some(Known::Layer(tensor) | Known::Integers(tensor, _)) if tensor.id != input => *tensor,
            Some(Known::Constant(_)) | None => {
                return interface(format!("the output \"{name}\" is a constant"), "a network's output must depend on its input");
            }
            Some(_) => return interface(format!("the output \"{name}\" is the input"), "a network needs at least one layer"),
        };
        if let (_, Some(sizes)) = declared(output)? {
            let shape = &self.builder.value(tensor.id).shape;
            let sizes = if tensor.batched { sizes.get(1..).unwrap_or(&[]) } else { &sizes };
            let agrees = sizes.len() == shape.len() && sizes.iter().zip(shape).all(|(size, found)| size.is_none_or(|size| size == *found));
            if !agrees {
                let sizes: Vec<String> = sizes.iter().map(|size| size.map_or("?".to_string(), |size| size.to_string())).collect();
                let problem =
                    format!("the output \"{name}\" is declared as [{}] a sample, and the layers make {shape:?}", sizes.join(", "));
                return interface(problem, "the file contradicts itself: export it again");
            }
        }
        simplify::simplify(self.builder, tensor.id)
    }
}

/// A format, and a shape as the file declares it, each size `None` where it is symbolic or left out.
type Declared = (DataType, Option<Vec<Option<usize>>>);

/// What an input or output is, where the file declares it.
fn declared(value: &ValueInfoProto) -> Result<Declared, NetworkError> {
    let refuse = |problem, help| Err(NetworkError::Tensor { tensor: shown(value.name()), problem, help });
    let Some(kind) = value.r#type.as_ref().and_then(|kind| kind.value.as_ref()) else { return Ok((DataType::Float, None)) };
    let Kind::TensorType(kind) = kind else {
        return refuse("is not a tensor".to_string(), "inputs and outputs must be tensors");
    };
    let format = kind.elem_type.unwrap_or_default();
    let Some(format) = DataType::try_from(format)
        .ok()
        .filter(|format| matches!(format, DataType::Float | DataType::Uint8 | DataType::Int8 | DataType::Int32 | DataType::Int64))
    else {
        let problem = format!("is {} where float is wanted", tensor::type_name(format));
        return refuse(
            problem,
            "inputs and outputs must be float32, quantized (uint8, int8), or names (int64): export the model in float32",
        );
    };
    let Some(shape) = &kind.shape else { return Ok((format, None)) };
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
    if sizes.is_empty() {
        return refuse("is a scalar".to_string(), "the first axis must be the batch");
    }
    Ok((format, Some(sizes)))
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
