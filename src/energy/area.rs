//! The area of every part of one chip, each with its fidelity and source.
//!
//! Array, memories and vector unit; control, interconnect, pads and DRAM are not modelled. Not here: energy.

use super::EnergyError;
use super::arithmetic;
use super::parts::ChipParts;
use super::table::{one_bank, sram_source};
use crate::chip::{AreaEntry, AreaSource, Chip, Fidelity, Part, ShippedTable};
use crate::units::{Bytes, SquareMillimetres};

/// Area per part of one chip, on all its cores together.
#[derive(Debug, Clone, PartialEq)]
pub struct AreaTable {
    entries: Vec<AreaEntry>,
}

impl AreaTable {
    /// The areas of `chip`: worked out from the shipped tables, or the chip file's own.
    ///
    /// # Errors
    /// If the chip file lists its own areas and leaves out a part that the chip has.
    pub fn resolve(chip: &Chip) -> Result<Self, EnergyError> {
        Self::from_parts(&ChipParts::from(chip), chip.area())
    }

    /// As [`AreaTable::resolve`], from parts.
    ///
    /// # Errors
    /// If a listed table leaves out a part.
    pub fn from_parts(parts: &ChipParts<'_>, source: &AreaSource) -> Result<Self, EnergyError> {
        let entries = match source {
            AreaSource::Table(ShippedTable::Nm45) => shipped(parts),
            AreaSource::Listed(entries) => entries.clone(),
        };
        let has = |part: &Part| entries.iter().any(|entry| entry.part == *part);
        let missing: Vec<String> = parts.area_parts().iter().filter(|part| !has(part)).map(|part| format!("{part:?}")).collect();
        if missing.is_empty() { Ok(Self { entries }) } else { Err(EnergyError::MissingParts(missing)) }
    }

    /// Every entry, in the order of tables.
    pub fn entries(&self) -> &[AreaEntry] {
        &self.entries
    }

    /// All parts together.
    pub fn total(&self) -> SquareMillimetres {
        self.entries.iter().map(|entry| SquareMillimetres::new(entry.square_millimetres)).sum()
    }

    /// The share of the total that is assumed, 0 to 1.
    pub fn assumed_share(&self) -> f64 {
        let assumed = self.entries.iter().filter(|entry| entry.fidelity == Fidelity::Assumed);
        let assumed: f64 = assumed.map(|entry| entry.square_millimetres).sum();
        let total = self.total().get();
        if total > 0.0 { assumed / total } else { 0.0 }
    }
}

fn shipped(parts: &ChipParts<'_>) -> Vec<AreaEntry> {
    const MM2_A_UM2: f64 = 1e-6;
    let cores = f64::from(parts.cores);
    let memory = |capacity: Bytes, banks: u32, port_bytes: u32| {
        let bank = one_bank(parts, capacity, banks, port_bytes);
        (bank.area_mm2 * f64::from(banks) * cores, bank.fidelity, sram_source(parts))
    };
    let entry = |part: Part| {
        let (square_millimetres, fidelity, source) = match part {
            Part::Array => {
                let pe = arithmetic::pe_area(parts);
                (pe.value * parts.pes() as f64 * MM2_A_UM2, pe.fidelity, pe.source)
            }
            Part::Scratchpad(pad) => {
                let pad = parts.scratchpads[pad];
                memory(pad.capacity, pad.banks, pad.port_bytes)
            }
            Part::Accumulator => memory(parts.accumulator.capacity, parts.accumulator.banks, parts.accumulator.port_bytes),
            Part::VectorUnit => {
                let lane = arithmetic::vector_lane_area(parts.technology, parts.vector.requantize);
                (lane.value * f64::from(parts.vector.lanes) * cores * MM2_A_UM2, lane.fidelity, lane.source)
            }
        };
        AreaEntry { part, square_millimetres, fidelity, source }
    };
    parts.area_parts().into_iter().map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::energy::parts::fixture;

    #[test]
    fn parts_worked_by_hand() {
        let parts = fixture::small();
        let table = AreaTable::from_parts(&parts.parts(), &AreaSource::Table(ShippedTable::Nm45)).unwrap();
        let of = |part| table.entries().iter().find(|entry| entry.part == part).unwrap().square_millimetres;
        let close = |left: f64, right: f64| assert!((left - right).abs() < 1e-9 * right, "{left} is not {right}");
        close(of(Part::Array), 256.0 * 659e-6);
        close(of(Part::Scratchpad(0)), 4.0 * 0.027_706);
        close(of(Part::Accumulator), 2.0 * 0.049_229);
        // fp32 mult 7700 + int32 add 137 + 64 flip-flops of 5 um2, 16 lanes.
        close(of(Part::VectorUnit), 16.0 * 8157e-6);
        let sum: f64 = table.entries().iter().map(|entry| entry.square_millimetres).sum();
        close(table.total().get(), sum);
    }
}
