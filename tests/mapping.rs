//! Does a search find the best of what it may choose from, and is its bound one?

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use proptest::prelude::*;
use systole::chip::{self, Chip, Dataflow, Stationary};
use systole::mapping::{
    self, Choice, Layout, Lowered, Mapping, MappingError, Order, Outlook, OutputBuffer, PassedOn, Problem, Tiling, WeightStart,
};
use systole::model;
use systole::numerics::{AccumulateRule, Dtype, Overflow};
use systole::pipeline::{self, Cost, Objective, RunOptions};
use systole::program::emit_timing;
use systole::sim::Machine;
use systole::units::Cycles;

fn cycles(chip: &Chip, mapping: &Mapping) -> f64 {
    let program = emit_timing(mapping, chip).unwrap();
    Machine::new(chip, &chip.formats()[0], &program).unwrap().time().unwrap().total_cycles.as_f64()
}

fn outlook(chip: &Chip, mapping: &Mapping) -> Outlook {
    let bounds = mapping::lower_bounds(mapping, chip);
    let cycles = bounds.program.get();
    Outlook { bound: cycles as f64, guess: mapping::guess(mapping, &bounds, chip), cycles }
}

/// Small layers, so that every mapping can be simulated.
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
    let grouped = Problem { groups: 2, ..conv(6, 8, 24, 1) };
    let all =
        [matrix(1, 200, 40), matrix(100, 33, 20), matrix(67, 64, 36), conv(8, 16, 24, 1), conv(11, 16, 32, 2), conv(9, 3, 40, 1), grouped];
    let layer = |problem| Lowered::unchecked("layer", problem, 0);
    all.into_iter().map(layer).collect()
}

/// Every mapping of a layer alone that a pin can ask for: each dataflow, order, block and chunk is tried, and what is refused is none.
fn every(layer: &Lowered, chip: &Chip) -> Vec<Mapping> {
    let mut all: Vec<Mapping> = Vec::new();
    for stationary in chip.array().dataflows.iter().map(Dataflow::kind) {
        for order in [Order::Blocks, Order::Channels] {
            for block in 1..=layer.problem.vectors() {
                for chunk in 1..=layer.problem.channels() {
                    let choice = Choice { stationary, tiling: Some(Tiling { order, block, chunk }), layout: Layout::default() };
                    let Ok(mapping) = mapping::map_as(std::slice::from_ref(layer), chip, 1, WeightStart::Cold, &[choice]) else { continue };
                    if !all.contains(&mapping) {
                        all.push(mapping);
                    }
                }
            }
        }
    }
    all
}

const SMALL: [(&str, &str); 2] = [
    ("scratchpads", "[(role: Shared, capacity: KiB(8), banks: 4, port_bytes: 16, latency: Cycles(4))]"),
    ("accumulator.capacity", "KiB(4)"),
];
/// The same array, in which anything may stay.
const ANY: [(&str, &str); 3] = [
    ("scratchpads", "[(role: Shared, capacity: KiB(4), banks: 4, port_bytes: 16, latency: Cycles(4))]"),
    ("accumulator.capacity", "KiB(4)"),
    (
        "array.dataflows",
        "[WeightStationary(row_hop: 1, col_hop: 1, pipeline_registers: 0, min_pass_cycles: 1, overlap: Pipelined, extent: Physical, load: Rows, stationary_buffers: 2, max_pass_vectors: Unlimited), InputStationary(row_hop: 1, col_hop: 1, pipeline_registers: 0, min_pass_cycles: 1, overlap: Pipelined, extent: Physical, load: Rows, stationary_buffers: 2, max_pass_vectors: Unlimited), OutputStationary(row_hop: 1, col_hop: 1, pipeline_registers: 0, min_pass_cycles: 1, overlap: Pipelined, extent: Physical, drain: Rows, psum_preload: Cycles(0), reduction_padding: Exact)]",
    ),
];

fn with(name: &str, sets: &[(&str, &str)]) -> Chip {
    let sets: Vec<_> = sets.iter().map(|(field, value)| ((*field).to_string(), (*value).to_string())).collect();
    chip::load(name, &sets).unwrap()
}

#[test]
fn a_search_finds_the_best_of_all_tilings_and_simulates_only_what_may_be_better() {
    let (mut saved, mut all) = (0, 0);
    for (name, sets) in [("edge-16x16", &SMALL[..]), ("gemmini-16x16-os", &[][..])] {
        let chip = with(name, sets);
        for layer in layers() {
            let costs: Vec<f64> = every(&layer, &chip).iter().map(|mapping| cycles(&chip, mapping)).collect();
            let least = costs.iter().copied().fold(f64::INFINITY, f64::min);
            let of = (1, WeightStart::Cold, Layout::default());
            let cost = |mapping: &Mapping| Ok::<f64, MappingError>(cycles(&chip, mapping));
            let found = mapping::search(&layer, &chip, of, u64::MAX, |mapping| outlook(&chip, mapping), cost).unwrap();
            assert_eq!((found.cost, found.candidates), (least, costs.len() as u64), "{name} {:?}", layer.problem);
            assert!(found.is_best() && found.is_all && found.simulated <= found.candidates);
            (saved, all) = (saved + found.candidates - found.simulated, all + found.candidates);
            // So it is where a simulation ends as soon as it is no better.
            let mut shortest = u64::MAX;
            let within = |mapping: &Mapping| {
                let program = emit_timing(mapping, &chip).unwrap();
                let run = Machine::new(&chip, &chip.formats()[0], &program).unwrap().time_within(Cycles::new(shortest - 1)).unwrap();
                shortest = run.as_ref().map_or(shortest, |run| run.total_cycles.get());
                Ok::<f64, MappingError>(run.map_or(f64::INFINITY, |run| run.total_cycles.as_f64()))
            };
            let stopped = mapping::search(&layer, &chip, of, u64::MAX, |mapping| outlook(&chip, mapping), within).unwrap();
            assert_eq!(stopped, found);
            // With a budget of one the gap is told, and holds.
            let found = mapping::search(&layer, &chip, of, 1, |mapping| outlook(&chip, mapping), cost).unwrap();
            assert!(found.simulated == 1 && found.bound <= least && least <= found.cost);
        }
    }
    assert!(4 * saved > all, "bounds prune: {saved} of {all} were not simulated");
}

/// No mapping costs less than its bound, and the search finds the least of them all, whatever is to be little.
#[test]
fn every_objective_has_a_bound_and_finds_its_best() {
    let options = RunOptions::new("w8a8".parse().unwrap());
    let objectives = [Objective::Latency, Objective::Energy, Objective::Edp];
    for (name, sets) in [("edge-16x16", &ANY[..]), ("edge-16x16-ddr4", &SMALL[..])] {
        let chip = with(name, sets);
        let costs = objectives.map(|objective| Cost::new(&chip, chip.format(Dtype::Int8, Dtype::Int8).unwrap(), objective).unwrap());
        for layer in layers() {
            let mut least = [f64::INFINITY; 3];
            for mapping in every(&layer, &chip) {
                let run = costs[0].time(&mapping).unwrap();
                for ((cost, least), objective) in costs.iter().zip(&mut least).zip(objectives) {
                    let (bound, cost) = (cost.bound(&mapping), cost.of(&mapping, &run));
                    assert!(0.0 < bound && bound <= cost, "{objective} {name} {:?}: {bound} of {cost}", mapping.stages()[0].tiling);
                    *least = least.min(cost);
                }
            }
            for (objective, least) in objectives.into_iter().zip(least) {
                let layer = std::slice::from_ref(&layer);
                let found = pipeline::search_mapping(layer, &chip, &options, objective, u64::MAX).unwrap().found.remove(0);
                assert!(found.cost.total_cmp(&least).is_eq() && found.is_best(), "{objective} {name}: {} of {least}", found.cost);
                assert!(found.is_all, "{objective} {name}: small enough to look at every tiling");
            }
        }
    }
}

/// Blocks that fit with single buffers only may be the better ones; where tilings are too many to look at all, the search still has such ones, and
/// does not say that they are all.
#[test]
fn larger_blocks_with_fewer_buffers_are_looked_at() {
    let chip = with("edge-16x16-ddr4", &[("scratchpads.0.capacity", "KiB(4)"), ("accumulator.capacity", "KiB(4)")]);
    let options = RunOptions::new("w8a8".parse().unwrap());
    let cost = Cost::new(&chip, chip.format(Dtype::Int8, Dtype::Int8).unwrap(), Objective::Energy).unwrap();
    let layer = [Lowered::unchecked("a", Problem::matrix(100, 33, 20, Dtype::Int8, Dtype::Int8), 0)];
    let pin = Choice {
        stationary: Stationary::Weight,
        tiling: Some(Tiling { order: Order::Blocks, block: 57, chunk: 16 }),
        layout: Layout::default(),
    };
    let pinned = mapping::map_as(&layer, &chip, 1, WeightStart::Cold, &[pin]).unwrap();
    let pinned = cost.of(&pinned, &cost.time(&pinned).unwrap());
    let found = pipeline::search_mapping(&layer, &chip, &options, Objective::Energy, 8).unwrap().found.remove(0);
    assert!(found.cost <= pinned, "{} of {pinned}", found.cost);
    let many = Lowered::unchecked("many", Problem::matrix(100_000, 8, 8, Dtype::Int8, Dtype::Int8), 0);
    let all = mapping::Candidates::of(&many, &chip, Layout::default());
    assert!(!all.is_all && (1..=mapping::MOST_CUTS).contains(&(all.choices.len() as u64)), "{}", all.choices.len());
}

/// On a chip that saturates, a stage goes to another dataflow only where no sum can be too large for the accumulator; where it cannot be told apart
/// (activations that stay are summed as weights that stay are), where the accumulator wraps, or where there are no numbers, to any.
#[test]
fn a_search_never_changes_what_is_computed() {
    let timing = "row_hop: 1, col_hop: 1, pipeline_registers: 0, min_pass_cycles: 1, overlap: Pipelined, extent: Physical";
    let tiles = "load: Rows, stationary_buffers: 2, max_pass_vectors: Unlimited";
    let sums = "drain: Rows, psum_preload: Cycles(0), reduction_padding: Exact";
    let dataflows =
        format!("[WeightStationary({timing}, {tiles}), InputStationary({timing}, {tiles}), OutputStationary({timing}, {sums})]");
    let stationaries = |overflow: &str, largest_sum| {
        let format = format!("[(weight: Int8, activation: Int8, lanes: 1, accumulator_bits: 20, overflow: {overflow}, pe: Table)]");
        let sets = [("array.dataflows", dataflows.as_str()), ("formats", format.as_str())];
        let chip = chip::load("edge-16x16", &sets.map(|(field, value)| (field.to_string(), value.to_string()))).unwrap();
        let layer = Lowered { largest_sum, ..layers().remove(1) };
        let candidates = mapping::Candidates::of(&layer, &chip, Layout::default());
        candidates.choices.iter().map(|choice| choice.stationary.name()).collect::<std::collections::BTreeSet<_>>().len()
    };
    let most = (1 << 19) - 1;
    assert_eq!(stationaries("Saturate", Some(most)), 3);
    assert_eq!(stationaries("Saturate", Some(most + 1)), 2);
    assert_eq!(stationaries("Wrap", Some(most + 1)), 3);
    assert_eq!(stationaries("Saturate", None), 3);
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    /// What that rests on: sums that stay within their bound come out the same however they are cut, on an accumulator that just holds the bound;
    /// on one that wraps, any do.
    #[test]
    fn sums_within_their_bound_do_not_depend_on_chunks(
        products in prop::collection::vec(-300..300_i64, 1..60),
        bias in -1000..1000_i64,
        chunks in prop::sample::select(&[[1_u64, 7], [3, 16], [2, 60]][..]),
        bits in 2..24_u32,
        wraps in any::<bool>(),
    ) {
        let largest = bias.unsigned_abs() + products.iter().map(|product| product.unsigned_abs()).sum::<u64>();
        let sum = |chunk: u64| {
            let rule = AccumulateRule { bits, overflow: if wraps { Overflow::Wrap } else { Overflow::Saturate }, chunk };
            let chunks = products.chunks(usize::try_from(chunk).unwrap());
            (rule.is_any_order_alike(largest), chunks.fold(rule.update(0, bias), |sum, chunk| rule.update(sum, chunk.iter().sum())))
        };
        let ((is_alike, one), (_, other)) = (sum(chunks[0]), sum(chunks[1]));
        prop_assert_eq!(is_alike, wraps || largest < 1 << (bits - 1));
        prop_assert!(!is_alike || one == other, "{} and {}", one, other);
        prop_assert!(!is_alike || wraps || one == bias + products.iter().sum::<i64>());
    }
}

/// Three layers in a row, 100 vectors of 96 channels, on a scratchpad that cannot keep an output beside its rings.
#[test]
fn the_smallest_scratchpad_keeps_every_output_and_less_does_not() {
    let problem = Problem::matrix(100, 96, 96, Dtype::Int8, Dtype::Int8);
    let layer = |number| Lowered::unchecked("layer", problem, number);
    let second = layer(1).after(&layer(0));
    let stages = [layer(0), second.clone(), layer(2).after(&second)];
    let with = |bytes: u64| {
        let pad = format!("[(role: Shared, capacity: B({bytes}), banks: 4, port_bytes: 16, latency: Cycles(4))]");
        let chip = chip::load("edge-16x16", &[("scratchpads".to_string(), pad)]).unwrap();
        let choices = vec![mapping::Choice::first(&chip); 3];
        let least = mapping::least_scratchpad(&stages, &chip, 1, WeightStart::Cold, &choices);
        let edges: Vec<bool> = mapping::map(&stages, &chip, 1, WeightStart::Cold).unwrap().edges().map(|(_, is_kept)| is_kept).collect();
        (edges, least)
    };
    // The layer in the middle has its whole input and its whole output on the chip, beside two pieces of 16 x 16 weights.
    let least = 2 * 100 * 96 + 2 * 256;
    let (edges, found) = with(8 * 1024);
    assert_eq!((edges, found), (vec![false, false], Some(least)));
    assert_eq!(with(least), (vec![true, true], None));
    let (edges, found) = with(least - 64);
    assert!(edges.contains(&false) && found == Some(least));
    // Layers that do not read each other pass nothing on.
    let chip = chip::load("edge-16x16", &[]).unwrap();
    let apart = [layer(0), layer(1)];
    assert_eq!(mapping::least_scratchpad(&apart, &chip, 1, WeightStart::Cold, &[mapping::Choice::first(&chip); 2]), None);
    assert_eq!(mapping::map(&apart, &chip, 1, WeightStart::Cold).unwrap().edges().count(), 0);
}

/// The pools of this network run some channels at a time on a small scratchpad, so that nothing can stay for or of them; the outputs are counted all
/// the same, and the scratchpad that is named keeps them all.
#[test]
fn outputs_that_a_small_scratchpad_cuts_count_as_spilled() {
    let model::Found::Network(model) = model::find("lenet-mnist").unwrap() else { panic!("a network") };
    let options = RunOptions { samples: Some(1), ..RunOptions::new("w8a8".parse().unwrap()) };
    let passed = |capacity: String| {
        let chip = with("edge-16x16", &[("scratchpads.0.capacity", capacity.as_str())]);
        let prepared = pipeline::prepare(&model, &chip, &options).unwrap();
        let stored = prepared.mapping.stages().iter().filter(|stage| matches!(stage.output, OutputBuffer::Stored { .. })).count() as u64;
        // What the network yields leaves whatever the scratchpad.
        assert_eq!(prepared.passed_on.spilled, stored - 1, "{capacity}");
        prepared.passed_on
    };
    assert_eq!(passed("KiB(256)".to_string()), PassedOn { outputs: 6, spilled: 0, least_bytes: None });
    let small = passed("KiB(2)".to_string());
    assert_eq!((small.outputs, small.spilled), (6, 4));
    let least = small.least_bytes.unwrap();
    assert_eq!(passed(format!("B({least})")).spilled, 0);
    let pad = with("edge-16x16", &[]).scratchpads()[0];
    assert!(passed(format!("B({})", least - u64::from(pad.banks * pad.port_bytes))).spilled > 0);
}

#[test]
fn what_does_not_fit_at_all_says_so() {
    let sets = [("accumulator", "(capacity: B(16), banks: 1, port_bytes: 16, latency: Cycles(2))")];
    let chip = chip::load("edge-16x16", &sets.map(|(field, value)| (field.to_string(), value.to_string()))).unwrap();
    let found = mapping::search(
        &layers()[0],
        &chip,
        (1, WeightStart::Cold, Layout::default()),
        5,
        |_| Outlook { bound: 0.0, guess: 0.0, cycles: 0 },
        |_| Ok::<f64, MappingError>(1.0),
    );
    assert!(matches!(found, Err(MappingError::TooSmall { needed, capacity, .. }) if needed > capacity));
}

/// The least that one tile needs may be too little for the rest of a layer, or for another layer: the capacity that is named is enough for all.
#[test]
fn the_capacity_that_is_named_suffices() {
    let with_bytes = |bytes: u64| with("edge-16x16", &[("scratchpads.0.capacity", format!("B({bytes})").as_str())]);
    for bytes in [64, 256] {
        let chip = with_bytes(bytes);
        let stages: Vec<Lowered> =
            layers().into_iter().enumerate().map(|(number, layer)| Lowered::unchecked("layer", layer.problem, number)).collect();
        let mapped = mapping::map(&stages, &chip, 1, WeightStart::Cold);
        let Err(MappingError::TooSmall { needed, suffices, field, .. }) = mapped else { panic!("{bytes} bytes are too few") };
        assert!(bytes < needed && needed <= suffices && field == "scratchpads.0.capacity", "{bytes}: {needed} {suffices}");
        assert!(mapping::map(&stages, &with_bytes(suffices), 1, WeightStart::Cold).is_ok(), "{bytes}: {suffices}");
    }
}
