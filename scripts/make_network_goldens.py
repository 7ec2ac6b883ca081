"""Makes the networks in tests/golden/networks with what onnxruntime computes for them.

    pip install onnx onnxruntime numpy
    python scripts/make_network_goldens.py [FOLDER WITH MODELS OF OTHERS]

Together they use every operator that the importer takes. Each case is NAME.onnx (and NAME.bin, where its tensors lie beside it) and
NAME.npz, which holds `x` (inputs) and `y` (outputs), both as reals: integers are dequantized, names are numbers. onnxruntime runs with
its graph optimizations off, so that it computes what the file says. QONNX's operators are no part of onnxruntime: such a case is run with
the standard operators that their definition gives. Quantized weights have seven bits, since onnxruntime's AVX2 kernel saturates with eight.
Given a folder, only goldens of its models are made, 4 seeded inputs each. Run with onnx 1.23.2, onnxruntime 1.32.0, numpy 2.4.6.
"""

import pathlib
import sys

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

FOLDER = pathlib.Path(__file__).resolve().parent.parent / "tests" / "golden" / "networks"
EXTRA = FOLDER.parent / "extra"
SAMPLES = 3
FLOAT, UINT8, INT8, INT64 = TensorProto.FLOAT, TensorProto.UINT8, TensorProto.INT8, TensorProto.INT64
QONNX = "qonnx.custom_op.general"
MICROSOFT = "com.microsoft"


def run(model, x, name="x"):
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    source = str(model) if isinstance(model, pathlib.Path) else model.SerializeToString()
    return onnxruntime.InferenceSession(source, options, providers=["CPUExecutionProvider"]).run(None, {name: x})[0]


class Case:
    """A network under way: nodes and initializers, each value named as it is made."""

    def __init__(self, name, opset, seed):
        self.name, self.opset = name, opset
        self.rng = np.random.default_rng(seed)
        self.nodes, self.initializers, self.count = [], [], 0

    def fresh(self, stem):
        self.count += 1
        return f"{stem}_{self.count}"

    def op(self, operator, *inputs, outputs=1, domain="", **attributes):
        """A node; arrays among its inputs become initializers."""
        names = [self.const(value) if isinstance(value, (np.ndarray, np.generic)) else value for value in inputs]
        made = [self.fresh(operator.lower()) for _ in range(outputs)]
        self.nodes.append(helper.make_node(operator, names, made, name=self.fresh(f"node_{operator}"), domain=domain, **attributes))
        return made[0] if outputs == 1 else made

    def const(self, array):
        name = self.fresh("c")
        self.initializers.append(numpy_helper.from_array(np.ascontiguousarray(array).reshape(np.shape(array)), name))
        return name

    def normal(self, *shape, scale=None):
        fan = np.prod(shape[1:]) if len(shape) > 2 else shape[0] if shape else 1
        return self.rng.normal(0.0, scale if scale is not None else 1.0 / np.sqrt(fan), shape).astype(np.float32)

    def model(self, output, shape, x_type=FLOAT, y_type=FLOAT, batch="N", out_shape=None, swap=None):
        nodes = [n for node in self.nodes for n in (swap(node) if swap else [node])]
        nodes.append(helper.make_node("Identity", [output], ["y"], name="out"))
        x = helper.make_tensor_value_info("x", x_type, [batch, *shape])
        y = helper.make_tensor_value_info("y", y_type, None if out_shape is None else [batch, *out_shape])
        graph = helper.make_graph(nodes, self.name, [x], [y], self.initializers)
        domains = {node.domain for node in nodes} - {""}
        opsets = [helper.make_opsetid("", self.opset)] + [helper.make_opsetid(domain, 1) for domain in sorted(domains)]
        return helper.make_model(graph, opset_imports=opsets, ir_version=min(10, 3 + self.opset // 3))

    def save(self, output, shape, x=None, x_real=None, y_real=None, external=False, swap=None, **kinds):
        """Writes the case. `x` is what the file takes, `x_real` and `y_real` make reals of integers."""
        model = self.model(output, shape, **kinds)
        if x is None:
            x = self.rng.normal(0.0, 1.0, (SAMPLES, *shape)).astype(np.float32)
        path = FOLDER / f"{self.name}.onnx"
        if external:
            onnx.save(model, path, save_as_external_data=True, location=f"{self.name}.bin", size_threshold=64)
        else:
            onnx.save(model, path)
        runs = self.model(output, shape, swap=swap, **kinds)
        # One sample at a time: a network is a function of one.
        y = np.concatenate([np.asarray(run(runs, x[i : i + 1]))[None] for i in range(len(x))])
        x, y = (x_real or (lambda x: x))(x), (y_real or (lambda y: y))(y)
        np.savez_compressed(FOLDER / f"{self.name}.npz", x=x.astype(np.float32), y=y.reshape(len(x), -1).astype(np.float32))
        print(self.name, x.shape, y.shape, float(np.abs(y).max()))

    # Pieces that several cases share.

    def conv(self, x, cin, cout, *kernel, bias=True, group=1, **attributes):
        weight = self.normal(cout, cin // group, *kernel)
        return self.op("Conv", x, weight, *([self.normal(cout, scale=0.1)] if bias else []), group=group, **attributes)

    def batch_norm(self, x, channels):
        numbers = [self.rng.uniform(0.5, 1.5, channels), self.normal(channels, scale=0.2), self.normal(channels, scale=0.2)]
        variance = self.rng.uniform(0.5, 2.0, channels)
        return self.op("BatchNormalization", x, *(n.astype(np.float32) for n in [*numbers, variance]), epsilon=1e-3)

    def written_out_norm(self, x, size):
        """Layer normalisation as torch exports it below opset 17."""
        mean = self.op("ReduceMean", x, axes=[-1])
        centred = self.op("Sub", x, mean)
        variance = self.op("ReduceMean", self.op("Pow", centred, np.float32(2.0)), axes=[-1])
        normal = self.op("Div", centred, self.op("Sqrt", self.op("Add", variance, np.float32(1e-5))))
        scaled = self.op("Mul", normal, self.rng.uniform(0.5, 1.5, size).astype(np.float32))
        return self.op("Add", scaled, self.normal(size, scale=0.2))


def cnn():
    """Convolutions with and without bias, batch normalisation, strides, dilation, relu6, pools with sizes rounded up."""
    c = Case("cnn", 13, 1)
    h = c.op("Relu", c.batch_norm(c.conv("x", 3, 8, 3, 3, bias=False, pads=[1, 1, 1, 1]), 8))
    h = c.op("MaxPool", h, kernel_shape=[3, 3], strides=[2, 2], ceil_mode=1)
    h = c.op("Clip", c.batch_norm(c.conv(h, 8, 12, 3, 2, dilations=[2, 1], pads=[2, 0, 2, 1]), 12), np.float32(0.0), np.float32(6.0))
    h = c.op("AveragePool", h, kernel_shape=[2, 3], strides=[2, 1], pads=[1, 1, 0, 1], ceil_mode=1)
    h = c.batch_norm(h, 12)
    top = c.op("GlobalMaxPool", h)
    h = c.op("Add", c.op("GlobalAveragePool", h), top)
    h = c.op("Gemm", c.op("Flatten", h), c.normal(5, 12), c.normal(5), transB=1)
    c.save(c.op("Softmax", h), [3, 13, 11], out_shape=[5])


def old_cnn():
    """Opset 7: attributes where newer ones have inputs."""
    c = Case("old_cnn", 7, 2)
    h = c.op("LeakyRelu", c.batch_norm(c.conv("x", 2, 6, 4, 3, auto_pad="SAME_LOWER", strides=[2, 1]), 6), alpha=0.2)
    h = c.op("Pad", h, mode="constant", pads=[0, 0, 1, 0, 0, 0, 0, 2], value=0.5)
    h = c.op("AveragePool", h, kernel_shape=[3, 3], pads=[1, 1, 1, 1], strides=[2, 2], count_include_pad=1)
    h = c.op("Clip", h, min=-0.5, max=0.75)
    h = c.op("Dropout", h, ratio=0.5)
    h = c.op("Slice", h, axes=[2, 3], starts=[0, -3], ends=[1, 1000])
    h = c.op("Squeeze", h, axes=[2])
    h = c.op("Unsqueeze", h, axes=[1])
    first, second = c.op("Split", h, outputs=2, axis=2, split=[2, 4])
    h = c.op("Concat", second, first, axis=2)
    c.save(c.op("Softmax", h, axis=2), [2, 9, 8])


def mobile():
    """Depthwise and grouped convolutions, squeeze and excite, HardSwish in three spellings, residuals, every automatic padding."""
    c = Case("mobile", 14, 3)
    h = c.op("HardSwish", c.conv("x", 3, 8, 3, 3, strides=[2, 2], auto_pad="SAME_UPPER"))
    d = c.conv(h, 8, 8, 5, 5, group=8, pads=[2, 2, 2, 2])
    d = c.op("Mul", d, c.op("HardSigmoid", d, alpha=1.0 / 6.0, beta=0.5))
    s = c.op("Relu", c.conv(c.op("ReduceMean", d, axes=[2, 3], keepdims=1), 8, 4, 1, 1))
    d = c.op("Mul", d, c.op("HardSigmoid", c.conv(s, 4, 8, 1, 1)))
    h = c.op("Add", h, c.conv(d, 8, 8, 1, 1))
    h = c.conv(h, 8, 16, 3, 3, group=4, auto_pad="VALID", strides=[1, 2])
    gate = c.op("Clip", c.op("Add", h, np.float32(3.0)), np.float32(0.0), np.float32(6.0))
    h = c.op("Mul", h, c.op("Div", gate, np.float32(6.0)))
    h = c.op("PRelu", c.conv(h, 16, 32, 1, 1), c.normal(32, 1, 1))
    c.save(c.op("Flatten", c.op("GlobalAveragePool", h)), [3, 16, 14])


def sequence():
    """Convolutions and pools of sequences, one with dilation and groups, splits and joins."""
    c = Case("sequence", 13, 4)
    h = c.op("Tanh", c.conv("x", 4, 12, 5, pads=[2, 2], strides=[2]))
    a, b, d = c.op("Split", h, np.array([4, 4, 4], np.int64), outputs=3, axis=1)
    a = c.conv(a, 4, 4, 3, dilations=[2], pads=[4, 0], group=2)
    b = c.op("Sigmoid", c.batch_norm(c.conv(b, 4, 4, 3, auto_pad="SAME_UPPER"), 4))
    h = c.op("Concat", a, c.op("Mul", b, d), axis=1)
    h = c.op("MaxPool", h, kernel_shape=[3], strides=[2], pads=[1, 1])
    h = c.op("AveragePool", h, kernel_shape=[2], strides=[1])
    h = c.op("PRelu", h, c.normal(8, 1))
    h = c.op("Transpose", h, perm=[0, 2, 1])
    h = c.op("MatMul", h, c.normal(8, 6))
    h = c.op("Slice", h, np.array([-1, 1], np.int64), np.array([-100, 6], np.int64), np.array([1, 2], np.int64), np.array([-2, 2], np.int64))
    c.save(c.op("ReduceMean", h, axes=[1], keepdims=0), [4, 30])


def heads(c, q, k, v, count, shape):
    """Attention of `count` heads over batch x tokens x features, shapes computed as exporters do."""
    split = []
    for value, perm in ((q, [0, 2, 1, 3]), (k, [0, 2, 3, 1]), (v, [0, 2, 1, 3])):
        split.append(c.op("Transpose", c.op("Reshape", value, shape), perm=perm))
    scores = c.op("Div", c.op("MatMul", split[0], split[1]), np.float32(np.sqrt(4.0)))
    mixed = c.op("MatMul", c.op("Softmax", scores, axis=-1), split[2])
    return c.op("Transpose", mixed, perm=[0, 2, 1, 3])


def encoder():
    """A transformer encoder over words: embedding, attention, LayerNormalization, Gelu; shapes computed from the input's."""
    c = Case("encoder", 20, 5)
    tokens, size = 7, 12
    h = c.op("Gather", c.normal(30, size, scale=1.0), "x")
    h = c.op("Add", h, c.normal(1, tokens, size, scale=0.5))
    h = c.op("LayerNormalization", h, c.rng.uniform(0.5, 1.5, size).astype(np.float32), c.normal(size), axis=-1)
    sizes = c.op("Shape", h)
    batch = c.op("Unsqueeze", c.op("Gather", sizes, np.array(0, np.int64)), np.array([0], np.int64))
    length = c.op("Slice", sizes, np.array([1], np.int64), np.array([2], np.int64))
    four = c.op("Div", c.op("Cast", c.op("Cast", np.array([12], np.int64), to=FLOAT), to=INT64), np.array([3], np.int64))
    shape = c.op("Concat", batch, length, np.array([3], np.int64), four, axis=0)
    q, k, v = (c.op("Add", c.op("MatMul", h, c.normal(size, size)), c.normal(size, scale=0.1)) for _ in range(3))
    mixed = c.op("Reshape", heads(c, q, k, v, 3, shape), c.op("Concat", batch, length, np.array([-1], np.int64), axis=0))
    h = c.op("Add", h, c.op("MatMul", mixed, c.normal(size, size)))
    h = c.op("LayerNormalization", h, c.rng.uniform(0.5, 1.5, size).astype(np.float32), axis=2, epsilon=1e-6)
    f = c.op("Gelu", c.op("Add", c.op("MatMul", h, c.normal(size, 20)), c.normal(20)))
    f = c.op("Gelu", c.op("MatMul", f, c.normal(20, size)), approximate="tanh")
    h = c.op("Add", h, f)
    first = c.op("Gather", h, np.array(0, np.int64), axis=1)
    logits = c.op("Gemm", c.op("Gelu", first, domain=MICROSOFT), c.normal(size, 4), c.normal(4))
    x = c.rng.integers(0, 30, (SAMPLES, tokens))
    c.save(logits, [tokens], x=x, x_type=INT64, out_shape=[4])


def torch_attention():
    """Attention as torch writes it: tokens first, heads beside the batch; layer normalisation and GELU written out."""
    c = Case("torch_attention", 13, 6)
    tokens, size, count = 5, 8, 2
    t = c.op("Transpose", "x", perm=[1, 0, 2])
    qkv = c.op("Add", c.op("MatMul", t, c.normal(size, 3 * size)), c.normal(3 * size, scale=0.1))
    q, k, v = c.op("Split", qkv, outputs=3, axis=2)
    q = c.op("Mul", q, np.float32(0.5))
    shape = np.array([tokens, count, size // count], np.int64)
    q, k, v = (c.op("Transpose", c.op("Reshape", value, shape), perm=[1, 0, 2]) for value in (q, k, v))
    scores = c.op("Softmax", c.op("MatMul", q, c.op("Transpose", k, perm=[0, 2, 1])), axis=-1)
    mixed = c.op("Transpose", c.op("MatMul", scores, v), perm=[1, 0, 2])
    mixed = c.op("Gemm", c.op("Reshape", mixed, np.array([tokens, size], np.int64)), c.normal(size, size), c.normal(size), transB=1)
    mixed = c.op("Transpose", c.op("Reshape", mixed, np.array([tokens, 1, size], np.int64)), perm=[1, 0, 2])
    h = c.written_out_norm(c.op("Add", "x", mixed), size)
    f = c.op("Add", c.op("MatMul", h, c.normal(size, 16)), c.normal(16))
    erf = c.op("Erf", c.op("Div", f, np.float32(np.sqrt(2.0))))
    f = c.op("Mul", c.op("Mul", f, c.op("Add", erf, np.float32(1.0))), np.float32(0.5))
    f = c.op("MatMul", f, c.normal(16, size))
    cube = c.op("Mul", c.op("Pow", f, np.float32(3.0)), np.float32(0.044715))
    tanh = c.op("Tanh", c.op("Mul", c.op("Add", f, cube), np.float32(np.sqrt(2.0 / np.pi))))
    f = c.op("Mul", c.op("Mul", f, np.float32(0.5)), c.op("Add", tanh, np.float32(1.0)))
    c.save(c.written_out_norm(c.op("Add", h, f), size), [tokens, size], batch=1)


def vision():
    """A vision transformer's ends: patches by a convolution, a class token that is expanded and joined, the first token read."""
    c = Case("vision", 17, 7)
    size = 10
    h = c.conv("x", 3, size, 4, 4, strides=[4, 4])
    h = c.op("Transpose", c.op("Reshape", h, np.array([0, size, -1], np.int64)), perm=[0, 2, 1])
    batch = c.op("Shape", h, start=0, end=1)
    shape = c.op("Concat", batch, np.array([1, size], np.int64), axis=0)
    h = c.op("Concat", c.op("Expand", c.normal(1, 1, size), shape), h, axis=1)
    places = c.op("Range", np.array(0, np.int64), np.array(7, np.int64), np.array(1, np.int64))
    table = c.op("Gather", c.normal(9, size, scale=0.5), places)
    h = c.op("Add", h, c.op("Unsqueeze", table, np.array([0], np.int64)))
    h = c.op("LayerNormalization", h, np.ones(size, np.float32))
    # Tokens are mixed by a constant from the left, heads by a stack of constants from the right.
    h = c.op("MatMul", c.normal(7, 7), h)
    h = c.op("MatMul", c.op("Transpose", c.op("Reshape", h, np.array([0, 7, 2, 5], np.int64)), perm=[0, 2, 1, 3]), c.normal(1, 2, 5, 3))
    h = c.op("Reshape", c.op("Transpose", h, perm=[0, 2, 1, 3]), np.array([-1, 7, 6], np.int64))
    first = c.op("Squeeze", c.op("Slice", h, np.array([0], np.int64), np.array([1], np.int64), np.array([1], np.int64)), np.array([1], np.int64))
    c.save(c.op("MatMul", first, c.normal(6, 4)), [3, 8, 12], out_shape=[4])


def arithmetic():
    """Two values and constants on either side with broadcasting, functions of one element, arithmetic on constants."""
    c = Case("arithmetic", 13, 8)
    row = c.op("ReduceMean", "x", axes=[3])
    column = c.op("ReduceMean", "x", axes=[1, 2], keepdims=0)
    h = c.op("Sub", c.op("Mul", "x", row), c.op("Unsqueeze", column, np.array([1], np.int64)))
    h = c.op("Div", h, c.op("Add", c.op("Exp", row), np.float32(1.0)))
    h = c.op("Sub", c.normal(3, 1, 1), h)
    h = c.op("Div", c.normal(1, 5), c.op("Add", c.op("Pow", h, np.float32(2.0)), np.float32(1.5)))
    h = c.op("Add", h, c.op("Neg", c.op("Erf", "x")))
    h = c.op("Mul", h, c.op("Sqrt", c.op("Reciprocal", c.op("Add", c.op("Sigmoid", "x"), np.float32(0.5)))))
    h = c.op("Clip", h, np.float32(-1.0))
    filled = c.op("ConstantOfShape", np.array([2], np.int64), value=helper.make_tensor("v", INT64, [1], [3]))
    chosen = c.op("Where", c.op("Equal", filled, np.array([3, 4], np.int64)), np.array([4, 5], np.int64), np.array([1, 5], np.int64))
    mask = c.op("Where", np.array([[True, False, True, True, False]]), np.float32(0.5), np.float32(-0.25))
    h = c.op("Add", h, c.op("Expand", mask, chosen))
    c.save(c.op("Add", h, c.op("Tanh", c.op("Mul", h, c.normal(4, 5)))), [3, 4, 5], out_shape=[3, 4, 5])


def nhwc():
    """What is left of a network that had its channels last: transpositions at the edges and between, borders before convolutions."""
    c = Case("nhwc", 13, 9)
    h = c.op("Pad", c.op("Transpose", "x", perm=[0, 3, 1, 2]), np.array([0, 0, 1, 0, 0, 0, 2, 1], np.int64))
    h = c.op("Transpose", c.conv(h, 3, 6, 3, 3, strides=[2, 2]), perm=[0, 2, 3, 1])
    h = c.op("Clip", c.op("Add", h, np.float32(0.25)), np.float32(0.0), np.float32(6.0))
    h = c.conv(c.op("Transpose", h, perm=[0, 3, 1, 2]), 6, 6, 1, 1, bias=False)
    h = c.op("Transpose", c.op("Add", h, c.normal(1, 6, 1, 1)), perm=[0, 2, 3, 1])
    h = c.op("Reshape", c.op("Relu", h), np.array([-1, 6 * 4 * 4], np.int64))
    c.save(c.op("Add", c.op("MatMul", h, c.normal(96, 5)), c.normal(5)), [7, 8, 3], out_shape=[5])


def movements():
    """Every movement of data in the newest forms, with negative steps, uneven splits, named axes."""
    c = Case("movements", 18, 10)
    h = c.op("Unsqueeze", "x", np.array([1, -1], np.int64))
    h = c.op("Pad", h, np.array([1, 0, 2, 1], np.int64), np.float32(-0.5), np.array([2, 3], np.int64))
    h = c.op("Squeeze", h, np.array([-1], np.int64))
    a, b, d = c.op("Split", h, outputs=3, axis=2, num_outputs=3)
    h = c.op("Concat", b, c.op("Identity", a), c.op("Slice", d, np.array([-1], np.int64), np.array([-9], np.int64), np.array([2], np.int64), np.array([-1], np.int64)), axis=2)
    h = c.op("Flatten", h, axis=2)
    h = c.op("Reshape", h, np.array([1, 4, 2, -1], np.int64), allowzero=0)
    h = c.op("Transpose", h)
    h = c.op("Gather", h, np.array([[3, 1]], np.int64), axis=0)
    h = c.op("ReduceMean", c.op("Cast", h, to=FLOAT), np.array([-1], np.int64), keepdims=0)
    h = c.op("Dropout", h, np.float32(0.5), np.array(False))
    c.save(h, [5, 6], batch=1)


def scale_of(low, high, levels=255):
    return np.float32((high - low) / levels)


class Quantized(Case):
    """Quantized networks: activations uint8 per tensor, weights int8 of seven bits per channel, biases int32."""

    def pair(self, x, low=-3.0, high=3.0, kind=np.uint8):
        """QuantizeLinear and DequantizeLinear of an activation."""
        info = np.iinfo(kind)
        scale = scale_of(low, high, int(info.max) - int(info.min))
        zero = np.array(round(info.min - low / scale)).astype(kind)
        return self.op("DequantizeLinear", self.op("QuantizeLinear", x, scale, zero), scale, zero), scale

    def weights(self, *shape, axis=0):
        """Integers of seven bits and their scales, one a channel."""
        real = self.normal(*shape)
        other = tuple(i for i in range(len(shape)) if i != axis)
        scale = (np.abs(real).max(axis=other, keepdims=True) / 63.0).astype(np.float32)
        return np.clip(np.round(real / scale), -64, 63).astype(np.int8), scale.reshape(-1)

    def weight_pair(self, *shape, axis=0):
        values, scales = self.weights(*shape, axis=axis)
        return self.op("DequantizeLinear", values, scales, np.zeros(len(scales), np.int8), axis=axis), scales

    def bias_pair(self, channels, step):
        steps = np.round(self.normal(channels, scale=0.2) / step).astype(np.int32)
        return self.op("DequantizeLinear", steps, step.astype(np.float32), np.zeros(channels, np.int32), axis=0)


def qdq():
    """A residual network in QuantizeLinear and DequantizeLinear pairs."""
    c = Quantized("qdq", 13, 11)
    x, scale = c.pair("x")
    weight, scales = c.weight_pair(8, 3, 3, 3)
    h, scale = c.pair(c.op("Relu", c.op("Conv", x, weight, c.bias_pair(8, scale * scales), pads=[1, 1, 1, 1])), 0.0, 3.0)
    weight, scales = c.weight_pair(8, 1, 3, 3)
    d, _ = c.pair(c.op("Conv", h, weight, c.bias_pair(8, scale * scales), pads=[1, 1, 1, 1], group=8))
    h, _ = c.pair(c.op("Add", h, d))
    h, scale = c.pair(c.op("MaxPool", h, kernel_shape=[2, 2], strides=[2, 2]))
    h, scale = c.pair(c.op("GlobalAveragePool", h), -1.0, 1.5)
    h = c.op("Reshape", h, np.array([-1, 8], np.int64))
    weight, scales = c.weight_pair(8, 10, axis=1)
    h, _ = c.pair(c.op("Add", c.op("MatMul", h, weight), c.bias_pair(10, scale * scales)), -2.0, 2.0)
    weight, _ = c.weight_pair(4, 10)
    c.save(c.op("Gemm", h, weight, c.normal(4, scale=0.1), transB=1), [3, 8, 8], out_shape=[4])


def narrow():
    """Formats of opset 21: int4 and uint4 weights, int16 activations, uint4 activations."""
    c = Quantized("narrow", 21, 12)
    x, _ = c.pair("x", kind=np.int16)

    def four_bits(kind, zero, *shape):
        low, high = (-8, 7) if kind == TensorProto.INT4 else (0, 15)
        values = c.rng.integers(low, high + 1, shape).flatten().tolist()
        names = c.fresh("w4"), c.fresh("z4")
        c.initializers.append(helper.make_tensor(names[0], kind, shape, values))
        c.initializers.append(helper.make_tensor(names[1], kind, [], [zero]))
        return c.op("DequantizeLinear", names[0], np.float32(0.06), names[1])

    h = c.op("Relu", c.op("MatMul", x, four_bits(TensorProto.INT4, 0, 9, 7)))
    zero = c.fresh("zero")
    c.initializers.append(helper.make_tensor(zero, TensorProto.UINT4, [], [2]))
    h = c.op("DequantizeLinear", c.op("QuantizeLinear", h, np.float32(0.21), zero), np.float32(0.21), zero)
    h = c.op("MatMul", h, four_bits(TensorProto.UINT4, 7, 7, 5))
    step, zero = np.float32(0.07), np.uint16(30000)
    h = c.op("DequantizeLinear", c.op("QuantizeLinear", h, step, zero, domain=MICROSOFT), step, zero, domain=MICROSOFT)
    c.save(h, [9], out_shape=[5])


def qlinear():
    """QLinearConv, QLinearAdd, QLinearMul, QLinearMatMul of constants and of two values, on the input's own integers."""
    c = Quantized("qlinear", 13, 13)
    sx, zx = np.float32(1.0 / 32.0), np.uint8(120)
    # Scales of no simple ratios: no result lies halfway between two steps, where float and integer arithmetic may round apart.
    s1, z1 = np.float32(0.0411), np.uint8(100)
    w, ws = c.weights(6, 2, 3, 3)
    bias = np.round(c.normal(6, scale=0.2) / (sx * ws)).astype(np.int32)
    h = c.op("QLinearConv", "x", sx, zx, w, ws, np.zeros(6, np.int8), s1, z1, bias, pads=[1, 1, 1, 1], strides=[2, 1])
    g = c.op("QLinearConv", "x", sx, zx, w[:, :, :1, :1], ws, np.zeros(6, np.int8), np.float32(0.0523), np.uint8(128), strides=[2, 1])
    s2, z2 = np.float32(0.0617), np.uint8(130)
    h = c.op("QLinearAdd", h, s1, z1, g, np.float32(0.0523), np.uint8(128), s2, z2, domain=MICROSOFT)
    h = c.op("QLinearMul", h, s2, z2, c.rng.integers(0, 256, (6, 1, 1)).astype(np.uint8), np.float32(0.0103), np.uint8(9), s2, z2, domain=MICROSOFT)
    sp = np.float32(0.0317)
    pooled = c.op("QLinearGlobalAveragePool", h, s2, z2, sp, np.uint8(128), domain=MICROSOFT)
    h = c.op("Reshape", c.op("MaxPool", h, kernel_shape=[2, 2], strides=[2, 2]), np.array([0, 6, -1], np.int64))
    back = c.op("Transpose", h, perm=[0, 2, 1])
    h = c.op("QLinearMatMul", h, s2, z2, back, s2, z2, np.float32(0.5), np.uint8(64))
    uw = c.rng.integers(60, 187, (6, 5)).astype(np.uint8)
    h = c.op("QLinearMatMul", h, np.float32(0.5), np.uint8(64), uw, np.float32(0.005), np.uint8(121), np.float32(0.4), np.uint8(128))
    gw, gs = c.weights(5, 6)
    flat = c.op("Flatten", pooled)
    p = c.op("QGemm", flat, sp, np.uint8(128), gw, gs, np.zeros(5, np.int8), np.arange(5, dtype=np.int32), np.float32(0.02), np.uint8(128), transB=1, domain=MICROSOFT)
    h = c.op("DequantizeLinear", h, np.float32(0.4), np.uint8(128))
    h = c.op("Add", h, c.op("Unsqueeze", c.op("DequantizeLinear", p, np.float32(0.02), np.uint8(128)), np.array([1], np.int64)))
    x = c.rng.integers(0, 256, (SAMPLES, 2, 8, 6)).astype(np.uint8)
    c.save(h, [2, 8, 6], x=x, x_type=UINT8, x_real=lambda x: (x.astype(np.float32) - 120) / 32)


def integer_products():
    """MatMulInteger and ConvInteger behind QuantizeLinear, with the float layers that make reals of their sums."""
    c = Quantized("integer_products", 13, 14)
    scale, zero = np.float32(0.03), np.uint8(131)
    q = c.op("QuantizeLinear", "x", scale, zero)
    w, ws = c.weights(5, 2, 3, 3)
    h = c.op("Cast", c.op("ConvInteger", q, w, zero, pads=[1, 1, 1, 1]), to=FLOAT)
    h = c.op("Relu", c.op("Mul", h, (scale * ws).reshape(5, 1, 1)))
    h = c.op("Flatten", c.op("AveragePool", h, kernel_shape=[2, 2], strides=[2, 2]))
    q = c.op("QuantizeLinear", h, np.float32(0.01), np.uint8(0))
    uw = c.rng.integers(64, 192, (45, 4)).astype(np.uint8)
    h = c.op("Cast", c.op("MatMulInteger", q, uw, np.uint8(0), np.uint8(127)), to=FLOAT)
    c.save(c.op("Mul", h, np.float32(2e-5)), [2, 6, 6], out_shape=[4])


def brevitas():
    """Brevitas's QCDQ: a Clip between QuantizeLinear and DequantizeLinear says how many bits there are."""
    c = Quantized("brevitas", 13, 15)

    def activation(x, scale, kind, low, high):
        scale, zero = np.float32(scale), np.zeros((), kind)
        clipped = c.op("Clip", c.op("QuantizeLinear", x, scale, zero), np.array(low, kind), np.array(high, kind))
        return c.op("DequantizeLinear", clipped, scale, zero)

    def weight(low, high, *shape):
        values = c.rng.integers(low, high + 1, shape).astype(np.int8)
        scales = c.rng.uniform(0.02, 0.06, shape[0]).astype(np.float32)
        clipped = c.op("Clip", values, np.array(low, np.int8), np.array(high, np.int8))
        return c.op("DequantizeLinear", clipped, scales, np.zeros(shape[0], np.int8), axis=0)

    h = activation("x", 0.4, np.int8, -8, 7)
    h = c.op("Relu", c.op("Conv", h, weight(-7, 7, 6, 2, 3, 3), c.normal(6, scale=0.1)))
    h = activation(h, 0.08, np.uint8, 0, 15)
    h = c.op("Gemm", c.op("Flatten", h), weight(-1, 1, 5, 6 * 9), transB=1)
    c.save(activation(h, 0.05, np.int8, -2, 1), [2, 5, 5], out_shape=[5])


def narrow_mobile():
    """A whole network of 4 and 2 bits in QCDQ form, as Brevitas writes them: depthwise filters, a residual, a pool, a product of two values."""
    c = Quantized("narrow_mobile", 13, 18)

    def activation(x, scale, low, high):
        kind = np.uint8 if low == 0 else np.int8
        scale, zero = np.float32(scale), np.zeros((), kind)
        clipped = c.op("Clip", c.op("QuantizeLinear", x, scale, zero), np.array(low, kind), np.array(high, kind))
        return c.op("DequantizeLinear", clipped, scale, zero)

    def weight(low, high, scale, *shape):
        values = c.rng.integers(low, high + 1, shape).astype(np.int8)
        clipped = c.op("Clip", values, np.array(low, np.int8), np.array(high, np.int8))
        return c.op("DequantizeLinear", clipped, np.float32(scale), np.zeros((), np.int8))

    x, scale = c.pair("x")
    h = activation(c.op("Relu", c.op("Conv", x, weight(-7, 7, 0.041, 6, 3, 3, 3), c.normal(6, scale=0.1), pads=[1, 1, 1, 1])), 0.113, 0, 15)
    d = activation(c.op("Relu", c.op("Conv", h, weight(-7, 7, 0.057, 6, 1, 3, 3), c.normal(6, scale=0.1), pads=[1, 1, 1, 1], group=6)), 0.091, 0, 15)
    h = activation(c.op("Relu", c.op("Add", h, d)), 0.127, 0, 15)
    h = activation(c.op("Conv", h, weight(-8, 7, 0.037, 8, 6, 1, 1)), 0.213, -8, 7)
    h = activation(c.op("AveragePool", h, kernel_shape=[2, 2], strides=[2, 2]), 0.191, -8, 7)
    rows = c.op("Reshape", h, np.array([0, 8, -1], np.int64))
    scores = activation(c.op("MatMul", c.op("Transpose", rows, perm=[0, 2, 1]), rows), 0.47, -8, 7)
    h = activation(c.op("MatMul", rows, scores), 0.93, -8, 7)
    y = c.op("Gemm", c.op("Flatten", h), weight(-1, 1, 0.033, 5, 8 * 9), transB=1)
    c.save(c.pair(y, -0.8, 0.8)[0], [3, 6, 6], out_shape=[5])


def qlinear_functions():
    """The quantized operators of onnxruntime's own beside those of `qlinear`: pools, functions, a softmax, a concatenation of several scales."""
    c = Quantized("qlinear_functions", 13, 19)
    sx, zx = np.float32(0.0273), np.uint8(117)

    def op(operator, x, before, after, **attributes):
        return c.op(operator, x, *before, *after, domain=MICROSOFT, **attributes), after

    grid = lambda scale, zero: (np.float32(scale), np.uint8(zero))
    w, ws = c.weights(3, 2, 1, 1)
    of_h = grid(0.0277, 121)
    h = c.op("QLinearConv", "x", sx, zx, w, ws, np.zeros(3, np.int8), *of_h)
    a, of_a = op("QLinearLeakyRelu", h, of_h, grid(0.0191, 61), alpha=0.21)
    b, of_b = op("QLinearSigmoid", h, of_h, grid(1.0 / 251.0, 0))
    joined = c.op("QLinearConcat", *grid(0.0203, 97), a, *of_a, b, *of_b, "x", sx, zx, domain=MICROSOFT, axis=1)
    h, held = op("QLinearAveragePool", joined, grid(0.0203, 97), grid(0.0157, 103), kernel_shape=[3, 2], strides=[2, 1], pads=[1, 0, 1, 0], count_include_pad=0)
    p, of_p = op("QLinearSoftmax", h, held, grid(1.0 / 256.0, 0), axis=-1, opset=13)
    p = c.op("QLinearMul", p, *of_p, h, *held, *grid(0.0061, 120), domain=MICROSOFT)
    m, of_m = op("QLinearGlobalAveragePool", p, grid(0.0061, 120), grid(0.0027, 128))
    y = c.op("DequantizeLinear", c.op("Flatten", m), *of_m)
    x = c.rng.integers(0, 256, (SAMPLES, 2, 7, 6)).astype(np.uint8)
    c.save(y, [2, 7, 6], x=x, x_type=UINT8, x_real=lambda x: (x.astype(np.float32) - 117) * sx)


def qonnx():
    """QONNX's Quant and BipolarQuant, of weights and of activations."""
    c = Case("qonnx", 13, 16)

    def quant(x, scale, bits, signed=1, narrow=0):
        return c.op("Quant", x, np.asarray(scale, np.float32), np.float32(0.0), np.float32(bits), domain=QONNX, signed=signed, narrow=narrow, rounding_mode="ROUND")

    def swap(node):
        """The definition of these operators in standard ones."""
        if node.domain != QONNX:
            return [node]
        x, scale = node.input[0], node.input[1]
        step = lambda i: f"{node.output[0]}_{i}"
        value = lambda name, number: helper.make_node("Constant", [], [name], value_float=float(number))
        if node.op_type == "BipolarQuant":
            parts = [value(step(0), 0.0), helper.make_node("Less", [x, step(0)], [step(1)]), helper.make_node("Neg", [scale], [step(2)])]
            return [*parts, helper.make_node("Where", [step(1), step(2), scale], [node.output[0]])]
        given = {attribute.name: attribute.i for attribute in node.attribute}
        signed, narrow = given["signed"], given["narrow"]
        bits = int(next(numpy_helper.to_array(t) for t in c.initializers if t.name == node.input[3]))
        low = (-(2 ** (bits - 1)) + narrow) if signed else 0
        high = 2 ** (bits - 1) - 1 if signed else 2**bits - 1 - narrow
        return [
            helper.make_node("Div", [x, scale], [step(0)]),
            helper.make_node("Add", [step(0), node.input[2]], [step(1)]),
            value(step(2), low),
            value(step(3), high),
            helper.make_node("Clip", [step(1), step(2), step(3)], [step(4)]),
            helper.make_node("Round", [step(4)], [step(5)]),
            helper.make_node("Sub", [step(5), node.input[2]], [step(6)]),
            helper.make_node("Mul", [step(6), scale], [node.output[0]]),
        ]

    h = quant("x", 1.0 / 32.0, 8)
    weight = quant(c.normal(6, 2, 3, 3), c.rng.uniform(0.05, 0.1, (6, 1, 1, 1)), 4, narrow=1)
    h = quant(c.op("Relu", c.op("Conv", h, weight)), 0.1, 4, signed=0)
    weight = c.op("BipolarQuant", c.normal(4, 6, 1, 1), np.float32(0.25), domain=QONNX)
    h = c.op("BipolarQuant", c.op("Conv", h, weight), np.float32(1.0), domain=QONNX)
    weight = quant(c.normal(36, 3), 0.1, 2)
    c.save(c.op("MatMul", c.op("Flatten", h), weight), [2, 5, 5], out_shape=[3], swap=swap)


def external():
    """Tensors that lie in a file beside the model."""
    c = Case("external", 13, 17)
    h = c.op("Relu", c.conv("x", 2, 4, 3, 3))
    c.save(c.op("Gemm", c.op("Flatten", h), c.normal(36, 6), c.normal(6)), [2, 5, 5], out_shape=[6], external=True)


def others(folder):
    """Goldens of models that are no part of the project: 4 seeded inputs each."""
    EXTRA.mkdir(parents=True, exist_ok=True)
    for name, high in (("mnist-8", 255.0), ("resnet8_cifar10_f32", 255.0), ("dscnn_kws_f32", 1.0), ("autoencoder_ad01_f32", 1.0)):
        path = pathlib.Path(folder) / f"{name}.onnx"
        given = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"]).get_inputs()[0]
        rng = np.random.default_rng(len(name))
        x = rng.uniform(0.0, high, (4, *given.shape[1:])).astype(np.float32)
        y = np.concatenate([run(path, x[i : i + 1], given.name) for i in range(len(x))])
        np.savez_compressed(EXTRA / f"{name}.npz", x=x.reshape(len(x), -1), y=y.reshape(len(x), -1))
        print(name, x.shape, y.shape)


if len(sys.argv) > 1:
    others(sys.argv[1])
else:
    FOLDER.mkdir(parents=True, exist_ok=True)
    for case in (cnn, old_cnn, mobile, sequence, encoder, torch_attention, vision, arithmetic, nhwc, movements):
        case()
    for case in (qdq, narrow, qlinear, integer_products, brevitas, narrow_mobile, qlinear_functions, qonnx, external):
        case()
