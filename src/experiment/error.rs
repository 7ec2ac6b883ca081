//! Why there is no experiment.

use crate::chip::Faults;
use thiserror::Error;

/// Why an experiment cannot be read.
#[derive(Debug, Error)]
pub enum ExperimentError {
    /// The file cannot be read.
    #[error("cannot read the experiment {path}: {reason}\n  help: check the path; experiments/ of the project has examples")]
    Unreadable {
        /// The file.
        path: String,
        /// What the system says, or why it was not tried.
        reason: String,
    },
    /// The text is at fault, or what it names.
    #[error("{0}")]
    Faulty(Faults),
}
