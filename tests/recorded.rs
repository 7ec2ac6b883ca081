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
