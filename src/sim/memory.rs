//! On-chip memories: bytes in banks, each of which serves one row a cycle.

use crate::counts::StallReason;
use crate::program::Place;

/// A banked memory. Row i, a port wide, lies in bank i mod banks.
#[derive(Debug, Clone)]
pub(super) struct Sram {
    bytes: Vec<u8>,
    /// How often it was written: what was made from its bytes holds while this stays.
    version: u64,
    port: u64,
    /// The port's width as a power of two, if it is one.
    port_bits: Option<u32>,
    banks: u64,
    /// What is left of a row's number modulo the banks, where they are a power of two.
    bank_mask: Option<u64>,
    /// The cycle in which each bank last served a row.
    served: Vec<u64>,
    /// The cycle from which each row may be read again; empty where writes are never pending.
    ready: Vec<u64>,
    /// Cycles from an update's read to its write.
    update_latency: u64,
    conflict: StallReason,
    /// Whether every row is had whenever it is wanted.
    is_peeled: bool,
    plan: Plan,
}

/// Banks of a memory that can be told apart in a plan.
pub(super) const MAX_PLANNED_BANKS: u32 = u64::BITS;

/// What the array, which goes first, will take of a memory.
#[derive(Debug, Clone, Default)]
struct Plan {
    /// Its first cycle.
    from: u64,
    /// The banks that serve the array in each cycle.
    cycles: Vec<u64>,
    /// Rows that are updated: the number of the cycle, the row, and from when on it could have been read if it were not.
    updates: Vec<(usize, u64, u64)>,
}

impl Sram {
    /// A memory whose writes are done in the cycle in which they are made.
    pub(super) fn new(capacity: u64, port: u32, banks: u32, conflict: StallReason) -> Self {
        Self {
            bytes: vec![0; size(capacity)],
            version: 0,
            port: u64::from(port),
            port_bits: port.is_power_of_two().then(|| port.trailing_zeros()),
            banks: u64::from(banks),
            bank_mask: banks.is_power_of_two().then(|| u64::from(banks) - 1),
            served: vec![u64::MAX; banks as usize],
            ready: Vec::new(),
            update_latency: 0,
            conflict,
            is_peeled: false,
            plan: Plan::default(),
        }
    }

    /// The memory, and if `is_peeled` with ports for whoever wants a row.
    pub(super) fn peeled(mut self, is_peeled: bool) -> Self {
        self.is_peeled = is_peeled;
        self
    }

    /// A memory of `capacity` bytes whose updates are pending for `latency` cycles.
    pub(super) fn with_pending_writes(mut self, capacity: u64, latency: u64) -> Self {
        self.ready = vec![0; size(capacity.div_ceil(self.port))];
        self.update_latency = latency.max(1);
        self
    }

    /// Zeros every byte.
    pub(super) fn empty(&mut self) {
        self.version += 1;
        self.bytes.fill(0);
    }

    /// The row that holds a byte.
    pub(super) fn row_of(&self, address: u64) -> u64 {
        match self.port_bits {
            Some(bits) => address >> bits,
            None => address / self.port,
        }
    }

    /// Bytes of a row.
    pub(super) fn port(&self) -> u64 {
        self.port
    }

    /// The bank of a row.
    pub(super) fn bank_of(&self, row: u64) -> u32 {
        u32::try_from(self.bank(row)).expect("bug: a memory has few banks")
    }

    fn bank(&self, row: u64) -> u64 {
        match self.bank_mask {
            Some(mask) => row & mask,
            None => row % self.banks,
        }
    }

    /// Bytes from an address to the end of its row.
    pub(super) fn left_of_row(&self, address: u64) -> u64 {
        match self.port_bits {
            Some(_) => self.port - (address & (self.port - 1)),
            None => self.port - address % self.port,
        }
    }

    /// Takes the port of `row`'s bank for this cycle, to read or write it.
    pub(super) fn take(&mut self, row: u64, cycle: u64) -> Result<(), StallReason> {
        if self.is_peeled {
            return Ok(());
        }
        if self.is_pending(row, cycle) {
            return Err(StallReason::AccumulatorHazard);
        }
        let bank = size(self.bank(row));
        if self.served[bank] == cycle || self.is_planned(bank, cycle) {
            return Err(self.conflict);
        }
        self.served[bank] = cycle;
        Ok(())
    }

    /// Whether the array takes a bank in a cycle, as planned.
    fn is_planned(&self, bank: usize, cycle: u64) -> bool {
        let Plan { from, cycles, .. } = &self.plan;
        cycle.checked_sub(*from).and_then(|at| cycles.get(size(at))).is_some_and(|banks| banks >> bank & 1 == 1)
    }

    /// Whether a row has a pending write in a cycle, whatever is planned for later ones.
    fn is_pending(&self, row: u64, cycle: u64) -> bool {
        let Some(ready) = self.ready.get(size(row)).filter(|ready| **ready > cycle) else { return false };
        if *ready <= cycle + self.update_latency {
            return true;
        }
        let Plan { from, updates, .. } = &self.plan;
        let later = updates.iter().find(|(at, of, _)| *of == row && from + *at as u64 > cycle);
        later.is_none_or(|(_, _, before)| *before > cycle)
    }

    /// Begins a plan for the cycles from `from` on.
    pub(super) fn begin_plan(&mut self, from: u64) {
        self.plan.from = from;
        self.plan.cycles.clear();
        self.plan.updates.clear();
    }

    /// Plans one more cycle.
    pub(super) fn plan_cycle(&mut self) {
        self.plan.cycles.push(0);
    }

    /// Takes the port of a row's bank for the planned cycle `cycle`, which is the last, before any other unit has had it.
    pub(super) fn plan(&mut self, row: u64, bank: u32, updates: bool, cycle: u64) -> Result<(), StallReason> {
        if let Some(ready) = self.ready.get(size(row))
            && *ready > cycle
        {
            return Err(StallReason::AccumulatorHazard);
        }
        let number = self.plan.cycles.len().saturating_sub(1);
        let Some(banks) = self.plan.cycles.last_mut().filter(|banks| **banks >> bank & 1 == 0) else { return Err(self.conflict) };
        *banks |= 1 << bank;
        if updates && let Some(ready) = self.ready.get_mut(size(row)) {
            self.plan.updates.push((number, row, *ready));
            *ready = cycle + self.update_latency;
        }
        Ok(())
    }

    /// The banks of the rows that hold these bytes, if none of them holds two.
    pub(super) fn banks_of(&self, address: u64, bytes: u64) -> Option<u64> {
        let first = self.row_of(address);
        let rows = self.row_of(address + bytes - 1) - first + 1;
        if rows == 1 {
            return Some(1 << self.bank(first));
        }
        if rows > self.banks {
            return None;
        }
        let bank = self.bank(first);
        let ones = |count: u64| if count == 64 { u64::MAX } else { (1 << count) - 1 };
        let behind = (bank + rows).saturating_sub(self.banks);
        Some(ones(rows - behind) << bank | ones(behind))
    }

    /// Takes the ports of a line's rows for the planned cycle `cycle`, which comes next, if all are to be had in it; their banks.
    pub(super) fn plan_line(&mut self, address: u64, bytes: u64, updates: bool, cycle: u64) -> Option<u64> {
        let row = self.row_of(address);
        if row == self.row_of(address + bytes - 1) {
            if let Some(ready) = self.ready.get_mut(size(row)) {
                if *ready > cycle {
                    return None;
                }
                if updates {
                    self.plan.updates.push((self.plan.cycles.len(), row, *ready));
                    *ready = cycle + self.update_latency;
                }
            }
            return Some(1 << self.bank(row));
        }
        let banks = self.banks_of(address, bytes)?;
        let rows = size(self.row_of(address))..size(self.row_of(address + bytes - 1)) + 1;
        // There are none where writes are never pending.
        let ready = self.ready.get_mut(rows.clone()).unwrap_or_default();
        if ready.iter().any(|ready| *ready > cycle) {
            return None;
        }
        if updates {
            for (row, ready) in rows.zip(ready) {
                self.plan.updates.push((self.plan.cycles.len(), row as u64, *ready));
                *ready = cycle + self.update_latency;
            }
        }
        Some(banks)
    }

    /// Plans one more cycle, in which the array takes these banks.
    pub(super) fn plan_banks(&mut self, banks: u64) {
        self.plan.cycles.push(banks);
    }

    /// Forgets all but the first `kept` cycles of the plan.
    pub(super) fn cut_plan(&mut self, kept: usize) {
        self.plan.cycles.truncate(kept);
        while let Some((_, row, before)) = self.plan.updates.pop_if(|(at, ..)| *at >= kept) {
            self.ready[size(row)] = before;
        }
    }

    /// Takes the port of `row`'s bank for this cycle, to read, add and write back; the write stays pending for the memory's latency.
    pub(super) fn take_update(&mut self, row: u64, cycle: u64) -> Result<(), StallReason> {
        self.take(row, cycle)?;
        if let Some(ready) = self.ready.get_mut(size(row)) {
            *ready = cycle + self.update_latency;
        }
        Ok(())
    }

    /// The bytes at an address.
    pub(super) fn read(&self, address: u64, bytes: u64) -> &[u8] {
        &self.bytes[size(address)..size(address + bytes)]
    }

    /// The bytes at an address, to write.
    pub(super) fn write(&mut self, address: u64, bytes: u64) -> &mut [u8] {
        self.version += 1;
        &mut self.bytes[size(address)..size(address + bytes)]
    }

    /// Changes whenever bytes are written.
    pub(super) fn version(&self) -> u64 {
        self.version
    }
}

/// A checked address or size as an index.
pub(super) fn size(bytes: u64) -> usize {
    usize::try_from(bytes).expect("bug: a verified program's addresses fit in memory")
}

/// The number of the scratchpad at a place.
pub(super) fn scratchpad_index(place: Place) -> usize {
    match place {
        Place::Scratchpad(_, index) => index as usize,
        Place::Accumulator(_) | Place::Dram => unreachable!("bug: the verifier lets operands stream from scratchpads only"),
    }
}
