//! `systole compress`: prunes and quantizes a network, and writes it as ONNX with a card beside it.

use super::options::{field_and_value, user_fault};
use super::recipe::RecipeOptions;
use super::run::command_line;
use super::say;
use super::target::Target;
use clap::Args;
use std::error::Error;
use std::path::PathBuf;
use systole::chip::{self, Chip};
use systole::model::{self, Found, Model};
use systole::pipeline::{self, RunOptions};
use systole::report::{compression_json, compression_terminal};

/// What to compress, and how.
#[derive(Debug, Args)]
pub(crate) struct CompressArguments {
    /// A model card (.ron), or the name of a card in models/ or of a shipped one
    #[arg(long, value_name = "MODEL", default_value = "simplenet-mnist")]
    model: String,
    #[command(flatten)]
    recipe: RecipeOptions,
    /// Compute the integer reference as this chip would, which must have the formats: a chip file, or the name of a chip; else sums cannot overflow
    #[arg(long, value_name = "CHIP")]
    chip: Option<String>,
    /// Change a field of the chip first, such as array.rows=32; may stand several times
    #[arg(long, value_name = "FIELD=VALUE", value_parser = field_and_value, requires = "chip")]
    set: Vec<(String, String)>,
    /// Write the network to this file (.onnx), a model card beside it (.ron), which `systole run --model` takes, and the report (.json)
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Score only the first N samples of the report split; all where it is not given
    #[arg(long, value_name = "N")]
    samples: Option<usize>,
    /// Tell of each layer with weights what quantizing it costs and gains, measured on the first 1,000 samples of the select split (or as many as --samples
    /// says): it alone, all but it, ranges, noise, how far sums grow and, with a chip, cycles; --out adds .analysis.csv and .analysis.json
    #[arg(long)]
    analyze: bool,
    /// Print the report as JSON in place of tables
    #[arg(long)]
    json: bool,
}

/// Does it.
pub(crate) fn run(arguments: &CompressArguments) -> Result<(), Box<dyn Error>> {
    let chip = arguments.chip.as_deref().map(|name| chip::load(name, &arguments.set)).transpose()?;
    let recipe = arguments.recipe.said()?;
    let Found::Network(model) = model::find(&arguments.model)? else {
        return Err("a layer table has no weights that could be compressed\n  help: give a model card (.ron)".into());
    };
    // Refuses formats that a network which comes in integers would not take.
    arguments.recipe.for_model(&model)?;
    let target = arguments.out.as_deref().map(|path| Target::new(path, &arguments.model)).transpose()?;
    let options = RunOptions { samples: arguments.samples, command: command_line(), ..RunOptions::new(recipe) };
    if arguments.analyze {
        return analyze(arguments, &model, chip.as_ref(), &options, target.as_ref());
    }
    let options = pipeline::choose_formats(&model, chip.as_ref(), &options).map_err(user_fault)?;
    let compressed = pipeline::compress(&model, chip.as_ref(), &options).map_err(user_fault)?;
    let report = compression_json(&compressed.report);
    if let Some(target) = &target {
        let how = format!("{} compressed by systole: {}", model.card().name, compressed.report.recipe);
        let card = model::card_beside(&model, target.path(), compressed.training, &how)?;
        target.write(&compressed.network, card.as_deref(), &report)?;
    }
    if arguments.json {
        return say(&report);
    }
    say(&compression_terminal(&compressed.report))?;
    target.map_or(Ok(()), |target| say(&format!("\nwritten: {}\n", target.card().display())))
}

/// Analyses in place of compressing.
fn analyze(
    arguments: &CompressArguments,
    model: &Model,
    chip: Option<&Chip>,
    options: &RunOptions,
    target: Option<&Target>,
) -> Result<(), Box<dyn Error>> {
    let options = RunOptions { recipe: options.recipe.with_formats(), ..options.clone() };
    let options = pipeline::choose_formats(model, chip, &options).map_err(user_fault)?;
    let analysis = pipeline::analyze(model, chip, &options).map_err(user_fault)?;
    let (json, csv) = (analysis.json(), analysis.csv());
    if let Some(target) = target {
        target.write_beside(&[("analysis.csv", &csv), ("analysis.json", &json)])?;
    }
    say(&if arguments.json { json } else { analysis.terminal() })
}
