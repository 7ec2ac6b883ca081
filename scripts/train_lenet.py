"""Trains models/lenet-mnist.onnx: a CNN of LeNet-5's class on MNIST, with numpy alone.

Conv 5x5x6 (padding 2), ReLU, max pool 2, conv 5x5x16, ReLU, max pool 2, dense 120, 84 and 10 with ReLU between: LeNet-5 (LeCun, Bottou,
Bengio, Haffner, Proceedings of the IEEE 86(11), 1998, section II.B) with today's activations, full connections in its second convolution and
logits in place of its radial basis functions. Pixels are 0..1.

Trained on the first 50,000 training images, each shifted at random by up to 2 pixels each way, by Adam with a learning rate that falls along
a cosine. The last 10,000 training images choose the epoch that is kept. The test images are looked at once, at the end, and choose nothing.

    OPENBLAS_NUM_THREADS=1 python3 scripts/train_lenet.py --out models/lenet-mnist.onnx

Needs numpy and onnx; a seed gives the same network on the same machine and numpy. About ten minutes on one core.
"""

import argparse
import gzip
import os
import time

os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")

import numpy as np  # noqa: E402
import onnx  # noqa: E402
from onnx import TensorProto, helper, numpy_helper  # noqa: E402
from numpy.lib.stride_tricks import sliding_window_view  # noqa: E402

TRAIN = 50_000
BATCH = 100
SHIFT = 2


def read(folder, part):
    """Images as (n, 1, 28, 28) in 0..1 and labels, of `train` or `t10k`."""
    with gzip.open(os.path.join(folder, f"{part}-images-idx3-ubyte.gz")) as file:
        images = np.frombuffer(file.read(), np.uint8, offset=16).reshape(-1, 1, 28, 28)
    with gzip.open(os.path.join(folder, f"{part}-labels-idx1-ubyte.gz")) as file:
        labels = np.frombuffer(file.read(), np.uint8, offset=8)
    return images.astype(np.float32) / np.float32(255), labels.astype(np.int64)


class Conv:
    """A convolution with stride 1, as a product of its windows with its filters, and a ReLU behind it."""

    def __init__(self, rng, filters, channels, size, pad):
        bound = np.sqrt(2 / (channels * size * size))
        self.w = rng.normal(0, bound, (filters, channels, size, size)).astype(np.float32)
        self.b = np.zeros(filters, np.float32)
        self.size, self.pad = size, pad

    def forward(self, x):
        x = np.pad(x, ((0, 0), (0, 0), (self.pad,) * 2, (self.pad,) * 2))
        self.shape = x.shape
        windows = sliding_window_view(x, (self.size, self.size), axis=(2, 3))
        n, c, p, q = windows.shape[:4]
        self.windows = np.ascontiguousarray(windows.transpose(0, 2, 3, 1, 4, 5)).reshape(n * p * q, -1)
        y = np.maximum(self.windows @ self.w.reshape(len(self.b), -1).T + self.b, 0)
        self.y = y
        return y.reshape(n, p, q, -1).transpose(0, 3, 1, 2)

    def backward(self, gradient):
        n, f, p, q = gradient.shape
        flat = np.ascontiguousarray(gradient.transpose(0, 2, 3, 1)).reshape(-1, f) * (self.y > 0)
        self.dw = (flat.T @ self.windows).reshape(self.w.shape)
        self.db = flat.sum(0)
        if self.shape[1] == 1:
            return None  # the image: nobody wants its gradient
        columns = (flat @ self.w.reshape(f, -1)).reshape(n, p, q, self.shape[1], self.size, self.size)
        dx = np.zeros(self.shape, np.float32)
        for r in range(self.size):
            for s in range(self.size):
                dx[:, :, r : r + p, s : s + q] += columns[:, :, :, :, r, s].transpose(0, 3, 1, 2)
        return dx[:, :, self.pad : dx.shape[2] - self.pad, self.pad : dx.shape[3] - self.pad]


class Pool:
    """A maximum over 2 x 2 pixels. The gradient goes to every pixel that has it, shared."""

    def forward(self, x):
        n, c, h, w = x.shape
        x = x.reshape(n, c, h // 2, 2, w // 2, 2)
        y = x.max(axis=(3, 5))
        self.is_max = x == y[:, :, :, None, :, None]
        self.is_max = self.is_max / self.is_max.sum(axis=(3, 5), keepdims=True, dtype=np.float32)
        return y

    def backward(self, gradient):
        n, c, h, w = gradient.shape
        return (self.is_max * gradient[:, :, :, None, :, None]).reshape(n, c, h * 2, w * 2)


class Dense:
    """A dense layer, with a ReLU behind it unless it is the last."""

    def __init__(self, rng, inputs, outputs, relu):
        self.w = rng.normal(0, np.sqrt(2 / inputs), (inputs, outputs)).astype(np.float32)
        self.b = np.zeros(outputs, np.float32)
        self.relu = relu

    def forward(self, x):
        self.shape = x.shape
        self.x = x.reshape(len(x), -1)
        y = self.x @ self.w + self.b
        self.y = np.maximum(y, 0) if self.relu else y
        return self.y

    def backward(self, gradient):
        if self.relu:
            gradient = gradient * (self.y > 0)
        self.dw, self.db = self.x.T @ gradient, gradient.sum(0)
        return (gradient @ self.w.T).reshape(self.shape)


class Adam:
    """Adam (Kingma, Ba, ICLR 2015, algorithm 1) over the layers that have weights, with decay of the weights beside it."""

    def __init__(self, layers, decay):
        self.layers, self.decay, self.step = layers, decay, 0
        self.moments = [[np.zeros_like(x) for x in (l.w, l.w, l.b, l.b)] for l in layers]

    def update(self, rate):
        self.step += 1
        rate_now = rate * np.sqrt(1 - 0.999**self.step) / (1 - 0.9**self.step)
        for layer, (mw, vw, mb, vb) in zip(self.layers, self.moments):
            for value, gradient, m, v in ((layer.w, layer.dw, mw, vw), (layer.b, layer.db, mb, vb)):
                m += 0.1 * (gradient - m)
                v += 0.001 * (gradient * gradient - v)
                value -= (rate_now * m / (np.sqrt(v) + 1e-8)).astype(np.float32)
            layer.w -= np.float32(rate * self.decay) * layer.w


def shifted(rng, images):
    """Each image moved by up to SHIFT pixels each way, black where it came from."""
    padded = np.pad(images, ((0, 0), (0, 0), (SHIFT,) * 2, (SHIFT,) * 2))
    windows = sliding_window_view(padded, (28, 28), axis=(2, 3))
    down, right = rng.integers(0, 2 * SHIFT + 1, (2, len(images)))
    return windows[np.arange(len(images)), :, down, right]


def logits(net, images):
    answers = []
    for start in range(0, len(images), 500):
        x = images[start : start + 500]
        for layer in net:
            x = layer.forward(x)
        answers.append(x)
    return np.concatenate(answers)


def accuracy(net, images, labels):
    return float((logits(net, images).argmax(1) == labels).mean())


def export(net, path, note):
    c1, _, c2, _, f1, f2, f3 = net
    nodes, weights = [], []

    def weight(name, value):
        weights.append(numpy_helper.from_array(np.ascontiguousarray(value, np.float32), name))
        return name

    x = "image"
    for name, layer in (("c1", c1), ("c2", c2)):
        pads = [layer.pad] * 4
        nodes.append(
            helper.make_node(
                "Conv",
                [x, weight(f"{name}.weight", layer.w), weight(f"{name}.bias", layer.b)],
                [name],
                name,
                kernel_shape=[layer.size] * 2,
                pads=pads,
                strides=[1, 1],
            )
        )
        nodes.append(helper.make_node("Relu", [name], [f"{name}.relu"], f"{name}.relu"))
        x = f"{name}.pool"
        nodes.append(helper.make_node("MaxPool", [f"{name}.relu"], [x], x, kernel_shape=[2, 2], strides=[2, 2]))
    nodes.append(helper.make_node("Flatten", [x], ["flat"], "flat", axis=1))
    x = "flat"
    for name, layer in (("f1", f1), ("f2", f2), ("logits", f3)):
        nodes.append(helper.make_node("Gemm", [x, weight(f"{name}.weight", layer.w.T), weight(f"{name}.bias", layer.b)], [name], name, transB=1))
        x = name
        if layer.relu:
            x = f"{name}.relu"
            nodes.append(helper.make_node("Relu", [name], [x], x))
    graph = helper.make_graph(
        nodes,
        "lenet-mnist",
        [helper.make_tensor_value_info("image", TensorProto.FLOAT, ["N", 1, 28, 28])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["N", 10])],
        weights,
    )
    model = helper.make_model(graph, producer_name="systole scripts/train_lenet.py", opset_imports=[helper.make_opsetid("", 13)], doc_string=note)
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", default="data/mnist")
    parser.add_argument("--out", default="models/lenet-mnist.onnx")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--epochs", type=int, default=24)
    parser.add_argument("--rate", type=float, default=0.002)
    parser.add_argument("--decay", type=float, default=0.01)
    args = parser.parse_args()

    rng = np.random.default_rng(args.seed)
    images, labels = read(args.data, "train")
    train, select = (images[:TRAIN], labels[:TRAIN]), (images[TRAIN:], labels[TRAIN:])
    net = [Conv(rng, 6, 1, 5, 2), Pool(), Conv(rng, 16, 6, 5, 0), Pool(), Dense(rng, 400, 120, True), Dense(rng, 120, 84, True), Dense(rng, 84, 10, False)]
    layers = [layer for layer in net if hasattr(layer, "w")]
    adam = Adam(layers, args.decay)
    steps = TRAIN // BATCH
    best, kept = -1.0, None
    for epoch in range(args.epochs):
        start, order = time.monotonic(), rng.permutation(TRAIN)
        for step in range(steps):
            chosen = order[step * BATCH : (step + 1) * BATCH]
            x, y = shifted(rng, train[0][chosen]), train[1][chosen]
            for layer in net:
                x = layer.forward(x)
            x = np.exp(x - x.max(1, keepdims=True))
            gradient = x / x.sum(1, keepdims=True)
            gradient[np.arange(BATCH), y] -= 1
            gradient /= BATCH
            for layer in reversed(net):
                gradient = layer.backward(gradient)
            done = (epoch * steps + step) / (args.epochs * steps)
            adam.update(args.rate * (1 + np.cos(np.pi * done)) / 2)
        figure = accuracy(net, *select)
        print(f"epoch {epoch + 1:2}  select {figure:.4f}  {time.monotonic() - start:.0f} s", flush=True)
        if figure > best:
            best, kept = figure, [(layer.w.copy(), layer.b.copy()) for layer in layers]
    for layer, (w, b) in zip(layers, kept):
        layer.w, layer.b = w, b
    test = accuracy(net, *read(args.data, "t10k"))
    print(f"kept: select {best:.4f}  test {test:.4f}")
    export(net, args.out, f"LeNet-5-class CNN on MNIST; seed {args.seed}, {args.epochs} epochs; {test:.2%} of the 10,000 test images")


if __name__ == "__main__":
    main()
