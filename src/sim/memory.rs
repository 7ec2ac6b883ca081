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
    banks: u64,
    /// The cycle in which each bank last served a row.
    served: Vec<u64>,
    /// The cycle from which each row may be read again; empty where writes are never pending.
    ready: Vec<u64>,
    /// Cycles from an update's read to its write.
    update_latency: u64,
    conflict: StallReason,
    /// Whether every row is had whenever it is wanted.
    is_peeled: bool,
}

impl Sram {
    /// A memory whose writes are done in the cycle in which they are made.
    pub(super) fn new(capacity: u64, port: u32, banks: u32, conflict: StallReason) -> Self {
        Self {
            bytes: vec![0; size(capacity)],
            version: 0,
            port: u64::from(port),
            banks: u64::from(banks),
            served: vec![u64::MAX; banks as usize],
            ready: Vec::new(),
            update_latency: 0,
            conflict,
            is_peeled: false,
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

    /// The row that holds a byte.
    pub(super) fn row_of(&self, address: u64) -> u64 {
        address / self.port
    }

    /// Bytes of a row.
    pub(super) fn port(&self) -> u64 {
        self.port
    }

    /// Takes the port of `row`'s bank for this cycle, to read or write it.
    pub(super) fn take(&mut self, row: u64, cycle: u64) -> Result<(), StallReason> {
        if self.is_peeled {
            return Ok(());
        }
        if let Some(ready) = self.ready.get(size(row))
            && *ready > cycle
        {
            return Err(StallReason::AccumulatorHazard);
        }
        let bank = size(row % self.banks);
        if self.served[bank] == cycle {
            return Err(self.conflict);
        }
        self.served[bank] = cycle;
        Ok(())
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
