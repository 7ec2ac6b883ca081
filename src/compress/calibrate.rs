//! Calibration: the range of every value over the calibration samples (`MinMax`).

use super::CompressError;
use crate::network::{LayerId, Network};
use crate::reference::float;
use ndarray::ArrayView2;
use std::collections::BTreeMap;

/// The least and the greatest number of each layer's value.
#[derive(Debug, Clone, PartialEq)]
pub struct Ranges(BTreeMap<LayerId, (f32, f32)>);

impl Ranges {
    /// A layer's least and greatest number.
    ///
    /// # Panics
    /// If `id` comes from another network.
    pub fn of(&self, id: LayerId) -> (f32, f32) {
        self.0[&id]
    }
}

/// Runs the float network on `samples` (n x elements of the input) and keeps each value's range.
///
/// # Errors
/// No samples, samples that do not fit the network, or a value that is infinite or not a number.
#[expect(clippy::needless_pass_by_value, reason = "a view is a reference already")]
pub fn calibrate(network: &Network, samples: ArrayView2<f32>) -> Result<Ranges, CompressError> {
    if samples.nrows() == 0 {
        return Err(CompressError::NoSamples);
    }
    let trace = float::run(network, samples)?;
    let mut ranges = BTreeMap::new();
    for (id, values) in trace.iter() {
        let (min, max) = values.iter().fold((f32::INFINITY, f32::NEG_INFINITY), |(min, max), x| (min.min(*x), max.max(*x)));
        if values.iter().any(|x| !x.is_finite()) {
            return Err(CompressError::NotFinite { layer: network.layer(id).name.clone() });
        }
        ranges.insert(id, (min, max));
    }
    Ok(Ranges(ranges))
}
