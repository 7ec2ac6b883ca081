//! Calibration that leaves out the rarest numbers, so that the rest get finer steps: percentiles, the least squared error, the least divergence.
//!
//! Two passes over the calibration samples: the ranges (`calibrate`), then a histogram of [`BINS`] bins for each value. Memory does not grow with the
//! samples, and counts do not depend on their order.

use super::calibrate::{Ranges, blocks_of, calibrate};
use super::formats::{Formats, of_values};
use super::values::groups;
use super::{CompressError, Symmetry};
use crate::network::{Element, LayerId, Network};
use crate::numerics::{Dtype, Quantization};
use crate::reference::float;
use ndarray::{ArrayView2, Axis};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Bins of a histogram, as `TensorRT`'s calibration has them.
pub(super) const BINS: usize = 2048;

/// Ranges that the least squared error is looked for among: so many parts of the whole one.
const PARTS: u32 = 100;

/// The most rounds through both ends.
const ROUNDS: usize = 8;

/// How the range of a value is found on the calibration data.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize, Deserialize)]
pub enum Calibration {
    /// All of it.
    #[default]
    MinMax,
    /// This share of the numbers in percent: from the `(100 - p) / 2`-th percentile to the `(100 + p) / 2`-th.
    Percentile(f64),
    /// The parts of both ends, in hundredths, that lose the least squared error once rounded and clamped, each number counting as its bin's middle: both
    /// ends together first, then each by itself until none gets better.
    Mse,
    /// The threshold of magnitudes with the least Kullback-Leibler divergence of the rounded distribution from the clamped one: the entropy method of
    /// `TensorRT` (S. Migacz, 8-bit inference with `TensorRT`, GTC 2017). 2048 bins, of which the first counts as the second does, so that zeros do not; `2^(bits - 1)` levels, 128 of 8 bits; of 16 bits there are more levels
    /// than bins, and the range stays whole.
    Kl,
}

/// Which numbers a histogram counts, and where its bins begin and end.
struct Histogram {
    /// What lies below counts as this.
    least: f32,
    low: f64,
    high: f64,
    of_magnitudes: bool,
    counts: Vec<u64>,
}

impl Histogram {
    fn new((least, max): (f32, f32), of_magnitudes: bool) -> Self {
        let (min, max) = (f64::from(least), f64::from(max));
        let (low, high) = if of_magnitudes { (0.0, max.max(-min)) } else { (min, max) };
        Self { least, low, high, of_magnitudes, counts: vec![0; BINS] }
    }

    fn width(&self) -> f64 {
        (self.high - self.low) / BINS as f64
    }

    fn count(&mut self, x: f32) {
        let x = x.max(self.least);
        let x = f64::from(if self.of_magnitudes { x.abs() } else { x });
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a cast from float saturates, and is bounded right behind"
        )]
        let bin = ((x - self.low) / self.width()) as usize;
        self.counts[bin.min(BINS - 1)] += 1;
    }

    /// The number that this share of all lie below, 0 to 1; in a bin they lie evenly.
    fn quantile(&self, share: f64) -> f64 {
        let total: u64 = self.counts.iter().sum();
        let wanted = share * total as f64;
        let mut below = 0.0;
        for (bin, count) in self.counts.iter().enumerate() {
            let count = *count as f64;
            if count > 0.0 && below + count >= wanted {
                return self.low + self.width() * (bin as f64 + ((wanted - below) / count).max(0.0));
            }
            below += count;
        }
        self.high
    }

    /// The parts of both ends of the range with the least squared error: both together first, then each by itself until none gets better.
    fn least_error(&self, format: (Dtype, Symmetry)) -> [f64; 2] {
        let mut best = ([PARTS; 2], self.error(format, [PARTS; 2]));
        let better = |parts: [u32; 2], best: &mut ([u32; 2], f64)| {
            let found = self.error(format, parts);
            // Of equal errors the larger range is kept.
            if found < best.1 {
                *best = (parts, found);
            }
        };
        (1..PARTS).rev().for_each(|part| better([part; 2], &mut best));
        for _ in 0..ROUNDS {
            let before = best.0;
            (1..=PARTS).rev().for_each(|part| better([part, before[1]], &mut best));
            let low = best.0[0];
            (1..=PARTS).rev().for_each(|part| better([low, part], &mut best));
            if best.0 == before {
                break;
            }
        }
        best.0.map(|part| f64::from(part) / f64::from(PARTS))
    }

    /// The squared error of all numbers, once rounded and clamped to these parts of the ends.
    fn error(&self, (dtype, symmetry): (Dtype, Symmetry), parts: [u32; 2]) -> f64 {
        let [low, high] = [(self.low, parts[0]), (self.high, parts[1])].map(|(end, part)| {
            #[expect(clippy::cast_possible_truncation, reason = "a range is f32")]
            let end = (end * f64::from(part) / f64::from(PARTS)) as f32;
            end
        });
        let grid = match symmetry {
            Symmetry::Affine => Quantization::affine(dtype, low, high),
            Symmetry::Symmetric => Quantization::symmetric(dtype, high.max(-low)),
        };
        let of_bin = |(bin, count): (usize, &u64)| {
            let middle = self.low + self.width() * (bin as f64 + 0.5);
            #[expect(clippy::cast_possible_truncation, reason = "values are f32")]
            let distance = middle - f64::from(grid.dequantize(grid.quantize(middle as f32)));
            *count as f64 * distance * distance
        };
        self.counts.iter().enumerate().map(of_bin).sum()
    }

    /// The threshold with the least divergence, of a histogram of magnitudes.
    fn least_divergence(&self, levels: usize) -> f64 {
        // Zeros behind a relu are exact whatever the threshold, and would outweigh all else: they count as what lies next to them does, as in NVIDIA's
        // pytorch-quantization.
        let counts: Vec<u64> = self.counts[1..2].iter().chain(&self.counts[1..]).copied().collect();
        let total: u64 = counts.iter().sum();
        let mut best = (BINS, f64::INFINITY);
        let mut inside: u64 = counts.iter().take(levels).sum();
        for bins in levels..=BINS {
            if bins > levels {
                inside += counts[bins - 1];
            }
            let found = divergence(&counts[..bins], total - inside, levels);
            if found < best.1 {
                best = (bins, found);
            }
        }
        // The middle of the last bin's successor, as `TensorRT` has it; no further than the numbers reach.
        ((best.0 as f64 + 0.5) * self.width()).min(self.high)
    }
}

/// The Kullback-Leibler divergence of a distribution, its bins joined to levels and spread again over those that are not empty, from the one whose
/// last bin also counts the `outliers`. Infinite where the last bin holds nothing but outliers.
fn divergence(counts: &[u64], outliers: u64, levels: usize) -> f64 {
    let bins = counts.len();
    let kept: u64 = counts.iter().sum();
    if kept == 0 || (outliers > 0 && counts[bins - 1] == 0) {
        return f64::INFINITY;
    }
    let all = (kept + outliers) as f64;
    let mut sum = 0.0;
    for level in 0..levels {
        let (from, until) = (level * bins / levels, (level + 1) * bins / levels);
        let of_level = &counts[from..until];
        let filled = of_level.iter().filter(|count| **count > 0).count() as f64;
        let q = of_level.iter().sum::<u64>() as f64 / filled.max(1.0) / kept as f64;
        for (bin, count) in (from..until).zip(of_level).filter(|(_, count)| **count > 0) {
            let p = (count + if bin + 1 == bins { outliers } else { 0 }) as f64 / all;
            sum += p * libm::log(p / q);
        }
    }
    sum
}

/// The ranges of all values, found as the recipe says ([`Calibration`]); `formats` say how many bits each value has.
///
/// # Errors
/// As [`calibrate`], and a step that names no layer.
#[expect(clippy::needless_pass_by_value, reason = "a view is a reference already")]
pub fn calibrate_as(network: &Network, samples: ArrayView2<f32>, formats: impl Into<Formats>) -> Result<Ranges, CompressError> {
    let formats = formats.into();
    let how = formats.calibration();
    let whole = calibrate(network, samples)?;
    if how == Calibration::MinMax {
        return Ok(whole);
    }
    let (groups, resolved) = (groups(network), formats.resolve(network)?);
    let known = of_values(network, &resolved, |id| groups.group(id));
    let format_of = |id: LayerId| groups.group(id).filter(|group| !groups.is_fixed(*group)).and_then(|group| known.get(&group).copied());
    let mut histograms: BTreeMap<LayerId, Histogram> = BTreeMap::new();
    for layer in network.layers().filter(|layer| layer.output.element == Element::Real) {
        // Signs have no range; a value that is always the same has nothing to leave out.
        let Some((min, max)) = whole.get(layer.id).filter(|(min, max)| min < max) else { continue };
        if format_of(layer.id).is_some_and(|(dtype, _)| dtype != Dtype::Binary) {
            histograms.insert(layer.id, Histogram::new((min, max), how == Calibration::Kl));
        }
    }
    for block in samples.axis_chunks_iter(Axis(0), blocks_of(network)) {
        let trace = float::run(network, block)?;
        for (id, histogram) in &mut histograms {
            trace.layer(*id).iter().for_each(|x| histogram.count(*x));
        }
    }
    let mut ranges = whole;
    for (id, histogram) in histograms {
        let (Some((min, max)), Some((dtype, symmetry))) = (ranges.get(id), format_of(id)) else { continue };
        let (low, high) = match how {
            Calibration::MinMax => (f64::from(min), f64::from(max)),
            Calibration::Percentile(percent) => {
                let outside = 0.5 - percent / 200.0;
                (histogram.quantile(outside), histogram.quantile(1.0 - outside))
            }
            Calibration::Mse => {
                let [low, high] = histogram.least_error((dtype, symmetry));
                (f64::from(min) * low, f64::from(max) * high)
            }
            Calibration::Kl => {
                let levels = 1_usize << (dtype.bits() - 1);
                let threshold = if levels > BINS { histogram.high } else { histogram.least_divergence(levels) };
                (-threshold, threshold)
            }
        };
        #[expect(clippy::cast_possible_truncation, reason = "a range is f32")]
        ranges.set(id, ((low as f32).max(min), (high as f32).min(max)));
    }
    Ok(ranges)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f32], of_magnitudes: bool) -> Histogram {
        let range = values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(min, max), x| (min.min(*x), max.max(*x)));
        let mut histogram = Histogram::new(range, of_magnitudes);
        for x in values {
            histogram.count(*x);
        }
        histogram
    }

    #[test]
    fn quantiles_of_even_numbers_are_their_shares() {
        let even: Vec<f32> = (0..=10_000_u16).map(|x| f32::from(x) - 5_000.0).collect();
        let histogram = of(&even, false);
        for share in [0.0, 0.001, 0.25, 0.5, 0.9, 1.0] {
            assert!((histogram.quantile(share) - (10_000.0 * share - 5_000.0)).abs() < 5.0, "{share}");
        }
    }

    #[test]
    fn a_distribution_on_its_own_levels_loses_nothing() {
        // As many bins as levels: what is joined and spread again is what it was.
        assert!(divergence(&[3, 0, 5, 9], 0, 4).abs() < 1e-12);
        // p = [1, 3] / 4, q = [2, 2] / 4: (ln(1/2) + 3 ln(3/2)) / 4.
        let wanted = (libm::log(0.5) + 3.0 * libm::log(1.5)) / 4.0;
        assert!((divergence(&[1, 3], 0, 1) - wanted).abs() < 1e-12);
        // Outliers count in the last bin of p alone: p = [1, 3] / 4 again, q = [1, 1] / 2.
        assert!((divergence(&[1, 1], 2, 2) - wanted).abs() < 1e-12);
        assert!(divergence(&[1, 0], 2, 2).is_infinite());
    }

    #[test]
    fn the_least_error_is_the_least_of_all_parts_by_brute_force() {
        // A few far out, the rest near 0: four bits do better without them.
        let values: Vec<f32> = (0..4_000_u16).map(|x| (f32::from(x % 997) - 498.0) / 498.0).chain([9.0, -8.0]).collect();
        let found = of(&values, false).least_error((Dtype::Int4, Symmetry::Affine));
        let error = |[low, high]: [f32; 2]| {
            let grid = Quantization::affine(Dtype::Int4, -8.0 * low, 9.0 * high);
            values.iter().map(|x| f64::from(x - grid.dequantize(grid.quantize(*x))).powi(2)).sum::<f64>()
        };
        let parts = || (1..=50_u8).map(|part| f32::from(part) / 50.0);
        let least = parts().flat_map(|low| parts().map(move |high| [low, high])).map(error).fold(f64::INFINITY, f64::min);
        #[expect(clippy::cast_possible_truncation, reason = "a share")]
        let at_found = error(found.map(|part| part as f32));
        assert!(at_found <= 1.02 * least && found.iter().all(|part| *part < 0.5), "{found:?}: {at_found} where {least} is the least");
    }
}
