//! Where each tensor of a mapping lies on the chip, and for how long.
//!
//! Not here: where anything is put (`fit`).

use super::{InputBuffer, Mapping, OutputBuffer, Stage, WeightBuffer};
use crate::chip::Chip;
use std::ops::RangeInclusive;

/// What lies in a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Held {
    /// Activations that a stage fetches from DRAM.
    Input,
    /// Weights that are there from the start.
    Weights,
    /// The ring through which all weights pass that are fetched.
    WeightRing,
    /// The output of a stage: whole, where the next stage finds it, or in blocks on its way to DRAM.
    Output,
    /// The ring of sums.
    Sums,
}

/// A memory of a chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// The scratchpad of this number.
    Scratchpad(usize),
    /// The accumulator.
    Accumulator,
}

/// Bytes that are set aside for a tensor.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Resident {
    /// What lies there.
    pub held: Held,
    /// In which memory.
    pub memory: Memory,
    /// Its first byte.
    pub address: u64,
    /// Bytes.
    pub bytes: u64,
    /// The stages during which it does, by their place in the mapping.
    pub stages: RangeInclusive<usize>,
    /// Whether all of the tensor lies there at once; else its parts pass through.
    pub is_whole: bool,
}

impl Mapping {
    /// What lies in the chip's memories, in the order of stages, rings last.
    ///
    /// # Panics
    /// If the mapping is for another chip.
    pub fn residents(&self, chip: &Chip) -> Vec<Resident> {
        let roles = chip.scratchpad_roles();
        let (activations, weights) = (Memory::Scratchpad(roles.activation), Memory::Scratchpad(roles.weight));
        let mut all = Vec::new();
        for (number, stage) in self.stages.iter().enumerate() {
            let (problem, rules) = (&stage.problem, &stage.rules);
            for input in std::iter::once(stage.input).chain(stage.second) {
                let (address, bytes, is_whole) = match input {
                    InputBuffer::Fetched { address, rows } => (address, rules.input_bytes(problem, rows), rows >= problem.input_rows()),
                    InputBuffer::Kept { .. } | InputBuffer::Passing { bytes: 0, .. } => continue,
                    InputBuffer::Whole { address, bytes } => (address, bytes, true),
                    InputBuffer::Passing { address, bytes } => (address, bytes, bytes >= stage.target.tensor.bytes),
                };
                all.push(Resident { held: Held::Input, memory: activations, address, bytes, stages: number..=number, is_whole });
            }
            if let WeightBuffer::Resident { address } = stage.weights {
                let bytes = rules.pieces(problem, &stage.tiling) * self.buffers.weight_slot_bytes;
                all.push(Resident { held: Held::Weights, memory: weights, address, bytes, stages: 0..=number, is_whole: true });
            }
            let (address, bytes, last) = match stage.output {
                OutputBuffer::Kept { address } => (address, rules.output_bytes(problem), last_reader(&self.stages, number)),
                OutputBuffer::Stored { address, slots } => (address, slots * rules.stored_bytes(problem, &stage.tiling), number),
            };
            let is_whole = last > number || stage.blocks() * stage.chunks() == 1;
            if bytes == 0 {
                continue;
            }
            all.push(Resident { held: Held::Output, memory: activations, address, bytes, stages: number..=last, is_whole });
        }
        let stages = 0..=self.stages.len().saturating_sub(1);
        let buffers = &self.buffers;
        let rings = [
            (Held::WeightRing, weights, buffers.weight_ring_address, buffers.weight_ring_slots * buffers.weight_slot_bytes),
            (Held::Sums, Memory::Accumulator, 0, buffers.accumulator_slots * buffers.accumulator_slot_bytes),
        ];
        let ring = |(held, memory, address, bytes)| Resident { held, memory, address, bytes, stages: stages.clone(), is_whole: false };
        all.extend(rings.map(ring).into_iter().filter(|ring| ring.bytes > 0));
        all
    }

    /// The outputs that the next stage reads: the numbers of their stages, and whether each stays on the chip rather than go through DRAM.
    pub fn edges(&self) -> impl Iterator<Item = (usize, bool)> + '_ {
        let pairs = self.stages.iter().zip(self.stages.iter().skip(1)).enumerate();
        pairs.filter(|(_, (_, next))| next.follows).map(|(number, (stage, _))| (number, matches!(stage.output, OutputBuffer::Kept { .. })))
    }
}

/// The last stage that reads what a stage left on the chip.
fn last_reader(stages: &[Stage], maker: usize) -> usize {
    let reads = |stage: &Stage| stage.inputs().any(|(buffer, _)| matches!(buffer, InputBuffer::Kept { from, .. } if from == maker));
    stages.iter().rposition(reads).unwrap_or(maker)
}

/// The most bytes of a memory that are set aside during one stage, and the first such stage.
pub fn peak(residents: &[Resident], memory: Memory, stages: usize) -> (u64, usize) {
    let during = |stage: usize| -> u64 {
        residents.iter().filter(|one| one.memory == memory && one.stages.contains(&stage)).map(|one| one.bytes).sum()
    };
    (0..stages).map(|stage| (during(stage), stage)).rev().max_by_key(|(bytes, _)| *bytes).unwrap_or((0, 0))
}
