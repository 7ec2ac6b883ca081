//! Random chips, batches and starts: each run ends with exit 0 and no mismatch, or with one clear message and exit 1.

use crate::systole;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::Value;

#[test]
fn a_few_random_chips_run_or_are_refused_clearly() {
    stress(1..13);
}

/// Takes minutes: `cargo test --release --test cli -- --ignored hundreds`.
#[test]
#[ignore = "takes minutes: cargo test --test cli -- --ignored hundreds_of_random_chips; the test above has a few of the same cases"]
fn hundreds_of_random_chips_run_or_are_refused_clearly() {
    stress(100..600);
}

fn stress(seeds: std::ops::Range<u64>) {
    let mut wrong = Vec::new();
    let mut ran = 0;
    for seed in seeds.clone() {
        let folder = tempfile::tempdir().unwrap();
        let arguments = arguments(&mut ChaCha8Rng::seed_from_u64(seed));
        let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
        let done = systole(&words).arg("--out").arg(folder.path()).output().unwrap();
        let fault = match done.status.code() {
            Some(0) => {
                ran += 1;
                fault_of_run(&serde_json::from_slice(&done.stdout).unwrap())
            }
            Some(1) => {
                let message = String::from_utf8_lossy(&done.stderr).into_owned();
                let is_clear = message.contains("does not fit") && message.contains("help: ") && message.matches("error: ").count() == 1;
                (!is_clear || !done.stdout.is_empty()).then_some(message)
            }
            code => Some(format!("exit {code:?}: {}", String::from_utf8_lossy(&done.stderr))),
        };
        if let Some(fault) = fault {
            let quoted: Vec<String> = words.iter().map(|word| format!("'{word}'")).collect();
            wrong.push(format!("seed {seed}: systole {}\n{fault}", quoted.join(" ")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    assert!(2 * ran >= seeds.count(), "most chips should run, and {ran} did");
}

fn fault_of_run(json: &Value) -> Option<String> {
    let number = |value: &Value, name: &str| value[name].as_u64().unwrap();
    let layers = json["layers"].as_array().unwrap();
    let windows: u64 = layers.iter().map(|layer| number(layer, "total_cycles")).sum();
    let is_right = json["mismatches"] == 0
        && windows == number(json, "total_cycles")
        && number(json, "cycles_lower_bound") <= windows
        && layers.iter().all(|layer| {
            let stalls: u64 = layer["stall_cycles"].as_object().unwrap().values().map(|cycles| cycles.as_u64().unwrap()).sum();
            number(layer, "busy_cycles") + number(layer, "idle_cycles") + stalls == number(layer, "total_cycles")
        });
    (!is_right).then(|| json.to_string())
}

/// One of several.
fn one<T: Copy>(rng: &mut ChaCha8Rng, of: &[T]) -> T {
    *of.choose(rng).unwrap()
}

/// A run on a random chip, made from edge-16x16 by `--set`: odd sizes, small memories, and every choice of timing.
fn arguments(rng: &mut ChaCha8Rng) -> Vec<String> {
    const SIDES: [u64; 13] = [1, 2, 3, 5, 7, 8, 16, 17, 33, 64, 100, 256, 512];
    let (rows, cols) = (one(rng, &SIDES), one(rng, &SIDES));
    let mut sets = vec![format!("array.rows={rows}"), format!("array.cols={cols}")];
    let mut maybe = |rng: &mut ChaCha8Rng, field: &str, values: &[&str]| {
        if rng.random_bool(0.5) {
            sets.push(format!("{field}={}", one(rng, values)));
        }
    };
    let flow = |field: &str| format!("array.dataflows.0.{field}");
    maybe(rng, &flow("row_hop"), &["0", "1", "2", "3"]);
    maybe(rng, &flow("col_hop"), &["0", "1", "2", "3"]);
    maybe(rng, &flow("pipeline_registers"), &["0", "1", "3", "8"]);
    maybe(rng, &flow("load"), &["Rows", "Cycles(1)", "Cycles(5)", "Cycles(200)"]);
    maybe(rng, &flow("max_pass_vectors"), &["Rows", "Unlimited"]);
    maybe(rng, &flow("min_pass_cycles"), &["1", "4", "40"]);
    maybe(rng, "dma.engines", &["1", "2"]);
    maybe(rng, "dma.outstanding", &["1", "2", "7"]);
    maybe(rng, "dma.bytes_per_cycle", &["1", "3", "16", "64"]);
    maybe(rng, "dram.bytes_per_cycle", &["0.125", "0.3", "1", "3.7", "16", "100"]);
    maybe(rng, "dram.latency", &["Cycles(0)", "Cycles(1)", "Cycles(1000)"]);
    maybe(rng, "vector.lanes", &["1", "3", "16", "512"]);
    maybe(rng, "vector.start_cycles", &["0", "1", "50"]);
    maybe(rng, "vector.cycles.requantize", &["1", "2", "7"]);
    maybe(rng, "vector.requantize", &["FixedPoint(convolution: Double, dense: Single)"]);
    if rng.random_bool(0.4) {
        sets.push(format!("{}=Serial", flow("overlap")));
        sets.push(format!("{}=1", flow("stationary_buffers")));
        sets.push(format!("{}={}", flow("extent"), one(rng, &["Used", "Physical"])));
    } else {
        sets.push(format!("{}={}", flow("stationary_buffers"), one(rng, &["1", "2"])));
    }
    if rng.random_bool(0.6) {
        let tile = rows * cols;
        if rng.random_bool(0.5) {
            sets.push(format!("scratchpads=[{}]", scratchpad(rng, "Shared", tile + 850)));
        } else {
            sets.push(format!("scratchpads=[{}, {}]", scratchpad(rng, "Weight", tile), scratchpad(rng, "Input", 850)));
        }
    }
    if rng.random_bool(0.6) {
        sets.push(format!("accumulator=({})", memory(rng, 4 * cols, &[4, 8, 12, 28, 64, 128, 1024])));
    }
    let (samples, batch) = (one(rng, &["1", "2", "3", "5"]), one(rng, &["1", "1", "2", "3", "5", "16", "33"]));
    let mut words = vec!["run", "--json", "--samples", samples, "--batch", batch, "--weights", one(rng, &["cold", "resident"])];
    words.extend(sets.iter().flat_map(|set| ["--set", set.as_str()]));
    words.into_iter().map(str::to_owned).collect()
}

fn scratchpad(rng: &mut ChaCha8Rng, role: &str, about: u64) -> String {
    format!("(role: {role}, {})", memory(rng, about, &[1, 2, 3, 4, 5, 7, 16, 32, 64, 256]))
}

/// A memory of about as many bytes as are needed, in whole rows of every bank.
fn memory(rng: &mut ChaCha8Rng, needed: u64, ports: &[u64]) -> String {
    let (port, banks) = (one(rng, ports), rng.random_range(1..=8_u64));
    let row = port * banks;
    let bytes = needed * one(rng, &[8, 10, 10, 12, 15, 20, 40, 100]) * rng.random_range(80..130_u64) / 1000;
    let latency = one(rng, &[1, 1, 2, 4, 20]);
    format!("capacity: B({}), banks: {banks}, port_bytes: {port}, latency: Cycles({latency})", (bytes / row * row).max(row))
}
