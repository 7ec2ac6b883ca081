//! The engines over DRAM with banks: transfers cut into bursts.
//!
//! ```text
//! transfer --bursts, in order--> queue of a channel --> banks --data, any order--> places of the engine --link, in order--> on-chip rows
//! ```
//!
//! **Asking.** A transfer asks for the bursts that its rows lie in, in order; the burst that it asked for last is not asked for again, so that
//! rows which touch, or share a burst, fetch it once. An engine asks for its transfers in order, up to `outstanding` of them, for as many bursts
//! a core cycle as its link could carry whole (at least one), and has a place for each: as many as the queues of all channels hold and the
//! data buses have under way. A burst that finds no place, or no room in its channel's queue, keeps those behind it waiting. After a cycle in
//! which the engine whose turn it was has asked, it is the next one's turn to ask first.
//!
//! **The link** of an engine carries its `bytes_per_cycle` of wanted bytes a core cycle, of one transfer at a time, in order. An mvin's burst
//! crosses once its data has come and all before it has crossed; bursts that come earlier wait in their places. An mvout's bytes cross first,
//! at most as many bytes before the bursts asked for as the places have; its burst is asked for from the cycle after its last byte on, is
//! written whole, and keeps its place until its last beat on DRAM's bus. An mvin ends with its last row, an mvout when all is written.
//!
//! **The account.** A cycle in which the link works is busy. One in which it waits for an on-chip row's port goes to the memory; else, where a
//! burst finds no place or no room, to DRAM's bandwidth; else to its latency. Bytes on the bus are whole bursts.
//!
//! **A coded block** of B bytes, from which W are unpacked, crosses the link at the lesser of its rate and `unpack rate * B / W`, in millionths of
//! a byte a cycle, rounded down. Where that is the lesser, as many cycles are busy as the link by itself would take, evenly spread; the others
//! are stalls for the codec.
//!
//! Not here: when a burst's data comes (`dram`), and how rows move (the module above).

use super::super::dram::{Completion, Location, Port, Request};
use super::super::queue::{Did, Shared};
use super::{Direction, Flight, Front};
use crate::chip::{self, Chip};
use crate::counts::{CycleCounts, StallReason};
use crate::program::Tag;
use std::collections::VecDeque;

/// Data whose command the channel has not given yet.
const UNKNOWN: u64 = u64::MAX;
const WHOLE: u64 = 1_000_000;

/// All engines, and the controllers.
pub(in crate::sim) struct Banked<'p> {
    engines: Vec<Engine<'p>>,
    port: Port,
    link: Link,
    /// The engine that asks first.
    turn: usize,
}

/// What all engines have in common.
#[derive(Debug, Clone, Copy)]
struct Link {
    /// Millionths of a byte a core cycle.
    rate: u64,
    /// Bursts that an engine asks for in a core cycle at most.
    bursts: u64,
    burst_bytes: u64,
    /// Places of an engine.
    places: u64,
}

impl<'p> Banked<'p> {
    pub(super) fn new(fronts: impl Iterator<Item = Front<'p>>, dram: &chip::Banked, chip: &Chip) -> Self {
        let (organisation, timing) = (&dram.organisation, &dram.timing);
        let burst_bytes = u64::from(organisation.burst_bytes());
        let rate = chip.dma().bytes_per_cycle.millionths();
        let on_the_way = (timing.cl.max(timing.cwl) + organisation.burst_cycles).div_ceil(organisation.burst_cycles);
        let link = Link {
            rate,
            bursts: rate.div_ceil(WHOLE).div_ceil(burst_bytes).max(1),
            burst_bytes,
            places: u64::from(dram.channels) * u64::from(dram.queue_depth + on_the_way),
        };
        let ring = usize::try_from(link.places.next_power_of_two()).expect("bug: a chip has few places for bursts; please report it");
        let engine = |front: Front<'p>| Engine {
            flights: VecDeque::with_capacity(front.outstanding),
            front,
            linking: 0,
            asking: 0,
            places: vec![Place::default(); ring],
            asked: 0,
            over: 0,
            quiet: Quiet::Rests,
            awaited: [None; 2],
            held_by: None,
        };
        Self { engines: fronts.map(engine).collect(), port: Port::new(dram, chip.clock()), link, turn: 0 }
    }

    pub(super) fn done(&self) -> bool {
        self.engines.iter().all(|engine| engine.front.queue.head().is_none() && engine.flights.is_empty())
    }

    pub(super) fn fronts(&self) -> impl Iterator<Item = &Front<'p>> {
        self.engines.iter().map(|engine| &engine.front)
    }

    /// Bytes of all bursts that were asked for up to now.
    pub(super) fn bus_bytes(&self) -> u64 {
        self.engines.iter().map(|engine| engine.asked * self.link.burst_bytes).sum()
    }

    pub(super) fn tick(&mut self, shared: &mut Shared<'_>, cycle: u64) -> Did {
        let Self { engines, port, link, turn } = self;
        port.advance(cycle, |completion| complete(engines, shared, completion));
        for engine in engines.iter_mut() {
            if let Some(flight) = engine.front.issue(shared, engine.flights.len(), cycle) {
                engine.flights.push_back(Moving::new(flight, link, port));
            }
        }
        let first = *turn;
        for number in (first..engines.len()).chain(0..first) {
            if engines[number].ask(number, shared, port, link, cycle) && number == first {
                *turn = if first + 1 == engines.len() { 0 } else { first + 1 };
            }
        }
        let mut did = Did::Rested;
        for engine in engines.iter_mut() {
            if engine.tick(shared, link, cycle) == Did::Moved {
                did = Did::Moved;
            }
        }
        did
    }

    pub(super) fn next_event(&mut self, shared: &mut Shared<'_>, next: u64, to: u64) -> Option<u64> {
        let Self { engines, port, link, .. } = self;
        port.advance(next, |completion| complete(engines, shared, completion));
        let mut event = None;
        let mut waits = false;
        for engine in engines.iter_mut() {
            let at = engine.look(shared, port, link, next);
            if at == Some(next) {
                return at;
            }
            event = earlier(event, at);
            waits |= engine.held_by.is_some() || engine.awaited != [None; 2];
        }
        // Nobody asks for a burst before that, so that the channels' commands up to there are known.
        while waits && let Some(step) = port.step_before(event.unwrap_or(to).min(to)) {
            if engines.iter().any(|engine| engine.held_by == Some(step.channel)) {
                event = earlier(event, Some(step.free));
            }
            let (number, place) = parts_of(step.completion.id);
            if engines[number].awaited.contains(&Some(place)) {
                event = earlier(event, Some(step.completion.end));
            }
            complete(engines, shared, step.completion);
        }
        event
    }

    pub(super) fn skip(&mut self, shared: &Shared<'_>, cycles: u64) {
        for engine in &mut self.engines {
            engine.skip(shared, &self.link, cycles);
        }
    }

    pub(super) fn refreshes_before(&mut self, shared: &mut Shared<'_>, cycle: u64) -> u64 {
        let engines = &mut self.engines;
        self.port.refreshes_before(cycle, |completion| complete(engines, shared, completion))
    }
}

fn earlier(one: Option<u64>, other: Option<u64>) -> Option<u64> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// A request's name: its engine, and its place there.
fn name_of(number: usize, place: usize) -> u64 {
    (number as u64) << 32 | place as u64
}

fn parts_of(name: u64) -> (usize, usize) {
    let part = |bits: u64| usize::try_from(bits).expect("bug: a request's name is two numbers of 32 bits; please report it");
    (part(name >> 32), part(name & u64::from(u32::MAX)))
}

/// Notes when a burst's data is there or written.
fn complete(engines: &mut [Engine<'_>], shared: &mut Shared<'_>, completion: Completion) {
    let (number, place) = parts_of(completion.id);
    let place = &mut engines[number].places[place];
    place.seen = completion.end;
    shared.accounts.actions(place.tag).dram_activates += u64::from(completion.activates);
}

/// A burst that was asked for.
#[derive(Debug, Clone, Copy)]
struct Place {
    tag: Tag,
    /// Bytes of it that are wanted.
    wanted: u64,
    /// The first core cycle that starts when its last data is over, if that is known.
    seen: u64,
}

impl Default for Place {
    fn default() -> Self {
        Self { tag: Tag { stage: 0, sample: 0 }, wanted: 0, seen: UNKNOWN }
    }
}

/// The place of an engine's burst, by the engine's count of bursts; their number is a power of two.
fn place_of(places: &[Place], burst: u64) -> usize {
    usize::try_from(burst & (places.len() as u64 - 1)).expect("bug: an engine's places fit in memory; please report it")
}

/// A transfer, its bursts and its bytes.
#[derive(Debug, Clone, Copy)]
struct Moving {
    flight: Flight,
    /// The burst that is asked for next: where it lies, and how many of its bytes are wanted.
    at: Location,
    address: u64,
    wanted: u64,
    /// The first byte behind it that is wanted: row, and byte in the row.
    row: u64,
    byte: u64,
    /// Millionths of a byte a core cycle that cross the link; and of those that it could carry, how many since a cycle was busy.
    rate: u64,
    work: u64,
    /// Bytes of the bursts that were asked for; that have come, of an mvin; that have crossed the link; whose bursts have left their places.
    asked: u64,
    come: u64,
    crossed: u64,
    over: u64,
    /// The burst that comes next, by the engine's count.
    coming: u64,
    /// Millionths of a byte that the link has carried beside `crossed`.
    carry: u64,
}

impl Moving {
    fn new(flight: Flight, link: &Link, port: &Port) -> Self {
        let (at, address) = (port.locate(flight.dram), flight.dram);
        let mut new = Self {
            flight,
            at,
            address,
            wanted: 0,
            row: 0,
            byte: 0,
            rate: flight.link_rate(link.rate),
            work: 0,
            asked: 0,
            come: 0,
            crossed: 0,
            over: 0,
            coming: 0,
            carry: 0,
        };
        new.find_burst(link, port);
        new
    }

    /// Finds the burst that is asked for next, from the first wanted byte behind the last one.
    fn find_burst(&mut self, link: &Link, port: &Port) {
        let flight = &self.flight;
        let within = link.burst_bytes - 1;
        // A coded block is one row, whatever it becomes.
        let row_bytes = if flight.block.is_some() { flight.bus_bytes } else { flight.row_bytes };
        let rows = flight.bus_bytes / row_bytes;
        let burst = (flight.dram + self.row * flight.dram_stride + self.byte) & !within;
        (self.address, self.wanted) = (burst, 0);
        while self.row < rows {
            let start = flight.dram + self.row * flight.dram_stride + self.byte;
            if start & !within != burst {
                break;
            }
            let bytes = (row_bytes - self.byte).min(link.burst_bytes - (start & within));
            self.wanted += bytes;
            self.byte += bytes;
            if self.byte == row_bytes {
                (self.row, self.byte) = (self.row + 1, 0);
            }
        }
        self.at = port.locate(burst);
    }

    fn is_asked(&self) -> bool {
        self.asked == self.flight.bus_bytes
    }

    /// Whether its next burst, which there is, can be asked for: of an mvout, whether its bytes have crossed.
    fn has_burst(&self) -> bool {
        self.flight.direction == Direction::In || self.crossed >= self.asked + self.wanted
    }

    /// Bytes that may have crossed the link by now.
    fn may_cross(&self, link: &Link) -> u64 {
        match self.flight.direction {
            Direction::In => self.come,
            Direction::Out => self.flight.bus_bytes.min(self.asked + link.places * link.burst_bytes),
        }
    }

    /// The account of so many cycles in which its bytes cross.
    fn account_beats(&mut self, cycles: &mut CycleCounts, link: &Link, beats: u64) {
        if self.rate == link.rate {
            cycles.busy += beats;
            return;
        }
        let work = self.work + beats * self.rate;
        cycles.busy += work / link.rate;
        cycles.stall(StallReason::Codec, beats - work / link.rate);
        self.work = work % link.rate;
    }

    /// Beats that leave fewer than `target` bytes crossed, of which there are fewer now.
    fn beats_below(&self, target: u64) -> u64 {
        ((target - self.crossed) * WHOLE - self.carry).div_ceil(self.rate) - 1
    }
}

/// What the account of cycles without an event is.
#[derive(Debug, Clone, Copy)]
enum Quiet {
    /// There is no transfer.
    Rests,
    /// The link works.
    Beats,
    Stalls(StallReason),
}

/// One DMA engine.
struct Engine<'p> {
    front: Front<'p>,
    flights: VecDeque<Moving>,
    /// The first transfer whose bytes have not all crossed the link, and the first with bursts to ask for.
    linking: usize,
    asking: usize,
    /// Burst n has place n, modulo their number: those from `over` to `asked` are taken.
    places: Vec<Place>,
    asked: u64,
    over: u64,
    /// What the engine does until its next event.
    quiet: Quiet,
    /// Places whose completion would be its next event.
    awaited: [Option<usize>; 2],
    /// The channel in whose queue it wants room.
    held_by: Option<u32>,
}

impl Engine<'_> {
    /// The transfer that asks next.
    fn asker(&mut self) -> Option<&mut Moving> {
        while self.flights.get(self.asking)?.is_asked() {
            self.asking += 1;
        }
        self.flights.get_mut(self.asking)
    }

    /// Asks for bursts; tells whether it did. Leaves in `quiet` why the link waits, if it has to.
    fn ask(&mut self, number: usize, shared: &mut Shared<'_>, port: &mut Port, link: &Link, cycle: u64) -> bool {
        self.quiet = Quiet::Stalls(StallReason::DramLatency);
        let before = self.asked;
        while self.asked - before < link.bursts {
            let (has_place, burst) = (self.asked - self.over < link.places, self.asked);
            let place = place_of(&self.places, burst);
            let Some(moving) = self.asker().filter(|moving| moving.has_burst()) else { break };
            if !has_place || !port.has_room(moving.at.channel) {
                self.quiet = Quiet::Stalls(StallReason::DramBandwidth);
                break;
            }
            let is_write = moving.flight.direction == Direction::Out;
            let tag = moving.flight.ending.tag;
            port.push(Request { address: moving.address, is_write, id: name_of(number, place) }, moving.at, cycle);
            let actions = shared.accounts.actions(tag);
            *(if is_write { &mut actions.dram_write_bytes } else { &mut actions.dram_read_bytes }) += link.burst_bytes;
            if moving.asked == 0 {
                moving.coming = burst;
            }
            let wanted = moving.wanted;
            moving.asked += wanted;
            if !moving.is_asked() {
                moving.find_burst(link, port);
            }
            self.places[place] = Place { tag, wanted, seen: UNKNOWN };
            self.asked += 1;
        }
        self.asked > before
    }

    /// Notes what has come for the transfer on the link.
    fn receive(&mut self, cycle: u64) {
        let Some(moving) = self.flights.get_mut(self.linking).filter(|moving| moving.flight.direction == Direction::In) else { return };
        while moving.come < moving.asked {
            let place = &self.places[place_of(&self.places, moving.coming)];
            if place.seen > cycle {
                break;
            }
            moving.come += place.wanted;
            moving.coming += 1;
        }
    }

    /// One cycle of the machine, after all have asked.
    fn tick(&mut self, shared: &mut Shared<'_>, link: &Link, cycle: u64) -> Did {
        if self.flights.is_empty() {
            return self.front.account_quiet(self.front.blocked, 1);
        }
        self.receive(cycle);
        match (self.beat(shared, link, cycle), self.quiet) {
            (Some(Ok(())), _) => {
                if let Some(moving) = self.flights.get_mut(self.linking) {
                    moving.account_beats(&mut self.front.cycles, link, 1);
                }
            }
            (Some(Err(reason)), _) | (None, Quiet::Stalls(reason)) => self.front.cycles.stall(reason, 1),
            (None, Quiet::Rests | Quiet::Beats) => {}
        }
        if self.flights.get(self.linking).is_some_and(|moving| moving.flight.is_over()) {
            self.linking += 1;
        }
        self.end_transfers(shared, cycle);
        Did::Moved
    }

    /// The link's work in a cycle, if it has some.
    fn beat(&mut self, shared: &mut Shared<'_>, link: &Link, cycle: u64) -> Option<Result<(), StallReason>> {
        let moving = self.flights.get_mut(self.linking)?;
        if !moving.flight.needs_bus() {
            return Some(moving.flight.move_copy(shared, cycle));
        }
        let most = moving.may_cross(link);
        if moving.crossed == most {
            return None;
        }
        let carried = moving.carry + moving.rate;
        let crossed = most.min(moving.crossed + carried / WHOLE);
        Some(moving.flight.move_to(shared, crossed, cycle).map(|()| (moving.crossed, moving.carry) = (crossed, carried % WHOLE)))
    }

    /// Frees the places of the oldest transfers' bursts, and ends those that are over.
    fn end_transfers(&mut self, shared: &mut Shared<'_>, cycle: u64) {
        while let Some(moving) = self.flights.front_mut() {
            while moving.over < moving.asked {
                let place = &self.places[place_of(&self.places, self.over)];
                let is_over = match moving.flight.direction {
                    Direction::In => moving.over + place.wanted <= moving.crossed,
                    Direction::Out => place.seen <= cycle,
                };
                if !is_over {
                    return;
                }
                moving.over += place.wanted;
                self.over += 1;
            }
            if !moving.flight.is_over() || !moving.is_asked() {
                return;
            }
            let ending = moving.flight.ending;
            moving.flight.count(shared);
            self.flights.pop_front();
            (self.linking, self.asking) = (self.linking.saturating_sub(1), self.asking.saturating_sub(1));
            ending.end(shared, cycle);
        }
    }

    /// The first cycle from `next` on in which a tick would do anything but repeat the account of `next`, as far as it is known; finds out what
    /// that account is, and what else would be an event.
    fn look(&mut self, shared: &Shared<'_>, port: &Port, link: &Link, next: u64) -> Option<u64> {
        (self.quiet, self.awaited, self.held_by) = (Quiet::Rests, [None; 2], None);
        if self.front.would_issue(shared, self.flights.len()) {
            return Some(next);
        }
        if self.flights.is_empty() {
            return None;
        }
        let is_full = self.asked - self.over >= link.places;
        self.quiet = Quiet::Stalls(StallReason::DramLatency);
        if let Some(moving) = self.asker().filter(|moving| moving.has_burst()) {
            let channel = moving.at.channel;
            if !is_full && port.has_room(channel) {
                return Some(next);
            }
            self.held_by = (!is_full).then_some(channel);
            self.quiet = Quiet::Stalls(StallReason::DramBandwidth);
        }
        self.receive(next);
        let mut event = None;
        // A place's completion is an event, known or awaited.
        let mut expect = |place: usize, seen: u64, awaited: &mut Option<usize>| {
            if seen == UNKNOWN {
                *awaited = Some(place);
            } else {
                event = earlier(event, Some(seen.max(next)));
            }
        };
        if self.flights.front().is_some_and(|moving| moving.flight.direction == Direction::Out && moving.over < moving.asked) {
            let place = place_of(&self.places, self.over);
            expect(place, self.places[place].seen, &mut self.awaited[0]);
        }
        let Some(moving) = self.flights.get(self.linking) else { return event };
        if !moving.flight.needs_bus() {
            return Some(next);
        }
        let most = moving.may_cross(link);
        if moving.crossed == most {
            if moving.come < moving.asked && moving.flight.direction == Direction::In {
                let place = place_of(&self.places, moving.coming);
                expect(place, self.places[place].seen, &mut self.awaited[1]);
            }
            return event;
        }
        self.quiet = Quiet::Beats;
        // Beats are all alike until one completes a piece, or carries less than it could, or lets a burst be asked for.
        // Where a beat may carry no whole byte, one more after the last that could cross would be none.
        let mut target = moving.flight.piece_end(shared).min(if moving.rate < WHOLE { most } else { most + 1 });
        match moving.flight.direction {
            // The place that it frees is the oldest if it is the oldest transfer.
            Direction::In if is_full && self.linking == 0 => {
                target = target.min(moving.over + self.places[place_of(&self.places, self.over)].wanted);
            }
            Direction::Out if !moving.has_burst() => target = target.min(moving.asked + moving.wanted),
            _ => {}
        }
        earlier(event, Some(next + moving.beats_below(target)))
    }

    /// Lets `cycles` cycles pass without an event.
    fn skip(&mut self, shared: &Shared<'_>, link: &Link, cycles: u64) {
        match self.quiet {
            Quiet::Rests => {
                let blocked = self.front.queue.blocked(shared);
                self.front.account_quiet(blocked, cycles);
            }
            Quiet::Stalls(reason) => self.front.cycles.stall(reason, cycles),
            Quiet::Beats => {
                if let Some(moving) = self.flights.get_mut(self.linking) {
                    moving.account_beats(&mut self.front.cycles, link, cycles);
                    let carried = moving.carry + cycles * moving.rate;
                    moving.crossed += carried / WHOLE;
                    moving.carry = carried % WHOLE;
                }
            }
        }
    }
}
