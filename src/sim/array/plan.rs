//! Ports ahead of time: what the array takes, cycle by cycle, until something in it begins or ends.
//!
//! The array goes first where units want a bank. So what it takes hangs on its own commands alone, and is known as far as no load or pass
//! begins or ends and no command starts: it is worked out step by step, bank by bank, and noted with the memories, where the other units find
//! it when they want a port. A command that starts cuts the plan short after the step that is under way.
//!
//! Not here: which rows a step needs (`movement`, `window`); the stepped drive, which asks for each cycle's rows in that cycle.

use super::operands::Panel;
use super::window::Amount;
use super::{Array, Loaded, Pass, Work};
use crate::counts::StallReason;
use crate::program::{Place, Tag};
use crate::sim::claims::Use;
use crate::sim::memory::size;
use crate::sim::queue::Shared;

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
    reads: Vec<Read>,
    wants: Vec<Want>,
}

impl Plan {
    /// The account of a cycle, if it is planned: a stall, or None where a step ends.
    pub(super) fn account(&self, cycle: u64) -> Option<Option<StallReason>> {
        self.cycles.get(self.index(cycle)?).copied()
    }

    fn index(&self, cycle: u64) -> Option<usize> {
        usize::try_from(cycle.checked_sub(self.from)?).ok()
    }

    /// Counts what the step that comes next reads through a window.
    fn read(&mut self, shared: &mut Shared<'_>, tag: Tag, place: Place, amount: Amount) {
        amount.count(shared, tag, place, |sum, more| *sum += more);
        self.reads.push(Read { at: self.cycles.len(), tag, place, amount });
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
        let began = self.now;
        loop {
            self.want(shared, &mut plan);
            let quiet = plan.wants.is_empty();
            take(shared, &mut plan);
            let end = self.now + 1;
            let load_ends = self.load.as_ref().is_some_and(|load| end == load.start + load.span);
            plan.ends = load_ends || self.passes.front().is_some_and(|pass| end >= pass.end);
            self.now = end;
            let next = cycle + plan.cycles.len() as u64;
            // Where nothing moves in or out the next event is known without a plan.
            if plan.ends || plan.cycles.len() >= AHEAD || quiet || self.would_start(next) {
                break;
            }
        }
        self.now = began;
        self.plan = plan;
    }

    /// Whether a load or a pass would enter in the array's own cycle.
    fn would_start(&self, cycle: u64) -> bool {
        self.may_enter(cycle)
            || self.load.is_none() && self.next_loads.front().is_some_and(|load| self.may_load(load) && load.fetched <= cycle)
    }

    /// Lists the rows that the array's own cycle needs, and counts what it reads through windows.
    fn want(&mut self, shared: &mut Shared<'_>, plan: &mut Plan) {
        plan.wants.clear();
        let mode = self.operands.mode;
        let entering = self.entering().and_then(|step| self.passes.back().map(|pass| (step, *pass)));
        // What is not simple is left to who lists rows in every case.
        let simple_pass = |pass: &Pass| matches!(pass.work, Work::Vectors { .. });
        let simple_load = match self.load.as_ref().map(|load| load.what) {
            Some(Loaded::Tile { gather, .. }) => gather.is_none(),
            Some(Loaded::Biases(sums)) => !sums.accumulate,
            None => true,
        };
        if self.timing.sums_stay() || !simple_load || !entering.as_ref().is_none_or(|(_, pass)| simple_pass(pass)) {
            self.claim(shared);
            for (tag, place, amount) in self.windows.take_amounts() {
                plan.read(shared, tag, place, amount);
            }
            for (place, row, purpose) in self.claims.drain() {
                let bank = shared.sram_ref(place).bank_of(row);
                plan.wants.push(Want { place, row, bank, updates: purpose == Use::Update });
            }
            return;
        }
        if let Some((step, Pass { work: Work::Vectors { place, stream, stride, inner }, gather, ending, .. })) = entering {
            if let Some(gather) = gather {
                let amount = self.windows.touch(shared, &gather, step..step + 1, 0..inner as u64);
                let memory = shared.sram_ref(gather.place);
                let want = |row: &u64| Want { place: gather.place, row: *row, bank: memory.bank_of(*row), updates: false };
                plan.wants.extend(self.windows.touched().iter().map(want));
                plan.read(shared, ending.tag, gather.place, amount);
            } else {
                want_bytes(shared, place, (stream + step * stride, mode.vector_bytes(inner as u64)), false, &mut plan.wants);
            }
        }
        if let Some(Loaded::Tile { place, panel: Panel { address, stride, width, .. }, .. }) = self.load.as_ref().map(|load| load.what) {
            let bytes = mode.tile_row_bytes(width as u64);
            for row in self.loading() {
                want_bytes(shared, place, (address + row * stride, bytes), false, &mut plan.wants);
            }
        }
        if let (Some(exit), Some(Pass { sums, .. })) = (self.leaving(), self.passes.front()) {
            let line = (sums.address + exit * sums.stride, sums.width * self.element_bytes);
            want_bytes(shared, sums.place, line, sums.accumulate, &mut plan.wants);
        }
    }
}

/// Wants the rows that hold these bytes.
fn want_bytes(shared: &Shared<'_>, place: Place, (address, bytes): (u64, u64), updates: bool, wants: &mut Vec<Want>) {
    let memory = shared.sram_ref(place);
    let first = memory.row_of(address);
    let mut bank = memory.bank_of(first);
    for row in first..=memory.row_of(address + bytes - 1) {
        wants.push(Want { place, row, bank, updates });
        bank = memory.bank_behind(bank);
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
