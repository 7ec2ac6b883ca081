//! The picture of layers under a chip's roofs.

use super::chart::{Chart, ChartDot, ChartLine};
use crate::report::{Roofline, human, ratio};

/// The chart of a roofline.
pub(super) fn chart(roofline: &Roofline) -> Chart {
    let peak = roofline.roofs.macs_per_cycle as f64;
    let (rate, ridge) = (roofline.roofs.dram_bytes_per_cycle, roofline.roofs.ridge());
    let dots = roofline.layers.iter().map(|layer| {
        let a_cycle = |cycles: u64| ratio(layer.macs as f64, cycles as f64);
        let (simulated, bound) = (a_cycle(layer.total_cycles), a_cycle(layer.cycles_lower_bound));
        let name = format!("{}   {}", human::shorten(&layer.name, 28), layer.bound_by.replace('_', " ").replace("dram", "DRAM"));
        ChartDot { name, x: layer.intensity(), y: simulated, other: Some(bound).filter(|bound| *bound > 0.0) }
    });
    let dots: Vec<ChartDot> = dots.collect();
    let least = dots.iter().map(|dot| dot.x).filter(|x| *x > 0.0).fold(ridge, f64::min) / 2.0;
    let most = dots.iter().map(|dot| dot.x).fold(ridge, f64::max) * 2.0;
    let roof = |name: String, places: Vec<(f64, f64)>| ChartLine { name, places, ..ChartLine::default() };
    Chart {
        title: format!("{} under the roofs of {}", roofline.network, roofline.chip),
        notes: vec![
            format!(
                "batch {}  ·  the roofs meet at {} MACs a byte  ·  bytes are those on DRAM's bus",
                roofline.batch,
                human::digits(ridge)
            ),
            "What was fetched ahead of a layer counts as its bytes and not in its time: a dot may lie above the slope.".to_owned(),
        ],
        x_label: "MACs a byte of DRAM".to_owned(),
        y_label: "MACs a cycle".to_owned(),
        lines: vec![roof(
            format!("{} MACs a cycle; {} B a cycle", human::count(roofline.roofs.macs_per_cycle), human::digits(rate)),
            vec![(least, least * rate), (ridge, peak), (most, peak)],
        )],
        full: "simulated".to_owned(),
        hollow: "its lower bound".to_owned(),
        dots,
    }
}
