//! How the array's numbers come about: every register moved, a pass computed at once, or none at all.

#![allow(clippy::inline_always, reason = "only what is inlined is compiled for the instructions that the caller has found")]

use super::mesh::{BLOCK, Careful, HeldMesh, Number, SumsMesh};
use super::operands::{Operands, Panel, Rows};
use super::products::{Factors, Products, Stream, largest_product};
use super::shape::Shape;
use super::{Array, Pass, Sums, Work};
use crate::numerics::kernel::{Instructions, Task};
use crate::numerics::{AccumulateRule, Overflow, accumulate_i64, accumulate_rows_i32, load_sum, store_sum};
use crate::program::{Operation, UnitKind};
use crate::sim::engine::Numbers;
use crate::sim::machine::Setup;
use crate::sim::memory::{Sram, scratchpad_index, size};
use crate::sim::queue::Shared;
use std::ops::Range;

/// How the array's numbers come about.
#[derive(Debug)]
pub(super) struct Drive {
    pub(super) path: Path,
    pub(super) rule: AccumulateRule,
    shape: Shape,
    by_columns: bool,
    instructions: Instructions,
    /// A line of sums on its way out, a block of them, and all sums of a pass.
    line: Vec<i64>,
    narrow: Vec<i32>,
    totals: Vec<i64>,
    /// The pass that `totals` are of.
    totals_of: u64,
}

/// The registers, or what stands in for them.
#[derive(Debug)]
pub(super) enum Path {
    /// No numbers: time alone.
    Timing,
    /// A pass's sums are computed when it ends.
    Wavefront(Products),
    /// Every register of every PE moves in every cycle; tiles stay.
    Held(HeldMesh<f32>),
    HeldWide(HeldMesh<f64>),
    /// The same; sums stay.
    Sums(SumsMesh<f32>),
    SumsWide(SumsMesh<f64>),
}

impl Drive {
    pub(super) fn new(setup: &Setup<'_>, shape: Shape, loads: usize) -> Self {
        let mode = setup.array_mode();
        let rule = setup.chip.arithmetic(setup.format, setup.dataflow).accumulate;
        let product = largest_product(mode);
        let sums_stay = mode.stationary == crate::chip::Stationary::Output;
        // At least some cycles' worth of sums must be exact; a column of the array's sums always.
        let at_once = if sums_stay { 16 * shape.depth as u64 } else { mode.tile_inner() };
        let is_narrow = product * at_once <= f32::EXACT;
        let path = match (setup.numbers, sums_stay, is_narrow) {
            (Numbers::None, _, _) => Path::Timing,
            (Numbers::Wavefront, _, _) => Path::Wavefront(Products::new(mode, loads)),
            (Numbers::Stepped, false, true) => Path::Held(HeldMesh::new(shape, loads)),
            (Numbers::Stepped, false, false) => Path::HeldWide(HeldMesh::new(shape, loads)),
            (Numbers::Stepped, true, true) => Path::Sums(SumsMesh::new(shape, loads, rule, product, careful(setup, rule, product))),
            (Numbers::Stepped, true, false) => Path::SumsWide(SumsMesh::new(shape, loads, rule, product, careful(setup, rule, product))),
        };
        Self {
            path,
            rule,
            shape,
            by_columns: mode.drains_columns,
            instructions: Instructions::fastest(),
            line: vec![0; shape.rows.max(shape.cols)],
            narrow: vec![0; BLOCK * shape.cols],
            totals: vec![0; shape.rows * shape.cols],
            totals_of: 0,
        }
    }

    /// Whether there are numbers at all.
    pub(super) fn has_numbers(&self) -> bool {
        !matches!(self.path, Path::Timing)
    }

    /// Whether every register moves.
    fn is_stepped(&self) -> bool {
        !matches!(self.path, Path::Timing | Path::Wavefront(_))
    }

    /// A pass enters.
    pub(super) fn begin(&mut self, shared: &Shared<'_>, pass: &Pass, element_bytes: u64) {
        let out = Out { sums: pass.sums, rule: self.rule, element: size(element_bytes) };
        let matrix = Matrix { pitch: self.shape.cols, by_columns: self.by_columns };
        match &mut self.path {
            Path::Held(mesh) if pass.swaps => mesh.swap(pass.load, pass.start),
            Path::HeldWide(mesh) if pass.swaps => mesh.swap(pass.load, pass.start),
            Path::Sums(mesh) => begin_sums(mesh, &out, shared, pass, matrix),
            Path::SumsWide(mesh) => begin_sums(mesh, &out, shared, pass, matrix),
            _ => {}
        }
    }

    /// A tile's last row has been shifted in.
    pub(super) fn load(&mut self, operands: &mut Operands, memory: &Sram, number: u64, panel: Panel, zero_point: i16) {
        match &mut self.path {
            Path::Wavefront(products) => products.load(number, operands, memory, panel, zero_point),
            Path::Held(mesh) => load_held(mesh, self.shape.depth, operands, memory, (number, panel, zero_point)),
            Path::HeldWide(mesh) => load_held(mesh, self.shape.depth, operands, memory, (number, panel, zero_point)),
            Path::Timing | Path::Sums(_) | Path::SumsWide(_) => {}
        }
    }

    /// A pass's last sum has come out.
    pub(super) fn finish(&mut self, operands: &mut Operands, shared: &mut Shared<'_>, pass: &Pass, element_bytes: u64) {
        let Path::Wavefront(products) = &mut self.path else { return };
        let out = Out { sums: pass.sums, rule: self.rule, element: size(element_bytes) };
        match pass.work {
            Work::Vectors { place, stream, stride, inner } => {
                let streamed = &shared.scratchpads[scratchpad_index(place)];
                let bytes = operands.mode.vector_bytes(inner as u64);
                let mut stream = PassStream { streamed, stream, stride, bytes, accumulator: &mut shared.accumulator, out };
                products.pass(pass.load, operands.mode.streamed(), pass.steps, pass.zero_point, &mut stream);
            }
            Work::Product { activation_place, activation, weight_place, weight } => {
                let factors = Factors {
                    activations: &shared.scratchpads[scratchpad_index(activation_place)],
                    activation,
                    weights: &shared.scratchpads[scratchpad_index(weight_place)],
                    weight,
                    zero_point: pass.zero_point,
                };
                let matrix = Matrix { pitch: pass.cols, by_columns: operands.mode.drains_columns };
                let totals = &mut self.totals[..pass.rows * pass.cols];
                out.read_all(&shared.accumulator, pass, matrix, totals);
                products.product(operands, &factors, self.rule, totals);
                self.totals_of = pass.number;
                for line in 0..matrix.lines(pass) {
                    out.write(&mut shared.accumulator, matrix, line, totals);
                }
            }
        }
    }
}

impl Drive {
    /// The sum of PE(row, col) of a pass that has ended, if it is the last one.
    pub(super) fn ended_total(&self, pass: &Pass, row: usize, col: usize) -> Option<i64> {
        (self.totals_of == pass.number).then(|| self.totals[row * pass.cols + col])
    }

    /// What the sum of PE(row, col) of a pass starts from.
    pub(super) fn bias_of(&self, shared: &Shared<'_>, pass: &Pass, element_bytes: u64, row: usize, col: usize) -> i64 {
        let out = Out { sums: pass.sums, rule: self.rule, element: size(element_bytes) };
        let mut totals = vec![0; pass.rows * pass.cols];
        out.read_all(&shared.accumulator, pass, Matrix { pitch: pass.cols, by_columns: self.by_columns }, &mut totals);
        totals[row * pass.cols + col]
    }
}

/// A pass's sums as rows x columns, and which of both a line of results is.
#[derive(Debug, Clone, Copy)]
struct Matrix {
    pitch: usize,
    by_columns: bool,
}

impl Matrix {
    fn lines(self, pass: &Pass) -> usize {
        if self.by_columns { pass.cols } else { pass.rows }
    }

    fn index(self, line: usize, element: usize) -> usize {
        if self.by_columns { element * self.pitch + line } else { line * self.pitch + element }
    }
}

/// How sums go into the accumulator.
#[derive(Debug, Clone, Copy)]
struct Out {
    sums: Sums,
    rule: AccumulateRule,
    /// Bytes of a sum.
    element: usize,
}

impl Out {
    fn line(&self, line: usize) -> (u64, u64) {
        (self.sums.address + line as u64 * self.sums.stride, self.sums.width * self.element as u64)
    }

    /// The room of a line of sums in the accumulator, holding what they are added to.
    #[inline]
    fn room<'m>(&self, accumulator: &'m mut Sram, line: usize) -> &'m mut [u8] {
        let (address, bytes) = self.line(line);
        let held = accumulator.write(address, bytes);
        if !self.sums.accumulate {
            held.fill(0);
        }
        held
    }

    /// Adds a line of sums to what lies in the accumulator, or puts them in its place.
    #[inline]
    fn add(&self, accumulator: &mut Sram, line: usize, sums: &[i64]) {
        let held = self.room(accumulator, line);
        if self.element == 8 {
            return accumulate_i64(held, sums, self.rule);
        }
        self.update_each(held, sums.iter().copied());
    }

    /// The same for sums of 32 bits, of as many lines as there are sums for, from line `first` on.
    fn add_lines_narrow(&self, accumulator: &mut Sram, first: usize, sums: &[i32]) {
        let (width, stride) = (size(self.sums.width), size(self.sums.stride));
        if self.element == 4 && stride >= 4 * width {
            let (address, bytes) = self.line(first);
            let behind = (sums.len() / width).saturating_sub(1) as u64 * self.sums.stride;
            let held = accumulator.write(address, behind + bytes);
            return accumulate_rows_i32((held, stride), sums, width, self.rule, self.sums.accumulate);
        }
        for (line, sums) in (first..).zip(sums.chunks_exact(width)) {
            let held = self.room(accumulator, line);
            self.update_each(held, sums.iter().map(|sum| i64::from(*sum)));
        }
    }

    /// The same for sums of any width.
    fn update_each(&self, held: &mut [u8], sums: impl Iterator<Item = i64>) {
        for (held, sum) in held.chunks_exact_mut(self.element).zip(sums) {
            store_sum(held, self.rule.update(load_sum(held), sum));
        }
    }

    /// Reads what the sums of a pass start from; zeros where it does not reach.
    fn read_all(&self, accumulator: &Sram, pass: &Pass, matrix: Matrix, totals: &mut [i64]) {
        totals.fill(0);
        if !self.sums.accumulate {
            return;
        }
        for line in 0..matrix.lines(pass) {
            let (address, bytes) = self.line(line);
            for (element, held) in accumulator.read(address, bytes).chunks_exact(self.element).enumerate() {
                totals[matrix.index(line, element)] = load_sum(held);
            }
        }
    }

    /// Writes a line of finished sums.
    fn write(&self, accumulator: &mut Sram, matrix: Matrix, line: usize, totals: &[i64]) {
        let (address, bytes) = self.line(line);
        for (element, held) in accumulator.write(address, bytes).chunks_exact_mut(self.element).enumerate() {
            store_sum(held, totals[matrix.index(line, element)]);
        }
    }
}

/// A pass's vectors in their scratchpad and its sums in the accumulator.
struct PassStream<'a> {
    streamed: &'a Sram,
    stream: u64,
    stride: u64,
    bytes: u64,
    accumulator: &'a mut Sram,
    out: Out,
}

impl Stream for PassStream<'_> {
    fn vector(&self, number: u64) -> &[u8] {
        self.streamed.read(self.stream + number * self.stride, self.bytes)
    }

    fn take(&mut self, first: u64, sums: &[i32]) {
        self.out.add_lines_narrow(self.accumulator, size(first), sums);
    }

    fn take_wide(&mut self, number: u64, sums: &[i64]) {
        self.out.add(self.accumulator, size(number), sums);
    }
}

impl Array<'_> {
    /// Moves the registers up to `cycle`, which is not included, on the array's own clock. Nothing may have begun or ended on the way: what
    /// a pass reads cannot change before it ends, nor its sums be read, so that its numbers need not move before something else does.
    pub(super) fn catch_up(&mut self, shared: &mut Shared<'_>, cycle: u64) {
        if self.moved_to < cycle && self.drive.is_stepped() {
            let instructions = self.drive.instructions;
            instructions.perform(Stretch { array: self, shared, to: cycle });
        }
        self.moved_to = cycle;
    }

    #[inline(always)]
    fn step_cycles(&mut self, shared: &mut Shared<'_>, to: u64) {
        let out = |pass: &Pass| Out { sums: pass.sums, rule: self.drive.rule, element: size(self.element_bytes) };
        let flow = Flow {
            entering: self.passes.back().map(|pass| (*pass, out(pass))),
            leaving: self.passes.front().map(|pass| (*pass, out(pass))),
            from: self.moved_to,
            to,
        };
        let Drive { path, line, narrow, .. } = &mut self.drive;
        match path {
            Path::Held(mesh) => step_held(mesh, &mut self.operands, shared, (line, narrow), &flow),
            Path::HeldWide(mesh) => step_held(mesh, &mut self.operands, shared, (line, narrow), &flow),
            Path::Sums(mesh) => step_sums(mesh, &mut self.operands, shared, self.shape.cols, &flow),
            Path::SumsWide(mesh) => step_sums(mesh, &mut self.operands, shared, self.shape.cols, &flow),
            Path::Timing | Path::Wavefront(_) => {}
        }
    }
}

/// Cycles to be stepped, as a task for the fastest instructions.
struct Stretch<'a, 'p, 's> {
    array: &'a mut Array<'p>,
    shared: &'a mut Shared<'s>,
    to: u64,
}

impl Task for Stretch<'_, '_, '_> {
    type Output = ();

    #[inline(always)]
    fn run(self) {
        self.array.step_cycles(self.shared, self.to);
    }
}

/// Cycles in which no pass begins or ends: what enters is of the youngest pass, what leaves of the oldest.
struct Flow {
    entering: Option<(Pass, Out)>,
    leaving: Option<(Pass, Out)>,
    from: u64,
    to: u64,
}

impl Flow {
    /// The youngest pass, the step of it that enters in cycle `first`, and in how many of the `cycles` cycles from there on steps do.
    #[inline(always)]
    fn enters(&self, first: u64, cycles: usize) -> Option<(&Pass, u64, usize)> {
        let (pass, _) = self.entering.as_ref()?;
        let step = first - pass.start;
        let left = pass.steps.saturating_sub(step);
        (left > 0).then(|| (pass, step, size(left.min(cycles as u64))))
    }

    /// The oldest pass, and which of its results come out in the `cycles` cycles from `first` on.
    #[inline(always)]
    fn leaves(&self, first: u64, cycles: usize) -> Option<(&Pass, Out, Range<u64>)> {
        let (pass, out) = self.leaving.as_ref()?;
        let exits = |cycle: u64| cycle.saturating_sub(pass.exit).min(pass.exits);
        let exits = exits(first)..exits(first + cycles as u64);
        (!exits.is_empty()).then_some((pass, *out, exits))
    }
}

#[inline(always)]
fn step_held<F: Number>(
    mesh: &mut HeldMesh<F>,
    operands: &mut Operands,
    shared: &mut Shared<'_>,
    (line, narrow): (&mut [i64], &mut [i32]),
    flow: &Flow,
) {
    for first in (flow.from..flow.to).step_by(BLOCK) {
        let cycles = BLOCK.min(size(flow.to - first));
        mesh.enter(cycles);
        if let Some((pass, step, count)) = flow.enters(first, cycles)
            && let Work::Vectors { place, stream, stride, inner } = pass.work
        {
            let memory = shared.sram_ref(place);
            if operands.mode.group.is_none() {
                let rows = Rows { address: stream + step * stride, stride, width: inner, count };
                mesh.vectors(count, operands.rows_turned(memory, operands.mode.streamed(), rows, pass.zero_point));
            } else {
                for (number, step) in (step..).take(count).enumerate() {
                    let bytes = memory.read(stream + step * stride, operands.mode.vector_bytes(inner as u64));
                    mesh.vector(number, operands.vector(bytes, inner, pass.zero_point));
                }
            }
        }
        mesh.step(first, cycles);
        let Some((pass, out, exits)) = flow.leaves(first, cycles) else { continue };
        if F::EXACT <= f32::EXACT {
            let narrow = &mut narrow[..size(exits.end - exits.start) * pass.cols];
            for (exit, whole) in exits.clone().zip(narrow.chunks_exact_mut(pass.cols)) {
                mesh.narrow_sums(pass.start + exit, whole);
            }
            out.add_lines_narrow(&mut shared.accumulator, size(exits.start), narrow);
        } else {
            let line = &mut line[..pass.cols];
            for exit in exits {
                mesh.sums(pass.start + exit, line);
                out.add(&mut shared.accumulator, size(exit), line);
            }
        }
    }
}

#[inline(always)]
fn step_sums<F: Number>(mesh: &mut SumsMesh<F>, operands: &mut Operands, shared: &mut Shared<'_>, pitch: usize, flow: &Flow) {
    let matrix = Matrix { pitch, by_columns: operands.mode.drains_columns };
    let most = mesh.most();
    for first in (flow.from..flow.to).step_by(most) {
        let cycles = most.min(size(flow.to - first));
        mesh.enter(cycles);
        if let Some((pass, step, count)) = flow.enters(first, cycles)
            && let Work::Product { activation_place, activation, weight_place, weight } = pass.work
        {
            let (activations, weights) = (shared.sram_ref(activation_place), shared.sram_ref(weight_place));
            if operands.is_plain() {
                let rows =
                    |panel: Panel| Rows { address: panel.address + step * panel.stride, stride: panel.stride, width: panel.width, count };
                let across = operands.rows_turned(activations, operands.mode.activation, rows(activation), pass.zero_point);
                mesh.activations_first(count, across);
                let down = operands.rows(weights, operands.mode.weight, rows(weight), 0);
                for (number, down) in down.chunks_exact(weight.width).enumerate() {
                    mesh.weights(number, cycles, down);
                }
            } else {
                for (number, step) in (step..).take(count).enumerate() {
                    let (across, down) = operands.product_step((activations, activation), (weights, weight), pass.zero_point, step);
                    mesh.activations(number, across);
                    mesh.weights(number, cycles, down);
                }
            }
        }
        mesh.step(first, cycles);
        let Some((pass, out, exits)) = flow.leaves(first, cycles) else { continue };
        for exit in exits {
            for line in leaving_lines(pass, matrix.lines(pass), exit) {
                out.write(&mut shared.accumulator, matrix, line, mesh.results(pass.number));
            }
        }
    }
}

/// The lines of results that come out in cycle `exit` of a pass's drain: the last of each chain first; all where sums need no chain.
pub(super) fn leaving_lines(pass: &Pass, lines: usize, exit: u64) -> impl Iterator<Item = usize> + use<> {
    let (first, chain) = if pass.drain == 0 { (0, 1) } else { (size(pass.drain - 1 - exit), size(pass.drain)) };
    (first..lines).step_by(chain)
}

fn begin_sums<F: Number>(mesh: &mut SumsMesh<F>, out: &Out, shared: &Shared<'_>, pass: &Pass, matrix: Matrix) {
    out.read_all(&shared.accumulator, pass, matrix, mesh.biases(pass.number));
    mesh.pass(pass.number, pass.start, pass.swap);
}

fn load_held<F: Number>(mesh: &mut HeldMesh<F>, depth: usize, operands: &mut Operands, memory: &Sram, tile: (u64, Panel, i16)) {
    let (number, panel, zero_point) = tile;
    mesh.open_tile(number);
    if operands.is_plain() {
        let rows = Rows { address: panel.address, stride: panel.stride, width: panel.width, count: panel.inner };
        let elements = operands.rows(memory, operands.mode.held(), rows, zero_point);
        for (row, elements) in elements.chunks_exact(panel.width).enumerate() {
            mesh.hold(number, row, 0, elements);
        }
    } else {
        operands.held(memory, panel, zero_point, |row, element, col, value| mesh.hold(number, row * depth + element, col, &[value]));
    }
}

/// Whether a program's sums may saturate on their way where they stay.
fn careful(setup: &Setup<'_>, rule: AccumulateRule, product: u64) -> Careful {
    let (mut inner, mut biased) = (0, false);
    setup.program.each_command(UnitKind::Array, &mut |command| {
        if let Operation::Product(product) = &command.operation
            && setup.is_of_mode(command)
        {
            (inner, biased) = (inner.max(u64::from(product.inner)), biased || product.accumulate);
        }
    });
    let reach = u128::from(inner) * u128::from(product);
    if rule.overflow == Overflow::Saturate && (biased || reach >= 1 << (rule.bits - 1)) { Careful::Yes } else { Careful::No }
}
