//! One matrix product on a chip's array, and the layers of a layer table: what is asked for, judged before anything is made.
//!
//! Not here: networks (`run`), and layer tables as files (`topology`).

use super::PipelineError;
use super::product::{self, Product};
use super::vcd::{MAX_DUMP_PES, MAX_DUMP_VALUES, View};
use crate::chip::{Chip, Dataflow, Format, Stationary};
use crate::report::{GemmReport, TopologyReport};
use crate::sim::Engine;
use crate::topology::Layer;
use std::io::Write;
use thiserror::Error;

/// The largest dimension of a product, in elements.
pub const MAX_DIMENSION: u64 = 1 << 31;
/// The most elements of both operands and the outputs together: a few bytes each on the host, about a gibibyte in all. It also bounds the
/// host's time, since a product of so many elements has at most 3e11 multiply-accumulates.
pub const MAX_ELEMENTS: u64 = 1 << 27;
/// The most multiply-accumulates of a layer that is only timed, so that its cycles and reads can be counted in 64 bits.
pub const MAX_MACS: u64 = 1 << 52;
/// The most passes of a layer that is only timed: each takes the host some fraction of a microsecond.
pub const MAX_PASSES: u64 = 1 << 28;

/// One product of random integers: `m` x `k` activations by `k` x `n` weights.
#[derive(Debug, Clone, PartialEq)]
pub struct GemmRequest {
    /// Vectors of activations.
    pub m: u64,
    /// Elements of each sum.
    pub k: u64,
    /// Outputs of each vector.
    pub n: u64,
    /// What stays in a PE; the chip's first dataflow where there is none.
    pub dataflow: Option<Stationary>,
    /// The formats by their name, such as `w4a8`; the chip's first where there is none.
    pub format: Option<String>,
    /// How the machine is driven.
    pub engine: Engine,
    /// The array and its timing alone: operands in place, no ports and no DMA.
    pub array_only: bool,
    /// The share of weights that are let be, 0 to 1; the others are made zero.
    pub density: f64,
    /// The seed of the operands.
    pub seed: u64,
}

/// Why a product is not made.
#[derive(Debug, Clone, PartialEq, Error)]
pub enum GemmError {
    /// A dimension is out of range.
    #[error("{name} is {value}, and a dimension of a product is 1 to {MAX_DIMENSION}\n  help: give another -{name}")]
    Dimension {
        /// `m`, `k` or `n`.
        name: char,
        /// The dimension in elements.
        value: u64,
    },
    /// The operands and outputs are too large to be held.
    #[error(
        "a product of {m} x {k} by {k} x {n} has {elements} elements in its operands and outputs, and {MAX_ELEMENTS} is the most that is held\n  help: make it smaller, or give it to `systole topology`, which counts cycles without numbers"
    )]
    Elements {
        /// Vectors of activations.
        m: u64,
        /// Elements of each sum.
        k: u64,
        /// Outputs of each vector.
        n: u64,
        /// Elements of both operands and the outputs.
        elements: u128,
    },
    /// A layer is too large to be timed.
    #[error(
        "layer \"{layer}\" has {m} x {k} x {n} multiply-accumulates{}, and {MAX_MACS} is the most that is timed\n  help: cut the layer in several",
        if *runs == 1 { String::new() } else { format!(", {runs} times") }
    )]
    Macs {
        /// The layer's name.
        layer: String,
        /// Vectors of activations.
        m: u64,
        /// Elements of each sum.
        k: u64,
        /// Outputs of each vector.
        n: u64,
        /// How often the layer makes this product.
        runs: u64,
    },
    /// The density is no share.
    #[error(
        "the density is {density}, and it is a share of the weights, from 0 to 1\n  help: --density 0.5 makes half of the weights zero"
    )]
    Density {
        /// The density.
        density: f64,
    },
    /// The array cannot do this dataflow.
    #[error(
        "the chip \"{chip}\" has no dataflow {asked}; it has {has}\n  help: choose one of them with --dataflow, or add one to array.dataflows of the chip"
    )]
    Dataflow {
        /// The dataflow asked for.
        asked: &'static str,
        /// The chip.
        chip: String,
        /// The dataflows of the chip.
        has: String,
    },
    /// The PEs do not multiply this format.
    #[error(
        "the chip \"{chip}\" has no format {asked}; it has {has}\n  help: choose one of them with --format, or add one to formats of the chip"
    )]
    Format {
        /// The format asked for.
        asked: String,
        /// The chip.
        chip: String,
        /// The formats of the chip.
        has: String,
    },
    /// A value change dump of a run that moves no registers.
    #[error("a value change dump shows the registers of every cycle, which only a stepped run moves\n  help: add --engine stepped")]
    NotStepped,
    /// An array too large to be looked at PE by PE.
    #[error(
        "a value change dump shows every PE, {rows} x {cols} of them here, and {MAX_DUMP_PES} is the most that is dumped\n  help: make the array smaller, such as with --set array.rows=8 --set array.cols=8, or leave --vcd out"
    )]
    DumpPes {
        /// PEs in a column.
        rows: u32,
        /// PEs in a row.
        cols: u32,
    },
    /// A run too long to be looked at cycle by cycle.
    #[error(
        "a value change dump of {cycles} cycles with {signals} signals of PEs in each has more than {MAX_DUMP_VALUES} values, which is the most that is dumped\n  help: make the product smaller, so that it takes {most} cycles or fewer, or leave --vcd out"
    )]
    DumpLength {
        /// Cycles of the run.
        cycles: u64,
        /// Signals of the PEs.
        signals: u64,
        /// Cycles that could be dumped.
        most: u64,
    },
    /// The output of a value change dump.
    #[error("the value change dump cannot be written: {problem}\n  help: choose another file with --vcd")]
    Dump {
        /// What the system says.
        problem: String,
    },
    /// Weights of one bit have no zero.
    #[error(
        "a binary weight is +1 or -1 and cannot be made zero, so the density is 1, not {density}\n  help: leave --density out, or choose another --format"
    )]
    BinaryDensity {
        /// The density.
        density: f64,
    },
    /// A layer would take too many passes.
    #[error(
        "layer \"{layer}\" takes {passes} passes of this array, and {MAX_PASSES} is the most that is timed\n  help: choose a larger array"
    )]
    Passes {
        /// The layer's name.
        layer: String,
        /// Its passes.
        passes: u64,
    },
}

/// A request that can be made: the chip's parts that it chose.
#[derive(Debug, Clone, Copy)]
struct Choice<'a> {
    dataflow: &'a Dataflow,
    format: &'a Format,
}

impl<'a> Choice<'a> {
    fn of(chip: &'a Chip, dataflow: Option<Stationary>, format: Option<&str>) -> Result<Self, GemmError> {
        let dataflows = &chip.array().dataflows;
        let dataflow = match dataflow {
            None => &dataflows[0],
            Some(asked) => chip.dataflow(asked).ok_or_else(|| GemmError::Dataflow {
                asked: asked.name(),
                chip: chip.name().to_string(),
                has: dataflows.iter().map(|dataflow| dataflow.kind().name()).collect::<Vec<_>>().join(", "),
            })?,
        };
        let format = match format {
            None => &chip.formats()[0],
            Some(asked) => chip.format_named(asked).ok_or_else(|| GemmError::Format {
                asked: asked.to_string(),
                chip: chip.name().to_string(),
                has: chip.formats().iter().map(Format::name).collect::<Vec<_>>().join(", "),
            })?,
        };
        Ok(Self { dataflow, format })
    }
}

/// Judges a request; what it chose of the chip.
fn check<'a>(chip: &'a Chip, request: &GemmRequest) -> Result<Choice<'a>, GemmError> {
    let GemmRequest { m, k, n, .. } = *request;
    for (name, value) in [('m', m), ('k', k), ('n', n)] {
        if !(1..=MAX_DIMENSION).contains(&value) {
            return Err(GemmError::Dimension { name, value });
        }
    }
    if !(0.0..=1.0).contains(&request.density) {
        return Err(GemmError::Density { density: request.density });
    }
    let choice = Choice::of(chip, request.dataflow, request.format.as_deref())?;
    if choice.format.is_binary() && request.density < 1.0 {
        return Err(GemmError::BinaryDensity { density: request.density });
    }
    let of = |one: u64, other: u64| u128::from(one) * u128::from(other);
    let elements = of(m, k) + of(k, n) + of(m, n);
    if elements > u128::from(MAX_ELEMENTS) {
        return Err(GemmError::Elements { m, k, n, elements });
    }
    Ok(choice)
}

/// Makes a product of random integers over the full range of the formats on the chip, and holds its outputs to the integer product.
///
/// # Errors
/// If the request is out of range, or names a dataflow or a format that the chip lacks.
pub fn gemm(chip: &Chip, request: &GemmRequest) -> Result<GemmReport, PipelineError> {
    let choice = check(chip, request)?;
    let product = Product::new(chip, choice.format, choice.dataflow, request)?;
    let run = product.machine()?.run(&product.inputs(), request.engine)?;
    Ok(product.report(request, &run))
}

/// The same product, stepped, with every change of a register or a unit's account written as a value change dump (IEEE 1364): at a rising
/// edge of its clock a cycle starts, and what a signal shows until the next one is its value in this cycle.
///
/// # Errors
/// As [`gemm`]; if the request's engine is not the stepped one; if the array or the run is too large to be dumped, before anything is
/// written; and if the dump cannot be written.
pub fn gemm_vcd(chip: &Chip, request: &GemmRequest, dump: &mut impl Write) -> Result<GemmReport, PipelineError> {
    let choice = check(chip, request)?;
    if request.engine != Engine::Stepped {
        return Err(GemmError::NotStepped.into());
    }
    let view = View::new(chip, choice.format, choice.dataflow, request.array_only)?;
    let product = Product::new(chip, choice.format, choice.dataflow, request)?;
    let machine = product.machine()?;
    view.check(machine.time()?.total_cycles)?;
    let run = view.write(machine.start(&product.inputs(), request.engine)?, dump)?;
    Ok(product.report(request, &run))
}

/// Times every layer, each alone on an empty chip, in the chip's first format and without numbers. A layer that makes several products (groups,
/// repeats) takes as often the cycles of one: each starts when the one before has ended.
///
/// # Errors
/// If the chip lacks the dataflow, or a layer is too large.
pub fn topology(chip: &Chip, layers: &[Layer], dataflow: Option<Stationary>, array_only: bool) -> Result<TopologyReport, PipelineError> {
    let choice = Choice::of(chip, dataflow, None)?;
    let mut rows = Vec::with_capacity(layers.len());
    for layer in layers {
        if layer.macs() > u128::from(MAX_MACS) {
            let Layer { name, m, k, n, .. } = layer;
            return Err(GemmError::Macs { layer: name.clone(), m: *m, k: *k, n: *n, runs: layer.runs() }.into());
        }
        rows.push(product::time(chip, choice.format, choice.dataflow, layer, array_only)?);
    }
    let total_cycles = rows.iter().map(|row| row.total_cycles).sum();
    Ok(TopologyReport { layers: rows, total_cycles })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn request() -> GemmRequest {
        GemmRequest { m: 4, k: 40, n: 24, dataflow: None, format: None, engine: Engine::Wavefront, array_only: true, density: 1.0, seed: 1 }
    }

    fn chip() -> Chip {
        crate::chip::load("edge-16x16", &[]).unwrap()
    }

    #[test]
    fn a_request_gets_what_it_names_or_what_is_first() {
        let chip = chip();
        let named = GemmRequest { dataflow: Some(Stationary::Weight), format: Some("w8a8".to_string()), ..request() };
        for request in [request(), named, GemmRequest { density: 0.0, ..request() }] {
            let choice = check(&chip, &request).unwrap();
            assert_eq!((choice.dataflow, choice.format), (&chip.array().dataflows[0], &chip.formats()[0]));
        }
    }

    #[test]
    fn a_request_out_of_range_is_refused_with_its_value() {
        let chip = chip();
        let over = MAX_DIMENSION + 1;
        let cases: [(GemmRequest, &[&str]); 10] = [
            (GemmRequest { m: 0, ..request() }, &["m is 0", "1 to 2147483648", "-m"]),
            (GemmRequest { k: over, ..request() }, &["k is 2147483649"]),
            (GemmRequest { n: u64::MAX, ..request() }, &["n is 18446744073709551615"]),
            (
                GemmRequest { m: MAX_DIMENSION, k: MAX_DIMENSION, n: MAX_DIMENSION, ..request() },
                &["13835058055282163712 elements", "134217728"],
            ),
            (GemmRequest { m: 1 << 14, k: 1 << 14, n: 1, ..request() }, &["16384 x 16384 by 16384 x 1", "topology"]),
            (GemmRequest { density: -0.1, ..request() }, &["the density is -0.1", "0 to 1"]),
            (GemmRequest { density: 1.5, ..request() }, &["the density is 1.5"]),
            (GemmRequest { density: f64::NAN, ..request() }, &["the density is NaN"]),
            (GemmRequest { dataflow: Some(Stationary::Output), ..request() }, &["\"edge-16x16\" has no dataflow os; it has ws"]),
            (GemmRequest { format: Some("w2a2".to_string()), ..request() }, &["has no format w2a2; it has w8a8"]),
        ];
        for (request, words) in cases {
            let message = gemm(&chip, &request).unwrap_err().to_string();
            assert!(words.iter().all(|word| message.contains(word)) && message.contains("\n  help: "), "{message}");
            assert_eq!(gemm_vcd(&chip, &request, &mut Vec::new()).unwrap_err().to_string(), message);
        }
        let message = gemm_vcd(&chip, &request(), &mut Vec::new()).unwrap_err().to_string();
        assert!(message.contains("--engine stepped"), "{message}");
    }

    #[test]
    fn a_layer_too_large_to_be_timed_is_named() {
        let layer = |m, k, n| Layer::product("conv9", [m, k, n]);
        let refused = |layers: &[Layer]| topology(&chip(), layers, None, true).unwrap_err().to_string();
        assert!(
            refused(&[layer(1, 1, 1), layer(MAX_DIMENSION, MAX_DIMENSION, 1)]).contains("layer \"conv9\" has 2147483648 x 2147483648 x 1")
        );
        assert!(refused(&[layer(MAX_DIMENSION, MAX_DIMENSION, MAX_DIMENSION)]).contains("is the most that is timed"));
        let message = topology(&chip(), &[layer(1, 1, 1)], Some(Stationary::Input), true).unwrap_err().to_string();
        assert!(message.contains("has no dataflow is; it has ws"), "{message}");
    }
}
