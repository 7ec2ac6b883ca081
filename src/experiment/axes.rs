//! Axes: a field of chips by its path, several that go together, or a value of recipes; and the values that they take.
//!
//! | written | values |
//! | --- | --- |
//! | `[1, 2, 4]` | these |
//! | `Log2(4, 64)` | 4, 8, 16, 32, 64; `Log2(KiB(64), KiB(512))` too |
//! | `Linear(10, 20, 3)` | 10, 15, 20 |
//! | `"array.{rows,cols}": [(8, 32), (16, 16)]` | both fields at once |

use super::BaseChip;
use super::text::map;
use crate::chip::{Item, Kind, Node, Reader, nearest};
use crate::report::{AxisValue, sweep_columns};
use std::collections::BTreeMap;

/// The most values of an axis.
const MOST_VALUES: usize = 10_000;

/// Units of chip files, what one is worth in the smallest, and what a column of that is called.
const UNITS: [(&str, f64, &str); 10] = [
    ("B", 1.0, "bytes"),
    ("KiB", 1024.0, "bytes"),
    ("MiB", 1_048_576.0, "bytes"),
    ("GiB", 1_073_741_824.0, "bytes"),
    ("Hz", 1.0, "hz"),
    ("kHz", 1e3, "hz"),
    ("MHz", 1e6, "hz"),
    ("GHz", 1e9, "hz"),
    ("Cycles", 1.0, "cycles"),
    ("nm", 1.0, "nm"),
];

/// One axis.
#[derive(Debug, Clone, PartialEq)]
pub struct Axis {
    /// As it is written.
    pub name: String,
    /// The fields of chips that it sets, one value each; none where it is of recipes.
    pub paths: Vec<String>,
    /// Its values, in RON; each has as many parts as there are paths, and one where there are none.
    pub values: Vec<Vec<String>>,
}

impl Axis {
    /// The columns of one of its values.
    pub fn columns(&self, value: usize) -> BTreeMap<String, AxisValue> {
        let names = if self.paths.is_empty() { std::slice::from_ref(&self.name) } else { &self.paths };
        names.iter().zip(&self.values[value]).flat_map(|(path, text)| columns(path, text)).collect()
    }
}

/// A value as columns: under its path, and as a number in the smallest unit where it has one.
///
/// A name that is a column of results already (a chip's `cores`, the `clock_hz` of its `clock`) is theirs: the path then stands behind `chip.`, and the number
/// is left to the figure.
pub fn columns(path: &str, text: &str) -> Vec<(String, AxisValue)> {
    let is_taken = |name: &str| sweep_columns().contains(&name);
    let own = if is_taken(path) { format!("chip.{path}") } else { path.to_owned() };
    if let Some(number) = text.replace('_', "").parse().ok().filter(|number: &f64| number.is_finite()) {
        return vec![(own, AxisValue::Number(number))];
    }
    let shown = ron::from_str::<String>(text).unwrap_or_else(|_| text.to_owned());
    let mut all = vec![(own, AxisValue::Text(shown))];
    let quantity = text.strip_suffix(')').and_then(|rest| rest.split_once('('));
    if let Some((unit, number)) = quantity
        && let Some((_, worth, column)) = UNITS.iter().find(|(name, ..)| *name == unit.trim())
        && let Ok(number) = number.trim().replace('_', "").parse::<f64>()
    {
        let name = format!("{path}_{column}");
        if !is_taken(&name) {
            all.push((name, AxisValue::Number(number * worth)));
        }
    }
    all
}

/// `array.{rows,cols}` as `array.rows` and `array.cols`.
fn expanded(name: &str) -> Vec<String> {
    match name.split_once('{').and_then(|(before, rest)| Some((before, rest.split_once('}')?))) {
        Some((before, (inside, after))) => inside.split(',').map(|part| format!("{before}{}{after}", part.trim())).collect(),
        None => vec![name.to_owned()],
    }
}

/// The columns that axes go by as they are written, right or wrong.
pub(super) fn written(item: &Item<'_>) -> Vec<String> {
    let Kind::Map(entries) = &item.node.kind else { return Vec::new() };
    entries.iter().filter_map(|(key, _)| key.text()).flat_map(|name| expanded(&name)).collect()
}

/// Reads the axes. `used` are the names that recipes use.
pub(super) fn read(reader: &mut Reader, item: Option<Item<'_>>, chips: &[BaseChip], used: &[String]) -> Vec<Axis> {
    let mut axes: Vec<Axis> = Vec::new();
    for (name, key, value) in map(reader, item, "axes: { \"dram.bytes_per_cycle\": Log2(4, 64) }") {
        let at = Item { node: key, path: value.path.clone() };
        let paths = expanded(&name);
        let is_of_recipe = paths.len() == 1 && used.contains(&name);
        if let Some(taken) = paths.iter().find(|path| sweep_columns().contains(&path.as_str()) && is_of_recipe) {
            reader.refuse(&at, format!("{taken:?} is a column of results already"), "give the axis another name");
            continue;
        }
        let known: Vec<&String> = axes.iter().flat_map(|axis| &axis.paths).collect();
        if let Some(twice) = paths.iter().find(|path| known.contains(path)) {
            reader.refuse(&at, format!("{twice} is set by two axes"), "let one axis set it");
            continue;
        }
        let Some(values) = values(reader, &value, paths.len()) else { continue };
        let fields = if is_of_recipe { Vec::new() } else { paths.clone() };
        if !is_of_recipe && !are_fields(reader, &at, &paths, chips, used) {
            continue;
        }
        for (place, path) in fields.iter().enumerate() {
            for parts in &values {
                fits(reader, &value, path, &parts[place], chips);
            }
        }
        axes.push(Axis { name, paths: fields, values });
    }
    axes
}

/// Whether each path names a field of at least one chip.
fn are_fields(reader: &mut Reader, at: &Item<'_>, paths: &[String], chips: &[BaseChip], used: &[String]) -> bool {
    let mut all = true;
    for path in paths {
        let faults: Vec<_> = chips.iter().map(|base| base.chip.try_field(path, "0")).collect();
        let is_there = faults.iter().any(|tried| tried.as_ref().map_or_else(|fault| fault.is_there, |()| true));
        if chips.is_empty() || is_there {
            continue;
        }
        all = false;
        let of_recipe = nearest(path, used.iter().map(String::as_str)).map(|near| format!("did you mean `{near}`, which a recipe uses? "));
        let of_chip = faults.into_iter().find_map(Result::err).map(|fault| fault.help).unwrap_or_default();
        let help = format!("{}{of_chip}", of_recipe.unwrap_or_default());
        reader.refuse(at, format!("the axis {path:?} names no field of a chip, and no recipe has an Axis({path:?})"), help);
    }
    all
}

/// Refuses a value that the field may not have on any chip that has the field.
fn fits(reader: &mut Reader, at: &Item<'_>, path: &str, value: &str, chips: &[BaseChip]) {
    let mut fault = None;
    for base in chips {
        match base.chip.try_field(path, value) {
            Ok(()) => return,
            Err(found) if found.is_there => fault = fault.or(Some(found)),
            Err(_) => {}
        }
    }
    if let Some(fault) = fault {
        reader.refuse(at, format!("{path} = {value}: {}", fault.what), fault.help);
    }
}

/// The values of an axis that has so many parts.
fn values(reader: &mut Reader, item: &Item<'_>, parts: usize) -> Option<Vec<Vec<String>>> {
    let values: Vec<Vec<String>> = match &item.node.kind {
        Kind::List(nodes) => {
            let mut all = Vec::new();
            for node in nodes {
                all.push(tuple(reader, &Item { node, path: item.path.clone() }, parts)?);
            }
            all
        }
        Kind::Tuple { name: Some(name), items } if ["Log2", "Linear"].contains(&name.as_str()) => {
            if parts > 1 {
                reader.refuse(item, format!("{}: fields that go together take a list", item.path), "write it like `[(8, 32), (16, 16)]`");
                return None;
            }
            match range(name, items) {
                Ok(range) => range.into_iter().map(|value| vec![value]).collect(),
                Err(what) => {
                    let help = "write Log2(4, 64), doubling from the first to the last, or Linear(10, 20, 3), so many in even steps";
                    reader.refuse(item, format!("{} is no range of values: {what}", item.path), help);
                    return None;
                }
            }
        }
        _ => {
            reader.refuse(
                item,
                format!("{} takes a list, Log2(..) or Linear(..)", item.path),
                "write it like `[4, 8, 16]` or `Log2(4, 64)`",
            );
            return None;
        }
    };
    if values.is_empty() || values.len() > MOST_VALUES {
        let what = format!("the axis {} has {} values", item.path, values.len());
        reader.refuse(item, what, format!("give it 1 to {MOST_VALUES}"));
        return None;
    }
    if let Some((_, twice)) = values.iter().enumerate().find(|(place, value)| values[..*place].contains(value)) {
        reader.refuse(item, format!("the axis {} has {} twice", item.path, twice.join(", ")), "remove one of them");
        return None;
    }
    Some(values)
}

/// The parts of one value.
fn tuple(reader: &mut Reader, item: &Item<'_>, parts: usize) -> Option<Vec<String>> {
    if parts == 1 {
        return Some(vec![item.node.line()]);
    }
    match &item.node.kind {
        Kind::Tuple { name: None, items } if items.len() == parts => Some(items.iter().map(Node::line).collect()),
        _ => {
            let what = format!("{}: each value has {parts} parts, one a field", item.path);
            reader.refuse(item, what, format!("write it like `({})`", vec![".."; parts].join(", ")));
            None
        }
    }
}

/// The values of `Log2(from, to)` and `Linear(from, to, count)`.
///
/// # Errors
/// Why they are no range.
fn range(name: &str, items: &[Node]) -> Result<Vec<String>, &'static str> {
    let end = |place: usize| items.get(place).and_then(quantity).filter(|(_, number)| number.is_finite());
    let (Some(from), Some(to)) = (end(0), end(1)) else { return Err("its first two entries are numbers, or numbers in a unit") };
    if from.0 != to.0 {
        return Err("its ends have different units");
    }
    if from.1 > to.1 {
        return Err("its first end is above its last");
    }
    let numbers: Vec<f64> = if name == "Log2" {
        if items.len() != 2 {
            return Err("it has two entries, the first and the last value");
        }
        if from.1 <= 0.0 {
            return Err("what doubles is above 0");
        }
        let doubled = std::iter::successors(Some(from.1), |value| Some(value * 2.0));
        doubled.take_while(|value| *value <= to.1).take(MOST_VALUES + 1).collect()
    } else {
        let count = match items {
            [_, _, Node { kind: Kind::Literal(count), .. }] => count.parse::<u32>().ok(),
            _ => None,
        };
        let Some(count) = count.filter(|count| *count >= 2 && *count as usize <= MOST_VALUES && from.1 < to.1) else {
            return Err("its third entry is how many values it has, from 2 to 10000, on the way to another value");
        };
        (0..count).map(|step| from.1 + (to.1 - from.1) * f64::from(step) / f64::from(count - 1)).collect()
    };
    let written = |number: f64| from.0.as_ref().map_or_else(|| number.to_string(), |unit| format!("{unit}({number})"));
    Ok(numbers.into_iter().map(written).collect())
}

/// A number and its unit.
fn quantity(node: &Node) -> Option<(Option<String>, f64)> {
    match &node.kind {
        Kind::Literal(literal) => Some((None, literal.replace('_', "").parse().ok()?)),
        Kind::Tuple { name: Some(unit), items } if items.len() == 1 => {
            let Kind::Literal(literal) = &items[0].kind else { return None };
            Some((Some(unit.clone()), literal.replace('_', "").parse().ok()?))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn linked_names_and_columns() {
        assert_eq!(expanded("array.{rows,cols}"), ["array.rows", "array.cols"]);
        assert_eq!(expanded("{array.rows, dma.engines}"), ["array.rows", "dma.engines"]);
        assert_eq!(expanded("clock"), ["clock"]);
        assert_eq!(columns("x", "4"), [("x".to_owned(), AxisValue::Number(4.0))]);
        let of_size = columns("s", "KiB(64)");
        assert_eq!(of_size[0].1, AxisValue::Text("KiB(64)".to_owned()));
        assert_eq!(of_size[1], ("s_bytes".to_owned(), AxisValue::Number(65536.0)));
        let of_clock = columns("clock", "MHz(600)");
        assert_eq!(of_clock, [("clock".to_owned(), AxisValue::Text("MHz(600)".to_owned()))], "clock_hz is a figure");
        assert_eq!(columns("cores", "2"), [("chip.cores".to_owned(), AxisValue::Number(2.0))]);
        assert_eq!(columns("s", "Dense"), [("s".to_owned(), AxisValue::Text("Dense".to_owned()))]);
    }
}
