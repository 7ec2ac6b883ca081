//! The columns of `points.csv` and `layers.csv`: one list, which the tables, plots and checks of names all go by.
//!
//! Not here: the fields themselves (`point`).

use super::point::{AxisValue, PointFigures, PointRow, PointStatus};
use super::results::SweepResults;
use crate::counts::{Operand, StallReason, TrafficBytes};
use crate::report::EnergyPjByPart;
use std::collections::BTreeSet;

/// What stands in a cell.
#[derive(Debug, Clone, PartialEq)]
pub enum Cell {
    /// Nothing: the row has no such figure.
    Empty,
    /// A number.
    Number(f64),
    /// A count.
    Count(u64),
    /// A text.
    Text(String),
}

impl Cell {
    /// The number, if it is one.
    pub fn number(&self) -> Option<f64> {
        match self {
            Self::Number(value) => Some(*value),
            Self::Count(value) => Some(*value as f64),
            Self::Empty | Self::Text(_) => None,
        }
    }

    /// The cell as CSV and legends have it.
    pub fn text(&self) -> String {
        match self {
            Self::Number(value) if value.is_finite() => value.to_string(),
            Self::Empty | Self::Number(_) => String::new(),
            Self::Count(value) => value.to_string(),
            Self::Text(text) => text.clone(),
        }
    }
}

fn text(value: &str) -> Cell {
    Cell::Text(value.to_owned())
}

fn maybe(value: Option<f64>) -> Cell {
    value.map_or(Cell::Empty, Cell::Number)
}

type Input = fn(&PointRow) -> Cell;
type Figure = fn(&PointFigures) -> Cell;

/// What a point is.
const INPUTS: [(&str, Input); 14] = [
    ("point", |row| Cell::Count(row.point)),
    ("point_id", |row| text(&row.point_id)),
    ("status", |row| text(if row.status == PointStatus::Done { "done" } else { "failed" })),
    ("reason", |row| row.reason.as_deref().map_or(Cell::Empty, text)),
    ("chip", |row| text(&row.chip)),
    ("model", |row| text(&row.model)),
    ("batch", |row| Cell::Count(row.batch)),
    ("weights", |row| text(row.weights.name())),
    ("recipe", |row| text(&row.recipe)),
    ("recipe_steps", |row| text(&row.recipe_steps)),
    ("training", |row| text(row.training.name())),
    ("mapping", |row| text(&row.mapping)),
    ("seed", |row| Cell::Count(row.seed)),
    ("samples", |row| Cell::Count(row.samples)),
];

/// What it yielded.
const FIGURES: [(&str, Figure); 33] = [
    ("accuracy", |figures| maybe(figures.accuracy)),
    ("error_percent", |figures| maybe(figures.error_percent)),
    ("accuracy_low", |figures| maybe(figures.accuracy_low)),
    ("accuracy_high", |figures| maybe(figures.accuracy_high)),
    ("float_accuracy", |figures| maybe(figures.float_accuracy)),
    ("compressed_float_accuracy", |figures| maybe(figures.compressed_float_accuracy)),
    ("select_error_percent", |figures| maybe(figures.select_error_percent)),
    ("select_samples", |figures| figures.select_samples.map_or(Cell::Empty, Cell::Count)),
    ("mismatches", |figures| figures.mismatches.map_or(Cell::Empty, Cell::Count)),
    ("total_cycles", |figures| Cell::Count(figures.total_cycles)),
    ("cycles_per_sample", |figures| Cell::Number(figures.cycles_per_sample)),
    ("cycles_lower_bound", |figures| Cell::Count(figures.cycles_lower_bound)),
    ("latency_s", |figures| Cell::Number(figures.latency_s)),
    ("throughput_per_s", |figures| Cell::Number(figures.throughput_per_s)),
    ("energy_pj", |figures| Cell::Number(figures.energy_pj)),
    ("energy_pj_per_sample", |figures| Cell::Number(figures.energy_pj_per_sample)),
    ("energy_assumed_share", |figures| Cell::Number(figures.energy_assumed_share)),
    ("area_mm2", |figures| Cell::Number(figures.area_mm2)),
    ("utilization", |figures| Cell::Number(figures.utilization)),
    ("macs_dense", |figures| Cell::Count(figures.macs_dense)),
    ("macs_executed", |figures| Cell::Count(figures.macs_executed)),
    ("weight_bytes", |figures| Cell::Count(figures.weight_bytes)),
    ("weight_stored_bytes", |figures| Cell::Count(figures.weight_stored_bytes)),
    ("dram_read_bytes", |figures| Cell::Count(figures.dram_read_bytes)),
    ("dram_write_bytes", |figures| Cell::Count(figures.dram_write_bytes)),
    ("clock_hz", |figures| Cell::Count(figures.clock_hz)),
    ("array_rows", |figures| Cell::Count(figures.array_rows)),
    ("array_cols", |figures| Cell::Count(figures.array_cols)),
    ("cores", |figures| Cell::Count(figures.cores)),
    ("on_chip_bytes", |figures| Cell::Count(figures.on_chip_bytes)),
    ("dram_model", |figures| text(&figures.dram_model)),
    ("dram_bytes_per_s", |figures| Cell::Number(figures.dram_bytes_per_s)),
    ("peak_tops", |figures| Cell::Number(figures.peak_tops)),
];

/// What a point is beside others of its sweep.
const RELATIVE: [&str; 4] = ["speedup", "energy_gain", "meets_requirements", "is_on_front"];

/// Columns that hold texts.
const TEXTS: [&str; 14] = [
    "point_id",
    "status",
    "reason",
    "chip",
    "model",
    "weights",
    "recipe",
    "recipe_steps",
    "training",
    "mapping",
    "dram_model",
    "meets_requirements",
    "is_on_front",
    "run",
];

/// The beginning of columns that there are as many of as formats.
const SHARE: &str = "macs_share_";

/// How alike a name must be to be offered (Jaro and Winkler, 0 to 1), and how many are.
const ALIKE: f64 = 0.75;
const OFFERED: usize = 4;
/// A longer name is not compared.
const LONGEST: usize = 64;

/// The parts of energy, each a column `energy_pj_<part>`.
fn parts(energy: &EnergyPjByPart) -> Vec<(String, Cell)> {
    let name = |name: &str| format!("energy_pj_{}", name.to_lowercase().replace("macs", "mac"));
    energy.parts().iter().map(|(part, value)| (name(part), Cell::Number(*value))).collect()
}

fn traffic(bytes: &TrafficBytes) -> Vec<(String, Cell)> {
    let places = [("dram", &bytes.dram), ("scratchpad", &bytes.scratchpad), ("accumulator", &bytes.accumulator)];
    let mut columns = Vec::new();
    for (place, by_operand) in places {
        for operand in Operand::ALL {
            let moved = by_operand.of(operand);
            columns.push((format!("traffic_{place}_{}_read_bytes", operand.name()), Cell::Count(moved.read)));
            columns.push((format!("traffic_{place}_{}_write_bytes", operand.name()), Cell::Count(moved.write)));
        }
    }
    columns
}

/// Names that no axis may have, since they are columns already.
pub fn sweep_columns() -> Vec<&'static str> {
    let names = INPUTS.iter().map(|(name, _)| *name).chain(FIGURES.iter().map(|(name, _)| *name)).chain(RELATIVE);
    names.chain(["run", "right_bits", "layers", "macs_share", "energy_pj_by_part", "traffic_bytes"]).collect()
}

/// Every column that points have whatever their axes, but shares of formats (`macs_share_int8_x_int8`), of which there are as many as formats.
pub fn common_columns() -> Vec<String> {
    let names = INPUTS.iter().map(|(name, _)| *name).chain(FIGURES.iter().map(|(name, _)| *name)).chain(RELATIVE).chain(["run"]);
    let more = parts(&EnergyPjByPart::default()).into_iter().chain(traffic(&TrafficBytes::default())).map(|(name, _)| name);
    names.map(str::to_owned).chain(more).collect()
}

/// Whether a column, which is no axis, holds texts.
pub fn is_text_column(name: &str) -> bool {
    TEXTS.contains(&name)
}

/// Whether a column is the share of a format.
pub fn is_share_column(name: &str) -> bool {
    name.starts_with(SHARE)
}

/// Whether a column is against the baseline, and empty without one.
pub fn is_against_baseline(name: &str) -> bool {
    ["speedup", "energy_gain"].contains(&name)
}

/// The columns that are most like a name, the most alike first.
pub fn alike_columns(name: &str, columns: impl IntoIterator<Item = String>) -> Vec<String> {
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

impl SweepResults {
    /// Every column that the points have, in the order of `points.csv`: inputs, axes, what a point is beside others, figures.
    pub fn columns(&self) -> Vec<String> {
        let mut names: Vec<String> = INPUTS.iter().map(|(name, _)| (*name).to_owned()).collect();
        names.extend(self.axes());
        names.extend(RELATIVE.iter().map(|name| (*name).to_owned()));
        names.extend(FIGURES.iter().map(|(name, _)| (*name).to_owned()));
        names.extend(self.formats().iter().map(|format| format!("{SHARE}{format}")));
        if let Some(figures) = self.points.iter().find_map(|point| point.figures.as_ref()) {
            names.extend(parts(&figures.energy_pj_by_part).into_iter().chain(traffic(&figures.traffic_bytes)).map(|(name, _)| name));
        }
        names.push("run".to_owned());
        names
    }

    /// The axes' paths, in order.
    pub fn axes(&self) -> Vec<String> {
        let all: BTreeSet<&String> = self.points.iter().flat_map(|point| point.axes.keys()).collect();
        all.into_iter().cloned().collect()
    }

    fn formats(&self) -> Vec<String> {
        let figures = self.points.iter().filter_map(|point| point.figures.as_ref());
        let all: BTreeSet<&String> = figures.flat_map(|figures| figures.macs_share.keys()).collect();
        all.into_iter().cloned().collect()
    }

    /// The cell of the row at `place` under a column; `Empty` where there is none.
    pub fn cell(&self, place: usize, column: &str) -> Cell {
        let Some(row) = self.points.get(place) else { return Cell::Empty };
        if let Some((_, of)) = INPUTS.iter().find(|(name, _)| *name == column) {
            return of(row);
        }
        if let Some(value) = row.axes.get(column) {
            return match value {
                AxisValue::Number(value) => Cell::Number(*value),
                AxisValue::Text(value) => text(value),
            };
        }
        if column == "run" {
            return text(&row.run);
        }
        let Some(figures) = &row.figures else { return Cell::Empty };
        if RELATIVE.contains(&column) {
            let relative = &self.relative[place];
            return match column {
                "speedup" => maybe(relative.speedup),
                "energy_gain" => maybe(relative.energy_gain),
                "meets_requirements" => text(if relative.meets_requirements { "true" } else { "false" }),
                _ => text(if relative.is_on_front { "true" } else { "false" }),
            };
        }
        if let Some((_, of)) = FIGURES.iter().find(|(name, _)| *name == column) {
            return of(figures);
        }
        if let Some(share) = column.strip_prefix(SHARE) {
            return Cell::Number(figures.macs_share.get(share).copied().unwrap_or(0.0));
        }
        let found = parts(&figures.energy_pj_by_part).into_iter().chain(traffic(&figures.traffic_bytes)).find(|(name, _)| name == column);
        found.map_or(Cell::Empty, |(_, cell)| cell)
    }
}

/// The points as CSV, a header first.
pub fn points_csv(results: &SweepResults) -> String {
    let columns = results.columns();
    let rows = (0..results.points.len()).map(|place| columns.iter().map(|column| results.cell(place, column).text()).collect());
    table(&columns, rows)
}

/// All layers of all points as CSV, a header first.
pub fn layers_csv_of(results: &SweepResults) -> String {
    let before = ["point", "point_id", "chip", "model", "batch", "weights", "recipe", "layer", "op", "format"];
    let middle = ["total_cycles", "cycles_lower_bound", "busy_cycles", "idle_cycles"];
    let after = [
        "macs_dense",
        "macs_executed",
        "utilization",
        "bound_by",
        "weight_stored_bytes",
        "sparsity",
        "energy_pj",
        "sqnr_db",
        "dram_read_bytes",
        "dram_write_bytes",
    ];
    let mut columns: Vec<String> = before.into_iter().chain(middle).map(str::to_owned).collect();
    columns.extend(StallReason::ALL.iter().map(|reason| format!("stall_{}_cycles", reason.name())));
    columns.extend(after.iter().map(|name| (*name).to_owned()));
    let rows = results.points.iter().flat_map(|point| {
        let layers = point.figures.as_ref().map(|figures| figures.layers.as_slice()).unwrap_or_default();
        layers.iter().map(move |layer| {
            let mut row = vec![
                point.point.to_string(),
                point.point_id.clone(),
                point.chip.clone(),
                point.model.clone(),
                point.batch.to_string(),
                point.weights.name().to_owned(),
                point.recipe.clone(),
                layer.name.clone(),
                layer.op.clone(),
                layer.format.clone(),
            ];
            row.extend([layer.total_cycles, layer.cycles_lower_bound, layer.busy_cycles, layer.idle_cycles].map(|count| count.to_string()));
            row.extend(StallReason::ALL.iter().map(|reason| layer.stall_cycles.get(reason).copied().unwrap_or(0).to_string()));
            row.extend([
                layer.macs_dense.to_string(),
                layer.macs_executed.to_string(),
                Cell::Number(layer.utilization).text(),
                layer.bound_by.clone(),
                layer.weight_stored_bytes.to_string(),
                Cell::Number(layer.sparsity).text(),
                Cell::Number(layer.energy_pj).text(),
                maybe(layer.sqnr_db).text(),
                layer.dram_read_bytes.to_string(),
                layer.dram_write_bytes.to_string(),
            ]);
            row
        })
    });
    table(&columns, rows)
}

fn table(columns: &[String], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    let mut write = |row: &[String]| writer.write_record(row).expect("bug: a row that cannot be written to memory; please report it");
    write(columns);
    rows.for_each(|row| write(&row));
    let bytes = writer.into_inner().expect("bug: a table that cannot be written to memory; please report it");
    String::from_utf8(bytes).expect("bug: a table made of texts is text; please report it")
}
