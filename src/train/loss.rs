//! What is to be little: cross-entropy, squared differences, and a teacher's softened outputs.

use super::settings::{Loss, Settings};
use burn_tensor::activation::log_softmax;
use burn_tensor::{Device, Int, Tensor, TensorData};

/// The loss of a batch: the mean over its samples. With a teacher's logits it is Hinton's (Hinton, Vinyals and Dean, 2015): `w T^2 KL(p, q) + (1 - w)
/// hard`, p and q being the softmax of the teacher's and the student's logits, each divided by the temperature T; T squared keeps the gradient's size.
pub(super) fn loss(settings: &Settings, logits: Tensor<2>, labels: &[u32], teacher: Option<Tensor<2>>) -> Tensor<1> {
    let Some(teacher) = teacher else { return hard(settings.loss, logits, labels) };
    #[expect(clippy::cast_possible_truncation, reason = "losses are f32")]
    let (temperature, share) = (settings.temperature as f32, settings.distill_weight as f32);
    let soft = softened(logits.clone(), teacher, temperature);
    soft.mul_scalar(share) + hard(settings.loss, logits, labels).mul_scalar(1.0 - share)
}

fn hard(loss: Loss, logits: Tensor<2>, labels: &[u32]) -> Tensor<1> {
    let [samples, classes] = logits.dims();
    let device = logits.device();
    match loss {
        Loss::CrossEntropy => {
            let places: Vec<i64> = labels.iter().map(|label| i64::from(*label)).collect();
            let places = Tensor::<2, Int>::from_data(TensorData::new(places, [samples, 1]), &device);
            log_softmax(logits, 1).gather(1, places).mean().neg()
        }
        Loss::Mse => {
            let difference = logits - one_hot(labels, classes, &device);
            (difference.clone() * difference).mean()
        }
    }
}

/// 1 for the label's class, 0 for the others.
fn one_hot(labels: &[u32], classes: usize, device: &Device) -> Tensor<2> {
    let mut wanted = vec![0.0_f32; labels.len() * classes];
    labels.iter().enumerate().for_each(|(sample, label)| wanted[sample * classes + *label as usize] = 1.0);
    Tensor::from_data(TensorData::new(wanted, [labels.len(), classes]), device)
}

/// `T^2 KL(p, q)`, the mean over samples.
fn softened(student: Tensor<2>, teacher: Tensor<2>, temperature: f32) -> Tensor<1> {
    let [samples, _] = student.dims();
    let wanted = log_softmax(teacher.detach().div_scalar(temperature), 1);
    let found = log_softmax(student.div_scalar(temperature), 1);
    let divergence = wanted.clone().exp() * (wanted - found);
    divergence.sum().mul_scalar(temperature * temperature / samples as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    const STUDENT: [f64; 6] = [0.5, -1.0, 2.0, 0.0, 0.3, -0.4];
    const TEACHER: [f64; 6] = [1.5, 0.2, 0.1, -2.0, 3.0, 0.0];
    const LABELS: [u32; 2] = [2, 1];

    fn log_softmax_of(row: &[f64]) -> Vec<f64> {
        let sum: f64 = row.iter().map(|x| x.exp()).sum();
        row.iter().map(|x| x - sum.ln()).collect()
    }

    /// The loss in f64, by its definition.
    fn by_definition(settings: &Settings, student: &[f64], with_teacher: bool) -> f64 {
        let mut sum = 0.0;
        for (sample, label) in LABELS.iter().enumerate() {
            let row = &student[3 * sample..3 * sample + 3];
            let label = *label as usize;
            let hard = match settings.loss {
                Loss::CrossEntropy => -log_softmax_of(row)[label],
                Loss::Mse => (0..3).map(|class| (row[class] - f64::from(u8::from(class == label))).powi(2)).sum::<f64>() / 3.0,
            };
            let t = settings.temperature;
            let divided = |row: &[f64]| log_softmax_of(&row.iter().map(|x| x / t).collect::<Vec<_>>());
            let (p, q) = (divided(&TEACHER[3 * sample..3 * sample + 3]), divided(row));
            let soft: f64 = p.iter().zip(&q).map(|(p, q)| p.exp() * (p - q)).sum::<f64>() * t * t;
            let w = settings.distill_weight;
            sum += if with_teacher { w * soft + (1.0 - w) * hard } else { hard };
        }
        sum / 2.0
    }

    #[test]
    fn losses_and_their_gradients_are_those_of_the_definition() {
        #[expect(clippy::cast_possible_truncation, reason = "small numbers")]
        let tensor = |values: &[f64], device: &Device| {
            Tensor::<2>::from_data(TensorData::new(values.iter().map(|x| *x as f32).collect::<Vec<_>>(), [2, 3]), device)
        };
        let device = Device::flex().autodiff();
        for hard in [Loss::CrossEntropy, Loss::Mse] {
            for (with_teacher, temperature, distill_weight) in [(false, 1.0, 0.5), (true, 4.0, 0.5), (true, 2.0, 1.0), (true, 3.0, 0.2)] {
                let settings = Settings { loss: hard, temperature, distill_weight, ..Settings::default() };
                let student = tensor(&STUDENT, &device).require_grad();
                let found = loss(&settings, student.clone(), &LABELS, with_teacher.then(|| tensor(&TEACHER, &device)));
                let value: Vec<f32> = found.clone().into_data().try_to_vec().unwrap();
                assert!((f64::from(value[0]) - by_definition(&settings, &STUDENT, with_teacher)).abs() < 1e-5, "{settings:?}");
                let gradient: Vec<f32> = student.grad(&found.backward()).unwrap().into_data().try_to_vec().unwrap();
                for place in 0..6 {
                    let moved = |by: f64| {
                        let mut student = STUDENT;
                        student[place] += by;
                        by_definition(&settings, &student, with_teacher)
                    };
                    let difference = (moved(1e-5) - moved(-1e-5)) / 2e-5;
                    assert!((f64::from(gradient[place]) - difference).abs() < 1e-5, "{settings:?} at {place}");
                }
            }
        }
    }
}
