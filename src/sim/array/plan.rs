//! Ports ahead of time: what the array takes, cycle by cycle, until something in it begins or ends.
//!
//! The array goes first where units want a bank. So what it takes hangs on its own commands alone, and is known as far as no load or pass
//! begins or ends and no command starts: it is worked out step by step, bank by bank, and noted with the memories, where the other units find
//! it when they want a port. A command that starts cuts the plan short after the step that is under way.
//!
//! Not here: which rows a step needs (`movement`, `window`); the stepped drive, which asks for each cycle's rows in that cycle.

use super::window::{Amount, Gather, Windows};
use super::{Array, Loaded, Pass, Work};
use crate::counts::StallReason;
use crate::program::{Place, Tag};
use crate::sim::accounts::Account;
use crate::sim::claims::Use;
use crate::sim::memory::{scratchpad_index, size};
use crate::sim::queue::Shared;

/// Cycles that are planned at a time: few enough that little is lost where a plan is cut.
const AHEAD: usize = 256;
/// Scratchpads, with the line buffers of the program's modes.
const MAX_MEMORIES: usize = 8;

/// A row that a step needs: its memory, and its bank there.
#[derive(Debug, Clone, Copy)]
struct Want {
    place: Place,
    row: u64,
    bank: u32,
    updates: bool,
}

/// What one step read through a window, and when the step began.
#[derive(Debug, Clone, Copy)]
struct Read {
    at: usize,
    tag: Tag,
    place: Place,
    amount: Amount,
}

/// The plan.
#[derive(Debug, Default)]
pub(super) struct Plan {
    /// Its first cycle.
    from: u64,
    /// For each cycle why the array stands still in it, if it does; a step ends in one in which it does not.
    cycles: Vec<Option<StallReason>>,
    /// Whether any cycle is a stall.
    stalls: bool,
    /// Whether a load or a pass ends with the last step.
    ends: bool,
    reads: Vec<Read>,
    wants: Vec<Want>,
}

impl Plan {
    /// The account of a cycle, if it is planned: busy where a step ends.
    pub(super) fn account(&self, cycle: u64) -> Option<Account> {
        let stall = self.cycles.get(self.index(cycle)?)?;
        Some(stall.map_or(Account::Busy, Account::Stalled))
    }

    fn index(&self, cycle: u64) -> Option<usize> {
        usize::try_from(cycle.checked_sub(self.from)?).ok()
    }

    /// Counts what its steps read through windows.
    fn count(&self, shared: &mut Shared<'_>) {
        for reads in self.reads.chunk_by(|one, other| one.tag == other.tag && one.place == other.place) {
            let mut sum = Amount::default();
            for read in reads {
                sum += read.amount;
            }
            sum.count(shared, reads[0].tag, reads[0].place, |sum, more| *sum += more);
        }
    }

    /// The first cycle from `next` on in which the array must be looked at, if `next` is planned.
    pub(super) fn event(&self, next: u64) -> Option<u64> {
        self.account(next)?;
        Some(self.from + self.cycles.len() as u64 - u64::from(self.ends))
    }

    /// The accounts of `count` cycles from `cycle` on, all of which are planned: none where all are steps.
    pub(super) fn stalls(&self, cycle: u64, count: u64) -> impl Iterator<Item = StallReason> + '_ {
        let first = self.index(cycle).filter(|_| self.stalls).unwrap_or(self.cycles.len());
        self.cycles[first..].iter().take(size(count)).flatten().copied()
    }
}

impl Array<'_> {
    /// Forgets what is planned from `cycle` on, but for the rest of a step that is under way.
    pub(super) fn cut_plan(&mut self, shared: &mut Shared<'_>, cycle: u64) {
        let plan = &mut self.plan;
        let Some(at) = plan.index(cycle).filter(|at| *at < plan.cycles.len()) else { return };
        let under_way = at > 0 && plan.cycles[at - 1].is_some();
        let kept = match plan.cycles[at..].iter().position(Option::is_none) {
            Some(steps) if under_way => at + steps + 1,
            _ => at,
        };
        if kept == plan.cycles.len() {
            return;
        }
        plan.cycles.truncate(kept);
        plan.ends = false;
        while let Some(read) = plan.reads.pop_if(|read| read.at >= kept) {
            read.amount.count(shared, read.tag, read.place, |sum, less| *sum -= less);
        }
        for memory in shared.planned_memories() {
            memory.cut_plan(kept);
        }
    }

    /// Plans the steps from the array's own cycle on, of which the first begins in `cycle`: at least one.
    pub(super) fn make_plan(&mut self, shared: &mut Shared<'_>, cycle: u64) {
        let mut plan = std::mem::take(&mut self.plan);
        (plan.from, plan.stalls, plan.ends) = (cycle, false, false);
        plan.cycles.clear();
        plan.reads.clear();
        for memory in shared.planned_memories() {
            memory.begin_plan(cycle);
        }
        let simple = self.simple_flow(shared);
        let (ends, starts) = (self.next_end(), self.next_start());
        let began = self.now;
        loop {
            let next = cycle + plan.cycles.len() as u64;
            let moves = match simple.as_ref().map(|flow| flow.step(self.now, next, shared, &mut self.windows, &mut plan)) {
                Some(Step::Moves) => true,
                Some(Step::Rests) => false,
                Some(Step::Waits) | None => {
                    self.want(shared, &mut plan);
                    let moves = !plan.wants.is_empty();
                    take(shared, &mut plan);
                    moves
                }
            };
            self.now += 1;
            plan.ends = self.now >= ends;
            let next = cycle + plan.cycles.len() as u64;
            // Where nothing moves in or out the next event is known without a plan.
            if plan.ends || plan.cycles.len() >= AHEAD || !moves || starts.iter().any(|(now, cycle)| self.now >= *now && next >= *cycle) {
                break;
            }
        }
        self.now = began;
        plan.count(shared);
        self.plan = plan;
    }

    /// The cycle of the array before which the step is that ends the load or the oldest pass.
    fn next_end(&self) -> u64 {
        let load = self.load.as_ref().map(|load| load.start + load.span);
        load.into_iter().chain(self.passes.front().map(|pass| pass.end)).min().unwrap_or(u64::MAX)
    }

    /// From which of its own cycles on, and of the machine's, the next pass and the next load may enter, unless a load or a pass ends before.
    fn next_start(&self) -> [(u64, u64); 2] {
        const NEVER: (u64, u64) = (u64::MAX, u64::MAX);
        let pass = self.next_passes.front().filter(|pass| pass.load <= self.loads_done);
        let pass = pass.and_then(|pass| {
            let free = if self.timing.serial() { self.passes.is_empty().then_some(0) } else { Some(self.free_from) };
            free.map(|free| (free, pass.fetched))
        });
        let load = self.next_loads.front().filter(|load| self.load.is_none() && self.may_load(load)).map(|load| (0, load.fetched));
        [pass.unwrap_or(NEVER), load.unwrap_or(NEVER)]
    }

    /// What flows until a load or a pass begins or ends, where that is simple: vectors past a tile, rows of the next one, and sums that leave
    /// where they do not stay.
    fn simple_flow(&mut self, shared: &Shared<'_>) -> Option<Flow> {
        if self.timing.sums_stay() || shared.scratchpads.len() > MAX_MEMORIES {
            return None;
        }
        let mode = &self.operands.mode;
        let stream = match self.entering().and_then(|step| self.passes.back().map(|pass| (step, pass))) {
            None => None,
            Some((step, Pass { work: Work::Vectors { place, stream, stride, inner }, gather, ending, start, steps, .. })) => {
                let (place, from) = match gather {
                    Some(gather) => {
                        self.windows.begin_walk(gather, step, *inner as u64);
                        (gather.place, From::Window { gather: *gather, tag: ending.tag })
                    }
                    None => (*place, From::Rows { address: *stream, stride: *stride, bytes: mode.vector_bytes(*inner as u64) }),
                };
                Some(Stream { memory: scratchpad_index(place), from, first: *start, last: *start + *steps })
            }
            Some(_) => return None,
        };
        let load = match self.load.as_ref() {
            None => None,
            Some(load) => match load.what {
                Loaded::Tile { place, panel, gather: None, .. } if load.span >= load.rows => Some(LoadFlow {
                    memory: scratchpad_index(place),
                    address: panel.address,
                    stride: panel.stride,
                    bytes: mode.tile_row_bytes(panel.width as u64),
                    rows: load.rows,
                    last: load.start + load.span - 1,
                }),
                _ => return None,
            },
        };
        let exit = self.passes.front().map(|Pass { sums, exit, exits, .. }| ExitFlow {
            address: sums.address,
            stride: sums.stride,
            bytes: sums.width * self.element_bytes,
            updates: sums.accumulate,
            first: *exit,
            last: exit + exits,
        });
        Some(Flow { stream, load, exit })
    }

    /// Lists the rows that the array's own cycle needs, and counts what it reads through windows.
    fn want(&mut self, shared: &mut Shared<'_>, plan: &mut Plan) {
        self.claim(shared);
        for (tag, place, amount) in self.windows.take_amounts() {
            plan.reads.push(Read { at: plan.cycles.len(), tag, place, amount });
        }
        plan.wants.clear();
        for (place, row, purpose) in self.claims.drain() {
            let bank = shared.sram_ref(place).bank_of(row);
            plan.wants.push(Want { place, row, bank, updates: purpose == Use::Update });
        }
    }
}

/// What flows into and out of the array for some cycles.
#[derive(Debug)]
struct Flow {
    stream: Option<Stream>,
    load: Option<LoadFlow>,
    exit: Option<ExitFlow>,
}

/// Vectors that enter in the array's cycles from `first` on, up to `last`.
#[derive(Debug)]
struct Stream {
    memory: usize,
    from: From,
    first: u64,
    last: u64,
}

#[derive(Debug)]
enum From {
    /// A vector each `stride` bytes.
    Rows { address: u64, stride: u64, bytes: u64 },
    /// Images, as the windows' walk goes.
    Window { gather: Gather, tag: Tag },
}

/// A row of a tile a cycle, the last first; the first enters in the array's cycle `last`.
#[derive(Debug)]
struct LoadFlow {
    memory: usize,
    address: u64,
    stride: u64,
    bytes: u64,
    rows: u64,
    last: u64,
}

/// A line of sums in each of the array's cycles from `first` on, up to `last`.
#[derive(Debug)]
struct ExitFlow {
    address: u64,
    stride: u64,
    bytes: u64,
    updates: bool,
    first: u64,
    last: u64,
}

/// What became of a step.
enum Step {
    /// Rows move, all in one cycle, which is planned.
    Moves,
    /// Nothing moves, in a cycle that is planned.
    Rests,
    /// Two rows want one bank, or one is not ready: nothing is planned.
    Waits,
}

impl Flow {
    /// Plans the array's cycle `now`, which begins in the machine's cycle `cycle`, if every row can have its port at once.
    #[inline]
    fn step(&self, now: u64, cycle: u64, shared: &mut Shared<'_>, windows: &mut Windows, plan: &mut Plan) -> Step {
        let mut banks = [0_u64; MAX_MEMORIES];
        let mut read = None;
        if let Some(stream) = self.stream.as_ref().filter(|stream| now < stream.last) {
            let memory = &shared.scratchpads[stream.memory];
            let taken = match &stream.from {
                From::Rows { address, stride, bytes } => memory.banks_of(address + (now - stream.first) * stride, *bytes),
                From::Window { gather, tag } => windows.walk_to(now - stream.first, gather, memory).map(|(banks, amount)| {
                    read = Some(Read { at: plan.cycles.len(), tag: *tag, place: gather.place, amount });
                    banks
                }),
            };
            let Some(taken) = taken else { return Step::Waits };
            banks[stream.memory] = taken;
        }
        if let Some(load) = self.load.as_ref().filter(|load| load.last - now < load.rows) {
            let memory = &shared.scratchpads[load.memory];
            let taken = memory.banks_of(load.address + (load.last - now) * load.stride, load.bytes);
            let Some(taken) = taken.filter(|taken| taken & banks[load.memory] == 0) else { return Step::Waits };
            banks[load.memory] |= taken;
        }
        let mut sums = 0;
        if let Some(exit) = self.exit.as_ref().filter(|exit| (exit.first..exit.last).contains(&now)) {
            let address = exit.address + (now - exit.first) * exit.stride;
            let Some(taken) = shared.accumulator.plan_line(address, exit.bytes, exit.updates, cycle) else { return Step::Waits };
            sums = taken;
        }
        let mut any = sums;
        for (memory, banks) in shared.scratchpads.iter_mut().zip(banks) {
            memory.plan_banks(banks);
            any |= banks;
        }
        shared.accumulator.plan_banks(sums);
        plan.reads.extend(read);
        plan.cycles.push(None);
        if any == 0 && read.is_none() { Step::Rests } else { Step::Moves }
    }
}

/// Takes the ports of a step's rows, over as many cycles as that needs.
fn take(shared: &mut Shared<'_>, plan: &mut Plan) {
    loop {
        let cycle = plan.from + plan.cycles.len() as u64;
        for memory in shared.planned_memories() {
            memory.plan_cycle();
        }
        let mut reason = None;
        plan.wants.retain(|want| {
            let taken = shared.sram(want.place).plan(want.row, want.bank, want.updates, cycle);
            taken.inspect_err(|why| _ = reason.get_or_insert(*why)).is_err()
        });
        plan.cycles.push(reason);
        if reason.is_none() {
            return;
        }
        plan.stalls = true;
    }
}
