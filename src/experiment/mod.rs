//! Experiments: which recipes of which models run on which chips, along which axes, in what order, and what is asked of them.
//!
//! ```text
//! E.ron --schema, axes--> Experiment (chips, models and recipes loaded and checked) --space--> points
//! ```
//!
//! A loader: it reads the file, and the chips and models that it names. All faults at once, each with its place. Not here: how a point is run, or which
//! points a search looks at (`sweep`).

mod axes;
mod error;
mod schema;
mod space;
mod text;

pub use axes::{Axis, columns as axis_columns};
pub use error::ExperimentError;
pub use space::{Coordinates, MOST_POINTS, Point, Space};

use crate::chip::Chip;
use crate::compress::{Recipe, Step};
use crate::mapping::{Plan, WeightStart};
use crate::model::Found;
use crate::report::{Requirement, SweepBaseline, SweepPlot};
use std::fs::File;
use std::io::Read as _;
use std::path::Path;

/// The largest experiment that is read, in bytes.
const MAX_BYTES: u64 = 1 << 20;

/// An experiment whose parts are there and can be read.
#[derive(Debug)]
pub struct Experiment {
    /// Its text, byte for byte.
    pub text: String,
    /// What it asks.
    pub question: String,
    /// Chips, without the axes.
    pub chips: Vec<BaseChip>,
    /// What runs on them.
    pub workloads: Vec<Workload>,
    /// Recipes, with the axes that they use.
    pub recipes: Vec<NamedRecipe>,
    /// Axes, of chips and of recipes.
    pub axes: Vec<Axis>,
    /// How mappings are found.
    pub plan: Plan,
    /// Seeds of every generator.
    pub seeds: Vec<u64>,
    /// What points are held against.
    pub baseline: Option<SweepBaseline>,
    /// What a point must keep to be worth choosing.
    pub require: Vec<Requirement>,
    /// What is to be drawn.
    pub plots: Vec<SweepPlot>,
    /// Which points are looked at.
    pub explore: Explore,
    /// What becomes of area.
    pub area: AreaRule,
}

/// A chip and the name that the experiment calls it by.
#[derive(Debug)]
pub struct BaseChip {
    /// The name or path, as it is written.
    pub name: String,
    /// The name, or the path from the working folder.
    pub path: String,
    /// The chip.
    pub chip: Chip,
}

/// A model and how it runs.
#[derive(Debug)]
pub struct Workload {
    /// The model's name or path, as it is written.
    pub model: String,
    /// The name, or the path from the working folder.
    pub path: String,
    /// The model.
    pub found: Found,
    /// SHA-256 of the files of its network and card, and of its data where it is scored.
    pub sha256: String,
    /// Samples that one program processes.
    pub batch: u64,
    /// Where weights are when a program starts.
    pub weights: WeightStart,
    /// Which samples run.
    pub samples: Samples,
}

/// Which samples of the report split run.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Samples {
    /// All.
    All,
    /// The first so many.
    First(usize),
    /// None: one batch is timed.
    TimingOnly,
}

/// A recipe of an experiment.
#[derive(Debug)]
pub struct NamedRecipe {
    /// Its name.
    pub name: String,
    /// The axes that it uses, by their places in the experiment.
    pub axes: Vec<usize>,
    /// The recipe for each combination of their values, in row-major order.
    pub variants: Vec<Recipe>,
    /// SHA-256 of the models that it loads.
    pub loads: Vec<String>,
    /// The models that it is for, by their names in the experiment; all, where there is nothing.
    pub models: Option<Vec<String>>,
    /// The chips that it is for; all, where there is nothing.
    pub chips: Option<Vec<String>>,
}

/// Which points of the space are looked at.
#[derive(Debug, Clone, PartialEq)]
pub enum Explore {
    /// All.
    Grid,
    /// So many, drawn at random.
    Random {
        /// Points.
        points: u64,
        /// The seed.
        seed: u64,
    },
    /// So many, each value of each axis as often as any other (`McKay`, Beckman, Conover, Technometrics 1979).
    LatinHypercube {
        /// Points.
        points: u64,
        /// The seed.
        seed: u64,
    },
    /// What a multi-objective search looks at (NSGA-II: Deb, Pratap, Agarwal, Meyarivan, IEEE Trans. Evol. Comp. 2002).
    Nsga2 {
        /// What is to be little.
        minimize: Vec<Goal>,
        /// Points of a generation.
        population: u64,
        /// Generations after the first.
        generations: u64,
        /// The seed.
        seed: u64,
    },
}

/// What a search makes little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Goal {
    /// The error on the select split.
    Error,
    /// Seconds of one batch.
    Latency,
    /// Energy of a sample.
    Energy,
    /// Area of the chip.
    Area,
}

/// What becomes of a chip's area along the axes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AreaRule {
    /// It is what the fields make it.
    Free,
    /// It stays what it is without the axes: what other parts save goes to the first scratchpad, and what they take comes from there.
    Iso,
}

impl Experiment {
    /// Reads an experiment's file, and the chips and models that it names.
    ///
    /// # Errors
    /// A file that cannot be read; or all that is wrong in it.
    pub fn load(path: &Path) -> Result<Self, ExperimentError> {
        let shown = path.display().to_string();
        let fault = |reason: String| ExperimentError::Unreadable { path: shown.clone(), reason };
        if !std::fs::metadata(path).map_err(|error| fault(error.to_string()))?.is_file() {
            return Err(fault("it is not a regular file".to_owned()));
        }
        let mut bytes = Vec::new();
        let file = File::open(path).map_err(|error| fault(error.to_string()))?;
        file.take(MAX_BYTES + 1).read_to_end(&mut bytes).map_err(|error| fault(error.to_string()))?;
        if bytes.len() as u64 > MAX_BYTES {
            return Err(fault(format!("it has more than {MAX_BYTES} bytes, the limit of an experiment")));
        }
        let text = String::from_utf8(bytes).map_err(|error| fault(format!("it is not UTF-8 text: {error}")))?;
        Self::parse(text, &shown)
    }

    /// Reads an experiment's text; `path` stands in messages.
    ///
    /// # Errors
    /// All that is wrong in it.
    pub fn parse(text: String, path: &str) -> Result<Self, ExperimentError> {
        schema::read(text, path)
    }

    /// Names of models that recipes load.
    pub fn loaded(&self) -> impl Iterator<Item = &str> {
        let steps = self.recipes.iter().flat_map(|recipe| recipe.variants.iter().flat_map(Recipe::pruning));
        steps.filter_map(|step| if let Step::Load(name) = step { Some(name.as_str()) } else { None })
    }
}
