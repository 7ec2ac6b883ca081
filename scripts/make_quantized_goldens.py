"""Makes whole quantized networks with every integer that onnxruntime holds on the way: tests/golden/quantized, and more where asked.

    pip install onnx onnxruntime numpy
    python scripts/make_quantized_goldens.py                      # tests/golden/quantized: models/lenet-mnist.onnx, and a small network of more operators
    python scripts/make_quantized_goldens.py FOLDER A.onnx ...    # the same of float networks elsewhere, into FOLDER

Each network is quantized by onnxruntime's quantize_static to NAME_qdq.onnx and NAME_qop.onnx: activations u8, weights s8 a channel and of 7
bits (reduce_range), since onnxruntime's kernel for u8 by s8 saturates in 16 bits on some machines. NAME_*.npz has the samples (`x`, seeded
normal numbers; images of MNIST where the network is of them) and, under the name of the node that computes it (of what a relu follows, that
node), each integer tensor, signed. onnxruntime runs with all its optimizations, one thread. `tests/quantized_models.rs` compares. Run with onnx
1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
"""

import gzip
import pathlib
import sys
import tempfile

import numpy as np
import onnx
import onnxruntime
from onnxruntime.quantization import CalibrationDataReader, QuantFormat, QuantType, quantize_static
from onnxruntime.quantization.shape_inference import quant_pre_process

ROOT = pathlib.Path(__file__).resolve().parent.parent
SAMPLES = 4
CALIBRATION = 16


class Samples(CalibrationDataReader):
    def __init__(self, name, samples):
        self.left = iter([{name: sample[None]} for sample in samples])

    def get_next(self):
        return next(self.left, None)


def mnist(count):
    with gzip.open(ROOT / "data" / "mnist" / "train-images-idx3-ubyte.gz") as file:
        raw = np.frombuffer(file.read(16 + count * 784)[16:], np.uint8)
    return raw.reshape(count, 1, 28, 28).astype(np.float32) / 255


def integers_of(model):
    """Quantized tensors by the name of the node that computes each."""
    nodes = {output: node for node in model.graph.node for output in node.output}
    found = {}
    for node in model.graph.node:
        if node.op_type == "QuantizeLinear":
            maker, tensor = nodes.get(node.input[0]), node.output[0]
        elif node.op_type.startswith("QLinear") or node.op_type == "QGemm":
            maker, tensor = node, node.output[0]
        else:
            continue
        while maker is not None and maker.op_type in ("Relu", "Clip") and maker.input[0] in nodes:
            maker = nodes[maker.input[0]]
        if maker is not None:
            found.setdefault(maker.name or maker.output[0], tensor)
    return found


def golden(path, samples):
    model = onnx.load(path)
    found = integers_of(model)
    kinds = {value.name: value.type.tensor_type.elem_type for value in onnx.shape_inference.infer_shapes(model).graph.value_info}
    kept = {output.name for output in model.graph.output}
    for tensor in found.values():
        if tensor not in kept:
            kind = kinds.get(tensor, onnx.TensorProto.UINT8)
            model.graph.output.append(onnx.helper.make_tensor_value_info(tensor, kind, None))
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])
    name = session.get_inputs()[0].name
    names = list(found)
    runs = [session.run([found[node] for node in names], {name: sample[None]}) for sample in samples]
    arrays = {}
    for place, node in enumerate(names):
        array = np.concatenate([run[place] for run in runs])
        arrays[node] = (array.astype(np.int16) - 128).astype(np.int8) if array.dtype == np.uint8 else array
    np.savez_compressed(path.with_suffix(".npz"), x=samples, **arrays)
    print(path.name, len(arrays), "tensors,", path.with_suffix(".npz").stat().st_size, "bytes")


def operators(path):
    """A float network of the operators that onnxruntime has quantized forms of its own for, beside those of LeNet-5."""
    rng = np.random.default_rng(21)
    nodes, initializers = [], []

    def op(operator, *inputs, **attributes):
        name = f"{operator.lower()}{len(nodes)}"
        nodes.append(onnx.helper.make_node(operator, list(inputs), [name], name=name, **attributes))
        return name

    def weight(*shape):
        name = f"w{len(initializers)}"
        values = rng.normal(0.0, 1.0 / np.sqrt(np.prod(shape[1:])), shape).astype(np.float32)
        initializers.append(onnx.numpy_helper.from_array(values, name))
        return name

    a = op("LeakyRelu", op("Conv", "x", weight(8, 3, 3, 3), weight(8), pads=[1, 1, 1, 1]), alpha=0.125)
    b = op("Sigmoid", op("Conv", "x", weight(6, 3, 1, 1), weight(6)))
    joined = op("Concat", a, b, axis=1)
    pooled = op("AveragePool", joined, kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1])
    halved = op("AveragePool", pooled, kernel_shape=[2, 2], strides=[1, 1])
    scores = op("Softmax", op("Conv", halved, weight(12, 14, 1, 1), weight(12)), axis=1)
    summed = op("Add", scores, op("Conv", halved, weight(12, 14, 1, 1), weight(12)))
    initializers.append(onnx.numpy_helper.from_array(np.array([0, -1], np.int64), "flat"))
    flat = op("Reshape", op("GlobalAveragePool", summed), "flat")
    nodes.append(onnx.helper.make_node("Gemm", [flat, weight(12, 5), weight(5)], ["y"], name="gemm"))
    graph = onnx.helper.make_graph(
        nodes,
        "operators",
        [onnx.helper.make_tensor_value_info("x", onnx.TensorProto.FLOAT, ["N", 3, 9, 10])],
        [onnx.helper.make_tensor_value_info("y", onnx.TensorProto.FLOAT, ["N", 5])],
        initializers,
    )
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 17)], ir_version=8), path)


def make(path, folder, excluded=("Softmax",)):
    shape = [axis.dim_value or 1 for axis in onnx.load(path, load_external_data=False).graph.input[0].type.tensor_type.shape.dim]
    count = CALIBRATION + SAMPLES if np.prod(shape) < 100_000 else 3
    if shape[-2:] == [28, 28]:
        samples = mnist(count).reshape(count, *shape[1:])
    else:
        samples = np.random.default_rng(0).normal(0, 1, (count, *shape[1:])).astype(np.float32)
    kept = samples[-SAMPLES:] if count > 3 else samples[-1:]
    with tempfile.TemporaryDirectory() as temporary:
        plain = pathlib.Path(temporary) / "plain.onnx"
        quant_pre_process(str(path), str(plain), skip_symbolic_shape=True)
        named = onnx.load(plain)
        for node in named.graph.node:
            node.name = node.name or node.output[0]
        onnx.save(named, plain)
        name = onnx.load(plain).graph.input[0].name
        for kind, form in (("qdq", QuantFormat.QDQ), ("qop", QuantFormat.QOperator)):
            to = folder / f"{path.stem.removesuffix('_f32').replace('-', '_')}_{kind}.onnx"
            quantize_static(
                str(plain),
                str(to),
                Samples(name, samples[: count - len(kept)]),
                quant_format=form,
                nodes_to_exclude=[node.name for node in onnx.load(plain).graph.node if node.op_type in excluded],
                per_channel=True,
                reduce_range=True,
                activation_type=QuantType.QUInt8,
                weight_type=QuantType.QInt8,
            )
            golden(to, kept)


if __name__ == "__main__":
    if len(sys.argv) > 1:
        folder = pathlib.Path(sys.argv[1])
        folder.mkdir(exist_ok=True)
        for path in sys.argv[2:]:
            make(pathlib.Path(path), folder)
    else:
        folder = ROOT / "tests" / "golden" / "quantized"
        folder.mkdir(exist_ok=True)
        make(ROOT / "models" / "lenet-mnist.onnx", folder)
        with tempfile.TemporaryDirectory() as temporary:
            path = pathlib.Path(temporary) / "operators.onnx"
            operators(path)
            make(path, folder, excluded=())
