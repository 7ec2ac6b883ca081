//! Scaling of energy and area between nodes and supplies, after A. Stillmaker and B. Baas, "Scaling equations for the accurate prediction
//! of CMOS device performance from 180 nm to 7 nm", Integration 58 (2017):
//!
//! ```text
//! energy(node, V) / energy(node', V') = f_node(V) / f_node'(V'),   f_node(V) = a V^2 + b V + c
//! ```
//!
//! Between the nodes that they give, factors are interpolated on logarithmic axes. Not here: energies themselves.

use crate::chip::Fidelity;
use std::sync::LazyLock;

/// A factor and how well it is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Factor {
    pub(super) value: f64,
    pub(super) fidelity: Fidelity,
}

/// Supplies that the polynomials are trusted for, in volts (the paper's own range differs a little by node).
const SUPPLY_RANGE: std::ops::RangeInclusive<f64> = 0.5..=1.3;

struct Tables {
    /// Node, then a, b, c of its polynomial; nodes ascending.
    energy: Vec<(f64, [f64; 3])>,
    /// Node and area relative to 45 nm; nodes ascending.
    area_from_45: Vec<(f64, f64)>,
}

static TABLES: LazyLock<Tables> = LazyLock::new(|| {
    let mut energy: Vec<(f64, [f64; 3])> = records(include_str!("tables/scaling_energy.csv"))
        .map(|row| (number(&row[0]), [number(&row[1]), number(&row[2]), number(&row[3])]))
        .collect();
    energy.sort_by(|one, other| one.0.total_cmp(&other.0));
    let area = include_str!("tables/scaling_area.csv");
    let header: Vec<f64> = area.lines().next().unwrap_or_default().split(',').skip(1).map(number).collect();
    let mut area_from_45: Vec<(f64, f64)> = records(area)
        .filter(|row| &row[0] == "45")
        .flat_map(|row| header.iter().copied().zip(row.iter().skip(1).map(number).collect::<Vec<_>>()).collect::<Vec<_>>())
        .collect();
    area_from_45.sort_by(|one, other| one.0.total_cmp(&other.0));
    Tables { energy, area_from_45 }
});

/// The rows of a table that is part of this program.
pub(super) fn records(text: &'static str) -> impl Iterator<Item = csv::StringRecord> {
    csv::Reader::from_reader(text.as_bytes())
        .into_records()
        .map(|row| row.expect("bug: a shipped energy table does not parse; please report it"))
        .collect::<Vec<_>>()
        .into_iter()
}

/// A number of a table that is part of this program.
pub(super) fn number(cell: &str) -> f64 {
    cell.trim().parse().expect("bug: a shipped energy table holds a cell that is no number; please report it")
}

/// The value at `x` of a curve through `points` (ascending x, all positive), straight on logarithmic axes between two points, flat
/// beyond the ends, exact at the points.
pub(super) fn interpolate(points: &[(f64, f64)], x: f64) -> f64 {
    let after = points.partition_point(|point| point.0 < x);
    match (points.get(after.wrapping_sub(1)), points.get(after)) {
        (_, Some(&(at, value))) if at <= x => value,
        (Some(&(x0, y0)), Some(&(x1, y1))) => y0 * libm::pow(y1 / y0, libm::log(x / x0) / libm::log(x1 / x0)),
        (Some(&(_, only)), None) | (None, Some(&(_, only))) => only,
        (None, None) => unreachable!("bug: a shipped energy table is empty; please report it"),
    }
}

/// `f_node(V)`, held at its lowest point below the supply where the parabola turns, so that a lower supply never costs more.
fn polynomial([a, b, c]: [f64; 3], supply_v: f64) -> f64 {
    let v = supply_v.max(-b / (2.0 * a));
    (a * v + b) * v + c
}

/// The energy of an operation at one node and supply over its energy at another: `(node in nm, supply in V)` each.
pub(super) fn energy(from: (f64, f64), to: (f64, f64)) -> Factor {
    if from == to {
        return Factor { value: 1.0, fidelity: Fidelity::Published };
    }
    let at = |(node, supply): (f64, f64)| {
        let curve: Vec<(f64, f64)> = TABLES.energy.iter().map(|&(node, abc)| (node, polynomial(abc, supply))).collect();
        interpolate(&curve, node)
    };
    let known = |(node, supply): (f64, f64)| {
        let nodes = &TABLES.energy;
        let within = nodes.first().is_some_and(|first| node >= first.0) && nodes.last().is_some_and(|last| node <= last.0);
        within && SUPPLY_RANGE.contains(&supply)
    };
    let fidelity = if known(from) && known(to) { Fidelity::Derived } else { Fidelity::Assumed };
    Factor { value: at(to) / at(from), fidelity }
}

/// The area of a circuit at one node over its area at another, nodes in nanometres.
pub(super) fn area(from_nm: f64, to_nm: f64) -> Factor {
    if from_nm.to_bits() == to_nm.to_bits() {
        return Factor { value: 1.0, fidelity: Fidelity::Published };
    }
    let curve = &TABLES.area_from_45;
    let known = |node: f64| curve.first().is_some_and(|first| node >= first.0) && curve.last().is_some_and(|last| node <= last.0);
    let fidelity = if known(from_nm) && known(to_nm) { Fidelity::Derived } else { Fidelity::Assumed };
    Factor { value: interpolate(curve, to_nm) / interpolate(curve, from_nm), fidelity }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn close(left: f64, right: f64) -> bool {
        (left - right).abs() < 1e-9 * right.abs()
    }

    #[test]
    fn a_factor_is_the_ratio_of_two_polynomials() {
        // 45 nm at 0.9 V: 1.103 * 0.81 - 0.362 * 0.9 + 0.2767 = 0.84433; 32 nm at 0.9 V: 0.9559 * 0.81 - 0.7823 * 0.9 + 0.471 = 0.541209.
        let factor = energy((45.0, 0.9), (32.0, 0.9));
        assert!(close(factor.value, 0.541_209 / 0.844_33), "{factor:?}");
        assert_eq!(factor.fidelity, Fidelity::Derived);
        assert_eq!(energy((45.0, 0.9), (45.0, 0.9)), Factor { value: 1.0, fidelity: Fidelity::Published });
    }

    #[test]
    fn between_two_nodes_a_factor_lies_between_theirs_and_beyond_the_table_it_is_assumed() {
        let at = |node| energy((45.0, 0.9), (node, 0.9));
        assert!(at(32.0).value > at(28.0).value && at(28.0).value > at(22.0).value && at(22.0).value > at(20.0).value);
        assert_eq!(at(28.0).fidelity, Fidelity::Derived);
        assert_eq!(at(5.0).fidelity, Fidelity::Assumed);
        assert_eq!(energy((45.0, 0.9), (45.0, 0.3)).fidelity, Fidelity::Assumed);
        assert!(close(area(45.0, 32.0).value, 0.46) && close(area(65.0, 45.0).value, 1.0 / 1.5));
    }

    #[test]
    fn a_lower_supply_never_costs_more() {
        for node in [130.0, 90.0, 65.0, 45.0, 28.0, 22.0, 7.0] {
            let costs: Vec<f64> = (30..130).map(|centivolts| energy((45.0, 0.9), (node, f64::from(centivolts) / 100.0)).value).collect();
            assert!(costs.is_sorted() && costs[0] > 0.0, "{node} nm");
        }
    }
}
