//! Whether whole numbers that name rows of a table do: what both references ask before they look any up.

use super::ReferenceError;
use crate::network::{Element, Layer, Network};
use ndarray::{Array2, ArrayView2};

/// Makes sure that what names something is whole.
pub(super) fn whole(network: &Network, samples: &ArrayView2<f32>) -> Result<(), ReferenceError> {
    if network.input().output.element != Element::Index {
        return Ok(());
    }
    match samples.indexed_iter().find(|(_, x)| !x.is_finite() || x.fract() != 0.0) {
        Some(((sample, element), found)) => {
            Err(ReferenceError::NotWhole { network: network.name().to_string(), sample, element, found: *found })
        }
        None => Ok(()),
    }
}

/// Makes sure that each number names one of a table's rows: 0 and up from the first, -1 and down from the last, as in ONNX.
pub(super) fn names_rows<T: Copy + Into<f64>>(layer: &Layer, rows: usize, names: &Array2<T>) -> Result<(), ReferenceError> {
    let most = rows as f64;
    let is_row = |name: T| (-most..most).contains(&name.into());
    match names.indexed_iter().find(|(_, name)| !is_row(**name)) {
        Some(((sample, element), name)) => {
            let index: f64 = (*name).into();
            #[expect(clippy::cast_possible_truncation, reason = "it is shown")]
            let index = index as f32;
            Err(ReferenceError::Name { layer: layer.name.clone(), sample, element, index, rows, last: rows.saturating_sub(1) })
        }
        None => Ok(()),
    }
}
