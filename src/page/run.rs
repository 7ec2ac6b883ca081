//! The page of a run: its facts, pictures, and layers.

use super::data::{Data, DataRow, Part, accounts, by_account, number, share};
use super::{Page, Row, Table, pictures};
use crate::plot::Drawn;
use crate::report::{ClassSummary, LayerSummary, Summary, human, ratio};
use std::collections::BTreeMap;

/// A confusion matrix of more classes is too wide to read.
const MOST_CLASSES: usize = 20;

/// The page of a run with its pictures.
pub fn run_page(summary: &Summary, drawn: &[Drawn]) -> String {
    let programs = summary.programs();
    let (chip, network) = (&summary.chip, &summary.network);
    let mut facts = vec![
        ("chip", format!("{}, {} × {} PEs at {}", chip.name, chip.rows, chip.cols, human::frequency(chip.clock_hz))),
        ("memories", format!("{} on the chip, DRAM {}/s", human::bytes(chip.on_chip_bytes), human::si(chip.dram_bytes_per_s, "B"))),
        ("network", format!("{}, {}", network.name, human::plural(network.layers, "layer"))),
        ("recipe", summary.recipe.clone()),
        ("run", format!("batch {}, {} weights, {}", summary.batch, summary.weights.name(), human::plural(summary.samples, "sample"))),
        (
            "latency",
            format!("{} a batch, {} cycles", human::si(summary.latency_s, "s"), human::count(summary.total_cycles / programs.max(1))),
        ),
        (
            "energy",
            format!(
                "{} a sample, of which {} at assumed costs",
                human::energy(summary.energy_pj_per_sample),
                human::percent(summary.energy_assumed_share)
            ),
        ),
        ("area", format!("{} mm²", human::digits(summary.area_mm2))),
    ];
    for (name, values) in summary.metrics.iter().flatten() {
        let told =
            [("float", values.float), ("compressed float", values.compressed_float), ("integer", values.integer), ("chip", values.chip)];
        let told: Vec<String> = told.iter().filter_map(|(of, value)| Some(format!("{of} {:.4}", (*value)?))).collect();
        facts.push((name.as_str(), told.join(", ")));
    }
    let compared = match summary.mismatches {
        None => "not compared with the integer reference".to_owned(),
        Some(mismatches) => format!("{mismatches} mismatches with the integer reference in {} values", human::count(summary.output_values)),
    };
    facts.push(("outputs", compared));
    let columns =
        ["layer", "operation", "format", "cycles a batch", "busy", "waits most for", "MACs a batch", "use", "bound by", "energy a sample"];
    let is_number = |name: &&str| ["cycles a batch", "busy", "MACs a batch", "use", "energy a sample"].contains(name);
    let rows = summary.layers.iter().enumerate().map(|(row, layer)| Row { row, cells: cells(summary, layer) }).collect();
    let data = Data {
        rows_are: "layers",
        parts_are: "account",
        numbers: [
            "cycles",
            "lower_bound_cycles",
            "macs",
            "dram_bytes",
            "macs_per_dram_byte",
            "macs_per_cycle",
            "utilization",
            "energy_pj",
            "sparsity",
            "sqnr_db",
        ]
        .map(str::to_owned)
        .to_vec(),
        texts: ["op", "format", "bound_by"].map(str::to_owned).to_vec(),
        first: ["macs_per_dram_byte", "macs_per_cycle", "bound_by"].map(str::to_owned),
        label: vec!["layer".to_owned()],
        rows: summary.layers.iter().map(|layer| row(summary, layer)).collect(),
        accounts: accounts(),
    };
    let provenance = &summary.provenance;
    let page = Page {
        title: format!("{} on {}", network.name, chip.name),
        lead: "One run, cycle by cycle, with the real numbers in every memory.".to_owned(),
        facts: facts.into_iter().map(|(name, fact)| (name.to_owned(), fact)).collect(),
        lists: Vec::new(),
        tables: summary.classes.iter().map(|classes| classes_table(classes)).collect(),
        what: "layers".to_owned(),
        pictures: pictures(drawn),
        columns: columns.iter().map(|name| ((*name).to_owned(), is_number(name))).collect(),
        rows,
        foot: vec![
            format!("systole {}: {}", provenance.version, provenance.command),
            format!("chip {}, model {}", provenance.chip_sha256, provenance.model_sha256),
        ],
    };
    page.html(&data)
}

/// The confusion matrix with each class's scores; of many classes the scores alone.
fn classes_table(classes: &[ClassSummary]) -> Table {
    let named = if classes.len() > MOST_CLASSES { &[] } else { classes };
    let scores = ["class", "samples", "precision", "recall", "F1"].map(str::to_owned);
    let cells = |row: &ClassSummary| {
        let scores = [row.precision, row.recall, row.f1].map(|score| format!("{score:.4}"));
        let counts = named.iter().map(|class| row.named.get(&class.class).map_or_else(String::new, |count| human::count(*count)));
        [row.class.to_string(), human::count(row.samples)].into_iter().chain(scores).chain(counts).collect()
    };
    Table {
        title: "What the chip named the samples of each class".to_owned(),
        columns: scores.into_iter().chain(named.iter().map(|class| format!("named {}", class.class))).collect(),
        rows: classes.iter().map(cells).collect(),
    }
}

/// A layer's cells in the table.
fn cells(summary: &Summary, layer: &LayerSummary) -> Vec<String> {
    let programs = summary.programs().max(1);
    let most = layer.stall_cycles.iter().max_by_key(|(_, cycles)| **cycles).filter(|(_, cycles)| **cycles > 0);
    let stall = most.map_or_else(String::new, |(reason, cycles)| {
        format!("{} {}", human::stall(*reason), share(*cycles as f64, layer.total_cycles as f64))
    });
    vec![
        layer.name.clone(),
        layer.op.clone(),
        layer.format.clone(),
        human::count(layer.total_cycles / programs),
        share(layer.busy_cycles as f64, layer.total_cycles as f64),
        stall,
        human::count(layer.macs_executed / programs),
        human::percent(layer.utilization),
        layer.bound_by.replace('_', " "),
        human::energy(ratio(layer.energy_pj, summary.samples as f64)),
    ]
}

fn positive(value: f64) -> f64 {
    if value > 0.0 { value } else { f64::NAN }
}

/// A layer as data, of a batch.
fn row(summary: &Summary, layer: &LayerSummary) -> DataRow {
    let programs = summary.programs().max(1);
    let a_batch = |value: u64| value as f64 / programs as f64;
    let bytes = layer.dram_read_bytes + layer.dram_write_bytes;
    let mut fields: BTreeMap<String, serde_json::Value> = BTreeMap::new();
    for (name, value) in [("layer", &layer.name), ("op", &layer.op), ("format", &layer.format), ("bound_by", &layer.bound_by)] {
        fields.insert(name.to_owned(), value.as_str().into());
    }
    let numbers = [
        ("cycles", a_batch(layer.total_cycles)),
        ("lower_bound_cycles", a_batch(layer.cycles_lower_bound)),
        ("macs", a_batch(layer.macs_executed)),
        ("dram_bytes", a_batch(bytes)),
        // Not there for what has no products, or no bytes.
        ("macs_per_dram_byte", positive(ratio(layer.macs_executed as f64, bytes as f64))),
        ("macs_per_cycle", positive(ratio(layer.macs_executed as f64, layer.total_cycles as f64))),
        ("utilization", layer.utilization),
        ("energy_pj", ratio(layer.energy_pj, summary.samples as f64)),
        ("sparsity", layer.sparsity),
        ("sqnr_db", layer.sqnr_db.unwrap_or(f64::NAN)),
    ];
    fields.extend(numbers.map(|(name, value)| (name.to_owned(), number(value))));
    let part = Part {
        name: layer.name.clone(),
        about: format!("{}, {}, bound by {}", layer.op, layer.format, layer.bound_by.replace('_', " ")),
        cycles: layer.total_cycles / programs,
        accounts: by_account(layer.busy_cycles, layer.idle_cycles, &layer.stall_cycles, programs),
        energy: human::energy(ratio(layer.energy_pj, summary.samples as f64)),
        use_percent: human::percent(layer.utilization),
    };
    DataRow { fields, front: false, parts: vec![part] }
}
