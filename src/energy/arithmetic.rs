//! Logic: what multipliers, adders, registers and vector operations cost, from Horowitz's figures at 45 nm and 0.9 V, scaled to the
//! chip's node and supply.
//!
//! ```text
//! MAC of w by a bits, L lanes, accumulator of b bits:
//!   energy = mult(w * a) + int32 add * (b / 32) / L + int8 add * ((w + a) / 8) * (L - 1) / L
//!   mult(x) = int8 mult * x / 64                                     up to 64, an int8 by int8
//!             straight on logarithmic axes from int8 to int32 mult   beyond
//! int8 by int8, one lane, 32 bits:  0.2 + 0.1 = 0.3 pJ
//!
//! gated MAC of w by a bits, L lanes:
//!   energy = 0.01 pJ * (w + a) / 16 + the MAC's second and third term where L > 1
//! ```
//!
//! The second term is the accumulator's adder, which the lanes of a PE share; the third is the adder tree that joins them. A binary
//! multiplication is an XNOR, and its tree adds single bits. A zero keeps the multiplier of its lane still, and the adders too where no
//! other lane needs them. Area goes by the same rule, with each lane's own gates. Between the published int8 and int32 multiplications
//! a figure is Derived; narrower pairs, XNOR and gating are Assumed. Not here: memories (`sram`).

use super::parts::{ChipParts, register_bits};
use super::scaling::{self, interpolate, number, records};
use crate::chip::{Fidelity, Format, PeCost, Technology};
use crate::numerics::Requantizer;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// A value with what is known about it.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Figure {
    pub(super) value: f64,
    pub(super) fidelity: Fidelity,
    pub(super) source: String,
}

/// The node and supply of Horowitz's figures.
const HOROWITZ: (f64, f64) = (45.0, 0.9);
const HOROWITZ_SOURCE: &str = "Horowitz, ISSCC 2014, 45 nm, 0.9 V";

/// An XNOR gate at 45 nm, in pJ and square micrometres: of the order of 1 fJ, assumed.
const XNOR: (f64, f64) = (0.001, 2.0);
/// Writing one flip-flop at 45 nm, in pJ: a little more than a bit of an int32 addition (0.1 pJ / 32), assumed.
const REGISTER_BIT_PJ: f64 = 0.005;
/// The clock pin of one flip-flop for one cycle at 45 nm, in pJ, assumed.
const CLOCKED_BIT_PJ: f64 = 0.001;
/// A flip-flop at 45 nm, in square micrometres, assumed.
const REGISTER_BIT_UM2: f64 = 5.0;
/// A lane kept still by a zero operand still looks for the zero: for int8 by int8 about a third of an int8 addition at 45 nm, in pJ, assumed.
const GATED_MAC_PJ: f64 = 0.01;
/// The product of an int8 multiplication's widths, and of an int32 one's: the published points.
const INT8_PRODUCT: f64 = 64.0;
const INT32_PRODUCT: f64 = 1024.0;

struct Operation {
    picojoules: f64,
    square_micrometres: f64,
}

static OPERATIONS: LazyLock<BTreeMap<String, Operation>> = LazyLock::new(|| {
    records(include_str!("tables/arithmetic_45nm.csv"))
        .filter(|row| !row[2].is_empty())
        .map(|row| (row[0].to_owned(), Operation { picojoules: number(&row[1]), square_micrometres: number(&row[2]) }))
        .collect()
});

fn operation(name: &str) -> &'static Operation {
    OPERATIONS.get(name).unwrap_or_else(|| unreachable!("bug: the shipped table has no {name}; please report it"))
}

/// Brings an energy of 45 nm and 0.9 V to the chip's technology.
fn scaled(technology: &Technology, value: f64, fidelity: Fidelity, what: &str) -> Figure {
    let to = (f64::from(technology.node_nm), technology.supply_v);
    let factor = scaling::energy(HOROWITZ, to);
    // Published figures at 7 nm (TPUv4i, ISCA 2021, table 2) are some 3 times what the polynomials give: small nodes are not trusted.
    let small = if technology.node_nm <= 10 { Fidelity::Assumed } else { Fidelity::Published };
    let source = if HOROWITZ == to {
        what.to_owned()
    } else {
        format!("{what}, scaled to {} nm and {} V after Stillmaker and Baas 2017", technology.node_nm, technology.supply_v)
    };
    Figure { value: value * factor.value, fidelity: fidelity.max(factor.fidelity).max(small), source }
}

/// Energy of one multiply-accumulate of one lane, in picojoules.
pub(super) fn mac(technology: &Technology, format: &Format) -> Figure {
    if let PeCost::Stated { picojoules, fidelity, source, .. } = &format.pe {
        return Figure { value: *picojoules, fidelity: *fidelity, source: source.clone() };
    }
    let (multiply, sum) = (multiplier(format, XNOR.0, |operation| operation.picojoules), sum_picojoules(format));
    if format.is_binary() {
        return scaled(
            technology,
            multiply + sum,
            Fidelity::Assumed,
            &format!("assumed: an XNOR of 1 fJ; {HOROWITZ_SOURCE}: shared adders"),
        );
    }
    let product = width_product(format);
    let (fidelity, multiplier) = match product {
        INT8_PRODUCT => (Fidelity::Derived, "int8 mult"),
        _ if product > INT8_PRODUCT => (Fidelity::Derived, "mult by product of widths, between int8 and int32"),
        _ => (Fidelity::Assumed, "int8 mult by product of widths"),
    };
    let adders = if format.lanes == 1 { "int32 add" } else { "shared int32 add and int8 adder tree" };
    let what = format!("{HOROWITZ_SOURCE}: {multiplier} + {adders} ({} bits)", format.accumulator_bits);
    scaled(technology, multiply + sum, fidelity, &what)
}

/// A lane's share of the adders of a PE, in picojoules: the accumulator's, and the tree that joins the lanes.
fn sum_picojoules(format: &Format) -> f64 {
    let lanes = f64::from(format.lanes);
    let add = operation("int32 add").picojoules * f64::from(format.accumulator_bits) / 32.0 / lanes;
    add + operation("int8 add").picojoules * tree_bits(format) / 8.0 * (lanes - 1.0) / lanes
}

/// Bits of one of the products that a PE's lanes add.
fn tree_bits(format: &Format) -> f64 {
    if format.is_binary() { 1.0 } else { f64::from(format.weight.bits() + format.activation.bits()) }
}

fn width_product(format: &Format) -> f64 {
    f64::from(format.weight.bits()) * f64::from(format.activation.bits())
}

/// What one lane's multiplier takes of energy or area: `xnor` where both operands are binary.
fn multiplier(format: &Format, xnor: f64, of: impl Fn(&Operation) -> f64) -> f64 {
    let product = width_product(format);
    let int8 = of(operation("int8 mult"));
    if format.is_binary() {
        xnor
    } else if product <= INT8_PRODUCT {
        int8 * product / INT8_PRODUCT
    } else {
        interpolate(&[(INT8_PRODUCT, int8), (INT32_PRODUCT, of(operation("int32 mult")))], product)
    }
}

/// Energy of a multiply-accumulate of one lane that zero gating kept still, in picojoules.
pub(super) fn gated_mac(technology: &Technology, format: &Format) -> Figure {
    let detector = GATED_MAC_PJ * f64::from(format.weight.bits() + format.activation.bits()) / 16.0;
    if format.lanes == 1 {
        return scaled(technology, detector, Fidelity::Assumed, "assumed: a zero detector, a third of an int8 add for int8 by int8");
    }
    let what = format!("assumed: a zero detector; {HOROWITZ_SOURCE}: the adders that the other lanes need");
    scaled(technology, detector + sum_picojoules(format), Fidelity::Assumed, &what)
}

/// Energy of a bit written into a PE's register, in picojoules.
pub(super) fn register_bit(technology: &Technology) -> Figure {
    scaled(technology, REGISTER_BIT_PJ, Fidelity::Assumed, "assumed: a flip-flop written at 45 nm")
}

/// Energy of a zero point subtracted from an element, in picojoules.
pub(super) fn zero_point_subtract(technology: &Technology) -> Figure {
    scaled(technology, operation("int8 add").picojoules, Fidelity::Derived, &format!("{HOROWITZ_SOURCE}: int8 add"))
}

/// Energy of a byte that a DMA engine unpacks, in picojoules: it and the byte that it comes from are written to a register each, and a counter
/// of eight bits finds its place.
pub(super) fn codec_byte(technology: &Technology) -> Figure {
    let value = 16.0 * REGISTER_BIT_PJ + operation("int8 add").picojoules;
    scaled(technology, value, Fidelity::Assumed, &format!("assumed: 16 flip-flops written; {HOROWITZ_SOURCE}: int8 add"))
}

/// Energy of one element of a vector operation, in picojoules.
pub(super) fn vector_operation(technology: &Technology, requantizer: Requantizer) -> Figure {
    let multiply = match requantizer {
        Requantizer::Float => "fp32 mult",
        Requantizer::FixedPoint { .. } => "int32 mult",
    };
    let value = operation(multiply).picojoules + operation("int32 add").picojoules;
    scaled(technology, value, Fidelity::Assumed, &format!("{HOROWITZ_SOURCE}: assumed to be {multiply} + int32 add"))
}

/// Energy of clocking a PE for a cycle in a format, in picojoules. Registers that the format does not use are not clocked.
pub(super) fn pe_clock(technology: &Technology, format: &Format) -> Figure {
    let bits = register_bits(format);
    let what = format!("assumed: the clock pins of {bits} flip-flops");
    scaled(technology, CLOCKED_BIT_PJ * f64::from(bits), Fidelity::Assumed, &what)
}

/// Area of one PE with its registers, in square micrometres: the format that needs most. A stated area holds everything.
pub(super) fn pe_area(parts: &ChipParts<'_>) -> Figure {
    let of = |format: &Format| match &format.pe {
        PeCost::Stated { square_micrometres, fidelity, source, .. } => {
            Figure { value: *square_micrometres, fidelity: *fidelity, source: source.clone() }
        }
        PeCost::Table => {
            let lanes = f64::from(format.lanes);
            let multiply = multiplier(format, XNOR.1, |operation| operation.square_micrometres);
            let tree = operation("int8 add").square_micrometres * tree_bits(format) / 8.0 * (lanes - 1.0);
            let add = operation("int32 add").square_micrometres * f64::from(format.accumulator_bits) / 32.0;
            let registers = REGISTER_BIT_UM2 * f64::from(parts.register_bits());
            let what = format!("{HOROWITZ_SOURCE} (areas remembered): multipliers, adders and registers of a PE");
            scaled_area(parts.technology, lanes * multiply + tree + add + registers, &what)
        }
    };
    let none = Figure { value: 0.0, fidelity: Fidelity::Assumed, source: String::new() };
    parts.formats.iter().map(of).reduce(|most, next| if next.value > most.value { next } else { most }).unwrap_or(none)
}

/// Area of one lane of the vector unit, in square micrometres.
pub(super) fn vector_lane_area(technology: &Technology, requantizer: Requantizer) -> Figure {
    let multiply = match requantizer {
        Requantizer::Float => "fp32 mult",
        Requantizer::FixedPoint { .. } => "int32 mult",
    };
    let value = operation(multiply).square_micrometres + operation("int32 add").square_micrometres + 64.0 * REGISTER_BIT_UM2;
    scaled_area(technology, value, &format!("{HOROWITZ_SOURCE} (areas remembered): {multiply}, int32 add and 64 flip-flops a lane"))
}

/// Brings an area of 45 nm to the chip's node. Areas of logic are all Assumed: the table remembers them.
fn scaled_area(technology: &Technology, value: f64, what: &str) -> Figure {
    let factor = scaling::area(HOROWITZ.0, f64::from(technology.node_nm));
    let source = match technology.node_nm {
        45 => what.to_owned(),
        node => format!("{what}, scaled to {node} nm after Stillmaker and Baas 2017"),
    };
    Figure { value: value * factor.value, fidelity: Fidelity::Assumed, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::energy::parts::fixture;
    use crate::numerics::Dtype;

    const NM45: Technology = Technology { node_nm: 45, supply_v: 0.9, sram_cell: crate::chip::SramCell::LSTP };

    #[test]
    fn an_int8_mac_is_a_multiplication_and_an_addition() {
        let figure = mac(&NM45, &fixture::format(Dtype::Int8, 1));
        assert!((figure.value - 0.3).abs() < 1e-12, "{figure:?}");
        assert_eq!(figure.fidelity, Fidelity::Derived);
    }

    #[test]
    fn an_int4_mac_of_two_lanes_shares_the_accumulator() {
        // 0.2 * 32/64 + 0.1 / 2 + 0.03 * 12/8 * 1/2 = 0.1725.
        let figure = mac(&NM45, &fixture::format(Dtype::Int4, 2));
        assert!((figure.value - 0.1725).abs() < 1e-12, "{figure:?}");
        assert_eq!(figure.fidelity, Fidelity::Assumed);
    }

    #[test]
    fn an_int16_mac_lies_between_the_published_multiplications() {
        // int8 and int32 mult are 0.2 and 3.1 pJ at products of 64 and 1024 bits; 256 is half way on a logarithmic axis.
        let int16 = Format { activation: Dtype::Int16, accumulator_bits: 48, ..fixture::format(Dtype::Int16, 1) };
        let figure = mac(&NM45, &int16);
        assert!((figure.value - (libm::sqrt(0.2 * 3.1) + 0.15)).abs() < 1e-12, "{figure:?}");
        assert_eq!(figure.fidelity, Fidelity::Derived);
    }

    #[test]
    fn a_binary_mac_is_an_xnor_and_a_share_of_the_adders() {
        // 0.001 + 0.1 / 16 + 0.03 / 8 * 15/16 = 0.010765625, within what is published of binary chips (4 to 43 fJ).
        let binary = Format { activation: Dtype::Binary, ..fixture::format(Dtype::Binary, 16) };
        let figure = mac(&NM45, &binary);
        assert!((figure.value - 0.010_765_625).abs() < 1e-12, "{figure:?}");
        assert_eq!(figure.fidelity, Fidelity::Assumed);
    }

    #[test]
    fn a_gated_mac_costs_less_than_another_in_every_format() {
        for weight in &Dtype::ALL[1..] {
            for activation in &Dtype::ALL[1..] {
                for lanes in [1, 2, 64] {
                    let format = Format { activation: *activation, ..fixture::format(*weight, lanes) };
                    let (gated, other) = (gated_mac(&NM45, &format).value, mac(&NM45, &format).value);
                    assert!(0.0 < gated && gated < other, "{weight} {activation} {lanes}: {gated} {other}");
                }
            }
        }
        assert!((gated_mac(&NM45, &fixture::format(Dtype::Int8, 1)).value - 0.01).abs() < 1e-15);
    }

    #[test]
    fn wider_operands_never_cost_less() {
        let mut before = 0.0;
        let pairs = [(1, 1), (2, 2), (2, 4), (4, 4), (4, 8), (8, 8), (8, 16), (16, 16)];
        for (w, a) in pairs.map(|(w, a)| (Dtype::from_bits(w).unwrap(), Dtype::from_bits(a).unwrap())) {
            let here = mac(&NM45, &Format { activation: a, ..fixture::format(w, 1) }).value;
            assert!(here > before, "{w} by {a}: {here} is not more than {before}");
            before = here;
        }
    }

    #[test]
    fn a_stated_cost_wins_over_the_table() {
        let source = "a paper".to_owned();
        let pe = PeCost::Stated { picojoules: 0.07, square_micrometres: 99.0, fidelity: Fidelity::Published, source: source.clone() };
        let mut parts = fixture::small();
        parts.formats[0].pe = pe;
        assert_eq!(mac(&NM45, &parts.formats[0]), Figure { value: 0.07, fidelity: Fidelity::Published, source });
        assert!((pe_area(&parts.parts()).value - 99.0).abs() < 1e-12);
    }

    #[test]
    fn a_byte_unpacked_is_two_registers_and_a_counter() {
        // 16 * 0.005 + 0.03.
        let figure = codec_byte(&NM45);
        assert!((figure.value - 0.11).abs() < 1e-12, "{figure:?}");
        assert_eq!(figure.fidelity, Fidelity::Assumed);
    }

    #[test]
    fn a_pe_is_its_multiplier_adder_and_registers() {
        // 282 + 137 + 5 * (8 + 8 + 32) = 659 um2.
        assert!((pe_area(&fixture::small().parts()).value - 659.0).abs() < 1e-9);
    }

    #[test]
    fn a_remembered_or_far_scaled_figure_says_so() {
        let at = |node_nm| mac(&Technology { node_nm, ..NM45 }, &fixture::format(Dtype::Int8, 1)).fidelity;
        assert_eq!((at(28), at(7)), (Fidelity::Derived, Fidelity::Assumed));
        assert_eq!(register_bit(&NM45).fidelity, Fidelity::Assumed);
    }
}
