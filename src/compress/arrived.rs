//! Weights that come pruned: how many are zero, and whether they lie as an array profits from. Recognised, never changed.
//!
//! Not here: pruning (`prune`), or what a chip makes of zeros (`mapping`).

use super::CompressError;
use super::matrix::{Matrix, has_weights};
use crate::network::{LayerId, Network};
use ndarray::{ArrayView1, s};

/// Groups along K that are looked for.
const GROUPS: [usize; 4] = [2, 4, 8, 16];

/// A square tile of K x channels that is looked at: that of a 16 x 16 array.
pub const TILE: usize = 16;

/// What is zero of a layer's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Arrived {
    /// The layer.
    pub layer: LayerId,
    /// Its weights.
    pub weights: u64,
    /// Those that are zero.
    pub zeros: u64,
    /// At most n of each m along K, in the chip's order, are not zero: the pair of the least share, none where no group has a zero for sure.
    pub n_of_m: Option<[u64; 2]>,
    /// Tiles of [`TILE`] rows of K and [`TILE`] channels, none reaching into another group, that are all zero; and all tiles.
    pub zero_tiles: [u64; 2],
}

/// What is zero of the weights of each dense layer and convolution of a network, floats or integers.
///
/// # Errors
/// Weights that are not finite.
pub fn arrived(network: &Network) -> Result<Vec<Arrived>, CompressError> {
    let weighted = network.layers().filter(|layer| has_weights(layer));
    weighted
        .map(|layer| {
            let matrix = Matrix::reals(network, layer)?;
            let zeros = matrix.values.iter().filter(|w| **w == 0.0).count() as u64;
            // A row of a matrix with few rows is no group.
            let found = GROUPS.iter().filter(|m| matrix.values.nrows() >= **m).map(|m| [most_in_groups(&matrix, *m), *m as u64]);
            let n_of_m = found.filter(|[n, m]| n < m).min_by_key(|[n, m]| (n * 16 / m, *m));
            Ok(Arrived { layer: layer.id, weights: matrix.values.len() as u64, zeros, n_of_m, zero_tiles: zero_tiles(&matrix) })
        })
        .collect()
}

/// The most weights that are not zero in any group of `m` along K.
fn most_in_groups(matrix: &Matrix, m: usize) -> u64 {
    let of_column = |column: ArrayView1<'_, f32>| -> u64 {
        let groups = (0..column.len()).step_by(m).map(|start| {
            let group = column.slice(s![start..column.len().min(start + m)]);
            group.iter().filter(|w| **w != 0.0).count() as u64
        });
        groups.max().unwrap_or(0)
    };
    matrix.values.columns().into_iter().map(of_column).max().unwrap_or(0)
}

/// Tiles that are all zero, and all tiles.
fn zero_tiles(matrix: &Matrix) -> [u64; 2] {
    let (inner, channels) = matrix.values.dim();
    let (mut zero, mut all) = (0, 0);
    for group in (0..channels).step_by(matrix.group.max(1)) {
        let end = channels.min(group + matrix.group.max(1));
        for col in (group..end).step_by(TILE) {
            for row in (0..inner).step_by(TILE) {
                let tile = matrix.values.slice(s![row..inner.min(row + TILE), col..end.min(col + TILE)]);
                all += 1;
                zero += u64::from(tile.iter().all(|w| *w == 0.0));
            }
        }
    }
    [zero, all]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::network::{Activation, Dense, NetworkBuilder, Op, Weight};
    use ndarray::Array2;

    fn of(values: Array2<f32>) -> Arrived {
        let mut builder = NetworkBuilder::new("n");
        let input = builder.input("x", vec![values.nrows()]).unwrap();
        let dense = Dense { weight: Weight::Float(values), bias: None, activation: Activation::None };
        let output = builder.layer("fc", Op::Dense(dense), &[input]).unwrap();
        arrived(&builder.finish(output).unwrap()).unwrap()[0]
    }

    #[test]
    fn zeros_groups_and_tiles_are_recognised() {
        // Two of each four along K, in 32 x 16: no tile is zero.
        let two_of_four = of(Array2::from_shape_fn((32, 16), |(k, n)| if (k + n) % 4 < 2 { 1.0 } else { 0.0 }));
        assert_eq!((two_of_four.weights, two_of_four.zeros, two_of_four.n_of_m, two_of_four.zero_tiles), (512, 256, Some([2, 4]), [0, 2]));
        // One of each two is two of each four as well; the shorter group says more.
        assert_eq!(of(Array2::from_shape_fn((8, 2), |(k, _)| if k % 2 == 0 { 1.0 } else { 0.0 })).n_of_m, Some([1, 2]));
        // The lower half of 32 x 32 is gone: two of four tiles, and no pattern along K.
        let half = of(Array2::from_shape_fn((32, 32), |(k, _)| if k < 16 { 1.0 } else { 0.0 }));
        assert_eq!((half.zeros, half.n_of_m, half.zero_tiles), (512, None, [2, 4]));
        assert_eq!(of(Array2::ones((20, 3))).n_of_m, None);
    }
}
