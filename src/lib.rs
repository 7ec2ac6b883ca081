//! systole: a cycle-by-cycle simulator of neural-network accelerators, with the real numbers flowing through.
//!
//! A chip comes out of one RON file, a network out of an ONNX file. The network is quantized, mapped onto the chip's systolic array, and
//! run command by command and cycle by cycle, with real bytes in every memory. The outputs are read back from simulated DRAM and held, bit
//! for bit, to an integer reference that knows nothing of the chip.
//!
//! ```
//! use systole::compress::Recipe;
//! use systole::pipeline::{self, RunOptions};
//! use systole::sim::Engine;
//! use systole::{chip, model};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The shipped edge chip, with a wider array.
//! let chip = chip::load("edge-16x16", &[("array.cols".to_string(), "32".to_string())])?;
//! let model = model::load("simplenet-mnist")?;
//! // As `systole run` has it, but for a few samples and every register of every PE.
//! let recipe = "w8a8".parse::<Recipe>()?;
//! let options = RunOptions { samples: Some(20), engine: Engine::Stepped, ..RunOptions::new(recipe) };
//! let prepared = pipeline::prepare(&model, &chip, &options)?;
//! let outcome = pipeline::run(&prepared, &options, &|| ())?;
//! assert_eq!(outcome.summary.mismatches, Some(0));
//! println!("{} cycles a sample", outcome.summary.cycles_per_sample);
//! # Ok(())
//! # }
//! ```
//!
//! The stages, each with one type that its constructor checks:
//! [`chip::Chip`], [`network::Network`], [`mapping::Mapping`], [`program::Program`], [`sim::Run`], [`report::Summary`].
//! ARCHITECTURE.md in the repository tells who may know whom, and the contract of time.

pub mod chip;
pub mod codec;
pub mod compress;
pub mod counts;
pub mod data;
pub mod energy;
pub mod experiment;
pub mod findings;
pub mod mapping;
pub mod metrics;
pub mod model;
pub mod network;
pub mod numerics;
pub mod page;
pub mod pipeline;
pub mod plot;
pub mod program;
pub mod reference;
pub mod report;
pub mod sim;
pub mod sweep;
pub mod topology;
#[cfg(feature = "train")]
pub mod train;
pub mod units;
