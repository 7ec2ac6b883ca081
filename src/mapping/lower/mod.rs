//! From a quantized network to what the chip's units do, in order, and where in DRAM each value lies.
//!
//! | layer | becomes |
//! | --- | --- |
//! | dense, conv, a product of two values | an operation of the array (`array`) |
//! | functions, sums, products, pools, softmax, layer normalisation | operations of the vector unit (`vector`) |
//! | reshape, transpose, slice | another way to count the same bytes where there is one, else a movement (`movement`) |
//! | concat, pad | a movement, through a table first where quantizations differ |
//! | what no unit can do | the host's, between two stages, where the chip has one (`host`) |
//! | the input, embeddings at the input, a softmax at the end | the host's |
//!
//! A value that the array or a window reads as an image lies with its channels innermost; what is multiplied lies with K innermost. Where a
//! value lies otherwise, it is moved first, and that counts.

mod array;
mod depthwise;
mod host;
mod movement;
mod stage;
mod vector;

pub use array::{has_format, weights_of};
pub use depthwise::depthwise_alone;
pub use stage::{Copy, HostCall, HostRead, Lowered, Work};

use super::location::{Factor, Location, Tensor, ordered_strides, row_pitch};
use super::{MappingError, Operand};
use crate::chip::Chip;
use crate::network::{Element, IntegerForm, Layer, LayerId, Network, Op, integers_of};
use crate::numerics::Dtype;
use crate::numerics::packed::pack;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// A network as a list of operations.
#[derive(Debug, Clone, PartialEq)]
pub struct Lowering {
    /// What the chip's units do, in the order in which they run.
    pub stages: Vec<Lowered>,
    /// The values that the host lays into DRAM, in the order in which stages first read them.
    pub inputs: Vec<(LayerId, Location)>,
    /// Where the host finds the logits.
    pub output: Location,
}

/// The operations of a network for batches of `batch` samples.
///
/// # Errors
/// An operation that no unit of the chip can do, formats that the chip does not multiply, or a network that is not quantized.
pub fn lower(network: &Network, chip: &Chip, batch: u64) -> Result<Lowering, MappingError> {
    lower_wide(network, chip, batch, &BTreeSet::new())
}

/// The same, the weights of the layers `wide` multiplied in the format of what they read, though they lie in DRAM in fewer bits.
///
/// # Errors
/// As [`lower`], and a chip whose DMA engines do not widen weights.
pub fn lower_wide(network: &Network, chip: &Chip, batch: u64, wide: &BTreeSet<LayerId>) -> Result<Lowering, MappingError> {
    let mut lowerer = Lowerer {
        network,
        chip,
        batch,
        wide,
        stages: Vec::new(),
        locations: BTreeMap::new(),
        hosted: Vec::new(),
        tensors: 0,
        zero_point: 0,
        fault: None,
    };
    let logits = network.logits();
    let needed = needed(network, logits.id);
    for layer in network.layers().filter(|layer| needed.contains(&layer.id)) {
        if let Some(location) = lowerer.layer(layer)? {
            lowerer.locations.insert(layer.id, location);
        }
        if let Some(fault) = lowerer.fault.take() {
            return Err(fault);
        }
    }
    if !lowerer.stages.iter().any(|stage| stage.work.is_array()) {
        return Err(MappingError::NothingToMap { network: network.name().to_string() });
    }
    let Lowerer { stages, mut locations, hosted, .. } = lowerer;
    let output = locations.remove(&logits.id).ok_or_else(|| MappingError::NothingToMap { network: network.name().to_string() })?;
    let first = |tensor: &Tensor| {
        let of_stage = |stage: &Lowered| stage.reads().position(|read| read == tensor);
        stages.iter().enumerate().find_map(|(number, stage)| of_stage(stage).map(|slot| (number, slot)))
    };
    let mut inputs: Vec<_> = hosted.into_iter().filter_map(|(id, at)| Some((first(&at.tensor)?, id, at))).collect();
    inputs.sort_by_key(|(first, ..)| *first);
    Ok(Lowering { inputs: inputs.into_iter().map(|(_, id, at)| (id, at)).collect(), stages, output })
}

/// The layers that `last` reads, directly or not, and itself.
fn needed(network: &Network, last: LayerId) -> BTreeSet<LayerId> {
    let (mut needed, mut left) = (BTreeSet::new(), vec![last]);
    while let Some(id) = left.pop() {
        if needed.insert(id) {
            left.extend(network.inputs(id));
        }
    }
    needed
}

struct Lowerer<'n> {
    network: &'n Network,
    chip: &'n Chip,
    batch: u64,
    /// Layers whose weights are multiplied wider than they lie in DRAM.
    wide: &'n BTreeSet<LayerId>,
    stages: Vec<Lowered>,
    /// Where the value of each layer lies; none of what only the host knows.
    locations: BTreeMap<LayerId, Location>,
    /// What the host lays into DRAM.
    hosted: Vec<(LayerId, Location)>,
    tensors: usize,
    /// The zero point of what the layer at hand yields. A copy of what it reads may have another, which then takes more bytes of DRAM.
    zero_point: i32,
    /// What of the layer at hand cannot be done, if that was found where nothing else could be said.
    fault: Option<MappingError>,
}

impl Lowerer<'_> {
    /// Lowers a layer; where its value lies.
    fn layer(&mut self, layer: &Layer) -> Result<Option<Location>, MappingError> {
        let form = IntegerForm::of(self.network, layer, self.chip.vector().requantize)?;
        self.zero_point = layer.output.quantization.map_or(0, |quantization| quantization.zero_point);
        let location = match form {
            IntegerForm::Host if layer.output.element == Element::Index => return Ok(None),
            IntegerForm::Host => {
                let (shape, order) = self.asked_order(layer);
                let format = integers_of(layer)?.dtype;
                let (tensor, sample) = self.tensor(format, ordered_strides(format, &shape, &order).1);
                let location = Location::ordered(tensor, sample, &shape, &order);
                self.hosted.push((layer.id, location.clone()));
                location
            }
            IntegerForm::Constant(constant) => self.constant(integers_of(layer)?.dtype, constant.iter().copied()),
            IntegerForm::Array(_) => match &layer.op {
                Op::Dense(dense) => self.dense(layer, dense)?,
                Op::Conv(conv) => self.conv(layer, conv)?,
                _ => self.product(layer)?,
            },
            IntegerForm::Vector { op, then } => {
                let location = self.vector(layer, op)?;
                match then {
                    Some(op) => self.elementwise(layer, " (table)", op, &location, &shape_of(layer), format_of_value(layer))?,
                    None => location,
                }
            }
            IntegerForm::WithConstant { op, constant, format, constant_first } => {
                self.with_constant(layer, op, (&constant, format), constant_first)?
            }
            IntegerForm::Tables { tables, shape } => self.tables(layer, tables, &shape)?,
            IntegerForm::Reals(op) => self.through_reals(layer, op)?,
            IntegerForm::Moves { tables, border } => self.moves(layer, tables, border)?,
        };
        Ok(Some(location))
    }

    /// The order in which a host's value had best lie: with channels innermost, where an image is made of it first of all.
    fn asked_order(&self, layer: &Layer) -> (Vec<u64>, Vec<usize>) {
        if let Some(image) = self.network.read_as_image(layer.id) {
            return (image.into_iter().map(|size| size as u64).collect(), vec![1, 2, 0]);
        }
        let shape = shape_of(layer);
        let order = (0..shape.len()).collect();
        (shape, order)
    }

    /// A new tensor of at least so many elements a sample, and the elements from a sample to the next.
    fn tensor(&mut self, format: Dtype, sample: u64) -> (Tensor, u64) {
        self.tensors += 1;
        let sample = row_pitch(format, sample);
        let (zero_point, bytes) = (self.zero_point, format.packed_bytes(sample) * self.batch);
        (Tensor { number: self.tensors - 1, format, zero_point, bytes, content: None }, sample)
    }

    /// A constant, the same for every sample.
    fn constant(&mut self, format: Dtype, elements: impl ExactSizeIterator<Item = i16>) -> Location {
        self.tensors += 1;
        let count = elements.len() as u64;
        let bytes = pack(format, elements);
        let tensor = Tensor { number: self.tensors - 1, format, zero_point: 0, bytes: bytes.len() as u64, content: Some(Arc::new(bytes)) };
        Location::dense(tensor, 0, count)
    }

    /// Where the value lies that a layer reads as its argument `slot`, and its shape.
    fn source(&self, layer: &Layer, slot: usize) -> Result<(Location, Vec<u64>), MappingError> {
        let read = self.network.layer(self.network.inputs(layer.id)[slot]);
        let Some(location) = self.locations.get(&read.id) else {
            return Err(refused(layer, "reads what only the host knows".to_string(), "use it for embeddings alone"));
        };
        Ok((location.clone(), shape_of(read)))
    }

    /// The factor of samples, and those of one, as rows of bytes; none where one begins within a byte.
    fn batched(&self, location: &Location, factors: impl IntoIterator<Item = Factor>) -> Option<Operand> {
        let format = location.tensor.format;
        let samples = Factor { size: self.batch, stride: location.sample };
        let factors = std::iter::once(samples).chain(factors).filter(|factor| factor.size > 1);
        let factors = factors.map(|factor| Some(Factor { stride: whole_bytes(format, factor.stride)?, ..factor }));
        Operand::of(&location.tensor, whole_bytes(format, location.offset)?, factors.collect::<Option<Vec<_>>>()?)
    }
}

/// The format in which a layer's value is held; nothing else reads one that is not quantized.
fn format_of_value(layer: &Layer) -> Dtype {
    layer.output.quantization.map_or(Dtype::Int8, |quantization| quantization.dtype)
}

/// The bytes of so many elements; none where they end within one.
fn whole_bytes(format: Dtype, elements: u64) -> Option<u64> {
    let bits = elements * u64::from(format.bits());
    bits.is_multiple_of(8).then_some(bits / 8)
}

/// A layer's shape.
fn shape_of(layer: &Layer) -> Vec<u64> {
    layer.output.shape.iter().map(|size| *size as u64).collect()
}

fn refused(layer: &Layer, problem: String, help: &'static str) -> MappingError {
    MappingError::NotSupported { layer: layer.name.clone(), op: layer.op.name(), problem, help }
}
