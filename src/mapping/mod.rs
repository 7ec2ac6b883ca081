//! Mappings: how a network's work is cut into stages, and each stage into tiles that fit a chip's buffers.
//!
//! Not here: commands (`program`), time (`sim`) and values. A mapping's lower bound is a closed form that shares nothing with what it
//! bounds.

mod bounds;
mod candidates;
mod draft;
mod error;
mod file;
mod fit;
mod hold;
mod keep;
mod layout;
mod least;
mod location;
mod lower;
mod nest;
mod operand;
mod passing;
mod plan;
mod problem;
mod residency;
mod search;
mod slide;
mod stage;
mod stored;
mod tiling;

pub use bounds::{Bounds, Demand, StageBound, guess, lower_bounds};
pub use candidates::{Candidates, MOST_CUTS, few_candidates};
pub use error::MappingError;
pub use file::{MappingFile, Pin};
pub use fit::{Choice, map, map_as};
pub use layout::Layout;
pub use least::{LeastActions, least_actions};
pub use location::{Factor, Joint, Location, Tensor};
pub use lower::{Copy, HostCall, HostRead, Lowered, Lowering, Work, depthwise_alone, has_format, lower, lower_wide, weights_of};
pub use nest::{Loop, LoopNest, Spread};
pub use operand::{Operand, Rows};
pub use passing::{MAX_CAPACITY, PassedOn, least_scratchpad, passed_on};
pub use plan::{Objective, Plan};
pub use problem::{Dim, Problem};
pub use residency::{Held, Memory, Resident, peak};
pub use search::{Budget, Found, Outlook, keeps_numbers, search};
pub use slide::{Piece, Slide};
pub use stage::{Buffers, InputBuffer, Mapping, OutputBuffer, Stage, WeightBuffer, WeightPiece};
pub use tiling::{Order, Pitches, Rules, Tiling};

use serde::{Deserialize, Serialize};

/// Whether a program starts with its weights in DRAM or on the chip.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WeightStart {
    /// All weights are in DRAM.
    Cold,
    /// The weights that fit are on the chip already; biases are fetched all the same.
    Resident,
}

/// The largest divisor of `size` that fits, if one does.
pub(crate) fn largest_divisor(size: u64, fits: impl Fn(u64) -> bool) -> Option<u64> {
    // Divisors come in pairs, of which one is no larger than the square root.
    let small = (1..=size.isqrt()).filter(|part| size.is_multiple_of(*part));
    small.clone().map(|part| size / part).chain(small.rev()).find(|divisor| fits(*divisor))
}

/// `ceil(a / b)` pieces, and the greatest common stride: `size` rounded up to whole ports.
pub(crate) const fn round_up(size: u64, to: u64) -> u64 {
    size.div_ceil(to) * to
}
