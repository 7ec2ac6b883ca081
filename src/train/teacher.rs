//! A teacher: a trained network whose outputs a student learns beside the labels.

use super::TrainError;
use super::batches::Batch;
use super::graph::{Graph, Parts, rows};
use super::parameters::Parameter;
use super::trainer::judged;
use crate::network::Network;
use burn_tensor::{Device, Tensor, TensorData};
use ndarray::{Array2, Axis};
use std::collections::BTreeSet;

/// A network that is only asked.
#[derive(Debug)]
pub struct Teacher {
    graph: Graph,
    parameters: Vec<Parameter>,
    /// A factor, and what is added then: what makes of a student's number the teacher's.
    prepared: [f32; 2],
}

impl Teacher {
    /// Makes a network a teacher, quantized ones too, of a student that takes and yields as many numbers; `prepared` are a factor, and what is added
    /// then, that make of a number as the student takes it the one that the teacher does.
    ///
    /// # Errors
    /// A layer that cannot be computed here, or sizes that differ.
    pub fn new(teacher: &Network, student: &Network, prepared: [f32; 2]) -> Result<Self, TrainError> {
        let sizes = |network: &Network| (network.input().output.elements(), network.logits().output.elements());
        let ((takes, yields), (wanted, classes)) = (sizes(teacher), sizes(student));
        if (takes, yields) != (wanted, classes) {
            let problem = format!("takes {takes} numbers and yields {yields}, and the student {wanted} and {classes}");
            return Err(TrainError::Teacher { teacher: teacher.name().to_string(), problem });
        }
        let Parts { graph, parameters, .. } = Graph::of(teacher, teacher, &BTreeSet::new(), None)?;
        Ok(Self { graph, parameters, prepared })
    }

    /// Logits of samples (n x elements): n x outputs.
    fn logits(&self, inputs: &Array2<f32>) -> Array2<f32> {
        let [factor, offset] = self.prepared;
        if (factor.to_bits(), offset.to_bits()) == (1.0_f32.to_bits(), 0.0_f32.to_bits()) {
            return judged(&self.graph, &self.parameters, &[], inputs);
        }
        judged(&self.graph, &self.parameters, &[], &inputs.mapv(|x| x * factor + offset))
    }
}

/// What a teacher says of the samples of a training.
pub(super) enum Lessons<'t> {
    /// It is asked about every batch, whose images move.
    Asked(&'t Teacher),
    /// Of each sample as it is, n x outputs: it was asked once.
    Known(Array2<f32>),
}

impl<'t> Lessons<'t> {
    /// Of these samples (n x elements).
    pub(super) fn of(teacher: &'t Teacher, inputs: &Array2<f32>, do_images_move: bool) -> Self {
        if do_images_move { Self::Asked(teacher) } else { Self::Known(teacher.logits(inputs)) }
    }

    /// The teacher's logits of a batch: its samples x outputs.
    pub(super) fn of_batch(&self, batch: &Batch, device: &Device) -> Tensor<2> {
        let samples = batch.labels.len();
        let logits = match self {
            Self::Known(all) => all.select(Axis(0), &batch.places),
            Self::Asked(teacher) => {
                let inputs = Array2::from_shape_vec((samples, batch.inputs.len() / samples), batch.inputs.clone());
                teacher.logits(&inputs.expect("bug: the samples of a batch have as many numbers each"))
            }
        };
        let outputs = logits.ncols();
        Tensor::from_data(TensorData::new(rows(&logits), [samples, outputs]), device)
    }
}
