//! The vector unit's operations in the machine: results as `numerics` has them a row or a window at a time, both drives and timing alone alike,
//! cycles as the formula has them where no bank is wanted twice.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

mod drives;

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use systole::chip::{self, ArrayMode, Chip};
use systole::counts::{Operand, StallReason};
use systole::numerics::{
    Average, Depthwise, Dtype, LayerClass, LayerNorm, OutputStage, Product, Quantization, Requantizer, Rounding, Softmax, Sum, Table,
    VectorKind, VectorOp,
};
use systole::program::{
    Address, Command, HostRegion, Image, Item, MemorySizes, Operation, Place, Program, ProgramError, ProgramParts, Semaphore,
    SemaphoreDecl, Slide, StageDecl, Sync, Tag, Transfer, UnitId, UnitKind, UnitQueue, VectorInput, VectorWork, Window,
};
use systole::sim::Run;

const PAD: Place = Place::Scratchpad(0, 0);
const FREE: (f32, f32) = (f32::NEG_INFINITY, f32::INFINITY);

/// One command on rows that lie in the first pad: where, and the bytes of all that is there at the start.
struct Case {
    op: VectorOp,
    work: VectorWork,
    bytes: Vec<u8>,
}

fn parts(chip: &Chip, case: &Case) -> ProgramParts {
    let done = Sync { semaphore: Semaphore(0), innermost: 0 };
    let command = |wait, operation, post| Item::Do(Command { tag: Tag { stage: 0, sample: 0 }, wait, operation, post });
    let (rows, cols) = (u64::from(case.work.rows), u64::from(case.work.cols));
    let store = Transfer {
        operand: Operand::Output,
        dram: Address::at(0),
        dram_stride: cols,
        place: PAD,
        local: case.work.result.clone(),
        local_stride: case.work.result_stride,
        rows,
        row_bytes: cols,
        coded: None,
        owns_gaps: false,
    };
    let unit = |kind| UnitId { core: 0, kind, index: 0 };
    ProgramParts {
        queues: vec![
            UnitQueue { unit: unit(UnitKind::Vector), items: vec![command(Vec::new(), Operation::Vector(case.work.clone()), vec![done])] },
            UnitQueue { unit: unit(UnitKind::Dma), items: vec![command(vec![done], Operation::Mvout(store), Vec::new())] },
        ],
        semaphores: vec![SemaphoreDecl { name: "done".to_string(), tokens: 0, reason: StallReason::ResultNotReady }],
        output_stages: Vec::new(),
        vector_ops: vec![case.op.clone()],
        host_ops: Vec::new(),
        stages: vec![StageDecl { name: "only".to_string(), mode: 0 }],
        images: vec![Image { place: PAD, address: 0, bytes: case.bytes.clone() }],
        inputs: Vec::new(),
        output: HostRegion { place: Place::Dram, address: 0, bytes: rows * cols },
        coded_values: Vec::new(),
        memories: MemorySizes {
            dram: rows * cols,
            scratchpads: chip.scratchpads().iter().map(|pad| pad.capacity.get()).collect(),
            accumulator: chip.accumulator().capacity.get(),
        },
        accumulator_element_bytes: 4,
        modes: vec![ArrayMode::new(chip, &chip.formats()[0], &chip.array().dataflows[0])],
        array_only: false,
    }
}

/// The run, alike in both drives and without numbers; its text form reads back.
fn run(chip: &Chip, case: &Case) -> Run {
    let program = Program::new(parts(chip, case)).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(Program::from_text(&program.to_text().unwrap()).unwrap().parts().vector_ops.len(), 1);
    drives::run(chip, &program)
}

fn quantization(rng: &mut ChaCha8Rng) -> Quantization {
    Quantization { dtype: Dtype::Int8, scale: rng.random_range(0.001..0.5), zero_point: rng.random_range(-128..=127) }
}

fn requantizer(rng: &mut ChaCha8Rng) -> Requantizer {
    if rng.random_bool(0.5) {
        Requantizer::Float
    } else {
        Requantizer::FixedPoint { convolution: Rounding::Double, dense: Rounding::Single }
    }
}

fn random_op(rng: &mut ChaCha8Rng, cols: u32) -> VectorOp {
    let [a, b, y] = [quantization(rng), quantization(rng), quantization(rng)];
    match rng.random_range(0..5) {
        0 => VectorOp::Table(Table::new(&a, &y, libm::tanh)),
        1 => VectorOp::Sum(Sum::new(requantizer(rng), [&a, &b], rng.random_bool(0.5), &y, (0.0, 6.0))),
        2 => VectorOp::Product(Product::new(requantizer(rng), [&a, &b], &y, FREE)),
        3 => VectorOp::Softmax(Softmax::new(&a, &y)),
        _ => {
            let reals: Vec<f32> = (0..2 * cols).map(|_| rng.random_range(-2.0..2.0)).collect();
            let (factors, addends) = reals.split_at(cols as usize);
            VectorOp::LayerNorm(LayerNorm::new(&a, &y, factors, addends, 1e-5))
        }
    }
}

fn random_bytes(rng: &mut ChaCha8Rng, count: u64) -> Vec<u8> {
    (0..count).map(|_| rng.random_range(0..=255_u8)).collect()
}

fn signed(bytes: &[u8]) -> Vec<i16> {
    bytes.iter().map(|byte| i16::from(i8::from_le_bytes([*byte]))).collect()
}

fn random_chip(rng: &mut ChaCha8Rng) -> Chip {
    let mut sets: Vec<(String, String)> = Vec::new();
    let mut set = |path: &str, value: u32| sets.push((path.to_string(), value.to_string()));
    set("vector.lanes", rng.random_range(1..=40));
    set("vector.start_cycles", rng.random_range(0..6));
    for kind in ["requantize", "table", "sum", "product", "pool", "softmax", "layer_norm"] {
        set(&format!("vector.cycles.{kind}"), rng.random_range(1..5));
    }
    chip::load("edge-16x16", &sets).unwrap_or_else(|error| panic!("{error}"))
}

fn cycles_of(chip: &Chip, kind: VectorKind) -> u64 {
    u64::from(chip.vector().cycles.of(kind))
}

#[test]
fn rows_are_worked_on_as_numerics_says_in_the_time_of_the_formula() {
    for seed in 0..400 {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let chip = random_chip(rng);
        let (rows, cols) = (rng.random_range(1..9_u32), rng.random_range(1..70_u32));
        let op = random_op(rng, cols);
        let kind = op.kind();
        let pitch = |rng: &mut ChaCha8Rng| u64::from(cols) + rng.random_range(0..20_u64);
        let (first, second, result) = (pitch(rng), if rng.random_bool(0.3) { 0 } else { pitch(rng) }, pitch(rng));
        // Three areas, apart.
        let area = 1024;
        let input = |number, stride| VectorInput { address: Address::at(number * area), stride, format: Dtype::Int8 };
        let work = VectorWork {
            op: 0,
            place: PAD,
            input: input(0, first),
            second: (kind.inputs() == 2).then(|| input(1, second)),
            result: Address::at(2 * area),
            result_stride: result,
            format: Dtype::Int8,
            rows,
            cols,
            window: None,
        };
        let case = Case { op, work, bytes: random_bytes(rng, 2 * area) };
        let run = run(&chip, &case);
        let row = |start: u64| signed(&case.bytes[usize::try_from(start).unwrap()..][..cols as usize]);
        for (number, results) in (0..).zip(run.output.chunks(cols as usize)) {
            let (a, b) = (row(number * first), row(area + number * second));
            let mut wanted = vec![0; cols as usize];
            match &case.op {
                VectorOp::Table(table) => wanted = a.iter().map(|x| table.apply(*x)).collect(),
                VectorOp::Sum(sum) => wanted = a.iter().zip(&b).map(|(a, b)| sum.apply(*a, *b)).collect(),
                VectorOp::Product(product) => wanted = a.iter().zip(&b).map(|(a, b)| product.apply(*a, *b)).collect(),
                VectorOp::Softmax(softmax) => softmax.apply(&a, &mut wanted),
                VectorOp::LayerNorm(norm) => norm.apply(&a, &mut wanted),
                VectorOp::Rescale(_) | VectorOp::Maximum | VectorOp::Average(_) | VectorOp::Depthwise(_) => unreachable!(),
            }
            assert_eq!(signed(results), wanted, "seed {seed}, row {number}");
        }
        let vector = &run.units.iter().find(|unit| unit.unit.kind == UnitKind::Vector).unwrap().cycles;
        let groups = u64::from(rows) * u64::from(cols).div_ceil(u64::from(chip.vector().lanes)) * kind.sweeps();
        assert_eq!(vector.busy, u64::from(chip.vector().start_cycles) + groups * cycles_of(&chip, kind), "seed {seed}");
        let actions = run.stages[0].actions;
        assert_eq!(actions.vector_operations, u64::from(rows) * u64::from(cols) * kind.sweeps(), "seed {seed}");
    }
}

#[test]
fn windows_are_pooled_and_convolved_as_numerics_says_a_tap_at_a_time() {
    for seed in 0..400 {
        let rng = &mut ChaCha8Rng::seed_from_u64(seed);
        let chip = random_chip(rng);
        let mut pair = |range: std::ops::RangeInclusive<u64>| [rng.random_range(range.clone()), rng.random_range(range)];
        let (input, filter, stride, dilation) = (pair(1..=7), pair(1..=4), pair(1..=3), pair(1..=2));
        // Every window holds a pixel at least: the border is smaller than what the filter reaches.
        let padding: [u64; 2] = std::array::from_fn(|axis| if dilation[axis] == 1 { rng.random_range(0..filter[axis]) } else { 0 });
        let reach: [u64; 2] = std::array::from_fn(|axis| (filter[axis] - 1) * dilation[axis]);
        let output: [u64; 2] = std::array::from_fn(|axis| (input[axis] + padding[axis] - 1).saturating_sub(reach[axis]) / stride[axis] + 1);
        let channels = rng.random_range(1..40_u64);
        let slide = Slide { channels, input, output, filter, stride, dilation, padding };
        let images = rng.random_range(1..3_u64);
        let (pixels, rows) = (images * input[0] * input[1], images * output[0] * output[1]);
        let pitch = channels + rng.random_range(0..9_u64);
        let taps = u32::try_from(filter[0] * filter[1]).unwrap();
        let (read, wrote) = (quantization(rng), quantization(rng));
        let scales: Vec<f32> = (0..channels).map(|_| rng.random_range(0.001..0.1)).collect();
        let op = match rng.random_range(0..5) {
            0 => VectorOp::Maximum,
            1 | 2 => {
                let stage = OutputStage::new(requantizer(rng), LayerClass::Convolution, read.scale, &scales, &wrote, FREE);
                VectorOp::Depthwise(Depthwise { zero_point: read.zero_point, stage, first: 0 })
            }
            3 => VectorOp::Average(Average::new(requantizer(rng), &read, &wrote, taps, rng.random_bool(0.5), FREE)),
            _ => VectorOp::Average(Average::new(requantizer(rng), &read, &read, taps, false, FREE)),
        };
        // A row of weights a tap, and four of the biases' bytes.
        let is_depthwise = matches!(op, VectorOp::Depthwise(_));
        let constants = if is_depthwise { (u64::from(taps) + 4) * channels } else { 0 };
        let work = VectorWork {
            op: 0,
            place: PAD,
            input: VectorInput { address: Address::at(0), stride: pitch, format: Dtype::Int8 },
            second: is_depthwise.then(|| VectorInput { address: Address::at(pixels * pitch), stride: channels, format: Dtype::Int8 }),
            result: Address::at(pixels * pitch + constants),
            result_stride: channels,
            format: Dtype::Int8,
            rows: u32::try_from(rows).unwrap(),
            cols: u32::try_from(channels).unwrap(),
            window: Some(Window { slide, ring: pixels, vector: Address::at(0), inner: Address::at(0), planes: None, plus_border: false }),
        };
        let case = Case { op, work, bytes: random_bytes(rng, pixels * pitch + constants) };
        let run = run(&chip, &case);
        let byte = |at: u64| case.bytes[usize::try_from(at).unwrap()];
        let mut all_taps = 0;
        for vector in 0..rows {
            let (image, place) = (vector / (output[0] * output[1]), vector % (output[0] * output[1]));
            let corner = [place / output[1] * stride[0], place % output[1] * stride[1]];
            let mut under = Vec::new();
            for (r, s) in (0..filter[0]).flat_map(|r| (0..filter[1]).map(move |s| (r, s))) {
                let at = [corner[0] + r * dilation[0], corner[1] + s * dilation[1]];
                if (0..2).all(|axis| at[axis] >= padding[axis] && at[axis] - padding[axis] < input[axis]) {
                    under.push(((image * input[0] + at[0] - padding[0]) * input[1] + at[1] - padding[1], r * filter[1] + s));
                }
            }
            all_taps += under.len().max(1) as u64;
            for channel in 0..channels {
                let values = under.iter().map(|(pixel, _)| i16::from(i8::from_le_bytes([byte(pixel * pitch + channel)])));
                let wanted = match &case.op {
                    VectorOp::Maximum => values.max().unwrap_or(i16::from(i8::MIN)),
                    VectorOp::Average(average) => average.apply(values.map(i64::from).sum(), u32::try_from(under.len()).unwrap(), taps),
                    VectorOp::Depthwise(Depthwise { stage, .. }) => {
                        let row = |number: u64| byte(pixels * pitch + number * channels + channel);
                        let bias = i32::from_le_bytes(std::array::from_fn(|number| row(u64::from(taps) + number as u64)));
                        let weights = under.iter().map(|(_, tap)| i64::from(i8::from_le_bytes([row(*tap)])));
                        let products = values.zip(weights).map(|(x, weight)| (i64::from(x) - i64::from(read.zero_point)) * weight);
                        let sum = i64::from(bias) + products.sum::<i64>();
                        i16::try_from(stage.apply(usize::try_from(channel).unwrap(), sum)).unwrap()
                    }
                    _ => unreachable!(),
                };
                let found = i16::from(i8::from_le_bytes([run.output[usize::try_from(vector * channels + channel).unwrap()]]));
                assert_eq!(found, wanted, "seed {seed}, vector {vector}, channel {channel}");
            }
        }
        let vector = &run.units.iter().find(|unit| unit.unit.kind == UnitKind::Vector).unwrap().cycles;
        let groups = channels.div_ceil(u64::from(chip.vector().lanes));
        let last = if is_depthwise { rows * u64::from(chip.vector().cycles.requantize) } else { 0 };
        let steps = all_taps * cycles_of(&chip, case.op.kind()) + last;
        // The rows of a group's biases may lie in one bank, which the vector unit then waits for.
        assert_eq!(vector.busy, u64::from(chip.vector().start_cycles) + groups * steps, "seed {seed}");
        let operations = (all_taps + if is_depthwise { rows } else { 0 }) * channels;
        assert_eq!(run.stages[0].actions.vector_operations, operations, "seed {seed}");
    }
}

#[test]
fn a_command_that_makes_no_sense_is_refused_in_words() {
    let chip = chip::load("edge-16x16", &[]).unwrap();
    let input = |at| VectorInput { address: Address::at(at), stride: 8, format: Dtype::Int8 };
    let slide = Slide { channels: 8, input: [1, 1], output: [1, 1], filter: [1, 1], stride: [1, 1], dilation: [1, 1], padding: [0, 0] };
    let window = Window { slide, ring: 1, vector: Address::at(0), inner: Address::at(0), planes: None, plus_border: false };
    let work = VectorWork {
        op: 0,
        place: PAD,
        input: input(0),
        second: None,
        result: Address::at(64),
        result_stride: 8,
        format: Dtype::Int8,
        rows: 1,
        cols: 8,
        window: None,
    };
    let unit = Quantization { dtype: Dtype::Int8, scale: 1.0, zero_point: 0 };
    let table = VectorOp::Table(Table::new(&unit, &unit, |x| x));
    let norm = VectorOp::LayerNorm(LayerNorm::new(&unit, &unit, &[1.0; 4], &[0.0; 4], 0.0));
    let refused = |op: &VectorOp, change: &dyn Fn(&mut VectorWork)| {
        let mut work = work.clone();
        change(&mut work);
        let case = Case { op: op.clone(), work, bytes: vec![0; 64] };
        let error: ProgramError = Program::new(parts(&chip, &case)).expect_err("refused");
        error.to_string()
    };
    let says = |message: String, part: &str| assert!(message.contains(part), "{message}");
    says(refused(&table, &|work| work.op = 1), "names vector operation 1 of 1");
    says(refused(&table, &|work| work.cols = 0), "works on 1 rows of 0 elements");
    says(refused(&table, &|work| work.place = Place::Accumulator(0)), "which is no scratchpad");
    says(refused(&table, &|work| work.place = Place::Dram), "which is no scratchpad");
    says(refused(&table, &|work| work.second = Some(input(8))), "table reads 1 values, and the command gives 2");
    says(refused(&table, &|work| work.window = Some(window.clone())), "table slides no such thing as a window");
    says(refused(&VectorOp::Maximum, &|_| {}), "pool needs a window");
    says(refused(&norm, &|_| {}), "its layer_norm has 4 factors and needs 8");
    says(refused(&VectorOp::Maximum, &|work| (work.window, work.cols) = (Some(window.clone()), 9)), "pools 9 channels of pixels of 8");
    let filter = OutputStage::new(Requantizer::Float, LayerClass::Convolution, 1.0, &[1.0; 8], &unit, FREE);
    let depthwise = |first| VectorOp::Depthwise(Depthwise { zero_point: 0, stage: filter.clone(), first });
    says(refused(&depthwise(0), &|_| {}), "depthwise needs a window");
    says(refused(&depthwise(0), &|work| work.window = Some(window.clone())), "depthwise reads 2 values");
    let with = |work: &mut VectorWork| (work.window, work.second) = (Some(window.clone()), Some(input(8)));
    says(refused(&depthwise(1), &with), "its depthwise has 8 channels from 1 on, of the 8 of its output stage");
    says(refused(&table, &|work| work.input.address = Address::at(60)), "never written");
    says(refused(&table, &|work| work.result = Address::at(1 << 40)), "outside");
}
