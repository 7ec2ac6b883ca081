//! What a sweep leaves: a row a point (`point`), its columns (`columns`), and the folder that holds them, read back (`results`). Plain data.
//!
//! Not here: how points are made and run (`experiment`, `sweep`), and how a picture of them is drawn (`plot`).

mod columns;
mod point;
mod requirement;
mod results;
mod terminal;

pub use columns::{
    Cell, alike_columns, common_columns, is_against_baseline, is_share_column, is_text_column, layers_csv_of, points_csv, sweep_columns,
};
pub use point::{AxisValue, PointFigures, PointLayer, PointRow, PointStatus, Training, bits_of};
pub use requirement::{Relation, Requirement};
pub use results::{RESULTS_VERSION, Relative, SweepBaseline, SweepPlot, SweepProvenance, SweepReadError, SweepResults, point_line};
pub(crate) use terminal::axes_text;
