//! Runs the shipped networks compressed in many ways, each on the chip that may profit, and tells what each is worth.
//!
//! `cargo run --release --example compression -- reports/compression` writes `compression.csv` to that folder and prints the tables of its page. A number
//! behind the folder takes so many samples of each report split.

#![allow(clippy::print_stdout, reason = "what it says is its output")]

use std::error::Error;
use std::path::PathBuf;
use systole::chip;
use systole::metrics::{right, size, wilson};
use systole::model::{self, Model, Split};
use systole::pipeline::{self, RunOptions};
use systole::reference::float;
use systole::report::Summary;

/// The networks, and what is done to layers of theirs on edge-16x16.
const MODELS: [(&str, &[&str]); 2] = [("simplenet-mnist", &[]), ("lenet-mnist", &["rank:24@f1"])];
/// The chips, and what is done on each: steps joined by `+`.
const RUNS: &[(&str, &[&str])] = &[
    ("edge-16x16", &["w16a16", "w8a8", "w4a8", "w4a8,tensor", "w4a4", "w2a8", "w1a1", "mixed:w8a8/w4a8/w2a8,cycles,loss:0.005"]),
    ("widen-16x16", &["w8a8", "w4a8,wide", "w2a8,wide"]),
    ("xnor-16x16", &["w8a8", "w1a1"]),
    (
        "edge-16x16",
        &[
            "mean:0.1",
            "mean:0.25",
            "mean:0.5",
            "mean:0.75",
            "mean:1",
            "mean:1.5",
            "mean:2",
            "mean:0.1,global",
            "mean:0.25,global",
            "mean:0.5,global",
            "mean:0.75,global",
            "mean:1,global",
            "mean:1.5,global",
            "mean:2,global",
        ],
    ),
    ("codec-16x16", &["w8a8", "mean:0.5,global", "mean:1,global", "magnitude:0.8,global"]),
    ("nm-16x16", &["nm:2:4"]),
    ("edge-16x16", &["nm:2:4", "block:array,0.25", "block:array,0.5"]),
    ("tileskip-16x16", &["w8a8", "block:array,0.25", "block:array,0.5"]),
    ("edge-16x16", &["channel:0.25", "channel:0.5", "features:0.25", "energy:0.9", "energy:0.8"]),
];

/// Samples of a batch whose weights are fetched once.
const BATCH: u64 = 64;

/// What a run came to, a sample where that makes sense.
struct Row {
    recipe: String,
    chip: String,
    zeros: f64,
    weight_bytes: u64,
    pruned_accuracy: f64,
    accuracy: f64,
    interval: [f64; 2],
    cycles: f64,
    energy: f64,
    dram: f64,
    /// Of the unpruned network on the same chip.
    unpruned_cycles: Option<f64>,
    /// Where the chip processes many samples at a time, so that weights are fetched once for all of them.
    batch_cycles: f64,
}

/// Columns, of the tables and of the file.
const COLUMNS: [&str; 12] = [
    "recipe",
    "chip",
    "zeros",
    "bytes of weights",
    "right",
    "95% interval",
    "right in float, pruned",
    "cycles",
    "cycles unpruned",
    "cycles at batch 64",
    "energy, nJ",
    "DRAM, bytes",
];

fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = PathBuf::from(arguments.next().ok_or("say which folder: compression FOLDER [SAMPLES]")?);
    let samples: Option<usize> = arguments.next().map(|count| count.parse()).transpose()?;
    let mut csv = csv::Writer::from_writer(Vec::new());
    csv.write_record(["network", "samples"].iter().chain(&COLUMNS))?;
    for (name, own) in MODELS {
        let model = model::load(name)?;
        let report = model.split(Split::Report, samples)?;
        let count = report.count();
        let logits = float::run(model.network(), report.inputs.view())?.logits().clone();
        let hits = right(logits.view(), &report.labels).into_iter().filter(|right| *right).count() as u64;
        let (share, [low, high]) = (percent(hits as f64 / count as f64), wilson(hits, count as u64, 0.95).map(percent));
        let size = size(model.network()).weight_bytes;
        println!("\n## {name}\n");
        println!("In float {share:.2}% of {count} samples are right ({low:.2} to {high:.2}), with {size} bytes of weights.\n");
        println!("| {} |\n|{}", COLUMNS.join(" | "), " --- |".repeat(COLUMNS.len()));
        let of_float = [format!("{share:.2}%"), format!("{low:.2} to {high:.2}"), format!("{share:.2}%")];
        let head = [name.to_string(), count.to_string(), "float".to_string(), String::new(), String::new(), size.to_string()];
        csv.write_record(head.into_iter().chain(of_float).chain(std::iter::repeat_n(String::new(), 5)))?;
        for (chip, recipes) in RUNS.iter().copied().chain([("edge-16x16", own)]) {
            for recipe in recipes {
                let fields = run(&model, chip, recipe, samples)?.fields();
                println!("| `{}` | {} |", fields[0], fields[1..].join(" | "));
                csv.write_record([name.to_string(), count.to_string()].into_iter().chain(fields))?;
            }
        }
    }
    std::fs::create_dir_all(&folder)?;
    std::fs::write(folder.join("compression.csv"), csv.into_inner()?)?;
    Ok(())
}

fn run(model: &Model, chip: &str, recipe: &str, samples: Option<usize>) -> Result<Row, Box<dyn Error>> {
    let chip = chip::load(chip, &[])?;
    let asked: systole::compress::Recipe = recipe.parse()?;
    let options = RunOptions { samples, ..RunOptions::new(asked.with_formats()) };
    let options = pipeline::choose_formats(model, Some(&chip), &options)?;
    let prepared = pipeline::prepare(model, &chip, &options)?;
    let summary = pipeline::run(&prepared, &options, &|| ())?.summary;
    if summary.mismatches != Some(0) {
        return Err(format!("{recipe}: chip and integer reference differ").into());
    }
    let weights: u64 = prepared.pruning.last().map_or(0, |step| step.layers.iter().map(|layer| layer.weights).sum());
    let zeros: u64 = prepared.pruning.last().map_or(0, |step| step.layers.iter().map(|layer| layer.zeros).sum());
    let recipe = options.mixed_precision.as_ref().map_or_else(|| recipe.to_string(), |mixed| format!("{recipe} ({})", mixed.chosen));
    let many = RunOptions { batch: BATCH, samples: Some(64), mixed_precision: None, ..options.clone() };
    let timed = pipeline::time(&pipeline::prepare(model, &chip, &many)?, &many)?;
    Ok(Row::of([&summary, &timed], recipe, size(&prepared.quantized).weight_bytes, zeros as f64 / weights.max(1) as f64))
}

impl Row {
    fn of([summary, timed]: [&Summary; 2], recipe: String, weight_bytes: u64, zeros: f64) -> Self {
        let samples = summary.samples as f64;
        let accuracy = summary.metrics.as_ref().and_then(|metrics| metrics.get("accuracy"));
        let [pruned_accuracy, accuracy] =
            accuracy.map_or([f64::NAN; 2], |values| [values.compressed_float, values.chip].map(|value| value.unwrap_or(f64::NAN)));
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count, times the count, is a count")]
        let hits = (accuracy * samples).round() as u64;
        let unpruned = summary.pruning.as_ref().and_then(|pruning| pruning.unpruned);
        Self {
            recipe,
            chip: summary.chip.name.clone(),
            zeros,
            weight_bytes,
            pruned_accuracy,
            accuracy,
            interval: wilson(hits, summary.samples, 0.95),
            cycles: summary.cycles_per_sample,
            energy: summary.energy_pj_per_sample,
            dram: (summary.dram_read_bytes + summary.dram_write_bytes) as f64 / samples,
            batch_cycles: timed.cycles_per_sample,
            unpruned_cycles: unpruned.map(|unpruned| unpruned.total_cycles as f64 / samples),
        }
    }

    fn fields(&self) -> [String; COLUMNS.len()] {
        let [low, high] = self.interval.map(percent);
        [
            self.recipe.clone(),
            self.chip.clone(),
            if self.zeros > 0.0 { format!("{:.0}%", percent(self.zeros)) } else { String::new() },
            self.weight_bytes.to_string(),
            format!("{:.2}%", percent(self.accuracy)),
            format!("{low:.2} to {high:.2}"),
            format!("{:.2}%", percent(self.pruned_accuracy)),
            format!("{:.0}", self.cycles),
            self.unpruned_cycles.map_or_else(String::new, |cycles| format!("{cycles:.0}")),
            format!("{:.1}", self.batch_cycles),
            format!("{:.0}", self.energy / 1e3),
            format!("{:.0}", self.dram),
        ]
    }
}

fn percent(share: f64) -> f64 {
    100.0 * share
}
