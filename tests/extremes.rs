//! Do arrays of the smallest and the largest sizes, and products of the thinnest and the longest shapes, keep their promises?
//!
//! A test build checks every addition for overflow, so that each of these also says that no count and no address is out of range.

mod alone;

use alone::{Problem, chip, cycles, dataflow, dense, exact, formats, passes, random, rng};
use ndarray::Array2;
use rand::RngExt;
use systole::chip::{Chip, Stationary};
use systole::numerics::AccumulateRule;
use systole::pipeline::{self, GemmRequest};
use systole::reference;
use systole::sim::Engine;
use systole::topology::Layer;

const KINDS: [Stationary; 3] = [Stationary::Weight, Stationary::Output, Stationary::Input];

/// The three dataflows with these hops and registers, pipelined.
fn dataflows(row_hop: u32, col_hop: u32, registers: u32) -> String {
    let common = format!(
        "row_hop: {row_hop}, col_hop: {col_hop}, pipeline_registers: {registers}, min_pass_cycles: 1, overlap: Pipelined, extent: Physical"
    );
    format!(
        "[WeightStationary({common}, load: Cycles(1), stationary_buffers: 2, max_pass_vectors: Unlimited), \
         OutputStationary({common}, drain: Cols, psum_preload: Cycles(0), reduction_padding: Exact), \
         InputStationary({common}, load: Cols, stationary_buffers: 2, max_pass_vectors: Rows)]"
    )
}

fn sized(rows: u32, cols: u32, sets: &[(&str, String)]) -> Chip {
    let mut all = vec![("array.rows", rows.to_string()), ("array.cols", cols.to_string())];
    all.extend(sets.iter().cloned());
    chip("ideal-16x16", &all)
}

/// A random product in each dataflow of a chip, by these drives, held to the closed form and to the exact product.
fn check(chip: &Chip, sizes: &[[usize; 3]], engines: &[Engine]) {
    let mut rng = rng(5);
    let format = &chip.formats()[0];
    for size @ [m, k, n] in sizes.iter().copied() {
        for kind in KINDS {
            let dataflow = dataflow(chip, kind);
            let activations = random(&mut rng, format.activation, 0.1, (m, k));
            let weights = random(&mut rng, format.weight, 0.1, (k, n));
            let problem = Problem { chip, format, dataflow, activations, weights };
            let expected = passes(chip, format, dataflow, size.map(|size| size as u64), dense);
            for engine in engines {
                let made = problem.make_by(*engine);
                let what = format!("{} x {} {} {engine:?} {size:?}", chip.array().rows, chip.array().cols, kind.name());
                assert_eq!(made.run.passes, expected.len() as u64, "passes: {what}");
                assert_eq!(made.run.total_cycles.get(), cycles(chip, dataflow, &expected), "cycles: {what}");
                assert_eq!(made.sums, exact(&problem.activations, &problem.weights), "sums: {what}");
            }
        }
    }
}

const BOTH: [Engine; 2] = [Engine::Stepped, Engine::Wavefront];

#[test]
fn one_processing_element() {
    let sizes = [[1, 1, 1], [1, 7, 1], [3, 4, 5], [2, 100, 3]];
    check(&sized(1, 1, &[]), &sizes, &BOTH);
    check(&sized(1, 1, &[("array.dataflows", dataflows(0, 0, 0))]), &sizes, &BOTH);
    check(&sized(1, 1, &[("array.dataflows", dataflows(16, 16, 64))]), &sizes, &BOTH);
    check(&sized(1, 1, &[("formats", formats("Int4", "Int4", 64, 64, "Wrap"))]), &sizes, &BOTH);
}

#[test]
fn one_row_and_one_column() {
    // Every tile takes the array's whole tail: few of them, but more than one each way.
    for (rows, cols, sizes) in [(1, 512, [[1, 1, 1], [3, 5, 600], [2, 20, 515]]), (512, 1, [[1, 1, 1], [3, 5, 20], [20, 600, 5]])] {
        check(&sized(rows, cols, &[]), &sizes, &BOTH);
        check(&sized(rows, cols, &[("array.dataflows", dataflows(0, 0, 0))]), &sizes, &BOTH);
    }
}

#[test]
fn the_largest_array() {
    let hop = |row, col| sized(512, 512, &[("array.dataflows", dataflows(row, col, 2))]);
    check(&hop(1, 1), &[[1, 1, 1], [3, 520, 600], [600, 3, 520]], &[Engine::Wavefront]);
    check(&hop(0, 0), &[[1, 1, 1], [2, 3, 4]], &BOTH);
}

/// A wire takes no cycle: all that is left is to load, to stream and to drain.
#[test]
fn hops_that_are_wires() {
    for (row_hop, col_hop) in [(0, 0), (0, 1), (1, 0)] {
        let chip = sized(16, 16, &[("array.dataflows", dataflows(row_hop, col_hop, 0))]);
        check(&chip, &[[1, 1, 1], [20, 40, 30], [1, 300, 1]], &BOTH);
    }
}

#[test]
fn dimensions_of_one() {
    for name in ["ideal-16x16", "ideal-128x128"] {
        let chip = chip::<&str>(name, &[]);
        let engines: &[Engine] = if name == "ideal-16x16" { &BOTH } else { &[Engine::Wavefront] };
        check(&chip, &[[1, 1, 1], [1, 1, 200], [1, 200, 1], [200, 1, 1], [1, 200, 200], [200, 1, 200], [200, 200, 1]], engines);
    }
}

#[test]
fn long_sums() {
    check(&chip::<&str>("ideal-16x16", &[]), &[[1, 100_000, 1]], &BOTH);
    check(&chip::<&str>("ideal-128x128", &[]), &[[1, 100_000, 1], [2, 70_001, 3]], &[Engine::Wavefront]);
    for name in ["edge-16x16", "gemmini-16x16-os", "axis-sa-8x8"] {
        let chip = chip::<&str>(name, &[]);
        let (only, format) = (&chip.array().dataflows[0], &chip.formats()[0]);
        let mut rng = rng(6);
        let activations = random(&mut rng, format.activation, 0.0, (1, 100_000));
        let weights = random(&mut rng, format.weight, 0.0, (100_000, 1));
        let made = Problem { chip: &chip, format, dataflow: only, activations, weights }.make();
        let expected = passes(&chip, format, only, [1, 100_000, 1], dense);
        assert_eq!(made.run.total_cycles.get(), cycles(&chip, only, &expected), "{name}");
    }
}

/// The largest products of a format, all of one sign: the most that a sum can be.
fn check_largest(chip: &Chip, inner: usize) {
    let format = &chip.formats()[0];
    let least = |dtype: systole::numerics::Dtype| i16::try_from(dtype.min()).expect("at most 16 bits");
    for kind in KINDS {
        let (a, w) = (least(format.activation), least(format.weight));
        for (a, w) in [(a, w), (a, -(w + 1))] {
            let activations = Array2::from_elem((2, inner), a);
            let weights = Array2::from_elem((inner, 2), w);
            let made = Problem { chip, format, dataflow: dataflow(chip, kind), activations, weights }.make();
            let exact = i64::from(a) * i64::from(w) * i64::try_from(inner).expect("it is small");
            let unused = 64 - format.accumulator_bits;
            if exact == exact << unused >> unused {
                assert_eq!(made.sums, vec![exact; 4], "{}", kind.name());
            } else {
                assert!(made.sums.iter().all(|sum| *sum != exact), "{}", kind.name());
            }
        }
    }
}

/// 64 bits hold any sum; the least that a chip may have, those of one product, do not.
#[test]
fn accumulators_of_any_width() {
    for (weight, activation, least) in [("Int16", "Int16", 32), ("Int8", "Int8", 16), ("Int2", "Int4", 6), ("Int8", "Int16", 24)] {
        for bits in [least, 33, 40, 48, 63, 64] {
            for overflow in ["Saturate", "Wrap"] {
                for lanes in [1, 5] {
                    check_largest(&sized(4, 3, &[("formats", formats(weight, activation, lanes, bits, overflow))]), 50);
                }
            }
        }
    }
    check_largest(&sized(8, 2, &[("formats", formats("Int16", "Int16", 64, 64, "Saturate"))]), 40_000);
}

/// Lanes that are more than there is of K, and that cut it unevenly.
#[test]
fn lanes() {
    for (weight, activation) in [("Int16", "Int16"), ("Int8", "Int8"), ("Int4", "Int8"), ("Int2", "Int4"), ("Binary", "Binary")] {
        for lanes in [3, 16, 64] {
            let chip = sized(5, 7, &[("formats", formats(weight, activation, lanes, 48, "Saturate"))]);
            check(&chip, &[[1, 1, 1], [9, 2, 8], [6, 700, 15]], &BOTH);
        }
    }
}

/// The oracle, held to plain sums of wide integers on narrow accumulators.
#[test]
fn the_oracle_is_a_plain_sum_under_the_rule() {
    let mut rng = rng(7);
    for _ in 0..200 {
        let [m, k, n] = [(); 3].map(|()| rng.random_range(1..=12));
        let activations = random(&mut rng, systole::numerics::Dtype::Int8, 0.2, (m, k));
        let weights = random(&mut rng, systole::numerics::Dtype::Int8, 0.2, (k, n));
        for overflow in [systole::numerics::Overflow::Wrap, systole::numerics::Overflow::Saturate] {
            let (bits, chunk) = (rng.random_range(16..=18), rng.random_range(1..=6));
            let rule = AccumulateRule { bits, overflow, chunk };
            let sums = reference::product(activations.view(), weights.view(), rule, None);
            for ((row, col), sum) in sums.indexed_iter() {
                let products: Vec<i128> = (0..k).map(|at| i128::from(activations[(row, at)]) * i128::from(weights[(at, col)])).collect();
                let (least, modulus) = (-(1_i128 << (bits - 1)), 1_i128 << bits);
                let chunk = usize::try_from(chunk).expect("it is small");
                let held = products.chunks(chunk).fold(0, |held, chunk| {
                    let next = held + chunk.iter().sum::<i128>();
                    match overflow {
                        systole::numerics::Overflow::Wrap => (next - least).rem_euclid(modulus) + least,
                        systole::numerics::Overflow::Saturate => next.clamp(least, -least - 1),
                    }
                });
                assert_eq!(i128::from(*sum), held);
            }
        }
    }
}

/// Times layers, or refuses them in words that name the layer.
fn timed_or_refused(sizes: &[[u64; 3]]) {
    let chip = chip::<&str>("ideal-128x128", &[]);
    for kind in KINDS {
        for [m, k, n] in sizes.iter().copied() {
            let layer = Layer::product("l17", [m, k, n]);
            match pipeline::topology(&chip, &[layer], Some(kind), true) {
                Ok(report) => {
                    let expected = match kind {
                        Stationary::Weight => k.div_ceil(128) * n.div_ceil(128) * (m + 382),
                        Stationary::Output => m.div_ceil(128) * n.div_ceil(128) * (k + 254),
                        Stationary::Input => k.div_ceil(128) * m.div_ceil(128) * (n + 382),
                    };
                    assert_eq!(report.total_cycles, expected, "{} {m} x {k} x {n}", kind.name());
                }
                Err(error) => {
                    assert!(!error.is_bug() && error.to_string().contains("l17"), "{} {m} x {k} x {n}: {error}", kind.name());
                }
            }
        }
    }
}

#[test]
fn layers_of_any_size_are_timed_or_refused() {
    let most = systole::topology::MAX_DIMENSION;
    timed_or_refused(&[[most, most, 1], [most, most, most], [1, 1 << 26, 1 << 27], [1 << 27, 1, 1 << 26]]);
    timed_or_refused(&[[1 << 22, 1, 1], [1, 1 << 22, 1], [1, 1, 1 << 22], [1 << 12, 1 << 11, 1 << 11]]);
}

/// A layer that is let in is timed in some seconds, whatever its size.
#[test]
#[ignore = "takes a minute: cargo test --test extremes -- --ignored the_largest_layer"]
fn the_largest_layer_is_timed_soon() {
    timed_or_refused(&[[1 << 20, 1 << 20, 1 << 12]]);
}

/// The largest array that a chip may have, with the most lanes and the largest groups, has more registers than the host is asked to hold: it
/// is refused, with what to do; without numbers it is timed.
#[test]
fn the_largest_array_of_groups() {
    let sets = [
        ("array.rows", "512".to_string()),
        ("array.cols", "512".to_string()),
        ("array.sparsity", "NM(n: 1, m: 64)".to_string()),
        ("formats", formats("Int8", "Int8", 64, 64, "Saturate")),
    ];
    let chip = chip("edge-16x16", &sets);
    let request = |engine| GemmRequest { m: 1, k: 1, n: 1, dataflow: None, format: None, engine, array_only: true, density: 1.0, seed: 1 };
    for engine in BOTH {
        let refused = pipeline::gemm(&chip, &request(engine)).unwrap_err();
        let message = refused.to_string();
        assert!(!refused.is_bug() && message.contains(engine.name()) && message.contains("\n  help: "), "{message}");
    }
    let layer = Layer::product("one", [1, 1, 1]);
    assert!(pipeline::topology(&chip, &[layer], None, true).unwrap().total_cycles > 0);
}
