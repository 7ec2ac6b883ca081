//! `systole map`, mappings as files, and layer tables and networks that are only timed.

use crate::faults::{all_refused, refused};
use crate::{count, output, systole, text};
use serde_json::Value;
use std::fs;
use std::path::Path;

const TABLE: &str = "Layer, IFMAP Height, IFMAP Width, Filter Height, Filter Width, Channels, Num Filter, Strides,\n\
                     stem, 18, 18, 3, 3, 3, 24, 1,\nbody, 16, 16, 3, 3, 24, 40, 2,\nbody2, 16, 16, 3, 3, 24, 40, 2,\n";

fn table(home: &Path) -> String {
    let path = home.join("net.csv");
    fs::write(&path, TABLE).unwrap();
    text(&path).to_owned()
}

fn run(home: &Path, arguments: &[&str]) -> Value {
    let out = home.join("out");
    serde_json::from_str(&output(systole(&["run", "--json", "--out", text(&out)]).args(arguments))).unwrap()
}

#[test]
fn a_mapping_is_shown_saved_and_pinned() {
    let home = tempfile::tempdir().unwrap();
    let (table, saved) = (table(home.path()), home.path().join("mapping.ron"));
    for chip in ["edge-16x16", "ideal-16x16", "gemmini-16x16-os"] {
        let shown = output(&mut systole(&["map", "--chip", chip, "--model", &table, "--save", text(&saved)]));
        for words in
            ["stem   ", "body2   ", "  DRAM  ", "  scratchpad  ", "  accumulator  ", "  array  ", "for (stream)", "candidates simulated"]
        {
            assert!(shown.contains(words), "{chip}: {words} is not in\n{shown}");
        }
        let cycles: u64 = shown.lines().last().unwrap().split_whitespace().nth(2).unwrap().parse().unwrap();
        let pinned = run(home.path(), &["--chip", chip, "--model", &table, "--mapping", text(&saved)]);
        assert_eq!(count(&pinned, "/total_cycles"), cycles, "{chip}: a pinned mapping takes what the search said");
        // Energy times delay, in five digits.
        let edp: f64 = shown.lines().last().unwrap().split_whitespace().rev().nth(3).unwrap().parse().unwrap();
        let foretold = pinned.pointer("/energy_pj").unwrap().as_f64().unwrap() * cycles as f64;
        assert!((edp / foretold - 1.0).abs() < 1e-4, "{chip}: {edp} {foretold}");
        let plain = run(home.path(), &["--chip", chip, "--model", &table]);
        assert!(cycles <= count(&plain, "/total_cycles"), "{chip}: a search does no worse than no search");
        assert_eq!(output(&mut systole(&["map", "--chip", chip, "--model", &table])), shown, "the same every time");
        // The same as data.
        let told: Value = serde_json::from_str(&output(&mut systole(&["map", "--chip", chip, "--model", &table, "--json"]))).unwrap();
        let layers = told["layers"].as_array().unwrap();
        assert_eq!((count(&told, "/total_cycles"), layers.len()), (cycles, 3));
        assert_eq!(layers.iter().map(|layer| count(layer, "/total_cycles")).sum::<u64>(), cycles, "windows partition the run");
        for layer in layers {
            let trips = |of: &str| {
                let loops = layer["loops"].as_array().unwrap().iter().filter(|l| l["dimension"] == of);
                loops.map(|l| count(l, "/trips")).product::<u64>()
            };
            // The loops over a dimension cover it: vectors, channels and elements of K.
            let [n, m, c, p, q, r, s] = ["N", "M", "C", "P", "Q", "R", "S"].map(|name| layer["dimensions"][name].as_u64().unwrap());
            assert!(trips("N") >= n * p * q && trips("M") >= m && trips("C") >= c * r * s, "{chip}: {layer}");
            assert!(count(layer, "/search/simulated") <= count(layer, "/search/candidates"));
        }
        // One layer is shown alone, under whatever objective.
        let one =
            output(&mut systole(&["map", "--chip", chip, "--model", &table, "--layer", "body", "--objective", "edp", "--budget", "2"]));
        assert!(one.starts_with("body   ") && !one.contains("stem"), "{one}");
    }
}

/// A network's pools have no candidates to choose among, and are timed with the rest.
#[test]
fn a_network_with_pools_is_mapped_and_takes_what_the_search_said() {
    let home = tempfile::tempdir().unwrap();
    let saved = home.path().join("mapping.ron");
    let shown = output(&mut systole(&["map", "--model", "lenet-mnist", "--save", text(&saved)]));
    let cycles: u64 = shown.lines().last().unwrap().split_whitespace().nth(2).unwrap().parse().unwrap();
    let pinned = run(home.path(), &["--model", "lenet-mnist", "--samples", "2", "--mapping", text(&saved)]);
    assert_eq!((count(&pinned, "/total_cycles"), count(&pinned, "/mismatches")), (2 * cycles, 0));
    assert!(!fs::read_to_string(&saved).unwrap().contains("pool"), "only what the array computes is pinned");
}

#[test]
fn layers_are_drawn_under_their_roofs() {
    let home = tempfile::tempdir().unwrap();
    let (table, out) = (table(home.path()), home.path().join("roofs"));
    output(&mut systole(&["map", "--model", &table, "--out", text(&out)]));
    assert_eq!(crate::files(&out), ["roofline.csv", "roofline.png", "roofline.svg"]);
    let csv = fs::read_to_string(out.join("roofline.csv")).unwrap();
    assert!(csv.starts_with("name,macs,dram_bytes,total_cycles,cycles_lower_bound,bound_by\nstem,"), "{csv}");
    let body: Vec<&str> = csv.lines().find(|line| line.starts_with("body,")).unwrap().split(',').collect();
    assert_eq!(body[1], (8 * 8 * 9 * 24 * 40).to_string());
    let svg = fs::read_to_string(out.join("roofline.svg")).unwrap();
    assert!(["body2", "256 MACs a cycle; 16.0 B a cycle", "MACs a byte of DRAM"].iter().all(|words| svg.contains(words)));
    assert!(refused(&["map", "--model", &table, "--out", &table]).contains("--out"));
}

#[test]
fn a_run_says_what_takes_its_time() {
    let home = tempfile::tempdir().unwrap();
    let table = table(home.path());
    let plain = run(home.path(), &["--model", &table]);
    assert!(plain["what_if"].is_null() && plain["layers"][0]["what_if"].is_null());
    let sum = |costs: &Value| {
        ["dram", "ports", "vector", "array", "rest"].iter().map(|of| costs[format!("{of}_cycles")].as_i64().unwrap()).sum::<i64>()
    };
    // Two batches, the second filled up: what one costs, twice.
    for arguments in
        [&["--model", &table][..], &["--samples", "3", "--batch", "2"], &["--samples", "3", "--timing-only", "--chip", "edge-16x16-ddr4"]]
    {
        let explained = run(home.path(), &[arguments, &["--what-if"]].concat());
        assert_eq!(sum(&explained["what_if"]).cast_unsigned(), count(&explained, "/total_cycles"), "{arguments:?}");
        for layer in explained["layers"].as_array().unwrap().iter().filter(|layer| layer["bound_by"] != "host") {
            assert_eq!(sum(&layer["what_if"]).cast_unsigned(), count(layer, "/total_cycles"), "{arguments:?}");
        }
        let mut without = run(home.path(), arguments);
        for key in ["what_if", "provenance", "layers"] {
            without[key] = explained[key].clone();
        }
        assert_eq!(without, explained, "nothing else changes");
    }
    let shown = output(&mut systole(&["run", "--model", &table, "--what-if", "--out", text(&home.path().join("out"))]));
    assert!(shown.contains("Why it takes that long"), "{shown}");
    let csv = fs::read_to_string(home.path().join("out/layers.csv")).unwrap();
    assert!(csv.lines().next().unwrap().ends_with(
        "what_if_dram_cycles,what_if_ports_cycles,what_if_vector_cycles,what_if_array_cycles,what_if_host_cycles,what_if_rest_cycles"
    ));
    let residency = fs::read_to_string(home.path().join("out/residency.csv")).unwrap();
    assert!(
        residency.starts_with("tensor,memory,address_bytes,bytes,first_layer,last_layer,is_whole\ninput,scratchpads.0,0,"),
        "{residency}"
    );
}

/// An array in which sums stay takes steps of activations across vectors: on few banks it waits for ports more than for anything.
#[test]
fn ports_are_named_where_they_bind() {
    let home = tempfile::tempdir().unwrap();
    let json = run(home.path(), &["--chip", "gemmini-16x16-os", "--model", "tests/topologies/resnet18.csv"]);
    let named = json["layers"].as_array().unwrap().iter().filter(|layer| layer["bound_by"] == "memory_ports").inspect(|layer| {
        let stalls = |reason: &str| layer["stall_cycles"][reason].as_u64().unwrap_or(0);
        let conflicts = stalls("scratchpad_conflict") + stalls("accumulator_conflict") + stalls("accumulator_hazard");
        assert!(2 * conflicts >= count(layer, "/total_cycles"), "{layer}");
    });
    assert!(named.count() > 10);
}

#[test]
fn a_layout_is_asked_for_saved_and_pinned() {
    let home = tempfile::tempdir().unwrap();
    let (table, saved) = (table(home.path()), home.path().join("mapping.ron"));
    let chip = ["--chip", "gemmini-16x16-os", "--model", &table];
    let plain = run(home.path(), &chip);
    let asked = |layout: &str| run(home.path(), &[&chip[..], &["--layout", layout]].concat());
    assert_eq!(asked("nhwc")["total_cycles"], plain["total_cycles"]);
    assert_ne!(asked("nchw")["total_cycles"], plain["total_cycles"], "where sums stay, the array reads across pixels");
    for figure in ["/macs_executed", "/dram_read_bytes", "/dram_write_bytes"] {
        assert_eq!(count(&asked("nc5hw5"), figure), count(&plain, figure), "what is too much of a block is never moved");
    }
    let shown = output(systole(&["map", "--layout", "nc8hw8", "--save", text(&saved)]).args(chip));
    assert!(shown.contains("input laid out nc8hw8") && fs::read_to_string(&saved).unwrap().contains("BlockedByC(8)"), "{shown}");
    let cycles: u64 = shown.lines().last().unwrap().split_whitespace().nth(2).unwrap().parse().unwrap();
    let pinned = run(home.path(), &[&chip[..], &["--mapping", text(&saved)]].concat());
    assert_eq!(count(&pinned, "/total_cycles"), cycles);
    let message = output_of_usage(&["run", "--layout", "nhcw"]);
    assert!(message.contains("nhcw") && message.contains("nc16hw16"), "{message}");
}

/// What a command of wrong usage says, which ends with 2.
fn output_of_usage(arguments: &[&str]) -> String {
    let ended = systole(arguments).output().unwrap();
    assert_eq!(ended.status.code(), Some(2));
    String::from_utf8(ended.stderr).unwrap()
}

#[test]
fn mappings_that_do_not_fit_say_why() {
    let home = tempfile::tempdir().unwrap();
    let (table, path) = (table(home.path()), home.path().join("m.ron"));
    let with = |pin: &str| {
        fs::write(&path, format!("MappingFile(layers: [Pin({pin})])")).unwrap();
        refused(&["run", "--model", &table, "--out", text(&home.path().join("out")), "--mapping", text(&path)])
    };
    let has = |message: &str, words: &[&str]| assert!(words.iter().all(|word| message.contains(word)), "{message}");
    let cut = "order: Blocks, block: 256, chunk: 16";
    has(&with(&format!("layer: \"stem\", stationary: output, {cut}")), &["\"stem\"", "os", "no such dataflow", "help: "]);
    has(&with(&format!("layer: \"steam\", stationary: weight, {cut}")), &["\"steam\"", "no such layer"]);
    has(&with("layer: \"stem\", stationary: weight, order: Blocks, block: 0, chunk: 16"), &["a block of 0 vectors", "1 to 256"]);
    let products = home.path().join("products.csv");
    fs::write(&products, "Layer, M, N, K,\na, 100, 20, 33,\n").unwrap();
    let pin = "layer: \"a\", stationary: weight, order: Blocks, block: 16, chunk: 16, layout: Some(RowMajor)";
    fs::write(&path, format!("MappingFile(layers: [Pin({pin})])")).unwrap();
    let message = refused(&["run", "--model", text(&products), "--out", text(&home.path().join("out")), "--mapping", text(&path)]);
    has(&message, &["\"a\"", "nchw", "vectors", "help: "]);
    has(&with("layer: \"stem\", stationary: weight, order: Blocks, block: 16, chunk: 5"), &["a chunk of 5 channels", "it is 16 here"]);
    has(&with("layer: 5"), &["m.ron", "line 1", "systole map --save"]);
    let small = "scratchpads=[(role: Shared, capacity: B(2048), banks: 4, port_bytes: 16, latency: Cycles(4))]";
    let large = format!("MappingFile(layers: [Pin(layer: \"stem\", stationary: weight, {cut})])");
    fs::write(&path, large).unwrap();
    let message = refused(&["run", "--model", &table, "--out", text(&home.path().join("out")), "--mapping", text(&path), "--set", small]);
    has(&message, &["\"stem\"", "do not fit", "help: "]);
    all_refused(&[
        (&["run", "--mapping", "no.ron"], &["no.ron", "help: "]),
        (
            &["map", "--chip", "edge-16x16", "--set", "scratchpads.0.capacity=B(64)"],
            &["needs at least", "help: raise scratchpads.0.capacity"],
        ),
        (&["map", "--layer", "z9"], &["\"z9\"", "z1, z2, z3"]),
        (&["map", "--model", "no.csv"], &["no.csv"]),
        (&["run", "--model", &table, "--data", "x"], &["--data", "layer table", "help: "]),
        (&["run", "--model", &table, "--samples", "3"], &["--samples", "--batch"]),
        (&["run", "--model", &table, "--dump", "logits"], &["--dump"]),
    ]);
}

#[test]
fn a_run_that_is_only_timed_takes_the_same_cycles() {
    let home = tempfile::tempdir().unwrap();
    for more in [&["--batch", "3"][..], &["--weights", "resident"], &["--chip", "gemmini-16x16-os"]] {
        let whole = run(home.path(), &[&["--samples", "6"][..], more].concat());
        let timed = run(home.path(), &[&["--samples", "6", "--timing-only"][..], more].concat());
        for figure in ["/total_cycles", "/macs_executed", "/dram_read_bytes", "/dram_write_bytes", "/cycles_lower_bound"] {
            assert_eq!(count(&timed, figure), count(&whole, figure), "{figure} with {more:?}");
        }
        assert_eq!((&timed["energy_pj"], &timed["layers"][0]["stall_cycles"]), (&whole["energy_pj"], &whole["layers"][0]["stall_cycles"]));
        assert!(timed["metrics"].is_null() && timed["mismatches"].is_null() && timed["engine"] == "timing-only");
    }
    // A layer table: the batch is images, weights cross the bus once where the input stays.
    let table = table(home.path());
    let one = run(home.path(), &["--model", &table]);
    let four = run(home.path(), &["--model", &table, "--batch", "4"]);
    assert_eq!(4 * count(&one, "/macs_dense"), count(&four, "/macs_dense"));
    assert_eq!(count(&one, "/macs_dense"), 16 * 16 * 27 * 24 + 2 * 8 * 8 * 216 * 40, "the last, partial step of a stride counts");
    assert!(count(&one, "/cycles_lower_bound") <= count(&one, "/total_cycles"));
}

/// Where sums saturate, the dataflow says what is summed before they do: the reference goes by the one that each layer is mapped to.
#[test]
fn a_pinned_dataflow_has_its_own_arithmetic() {
    let home = tempfile::tempdir().unwrap();
    let common = "row_hop: 1, col_hop: 1, pipeline_registers: 3, min_pass_cycles: 4, overlap: Pipelined, extent: Physical";
    let dataflows = format!(
        "array.dataflows=[WeightStationary({common}, load: Rows, stationary_buffers: 2, max_pass_vectors: Rows), \
         OutputStationary({common}, drain: Rows, psum_preload: Rows, reduction_padding: Exact)]"
    );
    let narrow = "formats=[(weight: Int8, activation: Int8, lanes: 1, accumulator_bits: 17, overflow: Saturate, pe: Table)]";
    let logits = |stationary: &str| {
        let (out, pins) = (home.path().join(stationary), home.path().join("pins.ron"));
        let pin = format!("Pin(layer: \"z1\", stationary: {stationary}, order: Blocks, block: 1, chunk: 16)");
        fs::write(&pins, format!("MappingFile(layers: [{pin}])")).unwrap();
        let pinned = ["--set", &dataflows, "--set", narrow, "--mapping", text(&pins), "--dump", "logits", "--out", text(&out)];
        // A difference between the chip and the reference would be a bug, and end so.
        let printed = output(systole(&["run", "--samples", "20"]).args(pinned));
        assert!(printed.contains("0 mismatches in 200 output values"), "{printed}");
        fs::read(out.join("logits.npz")).unwrap()
    };
    assert_ne!(logits("weight"), logits("output"), "the case is one in which it matters");
}
