//! Area that stays what it was: what other parts of a chip save goes to its first scratchpad, and what they take comes from there.

use crate::chip::{self, Chip, ChipError};
use crate::energy::{AreaTable, EnergyError};
use crate::experiment::BaseChip;

/// The field that takes what is left.
pub(super) const CAPACITY: &str = "scratchpads.0.capacity";
/// The most bytes of a scratchpad.
const MOST: u64 = 1 << 30;

/// Why there is no such chip.
#[derive(Debug, thiserror::Error)]
pub(super) enum IsoError {
    /// The chip with its fields changed.
    #[error(transparent)]
    Chip(#[from] ChipError),
    /// Its area is not known.
    #[error(transparent)]
    Area(#[from] EnergyError),
    /// It is larger without any scratchpad worth the name.
    #[error("the chip takes more than the {budget:.4} mm2 of {name} even with a scratchpad of {least} bytes")]
    TooLarge {
        /// The area.
        budget: f64,
        /// The chip without the axes.
        name: String,
        /// Bytes of one row of every bank.
        least: u64,
    },
}

/// The fields `sets` and the largest first scratchpad with which the chip is no larger than without them.
pub(super) fn fill(base: &BaseChip, sets: &[(String, String)]) -> Result<(Chip, Vec<(String, String)>), IsoError> {
    let area = |chip: &Chip| -> Result<f64, IsoError> { Ok(AreaTable::resolve(chip)?.total().get()) };
    let budget = area(&base.chip)?;
    let at = |bytes: u64| -> Result<(Chip, Vec<(String, String)>), IsoError> {
        let mut all = sets.to_vec();
        all.push((CAPACITY.to_owned(), format!("B({bytes})")));
        Ok((chip::load(&base.path, &all)?, all))
    };
    // A capacity is whole rows of every bank.
    let plain = chip::load(&base.path, sets)?;
    let pad = &plain.scratchpads()[0];
    let step = u64::from(pad.banks) * u64::from(pad.port_bytes);
    let fits = |steps: u64| -> Result<bool, IsoError> { Ok(area(&at(steps * step)?.0)? <= budget) };
    let (mut low, mut high) = (1, MOST / step);
    if !fits(low)? {
        return Err(IsoError::TooLarge { budget, name: base.name.clone(), least: step });
    }
    // Area does not fall with capacity: `low` fits, and more than `high` does not.
    while low < high {
        let middle = low + (high - low).div_ceil(2);
        if fits(middle)? { low = middle } else { high = middle - 1 }
    }
    at(low * step)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_smaller_array_saves_becomes_scratchpad_and_no_step_more_would_fit() {
        let chip = chip::load("edge-16x16", &[]).unwrap();
        let base = BaseChip { name: "edge-16x16".to_owned(), path: "edge-16x16".to_owned(), chip };
        let area = |chip: &Chip| AreaTable::resolve(chip).unwrap().total().get();
        let sets = vec![("array.rows".to_owned(), "8".to_owned()), ("array.cols".to_owned(), "8".to_owned())];
        let (found, all) = fill(&base, &sets).unwrap();
        let old = base.chip.scratchpads()[0].capacity.get();
        let new = found.scratchpads()[0].capacity.get();
        assert!(new > old && area(&found) <= area(&base.chip), "{new} bytes in place of {old}");
        let step = u64::from(found.scratchpads()[0].banks) * u64::from(found.scratchpads()[0].port_bytes);
        let more = vec![sets[0].clone(), sets[1].clone(), (CAPACITY.to_owned(), format!("B({})", new + step))];
        assert!(area(&chip::load("edge-16x16", &more).unwrap()) > area(&base.chip));
        assert_eq!(all[2].1, format!("B({new})"));
        let huge = vec![("array.rows".to_owned(), "512".to_owned()), ("array.cols".to_owned(), "512".to_owned())];
        assert!(matches!(fill(&base, &huge), Err(IsoError::TooLarge { .. })));
    }
}
