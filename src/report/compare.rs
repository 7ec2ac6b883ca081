//! One model on several chips, side by side, relative to the first. Data, JSON, and the terminal's table.
//!
//! Not here: the runs (`pipeline`).

use super::json::pretty;
use super::terminal::{rendered, table};
use super::{Summary, human, ratio};
use serde::Serialize;
use std::fmt::Write as _;

/// A model on several chips.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Comparison {
    /// The model.
    pub model: String,
    /// The recipe.
    pub recipe: String,
    /// Samples of a batch.
    pub batch: u64,
    /// `cold` or `resident`.
    pub weights: String,
    /// A row a chip, in the order in which they were named.
    pub chips: Vec<ComparedChip>,
}

/// A chip of a comparison.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ComparedChip {
    /// The chip.
    pub chip: String,
    /// Why it cannot run the model; none where it can.
    pub reason: Option<String>,
    /// What the run yielded; none where there is a reason.
    pub figures: Option<ComparedFigures>,
    /// The same relative to the first chip that was named: none where one of the two did not run.
    pub relative: Option<RelativeFigures>,
}

/// What a run yielded.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ComparedFigures {
    /// The core clock in hertz.
    pub clock_hz: u64,
    /// PEs in a column of the array.
    pub array_rows: u64,
    /// PEs in a row of the array.
    pub array_cols: u64,
    /// Area in square millimetres.
    pub area_mm2: f64,
    /// Core cycles of a batch.
    pub cycles: u64,
    /// Seconds of a batch.
    pub latency_s: f64,
    /// Energy a sample in picojoules.
    pub energy_pj_per_sample: f64,
    /// The share of the energy that rests on assumed energies per action, 0 to 1.
    pub energy_assumed_share: f64,
    /// Share of the array's peak, 0 to 1.
    pub utilization: f64,
    /// Accuracy of what the chip computed; none where it was only timed.
    pub accuracy: Option<f64>,
}

/// Figures over those of the first chip.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct RelativeFigures {
    /// Latency over the first's.
    pub latency: f64,
    /// Energy a sample over the first's.
    pub energy: f64,
    /// Area over the first's.
    pub area: f64,
    /// Accuracy less the first's, where both were measured.
    pub accuracy: Option<f64>,
}

impl Comparison {
    /// Puts runs beside each other, or the reasons why there are none.
    pub fn new(model: &str, recipe: &str, batch: u64, weights: &str, runs: Vec<(String, Result<Summary, String>)>) -> Self {
        let mut first: Option<Option<ComparedFigures>> = None;
        let mut chips = Vec::with_capacity(runs.len());
        for (chip, run) in runs {
            let (figures, reason) = match run {
                Ok(summary) => (Some(ComparedFigures::of(&summary)), None),
                Err(reason) => (None, Some(reason)),
            };
            let first = first.get_or_insert_with(|| figures.clone());
            let relative = figures.as_ref().zip(first.as_ref()).map(|(figures, first)| figures.over(first));
            chips.push(ComparedChip { chip, reason, figures, relative });
        }
        Self { model: model.to_owned(), recipe: recipe.to_owned(), batch, weights: weights.to_owned(), chips }
    }

    /// Whether any chip could run it.
    pub fn any_ran(&self) -> bool {
        self.chips.iter().any(|chip| chip.figures.is_some())
    }

    /// The comparison as JSON.
    pub fn json(&self) -> String {
        pretty(self)
    }

    /// The comparison as text of at most 100 columns, reasons apart.
    pub fn terminal(&self) -> String {
        let mut text = format!(
            "{}   {}   batch {}   {} weights\n\n",
            human::shorten(&self.model, 32),
            human::shorten(&self.recipe, 32),
            human::count(self.batch),
            self.weights
        );
        let header = ["chip", "array", "clock", "area\nmm²", "cycles\na batch", "latency", "×", "energy\na sample", "×", "use", "accuracy"];
        let mut rows = table(&header.map(str::to_owned), 1);
        for ComparedChip { chip, figures, relative, .. } in &self.chips {
            let name = human::shorten(chip, 20);
            let Some(figures) = figures else {
                rows.add_row([name, "cannot".to_owned()]);
                continue;
            };
            let times = |value: Option<f64>| value.map_or_else(String::new, human::digits);
            let relative = relative.as_ref();
            rows.add_row([
                name,
                format!("{}×{}", figures.array_rows, figures.array_cols),
                human::frequency(figures.clock_hz),
                human::digits(figures.area_mm2),
                human::count(figures.cycles),
                human::si(figures.latency_s, "s"),
                times(relative.map(|relative| relative.latency)),
                human::energy(figures.energy_pj_per_sample),
                times(relative.map(|relative| relative.energy)),
                human::percent(figures.utilization),
                figures.accuracy.map_or_else(|| "-".to_owned(), |accuracy| format!("{accuracy:.4}")),
            ]);
        }
        text.push_str(&rendered("Chips side by side (×: over the first)", &rows));
        for ComparedChip { chip, reason, .. } in &self.chips {
            if let Some(reason) = reason {
                let _ = writeln!(text, "\n{chip} cannot run it: {reason}");
            }
        }
        text
    }
}

impl ComparedFigures {
    fn of(summary: &Summary) -> Self {
        Self {
            clock_hz: summary.chip.clock_hz,
            array_rows: summary.chip.rows,
            array_cols: summary.chip.cols,
            area_mm2: summary.area_mm2,
            cycles: summary.total_cycles / summary.programs().max(1),
            latency_s: summary.latency_s,
            energy_pj_per_sample: summary.energy_pj_per_sample,
            energy_assumed_share: summary.energy_assumed_share,
            utilization: summary.utilization,
            accuracy: summary.metrics.as_ref().and_then(|metrics| metrics.get("accuracy")).and_then(|values| values.chip),
        }
    }

    fn over(&self, first: &Self) -> RelativeFigures {
        RelativeFigures {
            latency: ratio(self.latency_s, first.latency_s),
            energy: ratio(self.energy_pj_per_sample, first.energy_pj_per_sample),
            area: ratio(self.area_mm2, first.area_mm2),
            accuracy: self.accuracy.zip(first.accuracy).map(|(own, first)| own - first),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn figures_are_relative_to_the_first_and_a_chip_that_cannot_is_a_row() {
        let (one, mut other) = (fixture::simplenet(), fixture::simplenet());
        other.latency_s *= 0.5;
        other.energy_pj_per_sample *= 2.0;
        other.area_mm2 *= 3.0;
        let runs = vec![("a".to_owned(), Ok(one)), ("b".to_owned(), Err("it is too small".to_owned())), ("c".to_owned(), Ok(other))];
        let comparison = Comparison::new("net", "w8a8", 1, "cold", runs);
        let relative = comparison.chips[2].relative.clone().unwrap();
        assert!((relative.latency - 0.5).abs() < 1e-12 && (relative.energy - 2.0).abs() < 1e-12 && (relative.area - 3.0).abs() < 1e-12);
        assert_eq!(relative.accuracy, Some(0.0));
        assert!(comparison.chips[1].figures.is_none() && comparison.any_ran());
        let text = comparison.terminal();
        assert!(text.contains("b cannot run it: it is too small"), "{text}");
        assert!(text.lines().all(|line| line.chars().count() <= 100), "{text}");
        let value: serde_json::Value = serde_json::from_str(&comparison.json()).unwrap();
        assert_eq!(value["chips"][1]["reason"], "it is too small");
    }

    #[test]
    fn nothing_is_relative_to_a_first_chip_that_did_not_run() {
        let runs = vec![("a".to_owned(), Err("no".to_owned())), ("b".to_owned(), Ok(fixture::simplenet()))];
        let comparison = Comparison::new("net", "w8a8", 1, "cold", runs);
        assert!(comparison.chips.iter().all(|chip| chip.relative.is_none()));
    }
}
