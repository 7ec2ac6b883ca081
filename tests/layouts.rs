//! Do bank conflicts come and go with the layout as the formula says: in each cycle of reading, the largest number over banks of distinct rows;
//! and does the verifier look at every plane?

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::collections::BTreeSet;
use systole::chip::{self, Chip};
use systole::counts::{Operand, StallReason};
use systole::mapping::{self, Choice, InputBuffer, Layout, Lowered, Mapping, MappingError, Problem, WeightStart};
use systole::numerics::Dtype;
use systole::program::{Command, Item, Operation, Program, ProgramError, ProgramParts, emit_timing};
use systole::sim::Machine;

const WEIGHT: &str = "WeightStationary(row_hop: 1, col_hop: 1, pipeline_registers: 0, load: Rows, stationary_buffers: 2, \
                      max_pass_vectors: Unlimited, min_pass_cycles: 1, overlap: Pipelined, extent: Physical)";
const OUTPUT: &str = "OutputStationary(row_hop: 1, col_hop: 1, pipeline_registers: 0, min_pass_cycles: 1, overlap: Pipelined, \
                      extent: Physical, drain: Rows, psum_preload: Cycles(0), reduction_padding: Exact)";

/// A chip whose input lies in a memory of its own, of so many banks of rows of 4 bytes; nothing else ever conflicts with the array's reads there.
fn chip(rows: u64, dataflow: &str, banks: u64) -> Chip {
    chip_of(rows, dataflow, banks, banks * 4 * 1024)
}

/// The same with so many bytes for activations.
fn chip_of(rows: u64, dataflow: &str, banks: u64, capacity: u64) -> Chip {
    let sets = [
        ("array.rows", rows.to_string()),
        ("array.cols", "4".to_string()),
        ("array.dataflows", format!("[{dataflow}]")),
        (
            "scratchpads",
            format!(
                "[(role: Weight, capacity: KiB(16), banks: 4, port_bytes: 64, latency: Cycles(1)), \
                 (role: Input, capacity: B({capacity}), banks: {banks}, port_bytes: 4, latency: Cycles(1))]"
            ),
        ),
    ];
    chip::load("edge-16x16", &sets.map(|(field, value)| (field.to_string(), value))).unwrap()
}

/// A convolution of 4 filters.
fn conv(c: u64, input: [u64; 2], filter: [u64; 2], stride: [u64; 2], dilation: [u64; 2], padding: [u64; 2]) -> Problem {
    let output = |axis: usize| (input[axis] + 2 * padding[axis] - (filter[axis] - 1) * dilation[axis] - 1) / stride[axis] + 1;
    let (p, q) = (output(0), output(1));
    Problem { p, q, r: filter[0], s: filter[1], input, stride, dilation, padding, ..Problem::matrix(1, c, 4, Dtype::Int8, Dtype::Int8) }
}

fn layout(text: &str) -> Layout {
    text.parse().unwrap()
}

fn mapped(problem: Problem, chip: &Chip, layout: Layout) -> Mapping {
    let stage = Lowered::unchecked("conv", problem, 0);
    mapping::map_as(&[stage], chip, 1, WeightStart::Cold, &[Choice { layout, ..Choice::first(chip) }]).unwrap()
}

/// Cycles in which the array waits for banks that it has not yet had all of its rows from.
fn conflicts(problem: Problem, chip: &Chip, layout: Layout) -> u64 {
    let program = emit_timing(&mapped(problem, chip, layout), chip).unwrap();
    let run = Machine::new(chip, &chip.formats()[0], &program).unwrap().time().unwrap();
    run.units[0].cycles.stalls().filter(|(reason, _)| *reason == StallReason::ScratchpadConflict).map(|(_, cycles)| cycles).sum()
}

/// What the formula gives where all vectors are a block and K is a tile: elements that are read together are those of a vector, or one of each of
/// the vectors that the array's rows take.
fn formula(problem: &Problem, chip: &Chip, layout: Layout) -> u64 {
    let mapping = mapped(*problem, chip, layout);
    let InputBuffer::Fetched { address, rows } = mapping.stages()[0].input else { panic!("it comes from DRAM") };
    assert_eq!((mapping.stages()[0].blocks(), mapping.stages()[0].chunks()), (1, 1));
    let banks = u64::from(chip.scratchpads()[1].banks);
    let block = match layout {
        Layout::ChannelInnermost => problem.c,
        Layout::RowMajor => 1,
        Layout::BlockedByC(block) => block.get().min(problem.c),
    };
    let ring = rows * problem.input[1];
    // Whole pixels that would all begin in one bank have a row of 4 bytes between them.
    let gap = if block == problem.c && banks > 1 && block.is_multiple_of(4 * banks) { 4 } else { 0 };
    let row_of = |vector: u64, k: u64| {
        let (position, c) = (k / problem.c, k % problem.c);
        let y = vector / problem.q * problem.stride[0] + position / problem.s * problem.dilation[0];
        let x = vector % problem.q * problem.stride[1] + position % problem.s * problem.dilation[1];
        let (y, x) = (y.checked_sub(problem.padding[0])?, x.checked_sub(problem.padding[1])?);
        let pixel = (y < problem.input[0] && x < problem.input[1]).then_some(y * problem.input[1] + x)? % ring;
        Some((address + c / block * ring * block + pixel * (block + gap) + c % block) / 4)
    };
    let together: Vec<Vec<(u64, u64)>> = if chip.array().dataflows[0].kind() == chip::Stationary::Weight {
        (0..problem.vectors()).map(|vector| (0..problem.reduction()).map(|k| (vector, k)).collect()).collect()
    } else {
        let unit = u64::from(chip.array().rows);
        let tiles = (0..problem.vectors().div_ceil(unit)).map(|tile| tile * unit..((tile + 1) * unit).min(problem.vectors()));
        tiles.flat_map(|tile| (0..problem.reduction()).map(move |k| tile.clone().map(|vector| (vector, k)).collect())).collect()
    };
    let cost = |elements: &Vec<(u64, u64)>| {
        let rows: BTreeSet<u64> = elements.iter().filter_map(|(vector, k)| row_of(*vector, *k)).collect();
        (0..banks).map(|bank| rows.iter().filter(|row| *row % banks == bank).count() as u64).max().unwrap_or(0).max(1)
    };
    together.iter().map(|elements| cost(elements) - 1).sum()
}

/// Images of 4 x 4 with 4 channels, in 4 banks of 4 bytes: a pixel is a row, a channel's plane a row of each bank.
#[test]
fn channels_that_are_read_together_conflict_where_each_has_a_plane() {
    let chip = chip(4, WEIGHT, 4);
    let of_pixels = |stride| conv(4, [4, 4], [1, 1], [stride, stride], [1, 1], [0, 0]);
    // A vector is a pixel, one row of one bank. In planes its channels are 16 bytes apart: 4 rows of one bank, 3 cycles more for each of 16
    // vectors. In two planes of 32 bytes they are 2 rows of one bank.
    let stalls = |stride| ["nhwc", "nchw", "nc2hw2"].map(|text| conflicts(of_pixels(stride), &chip, layout(text)));
    assert_eq!(stalls(1), [0, 3 * 16, 16]);
    // With stride 2 there are 4 vectors. The last row of images is not reached, and not fetched: planes of 12 bytes, 3 rows, so that the
    // channels are in 4 banks; and planes of 24 bytes, 6 rows, so that the blocks are in two.
    assert_eq!(stalls(2), [0, 0, 0]);
    // Three banks: a channel's plane is 4 rows, so that the fourth is in the first one's bank.
    assert_eq!(conflicts(of_pixels(1), &self::chip(4, WEIGHT, 3), layout("nchw")), 16, "rows 0, 4, 8, 12 are in banks 0, 1, 2, 0");
}

/// The same where sums stay: the array's rows read a channel of 4 pixels together.
#[test]
fn a_stride_makes_conflicts_where_pixels_are_read_together_and_channels_are_innermost() {
    let chip = chip(4, OUTPUT, 4);
    let of_pixels = |stride| conv(4, [4, 8], [1, 1], [1, stride], [1, 1], [0, 0]);
    let stalls = |stride| ["nhwc", "nchw"].map(|text| conflicts(of_pixels(stride), &chip, layout(text)));
    // Neighbours are rows of 4 banks, or one row of a plane.
    assert_eq!(stalls(1), [0, 0]);
    // Every other pixel is a row of every other bank: 2 rows of each of 2 banks, a cycle more for each of 4 channels and 4 tiles of vectors. In
    // a plane they are 8 bytes, 2 rows of 2 banks.
    assert_eq!(stalls(2), [4 * 4, 0]);
}

/// Pixels of 16 bytes in 4 banks of 4 bytes would all begin in one bank. With a row between them they begin in banks 0, 1, 2, 3.
#[test]
fn pixels_leave_a_row_between_them_where_all_would_begin_in_one_bank_and_there_is_room() {
    let problem = conv(16, [3, 5], [1, 1], [1, 1], [1, 1], [0, 0]);
    assert_eq!(conflicts(problem, &chip(4, OUTPUT, 4), layout("nhwc")), 0);
    // 4 vectors lie in at most 2 rows of 5 pixels: 160 bytes close together, 200 with rows between them, beside 16 bytes of results.
    let small = chip_of(4, OUTPUT, 4, 192);
    assert_eq!(mapped(problem, &small, layout("nhwc")).stages()[0].pitches.input, 16);
    // Each of 16 channels costs a cycle for each of the 15 vectors but one of each tile.
    assert_eq!(conflicts(problem, &small, layout("nhwc")), 16 * (15 - 4));
    assert_eq!(mapped(problem, &chip(4, OUTPUT, 4), layout("nhwc")).stages()[0].pitches.input, 20);
}

#[test]
fn conflicts_are_those_of_the_formula_in_every_layout() {
    let shapes = [
        conv(4, [5, 6], [1, 2], [1, 1], [1, 1], [0, 0]),
        conv(3, [7, 5], [2, 2], [1, 1], [1, 2], [1, 1]),
        conv(2, [6, 9], [2, 4], [2, 1], [2, 1], [1, 0]),
        conv(5, [4, 8], [1, 3], [1, 2], [1, 2], [0, 2]),
        conv(16, [3, 5], [1, 1], [1, 1], [1, 1], [0, 0]),
    ];
    let mut found = BTreeSet::new();
    for dataflow in [WEIGHT, OUTPUT] {
        for banks in [1, 2, 3, 4, 8] {
            let chip = chip(16, dataflow, banks);
            for problem in &shapes {
                for text in ["nhwc", "nchw", "nc2hw2", "nc3hw3", "nc8hw8"] {
                    let (measured, wanted) = (conflicts(*problem, &chip, layout(text)), formula(problem, &chip, layout(text)));
                    assert_eq!(measured, wanted, "{text}, {banks} banks, {problem:?}, {dataflow}");
                    found.insert(wanted);
                }
            }
        }
    }
    assert!(found.contains(&0) && found.len() > 20, "{found:?}");
}

/// Two layers, the first's 6 channels read in blocks of 4 by the second.
fn program() -> ProgramParts {
    let chip = chip(4, WEIGHT, 4);
    let first = Problem { m: 6, ..conv(3, [5, 5], [3, 3], [1, 1], [1, 1], [1, 1]) };
    let second = conv(6, [5, 5], [3, 3], [1, 1], [1, 1], [1, 1]);
    let stages = {
        let before = Lowered::unchecked("conv", first, 0);
        [before.clone(), Lowered::unchecked("conv", second, 1).after(&before)]
    };
    let choices = ["nchw", "nc4hw4"].map(|text| Choice { layout: layout(text), ..Choice::first(&chip) });
    let mapping = mapping::map_as(&stages, &chip, 1, WeightStart::Cold, &choices).unwrap();
    emit_timing(&mapping, &chip).unwrap().parts().clone()
}

fn each(items: &mut [Item], spoil: &mut impl FnMut(&mut Command)) {
    for item in items {
        match item {
            Item::Repeat(repeat) => each(&mut repeat.body, spoil),
            Item::Do(command) => spoil(command),
        }
    }
}

fn fault(mut spoil: impl FnMut(&mut Operation)) -> ProgramError {
    let mut parts = program();
    for queue in &mut parts.queues {
        each(&mut queue.items, &mut |command| spoil(&mut command.operation));
    }
    Program::new(parts).unwrap_err()
}

#[test]
fn the_verifier_looks_at_every_plane() {
    Program::new(program()).unwrap();
    let planes_of = |spoil: fn(&mut u64, &mut u64)| {
        fault(|operation| {
            if let Operation::Compute(compute) = operation
                && let Some(planes) = compute.window.as_mut().and_then(|window| window.planes.as_mut())
            {
                spoil(&mut planes.block, &mut planes.bytes);
            }
        })
    };
    let says = |fault: ProgramError, words: &str| assert!(fault.to_string().contains(words), "{fault}");
    says(planes_of(|_, bytes| *bytes -= 1), "do not fit their plane of 24 bytes");
    says(planes_of(|block, _| *block = 0), "hold no pixels of 0 channels");
    assert!(matches!(planes_of(|_, bytes| *bytes += 1 << 20), ProgramError::OutOfBounds { .. }), "the last plane ends outside");
    assert!(matches!(planes_of(|_, bytes| *bytes += 400), ProgramError::NeverWritten { .. }), "the second plane lies elsewhere");
    // A plane that is not fetched, one that is not written.
    let rows_of_input = |operation: &mut Operation| match operation {
        Operation::Mvin(transfer) if transfer.operand == Operand::Input && transfer.rows == 3 => transfer.rows = 2,
        _ => {}
    };
    assert!(matches!(fault(rows_of_input), ProgramError::NeverWritten { .. }));
    // The results: 4 channels that are the first block, and 2 of the next, which has 4 places a pixel.
    let moved = fault(|operation| {
        if let Operation::Requantize(requantize) = operation {
            requantize.result_stride += u64::from(requantize.cols == 2);
        }
    });
    assert!(matches!(moved, ProgramError::NeverWritten { .. } | ProgramError::Race { .. }), "{moved}");
    let uneven = fault(|operation| {
        if let Operation::Requantize(requantize) = operation {
            requantize.planes = Some(systole::program::Planes { block: 3, bytes: 100 });
        }
    });
    says(uneven, "its 4 channels are no whole blocks of 3");
}

#[test]
fn a_layer_whose_input_would_have_to_be_turned_round_is_refused() {
    let chip = chip(4, WEIGHT, 4);
    let (first, second) = (conv(4, [4, 4], [1, 1], [1, 1], [1, 1], [0, 0]), conv(8, [2, 4], [1, 1], [1, 1], [1, 1], [0, 0]));
    let stages = {
        let before = Lowered::unchecked("conv", first, 0);
        [before.clone(), Lowered::unchecked("conv", second, 1).after(&before)]
    };
    let map = |text: &str| {
        let choice = Choice { layout: layout(text), ..Choice::first(&chip) };
        mapping::map_as(&stages, &chip, 1, WeightStart::Cold, &[choice, choice])
    };
    assert!(map("nhwc").is_ok());
    let Err(error @ MappingError::Layout { .. }) = map("nchw") else { panic!("it is refused") };
    let message = error.to_string();
    assert!(["nchw", "not pixel by pixel", "layer \"conv\"", "--layout"].iter().all(|word| message.contains(word)), "{message}");
    // The first layer of a table has none before it.
    let grouped = Problem { groups: 2, ..conv(4, [4, 4], [1, 1], [1, 1], [1, 1], [0, 0]) };
    let choice = Choice { layout: layout("nchw"), ..Choice::first(&chip) };
    let message =
        mapping::map_as(&[Lowered::unchecked("first", grouped, 0)], &chip, 1, WeightStart::Cold, &[choice]).unwrap_err().to_string();
    assert!(message.contains("in 2 groups of channels") && !message.contains("before"), "{message}");
}
