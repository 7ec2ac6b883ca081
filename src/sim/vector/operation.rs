//! One operation of the vector unit other than requantizing, group by group.
//!
//! A row is worked through in groups of `lanes` elements, as often as the operation sweeps over it; under a window a group is worked through
//! tap by tap. A group of a sweep, or a tap of a group, reads its elements; the last one writes the results. A depthwise convolution has one
//! more step a group behind its taps, which reads the biases, and requantizes.

use super::super::array::rows_touched;
use super::super::claims::{Claims, Use};
use super::super::memory::{scratchpad_index, size};
use super::super::queue::Shared;
use crate::chip::VectorCycles;
use crate::numerics::packed::{put, unpack};
use crate::numerics::{BIAS_BYTES, Depthwise, Dtype, VectorKind, VectorOp};
use crate::program::{Place, ProgramParts, Slide, Tag, VectorInput, VectorWork};

/// A command under way.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operating {
    pub(super) kind: VectorKind,
    op: u32,
    place: Place,
    /// Where the inputs lie; the second is the first again where there is none.
    inputs: [Lines; 2],
    count: usize,
    result: Lines,
    rows: u64,
    cols: u64,
    window: Option<Taps>,
    /// The step that comes next.
    row: u64,
    sweep: u64,
    col: u64,
    tap: usize,
}

/// Rows of packed elements, each from a byte on.
#[derive(Debug, Clone, Copy)]
struct Lines {
    address: u64,
    stride: u64,
    format: Dtype,
}

impl Lines {
    /// The bytes of elements `col..col + elements` of a row: the first, and how many.
    fn part(&self, line: u64, col: u64, elements: u64) -> (u64, u64) {
        let bits = u64::from(self.format.bits());
        let first = col * bits / 8;
        (self.address + line * self.stride + first, self.format.packed_bytes(col + elements) - first)
    }
}

/// The window of a pooling, resolved.
#[derive(Debug, Clone, Copy)]
struct Taps {
    slide: Slide,
    ring: u64,
    first: u64,
}

impl Taps {
    /// The places in memory of the pixels under the window at a row of results, without padding, each with its number in the filter.
    fn each(&self, row: u64, mut see: impl FnMut(u64, u64)) {
        // The pieces of K with one channel a tap are the taps.
        let taps = Slide { channels: 1, ..self.slide };
        taps.pieces(self.first + row, 0..taps.reduction(), |piece| see(piece.pixel % self.ring, piece.at));
    }
}

/// Bytes for the rows that are worked on, kept from command to command.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    /// The pixels under the window at the row that is worked on, each with its number in the filter.
    taps: Vec<(u64, u64)>,
    inputs: [Vec<i16>; 2],
    sums: Vec<i32>,
    wide_sums: Vec<i64>,
    results: Vec<i16>,
}

impl Operating {
    pub(super) fn new(program: &ProgramParts, work: &VectorWork, counters: &[u64]) -> Self {
        let lines = |input: &VectorInput| Lines { address: input.address.resolve(counters), stride: input.stride, format: input.format };
        let input = lines(&work.input);
        let second = work.second.as_ref().map_or(input, lines);
        let kind = program.vector_ops[work.op as usize].kind();
        Self {
            kind,
            op: work.op,
            place: work.place,
            inputs: [input, second],
            count: kind.inputs(),
            result: Lines { address: work.result.resolve(counters), stride: work.result_stride, format: work.format },
            rows: u64::from(work.rows),
            cols: u64::from(work.cols),
            window: work.window.as_ref().map(|window| Taps {
                slide: window.slide,
                ring: window.ring,
                first: window.vector.resolve(counters),
            }),
            row: 0,
            sweep: 0,
            col: 0,
            tap: 0,
        }
    }

    /// Finds the taps of the row that comes next.
    pub(super) fn open_row(&mut self, scratch: &mut Scratch) {
        if let Some(window) = &self.window {
            scratch.taps.clear();
            window.each(self.row, |pixel, tap| scratch.taps.push((pixel, tap)));
        }
        self.open_group(scratch);
    }

    /// Begins at the group's last tap. A window over nothing but padding takes the time of one.
    fn open_group(&mut self, scratch: &Scratch) {
        self.tap = match self.kind {
            VectorKind::Depthwise => scratch.taps.len(),
            VectorKind::Pool => scratch.taps.len().saturating_sub(1),
            _ => 0,
        };
    }

    /// The step's cycles: of the last one of a depthwise convolution those of a requantization.
    pub(super) fn cycles(&self, of: &VectorCycles) -> u32 {
        if self.kind == VectorKind::Depthwise && self.tap == 0 { of.requantize } else { of.of(self.kind) }
    }

    fn elements(&self, lanes: u64) -> u64 {
        lanes.min(self.cols - self.col)
    }

    fn is_last_of_group(&self) -> bool {
        self.tap == 0 && self.sweep + 1 == self.kind.sweeps()
    }

    /// The bytes of the step's inputs, the first of each and how many, those of the first input first; and how many parts are of that one.
    fn reads(&self, scratch: &Scratch, elements: u64) -> (impl Iterator<Item = (u64, u64)> + use<>, usize) {
        // From a line of the first input on, so many; and the same of the second.
        let tap = |number: Option<usize>| number.and_then(|number| scratch.taps.get(number).copied());
        let lines: [(u64, u64); 2] = match self.kind {
            VectorKind::Pool => [(tap(Some(self.tap)).map_or((0, 0), |(pixel, _)| (pixel, 1))), (0, 0)],
            VectorKind::Depthwise => match tap(self.tap.checked_sub(1)) {
                Some((pixel, tap)) => [(pixel, 1), (tap, 1)],
                None => [(0, 0), (self.window.map_or(0, |window| window.slide.filter[0] * window.slide.filter[1]), BIAS_BYTES)],
            },
            _ => [(self.row, 1), (self.row, (self.count - 1) as u64)],
        };
        let (inputs, col) = (self.inputs, self.col);
        let of = move |number: usize| {
            let (first, count) = lines[number];
            (first..first + count).map(move |line| inputs[number].part(line, col, elements))
        };
        (of(0).chain(of(1)), size(lines[0].1))
    }

    /// Lists the memory rows that the step needs.
    pub(super) fn claim(&self, claims: &mut Claims, shared: &Shared<'_>, scratch: &Scratch, lanes: u64) {
        let elements = self.elements(lanes);
        for (address, bytes) in self.reads(scratch, elements).0 {
            claims.add(shared, self.place, address, bytes, Use::Access);
        }
        if self.is_last_of_group() {
            let (address, bytes) = self.result.part(self.row, self.col, elements);
            claims.add(shared, self.place, address, bytes, Use::Access);
        }
    }

    /// Counts the step, which has had its cycles.
    pub(super) fn account(&self, shared: &mut Shared<'_>, scratch: &Scratch, tag: Tag, lanes: u64) {
        let elements = self.elements(lanes);
        let rows = |shared: &Shared<'_>, (address, bytes): (u64, u64)| {
            let memory = shared.sram_ref(self.place);
            rows_touched(memory.row_of(address), memory.row_of(address + bytes - 1))
        };
        let (reads, of_first) = self.reads(scratch, elements);
        for (number, part) in reads.enumerate() {
            let read = rows(shared, part);
            shared.accounts.scratchpad_read(tag, self.place, read);
            let traffic = &mut shared.accounts.traffic(tag).scratchpad;
            let is_weight = self.kind == VectorKind::Depthwise && number >= of_first;
            (if is_weight { &mut traffic.weight } else { &mut traffic.input }).read += part.1;
        }
        if self.is_last_of_group() {
            let part = self.result.part(self.row, self.col, elements);
            let written = rows(shared, part);
            shared.accounts.scratchpad_write(tag, self.place, written);
            shared.accounts.traffic(tag).scratchpad.output.write += part.1;
        }
        shared.accounts.actions(tag).vector_operations += elements;
    }

    /// Goes on to the next step; tells whether there is one.
    pub(super) fn advance(&mut self, scratch: &mut Scratch, lanes: u64) -> bool {
        if self.tap > 0 {
            self.tap -= 1;
            return true;
        }
        self.col += self.elements(lanes);
        self.open_group(scratch);
        if self.col < self.cols {
            return true;
        }
        (self.col, self.sweep) = (0, self.sweep + 1);
        if self.sweep < self.kind.sweeps() {
            return true;
        }
        (self.sweep, self.row) = (0, self.row + 1);
        if self.row < self.rows {
            self.open_row(scratch);
        }
        self.row < self.rows
    }

    /// Computes all results. What the command reads stays until it ends, which is what its semaphores are for; what it writes nobody may look at
    /// before.
    pub(super) fn compute(&self, shared: &mut Shared<'_>, scratch: &mut Scratch) {
        let op = &shared.program.vector_ops[self.op as usize];
        let pad = scratchpad_index(self.place);
        for row in 0..self.rows {
            let memory = &shared.scratchpads[pad];
            let load = |lines: Lines, line: u64, into: &mut Vec<i16>| {
                let (address, bytes) = lines.part(line, 0, self.cols);
                into.resize(size(self.cols), 0);
                unpack(lines.format, memory.read(address, bytes), 0, into);
            };
            let Scratch { inputs: [first, second], sums, wide_sums, results, .. } = &mut *scratch;
            match &self.window {
                Some(window) if let VectorOp::Depthwise(op) = op => {
                    let weights = |tap: u64| memory.read(self.inputs[1].address + tap * self.inputs[1].stride, self.cols);
                    let taps = window.slide.filter[0] * window.slide.filter[1];
                    Depthwise::biases((taps..taps + BIAS_BYTES).map(weights), wide_sums, size(self.cols));
                    window.each(row, |pixel, tap| {
                        load(self.inputs[0], pixel, first);
                        op.add(wide_sums, first, weights(tap));
                    });
                    results.clear();
                    results.extend(wide_sums.iter().enumerate().map(|(channel, sum)| i16::from(op.output(channel, *sum))));
                }
                None => {
                    load(self.inputs[0], row, first);
                    if self.count == 2 {
                        load(self.inputs[1], row, second);
                    }
                    results.resize(size(self.cols), 0);
                    match op {
                        VectorOp::Table(table) => each(first, results, |x| table.apply(x)),
                        VectorOp::Rescale(rescale) => each(first, results, |x| rescale.apply(x)),
                        VectorOp::Sum(sum) => both(first, second, results, |a, b| sum.apply(a, b)),
                        VectorOp::Product(product) => both(first, second, results, |a, b| product.apply(a, b)),
                        VectorOp::Softmax(softmax) => softmax.apply(first, results),
                        VectorOp::LayerNorm(norm) => norm.apply(first, results),
                        VectorOp::Maximum | VectorOp::Average(_) | VectorOp::Depthwise(_) => {
                            unreachable!("bug: the verifier gives every window one")
                        }
                    }
                }
                Some(window) => {
                    let mut taps = 0_u32;
                    sums.clear();
                    sums.resize(size(self.cols), if matches!(op, VectorOp::Maximum) { i32::from(i16::MIN) } else { 0 });
                    window.each(row, |pixel, _| {
                        taps += 1;
                        load(self.inputs[0], pixel, first);
                        let is_greatest = matches!(op, VectorOp::Maximum);
                        for (sum, x) in sums.iter_mut().zip(first.iter()) {
                            let x = i32::from(*x);
                            *sum = if is_greatest { x.max(*sum) } else { sum.saturating_add(x) };
                        }
                    });
                    let of_window = window.slide.filter[0] * window.slide.filter[1];
                    let all = u32::try_from(of_window).unwrap_or(u32::MAX);
                    results.clear();
                    results.extend(sums.iter().map(|sum| match op {
                        VectorOp::Average(average) => average.apply(i64::from(*sum), taps, all),
                        _ => i16::try_from(*sum).expect("bug: the greatest of elements is an element"),
                    }));
                }
            }
            let (address, bytes) = self.result.part(row, 0, self.cols);
            let written = shared.scratchpads[pad].write(address, bytes);
            for (index, y) in scratch.results.iter().enumerate() {
                put(self.result.format, written, index, *y);
            }
        }
    }
}

fn each(inputs: &[i16], results: &mut [i16], apply: impl Fn(i16) -> i16) {
    for (x, y) in inputs.iter().zip(results) {
        *y = apply(*x);
    }
}

fn both(first: &[i16], second: &[i16], results: &mut [i16], apply: impl Fn(i16, i16) -> i16) {
    for ((a, b), y) in first.iter().zip(second).zip(results) {
        *y = apply(*a, *b);
    }
}
