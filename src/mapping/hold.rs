//! Values that stay on the chip for later stages than the next, or for several: a residual connection's, while the layers beside it run.
//!
//! They lie above the area that stages share from both ends, each in a place of its own from the stage that makes it to the last that reads it.
//! A value stays where all that read it read it as it lies, and where every stage still fits. What is made first is looked at first.

use super::draft::Draft;
use super::keep::{is_as_it_lies, stage_bytes};
use std::collections::BTreeMap;

/// A value that stays.
#[derive(Debug, Clone, Copy)]
struct Hold {
    /// The last stage that reads it.
    last: usize,
    /// Its place in the area of such values.
    offset: u64,
    bytes: u64,
}

/// All values that stay for more than the next stage.
#[derive(Debug, Clone, Default)]
pub(super) struct Holds {
    /// By the stage that makes it.
    all: BTreeMap<usize, Hold>,
    /// The makers of what stages read, by stage and input.
    inputs: BTreeMap<(usize, usize), usize>,
}

impl Holds {
    /// The place of a stage's output in the area of held values, if it is held.
    pub(super) fn output(&self, stage: usize) -> Option<u64> {
        self.all.get(&stage).map(|hold| hold.offset)
    }

    /// Which stage made what another reads as one of its inputs, if that is held.
    pub(super) fn input(&self, stage: usize, input: usize) -> Option<usize> {
        self.inputs.get(&(stage, input)).copied()
    }

    /// Bytes of all of them.
    pub(super) fn bytes(&self) -> u64 {
        self.all.values().map(|hold| hold.offset + hold.bytes).max().unwrap_or(0)
    }

    /// What fits into `room` beside the stages.
    pub(super) fn of(drafts: &[Draft<'_>], room: u64) -> Self {
        let mut holds = Self::default();
        let bytes_of = |stage: usize, holds: &Self| stage_bytes(stage, drafts, holds).iter().sum::<u64>();
        let mut of_stages: Vec<u64> = (0..drafts.len()).map(|stage| bytes_of(stage, &holds)).collect();
        for (maker, readers) in candidates(drafts) {
            let bytes = drafts[maker].rules.output_bytes(drafts[maker].problem());
            let last = readers.iter().map(|(stage, _)| *stage).max().unwrap_or(maker);
            // With the value there, the stages that make and read it need less of what all share.
            let offset = holds.free(maker, last, bytes);
            holds.all.insert(maker, Hold { last, offset, bytes });
            holds.inputs.extend(readers.iter().map(|reader| (*reader, maker)));
            let changed: Vec<usize> = readers.iter().map(|(stage, _)| *stage).chain([maker]).collect();
            for stage in &changed {
                of_stages[*stage] = bytes_of(*stage, &holds);
            }
            if of_stages.iter().copied().max().unwrap_or(0) + holds.bytes() > room {
                holds.all.remove(&maker);
                for reader in &readers {
                    holds.inputs.remove(reader);
                }
                for stage in changed {
                    of_stages[stage] = bytes_of(stage, &holds);
                }
            }
        }
        holds
    }

    /// The lowest place for so many bytes that no other value takes while stages `first..=last` run.
    fn free(&self, first: usize, last: usize, bytes: u64) -> u64 {
        let mut beside: Vec<&Hold> = self.all.range(..=last).map(|(_, hold)| hold).filter(|hold| first <= hold.last).collect();
        beside.sort_by_key(|hold| hold.offset);
        let past = |place: u64, hold: &&Hold| if place + bytes <= hold.offset { place } else { place.max(hold.offset + hold.bytes) };
        beside.iter().fold(0, past)
    }
}

/// The stages whose outputs later stages read as they lie and nobody else does, with these and which of their inputs it is, but for what only the
/// next stage reads.
fn candidates(drafts: &[Draft<'_>]) -> Vec<(usize, Vec<(usize, usize)>)> {
    let mut reads: BTreeMap<usize, usize> = BTreeMap::new();
    let mut readers: BTreeMap<usize, Vec<(usize, usize)>> = BTreeMap::new();
    for (stage, draft) in drafts.iter().enumerate() {
        draft.lowered.reads().for_each(|tensor| *reads.entry(tensor.number).or_default() += 1);
        for (input, operand) in draft.lowered.inputs.iter().enumerate() {
            readers.entry(operand.tensor.number).or_default().push((stage, input));
        }
    }
    let candidate = |(maker, draft): (usize, &Draft<'_>)| {
        let number = draft.lowered.output.tensor.number;
        let found = readers.get(&number)?;
        let is_read_so = |(stage, input): &(usize, usize)| {
            *stage > maker
                && drafts[*stage].rules.input_layout == draft.rules.output_layout
                && is_as_it_lies(draft.lowered, drafts[*stage].lowered, *input)
        };
        let for_the_next = found.len() == 1 && found[0].0 == maker + 1;
        let is_candidate = !for_the_next && reads.get(&number) == Some(&found.len()) && found.iter().all(is_read_so);
        is_candidate.then(|| (maker, found.clone()))
    };
    drafts.iter().enumerate().filter_map(candidate).collect()
}
