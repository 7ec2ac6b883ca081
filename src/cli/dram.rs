//! `systole dram`: a trace of requests, replayed on a chip's DRAM.

use super::options::{ChipOptions, user_fault};
use super::say;
use clap::Args;
use std::error::Error;
use std::fs::File;
use std::io::BufReader;
use std::path::PathBuf;
use systole::pipeline;
use systole::report::{dram_json, dram_terminal};

/// What, on which chip.
#[derive(Debug, Args)]
pub(crate) struct DramArguments {
    #[command(flatten)]
    chip: ChipOptions,
    /// The requests: a line each of R or W, the hexadecimal address of a byte of the burst, and, if the request is not to enter before it, a
    /// cycle of DRAM's command clock; it is read once, so that it may come through a pipe (/dev/stdin)
    #[arg(long, value_name = "FILE")]
    trace: PathBuf,
    /// Print JSON in place of a few lines
    #[arg(long)]
    json: bool,
}

/// Does it.
pub(crate) fn run(arguments: &DramArguments) -> Result<(), Box<dyn Error>> {
    let chip = arguments.chip.load()?;
    let name = arguments.trace.display().to_string();
    let fault =
        |reason: String| format!("{name}: the trace cannot be read: {reason}\n  help: give a text file of lines such as `R 0x3f40`");
    // A file or a stream: it is read once, from its beginning.
    if arguments.trace.metadata().map_err(|error| fault(error.to_string()))?.is_dir() {
        return Err(fault("it is a folder".to_string()).into());
    }
    let file = File::open(&arguments.trace).map_err(|error| fault(error.to_string()))?;
    let report = pipeline::dram(&chip, &mut BufReader::with_capacity(1 << 16, file), &name).map_err(user_fault)?;
    say(&if arguments.json { dram_json(&report) } else { dram_terminal(&report) })
}
