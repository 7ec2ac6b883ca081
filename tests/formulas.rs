//! Do arrays alone take the cycles, reads and writes of their published closed forms, on layer tables and on random shapes?
//!
//! The ideal chips are held to SCALE-Sim's model, the measured ones to what their RTL was found to take. Each formula stands here as its
//! page has it, in the chip's own numbers; `tests/alone` has the general ones.

mod alone;

use alone::{Problem, chip, dataflow, dense, extra_tables, random, rng, tables};
use rand::RngExt;
use std::path::PathBuf;
use systole::chip::{Chip, Stationary};
use systole::pipeline;
use systole::report::TopologyRow;
use systole::topology::Layer;

const IDEAL: [&str; 3] = ["ideal-16x16", "ideal-32x32", "ideal-128x128"];
const KINDS: [Stationary; 3] = [Stationary::Weight, Stationary::Output, Stationary::Input];

fn size(chip: &Chip) -> (u64, u64) {
    (u64::from(chip.array().rows), u64::from(chip.array().cols))
}

/// The rows of a layer table, timed.
fn timed(chip: &Chip, layers: &[Layer], kind: Stationary) -> Vec<TopologyRow> {
    let report = pipeline::topology(chip, layers, Some(kind), true).unwrap_or_else(|error| panic!("{error}"));
    assert_eq!(report.layers.len(), layers.len());
    assert_eq!(report.total_cycles, report.layers.iter().map(|row| row.total_cycles).sum::<u64>());
    report.layers
}

/// SCALE-Sim 3's cycles of a product, which it reports less one.
fn ideal_cycles((rows, cols): (u64, u64), kind: Stationary, [m, k, n]: [u64; 3]) -> u64 {
    match kind {
        Stationary::Weight => k.div_ceil(rows) * n.div_ceil(cols) * (m + 2 * rows + cols - 2),
        Stationary::Output => m.div_ceil(rows) * n.div_ceil(cols) * (k + rows + cols - 2),
        Stationary::Input => k.div_ceil(rows) * m.div_ceil(cols) * (n + 2 * rows + cols - 2),
    }
}

/// What goes in and out of an ideal array: activations, weights, sums.
fn operands((rows, cols): (u64, u64), kind: Stationary, [m, k, n]: [u64; 3]) -> [u64; 3] {
    match kind {
        Stationary::Weight => [m * k * n.div_ceil(cols), k * n, m * n * k.div_ceil(rows)],
        Stationary::Output => [m * k * n.div_ceil(cols), k * n * m.div_ceil(rows), m * n],
        Stationary::Input => [m * k, k * n * m.div_ceil(cols), m * n * k.div_ceil(rows)],
    }
}

/// Passes, and the PEs that they fill in all: each element of what stays has a PE to itself, once.
fn filled((rows, cols): (u64, u64), kind: Stationary, [m, k, n]: [u64; 3]) -> (u64, u64) {
    match kind {
        Stationary::Weight => (k.div_ceil(rows) * n.div_ceil(cols), k * n),
        Stationary::Output => (m.div_ceil(rows) * n.div_ceil(cols), m * n),
        Stationary::Input => (k.div_ceil(rows) * m.div_ceil(cols), k * m),
    }
}

fn near(is: f64, wanted: f64) -> bool {
    (is - wanted).abs() <= 1e-12 * wanted.max(1.0)
}

/// Holds a row of an ideal chip to every formula.
fn check_ideal(chip: &Chip, kind: Stationary, row: &TopologyRow) {
    let (array, problem) = (size(chip), [row.m, row.k, row.n]);
    let what = format!("{} {} {row:?}", chip.name(), kind.name());
    let total = ideal_cycles(array, kind, problem);
    assert_eq!(row.total_cycles, total, "cycles: {what}");
    assert_eq!([row.input_reads, row.weight_reads, row.output_writes], operands(array, kind, problem), "reads and writes: {what}");
    let (passes, pes) = filled(array, kind, problem);
    assert_eq!(row.passes, passes, "passes: {what}");
    let room = (array.0 * array.1) as f64;
    let macs = (row.m * row.k * row.n) as f64;
    assert!(near(row.utilization, macs / (total as f64 * room)), "utilization: {what}");
    assert!(near(row.mapping_efficiency, pes as f64 / (passes as f64 * room)), "mapping efficiency: {what}");
}

fn check_tables(tables: &[(PathBuf, Vec<Layer>)]) -> usize {
    let mut rows = 0;
    for chip in IDEAL.map(|name| chip::<&str>(name, &[])) {
        for kind in KINDS {
            for (_, layers) in tables {
                for row in timed(&chip, layers, kind) {
                    check_ideal(&chip, kind, &row);
                    rows += 1;
                }
            }
        }
    }
    rows
}

#[test]
fn ideal_arrays_take_what_scale_sim_says_on_layers_of_the_papers() {
    let tables = tables();
    let layers: usize = tables.iter().map(|(_, layers)| layers.len()).sum();
    assert_eq!(tables.len(), 3);
    assert_eq!(check_tables(&tables), layers * IDEAL.len() * KINDS.len());
}

#[test]
fn ideal_arrays_take_what_scale_sim_says_on_its_own_layers() {
    check_tables(&extra_tables());
}

/// What SCALE-Sim 3.0.0 printed as total cycles on a 16 x 16 array, the index of the last one, and as mapping efficiency in percent.
#[test]
fn ideal_arrays_take_what_scale_sim_printed() {
    let printed = [
        ([50, 70, 30], [(959_u64, 82.03125), (799, 73.242_187_5), (1519, 68.359_375)]),
        ([128, 512, 64], [(22_271, 100.0), (17_343, 100.0), (28_159, 100.0)]),
        ([1, 784, 10], [(2302, 62.5), (813, 3.90625), (2743, 6.25)]),
        ([127, 137, 131], [(14_012, 86.549_961_419_753_09), (12_023, 90.261_501_736_111_1), (12_743, 94.395_616_319_444_44)]),
    ];
    let chip = chip::<&str>("ideal-16x16", &[]);
    for ([m, k, n], printed) in printed {
        for (kind, (last, mapped)) in KINDS.into_iter().zip(printed) {
            let rows = timed(&chip, &[Layer::product("a", [m, k, n])], kind);
            assert_eq!(rows[0].total_cycles, last + 1, "{} {m} x {k} x {n}", kind.name());
            assert!((rows[0].mapping_efficiency * 100.0 - mapped).abs() < 1e-9, "{} {m} x {k} x {n}", kind.name());
        }
    }
}

/// The tables say what their papers do: 0.7 and 1.8 thousand million multiply-accumulates an image (Krizhevsky et al., 2012; He et al.,
/// 2016).
#[test]
fn the_tables_are_the_papers_networks() {
    for (name, macs) in [("alexnet", 0.724e9), ("resnet18", 1.814e9)] {
        let tables = tables();
        let (_, layers) = tables.iter().find(|(path, _)| path.ends_with(format!("{name}.csv"))).expect("the table is there");
        let sum: u64 = layers.iter().map(|layer| layer.m * layer.k * layer.n).sum();
        assert!((sum as f64 / macs - 1.0).abs() < 0.005, "{name}: {sum}");
    }
}

/// A run with numbers takes what a run without them does, and gives the right product.
#[test]
fn small_layers_with_their_numbers() {
    let mut rng = rng(1);
    let mut made = 0;
    for chip in IDEAL.map(|name| chip::<&str>(name, &[])) {
        for (_, layers) in tables() {
            for layer in layers.iter().filter(|layer| layer.m * layer.k * layer.n < 100_000) {
                for kind in KINDS {
                    let size = |size: u64| usize::try_from(size).expect("it is small");
                    let format = &chip.formats()[0];
                    let problem = Problem {
                        chip: &chip,
                        format,
                        dataflow: dataflow(&chip, kind),
                        activations: random(&mut rng, format.activation, 0.0, (size(layer.m), size(layer.k))),
                        weights: random(&mut rng, format.weight, 0.0, (size(layer.k), size(layer.n))),
                    };
                    let run = problem.make().run;
                    let dimensions = [layer.m, layer.k, layer.n];
                    let array = (u64::from(chip.array().rows), u64::from(chip.array().cols));
                    assert_eq!(run.total_cycles.get(), ideal_cycles(array, kind, dimensions), "{} {layer:?}", chip.name());
                    let elements = run.stages[0].elements;
                    let counted = [elements.input_reads, elements.weight_reads, elements.output_writes];
                    assert_eq!(counted, operands(array, kind, dimensions));
                    made += 1;
                }
            }
        }
    }
    assert!(made > 50);
}

/// Shapes smaller than any array, of a tile and one more or less, of primes, and any.
fn shapes() -> Vec<Layer> {
    let mut rng = rng(2);
    let mut sizes = vec![[1, 1, 1], [1, 1, 300], [1, 300, 1], [300, 1, 1], [8, 8, 8], [16, 16, 16], [7, 9, 15], [17, 17, 17], [31, 33, 32]];
    let primes = [2, 3, 5, 7, 11, 13, 17, 19, 23, 29, 31, 37, 41, 43, 61, 67, 97, 127, 131, 251, 257];
    for _ in 0..100 {
        sizes.push([(); 3].map(|()| primes[rng.random_range(0..primes.len())]));
        sizes.push([(); 3].map(|()| rng.random_range(1..=16)));
        sizes.push([(); 3].map(|()| rng.random_range(1..=400)));
        sizes.push([rng.random_range(1..=40), rng.random_range(1..=2000), rng.random_range(1..=40)]);
    }
    sizes.into_iter().map(|[m, k, n]| Layer::product(format!("{m} x {k} x {n}"), [m, k, n])).collect()
}

/// Times the shapes on a chip's first dataflow, and holds them to a closed form.
fn check_measured(name: &str, formula: impl Fn(u64, u64, u64) -> u64) {
    let chip = chip::<&str>(name, &[]);
    let (only, format) = (&chip.array().dataflows[0], &chip.formats()[0]);
    assert_eq!(chip.array().dataflows.len(), 1);
    for row in timed(&chip, &shapes(), only.kind()) {
        let TopologyRow { m, k, n, .. } = row;
        assert_eq!(row.total_cycles, formula(m, k, n), "{name}: {row:?}");
        let passes = alone::passes(&chip, format, only, [m, k, n], dense);
        assert_eq!((row.passes, row.total_cycles), (passes.len() as u64, alone::cycles(&chip, only, &passes)), "{name}: {row:?}");
        // Blocks do not change what is read: only tiles do.
        let moved = operands(size(&chip), only.kind(), [m, k, n]);
        assert_eq!([row.input_reads, row.weight_reads, row.output_writes], moved, "{name}: {row:?}");
    }
}

/// 16 rows load while the block before streams, of at most 16 vectors and at least 4 cycles; 3 registers and 30 hops are the tail.
#[test]
fn gemmini_weight_stationary() {
    check_measured("gemmini-16x16-ws", |m, k, n| {
        let tiles = k.div_ceil(16) * n.div_ceil(16);
        let whole_blocks = (m - 1) / 16;
        let last = m - 16 * whole_blocks;
        // All blocks but a tile's last stream for 16 cycles; behind the last of each the next tile's load takes as long, but for the end.
        16 + tiles * whole_blocks * 16 + (tiles - 1) * 16 + last.max(4) + 33
    });
}

/// A bias of 16 rows goes ahead of all, K is rounded up to whole blocks of 16, the sums drain for 16 cycles while the next pass streams.
#[test]
fn gemmini_output_stationary() {
    check_measured("gemmini-16x16-os", |m, k, n| 16 + m.div_ceil(16) * n.div_ceil(16) * (k.div_ceil(16) * 16) + 16 + 33);
}

/// Nothing is loaded, sums drain for 8 cycles while the next pass streams; 2 registers and 14 hops are the tail.
#[test]
fn axis_sa() {
    check_measured("axis-sa-8x8", |m, k, n| (m.div_ceil(8) * n.div_ceil(8) - 1) * k.max(8) + k + 8 + 16);
}

#[test]
fn measured_arrays_with_their_numbers() {
    let mut rng = rng(3);
    for name in ["gemmini-16x16-ws", "gemmini-16x16-os", "axis-sa-8x8"] {
        let chip = chip::<&str>(name, &[]);
        let (only, format) = (&chip.array().dataflows[0], &chip.formats()[0]);
        for _ in 0..30 {
            let [m, k, n] = [(); 3].map(|()| rng.random_range(1..=50));
            let activations = random(&mut rng, format.activation, 0.0, (m, k));
            let weights = random(&mut rng, format.weight, 0.0, (k, n));
            let made = Problem { chip: &chip, format, dataflow: only, activations, weights }.make();
            let passes = alone::passes(&chip, format, only, [m as u64, k as u64, n as u64], dense);
            assert_eq!(made.run.total_cycles.get(), alone::cycles(&chip, only, &passes), "{name}: {m} x {k} x {n}");
        }
    }
}
