//! Weight and input stationary: values stay in the PEs, vectors come from the left, sums go down the columns.

use systole::chip::{Extent, MaxPassVectors, Overlap, StationaryTiming};

use super::{Control, Drives, Matrix, Pe, QUIET, Registers, Run, Shape, across_lanes, dot, down_lanes, extent, feed, span};

/// One pass of a weight- or input-stationary array.
#[derive(Debug, Clone)]
pub(crate) struct StationaryPass {
    /// Passes in a row with the same number share the tile, which is loaded once.
    pub(crate) tile_id: usize,
    /// The stationary tile: K rows (at most R * lanes) of at most C columns.
    pub(crate) tile: Matrix,
    /// The T streamed vectors, of K elements each.
    pub(crate) vectors: Matrix,
    /// Where the T x columns outputs belong in the (for input stationary, transposed) product: first row, first column.
    pub(crate) at: (usize, usize),
}

/// One cycle of a weight- or input-stationary PE. `above` is the edge's for row 0.
fn stationary_pe(pe: &mut Pe, at: (usize, usize), left: &Drives, above: &Drives, port: Option<Vec<i64>>) -> Registers {
    let control = pe.take(at.1, left, above);
    if control.swap.is_some() {
        pe.weight = pe.chain.clone();
    }
    pe.shift_chain(at.0, control.load, above, port);
    let stream = pe.drives.stream.clone();
    let from_above = pe.sum_in.clock(above.sum);
    // Sums enter a column as 0.
    let from_above = if at.0 == 0 { stream.is_some().then_some(0) } else { from_above };
    assert_eq!(from_above.is_some(), stream.is_some(), "a vector and its sum meet in every PE");
    pe.drives.sum = stream.as_ref().zip(from_above).map(|(stream, sum)| sum + dot(stream, pe.weight.as_ref().expect("a tile is in place")));
    Registers { stream, weight: pe.weight.clone(), sum: pe.drives.sum }
}

/// Steps a weight- or input-stationary array through `passes`. `probe` sees every cycle: its number, and the PEs row by row.
pub(crate) fn run_stationary(
    shape: Shape,
    timing: &StationaryTiming,
    passes: &[StationaryPass],
    mut probe: impl FnMut(u64, &[Registers]),
) -> Run {
    let serial = timing.overlap == Overlap::Serial;
    assert!(!(serial && timing.stationary_buffers == 2), "two buffers are of use only where passes overlap");
    assert!(serial || timing.extent == Extent::Physical, "passes of different sizes do not overlap");
    let hops = (timing.row_hop, timing.col_hop, timing.pipeline_registers);
    let mut pes: Vec<Vec<Pe>> = (0..shape.rows).map(|r| (0..shape.cols).map(|c| Pe::new(r, c, hops, false)).collect()).collect();
    let extents: Vec<(usize, usize)> =
        passes.iter().map(|pass| extent(shape, timing.extent, pass.tile.len().div_ceil(shape.lanes), pass.tile[0].len())).collect();
    // A short pass is filled with zero vectors.
    let length = |pass: usize| passes[pass].vectors.len().max(timing.min_pass_cycles as usize);
    let stays = |pass: usize| pass > 0 && passes[pass].tile_id == passes[pass - 1].tile_id;
    let most = |pass: usize| timing.max_pass_vectors == MaxPassVectors::Unlimited || passes[pass].vectors.len() <= shape.rows;
    let mut outputs: Vec<Vec<Vec<i64>>> = extents.iter().map(|(_, cols)| vec![vec![]; *cols]).collect();
    // The pass that starts next; how many vectors of the one before have entered; cycles that the tile to come has been loading.
    let (mut next, mut entered, mut loading) = (0, 0, None::<usize>);
    let (mut cycles, mut last_output) = (0, 0);
    for cycle in 0.. {
        let left_array = |pass: usize| outputs[pass].iter().all(|column| column.len() == length(pass));
        if (0..passes.len()).all(left_array) {
            break;
        }
        // What enters in this cycle.
        let (mut control, mut edge) = (Control::default(), vec![Drives::default(); shape.rows]);
        let mut ports: Vec<Vec<Option<Vec<i64>>>> = vec![vec![None; shape.cols]; shape.rows];
        if next < passes.len() {
            let load = span(timing.load, extents[next]);
            let in_place = stays(next) || loading == Some(load);
            let room = next == 0 || (entered == length(next - 1) && (!serial || left_array(next - 1)));
            if in_place && room {
                assert!(most(next), "the pass is longer than max_pass_vectors");
                control.swap = (!stays(next)).then_some(next);
                (next, entered, loading) = (next + 1, 0, None);
            }
        }
        if next < passes.len() && !stays(next) {
            // The spare buffer is free once the pass before has started, a sole one once its last sum is out.
            let free = next == 0 || timing.stationary_buffers == 2 || left_array(next - 1);
            let load = span(timing.load, extents[next]);
            if free && loading != Some(load) {
                let shifted = loading.unwrap_or(0);
                control.load = feed(&mut ports, shifted, load, extents[next], |r, c| down_lanes(&passes[next].tile, shape.lanes, r, c));
                loading = Some(shifted + 1);
            }
        }
        if next > 0 && entered < length(next - 1) {
            for (row, edge) in edge.iter_mut().enumerate() {
                edge.stream = Some(across_lanes(&passes[next - 1].vectors, shape.lanes, entered, row));
            }
            entered += 1;
        }
        // Every PE, after the neighbours that it listens to: a hop of 0 is a wire. `Used`: the pass has a corner of the array for itself.
        let (rows, cols) = extents[if loading.is_some() || next == 0 { next } else { next - 1 }];
        let mut registers: Vec<Registers> =
            pes.iter().flatten().map(|pe| Registers { stream: None, weight: pe.weight.clone(), sum: None }).collect();
        for r in 0..rows {
            for c in 0..cols {
                let left = if c > 0 { pes[r][c - 1].drives.clone() } else { edge[r].clone() };
                let above = if r > 0 { pes[r - 1][c].drives.clone() } else { Drives { control: Some(control), ..Drives::default() } };
                registers[r * shape.cols + c] = stationary_pe(&mut pes[r][c], (r, c), &left, &above, ports[r][c].take());
            }
        }
        for (c, sum) in pes[rows - 1][..cols].iter().enumerate().filter_map(|(c, pe)| Some((c, pe.drives.sum?))) {
            // A column's sums leave in the order in which their vectors entered.
            let pass = (0..passes.len()).find(|pass| c < extents[*pass].1 && outputs[*pass][c].len() < length(*pass));
            outputs[pass.expect("every sum belongs to a pass")][c].push(sum);
            last_output = cycle;
        }
        assert!(cycle - last_output < QUIET, "every pass gives all of its outputs");
        probe(cycle, &registers);
        cycles = cycle + 1;
    }
    let trimmed = |pass: &StationaryPass, columns: &[Vec<i64>]| {
        (0..pass.vectors.len()).map(|t| (0..pass.tile[0].len()).map(|c| columns[c][t]).collect()).collect()
    };
    Run { cycles, outputs: passes.iter().zip(&outputs).map(|(pass, columns)| trimmed(pass, columns)).collect() }
}
