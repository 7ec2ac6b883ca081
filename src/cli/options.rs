//! Options that several commands have: the chip with its changes, the engine, a file to write.

use super::complain;
use clap::{Args, ValueEnum};
use std::error::Error;
use systole::chip::{self, Chip};
use systole::model::LayerTable;
use systole::numerics::Dtype;
use systole::pipeline::PipelineError;
use systole::sim::Engine;

/// Which chip.
#[derive(Debug, Args)]
pub(super) struct ChipOptions {
    /// A chip file, or the name of a chip in hw-configs/ or of a shipped one
    #[arg(long, value_name = "CHIP", default_value = "edge-16x16")]
    chip: String,
    /// Change a field of the chip first, such as array.rows=32 or clock=MHz(700); may stand several times
    #[arg(long, value_name = "FIELD=VALUE", value_parser = field_and_value)]
    set: Vec<(String, String)>,
}

impl ChipOptions {
    /// The chip, changed.
    pub(super) fn load(&self) -> Result<Chip, Box<dyn Error>> {
        Ok(chip::load(&self.chip, &self.set)?)
    }
}

/// How simulated time is driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Drive {
    /// Cycle by cycle, with every register of every PE
    Stepped,
    /// From event to event, each pass's numbers at once
    Wavefront,
}

impl Drive {
    /// The machine's word for it.
    pub(super) const fn engine(self) -> Engine {
        match self {
            Self::Stepped => Engine::Stepped,
            Self::Wavefront => Engine::Wavefront,
        }
    }
}

/// Tells of the columns of a layer table that nothing uses.
pub(super) fn complain_of_columns(LayerTable { path, table, .. }: &LayerTable) {
    for column in &table.ignored {
        complain(&format!("warning: the column \"{}\" of {path} is not used", column.escape_debug()));
    }
}

/// Reads `FIELD=VALUE`.
pub(super) fn field_and_value(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((field, value)) if !field.trim().is_empty() => Ok((field.trim().to_string(), value.trim().to_string())),
        _ => Err("write FIELD=VALUE, such as array.rows=32".to_string()),
    }
}

/// Reads `w<bits>a<bits>`; whether a chip has the format is for the chip to say.
pub(super) fn format_name(text: &str) -> Result<String, String> {
    let bits = |digits: &str| digits.parse().ok().and_then(Dtype::from_bits);
    let parts = text.strip_prefix('w').and_then(|rest| rest.split_once('a'));
    match parts.and_then(|(weight, activation)| Some((bits(weight)?, bits(activation)?))) {
        Some((weight, activation)) => Ok(format!("w{}a{}", weight.bits(), activation.bits())),
        None => Err("write w<bits>a<bits>, such as w8a8 or w4a8, the bits being 1, 2, 4, 8 or 16".to_string()),
    }
}

/// The error, if it is the user's.
///
/// # Panics
/// If it is ours.
pub(super) fn user_fault(error: PipelineError) -> PipelineError {
    assert!(!error.is_bug(), "a program that systole made itself cannot run: {error}");
    error
}
