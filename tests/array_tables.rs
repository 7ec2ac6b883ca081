//! Do the pictures of `tests/tables` show what the array does, register by register?
//!
//! Each file is a paragraph for the reader, the matrices, and every PE in every cycle: worked out from the array's contract without the
//! stepper, and read cycle by cycle. The stepper has to draw the same picture, byte for byte, and so has the machine, by either drive.
//! Nothing here writes the files: where one differs, find out which of the two is wrong.

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

#[path = "naive/mod.rs"]
mod stepper;

use std::fmt::Write;
use std::path::Path;

use ndarray::Array2;
use stepper::{IDEAL, IDEAL_OUTPUT, Matrix, Registers, Shape};
use systole::chip::{self, Dataflow, OutputTiming, Overlap, Span, StationaryTiming};
use systole::numerics::{AccumulateRule, Overflow};
use systole::program::Gemm;
use systole::sim::{Engine, Machine, PeId};
use systole::units::Tick;

const RULE: AccumulateRule = AccumulateRule { bits: 32, overflow: Overflow::Wrap, chunk: 1 };

fn square(size: usize) -> Shape {
    Shape { rows: size, cols: size, lanes: 1 }
}

fn matrix<const C: usize>(rows: &[[i64; C]]) -> Matrix {
    rows.iter().map(|row| row.to_vec()).collect()
}

/// Side by side: the operands, and what their product is by plain loops.
fn statement(a: &Matrix, b: &Matrix) -> String {
    let entry = |row: &Vec<i64>, n: usize| row.iter().zip(b).map(|(a, b)| a * b[n]).sum();
    let product: Matrix = a.iter().map(|row| (0..b[0].len()).map(|n| entry(row, n)).collect()).collect();
    let mut text = String::new();
    for (name, matrix) in [("A", a), ("B", b), ("A x B", &product)] {
        for (number, row) in matrix.iter().enumerate() {
            let label = if number == 0 { format!("{name} =") } else { String::new() };
            let row: Vec<String> = row.iter().map(|value| format!("{value:>3}")).collect();
            writeln!(text, "{label:<7}{}", row.join(" ")).unwrap();
        }
        text.push('\n');
    }
    text
}

/// Every PE in every cycle of the same product on the machine's array.
fn machine(a: &Matrix, b: &Matrix, size: usize, dataflow: &Dataflow, engine: Engine) -> Vec<Vec<Registers>> {
    // What Rust shows of a dataflow is a chip file's text but for the names of structs and options.
    let mut text = format!("[{dataflow:?}]");
    for (rust, ron) in [("StationaryTiming { ", ""), ("OutputTiming { ", ""), (" }", ""), ("Some(Rows)", "Rows")] {
        text = text.replace(rust, ron);
    }
    let format = "[(weight: Int8, activation: Int8, lanes: 1, accumulator_bits: 32, overflow: Wrap, pe: Table)]";
    let sets = [("rows", size.to_string()), ("cols", size.to_string()), ("dataflows", text)];
    let mut sets = sets.map(|(field, value)| (format!("array.{field}"), value)).to_vec();
    sets.push(("formats".to_string(), format.to_string()));
    let chip = chip::load("edge-16x16", &sets).unwrap();
    let (format, loaded) = (&chip.formats()[0], &chip.array().dataflows[0]);
    assert_eq!(loaded, dataflow, "the chip has the timing of the table");

    let array = |matrix: &Matrix| Array2::from_shape_fn((matrix.len(), matrix[0].len()), |(row, col)| matrix[row][col].try_into().unwrap());
    let (activations, weights): (Array2<i16>, Array2<i16>) = (array(a), array(b));
    let gemm = Gemm::new([a.len(), b.len(), b[0].len()].map(|size| size as u64), &chip, format, loaded, Some(weights.view())).unwrap();
    let inputs = [gemm.activations(activations.view()), gemm.weights(weights.view()).unwrap()];
    let program = gemm.program().unwrap();
    let mut session = Machine::new(&chip, format, &program).unwrap().start(&[&inputs[0], &inputs[1]], engine).unwrap();
    let mut ticks = vec![];
    for cycle in 0.. {
        let has_more = session.run_until(Tick::new(cycle)).unwrap();
        let pes = (0..chip.array().rows).flat_map(|row| (0..chip.array().cols).map(move |col| PeId { row, col }));
        let registers = pes.map(|pe| session.probe(pe)).map(|pe| Registers { stream: pe.row, weight: pe.col, sum: pe.sum });
        ticks.push(registers.collect());
        if !has_more {
            break;
        }
    }
    ticks
}

/// The file is prose, then exactly the matrices and the picture, which the machine draws as the stepper does.
fn compare(name: &str, a: &Matrix, b: &Matrix, size: usize, dataflow: &Dataflow, naive: &[Vec<Registers>]) {
    hold(name, a, b, size, naive, "the naive stepper");
    for engine in [Engine::Stepped, Engine::Wavefront] {
        hold(name, a, b, size, &machine(a, b, size, dataflow, engine), engine.name());
    }
}

fn hold(name: &str, a: &Matrix, b: &Matrix, size: usize, ticks: &[Vec<Registers>], who: &str) {
    let drawn = format!("{}{} cycles\n\n{}", statement(a, b), ticks.len(), stepper::render(size, size, ticks));
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/tables").join(name);
    let file = std::fs::read_to_string(&path).unwrap_or_default().replace("\r\n", "\n");
    let (prose, picture) = file.split_once("\n\n").unwrap_or_default();
    assert!(prose.len() > 100, "{name} explains itself");
    assert!(picture == drawn, "{name} does not show what {who} does, which is:\n{drawn}");
}

fn stationary(name: &str, size: usize, timing: &StationaryTiming, a: &Matrix, b: &Matrix, inputs_stay: bool) {
    let cut = if inputs_stay { stepper::cut_input_stationary } else { stepper::cut_weight_stationary };
    let mut ticks = vec![];
    stepper::run_stationary(square(size), timing, &cut(square(size), timing, a, b), |_, pes| ticks.push(pes.to_vec()));
    let dataflow = if inputs_stay { Dataflow::InputStationary(*timing) } else { Dataflow::WeightStationary(*timing) };
    compare(name, a, b, size, &dataflow, &ticks);
}

fn output(name: &str, size: usize, timing: &OutputTiming, a: &Matrix, b: &Matrix) {
    let passes = stepper::cut_output_stationary(square(size), a, b, None);
    let mut ticks = vec![];
    stepper::run_output(square(size), timing, &RULE, &passes, |_, pes| ticks.push(pes.to_vec()));
    compare(name, a, b, size, &Dataflow::OutputStationary(*timing), &ticks);
}

#[test]
fn weight_stationary_2x2() {
    stationary("ws_2x2.txt", 2, &IDEAL, &matrix(&[[1, 2], [3, 4], [5, 6]]), &matrix(&[[7, 8], [9, 10]]), false);
}

#[test]
fn input_stationary_2x2() {
    stationary("is_2x2.txt", 2, &IDEAL, &matrix(&[[1, 2], [3, 4]]), &matrix(&[[5, 6, 7], [8, 9, 10]]), true);
}

#[test]
fn output_stationary_2x2() {
    output("os_2x2.txt", 2, &IDEAL_OUTPUT, &matrix(&[[1, 2, 3], [4, 5, 6]]), &matrix(&[[7, 8], [9, 10], [11, 12]]));
}

/// Two K tiles, the second of which loads while the first one works.
#[test]
fn weight_stationary_3x3() {
    let timing = StationaryTiming { stationary_buffers: 2, overlap: Overlap::Pipelined, ..IDEAL };
    let a = matrix(&[[1, 2, 3, 1, 0], [4, 5, 6, 0, 1], [7, 8, 9, 2, 3], [2, 0, 1, 4, 5]]);
    let b = matrix(&[[1, 2, 3], [4, 5, 6], [7, 8, 9], [1, 3, 5], [2, 4, 6]]);
    stationary("ws_3x3.txt", 3, &timing, &a, &b, false);
}

/// Broadcast along the rows, and a register before them.
#[test]
fn input_stationary_3x3() {
    let timing = StationaryTiming { col_hop: 0, pipeline_registers: 1, ..IDEAL };
    let a = matrix(&[[1, 2, 3], [4, 5, 6], [7, 8, 9]]);
    let b = matrix(&[[1, 5], [2, 6], [3, 7]]);
    stationary("is_3x3.txt", 3, &timing, &a, &b, true);
}

/// Two column tiles, one pass on the other's heels; the sums leave downwards.
#[test]
fn output_stationary_3x3() {
    let timing = OutputTiming { overlap: Overlap::Pipelined, drain: Some(Span::Rows), ..IDEAL_OUTPUT };
    let a = matrix(&[[1, 2, 3], [4, 5, 6], [7, 8, 9]]);
    let b = matrix(&[[1, 2, 3, 4], [5, 6, 7, 8], [9, 1, 2, 3]]);
    output("os_3x3.txt", 3, &timing, &a, &b);
}
