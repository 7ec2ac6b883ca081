//! Columns of results: whether there is one, whether it has numbers, and which way is better.

use super::FindingsError;
use crate::report::{Cell, SweepResults, WeightsAt};

/// How alike a name must be to be offered (Jaro and Winkler, 0 to 1), and how many are.
const ALIKE: f64 = 0.75;
const OFFERED: usize = 4;
/// A longer name is not compared.
const LONGEST: usize = 64;

/// Which way a figure is better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Better {
    /// Less is better.
    Less,
    /// More is better.
    More,
}

/// Which way a column is better: less, but for what counts what is good.
pub fn better(column: &str) -> Better {
    let more = [
        "accuracy",
        "accuracy_low",
        "accuracy_high",
        "float_accuracy",
        "compressed_float_accuracy",
        "throughput_per_s",
        "speedup",
        "energy_gain",
        "utilization",
        "peak_tops",
    ];
    if more.contains(&column) { Better::More } else { Better::Less }
}

/// Whether a column counts cycles, which compare only at one clock and over one kind of DRAM.
pub fn is_of_cycles(column: &str) -> bool {
    column.contains("cycles") && !column.contains("bytes_per_cycle")
}

/// Whether a column is an energy.
pub fn is_energy(column: &str) -> bool {
    column.starts_with("energy_pj")
}

/// What runs: points of different workloads do not compare.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Workload {
    /// The model.
    pub model: String,
    /// Samples of a batch.
    pub batch: u64,
    /// Where weights are when a batch starts.
    pub weights: String,
}

impl Workload {
    /// That of a point.
    pub fn of(results: &SweepResults, place: usize) -> Self {
        let point = &results.points[place];
        let weights = if point.weights == WeightsAt::Cold { "cold" } else { "resident" };
        Self { model: point.model.clone(), batch: point.batch, weights: weights.to_owned() }
    }

    /// Those of all points that ran, in the order in which they come.
    pub fn all(results: &SweepResults) -> Vec<Self> {
        let mut all: Vec<Self> = Vec::new();
        for place in results.done() {
            let own = Self::of(results, place);
            if !all.contains(&own) {
                all.push(own);
            }
        }
        all
    }

    /// As a caption says it.
    pub fn caption(&self) -> String {
        format!("{}, batch {}, {} weights", self.model, self.batch, self.weights)
    }
}

/// The columns that are most like a name, the most alike first.
pub fn nearest_columns(results: &SweepResults, name: &str) -> Vec<String> {
    let columns = results.columns();
    let wanted = name.to_lowercase();
    if wanted.is_empty() || wanted.len() > LONGEST {
        return Vec::new();
    }
    let likeness = |column: &str| if column.contains(&wanted) { 1.0 } else { strsim::jaro_winkler(&wanted, column) };
    let mut near: Vec<(f64, String)> =
        columns.into_iter().map(|column| (likeness(&column), column)).filter(|(alike, _)| *alike >= ALIKE).collect();
    near.sort_by(|one, other| other.0.total_cmp(&one.0));
    near.into_iter().take(OFFERED).map(|(_, column)| column).collect()
}

/// Refuses a column that there is not.
pub(super) fn known(results: &SweepResults, name: &str) -> Result<(), FindingsError> {
    if results.columns().iter().any(|column| column == name) {
        return Ok(());
    }
    let shown: String = name.escape_debug().take(80).collect();
    Err(FindingsError::NoColumn { near: nearest_columns(results, name), name: shown })
}

/// Refuses a column without numbers, if it has anything.
pub(super) fn numeric(results: &SweepResults, name: &str, role: &'static str) -> Result<(), FindingsError> {
    known(results, name)?;
    let cells: Vec<Cell> = results.done().map(|place| results.cell(place, name)).collect();
    let text = cells.iter().find(|cell| matches!(cell, Cell::Text(_)));
    match text {
        Some(text) if cells.iter().all(|cell| cell.number().is_none()) => {
            Err(FindingsError::NotNumbers { name: name.to_owned(), example: text.text().chars().take(40).collect(), role })
        }
        _ => Ok(()),
    }
}

/// That there is nothing to show.
pub(super) fn nothing(results: &SweepResults, x: &str, y: &str) -> FindingsError {
    let failed = results.points.len() - results.done().count();
    let help = if results.points.is_empty() {
        "the sweep has no points yet: run it first".to_owned()
    } else if failed == results.points.len() {
        let first = results.points.iter().find_map(|point| point.reason.clone()).unwrap_or_default();
        format!("each has its reason in points.csv; the first is: {first}")
    } else {
        "points that are only timed have no accuracy: choose other fields, or run with samples".to_owned()
    };
    FindingsError::Nothing { x: x.to_owned(), y: y.to_owned(), points: results.points.len(), failed, help }
}

/// The values of a column over these points, each once: numbers by size, then texts as they come.
pub(super) fn values(results: &SweepResults, places: &[usize], column: &str) -> Vec<Cell> {
    let mut all: Vec<Cell> = Vec::new();
    for place in places {
        let cell = results.cell(*place, column);
        if cell != Cell::Empty && !all.contains(&cell) {
            all.push(cell);
        }
    }
    // Stable: texts keep their order.
    all.sort_by(|one, other| match (one.number(), other.number()) {
        (Some(one), Some(other)) => one.total_cmp(&other),
        (Some(_), None) => std::cmp::Ordering::Less,
        (None, Some(_)) => std::cmp::Ordering::Greater,
        (None, None) => std::cmp::Ordering::Equal,
    });
    all
}
