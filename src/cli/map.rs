//! `systole map`: looks for a mapping, and shows it.

use super::options::{ChipOptions, user_fault};
use super::recipe::RecipeOptions;
use super::{say, spinner};
use clap::Args;
use std::error::Error;
use std::path::{Path, PathBuf};
use systole::mapping::{Budget, Layout, Lowered, MappingFile};
use systole::model::{self, Found};
use systole::pipeline::{self, Objective, RunOptions};
use systole::plot;
use systole::report::{ResultFolder, mapping_json};

/// What to map, onto what, and for what.
#[derive(Debug, Args)]
pub(crate) struct MapArguments {
    #[command(flatten)]
    chip: ChipOptions,
    /// A model card (.ron), an ONNX file, a layer table (.csv), or the name of a card or a table in models/ or of a shipped one
    #[arg(long, value_name = "MODEL", default_value = "simplenet-mnist")]
    model: String,
    /// Only show this layer
    #[arg(long, value_name = "NAME")]
    layer: Option<String>,
    /// What is to be little: latency, energy or edp (their product)
    #[arg(long, value_name = "O", default_value = "latency")]
    objective: Objective,
    /// Candidates that are simulated for each layer at most. Not given: 9, or as many as take some milliseconds
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    budget: Option<u64>,
    /// Samples that the chip processes at a time
    #[arg(long, value_name = "N", default_value_t = 1)]
    batch: u64,
    #[command(flatten)]
    recipe: RecipeOptions,
    /// Also write the layers under the chip's roofs to this folder: roofline.svg, roofline.png and roofline.csv
    #[arg(long, value_name = "DIR")]
    out: Option<PathBuf>,
    /// How activations of images lie: nhwc, nchw, or blocks of channels such as nc16hw16
    #[arg(long, value_name = "LAYOUT", default_value = "nhwc")]
    layout: Layout,
    /// Also write the mapping to a file, which `run --mapping` takes
    #[arg(long, value_name = "FILE")]
    save: Option<PathBuf>,
    /// Print the mapping as JSON in place of loop nests
    #[arg(long)]
    json: bool,
}

/// Does it.
pub(crate) fn run(arguments: &MapArguments) -> Result<(), Box<dyn Error>> {
    let chip = arguments.chip.load()?;
    let options = RunOptions { batch: arguments.batch, layout: arguments.layout, ..RunOptions::new(arguments.recipe.with_formats()?) };
    let stages: Vec<Lowered> = match model::find(&arguments.model)? {
        Found::Table(table) => {
            arguments.recipe.refuse_for_tables(&options.recipe)?;
            pipeline::table_stages(&chip, &table.table, &options)
        }
        Found::Network(model) => {
            let options = RunOptions { recipe: arguments.recipe.for_model(&model)?, ..options.clone() };
            let options = pipeline::choose_formats(&model, Some(&chip), &options).map_err(user_fault)?;
            pipeline::model_stages(&model, &chip, &options)
        }
    }
    .map_err(user_fault)?;
    if let Some(layer) = arguments.layer.as_deref()
        && !stages.iter().any(|stage| stage.name == layer)
    {
        let mut names: Vec<&str> = stages.iter().map(|stage| stage.name.as_str()).collect();
        names.dedup();
        return Err(format!("there is no layer \"{layer}\" that the array computes\n  help: choose one of {}", names.join(", ")).into());
    }
    // Where a picture cannot go is known before the search.
    let folder = arguments.out.as_deref().map(ResultFolder::prepare).transpose()?;
    let budget = arguments.budget.map_or(Budget::DEFAULT, Budget::from);
    let waiting = spinner("searching the layers' mappings");
    let searched = pipeline::search_mapping(&stages, &chip, &options, arguments.objective, budget);
    waiting.finish_and_clear();
    let searched = searched.map_err(user_fault)?;
    let network = Path::new(&arguments.model).file_stem().unwrap_or_default().to_string_lossy();
    let layer = arguments.layer.as_deref();
    say(&if arguments.json { mapping_json(&searched.report(&chip, &network, layer)) } else { searched.describe(layer) })?;
    if let Some(folder) = folder {
        let roofline = searched.roofline(&chip, &network, layer);
        let (svg, png) = plot::roofline(&roofline)?;
        let csv = roofline.csv();
        let files = [("roofline.csv", csv.as_bytes()), ("roofline.svg", svg.as_bytes()), ("roofline.png", &png)];
        folder.write_files(&files)?;
    }
    if let Some(path) = &arguments.save {
        std::fs::write(path, MappingFile::of(&searched.mapping).to_text()).map_err(|error| {
            format!("the mapping cannot be written to {}: {error}\n  help: choose another file with --save", path.display())
        })?;
    }
    Ok(())
}
