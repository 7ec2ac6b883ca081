//! What a chip file says, part by part: the fields of each record, the choices of each field, and the range that a value may have by
//! itself. [`Draft`] is a chip of which each part has been read, or has left its faults.
//!
//! Not here: rules between fields (`check`), what cannot be simulated yet (`supported`), the array's timing (`dataflow`), DRAM with banks (`banked`), energy and area lists (`costs`).

use super::array::{Array, Dataflow, Sparsity};
use super::banked::banked;
use super::chip::{
    Accumulator, Codec, Depthwise, Dma, Format, Interconnect, Scratchpad, ScratchpadRole, SramCell, Storage, StorageWidth, Technology,
    Unsupported, VectorCycles, VectorUnit,
};
use super::costs;
use super::dataflow::dataflow;
use super::dram::Dram;
use super::price::{AreaSource, EnergySource};
use super::read::{CAPACITY, FEATURE, FREQUENCY, Item, Reader, number};
use super::tree::Node;
use crate::codec::MOST_RUN_BITS;
use crate::numerics::{Dtype, Overflow, Requantizer, Rounding};
use crate::units::{Bytes, Hertz};

/// The version of the chip file's form that this program reads.
const FORMAT_VERSION: u32 = 1;
/// The most rows or columns of an array.
pub(super) const MOST_PES: u32 = 512;
/// The most cycles of a step of the array or the vector unit.
pub(super) const MOST_CYCLES: u32 = 10_000;
const MOST_RATE: u64 = 1 << 16;
const YES_OR_NO: [(&str, bool); 2] = [("true", true), ("false", false)];
const DTYPES: [(&str, Dtype); 5] =
    [("Int8", Dtype::Int8), ("Int4", Dtype::Int4), ("Int2", Dtype::Int2), ("Binary", Dtype::Binary), ("Int16", Dtype::Int16)];

/// A chip as read: a part that could not be read is `None`, and has left a fault.
#[derive(Debug, Default)]
pub(super) struct Draft {
    pub(super) name: Option<String>,
    pub(super) source: Option<String>,
    pub(super) technology: Option<Technology>,
    pub(super) clock: Option<Hertz>,
    pub(super) cores: Option<u32>,
    pub(super) interconnect: Option<Interconnect>,
    pub(super) array: Option<DraftArray>,
    pub(super) formats: Vec<Option<Format>>,
    pub(super) storage: Option<Storage>,
    pub(super) scratchpads: Vec<Option<Scratchpad>>,
    pub(super) accumulator: Option<Accumulator>,
    pub(super) vector: Option<VectorUnit>,
    pub(super) dma: Option<Dma>,
    pub(super) dram: Option<Dram>,
    pub(super) energy: Option<EnergySource>,
    pub(super) area: Option<AreaSource>,
}

/// An array as read.
#[derive(Debug)]
pub(super) struct DraftArray {
    pub(super) rows: Option<u32>,
    pub(super) cols: Option<u32>,
    pub(super) dataflows: Vec<Option<Dataflow>>,
    pub(super) zero_gating: Option<bool>,
    pub(super) sparsity: Option<Sparsity>,
}

impl DraftArray {
    /// The array, if all of it could be read.
    pub(super) fn complete(self) -> Option<Array> {
        Some(Array {
            rows: self.rows?,
            cols: self.cols?,
            dataflows: self.dataflows.into_iter().collect::<Option<_>>()?,
            zero_gating: self.zero_gating?,
            sparsity: self.sparsity?,
        })
    }
}

/// Reads a whole chip.
pub(super) fn read(reader: &mut Reader, root: &Node) -> Draft {
    let root = Item { node: root, path: String::new() };
    let fields = [
        "format_version",
        "name",
        "source",
        "technology",
        "clock",
        "cores",
        "interconnect",
        "array",
        "formats",
        "storage",
        "scratchpads",
        "accumulator",
        "vector",
        "dma",
        "dram",
        "energy",
        "area",
    ];
    let Some(chip) = reader.record(Some(root), Some("Chip"), &fields) else { return Draft::default() };
    version(reader, chip.get("format_version"));
    Draft {
        name: name(reader, chip.get("name")),
        source: reader.text(chip.get("source")),
        technology: technology(reader, chip.get("technology")),
        clock: reader.exact(chip.get("clock"), &FREQUENCY, 1..=100_000_000_000).map(Hertz::new),
        cores: reader.whole(chip.get("cores"), 1..=64),
        interconnect: interconnect(reader, chip.get("interconnect")),
        array: array(reader, chip.get("array")),
        formats: each(reader, chip.get("formats"), 25, format),
        storage: storage(reader, chip.get("storage")),
        scratchpads: each(reader, chip.get("scratchpads"), 2, scratchpad),
        accumulator: accumulator(reader, chip.get("accumulator")),
        vector: vector(reader, chip.get("vector")),
        dma: dma(reader, chip.get("dma")),
        dram: dram(reader, chip.get("dram")),
        energy: costs::energy(reader, chip.get("energy")),
        area: costs::area(reader, chip.get("area")),
    }
}

/// A format of weights or activations.
pub(super) fn dtype(reader: &mut Reader, item: Option<Item<'_>>) -> Option<Dtype> {
    reader.choice(item, &DTYPES)
}

/// The entries of a list of 1 to `most`, each read by `read`.
fn each<T>(reader: &mut Reader, item: Option<Item<'_>>, most: usize, read: impl Fn(&mut Reader, Item<'_>) -> Option<T>) -> Vec<Option<T>> {
    let entries = reader.list(item, 1..=most).unwrap_or_default();
    entries.into_iter().map(|entry| read(reader, entry)).collect()
}

fn version(reader: &mut Reader, item: Option<Item<'_>>) {
    if let Some(item) = item
        && reader.whole(Some(item.clone()), 1..=u32::MAX).is_some_and(|version| version != FORMAT_VERSION)
    {
        let what = format!("{} must be {FORMAT_VERSION}, the only one that this program reads", item.path);
        reader.refuse(&item, what, "use the version of systole that the file was written for, or bring the file up to date");
    }
}

/// A name, which is part of folder names too.
fn name(reader: &mut Reader, item: Option<Item<'_>>) -> Option<String> {
    const LONGEST: usize = 64;
    let item = item?;
    let name = reader.text(Some(item.clone()))?;
    let is_plain = name.starts_with(|first: char| first.is_ascii_alphanumeric())
        && name.len() <= LONGEST
        && name.chars().all(|character| character.is_ascii_alphanumeric() || "-_.".contains(character));
    if !is_plain {
        let what = format!("{} must be a plain word of at most {LONGEST} characters", item.path);
        reader.refuse(
            &item,
            what,
            "use letters, digits, `-`, `_` and `.`, beginning with a letter or digit: folders of results bear the name",
        );
    }
    is_plain.then_some(name)
}

fn technology(reader: &mut Reader, item: Option<Item<'_>>) -> Option<Technology> {
    let fields = reader.record(item, None, &["node", "supply", "sram_cell"])?;
    let node = reader.exact(fields.get("node"), &FEATURE, 1..=1000);
    let supply = reader.measured(fields.get("supply"), "V", 0.1, 10.0);
    let cells = [("LSTP", SramCell::LSTP), ("LOP", SramCell::LOP), ("HP", SramCell::HP)];
    let sram_cell = reader.choice(fields.get("sram_cell"), &cells);
    Some(Technology { node_nm: u32::try_from(node?).ok()?, supply_v: supply?, sram_cell: sram_cell? })
}

fn interconnect(reader: &mut Reader, item: Option<Item<'_>>) -> Option<Interconnect> {
    let fields = reader.record(item, None, &["latency"])?;
    Some(Interconnect { latency: reader.cycles(fields.get("latency"), 0..=1_000_000)? })
}

fn array(reader: &mut Reader, item: Option<Item<'_>>) -> Option<DraftArray> {
    let fields = reader.record(item, None, &["rows", "cols", "dataflows", "zero_gating", "sparsity"])?;
    Some(DraftArray {
        rows: reader.whole(fields.get("rows"), 1..=MOST_PES),
        cols: reader.whole(fields.get("cols"), 1..=MOST_PES),
        dataflows: each(reader, fields.get("dataflows"), 3, dataflow),
        zero_gating: reader.choice(fields.get("zero_gating"), &YES_OR_NO),
        sparsity: sparsity(reader, fields.get("sparsity")),
    })
}

fn sparsity(reader: &mut Reader, item: Option<Item<'_>>) -> Option<Sparsity> {
    let item = item?;
    match reader.variant(&item, &["Dense", "NM", "TileSkip"])? {
        "NM" => {
            let fields = reader.record(Some(item), Some("NM"), &["n", "m"])?;
            let (n, m) = (reader.whole(fields.get("n"), 1..=64), reader.whole(fields.get("m"), 1..=64));
            Some(Sparsity::NM { n: n?, m: m? })
        }
        name => reader.word(&item).map(|()| if name == "Dense" { Sparsity::Dense } else { Sparsity::TileSkip }),
    }
}

fn format(reader: &mut Reader, item: Item<'_>) -> Option<Format> {
    let fields = reader.record(Some(item), None, &["weight", "activation", "lanes", "accumulator_bits", "overflow", "pe"])?;
    let weight = dtype(reader, fields.get("weight"));
    let activation = dtype(reader, fields.get("activation"));
    let lanes = reader.whole(fields.get("lanes"), 1..=64);
    let accumulator_bits = reader.whole(fields.get("accumulator_bits"), 2..=64);
    let overflow = reader.choice(fields.get("overflow"), &[("Saturate", Overflow::Saturate), ("Wrap", Overflow::Wrap)]);
    let pe = costs::pe(reader, fields.get("pe"));
    Some(Format {
        weight: weight?,
        activation: activation?,
        lanes: lanes?,
        accumulator_bits: accumulator_bits?,
        overflow: overflow?,
        pe: pe?,
    })
}

fn storage(reader: &mut Reader, item: Option<Item<'_>>) -> Option<Storage> {
    let widths = [("Packed", StorageWidth::Packed), ("WholeBytes", StorageWidth::WholeBytes)];
    let fields = reader.record(item, None, &["weight", "activation", "codec"])?;
    let (weight, activation) = (reader.choice(fields.get("weight"), &widths), reader.choice(fields.get("activation"), &widths));
    let codec = codec(reader, fields.get("codec"));
    Some(Storage { weight: weight?, activation: activation?, codec: codec? })
}

fn codec(reader: &mut Reader, item: Option<Item<'_>>) -> Option<Codec> {
    let item = item?;
    let name = reader.variant(&item, &["None", "ZeroBitmask", "RunLength", "Widen"])?;
    if name == "None" {
        return reader.word(&item).map(|()| Codec::None);
    }
    if name == "Widen" {
        let fields = reader.record(Some(item), Some(name), &["bytes_per_cycle"])?;
        return reader.rate(fields.get("bytes_per_cycle"), MOST_RATE).map(|bytes_per_cycle| Codec::Widen { bytes_per_cycle });
    }
    let counts_runs = name == "RunLength";
    let allowed: &[&str] = if counts_runs { &["bytes_per_cycle", "run_bits", "activations"] } else { &["bytes_per_cycle", "activations"] };
    let fields = reader.record(Some(item), Some(name), allowed)?;
    let bytes_per_cycle = reader.rate(fields.get("bytes_per_cycle"), MOST_RATE);
    let run_bits = if counts_runs { reader.whole(fields.get("run_bits"), 1..=MOST_RUN_BITS) } else { Some(0) };
    let activations = reader.choice(fields.get("activations"), &YES_OR_NO);
    let (bytes_per_cycle, run_bits, activations) = (bytes_per_cycle?, run_bits?, activations?);
    Some(if counts_runs {
        Codec::RunLength { bytes_per_cycle, run_bits, activations }
    } else {
        Codec::ZeroBitmask { bytes_per_cycle, activations }
    })
}

fn scratchpad(reader: &mut Reader, item: Item<'_>) -> Option<Scratchpad> {
    let fields = reader.record(Some(item), None, &["role", "capacity", "banks", "port_bytes", "latency"])?;
    let roles = [("Shared", ScratchpadRole::Shared), ("Input", ScratchpadRole::Input), ("Weight", ScratchpadRole::Weight)];
    let role = reader.choice(fields.get("role"), &roles);
    let capacity = reader.exact(fields.get("capacity"), &CAPACITY, 1..=1 << 30).map(Bytes::new);
    let (banks, port_bytes) = (reader.whole(fields.get("banks"), 1..=1024), reader.whole(fields.get("port_bytes"), 1..=1 << 14));
    let latency = reader.cycles(fields.get("latency"), 1..=1000);
    Some(Scratchpad { role: role?, capacity: capacity?, banks: banks?, port_bytes: port_bytes?, latency: latency? })
}

fn accumulator(reader: &mut Reader, item: Option<Item<'_>>) -> Option<Accumulator> {
    let fields = reader.record(item, None, &["capacity", "banks", "port_bytes", "latency"])?;
    let capacity = reader.exact(fields.get("capacity"), &CAPACITY, 1..=1 << 30).map(Bytes::new);
    let (banks, port_bytes) = (reader.whole(fields.get("banks"), 1..=1024), reader.whole(fields.get("port_bytes"), 1..=1 << 14));
    let latency = reader.cycles(fields.get("latency"), 1..=1000);
    Some(Accumulator { capacity: capacity?, banks: banks?, port_bytes: port_bytes?, latency: latency? })
}

fn vector(reader: &mut Reader, item: Option<Item<'_>>) -> Option<VectorUnit> {
    let fields = reader.record(item, None, &["lanes", "start_cycles", "cycles", "requantize", "depthwise", "unsupported"])?;
    let lanes = reader.whole(fields.get("lanes"), 1..=1 << 14);
    let start_cycles = reader.whole(fields.get("start_cycles"), 0..=MOST_CYCLES);
    let cycles = vector_cycles(reader, fields.get("cycles"));
    let requantize = requantizer(reader, fields.get("requantize"));
    let depthwise = reader.choice(fields.get("depthwise"), &[("Array", Depthwise::Array), ("Vector", Depthwise::Vector)]);
    let unsupported = unsupported(reader, fields.get("unsupported"));
    Some(VectorUnit {
        lanes: lanes?,
        start_cycles: start_cycles?,
        cycles: cycles?,
        requantize: requantize?,
        depthwise: depthwise?,
        unsupported: unsupported?,
    })
}

fn vector_cycles(reader: &mut Reader, item: Option<Item<'_>>) -> Option<VectorCycles> {
    let fields = reader.record(item, None, &["requantize", "table", "sum", "product", "pool", "softmax", "layer_norm"])?;
    let mut of = |name| reader.whole(fields.get(name), 1..=MOST_CYCLES);
    let (requantize, table, sum, product) = (of("requantize"), of("table"), of("sum"), of("product"));
    let (pool, softmax, layer_norm) = (of("pool"), of("softmax"), of("layer_norm"));
    Some(VectorCycles {
        requantize: requantize?,
        table: table?,
        sum: sum?,
        product: product?,
        pool: pool?,
        softmax: softmax?,
        layer_norm: layer_norm?,
    })
}

fn requantizer(reader: &mut Reader, item: Option<Item<'_>>) -> Option<Requantizer> {
    let item = item?;
    if reader.variant(&item, &["Float", "FixedPoint"])? == "Float" {
        return reader.word(&item).map(|()| Requantizer::Float);
    }
    let roundings = [("Double", Rounding::Double), ("Single", Rounding::Single)];
    let fields = reader.record(Some(item), Some("FixedPoint"), &["convolution", "dense"])?;
    let (convolution, dense) = (reader.choice(fields.get("convolution"), &roundings), reader.choice(fields.get("dense"), &roundings));
    Some(Requantizer::FixedPoint { convolution: convolution?, dense: dense? })
}

fn unsupported(reader: &mut Reader, item: Option<Item<'_>>) -> Option<Unsupported> {
    let item = item?;
    if reader.variant(&item, &["Refuse", "Host"])? == "Refuse" {
        return reader.word(&item).map(|()| Unsupported::Refuse);
    }
    let inner = reader.inner(&item, "Host(2.5)")?;
    let cycles_per_element = number(&inner, 0.0, 1e6);
    if cycles_per_element.is_none() {
        reader.refuse(
            &inner,
            format!("{}: Host(..) holds a number of cycles an element, from 0 to 1000000", item.path),
            "write it like `Host(2.5)`",
        );
    }
    cycles_per_element.map(|cycles_per_element| Unsupported::Host { cycles_per_element })
}

fn dma(reader: &mut Reader, item: Option<Item<'_>>) -> Option<Dma> {
    let fields = reader.record(item, None, &["engines", "bytes_per_cycle", "outstanding"])?;
    let engines = reader.whole(fields.get("engines"), 1..=2);
    let bytes_per_cycle = reader.rate(fields.get("bytes_per_cycle"), MOST_RATE);
    let outstanding = reader.whole(fields.get("outstanding"), 1..=1024);
    Some(Dma { engines: engines?, bytes_per_cycle: bytes_per_cycle?, outstanding: outstanding? })
}

fn dram(reader: &mut Reader, item: Option<Item<'_>>) -> Option<Dram> {
    let item = item?;
    if reader.variant(&item, &["Ideal", "Banked"])? == "Banked" {
        return banked(reader, item).map(|banked| Dram::Banked(Box::new(banked)));
    }
    let fields = reader.record(Some(item), Some("Ideal"), &["bytes_per_cycle", "latency"])?;
    let bytes_per_cycle = reader.rate(fields.get("bytes_per_cycle"), MOST_RATE);
    let latency = reader.cycles(fields.get("latency"), 0..=1_000_000);
    Some(Dram::Ideal { bytes_per_cycle: bytes_per_cycle?, latency: latency? })
}
