//! `summary.json`: the summary as pretty JSON, and back.
//!
//! The same summary gives the same bytes: fields stand in the order of their declaration, maps in the order of their keys. A number that
//! is not finite becomes `null`. Not here: the fields themselves (`summary`).

use super::Summary;
use serde::Serialize;

/// The summary as JSON, ending in a newline.
pub fn summary_json(summary: &Summary) -> String {
    pretty(summary)
}

/// Plain data as JSON, ending in a newline.
pub(super) fn pretty(data: &impl Serialize) -> String {
    let mut text = serde_json::to_string_pretty(data).expect("bug: a report that is not JSON; please report it");
    text.push('\n');
    text
}

/// A summary read back from JSON.
///
/// # Errors
/// If the text is not a summary; the error names line, column and field.
pub fn summary_from_json(text: &str) -> Result<Summary, serde_json::Error> {
    serde_json::from_str(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::report::fixture;

    #[test]
    fn a_summary_comes_back_as_it_went() {
        let summary = fixture::simplenet();
        let text = summary_json(&summary);
        assert_eq!(summary_from_json(&text).unwrap(), summary);
        assert_eq!(summary_json(&summary), text);
    }

    #[test]
    fn the_contract_of_names_holds() {
        let value: serde_json::Value = serde_json::from_str(&summary_json(&fixture::simplenet())).unwrap();
        let pointers = [
            "/chip/name",
            "/chip/rows",
            "/chip/clock_hz",
            "/chip/peak_tops",
            "/chip/on_chip_bytes",
            "/chip/dram_bytes_per_s",
            "/network/name",
            "/network/layers",
            "/network/macs",
            "/network/weight_bytes",
            "/network/weight_stored_bytes",
            "/coded_bytes",
            "/unpacked_bytes",
            "/recipe",
            "/batch",
            "/samples",
            "/total_cycles",
            "/cycles_per_sample",
            "/cycles_lower_bound",
            "/latency_s",
            "/throughput_per_s",
            "/energy_pj",
            "/energy_pj_per_sample",
            "/energy_assumed_share",
            "/area_mm2",
            "/macs_dense",
            "/macs_executed",
            "/utilization",
            "/metrics/accuracy/float",
            "/metrics/accuracy/compressed_float",
            "/metrics/accuracy/integer",
            "/metrics/accuracy/chip",
            "/roofs/macs_per_cycle",
            "/roofs/dram_bytes_per_cycle",
            "/classes/0/class",
            "/classes/0/f1",
            "/classes/0/named/1",
            "/mismatches",
            "/output_values",
            "/first_mismatch",
            "/dram_read_bytes",
            "/dram_write_bytes",
            "/traffic_bytes/dram/weight/read",
            "/traffic_bytes/accumulator/psum/write",
            "/engine",
            "/layers/0/name",
            "/layers/0/op",
            "/layers/0/format",
            "/layers/0/busy_cycles",
            "/layers/0/stall_cycles/weights_not_ready",
            "/layers/0/first_tick",
            "/layers/0/mapping_efficiency",
            "/layers/0/bound_by",
            "/layers/0/weight_stored_bytes",
            "/layers/0/coded_bytes",
            "/layers/0/unpacked_bytes",
            "/layers/0/sparsity",
            "/layers/0/sqnr_db",
            "/layers/0/traffic_bytes",
            "/energy_pj_by_part/mac",
            "/energy_pj_by_part/codec",
            "/energy_pj_by_part/leakage",
            "/provenance/version",
            "/provenance/command",
            "/provenance/seed",
            "/provenance/chip_sha256",
        ];
        for pointer in pointers {
            assert!(value.pointer(pointer).is_some(), "{pointer} is missing");
        }
        assert_eq!(value["weights"], "cold");
    }

    #[test]
    fn what_is_not_finite_is_null() {
        let mut summary = fixture::simplenet();
        summary.layers[0].sqnr_db = Some(f64::INFINITY);
        summary.utilization = f64::NAN;
        let value: serde_json::Value = serde_json::from_str(&summary_json(&summary)).unwrap();
        assert!(value["layers"][0]["sqnr_db"].is_null() && value["utilization"].is_null());
    }
}
