//! DRAM with banks in a chip file: presets, which are expanded before anything is read, the fields, and the rules between them.
//!
//! ```text
//! Banked(preset: "DDR4-2400", channels: 1, ..)  --expand-->  Banked(device: DDR4, source: "..", organisation: (..), timing: (..), channels: 1, ..)
//! ```
//!
//! Not here: what the fields mean command by command (`sim::dram`).

use super::dram::{AddressMapping, Banked, DramDevice, DramTiming, Organisation, Page};
use super::fault::{Fault, listed, nearest};
use super::parser;
use super::read::{Item, Quantity, Reader};
use super::tree::{Kind, Node};

/// The presets' timing: a row each, the columns named as the fields are.
const PRESETS: &str = include_str!("tables/dram_presets.csv");
const ORGANISATION: [&str; 9] =
    ["data_rate", "width_bits", "burst_length", "burst_cycles", "ranks", "bank_groups", "banks_per_group", "rows", "row_bytes"];
const TIMING: [&str; 21] = [
    "cl",
    "cwl",
    "trcd_rd",
    "trcd_wr",
    "trp",
    "trp_ab",
    "tras",
    "trc",
    "trrd_s",
    "trrd_l",
    "tfaw",
    "tccd_s",
    "tccd_l",
    "twtr_s",
    "twtr_l",
    "twr",
    "trtp",
    "trfc",
    "trefi",
    "turnaround",
    "trtrs",
];
/// The fields that a preset stands for.
const OF_PRESET: [&str; 4] = ["device", "source", "organisation", "timing"];
const POLICY: [&str; 5] = ["channels", "queue_depth", "starvation_cap", "page", "mapping"];
/// Banks of a channel, all ranks together: what the controller keeps account of.
const MOST_BANKS: u32 = 64;
/// The most cycles of a timing field but the refresh interval's.
const MOST_CYCLES: u32 = 10_000;
/// Cycles that have to lie between a refresh's end and the next one, beside what a request needs.
const MARGIN: u32 = 100;
const DATA_RATE: Quantity =
    Quantity { what: "a data rate", example: "MTps(2400)", units: &[("MTps", 1)], smallest: "million transfers a second" };

/// A preset's row: the value of the column of this name.
type Row = Vec<(&'static str, &'static str)>;

fn presets() -> impl Iterator<Item = Row> {
    let mut lines = PRESETS.lines();
    let header: Vec<&str> = lines.next().unwrap_or_default().split(',').collect();
    lines.map(move |line| header.iter().copied().zip(line.split(',')).collect())
}

fn cell(row: &Row, column: &str) -> &'static str {
    row.iter().find(|(name, _)| *name == column).map(|(_, value)| *value).expect("bug: a DRAM preset lacks a column; please report it")
}

/// The names of the presets.
pub fn dram_presets() -> Vec<&'static str> {
    presets().map(|row| cell(&row, "preset")).collect()
}

/// What a preset stands for, as a chip file would say it.
fn written(row: &Row) -> String {
    let group = |names: &[&str]| {
        let value = |name: &str| if name == "data_rate" { format!("MTps({})", cell(row, name)) } else { cell(row, name).to_owned() };
        names.iter().map(|name| format!("{name}: {}", value(name))).collect::<Vec<_>>().join(", ")
    };
    format!(
        "(device: {}, source: {:?}, organisation: ({}), timing: ({}))",
        cell(row, "device"),
        cell(row, "source"),
        group(&ORGANISATION),
        group(&TIMING)
    )
}

/// Whether `path` leads to a field that a preset stands for, so that the preset has to be expanded before the field can be changed. A preset
/// that cannot be is told of once, when the whole chip is read.
pub(super) fn is_of_preset(path: &str) -> bool {
    path.strip_prefix("dram.").and_then(|rest| rest.split('.').next()).is_some_and(|field| OF_PRESET.contains(&field))
}

/// Puts a preset's fields in the place of its name, where the chip's DRAM has one.
pub(super) fn expand(root: &mut Node) -> Result<(), Box<Fault>> {
    let Kind::Fields { fields, .. } = &mut root.kind else { return Ok(()) };
    let Some(dram) = fields.iter_mut().find(|field| field.key == "dram") else { return Ok(()) };
    let Kind::Fields { name: Some(name), fields } = &mut dram.value.kind else { return Ok(()) };
    let Some(at) = fields.iter().position(|field| field.key == "preset").filter(|_| name == "Banked") else { return Ok(()) };
    let preset = &fields[at];
    let refuse = |what: String, help: String| Box::new(Fault::of(what, "dram.preset", &preset.value).help(help));
    if let Some(both) = fields.iter().find(|field| OF_PRESET.contains(&field.key.as_str())) {
        let what = format!("dram.preset stands for {}, and dram.{} is written too", listed("and", OF_PRESET), both.key);
        let help = "leave the preset out and write all of them (`systole chip show` prints what it stands for), or change one by --set";
        return Err(refuse(what, help.to_owned()));
    }
    let wanted = preset.value.text().unwrap_or_default();
    let Some(row) = presets().find(|row| cell(row, "preset") == wanted) else {
        let near = nearest(&wanted, dram_presets()).filter(|_| !wanted.is_empty());
        let near = near.map(|near| format!("did you mean `{near}`? ")).unwrap_or_default();
        let names: Vec<String> = dram_presets().iter().map(|name| format!("\"{name}\"")).collect();
        return Err(refuse("dram.preset: there is no preset of this name".to_owned(), format!("{near}there are {}", names.join(", "))));
    };
    let meant = parser::parse(&written(&row), &format!("preset {wanted}").into())?;
    if let Kind::Fields { fields: meant, .. } = meant.kind {
        fields.splice(at..=at, meant);
    }
    Ok(())
}

/// Reads `Banked(..)` and checks it; every fault is left.
pub(super) fn banked(reader: &mut Reader, item: Item<'_>) -> Option<Banked> {
    let is_preset = item.node.field("preset").is_some();
    let names: Vec<&str> = if is_preset { vec!["preset"] } else { OF_PRESET.to_vec() };
    let names: Vec<&str> = names.into_iter().chain(POLICY).collect();
    let fields = reader.record(Some(item), Some("Banked"), &names)?;
    let devices = [
        ("DDR4", DramDevice::DDR4),
        ("LPDDR4", DramDevice::LPDDR4),
        ("LPDDR5", DramDevice::LPDDR5),
        ("HBM2", DramDevice::HBM2),
        ("GDDR6", DramDevice::GDDR6),
    ];
    let device = reader.choice(fields.get("device"), &devices);
    let source = reader.text(fields.get("source"));
    let organisation = organisation(reader, fields.get("organisation"));
    let timing = timing(reader, fields.get("timing"));
    let channels = power_of_two(reader, fields.get("channels"), 64);
    let queue_depth = reader.whole(fields.get("queue_depth"), 1..=64);
    let starvation_cap = reader.whole(fields.get("starvation_cap"), 1..=MOST_CYCLES);
    let page = reader.choice(fields.get("page"), &[("Open", Page::Open), ("Closed", Page::Closed)]);
    let mapping = mapping(reader, fields.get("mapping"));
    Some(Banked {
        device: device?,
        source: source?,
        organisation: organisation?,
        timing: timing?,
        channels: channels?,
        queue_depth: queue_depth?,
        starvation_cap: starvation_cap?,
        page: page?,
        mapping: mapping?,
    })
}

fn power_of_two(reader: &mut Reader, item: Option<Item<'_>>, most: u32) -> Option<u32> {
    let value = reader.whole(item.clone(), 1..=most)?;
    if !value.is_power_of_two() {
        let item = item?;
        let above = value.next_power_of_two();
        let help =
            if above <= most { format!("the nearest are {} and {above}", above / 2) } else { format!("the nearest is {}", above / 2) };
        reader.refuse(&item, format!("{} must be a power of two: it is a part of an address", item.path), help);
        return None;
    }
    Some(value)
}

fn organisation(reader: &mut Reader, item: Option<Item<'_>>) -> Option<Organisation> {
    let item = item?;
    let fields = reader.record(Some(item.clone()), None, &ORGANISATION)?;
    let data_rate = reader.exact(fields.get("data_rate"), &DATA_RATE, 1..=100_000).and_then(|rate| u32::try_from(rate).ok());
    let mut power = |name, most| power_of_two(reader, fields.get(name), most);
    let (width_bits, burst_length) = (power("width_bits", 1024), power("burst_length", 64));
    let (ranks, bank_groups, banks_per_group) = (power("ranks", 16), power("bank_groups", 16), power("banks_per_group", 64));
    let (rows, row_bytes) = (power("rows", 1 << 20), power("row_bytes", 1 << 16));
    let burst_cycles = reader.whole(fields.get("burst_cycles"), 1..=64);
    let read = Organisation {
        data_rate: data_rate?,
        width_bits: width_bits?,
        burst_length: burst_length?,
        burst_cycles: burst_cycles?,
        ranks: ranks?,
        bank_groups: bank_groups?,
        banks_per_group: banks_per_group?,
        rows: rows?,
        row_bytes: row_bytes?,
    };
    let mut sound = true;
    let mut refuse = |what: String, help: &str| {
        sound = false;
        reader.refuse(&item, what, help);
    };
    if read.width_bits < 8 {
        refuse(format!("{}.width_bits is {}: a channel has whole bytes of data pins", item.path, read.width_bits), "write 8 or more");
    } else if read.row_bytes < read.burst_bytes() {
        let (row, burst) = (read.row_bytes, read.burst_bytes());
        refuse(
            format!("{}.row_bytes is {row}, less than one burst, which has {burst}", item.path),
            "write a larger row, or a shorter burst",
        );
    }
    let banks = read.ranks * read.bank_groups * read.banks_per_group;
    if banks > MOST_BANKS {
        refuse(
            format!("{} has {banks} banks (ranks x bank groups x banks), and a channel has {MOST_BANKS} at most", item.path),
            "write fewer, or more channels",
        );
    }
    sound.then_some(read)
}

fn timing(reader: &mut Reader, item: Option<Item<'_>>) -> Option<DramTiming> {
    let item = item?;
    let fields = reader.record(Some(item.clone()), None, &TIMING)?;
    let cycles = TIMING.map(|name| match name {
        "trefi" => reader.whole(fields.get(name), 1..=10_000_000),
        "twtr_s" | "twtr_l" | "turnaround" | "trtrs" => reader.whole(fields.get(name), 0..=MOST_CYCLES),
        _ => reader.whole(fields.get(name), 1..=MOST_CYCLES),
    });
    let all: Vec<u32> = cycles.into_iter().collect::<Option<_>>()?;
    let of = |name: &str| TIMING.iter().position(|field| *field == name).map_or(0, |at| all[at]);
    let read = DramTiming {
        cl: of("cl"),
        cwl: of("cwl"),
        trcd_rd: of("trcd_rd"),
        trcd_wr: of("trcd_wr"),
        trp: of("trp"),
        trp_ab: of("trp_ab"),
        tras: of("tras"),
        trc: of("trc"),
        trrd_s: of("trrd_s"),
        trrd_l: of("trrd_l"),
        tfaw: of("tfaw"),
        tccd_s: of("tccd_s"),
        tccd_l: of("tccd_l"),
        twtr_s: of("twtr_s"),
        twtr_l: of("twtr_l"),
        twr: of("twr"),
        trtp: of("trtp"),
        trfc: of("trfc"),
        trefi: of("trefi"),
        turnaround: of("turnaround"),
        trtrs: of("trtrs"),
    };
    let mut sound = true;
    let mut refuse = |what: String, help: String| {
        sound = false;
        reader.refuse(&item, what, help);
    };
    let path = &item.path;
    if read.trc < read.tras {
        let what = format!("{path}.trc is {} and tras {}: a row is active for tras of the trc between two activates", read.trc, read.tras);
        refuse(what, format!("write a trc of {} (tras + trp) or what the data sheet says", read.tras + read.trp));
    }
    for (short, long) in [("trrd_s", "trrd_l"), ("tccd_s", "tccd_l"), ("twtr_s", "twtr_l")] {
        if of(short) > of(long) {
            let what = format!("{path}.{short} is {} and {long} {}: within a bank group nothing is sooner", of(short), of(long));
            refuse(what, format!("exchange them, or write {long}: {}", of(short)));
        }
    }
    if read.trp_ab < read.trp {
        let what = format!("{path}.trp_ab is {} and trp {}: all banks do not precharge sooner than one", read.trp_ab, read.trp);
        refuse(what, format!("write trp_ab: {} or more", read.trp));
    }
    let least = read.trfc + read.trp_ab + read.tras.max(read.trcd_rd).max(read.trcd_wr) + read.cl.max(read.cwl) + read.twr + MARGIN;
    if read.trefi < least {
        let what = format!("{path}.trefi is {}: between two refreshes nothing else could be done", read.trefi);
        refuse(what, format!("write {least} or more (trfc + trp_ab + tras + cl + twr + {MARGIN})"));
    }
    sound.then_some(read)
}

fn mapping(reader: &mut Reader, item: Option<Item<'_>>) -> Option<AddressMapping> {
    let item = item?;
    let word = if let Kind::Word(word) = &item.node.kind { word.as_str() } else { "" };
    let mapping = AddressMapping::from_word(word);
    if mapping.is_none() {
        let what = format!("{} must name each of Ro, Ra, Bg, Ba, Co and Ch once, from the highest bits to the lowest", item.path);
        reader.refuse(&item, what, "RoRaBaCoBgCh gives streams all bank groups; RoBaRaCoCh is RoBgBaRaCoCh here");
    }
    mapping
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn presets_are_the_rows_of_their_sources() {
        let Some(extra) = std::env::var_os("SYSTOLE_EXTRA") else {
            eprintln!("skipped: SYSTOLE_EXTRA is not set");
            return;
        };
        let mut reader = csv::Reader::from_path(std::path::Path::new(&extra).join("reference/dram_timing_presets.csv")).unwrap();
        let header: Vec<String> = reader.headers().unwrap().iter().map(str::to_lowercase).collect();
        let rows: Vec<csv::StringRecord> = reader.records().map(Result::unwrap).collect();
        let same = [
            ("width_bits", "channel_width_bits"),
            ("burst_length", "burst_len_beats"),
            ("burst_cycles", "nbl_ck"),
            ("ranks", "ranks"),
            ("bank_groups", "bankgroups"),
            ("row_bytes", "row_bytes_per_channel"),
            ("data_rate", "data_rate_mtps"),
            ("trfc", "trfc_ab"),
        ];
        for preset in presets() {
            let source = cell(&preset, "source");
            let row = rows.iter().find(|row| source.starts_with(&format!("{} in ", &row[0]))).unwrap();
            for column in ORGANISATION.into_iter().chain(TIMING).filter(|name| !["turnaround", "trtrs", "trp_ab"].contains(name)) {
                let name = same.iter().find(|(ours, _)| *ours == column).map_or(column, |(_, theirs)| theirs);
                let position = header.iter().position(|theirs| theirs == name).unwrap();
                let theirs = row[position].trim_start_matches("pb ").split(' ').next().unwrap();
                assert_eq!(cell(&preset, column), theirs, "{column} of {}", cell(&preset, "preset"));
            }
        }
    }
}
