//! Random parts of chips as a chip file writes them: dataflows with every field of the contract, in every combination that makes sense, and
//! small memories with the engines at them.

#![allow(dead_code, reason = "each test takes what it needs")]

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

/// Scratchpads, shared or not, an accumulator, DMA engines and DRAM.
pub(crate) fn memories() -> impl Strategy<Value = Vec<(&'static str, String)>> {
    let banks = prop_oneof![Just(1_u32), Just(2), Just(4)];
    let port = prop_oneof![Just(4_u32), Just(8), Just(16), Just(12)];
    let pad = (banks.clone(), port.clone(), 1..=40_u32, 1..=5_u32);
    (pad.clone(), pad, (banks, port, 1..=20_u32, 1..=3_u32), any::<bool>(), 1..=2_u32, 1..=8_u32, 1..=20_u32, 1..=24_u32).prop_map(
        |(first, second, sums, shared, engines, outstanding, latency, rate)| {
            let pad = |role: &str, (banks, port, rows, latency): (u32, u32, u32, u32)| {
                format!(
                    "(role: {role}, capacity: B({}), banks: {banks}, port_bytes: {port}, latency: Cycles({latency}))",
                    banks * port * rows * 8
                )
            };
            let pads = if shared { vec![pad("Shared", first)] } else { vec![pad("Weight", first), pad("Input", second)] };
            let (banks, port, rows, pending) = sums;
            vec![
                ("scratchpads", format!("[{}]", pads.join(", "))),
                (
                    "accumulator",
                    format!("(capacity: B({}), banks: {banks}, port_bytes: {port}, latency: Cycles({pending}))", banks * port * rows * 8),
                ),
                ("dma", format!("(engines: {engines}, bytes_per_cycle: {rate}, outstanding: {outstanding})")),
                ("dram", format!("Ideal(bytes_per_cycle: {}, latency: Cycles({latency}))", rate + 1)),
            ]
        },
    )
}

/// DRAM with banks: any preset under any policy, in the shares that a chip may have it.
pub(crate) fn banked() -> impl Strategy<Value = String> {
    let mapping = prop::sample::select(&["RoRaBaCoBgCh", "RoCoRaBaBgCh", "ChRoBaBgRaCo", "CoChRoRaBgBa"][..]);
    let depth = prop_oneof![Just(1_u32), Just(2), Just(5), Just(32), Just(64)];
    let policy = (prop::sample::select(&[1_u32, 1, 2, 8][..]), depth, prop_oneof![Just(1_u32), 2..=20_u32], any::<bool>(), mapping);
    (prop::sample::select(systole::chip::dram_presets()), policy).prop_map(|(preset, (channels, depth, cap, is_open, mapping))| {
        let page = if is_open { "Open" } else { "Closed" };
        format!(
            "Banked(preset: \"{preset}\", channels: {channels}, queue_depth: {depth}, starvation_cap: {cap}, page: {page}, mapping: {mapping})"
        )
    })
}

/// A codec, of any rate and length of runs, or none.
pub(crate) fn codec() -> impl Strategy<Value = String> {
    let rate = prop::sample::select(&["0.37", "1", "3.000001", "8", "64"][..]);
    prop_oneof![
        1 => Just("None".to_string()),
        1 => rate.clone().prop_map(|rate| format!("ZeroBitmask(bytes_per_cycle: {rate}, activations: false)")),
        1 => (rate, 1..=8_u32)
            .prop_map(|(rate, bits)| format!("RunLength(bytes_per_cycle: {rate}, run_bits: {bits}, activations: false)")),
    ]
}

/// Bytes of a burst, where the chip's DRAM has banks.
pub(crate) fn burst_bytes(chip: &systole::chip::Chip) -> Option<u64> {
    match chip.dram() {
        systole::chip::Dram::Banked(banked) => Some(banked.organisation.burst_bytes().into()),
        systole::chip::Dram::Ideal { .. } => None,
    }
}
