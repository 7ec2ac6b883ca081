//! The data of a page, for its script: rows with fields, and the parts that a row is opened to.
//!
//! Not here: what a reader sees without the script.

use crate::counts::StallReason;
use crate::report::{human, ratio};
use serde::Serialize;
use std::collections::BTreeMap;

/// More parts than this, over all rows, and only rows of note keep theirs: a page stays of a size that a browser opens.
pub(super) const MOST_PARTS: usize = 60_000;

/// All of it.
#[derive(Debug, Serialize)]
pub(super) struct Data {
    /// What rows are, and parts.
    pub(super) rows_are: &'static str,
    pub(super) parts_are: &'static str,
    /// Fields of numbers that may be axes, and those of texts that may be colours and filters.
    pub(super) numbers: Vec<String>,
    pub(super) texts: Vec<String>,
    /// What is shown first: along, up, colours.
    pub(super) first: [String; 3],
    /// Fields that a row's label is made of.
    pub(super) label: Vec<String>,
    pub(super) rows: Vec<DataRow>,
    /// Accounts of cycles, each with its name and colour.
    pub(super) accounts: Vec<(String, String)>,
}

/// A row.
#[derive(Debug, Serialize)]
pub(super) struct DataRow {
    /// Fields by name: numbers, and texts.
    pub(super) fields: BTreeMap<String, serde_json::Value>,
    /// Whether it is on the front.
    pub(super) front: bool,
    /// Its parts.
    pub(super) parts: Vec<Part>,
}

/// A part of a row: a layer.
#[derive(Debug, Serialize)]
pub(super) struct Part {
    pub(super) name: String,
    /// Words of it.
    pub(super) about: String,
    /// Cycles of a batch, and of them each account, as `accounts` has them.
    pub(super) cycles: u64,
    pub(super) accounts: Vec<u64>,
    pub(super) energy: String,
    pub(super) use_percent: String,
}

impl Data {
    /// The data as JSON that stands in a script's element: nothing in it ends that.
    pub(super) fn embedded(&self) -> String {
        let json = serde_json::to_string(self).expect("bug: data of a page that are not JSON; please report it");
        // All of these stand in JSON inside of strings alone, where an escape means the same.
        let escapes = [('<', "\\u003c"), ('>', "\\u003e"), ('&', "\\u0026"), ('\u{2028}', "\\u2028"), ('\u{2029}', "\\u2029")];
        let mut text = String::with_capacity(json.len());
        for letter in json.chars() {
            match escapes.iter().find(|(from, _)| *from == letter) {
                Some((_, escape)) => text.push_str(escape),
                None => text.push(letter),
            }
        }
        text
    }
}

/// The accounts in the order of parts: busy, every reason, idle; with their colours as pictures have them.
pub(super) fn accounts() -> Vec<(String, String)> {
    let stalls = StallReason::ALL.into_iter().map(|reason| (human::stall(reason).to_owned(), crate::plot::stall_colour(reason)));
    let (busy, idle) = crate::plot::busy_and_idle_colours();
    [("busy".to_owned(), busy)].into_iter().chain(stalls).chain([("idle".to_owned(), idle)]).collect()
}

/// A layer's cycles by account, in the same order, of one of so many programs.
pub(super) fn by_account(busy: u64, idle: u64, stalls: &BTreeMap<StallReason, u64>, programs: u64) -> Vec<u64> {
    let stalled = StallReason::ALL.into_iter().map(|reason| stalls.get(&reason).copied().unwrap_or(0));
    [busy].into_iter().chain(stalled).chain([idle]).map(|cycles| cycles / programs.max(1)).collect()
}

/// A number as data: none where it is not finite.
pub(super) fn number(value: f64) -> serde_json::Value {
    serde_json::Number::from_f64(value).map_or(serde_json::Value::Null, serde_json::Value::Number)
}

/// A share of something in words.
pub(super) fn share(part: f64, whole: f64) -> String {
    human::percent(ratio(part, whole))
}
