//! The engines over an ideal DRAM.
//!
//! A transfer of B bytes that starts in cycle t has its first beat in cycle t + latency at the earliest and holds DRAM's bus for
//! `ceil(B / rate)` beats, the rate being the lesser of the engine's and DRAM's. Latencies of up to `outstanding` commands of an engine
//! overlap; where B bytes are a coded block, from which W are unpacked, it holds the bus for `max(ceil(B / rate), ceil(W / unpack rate))`, of
//! which those beyond the first are stalls for the codec. The bus serves whole transfers, the one that has waited longest first (the lower engine where two have waited the same).

use super::super::queue::{Did, Shared};
use super::{Direction, Flight, Front};
use crate::chip::Chip;
use crate::counts::StallReason;
use crate::units::{Bytes, BytesPerCycle};
use std::collections::VecDeque;

/// A transfer and its beats.
#[derive(Debug, Clone, Copy)]
struct Timed {
    flight: Flight,
    /// The cycle of its first beat, at the earliest.
    ready: u64,
    /// Beats done.
    beats: u64,
}

/// The bus of the ideal DRAM.
#[derive(Debug)]
struct Bus {
    rate: BytesPerCycle,
    latency: u64,
    /// The engine whose transfer holds it.
    holder: Option<usize>,
    /// Whether it carries all of every transfer at once.
    is_peeled: bool,
}

impl Bus {
    /// Whether an engine's transfer may use it.
    fn serves(&self, engine: usize) -> bool {
        self.is_peeled || self.holder == Some(engine)
    }
}

/// All engines, and the bus.
pub(in crate::sim) struct Ideal<'p> {
    engines: Vec<Engine<'p>>,
    bus: Bus,
}

impl<'p> Ideal<'p> {
    pub(super) fn new(fronts: impl Iterator<Item = Front<'p>>, chip: &Chip, is_peeled: bool) -> Self {
        let dram = chip.dram();
        let (rate, latency) = if is_peeled {
            (BytesPerCycle::from_millionths(u64::MAX), 0)
        } else {
            (chip.bus_bytes_per_cycle(), dram.latency(chip.clock()).get())
        };
        let engine = |(number, front): (usize, Front<'p>)| Engine {
            number,
            flights: VecDeque::with_capacity(front.outstanding),
            front,
            moves: false,
            crossed: 0,
        };
        Self { engines: fronts.enumerate().map(engine).collect(), bus: Bus { rate, latency, holder: None, is_peeled } }
    }

    pub(super) fn done(&self) -> bool {
        self.engines.iter().all(|engine| engine.front.queue.head().is_none() && engine.flights.is_empty())
    }

    pub(super) fn fronts(&self) -> impl Iterator<Item = &Front<'p>> {
        self.engines.iter().map(|engine| &engine.front)
    }

    /// Bytes that have crossed the bus up to now.
    pub(super) fn bus_bytes(&self) -> u64 {
        let under_way = |engine: &Engine<'_>| {
            let Timed { flight, beats, .. } = engine.flights.front()?;
            Some(bytes_after(self.bus.rate, *beats).min(flight.bus_bytes))
        };
        self.engines.iter().map(|engine| engine.crossed + under_way(engine).unwrap_or(0)).sum()
    }

    pub(super) fn tick(&mut self, shared: &mut Shared<'_>, cycle: u64) -> Did {
        for engine in &mut self.engines {
            engine.issue(shared, &self.bus, cycle);
        }
        // The free bus goes to the transfer that has waited longest.
        if self.bus.holder.is_none() && !self.bus.is_peeled {
            let waiting = self.engines.iter().filter_map(|engine| Some((engine.waits_since(cycle)?, engine.number)));
            self.bus.holder = waiting.min().map(|(_, number)| number);
        }
        // Without a bus to share, engines take turns to go first, or one that can write a row in every bank would leave none to the others.
        let first = if self.bus.is_peeled { turn(cycle, self.engines.len()) } else { 0 };
        let mut did = Did::Rested;
        for number in (first..self.engines.len()).chain(0..first) {
            if self.engines[number].tick(shared, &mut self.bus, cycle) == Did::Moved {
                did = Did::Moved;
            }
        }
        did
    }

    /// Works on from cycle `next` up to `to`, while no engine can start a command and the bus changes no hands: what each engine does in it is
    /// found out once. Returns the cycle that comes next; where that is `next` there is nothing of the kind to do. Stops after a cycle in which
    /// a transfer ended.
    pub(super) fn stream(&mut self, shared: &mut Shared<'_>, next: u64, to: u64) -> u64 {
        let Self { engines, bus } = self;
        // Without a bus to share, engines take turns to go first.
        if bus.is_peeled {
            return next;
        }
        let mut until = to;
        let mut moving = 0;
        for engine in engines.iter_mut() {
            if engine.front.would_issue(shared, engine.flights.len()) || (bus.holder.is_none() && engine.waits_since(next).is_some()) {
                return next;
            }
            if let Some(timed) = engine.flights.front().filter(|timed| timed.ready > next) {
                until = until.min(timed.ready);
            }
            engine.moves = engine.flights.front().is_some_and(|timed| engine.waits(timed, bus, next).is_none());
            moving += u32::from(engine.moves);
        }
        if moving == 0 {
            return next;
        }
        let mut cycle = next;
        let mut changes = false;
        if moving == 1
            && let Some(engine) = engines.iter_mut().find(|engine| engine.moves && engine.only_times(shared))
        {
            (cycle, changes) = engine.beats(shared, bus.rate, cycle, until);
            if changes {
                bus.holder = bus.holder.filter(|holder| *holder != engine.number);
            }
        }
        while cycle < until && !changes {
            for engine in engines.iter_mut().filter(|engine| engine.moves) {
                if engine.beat(shared, bus.rate, cycle) {
                    changes = true;
                    bus.holder = bus.holder.filter(|holder| *holder != engine.number);
                }
            }
            cycle += 1;
        }
        for engine in engines.iter_mut().filter(|engine| !engine.moves) {
            engine.skip(shared, bus, next, cycle - next);
        }
        cycle
    }

    pub(super) fn next_event(&self, shared: &Shared<'_>, next: u64) -> Option<u64> {
        self.engines.iter().filter_map(|engine| engine.next_event(shared, &self.bus, next)).min()
    }

    pub(super) fn skip(&mut self, shared: &Shared<'_>, next: u64, cycles: u64) {
        for engine in &mut self.engines {
            engine.skip(shared, &self.bus, next, cycles);
        }
    }
}

/// Whose turn it is of so many.
fn turn(cycle: u64, engines: usize) -> usize {
    usize::try_from(cycle % engines.max(1) as u64).expect("bug: an engine's number fits")
}

/// One DMA engine.
struct Engine<'p> {
    number: usize,
    front: Front<'p>,
    flights: VecDeque<Timed>,
    /// Whether its oldest transfer moves on, while engines stream.
    moves: bool,
    /// Bytes of transfers that are over.
    crossed: u64,
}

impl Engine<'_> {
    /// Since when the oldest transfer could use the bus, if it could now.
    fn waits_since(&self, cycle: u64) -> Option<u64> {
        let Timed { flight, ready, .. } = self.flights.front()?;
        (*ready <= cycle && flight.needs_bus()).then_some(*ready)
    }

    /// Starts the next command if it may.
    fn issue(&mut self, shared: &mut Shared<'_>, bus: &Bus, cycle: u64) {
        if let Some(flight) = self.front.issue(shared, self.flights.len(), cycle) {
            self.flights.push_back(Timed { flight, ready: cycle + bus.latency, beats: 0 });
        }
    }

    /// The first cycle, from `next` on, in which a tick would do anything but repeat this one's account; `None` if only a token, or the
    /// bus, can wake the engine.
    fn next_event(&self, shared: &Shared<'_>, bus: &Bus, next: u64) -> Option<u64> {
        if self.front.would_issue(shared, self.flights.len()) {
            return Some(next);
        }
        let timed = self.flights.front()?;
        if timed.ready > next {
            return Some(timed.ready);
        }
        if timed.flight.needs_bus() && !bus.serves(self.number) {
            return bus.holder.is_none().then_some(next);
        }
        Some(next + timed.beats_to_next_piece(shared, bus.rate))
    }

    /// Why the oldest transfer cannot have a beat in this cycle, if it cannot.
    fn waits(&self, timed: &Timed, bus: &Bus, cycle: u64) -> Option<StallReason> {
        if timed.ready > cycle {
            Some(StallReason::DramLatency)
        } else if timed.flight.needs_bus() && !bus.serves(self.number) {
            Some(StallReason::DramBandwidth)
        } else {
            None
        }
    }

    /// Lets `cycles` cycles pass in which nothing happens but the account of the last one.
    fn skip(&mut self, shared: &Shared<'_>, bus: &Bus, next: u64, cycles: u64) {
        let Some(timed) = self.flights.front() else {
            let blocked = self.front.queue.blocked(shared);
            self.front.account_quiet(blocked, cycles);
            return;
        };
        if let Some(reason) = self.waits(timed, bus, next) {
            self.front.cycles.stall(reason, cycles);
        } else if let Some(timed) = self.flights.front_mut() {
            let busy = timed.beats_on_bus(bus.rate, cycles);
            timed.beats += cycles;
            self.front.cycles.busy += busy;
            self.front.cycles.stall(StallReason::Codec, cycles - busy);
        }
    }

    /// One cycle of the machine, after the bus was given out.
    fn tick(&mut self, shared: &mut Shared<'_>, bus: &mut Bus, cycle: u64) -> Did {
        let Some(timed) = self.flights.front() else {
            return self.front.account_quiet(self.front.blocked, 1);
        };
        if let Some(reason) = self.waits(timed, bus, cycle) {
            self.front.cycles.stall(reason, 1);
            return Did::Moved;
        }
        if self.beat(shared, bus.rate, cycle) && bus.holder == Some(self.number) {
            bus.holder = None;
        }
        Did::Moved
    }

    /// Whether its oldest transfer is one that only takes time: of bytes as they lie, row by row, that nobody looks at.
    fn only_times(&self, shared: &Shared<'_>) -> bool {
        let plain = |flight: &Flight| flight.block.is_none() && !flight.copies();
        !shared.has_numbers && self.flights.front().is_some_and(|timed| plain(&timed.flight))
    }

    /// Beats of such a transfer in the cycles from `cycle` up to `until`, as [`Engine::beat`] would make them one by one: the cycle that comes
    /// next, which is that behind the last beat where the transfer is over, and whether it is.
    fn beats(&mut self, shared: &mut Shared<'_>, rate: BytesPerCycle, mut cycle: u64, until: u64) -> (u64, bool) {
        let Some(Timed { flight, beats, .. }) = self.flights.front_mut() else { return (cycle, false) };
        let memory = shared.sram(flight.place);
        let mut address = flight.local_address();
        let mut moved = flight.row * flight.row_bytes + flight.byte;
        let mut piece = memory.left_of_row(address).min(flight.row_bytes - flight.byte);
        while cycle < until {
            let crossed = bytes_after(rate, *beats + 1).min(flight.bus_bytes);
            let mut waits = None;
            while moved + piece <= crossed {
                if let Err(reason) = memory.take(memory.row_of(address), cycle) {
                    waits = Some(reason);
                    break;
                }
                flight.go_past(piece);
                moved += piece;
                if flight.is_over() {
                    break;
                }
                address = flight.local_address();
                piece = memory.left_of_row(address).min(flight.row_bytes - flight.byte);
            }
            if let Some(reason) = waits {
                self.front.cycles.stall(reason, 1);
            } else {
                self.front.cycles.busy += 1;
                *beats += 1;
                if flight.is_over() {
                    self.end(shared, cycle);
                    return (cycle + 1, true);
                }
            }
            cycle += 1;
        }
        (cycle, false)
    }

    /// Ends the oldest transfer, which is over.
    fn end(&mut self, shared: &mut Shared<'_>, cycle: u64) {
        let Some(Timed { flight, .. }) = self.flights.pop_front() else { return };
        let crossed = flight.count(shared);
        self.crossed += crossed;
        flight.count_bus(shared, crossed);
        flight.ending.end(shared, cycle);
    }

    /// One beat of the oldest transfer, which does not wait; tells whether it needs the bus no more, or is over.
    fn beat(&mut self, shared: &mut Shared<'_>, rate: BytesPerCycle, cycle: u64) -> bool {
        let Some(timed) = self.flights.front_mut() else { return false };
        let needed = timed.flight.needs_bus();
        let busy = timed.beats_on_bus(rate, 1);
        match timed.beat(shared, rate, cycle) {
            Ok(()) if busy == 0 => self.front.cycles.stall(StallReason::Codec, 1),
            Ok(()) => self.front.cycles.busy += 1,
            Err(reason) => {
                self.front.cycles.stall(reason, 1);
                return false;
            }
        }
        if timed.flight.is_over() {
            self.end(shared, cycle);
            return true;
        }
        needed && !timed.flight.needs_bus()
    }
}

impl Timed {
    /// One beat: moves the pieces that it completes, if their rows' ports are to be had.
    fn beat(&mut self, shared: &mut Shared<'_>, rate: BytesPerCycle, cycle: u64) -> Result<(), StallReason> {
        if !self.flight.needs_bus() {
            return self.flight.move_copy(shared, cycle);
        }
        let moved = Bytes::new(bytes_after(rate, self.beats + 1)).min(Bytes::new(self.flight.bus_bytes)).get();
        let there = self.flight.unpacked_of(moved);
        let unpacked = self.flight.block.map_or(u64::MAX, |block| bytes_after(block.rate, self.beats + 1));
        self.flight.move_there(shared, there.min(unpacked), cycle)?;
        self.beats += 1;
        Ok(())
    }

    /// Beats that pass before the one that completes the next piece.
    fn beats_to_next_piece(&self, shared: &Shared<'_>, rate: BytesPerCycle) -> u64 {
        if !self.flight.needs_bus() {
            return 0;
        }
        // The first beat after which enough bytes have crossed.
        let mut beats = rate.cycles_for(Bytes::new(self.flight.piece_end(shared))).get();
        if let Some(block) = self.flight.block {
            beats = beats.max(block.rate.cycles_for(Bytes::new(self.flight.moved_with_next(shared))).get());
        }
        beats.saturating_sub(self.beats + 1)
    }

    /// Of so many beats from now on, those that the bus needs; in the others it waits for the unpacking.
    fn beats_on_bus(&self, rate: BytesPerCycle, beats: u64) -> u64 {
        if self.flight.block.is_none() {
            return beats;
        }
        rate.cycles_for(Bytes::new(self.flight.bus_bytes)).get().saturating_sub(self.beats).min(beats)
    }
}

impl Flight {
    /// Counts the bytes that crossed the ideal bus: those that were wanted.
    fn count_bus(&self, shared: &mut Shared<'_>, crossed: u64) {
        let actions = shared.accounts.actions(self.ending.tag);
        match self.direction {
            Direction::In => actions.dram_read_bytes += crossed,
            Direction::Out => actions.dram_write_bytes += crossed,
        }
    }
}

/// Whole bytes that have crossed a link after this many beats.
fn bytes_after(rate: BytesPerCycle, beats: u64) -> u64 {
    if let Some(millionths) = beats.checked_mul(rate.millionths()) {
        return millionths / 1_000_000;
    }
    let bytes = u128::from(beats) * u128::from(rate.millionths()) / 1_000_000;
    u64::try_from(bytes).unwrap_or(u64::MAX)
}
