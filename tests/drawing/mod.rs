//! Random small networks of every operation.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use ndarray::{Array, Array1, ArrayD, IxDyn};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use systole::network::{
    Activation, Bias, BinaryConstant, BinaryOp, Border, Conv, Dense, Function, GeluForm, LayerId, LayerNorm, Network, NetworkBuilder, Op,
    Pad, Pool, PoolKind, Span, Weight,
};

/// A network of so many operations, drawn among those that fit the values that there are.
struct Drawing {
    builder: NetworkBuilder,
    /// Every value so far with its shape.
    values: Vec<(LayerId, Vec<usize>)>,
    rng: ChaCha8Rng,
    layers: usize,
}

impl Drawing {
    fn floats(&mut self, shape: &[usize]) -> ArrayD<f32> {
        let rng = &mut self.rng;
        Array::from_shape_simple_fn(IxDyn(shape), || rng.random_range(-0.5..0.5))
    }

    fn bias(&mut self, size: usize) -> Option<Bias> {
        let rng = &mut self.rng;
        rng.random_bool(0.7).then(|| Bias::Float(Array1::from_shape_simple_fn(size, || rng.random_range(-0.3..0.3))))
    }

    fn add(&mut self, op: Op, inputs: &[LayerId]) -> bool {
        self.layers += 1;
        let Ok(id) = self.builder.layer(format!("layer{}", self.layers), op, inputs) else { return false };
        let shape = self.builder.value(id).shape.clone();
        if shape.iter().product::<usize>() > 4000 {
            return false;
        }
        self.values.push((id, shape));
        true
    }

    fn pair(&mut self, range: std::ops::RangeInclusive<usize>) -> [usize; 2] {
        [self.rng.random_range(range.clone()), self.rng.random_range(range)]
    }

    fn activation(&mut self) -> Activation {
        [Activation::None, Activation::Relu, Activation::Clip { min: -0.2, max: 0.4 }][self.rng.random_range(0..3)]
    }

    fn dense(&mut self, id: LayerId, shape: &[usize]) -> bool {
        let (inner, outputs) = (shape[shape.len() - 1], self.rng.random_range(1..=40));
        let weight = Weight::Float(self.floats(&[inner, outputs]).into_shape_with_order((inner, outputs)).unwrap());
        let (bias, activation) = (self.bias(outputs), self.activation());
        self.add(Op::Dense(Dense { weight, bias, activation }), &[id])
    }

    fn conv(&mut self, id: LayerId, shape: &[usize]) -> bool {
        if shape.len() != 3 {
            return false;
        }
        let divisors: Vec<usize> = (1..=shape[0]).filter(|groups| shape[0].is_multiple_of(*groups)).collect();
        let (groups, outputs) = match self.rng.random_range(0..4) {
            0 => (shape[0], shape[0]),
            1 => {
                let groups = divisors[self.rng.random_range(0..divisors.len())];
                (groups, groups * self.rng.random_range(1..=(24 / groups).max(1)))
            }
            _ => (1, self.rng.random_range(1..=24)),
        };
        let [r, s] = self.pair(1..=3);
        let dim = (outputs, shape[0] / groups, r, s);
        let weight = Weight::Float(self.floats(&[dim.0, dim.1, dim.2, dim.3]).into_shape_with_order(dim).unwrap());
        let _: &Weight<ndarray::Ix4> = &weight;
        let (bias, stride, dilation, activation) = (self.bias(outputs), self.pair(1..=2), self.pair(1..=2), self.activation());
        let padding = [0; 4].map(|_: usize| self.rng.random_range(0..=1));
        self.add(Op::Conv(Conv { weight, bias, stride, dilation, padding, border: Border::Zero, groups, activation }), &[id])
    }

    fn pool(&mut self, id: LayerId) -> bool {
        let count_include_pad = self.rng.random_bool(0.5);
        let kind = if self.rng.random_bool(0.5) { PoolKind::Max } else { PoolKind::Average { count_include_pad } };
        let (kernel, stride, dilation) = (self.pair(1..=3), self.pair(1..=2), self.pair(1..=2));
        let padding = [0; 4].map(|_: usize| self.rng.random_range(0..=1));
        self.add(Op::Pool(Pool { kind, kernel, stride, dilation, padding }), &[id])
    }

    fn unary(&mut self, id: LayerId, shape: &[usize]) -> bool {
        let rng = &mut self.rng;
        let from = rng.random_range(0..=shape.len());
        let slopes: Vec<usize> = shape[from..].iter().map(|size| if rng.random_bool(0.5) { *size } else { 1 }).collect();
        let slopes = self.floats(&slopes);
        let all = [
            Function::Relu,
            Function::LeakyRelu { alpha: 0.1 },
            Function::Clip { min: -0.1, max: 0.3 },
            Function::Sigmoid,
            Function::HardSwish,
            Function::Tanh,
            Function::Gelu(GeluForm::Erf),
            Function::PRelu { slopes },
        ];
        let function = all[self.rng.random_range(0..all.len())].clone();
        self.add(Op::Unary(function), &[id])
    }

    fn binary(&mut self, id: LayerId) -> bool {
        let other = self.values[self.rng.random_range(0..self.values.len())].0;
        let op = [BinaryOp::Add, BinaryOp::Sub, BinaryOp::Mul, BinaryOp::Div][self.rng.random_range(0..4)];
        let [a, b] = if self.rng.random_bool(0.5) { [id, other] } else { [other, id] };
        let Some(b) = (if op == BinaryOp::Div { self.divisor(b) } else { Some(b) }) else { return false };
        self.add(Op::Binary(op), &[a, b])
    }

    /// A value that is never zero, made of one.
    fn divisor(&mut self, id: LayerId) -> Option<LayerId> {
        self.add(Op::Unary(Function::Sigmoid), &[id]).then(|| self.values[self.values.len() - 1].0)
    }

    fn with_constant(&mut self, id: LayerId, shape: &[usize]) -> bool {
        let from = self.rng.random_range(0..=shape.len());
        let rng = &mut self.rng;
        let shape: Vec<usize> = shape[from..].iter().map(|size| if rng.random_bool(0.5) { *size } else { 1 }).collect();
        let op = [BinaryOp::Add, BinaryOp::Sub, BinaryOp::Mul, BinaryOp::Div][rng.random_range(0..4)];
        let constant_first = rng.random_bool(0.5);
        let constant = Weight::Float(self.floats(&shape).mapv(|x| x + if op == BinaryOp::Div { 1.0 } else { 0.0 }));
        let Some(id) = (if op == BinaryOp::Div && constant_first { self.divisor(id) } else { Some(id) }) else { return false };
        self.add(Op::BinaryConstant(BinaryConstant { op, constant, constant_first }), &[id])
    }

    fn product(&mut self, id: LayerId, shape: &[usize]) -> bool {
        if shape.len() < 2 || self.rng.random_bool(0.3) {
            let other = self.values[self.rng.random_range(0..self.values.len())].0;
            return self.add(Op::MatMul, &[id, other]);
        }
        // With itself turned, as attention multiplies.
        let mut perm: Vec<usize> = (0..shape.len()).collect();
        let last = perm.len();
        perm.swap(last - 1, last - 2);
        self.add(Op::Transpose(perm), &[id]) && self.add(Op::MatMul, &[id, self.values[self.values.len() - 1].0])
    }

    fn movement(&mut self, id: LayerId, shape: &[usize]) -> bool {
        let rank = shape.len();
        match self.rng.random_range(0..5) {
            0 => {
                let mut perm: Vec<usize> = (0..rank).collect();
                for place in (1..rank).rev() {
                    perm.swap(place, self.rng.random_range(0..=place));
                }
                self.add(Op::Transpose(perm), &[id])
            }
            1 => {
                let elements: usize = shape.iter().product();
                let mut left = elements;
                let mut to = Vec::new();
                for _ in 0..self.rng.random_range(0..3) {
                    let divisors: Vec<usize> = (1..=left).filter(|size| left.is_multiple_of(*size)).collect();
                    let size = divisors[self.rng.random_range(0..divisors.len())];
                    to.push(size);
                    left /= size;
                }
                to.push(left);
                self.add(Op::Reshape(to), &[id])
            }
            2 => {
                let spans = shape.iter().map(|size| {
                    let start = self.rng.random_range(0..*size);
                    let step = self.rng.random_range(1..=2);
                    if self.rng.random_bool(0.2) {
                        let count = self.rng.random_range(1..=(start + 1).div_ceil(step));
                        return Span { start, count, step: -step.cast_signed() };
                    }
                    Span { start, count: self.rng.random_range(1..=(size - start).div_ceil(step)), step: step.cast_signed() }
                });
                let spans = spans.collect();
                self.add(Op::Slice(spans), &[id])
            }
            3 => {
                let rng = &mut self.rng;
                let mut side = || (0..rank).map(|_| rng.random_range(0..=1)).collect::<Vec<usize>>();
                let pad = Pad { before: side(), after: side(), value: 0.25 };
                self.add(Op::Pad(pad), &[id])
            }
            _ => {
                let others: Vec<LayerId> = self.values.iter().filter(|(_, other)| other == shape).map(|(id, _)| *id).collect();
                let other = others[self.rng.random_range(0..others.len())];
                let axis = self.rng.random_range(0..rank);
                self.add(Op::Concat { axis }, &[id, other])
            }
        }
    }

    fn step(&mut self) -> bool {
        // Mostly what came last, so that networks are deep.
        let last = self.values.len() - 1;
        let (id, shape) = self.values[if self.rng.random_bool(0.7) { last } else { self.rng.random_range(0..=last) }].clone();
        match self.rng.random_range(0..12) {
            0 | 1 => self.dense(id, &shape),
            2 | 3 => self.conv(id, &shape),
            4 => self.pool(id),
            5 => self.unary(id, &shape),
            6 => self.binary(id),
            7 => self.with_constant(id, &shape),
            8 => self.product(id, &shape),
            9 => {
                let axis = self.rng.random_range(0..shape.len());
                let (scale, bias) = (self.floats(&shape[axis..]), self.floats(&shape[axis..]));
                if self.rng.random_bool(0.5) {
                    self.add(Op::Softmax { axis }, &[id])
                } else {
                    self.add(Op::LayerNorm(LayerNorm { axis, scale, bias: Some(bias), epsilon: 1e-3 }), &[id])
                }
            }
            10 => {
                let rng = &mut self.rng;
                let axes = if shape.len() == 3 && rng.random_bool(0.4) {
                    vec![1, 2]
                } else {
                    (0..shape.len()).filter(|_| rng.random_bool(0.5)).collect()
                };
                let keep = axes.len() == shape.len() || self.rng.random_bool(0.5);
                !axes.is_empty() && self.add(Op::Mean { axes, keep }, &[id])
            }
            _ => self.movement(id, &shape),
        }
    }
}

/// A network of about so many layers. Every value that nothing reads is joined to the output, so that none is left out.
pub(crate) fn network(seed: u64, layers: usize) -> Network {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let shape = match rng.random_range(0..3) {
        0 => vec![rng.random_range(1..=20), rng.random_range(1..=9), rng.random_range(1..=9)],
        1 => vec![rng.random_range(1..=12), rng.random_range(1..=24)],
        _ => vec![rng.random_range(1..=60)],
    };
    let mut builder = NetworkBuilder::new("random");
    let input = builder.input("x", shape.clone()).unwrap();
    let mut drawing = Drawing { builder, values: vec![(input, shape)], rng, layers: 0 };
    let mut made = 0;
    for _ in 0..20 * layers {
        made += usize::from(drawing.step());
        if made >= layers {
            break;
        }
    }
    // A dense layer at the end, so that there is something for the array.
    let (id, shape) = drawing.values[drawing.values.len() - 1].clone();
    while !drawing.dense(id, &shape) {}
    let last = drawing.values[drawing.values.len() - 1].0;
    drawing.builder.finish(last).unwrap()
}
