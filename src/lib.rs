//! systole: a cycle-by-cycle simulator of neural-network accelerators, with the real numbers flowing through.

pub mod chip;
pub mod counts;
pub mod energy;
pub mod network;
pub mod numerics;
pub mod plot;
pub mod report;
pub mod units;
