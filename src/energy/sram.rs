//! On-chip memories: what a bank costs to read, to write, to keep and to place, from points that CACTI 7 computed.
//!
//! The points are LSTP memories at 300 K of 65, 45, 32 and 22 nm, 1 KiB to 8 MiB, 32 to 512 bits a row; between them, values are
//! interpolated on logarithmic axes of node, width and capacity. Rules for the rest:
//!
//! - a row wider than 512 bits is several equal banks side by side (a stated rule: Derived);
//! - HP and LOP cells scale by their ratio to LSTP at 64 bits a row, known at 45 and 22 nm and 8 KiB, 32 KiB and 1 MiB (Derived; the
//!   nearest ratio beyond those nodes is Assumed);
//! - read and write scale with the supply from the one that CACTI gives that cell at that node, leakage does not;
//! - beyond the points: the nearest one, leakage and area in proportion to the capacity, energy with its square root when larger, with
//!   `scaling` to another node; all Assumed.
//!
//! Not here: how many banks a memory has (`table`, `area`).

use super::scaling::{self, interpolate, number, records};
use crate::chip::{Fidelity, SramCell, Technology};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// What one bank costs.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Bank {
    /// Energy of reading a row, in picojoules.
    pub(super) read_pj: f64,
    /// Energy of writing a row, in picojoules.
    pub(super) write_pj: f64,
    /// Leakage in milliwatts.
    pub(super) leakage_mw: f64,
    /// Area in square millimetres.
    pub(super) area_mm2: f64,
    /// How well the figures are known.
    pub(super) fidelity: Fidelity,
}

/// Read pJ, write pJ, leakage mW, area mm2.
type Point = [f64; 4];

/// The widest row that the points cover, in bits; they start at 32.
const WIDEST_BITS: u32 = 512;
const NARROWEST_BITS: u32 = 32;
const SMALLEST_BYTES: f64 = 1024.0;
const LARGEST_BYTES: f64 = 8_388_608.0;
/// Nodes in nm, and CACTI 7's supply in volts of LSTP, LOP and HP cells there (`tech_params/*.dat` of HewlettPackard/cacti, row Vdd).
const SUPPLIES: [(f64, [f64; 3]); 4] = [(22.0, [0.8, 0.6, 0.8]), (32.0, [1.0, 0.6, 0.9]), (45.0, [1.1, 0.7, 1.0]), (65.0, [1.2, 0.8, 1.1])];

/// Node in nm, width in bits, capacity in bytes.
type Grid = BTreeMap<u32, BTreeMap<u32, BTreeMap<u32, Point>>>;

/// The points of each kind of cell, in the order of `column`.
static GRIDS: LazyLock<[Grid; 3]> = LazyLock::new(|| {
    let lstp = lstp_grid();
    let (lop, hp) = (other_grid(&lstp, "itrs-lop"), other_grid(&lstp, "itrs-hp"));
    [lstp, lop, hp]
});

/// Where a kind of cell stands in `GRIDS` and `SUPPLIES`.
const fn column(cell: SramCell) -> usize {
    match cell {
        SramCell::LSTP => 0,
        SramCell::LOP => 1,
        SramCell::HP => 2,
    }
}

fn lstp_grid() -> Grid {
    let mut grid = Grid::new();
    for row in records(include_str!("tables/sram_lstp.csv")) {
        let whole = |cell: &str| cell.parse::<u32>().expect("bug: a shipped memory table holds a broken size; please report it");
        let point = [number(&row[4]), number(&row[5]), number(&row[7]), number(&row[8])];
        grid.entry(whole(&row[0])).or_default().entry(whole(&row[2])).or_default().insert(whole(&row[1]), point);
    }
    grid
}

/// The points of another cell: those of LSTP by the cell's ratio to it at 64 bits a row. The ratio is known at three capacities and falls
/// between them in places faster than energy grows, so a larger memory takes at least what a smaller one does.
fn other_grid(lstp: &Grid, cell: &str) -> Grid {
    let mut ratios: BTreeMap<u32, Vec<(f64, Point)>> = BTreeMap::new();
    for row in records(include_str!("tables/sram_cell_types.csv")).filter(|row| &row[0] == cell) {
        let (node, capacity) = (if &row[1] == "0.022" { 22 } else { 45 }, number(&row[2]));
        let sides = row[8].split('x').map(|side| number(side.trim_end_matches("mm")));
        let here = [number(&row[3]), number(&row[4]), number(&row[5]), sides.product()];
        let base = in_node(&lstp[&node], 64.0, capacity);
        ratios.entry(node).or_default().push((capacity, std::array::from_fn(|i| here[i] / base[i])));
    }
    let mut grid = lstp.clone();
    for (&node, widths) in &mut grid {
        for sizes in widths.values_mut() {
            let mut least = [0.0_f64; 4];
            for (&size, point) in sizes {
                let by_node: Vec<(f64, Point)> =
                    ratios.iter().map(|(&node, by_size)| (f64::from(node), along(by_size, f64::from(size)))).collect();
                let ratio = along(&by_node, f64::from(node));
                least = std::array::from_fn(|i| (point[i] * ratio[i]).max(least[i]));
                *point = least;
            }
        }
    }
    grid
}

/// Interpolates each figure of a point along one axis.
fn along(axis: &[(f64, Point)], x: f64) -> Point {
    std::array::from_fn(|i| interpolate(&axis.iter().map(|(at, point)| (*at, point[i])).collect::<Vec<_>>(), x))
}

/// Interpolates in width and capacity.
fn in_node(widths: &BTreeMap<u32, BTreeMap<u32, Point>>, width_bits: f64, capacity: f64) -> Point {
    let sizes = |sizes: &BTreeMap<u32, Point>| sizes.iter().map(|(&size, &point)| (f64::from(size), point)).collect::<Vec<_>>();
    let by_width: Vec<(f64, Point)> = widths.iter().map(|(&width, by_size)| (f64::from(width), along(&sizes(by_size), capacity))).collect();
    along(&by_width, width_bits)
}

/// The supply that CACTI gives the cell at a node between 22 and 65 nm.
fn nominal_supply(cell: SramCell, node: f64) -> f64 {
    interpolate(&SUPPLIES.map(|(node, volts)| (node, volts[column(cell)])), node)
}

/// What a bank of `capacity_bytes` with rows of `width_bits` costs.
pub(super) fn bank(technology: &Technology, capacity_bytes: f64, width_bits: u32) -> Bank {
    let slices = width_bits.div_ceil(WIDEST_BITS).max(1);
    let capacity = capacity_bytes / f64::from(slices);
    let width = f64::from(width_bits) / f64::from(slices);
    let inside = capacity.clamp(SMALLEST_BYTES, LARGEST_BYTES);
    let node = f64::from(technology.node_nm);
    let near = node.clamp(22.0, 65.0);

    let cell = technology.sram_cell;
    let by_node: Vec<(f64, Point)> = GRIDS[column(cell)]
        .iter()
        .map(|(&node, widths)| (f64::from(node), in_node(widths, width.max(f64::from(NARROWEST_BITS)), inside)))
        .collect();
    let point = along(&by_node, near);
    let has_ratio = cell == SramCell::LSTP || (22.0..=45.0).contains(&near);
    let energy = scaling::energy((near, nominal_supply(cell, near)), (node, technology.supply_v));
    let area = scaling::area(near, node);
    let is_inside = inside.to_bits() == capacity.to_bits() && near.to_bits() == node.to_bits() && width_bits >= NARROWEST_BITS;
    let fidelity = if is_inside && has_ratio { energy.fidelity.max(Fidelity::Derived) } else { Fidelity::Assumed };

    let parts = f64::from(slices);
    let larger = (capacity / inside).max(1.0).sqrt();
    let share = capacity / inside;
    Bank {
        read_pj: point[0] * energy.value * larger * parts,
        write_pj: point[1] * energy.value * larger * parts,
        leakage_mw: point[2] * share * parts,
        area_mm2: point[3] * area.value * share * parts,
        fidelity,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn technology(node_nm: u32, supply_v: f64, sram_cell: SramCell) -> Technology {
        Technology { node_nm, supply_v, sram_cell }
    }

    fn close(left: f64, right: f64) -> bool {
        (left - right).abs() < 1e-6 * right.abs()
    }

    #[test]
    fn a_point_of_the_table_is_given_back() {
        // 45,8192,128: 7.9164 pJ a read, 14.052 pJ a write, 0.00025584 mW, 0.027706 mm2.
        let bank = bank(&technology(45, 1.1, SramCell::LSTP), 8192.0, 128);
        assert!(close(bank.read_pj, 7.9164) && close(bank.write_pj, 14.052), "{bank:?}");
        assert!(close(bank.leakage_mw, 0.000_255_84) && close(bank.area_mm2, 0.027_706), "{bank:?}");
        assert_eq!(bank.fidelity, Fidelity::Derived);
    }

    #[test]
    fn a_fast_mebibyte_leaks_470_milliwatts_at_45_nm() {
        let bank = bank(&technology(45, 1.0, SramCell::HP), 1_048_576.0, 64);
        assert!(close(bank.leakage_mw, 469.914) && close(bank.read_pj, 67.6875), "{bank:?}");
    }

    #[test]
    fn half_way_between_two_points_stands_their_geometric_mean() {
        let bank = bank(&technology(45, 1.1, SramCell::LSTP), 8192.0 * std::f64::consts::SQRT_2, 128);
        assert!(close(bank.read_pj, (7.9164_f64 * 10.748).sqrt()), "{bank:?}");
    }

    #[test]
    fn a_wide_row_is_several_banks_side_by_side() {
        let tech = technology(45, 1.1, SramCell::LSTP);
        let (wide, slice) = (bank(&tech, 65536.0, 2048), bank(&tech, 16384.0, 512));
        assert!(close(wide.read_pj, 4.0 * slice.read_pj) && close(wide.area_mm2, 4.0 * slice.area_mm2));
        assert_eq!(wide.fidelity, Fidelity::Derived);
    }

    #[test]
    fn more_capacity_never_costs_less() {
        for cell in [SramCell::LSTP, SramCell::LOP, SramCell::HP] {
            for node in [7, 16, 22, 28, 45, 65, 90] {
                for width in [8, 32, 100, 512, 4096] {
                    let sizes = (0..120).map(|step| 256.0 * 2.0_f64.powf(f64::from(step) / 6.0));
                    let banks: Vec<Bank> = sizes.map(|size| bank(&technology(node, 0.9, cell), size, width)).collect();
                    for pair in banks.windows(2) {
                        let grows = |figure: fn(&Bank) -> f64| figure(&pair[1]) >= figure(&pair[0]) * (1.0 - 1e-12);
                        assert!(grows(|b| b.read_pj) && grows(|b| b.write_pj), "{cell:?} {node} {width} {pair:?}");
                        assert!(grows(|b| b.leakage_mw) && grows(|b| b.area_mm2), "{cell:?} {node} {width} {pair:?}");
                    }
                }
            }
        }
    }

    #[test]
    fn beyond_the_points_a_figure_is_assumed() {
        for (node, capacity, width) in [(16, 8192.0, 64), (90, 8192.0, 64), (45, 512.0, 64), (45, 33_554_432.0, 64), (45, 8192.0, 16)] {
            assert_eq!(bank(&technology(node, 0.9, SramCell::LSTP), capacity, width).fidelity, Fidelity::Assumed);
        }
    }
}
