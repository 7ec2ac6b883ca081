//! `systole chip`: the list, one chip field by field, a new one, and what tells two apart.

use crate::{output, systole, text};
use serde_json::Value;
use std::fs;

fn json(arguments: &[&str]) -> Value {
    serde_json::from_str(&output(systole(arguments).arg("--json"))).unwrap()
}

#[test]
fn chips_are_told_as_data() {
    let listed = json(&["chip", "list"]);
    let edge = listed.as_array().unwrap().iter().find(|chip| chip["name"] == "edge-16x16").unwrap();
    assert_eq!((&edge["rows"], &edge["clock_hz"], &edge["on_chip_bytes"]), (&16.into(), &1_000_000_000_u64.into(), &(320 << 10).into()));
    assert_eq!(&json(&["chip", "check", "edge-16x16"]), edge);
    let fields = json(&["chip", "show", "edge-16x16", "--set", "array.cols=32"]);
    assert_eq!((&fields["array.cols"], &fields["clock"]), (&"32".into(), &"MHz(1000)".into()));
}

#[test]
fn a_new_chip_loads_and_differs_in_what_was_changed() {
    let home = tempfile::tempdir().unwrap();
    let file = home.path().join("mine.ron");
    let new = ["chip", "new", "mine", "--base", "edge-16x16", "--set", "array.rows=8", "--out", text(&file)];
    assert!(output(&mut systole(&new)).contains("run --chip"));
    let changed: Vec<Value> = json(&["chip", "diff", "edge-16x16", text(&file)]).as_array().unwrap().clone();
    assert_eq!(changed.iter().map(|change| change["field"].as_str().unwrap()).collect::<Vec<_>>(), ["name", "source", "array.rows"]);
    assert_eq!((&changed[2]["a"], &changed[2]["b"]), (&"16".into(), &"8".into()));
    assert_eq!(output(&mut systole(&["chip", "diff", text(&file), text(&file)])), "");
    // What is there is left alone.
    let before = fs::read(&file).unwrap();
    let refused = systole(&new).assert().code(1);
    assert!(String::from_utf8_lossy(&refused.get_output().stderr).contains("cannot write"));
    assert_eq!(fs::read(&file).unwrap(), before);
}
