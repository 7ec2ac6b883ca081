//! `layers.csv`: one row a layer, in base units with the unit in each column's name, one column a stall reason and one a kind of traffic.
//!
//! Not here: totals (`json`).

use super::{LayerSummary, Summary, WhatIf};
use crate::counts::{Operand, OperandTraffic, StallReason, TrafficBytes};
use serde::Serialize;

/// A figure of a layer as it stands in a cell.
type Cell = fn(&LayerSummary) -> String;

const BEFORE_STALLS: [(&str, Cell); 7] = [
    ("name", |layer| layer.name.clone()),
    ("op", |layer| layer.op.clone()),
    ("format", |layer| layer.format.clone()),
    ("total_cycles", |layer| layer.total_cycles.to_string()),
    ("cycles_lower_bound", |layer| layer.cycles_lower_bound.to_string()),
    ("busy_cycles", |layer| layer.busy_cycles.to_string()),
    ("idle_cycles", |layer| layer.idle_cycles.to_string()),
];

/// A cost of a layer.
type Cost = fn(&WhatIf) -> i64;

const WHAT_IF: [(&str, Cost); 6] = [
    ("what_if_dram_cycles", |costs| costs.dram_cycles),
    ("what_if_ports_cycles", |costs| costs.ports_cycles),
    ("what_if_vector_cycles", |costs| costs.vector_cycles),
    ("what_if_array_cycles", |costs| costs.array_cycles),
    ("what_if_host_cycles", |costs| costs.host_cycles),
    ("what_if_rest_cycles", |costs| costs.rest_cycles.cast_signed()),
];

const AFTER_STALLS: [(&str, Cell); 18] = [
    ("first_tick", |layer| layer.first_tick.to_string()),
    ("last_tick", |layer| layer.last_tick.to_string()),
    ("macs_dense", |layer| layer.macs_dense.to_string()),
    ("macs_executed", |layer| layer.macs_executed.to_string()),
    ("utilization", |layer| finite(Some(layer.utilization))),
    ("mapping_efficiency", |layer| finite(Some(layer.mapping_efficiency))),
    ("bound_by", |layer| layer.bound_by.clone()),
    ("weight_bytes", |layer| layer.weight_bytes.to_string()),
    ("weight_stored_bytes", |layer| layer.weight_stored_bytes.to_string()),
    ("sparsity", |layer| finite(Some(layer.sparsity))),
    ("energy_pj", |layer| finite(Some(layer.energy_pj))),
    ("sqnr_db", |layer| finite(layer.sqnr_db)),
    ("cosine", |layer| finite(layer.cosine)),
    ("max_abs_error", |layer| finite(layer.max_abs_error)),
    ("coded_bytes", |layer| layer.coded_bytes.to_string()),
    ("unpacked_bytes", |layer| layer.unpacked_bytes.to_string()),
    ("dram_read_bytes", |layer| layer.dram_read_bytes.to_string()),
    ("dram_write_bytes", |layer| layer.dram_write_bytes.to_string()),
];

/// The layers as CSV, a header first.
///
/// # Panics
/// Never: it writes to memory.
pub fn layers_csv(summary: &Summary) -> String {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    let mut header: Vec<String> = BEFORE_STALLS.iter().map(|(name, _)| (*name).to_owned()).collect();
    header.extend(StallReason::ALL.iter().map(|reason| format!("stall_{}_cycles", reason.name())));
    header.extend(AFTER_STALLS.iter().map(|(name, _)| (*name).to_owned()));
    header.extend(traffic(&TrafficBytes::default()).into_iter().map(|(name, _)| name));
    header.extend(WHAT_IF.iter().map(|(name, _)| (*name).to_owned()));
    let mut rows = vec![header];
    for layer in &summary.layers {
        let mut row: Vec<String> = BEFORE_STALLS.iter().map(|(_, cell)| cell(layer)).collect();
        row.extend(StallReason::ALL.iter().map(|reason| layer.stall_cycles.get(reason).copied().unwrap_or(0).to_string()));
        row.extend(AFTER_STALLS.iter().map(|(_, cell)| cell(layer)));
        row.extend(traffic(&layer.traffic_bytes).into_iter().map(|(_, bytes)| bytes.to_string()));
        row.extend(WHAT_IF.iter().map(|(_, cost)| layer.what_if.as_ref().map_or_else(String::new, |costs| cost(costs).to_string())));
        rows.push(row);
    }
    for row in rows {
        writer.write_record(&row).expect("bug: a row that cannot be written to memory; please report it");
    }
    text_of(writer)
}

/// Rows as CSV, a header of their fields' names first.
pub(super) fn csv_of<T: Serialize>(rows: &[T]) -> String {
    let mut writer = ::csv::Writer::from_writer(Vec::new());
    for row in rows {
        writer.serialize(row).expect("bug: a row that cannot be written to memory; please report it");
    }
    text_of(writer)
}

/// What was written.
fn text_of(writer: ::csv::Writer<Vec<u8>>) -> String {
    let bytes = writer.into_inner().expect("bug: a table that cannot be written to memory; please report it");
    String::from_utf8(bytes).expect("bug: a table made of texts is text; please report it")
}

/// A number, or nothing where it is none.
fn finite(value: Option<f64>) -> String {
    value.filter(|value| value.is_finite()).map(|value| value.to_string()).unwrap_or_default()
}

/// Each kind of traffic by its column.
fn traffic(bytes: &TrafficBytes) -> Vec<(String, u64)> {
    let places: [(&str, &OperandTraffic); 3] =
        [("dram", &bytes.dram), ("scratchpad", &bytes.scratchpad), ("accumulator", &bytes.accumulator)];
    let mut columns = Vec::new();
    for (place, by_operand) in places {
        for operand in Operand::ALL {
            let moved = by_operand.of(operand);
            columns.push((format!("traffic_{place}_{}_read_bytes", operand.name()), moved.read));
            columns.push((format!("traffic_{place}_{}_write_bytes", operand.name()), moved.write));
        }
    }
    columns
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn a_row_a_layer_and_a_column_a_reason() {
        let summary = fixture::simplenet();
        let text = layers_csv(&summary);
        let mut reader = ::csv::Reader::from_reader(text.as_bytes());
        let header = reader.headers().unwrap().clone();
        let rows: Vec<::csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        assert_eq!(rows.len(), summary.layers.len());
        let cell = |row: usize, name: &str| rows[row][header.iter().position(|column| column == name).unwrap()].to_owned();
        for (row, layer) in summary.layers.iter().enumerate() {
            let is_account = |name: &&str| name.ends_with("_cycles") && !name.starts_with("what_if") && *name != "total_cycles";
            let accounts = header.iter().filter(is_account);
            let sum: u64 = accounts.map(|name| cell(row, name).parse::<u64>().unwrap()).sum();
            assert_eq!(sum, layer.total_cycles, "busy, idle and stalls make the window of {}", layer.name);
        }
        assert_eq!(cell(3, "sqnr_db"), "");
    }
}
