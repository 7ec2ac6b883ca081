//! Are the house rules kept: who imports whom, how long a file is, what it opens with, and that the pages name what there is?

#![allow(clippy::unwrap_used, reason = "a test may fail by panicking")]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Who may import whom. ARCHITECTURE.md says why.
const MAY_IMPORT: &[(&str, &[&str])] = &[
    ("units", &[]),
    ("counts", &["units"]),
    ("numerics", &["units"]),
    ("codec", &[]),
    ("network", &["units", "numerics"]),
    ("chip", &["units", "numerics", "codec"]),
    ("data", &["units", "numerics"]),
    ("model", &["network", "data", "topology"]),
    ("metrics", &["numerics", "network", "data"]),
    ("reference", &["numerics", "network"]),
    ("compress", &["numerics", "network", "reference", "data", "metrics"]),
    ("mapping", &["units", "numerics", "codec", "network", "chip"]),
    ("program", &["units", "counts", "numerics", "codec", "chip", "mapping", "network"]),
    ("sim", &["units", "counts", "numerics", "codec", "chip", "program"]),
    ("energy", &["units", "counts", "numerics", "chip"]),
    ("report", &["units", "counts", "energy"]),
    ("findings", &["counts", "report", "metrics"]),
    ("plot", &["units", "counts", "report", "findings"]),
    ("page", &["counts", "report", "findings", "plot"]),
    ("topology", &[]),
    ("train", &["numerics", "network", "compress", "data", "metrics", "model"]),
    ("experiment", &["chip", "compress", "mapping", "model", "data", "report"]),
    ("sweep", &["chip", "data", "energy", "experiment", "mapping", "metrics", "model", "pipeline", "report"]),
    (
        "pipeline",
        &[
            "units",
            "counts",
            "numerics",
            "network",
            "chip",
            "data",
            "model",
            "metrics",
            "reference",
            "compress",
            "mapping",
            "program",
            "sim",
            "energy",
            "report",
            "topology",
            "train",
        ],
    ),
];

/// A file over this many lines wants a second thought; tables of data and generated code apart.
const MAX_LINES: usize = 600;
const MAY_BE_LONG: &[&str] = &["src/network/import/onnx.rs"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn files(folder: &Path, extension: &str) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(files(&path, extension));
        } else if path.extension().is_some_and(|e| e == extension) {
            found.push(path);
        }
    }
    found.sort();
    found
}

fn name(path: &Path) -> String {
    path.strip_prefix(root()).unwrap().to_string_lossy().replace('\\', "/")
}

/// The module that a source file belongs to: its folder below src, or its own name.
fn module(path: &Path) -> String {
    let name = name(path);
    name.trim_start_matches("src/").split(['/', '.']).next().unwrap().to_string()
}

/// Modules named by `crate::x` paths, grouped imports included.
fn imports(text: &str) -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for line in text.lines().filter(|line| !line.trim_start().starts_with("//")) {
        for (position, _) in line.match_indices("crate::") {
            let rest = &line[position + "crate::".len()..];
            if let Some(group) = rest.strip_prefix('{') {
                for part in group.split(',') {
                    found.insert(part.trim().split("::").next().unwrap().trim_end_matches(['}', ';']).to_string());
                }
            } else {
                found.insert(rest.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect());
            }
        }
    }
    found
}

#[test]
fn modules_import_only_what_the_table_allows() {
    let table: BTreeMap<_, BTreeSet<_>> = MAY_IMPORT.iter().map(|(module, may)| (*module, may.iter().copied().collect())).collect();
    for path in files(&root().join("src"), "rs") {
        let module = module(&path);
        if ["lib", "main", "cli"].contains(&module.as_str()) {
            continue;
        }
        let may = table.get(module.as_str()).unwrap_or_else(|| panic!("module {module} is missing from the import table"));
        for imported in imports(&fs::read_to_string(&path).unwrap()) {
            let is_module = table.contains_key(imported.as_str());
            assert!(
                !is_module || imported == module || may.contains(imported.as_str()),
                "{} imports {imported}; {module} may not",
                name(&path)
            );
        }
    }
}

#[test]
fn the_reader_of_imports_sees_groups_and_paths() {
    let text = "use crate::sim::Machine;\nuse crate::{chip, network::Network};\nlet x = crate::units::Tick::new(1); // crate::energy\n// crate::report";
    let found: Vec<String> = imports(text).into_iter().collect();
    assert_eq!(found, ["chip", "energy", "network", "sim", "units"]);
}

#[test]
fn every_file_says_what_it_is_and_stays_short() {
    for folder in ["src", "tests", "benches"] {
        for path in files(&root().join(folder), "rs") {
            let text = fs::read_to_string(&path).unwrap();
            assert!(text.starts_with("//!"), "{} does not open with a line that says what it is", name(&path));
            let lines = text.lines().count();
            assert!(lines <= MAX_LINES || MAY_BE_LONG.contains(&name(&path).as_str()), "{} has {lines} lines", name(&path));
        }
    }
}

#[test]
fn the_architecture_page_names_every_module() {
    let page = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for (module, _) in MAY_IMPORT {
        assert!(page.contains(&format!("`{module}`")), "ARCHITECTURE.md does not name `{module}`");
    }
}

#[test]
fn unsafe_code_stands_in_the_vector_kernel_only() {
    let allows = |path: &PathBuf| fs::read_to_string(path).unwrap().contains("unsafe_code");
    let found: Vec<String> = files(&root().join("src"), "rs").iter().filter(|path| allows(path)).map(|path| name(path)).collect();
    assert_eq!(found, ["src/numerics/kernel/avx2.rs"]);
}

#[test]
fn no_snapshot_waits_for_a_decision() {
    assert_eq!(files(&root().join("tests"), "new"), Vec::<PathBuf>::new());
}
