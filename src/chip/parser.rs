//! From a RON text to its tree.
//!
//! The `ron` crate judges the syntax first, so that a chip file is RON and nothing else; it has no spans for values, so the tree is
//! built by a second, plain pass over the same text. Not here: what the values mean (`schema`).

use super::fault::{Fault, Place};
use super::tree::{Field, Kind, Node};
use serde::de::IgnoredAny;
use std::sync::Arc;

/// The largest text that is read: a chip file has a few thousand bytes.
pub(crate) const MAX_BYTES: usize = 1 << 20;

/// The deepest nesting that is read: a chip file nests about eight deep.
const MAX_DEPTH: usize = 32;

/// What kind of file is read, for messages.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Form {
    /// What it is called: "chip".
    pub(crate) name: &'static str,
    /// The same with its article: "a chip".
    pub(crate) a: &'static str,
    /// What its text is.
    pub(crate) whole: &'static str,
}

/// A chip file.
const CHIP: Form = Form { name: "chip", a: "a chip", whole: "`Chip(..)` or `Variant(..)`" };

/// The tree of `text`, a chip file's, which stands in `source`.
pub(super) fn parse(text: &str, source: &Arc<str>) -> Result<Node, Box<Fault>> {
    parse_as(CHIP, text, source)
}

/// The tree of `text`, which stands in `source`.
pub(crate) fn parse_as(form: Form, text: &str, source: &Arc<str>) -> Result<Node, Box<Fault>> {
    let start = Place::new(source, 1, 1);
    let Form { name, a, whole } = form;
    if text.len() > MAX_BYTES {
        let what = format!("the text has {} bytes; {a} file may have {MAX_BYTES} at most", text.len());
        return Err(Box::new(Fault::new(what, start).help(format!("check that this is the {name} file that you meant"))));
    }
    if let Err(error) = ron::Options::default().from_str::<IgnoredAny>(text) {
        let place = Place::new(source, error.span.start.line, error.span.start.col);
        let what = format!("this is not valid RON: {}", error.code);
        let help = if place.is_option() {
            "a value is written as in a chip file: 64, KiB(8), Rows, \"a text\", [..]".to_owned()
        } else {
            format!("{a} file is one {whole}; look for a missing or doubled bracket, comma or quote before this place")
        };
        return Err(Box::new(Fault::new(what, place).help(help)));
    }
    let mut parser = Parser { rest: text, line: 1, column: 1, source, a };
    parser.skip_blank();
    if parser.rest.starts_with('#') {
        return parser.refuse(&format!("{a} file has no `#![enable(..)]` line"), "remove it: the file is read as plain RON");
    }
    let node = parser.value(0)?;
    parser.skip_blank();
    if parser.rest.is_empty() { Ok(node) } else { parser.refuse("something follows the end of the value", "remove it") }
}

/// The part of a text that is still to be read.
struct Parser<'t> {
    rest: &'t str,
    line: usize,
    column: usize,
    source: &'t Arc<str>,
    /// What kind of file it is, with its article.
    a: &'static str,
}

impl<'t> Parser<'t> {
    fn place(&self) -> Place {
        Place::new(self.source, self.line, self.column)
    }

    fn refuse<T>(&self, what: &str, help: &str) -> Result<T, Box<Fault>> {
        Err(Box::new(Fault::new(what.to_owned(), self.place()).help(help)))
    }

    /// Takes the next `bytes`, which end on a character.
    fn take(&mut self, bytes: usize) -> &'t str {
        let (taken, rest) = self.rest.split_at(bytes);
        self.rest = rest;
        for character in taken.chars() {
            if character == '\n' {
                (self.line, self.column) = (self.line + 1, 1);
            } else {
                self.column += 1;
            }
        }
        taken
    }

    fn take_while(&mut self, wanted: impl Fn(char) -> bool) -> &'t str {
        let end = self.rest.find(|character| !wanted(character)).unwrap_or(self.rest.len());
        self.take(end)
    }

    /// Takes `token` if it comes next.
    fn take_if(&mut self, token: &str) -> bool {
        let next = self.rest.starts_with(token);
        if next {
            self.take(token.len());
        }
        next
    }

    /// Skips white space and comments.
    fn skip_blank(&mut self) {
        loop {
            self.take_while(|character| character.is_whitespace() || matches!(character, '\u{200E}' | '\u{200F}'));
            if self.rest.starts_with("//") {
                self.take_while(|character| character != '\n');
            } else if self.rest.starts_with("/*") {
                let mut open = 0_usize;
                loop {
                    if self.take_if("/*") {
                        open += 1;
                    } else if self.take_if("*/") {
                        open -= 1;
                    } else if let Some(character) = self.rest.chars().next() {
                        self.take(character.len_utf8());
                    }
                    if open == 0 || self.rest.is_empty() {
                        break;
                    }
                }
            } else {
                return;
            }
        }
    }

    /// Takes a name, raw (`r#name`) or plain; nothing where none comes next.
    fn name(&mut self) -> Option<String> {
        let raw = self.rest.strip_prefix("r#").is_some_and(|rest| rest.starts_with(|c: char| c.is_alphabetic() || c == '_'));
        if raw {
            self.take(2);
        } else if !self.rest.starts_with(|character: char| character.is_alphabetic() || character == '_') {
            return None;
        }
        let word = self.take_while(|character| character.is_alphanumeric() || character == '_' || (raw && ".+-".contains(character)));
        Some(word.to_owned())
    }

    fn value(&mut self, depth: usize) -> Result<Node, Box<Fault>> {
        if depth > MAX_DEPTH {
            let help = format!("{} file nests about eight deep", self.a);
            return self.refuse(&format!("values are nested more than {MAX_DEPTH} deep"), &help);
        }
        let place = self.place();
        let kind = match self.rest.chars().next() {
            None => return self.refuse("a value is missing at the end of the text", "write one"),
            Some('(') => self.enclosed(None, depth)?,
            Some('[') => {
                self.take(1);
                Kind::List(self.items("]", depth)?)
            }
            Some('{') => self.map(depth)?,
            Some('"') => Kind::Literal(self.quoted('"')?),
            Some('\'') => Kind::Literal(self.quoted('\'')?),
            Some('r') if self.rest[1..].trim_start_matches('#').starts_with('"') => Kind::Literal(self.raw_text()?),
            Some('b') if self.rest[1..].starts_with(['"', '\'', 'r']) && !self.rest[1..].starts_with("r#_") && self.is_bytes() => {
                return self.refuse(&format!("{} file has no byte strings", self.a), "write a text, a number or a name");
            }
            Some(_) => match self.name() {
                Some(name) => {
                    self.skip_blank();
                    if self.rest.starts_with('(') { self.enclosed(Some(name), depth)? } else { Kind::Word(name) }
                }
                None => Kind::Literal(self.number()?),
            },
        };
        Ok(Node { place, kind })
    }

    /// Whether a byte string comes next, not a name that begins with `b`.
    fn is_bytes(&self) -> bool {
        let rest = &self.rest[1..];
        rest.starts_with(['"', '\'']) || rest.strip_prefix('r').is_some_and(|raw| raw.trim_start_matches('#').starts_with('"'))
    }

    fn number(&mut self) -> Result<String, Box<Fault>> {
        let digits = self.take_while(|character| character.is_alphanumeric() || "+-._".contains(character));
        if digits.is_empty() {
            self.refuse("a value cannot begin like this", "write a number, a name, a text or a bracket")
        } else {
            Ok(digits.to_owned())
        }
    }

    /// Takes a text or character in `quote`s.
    fn quoted(&mut self, quote: char) -> Result<String, Box<Fault>> {
        let mut escaped = false;
        for (index, character) in self.rest.char_indices().skip(1) {
            if escaped {
                escaped = false;
            } else if character == '\\' {
                escaped = true;
            } else if character == quote {
                return Ok(self.take(index + 1).to_owned());
            }
        }
        self.refuse("a quote is not closed", "close it")
    }

    /// Takes a text such as `r#"..."#`.
    fn raw_text(&mut self) -> Result<String, Box<Fault>> {
        let hashes = self.rest[1..].len() - self.rest[1..].trim_start_matches('#').len();
        let close = format!("\"{}", "#".repeat(hashes));
        let body = 1 + hashes + 1;
        match self.rest[body..].find(&close) {
            Some(end) => Ok(self.take(body + end + close.len()).to_owned()),
            None => self.refuse("a quote is not closed", "close it"),
        }
    }

    /// Takes values up to `close`, whose opening has been taken.
    fn items(&mut self, close: &str, depth: usize) -> Result<Vec<Node>, Box<Fault>> {
        let mut items = Vec::new();
        loop {
            self.skip_blank();
            if self.take_if(close) {
                return Ok(items);
            }
            items.push(self.value(depth + 1)?);
            self.comma_or(close)?;
        }
    }

    /// Takes the comma between entries, which may stand before `close` too.
    fn comma_or(&mut self, close: &str) -> Result<(), Box<Fault>> {
        self.skip_blank();
        if self.take_if(",") || self.rest.starts_with(close) {
            Ok(())
        } else {
            self.refuse("a comma is missing", "put one between entries")
        }
    }

    fn map(&mut self, depth: usize) -> Result<Kind, Box<Fault>> {
        self.take(1);
        let mut entries = Vec::new();
        loop {
            self.skip_blank();
            if self.take_if("}") {
                return Ok(Kind::Map(entries));
            }
            let key = self.value(depth + 1)?;
            self.colon()?;
            entries.push((key, self.value(depth + 1)?));
            self.comma_or("}")?;
        }
    }

    fn colon(&mut self) -> Result<(), Box<Fault>> {
        self.skip_blank();
        if !self.take_if(":") {
            return self.refuse("a colon is missing", "write `name: value`");
        }
        self.skip_blank();
        Ok(())
    }

    /// Takes what stands in parentheses: fields where the first entry is `name: value`, else a tuple.
    fn enclosed(&mut self, name: Option<String>, depth: usize) -> Result<Kind, Box<Fault>> {
        self.take(1);
        self.skip_blank();
        let mut ahead = Parser { ..*self };
        let has_fields = ahead.name().is_some() && {
            ahead.skip_blank();
            ahead.rest.starts_with(':')
        };
        if !has_fields {
            return Ok(Kind::Tuple { name, items: self.items(")", depth)? });
        }
        let mut fields = Vec::new();
        loop {
            self.skip_blank();
            if self.take_if(")") {
                return Ok(Kind::Fields { name, fields });
            }
            let place = self.place();
            let Some(key) = self.name() else {
                return self.refuse("a field's name is missing", "write `name: value`");
            };
            self.colon()?;
            fields.push(Field { key, place, value: self.value(depth + 1)? });
            self.comma_or(")")?;
        }
    }
}
