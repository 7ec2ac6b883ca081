"""Makes the small networks in tests/golden/onnx with what onnxruntime computes for them.

    pip install onnx onnxruntime numpy
    python scripts/make_onnx_goldens.py

Every operator and every form of it that the importer takes is in one of them at least. Each case is NAME.onnx and NAME.npz, which
holds `x` (inputs) and `y` (onnxruntime's outputs). Run with onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6; seeds are fixed.
"""

import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden" / "onnx"
SAMPLES = 5


def weights(rng, *shape):
    return rng.normal(0.0, 1.0 / np.sqrt(shape[0]), shape).astype(np.float32)


def raw(name, array):
    return numpy_helper.from_array(np.ascontiguousarray(array), name)


def listed(name, array):
    """The same tensor as a list of numbers instead of raw bytes."""
    kind = TensorProto.FLOAT if array.dtype == np.float32 else TensorProto.INT64
    return helper.make_tensor(name, kind, array.shape, array.flatten().tolist())


def save(name, nodes, initializers, shape, out_shape, opset, batch="N"):
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, [batch, *shape])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, [batch, *out_shape])],
        initializers,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=min(8, 3 + opset // 3))
    onnx.checker.check_model(model)
    rng = np.random.default_rng(len(name))
    x = rng.normal(0.0, 1.0, (batch if isinstance(batch, int) else SAMPLES, *shape)).astype(np.float32)
    y = onnxruntime.InferenceSession(model.SerializeToString()).run(None, {"x": x})[0]
    onnx.save(model, FOLDER / f"{name}.onnx")
    np.savez_compressed(FOLDER / f"{name}.npz", x=x, y=y)
    print(name, x.shape, y.shape)


def gemm_chain(opset):
    """Gemm as trainers write it: alpha and beta, both layouts of B, C as a row, a matrix of one row, a scalar, and left out."""
    rng = np.random.default_rng(opset)
    nodes = [
        helper.make_node("Gemm", ["x", "w1", "b1"], ["h1"], name="fc1", alpha=0.5, beta=2.0),
        helper.make_node("Relu", ["h1"], ["a1"], name="relu1"),
        helper.make_node("Gemm", ["a1", "w2", "b2"], ["h2"], name="fc2", transB=1),
        helper.make_node("Relu", ["h2"], ["a2"]),
        helper.make_node("Gemm", ["a2", "w3", "b3"], ["h3"], transA=0, transB=1, alpha=-1.25),
        helper.make_node("Softmax", ["h3"], ["y"], axis=-1 if opset >= 11 else 1),
    ]
    initializers = [
        raw("w1", weights(rng, 20, 24)),
        raw("b1", weights(rng, 24)),
        listed("w2", weights(rng, 16, 24)),
        listed("b2", weights(rng, 1, 16)),
        raw("w3", weights(rng, 7, 16)),
        raw("b3", np.array(0.25, np.float32)),
    ]
    save(f"gemm_opset{opset}", nodes, initializers, [20], [7], opset)


def matmul_chain(opset):
    """MatMul with its bias on either side, a Constant node, an Identity, an image that is flattened."""
    rng = np.random.default_rng(opset + 100)
    bias = numpy_helper.from_array(weights(rng, 12), "")
    nodes = [
        helper.make_node("Flatten", ["x"], ["flat"], axis=1),
        helper.make_node("MatMul", ["flat", "w1"], ["m1"], name="dense1"),
        helper.make_node("Constant", [], ["b1"], value=bias),
        helper.make_node("Add", ["b1", "m1"], ["h1"], name="bias1"),
        helper.make_node("Identity", ["h1"], ["i1"]),
        helper.make_node("Relu", ["i1"], ["a1"]),
        helper.make_node("MatMul", ["a1", "w2"], ["m2"], name="dense2"),
        helper.make_node("Add", ["m2", "b2"], ["y"]),
    ]
    initializers = [raw("w1", weights(rng, 24, 12)), raw("w2", weights(rng, 12, 6)), raw("b2", weights(rng, 1, 6))]
    save(f"matmul_opset{opset}", nodes, initializers, [2, 4, 3], [6], opset)


def residual():
    """Two computed values added, a constant added to one that others read too, and no bias at all."""
    rng = np.random.default_rng(3)
    nodes = [
        helper.make_node("MatMul", ["x", "w1"], ["m1"], name="first"),
        helper.make_node("Add", ["m1", "c1"], ["shifted"], name="shift"),
        helper.make_node("Relu", ["shifted"], ["a1"], name="act"),
        helper.make_node("Gemm", ["a1", "w2"], ["h2"], name="second"),
        helper.make_node("Add", ["h2", "m1"], ["sum"], name="join"),
        helper.make_node("Add", ["half", "sum"], ["moved"], name="offset"),
        helper.make_node("Softmax", ["moved"], ["y"], name="probabilities"),
    ]
    initializers = [raw("w1", weights(rng, 10, 10)), raw("c1", weights(rng, 10)), raw("w2", weights(rng, 10, 10)), listed("half", np.array([0.5], np.float32))]
    save("residual", nodes, initializers, [10], [10], 17)


def shapes():
    """Reshape in each of its forms, dense layers over rows, a constant that broadcasts over two axes, softmax on the last of three."""
    rng = np.random.default_rng(4)
    nodes = [
        helper.make_node("Reshape", ["x", "s1"], ["r1"], name="rows"),
        helper.make_node("MatMul", ["r1", "w1"], ["m1"], name="dense_rows"),
        helper.make_node("Add", ["m1", "b1"], ["h1"], name="bias_rows"),
        helper.make_node("Add", ["h1", "column"], ["h2"], name="column_shift"),
        helper.make_node("Reshape", ["h2", "s2"], ["r2"], name="copy_axis"),
        helper.make_node("Softmax", ["r2"], ["p"], axis=2, name="softmax_rows"),
        helper.make_node("Constant", [], ["s3"], value_ints=[-1, 20]),
        helper.make_node("Reshape", ["p", "s3"], ["y"], name="flat"),
    ]
    initializers = [
        raw("s1", np.array([0, 4, -1], np.int64)),
        raw("w1", weights(rng, 6, 5)),
        raw("b1", weights(rng, 5)),
        raw("column", weights(rng, 1, 4, 1)),
        listed("s2", np.array([-1, 4, 0], np.int64)),
    ]
    save("shapes", nodes, initializers, [24], [20], 21)


def old_softmax():
    """Softmax before opset 13 with the axis before the last, where the axes between are 1; a batch fixed at 3."""
    rng = np.random.default_rng(5)
    nodes = [
        helper.make_node("Reshape", ["x", "s1"], ["r1"]),
        helper.make_node("Softmax", ["r1"], ["p"]),
        helper.make_node("Flatten", ["p"], ["f"], axis=2),
        helper.make_node("Gemm", ["f", "w1", "b1"], ["y"], name="fc"),
    ]
    initializers = [raw("s1", np.array([3, 1, 8], np.int64)), raw("w1", weights(rng, 8, 4)), raw("b1", weights(rng, 4))]
    save("old_softmax", nodes, initializers, [8], [4], 9, batch=3)


FOLDER.mkdir(parents=True, exist_ok=True)
for version in (7, 9, 11, 13, 21):
    gemm_chain(version)
    matmul_chain(version)
residual()
shapes()
old_softmax()
