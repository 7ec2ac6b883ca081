//! The only place that joins the stages: a model and a chip in, a summary and the outputs out.
//!
//! Quantize, map, emit, run every batch on the machine, run the references, compare, account. Not here: printing, files, or how any of it
//! is done.

mod analyze;
mod compress;
mod cost;
mod dram;
mod error;
mod gemm;
mod host;
mod judged;
mod map;
mod mixed;
mod model;
mod numbers;
mod outside;
mod plan;
mod prepare;
mod product;
mod pruning;
mod residency;
mod run;
mod summary;
mod table;
mod trace;
#[cfg(feature = "train")]
mod train;
mod vcd;
mod whatif;
mod workbench;

pub use crate::mapping::{Objective, Plan};
pub use analyze::analyze;
pub use compress::{Compressed, compress};
pub use cost::Cost;
pub use dram::{DramError, dram};
pub use error::PipelineError;
pub use gemm::{GemmError, GemmRequest, MAX_DIMENSION, MAX_ELEMENTS, MAX_MACS, MAX_PASSES, gemm, gemm_vcd, topology};
pub use map::{Searched, search_mapping};
pub use mixed::choose_formats;
pub use model::{describe_network, describe_table};
pub use numbers::Numbers;
pub use outside::training;
pub use plan::ChoiceStore;
pub use prepare::{Prepared, model_stages, prepare};
pub use run::{Outcome, Warning, run, time};
pub use table::{table_stages, time_table};
pub use trace::{MAX_TRACE_SLICES, Traced, trace, trace_program, trace_table};
#[cfg(feature = "train")]
pub use train::{Begin, TrainRequest, TrainSession, Trained};
pub use vcd::{MAX_DUMP_PES, MAX_DUMP_VALUES};
pub use workbench::{Depth, Measured, Selected, Workbench};

use crate::chip::Chip;
use crate::compress::{Formats, Recipe, Scheme};
use crate::mapping::{
    Choice, Layout, Lowered, Lowering, MAX_CAPACITY, Mapping, MappingFile, PassedOn, WeightStart, Work, has_format, lower_wide, map_as,
    passed_on,
};
use crate::network::{Conv, Dense, LayerId, Network, Op, Weight};
use crate::report::MixedPrecision;
use crate::sim::Engine;
use crate::units::Bytes;
use std::collections::BTreeSet;

/// What a summary says of its engine where no numbers were simulated.
pub const TIMING_ONLY: &str = "timing-only";

/// How a run is to be made.
#[derive(Debug, Clone, PartialEq)]
pub struct RunOptions {
    /// Samples in a batch.
    pub batch: u64,
    /// Where weights are when a program starts.
    pub weights: WeightStart,
    /// How the network is made smaller, and the formats that it is quantized to.
    pub recipe: Recipe,
    /// Only this many samples of the report split; all where there is none.
    pub samples: Option<usize>,
    /// How the machine is driven.
    pub engine: Engine,
    /// The seed of every generator.
    pub seed: u64,
    /// What was chosen for layers; where there is nothing, `plan` says.
    pub mapping: Option<MappingFile>,
    /// How layers are mapped where `mapping` is not there.
    pub plan: Plan,
    /// How the input of layers that read images lies, where `mapping` does not say.
    pub layout: Layout,
    /// Whether the program is also timed on machines with resources without limit, to tell why its time is what it is.
    pub what_if: bool,
    /// What a search for formats measured, where the recipe's are what it chose.
    pub mixed_precision: Option<MixedPrecision>,
    /// The command line, for the summary.
    pub command: String,
}

impl RunOptions {
    /// As `systole run` makes a run where nothing else is asked for: batches of one sample, weights in DRAM at the start, all samples, from event to
    /// event.
    pub fn new(recipe: Recipe) -> Self {
        Self {
            batch: 1,
            weights: WeightStart::Cold,
            recipe,
            samples: None,
            engine: Engine::Wavefront,
            seed: 1,
            mapping: None,
            plan: Plan::First,
            layout: Layout::default(),
            what_if: false,
            mixed_precision: None,
            command: String::new(),
        }
    }

    /// The formats that the network runs in.
    pub fn scheme(&self) -> Scheme {
        self.recipe.scheme()
    }

    /// What the chip's units do for a quantized network, its weights multiplied as the recipe says.
    fn lower(&self, network: &Network, chip: &Chip) -> Result<Lowering, PipelineError> {
        let wide = Formats::from(&self.recipe).wide(network)?;
        let lowering = lower_wide(network, chip, self.batch, &wide)?;
        if !self.recipe.quantization().is_empty() {
            check_formats(network, chip, &lowering.stages, &wide)?;
        }
        Ok(lowering)
    }

    /// Maps stages as the options say, and tells what was chosen for each. What the plan chooses is taken from `store` where it is known there.
    fn map(&self, stages: &[Lowered], chip: &Chip, store: Option<&dyn ChoiceStore>) -> Result<(Mapping, Vec<Choice>), PipelineError> {
        let first = Choice { layout: self.layout, ..Choice::first(chip) };
        let choices = match &self.mapping {
            Some(file) => {
                let names: Vec<&str> = stages.iter().map(|stage| stage.name.as_str()).collect();
                let choices = file.choices(&names, first)?;
                file.check_layouts(stages)?;
                choices
            }
            None => plan::choices(self, stages, chip, store)?,
        };
        Ok((map_as(stages, chip, self.batch, self.weights, &choices)?, choices))
    }

    /// Which outputs stay on the chip in what [`Self::map`] made of a network's stages, or a table's.
    fn passed_on(&self, network: Option<&Network>, stages: &[Lowered], chip: &Chip, (mapping, choices): (&Mapping, &[Choice])) -> PassedOn {
        let lower = |bytes: u64| {
            let chip = chip.with_capacity(chip.scratchpad_roles().activation, Bytes::new(bytes));
            self.lower(network?, &chip).ok().map(|lowering| lowering.stages)
        };
        // Only windows are cut by what fits before anything is mapped.
        let is_cut = stages.iter().any(|stage| stage.is_by_channels(self.batch));
        let Some(whole) = is_cut.then(|| lower(MAX_CAPACITY)).flatten() else {
            return passed_on(mapping, (stages, choices), chip, self.weights, |_| true);
        };
        let first = Choice { layout: self.layout, ..Choice::first(chip) };
        let chosen = |stage: &Lowered| stages.iter().position(|cut| cut.name == stage.name).map_or(first, |place| choices[place]);
        let choices: Vec<Choice> = whole.iter().map(chosen).collect();
        passed_on(mapping, (&whole, &choices), chip, self.weights, |bytes| lower(bytes).is_some_and(|stages| stages == whole))
    }
}

/// Refuses a format that a recipe asks for and the chip has not. What an imported network brings is widened; who names a format means it.
fn check_formats(network: &Network, chip: &Chip, stages: &[Lowered], wide: &BTreeSet<LayerId>) -> Result<(), PipelineError> {
    let of_array = stages.iter().filter(|stage| stage.work == Work::Array);
    for layer in of_array.filter_map(|stage| stage.layer).filter(|layer| !wide.contains(layer)).map(|id| network.layer(id)) {
        let weight = match &layer.op {
            Op::Dense(Dense { weight: Weight::Integer { dtype, .. }, .. })
            | Op::Conv(Conv { weight: Weight::Integer { dtype, .. }, .. }) => *dtype,
            _ => continue,
        };
        let read = network.layer(network.inputs(layer.id)[0]).output.quantization;
        if let Some(activation) = read.map(|read| read.dtype) {
            has_format(&layer.name, [weight, activation], chip)?;
        }
    }
    Ok(())
}
