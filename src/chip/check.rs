//! Rules between the fields of a chip: what no single value shows. Every fault is left; `Chip`'s only constructor is here.
//!
//! Not here: the range of a single value (`schema`), and what could be built but not simulated yet (`supported`).

use super::array::{Dataflow, Extent, Overlap, Sparsity, Stationary};
use super::chip::{Accumulator, Chip, Format, Scratchpad, ScratchpadRole};
use super::costs::written_action;
use super::fault::Faults;
use super::price::{Action, AreaSource, EnergySource, Part, PeCost};
use super::read::{CAPACITY, Reader};
use super::schema::{self, Draft, DraftArray};
use super::supported;
use super::tree::Node;
use crate::numerics::Dtype;
use crate::units::Bytes;
use std::collections::BTreeMap;

/// The chip that `root` describes, or all that is wrong with it, after the faults that are known already.
pub(super) fn check(root: &Node, known: Faults) -> Result<Chip, Faults> {
    let mut reader = Reader { faults: known };
    let draft = schema::read(&mut reader, root);
    if let Some(array) = &draft.array {
        timing_is_possible(&mut reader, root, array);
        sparsity_can_be_had(&mut reader, root, array, &draft.formats);
    }
    formats_are_distinct(&mut reader, root, &draft.formats);
    binary_meets_binary(&mut reader, root, &draft.formats);
    accumulators_hold_a_product(&mut reader, root, &draft.formats);
    memories_have_whole_rows(&mut reader, root, &draft.scratchpads, draft.accumulator.as_ref());
    codec_keeps_up(&mut reader, root, &draft);
    operands_have_one_home(&mut reader, root, &draft.scratchpads);
    energies_are_complete(&mut reader, root, &draft);
    areas_are_complete(&mut reader, root, &draft);
    supported::check(&mut reader, root, &draft);
    if !reader.faults.is_empty() {
        return Err(reader.faults);
    }
    Ok(build(draft, root.pretty()).expect("bug: a part of a chip file was not read and left no fault; please report it"))
}

fn build(draft: Draft, resolved: String) -> Option<Chip> {
    Some(Chip {
        name: draft.name?,
        source: draft.source?,
        technology: draft.technology?,
        clock: draft.clock?,
        cores: draft.cores?,
        interconnect: draft.interconnect?,
        array: draft.array?.complete()?,
        formats: draft.formats.into_iter().collect::<Option<_>>()?,
        storage: draft.storage?,
        scratchpads: draft.scratchpads.into_iter().collect::<Option<_>>()?,
        accumulator: draft.accumulator?,
        vector: draft.vector?,
        dma: draft.dma?,
        dram: draft.dram?,
        energy: draft.energy?,
        area: draft.area?,
        resolved,
    })
}

fn timing_is_possible(reader: &mut Reader, root: &Node, array: &DraftArray) {
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for (index, dataflow) in array.dataflows.iter().enumerate() {
        let Some(dataflow) = dataflow else { continue };
        let path = format!("array.dataflows.{index}");
        let (kind, buffers) = match dataflow {
            Dataflow::WeightStationary(timing) => ("WeightStationary", timing.stationary_buffers),
            Dataflow::InputStationary(timing) => ("InputStationary", timing.stationary_buffers),
            Dataflow::OutputStationary(_) => ("OutputStationary", 1),
        };
        let (overlap, extent) = (dataflow.overlap(), dataflow.extent());
        if let Some(first) = kinds.insert(kind, index) {
            let what = format!("{path}: `{kind}` stands in the list already, as array.dataflows.{first}");
            reader.refuse_at(root, &path, what, "a dataflow is chosen by its name: make a second chip of the other timing");
        }
        if overlap == Overlap::Serial && buffers == 2 {
            let what = format!("{path}: a second stationary buffer is of no use where passes are `Serial`");
            let help = "write `stationary_buffers: 1`, or `overlap: Pipelined`";
            reader.refuse_at(root, &format!("{path}.stationary_buffers"), what, help);
        }
        if overlap == Overlap::Pipelined && extent == Extent::Used {
            let what =
                format!("{path}: `extent: Used` cannot be `Pipelined`: a small pass would meet an earlier, larger one at an output port");
            reader.refuse_at(root, &format!("{path}.extent"), what, "write `extent: Physical`, or `overlap: Serial`");
        }
    }
}

/// N:M is of use only where some operand stays or streams in the order of K with its zeros left out. `TileSkip` and zero gating stand
/// beside anything: at worst they find no zero.
fn sparsity_can_be_had(reader: &mut Reader, root: &Node, array: &DraftArray, formats: &[Option<Format>]) {
    let Some(Sparsity::NM { n, m }) = array.sparsity else { return };
    if n >= m {
        let what = format!("array.sparsity keeps {n} weights of each {m}, which is no sparsity");
        reader.refuse_at(root, "array.sparsity", what, "let n be less than m, as in `NM(n: 2, m: 4)`, or write `Dense`");
        return;
    }
    for (index, dataflow) in array.dataflows.iter().enumerate() {
        if dataflow.is_some_and(|dataflow| dataflow.kind() == Stationary::Input) {
            let path = format!("array.dataflows.{index}");
            let what = format!(
                "{path}: `InputStationary` cannot have `NM(n: {n}, m: {m})`: its weights stream past activations that stay, so a PE would \
                 have to hold all {m} activations of a group to use {n} of them"
            );
            reader.refuse_at(root, &path, what, "leave the dataflow out, or write `sparsity: Dense` or `TileSkip`");
        }
    }
    let weights_stay = array.dataflows.iter().flatten().any(|dataflow| dataflow.kind() == Stationary::Weight);
    for (index, format) in formats.iter().enumerate() {
        let slots = array.rows.zip(format.as_ref()).map(|(rows, format)| rows * format.lanes);
        if let Some(slots) = slots.filter(|slots| weights_stay && !slots.is_multiple_of(n)) {
            let path = format!("formats.{index}.lanes");
            let what = format!(
                "{path}: a column of the array holds {slots} weights (rows x lanes), no multiple of {n}: a group of `NM(n: {n}, m: {m})` would \
                 straddle two tiles"
            );
            reader.refuse_at(root, &path, what, "choose rows and lanes whose product is a multiple of n");
        }
        if format.as_ref().is_some_and(|format| format.weight == Dtype::Binary) {
            let path = format!("formats.{index}");
            let what = format!("{path}: a Binary weight is never zero, so `NM(n: {n}, m: {m})` has none to leave out");
            reader.refuse_at(root, &path, what, "give the binary format a chip of its own, or write `sparsity: Dense`");
        }
    }
}

/// XNOR and popcount are made of one bit from each side.
fn binary_meets_binary(reader: &mut Reader, root: &Node, formats: &[Option<Format>]) {
    for (index, format) in formats.iter().enumerate() {
        let Some(format) = format else { continue };
        if (format.weight == Dtype::Binary) != (format.activation == Dtype::Binary) {
            let path = format!("formats.{index}");
            let what = format!(
                "{path} pairs {:?} weights with {:?} activations: XNOR and popcount need one bit of each",
                format.weight, format.activation
            );
            reader.refuse_at(root, &path, what, "make both `Binary`, or use `Int2` for the narrow one");
        }
    }
}

fn formats_are_distinct(reader: &mut Reader, root: &Node, formats: &[Option<Format>]) {
    let mut seen = BTreeMap::new();
    for (index, format) in formats.iter().enumerate() {
        let Some(format) = format else { continue };
        let pair = (format.weight, format.activation);
        if let Some(first) = seen.get(&pair) {
            let what =
                format!("formats.{index} is the same pair of formats as formats.{first}: {:?} weights by {:?} activations", pair.0, pair.1);
            reader.refuse_at(root, &format!("formats.{index}"), what, "keep one of them");
        } else {
            seen.insert(pair, index);
        }
    }
}

/// A sum of the lanes' products is exact before it reaches the accumulator, so lanes ask for no more bits. A zero point makes an
/// activation a bit wider, but weights have none: the product still fits.
fn accumulators_hold_a_product(reader: &mut Reader, root: &Node, formats: &[Option<Format>]) {
    for (index, format) in formats.iter().enumerate() {
        let Some(format) = format else { continue };
        let product = format.weight.bits() + format.activation.bits();
        if format.accumulator_bits < product {
            let path = format!("formats.{index}.accumulator_bits");
            let what =
                format!("{path} must be at least {product}, the bits of one product of {:?} by {:?}", format.weight, format.activation);
            let help = if product > 16 { "48 is usual for 16-bit operands" } else { "32 is usual for 8-bit operands" };
            reader.refuse_at(root, &path, what, help);
        }
    }
}

fn memories_have_whole_rows(reader: &mut Reader, root: &Node, pads: &[Option<Scratchpad>], accumulator: Option<&Accumulator>) {
    for (index, pad) in pads.iter().enumerate() {
        if let Some(pad) = pad {
            whole_rows(reader, root, &format!("scratchpads.{index}"), (pad.capacity, pad.banks, pad.port_bytes));
        }
    }
    if let Some(memory) = accumulator {
        whole_rows(reader, root, "accumulator", (memory.capacity, memory.banks, memory.port_bytes));
    }
}

fn whole_rows(reader: &mut Reader, root: &Node, path: &str, (capacity, banks, port_bytes): (Bytes, u32, u32)) {
    let row = u64::from(banks) * u64::from(port_bytes);
    if capacity.get().is_multiple_of(row) {
        return;
    }
    let capacity = capacity.get();
    let what = format!(
        "{path}.capacity must be a whole number of rows in each bank: {banks} banks x {port_bytes} bytes = {row} bytes, or a multiple"
    );
    let above = CAPACITY.written(capacity.next_multiple_of(row));
    let help = match capacity / row * row {
        0 => format!("the smallest is {above}"),
        below => format!("the nearest are {} and {above}", CAPACITY.written(below)),
    };
    reader.refuse_at(root, &format!("{path}.capacity"), what, help);
}

/// What lies coded of activations hangs on the samples, and time must not: they take as long as they would whole, which a codec that is slower than
/// what brings them could not hold.
fn codec_keeps_up(reader: &mut Reader, root: &Node, draft: &Draft) {
    let (Some(storage), Some(dram), Some(dma), Some(clock)) = (draft.storage, draft.dram.as_ref(), draft.dma, draft.clock) else { return };
    let codec = storage.codec;
    let comes = dram.bytes_per_cycle(clock).min(dma.bytes_per_cycle);
    if let Some(rate) = codec.bytes_per_cycle().filter(|rate| codec.codes_activations() && *rate < comes) {
        let [rate, comes] = [rate, comes].map(|rate| rate.millionths() as f64 / 1e6);
        let what = format!(
            "storage.codec unpacks {rate} bytes a cycle, fewer than the {comes} that come: coded activations take the time that they would \
             take whole, whatever is in them, so a codec for them must keep up"
        );
        let help = format!("write `bytes_per_cycle: {comes}` or more, or `activations: false`");
        reader.refuse_at(root, "storage.codec.bytes_per_cycle", what, help);
    }
}

/// Weights and activations each lie in exactly one scratchpad.
fn operands_have_one_home(reader: &mut Reader, root: &Node, pads: &[Option<Scratchpad>]) {
    let Some(roles) = pads.iter().map(|pad| pad.map(|pad| pad.role)).collect::<Option<Vec<_>>>() else { return };
    let homes = |role| roles.iter().filter(|held| **held == role || **held == ScratchpadRole::Shared).count();
    for (role, operand) in [(ScratchpadRole::Weight, "weights"), (ScratchpadRole::Input, "activations")] {
        let wrong = match homes(role) {
            1 => continue,
            _ if roles.is_empty() => continue,
            0 => format!("no scratchpad holds the {operand}"),
            many => format!("{many} scratchpads hold the {operand}; exactly one may"),
        };
        reader.refuse_at(root, "scratchpads", wrong, "list one `role: Shared`, or one `role: Weight` and one `role: Input`");
    }
}

/// Every action that the chip can do has an energy, and no other has.
fn energies_are_complete(reader: &mut Reader, root: &Node, draft: &Draft) {
    let (Some(EnergySource::Listed(entries)), Some(array), Some(dram)) = (&draft.energy, &draft.array, &draft.dram) else { return };
    let Some(storage) = draft.storage else { return };
    let (Some(formats), Some(gating)) = (draft.formats.iter().cloned().collect::<Option<Vec<_>>>(), array.zero_gating) else { return };
    let wanted = Action::all(&formats, gating, draft.scratchpads.len(), dram, storage.codec);
    let listed: Vec<Action> = entries.iter().map(|entry| entry.action).collect();
    complete(reader, root, ("energy", "action", "an action"), &wanted, &listed, written_action);
    for (format, index) in formats.iter().zip(0..) {
        let action = Action::Mac { weight: format.weight, activation: format.activation };
        let entry = entries.iter().position(|entry| entry.action == action);
        if let (PeCost::Stated { picojoules, .. }, Some(entry)) = (&format.pe, entry)
            && (picojoules - entries[entry].picojoules).abs() > 0.0
        {
            let what =
                format!("energy.{entry}.cost is not the energy that formats.{index}.pe states for the same action, pJ({picojoules})");
            reader.refuse_at(root, &format!("energy.{entry}.cost"), what, "make them equal, or write `pe: Table` and let the list decide");
        }
    }
}

/// Every part that the chip has has an area, and no other has.
fn areas_are_complete(reader: &mut Reader, root: &Node, draft: &Draft) {
    let Some(AreaSource::Listed(entries)) = &draft.area else { return };
    let mut wanted = vec![Part::Array];
    wanted.extend((0..draft.scratchpads.len()).map(Part::Scratchpad));
    wanted.extend([Part::Accumulator, Part::VectorUnit]);
    let listed: Vec<Part> = entries.iter().map(|entry| entry.part).collect();
    complete(reader, root, ("area", "part", "a part"), &wanted, &listed, |part| format!("{part:?}"));
}

/// That `listed`, the entries of the list at `path`, are `wanted`, in any order.
fn complete<T: PartialEq>(
    reader: &mut Reader,
    root: &Node,
    (path, field, thing): (&str, &str, &str),
    wanted: &[T],
    listed: &[T],
    written: impl Fn(&T) -> String,
) {
    for (index, entry) in listed.iter().enumerate() {
        let at = format!("{path}.{index}.{field}");
        if let Some(first) = listed[..index].iter().position(|earlier| earlier == entry) {
            reader.refuse_at(root, &at, format!("{at} is listed already, in {path}.{first}"), "keep one of them");
        } else if !wanted.contains(entry) {
            let help = "remove the entry, or correct it";
            reader.refuse_at(root, &at, format!("{at} is {thing} that this chip does not have"), help);
        }
    }
    let missing: Vec<String> = wanted.iter().filter(|entry| !listed.contains(entry)).map(written).collect();
    if !missing.is_empty() {
        let what = format!("{path} lacks {}", missing.join(", "));
        reader.refuse_at(root, path, what, format!("a list is complete: add an entry for each, or write `{path}: Table(\"45nm\")`"));
    }
}
