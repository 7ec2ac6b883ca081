//! Affine quantization of a tensor: `q = clamp(round(x / scale) + zero_point)`, half to even.

use super::Dtype;
use serde::{Deserialize, Serialize};

/// How real numbers are held as integers: `x ~ scale * (q - zero_point)`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Quantization {
    /// The integers' format.
    pub dtype: Dtype,
    /// The real size of one step; positive and finite.
    pub scale: f32,
    /// The integer that stands for 0.0; 0 where the quantization is symmetric.
    pub zero_point: i32,
}

impl Quantization {
    /// The integer that holds `x`: `clamp(round_half_even(x / scale) + zero_point)`. Not-a-number becomes the zero point.
    /// In `Binary` it is the sign: -1 below zero, else +1.
    pub fn quantize(&self, x: f32) -> i32 {
        if self.dtype == Dtype::Binary {
            return if x < 0.0 { -1 } else { 1 };
        }
        let steps = f64::from(libm::rintf(x / self.scale)) + f64::from(self.zero_point);
        let clamped = steps.clamp(f64::from(self.dtype.min()), f64::from(self.dtype.max()));
        if clamped.is_nan() { self.zero_point } else { round_to_i32(clamped) }
    }

    /// The real number that `q` stands for: `scale * (q - zero_point)`.
    pub fn dequantize(&self, q: i32) -> f32 {
        self.scale * (q - self.zero_point) as f32
    }

    /// The least and the greatest integer of what is kept between two reals, infinities where it is not.
    pub fn between(&self, (low, high): (f32, f32)) -> (i32, i32) {
        let bound = |real: f32, end: i32| if real.is_finite() { self.quantize(real) } else { end };
        (bound(low, self.dtype.min()), bound(high, self.dtype.max()))
    }

    /// The affine quantization that covers `[min, max]` widened to contain 0, so that zero is exact. A range of nothing gets scale 1.
    pub fn affine(dtype: Dtype, min: f32, max: f32) -> Self {
        let (low, high) = (f64::from(min.min(0.0)), f64::from(max.max(0.0)));
        let (q_min, q_max) = (f64::from(dtype.min()), f64::from(dtype.max()));
        let scale = usable_scale((high - low) / (q_max - q_min));
        let zero_point = (libm::rint(q_min - low / f64::from(scale))).clamp(q_min, q_max);
        Self { dtype, scale, zero_point: round_to_i32(zero_point) }
    }

    /// The symmetric quantization that covers `[-max_abs, max_abs]`. The most negative integer stays unused. A range of nothing gets scale 1.
    pub fn symmetric(dtype: Dtype, max_abs: f32) -> Self {
        Self { dtype, scale: usable_scale(f64::from(max_abs) / f64::from(dtype.max())), zero_point: 0 }
    }
}

/// What belongs to a channel of a list that has one for all, or one for each.
///
/// # Panics
/// If there is none for it.
pub fn of_channel<T: Copy>(all: &[T], channel: usize) -> T {
    if let [one] = all { *one } else { all[channel] }
}

/// The scale as `f32`; 1 where it would be zero, too small to divide by, or not a number.
fn usable_scale(scale: f64) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "rounding a scale to f32 is the definition of the scale")]
    let narrow = scale as f32;
    if narrow.is_normal() { narrow } else { 1.0 }
}

/// A float that is whole and within `i32` by construction, as an integer.
fn round_to_i32(whole: f64) -> i32 {
    #[expect(clippy::cast_possible_truncation, reason = "clamped to a number format of at most 16 bits before")]
    let integer = whole as i32;
    integer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_round_to_even_and_ends_clamp() {
        let unit = Quantization { dtype: Dtype::Int8, scale: 1.0, zero_point: 0 };
        for (x, q) in [(0.5, 0), (1.5, 2), (2.5, 2), (-0.5, 0), (-1.5, -2), (127.4, 127), (127.5, 127), (1e30, 127), (-1e30, -128)] {
            assert_eq!(unit.quantize(x), q, "{x}");
        }
        assert_eq!(unit.quantize(f32::NAN), 0);
    }

    #[test]
    fn an_affine_range_always_holds_zero_exactly() {
        for (min, max) in [(0.0, 1.0), (-1.0, 1.0), (0.5, 3.0), (-7.0, -2.0), (0.0, 0.0), (-0.3, 11.0)] {
            let q = Quantization::affine(Dtype::Int8, min, max);
            assert_eq!(q.dequantize(q.quantize(0.0)).to_bits(), 0.0_f32.to_bits(), "{min}..{max}");
        }
        assert_eq!(Quantization::affine(Dtype::Int8, 0.0, 255.0), Quantization { dtype: Dtype::Int8, scale: 1.0, zero_point: -128 });
    }
}
