//! What a chip file says of energy and area: a shipped table by name, or lists of its own.
//!
//! Not here: whether a list is complete (`check`), and what a table's figures are (`energy`).

use super::price::{Action, AreaEntry, AreaSource, EnergyEntry, EnergySource, Fidelity, Part, PeCost, ShippedTable};
use super::read::{Item, Reader};
use super::schema::dtype;

/// The shipped tables by name.
const TABLES: [(&str, ShippedTable); 1] = [("45nm", ShippedTable::Nm45)];
/// The most energy of an action, in picojoules.
const MOST_PICOJOULES: f64 = 1e9;
/// The most area of a part, in square millimetres.
const MOST_SQUARE_MILLIMETRES: f64 = 1e5;
/// The longest list.
const MOST_ENTRIES: usize = 128;

/// What a PE costs in a format.
pub(super) fn pe(reader: &mut Reader, item: Option<Item<'_>>) -> Option<PeCost> {
    let item = item?;
    if reader.variant(&item, &["Table", "Stated"])? == "Table" {
        return reader.word(&item).map(|()| PeCost::Table);
    }
    let fields = reader.record(Some(item), Some("Stated"), &["energy", "area", "fidelity", "source"])?;
    let picojoules = reader.measured(fields.get("energy"), "pJ", 0.0, MOST_PICOJOULES);
    let square_micrometres = reader.measured(fields.get("area"), "um2", 0.0, 1e9);
    let fidelity = fidelity(reader, fields.get("fidelity"));
    let source = reader.text(fields.get("source"));
    Some(PeCost::Stated { picojoules: picojoules?, square_micrometres: square_micrometres?, fidelity: fidelity?, source: source? })
}

/// The energies.
pub(super) fn energy(reader: &mut Reader, item: Option<Item<'_>>) -> Option<EnergySource> {
    let item = item?;
    if reader.variant(&item, &["Table", "Listed"])? == "Table" {
        return table(reader, &item).map(EnergySource::Table);
    }
    let inner = reader.inner(&item, "Listed([..])")?;
    let entries = reader.list(Some(inner), 1..=MOST_ENTRIES)?;
    let entries: Vec<_> = entries.into_iter().map(|entry| energy_entry(reader, entry)).collect();
    entries.into_iter().collect::<Option<_>>().map(EnergySource::Listed)
}

/// The areas.
pub(super) fn area(reader: &mut Reader, item: Option<Item<'_>>) -> Option<AreaSource> {
    let item = item?;
    if reader.variant(&item, &["Table", "Listed"])? == "Table" {
        return table(reader, &item).map(AreaSource::Table);
    }
    let inner = reader.inner(&item, "Listed([..])")?;
    let entries = reader.list(Some(inner), 1..=MOST_ENTRIES)?;
    let entries: Vec<_> = entries.into_iter().map(|entry| area_entry(reader, entry)).collect();
    entries.into_iter().collect::<Option<_>>().map(AreaSource::Listed)
}

fn table(reader: &mut Reader, item: &Item<'_>) -> Option<ShippedTable> {
    let inner = reader.inner(item, "Table(\"45nm\")")?;
    let name = reader.text(Some(inner.clone()))?;
    let table = TABLES.iter().find(|(known, _)| *known == name).map(|(_, table)| *table);
    if table.is_none() {
        let names: Vec<String> = TABLES.iter().map(|(name, _)| format!("Table(\"{name}\")")).collect();
        reader.refuse(
            &inner,
            format!("{}: no shipped table has this name", item.path),
            format!("there is {}; or list your own: `Listed([..])`", names.join(", ")),
        );
    }
    table
}

fn fidelity(reader: &mut Reader, item: Option<Item<'_>>) -> Option<Fidelity> {
    reader.choice(item, &[("Published", Fidelity::Published), ("Derived", Fidelity::Derived), ("Assumed", Fidelity::Assumed)])
}

fn energy_entry(reader: &mut Reader, item: Item<'_>) -> Option<EnergyEntry> {
    let fields = reader.record(Some(item), None, &["action", "cost", "fidelity", "source"])?;
    let action = action(reader, fields.get("action"));
    let picojoules = reader.measured(fields.get("cost"), "pJ", 0.0, MOST_PICOJOULES);
    let fidelity = fidelity(reader, fields.get("fidelity"));
    let source = reader.text(fields.get("source"));
    Some(EnergyEntry { action: action?, picojoules: picojoules?, fidelity: fidelity?, source: source? })
}

fn area_entry(reader: &mut Reader, item: Item<'_>) -> Option<AreaEntry> {
    let fields = reader.record(Some(item), None, &["part", "area", "fidelity", "source"])?;
    let part = part(reader, fields.get("part"));
    let square_millimetres = reader.measured(fields.get("area"), "mm2", 0.0, MOST_SQUARE_MILLIMETRES);
    let fidelity = fidelity(reader, fields.get("fidelity"));
    let source = reader.text(fields.get("source"));
    Some(AreaEntry { part: part?, square_millimetres: square_millimetres?, fidelity: fidelity?, source: source? })
}

/// The actions that have nothing in parentheses.
const PLAIN_ACTIONS: [(&str, Action); 11] = [
    ("RegisterBit", Action::RegisterBit),
    ("ZeroPointSubtract", Action::ZeroPointSubtract),
    ("AccumulatorRead", Action::AccumulatorRead),
    ("AccumulatorWrite", Action::AccumulatorWrite),
    ("DramReadByte", Action::DramReadByte),
    ("DramWriteByte", Action::DramWriteByte),
    ("DramActivate", Action::DramActivate),
    ("DramRefresh", Action::DramRefresh),
    ("CodecByte", Action::CodecByte),
    ("VectorOperation", Action::VectorOperation),
    ("LeakageMicrosecond", Action::LeakageMicrosecond),
];

fn action(reader: &mut Reader, item: Option<Item<'_>>) -> Option<Action> {
    let item = item?;
    let names: Vec<&str> = ["Mac", "GatedMac", "PeClock", "ScratchpadRead", "ScratchpadWrite"]
        .into_iter()
        .chain(PLAIN_ACTIONS.map(|(name, _)| name))
        .collect();
    match reader.variant(&item, &names)? {
        name @ ("Mac" | "GatedMac" | "PeClock") => {
            let fields = reader.record(Some(item), Some(name), &["weight", "activation"])?;
            let (weight, activation) = (dtype(reader, fields.get("weight")), dtype(reader, fields.get("activation")));
            let (weight, activation) = (weight?, activation?);
            Some(match name {
                "Mac" => Action::Mac { weight, activation },
                "GatedMac" => Action::GatedMac { weight, activation },
                _ => Action::PeClock { weight, activation },
            })
        }
        "ScratchpadRead" => index(reader, &item, "ScratchpadRead(0)").map(Action::ScratchpadRead),
        "ScratchpadWrite" => index(reader, &item, "ScratchpadWrite(0)").map(Action::ScratchpadWrite),
        _ => reader.choice(Some(item), &PLAIN_ACTIONS),
    }
}

fn part(reader: &mut Reader, item: Option<Item<'_>>) -> Option<Part> {
    let item = item?;
    let plain = [("Array", Part::Array), ("Accumulator", Part::Accumulator), ("VectorUnit", Part::VectorUnit)];
    match reader.variant(&item, &["Array", "Scratchpad", "Accumulator", "VectorUnit"])? {
        "Scratchpad" => index(reader, &item, "Scratchpad(0)").map(Part::Scratchpad),
        _ => reader.choice(Some(item), &plain),
    }
}

/// The index of a scratchpad.
fn index(reader: &mut Reader, item: &Item<'_>, example: &str) -> Option<usize> {
    let inner = reader.inner(item, example);
    reader.whole(inner, 0..=1).and_then(|index| usize::try_from(index).ok())
}

/// How an action is written in a chip file.
pub(super) fn written_action(action: &Action) -> String {
    match action {
        Action::Mac { weight, activation } => format!("Mac(weight: {weight:?}, activation: {activation:?})"),
        Action::GatedMac { weight, activation } => format!("GatedMac(weight: {weight:?}, activation: {activation:?})"),
        Action::PeClock { weight, activation } => format!("PeClock(weight: {weight:?}, activation: {activation:?})"),
        plain => format!("{plain:?}"),
    }
}
