//! The machine itself: a chip's units and memories, driven cycle by cycle through a program.

use super::accounts::{Account, Accounts, Run, UnitRun};
use super::array::{Array, PeId, Registers};
use super::dma::{Dma, Granules};
use super::engine::{Engine, Numbers};
use super::error::SimError;
use super::host::Host;
use super::memory::{Sram, size};
use super::peeled::Peeled;
use super::queue::{Did, Queue, Shared, Tokens};
use super::vector::Vector;
use crate::chip::{Chip, Dataflow, Dram, Format};
use crate::counts::{CycleCounts, StallReason};
use crate::program::{ArrayMode, Command, Operation, Place, Program, ProgramParts, Transfer, UnitId, UnitKind};
use crate::units::{Cycles, Tick};

/// What a machine is made from.
#[derive(Debug, Clone, Copy)]
pub(super) struct Setup<'p> {
    pub(super) chip: &'p Chip,
    pub(super) format: &'p Format,
    pub(super) dataflow: &'p Dataflow,
    pub(super) program: &'p ProgramParts,
    /// What the array does, an index into the program's list.
    pub(super) mode: u32,
    pub(super) numbers: Numbers,
    pub(super) peeled: Peeled,
}

impl Setup<'_> {
    /// What the array does.
    pub(super) fn array_mode(&self) -> &ArrayMode {
        &self.program.modes[self.mode as usize]
    }

    /// Whether the array does it in the stage that a command belongs to.
    pub(super) fn is_of_mode(&self, command: &Command) -> bool {
        self.program.stages[command.tag.stage as usize].mode == self.mode
    }
}

/// A chip with a program loaded. Each [`Machine::run`] starts from an empty machine.
#[derive(Debug)]
pub struct Machine<'p> {
    chip: &'p Chip,
    /// The format and the dataflow of each of the program's modes.
    modes: Vec<(&'p Format, &'p Dataflow)>,
    pub(super) program: &'p Program,
}

impl<'p> Machine<'p> {
    /// A machine for `program` on `chip`, multiplying `format`.
    ///
    /// # Errors
    /// If the program was made for another chip, or for other formats; if it needs more DRAM than the chip's `Banked` one has.
    pub fn new(chip: &'p Chip, format: &'p Format, program: &'p Program) -> Result<Self, SimError> {
        let parts = program.parts();
        let other = |problem: String| Err(SimError::OtherChip { problem });
        let array = chip.array();
        let mut modes = Vec::with_capacity(parts.modes.len());
        for mode in &parts.modes {
            if (mode.size.rows, mode.size.cols) != (array.rows, array.cols) {
                let size = mode.size;
                return other(format!("its array is {} x {}, the chip's {} x {}", size.rows, size.cols, array.rows, array.cols));
            }
            let Some(dataflow) = chip.dataflow(mode.stationary) else {
                return other(format!("its array keeps {:?} in place, which the chip's does not", mode.stationary));
            };
            let makes = |format: &&Format| ArrayMode::new(chip, format, dataflow) == *mode;
            let Some(format) = std::iter::once(format).chain(chip.formats()).find(makes) else {
                return other("its array multiplies other formats, or drains otherwise".to_string());
            };
            modes.push((format, dataflow));
        }
        let pads: Vec<u64> = chip.scratchpads().iter().map(|pad| pad.capacity.get()).collect();
        if !parts.array_only && (pads != parts.memories.scratchpads || chip.accumulator().capacity.get() != parts.memories.accumulator) {
            return other("its memories have other sizes".to_string());
        }
        if pads.len() != parts.memories.scratchpads.len() {
            return other(format!("it has {} scratchpads, the chip {}", parts.memories.scratchpads.len(), pads.len()));
        }
        if let Some((format, _)) = modes.iter().find(|(format, _)| u64::from(format.accumulator_bits) > 8 * parts.accumulator_element_bytes)
        {
            return other(format!("its sums have {} bytes, the chip's {} bits", parts.accumulator_element_bytes, format.accumulator_bits));
        }
        if parts.queues.iter().any(|queue| queue.unit.kind == UnitKind::Dma && queue.unit.index >= chip.dma().engines) {
            return other(format!("it uses more than the chip's {} DMA engines", chip.dma().engines));
        }
        let has_host = chip.vector().host_cycles(1).is_some();
        if !has_host && parts.queues.iter().any(|queue| queue.unit.kind == UnitKind::Host) {
            return other("it has work for the host, which the chip does not offer (vector.unsupported)".to_string());
        }
        let codec = chip.storage().codec;
        let mut unknown = None;
        parts.each_command(UnitKind::Dma, &mut |command| {
            if let Operation::Mvin(Transfer { coded: Some(coded), .. }) = &command.operation
                && !codec.unpacks(coded.coding.code)
            {
                unknown = Some(coded.coding.code);
            }
        });
        let of_values = codec.code().filter(|_| codec.codes_activations());
        if let Some(value) = parts.coded_values.iter().find(|value| Some(value.coding.code) != of_values) {
            return other(format!("its values lie coded in DRAM ({:?}), which the chip's do not", value.coding.code));
        }
        if let Some(code) = unknown {
            return other(format!("its weights lie coded in DRAM ({code:?}), which the chip's DMA engines do not unpack"));
        }
        if let Dram::Banked(dram) = chip.dram()
            && parts.memories.dram > dram.capacity_bytes()
        {
            return Err(SimError::DramTooSmall { needed: parts.memories.dram, capacity: dram.capacity_bytes() });
        }
        Ok(Self { chip, modes, program })
    }

    /// The chip.
    pub(super) fn chip(&self) -> &'p Chip {
        self.chip
    }

    /// The program.
    pub(super) fn program(&self) -> &'p ProgramParts {
        self.program.parts()
    }

    /// Runs the program on one batch, given as the bytes of each of its input regions, from an empty machine.
    ///
    /// # Errors
    /// Inputs of the wrong number or size, or a deadlock, which a verified program does not have.
    pub fn run(&self, inputs: &[&[u8]], engine: Engine) -> Result<Run, SimError> {
        self.start(inputs, engine)?.finish()
    }

    /// Runs the program without numbers: the same cycles, counts and stalls, an empty output, no gated products.
    ///
    /// # Errors
    /// A deadlock, which a verified program does not have.
    pub fn time(&self) -> Result<Run, SimError> {
        self.time_peeled(Peeled::default())
    }

    /// [`Machine::time`] on a machine with some resources without limit. Cycles, windows and accounts are that machine's; an array that is
    /// peeled counts its passes, and nothing else of what it does.
    ///
    /// # Errors
    /// A deadlock, which a verified program does not have.
    pub fn time_peeled(&self, peeled: Peeled) -> Result<Run, SimError> {
        self.session(&[], Numbers::None, peeled)?.finish()
    }

    /// As [`Machine::time`], but None where the program takes more than `most` cycles. It is found out as soon as the passes that have not
    /// started, which enter one after the other, cannot be over by then.
    ///
    /// # Errors
    /// A deadlock, which a verified program does not have.
    pub fn time_within(&self, most: Cycles) -> Result<Option<Run>, SimError> {
        /// Cycles between two looks.
        const APART: u64 = 1 << 12;
        let mut session = self.session(&[], Numbers::None, Peeled::default())?;
        while session.run_until(Tick::new(session.cycle.saturating_add(APART)))? {
            if session.cycle.saturating_add(session.state.to_stream()) > most.get() {
                return Ok(None);
            }
        }
        let run = session.finish()?;
        Ok(Some(run).filter(|run| run.total_cycles <= most))
    }

    /// A run that can be stopped and looked into.
    ///
    /// # Errors
    /// Inputs of the wrong number or size.
    pub fn start(&self, inputs: &[&[u8]], engine: Engine) -> Result<Session<'p>, SimError> {
        self.session(inputs, engine.into(), Peeled::default())
    }

    pub(super) fn session(&self, inputs: &[&[u8]], numbers: Numbers, peeled: Peeled) -> Result<Session<'p>, SimError> {
        let program = self.program.parts();
        let setup = |(mode, (format, dataflow)): (u32, &(&'p Format, &'p Dataflow))| Setup {
            chip: self.chip,
            format,
            dataflow,
            program,
            mode,
            numbers,
            peeled,
        };
        let setups: Vec<Setup<'p>> = (0..).zip(&self.modes).map(setup).collect();
        // Without ports nothing happens between two events, whatever moves in between.
        let by_events = numbers != Numbers::Stepped || program.array_only;
        Ok(Session { state: State::new(self.chip, &setups, self.program, inputs, by_events)?, cycle: 0, by_events })
    }
}

/// A run under way.
pub struct Session<'p> {
    pub(super) state: State<'p>,
    /// The cycle that comes next.
    pub(super) cycle: u64,
    by_events: bool,
}

impl Session<'_> {
    /// Runs every cycle up to `last`, which is included; tells whether there is more to run.
    ///
    /// # Errors
    /// A deadlock, which a verified program does not have.
    pub fn run_until(&mut self, last: Tick) -> Result<bool, SimError> {
        while self.cycle <= last.get() && !self.state.done() {
            self.cycle = self.state.go_on(self.cycle, if self.by_events { last.get().saturating_add(1) } else { self.cycle + 1 })?;
            if let Some(fault) = self.state.shared.fault.take() {
                return Err(fault);
            }
        }
        self.state.settle(self.cycle);
        Ok(!self.state.done())
    }

    /// Runs one cycle; each unit's account of it, units in the order of [`Run::units`], or None where there is no more to run.
    ///
    /// # Errors
    /// A deadlock, which a verified program does not have.
    pub fn step(&mut self) -> Result<Option<Vec<Account>>, SimError> {
        if self.state.done() {
            return Ok(None);
        }
        let before: Vec<CycleCounts> = self.state.cycles().copied().collect();
        self.run_until(Tick::new(self.cycle))?;
        Ok(Some(self.state.cycles().zip(&before).map(|(now, before)| Account::of(&now.since(before))).collect()))
    }

    /// The registers of a PE after the array's last cycle; empty ones for a place outside of the array.
    pub fn probe(&mut self, pe: PeId) -> Registers {
        self.state.array.probe(&mut self.state.shared, pe).unwrap_or_default()
    }

    /// Runs to the end, and keeps what lies in the memories.
    pub(super) fn run_to_end(&mut self) -> Result<(), SimError> {
        self.run_until(Tick::new(u64::MAX)).map(|_| ())
    }

    /// Runs to the end.
    ///
    /// # Errors
    /// A deadlock, which a verified program does not have.
    pub fn finish(mut self) -> Result<Run, SimError> {
        self.run_until(Tick::new(u64::MAX))?;
        Ok(self.state.finish(self.cycle))
    }
}

impl std::fmt::Debug for Session<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Session").field("cycle", &self.cycle).finish_non_exhaustive()
    }
}

/// Everything that changes while a program runs.
pub(super) struct State<'p> {
    pub(super) shared: Shared<'p>,
    pub(super) array: Array<'p>,
    /// The array as it is in the program's other modes, while it rests.
    pub(super) others: Vec<Array<'p>>,
    pub(super) vector: Vector<'p>,
    pub(super) dma: Dma<'p>,
    /// Where the program has work for it.
    host: Option<Host<'p>>,
    /// Up to which cycle, and from which on, the vector unit with the host and the DMA engines are looked at again.
    vector_sleep: Sleep,
    dma_sleep: Sleep,
    /// Whether units sleep at all.
    by_events: bool,
}

/// A unit that only repeats its account until it wakes, or until a token is posted.
#[derive(Debug, Clone, Copy, Default)]
struct Sleep {
    /// The cycle up to which its account is made.
    at: u64,
    /// The cycle in which it does something again; [`u64::MAX`] where only a token can wake it.
    wakes: u64,
}

impl Sleep {
    /// What a unit that sleeps in a cycle is said to have done.
    fn did(self) -> Did {
        if self.wakes == u64::MAX { Did::Rested } else { Did::Moved }
    }
}

impl<'p> State<'p> {
    fn new(chip: &'p Chip, setups: &[Setup<'p>], program: &'p Program, inputs: &[&[u8]], by_events: bool) -> Result<Self, SimError> {
        let parts = program.parts();
        let Setup { numbers, peeled, .. } = setups[0];
        let has_numbers = numbers != Numbers::None;
        let bytes_of = |capacity: u64| if has_numbers { capacity } else { 0 };
        let accumulator = chip.accumulator();
        let pads = chip.scratchpads().iter().zip(&parts.memories.scratchpads);
        let mut sums =
            Sram::new(bytes_of(parts.memories.accumulator), accumulator.port_bytes, accumulator.banks, StallReason::AccumulatorConflict);
        if !parts.array_only {
            sums = sums.with_pending_writes(parts.memories.accumulator, accumulator.latency.get());
        }
        let mut shared = Shared {
            program: parts,
            peeled,
            has_numbers,
            recorded: None,
            scratchpads: pads
                .map(|(pad, bytes)| {
                    Sram::new(bytes_of(*bytes), pad.port_bytes, pad.banks, StallReason::ScratchpadConflict).peeled(peeled.ports)
                })
                .collect(),
            accumulator: sums.peeled(peeled.ports),
            dram: vec![0; size(bytes_of(parts.memories.dram))],
            granules: Granules::new(&parts.coded_values, has_numbers),
            unpacked: vec![Vec::new(); chip.dma().engines as usize],
            fault: None,
            tokens: Tokens::new(parts),
            accounts: Accounts::new(program.commands_per_stage()),
            log: None,
            host_works: [false; 2],
        };
        if has_numbers {
            fill(&mut shared, inputs)?;
        }
        let queue = |kind, index| Queue::new(parts, queue_of(parts, kind, index));
        let mut arrays = Vec::with_capacity(setups.len());
        for setup in setups {
            // The array's first mode has its queue, and hands it on.
            let queue = if arrays.is_empty() { queue(UnitKind::Array, 0) } else { Queue::new(parts, None) };
            let place = u32::try_from(shared.scratchpads.len()).expect("bug: a program has few modes");
            let array = Array::new(queue, setup, Place::Scratchpad(0, place))?;
            if has_numbers {
                shared.scratchpads.extend(array.line_buffers());
            }
            arrays.push(array);
        }
        let array = arrays.remove(0);
        Ok(Self {
            shared,
            array,
            others: arrays,
            vector: Vector::new(queue(UnitKind::Vector, 0), chip, parts.accumulator_element_bytes, peeled.vector),
            dma: Dma::new(parts, (0..chip.dma().engines).map(|index| queue(UnitKind::Dma, index)), chip, peeled.dram),
            host: queue_of(parts, UnitKind::Host, 0).map(|_| Host::new(queue(UnitKind::Host, 0), chip, peeled.host)),
            vector_sleep: Sleep::default(),
            dma_sleep: Sleep::default(),
            by_events,
        })
    }

    /// Runs cycle `cycle`, and those behind it up to `limit` in which the array does what it has planned or only repeats its account, while the
    /// vector unit and the DMA engines work on. Returns the cycle that comes next.
    fn go_on(&mut self, cycle: u64, limit: u64) -> Result<u64, SimError> {
        if let Some(mode) = self.array.next_mode(&self.shared)
            && let Some(other) = self.others.iter_mut().find(|other| other.mode() == mode)
        {
            self.array.hand_over(other);
            std::mem::swap(&mut self.array, other);
        }
        let array = self.array.tick(&mut self.shared, cycle);
        let next = cycle + 1;
        let (to, wakes) = if self.is_cut() { (next, true) } else { self.array_event(next, limit) };
        let mut reached = if to == next { cycle } else { self.work_on(cycle, to, wakes) };
        let (mut vector, mut dma) = (Did::Moved, Did::Moved);
        if reached == cycle {
            vector = self.tick_vector(cycle);
            dma = self.tick_dma(cycle);
            reached = next;
        }
        if reached > next {
            self.array.skip(&mut self.shared, next, reached - next);
        }
        // A fence that ends a program moves nothing.
        if self.end_cycle(reached - 1) || [array, vector, dma].contains(&Did::Moved) || self.done() {
            Ok(reached)
        } else {
            Err(SimError::Deadlock { cycle, waits: self.waits() })
        }
    }

    /// Whether a token was posted in this cycle, which may wake anybody in the next, or a stage ended, whose accounts are read then, or the host
    /// began or ended, by which others' accounts go.
    fn is_cut(&self) -> bool {
        self.shared.tokens.any_posted() || self.shared.accounts.has_ended() || self.host_changes()
    }

    fn host_changes(&self) -> bool {
        let [now, next] = self.shared.host_works;
        now != next
    }

    /// Up to which cycle, `limit` at most, the array only does what it has planned or repeats its account, and whether it wakes then.
    fn array_event(&self, next: u64, limit: u64) -> (u64, bool) {
        let event = if self.array.next_mode(&self.shared).is_some() { Some(next) } else { self.array.next_event(&self.shared, next) };
        (event.unwrap_or(u64::MAX).clamp(next, limit.max(next)), event.is_some())
    }

    /// Lets the vector unit and the DMA engines work on from cycle `cycle` up to `to`, where `wakes` says that the array does something then, or
    /// until a token was posted or a stage ended. Returns the cycle that comes next: `cycle` where nobody would ever do anything.
    fn work_on(&mut self, mut cycle: u64, to: u64, wakes: bool) -> u64 {
        while cycle < to {
            let vector = self.vector_sleep.wakes;
            if vector > cycle {
                self.settle_dma(cycle);
                let reached = self.dma.run_alone(&mut self.shared, cycle, to.min(vector), wakes || vector < u64::MAX);
                self.dma_sleep = Sleep { at: reached, wakes: reached };
                if reached == cycle {
                    break;
                }
                cycle = reached;
            } else {
                self.tick_vector(cycle);
                self.tick_dma(cycle);
                cycle += 1;
            }
            if self.is_cut() {
                break;
            }
        }
        cycle
    }

    /// After every unit's account of a cycle is made; tells whether a token was posted in it.
    fn end_cycle(&mut self, cycle: u64) -> bool {
        if self.shared.tokens.any_posted() || self.host_changes() {
            // What units waited for up to now is told by the tokens of up to now; then all are looked at again.
            self.settle(cycle + 1);
            (self.vector_sleep.wakes, self.dma_sleep.wakes) = (cycle + 1, cycle + 1);
            self.shared.host_works[0] = self.shared.host_works[1];
        }
        let posted = self.shared.tokens.end_cycle();
        if self.shared.accounts.has_ended() {
            let refreshes = self.dma.refreshes_before(&mut self.shared, cycle + 1);
            self.shared.accounts.end_stages(cycle, &self.array.cycles, refreshes);
        }
        posted
    }

    /// Every unit's cycles, in the order of reports.
    fn cycles(&self) -> impl Iterator<Item = &CycleCounts> {
        [&self.array.cycles, &self.vector.cycles]
            .into_iter()
            .chain(self.dma.fronts().map(|front| &front.cycles))
            .chain(self.host.iter().map(|host| &host.cycles))
    }

    /// Cycles that are left to the array at least.
    fn to_stream(&self) -> u64 {
        self.others.iter().map(Array::to_stream).fold(self.array.to_stream(), u64::saturating_add)
    }

    fn done(&self) -> bool {
        self.array.done() && self.vector.done() && self.dma.done() && self.host.as_ref().is_none_or(Host::done)
    }

    fn tick_vector(&mut self, cycle: u64) -> Did {
        if cycle < self.vector_sleep.wakes {
            return self.vector_sleep.did();
        }
        self.settle_vector(cycle);
        let mut did = self.vector.tick(&mut self.shared, cycle);
        let mut wakes = if self.by_events { self.vector.next_event(&self.shared, cycle + 1).unwrap_or(u64::MAX) } else { 0 };
        if let Some(host) = &mut self.host {
            did = if host.tick(&mut self.shared, cycle) == Did::Moved { Did::Moved } else { did };
            wakes = wakes.min(host.next_event(&self.shared, cycle + 1).unwrap_or(u64::MAX));
        }
        self.vector_sleep = Sleep { at: cycle + 1, wakes };
        did
    }

    fn tick_dma(&mut self, cycle: u64) -> Did {
        if cycle < self.dma_sleep.wakes {
            return self.dma_sleep.did();
        }
        self.settle_dma(cycle);
        let did = self.dma.tick(&mut self.shared, cycle);
        let wakes = if self.by_events { self.dma.sleeps_until(&mut self.shared, cycle + 1) } else { 0 };
        self.dma_sleep = Sleep { at: cycle + 1, wakes };
        did
    }

    /// Makes the accounts of units that sleep, up to cycle `to`.
    fn settle(&mut self, to: u64) {
        self.settle_vector(to);
        self.settle_dma(to);
    }

    fn settle_vector(&mut self, to: u64) {
        if to > self.vector_sleep.at {
            self.vector.skip(&self.shared, to - self.vector_sleep.at);
            if let Some(host) = &mut self.host {
                host.skip(&self.shared, to - self.vector_sleep.at);
            }
            self.vector_sleep.at = to;
        }
    }

    fn settle_dma(&mut self, to: u64) {
        if to > self.dma_sleep.at {
            self.dma.skip(&self.shared, self.dma_sleep.at, to - self.dma_sleep.at);
            self.dma_sleep.at = to;
        }
    }

    /// Who waits for what.
    fn waits(&self) -> String {
        let name = |semaphore: u32| &self.shared.program.semaphores[semaphore as usize].name;
        let wait =
            |unit: &str, queue: &Queue<'_>| queue.missing(&self.shared).map(|semaphore| format!("{unit} waits for {}", name(semaphore)));
        let mut waits: Vec<String> = wait("array", self.array.queue()).into_iter().chain(wait("vector", self.vector.queue())).collect();
        waits.extend(self.dma.fronts().enumerate().filter_map(|(number, front)| wait(&format!("dma{number}"), &front.queue)));
        waits.extend(self.host.iter().filter_map(|host| wait("host", host.queue())));
        waits.join(", ")
    }

    /// What lies where the program's output does.
    pub(super) fn output(&self) -> Vec<u8> {
        let output = self.shared.program.output;
        if !self.shared.has_numbers {
            Vec::new()
        } else if output.place == Place::Dram {
            self.shared.dram[size(output.address)..size(output.address + output.bytes)].to_vec()
        } else {
            self.shared.sram_ref(output.place).read(output.address, output.bytes).to_vec()
        }
    }

    fn finish(self, total: u64) -> Run {
        let bytes = self.output();
        let unit = |kind, index| UnitId { core: 0, kind, index };
        let engines = (0..).zip(self.dma.fronts()).map(|(index, _)| unit(UnitKind::Dma, index));
        let names = [unit(UnitKind::Array, 0), unit(UnitKind::Vector, 0)].into_iter().chain(engines).chain([unit(UnitKind::Host, 0)]);
        let units: Vec<UnitRun> = names.zip(self.cycles()).map(|(unit, cycles)| UnitRun { unit, cycles: *cycles }).collect();
        for account in &units {
            assert_eq!(account.cycles.total(), total, "bug: {} did not account for every cycle once; please report it", account.unit);
        }
        Run {
            total_cycles: Cycles::new(total),
            output: bytes,
            passes: self.array.passes_done() + self.others.iter().map(Array::passes_done).sum::<u64>(),
            stages: self.shared.accounts.finish(),
            units,
        }
    }
}

/// Lays the program's images and a batch's inputs into the memories.
pub(super) fn fill(shared: &mut Shared<'_>, inputs: &[&[u8]]) -> Result<(), SimError> {
    let parts = shared.program;
    for image in &parts.images {
        shared.place(image.place, image.address, &image.bytes);
    }
    if inputs.len() != parts.inputs.len() {
        return Err(SimError::InputCount { wanted: parts.inputs.len(), given: inputs.len() });
    }
    for (region, bytes) in parts.inputs.iter().zip(inputs) {
        if bytes.len() as u64 != region.bytes {
            return Err(SimError::InputSize { wanted: region.bytes, given: bytes.len() as u64 });
        }
        shared.place(region.place, region.address, bytes);
        if region.place == Place::Dram {
            shared.code(region.address, region.bytes);
        }
    }
    Ok(())
}

/// The place of a unit's queue in a program's list, if it has one.
fn queue_of(parts: &ProgramParts, kind: UnitKind, index: u32) -> Option<usize> {
    parts.queues.iter().position(|queue| queue.unit == UnitId { core: 0, kind, index })
}
