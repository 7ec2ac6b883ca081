//! What can be wrong with a data file.

use std::path::Path;
use thiserror::Error;

/// A fault in a data file.
#[derive(Debug, Error, PartialEq)]
pub enum DataError {
    /// The file cannot be read.
    #[error("{path}: cannot be read: {problem}")]
    Read {
        /// The path as it was given.
        path: String,
        /// What the system says.
        problem: String,
    },
    /// The file is not of the format, or of a kind of it that is not supported.
    #[error("{path}: {problem}\n  help: {help}")]
    Format {
        /// The path as it was given.
        path: String,
        /// What is wrong, with the values.
        problem: String,
        /// What to do.
        help: &'static str,
    },
    /// The file does not hold what its header claims.
    #[error("{path}: its header claims {claimed} bytes of data and {found}\n  help: the file is cut short or damaged: fetch it again")]
    Size {
        /// The path as it was given.
        path: String,
        /// Bytes that the header claims.
        claimed: u64,
        /// What there is.
        found: String,
    },
    /// More would have to be held in memory than is allowed.
    #[error("{path}: {bytes} bytes would have to be read, and the limit is {limit}\n  help: read fewer samples")]
    TooLarge {
        /// The path as it was given.
        path: String,
        /// Bytes that were asked for.
        bytes: u64,
        /// Bytes that may be read at once.
        limit: u64,
    },
    /// Samples and labels do not belong together.
    #[error(
        "{samples_path} has {samples} samples and {labels_path} has {labels} labels\n  help: give the labels that belong to the samples"
    )]
    Counts {
        /// The samples' file.
        samples_path: String,
        /// How many samples.
        samples: usize,
        /// The labels' file.
        labels_path: String,
        /// How many labels.
        labels: usize,
    },
    /// Samples that are not in the file.
    #[error(
        "{path}: samples {start} to {end} are asked for (the end not included) and the file has {count}\n  help: give data with samples, or fewer --samples, or correct the split in the card"
    )]
    Range {
        /// The path as it was given.
        path: String,
        /// The first sample.
        start: usize,
        /// One past the last.
        end: usize,
        /// How many there are.
        count: usize,
    },
}

impl DataError {
    pub(super) fn read(path: &Path, error: &std::io::Error) -> Self {
        Self::Read { path: path.display().to_string(), problem: error.to_string() }
    }

    pub(super) fn format(path: &Path, problem: impl Into<String>, help: &'static str) -> Self {
        Self::Format { path: path.display().to_string(), problem: problem.into(), help }
    }

    pub(super) fn size(path: &Path, claimed: u64, found: impl Into<String>) -> Self {
        Self::Size { path: path.display().to_string(), claimed, found: found.into() }
    }
}
