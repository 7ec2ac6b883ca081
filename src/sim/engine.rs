//! How simulated time is driven, and whether numbers move: from event to event or cycle by cycle.

use serde::{Deserialize, Serialize};

/// How the machine is driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Engine {
    /// Cycle by cycle, with every register of every PE.
    Stepped,
    /// From event to event, with a pass's numbers computed at once. The same outputs, cycles, counts and stalls.
    Wavefront,
}

impl Engine {
    /// The name in reports and on the command line.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Stepped => "stepped",
            Self::Wavefront => "wavefront",
        }
    }
}

/// How the array's numbers come about.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Numbers {
    /// Not at all: time alone.
    None,
    /// A pass at a time.
    Wavefront,
    /// Register by register.
    Stepped,
}

impl From<Engine> for Numbers {
    fn from(engine: Engine) -> Self {
        match engine {
            Engine::Stepped => Self::Stepped,
            Engine::Wavefront => Self::Wavefront,
        }
    }
}
