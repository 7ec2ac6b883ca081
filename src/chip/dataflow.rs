//! What a chip file says of a dataflow: its kind, and the timing of the array in it.
//!
//! Not here: which combinations are impossible (`check`), and what the fields mean cycle by cycle (`array`).

use super::array::{Dataflow, Extent, MaxPassVectors, OutputTiming, Overlap, ReductionPadding, Span, StationaryTiming};
use super::read::{Item, Reader};
use super::schema::MOST_CYCLES;

/// A dataflow.
pub(super) fn dataflow(reader: &mut Reader, item: Item<'_>) -> Option<Dataflow> {
    match reader.variant(&item, &["WeightStationary", "OutputStationary", "InputStationary"])? {
        "OutputStationary" => output_timing(reader, item).map(Dataflow::OutputStationary),
        "InputStationary" => stationary_timing(reader, item, "InputStationary").map(Dataflow::InputStationary),
        _ => stationary_timing(reader, item, "WeightStationary").map(Dataflow::WeightStationary),
    }
}

const OVERLAPS: [(&str, Overlap); 2] = [("Serial", Overlap::Serial), ("Pipelined", Overlap::Pipelined)];
const EXTENTS: [(&str, Extent); 2] = [("Physical", Extent::Physical), ("Used", Extent::Used)];

fn stationary_timing(reader: &mut Reader, item: Item<'_>, name: &str) -> Option<StationaryTiming> {
    let fields = reader.record(
        Some(item),
        Some(name),
        &[
            "row_hop",
            "col_hop",
            "pipeline_registers",
            "load",
            "stationary_buffers",
            "max_pass_vectors",
            "min_pass_cycles",
            "overlap",
            "extent",
        ],
    )?;
    let row_hop = reader.whole(fields.get("row_hop"), 0..=16);
    let col_hop = reader.whole(fields.get("col_hop"), 0..=16);
    let pipeline_registers = reader.whole(fields.get("pipeline_registers"), 0..=64);
    let load = span(reader, fields.get("load"), 1);
    let stationary_buffers = reader.whole(fields.get("stationary_buffers"), 1..=2);
    let lengths = [("Unlimited", MaxPassVectors::Unlimited), ("Rows", MaxPassVectors::Rows)];
    let max_pass_vectors = reader.choice(fields.get("max_pass_vectors"), &lengths);
    let min_pass_cycles = reader.whole(fields.get("min_pass_cycles"), 1..=MOST_CYCLES);
    let overlap = reader.choice(fields.get("overlap"), &OVERLAPS);
    let extent = reader.choice(fields.get("extent"), &EXTENTS);
    Some(StationaryTiming {
        row_hop: row_hop?,
        col_hop: col_hop?,
        pipeline_registers: pipeline_registers?,
        load: load?,
        stationary_buffers: stationary_buffers?,
        max_pass_vectors: max_pass_vectors?,
        min_pass_cycles: min_pass_cycles?,
        overlap: overlap?,
        extent: extent?,
    })
}

fn output_timing(reader: &mut Reader, item: Item<'_>) -> Option<OutputTiming> {
    let fields = reader.record(
        Some(item),
        Some("OutputStationary"),
        &["row_hop", "col_hop", "pipeline_registers", "min_pass_cycles", "overlap", "drain", "psum_preload", "reduction_padding", "extent"],
    )?;
    let row_hop = reader.whole(fields.get("row_hop"), 0..=16);
    let col_hop = reader.whole(fields.get("col_hop"), 0..=16);
    let pipeline_registers = reader.whole(fields.get("pipeline_registers"), 0..=64);
    let min_pass_cycles = reader.whole(fields.get("min_pass_cycles"), 1..=MOST_CYCLES);
    let overlap = reader.choice(fields.get("overlap"), &OVERLAPS);
    let drain = drain(reader, fields.get("drain"));
    let psum_preload = span(reader, fields.get("psum_preload"), 0);
    let paddings = [("Exact", ReductionPadding::Exact), ("MultipleOfRows", ReductionPadding::MultipleOfRows)];
    let reduction_padding = reader.choice(fields.get("reduction_padding"), &paddings);
    let extent = reader.choice(fields.get("extent"), &EXTENTS);
    Some(OutputTiming {
        row_hop: row_hop?,
        col_hop: col_hop?,
        pipeline_registers: pipeline_registers?,
        min_pass_cycles: min_pass_cycles?,
        overlap: overlap?,
        drain: drain?,
        psum_preload: psum_preload?,
        reduction_padding: reduction_padding?,
        extent: extent?,
    })
}

/// `None`, or a span of at least a cycle.
#[expect(clippy::option_option, reason = "the outer one is whether it could be read, the inner one is the file's own `None`")]
fn drain(reader: &mut Reader, item: Option<Item<'_>>) -> Option<Option<Span>> {
    let item = item?;
    match reader.variant(&item, &["None", "Rows", "Cols", "Cycles"])? {
        "None" => reader.word(&item).map(|()| None),
        _ => span(reader, Some(item), 1).map(Some),
    }
}

/// `Rows`, `Cols` or `Cycles(n)` with n at least `least`.
fn span(reader: &mut Reader, item: Option<Item<'_>>, least: u32) -> Option<Span> {
    let item = item?;
    match reader.variant(&item, &["Rows", "Cols", "Cycles"])? {
        "Cycles" => {
            let inner = reader.inner(&item, "Cycles(16)");
            reader.whole(inner, least..=MOST_CYCLES).map(Span::Cycles)
        }
        name => reader.word(&item).map(|()| if name == "Rows" { Span::Rows } else { Span::Cols }),
    }
}
