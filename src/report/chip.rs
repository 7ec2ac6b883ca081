//! Chips as data: the list of them, one field by field, and what tells two apart.
//!
//! Not here: what a field means, or whether a chip can be built (`chip`).

use super::json::pretty;
use serde::Serialize;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// A chip in a list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChipEntry {
    /// Its name.
    pub name: String,
    /// PEs in a column of the array.
    pub rows: u64,
    /// PEs in a row of the array.
    pub cols: u64,
    /// The core clock in hertz.
    pub clock_hz: u64,
    /// Bytes of all scratchpads and accumulators.
    pub on_chip_bytes: u64,
    /// Where its figures come from.
    pub source: String,
}

impl ChipEntry {
    /// The chip as JSON, ending in a newline.
    pub fn json(&self) -> String {
        pretty(self)
    }
}

/// A field by its path, as `--set` takes it, and its value as a chip file writes it.
pub type ChipField = (String, String);

/// A field that tells two chips apart.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ChipChange {
    /// The field's path.
    pub field: String,
    /// Its value in the first chip; none where that has no such field.
    pub a: Option<String>,
    /// Its value in the second.
    pub b: Option<String>,
}

/// What tells two chips apart, field by field: those of the first in its order, then those that only the second has.
pub fn chip_changes(a: &[ChipField], b: &[ChipField]) -> Vec<ChipChange> {
    let by_path = |fields: &[ChipField]| -> BTreeMap<String, String> { fields.iter().cloned().collect() };
    let (of_a, of_b) = (by_path(a), by_path(b));
    let paths = a.iter().chain(b.iter().filter(|(path, _)| !of_a.contains_key(path)));
    let changes = paths.map(|(path, _)| ChipChange { field: path.clone(), a: of_a.get(path).cloned(), b: of_b.get(path).cloned() });
    changes.filter(|change| change.a != change.b).collect()
}

/// The list as JSON, ending in a newline.
pub fn chips_json(chips: &[ChipEntry]) -> String {
    pretty(&chips)
}

/// A chip's fields as JSON: an object of values as a chip file writes them, by path; ending in a newline.
pub fn chip_json(fields: &[ChipField]) -> String {
    // In the file's order, which a map of the library's would sort.
    let mut text = String::from("{");
    for (number, (path, value)) in fields.iter().enumerate() {
        let [path, value] = [path, value].map(|text| serde_json::Value::from(text.as_str()));
        let _ = write!(text, "{}\n  {path}: {value}", if number > 0 { "," } else { "" });
    }
    text.push_str("\n}\n");
    text
}

/// What tells two chips apart, as JSON, ending in a newline.
pub fn chip_changes_json(changes: &[ChipChange]) -> String {
    pretty(&changes)
}

/// The same as text, a line a field.
pub fn chip_changes_terminal(changes: &[ChipChange]) -> String {
    let widest = changes.iter().map(|change| change.field.chars().count()).max().unwrap_or(0);
    changes.iter().fold(String::new(), |mut text, ChipChange { field, a, b }| {
        let [a, b] = [a, b].map(|value| value.as_deref().unwrap_or("(not there)"));
        let _ = writeln!(text, "{field:<widest$}  {a} -> {b}");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_are_those_fields_that_differ_in_either_chip() {
        let fields =
            |pairs: &[(&str, &str)]| pairs.iter().map(|(path, value)| ((*path).to_string(), (*value).to_string())).collect::<Vec<_>>();
        let a = fields(&[("name", "\"a\""), ("array.rows", "16"), ("dram.latency", "Cycles(4)")]);
        let b = fields(&[("name", "\"b\""), ("array.rows", "16"), ("dram.page", "Open")]);
        let changes = chip_changes(&a, &b);
        assert_eq!(changes.iter().map(|change| change.field.as_str()).collect::<Vec<_>>(), ["name", "dram.latency", "dram.page"]);
        assert_eq!((&changes[1].b, changes[2].b.as_deref()), (&None, Some("Open")));
        assert_eq!(chip_changes(&a, &a), []);
        assert!(chip_changes_terminal(&changes).contains("dram.page     (not there) -> Open\n"), "{}", chip_changes_terminal(&changes));
        let read: BTreeMap<String, String> = serde_json::from_str(&chip_json(&a)).unwrap();
        assert_eq!(read["dram.latency"], "Cycles(4)");
        assert_eq!(serde_json::from_str::<serde_json::Value>(&chip_json(&[])).unwrap(), serde_json::json!({}));
    }
}
