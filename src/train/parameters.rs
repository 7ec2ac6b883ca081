//! What is trained: flat lists of numbers with their names, and what each is.

use burn_tensor::{Device, Tensor, TensorData};

/// What a parameter is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// Weights of a layer.
    Weight,
    /// Weights of which the sign counts.
    Sign,
    /// A bias, or the factor or shift of a batch normalisation.
    Shift,
    /// The scale of a grid.
    Scale,
}

impl Kind {
    /// Whether it is weights.
    pub(super) const fn is_weight(self) -> bool {
        matches!(self, Self::Weight | Self::Sign)
    }
}

/// One parameter.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Parameter {
    /// Its name in checkpoints: the layer's, and what it is there.
    pub(super) name: String,
    /// What it is.
    pub(super) kind: Kind,
    /// The sizes of its axes.
    pub(super) shape: Vec<usize>,
    /// Its numbers, row-major.
    pub(super) values: Vec<f32>,
    /// Which of them may be other than 0; all where there is nothing.
    pub(super) kept: Option<Vec<bool>>,
}

impl Parameter {
    /// A parameter without a mask.
    pub(super) fn new(name: String, kind: Kind, shape: &[usize], values: Vec<f32>) -> Self {
        Self { name, kind, shape: shape.to_vec(), values, kept: None }
    }

    /// Makes zero what is masked.
    pub(super) fn mask(&mut self) {
        if let Some(kept) = &self.kept {
            self.values.iter_mut().zip(kept).filter(|(_, kept)| !**kept).for_each(|(value, _)| *value = 0.0);
        }
    }

    /// A mask that holds what is zero now; none where nothing is.
    pub(super) fn hold_zeros(&mut self) {
        let kept: Vec<bool> = self.values.iter().map(|value| *value != 0.0).collect();
        self.kept = kept.contains(&false).then_some(kept);
    }

    /// Its numbers as a tensor, whose gradient is wanted where the device records.
    pub(super) fn leaf(&self, device: &Device) -> Tensor<1> {
        let leaf = Tensor::from_data(TensorData::new(self.values.clone(), [self.values.len()]), device);
        if device.is_autodiff() { leaf.require_grad() } else { leaf }
    }
}

/// Numbers that training keeps beside what it trains: running means and variances.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Running {
    /// The layer's name.
    pub(super) name: String,
    /// For each channel the mean of its sums.
    pub(super) mean: Vec<f32>,
    /// And their variance.
    pub(super) variance: Vec<f32>,
}

impl Running {
    /// Takes in a batch's mean and variance, the newest counting as `share`.
    pub(super) fn take_in(&mut self, mean: &[f32], variance: &[f32], share: f32) {
        for (own, new) in [(&mut self.mean, mean), (&mut self.variance, variance)] {
            own.iter_mut().zip(new).for_each(|(own, new)| *own += share * (new - *own));
        }
    }
}
