//! What a walk over the unexpanded program finds: fields out of range, and what each memory is touched by, a loop body once.

use super::super::cursor::MAX_DEPTH;
use super::super::region::Access;
use super::super::{
    ArrayMode, Command, HostRegion, HostWork, Item, MAX_POSTS, Operation, Place, ProgramError, ProgramParts, UnitId, UnitKind, VectorWork,
};
use super::{MAX_ARRAY_COMMANDS, MAX_COMMANDS, host, memories};
use crate::chip::Stationary;
use crate::numerics::{Dtype, VectorKind};

/// The most rows, columns, lanes, and weights of a group of an array.
const MAX_SIZE: u32 = 1 << 16;

/// The most factors that count a value's elements.
const MAX_FACTORS: usize = 64;

/// The most elements that one command of the host makes.
const MAX_HOST_ELEMENTS: u64 = 1 << 40;

/// The most bytes of a sum.
const MAX_ELEMENT_BYTES: u64 = 16;

/// What a walk over the unexpanded program finds.
pub(super) struct Shape {
    pub(super) commands_per_stage: Vec<u64>,
    /// What is written in each memory.
    pub(super) written: Vec<Written>,
    /// The queues that post and that wait for each semaphore.
    pub(super) posters: Vec<Option<usize>>,
    pub(super) waiters: Vec<Option<usize>>,
}

impl Shape {
    pub(super) fn check(parts: &ProgramParts) -> Result<Self, ProgramError> {
        let semaphores = parts.semaphores.len();
        let mut shape = Self {
            commands_per_stage: vec![0; parts.stages.len()],
            written: memories(parts).into_iter().map(|(place, size)| Written { place, size, ranges: Vec::new() }).collect(),
            posters: vec![None; semaphores],
            waiters: vec![None; semaphores],
        };
        sizes(parts)?;
        let mut total = 0_u64;
        for (queue, unit) in parts.queues.iter().map(|queue| queue.unit).enumerate() {
            if parts.queues[..queue].iter().any(|earlier| earlier.unit == unit) {
                return Err(ProgramError::Command { unit, command: 0, problem: "the unit has two queues".to_string() });
            }
            shape.items(parts, queue, &parts.queues[queue].items, &mut Vec::new(), &mut total)?;
        }
        for image in &parts.images {
            let end = image.address.checked_add(image.bytes.len() as u64);
            let size = shape.size_of(image.place);
            if end.is_none_or(|end| end > size) {
                let problem = format!(
                    "an image of {} bytes at {} is outside of the {size} bytes of {}",
                    image.bytes.len(),
                    image.address,
                    image.place
                );
                return Err(ProgramError::Command { unit: host(), command: 0, problem });
            }
        }
        for region in parts.inputs.iter().chain([&parts.output]) {
            let size = shape.size_of(region.place);
            if region.address.checked_add(region.bytes).is_none_or(|end| end > size) {
                let problem = format!("{} bytes at {} are outside of the {size} bytes of {}", region.bytes, region.address, region.place);
                return Err(ProgramError::Command { unit: host(), command: 0, problem });
            }
        }
        for written in &mut shape.written {
            written.settle();
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
                    // A block of blocks without commands takes time as well.
                    let limit = limit(parts);
                    if trips.iter().try_fold(1_u64, |product, trips| product.checked_mul(*trips)).is_none_or(|times| times > limit) {
                        return Err(ProgramError::TooLong { limit });
                    }
                    self.items(parts, queue, &repeat.body, trips, total)?;
                    trips.pop();
                }
                Item::Do(command) => {
                    let times = trips.iter().try_fold(1_u64, |product, trips| product.checked_mul(*trips));
                    let limit = limit(parts);
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
        if command.post.len() > MAX_POSTS {
            return Err(Problem::Text(format!("posts {} semaphores, of at most {}", command.post.len(), MAX_POSTS)));
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
            let format = window.format(parts.mode_of(command.tag.stage).activation);
            if let Some(problem) = window.fault(trips, format) {
                return Err(Problem::Text(problem));
            }
            let size = self.size_of(window.place);
            let end = window.address.greatest(trips).and_then(|first| first.checked_add(window.bytes(format)?));
            if end.is_none_or(|end| end > size) {
                let (place, first) = (window.place, window.address.base);
                return Err(Problem::Bounds { place, first, end: end.unwrap_or(u64::MAX), size });
            }
        }
        for region in command.regions(parts.mode_of(command.tag.stage), parts.accumulator_element_bytes).into_iter().flatten() {
            let size = self.size_of(region.place);
            let last = region.address.greatest(trips);
            let end = last.and_then(|last| last.checked_add(region.extent()?));
            if end.is_none_or(|end| end > size) {
                return Err(Problem::Bounds { place: region.place, first: region.address.base, end: end.unwrap_or(u64::MAX), size });
            }
            if parts.array_only && region.access == Access::Read {
                let within = |input: &HostRegion| {
                    input.place == region.place
                        && input.address <= region.address.base
                        && end.is_some_and(|end| end <= input.address.saturating_add(input.bytes))
                };
                if !parts.inputs.iter().any(within) {
                    let (place, first) = (region.place, region.address.base);
                    return Err(Problem::Text(format!("reads bytes of {place} from {first} on that the host does not write")));
                }
            }
            if region.access != Access::Read {
                self.write(region.place, region.address.base, end.unwrap_or(size));
            }
        }
        Ok(())
    }

    fn operation(&self, parts: &ProgramParts, queue: usize, command: &Command, trips: &[u64]) -> Result<(), Problem> {
        let unit = parts.queues[queue].unit;
        let mode = parts.mode_of(command.tag.stage);
        let (kind, name) = match &command.operation {
            Operation::Mvin(_) => (UnitKind::Dma, "mvin"),
            Operation::Mvout(_) => (UnitKind::Dma, "mvout"),
            Operation::Preload(_) => (UnitKind::Array, "preload"),
            Operation::Compute(_) => (UnitKind::Array, "compute"),
            Operation::Product(_) => (UnitKind::Array, "product"),
            Operation::Requantize(_) => (UnitKind::Vector, "requantize"),
            Operation::Vector(_) => (UnitKind::Vector, "vector"),
            Operation::Host(_) => (UnitKind::Host, "host"),
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
            if self.written.iter().any(|memory| memory.place == place) {
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
                if t.coded.is_some() && name == "mvout" {
                    return Err(Problem::Text("mvout stores no coded block: its length would depend on what is stored".to_string()));
                }
                if let Some(problem) = t.coding_fault() {
                    return Err(Problem::Text(problem));
                }
            }
            Operation::Preload(p) => {
                known(p.place)?;
                of_images(p.window.is_some(), Stationary::Input)?;
                fits(mode.steps(u64::from(p.inner)), p.cols)?;
                // A value that plays the weights has a zero point as well, where its elements lie one by one.
                let plays_weights = mode.stationary == Stationary::Weight && mode.lanes == 1 && mode.group.is_none();
                subtracts(p.zero_point, mode.stationary == Stationary::Input || plays_weights, mode.held())?;
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
                if !stage.fits(r.format) {
                    return Err(Problem::Text(format!("names output stage {}, which does not yield {} alone", r.stage, r.format)));
                }
                if let Some(planes) = &r.planes {
                    if r.format.bits() != 8 {
                        return Err(Problem::Text(format!("its {} results lie in planes, which only elements of a byte do", r.format)));
                    }
                    if let Some(problem) = planes.fault() {
                        return Err(Problem::Text(problem));
                    }
                    if !u64::from(many).is_multiple_of(planes.block) {
                        return Err(Problem::Text(format!("its {many} channels are no whole blocks of {}", planes.block)));
                    }
                }
            }
            Operation::Vector(v) => {
                known(v.place)?;
                vector(parts, v).map_err(Problem::Text)?;
            }
            Operation::Host(h) => host_work(parts, h).map_err(Problem::Text)?,
            Operation::Fence => {}
        }
        Ok(())
    }

    fn size_of(&self, place: Place) -> u64 {
        self.written.iter().find(|memory| memory.place == place).map_or(0, |memory| memory.size)
    }

    fn write(&mut self, place: Place, start: u64, end: u64) {
        if let Some(memory) = self.written.iter_mut().find(|memory| memory.place == place) {
            memory.add(start, end);
        }
    }
}

/// What a vector command says by itself.
fn vector(parts: &ProgramParts, work: &VectorWork) -> Result<(), String> {
    let Some(op) = parts.vector_ops.get(work.op as usize) else {
        return Err(format!("names vector operation {} of {}", work.op, parts.vector_ops.len()));
    };
    let kind = op.kind();
    let name = kind.name();
    if !matches!(work.place, Place::Scratchpad(..)) {
        return Err(format!("works on {}, which is no scratchpad", work.place));
    }
    if work.rows == 0 || work.cols == 0 {
        return Err(format!("works on {} rows of {} elements", work.rows, work.cols));
    }
    if kind.has_window() != work.window.is_some() {
        return Err(format!("{name} {} a window", if work.window.is_some() { "slides no such thing as" } else { "needs" }));
    }
    let inputs = 1 + usize::from(work.second.is_some());
    if inputs != kind.inputs() {
        return Err(format!("{name} reads {} values, and the command gives {inputs}", kind.inputs()));
    }
    let elements = match &work.window {
        // A slide that is out of range is refused later, in its own words.
        Some(window) if kind == VectorKind::Pool => window.slide.filter[0].saturating_mul(window.slide.filter[1]),
        _ => u64::from(work.cols),
    };
    if let Some(window) = &work.window
        && u64::from(work.cols) > window.slide.channels
    {
        return Err(format!("pools {} channels of pixels of {}", work.cols, window.slide.channels));
    }
    if work.window.as_ref().is_some_and(|window| window.planes.is_some()) {
        return Err("pools pixels whose channels lie in planes, which the vector unit cannot read yet".to_string());
    }
    op.fault(elements).map_or(Ok(()), |fault| Err(format!("its {name} {fault}")))
}

/// What a command of the host says by itself.
fn host_work(parts: &ProgramParts, work: &HostWork) -> Result<(), String> {
    let Some(op) = parts.host_ops.get(work.op as usize) else {
        return Err(format!("names operation {} of the host, of {}", work.op, parts.host_ops.len()));
    };
    if !(1..=MAX_HOST_ELEMENTS).contains(&work.elements) {
        return Err(format!("makes {} elements, of 1 to {MAX_HOST_ELEMENTS}", work.elements));
    }
    if let Some(fault) = op.fault(work.elements) {
        return Err(format!("its operation of the host {fault}"));
    }
    let wanted = op.reads(work.elements);
    if work.inputs.len() != wanted.len() {
        return Err(format!("reads {} values, and the command gives {}", wanted.len(), work.inputs.len()));
    }
    for (input, wanted) in work.inputs.iter().zip(wanted) {
        if input.factors.len() > MAX_FACTORS || input.bytes > i64::MAX.unsigned_abs() || input.elements() != Some(wanted) {
            return Err(format!("reads a value that is not {wanted} elements within its {} bytes", input.bytes));
        }
    }
    Ok(())
}

/// The most commands.
fn limit(parts: &ProgramParts) -> u64 {
    if parts.array_only { MAX_ARRAY_COMMANDS } else { MAX_COMMANDS }
}

/// Checks that no count of bytes or of steps that follows from the array can overflow, or has no meaning.
fn sizes(parts: &ProgramParts) -> Result<(), ProgramError> {
    let fault = |problem: String| Err(ProgramError::Command { unit: host(), command: 0, problem });
    if let Some(stage) = parts.stages.iter().find(|stage| stage.mode as usize >= parts.modes.len()) {
        return fault(format!("stage \"{}\" names mode {} of {}", stage.name, stage.mode, parts.modes.len()));
    }
    for mode in &parts.modes {
        if mode.size != parts.modes[0].size {
            return fault("an array has one size, whatever it does".to_string());
        }
        size_of_mode(mode, parts.accumulator_element_bytes).or_else(fault)?;
    }
    let mut free = 0;
    for value in &parts.coded_values {
        if let Some(problem) = value.fault(parts.memories.dram) {
            return fault(problem);
        }
        if value.address < free {
            return fault(format!("the coded value at {} begins before the one before it ends, at {free}", value.address));
        }
        free = value.end();
    }
    Ok(())
}

fn size_of_mode(mode: &ArrayMode, element_bytes: u64) -> Result<(), String> {
    let (n, m) = mode.group.map_or((1, 1), |group| (group.n, group.m));
    let all = [mode.size.rows, mode.size.cols, mode.lanes, n, m];
    if n > m || all.iter().any(|size| !(1..=MAX_SIZE).contains(size)) || element_bytes > MAX_ELEMENT_BYTES {
        return Err(format!(
            "an array of {} x {}, {} lanes, {n} of {m} weights and sums of {element_bytes} bytes is none",
            mode.size.rows, mode.size.cols, mode.lanes
        ));
    }
    Ok(())
}

/// What commands write of a memory.
pub(super) struct Written {
    pub(super) place: Place,
    pub(super) size: u64,
    /// Where commands may write: outside of these bytes none does, inside of them some may not.
    pub(super) ranges: Vec<(u64, u64)>,
}

impl Written {
    fn add(&mut self, start: u64, end: u64) {
        match self.ranges.last_mut() {
            Some(last) if last.0 <= start && start <= last.1 => last.1 = last.1.max(end),
            _ => self.ranges.push((start, end)),
        }
    }

    /// Sorts the ranges and joins those that touch.
    fn settle(&mut self) {
        let mut ranges = std::mem::take(&mut self.ranges);
        ranges.sort_unstable();
        for (start, end) in ranges {
            self.add(start, end);
        }
    }
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
