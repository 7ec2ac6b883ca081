//! What a vector unit does on integers, beside requantizing sums: tables, sums and products of two values, pooling,
//! softmax, layer normalisation. Integers have at most sixteen bits; what looks them up in a table of 256 reads at most eight.
//!
//! Plain data with the numbers ready to apply; the machine and the integer reference both apply it.
//!
//! `x ~ scale_x * (x - zero_x)` throughout; results are clamped to the output's format, narrowed by a fused activation.
//!
//! | operation | algorithm |
//! | --- | --- |
//! | [`Table`] | `y = table[x]`, an entry for each integer of the input: `quantize(f(dequantize(x)))`, `f` in f64 through `libm` |
//! | [`Rescale`] | `x - zero_x` through an [`OutputStage`] of `scale_x / scale_y`: another quantization, and a relu or clip, of values too wide for a table |
//! | [`Sum`], `Float` | `y = rint((a - zero_a) * r_a + (b - zero_b) * r_b) + zero_y` in f32, `r = scale / scale_y`, half to even |
//! | [`Sum`], `FixedPoint` | `TFLite`'s: both to 20 more bits, to a common scale of twice the larger, and once more to the output's |
//! | [`Product`] | `(a - zero_a)(b - zero_b)` through an [`OutputStage`] of `scale_a * scale_b / scale_y` |
//! | [`Average`] | the sum of `x - zero_x` over the taps that are no padding, through an [`OutputStage`] of `scale_x / (count * scale_y)`; with `FixedPoint` and one quantization in and out, `TFLite`'s: the sum of `x` divided by the count, half away from zero |
//! | [`Softmax`] | `e[d] = round(2^24 exp(-scale_x d))` for `d = max - x`, a table of 256; `y = round(e[d] / (scale_y sum e))`, half up |
//! | [`Depthwise`] | products of taps and weights added to the bias, exact in 64 bits, through an [`OutputStage`] |
//! | [`LayerNorm`] | the mean and the variance exact in integers, an integer square root with 16 more bits (see [`LayerNorm::apply`]) |

use super::{Depthwise, Dtype, FixedPointMultiplier, LayerClass, OutputStage, Quantization, Requantizer, Rounding};
use serde::{Deserialize, Serialize};

/// An operation of the vector unit, with its numbers.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum VectorOp {
    /// One value, element by element.
    Table(Table),
    /// One value, element by element.
    Rescale(Rescale),
    /// Two values, element by element.
    Sum(Sum),
    /// Two values, element by element.
    Product(Product),
    /// The greatest of the taps of a window; padding is none of them.
    Maximum,
    /// The mean of the taps of a window.
    Average(Average),
    /// Over the elements of a row.
    Softmax(Softmax),
    /// Over the elements of a row.
    LayerNorm(LayerNorm),
    /// The taps of a window, each channel by weights of its own.
    Depthwise(Depthwise),
}

/// The kinds of [`VectorOp`], which take different times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum VectorKind {
    /// [`VectorOp::Table`] and [`VectorOp::Rescale`].
    Table,
    /// [`VectorOp::Sum`].
    Sum,
    /// [`VectorOp::Product`].
    Product,
    /// [`VectorOp::Maximum`] and [`VectorOp::Average`].
    Pool,
    /// [`VectorOp::Softmax`].
    Softmax,
    /// [`VectorOp::LayerNorm`].
    LayerNorm,
    /// [`VectorOp::Depthwise`].
    Depthwise,
}

impl VectorKind {
    /// Values that it reads.
    pub const fn inputs(self) -> usize {
        match self {
            Self::Sum | Self::Product | Self::Depthwise => 2,
            Self::Table | Self::Pool | Self::Softmax | Self::LayerNorm => 1,
        }
    }

    /// How often it goes over its elements: softmax finds the maximum, the sum and the results; a normalisation sums and squares, then results.
    pub const fn sweeps(self) -> u64 {
        match self {
            Self::Softmax => 3,
            Self::LayerNorm => 2,
            Self::Table | Self::Sum | Self::Product | Self::Pool | Self::Depthwise => 1,
        }
    }

    /// Whether an element of a row depends on others of the row.
    pub const fn is_by_row(self) -> bool {
        matches!(self, Self::Softmax | Self::LayerNorm)
    }

    /// Whether it slides over images.
    pub const fn has_window(self) -> bool {
        matches!(self, Self::Pool | Self::Depthwise)
    }

    /// The name in messages.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Table => "table",
            Self::Sum => "sum",
            Self::Product => "product",
            Self::Pool => "pool",
            Self::Softmax => "softmax",
            Self::LayerNorm => "layer_norm",
            Self::Depthwise => "depthwise",
        }
    }
}

impl VectorOp {
    /// Its kind.
    pub const fn kind(&self) -> VectorKind {
        match self {
            Self::Table(_) | Self::Rescale(_) => VectorKind::Table,
            Self::Sum(_) => VectorKind::Sum,
            Self::Product(_) => VectorKind::Product,
            Self::Maximum | Self::Average(_) => VectorKind::Pool,
            Self::Softmax(_) => VectorKind::Softmax,
            Self::LayerNorm(_) => VectorKind::LayerNorm,
            Self::Depthwise(_) => VectorKind::Depthwise,
        }
    }

    /// What is wrong with it where it works on rows of so many elements, windows of so many taps, or so many channels by their own weights, if anything is: an operation that was read from a file
    /// may hold anything.
    pub fn fault(&self, elements: u64) -> Option<String> {
        let fits =
            |what: &str, found: usize, wanted: u64| (found as u64 != wanted).then(|| format!("has {found} {what} and needs {wanted}"));
        match self {
            Self::Table(table) => fits("entries", table.entries.len(), 256),
            Self::Softmax(softmax) => fits("entries", softmax.exponentials.len(), 256).or_else(|| {
                (softmax.exponentials.first().is_none_or(|e| *e == 0)).then(|| "has an exponential of 0 that is 0".to_string())
            }),
            Self::LayerNorm(norm) => fits("factors", norm.factors.len(), elements)
                .or_else(|| fits("addends", norm.addends.len(), elements))
                .or_else(|| (elements > MAX_ROW).then(|| format!("normalises rows of {elements}, of at most {MAX_ROW}"))),
            Self::Depthwise(depthwise) => depthwise.fault(elements),
            Self::Average(Average::Scaled { stage, .. }) => fits("multipliers", stage.channels(), elements),
            Self::Rescale(rescale) => rescale.fault(),
            Self::Product(product) => product.stage.fault(),
            Self::Sum(_) | Self::Maximum | Self::Average(Average::Whole { .. }) => None,
        }
    }
}

/// The most elements of a row that is normalised: its sums stay within 64 bits.
pub const MAX_ROW: u64 = 1 << 20;

/// An output's zero point and the range that a fused activation leaves of its format.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Target {
    zero_point: i32,
    min: i32,
    max: i32,
}

impl Target {
    /// The target of an output that is kept between two reals (infinities where it is not).
    pub fn new(output: &Quantization, bounds: (f32, f32)) -> Self {
        let (min, max) = output.between(bounds);
        Self { zero_point: output.zero_point, min, max }
    }

    /// `steps` above the zero point, within the range.
    fn place(&self, steps: i64) -> i16 {
        clamp(steps.saturating_add(i64::from(self.zero_point)).max(i64::from(self.min)).min(i64::from(self.max)))
    }
}

fn clamp(value: i64) -> i16 {
    i16::try_from(value.clamp(i64::from(i16::MIN), i64::from(i16::MAX))).expect("bug: clamped to sixteen bits just before")
}

/// Any function of one integer of at most eight bits.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Table {
    /// The result for each integer from -128 on.
    entries: Vec<i16>,
}

impl Table {
    /// The table of `f` between two quantizations.
    pub fn new(input: &Quantization, output: &Quantization, f: impl Fn(f64) -> f64) -> Self {
        let entry = |x: i32| {
            let real = f64::from(input.scale) * f64::from(x - input.zero_point);
            #[expect(clippy::cast_possible_truncation, reason = "the function's result is rounded to f32 as a float network would hold it")]
            let result = f(real) as f32;
            clamp(i64::from(output.quantize(result)))
        };
        Self { entries: (i32::from(i8::MIN)..=i32::from(i8::MAX)).map(entry).collect() }
    }

    /// The result for `x`.
    ///
    /// # Panics
    /// If it has not 256 entries, which [`VectorOp::fault`] says.
    pub fn apply(&self, x: i16) -> i16 {
        self.entries[usize::from(x.to_le_bytes()[0] ^ 0x80)]
    }
}

/// Another quantization of an integer, kept between two reals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Rescale {
    zero_point: i32,
    stage: OutputStage,
}

impl Rescale {
    /// From one quantization to another.
    pub fn new(requantizer: Requantizer, input: &Quantization, output: &Quantization, bounds: (f32, f32)) -> Self {
        let stage = OutputStage::new(requantizer, LayerClass::Dense, input.scale, &[1.0], output, bounds);
        Self { zero_point: input.zero_point, stage }
    }

    fn fault(&self) -> Option<String> {
        self.stage.fault()
    }

    /// The result for an integer.
    pub fn apply(&self, x: i16) -> i16 {
        clamp(i64::from(self.stage.apply(0, i64::from(x) - i64::from(self.zero_point))))
    }
}

/// The sum of two values, or their difference.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Sum {
    zero_points: [i32; 2],
    scaling: Scaling,
    target: Target,
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
enum Scaling {
    Float([f32; 2]),
    FixedPoint { inputs: [FixedPointMultiplier; 2], subtracts: bool, output: FixedPointMultiplier },
}

/// Bits that `TFLite` adds to both inputs of an 8-bit sum.
const SUM_SHIFT: u32 = 20;

impl Sum {
    /// `a + b`, or `a - b`, kept between two reals.
    pub fn new(requantizer: Requantizer, inputs: [&Quantization; 2], subtracts: bool, output: &Quantization, bounds: (f32, f32)) -> Self {
        let scales = inputs.map(|input| input.scale);
        let scaling = match requantizer {
            Requantizer::Float => {
                let [a, b] = scales.map(|scale| scale / output.scale);
                Scaling::Float([a, if subtracts { -b } else { b }])
            }
            Requantizer::FixedPoint { .. } => {
                let twice = 2.0 * f64::from(scales[0].max(scales[1]));
                Scaling::FixedPoint {
                    inputs: scales.map(|scale| FixedPointMultiplier::new(f64::from(scale) / twice)),
                    subtracts,
                    output: FixedPointMultiplier::new(twice / (f64::from(1_u32 << SUM_SHIFT) * f64::from(output.scale))),
                }
            }
        };
        Self { zero_points: inputs.map(|input| input.zero_point), scaling, target: Target::new(output, bounds) }
    }

    /// The result for two integers.
    pub fn apply(&self, a: i16, b: i16) -> i16 {
        let [a, b] = [i32::from(a).wrapping_sub(self.zero_points[0]), i32::from(b).wrapping_sub(self.zero_points[1])];
        let steps = match &self.scaling {
            Scaling::Float([of_a, of_b]) => {
                #[expect(clippy::cast_possible_truncation, reason = "a cast from float to integer saturates, as the clamp would")]
                let steps = libm::rintf(a as f32 * of_a + b as f32 * of_b) as i64;
                steps
            }
            Scaling::FixedPoint { inputs, subtracts, output } => {
                let scaled = |x: i32, multiplier: FixedPointMultiplier| multiplier.multiply(i64::from(x) << SUM_SHIFT, Rounding::Double);
                let (a, b) = (scaled(a, inputs[0]), scaled(b, inputs[1]));
                output.multiply(a.saturating_add(if *subtracts { b.saturating_neg() } else { b }), Rounding::Double)
            }
        };
        self.target.place(steps)
    }
}

/// The product of two values.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Product {
    zero_points: [i32; 2],
    stage: OutputStage,
}

impl Product {
    /// `a * b`, kept between two reals.
    pub fn new(requantizer: Requantizer, inputs: [&Quantization; 2], output: &Quantization, bounds: (f32, f32)) -> Self {
        let stage = OutputStage::new(requantizer, LayerClass::Convolution, inputs[0].scale, &[inputs[1].scale], output, bounds);
        Self { zero_points: inputs.map(|input| input.zero_point), stage }
    }

    /// The result for two integers.
    pub fn apply(&self, a: i16, b: i16) -> i16 {
        let real = |x: i16, zero: i32| i64::from(x) - i64::from(zero);
        clamp(i64::from(self.stage.apply(0, real(a, self.zero_points[0]).saturating_mul(real(b, self.zero_points[1])))))
    }
}

/// The mean of a window's taps.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Average {
    /// Through an output stage, whose "channel" is the number of taps that count, less one.
    Scaled {
        /// The input's zero point.
        zero_point: i32,
        /// Whether padding counts as taps of zero.
        counts_padding: bool,
        /// One multiplier for each number of taps.
        stage: OutputStage,
    },
    /// The sum of the integers divided by the number of taps that count, half away from zero (`TFLite`).
    Whole {
        /// The range that is left of the output's format.
        target: Target,
    },
}

impl Average {
    /// The mean over windows of up to `taps` taps, kept between two reals.
    pub fn new(
        requantizer: Requantizer,
        input: &Quantization,
        output: &Quantization,
        taps: u32,
        counts_padding: bool,
        bounds: (f32, f32),
    ) -> Self {
        if matches!(requantizer, Requantizer::FixedPoint { .. }) && input == output && !counts_padding {
            return Self::Whole { target: Target::new(output, bounds) };
        }
        let shares: Vec<f32> = (1..=taps.max(1)).map(|count| 1.0 / count as f32).collect();
        let stage = OutputStage::new(requantizer, LayerClass::Dense, input.scale, &shares, output, bounds);
        Self::Scaled { zero_point: input.zero_point, counts_padding, stage }
    }

    /// The mean of the `count` taps that are no padding, whose integers sum to `sum`, of a window of `taps`.
    pub fn apply(&self, sum: i64, count: u32, taps: u32) -> i16 {
        let count = count.max(1);
        match self {
            Self::Scaled { zero_point, counts_padding, stage } => {
                let steps = sum.saturating_sub(i64::from(*zero_point) * i64::from(count));
                let counted = if *counts_padding { taps.max(count) } else { count };
                clamp(i64::from(stage.apply(counted as usize - 1, steps)))
            }
            Self::Whole { target } => {
                let (count, half) = (i64::from(count), i64::from(count / 2));
                let mean = if sum > 0 { (sum + half) / count } else { (sum - half) / count };
                clamp(mean.max(i64::from(target.min)).min(i64::from(target.max)))
            }
        }
    }
}

/// Softmax over a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Softmax {
    /// `round(2^24 exp(-scale d))` for a distance of `d` from the row's greatest.
    exponentials: Vec<u32>,
    /// `round(2^16 / scale_y)`.
    inverse: u64,
    target: Target,
}

impl Softmax {
    /// Softmax between two quantizations. Results lie between 0 and 1: a scale of 1/256 and a zero point of -128 hold them best.
    pub fn new(input: &Quantization, output: &Quantization) -> Self {
        let exponential = |d: u32| to_u64(libm::exp(-f64::from(input.scale) * f64::from(d)) * f64::from(1_u32 << 24));
        Self {
            exponentials: (0..256).map(|d| u32::try_from(exponential(d)).unwrap_or(1 << 24)).collect(),
            inverse: to_u64(65536.0 / f64::from(output.scale)),
            target: Target::new(output, (f32::NEG_INFINITY, f32::INFINITY)),
        }
    }

    /// The quantization that holds results best.
    pub fn best_output() -> Quantization {
        Quantization { dtype: Dtype::Int8, scale: 1.0 / 256.0, zero_point: -128 }
    }

    /// The results of a row.
    ///
    /// # Panics
    /// If it has not 256 entries, which [`VectorOp::fault`] says.
    pub fn apply(&self, row: &[i16], results: &mut [i16]) {
        let greatest = row.iter().copied().max().unwrap_or(0);
        let of = |x: i16| self.exponentials[usize::from(greatest.abs_diff(x)).min(255)];
        let sum: u128 = row.iter().map(|x| u128::from(of(*x))).sum::<u128>().max(1) << 16;
        for (x, y) in row.iter().zip(results) {
            let steps = (u128::from(of(*x)) * u128::from(self.inverse) + sum / 2) / sum;
            *y = self.target.place(i64::try_from(steps).unwrap_or(i64::MAX));
        }
    }
}

/// A float that is not negative, rounded; what does not fit is the greatest.
fn to_u64(real: f64) -> u64 {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a cast from float to integer saturates, as it should")]
    let rounded = libm::rint(real) as u64;
    rounded
}

/// Layer normalisation over a row: `(x - mean) / sqrt(variance + epsilon) * factor + addend`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LayerNorm {
    /// `round(factor / scale_y * 2^16)`, one an element.
    factors: Vec<i64>,
    /// `round(addend / scale_y * 2^32)`, one an element.
    addends: Vec<i64>,
    /// `round(epsilon * K^2 / scale_x^2)`, at least 1.
    epsilon: u64,
    target: Target,
}

impl LayerNorm {
    /// The normalisation of rows as long as `factors` and `addends`.
    pub fn new(input: &Quantization, output: &Quantization, factors: &[f32], addends: &[f32], epsilon: f32) -> Self {
        let k_per_scale = factors.len() as f64 / f64::from(input.scale);
        let steps = |reals: &[f32], bits: f64| {
            let step = |real: &f32| {
                #[expect(clippy::cast_possible_truncation, reason = "a cast from float to integer saturates, and is bounded below 2^60")]
                let steps = libm::rint(f64::from(*real) / f64::from(output.scale) * bits).clamp(-1e18, 1e18) as i64;
                steps
            };
            reals.iter().map(step).collect()
        };
        Self {
            factors: steps(factors, 65536.0),
            addends: steps(addends, 4_294_967_296.0),
            epsilon: to_u64((f64::from(epsilon) * k_per_scale * k_per_scale).min(1e18)).max(1),
            target: Target::new(output, (f32::NEG_INFINITY, f32::INFINITY)),
        }
    }

    /// The results of a row. With `d = K x - sum x` and `v = K sum x^2 - (sum x)^2 + epsilon`, both exact, `d / sqrt(v)` is the normalised
    /// value: `n = round(2^32 d / isqrt(2^32 v))` holds it with 16 bits behind the point, and `y = (n factor + addend + 2^31) >> 32`. The
    /// zero point of the input falls out.
    ///
    /// # Panics
    /// If it was made for rows of another length, which [`VectorOp::fault`] says.
    pub fn apply(&self, row: &[i16], results: &mut [i16]) {
        let (mut k, mut sum, mut squares) = (0_i64, 0_i64, 0_i64);
        for x in row {
            let x = i64::from(*x);
            k += 1;
            sum += x;
            squares += x * x;
        }
        let variance = i128::from(k) * i128::from(squares) - i128::from(sum) * i128::from(sum);
        let variance = u128::try_from(variance).unwrap_or(0) + u128::from(self.epsilon);
        let root = i128::try_from((variance << 32).isqrt()).unwrap_or(i128::MAX).max(1);
        for (((x, y), factor), addend) in row.iter().zip(results).zip(&self.factors).zip(&self.addends) {
            let distance = i128::from(k * i64::from(*x) - sum);
            let normalised = ((distance << 33) + root).div_euclid(2 * root);
            let steps = (normalised * i128::from(*factor) + i128::from(*addend) + (1 << 31)) >> 32;
            *y = self.target.place(i64::try_from(steps).unwrap_or(if steps < 0 { i64::MIN } else { i64::MAX }));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FREE: (f32, f32) = (f32::NEG_INFINITY, f32::INFINITY);

    fn int8(scale: f32, zero_point: i32) -> Quantization {
        Quantization { dtype: Dtype::Int8, scale, zero_point }
    }

    #[test]
    fn a_table_holds_the_function_of_every_integer() {
        let (input, output) = (int8(0.05, -10), int8(1.0 / 256.0, -128));
        let sigmoid = |x: f64| 1.0 / (1.0 + libm::exp(-x));
        let table = Table::new(&input, &output, sigmoid);
        for x in -128..=127_i16 {
            let real = sigmoid(f64::from(input.scale) * f64::from(i32::from(x) + 10));
            let y = f64::from(i32::from(table.apply(x)) + 128) / 256.0;
            assert!((y - real).abs() <= 0.5 / 256.0 + 1e-6 || real > 255.0 / 256.0, "{x}: {y} for {real}");
        }
    }

    #[test]
    fn sums_and_products_are_within_a_step_of_the_reals_both_ways() {
        let (a, b, output) = (int8(0.02, 5), int8(0.07, -60), int8(0.1, 3));
        let fixed = Requantizer::FixedPoint { convolution: Rounding::Double, dense: Rounding::Single };
        for requantizer in [Requantizer::Float, fixed] {
            for subtracts in [false, true] {
                let sum = Sum::new(requantizer, [&a, &b], subtracts, &output, FREE);
                let product = Product::new(requantizer, [&a, &b], &output, (0.0, 6.0));
                for (x, y) in (-128..=127).step_by(5).flat_map(|x| (-128..=127).step_by(7).map(move |y| (x, y))) {
                    let (real_x, real_y) = (f64::from(a.dequantize(x)), f64::from(b.dequantize(y)));
                    let [small_x, small_y] = [x, y].map(|x| i16::try_from(x).expect("eight bits"));
                    let real = if subtracts { real_x - real_y } else { real_x + real_y };
                    let wanted = (real / 0.1 + 3.0).clamp(-128.0, 127.0);
                    assert!((f64::from(sum.apply(small_x, small_y)) - wanted).abs() <= 0.5 + 1e-4, "{x} {y} {requantizer:?}");
                    let wanted = ((real_x * real_y).clamp(0.0, 6.0) / 0.1 + 3.0).clamp(-128.0, 127.0);
                    assert!((f64::from(product.apply(small_x, small_y)) - wanted).abs() <= 0.5 + 1e-4, "{x} {y} {requantizer:?}");
                }
            }
        }
    }

    #[test]
    fn a_mean_counts_padding_only_where_it_should() {
        let (input, output) = (int8(0.5, -3), int8(0.25, 10));
        // Three taps of 1.0, 2.0 and 4.5 (as -1, 1, 6), of a window of four.
        let of = |counts| Average::new(Requantizer::Float, &input, &output, 4, counts, FREE).apply(6, 3, 4);
        assert_eq!(of(false), 20, "2.5 in steps of 0.25, and 10");
        assert_eq!(of(true), 18, "7.5 / 4 = 1.875 is 7.5 steps: half to even");
        let fixed = Requantizer::FixedPoint { convolution: Rounding::Double, dense: Rounding::Single };
        let whole = Average::new(fixed, &input, &input, 4, false, FREE);
        assert_eq!([whole.apply(6, 4, 4), whole.apply(-6, 4, 4), whole.apply(5, 4, 4)], [2, -2, 1], "half away from zero");
    }

    #[test]
    fn a_softmax_is_within_a_step_and_sums_to_about_one() {
        let input = int8(0.11, 20);
        let softmax = Softmax::new(&input, &Softmax::best_output());
        let row: Vec<i16> = (0..77_u8).map(|i| i16::from(i8::from_le_bytes([i.wrapping_mul(37)]))).collect();
        let mut results = vec![0; row.len()];
        softmax.apply(&row, &mut results);
        let exponentials: Vec<f64> = row.iter().map(|x| libm::exp(0.11 * f64::from(*x))).collect();
        let sum: f64 = exponentials.iter().sum();
        for (y, e) in results.iter().zip(&exponentials) {
            let wanted = (256.0 * e / sum - 128.0).min(127.0);
            assert!((f64::from(*y) - wanted).abs() <= 0.51, "{y} for {wanted}");
        }
    }

    #[test]
    fn a_normalised_row_is_within_a_step_of_the_reals() {
        let (input, output) = (int8(0.04, -7), int8(0.03, 4));
        let row: Vec<i16> = (0..50_u8).map(|i| i16::from(i8::from_le_bytes([i.wrapping_mul(91)]))).collect();
        let factors: Vec<f32> = (0..50_u8).map(|i| 0.5 + f32::from(i) / 40.0).collect();
        let addends: Vec<f32> = (0..50_u8).map(|i| f32::from(i) / 60.0 - 0.4).collect();
        for epsilon in [1e-5, 0.3] {
            let norm = LayerNorm::new(&input, &output, &factors, &addends, epsilon);
            let mut results = vec![0; row.len()];
            norm.apply(&row, &mut results);
            let reals: Vec<f64> = row.iter().map(|x| f64::from(input.dequantize(i32::from(*x)))).collect();
            let mean = reals.iter().sum::<f64>() / 50.0;
            let variance = reals.iter().map(|x| (x - mean) * (x - mean)).sum::<f64>() / 50.0;
            for (i, y) in results.iter().enumerate() {
                let real = (reals[i] - mean) / (variance + f64::from(epsilon)).sqrt() * f64::from(factors[i]) + f64::from(addends[i]);
                let wanted = (real / f64::from(output.scale) + 4.0).clamp(-128.0, 127.0);
                assert!((f64::from(*y) - wanted).abs() <= 0.51, "{i}: {y} for {wanted}");
            }
        }
        let constant = LayerNorm::new(&input, &output, &factors, &addends, 0.0);
        let mut results = vec![0; 50];
        constant.apply(&[5; 50], &mut results);
        let wanted: Vec<i16> = addends.iter().map(|b| clamp(i64::from(output.quantize(*b)))).collect();
        assert!(results.iter().zip(&wanted).all(|(y, w)| y.abs_diff(*w) <= 1), "a row of one number is its addends");
    }

    #[test]
    fn what_does_not_fit_is_told_before_it_is_applied() {
        let table = VectorOp::Table(Table { entries: vec![0; 3] });
        assert_eq!(table.fault(1).expect("a fault"), "has 3 entries and needs 256");
        let norm = VectorOp::LayerNorm(LayerNorm::new(&int8(1.0, 0), &int8(1.0, 0), &[1.0; 4], &[0.0; 4], 0.0));
        assert!(norm.fault(4).is_none() && norm.fault(5).is_some());
    }
}
