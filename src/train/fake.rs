//! Fake quantization: reals that lie on the grid that integers will have, with gradients that go straight through the rounding
//! (Bengio et al., 2013).
//!
//! A value is divided by its scale, clamped to the integers' range, rounded half to even and multiplied again. Rounding counts as the identity in the
//! gradient, so that inside of the range `dy/dx = 1` and `dy/dscale = round(x / scale) - x / scale`, and outside `dy/dx = 0` and
//! `dy/dscale` is the bound: what learned step sizes are (Esser et al., ICLR 2020, equation 3). A sign's gradient is 1 where `|x| <= 1`, and 0
//! outside (Hubara et al., NIPS 2016).

use burn_tensor::Tensor;

/// `1.5 * 2^23`: what is added to it and is below `2^22` has no bits behind the point left, and was rounded half to even.
const ROUNDER: f32 = 12_582_912.0;
/// What is rounded is less.
pub(super) const MOST_WHOLE: f64 = 4_194_304.0;

/// `y` with the gradient of `x`.
pub(super) fn straight_through<const D: usize>(x: Tensor<D>, y: Tensor<D>) -> Tensor<D> {
    // The difference is exactly 0, so that no bit of y is lost.
    y.detach() + (x.clone() - x.detach())
}

/// `x` on a grid: `scale` broadcasts with it, and `bounds` are the least and greatest integer, each less the zero point.
pub(super) fn on_grid<const D: usize>(x: Tensor<D>, scale: Tensor<D>, (least, greatest): (f32, f32)) -> Tensor<D> {
    let steps = (x / scale.clone()).clamp(least, greatest);
    whole(steps) * scale
}

/// `x`, less than [`MOST_WHOLE`], rounded half to even.
pub(super) fn whole<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let rounded = x.clone().detach().add_scalar(ROUNDER).sub_scalar(ROUNDER);
    straight_through(x, rounded)
}

/// -1 below zero, else +1.
pub(super) fn sign<const D: usize>(x: Tensor<D>) -> Tensor<D> {
    let signs = x.clone().detach().greater_equal_elem(0.0).float().mul_scalar(2.0).sub_scalar(1.0);
    straight_through(x.clamp(-1.0, 1.0), signs)
}

#[cfg(test)]
mod tests {
    use super::*;
    use burn_tensor::{Device, TensorData};

    fn leaf(values: &[f32]) -> Tensor<1> {
        Tensor::from_data(TensorData::new(values.to_vec(), [values.len()]), &Device::flex().autodiff()).require_grad()
    }

    fn read(tensor: Tensor<1>) -> Vec<f32> {
        tensor.into_data().try_to_vec().unwrap()
    }

    #[test]
    fn values_lie_on_the_grid_and_gradients_are_their_definitions() {
        let (x, scale) = (leaf(&[-3.0, -0.26, 0.25, 0.75, 0.9, 4.0, 1.25]), leaf(&[0.5]));
        let y = on_grid(x.clone(), scale.clone(), (-2.0, 3.0));
        // In steps of one half: -6, -0.52, 0.5, 1.5, 1.8, 8, 2.5; halves go to even, ends clamp.
        assert_eq!(read(y.clone()), [-1.0, -0.5, 0.0, 1.0, 1.0, 1.5, 1.0]);
        let grads = y.sum().backward();
        assert_eq!(read(x.grad(&grads).unwrap()), [0.0, 1.0, 1.0, 1.0, 1.0, 0.0, 1.0]);
        // round(v) - v inside, the bound outside: -2 - 0.48 - 0.5 + 0.5 + 0.2 + 3 - 0.5.
        let of_scale = read(scale.grad(&grads).unwrap())[0];
        assert!((of_scale - 0.22).abs() < 1e-5, "{of_scale}");
    }

    #[test]
    fn off_the_rounding_the_gradient_is_that_of_finite_differences() {
        // Not at a half, which f32 and f64 may see on either side. With the rounding taken as the identity, y is x clamped to the ends: what differences of that say holds for x and the scale.
        let clamped = |x: f64, scale: f64| (x / scale).clamp(-2.0, 3.0) * scale;
        for (x, scale) in [(0.3, 0.5), (-2.0, 0.5), (5.0, 0.7), (-0.7, 0.4)] {
            #[expect(clippy::cast_possible_truncation, reason = "small numbers")]
            let (leaf_x, leaf_scale) = (leaf(&[x as f32]), leaf(&[scale as f32]));
            let grads = on_grid(leaf_x.clone(), leaf_scale.clone(), (-2.0, 3.0)).sum().backward();
            let h = 1e-6;
            let by_x = (clamped(x + h, scale) - clamped(x - h, scale)) / (2.0 * h);
            assert!((f64::from(read(leaf_x.grad(&grads).unwrap())[0]) - by_x).abs() < 1e-5);
            let v: f64 = x / scale;
            // The scale's: that of the clamp, and what rounding adds to it.
            let inside = if (-2.0..=3.0).contains(&v) { libm::rint(v) - v } else { 0.0 };
            let by_scale = (clamped(x, scale + h) - clamped(x, scale - h)) / (2.0 * h) + inside;
            assert!((f64::from(read(leaf_scale.grad(&grads).unwrap())[0]) - by_scale).abs() < 1e-5);
        }
    }

    #[test]
    fn signs_are_exact_and_pass_gradients_between_minus_one_and_one() {
        let x = leaf(&[-2.0, -1.0, -0.3, 0.0, 0.7, 1.0, 1.5]);
        let y = sign(x.clone());
        assert_eq!(read(y.clone()), [-1.0, -1.0, -1.0, 1.0, 1.0, 1.0, 1.0], "the sign of 0 is +1");
        let grads = y.sum().backward();
        assert_eq!(read(x.grad(&grads).unwrap()), [0.0, 1.0, 1.0, 1.0, 1.0, 1.0, 0.0]);
    }
}
