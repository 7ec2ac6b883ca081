//! What a name or a path means: a network with its card, or a layer table.
//!
//! Not here: what is in them (`load`, and `topology`).

use super::load::load;
use super::shipped::shipped_names;
use super::{Model, ModelError};
use crate::data::sha256_hex;
use crate::topology::{self, Table};
use std::path::Path;

/// The names that a message offers at most.
const OFFERED: usize = 3;
/// The longest name that is compared with others.
const LONGEST: usize = 100;
/// How alike a name must be to be offered, 0 to 1 (Jaro and Winkler).
const ALIKE: f64 = 0.8;

/// What was found.
#[derive(Debug, Clone)]
pub enum Found {
    /// A network with its card.
    Network(Box<Model>),
    /// A layer table.
    Table(LayerTable),
}

/// A layer table and where it comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerTable {
    /// Its name: that of its file without the extension.
    pub name: String,
    /// The path as it was given, or that of the table in the project.
    pub path: String,
    /// Its layers.
    pub table: Table,
    /// SHA-256 of its bytes, in hexadecimal.
    pub sha256: String,
}

impl LayerTable {
    fn read(path: &Path) -> Result<Self, ModelError> {
        Self::parse(&topology::read(path)?, path)
    }

    fn parse(text: &str, path: &Path) -> Result<Self, ModelError> {
        let shown = path.display().to_string();
        let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Self { name, table: topology::parse(text, &shown)?, path: shown, sha256: sha256_hex(text.as_bytes()) })
    }

    /// The table of this bare name: `models/<name>.csv` of the current folder, or else one that is part of the program; none where there is none.
    fn named(name: &str) -> Option<Result<Self, ModelError>> {
        if !is_bare(name) {
            return None;
        }
        let local = Path::new("models").join(format!("{name}.csv"));
        if local.is_file() {
            return Some(Self::read(&local));
        }
        topology::shipped(name).map(|text| Self::parse(text, &local))
    }
}

/// Finds the model of this path or bare name: a layer table (`.csv`), or whatever [`load`] loads. A bare name is a card's or a table's in `models/` of
/// the current folder, or else one that is part of the program; where both have it, the card's.
///
/// # Errors
/// If there is none, with the names that are most like it; or what is wrong with it.
pub fn find(path_or_name: &str) -> Result<Found, ModelError> {
    if is_csv(path_or_name) {
        return LayerTable::read(Path::new(path_or_name)).map(Found::Table);
    }
    let has_card = is_bare(path_or_name) && Path::new("models").join(format!("{path_or_name}.ron")).is_file();
    match LayerTable::named(path_or_name) {
        Some(table) if !has_card => table.map(Found::Table),
        _ => load(path_or_name).map(|model| Found::Network(Box::new(model))),
    }
}

/// Finds the layer table of this path or bare name, whatever its extension.
///
/// # Errors
/// As [`find`].
pub fn find_table(path_or_name: &str) -> Result<LayerTable, ModelError> {
    let path = Path::new(path_or_name);
    match LayerTable::named(path_or_name) {
        Some(table) if !is_csv(path_or_name) && !path.exists() => table,
        None if is_bare(path_or_name) && path.extension().is_none() && !path.exists() => {
            Err(unknown(path_or_name, "csv", topology::shipped_names()))
        }
        _ => LayerTable::read(path),
    }
}

/// The names of all models that are part of the program: networks, then layer tables.
pub fn names() -> impl Iterator<Item = &'static str> {
    shipped_names().chain(topology::shipped_names())
}

/// That there is no such model, with the names that are most like it.
pub(super) fn unknown(name: &str, extension: &str, names: impl Iterator<Item = &'static str>) -> ModelError {
    let names: Vec<&'static str> = names.collect();
    ModelError::Unknown {
        name: name.escape_debug().take(80).collect(),
        looked: if is_bare(name) {
            format!("{} does not exist", Path::new("models").join(format!("{name}.{extension}")).display())
        } else {
            "the path of a model ends in .ron, .onnx or .csv".to_string()
        },
        near: nearest(name, &names),
        shipped: names.join(", "),
    }
}

/// The names that begin with `wanted`, or else those most like it, the most alike first.
fn nearest(wanted: &str, names: &[&'static str]) -> Vec<&'static str> {
    if wanted.len() > LONGEST {
        return Vec::new();
    }
    let wanted = wanted.to_lowercase();
    let begun = names.iter().copied().filter(|name| !wanted.is_empty() && name.starts_with(&wanted)).take(OFFERED);
    let begun: Vec<&'static str> = begun.collect();
    if !begun.is_empty() {
        return begun;
    }
    let mut near: Vec<(f64, &'static str)> =
        names.iter().map(|name| (strsim::jaro_winkler(&wanted, name), *name)).filter(|(alike, _)| *alike >= ALIKE).collect();
    // Names that are as much alike keep their order.
    near.sort_by(|one, other| other.0.total_cmp(&one.0));
    near.into_iter().take(OFFERED).map(|(_, name)| name).collect()
}

fn is_csv(path: &str) -> bool {
    Path::new(path).extension().is_some_and(|extension| extension.eq_ignore_ascii_case("csv"))
}

fn is_bare(name: &str) -> bool {
    Path::new(name).components().count() == 1 && !name.contains(['/', '\\'])
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_found_and_no_name_stands_for_two_models() {
        let mut all: Vec<&str> = names().collect();
        for name in &all {
            match find(name).unwrap_or_else(|error| panic!("{name}: {error}")) {
                Found::Network(model) => assert_eq!(model.card().name, *name),
                Found::Table(table) => assert_eq!((table.name.as_str(), table.path), (*name, format!("models/{name}.csv"))),
            }
        }
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), names().count());
    }

    #[test]
    fn names_that_are_alike_are_offered() {
        let offered = |name: &str| find(name).unwrap_err().to_string();
        assert!(offered("resnet").contains("did you mean resnet18 or resnet50?"), "{}", offered("resnet"));
        assert!(offered("LeNet").contains("did you mean lenet-mnist?"), "{}", offered("LeNet"));
        assert!(offered("mobilenetv2").contains("did you mean mobilenet-v2"), "{}", offered("mobilenetv2"));
        assert!(!offered("zzz").contains("did you mean") && offered("zzz").contains("vgg16"), "{}", offered("zzz"));
        assert!(!offered(&"resnet".repeat(100)).contains("did you mean"));
        let message = find_table("vgg-16").unwrap_err().to_string();
        assert!(message.contains("did you mean vgg16?") && !message.contains("simplenet"), "{message}");
    }
}
