//! The machine: runs a verified program on a chip, cycle by cycle, with the real bytes in every memory.
//!
//! It executes commands and knows neither networks nor mappings. A cycle is: the array, then the vector unit, then the DMA engines, then the host where it has work, each
//! of which may start a command, uses the memories' ports and may end a command; a token that is posted in a cycle is seen in the next.
//! The order of the units matters for a bank that two want in one cycle (the array goes first) and for nothing else.
//!
//! DRAM with banks has a module of its own, [`dram`], and a clock of its own, which is merged exactly with the core's.

mod accounts;
mod array;
mod claims;
mod dma;
pub mod dram;
mod engine;
mod error;
mod host;
mod log;
mod machine;
mod memory;
mod occupancy;
mod peeled;
mod queue;
mod recording;
mod vector;
mod watch;

pub use accounts::{Account, Run, StageRun, UnitRun};
pub use array::{PeId, Registers};
pub use engine::Engine;
pub use error::SimError;
pub use log::{CommandRun, TokenRun};
pub use machine::{Machine, Session};
pub use occupancy::Occupancy;
pub use peeled::Peeled;
pub use recording::{Recording, Replay};
pub use watch::{Cycle, Watched};
