"""Makes tests/golden/integers: what onnxruntime computes for single operators on integers.

    pip install onnx onnxruntime numpy
    python scripts/make_integer_goldens.py

Each case is NAME.npz with all operands (`x`, `x_scale`, `x_zero`, `w`, ...), the attributes of convolutions, and onnxruntime's `y`. Weights
have 7 bits (reduce_range), since onnxruntime's kernel for u8 by s8 saturates in 16 bits on some machines. Sums of the *Integer operators stay
within 16 bits, so that a value can hold them. Run with onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6; seeds are fixed.
"""

import pathlib

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden" / "integers"
KINDS = {np.dtype(np.uint8): TensorProto.UINT8, np.dtype(np.int8): TensorProto.INT8, np.dtype(np.int32): TensorProto.INT32}


def run(operator, operands, fed, kind, **attributes):
    """One operator; `operands` are name and array in order, those in `fed` are inputs of the graph and the rest initializers."""
    inputs = [helper.make_tensor_value_info(name, KINDS[operands[name].dtype], operands[name].shape) for name in fed]
    graph = helper.make_graph(
        [helper.make_node(operator, list(operands), ["y"], **attributes)],
        operator,
        inputs,
        [helper.make_tensor_value_info("y", kind, [f"d{axis}" for axis in range(operands["x"].ndim)])],
        [numpy_helper.from_array(array, name) for name, array in operands.items() if name not in fed],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.checker.check_model(model)
    return onnxruntime.InferenceSession(model.SerializeToString()).run(None, {name: operands[name] for name in fed})[0]


def integers(rng, kind, shape, bits=8):
    info = np.iinfo(kind)
    low, high = (info.min, info.max) if bits == 8 else (-(1 << (bits - 1)), (1 << (bits - 1)) - 1)
    return rng.integers(low, high + 1, shape).astype(kind)


def zero(rng, kind):
    """A zero point near the middle, so that few outputs clamp."""
    return kind(rng.integers(100, 157) - (0 if kind is np.uint8 else 128))


def save(name, y, operands, **more):
    np.savez_compressed(FOLDER / f"{name}.npz", y=y, **operands, **more)
    values, counts = np.unique(y, return_counts=True)
    print(name, y.shape, y.dtype, f"{len(values)} values, {counts.max() / y.size:.0%} of one")


def conv(name, kind, image, filters, kernel, stride=1, pads=(0, 0, 0, 0), dilation=1, groups=1, channels=True, bias=True, seed=0):
    rng = np.random.default_rng(seed)
    w = integers(rng, np.int8, (filters, image[0] // groups, *kernel), bits=7)
    k = w[0].size
    scales = rng.uniform(0.003, 0.02, filters if channels else 1).astype(np.float32)
    x_scale = np.float32(rng.uniform(0.01, 0.1))
    operands = {
        "x": integers(rng, kind, (3, *image)),
        "x_scale": x_scale,
        "x_zero": zero(rng, kind),
        "w": w,
        "w_scale": scales if channels else scales[0],
        "w_zero": np.zeros(filters if channels else (), np.int8),
        "y_scale": np.float32(x_scale * 0.011 * 100 * 37 * np.sqrt(k) / 60),
        "y_zero": zero(rng, kind),
    }
    if bias:
        operands["b"] = rng.integers(-3000, 3000, filters).astype(np.int32)
    attributes = {"strides": [stride, stride], "pads": list(pads), "dilations": [dilation, dilation], "group": groups}
    operands = {key: np.array(value) for key, value in operands.items()}
    y = run("QLinearConv", operands, ["x"], KINDS[np.dtype(kind)], kernel_shape=list(kernel), **attributes)
    save(name, y, operands, stride=np.int32([stride] * 2), pads=np.int32(pads), dilation=np.int32([dilation] * 2), groups=np.int32([groups]))


def matmul(name, kind, left, right, fed, channels=False, seed=0):
    rng = np.random.default_rng(seed)
    scales = rng.uniform(0.003, 0.02, right[-1] if channels else 1).astype(np.float32)
    x_scale = np.float32(rng.uniform(0.01, 0.1))
    operands = {
        "x": integers(rng, kind, left),
        "x_scale": x_scale,
        "x_zero": zero(rng, kind),
        "w": integers(rng, np.int8, right, bits=7),
        "w_scale": scales if channels else scales[0],
        "w_zero": np.zeros(right[-1], np.int8) if channels else np.int8(-3),
        "y_scale": np.float32(x_scale * 0.011 * 100 * 37 * np.sqrt(left[-1]) / 60),
        "y_zero": zero(rng, kind),
    }
    operands = {key: np.array(value) for key, value in operands.items()}
    save(name, run("QLinearMatMul", operands, fed, KINDS[np.dtype(kind)]), operands)


def raw_sums():
    rng = np.random.default_rng(11)
    operands = {"x": integers(rng, np.uint8, (4, 9)), "w": integers(rng, np.int8, (9, 7), bits=7), "x_zero": np.array(131, np.uint8), "w_zero": np.array(-5, np.int8)}
    y = run("MatMulInteger", operands, ["x"], TensorProto.INT32)
    assert np.abs(y).max() < 1 << 15
    save("matmul_integer", y, operands)
    operands = {"x": integers(rng, np.uint8, (2, 3, 6, 5)), "w": integers(rng, np.int8, (4, 3, 2, 3), bits=6), "x_zero": np.array(120, np.uint8), "w_zero": np.array(0, np.int8)}
    y = run("ConvInteger", operands, ["x"], TensorProto.INT32, pads=[1, 0, 0, 2], strides=[2, 1])
    assert np.abs(y).max() < 1 << 15
    save("conv_integer", y, operands, stride=np.int32([2, 1]), pads=np.int32([1, 0, 0, 2]), dilation=np.int32([1, 1]), groups=np.int32([1]))


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    conv("conv_3x3", np.uint8, (3, 9, 8), 6, (3, 3), pads=(1, 1, 1, 1), seed=1)
    conv("conv_strided", np.int8, (4, 11, 10), 5, (3, 2), stride=2, pads=(1, 0, 2, 1), seed=2)
    conv("conv_dilated", np.uint8, (2, 12, 9), 7, (2, 3), dilation=2, pads=(0, 2, 1, 2), channels=False, seed=3)
    conv("conv_grouped", np.int8, (6, 7, 7), 8, (3, 3), groups=2, pads=(1, 1, 1, 1), bias=False, seed=4)
    conv("conv_depthwise", np.uint8, (8, 9, 9), 8, (3, 3), stride=2, groups=8, pads=(1, 1, 1, 1), seed=5)
    conv("conv_1x1", np.uint8, (32, 4, 4), 16, (1, 1), seed=6)
    matmul("dense", np.uint8, (6, 48), (48, 20), ["x"], seed=7)
    matmul("dense_channels", np.int8, (6, 33), (33, 10), ["x"], channels=True, seed=8)
    matmul("attention", np.int8, (3, 2, 5, 16), (3, 2, 16, 6), ["x", "w"], seed=9)
    raw_sums()


if __name__ == "__main__":
    main()
