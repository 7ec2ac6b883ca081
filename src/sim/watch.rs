//! Runs that are watched from outside: each cycle's accounts, and what became of every command.
//!
//! Nothing is asked of a unit that it does not keep anyway, but for a log (`log`) that commands are entered into when they start and end.
//! Not here: what is made of it.

use super::accounts::{Account, Run};
use super::engine::{Engine, Numbers};
use super::log::{CommandRun, Log, TokenRun};
use super::machine::Machine;
use super::occupancy::Occupancy;
use super::{Peeled, SimError};
use crate::units::{Cycles, Tick};
use std::ops::ControlFlow;

/// One cycle of a run that is watched.
#[derive(Debug, Clone, Copy)]
pub struct Cycle<'a> {
    /// The cycle.
    pub tick: Tick,
    /// What each unit did with it, in the order of [`Run::units`].
    pub accounts: &'a [Account],
    /// Bytes that have crossed DRAM's bus up to its end, the host's by its own path left out; with banks those of the bursts that were asked
    /// for.
    pub bus_bytes: u64,
}

/// What was seen of a run.
#[derive(Debug)]
pub struct Watched {
    /// Cycles that were watched: all, or those before the watch ended.
    pub cycles: Cycles,
    /// Every command that was started, in order.
    pub commands: Vec<CommandRun>,
    /// Every token that went from one of them to another.
    pub tokens: Vec<TokenRun>,
    /// How full each scratchpad was, and then the accumulator.
    pub occupancy: Vec<Occupancy>,
    /// The run, if it was watched to its end.
    pub run: Option<Run>,
}

impl Machine<'_> {
    /// As [`Machine::run`], stepped, and `watch` is told each unit's account of each cycle, units in the order of [`Run::units`].
    ///
    /// # Errors
    /// As [`Machine::run`].
    pub fn run_watched(&self, inputs: &[&[u8]], mut watch: impl FnMut(Tick, &[Account])) -> Result<Run, SimError> {
        let mut session = self.start(inputs, Engine::Stepped)?;
        for cycle in 0.. {
            let Some(accounts) = session.step()? else { break };
            watch(Tick::new(cycle), &accounts);
        }
        session.finish()
    }

    /// As [`Machine::time`], cycle by cycle: `watch` is told of each, until it breaks off or more than `most` commands were started, and every
    /// command is logged.
    ///
    /// # Errors
    /// A deadlock, which a verified program does not have.
    ///
    /// # Panics
    /// Never: the log is there until the watch ends.
    pub fn time_watched(&self, most: usize, mut watch: impl FnMut(Cycle<'_>) -> ControlFlow<()>) -> Result<Watched, SimError> {
        let mut session = self.session(&[], Numbers::None, Peeled::default())?;
        session.state.shared.log = Some(Box::new(Log::new(self.program.parts(), most)));
        let mut is_over = false;
        let log = loop {
            let tick = Tick::new(session.cycle);
            let Some(accounts) = session.step()? else {
                is_over = true;
                break session.state.shared.log.take();
            };
            let told = watch(Cycle { tick, accounts: &accounts, bus_bytes: session.state.dma.bus_bytes() });
            let is_full = session.state.shared.log.as_ref().is_some_and(|log| log.is_full());
            if told.is_break() || is_full {
                break session.state.shared.log.take();
            }
        };
        let mut log = log.expect("bug: the log of a watch is there until it ends; please report it");
        let cycles = Cycles::new(session.cycle);
        let run = if is_over { Some(session.finish()?) } else { None };
        let occupancy = log.occupancy(cycles.get());
        Ok(Watched { cycles, commands: log.commands, tokens: log.tokens, occupancy, run })
    }
}
