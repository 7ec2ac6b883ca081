//! Does a search find the best of what it may choose from, and is its bound one?

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use systole::chip::{self, Chip};
use systole::mapping::{self, Layout, Lowered, Mapping, MappingError, Problem, WeightStart};
use systole::numerics::Dtype;
use systole::program::emit_timing;
use systole::sim::Machine;

fn cycles(chip: &Chip, mapping: &Mapping) -> f64 {
    let program = emit_timing(mapping, chip).unwrap();
    Machine::new(chip, &chip.formats()[0], &program).unwrap().time().unwrap().total_cycles.as_f64()
}

fn bound(chip: &Chip, mapping: &Mapping) -> f64 {
    mapping::lower_bounds(mapping, chip).program.as_f64()
}

/// Small layers, so that every candidate can be simulated.
fn layers() -> Vec<Lowered> {
    let matrix = |n, k, m| Problem::matrix(n, k, m, Dtype::Int8, Dtype::Int8);
    let conv = |side: u64, c, m, stride: u64| Problem {
        n: 1,
        p: side.div_ceil(stride),
        q: side.div_ceil(stride),
        r: 3,
        s: 3,
        input: [side, side],
        stride: [stride, stride],
        padding: [1, 1],
        ..matrix(1, c, m)
    };
    let all = [matrix(1, 200, 40), matrix(100, 64, 64), matrix(600, 30, 20), conv(14, 24, 40, 1), conv(20, 16, 32, 2), conv(9, 3, 48, 1)];
    let layer = |problem| Lowered { layer: None, name: "layer".to_string(), problem, follows: false, zeros: Vec::new() };
    all.into_iter().map(layer).collect()
}

#[test]
fn a_search_finds_the_best_candidate_and_simulates_only_what_may_be_better() {
    let small =
        ["scratchpads=[(role: Shared, capacity: KiB(8), banks: 4, port_bytes: 16, latency: Cycles(4))]", "accumulator.capacity=KiB(8)"];
    let chips = [("edge-16x16", &[][..]), ("edge-16x16", &small[..]), ("ideal-16x16", &[][..]), ("gemmini-16x16-os", &[][..])];
    let (mut saved, mut all) = (0, 0);
    for (name, sets) in chips {
        let sets: Vec<_> =
            sets.iter().map(|set| set.split_once('=').unwrap()).map(|(field, value)| (field.to_string(), value.to_string())).collect();
        let chip = chip::load(name, &sets).unwrap();
        for layer in layers() {
            let costs: Vec<f64> = mapping::candidates(&layer, &chip, 1, WeightStart::Cold, Layout::default())
                .iter()
                .map(|(_, mapping)| cycles(&chip, mapping))
                .collect();
            let least = costs.iter().copied().fold(f64::INFINITY, f64::min);
            let cost = |mapping: &Mapping| Ok::<f64, MappingError>(cycles(&chip, mapping));
            let found =
                mapping::search(&layer, &chip, (1, WeightStart::Cold, Layout::default()), u64::MAX, |mapping| bound(&chip, mapping), cost)
                    .unwrap();
            assert_eq!((found.cost, found.candidates), (least, costs.len() as u64), "{name} {:?}", layer.problem);
            assert!(found.is_best() && found.simulated <= found.candidates);
            (saved, all) = (saved + found.candidates - found.simulated, all + found.candidates);
            // With a budget of one the gap is told, and holds.
            let found = mapping::search(&layer, &chip, (1, WeightStart::Cold, Layout::default()), 1, |mapping| bound(&chip, mapping), cost)
                .unwrap();
            assert!(found.simulated == 1 && found.bound <= least && least <= found.cost);
        }
    }
    assert!(4 * saved > all, "bounds prune: {saved} of {all} were not simulated");
}

#[test]
fn what_does_not_fit_at_all_says_so() {
    let sets = [("accumulator", "(capacity: B(16), banks: 1, port_bytes: 16, latency: Cycles(2))")];
    let chip = chip::load("edge-16x16", &sets.map(|(field, value)| (field.to_string(), value.to_string()))).unwrap();
    let found =
        mapping::search(&layers()[0], &chip, (1, WeightStart::Cold, Layout::default()), 5, |_| 0.0, |_| Ok::<f64, MappingError>(1.0));
    assert!(matches!(found, Err(MappingError::TooSmall { needed, capacity, .. }) if needed > capacity));
}
