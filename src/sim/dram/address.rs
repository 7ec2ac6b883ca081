//! Where an address lies: its channel, bank, row and burst, as the chip's mapping says.
//!
//! ```text
//! RoRaBaCoBgCh:   | row | rank | bank | burst in the row | bank group | channel | byte in the burst |
//! ```
//!
//! Every part is a power of two, so it is a run of bits.

use crate::chip::{AddressPart, Banked};

/// A part's bits in an address.
#[derive(Debug, Clone, Copy, Default)]
struct Bits {
    shift: u32,
    mask: u64,
}

impl Bits {
    fn of(self, address: u64) -> u32 {
        u32::try_from((address >> self.shift) & self.mask).expect("bug: a part of an address has 32 bits at most; please report it")
    }
}

/// Where a burst lies.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Location {
    /// The channel.
    pub channel: u32,
    /// The bank in its channel: `(rank * bank groups + bank group) * banks in a group + bank`.
    pub bank: u32,
    /// The row in its bank.
    pub row: u32,
    /// The burst in its row.
    pub column: u32,
}

/// The chip's mapping, worked out.
#[derive(Debug, Clone, Copy)]
pub(super) struct AddressMap {
    row: Bits,
    rank: Bits,
    group: Bits,
    bank: Bits,
    column: Bits,
    channel: Bits,
    groups: u32,
    banks_per_group: u32,
    /// Bytes of all channels.
    capacity: u64,
}

impl AddressMap {
    pub(super) fn new(banked: &Banked) -> Self {
        let organisation = &banked.organisation;
        let mut map = Self {
            row: Bits::default(),
            rank: Bits::default(),
            group: Bits::default(),
            bank: Bits::default(),
            column: Bits::default(),
            channel: Bits::default(),
            groups: organisation.bank_groups,
            banks_per_group: organisation.banks_per_group,
            capacity: banked.capacity_bytes(),
        };
        let mut shift = organisation.burst_bytes().trailing_zeros();
        for part in banked.mapping.0.into_iter().rev() {
            let (bits, size) = match part {
                AddressPart::Ro => (&mut map.row, organisation.rows),
                AddressPart::Ra => (&mut map.rank, organisation.ranks),
                AddressPart::Bg => (&mut map.group, organisation.bank_groups),
                AddressPart::Ba => (&mut map.bank, organisation.banks_per_group),
                AddressPart::Co => (&mut map.column, organisation.row_bytes / organisation.burst_bytes()),
                AddressPart::Ch => (&mut map.channel, banked.channels),
            };
            *bits = Bits { shift, mask: u64::from(size - 1) };
            shift += size.trailing_zeros();
        }
        map
    }

    /// Where the burst that holds `address` lies. An address beyond the capacity goes round.
    pub(super) fn locate(&self, address: u64) -> Location {
        let address = address & (self.capacity - 1);
        Location {
            channel: self.channel.of(address),
            bank: (self.rank.of(address) * self.groups + self.group.of(address)) * self.banks_per_group + self.bank.of(address),
            row: self.row.of(address),
            column: self.column.of(address),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::dram::fixture;
    use std::collections::BTreeSet;

    #[test]
    fn a_stream_goes_round_channels_then_groups_then_along_the_row() {
        let mut banked = fixture::banked("DDR4-2400");
        banked.channels = 2;
        let map = AddressMap::new(&banked);
        // 64 bytes a burst, 2 channels, 4 groups of 4 banks, 128 bursts a row.
        for (burst, channel, bank, column) in [(0, 0, 0, 0), (1, 1, 0, 0), (2, 0, 4, 0), (7, 1, 12, 0), (8, 0, 0, 1), (1024, 0, 1, 0)] {
            let address = burst * 64 + 63;
            assert_eq!(map.locate(address), Location { channel, bank, row: 0, column }, "burst {burst}");
        }
        assert_eq!(map.locate(4096 * 64).row, 1);
    }

    #[test]
    fn every_mapping_gives_every_burst_a_place_of_its_own() {
        let mut banked = fixture::banked("HBM2");
        banked.organisation.rows = 4;
        banked.organisation.ranks = 2;
        banked.channels = 2;
        for word in ["RoRaBaCoBgCh", "ChCoBaRoRaBg", "CoRoChBgBaRa"] {
            banked.mapping = crate::chip::AddressMapping::from_word(word).unwrap();
            let map = AddressMap::new(&banked);
            let bursts = banked.capacity_bytes() / 32;
            let places: BTreeSet<_> =
                (0..bursts).map(|burst| map.locate(burst * 32)).map(|at| (at.channel, at.bank, at.row, at.column)).collect();
            assert_eq!(places.len() as u64, bursts, "{word}");
        }
    }
}
