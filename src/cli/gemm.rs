//! `systole gemm`: one matrix product on a chip's array.

use super::options::{ChipOptions, Drive, format_name, user_fault};
use super::say;
use clap::Args;
use std::error::Error;
use std::fs::{self, File};
use std::io::BufWriter;
use std::path::{Path, PathBuf};
use systole::chip::Stationary;
use systole::pipeline::{self, GemmError, GemmRequest, PipelineError};
use systole::report::{gemm_json, gemm_terminal};

/// Which product, on what, and how.
#[derive(Debug, Args)]
pub(crate) struct GemmArguments {
    #[command(flatten)]
    chip: ChipOptions,
    /// Rows of the activations: vectors that are multiplied
    #[arg(short, value_name = "M")]
    m: u64,
    /// Columns of the activations and rows of the weights: elements of each sum
    #[arg(short, value_name = "K")]
    k: u64,
    /// Columns of the weights: outputs of each vector
    #[arg(short, value_name = "N")]
    n: u64,
    /// What stays in a PE: ws (weights), os (outputs) or is (inputs); the chip's first dataflow where it is not given
    #[arg(long, value_name = "ws|os|is")]
    dataflow: Option<Stationary>,
    /// Bits of weights and activations, such as w8a8, w4a8 or w1a1; the chip's first format where it is not given
    #[arg(long, value_name = "FORMAT", value_parser = format_name)]
    format: Option<String>,
    /// How simulated time is driven; it changes no figure
    #[arg(long, value_enum, default_value_t = Drive::Wavefront)]
    engine: Drive,
    /// The array and its timing alone: operands in place, no ports and no DMA
    #[arg(long)]
    array_only: bool,
    /// The share of weights, 0 to 1, that are let be; the others are zero. A chip with N:M sparsity keeps the N largest of each M
    #[arg(long, value_name = "D", default_value_t = 1.0, allow_negative_numbers = true)]
    density: f64,
    /// Seed of the operands
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
    /// Also write a value change dump of the run, for a waveform viewer; needs --engine stepped
    #[arg(long, value_name = "FILE")]
    vcd: Option<PathBuf>,
    /// Print the report as JSON in place of lines
    #[arg(long)]
    json: bool,
}

/// Does it.
pub(crate) fn run(arguments: &GemmArguments) -> Result<(), Box<dyn Error>> {
    let chip = arguments.chip.load()?;
    let request = GemmRequest {
        m: arguments.m,
        k: arguments.k,
        n: arguments.n,
        dataflow: arguments.dataflow,
        format: arguments.format.clone(),
        engine: arguments.engine.engine(),
        array_only: arguments.array_only,
        density: arguments.density,
        seed: arguments.seed,
    };
    let report = match &arguments.vcd {
        None => pipeline::gemm(&chip, &request).map_err(user_fault)?,
        Some(path) => {
            if arguments.engine != Drive::Stepped {
                return Err(PipelineError::from(GemmError::NotStepped).into());
            }
            let mut dump = Dump::create(path)?;
            let report = match pipeline::gemm_vcd(&chip, &request, &mut dump.writer) {
                Ok(report) => report,
                Err(error) => {
                    // A bug ends the program where it is met; the unfinished file must be gone by then.
                    drop(dump);
                    return Err(user_fault(error).into());
                }
            };
            dump.finish()?;
            report
        }
    };
    say(&if arguments.json { gemm_json(&report) } else { gemm_terminal(&report) })?;
    // The comparison is the tool's promise: a difference is our bug, whatever the input.
    assert!(report.mismatches == 0, "the chip and the integer product differ in {} outputs", report.mismatches);
    Ok(())
}

/// A file that is written under another name and takes its own when it is whole: a reader never meets half a dump. It is made before the
/// run, so that a bad path fails first, and goes away if the run fails.
struct Dump {
    writer: BufWriter<File>,
    path: PathBuf,
    temporary: PathBuf,
    is_whole: bool,
}

impl Dump {
    fn create(path: &Path) -> Result<Self, Box<dyn Error>> {
        let fault = |problem: String| format!("cannot write {}: {problem}\n  help: choose another file with --vcd", path.display());
        // To take the name of a folder, a pipe or a device would do away with it.
        if path.symlink_metadata().is_ok_and(|found| !found.is_file()) {
            return Err(fault("it is there and not a regular file".to_string()).into());
        }
        let Some(name) = path.file_name() else { return Err(fault("it names no file".to_string()).into()) };
        let temporary = path.with_file_name(format!(".{}.{}.tmp", name.to_string_lossy(), std::process::id()));
        let file = File::create_new(&temporary).map_err(|error| fault(error.to_string()))?;
        Ok(Self { writer: BufWriter::new(file), path: path.to_owned(), temporary, is_whole: false })
    }

    fn finish(mut self) -> Result<(), Box<dyn Error>> {
        use std::io::Write as _;
        let written = self.writer.flush().and_then(|()| fs::rename(&self.temporary, &self.path));
        self.is_whole = written.is_ok();
        let path = self.path.display();
        written.map_err(|error| format!("cannot write {path}: {error}\n  help: choose another file with --vcd").into())
    }
}

impl Drop for Dump {
    fn drop(&mut self) {
        if !self.is_whole {
            let _ = fs::remove_file(&self.temporary);
        }
    }
}
