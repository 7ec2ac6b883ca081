//! A matrix product cut into passes, in the contract's order, and put together again.

use systole::chip::{MaxPassVectors, StationaryTiming};
use systole::numerics::AccumulateRule;

use super::{Matrix, OutputPass, Shape, StationaryPass};

/// The passes of `a` x `b` on a weight-stationary array: column tile, then K tile ascending, then block of rows of `a`.
pub(crate) fn cut_weight_stationary(shape: Shape, timing: &StationaryTiming, a: &Matrix, b: &Matrix) -> Vec<StationaryPass> {
    let (m, k, n) = (a.len(), b.len(), b[0].len());
    let block = match timing.max_pass_vectors {
        MaxPassVectors::Unlimited => m,
        MaxPassVectors::Rows => shape.rows,
    };
    let mut passes = vec![];
    let mut tile_id = 0;
    for col in (0..n).step_by(shape.cols) {
        for depth in (0..k).step_by(shape.rows * shape.lanes) {
            let depths = depth..k.min(depth + shape.rows * shape.lanes);
            let tile = sub(b, depths.clone(), col..n.min(col + shape.cols));
            for row in (0..m).step_by(block) {
                let vectors = sub(a, row..m.min(row + block), depths.clone());
                passes.push(StationaryPass { tile_id, tile: tile.clone(), vectors, at: (row, col) });
            }
            tile_id += 1;
        }
    }
    passes
}

/// The passes of `a` x `b` on an input-stationary array: the transposed product, in which rows of `a` are the stationary columns and
/// columns of `b` stream. `at` and the outputs are those of the transposed product.
pub(crate) fn cut_input_stationary(shape: Shape, timing: &StationaryTiming, a: &Matrix, b: &Matrix) -> Vec<StationaryPass> {
    cut_weight_stationary(shape, timing, &transposed(b), &transposed(a))
}

/// The passes of `a` x `b` + `bias` on an output-stationary array: row tile, then column tile, all of K in each.
pub(crate) fn cut_output_stationary(shape: Shape, a: &Matrix, b: &Matrix, bias: Option<&Matrix>) -> Vec<OutputPass> {
    let (m, k, n) = (a.len(), b.len(), b[0].len());
    let mut passes = vec![];
    for row in (0..m).step_by(shape.rows) {
        for col in (0..n).step_by(shape.cols) {
            let (rows, cols) = (row..m.min(row + shape.rows), col..n.min(col + shape.cols));
            let activations = sub(a, rows.clone(), 0..k);
            let weights = sub(b, 0..k, cols.clone());
            let bias = bias.map(|bias| sub(bias, rows, cols));
            passes.push(OutputPass { activations, weights, bias, at: (row, col) });
        }
    }
    passes
}

/// What the accumulator beside a stationary array holds in the end: preset to the bias, it is updated once a pass by what comes out.
pub(crate) fn accumulate(passes: &[StationaryPass], outputs: &[Matrix], mut held: Matrix, rule: &AccumulateRule) -> Matrix {
    for (pass, output) in passes.iter().zip(outputs) {
        for (t, row) in output.iter().enumerate() {
            for (c, sum) in row.iter().enumerate() {
                let held = &mut held[pass.at.0 + t][pass.at.1 + c];
                *held = rule.update(*held, *sum);
            }
        }
    }
    held
}

/// The product of `m` x `n` that an output-stationary array's passes make together.
pub(crate) fn collect(passes: &[OutputPass], outputs: &[Matrix], m: usize, n: usize) -> Matrix {
    let mut product = vec![vec![0; n]; m];
    for (pass, output) in passes.iter().zip(outputs) {
        for (r, row) in output.iter().enumerate() {
            product[pass.at.0 + r][pass.at.1..][..row.len()].copy_from_slice(row);
        }
    }
    product
}

/// A matrix with its rows as columns.
pub(crate) fn transposed(matrix: &Matrix) -> Matrix {
    (0..matrix[0].len()).map(|c| matrix.iter().map(|row| row[c]).collect()).collect()
}

fn sub(matrix: &Matrix, rows: std::ops::Range<usize>, cols: std::ops::Range<usize>) -> Matrix {
    matrix[rows].iter().map(|row| row[cols.clone()].to_vec()).collect()
}
