//! The verifier: what a program must keep to whatever the timing.
//!
//! Addresses are checked symbolically, a loop body once. The order of accesses is checked by vector clocks, as race detectors do
//! (Flanagan, Freund: `FastTrack`, PLDI 2009): a unit knows what happened before through the tokens it took, and two accesses to one
//! place, of which one writes, must be ordered by that knowledge. Playing the token game in any order finds a circular wait if there is
//! one, because each semaphore has one poster and one waiter.

use super::address::gcd;
use super::command::{Access, RegionOf};
use super::cursor::MAX_DEPTH;
use super::{Address, Command, Cursor, HostRegion, Item, Operation, Place, ProgramError, ProgramParts, Semaphore, UnitId, UnitKind};
use crate::chip::Stationary;
use crate::numerics::Dtype;
use std::collections::VecDeque;

/// More commands than this (every iteration counted) are refused: the check would not end in reasonable time.
const MAX_COMMANDS: u64 = 50_000_000;

/// More pieces of one memory than this are refused: their history would not fit.
const MAX_CELLS: usize = 1 << 27;

/// The same for a program for the array alone, whose order needs no check.
const MAX_ARRAY_COMMANDS: u64 = 1 << 40;

/// Verifies a program; the result is how many commands carry each stage's tag.
pub(super) fn verify(parts: &ProgramParts) -> Result<Vec<u64>, ProgramError> {
    if parts.array_only {
        is_for_the_array_alone(parts)?;
    }
    let shape = Shape::check(parts)?;
    let commands_per_stage = shape.commands_per_stage.clone();
    if !parts.array_only {
        Game::new(parts, &shape)?.play()?;
    }
    Ok(commands_per_stage)
}

/// One unit in order, that reads only what the host wrote and updates only sums that begin at zero, can neither race nor wait in a circle,
/// nor read what was never written: nothing is left to play.
fn is_for_the_array_alone(parts: &ProgramParts) -> Result<(), ProgramError> {
    let fault = |problem: &str| {
        Err(ProgramError::Command { unit: host(), command: 0, problem: format!("a program for the array alone {problem}") })
    };
    match parts.queues.as_slice() {
        [queue] if queue.unit.kind == UnitKind::Array => {}
        _ => return fault("has one queue, the array's"),
    }
    if !parts.semaphores.is_empty() {
        return fault("has no semaphores");
    }
    if !matches!(parts.output.place, Place::Accumulator(_)) {
        return fault("leaves its results in the accumulator");
    }
    Ok(())
}

/// What a walk over the unexpanded program finds.
struct Shape {
    commands_per_stage: Vec<u64>,
    /// What is touched of each memory.
    touched: Vec<Touched>,
    posters: Vec<Option<usize>>,
    waiters: Vec<Option<usize>>,
}

impl Shape {
    fn check(parts: &ProgramParts) -> Result<Self, ProgramError> {
        let semaphores = parts.semaphores.len();
        let mut shape = Self {
            commands_per_stage: vec![0; parts.stages.len()],
            touched: memories(parts).into_iter().map(|(place, _)| Touched { place, granule: 0, end: 0 }).collect(),
            posters: vec![None; semaphores],
            waiters: vec![None; semaphores],
        };
        let mut total = 0_u64;
        for (queue, unit) in parts.queues.iter().map(|queue| queue.unit).enumerate() {
            if parts.queues[..queue].iter().any(|earlier| earlier.unit == unit) {
                return Err(ProgramError::Command { unit, command: 0, problem: "the unit has two queues".to_string() });
            }
            shape.items(parts, queue, &parts.queues[queue].items, &mut Vec::new(), &mut total)?;
        }
        for image in &parts.images {
            let end = image.address.checked_add(image.bytes.len() as u64);
            let size = size_of(parts, image.place);
            if end.is_none_or(|end| end > size) {
                let problem = format!(
                    "an image of {} bytes at {} is outside of the {size} bytes of {}",
                    image.bytes.len(),
                    image.address,
                    image.place
                );
                return Err(ProgramError::Command { unit: host(), command: 0, problem });
            }
            shape.touch(image.place, [image.address, image.bytes.len() as u64], end.unwrap_or(size));
        }
        for region in parts.inputs.iter().chain([&parts.output]) {
            let size = size_of(parts, region.place);
            if region.address.checked_add(region.bytes).is_none_or(|end| end > size) {
                let problem = format!("{} bytes at {} are outside of the {size} bytes of {}", region.bytes, region.address, region.place);
                return Err(ProgramError::Command { unit: host(), command: 0, problem });
            }
            shape.touch(region.place, [region.address, region.bytes], region.address + region.bytes);
        }
        Ok(shape)
    }

    fn items(
        &mut self,
        parts: &ProgramParts,
        queue: usize,
        items: &[Item],
        trips: &mut Vec<u64>,
        total: &mut u64,
    ) -> Result<(), ProgramError> {
        let unit = parts.queues[queue].unit;
        for item in items {
            match item {
                Item::Repeat(repeat) => {
                    if trips.len() == MAX_DEPTH {
                        let problem = format!("blocks nest deeper than {MAX_DEPTH}");
                        return Err(ProgramError::Command { unit, command: *total, problem });
                    }
                    trips.push(repeat.trips);
                    self.items(parts, queue, &repeat.body, trips, total)?;
                    trips.pop();
                }
                Item::Do(command) => {
                    let times = trips.iter().try_fold(1_u64, |product, trips| product.checked_mul(*trips));
                    let limit = if parts.array_only { MAX_ARRAY_COMMANDS } else { MAX_COMMANDS };
                    let sum = times.and_then(|times| total.checked_add(times)).filter(|sum| *sum <= limit);
                    let (Some(times), Some(sum)) = (times, sum) else { return Err(ProgramError::TooLong { limit }) };
                    if times > 0 {
                        self.command(parts, queue, command, trips).map_err(|problem| problem.at(unit, *total))?;
                        self.commands_per_stage[command.tag.stage as usize] += times;
                    }
                    *total = sum;
                }
            }
        }
        Ok(())
    }

    fn command(&mut self, parts: &ProgramParts, queue: usize, command: &Command, trips: &[u64]) -> Result<(), Problem> {
        if command.tag.stage as usize >= parts.stages.len() {
            return Err(Problem::Text(format!("its tag names stage {} of {}", command.tag.stage, parts.stages.len())));
        }
        if command.post.len() > super::MAX_POSTS {
            return Err(Problem::Text(format!("posts {} semaphores, of at most {}", command.post.len(), super::MAX_POSTS)));
        }
        for (syncs, owners, what) in [(&command.wait, &mut self.waiters, "wait for"), (&command.post, &mut self.posters, "post")] {
            for sync in syncs {
                let Some(owner) = owners.get_mut(sync.semaphore.0 as usize) else {
                    return Err(Problem::Text(format!("names semaphore {} of {}", sync.semaphore.0, parts.semaphores.len())));
                };
                if owner.is_some_and(|owner| owner != queue) {
                    let name = &parts.semaphores[sync.semaphore.0 as usize].name;
                    return Err(Problem::Text(format!("two units {what} semaphore {name}")));
                }
                *owner = Some(queue);
            }
        }
        self.operation(parts, queue, command, trips)?;
        if let Some(window) = command.window() {
            if parts.array_only {
                return Err(Problem::Text("reads images, which a program for the array alone does not".to_string()));
            }
            let pixel = |channels| parts.array.activation.packed_bytes(channels);
            if let Some(problem) = window.fault(trips, pixel) {
                return Err(Problem::Text(problem));
            }
            let size = size_of(parts, window.place);
            let end = window.address.greatest(trips).and_then(|first| first.checked_add(window.bytes()?));
            if end.is_none_or(|end| end > size) {
                let (place, first) = (window.place, window.address.base);
                return Err(Problem::Bounds { place, first, end: end.unwrap_or(u64::MAX), size });
            }
            let pixel = parts.array.activation.packed_bytes(window.channels());
            self.touch(window.place, [window.address.granule(), window.pitch, pixel], end.unwrap_or(size));
        }
        for region in command.regions(&parts.array, parts.accumulator_element_bytes).into_iter().flatten() {
            let size = size_of(parts, region.place);
            let last = region.address.greatest(trips);
            let end = last.and_then(|last| region.stride.checked_mul(region.rows - 1)?.checked_add(region.row_bytes)?.checked_add(last));
            if end.is_none_or(|end| end > size) {
                return Err(Problem::Bounds { place: region.place, first: region.address.base, end: end.unwrap_or(u64::MAX), size });
            }
            if parts.array_only && region.access == Access::Read {
                let within = |input: &HostRegion| {
                    input.place == region.place
                        && input.address <= region.address.base
                        && end.is_some_and(|end| end <= input.address + input.bytes)
                };
                if !parts.inputs.iter().any(within) {
                    let (place, first) = (region.place, region.address.base);
                    return Err(Problem::Text(format!("reads bytes of {place} from {first} on that the host does not write")));
                }
            }
            let stride = if region.rows > 1 { region.stride } else { 0 };
            self.touch(region.place, [region.address.granule(), stride, region.row_bytes], end.unwrap_or(size));
        }
        Ok(())
    }

    fn operation(&self, parts: &ProgramParts, queue: usize, command: &Command, trips: &[u64]) -> Result<(), Problem> {
        let unit = parts.queues[queue].unit;
        let mode = &parts.array;
        let (kind, name) = match &command.operation {
            Operation::Mvin(_) => (UnitKind::Dma, "mvin"),
            Operation::Mvout(_) => (UnitKind::Dma, "mvout"),
            Operation::Preload(_) => (UnitKind::Array, "preload"),
            Operation::Compute(_) => (UnitKind::Array, "compute"),
            Operation::Product(_) => (UnitKind::Array, "product"),
            Operation::Requantize(_) => (UnitKind::Vector, "requantize"),
            Operation::Fence => return Ok(()),
        };
        if unit.kind != kind {
            return Err(Problem::Text(format!("{unit} cannot do {name}")));
        }
        if (name == "product") != (mode.stationary == Stationary::Output) && kind == UnitKind::Array {
            return Err(Problem::Text(format!("{name} is no command of an array in which {:?} stays", mode.stationary)));
        }
        let fits = |rows: u64, cols: u32| {
            if rows == 0 || cols == 0 || rows > u64::from(mode.size.rows) || cols > mode.size.cols {
                return Err(Problem::Text(format!("{name} fills {rows} x {cols} of an array of {} x {}", mode.size.rows, mode.size.cols)));
            }
            Ok(())
        };
        let known = |place: Place| {
            if self.touched.iter().any(|touched| touched.place == place) {
                Ok(())
            } else {
                Err(Problem::Text(format!("{name} names {place}, which the program has not")))
            }
        };
        let subtracts = |zero_point: i32, allowed: bool, format: Dtype| match (zero_point, format) {
            (0, _) => Ok(()),
            (_, Dtype::Binary | Dtype::Int16) => {
                Err(Problem::Text(format!("subtracts a zero point of {zero_point} from {format}, which has none")))
            }
            _ if !allowed => Err(Problem::Text(format!("subtracts a zero point of {zero_point} from weights"))),
            _ if zero_point < format.min() || zero_point > format.max() => {
                Err(Problem::Text(format!("subtracts a zero point of {zero_point}, which is no {format}")))
            }
            _ => Ok(()),
        };
        let of_images = |window: bool, stationary| {
            if window && mode.stationary != stationary {
                return Err(Problem::Text(format!("{name} reads weights, which do not lie as images")));
            }
            Ok(())
        };
        match &command.operation {
            Operation::Mvin(t) | Operation::Mvout(t) => {
                known(t.place)?;
                if t.rows == 0 || t.row_bytes == 0 || t.place == Place::Dram {
                    return Err(Problem::Text(format!(
                        "{name} moves {} rows of {} bytes between dram and {}",
                        t.rows, t.row_bytes, t.place
                    )));
                }
            }
            Operation::Preload(p) => {
                known(p.place)?;
                of_images(p.window.is_some(), Stationary::Input)?;
                fits(mode.steps(u64::from(p.inner)), p.cols)?;
                subtracts(p.zero_point, mode.stationary == Stationary::Input, mode.held())?;
            }
            Operation::Compute(c) => {
                known(c.place)?;
                of_images(c.window.is_some(), Stationary::Weight)?;
                fits(mode.steps(u64::from(c.inner)), c.cols)?;
                if c.vectors == 0 {
                    return Err(Problem::Text("compute streams no vector".to_string()));
                }
                subtracts(c.zero_point, mode.stationary == Stationary::Weight, mode.streamed())?;
            }
            Operation::Product(p) => {
                known(p.activation_place)?;
                known(p.weight_place)?;
                fits(u64::from(p.rows), p.cols)?;
                if p.inner == 0 {
                    return Err(Problem::Text("product multiplies no element of K".to_string()));
                }
                subtracts(p.zero_point, true, mode.activation)?;
            }
            Operation::Requantize(r) => {
                known(r.place)?;
                let Some(stage) = parts.output_stages.get(r.stage as usize) else {
                    return Err(Problem::Text(format!("names output stage {} of {}", r.stage, parts.output_stages.len())));
                };
                let many = if r.by_channels { r.rows } else { r.cols };
                let channels = r.channel.greatest(trips).and_then(|first| first.checked_add(u64::from(many)));
                if r.rows == 0
                    || r.cols == 0
                    || (stage.channels() > 1 && channels.is_none_or(|channels| channels > stage.channels() as u64))
                {
                    return Err(Problem::Text(format!(
                        "requantizes {} x {} sums, past the {} channels of its stage",
                        r.rows,
                        r.cols,
                        stage.channels()
                    )));
                }
            }
            Operation::Fence => {}
        }
        Ok(())
    }

    /// Notes an access that is made of these parts and ends here.
    fn touch<const N: usize>(&mut self, place: Place, parts: [u64; N], end: u64) {
        if let Some(touched) = self.touched.iter_mut().find(|touched| touched.place == place) {
            touched.granule = parts.into_iter().fold(touched.granule, gcd);
            touched.end = touched.end.max(end);
        }
    }
}

/// What a program touches of a memory.
struct Touched {
    place: Place,
    /// Bytes that every access is a multiple of.
    granule: u64,
    /// One past the last byte.
    end: u64,
}

/// A fault in one command, before it is known where.
enum Problem {
    Text(String),
    Bounds { place: Place, first: u64, end: u64, size: u64 },
}

impl Problem {
    fn at(self, unit: UnitId, command: u64) -> ProgramError {
        match self {
            Self::Text(problem) => ProgramError::Command { unit, command, problem },
            Self::Bounds { place, first, end, size } => ProgramError::OutOfBounds { unit, command, place, first, end, size },
        }
    }
}

fn host() -> UnitId {
    UnitId { core: 0, kind: UnitKind::Dma, index: 0 }
}

/// The program's memories and their sizes.
fn memories(parts: &ProgramParts) -> Vec<(Place, u64)> {
    let mut all = vec![(Place::Dram, parts.memories.dram), (Place::Accumulator(0), parts.memories.accumulator)];
    for (index, size) in (0..).zip(&parts.memories.scratchpads) {
        all.push((Place::Scratchpad(0, index), *size));
    }
    all
}

fn size_of(parts: &ProgramParts, place: Place) -> u64 {
    memories(parts).into_iter().find(|(known, _)| *known == place).map_or(0, |(_, size)| size)
}

/// The token game with vector clocks. A thread is what completes in order: a unit, but for the array, whose preloads and passes
/// complete apart.
struct Game<'p> {
    parts: &'p ProgramParts,
    posters: &'p [Option<usize>],
    cursors: Vec<Cursor<'p>>,
    issued: Vec<u32>,
    /// For each unit, its last preload.
    last_preload: Vec<u32>,
    /// For each unit, the last command of each thread that is known to have ended.
    known: Vec<Clock>,
    tokens: Vec<VecDeque<Clock>>,
    memories: Vec<MemoryHistory>,
}

/// The number of commands that each thread is known to have ended.
type Clock = Vec<u32>;

struct MemoryHistory {
    place: Place,
    granule: u64,
    /// Thread and command that wrote each granule last.
    writers: Vec<Writer>,
    /// The last command of each thread that read each granule.
    readers: Vec<u32>,
}

#[derive(Clone, Copy, PartialEq)]
enum Writer {
    Nobody,
    Host,
    Thread(u8, u32),
}

impl<'p> Game<'p> {
    fn new(parts: &'p ProgramParts, shape: &'p Shape) -> Result<Self, ProgramError> {
        let threads = 2 * parts.queues.len();
        let mut memories = Vec::new();
        for Touched { place, granule, end } in &shape.touched {
            let granule = (*granule).max(1);
            let cells = usize::try_from(end.div_ceil(granule)).ok().filter(|cells| *cells <= MAX_CELLS);
            let Some(cells) = cells else {
                let problem = format!("{end} bytes of {place} are too many to check in steps of {granule} bytes");
                return Err(ProgramError::Command { unit: host(), command: 0, problem });
            };
            memories.push(MemoryHistory {
                place: *place,
                granule,
                writers: vec![Writer::Nobody; cells],
                readers: vec![0; cells * threads],
            });
        }
        let mut game = Self {
            parts,
            posters: &shape.posters,
            cursors: parts.queues.iter().map(|queue| Cursor::new(&queue.items)).collect(),
            issued: vec![0; parts.queues.len()],
            last_preload: vec![0; parts.queues.len()],
            known: vec![vec![0; threads]; parts.queues.len()],
            tokens: parts.semaphores.iter().map(|decl| (0..decl.tokens).map(|_| vec![0; threads]).collect()).collect(),
            memories,
        };
        for image in &parts.images {
            game.host_writes(image.place, image.address, image.bytes.len() as u64);
        }
        for input in &parts.inputs {
            game.host_writes(input.place, input.address, input.bytes);
        }
        Ok(game)
    }

    fn host_writes(&mut self, place: Place, address: u64, bytes: u64) {
        let memory = self.memories.iter_mut().find(|memory| memory.place == place).expect("bug: an image's place was checked before");
        for cell in memory.cells(address, bytes) {
            memory.writers[cell] = Writer::Host;
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
        let memory = self.memories.iter().find(|memory| memory.place == output.place).expect("bug: the output's place was checked before");
        if let Some(cell) = memory.cells(output.address, output.bytes).find(|cell| memory.writers[*cell] == Writer::Nobody) {
            let byte = cell as u64 * memory.granule;
            return Err(ProgramError::NeverWritten { unit: host(), command: 0, place: output.place, byte });
        }
        Ok(())
    }

    fn missing(&self, unit: usize) -> Option<Semaphore> {
        let cursor = &self.cursors[unit];
        let command = cursor.command()?;
        command
            .wait
            .iter()
            .find(|sync| cursor.waits(**sync) && self.tokens[sync.semaphore.0 as usize].is_empty())
            .map(|sync| sync.semaphore)
    }

    fn wait_of(&self, unit: usize) -> Option<String> {
        let semaphore = self.missing(unit)?;
        let poster = match self.posters[semaphore.0 as usize] {
            Some(poster) => format!("which {} posts", self.parts.queues[poster].unit),
            None => "which nobody posts".to_string(),
        };
        let name = &self.parts.semaphores[semaphore.0 as usize].name;
        Some(format!("{} waits at command {} for {name}, {poster}", self.parts.queues[unit].unit, self.issued[unit]))
    }

    fn try_command(&mut self, unit: usize) -> Result<bool, ProgramError> {
        let Some(command) = self.cursors[unit].command() else { return Ok(false) };
        if self.missing(unit).is_some() {
            return Ok(false);
        }
        for sync in &command.wait {
            if self.cursors[unit].waits(*sync) {
                let Some(token) = self.tokens[sync.semaphore.0 as usize].pop_front() else { return Ok(false) };
                for (known, seen) in self.known[unit].iter_mut().zip(&token) {
                    *known = (*known).max(*seen);
                }
            }
        }
        self.issued[unit] += 1;
        let thread = 2 * unit + usize::from(matches!(command.operation, Operation::Preload(_)));
        if thread > 2 * unit {
            self.last_preload[unit] = self.issued[unit];
        }
        if let Some(window) = command.window() {
            for pixels in window.reads(self.cursors[unit].counters()).into_iter().filter(|pixels| !pixels.is_empty()) {
                let address = Address::at(window.address.resolve(self.cursors[unit].counters()) + pixels.start * window.pitch);
                let region = RegionOf {
                    place: window.place,
                    address: &address,
                    stride: window.pitch,
                    rows: pixels.end - pixels.start,
                    row_bytes: self.parts.array.activation.packed_bytes(window.channels()),
                    access: Access::Read,
                };
                self.touch(unit, thread, region)?;
            }
        }
        for region in command.regions(&self.parts.array, self.parts.accumulator_element_bytes).into_iter().flatten() {
            self.touch(unit, thread, region)?;
        }
        for sync in &command.post {
            if self.cursors[unit].posts(*sync) {
                let mut token = self.known[unit].clone();
                token[thread] = self.issued[unit];
                if thread == 2 * unit {
                    // A pass starts when the tiles before it have been loaded.
                    token[thread + 1] = token[thread + 1].max(self.last_preload[unit]);
                }
                self.tokens[sync.semaphore.0 as usize].push_back(token);
            }
        }
        self.cursors[unit].advance();
        Ok(true)
    }

    fn touch(&mut self, unit: usize, thread: usize, region: RegionOf<'_>) -> Result<(), ProgramError> {
        let start = region.address.resolve(self.cursors[unit].counters());
        let now = self.issued[unit];
        let queues = &self.parts.queues;
        let known = &self.known[unit];
        let ordered = |other: usize, command: u32| other == thread || command <= known[other];
        let memory =
            self.memories.iter_mut().find(|memory| memory.place == region.place).expect("bug: a region's place was checked before");
        let threads = known.len();
        let command = u64::from(now - 1);
        let race = |cell: usize, granule: u64, access, other: usize, other_command: u32, other_access| ProgramError::Race {
            unit: queues[unit].unit,
            command,
            access,
            place: region.place,
            byte: cell as u64 * granule,
            other: queues[other / 2].unit,
            other_command: u64::from(other_command - 1),
            other_access,
        };
        let access = if region.access == Access::Read { "reads" } else { "writes" };
        for row in 0..region.rows {
            for cell in memory.cells(start + row * region.stride, region.row_bytes) {
                match memory.writers[cell] {
                    Writer::Nobody if region.access != Access::Write => {
                        let byte = cell as u64 * memory.granule;
                        return Err(ProgramError::NeverWritten { unit: queues[unit].unit, command, place: region.place, byte });
                    }
                    Writer::Thread(other, written) if !ordered(usize::from(other), written) => {
                        return Err(race(cell, memory.granule, access, usize::from(other), written, "writes"));
                    }
                    _ => {}
                }
                let readers = &mut memory.readers[cell * threads..(cell + 1) * threads];
                if region.access == Access::Read {
                    readers[thread] = now;
                } else {
                    if let Some(other) = (0..threads).find(|other| readers[*other] > 0 && !ordered(*other, readers[*other])) {
                        return Err(race(cell, memory.granule, access, other, readers[other], "reads"));
                    }
                    let thread = u8::try_from(thread).expect("bug: a chip has fewer than 128 units");
                    memory.writers[cell] = Writer::Thread(thread, now);
                }
            }
        }
        Ok(())
    }
}

impl MemoryHistory {
    fn cells(&self, address: u64, bytes: u64) -> std::ops::Range<usize> {
        let index = |byte: u64| usize::try_from(byte / self.granule).expect("bug: a checked address fits in memory");
        index(address)..index(address + bytes)
    }
}
