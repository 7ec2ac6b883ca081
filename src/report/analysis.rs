//! What quantizing each layer costs and gains, layer by layer: plain data, JSON, CSV, and a table for people.
//!
//! Field names are the names in JSON. Not here: how it is found out (`pipeline`).

use super::human;
use super::json::pretty;
use super::terminal::{rendered, table};
use serde::{Deserialize, Serialize};
use std::fmt::Write as _;

/// Characters of a layer's name in the table.
const NAME_WIDTH: usize = 20;

/// The layers with weights of a network, each quantized alone and left out alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// The network's name.
    pub network: String,
    /// The recipe, as short forms of its steps.
    pub recipe: String,
    /// The chip that was timed, and whose accumulators are counted; none for 32 bits.
    pub chip: Option<String>,
    /// Samples of the select split that everything was measured on.
    pub samples: u64,
    /// Accuracy of the network in float, pruned.
    pub float_accuracy: f64,
    /// Accuracy with every layer quantized.
    pub quantized_accuracy: f64,
    /// Core cycles of a batch; none without a chip.
    pub total_cycles: Option<u64>,
    /// Each layer with weights, in the order in which they run.
    pub layers: Vec<AnalyzedLayer>,
}

/// A layer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct AnalyzedLayer {
    /// Its name.
    pub name: String,
    /// What it does, such as `conv`.
    pub op: String,
    /// Formats of its weights and of what it reads.
    pub weight_format: String,
    /// The latter.
    pub activation_format: String,
    /// The least of its weights.
    pub weight_min: f64,
    /// The greatest.
    pub weight_max: f64,
    /// The least of what it reads, on the samples.
    pub input_min: f64,
    /// The greatest.
    pub input_max: f64,
    /// The least of what it yields.
    pub output_min: f64,
    /// The greatest.
    pub output_max: f64,
    /// Accuracy where it alone is quantized.
    pub only_accuracy: f64,
    /// Accuracy where all but it are quantized.
    pub all_but_accuracy: f64,
    /// Signal to quantization noise of what it yields where it alone is quantized, in decibels; none without noise.
    pub isolated_sqnr_db: Option<f64>,
    /// The same where all layers are.
    pub accumulated_sqnr_db: Option<f64>,
    /// Updates of accumulators.
    pub updates: u64,
    /// Those whose exact sum an accumulator cannot hold.
    pub overflows: u64,
    /// The fewest bits of an accumulator that holds every partial sum.
    pub least_accumulator_bits: u32,
    /// Core cycles of its window in a batch; none without a chip.
    pub cycles: Option<u64>,
    /// The chip's narrower formats for it, the one that saves the most first.
    pub narrower: Vec<Narrower>,
}

/// A narrower format of one layer, all else as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Narrower {
    /// Bits of weights and activations, such as `w4a8`.
    pub scheme: String,
    /// Core cycles of a batch that the whole network takes less; negative where it takes more.
    pub saved_cycles: i64,
}

impl Analysis {
    /// As JSON, ending in a newline.
    pub fn json(&self) -> String {
        pretty(self)
    }

    /// A row a layer; of narrower formats the one that saves the most.
    ///
    /// # Panics
    /// Never: it is written to memory.
    pub fn csv(&self) -> String {
        let mut writer = csv::Writer::from_writer(Vec::new());
        let written = "bug: what is written to memory is written";
        writer
            .write_record([
                "name",
                "op",
                "weight_format",
                "activation_format",
                "weight_min",
                "weight_max",
                "input_min",
                "input_max",
                "output_min",
                "output_max",
                "only_accuracy",
                "all_but_accuracy",
                "isolated_sqnr_db",
                "accumulated_sqnr_db",
                "updates",
                "overflows",
                "least_accumulator_bits",
                "cycles",
                "narrower_scheme",
                "narrower_saved_cycles",
            ])
            .expect(written);
        let figure = |value: Option<f64>| value.map_or_else(String::new, |value| value.to_string());
        for layer in &self.layers {
            let narrower = layer.narrower.first();
            writer
                .write_record([
                    layer.name.clone(),
                    layer.op.clone(),
                    layer.weight_format.clone(),
                    layer.activation_format.clone(),
                    layer.weight_min.to_string(),
                    layer.weight_max.to_string(),
                    layer.input_min.to_string(),
                    layer.input_max.to_string(),
                    layer.output_min.to_string(),
                    layer.output_max.to_string(),
                    layer.only_accuracy.to_string(),
                    layer.all_but_accuracy.to_string(),
                    figure(layer.isolated_sqnr_db),
                    figure(layer.accumulated_sqnr_db),
                    layer.updates.to_string(),
                    layer.overflows.to_string(),
                    layer.least_accumulator_bits.to_string(),
                    layer.cycles.map_or_else(String::new, |cycles| cycles.to_string()),
                    narrower.map_or_else(String::new, |narrower| narrower.scheme.clone()),
                    narrower.map_or_else(String::new, |narrower| narrower.saved_cycles.to_string()),
                ])
                .expect(written);
        }
        String::from_utf8(writer.into_inner().expect(written)).expect("bug: names are UTF-8")
    }

    /// For people.
    pub fn terminal(&self) -> String {
        let mut header =
            ["layer", "formats", "weights\nwithin", "output\nwithin", "only it\naccuracy", "all but\naccuracy"].map(str::to_owned).to_vec();
        header.extend(["SQNR\nalone", "SQNR\nin all", "sum\nbits", "over-\nflows", "cycles", "narrower\nsaves"].map(str::to_owned));
        let mut rows = table(&header, 2);
        let decibels = |value: Option<f64>| value.map_or_else(String::new, |value| format!("{value:.1}"));
        let within = |min: f64, max: f64| human::digits(max.max(-min));
        for layer in &self.layers {
            let narrower = layer.narrower.first().map(|best| format!("{} {}", best.scheme, best.saved_cycles));
            rows.add_row([
                human::shorten(&layer.name, NAME_WIDTH),
                format!("{} {}", layer.weight_format, layer.activation_format),
                within(layer.weight_min, layer.weight_max),
                within(layer.output_min, layer.output_max),
                format!("{:.4}", layer.only_accuracy),
                format!("{:.4}", layer.all_but_accuracy),
                decibels(layer.isolated_sqnr_db),
                decibels(layer.accumulated_sqnr_db),
                layer.least_accumulator_bits.to_string(),
                human::count(layer.overflows),
                layer.cycles.map_or_else(String::new, human::count),
                narrower.unwrap_or_default(),
            ]);
        }
        let mut text = String::new();
        let _ = writeln!(text, "{} as {} on {} samples of the select split", self.network, self.recipe, human::count(self.samples));
        let _ = writeln!(text, "accuracy {:.4} in float, {:.4} with every layer quantized", self.float_accuracy, self.quantized_accuracy);
        match (&self.chip, self.total_cycles) {
            (Some(chip), Some(cycles)) => {
                let _ = writeln!(text, "{} cycles a batch on {chip}\n", human::count(cycles));
            }
            _ => text.push_str("no chip was named: accumulators of 32 bits, and no cycles\n\n"),
        }
        text + &rendered("Each layer (within: the greatest magnitude; SQNR in dB; sum bits: the least that hold every partial sum)", &rows)
    }
}
