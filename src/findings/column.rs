//! Columns of results: whether there is one, whether it has numbers, and which way is better.

use super::FindingsError;
use crate::report::{Cell, SweepResults, WeightsAt, alike_columns, is_against_baseline};

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

/// A value as a key or a title says it, where a point may have none.
pub(super) fn named(cell: &Cell) -> String {
    if *cell == Cell::Empty { "none".to_owned() } else { cell.text() }
}

/// Refuses a column that there is not.
pub(super) fn known(results: &SweepResults, name: &str) -> Result<(), FindingsError> {
    if results.columns().iter().any(|column| column == name) {
        return Ok(());
    }
    let shown: String = name.escape_debug().take(80).collect();
    Err(FindingsError::NoColumn { near: alike_columns(name, results.columns()), name: shown })
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
    } else if [x, y].into_iter().any(is_against_baseline) && results.provenance.baseline.is_none() {
        "the experiment has no baseline, which speedup and energy_gain are against: give it one".to_owned()
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

#[cfg(test)]
mod tests {
    use crate::findings::study;
    use crate::report::{Cell, alike_columns, common_columns, is_share_column, is_text_column};
    use std::collections::BTreeSet;

    #[test]
    fn what_is_said_of_columns_before_a_sweep_holds_of_its_results() {
        let results = study();
        let axes = results.axes();
        let (mut had, common) = (results.columns(), common_columns());
        had.retain(|name| !axes.contains(name) && !is_share_column(name));
        let sorted = |names: &[String]| names.iter().cloned().collect::<BTreeSet<String>>();
        assert_eq!(sorted(&had), sorted(&common));
        for name in &had {
            let cells = (0..results.points.len()).map(|place| results.cell(place, name)).filter(|cell| *cell != Cell::Empty);
            assert!(cells.into_iter().all(|cell| matches!(cell, Cell::Text(_)) == is_text_column(name)), "{name}");
        }
        let alike = |name: &str| alike_columns(name, common_columns()).first().cloned().unwrap_or_default();
        assert_eq!([alike("latncy"), alike("eror_percent"), alike("qqq")], ["latency_s", "error_percent", ""]);
    }
}
