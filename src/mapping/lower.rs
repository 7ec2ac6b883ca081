//! From a quantized network to array operations: which layers make a stage, and what the host does at the end.

use super::{MappingError, Problem, Rules};
use crate::chip::{Chip, Codec, Format, Group, Sparsity};
use crate::network::{Bias, Dense, Layer, LayerId, Network, Op, Weight};
use crate::numerics::{Dtype, Quantization};
use ndarray::{ArrayView1, ArrayView2, Axis};

/// One array operation with its bias, requantization and activation, before it is mapped.
#[derive(Debug, Clone, PartialEq)]
pub struct Lowered {
    /// The array layer, after which the stage is named; none where there is no network.
    pub layer: Option<LayerId>,
    /// Its name.
    pub name: String,
    /// What it computes for a batch.
    pub problem: Problem,
    /// Whether its input is the output of the operation before it.
    pub follows: bool,
    /// For each element of K, each channel: whether its weight is zero, where the array skips tiles of such or DRAM leaves them out; empty
    /// where neither is so, or nobody knows.
    pub zeros: Vec<bool>,
    /// How far from zero a sum can be at most, whatever its input and however much of it is summed: `|bias| + max |x - zero point| * sum |w|` of
    /// the channel where that is most. None where there are no numbers.
    pub largest_sum: Option<u64>,
}

/// The array operations of a network for batches of `batch` samples, in the order in which they run. Each reads what the one before
/// yields; reshapes between them cost nothing, and a softmax at the end is the host's.
///
/// # Errors
/// An operation that no unit of the chip can do, formats that the chip does not multiply, or a network that is not quantized.
pub fn lower(network: &Network, chip: &Chip, batch: u64) -> Result<Vec<Lowered>, MappingError> {
    let mut stages = Vec::new();
    for layer in network.layers() {
        match &layer.op {
            Op::Input | Op::Reshape(_) => {}
            Op::Softmax { .. } if layer.id == network.output().id => {}
            Op::Dense(dense) => {
                let follows = !stages.is_empty();
                stages.push(dense_stage(network, chip, layer, dense, batch, follows)?);
            }
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

/// One array operation by itself, whose numbers nobody knows.
///
/// # Errors
/// Formats that the chip does not multiply, or activations that are not kept in 8 bits.
pub fn lower_problem(name: &str, problem: Problem, chip: &Chip) -> Result<Lowered, MappingError> {
    format_of(name, &problem, chip)?;
    Ok(Lowered { layer: None, name: name.to_string(), problem, follows: false, zeros: Vec::new(), largest_sum: None })
}

/// The format that a problem is multiplied in.
fn format_of<'c>(layer: &str, problem: &Problem, chip: &'c Chip) -> Result<&'c Format, MappingError> {
    let Some(format) = chip.format(problem.weight, problem.activation) else {
        let has: Vec<String> = chip.formats().iter().map(|format| format!("{} by {}", format.weight, format.activation)).collect();
        return Err(MappingError::NoFormat {
            layer: layer.to_string(),
            weight: problem.weight.to_string(),
            activation: problem.activation.to_string(),
            has: has.join(", "),
        });
    };
    if problem.activation != Dtype::Int8 {
        return Err(MappingError::NotSupported {
            layer: layer.to_string(),
            op: "layer",
            problem: format!("has {} activations, and the vector unit leaves {} ones so far", problem.activation, Dtype::Int8),
            help: "quantize activations to 8 bits (--quant w8a8); `systole gemm` multiplies every format",
        });
    }
    Ok(format)
}

fn dense_stage(network: &Network, chip: &Chip, layer: &Layer, dense: &Dense, batch: u64, follows: bool) -> Result<Lowered, MappingError> {
    let source = network.layer(network.inputs(layer.id)[0]);
    let (Weight::Integer { dtype, values, zero_points, .. }, Some(input), Some(_)) =
        (&dense.weight, source.output.quantization, layer.output.quantization)
    else {
        return Err(MappingError::NotQuantized { layer: layer.name.clone() });
    };
    let refuse = |problem: &str, help| {
        Err(MappingError::NotSupported { layer: layer.name.clone(), op: layer.op.name(), problem: problem.to_string(), help })
    };
    if zero_points.iter().any(|zero| *zero != 0) {
        return refuse("has weights with a zero point", "quantize weights symmetrically");
    }
    let rows = batch * (source.output.elements() / dense.inputs()) as u64;
    let problem = Problem::matrix(rows, dense.inputs() as u64, dense.outputs() as u64, *dtype, input.dtype);
    let format = format_of(&layer.name, &problem, chip)?;
    let rules = Rules::new(chip, format, &chip.array().dataflows[0]);
    if let Some(group) = rules.mode.group {
        is_pruned(values.view(), group, &layer.name)?;
    }
    let matters = chip.array().sparsity == Sparsity::TileSkip || chip.storage().codec != Codec::None;
    let zeros = if matters { values.iter().map(|value| *value == 0).collect() } else { Vec::new() };
    let largest_sum = Some(largest_sum(values.view(), dense.bias.as_ref(), &input));
    Ok(Lowered { layer: Some(layer.id), name: layer.name.clone(), problem, follows, zeros, largest_sum })
}

/// How far from zero a sum of these weights (K x N) can be at most, or any part of it.
#[expect(clippy::needless_pass_by_value, reason = "a view is a reference already")]
fn largest_sum(weights: ArrayView2<'_, i16>, bias: Option<&Bias>, input: &Quantization) -> u64 {
    let from_zero = |x: i32| u64::from(x.abs_diff(input.zero_point));
    let furthest = from_zero(input.dtype.min()).max(from_zero(input.dtype.max()));
    let of_channel = |(channel, column): (usize, ArrayView1<'_, i16>)| {
        let bias = match bias {
            Some(Bias::Integer(values)) => values[channel].unsigned_abs(),
            _ => 0,
        };
        let weights: u64 = column.iter().map(|weight| u64::from(weight.unsigned_abs())).sum();
        bias.saturating_add(furthest.saturating_mul(weights))
    };
    weights.columns().into_iter().enumerate().map(of_channel).max().unwrap_or(0)
}

/// Whether of each group of weights along K no more are other than zero than the array keeps.
#[expect(clippy::needless_pass_by_value, reason = "a view is a reference already")]
fn is_pruned(weights: ArrayView2<'_, i16>, group: Group, layer: &str) -> Result<(), MappingError> {
    for (number, rows) in weights.axis_chunks_iter(Axis(0), group.m as usize).enumerate() {
        for (channel, column) in rows.columns().into_iter().enumerate() {
            let found = column.iter().filter(|value| **value != 0).count();
            if found > group.n as usize {
                let first = number * group.m as usize;
                let rows = first..first + column.len();
                return Err(MappingError::NotPruned { layer: layer.to_string(), channel, rows, found, n: group.n, m: group.m });
            }
        }
    }
    Ok(())
}
