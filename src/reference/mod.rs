//! The golden executors: plain loops over the network graph, an operation a function, no tiling, no time.
//!
//! Not here: chips, mappings, programs. An oracle must not share the faults of what it judges, so nothing of the simulator is used.

mod error;
pub mod float;
pub mod integer;
mod movement;
mod names;
mod product;
mod trace;

pub use error::ReferenceError;
pub use product::{Kept, product};
pub use trace::Trace;
