//! Training: a float network in, a trained one out, through pruning and quantization where that is asked for. Behind the feature `train`.
//!
//! A `Trainer` is made from a network and the formats that it is to have. It fits the weights, and whatever else `parameters` holds, to samples; what
//! comes out is a network in float, or in the very integers that were trained: values and weights lie on their grids in every step (`fake`), so that
//! the integer reference of the result agrees with what was trained up to roundings of f32.
//!
//! Gradients are burn's, on its CPU backend; what is ours is told in `fake`, `loss`, `masks` and `optimizer`, each with its formula. Not here: data and
//! files (`pipeline`, `cli`).

mod batches;
mod checkpoint;
mod definition;
mod error;
mod fake;
mod finish;
mod forward;
mod graph;
mod loss;
mod masks;
mod optimizer;
mod parameters;
mod settings;
mod teacher;
mod trainer;

pub use batches::Examples;
pub use definition::{Definition, drawn};
pub use error::TrainError;
pub use settings::{Keep, Loss, OptimizerKind, Scales, Schedule, Settings};
pub use teacher::Teacher;
pub use trainer::{EpochReport, Progress, Start, Trainer, Watch};

/// Runs `f` on so many threads: with one, the same inputs give the same bits in every run.
///
/// # Errors
/// If the system has not as many.
pub fn on_threads<T: Send>(threads: usize, f: impl FnOnce() -> T + Send) -> Result<T, TrainError> {
    let fault = |problem: String| TrainError::Threads { threads, problem };
    if threads == 0 {
        return Err(fault("there is nothing to train on".to_string()));
    }
    let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().map_err(|error| fault(error.to_string()))?;
    Ok(pool.install(f))
}
