//! What a chip file may say, and hardware could do, but this program cannot simulate yet: refused by name, never replaced by something
//! else. A feature that comes to work loses its lines here, and nothing else has to change.
//!
//! Not here: what no hardware could do (`check`).

use super::chip::{Codec, Dataflow, Depthwise, Sparsity, StorageWidth, Unsupported};
use super::read::Reader;
use super::schema::{Draft, DraftDram};
use super::tree::Node;
use crate::numerics::Dtype;
use crate::units::Cycles;

/// Leaves a fault for everything that cannot be simulated yet.
pub(super) fn check(reader: &mut Reader, root: &Node, draft: &Draft) {
    let mut refuse = |path: &str, feature: &str, instead: &str| {
        reader.refuse_at(root, path, format!("not supported yet: {feature}"), format!("until it is, write `{instead}`"));
    };
    if draft.cores.is_some_and(|cores| cores > 1) {
        refuse("cores", "more than one core", "cores: 1");
    }
    if draft.interconnect.is_some_and(|interconnect| interconnect.latency > Cycles::ZERO) {
        refuse("interconnect.latency", "an interconnect that takes cycles", "interconnect: (latency: Cycles(0))");
    }
    if let Some(array) = &draft.array {
        for (index, dataflow) in array.dataflows.iter().enumerate() {
            let path = format!("array.dataflows.{index}");
            match dataflow {
                Some(Dataflow::OutputStationary(_)) => refuse(&path, "an output-stationary array", "WeightStationary(..)"),
                Some(Dataflow::InputStationary(_)) => refuse(&path, "an input-stationary array", "WeightStationary(..)"),
                Some(Dataflow::WeightStationary(_)) | None => {}
            }
        }
        if array.zero_gating == Some(true) {
            refuse("array.zero_gating", "PEs that keep still where an operand is zero", "zero_gating: false");
        }
        if array.sparsity.is_some_and(|sparsity| sparsity != Sparsity::Dense) {
            refuse("array.sparsity", "an array that profits from sparsity", "sparsity: Dense");
        }
    }
    for (index, format) in draft.formats.iter().enumerate() {
        let Some(format) = format else { continue };
        if (format.weight, format.activation) != (Dtype::Int8, Dtype::Int8) {
            refuse(&format!("formats.{index}"), "formats other than Int8 by Int8", "weight: Int8, activation: Int8");
        }
        if format.lanes != 1 {
            refuse(&format!("formats.{index}.lanes"), "several elements in one PE", "lanes: 1");
        }
        if format.accumulator_bits > 32 {
            refuse(&format!("formats.{index}.accumulator_bits"), "accumulators of more than 32 bits", "accumulator_bits: 32");
        }
    }
    if let Some(storage) = draft.storage {
        for (field, width) in [("weight", storage.weight), ("activation", storage.activation)] {
            if width != StorageWidth::Packed {
                refuse(&format!("storage.{field}"), "elements kept wider than their format", &format!("{field}: Packed"));
            }
        }
        if storage.codec != Codec::None {
            refuse("storage.codec", "a DMA codec", "codec: None");
        }
    }
    if let Some(vector) = &draft.vector {
        if vector.depthwise == Depthwise::Vector {
            refuse("vector.depthwise", "depthwise convolutions on the vector unit", "depthwise: Array");
        }
        if let Unsupported::Host { .. } = vector.unsupported {
            refuse("vector.unsupported", "operations on the host", "unsupported: Refuse");
        }
    }
    if let Some(DraftDram::Banked) = draft.dram {
        refuse("dram", "a DRAM with banks and their timing", "dram: Ideal(bytes_per_cycle: 16, latency: Cycles(100))");
    }
}
