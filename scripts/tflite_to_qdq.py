"""Turns an int8 .tflite file into QDQ ONNX with the same integers.

    pip install tflite numpy onnx
    python scripts/tflite_to_qdq.py MODEL.tflite MODEL.onnx

Every tensor of the file that is computed gets a QuantizeLinear and a DequantizeLinear with its scale and zero point, weights and biases a
DequantizeLinear from their integers. Images become N x C x H x W; the input image too. The value behind tensor i of
the file is called `t<i>`. Written with tflite 2.18.0 and onnx 1.23.2. Known operators: CONV_2D, DEPTHWISE_CONV_2D, FULLY_CONNECTED, ADD,
AVERAGE_POOL_2D, MAX_POOL_2D, RESHAPE, SOFTMAX; a fused relu or relu6 becomes an operator between the sum and its QuantizeLinear.
"""

import pathlib
import sys

import numpy as np
import onnx
import tflite
from onnx import TensorProto, helper, numpy_helper

TYPES = {tflite.TensorType.INT8: np.int8, tflite.TensorType.INT32: np.int32, tflite.TensorType.FLOAT32: np.float32}
NAMES = {code: name for name, code in vars(tflite.BuiltinOperator).items() if isinstance(code, int)}


class Converter:
    def __init__(self, path):
        self.model = tflite.Model.GetRootAs(path.read_bytes(), 0)
        self.graph = self.model.Subgraphs(0)
        self.nodes, self.initializers = [], []

    def add(self, kind, inputs, output, **attributes):
        self.nodes.append(helper.make_node(kind, inputs, [output], name=output, **attributes))
        return output

    def constant(self, name, array):
        self.initializers.append(numpy_helper.from_array(np.array(array, order="C"), name))
        return name

    def shape(self, index):
        tensor = self.graph.Tensors(index)
        return [int(size) for size in tensor.ShapeAsNumpy()] if tensor.ShapeLength() else []

    def grid(self, index):
        quantization = self.graph.Tensors(index).Quantization()
        return quantization.ScaleAsNumpy().astype(np.float32), quantization.ZeroPointAsNumpy()

    def data(self, index):
        tensor = self.graph.Tensors(index)
        kind = np.dtype(TYPES[tensor.Type()]).newbyteorder("<")
        return self.model.Buffers(tensor.Buffer()).DataAsNumpy().view(kind).astype(kind.newbyteorder("=")).reshape(self.shape(index))

    def weights(self, index, array, axis):
        """Constant integers and their DequantizeLinear; scales a channel lie along `axis`."""
        scales, zeros = self.grid(index)
        zeros = zeros.astype(array.dtype)
        per_tensor = len(scales) == 1
        names = [
            self.constant(f"c{index}", array),
            self.constant(f"c{index}_scale", scales[0] if per_tensor else scales),
            self.constant(f"c{index}_zero", zeros[0] if per_tensor else zeros),
        ]
        return self.add("DequantizeLinear", names, f"c{index}_real", **({} if per_tensor else {"axis": axis}))

    def quantized(self, index, real):
        """A computed value on the grid of tensor `index`."""
        (scale,), (zero,) = self.grid(index)
        names = [self.constant(f"t{index}_scale", scale), self.constant(f"t{index}_zero", np.int8(zero))]
        self.add("QuantizeLinear", [real, *names], f"t{index}_integers")
        return self.add("DequantizeLinear", [f"t{index}_integers", *names], f"t{index}")

    def options(self, operator, kind):
        options = kind()
        options.Init(operator.BuiltinOptions().Bytes, operator.BuiltinOptions().Pos)
        return options

    def activated(self, options, real, output):
        activation = options.FusedActivationFunction()
        if activation == tflite.ActivationFunctionType.NONE:
            return real
        if activation == tflite.ActivationFunctionType.RELU:
            return self.add("Relu", [real], f"t{output}_relu")
        if activation == tflite.ActivationFunctionType.RELU6:
            low, high = self.constant(f"t{output}_low", np.float32(0)), self.constant(f"t{output}_high", np.float32(6))
            return self.add("Clip", [real, low, high], f"t{output}_relu6")
        raise SystemExit(f"tensor {output}: fused activation {activation} is not known")

    def window(self, options, image, output, kernel, dilation=(1, 1)):
        """Strides and TFLite's padding, of which the larger half is behind."""
        strides = [options.StrideH(), options.StrideW()]
        before, behind = [0, 0], [0, 0]
        if options.Padding() == tflite.Padding.SAME:
            for axis in range(2):
                extent = (kernel[axis] - 1) * dilation[axis] + 1
                total = max((self.shape(output)[1 + axis] - 1) * strides[axis] + extent - self.shape(image)[1 + axis], 0)
                before[axis], behind[axis] = total // 2, total - total // 2
        return {"strides": strides, "pads": [*before, *behind], "kernel_shape": list(kernel)}

    def operator(self, operator):
        code = self.model.OperatorCodes(operator.OpcodeIndex())
        name = NAMES[max(code.BuiltinCode(), code.DeprecatedBuiltinCode())]
        inputs, output = [int(index) for index in operator.InputsAsNumpy()], int(operator.OutputsAsNumpy()[0])
        x, real = f"t{inputs[0]}", f"t{output}_real"
        if name in ("CONV_2D", "DEPTHWISE_CONV_2D"):
            depthwise = name == "DEPTHWISE_CONV_2D"
            options = self.options(operator, tflite.DepthwiseConv2DOptions if depthwise else tflite.Conv2DOptions)
            # M x R x S x C; depthwise 1 x R x S x M.
            filters = self.data(inputs[1]).transpose((3, 0, 1, 2) if depthwise else (0, 3, 1, 2))
            dilation = [options.DilationHFactor(), options.DilationWFactor()]
            window = self.window(options, inputs[0], output, filters.shape[2:], dilation)
            names = [x, self.weights(inputs[1], filters, 0), self.weights(inputs[2], self.data(inputs[2]), 0)]
            group = self.shape(inputs[0])[3] if depthwise else 1
            self.add("Conv", names, real, dilations=dilation, group=group, **window)
            real = self.activated(options, real, output)
        elif name == "FULLY_CONNECTED":
            options = self.options(operator, tflite.FullyConnectedOptions)
            bias = [self.weights(inputs[2], self.data(inputs[2]), 0)] if len(inputs) > 2 and inputs[2] >= 0 else []
            self.add("Gemm", [x, self.weights(inputs[1], self.data(inputs[1]).T, 1), *bias], real)
            real = self.activated(options, real, output)
        elif name == "ADD":
            self.add("Add", [x, f"t{inputs[1]}"], real)
            real = self.activated(self.options(operator, tflite.AddOptions), real, output)
        elif name in ("AVERAGE_POOL_2D", "MAX_POOL_2D"):
            options = self.options(operator, tflite.Pool2DOptions)
            window = self.window(options, inputs[0], output, (options.FilterHeight(), options.FilterWidth()))
            self.add("AveragePool" if name == "AVERAGE_POOL_2D" else "MaxPool", [x], real, **window)
            real = self.activated(options, real, output)
        elif name == "RESHAPE":
            shape, elements = self.shape(inputs[0]), int(np.prod(self.shape(output)[1:]))
            if len(shape) == 4 and shape[1:3] != [1, 1]:
                x = self.add("Transpose", [x], f"t{output}_rows", perm=[0, 2, 3, 1])
            if len(self.shape(output)) != 2:
                raise SystemExit(f"tensor {output}: only reshapes to rows are known")
            self.add("Reshape", [x, self.constant(f"t{output}_shape", np.array([-1, elements]))], real)
        elif name == "SOFTMAX":
            self.add("Softmax", [x], real, axis=-1)
        else:
            raise SystemExit(f"operator {name} is not known")
        return self.quantized(output, real)

    def convert(self, name):
        source = int(self.graph.InputsAsNumpy()[0])
        target = int(self.graph.OutputsAsNumpy()[0])
        first, shape = "x", self.shape(source)[1:]
        if len(shape) == 3:
            shape = [shape[2], *shape[:2]]
        self.quantized(source, first)
        for index in range(self.graph.OperatorsLength()):
            self.operator(self.graph.Operators(index))
        graph = helper.make_graph(
            self.nodes,
            name,
            [helper.make_tensor_value_info(first, TensorProto.FLOAT, ["N", *shape])],
            [helper.make_tensor_value_info(f"t{target}", TensorProto.FLOAT, ["N", *self.shape(target)[1:]])],
            self.initializers,
        )
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
        onnx.checker.check_model(model)
        return model


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    source, target = map(pathlib.Path, sys.argv[1:])
    onnx.save(Converter(source).convert(source.stem), target)


if __name__ == "__main__":
    main()
