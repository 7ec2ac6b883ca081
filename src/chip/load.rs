//! From a path or a name to a checked chip: finding the file, following a variant to its base, applying `--set`.
//!
//! The only place of this module that touches the file system. Not here: what a chip may be (`schema`, `check`).

use super::banked;
use super::check::check;
use super::chip::Chip;
use super::edit;
use super::fault::{ChipError, Fault, Faults, listed, nearest};
use super::parser::{self, MAX_BYTES};
use super::read::{Item, Reader};
use super::tree::{Kind, Node};
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The chips inside the program.
const SHIPPED: [(&str, &str); 15] = [
    ("edge-16x16", include_str!("../../hw-configs/edge-16x16.ron")),
    ("edge-16x16-ddr4", include_str!("../../hw-configs/edge-16x16-ddr4.ron")),
    ("codec-16x16", include_str!("../../hw-configs/codec-16x16.ron")),
    ("widen-16x16", include_str!("../../hw-configs/widen-16x16.ron")),
    ("nm-16x16", include_str!("../../hw-configs/nm-16x16.ron")),
    ("tileskip-16x16", include_str!("../../hw-configs/tileskip-16x16.ron")),
    ("xnor-16x16", include_str!("../../hw-configs/xnor-16x16.ron")),
    ("edge-32x32", include_str!("../../hw-configs/edge-32x32.ron")),
    ("gemmini-16x16-ws", include_str!("../../hw-configs/gemmini-16x16-ws.ron")),
    ("gemmini-16x16-os", include_str!("../../hw-configs/gemmini-16x16-os.ron")),
    ("axis-sa-8x8", include_str!("../../hw-configs/axis-sa-8x8.ron")),
    ("ideal-16x16", include_str!("../../hw-configs/ideal-16x16.ron")),
    ("ideal-32x32", include_str!("../../hw-configs/ideal-32x32.ron")),
    ("ideal-128x128", include_str!("../../hw-configs/ideal-128x128.ron")),
    ("tpu-v1-256x256", include_str!("../../hw-configs/tpu-v1-256x256.ron")),
];

/// The folder where bare names are looked for first.
const FOLDER: &str = "hw-configs";

/// The longest chain of variants.
const MOST_VARIANTS: usize = 8;

/// The chips inside the program: name and text.
pub fn shipped() -> &'static [(&'static str, &'static str)] {
    &SHIPPED
}

/// The chip in the file `path_or_name` (where it ends in `.ron` or names a folder), or the chip of that name: `hw-configs/NAME.ron` in
/// the current folder, else a shipped one. `sets` are fields and their new values in RON, applied in order.
///
/// # Errors
/// Where there is no such chip, it cannot be read, or anything in it is at fault: all faults at once.
pub fn load(path_or_name: &str, sets: &[(String, String)]) -> Result<Chip, ChipError> {
    let text = locate(path_or_name, &Home::Folder(PathBuf::new()))?;
    finish(text, sets)
}

/// The chip that `text` describes; `origin` is where the text is from, for messages and for what a variant's base is relative to.
///
/// # Errors
/// Where anything in it is at fault: all faults at once.
pub fn parse(text: &str, origin: &str, sets: &[(String, String)]) -> Result<Chip, ChipError> {
    let folder = Path::new(origin).parent().unwrap_or(Path::new("")).to_owned();
    finish(Text { content: text.to_owned(), origin: origin.into(), identity: origin.to_owned(), home: Home::Folder(folder) }, sets)
}

fn finish(text: Text, sets: &[(String, String)]) -> Result<Chip, ChipError> {
    let mut faults = Faults::default();
    let mut root = resolve(text, &mut Vec::new(), &mut faults)?;
    for (path, value) in sets {
        let expanded = if banked::is_of_preset(path) { banked::expand(&mut root) } else { Ok(()) };
        if expanded.is_ok()
            && let Err(fault) = edit::set(&mut root, path, value)
        {
            faults.push(*fault);
        }
    }
    if let Err(fault) = banked::expand(&mut root) {
        faults.push(*fault);
    }
    check(&root, faults).map_err(ChipError::Faulty)
}

/// A chip file's text and where it is from.
struct Text {
    content: String,
    /// What messages call it.
    origin: Arc<str>,
    /// What tells it from others, however it is reached.
    identity: String,
    /// What its base is relative to.
    home: Home,
}

/// What a variant's base is relative to.
enum Home {
    /// A folder; bare names are looked for as everywhere.
    Folder(PathBuf),
    /// The program: a shipped variant stands on shipped chips only.
    Shipped,
}

/// The text of the chip `wanted`, a path relative to `home` or a name.
fn locate(wanted: &str, home: &Home) -> Result<Text, ChipError> {
    let is_path = Path::new(wanted).extension().is_some_and(|extension| extension == "ron") || wanted.contains(['/', '\\']);
    match home {
        Home::Folder(folder) if is_path => return open(&folder.join(wanted)),
        Home::Folder(_) => {
            let path = Path::new(FOLDER).join(format!("{wanted}.ron"));
            if path.is_file() {
                return open(&path);
            }
        }
        Home::Shipped => {}
    }
    if let Some((name, content)) = SHIPPED.iter().find(|(name, _)| *name == wanted) {
        let origin = format!("(shipped) {FOLDER}/{name}.ron");
        return Ok(Text { content: (*content).to_owned(), identity: origin.clone(), origin: origin.into(), home: Home::Shipped });
    }
    let names = || SHIPPED.iter().map(|(name, _)| *name);
    let near = nearest(wanted, names()).map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
    let help = format!("{near}the shipped chips are {}; a path to a file ends in `.ron`", listed("and", names()));
    Err(ChipError::Unknown { name: wanted.chars().take(80).collect(), help })
}

/// Reads the file at `path`, if it is a file and of a chip file's size.
fn open(path: &Path) -> Result<Text, ChipError> {
    let shown = path.display().to_string();
    let unreadable =
        |reason: &str, help: &str| ChipError::Unreadable { path: shown.clone(), reason: reason.to_owned(), help: help.to_owned() };
    let check_path = "check the path; `systole chip list` shows the chips that need none";
    let failed = |error: std::io::Error| unreadable(&error.to_string(), check_path);
    if !path.metadata().map_err(failed)?.is_file() {
        return Err(unreadable("it is not a regular file", check_path));
    }
    let mut bytes = Vec::new();
    let limit = MAX_BYTES as u64 + 1;
    std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes)).map_err(failed)?;
    if bytes.len() > MAX_BYTES {
        return Err(unreadable(&format!("it has more than {MAX_BYTES} bytes"), "a chip file has a few thousand: check the path"));
    }
    let content = String::from_utf8(bytes).map_err(|error| {
        let reason = format!("it is not UTF-8 text (byte {})", error.utf8_error().valid_up_to());
        unreadable(&reason, "a chip file is a RON text: check the path, or save it as UTF-8")
    })?;
    let identity = path.canonicalize().map_err(failed)?.display().to_string();
    let home = Home::Folder(path.parent().unwrap_or(Path::new("")).to_owned());
    Ok(Text { content, origin: shown.as_str().into(), identity, home })
}

/// The whole chip's tree: that of `text`, or of its base with the variant's changes. `chain` holds the variants on the way here.
fn resolve(text: Text, chain: &mut Vec<String>, faults: &mut Faults) -> Result<Node, ChipError> {
    let root = parser::parse(&text.content, &text.origin)?;
    if root.head() != Some("Variant") {
        return Ok(root);
    }
    let mut reader = Reader::default();
    let record = reader.record(Some(Item { node: &root, path: String::new() }), Some("Variant"), &["base", "name", "source", "set"]);
    let fields = ["base", "name", "source", "set"].map(|field| record.as_ref().and_then(|record| record.get(field)));
    let [base, Some(name), Some(source), Some(set)] = fields else { return Err(ChipError::Faulty(reader.faults)) };
    let wanted = reader.text(base.clone());
    let (Some(base), Some(wanted), true) = (base, wanted, reader.faults.is_empty()) else { return Err(ChipError::Faulty(reader.faults)) };
    let refuse = |what: String, help: &str| ChipError::from(Box::new(Fault::of(what, "base", base.node).help(help)));
    chain.push(text.identity);
    if chain.len() > MOST_VARIANTS {
        return Err(refuse(format!("base: more than {MOST_VARIANTS} variants stand on each other"), "let this one stand on a whole chip"));
    }
    let below = locate(&wanted, &text.home).map_err(|error| match error {
        ChipError::Unknown { name, help } => refuse(format!("base: there is no chip named `{name}`"), &help),
        ChipError::Unreadable { path, reason, help } => refuse(format!("base: cannot read {path}: {reason}"), &help),
        faulty @ ChipError::Faulty(_) => faulty,
    })?;
    if chain.contains(&below.identity) {
        return Err(refuse(format!("base: the variant stands on itself, by way of {}", below.origin), "let one of them be a whole chip"));
    }
    let mut chip = resolve(below, chain, faults)?;
    for (field, item) in [("name", &name), ("source", &source)] {
        if let Err(fault) = edit::replace(&mut chip, field, item.node.clone(), &item.node.place) {
            faults.push(*fault);
        }
    }
    apply(&mut chip, &set, faults);
    Ok(chip)
}

/// Applies a variant's `set`.
fn apply(chip: &mut Node, set: &Item<'_>, faults: &mut Faults) {
    let Kind::Map(entries) = &set.node.kind else {
        let fault = Fault::of("set must be a map of fields and their values".to_owned(), "set", set.node);
        faults.push(fault.help("write it like `set: { \"array.rows\": 64 }`"));
        return;
    };
    let mut paths = Vec::new();
    for (key, value) in entries {
        let Some(path) = key.text() else {
            let fault = Fault::of("set: a field's path is a text".to_owned(), "set", key);
            faults.push(fault.help("write it like `\"array.rows\": 64`"));
            continue;
        };
        if paths.contains(&path) {
            let fault = Fault::field(format!("set: `{path}` is written twice"), "set", key.place.clone());
            faults.push(fault.help("remove one of them"));
        } else if ["name", "source", "format_version"].contains(&path.as_str()) {
            let fault = Fault::field(format!("set: `{path}` is not set like this"), "set", key.place.clone());
            faults.push(fault.help("a variant has fields of its own for its name and source"));
        } else {
            let expanded = if banked::is_of_preset(&path) { banked::expand(chip) } else { Ok(()) };
            if expanded.is_ok()
                && let Err(fault) = edit::replace(chip, &path, value.clone(), &key.place)
            {
                faults.push(*fault);
            }
        }
        if faults.is_full() {
            return;
        }
        paths.push(path);
    }
}
