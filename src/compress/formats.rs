//! Which formats each layer is quantized to, as a recipe's `Quantize` steps say: a later one takes the place of an earlier one for the layers that it
//! names. Binary steps that name none leave the first and the last layer with weights out, as XNOR-Net does.
//!
//! A layer with weights asks for the value that it reads in its own activations' format. Other layers ask as this table has it; a value has the
//! widest format that is asked for, and who asks for a narrower one reads it through a `Quantize` of its own ([`with_roundings`]).
//!
//! | what reads a value | asks for |
//! | --- | --- |
//! | a dense layer, a convolution | its activations' format |
//! | the host, sums, products and means of values, normalisation | 8 bits, or 16 where layers in general have as many |
//! | a product of two values (attention) | likewise; of the value that plays the weights by their bits |
//! | functions by a table, softmax | 8 bits: tables have 256 entries |
//! | a relu or clip, a max pool, a flatten before dense layers | what is asked for of its result |
//! | what else moves elements | 8 bits at least, since narrower ones lie several in a byte |
//!
//! What cannot pack elements of less than a byte yields 8 bits at least: all but the array (whose groups of channels must fill bytes), the host,
//! relus, clips and tables, max pools and flattening.

use super::apply::named;
use super::histogram::Calibration;
use super::matrix::{has_float_weights, has_weights};
use super::rebuild::remade;
use super::recipe::{Patterns, Recipe, Step, for_all};
use super::values::{groups, host_reads};
use super::{CompressError, Granularity, Scheme, Symmetry};
use crate::network::{Function, Layer, LayerId, Network, Op, PoolKind};
use crate::numerics::Dtype;
use std::collections::{BTreeMap, BTreeSet};

/// How layers are quantized.
#[derive(Debug, Clone, PartialEq)]
pub struct Formats {
    steps: Vec<Step>,
}

/// How one layer is quantized.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct LayerFormats {
    /// The formats of its weights and of what it reads.
    pub scheme: Scheme,
    /// What shares a scale of weights.
    pub weights: Granularity,
    /// Whether what it reads may have a zero point.
    pub activations: Symmetry,
    /// Whether its weights are multiplied in the format of what it reads.
    pub is_wide: bool,
}

impl LayerFormats {
    const fn of(scheme: Scheme) -> Self {
        Self { scheme, weights: Granularity::PerChannel, activations: Symmetry::Affine, is_wide: false }
    }
}

impl From<Scheme> for Formats {
    fn from(scheme: Scheme) -> Self {
        Self { steps: vec![Step::quantize(scheme, Patterns::default())] }
    }
}

impl From<&Recipe> for Formats {
    fn from(recipe: &Recipe) -> Self {
        Self { steps: recipe.quantization().to_vec() }
    }
}

/// The formats of each layer with weights, and what holds for a network at large.
pub(super) struct Resolved {
    pub(super) base: LayerFormats,
    layers: BTreeMap<LayerId, LayerFormats>,
}

impl Resolved {
    /// A layer's formats.
    pub(super) fn of(&self, layer: &Layer) -> LayerFormats {
        self.layers.get(&layer.id).copied().unwrap_or(self.base)
    }
}

impl Formats {
    /// What a recipe says for certain, whatever a search may choose.
    pub(super) fn fixed(recipe: &Recipe) -> Self {
        let steps = recipe.quantization().iter().filter(|step| matches!(step, Step::Quantize { .. }));
        Self { steps: steps.cloned().collect() }
    }

    /// How ranges are found: as the last step for all layers says.
    pub(super) fn calibration(&self) -> Calibration {
        if let Some(Step::Quantize { calibration, .. }) = for_all(&self.steps) { *calibration } else { Calibration::default() }
    }

    /// The layers whose weights are to be multiplied in the format of what they read, though they lie in memory in fewer bits.
    ///
    /// # Errors
    /// A step that names no layer.
    pub fn wide(&self, network: &Network) -> Result<BTreeSet<LayerId>, CompressError> {
        let resolved = self.resolve(network)?;
        Ok(resolved.layers.iter().filter(|(_, formats)| formats.is_wide).map(|(id, _)| *id).collect())
    }

    /// Finds each layer's formats.
    pub(super) fn resolve(&self, network: &Network) -> Result<Resolved, CompressError> {
        let eight = LayerFormats::of(Scheme::EIGHT_BITS);
        let with_weights: Vec<LayerId> = network.layers().filter(|layer| has_weights(layer)).map(|layer| layer.id).collect();
        let mut resolved = Resolved { base: eight, layers: with_weights.iter().map(|id| (*id, eight)).collect() };
        for step in &self.steps {
            let Some((formats, patterns)) = step.formats() else {
                return Err(step.fault("its formats were not chosen yet", "choose them first (pipeline::choose_formats)"));
            };
            let is_binary = formats.scheme.is_binary();
            let ends = [with_weights.first(), with_weights.last()];
            let all = patterns.0.is_empty();
            for id in if all { with_weights.clone() } else { named(step, network)? } {
                let is_end = all && is_binary && with_weights.len() > 1 && ends.contains(&Some(&id));
                resolved.layers.insert(id, if is_end { eight } else { formats });
            }
            if all {
                resolved.base = formats;
            }
        }
        Ok(resolved)
    }
}

/// The format that a layer asks of the value that it reads as its argument `slot`; none where that is up to what reads the layer's own, with which
/// the value then shares a quantization.
fn asked(network: &Network, reader: &Layer, slot: usize, formats: &Resolved, is_tied: bool) -> Option<Dtype> {
    let Scheme { weight, activation } = formats.base.scheme;
    let [of_weights, of_values] = [weight, activation].map(|format| Ord::max(format, Dtype::Int8));
    match &reader.op {
        Op::Dense(_) | Op::Conv(_) => Some(formats.of(reader).scheme.activation),
        Op::MatMul if slot == 1 => Some(of_weights),
        Op::Softmax { .. } if reader.id == network.output().id => Some(of_values),
        Op::Unary(Function::Relu | Function::Clip { .. }) if !is_tied => Some(of_values),
        Op::Unary(Function::Relu | Function::Clip { .. }) | Op::Quantize => None,
        Op::Pool(pool) if pool.kind == PoolKind::Max => None,
        Op::Reshape(_) if keeps_rows(network, reader) => None,
        // What looks up a table, and what moves elements, which lie in bytes of their own then.
        Op::Softmax { .. } | Op::Unary(_) | Op::Reshape(_) | Op::Transpose(_) | Op::Slice(_) | Op::Concat { .. } | Op::Pad(_) => {
            Some(Dtype::Int8)
        }
        _ => Some(of_values),
    }
}

/// Whether a reshape leaves rows of elements where they are: it keeps the last axis, or flattens an image for dense layers, which read it as it lies.
fn keeps_rows(network: &Network, reshape: &Layer) -> bool {
    let from = &network.layer(network.inputs(reshape.id)[0]).output.shape;
    let to = &reshape.output.shape;
    let is_dense = |id: LayerId| matches!(network.layer(id).op, Op::Dense(_) | Op::Quantize);
    from.len() != 3 && from.last() == to.last()
        || from.len() == 3 && to.len() == 1 && network.consumers(reshape.id).into_iter().all(is_dense)
}

/// The least format that a layer can yield.
fn least(network: &Network, layer: &Layer) -> Dtype {
    match &layer.op {
        Op::Conv(conv) if conv.groups > 1 && !(conv.outputs() / conv.groups).is_multiple_of(8) => Dtype::Int8,
        Op::Unary(Function::PRelu { slopes }) if slopes.len() > 1 => Dtype::Int8,
        Op::Pool(pool) if pool.kind != PoolKind::Max => Dtype::Int8,
        Op::Reshape(_) if !keeps_rows(network, layer) => Dtype::Int8,
        Op::Input | Op::Dense(_) | Op::Conv(_) | Op::Unary(_) | Op::Quantize | Op::Pool(_) | Op::Reshape(_) => Dtype::Binary,
        _ => Dtype::Int8,
    }
}

/// The format of each value that has no quantization yet, one for all that share one; and whether it has no zero point.
pub(super) fn of_values(
    network: &Network,
    formats: &Resolved,
    group_of: impl Fn(LayerId) -> Option<LayerId>,
) -> BTreeMap<LayerId, (Dtype, Symmetry)> {
    let mut found: BTreeMap<LayerId, (Dtype, Symmetry)> = BTreeMap::new();
    let mut ask = |group: LayerId, format: Dtype, symmetry: Symmetry| {
        let known = found.entry(group).or_insert((format, symmetry));
        *known = (Ord::max(known.0, format), if symmetry == Symmetry::Symmetric { symmetry } else { known.1 });
    };
    for layer in network.layers() {
        let Some(group) = group_of(layer.id) else { continue };
        ask(group, least(network, layer), Symmetry::Affine);
        if host_reads(network, layer) {
            ask(group, Ord::max(formats.base.scheme.activation, Dtype::Int8), formats.base.activations);
        }
        for (reader, slot) in readers(network, layer) {
            if let Some(format) = asked(network, reader, slot, formats, group_of(reader.id) == Some(group)) {
                ask(group, format, formats.of(reader).activations);
            }
        }
    }
    // A difference from a zero point of 16 bits would not fit 16 bits.
    for (format, symmetry) in found.values_mut() {
        if matches!(format, Dtype::Int16 | Dtype::Binary) {
            *symmetry = Symmetry::Symmetric;
        }
    }
    found
}

/// What reads a value, and as which argument; a layer that reads it twice stands there twice.
fn readers<'n>(network: &'n Network, layer: &Layer) -> Vec<(&'n Layer, usize)> {
    let mut all = Vec::new();
    for reader in network.consumers(layer.id) {
        let slots = network.inputs(reader).into_iter().enumerate().filter(|(_, read)| *read == layer.id);
        all.extend(slots.map(|(slot, _)| (network.layer(reader), slot)));
    }
    all
}

/// The network with a rounding (`Quantize`) wherever a layer asks for another format than the value has that it reads: one for each value and format.
/// In float they do nothing. It must stand before calibration, which finds ranges for the roundings too.
///
/// # Errors
/// A step that names no layer.
pub fn with_roundings(network: &Network, formats: impl Into<Formats>) -> Result<Network, CompressError> {
    let formats = formats.into().resolve(network)?;
    let groups = groups(network);
    let known = of_values(network, &formats, |id| groups.group(id).filter(|group| !groups.is_fixed(*group)));
    let mut roundings: BTreeMap<(LayerId, Dtype), LayerId> = BTreeMap::new();
    remade(
        network,
        |layer| layer.output.quantization,
        |builder, layer, mut reads| {
            for (slot, read) in network.inputs(layer.id).into_iter().enumerate() {
                let of_group = groups.group(read).and_then(|group| known.get(&group).map(|(format, _)| *format));
                let given = network.layer(read).output.quantization.map(|quantization| quantization.dtype);
                let has = of_group.or(given.filter(|_| has_float_weights(&layer.op)));
                let asks = asked(network, layer, slot, &formats, groups.group(read) == groups.group(layer.id));
                // What moves elements takes any that lie in bytes of their own.
                let moves = matches!(layer.op, Op::Reshape(_) | Op::Transpose(_) | Op::Slice(_) | Op::Concat { .. } | Op::Pad(_));
                let differs = match (has, asks) {
                    _ if moves => None,
                    (Some(has), Some(asks)) if has_weights(layer) => (has != asks).then_some(asks),
                    // Others read what is narrower as it is, and tables what has 8 bits.
                    (Some(has), Some(asks)) => (has > asks && has > Dtype::Int8).then_some(asks),
                    _ => None,
                };
                let Some(format) = differs else { continue };
                reads[slot] = match roundings.get(&(read, format)) {
                    Some(rounding) => *rounding,
                    None => builder.layer(format!("{}/{format}", network.layer(read).name), Op::Quantize, &[reads[slot]])?,
                };
                roundings.insert((read, format), reads[slot]);
            }
            Ok(builder.layer(layer.name.clone(), layer.op.clone(), &reads)?)
        },
    )
}
