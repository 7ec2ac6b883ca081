//! Random dataflows as a chip file writes them: every field of the contract, in every combination that makes sense.

use proptest::prelude::*;

fn span(least: u32) -> impl Strategy<Value = String> {
    prop_oneof![Just("Rows".to_string()), Just("Cols".to_string()), (least..=12_u32).prop_map(|n| format!("Cycles({n})"))]
}

/// A dataflow of one of these kinds (`Weight`, `Input`, `Output`), any timing.
pub(crate) fn dataflow(kinds: &'static [&'static str]) -> impl Strategy<Value = String> {
    let hops = (0..=3_u32, 0..=3_u32, 0..=4_u32, 1..=6_u32);
    let pipeline = prop_oneof![
        2 => Just((2, "Pipelined", "Physical")),
        2 => Just((1, "Pipelined", "Physical")),
        1 => Just((1, "Serial", "Physical")),
        1 => Just((1, "Serial", "Used"))
    ];
    let held = (span(1), prop_oneof![Just("Unlimited"), Just("Rows")]);
    let preload = prop_oneof![Just("Cycles(0)".to_string()), span(0)];
    let sums = (prop_oneof![Just("None".to_string()), span(1)], preload, prop_oneof![Just("Exact"), Just("MultipleOfRows")]);
    (prop::sample::select(kinds), hops, pipeline, held, sums).prop_map(|(kind, hops, (buffers, overlap, extent), held, sums)| {
        let ((row_hop, col_hop, registers, min), (load, most), (drain, preload, padding)) = (hops, held, sums);
        let common = format!(
            "row_hop: {row_hop}, col_hop: {col_hop}, pipeline_registers: {registers}, min_pass_cycles: {min}, overlap: {overlap}, extent: {extent}"
        );
        if kind == "Output" {
            format!("OutputStationary({common}, drain: {drain}, psum_preload: {preload}, reduction_padding: {padding})")
        } else {
            format!("{kind}Stationary({common}, load: {load}, stationary_buffers: {buffers}, max_pass_vectors: {most})")
        }
    })
}
