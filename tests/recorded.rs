//! Is a batch that is computed without its time, from what a timed run did to the memories, the same as one that is run in full?

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use ndarray::s;
use systole::pipeline::{self, RunOptions};
use systole::sim::Engine;
use systole::{chip, model};

/// The logits of `samples` samples.
fn logits(chip: &str, name: &str, recipe: &str, batch: u64, samples: usize) -> (ndarray::Array2<i32>, pipeline::Outcome) {
    let chip = chip::load(chip, &[]).unwrap();
    let model = model::load(name).unwrap();
    let options = RunOptions { batch, samples: Some(samples), engine: Engine::Wavefront, ..RunOptions::new(recipe.parse().unwrap()) };
    let prepared = pipeline::prepare(&model, &chip, &options).unwrap();
    let outcome = pipeline::run(&prepared, &options, &|| ()).unwrap();
    assert_eq!(outcome.summary.mismatches, Some(0), "{name} {recipe}");
    (outcome.numbers.chip_logits.clone(), outcome)
}

#[test]
fn batches_without_their_time_are_those_in_full() {
    let cases = [
        ("edge-16x16", "lenet-mnist", "w8a8", 1),
        ("edge-16x16", "lenet-mnist", "w4a8+w2a8@f*", 2),
        ("gemmini-16x16-os", "lenet-mnist", "w8a8", 1),
        ("xnor-16x16", "simplenet-mnist", "w1a1", 1),
        ("nm-16x16", "simplenet-mnist", "nm:2:4+w8a8", 3),
        ("tileskip-16x16", "simplenet-mnist", "block:array,0.5+w8a8", 1),
        // Coded weights are run in full.
        ("codec-16x16", "simplenet-mnist", "magnitude:0.8+w8a8", 1),
    ];
    for (chip, name, recipe, batch) in cases {
        let each = usize::try_from(batch).unwrap();
        // Two batches of the seven are run in full, five are not.
        let (all, outcome) = logits(chip, name, recipe, batch, 7 * each);
        let (first, of_two) = logits(chip, name, recipe, batch, 2 * each);
        assert_eq!(all.slice(s![..2 * each, ..]), first, "{chip} {name} {recipe}");
        let (summary, two) = (outcome.summary, of_two.summary);
        assert_eq!(2 * summary.total_cycles, 7 * two.total_cycles, "{chip} {name} {recipe}");
        assert_eq!(2 * summary.dram_read_bytes, 7 * two.dram_read_bytes, "{chip} {name} {recipe}");
        let (energy, of_two) = (summary.energy_pj_per_sample, two.energy_pj_per_sample);
        assert!((energy - of_two).abs() <= 1e-9 * of_two, "{chip} {name} {recipe}: {energy} and {of_two}");
    }
}

/// What a sweep takes from another chip: where `Chip::timing` is the same, so is every cycle and every count; and it tells chips apart that run otherwise.
#[test]
fn chips_of_one_timing_run_alike() {
    let table = systole::topology::parse("Layer, M, N, K,\na, 100, 60, 70,\nb, 33, 20, 500,\n", "t.csv").unwrap();
    let options = systole::pipeline::RunOptions::new("w8a8".parse().unwrap());
    let of = |name: &str, sets: &[(&str, &str)]| {
        let sets: Vec<(String, String)> = sets.iter().map(|(field, value)| ((*field).to_string(), (*value).to_string())).collect();
        let chip = systole::chip::load(name, &sets).unwrap();
        let summary = systole::pipeline::time_table(&chip, &table, "", "t", &options).unwrap();
        let layers: Vec<_> =
            summary.layers.iter().map(|layer| (layer.total_cycles, layer.stall_cycles.clone(), layer.traffic_bytes)).collect();
        (chip.timing(), (summary.total_cycles, layers))
    };
    let cases: &[(&str, &[(&str, &str)])] = &[
        ("edge-16x16", &[]),
        ("edge-16x16", &[("clock", "MHz(600)")]),
        ("edge-16x16", &[("dram.latency", "Cycles(80)")]),
        ("edge-16x16", &[("array.rows", "8")]),
        ("edge-16x16", &[("scratchpads.0.latency", "Cycles(9)")]),
        ("edge-16x16-ddr4", &[]),
        ("edge-16x16-ddr4", &[("clock", "MHz(600)")]),
    ];
    let runs: Vec<_> = cases.iter().map(|(name, sets)| of(name, sets)).collect();
    for (one, (timing, run)) in runs.iter().enumerate() {
        for (other, (timing_of_other, run_of_other)) in runs.iter().enumerate().skip(one + 1) {
            assert_eq!(timing == timing_of_other, run == run_of_other, "{:?} and {:?}", cases[one], cases[other]);
        }
    }
    assert_eq!(runs[0], runs[1], "cycles do not go by the clock where nothing is given in seconds");
}
