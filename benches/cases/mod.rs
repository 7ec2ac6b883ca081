//! The runs that are timed and counted: products on the array alone, by name.

use ndarray::Array2;
use std::hint::black_box;
use systole::chip::{self, Chip, Stationary};
use systole::numerics::Dtype;
use systole::program::{Gemm, Program};
use systole::sim::{Engine, Machine};

/// A product that is ready to run.
pub(crate) struct Case {
    pub(crate) name: String,
    engine: Engine,
    chip: Chip,
    format: String,
    program: Program,
    inputs: [Vec<u8>; 2],
    pub(crate) macs: u64,
}

impl Case {
    fn new(name: String, engine: Engine, chip: &str, sets: &[(&str, &str)], format: &str, product: (Stationary, [usize; 3])) -> Self {
        let sets: Vec<_> = sets.iter().map(|(field, value)| ((*field).to_string(), (*value).to_string())).collect();
        let chip = chip::load(chip, &sets).expect("a chip");
        let numbers = chip.format_named(format).expect("a format").clone();
        let (stationary, [m, k, n]) = product;
        let dataflow = *chip.dataflow(stationary).expect("a dataflow");
        let gemm = Gemm::new([m, k, n].map(|size| size as u64), &chip, &numbers, &dataflow, None).expect("a product");
        let activations = Array2::from_shape_fn((m, k), |(m, k)| value(numbers.activation, m * 31 + k * 17));
        let weights = Array2::from_shape_fn((k, n), |(k, n)| value(numbers.weight, k * 13 + n * 7));
        let inputs = [gemm.activations(activations.view()), gemm.weights(weights.view()).expect("weights")];
        let program = gemm.program().expect("a program");
        Self { name, engine, chip, format: format.to_string(), program, inputs, macs: (m * k * n) as u64 }
    }

    /// Runs it from an empty machine; the machine's cycles.
    #[inline(never)]
    pub(crate) fn run(&self) -> u64 {
        let format = self.chip.format_named(&self.format).expect("a format");
        let machine = Machine::new(&self.chip, format, &self.program).expect("a machine");
        let inputs: [&[u8]; 2] = [black_box(&self.inputs[0]), black_box(&self.inputs[1])];
        machine.run(&inputs, self.engine).expect("a run").total_cycles.get()
    }

    /// Its array's PEs.
    pub(crate) fn pes(&self) -> u64 {
        let array = self.chip.array();
        u64::from(array.rows) * u64::from(array.cols)
    }
}

/// A number of a format, every one in turn.
fn value(dtype: Dtype, seed: usize) -> i16 {
    if dtype == Dtype::Binary {
        return if seed.is_multiple_of(3) { 1 } else { -1 };
    }
    let range = usize::try_from(dtype.max() - dtype.min() + 1).expect("a range");
    i16::try_from(i32::try_from(seed * 7919 % range).expect("a small number") + dtype.min()).expect("16 bits")
}

/// The stepped drive, int8, every dataflow and size: `ws 16x16` and so on.
pub(crate) fn stepped() -> impl Iterator<Item = Case> {
    [16, 32, 64, 128].into_iter().flat_map(|size| {
        let (wide, side) = (2 * size, size.to_string());
        let dataflows = [
            ("ws", Stationary::Weight, [1024, wide, wide]),
            ("is", Stationary::Input, [wide, wide, 1024]),
            ("os", Stationary::Output, [wide, 1024, wide]),
        ];
        dataflows.map(|(dataflow, stationary, product)| {
            let sets = [("array.rows", side.as_str()), ("array.cols", side.as_str())];
            let name = format!("{dataflow} {size}x{size}");
            Case::new(name, Engine::Stepped, "ideal-128x128", &sets, "w8a8", (stationary, product))
        })
    })
}

/// The wavefront drive.
pub(crate) fn wavefront() -> impl Iterator<Item = Case> {
    let format = |weight: &str, activation: &str, lanes: usize, bits: u32| {
        format!("[(weight: {weight}, activation: {activation}, lanes: {lanes}, accumulator_bits: {bits}, overflow: Saturate, pe: Table)]")
    };
    // A pass of 1024 vectors past each of four tiles of 128 x 128 PEs.
    let formats = [
        ("w8a8", "Int8", "Int8", 1, 32),
        ("w4a8", "Int4", "Int8", 2, 32),
        ("w4a4", "Int4", "Int4", 2, 32),
        ("w16a16", "Int16", "Int16", 1, 48),
        ("w1a1", "Binary", "Binary", 16, 32),
    ];
    let by_format = formats.into_iter().map(move |(name, weight, activation, lanes, bits)| {
        let formats = format(weight, activation, lanes, bits);
        let product = (Stationary::Weight, [1024, 256 * lanes, 256]);
        Case::new(format!("ws 128x128 {name}"), Engine::Wavefront, "ideal-128x128", &[("formats", &formats)], name, product)
    });
    // What STONNE and ONNXim were timed on.
    let products = [("ideal-16x16", Stationary::Output, 256), ("ideal-128x128", Stationary::Weight, 1024)];
    by_format.chain(products.into_iter().map(|(chip, stationary, size)| {
        let name = format!("{} {chip} {size}^3", stationary.name());
        Case::new(name, Engine::Wavefront, chip, &[], "w8a8", (stationary, [size; 3]))
    }))
}
