//! What can be wrong with a layer table.

use std::fmt;
use thiserror::Error;

/// Faults that a message shows; more are counted.
const SHOWN: usize = 5;
/// Characters of a value that a message shows.
const SHOWN_CHARS: usize = 40;

/// One fault of a table, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// The path as it was given.
    pub path: String,
    /// The line, from 1; none for the file as a whole.
    pub line: Option<u64>,
    /// What is wrong, with the value.
    pub what: String,
    /// What is allowed; empty where `what` says it.
    pub allowed: String,
    /// What to do.
    pub help: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.path)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}", self.what)?;
        if !self.allowed.is_empty() {
            write!(f, "; allowed: {}", self.allowed)?;
        }
        write!(f, "\n  help: {}", self.help)
    }
}

/// Why there is no table.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum TopologyError {
    /// The file cannot be read, or is no text.
    #[error("{path}: the layer table cannot be read: {reason}\n  help: {help}")]
    Unreadable {
        /// The path as it was given.
        path: String,
        /// What is wrong.
        reason: String,
        /// What to do.
        help: &'static str,
    },
    /// The file is no layer table, or has faults: all of them, in the order of their lines.
    #[error("{}", shown(.0))]
    Faulty(Vec<Fault>),
}

fn shown(faults: &[Fault]) -> String {
    let mut lines: Vec<String> = faults.iter().take(SHOWN).map(ToString::to_string).collect();
    if faults.len() > SHOWN {
        lines.push(format!("and {} more faults", faults.len() - SHOWN));
    }
    lines.join("\n")
}

/// A value from a file, for a message: in quotes, cut, and without what a terminal would take for a command.
pub(super) fn quoted(value: &str) -> String {
    let start: String = value.chars().take(SHOWN_CHARS).collect();
    let rest = if start.len() < value.len() { "..." } else { "" };
    format!("\"{}{rest}\"", start.escape_debug())
}
