//! The vector unit: takes finished sums from the accumulator, requantizes them, and writes the next layer's integers.
//!
//! A command takes `start_cycles`, then works through its rows in groups of `lanes` elements, each group for the operation's cycles. A
//! group takes its accumulator row and its scratchpad row in its first cycle, or stalls until it has both.

use super::array::rows_touched;
use super::claims::{Claims, Use};
use super::memory::{Sram, scratchpad_index, size};
use super::queue::{Did, Ending, Queue, Shared};
use crate::chip::Chip;
use crate::counts::{CycleCounts, StallReason};
use crate::numerics::load_sum;
use crate::program::{Command, Operation, Place, Requantize};
use std::collections::VecDeque;

/// A command under way.
#[derive(Debug, Clone, Copy)]
struct Work {
    ending: Ending,
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
    stage: u32,
    /// The cycle from which it may begin.
    fetched: u64,
    /// The group that comes next, by its row and first column.
    row: u64,
    col: u64,
}

/// The vector unit.
pub(super) struct Vector<'p> {
    queue: Queue<'p>,
    pub(super) cycles: CycleCounts,
    lanes: u64,
    start_cycles: u64,
    requantize_cycles: u64,
    latency: u64,
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
    /// Whether a command takes no cycles of its own.
    is_peeled: bool,
}

impl<'p> Vector<'p> {
    pub(super) fn new(queue: Queue<'p>, chip: &Chip, element_bytes: u64, is_peeled: bool) -> Self {
        let unit = chip.vector();
        let latency = if is_peeled { 0 } else { chip.accumulator().latency.get() };
        let ahead = size(latency) + 2;
        Self {
            queue,
            cycles: CycleCounts::default(),
            lanes: u64::from(unit.lanes),
            start_cycles: if is_peeled { 0 } else { u64::from(unit.start_cycles) },
            requantize_cycles: if is_peeled { 1 } else { u64::from(unit.cycles.requantize) },
            latency,
            element_bytes,
            next: VecDeque::with_capacity(ahead),
            ahead,
            work: None,
            starting: 0,
            left: 0,
            claims: Claims::new(),
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
            self.open_group(shared);
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
        if let Operation::Requantize(requantize) = &command.operation {
            let counters = self.queue.counters();
            let Requantize { sums, result, channel, .. } = requantize;
            let (sums, result, channel) = (sums.resolve(counters), result.resolve(counters), channel.resolve(counters));
            let ending = self.queue.start(shared, command, cycle);
            self.next.push_back(Work {
                ending,
                sums,
                sums_stride: requantize.sums_stride,
                place: requantize.place,
                result,
                result_stride: requantize.result_stride,
                rows: u64::from(requantize.rows),
                cols: u64::from(requantize.cols),
                channel,
                by_channels: requantize.by_channels,
                stage: requantize.stage,
                fetched: cycle + self.latency,
                row: 0,
                col: 0,
            });
        } else {
            let ending = self.queue.start(shared, command, cycle);
            ending.end(shared, cycle);
        }
        None
    }

    /// Lists the memory rows that the next group needs.
    fn open_group(&mut self, shared: &Shared<'_>) {
        self.left = self.requantize_cycles;
        let Some(work) = self.work else { return };
        let group = Group::of(&work, self.lanes, self.element_bytes);
        self.claims.add(shared, work.place.accumulator_beside(), group.sums, group.elements * self.element_bytes, Use::Access);
        for row in group.result_rows(shared.sram_ref(work.place)) {
            self.claims.add_row(work.place, row, Use::Access);
        }
    }

    /// Computes the group that has had its cycles, and goes on to the next, or ends the command.
    fn finish_group(&mut self, shared: &mut Shared<'_>, cycle: u64) {
        let Some(mut work) = self.work else { return };
        let group = Group::of(&work, self.lanes, self.element_bytes);
        let width = self.element_bytes;
        let stage = &shared.program.output_stages[work.stage as usize];
        let numbers = if shared.has_numbers { group.elements } else { 0 };
        for element in 0..numbers {
            let sum = load_sum(shared.accumulator.read(group.sums + element * width, width));
            let channel = size(work.channel + if work.by_channels { work.row } else { work.col + element });
            let value = i8::try_from(stage.apply(channel, sum)).expect("bug: an int8 output stage clamps to eight bits");
            shared.scratchpads[scratchpad_index(work.place)].write(group.result + element * group.step, 1)[0] = value.to_le_bytes()[0];
        }
        let sums = rows_touched(shared.accumulator.row_of(group.sums), shared.accumulator.row_of(group.sums + group.elements * width - 1));
        let results = group.result_rows(shared.sram_ref(work.place)).count() as u64;
        let tag = work.ending.tag;
        shared.accounts.actions(tag).accumulator_reads += sums;
        shared.accounts.actions(tag).vector_operations += group.elements;
        shared.accounts.scratchpad_write(tag, work.place, results);
        shared.accounts.traffic(tag).accumulator.psum.read += group.elements * width;
        shared.accounts.traffic(tag).scratchpad.output.write += group.elements;
        work.col += group.elements;
        if work.col == work.cols {
            (work.row, work.col) = (work.row + 1, 0);
        }
        if work.row == work.rows {
            work.ending.end(shared, cycle);
            self.work = None;
        } else {
            self.work = Some(work);
            self.open_group(shared);
        }
    }
}

/// Where one group's elements lie.
struct Group {
    sums: u64,
    result: u64,
    elements: u64,
    /// Bytes from an element's result to the next's.
    step: u64,
}

impl Group {
    fn of(work: &Work, lanes: u64, element_bytes: u64) -> Self {
        Self {
            sums: work.sums + work.row * work.sums_stride + work.col * element_bytes,
            result: if work.by_channels {
                work.result + work.col * work.result_stride + work.row
            } else {
                work.result + work.row * work.result_stride + work.col
            },
            elements: lanes.min(work.cols - work.col),
            step: if work.by_channels { work.result_stride } else { 1 },
        }
    }

    /// The memory rows that take its results, each once.
    fn result_rows<'m>(&self, memory: &'m Sram) -> impl Iterator<Item = u64> + use<'m> {
        let Self { result, step, elements, .. } = *self;
        let row = move |element: u64| memory.row_of(result + element * step);
        // Results no further apart than a row is wide leave no row out; others have a row each.
        let leaves_none_out = step <= memory.port();
        let first = row(0);
        let count = if leaves_none_out { rows_touched(first, row(elements - 1)) } else { elements };
        (0..count).map(move |number| if leaves_none_out { first + number } else { row(number) })
    }
}
