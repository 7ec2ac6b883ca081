//! Energy and area: what each action and part of a chip costs (`table`, `area`), and what a run cost (`account`).
//!
//! ```text
//! energy = sum over actions of count x energy per action     (leakage is an action too: a microsecond of it)
//! area   = sum over parts
//! ```
//!
//! Every figure keeps its source and its fidelity up to the report. Not here: time (`sim` counts cycles and actions), and how an energy
//! is printed (`report`).

mod account;
mod area;
mod arithmetic;
mod dram;
mod parts;
mod scaling;
mod sram;
mod table;

pub use account::{EnergyByPart, EnergyReport, StageActivity, StageEnergy, account};
pub use area::AreaTable;
pub use parts::ChipParts;
pub use table::EnergyTable;

/// A chip file's own list of costs that lacks something the chip needs.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EnergyError {
    /// Actions without an energy.
    #[error("the chip's energy list has no entry for {}: list every action, or use Table(\"45nm\")", .0.join(", "))]
    MissingActions(Vec<String>),
    /// Parts without an area.
    #[error("the chip's area list has no entry for {}: list every part, or use Table(\"45nm\")", .0.join(", "))]
    MissingParts(Vec<String>),
}
