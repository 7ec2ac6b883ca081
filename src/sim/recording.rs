//! What a run did to the memories, in order, to be done again for other inputs: cycles are a function of chip and program, never of the values, so that one timed
//! run tells for every batch what is copied, multiplied and requantized when. What is done again is done by the same code, byte for byte in the same memories.
//!
//! Not here: what counts go by values (gated products, coded values): such programs are run in full each time.

use super::Run;
use super::array::{Array, ArrayEffect};
use super::engine::{Engine, Numbers};
use super::error::SimError;
use super::machine::{Machine, Session, State, fill};
use super::memory::{Sram, size};
use super::peeled::Peeled;
use super::queue::Shared;
use super::vector::VectorEffect;
use crate::chip::Codec;
use crate::program::{Place, UnitKind};
use std::fmt;

/// The most effects that are kept of a run.
const MOST: usize = 1 << 21;

/// One thing that was done to the memories.
pub(super) enum Effect {
    /// Bytes between DRAM and a memory of the chip.
    Copy(Copy),
    /// The array's, in one of its modes.
    Array(u32, ArrayEffect),
    /// The vector unit's.
    Vector(VectorEffect),
}

/// Bytes that were copied.
#[derive(Debug, Clone, Copy)]
pub(super) struct Copy {
    pub(super) is_in: bool,
    pub(super) place: Place,
    pub(super) local: u64,
    pub(super) dram: u64,
    pub(super) bytes: u64,
}

impl Copy {
    /// Takes up a copy that goes on where this one ends.
    fn joins(&mut self, next: &Self) -> bool {
        let goes_on = (self.is_in, self.place) == (next.is_in, next.place)
            && (self.local + self.bytes, self.dram + self.bytes) == (next.local, next.dram);
        self.bytes += if goes_on { next.bytes } else { 0 };
        goes_on
    }

    fn apply(&self, shared: &mut Shared<'_>) {
        let range = size(self.dram)..size(self.dram + self.bytes);
        let Shared { scratchpads, accumulator, dram, .. } = shared;
        let memory = match self.place {
            Place::Scratchpad(_, index) => &mut scratchpads[index as usize],
            _ => accumulator,
        };
        if self.is_in {
            memory.write(self.local, self.bytes).copy_from_slice(&dram[range]);
        } else {
            dram[range].copy_from_slice(memory.read(self.local, self.bytes));
        }
    }
}

/// What is kept of a run while it is under way.
#[derive(Default)]
pub(super) struct Effects {
    all: Vec<Effect>,
    is_too_long: bool,
}

impl Effects {
    /// Keeps one more.
    pub(super) fn push(&mut self, effect: Effect) {
        if let (Some(Effect::Copy(last)), Effect::Copy(next)) = (self.all.last_mut(), &effect)
            && last.joins(next)
        {
            return;
        }
        if self.all.len() == MOST {
            self.is_too_long = true;
            self.all = Vec::new();
        }
        if !self.is_too_long {
            self.all.push(effect);
        }
    }
}

/// A run that can be done again for other inputs, without its time.
pub struct Recording<'m, 'p> {
    machine: &'m Machine<'p>,
    effects: Vec<Effect>,
}

impl fmt::Debug for Recording<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Recording").field("effects", &self.effects.len()).finish_non_exhaustive()
    }
}

/// Memories in which a recording is done again.
pub struct Replay<'r, 'p> {
    effects: &'r [Effect],
    state: State<'p>,
}

impl fmt::Debug for Replay<'_, '_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replay").field("effects", &self.effects.len()).finish_non_exhaustive()
    }
}

impl<'p> Machine<'p> {
    /// As [`Machine::run`] from event to event, and what it did; nothing where counts go by values, the host has a part, or there is too much.
    ///
    /// # Errors
    /// As [`Machine::run`].
    pub fn record(&self, inputs: &[&[u8]]) -> Result<(Run, Option<Recording<'_, 'p>>), SimError> {
        let mut session: Session<'p> = self.session(inputs, Numbers::Wavefront, Peeled::default())?;
        if self.is_alike_for_all_values() {
            session.state.shared.recorded = Some(Effects::default());
        }
        session.run_to_end()?;
        let effects = session.state.shared.recorded.take().filter(|effects| !effects.is_too_long);
        let run = session.finish()?;
        Ok((run, effects.map(|effects| Recording { machine: self, effects: effects.all })))
    }

    /// Whether nothing but the bytes in the memories goes by values.
    fn is_alike_for_all_values(&self) -> bool {
        let has_host = self.program().queues.iter().any(|queue| queue.unit.kind == UnitKind::Host);
        !self.chip().array().zero_gating && self.chip().storage().codec == Codec::None && !has_host
    }
}

impl<'p> Recording<'_, 'p> {
    /// Memories to do it again in.
    ///
    /// # Errors
    /// A machine that is too large, which one that has run is not.
    pub fn replay(&self, inputs: &[&[u8]]) -> Result<Replay<'_, 'p>, SimError> {
        Ok(Replay { effects: &self.effects, state: self.machine.session(inputs, Engine::Wavefront.into(), Peeled::default())?.state })
    }
}

impl State<'_> {
    /// Empties the memories and lays the images and other inputs into them.
    fn empty(&mut self, inputs: &[&[u8]]) -> Result<(), SimError> {
        self.shared.dram.fill(0);
        self.shared.planned_memories().for_each(Sram::empty);
        self.others.iter_mut().chain([&mut self.array]).for_each(Array::restart);
        fill(&mut self.shared, inputs)
    }

    /// Does again what the array did in one of its modes.
    fn replay_array(&mut self, mode: u32, effect: &ArrayEffect) {
        let array = self.others.iter_mut().chain([&mut self.array]).find(|array| array.mode() == mode);
        array.expect("bug: a recording of another machine").replay(&mut self.shared, effect);
    }
}

impl Replay<'_, '_> {
    /// What the program leaves in DRAM for other inputs, from empty memories.
    ///
    /// # Errors
    /// Inputs of the wrong number or size.
    pub fn output(&mut self, inputs: &[&[u8]]) -> Result<Vec<u8>, SimError> {
        self.state.empty(inputs)?;
        for effect in self.effects {
            match effect {
                Effect::Copy(copy) => copy.apply(&mut self.state.shared),
                Effect::Array(mode, effect) => self.state.replay_array(*mode, effect),
                Effect::Vector(effect) => self.state.vector.replay(&mut self.state.shared, effect),
            }
        }
        Ok(self.state.output())
    }
}
