//! Whole graphs on the chip: random small networks of every operation, held to the integer reference bit for bit, on random chips; and the laws
//! that hold for any program.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod drawing;
mod onchip;

use drawing::network;
use ndarray::Array2;
use onchip::OnChip;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use systole::chip;
use systole::compress::{self, Formats, Recipe, Scheme, Surroundings};
use systole::mapping::{self, Choice, MappingError, WeightStart};
use systole::network::{Network, Op, fuse_activations};
use systole::program::emit_timing;
use systole::sim::{Engine, Machine};

/// What may be refused of formats other than of 8 bits.
const PACKING: &[&str] = &["begin within a byte", "are no whole bytes", "do not begin on a byte", "packed as this array takes them"];

/// A network behind steps of a recipe; as it is where they would leave a layer with nothing.
fn pruned(network: &Network, steps: &str) -> Network {
    let samples = Array2::zeros((1, network.input().output.elements()));
    let around = Surroundings { samples: samples.view(), tile: [16, 16] };
    steps.parse::<Recipe>().unwrap().prune(network, around).map_or_else(|_| network.clone(), |(pruned, _)| pruned)
}

/// Formats of a chip's, drawn for all layers and again for some.
fn formats(rng: &mut ChaCha8Rng, network: &Network, chip: &chip::Chip) -> Formats {
    let draw = |rng: &mut ChaCha8Rng| {
        let formats = chip.formats();
        let format = &formats[rng.random_range(0..formats.len())];
        let options = ["", ",tensor", ",symmetric", ",tensor,symmetric"][rng.random_range(0..4)];
        format!("w{}a{}{options}", format.weight.bits(), format.activation.bits())
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
    seed: u64,
    layers: usize,
    name: &str,
    sets: &[(String, String)],
    (batch, resident): (u64, bool),
    mixed: bool,
) -> Result<(), TestCaseError> {
    let fail = |error: &dyn std::fmt::Display| TestCaseError::fail(error.to_string());
    let chip = chip::load(name, sets).map_err(|error| fail(&error))?;
    let float = fuse_activations(&network(seed, layers)).unwrap();
    let mut rng = ChaCha8Rng::seed_from_u64(seed + 1);
    let formats = if mixed { formats(&mut rng, &float, &chip) } else { Formats::from(Scheme::EIGHT_BITS) };
    let float = compress::with_roundings(&float, formats.clone()).unwrap();
    // An array with N:M sparsity takes weights that are pruned so; blocks of zeros are skipped by another.
    let pruning = match name {
        "nm-16x16" => Some("nm:2:4"),
        "tileskip-16x16" => Some("block:16x16,0.4"),
        _ => None,
    };
    let float = pruning.map_or_else(|| float.clone(), |steps| pruned(&float, steps));
    let samples = usize::try_from(batch).unwrap();
    let inputs = Array2::from_shape_simple_fn((samples, float.input().output.elements()), || rng.random_range(-1.0..1.0_f32));
    let ranges = compress::calibrate(&float, inputs.view()).map_err(|error| fail(&error))?;
    let quantized = compress::quantize(&float, &ranges, formats).map_err(|error| fail(&error))?;
    let start = if resident { WeightStart::Resident } else { WeightStart::Cold };
    let choose = || {
        let dataflows = &chip.array().dataflows;
        Choice { stationary: dataflows[rng.random_range(0..dataflows.len())].kind(), ..Choice::first(&chip) }
    };
    let on_chip = match OnChip::new(&quantized, &chip, batch, start, choose) {
        Ok(on_chip) => on_chip,
        // What no unit can do is told, and what does not fit; nothing else is refused.
        Err(MappingError::NotSupported { problem, .. }) if problem.contains("slopes") || problem.contains("no dataflow of the array") => {
            return Ok(());
        }
        // Attention and what has 8 bits by default may meet a chip without them; elements of less than a byte may lie across bytes.
        Err(MappingError::NoFormat { .. }) if mixed => return Ok(()),
        Err(MappingError::NotSupported { problem, .. }) if mixed && PACKING.iter().any(|part| problem.contains(part)) => return Ok(()),
        Err(MappingError::Network(error)) if error.to_string().contains("softmax") || error.to_string().contains("mean") => return Ok(()),
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

/// Those with several formats, some with lanes.
const MIXED: &[&str] = &["edge-16x16", "edge-16x16-ddr4", "codec-16x16", "nm-16x16", "tileskip-16x16", "xnor-16x16"];

/// Chips that differ in what stages go by: dataflows, memories, engines, the vector unit.
fn chips() -> impl Strategy<Value = Vec<(String, String)>> {
    let pad = |role: &str, bytes: u64| format!("(role: {role}, capacity: B({bytes}), banks: 4, port_bytes: 16, latency: Cycles(4))");
    let pads = prop_oneof![
        Just(None),
        (1_u64..16).prop_map(move |kib| Some(format!("[{}]", pad("Shared", 1024 * kib)))),
        (1_u64..8).prop_map(move |kib| Some(format!("[{}, {}]", pad("Weight", 4096), pad("Input", 1024 * kib)))),
    ];
    (pads, 1..=2_u32, prop_oneof![Just(16_u32), 1..=20_u32], prop_oneof![Just("Float"), Just("FixedPoint")]).prop_map(
        |(pads, engines, lanes, _)| {
            let mut sets = vec![("dma.engines".to_string(), engines.to_string()), ("vector.lanes".to_string(), lanes.to_string())];
            sets.extend(pads.map(|pads| ("scratchpads".to_string(), pads)));
            sets
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn random_graphs_on_the_chip_equal_the_integer_reference(
        seed in any::<u32>(), layers in 1..=8_usize, name in prop::sample::select(CHIPS), sets in chips(), batch in 1..=3_u64, resident in any::<bool>(),
    ) {
        check(u64::from(seed), layers, name, &sets, (batch, resident), false)?;
    }

    #[test]
    fn random_graphs_in_mixed_formats_equal_the_integer_reference(
        seed in any::<u32>(), layers in 1..=8_usize, name in prop::sample::select(MIXED), sets in chips(), batch in 1..=3_u64, resident in any::<bool>(),
    ) {
        check(u64::from(seed), layers, name, &sets, (batch, resident), true)?;
    }
}
