//! One channel's controller: which command goes next, and when.
//!
//! Not here: when a command may go at the earliest (`timing`), and what waits (`waiting`). The rules stand at the top of the module.

use super::address::Location;
use super::timing::{CLOSED, Command, Timing};
use super::waiting::{Queue, Waiting, bits};
use super::{Completion, Counts, Logged, Request};
use crate::chip::{Banked, Page};

/// Row commands come after every column command of the cycle.
const ROW_COMMANDS: u64 = 1 << 63;

/// The command that goes next, unless a request comes in before.
#[derive(Debug, Clone, Copy)]
struct Plan {
    cycle: u64,
    /// Among commands of one cycle the least goes first: 0 for refresh, then column commands and row commands by age.
    order: u64,
    command: Command,
    /// The rank that it refreshes, or the request that it serves.
    of: u8,
}

impl Plan {
    /// Takes this command in the plan's place, if it goes first.
    fn improve(&mut self, cycle: u64, order: u64, command: Command, of: u8) {
        if cycle < self.cycle || (cycle == self.cycle && order < self.order) {
            *self = Self { cycle, order, command, of };
        }
    }
}

/// A channel.
#[derive(Debug, Clone)]
pub(super) struct Channel {
    number: u32,
    timing: Timing,
    queue: Queue,
    page: Page,
    cap: u32,
    /// The first cycle whose command is still to be chosen.
    now: u64,
    /// Column commands that have passed the oldest request.
    passed: u32,
    plan: Option<Plan>,
    pub(super) counts: Counts,
    pub(super) log: Option<Vec<Logged>>,
}

impl Channel {
    pub(super) fn new(banked: &Banked, number: u32) -> Self {
        let organisation = &banked.organisation;
        let banks = organisation.ranks * organisation.bank_groups * organisation.banks_per_group;
        Self {
            number,
            timing: Timing::new(banked),
            queue: Queue::new(banked.queue_depth, banks as usize),
            page: banked.page,
            cap: banked.starvation_cap,
            now: 0,
            passed: 0,
            plan: None,
            counts: Counts::default(),
            log: None,
        }
    }

    pub(super) fn has_room(&self) -> bool {
        self.queue.has_room()
    }

    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    /// The cycle of the next command, unless a request comes in before.
    pub(super) fn next_command(&mut self) -> u64 {
        self.planned().cycle
    }

    /// Takes a request in `cycle`; there is room, and no command of this cycle or a later one was issued.
    pub(super) fn push(&mut self, request: Request, at: Location, cycle: u64) {
        debug_assert!(self.now <= cycle, "bug: a request comes in before a command that was issued; please report it");
        self.now = self.now.max(cycle);
        let waiting = Waiting::new(request, at, cycle);
        let bank = waiting.bank;
        self.queue.push(waiting, self.timing.row(at.bank as usize));
        // It is the youngest: of what was wished, only its own bank's wishes may have changed.
        self.plan = match self.plan {
            Some(plan) if plan.order != 0 && self.queue.get(plan.of).bank != bank => {
                let mut best = plan;
                self.consider_bank(bank, self.urgent(), &mut best);
                Some(best)
            }
            _ => None,
        };
    }

    /// Issues every command before cycle `to`.
    pub(super) fn advance(&mut self, to: u64, done: &mut impl FnMut(Completion)) {
        while self.now < to && self.planned().cycle < to {
            if self.queue.is_empty() && self.log.is_none() {
                self.skip_refreshes(to);
            }
            if self.planned().cycle < to {
                done_if(self.step(), done);
            }
        }
        // What is planned comes at `to` or later in any case.
        self.now = self.now.max(to);
    }

    /// Of a long time in which nothing happens but refreshes, each when it is due, lets all but the last two pass at once.
    fn skip_refreshes(&mut self, to: u64) {
        let due = self.timing.due(0);
        let all_ready = (0..self.timing.ranks()).all(|rank| self.timing.refresh(rank) == (Command::Refresh, due));
        let periods = (to.saturating_sub(due) / self.timing.refresh_interval()).saturating_sub(2);
        if periods > 0 && self.timing.all_closed() && all_ready && self.now <= due {
            self.timing.skip_refreshes(periods);
            self.counts.refreshes += periods * self.timing.ranks() as u64;
            self.plan = None;
        }
    }

    fn planned(&mut self) -> Plan {
        if let Some(plan) = self.plan {
            return plan;
        }
        let plan = self.choose();
        self.plan = Some(plan);
        plan
    }

    /// The oldest request, once enough have passed it.
    fn urgent(&self) -> Option<u8> {
        if self.passed >= self.cap { self.queue.oldest() } else { None }
    }

    /// The next command: the earliest, and of those the first by rank.
    fn choose(&self) -> Plan {
        let mut best = Plan { cycle: u64::MAX, order: u64::MAX, command: Command::Refresh, of: 0 };
        let urgent = self.urgent();
        for bank in bits(self.queue.active()) {
            self.consider_bank(bank, urgent, &mut best);
        }
        for rank in 0..self.timing.ranks() {
            // Looked into only where it may be next.
            if self.timing.due(rank) <= best.cycle {
                let (command, cycle) = self.timing.refresh(rank);
                best.improve(cycle.max(self.now), 0, command, u8::try_from(rank).unwrap_or(u8::MAX));
            }
        }
        best
    }

    /// What a bank's requests would like next.
    fn consider_bank(&self, bank: u8, urgent: Option<u8>, best: &mut Plan) {
        let at = usize::from(bank);
        let row = self.timing.row(at);
        let mut wishes = *self.queue.wishes(at);
        if let Some(slot) = urgent {
            let first = self.queue.get(slot);
            if first.bank == bank {
                let is_hit = row == first.row;
                wishes.read = (is_hit && !first.is_write).then_some(slot);
                wishes.write = (is_hit && first.is_write).then_some(slot);
                wishes.other = (!is_hit).then_some(slot);
            } else if first.is_write {
                wishes.read = None;
            } else {
                wishes.write = None;
            }
        }
        let due = self.timing.due_of_bank(at);
        if let Some(slot) = wishes.read {
            let cycle = self.timing.read(at).max(self.now);
            if cycle < due {
                best.improve(cycle, self.queue.get(slot).age + 1, Command::Read, slot);
            }
        }
        if let Some(slot) = wishes.write {
            let cycle = self.timing.write(at).max(self.now);
            if cycle < due {
                best.improve(cycle, self.queue.get(slot).age + 1, Command::Write, slot);
            }
        }
        if let Some(slot) = wishes.other {
            let order = ROW_COMMANDS | self.queue.get(slot).age;
            if row == CLOSED {
                let cycle = self.timing.activate(at).max(self.now);
                if cycle + self.timing.before_refresh() < due {
                    best.improve(cycle, order, Command::Activate, slot);
                }
            } else {
                let cycle = self.timing.precharge(at).max(self.now);
                if cycle < due {
                    best.improve(cycle, order, Command::Precharge, slot);
                }
            }
        }
    }

    /// Issues the planned command.
    pub(super) fn step(&mut self) -> Option<Completion> {
        let Plan { cycle, command, of, .. } = self.planned();
        self.plan = None;
        self.now = cycle + 1;
        match command {
            Command::Refresh | Command::PrechargeAll => {
                self.refresh(usize::from(of), command, cycle);
                None
            }
            Command::Activate | Command::Precharge => {
                self.row_command(of, command, cycle);
                None
            }
            _ => Some(self.column_command(of, command == Command::Write, cycle)),
        }
    }

    fn refresh(&mut self, rank: usize, command: Command, cycle: u64) {
        self.timing.issue_refresh(rank, command, cycle);
        self.counts.refreshes += u64::from(command == Command::Refresh);
        if command == Command::PrechargeAll {
            for bank in bits(self.queue.active()) {
                let at = usize::from(bank);
                self.queue.row_changed(at, self.timing.row(at));
            }
        }
        let bank = self.timing.first_bank(rank);
        self.log(cycle, command, bank, 0, 0);
    }

    fn row_command(&mut self, slot: u8, command: Command, cycle: u64) {
        let request = self.queue.get_mut(slot);
        let (bank, row) = (request.bank, request.row);
        let is_first = !std::mem::replace(&mut request.is_counted, true);
        request.activates += u32::from(command == Command::Activate);
        let at = usize::from(bank);
        if command == Command::Activate {
            self.counts.activates += 1;
            self.counts.row_misses += u64::from(is_first);
            self.timing.issue_activate(at, row, cycle);
            self.log(cycle, command, bank, row, 0);
        } else {
            self.counts.row_conflicts += u64::from(is_first);
            self.log(cycle, command, bank, self.timing.row(at), 0);
            self.timing.issue_precharge(at, cycle);
        }
        self.queue.row_changed(at, self.timing.row(at));
    }

    fn column_command(&mut self, slot: u8, is_write: bool, cycle: u64) -> Completion {
        let closes = self.page == Page::Closed;
        let request = *self.queue.get(slot);
        let at = usize::from(request.bank);
        self.passed = if self.queue.oldest() == Some(slot) { 0 } else { self.passed + 1 };
        self.counts.row_hits += u64::from(!request.is_counted);
        self.timing.issue_column(at, is_write, closes, cycle);
        self.queue.remove(slot, self.timing.row(at));
        let end = cycle + self.timing.data(is_write);
        if is_write {
            self.counts.writes += 1;
        } else {
            self.counts.reads += 1;
            self.counts.read_latency_cycles += u128::from(end - request.entered);
        }
        self.counts.end = self.counts.end.max(end);
        let command = match (is_write, closes) {
            (false, false) => Command::Read,
            (true, false) => Command::Write,
            (false, true) => Command::ReadPrecharge,
            (true, true) => Command::WritePrecharge,
        };
        self.log(cycle, command, request.bank, request.row, request.column);
        Completion { id: request.id, end, activates: request.activates }
    }

    fn log(&mut self, cycle: u64, command: Command, bank: u8, row: u32, column: u32) {
        if let Some(log) = &mut self.log {
            log.push(Logged { cycle, command, channel: self.number, bank: u32::from(bank), row, column });
        }
    }
}

fn done_if(completion: Option<Completion>, done: &mut impl FnMut(Completion)) {
    if let Some(completion) = completion {
        done(completion);
    }
}
