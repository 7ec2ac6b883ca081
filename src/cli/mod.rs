//! The command line: arguments, and one file a subcommand. Belongs to the binary; nothing in the library prints.

mod chip;
mod compare;
mod compress;
mod diff;
mod dram;
mod dump;
mod gemm;
mod map;
mod model;
mod options;
mod plot;
mod recipe;
mod run;
mod sweep;
mod target;
mod topology;
mod trace;
mod train;

use clap::{Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use std::error::Error;
use std::io::{self, Write};
use std::time::Duration;

/// The user's input is at fault.
pub(crate) const EXIT_USER: u8 = 1;
/// A broken promise of ours.
pub(crate) const EXIT_BUG: i32 = 70;

/// Runs neural networks on accelerators that do not exist yet, cycle by cycle, with the real numbers flowing through.
#[derive(Debug, Parser)]
#[command(name = "systole", version, about, max_term_width = 100, help_expected = true)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a network on a chip: cycles, stalls, traffic, energy, area, and the accuracy of what the chip computed
    Run(run::RunArguments),
    /// Run the points of an experiment: recipes, models and chips along axes, and the front of error, latency and energy
    Sweep(sweep::SweepArguments),
    /// Run one matrix product of random integers on a chip, and check it against the integer product
    Gemm(gemm::GemmArguments),
    /// Prune and quantize a network, and write it as ONNX (QDQ) with a model card beside it and a report
    Compress(compress::CompressArguments),
    /// Train a network, in float or through pruning and quantization, and write it as ONNX with a model card beside it (needs the feature train)
    Train(train::TrainArguments),
    /// Look for the best mapping of a network or a layer table, and show it level by level
    Map(map::MapArguments),
    /// Time the layers of a layer table in SCALE-Sim's format on a chip
    Topology(topology::TopologyArguments),
    /// Run one model on several chips, and show them side by side, relative to the first
    Compare(compare::CompareArguments),
    /// Show what changes from one run to another: for each layer, which reason gained or lost cycles
    Diff(diff::DiffArguments),
    /// Replay a trace of memory requests on a chip's DRAM: cycles, row hits, bandwidth, energy
    Dram(dram::DramArguments),
    /// Draw the results of a sweep: any two fields, Pareto fronts, heat maps; or all its pictures and its page
    Plot(plot::PlotArguments),
    /// List, show and check chips
    Chip(chip::ChipArguments),
    /// List and show models: layers, multiply-accumulates, parameters, the graph
    Model(model::ModelArguments),
}

/// Does what the command line asks for.
pub(crate) fn dispatch(arguments: &Arguments) -> Result<(), Box<dyn Error>> {
    match &arguments.command {
        Command::Run(run) => run::run(run),
        Command::Sweep(sweep) => sweep::run(sweep),
        Command::Gemm(gemm) => gemm::run(gemm),
        Command::Compress(compress) => compress::run(compress),
        Command::Train(train) => train::run(train),
        Command::Map(map) => map::run(map),
        Command::Topology(topology) => topology::run(topology),
        Command::Compare(compare) => compare::run(compare),
        Command::Diff(diff) => diff::run(diff),
        Command::Dram(dram) => dram::run(dram),
        Command::Plot(plot) => plot::run(plot),
        Command::Chip(chip) => chip::run(chip),
        Command::Model(model) => model::run(model),
    }
}

/// Prints what `--help` or `--version` asked for.
pub(crate) fn say_help(answer: &clap::Error) -> Result<(), Box<dyn Error>> {
    written(answer.print().and_then(|()| io::stdout().flush()))
}

/// Prints to standard output. A reader that went away (`systole ... | head`) is no fault.
fn say(text: &str) -> Result<(), Box<dyn Error>> {
    written(io::stdout().write_all(text.as_bytes()).and_then(|()| io::stdout().flush()))
}

fn written(result: io::Result<()>) -> Result<(), Box<dyn Error>> {
    match result {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(format!("cannot write to standard output: {error}").into()),
        _ => Ok(()),
    }
}

/// A sign of life on a terminal, with the time that has gone by; nothing where standard error is piped.
fn spinner(what: &'static str) -> ProgressBar {
    let style = ProgressStyle::with_template("{spinner} {msg}, {elapsed}").expect("bug: the template is a constant that parses");
    let spinner = ProgressBar::new_spinner().with_style(style).with_message(what);
    spinner.enable_steady_tick(Duration::from_millis(100));
    spinner
}

/// Prints a line to standard error, if anybody can read it.
pub(crate) fn complain(text: &str) {
    let _ = writeln!(io::stderr(), "{text}");
}
