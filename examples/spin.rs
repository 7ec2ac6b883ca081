//! Temporary.
#![allow(missing_docs, clippy::all, clippy::pedantic, clippy::print_stdout)]
use ndarray::Array2;
use std::hint::black_box;
use systole::chip::{self, Chip, Stationary};
use systole::numerics::Dtype;
use systole::program::{Gemm, Program};
use systole::sim::{Engine, Machine};

/// A product that is ready to run.
struct Ready {
    chip: Chip,
    format: String,
    program: Program,
    inputs: [Vec<u8>; 2],
    macs: u64,
}

impl Ready {
    fn new(chip: &str, sets: &[(&str, &str)], format: &str, stationary: Stationary, [m, k, n]: [usize; 3]) -> Self {
        let sets: Vec<_> = sets.iter().map(|(field, value)| ((*field).to_string(), (*value).to_string())).collect();
        let chip = chip::load(chip, &sets).expect("a chip");
        let numbers = chip.format_named(format).expect("a format").clone();
        let dataflow = *chip.dataflow(stationary).expect("a dataflow");
        let gemm = Gemm::new([m, k, n].map(|size| size as u64), &chip, &numbers, &dataflow, None).expect("a product");
        let activations = Array2::from_shape_fn((m, k), |(m, k)| value(numbers.activation, m * 31 + k * 17));
        let weights = Array2::from_shape_fn((k, n), |(k, n)| value(numbers.weight, k * 13 + n * 7));
        let inputs = [gemm.activations(activations.view()), gemm.weights(weights.view()).expect("weights")];
        let program = gemm.program().expect("a program");
        Self { chip, format: format.to_string(), program, inputs, macs: (m * k * n) as u64 }
    }

    fn machine(&self) -> Machine<'_> {
        Machine::new(&self.chip, self.chip.format_named(&self.format).expect("a format"), &self.program).expect("a machine")
    }

    fn run(&self, engine: Engine) -> u64 {
        let inputs: [&[u8]; 2] = [black_box(&self.inputs[0]), black_box(&self.inputs[1])];
        self.machine().run(&inputs, engine).expect("a run").total_cycles.get()
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

fn main() {
    let a: Vec<String> = std::env::args().collect();
    let size: usize = a[2].parse().unwrap();
    let n: u64 = a[4].parse().unwrap();
    let (st, g) = match a[1].as_str() {
        "ws" => (Stationary::Weight, [1024, 2 * size, 2 * size]),
        "is" => (Stationary::Input, [2 * size, 2 * size, 1024]),
        _ => (Stationary::Output, [2 * size, 1024, 2 * size]),
    };
    let g = if a.len() > 5 {
        let v: Vec<usize> = a[5..8].iter().map(|x| x.parse().unwrap()).collect();
        [v[0], v[1], v[2]]
    } else {
        g
    };
    let r = Ready::new("ideal-128x128", &[("array.rows", &a[2]), ("array.cols", &a[2])], "w8a8", st, g);
    let e = if a[3] == "stepped" { Engine::Stepped } else { Engine::Wavefront };
    let mut c = 0;
    let t = std::time::Instant::now();
    for _ in 0..n {
        c += r.run(e);
    }
    let dt = t.elapsed().as_secs_f64();
    println!(
        "{} cycles, {:.3} G PE-cycles/s, {:.3} GMAC/s",
        c,
        c as f64 * (size * size) as f64 / dt / 1e9,
        r.macs as f64 * n as f64 / dt / 1e9
    );
}
