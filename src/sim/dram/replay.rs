//! A trace through a controller: requests enter in order, each no sooner than it says and than its channel's queue has room.
//!
//! Channels meet only there, so each is advanced as far as its own next request needs. Not here: how a trace is written (`pipeline`).

use super::{Controller, Counts, Request};
use crate::chip::Banked;

/// The last cycle in which a request may be told to enter.
pub const LAST_ENTRY: u64 = 1 << 60;

/// A trace under way.
#[derive(Debug, Clone)]
pub struct Replay {
    controller: Controller,
    /// The cycle in which the last request entered.
    entered: u64,
    requests: u64,
}

/// What a trace did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replayed {
    /// What the controllers did until the last data.
    pub counts: Counts,
    /// Cycles from 0 to the last data.
    pub dram_cycles: u64,
}

impl Replay {
    /// A trace that has not begun: all banks closed, all queues empty.
    pub fn new(banked: &Banked) -> Self {
        Self { controller: Controller::new(banked), entered: 0, requests: 0 }
    }

    /// Keeps every command, for [`Replay::controller`].
    pub fn keep_log(&mut self) {
        self.controller.keep_log();
    }

    /// The controller, to look at.
    pub fn controller(&self) -> &Controller {
        &self.controller
    }

    /// The next request: a byte of the burst, and the cycle before which it does not enter, [`LAST_ENTRY`] at most. Returns the cycle in which
    /// it entered.
    ///
    /// # Panics
    /// If the cycle is later than that.
    pub fn push(&mut self, address: u64, is_write: bool, earliest: u64) -> u64 {
        assert!(earliest <= LAST_ENTRY, "bug: a request that is to enter in cycle {earliest}; please report it");
        let at = self.controller.locate(address);
        let channel = &mut self.controller.channels[at.channel as usize];
        let mut cycle = self.entered.max(earliest);
        channel.advance(cycle, &mut |_| ());
        while !channel.has_room() {
            cycle = channel.next_command() + 1;
            channel.advance(cycle, &mut |_| ());
        }
        channel.push(Request { address, is_write, id: self.requests }, at, cycle);
        self.entered = cycle;
        self.requests += 1;
        cycle
    }

    /// Serves what waits.
    pub fn finish(&mut self) -> Replayed {
        let channels = &mut self.controller.channels;
        for channel in channels.iter_mut() {
            while !channel.is_idle() {
                let cycle = channel.next_command() + 1;
                channel.advance(cycle, &mut |_| ());
            }
        }
        let end = channels.iter().map(|channel| channel.counts.end).max().unwrap_or(0);
        for channel in channels.iter_mut() {
            // Others are refreshed while the last one works.
            channel.advance(end, &mut |_| ());
        }
        Replayed { counts: self.controller.counts(), dram_cycles: end }
    }
}
