//! `systole gemm`: its report, the laws that its figures keep, and what it refuses.

use crate::faults::{all_refused, refused};
use crate::{count, files, output, real, systole, text};
use serde_json::Value;
use std::fs;

fn gemm(arguments: &[&str]) -> Value {
    serde_json::from_str(&output(systole(&["gemm", "--json"]).args(arguments))).unwrap()
}

const SMALL: [&str; 6] = ["-m", "5", "-k", "40", "-n", "24"];

#[test]
fn requests_out_of_range_say_what_would_do() {
    let with = |more: &[&str]| refused(&[&["gemm"][..], &SMALL, more].concat());
    let has = |message: &str, words: &[&str]| assert!(words.iter().all(|word| message.contains(word)), "{message}");
    has(&with(&["--density", "1.01"]), &["the density is 1.01", "from 0 to 1"]);
    has(&with(&["--density", "-0.5"]), &["the density is -0.5"]);
    has(&with(&["--density", "NaN"]), &["the density is NaN"]);
    has(&with(&["--dataflow", "os"]), &["\"edge-16x16\" has no dataflow os; it has ws", "--dataflow"]);
    has(&with(&["--format", "w2a2"]), &["\"edge-16x16\" has no format w2a2; it has w8a8", "--format"]);
    has(&with(&["--chip", "nope"]), &["no chip named `nope`"]);
    has(&with(&["--set", "array.rows=0"]), &["array.rows", "the least is 1"]);
    all_refused(&[
        (&["gemm", "-m", "0", "-k", "1", "-n", "1"], &["m is 0", "1 to 2147483648"]),
        (&["gemm", "-m", "1", "-k", "2147483649", "-n", "1"], &["k is 2147483649"]),
        (&["gemm", "-m", "1", "-k", "1", "-n", "18446744073709551615"], &["n is 18446744073709551615"]),
        (&["gemm", "-m2147483648", "-k2147483648", "-n2147483648"], &["13835058055282163712 elements", "systole topology"]),
    ]);
}

#[test]
fn a_dump_that_cannot_be_is_refused_and_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("run.vcd");
    let with = |more: &[&str]| refused(&[&["gemm"][..], &SMALL, more].concat());
    assert!(with(&["--vcd", text(&path)]).contains("--engine stepped"));
    assert!(with(&["--vcd", text(home.path()), "--engine", "stepped"]).contains("not a regular file"));
    assert!(with(&["--vcd", text(&home.path().join("no/run.vcd")), "--engine", "stepped"]).contains("--vcd"));
    assert!(with(&["--vcd", "..", "--engine", "stepped"]).contains("--vcd"));
    // An array or a run too large to be looked at.
    let stepped = ["--vcd", text(&path), "--engine", "stepped", "--array-only"];
    let large = |more: &[&str]| refused(&[&["gemm"][..], more, &stepped].concat());
    assert!(large(&["--chip", "ideal-128x128", "-m1", "-k1", "-n1"]).contains("128 x 128 of them here, and 4096 is the most"));
    let message = large(&["-m100000", "-k1", "-n1"]);
    assert!(message.contains("768 signals of PEs") && message.contains("87381 cycles or fewer"), "{message}");
    assert_eq!(files(home.path()), Vec::<String>::new());
    // What was there stays as it was when the run fails.
    fs::write(&path, "mine").unwrap();
    assert!(with(&["--vcd", text(&path), "--engine", "stepped", "--density", "2"]).contains("density"));
    assert_eq!((files(home.path()), fs::read_to_string(&path).unwrap()), (vec!["run.vcd".to_owned()], "mine".to_owned()));
}

#[test]
fn the_report_has_every_field_and_its_figures_agree() {
    for more in [&["--array-only"][..], &[], &["--array-only", "--engine", "stepped"], &["--density", "0.25", "--seed", "7"]] {
        let json = gemm(&[&SMALL[..], more].concat());
        assert_eq!([count(&json, "/m"), count(&json, "/k"), count(&json, "/n")], [5, 40, 24]);
        assert_eq!(
            (json["chip"].as_str(), json["dataflow"].as_str(), json["format"].as_str()),
            (Some("edge-16x16"), Some("ws"), Some("w8a8"))
        );
        assert_eq!(json["engine"], if more.contains(&"stepped") { "stepped" } else { "wavefront" });
        let stalls: u64 = json["stall_cycles"].as_object().unwrap().values().map(|cycles| cycles.as_u64().unwrap()).sum();
        assert_eq!(count(&json, "/busy_cycles") + count(&json, "/idle_cycles") + stalls, count(&json, "/total_cycles"), "{json}");
        assert_eq!((count(&json, "/macs_dense"), count(&json, "/macs_executed")), (5 * 40 * 24, 5 * 40 * 24));
        // Tiles of 16 x 16: three along K by two along N, five vectors each.
        assert_eq!((count(&json, "/passes"), count(&json, "/padded_macs")), (6, 6 * 256 * 5 - 5 * 40 * 24));
        let used = [16.0 * 16.0, 16.0 * 8.0, 16.0 * 16.0, 16.0 * 8.0, 8.0 * 16.0, 8.0 * 8.0].iter().sum::<f64>() / (6.0 * 256.0);
        assert!((real(&json, "/mapping_efficiency") - used).abs() < 1e-9, "{json}");
        let utilization = 4800.0 / (256.0 * real(&json, "/total_cycles"));
        assert!((real(&json, "/utilization") - utilization).abs() < 1e-9, "{json}");
        assert_eq!(count(&json, "/mismatches"), 0);
        let hash = json["output_hash"].as_str().unwrap();
        assert!(hash.len() == 64 && hash.chars().all(|c| c.is_ascii_hexdigit()), "{hash}");
        for place in ["dram", "scratchpad", "accumulator"] {
            for operand in ["input", "weight", "output", "psum"] {
                count(&json, &format!("/traffic_bytes/{place}/{operand}/read"));
            }
        }
    }
}

#[test]
fn the_seed_and_nothing_else_changes_the_outputs() {
    let of = |more: &[&str]| gemm(&[&SMALL[..], more].concat());
    let first = of(&["--array-only"]);
    assert_eq!(of(&["--array-only"]), first, "the same bytes every time");
    for more in [&["--array-only", "--engine", "stepped"][..], &[], &["--array-only", "--set", "array.rows=8"]] {
        assert_eq!(of(more)["output_hash"], first["output_hash"], "{more:?}");
    }
    let other = of(&["--array-only", "--seed", "2"]);
    assert_ne!(other["output_hash"], first["output_hash"]);
    assert_eq!(other["total_cycles"], first["total_cycles"], "cycles do not depend on the numbers");
    let zeros = of(&["--array-only", "--density", "0"]);
    assert_eq!((&zeros["total_cycles"], &zeros["macs_executed"]), (&first["total_cycles"], &first["macs_executed"]));
}

#[test]
fn the_lines_say_that_the_outputs_are_right() {
    let printed = output(systole(&["gemm"]).args(SMALL));
    for words in ["chip     edge-16x16", "5 × 40 by 40 × 24", "cycles ", "MACs ", "traffic ", "0 mismatches in 120 output values"] {
        assert!(printed.contains(words), "{words}: {printed}");
    }
    assert!(printed.lines().all(|line| line.chars().count() <= 100), "{printed}");
}

#[test]
fn a_dump_is_a_value_change_dump() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("run.vcd");
    for (more, scopes) in [(&["--array-only"][..], &["array"][..]), (&[], &["array", "vector", "dma0", "dma1"])] {
        let command = || systole(&[&["gemm", "--engine", "stepped", "--vcd", text(&path)], &SMALL[..], more].concat());
        output(&mut command());
        let dump = fs::read(&path).unwrap();
        let header = vcd::Parser::new(&dump[..]).parse_header().unwrap();
        let [vcd::ScopeItem::Comment(_), vcd::ScopeItem::Scope(top)] = &header.items[..] else { panic!("{header:?}") };
        let units = top.items.iter().filter_map(|item| match item {
            vcd::ScopeItem::Scope(unit) => Some(unit.identifier.as_str()),
            _ => None,
        });
        assert_eq!((top.identifier.as_str(), units.collect::<Vec<_>>()), ("systole", scopes.to_vec()));
        assert!(header.find_var(&["systole", "array", "pe_15_15", "sum"]).is_some());
        // A second run takes the place of the first one's file, with the same bytes.
        output(&mut command());
        assert_eq!((fs::read(&path).unwrap() == dump, files(home.path())), (true, vec!["run.vcd".to_owned()]));
    }
}
