//! The vector unit: takes finished sums from the accumulator, requantizes them, and writes the next layer's integers; or works on integers in
//! a scratchpad (`operation`).
//!
//! A command takes `start_cycles`, then works through its rows in groups of `lanes` elements, each group for the operation's cycles. A
//! group takes the memory rows that it reads and writes in its first cycle, or stalls until it has them.

mod operation;

use super::claims::{Claims, Use};
use super::memory::{Sram, scratchpad_index, size};
use super::queue::{Did, Ending, Queue, Shared};
use super::recording::Effect;
use crate::chip::{Chip, VectorCycles};
use crate::counts::{CycleCounts, StallReason};
use crate::numerics::packed::put;
use crate::numerics::{Dtype, load_sum};
use crate::program::{Command, Operation, Place, Planes, Requantize, Tag};
use operation::{Operating, Scratch};
use std::collections::VecDeque;

/// A command under way.
#[derive(Debug, Clone, Copy)]
struct Work {
    ending: Ending,
    /// The cycle from which it may begin.
    fetched: u64,
    what: What,
}

#[derive(Debug, Clone, Copy)]
enum What {
    Requantize(Requantizing),
    Operation(Operating),
}

/// A requantization under way.
#[derive(Debug, Clone, Copy)]
struct Requantizing {
    sums: u64,
    sums_stride: u64,
    place: Place,
    result: u64,
    result_stride: u64,
    rows: u64,
    cols: u64,
    channel: u64,
    /// Whether a row of sums is a channel's: then its results go down.
    by_channels: bool,
    /// One block of any width, where all channels lie side by side.
    planes: Planes,
    format: Dtype,
    stage: u32,
    /// The group that comes next, by its row and first column.
    row: u64,
    col: u64,
    /// Memory rows of sums that groups have read, and of results that they have written.
    touched: [u64; 2],
}

/// The vector unit.
pub(super) struct Vector<'p> {
    queue: Queue<'p>,
    pub(super) cycles: CycleCounts,
    lanes: u64,
    start_cycles: u64,
    cycles_of: VectorCycles,
    /// Of the accumulator, and of the scratchpad that activations lie in.
    latency: u64,
    pad_latency: u64,
    element_bytes: u64,
    /// Commands whose first sums are on their way from the memory, in order, and how many may be.
    next: VecDeque<Work>,
    ahead: usize,
    work: Option<Work>,
    /// Cycles of start-up that the command has left.
    starting: u64,
    /// Cycles that the group under way has left, the present one included.
    left: u64,
    claims: Claims,
    scratch: Scratch,
    /// Whether a command takes no cycles of its own.
    is_peeled: bool,
}

impl<'p> Vector<'p> {
    pub(super) fn new(queue: Queue<'p>, chip: &Chip, element_bytes: u64, is_peeled: bool) -> Self {
        let unit = chip.vector();
        let of = |latency: u64| if is_peeled { 0 } else { latency };
        let latency = of(chip.accumulator().latency.get());
        let pad_latency = of(chip.scratchpads()[chip.scratchpad_roles().activation].latency.get());
        let ahead = size(latency.max(pad_latency)) + 2;
        Self {
            queue,
            cycles: CycleCounts::default(),
            lanes: u64::from(unit.lanes),
            start_cycles: of(u64::from(unit.start_cycles)),
            cycles_of: unit.cycles,
            latency,
            pad_latency,
            element_bytes,
            next: VecDeque::with_capacity(ahead),
            ahead,
            work: None,
            starting: 0,
            left: 0,
            claims: Claims::new(),
            scratch: Scratch::default(),
            is_peeled,
        }
    }

    pub(super) fn done(&self) -> bool {
        self.queue.head().is_none() && self.next.is_empty() && self.work.is_none()
    }

    /// Its queue.
    pub(super) fn queue(&self) -> &Queue<'p> {
        &self.queue
    }

    /// One cycle of the machine.
    pub(super) fn tick(&mut self, shared: &mut Shared<'_>, cycle: u64) -> Did {
        let blocked = self.issue(shared, cycle);
        if self.work.is_none()
            && let Some(next) = self.next.front().copied()
            && next.fetched <= cycle
        {
            self.next.pop_front();
            (self.work, self.starting) = (Some(next), self.start_cycles);
            self.begin(shared);
        }
        if self.work.is_none() {
            return self.account_quiet(blocked, 1);
        }
        if self.starting > 0 {
            self.starting -= 1;
            self.cycles.busy += 1;
            return Did::Moved;
        }
        if let Some(reason) = self.claims.take(shared, cycle) {
            self.cycles.stall(reason, 1);
            return Did::Moved;
        }
        self.left -= 1;
        if self.left == 0 {
            self.finish_group(shared, cycle);
        }
        // Without limit, all groups have their turn in the cycle in which the first does, as far as there are ports.
        while self.is_peeled && self.work.is_some() && self.claims.take(shared, cycle).is_none() {
            self.finish_group(shared, cycle);
        }
        self.cycles.busy += 1;
        Did::Moved
    }

    /// The account of cycles in which nothing is worked on.
    fn account_quiet(&mut self, blocked: Option<StallReason>, cycles: u64) -> Did {
        self.queue.account_quiet(&mut self.cycles, !self.next.is_empty(), blocked, cycles)
    }

    /// The first cycle, from `next` on, in which a tick would do anything but repeat this one's account; `None` if only a token can wake
    /// the unit.
    pub(super) fn next_event(&self, shared: &Shared<'_>, next: u64) -> Option<u64> {
        if self.queue.head().is_some_and(|command| self.has_room(command)) && self.queue.missing(shared).is_none() {
            return Some(next);
        }
        match self.work {
            None => self.next.front().map(|work| work.fetched.max(next)),
            Some(_) if self.starting > 0 => Some(next + self.starting),
            Some(_) if !self.claims.is_empty() => Some(next),
            Some(_) => Some(next + self.left - 1),
        }
    }

    /// Lets `cycles` cycles pass in which nothing happens but the account of the last one.
    pub(super) fn skip(&mut self, shared: &Shared<'_>, cycles: u64) {
        if self.work.is_none() {
            let blocked = self.queue.blocked(shared);
            self.account_quiet(blocked, cycles);
        } else {
            self.cycles.busy += cycles;
            if self.starting > 0 {
                self.starting -= cycles;
            } else {
                self.left -= cycles;
            }
        }
    }

    /// Whether the next command may start; a fence ends after all that stands before it.
    fn has_room(&self, command: &Command) -> bool {
        match command.operation {
            Operation::Fence => self.next.is_empty() && self.work.is_none(),
            _ => self.next.len() < self.ahead,
        }
    }

    /// Starts the next command if it may; tells what it waits for.
    fn issue(&mut self, shared: &mut Shared<'_>, cycle: u64) -> Option<StallReason> {
        let command = self.queue.head()?;
        if !self.has_room(command) {
            return None;
        }
        if let Some(reason) = self.queue.blocked(shared) {
            return Some(reason);
        }
        let counters = self.queue.counters();
        let (what, latency) = match &command.operation {
            Operation::Requantize(requantize) => (What::Requantize(Requantizing::new(requantize, counters)), self.latency),
            Operation::Vector(work) => (What::Operation(Operating::new(shared.program, work, counters)), self.pad_latency),
            _ => {
                let ending = self.queue.start(shared, command, cycle);
                ending.end(shared, cycle);
                return None;
            }
        };
        let ending = self.queue.start(shared, command, cycle);
        self.next.push_back(Work { ending, fetched: cycle + latency, what });
        None
    }

    /// Begins the first group of a command.
    fn begin(&mut self, shared: &Shared<'_>) {
        if let Some(Work { what: What::Operation(operating), .. }) = &mut self.work {
            operating.open_row(&mut self.scratch);
        }
        self.open_group(shared);
    }

    /// Lists the memory rows that the next group needs.
    fn open_group(&mut self, shared: &Shared<'_>) {
        let Some(work) = &mut self.work else { return };
        let cycles = match &mut work.what {
            What::Requantize(work) => {
                let group = Group::of(work, self.lanes, self.element_bytes);
                self.claims.add(shared, work.place.accumulator_beside(), group.sums, group.elements * self.element_bytes, Use::Access);
                let sums = self.claims.len();
                group.claim_results(&mut self.claims, work.place, shared.sram_ref(work.place));
                work.touched[0] += sums as u64;
                work.touched[1] += (self.claims.len() - sums) as u64;
                self.cycles_of.requantize
            }
            What::Operation(operating) => {
                operating.claim(&mut self.claims, shared, &self.scratch, self.lanes);
                operating.cycles(&self.cycles_of)
            }
        };
        self.left = if self.is_peeled { 1 } else { u64::from(cycles) };
    }

    /// Computes the group that has had its cycles, and goes on to the next, or ends the command.
    fn finish_group(&mut self, shared: &mut Shared<'_>, cycle: u64) {
        let Some(work) = &mut self.work else { return };
        let ending = work.ending;
        let more = match &mut work.what {
            What::Requantize(work) => work.finish_group(shared, ending.tag, self.lanes, self.element_bytes),
            What::Operation(operating) => {
                operating.account(shared, &self.scratch, ending.tag, self.lanes);
                let more = operating.advance(&mut self.scratch, self.lanes);
                if !more && shared.has_numbers {
                    shared.note(|| Effect::Vector(VectorEffect(Done::Operation(*operating))));
                    operating.compute(shared, &mut self.scratch);
                }
                more
            }
        };
        if more {
            self.open_group(shared);
        } else {
            ending.end(shared, cycle);
            self.work = None;
        }
    }
}

/// What the unit did to the memories, to be done again.
pub(super) struct VectorEffect(Done);

enum Done {
    /// A whole command: what it reads stays until it ends.
    Requantized(Requantizing),
    Operation(Operating),
}

impl Vector<'_> {
    /// Does it again.
    pub(super) fn replay(&mut self, shared: &mut Shared<'_>, effect: &VectorEffect) {
        match &effect.0 {
            Done::Requantized(work) => {
                for row in 0..work.rows {
                    Requantizing { row, col: 0, ..*work }.compute_group(shared, work.cols, self.element_bytes);
                }
            }
            Done::Operation(operating) => operating.compute(shared, &mut self.scratch),
        }
    }
}

impl Requantizing {
    fn new(requantize: &Requantize, counters: &[u64]) -> Self {
        Self {
            sums: requantize.sums.resolve(counters),
            sums_stride: requantize.sums_stride,
            place: requantize.place,
            result: requantize.result.resolve(counters),
            result_stride: requantize.result_stride,
            rows: u64::from(requantize.rows),
            cols: u64::from(requantize.cols),
            channel: requantize.channel.resolve(counters),
            by_channels: requantize.by_channels,
            planes: requantize.planes.unwrap_or(Planes { block: u64::MAX, bytes: 0 }),
            format: requantize.format,
            stage: requantize.stage,
            row: 0,
            col: 0,
            touched: [0; 2],
        }
    }

    /// The results of the next group.
    fn compute_group(&self, shared: &mut Shared<'_>, lanes: u64, width: u64) {
        let group = Group::of(self, lanes, width);
        let stage = &shared.program.output_stages[self.stage as usize];
        for element in 0..group.elements {
            let sum = load_sum(shared.accumulator.read(group.sums + element * width, width));
            let channel = size(self.channel + if self.by_channels { self.row } else { self.col + element });
            let value = i16::try_from(stage.apply(channel, sum)).expect("bug: an output stage clamps to its format");
            let (address, within) = group.result(element);
            put(self.format, shared.scratchpads[scratchpad_index(self.place)].write(address, group.bytes()), within, value);
        }
    }

    /// Computes the group that has had its cycles; tells whether there is another, and counts what the command did where there is none.
    fn finish_group(&mut self, shared: &mut Shared<'_>, tag: Tag, lanes: u64, width: u64) -> bool {
        let elements = lanes.min(self.cols - self.col);
        if shared.has_numbers {
            self.compute_group(shared, lanes, width);
        }
        self.col += elements;
        if self.col == self.cols {
            (self.row, self.col) = (self.row + 1, 0);
        }
        if self.row < self.rows {
            return true;
        }
        shared.note(|| Effect::Vector(VectorEffect(Done::Requantized(*self))));
        let ([sums, results], elements) = (self.touched, self.rows * self.cols);
        shared.accounts.actions(tag).accumulator_reads += sums;
        shared.accounts.actions(tag).vector_operations += elements;
        shared.accounts.scratchpad_write(tag, self.place, results);
        shared.accounts.traffic(tag).accumulator.psum.read += elements * width;
        let (rows, cols) = if self.by_channels { (self.cols, self.rows) } else { (self.rows, self.cols) };
        shared.accounts.traffic(tag).scratchpad.output.write += rows * self.format.packed_bytes(cols);
        false
    }
}

/// Where one group's elements lie.
struct Group {
    sums: u64,
    /// The address of the row's results; whether they go down, and then the bytes from one to the next.
    result: u64,
    goes_down: bool,
    step: u64,
    /// The group's first element.
    col: u64,
    /// The channel of all its elements, where they go down; else that of the row's first, which is 0.
    channel: u64,
    elements: u64,
    planes: Planes,
    format: Dtype,
}

impl Group {
    fn of(work: &Requantizing, lanes: u64, element_bytes: u64) -> Self {
        let (result, step, channel) = if work.by_channels {
            (work.result, work.result_stride, work.row)
        } else {
            (work.result + work.row * work.result_stride, 0, 0)
        };
        let sums = work.sums + work.row * work.sums_stride + work.col * element_bytes;
        let elements = lanes.min(work.cols - work.col);
        Self { sums, result, goes_down: work.by_channels, step, col: work.col, channel, elements, planes: work.planes, format: work.format }
    }

    /// Bytes that an element's result is in.
    fn bytes(&self) -> u64 {
        self.format.packed_bytes(1)
    }

    /// The address of an element's result, and its place in the byte there.
    fn result(&self, element: u64) -> (u64, usize) {
        let element = self.col + element;
        let channel = place(&self.planes, if self.goes_down { self.channel } else { element });
        let down = if self.goes_down { element * self.step } else { 0 };
        match self.format.bits() {
            bits @ 0..8 => {
                let of_byte = u64::from(8 / bits);
                (self.result + down + channel / of_byte, size(channel % of_byte))
            }
            bits => (self.result + down + channel * u64::from(bits / 8), 0),
        }
    }

    /// Claims the memory rows that take its results, each once.
    fn claim_results(&self, claims: &mut Claims, at: Place, memory: &Sram) {
        let row = |element: u64| memory.row_of(self.result(element).0);
        let last = |element: u64| memory.row_of(self.result(element).0 + self.bytes() - 1);
        // Results of one plane no further apart than a row is wide leave no row out; others lie in the row of the one before, or further on.
        if self.step <= memory.port() && (self.goes_down || self.planes.bytes == 0) {
            for row in row(0)..=last(self.elements - 1) {
                claims.add_row(at, row, Use::Access);
            }
            return;
        }
        let mut before = None;
        for row in (0..self.elements).flat_map(|element| row(element)..=last(element)) {
            if before != Some(row) {
                claims.add_row(at, row, Use::Access);
            }
            before = Some(row);
        }
    }
}

/// Where a channel lies, from where channel 0 does.
fn place(planes: &Planes, channel: u64) -> u64 {
    if channel < planes.block { channel } else { channel / planes.block * planes.bytes + channel % planes.block }
}
