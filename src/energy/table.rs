//! The energy of every action of one chip, each with its fidelity and source.
//!
//! Resolved once, before anything runs. Not here: how often an action happened (`account`).

use super::EnergyError;
use super::arithmetic::{self, Figure};
use super::dram;
use super::parts::ChipParts;
use super::sram::{self, Bank};
use crate::chip::{Action, Banked, Chip, Dram, EnergyEntry, EnergySource, Fidelity, ShippedTable};
use crate::numerics::Dtype;
use crate::units::{Bytes, Hertz};
use std::collections::BTreeMap;

/// Energy per action of one chip: complete for every action that the chip can do.
#[derive(Debug, Clone, PartialEq)]
pub struct EnergyTable {
    entries: Vec<EnergyEntry>,
    index: BTreeMap<Action, usize>,
    clock: Hertz,
    pes: u64,
}

impl EnergyTable {
    /// The table of `chip`: the shipped one worked out for its technology, formats and memories, or the chip file's own.
    ///
    /// # Errors
    /// If the chip file lists its own energies and leaves out an action that the chip can do.
    pub fn resolve(chip: &Chip) -> Result<Self, EnergyError> {
        Self::from_parts(&ChipParts::from(chip), chip.energy())
    }

    /// As [`EnergyTable::resolve`], from parts.
    ///
    /// # Errors
    /// If a listed table leaves out an action.
    pub fn from_parts(parts: &ChipParts<'_>, source: &EnergySource) -> Result<Self, EnergyError> {
        let entries = match source {
            EnergySource::Table(ShippedTable::Nm45) => shipped(parts),
            EnergySource::Listed(entries) => entries.clone(),
        };
        let mut index = BTreeMap::new();
        for (position, entry) in entries.iter().enumerate() {
            index.entry(entry.action).or_insert(position);
        }
        let missing: Vec<String> =
            parts.actions().iter().filter(|action| !index.contains_key(action)).map(|action| format!("{action:?}")).collect();
        if !missing.is_empty() {
            return Err(EnergyError::MissingActions(missing));
        }
        Ok(Self { entries, index, clock: parts.clock, pes: parts.pes() })
    }

    /// Every entry, in the order of tables.
    pub fn entries(&self) -> &[EnergyEntry] {
        &self.entries
    }

    /// The entry of one action; nothing for an action that this chip cannot do.
    pub fn entry(&self, action: Action) -> Option<&EnergyEntry> {
        self.index.get(&action).map(|&position| &self.entries[position])
    }

    /// The entry of a multiply-accumulate in this pair of formats.
    pub fn mac(&self, weight: Dtype, activation: Dtype) -> Option<&EnergyEntry> {
        self.entry(Action::Mac { weight, activation })
    }

    /// The core clock, which turns cycles into leakage.
    pub(super) fn clock(&self) -> Hertz {
        self.clock
    }

    /// PEs of all cores, each clocked in each cycle.
    pub(super) fn pes(&self) -> u64 {
        self.pes
    }
}

/// The shipped table for these parts.
fn shipped(parts: &ChipParts<'_>) -> Vec<EnergyEntry> {
    let technology = parts.technology;
    let pads: Vec<Bank> = parts.scratchpads.iter().map(|pad| one_bank(parts, pad.capacity, pad.banks, pad.port_bytes)).collect();
    let accumulator = parts.accumulator;
    let sums = one_bank(parts, accumulator.capacity, accumulator.banks, accumulator.port_bytes);
    let byte = dram::byte(parts.dram);

    let figure_of = |action: Action| match action {
        Action::Mac { weight, activation } => arithmetic::mac(technology, parts.format(weight, activation)),
        Action::GatedMac { weight, activation } => arithmetic::gated_mac(technology, parts.format(weight, activation)),
        Action::RegisterBit => arithmetic::register_bit(technology),
        Action::ZeroPointSubtract => arithmetic::zero_point_subtract(technology),
        Action::ScratchpadRead(pad) => memory(parts, &pads[pad], pads[pad].read_pj),
        Action::ScratchpadWrite(pad) => memory(parts, &pads[pad], pads[pad].write_pj),
        Action::AccumulatorRead => memory(parts, &sums, sums.read_pj),
        Action::AccumulatorWrite => memory(parts, &sums, sums.write_pj),
        Action::DramReadByte | Action::DramWriteByte => byte.clone(),
        Action::DramActivate => dram::activate(banked(parts.dram)),
        Action::DramRefresh => dram::refresh(banked(parts.dram)),
        Action::CodecByte => arithmetic::codec_byte(technology),
        Action::VectorOperation => arithmetic::vector_operation(technology, parts.vector.requantize),
        Action::PeClock { weight, activation } => arithmetic::pe_clock(technology, parts.format(weight, activation)),
        Action::LeakageMicrosecond => leakage(parts, &pads, &sums),
    };
    let entry = |action| {
        let Figure { value, fidelity, source } = figure_of(action);
        EnergyEntry { action, picojoules: value, fidelity, source }
    };
    parts.actions().into_iter().map(entry).collect()
}

/// One of the banks that a memory is made of.
pub(super) fn one_bank(parts: &ChipParts<'_>, capacity: Bytes, banks: u32, port_bytes: u32) -> Bank {
    sram::bank(parts.technology, capacity.as_f64() / f64::from(banks), port_bytes.saturating_mul(8))
}

fn memory(parts: &ChipParts<'_>, bank: &Bank, value: f64) -> Figure {
    Figure { value, fidelity: bank.fidelity, source: sram_source(parts) }
}

/// What stands as the source of a memory's figure.
pub(super) fn sram_source(parts: &ChipParts<'_>) -> String {
    let technology = parts.technology;
    format!("CACTI 7, {:?} cells, 300 K, interpolated to {} nm and {} V", technology.sram_cell, technology.node_nm, technology.supply_v)
}

/// Leakage of all on-chip memories of all cores in pJ a microsecond (1 mW = 1000 pJ/us). Logic leakage is not modelled.
fn leakage(parts: &ChipParts<'_>, pads: &[Bank], sums: &Bank) -> Figure {
    let of_pads: f64 = parts.scratchpads.iter().zip(pads).map(|(pad, bank)| bank.leakage_mw * f64::from(pad.banks)).sum();
    let milliwatts = (of_pads + sums.leakage_mw * f64::from(parts.accumulator.banks)) * f64::from(parts.cores);
    let fidelity = pads.iter().map(|bank| bank.fidelity).fold(sums.fidelity, Fidelity::max);
    let source = format!("{}: on-chip memories; leakage of logic is not modelled", sram_source(parts));
    Figure { value: milliwatts * 1000.0, fidelity, source }
}

/// The DRAM with banks of a chip that activates rows.
fn banked(dram: &Dram) -> &Banked {
    match dram {
        Dram::Banked(banked) => banked,
        Dram::Ideal { .. } => unreachable!("bug: an ideal DRAM has no rows to activate; please report it"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::energy::parts::fixture;

    const NM45: EnergySource = EnergySource::Table(ShippedTable::Nm45);

    #[test]
    fn every_action_of_the_chip_has_an_energy_with_a_source() {
        let parts = fixture::small();
        let table = EnergyTable::from_parts(&parts.parts(), &NM45).unwrap();
        assert_eq!(table.entries().len(), 1 + 3 + 2 + 7);
        for entry in table.entries() {
            assert!(entry.picojoules > 0.0 && entry.picojoules.is_finite() && !entry.source.is_empty(), "{entry:?}");
        }
    }

    #[test]
    fn entries_worked_by_hand() {
        let mut parts = fixture::small();
        parts.technology.supply_v = 1.1;
        let table = EnergyTable::from_parts(&parts.parts(), &NM45).unwrap();
        let cost = |action| table.entry(action).unwrap().picojoules;
        let close = |left: f64, right: f64| assert!((left - right).abs() < 1e-9 * right, "{left} is not {right}");
        // A bank of 8 KiB with 128 bits a row, and two of 8 KiB with 512 bits.
        close(cost(Action::ScratchpadRead(0)), 7.9164);
        close(cost(Action::ScratchpadWrite(0)), 14.052);
        close(cost(Action::AccumulatorRead), 31.896);
        close(cost(Action::DramReadByte), 64.0);
        // 4 * 0.00025584 + 2 * 0.00025231 mW.
        close(cost(Action::LeakageMicrosecond), 1.527_98);
    }

    #[test]
    fn a_list_is_taken_as_it_is_and_must_be_complete() {
        let parts = fixture::small();
        let shipped = EnergyTable::from_parts(&parts.parts(), &NM45).unwrap();
        let mut entries = shipped.entries().to_vec();
        let listed = EnergyTable::from_parts(&parts.parts(), &EnergySource::Listed(entries.clone())).unwrap();
        assert_eq!(listed, shipped);
        entries.retain(|entry| entry.action != Action::VectorOperation);
        let error = EnergyTable::from_parts(&parts.parts(), &EnergySource::Listed(entries)).unwrap_err();
        assert_eq!(error, EnergyError::MissingActions(vec!["VectorOperation".to_owned()]));
    }
}
