//! What a card says, once it is checked: preprocessing, task, and which samples serve which purpose.

use crate::data::{FileHash, Metric, Source, Task, Truth, Values};
use ndarray::Array2;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::ops::Range;

/// A purpose that samples serve. Training sees `Train` alone, and nothing that chooses looks at `Report`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Split {
    /// Weights are fitted to these.
    Train,
    /// Ranges of activations are measured on these; part of `Train`.
    Calibrate,
    /// Whatever chooses (mixed precision, search, a Pareto front) is judged on these.
    Select,
    /// Figures that are reported come from these, and nothing else looks at them.
    Report,
}

impl Split {
    /// Every split, in the order of a card.
    pub const ALL: [Self; 4] = [Self::Train, Self::Calibrate, Self::Select, Self::Report];

    /// The split's name in cards and reports.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Train => "train",
            Self::Calibrate => "calibrate",
            Self::Select => "select",
            Self::Report => "report",
        }
    }
}

impl fmt::Display for Split {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// The samples of a split: some of a data set. Not read yet.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SplitData {
    /// Where the data set lies.
    pub source: Source,
    /// Which of its samples; `None` is all.
    pub range: Option<Range<usize>>,
}

/// What is done to the numbers of a sample before the network sees them: `x = (scaled(stored) - mean) / std`, in `f32`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preprocessing {
    /// The first step.
    pub scale: Scale,
    /// What is subtracted then.
    pub mean: f32,
    /// What is divided by at last.
    pub std: f32,
    /// How a sample's numbers fill the network's input.
    pub layout: Layout,
}

/// A factor; a division stands apart, since the numbers differ in the last bit.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum Scale {
    /// `stored * factor`.
    Times(f32),
    /// `stored / divisor`.
    OneOver(f32),
}

/// How a sample's numbers fill the network's input.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Layout {
    /// In row-major order, whatever the shape of the sample: the number of elements alone must agree.
    Flatten,
}

impl Preprocessing {
    /// Numbers as they are stored.
    pub const NONE: Self = Self { scale: Scale::Times(1.0), mean: 0.0, std: 1.0, layout: Layout::Flatten };

    /// One number, as the network sees it.
    pub fn apply(&self, stored: f32) -> f32 {
        let scaled = match self.scale {
            Scale::Times(factor) => stored * factor,
            Scale::OneOver(divisor) => stored / divisor,
        };
        (scaled - self.mean) / self.std
    }

    /// What makes of a number that was prepared as `other` says the one that this yields: a factor, and what is added then.
    pub fn after(&self, other: &Self) -> [f32; 2] {
        if self == other {
            return [1.0, 0.0];
        }
        let factor = |of: &Self| match of.scale {
            Scale::Times(factor) => f64::from(factor),
            Scale::OneOver(divisor) => 1.0 / f64::from(divisor),
        };
        // x = (stored f - m) / s, so that stored = (x s + m) / f.
        let ratio = factor(self) / factor(other);
        let scale = ratio * f64::from(other.std) / f64::from(self.std);
        let offset = (ratio * f64::from(other.mean) - f64::from(self.mean)) / f64::from(self.std);
        #[expect(clippy::cast_possible_truncation, reason = "samples are f32")]
        let both = [scale as f32, offset as f32];
        both
    }

    /// All samples: n x the elements of one, in row-major order.
    pub(super) fn apply_all(&self, samples: &Values) -> Array2<f32> {
        let rows = samples.shape()[0];
        let elements = samples.shape()[1..].iter().product();
        let values: Vec<f32> = match samples {
            Values::U8(values) => {
                let table: Vec<f32> = (0..=u8::MAX).map(|stored| self.apply(f32::from(stored))).collect();
                values.iter().map(|stored| table[usize::from(*stored)]).collect()
            }
            Values::F32(values) => values.iter().map(|stored| self.apply(*stored)).collect(),
        };
        Array2::from_shape_vec((rows, elements), values).expect("bug: as many values as samples have elements")
    }
}

/// What training knew of the compression that a model runs with, the least first.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
pub enum Training {
    /// Nothing: whatever is pruned or quantized is so after training.
    #[default]
    Plain,
    /// What is pruned away: the other weights were trained once more.
    FineTuned,
    /// The formats too, whose rounding was trained through.
    QuantizationAware,
}

impl Training {
    /// Whether it knew nothing.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    pub(super) const fn is_plain(&self) -> bool {
        matches!(self, Self::Plain)
    }

    /// The word for it in tables: `ptq`, `finetuned` or `qat`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Plain => "ptq",
            Self::FineTuned => "finetuned",
            Self::QuantizationAware => "qat",
        }
    }
}

/// What is known of a model besides its network.
#[derive(Debug, Clone, PartialEq)]
pub struct Card {
    /// The model's name.
    pub name: String,
    /// Where the model comes from.
    pub source: String,
    /// What a reader of its figures must know.
    pub notes: Vec<String>,
    /// What training knew of the model's compression.
    pub training: Training,
    /// What is done to samples.
    pub preprocessing: Preprocessing,
    /// What the network is asked to do.
    pub task: Task,
    /// How it is judged.
    pub metrics: Vec<Metric>,
    /// The classes' names, in the order of the outputs; empty where there are none.
    pub labels: Vec<String>,
}

/// Samples of a split, as the network sees them.
#[derive(Debug, Clone, PartialEq)]
pub struct Samples {
    /// One row a sample: n x the elements of the network's input, in row-major order.
    pub inputs: Array2<f32>,
    /// One label a sample; none where the task names no classes.
    pub labels: Vec<u32>,
    /// The numbers that are wanted, samples x outputs; none where the task names classes.
    pub targets: Option<Array2<f32>>,
    /// The files that they were read from.
    pub files: Vec<FileHash>,
}

impl Samples {
    /// How many there are.
    pub fn count(&self) -> usize {
        self.inputs.nrows()
    }

    /// What a network is judged by.
    pub fn truth(&self) -> Truth<'_> {
        self.targets.as_ref().map_or(Truth::Labels(&self.labels), |targets| Truth::Numbers(targets.view()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_preparation_follows_from_another() {
        let of = |scale, mean, std| Preprocessing { scale, mean, std, layout: Layout::Flatten };
        let all = [
            of(Scale::OneOver(255.0), 0.0, 1.0),
            of(Scale::Times(1.0), 127.5, 64.0),
            of(Scale::Times(0.25), -3.0, 0.5),
            Preprocessing::NONE,
        ];
        for (one, other) in all.iter().flat_map(|one| all.iter().map(move |other| (one, other))) {
            let [factor, offset] = one.after(other);
            for stored in [0.0, 3.0, 77.0, 255.0] {
                let (wanted, found) = (one.apply(stored), other.apply(stored) * factor + offset);
                assert!((wanted - found).abs() <= 1e-4 * wanted.abs().max(1.0), "{one:?} after {other:?}: {wanted} and {found}");
            }
        }
        assert_eq!(all[0].after(&all[0]).map(f32::to_bits), [1.0_f32, 0.0].map(f32::to_bits));
    }
}
