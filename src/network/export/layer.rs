//! What each operation becomes. Axes count the batch, which stands first in every value of the file.

use super::fault;
use super::graph::{Graph, Step, float, integer, long, sizes, text};
use crate::network::Weight;
use crate::network::import::onnx::AttributeProto;
use crate::network::{
    Activation, Bias, BinaryConstant, BinaryOp, Border, Conv, Function, GeluForm, Layer, LayerNorm, NetworkError, Op, Pad, Pool, PoolKind,
    Span, integers_in,
};
use crate::numerics::{Dtype, Quantization};

impl Graph<'_> {
    /// Adds a layer, behind those that it reads.
    pub(super) fn layer(&mut self, layer: &Layer) -> Result<(), NetworkError> {
        let network = self.network;
        let read: Vec<&Layer> = network.inputs(layer.id).iter().map(|id| network.layer(*id)).collect();
        let name = self.name(layer);
        match &layer.op {
            Op::Input => return self.input(layer),
            Op::Constant(weight) => return self.among_data(layer, weight),
            _ => {}
        }
        let operands: Vec<String> = read.iter().map(|read| self.read[&read.id].clone()).collect();
        let mut steps = self.operation(layer, &read, operands)?;
        let grid = layer.output.quantization;
        // What only moves has no need to be rounded again, but onnxruntime moves such pairs of nodes past it, and does it well only where both are.
        if let Some(grid) = grid {
            let mut rounding = self.on_grid(layer, grid)?;
            if layer.op == Op::Quantize {
                rounding[0].operands.insert(0, self.read[&read[0].id].clone());
            } else if let Some(last) = steps.last_mut() {
                last.yields = "real";
            }
            steps.extend(rounding);
        } else if layer.op == Op::Quantize {
            steps.push(Step::new("", "Identity", vec![self.read[&read[0].id].clone()], Vec::new()));
        }
        debug_assert!(!steps.is_empty(), "bug: {name} becomes nothing");
        self.chain(layer, steps);
        Ok(())
    }

    /// The input: on a grid, it is read behind the nodes that put it there.
    fn input(&mut self, layer: &Layer) -> Result<(), NetworkError> {
        let name = self.name(layer);
        let mut value = name.clone();
        if let Some(grid) = layer.output.quantization {
            for step in self.on_grid(layer, grid)? {
                let next = self.beside(&name, if step.what == "quantize" { step.yields } else { step.what });
                let operands = [value].into_iter().chain(step.operands).collect();
                self.node(&next, step.operator, operands, step.attributes);
                value = next;
            }
        }
        self.read.insert(layer.id, value);
        Ok(())
    }

    /// A constant that is read as data, with a batch of one; on a grid its integers are those that the grid holds it as.
    fn among_data(&mut self, layer: &Layer, weight: &Weight<ndarray::IxDyn>) -> Result<(), NetworkError> {
        let held = layer.output.quantization.map(|grid| Weight::Integer {
            values: integers_in(weight, &grid).mapv(|value| i16::try_from(value).unwrap_or(if value < 0 { i16::MIN } else { i16::MAX })),
            dtype: grid.dtype,
            scales: vec![grid.scale],
            zero_points: if grid.zero_point == 0 { Vec::new() } else { vec![grid.zero_point] },
        });
        let shape = [&[1], weight.shape()].concat();
        let value = self.weight(layer, "value", held.as_ref().unwrap_or(weight), &shape, 0)?;
        self.read.insert(layer.id, value);
        Ok(())
    }

    /// The nodes of an operation on the values that it reads, before its output is put on a grid.
    fn operation(&mut self, layer: &Layer, read: &[&Layer], mut operands: Vec<String>) -> Result<Vec<Step>, NetworkError> {
        let shape = |place: usize| &read[place].output.shape;
        let one = |operator, operands, attributes| Ok(vec![Step::new("", operator, operands, attributes)]);
        match &layer.op {
            Op::Input | Op::Constant(_) | Op::Quantize => Ok(Vec::new()),
            Op::Dense(dense) => {
                let grid = read[0].output.quantization;
                let (k, n) = dense.weight.dim();
                operands.push(self.weight(layer, "weight", &dense.weight, &[k, n], 1)?);
                let bias = self.bias_of(layer, dense.bias.as_ref(), grid, dense.weight.scales())?;
                let mut steps = if shape(0).len() == 1 {
                    operands.extend(bias);
                    vec![Step::new("", "Gemm", operands, Vec::new())]
                } else {
                    let product = Step { yields: "product", ..Step::new("", "MatMul", operands, Vec::new()) };
                    [product].into_iter().chain(bias.map(|bias| Step::new("add", "Add", vec![bias], Vec::new()))).collect()
                };
                self.activation(layer, dense.activation, &mut steps);
                Ok(steps)
            }
            Op::Conv(conv) => {
                let grid = read[0].output.quantization;
                operands.push(self.weight(layer, "weight", &conv.weight, conv.weight.shape(), 0)?);
                operands.extend(self.bias_of(layer, conv.bias.as_ref(), grid, conv.weight.scales())?);
                // A border of ones stands before the convolution, whose own would be zeros.
                let padding = if conv.border == Border::Zero { conv.padding } else { [0; 4] };
                if conv.border != Border::Zero && conv.padding != [0; 4] {
                    operands[0] = self.border_of_ones(layer, conv, grid, operands[0].clone())?;
                }
                let mut attributes = window(conv.kernel(), conv.stride, conv.dilation, padding);
                attributes.push(integer("group", long(conv.groups)));
                let mut steps = vec![Step::new("", "Conv", operands, attributes)];
                self.activation(layer, conv.activation, &mut steps);
                Ok(steps)
            }
            Op::MatMul => one("MatMul", self.aligned(layer, read, operands, &[]), Vec::new()),
            Op::Binary(op) => one(arithmetic(*op), self.aligned(layer, read, operands, &[]), Vec::new()),
            Op::BinaryConstant(BinaryConstant { op, constant, constant_first }) => {
                let mut operands = self.aligned(layer, read, operands, constant.shape());
                let constant = self.weight(layer, "constant", constant, constant.shape(), 0)?;
                operands.insert(usize::from(!constant_first), constant);
                one(arithmetic(*op), operands, Vec::new())
            }
            Op::Unary(function) => Ok(vec![self.function(layer, function, operands)]),
            Op::Softmax { axis } => one("Softmax", operands, vec![integer("axis", long(axis + 1))]),
            Op::LayerNorm(LayerNorm { axis, scale, bias, epsilon }) => {
                operands.push(self.reals(layer, "factors", scale));
                operands.extend(bias.as_ref().map(|bias| self.reals(layer, "bias", bias)));
                one("LayerNormalization", operands, vec![integer("axis", long(axis + 1)), float("epsilon", *epsilon)])
            }
            Op::Pool(Pool { kind, kernel, stride, dilation, padding }) => {
                let mut attributes = window(*kernel, *stride, *dilation, *padding);
                let PoolKind::Average { count_include_pad } = kind else { return one("MaxPool", operands, attributes) };
                attributes.push(integer("count_include_pad", i64::from(*count_include_pad)));
                one("AveragePool", operands, attributes)
            }
            Op::Mean { axes, keep } => {
                let axes: Vec<i64> = axes.iter().map(|axis| long(axis + 1)).collect();
                operands.push(self.list(layer, "axes", &axes));
                one("ReduceMean", operands, vec![integer("keepdims", i64::from(*keep)), integer("noop_with_empty_axes", 1)])
            }
            Op::Concat { axis } => one("Concat", operands, vec![integer("axis", long(axis + 1))]),
            Op::Slice(spans) => {
                operands.extend(self.spans(layer, spans));
                one("Slice", operands, Vec::new())
            }
            Op::Pad(Pad { before, after, value }) => {
                if !value.is_finite() {
                    return Err(fault(layer, format!("has a border of {value}"), "a border is a finite number"));
                }
                let sides = [before, after].map(|side| std::iter::once(0).chain(side.iter().map(|size| long(*size))));
                let pads: Vec<i64> = sides.into_iter().flatten().collect();
                operands.push(self.list(layer, "pads", &pads));
                operands.push(self.real(layer, "border", *value));
                one("Pad", operands, Vec::new())
            }
            Op::Reshape(to) => {
                operands.push(self.target(layer, "shape", 0, to));
                one("Reshape", operands, Vec::new())
            }
            Op::Transpose(perm) => {
                let perm: Vec<usize> = std::iter::once(0).chain(perm.iter().map(|axis| axis + 1)).collect();
                one("Transpose", operands, vec![sizes("perm", &perm)])
            }
            Op::Gather(table) => {
                operands.insert(0, self.weight(layer, "table", table, table.shape(), 0)?);
                one("Gather", operands, Vec::new())
            }
        }
    }

    /// The nodes that put a border of one of its two values around a binary image, and their value.
    fn border_of_ones(&mut self, layer: &Layer, conv: &Conv, grid: Option<Quantization>, image: String) -> Result<String, NetworkError> {
        let Some(grid) = grid.filter(|grid| grid.dtype == Dtype::Binary) else {
            return Err(fault(layer, "has a border of ones around an image that is not binary", "such a border is a binary value's"));
        };
        let [top, left, bottom, right] = conv.padding.map(long);
        let pads = self.list(layer, "pads", &[0, 0, top, left, 0, 0, bottom, right]);
        let value = self.real(layer, "border", if conv.border == Border::Minus { -grid.scale } else { grid.scale });
        let scale = self.real(layer, "border_scale", grid.scale);
        let name = self.name(layer);
        let (padded, bordered) = (self.beside(&name, "padded"), self.beside(&name, "bordered"));
        self.node(&padded, "Pad", vec![image, pads, value], Vec::new());
        self.node(&bordered, "BipolarQuant", vec![padded, scale], Vec::new());
        Ok(bordered)
    }

    fn bias_of(
        &mut self,
        layer: &Layer,
        bias: Option<&Bias>,
        grid: Option<Quantization>,
        scales: Option<&[f32]>,
    ) -> Result<Option<String>, NetworkError> {
        bias.map(|bias| self.bias(layer, bias, grid, scales)).transpose()
    }

    /// Adds a fused activation as a node of its own.
    fn activation(&mut self, layer: &Layer, activation: Activation, steps: &mut Vec<Step>) {
        let step = match activation {
            Activation::None => return,
            Activation::Relu => Step::new("relu", "Relu", Vec::new(), Vec::new()),
            Activation::Clip { min, max } => Step::new("clip", "Clip", self.bounds(layer, min, max), Vec::new()),
        };
        if let Some(last) = steps.last_mut() {
            last.yields = "sum";
        }
        steps.push(step);
    }

    /// The bounds of a `Clip`; what is infinite is left out.
    fn bounds(&mut self, layer: &Layer, min: f32, max: f32) -> Vec<String> {
        let mut bound = |what, value: f32| if value.is_finite() { self.real(layer, what, value) } else { String::new() };
        let mut bounds = vec![bound("min", min), bound("max", max)];
        while bounds.pop_if(|bound| bound.is_empty()).is_some() {}
        bounds
    }

    /// The shape that a node makes: the batch, so many axes of one, and these.
    fn target(&mut self, layer: &Layer, what: &str, ones: usize, shape: &[usize]) -> String {
        // A zero copies the size of the batch.
        let sizes = std::iter::once(0).chain(std::iter::repeat_n(1, ones)).chain(shape.iter().map(|size| long(*size)));
        let sizes: Vec<i64> = sizes.collect();
        self.list(layer, what, &sizes)
    }

    /// Values that broadcast with each other and with a constant, all of one rank: axes are matched from the last, and the batch is the first.
    fn aligned(&mut self, layer: &Layer, read: &[&Layer], operands: Vec<String>, constant: &[usize]) -> Vec<String> {
        let rank = read.iter().map(|read| read.output.shape.len()).chain([constant.len()]).max().unwrap_or(0);
        let name = self.name(layer);
        let align = |(read, operand): (&&Layer, String)| {
            let shape = &read.output.shape;
            if shape.len() == rank {
                return operand;
            }
            let target = self.target(layer, "aligned_shape", rank - shape.len(), shape);
            let value = self.beside(&name, "aligned");
            self.node(&value, "Reshape", vec![operand, target], Vec::new());
            value
        };
        read.iter().zip(operands).map(align).collect()
    }

    fn spans(&mut self, layer: &Layer, spans: &[Span]) -> [String; 4] {
        let mut lists: [Vec<i64>; 4] = Default::default();
        for (axis, Span { start, count, step }) in spans.iter().enumerate() {
            let (start, step) = (long(*start), i64::try_from(*step).unwrap_or(1));
            let last = start + (long(*count) - 1) * step;
            // Backwards to the first element: the end before it counts from the end of the axis, and would be the last.
            let end = if step > 0 { last + 1 } else { last - 1 };
            let end = if end < 0 { i64::MIN + 1 } else { end };
            for (list, value) in lists.iter_mut().zip([start, end, long(axis + 1), step]) {
                list.push(value);
            }
        }
        let names = ["starts", "ends", "axes", "steps"];
        let mut named = lists.iter().zip(names).map(|(list, name)| self.list(layer, name, list));
        std::array::from_fn(|_| named.next().unwrap_or_default())
    }

    fn function(&mut self, layer: &Layer, function: &Function, mut operands: Vec<String>) -> Step {
        let mut attributes = Vec::new();
        let operator = match function {
            Function::Relu => "Relu",
            Function::LeakyRelu { alpha } => {
                attributes.push(float("alpha", *alpha));
                "LeakyRelu"
            }
            Function::PRelu { slopes } => {
                operands.push(self.reals(layer, "slopes", slopes));
                "PRelu"
            }
            Function::Clip { min, max } => {
                operands.extend(self.bounds(layer, *min, *max));
                "Clip"
            }
            Function::Sigmoid => "Sigmoid",
            Function::HardSigmoid { alpha, beta } => {
                attributes.extend([float("alpha", *alpha), float("beta", *beta)]);
                "HardSigmoid"
            }
            Function::HardSwish => "HardSwish",
            Function::Tanh => "Tanh",
            Function::Gelu(form) => {
                attributes.push(text("approximate", if *form == GeluForm::Tanh { "tanh" } else { "none" }));
                "Gelu"
            }
            Function::Erf => "Erf",
            Function::Sqrt => "Sqrt",
            Function::Exp => "Exp",
            Function::Pow { exponent } => {
                operands.push(self.real(layer, "exponent", *exponent));
                "Pow"
            }
        };
        Step::new("", operator, operands, attributes)
    }
}

const fn arithmetic(op: BinaryOp) -> &'static str {
    match op {
        BinaryOp::Add => "Add",
        BinaryOp::Sub => "Sub",
        BinaryOp::Mul => "Mul",
        BinaryOp::Div => "Div",
    }
}

fn window(kernel: [usize; 2], stride: [usize; 2], dilation: [usize; 2], padding: [usize; 4]) -> Vec<AttributeProto> {
    vec![sizes("kernel_shape", &kernel), sizes("strides", &stride), sizes("dilations", &dilation), sizes("pads", &padding)]
}
