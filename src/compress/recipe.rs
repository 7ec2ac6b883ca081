//! Recipes: what is done to a network before it runs, step by step, as RON says it or a short form on the command line.
//!
//! Not here: how a step is done (`apply`).

use super::{CompressError, Scheme};
use crate::numerics::Dtype;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;
use wildmatch::WildMatch;

/// The version of the recipes that are read.
const FORMAT_VERSION: u32 = 1;

/// The largest recipe that is read, in bytes.
const MAX_RECIPE: u64 = 1 << 20;

/// An ordered list of steps that ends with quantization.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recipe {
    format_version: u32,
    steps: Vec<Step>,
}

/// One step. Layers are named by patterns, in which `*` stands for any characters and `?` for one; without any, all layers are meant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Step {
    /// `|w| < alpha * mean(|W|)` becomes 0. (The source article writes `mean(W)`; weights of both signs have a mean near 0, so the mean of
    /// magnitudes is meant.)
    MeanThreshold {
        /// The factor, 0 or more.
        alpha: f64,
        /// Whether a layer has a mean of its own, or all have one.
        #[serde(default)]
        scope: Scope,
        /// Patterns of layers' names.
        #[serde(default)]
        layers: Patterns,
    },
    /// The smallest weights become 0: `floor(sparsity * weights)` of them.
    Magnitude {
        /// The share, 0 to 1, 1 excluded.
        sparsity: f64,
        /// Whether each layer loses this share, or all together.
        #[serde(default)]
        scope: Scope,
        /// Patterns of layers' names.
        #[serde(default)]
        layers: Patterns,
    },
    /// Of each `m` weights along K, in the chip's order, only the `n` largest are kept.
    NM {
        /// Weights kept.
        n: usize,
        /// Of this many.
        m: usize,
        /// Patterns of layers' names.
        #[serde(default)]
        layers: Patterns,
    },
    /// Blocks of K x N with the least L2 norms become 0: `floor(sparsity * blocks)` of a layer's.
    Block {
        /// The blocks' size.
        shape: BlockShape,
        /// The share, 0 to 1, 1 excluded.
        sparsity: f64,
        /// Patterns of layers' names.
        #[serde(default)]
        layers: Patterns,
    },
    /// Output channels with the least norms go, with all that reads them: `floor(fraction * channels)` of a layer's.
    Channel {
        /// The share, 0 to 1, 1 excluded.
        fraction: f64,
        /// The norm.
        #[serde(default)]
        by: Norm,
        /// Patterns of layers' names.
        #[serde(default)]
        layers: Patterns,
    },
    /// The same, judged by activations on the calibration data. (The article's "feature mapping" may mean this, or [`Step::LowRank`].)
    FeatureMap {
        /// The share, 0 to 1, 1 excluded.
        fraction: f64,
        /// What makes a channel worth little.
        #[serde(default)]
        by: Activity,
        /// Patterns of layers' names.
        #[serde(default)]
        layers: Patterns,
    },
    /// A layer becomes two cheaper ones with a narrow value between them, by singular values; layers that would not become cheaper stay.
    LowRank {
        /// How narrow.
        keep: Keep,
        /// Patterns of layers' names.
        #[serde(default)]
        layers: Patterns,
    },
    /// Integers of so many bits. The last step; w8a8 where there is none.
    Quantize {
        /// Bits of weights.
        w: u32,
        /// Bits of activations.
        a: u32,
    },
}

/// Over what a step counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Scope {
    /// Each layer by itself.
    #[default]
    Layer,
    /// All layers that the step names, together.
    Global,
}

/// The size of a block of weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum BlockShape {
    /// A tile of the chip's array.
    Array,
    /// Rows of K and columns of channels.
    Sized {
        /// Rows.
        rows: usize,
        /// Columns.
        cols: usize,
    },
}

/// A norm of a channel's weights.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Norm {
    /// The sum of magnitudes.
    #[default]
    L1,
    /// The root of the sum of squares.
    L2,
}

/// How much a channel does, on the calibration data.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Activity {
    /// The mean magnitude: the least goes.
    #[default]
    ActivationMean,
    /// The share of zeros: the greatest goes.
    ZeroFraction,
}

/// How much of a layer a product of two keeps.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Keep {
    /// So many singular values.
    Rank(usize),
    /// The fewest whose squares are this share of all, above 0 to 1.
    Energy(f64),
}

/// Patterns of names; none stands for all.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Patterns(pub Vec<String>);

impl Patterns {
    /// Whether a name is one of those that are meant.
    pub fn names(&self, name: &str) -> bool {
        self.0.is_empty() || self.0.iter().any(|pattern| WildMatch::new(pattern).matches(name))
    }
}

/// A recipe as it is written.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename = "Recipe")]
struct RecipeFile {
    format_version: u32,
    steps: Vec<Step>,
}

impl Recipe {
    /// A recipe of these steps.
    ///
    /// # Errors
    /// A step whose numbers are out of range, that has no pattern that could match, or that stands behind quantization.
    pub fn new(steps: Vec<Step>) -> Result<Self, CompressError> {
        for (number, step) in steps.iter().enumerate() {
            step.check()?;
            if matches!(step, Step::Quantize { .. }) && number + 1 < steps.len() {
                let problem = format!("stands before {}", steps[number + 1]);
                return Err(step.fault(problem, "quantize last, and once: what is pruned later would not be what ran"));
            }
        }
        Ok(Self { format_version: FORMAT_VERSION, steps })
    }

    /// Nothing but quantization.
    pub fn quantized(scheme: Scheme) -> Self {
        let step = Step::Quantize { w: scheme.weight.bits(), a: scheme.activation.bits() };
        Self { format_version: FORMAT_VERSION, steps: vec![step] }
    }

    /// Reads a recipe's RON; `path` stands in messages.
    ///
    /// # Errors
    /// Text that is no recipe, with its place, and as [`Self::new`].
    pub fn parse(text: &str, path: &str) -> Result<Self, CompressError> {
        let file: RecipeFile = ron::from_str(text).map_err(|error| {
            let ron::error::Position { line, col } = error.span.start;
            CompressError::RecipeText { path: path.to_string(), line, column: col, problem: error.code.to_string() }
        })?;
        if file.format_version != FORMAT_VERSION {
            let problem = format!("format_version is {}, and {FORMAT_VERSION} is known", file.format_version);
            return Err(CompressError::RecipeText { path: path.to_string(), line: 1, column: 1, problem });
        }
        Self::new(file.steps)
    }

    /// Reads a recipe file.
    ///
    /// # Errors
    /// A file that cannot be read, and as [`Self::parse`].
    pub fn load(path: &Path) -> Result<Self, CompressError> {
        use std::io::Read;
        let place = path.display().to_string();
        let fault = |problem: String| CompressError::RecipeRead { path: place.clone(), problem };
        if std::fs::metadata(path).is_ok_and(|found| !found.is_file()) {
            return Err(fault("it is not a regular file".to_string()));
        }
        let mut text = Vec::new();
        let read = std::fs::File::open(path).and_then(|file| file.take(MAX_RECIPE + 1).read_to_end(&mut text));
        read.map_err(|error| fault(error.to_string()))?;
        if text.len() as u64 > MAX_RECIPE {
            return Err(fault(format!("it has more than {MAX_RECIPE} bytes, the limit of a recipe")));
        }
        let text = String::from_utf8(text).map_err(|error| fault(format!("it is not UTF-8 text: {error}")))?;
        Self::parse(&text, &place)
    }

    /// Steps before quantization.
    pub fn pruning(&self) -> &[Step] {
        match self.steps.split_last() {
            Some((Step::Quantize { .. }, before)) => before,
            _ => &self.steps,
        }
    }

    /// The formats that the last step quantizes to, if it quantizes.
    pub fn quantization(&self) -> Option<Scheme> {
        match self.steps.last() {
            Some(Step::Quantize { w, a }) => Scheme::of_bits(*w, *a).ok(),
            _ => None,
        }
    }

    /// The formats that the network runs in: w8a8 where no step says.
    pub fn scheme(&self) -> Scheme {
        self.quantization().unwrap_or(Scheme { weight: Dtype::Int8, activation: Dtype::Int8 })
    }

    /// The recipe with its formats written out.
    #[must_use]
    pub fn with_scheme(&self, scheme: Scheme) -> Self {
        let steps = self.pruning().iter().cloned().chain(Self::quantized(scheme).steps).collect();
        Self { format_version: FORMAT_VERSION, steps }
    }

    /// The recipe as RON, which [`Self::parse`] reads back.
    ///
    /// # Panics
    /// Never: a recipe is plain data.
    pub fn to_ron(&self) -> String {
        let config = ron::ser::PrettyConfig::new().struct_names(true).depth_limit(2);
        ron::ser::to_string_pretty(&self.with_scheme(self.scheme()), config).expect("bug: a recipe is plain data") + "\n"
    }
}

impl fmt::Display for Recipe {
    /// Short forms, joined by `+`: `mean:0.5,global+w8a8`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for step in self.pruning() {
            write!(f, "{step}+")?;
        }
        write!(f, "{}", self.scheme())
    }
}

impl Step {
    /// A fault in this step.
    pub(super) fn fault(&self, problem: impl Into<String>, help: &'static str) -> CompressError {
        CompressError::Step { step: self.to_string(), problem: problem.into(), help }
    }

    /// The patterns of the layers that it is for.
    pub fn layers(&self) -> Option<&Patterns> {
        match self {
            Self::MeanThreshold { layers, .. }
            | Self::Magnitude { layers, .. }
            | Self::NM { layers, .. }
            | Self::Block { layers, .. }
            | Self::Channel { layers, .. }
            | Self::FeatureMap { layers, .. }
            | Self::LowRank { layers, .. } => Some(layers),
            Self::Quantize { .. } => None,
        }
    }

    fn check(&self) -> Result<(), CompressError> {
        let share = |what: &str, value: f64| {
            let fault = |help| Err(self.fault(format!("{what} is {value}"), help));
            match value {
                1.0 => fault("a layer would be pruned to nothing; choose less than 1"),
                _ if (0.0..1.0).contains(&value) => Ok(()),
                _ => fault("it is a share: 0 or more, and less than 1"),
            }
        };
        match self {
            Self::MeanThreshold { alpha, .. } if !(alpha.is_finite() && *alpha >= 0.0) => {
                Err(self.fault(format!("alpha is {alpha}"), "it is a finite number, 0 or more"))
            }
            Self::NM { n: 0, .. } => Err(self.fault("n is 0", "a layer would be pruned to nothing; keep 1 weight or more")),
            Self::NM { n, m, .. } if n > m => {
                Err(self.fault(format!("n is {n} and m is {m}"), "n weights of each m are kept; n is at most m"))
            }
            Self::Block { shape: BlockShape::Sized { rows, cols }, .. } if *rows == 0 || *cols == 0 => {
                Err(self.fault(format!("a block is {rows} x {cols}"), "a block has a row and a column at least"))
            }
            Self::Magnitude { sparsity, .. } | Self::Block { sparsity, .. } => share("sparsity", *sparsity),
            Self::Channel { fraction, .. } | Self::FeatureMap { fraction, .. } => share("fraction", *fraction),
            Self::LowRank { keep: Keep::Rank(0), .. } => {
                Err(self.fault("the rank is 0", "a layer would be nothing; keep a rank of 1 or more"))
            }
            Self::LowRank { keep: Keep::Energy(energy), .. } if !(*energy > 0.0 && *energy <= 1.0) => {
                Err(self.fault(format!("energy is {energy}"), "it is a share: above 0, and at most 1"))
            }
            Self::MeanThreshold { .. } | Self::NM { .. } | Self::LowRank { .. } => Ok(()),
            Self::Quantize { w, a } => Scheme::of_bits(*w, *a).map(|_| ()),
        }
    }
}
