//! DRAM with banks: a controller a channel, cycle by cycle of the command clock, driven from command to command.
//!
//! ```text
//! request --mapping--> channel's queue --scheduler--> ACT PRE RD WR REF, one a cycle --timing--> data on the bus, completion
//! ```
//!
//! **The scheduler** is first-ready, first-come-first-served (FR-FCFS). In each cycle of the command clock a channel issues one command at
//! most; row and column commands share the cycle. Of the commands that may go, the first of these does:
//!
//! 1. what the refresh of a rank needs;
//! 2. the read or write of the oldest request whose row is open;
//! 3. the activate or precharge of the oldest request that needs one: the oldest of its bank, and none for a bank whose open row a waiting
//!    request still wants.
//!
//! Reads and writes wait in one queue of `queue_depth` by age. The bus turns round when the next ready request wants it to: a run of one
//! direction goes on as long as more of it is ready sooner. A request to the same burst as an older one, of which one writes, waits for it.
//! Once `starvation_cap` column commands have passed the oldest request, no request of the other direction, and none of its bank, is read or
//! written before it, and its bank may be precharged for it. A request may be served in the cycle in which it enters; the place that a
//! column command frees in a cycle takes a new one in the next.
//!
//! **Refresh.** Every rank is due every tREFI cycles, from cycle tREFI on, without postponing. From then on nothing else is issued to it: its
//! open banks are precharged at once (as soon as all may be), and it is refreshed. No row is activated that could not be used before the
//! next refresh.
//!
//! **Rows.** With `page: Open` a row stays open until a request needs another or a refresh closes it. With `page: Closed` every column
//! command precharges. A request is a hit if its first command is its read or write, a miss if it is an activate, a conflict if it is a
//! precharge; a row that another request opened for itself, or that was opened for a request, is a hit for those that follow.
//!
//! A read ends with its last data: `tRCD + CL + burst` cycles after it entered, unloaded; a write with the last of its own.
//!
//! What is simplified: a command takes one cycle of the command bus in every device (an LPDDR activate really takes several); HBM2's two
//! pseudo-channels have a command bus each; refresh is of all banks; there is neither power-down nor a write cache.

mod address;
mod channel;
mod clock;
mod port;
mod replay;
mod timing;
mod waiting;

pub use address::Location;
pub use replay::{LAST_ENTRY, Replay, Replayed};
pub use timing::Command;

use crate::chip::Banked;
use address::AddressMap;
use channel::Channel;
pub(super) use port::Port;

/// A burst that is wanted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Request {
    /// A byte of the burst.
    pub address: u64,
    /// Whether it is written.
    pub is_write: bool,
    /// What its completion is called.
    pub id: u64,
}

/// A burst that was read or written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Completion {
    /// What its request was called.
    pub id: u64,
    /// One past the cycle of its last data.
    pub end: u64,
    /// Activates that were given for it.
    pub activates: u32,
}

/// What a controller did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// Bursts read.
    pub reads: u64,
    /// Bursts written.
    pub writes: u64,
    /// Requests that found their row open.
    pub row_hits: u64,
    /// Requests that found their bank closed.
    pub row_misses: u64,
    /// Requests that found another row open.
    pub row_conflicts: u64,
    /// Rows activated.
    pub activates: u64,
    /// Refreshes, one a rank each.
    pub refreshes: u64,
    /// Cycles from entering the queue to one past the last data, over all reads.
    pub read_latency_cycles: u128,
    /// One past the cycle of the last data.
    pub end: u64,
}

impl Counts {
    fn add(&mut self, other: &Self) {
        self.reads += other.reads;
        self.writes += other.writes;
        self.row_hits += other.row_hits;
        self.row_misses += other.row_misses;
        self.row_conflicts += other.row_conflicts;
        self.activates += other.activates;
        self.refreshes += other.refreshes;
        self.read_latency_cycles += other.read_latency_cycles;
        self.end = self.end.max(other.end);
    }
}

/// A command as it was issued.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Logged {
    /// The cycle.
    pub cycle: u64,
    /// What was done.
    pub command: Command,
    /// The channel.
    pub channel: u32,
    /// The bank in its channel; the first of its rank for a command to a whole rank.
    pub bank: u32,
    /// The row that was opened, closed, read or written.
    pub row: u32,
    /// The burst in the row, for reads and writes.
    pub column: u32,
}

/// The controllers of all channels. Cycles are those of the command clock.
#[derive(Debug, Clone)]
pub struct Controller {
    map: AddressMap,
    channels: Vec<Channel>,
}

impl Controller {
    /// Controllers with empty queues and closed banks.
    pub fn new(banked: &Banked) -> Self {
        Self { map: AddressMap::new(banked), channels: (0..banked.channels).map(|number| Channel::new(banked, number)).collect() }
    }

    /// Keeps every command from now on, for [`Controller::log`].
    pub fn keep_log(&mut self) {
        for channel in &mut self.channels {
            channel.log = Some(Vec::new());
        }
    }

    /// The commands so far, channel by channel, each in the order of cycles; none unless they were asked for.
    pub fn log(&self) -> impl Iterator<Item = &Logged> {
        self.channels.iter().flat_map(|channel| channel.log.iter().flatten())
    }

    /// Where an address lies. One beyond the capacity goes round.
    pub fn locate(&self, address: u64) -> Location {
        self.map.locate(address)
    }

    /// Whether the channel of `address` can take a request.
    pub fn has_room(&self, address: u64) -> bool {
        self.channels[self.locate(address).channel as usize].has_room()
    }

    /// Puts a request into its channel's queue in `cycle`, up to which the controller has been advanced.
    ///
    /// # Panics
    /// If the queue has no room, or a command was issued in this cycle or after.
    pub fn push(&mut self, request: Request, cycle: u64) {
        let at = self.locate(request.address);
        let channel = &mut self.channels[at.channel as usize];
        assert!(channel.has_room(), "bug: a request for a channel whose queue is full; please report it");
        channel.push(request, at, cycle);
    }

    /// Issues every command of the cycles before `to`, and tells `done` what they complete, channel by channel.
    pub fn advance(&mut self, to: u64, mut done: impl FnMut(Completion)) {
        for channel in &mut self.channels {
            channel.advance(to, &mut done);
        }
    }

    /// The cycle of the next command of any channel that has requests, if there is one.
    pub fn next_command(&mut self) -> Option<u64> {
        self.channels.iter_mut().filter(|channel| !channel.is_idle()).map(Channel::next_command).min()
    }

    /// What was done so far, all channels together.
    pub fn counts(&self) -> Counts {
        let mut sum = Counts::default();
        for channel in &self.channels {
            sum.add(&channel.counts);
        }
        sum
    }
}

/// DRAM for tests.
#[cfg(test)]
pub(super) mod fixture {
    use crate::chip::{Banked, Dram};

    /// One channel of a preset, with a queue of 32.
    pub(in crate::sim) fn banked(preset: &str) -> Banked {
        let dram =
            format!("Banked(preset: \"{preset}\", channels: 1, queue_depth: 32, starvation_cap: 16, page: Open, mapping: RoRaBaCoBgCh)");
        let chip = crate::chip::load("edge-16x16", &[("dram".to_owned(), dram)]).unwrap();
        match chip.dram() {
            Dram::Banked(banked) => (**banked).clone(),
            Dram::Ideal { .. } => unreachable!(),
        }
    }
}
