//! From a quantized network to array operations: which layers make a stage, and what the host does at the end.

use super::{MappingError, Problem};
use crate::chip::{Chip, Sparsity, Stationary};
use crate::network::{Dense, Layer, LayerId, Network, Op, Weight};

/// One array operation with its bias, requantization and activation, before it is mapped.
#[derive(Debug, Clone, PartialEq)]
pub struct Lowered {
    /// The array layer, after which the stage is named.
    pub layer: LayerId,
    /// Its name.
    pub name: String,
    /// What it computes for a batch.
    pub problem: Problem,
}

/// The array operations of a network for batches of `batch` samples, in the order in which they run. Each reads what the one before
/// yields; reshapes between them cost nothing, and a softmax at the end is the host's.
///
/// # Errors
/// An operation that no unit of the chip can do, formats that the chip does not multiply, or a network that is not quantized.
pub fn lower(network: &Network, chip: &Chip, batch: u64) -> Result<Vec<Lowered>, MappingError> {
    array_can_run_networks(chip)?;
    let mut stages = Vec::new();
    for layer in network.layers() {
        match &layer.op {
            Op::Input | Op::Reshape(_) => {}
            Op::Softmax if layer.id == network.output().id => {}
            Op::Dense(dense) => stages.push(dense_stage(network, chip, layer, dense, batch)?),
            op => {
                return Err(MappingError::NotSupported {
                    layer: layer.name.clone(),
                    op: op.name(),
                    problem: "has no unit on the chip that can do it".to_string(),
                    help: "a chain of dense layers, each with at most one relu behind it, and a softmax at the end can run",
                });
            }
        }
        if network.consumers(layer.id).len() > 1 {
            return Err(MappingError::NotSupported {
                layer: layer.name.clone(),
                op: layer.op.name(),
                problem: "is read by more than one layer".to_string(),
                help: "a chain of layers can run; networks with branches cannot yet",
            });
        }
    }
    if stages.is_empty() {
        return Err(MappingError::NothingToMap { network: network.name().to_string() });
    }
    Ok(stages)
}

/// Networks are mapped onto dense weight-stationary arrays only, so far; single products (`gemm`, `topology`) onto all.
fn array_can_run_networks(chip: &Chip) -> Result<(), MappingError> {
    let array = chip.array();
    let dataflow = array.dataflows[0].kind();
    let refuse =
        |problem: String, help: &'static str| Err(MappingError::ArrayNotSupported { chip: chip.name().to_string(), problem, help });
    if dataflow != Stationary::Weight {
        let help = "list WeightStationary(..) first in array.dataflows; `systole gemm` and `systole topology` run every dataflow";
        return refuse(format!("its first dataflow is {}", dataflow.long_name()), help);
    }
    if array.sparsity != Sparsity::Dense {
        let help = "write `sparsity: Dense`; `systole gemm` runs products on sparse arrays";
        return refuse("its array profits from sparsity, which networks do not use yet".to_string(), help);
    }
    Ok(())
}

fn dense_stage(network: &Network, chip: &Chip, layer: &Layer, dense: &Dense, batch: u64) -> Result<Lowered, MappingError> {
    let source = network.layer(network.inputs(layer.id)[0]);
    let (Weight::Integer { dtype, .. }, Some(input), Some(_)) = (&dense.weight, source.output.quantization, layer.output.quantization)
    else {
        return Err(MappingError::NotQuantized { layer: layer.name.clone() });
    };
    if chip.format(*dtype, input.dtype).is_none() {
        let has: Vec<String> = chip.formats().iter().map(|format| format!("{} by {}", format.weight, format.activation)).collect();
        return Err(MappingError::NoFormat {
            layer: layer.name.clone(),
            weight: dtype.to_string(),
            activation: input.dtype.to_string(),
            has: has.join(", "),
        });
    }
    if let Some(lanes) = chip.format(*dtype, input.dtype).map(|format| format.lanes).filter(|lanes| *lanes != 1) {
        return Err(MappingError::ArrayNotSupported {
            chip: chip.name().to_string(),
            problem: format!("a PE multiplies {lanes} elements of K side by side in this format, which networks do not use yet"),
            help: "write `lanes: 1` for the format; `systole gemm` runs products with any number of lanes",
        });
    }
    let rows = batch * (source.output.elements() / dense.inputs()) as u64;
    let problem = Problem::matrix(rows, dense.inputs() as u64, dense.outputs() as u64, *dtype, input.dtype);
    Ok(Lowered { layer: layer.id, name: layer.name.clone(), problem })
}
