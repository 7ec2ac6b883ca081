//! The page of a sweep: its question, pictures, points with their layers, and what failed.

use super::data::{Data, DataRow, MOST_PARTS, Part, accounts, by_account, number};
use super::{List, Page, Row};
use crate::plot::{self, SweepPictures};
use crate::report::{Cell, PointRow, SweepResults, human, ratio};
use std::collections::{BTreeMap, BTreeSet};

/// Values of a field of texts that may be colours and filters, at most.
const MOST_VALUES: usize = 40;

/// The page of a sweep with its pictures.
pub fn sweep_page(results: &SweepResults, pictures: &SweepPictures) -> String {
    let SweepPictures { drawn, refused } = pictures;
    let columns = results.columns();
    let done = results.done().count();
    let provenance = &results.provenance;
    let front: Vec<bool> =
        (0..results.points.len()).map(|place| results.points[place].figures.is_some() && results.relative[place].is_on_front).collect();
    let has_numbers = |column: &&String| results.done().any(|place| results.cell(place, column).number().is_some());
    let varies = |column: &&String| {
        let mut texts = results.done().map(|place| results.cell(place, column).text());
        let first = texts.next();
        texts.any(|text| Some(&text) != first.as_ref())
    };
    let numbers: Vec<String> = columns.iter().filter(has_numbers).filter(varies).filter(|column| *column != "point").cloned().collect();
    let is_text = |column: &&String| {
        let values: BTreeSet<String> = results.done().map(|place| results.cell(place, column).text()).collect();
        (2..=MOST_VALUES).contains(&values.len()) && !["run", "point_id", "recipe_steps"].contains(&column.as_str())
    };
    let texts: Vec<String> =
        columns.iter().filter(|column| !has_numbers(column) || ["batch"].contains(&column.as_str())).filter(is_text).cloned().collect();
    let chosen = |wanted: &[&str]| {
        let found = wanted.iter().find(|name| numbers.iter().any(|column| column == *name));
        found.map_or_else(|| numbers.first().cloned().unwrap_or_default(), |name| (*name).to_owned())
    };
    let parts: usize = results.points.iter().filter_map(|point| point.figures.as_ref()).map(|figures| figures.layers.len()).sum();
    let keeps_all = parts <= MOST_PARTS;
    let fields: Vec<&String> = columns
        .iter()
        .filter(|column| {
            numbers.contains(column)
                || texts.contains(column)
                || LABEL.contains(&column.as_str())
                || column.as_str() == "run"
                || column.as_str() == "reason"
        })
        .collect();
    let rows = results.points.iter().enumerate().map(|(place, point)| DataRow {
        fields: fields.iter().filter_map(|column| Some(((*column).clone(), value(&results.cell(place, column))?))).collect(),
        front: front[place],
        parts: if keeps_all || front[place] { layers(point) } else { Vec::new() },
    });
    let data = Data {
        rows_are: "points",
        parts_are: "layers",
        first: [
            chosen(&["latency_s", "cycles_per_sample"]),
            chosen(&["error_percent", "energy_pj_per_sample"]),
            texts.iter().find(|column| *column == "chip").or(texts.first()).cloned().unwrap_or_default(),
        ],
        numbers,
        texts,
        label: LABEL.map(str::to_owned).to_vec(),
        rows: rows.collect(),
        accounts: accounts(),
    };
    let mut lists = Vec::new();
    let mut failed: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for point in results.points.iter().filter(|point| point.figures.is_none()) {
        failed
            .entry(point.reason.as_deref().unwrap_or("no reason is known"))
            .or_default()
            .push(format!("{} on {}", point.recipe, point.chip));
    }
    let told = |(reason, points): (&&str, &Vec<String>)| {
        let distinct: BTreeSet<&String> = points.iter().collect();
        let names: Vec<&str> = distinct.iter().take(6).map(|name| name.as_str()).collect();
        let more = if distinct.len() > 6 { format!(" and {} others", distinct.len() - 6) } else { String::new() };
        format!("{} ({}{more}): {reason}", human::plural(points.len() as u64, "point"), names.join(", "))
    };
    if !failed.is_empty() {
        lists.push(List { title: "Points that could not be built or run".to_owned(), items: failed.iter().map(told).collect() });
    }
    if !refused.is_empty() {
        lists.push(List { title: "Pictures that were asked for and could not be drawn".to_owned(), items: refused.clone() });
    }
    let mut facts = vec![
        ("points", format!("{} ran, {} could not", human::count(done as u64), human::count((results.points.len() - done) as u64))),
        ("samples", human::count(results.points.iter().map(|point| point.samples).max().unwrap_or(0))),
    ];
    if let Some(baseline) = &provenance.baseline {
        facts.push(("baseline", format!("{} on {}", baseline.recipe, baseline.chip)));
    }
    if !provenance.require.is_empty() {
        facts.push(("required", provenance.require.join(", ")));
    }
    if let Some(shard) = &provenance.shard {
        facts.push(("shard", shard.clone()));
    }
    if !keeps_all {
        facts.push(("layers", "of points on the front only; layers.csv has all".to_owned()));
    }
    let table = table(results);
    let page = Page {
        title: if provenance.question.is_empty() { "A sweep".to_owned() } else { provenance.question.clone() },
        lead: "Each point is one recipe of one workload on one chip, simulated cycle by cycle. Choosing goes by the select split; errors are those of the report split.".to_owned(),
        facts: facts.into_iter().map(|(name, fact)| (name.to_owned(), fact)).collect(),
        lists,
        tables: Vec::new(),
        what: "points".to_owned(),
        pictures: super::pictures(drawn),
        columns: table.iter().map(|(name, column)| (name.clone(), results.done().any(|place| results.cell(place, column).number().is_some()))).collect(),
        rows: (0..results.points.len()).map(|row| Row { row, cells: table.iter().map(|(_, column)| shown(column, &results.cell(row, column))).collect() }).collect(),
        foot: vec![
            format!("systole {}: {}", provenance.version, provenance.command),
            format!("experiment {}", provenance.experiment_sha256),
        ],
    };
    page.html(&data)
}

/// What a point is called.
const LABEL: [&str; 5] = ["recipe", "chip", "model", "batch", "weights"];

/// The columns of the table, with their names: what a point is, its axes, and what it yielded; those that some point has.
fn table(results: &SweepResults) -> Vec<(String, String)> {
    let mut columns: Vec<String> = ["chip", "model", "batch", "weights", "recipe", "training"].map(str::to_owned).to_vec();
    columns.extend(results.axes());
    let figures = [
        "status",
        "error_percent",
        "latency_s",
        "speedup",
        "energy_pj_per_sample",
        "energy_assumed_share",
        "area_mm2",
        "utilization",
        "total_cycles",
    ];
    columns.extend(figures.map(str::to_owned));
    columns.retain(|column| (0..results.points.len()).any(|place| results.cell(place, column) != Cell::Empty));
    columns.into_iter().map(|column| (plot::column_name(&column), column)).collect()
}

/// A cell as a reader sees it.
fn shown(column: &str, cell: &Cell) -> String {
    match cell.number() {
        Some(value) => plot::column_text(column, value),
        None => cell.text(),
    }
}

/// A cell as data.
fn value(cell: &Cell) -> Option<serde_json::Value> {
    match cell {
        Cell::Empty => None,
        Cell::Number(value) => Some(number(*value)),
        Cell::Count(value) => Some((*value).into()),
        Cell::Text(text) => Some(text.as_str().into()),
    }
}

/// The layers of a point, of a batch.
fn layers(point: &PointRow) -> Vec<Part> {
    let Some(figures) = &point.figures else { return Vec::new() };
    let programs = point.samples.max(point.batch).div_ceil(point.batch.max(1)).max(1);
    let samples = ratio(figures.energy_pj, figures.energy_pj_per_sample).max(1.0);
    let part = |layer: &crate::report::PointLayer| Part {
        name: layer.name.clone(),
        about: format!("{}, {}, bound by {}", layer.op, layer.format, layer.bound_by.replace('_', " ")),
        cycles: layer.total_cycles / programs,
        accounts: by_account(layer.busy_cycles, layer.idle_cycles, &layer.stall_cycles, programs),
        energy: human::energy(layer.energy_pj / samples),
        use_percent: human::percent(layer.utilization),
    };
    figures.layers.iter().map(part).collect()
}
