"""A network whose input is of uint8, with data and what onnxruntime makes of them: tests/golden/integer_input.

    python scripts/make_integer_input_golden.py

Needs numpy, onnx and onnxruntime. Weights are of 7 bits, since onnxruntime's kernels for AVX2 saturate beyond.
"""

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

FOLDER = Path(__file__).parent.parent / "tests/golden/integer_input"
CARD = """// A convolution of bytes, made by scripts/make_integer_input_golden.py: its samples are the integers that the file takes.
Model(
    format_version: 1,
    name: "integer-input",
    source: "own work",
    notes: [],
    network: "conv.onnx",
    preprocessing: (scale: Times(1.0), mean: 0.0, std: 1.0, layout: Flatten),
    task: Classification(classes: 72),
    metrics: [Accuracy],
    labels: [],
    data: [(name: "d", files: Npz("conv.npz"))],
    splits: (
        train: (data: "d", from: 0, until: 4),
        calibrate: (data: "d", from: 0, until: 4),
        select: (data: "d", from: 4, until: 6),
        report: (data: "d", from: 6, until: 8),
    ),
)
"""

rng = np.random.default_rng(5)
x = rng.integers(0, 256, (8, 3, 6, 8), dtype=np.uint8)
constants = {
    "x_scale": np.float32(0.03),
    "x_zero": np.uint8(117),
    "w": rng.integers(-60, 61, (3, 3, 3, 3)).astype(np.int8),
    "w_scale": np.float32(0.01),
    "w_zero": np.int8(0),
    "y_scale": np.float32(0.1),
    "y_zero": np.uint8(130),
}
node = helper.make_node("QLinearConv", ["x", "x_scale", "x_zero", "w", "w_scale", "w_zero", "y_scale", "y_zero"], ["y"], name="conv")
graph = helper.make_graph(
    [node],
    "conv",
    [helper.make_tensor_value_info("x", TensorProto.UINT8, ["N", 3, 6, 8])],
    [helper.make_tensor_value_info("y", TensorProto.UINT8, ["N", 3, 4, 6])],
    [numpy_helper.from_array(np.asarray(value), name) for name, value in constants.items()],
)
model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)])
model.ir_version = 8
onnx.checker.check_model(model)
FOLDER.mkdir(exist_ok=True)
onnx.save(model, FOLDER / "conv.onnx")
wanted = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"]).run(None, {"x": x})[0]
np.savez(FOLDER / "conv.npz", x=x, y=np.zeros(len(x), np.int64), wanted=wanted)
(FOLDER / "conv.ron").write_text(CARD)
