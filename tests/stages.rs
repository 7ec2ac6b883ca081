//! Do stages of convolutions and dense layers come out right on the whole machine, whatever the chip (memories, ports, engines, dataflow,
//! lanes, sparsity, codec), the filter and the images; do both drives agree; and do the bounds hold?
//!
//! The longer run: `PROPTEST_CASES=20000 cargo test --release --test stages`.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod dataflows;

use dataflows::{banked, burst_bytes, codec, dataflow, memories};
use ndarray::{Array1, Array2};
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use systole::chip::{self, Chip, Codec, Dram, Sparsity, Stationary};
use systole::counts::StallReason;
use systole::mapping::{
    self, Choice, InputBuffer, Layout, LeastActions, Lowered, Mapping, MappingError, Memory, Order, OutputBuffer, Problem, Stage,
    WeightBuffer, WeightStart,
};
use systole::network::Border;
use systole::numerics::{AccumulateRule, Dtype, LayerClass, OutputStage, Quantization};
use systole::program::{Program, StageNumbers, emit_stages, emit_timing};
use systole::sim::{Engine, Machine, Peeled, Run, StageRun};
use systole::units::Bytes;

/// One layer as drawn: channels out, filter, stride, dilation, padding, groups where they divide the channels.
type Drawn = (u64, [u64; 2], [u64; 2], [u64; 2], [u64; 2], u64);

#[derive(Debug, Clone)]
struct Case {
    sets: Vec<(&'static str, String)>,
    batch: u64,
    channels: u64,
    image: [u64; 2],
    layers: Vec<Drawn>,
    resident: bool,
    /// Whether stages are mapped as one of the candidates of a search.
    chosen: bool,
    /// How images lie, a layer after the other.
    layouts: Vec<Layout>,
    density: f64,
    weight: Dtype,
    seed: u64,
}

/// The layers' problems, each on what the one before yields; a layer whose filter does not fit its image is left out.
fn problems(case: &Case) -> Vec<Problem> {
    let (mut channels, mut image) = (case.channels, case.image);
    let mut all = Vec::new();
    for (m, filter, stride, dilation, padding, groups) in &case.layers {
        let output = |axis: usize| {
            let reach = (filter[axis] - 1) * dilation[axis] + 1;
            (image[axis] + 2 * padding[axis]).checked_sub(reach).map(|room| room / stride[axis] + 1)
        };
        let (Some(p), Some(q)) = (output(0), output(1)) else { continue };
        all.push(Problem {
            n: case.batch,
            p,
            q,
            r: filter[0],
            s: filter[1],
            input: image,
            stride: *stride,
            dilation: *dilation,
            padding: *padding,
            groups: if channels.is_multiple_of(*groups) && m.is_multiple_of(*groups) { *groups } else { 1 },
            ..Problem::matrix(1, channels, *m, case.weight, Dtype::Int8)
        });
        (channels, image) = (*m, [p, q]);
    }
    all
}

struct Layer {
    problem: Problem,
    weights: Array2<i16>,
    bias: Array1<i64>,
    zero_point: i32,
    output: OutputStage,
}

/// Random numbers, pruned as the chip needs: `density` of the weights are let be, a rectangle of them is zero, of each group `n` are kept.
fn layers(case: &Case, chip: &Chip, rng: &mut ChaCha8Rng) -> Vec<Layer> {
    let mut zero_point = rng.random_range(-128..128);
    let drawn = problems(case).into_iter().map(|problem| {
        let size = |of: u64| usize::try_from(of).unwrap();
        let (k, m) = (size(problem.reduction()), size(problem.channels()));
        let mut weights = Array2::from_shape_simple_fn((k, m), || if rng.random_bool(case.density) { weight(case.weight, rng) } else { 0 });
        let corner = (rng.random_range(0..=k), rng.random_range(0..=m));
        weights.indexed_iter_mut().for_each(|((row, col), weight)| {
            if row < corner.0 && col < corner.1 {
                *weight = 0;
            }
        });
        if let Sparsity::NM { n, m: group } = chip.array().sparsity {
            for mut column in weights.columns_mut() {
                for start in (0..k).step_by(group as usize) {
                    for place in (start..k.min(start + group as usize)).skip(n as usize) {
                        column[place] = 0;
                    }
                }
            }
        }
        let bias = Array1::from_shape_simple_fn(m, || rng.random_range(-500..500_i64));
        let scales: Vec<f32> = (0..m).map(|_| rng.random_range(0.001..0.01)).collect();
        let output = Quantization { dtype: Dtype::Int8, scale: 0.5, zero_point: rng.random_range(-128..128) };
        let stage = OutputStage::new(
            chip.vector().requantize,
            LayerClass::Dense,
            0.5,
            &scales,
            &output,
            (if rng.random_bool(0.3) { 0.0 } else { f32::NEG_INFINITY }, f32::INFINITY),
        );
        let layer = Layer { problem, weights, bias, zero_point, output: stage };
        zero_point = output.zero_point;
        layer
    });
    drawn.collect()
}

fn weight(dtype: Dtype, rng: &mut ChaCha8Rng) -> i16 {
    i16::try_from(rng.random_range(dtype.min()..=dtype.max())).unwrap()
}

/// One layer by plain loops over N x H x W x C: every update of the accumulator by its rule.
fn golden(layer: &Layer, chip: &Chip, stationary: Stationary, input: &[i32]) -> Vec<i32> {
    let Layer { problem, weights, bias, zero_point, output } = layer;
    let format = &chip.formats()[0];
    let rule: AccumulateRule = chip.arithmetic(format, chip.dataflow(stationary).unwrap()).accumulate;
    let (height, width, channels) = (problem.input[0], problem.input[1], problem.c);
    let (of_group, filters) = (channels / problem.groups, problem.m / problem.groups);
    let mut outputs = Vec::new();
    for n in 0..problem.n {
        for p in 0..problem.p {
            for q in 0..problem.q {
                let vector_of = |group: u64| {
                    let mut vector = Vec::new();
                    for r in 0..problem.r {
                        for s in 0..problem.s {
                            for c in group * of_group..(group + 1) * of_group {
                                let y = (p * problem.stride[0] + r * problem.dilation[0]).checked_sub(problem.padding[0]);
                                let x = (q * problem.stride[1] + s * problem.dilation[1]).checked_sub(problem.padding[1]);
                                vector.push(match (y, x) {
                                    (Some(y), Some(x)) if y < height && x < width => {
                                        let at = ((n * height + y) * width + x) * channels + c;
                                        i64::from(input[usize::try_from(at).unwrap()] - zero_point)
                                    }
                                    _ => 0,
                                });
                            }
                        }
                    }
                    vector
                };
                let vectors: Vec<Vec<i64>> = (0..problem.groups).map(vector_of).collect();
                for (m, column) in weights.columns().into_iter().enumerate() {
                    let vector = &vectors[usize::try_from(m as u64 / filters).unwrap()];
                    let places = kept(chip.array().sparsity, &column.to_vec());
                    let sums = places.chunks(usize::try_from(rule.chunk).unwrap());
                    let product = |place: &Option<usize>| place.map_or(0, |place| vector[place] * i64::from(column[place]));
                    let sum = sums.fold(bias[m], |sum, places| rule.update(sum, places.iter().map(product).sum()));
                    outputs.push(output.apply(m, sum));
                }
            }
        }
    }
    outputs
}

/// The rows of K that the array multiplies, in its order: with N:M sparsity `n` places for each group, first what is not zero and then, as far
/// as there is room, others; none past the end of K.
fn kept(sparsity: Sparsity, weights: &[i16]) -> Vec<Option<usize>> {
    let Sparsity::NM { n, m } = sparsity else { return (0..weights.len()).map(Some).collect() };
    let mut places = Vec::new();
    for (group, weights) in weights.chunks(m as usize).enumerate() {
        let mut spare = (n as usize).min(weights.len()) - weights.iter().filter(|weight| **weight != 0).count();
        let mut of_group = Vec::new();
        for (place, weight) in weights.iter().enumerate() {
            let keep = *weight != 0 || spare > 0;
            spare -= usize::from(keep && *weight == 0);
            of_group.extend(keep.then_some(Some(group * m as usize + place)));
        }
        of_group.resize(n as usize, None);
        places.extend(of_group);
    }
    places
}

/// For each element of K and channel, whether its weight is zero, where the chip skips tiles of such or leaves them out of DRAM.
fn zeros(layer: &Layer, chip: &Chip) -> Vec<bool> {
    let matters = chip.array().sparsity == Sparsity::TileSkip || chip.storage().codec != Codec::None;
    if matters { layer.weights.iter().map(|weight| *weight == 0).collect() } else { Vec::new() }
}

fn check(case: &Case) -> Result<(), TestCaseError> {
    let sets: Vec<_> = case.sets.iter().map(|(field, value)| ((*field).to_string(), value.clone())).collect();
    let chip = chip::load("edge-16x16", &sets).map_err(|error| TestCaseError::fail(error.to_string()))?;
    let mut rng = ChaCha8Rng::seed_from_u64(case.seed);
    let layers = layers(case, &chip, &mut rng);
    if layers.is_empty() {
        return Ok(());
    }
    let stages: Vec<Lowered> = layers
        .iter()
        .enumerate()
        .map(|(number, layer)| Lowered {
            zeros: zeros(layer, &chip),
            ..Lowered::unchecked(&format!("layer{number}"), layer.problem, number)
        })
        .collect();
    let stages: Vec<Lowered> = stages
        .iter()
        .enumerate()
        .map(|(number, stage)| if number > 0 { stage.clone().after(&stages[number - 1]) } else { stage.clone() })
        .collect();
    let start = if case.resident { WeightStart::Resident } else { WeightStart::Cold };
    // Any of what a search would look at, the largest pieces, or whatever dataflow.
    let choices = stages.iter().zip(case.layouts.iter().cycle()).map(|(stage, layout)| {
        // Groups of channels lie with all channels innermost.
        let layout = if stage.problem.groups > 1 { &Layout::ChannelInnermost } else { layout };
        let dataflows = &chip.array().dataflows;
        let any = Choice { stationary: dataflows[rng.random_range(0..dataflows.len())].kind(), tiling: None, layout: *layout };
        let candidates = mapping::few_candidates(stage, &chip, case.batch, start, *layout);
        if case.chosen && !candidates.is_empty() { candidates[rng.random_range(0..candidates.len())].0 } else { any }
    });
    let choices: Vec<Choice> = choices.collect();
    let mapping = match mapping::map_as(&stages, &chip, case.batch, start, &choices) {
        Ok(mapping) => mapping,
        // What fits alone need not fit beside the others.
        Err(MappingError::Pinned { .. }) if case.chosen => return Ok(()),
        Err(MappingError::TooSmall { needed, capacity, .. }) => {
            prop_assert!(needed > capacity);
            return Ok(());
        }
        Err(other) => return Err(TestCaseError::fail(other.to_string())),
    };
    let numbers = layers.iter().map(|layer| StageNumbers {
        border: Border::Zero,
        weights: layer.weights.view(),
        bias: Some(layer.bias.view()),
        zero_point: layer.zero_point,
        output: layer.output.clone(),
    });
    let program = emit_stages(&mapping, &chip, numbers).map_err(|error| TestCaseError::fail(error.to_string()))?;
    let input: Vec<i32> = (0..layers[0].problem.pixels() * layers[0].problem.c).map(|_| rng.random_range(-128..128)).collect();
    let bytes: Vec<u8> = input.iter().map(|x| i8::try_from(*x).unwrap().to_le_bytes()[0]).collect();
    let bytes = laid_out(&bytes, &layers[0].problem, choices[0].layout);
    let format = &chip.formats()[0];
    let machine = Machine::new(&chip, format, &program).unwrap();
    let run = machine.run(&[&bytes], Engine::Wavefront).map_err(|error| TestCaseError::fail(error.to_string()))?;
    let expected = layers.iter().zip(&choices).fold(input, |input, (layer, choice)| golden(layer, &chip, choice.stationary, &input));
    let outputs: Vec<i32> = run.output.iter().map(|byte| i32::from(i8::from_le_bytes([*byte]))).collect();
    prop_assert_eq!(outputs, expected);
    prop_assert_eq!(&machine.run(&[&bytes], Engine::Stepped).unwrap(), &run, "both drives agree in outputs, cycles, counts and stalls");
    // A run without numbers takes the same time.
    let timed = machine.time().unwrap();
    prop_assert_eq!((timed.total_cycles, &timed.units), (run.total_cycles, &run.units));
    if !case.resident && chip.array().sparsity != Sparsity::TileSkip {
        let unknown = emit_timing(&mapping, &chip).unwrap();
        let timed = Machine::new(&chip, format, &unknown).unwrap().time().unwrap();
        prop_assert_eq!((timed.total_cycles, &timed.units), (run.total_cycles, &run.units), "nobody needs to know the numbers");
    }
    let bounds = mapping::lower_bounds(&mapping, &chip);
    prop_assert!(bounds.program <= run.total_cycles, "{} are a lower bound of {}", bounds.program, run.total_cycles);
    for ((stage, bound), mapped) in run.stages.iter().zip(&bounds.stages).zip(mapping.stages()) {
        prop_assert!(bound.cycles <= stage.window, "{} are a lower bound of {}: {:?}", bound.cycles, stage.window, mapped);
    }
    for (least, (stage, mapped)) in mapping::least_actions(&mapping, &chip).iter().zip(run.stages.iter().zip(mapping.stages())) {
        check_least(least, stage, mapped, &chip)?;
    }
    // Bytes on the bus are the wanted ones, or whole bursts that hold them; time without numbers does the same.
    for (stage, timed) in run.stages.iter().zip(&timed.stages) {
        prop_assert_eq!((timed.window, timed.array, timed.traffic), (stage.window, stage.array, stage.traffic));
        prop_assert_eq!(
            (timed.actions.dram_activates, timed.actions.dram_refreshes),
            (stage.actions.dram_activates, stage.actions.dram_refreshes)
        );
        let (coded, unpacked) = (stage.actions.coded_bytes, stage.actions.unpacked_bytes);
        prop_assert!(coded <= unpacked && coded <= stage.traffic.dram.weight.read, "nothing grows");
        prop_assert_eq!((timed.actions.coded_bytes, timed.actions.unpacked_bytes), (coded, unpacked));
        let (bus, wanted) = ([stage.actions.dram_read_bytes, stage.actions.dram_write_bytes], stage.traffic.dram.total());
        let wanted = [wanted.read, wanted.write];
        if let Some(burst) = burst_bytes(&chip) {
            prop_assert!((0..2).all(|of| bus[of] >= wanted[of] && bus[of].is_multiple_of(burst)), "{bus:?} of {wanted:?}");
        } else {
            prop_assert_eq!(bus, wanted);
        }
    }
    check_peeled(&machine, &run)?;
    prop_assert_eq!(Program::from_text(&program.to_text().unwrap()).unwrap(), program);
    check_links(&mapping, &chip, &run)?;
    check_residency(case, &chip, &mapping, (&stages, start, &choices))?;
    // Each weight crosses the bus once where the input stays; the rows of an input cross it once whatever is cut.
    for (stage, run) in mapping.stages().iter().zip(&run.stages) {
        let (wanted, read) = (stage.problem.pixels() * stage.problem.c, run.traffic.dram.input.read);
        prop_assert!(read <= wanted, "{} bytes of input of {}", read, wanted);
    }
    Ok(())
}

/// A stage does no less than its bounds say, action by action.
fn check_least(least: &LeastActions, stage: &StageRun, mapped: &Stage, chip: &Chip) -> Result<(), TestCaseError> {
    let did = &stage.actions;
    prop_assert_eq!((least.macs, least.vector_operations), (did.macs, did.vector_operations));
    prop_assert_eq!(least.unpacked_bytes, did.unpacked_bytes);
    let roles = chip.scratchpad_roles();
    let of_pads = |rows: [u64; 2]| {
        let mut pads = [0; 2];
        pads[roles.activation] += rows[0];
        pads[roles.weight] += rows[1];
        pads
    };
    let (reads, writes) = (of_pads(least.scratchpad_reads), of_pads(least.scratchpad_writes));
    let pairs = [
        (least.dram_read_bytes, did.dram_read_bytes),
        (least.dram_write_bytes, did.dram_write_bytes),
        (reads[0], did.scratchpad_reads[0]),
        (reads[1], did.scratchpad_reads[1]),
        (writes[0], did.scratchpad_writes[0]),
        (writes[1], did.scratchpad_writes[1]),
        (least.accumulator_reads, did.accumulator_reads),
        (least.accumulator_writes, did.accumulator_writes),
    ];
    prop_assert!(pairs.iter().all(|(least, did)| least <= did), "{:?} is no less than {:?}: {:?}", did, least, mapped);
    if burst_bytes(chip).is_none() {
        prop_assert_eq!((least.dram_read_bytes, least.dram_write_bytes), (did.dram_read_bytes, did.dram_write_bytes));
    }
    Ok(())
}

/// What goes into a link comes out of it, no less crosses DRAM's bus than has to, and no more in a cycle than can; each unit's accounts sum up.
fn check_links(mapping: &Mapping, chip: &Chip, run: &Run) -> Result<(), TestCaseError> {
    for unit in &run.units {
        prop_assert_eq!(unit.cycles.busy + unit.cycles.idle + unit.cycles.stalled_total(), run.total_cycles.get(), "{}", unit.unit);
    }
    let (mut wanted, mut macs) = (0, 0);
    for (number, (stage, ran)) in mapping.stages().iter().zip(&run.stages).enumerate() {
        let (problem, traffic) = (&stage.problem, &ran.traffic);
        let (dram, pad, sums) = (&traffic.dram, &traffic.scratchpad, &traffic.accumulator);
        prop_assert_eq!(dram.input.read, pad.input.write, "activations from DRAM to a scratchpad");
        prop_assert_eq!(pad.output.read, dram.output.write, "results from a scratchpad to DRAM");
        prop_assert_eq!(pad.output.write, problem.vectors() * problem.channels(), "every result is written once");
        prop_assert_eq!(pad.output.write, ran.actions.vector_operations, "from the vector unit to a scratchpad");
        let element = mapping.buffers().accumulator_element_bytes;
        prop_assert!(sums.psum.read >= element * pad.output.write, "every sum goes to the vector unit");
        // What lies coded crosses DRAM's bus coded, and is written unpacked.
        let biases = dram.weight.read + ran.actions.unpacked_bytes - ran.actions.coded_bytes - pad.weight.write;
        let lines = if stage.rules.lines_are_channels() { problem.vectors() } else { 1 };
        prop_assert!(biases >= lines * problem.channels() * element, "beside weights, biases are fetched");
        prop_assert!(sums.psum.write >= element * pad.output.write, "every sum has its bias");
        // What has to cross: weights that are not there, input that nobody left, output that nobody takes.
        if stage.weights == WeightBuffer::Fetched && stage.skipped.is_empty() && !matches!(chip.array().sparsity, Sparsity::NM { .. }) {
            let bits = problem.reduction() * problem.channels() * u64::from(problem.weight.bits());
            prop_assert!(8 * pad.weight.write >= bits);
        }
        let is_kept = matches!(stage.input, InputBuffer::Kept { .. });
        // A filter may reach nothing but padding.
        prop_assert!(dram.input.read == 0 || !is_kept);
        if !is_kept {
            // Every pixel that a filter reaches, of which there are at least as many as places for it, or as it has elements.
            let rows = (0..problem.p).flat_map(|p| (0..problem.r).map(move |r| p * problem.stride[0] + r * problem.dilation[0]));
            let within = |row: &u64| *row >= problem.padding[0] && row - problem.padding[0] < problem.input[0];
            let reached: std::collections::BTreeSet<u64> = rows.filter(within).collect();
            prop_assert!(dram.input.read >= problem.n * reached.len() as u64 * problem.input[1] * problem.c, "stage {number}");
        }
        let is_stored = matches!(stage.output, OutputBuffer::Stored { .. });
        prop_assert_eq!(dram.output.write, if is_stored { pad.output.write } else { 0 });
        wanted += dram.total().read + dram.total().write;
        macs += ran.actions.macs;
    }
    prop_assert!(run.total_cycles.get() >= macs.div_ceil(chip.peak_macs_per_cycle(&chip.formats()[0])));
    if let Dram::Ideal { .. } = chip.dram() {
        let rate = chip.dram().bytes_per_cycle(chip.clock());
        prop_assert!(run.total_cycles >= chip.dram().latency(chip.clock()) + rate.cycles_for(Bytes::new(wanted)));
    }
    Ok(())
}

/// Whatever is without limit, the program ends, its windows make up its time, and nobody waits for it.
fn check_peeled(machine: &Machine<'_>, run: &Run) -> Result<(), TestCaseError> {
    for peeled in
        Peeled::STEPS.into_iter().chain([Peeled { vector: true, ..Peeled::default() }, Peeled { array: true, ..Peeled::default() }])
    {
        let faster = machine.time_peeled(peeled).map_err(|error| TestCaseError::fail(error.to_string()))?;
        prop_assert_eq!(faster.stages.iter().map(|stage| stage.window.get()).sum::<u64>(), faster.total_cycles.get(), "{:?}", peeled);
        prop_assert!(peeled != Peeled::default() || faster.units == run.units);
        let stalls = || faster.units.iter().flat_map(|unit| unit.cycles.stalls()).map(|(reason, _)| reason);
        let of_dram = |reason| matches!(reason, StallReason::DramBandwidth | StallReason::DramLatency);
        let of_ports = |reason: StallReason| reason.name().starts_with("scratchpad") || reason.name().starts_with("accumulator");
        prop_assert!(!stalls().any(|reason| peeled.dram && of_dram(reason) || peeled.ports && of_ports(reason)), "{:?}", peeled);
    }
    Ok(())
}

/// Nothing lies where something else does, nor outside of its memory; and the scratchpad that would keep all outputs does, and one a row of each
/// bank smaller does not.
fn check_residency(
    case: &Case,
    chip: &Chip,
    mapping: &Mapping,
    (stages, start, choices): (&[Lowered], WeightStart, &[Choice]),
) -> Result<(), TestCaseError> {
    let residents = mapping.residents(chip);
    let capacity = |memory| match memory {
        Memory::Scratchpad(number) => chip.scratchpads()[number].capacity.get(),
        Memory::Accumulator => chip.accumulator().capacity.get(),
    };
    for (number, one) in residents.iter().enumerate() {
        prop_assert!(one.address + one.bytes <= capacity(one.memory), "{:?}", one);
        prop_assert!(mapping::peak(&residents, one.memory, stages.len()).0 <= capacity(one.memory));
        for other in &residents[number + 1..] {
            let meet = one.stages.start() <= other.stages.end() && other.stages.start() <= one.stages.end();
            let apart = one.address + one.bytes <= other.address || other.address + other.bytes <= one.address;
            prop_assert!(one.memory != other.memory || !meet || apart, "{:?} and {:?}", one, other);
        }
    }
    if let Some(bytes) = mapping::least_scratchpad(stages, chip, case.batch, start, choices) {
        let pad = chip.scratchpad_roles().activation;
        let stripe = u64::from(chip.scratchpads()[pad].banks * chip.scratchpads()[pad].port_bytes);
        prop_assert!(mapping.edges().any(|(_, is_kept)| !is_kept) && bytes > chip.scratchpads()[pad].capacity.get());
        let keeps_all = |bytes: u64| {
            let own = case.sets.iter().map(|(field, value)| ((*field).to_string(), value.clone()));
            let sets: Vec<_> = own.chain([(format!("scratchpads.{pad}.capacity"), format!("B({bytes})"))]).collect();
            let chip = chip::load("edge-16x16", &sets).unwrap();
            mapping::map_as(stages, &chip, case.batch, start, choices).is_ok_and(|mapping| mapping.edges().all(|(_, is_kept)| is_kept))
        };
        prop_assert!(keeps_all(bytes) && !keeps_all(bytes - stripe), "{bytes} bytes");
    }
    Ok(())
}

/// Channel-innermost pixels of a byte a channel as they lie in DRAM: channel c of pixel i at `c / block * plane + i * block + c % block`.
fn laid_out(bytes: &[u8], problem: &Problem, layout: Layout) -> Vec<u8> {
    let size = |of: u64| usize::try_from(of).unwrap();
    let (channels, pixels) = (size(problem.c), size(problem.pixels()));
    let block = match layout {
        Layout::BlockedByC(block) if problem.input != [1, 1] => size(block.get()).min(channels),
        Layout::RowMajor if problem.input != [1, 1] => 1,
        _ => channels,
    };
    let mut out = vec![0; channels.div_ceil(block) * pixels * block];
    for (at, byte) in bytes.iter().enumerate() {
        let (i, c) = (at / channels, at % channels);
        out[c / block * pixels * block + i * block + c % block] = *byte;
    }
    out
}

fn layouts() -> impl Strategy<Value = Vec<Layout>> {
    let some = prop_oneof![
        2 => Just(Layout::ChannelInnermost),
        2 => Just(Layout::RowMajor),
        2 => (1..=9_u64).prop_map(|block| Layout::BlockedByC(block.try_into().unwrap())),
    ];
    prop_oneof![1 => Just(vec![Layout::ChannelInnermost]), 2 => prop::collection::vec(some, 3..=3)]
}

fn layer() -> impl Strategy<Value = Drawn> {
    let pair = |range: std::ops::RangeInclusive<u64>| (range.clone(), range).prop_map(|(down, right)| [down, right]);
    (
        1..=14_u64,
        pair(1..=3),
        pair(1..=2),
        prop_oneof![3 => Just([1, 1]), 1 => pair(1..=2)],
        prop_oneof![Just([0, 0]), pair(0..=2)],
        prop_oneof![3 => Just(1), 1 => 2..=4_u64, 1 => 5..=14_u64],
    )
}

fn cases() -> impl Strategy<Value = Case> {
    let dataflows = prop_oneof![
        2 => dataflow(&["Weight", "Input", "Output"]).prop_map(|one| vec![one]),
        1 => (dataflow(&["Weight"]), dataflow(&["Output"])).prop_map(|(one, other)| vec![one, other]),
        1 => (dataflow(&["Output"]), dataflow(&["Input"]), dataflow(&["Weight"])).prop_map(|(one, other, last)| vec![one, other, last]),
    ];
    let array = ((1..=6_u32, 1..=6_u32), dataflows, prop_oneof![3 => Just(1_u32), 1 => Just(2), 1 => Just(4)]);
    let sparsity = prop_oneof![4 => Just("Dense"), 1 => Just("NM(n: 1, m: 3)"), 1 => Just("NM(n: 2, m: 4)"), 2 => Just("TileSkip")];
    let rules = (sparsity, any::<bool>(), prop_oneof![Just("Wrap"), Just("Saturate")], prop_oneof![Just(20_u32), Just(24), Just(40)]);
    let image = prop_oneof![1 => Just([1, 1]), 3 => (1..=7_u64, 1..=7_u64).prop_map(|(height, width)| [height, width])];
    let problem = (1..=3_u64, 1..=9_u64, image, prop::collection::vec(layer(), 1..=3));
    let vector = (1..=9_u32, 0..=3_u32, 1..=2_u32);
    // A third of the chips have DRAM with banks, behind any core clock.
    let clocks = prop::sample::select(&["MHz(1000)", "MHz(7)", "MHz(933.33)", "GHz(9)"][..]);
    let dram = (prop_oneof![2 => Just(None), 1 => banked().prop_map(Some)], clocks);
    let densities = prop_oneof![2 => Just(1.0), 1 => Just(0.3), 1 => Just(0.03)];
    let storage = (codec(), prop_oneof![3 => Just(Dtype::Int8), 1 => Just(Dtype::Int4), 1 => Just(Dtype::Int2)]);
    let rest = ((any::<bool>(), any::<bool>()), (densities, storage), (any::<u64>(), layouts()), vector, 0..=6_u64, dram);
    (array, memories(), rules, problem, rest).prop_map(|(array, mut sets, rules, problem, rest)| {
        let (((rows, cols), dataflows, lanes), (sparsity, gating, overflow, bits)) = (array, rules);
        let ((resident, chosen), (density, (codec, weight)), (seed, layouts), (vector_lanes, start, each), depth, (dram, clock)) = rest;
        let sparsity = if sparsity.starts_with("NM") && (dataflows.iter().any(|one| one.starts_with("Input")) || rows * lanes % 2 == 1) {
            "Dense"
        } else {
            sparsity
        };
        let scale = |text: &str| {
            // The small memories of single products hold few rows of an image: larger ones too.
            let mut out = String::new();
            for part in text.split_inclusive("capacity: B(") {
                match part.split_once(')') {
                    Some((number, rest)) if number.parse::<u64>().is_ok() => {
                        out += &(number.parse::<u64>().unwrap() << depth).to_string();
                        out += ")";
                        out += rest;
                    }
                    _ => out += part,
                }
            }
            out
        };
        for (field, value) in &mut sets {
            if *field == "scratchpads" || *field == "accumulator" {
                *value = scale(value);
            }
        }
        sets.extend([
            ("array.rows", rows.to_string()),
            ("array.cols", cols.to_string()),
            ("array.dataflows", format!("[{}]", dataflows.join(", "))),
            ("array.sparsity", sparsity.to_string()),
            ("array.zero_gating", gating.to_string()),
            (
                "formats",
                format!(
                    "[(weight: {weight:?}, activation: Int8, lanes: {lanes}, accumulator_bits: {bits}, overflow: {overflow}, pe: Table)]"
                ),
            ),
            ("storage.codec", if sparsity.starts_with("NM") { "None".to_string() } else { codec }),
            ("vector.lanes", vector_lanes.to_string()),
            ("vector.start_cycles", start.to_string()),
            ("vector.cycles.requantize", each.to_string()),
        ]);
        if let Some(dram) = dram {
            sets.extend([("dram", dram), ("clock", clock.to_string())]);
        }
        let (batch, channels, image, layers) = problem;
        Case { sets, batch, channels, image, layers, resident, chosen, layouts, density, weight, seed }
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(1000), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn stages_come_out_right_in_both_drives(case in cases()) {
        check(&case)?;
    }
}

/// The cases reach what they are for.
#[test]
fn weights_are_fetched_once_where_the_input_can_stay() {
    let chip = chip::load("edge-16x16", &[]).unwrap();
    let problem = |side: u64, c: u64, m: u64| Problem {
        n: 1,
        p: side,
        q: side,
        r: 3,
        s: 3,
        input: [side, side],
        padding: [1, 1],
        ..Problem::matrix(1, c, m, Dtype::Int8, Dtype::Int8)
    };
    let order = |problem| {
        let stage = Lowered::unchecked("conv", problem, 0);
        let mapping = mapping::map(&[stage], &chip, 1, WeightStart::Cold).unwrap();
        let program = emit_timing(&mapping, &chip).unwrap();
        let run = Machine::new(&chip, &chip.formats()[0], &program).unwrap().time().unwrap();
        let traffic = run.stages[0].traffic.dram;
        (mapping.stages()[0].tiling.order, traffic.weight.read, traffic.input.read, mapping.stages()[0].blocks())
    };
    let (order_of, weights, input, blocks) = order(problem(28, 128, 128));
    let bias = 4 * 128 * blocks;
    assert_eq!((order_of, weights, input), (Order::Channels, 9 * 128 * 128 + bias, 28 * 28 * 128));
    let (order_of, weights, input, blocks) = order(problem(112, 64, 64));
    assert_eq!((order_of, weights, input), (Order::Blocks, blocks * (9 * 64 * 64 + 4 * 64), 112 * 112 * 64));
}
