//! The folder of a sweep, read back: points, provenance, what the experiment asked to be drawn, and what a point is beside others.
//!
//! `points.jsonl` is a line a point; a torn last line, of a sweep that was killed, is left out. Not here: how the log is written (`sweep`).

use super::point::{PointRow, PointStatus};
use super::requirement::Requirement;
use crate::report::ratio;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

/// The version of results that is written and read.
pub const RESULTS_VERSION: u32 = 1;

/// What made a sweep: `provenance.json`, written before the first point. Nothing in it depends on the host, the threads or the time.
#[derive(Debug, Clone, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct SweepProvenance {
    /// The version of the results' form: 1.
    pub results_version: u32,
    /// The tool's version.
    pub version: String,
    /// The command line, without where results go and how many jobs run.
    pub command: String,
    /// SHA-256 of the experiment's text, `experiment.ron` beside this.
    pub experiment_sha256: String,
    /// What the experiment asks.
    pub question: String,
    /// Points of the whole experiment.
    pub points: u64,
    /// Which of several shards these are, `2/4`; none where it is the whole.
    pub shard: Option<String>,
    /// Each model with SHA-256 of its files.
    pub models: Vec<(String, String)>,
    /// Each chip with SHA-256 of its resolved text.
    pub chips: Vec<(String, String)>,
    /// What points are held against.
    pub baseline: Option<SweepBaseline>,
    /// What a point must keep to be worth choosing, such as `accuracy >= 0.98`.
    pub require: Vec<String>,
    /// What the experiment wants drawn.
    pub plots: Vec<SweepPlot>,
}

/// The point, of each workload, seed and value of the chips' axes, that others are held against.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SweepBaseline {
    /// Its chip.
    pub chip: String,
    /// Its recipe.
    pub recipe: String,
}

/// A picture that an experiment asks for; `x`, `y`, `z`, `color` and `facet` are columns.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub enum SweepPlot {
    /// Points with their Pareto front, both axes to be little.
    Pareto {
        /// Along.
        x: String,
        /// Up.
        y: String,
        /// One picture a value.
        #[serde(default)]
        facet: Option<String>,
        /// One colour a value.
        #[serde(default)]
        color: Option<String>,
    },
    /// Points without a front.
    Scatter {
        /// Along.
        x: String,
        /// Up.
        y: String,
        /// One picture a value.
        #[serde(default)]
        facet: Option<String>,
        /// One colour a value.
        #[serde(default)]
        color: Option<String>,
    },
    /// A field for each pair of values.
    Heatmap {
        /// Along.
        x: String,
        /// Up.
        y: String,
        /// The colour.
        z: String,
        /// One picture a value.
        #[serde(default)]
        facet: Option<String>,
    },
}

impl SweepPlot {
    /// The columns that it goes by, and whether they are to hold numbers.
    pub fn columns(&self) -> Vec<(&str, bool)> {
        let columns = match self {
            Self::Pareto { x, y, facet, color } | Self::Scatter { x, y, facet, color } => {
                [(Some(x), true), (Some(y), true), (facet.as_ref(), false), (color.as_ref(), false)]
            }
            Self::Heatmap { x, y, z, facet } => [(Some(x), false), (Some(y), false), (Some(z), true), (facet.as_ref(), false)],
        };
        columns.into_iter().filter_map(|(name, needs_numbers)| Some((name?.as_str(), needs_numbers))).collect()
    }
}

/// What a point is beside others of its sweep.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Relative {
    /// The baseline's latency over the point's.
    pub speedup: Option<f64>,
    /// The baseline's energy a sample over the point's.
    pub energy_gain: Option<f64>,
    /// Whether it keeps all that the experiment requires.
    pub meets_requirements: bool,
    /// Whether no other point of its workload is better in one of select error and latency and no worse in the other.
    pub is_on_front: bool,
}

/// A sweep's results.
#[derive(Debug, Clone, PartialEq)]
pub struct SweepResults {
    /// What made them.
    pub provenance: SweepProvenance,
    /// The points, by their places in the experiment.
    pub points: Vec<PointRow>,
    /// What each of them is beside the others.
    pub relative: Vec<Relative>,
}

/// Why results cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum SweepReadError {
    /// A file is not there, or cannot be read.
    #[error("cannot read {}: {reason}\n  help: give a folder that `systole sweep` wrote", .path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
    },
    /// A file is not what a sweep writes.
    #[error("{} line {line}: this is no result of this version: {reason}\n  help: run the sweep again into an empty folder", .path.display())]
    Form {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// Results of another version.
    #[error("{} has version {found}, and {RESULTS_VERSION} is read\n  help: read it with the systole that wrote it ({version}), or run the sweep again into an empty folder", .path.display())]
    Version {
        /// The file.
        path: PathBuf,
        /// Its version.
        found: u64,
        /// The tool's version that wrote it.
        version: String,
    },
}

/// A point as a line of `points.jsonl`, its newline included.
///
/// # Panics
/// Never: plain data can be written.
pub fn point_line(point: &PointRow) -> String {
    let mut line = serde_json::to_string(point).expect("bug: a point that is not JSON; please report it");
    line.push('\n');
    line
}

impl SweepResults {
    /// Puts points beside one another.
    pub fn new(provenance: SweepProvenance, mut points: Vec<PointRow>) -> Self {
        points.sort_by_key(|point| point.point);
        let relative = vec![Relative::default(); points.len()];
        let mut results = Self { provenance, points, relative };
        results.compare();
        results
    }

    /// Reads a sweep's folder.
    ///
    /// # Errors
    /// Files that are not there, or are not what this version writes.
    pub fn load(folder: &Path) -> Result<Self, SweepReadError> {
        let path = folder.join("provenance.json");
        let read = |path: &Path| {
            fs::read_to_string(path).map_err(|error| SweepReadError::Read { path: path.to_owned(), reason: error.to_string() })
        };
        let provenance = Self::provenance_of(&read(&path)?, &path)?;
        let path = folder.join("points.jsonl");
        let points = Self::points_of(&read(&path)?, &path)?;
        Ok(Self::new(provenance, points))
    }

    /// Reads `provenance.json`.
    ///
    /// # Errors
    /// Text that is none, or of another version.
    pub fn provenance_of(text: &str, path: &Path) -> Result<SweepProvenance, SweepReadError> {
        let form =
            |error: &serde_json::Error| SweepReadError::Form { path: path.to_owned(), line: error.line(), reason: error.to_string() };
        let value: serde_json::Value = serde_json::from_str(text).map_err(|error| form(&error))?;
        let found = value.get("results_version").and_then(serde_json::Value::as_u64).unwrap_or(0);
        if found != u64::from(RESULTS_VERSION) {
            let version = value.get("version").and_then(serde_json::Value::as_str).unwrap_or("another one").to_owned();
            return Err(SweepReadError::Version { path: path.to_owned(), found, version });
        }
        serde_json::from_value(value).map_err(|error| form(&error))
    }

    /// Reads the lines of `points.jsonl`; a last line without its end is left out.
    ///
    /// # Errors
    /// A line that is no point.
    pub fn points_of(text: &str, path: &Path) -> Result<Vec<PointRow>, SweepReadError> {
        let whole = text.rfind('\n').map_or("", |end| &text[..end]);
        let lines = whole.lines().enumerate();
        lines
            .map(|(number, line)| {
                let fault = |reason: String| SweepReadError::Form { path: path.to_owned(), line: number + 1, reason };
                let point: PointRow = serde_json::from_str(line).map_err(|error| fault(error.to_string()))?;
                // An error inside a flattened option would pass for none.
                if (point.status == PointStatus::Done) == point.figures.is_some() {
                    Ok(point)
                } else {
                    Err(fault("its figures are not those of a point".to_owned()))
                }
            })
            .collect()
    }

    /// The places of the points that ran.
    pub fn done(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.points.len()).filter(|place| self.points[*place].figures.is_some())
    }

    fn compare(&mut self) {
        let baselines: Vec<usize> = (0..self.points.len()).filter(|place| self.is_baseline(*place)).collect();
        for place in 0..self.points.len() {
            let baseline = baselines.iter().copied().find(|baseline| self.is_held_to(place, *baseline));
            let of = |place: usize| self.points[place].figures.as_ref();
            let (Some(figures), baseline) = (of(place), baseline.and_then(of)) else { continue };
            self.relative[place] = Relative {
                speedup: baseline.map(|baseline| ratio(baseline.latency_s, figures.latency_s)),
                energy_gain: baseline.map(|baseline| ratio(baseline.energy_pj_per_sample, figures.energy_pj_per_sample)),
                meets_requirements: false,
                is_on_front: false,
            };
            self.relative[place].meets_requirements = self.violation(place) == 0.0;
        }
        for (place, is_on_front) in self.fronts().into_iter().enumerate() {
            self.relative[place].is_on_front = is_on_front;
        }
    }

    /// How far a point is from keeping all that the experiment requires, as shares of the bounds; 0 where it does, infinite where a figure is missing. Accuracy and
    /// error are those of the select split, since this chooses.
    pub fn violation(&self, place: usize) -> f64 {
        let one = |requirement: &Requirement| {
            let column = requirement.column.as_str();
            let select = || self.cell(place, "select_error_percent").number();
            let figure = match column {
                "accuracy" => select().map(|error| 1.0 - error / 100.0),
                "error_percent" => select(),
                _ => self.cell(place, column).number(),
            };
            figure.map_or(f64::INFINITY, |figure| requirement.violation(figure))
        };
        self.provenance.require.iter().filter_map(|text| Requirement::parse(text).ok()).map(|requirement| one(&requirement)).sum()
    }

    /// The point that a point is held against: the baseline's chip and recipe, the same workload, seed and values of the axes that both have.
    pub fn baseline_of(&self, place: usize) -> Option<usize> {
        (0..self.points.len()).find(|other| self.is_baseline(*other) && self.is_held_to(place, *other))
    }

    /// Whether a point has the baseline's chip and recipe.
    fn is_baseline(&self, place: usize) -> bool {
        let point = &self.points[place];
        self.provenance.baseline.as_ref().is_some_and(|baseline| (&point.chip, &point.recipe) == (&baseline.chip, &baseline.recipe))
    }

    /// Whether a point's baseline is this one, which has the baseline's chip and recipe.
    pub(super) fn is_held_to(&self, place: usize, baseline: usize) -> bool {
        let (point, other) = (&self.points[place], &self.points[baseline]);
        (&other.model, other.batch, other.weights, other.seed) == (&point.model, point.batch, point.weights, point.seed)
            && other.axes.iter().all(|(path, value)| point.axes.get(path).is_none_or(|own| own == value))
    }

    /// Which points are on the front of their workload, of those that keep what is required: no other one is better in select error or latency and no worse in the other. Without accuracies, in
    /// energy or latency.
    fn fronts(&self) -> Vec<bool> {
        // Model, batch and where weights begin; latency, the other cost, and the point.
        type Workload<'w> = (&'w str, u64, &'w str);
        let mut workloads: BTreeMap<Workload<'_>, Vec<(f64, f64, usize)>> = BTreeMap::new();
        for (place, point) in self.points.iter().enumerate() {
            let Some(figures) = point.figures.as_ref().filter(|_| self.relative[place].meets_requirements) else { continue };
            let other = figures.select_error_percent.unwrap_or(figures.energy_pj_per_sample);
            workloads.entry((&point.model, point.batch, point.weights.name())).or_default().push((figures.latency_s, other, place));
        }
        let mut is_on_front = vec![false; self.points.len()];
        for mut costs in workloads.into_values() {
            costs.sort_by(|one, other| one.0.total_cmp(&other.0).then(one.1.total_cmp(&other.1)));
            // The best of the second cost among all that are faster, and among all that are as fast.
            let (mut best, mut of_equal, mut latency) = (f64::INFINITY, f64::INFINITY, f64::NEG_INFINITY);
            for (time, cost, place) in costs {
                if time > latency {
                    (best, of_equal, latency) = (best.min(of_equal), cost, time);
                }
                is_on_front[place] = cost < best && cost <= of_equal;
            }
        }
        is_on_front
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_torn_line_is_left_out_and_a_wrong_one_is_said() {
        let place = Path::new("points.jsonl");
        assert_eq!(SweepResults::points_of("{\"point\": 0", place).unwrap(), Vec::new());
        let error = SweepResults::points_of("{}\n", place).unwrap_err().to_string();
        assert!(error.contains("points.jsonl line 1") && error.contains("help:"), "{error}");
    }
}
