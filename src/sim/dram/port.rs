//! The controllers as a core sees them: requests and completions in core cycles, and each channel only as far on as somebody needs to know.
//!
//! Channels do not meet, so each is advanced by itself; one without requests stands still until it gets one, or its refreshes are counted.

use super::address::Location;
use super::channel::Channel;
use super::clock::Clocks;
use super::{Completion, Controller, Request};
use crate::chip::Banked;
use crate::units::Hertz;

/// A channel that waits for nothing.
const NEVER: u64 = u64::MAX;

/// The controllers, and the core's clock beside theirs.
#[derive(Debug, Clone)]
pub(in crate::sim) struct Port {
    controller: Controller,
    clocks: Clocks,
    /// For each channel the cycle before which it has no command.
    next: Vec<u64>,
    /// The least of them.
    soonest: u64,
}

/// A read or write command that a channel gave.
#[derive(Debug, Clone, Copy)]
pub(in crate::sim) struct Step {
    pub(in crate::sim) channel: u32,
    /// The first core cycle in which its place in the queue is free.
    pub(in crate::sim) free: u64,
    pub(in crate::sim) completion: Completion,
}

impl Port {
    pub(in crate::sim) fn new(banked: &Banked, core: Hertz) -> Self {
        let controller = Controller::new(banked);
        let next = vec![NEVER; controller.channels.len()];
        Self { controller, clocks: Clocks::new(banked.clock(), core), next, soonest: NEVER }
    }

    pub(in crate::sim) fn locate(&self, address: u64) -> Location {
        self.controller.locate(address)
    }

    /// Whether a channel's queue has room in the core cycle up to which it was advanced.
    pub(in crate::sim) fn has_room(&self, channel: u32) -> bool {
        self.controller.channels[channel as usize].has_room()
    }

    /// Puts a request into a queue with room, in core cycle `cycle`, up to which the port was advanced.
    pub(in crate::sim) fn push(&mut self, request: Request, at: Location, cycle: u64) {
        let entered = self.clocks.dram_from(cycle);
        let index = at.channel as usize;
        let channel = &mut self.controller.channels[index];
        // Refreshes of the time without requests.
        channel.advance(entered, &mut |_| ());
        channel.push(request, at, entered);
        self.next[index] = self.next[index].min(entered);
        self.soonest = self.soonest.min(entered);
    }

    /// Gives every command of channels with requests that is due before core cycle `cycle`; `done` gets the completions, their ends in core
    /// cycles.
    pub(in crate::sim) fn advance(&mut self, cycle: u64, mut done: impl FnMut(Completion)) {
        if self.soonest == NEVER {
            return;
        }
        let to = self.clocks.dram_from(cycle);
        if self.soonest >= to {
            return;
        }
        let clocks = self.clocks;
        for (channel, next) in self.controller.channels.iter_mut().zip(&mut self.next).filter(|(_, next)| **next < to) {
            channel.advance(to, &mut |completion| done(seen(&clocks, completion)));
            *next = due(channel);
        }
        self.soonest = self.next.iter().copied().min().unwrap_or(NEVER);
    }

    /// Gives commands that are due before core cycle `cycle`, the earliest first, up to the first read or write, which it returns.
    pub(in crate::sim) fn step_before(&mut self, cycle: u64) -> Option<Step> {
        let to = self.clocks.dram_from(cycle);
        loop {
            let (index, next) = self.next.iter().copied().enumerate().min_by_key(|(_, next)| *next)?;
            self.soonest = next;
            if next >= to {
                return None;
            }
            let channel = &mut self.controller.channels[index];
            let due_now = channel.next_command();
            if due_now > next {
                self.next[index] = due_now;
                continue;
            }
            let completion = channel.step();
            self.next[index] = due(channel);
            self.soonest = self.soonest.min(self.next[index]);
            if let Some(completion) = completion {
                let channel = u32::try_from(index).unwrap_or(u32::MAX);
                return Some(Step { channel, free: self.clocks.core_after(due_now), completion: seen(&self.clocks, completion) });
            }
        }
    }

    /// Refreshes that were due before core cycle `cycle`, up to which every channel goes, with or without requests.
    pub(in crate::sim) fn refreshes_before(&mut self, cycle: u64, mut done: impl FnMut(Completion)) -> u64 {
        let to = self.clocks.dram_from(cycle);
        self.advance(cycle, &mut done);
        for channel in self.controller.channels.iter_mut().filter(|channel| channel.is_idle()) {
            channel.advance(to, &mut |_| ());
        }
        self.controller.channels.iter().map(|channel| channel.counts.refreshes).sum()
    }
}

/// The cycle of a channel's next command, if it has requests.
fn due(channel: &mut Channel) -> u64 {
    if channel.is_idle() { NEVER } else { channel.next_command() }
}

/// A completion that ends when the core can see it.
fn seen(clocks: &Clocks, completion: Completion) -> Completion {
    Completion { end: clocks.core_from(completion.end), ..completion }
}
