//! The numbers of a run: what the float network, the integer reference and the chip computed from the same samples.

use crate::compress::scores;
use crate::data::sha256_hex;
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

    /// How near a layer's integers are to the compressed float network's value, over all samples. What only softmaxes read counts from its floor on.
    pub(super) fn fidelity(&self, quantized: &Network, floors: &BTreeMap<LayerId, f32>, layer: LayerId) -> Fidelity {
        let Some((integers, quantization)) = self.integer.layer(layer).zip(quantized.layer(layer).output.quantization) else {
            return Fidelity::default();
        };
        let mut noise = Noise::default();
        let exact = self.compressed.layer(layer).iter().map(|x| x.max(floor(floors, layer)));
        noise.add(exact, integers.iter().map(|q| quantization.dequantize(*q)));
        noise.fidelity()
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

/// The chip's outputs held to the reference's.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Compared {
    /// Values that differ.
    pub(super) mismatches: u64,
    /// The first of them.
    pub(super) first: Option<Mismatch>,
    /// Values that were compared.
    pub(super) values: u64,
    /// SHA-256 of the chip's, row-major, as 64-bit integers, little-endian.
    pub(super) output_hash: String,
}

impl Compared {
    /// Holds the chip's values to the integer reference's, samples x outputs each; `stage` is what the chip wrote them in.
    pub(super) fn of(reference: &Array2<i32>, chip: &Array2<i32>, stage: &str) -> Self {
        let mut mismatches = 0;
        let mut first = None;
        for (((sample, index), expected), got) in reference.indexed_iter().zip(chip) {
            if expected != got {
                mismatches += 1;
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
        Self { mismatches, first, values: chip.len() as u64, output_hash: integers_sha256(chip.iter().map(|q| i64::from(*q))) }
    }
}

/// SHA-256 of integers as 64 bits, little-endian, in their order: what tells whether two runs computed the same.
pub(super) fn integers_sha256(integers: impl Iterator<Item = i64>) -> String {
    sha256_hex(&integers.flat_map(i64::to_le_bytes).collect::<Vec<_>>())
}

/// How near numbers are to those that were meant.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(super) struct Fidelity {
    /// `10 log10(sum x^2 / sum (x - x')^2)` in decibels; none without noise or signal.
    pub(super) sqnr_db: Option<f64>,
    /// The cosine of the angle between both, `sum x x' / sqrt(sum x^2 sum x'^2)`; none where one is all zero.
    pub(super) cosine: Option<f64>,
    /// The greatest `|x - x'|`; none where nothing was compared.
    pub(super) max_abs_error: Option<f64>,
}

/// Numbers and what stands for them, summed in the order of samples.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Noise {
    signal: f64,
    error: f64,
    found: f64,
    product: f64,
    greatest: Option<f64>,
}

impl Noise {
    /// Adds numbers and what stands for them.
    pub(super) fn add(&mut self, exact: impl IntoIterator<Item = f32>, found: impl IntoIterator<Item = f32>) {
        for (x, found) in exact.into_iter().zip(found) {
            let (x, found) = (f64::from(x), f64::from(found));
            let error = x - found;
            self.signal += x * x;
            self.error += error * error;
            self.found += found * found;
            self.product += x * found;
            self.greatest = Some(self.greatest.unwrap_or(0.0).max(error.abs()));
        }
    }

    /// What the sums say.
    pub(super) fn fidelity(self) -> Fidelity {
        let finite = |value: f64| value.is_finite().then_some(value);
        Fidelity {
            sqnr_db: finite(10.0 * libm::log10(self.signal / self.error)),
            cosine: finite(self.product / (libm::sqrt(self.signal) * libm::sqrt(self.found))),
            max_abs_error: self.greatest,
        }
    }
}

/// The signal to noise ratio of numbers and what stands for them, in decibels: `10 log10(sum x^2 / sum (x - x')^2)`. None without noise or signal.
pub(super) fn sqnr_db(exact: &Array2<f32>, found: impl IntoIterator<Item = f32>) -> Option<f64> {
    let mut noise = Noise::default();
    noise.add(exact.iter().copied(), found);
    noise.fidelity().sqnr_db
}

/// Integer logits as the real numbers that they stand for.
pub(super) fn dequantize(quantized: &Network, logits: &Array2<i32>) -> Array2<f32> {
    let quantization = quantized.logits().output.quantization.expect("bug: a mapped network's logits are quantized");
    logits.mapv(|q| quantization.dequantize(q))
}

#[cfg(test)]
mod tests {
    use super::*;
    use ndarray::array;

    #[test]
    fn fidelity_is_that_of_the_formulas() {
        let mut noise = Noise::default();
        noise.add([3.0, 4.0], [3.0, 3.0]);
        let Fidelity { sqnr_db, cosine, max_abs_error } = noise.fidelity();
        // 25 of signal over 1 of noise; (9 + 12) / (5 sqrt 18).
        assert!((sqnr_db.unwrap() - 10.0 * 25.0_f64.log10()).abs() < 1e-12);
        assert!((cosine.unwrap() - 21.0 / (5.0 * 18.0_f64.sqrt())).abs() < 1e-12);
        assert_eq!(max_abs_error, Some(1.0));
        assert_eq!(Noise::default().fidelity(), Fidelity::default());
    }

    #[test]
    fn outputs_are_hashed_as_wide_integers_row_by_row() {
        let (reference, chip) = (array![[1, -2], [3, 4]], array![[1, -2], [3, 5]]);
        let compared = Compared::of(&reference, &chip, "fc");
        assert_eq!((compared.mismatches, compared.values), (1, 4));
        let first = compared.first.unwrap();
        assert_eq!((first.sample, first.index, first.expected, first.got), (1, 1, 4, 5));
        let bytes: Vec<u8> = [1_i64, -2, 3, 5].iter().flat_map(|q| q.to_le_bytes()).collect();
        assert_eq!(compared.output_hash, sha256_hex(&bytes));
    }
}
