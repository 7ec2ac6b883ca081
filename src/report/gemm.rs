//! The report of one matrix product on a chip's array: plain data, its JSON, and its lines on the terminal.
//!
//! Field names are the names in the JSON. Not here: how anything is computed (`pipeline`).

use super::human;
use super::json::pretty;
use super::ratio;
use crate::counts::{OperandTraffic, StallReason, TrafficBytes};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// One product of `m` x `k` activations and `k` x `n` weights. Cycles are core cycles, and busy, idle and stalled ones are the array's.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct GemmReport {
    /// The chip's name.
    pub chip: String,
    /// Vectors of activations.
    pub m: u64,
    /// Elements of each sum.
    pub k: u64,
    /// Outputs of each vector.
    pub n: u64,
    /// What stays in a PE: `ws`, `is` or `os`.
    pub dataflow: String,
    /// The formats: `w8a8` is 8-bit weights by 8-bit activations.
    pub format: String,
    /// The engine that ran the array: `stepped` or `wavefront`.
    pub engine: String,
    /// Passes of the array.
    pub passes: u64,
    /// Cycles from the first operand that enters to the last output, both included.
    pub total_cycles: u64,
    /// Cycles in which the array loaded, filled, computed or drained.
    pub busy_cycles: u64,
    /// Cycles in which the array had no command.
    pub idle_cycles: u64,
    /// Cycles in which the array had a command that could not advance, by reason; only reasons that occurred.
    pub stall_cycles: BTreeMap<StallReason, u64>,
    /// Multiply-accumulates of the problem: `m * k * n`.
    pub macs_dense: u64,
    /// `macs_dense` less skipped tiles and weights dropped by N:M sparsity; gated ones count.
    pub macs_executed: u64,
    /// Multiply-accumulates that the passes had room for, the sum over passes of R * C * lanes * T, less `macs_executed`.
    pub padded_macs: u64,
    /// `macs_executed / (total_cycles * R * C * lanes)`, 0 to 1.
    pub utilization: f64,
    /// The share of the PEs that a pass fills, a mean over passes, 0 to 1.
    pub mapping_efficiency: f64,
    /// Bytes that crossed each memory's port, by operand.
    pub traffic_bytes: TrafficBytes,
    /// Output values in which the chip and the integer product differ.
    pub mismatches: u64,
    /// SHA-256 of the outputs, row-major little-endian 64-bit integers, in hexadecimal.
    pub output_hash: String,
    /// Whether the array and its timing stood alone: operands in place, no ports and no DMA.
    pub array_only: bool,
    /// The share of weights that were let be, 0 to 1; the others are zero.
    pub density: f64,
    /// The seed of the operands.
    pub seed: u64,
    /// Of `macs_executed`, those that zero gating kept from toggling.
    pub macs_gated: u64,
}

/// The report as JSON, ending in a newline.
pub fn gemm_json(report: &GemmReport) -> String {
    pretty(report)
}

/// The report for people: a few aligned lines without colour.
pub fn gemm_terminal(report: &GemmReport) -> String {
    let share = |cycles: u64| {
        let share = human::percent(ratio(cycles as f64, report.total_cycles as f64));
        format!("{} ({share})", human::count(cycles))
    };
    let stalled: u64 = report.stall_cycles.values().sum();
    let mut lines = vec![
        ("chip", vec![report.chip.clone(), report.dataflow.clone(), report.format.clone(), format!("{} engine", report.engine)]),
        (
            "problem",
            vec![
                format!(
                    "{} × {} by {} × {}",
                    human::count(report.m),
                    human::count(report.k),
                    human::count(report.k),
                    human::count(report.n)
                ),
                passes(report.passes),
            ],
        ),
        (
            "cycles",
            vec![
                human::count(report.total_cycles),
                format!("busy {}", share(report.busy_cycles)),
                format!("stalled {}", share(stalled)),
                format!("idle {}", share(report.idle_cycles)),
            ],
        ),
    ];
    if report.array_only {
        lines[0].1.push("the array alone".to_owned());
    }
    if report.density < 1.0 {
        lines[1].1.push(format!("density {}", report.density));
    }
    // A line of 100 columns holds two of the longest reasons, as it does two memories.
    let stalls: Vec<String> =
        report.stall_cycles.iter().map(|(reason, cycles)| format!("{} {}", reason.name().replace('_', " "), share(*cycles))).collect();
    lines.extend(stalls.chunks(2).enumerate().map(|(row, some)| (if row == 0 { "stalls" } else { "" }, some.to_vec())));
    let mut macs = vec![
        format!("{} dense", human::count(report.macs_dense)),
        format!("{} executed", human::count(report.macs_executed)),
        format!("{} padded", human::count(report.padded_macs)),
    ];
    if report.macs_gated > 0 {
        macs.push(format!("{} gated", human::count(report.macs_gated)));
    }
    lines.push(("MACs", macs));
    lines.push((
        "use",
        vec![
            format!("utilization {}", human::percent(report.utilization)),
            format!("mapping efficiency {}", human::percent(report.mapping_efficiency)),
        ],
    ));
    let traffic = report.traffic_bytes;
    let places = [moved("DRAM", &traffic.dram), moved("scratchpad", &traffic.scratchpad), moved("accumulator", &traffic.accumulator)];
    lines.extend(places.chunks(2).enumerate().map(|(row, some)| (if row == 0 { "traffic" } else { "" }, some.to_vec())));
    lines.push(("outputs", vec![format!("SHA-256 {}", report.output_hash)]));
    let mut text = String::new();
    for (name, facts) in lines {
        let _ = writeln!(text, "{name:<9}{}", facts.join("   "));
    }
    let values = report.m.saturating_mul(report.n);
    // A sentence to search for, in logs too: its numbers have no separators.
    let values = format!("{values} output value{}", if values == 1 { "" } else { "s" });
    let _ = match report.mismatches {
        0 => writeln!(text, "\n0 mismatches in {values}: the chip equals the integer product, bit for bit."),
        mismatches => writeln!(text, "\n{mismatches} mismatch{} in {values}!", if mismatches == 1 { "" } else { "es" }),
    };
    text
}

fn passes(passes: u64) -> String {
    format!("{} pass{}", human::count(passes), if passes == 1 { "" } else { "es" })
}

fn moved(place: &str, traffic: &OperandTraffic) -> String {
    let total = traffic.total();
    format!("{place} {} read, {} written", human::bytes(total.read), human::bytes(total.write))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::counts::ReadWrite;

    fn report() -> GemmReport {
        let dram = OperandTraffic { weight: ReadWrite { read: 8192, write: 0 }, ..OperandTraffic::default() };
        GemmReport {
            chip: "edge-16x16".to_owned(),
            m: 64,
            k: 128,
            n: 32,
            dataflow: "ws".to_owned(),
            format: "w8a8".to_owned(),
            engine: "wavefront".to_owned(),
            passes: 16,
            total_cycles: 1_500,
            busy_cycles: 1_200,
            idle_cycles: 50,
            stall_cycles: BTreeMap::from([
                (StallReason::ArrayDrain, 50),
                (StallReason::WeightsNotReady, 150),
                (StallReason::ScratchpadConflict, 50),
            ]),
            macs_dense: 262_144,
            macs_executed: 262_144,
            padded_macs: 0,
            utilization: 0.6827,
            mapping_efficiency: 1.0,
            traffic_bytes: TrafficBytes { dram, ..TrafficBytes::default() },
            mismatches: 0,
            output_hash: "ab".repeat(32),
            array_only: false,
            density: 1.0,
            seed: 1,
            macs_gated: 0,
        }
    }

    #[test]
    fn json_has_the_fields_in_the_order_of_the_contract() {
        let text = gemm_json(&report());
        let mut from = 0;
        for field in [
            "chip",
            "m",
            "k",
            "n",
            "dataflow",
            "format",
            "engine",
            "passes",
            "total_cycles",
            "busy_cycles",
            "idle_cycles",
            "stall_cycles",
            "macs_dense",
            "macs_executed",
            "padded_macs",
            "utilization",
            "mapping_efficiency",
            "traffic_bytes",
            "mismatches",
            "output_hash",
        ] {
            let at =
                text[from..].find(&format!("\n  \"{field}\": ")).unwrap_or_else(|| panic!("{field} is missing or out of place: {text}"));
            from += at + 1;
        }
        assert_eq!(serde_json::from_str::<GemmReport>(&text).unwrap(), report());
        let at = |reason: &str| text.find(reason).unwrap();
        assert!(at("weights_not_ready") < at("scratchpad_conflict") && at("scratchpad_conflict") < at("array_drain"), "{text}");
        let without = GemmReport { stall_cycles: BTreeMap::new(), ..report() };
        assert!(gemm_json(&without).contains("\"stall_cycles\": {}"));
    }

    #[test]
    fn a_report_is_pleasant_to_read() {
        let text = gemm_terminal(&report());
        insta::assert_snapshot!(text);
        let other = GemmReport {
            array_only: true,
            density: 0.25,
            mismatches: 1,
            macs_gated: 7,
            m: 1,
            n: 1,
            stall_cycles: BTreeMap::new(),
            ..report()
        };
        let other = gemm_terminal(&other);
        for words in ["the array alone", "density 0.25", "7 gated", "1 mismatch in 1 output value!", "stalled 0 (0%)"] {
            assert!(other.contains(words), "{words}: {other}");
        }
        for line in text.lines().chain(other.lines()) {
            assert!(line.chars().count() <= 100 && !line.ends_with(' '), "{line}");
        }
    }
}
