//! Runs trained models beside the networks that they were trained from, compressed alike after training, each on a chip, and tells what training gave back.
//!
//! `cargo run --release --example training -- reports/training` writes `training.csv` to that folder and prints the table of its page. A number behind
//! the folder takes so many samples of each report split.

#![allow(clippy::print_stdout, reason = "what it says is its output")]

use std::error::Error;
use std::path::PathBuf;
use systole::compress::Recipe;
use systole::metrics::wilson;
use systole::pipeline::{self, RunOptions};
use systole::report::Summary;
use systole::{chip, model};

/// A compression: the network, what it is compressed by after training, the chip, and the recipe that takes the trained model in its place.
const ROWS: &[(&str, &str, &str, &str)] = &[
    ("simplenet-mnist-trained", "w4a4", "edge-16x16", "load:simplenet-mnist-w4a4+w4a4"),
    ("simplenet-mnist-trained", "w2a4", "edge-16x16", "load:simplenet-mnist-w2a4+w2a4"),
    ("simplenet-mnist-trained", "nm:2:4+w8a8", "nm-16x16", "load:simplenet-mnist-2of4+w8a8"),
    ("simplenet-mnist-trained", "magnitude:0.9,global+w8a8", "edge-16x16", "load:simplenet-mnist-90pruned+w8a8"),
    ("lenet-mnist-trained", "w4a4", "edge-16x16", "load:lenet-mnist-w4a4+w4a4"),
    ("lenet-mnist-trained", "w2a4", "edge-16x16", "load:lenet-mnist-w2a4+w2a4"),
    ("lenet-mnist-trained", "nm:2:4+w8a8", "nm-16x16", "load:lenet-mnist-2of4+w8a8"),
    ("lenet-mnist-trained", "magnitude:0.9,global+w8a8", "edge-16x16", "load:lenet-mnist-90pruned+w8a8"),
];
/// Models that were trained as they are, and the chip that each runs on.
const ALONE: &[(&str, &str, &str)] = &[
    ("simplenet-mnist-trained", "w8a8", "edge-16x16"),
    ("lenet-mnist-trained", "w8a8", "edge-16x16"),
    ("sfc-mnist", "as-imported", "xnor-16x16"),
    ("lfc-mnist", "as-imported", "xnor-16x16"),
    ("cnn-mnist-w1a1", "as-imported", "xnor-16x16"),
    ("simplenet-half-mnist-distilled", "w8a8", "edge-16x16"),
];

const COLUMNS: [&str; 9] =
    ["network", "compression", "chip", "samples", "right before", "95% interval", "right after", "95% interval", "cycles a sample"];

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("say which folder: training FOLDER [SAMPLES]")?);
    let samples: Option<usize> = arguments.next().map(|count| count.parse()).transpose()?;
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(COLUMNS)?;
    println!("| {} |\n|{}", COLUMNS.join(" | "), " --- |".repeat(COLUMNS.len()));
    let mut tell = |network: &str, compression: &str, before: Option<&Summary>, after: &Summary| -> Result<(), Box<dyn Error>> {
        let [shown, interval] = before.map_or_else(|| [String::new(), String::new()], accuracy);
        let [right, of_right] = accuracy(after);
        let (chip, count, cycles) = (after.chip.name.clone(), after.samples.to_string(), format!("{:.0}", after.cycles_per_sample));
        let fields = [network.to_string(), compression.to_string(), chip, count, shown, interval, right, of_right, cycles];
        println!("| {} |", fields.join(" | "));
        Ok(csv.write_record(fields)?)
    };
    for (network, before, chip, after) in ROWS {
        let [was, is] = [before, after].map(|recipe| run(network, chip, recipe, samples));
        tell(network, before, Some(&was?), &is?)?;
    }
    for (network, recipe, chip) in ALONE {
        tell(network, recipe, None, &run(network, chip, recipe, samples)?)?;
    }
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("training.csv"), csv.into_inner()?)?;
    Ok(())
}

/// What a chip makes of a network; its numbers must be the integer reference's.
fn run(network: &str, chip: &str, recipe: &str, samples: Option<usize>) -> Result<Summary, Box<dyn Error>> {
    let (model, chip) = (model::load(network)?, chip::load(chip, &[])?);
    let recipe = if recipe == "as-imported" { Recipe::new(Vec::new())? } else { recipe.parse::<Recipe>()?.with_formats() };
    let options = RunOptions { samples, ..RunOptions::new(recipe.clone()) };
    let prepared = pipeline::prepare(&model, &chip, &options)?;
    let summary = pipeline::run(&prepared, &options, &|| ())?.summary;
    if summary.mismatches != Some(0) {
        return Err(format!("{network} {recipe}: chip and integer reference differ").into());
    }
    Ok(summary)
}

/// The share of samples that a chip has right, and its interval, in percent.
fn accuracy(summary: &Summary) -> [String; 2] {
    let accuracy = summary.metrics.as_ref().and_then(|metrics| metrics.get("accuracy")?.chip).unwrap_or(f64::NAN);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count, times the count, is a count")]
    let right = (accuracy * summary.samples as f64).round() as u64;
    let [low, high] = wilson(right, summary.samples, 0.95);
    [format!("{:.2}%", 100.0 * accuracy), format!("{:.2} to {:.2}", 100.0 * low, 100.0 * high)]
}
