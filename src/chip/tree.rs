//! A RON text as a tree in which every value knows where it was written: what faults point at and what `--set` edits.
//!
//! Not here: how a text becomes a tree (`parser`), and what the values mean (`schema`).

use super::fault::Place;
use std::fmt::Write as _;

/// A value and where it was written.
#[derive(Debug, Clone)]
pub(crate) struct Node {
    pub(crate) place: Place,
    pub(crate) kind: Kind,
}

/// The shapes of a value.
#[derive(Debug, Clone)]
pub(crate) enum Kind {
    /// A number, text or character, as it was written.
    Literal(String),
    /// A bare word: `Int8`, `true`, `NaN`.
    Word(String),
    /// `name(a: 1, b: 2)`, the name optional.
    Fields { name: Option<String>, fields: Vec<Field> },
    /// `name(1, 2)`, the name optional.
    Tuple { name: Option<String>, items: Vec<Node> },
    /// `[1, 2]`.
    List(Vec<Node>),
    /// `{ 1: 2 }`.
    Map(Vec<(Node, Node)>),
}

/// One `key: value` of a record.
#[derive(Debug, Clone)]
pub(crate) struct Field {
    pub(crate) key: String,
    pub(crate) place: Place,
    pub(crate) value: Node,
}

impl Node {
    /// The word at the value's head: `Ideal` of `Ideal(..)`, `Dense` of `Dense`.
    pub(crate) fn head(&self) -> Option<&str> {
        match &self.kind {
            Kind::Word(name) | Kind::Fields { name: Some(name), .. } | Kind::Tuple { name: Some(name), .. } => Some(name),
            _ => None,
        }
    }

    /// The text that a literal stands for, where it is a text.
    pub(crate) fn text(&self) -> Option<String> {
        match &self.kind {
            Kind::Literal(literal) if literal.ends_with(['"', '#']) => ron::from_str(literal).ok(),
            _ => None,
        }
    }

    /// The value of the first field named `key`, where the value is a record.
    pub(crate) fn field(&self, key: &str) -> Option<&Node> {
        match &self.kind {
            Kind::Fields { fields, .. } => fields.iter().find(|field| field.key == key).map(|field| &field.value),
            _ => None,
        }
    }

    /// The value on one line.
    pub(crate) fn line(&self) -> String {
        let mut text = String::new();
        self.write_line(&mut text, usize::MAX);
        text
    }

    /// The value on one line, cut short where it is long.
    pub(crate) fn brief(&self) -> String {
        const LONGEST: usize = 60;
        let mut text = String::new();
        self.write_line(&mut text, LONGEST * 4);
        match text.char_indices().nth(LONGEST) {
            Some((end, _)) => format!("{}...", &text[..end]),
            None => text,
        }
    }

    /// The whole value as a RON text without comments: short values on one line, long ones a line an entry.
    pub(crate) fn pretty(&self) -> String {
        let mut text = String::new();
        self.write_pretty(&mut text, 0, 0);
        text.push('\n');
        text
    }

    /// Appends the value on one line, giving up once `text` is longer than `limit` bytes.
    fn write_line(&self, text: &mut String, limit: usize) {
        if text.len() > limit {
            return;
        }
        let (open, close) = self.brackets(text);
        text.push_str(open);
        for (index, (key, value)) in self.entries().enumerate() {
            if index > 0 {
                text.push_str(", ");
            }
            key.write(text, limit);
            value.write_line(text, limit);
            if text.len() > limit {
                return;
            }
        }
        text.push_str(close);
    }

    /// Appends the value at `indent`, its first line starting after `used` characters.
    fn write_pretty(&self, text: &mut String, indent: usize, used: usize) {
        const WIDTH: usize = 120;
        let mut line = String::new();
        self.write_line(&mut line, WIDTH);
        if indent > 0 && used + line.len() < WIDTH {
            text.push_str(&line);
            return;
        }
        let (open, close) = self.brackets(text);
        text.push_str(open);
        text.push('\n');
        for (key, value) in self.entries() {
            let start = text.len();
            text.push_str(&"    ".repeat(indent + 1));
            key.write(text, usize::MAX);
            value.write_pretty(text, indent + 1, text.len() - start + 1);
            text.push_str(",\n");
        }
        text.push_str(&"    ".repeat(indent));
        text.push_str(close);
    }

    /// Appends the value's literal or name, and says what encloses its entries.
    fn brackets(&self, text: &mut String) -> (&'static str, &'static str) {
        match &self.kind {
            Kind::Literal(word) | Kind::Word(word) => {
                text.push_str(word);
                ("", "")
            }
            Kind::Fields { name, .. } | Kind::Tuple { name, .. } => {
                text.push_str(name.as_deref().unwrap_or_default());
                ("(", ")")
            }
            Kind::List(_) => ("[", "]"),
            Kind::Map(_) => ("{", "}"),
        }
    }

    /// The values inside, each with its key.
    pub(crate) fn entries(&self) -> Box<dyn Iterator<Item = (Key<'_>, &Node)> + '_> {
        match &self.kind {
            Kind::Literal(_) | Kind::Word(_) => Box::new(std::iter::empty()),
            Kind::Fields { fields, .. } => Box::new(fields.iter().map(|field| (Key::Field(&field.key), &field.value))),
            Kind::Tuple { items, .. } | Kind::List(items) => Box::new(items.iter().map(|item| (Key::Position, item))),
            Kind::Map(entries) => Box::new(entries.iter().map(|(key, value)| (Key::Value(key), value))),
        }
    }
}

/// What stands before a value inside another.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Key<'t> {
    /// Nothing: its position tells.
    Position,
    /// A field's name.
    Field(&'t str),
    /// A map's key.
    Value(&'t Node),
}

impl Key<'_> {
    fn write(self, text: &mut String, limit: usize) {
        match self {
            Self::Position => {}
            Self::Field(name) => {
                let _ = write!(text, "{name}: ");
            }
            Self::Value(node) => {
                node.write_line(text, limit);
                text.push_str(": ");
            }
        }
    }
}
