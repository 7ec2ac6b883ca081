//! What became of every command of a run that somebody watches: when it started and ended, on which unit, and whose tokens it took.
//!
//! It is told once when a command starts and once when it ends. Not here: cycles of units (`accounts`), and how full memories are
//! (`occupancy`).

use super::occupancy::{Occupancy, Tracker};
use crate::counts::Operand;
use crate::program::{Access, Block, Command, Cursor, Operation, Place, ProgramParts, Tag, UnitId};
use crate::units::Tick;
use std::collections::VecDeque;

/// A command that was started.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandRun {
    /// The unit.
    pub unit: UnitId,
    /// What it belongs to.
    pub tag: Tag,
    /// What it does, such as `mvin`.
    pub operation: &'static str,
    /// What moves, of a transfer.
    pub operand: Option<Operand>,
    /// How large it is, such as `bytes` across DRAM's bus or `vectors` that stream.
    pub sizes: Vec<(&'static str, u64)>,
    /// The cycle in which it started.
    pub first_tick: Tick,
    /// The cycle in which it ended; none where the watch ended first.
    pub last_tick: Option<Tick>,
}

/// A token that one command posted and another took.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TokenRun {
    /// The semaphore, an index into the program's list.
    pub semaphore: u32,
    /// The command that posted it, an index into the commands of the watch.
    pub from: usize,
    /// The command that took it. Tokens of a semaphore are alike; they are taken in the order in which they were posted.
    pub to: usize,
}

/// A part of a memory that a command under way touches.
#[derive(Debug)]
struct Touch {
    place: Place,
    address: u64,
    block: Block,
    access: Access,
}

/// The log.
#[derive(Debug)]
pub(super) struct Log<'p> {
    program: &'p ProgramParts,
    /// The most commands.
    most: usize,
    pub(super) commands: Vec<CommandRun>,
    pub(super) tokens: Vec<TokenRun>,
    /// Who posted the tokens of each semaphore that nobody took yet; none of those that were there at the start.
    posted: Vec<VecDeque<Option<usize>>>,
    /// What the commands touch that have not ended.
    touches: Vec<Vec<Touch>>,
    memories: Vec<Tracker>,
}

impl<'p> Log<'p> {
    /// A log of at most `most` commands of a program.
    pub(super) fn new(program: &'p ProgramParts, most: usize) -> Self {
        let pads = (0..).zip(&program.memories.scratchpads).map(|(index, bytes)| (Place::Scratchpad(0, index), *bytes));
        let mut memories: Vec<Tracker> = pads.map(|(place, bytes)| Tracker::new(place, bytes)).collect();
        memories.push(Tracker::new(Place::Accumulator(0), program.memories.accumulator));
        let images = program.images.iter().map(|image| (image.place, image.address, image.bytes.len() as u64));
        for (place, address, bytes) in images.chain(program.inputs.iter().map(|input| (input.place, input.address, input.bytes))) {
            if let Some(memory) = memories.iter_mut().find(|memory| memory.place() == place) {
                memory.fill(address, bytes);
            }
        }
        let at_start = |tokens: u32| VecDeque::from(vec![None; tokens as usize]);
        let posted = program.semaphores.iter().map(|semaphore| at_start(semaphore.tokens)).collect();
        Self { program, most, commands: Vec::new(), tokens: Vec::new(), posted, touches: Vec::new(), memories }
    }

    /// Whether there were more commands than it holds.
    pub(super) fn is_full(&self) -> bool {
        self.commands.len() > self.most
    }

    /// A command of the queue at `place` starts, whose waits are met; its number. The cursor still stands before it.
    pub(super) fn start(&mut self, place: usize, command: &Command, cursor: &Cursor<'_>, cycle: u64) -> u32 {
        let number = self.commands.len();
        for sync in command.wait.iter().filter(|sync| cursor.waits(**sync)) {
            let semaphore = sync.semaphore.0;
            if let Some(Some(from)) = self.posted[semaphore as usize].pop_front() {
                self.tokens.push(TokenRun { semaphore, from, to: number });
            }
        }
        let mut touches = Vec::new();
        command.each_block(self.program, cursor.counters(), |place, address, block, access| {
            if place != Place::Dram {
                touches.push(Touch { place, address, block, access });
            }
        });
        self.touches.push(touches);
        let (operation, operand, sizes) = described(&command.operation);
        self.commands.push(CommandRun {
            unit: self.program.queues[place].unit,
            tag: command.tag,
            operation,
            operand,
            sizes,
            first_tick: Tick::new(cycle),
            last_tick: None,
        });
        u32::try_from(number).expect("bug: a watch ends long before 2^32 commands; please report it")
    }

    /// A command ends, and posts these semaphores.
    pub(super) fn end(&mut self, number: u32, posts: &[u32], cycle: u64) {
        let number = number as usize;
        let command = &mut self.commands[number];
        command.last_tick = Some(Tick::new(cycle));
        let start = command.first_tick.get();
        for semaphore in posts {
            self.posted[*semaphore as usize].push_back(Some(number));
        }
        for Touch { place, address, block, access } in std::mem::take(&mut self.touches[number]) {
            if let Some(memory) = self.memories.iter_mut().find(|memory| memory.place() == place) {
                memory.touch(address, &block, access, start, cycle);
            }
        }
    }

    /// How full each memory was, in cycles before `end`.
    pub(super) fn occupancy(&mut self, end: u64) -> Vec<Occupancy> {
        self.memories.drain(..).map(|memory| memory.finish(end)).collect()
    }
}

/// What an operation is called, what it moves, and how large it is.
fn described(operation: &Operation) -> (&'static str, Option<Operand>, Vec<(&'static str, u64)>) {
    let wide = u64::from;
    match operation {
        Operation::Mvin(transfer) => ("mvin", Some(transfer.operand), vec![("bytes", transfer.dram_bytes())]),
        Operation::Mvout(transfer) => ("mvout", Some(transfer.operand), vec![("bytes", transfer.dram_bytes())]),
        Operation::Preload(load) => ("preload", None, vec![("inner", wide(load.inner)), ("cols", wide(load.cols))]),
        Operation::Compute(pass) => {
            ("compute", None, vec![("vectors", wide(pass.vectors)), ("inner", wide(pass.inner)), ("cols", wide(pass.cols))])
        }
        Operation::Product(pass) => {
            ("product", None, vec![("rows", wide(pass.rows)), ("inner", wide(pass.inner)), ("cols", wide(pass.cols))])
        }
        Operation::Requantize(work) => ("requantize", None, vec![("elements", wide(work.rows) * wide(work.cols))]),
        Operation::Vector(work) => ("vector", None, vec![("elements", wide(work.rows) * wide(work.cols))]),
        Operation::Host(work) => ("host", None, vec![("elements", work.elements)]),
        Operation::Fence => ("fence", None, Vec::new()),
    }
}
