//! How a mapping is to be found, and what is to be little: plain data, as the command line and experiments say it.
//!
//! Not here: how it is found (`search`, and `pipeline`).

use std::fmt;
use std::str::FromStr;

/// What is to be little.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objective {
    /// Cycles.
    Latency,
    /// Picojoules.
    Energy,
    /// Energy times delay.
    Edp,
}

impl FromStr for Objective {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "latency" => Ok(Self::Latency),
            "energy" => Ok(Self::Energy),
            "edp" => Ok(Self::Edp),
            _ => Err(format!("`{text}` is no objective: write latency, energy or edp")),
        }
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Latency => "latency",
            Self::Energy => "energy",
            Self::Edp => "edp",
        })
    }
}

/// How layers are mapped.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Plan {
    /// The chip's first dataflow and the largest pieces that fit.
    #[default]
    First,
    /// Of each layer's candidates the one with the least closed-form bound of its time; nothing is simulated. Where they do not fit together, as `First`.
    Heuristic,
    /// The best of each layer's candidates that a search simulates.
    Search {
        /// What is to be little.
        objective: Objective,
        /// Candidates that are simulated for each layer at most.
        budget: u64,
    },
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::First => f.write_str("first"),
            Self::Heuristic => f.write_str("heuristic"),
            Self::Search { objective, budget } => write!(f, "search:{objective}:{budget}"),
        }
    }
}

impl FromStr for Plan {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parts: Vec<&str> = text.split(':').collect();
        match parts.as_slice() {
            ["first"] => Ok(Self::First),
            ["heuristic"] => Ok(Self::Heuristic),
            ["search", objective, budget] => match budget.parse() {
                Ok(budget) if budget > 0 => Ok(Self::Search { objective: objective.parse()?, budget }),
                _ => Err(format!("`{budget}` is no number of candidates: write a whole number above 0")),
            },
            _ => Err(format!("`{text}` is no plan: write first, heuristic or search:OBJECTIVE:BUDGET, such as search:latency:8")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plans_read_back() {
        for plan in [Plan::First, Plan::Heuristic, Plan::Search { objective: Objective::Edp, budget: 3 }] {
            assert_eq!(plan.to_string().parse(), Ok(plan));
        }
        for text in ["", "search", "search:latency", "search:latency:0", "search:time:3", "search:latency:x", "best"] {
            assert!(text.parse::<Plan>().is_err(), "{text}");
        }
    }
}
