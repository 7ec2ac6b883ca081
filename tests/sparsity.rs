//! Is a sparse array's product right, and is what it leaves out neither read nor computed nor waited for?
//!
//! N:M sparsity is held to the oracle, to the cycles of the naive stepper on a product of as many places along K as are kept, and to counts
//! by their formulas; skipped tiles to the naive stepper on the passes that are left; gated products to a count by plain loops. The longer
//! run: `PROPTEST_CASES=20000 cargo test --release --test sparsity`.

#![allow(clippy::cast_possible_truncation, reason = "sizes here are small")]

mod alone;
mod dataflows;
#[path = "naive/mod.rs"]
mod stepper;

use alone::{Made, Problem, chip, dense, exact, formats, random, rng};
use dataflows::dataflow;
use ndarray::{Array2, ArrayView1, Axis, s};
use proptest::prelude::*;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;
use stepper::{Matrix, Shape, transposed};
use systole::chip::{Chip, Dataflow, MaxPassVectors};

/// An array and a problem for it.
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
    gating: bool,
    size: [usize; 3],
    /// The share of zeros beside those of the sparsity.
    zeros: f64,
    seed: u64,
}

fn cases(kinds: &'static [&'static str]) -> impl Strategy<Value = Case> {
    let format = prop_oneof![
        3 => Just(("Int8", "Int8", 16)),
        1 => Just(("Int4", "Int8", 12)),
        1 => Just(("Int2", "Int8", 10)),
        1 => Just(("Int16", "Int16", 32)),
    ];
    // The narrowest accumulator that is allowed overflows; 63 bits do not.
    let numbers = (format, prop_oneof![Just(1_u32), Just(2), Just(4)], 0..4_usize, prop_oneof![Just("Wrap"), Just("Saturate")]);
    let problem = ((1..=14_usize, 1..=60_usize, 1..=14_usize), prop_oneof![Just(0.0), 0.1..0.9], any::<bool>(), any::<u64>());
    ((1..=8_u32, 1..=8_u32), dataflow(kinds), numbers, problem).prop_map(|(array, dataflow, numbers, problem)| {
        let (((weight, activation, least), lanes, more, overflow), ((m, k, n), zeros, gating, seed)) = (numbers, problem);
        let bits = if more == 3 { 63 } else { least + more as u32 };
        let (rows, cols) = array;
        Case { rows, cols, dataflow, weight, activation, lanes, bits, overflow, gating, size: [m, k, n], zeros, seed }
    })
}

impl Case {
    fn chip(&self, sparsity: &str) -> Chip {
        let sets = [
            ("array.rows", self.rows.to_string()),
            ("array.cols", self.cols.to_string()),
            ("array.dataflows", format!("[{}]", self.dataflow)),
            ("array.sparsity", sparsity.to_string()),
            ("array.zero_gating", self.gating.to_string()),
            ("formats", formats(self.weight, self.activation, self.lanes, self.bits, self.overflow)),
        ];
        chip("edge-16x16", &sets)
    }

    fn shape(&self) -> Shape {
        Shape { rows: self.rows as usize, cols: self.cols as usize, lanes: self.lanes as usize }
    }
}

fn matrix(values: &Array2<i16>) -> Matrix {
    values.rows().into_iter().map(|row| row.iter().map(|value| i64::from(*value)).collect()).collect()
}

/// Leaves at most `n` of each `m` weights along K, as many as it takes for `n` at random places.
fn prune(rng: &mut ChaCha8Rng, weights: &mut Array2<i16>, n: usize, m: usize) {
    for mut group in weights.axis_chunks_iter_mut(Axis(0), m) {
        for mut column in group.columns_mut() {
            let excess = |column: &ndarray::ArrayViewMut1<'_, i16>| column.iter().filter(|value| **value != 0).count() > n;
            while excess(&column) {
                let row = rng.random_range(0..column.len());
                column[row] = 0;
            }
        }
    }
}

/// The rows of K that a column of an N:M array multiplies: every weight that is not zero, and the first of the others up to n a group.
fn kept_rows(column: &ArrayView1<'_, i16>, n: usize, m: usize) -> Vec<usize> {
    let mut rows = Vec::new();
    for first in (0..column.len()).step_by(m) {
        let group = first..column.len().min(first + m);
        let mut zeros = n.min(group.len()) - group.clone().filter(|row| column[*row] != 0).count();
        for row in group {
            if column[row] != 0 {
                rows.push(row);
            } else if zeros > 0 {
                zeros -= 1;
                rows.push(row);
            }
        }
    }
    rows
}

/// Products of `rows` of each column that have a zero in them.
fn zero_products(activations: &Array2<i16>, weights: &Array2<i16>, rows: impl Fn(usize) -> Vec<usize>) -> u64 {
    let of = |col: usize| {
        let zero = |row: &usize| {
            if weights[(*row, col)] == 0 { activations.nrows() } else { activations.column(*row).iter().filter(|a| **a == 0).count() }
        };
        rows(col).iter().map(zero).sum::<usize>()
    };
    (0..weights.ncols()).map(of).sum::<usize>() as u64
}

/// Passes of a stationary array on matrices of zeros: time does not depend on numbers.
fn naive_cycles(chip: &Chip, shape: Shape, [m, k, n]: [usize; 3]) -> u64 {
    let (a, w) = (vec![vec![0; k]; m], vec![vec![0; n]; k]);
    let rule = chip.arithmetic(&chip.formats()[0], &chip.array().dataflows[0]).accumulate;
    match &chip.array().dataflows[0] {
        Dataflow::WeightStationary(timing) => {
            stepper::run_stationary(shape, timing, &stepper::cut_weight_stationary(shape, timing, &a, &w), |_, _| {}).cycles
        }
        Dataflow::InputStationary(timing) => {
            stepper::run_stationary(shape, timing, &stepper::cut_input_stationary(shape, timing, &a, &w), |_, _| {}).cycles
        }
        Dataflow::OutputStationary(timing) => {
            stepper::run_output(shape, timing, &rule, &stepper::cut_output_stationary(shape, &a, &w, None), |_, _| {}).cycles
        }
    }
}

fn check_groups(case: &Case, n: u32, m: u32) {
    let chip = case.chip(&format!("NM(n: {n}, m: {m})"));
    let (format, only) = (&chip.formats()[0], &chip.array().dataflows[0]);
    let [vectors, inner, outputs] = case.size;
    let mut rng = rng(case.seed);
    let activations = random(&mut rng, format.activation, case.zeros, (vectors, inner));
    let mut weights = random(&mut rng, format.weight, case.zeros, (inner, outputs));
    let (kept, of) = (n as usize, m as usize);
    prune(&mut rng, &mut weights, kept, of);
    let problem = Problem { chip: &chip, format, dataflow: only, activations, weights };
    let Made { run, sums } = problem.make();
    let Problem { activations, weights, .. } = &problem;
    if case.bits == 63 {
        assert_eq!(sums, exact(activations, weights), "nothing that is dropped counts");
    }

    let slots = inner.div_ceil(of) * kept;
    assert_eq!(run.total_cycles.get(), naive_cycles(&chip, case.shape(), [vectors, slots, outputs]), "cycles of the places that are kept");
    let passes = alone::passes(&chip, format, only, [vectors, inner, outputs].map(|size| size as u64), dense);
    assert_eq!((run.passes, run.total_cycles.get()), (passes.len() as u64, alone::cycles(&chip, only, &passes)));

    let per_output = inner / of * kept + kept.min(inner % of);
    let actions = &run.stages[0].actions;
    assert_eq!(actions.macs, (vectors * outputs * per_output) as u64, "products");
    let gated = zero_products(activations, weights, |col| kept_rows(&weights.column(col), kept, of));
    assert_eq!(actions.macs_gated, if case.gating { gated } else { 0 }, "gated products");

    // The streamed side brings whole groups; of the weights only those that are kept come in.
    let elements = run.stages[0].elements;
    let (across, down) = (outputs.div_ceil(case.cols as usize), slots.div_ceil((case.rows * case.lanes) as usize));
    assert_eq!(elements.input_reads, (vectors * inner * across) as u64, "activations read");
    let (weight_reads, writes) = match only {
        Dataflow::OutputStationary(_) => (per_output * outputs * vectors.div_ceil(case.rows as usize), vectors * outputs),
        _ => (per_output * outputs, vectors * outputs * down),
    };
    assert_eq!((elements.weight_reads, elements.output_writes), (weight_reads as u64, writes as u64), "weights read, sums written");
}

/// Groups that N:M sparsity is known by, and odd ones.
fn groups() -> impl Strategy<Value = (u32, u32)> {
    prop_oneof![
        3 => Just((2, 4)),
        2 => Just((1, 4)),
        2 => Just((4, 8)),
        1 => Just((3, 5)),
        1 => Just((1, 2)),
        1 => Just((7, 16)),
        1 => Just((1, 64)),
        1 => Just((63, 64)),
        1 => (1..=8_u32, 1..=9_u32).prop_map(|(n, more)| (n, n + more)),
    ]
}

/// Where weights stay, a column of the array must hold whole groups.
fn fitted(case: Case, (n, m): (u32, u32)) -> (Case, u32, u32) {
    let slots = case.rows * case.lanes;
    if case.dataflow.starts_with("Weight") && !slots.is_multiple_of(n) {
        // The closest n below that fits.
        let n = (1..=n).rev().find(|n| slots.is_multiple_of(*n)).unwrap_or(1);
        return (case, n, m);
    }
    (case, n, m)
}

/// What the naive stepper says of the passes that have a weight that is not zero: cycles, sums, passes.
fn naive_skipping(chip: &Chip, shape: Shape, activations: &Matrix, weights: &Matrix) -> (u64, Matrix, usize) {
    let rule = chip.arithmetic(&chip.formats()[0], &chip.array().dataflows[0]).accumulate;
    let (m, n) = (activations.len(), weights[0].len());
    let zero = |values: &Matrix| values.iter().flatten().all(|value| *value == 0);
    match &chip.array().dataflows[0] {
        Dataflow::WeightStationary(timing) => {
            let mut passes = stepper::cut_weight_stationary(shape, timing, activations, weights);
            passes.retain(|pass| !zero(&pass.tile));
            let run = stepper::run_stationary(shape, timing, &passes, |_, _| {});
            (run.cycles, stepper::accumulate(&passes, &run.outputs, vec![vec![0; n]; m], &rule), passes.len())
        }
        Dataflow::InputStationary(timing) => {
            let mut passes = stepper::cut_input_stationary(shape, timing, activations, weights);
            passes.retain(|pass| !zero(&pass.vectors));
            let run = stepper::run_stationary(shape, timing, &passes, |_, _| {});
            (run.cycles, transposed(&stepper::accumulate(&passes, &run.outputs, vec![vec![0; m]; n], &rule)), passes.len())
        }
        Dataflow::OutputStationary(timing) => {
            let mut passes = stepper::cut_output_stationary(shape, activations, weights, None);
            passes.retain(|pass| !zero(&pass.weights));
            let run = stepper::run_output(shape, timing, &rule, &passes, |_, _| {});
            (run.cycles, stepper::collect(&passes, &run.outputs, m, n), passes.len())
        }
    }
}

/// Elements of K, and of N, of a weight tile that can be skipped.
fn tile(case: &Case, chip: &Chip) -> (usize, usize) {
    let (depth, cols) = ((case.rows * case.lanes) as usize, case.cols as usize);
    match &chip.array().dataflows[0] {
        Dataflow::WeightStationary(_) => (depth, cols),
        Dataflow::InputStationary(timing) if timing.max_pass_vectors == MaxPassVectors::Rows => (depth, case.rows as usize),
        Dataflow::InputStationary(_) => (depth, usize::MAX),
        Dataflow::OutputStationary(_) => (usize::MAX, cols),
    }
}

/// `clear` is the share of tiles that hold nothing.
fn check_tiles(case: &Case, clear: f64) {
    let chip = case.chip("TileSkip");
    let (format, only) = (&chip.formats()[0], &chip.array().dataflows[0]);
    let [m, k, n] = case.size;
    let mut rng = rng(case.seed);
    let activations = random(&mut rng, format.activation, case.zeros, (m, k));
    let mut weights = random(&mut rng, format.weight, case.zeros, (k, n));
    let (deep, wide) = tile(case, &chip);
    // What each tile is a part of, and which tiles are left: their sizes along K and N.
    let mut left = Vec::new();
    for k_first in (0..k).step_by(deep.min(k)) {
        for n_first in (0..n).step_by(wide.min(n)) {
            let (rows, cols) = (deep.min(k - k_first), wide.min(n - n_first));
            let mut tile = weights.slice_mut(s![k_first..k_first + rows, n_first..n_first + cols]);
            if rng.random_bool(clear) {
                tile.fill(0);
            }
            if tile.iter().any(|weight| *weight != 0) {
                left.push((k_first / deep.min(k), n_first / wide.min(n), k_first..k_first + rows, n_first..n_first + cols));
            }
        }
    }
    let problem = Problem { chip: &chip, format, dataflow: only, activations, weights };
    let Made { run, sums } = problem.make();
    let Problem { activations, weights, .. } = &problem;
    let (cycles, wanted, passes) = naive_skipping(&chip, case.shape(), &matrix(activations), &matrix(weights));
    assert_eq!((run.total_cycles.get(), run.passes), (cycles, passes as u64), "cycles and passes of what is left");
    assert_eq!(sums, wanted.concat(), "sums");
    let skipped = |down: u64, across: u64| !left.iter().any(|(k, n, ..)| (*k as u64, *n as u64) == (down, across));
    let passes = alone::passes(&chip, format, only, case.size.map(|size| size as u64), skipped);
    assert_eq!((run.passes, run.total_cycles.get()), (passes.len() as u64, alone::cycles(&chip, only, &passes)), "the closed form");

    let actions = &run.stages[0].actions;
    let macs: usize = left.iter().map(|(.., rows, cols)| m * rows.len() * cols.len()).sum();
    assert_eq!(actions.macs, macs as u64, "products");
    let rows = |col: usize| left.iter().filter(|(.., cols)| cols.contains(&col)).flat_map(|(_, _, rows, _)| rows.clone()).collect();
    let gated = zero_products(activations, weights, rows);
    assert_eq!(actions.macs_gated, if case.gating { gated } else { 0 }, "gated products");
    let weights_left: usize = left.iter().map(|(.., rows, cols)| rows.len() * cols.len()).sum();
    let rows_left: usize = left.iter().map(|(_, _, rows, _)| rows.len()).sum();
    let cols_left: usize = left.iter().map(|(.., cols)| cols.len()).sum();
    let loaded = || {
        let mut parts: Vec<_> = left.iter().map(|(_, _, rows, _)| (rows.start, rows.len())).collect();
        parts.sort_unstable();
        parts.dedup();
        parts.into_iter().map(|(_, rows)| rows).sum::<usize>()
    };
    let elements = run.stages[0].elements;
    let counted = [elements.input_reads, elements.weight_reads, elements.output_writes].map(|count| count as usize);
    let wanted = match only {
        Dataflow::WeightStationary(_) => [m * rows_left, weights_left, m * cols_left],
        // A tile of activations comes in where any block streams past it.
        Dataflow::InputStationary(_) => [m * loaded(), weights_left * m.div_ceil(case.cols as usize), m * cols_left],
        Dataflow::OutputStationary(_) => [m * k * left.len(), weights_left * m.div_ceil(case.rows as usize), m * cols_left],
    };
    assert_eq!(counted, wanted, "reads and writes");
}

fn config(cases: u32) -> ProptestConfig {
    let default = ProptestConfig::default();
    ProptestConfig { cases: default.cases.max(cases), failure_persistence: None, ..default }
}

proptest! {
    #![proptest_config(config(1500))]

    #[test]
    fn groups_keep_what_is_not_zero((case, n, m) in (cases(&["Weight", "Output"]), groups()).prop_map(|(case, group)| fitted(case, group))) {
        check_groups(&case, n, m);
    }

    #[test]
    fn tiles_of_zeros_are_skipped(case in cases(&["Weight", "Output", "Input"]), clear in prop_oneof![0.1..0.9, Just(0.0), Just(1.0)]) {
        check_tiles(&case, clear);
    }

    #[test]
    fn gating_changes_no_cycle(case in cases(&["Weight", "Output", "Input"])) {
        let [m, k, n] = case.size;
        let runs = [false, true].map(|gating| {
            let chip = Case { gating, ..case.clone() }.chip("Dense");
            let (format, only) = (&chip.formats()[0], &chip.array().dataflows[0]);
            let mut rng = rng(case.seed);
            let activations = random(&mut rng, format.activation, case.zeros, (m, k));
            let weights = random(&mut rng, format.weight, case.zeros, (k, n));
            let zeros = zero_products(&activations, &weights, |_| (0..k).collect());
            let run = Problem { chip: &chip, format, dataflow: only, activations, weights }.make().run;
            assert_eq!(run.stages[0].actions.macs_gated, if gating { zeros } else { 0 });
            run
        });
        let [plain, gated] = &runs;
        prop_assert_eq!(&plain.output, &gated.output);
        prop_assert_eq!((plain.total_cycles, plain.passes, &plain.units), (gated.total_cycles, gated.passes, &gated.units));
        prop_assert_eq!((plain.stages[0].elements, plain.stages[0].traffic), (gated.stages[0].elements, gated.stages[0].traffic));
    }
}

/// An array that has nothing to do does nothing.
#[test]
fn weights_of_zeros_take_no_time() {
    for kind in ["ws", "os", "is"] {
        let chip = chip("ideal-16x16", &[("array.sparsity", "TileSkip")]);
        let (format, only) = (&chip.formats()[0], chip.dataflow(kind.parse().expect("it is a dataflow")).expect("the chip has all three"));
        let activations = random(&mut rng(1), format.activation, 0.0, (40, 50));
        let made = Problem { chip: &chip, format, dataflow: only, activations, weights: Array2::zeros((50, 60)) }.make();
        assert_eq!((made.run.total_cycles.get(), made.run.passes, made.run.stages[0].actions.macs), (0, 0, 0));
        assert_eq!(made.sums, vec![0; 40 * 60]);
    }
}
