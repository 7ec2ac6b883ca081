//! The energy of DRAM: a byte on the bus, a row activated, a refresh.
//!
//! - An ideal memory names no device: LPDDR4's energy a bit is assumed, for everything.
//! - HBM2 is the one device whose energy is known in parts: 3.97 pJ a bit, of which 1.21 are activation, and 909 pJ for a row of 1 KiB
//!   (O'Connor et al., MICRO 2017). A byte costs the rest, an activation goes by the row's bytes.
//! - Of the others only an energy a bit is known. It is assumed to be that of whole rows streamed, where activation is a small part of it
//!   (909 pJ / 8192 bits = 0.11 pJ a bit), so a byte costs all of it; a row is assumed to cost what HBM2's does, byte for byte.
//! - A refresh is assumed to activate the rows that it refreshes: all rows take 8192 refreshes (GDDR6: 16384).
//!
//! Not here: standby and background power, which is not modelled, and how often an action happened (`account`).

use super::arithmetic::Figure;
use super::scaling::{number, records};
use crate::chip::{Banked, Dram, DramDevice, Fidelity};

/// Energy of activating and precharging a row of HBM2, in pJ, and the row's bytes.
const ROW_PJ: f64 = 909.0;
const ROW_BYTES: f64 = 1024.0;
/// Of HBM2's energy a bit, the part that is activation, in pJ.
const ACTIVATION_PJ_PER_BIT: f64 = 1.21;
const ROW_SOURCE: &str = "O'Connor et al., MICRO 2017: 909 pJ for a row of 1 KiB of HBM2";

/// The energy of a bit of a device in the shipped table, the middle where it is a range, and where it is from.
fn per_bit(device: &str) -> (f64, String) {
    let row = records(include_str!("tables/dram.csv"))
        .find(|row| &row[0] == device)
        .expect("bug: the shipped table lacks a DRAM device; please report it");
    let value = row[2].trim_start_matches('~');
    let value = value.split_once('-').map_or_else(|| number(value), |(low, high)| f64::midpoint(number(low), number(high)));
    (value, format!("{} pJ a bit ({}): {}", &row[2], &row[3], &row[4]))
}

/// A byte on the bus, read or written.
pub(super) fn byte(dram: &Dram) -> Figure {
    let device = match dram {
        Dram::Ideal { .. } => {
            let (value, source) = per_bit("LPDDR4");
            let source = format!("assumed to be LPDDR4 at {}", source.replacen(" (read)", "", 1));
            return Figure { value: value * 8.0, fidelity: Fidelity::Assumed, source };
        }
        Dram::Banked(banked) => banked.device,
    };
    let name = match device {
        DramDevice::DDR4 => "DDR3/4",
        DramDevice::LPDDR4 => "LPDDR4",
        DramDevice::LPDDR5 => "LPDDR5 (device+IO)",
        DramDevice::HBM2 => "HBM2 device",
        DramDevice::GDDR6 => "GDDR6",
    };
    let (value, source) = per_bit(name);
    if device == DramDevice::HBM2 {
        let source = format!("{source}; less {ACTIVATION_PJ_PER_BIT} of activation");
        return Figure { value: (value - ACTIVATION_PJ_PER_BIT) * 8.0, fidelity: Fidelity::Derived, source };
    }
    Figure { value: value * 8.0, fidelity: Fidelity::Assumed, source: format!("{name}, assumed of streamed rows: {source}") }
}

/// A row activated and precharged, over all devices of a channel.
pub(super) fn activate(banked: &Banked) -> Figure {
    let value = ROW_PJ * f64::from(banked.organisation.row_bytes) / ROW_BYTES;
    let (fidelity, scaled) = match banked.device {
        DramDevice::HBM2 => (Fidelity::Derived, "by the row's bytes"),
        _ => (Fidelity::Assumed, "assumed of this device too, by the row's bytes"),
    };
    Figure { value, fidelity, source: format!("{ROW_SOURCE}; {scaled}") }
}

/// A refresh command to one rank.
pub(super) fn refresh(banked: &Banked) -> Figure {
    let refreshes = match banked.device {
        DramDevice::GDDR6 => 16_384,
        _ => 8192,
    };
    let organisation = &banked.organisation;
    let banks = organisation.bank_groups * organisation.banks_per_group;
    let rows = banks * organisation.rows.div_ceil(refreshes);
    let source = format!("assumed: {rows} rows activated, since {refreshes} refreshes reach them all; {ROW_SOURCE}");
    Figure { value: activate(banked).value * f64::from(rows), fidelity: Fidelity::Assumed, source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn banked(preset: &str) -> Banked {
        let dram =
            format!("Banked(preset: \"{preset}\", channels: 1, queue_depth: 32, starvation_cap: 16, page: Open, mapping: RoRaBaCoBgCh)");
        let chip = crate::chip::load("edge-16x16", &[("dram".to_owned(), dram)]).unwrap();
        let Dram::Banked(banked) = chip.dram() else { panic!("not banked") };
        (**banked).clone()
    }

    #[test]
    fn figures_worked_by_hand() {
        let close = |figure: Figure, by_hand: f64| assert!((figure.value - by_hand).abs() < 1e-9 * by_hand, "{} {by_hand}", figure.value);
        for (preset, byte_pj, row_bytes, rows) in [
            ("DDR4-2400", 20.3 * 8.0, 8192.0, 16.0 * 8.0),
            ("LPDDR4-3200", 64.0, 4096.0, 8.0 * 4.0),
            ("LPDDR5-6400", 32.0, 2048.0, 16.0 * 8.0),
            ("HBM2", 2.76 * 8.0, 1024.0, 16.0 * 8.0),
            ("GDDR6", 52.0, 2048.0, 16.0),
        ] {
            let banked = banked(preset);
            let row = 909.0 * row_bytes / 1024.0;
            close(activate(&banked), row);
            close(refresh(&banked), row * rows);
            close(byte(&Dram::Banked(Box::new(banked))), byte_pj);
        }
    }
}
