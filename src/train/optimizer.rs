//! How parameters follow their gradients: Adam, `AdamW` and stochastic gradient descent with momentum, element by element in f32 and in a fixed order.

use super::parameters::{Kind, Parameter};
use super::settings::OptimizerKind;

const BETA_1: f64 = 0.9;
const BETA_2: f64 = 0.999;
/// Keras' epsilon, added to the root as Kingma and Ba's section 2 has it in its efficient form.
const EPSILON: f64 = 1e-7;

/// What an optimizer remembers of the steps before.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Optimizer {
    kind: OptimizerKind,
    /// Steps that are done.
    pub(super) step: u64,
    /// For each parameter its first moments, or velocities.
    pub(super) first: Vec<Vec<f32>>,
    /// For each parameter its second moments; empty where there are none.
    pub(super) second: Vec<Vec<f32>>,
}

impl Optimizer {
    /// At rest.
    pub(super) fn new(kind: OptimizerKind, parameters: &[Parameter]) -> Self {
        let zeros = || parameters.iter().map(|parameter| vec![0.0; parameter.values.len()]).collect();
        let second = if matches!(kind, OptimizerKind::Sgd { .. }) { vec![Vec::new(); parameters.len()] } else { zeros() };
        Self { kind, step: 0, first: zeros(), second }
    }

    /// One step at a learning rate. Scales move in their logarithm, so that they stay above 0 and move alike whatever they measure; what is masked stays 0;
    /// weights of which the sign counts stay between -1 and 1, where their gradient passes.
    pub(super) fn apply(&mut self, parameters: &mut [Parameter], gradients: &[Vec<f32>], lr: f64) {
        self.step += 1;
        let steps = i32::try_from(self.step).unwrap_or(i32::MAX);
        // What has been gathered of the moments so far, as a share.
        let (first_share, second_share) = (1.0 - BETA_1.powi(steps), 1.0 - BETA_2.powi(steps));
        #[expect(clippy::cast_possible_truncation, reason = "weights are f32")]
        let rate = (lr * second_share.sqrt() / first_share) as f32;
        let moments = self.first.iter_mut().zip(&mut self.second);
        for ((parameter, gradient), (first, second)) in parameters.iter_mut().zip(gradients).zip(moments) {
            update(self.kind, parameter, gradient, [first, second], rate, lr);
        }
    }
}

#[expect(clippy::cast_possible_truncation, reason = "weights are f32")]
fn update(kind: OptimizerKind, parameter: &mut Parameter, gradient: &[f32], [first, second]: [&mut Vec<f32>; 2], rate: f32, lr: f64) {
    let is_scale = parameter.kind == Kind::Scale;
    let is_sign = parameter.kind == Kind::Sign;
    let decay = match kind {
        OptimizerKind::AdamW { weight_decay } if parameter.kind.is_weight() => (lr * weight_decay) as f32,
        _ => 0.0,
    };
    let (beta_1, beta_2, epsilon) = (BETA_1 as f32, BETA_2 as f32, EPSILON as f32);
    for place in 0..parameter.values.len() {
        let value = parameter.values[place];
        let slope = if is_scale { gradient[place] * value } else { gradient[place] };
        let change = if let OptimizerKind::Sgd { momentum } = kind {
            first[place] = momentum as f32 * first[place] - lr as f32 * slope;
            first[place]
        } else {
            first[place] = beta_1 * first[place] + (1.0 - beta_1) * slope;
            second[place] = beta_2 * second[place] + (1.0 - beta_2) * slope * slope;
            -rate * first[place] / (second[place].sqrt() + epsilon)
        };
        parameter.values[place] = if is_scale {
            // A step of more than e would throw the grid away.
            value * libm::expf(change.clamp(-1.0, 1.0))
        } else if is_sign {
            (value + change - decay * value).clamp(-1.0, 1.0)
        } else {
            value + change - decay * value
        };
    }
    parameter.mask();
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parameter(kind: Kind, values: &[f32]) -> Parameter {
        Parameter { name: "w".to_string(), kind, shape: vec![values.len()], values: values.to_vec(), kept: None }
    }

    /// Values after steps with the gradients `w` of `w^2 / 2`, in f64 by the papers' own formulas.
    fn by_formula(kind: OptimizerKind, mut w: f64, lr: f64, steps: i32) -> f64 {
        let (mut m, mut v) = (0.0, 0.0);
        for t in 1..=steps {
            let g = w;
            match kind {
                OptimizerKind::Sgd { momentum } => {
                    m = momentum * m - lr * g;
                    w += m;
                }
                OptimizerKind::Adam | OptimizerKind::AdamW { .. } => {
                    m = 0.9 * m + 0.1 * g;
                    v = 0.999 * v + 0.001 * g * g;
                    let (m_hat, v_hat) = (m / (1.0 - 0.9_f64.powi(t)), v / (1.0 - 0.999_f64.powi(t)));
                    let decay = if let OptimizerKind::AdamW { weight_decay } = kind { weight_decay } else { 0.0 };
                    w -= lr * (m_hat / (v_hat.sqrt() + 1e-7) + decay * w);
                }
            }
        }
        w
    }

    #[test]
    fn steps_are_those_of_the_papers() {
        for kind in [OptimizerKind::Adam, OptimizerKind::AdamW { weight_decay: 0.1 }, OptimizerKind::Sgd { momentum: 0.9 }] {
            let mut parameters = vec![parameter(Kind::Weight, &[2.0, -0.5])];
            let mut optimizer = Optimizer::new(kind, &parameters);
            for _ in 0..50 {
                let gradients = vec![parameters[0].values.clone()];
                optimizer.apply(&mut parameters, &gradients, 0.02);
            }
            for (found, start) in parameters[0].values.iter().zip([2.0, -0.5]) {
                let wanted = by_formula(kind, start, 0.02, 50);
                assert!((f64::from(*found) - wanted).abs() < 1e-4, "{kind:?}: {found} and {wanted}");
            }
        }
    }

    #[test]
    fn masks_hold_scales_stay_positive_and_signs_stay_within_one() {
        for kind in [OptimizerKind::AdamW { weight_decay: 0.5 }, OptimizerKind::Sgd { momentum: 0.9 }] {
            let mut masked = parameter(Kind::Weight, &[0.0, 1.0]);
            masked.kept = Some(vec![false, true]);
            let mut parameters = vec![masked, parameter(Kind::Scale, &[0.1]), parameter(Kind::Sign, &[0.9])];
            let mut optimizer = Optimizer::new(kind, &parameters);
            for _ in 0..20 {
                optimizer.apply(&mut parameters, &[vec![5.0, 5.0], vec![100.0], vec![-10.0]], 0.5);
            }
            assert_eq!(parameters[0].values[0].to_bits(), 0.0_f32.to_bits());
            assert!(parameters[1].values[0] > 0.0 && parameters[1].values[0] < 0.1);
            assert!((parameters[2].values[0] - 1.0).abs() < 1e-6);
        }
    }
}
