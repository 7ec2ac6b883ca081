//! What a run reports: one plain summary (`summary`) that feeds the terminal (`terminal`), JSON, CSV and the pictures, and the folder that
//! they are written to (`folder`); what pruning was worth (`pruning`); and the reports of one matrix product (`gemm`), of a layer table (`topology`) and of a
//! trace on DRAM (`dram`).
//!
//! Human units on the terminal only; files hold base units with the unit in the name. Not here: how anything is computed, and how a
//! picture is drawn (`plot`).

mod analysis;
mod chip;
mod compare;
mod compression;
mod csv;
mod diff;
mod dram;
mod folder;
mod gemm;
pub mod human;
mod json;
mod mapping;
mod mixed;
mod model;
mod pruning;
mod residency;
mod roofline;
mod summary;
mod sweep;
mod terminal;
mod topology;
mod training;
mod whatif;

pub use analysis::{Analysis, AnalyzedLayer, Narrower};
pub use chip::{ChipChange, ChipEntry, ChipField, chip_changes, chip_changes_json, chip_changes_terminal, chip_json, chips_json};
pub use compare::{ComparedChip, ComparedFigures, Comparison, RelativeFigures};
pub use compression::{
    CompressedLayer, CompressionProvenance, CompressionReport, Interval, NetworkSize, PairedSamples, compression_json, compression_terminal,
};
pub use csv::layers_csv;
pub use diff::{AccountDiff, DiffSide, LayerDiff, RunDiff};
pub use dram::{DramReport, dram_json, dram_terminal};
pub use folder::{FolderError, ResultFolder, read_summary};
pub use gemm::{GemmReport, gemm_json, gemm_terminal};
pub use json::{summary_from_json, summary_json};
pub use mapping::{MappedLayer, MappedLoop, MappingReport, MappingSearch, mapping_json};
pub use mixed::{MixedFormat, MixedLayer, MixedPoint, MixedPrecision};
pub use model::{ModelKind, ModelLayer, ModelReport, PrunedWeights, model_json, model_terminal, models_json, models_terminal, shape};
pub use pruning::{PairedAccuracy, PrunedLayer, PruningStep, PruningSummary, Unpruned};
pub use residency::{MemoryUse, Residency, SmallestScratchpad, TensorLife};
pub use roofline::{Roofline, RooflineLayer, Roofs};
pub use summary::{
    ChipSummary, ClassSummary, EnergyPjByPart, LayerSummary, MetricValues, Mismatch, NetworkSummary, Provenance, Summary, WeightsAt, ratio,
};
pub(crate) use sweep::axes_text;
pub use sweep::{
    AxisValue, Cell, PointFigures, PointLayer, PointRow, PointStatus, RESULTS_VERSION, Relation, Relative, Requirement, SweepBaseline,
    SweepPlot, SweepProvenance, SweepReadError, SweepResults, Training, alike_columns, bits_of, common_columns, is_against_baseline,
    is_share_column, is_text_column, layers_csv_of, point_line, points_csv, sweep_columns,
};
pub use terminal::{LayerRows, terminal};
pub use topology::{TopologyReport, TopologyRow, topology_csv, topology_json, topology_terminal};
pub use training::{TrainedEpoch, TrainingReport};
pub use whatif::WhatIf;

#[cfg(test)]
pub(crate) mod fixture;
