//! Reading values out of the tree: records, choices, whole numbers, quantities with their units. A value that cannot be read leaves a
//! fault and is `None`; reading goes on, so that every fault of a file is found at once.
//!
//! Not here: which fields a chip has (`schema`).

use super::edit::{find, join};
use super::fault::{Fault, Faults, listed, nearest};
use super::number::{Scaled, scaled};
use super::tree::{Kind, Node};
use crate::units::BytesPerCycle;
use std::ops::RangeInclusive;

/// The lowest rate in millionths of a byte a cycle: slower than any memory, and a simulation still ends.
const SLOWEST: u64 = 1_000;

/// A value with its path, which messages name.
#[derive(Debug, Clone)]
pub(crate) struct Item<'t> {
    pub(crate) node: &'t Node,
    pub(crate) path: String,
}

/// What a quantity is called and the units that it may be written in, each with its worth in the smallest.
pub(crate) struct Quantity {
    /// The quantity: "a capacity".
    pub(crate) what: &'static str,
    /// An example: "KiB(256)".
    pub(crate) example: &'static str,
    /// The units, small to large.
    pub(crate) units: &'static [(&'static str, u64)],
    /// What one of the smallest unit is called: "byte".
    pub(crate) smallest: &'static str,
}

/// A memory's size, in bytes.
pub(crate) const CAPACITY: Quantity = Quantity {
    what: "a capacity",
    example: "KiB(256)",
    units: &[("B", 1), ("KiB", 1 << 10), ("MiB", 1 << 20), ("GiB", 1 << 30)],
    smallest: "byte",
};
/// A clock's frequency, in hertz.
pub(crate) const FREQUENCY: Quantity = Quantity {
    what: "a clock",
    example: "MHz(700)",
    units: &[("Hz", 1), ("kHz", 1_000), ("MHz", 1_000_000), ("GHz", 1_000_000_000)],
    smallest: "hertz",
};
/// A span of time in core cycles.
pub(crate) const SPAN: Quantity = Quantity { what: "a latency", example: "Cycles(4)", units: &[("Cycles", 1)], smallest: "cycle" };
/// A feature size in nanometres.
pub(crate) const FEATURE: Quantity = Quantity { what: "a process node", example: "nm(28)", units: &[("nm", 1)], smallest: "nanometre" };

/// A record's fields, known to be the right ones, each there at most once.
pub(crate) struct Record<'t>(Item<'t>);

impl<'t> Record<'t> {
    /// The field named `name`; nothing where it is missing, which is a known fault already.
    pub(crate) fn get(&self, name: &str) -> Option<Item<'t>> {
        let node = self.0.node.field(name)?;
        Some(Item { node, path: join(&self.0.path, name) })
    }
}

/// Reads values and gathers faults.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    pub(crate) faults: Faults,
}

impl Reader {
    /// A fault.
    pub(crate) fn push(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// A fault of `item`'s value.
    pub(crate) fn refuse(&mut self, item: &Item<'_>, what: impl Into<String>, help: impl Into<String>) {
        self.faults.push(Fault::of(what.into(), &item.path, item.node).help(help));
    }

    /// A fault of the value at `path` of the whole chip `root`.
    pub(crate) fn refuse_at(&mut self, root: &Node, path: &str, what: impl Into<String>, help: impl Into<String>) {
        self.faults.push(Fault::of(what.into(), path, find(root, path).unwrap_or(root)).help(help));
    }

    /// A record with exactly `fields`. `shape` is how it is written, `(..)` or `Name(..)`.
    pub(crate) fn record<'t>(&mut self, item: Option<Item<'t>>, shape: Option<&str>, fields: &[&str]) -> Option<Record<'t>> {
        let help = "write every field: nothing has a silent default (`systole chip show edge-16x16` prints a complete chip)";
        self.record_with(item, shape, fields, 0, help)
    }

    /// A record with `fields`, of which the last `optional` may be left out; `help` is for those that must not be.
    pub(crate) fn record_with<'t>(
        &mut self,
        item: Option<Item<'t>>,
        shape: Option<&str>,
        fields: &[&str],
        optional: usize,
        help: &str,
    ) -> Option<Record<'t>> {
        let item = item?;
        let whole = format!("the {}", self.faults.whose());
        let title = if item.path.is_empty() { whole.as_str() } else { item.path.as_str() };
        let is_right = match &item.node.kind {
            Kind::Fields { name, .. } => name.is_none() || name.as_deref() == shape,
            _ => false,
        };
        let Kind::Fields { fields: written, .. } = &item.node.kind else {
            let what = format!("{title} is a group of fields");
            self.refuse(&item, what, format!("write `{}({}: ..)`", shape.unwrap_or_default(), fields.join(": .., ")));
            return None;
        };
        if !is_right {
            let name = item.node.head().unwrap_or_default();
            self.refuse(&item, format!("{title} is not a `{name}`"), format!("write `{}(..)`", shape.unwrap_or_default()));
            return None;
        }
        let mut meant = Vec::new();
        for (index, field) in written.iter().enumerate() {
            if self.faults.is_full() {
                break;
            }
            let path = join(&item.path, &field.key);
            if written[..index.min(fields.len() * 2)].iter().any(|earlier| earlier.key == field.key) {
                self.faults.push(Fault::field(format!("{path} is written twice"), &path, field.place.clone()).help("remove one of them"));
            } else if !fields.contains(&field.key.as_str()) {
                let near = nearest(&field.key, fields.iter().copied().filter(|name| item.node.field(name).is_none()));
                meant.extend(near);
                let hint = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
                let help = format!("{hint}the fields are {}", listed("and", fields.iter().copied()));
                self.faults.push(Fault::field(format!("{title} has no field `{}`", field.key), &path, field.place.clone()).help(help));
            }
        }
        let needed = &fields[..fields.len() - optional];
        let missing: Vec<&str> = needed.iter().copied().filter(|name| item.node.field(name).is_none() && !meant.contains(name)).collect();
        if !missing.is_empty() {
            let what = format!("{title} lacks {}", listed("and", missing.iter().copied()));
            self.faults.push(Fault::field(what, &item.path, item.node.place.clone()).help(help));
        }
        Some(Record(item))
    }

    /// The entries of a list that has `from` to `to` of them.
    pub(crate) fn list<'t>(&mut self, item: Option<Item<'t>>, sizes: RangeInclusive<usize>) -> Option<Vec<Item<'t>>> {
        let item = item?;
        let Kind::List(nodes) = &item.node.kind else {
            self.refuse(&item, format!("{} is a list", item.path), "write it in brackets: `[.., ..]`");
            return None;
        };
        if !sizes.contains(&nodes.len()) {
            let what = format!("{} has {} to {} entries, not {}", item.path, sizes.start(), sizes.end(), nodes.len());
            self.refuse(&item, what, if nodes.is_empty() { "add one" } else { "remove some" });
            return None;
        }
        let entry = |(index, node)| Item { node, path: join(&item.path, &format!("{index}")) };
        Some(nodes.iter().enumerate().map(entry).collect())
    }

    /// Which of `names` heads the value: `Ideal` of `Ideal(..)`.
    pub(crate) fn variant<'n>(&mut self, item: &Item<'_>, names: &[&'n str]) -> Option<&'n str> {
        let written = item.node.head().map(str::to_owned).or_else(|| item.node.text()).unwrap_or_default();
        if let Some(name) = names.iter().copied().find(|name| item.node.head() == Some(*name)) {
            return Some(name);
        }
        let help = nearest(&written, names.iter().copied())
            .filter(|_| !written.is_empty())
            .or(names.first().copied().filter(|_| names.len() == 1));
        let help = help.map_or_else(|| "write one of them, without quotes".to_owned(), |near| format!("did you mean `{near}`?"));
        self.refuse(item, format!("{} must be {}", item.path, listed("or", names.iter().copied())), help);
        None
    }

    /// A bare word out of `choices`.
    pub(crate) fn choice<T: Copy>(&mut self, item: Option<Item<'_>>, choices: &[(&str, T)]) -> Option<T> {
        let item = item?;
        let names: Vec<&str> = choices.iter().map(|(name, _)| *name).collect();
        let name = self.variant(&item, &names)?;
        self.word(&item)?;
        choices.iter().find(|(choice, _)| *choice == name).map(|(_, value)| *value)
    }

    /// That the value is a bare word, without parentheses.
    pub(crate) fn word(&mut self, item: &Item<'_>) -> Option<()> {
        if let Kind::Word(_) = item.node.kind {
            return Some(());
        }
        let name = item.node.head().unwrap_or_default();
        self.refuse(item, format!("{}: `{name}` has nothing in parentheses", item.path), format!("write `{name}`"));
        None
    }

    /// The single value in a variant's parentheses; `example` is how the whole is written.
    pub(crate) fn inner<'t>(&mut self, item: &Item<'t>, example: &str) -> Option<Item<'t>> {
        if let Kind::Tuple { items, .. } = &item.node.kind
            && let [node] = items.as_slice()
        {
            return Some(Item { node, path: item.path.clone() });
        }
        let name = item.node.head().unwrap_or_default();
        self.refuse(item, format!("{}: `{name}` takes one value in parentheses", item.path), format!("write it like `{example}`"));
        None
    }

    /// A whole number in `range`.
    pub(crate) fn whole(&mut self, item: Option<Item<'_>>, range: RangeInclusive<u32>) -> Option<u32> {
        let item = item?;
        let literal = if let Kind::Literal(literal) = &item.node.kind { literal.as_str() } else { "" };
        let number = if literal.contains('.') { None } else { ron::from_str::<u32>(literal).ok() };
        let number = number.filter(|number| range.contains(number));
        if number.is_none() {
            let help = match scaled(literal, 1) {
                Scaled::Whole(small) if small < u64::from(*range.start()) => format!("the least is {}", range.start()),
                Scaled::Whole(_) if literal.contains('.') => "write it without decimals".to_owned(),
                Scaled::Whole(_) | Scaled::TooLarge => format!("the most is {}", range.end()),
                Scaled::Negative => format!("the least is {}", range.start()),
                Scaled::Fraction => "write it without decimals".to_owned(),
                Scaled::NotANumber => {
                    format!("write the number alone, without a unit or quotes: `{}`", 16.clamp(*range.start(), *range.end()))
                }
            };
            self.refuse(&item, format!("{} must be a whole number from {} to {}", item.path, range.start(), range.end()), help);
        }
        number
    }

    /// A quantity in its smallest unit, within `range`.
    pub(crate) fn exact(&mut self, item: Option<Item<'_>>, quantity: &Quantity, range: RangeInclusive<u64>) -> Option<u64> {
        let item = item?;
        let names = || quantity.units.iter().map(|(name, _)| *name);
        let unit = match &item.node.kind {
            Kind::Tuple { name: Some(name), items } if items.len() == 1 => quantity.units.iter().find(|(unit, _)| unit == name),
            Kind::Literal(literal) if item.node.text().is_none() => {
                let what = format!("{}: {} needs its unit, such as {}", item.path, quantity.what, quantity.example);
                let help = names().map(|unit| format!("{unit}({literal})")).collect::<Vec<_>>();
                self.refuse(&item, what, format!("write {}", listed("or", help.iter().map(String::as_str))));
                return None;
            }
            _ => None,
        };
        let Some((_, worth)) = unit else {
            let units = names().map(|unit| format!("{unit}(..)")).collect::<Vec<_>>();
            let what = format!("{}: {} is written {}", item.path, quantity.what, listed("or", units.iter().map(String::as_str)));
            self.refuse(&item, what, format!("write it like `{}`", quantity.example));
            return None;
        };
        let inner = self.inner(&item, quantity.example)?;
        let literal = if let Kind::Literal(literal) = &inner.node.kind { literal.as_str() } else { "" };
        let (least, most) = (quantity.written(*range.start()), quantity.written(*range.end()));
        let allowed = format!("{} must be a number from {least} to {most}", item.path);
        match scaled(literal, *worth) {
            Scaled::Whole(value) if range.contains(&value) => return Some(value),
            Scaled::Fraction => {
                let what = format!("{} must come out as a whole number of {}", item.path, quantity.plural());
                self.refuse(&item, what, format!("write fewer decimals, or the whole number: `{}(..)`", quantity.units[0].0));
            }
            Scaled::Whole(value) if value > *range.end() => self.refuse(&item, allowed, format!("the most is {most}")),
            Scaled::TooLarge => self.refuse(&item, allowed, format!("the most is {most}")),
            Scaled::Whole(_) | Scaled::Negative => self.refuse(&item, allowed, format!("the least is {least}")),
            Scaled::NotANumber => self.refuse(&item, allowed, format!("write it like `{}`", quantity.example)),
        }
        None
    }

    /// A latency or span in core cycles.
    pub(crate) fn cycles(&mut self, item: Option<Item<'_>>, range: RangeInclusive<u64>) -> Option<crate::units::Cycles> {
        self.exact(item, &SPAN, range).map(crate::units::Cycles::new)
    }

    /// A rate in bytes a cycle: a decimal of at most six places, above 0 and at most `most`.
    pub(crate) fn rate(&mut self, item: Option<Item<'_>>, most: u64) -> Option<BytesPerCycle> {
        let item = item?;
        let literal = if let Kind::Literal(literal) = &item.node.kind { literal.as_str() } else { "" };
        match scaled(literal, 1_000_000) {
            Scaled::Whole(millionths) if (SLOWEST..=most * 1_000_000).contains(&millionths) => {
                Some(BytesPerCycle::from_millionths(millionths))
            }
            Scaled::Fraction => {
                self.refuse(&item, format!("{} has more than six decimal places", item.path), "round it to a millionth of a byte");
                None
            }
            _ => {
                let what = format!("{} must be a number of bytes from 0.001 to {most}", item.path);
                self.refuse(&item, what, "write it without a unit: 16, or 48.571428");
                None
            }
        }
    }

    /// A measured quantity written `unit(number)`, from `low` to `high`.
    pub(crate) fn measured(&mut self, item: Option<Item<'_>>, unit: &str, low: f64, high: f64) -> Option<f64> {
        let item = item?;
        let example = format!("{unit}({})", if low > 0.0 { low.max(1.0) } else { 1.0 });
        if item.node.head() != Some(unit) {
            let what = format!("{} needs its unit, such as {example}", item.path);
            let help = match &item.node.kind {
                Kind::Literal(literal) if item.node.text().is_none() => format!("write `{unit}({literal})`"),
                _ => format!("write `{unit}(..)`"),
            };
            self.refuse(&item, what, help);
            return None;
        }
        let inner = self.inner(&item, &example)?;
        let what = format!("{} must be from {unit}({low}) to {unit}({high})", item.path);
        number(&inner, low, high).or_else(|| {
            self.refuse(&item, what, "write a finite number in that range");
            None
        })
    }

    /// A text that says something.
    pub(crate) fn text(&mut self, item: Option<Item<'_>>) -> Option<String> {
        const LONGEST: usize = 2000;
        let item = item?;
        let text = item.node.text();
        match &text {
            None => self.refuse(&item, format!("{} must be a text", item.path), "write it in double quotes"),
            Some(text) if text.trim().is_empty() => {
                self.refuse(&item, format!("{} is empty", item.path), "write at least a word");
            }
            Some(text) if text.len() > LONGEST => {
                self.refuse(&item, format!("{} is longer than {LONGEST} bytes", item.path), "shorten it");
            }
            Some(_) => return text,
        }
        None
    }
}

impl Quantity {
    /// `value`, in the largest unit that holds it in whole numbers.
    pub(crate) fn written(&self, value: u64) -> String {
        let fitting = self.units.iter().rev().find(|(_, worth)| value.is_multiple_of(*worth) && value >= *worth);
        let (unit, worth) = fitting.unwrap_or(&self.units[0]);
        format!("{unit}({})", value / worth)
    }

    fn plural(&self) -> String {
        if self.smallest == "hertz" { self.smallest.to_owned() } else { format!("{}s", self.smallest) }
    }
}

/// A finite number from `low` to `high`.
pub(crate) fn number(item: &Item<'_>, low: f64, high: f64) -> Option<f64> {
    let Kind::Literal(literal) = &item.node.kind else { return None };
    literal.replace('_', "").parse::<f64>().ok().filter(|value| value.is_finite() && (low..=high).contains(value))
}
