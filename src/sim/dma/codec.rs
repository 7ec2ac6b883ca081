//! How an engine unpacks a coded block while it comes.
//!
//! A block of S bytes becomes W wanted ones, W more than S. Of what has crossed the bus the share that it is of S is unpacked of W, rounded down:
//! when which byte comes out is by the block's size alone, never by what lies in it. An engine keeps nothing of a block but what it is
//! unpacking, so that the bus waits for it where it unpacks more slowly than bytes come; a cycle for which the bus waits is a stall, `codec`.
//! Not here: the codes (`crate::codec`), and the bus and the link, of which `ideal` and `banked` say how unpacking slows them.

use super::super::error::SimError;
use super::super::memory::size;
use super::super::queue::Shared;
use super::Flight;
use crate::codec::Coding;
use crate::program::{UnitId, UnitKind};
use crate::units::BytesPerCycle;

/// What a transfer knows of the block that it fetches.
#[derive(Debug, Clone, Copy)]
pub(super) struct Block {
    coding: Coding,
    /// Bytes that are unpacked in a cycle at most.
    pub(super) rate: BytesPerCycle,
    engine: u32,
}

impl Block {
    pub(super) fn new(coding: Coding, rate: BytesPerCycle, engine: u32) -> Self {
        Self { coding, rate, engine }
    }

    pub(super) fn engine(self) -> usize {
        self.engine as usize
    }
}

impl Flight {
    /// Bytes that the whole transfer leaves on the chip.
    pub(super) fn wanted(&self) -> u64 {
        self.rows * self.row_bytes
    }

    /// Bytes on the chip of so many that have crossed the bus.
    pub(super) fn unpacked_of(&self, crossed: u64) -> u64 {
        if self.block.is_none() { crossed } else { share(crossed, self.wanted(), self.bus_bytes) }
    }

    /// Bytes that have to cross the bus for so many on the chip.
    pub(super) fn crossed_for(&self, unpacked: u64) -> u64 {
        if self.block.is_none() {
            return unpacked;
        }
        let needed = (u128::from(unpacked) * u128::from(self.bus_bytes)).div_ceil(u128::from(self.wanted()));
        u64::try_from(needed).expect("bug: a part of a block is no more than the block; please report it")
    }

    /// Millionths of a byte that cross a link in a cycle which could carry `rate`.
    pub(super) fn link_rate(&self, rate: u64) -> u64 {
        self.block.map_or(rate, |block| share(self.bus_bytes, block.rate.millionths(), self.wanted()).clamp(1, rate))
    }

    /// Unpacks the block and counts it.
    pub(super) fn unpack(&self, shared: &mut Shared<'_>) {
        let Some(block) = self.block else { return };
        let tag = self.ending.tag;
        let actions = shared.accounts.actions(tag);
        actions.coded_bytes += self.bus_bytes;
        actions.unpacked_bytes += self.wanted();
        if !shared.has_numbers {
            return;
        }
        let coded = &shared.dram[size(self.dram)..size(self.dram + self.bus_bytes)];
        let unpacked = &mut shared.unpacked[block.engine()];
        unpacked.resize(size(self.wanted()), 0);
        if let Err(problem) = block.coding.decode(coded, unpacked) {
            let unit = UnitId { core: 0, kind: UnitKind::Dma, index: block.engine };
            let (address, bytes, wanted) = (self.dram, self.bus_bytes, self.wanted());
            shared.fault.get_or_insert(SimError::NotDecodable { unit, address, bytes, wanted, problem });
        }
    }
}

/// `part * of / whole`, rounded down.
fn share(part: u64, of: u64, whole: u64) -> u64 {
    u64::try_from(u128::from(part) * u128::from(of) / u128::from(whole)).unwrap_or(u64::MAX)
}
