//! The truth about a systolic array: a stepper that copies every register of every PE from neighbour to neighbour, every cycle.
//!
//! It is slow and plain on purpose, and shares no code with the machine. A PE sees only what its left and upper neighbours drive, through
//! the registers of a hop. No sum of the contract stands here: when a pass may start is decided cycle by cycle, from what has entered and
//! what has left, and all that lies at (r, c) is there because it was handed on. All `pipeline_registers` are taken before the PEs.
//!
//! `tests/naive.rs` proves it. A test takes it in with `#[path = "naive/mod.rs"] mod stepper;`: `mod naive;` could mean that file too.

#![allow(dead_code, unused_imports, reason = "each test that holds something against the stepper uses a part of it")]

use std::collections::VecDeque;
use std::fmt::Write;

use systole::chip::{Extent, MaxPassVectors, OutputTiming, Overlap, ReductionPadding, Span, StationaryTiming};

mod gemm;
mod output;
mod stationary;

pub(crate) use gemm::{accumulate, collect, cut_input_stationary, cut_output_stationary, cut_weight_stationary, transposed};
pub(crate) use output::{OutputPass, run_output};
pub(crate) use stationary::{StationaryPass, run_stationary};

/// One cycle a hop, one pass after the other, a tile shifted in through row 0.
pub(crate) const IDEAL: StationaryTiming = StationaryTiming {
    row_hop: 1,
    col_hop: 1,
    pipeline_registers: 0,
    load: Span::Rows,
    stationary_buffers: 1,
    max_pass_vectors: MaxPassVectors::Unlimited,
    min_pass_cycles: 1,
    overlap: Overlap::Serial,
    extent: Extent::Physical,
};

/// One cycle a hop, each sum valid where it was made.
pub(crate) const IDEAL_OUTPUT: OutputTiming = OutputTiming {
    row_hop: 1,
    col_hop: 1,
    pipeline_registers: 0,
    min_pass_cycles: 1,
    overlap: Overlap::Serial,
    drain: None,
    psum_preload: Span::Cycles(0),
    reduction_padding: ReductionPadding::Exact,
    extent: Extent::Physical,
};

/// Rows of elements.
pub(crate) type Matrix = Vec<Vec<i64>>;

/// The physical array: PEs in a column, PEs in a row, elements of K packed in a PE.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Shape {
    pub(crate) rows: usize,
    pub(crate) cols: usize,
    pub(crate) lanes: usize,
}

/// What one PE holds in one cycle.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Registers {
    /// The streamed elements (output stationary: the activations) at this PE in this cycle, one a lane; `None` is a bubble.
    pub(crate) stream: Option<Vec<i64>>,
    /// Weight, input stationary: the stationary values that the PE multiplies with, `None` before its first tile took over. Output
    /// stationary: the weights that pass in this cycle, `None` for a bubble.
    pub(crate) weight: Option<Vec<i64>>,
    /// Weight, input stationary: the column's sum as it leaves this PE in this cycle, `None` for a bubble. Output stationary: the
    /// accumulator after this cycle, `None` before the first element of the first pass.
    pub(crate) sum: Option<i64>,
}

/// What a run took and gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Run {
    /// From the first element that enters to the last output valid, both included.
    pub(crate) cycles: u64,
    /// Every pass's outputs without their padding: T x columns, or for output stationary rows x columns.
    pub(crate) outputs: Vec<Matrix>,
}

/// A run that has given no output for so many cycles never will.
const QUIET: u64 = 10_000;

/// The registers of a hop, in a row: what goes in comes out as many cycles later as there are registers. None is a wire.
#[derive(Debug, Clone)]
struct Hop<T>(VecDeque<Option<T>>);

impl<T> Hop<T> {
    fn of(registers: usize) -> Self {
        Self((0..registers).map(|_| None).collect())
    }

    fn clock(&mut self, value: Option<T>) -> Option<T> {
        self.0.push_back(value);
        self.0.pop_front().flatten()
    }
}

/// What tells a PE what to do in a cycle. It travels as the data do: down the first column, and from there along the rows.
#[derive(Debug, Clone, Copy, Default)]
struct Control {
    /// The chain of stationary values (or biases) shifts; it is so many rows long.
    load: Option<usize>,
    /// What the chain has brought takes over (output stationary: this pass starts).
    swap: Option<usize>,
    /// The last element of this pass, whose sums are taken in place.
    last: Option<usize>,
    /// The sums of this pass move into the drain chain; it starts to shift.
    capture: Option<usize>,
    /// The drain chain shifts.
    drain: Option<usize>,
}

/// What a PE shows its neighbours in a cycle, or the array's edge its first PEs.
#[derive(Debug, Clone, Default)]
struct Drives {
    control: Option<Control>,
    stream: Option<Vec<i64>>,
    /// Output stationary: the passing weights.
    weight: Option<Vec<i64>>,
    /// Weight, input stationary: the sum on its way down.
    sum: Option<i64>,
    chain: Option<Vec<i64>>,
    drain: Option<i64>,
}

/// A PE, and the hops that lead to it: from the left, from above, and, at the array's edge and at the entry ports, from outside.
#[derive(Debug, Clone)]
struct Pe {
    control_in: Hop<Control>,
    stream_in: Hop<Vec<i64>>,
    weight_in: Hop<Vec<i64>>,
    sum_in: Hop<i64>,
    chain_in: Hop<Vec<i64>>,
    port_in: Hop<Vec<i64>>,
    drain_in: Hop<i64>,
    weight: Option<Vec<i64>>,
    sum: Option<i64>,
    chain: Option<Vec<i64>>,
    drain: Option<i64>,
    drives: Drives,
}

impl Pe {
    /// At the left and upper edges, and at an entry port, skew registers stand in for the PEs that a neighbour's value has come through.
    fn new(row: usize, col: usize, hops: (u32, u32, u32), drains_along_rows: bool) -> Self {
        let (down, right, before) = (hops.0 as usize, hops.1 as usize, hops.2 as usize);
        Self {
            control_in: Hop::of(if col > 0 {
                right
            } else if row > 0 {
                down
            } else {
                before
            }),
            stream_in: Hop::of(if col > 0 { right } else { before + row * down }),
            weight_in: Hop::of(if row > 0 { down } else { before + col * right }),
            sum_in: Hop::of(down),
            chain_in: Hop::of(down),
            port_in: Hop::of(before + row * down + col * right),
            drain_in: Hop::of(if drains_along_rows { right } else { down }),
            weight: None,
            sum: None,
            chain: None,
            drain: None,
            drives: Drives::default(),
        }
    }

    /// Takes in the control of this cycle, and the streamed elements, both of which go on to the right.
    fn take(&mut self, col: usize, left: &Drives, above: &Drives) -> Control {
        let before = if col > 0 { left } else { above };
        self.drives.control = self.control_in.clock(before.control);
        self.drives.stream = self.stream_in.clock(left.stream.clone());
        self.drives.control.unwrap_or_default()
    }

    /// One cycle of the chain that brings stationary values or biases: the register shows what it holds, then takes what comes.
    fn shift_chain(&mut self, row: usize, load: Option<usize>, above: &Drives, port: Option<Vec<i64>>) {
        self.drives.chain = self.chain.clone();
        let (fed, passed) = (self.port_in.clock(port), self.chain_in.clock(above.chain.clone()));
        if let Some(length) = load {
            self.chain = if row.is_multiple_of(length) { fed } else { passed };
        }
    }
}

fn dot(a: &[i64], b: &[i64]) -> i64 {
    assert_eq!(a.len(), b.len(), "a PE multiplies lane by lane");
    a.iter().zip(b).map(|(a, b)| a * b).sum()
}

/// The rows and columns that a pass goes by.
fn extent(shape: Shape, extent: Extent, rows: usize, cols: usize) -> (usize, usize) {
    assert!((1..=shape.rows).contains(&rows) && (1..=shape.cols).contains(&cols), "a pass fits the array");
    match extent {
        Extent::Physical => (shape.rows, shape.cols),
        Extent::Used => (rows, cols),
    }
}

fn span(span: Span, (rows, cols): (usize, usize)) -> usize {
    match span {
        Span::Rows => rows,
        Span::Cols => cols,
        Span::Cycles(cycles) => cycles as usize,
    }
}

/// What stands at (row, col), or zero for padding.
fn at(matrix: &Matrix, row: usize, col: usize) -> i64 {
    matrix.get(row).and_then(|row| row.get(col)).copied().unwrap_or(0)
}

/// The lanes of PE row (or step) `chunk` in a column.
fn down_lanes(matrix: &Matrix, lanes: usize, chunk: usize, col: usize) -> Vec<i64> {
    (chunk * lanes..(chunk + 1) * lanes).map(|k| at(matrix, k, col)).collect()
}

/// The lanes of PE row (or step) `chunk` in a row.
fn across_lanes(matrix: &Matrix, lanes: usize, row: usize, chunk: usize) -> Vec<i64> {
    (chunk * lanes..(chunk + 1) * lanes).map(|k| at(matrix, row, k)).collect()
}

/// Lays the next row of values at each entry port, in one of the `cycles` cycles that they take to come in. A port serves a chain of as
/// many rows as there are cycles, and the chain's lowest row enters first. The chain's length, where it shifts: where there are more
/// cycles than rows, all is in place before the last one. (A last, shorter chain has its first shifts for nothing.)
fn feed(
    ports: &mut [Vec<Option<Vec<i64>>>],
    shifted: usize,
    cycles: usize,
    (rows, cols): (usize, usize),
    value: impl Fn(usize, usize) -> Vec<i64>,
) -> Option<usize> {
    let length = cycles.min(rows);
    if shifted >= length {
        return None;
    }
    for top in (0..rows).step_by(length) {
        let row = top + length - 1 - shifted;
        if row < rows {
            for (c, port) in ports[top][..cols].iter_mut().enumerate() {
                *port = Some(value(row, c));
            }
        }
    }
    Some(length)
}

/// A picture of what a probe saw: a block a cycle, the PEs where they lie, `x` what streams, `w` the weight (of input stationary: the
/// stationary value), `s` the sum; a dot is a bubble.
pub(crate) fn render(rows: usize, cols: usize, ticks: &[Vec<Registers>]) -> String {
    let lanes = |values: &Option<Vec<i64>>| {
        values.as_ref().map_or(".".to_string(), |values| values.iter().map(ToString::to_string).collect::<Vec<_>>().join(","))
    };
    let parts = |pe: &Registers| [lanes(&pe.stream), lanes(&pe.weight), pe.sum.map_or(".".to_string(), |sum| sum.to_string())];
    let width = |part: usize| ticks.iter().flatten().map(|pe| parts(pe)[part].len()).max().unwrap_or(1);
    let (x, w, s) = (width(0), width(1), width(2));
    let mut picture = String::new();
    for (cycle, pes) in ticks.iter().enumerate() {
        assert_eq!(pes.len(), rows * cols, "a cycle shows every PE");
        writeln!(picture, "cycle {cycle}").expect("a string takes all");
        for row in pes.chunks(cols) {
            let cells = row.iter().map(|pe| {
                let [stream, weight, sum] = parts(pe);
                format!("x={stream:<x$} w={weight:<w$} s={sum:<s$}")
            });
            writeln!(picture, "  {}", cells.collect::<Vec<_>>().join(" | ").trim_end()).expect("a string takes all");
        }
        picture.push('\n');
    }
    picture.truncate(picture.trim_end().len());
    picture.push('\n');
    picture
}
