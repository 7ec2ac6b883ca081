//! Output stationary: sums stay in the PEs, activations come from the left, weights from the top.

use systole::chip::{Extent, OutputTiming, Overlap, ReductionPadding, Span};
use systole::numerics::AccumulateRule;

use super::{Control, Drives, Matrix, Pe, QUIET, Registers, Run, Shape, across_lanes, at, dot, down_lanes, extent, feed, span};

/// One pass of an output-stationary array.
#[derive(Debug, Clone)]
pub(crate) struct OutputPass {
    /// At most R rows of K elements, from the left.
    pub(crate) activations: Matrix,
    /// K rows of at most C elements, from the top.
    pub(crate) weights: Matrix,
    /// What each sum starts from.
    pub(crate) bias: Option<Matrix>,
    /// Where the outputs belong in the product: first row, first column.
    pub(crate) at: (usize, usize),
}

/// How the sums of an output-stationary array get out.
#[derive(Debug, Clone, Copy)]
enum Way {
    /// Every PE gives its sum as it is complete.
    InPlace,
    /// Through chains of so many rows, the lowest row first.
    Down(usize),
    /// Through the rows, the rightmost column first.
    Right,
}

/// What every PE of an output-stationary array knows of the array.
#[derive(Debug, Clone, Copy)]
struct OutputArray<'a> {
    rows: usize,
    cols: usize,
    way: Way,
    rule: &'a AccumulateRule,
}

/// One cycle of an output-stationary PE. `reset` is what a pass's sum starts from where no chain brings it. What leaves the PE: the pass,
/// and the value.
fn output_pe(
    pe: &mut Pe,
    at: (usize, usize),
    array: OutputArray<'_>,
    (left, above): (&Drives, &Drives),
    port: Option<Vec<i64>>,
    reset: impl Fn(usize) -> Option<i64>,
) -> (Registers, Option<(usize, i64)>) {
    let control = pe.take(at.1, left, above);
    let activation = pe.drives.stream.clone();
    let weight = pe.weight_in.clock(above.weight.clone());
    pe.drives.weight.clone_from(&weight);
    // The drain chain takes the sum before the next pass overwrites it, shows what it holds, then takes what comes.
    if control.capture.is_some() {
        pe.drain = pe.sum;
    }
    pe.drives.drain = pe.drain;
    let (first, last, before) = match array.way {
        Way::InPlace => (true, true, None),
        Way::Down(length) => (at.0.is_multiple_of(length), at.0 % length == length - 1 || at.0 == array.rows - 1, above.drain),
        Way::Right => (at.1 == 0, at.1 == array.cols - 1, left.drain),
    };
    let before = pe.drain_in.clock(before);
    let mut out = None;
    if let Some(pass) = control.drain {
        out = last.then(|| (pass, pe.drain.expect("a sum was captured")));
        // Behind the first PE's sum come zeros, which count as outputs where the chain is longer than the rows that it has.
        pe.drain = if first { Some(0) } else { before };
    }
    if let Some(pass) = control.swap {
        pe.sum = reset(pass).or_else(|| pe.chain.as_ref().map(|bias| bias[0]));
        assert!(pe.sum.is_some(), "the bias has come");
    }
    pe.shift_chain(at.0, control.load, above, port);
    assert_eq!(activation.is_some(), weight.is_some(), "activations and weights meet in every PE");
    if let Some((activation, weight)) = activation.as_ref().zip(weight.as_ref()) {
        pe.sum = Some(array.rule.update(pe.sum.expect("the pass has started"), dot(activation, weight)));
    }
    if let Some(pass) = control.last {
        out = Some((pass, pe.sum.expect("the pass has started")));
    }
    (Registers { stream: activation, weight, sum: pe.sum }, out)
}

/// Steps an output-stationary array through `passes`. `probe` sees every cycle: its number, and the PEs row by row.
pub(crate) fn run_output(
    shape: Shape,
    timing: &OutputTiming,
    rule: &AccumulateRule,
    passes: &[OutputPass],
    mut probe: impl FnMut(u64, &[Registers]),
) -> Run {
    let serial = timing.overlap == Overlap::Serial;
    assert!(serial || timing.extent == Extent::Physical, "passes of different sizes do not overlap");
    let hops = (timing.row_hop, timing.col_hop, timing.pipeline_registers);
    let along_rows = timing.drain == Some(Span::Cols);
    let mut pes: Vec<Vec<Pe>> = (0..shape.rows).map(|r| (0..shape.cols).map(|c| Pe::new(r, c, hops, along_rows)).collect()).collect();
    let extents: Vec<(usize, usize)> =
        passes.iter().map(|pass| extent(shape, timing.extent, pass.activations.len(), pass.weights[0].len())).collect();
    // All of K in one pass, so many lanes a step; a short pass is filled with zeros.
    let length = |pass: usize| {
        let steps = passes[pass].weights.len().div_ceil(shape.lanes);
        let padded = match timing.reduction_padding {
            ReductionPadding::Exact => steps,
            ReductionPadding::MultipleOfRows => steps.next_multiple_of(shape.rows),
        };
        padded.max(timing.min_pass_cycles as usize)
    };
    let preload = |pass: usize| span(timing.psum_preload, extents[pass]);
    let drain = |pass: usize| timing.drain.map_or(0, |cycles| span(cycles, extents[pass]));
    let way = |pass: usize| match timing.drain {
        _ if drain(pass) == 0 => Way::InPlace,
        Some(Span::Cols) => Way::Right,
        _ => Way::Down(drain(pass)),
    };
    let bias = |pass: usize, r: usize, c: usize| passes[pass].bias.as_ref().map_or(0, |bias| at(bias, r, c));
    // What has come out of each PE that is an exit, by pass, in its order.
    let mut outputs = vec![vec![vec![vec![]; shape.cols]; shape.rows]; passes.len()];
    let expected = |pass: usize| {
        let (rows, cols) = extents[pass];
        match way(pass) {
            Way::Down(length) => rows.div_ceil(length) * length * cols,
            Way::InPlace | Way::Right => rows * cols,
        }
    };
    // The pass that starts next; elements of the one before that have entered; cycles that the biases to come have been loading.
    let (mut next, mut entered, mut loading) = (0, 0, 0);
    // How many passes have begun to drain, and cycles that the drain chain is still held by the last of them.
    let (mut drained, mut draining) = (0, 0);
    let (mut cycles, mut last_output) = (0, 0);
    for cycle in 0.. {
        let count = |pass: usize| outputs[pass].iter().flatten().map(Vec::len).sum::<usize>();
        let left_array = |pass: usize| count(pass) == expected(pass);
        if (0..passes.len()).all(left_array) {
            break;
        }
        let (mut control, mut left_edge, mut top_edge) =
            (Control::default(), vec![Drives::default(); shape.rows], vec![Drives::default(); shape.cols]);
        let mut ports: Vec<Vec<Option<Vec<i64>>>> = vec![vec![None; shape.cols]; shape.rows];
        if drained < next && entered == length(next - 1) && draining == 0 {
            draining = drain(drained);
            control.capture = (draining > 0).then_some(drained);
            drained += 1;
        }
        if draining > 0 {
            control.drain = Some(drained - 1);
            draining -= 1;
        }
        let free = next == 0 || !serial || left_array(next - 1);
        if next < passes.len() && drained == next && loading == preload(next) && free {
            control.swap = Some(next);
            (next, entered, loading) = (next + 1, 0, 0);
        }
        // The bias chain is free once the pass before has started.
        let free = next == 0 || !serial || left_array(next - 1);
        if next < passes.len() && free && loading < preload(next) {
            control.load = feed(&mut ports, loading, preload(next), extents[next], |r, c| vec![bias(next, r, c)]);
            loading += 1;
        }
        if next > 0 && entered < length(next - 1) {
            let pass = &passes[next - 1];
            for (r, edge) in left_edge.iter_mut().enumerate() {
                edge.stream = Some(across_lanes(&pass.activations, shape.lanes, r, entered));
            }
            for (c, edge) in top_edge.iter_mut().enumerate() {
                edge.weight = Some(down_lanes(&pass.weights, shape.lanes, entered, c));
            }
            entered += 1;
            control.last = (entered == length(next - 1) && drain(next - 1) == 0).then_some(next - 1);
        }
        top_edge[0].control = Some(control);
        let current = if loading > 0 || next == 0 { next } else { next - 1 };
        let (rows, cols) = extents[current];
        let mut registers: Vec<Registers> = pes.iter().flatten().map(|pe| Registers { stream: None, weight: None, sum: pe.sum }).collect();
        for r in 0..rows {
            for c in 0..cols {
                let left = if c > 0 { pes[r][c - 1].drives.clone() } else { left_edge[r].clone() };
                let above = if r > 0 { pes[r - 1][c].drives.clone() } else { top_edge[c].clone() };
                let reset = |pass: usize| (preload(pass) == 0).then(|| bias(pass, r, c));
                let (port, array) = (ports[r][c].take(), OutputArray { rows, cols, way: way(current), rule });
                let (seen, out) = output_pe(&mut pes[r][c], (r, c), array, (&left, &above), port, reset);
                registers[r * shape.cols + c] = seen;
                if let Some((pass, value)) = out {
                    outputs[pass][r][c].push(value);
                    last_output = cycle;
                }
            }
        }
        assert!(cycle - last_output < QUIET, "every pass gives all of its outputs");
        probe(cycle, &registers);
        cycles = cycle + 1;
    }
    // The place of an output is told by its exit and its turn.
    let find = |pass: usize, r: usize, c: usize| match way(pass) {
        Way::InPlace => outputs[pass][r][c][0],
        Way::Down(length) => {
            let exit = (r - r % length + length - 1).min(extents[pass].0 - 1);
            outputs[pass][exit][c][exit - r]
        }
        Way::Right => {
            let exit = extents[pass].1 - 1;
            outputs[pass][r][exit][exit - c]
        }
    };
    let trimmed = |number: usize| {
        let (rows, cols) = (passes[number].activations.len(), passes[number].weights[0].len());
        (0..rows).map(|r| (0..cols).map(|c| find(number, r, c)).collect()).collect()
    };
    Run { cycles, outputs: (0..passes.len()).map(trimmed).collect() }
}
