//! `systole topology`: the layers of a layer table, timed.

use super::options::{ChipOptions, complain_of_columns, user_fault};
use super::{say, spinner};
use clap::Args;
use std::error::Error;
use systole::chip::Stationary;
use systole::report::{topology_csv, topology_json, topology_terminal};
use systole::{model, pipeline};

/// Which layers, on what, and how.
#[derive(Debug, Args)]
pub(crate) struct TopologyArguments {
    /// A layer table in SCALE-Sim's format, convolutions or matrix products (Layer, M, N, K); or the name of one in models/ or of a shipped one
    file: String,
    #[command(flatten)]
    chip: ChipOptions,
    /// What stays in a PE: ws (weights), os (outputs) or is (inputs); the chip's first dataflow where it is not given
    #[arg(long, value_name = "ws|os|is")]
    dataflow: Option<Stationary>,
    /// The array and its timing alone: operands in place, no ports and no DMA
    #[arg(long)]
    array_only: bool,
    /// Print JSON in place of a table
    #[arg(long, conflicts_with = "csv")]
    json: bool,
    /// Print CSV in place of a table, a row a layer and no totals
    #[arg(long)]
    csv: bool,
}

/// Does it.
pub(crate) fn run(arguments: &TopologyArguments) -> Result<(), Box<dyn Error>> {
    let chip = arguments.chip.load()?;
    let table = model::find_table(&arguments.file)?;
    let waiting = spinner("timing the table's layers");
    let report = pipeline::topology(&chip, &table.table.layers, arguments.dataflow, arguments.array_only);
    waiting.finish_and_clear();
    let report = report.map_err(user_fault)?;
    let text = match (arguments.json, arguments.csv) {
        (true, _) => topology_json(&report),
        (_, true) => topology_csv(&report),
        _ => topology_terminal(&report),
    };
    say(&text)?;
    complain_of_columns(&table);
    Ok(())
}
