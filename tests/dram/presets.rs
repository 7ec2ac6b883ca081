//! What a DRAM preset stands for in a chip file, and the clock that it gives.

use crate::BANKED;
use systole::chip::{self, Action, Chip, ChipError, Dram};
use systole::energy::EnergyTable;

fn edge(sets: &[(&str, &str)]) -> Result<Chip, ChipError> {
    let sets: Vec<_> = sets.iter().map(|(path, value)| ((*path).to_owned(), (*value).to_owned())).collect();
    chip::load("edge-16x16", &sets)
}

#[test]
fn a_dram_preset_is_expanded_and_can_be_changed() {
    for preset in chip::dram_presets() {
        let dram = BANKED.replace("DDR4-2400", preset);
        let chip = edge(&[("dram", &dram)]).unwrap_or_else(|error| panic!("{error}"));
        assert_eq!(chip::parse(chip.resolved(), "resolved.ron", &[]).unwrap(), chip);
        assert!(!chip.resolved().contains("preset") && chip.resolved().contains("trcd_rd"), "{}", chip.resolved());
        assert_eq!(edge(&[("dram", &dram), ("dram.preset", preset)]).unwrap(), chip);
        let changed = edge(&[("dram", &dram), ("dram.timing.cl", "99"), ("dram.channels", "2")]).unwrap();
        let (Dram::Banked(before), Dram::Banked(after)) = (chip.dram(), changed.dram()) else { panic!("not banked") };
        assert_eq!((after.timing.cl, after.channels, after.timing.cwl), (99, 2, before.timing.cwl));
        // The peak is the table's: bytes of a burst in its cycles.
        let organisation = &before.organisation;
        let peak = f64::from(organisation.burst_bytes()) / f64::from(organisation.burst_cycles) * before.clock().as_f64();
        assert!((peak - before.peak_bytes_per_s() as f64).abs() < 1e-6 * peak);
        // Every action has an energy, and a list of them all is complete.
        let table = EnergyTable::resolve(&chip).unwrap();
        assert!(table.entry(Action::DramRefresh).unwrap().picojoules > table.entry(Action::DramActivate).unwrap().picojoules);
    }
    let [one, other] = [["dram.page", "dram.preset"], ["dram.preset", "dram.page"]].map(|order| {
        let value = |field| if field == "dram.page" { "Closed" } else { "HBM2" };
        edge(&[("dram", BANKED), (order[0], value(order[0])), (order[1], value(order[1]))]).unwrap()
    });
    assert_eq!(one, other, "a preset may be chosen before or after a policy");
    let message = edge(&[("dram", BANKED), ("dram.preset", "DDR9"), ("dram.timing.cl", "1")]).unwrap_err().to_string();
    assert!(message.contains("there is no preset of this name"), "{message}");
}

#[test]
fn command_clocks_are_exact() {
    // Data rate times the cycles of a burst over its beats; LPDDR5's and GDDR6's command clocks are an eighth of their data rate.
    for (preset, hertz, gigabytes) in [
        ("DDR4-2400", 1_200_000_000, 19.2),
        ("DDR4-3200", 1_600_000_000, 25.6),
        ("LPDDR4-3200", 1_600_000_000, 12.8),
        ("LPDDR5-6400", 800_000_000, 12.8),
        ("HBM2", 1_000_000_000, 16.0),
        ("GDDR6", 1_750_000_000, 28.0),
    ] {
        let chip = edge(&[("dram", &BANKED.replace("DDR4-2400", preset))]).unwrap();
        let Dram::Banked(banked) = chip.dram() else { panic!("not banked") };
        assert_eq!((banked.clock().numerator, banked.clock().denominator), (hertz, 1), "{preset}");
        assert!((banked.peak_bytes_per_s() as f64 / 1e9 - gigabytes).abs() < 1e-9, "{preset}");
    }
    let odd = edge(&[("dram", BANKED), ("dram.organisation.data_rate", "MTps(1)"), ("dram.organisation.burst_cycles", "3")]).unwrap();
    let Dram::Banked(banked) = odd.dram() else { panic!("not banked") };
    assert_eq!((banked.clock().numerator, banked.clock().denominator), (375_000, 1));
}
