//! A teacher: a trained network whose outputs a student learns beside the labels.

use super::TrainError;
use super::forward::Mode;
use super::graph::{Graph, Parts};
use super::parameters::Parameter;
use crate::network::Network;
use burn_tensor::{Device, Tensor, TensorData};
use std::collections::BTreeSet;

/// A network that is only asked.
#[derive(Debug)]
pub struct Teacher {
    graph: Graph,
    parameters: Vec<Parameter>,
}

impl Teacher {
    /// Makes a network a teacher, quantized ones too, of a student that takes and yields as many numbers.
    ///
    /// # Errors
    /// A layer that cannot be computed here, or sizes that differ.
    pub fn new(teacher: &Network, student: &Network) -> Result<Self, TrainError> {
        let sizes = |network: &Network| (network.input().output.elements(), network.logits().output.elements());
        let ((takes, yields), (wanted, classes)) = (sizes(teacher), sizes(student));
        if (takes, yields) != (wanted, classes) {
            let problem = format!("takes {takes} numbers and yields {yields}, and the student {wanted} and {classes}");
            return Err(TrainError::Teacher { teacher: teacher.name().to_string(), problem });
        }
        let Parts { graph, parameters, .. } = Graph::new(teacher, teacher, &BTreeSet::new(), None)?;
        Ok(Self { graph, parameters })
    }

    /// Logits of samples, row-major.
    pub(super) fn logits(&self, inputs: Vec<f32>, samples: usize) -> Vec<f32> {
        let device = Device::flex();
        let elements = inputs.len() / samples.max(1);
        let inputs = Tensor::from_data(TensorData::new(inputs, [samples, elements]), &device);
        let leaves: Vec<Tensor<1>> = self.parameters.iter().map(|parameter| parameter.leaf(&device)).collect();
        let passed = self.graph.forward(inputs, &self.parameters, &leaves, &[], Mode::Judging);
        passed.logits.into_data().try_to_vec().unwrap_or_default()
    }
}
