//! Ports ahead of time: what the array takes, cycle by cycle, until something in it begins or ends.
//!
//! The array goes first where units want a bank. So what it takes hangs on its own commands alone, and is known as far as no load or pass
//! begins or ends and no command starts: it is worked out step by step, bank by bank, and noted with the memories, where the other units find
//! it when they want a port. A command that starts cuts the plan short after the step that is under way.
//!
//! Not here: which rows a step needs (`movement`, `window`); the stepped drive, which asks for each cycle's rows in that cycle.

use super::window::{Amount, Touch};
use super::{Array, Loaded, Pass, Work};
use crate::counts::StallReason;
use crate::program::{Place, Tag};
use crate::sim::accounts::Account;
use crate::sim::claims::Use;
use crate::sim::memory::{scratchpad_index, size};
use crate::sim::queue::Shared;
use std::ops::Range;

/// Cycles that are planned at a time: few enough that little is lost where a plan is cut.
const AHEAD: usize = 256;

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
    /// What steps read through windows that have cycles of their own in `flow`, and what the others do.
    flow: Vec<Touch>,
    flows_for: Option<(Tag, Place)>,
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

    /// Counts what its steps, `steps` of them, read through windows.
    fn count(&self, shared: &mut Shared<'_>, steps: usize) {
        self.count_flow(shared, 0..steps, |sum, more| *sum += more);
        for reads in self.reads.chunk_by(|one, other| one.tag == other.tag && one.place == other.place) {
            let mut sum = Amount::default();
            for read in reads {
                sum += read.amount;
            }
            sum.count(shared, reads[0].tag, reads[0].place, |sum, more| *sum += more);
        }
    }

    fn count_flow(&self, shared: &mut Shared<'_>, steps: Range<usize>, add: impl Fn(&mut u64, u64)) {
        let Some((tag, place)) = self.flows_for else { return };
        let mut sum = Amount::default();
        for touch in &self.flow[steps.start.min(self.flow.len())..steps.end.min(self.flow.len())] {
            sum += touch.amount;
        }
        sum.count(shared, tag, place, add);
    }

    /// Steps that end in its first `cycles` cycles.
    fn steps(&self, cycles: usize) -> usize {
        if self.stalls { self.cycles[..cycles].iter().filter(|stall| stall.is_none()).count() } else { cycles }
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
    /// Forgets what is planned from where a command that has started since lets a pass or a load enter.
    pub(super) fn cut_plan(&mut self, shared: &mut Shared<'_>, cycle: u64) {
        let Some(kept) = self.first_start(cycle) else { return };
        let plan = &mut self.plan;
        let steps = plan.steps(kept)..plan.steps(plan.cycles.len());
        plan.count_flow(shared, steps, |sum, less| *sum -= less);
        plan.cycles.truncate(kept);
        plan.ends = false;
        while let Some(read) = plan.reads.pop_if(|read| read.at >= kept) {
            read.amount.count(shared, read.tag, read.place, |sum, less| *sum -= less);
        }
        for memory in shared.planned_memories() {
            memory.cut_plan(kept);
        }
    }

    /// The first planned cycle, by its number, that begins a step in which the next pass or the next load may enter; `cycle` is planned, and
    /// part of the array's own cycle.
    fn first_start(&self, cycle: u64) -> Option<usize> {
        let plan = &self.plan;
        let mut at = plan.index(cycle).filter(|at| *at < plan.cycles.len())?;
        let starts = self.next_start();
        let mut now = self.now;
        let is_under_way = at > 0 && plan.cycles[at - 1].is_some();
        let mut begins = !is_under_way;
        while at < plan.cycles.len() {
            let cycle = plan.from + at as u64;
            if begins && starts.iter().any(|(own, machine)| now >= *own && cycle >= *machine) {
                return Some(at);
            }
            if begins && !plan.stalls {
                // Every cycle is a step: on to the first in which both may be.
                let wait = starts.iter().map(|(own, machine)| own.saturating_sub(now).max(machine.saturating_sub(cycle))).min();
                let wait = usize::try_from(wait.unwrap_or(u64::MAX)).unwrap_or(usize::MAX);
                (at, now) = (at.saturating_add(wait), now.saturating_add(wait as u64));
                continue;
            }
            begins = plan.cycles[at].is_none();
            now += u64::from(begins);
            at += 1;
        }
        None
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
        plan.flow.clear();
        plan.flows_for = None;
        let (ends, starts) = (self.next_end(), self.next_start());
        let began = self.now;
        let simple = self.simple_flow(shared, ends.saturating_sub(began).min(AHEAD as u64), &mut plan);
        loop {
            let next = cycle + plan.cycles.len() as u64;
            let moves = if let Some(flow) = &simple {
                // Where no row waits, cycles are steps: as many as there are up to the next that may start something.
                let left = (ends - self.now).min((AHEAD - plan.cycles.len()) as u64);
                let start = starts.iter().map(|(own, machine)| own.saturating_sub(self.now).max(machine.saturating_sub(next)).max(1));
                let steps = start.fold(left, u64::min);
                let (done, moved) = flow.steps((self.now, next, began), steps, shared, &mut plan);
                self.now += done;
                if done < steps && moved { self.step_waiting(shared, &mut plan, began) } else { moved }
            } else {
                self.step_waiting(shared, &mut plan, began)
            };
            plan.ends = self.now >= ends;
            let next = cycle + plan.cycles.len() as u64;
            // Where nothing moves in or out the next event is known without a plan.
            if plan.ends || plan.cycles.len() >= AHEAD || !moves || starts.iter().any(|(now, cycle)| self.now >= *now && next >= *cycle) {
                break;
            }
        }
        plan.count(shared, size(self.now - began));
        self.now = began;
        self.plan = plan;
    }

    /// Plans one step whose rows may have to wait for each other; whether any moves.
    fn step_waiting(&mut self, shared: &mut Shared<'_>, plan: &mut Plan, began: u64) -> bool {
        self.want(shared, plan);
        if let Some(touch) = plan.flow.get_mut(size(self.now - began)) {
            // What it reads is listed among what claims did.
            touch.amount = Amount::default();
        }
        let moves = !plan.wants.is_empty();
        take(shared, plan);
        self.now += 1;
        moves
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
    /// where they do not stay. What up to `most` vectors read through a window is found out.
    fn simple_flow(&mut self, shared: &Shared<'_>, most: u64, plan: &mut Plan) -> Option<Flow> {
        if self.timing.sums_stay() {
            return None;
        }
        let mode = &self.operands.mode;
        let stream = match self.entering().and_then(|step| self.passes.back().map(|pass| (step, pass))) {
            None => None,
            Some((step, Pass { work: Work::Vectors { place, stream, stride, inner }, gather, ending, start, steps, .. })) => {
                let (place, from) = match gather {
                    Some(gather) => {
                        let vectors = step..(step + most).min(*steps);
                        self.windows.walk(gather, vectors, *inner as u64, shared.sram_ref(gather.place), &mut plan.flow);
                        plan.flows_for = Some((ending.tag, gather.place));
                        (gather.place, From::Window)
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
    /// Images: what is touched stands in the plan.
    Window,
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

impl Flow {
    /// Plans up to `most` of the array's cycles from `now` on, the first of which begins in the machine's cycle `cycle`, as long as every row can
    /// have its port at once, and up to one in which nothing moves. How many there are, and whether anything moves in the last.
    fn steps(&self, (now, cycle, began): (u64, u64, u64), most: u64, shared: &mut Shared<'_>, plan: &mut Plan) -> (u64, bool) {
        for done in 0..most {
            let now = now + done;
            let (mut banks, mut moves) = ([(usize::MAX, 0); 2], false);
            if let Some(stream) = self.stream.as_ref().filter(|stream| now < stream.last) {
                let taken = match &stream.from {
                    From::Rows { address, stride, bytes } => {
                        shared.scratchpads[stream.memory].banks_of(address + (now - stream.first) * stride, *bytes)
                    }
                    From::Window => plan.flow[size(now - began)].banks,
                };
                let Some(taken) = taken else { return (done, true) };
                (banks[0], moves) = ((stream.memory, taken), true);
            }
            if let Some(load) = self.load.as_ref().filter(|load| load.last - now < load.rows) {
                let taken = shared.scratchpads[load.memory].banks_of(load.address + (load.last - now) * load.stride, load.bytes);
                let meets = |taken: &u64| banks[0].0 == load.memory && banks[0].1 & taken != 0;
                let Some(taken) = taken.filter(|taken| !meets(taken)) else { return (done, true) };
                (banks[1], moves) = ((load.memory, taken), true);
            }
            let mut sums = 0;
            if let Some(exit) = self.exit.as_ref().filter(|exit| (exit.first..exit.last).contains(&now)) {
                let address = exit.address + (now - exit.first) * exit.stride;
                let taken = shared.accumulator.plan_line(address, exit.bytes, exit.updates, cycle + done);
                let Some(taken) = taken else { return (done, true) };
                (sums, moves) = (taken, true);
            }
            for (number, memory) in shared.scratchpads.iter_mut().enumerate() {
                let of = |(memory, banks): (usize, u64)| if memory == number { banks } else { 0 };
                memory.plan_banks(of(banks[0]) | of(banks[1]));
            }
            shared.accumulator.plan_banks(sums);
            plan.cycles.push(None);
            if !moves {
                return (done + 1, false);
            }
        }
        (most, true)
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
