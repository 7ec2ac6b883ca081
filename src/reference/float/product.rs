//! Matrix products in `f32`: every sum begins with what its place holds and adds k ascending, one product and one sum at a time, however
//! the loops are blocked and whoever runs them. So the bytes are the same on every machine; no fused multiply-add, no library.

use rayon::prelude::*;

/// Columns of a panel, which the compiler keeps in registers.
const WIDTH: usize = 8;
/// Rows that read a panel together.
const HEIGHT: usize = 4;
/// Products from which rows are shared out among threads.
const PARALLEL: usize = 1 << 22;

/// A matrix of K x N in panels of [`WIDTH`] columns, each K x [`WIDTH`], the last filled up with zeros.
pub(super) struct Panels {
    values: Vec<f32>,
    k: usize,
    n: usize,
}

impl Panels {
    /// Packs K x N numbers, row-major.
    pub(super) fn new(matrix: &[f32], k: usize, n: usize) -> Self {
        let mut values = vec![0.0; n.div_ceil(WIDTH) * WIDTH * k];
        for (panel, columns) in values.chunks_exact_mut(WIDTH * k).zip((0..n).step_by(WIDTH)) {
            let width = WIDTH.min(n - columns);
            for (row, to) in panel.chunks_exact_mut(WIDTH).enumerate() {
                to[..width].copy_from_slice(&matrix[row * n + columns..][..width]);
            }
        }
        Self { values, k, n }
    }
}

/// `c += a b`, a M x K and c M x N, both row-major; M is what c holds.
pub(super) fn add_product(a: &[f32], b: &Panels, c: &mut [f32]) {
    let (k, n) = (b.k, b.n);
    let rows = c.len() / n;
    let block = |a: &[f32], c: &mut [f32]| {
        for (panel, columns) in b.values.chunks_exact(WIDTH * k).zip((0..n).step_by(WIDTH)) {
            let width = WIDTH.min(n - columns);
            for (a, c) in a.chunks(HEIGHT * k).zip(c.chunks_mut(HEIGHT * n)) {
                match c.len() / n {
                    1 => tile::<1>(a, panel, k, c, n, columns, width),
                    2 => tile::<2>(a, panel, k, c, n, columns, width),
                    3 => tile::<3>(a, panel, k, c, n, columns, width),
                    _ => tile::<HEIGHT>(a, panel, k, c, n, columns, width),
                }
            }
        }
    };
    if rows * n * k < PARALLEL {
        block(a, c);
    } else {
        let share = rows.div_ceil(4 * rayon::current_num_threads()).next_multiple_of(HEIGHT);
        a.par_chunks(share * k).zip(c.par_chunks_mut(share * n)).for_each(|(a, c)| block(a, c));
    }
}

/// `ROWS` rows of one panel.
fn tile<const ROWS: usize>(a: &[f32], panel: &[f32], k: usize, c: &mut [f32], n: usize, columns: usize, width: usize) {
    let mut sums = [[0.0_f32; WIDTH]; ROWS];
    for (row, sums) in sums.iter_mut().enumerate() {
        sums[..width].copy_from_slice(&c[row * n + columns..][..width]);
    }
    let rows: [&[f32]; ROWS] = std::array::from_fn(|row| &a[row * k..][..k]);
    for (step, b) in panel.as_chunks::<WIDTH>().0.iter().enumerate().take(k) {
        for (sums, row) in sums.iter_mut().zip(&rows) {
            let a = row[step];
            for (sum, b) in sums.iter_mut().zip(b) {
                *sum += a * *b;
            }
        }
    }
    for (row, sums) in sums.iter().enumerate() {
        c[row * n + columns..][..width].copy_from_slice(&sums[..width]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_and_threads_change_no_byte_of_a_product() {
        let number = |i: usize| ((i * 7919 % 1000) as f32 - 500.0) / 331.0;
        for (m, k, n) in [(1, 1, 1), (3, 5, 7), (4, 8, 8), (9, 31, 17), (6, 1, 40), (130, 260, 130)] {
            let (a, b): (Vec<f32>, Vec<f32>) = ((0..m * k).map(number).collect(), (5..5 + k * n).map(number).collect());
            let mut found: Vec<f32> = (0..m * n).map(number).collect();
            let mut wanted = found.clone();
            for (place, sum) in wanted.iter_mut().enumerate() {
                for step in 0..k {
                    *sum += a[place / n * k + step] * b[step * n + place % n];
                }
            }
            add_product(&a, &Panels::new(&b, k, n), &mut found);
            assert_eq!(found, wanted, "{m} x {k} x {n}");
        }
    }
}
