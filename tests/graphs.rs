//! Whole graphs on the chip: random small networks of every operation, held to the integer reference bit for bit, on random chips; and the laws
//! that hold for any program.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod drawing;
mod onchip;

use drawing::network;
use ndarray::{Array, Array1, Array2};
use onchip::OnChip;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use systole::chip::{self, Unsupported};
use systole::compress::{self, Formats, Recipe, Scheme, Surroundings};
use systole::mapping::{self, Choice, MappingError, Stage, WeightStart, Work};
use systole::network::{Activation, Bias, BinaryOp, Border, Conv, Network, NetworkBuilder, Op, Weight, fuse_activations};
use systole::program::emit_timing;
use systole::sim::{Engine, Machine};

/// What may be refused of formats other than of 8 bits.
const PACKING: &[&str] = &[
    "begin within a byte",
    "are no whole bytes",
    "do not begin on a byte",
    "packed as this array takes them",
    "the array subtracts none in 16 bits",
    "which takes and yields values of 8 bits",
];

/// A network behind steps of a recipe; as it is where they would leave a layer with nothing.
fn pruned(network: &Network, steps: &str) -> Network {
    let samples = Array2::zeros((1, network.input().output.elements()));
    let around = Surroundings { samples: samples.view(), tile: [16, 16], outside: None };
    steps.parse::<Recipe>().unwrap().prune(network, around).map_or_else(|_| network.clone(), |(pruned, _)| pruned)
}

/// Formats of a chip's, drawn for all layers and again for some.
fn formats(rng: &mut ChaCha8Rng, network: &Network, chip: &chip::Chip) -> Formats {
    let draw = |rng: &mut ChaCha8Rng| {
        let formats = chip.formats();
        let format = &formats[rng.random_range(0..formats.len())];
        let (weight, activation) = (format.weight.bits(), format.activation.bits());
        let options = ["", ",tensor", ",symmetric", ",tensor,symmetric"][rng.random_range(0..4)];
        // Weights that lie narrower in DRAM than what they meet, whether or not the array multiplies such pairs.
        if chip.storage().codec.widens() && activation > 2 && rng.random_bool(0.7) {
            let narrow = [2, 4, 8].into_iter().filter(|bits| *bits < activation).collect::<Vec<u32>>();
            return format!("w{}a{activation}{options},wide", narrow[rng.random_range(0..narrow.len())]);
        }
        format!("w{weight}a{activation}{options}")
    };
    let mut steps = vec![draw(rng)];
    for layer in network.layers().filter(|layer| matches!(layer.op, Op::Dense(_) | Op::Conv(_))) {
        if rng.random_bool(0.4) {
            steps.push(format!("{}@{}", draw(rng), layer.name));
        }
    }
    Formats::from(&steps.join("+").parse::<Recipe>().unwrap())
}

fn check(
    network: &Network,
    seed: u64,
    name: &str,
    sets: &[(String, String)],
    (batch, resident): (u64, bool),
    mixed: bool,
) -> Result<(), TestCaseError> {
    let fail = |error: &dyn std::fmt::Display| TestCaseError::fail(error.to_string());
    let chip = chip::load(name, sets).map_err(|error| fail(&error))?;
    let mut rng = ChaCha8Rng::seed_from_u64(seed + 1);
    let formats = if mixed { formats(&mut rng, network, &chip) } else { Formats::from(Scheme::EIGHT_BITS) };
    let float = compress::with_roundings(network, formats.clone()).unwrap();
    // An array with N:M sparsity takes weights that are pruned so; blocks of zeros are skipped by another.
    let pruning = match name {
        "nm-16x16" => Some("nm:2:4"),
        "tileskip-16x16" => Some("block:16x16,0.4"),
        _ => None,
    };
    let float = pruning.map_or_else(|| float.clone(), |steps| pruned(&float, steps));
    let samples = usize::try_from(batch).unwrap();
    let inputs = Array2::from_shape_simple_fn((samples, float.input().output.elements()), || rng.random_range(-1.0..1.0_f32));
    let ranges = match compress::calibrate(&float, inputs.view()) {
        Ok(ranges) => ranges,
        // A quotient of quotients may leave what floats hold.
        Err(error) if error.to_string().contains("infinite or not a number") => return Ok(()),
        Err(error) => return Err(fail(&error)),
    };
    let quantized = compress::quantize(&float, &ranges, formats.clone()).map_err(|error| fail(&error))?;
    let wide = formats.wide(&quantized).map_err(|error| fail(&error))?;
    let start = if resident { WeightStart::Resident } else { WeightStart::Cold };
    let choose = || {
        let dataflows = &chip.array().dataflows;
        Choice { stationary: dataflows[rng.random_range(0..dataflows.len())].kind(), ..Choice::first(&chip) }
    };
    let on_chip = match OnChip::widened(&quantized, &chip, batch, start, &wide, choose) {
        Ok(on_chip) => on_chip,
        // What no unit can do is told, and what does not fit; nothing else is refused.
        Err(MappingError::NotSupported { problem, .. }) if problem.contains("no dataflow of the array") => return Ok(()),
        Err(MappingError::NotSupported { problem, help, .. }) if problem.contains("by way of reals") => {
            prop_assert!(chip.vector().unsupported == Unsupported::Refuse && help.contains("unsupported: Host("));
            return Ok(());
        }
        // Attention and what has 8 bits by default may meet a chip without them; elements of less than a byte may lie across bytes.
        Err(MappingError::NoFormat { .. }) if mixed => return Ok(()),
        // Behind some movements a dense layer's K runs in another order than that in which the recipe cut groups: told, and not run.
        Err(MappingError::NotPruned { .. }) if name == "nm-16x16" => return Ok(()),
        Err(MappingError::NotSupported { problem, .. }) if mixed && PACKING.iter().any(|part| problem.contains(part)) => return Ok(()),
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
        if let Work::Host(call) = &mapped.work {
            // What the host writes is its result; of what it reads, no byte twice.
            let most = call.inputs.iter().map(|read| read.tensor.bytes).sum::<u64>();
            prop_assert_eq!(stage.traffic.dram.output.write, call.elements);
            prop_assert!(
                (1..=most).contains(&stage.traffic.dram.input.read) && stage.actions.dram_read_bytes >= stage.traffic.dram.input.read
            );
        }
    }
    Ok(())
}

const CHIPS: &[&str] = &["edge-16x16", "edge-16x16-ddr4", "gemmini-16x16-os", "gemmini-16x16-ws", "axis-sa-8x8", "ideal-16x16"];

/// Those with several formats, some with lanes.
const MIXED: &[&str] = &["edge-16x16", "edge-16x16-ddr4", "codec-16x16", "widen-16x16", "nm-16x16", "tileskip-16x16", "xnor-16x16"];

/// Those that keep sums or activations in their PEs too, given edge-16x16's formats.
const OTHER_DATAFLOWS: &[&str] = &["gemmini-16x16-os", "axis-sa-8x8", "ideal-16x16", "ideal-32x32"];

const FORMATS: &[(&str, &str, u32, u32)] = &[
    ("Int8", "Int8", 1, 32),
    ("Int16", "Int16", 1, 48),
    ("Int4", "Int8", 2, 32),
    ("Int4", "Int4", 2, 32),
    ("Int2", "Int8", 4, 32),
    ("Int2", "Int4", 4, 32),
    ("Binary", "Binary", 16, 32),
];

const CODECS: &[&str] = &[
    "None",
    "ZeroBitmask(bytes_per_cycle: 8, activations: false)",
    "RunLength(bytes_per_cycle: 5.5, run_bits: 3, activations: false)",
    "Widen(bytes_per_cycle: 0.7)",
    "Widen(bytes_per_cycle: 32)",
];

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
        check(&float, u64::from(seed), name, &sets, (batch, resident), false)?;
    }

    #[test]
    fn random_graphs_in_mixed_formats_equal_the_integer_reference(
        seed in any::<u32>(), layers in 1..=8_usize, name in prop::sample::select(MIXED), sets in chips(), batch in 1..=3_u64, resident in any::<bool>(),
    ) {
        let float = fuse_activations(&network(u64::from(seed), layers)).unwrap();
        check(&float, u64::from(seed), name, &sets, (batch, resident), true)?;
    }

    #[test]
    fn random_graphs_in_mixed_formats_run_in_every_dataflow(
        seed in any::<u32>(), layers in 1..=6_usize, name in prop::sample::select(OTHER_DATAFLOWS), sets in chips(), batch in 1..=3_u64, resident in any::<bool>(),
        codec in prop::sample::select(CODECS),
    ) {
        let float = fuse_activations(&network(u64::from(seed), layers)).unwrap();
        let formats: Vec<String> = FORMATS.iter().map(|(weight, activation, lanes, bits)| format!(
            "(weight: {weight}, activation: {activation}, lanes: {lanes}, accumulator_bits: {bits}, overflow: Saturate, pe: Table)"
        )).collect();
        let more = [("formats", format!("[{}]", formats.join(", "))), ("storage.codec", codec.to_string())];
        let sets: Vec<_> = sets.into_iter().chain(more.map(|(field, value)| (field.to_string(), value))).collect();
        check(&float, u64::from(seed), name, &sets, (batch, resident), true)?;
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
    let conv = builder
        .layer("conv", Op::Conv(Conv { weight, bias, stride, dilation, padding, border: Border::Zero, groups, activation }), &[input])
        .unwrap();
    let float = builder.finish(conv).unwrap();
    for name in CHIPS {
        check(&float, 1, name, &[], (2, false), false).unwrap();
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
        let conv =
            Conv { weight, bias, stride: [1, 1], dilation: [1, 1], padding, border: Border::Zero, groups, activation: Activation::Relu };
        last = builder.layer(name, Op::Conv(conv), &[last]).unwrap();
    }
    let float = builder.finish(last).unwrap();
    let inputs = Array2::from_shape_simple_fn((2, 3 * 12 * 9), || rng.random_range(-1.0..1.0_f32));
    let ranges = compress::calibrate(&float, inputs.view()).unwrap();
    let quantized = compress::quantize(&float, &ranges, Scheme::EIGHT_BITS).unwrap();
    let parts_on = |kib: u64| {
        let pad = format!("[(role: Shared, capacity: KiB({kib}), banks: 4, port_bytes: 16, latency: Cycles(4))]");
        let sets = [("vector.depthwise", "Vector"), ("scratchpads", pad.as_str())];
        let sets = sets.map(|(field, value)| (field.to_string(), value.to_string()));
        check(&float, 5, "edge-16x16", &sets, (2, false), false).unwrap();
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
        let conv = Conv {
            weight,
            bias: None,
            stride: [1, 1],
            dilation: [1, 1],
            padding: [1; 4],
            border: Border::Zero,
            groups: 1,
            activation: Activation::Relu,
        };
        builder.layer(name, Op::Conv(conv), &[from]).unwrap()
    };
    let first = conv(&mut builder, "first", x);
    let second = conv(&mut builder, "second", first);
    let third = conv(&mut builder, "third", second);
    let sum = builder.layer("sum", Op::Binary(BinaryOp::Add), &[first, third]).unwrap();
    let fourth = conv(&mut builder, "fourth", first);
    let last = builder.layer("last", Op::Binary(BinaryOp::Add), &[sum, fourth]).unwrap();
    let float = builder.finish(last).unwrap();
    check(&float, 3, "edge-16x16", &[], (2, false), false).unwrap();

    let inputs = Array2::from_shape_simple_fn((2, 1024), || 0.25_f32);
    let ranges = compress::calibrate(&float, inputs.view()).unwrap();
    let quantized = compress::quantize(&float, &ranges, Scheme::EIGHT_BITS).unwrap();
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
