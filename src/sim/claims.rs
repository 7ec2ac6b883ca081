//! The memory rows that a unit must have before it goes on: taken as their banks' ports are free, over several cycles if need be.

use super::queue::Shared;
use crate::counts::StallReason;
use crate::program::Place;

/// What a row is taken for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Use {
    /// To read or to write it.
    Access,
    /// To read, add and write back.
    Update,
}

#[derive(Debug, Clone, Copy)]
struct Claim {
    place: Place,
    row: u64,
    purpose: Use,
}

/// Rows that are still to be had.
#[derive(Debug)]
pub(super) struct Claims(Vec<Claim>);

impl Claims {
    /// None, with room for the usual number.
    pub(super) fn new() -> Self {
        Self(Vec::with_capacity(64))
    }

    /// Whether all rows were had.
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many rows are still to be had.
    pub(super) fn len(&self) -> usize {
        self.0.len()
    }

    /// Adds the rows that hold these bytes.
    pub(super) fn add(&mut self, shared: &Shared<'_>, place: Place, address: u64, bytes: u64, purpose: Use) {
        let memory = shared.sram_ref(place);
        let rows = memory.row_of(address)..=memory.row_of(address + bytes - 1);
        self.0.extend(rows.map(|row| Claim { place, row, purpose }));
    }

    /// Adds a row.
    pub(super) fn add_row(&mut self, place: Place, row: u64, purpose: Use) {
        self.0.push(Claim { place, row, purpose });
    }

    /// Takes out what is in it, in order.
    pub(super) fn drain(&mut self) -> impl Iterator<Item = (Place, u64, Use)> + '_ {
        self.0.drain(..).map(|claim| (claim.place, claim.row, claim.purpose))
    }

    /// Takes the ports that are to be had in this cycle; tells why if any is not.
    pub(super) fn take(&mut self, shared: &mut Shared<'_>, cycle: u64) -> Option<StallReason> {
        if self.0.is_empty() {
            return None;
        }
        let mut reason = None;
        self.0.retain(|claim| {
            let memory = shared.sram(claim.place);
            let taken = match claim.purpose {
                Use::Access => memory.take(claim.row, cycle),
                Use::Update => memory.take_update(claim.row, cycle),
            };
            taken.inspect_err(|why| _ = reason.get_or_insert(*why)).is_err()
        });
        reason
    }
}
