//! From a sum to the next layer's integers: `q = clamp(round(acc * s_x*s_w/s_y) + zero_point)`, in the two ways that hardware does it.

use super::{AccumulateRule, Dtype, Quantization, of_channel};
use serde::{Deserialize, Serialize};

/// How a fixed-point multiplier rounds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Rounding {
    /// gemmlowp's saturating rounding doubling high multiply, then a rounding shift (half away from zero): rounds twice.
    Double,
    /// `(acc * multiplier + 2^(s-1)) >> s`: rounds once, half up.
    Single,
}

/// How the chip turns accumulators into the next layer's integers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Requantizer {
    /// As ONNX's `QLinear*` operators: the scale is `f32(f32(s_x*s_w)/s_y)`, the product is f32, half to even.
    Float,
    /// As TFLite's and gemmlowp's kernels: a 31-bit multiplier and a shift.
    FixedPoint {
        /// Rounding after a convolution.
        convolution: Rounding,
        /// Rounding after a dense layer.
        dense: Rounding,
    },
}

/// All that a chip's arithmetic and its integer reference must agree on. Plain data: the chip yields it, both consume it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Arithmetic {
    /// How products become sums.
    pub accumulate: AccumulateRule,
    /// How sums become outputs.
    pub requantize: Requantizer,
}

/// A positive real multiplier as `mantissa * 2^(shift - 31)`, the mantissa of 31 bits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct FixedPointMultiplier {
    mantissa: i64,
    shift: i32,
}

impl FixedPointMultiplier {
    /// The nearest multiplier to `real`, as TFLite's `QuantizeMultiplier` finds it. `real` is positive and finite.
    pub fn new(real: f64) -> Self {
        let (fraction, mut shift) = libm::frexp(real);
        #[expect(clippy::cast_possible_truncation, reason = "a fraction below 1 times 2^31 is below 2^31, or 2^31 after rounding")]
        let mut mantissa = libm::round(fraction * f64::from(1_u32 << 31)) as i64;
        if mantissa == 1 << 31 {
            mantissa /= 2;
            shift += 1;
        }
        if shift < -31 { Self { mantissa: 0, shift: 0 } } else { Self { mantissa, shift: shift.min(30) } }
    }

    /// `acc` times the multiplier, rounded as `rounding` says, saturated to 64 bits.
    #[expect(clippy::missing_panics_doc, reason = "what it unwraps was clamped in the same line")]
    pub fn multiply(self, acc: i64, rounding: Rounding) -> i64 {
        let (acc, mantissa) = (i128::from(acc), i128::from(self.mantissa));
        let rounded = match rounding {
            Rounding::Single => {
                let right = 31 - self.shift;
                if right == 0 { acc * mantissa } else { (acc * mantissa + (1 << (right - 1))) >> right }
            }
            Rounding::Double => {
                let product = (acc << self.shift.max(0)) * mantissa;
                let nudge = if product >= 0 { 1 << 30 } else { 1 - (1 << 30) };
                let high = (product + nudge) / (1 << 31);
                let right = (-self.shift).max(0);
                let mask = (1_i128 << right) - 1;
                let threshold = (mask >> 1) + i128::from(high < 0);
                (high >> right) + i128::from((high & mask) > threshold)
            }
        };
        i64::try_from(rounded.clamp(i128::from(i64::MIN), i128::from(i64::MAX))).expect("bug: clamped to i64 just before")
    }
}

/// Multipliers of each output channel, in the form that the requantizer wants.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Multipliers {
    Float(Vec<f32>),
    FixedPoint(Vec<FixedPointMultiplier>, Rounding),
}

/// The last step of a layer, ready to apply: multipliers a channel, the output's zero point, and the clamp that a fused activation narrows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct OutputStage {
    multipliers: Multipliers,
    zero_point: i32,
    min: i32,
    max: i32,
    /// Whether the output is binary: -1 below zero, else +1.
    is_sign: bool,
}

/// Which of a [`Requantizer`]'s roundings a layer takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LayerClass {
    /// A dense layer.
    Dense,
    /// A convolution.
    Convolution,
}

impl OutputStage {
    /// The output stage of a layer with input scale `input_scale`, weight scales a channel `weight_scales` (one for all channels, or one
    /// each), and output quantization `output`; a fused activation keeps its results between two reals (infinities where there is none).
    pub fn new(
        requantizer: Requantizer,
        class: LayerClass,
        input_scale: f32,
        weight_scales: &[f32],
        output: &Quantization,
        bounds: (f32, f32),
    ) -> Self {
        let multipliers = match requantizer {
            Requantizer::Float => Multipliers::Float(weight_scales.iter().map(|w| input_scale * w / output.scale).collect()),
            Requantizer::FixedPoint { convolution, dense } => Multipliers::FixedPoint(
                weight_scales
                    .iter()
                    .map(|w| FixedPointMultiplier::new(f64::from(input_scale) * f64::from(*w) / f64::from(output.scale)))
                    .collect(),
                match class {
                    LayerClass::Dense => dense,
                    LayerClass::Convolution => convolution,
                },
            ),
        };
        let (min, max) = output.between(bounds);
        Self { multipliers, zero_point: output.zero_point, min, max, is_sign: output.dtype == Dtype::Binary }
    }

    /// One for every channel that passes sums of a format on as they are: for programs whose numbers nobody knows.
    pub fn unit(format: Dtype) -> Self {
        let is_sign = format == Dtype::Binary;
        Self { multipliers: Multipliers::Float(vec![1.0]), zero_point: 0, min: format.min(), max: format.max(), is_sign }
    }

    /// How many channels it was made for; 1 where all share one multiplier.
    pub fn channels(&self) -> usize {
        match &self.multipliers {
            Multipliers::Float(scales) => scales.len(),
            Multipliers::FixedPoint(multipliers, _) => multipliers.len(),
        }
    }

    /// What is wrong with it, if anything is: one that was read from a file may hold anything.
    pub(crate) fn fault(&self) -> Option<String> {
        let (channels, min, max) = (self.channels(), self.min, self.max);
        let is_whole = channels > 0 && min <= max && min >= i32::from(i16::MIN) && max <= i32::from(i16::MAX);
        (!is_whole).then(|| format!("yields {min} to {max} for {channels} channels"))
    }

    /// Whether a format holds all that it yields.
    pub(crate) fn fits(&self, format: Dtype) -> bool {
        self.fault().is_none() && self.min >= format.min() && self.max <= format.max() && (format != Dtype::Binary || self.is_sign)
    }

    /// The output integer of `channel` for the sum `acc`.
    ///
    /// # Panics
    /// If there is no such channel.
    pub fn apply(&self, channel: usize, acc: i64) -> i32 {
        if self.is_sign {
            // A multiplier is positive but in a network that was imported with a negative scale, where it is a float.
            let is_negative = match &self.multipliers {
                Multipliers::Float(scales) => acc as f32 * of_channel(scales, channel) < 0.0,
                Multipliers::FixedPoint(..) => acc < 0,
            };
            return if is_negative { self.min.max(-1) } else { 1 };
        }
        let scaled = match &self.multipliers {
            Multipliers::Float(scales) => {
                let scale = of_channel(scales, channel);
                #[expect(clippy::cast_possible_truncation, reason = "a cast from float to integer saturates, as the clamp below would")]
                let rounded = libm::rintf(acc as f32 * scale) as i64;
                rounded
            }
            Multipliers::FixedPoint(multipliers, rounding) => {
                let multiplier = of_channel(multipliers, channel);
                multiplier.multiply(acc, *rounding)
            }
        };
        let shifted = scaled.saturating_add(i64::from(self.zero_point)).clamp(i64::from(self.min), i64::from(self.max));
        i32::try_from(shifted).expect("bug: clamped to a number format of at most 16 bits just before")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_point_multiplier_is_within_a_step_of_the_real_product() {
        for real in [0.000_03, 0.003, 0.25, 0.5, 0.999_999_999_9, 1.0, 1.7, 300.0] {
            let multiplier = FixedPointMultiplier::new(real);
            for acc in [-1_000_000_i64, -12_345, -1, 0, 1, 7, 12_345, 1_000_000] {
                let exact = acc as f64 * real;
                for rounding in [Rounding::Single, Rounding::Double] {
                    let got = multiplier.multiply(acc, rounding) as f64;
                    assert!((got - exact).abs() <= 0.5 + exact.abs() * 1e-9 + 0.5, "{acc} * {real} ({rounding:?}) = {got}, exact {exact}");
                }
            }
        }
    }

    #[test]
    fn double_rounding_differs_from_single_where_gemmlowp_says_so() {
        // mantissa 2^30 (0.5), shift 0: acc 1 -> 0.5; single rounds half up to 1, the doubling high multiply rounds 0.5 to 1 as well.
        // With shift -1 the value is 0.25: high multiply gives 1 (0.5 rounded), and the shift of 1 by one rounds half away: 1. Single gives 0.
        let quarter = FixedPointMultiplier::new(0.25);
        assert_eq!((quarter.multiply(1, Rounding::Single), quarter.multiply(1, Rounding::Double)), (0, 1));
        assert_eq!((quarter.multiply(-2, Rounding::Single), quarter.multiply(-2, Rounding::Double)), (0, -1));
    }

    #[test]
    fn float_requantization_rounds_half_to_even_and_a_fused_relu_clamps_at_the_zero_point() {
        let output = Quantization { dtype: Dtype::Int8, scale: 1.0, zero_point: -3 };
        let stage = OutputStage::new(Requantizer::Float, LayerClass::Dense, 0.5, &[1.0, 2.0], &output, (f32::NEG_INFINITY, f32::INFINITY));
        assert_eq!((stage.apply(0, 1), stage.apply(0, 3), stage.apply(1, 5)), (-3, -1, 2));
        assert_eq!((stage.apply(0, 1 << 40), stage.apply(0, -(1 << 40))), (127, -128));
        let rectified = OutputStage::new(Requantizer::Float, LayerClass::Dense, 0.5, &[1.0, 2.0], &output, (0.0, f32::INFINITY));
        assert_eq!((rectified.apply(0, -100), rectified.apply(0, 100)), (-3, 47));
    }
}
