//! What can end a sweep. Points that cannot be built are not here: they are rows with their reason.

use crate::experiment::ExperimentError;
use crate::report::{FolderError, SweepReadError};
use std::path::PathBuf;
use thiserror::Error;

/// A fault of a sweep.
#[derive(Debug, Error)]
pub enum SweepError {
    /// The experiment.
    #[error(transparent)]
    Experiment(#[from] ExperimentError),
    /// The folder of results.
    #[error(transparent)]
    Folder(#[from] FolderError),
    /// What is in the folder already.
    #[error(transparent)]
    Read(#[from] SweepReadError),
    /// More points than are run.
    #[error(
        "the experiment has {points} points, and {limit} is the most that is run\n  help: give axes fewer values, or explore: Random(points: 1000, seed: 1)"
    )]
    TooMany {
        /// Its points.
        points: u128,
        /// The most.
        limit: u64,
    },
    /// Another sweep writes to the folder.
    #[error("another sweep is writing to {}\n  help: wait for it, or choose another folder with --out", .path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The folder holds results of something else.
    #[error("{} holds results of {what}\n  help: choose another folder with --out, or remove this one if its results are not wanted", .path.display())]
    Other {
        /// The folder.
        path: PathBuf,
        /// What differs.
        what: String,
    },
    /// The log cannot be written.
    #[error(
        "cannot write {}: {reason}\n  {kept} finished points are safe there\n  help: make room or allow writing, then run the same command again: it goes on from there",
        .path.display()
    )]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system says.
        reason: String,
        /// Points that are kept.
        kept: usize,
    },
    /// A search that is to be split.
    #[error(
        "a search goes by what its earlier points yield, and cannot be split into shards\n  help: leave --shard out, or explore the grid"
    )]
    ShardedSearch,
    /// Shards that do not belong together.
    #[error("cannot merge {}: {what}\n  help: give folders of one experiment, of the same version", .path.display())]
    Merge {
        /// The folder.
        path: PathBuf,
        /// What is wrong.
        what: String,
    },
}
