//! How full an on-chip memory is: bytes that are being written, or hold what a command is still to read.
//!
//! A byte is taken from the cycle in which the command started that writes it, up to the one in which the last command ended that reads it
//! before it is written again. What nobody ever reads takes nothing. Not here: what is set aside before the first cycle (`mapping`).

use super::memory::size;
use crate::program::{Access, Block, Place};
use crate::units::Tick;
use std::collections::BTreeMap;

/// A memory of more bytes is followed in grains of several bytes.
const MAX_GRAINS: u64 = 1 << 22;

/// How full a memory was in the course of a run.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Occupancy {
    /// The memory.
    pub place: Place,
    /// Bytes that it has.
    pub capacity: u64,
    /// Bytes taken from each of these cycles on, in order; none before the first.
    pub changes: Vec<(Tick, u64)>,
}

/// When a grain was written, and read since: from which cycle on, and up to which.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Grain {
    /// The cycle from which it is taken, counted from 1; 0 where it holds nothing.
    since: u64,
    /// The cycle after its last reader's last, or 0.
    until: u64,
}

/// Follows one memory.
#[derive(Debug)]
pub(super) struct Tracker {
    place: Place,
    capacity: u64,
    grain: u64,
    grains: Vec<Grain>,
    /// What is taken more, or less, from a cycle on, in grains.
    changes: BTreeMap<u64, i64>,
}

impl Tracker {
    pub(super) fn new(place: Place, capacity: u64) -> Self {
        let grain = capacity.div_ceil(MAX_GRAINS).max(1).next_power_of_two();
        Self { place, capacity, grain, grains: vec![Grain::default(); size(capacity.div_ceil(grain))], changes: BTreeMap::new() }
    }

    pub(super) fn place(&self) -> Place {
        self.place
    }

    /// Bytes that are there before the first cycle.
    pub(super) fn fill(&mut self, address: u64, bytes: u64) {
        self.each_run(address, bytes, |_, grains| grains.fill(Grain { since: 1, until: 0 }));
    }

    /// A command that started in cycle `start` ended in cycle `end`, and touched this.
    pub(super) fn touch(&mut self, address: u64, block: &Block, access: Access, start: u64, end: u64) {
        let [middle, last] = block.outer;
        for outer in 0..last.count {
            for inner in 0..middle.count {
                for row in 0..block.rows {
                    let at = address + outer * last.stride + inner * middle.stride + row * block.stride;
                    self.each_run(at, block.run, |changes, grains| {
                        if access != Access::Write {
                            grains.iter_mut().filter(|grain| grain.since > 0).for_each(|grain| grain.until = end + 1);
                        }
                        if access != Access::Read {
                            close(changes, grains);
                            for grain in grains {
                                *grain = Grain { since: start.max(grain.until) + 1, until: 0 };
                            }
                        }
                    });
                }
            }
        }
    }

    fn each_run(&mut self, address: u64, bytes: u64, see: impl FnOnce(&mut BTreeMap<u64, i64>, &mut [Grain])) {
        if bytes > 0 {
            let range = size(address / self.grain)..size((address + bytes).div_ceil(self.grain));
            see(&mut self.changes, &mut self.grains[range]);
        }
    }

    /// How full it was up to cycle `end`, which is the first that nobody watched.
    pub(super) fn finish(mut self, end: u64) -> Occupancy {
        // What is there and may still be read when the watch ends, before its time.
        close(&mut self.changes, &self.grains);
        let mut taken = 0_i64;
        let mut changes: Vec<(Tick, u64)> = Vec::new();
        for (cycle, change) in self.changes.range(..=end) {
            if *change != 0 {
                taken += change;
                let grains = u64::try_from(taken).expect("bug: less than nothing is taken of a memory; please report it");
                changes.push((Tick::new(*cycle), (grains * self.grain).min(self.capacity)));
            }
        }
        Occupancy { place: self.place, capacity: self.capacity, changes }
    }
}

/// Counts the times for which grains were taken, those alike together.
fn close(changes: &mut BTreeMap<u64, i64>, grains: &[Grain]) {
    for alike in grains.chunk_by(|one, other| one == other) {
        let Grain { since, until } = alike[0];
        if since > 0 && until >= since {
            let count = i64::try_from(alike.len()).expect("bug: a memory has few grains; please report it");
            *changes.entry(since - 1).or_default() += count;
            *changes.entry(until).or_default() -= count;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::program::{
        Access::{Read, Update, Write},
        ONCE,
    };

    fn run(bytes: u64) -> Block {
        Block { run: bytes, rows: 1, stride: 0, outer: ONCE }
    }

    fn changes(tracker: Tracker) -> Vec<(u64, u64)> {
        tracker.finish(1000).changes.iter().map(|(tick, bytes)| (tick.get(), *bytes)).collect()
    }

    #[test]
    fn a_byte_is_taken_from_its_writer_s_start_to_its_last_reader_s_end() {
        let mut tracker = Tracker::new(Place::Scratchpad(0, 0), 64);
        tracker.touch(0, &run(8), Write, 2, 5);
        tracker.touch(0, &run(4), Read, 6, 9);
        tracker.touch(0, &run(8), Read, 7, 12);
        // Written again, and half of it read; 16 bytes that nobody reads.
        tracker.touch(0, &run(8), Write, 20, 22);
        tracker.touch(0, &run(4), Read, 23, 29);
        tracker.touch(32, &run(16), Write, 3, 4);
        assert_eq!(changes(tracker), [(2, 8), (13, 0), (20, 4), (30, 0)]);
    }

    #[test]
    fn sums_are_taken_without_a_gap_while_they_grow_and_never_twice() {
        let mut tracker = Tracker::new(Place::Accumulator(0), 64);
        tracker.touch(0, &run(16), Write, 0, 10);
        // Two updates whose commands overlap in time.
        tracker.touch(0, &run(16), Update, 4, 15);
        tracker.touch(0, &run(16), Update, 8, 20);
        tracker.touch(0, &run(16), Read, 21, 25);
        assert_eq!(changes(tracker), [(0, 16), (26, 0)]);
    }

    #[test]
    fn what_is_there_at_the_start_counts_from_then_on_and_a_large_memory_goes_by_grains() {
        let mut tracker = Tracker::new(Place::Scratchpad(0, 0), 4 * MAX_GRAINS);
        tracker.fill(0, 6);
        tracker.touch(0, &run(6), Read, 3, 7);
        assert_eq!(changes(tracker), [(0, 8), (8, 0)]);
    }
}
