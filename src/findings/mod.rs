//! What the points of a sweep say together: fronts and what ties with them (`front`), fields of two axes (`heat`), which axis matters (`effects`),
//! what a method does on each chip (`matrix`), and what a recipe that was found for one chip does on another (`transfer`).
//!
//! Choosing goes by the select split, what is told is the report split's. Not here: how any of it is drawn (`plot`).

mod column;
mod effects;
#[cfg(test)]
mod fixture;
mod front;
mod heat;
mod matrix;
#[cfg(test)]
pub(crate) use fixture::study;

pub use column::{Better, Workload, better, is_energy, is_of_cycles};
pub use effects::{Effect, Effects, effect_figures, effects};
pub use front::{Mark, Panel, Scatter, ScatterRequest, scatter};
pub use heat::{Heat, HeatCell, HeatPanel, heat};
pub use matrix::{ChipMatrix, MAX_MORE_ERROR, MatrixCell, Transfer, TransferCell, chip_matrices, transfers};

/// The most panels of a picture.
pub const MAX_PANELS: usize = 12;
/// The most colours of a picture.
pub const MAX_GROUPS: usize = 24;
/// The most values along an axis of fields.
pub const MAX_VALUES: usize = 64;

/// Why points cannot be shown so.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum FindingsError {
    /// A column that the results do not have.
    #[error("the results have no field \"{name}\"\n  help: {}", nearest_help(.near))]
    NoColumn {
        /// What was asked for.
        name: String,
        /// The names that are most like it.
        near: Vec<String>,
    },
    /// A column of texts where numbers are needed.
    #[error(
        "the field \"{name}\" has no numbers (it has \"{example}\"), and {role} needs them\n  help: use it for --color or --facet, or choose a field of numbers, such as latency_s or error_percent"
    )]
    NotNumbers {
        /// The column.
        name: String,
        /// A value of it.
        example: String,
        /// What it was for.
        role: &'static str,
    },
    /// Nothing to show.
    #[error("no point of these results has both {x} and {y}: {points} points, of which {failed} failed\n  help: {help}")]
    Nothing {
        /// Along.
        x: String,
        /// Up.
        y: String,
        /// Points of the results.
        points: usize,
        /// Of them, those that failed.
        failed: usize,
        /// What to do.
        help: String,
    },
    /// A picture of too many parts.
    #[error("{what} \"{name}\" has {count} values, and {limit} is the most that can be told apart\n  help: choose a field of fewer values")]
    TooMany {
        /// What it was for.
        what: &'static str,
        /// The column.
        name: String,
        /// Its values.
        count: usize,
        /// The most.
        limit: usize,
    },
}

fn nearest_help(near: &[String]) -> String {
    match near {
        [] => "such as latency_s, error_percent, energy_pj_per_sample, chip and recipe; the header of points.csv names all".to_owned(),
        near => format!("the nearest are {}; the header of points.csv names all", near.join(", ")),
    }
}
