//! Pictures of one run beside that of its layers' cycles: its roofline, where its energy goes, what crosses each memory's port.
//!
//! Not here: the figures (`report`).

use super::bars::{BarPanel, BarRow, Bars};
use super::palette::{LINES, series};
use crate::counts::{Operand, OperandTraffic};
use crate::report::{EnergyPjByPart, Roofline, RooflineLayer, Summary, human, ratio};
use plotters::style::RGBColor;

/// More layers than this are cut to the costliest.
const MOST_LAYERS: usize = 20;

/// What rests on assumed costs, and what on sourced ones.
const ASSUMED: RGBColor = RGBColor(0xE6, 0x9F, 0x00);
const SOURCED: RGBColor = RGBColor(0x00, 0x72, 0xB2);
/// Energy of either kind.
const EITHER: RGBColor = RGBColor(0x6B, 0x84, 0x9B);

/// The colour of a part of the energy, by its place in the order of reports.
pub(super) fn part_colour(part: usize) -> RGBColor {
    match part {
        7 => RGBColor(0x99, 0x99, 0x99),
        8 => RGBColor(0xCC, 0xCC, 0xCC),
        part => series(part),
    }
}

/// The colour of an operand.
const fn operand_colour(operand: Operand) -> RGBColor {
    match operand {
        Operand::Input => LINES[6],
        Operand::Weight => LINES[5],
        Operand::Output => LINES[3],
        Operand::Psum => LINES[4],
    }
}

/// What a caption says of a run: batch, where weights are, clock, area.
pub(super) fn facts(summary: &Summary) -> String {
    format!(
        "{} on {}, recipe {}, batch {}, {} weights, {}, {} mm²",
        summary.network.name,
        summary.chip.name,
        summary.recipe,
        human::count(summary.batch),
        summary.weights.name(),
        human::frequency(summary.chip.clock_hz),
        human::digits(summary.area_mm2),
    )
}

/// A run's layers under the roofs of its chip; layers without products are left out. Figures are those of a batch.
pub(super) fn roofline(summary: &Summary) -> Roofline {
    let programs = summary.programs().max(1);
    let layers = summary.layers.iter().filter(|layer| layer.macs_executed > 0 && layer.total_cycles > 0);
    let layers = layers.map(|layer| RooflineLayer {
        name: layer.name.clone(),
        macs: layer.macs_executed / programs,
        dram_bytes: (layer.dram_read_bytes + layer.dram_write_bytes) / programs,
        total_cycles: layer.total_cycles / programs,
        cycles_lower_bound: layer.cycles_lower_bound / programs,
        bound_by: layer.bound_by.clone(),
    });
    Roofline {
        chip: summary.chip.name.clone(),
        network: summary.network.name.clone(),
        batch: summary.batch,
        roofs: summary.roofs,
        layers: layers.collect(),
    }
}

/// Where a run's energy goes: by part, by how sure it is, by layer.
pub(super) fn energy(summary: &Summary) -> Bars {
    let samples = summary.samples.max(1) as f64;
    let total = summary.energy_pj_per_sample;
    let bar = |name: &str, value: f64, colour: RGBColor| BarRow {
        name: name.to_owned(),
        segments: vec![(value, colour, String::new())],
        figure: format!("{}, {}", human::energy(value), human::percent(ratio(value, total))),
    };
    let parts = summary.energy_pj_by_part.parts();
    let by_part = parts.iter().filter(|(_, energy)| *energy > 0.0).map(|(name, energy)| bar(name, energy / samples, EITHER)).collect();
    let assumed = total * summary.energy_assumed_share;
    let share = |value: f64, name: &str| format!("{name} {}", human::percent(ratio(value, total)));
    let sure = BarRow {
        name: "all of it".to_owned(),
        segments: vec![
            (assumed, ASSUMED, share(assumed, "assumed")),
            (total - assumed, SOURCED, share(total - assumed, "published or derived")),
        ],
        figure: human::energy(total),
    };
    let mut layers: Vec<(String, f64)> =
        summary.layers.iter().filter(|layer| layer.energy_pj > 0.0).map(|layer| (layer.name.clone(), layer.energy_pj / samples)).collect();
    if layers.len() > MOST_LAYERS {
        let mut order: Vec<f64> = layers.iter().map(|(_, energy)| *energy).collect();
        order.sort_by(|one, other| other.total_cmp(one));
        let least = order[MOST_LAYERS - 1];
        let (kept, rest): (Vec<_>, Vec<_>) = layers.into_iter().partition(|(_, energy)| *energy >= least);
        layers = kept;
        layers.push((format!("{} other layers", rest.len()), rest.iter().map(|(_, energy)| energy).sum()));
    }
    let by_layer = layers.iter().map(|(name, energy)| bar(&human::shorten(name, 30), *energy, EITHER)).collect();
    let key = vec![
        ("at assumed costs".to_owned(), ASSUMED),
        ("at published or derived costs".to_owned(), SOURCED),
        ("of both kinds".to_owned(), EITHER),
    ];
    Bars {
        title: format!("Where the energy goes: {} on {}", summary.network.name, summary.chip.name),
        notes: vec![facts(summary), "energy of a sample".to_owned()],
        key,
        panels: vec![
            BarPanel { title: "by part".to_owned(), column: "energy_pj", rows: by_part },
            BarPanel { title: "by how sure its costs are".to_owned(), column: "energy_pj", rows: vec![sure] },
            BarPanel { title: "by layer".to_owned(), column: "energy_pj", rows: by_layer },
        ],
    }
}

/// Energy by part of several runs or points, each a bar with its assumed share.
pub(super) fn energy_bars(rows: Vec<(String, EnergyPjByPart, f64, f64)>) -> (Vec<(String, RGBColor)>, BarPanel) {
    let names = EnergyPjByPart::default().parts().map(|(name, _)| name);
    let used = |part: usize| rows.iter().any(|(_, parts, ..)| parts.parts()[part].1 > 0.0);
    let key = (0..names.len()).filter(|part| used(*part)).map(|part| (names[part].to_owned(), part_colour(part))).collect();
    let rows = rows.into_iter().map(|(name, parts, per, assumed)| {
        let parts = parts.parts();
        let total: f64 = parts.iter().map(|(_, energy)| energy).sum();
        let segments =
            parts.iter().enumerate().map(|(place, (_, energy))| (energy / per, part_colour(place), human::percent(ratio(*energy, total))));
        let figure = format!("{}, {} assumed", human::energy(total / per), human::percent(assumed));
        BarRow { name, segments: segments.collect(), figure }
    });
    (key, BarPanel { title: "energy a sample".to_owned(), column: "energy_pj", rows: rows.collect() })
}

/// What crosses each memory's port, by operand.
pub(super) fn traffic(summary: &Summary) -> Bars {
    let samples = summary.samples.max(1) as f64;
    let bytes = &summary.traffic_bytes;
    let panel = |title: &str, traffic: &OperandTraffic| {
        let rows = [("read", true), ("written", false)].map(|(name, is_read)| {
            let of = |operand: Operand| if is_read { traffic.of(operand).read } else { traffic.of(operand).write };
            let total: u64 = Operand::ALL.into_iter().map(of).sum();
            let segments = Operand::ALL.into_iter().map(|operand| {
                let share = human::percent(ratio(of(operand) as f64, total as f64));
                (of(operand) as f64 / samples, operand_colour(operand), share)
            });
            BarRow { name: name.to_owned(), segments: segments.collect(), figure: human::si(total as f64 / samples, "B") }
        });
        BarPanel { title: title.to_owned(), column: super::quantity::SI_BYTES, rows: rows.into() }
    };
    let name = |operand: Operand| match operand {
        Operand::Input => "inputs",
        Operand::Weight => "weights and biases",
        Operand::Output => "outputs",
        Operand::Psum => "partial sums and preset biases",
    };
    Bars {
        title: format!("What crosses each memory's port: {} on {}", summary.network.name, summary.chip.name),
        notes: vec![facts(summary), "bytes of a sample that were wanted, whatever the width of ports and bursts".to_owned()],
        key: Operand::ALL.into_iter().map(|operand| (name(operand).to_owned(), operand_colour(operand))).collect(),
        panels: vec![panel("DRAM", &bytes.dram), panel("scratchpads", &bytes.scratchpad), panel("accumulators", &bytes.accumulator)],
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn a_run_s_layers_stand_as_they_are_of_a_batch() {
        let roofs = roofline(&fixture::simplenet());
        assert_eq!(roofs.roofs.macs_per_cycle, 256);
        // 50,176 multiply-accumulates of fc1 in 4,123 cycles; the softmax has none.
        assert_eq!((roofs.layers.len(), roofs.layers[0].macs, roofs.layers[0].total_cycles), (3, 50_176, 4_123));
    }

    #[test]
    fn bars_sum_to_the_energy_and_tell_what_is_assumed() {
        let summary = fixture::simplenet();
        let bars = energy(&summary);
        let sum = |panel: &BarPanel| panel.rows.iter().flat_map(|row| &row.segments).map(|(value, ..)| value).sum::<f64>();
        for panel in &bars.panels {
            assert!((sum(panel) / summary.energy_pj_per_sample - 1.0).abs() < 1e-9, "{}", panel.title);
        }
        assert_eq!(bars.panels[1].rows[0].segments[0].2, "assumed 71%");
        let deep = energy(&fixture::deep(60));
        assert_eq!(deep.panels[2].rows.len(), MOST_LAYERS + 1);
        assert!((sum(&deep.panels[2]) / fixture::deep(60).energy_pj_per_sample - 1.0).abs() < 1e-9);
    }

    #[test]
    fn traffic_bars_are_bytes_of_a_sample() {
        let mut summary = fixture::simplenet();
        summary.traffic_bytes.dram.weight.read = 40_000;
        summary.traffic_bytes.dram.input.read = 10_000;
        let bars = traffic(&summary);
        let row = &bars.panels[0].rows[0];
        assert_eq!(row.figure, "5.00 B");
        assert_eq!(row.segments.iter().map(|(value, ..)| *value).sum::<f64>().to_bits(), 5.0_f64.to_bits());
        assert_eq!(row.segments[1].2, "80%");
    }
}
