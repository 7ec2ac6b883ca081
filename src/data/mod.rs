//! Labelled data sets from files: IDX (gzip or not, told by its magic) and NPZ. Samples as stored, without any preprocessing.
//!
//! Not here: which samples serve which purpose, or what a network wants to see (`model`). Files come from anywhere: nothing is allocated
//! by a claim alone, and what is unpacked is bounded.

mod dataset;
mod error;
mod hash;
mod idx;
mod npy;
mod npz;
mod source;
mod task;

pub use dataset::{Dataset, Values};
pub use error::DataError;
pub use hash::{FileHash, sha256_file, sha256_hex};
pub use npz::read_array;
pub use source::{Source, load};
pub use task::{Average, Metric, Task, Truth};
