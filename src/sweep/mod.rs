//! Sweeps: the points of an experiment, run side by side, each kept as soon as it is done.
//!
//! ```text
//! Experiment --space / evolve--> coordinates --point, pipeline::Workbench--> rows --log--> points.jsonl --at the end--> canonical order, tables
//! ```
//!
//! What a point yields depends on the point alone: not on threads, on the order of finishing, or on how often the sweep was killed on the way. Points go to threads of
//! their own, since they wait for one another's shared work; what a point does inside goes to rayon's pool. Not here: what a point is
//! (`experiment`), how it is run (`pipeline`), and what results look like (`report`).

mod cache;
mod command;
mod error;
mod evolve;
mod iso;
mod log;
mod merge;
mod point;
mod run;

pub use cache::ChoiceFolder;
pub use command::quoted;
pub use error::SweepError;
pub use merge::merge;
pub use run::{Progress, Shard, SweepOptions, Swept, default_folder, expected, run};
