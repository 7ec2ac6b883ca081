//! systole: a cycle-by-cycle simulator of neural-network accelerators, with the real numbers flowing through.

pub mod chip;
pub mod counts;
pub mod data;
pub mod metrics;
pub mod model;
pub mod network;
pub mod numerics;
pub mod reference;
pub mod units;
