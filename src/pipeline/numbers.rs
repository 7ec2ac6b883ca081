//! The numbers of a run: what the float network, the integer reference and the chip computed from the same samples.

use crate::compress::scores;
use crate::network::{LayerId, Network};
use crate::reference::Trace;
use crate::reference::integer::IntegerTrace;
use crate::report::Mismatch;
use ndarray::Array2;
use std::collections::BTreeMap;

/// What each execution computed.
#[derive(Debug)]
pub struct Numbers {
    /// The network as imported, in floating point.
    pub float: Trace,
    /// After pruning, before quantization, in floating point.
    pub compressed: Trace,
    /// The quantized network in plain loops.
    pub integer: IntegerTrace,
    /// The logits that the chip left in DRAM, samples x outputs.
    pub chip_logits: Array2<i32>,
}

impl Numbers {
    /// The integer reference's logits, samples x outputs.
    ///
    /// # Panics
    /// If `quantized` is not the network that the reference ran.
    pub fn integer_logits(&self, quantized: &Network) -> &Array2<i32> {
        self.integer.layer(quantized.logits().id).expect("bug: the integer reference runs up to the logits")
    }

    /// How many logits differ between chip and integer reference, and the first that does.
    pub(super) fn mismatches(&self, quantized: &Network, stage: &str) -> (u64, Option<Mismatch>) {
        mismatches(self.integer_logits(quantized), &self.chip_logits, stage)
    }

    /// A layer's signal to quantization noise in decibels, over all samples: of the compressed float network's value, and what the integers
    /// stand for. What only softmaxes read counts from its floor on. None without noise or signal.
    pub(super) fn sqnr_db(&self, quantized: &Network, floors: &BTreeMap<LayerId, f32>, layer: LayerId) -> Option<f64> {
        let integers = self.integer.layer(layer)?;
        let quantization = quantized.layer(layer).output.quantization?;
        let mut noise = Noise::default();
        let exact = self.compressed.layer(layer).iter().map(|x| x.max(floor(floors, layer)));
        noise.add(exact, integers.iter().map(|q| quantization.dequantize(*q)));
        noise.decibels()
    }
}

/// The least number that each value holds of which softmaxes alone make anything: what lies below, as a mask does, is no noise.
pub(super) fn floors(quantized: &Network) -> BTreeMap<LayerId, f32> {
    let grid = |id: LayerId| quantized.layer(id).output.quantization;
    scores(quantized).into_iter().filter_map(|id| grid(id).map(|grid| (id, grid.dequantize(grid.dtype.min())))).collect()
}

/// A value's floor; minus infinity where all of its numbers matter.
pub(super) fn floor(floors: &BTreeMap<LayerId, f32>, layer: LayerId) -> f32 {
    floors.get(&layer).copied().unwrap_or(f32::NEG_INFINITY)
}

/// How many numbers differ between integer reference and chip, samples x outputs each, and the first that does.
pub(super) fn mismatches(reference: &Array2<i32>, chip: &Array2<i32>, stage: &str) -> (u64, Option<Mismatch>) {
    let mut count = 0;
    let mut first = None;
    for (((sample, index), expected), got) in reference.indexed_iter().zip(chip) {
        if expected != got {
            count += 1;
            first.get_or_insert_with(|| Mismatch {
                stage: stage.to_string(),
                sample: sample as u64,
                index: index as u64,
                cycle: None,
                expected: i64::from(*expected),
                got: i64::from(*got),
            });
        }
    }
    (count, first)
}

/// Signal and noise, summed in the order of samples.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Noise {
    signal: f64,
    noise: f64,
}

impl Noise {
    /// Adds numbers and what stands for them.
    pub(super) fn add(&mut self, exact: impl IntoIterator<Item = f32>, found: impl IntoIterator<Item = f32>) {
        for (x, found) in exact.into_iter().zip(found) {
            let (x, error) = (f64::from(x), f64::from(x) - f64::from(found));
            self.signal += x * x;
            self.noise += error * error;
        }
    }

    /// The ratio in decibels; none without noise or signal.
    pub(super) fn decibels(self) -> Option<f64> {
        let sqnr = 10.0 * libm::log10(self.signal / self.noise);
        sqnr.is_finite().then_some(sqnr)
    }
}

/// The signal to noise ratio of numbers and what stands for them, in decibels: `10 log10(sum x^2 / sum (x - x')^2)`. None without noise or signal.
pub(super) fn sqnr_db(exact: &Array2<f32>, found: impl IntoIterator<Item = f32>) -> Option<f64> {
    let mut noise = Noise::default();
    noise.add(exact.iter().copied(), found);
    noise.decibels()
}

/// Integer logits as the real numbers that they stand for.
pub(super) fn dequantize(quantized: &Network, logits: &Array2<i32>) -> Array2<f32> {
    let quantization = quantized.logits().output.quantization.expect("bug: a mapped network's logits are quantized");
    logits.mapv(|q| quantization.dequantize(q))
}
