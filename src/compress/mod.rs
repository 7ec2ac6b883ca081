//! Compression: a float network in, a smaller or an integer network out. The same on every chip.
//!
//! A `Recipe` says what is done, step by step. `Recipe::prune` makes weights zero, takes channels away, or puts two layers in place of one;
//! then `calibrate` finds the range of every value, and `quantize` turns weights, biases and values into integers. What is zero stays zero.

mod apply;
mod arrived;
mod bias;
mod calibrate;
mod channels;
mod equalize;
mod error;
mod floor;
mod formats;
mod histogram;
mod isolate;
mod lowrank;
mod matrix;
mod mixed;
mod prune;
mod quantize;
mod rebuild;
mod recipe;
mod scheme;
mod short;
mod values;

pub use apply::{LayerReport, Outside, StepReport, Surroundings};
pub use arrived::{Arrived, TILE, arrived};
pub use bias::correct_biases;
pub use calibrate::{Ranges, calibrate};
pub use error::CompressError;
pub use floor::scores;
pub use formats::{Formats, with_roundings};
pub use histogram::{Calibration, calibrate_as};
pub use isolate::{all_but, only};
pub use matrix::comes_in_integers;
pub use mixed::{Bits, Choices, Goal, Limit, MAX_FRONTIER, Search, frontier, spread};
pub use quantize::quantize;
pub use recipe::{Activity, BlockShape, Keep, Norm, Patterns, Recipe, Scope, Step};
pub use scheme::{Granularity, Scheme, Symmetry};
