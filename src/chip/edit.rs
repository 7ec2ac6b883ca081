//! Field paths such as `array.dataflows.0.row_hop`: finding a value by its path, and replacing it (`--set`, a variant's `set`).
//!
//! A path names fields and list positions only; it passes through the names of variants (`dram: Ideal(latency: ..)` is `dram.latency`)
//! and through a variant's single value (`energy: Listed([..])` has `energy.0`). Not here: whether the new value is allowed.

use super::chip::Chip;
use super::fault::{Fault, Place, listed, nearest};
use super::parser;
use super::read::Reader;
use super::schema;
use super::tree::{Key, Kind, Node};
use std::sync::Arc;

/// The most steps of a path: edits of edits cannot nest values without bound.
const MOST_STEPS: usize = 12;

/// The most paths that are looked through for a near name.
const MOST_PATHS: usize = 2000;

/// `path` with one step more.
pub(crate) fn join(path: &str, step: &str) -> String {
    if path.is_empty() { step.to_owned() } else { format!("{path}.{step}") }
}

/// The value at `path`, if there is one.
pub(super) fn find<'t>(root: &'t Node, path: &str) -> Option<&'t Node> {
    if path.split('.').count() > MOST_STEPS { None } else { path.split('.').try_fold(root, within) }
}

fn within<'t>(node: &'t Node, step: &str) -> Option<&'t Node> {
    match &node.kind {
        Kind::Fields { .. } => node.field(step),
        Kind::List(items) => items.get(step.parse::<usize>().ok()?),
        Kind::Tuple { items, .. } => match items.as_slice() {
            [only] => within(only, step),
            _ => None,
        },
        Kind::Literal(_) | Kind::Word(_) | Kind::Map(_) => None,
    }
}

fn within_mut<'t>(node: &'t mut Node, step: &str) -> Option<&'t mut Node> {
    match &mut node.kind {
        Kind::Fields { fields, .. } => fields.iter_mut().find(|field| field.key == step).map(|field| &mut field.value),
        Kind::List(items) => items.get_mut(step.parse::<usize>().ok()?),
        Kind::Tuple { items, .. } => match items.as_mut_slice() {
            [only] => within_mut(only, step),
            _ => None,
        },
        Kind::Literal(_) | Kind::Word(_) | Kind::Map(_) => None,
    }
}

/// Replaces the value at `path` by `value`; a fault stands at `place`.
pub(super) fn replace(root: &mut Node, path: &str, value: Node, place: &Place) -> Result<(), Box<Fault>> {
    if find(root, path).is_none() {
        return Err(Box::new(unknown(root, path, place)));
    }
    let mut node = root;
    for step in path.split('.') {
        node = within_mut(node, step).expect("bug: a path that was found a moment ago is gone; please report it");
    }
    *node = value;
    Ok(())
}

/// Applies `--set path=text`.
pub(super) fn set(root: &mut Node, path: &str, text: &str) -> Result<(), Box<Fault>> {
    let source: Arc<str> = format!("--set {path}={text}").chars().take(100).collect::<String>().into();
    let place = Place::new(&source, 1, 1);
    let old = find(root, path).ok_or_else(|| Box::new(unknown(root, path, &place)))?;
    // `--set name=mine` needs no quotes inside the shell's.
    let is_bare = old.text().is_some() && !["\"", "r\"", "r#"].iter().any(|quote| text.trim_start().starts_with(quote));
    let quoted = if is_bare { format!("{text:?}") } else { text.to_owned() };
    let value = parser::parse(&quoted, &source)?;
    replace(root, path, value, &place)
}

impl Chip {
    /// Every single value of the resolved chip by its path, as `--set` takes them, in the file's order: what tells two chips apart.
    ///
    /// # Panics
    /// Never: a chip's resolved text can be read, or the chip would not be there.
    pub fn fields(&self) -> Vec<(String, String)> {
        let root = parser::parse(self.resolved(), &"resolved".into()).expect("bug: a resolved chip is not valid RON; please report it");
        let mut all = Vec::new();
        paths(&root, "", usize::MAX, &mut all);
        let is_single = |path: &String| {
            let mut inside = Vec::new();
            find(&root, path).is_some_and(|node| {
                paths(node, path, 1, &mut inside);
                inside.is_empty()
            })
        };
        let single = all.into_iter().filter(is_single);
        single.filter_map(|path| find(&root, &path).map(Node::line).map(|value| (path, value))).collect()
    }
}

impl Chip {
    /// Tries one field with another value by itself: whether the field is there, and the value is one that it may have. Rules between fields are not
    /// looked at.
    ///
    /// # Errors
    /// What is wrong: the first fault, and a hint.
    ///
    /// # Panics
    /// Never: a chip's resolved text can be read, or the chip would not be there.
    pub(crate) fn try_field(&self, path: &str, value: &str) -> Result<(), FieldFault> {
        let mut root = parser::parse(self.resolved(), &"resolved".into()).expect("bug: a resolved chip is not valid RON; please report it");
        let old = find(&root, path).map(Node::line);
        if let Err(fault) = set(&mut root, path, value) {
            let is_there = old.is_some();
            return Err(FieldFault { is_there, what: fault.what().to_owned(), help: fault.hint().unwrap_or_default().to_owned() });
        }
        let mut reader = Reader::default();
        schema::read(&mut reader, &root);
        match reader.faults.iter().next() {
            Some(fault) => {
                Err(FieldFault { is_there: true, what: fault.what().to_owned(), help: fault.hint().unwrap_or_default().to_owned() })
            }
            None => Ok(()),
        }
    }
}

/// What is wrong with a field's new value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct FieldFault {
    /// Whether the chip has the field at all.
    pub(crate) is_there: bool,
    /// In a sentence.
    pub(crate) what: String,
    /// What to do.
    pub(crate) help: String,
}

/// The fault of a path that leads nowhere, with the nearest that leads somewhere.
fn unknown(root: &Node, path: &str, place: &Place) -> Fault {
    let (mut node, mut reached) = (root, String::new());
    for step in path.split('.') {
        match within(node, step) {
            Some(next) => (node, reached) = (next, join(&reached, step)),
            None => break,
        }
    }
    let mut inside = Vec::new();
    paths(node, &reached, 1, &mut inside);
    let mut all = Vec::new();
    paths(root, "", usize::MAX, &mut all);
    let near = nearest(path, inside.iter().chain(&all).map(String::as_str));
    let owner = if reached.is_empty() { "the chip".to_owned() } else { format!("`{reached}`") };
    let has = if inside.is_empty() {
        format!("{owner} is {}, which has nothing inside", node.brief())
    } else {
        let steps = inside.iter().take(24).map(|path| path.rsplit('.').next().unwrap_or(path));
        format!("{owner} has {}", listed("and", steps))
    };
    let help = match near {
        Some(near) => format!("did you mean `{near}`? {has}"),
        None => has,
    };
    Fault::field(format!("there is no field `{}`", path.chars().take(80).collect::<String>()), "", place.clone()).help(help)
}

/// Appends the paths of the values inside `node`, down to `depth`.
fn paths(node: &Node, path: &str, depth: usize, found: &mut Vec<String>) {
    if let (Kind::Tuple { .. }, [only]) = (&node.kind, node.entries().map(|(_, item)| item).collect::<Vec<_>>().as_slice()) {
        return paths(only, path, depth, found);
    }
    if depth == 0 {
        return;
    }
    for (index, (key, value)) in node.entries().enumerate() {
        if found.len() >= MOST_PATHS {
            return;
        }
        let step = match key {
            Key::Field(name) => name.to_owned(),
            Key::Position if matches!(node.kind, Kind::List(_)) => index.to_string(),
            Key::Position | Key::Value(_) => continue,
        };
        let inner = join(path, &step);
        found.push(inner.clone());
        paths(value, &inner, depth - 1, found);
    }
}
