//! Whole graphs on the chip: random small networks of every operation, held to the integer reference bit for bit, on random chips; and the laws
//! that hold for any program.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod onchip;

use ndarray::{Array, Array1, Array2, ArrayD, IxDyn};
use onchip::OnChip;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use systole::chip::{self, Unsupported};
use systole::compress::{self, Scheme};
use systole::mapping::{self, Choice, MappingError, Stage, WeightStart};
use systole::network::{
    Activation, Bias, BinaryConstant, BinaryOp, Conv, Dense, Function, GeluForm, LayerId, LayerNorm, Network, NetworkBuilder, Op, Pad,
    Pool, PoolKind, Span, Weight, fuse_activations,
};
use systole::numerics::Dtype;
use systole::program::emit_timing;
use systole::sim::{Engine, Machine};

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
        self.add(Op::Conv(Conv { weight, bias, stride, dilation, padding, groups, activation }), &[id])
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
fn network(seed: u64, layers: usize) -> Network {
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

fn check(float: &Network, seed: u64, name: &str, sets: &[(String, String)], batch: u64, resident: bool) -> Result<(), TestCaseError> {
    let fail = |error: &dyn std::fmt::Display| TestCaseError::fail(error.to_string());
    let chip = chip::load(name, sets).map_err(|error| fail(&error))?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed + 1);
    let samples = usize::try_from(batch).unwrap();
    let inputs = Array2::from_shape_simple_fn((samples, float.input().output.elements()), || rng.random_range(-1.0..1.0_f32));
    let ranges = match compress::calibrate(float, inputs.view()) {
        Ok(ranges) => ranges,
        // A quotient of quotients may leave what floats hold.
        Err(error) if error.to_string().contains("infinite or not a number") => return Ok(()),
        Err(error) => return Err(fail(&error)),
    };
    let scheme = Scheme { weight: Dtype::Int8, activation: Dtype::Int8 };
    let quantized = compress::quantize(float, &ranges, scheme).map_err(|error| fail(&error))?;
    let start = if resident { WeightStart::Resident } else { WeightStart::Cold };
    let choose = || {
        let dataflows = &chip.array().dataflows;
        Choice { stationary: dataflows[rng.random_range(0..dataflows.len())].kind(), ..Choice::first(&chip) }
    };
    let on_chip = match OnChip::new(&quantized, &chip, batch, start, choose) {
        Ok(on_chip) => on_chip,
        // What no unit can do is told, and what does not fit; nothing else is refused.
        Err(MappingError::NotSupported { problem, .. }) if problem.contains("no dataflow of the array") => return Ok(()),
        Err(MappingError::NotSupported { problem, help, .. }) if problem.contains("by way of reals") => {
            prop_assert!(chip.vector().unsupported == Unsupported::Refuse && help.contains("unsupported: Host("));
            return Ok(());
        }
        Err(MappingError::TooSmall { needed, capacity, .. }) => {
            prop_assert!(needed > capacity);
            return Ok(());
        }
        Err(other) => return Err(fail(&other)),
    };
    let mapping = &on_chip.mapping;
    let format = &chip.formats()[0];
    let machine = Machine::new(&chip, format, &on_chip.program).unwrap();
    let trace = on_chip.expected(&quantized, &chip, &inputs);
    let hosted = on_chip.hosted(&trace);
    let hosted: Vec<&[u8]> = hosted.iter().map(Vec::as_slice).collect();
    let run = machine.run(&hosted, Engine::Wavefront).map_err(|error| fail(&error))?;
    let found = on_chip.logits(&run.output);
    let expected: Vec<i32> = trace.layer(quantized.logits().id).unwrap().iter().copied().collect();
    prop_assert_eq!(found, expected, "chip and integer reference");
    prop_assert_eq!(&machine.run(&hosted, Engine::Stepped).unwrap(), &run, "both drives agree in outputs, cycles, counts and stalls");
    // A run without numbers takes the same time, and so does one whose numbers nobody knows.
    let timed = machine.time().unwrap();
    prop_assert_eq!((timed.total_cycles, &timed.units), (run.total_cycles, &run.units));
    if !resident {
        let unknown = emit_timing(mapping, &chip).unwrap();
        let timed = Machine::new(&chip, format, &unknown).unwrap().time().unwrap();
        prop_assert_eq!((timed.total_cycles, &timed.units), (run.total_cycles, &run.units));
    }
    let bounds = mapping::lower_bounds(mapping, &chip);
    prop_assert!(bounds.program <= run.total_cycles, "{} are a lower bound of {}", bounds.program, run.total_cycles);
    for ((stage, bound), mapped) in run.stages.iter().zip(&bounds.stages).zip(mapping.stages()) {
        prop_assert!(bound.cycles <= stage.window, "{} are a lower bound of {}: {:?}", bound.cycles, stage.window, mapped);
    }
    Ok(())
}

const CHIPS: &[&str] = &["edge-16x16", "edge-16x16-ddr4", "gemmini-16x16-os", "gemmini-16x16-ws", "axis-sa-8x8", "ideal-16x16"];

/// Chips that differ in what stages go by: dataflows, memories, engines, the vector unit.
fn chips() -> impl Strategy<Value = Vec<(String, String)>> {
    let pad = |role: &str, bytes: u64| format!("(role: {role}, capacity: B({bytes}), banks: 4, port_bytes: 16, latency: Cycles(4))");
    let pads = prop_oneof![
        Just(None),
        (1_u64..16).prop_map(move |kib| Some(format!("[{}]", pad("Shared", 1024 * kib)))),
        (1_u64..8).prop_map(move |kib| Some(format!("[{}, {}]", pad("Weight", 4096), pad("Input", 1024 * kib)))),
    ];
    let tenths = (0_u32..40).prop_map(|tenths| format!("Host({:?})", f64::from(tenths) / 10.0));
    let host = prop_oneof![1 => Just("Refuse".to_string()), 3 => tenths];
    let depthwise = prop_oneof![Just("Array"), Just("Vector")];
    (pads, 1..=2_u32, prop_oneof![Just(16_u32), 1..=20_u32], host, depthwise).prop_map(|(pads, engines, lanes, host, depthwise)| {
        let fields = [
            ("dma.engines", engines.to_string()),
            ("vector.lanes", lanes.to_string()),
            ("vector.unsupported", host),
            ("vector.depthwise", depthwise.to_string()),
        ];
        let mut sets: Vec<_> = fields.map(|(field, value)| (field.to_string(), value)).into();
        sets.extend(pads.map(|pads| ("scratchpads".to_string(), pads)));
        sets
    })
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_graphs_on_the_chip_equal_the_integer_reference(
        seed in any::<u32>(), layers in 1..=8_usize, name in prop::sample::select(CHIPS), sets in chips(), batch in 1..=3_u64, resident in any::<bool>(),
    ) {
        let float = fuse_activations(&network(u64::from(seed), layers)).unwrap();
        check(&float, u64::from(seed), name, &sets, batch, resident)?;
    }
}

/// A network of an image of one pixel and a filter that lies beside it: every output is its bias.
#[test]
fn a_filter_beside_its_image_yields_the_bias_alone() {
    let mut builder = NetworkBuilder::new("beside");
    let input = builder.input("x", vec![3, 1, 1]).unwrap();
    let weight = Weight::Float(Array::from_elem((5, 3, 1, 1), 0.5));
    let bias = Some(Bias::Float(Array1::from_iter((0..5_u8).map(f32::from))));
    let (stride, dilation, padding, groups, activation) = ([2, 2], [1, 1], [1, 1, 0, 0], 1, Activation::None);
    let conv = builder.layer("conv", Op::Conv(Conv { weight, bias, stride, dilation, padding, groups, activation }), &[input]).unwrap();
    let float = builder.finish(conv).unwrap();
    for name in CHIPS {
        check(&float, 1, name, &[], 2, false).unwrap();
    }
}

/// A depthwise layer between two others on a scratchpad that holds a part of its channels at a time: stages of the vector unit, whose MACs are the
/// layer's.
#[test]
fn a_depthwise_layer_runs_on_the_vector_unit_in_as_many_parts_as_fit() {
    let mut rng = ChaCha8Rng::seed_from_u64(11);
    let mut builder = NetworkBuilder::new("separable");
    let mut last = builder.input("x", vec![3, 12, 9]).unwrap();
    for (name, [outputs, inputs, size], groups) in [("first", [32, 3, 3], 1), ("depthwise", [32, 1, 3], 32), ("pointwise", [8, 32, 1], 1)] {
        let weight = Weight::Float(Array::from_shape_simple_fn((outputs, inputs, size, size), || rng.random_range(-0.5..0.5)));
        let bias = Some(Bias::Float(Array1::from_shape_simple_fn(outputs, || rng.random_range(-0.3..0.3))));
        let padding = [size / 2; 4];
        let conv = Conv { weight, bias, stride: [1, 1], dilation: [1, 1], padding, groups, activation: Activation::Relu };
        last = builder.layer(name, Op::Conv(conv), &[last]).unwrap();
    }
    let float = builder.finish(last).unwrap();
    let inputs = Array2::from_shape_simple_fn((2, 3 * 12 * 9), || rng.random_range(-1.0..1.0_f32));
    let ranges = compress::calibrate(&float, inputs.view()).unwrap();
    let quantized = compress::quantize(&float, &ranges, Scheme { weight: Dtype::Int8, activation: Dtype::Int8 }).unwrap();
    let parts_on = |kib: u64| {
        let pad = format!("[(role: Shared, capacity: KiB({kib}), banks: 4, port_bytes: 16, latency: Cycles(4))]");
        let sets = [("vector.depthwise", "Vector"), ("scratchpads", pad.as_str())];
        let sets = sets.map(|(field, value)| (field.to_string(), value.to_string()));
        check(&float, 5, "edge-16x16", &sets, 2, false).unwrap();
        let chip = chip::load("edge-16x16", &sets).unwrap();
        let on_chip = OnChip::new(&quantized, &chip, 2, WeightStart::Cold, || Choice::first(&chip)).unwrap();
        let stages = on_chip.mapping.stages();
        let macs = stages.iter().map(Stage::vector_macs).sum::<u64>();
        assert_eq!(macs, 2 * 12 * 9 * 32 * 9, "two samples of 12 x 9 places, 32 channels and 9 taps");
        assert_eq!(macs + stages.iter().map(Stage::macs).sum::<u64>(), 2 * float.macs());
        stages.iter().filter(|stage| stage.vector_macs() > 0).count()
    };
    assert_eq!((parts_on(64), parts_on(2) > 1), (1, true));
}

/// A residual: what the first layer yields stays on the chip until the sum, beside what the layers between make, so that of activations only the
/// network's input and its logits cross DRAM's bus.
#[test]
fn what_a_later_layer_reads_again_stays_on_the_chip() {
    let mut rng = ChaCha8Rng::seed_from_u64(7);
    let mut builder = NetworkBuilder::new("residual");
    let x = builder.input("x", vec![16, 8, 8]).unwrap();
    let mut conv = |builder: &mut NetworkBuilder, name: &str, from| {
        let weight = Weight::Float(Array::from_shape_simple_fn((16, 16, 3, 3), || rng.random_range(-0.2..0.2)));
        let conv = Conv { weight, bias: None, stride: [1, 1], dilation: [1, 1], padding: [1; 4], groups: 1, activation: Activation::Relu };
        builder.layer(name, Op::Conv(conv), &[from]).unwrap()
    };
    let first = conv(&mut builder, "first", x);
    let second = conv(&mut builder, "second", first);
    let third = conv(&mut builder, "third", second);
    let sum = builder.layer("sum", Op::Binary(BinaryOp::Add), &[first, third]).unwrap();
    let fourth = conv(&mut builder, "fourth", first);
    let last = builder.layer("last", Op::Binary(BinaryOp::Add), &[sum, fourth]).unwrap();
    let float = builder.finish(last).unwrap();
    check(&float, 3, "edge-16x16", &[], 2, false).unwrap();

    let inputs = Array2::from_shape_simple_fn((2, 1024), || 0.25_f32);
    let ranges = compress::calibrate(&float, inputs.view()).unwrap();
    let quantized = compress::quantize(&float, &ranges, Scheme { weight: Dtype::Int8, activation: Dtype::Int8 }).unwrap();
    let bytes_on = |kib: u64| {
        let pad = format!("[(role: Shared, capacity: KiB({kib}), banks: 4, port_bytes: 16, latency: Cycles(4))]");
        let chip = chip::load("edge-16x16", &[("scratchpads".to_string(), pad)]).unwrap();
        let on_chip = OnChip::new(&quantized, &chip, 1, WeightStart::Cold, || Choice::first(&chip)).unwrap();
        let run = Machine::new(&chip, &chip.formats()[0], &on_chip.program).unwrap().time().unwrap();
        run.stages.iter().map(|stage| stage.traffic.dram.input.read + stage.traffic.dram.output.write).sum::<u64>()
    };
    // 16 channels of 8 x 8 pixels: the input, and what the last sum yields.
    assert_eq!(bytes_on(64), 2 * 1024);
    // Where there is no room for it, the first layer's output goes out once and comes back for each that reads it.
    assert!(bytes_on(5) >= 6 * 1024, "{}", bytes_on(5));
}
