//! Recipes: what is done to a network before it runs, step by step, as RON says it or a short form on the command line.
//!
//! Not here: how a step is done (`apply`).

use super::error::shown;
use super::formats::LayerFormats;
use super::histogram::Calibration;
use super::matrix::has_weights;
use super::mixed::{self, Bits, Goal, Limit};
use super::{CompressError, Granularity, Scheme, Symmetry};
use crate::network::Network;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;
use wildmatch::WildMatch;

/// The version of the recipes that are read.
const FORMAT_VERSION: u32 = 1;

/// The largest recipe that is read, in bytes.
const MAX_RECIPE: u64 = 1 << 20;

/// The most steps of a recipe: each goes through the whole network.
const MAX_STEPS: usize = 1000;

/// An ordered list of steps, of which the last ones quantize.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Recipe {
    format_version: u32,
    steps: Vec<Step>,
}

/// One step. Layers are named by patterns, in which `*` stands for any characters and `?` for one; without any, all layers are meant.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum Step {
    /// Another model's network takes the place of this one: the first step, if any. It takes the same numbers and yields as many; what it holds in
    /// integers stays so.
    Load(
        /// A model card (`.ron`), an ONNX file, or the name of a card.
        String,
    ),
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
    /// Layers that a relu joins share their ranges channel by channel; the float network stays what it is (cross-layer equalization).
    Equalize {
        /// Patterns of the names of layers that are read.
        #[serde(default)]
        layers: Patterns,
    },
    /// The weights are trained on the train split, what is zero staying zero: with Adam, batches of 64, a learning rate that falls along a cosine, the
    /// run's seed. Through the formats that the recipe says, rounded in every step; then it is the last step before them.
    FineTune {
        /// Passes over the train split.
        epochs: usize,
        /// The learning rate to begin with.
        lr: f64,
        /// Whether formats are left out, and the network stays float.
        #[serde(default, skip_serializing_if = "is_default")]
        float: bool,
        /// Images are shifted by up to so many pixels at random.
        #[serde(default, skip_serializing_if = "is_default")]
        shift: usize,
        /// The share of all weights that is pruned by magnitude meanwhile, more and more.
        #[serde(default, skip_serializing_if = "is_default")]
        sparsity: Option<f64>,
    },
    /// Integers of so many bits, 1 being binary. The last steps, a later one in the place of an earlier one for the layers that it names; w8a8 for
    /// those that none names.
    Quantize {
        /// Bits of weights.
        w: u32,
        /// Bits of the values that layers read.
        a: u32,
        /// What shares a scale of weights.
        #[serde(default, skip_serializing_if = "is_default")]
        weights: Granularity,
        /// Whether values have zero points.
        #[serde(default, skip_serializing_if = "is_default")]
        activations: Symmetry,
        /// How the ranges of values are found.
        #[serde(default, skip_serializing_if = "is_default")]
        calibration: Calibration,
        /// Whether biases take back what quantization does to the mean of each channel.
        #[serde(default, skip_serializing_if = "is_default")]
        bias_correction: bool,
        /// Whether weights, narrower than the values that they meet, lie in DRAM as they are and are multiplied in the format of the values
        /// (weight-only quantization), though the chip may multiply the pair.
        #[serde(default, skip_serializing_if = "is_default")]
        wide: bool,
        /// Patterns of layers' names; calibration and bias correction are for all layers, and stand in the step that names none.
        #[serde(default, skip_serializing_if = "is_default")]
        layers: Patterns,
    },
    /// The last step of all: each layer gets the one of some formats that is best for an objective under a constraint, by what each loses on the
    /// select split and what it gains on the chip. What was chosen takes its place, as `Quantize` steps.
    MixedPrecision {
        /// Formats to choose from; the first is where the search begins.
        bits: Vec<Bits>,
        /// What is to be little.
        objective: Goal,
        /// What may not be more.
        constraint: Limit,
        /// Patterns of layers' names; others have the formats of the steps before.
        #[serde(default, skip_serializing_if = "is_default")]
        layers: Patterns,
    },
}

/// What is as it is where nothing is said is not written.
fn is_default<T: Default + PartialEq>(value: &T) -> bool {
    *value == T::default()
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
    /// More than 1000 steps, a step whose numbers are out of range, that has no pattern that could match, or that stands behind quantization.
    pub fn new(steps: Vec<Step>) -> Result<Self, CompressError> {
        if steps.len() > MAX_STEPS {
            return Err(CompressError::Steps { count: steps.len(), limit: MAX_STEPS });
        }
        for (number, step) in steps.iter().enumerate() {
            step.check()?;
            if let (Step::Load(_), Some(before)) = (step, number.checked_sub(1)) {
                let problem = format!("stands behind {}", steps[before]);
                return Err(step.fault(problem, "load first: what was done to the network before would be lost"));
            }
            let next = steps.get(number + 1).filter(|_| step.quantizes());
            if let (Step::MixedPrecision { .. }, Some(next)) = (step, next) {
                return Err(step.fault(format!("stands before {next}"), "search last: what is said later would not be what was measured"));
            }
            if let Some(next) = next.filter(|next| !next.quantizes()) {
                let problem = format!("stands before {next}");
                return Err(step.fault(problem, "quantize last: what is pruned later would not be what ran"));
            }
        }
        Ok(Self { format_version: FORMAT_VERSION, steps })
    }

    /// Nothing but quantization.
    pub fn quantized(scheme: Scheme) -> Self {
        Self { format_version: FORMAT_VERSION, steps: vec![Step::quantize(scheme, Patterns::default())] }
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
        &self.steps[..self.first_quantization()]
    }

    /// The steps that say formats, which are the last ones; none where none does.
    pub fn quantization(&self) -> &[Step] {
        &self.steps[self.first_quantization()..]
    }

    fn first_quantization(&self) -> usize {
        self.steps.iter().position(Step::quantizes).unwrap_or(self.steps.len())
    }

    /// The formats of layers in general: those of the last step that names none, w8a8 where there is no such step.
    pub fn scheme(&self) -> Scheme {
        for_all(self.quantization()).and_then(Step::formats).map_or(Scheme::EIGHT_BITS, |(formats, _)| formats.scheme)
    }

    /// Whether weights of layers in general are multiplied in the format of values.
    pub fn is_wide(&self) -> bool {
        matches!(for_all(self.quantization()), Some(Step::Quantize { wide: true, .. }))
    }

    /// Whether biases are corrected: as the last step for all layers says.
    pub fn corrects_biases(&self) -> bool {
        matches!(for_all(self.quantization()), Some(Step::Quantize { bias_correction: true, .. }))
    }

    /// The recipe with its formats written out.
    #[must_use]
    pub fn with_formats(&self) -> Self {
        if self.quantization().is_empty() { self.quantized_by(&Self::quantized(Scheme::EIGHT_BITS)) } else { self.clone() }
    }

    /// Its quantization alone, for a network that some of its other steps were not done to: patterns that name none of its layers are left out.
    #[must_use]
    pub fn quantization_of(&self, network: &Network) -> Self {
        let is_there =
            |pattern: &String| network.layers().any(|layer| has_weights(layer) && Patterns(vec![pattern.clone()]).names(&layer.name));
        let steps = self.quantization().iter().filter_map(|step| {
            let mut step = step.clone();
            if let Step::Quantize { layers, .. } | Step::MixedPrecision { layers, .. } = &mut step
                && !layers.0.is_empty()
            {
                layers.0.retain(is_there);
                if layers.0.is_empty() {
                    return None;
                }
            }
            Some(step)
        });
        Self { format_version: FORMAT_VERSION, steps: steps.collect() }.with_formats()
    }

    /// The recipe with the formats of another one.
    #[must_use]
    pub fn quantized_by(&self, other: &Self) -> Self {
        let steps = self.pruning().iter().chain(other.quantization()).cloned().collect();
        Self { format_version: FORMAT_VERSION, steps }
    }

    /// The recipe as RON, which [`Self::parse`] reads back.
    ///
    /// # Panics
    /// Never: a recipe is plain data.
    pub fn to_ron(&self) -> String {
        let config = ron::ser::PrettyConfig::new().struct_names(true).depth_limit(2);
        ron::ser::to_string_pretty(&self, config).expect("bug: a recipe is plain data") + "\n"
    }
}

/// Of steps that quantize, the last that names no layers: what holds for a network at large.
pub(super) fn for_all(steps: &[Step]) -> Option<&Step> {
    steps.iter().rev().find(|step| matches!(step, Step::Quantize { layers, .. } if layers.0.is_empty()))
}

impl fmt::Display for Recipe {
    /// Short forms, joined by `+`: `mean:0.5,global+w8a8`; `as-imported` where nothing is done.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.steps.is_empty() {
            return f.write_str("as-imported");
        }
        for (number, step) in self.steps.iter().enumerate() {
            write!(f, "{}{step}", if number == 0 { "" } else { "+" })?;
        }
        Ok(())
    }
}

impl Step {
    /// A fault in this step.
    pub(super) fn fault(&self, problem: impl Into<String>, help: &'static str) -> CompressError {
        CompressError::Step { step: shown(&self.to_string()), problem: problem.into(), help }
    }

    /// The patterns of the layers that it is for.
    pub fn layers(&self) -> Option<&Patterns> {
        match self {
            Self::Load(_) | Self::FineTune { .. } => None,
            Self::MeanThreshold { layers, .. }
            | Self::Magnitude { layers, .. }
            | Self::NM { layers, .. }
            | Self::Block { layers, .. }
            | Self::Channel { layers, .. }
            | Self::FeatureMap { layers, .. }
            | Self::LowRank { layers, .. }
            | Self::Equalize { layers }
            | Self::Quantize { layers, .. }
            | Self::MixedPrecision { layers, .. } => Some(layers),
        }
    }

    /// Whether it makes weights zero and leaves them where they are.
    pub(super) fn makes_zeros(&self) -> bool {
        matches!(self, Self::MeanThreshold { .. } | Self::Magnitude { .. } | Self::NM { .. } | Self::Block { .. })
    }

    /// Whether it says formats, or looks for them.
    pub(super) fn quantizes(&self) -> bool {
        matches!(self, Self::Quantize { .. } | Self::MixedPrecision { .. })
    }

    /// A step that quantizes layers so.
    pub fn quantize(scheme: Scheme, layers: Patterns) -> Self {
        let (w, a) = (scheme.weight.bits(), scheme.activation.bits());
        Self::Quantize {
            w,
            a,
            weights: Granularity::default(),
            activations: Symmetry::default(),
            calibration: Calibration::default(),
            bias_correction: false,
            wide: false,
            layers,
        }
    }

    /// The formats that it says, and of which layers.
    pub(super) fn formats(&self) -> Option<(LayerFormats, &Patterns)> {
        let Self::Quantize { w, a, weights, activations, wide, layers, .. } = self else { return None };
        let scheme = Scheme::of_bits(*w, *a).ok()?;
        Some((LayerFormats { scheme, weights: *weights, activations: *activations, is_wide: *wide }, layers))
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
            Self::Load(name) if name.is_empty() => Err(self.fault("it has no name", "name a model, such as load:simplenet-mnist-w4a4")),
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
            Self::FineTune { epochs: 0, .. } => Err(self.fault("it has no epochs", "train for 1 epoch or more, or leave it out")),
            Self::FineTune { lr, .. } if !(lr.is_finite() && *lr > 0.0) => {
                Err(self.fault(format!("the learning rate is {lr}"), "it is a finite number above 0, such as 0.001"))
            }
            Self::Magnitude { sparsity, .. } | Self::Block { sparsity, .. } | Self::FineTune { sparsity: Some(sparsity), .. } => {
                share("sparsity", *sparsity)
            }
            Self::Channel { fraction, .. } | Self::FeatureMap { fraction, .. } => share("fraction", *fraction),
            Self::LowRank { keep: Keep::Rank(0), .. } => {
                Err(self.fault("the rank is 0", "a layer would be nothing; keep a rank of 1 or more"))
            }
            Self::LowRank { keep: Keep::Energy(energy), .. } if !(*energy > 0.0 && *energy <= 1.0) => {
                Err(self.fault(format!("energy is {energy}"), "it is a share: above 0, and at most 1"))
            }
            Self::Quantize { calibration: Calibration::Percentile(percent), .. } if !(*percent > 0.0 && *percent <= 100.0) => {
                Err(self.fault(format!("the percentile is {percent}"), "it is a share in percent: above 0, and at most 100"))
            }
            Self::Quantize { calibration, bias_correction, layers, .. }
                if !layers.0.is_empty() && (*calibration != Calibration::MinMax || *bias_correction) =>
            {
                let help = "say it in the step that names no layers: values that layers share have one range, and biases one correction";
                Err(self.fault("calibration and bias correction are for all layers, and it names some", help))
            }
            Self::MixedPrecision { bits, objective, constraint, .. } => {
                if let Some((problem, help)) = mixed::fault(bits, *objective, *constraint) {
                    return Err(self.fault(problem, help));
                }
                bits.iter().try_for_each(|bits| bits.step(Patterns::default())?.check())
            }
            Self::FineTune { .. }
            | Self::Load(_)
            | Self::MeanThreshold { .. }
            | Self::NM { .. }
            | Self::LowRank { .. }
            | Self::Equalize { .. } => Ok(()),
            Self::Quantize { w, a, wide: true, .. } if w >= a || *w == 1 => {
                let problem = format!("weights of {w} bits are to be multiplied in the {a} bits of activations");
                Err(self.fault(problem, "wide is for weights of 2, 4 or 8 bits that meet activations of more, such as w4a8,wide"))
            }
            Self::Quantize { w, a, .. } => Scheme::of_bits(*w, *a).map(|_| ()),
        }
    }
}
