//! Summaries for tests of reports and pictures: invented figures that are consistent with each other.

use super::{
    ChipSummary, ClassSummary, EnergyPjByPart, LayerSummary, MemoryUse, MetricValues, NetworkSummary, Provenance, Residency, Roofs,
    Summary, TensorLife, WeightsAt, ratio,
};
use crate::counts::{OperandTraffic, ReadWrite, StallReason, TrafficBytes};
use std::collections::BTreeMap;

/// A layer of `cycles`, of which per cent are spent so; the rest is idle.
pub(crate) fn layer(name: &str, macs: u64, cycles: u64, busy: u64, stalls: &[(StallReason, u64)]) -> LayerSummary {
    let of = |percent: u64| cycles * percent / 100;
    let stall_cycles: BTreeMap<StallReason, u64> = stalls.iter().map(|&(reason, percent)| (reason, of(percent))).collect();
    let busy_cycles = of(busy);
    let idle_cycles = cycles - busy_cycles - stall_cycles.values().sum::<u64>();
    let bytes = macs / 4;
    let dram = OperandTraffic { weight: ReadWrite { read: bytes, write: 0 }, ..OperandTraffic::default() };
    LayerSummary {
        name: name.to_owned(),
        op: if cycles == 0 { "softmax" } else { "gemm" }.to_owned(),
        format: "int8 x int8".to_owned(),
        total_cycles: cycles,
        cycles_lower_bound: 0,
        what_if: None,
        busy_cycles,
        idle_cycles,
        stall_cycles,
        first_tick: 0,
        last_tick: cycles,
        macs_dense: macs,
        macs_executed: macs,
        utilization: ratio(macs as f64, cycles as f64 * 256.0),
        mapping_efficiency: if cycles == 0 { 0.0 } else { 0.93 },
        bound_by: if cycles == 0 { "host" } else { "dram_bandwidth" }.to_owned(),
        weight_bytes: bytes,
        weight_stored_bytes: bytes,
        sparsity: 0.0,
        energy_pj: cycles as f64 * 31.4,
        sqnr_db: (cycles > 0).then_some(38.52),
        cosine: (cycles > 0).then_some(0.9999),
        max_abs_error: (cycles > 0).then_some(0.25),
        coded_bytes: 0,
        unpacked_bytes: 0,
        dram_read_bytes: bytes,
        dram_write_bytes: bytes / 8,
        traffic_bytes: TrafficBytes { dram, ..TrafficBytes::default() },
    }
}

/// Outputs that stay for the next layer, and weights that pass through the rest.
fn residency(layers: &[LayerSummary]) -> Residency {
    let on_array: Vec<&LayerSummary> = layers.iter().filter(|layer| layer.total_cycles > 0).collect();
    let name = |number: usize| on_array.get(number).map_or_else(String::new, |layer| layer.name.clone());
    let tensor = |tensor: &str, address_bytes: u64, bytes: u64, first: usize, last: usize, is_whole: bool| TensorLife {
        tensor: tensor.to_owned(),
        memory: "scratchpads.0".to_owned(),
        address_bytes,
        bytes,
        first_layer: name(first),
        last_layer: name(last),
        is_whole,
    };
    let last = on_array.len().saturating_sub(1);
    let outputs = (0..last).map(|number| tensor("output", if number % 2 == 0 { 960 } else { 0 }, 64, number, number + 1, true));
    let tensors = outputs.chain([tensor("weight_ring", 1024, 50_176, 0, last, false)]).collect();
    let (capacity_bytes, memory) = (256 * 1024, "scratchpads.0".to_owned());
    let memories = vec![MemoryUse { memory, capacity_bytes, peak_bytes: 50_304, peak_layer: name(1.min(last)) }];
    Residency { memories, tensors, passed_on: last as u64, spilled: 0, smallest_scratchpad: None }
}

/// Ten classes of as many samples, of which each fifth is named as the next.
fn classes(samples: u64) -> Vec<ClassSummary> {
    let (each, next) = (samples / 10, samples / 50);
    let class = |class: u64| {
        let named = [(class, each - next), ((class + 1) % 10, next)].into_iter().filter(|(_, count)| *count > 0).collect();
        let score = ratio((each - next) as f64, each as f64);
        ClassSummary { class, samples: each, precision: score, recall: score, f1: score, named }
    };
    (0..10).map(class).collect()
}

/// A run of these layers.
pub(crate) fn run(name: &str, samples: u64, layers: Vec<LayerSummary>) -> Summary {
    let sum = |figure: fn(&LayerSummary) -> u64| layers.iter().map(figure).sum::<u64>();
    let (cycles, macs) = (sum(|l| l.total_cycles), sum(|l| l.macs_dense));
    let energy: f64 = layers.iter().map(|layer| layer.energy_pj).sum();
    let clock_hz = 700_000_000;
    let per_batch = ratio(cycles as f64, samples as f64 * clock_hz as f64);
    let share = |percent: f64| energy * percent / 100.0;
    let mut traffic_bytes = TrafficBytes::default();
    for layer in &layers {
        traffic_bytes += layer.traffic_bytes;
    }
    Summary {
        chip: ChipSummary {
            name: "edge-16x16".to_owned(),
            rows: 16,
            cols: 16,
            cores: 1,
            clock_hz,
            peak_tops: 0.3584,
            on_chip_bytes: 320 * 1024,
            dram_bytes_per_s: 12.8e9,
        },
        network: NetworkSummary {
            name: name.to_owned(),
            layers: layers.len() as u64,
            macs: macs / samples,
            weight_bytes: 53_024,
            weight_stored_bytes: 53_024,
        },
        recipe: "int8".to_owned(),
        pruning: None,
        mixed_precision: None,
        batch: 1,
        roofs: Roofs { macs_per_cycle: 256, dram_bytes_per_cycle: 16.0 },
        weights: WeightsAt::Cold,
        engine: "wavefront".to_owned(),
        samples,
        total_cycles: cycles,
        cycles_per_sample: ratio(cycles as f64, samples as f64),
        cycles_lower_bound: cycles * 6 / 10,
        what_if: None,
        latency_s: per_batch,
        throughput_per_s: ratio(1.0, per_batch),
        energy_pj: energy,
        energy_pj_per_sample: energy / samples as f64,
        energy_assumed_share: 0.713,
        energy_pj_by_part: EnergyPjByPart {
            mac: share(9.0),
            registers: share(4.0),
            scratchpad: share(12.0),
            accumulator: share(6.0),
            dram: share(63.0),
            codec: 0.0,
            vector: share(1.5),
            clock: share(4.3),
            leakage: share(0.2),
        },
        area_mm2: 1.4231,
        macs_dense: macs,
        macs_executed: macs,
        utilization: ratio(macs as f64, cycles as f64 * 256.0),
        classes: Some(classes(samples)),
        metrics: Some(BTreeMap::from([(
            "accuracy".to_owned(),
            MetricValues { float: Some(0.9742), compressed_float: Some(0.9742), integer: Some(0.9738), chip: Some(0.9738) },
        )])),
        mismatches: Some(0),
        output_values: samples * 10,
        output_hash: Some("5c".repeat(32)),
        first_mismatch: None,
        coded_bytes: 0,
        unpacked_bytes: 0,
        dram_read_bytes: sum(|l| l.dram_read_bytes),
        dram_write_bytes: sum(|l| l.dram_write_bytes),
        traffic_bytes,
        residency: residency(&layers),
        layers,
        provenance: Provenance {
            version: "0.1.0".to_owned(),
            command: "systole run --chip edge-16x16 --model simplenet-mnist".to_owned(),
            seed: 0,
            chip_sha256: "c0".to_owned(),
            model_sha256: "30".to_owned(),
            data_sha256: None,
        },
    }
}

/// Three dense layers and the host's softmax, 10,000 samples.
pub(crate) fn simplenet() -> Summary {
    use StallReason::{ArrayDrain, DramLatency, WeightsNotReady};
    let layers = vec![
        layer("fc1", 501_760_000, 41_230_000, 19, &[(WeightsNotReady, 71), (DramLatency, 6)]),
        layer("fc2", 20_480_000, 3_640_000, 24, &[(WeightsNotReady, 52), (ArrayDrain, 11)]),
        layer("fc3", 3_200_000, 1_510_000, 21, &[(WeightsNotReady, 31), (ArrayDrain, 16)]),
        layer("softmax", 0, 0, 0, &[]),
    ];
    run("simplenet-mnist", 10_000, layers)
}

/// As many layers as a deep network has, of several kinds.
pub(crate) fn deep(count: u64) -> Summary {
    use StallReason::{
        AccumulatorConflict, AccumulatorHazard, ArrayDrain, BiasNotReady, BufferFull, DramBandwidth, DramLatency, InputNotReady,
        MemoryLatency, ResultNotReady, ScratchpadConflict, WeightsNotReady,
    };
    let kinds: [&[(StallReason, u64)]; 4] = [
        &[(WeightsNotReady, 8), (ScratchpadConflict, 12), (DramBandwidth, 5), (MemoryLatency, 1)],
        &[(InputNotReady, 22), (BufferFull, 4), (AccumulatorConflict, 6)],
        &[(WeightsNotReady, 38), (DramBandwidth, 17), (ResultNotReady, 2), (BiasNotReady, 1)],
        &[(ArrayDrain, 9), (AccumulatorHazard, 7), (DramLatency, 3)],
    ];
    let layers = (0..count).map(|i| {
        let name = format!("/layer{}/layer{}.{}/conv{}/Conv", i / 6 + 1, i / 6 + 1, i / 2 % 3, i % 2 + 1);
        let macs = 1_000_000 * (3 + (i * 37) % 23);
        let index = usize::try_from(i % 4).expect("bug: less than 4");
        layer(&name, macs, macs / 256 * (2 + (i * 13) % 5), 40 - (i * 7) % 20, kinds[index])
    });
    run("resnet50", 1, layers.chain([layer("softmax", 0, 0, 0, &[])]).collect())
}
