//! What is wrong with a chip file, where, and what to do about it. Every message that a user can get from this module is made of these.

use super::tree::Node;
use std::fmt;
use std::sync::Arc;

/// The most faults that are kept of one file: nobody reads more, and a hostile file could have a million.
const MOST: usize = 40;

/// Where a value was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Place {
    source: Arc<str>,
    line: usize,
    column: usize,
}

impl Place {
    /// A line and column of a source, both counted from 1. A source that is not a file is named without them.
    pub(crate) fn new(source: &Arc<str>, line: usize, column: usize) -> Self {
        Self { source: Arc::clone(source), line, column }
    }

    /// Whether it is a `--set` option, not a place in a file.
    pub(crate) fn is_option(&self) -> bool {
        self.source.starts_with("--set ")
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_option() { f.write_str(&self.source) } else { write!(f, "{}:{}:{}", self.source, self.line, self.column) }
    }
}

/// One thing that is wrong: what, where, the value, and a hint.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    what: String,
    place: Place,
    field: String,
    help: Option<String>,
}

impl Fault {
    /// A fault at `place`.
    pub(crate) fn new(what: String, place: Place) -> Self {
        Self { what, place, field: String::new(), help: None }
    }

    /// A fault of the value `node` of the field `path`.
    pub(crate) fn of(what: String, path: &str, node: &Node) -> Self {
        let field = if path.is_empty() { node.brief() } else { format!("{path} = {}", node.brief()) };
        Self { field, ..Self::new(what, node.place.clone()) }
    }

    /// A fault of a field itself, whatever its value is.
    pub(crate) fn field(what: String, path: &str, place: Place) -> Self {
        Self { field: path.to_owned(), ..Self::new(what, place) }
    }

    /// With a hint.
    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }

    /// What is wrong, in a sentence.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// What to do about it.
    pub fn hint(&self) -> Option<&str> {
        self.help.as_deref()
    }

    /// The fault's lines after the first, each after `indent`.
    fn write_rest(&self, f: &mut fmt::Formatter<'_>, indent: &str) -> fmt::Result {
        write!(f, "\n{indent}{}", self.place)?;
        if !self.field.is_empty() {
            write!(f, ": {}", self.field)?;
        }
        match &self.help {
            Some(help) => write!(f, "\n{indent}help: {help}"),
            None => Ok(()),
        }
    }
}

/// All that is wrong with one file, which is a chip's if nothing else is said.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Faults {
    kept: Vec<Fault>,
    more: usize,
    /// What has them, where it is no chip.
    of: Option<&'static str>,
}

impl Faults {
    /// None yet, of something other than a chip.
    pub(crate) fn of(what: &'static str) -> Self {
        Self { of: Some(what), ..Self::default() }
    }

    /// What has them.
    pub(crate) fn whose(&self) -> &'static str {
        self.of.unwrap_or("chip")
    }

    /// Adds a fault.
    pub(crate) fn push(&mut self, fault: Fault) {
        if self.is_full() {
            self.more += 1;
        } else {
            self.kept.push(fault);
        }
    }

    /// Whether nothing is wrong.
    pub(crate) fn is_empty(&self) -> bool {
        self.kept.is_empty()
    }

    /// Whether further faults are only counted.
    pub(crate) fn is_full(&self) -> bool {
        self.kept.len() >= MOST
    }

    /// The faults, without those past the first few dozen.
    pub fn iter(&self) -> impl Iterator<Item = &Fault> {
        self.kept.iter()
    }
}

impl fmt::Display for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let [only] = self.kept.as_slice() {
            f.write_str(&only.what)?;
            return only.write_rest(f, "  ");
        }
        write!(f, "the {} has {} faults", self.whose(), self.kept.len() + self.more)?;
        for (number, fault) in (1..).zip(&self.kept) {
            write!(f, "\n  {number:>2}. {}", fault.what)?;
            fault.write_rest(f, "      ")?;
        }
        if self.more > 0 {
            write!(f, "\n  and {} more", self.more)?;
        }
        Ok(())
    }
}

/// Why there is no chip.
#[derive(Debug, thiserror::Error)]
pub enum ChipError {
    /// No file and no shipped chip has the name.
    #[error("there is no chip named `{name}`\n  looked for hw-configs/{name}.ron here, and among the shipped chips\n  help: {help}")]
    Unknown {
        /// The name.
        name: String,
        /// What there is instead.
        help: String,
    },
    /// The file cannot be read.
    #[error("cannot read the chip file {path}\n  {reason}\n  help: {help}")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system says, or why it was not tried.
        reason: String,
        /// What to do.
        help: String,
    },
    /// The chip's text is at fault, or what `--set` makes of it.
    #[error("{0}")]
    Faulty(Faults),
}

impl From<Box<Fault>> for ChipError {
    fn from(fault: Box<Fault>) -> Self {
        let mut faults = Faults::default();
        faults.push(*fault);
        Self::Faulty(faults)
    }
}

/// The name among `names` that `wanted` was most likely meant to be, if any is near.
pub(crate) fn nearest<'n>(wanted: &str, names: impl IntoIterator<Item = &'n str>) -> Option<&'n str> {
    const LONGEST: usize = 100;
    if wanted.len() > LONGEST {
        return None;
    }
    let near = |name: &&str| name.len() <= LONGEST;
    names
        .into_iter()
        .filter(near)
        .map(|name| (distance(wanted, name), name))
        .filter(|(edits, name)| *edits <= name.len().max(wanted.len()) / 3 + 1)
        .min_by_key(|(edits, _)| *edits)
        .map(|(_, name)| name)
}

/// Edits (insert, remove, replace a character, case aside) from `a` to `b`.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.to_lowercase().chars().collect(), b.to_lowercase().chars().collect());
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.iter().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, y) in b.iter().enumerate() {
            let replaced = diagonal + usize::from(x != y);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[b.len()]
}

/// `a, b or c`, each in backticks, for the `joint` "or".
pub(crate) fn listed<'n>(joint: &str, names: impl IntoIterator<Item = &'n str>) -> String {
    let names: Vec<String> = names.into_iter().map(|name| format!("`{name}`")).collect();
    match names.as_slice() {
        [] => "nothing".to_owned(),
        [only] => only.clone(),
        [first @ .., last] => format!("{} {joint} {last}", first.join(", ")),
    }
}
