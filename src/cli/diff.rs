//! `systole diff`: two runs beside each other.

use super::say;
use clap::Args;
use std::error::Error;
use std::path::PathBuf;
use systole::report::{RunDiff, read_summary};

/// Which runs.
#[derive(Debug, Args)]
pub(crate) struct DiffArguments {
    /// The first run: a folder that `systole run` wrote, or its summary.json
    #[arg(value_name = "A")]
    a: PathBuf,
    /// The second
    #[arg(value_name = "B")]
    b: PathBuf,
    /// Print JSON in place of the table
    #[arg(long)]
    json: bool,
}

/// Does it.
pub(crate) fn run(arguments: &DiffArguments) -> Result<(), Box<dyn Error>> {
    let diff = RunDiff::of(&read_summary(&arguments.a)?, &read_summary(&arguments.b)?);
    say(&if arguments.json { diff.json() } else { diff.terminal() })
}
