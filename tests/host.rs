//! What no unit of the chip can do, done by the host: how long it takes by hand, what it yields, what is refused without one.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod drives;
mod onchip;

use drives::run;
use ndarray::{Array, Array2, ArrayD, IxDyn};
use onchip::OnChip;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use systole::chip::{self, ArrayMode, Chip};
use systole::compress::{self, Scheme};
use systole::counts::{CycleCounts, StallReason};
use systole::mapping::{self, Choice, WeightStart, Work, lower_bounds};
use systole::network::{
    Activation, BinaryConstant, BinaryOp, Dense, Function, LayerId, Network, NetworkBuilder, Op, Span, Weight, fuse_activations,
};
use systole::numerics::{Dtype, HostOp, Quantization, RealFunction, RealOp};
use systole::program::{
    Address, Command, HostFactor, HostInput, HostRegion, HostWork, Image, Item, MemorySizes, Operation, Place, Program, ProgramError,
    ProgramParts, Semaphore, SemaphoreDecl, StageDecl, Sync, Tag, UnitId, UnitKind, UnitQueue,
};
use systole::sim::{Engine, Machine, Peeled, Run, SimError, StageRun};

fn with_host(name: &str, cycles_per_element: &str) -> Chip {
    let sets = [("vector.unsupported".to_string(), format!("Host({cycles_per_element})"))];
    chip::load(name, &sets).unwrap()
}

/// A quotient of six elements and one that all share, of which an engine tells the host and for which it waits.
fn parts(chip: &Chip) -> ProgramParts {
    let sync = |number| vec![Sync { semaphore: Semaphore(number), innermost: 0 }];
    let command = |wait, operation, post| Item::Do(Command { tag: Tag { stage: 0, sample: 0 }, wait, operation, post });
    let unit = |kind| UnitId { core: 0, kind, index: 0 };
    let decl = |name: &str, reason| SemaphoreDecl { name: name.to_string(), tokens: 0, reason };
    let input = |address, bytes, first, factors: &[(u64, i64)]| HostInput {
        address: Address::at(address),
        bytes,
        first,
        factors: factors.iter().map(|(count, stride)| HostFactor { count: *count, stride: *stride }).collect(),
    };
    let held = Quantization { dtype: Dtype::Int8, scale: 0.5, zero_point: 0 };
    // The elements backwards, 6 to 1, each by 2.
    let work = HostWork { op: 0, inputs: vec![input(0, 6, 5, &[(6, -1)]), input(6, 1, 0, &[(6, 0)])], result: Address::at(8), elements: 6 };
    ProgramParts {
        queues: vec![
            UnitQueue {
                unit: unit(UnitKind::Dma),
                items: vec![command(Vec::new(), Operation::Fence, sync(0)), command(sync(1), Operation::Fence, Vec::new())],
            },
            UnitQueue { unit: unit(UnitKind::Host), items: vec![command(sync(0), Operation::Host(work), sync(1))] },
        ],
        semaphores: vec![decl("full", StallReason::InputNotReady), decl("done", StallReason::Host)],
        output_stages: Vec::new(),
        vector_ops: Vec::new(),
        host_ops: vec![HostOp::Reals(RealOp { function: RealFunction::Quotient, inputs: vec![held; 2], output: held })],
        stages: vec![StageDecl { name: "only".to_string(), mode: 0 }],
        images: vec![Image { place: Place::Dram, address: 0, bytes: vec![1, 2, 3, 4, 5, 6, 2] }],
        inputs: Vec::new(),
        output: HostRegion { place: Place::Dram, address: 8, bytes: 6 },
        coded_values: Vec::new(),
        memories: MemorySizes {
            dram: 14,
            scratchpads: chip.scratchpads().iter().map(|pad| pad.capacity.get()).collect(),
            accumulator: chip.accumulator().capacity.get(),
        },
        accumulator_element_bytes: 4,
        modes: vec![ArrayMode::new(chip, &chip.formats()[0], &chip.array().dataflows[0])],
        array_only: false,
    }
}

/// ```text
/// cycle   0         1
///         01234567890123456
/// dma0    #hhhhhhhhhhhhhhh.
/// host    i###############.
/// ```
///
/// In cycle 0 the engine says that all is there; the host sees it in 1 and takes 6 elements of 2.5 cycles, to the end of 15; the engine sees
/// that in 16, in which its queue ends.
#[test]
fn a_command_takes_the_cycles_of_its_elements_and_the_chip_waits() {
    let chip = with_host("edge-16x16", "2.5");
    let program = Program::new(parts(&chip)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(Program::from_text(&program.to_text().unwrap()).unwrap(), program);
    let run = run(&chip, &program);
    assert_eq!((run.total_cycles.get(), run.output.as_slice()), (17, &[6, 5, 4, 3, 2, 1][..]), "6 / 1, 5 / 1 ... in steps of a half");
    let cycles = |busy, idle, stalls: &[(StallReason, u64)]| {
        let mut counts = CycleCounts::default();
        (counts.busy, counts.idle) = (busy, idle);
        for (reason, cycles) in stalls {
            counts.stall(*reason, *cycles);
        }
        counts
    };
    let of = |kind| run.units.iter().find(|unit| unit.unit.kind == kind).unwrap().cycles;
    assert_eq!(of(UnitKind::Dma), cycles(1, 1, &[(StallReason::Host, 15)]));
    assert_eq!(of(UnitKind::Host), cycles(15, 1, &[(StallReason::InputNotReady, 1)]));
    assert_eq!(of(UnitKind::Array), cycles(0, 17, &[]));
    // Nothing takes a cycle at least.
    let free = with_host("edge-16x16", "0.0");
    assert_eq!(self::run(&free, &Program::new(parts(&free)).unwrap()).total_cycles.get(), 3);
}

#[test]
fn what_the_host_cannot_do_is_told() {
    let chip = with_host("edge-16x16", "1.0");
    let refused = |change: &dyn Fn(&mut ProgramParts, &mut HostWork)| {
        let mut parts = parts(&chip);
        let Item::Do(Command { operation: Operation::Host(work), .. }) = &mut parts.queues[1].items[0] else { unreachable!() };
        let mut changed = work.clone();
        change(&mut parts, &mut changed);
        let Item::Do(command) = &mut parts.queues[1].items[0] else { unreachable!() };
        command.operation = Operation::Host(changed);
        Program::new(parts).unwrap_err()
    };
    let says = |error: ProgramError, words: &str| assert!(error.to_string().contains(words), "{error}");
    says(refused(&|_, work| work.op = 1), "names operation 1 of the host, of 1");
    says(refused(&|_, work| work.elements = 0), "makes 0 elements");
    says(refused(&|_, work| work.elements = 5), "reads a value that is not 5 elements within its 6 bytes");
    says(refused(&|_, work| work.inputs[0].first = 4), "reads a value that is not 6 elements");
    says(refused(&|_, work| drop(work.inputs.pop())), "reads 2 values, and the command gives 1");
    says(refused(&|parts, _| parts.host_ops[0] = HostOp::Copy), "reads 1 values");
    says(refused(&|_, work| work.result = Address::at(9)), "outside");
    // Without a token the engine might still write what the host reads; here it waits in a circle.
    says(refused(&|parts, _| parts.queues[0].items.swap(0, 1)), "waits at command 0");

    let other = chip::load("edge-16x16", &[]).unwrap();
    let program = Program::new(parts(&chip)).unwrap();
    let found = Machine::new(&other, &other.formats()[0], &program).unwrap_err();
    assert!(matches!(&found, SimError::OtherChip { problem } if problem.contains("vector.unsupported")), "{found}");
}

/// Networks under test.
struct Draw {
    builder: NetworkBuilder,
    rng: ChaCha8Rng,
}

impl Draw {
    fn new(shape: &[usize]) -> (Self, LayerId) {
        let mut builder = NetworkBuilder::new("drawn");
        let input = builder.input("x", shape.to_vec()).unwrap();
        (Self { builder, rng: ChaCha8Rng::seed_from_u64(3) }, input)
    }

    fn floats(&mut self, shape: &[usize]) -> ArrayD<f32> {
        let rng = &mut self.rng;
        Array::from_shape_simple_fn(IxDyn(shape), || rng.random_range(-0.5..0.5))
    }

    fn layer(&mut self, name: &str, op: Op, inputs: &[LayerId]) -> LayerId {
        self.builder.layer(name, op, inputs).unwrap()
    }

    fn dense(&mut self, name: &str, from: LayerId, [inner, outputs]: [usize; 2]) -> LayerId {
        let mut weight = self.floats(&[inner, outputs]).into_shape_with_order((inner, outputs)).unwrap();
        // Every other element of K is zero, so that arrays of 1:2 sparsity take it too.
        weight.rows_mut().into_iter().skip(1).step_by(2).for_each(|mut row| row.fill(0.0));
        let weight = Weight::Float(weight);
        self.layer(name, Op::Dense(Dense { weight, bias: None, activation: Activation::None }), &[from])
    }

    /// The quantized network.
    fn finish(self, last: LayerId) -> (Network, Array2<f32>) {
        let float = fuse_activations(&self.builder.finish(last).unwrap()).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(4);
        let inputs = Array2::from_shape_simple_fn((2, float.input().output.elements()), || rng.random_range(-1.0..1.0_f32));
        let ranges = compress::calibrate(&float, inputs.view()).unwrap();
        (compress::quantize(&float, &ranges, Scheme { weight: Dtype::Int8, activation: Dtype::Int8 }).unwrap(), inputs)
    }
}

/// The run of a network on a chip, held to the integer reference.
fn on_chip((network, inputs): &(Network, Array2<f32>), chip: &Chip) -> (Run, OnChip) {
    let on_chip = OnChip::new(network, chip, 2, WeightStart::Cold, || Choice::first(chip)).unwrap_or_else(|error| panic!("{error}"));
    let trace = on_chip.expected(network, chip, inputs);
    let hosted = on_chip.hosted(&trace);
    let hosted: Vec<&[u8]> = hosted.iter().map(Vec::as_slice).collect();
    let machine = Machine::new(chip, &chip.formats()[0], &on_chip.program).unwrap();
    let run = machine.run(&hosted, Engine::Wavefront).unwrap();
    let expected: Vec<i32> = trace.layer(network.logits().id).unwrap().iter().copied().collect();
    assert_eq!(on_chip.logits(&run.output), expected, "chip and integer reference");
    assert_eq!(machine.run(&hosted, Engine::Stepped).unwrap(), run, "both drives agree");
    (run, on_chip)
}

/// A quotient of two values between dense layers.
fn quotient() -> (Network, Array2<f32>) {
    let (mut draw, x) = Draw::new(&[4, 6]);
    let a = draw.dense("a", x, [6, 10]);
    let b = draw.dense("b", x, [6, 10]);
    let b = draw.layer("positive", Op::Unary(Function::Sigmoid), &[b]);
    let quotient = draw.layer("quotient", Op::Binary(BinaryOp::Div), &[a, b]);
    let last = draw.dense("last", quotient, [10, 3]);
    draw.finish(last)
}

#[test]
fn what_the_host_takes_counts_in_full() {
    let network = quotient();
    let of = |cycles: &str| {
        let chip = with_host("edge-16x16", cycles);
        let (run, on_chip) = on_chip(&network, &chip);
        let number = on_chip.mapping.stages().iter().position(|stage| matches!(stage.work, Work::Host(_))).unwrap();
        let bound = lower_bounds(&on_chip.mapping, &chip).stages[number];
        (run.total_cycles.get(), run.stages[number].window.get(), bound)
    };
    // Two samples of 4 x 10 elements.
    let ((one, window, bound), (three, longer, _)) = (of("1.0"), of("3.0"));
    assert_eq!((three - one, longer - window), (160, 160), "two more cycles for each of 80 elements");
    assert_eq!((bound.cycles.get(), bound.demand.host, bound.demand.binding(bound.cycles)), (80, 80, "host"));
    assert!(window >= 80);
}

/// Who waits for activations while the host makes them waits for the host; what the host reads and writes is DRAM's traffic and energy; and without
/// what it takes, all else takes what it took.
#[test]
fn what_the_host_costs_is_told_by_cycles_bytes_and_what_if() {
    let network = quotient();
    for name in ["edge-16x16", "edge-16x16-ddr4"] {
        let of = |cycles: &str| {
            let chip = with_host(name, cycles);
            let (run, on_chip) = on_chip(&network, &chip);
            let number = on_chip.mapping.stages().iter().position(|stage| matches!(stage.work, Work::Host(_))).unwrap();
            let machine = Machine::new(&chip, &chip.formats()[0], &on_chip.program).unwrap();
            let peeled = Peeled::STEPS.map(|peeled| machine.time_peeled(peeled).unwrap().total_cycles.get());
            (run.stages[number], peeled)
        };
        let ((stage, peeled), (longer, more)) = (of("1.0"), of("3.0"));
        let waits = |stage: &StageRun| stage.array.stalled(StallReason::Host);
        assert_eq!((waits(&longer) - waits(&stage), waits(&stage) >= 79), (160, true), "the array waits for all of it: {:?}", stage.array);
        assert_eq!([peeled[4] - peeled[5], more[4] - more[5]], [79, 239], "one cycle is left of it");
        assert_eq!(more[5], peeled[5]);
        // Two samples of 4 x 10 elements, each from two values, a byte each.
        let (dram, actions) = (stage.traffic.dram, stage.actions);
        assert_eq!((dram.input.read, dram.output.write), (160, 80));
        // On banks in bursts of 64 bytes: two values, and the result, of 80 bytes each.
        let banked = (2 * 128, 128, 3);
        let wanted = if name == "edge-16x16" { (160, 80, 0) } else { banked };
        assert_eq!((actions.dram_read_bytes, actions.dram_write_bytes, actions.dram_activates), wanted);
    }
}

#[test]
fn without_a_host_the_layer_is_named_and_the_way_out() {
    let chip = chip::load("edge-16x16", &[]).unwrap();
    let error = mapping::lower(&quotient().0, &chip, 1).unwrap_err().to_string();
    let words = ["layer \"quotient\" (div)", "by way of reals", "unsupported: Host(..)"];
    assert!(words.iter().all(|word| error.contains(word)), "{error}");
}

#[test]
fn what_is_too_much_for_other_units_is_the_hosts() {
    let chip = with_host("edge-16x16", "0.5");
    // More slopes than tables, and more elements backwards than commands.
    let (mut draw, x) = Draw::new(&[33, 40]);
    let slopes = draw.floats(&[33, 40]);
    let bent = draw.layer("bent", Op::Unary(Function::PRelu { slopes }), &[x]);
    let spans = vec![Span { start: 32, count: 33, step: -1 }, Span { start: 38, count: 34, step: -1 }];
    let turned = draw.layer("turned", Op::Slice(spans), &[bent]);
    let last = draw.dense("last", turned, [34, 3]);
    let hosts = |on_chip: &OnChip| on_chip.mapping.stages().iter().filter(|stage| matches!(stage.work, Work::Host(_))).count();
    assert_eq!(hosts(&on_chip(&draw.finish(last), &chip).1), 2);

    // Constants by a value, a quotient at the end.
    let (mut draw, x) = Draw::new(&[5, 8]);
    let dense = draw.dense("dense", x, [8, 6]);
    let positive = draw.layer("positive", Op::Unary(Function::Sigmoid), &[dense]);
    let constant = Weight::Float(draw.floats(&[5, 1]));
    let divided = Op::BinaryConstant(BinaryConstant { op: BinaryOp::Div, constant, constant_first: true });
    let last = draw.layer("divided", divided, &[positive]);
    assert_eq!(hosts(&on_chip(&draw.finish(last), &chip).1), 1);
}

#[test]
fn a_product_that_the_array_cannot_pack_is_the_hosts() {
    let sets = [("vector.unsupported", "Host(0.5)"), ("array.sparsity", "NM(n: 1, m: 2)")];
    let sets = sets.map(|(field, value)| (field.to_string(), value.to_string()));
    let chip = chip::load("gemmini-16x16-ws", &sets).unwrap_or_else(|error| panic!("{error}"));
    let (mut draw, x) = Draw::new(&[3, 5, 6]);
    let a = draw.dense("a", x, [6, 8]);
    let turned = draw.layer("turned", Op::Transpose(vec![0, 2, 1]), &[a]);
    let product = draw.layer("product", Op::MatMul, &[a, turned]);
    let last = draw.dense("last", product, [5, 4]);
    let (_, on_chip) = on_chip(&draw.finish(last), &chip);
    assert!(on_chip.mapping.stages().iter().any(|stage| matches!(stage.work, Work::Host(_))));
}
