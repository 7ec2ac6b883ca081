//! Weights that are pruned while training, more and more of them (Zhu and Gupta, To prune, or not to prune, 2017).

use super::parameters::Parameter;

/// The share of all steps after which nothing more is pruned: the rest heals.
const RAMP: f64 = 0.75;

/// The share that is pruned after this share of the steps: `s (1 - (1 - t)^3)`, equation 1 of the paper from a sparsity of 0.
pub(super) fn share(sparsity: f64, done: f64) -> f64 {
    let left = 1.0 - (done / RAMP).min(1.0);
    sparsity * (1.0 - left * left * left)
}

/// Masks the `floor(share * count)` smallest of all weights together; what is masked already is the smallest of all, and of equal ones the first goes.
pub(super) fn prune(parameters: &mut [Parameter], share: f64) {
    let mut all: Vec<(f32, usize, usize)> = Vec::new();
    for (number, parameter) in parameters.iter().enumerate().filter(|(_, parameter)| parameter.kind.is_weight()) {
        all.extend(parameter.values.iter().enumerate().map(|(place, value)| (value.abs(), number, place)));
    }
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count is a count")]
    let gone = (libm::floor(share * all.len() as f64 + 1e-9) as usize).min(all.len());
    if gone == 0 {
        return;
    }
    all.select_nth_unstable_by(gone - 1, |one, other| one.0.total_cmp(&other.0).then((one.1, one.2).cmp(&(other.1, other.2))));
    for (_, number, place) in &all[..gone] {
        let parameter = &mut parameters[*number];
        let count = parameter.values.len();
        parameter.kept.get_or_insert_with(|| vec![true; count])[*place] = false;
    }
    parameters.iter_mut().for_each(Parameter::mask);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::parameters::Kind;

    #[test]
    fn the_schedule_is_the_papers_and_masks_only_grow() {
        let shares = [0.0, 0.25, 0.375, 0.75, 1.0].map(|done| share(0.8, done));
        let wanted = [0.0, 0.8 * (1.0 - 8.0 / 27.0), 0.8 * 0.875, 0.8, 0.8];
        assert!(shares.iter().zip(wanted).all(|(found, wanted)| (found - wanted).abs() < 1e-12), "{shares:?}");

        let of = |name: &str, kind, values: &[f32]| Parameter::new(name.to_string(), kind, &[values.len()], values.to_vec());
        let mut parameters =
            vec![of("a", Kind::Weight, &[0.5, -0.1, 0.3, 0.2]), of("b", Kind::Shift, &[0.0, 0.01]), of("c", Kind::Weight, &[-0.05, 4.0])];
        prune(&mut parameters, 0.5);
        assert_eq!(parameters[0].values, [0.5, 0.0, 0.3, 0.0]);
        assert_eq!((&parameters[1].values[..], &parameters[2].values[..]), (&[0.0, 0.01][..], &[0.0, 4.0][..]), "biases are left alone");
        parameters[0].values[2] = 0.01;
        prune(&mut parameters, 0.67);
        assert_eq!(parameters[0].kept, Some(vec![true, false, false, false]));
        assert_eq!(parameters[2].kept, Some(vec![false, true]));
    }
}
