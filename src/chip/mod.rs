//! Chips: what a chip file says (`schema`), whether it can be built (`check`), and what it means (`chip`).
//!
//! ```text
//! path or name --load--> text --parser--> values with their places --schema, costs--> Draft --check, supported--> Chip
//!                         |  base of a variant, its `set`, `--set` (edit), DRAM presets (banked)  |
//! ```
//!
//! Not here: networks. A chip file is judged by itself.

mod array;
mod banked;
mod check;
#[expect(clippy::module_inception, reason = "the trusted type of the stage is the chip itself")]
mod chip;
mod costs;
mod dataflow;
mod dram;
mod edit;
mod fault;
mod load;
mod mode;
mod number;
mod parser;
mod price;
mod read;
mod schema;
mod supported;
mod tree;

pub use array::*;
pub use banked::dram_presets;
pub use chip::*;
pub use dram::*;
pub(crate) use edit::join;
pub(crate) use fault::nearest;
pub use fault::{ChipError, Fault, Faults};
pub use load::{load, parse, shipped};
pub use mode::*;
pub(crate) use parser::{Form, parse_as};
pub use price::*;
pub(crate) use read::{Item, Reader};
pub(crate) use tree::{Kind, Node};
