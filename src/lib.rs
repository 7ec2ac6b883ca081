//! systole: a cycle-by-cycle simulator of neural-network accelerators, with the real numbers flowing through.

pub mod chip;
pub mod compress;
pub mod counts;
pub mod data;
pub mod energy;
pub mod mapping;
pub mod metrics;
pub mod model;
pub mod network;
pub mod numerics;
pub mod pipeline;
pub mod plot;
pub mod program;
pub mod reference;
pub mod report;
pub mod sim;
pub mod units;
