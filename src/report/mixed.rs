//! What a search for formats measured and chose, as plain data and on the terminal. Not here: how it is measured (`pipeline`).

use super::human;
use super::terminal::{rendered, table};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// Columns of a layer's name.
const NAME_WIDTH: usize = 16;
/// Layers whose formats a row of the terminal's table spells out at most.
const MOST_LAYERS: usize = 8;

/// A search of mixed precision.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MixedPrecision {
    /// The step's short form.
    pub step: String,
    /// What was chosen, as the short forms of the steps that quantize.
    pub chosen: String,
    /// The recipe in RON with what was chosen in the step's place.
    pub recipe_ron: String,
    /// The chip on which cycles and energy were measured; none for bytes of weights alone.
    pub chip: Option<String>,
    /// Samples of the select split on which accuracy and losses were measured.
    pub samples: u64,
    /// The float network's accuracy on them, pruned if it is.
    pub float_accuracy: f64,
    /// What each layer loses and costs in each format.
    pub layers: Vec<MixedLayer>,
    /// Choices of which no other loses as little, by the sum over layers, and costs less.
    pub frontier_size: u64,
    /// Those of them that were measured, the cheapest first.
    pub frontier: Vec<MixedPoint>,
}

/// A layer by itself.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MixedLayer {
    /// Its name.
    pub name: String,
    /// Its formats, in the step's order; none of one that the chip cannot run.
    pub formats: Vec<Option<MixedFormat>>,
}

/// A layer in one format, all others in float (loss) or in the step's first format (cost).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MixedFormat {
    /// Such as `w4a8`.
    pub format: String,
    /// The mean divergence of the outputs from the float network's, in nats.
    pub loss_nats: f64,
    /// What it costs more than the step's first format, in cycles, picojoules or bytes as the step asks; negative where less.
    pub added_cost: f64,
}

/// A choice of formats, measured as a whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct MixedPoint {
    /// A format for each of the layers.
    pub formats: Vec<String>,
    /// The sum of the layers' losses, in nats.
    pub predicted_loss_nats: f64,
    /// Accuracy on the select split.
    pub accuracy: f64,
    /// Core cycles of a batch; none without a chip.
    pub total_cycles: Option<u64>,
    /// Picojoules of a batch; none without a chip.
    pub energy_pj: Option<f64>,
    /// Bytes of weights, packed without gaps.
    pub weight_bytes: u64,
    /// Whether it is within the step's limit.
    pub is_allowed: bool,
    /// Whether it was chosen.
    pub is_chosen: bool,
}

impl MixedPrecision {
    /// For people.
    pub fn terminal(&self) -> String {
        let names: Vec<String> = self.layers.iter().take(MOST_LAYERS).map(|layer| human::shorten(&layer.name, NAME_WIDTH)).collect();
        let more = self.layers.len().saturating_sub(MOST_LAYERS);
        let mut header = vec![String::new()];
        header.extend(names);
        header.extend((more > 0).then(|| format!("and {more}\nmore")));
        let left = header.len();
        header.extend(["loss\nnats", "accuracy", "bytes of\nweights", "cycles\na batch", "energy\na batch"].map(str::to_owned));
        let mut rows = table(&header, left);
        for point in &self.frontier {
            let mark = if point.is_chosen {
                "chosen"
            } else if point.is_allowed {
                ""
            } else {
                "over"
            };
            let mut row = vec![mark.to_owned()];
            row.extend(point.formats.iter().take(MOST_LAYERS).cloned());
            row.extend((more > 0).then(String::new));
            row.push(human::digits(point.predicted_loss_nats));
            row.push(format!("{:.4}", point.accuracy));
            row.push(human::count(point.weight_bytes));
            row.push(point.total_cycles.map_or_else(String::new, human::count));
            row.push(point.energy_pj.map_or_else(String::new, |energy| human::si(energy * 1e-12, "J")));
            rows.add_row(row);
        }
        let mut text = String::new();
        let on = self.chip.as_ref().map_or_else(String::new, |chip| format!(", on {chip}"));
        let _ = writeln!(text, "Mixed precision: {}", self.step);
        let _ = writeln!(
            text,
            "measured on {} samples of the select split{on}; in float {:.4} of them are right",
            human::count(self.samples),
            self.float_accuracy
        );
        let _ = writeln!(text, "chosen: {}", self.chosen);
        let title = format!("Frontier: {} of {} choices measured (over: not within the limit)", self.frontier.len(), self.frontier_size);
        text + &rendered(&title, &rows)
    }
}
