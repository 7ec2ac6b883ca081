//! The summary's fields, and the laws that its figures keep.

use crate::{count, layers, real, run_json};
use serde_json::Value;

/// Runs of different kinds, each held to every law.
const RUNS: [&[&str]; 5] = [
    &["--samples", "20"],
    &["--samples", "5", "--batch", "3", "--weights", "resident"],
    &["--samples", "4", "--chip", "tpu-v1-256x256", "--batch", "2"],
    &["--samples", "2", "--set", "array.rows=8", "--set", "array.cols=8", "--set", "dma.engines=1"],
    &["--samples", "3", "--set", "dram.bytes_per_cycle=0.5", "--set", "array.dataflows.0.stationary_buffers=1", "--batch", "2"],
];

#[test]
fn every_field_is_there_and_of_its_type() {
    let json = run_json(&["--samples", "20"]);
    let texts = "/chip/name /network/name /recipe /weights /engine /layers/0/name /layers/0/op /layers/0/format /layers/0/bound_by \
                 /provenance/version /provenance/command /provenance/chip_sha256 /provenance/model_sha256 /provenance/data_sha256";
    let counts = "/batch /samples /total_cycles /cycles_lower_bound /macs_dense /macs_executed /mismatches /dram_read_bytes \
                  /dram_write_bytes /provenance/seed /layers/0/total_cycles /layers/0/cycles_lower_bound /layers/0/busy_cycles \
                  /layers/0/idle_cycles /layers/0/first_tick /layers/0/last_tick /layers/0/macs_dense /layers/0/macs_executed \
                  /layers/0/weight_bytes";
    let reals = "/cycles_per_sample /latency_s /throughput_per_s /energy_pj /energy_pj_per_sample /energy_assumed_share /area_mm2 \
                 /utilization /metrics/accuracy/float /metrics/accuracy/compressed_float /metrics/accuracy/integer \
                 /metrics/accuracy/chip /layers/0/utilization /layers/0/mapping_efficiency /layers/0/sparsity /layers/0/energy_pj \
                 /layers/0/sqnr_db";
    let at = |pointer: &str| json.pointer(pointer).unwrap_or_else(|| panic!("{pointer} is missing")).clone();
    assert!(texts.split_whitespace().all(|pointer| !at(pointer).as_str().unwrap_or_else(|| panic!("{pointer}")).is_empty()));
    assert!(counts.split_whitespace().all(|pointer| at(pointer).as_u64().unwrap_or_else(|| panic!("{pointer}")) < u64::MAX));
    assert!(reals.split_whitespace().all(|pointer| at(pointer).as_f64().unwrap_or_else(|| panic!("{pointer}")) >= 0.0));
    assert!(at("/first_mismatch").is_null());
    let stalls = at("/layers/0/stall_cycles");
    assert!(stalls.as_object().unwrap().values().all(Value::is_u64), "{stalls}");
    for under in ["", "/layers/0"] {
        for place in ["dram", "scratchpad", "accumulator"] {
            for operand in ["input", "weight", "output", "psum"] {
                for way in ["read", "write"] {
                    count(&json, &format!("{under}/traffic_bytes/{place}/{operand}/{way}"));
                }
            }
        }
    }
    // A softmax is the host's: it has no integers to compare.
    let softmax = layers(&json).last().unwrap();
    assert!(softmax["sqnr_db"].is_null() && softmax["total_cycles"] == 0, "{softmax}");
    assert_eq!(json["weights"], "cold");
    let hash = json["provenance"]["model_sha256"].as_str().unwrap();
    assert!(hash.len() == 64 && hash.chars().all(|c| c.is_ascii_hexdigit()), "{hash}");
}

#[test]
fn cycles_add_up() {
    for arguments in RUNS {
        let json = run_json(arguments);
        let mut windows = 0;
        for layer in layers(&json) {
            let stalls: u64 = layer["stall_cycles"].as_object().unwrap().values().map(|cycles| cycles.as_u64().unwrap()).sum();
            let total = count(layer, "/total_cycles");
            assert_eq!(count(layer, "/busy_cycles") + count(layer, "/idle_cycles") + stalls, total, "{arguments:?}: {layer}");
            assert!(count(layer, "/first_tick") <= count(layer, "/last_tick"), "{arguments:?}");
            windows += total;
            assert!(count(layer, "/cycles_lower_bound") <= total, "{arguments:?}: {} ends before its bound", layer["name"]);
        }
        assert_eq!(windows, count(&json, "/total_cycles"), "{arguments:?}");
        assert!(count(&json, "/cycles_lower_bound") <= windows, "{arguments:?}");
        let programs = count(&json, "/samples").div_ceil(count(&json, "/batch"));
        let latency = count(&json, "/total_cycles") as f64 / programs as f64 / real(&json, "/chip/clock_hz");
        assert!((real(&json, "/latency_s") / latency - 1.0).abs() < 1e-12, "{arguments:?}");
        let per_sample = count(&json, "/total_cycles") as f64 / count(&json, "/samples") as f64;
        assert!((real(&json, "/cycles_per_sample") - per_sample).abs() < 1e-6, "{arguments:?}");
        let last = layers(&json).iter().map(|layer| count(layer, "/last_tick")).max().unwrap();
        assert_eq!(last * programs, count(&json, "/total_cycles"), "{arguments:?}: the last command ends the run");
    }
}

#[test]
fn bytes_macs_and_energy_add_up() {
    for arguments in RUNS {
        let json = run_json(arguments);
        let sum = |pointer: &str| layers(&json).iter().map(|layer| count(layer, pointer)).sum::<u64>();
        for pointer in ["/macs_dense", "/macs_executed", "/dram_read_bytes", "/dram_write_bytes"] {
            assert_eq!(sum(pointer), count(&json, pointer), "{arguments:?}: {pointer}");
        }
        let mut wanted = [0, 0];
        for place in ["dram", "scratchpad", "accumulator"] {
            for operand in ["input", "weight", "output", "psum"] {
                for (index, way) in ["read", "write"].into_iter().enumerate() {
                    let pointer = format!("/traffic_bytes/{place}/{operand}/{way}");
                    assert_eq!(sum(&pointer), count(&json, &pointer), "{arguments:?}: {pointer}");
                    wanted[index] += if place == "dram" { count(&json, &pointer) } else { 0 };
                }
            }
        }
        assert!(wanted[0] <= count(&json, "/dram_read_bytes") && wanted[1] <= count(&json, "/dram_write_bytes"), "{arguments:?}");
        let energy: f64 = layers(&json).iter().map(|layer| real(layer, "/energy_pj")).sum();
        assert!((energy / real(&json, "/energy_pj") - 1.0).abs() < 1e-9, "{arguments:?}");
        assert_eq!(count(&json, "/mismatches"), 0, "{arguments:?}");
        for pointer in ["/utilization", "/energy_assumed_share", "/metrics/accuracy/chip", "/layers/0/mapping_efficiency"] {
            assert!((0.0..=1.0).contains(&real(&json, pointer)), "{arguments:?}: {pointer}");
        }
    }
}

#[test]
fn the_last_batch_is_filled_up_with_samples_that_cost_and_are_not_scored() {
    let [five, six] = ["5", "6"].map(|samples| run_json(&["--batch", "3", "--samples", samples]));
    for pointer in ["/total_cycles", "/macs_dense", "/dram_read_bytes", "/latency_s"] {
        assert_eq!(five.pointer(pointer), six.pointer(pointer), "{pointer}");
    }
    assert_eq!((count(&five, "/samples"), count(&five, "/output_values")), (5, 50));
    assert!(real(&five, "/cycles_per_sample") > real(&six, "/cycles_per_sample"));
    // What is scored are the same five samples as without a batch.
    assert_eq!(five["metrics"], run_json(&["--samples", "5"])["metrics"]);
}

#[test]
fn resident_weights_save_bytes_and_cost_no_cycles() {
    for batch in ["1", "4"] {
        let [cold, resident] = ["cold", "resident"].map(|weights| run_json(&["--samples", "4", "--batch", batch, "--weights", weights]));
        assert_eq!(resident["weights"], "resident");
        assert!(count(&resident, "/dram_read_bytes") < count(&cold, "/dram_read_bytes"), "batch {batch}");
        assert!(count(&resident, "/total_cycles") <= count(&cold, "/total_cycles"), "batch {batch}");
        assert_eq!(resident["metrics"], cold["metrics"]);
    }
}

#[test]
fn more_bandwidth_never_costs_cycles() {
    let mut before = u64::MAX;
    for bytes in ["0.5", "1", "2", "4", "8", "16", "32", "64"] {
        let cycles = count(&run_json(&["--samples", "1", "--set", &format!("dram.bytes_per_cycle={bytes}")]), "/total_cycles");
        assert!(cycles <= before, "{bytes} bytes a cycle take {cycles} cycles, half of them took {before}");
        before = cycles;
    }
}
