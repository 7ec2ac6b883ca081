//! `systole compare`: one model on several chips.

use super::options::user_fault;
use super::recipe::RecipeOptions;
use super::run::{Weights, command_line};
use super::say;
use clap::Args;
use std::error::Error;
use systole::chip::{self, Chip};
use systole::model::{self, Found};
use systole::pipeline::{self, PipelineError, RunOptions};
use systole::report::{Comparison, Summary};

/// Which model, on which chips, and how.
#[derive(Debug, Args)]
pub(crate) struct CompareArguments {
    /// A model card, an ONNX file, a layer table, or a name, as of systole run
    #[arg(long, value_name = "MODEL", default_value = "simplenet-mnist")]
    model: String,
    /// Chip files, or names of chips, with commas between them; what they yield is told relative to the first
    #[arg(long, value_name = "CHIPS", value_delimiter = ',', required = true)]
    chips: Vec<String>,
    #[command(flatten)]
    recipe: RecipeOptions,
    /// Samples that a chip processes at a time
    #[arg(long, value_name = "N", default_value_t = 1)]
    batch: u64,
    /// Where weights are when a batch starts
    #[arg(long, value_enum, default_value_t = Weights::Cold)]
    weights: Weights,
    /// Only the first N samples of the data; all where it is not given
    #[arg(long, value_name = "N")]
    samples: Option<usize>,
    /// Only time the runs: no numbers, no accuracy
    #[arg(long)]
    timing_only: bool,
    /// Print JSON in place of the table
    #[arg(long)]
    json: bool,
}

/// Does it.
pub(crate) fn run(arguments: &CompareArguments) -> Result<(), Box<dyn Error>> {
    let chips: Vec<Chip> = arguments.chips.iter().map(|name| chip::load(name, &[])).collect::<Result<_, _>>()?;
    let found = model::find(&arguments.model)?;
    let recipe = match &found {
        Found::Network(model) => arguments.recipe.for_model(model)?,
        Found::Table(_) => arguments.recipe.with_formats()?,
    };
    let options = RunOptions {
        batch: arguments.batch,
        weights: arguments.weights.start(),
        samples: arguments.samples,
        command: command_line(),
        ..RunOptions::new(recipe)
    };
    if let Found::Table(_) = &found {
        arguments.recipe.refuse_for_tables(&options.recipe)?;
        if arguments.samples.is_some() {
            let help = "leave it out; --batch says how many samples are processed at a time";
            return Err(format!("--samples was given with a layer table, which has no samples: it is only timed\n  help: {help}").into());
        }
    }
    let mut runs = Vec::with_capacity(chips.len());
    for chip in &chips {
        let ran = one(arguments, &found, chip, &options).map_err(user_fault);
        if let Ok(summary) = &ran
            && let Some(first) = &summary.first_mismatch
        {
            panic!("the chip and the integer reference differ, first in {first:?}");
        }
        runs.push((chip.name().to_string(), ran.map_err(|error| error.to_string())));
    }
    let weights = if arguments.weights == Weights::Cold { "cold" } else { "resident" };
    let comparison = Comparison::new(&arguments.model, &options.recipe.to_string(), options.batch, weights, runs);
    say(&if arguments.json { comparison.json() } else { comparison.terminal() })?;
    if comparison.any_ran() {
        return Ok(());
    }
    Err("no chip was left to compare\n  help: the reasons stand above; name a chip that multiplies the recipe's formats".into())
}

/// The model on one chip.
fn one(arguments: &CompareArguments, found: &Found, chip: &Chip, options: &RunOptions) -> Result<Summary, PipelineError> {
    match found {
        Found::Table(table) => pipeline::time_table(chip, &table.table, &table.sha256, &table.name, options),
        Found::Network(model) => {
            let options = pipeline::choose_formats(model, Some(chip), options)?;
            let prepared = pipeline::prepare(model, chip, &options)?;
            if arguments.timing_only {
                return pipeline::time(&prepared, &options);
            }
            Ok(pipeline::run(&prepared, &options, &|| ())?.summary)
        }
    }
}
