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
        self.queue.push(Waiting::new(request, at, cycle), self.timing.row(at.bank as usize));
        self.plan = None;
    }

    /// Issues every command before cycle `to`.
    pub(super) fn advance(&mut self, to: u64, done: &mut impl FnMut(Completion)) {
        while self.planned().cycle < to {
            if self.queue.is_empty() && self.log.is_none() {
                self.skip_refreshes(to);
            }
            if self.planned().cycle < to {
                done_if(self.step(), done);
            }
        }
        if self.now < to {
            self.now = to;
            self.plan = None;
        }
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

    /// The next command: the earliest, and of those the first by rank.
    fn choose(&self) -> Plan {
        let mut best = Plan { cycle: u64::MAX, order: u64::MAX, command: Command::Refresh, of: 0 };
        let mut consider = |cycle: u64, order: u64, command: Command, of: u8| {
            if (cycle, order) < (best.cycle, best.order) {
                best = Plan { cycle, order, command, of };
            }
        };
        let urgent = self.queue.oldest().filter(|_| self.passed >= self.cap).map(|slot| (slot, self.queue.get(slot)));
        for bank in bits(self.queue.active()) {
            let at = usize::from(bank);
            let wishes = self.queue.wishes(at);
            let (mut read, mut write, mut other) = (wishes.read, wishes.write, wishes.other);
            let row = self.timing.row(at);
            if let Some((slot, first)) = urgent {
                if first.bank == bank {
                    let is_hit = row == first.row;
                    read = (is_hit && !first.is_write).then_some(slot);
                    write = (is_hit && first.is_write).then_some(slot);
                    other = (!is_hit).then_some(slot);
                } else if first.is_write {
                    read = None;
                } else {
                    write = None;
                }
            }
            let due = self.timing.due_of_bank(at);
            if let Some(slot) = read {
                let cycle = self.timing.read(at).max(self.now);
                if cycle < due {
                    consider(cycle, self.queue.get(slot).age + 1, Command::Read, slot);
                }
            }
            if let Some(slot) = write {
                let cycle = self.timing.write(at).max(self.now);
                if cycle < due {
                    consider(cycle, self.queue.get(slot).age + 1, Command::Write, slot);
                }
            }
            if let Some(slot) = other {
                let order = ROW_COMMANDS | self.queue.get(slot).age;
                if row == CLOSED {
                    let cycle = self.timing.activate(at).max(self.now);
                    if cycle + self.timing.before_refresh() < due {
                        consider(cycle, order, Command::Activate, slot);
                    }
                } else {
                    let cycle = self.timing.precharge(at).max(self.now);
                    if cycle < due {
                        consider(cycle, order, Command::Precharge, slot);
                    }
                }
            }
        }
        for rank in 0..self.timing.ranks() {
            // Looked into only where it may be next.
            if self.timing.due(rank) <= best.cycle {
                let (command, cycle) = self.timing.refresh(rank);
                let (cycle, of) = (cycle.max(self.now), u8::try_from(rank).unwrap_or(u8::MAX));
                if (cycle, 0) < (best.cycle, best.order) {
                    best = Plan { cycle, order: 0, command, of };
                }
            }
        }
        best
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
        Completion { id: request.id, end }
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
