//! `systole model`: list the models that come with the program, show one.

use super::options::complain_of_columns;
use super::say;
use clap::{Args, Subcommand};
use std::error::Error;
use std::path::PathBuf;
use systole::model::{self, Found};
use systole::report::{ModelReport, ResultFolder, model_json, model_terminal, models_json, models_terminal};
use systole::{pipeline, plot};

/// What to do with models.
#[derive(Debug, Args)]
pub(crate) struct ModelArguments {
    #[command(subcommand)]
    action: Action,
}

#[derive(Debug, Subcommand)]
enum Action {
    /// The networks and layer tables that come with the program, with multiply-accumulates, parameters and where they come from
    List {
        /// Print JSON in place of a table
        #[arg(long)]
        json: bool,
    },
    /// A model's layers with shapes, multiply-accumulates and parameters, and its graph as a picture
    Show {
        /// A model card (.ron), an ONNX file, a layer table (.csv), or the name of a card or a table in models/ or of a shipped one
        model: String,
        /// Print JSON in place of a table
        #[arg(long)]
        json: bool,
        /// Also draw the graph into this folder: graph.svg, and graph.dot for Graphviz
        #[arg(long, value_name = "DIR")]
        out: Option<PathBuf>,
    },
}

/// Does it.
pub(crate) fn run(arguments: &ModelArguments) -> Result<(), Box<dyn Error>> {
    match &arguments.action {
        Action::List { json } => {
            let reports = model::names().map(|name| described(&model::find(name)?)).collect::<Result<Vec<_>, _>>()?;
            say(&if *json { models_json(&reports) } else { models_terminal(&reports) })
        }
        Action::Show { model, json, out } => {
            let found = model::find(model)?;
            let report = described(&found)?;
            // Where a picture cannot go is known before anything is printed.
            let folder = out.as_deref().map(ResultFolder::prepare).transpose()?;
            if let Some(folder) = folder {
                let (svg, dot) = (plot::graph(&report)?, plot::graph_dot(&report));
                folder.write_files(&[("graph.svg", svg.as_bytes()), ("graph.dot", dot.as_bytes())])?;
            }
            say(&if *json { model_json(&report) } else { model_terminal(&report) })?;
            if let Found::Table(table) = &found {
                complain_of_columns(table);
            }
            Ok(())
        }
    }
}

fn described(found: &Found) -> Result<ModelReport, Box<dyn Error>> {
    Ok(match found {
        Found::Network(model) => pipeline::describe_network(model),
        Found::Table(table) => pipeline::describe_table(table)?,
    })
}
