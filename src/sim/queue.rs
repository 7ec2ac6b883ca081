//! What every unit's front end shares: its queue, the semaphores, and the posts of commands in flight.

use super::accounts::Accounts;
use super::dma::Granules;
use super::error::SimError;
use super::log::Log;
use super::memory::Sram;
use super::peeled::Peeled;
use super::recording::{Effect, Effects};
use crate::counts::{CycleCounts, StallReason};
use crate::program::{Command, Cursor, Place, ProgramParts, Tag};

/// The most posts of one command; the verifier refuses more.
pub(super) const MAX_POSTS: usize = crate::program::MAX_POSTS;

/// What the units share in a cycle.
pub(super) struct Shared<'p> {
    pub(super) program: &'p ProgramParts,
    pub(super) peeled: Peeled,
    /// Whether the memories hold bytes; else only time passes.
    pub(super) has_numbers: bool,
    /// What is done to the memories, where that is kept.
    pub(super) recorded: Option<Effects>,
    pub(super) scratchpads: Vec<Sram>,
    pub(super) accumulator: Sram,
    pub(super) dram: Vec<u8>,
    /// What is coded of it, if values are.
    pub(super) granules: Option<Granules<'p>>,
    /// For each DMA engine, what it unpacked last.
    pub(super) unpacked: Vec<Vec<u8>>,
    /// Why the run cannot go on, if it cannot.
    pub(super) fault: Option<SimError>,
    pub(super) tokens: Tokens,
    pub(super) accounts: Accounts,
    /// What becomes of every command, where somebody watches.
    pub(super) log: Option<Box<Log<'p>>>,
    /// Whether the host is at work in this cycle, and whether it is in the next.
    pub(super) host_works: [bool; 2],
}

impl Shared<'_> {
    /// Keeps what is done to the memories, where that is wanted.
    pub(super) fn note(&mut self, effect: impl FnOnce() -> Effect) {
        if let Some(recorded) = &mut self.recorded {
            recorded.push(effect());
        }
    }

    /// Puts bytes into a memory before the first cycle.
    pub(super) fn place(&mut self, place: Place, address: u64, bytes: &[u8]) {
        let target = match place {
            Place::Dram => &mut self.dram[super::memory::size(address)..][..bytes.len()],
            place => self.sram(place).write(address, bytes.len() as u64),
        };
        target.copy_from_slice(bytes);
    }

    /// Lets what was just put into DRAM lie there coded, where it belongs to a value that does.
    pub(super) fn code(&mut self, address: u64, bytes: u64) {
        if let Some(granules) = &mut self.granules {
            granules.write(&mut self.dram, address, address + bytes);
        }
    }

    /// The on-chip memory of a place.
    pub(super) fn sram(&mut self, place: Place) -> &mut Sram {
        match place {
            Place::Scratchpad(_, index) => &mut self.scratchpads[index as usize],
            Place::Accumulator(_) => &mut self.accumulator,
            Place::Dram => unreachable!("bug: the verifier lets only transfers name DRAM"),
        }
    }
}

impl Shared<'_> {
    /// The memories whose ports the array takes ahead of time.
    pub(super) fn planned_memories(&mut self) -> impl Iterator<Item = &mut Sram> {
        self.scratchpads.iter_mut().chain([&mut self.accumulator])
    }

    /// The on-chip memory of a place, to look at.
    pub(super) fn sram_ref(&self, place: Place) -> &Sram {
        match place {
            Place::Scratchpad(_, index) => &self.scratchpads[index as usize],
            Place::Accumulator(_) => &self.accumulator,
            Place::Dram => unreachable!("bug: the verifier lets only transfers name DRAM"),
        }
    }
}

/// The semaphores' tokens. A token that is posted in a cycle is seen in the next.
#[derive(Debug)]
pub(super) struct Tokens {
    seen: Vec<u32>,
    posted: Vec<u32>,
}

impl Tokens {
    pub(super) fn new(program: &ProgramParts) -> Self {
        Self { seen: program.semaphores.iter().map(|decl| decl.tokens).collect(), posted: Vec::with_capacity(64) }
    }

    /// Lets this cycle's tokens be seen in the next; tells whether there were any.
    pub(super) fn end_cycle(&mut self) -> bool {
        let any = !self.posted.is_empty();
        for semaphore in self.posted.drain(..) {
            self.seen[semaphore as usize] += 1;
        }
        any
    }

    /// Whether a token was posted in this cycle.
    pub(super) fn any_posted(&self) -> bool {
        !self.posted.is_empty()
    }

    fn post(&mut self, semaphore: u32) {
        self.posted.push(semaphore);
    }
}

/// What a command in flight posts when it ends, and what it belongs to.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ending {
    pub(super) tag: Tag,
    semaphores: [u32; MAX_POSTS],
    count: u32,
    /// Its number in the log, where there is one.
    logged: u32,
}

impl Ending {
    /// Ends the command in this cycle: posts its tokens, closes its account.
    pub(super) fn end(&self, shared: &mut Shared<'_>, cycle: u64) {
        let posts = &self.semaphores[..self.count as usize];
        for semaphore in posts {
            shared.tokens.post(*semaphore);
        }
        if let Some(log) = &mut shared.log {
            log.end(self.logged, posts, cycle);
        }
        shared.accounts.retire(self.tag, cycle);
    }
}

/// A unit's queue.
#[derive(Debug, Clone)]
pub(super) struct Queue<'p> {
    cursor: Cursor<'p>,
    /// Its place in the program's list, if it is there.
    place: Option<usize>,
}

impl<'p> Queue<'p> {
    /// The queue with this place in the program's list; an empty one where the program has none for the unit.
    pub(super) fn new(program: &'p ProgramParts, queue: Option<usize>) -> Self {
        Self { cursor: Cursor::new(queue.map_or(&[], |queue| &program.queues[queue].items)), place: queue }
    }

    /// The next command.
    pub(super) fn head(&self) -> Option<&'p Command> {
        self.cursor.command()
    }

    /// The counters that the next command's addresses follow.
    pub(super) fn counters(&self) -> &[u64] {
        self.cursor.counters()
    }

    /// The first semaphore that the next command waits for in vain.
    pub(super) fn missing(&self, shared: &Shared<'_>) -> Option<u32> {
        let command = self.cursor.command()?;
        command
            .wait
            .iter()
            .find(|sync| self.cursor.waits(**sync) && shared.tokens.seen[sync.semaphore.0 as usize] == 0)
            .map(|sync| sync.semaphore.0)
    }

    /// Why the next command cannot start: the account of the semaphore that it waits for. Who waits for activations while the host makes some
    /// waits for the host.
    pub(super) fn blocked(&self, shared: &Shared<'_>) -> Option<StallReason> {
        let reason = self.missing(shared).map(|semaphore| shared.program.semaphores[semaphore as usize].reason);
        if reason == Some(StallReason::InputNotReady) && shared.host_works[0] { Some(StallReason::Host) } else { reason }
    }

    /// The account of `cycles` cycles of a unit that has nothing under way. `fetching` tells whether a command that has started waits for its
    /// first row, `blocked` what the next one waits for.
    pub(super) fn account_quiet(&self, counts: &mut CycleCounts, fetching: bool, blocked: Option<StallReason>, cycles: u64) -> Did {
        if fetching {
            counts.stall(StallReason::MemoryLatency, cycles);
            Did::Moved
        } else if let Some(reason) = blocked {
            counts.stall(reason, cycles);
            Did::Rested
        } else if self.head().is_some() {
            // A fence started and ended in this cycle.
            counts.busy += cycles;
            Did::Moved
        } else {
            counts.idle += cycles;
            Did::Rested
        }
    }

    /// Starts the next command, whose waits are met: takes its tokens, opens its account, goes past it.
    pub(super) fn start(&mut self, shared: &mut Shared<'_>, command: &Command, cycle: u64) -> Ending {
        for sync in &command.wait {
            if self.cursor.waits(*sync) {
                shared.tokens.seen[sync.semaphore.0 as usize] -= 1;
            }
        }
        let logged = match (&mut shared.log, self.place) {
            (Some(log), Some(place)) => log.start(place, command, &self.cursor, cycle),
            _ => 0,
        };
        let mut ending = Ending { tag: command.tag, semaphores: [0; MAX_POSTS], count: 0, logged };
        for sync in &command.post {
            if self.cursor.posts(*sync) {
                ending.semaphores[ending.count as usize] = sync.semaphore.0;
                ending.count += 1;
            }
        }
        shared.accounts.issue(command.tag, cycle);
        self.cursor.advance();
        ending
    }
}

/// What a unit did in a cycle.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Did {
    /// Something moved, or will move by itself.
    Moved,
    /// Nothing: it waits for a token with nothing under way, or has no command.
    Rested,
}
