#!/usr/bin/env python3
"""Does what `systole compress` and `systole train` write run in onnxruntime, and agree with the chip?

Compresses models, takes those that were trained, runs each written file on a simulated chip (`systole run --dump layers`: the chip's outputs equal the integer reference's, or the run
fails) and in onnxruntime, from the same inputs, and compares every tensor that has integers by name: at most 1 step apart. onnxruntime multiplies in
float32 and rounds once, the chip sums integers and multiplies by one scale, so that a number near the middle of two steps may fall either way, and what
reads it then starts from another number; so each layer is also run by itself, from the chip's own numbers. Models that were trained in float give onnxruntime
the logits that they give us, to 1e-4 of the greatest. Binary networks need QONNX's operators, which onnxruntime does not have.

    python3 scripts/check_onnx_export.py --systole target/release/systole

Needs numpy, onnx and onnxruntime. Exit code 1 where a tensor is further apart.
"""

import argparse
import json
import pathlib
import subprocess
import sys
import tempfile

import numpy
import onnx
import onnx.utils
import onnxruntime

CASES = [
    ("simplenet-mnist", ["--quant", "w8a8"]),
    ("simplenet-mnist", ["--quant", "w8a8", "--prune", "mean:1,global"]),
    ("simplenet-mnist", ["--quant", "w8a8", "--prune", "channel:0.25,l2"]),
    ("simplenet-mnist", ["--quant", "w16a16"]),
    ("simplenet-mnist", ["--quant", "w4a8,mse,bias"]),
    ("simplenet-mnist", ["--quant", "w4a4"]),
    ("simplenet-mnist", ["--quant", "w2a8"]),
    ("lenet-mnist", ["--quant", "w8a8"]),
    ("lenet-mnist", ["--quant", "w8a8", "--prune", "nm:2:4"]),
    ("lenet-mnist", ["--quant", "w8a8", "--prune", "channel:0.25", "--prune", "energy:0.9"]),
    ("lenet-mnist", ["--quant", "w8a8+w4a4@c2+w2a8@f1"]),
    ("lenet-mnist", ["--quant", "w4a8,wide", "--chip", "widen-16x16"]),
    ("simplenet-mnist", ["--quant", "mixed:w8a8/w4a8/w2a8,bytes,loss:0.01"]),
]
# Written by `systole train`: through a quantization, and in float.
TRAINED = ["simplenet-mnist-w4a4", "simplenet-mnist-w2a4", "lenet-mnist-w4a4", "lenet-mnist-w2a4"]
TRAINED_FLOAT = ["trained", "2of4", "90pruned"]


def run(command):
    """Runs a command, and shows what it said where it fails."""
    done = subprocess.run([str(word) for word in command], capture_output=True, text=True, check=False)
    if done.returncode != 0:
        sys.exit(f"{' '.join(str(word) for word in command)}\n{done.stderr}")
    return done.stdout


def session(model, level):
    """The model in onnxruntime, as it is written or with all that onnxruntime makes of it."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = level
    options.log_severity_level = 3
    return onnxruntime.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def integers(values, scale, zero_point, like):
    """Reals on a grid as the integers that stand for them."""
    steps = numpy.rint(values.astype(numpy.float64) / numpy.float64(scale)) + zero_point
    return steps.reshape(like.shape).astype(numpy.int64)


def apart(found, wanted):
    """How many elements are equal, of how many, and the greatest distance."""
    distance = numpy.abs(found - wanted)
    return int((distance == 0).sum()), distance.size, int(distance.max())


def by_itself(model, numbers, shapes, inputs, tensor, held):
    """What the layer that yields a tensor makes of the chip's own numbers."""
    makers = {output: node for node in model.graph.node for output in node.output}
    read, left = set(), list(makers[tensor].input)
    while left:
        value = left.pop()
        if value in held or value in inputs:
            read.add(value)
        elif value in makers:
            left.extend(makers[value].input)
    part = onnx.utils.Extractor(model).extract_model(sorted(read), [tensor])
    feeds = {}
    for value in read:
        if value in inputs:
            feeds[value] = inputs[value]
            continue
        steps = numbers[f"integer/{value}"].astype(numpy.int64) - int(numbers[f"zero_point/{value}"][0])
        reals = steps.astype(numpy.float32) * numpy.float32(numbers[f"scale/{value}"][0])
        feeds[value] = reals.reshape(shapes[value])
    return session(part, onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL).run([tensor], feeds)[0]


def check_float(systole, folder, name, samples):
    """How far the logits of a float model are from onnxruntime's, over the greatest of them."""
    run([systole, "run", "--model", name, "--samples", samples, "--dump", "layers", "--out", folder])
    numbers = numpy.load(folder / "layers.npz")
    model = onnx.load(f"models/{name}.onnx")
    onnx.checker.check_model(model, full_check=True)
    entry, last = model.graph.input[0].name, model.graph.output[0].name
    shape = [size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim][1:]
    inputs = {entry: numbers[f"float/{entry}"].reshape(-1, *shape).astype(numpy.float32)}
    logits = session(model, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL).run([last], inputs)[0]
    wanted = numbers[f"float/{last}"].reshape(logits.shape)
    far = float(numpy.abs(logits - wanted).max() / numpy.abs(wanted).max())
    print(f"{name}: {samples} samples, logits {far:.2e} of the greatest apart at most")
    return far


def check(systole, folder, name, options, samples):
    """Compares one model, compressed so where there are options; the greatest distance of any tensor, in the whole network and from the chip's own inputs."""
    target = folder / "compressed.onnx"
    if options:
        run([systole, "compress", "--model", name, *options, "--samples", samples, "--out", target])
    else:
        target = pathlib.Path("models") / f"{name}.onnx"
    results = folder / "results"
    dump = ["--dump", "layers", "--json", "--out", results]
    # Where a chip computes what is written, it runs what is read.
    chip = options[options.index("--chip") :][:2] if "--chip" in options else []
    summary = json.loads(run([systole, "run", "--model", target.with_suffix(".ron"), "--samples", samples, *chip, *dump]))
    assert summary["mismatches"] == 0
    numbers = numpy.load(results / "layers.npz")
    model = onnx.load(target)
    onnx.checker.check_model(model, full_check=True)
    entry = model.graph.input[0].name
    names = [key.removeprefix("integer/") for key in numbers.files if key.startswith("integer/")]
    made = {output for node in model.graph.node for output in node.output}
    held = [name for name in names if name in made]
    shape = [size.dim_value for size in model.graph.input[0].type.tensor_type.shape.dim][1:]
    whole = onnx.shape_inference.infer_shapes(model)
    inputs = {entry: numbers[f"float/{entry}"].reshape(-1, *shape).astype(numpy.float32)}
    # As it is written, every tensor.
    last = model.graph.output[0].name
    del model.graph.output[:]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in held)
    plain = session(model, onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL).run(held, inputs)
    shapes = {tensor: values.shape for tensor, values in zip(held, plain)}
    worst = alone = 0
    equal_of_all = elements_of_all = 0
    print(f"{name} {' '.join(options)}: {summary['samples']} samples, onnx {target.stat().st_size} bytes")
    for tensor, values in zip(held, plain):
        wanted = numbers[f"integer/{tensor}"].astype(numpy.int64)
        found = integers(values, numbers[f"scale/{tensor}"][0], numbers[f"zero_point/{tensor}"][0], wanted)
        equal, elements, most = apart(found, wanted)
        worst = max(worst, most)
        found = by_itself(whole, numbers, shapes, inputs, tensor, set(held))
        found = integers(found, numbers[f"scale/{tensor}"][0], numbers[f"zero_point/{tensor}"][0], wanted)
        same, _, by_one = apart(found, wanted)
        alone = max(alone, by_one)
        equal_of_all, elements_of_all = equal_of_all + equal, elements_of_all + elements
        print(f"  {tensor:<28}{elements:>9} elements, {equal / elements:9.4%} equal, {most} apart at most; by itself {same / elements:9.4%}, {by_one}")
    print(f"  {'all':<28}{elements_of_all:>9} elements, {equal_of_all / elements_of_all:9.4%} equal")
    # With all that onnxruntime makes of it, the logits: its integer kernels may have taken the place of float ones.
    logits = held[-1]
    del model.graph.output[:]
    model.graph.output.extend(onnx.helper.make_empty_tensor_value_info(name) for name in dict.fromkeys([logits, last]))
    values = session(model, onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL).run([logits], inputs)[0]
    wanted = numbers[f"integer/{logits}"].astype(numpy.int64)
    found = integers(values, numbers[f"scale/{logits}"][0], numbers[f"zero_point/{logits}"][0], wanted)
    equal, elements, most = apart(found, wanted)
    print(f"  optimized, {logits:<17}{elements:>9} elements, {equal / elements:9.4%} equal, {most} apart at most")
    return max(worst, most), alone


def main():
    """Checks all cases."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--systole", default="target/release/systole", help="the program")
    parser.add_argument("--samples", type=int, default=1000, help="samples of each model's report split")
    arguments = parser.parse_args()
    found = []
    for name, options in CASES + [(name, []) for name in TRAINED]:
        with tempfile.TemporaryDirectory() as folder:
            found.append(check(arguments.systole, pathlib.Path(folder), name, options, arguments.samples))
    worst, alone = (max(distances) for distances in zip(*found))
    print(f"at most {worst} apart, and {alone} where each layer reads the chip's own numbers")
    far = 0.0
    for name in (f"{network}-mnist-{kind}" for network in ("simplenet", "lenet") for kind in TRAINED_FLOAT):
        with tempfile.TemporaryDirectory() as folder:
            far = max(far, check_float(arguments.systole, pathlib.Path(folder), name, arguments.samples))
    sys.exit(0 if worst <= 1 and far <= 1e-4 else 1)


if __name__ == "__main__":
    main()
