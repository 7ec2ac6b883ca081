//! The DMA engines: transfers between DRAM and the on-chip memories, row piece by row piece.
//!
//! Here: how a transfer starts, how its pieces move and are counted, and how the engines work on while no other unit does anything new. What
//! lies behind the engines decides when bytes come: `ideal` or `banked`. A coded block is
//! unpacked as it comes: `codec`. A row of the on-chip memory is taken in the beat that completes it.
//! Rows that come from one place in DRAM are fetched once, and then written one a cycle. The transfers of an engine move, and end, in order.

mod banked;
mod codec;
mod granules;
mod ideal;

use super::memory::size;
use super::queue::{Did, Ending, Queue, Shared};
use super::recording::{Copy, Effect};
use crate::chip::{Chip, Dram};
use crate::counts::{CycleCounts, Operand, ReadWrite, StallReason};
use crate::program::{Command, Operation, Place, ProgramParts, Transfer};
use crate::units::BytesPerCycle;
use banked::Banked;
use codec::Block;
pub(super) use granules::Granules;
use ideal::Ideal;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    In,
    Out,
}

/// All engines, and what they reach DRAM by.
pub(super) enum Dma<'p> {
    Ideal(Ideal<'p>),
    Banked(Box<Banked<'p>>),
}

impl<'p> Dma<'p> {
    /// One engine a queue, in order.
    pub(super) fn new(parts: &ProgramParts, queues: impl Iterator<Item = Queue<'p>>, chip: &Chip, is_peeled: bool) -> Self {
        let outstanding = chip.dma().outstanding as usize;
        let unpacks = chip.storage().codec.bytes_per_cycle();
        let fronts = (0..).zip(queues).map(|(number, queue)| Front {
            queue,
            cycles: CycleCounts::default(),
            outstanding,
            blocked: None,
            number,
            unpacks,
        });
        match chip.dram() {
            Dram::Banked(dram) if !parts.array_only && !is_peeled => Self::Banked(Box::new(Banked::new(fronts, dram, chip))),
            _ => Self::Ideal(Ideal::new(fronts, chip, is_peeled)),
        }
    }

    pub(super) fn done(&self) -> bool {
        match self {
            Self::Ideal(ideal) => ideal.done(),
            Self::Banked(banked) => banked.done(),
        }
    }

    /// The engines' front ends, in order.
    pub(super) fn fronts(&self) -> impl Iterator<Item = &Front<'p>> {
        let (ideal, banked) = match self {
            Self::Ideal(ideal) => (Some(ideal.fronts()), None),
            Self::Banked(banked) => (None, Some(banked.fronts())),
        };
        ideal.into_iter().flatten().chain(banked.into_iter().flatten())
    }

    /// Bytes that have crossed DRAM's bus up to now; with banks those of whole bursts that were asked for.
    pub(super) fn bus_bytes(&self) -> u64 {
        match self {
            Self::Ideal(ideal) => ideal.bus_bytes(),
            Self::Banked(banked) => banked.bus_bytes(),
        }
    }

    /// One cycle of the machine.
    pub(super) fn tick(&mut self, shared: &mut Shared<'_>, cycle: u64) -> Did {
        match self {
            Self::Ideal(ideal) => ideal.tick(shared, cycle),
            Self::Banked(banked) => banked.tick(shared, cycle),
        }
    }

    /// The first cycle, from `next` on, in which a tick would do anything but repeat the account of `next`; `None` if only a token can wake an
    /// engine. Nothing else happens before `to`, so that what comes later than that need not be known.
    fn next_event(&mut self, shared: &mut Shared<'_>, next: u64, to: u64) -> Option<u64> {
        match self {
            Self::Ideal(ideal) => ideal.next_event(shared, next),
            Self::Banked(banked) => banked.next_event(shared, next, to),
        }
    }

    /// The cycle, from `next` on, in which a tick would do anything but repeat the account of `next`; [`u64::MAX`] if only a token can wake an
    /// engine. DRAM with banks goes on whatever the engines do.
    pub(super) fn sleeps_until(&mut self, shared: &mut Shared<'_>, next: u64) -> u64 {
        match self {
            Self::Ideal(ideal) => ideal.next_event(shared, next).unwrap_or(u64::MAX),
            Self::Banked(_) => next,
        }
    }

    /// Lets `cycles` cycles pass in which nothing happens but the account of the last one; `next_event` was just asked.
    pub(super) fn skip(&mut self, shared: &Shared<'_>, next: u64, cycles: u64) {
        match self {
            Self::Ideal(ideal) => ideal.skip(shared, next, cycles),
            Self::Banked(banked) => banked.skip(shared, cycles),
        }
    }

    /// Works on from cycle `next`, while no other unit does anything new: until `to`, where `wakes` says that another unit does something
    /// then, or until a token was posted or a stage ended. Returns the cycle that comes next.
    pub(super) fn run_alone(&mut self, shared: &mut Shared<'_>, next: u64, to: u64, wakes: bool) -> u64 {
        let mut cycle = next;
        while cycle < to {
            if let Self::Ideal(ideal) = self {
                let reached = ideal.stream(shared, cycle, to);
                if reached > cycle {
                    cycle = reached;
                    if shared.tokens.any_posted() || shared.accounts.has_ended() {
                        break;
                    }
                    continue;
                }
            }
            let event = match self.next_event(shared, cycle, to) {
                Some(event) => event.min(to),
                None if wakes => to,
                None => break,
            };
            if event > cycle {
                self.skip(shared, cycle, event - cycle);
                cycle = event;
            } else {
                self.tick(shared, cycle);
                cycle += 1;
                if shared.tokens.any_posted() || shared.accounts.has_ended() {
                    break;
                }
            }
        }
        cycle
    }

    /// DRAM's refreshes before cycle `cycle`.
    pub(super) fn refreshes_before(&mut self, shared: &mut Shared<'_>, cycle: u64) -> u64 {
        match self {
            Self::Ideal(_) => 0,
            Self::Banked(banked) => banked.refreshes_before(shared, cycle),
        }
    }
}

/// An engine's front end: its queue and its account.
pub(super) struct Front<'p> {
    pub(super) queue: Queue<'p>,
    pub(super) cycles: CycleCounts,
    outstanding: usize,
    /// What the next command waits for in this cycle.
    blocked: Option<StallReason>,
    /// Which engine it is.
    number: u32,
    /// Bytes that it unpacks in a cycle, if it can.
    unpacks: Option<BytesPerCycle>,
}

impl Front<'_> {
    /// Whether the next command may start beside so many; a fence ends after all that stands before it.
    fn has_room(&self, command: &Command, in_flight: usize) -> bool {
        match command.operation {
            Operation::Fence => in_flight == 0,
            _ => in_flight < self.outstanding,
        }
    }

    /// Whether a command starts as soon as there is a tick.
    fn would_issue(&self, shared: &Shared<'_>, in_flight: usize) -> bool {
        self.queue.head().is_some_and(|command| self.has_room(command, in_flight)) && self.queue.missing(shared).is_none()
    }

    /// Starts the next command if it may, and finds out what it waits for; the transfer that it is.
    fn issue(&mut self, shared: &mut Shared<'_>, in_flight: usize, cycle: u64) -> Option<Flight> {
        self.blocked = None;
        let command = self.queue.head()?;
        if !self.has_room(command, in_flight) {
            return None;
        }
        self.blocked = self.queue.blocked(shared);
        if self.blocked.is_some() {
            return None;
        }
        let (direction, transfer) = match &command.operation {
            Operation::Mvin(transfer) => (Direction::In, transfer),
            Operation::Mvout(transfer) => (Direction::Out, transfer),
            _ => {
                let ending = self.queue.start(shared, command, cycle);
                ending.end(shared, cycle);
                return None;
            }
        };
        let counters = self.queue.counters();
        let Transfer { operand, place, dram_stride, local_stride, rows, row_bytes, .. } = *transfer;
        let (dram, local) = (transfer.dram.resolve(counters), transfer.local.resolve(counters));
        let ending = self.queue.start(shared, command, cycle);
        let bus_bytes = transfer.dram_bytes();
        let block = transfer.coded.zip(self.unpacks).map(|(coded, rate)| Block::new(coded.coding, rate, self.number));
        Some(Flight {
            ending,
            direction,
            operand,
            dram,
            dram_stride,
            place,
            local,
            local_stride,
            rows,
            row_bytes,
            bus_bytes,
            block,
            row: 0,
            byte: 0,
            pieces: 0,
        })
    }

    /// The account of `cycles` cycles without a transfer.
    fn account_quiet(&mut self, blocked: Option<StallReason>, cycles: u64) -> Did {
        self.queue.account_quiet(&mut self.cycles, false, blocked, cycles)
    }
}

/// A transfer under way.
#[derive(Debug, Clone, Copy)]
struct Flight {
    ending: Ending,
    direction: Direction,
    operand: Operand,
    dram: u64,
    dram_stride: u64,
    place: Place,
    local: u64,
    local_stride: u64,
    rows: u64,
    row_bytes: u64,
    /// Bytes that cross the bus.
    bus_bytes: u64,
    /// How they are unpacked, if they are a coded block.
    block: Option<Block>,
    /// The piece that comes next: its row, and its first byte in the row.
    row: u64,
    byte: u64,
    /// Pieces that have moved: each is a row of the on-chip memory.
    pieces: u64,
}

impl Flight {
    /// Whether bytes are still to cross the bus: not while an mvin only writes copies of a row that it has.
    fn needs_bus(&self) -> bool {
        if self.copies() { self.row == 0 } else { self.row < self.rows }
    }

    /// Whether all rows come from one place in DRAM.
    fn copies(&self) -> bool {
        self.dram_stride == 0 && self.rows > 1
    }

    /// Whether all of it has moved.
    fn is_over(&self) -> bool {
        self.row == self.rows
    }

    /// A copy of the fetched row: one row of the memory a cycle, or all where ports are without limit.
    fn move_copy(&mut self, shared: &mut Shared<'_>, cycle: u64) -> Result<(), StallReason> {
        loop {
            let (memory, address) = (shared.sram(self.place), self.local_address());
            let piece = memory.left_of_row(address).min(self.row_bytes - self.byte);
            memory.take(memory.row_of(address), cycle)?;
            self.move_piece(shared, piece);
            if self.is_over() || !shared.peeled.ports {
                return Ok(());
            }
        }
    }

    /// Moves the pieces that are complete once `crossed` bytes have crossed the bus, if their rows' ports are to be had.
    fn move_to(&mut self, shared: &mut Shared<'_>, crossed: u64, cycle: u64) -> Result<(), StallReason> {
        let there = self.unpacked_of(crossed);
        self.move_there(shared, there, cycle)
    }

    /// Moves the pieces that are complete once `there` bytes are there to be moved, if their rows' ports are to be had.
    fn move_there(&mut self, shared: &mut Shared<'_>, there: u64, cycle: u64) -> Result<(), StallReason> {
        loop {
            if self.is_over() || (self.copies() && self.row > 0) {
                break;
            }
            let (memory, address) = (shared.sram(self.place), self.local_address());
            let piece = memory.left_of_row(address).min(self.row_bytes - self.byte);
            if self.row * self.row_bytes + self.byte + piece > there {
                break;
            }
            memory.take(memory.row_of(address), cycle)?;
            self.move_piece(shared, piece);
        }
        Ok(())
    }

    /// Bytes that have to cross the bus for the next piece to be complete.
    fn piece_end(&self, shared: &Shared<'_>) -> u64 {
        self.crossed_for(self.moved_with_next(shared))
    }

    /// Bytes on the chip once the next piece is there.
    fn moved_with_next(&self, shared: &Shared<'_>) -> u64 {
        self.row * self.row_bytes + self.byte + self.piece(shared)
    }

    /// Bytes of the next piece: up to the end of the transfer's row or of the memory's row.
    fn piece(&self, shared: &Shared<'_>) -> u64 {
        shared.sram_ref(self.place).left_of_row(self.local_address()).min(self.row_bytes - self.byte)
    }

    fn local_address(&self) -> u64 {
        self.local + self.row * self.local_stride + self.byte
    }

    /// Copies the next piece.
    fn move_piece(&mut self, shared: &mut Shared<'_>, bytes: u64) {
        if self.block.is_some() && self.row == 0 && self.byte == 0 {
            self.unpack(shared);
        }
        if shared.has_numbers {
            self.copy_piece(shared, bytes);
        }
        self.go_past(bytes);
    }

    /// Goes on behind the next piece.
    fn go_past(&mut self, bytes: u64) {
        self.pieces += 1;
        self.byte += bytes;
        if self.byte == self.row_bytes {
            (self.row, self.byte) = (self.row + 1, 0);
        }
    }

    fn copy_piece(&self, shared: &mut Shared<'_>, bytes: u64) {
        let local = self.local_address();
        let dram = self.dram + self.row * self.dram_stride + self.byte;
        let is_in = self.direction == Direction::In;
        shared.note(|| Effect::Copy(Copy { is_in, place: self.place, local, dram, bytes }));
        let range = size(dram)..size(dram + bytes);
        let memory = match self.place {
            Place::Scratchpad(_, index) => &mut shared.scratchpads[index as usize],
            _ => &mut shared.accumulator,
        };
        match self.direction {
            Direction::In => {
                let source = match self.block {
                    Some(block) => {
                        let start = size(self.row * self.row_bytes + self.byte);
                        &shared.unpacked[block.engine()][start..start + size(bytes)]
                    }
                    None => &shared.dram[range],
                };
                memory.write(local, bytes).copy_from_slice(source);
            }
            Direction::Out => shared.dram[range].copy_from_slice(memory.read(local, bytes)),
        }
    }

    /// Counts what it has moved, once it is over; the bytes that had to cross DRAM's bus for it, of which who knows the bus counts what did.
    fn count(&self, shared: &mut Shared<'_>) -> u64 {
        let crossed = self.crossed(shared);
        let (tag, bytes) = (self.ending.tag, self.rows * self.row_bytes);
        let actions = shared.accounts.actions(tag);
        let on_chip: fn(&mut ReadWrite, u64) = match self.direction {
            Direction::In => |traffic, bytes| traffic.write += bytes,
            Direction::Out => |traffic, bytes| traffic.read += bytes,
        };
        if let Place::Accumulator(_) = self.place {
            // A bias on its way into the sums.
            *(if self.direction == Direction::In { &mut actions.accumulator_writes } else { &mut actions.accumulator_reads }) +=
                self.pieces;
            on_chip(&mut shared.accounts.traffic(tag).accumulator.psum, bytes);
        } else {
            match self.direction {
                Direction::In => shared.accounts.scratchpad_write(tag, self.place, self.pieces),
                Direction::Out => shared.accounts.scratchpad_read(tag, self.place, self.pieces),
            }
            on_chip(shared.accounts.traffic(tag).scratchpad.of_mut(self.operand), bytes);
        }
        let traffic = shared.accounts.traffic(tag).dram.of_mut(self.operand);
        match self.direction {
            Direction::In => traffic.read += crossed,
            Direction::Out => traffic.write += crossed,
        }
        crossed
    }
}
