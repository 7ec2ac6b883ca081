//! Calibration: the range of every value over the calibration samples (`MinMax`), down to where it matters (`floor`).

use super::CompressError;
use super::floor::Floors;
use crate::network::{LayerId, Network};
use crate::reference::float;
use ndarray::{ArrayView2, Axis};
use std::collections::BTreeMap;

/// The least and the greatest number of each layer's value, the sum of magnitudes with their count, and below which number nothing matters.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Ranges {
    extremes: BTreeMap<LayerId, (f32, f32)>,
    magnitudes: BTreeMap<LayerId, (f64, u64)>,
    floors: BTreeMap<LayerId, f32>,
}

/// Numbers of a block of samples that are held at a time (256 MiB), if one sample has no more.
const BLOCK_NUMBERS: usize = 1 << 26;

impl Ranges {
    /// A layer's least and greatest number; `None` where it was not calibrated. What a softmax takes for nothing, such as a mask's -10000, is
    /// clamped to the least that it does not.
    pub fn get(&self, id: LayerId) -> Option<(f32, f32)> {
        self.extremes.get(&id).copied()
    }

    /// The number below which a layer's numbers do not matter; minus infinity where all do.
    pub(super) fn floor(&self, id: LayerId) -> f32 {
        self.floors.get(&id).copied().unwrap_or(f32::NEG_INFINITY)
    }

    /// Gives a layer another range.
    pub(super) fn set(&mut self, id: LayerId, range: (f32, f32)) {
        self.extremes.insert(id, range);
    }

    /// The mean of the magnitudes of a layer's numbers; `None` where it was not calibrated.
    pub fn mean_magnitude(&self, id: LayerId) -> Option<f32> {
        let (sum, count) = self.magnitudes.get(&id)?;
        #[expect(clippy::cast_possible_truncation, reason = "a scale is f32")]
        let mean = (sum / *count as f64) as f32;
        Some(mean)
    }
}

/// Samples of a block.
pub(super) fn blocks_of(network: &Network) -> usize {
    let of_one: usize = network.layers().map(|layer| layer.output.elements()).sum();
    (BLOCK_NUMBERS / of_one.max(1)).max(1)
}

/// Runs the network in float on `samples` (n x elements of the input) and keeps each value's range. A network that is quantized in part runs
/// with what is quantized on its grid; one that is quantized throughout needs no ranges.
///
/// # Errors
/// No samples, samples that do not fit the network, or a value that is infinite or not a number.
#[expect(clippy::needless_pass_by_value, reason = "a view is a reference already")]
pub fn calibrate(network: &Network, samples: ArrayView2<f32>) -> Result<Ranges, CompressError> {
    if samples.nrows() == 0 {
        return Err(CompressError::NoSamples);
    }
    let mut found = Ranges::default();
    let mut floors = Floors::new(network);
    for block in samples.axis_chunks_iter(Axis(0), blocks_of(network)) {
        for (id, values) in float::run(network, block)?.iter() {
            if values.iter().any(|x| !floors.may_hold(id, *x)) {
                return Err(CompressError::NotFinite { layer: network.layer(id).name.clone() });
            }
            floors.see(id, &values.view());
            let range = found.extremes.entry(id).or_insert((f32::INFINITY, f32::NEG_INFINITY));
            let magnitude = found.magnitudes.entry(id).or_default();
            let finite = values.iter().filter(|x| x.is_finite());
            *magnitude = (finite.fold(magnitude.0, |sum, x| sum + f64::from(x.abs())), magnitude.1 + values.len() as u64);
            *range = values.iter().fold(*range, |(min, max), x| (min.min(*x), max.max(*x)));
        }
    }
    found.floors = floors.found(&found);
    for (id, (min, max)) in &mut found.extremes {
        let floor = found.floors.get(id).copied().unwrap_or(f32::NEG_INFINITY);
        (*min, *max) = (min.max(floor), max.max(floor));
        if !min.is_finite() || !max.is_finite() {
            return Err(CompressError::NotFinite { layer: network.layer(*id).name.clone() });
        }
    }
    Ok(found)
}
