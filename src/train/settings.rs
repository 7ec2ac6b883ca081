//! How training is done: what a user may choose, and what of it makes no sense.

use super::TrainError;
use serde::{Deserialize, Serialize};

/// How training is done.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Settings {
    /// Passes over the train split.
    pub epochs: usize,
    /// Samples of a step; the last step of an epoch may have fewer.
    pub batch: usize,
    /// How weights follow their gradients.
    pub optimizer: OptimizerKind,
    /// The learning rate of the first step.
    pub lr: f64,
    /// How it goes on.
    pub schedule: Schedule,
    /// What is to be little.
    pub loss: Loss,
    /// Each image is shifted by up to this many pixels, up or down and left or right, at random.
    pub shift: usize,
    /// The seed of weights that are drawn, of the order of samples and of shifts.
    pub seed: u64,
    /// Which epoch's weights are kept.
    pub keep: Keep,
    /// Where the scales of fake quantization come from.
    pub scales: Scales,
    /// The share of weights that are pruned by magnitude while training, growing from none: Zhu and Gupta's schedule.
    pub sparsity: Option<f64>,
    /// What softens a teacher's outputs and the student's.
    pub temperature: f64,
    /// The teacher's share of the loss, 0 to 1.
    pub distill_weight: f64,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            epochs: 10,
            batch: 64,
            optimizer: OptimizerKind::Adam,
            lr: 1e-3,
            schedule: Schedule::Constant,
            loss: Loss::CrossEntropy,
            shift: 0,
            seed: 1,
            keep: Keep::Last,
            scales: Scales::Learned,
            sparsity: None,
            temperature: 4.0,
            distill_weight: 0.5,
        }
    }
}

/// How weights follow their gradients.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub enum OptimizerKind {
    /// Adam (Kingma and Ba, ICLR 2015): decays of 0.9 and 0.999, epsilon 1e-7 where Keras has it.
    Adam,
    /// The same with decoupled weight decay (Loshchilov and Hutter, ICLR 2019).
    AdamW {
        /// What weights lose of themselves in a step, in learning rates.
        weight_decay: f64,
    },
    /// Stochastic gradient descent with momentum: `v = momentum v - lr g; w += v`.
    Sgd {
        /// What is kept of the velocity.
        momentum: f64,
    },
}

/// How the learning rate goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Schedule {
    /// As it begins.
    #[default]
    Constant,
    /// `lr (1 + cos(pi t)) / 2`, t being the share of all steps that are done (Loshchilov and Hutter, ICLR 2017, without restarts).
    Cosine,
    /// A tenth from half of the steps on, a hundredth from three quarters on.
    Step,
}

impl Schedule {
    /// The learning rate of a step, from 0, of so many.
    pub fn rate(self, lr: f64, step: usize, steps: usize) -> f64 {
        let done = step as f64 / steps.max(1) as f64;
        match self {
            Self::Constant => lr,
            Self::Cosine => lr * 0.5 * (1.0 + libm::cos(std::f64::consts::PI * done)),
            Self::Step if done < 0.5 => lr,
            Self::Step if done < 0.75 => lr * 0.1,
            Self::Step => lr * 0.01,
        }
    }
}

/// What is to be little.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Loss {
    /// Sparse categorical cross-entropy of the softmax of the outputs, the mean over samples.
    #[default]
    CrossEntropy,
    /// The mean squared difference of the outputs from 1 for the label's class and 0 for the others.
    Mse,
}

/// Which epoch's weights are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Keep {
    /// The last one's.
    #[default]
    Last,
    /// The one's with the best accuracy on the select split; of equal ones the first.
    Best,
}

/// Where the scales of fake quantization come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum Scales {
    /// Trained with the weights (Esser et al., Learned Step Size Quantization, ICLR 2020), from where that paper begins: `2 mean(|w|) / sqrt(max)` for
    /// weights, and from the calibrated ones for values.
    #[default]
    Learned,
    /// As post-training quantization has them: of weights by their greatest magnitude in each step, of values as calibrated.
    Calibrated,
}

impl Settings {
    /// Refuses what makes no sense.
    ///
    /// # Errors
    /// A number out of its range.
    pub fn check(&self) -> Result<(), TrainError> {
        let demand =
            |holds: bool, option, value: String, help| if holds { Ok(()) } else { Err(TrainError::Option { option, value, help }) };
        demand((1..=100_000).contains(&self.epochs), "epochs", self.epochs.to_string(), "choose 1 to 100,000 epochs")?;
        demand((1..=65_536).contains(&self.batch), "batch", self.batch.to_string(), "choose 1 to 65,536 samples")?;
        demand(self.lr.is_finite() && self.lr > 0.0, "lr", self.lr.to_string(), "it is a finite number above 0, such as 1e-3")?;
        demand(self.shift <= 64, "shift", self.shift.to_string(), "choose 0 to 64 pixels")?;
        let is_share = |x: f64| (0.0..=1.0).contains(&x);
        demand(is_share(self.distill_weight), "distill-weight", self.distill_weight.to_string(), "it is a share: 0 to 1")?;
        let temperature = self.temperature;
        demand(temperature.is_finite() && temperature > 0.0, "temperature", temperature.to_string(), "it is a finite number above 0")?;
        let sparsity = self.sparsity.unwrap_or(0.0);
        demand((0.0..1.0).contains(&sparsity), "sparsity", sparsity.to_string(), "it is a share: 0 or more, and less than 1")?;
        match self.optimizer {
            OptimizerKind::AdamW { weight_decay } => demand(
                weight_decay.is_finite() && weight_decay >= 0.0,
                "weight-decay",
                weight_decay.to_string(),
                "it is a finite number, 0 or more, such as 0.01",
            ),
            OptimizerKind::Sgd { momentum } => {
                demand((0.0..1.0).contains(&momentum), "momentum", momentum.to_string(), "it is a share: 0 or more, and less than 1")
            }
            OptimizerKind::Adam => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rates_are_those_of_the_formulas() {
        assert_eq!([0, 50, 99].map(|step| Schedule::Constant.rate(0.5, step, 100)), [0.5; 3]);
        let cosine = [0, 25, 50, 75].map(|step| Schedule::Cosine.rate(2.0, step, 100));
        let wanted = [2.0, 1.0 + 0.5_f64.sqrt(), 1.0, 1.0 - 0.5_f64.sqrt()];
        assert!(cosine.iter().zip(wanted).all(|(found, wanted)| (found - wanted).abs() < 1e-12), "{cosine:?}");
        let steps = [0, 49, 50, 74, 75, 99].map(|step| Schedule::Step.rate(1.0, step, 100));
        assert!(steps.iter().zip([1.0, 1.0, 0.1, 0.1, 0.01, 0.01]).all(|(found, wanted)| (found - wanted).abs() < 1e-12), "{steps:?}");
    }

    #[test]
    fn what_makes_no_sense_is_refused_by_name() {
        let plain = Settings::default;
        for (settings, part) in [
            (Settings { epochs: 0, ..plain() }, "--epochs is 0"),
            (Settings { batch: 0, ..plain() }, "--batch is 0"),
            (Settings { lr: f64::NAN, ..plain() }, "--lr is NaN"),
            (Settings { lr: -1.0, ..plain() }, "--lr is -1"),
            (Settings { temperature: 0.0, ..plain() }, "--temperature is 0"),
            (Settings { distill_weight: 1.5, ..plain() }, "--distill-weight is 1.5"),
            (Settings { sparsity: Some(1.0), ..plain() }, "--sparsity is 1"),
            (Settings { optimizer: OptimizerKind::Sgd { momentum: 1.0 }, ..plain() }, "--momentum is 1"),
            (Settings { optimizer: OptimizerKind::AdamW { weight_decay: -0.1 }, ..plain() }, "--weight-decay is -0.1"),
            (Settings { shift: 100, ..plain() }, "--shift is 100"),
        ] {
            let error = settings.check().unwrap_err().to_string();
            assert!(error.contains(part) && error.contains("\n  help: "), "{error}");
        }
        assert!(plain().check().is_ok());
    }
}
