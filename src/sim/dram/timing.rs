//! When a command may be issued at the earliest: the spacing that every command leaves behind it, by bank, bank group, rank and channel.
//!
//! | from | to | in | cycles |
//! | --- | --- | --- | --- |
//! | activate | read, write | bank | tRCD |
//! | activate | precharge | bank | tRAS |
//! | activate | activate | bank; group; rank | tRC; `tRRD_L`; `tRRD_S` |
//! | 4th activate before | activate | rank | tFAW |
//! | precharge | activate | bank | tRP |
//! | precharge of all | refresh | rank | tRP of all banks |
//! | read | precharge | bank | tRTP |
//! | write | precharge | bank | CWL + burst + tWR |
//! | read (write) | read (write) | group; rank | the greater of the burst and `tCCD_L`; `tCCD_S` |
//! | read | write | rank | CL + burst + turnaround - CWL |
//! | write | read | group; rank | CWL + burst + `tWTR_L`; `tWTR_S` |
//! | read or write | read or write | other ranks | data, then tRTRS, then data |
//! | refresh | all | rank | tRFC |
//!
//! A command that precharges by itself does so when a precharge could have followed it. The forms are JEDEC's, as ramulator2 states them for
//! DDR4. Not here: which command is chosen (`channel`).

use crate::chip::{Banked, DramTiming};

/// What a command does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// Opens a row.
    Activate,
    /// Closes a bank's row.
    Precharge,
    /// Closes every row of a rank.
    PrechargeAll,
    /// Reads a burst.
    Read,
    /// Writes a burst.
    Write,
    /// Reads a burst and closes the row.
    ReadPrecharge,
    /// Writes a burst and closes the row.
    WritePrecharge,
    /// Refreshes a rank.
    Refresh,
}

/// No row is open.
pub(super) const CLOSED: u32 = u32::MAX;

/// One bank: its row, and when it may take a command.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bank {
    pub(super) row: u32,
    rank: u8,
    group: u8,
    activate: u64,
    precharge: u64,
    read: u64,
    write: u64,
}

/// A bank group, or a rank.
#[derive(Debug, Clone, Copy, Default)]
struct Shared {
    activate: u64,
    read: u64,
    write: u64,
}

/// A rank's account.
#[derive(Debug, Clone, Copy, Default)]
struct Rank {
    shared: Shared,
    /// One past the cycles of the last four activates, the oldest at `next_activate`; 0 for none.
    activates: [u64; 4],
    next_activate: usize,
    /// When its last precharge of all banks lets it refresh.
    refresh: u64,
    /// When its next refresh is due.
    due: u64,
    /// Banks with an open row.
    open: u32,
}

/// Cycles from one command to another, worked out.
#[derive(Debug, Clone, Copy)]
struct Spacing {
    write_to_precharge: u64,
    column_group: u64,
    column_rank: u64,
    read_to_write: u64,
    write_to_read_group: u64,
    write_to_read_rank: u64,
    /// To a column command of another rank: read to read, read to write, write to read; write to write is as read to read.
    other_same: u64,
    other_read_to_write: u64,
    other_write_to_read: u64,
}

/// The timing of a channel.
#[derive(Debug, Clone)]
pub(super) struct Timing {
    t: Cycles,
    spacing: Spacing,
    banks: Vec<Bank>,
    groups: Vec<Shared>,
    ranks: Vec<Rank>,
    banks_per_rank: usize,
}

/// The fields of the timing that are used as they are, as wide as time.
#[derive(Debug, Clone, Copy)]
struct Cycles {
    cl: u64,
    cwl: u64,
    burst: u64,
    trcd_rd: u64,
    trcd_wr: u64,
    trp: u64,
    trp_ab: u64,
    tras: u64,
    trc: u64,
    trrd_s: u64,
    trrd_l: u64,
    tfaw: u64,
    trtp: u64,
    trfc: u64,
    trefi: u64,
}

impl Timing {
    pub(super) fn new(banked: &Banked) -> Self {
        let DramTiming { cl, cwl, turnaround, trtrs, tccd_s, tccd_l, twtr_s, twtr_l, twr, .. } = banked.timing;
        let [cl, cwl, turnaround, trtrs, twr] = [cl, cwl, turnaround, trtrs, twr].map(u64::from);
        let given = &banked.timing;
        let organisation = &banked.organisation;
        let burst = u64::from(organisation.burst_cycles);
        // Never zero: two commands do not share a cycle.
        let between_data = |first: u64, gap: u64, second: u64| (first + burst + gap).saturating_sub(second).max(1);
        let spacing = Spacing {
            write_to_precharge: cwl + burst + twr,
            column_group: burst.max(u64::from(tccd_l)),
            column_rank: burst.max(u64::from(tccd_s)),
            read_to_write: between_data(cl, turnaround, cwl),
            // The data bus too must be free when the read's data comes, whatever tWTR.
            write_to_read_group: (cwl + burst + u64::from(twtr_l)).max(between_data(cwl, 0, cl)),
            write_to_read_rank: (cwl + burst + u64::from(twtr_s)).max(between_data(cwl, 0, cl)),
            other_same: burst + trtrs,
            other_read_to_write: between_data(cl, trtrs, cwl),
            other_write_to_read: between_data(cwl, trtrs, cl),
        };
        let per_rank = organisation.bank_groups * organisation.banks_per_group;
        let small = |value: u32| u8::try_from(value).expect("bug: a channel has 64 banks at most; please report it");
        let bank = |index: u32| Bank {
            row: CLOSED,
            rank: small(index / per_rank),
            group: small(index / organisation.banks_per_group),
            activate: 0,
            precharge: 0,
            read: 0,
            write: 0,
        };
        let ranks = organisation.ranks as usize;
        let t = Cycles {
            cl,
            cwl,
            burst,
            trcd_rd: given.trcd_rd.into(),
            trcd_wr: given.trcd_wr.into(),
            trp: given.trp.into(),
            trp_ab: given.trp_ab.into(),
            tras: given.tras.into(),
            trc: given.trc.into(),
            trrd_s: given.trrd_s.into(),
            trrd_l: given.trrd_l.into(),
            tfaw: given.tfaw.into(),
            trtp: given.trtp.into(),
            trfc: given.trfc.into(),
            trefi: given.trefi.into(),
        };
        Self {
            t,
            spacing,
            banks: (0..organisation.ranks * per_rank).map(bank).collect(),
            groups: vec![Shared::default(); ranks * organisation.bank_groups as usize],
            ranks: vec![Rank { due: t.trefi, ..Rank::default() }; ranks],
            banks_per_rank: per_rank as usize,
        }
    }

    /// The row that is open in a bank, or `CLOSED`.
    pub(super) fn row(&self, bank: usize) -> u32 {
        self.banks[bank].row
    }

    /// Ranks of the channel.
    pub(super) fn ranks(&self) -> usize {
        self.ranks.len()
    }

    /// The first bank of a rank.
    pub(super) fn first_bank(&self, rank: usize) -> u8 {
        u8::try_from(rank * self.banks_per_rank).expect("bug: a channel has 64 banks at most; please report it")
    }

    /// When the rank of a bank is to be refreshed next.
    pub(super) fn due_of_bank(&self, bank: usize) -> u64 {
        self.ranks[usize::from(self.banks[bank].rank)].due
    }

    /// When a rank is to be refreshed next.
    pub(super) fn due(&self, rank: usize) -> u64 {
        self.ranks[rank].due
    }

    /// Cycles that must lie between an activate and the refresh after it, so that the row can be used at all.
    pub(super) fn before_refresh(&self) -> u64 {
        self.t.trcd_rd.max(self.t.trcd_wr)
    }

    /// Cycles from a column command to one past its last data.
    pub(super) fn data(&self, is_write: bool) -> u64 {
        self.t.burst + if is_write { self.t.cwl } else { self.t.cl }
    }

    /// The first cycle in which a bank may be read.
    pub(super) fn read(&self, bank: usize) -> u64 {
        let bank = &self.banks[bank];
        bank.read.max(self.groups[usize::from(bank.group)].read).max(self.ranks[usize::from(bank.rank)].shared.read)
    }

    /// The first cycle in which a bank may be written.
    pub(super) fn write(&self, bank: usize) -> u64 {
        let bank = &self.banks[bank];
        bank.write.max(self.groups[usize::from(bank.group)].write).max(self.ranks[usize::from(bank.rank)].shared.write)
    }

    /// The first cycle in which a bank may be activated.
    pub(super) fn activate(&self, bank: usize) -> u64 {
        let bank = &self.banks[bank];
        let rank = &self.ranks[usize::from(bank.rank)];
        let window = match rank.activates[rank.next_activate] {
            0 => 0,
            past => past - 1 + self.t.tfaw,
        };
        bank.activate.max(self.groups[usize::from(bank.group)].activate).max(rank.shared.activate).max(window)
    }

    /// The first cycle in which a bank may be precharged.
    pub(super) fn precharge(&self, bank: usize) -> u64 {
        self.banks[bank].precharge
    }

    /// What a rank needs next to be refreshed, and the first cycle for it, from when it is due.
    pub(super) fn refresh(&self, rank: usize) -> (Command, u64) {
        let state = &self.ranks[rank];
        let banks = &self.banks[rank * self.banks_per_rank..][..self.banks_per_rank];
        if state.open > 0 {
            let open = banks.iter().filter(|bank| bank.row != CLOSED).map(|bank| bank.precharge).max().unwrap_or(0);
            (Command::PrechargeAll, open.max(state.due))
        } else {
            let closed = banks.iter().map(|bank| bank.activate).max().unwrap_or(0);
            (Command::Refresh, closed.max(state.refresh).max(state.due))
        }
    }

    /// Whether every rank is closed, so that nothing but refreshes can happen to an empty queue.
    pub(super) fn all_closed(&self) -> bool {
        self.ranks.iter().all(|rank| rank.open == 0)
    }

    /// Lets `periods` refresh intervals pass in which every rank is only refreshed.
    pub(super) fn skip_refreshes(&mut self, periods: u64) {
        for rank in &mut self.ranks {
            rank.due += periods * self.t.trefi;
        }
    }

    /// The refresh interval.
    pub(super) fn refresh_interval(&self) -> u64 {
        self.t.trefi
    }

    pub(super) fn issue_activate(&mut self, bank: usize, row: u32, cycle: u64) {
        let t = self.t;
        let bank = &mut self.banks[bank];
        bank.row = row;
        bank.read = cycle + t.trcd_rd;
        bank.write = cycle + t.trcd_wr;
        bank.precharge = cycle + t.tras;
        bank.activate = bank.activate.max(cycle + t.trc);
        let group = &mut self.groups[usize::from(bank.group)];
        group.activate = group.activate.max(cycle + t.trrd_l);
        let rank = &mut self.ranks[usize::from(bank.rank)];
        rank.shared.activate = rank.shared.activate.max(cycle + t.trrd_s);
        rank.activates[rank.next_activate] = cycle + 1;
        rank.next_activate = (rank.next_activate + 1) % 4;
        rank.open += 1;
    }

    pub(super) fn issue_precharge(&mut self, bank: usize, cycle: u64) {
        let trp = self.t.trp;
        let bank = &mut self.banks[bank];
        bank.row = CLOSED;
        bank.activate = bank.activate.max(cycle + trp);
        self.ranks[usize::from(bank.rank)].open -= 1;
    }

    /// Precharges every bank of a rank, or refreshes it.
    pub(super) fn issue_refresh(&mut self, rank: usize, command: Command, cycle: u64) {
        let banks = &mut self.banks[rank * self.banks_per_rank..][..self.banks_per_rank];
        let state = &mut self.ranks[rank];
        if command == Command::PrechargeAll {
            for bank in banks.iter_mut().filter(|bank| bank.row != CLOSED) {
                bank.row = CLOSED;
                bank.activate = bank.activate.max(cycle + self.t.trp);
            }
            state.open = 0;
            state.refresh = cycle + self.t.trp_ab;
        } else {
            state.shared.activate = state.shared.activate.max(cycle + self.t.trfc);
            state.refresh = cycle + self.t.trfc;
            state.due += self.t.trefi;
        }
    }

    /// Reads or writes a burst; `closes` tells whether the row closes by itself after it.
    pub(super) fn issue_column(&mut self, bank: usize, is_write: bool, closes: bool, cycle: u64) {
        let Spacing {
            write_to_precharge,
            column_group,
            column_rank,
            read_to_write,
            write_to_read_group,
            write_to_read_rank,
            other_same,
            other_read_to_write,
            other_write_to_read,
        } = self.spacing;
        let bank = &mut self.banks[bank];
        let precharge = cycle + if is_write { write_to_precharge } else { self.t.trtp };
        bank.precharge = bank.precharge.max(precharge);
        let own = usize::from(bank.rank);
        let later = |time: &mut u64, wait: u64| *time = (*time).max(cycle + wait);
        let (group, rank) = (&mut self.groups[usize::from(bank.group)], &mut self.ranks[own].shared);
        if is_write {
            later(&mut group.write, column_group);
            later(&mut rank.write, column_rank);
            later(&mut group.read, write_to_read_group);
            later(&mut rank.read, write_to_read_rank);
        } else {
            later(&mut group.read, column_group);
            later(&mut rank.read, column_rank);
            later(&mut rank.write, read_to_write);
        }
        if self.ranks.len() > 1 {
            let (to_read, to_write) = if is_write { (other_write_to_read, other_same) } else { (other_same, other_read_to_write) };
            for (_, rank) in self.ranks.iter_mut().enumerate().filter(|(number, _)| *number != own) {
                later(&mut rank.shared.read, to_read);
                later(&mut rank.shared.write, to_write);
            }
        }
        if closes {
            bank.row = CLOSED;
            bank.activate = bank.activate.max(bank.precharge + self.t.trp);
            // Refresh waits for this precharge as for one of a single bank, by way of the bank's next activate.
            self.ranks[own].open -= 1;
        }
    }
}
