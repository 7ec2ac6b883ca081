//! Puts a mapping's places into the summary's words.

use crate::chip::Chip;
use crate::mapping::{Held, Mapping, Memory, PassedOn, peak};
use crate::report::{MemoryUse, Residency, SmallestScratchpad, TensorLife};

/// Where everything lies, and which outputs stay.
pub(super) fn residency(mapping: &Mapping, chip: &Chip, passed: PassedOn) -> Residency {
    let residents = mapping.residents(chip);
    let stages = mapping.stages();
    let layer = |stage: usize| stages.get(stage).map_or_else(String::new, |stage| stage.name.clone());
    let pads = chip.scratchpads().iter().enumerate().map(|(number, pad)| (Memory::Scratchpad(number), pad.capacity.get()));
    let memories = pads.chain([(Memory::Accumulator, chip.accumulator().capacity.get())]).map(|(memory, capacity_bytes)| {
        let (peak_bytes, stage) = peak(&residents, memory, stages.len());
        MemoryUse { memory: name_of(memory), capacity_bytes, peak_bytes, peak_layer: layer(stage) }
    });
    let tensors = residents.iter().map(|resident| TensorLife {
        tensor: match resident.held {
            Held::Input => "input",
            Held::Weights => "weights",
            Held::WeightRing => "weight_ring",
            Held::Output => "output",
            Held::Sums => "sums",
        }
        .to_string(),
        memory: name_of(resident.memory),
        address_bytes: resident.address,
        bytes: resident.bytes,
        first_layer: layer(*resident.stages.start()),
        last_layer: layer(*resident.stages.end()),
        is_whole: resident.is_whole,
    });
    let activations = Memory::Scratchpad(chip.scratchpad_roles().activation);
    Residency {
        memories: memories.collect(),
        tensors: tensors.collect(),
        passed_on: passed.outputs,
        spilled: passed.spilled,
        smallest_scratchpad: passed.least_bytes.map(|capacity_bytes| SmallestScratchpad { memory: name_of(activations), capacity_bytes }),
    }
}

/// A memory as the chip file has it.
fn name_of(memory: Memory) -> String {
    match memory {
        Memory::Scratchpad(number) => format!("scratchpads.{number}"),
        Memory::Accumulator => "accumulator".to_string(),
    }
}
