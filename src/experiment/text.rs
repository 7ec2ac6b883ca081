//! Small readers that chip files do not need: maps, optional fields, names out of a list, and messages of other stages cut to a fault.

use crate::chip::{Item, Kind, Node, Reader, join, nearest};
use crate::model::way;
use std::fmt::Display;
use std::path::Path;

/// The entries of a map whose keys are texts, each once.
pub(super) fn map<'t>(reader: &mut Reader, item: Option<Item<'t>>, example: &str) -> Vec<(String, &'t Node, Item<'t>)> {
    let Some(item) = item else { return Vec::new() };
    let Kind::Map(entries) = &item.node.kind else {
        let what = format!("{} is a map of names and what they stand for", item.path);
        reader.refuse(&item, what, format!("write it like `{example}`"));
        return Vec::new();
    };
    let mut found: Vec<(String, &Node, Item<'_>)> = Vec::new();
    for (key, value) in entries {
        let Some(name) = key.text().filter(|name| !name.trim().is_empty()) else {
            let at = Item { node: key, path: item.path.clone() };
            reader.refuse(&at, format!("{}: a name is a text", item.path), format!("write it like `{example}`"));
            continue;
        };
        if found.iter().any(|(known, ..)| *known == name) {
            let at = Item { node: key, path: item.path.clone() };
            reader.refuse(&at, format!("{}: {name:?} is written twice", item.path), "remove one of them");
            continue;
        }
        let value = Item { node: value, path: join(&item.path, &name) };
        found.push((name, key, value));
    }
    found
}

/// A whole number of 64 bits, of at least `least`.
pub(super) fn count(reader: &mut Reader, item: Option<Item<'_>>, least: u64, most: u64) -> Option<u64> {
    let item = item?;
    let literal = if let Kind::Literal(literal) = &item.node.kind { literal.replace('_', "") } else { String::new() };
    let number = literal.parse().ok().filter(|number| (least..=most).contains(number));
    if number.is_none() {
        reader.refuse(&item, format!("{} must be a whole number from {least} to {most}", item.path), "write the number alone");
    }
    number
}

/// One of some names; a fault offers the nearest.
pub(super) fn one_of(reader: &mut Reader, item: Option<Item<'_>>, names: &[String], what: &str) -> Option<String> {
    let item = item?;
    let name = reader.text(Some(item.clone()))?;
    if names.contains(&name) {
        return Some(name);
    }
    let near = nearest(&name, names.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
    reader.refuse(&item, format!("{} must be {what} of the experiment", item.path), format!("{near}there are {}", names.join(", ")));
    None
}

/// A path as the working folder has it: what is not there is looked for beside the experiment, and goes by the way there, however the experiment's own path
/// was given. Names stay as they are.
pub(super) fn beside(experiment: &Path, name: &str) -> String {
    let is_path = name.contains(['/', std::path::MAIN_SEPARATOR]) || [".ron", ".onnx", ".csv"].iter().any(|end| name.ends_with(end));
    let path = experiment.parent().unwrap_or(Path::new("")).join(name);
    if !is_path || Path::new(name).exists() || !path.is_file() {
        return name.to_owned();
    }
    way(Path::new("."), &path).unwrap_or_else(|_| path.to_string_lossy().into_owned())
}

/// Another stage's message as a fault: its first line, and its help.
pub(super) fn message(error: &impl Display) -> (String, String) {
    let text = error.to_string();
    let first = text.lines().next().unwrap_or_default().to_owned();
    let help = text.split_once("help: ").map_or("see what the message names", |(_, help)| help);
    (first, help.trim().to_owned())
}
