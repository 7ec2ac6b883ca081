//! Does what a recipe says, step by step, up to quantization.

use super::channels::{by_activity, by_norm};
use super::equalize::equalize;
use super::error::shown;
use super::lowrank::low_rank;
use super::matrix::{Matrix, counts, has_float_weights, has_weights};
use super::prune::prune;
use super::rebuild::rebuilt;
use super::recipe::{Patterns, Recipe, Step};
use super::{CompressError, Formats, matrix};
use crate::network::{Layer, LayerId, Network, fuse_activations};
use crate::numerics::Dtype;
use ndarray::ArrayView2;
use std::collections::BTreeMap;
use std::error::Error;
use std::fmt;

/// Names that a message lists at most.
const MOST_NAMES: usize = 20;

/// What a recipe wants to know besides the network.
#[derive(Debug, Clone, Copy)]
pub struct Surroundings<'a> {
    /// Calibration samples: n x elements of the network's input.
    pub samples: ArrayView2<'a, f32>,
    /// Rows of K and columns of channels of the array's own tile.
    pub tile: [usize; 2],
    /// Where other models come from; a step that asks for one is refused where there is nothing.
    pub outside: Option<&'a dyn Outside>,
}

/// What steps of a recipe take from outside of this module.
pub trait Outside: fmt::Debug {
    /// The network of another model, of this path or name.
    ///
    /// # Errors
    /// If there is none, or it does not take the samples that this one takes.
    fn load(&self, name: &str) -> Result<Network, Box<dyn Error + Send + Sync>>;

    /// The network with its weights trained as a step ([`Step::FineTune`]) says; through the formats of a recipe, where there is one, and then it is in
    /// integers. `samples` are those of [`Surroundings`].
    ///
    /// # Errors
    /// If it cannot be trained, or nothing here can train.
    fn fine_tune(
        &self,
        network: &Network,
        step: &Step,
        formats: Option<&Recipe>,
        samples: ArrayView2<'_, f32>,
    ) -> Result<Network, Box<dyn Error + Send + Sync>>;
}

/// What a step left.
#[derive(Debug, Clone, PartialEq)]
pub struct StepReport {
    /// The step.
    pub step: Step,
    /// Each layer that it names or changes.
    pub layers: Vec<LayerReport>,
}

/// What a step left of a layer's weights.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LayerReport {
    /// The layer's name.
    pub layer: String,
    /// Weights before the step; 0 of a layer that it made.
    pub weights_before: u64,
    /// Weights, zeros included.
    pub weights: u64,
    /// Those that are zero.
    pub zeros: u64,
}

impl LayerReport {
    /// The share of weights that are zero, 0 to 1.
    pub fn sparsity(&self) -> f64 {
        self.zeros as f64 / self.weights.max(1) as f64
    }
}

impl Recipe {
    /// The network after all steps before quantization, and what each did. Activations should be fused already (`network::fuse_activations`), so
    /// that channels are judged behind theirs.
    ///
    /// # Errors
    /// A step that names no layer, or that this network cannot be given; one that makes weights zero which a later step makes binary, where a zero
    /// would be +1.
    pub fn prune(&self, network: &Network, around: Surroundings<'_>) -> Result<(Network, Vec<StepReport>), CompressError> {
        let mut network = network.clone();
        let mut reports = Vec::new();
        for step in self.pruning() {
            let named = if matches!(step, Step::Load(_)) { Vec::new() } else { named(step, &network)? };
            let after = match step {
                Step::FineTune { float, .. } => self.tuned(step, *float, &network, around)?,
                _ => applied(step, &network, &named, around)?,
            };
            reports.push(report(step, &network, &after, &named)?);
            network = after;
        }
        self.refuse_binary(&network, &reports)?;
        Ok((network, reports))
    }

    /// The network trained once more, through the recipe's formats if it has any and is not to stay float.
    fn tuned(&self, step: &Step, float: bool, network: &Network, around: Surroundings<'_>) -> Result<Network, CompressError> {
        let Some(outside) = around.outside else {
            return Err(step.fault("nothing can train here", "leave it out"));
        };
        let formats = if float || self.quantization().is_empty() { None } else { Some(self.quantization_of(network)) };
        let trained = outside.fine_tune(network, step, formats.as_ref(), around.samples);
        trained.map_err(|error| CompressError::Outside { step: shown(&step.to_string()), error })
    }

    /// Refuses zeros in layers whose weights are to be signs.
    fn refuse_binary(&self, network: &Network, reports: &[StepReport]) -> Result<(), CompressError> {
        let resolved = Formats::fixed(self).resolve(network)?;
        let signs = |name: &String| {
            let mut layers = network.layers().filter(|layer| has_weights(layer) && layer.name == *name);
            layers.any(|layer| has_float_weights(&layer.op) && resolved.of(layer).scheme.weight == Dtype::Binary)
        };
        for StepReport { step, layers } in reports.iter().filter(|report| report.step.makes_zeros()) {
            if let Some(LayerReport { layer, .. }) = layers.iter().find(|report| signs(&report.layer)) {
                let problem = format!("the weights of layer \"{layer}\" become binary, and binary weights have no zero");
                return Err(
                    step.fault(problem, "name the layers that stay wider (layers: [..], or @PATTERN), or give this one wider weights")
                );
            }
        }
        Ok(())
    }
}

/// The layers with weights that a step names.
pub(super) fn named(step: &Step, network: &Network) -> Result<Vec<LayerId>, CompressError> {
    let layers: Vec<&Layer> = network.layers().filter(|layer| has_weights(layer)).collect();
    let everything = Patterns::default();
    let patterns = step.layers().unwrap_or(&everything);
    let is_of_none = |pattern: &&String| !layers.iter().any(|layer| Patterns(vec![(*pattern).clone()]).names(&layer.name));
    if layers.is_empty() || patterns.0.iter().any(|pattern| is_of_none(&pattern)) {
        let pattern = patterns.0.iter().find(is_of_none).map_or("*", String::as_str);
        let mut names: Vec<&str> = layers.iter().map(|layer| layer.name.as_str()).collect();
        let more = names.len().saturating_sub(MOST_NAMES);
        names.truncate(MOST_NAMES);
        let more = if more == 0 { String::new() } else { format!(" and {more} more") };
        return Err(CompressError::NoLayer { step: shown(&step.to_string()), pattern: shown(pattern), has: names.join(", ") + &more });
    }
    Ok(layers.iter().filter(|layer| patterns.names(&layer.name)).map(|layer| layer.id).collect())
}

fn applied(step: &Step, network: &Network, named: &[LayerId], around: Surroundings<'_>) -> Result<Network, CompressError> {
    match step {
        Step::Load(name) => loaded(step, name, network, around),
        Step::Channel { fraction, by, .. } => by_norm(network, step, *fraction, *by, named),
        Step::FeatureMap { fraction, by, .. } => by_activity(network, step, *fraction, *by, named, around.samples),
        Step::LowRank { keep, .. } => low_rank(network, step, *keep, named),
        Step::Equalize { .. } => equalize(network, step, named),
        Step::MeanThreshold { .. }
        | Step::Magnitude { .. }
        | Step::NM { .. }
        | Step::Block { .. }
        | Step::FineTune { .. }
        | Step::Quantize { .. }
        | Step::MixedPrecision { .. } => {
            let mut layers: Vec<Matrix> = named.iter().map(|id| Matrix::of(network, network.layer(*id))).collect::<Result<_, _>>()?;
            prune(step, &mut layers, around.tile);
            let mut pruned: BTreeMap<LayerId, Matrix> = named.iter().copied().zip(layers).collect();
            rebuilt(network, |layer| {
                let op = pruned.remove(&layer.id).map_or_else(|| layer.op.clone(), |matrix| matrix.into_op(&layer.op));
                Ok(vec![(layer.name.clone(), op)])
            })
        }
    }
}

/// Another model's network, in the place of this one.
fn loaded(step: &Step, name: &str, network: &Network, around: Surroundings<'_>) -> Result<Network, CompressError> {
    let Some(outside) = around.outside else {
        return Err(step.fault("there are no other models here", "leave it out, and begin with that model"));
    };
    let loaded = outside.load(name).map_err(|error| CompressError::Outside { step: shown(&step.to_string()), error })?;
    let sizes = |network: &Network| (network.input().output.elements(), network.logits().output.elements());
    let ((takes, yields), (wanted, classes)) = (sizes(&loaded), sizes(network));
    if (takes, yields) != (wanted, classes) {
        let problem =
            format!("it takes {takes} numbers and yields {yields}, and the network in whose place it is to stand {wanted} and {classes}");
        return Err(step.fault(problem, "load a network for the same task"));
    }
    Ok(fuse_activations(&loaded)?)
}

/// What a step made of each layer.
fn report(step: &Step, before: &Network, after: &Network, named: &[LayerId]) -> Result<StepReport, CompressError> {
    let mut old: BTreeMap<&str, (u64, u64, bool)> = BTreeMap::new();
    for layer in before.layers().filter(|layer| has_weights(layer)) {
        let (weights, zeros) = counts(&layer.op);
        old.insert(&layer.name, (weights, zeros, named.contains(&layer.id)));
    }
    let mut layers = Vec::new();
    for layer in after.layers().filter(|layer| matrix::has_weights(layer)) {
        let (weights, zeros) = counts(&layer.op);
        let (weights_before, zeros_before, is_named) = old.get(layer.name.as_str()).copied().unwrap_or((0, 0, true));
        if zeros == weights && zeros_before < weights_before {
            return Err(CompressError::Nothing { step: step.to_string(), layer: layer.name.clone() });
        }
        if is_named || weights != weights_before {
            layers.push(LayerReport { layer: layer.name.clone(), weights_before, weights, zeros });
        }
    }
    Ok(StepReport { step: step.clone(), layers })
}
