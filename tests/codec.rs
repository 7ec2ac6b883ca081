//! Do coded weights take the time that formulas say, come out as they went in, and are broken ones refused? What do they save on a pruned
//! SimpleNet?
//!
//! The codes themselves are `systole::codec`'s own tests, random networks on random chips are `stages`'.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod drives;

use drives::run;
use ndarray::Array2;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use systole::chip::{self, ArrayMode, Chip};
use systole::codec::{Code, CodecError, Coding};
use systole::compress::{Scheme, calibrate, quantize};
use systole::counts::{Operand, StallReason};
use systole::mapping::{self, WeightStart};
use systole::model::{self, Split};
use systole::network::{Dense, Network, NetworkBuilder, Op, Weight, fuse_activations};
use systole::numerics::Dtype;
use systole::numerics::packed::pack;
use systole::program::{
    Address, Coded, Command, HostRegion, Image, Item, MemorySizes, Operation, Place, Program, ProgramError, ProgramParts, StageDecl, Tag,
    Transfer, UnitId, UnitKind, UnitQueue, emit, emit_timing,
};
use systole::reference::integer;
use systole::sim::{Engine, Machine, Run, SimError};

const PAD: Place = Place::Scratchpad(0, 0);
const LOADER: UnitId = UnitId { core: 0, kind: UnitKind::Dma, index: 0 };

fn chip(codec: &str, more: &[(&str, &str)]) -> Chip {
    let sets =
        std::iter::once(("storage.codec", codec)).chain(more.iter().copied()).map(|(field, value)| (field.to_string(), value.to_string()));
    chip::load("edge-16x16", &sets.collect::<Vec<_>>()).unwrap_or_else(|error| panic!("{error}"))
}

/// Fetches `rows` rows of a coded block, which lies at address 0, and stores them side by side behind it.
fn parts(chip: &Chip, coding: Coding, block: Vec<u8>, rows: u64, row_bytes: u64) -> ProgramParts {
    let (stored, wanted) = (block.len() as u64, rows * row_bytes);
    let target = stored.next_multiple_of(64);
    let mvin = Transfer {
        operand: Operand::Weight,
        dram: Address::at(0),
        dram_stride: row_bytes,
        place: PAD,
        local: Address::at(0),
        local_stride: row_bytes,
        rows,
        row_bytes,
        coded: Some(Coded { coding, bytes: stored }),
        owns_gaps: false,
    };
    let mvout = Transfer { operand: Operand::Output, dram: Address::at(target), coded: None, ..mvin.clone() };
    let command = |stage, operation| Item::Do(Command { tag: Tag { stage, sample: 0 }, wait: Vec::new(), post: Vec::new(), operation });
    let stage = |name: &str| StageDecl { name: name.to_string(), mode: 0 };
    ProgramParts {
        queues: vec![UnitQueue { unit: LOADER, items: vec![command(0, Operation::Mvin(mvin)), command(1, Operation::Mvout(mvout))] }],
        semaphores: Vec::new(),
        output_stages: Vec::new(),
        vector_ops: Vec::new(),
        host_ops: Vec::new(),
        stages: vec![stage("in"), stage("out")],
        images: vec![Image { place: Place::Dram, address: 0, bytes: block }],
        inputs: Vec::new(),
        output: HostRegion { place: Place::Dram, address: target, bytes: wanted },
        coded_values: Vec::new(),
        memories: MemorySizes {
            dram: target + wanted,
            scratchpads: chip.scratchpads().iter().map(|pad| pad.capacity.get()).collect(),
            accumulator: chip.accumulator().capacity.get(),
        },
        accumulator_element_bytes: 4,
        modes: vec![ArrayMode::new(chip, &chip.formats()[0], &chip.array().dataflows[0])],
        array_only: false,
    }
}

fn first_transfer(parts: &mut ProgramParts) -> &mut Operation {
    let Item::Do(command) = &mut parts.queues[0].items[0] else { unreachable!() };
    &mut command.operation
}

fn mvin(parts: &mut ProgramParts) -> &mut Transfer {
    let Operation::Mvin(transfer) = first_transfer(parts) else { unreachable!() };
    transfer
}

fn written(coding: Coding, rate: &str) -> String {
    match coding.code {
        Code::ZeroBitmask => format!("ZeroBitmask(bytes_per_cycle: {rate}, activations: false)"),
        Code::RunLength { run_bits } => format!("RunLength(bytes_per_cycle: {rate}, run_bits: {run_bits}, activations: false)"),
        Code::Narrow { .. } => format!("Widen(bytes_per_cycle: {rate})"),
    }
}

fn ceil(bytes: u64, millionths: u64) -> u64 {
    (bytes * 1_000_000).div_ceil(millionths)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(300), failure_persistence: None, max_global_rejects: 1 << 20, ..ProptestConfig::default() })]

    /// With ideal DRAM a block of B bytes that becomes W ends in cycle `latency + max(ceil(B / rate), ceil(W / unpack))`, counted from 1; the bus
    /// is busy for the first of the two, and the rest waits for the codec. With banks the link alone bounds it, and nothing else differs.
    #[test]
    fn a_block_takes_the_longer_of_bus_and_unpacking(
        code in prop_oneof![
            Just(Code::ZeroBitmask),
            (1..=8_u32).prop_map(|run_bits| Code::RunLength { run_bits }),
            prop::sample::select(&[2_u32, 4, 8][..]).prop_map(|bits| Code::Narrow { bits }),
        ],
        width in prop::sample::select(&[2_u32, 4, 8, 16][..]),
        rows in 1..=24_u64,
        row_bytes in prop::sample::select(&[16_u64, 32, 64][..]),
        density in 0.0..0.6_f64,
        (rate, unpack) in (1..=40_u64, prop::sample::select(&[370_000_u64, 1_000_000, 3_000_001, 8_000_000, 64_000_000][..])),
        is_banked in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let coding = Coding { code, element_bits: width };
        prop_assume!(coding.is_valid());
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut whole: Vec<u8> = (0..rows * row_bytes)
            .map(|_| if rng.random_bool(density) { rng.random() } else { 0_u8 })
            .collect();
        if let Code::Narrow { bits } = code {
            // Elements that fit their narrower bits, of both signs.
            let mut elements = vec![0_u8; usize::try_from(rows * row_bytes * u64::from(bits) / u64::from(width)).unwrap()];
            rng.fill(&mut elements[..]);
            coding.decode(&elements, &mut whole).unwrap();
        }
        let block = coding.encode(&whole);
        let (stored, wanted) = (block.len() as u64, whole.len() as u64);
        prop_assume!(stored < wanted);
        let dram = if is_banked {
            "Banked(preset: \"DDR4-2400\", channels: 1, queue_depth: 32, starvation_cap: 16, page: Open, mapping: RoRaBaCoBgCh)".to_string()
        } else {
            format!("Ideal(bytes_per_cycle: {rate}, latency: Cycles(7))")
        };
        // A port and banks that take all that comes in a cycle.
        let pad = "[(role: Shared, capacity: MiB(1), banks: 64, port_bytes: 16, latency: Cycles(1))]";
        let rate_text = rate.to_string();
        let sets = [("dram", dram.as_str()), ("scratchpads", pad), ("dma.bytes_per_cycle", rate_text.as_str())];
        let unpack_text = format!("{}.{:06}", unpack / 1_000_000, unpack % 1_000_000);
        let chip = chip(&written(coding, &unpack_text), &sets);
        let parts = parts(&chip, coding, block, rows, row_bytes);
        let program = Program::new(parts).unwrap();
        prop_assert_eq!(&Program::from_text(&program.to_text().unwrap()).unwrap(), &program);
        let run = run(&chip, &program);
        prop_assert_eq!(&run.output, &whole);
        let stage = &run.stages[0];
        prop_assert_eq!((stage.actions.coded_bytes, stage.actions.unpacked_bytes), (stored, wanted));
        prop_assert_eq!((stage.traffic.dram.weight.read, stage.traffic.scratchpad.weight.write), (stored, wanted));
        let (bus, unpacking) = (ceil(stored, rate * 1_000_000), ceil(wanted, unpack));
        let waited = run.units[2].cycles.stalled(StallReason::Codec);
        if is_banked {
            prop_assert!(stage.last_tick.get() + 1 >= bus.max(unpacking));
            prop_assert!(stage.actions.dram_read_bytes >= stored && stage.actions.dram_read_bytes < stored + 64);
            // As many cycles beside the link's own as unpacking takes longer, but for one at an end.
            prop_assert!(waited + 1 >= unpacking.saturating_sub(bus), "{waited} of {unpacking} and {bus}");
            prop_assert!(waited == 0 || unpacking >= bus);
        } else {
            prop_assert_eq!(stage.last_tick.get() + 1, 7 + bus.max(unpacking));
            prop_assert_eq!(waited, unpacking.saturating_sub(bus));
            prop_assert_eq!(stage.actions.dram_read_bytes, stored);
        }
    }

        /// The reference is arithmetic: an element is what its two's complement says.
        #[test]
        fn narrow_elements_keep_their_values(wide in prop::sample::select(&[4_u32, 8, 16][..]), bits in prop::sample::select(&[2_u32, 4, 8][..]), seeds in prop::collection::vec(any::<i16>(), 0..60)) {
            prop_assume!(bits < wide);
            let coding = Coding::new(Code::Narrow { bits }, wide).unwrap();
            let values: Vec<i16> = seeds.iter().map(|seed| seed.rem_euclid(1 << bits) - (1 << (bits - 1))).collect();
            let dtype = |bits| Dtype::from_bits(bits).unwrap();
            let mut bytes = pack(dtype(wide), values.iter().copied());
            let narrow = pack(dtype(bits), values.iter().copied());
            let coded = coding.encode(&bytes);
            prop_assert!(coded.starts_with(&narrow) && coded[narrow.len()..].iter().all(|fill| *fill == 0));
            prop_assert_eq!(coded.len() as u64, coding.least_bytes(coding.elements(bytes.len() as u64).unwrap()));
            let whole = bytes.clone();
            bytes.fill(0xA5);
            prop_assert_eq!(coding.decode(&coded, &mut bytes), Ok(()));
            prop_assert_eq!(&bytes, &whole);
            prop_assert!(coded.is_empty() || coding.decode(&coded[..coded.len() - 1], &mut bytes).is_err());
            prop_assert!(coding.decode(&[&coded[..], &[0]].concat(), &mut bytes).is_err());
        }
}

const MASK: Coding = Coding { code: Code::ZeroBitmask, element_bits: 8 };

#[test]
fn what_cannot_be_a_coded_transfer_is_refused() {
    let chip = chip::load("codec-16x16", &[]).unwrap();
    let block = MASK.encode(&[[3_u8; 4], [0; 4]].concat().repeat(8));
    assert_eq!(block.len(), 8 + 32);
    let good = parts(&chip, MASK, block, 4, 16);
    Program::new(good.clone()).unwrap();
    let refused = |change: &dyn Fn(&mut ProgramParts), words: &str| {
        let mut parts = good.clone();
        change(&mut parts);
        let error = Program::new(parts).unwrap_err();
        let ProgramError::Command { problem, .. } = &error else { panic!("{error}") };
        assert!(problem.contains(words), "{problem}");
    };
    let coded = |bytes, coding| move |parts: &mut ProgramParts| mvin(parts).coded = Some(Coded { coding, bytes });
    refused(&coded(64, MASK), "64 bytes are coded in 64, which is not from 8 on and less than there are");
    refused(&coded(7, MASK), "64 bytes are coded in 7");
    refused(&coded(0, Coding { code: Code::RunLength { run_bits: 8 }, element_bits: 2 }), "64 bytes are coded in 0");
    refused(&coded(40, Coding { element_bits: 1, ..MASK }), "4 rows of 16 bytes cannot be coded");
    refused(&coded(40, Coding { code: Code::RunLength { run_bits: 40 }, ..MASK }), "cannot be coded");
    refused(&|parts| mvin(parts).dram_stride = 32, "coded rows of 16 bytes are 32 bytes apart, not side by side");
    refused(&|parts| (mvin(parts).rows, mvin(parts).row_bytes, mvin(parts).dram_stride) = (u64::MAX, 16, 16), "cannot be coded");
    let out = |parts: &mut ProgramParts| {
        let transfer = mvin(parts).clone();
        *first_transfer(parts) = Operation::Mvout(transfer);
    };
    refused(&out, "mvout stores no coded block");
    // The block itself must be there.
    let mut short = good.clone();
    short.images[0].bytes.pop();
    assert!(matches!(Program::new(short), Err(ProgramError::NeverWritten { byte: 39, .. })));
    // Another chip does not unpack it.
    let program = Program::new(good).unwrap();
    let edge = chip::load("edge-16x16", &[]).unwrap();
    let error = Machine::new(&edge, &edge.formats()[0], &program).unwrap_err().to_string();
    assert!(error.contains("its weights lie coded in DRAM (ZeroBitmask), which the chip's DMA engines do not unpack"), "{error}");
}

#[test]
fn a_block_that_is_none_ends_the_run_and_takes_no_other_time() {
    let banked = "Banked(preset: \"DDR4-2400\", channels: 1, queue_depth: 32, starvation_cap: 16, page: Open, mapping: RoRaBaCoBgCh)";
    for dram in ["Ideal(bytes_per_cycle: 16, latency: Cycles(9))", banked] {
        let chip = chip::load("codec-16x16", &[("dram".to_string(), dram.to_string())]).unwrap();
        let good = parts(&chip, MASK, MASK.encode(&[[3_u8; 4], [0; 4]].concat().repeat(8)), 4, 16);
        let mut bad = good.clone();
        // One element fewer is in the mask: the last byte belongs to none.
        bad.images[0].bytes[0] &= !1;
        let [good, bad] = [good, bad].map(|parts| Program::new(parts).unwrap());
        let machine = |program| Machine::new(&chip, &chip.formats()[0], program).unwrap();
        let (good, bad) = (machine(&good), machine(&bad));
        let problem = CodecError::Long { bytes: 40, used: 39, elements: 64 };
        for engine in [Engine::Stepped, Engine::Wavefront] {
            let error = bad.run(&[], engine).unwrap_err();
            assert_eq!(error, SimError::NotDecodable { unit: LOADER, address: 0, bytes: 40, wanted: 64, problem });
        }
        assert_eq!(bad.time().unwrap(), good.time().unwrap(), "no time depends on what is in a block");
    }
}

/// The same network with the weights of each layer that are nearest to zero made zero: `share` of them, in per cent.
fn pruned(network: &Network, share: usize) -> Network {
    let mut builder = NetworkBuilder::new(network.name());
    let mut value = builder.input(network.input().name.clone(), network.input().output.shape.clone()).unwrap();
    for layer in network.layers().filter(|layer| layer.op != Op::Input) {
        let op = match &layer.op {
            Op::Dense(dense) => {
                let Weight::Float(weights) = &dense.weight else { unreachable!() };
                let mut sizes: Vec<f32> = weights.iter().map(|weight| weight.abs()).collect();
                sizes.sort_by(f32::total_cmp);
                let least = sizes[(sizes.len() * share / 100).min(sizes.len() - 1)];
                let weight = Weight::Float(weights.mapv(|weight| if weight.abs() < least { 0.0 } else { weight }));
                Op::Dense(Dense { weight, ..dense.clone() })
            }
            op => op.clone(),
        };
        value = builder.layer(layer.name.clone(), op, &[value]).unwrap();
    }
    builder.finish(value).unwrap()
}

/// The runs of SimpleNet with `share` per cent of its weights zero, on edge-16x16 and on codec-16x16 with these settings, the codec's on the second
/// alone, for one sample of MNIST.
fn simplenet(share: usize, sets: &[(&str, &str)]) -> [Run; 2] {
    let simplenet = model::load("simplenet-mnist").unwrap();
    let float = pruned(&fuse_activations(simplenet.network()).unwrap(), share);
    let samples = simplenet.split(Split::Calibrate, Some(64)).unwrap();
    let network = quantize(&float, &calibrate(&float, samples.inputs.view()).unwrap(), "w8a8".parse::<Scheme>().unwrap()).unwrap();
    let inputs: Array2<i32> = integer::quantize_inputs(&network, simplenet.split(Split::Report, Some(1)).unwrap().inputs.view()).unwrap();
    let bytes: Vec<u8> = inputs.iter().map(|x| i8::try_from(*x).unwrap().to_le_bytes()[0]).collect();
    ["edge-16x16", "codec-16x16"].map(|name| {
        let sets = sets.iter().filter(|(field, _)| name == "codec-16x16" || !field.starts_with("storage"));
        let sets: Vec<_> = sets.map(|(field, value)| ((*field).to_string(), (*value).to_string())).collect();
        let chip = chip::load(name, &sets).unwrap();
        let (format, dataflow) = (&chip.formats()[0], &chip.array().dataflows[0]);
        let mapping = mapping::map(&mapping::lower(&network, &chip, 1).unwrap().stages, &chip, 1, WeightStart::Cold).unwrap();
        let program = emit(&network, &mapping, &chip).unwrap();
        let run = Machine::new(&chip, format, &program).unwrap().run(&[&bytes], Engine::Wavefront).unwrap();
        assert_eq!(Machine::new(&chip, format, &program).unwrap().run(&[&bytes], Engine::Stepped).unwrap(), run);
        let timed = emit_timing(&mapping, &chip).unwrap();
        assert_eq!(Machine::new(&chip, format, &timed).unwrap().time().unwrap().total_cycles, run.total_cycles);
        let golden = integer::run(&network, |_| chip.arithmetic(format, dataflow), inputs.clone()).unwrap();
        let expected: Vec<u8> =
            golden.layer(network.logits().id).unwrap().iter().map(|y| i8::try_from(*y).unwrap().to_le_bytes()[0]).collect();
        assert_eq!(run.output, expected, "{share}% zeros on {name}");
        assert!(mapping::lower_bounds(&mapping, &chip).program <= run.total_cycles);
        // What lies coded is fetched once: the accounts and the mapping agree.
        for (stage, run) in mapping.stages().iter().zip(&run.stages) {
            let biases = 4 * stage.problem.channels();
            let stored = if stage.stored.is_empty() { run.traffic.dram.weight.read - biases } else { stage.stored.iter().sum() };
            assert_eq!(run.traffic.dram.weight.read, stored + biases);
            assert_eq!(run.actions.unpacked_bytes, stage.unpacked_bytes());
        }
        run
    })
}

fn weights_read(run: &Run) -> u64 {
    run.stages.iter().map(|stage| stage.traffic.dram.weight.read).sum()
}

#[test]
fn a_pruned_simplenet_reads_less_and_takes_no_longer() {
    let elements: u64 = 784 * 64 + 64 * 32 + 32 * 10;
    let biases = 4 * (64 + 32 + 10);
    for share in [50, 70, 90] {
        let [dense, coded] = simplenet(share, &[]);
        let (whole, read) = (weights_read(&dense), weights_read(&coded));
        // A bit an element and a byte for each that is not zero. Quantization makes a few more zeros, and no block is longer than it was.
        let least = elements / 8 + elements * (100 - share as u64) / 100 + biases;
        assert_eq!(whole, elements + biases);
        assert!(read < whole && read <= least + elements / 50, "{share}%: {read} of {whole}, {least} foretold");
        // Here the array loads a tile of 256 weights in 16 cycles, as fast as DRAM delivers it whole: little is to be gained.
        assert!(coded.total_cycles <= dense.total_cycles, "{share}%");
        // Behind a slow DRAM time goes with the bytes, but for a part of a beat a block, and for banks that the array now reads in more of the
        // cycles in which weights come.
        let [dense, coded] = simplenet(share, &[("dram.bytes_per_cycle", "2")]);
        let saved = dense.total_cycles.get() - coded.total_cycles.get();
        let [before, after] = [&dense, &coded].map(|run| run.units[2].cycles.stalled(StallReason::ScratchpadConflict));
        let (of_bytes, blocks) = ((whole - read) / 2, 4 * 49 + 2 * 4 + 2);
        assert!(saved + blocks + after >= of_bytes + before && saved <= of_bytes + before, "{share}%: {saved} of {of_bytes} cycles");
    }
}

#[test]
fn dense_weights_lie_as_they_are_and_take_the_same_time() {
    let [dense, coded] = simplenet(0, &[("storage.codec", "RunLength(bytes_per_cycle: 1, run_bits: 5, activations: false)")]);
    assert_eq!((weights_read(&coded), coded.total_cycles), (weights_read(&dense), dense.total_cycles));
    assert!(coded.stages.iter().all(|stage| stage.actions.unpacked_bytes == 0));
}

#[test]
fn slow_unpacking_costs_what_it_says() {
    let [dense, coded] = simplenet(80, &[("storage.codec.bytes_per_cycle", "4")]);
    let unpacked: u64 = coded.stages.iter().map(|stage| stage.actions.unpacked_bytes).sum();
    assert!(coded.total_cycles.get() >= unpacked / 4 && coded.total_cycles > dense.total_cycles);
    assert!(coded.units[2].cycles.stalled(StallReason::Codec) > unpacked / 8);
}
