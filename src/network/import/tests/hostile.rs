//! Are models that claim much, compute much or point elsewhere refused, whatever operator they use, without much memory or time?

use super::*;
use crate::network::{import, import_bytes_beside};
use std::fs;
use std::sync::LazyLock;

static GOLDENS: LazyLock<Vec<(String, Vec<u8>)>> = LazyLock::new(goldens);

fn ints(mut node: NodeProto, name: &str, values: &[i64]) -> NodeProto {
    let kind = Some(AttributeType::Ints as i32);
    node.attribute.push(AttributeProto { name: Some(name.into()), r#type: kind, ints: values.to_vec(), ..AttributeProto::default() });
    node
}

fn scalar(name: &str, value: f32) -> TensorProto {
    TensorProto { dims: vec![], float_data: vec![value], ..floats(name, &[1]) }
}

fn small(name: &str, kind: DataType, dims: &[i64], values: &[i32]) -> TensorProto {
    TensorProto {
        name: Some(name.into()),
        dims: dims.to_vec(),
        data_type: Some(kind as i32),
        int32_data: values.to_vec(),
        ..TensorProto::default()
    }
}

/// The message for a model of these nodes, the last of which makes y.
fn several(opset: i64, shape: &[i64], nodes: Vec<NodeProto>, initializer: Vec<TensorProto>) -> String {
    let mut model = model();
    model.opset_import[0].version = Some(opset);
    for domain in ["com.microsoft", "qonnx.custom_op.general"] {
        model.opset_import.push(OperatorSetIdProto { domain: Some(domain.into()), version: Some(1) });
    }
    let output = ValueInfoProto { name: Some("y".into()), ..ValueInfoProto::default() };
    *graph(&mut model) =
        GraphProto { node: nodes, initializer, input: vec![value("x", shape)], output: vec![output], ..GraphProto::default() };
    match import_bytes(&model.encode_to_vec(), "m") {
        Ok(network) => format!("taken as {:?}", network.output().output.shape),
        Err(error) => error.to_string(),
    }
}

#[test]
fn what_would_be_huge_is_refused_before_it_is_made() {
    const HUGE: i64 = 1 << 40;
    let single = |node: NodeProto, constants: Vec<TensorProto>| several(18, &[N, 4, 8, 8], vec![node], constants);
    let conv = |change: fn(NodeProto) -> NodeProto| single(change(node("Conv", &["x", "w"], "y")), vec![floats("w", &[6, 4, 3, 3])]);
    let pool = |kernel: &[i64]| single(ints(node("MaxPool", &["x"], "y"), "kernel_shape", kernel), vec![]);
    let folded = |operator: &str, inputs: &[&str], constants: Vec<TensorProto>| {
        several(13, &[N, 4], vec![node(operator, inputs, "c"), node("Add", &["x", "c"], "y")], constants)
    };
    // Each joins what the one before made with itself.
    let doubled = |first: &str, constants| {
        let mut nodes: Vec<_> = (0..60)
            .map(|i| {
                let read = if i == 0 { first.to_string() } else { format!("d{i}") };
                with(node("Concat", &[&read, &read], &format!("d{}", i + 1)), "axis", 1)
            })
            .collect();
        nodes.push(node("Add", &["d60", "x"], "y"));
        several(13, &[N, 4], nodes, constants)
    };
    let cases = [
        (doubled("x", vec![]), "has too many elements"),
        (doubled("c", vec![floats("c", &[1, 4])]), "numbers in the constants that layers read"),
        (folded("ConstantOfShape", &["s"], vec![integers("s", &[HUGE])]), "numbers in the constants"),
        (folded("ConstantOfShape", &["s"], vec![integers("s", &[i64::MAX, i64::MAX])]), "numbers in the constants"),
        (folded("ConstantOfShape", &["s"], vec![integers("s", &[-1])]), "every size must be at least 1"),
        (folded("Expand", &["w", "s"], vec![floats("w", &[1]), integers("s", &[HUGE, HUGE])]), "numbers in the constants"),
        (
            folded("Range", &["a", "b", "a2"], vec![integers("a", &[1]), integers("b", &[i64::MAX]), integers("a2", &[1])]),
            "numbers in the constants",
        ),
        (folded("Range", &["a", "a", "b"], vec![integers("a", &[1]), integers("b", &[0])]), "which is nothing"),
        (folded("Mul", &["a", "a"], vec![integers("a", &[i64::MAX])]), "overflows"),
        (folded("Div", &["a", "b"], vec![integers("a", &[i64::MIN]), integers("b", &[0])]), "divides by zero"),
        (conv(|node| ints(node, "strides", &[0, 1])), "all must be at least 1"),
        (conv(|node| ints(node, "strides", &[1, 1, 1])), "for 2 spatial axes"),
        (conv(|node| ints(node, "strides", &[-1, 1])), "not negative"),
        (conv(|node| ints(node, "dilations", &[HUGE, HUGE])), "below 2^24"),
        (conv(|node| ints(node, "dilations", &[5, 5])), "has a window of 11 elements"),
        (conv(|node| ints(node, "pads", &[HUGE; 4])), "below 2^24"),
        (conv(|node| ints(node, "pads", &[i64::MIN; 4])), "not negative"),
        (conv(|node| ints(node, "pads", &[(1 << 24) - 1; 4])), "has too many elements"),
        (conv(|node| with(node, "group", 0)), "in 0 groups"),
        (conv(|node| with(node, "group", i64::MIN)), "has group"),
        (conv(|node| with(node, "group", 3)), "in 3 groups"),
        (conv(|node| ints(node, "kernel_shape", &[5, 5])), "and another kernel_shape"),
        (pool(&[HUGE, HUGE]), "below 2^24"),
        (pool(&[9, 1]), "has a window of 9 elements"),
        (single(ints(ints(node("MaxPool", &["x"], "y"), "kernel_shape", &[2, 2]), "pads", &[2, 2, 2, 2]), vec![]), "that see nothing"),
        (single(node("Pad", &["x", "p"], "y"), vec![integers("p", &[0, 0, 0, HUGE, 0, 0, 0, HUGE])]), "has too many elements"),
        (single(node("Pad", &["x", "p"], "y"), vec![integers("p", &[0, 0, 0, i64::MAX, 0, 0, 0, i64::MAX])]), "border that is too large"),
        (single(node("Pad", &["x", "p"], "y"), vec![integers("p", &[-1; 8])]), "not negative"),
        (
            single(node("Slice", &["x", "a", "b"], "y"), vec![integers("a", &[i64::MAX]), integers("b", &[i64::MIN])]),
            "at least one element",
        ),
        (single(node("Unsqueeze", &["x", "a"], "y"), vec![integers("a", &[0; 4096])]), "yields 4100 axes"),
        (single(node("Squeeze", &["x", "a"], "y"), vec![integers("a", &[1])]), "whose size is not 1"),
        (single(ints(node("Transpose", &["x"], "y"), "perm", &[0, 1, 2, 2]), vec![]), "name each axis once"),
        (
            single(node("Gather", &["x", "i"], "y"), vec![integers("i", &[i64::MIN])]),
            "indices that are not whole numbers from -1 to 0, those of axis 0",
        ),
        (
            single(node("Gather", &["x", "i"], "y"), vec![integers("i", &[])]),
            "indices that are not whole numbers from -1 to 0, those of axis 0",
        ),
        (single(node("LayerNormalization", &["x", "w"], "y"), vec![floats("w", &[3])]), "for rows of [8]"),
        (single(node("Cast", &["x"], "y"), vec![]), "casts reals to"),
        (single(node("Expand", &["x", "s"], "y"), vec![integers("s", &[HUGE])]), "computed from the data"),
        (single(node("QuantizeLinear", &["x", "s"], "y"), vec![scalar("s", 0.0)]), "scales must be positive"),
        (single(node("QuantizeLinear", &["x", "s"], "y"), vec![scalar("s", -1.0)]), "scales must be positive"),
        (single(node("QuantizeLinear", &["x", "s"], "y"), vec![floats("s", &[4])]), "one scale a tensor"),
        (
            single(node("QuantizeLinear", &["x", "s", "z"], "y"), vec![scalar("s", 1.0), small("z", DataType::Float8e4m3fn, &[], &[0])]),
            "is float8e4m3fn where whole numbers",
        ),
        (single(node("DequantizeLinear", &["x", "s"], "y"), vec![scalar("s", 1.0)]), "is not quantized"),
        (single(node("MatMulInteger", &["x", "w"], "y"), vec![small("w", DataType::Int8, &[8, 2], &[1; 16])]), "is not quantized"),
        (
            folded("DequantizeLinear", &["w", "s"], vec![small("w", DataType::Int8, &[1, 4], &[1; 4]), floats("s", &[3])]),
            "give one for all, or one for each index",
        ),
        (folded("DequantizeLinear", &["w", "s"], vec![small("w", DataType::Int8, &[4], &[1; 3]), scalar("s", 1.0)]), "it holds 3"),
    ];
    for (found, wanted) in cases {
        assert!(found.contains(wanted), "wanted: {wanted}\nfound: {found}");
        assert!(found.len() < 1200, "a message of {} bytes", found.len());
    }
}

#[test]
fn quantizations_that_contradict_each_other_are_refused() {
    let pair = |scale: f32, zero: i32| {
        let nodes =
            vec![node("QuantizeLinear", &["x", "s", "z"], "q"), node("DequantizeLinear", &["q", "t", "u"], "d"), node("Relu", &["d"], "y")];
        let zeros = [small("z", DataType::Uint8, &[], &[3]), small("u", DataType::Uint8, &[], &[zero])];
        several(13, &[N, 4], nodes, [vec![scalar("s", 0.5), scalar("t", scale)], zeros.to_vec()].concat())
    };
    assert_eq!(pair(0.5, 3), "taken as [4]");
    assert!(pair(0.25, 3).contains("with scale 0.25 and zero point 3, and it was made with scale 0.5 and zero point 3"));
    assert!(pair(0.5, 4).contains("both must be the same"));
    let narrow = |low: i32, high: i32| {
        let nodes = vec![
            node("QuantizeLinear", &["x", "s", "z"], "q"),
            node("Clip", &["q", "l", "h"], "c"),
            node("DequantizeLinear", &["c", "s", "z"], "y"),
        ];
        let bound = |name, value| small(name, DataType::Int8, &[], &[value]);
        let message =
            several(13, &[N, 4], [nodes, vec![]].concat(), vec![scalar("s", 0.5), bound("z", 0), bound("l", low), bound("h", high)]);
        message.lines().next().unwrap_or_default().to_string()
    };
    assert!(narrow(-8, 7).contains("the output \"y\" is the input"), "{}", narrow(-8, 7));
    assert!(narrow(-4, 3).contains("no format of 2, 4, 8 or 16 bits"));
    assert!(narrow(-7, 7).contains("no format of 2, 4, 8 or 16 bits"));
    assert!(narrow(5, -5).contains("no format of 2, 4, 8 or 16 bits"));
}

/// x (N x 4) times w (4 x 3), whose numbers are said to lie elsewhere.
fn elsewhere(entries: &[(&str, &str)]) -> Vec<u8> {
    let mut model = model();
    let entry = |(key, value): &(&str, &str)| StringStringEntryProto { key: Some((*key).into()), value: Some((*value).into()) };
    let tensor = &mut graph(&mut model).initializer[0];
    tensor.float_data.clear();
    tensor.data_location = Some(DataLocation::External as i32);
    tensor.external_data = entries.iter().map(entry).collect();
    model.encode_to_vec()
}

#[test]
fn tensors_beside_the_model_are_read_from_its_folder_and_from_nowhere_else() {
    let root = tempfile::tempdir().unwrap();
    let folder = root.path().join("model");
    fs::create_dir(&folder).unwrap();
    let numbers: Vec<u8> = (0..20_u8).flat_map(|i| f32::from(i).to_le_bytes()).collect();
    fs::write(folder.join("w.bin"), &numbers).unwrap();
    fs::write(root.path().join("secret"), &numbers).unwrap();
    let path = folder.join("m.onnx");
    let read = |entries: &[(&str, &str)]| import_bytes_beside(&elsewhere(entries), "m", &path).map_err(|error| error.to_string());

    fs::write(&path, elsewhere(&[("location", "w.bin"), ("offset", "16"), ("length", "48")])).unwrap();
    let network = import(&path).unwrap();
    let crate::network::Op::Dense(dense) = &network.layers().nth(1).unwrap().op else { panic!("a dense layer") };
    let crate::network::Weight::Float(weight) = &dense.weight else { panic!("floats") };
    assert_eq!(weight.iter().copied().collect::<Vec<_>>(), (4..16_u8).map(f32::from).collect::<Vec<_>>());

    let secret = root.path().join("secret");
    let absolute = secret.to_str().unwrap();
    for (entries, wanted) in [
        (&[("location", "../secret")][..], "is no path below the model's folder"),
        (&[("location", absolute)], "is no path below the model's folder"),
        (&[("location", "")], "is no path below the model's folder"),
        (&[], "is no path below the model's folder"),
        (&[("location", "w.bin\0")], "is no path below the model's folder"),
        (&[("location", ".")], "is no file below the model's folder"),
        (&[("location", "none.bin")], "is not there"),
        (&[("location", "w.bin"), ("offset", "40")], "has 80 bytes and 48 are wanted from 40 on"),
        (&[("location", "w.bin"), ("offset", "18446744073709551615")], "has 80 bytes"),
        (&[("location", "w.bin"), ("offset", "-1")], "has the offset \"-1\""),
        (&[("location", "w.bin"), ("length", "2147483648")], "is said to have 2147483648"),
    ] {
        let found = read(entries).unwrap_err();
        assert!(found.contains(wanted), "{entries:?}: {found}");
    }
    #[cfg(unix)]
    {
        std::os::unix::fs::symlink(&secret, folder.join("link.bin")).unwrap();
        assert!(read(&[("location", "link.bin")]).unwrap_err().contains("is no file below the model's folder"));
    }
}

/// Puts a number where a model has one: in a shape, a constant or an attribute.
fn put(model: &mut ModelProto, place: usize, number: i64) {
    let graph = graph(model);
    let mut places: Vec<&mut i64> = Vec::new();
    for tensor in &mut graph.initializer {
        places.extend(tensor.dims.iter_mut());
        places.extend(tensor.int64_data.iter_mut());
    }
    for node in &mut graph.node {
        for attribute in &mut node.attribute {
            places.extend(attribute.i.iter_mut());
            places.extend(attribute.ints.iter_mut());
        }
    }
    if !places.is_empty() {
        let place = place % places.len();
        *places[place] = number;
    }
}

fn number() -> impl Strategy<Value = i64> {
    prop_oneof![-3_i64..12, Just(i64::MIN), Just(i64::MAX), Just(1 << 31), Just(1 << 40), Just(-(1 << 40)), any::<i64>()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn goldens_with_other_bytes_never_panic(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
    ) {
        let mut bytes = which.get(&GOLDENS).1.clone();
        for (index, byte) in changes {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        survives(&bytes);
    }

    #[test]
    fn goldens_with_other_numbers_never_panic(
        which in any::<prop::sample::Index>(),
        changes in prop::collection::vec((any::<usize>(), number()), 1..3),
    ) {
        let mut model = ModelProto::decode(&which.get(&GOLDENS).1[..]).unwrap();
        for (place, number) in changes {
            put(&mut model, place, number);
        }
        survives(&model.encode_to_vec());
    }

    #[test]
    fn goldens_wired_otherwise_never_panic(
        which in any::<prop::sample::Index>(),
        swaps in prop::collection::vec((any::<prop::sample::Index>(), any::<prop::sample::Index>(), any::<usize>()), 1..3),
        rename in prop::option::of((any::<prop::sample::Index>(), any::<prop::sample::Index>())),
    ) {
        let mut model = ModelProto::decode(&which.get(&GOLDENS).1[..]).unwrap();
        let nodes = &mut graph(&mut model).node;
        for (from, to, slot) in swaps {
            let name = from.get(nodes).output[0].clone();
            let to = to.index(nodes.len());
            let inputs = &mut nodes[to].input;
            if !inputs.is_empty() {
                let slot = slot % inputs.len();
                inputs[slot] = name;
            }
        }
        if let Some((from, to)) = rename {
            let operator = from.get(nodes).op_type.clone();
            let to = to.index(nodes.len());
            nodes[to].op_type = operator;
        }
        survives(&model.encode_to_vec());
    }
}
