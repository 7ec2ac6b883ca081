//! Compression: a float network in, a smaller or an integer network out. The same on every chip.
//!
//! `calibrate` finds the range of every value, `quantize` turns weights, biases and values into integers.

mod calibrate;
mod error;
mod quantize;
mod scheme;
mod values;

pub use calibrate::{Ranges, calibrate};
pub use error::CompressError;
pub use quantize::quantize;
pub use scheme::Scheme;
