//! The token game with vector clocks. A thread is what completes in order: a unit, but for the array, whose preloads and passes complete
//! apart.

use super::history::{History, Refusal, TooMany};
use super::host;
use super::piece::{Accessor, Fault};
use super::shape::Shape;
use crate::program::region::{Access, RegionOf};
use crate::program::{Command, Cursor, HostRegion, Operation, Place, ProgramError, ProgramParts, Semaphore, UnitKind};
use std::collections::VecDeque;

/// The most threads of a program.
const MAX_THREADS: usize = 512;

/// More tokens than this that are posted and not taken are refused.
const MAX_TOKENS: usize = 1 << 22;

/// Plays a program whose shape was checked.
pub(super) fn play(parts: &ProgramParts, shape: &Shape) -> Result<(), ProgramError> {
    let threads: usize = parts.queues.iter().map(|queue| threads_of(queue.unit.kind)).sum();
    match threads {
        0..=8 => Game::<8>::new(parts, shape).play(),
        9..=64 => Game::<64>::new(parts, shape).play(),
        65..=MAX_THREADS => Game::<MAX_THREADS>::new(parts, shape).play(),
        _ => {
            let problem = format!("{} units are too many to check", parts.queues.len());
            Err(ProgramError::Command { unit: host(), command: 0, problem })
        }
    }
}

fn threads_of(kind: UnitKind) -> usize {
    if kind == UnitKind::Array { 2 } else { 1 }
}

/// The number of commands that each thread is known to have ended.
type Clock<const T: usize> = [u32; T];

struct Game<'p, const T: usize> {
    parts: &'p ProgramParts,
    posters: &'p [Option<usize>],
    waiters: &'p [Option<usize>],
    cursors: Vec<Cursor<'p>>,
    /// The first thread of each unit; an array's preloads are the next one.
    threads: Vec<usize>,
    issued: Vec<u32>,
    /// For each unit, its last preload.
    last_preload: Vec<u32>,
    /// For each unit, the last command of each thread that is known to have ended.
    known: Vec<Clock<T>>,
    tokens: Vec<Tokens<T>>,
    /// Tokens that were posted and not taken.
    posted: usize,
    memories: Vec<History<T>>,
}

/// The tokens of a semaphore.
struct Tokens<const T: usize> {
    /// Those of the start that are left, which tell nothing and are taken first.
    initial: u32,
    posted: VecDeque<Clock<T>>,
}

impl<const T: usize> Tokens<T> {
    fn is_empty(&self) -> bool {
        self.initial == 0 && self.posted.is_empty()
    }
}

impl<'p, const T: usize> Game<'p, T> {
    fn new(parts: &'p ProgramParts, shape: &'p Shape) -> Self {
        let mut threads = Vec::with_capacity(parts.queues.len());
        let mut next = 0;
        for queue in &parts.queues {
            threads.push(next);
            next += threads_of(queue.unit.kind);
        }
        let memories = shape.written.iter().map(|written| {
            let images = parts.images.iter().map(|image| (image.place, image.address, image.bytes.len() as u64));
            let inputs = parts.inputs.iter().map(|HostRegion { place, address, bytes }| (*place, *address, *bytes));
            let here = images.chain(inputs).filter(|(place, ..)| *place == written.place);
            let host: Vec<(u64, u64)> = here.map(|(_, address, bytes)| (address, address + bytes)).collect();
            History::new(written.place, written.size, &host, &written.ranges)
        });
        Self {
            parts,
            posters: &shape.posters,
            waiters: &shape.waiters,
            cursors: parts.queues.iter().map(|queue| Cursor::new(&queue.items)).collect(),
            threads,
            issued: vec![0; parts.queues.len()],
            last_preload: vec![0; parts.queues.len()],
            known: vec![[0; T]; parts.queues.len()],
            tokens: parts.semaphores.iter().map(|decl| Tokens { initial: decl.tokens, posted: VecDeque::new() }).collect(),
            posted: 0,
            memories: memories.collect(),
        }
    }

    fn play(mut self) -> Result<(), ProgramError> {
        loop {
            let mut moved = false;
            for unit in 0..self.cursors.len() {
                while self.try_command(unit)? {
                    moved = true;
                }
            }
            if !moved {
                break;
            }
        }
        let waits: Vec<String> = (0..self.cursors.len()).filter_map(|unit| self.wait_of(unit)).collect();
        if !waits.is_empty() {
            return Err(ProgramError::CircularWait { waits: waits.join("; ") });
        }
        let output = self.parts.output;
        let memory = self.memories.iter().find(|memory| memory.place == output.place);
        if let Some(byte) = memory.and_then(|memory| memory.never_written(output.address, output.address + output.bytes)) {
            return Err(ProgramError::NeverWritten { unit: host(), command: 0, place: output.place, byte });
        }
        Ok(())
    }

    /// The first semaphore that a command of this unit, the next one, has to wait for.
    fn missing(&self, unit: usize, command: &Command) -> Option<Semaphore> {
        let cursor = &self.cursors[unit];
        command
            .wait
            .iter()
            .find(|sync| self.tokens[sync.semaphore.0 as usize].is_empty() && cursor.waits(**sync))
            .map(|sync| sync.semaphore)
    }

    fn wait_of(&self, unit: usize) -> Option<String> {
        let semaphore = self.missing(unit, self.cursors[unit].command()?)?;
        let poster = match self.posters[semaphore.0 as usize] {
            Some(poster) => format!("which {} posts", self.parts.queues[poster].unit),
            None => "which nobody posts".to_string(),
        };
        let name = &self.parts.semaphores[semaphore.0 as usize].name;
        Some(format!("{} waits at command {} for {name}, {poster}", self.parts.queues[unit].unit, self.issued[unit]))
    }

    fn try_command(&mut self, unit: usize) -> Result<bool, ProgramError> {
        let Some(command) = self.cursors[unit].command() else { return Ok(false) };
        if self.missing(unit, command).is_some() {
            return Ok(false);
        }
        for sync in &command.wait {
            if self.cursors[unit].waits(*sync) {
                let tokens = &mut self.tokens[sync.semaphore.0 as usize];
                if tokens.initial > 0 {
                    tokens.initial -= 1;
                    continue;
                }
                let Some(token) = tokens.posted.pop_front() else { return Ok(false) };
                self.posted -= 1;
                for (known, seen) in self.known[unit].iter_mut().zip(&token) {
                    *known = (*known).max(*seen);
                }
            }
        }
        self.issued[unit] += 1;
        let first = self.threads[unit];
        let thread = first + usize::from(matches!(command.operation, Operation::Preload(_)));
        if thread > first {
            self.last_preload[unit] = self.issued[unit];
        } else if self.parts.queues[unit].unit.kind == UnitKind::Array {
            // A pass starts when the tiles before it have been loaded.
            let known = &mut self.known[unit][first + 1];
            *known = (*known).max(self.last_preload[unit]);
        }
        let mode = self.parts.mode_of(command.tag.stage);
        if let Some(window) = command.window() {
            let counters = self.cursors[unit].counters().to_vec();
            window.regions(&counters, window.format(mode.activation), |region| self.touch(unit, thread, region))?;
        }
        for region in command.regions(mode, self.parts.accumulator_element_bytes).into_iter().flatten() {
            self.touch(unit, thread, &region)?;
        }
        for sync in &command.post {
            let semaphore = sync.semaphore.0 as usize;
            // What nobody waits for tells nobody anything.
            if self.waiters[semaphore].is_some() && self.cursors[unit].posts(*sync) {
                let mut token = self.known[unit];
                token[thread] = self.issued[unit];
                self.tokens[semaphore].posted.push_back(token);
                self.posted += 1;
            }
        }
        if self.posted > MAX_TOKENS {
            let problem = format!("more than {MAX_TOKENS} tokens that nobody took yet are too many to check");
            return Err(ProgramError::Command { unit: self.parts.queues[unit].unit, command: u64::from(self.issued[unit] - 1), problem });
        }
        self.cursors[unit].advance();
        Ok(true)
    }

    fn touch(&mut self, unit: usize, thread: usize, region: &RegionOf<'_>) -> Result<(), ProgramError> {
        let start = region.address.resolve(self.cursors[unit].counters());
        let mut by = Accessor { access: region.access, thread, command: self.issued[unit], known: self.known[unit] };
        // A thread ends its commands in order.
        by.known[thread] = u32::MAX;
        let Self { memories, cursors, threads, known, parts, .. } = self;
        let floor = || floor(parts, cursors, threads, known);
        let Some(memory) = memories.iter_mut().find(|memory| memory.place == region.place) else { return Ok(()) };
        let result = memory.touch(start, &region.coalesced(), &by, &floor);
        result.map_err(|refusal| self.error(unit, region, refusal))
    }

    fn error(&self, unit: usize, region: &RegionOf<'_>, refusal: Refusal) -> ProgramError {
        let command = u64::from(self.issued[unit] - 1);
        let owner = |thread| self.parts.queues[self.threads.partition_point(|first| *first <= thread) - 1].unit;
        let (unit, place) = (self.parts.queues[unit].unit, region.place);
        match refusal {
            Refusal::Fault(byte, Fault::NeverWritten) => ProgramError::NeverWritten { unit, command, place, byte },
            Refusal::Fault(byte, Fault::Race { other, command: other_command, wrote }) => ProgramError::Race {
                unit,
                command,
                access: if region.access == Access::Read { "reads" } else { "writes" },
                place,
                byte,
                other: owner(other),
                other_command: u64::from(other_command - 1),
                other_access: if wrote { "writes" } else { "reads" },
            },
            Refusal::TooMany(what) => ProgramError::Command { unit, command, problem: too_many(place, what) },
        }
    }
}

fn too_many(place: Place, what: TooMany) -> String {
    match what {
        TooMany::Pieces(limit) => format!("{place} is touched in more than {limit} pieces, too many to check"),
        TooMany::Visits => format!("{place} is touched in too many small pieces to check"),
    }
}

/// The last command of each thread that every other thread which has something left to do knows to have ended. Nobody will ever be found
/// unordered with it.
fn floor<const T: usize>(parts: &ProgramParts, cursors: &[Cursor<'_>], threads: &[usize], known: &[Clock<T>]) -> Clock<T> {
    let mut floor = [u32::MAX; T];
    for (unit, clock) in known.iter().enumerate().filter(|(unit, _)| cursors[*unit].command().is_some()) {
        let own = threads[unit];
        let alone = threads_of(parts.queues[unit].unit.kind) == 1;
        for (thread, (floor, known)) in floor.iter_mut().zip(clock).enumerate() {
            if !(alone && thread == own) {
                *floor = (*floor).min(*known);
            }
        }
    }
    floor
}
