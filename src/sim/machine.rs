//! The machine itself: a chip's units and memories, driven cycle by cycle through a program.

use super::accounts::{Account, Accounts, Run, UnitRun};
use super::array::Array;
use super::dma::{Bus, Engine as DmaEngine};
use super::error::SimError;
use super::memory::{Sram, size};
use super::queue::{Did, Queue, Shared, Tokens};
use super::vector::Vector;
use crate::chip::{Chip, Format};
use crate::counts::{CycleCounts, StallReason};
use crate::program::{Program, ProgramParts, UnitId, UnitKind};
use crate::units::{Cycles, Tick};
use serde::{Deserialize, Serialize};

/// How the machine is driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// Cycle by cycle, with every register of every PE.
    Stepped,
    /// From event to event, with a pass's numbers computed at once. The same outputs, cycles, counts and stalls.
    Wavefront,
}

impl Engine {
    /// The name in reports and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stepped => "stepped",
            Self::Wavefront => "wavefront",
        }
    }
}

/// A chip with a program loaded. Each [`Machine::run`] starts from an empty machine.
#[derive(Debug)]
pub struct Machine<'p> {
    chip: &'p Chip,
    format: &'p Format,
    program: &'p Program,
}

impl<'p> Machine<'p> {
    /// A machine for `program` on `chip`, multiplying `format`.
    ///
    /// # Errors
    /// If the program was made for another chip.
    pub fn new(chip: &'p Chip, format: &'p Format, program: &'p Program) -> Result<Self, SimError> {
        let parts = program.parts();
        let other = |problem: String| Err(SimError::OtherChip { problem });
        let array = (chip.array().rows, chip.array().cols);
        if (parts.array.rows, parts.array.cols) != array {
            return other(format!("its array is {} x {}, the chip's {} x {}", parts.array.rows, parts.array.cols, array.0, array.1));
        }
        let pads: Vec<u64> = chip.scratchpads().iter().map(|pad| pad.capacity.get()).collect();
        if pads != parts.memories.scratchpads || chip.accumulator().capacity.get() != parts.memories.accumulator {
            return other("its memories have other sizes".to_string());
        }
        if u64::from(format.accumulator_bits) > 8 * parts.accumulator_element_bytes {
            return other(format!("its sums have {} bytes, the chip's {} bits", parts.accumulator_element_bytes, format.accumulator_bits));
        }
        if parts.queues.iter().any(|queue| queue.unit.kind == UnitKind::Dma && queue.unit.index >= chip.dma().engines) {
            return other(format!("it uses more than the chip's {} DMA engines", chip.dma().engines));
        }
        Ok(Self { chip, format, program })
    }

    /// Runs the program on one batch, given as the bytes of its input region, from an empty machine.
    ///
    /// # Errors
    /// An input of the wrong size, or a deadlock, which a verified program does not have.
    pub fn run(&self, input: &[u8], engine: Engine) -> Result<Run, SimError> {
        let state = State::new(self, input, engine)?;
        match engine {
            Engine::Stepped => state.run(|_, _| ()),
            Engine::Wavefront => state.run_by_events(),
        }
    }

    /// As [`Machine::run`], stepped, and `watch` is told each unit's account of each cycle, units in the order of [`Run::units`].
    ///
    /// # Errors
    /// As [`Machine::run`].
    pub fn run_watched(&self, input: &[u8], mut watch: impl FnMut(Tick, &[Account])) -> Result<Run, SimError> {
        let mut before = Vec::new();
        let mut accounts = Vec::new();
        State::new(self, input, Engine::Stepped)?.run(|cycle, state| {
            before.resize(2 + state.engines.len(), CycleCounts::default());
            accounts.clear();
            for (now, before) in state.cycles().zip(&mut before) {
                accounts.push(Account::of(&now.since(before)));
                *before = *now;
            }
            watch(Tick::new(cycle), &accounts);
        })
    }
}

/// Everything that changes while a program runs.
struct State<'p> {
    shared: Shared<'p>,
    array: Array<'p>,
    vector: Vector<'p>,
    engines: Vec<DmaEngine<'p>>,
    bus: Bus,
}

impl<'p> State<'p> {
    fn new(machine: &Machine<'p>, input: &[u8], engine: Engine) -> Result<Self, SimError> {
        let (chip, parts) = (machine.chip, machine.program.parts());
        if input.len() as u64 != parts.input.bytes {
            return Err(SimError::InputSize { wanted: parts.input.bytes, given: input.len() as u64 });
        }
        let scratchpads = chip.scratchpads().iter();
        let accumulator = chip.accumulator();
        let mut shared = Shared {
            program: parts,
            scratchpads: scratchpads
                .map(|pad| Sram::new(pad.capacity.get(), pad.port_bytes, pad.banks, StallReason::ScratchpadConflict))
                .collect(),
            accumulator: Sram::new(accumulator.capacity.get(), accumulator.port_bytes, accumulator.banks, StallReason::AccumulatorConflict)
                .with_pending_writes(accumulator.latency.get()),
            dram: vec![0; size(parts.memories.dram)],
            tokens: Tokens::new(parts),
            accounts: Accounts::new(machine.program.commands_per_stage()),
        };
        for image in &parts.images {
            let bytes = image.bytes.len() as u64;
            match image.place {
                crate::program::Place::Dram => shared.dram[size(image.address)..size(image.address + bytes)].copy_from_slice(&image.bytes),
                place => shared.sram(place).write(image.address, bytes).copy_from_slice(&image.bytes),
            }
        }
        shared.dram[size(parts.input.address)..size(parts.input.address + parts.input.bytes)].copy_from_slice(input);
        let queue = |kind, index| Queue::new(parts, queue_of(parts, kind, index));
        let rule = chip.arithmetic(machine.format, &chip.array().dataflows[0]).accumulate;
        let element_bytes = parts.accumulator_element_bytes;
        Ok(Self {
            shared,
            array: Array::new(queue(UnitKind::Array, 0), chip, rule, element_bytes, engine),
            vector: Vector::new(queue(UnitKind::Vector, 0), chip, element_bytes),
            engines: (0..chip.dma().engines).map(|index| DmaEngine::new(index as usize, queue(UnitKind::Dma, index), chip)).collect(),
            bus: Bus::new(chip),
        })
    }

    fn run(mut self, mut watch: impl FnMut(u64, &Self)) -> Result<Run, SimError> {
        let mut cycle = 0;
        while !self.done() {
            self.tick(cycle)?;
            watch(cycle, &self);
            cycle += 1;
        }
        Ok(self.finish(cycle))
    }

    /// As [`State::run`], but cycles in which every unit would only repeat its account are passed over in one go.
    fn run_by_events(mut self) -> Result<Run, SimError> {
        let mut cycle = 0;
        while !self.done() {
            let posted = self.tick(cycle)?;
            cycle += 1;
            // A token that was just posted may wake anybody.
            if !posted && !self.done() {
                let event = self.next_event(cycle);
                if event > cycle {
                    self.skip(cycle, event - cycle);
                    cycle = event;
                }
            }
        }
        Ok(self.finish(cycle))
    }

    /// The first cycle, from `next` on, in which any unit does something new; `next` itself where none ever would, so that the tick finds
    /// the deadlock.
    fn next_event(&self, next: u64) -> u64 {
        let units = [self.array.next_event(&self.shared, next), self.vector.next_event(&self.shared, next)];
        let engines = self.engines.iter().map(|engine| engine.next_event(&self.shared, &self.bus, next));
        units.into_iter().chain(engines).flatten().min().unwrap_or(next)
    }

    fn skip(&mut self, next: u64, cycles: u64) {
        self.array.skip(&self.shared, cycles);
        self.vector.skip(&self.shared, cycles);
        for engine in &mut self.engines {
            engine.skip(&self.shared, &self.bus, next, cycles);
        }
    }

    /// Every unit's cycles, in the order of reports.
    fn cycles(&self) -> impl Iterator<Item = &CycleCounts> {
        [&self.array.cycles, &self.vector.cycles].into_iter().chain(self.engines.iter().map(|engine| &engine.cycles))
    }

    fn done(&self) -> bool {
        self.array.done() && self.vector.done() && self.engines.iter().all(DmaEngine::done)
    }

    /// One cycle; tells whether a token was posted in it.
    fn tick(&mut self, cycle: u64) -> Result<bool, SimError> {
        let array = self.array.tick(&mut self.shared, cycle);
        let vector = self.vector.tick(&mut self.shared, cycle);
        let mut moved = array == Did::Moved || vector == Did::Moved;
        for engine in &mut self.engines {
            engine.issue(&mut self.shared, &self.bus, cycle);
        }
        self.bus.grant(&self.engines, cycle);
        for engine in &mut self.engines {
            moved |= engine.tick(&mut self.shared, &mut self.bus, cycle) == Did::Moved;
        }
        let posted = self.shared.tokens.end_cycle();
        moved |= posted;
        self.shared.accounts.end_cycle(cycle, &self.array.cycles);
        if moved { Ok(posted) } else { Err(SimError::Deadlock { cycle, waits: self.waits() }) }
    }

    /// Who waits for what.
    fn waits(&self) -> String {
        let name = |semaphore: u32| &self.shared.program.semaphores[semaphore as usize].name;
        let wait =
            |unit: &str, queue: &Queue<'_>| queue.missing(&self.shared).map(|semaphore| format!("{unit} waits for {}", name(semaphore)));
        let mut waits: Vec<String> = wait("array", self.array.queue()).into_iter().chain(wait("vector", self.vector.queue())).collect();
        waits.extend(self.engines.iter().enumerate().filter_map(|(number, engine)| wait(&format!("dma{number}"), engine.queue())));
        waits.join(", ")
    }

    fn finish(self, total: u64) -> Run {
        let output = self.shared.program.output;
        let unit = |kind, index| UnitId { core: 0, kind, index };
        let names = [unit(UnitKind::Array, 0), unit(UnitKind::Vector, 0)].into_iter().chain((0..).map(|index| unit(UnitKind::Dma, index)));
        let units: Vec<UnitRun> = names.zip(self.cycles()).map(|(unit, cycles)| UnitRun { unit, cycles: *cycles }).collect();
        for account in &units {
            assert_eq!(account.cycles.total(), total, "bug: {} did not account for every cycle once; please report it", account.unit);
        }
        Run {
            total_cycles: Cycles::new(total),
            output: self.shared.dram[size(output.address)..size(output.address + output.bytes)].to_vec(),
            stages: self.shared.accounts.finish(),
            units,
        }
    }
}

/// The place of a unit's queue in a program's list, if it has one.
fn queue_of(parts: &ProgramParts, kind: UnitKind, index: u32) -> Option<usize> {
    parts.queues.iter().position(|queue| queue.unit == UnitId { core: 0, kind, index })
}
