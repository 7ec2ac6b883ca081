//! How long each piece of weights is in DRAM, where the chip leaves out zeros there, or keeps weights narrower than it multiplies them: known from
//! which weights are zero, and from nothing else.
//!
//! A piece is what one transfer fetches: a chunk of channels and a tile of K. Each is a block of its own, or kept as it is where its code is no
//! shorter. Weights that nobody knows (a layer table's) are taken as dense: they lie as they are. Not here: the codes (`codec`).

use super::{Lowered, Stage, WeightBuffer};
use crate::chip::{Chip, Stationary};
use crate::codec::{Code, Coding};

/// How a stage's weights may lie coded.
pub(super) fn coding(stage: &Lowered, chip: &Chip) -> Option<Coding> {
    let narrow = stage.narrow.map(|narrow| Code::Narrow { bits: narrow.bits() });
    Coding::new(narrow.or(chip.storage().codec.code())?, stage.problem.weight.bits())
}

/// For each chunk of channels, each tile of K: bytes of its weights in DRAM; empty where all lie as they are.
pub(super) fn stored(stage: &Stage, zeros: &[bool]) -> Vec<u64> {
    let is_known = |coding: &Coding| !zeros.is_empty() || matches!(coding.code, Code::Narrow { .. });
    let Some(coding) = stage.coding.filter(|coding| is_known(coding) && stage.weights == WeightBuffer::Fetched) else { return Vec::new() };
    let k_tiles = stage.rules.k_tiles(&stage.problem);
    let mut bytes = Vec::new();
    let mut any = false;
    for chunk in 0..stage.chunks() {
        for k_tile in 0..k_tiles {
            if stage.is_skipped(chunk, k_tile) {
                bytes.push(0);
                continue;
            }
            let whole = stage.packed_bytes(chunk, k_tile);
            let coded = match (coding.code, coding.elements(whole)) {
                (Code::Narrow { .. }, Some(elements)) => coding.least_bytes(elements),
                _ => coding.bytes_of(zeros_of(stage, (chunk, k_tile), coding, zeros)),
            };
            any |= coded < whole;
            bytes.push(coded.min(whole));
        }
    }
    if any { bytes } else { Vec::new() }
}

/// Whether the elements of a tile are zero, in the order in which they lie in DRAM: rows that start on a byte, of a step's channels and their
/// lanes, or where activations stay of one channel's elements of K. What fills a row or the last step up is zero.
fn zeros_of<'z>(stage: &'z Stage, (chunk, k_tile): (u64, u64), coding: Coding, zeros: &'z [bool]) -> impl Iterator<Item = bool> + 'z {
    let mode = &stage.rules.mode;
    let [of_channels, of_k] = stage.weight_tile(chunk, k_tile);
    let (first, channels) = (of_channels.start, of_channels.end - of_channels.start);
    let (start, inner) = (of_k.start, of_k.end - of_k.start);
    let lanes = u64::from(mode.lanes);
    let streams = mode.stationary == Stationary::Input;
    let (rows, elements) = if streams { (channels, inner) } else { (mode.steps(inner), channels * lanes) };
    let width = u64::from(coding.element_bits);
    let whole = (elements * width).next_multiple_of(8) / width;
    let all = stage.problem.channels();
    (0..rows).flat_map(move |row| {
        (0..whole).map(move |element| {
            let (channel, k) = if streams { (row, element) } else { (element / lanes, row * lanes + element % lanes) };
            let is_weight = element < elements && k < inner;
            !is_weight || usize::try_from((start + k) * all + first + channel).is_ok_and(|place| zeros[place])
        })
    })
}
