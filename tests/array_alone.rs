//! Are both drives of the array the naive stepper's equal: in cycles, sums, and every register of every PE in every cycle?
//!
//! Random arrays up to 8 x 8, with every field of the contract, every dataflow and every format, multiply random matrices. The longer
//! run: `cargo test --release --test array_alone -- --ignored`.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]
#![allow(clippy::cast_possible_truncation, reason = "sizes here are small")]

mod dataflows;
#[path = "naive/mod.rs"]
mod stepper;

use dataflows::dataflow;
use ndarray::Array2;
use proptest::prelude::*;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use stepper::{Matrix, Shape, transposed};
use systole::chip::{self, Chip, Dataflow, Format, Stationary};
use systole::numerics::Dtype;
use systole::program::Gemm;
use systole::sim::{Engine, Machine, PeId, Registers, Run};
use systole::units::Tick;

#[derive(Debug, Clone)]
struct Case {
    rows: u32,
    cols: u32,
    dataflow: String,
    weight: &'static str,
    activation: &'static str,
    lanes: u32,
    bits: u32,
    overflow: &'static str,
    size: [usize; 3],
    zeros: f64,
    gating: bool,
    seed: u64,
}

fn cases() -> impl Strategy<Value = Case> {
    let format = prop_oneof![
        4 => Just(("Int8", "Int8")),
        1 => Just(("Int4", "Int8")),
        1 => Just(("Int2", "Int8")),
        1 => Just(("Int4", "Int4")),
        1 => Just(("Int2", "Int4")),
        2 => Just(("Binary", "Binary")),
        1 => Just(("Int16", "Int16")),
        1 => Just(("Int8", "Int16")),
    ];
    let size = 1..=8_u32;
    let wide = prop_oneof![3 => Just(64_u32), 1 => Just(40), 1 => Just(32), 1 => Just(24)];
    let overflow = prop_oneof![Just("Wrap"), Just("Saturate")];
    let numbers = (format, prop_oneof![3 => Just(1_u32), 2 => 2..=5_u32], wide, overflow);
    let problem = ((1..=20_usize, 1..=40_usize, 1..=20_usize), prop_oneof![Just(0.0), 0.1..0.9], any::<bool>(), any::<u64>());
    ((size.clone(), size), dataflow(&["Weight", "Input", "Output"]), numbers, problem).prop_map(
        |((rows, cols), dataflow, numbers, problem)| {
            let (((weight, activation), lanes, bits, overflow), ((m, k, n), zeros, gating, seed)) = (numbers, problem);
            // Narrow accumulators overflow, wide ones do not.
            let bits = if weight == "Int16" || activation == "Int16" { bits.max(33) } else { bits };
            Case { rows, cols, dataflow, weight, activation, lanes, bits, overflow, size: [m, k, n], zeros, gating, seed }
        },
    )
}

struct Products {
    chip: Chip,
    activations: Matrix,
    weights: Matrix,
}

impl Case {
    fn products(&self) -> Products {
        let format = format!(
            "[(weight: {}, activation: {}, lanes: {}, accumulator_bits: {}, overflow: {}, pe: Table)]",
            self.weight, self.activation, self.lanes, self.bits, self.overflow
        );
        let sets = [
            ("array.rows", self.rows.to_string()),
            ("array.cols", self.cols.to_string()),
            ("array.dataflows", format!("[{}]", self.dataflow)),
            ("array.zero_gating", self.gating.to_string()),
            ("formats", format),
        ];
        let sets: Vec<_> = sets.into_iter().map(|(field, value)| (field.to_string(), value)).collect();
        let chip = chip::load("edge-16x16", &sets).unwrap();
        let mut rng = ChaCha8Rng::seed_from_u64(self.seed);
        let Format { weight, activation, .. } = chip.formats()[0];
        let [m, k, n] = self.size;
        let activations = random(&mut rng, activation, self.zeros, m, k);
        let weights = random(&mut rng, weight, self.zeros, k, n);
        Products { chip, activations, weights }
    }
}

fn random(rng: &mut ChaCha8Rng, dtype: Dtype, zeros: f64, rows: usize, cols: usize) -> Matrix {
    let mut value = || match dtype {
        Dtype::Binary => i64::from(rng.random::<bool>()) * 2 - 1,
        _ if rng.random_bool(zeros) => 0,
        _ => i64::from(rng.random_range(dtype.min()..=dtype.max())),
    };
    (0..rows).map(|_| (0..cols).map(|_| value()).collect()).collect()
}

fn array(matrix: &Matrix) -> Array2<i16> {
    Array2::from_shape_fn((matrix.len(), matrix[0].len()), |(row, col)| matrix[row][col] as i16)
}

/// What the naive stepper says: cycles, sums, and every PE's registers in every cycle.
fn naive(products: &Products) -> (u64, Matrix, Vec<Vec<Registers>>) {
    let Products { chip, activations, weights } = products;
    let dataflow = &chip.array().dataflows[0];
    let format = &chip.formats()[0];
    let rule = chip.arithmetic(format, dataflow).accumulate;
    let shape = Shape { rows: chip.array().rows as usize, cols: chip.array().cols as usize, lanes: format.lanes as usize };
    let mut ticks = Vec::new();
    let probe = |_: u64, registers: &[stepper::Registers]| {
        let of = |pe: &stepper::Registers| Registers { row: pe.stream.clone(), col: pe.weight.clone(), sum: pe.sum };
        ticks.push(registers.iter().map(of).collect::<Vec<Registers>>());
    };
    let (m, n) = (activations.len(), weights[0].len());
    let zeros = |rows: usize, cols: usize| vec![vec![0; cols]; rows];
    let (cycles, sums) = match dataflow {
        Dataflow::WeightStationary(timing) => {
            let passes = stepper::cut_weight_stationary(shape, timing, activations, weights);
            let run = stepper::run_stationary(shape, timing, &passes, probe);
            (run.cycles, stepper::accumulate(&passes, &run.outputs, zeros(m, n), &rule))
        }
        Dataflow::InputStationary(timing) => {
            let passes = stepper::cut_input_stationary(shape, timing, activations, weights);
            let run = stepper::run_stationary(shape, timing, &passes, probe);
            (run.cycles, transposed(&stepper::accumulate(&passes, &run.outputs, zeros(n, m), &rule)))
        }
        Dataflow::OutputStationary(timing) => {
            let passes = stepper::cut_output_stationary(shape, activations, weights, None);
            let run = stepper::run_output(shape, timing, &rule, &passes, probe);
            (run.cycles, stepper::collect(&passes, &run.outputs, m, n))
        }
    };
    (cycles, sums, ticks)
}

/// What the machine says, by either drive.
struct Alone<'c> {
    chip: &'c Chip,
    gemm: Gemm,
    inputs: [Vec<u8>; 2],
}

impl<'c> Alone<'c> {
    fn new(products: &'c Products) -> Self {
        let chip = &products.chip;
        let (activations, weights) = (array(&products.activations), array(&products.weights));
        let size = [activations.nrows(), activations.ncols(), weights.ncols()].map(|size| size as u64);
        let gemm = Gemm::new(size, chip, &chip.formats()[0], &chip.array().dataflows[0], Some(weights.view())).unwrap();
        let inputs = [gemm.activations(activations.view()), gemm.weights(weights.view()).unwrap()];
        Self { chip, gemm, inputs }
    }

    fn inputs(&self) -> [&[u8]; 2] {
        [&self.inputs[0], &self.inputs[1]]
    }

    fn sums(&self, run: &Run) -> Vec<i64> {
        self.gemm.sums(&run.output)
    }
}

fn check(case: &Case) {
    let products = case.products();
    let (cycles, sums, ticks) = naive(&products);
    let alone = Alone::new(&products);
    let program = alone.gemm.program().unwrap();
    let machine = Machine::new(alone.chip, &alone.chip.formats()[0], &program).unwrap();
    let inputs = alone.inputs();
    let [stepped, wavefront] = [Engine::Stepped, Engine::Wavefront].map(|engine| machine.run(&inputs, engine).unwrap());
    assert_eq!(stepped, wavefront, "both drives agree in outputs, cycles and counts");
    assert_eq!(stepped.total_cycles.get(), cycles, "cycles");
    assert_eq!(stepped.units[0].cycles.busy, cycles, "the array alone is never idle and never stalls");
    assert_eq!(alone.sums(&stepped), sums.concat(), "sums");
    let timed = machine.time().unwrap();
    assert_eq!((timed.total_cycles, timed.passes, &timed.units), (stepped.total_cycles, stepped.passes, &stepped.units));
    assert_eq!(timed.stages[0].traffic, stepped.stages[0].traffic);

    counts(case, &products, &alone, &stepped);

    let mut sessions = [Engine::Stepped, Engine::Wavefront].map(|engine| machine.start(&inputs, engine).unwrap());
    for (cycle, registers) in (0..).zip(&ticks) {
        for session in &mut sessions {
            session.run_until(Tick::new(cycle)).unwrap();
            for (number, wanted) in (0..).zip(registers) {
                let pe = PeId { row: number / case.cols, col: number % case.cols };
                let got = session.probe(pe);
                // Outside of the corner that a pass fills the machine shows nothing; the stepper shows what an earlier one left there.
                if got == Registers::default() && wanted.row.is_none() && case.dataflow.contains("extent: Used") {
                    continue;
                }
                assert_eq!(&got, wanted, "{pe:?} in cycle {cycle} of {}", case.dataflow);
            }
        }
    }
}

/// Counts by their formulas, from the operands.
fn counts(case: &Case, products: &Products, alone: &Alone<'_>, run: &Run) {
    let [m, k, n] = case.size;
    let macs = (m * k * n) as u64;
    let stage = &run.stages[0];
    assert_eq!(stage.actions.macs, macs);
    let zero = |a: i64, w: i64| a == 0 || w == 0;
    let gated = (0..m).flat_map(|i| (0..n).flat_map(move |j| (0..k).map(move |l| (i, j, l))));
    let gated = gated.filter(|(i, j, l)| zero(products.activations[*i][*l], products.weights[*l][*j])).count();
    assert_eq!(stage.actions.macs_gated, if case.gating { gated as u64 } else { 0 });
    let (rows, cols) = (case.rows as usize, case.cols as usize);
    // The operand that is read once for each tile of the other.
    let reads = |inputs: usize, weights: usize| (inputs as u64, weights as u64);
    let blocks = |size: usize| if case.dataflow.contains("max_pass_vectors: Rows") { size.div_ceil(rows) } else { 1 };
    let (wanted, writes) = match alone.chip.array().dataflows[0].kind() {
        Stationary::Weight => (reads(m * k * n.div_ceil(cols), k * n), m * n * k.div_ceil(rows * case.lanes as usize)),
        Stationary::Input => (reads(m * k, k * n * m.div_ceil(cols)), m * n * k.div_ceil(rows * case.lanes as usize)),
        Stationary::Output => (reads(m * k * n.div_ceil(cols), k * n * m.div_ceil(rows)), m * n),
    };
    assert_eq!((stage.elements.input_reads, stage.elements.weight_reads), wanted);
    assert_eq!(stage.elements.output_writes, writes as u64);
    let passes = match alone.chip.array().dataflows[0].kind() {
        Stationary::Weight => n.div_ceil(cols) * k.div_ceil(rows * case.lanes as usize) * blocks(m),
        Stationary::Input => m.div_ceil(cols) * k.div_ceil(rows * case.lanes as usize) * blocks(n),
        Stationary::Output => m.div_ceil(rows) * n.div_ceil(cols),
    };
    assert_eq!(run.passes, passes as u64);
    let shapes = alone.gemm.passes();
    assert_eq!(shapes.iter().map(|shape| shape.count).sum::<u64>(), run.passes);
    assert_eq!(shapes.iter().map(|shape| shape.count * shape.macs).sum::<u64>(), macs);
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases.max(2000), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_drives_are_the_naive_stepper(case in cases()) {
        check(&case);
    }
}

/// Arrays of more columns than the machine works on together, and passes longer than the blocks that it steps: too much for the naive
/// stepper, so one drive is held to the other.
fn wide_cases() -> impl Strategy<Value = Case> {
    let size = (1..=24_u32, 9..=50_u32);
    let problem = (1..=160_usize, 1..=160_usize, 1..=160_usize);
    (cases(), size, problem).prop_map(|(case, (rows, cols), (m, k, n))| Case { rows, cols, size: [m, k, n], ..case })
}

fn check_wide(case: &Case) {
    let products = case.products();
    let alone = Alone::new(&products);
    let program = alone.gemm.program().unwrap();
    let machine = Machine::new(alone.chip, &alone.chip.formats()[0], &program).unwrap();
    let inputs = alone.inputs();
    let [stepped, wavefront] = [Engine::Stepped, Engine::Wavefront].map(|engine| machine.run(&inputs, engine).unwrap());
    assert_eq!(stepped, wavefront, "both drives agree in outputs, cycles and counts");
    // Looked at here and there, for then blocks are cut short.
    let mut sessions = [Engine::Stepped, Engine::Wavefront].map(|engine| machine.start(&inputs, engine).unwrap());
    let mut rng = ChaCha8Rng::seed_from_u64(case.seed);
    let mut cycle = 0;
    while cycle < stepped.total_cycles.get().min(1000) {
        for session in &mut sessions {
            session.run_until(Tick::new(cycle)).unwrap();
        }
        for _ in 0..8 {
            let pe = PeId { row: rng.random_range(0..case.rows), col: rng.random_range(0..case.cols) };
            let [stepped, wavefront] = sessions.each_mut().map(|session| session.probe(pe));
            assert_eq!(stepped, wavefront, "{pe:?} in cycle {cycle} of {}", case.dataflow);
        }
        cycle += rng.random_range(1..150);
    }
    for session in sessions {
        assert_eq!(session.finish().unwrap(), stepped, "what is looked at is not changed");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: ProptestConfig::default().cases, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn both_drives_are_one_on_wide_arrays(case in wide_cases()) {
        check_wide(&case);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 50_000, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    #[ignore = "the longer run: cargo test --release --test array_alone -- --ignored"]
    fn both_drives_are_the_naive_stepper_for_longer(case in cases()) {
        check(&case);
    }
}
