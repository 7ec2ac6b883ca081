//! Do values that lie coded in DRAM come out as they went in, in the time that they take whole, and are their bytes those that a count by hand gives?
//! What do they save on SimpleNet?

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use ndarray::Array2;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use systole::chip::{self, ArrayMode, Chip};
use systole::codec::{Code, Coding};
use systole::compress::{Scheme, calibrate, quantize};
use systole::counts::Operand;
use systole::mapping::{self, WeightStart};
use systole::model::{self, Split};
use systole::network::fuse_activations;
use systole::program::{
    Address, CodedValue, Command, HostRegion, Item, MemorySizes, Operation, Place, Program, ProgramError, ProgramParts, StageDecl, Tag,
    Transfer, UnitId, UnitKind, UnitQueue, emit,
};
use systole::reference::integer;
use systole::sim::{Engine, Machine, Run, SimError};

const PAD: Place = Place::Scratchpad(0, 0);
const GRANULE: usize = 16;

fn chip(name: &str, sets: &[(&str, &str)]) -> Chip {
    let sets: Vec<_> = sets.iter().map(|(field, value)| ((*field).to_string(), (*value).to_string())).collect();
    chip::load(name, &sets).unwrap_or_else(|error| panic!("{error}"))
}

/// A chip that codes values so.
fn coder(code: Code, dram: &str) -> Chip {
    let codec = match code {
        Code::ZeroBitmask => "ZeroBitmask(bytes_per_cycle: 64, activations: true)".to_string(),
        Code::RunLength { run_bits } => format!("RunLength(bytes_per_cycle: 64, run_bits: {run_bits}, activations: true)"),
        Code::Narrow { .. } => unreachable!("no code for values"),
    };
    chip("edge-16x16", &[("storage.codec", &codec), ("dram", dram)])
}

/// Bytes from `first` on of the first value, `rows` runs of `row` that begin `stride` apart, go on to the chip and, side by side, to the place
/// `to` of the second value. Both values are `size` bytes long.
#[derive(Debug, Clone)]
struct Case {
    coding: Coding,
    zero: [u8; 2],
    size: u64,
    first: u64,
    to: u64,
    rows: u64,
    row: u64,
    stride: u64,
}

fn cases() -> impl Strategy<Value = Case> {
    let code = prop_oneof![Just(Code::ZeroBitmask), (1..=8_u32).prop_map(|run_bits| Code::RunLength { run_bits })];
    let coding = (code, prop::sample::select(&[2_u32, 4, 8, 16][..])).prop_map(|(code, element_bits)| Coding { code, element_bits });
    let shape = (1..6_u64, prop_oneof![1..40_u64, (1..5_u64).prop_map(|granules| 16 * granules)], 0..30_u64, 0..40_u64, 0..40_u64);
    (coding, any::<[u8; 2]>(), shape, 0..20_u64).prop_map(|(coding, zero, (rows, row, apart, first, to), more)| {
        let stride = row + apart;
        let size = (first + rows * stride).max(to + rows * row) + more;
        Case { coding, zero, size: size.next_multiple_of(2), first, to, rows, row, stride }
    })
}

impl Case {
    fn target(&self) -> u64 {
        self.size.next_multiple_of(64)
    }

    fn parts(&self, chip: &Chip, is_coded: bool) -> ProgramParts {
        let mvin = Transfer {
            operand: Operand::Input,
            dram: Address::at(self.first),
            dram_stride: self.stride,
            place: PAD,
            local: Address::at(0),
            local_stride: self.row,
            rows: self.rows,
            row_bytes: self.row,
            coded: None,
            owns_gaps: false,
        };
        let to = Address::at(self.target() + self.to);
        let mvout = Transfer { operand: Operand::Output, dram: to, dram_stride: self.row, ..mvin.clone() };
        let command = |stage, operation| Item::Do(Command { tag: Tag { stage, sample: 0 }, wait: Vec::new(), post: Vec::new(), operation });
        let stage = |name: &str| StageDecl { name: name.to_string(), mode: 0 };
        let unit = UnitId { core: 0, kind: UnitKind::Dma, index: 0 };
        let value = |address| CodedValue { address, bytes: self.size, coding: self.coding, zero: self.zero };
        ProgramParts {
            queues: vec![UnitQueue { unit, items: vec![command(0, Operation::Mvin(mvin)), command(1, Operation::Mvout(mvout))] }],
            semaphores: Vec::new(),
            output_stages: Vec::new(),
            vector_ops: Vec::new(),
            host_ops: Vec::new(),
            stages: vec![stage("in"), stage("out")],
            images: Vec::new(),
            inputs: vec![HostRegion { place: Place::Dram, address: 0, bytes: self.size }],
            output: HostRegion { place: Place::Dram, address: self.target() + self.to, bytes: self.rows * self.row },
            coded_values: if is_coded { vec![value(0), value(self.target())] } else { Vec::new() },
            memories: MemorySizes {
                dram: self.target() + self.size,
                scratchpads: chip.scratchpads().iter().map(|pad| pad.capacity.get()).collect(),
                accumulator: chip.accumulator().capacity.get(),
            },
            accumulator_element_bytes: 4,
            modes: vec![ArrayMode::new(chip, &chip.formats()[0], &chip.array().dataflows[0])],
            array_only: false,
        }
    }

    /// Bytes of the code of a value's granule, or of the granule.
    fn stored(&self, granule: &[u8]) -> u64 {
        let turned: Vec<u8> = granule.iter().zip(self.zero.iter().cycle()).map(|(byte, zero)| byte ^ zero).collect();
        (granule.len() as u64).min(self.coding.encode(&turned).len() as u64)
    }

    /// The bytes that cross in and out, byte by byte and granule by granule.
    fn crossing(&self, value: &[u8], moved: &[u8]) -> [u64; 2] {
        let range = |granule: usize| granule * GRANULE..((granule + 1) * GRANULE).min(value.len());
        let (mut read, mut last) = (0, None);
        for byte in (0..self.rows).flat_map(|row| (0..self.row).map(move |byte| self.first + row * self.stride + byte)) {
            let granule = usize::try_from(byte).unwrap() / GRANULE;
            let bytes = &value[range(granule)];
            let stored = self.stored(bytes);
            if stored == bytes.len() as u64 {
                read += 1;
            } else if last != Some(granule) {
                (read, last) = (read + stored, Some(granule));
            }
        }
        let (start, end) = (usize::try_from(self.to).unwrap(), usize::try_from(self.to).unwrap() + moved.len());
        let mut written = 0;
        for granule in 0..value.len().div_ceil(GRANULE) {
            let bytes = range(granule);
            let (from, to) = (bytes.start.max(start), bytes.end.min(end));
            if from < to {
                written +=
                    if (from, to) == (bytes.start, bytes.end) { self.stored(&moved[from - start..to - start]) } else { (to - from) as u64 };
            }
        }
        [read, written]
    }
}

fn all(chip: &Chip, program: &Program, input: &[u8]) -> (Run, Run) {
    let machine = Machine::new(chip, &chip.formats()[0], program).unwrap();
    let run = machine.run(&[input], Engine::Wavefront).unwrap();
    assert_eq!(machine.run(&[input], Engine::Stepped).unwrap(), run, "both drives agree");
    (run, machine.time().unwrap())
}

const DRAMS: [&str; 2] = [
    "Ideal(bytes_per_cycle: 16, latency: Cycles(9))",
    "Banked(preset: \"DDR4-2400\", channels: 1, queue_depth: 32, starvation_cap: 16, page: Open, mapping: RoRaBaCoBgCh)",
];

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn bytes_are_those_counted_by_hand_and_time_is_that_of_whole_values(
        case in cases(), is_banked in any::<bool>(), density in 0.0..1.0_f64, seed in any::<u64>(),
    ) {
        let coding = case.coding;
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let value: Vec<u8> = (0..usize::try_from(case.size).unwrap())
            .map(|place| if rng.random_bool(density) { rng.random() } else { case.zero[place % 2] })
            .collect();
        let moved: Vec<u8> = (0..case.rows)
            .flat_map(|row| { let start = usize::try_from(case.first + row * case.stride).unwrap(); value[start..start + usize::try_from(case.row).unwrap()].to_vec() })
            .collect();
        let chip = coder(coding.code, DRAMS[usize::from(is_banked)]);
        let [coded, whole] = [true, false].map(|is_coded| Program::new(case.parts(&chip, is_coded)).unwrap());
        prop_assert_eq!(&Program::from_text(&coded.to_text().unwrap()).unwrap(), &coded);
        let ((run, timed), (plain, _)) = (all(&chip, &coded, &value), all(&chip, &whole, &value));
        prop_assert_eq!(&run.output, &moved);
        prop_assert_eq!((run.total_cycles, &run.units), (plain.total_cycles, &plain.units));
        prop_assert_eq!((timed.total_cycles, &timed.units), (plain.total_cycles, &plain.units));
        let [read, written] = case.crossing(&value, &moved);
        let dram = |run: &Run| (run.stages[0].traffic.dram.input.read, run.stages[1].traffic.dram.output.write);
        prop_assert_eq!(dram(&run), (read, written));
        let wanted = case.rows * case.row;
        prop_assert_eq!(dram(&timed), (wanted, wanted), "without numbers no zero is known");
        for (stage, crossed) in run.stages.iter().zip([read, written]) {
            prop_assert_eq!((stage.actions.coded_bytes, stage.actions.unpacked_bytes), (crossed, wanted));
        }
        let bus = |run: &Run| run.stages.iter().map(|stage| stage.actions.dram_read_bytes + stage.actions.dram_write_bytes).sum::<u64>();
        // With banks whole bursts cross, whatever is left out of them.
        prop_assert_eq!(bus(&run), if is_banked { bus(&plain) } else { read + written });
    }
}

#[test]
fn values_that_cannot_lie_coded_are_refused() {
    let code = Code::ZeroBitmask;
    let coding = Coding { code, element_bits: 8 };
    let case = Case { coding, zero: [0; 2], size: 64, first: 0, to: 0, rows: 2, row: 32, stride: 32 };
    let chip = coder(code, DRAMS[0]);
    let refused = |change: &dyn Fn(&mut Vec<CodedValue>), words: &str| {
        let mut parts = case.parts(&chip, true);
        change(&mut parts.coded_values);
        let ProgramError::Command { problem, .. } = Program::new(parts).unwrap_err() else { panic!("{words}") };
        assert!(problem.contains(words), "{problem}");
    };
    refused(&|values| values[1].bytes = 65, "65 bytes at 64 of 128 bytes of DRAM cannot lie there");
    refused(&|values| values[0].bytes = u64::MAX, "cannot lie there");
    refused(&|values| values[0].address = 8, "cannot lie there");
    refused(&|values| values[0].coding.element_bits = 1, "cannot lie there");
    refused(&|values| values[0].coding.code = Code::Narrow { bits: 4 }, "cannot lie there");
    refused(&|values| values[0].bytes = 80, "the coded value at 64 begins before the one before it ends, at 80");
    refused(&|values| values.swap(0, 1), "begins before the one before it ends");
    // Chips that code no values, or otherwise.
    let program = Program::new(case.parts(&chip, true)).unwrap();
    for other in [coder(Code::RunLength { run_bits: 4 }, DRAMS[0]), chip::load("codec-16x16", &[]).unwrap()] {
        let error = Machine::new(&other, &other.formats()[0], &program).unwrap_err();
        assert!(matches!(&error, SimError::OtherChip { problem } if problem.contains("its values lie coded in DRAM")), "{error}");
    }
    let slow = [("storage.codec".to_string(), "ZeroBitmask(bytes_per_cycle: 15, activations: true)".to_string())];
    let error = chip::load("edge-16x16", &slow).unwrap_err().to_string();
    assert!(error.contains("unpacks 15 bytes a cycle, fewer than the 16 that come"), "{error}");
}

/// MNIST's images are four fifths black, and relus leave zeros, which lie as -128: both are left out, and no cycle changes.
#[test]
fn simplenet_s_values_take_fewer_bytes_and_the_same_time() {
    let simplenet = model::load("simplenet-mnist").unwrap();
    let float = fuse_activations(simplenet.network()).unwrap();
    let samples = simplenet.split(Split::Calibrate, Some(64)).unwrap();
    let network = quantize(&float, &calibrate(&float, samples.inputs.view()).unwrap(), "w8a8".parse::<Scheme>().unwrap()).unwrap();
    let inputs: Array2<i32> = integer::quantize_inputs(&network, simplenet.split(Split::Report, Some(1)).unwrap().inputs.view()).unwrap();
    let bytes: Vec<u8> = inputs.iter().map(|x| i8::try_from(*x).unwrap().to_le_bytes()[0]).collect();
    let runs = ["false", "true"].map(|activations| {
        // Too little room for a layer's output beside the next layer's input: every value goes through DRAM.
        let pad = "[(role: Shared, capacity: KiB(8), banks: 2, port_bytes: 16, latency: Cycles(1))]";
        let chip = chip("codec-16x16", &[("storage.codec.activations", activations), ("scratchpads", pad)]);
        let mapping = mapping::map(&mapping::lower(&network, &chip, 1).unwrap().stages, &chip, 1, WeightStart::Cold).unwrap();
        let program = emit(&network, &mapping, &chip).unwrap();
        let run = all(&chip, &program, &bytes).0;
        let golden = integer::run(&network, |_| chip.arithmetic(&chip.formats()[0], &chip.array().dataflows[0]), inputs.clone()).unwrap();
        let expected: Vec<u8> =
            golden.layer(network.logits().id).unwrap().iter().map(|y| i8::try_from(*y).unwrap().to_le_bytes()[0]).collect();
        assert_eq!(run.output, expected);
        run
    });
    let [whole, coded] = &runs;
    assert_eq!((whole.total_cycles, &whole.units), (coded.total_cycles, &coded.units));
    let read = |run: &Run| run.stages[0].traffic.dram.input.read;
    // 49 granules: a byte a pixel that is not black, and two bytes that tell which, where these are fewer than 16.
    let granules = bytes.chunks(16).map(|granule| (2 + granule.iter().filter(|byte| **byte != 0x80).count() as u64).min(16));
    assert_eq!((read(whole), read(coded)), (784, granules.sum()));
    assert!(read(coded) < 400, "{}", read(coded));
}
