//! What a run leaves behind: every layer's values for every sample. Not here: how they are computed.

use crate::network::LayerId;
use ndarray::Array2;
use std::collections::BTreeMap;

/// The values of every layer: for each, samples x elements of one sample in row-major order.
#[derive(Debug, Clone, PartialEq)]
pub struct Trace {
    values: BTreeMap<LayerId, Array2<f32>>,
    output: LayerId,
    logits: LayerId,
}

impl Trace {
    pub(super) fn new(values: BTreeMap<LayerId, Array2<f32>>, output: LayerId, logits: LayerId) -> Self {
        Self { values, output, logits }
    }

    /// What a layer yielded, samples x elements.
    ///
    /// # Panics
    /// If `id` comes from another network.
    pub fn layer(&self, id: LayerId) -> &Array2<f32> {
        &self.values[&id]
    }

    /// What the network yielded, samples x elements.
    pub fn output(&self) -> &Array2<f32> {
        self.layer(self.output)
    }

    /// What is compared and scored, samples x elements: the output, or what a final softmax reads.
    pub fn logits(&self) -> &Array2<f32> {
        self.layer(self.logits)
    }

    /// All layers' values, in the order in which the layers were added.
    pub fn iter(&self) -> impl Iterator<Item = (LayerId, &Array2<f32>)> {
        self.values.iter().map(|(id, values)| (*id, values))
    }
}
