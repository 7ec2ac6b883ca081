//! The external memory: an ideal pipe, or devices with banks and their timing.
//!
//! Not here: how a chip file writes one (`banked`), and what its timing means command by command (`sim::dram`).

use crate::units::{BytesPerCycle, Cycles, Hertz};
use serde::Serialize;

/// The external memory.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub enum Dram {
    /// A pipe: `latency + ceil(bytes / bytes_per_cycle)` core cycles, latencies overlapping.
    Ideal {
        /// Bytes that the bus moves in a core cycle, both directions together.
        bytes_per_cycle: BytesPerCycle,
        /// Core cycles before a transfer's first byte.
        latency: Cycles,
    },
    /// Devices with banks, rows and refresh behind a controller.
    Banked(Box<Banked>),
}

impl Dram {
    /// Bytes that the bus moves in a core cycle at most, for a core clock of `clock`; rounded up where it is not exact.
    pub fn bytes_per_cycle(&self, clock: Hertz) -> BytesPerCycle {
        match self {
            Self::Ideal { bytes_per_cycle, .. } => *bytes_per_cycle,
            Self::Banked(banked) => {
                let wanted = u128::from(banked.peak_bytes_per_s()) * 1_000_000;
                BytesPerCycle::from_millionths(u64::try_from(wanted.div_ceil(u128::from(clock.get().max(1)))).unwrap_or(u64::MAX))
            }
        }
    }

    /// Core cycles before a transfer's first byte at the least, for a core clock of `clock`; rounded down where it is not exact.
    pub fn latency(&self, clock: Hertz) -> Cycles {
        match self {
            Self::Ideal { latency, .. } => *latency,
            Self::Banked(banked) => {
                let timing = &banked.timing;
                let least = (timing.trcd_rd + timing.cl).min(timing.trcd_wr + timing.cwl);
                let dram = banked.clock();
                let cycles = u128::from(least) * u128::from(clock.get()) * u128::from(dram.denominator) / u128::from(dram.numerator);
                Cycles::new(u64::try_from(cycles).unwrap_or(u64::MAX))
            }
        }
    }
}

/// Devices with banks, as one controller a channel sees them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Banked {
    /// What they are: their energy goes by it.
    pub device: DramDevice,
    /// Where the figures come from.
    pub source: String,
    /// How the cells are laid out.
    pub organisation: Organisation,
    /// The timing, in cycles of the command clock.
    pub timing: DramTiming,
    /// Channels, a power of two, each with a controller and buses of its own.
    pub channels: u32,
    /// Requests that wait in a channel's controller at most, 1 to 64.
    pub queue_depth: u32,
    /// Column commands that may pass the oldest request before it comes first.
    pub starvation_cap: u32,
    /// What happens to a row after a column command.
    pub page: Page,
    /// Which bits of an address say what.
    pub mapping: AddressMapping,
}

/// A frequency in hertz as an exact fraction.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct CommandClock {
    /// Hertz times the denominator.
    pub numerator: u64,
    /// What the numerator is divided by; never zero.
    pub denominator: u64,
}

impl CommandClock {
    /// The frequency in hertz, rounded, for reports.
    pub fn as_f64(self) -> f64 {
        self.numerator as f64 / self.denominator as f64
    }
}

impl Banked {
    /// The command clock: data rate times the cycles of a burst over its beats, exactly.
    pub fn clock(&self) -> CommandClock {
        let organisation = &self.organisation;
        let numerator = u64::from(organisation.data_rate) * 1_000_000 * u64::from(organisation.burst_cycles);
        let denominator = u64::from(organisation.burst_length);
        let common = greatest_common_divisor(numerator, denominator);
        CommandClock { numerator: numerator / common, denominator: denominator / common }
    }

    /// Bytes a second on the buses of all channels while data flows without a gap.
    pub fn peak_bytes_per_s(&self) -> u64 {
        let organisation = &self.organisation;
        u64::from(organisation.data_rate) * 1_000_000 * u64::from(organisation.width_bits / 8) * u64::from(self.channels)
    }

    /// Bytes of all channels.
    pub fn capacity_bytes(&self) -> u64 {
        let organisation = &self.organisation;
        let banks = organisation.ranks * organisation.bank_groups * organisation.banks_per_group;
        u64::from(self.channels) * u64::from(banks) * u64::from(organisation.rows) * u64::from(organisation.row_bytes)
    }
}

fn greatest_common_divisor(a: u64, b: u64) -> u64 {
    if b == 0 { a.max(1) } else { greatest_common_divisor(b, a % b) }
}

/// A family of DRAM.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum DramDevice {
    /// DDR4 SDRAM.
    DDR4,
    /// LPDDR4.
    LPDDR4,
    /// LPDDR5.
    LPDDR5,
    /// High-bandwidth memory, second generation.
    HBM2,
    /// GDDR6.
    GDDR6,
}

/// How the cells of a channel are laid out. All but the data rate are powers of two.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Organisation {
    /// Transfers of a data pin in a second, in millions.
    pub data_rate: u32,
    /// Data pins of a channel.
    pub width_bits: u32,
    /// Transfers of a burst.
    pub burst_length: u32,
    /// Cycles of the command clock that a burst takes on the data bus.
    pub burst_cycles: u32,
    /// Ranks, which share a channel's buses.
    pub ranks: u32,
    /// Bank groups of a rank.
    pub bank_groups: u32,
    /// Banks of a group.
    pub banks_per_group: u32,
    /// Rows of a bank.
    pub rows: u32,
    /// Bytes of a row, over all devices of a channel.
    pub row_bytes: u32,
}

impl Organisation {
    /// Bytes of a burst.
    pub fn burst_bytes(&self) -> u32 {
        self.width_bits / 8 * self.burst_length
    }
}

/// Timing in cycles of the command clock, named as JEDEC does; `_s` is between bank groups, `_l` within one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct DramTiming {
    /// Read command to its first data.
    pub cl: u32,
    /// Write command to its first data.
    pub cwl: u32,
    /// Activate to read.
    pub trcd_rd: u32,
    /// Activate to write.
    pub trcd_wr: u32,
    /// Precharge of one bank to its activate.
    pub trp: u32,
    /// Precharge of all banks to refresh.
    pub trp_ab: u32,
    /// Activate to precharge of the same bank.
    pub tras: u32,
    /// Activate to activate of the same bank.
    pub trc: u32,
    /// Activate to activate of another bank group.
    pub trrd_s: u32,
    /// Activate to activate in the same bank group.
    pub trrd_l: u32,
    /// In which at most four activates of a rank lie.
    pub tfaw: u32,
    /// Column command to one of the same kind, another bank group.
    pub tccd_s: u32,
    /// Column command to one of the same kind, the same bank group.
    pub tccd_l: u32,
    /// End of write data to read, another bank group.
    pub twtr_s: u32,
    /// End of write data to read, the same bank group.
    pub twtr_l: u32,
    /// End of write data to precharge.
    pub twr: u32,
    /// Read to precharge.
    pub trtp: u32,
    /// Refresh to any other command of the rank.
    pub trfc: u32,
    /// Between refreshes.
    pub trefi: u32,
    /// Idle cycles of the data bus between read data and write data of one rank.
    pub turnaround: u32,
    /// Idle cycles of the data bus between data of two ranks.
    pub trtrs: u32,
}

/// What happens to a row after a column command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum Page {
    /// It stays open until another row of its bank is wanted, or a refresh.
    Open,
    /// It closes by itself: every column command precharges.
    Closed,
}

/// A part of an address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub enum AddressPart {
    /// Row.
    Ro,
    /// Rank.
    Ra,
    /// Bank group.
    Bg,
    /// Bank in its group.
    Ba,
    /// Burst of a row.
    Co,
    /// Channel.
    Ch,
}

/// The parts of an address above the bytes of a burst, the highest bits first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct AddressMapping(pub [AddressPart; 6]);

impl AddressMapping {
    const PARTS: [(&'static str, AddressPart); 6] = [
        ("Ro", AddressPart::Ro),
        ("Ra", AddressPart::Ra),
        ("Bg", AddressPart::Bg),
        ("Ba", AddressPart::Ba),
        ("Co", AddressPart::Co),
        ("Ch", AddressPart::Ch),
    ];

    /// The mapping that a word such as `RoRaBaCoBgCh` names, if it names each part once.
    pub fn from_word(word: &str) -> Option<Self> {
        let mut parts = Vec::with_capacity(6);
        let mut rest = word;
        while !rest.is_empty() && parts.len() < 6 {
            let (name, part) = Self::PARTS.into_iter().find(|(name, _)| rest.starts_with(name))?;
            if parts.contains(&part) {
                return None;
            }
            parts.push(part);
            rest = &rest[name.len()..];
        }
        if rest.is_empty() { parts.try_into().ok().map(Self) } else { None }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mapping_names_each_part_once() {
        let mapping = AddressMapping::from_word("RoRaBaCoBgCh").unwrap();
        assert_eq!(mapping.0[3], AddressPart::Co);
        for wrong in ["", "RoRaBaCoBg", "RoRaBaCoBgBg", "RoRaBaCoBgChCh", "RoRaBaCoBgXx", "roRaBaCoBgCh", "RoRaBaCoBgC"] {
            assert_eq!(AddressMapping::from_word(wrong), None, "{wrong}");
        }
    }
}
