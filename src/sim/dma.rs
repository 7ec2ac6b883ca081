//! The DMA engines and the ideal DRAM behind them.
//!
//! A transfer of B bytes that starts in cycle t has its first beat in cycle t + latency at the earliest and holds DRAM's bus for
//! `ceil(B / rate)` beats, the rate being the lesser of the engine's and DRAM's. Latencies of up to `outstanding` commands of an engine
//! overlap; the bus serves whole transfers, the one that has waited longest first (the lower engine where two have waited the same). A row
//! of the on-chip memory is taken in the beat that completes it. Rows that come from one place in DRAM are fetched once, and then written
//! one a cycle.

use super::memory::size;
use super::queue::{Did, Ending, Queue, Shared};
use crate::chip::Chip;
use crate::counts::{CycleCounts, Operand, ReadWrite, StallReason};
use crate::program::{Command, Operation, Place, Transfer};
use crate::units::{Bytes, BytesPerCycle};
use std::collections::VecDeque;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Direction {
    In,
    Out,
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
    /// The cycle of its first beat, at the earliest.
    ready: u64,
    /// Beats done.
    beats: u64,
    /// The piece that comes next: its row, and its first byte in the row.
    row: u64,
    byte: u64,
}

/// The bus of the ideal DRAM.
#[derive(Debug)]
pub(super) struct Bus {
    rate: BytesPerCycle,
    latency: u64,
    /// The engine whose transfer holds it.
    holder: Option<usize>,
}

impl Bus {
    pub(super) fn new(chip: &Chip) -> Self {
        let dram = chip.dram();
        let rate = dram.bytes_per_cycle(chip.clock()).min(chip.dma().bytes_per_cycle);
        Self { rate, latency: dram.latency(chip.clock()).get(), holder: None }
    }

    /// Gives the free bus to the transfer that has waited longest.
    pub(super) fn grant(&mut self, engines: &[Engine<'_>], cycle: u64) {
        if self.holder.is_none() {
            let waiting = engines.iter().enumerate().filter_map(|(number, engine)| Some((engine.waits_since(cycle)?, number)));
            self.holder = waiting.min().map(|(_, number)| number);
        }
    }
}

/// One DMA engine.
pub(super) struct Engine<'p> {
    number: usize,
    queue: Queue<'p>,
    pub(super) cycles: CycleCounts,
    outstanding: usize,
    flights: VecDeque<Flight>,
    /// What the next command waits for in this cycle.
    blocked: Option<StallReason>,
}

impl<'p> Engine<'p> {
    pub(super) fn new(number: usize, queue: Queue<'p>, chip: &Chip) -> Self {
        let outstanding = chip.dma().outstanding as usize;
        Self {
            number,
            queue,
            cycles: CycleCounts::default(),
            outstanding,
            flights: VecDeque::with_capacity(outstanding.min(1024)),
            blocked: None,
        }
    }

    pub(super) fn done(&self) -> bool {
        self.queue.head().is_none() && self.flights.is_empty()
    }

    /// Its queue.
    pub(super) fn queue(&self) -> &Queue<'p> {
        &self.queue
    }

    /// Since when the oldest transfer could use the bus, if it could now.
    fn waits_since(&self, cycle: u64) -> Option<u64> {
        let flight = self.flights.front()?;
        (flight.ready <= cycle && flight.needs_bus()).then_some(flight.ready)
    }

    /// Starts the next command if it may.
    pub(super) fn issue(&mut self, shared: &mut Shared<'_>, bus: &Bus, cycle: u64) {
        self.blocked = self.try_issue(shared, bus, cycle);
    }

    /// Whether the next command may start; a fence ends after all that stands before it.
    fn has_room(&self, command: &Command) -> bool {
        match command.operation {
            Operation::Fence => self.flights.is_empty(),
            _ => self.flights.len() < self.outstanding,
        }
    }

    /// Starts the next command if it may; tells what it waits for.
    fn try_issue(&mut self, shared: &mut Shared<'_>, bus: &Bus, cycle: u64) -> Option<StallReason> {
        let command = self.queue.head()?;
        if !self.has_room(command) {
            return None;
        }
        if let Some(reason) = self.queue.blocked(shared) {
            return Some(reason);
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
        self.flights.push_back(Flight {
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
            bus_bytes: transfer.dram_bytes(),
            ready: cycle + bus.latency,
            beats: 0,
            row: 0,
            byte: 0,
        });
        None
    }

    /// The first cycle, from `next` on, in which a tick would do anything but repeat this one's account; `None` if only a token, or the
    /// bus, can wake the engine.
    pub(super) fn next_event(&self, shared: &Shared<'_>, bus: &Bus, next: u64) -> Option<u64> {
        if self.queue.head().is_some_and(|command| self.has_room(command)) && self.queue.missing(shared).is_none() {
            return Some(next);
        }
        let flight = self.flights.front()?;
        if flight.ready > next {
            return Some(flight.ready);
        }
        if flight.needs_bus() && bus.holder != Some(self.number) {
            return bus.holder.is_none().then_some(next);
        }
        Some(next + flight.beats_to_next_piece(shared, bus.rate))
    }

    /// Why the oldest transfer cannot have a beat in this cycle, if it cannot.
    fn waits(&self, flight: &Flight, bus: &Bus, cycle: u64) -> Option<StallReason> {
        if flight.ready > cycle {
            Some(StallReason::DramLatency)
        } else if flight.needs_bus() && bus.holder != Some(self.number) {
            Some(StallReason::DramBandwidth)
        } else {
            None
        }
    }

    /// Lets `cycles` cycles pass in which nothing happens but the account of the last one.
    pub(super) fn skip(&mut self, shared: &Shared<'_>, bus: &Bus, next: u64, cycles: u64) {
        let Some(flight) = self.flights.front() else {
            let blocked = self.queue.blocked(shared);
            self.queue.account_quiet(&mut self.cycles, false, blocked, cycles);
            return;
        };
        if let Some(reason) = self.waits(flight, bus, next) {
            self.cycles.stall(reason, cycles);
        } else if let Some(flight) = self.flights.front_mut() {
            flight.beats += cycles;
            self.cycles.busy += cycles;
        }
    }

    /// One cycle of the machine, after the bus was given out.
    pub(super) fn tick(&mut self, shared: &mut Shared<'_>, bus: &mut Bus, cycle: u64) -> Did {
        let Some(flight) = self.flights.front() else {
            return self.queue.account_quiet(&mut self.cycles, false, self.blocked, 1);
        };
        if let Some(reason) = self.waits(flight, bus, cycle) {
            self.cycles.stall(reason, 1);
            return Did::Moved;
        }
        let holds = bus.holder == Some(self.number);
        let Some(flight) = self.flights.front_mut() else { return Did::Rested };
        match flight.beat(shared, bus.rate, cycle) {
            Ok(()) => self.cycles.busy += 1,
            Err(reason) => {
                self.cycles.stall(reason, 1);
                return Did::Moved;
            }
        }
        if holds && !flight.needs_bus() {
            bus.holder = None;
        }
        if flight.row == flight.rows {
            let ending = flight.ending;
            self.flights.pop_front();
            ending.end(shared, cycle);
        }
        Did::Moved
    }
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

    /// One beat: moves the pieces that it completes, if their rows' ports are to be had.
    fn beat(&mut self, shared: &mut Shared<'_>, rate: BytesPerCycle, cycle: u64) -> Result<(), StallReason> {
        if !self.needs_bus() {
            // A copy of the fetched row: one row of the memory a cycle.
            let piece = self.piece(shared);
            let row = self.local_row(shared);
            shared.sram(self.place).take(row, cycle)?;
            self.move_piece(shared, piece);
            return Ok(());
        }
        let moved = Bytes::new(bytes_after(rate, self.beats + 1)).min(Bytes::new(self.bus_bytes)).get();
        loop {
            let piece = self.piece(shared);
            let before = self.row * self.row_bytes + self.byte;
            if self.row == self.rows || (self.copies() && self.row > 0) || before + piece > moved {
                break;
            }
            let row = self.local_row(shared);
            shared.sram(self.place).take(row, cycle)?;
            self.move_piece(shared, piece);
        }
        self.beats += 1;
        Ok(())
    }

    /// Bytes of the next piece: up to the end of the transfer's row or of the memory's row.
    fn piece(&self, shared: &Shared<'_>) -> u64 {
        let port = shared.sram_ref(self.place).port();
        let address = self.local_address();
        (port - address % port).min(self.row_bytes - self.byte)
    }

    fn local_address(&self) -> u64 {
        self.local + self.row * self.local_stride + self.byte
    }

    fn local_row(&self, shared: &Shared<'_>) -> u64 {
        shared.sram_ref(self.place).row_of(self.local_address())
    }

    /// Beats that pass before the one that completes the next piece.
    fn beats_to_next_piece(&self, shared: &Shared<'_>, rate: BytesPerCycle) -> u64 {
        if !self.needs_bus() {
            return 0;
        }
        let piece_ends = self.row * self.row_bytes + self.byte + self.piece(shared);
        // The first beat after which enough bytes have crossed.
        rate.cycles_for(Bytes::new(piece_ends)).get().saturating_sub(self.beats + 1)
    }

    /// Copies the next piece and counts it.
    fn move_piece(&mut self, shared: &mut Shared<'_>, bytes: u64) {
        let local = self.local_address();
        let dram = self.dram + self.row * self.dram_stride + self.byte;
        let on_bus = self.needs_bus();
        let range = size(dram)..size(dram + bytes);
        let tag = self.ending.tag;
        let memory = match self.place {
            Place::Scratchpad(_, index) => &mut shared.scratchpads[index as usize],
            _ => &mut shared.accumulator,
        };
        let actions = shared.accounts.actions(tag);
        let on_chip: fn(&mut ReadWrite, u64) = match self.direction {
            Direction::In => {
                if shared.has_numbers {
                    memory.write(local, bytes).copy_from_slice(&shared.dram[range]);
                }
                actions.dram_read_bytes += if on_bus { bytes } else { 0 };
                |traffic, bytes| traffic.write += bytes
            }
            Direction::Out => {
                if shared.has_numbers {
                    shared.dram[range].copy_from_slice(memory.read(local, bytes));
                }
                actions.dram_write_bytes += bytes;
                |traffic, bytes| traffic.read += bytes
            }
        };
        if let Place::Accumulator(_) = self.place {
            // A bias on its way into the sums.
            actions.accumulator_writes += u64::from(self.direction == Direction::In);
            actions.accumulator_reads += u64::from(self.direction == Direction::Out);
            on_chip(&mut shared.accounts.traffic(tag).accumulator.psum, bytes);
        } else {
            match self.direction {
                Direction::In => shared.accounts.scratchpad_write(tag, self.place, 1),
                Direction::Out => shared.accounts.scratchpad_read(tag, self.place, 1),
            }
            on_chip(shared.accounts.traffic(tag).scratchpad.of_mut(self.operand), bytes);
        }
        let traffic = shared.accounts.traffic(tag).dram.of_mut(self.operand);
        match self.direction {
            Direction::In => traffic.read += if on_bus { bytes } else { 0 },
            Direction::Out => traffic.write += bytes,
        }
        self.byte += bytes;
        if self.byte == self.row_bytes {
            (self.row, self.byte) = (self.row + 1, 0);
        }
    }
}

/// Whole bytes that have crossed a link after this many beats.
fn bytes_after(rate: BytesPerCycle, beats: u64) -> u64 {
    let bytes = u128::from(beats) * u128::from(rate.millionths()) / 1_000_000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
