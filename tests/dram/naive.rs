//! A controller that is as plain as can be: cycle by cycle, it looks at every command that the rules would like, in their order, and issues
//! the first that no earlier command forbids. What is forbidden is asked of every pair of commands there ever was near.
//!
//! It shares no code with the simulator but the chip's figures and the words for commands.

use systole::chip::{Banked, Page};
use systole::sim::dram::{Command, Location};

/// A command in the past. A column command that precharges leaves a precharge behind it, at its own time, that took no cycle of the bus.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Event {
    pub(crate) cycle: u64,
    pub(crate) command: Command,
    pub(crate) bank: u32,
    pub(crate) row: u32,
    pub(crate) column: u32,
    is_implicit: bool,
}

/// A request.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Wanted {
    pub(crate) at: Location,
    pub(crate) is_write: bool,
    pub(crate) id: u64,
    counted: bool,
}

pub(crate) struct Naive<'b> {
    banked: &'b Banked,
    events: Vec<Event>,
    queue: Vec<Wanted>,
    passed: u32,
    due: Vec<u64>,
    /// Request and one past its last data.
    pub(crate) done: Vec<(u64, u64)>,
    pub(crate) hits_misses_conflicts: [u64; 3],
}

use Command::{Activate, Precharge, PrechargeAll, Read, ReadPrecharge, Refresh, Write, WritePrecharge};

impl<'b> Naive<'b> {
    pub(crate) fn new(banked: &'b Banked) -> Self {
        let due = vec![u64::from(banked.timing.trefi); banked.organisation.ranks as usize];
        Self { banked, events: Vec::new(), queue: Vec::new(), passed: 0, due, done: Vec::new(), hits_misses_conflicts: [0; 3] }
    }

    pub(crate) fn has_room(&self) -> bool {
        self.queue.len() < self.banked.queue_depth as usize
    }

    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty()
    }

    pub(crate) fn enter(&mut self, at: Location, is_write: bool, id: u64) {
        self.queue.push(Wanted { at, is_write, id, counted: false });
    }

    /// The commands that took a cycle of the bus.
    pub(crate) fn commands(&self) -> impl Iterator<Item = &Event> {
        self.events.iter().filter(|event| !event.is_implicit)
    }

    fn rank(&self, bank: u32) -> u32 {
        bank / (self.banked.organisation.bank_groups * self.banked.organisation.banks_per_group)
    }

    fn group(&self, bank: u32) -> u32 {
        bank / self.banked.organisation.banks_per_group
    }

    fn banks_of(&self, rank: u32) -> std::ops::Range<u32> {
        let banks = self.banked.organisation.bank_groups * self.banked.organisation.banks_per_group;
        rank * banks..(rank + 1) * banks
    }

    /// The row that is open after all that was issued.
    fn open(&self, bank: u32) -> Option<u32> {
        for event in self.events.iter().rev() {
            match event.command {
                Activate if event.bank == bank => return Some(event.row),
                Precharge if event.bank == bank => return None,
                PrechargeAll if self.rank(event.bank) == self.rank(bank) => return None,
                _ => {}
            }
        }
        None
    }

    /// Cycles that must lie between two commands, by the data sheets' relations.
    fn gap(&self, first: &Event, command: Command, bank: u32) -> u64 {
        let t = &self.banked.timing;
        let burst = self.banked.organisation.burst_cycles;
        let same_bank = first.bank == bank;
        let same_group = self.group(first.bank) == self.group(bank);
        let same_rank = self.rank(first.bank) == self.rank(bank);
        let is_read = |command| matches!(command, Read | ReadPrecharge);
        let is_write = |command| matches!(command, Write | WritePrecharge);
        let mut least = 0;
        let mut need = |applies: bool, cycles: u32| least = least.max(if applies { u64::from(cycles) } else { 0 });
        match first.command {
            Activate => {
                need(same_bank && is_read(command), t.trcd_rd);
                need(same_bank && is_write(command), t.trcd_wr);
                need(same_bank && command == Precharge || same_rank && command == PrechargeAll, t.tras);
                need(same_bank && command == Activate, t.trc);
                need(same_group && command == Activate, t.trrd_l);
                need(same_rank && command == Activate, t.trrd_s);
                need(same_rank && command == Refresh, t.trc);
            }
            Precharge => {
                need(same_bank && command == Activate, t.trp);
                need(same_rank && command == Refresh, t.trp);
            }
            PrechargeAll => {
                need(same_rank && command == Activate, t.trp);
                need(same_rank && command == Refresh, t.trp_ab);
            }
            Refresh => need(same_rank && matches!(command, Activate | Refresh), t.trfc),
            Read | ReadPrecharge => {
                need(same_bank && command == Precharge || same_rank && command == PrechargeAll, t.trtp);
                need(same_group && is_read(command), t.tccd_l);
                need(same_rank && is_read(command), t.tccd_s);
                // The write's data comes a turnaround after the read's.
                need(same_rank && is_write(command), (t.cl + burst + t.turnaround).saturating_sub(t.cwl));
            }
            Write | WritePrecharge => {
                need(same_bank && command == Precharge || same_rank && command == PrechargeAll, t.cwl + burst + t.twr);
                need(same_group && is_write(command), t.tccd_l);
                need(same_rank && is_write(command), t.tccd_s);
                need(same_group && is_read(command), t.cwl + burst + t.twtr_l);
                need(same_rank && is_read(command), t.cwl + burst + t.twtr_s);
            }
        }
        // Data on the bus: one burst after the other, with a gap between ranks.
        let latency = |command| match command {
            Read | ReadPrecharge => Some(t.cl),
            Write | WritePrecharge => Some(t.cwl),
            _ => None,
        };
        if let (Some(one), Some(other)) = (latency(first.command), latency(command)) {
            let between = if same_rank { 0 } else { t.trtrs };
            need(true, (one + burst + between).saturating_sub(other));
        }
        least
    }

    /// Whether nothing in the past forbids the command in this cycle.
    fn allowed(&self, cycle: u64, command: Command, bank: u32) -> bool {
        let longest = 4 * 10_000;
        let near = || self.events.iter().rev().take(400).filter(|event| event.cycle + longest > cycle);
        // A precharge that a column command brings with it lies ahead, and forbids only what it has to do with.
        let forbids = |event: &Event| match self.gap(event, command, bank) {
            0 => false,
            gap => cycle < event.cycle + gap,
        };
        if near().any(forbids) {
            return false;
        }
        if command == Activate {
            let rank = self.rank(bank);
            let window = u64::from(self.banked.timing.tfaw);
            let recent = near().filter(|event| event.command == Activate && self.rank(event.bank) == rank && event.cycle + window > cycle);
            return recent.count() < 4;
        }
        true
    }

    fn issue(&mut self, cycle: u64, command: Command, bank: u32, row: u32, column: u32) {
        self.events.push(Event { cycle, command, bank, row, column, is_implicit: false });
        if matches!(command, ReadPrecharge | WritePrecharge) {
            // As soon as a precharge may follow.
            let at = (cycle..cycle + 100_000).find(|at| self.allowed(*at, Precharge, bank)).unwrap();
            self.events.push(Event { cycle: at, command: Precharge, bank, row, column, is_implicit: true });
        }
    }

    /// One cycle of the command clock.
    pub(crate) fn tick(&mut self, cycle: u64) {
        let due: Vec<bool> = self.due.iter().map(|due| cycle >= *due).collect();
        for rank in (0..self.banked.organisation.ranks).filter(|rank| due[*rank as usize]) {
            let banks = self.banks_of(rank);
            let is_open = banks.clone().any(|bank| self.open(bank).is_some());
            // Of a closed bank no precharge is asked for: only open ones have to be ready for it.
            let command = if is_open { PrechargeAll } else { Refresh };
            let ready = match command {
                PrechargeAll => banks.clone().filter(|bank| self.open(*bank).is_some()).all(|bank| self.allowed(cycle, Precharge, bank)),
                _ => self.allowed(cycle, Refresh, banks.start),
            };
            if ready {
                self.issue(cycle, command, banks.start, 0, 0);
                if command == Refresh {
                    self.due[rank as usize] += u64::from(self.banked.timing.trefi);
                }
                return;
            }
        }
        let urgent = (self.passed >= self.banked.starvation_cap).then(|| self.queue.first().copied()).flatten();
        if !self.column(cycle, &due, urgent) {
            self.row(cycle, &due, urgent);
        }
    }

    fn column(&mut self, cycle: u64, due: &[bool], urgent: Option<Wanted>) -> bool {
        for (place, request) in self.queue.iter().copied().enumerate() {
            let Location { bank, row, column, .. } = request.at;
            let held = urgent.is_some_and(|first| first.id != request.id && (first.at.bank == bank || first.is_write != request.is_write));
            let behind = self.queue[..place].iter().any(|older| older.at == request.at && (older.is_write || request.is_write));
            if held || behind || due[self.rank(bank) as usize] || self.open(bank) != Some(row) {
                continue;
            }
            let command = match (request.is_write, self.banked.page) {
                (false, Page::Open) => Read,
                (false, Page::Closed) => ReadPrecharge,
                (true, Page::Open) => Write,
                (true, Page::Closed) => WritePrecharge,
            };
            if self.allowed(cycle, command, bank) {
                self.passed = if place == 0 { 0 } else { self.passed + 1 };
                self.count(place, 0);
                let latency = if request.is_write { self.banked.timing.cwl } else { self.banked.timing.cl };
                self.done.push((request.id, cycle + u64::from(latency + self.banked.organisation.burst_cycles)));
                self.queue.remove(place);
                self.issue(cycle, command, bank, row, column);
                return true;
            }
        }
        false
    }

    fn row(&mut self, cycle: u64, due: &[bool], urgent: Option<Wanted>) {
        for (place, request) in self.queue.iter().copied().enumerate() {
            let Location { bank, row, .. } = request.at;
            let is_oldest = self.queue[..place].iter().all(|older| older.at.bank != bank);
            let rank = self.rank(bank) as usize;
            if !is_oldest || due[rank] {
                continue;
            }
            let is_urgent = urgent.is_some_and(|first| first.id == request.id);
            match self.open(bank) {
                None => {
                    let is_used = cycle + u64::from(self.banked.timing.trcd_rd.max(self.banked.timing.trcd_wr)) < self.due[rank];
                    if is_used && self.allowed(cycle, Activate, bank) {
                        self.count(place, 1);
                        self.issue(cycle, Activate, bank, row, 0);
                        return;
                    }
                }
                Some(open) if open != row => {
                    let is_wanted = self.queue.iter().any(|other| other.at.bank == bank && other.at.row == open);
                    if (is_urgent || !is_wanted) && self.allowed(cycle, Precharge, bank) {
                        self.count(place, 2);
                        self.issue(cycle, Precharge, bank, open, 0);
                        return;
                    }
                }
                Some(_) => {}
            }
        }
    }

    /// A request is a hit, a miss or a conflict by its first command.
    fn count(&mut self, place: usize, which: usize) {
        let first = !std::mem::replace(&mut self.queue[place].counted, true);
        self.hits_misses_conflicts[which] += u64::from(first);
    }
}
