//! Is what the machine computes what the integer reference computes, and do its accounts keep the laws, whatever the chip, the network
//! and the batch?
//!
//! The longer run: `PROPTEST_CASES=20000 cargo test --release --test machine`.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod dataflows;

use dataflows::{banked, burst_bytes, dataflow};
use ndarray::{Array1, Array2};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use systole::chip::{self, Chip};
use systole::compress::{Scheme, calibrate, quantize};
use systole::counts::{ActionCounts, OperandTraffic, StallReason, TrafficBytes};
use systole::mapping::{self, InputBuffer, MappingError, OutputBuffer, WeightStart};
use systole::network::{Activation, Bias, Dense, Network, NetworkBuilder, Op, Weight, fuse_activations};
use systole::program::{Program, emit};
use systole::reference::integer;
use systole::sim::{Account, Engine, Machine, Run};

/// An MLP of these widths with random weights, quantized on random samples. Some layers have no bias, some no activation.
fn network(widths: &[usize], rng: &mut ChaCha8Rng) -> Network {
    let mut builder = NetworkBuilder::new("mlp");
    let mut value = builder.input("x", vec![widths[0]]).unwrap();
    for (number, pair) in widths.windows(2).enumerate() {
        let weight = Array2::from_shape_simple_fn((pair[0], pair[1]), || rng.random_range(-1.0..1.0_f32));
        let bias = Array1::from_shape_simple_fn(pair[1], || rng.random_range(-1.0..1.0_f32));
        let bias = rng.random_bool(0.8).then_some(Bias::Float(bias));
        let dense = Dense { weight: Weight::Float(weight), bias, activation: Activation::None };
        value = builder.layer(format!("fc{number}"), Op::Dense(dense), &[value]).unwrap();
        if rng.random_bool(0.7) {
            value = builder.layer(format!("relu{number}"), Op::RELU, &[value]).unwrap();
        }
    }
    // A relu at the very end has no layer of its own on the chip, so that one more dense layer closes the network.
    let weight = Array2::from_shape_simple_fn((*widths.last().unwrap(), 3), || rng.random_range(-1.0..1.0_f32));
    value = builder
        .layer("last", Op::Dense(Dense { weight: Weight::Float(weight), bias: None, activation: Activation::None }), &[value])
        .unwrap();
    let float = fuse_activations(&builder.finish(value).unwrap()).unwrap();
    let samples = Array2::from_shape_simple_fn((16, widths[0]), || rng.random_range(-1.0..1.0_f32));
    let ranges = calibrate(&float, samples.view()).unwrap();
    quantize(&float, &ranges, "w8a8".parse::<Scheme>().unwrap()).unwrap()
}

/// A whole run of one batch of random inputs, its outputs held to the reference's.
struct Checked {
    run: Run,
    mapping: mapping::Mapping,
    program: Program,
    bounds: mapping::Bounds,
    burst: Option<u64>,
}

fn run_and_compare(network: &Network, chip: &Chip, batch: u64, start: WeightStart, seed: u64) -> Result<Checked, MappingError> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let stages = mapping::lower(network, chip, batch)?.stages;
    let mapping = mapping::map(&stages, chip, batch, start)?;
    let program = emit(network, &mapping, chip).unwrap();
    let format = &chip.formats()[0];
    let rows = usize::try_from(batch).unwrap();
    let inputs = Array2::from_shape_simple_fn((rows, network.input().output.elements()), || rng.random_range(-128..128_i32));
    let bytes: Vec<u8> = inputs.iter().map(|x| i8::try_from(*x).unwrap().to_le_bytes()[0]).collect();
    let machine = Machine::new(chip, format, &program).unwrap();
    let run = machine.run(&[&bytes], Engine::Stepped).unwrap();
    assert_eq!(machine.run(&[&bytes], Engine::Wavefront).unwrap(), run, "both drives agree in outputs, cycles, counts and stalls");
    let golden = integer::run(network, |_| chip.arithmetic(format, &chip.array().dataflows[0]), inputs).unwrap();
    let expected: Vec<u8> = golden.layer(network.logits().id).unwrap().iter().map(|y| i8::try_from(*y).unwrap().to_le_bytes()[0]).collect();
    assert_eq!(run.output, expected);
    let bounds = mapping::lower_bounds(&mapping, chip);
    Ok(Checked { run, mapping, program, bounds, burst: burst_bytes(chip) })
}

fn sum_of(run: &Run) -> (ActionCounts, TrafficBytes) {
    let (mut actions, mut traffic) = (ActionCounts::default(), TrafficBytes::default());
    for stage in &run.stages {
        actions += stage.actions;
        traffic += stage.traffic;
    }
    (actions, traffic)
}

/// What holds for any run, whatever the chip.
fn check_laws(network: &Network, checked: &Checked, batch: u64, start: WeightStart) {
    let Checked { run, mapping, program, bounds, burst } = checked;
    let total = run.total_cycles.get();
    for unit in &run.units {
        assert_eq!(unit.cycles.total(), total, "{} accounts for every cycle once", unit.unit);
    }
    assert_eq!(run.stages.iter().map(|stage| stage.window.get()).sum::<u64>(), total, "windows partition the run");
    for stage in &run.stages {
        assert_eq!(stage.array.total(), stage.window.get());
        assert!(stage.first_tick <= stage.last_tick && stage.last_tick.get() < total);
    }
    assert!(bounds.program <= run.total_cycles, "{} are a lower bound of {}", bounds.program, run.total_cycles);
    for (stage, bound) in run.stages.iter().zip(&bounds.stages) {
        assert!(bound.cycles <= stage.window, "{} are a lower bound of a window of {}", bound.cycles, stage.window);
    }
    let (actions, traffic) = sum_of(run);
    assert_eq!(actions.macs, batch * network.macs(), "useful MACs are the network's");
    // Compulsory traffic: inputs and biases in, outputs out, weights in where they are not on the chip.
    let weights: u64 = network.layers().filter_map(|l| if let Op::Dense(d) = &l.op { Some(d.weight.stored_bytes()) } else { None }).sum();
    let input = batch * network.input().output.elements() as u64;
    let output = batch * network.logits().output.elements() as u64;
    assert!(traffic.dram.input.read >= input && traffic.dram.output.write >= output);
    assert!(start == WeightStart::Resident || traffic.dram.weight.read >= weights);
    // Bytes in = bytes out of each link: what left DRAM came on chip, and the other way round.
    let OperandTraffic { input, weight, output, psum } = traffic.scratchpad;
    assert_eq!(traffic.dram.input.read, input.write);
    assert_eq!(traffic.dram.output.write, output.read);
    let (wanted, bus) = (traffic.dram.total(), [actions.dram_read_bytes, actions.dram_write_bytes]);
    match burst {
        None => assert_eq!([wanted.read, wanted.write], bus),
        Some(burst) => assert!(bus[0] >= wanted.read && bus[1] >= wanted.write && bus.iter().all(|bytes| bytes.is_multiple_of(*burst))),
    }
    assert!(weight.write <= traffic.dram.weight.read && psum == systole::counts::ReadWrite::default());
    // Every element that the vector unit made was written once, and it made every output of every stage.
    let made: u64 = mapping.stages().iter().map(|stage| stage.problem.vectors() * stage.problem.channels()).sum();
    assert_eq!((output.write, actions.vector_operations), (made, made));
    assert_eq!(Program::from_text(&program.to_text().unwrap()).unwrap(), *program, "the text form reads back");
}

fn sets(pairs: &[(&str, String)]) -> Vec<(String, String)> {
    pairs.iter().map(|(field, value)| ((*field).to_string(), value.clone())).collect()
}

/// Random chips, most of them far smaller than anybody would build, so that tiles, blocks and rings are cut in every way.
fn chips() -> impl Strategy<Value = Vec<(String, String)>> {
    let array = (1..=9_u32, 1..=9_u32, prop_oneof![4 => Just(1_u32), 1 => Just(2), 1 => Just(3)]);
    let timing = dataflow(&["Weight", "Weight", "Input", "Output"]);
    let memories = (1..=5_u64, 1..=24_u64, 1..=60_u64, 1..=4_u64, (1..=40_u64, 1..=3_u64), any::<bool>());
    let rest = (
        1..=2_u32,
        1..=4_u32,
        0..=20_u64,
        prop_oneof![Just("0.7"), Just("1"), Just("4"), Just("37.5")],
        ((1..=9_u32, 0..=3_u32, 1..=3_u32), prop_oneof![3 => Just(None), 1 => banked().prop_map(Some)]),
        prop_oneof![Just("Float"), Just("FixedPoint(convolution: Double, dense: Single)")],
    );
    (array, timing, memories, rest).prop_map(|((rows, cols, lanes), flow, memories, rest)| {
        let (banks, port, depth, acc_port_sums, (acc_depth, acc_banks), split) = memories;
        let (engines, outstanding, latency, rate, ((vector_lanes, start, each), dram), requantize) = rest;
        let pad = |role: &str, rows: u64| {
            format!(
                "(role: {role}, capacity: B({}), banks: {banks}, port_bytes: {port}, latency: Cycles({}))",
                banks * port * rows,
                1 + rows % 4
            )
        };
        let pads = if split {
            format!("[{}, {}]", pad("Input", depth), pad("Weight", 2 * depth))
        } else {
            format!("[{}]", pad("Shared", 4 * depth))
        };
        let acc_port = 4 * acc_port_sums;
        sets(&[
            ("array.rows", rows.to_string()),
            ("array.cols", cols.to_string()),
            ("array.dataflows", format!("[{flow}]")),
            ("formats", format!("[(weight: Int8, activation: Int8, lanes: {lanes}, accumulator_bits: 32, overflow: Saturate, pe: Table)]")),
            ("scratchpads", pads),
            (
                "accumulator",
                format!(
                    "(capacity: B({}), banks: {acc_banks}, port_bytes: {acc_port}, latency: Cycles({}))",
                    acc_port * acc_banks * acc_depth,
                    1 + acc_depth % 3
                ),
            ),
            ("vector.lanes", vector_lanes.to_string()),
            ("vector.start_cycles", start.to_string()),
            ("vector.cycles.requantize", each.to_string()),
            ("vector.requantize", requantize.to_string()),
            ("dma", format!("(engines: {engines}, bytes_per_cycle: {}, outstanding: {outstanding})", 1 + latency % 7)),
            ("dram", dram.unwrap_or_else(|| format!("Ideal(bytes_per_cycle: {rate}, latency: Cycles({latency}))"))),
        ])
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(1500), ..ProptestConfig::default() })]

    #[test]
    fn the_chip_equals_the_reference_and_keeps_the_laws(
        sets in chips(),
        widths in prop::collection::vec(1..=20_usize, 2..=4),
        batch in prop_oneof![Just(1_u64), 2..=9_u64],
        resident in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let chip = chip::load("edge-16x16", &sets).unwrap();
        let network = network(&widths, &mut ChaCha8Rng::seed_from_u64(seed));
        let start = if resident { WeightStart::Resident } else { WeightStart::Cold };
        match run_and_compare(&network, &chip, batch, start, seed) {
            Ok(checked) => check_laws(&network, &checked, batch, start),
            // Some chips are too small for one tile, and say so.
            Err(MappingError::TooSmall { needed, capacity, .. }) => prop_assert!(needed > capacity),
            Err(other) => panic!("{other}"),
        }
    }
}

#[test]
fn more_bandwidth_under_a_fixed_mapping_never_costs_cycles() {
    let network = network(&[60, 33, 20], &mut ChaCha8Rng::seed_from_u64(7));
    for batch in [1, 5, 40] {
        let mut last = u64::MAX;
        for rate in [1, 2, 3, 4, 8, 16, 64] {
            let chip =
                chip::load("edge-16x16", &sets(&[("dram.bytes_per_cycle", rate.to_string()), ("dma.bytes_per_cycle", "64".to_string())]))
                    .unwrap();
            let cycles = run_and_compare(&network, &chip, batch, WeightStart::Cold, 3).unwrap().run.total_cycles.get();
            assert!(cycles <= last, "{rate} bytes a cycle take {cycles} cycles, fewer bytes took {last}");
            last = cycles;
        }
    }
}

#[test]
fn what_fits_stays_on_the_chip() {
    let network = network(&[40, 33, 10], &mut ChaCha8Rng::seed_from_u64(1));
    let chip = chip::load("edge-16x16", &[]).unwrap();
    let cold = run_and_compare(&network, &chip, 4, WeightStart::Cold, 1).unwrap();
    let resident = run_and_compare(&network, &chip, 4, WeightStart::Resident, 1).unwrap();
    for checked in [&cold, &resident] {
        let stages = checked.mapping.stages();
        assert!(stages[1..].iter().all(|stage| matches!(stage.input, InputBuffer::Kept { .. })));
        assert!(stages[..stages.len() - 1].iter().all(|stage| matches!(stage.output, OutputBuffer::Kept { .. })));
    }
    let read = |checked: &Checked| sum_of(&checked.run).1.dram.weight.read;
    let weights = 40 * 33 + 33 * 10 + 10 * 3;
    assert_eq!((read(&cold), read(&resident)), (weights + 4 * (33 + 10 + 3), 4 * (33 + 10 + 3)));
    assert!(resident.run.total_cycles < cold.run.total_cycles);
}

#[test]
fn watching_changes_nothing_and_sees_every_cycle() {
    let network = network(&[20, 9], &mut ChaCha8Rng::seed_from_u64(2));
    let chip = chip::load("edge-16x16", &[]).unwrap();
    let checked = run_and_compare(&network, &chip, 1, WeightStart::Cold, 2).unwrap();
    let machine = Machine::new(&chip, &chip.formats()[0], &checked.program).unwrap();
    let (mut seen, mut stalled) = (0, 0);
    let run = machine
        .run_watched(&[&[3; 20]], |tick, accounts| {
            assert_eq!(tick.get(), seen);
            seen += 1;
            stalled += u64::from(accounts[0] == Account::Stalled(StallReason::WeightsNotReady));
        })
        .unwrap();
    assert_eq!(run.total_cycles, checked.run.total_cycles, "cycles do not depend on the data");
    assert_eq!((seen, stalled), (run.total_cycles.get(), run.units[0].cycles.stalled(StallReason::WeightsNotReady)));
}
