//! Are broken, hostile and unsupported files refused with one clear message, and never with a panic? Models are built here, part by part.

mod hostile;

use super::import_bytes;
use super::onnx::attribute_proto::AttributeType;
use super::onnx::tensor_proto::{DataLocation, DataType};
use super::onnx::tensor_shape_proto::{Dimension, dimension};
use super::onnx::{
    AttributeProto, GraphProto, ModelProto, NodeProto, OperatorSetIdProto, StringStringEntryProto, TensorProto, TensorShapeProto,
    TypeProto, ValueInfoProto, type_proto,
};
use proptest::prelude::*;
use prost::Message;
use std::collections::BTreeSet;
use std::path::Path;

fn value(name: &str, dims: &[i64]) -> ValueInfoProto {
    let dim = |size: &i64| Dimension {
        value: Some(if *size == i64::MIN { dimension::Value::DimParam("N".into()) } else { dimension::Value::DimValue(*size) }),
        ..Dimension::default()
    };
    let shape = TensorShapeProto { dim: dims.iter().map(dim).collect() };
    let tensor = type_proto::Tensor { elem_type: Some(DataType::Float as i32), shape: Some(shape) };
    let kind = TypeProto { value: Some(type_proto::Value::TensorType(tensor)), ..TypeProto::default() };
    ValueInfoProto { name: Some(name.into()), r#type: Some(kind), ..ValueInfoProto::default() }
}

/// The size of the batch axis in [`value`], which stands for a symbolic one.
const N: i64 = i64::MIN;

fn floats(name: &str, dims: &[i64]) -> TensorProto {
    let count = usize::try_from(dims.iter().product::<i64>()).unwrap();
    TensorProto {
        name: Some(name.into()),
        dims: dims.to_vec(),
        data_type: Some(DataType::Float as i32),
        float_data: vec![0.5; count],
        ..TensorProto::default()
    }
}

fn integers(name: &str, values: &[i64]) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        dims: vec![i64::try_from(values.len()).unwrap()],
        data_type: Some(DataType::Int64 as i32),
        int64_data: values.to_vec(),
        ..TensorProto::default()
    }
}

fn node(operator: &str, inputs: &[&str], output: &str) -> NodeProto {
    NodeProto {
        op_type: Some(operator.into()),
        input: inputs.iter().map(ToString::to_string).collect(),
        output: vec![output.into()],
        ..NodeProto::default()
    }
}

fn with(mut node: NodeProto, name: &str, i: i64) -> NodeProto {
    node.attribute.push(AttributeProto {
        name: Some(name.into()),
        r#type: Some(AttributeType::Int as i32),
        i: Some(i),
        ..AttributeProto::default()
    });
    node
}

/// x (N x 4) -> Gemm with w (4 x 3) and b (3) -> h -> Relu -> y (N x 3).
fn model() -> ModelProto {
    let graph = GraphProto {
        node: vec![node("Gemm", &["x", "w", "b"], "h"), node("Relu", &["h"], "y")],
        initializer: vec![floats("w", &[4, 3]), floats("b", &[3])],
        input: vec![value("x", &[N, 4])],
        output: vec![value("y", &[N, 3])],
        ..GraphProto::default()
    };
    let opset = OperatorSetIdProto { domain: None, version: Some(13) };
    ModelProto { ir_version: Some(8), opset_import: vec![opset], graph: Some(graph), ..ModelProto::default() }
}

fn graph(model: &mut ModelProto) -> &mut GraphProto {
    model.graph.as_mut().unwrap()
}

/// The message for a model that is changed like this.
fn refused(change: impl FnOnce(&mut ModelProto)) -> String {
    let mut model = model();
    change(&mut model);
    import_bytes(&model.encode_to_vec(), "m").unwrap_err().to_string()
}

/// A model of one node, which reads x of this shape.
fn one(opset: i64, shape: &[i64], node: NodeProto, initializer: Vec<TensorProto>) -> Result<Vec<usize>, String> {
    let mut model = model();
    model.opset_import[0].version = Some(opset);
    let output = ValueInfoProto { name: Some("y".into()), ..ValueInfoProto::default() };
    *graph(&mut model) =
        GraphProto { node: vec![node], initializer, input: vec![value("x", shape)], output: vec![output], ..GraphProto::default() };
    let network = import_bytes(&model.encode_to_vec(), "m").map_err(|error| error.to_string())?;
    Ok(network.output().output.shape.clone())
}

#[test]
fn the_model_that_the_others_are_made_from_is_taken() {
    let network = import_bytes(&model().encode_to_vec(), "m").unwrap();
    assert_eq!(network.layers().map(|layer| layer.name.as_str()).collect::<Vec<_>>(), ["x", "h", "y"]);
}

#[test]
fn each_fault_has_its_own_message() {
    let tensor = |m: &mut ModelProto, change: fn(&mut TensorProto)| change(&mut graph(m).initializer[0]);
    let cases: Vec<(&str, String)> = vec![
        ("it holds no graph", refused(|m| m.graph = None)),
        ("is written in opset 22; opsets 7 to 21 are supported", refused(|m| m.opset_import[0].version = Some(22))),
        ("does not say which opset", refused(|m| m.opset_import.clear())),
        ("names two opsets, 13 and 13", refused(|m| m.opset_import.push(m.opset_import[0].clone()))),
        (
            "node \"h\": operator ConvTranspose is not supported, nor are 1 more nodes: LSTM\n  help: no stage computes a transposed convolution",
            refused(|m| {
                graph(m).node[0].op_type = Some("ConvTranspose".into());
                graph(m).node[1].op_type = Some("LSTM".into());
            }),
        ),
        ("operator com.microsoft.Gemm is not supported", refused(|m| graph(m).node[0].domain = Some("com.microsoft".into()))),
        ("node \"h\" (Gemm) reads \"w\", which no input", refused(|m| drop(graph(m).initializer.remove(0)))),
        ("the model's output reads \"z\"", refused(|m| graph(m).output[0].name = Some("z".into()))),
        ("a cycle: none of the nodes \"h\", \"y\"", refused(|m| graph(m).node[0].input[0] = "y".into())),
        (
            "the name \"h\" is given twice: to an initializer and to node 0 (Gemm, which makes \"h\")",
            refused(|m| {
                graph(m).initializer[1].name = Some("h".into());
            }),
        ),
        (
            "the name \"same\" is given twice: to node 0",
            refused(|m| {
                graph(m).node.iter_mut().for_each(|node| node.name = Some("same".into()));
            }),
        ),
        ("the name \"x\" is given twice: to the model's input and to node 0", refused(|m| graph(m).node[0].name = Some("x".into()))),
        ("reads rows of 5", refused(|m| graph(m).input[0] = value("x", &[N, 5]))),
        ("is declared as [7] a sample, and the layers make [3]", refused(|m| graph(m).output[0] = value("y", &[N, 7]))),
        ("has 2 inputs", refused(|m| graph(m).input.push(value("x2", &[N, 4])))),
        ("has 0 inputs", refused(|m| graph(m).input.clear())),
        ("has 2 outputs", refused(|m| graph(m).output.push(value("h", &[N, 3])))),
        ("leaves a size open that is not the first", refused(|m| graph(m).input[0] = value("x", &[N, N]))),
        ("has the size -4 in its shape", refused(|m| graph(m).input[0] = value("x", &[N, -4]))),
        ("has too many elements; a shape needs 1 to 2^31", refused(|m| graph(m).input[0] = value("x", &[N, 1 << 40, 1 << 40]))),
        ("tensor \"x\": is a scalar", refused(|m| graph(m).input[0] = value("x", &[]))),
        ("tensor \"w\": has the size -1 in its shape", refused(|m| tensor(m, |t| t.dims[0] = -1))),
        ("tensor \"w\": claims more than 268435456 elements", refused(|m| tensor(m, |t| t.dims = vec![1 << 62, 1 << 62]))),
        ("tensor \"w\": has no elements (shape [0, 3])", refused(|m| tensor(m, |t| t.dims[0] = 0))),
        ("its shape needs 15 elements and it holds 12", refused(|m| tensor(m, |t| t.dims[0] = 5))),
        (
            "its shape needs 12 elements (48 bytes) and it holds 3 bytes",
            refused(|m| {
                tensor(m, |t| t.raw_data = Some(vec![1, 2, 3].into()));
            }),
        ),
        ("tensor \"w\": is string where float is wanted", refused(|m| tensor(m, |t| t.data_type = Some(DataType::String as i32)))),
        ("tensor \"w\": is type 99 where float is wanted", refused(|m| tensor(m, |t| t.data_type = Some(99)))),
        (
            "its data lies in another file, and the model came without its folder",
            refused(|m| tensor(m, |t| t.data_location = Some(DataLocation::External as i32))),
        ),
        ("tensor \"w\": element 1 is NaN", refused(|m| tensor(m, |t| t.float_data[1] = f32::NAN))),
        ("tensor \"w\": has 40 axes; the limit is 16", refused(|m| tensor(m, |t| t.dims = vec![1; 40]))),
        ("tensor \"x\": has 40 axes; the limit is 16", refused(|m| graph(m).input[0] = value("x", &[1; 40]))),
        ("has weights of shape [12]", refused(|m| tensor(m, |t| t.dims = vec![12]))),
        ("has transA = 1", refused(|m| graph(m).node[0] = with(graph(m).node[0].clone(), "transA", 1))),
        ("has the attribute \"axes\"; known: none", refused(|m| graph(m).node[1] = with(graph(m).node[1].clone(), "axes", 1))),
        (
            "has the attribute \"transB\" twice",
            refused(|m| {
                graph(m).node[0] = with(with(graph(m).node[0].clone(), "transB", 0), "transB", 1);
            }),
        ),
        (
            "has the attribute \"alpha\" as INT where FLOAT is wanted",
            refused(|m| {
                graph(m).node[0] = with(graph(m).node[0].clone(), "alpha", 1);
            }),
        ),
        ("adds C of shape [4] to rows of 3", refused(|m| graph(m).initializer[1] = floats("b", &[4]))),
        ("reads 1 values and needs 2 to 3", refused(|m| graph(m).node[0].input.truncate(1))),
        ("makes 2 values and should make one", refused(|m| graph(m).node[1].output.push("y2".into()))),
        ("makes \"dead\", which nothing reads", refused(|m| graph(m).node.push(node("Relu", &["h"], "dead")))),
        (
            "multiplies shapes [1, 3] and [1, 3]; the last axis of the left must be the last but one of the right",
            refused(|m| {
                graph(m).node[1] = node("MatMul", &["h", "h"], "y");
            }),
        ),
        ("its operand 0 (\"w\") is a constant where data is wanted", refused(|m| graph(m).node[0].input[0] = "w".into())),
        ("the output \"y\" is a constant", refused(|m| graph(m).node = vec![node("Add", &["b", "b"], "y")])),
        ("the output \"x\" is the input", refused(|m| (graph(m).node, graph(m).output) = (vec![], vec![value("x", &[N, 4])]))),
        ("the output \"b\" is a constant", refused(|m| (graph(m).node, graph(m).output) = (vec![], vec![value("b", &[3])]))),
        ("has control characters", refused(|m| graph(m).node[0].name = Some("a\u{1b}[31m".into()))),
        ("bytes in a name: 5000, and the limit is 1024", refused(|m| graph(m).node[0].name = Some("a".repeat(5000)))),
        (
            "nodes in the graph: 5002, and the limit is 4096",
            refused(|m| {
                (0..5000).for_each(|i| graph(m).node.push(node("Relu", &["h"], &format!("r{i}"))));
            }),
        ),
        ("parts (fields of nodes, tensors and other messages): 2", refused(|m| graph(m).node = vec![NodeProto::default(); 1 << 19])),
    ];
    for (wanted, found) in cases {
        assert!(found.contains(wanted), "wanted: {wanted}\nfound: {found}");
        assert!(found.len() < 1200, "a message of {} bytes", found.len());
    }
}

#[test]
fn constants_that_many_layers_read_count_each_time() {
    // 2^20 numbers, read by 300 layers: a file of 4 MB that would become more than a gigabyte.
    let mut large = model();
    let weights = TensorProto { float_data: vec![0.0; 1 << 20], ..floats("w", &[0, 3]) };
    let weights = TensorProto { dims: vec![1024, 1024], ..weights };
    let nodes = (0..300).map(|i| node("MatMul", &[&format!("v{i}"), "w"], &format!("v{}", i + 1))).collect();
    let graph = graph(&mut large);
    (graph.initializer, graph.node) = (vec![weights], nodes);
    (graph.input, graph.output) = (vec![value("v0", &[N, 1024])], vec![value("v300", &[N, 1024])]);
    let found = import_bytes(&large.encode_to_vec(), "m").unwrap_err().to_string();
    assert!(found.contains("numbers in the constants that layers read"), "{found}");
}

#[test]
fn axes_follow_the_rules_of_their_opset() {
    let softmax = |opset, shape: &[i64], axis: Option<i64>| {
        let plain = node("Softmax", &["x"], "y");
        one(opset, shape, axis.map_or(plain.clone(), |axis| with(plain, "axis", axis)), vec![])
    };
    assert_eq!(softmax(13, &[N, 2, 3], None), Ok(vec![2, 3]));
    assert_eq!(softmax(13, &[N, 2, 3], Some(2)), Ok(vec![2, 3]));
    assert_eq!(softmax(13, &[N, 2, 3], Some(1)), Ok(vec![2, 3]));
    assert!(softmax(13, &[N, 2, 3], Some(-3)).unwrap_err().contains("a softmax over the batch would mix samples"));
    assert!(softmax(13, &[N, 2, 3], Some(3)).unwrap_err().contains("the axis must be one of the value's"));
    assert!(softmax(13, &[N, 2, 3], Some(i64::MIN)).unwrap_err().contains("the axis must be one of the value's"));
    assert_eq!(softmax(7, &[N, 3], None), Ok(vec![3]));
    assert_eq!(softmax(7, &[N, 1, 3], None), Ok(vec![1, 3]));
    assert_eq!(softmax(7, &[N, 2, 3], None), Ok(vec![2, 3]));
    assert!(softmax(7, &[N, 2, 3], Some(0)).unwrap_err().contains("which before opset 13 means all axes from there on"));
    assert!(softmax(13, &[N], None).unwrap_err().contains("a softmax over the batch would mix samples"));

    let flatten = |opset, axis| one(opset, &[N, 1, 2, 3], with(node("Flatten", &["x"], "y"), "axis", axis), vec![]);
    assert_eq!(flatten(13, 1), Ok(vec![6]));
    assert_eq!(flatten(13, 2), Ok(vec![6]));
    assert_eq!(flatten(13, -3), Ok(vec![6]));
    assert!(flatten(9, -3).unwrap_err().contains("has axis = -3"));
    // Of one sample, a matrix of other rows than the batch is as good.
    assert_eq!(flatten(13, 0), Ok(vec![6]));
    assert_eq!(flatten(13, 3), Ok(vec![2, 3]));
    assert_eq!(flatten(13, 4), Ok(vec![6, 1]));
    let of_five = |axis| one(13, &[5, 1, 2, 3], with(node("Flatten", &["x"], "y"), "axis", axis), vec![]);
    assert_eq!(of_five(1), Ok(vec![6]));
    assert!(of_five(0).unwrap_err().contains("it does not keep the batch axis"));
    assert!(of_five(3).unwrap_err().contains("it does not keep the batch axis"));
}

#[test]
fn reshapes_keep_the_batch_and_the_elements() {
    let reshape = |shape: &[i64], target: &[i64]| one(13, shape, node("Reshape", &["x", "s"], "y"), vec![integers("s", target)]);
    assert_eq!(reshape(&[N, 2, 6], &[0, 3, 4]), Ok(vec![3, 4]));
    assert_eq!(reshape(&[N, 2, 6], &[-1, 12]), Ok(vec![12]));
    assert_eq!(reshape(&[N, 2, 6], &[0, 0, 2, -1]), Ok(vec![2, 2, 3]));
    assert_eq!(reshape(&[8, 2, 6], &[8, -1]), Ok(vec![12]));
    assert_eq!(reshape(&[N, 2, 6], &[-1, 4]), Ok(vec![3, 4]), "of one sample");
    assert!(reshape(&[8, 2, 6], &[-1, 6]).unwrap_err().contains("it does not keep the batch axis"));
    for (target, wanted) in [
        (&[4, 12][..], "there are 12 elements"),
        (&[0, 5, -1], "there are 12 elements"),
        (&[0, -1, -1], "more than one -1"),
        (&[-1, 12, -1], "more than one -1"),
        (&[0, -2, 6], "a size is negative"),
        (&[0, 2, 6, 0], "a 0 stands where the input has no axis"),
        (&[0, i64::MAX, i64::MAX], "there are 12 elements"),
        (&[0, i64::MAX, i64::MAX, -1], "there are 12 elements"),
        (&[1; 500], "it has 500 axes, and the limit is 16"),
        (&[i64::MIN, 12], "a size is negative"),
    ] {
        let found = reshape(&[N, 2, 6], target).unwrap_err();
        assert!(found.contains(wanted), "{target:?}: {found}");
    }
    assert!(one(13, &[N, 4], node("Reshape", &["x", "x"], "y"), vec![]).unwrap_err().contains("only a constant shape"));
    let matrix = TensorProto { dims: vec![1, 2], ..integers("s", &[0, 4]) };
    assert!(one(13, &[N, 4], node("Reshape", &["x", "s"], "y"), vec![matrix]).unwrap_err().contains("where a list is wanted"));
}

#[test]
fn claims_and_nesting_cost_nothing() {
    // A graph (field 7) that claims 2 GB, a number that never ends, and graphs in attributes in nodes, as deep as it goes.
    let claim = [0x3a, 0x80, 0x80, 0x80, 0x80, 0x08];
    assert!(import_bytes(&claim, "m").unwrap_err().to_string().contains("claims 2147483648 bytes where 0 are left"));
    assert!(import_bytes(&[0xff; 12], "m").unwrap_err().to_string().contains("more than 64 bits"));
    assert!(import_bytes(b"", "m").unwrap_err().to_string().contains("it holds no graph"));
    let mut nested = GraphProto::default();
    for _ in 0..40 {
        let attribute = AttributeProto { g: Some(Box::new(nested)), ..AttributeProto::default() };
        nested = GraphProto { node: vec![NodeProto { attribute: vec![attribute], ..NodeProto::default() }], ..GraphProto::default() };
    }
    let nested = ModelProto { graph: Some(nested), ..ModelProto::default() };
    assert!(import_bytes(&nested.encode_to_vec(), "m").unwrap_err().to_string().contains("nested more than 64 deep"));
}

/// The golden models, of which others are made.
fn goldens() -> Vec<(String, Vec<u8>)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden");
    let mut found = Vec::new();
    for folder in ["onnx", "networks"] {
        for entry in std::fs::read_dir(root.join(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "onnx") {
                found.push((path.file_stem().unwrap().to_string_lossy().into_owned(), std::fs::read(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

#[test]
fn every_operator_that_is_known_is_in_a_golden() {
    let mut used = BTreeSet::new();
    for (_, bytes) in goldens() {
        let model = ModelProto::decode(&bytes[..]).unwrap();
        for node in model.graph.unwrap().node {
            used.insert((node.domain.unwrap_or_default(), node.op_type.unwrap_or_default()));
        }
    }
    for (domain, operator) in super::operators::names() {
        assert!(used.contains(&(domain.to_string(), operator.to_string())), "no golden has {domain} {operator}");
    }
}

/// A real model whose bytes are not too many to be changed often.
const REAL: &[u8] = include_bytes!("../../../tests/golden/onnx/shapes.onnx");
const SIMPLENET: &[u8] = include_bytes!("../../../models/simplenet-mnist.onnx");

fn survives(bytes: &[u8]) {
    if let Err(error) = import_bytes(bytes, "m") {
        assert!(error.to_string().len() < 2000, "a message of {} bytes", error.to_string().len());
    }
}

#[test]
fn every_cut_of_a_real_model_is_refused() {
    for end in 0..REAL.len() {
        assert!(import_bytes(&REAL[..end], "m").is_err(), "cut at {end}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn changed_bytes_never_panic(changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6)) {
        let mut bytes = REAL.to_vec();
        for (index, byte) in changes {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        survives(&bytes);
    }

    #[test]
    fn pieces_put_elsewhere_never_panic(from in any::<prop::sample::Index>(), to in any::<prop::sample::Index>(), length in 0_usize..200) {
        let mut bytes = REAL.to_vec();
        let from = from.index(bytes.len());
        let piece = bytes[from..(from + length).min(bytes.len())].to_vec();
        let to = to.index(bytes.len());
        bytes.splice(to..to, piece);
        survives(&bytes);
    }

    #[test]
    fn bytes_of_no_meaning_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        survives(&bytes);
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn a_changed_simplenet_never_panics(index in any::<prop::sample::Index>(), byte in any::<u8>(), cut in any::<prop::sample::Index>()) {
        let mut bytes = SIMPLENET.to_vec();
        let index = index.index(bytes.len());
        bytes[index] = byte;
        survives(&bytes);
        bytes.truncate(cut.index(bytes.len()));
        survives(&bytes);
    }
}
