//! Which outputs stay on the chip for the layers that read them, which could, and the scratchpad with which all that could do.
//!
//! What could stay is what does on a scratchpad without limit: a small one may cut a stage so that its output no longer lies as it is read. Not here:
//! what stays (`keep`, `hold`).

use super::draft::{Capacity, stripe};
use super::fit::map_within;
use super::{Choice, Lowered, Mapping, OutputBuffer, WeightStart, map_as};
use crate::chip::Chip;

/// A scratchpad as good as without limit; no larger one is looked for.
pub const MAX_CAPACITY: u64 = 1 << 40;

/// Outputs of a network that stay on the chip, and that do not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct PassedOn {
    /// Outputs that would stay on a scratchpad without limit.
    pub outputs: u64,
    /// Of these, those that go through DRAM.
    pub spilled: u64,
    /// Bytes of the activations' scratchpad with which none would, where with a row in every bank less one does; None where none does, or no
    /// capacity keeps them all.
    pub least_bytes: Option<u64>,
}

/// What stays in a mapping of a network onto `chip`, whose stages are `stages` where the activations' scratchpad has no limit; `is_so` tells whether
/// they are with so many bytes.
///
/// The capacity is found by mapping with others, halving between one that is too small and one that is not. Blocks grow with the scratchpad and
/// may take the room that an output would stay in, so that by chance a still smaller one may do.
///
/// # Panics
/// As [`map_as`].
pub fn passed_on(
    mapping: &Mapping,
    (stages, choices): (&[Lowered], &[Choice]),
    chip: &Chip,
    start: WeightStart,
    is_so: impl Fn(u64) -> bool,
) -> PassedOn {
    let kept = kept(mapping);
    let within = |bytes: u64| {
        let capacity = Capacity::of(chip).with_activation_bytes(bytes);
        map_within(stages, chip, (mapping.batch(), start), choices, &capacity).map_or(0, |mapping| self::kept(&mapping))
    };
    let outputs = within(MAX_CAPACITY).max(kept);
    let spilled = outputs - kept;
    let keeps_all = |bytes: u64| within(bytes) == outputs && is_so(bytes);
    let least_bytes = if spilled == 0 { None } else { least(chip, keeps_all) };
    PassedOn { outputs, spilled, least_bytes }
}

fn kept(mapping: &Mapping) -> u64 {
    mapping.stages().iter().filter(|stage| matches!(stage.output, OutputBuffer::Kept { .. })).count() as u64
}

/// The least capacity, from the chip's own up, that will do.
fn least(chip: &Chip, will_do: impl Fn(u64) -> bool) -> Option<u64> {
    let stripe = stripe(Capacity::of(chip).activation_pad);
    let mut low = Capacity::of(chip).activation_bytes / stripe;
    let mut high = 2 * low;
    while !will_do(high * stripe) {
        (low, high) = (high, 2 * high);
        if high * stripe > MAX_CAPACITY {
            return None;
        }
    }
    while high - low > 1 {
        let middle = u64::midpoint(low, high);
        if will_do(middle * stripe) { high = middle } else { low = middle }
    }
    Some(high * stripe)
}

/// The bytes of the scratchpad that holds activations with which no output of these stages goes through DRAM that could stay; None where
/// the present capacity keeps all, or no capacity does.
///
/// # Panics
/// As [`map_as`].
pub fn least_scratchpad(stages: &[Lowered], chip: &Chip, batch: u64, start: WeightStart, choices: &[Choice]) -> Option<u64> {
    let mapping = map_as(stages, chip, batch, start, choices).ok()?;
    passed_on(&mapping, (stages, choices), chip, start, |_| true).least_bytes
}
