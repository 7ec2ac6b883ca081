//! Chips: what a chip file says (`schema`), whether it can be built (`check`), and what it means (`chip`).
//!
//! Not here: networks. A chip file is judged by itself.

#[expect(clippy::module_inception, reason = "the trusted type of the stage is the chip itself")]
mod chip;

pub use chip::*;
