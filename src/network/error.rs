//! What can be wrong with a network.

use thiserror::Error;

/// A fault in a network, or in the file that holds it. Names from a file are shown escaped, and long ones are cut.
#[derive(Debug, Error, PartialEq)]
pub enum NetworkError {
    /// No layer stands for the input.
    #[error("network \"{network}\" has no input")]
    NoInput {
        /// The network's name.
        network: String,
    },
    /// A layer reads values that its operation cannot take.
    #[error(
        "layer \"{layer}\" ({op}): {problem}\n  help: what it reads and its own numbers must fit together: check the export, for example with onnx.shape_inference"
    )]
    Shape {
        /// The layer's name.
        layer: String,
        /// Its operation.
        op: &'static str,
        /// What does not fit, with the shapes.
        problem: String,
    },
    /// A shape is empty or too large.
    #[error("layer \"{layer}\": shape {shape:?} has {problem}; a shape needs 1 to 2^31 elements a sample")]
    Size {
        /// The layer's name.
        layer: String,
        /// The shape of one sample.
        shape: Vec<usize>,
        /// What is wrong with it.
        problem: &'static str,
    },
    /// The file cannot be read at all.
    #[error("{path}: the model cannot be read: {problem}\n  help: give the path of an .onnx file")]
    Read {
        /// The path as it was given.
        path: String,
        /// What the system says.
        problem: String,
    },
    /// The bytes are not an ONNX model.
    #[error(
        "model \"{model}\" ({bytes} bytes) is not an ONNX file, or is cut short: {problem}\n  help: compare its size with the original's, or check it with onnx.checker"
    )]
    Decode {
        /// The network's name.
        model: String,
        /// The file's size.
        bytes: usize,
        /// What was met while reading.
        problem: String,
    },
    /// There is more of something than is read.
    #[error("model \"{model}\": {what}: {count}, and the limit is {limit}\n  help: {help}")]
    Limit {
        /// The network's name.
        model: String,
        /// What there is too much of.
        what: &'static str,
        /// How much there is (at least).
        count: u64,
        /// How much there may be.
        limit: u64,
        /// What to do.
        help: &'static str,
    },
    /// The version of ONNX's operators is none that is known.
    #[error(
        "model \"{model}\" {found}; opsets {oldest} to {newest} are supported\n  help: export it again with opset_version={newest}, or convert it with onnx.version_converter"
    )]
    Opset {
        /// The network's name.
        model: String,
        /// What the file says of its opset.
        found: String,
        /// The oldest that is known.
        oldest: i64,
        /// The newest that is known.
        newest: i64,
    },
    /// An operator that is not known.
    #[error("node \"{node}\": operator {operator} is not supported{more}\n  help: {help}\n  supported: {}", super::import::supported())]
    Operator {
        /// The node's name.
        node: String,
        /// Its operator.
        operator: String,
        /// How many more nodes have such operators, and which.
        more: String,
        /// What to do.
        help: &'static str,
    },
    /// A node that is not as its operator wants it, or in a way that is not supported.
    #[error("node \"{node}\" ({operator}): {problem}\n  help: {help}")]
    Node {
        /// The node's name.
        node: String,
        /// Its operator.
        operator: String,
        /// What is wrong, with the values.
        problem: String,
        /// What to do.
        help: &'static str,
    },
    /// A constant tensor that cannot be read.
    #[error("tensor \"{tensor}\": {problem}\n  help: {help}")]
    Tensor {
        /// The tensor's name.
        tensor: String,
        /// What is wrong, with the values.
        problem: String,
        /// What to do.
        help: &'static str,
    },
    /// A value that nothing makes.
    #[error(
        "{reader} reads \"{value}\", which no input, initializer or node of the model makes\n  help: the file is incomplete: export it again"
    )]
    Missing {
        /// Who reads it.
        reader: String,
        /// The value's name.
        value: String,
    },
    /// Nodes that wait for each other.
    #[error(
        "a cycle: none of the nodes {nodes} can run before another of them\n  help: a network's graph must have no cycle: export it again"
    )]
    Cycle {
        /// Some of the nodes.
        nodes: String,
    },
    /// Two things of one name.
    #[error(
        "the name \"{name}\" is given twice: to {first} and to {second}\n  help: names must differ, since layers are told apart by them: rename one of them"
    )]
    Duplicate {
        /// The name.
        name: String,
        /// Who has it.
        first: String,
        /// Who has it too.
        second: String,
    },
    /// The model's inputs or outputs are not what is supported.
    #[error("model \"{model}\": {problem}\n  help: {help}")]
    Interface {
        /// The network's name.
        model: String,
        /// What is wrong, with the values.
        problem: String,
        /// What to do.
        help: &'static str,
    },
    /// Something of a layer is not held in integers.
    #[error("layer \"{layer}\" is not quantized: {what} must be held in integers\n  help: quantize the network first")]
    NotQuantized {
        /// The layer's name.
        layer: String,
        /// What is not.
        what: &'static str,
    },
    /// An operation that has no integer form.
    #[error("not supported yet: layer \"{layer}\" ({op}) has no integer form {problem}\n  help: {help}")]
    NoIntegerForm {
        /// The layer's name.
        layer: String,
        /// Its operation.
        op: &'static str,
        /// In which way of being used.
        problem: String,
        /// What to do.
        help: &'static str,
    },
    /// What a model file cannot say.
    #[error("layer \"{layer}\" ({op}) cannot be written to an ONNX file: it {problem}\n  help: {help}")]
    NotExported {
        /// The layer's name.
        layer: String,
        /// Its operation.
        op: &'static str,
        /// Why not, with the values.
        problem: String,
        /// What to do.
        help: &'static str,
    },
}
